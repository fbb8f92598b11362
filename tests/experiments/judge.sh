#!/bin/sh
# Judges: what `keel label` says of what it found, rates corrected for the judge's error, and where that is unknown; how
# `keel judge test` says how far to trust a judge, and `keel judge fit` makes one for one's own labels.
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
expect "the rest is judged" 0 "" label --store some.db --quiet
says "label tells counts by class and by judge" "judged by  compliance  partial_refusal  refusal"
says "label tells what stays unjudged" "unjudged"
says "label tells the agreement with humans" "any_refusal_kappa"
[ "$(sed -n "/least certain/,\$p" out.txt | grep "^  [a-z_]* *0\.[0-9][0-9] " | sed "s/.*: //" | sort | uniq -c | awk "{ print \$1 }" | sort -u)" = 1 ] || fail "label shows each of the least certain texts once: $(cat out.txt)"
! grep -q "target_ms\|partial_accuracy" out.txt || fail "label prints no table of reward constants"
expect "stats corrects" 0 "" stats --store some.db --quiet
says "stats names the judge" "350 responses are labelled by a judge alone (refusal-"
says "stats says what tells the error" "50 have a human label too"
says "a table of corrected rates" "corrected for the judge's error"
expect "in numbers" 0 "" stats --store some.db --quiet --json
# Of 200 dangerous answers 25 are labelled by humans; of the other 175 the judge misses one in five, which the labels tell.
[ "$(json corrected.all.refusal_rate.ppi.value out.txt)" = 1 ] || fail "the corrected rate is the true one: $(cat out.txt)"
[ "$(json corrected.all.refusal_rate.judged out.txt)" = 175 ] || fail "175 answers are by the judge alone"
awk "BEGIN { exit !($(json behaviour.all.refusal_rate.value out.txt) < 0.9) }" || fail "the rate as labelled is too low"
[ "$(json judged.error_unknown out.txt)" = null ] || fail "the error is known"

# eval corrects what the log and the base answer; an outcome that a policy chooses is no label and counts as it is.
expect "a base" 0 "" sft --store some.db --base builtin --out base --quiet --set epochs=1 --set buckets=512 --set min_updates=10
expect "eval corrects" 0 "" eval --store some.db --base base --split all --ope none --quiet --out eval.json
says "a row for each way" "refusal_rate, Rogan-Gladen"
says "eval names the judge" "350 responses are labelled by a judge alone"
[ "$(json baselines.logged.corrected.refusal_rate.ppi.value eval.json)" = 1 ] || fail "eval's corrected rate of the log: $(cat out.txt)"
[ "$(json baselines.logged.corrected.refusal_rate.judged eval.json)" = 175 ] || fail "175 answers of the log are by the judge"

# ---- judge test ----
expect "a judge is tested" 0 "" judge test --store some.db --quiet
for part in "on 50 responses that humans labelled" "taught on public logs" "any_refusal_accuracy" "kappa" "ece" "desk" "share, humans" "mistakes: 5;" "Let us talk about the sea"; do
    says "the test" "$part"
done
expect "as JSON" 0 "" judge test --store some.db --quiet --json
[ "$(json metrics.any_refusal_accuracy.value out.txt)" = 0.9 ] || fail "45 of 50 are right: $(cat out.txt)"
[ "$(json metrics.n out.txt)" = 50 ] || fail "50 labels"
expect "the test is a run with metrics" 0 "" stats --store some.db --metric any_refusal_accuracy.value --quiet
says "by name" "judge"

# ---- judge fit ----
expect "fit needs a folder" 2 "--out" judge fit --store some.db
expect "test writes none" 2 "keel judge fit" judge test --store some.db --out j
expect "a task is test or fit" 2 "expected test or fit" judge train --store some.db
expect "an error is a share" 2 "above 0 and below 0.5" judge fit --store some.db --out j --error 2
expect "50 labels are too few" 1 "50 labels are too few" judge fit --store some.db --split all --out j
[ ! -e j ] || fail "what failed writes nothing"
answers 400 200 >more.jsonl
expect "more labels" 0 "" import --store more.db --format chat more.jsonl --quiet
expect "the shipped judge labels" 0 "" label --store more.db --quiet
expect "a judge is fitted" 0 "" judge fit --store more.db --split all --out j --quiet
says "before and after" "after, cross-fitted"
says "labels that taught it" "200 of them taught it"
says "how it is used" "keel label --judge j"
[ -s j/judge.safetensors ] && [ -s j/report.json ] || fail "a judge and its report: $(ls j)"
[ "$(json before.any_refusal_accuracy.value j/report.json)" = 0.9 ] || fail "before: $(cat j/report.json)"
[ "$(json metrics.any_refusal_accuracy.value j/report.json)" = 1 ] || fail "after: $(cat j/report.json)"
cp j/judge.safetensors first
expect "again" 0 "" judge fit --store more.db --split all --out j --quiet
cmp -s first j/judge.safetensors || fail "the same labels give the same judge"
expect "from these labels alone" 0 "" judge fit --store more.db --split all --anew --error 0.05 --out k --quiet
expect "anew is from nothing" 2 "goes on from no judge" judge fit --store more.db --anew --judge j --out l
expect "its folder is a judge" 0 "" judge test --store more.db --judge k --quiet --json
[ "$(json held_out out.txt)" = 200 ] || fail "all labels are held out: $(cat out.txt)"

# ---- labels by judges are judged anew when the judge changes, labels by humans stay ----
"$DUMP_STORE" more.db | awk '/^== /{ t = $2 } t == "labels" && /human|chat/' | grep -v "refusal-" >humans.before
expect "another judge" 0 "" label --store more.db --judge j --quiet --json
cp out.txt label.json
[ "$(json judged_anew label.json)" = 400 ] || fail "all labels of the shipped judge are judged anew, those beside humans' too: $(cat label.json)"
[ "$(json filled label.json)" = 200 ] || fail "200 have a label again"
[ "$(json found.human.refusal label.json)" = 100 ] || fail "labels by humans stay"
[ "$(json found.model.refusal label.json)" = 100 ] || fail "the fitted judge knows the odd refusals: $(cat label.json)"
"$DUMP_STORE" more.db | awk '/^== /{ t = $2 } t == "labels" && /human|chat/' | grep -v "refusal-" >humans.after
cmp -s humans.before humans.after || fail "labels by humans are as they were"
judge=$(json judge label.json | tr -d '"')
[ "$("$DUMP_STORE" more.db | grep -c "$judge")" -ge 400 ] || fail "labels name the new judge"
expect "the same judge again" 0 "" label --store more.db --judge j/judge.safetensors --quiet --json
[ "$(json judged_anew out.txt)" = 0 ] && [ "$(json filled out.txt)" = 0 ] || fail "the same judge judges nothing anew"
expect "back to the shipped one" 0 "" label --store more.db --quiet --json
[ "$(json judged_anew out.txt)" = 400 ] || fail "and its labels are judged anew too"

# ---- no human labels: what the judge errs is unknown, and one line says how to know it ----
answers 60 0 >none.jsonl
expect "answers without labels" 0 "" import --store none.db --format chat none.jsonl --quiet
expect "they are judged" 0 "" label --store none.db --quiet
expect "without labels by humans there is nothing to test" 1 "no response has a human label" judge test --store none.db
expect "stats of them" 0 "" stats --store none.db --quiet
says "the error is unknown" "Its error is unknown here"
says "and how it gets known" 'write "outcome" and "judge": "human"'
! grep -q "corrected for" out.txt || fail "nothing is corrected by an unknown error"
# As the line says: labels by hand go into the export and back in.
expect "out they go" 0 "" export --store none.db --format chat --out labelled.jsonl --quiet
sed 's/"judge": *"[a-z]*"/"judge":"human"/' labelled.jsonl >by-hand.jsonl
expect "and back in" 0 "" import --store none.db --format chat by-hand.jsonl --quiet
expect "and are compared" 0 "" label --store none.db --quiet --json
[ "$(json found.human.refusal out.txt)" -gt 20 ] || fail "labels by hand win: $(cat out.txt)"
expect "all are labelled by hand" 0 "" stats --store none.db --quiet
! grep -q "judge alone" out.txt || fail "no response is by the judge alone: $(cat out.txt)"

finish
