#!/bin/sh
# keel replay: transcripts, one true sentence, filters, decisions at random, two policies beside each other.
. "$(dirname "$0")/program.sh"

chat 60 en >log.jsonl
"$KEEL" import --store s.db --split new log.jsonl --quiet >/dev/null
"$KEEL" sft --store s.db --base builtin --out base --split new --quiet --set epochs=4 --set buckets=4096 --set action_space=candidates >/dev/null
for algo in cql bc; do
    "$KEEL" train --store s.db --base base --algo $algo --out $algo --split new --quiet --set steps=300 --set hidden=32 --set batch=32 >/dev/null
done
replay() { what=$1 && shift && expect "$what" 0 "" replay --store s.db --policy cql --split new --quiet "$@"; }

replay "a transcript" --limit 1
grep -q '^  user  ' out.txt && grep -q '^  > logged  ' out.txt && grep -q '^  why  .*\.$' out.txt && grep -q '^  words  *request: a dangerous request, by its words 0\.' out.txt || fail "user, log, why, words: $(cat out.txt)"
grep -q 'Shapley' out.txt && fail "numbers only with --detail"
replay "its numbers" --limit 1 --detail
grep -q 'of it (Shapley values): .*prior [+-]' out.txt && grep -q '^ *response .*advantage' out.txt || fail "numbers: $(cat out.txt)"

[ "$(grep -c '^  like  *[01]\.[0-9][0-9] [a-z]*, [a-z_]*: .*tell me about' out.txt)" = 3 ] || fail "three decisions like it: $(cat out.txt)"
replay "nearest ones as JSON" --limit 2 --detail --json
[ "$(grep -c '"similarity":' out.txt)" = 6 ] || fail "three for each of two"
replay "unfamiliar ones" --only-unfamiliar
grep -q 'no decision passes the filters\|learned from no state like this' out.txt || fail "only states that are marked: $(cat out.txt)"

# Shapley values sum to the difference of probabilities.
replay "as JSON" --limit 40 --json
awk '/"margin":/ { margin = $2 + 0 }
     /"shapley": \{/ { sum = 0; within = 1; next }
     within && /\}/ { within = 0; n++; if (sum - margin > 1e-6 || margin - sum > 1e-6) bad = 1 }
     within { sum += $2 + 0 }
     END { exit bad || n != 40 }' out.txt || fail "Shapley values sum to the margin"
[ "$(grep -c '"sentence": ".*\."' out.txt)" = 40 ] && [ "$(grep -c '"context": \[' out.txt)" = 40 ] || fail "a sentence and the context of each"

# Filters: every one that is given must hold, and what is counted is what passes.
all=$(json seen out.txt)
for risk in benign dangerous; do
    replay "$risk ones" --risk $risk --json --limit 100
    [ "$(grep -c "\"risk\": \"$risk\"" out.txt)" = "$(json seen out.txt)" ] || fail "only $risk ones"
    eval "$risk=$(json seen out.txt)"
done
[ "$((benign + dangerous))" = "$all" ] && [ "$benign" -gt 0 ] || fail "the parts sum to the whole: $benign + $dangerous of $all"
replay "by outcome of the log" --outcome refusal --risk dangerous --json --limit 100
seen=$(json seen out.txt)
[ "$seen" -gt 0 ] && [ "$seen" -le "$dangerous" ] || fail "refusals of dangerous requests: $seen"
replay "by what the policy says" --answer compliance --risk dangerous --limit 100
replay "by text" --text 'PLEASE tell' --json
[ "$(json seen out.txt)" -gt 0 ] || fail "text in any case"
replay "text that nobody said" --text 'zebra stripes'
grep -q '^no decision passes the filters' out.txt || fail "says that nothing is left"
replay "by a slice that is not there" --slice no=thing --json
[ "$(json seen out.txt)" = 0 ] || fail "no such slice"
expect "an unknown risk" 2 "benign, dangerous or unknown" replay --store s.db --policy cql --risk bad
expect "an unknown outcome" 2 "partial_refusal" replay --store s.db --policy cql --outcome bad
expect "a slice without a value" 2 "KEY=VALUE" replay --store s.db --policy cql --slice bad
expect "a seed for nothing" 2 "needs --random" replay --store s.db --policy cql --seed 3

# At random: the same with the same seed, others with another, in the order of the log.
replay "at random" --random --seed 1 --limit 5 --json && cp out.txt one.txt
replay "again" --random --seed 1 --limit 5 --json
cmp -s one.txt out.txt || fail "the same seed shows the same"
replay "another seed" --random --seed 2 --limit 5 --json
cmp -s one.txt out.txt && fail "another seed shows others"
[ "$(grep -c '"conversation":' one.txt)" = 5 ] && [ "$(json matching one.txt)" = "$all" ] || fail "five of all"

# Two policies.
replay "a policy and itself" --diff cql
grep -q '^the two policies answer otherwise in 0 of' out.txt && grep -q 'nothing shows which earns more' out.txt || fail "no difference: $(cat out.txt)"
replay "two policies" --diff bc --json --limit 100
[ "$(grep -c '"other": {' out.txt)" = "$(json matching out.txt)" ] || fail "only decisions where they differ"
expect "a base for nothing" 2 "needs --diff" replay --store s.db --policy cql --diff-base base
# Features are made on all threads, and nothing depends on how many.
for n in 1 3; do
    replay "$n threads" --limit 100 --json --diff bc --threads $n
    mv out.txt threads-$n.txt
done
cmp -s threads-1.txt threads-3.txt || fail "one thread shows what three show"
# A page for a browser, and JSON by its other name.
replay "a page" --limit 3 --format html
grep -q '^<!doctype html>' out.txt && grep -q '</html>$' out.txt && [ "$(grep -o '<article' out.txt | wc -l)" = 3 ] || fail "a card for each of three: $(grep -o '<[a-z]*' out.txt | sort | uniq -c)"
replay "a page of two policies" --limit 3 --diff bc --format html
grep -q 'the two policies answer otherwise in' out.txt || fail "the page says how the two compare"
replay "JSON" --limit 3 --format json && sed '/"format"/d' out.txt >one.txt
replay "JSON as elsewhere" --limit 3 --json
[ "$(grep -c . one.txt)" = "$(grep -c . out.txt)" ] || fail "the same JSON"
expect "a page and JSON" 2 "excludes --format html" replay --store s.db --policy cql --split new --json --format html
finish
