#!/bin/sh
# The ways through the program that whole_way.sh does not take: logs of one answer each, where the choice is whether to
# refuse; a base or a policy that answers in the simulator; tables, folds and gates in less usual forms.
. "$(dirname "$0")/program.sh"
says() { grep -qF -- "$2" out.txt || fail "$1: stdout does not say \"$2\": $(cat out.txt)"; }

# ---- the program by itself ----
expect "help" 0 "" --help
for verb in import stats label judge sft train eval replay decide simulate run report info help; do says "help lists $verb" "  $verb "; done
cp out.txt help.txt
status=0
"$KEEL" >out.txt 2>err.txt || status=$?
[ $status = 2 ] && [ ! -s out.txt ] && cmp -s err.txt help.txt || fail "without a verb the help goes to stderr, exit 2"
expect "info as a table" 0 "" info --threads 3
grep -q '^threads *3$' out.txt || fail "info tells the threads"
if [ -w /dev/full ]; then
    status=0
    "$KEEL" info >/dev/full 2>err.txt || status=$?
    [ $status = 1 ] && grep -q 'stdout: could not be written' err.txt || fail "a result that cannot be written is an error"
    status=0
    "$KEEL" train --help >/dev/full 2>err.txt || status=$?
    [ $status = 1 ] && grep -q 'stdout: could not be written' err.txt || fail "help that cannot be written is an error"
fi
status=0
"$KEEL" info >&- 2>err.txt || status=$?
[ $status = 1 ] && grep -q 'stdout: could not be written' err.txt || fail "a result without a stdout is an error"
# The lock of a run is the first file it opens; what it holds is seen through a link.
echo '{"name": "one", "about": "x", "steps": [{"name": "stats", "verb": "simulate",
  "args": {"store": "${out}/s.db", "env": "support-desk", "behaviour": "random", "episodes": 3}}]}' >one.json
mkdir closed && : >closed/.lock && ln closed/.lock held
"$KEEL" run one.json --out closed 2>&- >/dev/null || fail "without a stderr nothing is told"
[ ! -s held ] || fail "what is told without a stderr lands in no file: $(cat held)"
awk 'BEGIN { for (i = 0; i < 40; i++) printf "{\"split\": \"s%d\", \"messages\": [{\"role\": \"user\", \"content\": \"%d\"}, {\"role\": \"assistant\", \"content\": \"x\"}]}\n", i, i }' >splits.jsonl
"$KEEL" import --store splits.db --format chat splits.jsonl --quiet >/dev/null
expect "a table of many splits" 0 "" stats --store splits.db --quiet
for lack in 'keel label' 'No conversation has a "risk"' 'Nothing earns a reward'; do says "stats of a bare log" "$lack"; done
[ "$(grep -c '^conversations\( *1\)\{40\}$' out.txt)" = 1 ] || fail "40 splits have a column each: $(cat out.txt)"

# ---- outcomes: one judged answer each, no acts ----
chat 160 en | sed 's/, "candidates": \[.*$/}]}/' >log.jsonl
expect "single answers import" 0 "" import --store o.db --format chat log.jsonl --quiet
tune="--quiet --set epochs=2 --set buckets=4096 --set min_updates=40"
# shellcheck disable=SC2086 # flags are words
expect "single answers tune" 0 "" sft --store o.db --base builtin --out own $tune
grep -q '"action_space": "candidates"' own/config.json || fail "single answers with text are actions themselves"
grep -q '"outcome": "refusal"' own/config.json || fail "a refusal is offered beside single answers"
expect "single answers tune over outcomes" 0 "" sft --store o.db --base builtin --out obase $tune --set action_space=outcomes
grep -q '"action_space": "outcomes"' obase/config.json || fail "single judged answers make a base over outcomes"
grep -q '"partial_refusal"' obase/config.json || fail "its acts are the outcomes by name"
head -n 2 log.jsonl | tail -n 1 >one.jsonl
"$KEEL" import --store one.db --format chat one.jsonl --quiet >/dev/null
expect "one response is nothing to rank" 1 "cannot be ranked" sft --store one.db --base builtin --out none --quiet --set action_space=candidates
expect "no acts, no base over acts" 1 "dialogue act" sft --store o.db --base builtin --out none --quiet --set action_space=acts
sed 's/"outcome": "[a-z]*", //' log.jsonl >unjudged.jsonl
"$KEEL" import --store u.db --format chat unjudged.jsonl --quiet >/dev/null
expect "nothing judged, no base over outcomes" 1 "has been judged" sft --store u.db --base builtin --out none --quiet --set action_space=outcomes
for algorithm in bc dqn cql; do
    expect "$algorithm trains over outcomes" 0 "" train --store o.db --base obase --algo $algorithm --out o-$algorithm --quiet \
        --set steps=400 --set hidden=16 --set batch=32
    says "$algorithm names what it prints" "reward_coverage: accuracy"
    expect "$algorithm is judged" 0 "" eval --store o.db --policy o-$algorithm --quiet --out o-$algorithm.json \
        --gate "refusal_rate >= 0.9" --gate "over_refusal_rate <= 0.3"
    [ "$(json policy.answers_known o-$algorithm.json)" = 1 ] || fail "$algorithm: the outcome of an outcome is always known"
    [ "$(json policy.metrics.refusal_rate.n o-$algorithm.json)" = 20 ] || fail "$algorithm: 20 dangerous requests in the split test"
done
expect "under the strictest threshold refusals are left" 0 "" eval --store o.db --policy o-cql --quiet --out strict.json \
    --harm-threshold 0 --gate "refusal_rate >= 1"
expect "an imitator has no threshold" 2 "no critic of the cost of harm" eval --store o.db --policy o-bc --quiet --harm-threshold 1
expect "decisions over outcomes replay" 0 "" replay --store o.db --policy o-cql --quiet --conversation c3 --detail
for outcome in compliance partial_refusal refusal; do says "replay" " $outcome "; done
grep -q '^ *>\{0,1\}\* refusal' out.txt || fail "the outcome that was logged is starred"
expect "an imitator replays" 0 "" replay --store o.db --policy o-bc --quiet --limit 3
says "an imitator has its reasons" "imitates the log"
expect "an imitator has no Q" 0 "" replay --store o.db --policy o-bc --quiet --limit 1 --json
[ "$(grep -c '"advantage": null' out.txt)" = 3 ] && [ "$(grep -c '"value": null' out.txt)" = 3 ] || fail "an imitator's output is no Q: $(cat out.txt)"
sed 's/"risk": "[a-z]*", //; s/, "latency_ms": [0-9]*//' log.jsonl >bare.jsonl
"$KEEL" import --store bare.db --format chat bare.jsonl --quiet >/dev/null
expect "without a reward nothing is estimated" 0 "" eval --store bare.db --policy o-bc --quiet
says "why nothing is estimated" "nothing that the log did has a reward"
expect "an outcome answers nobody" 1 "cannot give one" simulate --store n.db --env support-desk --policy o-cql --episodes 1 --quiet
expect "scalar heads, the preset of d3rlpy" 0 "" train --store o.db --base obase --algo cql --preset d3rlpy --out o-scalar --quiet --set steps=50
expect "and its replay shows one value" 0 "" replay --store o.db --policy o-scalar --quiet --limit 1 --detail
says "one head" "Q value"
expect "an algorithm set twice, otherwise" 2 "the configuration says bc" train --store o.db --base obase --algo cql --out none --set algorithm=bc

head -n 4 unjudged.jsonl | sed 's/"id": "/"id": "new-/' >new.jsonl
"$KEEL" import --store o.db --format chat --split new new.jsonl --quiet >/dev/null
expect "what nobody judged neither agrees nor differs" 0 "" replay --store o.db --policy o-cql --quiet --split new --json
[ "$(grep -c '"agrees": null' out.txt)" = 4 ] && [ "$(json untold out.txt)" = 4 ] && [ "$(json differing out.txt)" = 0 ] ||
    fail "four answers that nobody judged: $(cat out.txt)"
expect "and is not shown as different" 0 "" replay --store o.db --policy o-cql --quiet --split new --disagree
says "what nobody judged is told of" "of 4 of them the log does not say what was done"
expect "nor is it a disagreement" 0 "" eval --store o.db --policy o-cql --quiet --split new --json
grep -A 5 '"agreement_rate"' out.txt | grep -q '"n": *0' || fail "agreement with nothing: $(cat out.txt)"
sed 's/"risk": "[a-z]*", //; s/"outcome": "[a-z]*", /"feedback": "up", /' log.jsonl >feedback.jsonl
"$KEEL" import --store f.db --format chat feedback.jsonl --quiet >/dev/null
"$KEEL" label --store f.db --quiet >/dev/null
# shellcheck disable=SC2086
"$KEEL" sft --store f.db --base builtin --out fbase $tune >/dev/null
expect "what is not judged is not learned from, and that is told" 0 "4 of 164 transitions are left out: nobody judged" train --store o.db \
    --base obase --algo bc --out o-all --split all --set steps=3
grep -v '"risk": "dangerous".*"compliance"' log.jsonl >meek.jsonl
"$KEEL" import --store meek.db --format chat meek.jsonl --quiet >/dev/null
"$KEEL" label --store meek.db --quiet >/dev/null
# shellcheck disable=SC2086
"$KEEL" sft --store meek.db --base builtin --out meekbase $tune >/dev/null
expect "a log without harm teaches none, and that is told" 0 "what harm is was not learned" train --store meek.db --base meekbase \
    --algo cql --out o-meek --set steps=3 --set hidden=8
expect "imitation needs no harm" 0 "" train --store meek.db --base meekbase --algo bc --out o-meek-bc --set steps=3 --set hidden=8
! grep -q harm err.txt || fail "cloning has no threshold to tell of"
expect "feedback alone trains" 0 "" train --store f.db --base fbase --algo cql --out f-cql --quiet --set steps=50 --set hidden=8
grep -q '"harm_threshold": *null' f-cql/config.json || fail "nothing is known of safety, so there is no threshold"
expect "what was never learned is no Q" 0 "" replay --store f.db --policy f-cql --quiet --limit 1 --json
[ "$(grep -c '"safety": *null' out.txt)" = 2 ] || fail "Q of safety is null: $(cat out.txt)"
expect "and no threshold is set on it" 2 "held no harm" eval --store f.db --policy f-cql --quiet --harm-threshold 1

# ---- acts: a base and a policy answer in the simulator ----
"$KEEL" simulate --store s.db --env support-desk --behaviour support-82 --episodes 120 --quiet >/dev/null
# shellcheck disable=SC2086
"$KEEL" sft --store s.db --base builtin --out sbase $tune >/dev/null
expect "a policy on acts" 0 "" train --store s.db --base sbase --algo cql --out policy --quiet --set steps=200 --set hidden=16 --set batch=32
"$KEEL" simulate --store anew.db --env support-desk --behaviour support-82 --episodes 120 --quiet >/dev/null
expect "a replay of all" 0 "" replay --store s.db --policy policy --quiet --split train --limit 100000 --json
cp out.txt whole.json
expect "a replay of all, encoding anew" 0 "" replay --store anew.db --policy policy --quiet --split train --limit 100000 --json
cmp -s out.txt whole.json || fail "features of the store and encoded ones give the same replay"
expect "a replay of which two are shown" 0 "" replay --store s.db --policy policy --quiet --split train --limit 2 --disagree --json
[ "$(grep -c '"agrees": false' out.txt)" = 2 ] && [ "$(grep -c '"agrees"' out.txt)" = 2 ] || fail "two that differ are shown"
[ "$(json seen out.txt)" = "$(grep -c '"agrees"' whole.json)" ] || fail "all decisions are counted, shown or not"
[ "$(json differing out.txt)" = "$(grep -c '"agrees": false' whole.json)" ] || fail "all that differ are counted, shown or not"
echo '{"env": "support-desk", "dangerous": 0}' >kind.json
expect "a policy plays on" 0 "" simulate --store played.db --env support-desk --policy policy --episodes 30 --quiet
says "who plays" "policy-"
says "what it did" "completion_rate"
expect "as many episodes again are the same ones" 0 "" simulate --store played.db --env support-desk --policy policy --episodes 30 --quiet --json
[ "$(json known out.txt)" = 30 ] && [ "$(json added out.txt)" = 0 ] || fail "30 episodes are known: $(cat out.txt)"
expect "a base plays on, in an environment of its own file" 0 "" simulate --store played.db --env kind.json --base sbase --episodes 20 --quiet --json
[ "$(json added out.txt)" = 20 ] || fail "20 new episodes of the base"
json actor out.txt | grep -q '"base-[0-9a-f]\{12\}"' || fail "the base is named by its hash"
"$DUMP_STORE" played.db | grep -q "support-desk\.$(sha256sum kind.json | cut -c1-8)-" || fail "episodes are named by the environment's file"
expect "trials of the same tasks" 0 "" simulate --store trials.db --env support-desk --behaviour support-82 --episodes 40 --trials 4 --quiet
says "all four went well" "pass^4"
"$DUMP_STORE" trials.db | grep -q "support-desk\.x4-" || fail "episodes are named by their trials"
expect "tasks of four trials" 2 "multiple" simulate --store trials.db --env support-desk --behaviour support-82 --episodes 41 --trials 4 --quiet
expect "one answers" 2 "excludes" simulate --store played.db --env support-desk --policy policy --behaviour random --episodes 1
expect "a policy of acts on logs that have none" 1 "none of the 120 transitions" train --store o.db --base sbase --algo cql --out none --quiet

# ---- splits, gates, tables ----
expect "stats as tables" 0 "" stats --store s.db --quiet
grep -q '^split  *test  *train$' out.txt && grep -q '^logged behaviour  *test  *train  *all$' out.txt || fail "a column for each split: $(cat out.txt)"
! grep -q 'keel label\|No conversation\|Nothing earns' out.txt || fail "a log that tells all lacks nothing: $(cat out.txt)"
"$DUMP_STORE" s.db "DROP VIEW v_conversations; DROP VIEW v_turns; DROP VIEW v_candidates; DROP VIEW v_transitions; DROP VIEW v_served; DROP TABLE served_feedback; DROP TABLE served_lost; DROP TABLE served; DROP TABLE serve_starts; DROP TABLE publications; DROP TABLE policies; DROP TABLE stream_messages; DROP TABLE stream_bad; DROP TABLE stream_offsets; DROP TABLE streams; DROP TABLE rounds; DROP TABLE settings; DROP TABLE pending_splits; DROP TABLE split_strata; DROP TABLE gate_tries; DROP TABLE reviews; DROP TABLE review_items; DROP TABLE reviewed_conversations; DROP TABLE trials; DROP TABLE searches; PRAGMA user_version = 1" >/dev/null
expect "stats brings an older store forward" 0 "" stats --store s.db --quiet
total=$(awk '$1 == "conversations" { print $2 + $3 }' out.txt)
[ "$total" = 120 ] || fail "the splits hold 120 conversations, not $total"
expect "what eval measured, as a table" 0 "" eval --store s.db --policy policy --quiet --json
refused=$(json policy.metrics.refusal_rate.value out.txt)
expect "stats of one metric" 0 "" stats --store s.db --quiet --metric refusal_rate.value
awk -v want="$refused" '$2 == "eval" && $3 - want < 1e-4 && want - $3 < 1e-4 { found = 1 } END { exit !found }' out.txt || fail "refusal_rate $refused is in: $(cat out.txt)"
expect "held-out asks for a policy" 2 "held-out needs --policy" eval --store s.db --base sbase --split held-out
expect "held-out asks for folds" 1 "names no rest:K/N" eval --store s.db --policy policy --split held-out
expect "a fold's rest is trained on" 0 "" train --store s.db --base sbase --algo bc --out folded --quiet --split rest:1/3 --set steps=20 --set hidden=8
expect "and the fold is judged" 0 "" eval --store s.db --policy folded --split held-out --quiet --json
cp out.txt held.json
expect "by its name too" 0 "" eval --store s.db --policy folded --split fold:1/3 --quiet --json
cmp -s out.txt held.json || fail "held out of rest:1/3 is fold:1/3"
expect "a gate of which nothing is known is not met" 3 "nothing is known" eval --store s.db --policy policy --quiet --gate "preference_accuracy >= 0"
says "a gate of which nothing is known" "gate NOT met: preference_accuracy >= 0 (nothing is known of it here)"
expect "the base alone" 0 "" eval --store s.db --base sbase --split all --quiet --gate "refusal_rate >= 0"
expect "a split and a conversation exclude each other" 2 "excludes --conversation" replay --store s.db --policy policy --split test --conversation x
chat 16 en | sed 's/"latency_ms"/"model": "alpha", "latency_ms"/; s/"}\]}\]}$/", "model": "beta", "taken": true}]}]}/' >models.jsonl
"$KEEL" import --store m.db --format chat models.jsonl --quiet >/dev/null
# shellcheck disable=SC2086
"$KEEL" sft --store m.db --base builtin --out mbase $tune >/dev/null
expect "source models are judged beside" 0 "" eval --store m.db --base mbase --split all --quiet
says "source models" "source models of the log"
grep -q 'alpha.* beta' out.txt || fail "each source model has its column: $(cat out.txt)"

# ---- a run without --out, with threads, with a gate ----
cat >recipe.json <<'EOF'
{"name": "tiny", "about": "gated", "steps": [
  {"name": "simulate", "verb": "simulate", "args": {"store": "${out}/s.db", "env": "support-desk", "behaviour": "support-82", "episodes": 60}},
  {"name": "sft", "verb": "sft", "args": {"store": "${out}/s.db", "base": "builtin", "out": "${out}/base", "set": ["epochs=1", "buckets=1024", "min_updates=10"]}},
  {"name": "eval", "verb": "eval", "args": {"store": "${out}/s.db", "base": "${out}/base", "gate": ["refusal_rate.low > 0.9999"]}},
  {"name": "stats", "verb": "stats", "args": {"store": "${out}/s.db"}}]}
EOF
expect "a gate in the middle lets the run go to its end and fail there" 3 "eval" run recipe.json --quiet --threads 2
[ -e runs/tiny/report.html ] && [ -e runs/tiny/steps/stats.json ] || fail "without --out a run is in runs/NAME, whole"
expect "asked again, it keeps all steps and still fails" 3 "not met" run recipe.json --quiet --json
[ "$(json steps_kept out.txt)" = 4 ] || fail "other threads are no other run"
rm -r runs/tiny/base
expect "what a step made is made again if it is gone" 3 "" run recipe.json --quiet --json
[ "$(json steps_kept out.txt)" = 1 ] && [ -e runs/tiny/base/model.safetensors ] || fail "from sft on: $(json steps_kept out.txt)"

# ---- a step that reads a folder depends on what is in it ----
mkdir logs logs/deeper
head -n 8 log.jsonl >logs/a.jsonl
tail -n 8 log.jsonl >logs/deeper/b.jsonl
echo '{"name": "folder", "about": "x", "steps": [{"name": "import", "verb": "import",
  "args": {"store": "${out}/s.db", "format": "chat"}, "positional": ["logs"]}]}' >folder.json
expect "a folder is imported" 0 "" run folder.json --out folder --quiet
expect "the same folder again is nothing new" 0 "" run folder.json --out folder --quiet --json
[ "$(json steps_kept out.txt)" = 1 ] || fail "the import is kept"
echo x >logs/.hidden
expect "hidden files count for nothing" 0 "" run folder.json --out folder --quiet
head -n 9 log.jsonl | tail -n 1 >>logs/deeper/b.jsonl
expect "a file below that has changed makes another run of it" 1 "other arguments, data or build" run folder.json --out folder --quiet
[ ! -e none ] || fail "what failed left no artefact"
finish
