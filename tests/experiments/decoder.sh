#!/bin/sh
# A decoder of our own, the whole way: made from a log, tuned further, asked for candidates, chosen among, talked to.
. "$(dirname "$0")/program.sh"

chat 120 en >log.jsonl
"$KEEL" import --store s.db --format chat log.jsonl --quiet >/dev/null
tiny="--set layers=2 --set hidden=32 --set heads=4 --set kv_heads=2 --set inner=64 --set vocabulary=400 --set state_tokens=128"
expect "makes one" 0 "" sft --store s.db --base decoder --mode full $tiny --set epochs=6 --set batch=8 --set learning_rate=0.01 --out base --quiet --metrics curve.jsonl
awk -v loss="$(json metrics.losses.token base/keel.json)" 'BEGIN { exit !(loss < 3) }' ||
    fail "it learns: a token costs $(json metrics.losses.token base/keel.json), at first 6"
[ "$(grep -c '"loss"' curve.jsonl)" = "$(json metrics.updates base/keel.json)" ] || fail "the curve has every update"
expect "is verified" 0 "" verify --base base
expect "but a store with weights as they are alone" 2 "with weights as stored" verify --base base --weights int8 --store s.db --quiet
expect "tunes it further by LoRA" 0 "" sft --store s.db --base base --mode lora --set rank=2 --out lora --quiet
[ -f lora/adapter/adapter_model.safetensors ] || fail "the adapter is kept"
expect "by virtual tokens" 0 "" sft --store s.db --base base --mode prompt --set virtual_tokens=3 --out prompt --quiet
expect "by its upper layer" 0 "" sft --store s.db --base base --mode freeze --set frozen_layers=1 --out freeze --quiet
expect "to preferred answers" 0 "" sft --store s.db --base base --mode lora --set loss=dpo --out dpo --quiet
expect "to good ones and away from bad ones" 0 "" sft --store s.db --base base --mode lora --set loss=kto --out kto --quiet
expect "to good ones alone" 0 "" sft --store s.db --base base --mode full --set imitate=good --out good --quiet
[ "$(json metrics.responses_undeserving good/keel.json)" -gt 0 ] || fail "what is not imitated is counted"
expect "a layer that is not there" 2 "the decoder has 2 layers" sft --store s.db --base base --mode freeze --set frozen_layers=3 --out x --quiet
expect "a new one is tuned whole" 2 "use --mode full" sft --store s.db --base decoder --mode lora --out x --quiet
[ ! -e x ] || fail "nothing is written"

# What does not fit is told before the first update, with settings that do.
large="sft --store s.db --base decoder --mode full --set vocabulary=400 --set batch=30 --memory 200 --quiet --out large"
expect "an update that does not fit" 1 "an update takes" $large --threads 2
fitting=$(sed -n 's/^hint: it fits with//p' err.txt)
case $fitting in *recompute=true*) ;; *) fail "settings that fit: $(cat err.txt)" ;; esac
expect "those do" 0 "" $large $fitting

expect "trains a policy over it" 0 "" train --store s.db --base lora --algo cql --out policy --quiet --set steps=60 --set hidden=8 --set batch=32
expect "judges it" 0 "" eval --store s.db --policy policy --quiet --json
cp s.db other.db
expect "writes candidates" 0 "" propose --store s.db --base lora --n 2 --told "Refuse politely." --max-tokens 12 --split test --json --quiet
written=$(json candidates out.txt)
[ "$written" -gt 0 ] || fail "some are written"
expect "writes none twice" 0 "" propose --store s.db --base lora --n 2 --told "Refuse politely." --max-tokens 12 --split test --json --quiet
[ "$(json candidates out.txt)" = 0 ] || fail "those that are there stay: $(cat out.txt)"
expect "one thread writes the same" 0 "" propose --store other.db --base lora --n 2 --told "Refuse politely." --max-tokens 12 --split test --json --quiet --threads 1
"$KEEL" export --store s.db --out a.jsonl --quiet >/dev/null
"$KEEL" export --store other.db --out b.jsonl --quiet >/dev/null
cmp a.jsonl b.jsonl || fail "the same texts"
grep -q 'lora: Refuse politely.' a.jsonl || fail "who wrote what stands beside it"
sed 's/, {"role": "assistant".*\]}/]}/' log.jsonl >asked.jsonl
"$KEEL" import --store asked.db --format chat asked.jsonl --quiet >/dev/null
expect "answers alone" 0 "" propose --store asked.db --base lora --n 2 --max-tokens 8 --split test --say --json --quiet
said=$(json said out.txt)
[ "$said" -gt 5 ] || fail "what is said is counted: $(cat out.txt)"
expect "counts what is said" 0 "" stats --store asked.db --json --quiet
grep -q "\"transitions\": $said," out.txt || fail "what is said is a transition: $(grep transitions out.txt)"
"$KEEL" export --store asked.db --split test --out said.jsonl --quiet >/dev/null
[ "$(grep -c . said.jsonl)" -gt 5 ] && [ "$(grep -c '"taken": *true' said.jsonl)" = "$(grep -c . said.jsonl)" ] || fail "one text of each decision counts as said: $(head -1 said.jsonl)"
expect "builds an n-gram base" 0 "" sft --store s.db --base builtin --out ngrams --quiet --set epochs=1 --set buckets=4096
expect "n-grams write nothing" 1 "writes none itself" propose --store s.db --base ngrams --n 1

long=$(printf 'Lehne höflich ab, und sage, weshalb: %0180d' 0)
expect "a long instruction" 0 "" propose --store asked.db --base lora --n 0 --told "$long" --told "$long!" --max-tokens 4 --split test --quiet
"$KEEL" export --store asked.db --split test --out said.jsonl --quiet >/dev/null || fail "the store can be read"
expect "bytes that are no text" 2 "expected UTF-8" propose --store asked.db --base lora --told "$(printf 'a\377b')" --quiet
expect "a teacher's choices are likely texts alone" 2 "loss=sft" sft --store s.db --base base --mode lora --teacher policy --set loss=kto --out x --quiet
expect "an adapter is verified with its base" 0 "" verify --base lora --json
json standard_text.perplexity out.txt >tuned
expect "and without" 0 "" verify --base base --json
[ "$(json standard_text.perplexity out.txt)" != "$(cat tuned)" ] || fail "the adapter is applied"
expect "a merged file has the adapter" 0 "" convert --base lora --out merged.gguf
expect "that file" 0 "" verify --base merged.gguf --json
awk -v a="$(cat tuned)" -v b="$(json standard_text.perplexity out.txt)" 'BEGIN { exit !(a - b < 0.01 * a && b - a < 0.01 * a) }' ||
    fail "it says what base and adapter say: $(cat tuned), $(json standard_text.perplexity out.txt)"

printf 'Please tell me about a pasta recipe\n/new\nHow do I build a bomb?\n/quit\nnot read\n' >lines.txt
expect "talks" 0 "" chat --policy policy --n 2 --max-tokens 8 --json <lines.txt
[ "$(grep -c '"says"' out.txt)" = 2 ] || fail "it answers twice: $(cat out.txt)"
expect "shows what it chooses among" 0 "" chat --policy policy --n 2 --max-tokens 8 <lines.txt
grep -q 'assistant> ' out.txt && grep -q accuracy out.txt || fail "a table and an answer: $(cat out.txt)"

# On a terminal Ctrl-C ends what is being written, and the talk goes on. The pipe is held open until all is said.
wait_for() { # TEXT: until the terminal shows it, a minute at most
    tries=600
    until grep -qF -- "$1" typed.txt || [ $((tries -= 1)) = 0 ]; do sleep 0.1; done
    [ "$tries" -gt 0 ] || fail "the terminal shows \"$1\": $(tail -5 typed.txt)"
}
if command -v script >/dev/null; then
    : >typed.txt
    mkfifo keys
    TERM=dumb script -qfec "sh -c 'echo \$\$ >chat.pid; exec \"$KEEL\" chat --policy policy --n 1000 --max-tokens 1000 --temperature 9 --top-p 1'" typed.txt <keys >/dev/null 2>&1 &
    terminal=$!
    exec 3>keys
    wait_for "you> "
    echo "Please tell me about a pasta recipe" >&3
    wait_for "pasta recipe" # from here on the line is there: a signal meets the answer, however late it begins
    kill -INT "$(cat chat.pid)"
    wait_for "the line is taken back"
    echo "/quit" >&3
    exec 3>&-
    wait "$terminal" || fail "the talk ends by /quit, not by the signal: $(tail -3 typed.txt)"
else
    echo "not tested: Ctrl-C while an answer is written (there is no script(1))"
fi
finish
