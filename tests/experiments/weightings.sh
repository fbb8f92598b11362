#!/bin/sh
# One policy trained for many weightings, asked for several: eval, simulate, replay, fronts, and a recipe that makes two.
. "$(dirname "$0")/program.sh"

"$KEEL" simulate --store s.db --env support-desk --behaviour support-82 --episodes 80 --quiet >/dev/null
"$KEEL" sft --store s.db --base builtin --out base --quiet --set epochs=1 --set buckets=4096 --set min_updates=20 >/dev/null
set -- --store s.db --base base --algo cql --quiet --set steps=40 --set hidden=16 --set batch=24
"$KEEL" train "$@" --out plain >/dev/null
"$KEEL" train "$@" --out all --set conditioned=true >/dev/null

for verb in "eval --store s.db" "replay --store s.db" "simulate --store p.db --env support-desk --episodes 4"; do
    # shellcheck disable=SC2086 # words
    {
        expect "$verb: a policy of one weighting has no other" 2 "one weighting" $verb --policy plain --weights 1,0,0 --quiet
        expect "$verb: two weights are too few" 2 "got \"1,0\"" $verb --policy all --weights 1,0 --quiet
        expect "$verb: weights are not negative" 2 "at least 0" $verb --policy all --weights 1,-0.5,0.5 --quiet
        expect "$verb: weights sum to one" 2 "sum to 1" $verb --policy all --weights 0.5,0.5,0.5 --quiet
        expect "$verb: by weights" 0 "" $verb --policy all --weights 0.2,0.7,0.1 --quiet
    }
done
for case in "bc:bc has no key" "cql:sum of 1:weight_speed=0.5" "cql:keep_top:keep_top=50" "cql:vector_heads:vector_heads=false"; do
    IFS=: read -r algo text key <<END
$case
END
    expect "$algo $key, said before anything is read" 2 "$text" train --store nowhere.db --base nowhere --algo "$algo" --out x \
        --set conditioned=true --set "${key:-seed=1}"
done
expect "the checkpoint is chosen under the standard weights" 0 "" train --store s.db --base base --algo cql --out chosen --quiet \
    --set steps=40 --set hidden=16 --set batch=24 --set conditioned=true --validate 0/4 --checkpoints 2
expect "and is asked for others" 0 "" eval --store s.db --policy chosen --weights 0,1,0 --quiet
expect "a base has no weights" 2 "expected --policy" eval --store s.db --base base --weights 1,0,0 --quiet
expect "a behaviour has no weights" 2 "expected --policy" simulate --store p.db --env support-desk --episodes 1 --behaviour random --weights 1,0,0

expect "what it was trained under, asked for, is what it does unasked" 0 "" eval --store s.db --policy all --quiet --json --out own.json
"$KEEL" eval --store s.db --policy all --weights 0.6,0.3,0.1 --quiet --json --out asked.json >/dev/null
cmp -s own.json asked.json || fail "the standard weights change nothing"
"$KEEL" eval --store s.db --policy all --weights 0,1,0 --quiet --json --out fast.json >/dev/null
if cmp -s own.json fast.json; then fail "other weights, other values"; fi
grep -q '"weight_speed": 1,' fast.json || fail "composite_reward goes by the weights asked for"

expect "several weightings on logs are a front" 0 "" eval --store s.db --policy all --weights 0.6,0.3,0.1 --weights 0,1,0 --quiet --json
[ "$(grep -c '"on_front"' out.txt)" = 2 ] || fail "two points"
[ "$(json policy.metrics.speed.value out.txt)" = "$(json policy.metrics.speed.value own.json)" ] || fail "the first weighting is judged in full"
[ "$(json front.trained.updates out.txt)" = 40 ] || fail "the front says what training took"
expect "and for people" 0 "" eval --store s.db --policy all --weights 1,0,0 --weights 0,1,0 --quiet
grep -q "hypervolume above completion 0, speed 0, safety -1" out.txt || fail "the hypervolume is printed with its reference"
expect "above another reference" 0 "" eval --store s.db --policy all --weights 1,0,0 --weights 0,1,0 --reference -0.1,0.2,-0.5 --quiet
grep -q "hypervolume above completion -0.1, speed 0.2, safety -0.5" out.txt || fail "which is printed"
expect "a reference is three numbers" 2 "expected 3 numbers" eval --store s.db --policy all --weights 1,0,0 --weights 0,1,0 --reference 0,0 --quiet

for way in front.db again.db front.db; do # the third adds nothing
    expect "several weightings in the simulator" 0 "" simulate --store $way --env support-desk --policy all --weights 1,0,0 --weights 0.5,0.5,0 --episodes 12 --quiet --json
    sed '/"added"/d; /"known"/d; /"transitions":/d' out.txt >$way.json.$(grep -c '"known": 24' out.txt)
done
cmp -s front.db.json.0 again.db.json.0 || fail "the same front again"
cmp -s front.db.json.0 front.db.json.1 || fail "playing again adds nothing"
"$KEEL" simulate --store one.db --env support-desk --policy all --weights 0.5,0.5,0 --episodes 12 --quiet --json >one.json
grep -q "$(json metrics.speed.value one.json)" out.txt || fail "each weighting's rates are those of its own answers"

# Over candidates and over outcomes.
chat 40 en >candidates.jsonl
sed 's/"candidates": [^]]*\]}/"model": "m"}/' candidates.jsonl >outcomes.jsonl
for space in candidates outcomes; do
    "$KEEL" import --store $space.db --format chat $space.jsonl --quiet >/dev/null
    "$KEEL" sft --store $space.db --base builtin --out $space.base --quiet --set epochs=1 --set buckets=1024 --set min_updates=10 --set action_space=$space >/dev/null
    "$KEEL" train --store $space.db --base $space.base --algo cql --out $space.all --quiet --set steps=40 --set hidden=16 --set batch=24 --set conditioned=true >/dev/null
    for weights in 1,0,0 0,1,0; do
        expect "$space by $weights" 0 "" replay --store $space.db --policy $space.all --weights $weights --limit 2 --quiet --json
        cp out.txt $weights.json
    done
    if cmp -s 1,0,0.json 0,1,0.json; then fail "$space: other weights, other values"; fi
done

cat >two.json <<'END'
{"name": "two", "about": "fronts", "steps": [
  {"for": {"p": ["plain", "all"]}, "steps": [
    {"name": "front-${p}", "title": "front of ${p}", "verb": "simulate",
     "args": {"store": "${out}/${p}.db", "env": "support-desk", "policy": ["../${p}", "../all"], "base": "../base", "episodes": 8}}]}]}
END
mkdir runs
cd runs
expect "a run compares its fronts" 0 "" run ../two.json --out two --quiet
grep -q "of the first" out.txt || fail "the fronts of a run are compared"
grep -q "front of plain" two/report.html || fail "the report shows fronts"
cd ..
finish
