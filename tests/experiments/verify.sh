#!/bin/sh
# keel verify: an encoder's folder, a base of Keel's, tuned or not, and folders that are neither.
golden=$(cd "$(dirname "$0")/../policies/golden" && pwd)
. "$(dirname "$0")/program.sh"

expect "an encoder's folder" 0 "" verify --base "$golden/bert/mean"
grep -q '^model: layers  *2$' out.txt && grep -q '^sha256: model.safetensors  *[0-9a-f]\{64\}$' out.txt && grep -q '^tokens  \[CLS\] how do i bake bread ? \[SEP\]' out.txt || fail "sizes, hash, tokens: $(cat out.txt)"
expect "as JSON" 0 "" verify --base "$golden/bert/mean" --text "How do I bake bread?" --json
first=$(sed -n '/"vector": \[/{n;s/[ ,]//g;p;}' out.txt)
want=$(sed 's/.*"mean": \[\[\([^,]*\),.*/\1/' "$golden/vectors.json")
awk -v a="$first" -v b="$want" 'BEGIN { exit !(a - b < 1e-5 && b - a < 1e-5) }' || fail "the vector of the library: $first, expected $want"
expect "in shards and half precision" 0 "" verify --base "$golden/bert/first" --text bread
chat 20 en >log.jsonl
"$KEEL" import --store s.db --split new log.jsonl --quiet >/dev/null
"$KEEL" sft --store s.db --base builtin --out base --split new --quiet --set buckets=4096 --set min_updates=5 >/dev/null
expect "a base of Keel's" 0 "" verify --base base
grep -q '^kind  *builtin$' out.txt || fail "its kind: $(cat out.txt)"
expect "which has no vectors" 2 "has no vector of a text" verify --base base --text bread
printf x >>base/model.safetensors
expect "damage" 1 "model.safetensors" verify --base base
"$KEEL" sft --store s.db --base "$golden/bert/mean" --mode head --set folds=0 --set head_epochs=1 --out heads --split new --quiet >/dev/null
expect "a tuned encoder" 0 "" verify --base heads --text "How do I bake bread?" --json
grep -q '"kind": "encoder"' out.txt || fail "its kind: $(cat out.txt)"
tuned=$(sed -n '/"vector": \[/{n;s/[ ,]//g;p;}' out.txt)
[ "$tuned" = "$first" ] || fail "mode head leaves the encoder's vectors as they were: $tuned, expected $first"
mkdir empty
expect "a folder of nothing" 1 "empty: holds neither" verify --base empty
expect "no folder" 1 "none: there is no such folder or file" verify --base none
cp -r "$golden/bert/mean" broken
printf '{"model_type": "gpt2"}' >broken/config.json
expect "another kind of model" 1 "model_type" verify --base broken
finish
