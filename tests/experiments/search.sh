#!/bin/sh
# keel search: a search that is stopped and killed makes the trials of an undisturbed one, two processes share the work,
# steps before what varies run once, what is kept is judged on what nothing was chosen by.
. "$(dirname "$0")/program.sh"

chat 150 en | sed 's/"latency_ms": [0-9]*, //' >log.jsonl
"$KEEL" import --store log.db --format chat log.jsonl --quiet >/dev/null
for copy in 1 2 3 4 5; do cp log.db log$copy.db; done
small="--set train.steps=60 --set train.hidden=16 --set train.batch=64 --set sft.epochs=1 --set sft.buckets=4096 --set sft.min_updates=20"
# Without its places.
plain() { grep -v '"out"\|"folder"\|"search"' "$1/result.json"; }
varied="--over train.alpha=log:0.01:1 --over train.algo=cql,bc --quiet $small"

# ---- whole, stopped, killed ----
expect "a search" 0 "" search --store log.db --out whole --over train.alpha=log:0.01:1 --over train.algo=cql,bc --quiet $small --trials 7
grep -q '^kept: trial [0-9]*: train.* shows ' out.txt || fail "it says what it keeps: $(cat out.txt)"
grep -q '^held out (eval.split=test): ' out.txt || fail "it judges that on the split test: $(cat out.txt)"
grep -q 'flatters' out.txt || fail "it says that the value flatters"
[ "$(grep -c '^[0-6]  ' out.txt)" = 7 ] || fail "a row for each trial: $(cat out.txt)"
awk '$3 == "bc" && $2 != "-" || $3 == "cql" && $2 == "-" { exit 1 }' out.txt || fail "alpha is left out of bc: $(cat out.txt)"
[ "$(ls whole/trials | wc -l)" = $((8 - $(grep -c ' bc  ' out.txt))) ] || fail "without its alpha, bc is run once: $(ls whole/trials)"
[ "$(ls whole/common/steps)" = sft.json ] || fail "the base is tuned once"
plain whole >undisturbed
shaken() { strike "$1" "$2" "$KEEL" search --store log1.db --out shaken $varied --trials 7; }
shaken KILL '[ -e shaken ]'
shaken KILL '[ -e shaken/common/steps/sft.json ]'
shaken INT 'there 1 shaken/trials/*/policy'
[ $status != 130 ] || grep -q "goes on from here" err.txt || fail "it says how to go on: $(cat err.txt)"
shaken KILL 'there 2 shaken/trials/*/steps/train.json'
shaken KILL 'there 3 shaken/trials/*/steps/eval.json'
[ $struck -gt 0 ] || fail "it was stopped at least once"
"$KEEL" search --store log1.db --out shaken $varied --trials 7 >out.txt
plain shaken | cmp - undisturbed || fail "stopped and killed, it finds the same"
for trial in $(ls whole/trials); do
    for file in policy/model.safetensors policy/keel.json; do
        cmp -s whole/trials/$trial/$file shaken/trials/$trial/$file || fail "$file of trial $trial has the same bytes"
    done
done

# ---- two at once, more trials, all again ----
"$KEEL" search --store log2.db --out shared $varied --trials 6 --method random >one.txt &
child=$!
"$KEEL" search --store log2.db --out shared $varied --trials 6 --method random >two.txt
wait $child
cmp -s one.txt two.txt || fail "both processes end with the whole table"
"$KEEL" search --store log3.db --out alone $varied --trials 4 --method random >/dev/null
"$KEEL" search --store log3.db --out alone $varied --trials 6 --method random >out.txt
plain shared >shared.txt
plain alone | cmp - shared.txt || fail "two processes make the trials of one; more trials go on"
[ "$("$DUMP_STORE" log2.db "SELECT count(*) FROM trials")" = 6 ] || fail "no trial twice in the store"
before=$(stat -c %Y.%s alone/trials/0002/policy/model.safetensors)
"$KEEL" search --store log3.db --out alone $varied --trials 6 --method random >again.txt
cmp -s out.txt again.txt || fail "a finished search prints its table again"
[ "$before" = "$(stat -c %Y.%s alone/trials/0002/policy/model.safetensors)" ] || fail "a finished search does nothing again"

features() { "$DUMP_STORE" "$1" "SELECT count(DISTINCT base_hash) FROM features"; }
expect "bases that vary" 0 "" search --store log2.db --out bases --over sft.epochs=1,2 --over sft.seed=3,4 --method grid --quiet $small --trials 4
[ "$(features log2.db)" -le 2 ] || fail "features of the bases of trials are gone: $(features log2.db)"

# ---- what stands in the way ----
expect "another search in that folder" 1 "holds another search: " search --store log3.db --out alone --over train.alpha=0:1 --quiet
expect "the same search in another folder" 1 "goes on in " search --store log3.db --out elsewhere --over train.alpha=log:0.01:1 --over train.algo=cql,bc --quiet $small --method random
chat 10 de >more.jsonl
"$KEEL" import --store log3.db --format chat more.jsonl --source more --quiet >/dev/null
expect "other logs" 1 "content" search --store log3.db --out alone --over train.alpha=log:0.01:1 --over train.algo=cql,bc --quiet $small --method random
rm -r alone
expect "a folder that was removed is made anew" 0 "" search --store log3.db --out alone --over train.alpha=log:0.01:1 --quiet $small --method random --trials 2

expect "it makes two trials" 0 "" search --store log5.db --out damaged --over train.alpha=log:0.01:1 --quiet $small --method random --seed 5 --trials 2
for damage in "config = '{}'" "config = 'x'" "state = 7" "value = NULL" "config = '{\"train.alpha\": \"9\"}'"; do
    cp log5.db hurt.db
    "$DUMP_STORE" log5.db "UPDATE trials SET $damage WHERE number = 1" >/dev/null
    expect "a trial with $damage" 1 "" search --store log5.db --out damaged --over train.alpha=log:0.01:1 --quiet $small --method random --seed 5 --trials 3
    grep -q 'trial\|train.alpha' err.txt || fail "what is damaged is named: $(cat err.txt)"
    mv hurt.db log5.db
done

# ---- verbs on the line, requirements, halving, grids ----
"$KEEL" sft --store log4.db --base builtin --out base --split train,rest:0/5 --quiet --set epochs=1 --set buckets=4096 --set min_updates=20 >/dev/null
expect "verbs on the line" 0 "" search --store log4.db --out line --over alpha=0:1 --method grid --points 2 --minimise over_refusal_rate --require "refusal_rate >= 0.01" \
    --require "train.metrics.beta >= 1e9" --quiet --json -- train --base base --algo cql --split train,rest:0/5 --out '${out}/policy' --set steps=60 --set hidden=16 \
    -- eval --policy '${out}/policy' --base base --split train,fold:0/5
[ "$(json done out.txt)" = 2 ] && [ "$(json asked out.txt)" = 2 ] || fail "a grid of two values has two trials: $(cat out.txt)"
[ "$(json kept out.txt)" = null ] || fail "what does not meet the requirement is not kept: $(cat out.txt)"
grep -q "No trial meets" out.txt || fail "it says so"
expect "halving" 0 "" search --store log5.db --out halving --over train.alpha=log:0.01:1 --method halving --budget train.steps=20:80 --eta 2 --trials 4 --quiet $small --set train.steps=60
grep -q '^trial  *train.alpha  *budget' out.txt && [ "$(ls halving/trials | wc -l)" = 7 ] || fail "4 + 2 + 1 trials: $(cat out.txt)"
awk '/^-/ { getline; exit ($3 != 80) }' out.txt || fail "the first has the whole budget: $(cat out.txt)"
expect "time is up" 0 "" search --store log5.db --out timed --over train.alpha=log:0.01:1 --method random --trials 5 --time 0.01s --quiet $small
grep -q "time is up: 1 of 5" out.txt || fail "it begins no trial that ends too late: $(cat out.txt)"
expect "a trial that diverges has failed" 0 "" search --store log5.db --out diverging --over train.learning_rate=0.001,10 --method grid --quiet $small --set train.algo=dqn --set train.hidden=64
grep -q "have no value" out.txt || fail "it says so: $(cat out.txt)"

# ---- wrong use ----
expect "nothing varies" 2 "--over" search --store log.db
expect "no metric" 2 "--maximise" search --store log.db --over alpha=0:1 -- train --base base --out p
expect "a metric that is not there" 1 "has no such key" search --store log5.db --out nosuch --over train.alpha=0:1 --maximise eval.nosuch --quiet $small --trials 1
expect "a key that two steps have" 2 "sft.seed, train.seed" search --store log.db --over seed=1,2
expect "an unknown method" 2 "did you mean 'bayes'" search --store log.db --over train.alpha=0:1 --method bays
expect "no duration" 2 "as 90s, 10m or 2h" search --store log.db --over train.alpha=0:1 --time 10
expect "a recipe cannot search" 2 "nor search" search --store log.db --over alpha=0:1 --maximise x -- search --over x=1,2
printf '{"name": "r", "steps": [{"name": "log", "verb": "simulate", "args": {"store": "${out}/l.db", "env": "support-desk", "behaviour": "support-82", "episodes": 120}}, {"name": "look", "verb": "stats", "args": {"store": "${out}/l.db", "split": "all"}}]}' >recipe.json
expect "a recipe" 0 "" search recipe.json --out recipe --over log.episodes=60,90 --over log.seed=1,2 --method grid --maximise splits.train.conversations --quiet --json
[ -e recipe/trials.db ] && [ "$(json done out.txt)" = 4 ] || fail "a recipe has a store of its own for trials: $(cat out.txt)"
finish
