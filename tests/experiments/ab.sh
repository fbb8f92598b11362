#!/bin/sh
# What `keel ab` says of what was served, and what `keel publish` publishes.
. "$(dirname "$0")/program.sh"

# ---- ab ----
expect "a store that nothing was served into" 1 "no store" ab --store none.db
"$SERVE_ROWS" s.db 1 3000 0.5 0.9 0.7 || fail "rows are written"
expect "a worse arm" 0 "" ab --store s.db --json --quiet
cp out.txt worse.json
[ "$(json total.b.refusal_rate.units worse.json)" -ge 2600 ] || fail "units: $(json total.b.refusal_rate.units worse.json)"
grep -q '"verdict": "worse"' worse.json || fail "b is worse: $(cat worse.json)"
unjudged=$(awk '/"unjudged"/ { sub(/,/, "", $2); print $2; exit }' worse.json)
awk "BEGIN { exit !($unjudged > 0.07 && $unjudged < 0.13) }" || fail "a tenth is not judged, not $unjudged"
expect "as a table" 0 "" ab --store s.db --quiet
grep -q "^arm a (control) serves policy hash-a" out.txt || fail "the table names the arms: $(cat out.txt)"
grep -q "refusal_rate b .*worse$" out.txt || fail "the table has the verdict: $(cat out.txt)"
grep -q "feedback b .*insufficient$" out.txt || fail "nobody gave feedback: $(cat out.txt)"
expect "each way of intervals" 0 "" ab --store s.db --quiet --interval msprt --correct bh
expect "each way of intervals" 0 "" ab --store s.db --quiet --interval asymptotic --unit conversation
expect "segments and windows" 0 "" ab --store s.db --segments --window 20m --json --quiet
[ "$(grep -c '"segment"' out.txt)" = 8 ] || fail "two segments in four windows: $(grep -c '"segment"' out.txt)"
expect "the other arm as control" 0 "" ab --store s.db --control b --json --quiet
grep -q '"verdict": "better"' out.txt || fail "a is better than b"
expect "an arm that is none" 1 "no such arm" ab --store s.db --control c
expect "a guardrail that is none" 2 "no guardrail" ab --store s.db --guard "refusal_rate > 1"
expect "a guardrail that is broken" 3 "1 guardrails are broken" ab --store s.db --quiet --guard "refusal_rate >= control - 0.05" --guard "refusal_rate >= 0.3"
expect "a time that is none" 2 "is no time" ab --store s.db --since yesterday
expect "an hour that is none" 2 "is no time" ab --store s.db --since 2026-11-30T25:00:00Z
expect "since a time" 0 "" ab --store s.db --since 1970-01-01T00:50:00Z --json --quiet
[ "$(json about.requests out.txt)" = 1000 ] || fail "1000 requests from second 3000 on, not $(json about.requests out.txt)"

"$SERVE_ROWS" same.db 2 3000 0.5 0.9 0.9
expect "arms that are alike" 0 "" ab --store same.db --json --quiet --guard "refusal_rate >= control - 0.05"
! grep -q '"worse"\|"better"' out.txt || fail "no verdict where there is no difference: $(cat out.txt)"
"$SERVE_ROWS" wrong.db 3 3000 0.6 0.9 0.5 0.5
expect "arms that were not assigned as said" 0 "" ab --store wrong.db --json --quiet --guard "refusal_rate >= control - 0.05"
grep -q '"void": true' out.txt && grep -q '"verdict": "void"' out.txt || fail "a wrong ratio voids: $(cat out.txt)"

# ---- publish ----
chat 400 en >in.jsonl
"$KEEL" import --quiet --store p.db in.jsonl >/dev/null
"$KEEL" label --quiet --store p.db >/dev/null
"$KEEL" sft --quiet --store p.db --base builtin --out base >/dev/null
for seed in 1 2; do
    "$KEEL" train --quiet --store p.db --base base --algo bc --out p$seed --seed $seed --set steps=20 >/dev/null
done
expect "nothing to do" 2 "nothing to do" publish --store p.db
expect "no gate" 2 "at least one gate" publish --store p.db --policy p1
expect "two things at once" 2 "exclude each other" publish --store p.db --policy p1 --list
expect "a gate that is met" 0 "" publish --store p.db --policy p1 --ope none --gate "refusal_rate >= 0.1" --note first --quiet
grep -q "is published to arm default" out.txt || fail "it is published: $(cat out.txt)"
expect "a gate that is not" 3 "not met" publish --store p.db --policy p2 --ope none --gate "over_refusal_rate.high <= 0.01" --quiet
grep -q "is NOT published" out.txt || fail "it is not published: $(cat out.txt)"
expect "nothing to go back to" 1 "named is none" publish --store p.db --rollback
expect "a second one" 0 "" publish --store p.db --policy p2 --ope none --gate "refusal_rate >= 0.1" --quiet
expect "back to the first" 0 "" publish --store p.db --rollback --json
first=$(json policy out.txt)
expect "the list" 0 "" publish --store p.db --list --json
[ "$(grep -c '"why"' out.txt)" = 3 ] || fail "three publications: $(cat out.txt)"
[ "$(grep "\"policy\"" out.txt | tail -1 | tr -d " ,")" = "\"policy\":$first" ] || fail "the last is the first: $first, $(cat out.txt)"
expect "the list as a table" 0 "" publish --store p.db --list
grep -q "rollback" out.txt || fail "the table has the rollback: $(cat out.txt)"
expect "an arm that no server has" 0 "without an arm new" publish --store s.db --split train --policy p1 --ope none --gate "composite_reward >= -100" --arm new
expect "an arm of the server" 0 "" publish --store s.db --split train --policy p1 --ope none --gate "composite_reward >= -100" --arm b
! grep -q "without an arm" err.txt || fail "the server has arm b: $(cat err.txt)"
cp -r p1 broken && printf 'x' >>broken/model.safetensors
expect "a damaged policy" 1 "model.safetensors" publish --store p.db --policy broken --ope none --gate "refusal_rate >= 0.1" --quiet
finish
