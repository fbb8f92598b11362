#!/bin/sh
# keel decide: open conversations and new prompts without a store; the same answers as a replay of them from a store.
. "$(dirname "$0")/program.sh"

chat 80 en >log.jsonl
small="--quiet --set steps=300 --set hidden=32 --set batch=32"
"$KEEL" import --store s.db --format chat log.jsonl --quiet >/dev/null
for space in candidates outcomes; do
    "$KEEL" sft --store s.db --base builtin --out $space/base --quiet --set epochs=4 --set buckets=4096 --set action_space=$space >/dev/null
    # shellcheck disable=SC2086
    "$KEEL" train --store s.db --base $space/base --algo cql --out $space/policy $small >/dev/null
done

# Conversations that wait for an answer, with candidates that nobody was given.
open() { sed 's/"id": "c/"id": "'"$1"'/; s/{"role": "assistant", "content": \("[^"]*"\).*"candidates": \[{"content": \("[^"]*"\).*/{"role": "assistant", "content": null, "candidates": [\1, \2]}]}/' log.jsonl | head -n 20; }
open o >open.jsonl
expect "a policy decides" 0 "decided 20, 0 by fallback" decide --policy candidates/policy open.jsonl --json
[ "$(wc -l <out.txt)" = 20 ] && [ "$(grep -c '^{"where":"open.jsonl:[0-9]*","conversation":"o[0-9]*","policy":"[0-9a-f]*","turn":1,.*"probability":' out.txt)" = 20 ] || fail "a line of JSON for each"
sed 's/.*"says":"\([^"]*\)","action".*/\1/' out.txt >decided.txt
"$KEEL" import --store open.db --split new open.jsonl --quiet >/dev/null
expect "replay answers open decisions" 0 "" replay --store open.db --policy candidates/policy --split new --quiet --json --limit 100
[ "$(json open out.txt)" = 20 ] && [ "$(json differing out.txt)" = 0 ] && [ "$(grep -c '"agrees": null' out.txt)" = 20 ] || fail "what nobody answered does not differ"
grep -B 3 '"chosen": true' out.txt | sed -n 's/ *"says": "\(.*\)",/\1/p' >replayed.txt
cmp -s decided.txt replayed.txt || fail "decide and replay give the same answers"
expect "and says so" 0 "" replay --store open.db --policy candidates/policy --split new --quiet --limit 1
grep -q "answer is still to be given" out.txt && grep -q "^20 of them are open" out.txt || fail "replay of open decisions for people: $(cat out.txt)"
expect "for people" 0 "" decide --policy candidates/policy open.jsonl --quiet
grep -q "^open.jsonl:2, turn 1" out.txt && grep -q "^> .*sorry" out.txt && grep -q "^why: .* the next best" out.txt || fail "tables"
expect "standard input, a file and gzip" 0 "" decide --policy candidates/policy --out out.jsonl.gz --quiet --json - <open.jsonl
[ "$(json decided out.txt)" = 20 ] && [ "$(gzip -dc out.jsonl.gz | sed 's/.*"says":"\([^"]*\)","action".*/\1/' | cmp - decided.txt && echo same)" = same ] || fail "--out has the same lines"
expect "the strictest threshold" 0 "by fallback" decide --policy candidates/policy open.jsonl --harm-threshold 0 --json
[ "$(grep -c '"fallback":true,"value"' out.txt)" -ge 5 ] || fail "fallbacks are marked: $(cat out.txt)"
[ "$(grep -c '"cost":' out.txt)" = 20 ] || fail "the cost of each answer is shown"

# Others are left out and counted; what cannot be decided is an error that names the line.
expect "what was answered is left out" 0 "left out 80 conversations whose last message is an answer" decide --policy candidates/policy log.jsonl
{
    head -n 1 open.jsonl
    echo '{"messages": [{"role": "user", "content": "no candidates"}]}'
    echo '{"messages": [{"role": "user", '
    tail -n 1 open.jsonl
} >bad.jsonl
expect "no candidates to choose from" 1 "bad.jsonl:2: the policy chooses among candidates" decide --policy candidates/policy bad.jsonl
expect "too many bad lines" 1 "bad.jsonl:3" decide --policy candidates/policy bad.jsonl --skip-bad 1 --out none.jsonl
[ ! -e none.jsonl ] || fail "a file that is not whole is not left behind"
expect "bad lines are named" 0 "skipped 2 lines" decide --policy candidates/policy bad.jsonl --skip-bad 2 --json
[ "$(grep -c '"says"' out.txt)" -ge 2 ] && grep -q '^{"where":"bad.jsonl:2","error":' out.txt && grep -q '^{"where":"bad.jsonl:3","error":' out.txt || fail "errors stand in the place of decisions"

# New prompts under a policy over outcomes.
printf 'Please tell me about train times\n\n  \nPlease tell me about steal a car\r\n' >prompts.txt
expect "lines of text" 0 "decided 2" decide --policy outcomes/policy --text prompts.txt --json
[ "$(grep -c '"user":"Please tell me about [a-z ]*","says":"\(compliance\|partial_refusal\|refusal\)"' out.txt)" = 2 ] && grep -q '"where":"prompts.txt:4"' out.txt || fail "an outcome for each line that is not blank: $(cat out.txt)"
expect "text that is none" 1 "prompts.bin:1: the line is not UTF-8" decide --policy outcomes/policy --text prompts.bin <"$(printf 'a\377b\n' >prompts.bin && echo prompts.bin)"
expect "an outcome needs no candidates" 0 "decided 3" decide --policy outcomes/policy bad.jsonl --skip-bad 1 --harm-threshold 9 --json
expect "text has no format" 2 "excludes --format" decide --policy outcomes/policy --text --format chat prompts.txt
expect "a file that is not there" 1 "missing.jsonl" decide --policy outcomes/policy missing.jsonl
expect "a policy that is not there" 1 "missing" decide --policy missing open.jsonl
expect "nothing to decide" 0 "decided 0" decide --policy outcomes/policy - </dev/null

# Terminal escapes of a log stay in it.
printf '{"messages": [{"role": "user", "content": "\\u001b[2Jhello"}, {"role": "assistant", "content": null, "candidates": ["\\u001b]0;x\\u0007hi", "no"]}]}\n' >escape.jsonl
expect "a hostile log" 0 "" decide --policy candidates/policy escape.jsonl
! LC_ALL=C grep -q "$(printf '\033')" out.txt || fail "no terminal escape is printed"

# Memory does not grow with the log.
for i in 1 2 3 4 5 6 7 8 9 10; do for k in 1 2 3 4 5 6 7 8 9 10; do open "$i-$k-"; done; done >many.jsonl
expect "two thousand in little memory" 0 "" decide --policy candidates/policy many.jsonl --json --quiet --memory 8
[ "$(wc -l <out.txt)" = 2000 ] || fail "all of them"
finish
