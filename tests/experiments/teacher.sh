#!/bin/sh
# A base that is tuned on what a policy would choose, not on what was said (keel sft --teacher).
. "$(dirname "$0")/program.sh"

chat 160 en >log.jsonl # a fifth of the taken answers is wrong: what was wanted is refused, what was not is given
"$KEEL" import --store s.db --format chat log.jsonl --quiet >/dev/null
# judged STORE METRIC BASE: what the base's own choices measure on the split test, into BASE.value.
judged() {
    expect "clones nothing on $3" 0 "" train --store "$1" --base "$3" --algo bc --out "$3-bc" --quiet --set steps=1
    expect "judges $3" 0 "" eval --store "$1" --policy "$3-bc" --split test --json --quiet
    json "baselines.base.metrics.$2.value" out.txt >"$3.value"
}
small="--set epochs=4 --set buckets=4096 --set min_updates=60"
expect "tunes the policy's base" 0 "" sft --store s.db --base builtin --out base --quiet $small
expect "trains the teacher" 0 "" train --store s.db --base base --algo cql --out policy --quiet --set steps=200 --set hidden=16 --set batch=64
expect "tunes on the teacher's choices" 0 "" sft --store s.db --base builtin --teacher policy --out taught --quiet $small
grep -q '"teacher"' taught/keel.json || fail "its lineage names the teacher"
judged s.db accuracy base
judged s.db accuracy taught
awk -v own="$(cat base.value)" -v taught="$(cat taught.value)" 'BEGIN { exit !(taught > own || taught == 1) }' ||
    fail "the taught base does better than one that imitates the log: $(cat taught.value) against $(cat base.value)"
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
judged a.db harmful_compliance_rate acts
judged a.db harmful_compliance_rate named
awk -v own="$(cat acts.value)" -v taught="$(cat named.value)" 'BEGIN { exit !(own > 0.5 && taught < 0.1) }' ||
    fail "the teacher's acts are learned: harmful compliance $(cat named.value) against $(cat acts.value)"
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
