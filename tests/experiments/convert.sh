#!/bin/sh
# keel convert and keel verify of decoders: folder to .gguf and back, each with the same numbers; wrong use.
golden=$(cd "$(dirname "$0")/../policies/golden" && pwd)
. "$(dirname "$0")/program.sh"

# what: the numbers of keel verify, without names, hashes and sizes of files.
what() { "$KEEL" verify --base "$@" --json --quiet | sed '/"base":/d; /"sha256": {/,/}/d; /"file_mb"/d'; }

# ---- verify ----
expect "a decoder's folder" 0 "" verify --base "$golden/llama/tied"
grep -q '^model: kv_heads  *2$' out.txt && grep -q '^sha256: model.safetensors  *[0-9a-f]\{64\}$' out.txt && grep -q '^standard_text: perplexity  *[0-9]' out.txt && grep -q '^tokens  d e f' out.txt || fail "sizes, hash, perplexity, tokens: $(cat out.txt)"
expect "a .gguf file" 0 "" verify --base "$golden/gguf/biased-q4_1.gguf" --text bread --json
grep -q '"kind": "qwen2"' out.txt && grep -q '"weights": "F32"' out.txt || fail "kind and weights: $(cat out.txt)"
[ "$(grep -c '"logit"' out.txt)" -eq 5 ] || fail "five tokens that may come next: $(cat out.txt)"
expect "with other weights" 0 "" verify --base "$golden/llama/biased" --weights q8_0 --json
grep -q '"weights": "Q8_0"' out.txt || fail "weights: $(cat out.txt)"
[ "$(what "$golden/llama/tied" --threads 1)" = "$(what "$golden/llama/tied" --threads 3)" ] || fail "threads change numbers"

# What its template refuses is said before a log meets it, and there by the conversation.
cp -r "$golden/llama/tied" strict
cat >strict/chat_template.jinja <<'END'
{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system, please') }}{% endif %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}
END
expect "a strict template" 0 "" verify --base strict
grep -q '^chat_template: user  *taken$' out.txt && grep -q '^chat_template: system  *refused: .*no system, please' out.txt &&
    grep -q '^chat_template: tools  *taken without functions, the call$' out.txt || fail "what it takes: $(grep chat_template out.txt)"
for id in plain told; do
    system='{"role": "system", "content": "be good"}, '
    [ $id = told ] || system=
    printf '{"id": "%s", "messages": [%s{"role": "user", "content": "bake bread"}, {"role": "assistant", "content": "the dog"}]}\n' $id "$system"
done >log.jsonl
"$KEEL" import --store s.db --format chat log.jsonl --quiet >/dev/null
expect "a conversation that it refuses is named" 1 "conversation told: " propose --store s.db --base strict --n 1 --max-tokens 2 --quiet
grep -q 'no system, please' err.txt && grep -q 'keel verify' err.txt || fail "why, and what to do: $(cat err.txt)"
expect "in tuning too" 1 "conversation told: " sft --store s.db --base strict --mode lora --out x --split all --quiet

# The perplexity of lines is that of their tokens together.
printf 'the dog\n\nhow do i bake bread ?\n' >lines.txt
expect "lines" 0 "" verify --base "$golden/llama/tied" --lines lines.txt --json
grep -q '"lines": 3' out.txt || fail "three lines: $(cat out.txt)"
first=$(sed -n '/"lines": {/,/}/s/.*"perplexity": \([0-9.]*\).*/\1/p' out.txt)
cat lines.txt lines.txt >twice.txt
expect "twice as many" 0 "" verify --base "$golden/llama/tied" --lines twice.txt --json
second=$(sed -n '/"lines": {/,/}/s/.*"perplexity": \([0-9.]*\).*/\1/p' out.txt)
awk -v a="$first" -v b="$second" 'BEGIN { exit !(a > 1 && a - b < 1e-9 * a && b - a < 1e-9 * a) }' || fail "the same lines twice: $first, $second"
printf 'bad \377 line\n' >bad.txt
expect "lines that are no text" 1 "line 1" verify --base "$golden/llama/tied" --lines bad.txt
expect "weights that a width has no room for" 1 "multiple of 32" verify --base "$golden/llama/tied" --weights q8_0
expect "no such weights" 2 "bf16" verify --base "$golden/llama/tied" --weights q3
expect "an encoder has no lines" 2 "for decoders" verify --base "$golden/bert/mean" --lines lines.txt

# ---- convert ----
expect "to a file" 0 "" convert --base "$golden/llama/biased" --out a.gguf
grep -q '^weights  *bf16$' out.txt || fail "as stored: $(cat out.txt)"
expect "and back" 0 "" convert --base a.gguf --out back --weights f32
[ "$(what a.gguf)" = "$(what "$golden/llama/biased")" ] || fail "the file has other numbers than the folder"
[ "$(what back --weights f32)" = "$(what "$golden/llama/biased" --weights f32)" ] || fail "the folder made of it has others"
expect "in 8 bits" 0 "" convert --base a.gguf --out q.gguf --weights q8_0
[ "$(what q.gguf --weights q8_0)" = "$(what "$golden/llama/biased" --weights q8_0)" ] || fail "8 bits of the file are not those of memory"
expect "in 4 bits" 0 "" convert --base a.gguf --out q4.gguf --weights q4_0
grep -q '^weights  *q4_0$' out.txt || fail "what was written: $(cat out.txt)"
[ "$(what q4.gguf --weights q4_0)" = "$(what "$golden/llama/biased" --weights q4_0)" ] || fail "4 bits of the file are not those of memory"
for weights in int8 q4_0; do
    expect "compressed" 0 "" compress --base "$golden/llama/biased" --out $weights --weights $weights --quiet
done
expect "formats that no .gguf file has" 1 "int8, which no .gguf file says" convert --base int8 --out int8.gguf
grep -q 'hint: --weights q8_0' err.txt || fail "what to do: $(cat err.txt)"
expect "unless they are asked for" 0 "" convert --base int8 --out int8.gguf --weights q8_0
expect "compressed as it is" 0 "" convert --base q4_0 --out c4.gguf
[ "$(what c4.gguf --weights q4_0)" = "$(what q4_0)" ] || fail "the file of a compressed folder has other numbers"
expect "and as a folder" 0 "" convert --base q4_0 --out c4
[ "$(what c4)" = "$(what q4_0)" ] || fail "the folder of a compressed folder has other numbers"
expect "llama3 scaling and biases" 0 "" convert --base "$golden/llama/llama3" --out l.gguf --weights f16
[ "$(what l.gguf)" = "$(what "$golden/llama/llama3")" ] || fail "the file of llama3 has other numbers"
expect "nothing is written over" 1 "there already" convert --base a.gguf --out back
expect "nor a file" 1 "there already" convert --base "$golden/llama/tied" --out a.gguf
expect "a folder has no 8 bits" 2 "ends in .gguf" convert --base a.gguf --out none --weights q8_0
expect "an encoder" 1 "model_type" convert --base "$golden/bert/mean" --out none
[ ! -e none ] || fail "something is left of what failed"
head -c 5000 a.gguf >cut.gguf
expect "a file that is cut off" 1 "cut.gguf" convert --base cut.gguf --out none

# ---- an encoder: ONNX, and 8 bits ----
expect "a decoder as ONNX" 1 "a decoder is not written as ONNX" convert --base "$golden/llama/tied" --out d.onnx
expect "with other weights" 2 "a .onnx file has f32, got q8_0" convert --base "$golden/bert/mean" --out e.onnx --weights q8_0
if "$KEEL" convert --base "$golden/bert/mean" --out e.onnx >out.txt 2>err.txt; then
    [ -s e.onnx ] && grep -q '^weights  *f32$' out.txt || fail "what was written: $(cat out.txt)"
    expect "nor a .onnx file" 1 "there already" convert --base "$golden/bert/mean" --out e.onnx
else
    grep -q "built without ONNX" err.txt || fail "an encoder as ONNX: $(cat err.txt)"
    echo "this keel was built without ONNX: its file is not tested"
fi
expect "an encoder in 8 bits" 0 "" compress --base "$golden/bert/mean" --weights int8 --out encoder8
expect "is read" 0 "" verify --base encoder8
grep -q '^model: weights  *int8$' out.txt && grep -q '^text  ' out.txt || fail "format and vectors: $(cat out.txt)"
[ ! -e none ] || fail "something is left of what failed"
finish
