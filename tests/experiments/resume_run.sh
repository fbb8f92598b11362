#!/bin/sh
# A recipe that is interrupted goes on where it stopped, to the same result; a finished one only prints its report.
. "$(dirname "$0")/program.sh"

cat >recipe.json <<'END'
{"name": "small", "about": "<b>simulated</b>", "steps": [
  {"name": "simulate", "verb": "simulate", "args": {"store": "${out}/s.db", "env": "support-desk", "behaviour": "support-82", "episodes": 200}},
  {"name": "sft", "verb": "sft", "args": {"store": "${out}/s.db", "base": "builtin", "out": "${out}/base", "metrics": "${out}/base.jsonl",
    "set": ["epochs=1", "buckets=4096", "min_updates=20"]}},
  {"for": {"algo": ["cql", "bc"]}, "steps": [
    {"name": "train-${algo}", "verb": "train", "title": "${algo} <script>", "args": {"store": "${out}/s.db", "base": "${out}/base", "algo": "${algo}",
      "out": "${out}/${algo}", "metrics": "${out}/${algo}.jsonl", "set": ["steps=200", "hidden=16", "batch=32", "checkpoint_every=20"]}},
    {"name": "eval-${algo}", "verb": "eval", "title": "${algo} <script>", "group": "test & split", "args": {"store": "${out}/s.db", "policy": "${out}/${algo}"}}]},
  {"name": "replay", "verb": "replay", "args": {"store": "${out}/s.db", "policy": "${out}/cql", "limit": 2}}]}
END
expect "a whole run" 0 "" run recipe.json --out whole --quiet --json
[ "$(json steps_kept out.txt)" = 0 ] || fail "the first run keeps no step"
expect "a finished run prints its report again" 0 "" run recipe.json --out whole --quiet --json
[ "$(json steps_kept out.txt)" = "$(json steps out.txt)" ] || fail "a finished run does nothing again"
grep -q '<svg\|gnuplot was not found' whole/report.html || fail "the report has plots or says why not"
[ "$(grep -c '<script' whole/report.html)" = 1 ] || fail "what a recipe calls things is escaped in the report"
grep -q 'test &amp; split' whole/report.html || fail "the report names its tables"
! grep -qi 'https\?://' whole/report.html || fail "the report asks for nothing outside"

# Interrupted at several moments, then run to the end: the same artefacts to the byte.
for moment in 'there 1 broken/s.db' 'there 1 broken/base.jsonl' 'there 1 broken/steps/sft.json' 'there 1 broken/cql.jsonl'; do
    strike INT "$moment" "$KEEL" run recipe.json --out broken --quiet
    [ "$status" = 0 ] || [ "$status" = 130 ] || fail "an interrupted run ends by the signal, not with $status"
    [ "$status" = 0 ] || grep -q "goes on from here" err.txt || fail "an interrupted run says how to go on: $(cat err.txt)"
done
strike KILL 'there 1 broken/steps/train-bc.json' "$KEEL" run recipe.json --out broken --quiet
[ $struck -gt 0 ] || fail "it was stopped at least once"
expect "the broken run goes on to its end" 0 "" run recipe.json --out broken --quiet
for file in base/model.safetensors cql/model.safetensors cql/keel.json bc/model.safetensors; do
    cmp -s whole/$file broken/$file || fail "$file is the same as that of an undisturbed run"
done

expect "other arguments do not mix with an older run" 1 "--fresh" run recipe.json --out whole --quiet --set train-cql.steps=300
expect "--fresh starts over" 0 "" run recipe.json --out whole --quiet --fresh --set train-cql.steps=100 --json
[ "$(json steps_kept out.txt)" = 0 ] || fail "--fresh keeps no step"
expect "a setting for no step is refused" 2 "no step" run recipe.json --out other --quiet --set trian.steps=1
sed 's/"episodes"/"episode"/' recipe.json >bad.json
expect "a recipe with an unknown flag fails before its first step" 2 "--episode" run bad.json --out other --quiet
sed 's/"hidden=16"/"hiden=16"/' recipe.json >bad.json
expect "so does one with an unknown key" 2 'did you mean "hidden"' run bad.json --out other --quiet
expect "and one whose setting is out of range" 2 'expected a number from 0 to 10000, got "-1"' run recipe.json --out other --quiet \
    --set 'train*.alpha=-1'
[ ! -e other/s.db ] || fail "a bad recipe does nothing"
expect "data that is not there is named" 1 "KEEL_DATA" run "$SOURCE/experiments/recipes/xstest.json" --data nowhere --out other
mkdir -p mine && echo x >mine/file
expect "--fresh removes nothing that is no run" 0 "" run recipe.json --out mine --quiet --fresh
[ -e mine/file ] || fail "--fresh leaves a folder that holds no run alone"

# One run at a time in a folder. The first one waits for a store that somebody writes to.
echo '{"messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}]}' >log.jsonl
"$KEEL" import --store held.db --format chat log.jsonl --quiet >/dev/null
cat >waits.json <<'END'
{"name": "waits", "steps": [{"name": "label", "verb": "label", "args": {"store": "held.db"}}]}
END
hold held.db
"$KEEL" run waits.json --out shared --quiet >/dev/null 2>&1 9>&- &
child=$!
while [ ! -e shared/.lock ]; do sleep 0.05; done
expect "a second run in the same folder is refused" 1 "another process ($child) is at work here" run recipe.json --out shared --quiet
expect "so is one that starts over" 1 "is at work here" run recipe.json --out shared --quiet --fresh
[ -e shared/.lock ] || fail "a refused run removes nothing"
kill -KILL $child
wait $child 2>/dev/null || true
let_go
expect "when the first is gone the folder is free" 0 "" run recipe.json --out shared --quiet --fresh

expect "report writes the page anew" 0 "" report --run whole --out page.html
cmp -s page.html whole/report.html || fail "report writes what run wrote"
finish
