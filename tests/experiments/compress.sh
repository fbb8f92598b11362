#!/bin/sh
# keel compress: bases and their policies at 8 bits; the bound of harm; lineage; wrong use. Decoders: test_compress.
golden=$(cd "$(dirname "$0")/../policies/golden" && pwd)
. "$(dirname "$0")/program.sh"

"$KEEL" simulate --store s.db --env support-desk --behaviour support-82 --episodes 60 --quiet >/dev/null
"$KEEL" sft --store s.db --base builtin --out base --quiet --set epochs=1 --set buckets=4096 --set min_updates=20 >/dev/null
"$KEEL" train --store s.db --base base --quiet --set steps=40 --set hidden=16 --set batch=24 --algo cql --out policy --max-harm 0.95 --harm-fold 1/3 >/dev/null
set -- --base base --weights int8 --quiet --set decisions=0
hash_of() { sed -n 's/.*"model.safetensors": "\(.*\)".*/\1/p' "$1/keel.json"; }

# ---- a base ----
expect "an n-gram base at 8 bits" 0 "" compress "$@" --out small --json
[ "$(awk '/"smaller"/ { print ($2 > 3 && $2 < 4) }' out.txt)" = 1 ] || fail "three to four times smaller: $(cat out.txt)"
[ "$(json lineage.compression.weights small/keel.json)" = '"int8"' ] || fail "the artefact says how it was made"
[ "$(json lineage.before.split small/keel.json)" = "$(json lineage.split base/keel.json)" ] || fail "and what it was made from"
[ "$(json lineage.split small/keel.json)" = "$(json lineage.split base/keel.json)" ] || fail "and what it was tuned on"
expect "the same command again" 0 "" compress "$@" --out small
expect "another number of threads" 0 "" compress "$@" --out other --threads 3
cmp small/model.safetensors other/model.safetensors && cmp small/keel.json other/keel.json || fail "threads change bytes"
expect "another command there" 1 'compression.weights ("int8", here "none")' compress --base base --quiet --out small --set weights=none
expect "tuning goes on from it" 0 "" sft --store s.db --base small --out tuned --quiet --set epochs=1 --set min_updates=20
expect "a policy of another base" 1 "it was trained on base" compress --base small --weights int8 --quiet --store s.db --policy policy --out x

expect "n-grams have no layers" 2 "no layers" compress --base base --ratio 0.2 --out x --quiet
expect "nor layers that keep 8 bits" 2 "no layers" compress "$@" --set sensitive_share=0.5 --out x
expect "nor scales to look for" 2 "no layers" compress "$@" --set calibrate=mse --out x
expect "nor has what is not rounded" 2 "has no scales" compress --base "$golden/llama/biased" --set calibrate=mse --out x
expect "nor a front to search" 2 "one smaller form" compress --base base --store s.db --target bytes=1000 --out x
expect "a copy is told to be one" 0 "not smaller than it was" compress --base base --out copy

# ---- with its policy ----
expect "a policy goes along" 0 "" compress "$@" --store s.db --policy policy --set critics=int8 --out both --json
for metric in refusal_rate over_refusal_rate borderline_refusal_rate completion_rate composite_reward; do
    [ -n "$(json "policy.table.$metric.difference.low" out.txt)" ] || fail "$metric has a paired difference with its interval"
done
[ "$(json policy.constraint.tested_on out.txt)" = '"test,fold:0/2"' ] || fail "half of what is held out tests it: the base was tuned on its fold: $(json policy.constraint.tested_on out.txt)"
[ "$(json policy.constraint.max_harm out.txt)" = 0.95 ] || fail "under its own bound"
[ "$(json policy.changed.n out.txt)" -gt 0 ] || fail "answers are compared with those before"
[ "$(json lineage.compressed_from both/policy/keel.json)" != "" ] && [ "$(json lineage.before.identity both/policy/keel.json)" = "$(json lineage.identity policy/keel.json)" ] || fail "the policy's lineage"
expect "it is found with its base" 0 "" eval --store s.db --policy both/policy --split test --quiet
expect "the same command again" 0 "" compress "$@" --store s.db --policy policy --set critics=int8 --out both
expect "another command there" 1 "another run made" compress "$@" --store s.db --policy policy --set critics=none --out both

expect "a bound that breaks" 3 "no threshold keeps harm" compress "$@" --store s.db --policy policy --set max_harm=0.0001 --out strict --json
[ ! -e strict ] || fail "nothing is written where a bound breaks"
grep -q '"refused": "no threshold keeps harm' out.txt || fail "the table is there all the same, and says why: $(cat out.txt)"
expect "unless told otherwise" 0 "" compress "$@" --store s.db --policy policy --set max_harm=0.0001 --out strict --anyway
[ "$(json harm_threshold strict/policy/config.json)" = 0 ] || fail "then by the strictest threshold"
[ "$(json metrics.constraint.max_harm strict/policy/keel.json)" = "" ] || fail "and no bound is claimed"

[ "$(json metrics.before.constraint.max_harm strict/policy/keel.json)" = 0.95 ] || fail "but that there was one stays"
expect "made smaller again" 0 "" compress --base strict/base --policy strict/policy --set critic_ratio=0.3 --store s.db --out twice --quiet --set decisions=0 --json
[ "$(json policy.constraint.max_harm out.txt)" = 0.95 ] || fail "its bound is tested again: $(cat out.txt)"
touch both/notes
expect "a folder with more in it" 1 "holds more than a base and its policy: notes" compress "$@" --store s.db --policy policy --set critics=none --out both --replace
[ -e both/notes ] || fail "nothing is lost"

# ---- decoders ----
expect "a decoder as it came" 0 "" compress --base "$golden/llama/biased" --weights q4_g32 --out decoder --quiet
[ "$(json lineage.compression.weights decoder/compress.json)" = '"q4_g32"' ] || fail "compress.json has the lineage"
expect "for other programs again" 0 "" convert --base decoder --out plain --weights f32
expect "which have the numbers" 0 "" verify --base plain --quiet

# Corrections become the weights' own; tuning goes on from them.
chat 12 en >log.jsonl
"$KEEL" import --store d.db log.jsonl --quiet >/dev/null
expect "a decoder with LoRA" 0 "" sft --store d.db --base "$golden/llama/biased" --mode lora --set rank=2 --set too_long=cut --out lora --quiet
expect "is made smaller, by what it reads" 0 "" compress --base lora --store d.db --weights q4_g32 --set calibrate=mse --out merged --quiet
[ -d lora/adapter ] && [ ! -e merged/adapter ] || fail "corrections are merged"
[ "$(json lineage.looked_at.split merged/keel.json)" = '"train"' ] || fail "the lineage says what was looked at"

# ---- wrong use ----
expect "a policy wants a store" 2 "needs --store" compress "$@" --policy policy --out x
expect "a split wants a store" 2 "needs --store" compress "$@" --split train --out x
for key in max_harm=0.02 max_loss=0.01 confidence=0.9 critics=int8 critic_ratio=0.3; do
    expect "$key without a policy is no bound" 2 "needs --policy" compress "$@" --store s.db --set $key --out x
done
expect "nor is --anyway" 2 "needs --policy" compress "$@" --anyway --out x
expect "nothing to set it beside" 2 "needs --store" compress "$@" --before base --out x
expect "what is looked at does not judge" 2 "may hold conversations of --split" compress "$@" --store s.db --policy policy --split test --out x
expect "nor what judges is looked at" 2 "may hold conversations of --split" compress "$@" --store s.db --held-out train,fold:0/2 --out x
expect "a student of n-grams" 1 "of encoders alone" compress "$@" --set student_layers=1 --out x
expect "a student of a decoder" 1 "of encoders alone" compress --base "$golden/llama/biased" --set student_hidden=16 --out x
expect "no such format" 2 "q4_g32" compress --base base --weights q3 --out x
expect "nothing there" 1 "there is no such folder or file" compress --base nothing --weights int8 --out x
expect "a kind is no base" 1 "there is no such folder or file" compress --base builtin --weights int8 --out x
expect "a folder of somebody" 1 "exists and is" compress "$@" --out "$golden"
expect "trials of nothing" 2 "needs --target" compress "$@" --trials 3 --out x
[ ! -e x ] || fail "wrong use writes nothing"
finish
