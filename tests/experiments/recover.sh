#!/bin/sh
# A decoder that is pruned, taught again by what it was pruned from, tuned for a number format, and compressed, with the policy that
# was trained on the first one.
. "$(dirname "$0")/program.sh"

chat 60 en >log.jsonl
"$KEEL" import --store s.db --format chat log.jsonl --quiet >/dev/null
expect "makes a decoder" 0 "" sft --store s.db --base decoder --mode full --set ngrams=no --set layers=2 --set hidden=64 --set heads=4 --set kv_heads=2 --set inner=128 \
    --set vocabulary=400 --set state_tokens=128 --set epochs=4 --set batch=8 --set learning_rate=0.01 --out own --quiet
expect "as a model of its own" 0 "" convert --base own --out model
expect "under a policy" 0 "" sft --store s.db --base model --mode none --set state_tokens=128 --out base --quiet
expect "the policy" 0 "" train --store s.db --base base --algo cql --out policy --quiet --set steps=60 --set hidden=8 --set batch=32
expect "prunes" 0 "" compress --base base --ratio 0.48 --set prune=channels --set importance=weight --set spread=even --out pruned --quiet

taught="--teacher-base base --mode full --set batch=8 --set learning_rate=0.001"
expect "recovers" 0 "" sft --store s.db --base pruned $taught --set distil=1 --set epochs=2 --out recovered --quiet --metrics curve.jsonl
awk -F'[:,]' '/"loss"/ { n++; if (n <= 3) first += $4; at[n] = $4 } END { last = at[n] + at[n - 1] + at[n - 2]; exit !(n > 6 && last < 0.7 * first) }' curve.jsonl ||
    fail "it comes nearer to its teacher: $(head -1 curve.jsonl), $(tail -1 curve.jsonl)"
grep -q '"teacher_base"' recovered/keel.json || fail "its lineage names the teacher"
[ "$(json lineage.teacher_split recovered/keel.json)" = '"train"' ] || fail "and what that was tuned on"
cmp -s pruned/ngrams/model.safetensors recovered/ngrams/model.safetensors || fail "what a teacher alone says leaves the n-grams beside it as they were"
expect "tunes for four bits" 0 "" sft --store s.db --base recovered $taught --set distil=1 --set fake_quant=q4_g32 --set epochs=1 --out ready --quiet
expect "another base than the policy's" 1 "" compress --store s.db --base ready --weights q4_g32 --policy policy --anyway --out x --quiet
expect "puts the policy on it" 0 "" compress --store s.db --base ready --weights q4_g32 --policy policy --before base --anyway --out small --json --quiet
[ "$(json policy.changed.n out.txt)" -gt 0 ] && [ "$(json metrics.latency_ms_before out.txt)" != "" ] || fail "they are set side by side: $(cat out.txt)"
expect "it decides" 0 "" eval --store s.db --policy small/policy --quiet --json

expect "LoRA cannot make up for it" 2 "use --mode full or freeze" sft --store s.db --base pruned --teacher-base base --mode lora --set fake_quant=int8 --out x --quiet
expect "an n-gram base" 0 "" sft --store s.db --base builtin --out ngrams --quiet --set epochs=1 --set buckets=4096
expect "a teacher that writes no texts" 1 "learns from another decoder" sft --store s.db --base pruned --teacher-base ngrams --mode full --out x --quiet
[ ! -e x ] || fail "nothing is written"
finish
