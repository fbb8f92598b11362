#!/bin/sh
# keel auto: what it keeps of the defaults has their bytes; a trial is kept only if it earns more beyond doubt; stopped and
# killed it goes on to the same; the budget bounds what begins.
. "$(dirname "$0")/program.sh"

chat 150 en | sed 's/"latency_ms": [0-9]*, //' >log.jsonl
"$KEEL" import --store log.db --format chat log.jsonl --quiet >/dev/null
cp log.db log1.db
cp log.db log2.db
small="--set train.steps=40 --set train.hidden=16 --set train.batch=64 --set sft.epochs=1 --set sft.buckets=4096 --set sft.min_updates=20 --quiet"

# ---- the defaults ----
expect "the defaults alone" 0 "" auto --store log.db --out plain --trials 0 $small
grep -q '^kept: the defaults: nothing else was tried' out.txt || fail "it says what it keeps and why: $(cat out.txt)"
grep -q '^labels: as they are. Learned from train; compared on train,fold:0/3 of it; evaluated on test' out.txt || fail "it says what it did: $(cat out.txt)"
"$KEEL" sft --store log2.db --base builtin --out base --quiet --set epochs=1 --set buckets=4096 --set min_updates=20 >/dev/null
"$KEEL" train --store log2.db --base base --out policy --quiet --set steps=40 --set hidden=16 --set batch=64 >/dev/null
for file in base/model.safetensors policy/model.safetensors; do cmp -s $file plain/$file || fail "$file is that of the defaults by hand"; done
grep -q "<h1\|<h2" plain/report.html || fail "there is a report"

# ---- a search, stopped and killed ----
expect "a small search" 0 "" auto --store log.db --out whole --trials 4 $small --json
[ "$(json search.done out.txt)" = 4 ] || fail "four trials: $(cat out.txt)"
kept=$(json kept out.txt)
best=$(awk '/"trials": \[/ { in_list = 1 } in_list && /"value":/ { sub(/.*: /, ""); sub(/,.*/, ""); print; exit }' out.txt)
awk -v best="$best" -v kept="$kept" 'BEGIN { exit !((best > 0) == (kept != "\"default\"")) }' || fail "kept $kept with a limit of $best"
shaken() { strike "$1" "$2" "$KEEL" auto --store log1.db --out shaken --trials 4 $small; }
shaken KILL 'there 2 shaken/default/.policy.choice/base-*'
shaken KILL '[ -e shaken/default/steps/train.json ]'
shaken INT 'there 1 shaken/search/trials/*'
shaken KILL 'there 3 shaken/search/trials/*'
[ $struck -gt 0 ] || fail "it was stopped at least once"
expect "it goes on" 0 "" auto --store log1.db --out shaken --trials 4 $small --json
for file in policy/model.safetensors policy/keel.json base/model.safetensors; do cmp -s whole/$file shaken/$file || fail "$file is that of an undisturbed run"; done
[ "$(json kept out.txt)" = "$kept" ] || fail "it keeps the same"

# ---- budget, gates, wrong use ----
expect "no time for trials" 0 "" auto --store log1.db --out hurried --budget 0.01s $small
grep -q 'the budget left no time' out.txt || fail "the defaults are made all the same: $(cat out.txt)"
expect "it says so before" 0 "the defaults come first, however long" auto --store log1.db --out hurried --budget 0.01s ${small% --quiet}
grep -q 'trials begin with a budget of more than' err.txt || fail "it says what a trial would take: $(cat err.txt)"
expect "a gate that is not met" 3 "refusal_rate.low" auto --store log.db --out plain --trials 0 $small --gate "refusal_rate.low >= 0.99"
expect "a gate that is none, before any work" 2 "there is no metric" auto --store log.db --out x --gate "refusal_rat.low >= 0.9"
[ ! -e x ] || fail "nothing was begun"
expect "what it judges on is not learned from" 2 "may hold conversations" auto --store log.db --out x --test all
expect "a split that holds nothing" 1 "nosuch" auto --store log.db --out x --test nosuch
expect "a base that is not there" 1 "nowhere" auto --store log.db --out y --base nowhere --trials 3 $small
chat 10 de >more.jsonl
"$KEEL" import --store log.db --format chat more.jsonl --source more --quiet >/dev/null
expect "other logs" 1 "content" auto --store log.db --out whole --trials 4 $small

# ---- no labels ----
sed 's/"outcome": "[a-z_]*"/"x": 1/g' log.jsonl >bare.jsonl
"$KEEL" import --store bare.db --format chat bare.jsonl --quiet >/dev/null
expect "a log without labels" 0 "" auto --store bare.db --out bare --trials 0 $small
grep -q '^labels: made: no response was judged' out.txt || fail "it has them judged: $(cat out.txt)"
finish
