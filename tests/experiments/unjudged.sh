#!/bin/sh
# Answers that nobody judged are counted and warned of; a latency alone is no judgement.
. "$(dirname "$0")/program.sh"

awk 'BEGIN { for (i = 0; i < 40; i++)
    printf "{\"id\": \"c%d\", \"risk\": \"%s\", \"split\": \"%s\", \"messages\": [{\"role\": \"user\", \"content\": \"question %d\"}, {\"role\": \"assistant\", \"content\": \"answer %d\", \"act\": \"%s\", \"latency_ms\": 800%s}]}\n",
        i, i % 4 < 2 ? "benign" : "dangerous", i % 2 ? "test" : "train", i, i, i % 3 ? "tell" : "ask", i % 8 < 6 ? "" : ", \"outcome\": \"refusal\"" }' >in.jsonl
"$KEEL" import --quiet --store s.db in.jsonl >/dev/null
"$KEEL" sft --quiet --store s.db --base builtin --out base >/dev/null
expect "it is judged" 0 "" eval --store s.db --base base --ope none --json --quiet
[ "$(json baselines.logged.answers_known out.txt)" = 0.25 ] || fail "a latency alone is no judgement"
[ "$(json baselines.logged.unjudged out.txt)" = 15 ] || fail "unjudged answers are counted"
expect "it is printed" 0 "" eval --store s.db --base base --ope none --quiet
grep -q "^decisions judged .* 25.0 %" out.txt || fail "the share that is judged is printed"
grep -q "^answers nobody judged .* 15 " out.txt || fail "what nobody judged is counted in the table"
grep -q "^Warning: Nobody judged 15 of the 20 answers of the log" out.txt || fail "a warning says so"
expect "a bare name with an unknown part is compared by its end" 3 "logged.accuracy.low" \
    eval --store s.db --base base --ope none --quiet --gate "logged.accuracy >= 0.3"
expect "from above too" 3 "logged.accuracy.high" \
    eval --store s.db --base base --ope none --quiet --gate "logged.accuracy <= 0.7"
cat >recipe.json <<'R'
{"name": "unjudged", "about": "a base beside a log that few judged", "steps": [
  {"name": "eval", "verb": "eval", "title": "base", "args": {"store": "s.db", "base": "base", "ope": "none"}}]}
R
expect "a recipe's table" 0 "" run recipe.json --out run --quiet
grep -q "^Nobody judged 15 of the 20 answers of the log" out.txt || fail "the table of a run says so too"
grep -q "Nobody judged 15 of the 20 answers" run/report.html || fail "and its report"
finish
