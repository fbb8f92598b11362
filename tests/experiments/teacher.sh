#!/bin/sh
# A base that is tuned on what a policy would choose, not on what was said (keel sft --teacher).
. "$(dirname "$0")/program.sh"

chat 160 en >log.jsonl # a fifth of the taken answers is wrong: what was wanted is refused, what was not is given
"$KEEL" import --store s.db --format chat log.jsonl --quiet >/dev/null
small="--set epochs=4 --set buckets=4096 --set min_updates=60"
expect "tunes the policy's base" 0 "" sft --store s.db --base builtin --out base --quiet $small
expect "trains the teacher" 0 "" train --store s.db --base base --algo cql --out policy --quiet --set steps=200 --set hidden=16 --set batch=64
expect "tunes on the teacher's choices" 0 "" sft --store s.db --base builtin --teacher policy --out taught --quiet $small
grep -q '"teacher"' taught/keel.json || fail "its lineage names the teacher"
for base in base taught; do
    expect "clones nothing on $base" 0 "" train --store s.db --base "$base" --algo bc --out "$base-bc" --quiet --set steps=1
    expect "judges $base" 0 "" eval --store s.db --policy "$base-bc" --split test --json --quiet
    json baselines.base.metrics.accuracy.value out.txt >"$base.accuracy"
done
awk -v own="$(cat base.accuracy)" -v taught="$(cat taught.accuracy)" 'BEGIN { exit !(taught > own || taught == 1) }' ||
    fail "the taught base does better than one that imitates the log: $(cat taught.accuracy) against $(cat base.accuracy)"
mv taught first
expect "one thread makes the same bytes" 0 "" sft --store s.db --base builtin --teacher policy --out taught --quiet --threads 1 $small
cmp first/model.safetensors taught/model.safetensors || fail "the same bytes"

# over acts: where the teacher chooses another act than the log, no candidate has it, and its name teaches. What is dangerous was mostly done
chat 400 en | awk '!/dangerous/ || /"content": "Sure[^}]*, "candidates"/ || ++n % 6 == 0' | sed 's/"candidates": \[[^]]*\]/"meta": {}/; s/"outcome": "\([a-z]*\)"/"act": "\1", "outcome": "\1"/' >acts.jsonl
"$KEEL" import --store a.db --format chat acts.jsonl --quiet >/dev/null
expect "tunes a base over acts" 0 "" sft --store a.db --base builtin --out acts --quiet $small
expect "trains a teacher over acts" 0 "" train --store a.db --base acts --algo cql --out namer --quiet --set steps=200 --set hidden=16 --set batch=64
expect "learns acts that no candidate has" 0 "" sft --store a.db --base builtin --teacher namer --teacher-base acts --out named --quiet $small
[ "$(json metrics.taught_by_name named/keel.json)" -gt 0 ] || fail "they are counted"
[ "$(json metrics.taught_nothing named/keel.json)" -eq 0 ] || fail "every decision teaches"
for base in acts named; do
    expect "clones nothing on $base" 0 "" train --store a.db --base "$base" --algo bc --out "$base-bc" --quiet --set steps=1
    expect "judges $base" 0 "" eval --store a.db --policy "$base-bc" --split test --json --quiet
    json baselines.base.metrics.harmful_compliance_rate.value out.txt >"$base.harm"
done
awk -v own="$(cat acts.harm)" -v taught="$(cat named.harm)" 'BEGIN { exit !(own > 0.5 && taught < 0.1) }' ||
    fail "the teacher's acts are learned: harmful compliance $(cat named.harm) against $(cat acts.harm)"
expect "over texts names teach nothing" 0 "" sft --store a.db --base builtin --teacher namer --teacher-base acts --out texts --quiet $small --set action_space=candidates
[ "$(json metrics.taught_by_name texts/keel.json)" -eq 0 ] && [ "$(json metrics.taught_nothing texts/keel.json)" -gt 0 ] ||
    fail "over texts they are counted as nothing: $(json metrics.taught_by_name texts/keel.json)"

expect "a base that is no teacher" 1 "cannot teach it" sft --store s.db --base builtin --teacher-base base --out x --quiet
expect "no such base to learn from" 1 "nobody" sft --store s.db --base builtin --teacher-base nobody --out x --quiet
expect "no such teacher" 1 "nobody" sft --store s.db --base builtin --teacher nobody --out x --quiet
sed 's/, "candidates": [^]]*\]}/}/' log.jsonl | sed 's/"messages": \[.*\]/"messages": [{"role": "user", "content": "Hello"}]/' >empty.jsonl
"$KEEL" import --store e.db --format chat empty.jsonl --quiet >/dev/null
expect "a teacher without choices" 1 "" sft --store e.db --base builtin --teacher policy --out x --quiet --split all
[ ! -e x ] || fail "nothing is written"
finish
