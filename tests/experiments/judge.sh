#!/bin/sh
# Judges: what `keel label` says of what it found, rates corrected for the judge's error, and where that is unknown.
. "$(dirname "$0")/program.sh"
says() { grep -qF -- "$2" out.txt || fail "$1: stdout does not say \"$2\": $(cat out.txt)"; }

# answers N HUMAN: N conversations of one answer each; of the first HUMAN a human says what it is. The answer in every
# tenth is a refusal that no rule and no regression knows ("Let us talk about the sea instead").
answers() {
    awk -v n="$1" -v human="$2" 'BEGIN {
        for (i = 0; i < n; i++) {
            bad = i % 2; odd = i % 10 == 5
            text = odd ? "Let us talk about the sea instead, which is blue and wide today." : bad ? "I am sorry, but I cannot help with that." : "Sure, here is how to do it in three easy steps."
            outcome = bad ? "refusal" : "compliance"
            printf "{\"id\": \"c%d\", \"risk\": \"%s\", \"messages\": [{\"role\": \"user\", \"content\": \"Request %d, please.\"}, ", i, bad ? "dangerous" : "benign", i
            printf "{\"role\": \"assistant\", \"content\": \"%s\", \"model\": \"desk\"%s}]}\n", text, i < human ? ", \"outcome\": \"" outcome "\"" : ""
        }
    }'
}

# ---- rates corrected for the judge's error ----
answers 400 50 >some.jsonl
expect "answers, some labelled by humans" 0 "" import --store some.db --format chat some.jsonl --quiet
expect "the rest is judged" 0 "" label --store some.db --judge refusal --quiet
expect "stats corrects" 0 "" stats --store some.db --quiet
says "stats names the judge" "350 responses are labelled by a judge alone (refusal-"
says "stats says what tells the error" "50 have a label by a human too"
says "a table of corrected rates" "corrected for the judge's error"
expect "in numbers" 0 "" stats --store some.db --quiet --json
# Of 200 dangerous answers 25 are labelled by humans; of the other 175 the judge misses one in five, which the labels tell.
[ "$(json corrected.all.refusal_rate.ppi.value out.txt)" = 1 ] || fail "the corrected rate is the true one: $(cat out.txt)"
[ "$(json corrected.all.refusal_rate.judged out.txt)" = 175 ] || fail "175 answers are by the judge alone"
awk "BEGIN { exit !($(json behaviour.all.refusal_rate.value out.txt) < 0.9) }" || fail "the rate as labelled is too low"
[ "$(json judged.error_unknown out.txt)" = null ] || fail "the error is known"

# ---- no human labels: what the judge errs is unknown, and one line says how to know it ----
answers 60 0 >none.jsonl
expect "answers without labels" 0 "" import --store none.db --format chat none.jsonl --quiet
expect "they are judged" 0 "" label --store none.db --quiet
expect "stats of them" 0 "" stats --store none.db --quiet
says "the error is unknown" "Its error is unknown here"
says "and how it gets known" 'write "outcome" and "judge": "human"'
! grep -q "corrected for" out.txt || fail "nothing is corrected by an unknown error"
# As the line says: labels by hand go into the export and back in.
expect "out they go" 0 "" export --store none.db --format chat --out labelled.jsonl --quiet
sed 's/"judge": *"[a-z]*"/"judge":"human"/' labelled.jsonl >by-hand.jsonl
expect "and back in" 0 "" import --store none.db --format chat by-hand.jsonl --quiet
expect "and are compared" 0 "" label --store none.db --judge refusal --quiet --json
[ "$(json found.human.refusal out.txt)" -gt 20 ] || fail "labels by hand win: $(cat out.txt)"
expect "all are labelled by hand" 0 "" stats --store none.db --quiet
! grep -q "judge alone" out.txt || fail "no response is by the judge alone: $(cat out.txt)"

finish
