#!/bin/sh
# Fixed answers that users give: refusals and hand-overs, by text or by file, in place of the standard refusal.
. "$(dirname "$0")/program.sh"

chat 80 en | sed 's/, "candidates": [^]]*\]}/}/' >one.jsonl
"$KEEL" import --store s.db --format chat one.jsonl --quiet >/dev/null
printf 'Eine Kollegin übernimmt.\n' >hand.txt
set -- --store s.db --base builtin --quiet --set epochs=1 --set buckets=4096 --set min_updates=20
expect "tunes with answers of one's own" 0 "" sft "$@" --out base --refusal "Das geht leider nicht." --hand-over @hand.txt
grep -q '"content": "Das geht leider nicht."' base/config.json && grep -q '"content": "Eine Kollegin übernimmt."' base/config.json || fail "the base has both"
grep -q '"act": "handover"' base/config.json || fail "the base knows which hands over"
! grep -q "I'm sorry, but I can't help" base/config.json || fail "the standard refusal is replaced"
expect "other answers are another base" 1 "another" sft "$@" --out base --refusal "Nein."
expect "the same answers are the same run" 0 "" sft "$@" --out base --refusal "Das geht leider nicht." --hand-over @hand.txt
expect "trains" 0 "" train --store s.db --base base --algo cql --out policy --quiet --set steps=30 --set hidden=8 --set batch=32
echo "Please tell me about my invoice" >asked.txt
expect "decides among them" 0 "" decide --policy policy --text asked.txt --quiet --json
[ "$(grep -o '"outcome":"refusal"' out.txt | wc -l)" = 2 ] || fail "both are offered, as refusals: $(cat out.txt)"
expect "judges" 0 "" eval --store s.db --policy policy --quiet --json
[ "$(json baselines.always-refuse.metrics.refusal_rate.value out.txt)" = 1 ] || fail "a fixed refusal is a refusal"
expect "a comparison tunes bases with the same answers" 0 "" train --store s.db --base base --out kept --quiet --set steps=20 --set hidden=8 --set batch=32 --choose cql,base
[ "$(json metrics.choice.base_tuned_anew kept/keel.json)" = true ] || fail "bases are tuned anew"

expect "no text" 2 "its value is empty" sft "$@" --out x --refusal ""
expect "no such file" 1 "nowhere.txt" sft "$@" --out x --refusal @nowhere.txt
expect "bytes that are no text" 2 "expected UTF-8 text" sft "$@" --out x --hand-over "$(printf 'a\377b')"
expect "over outcomes there are none" 1 "candidate sets" sft "$@" --out x --refusal "No." --set action_space=outcomes
expect "a base that has its own keeps them" 1 "cannot be changed" sft --store s.db --base base --out x --quiet --refusal "No."
[ ! -e x ] || fail "nothing is written"
finish
