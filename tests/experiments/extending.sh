#!/bin/sh
# docs/extending.md holds: a copy of the tree gets a learner, a log format, a judge, a base and a verb from outside
# (tests/extending, tests/policies/toy_base.c), each by its own file and one row, and a component of the reward; then the
# program uses all of them, from import to evaluation.
. "$(dirname "$0")/program.sh"

copied="CMakeLists.txt core datasets rewards envs policies rl experiments docs README.md LICENSE"
mkdir tree
for part in $copied; do [ ! -e "$SOURCE/$part" ] || cp -r "$SOURCE/$part" tree/; done

# row FILE TEXT LINE: LINE goes before the one line of FILE that holds TEXT.
row() {
    [ "$(grep -cF -- "$2" "tree/$1")" = 1 ] || { fail "one line of $1 holds $2"; return; }
    awk -v text="$2" -v line="$3" 'index($0, text) { print line } { print }' "tree/$1" >edited
    mv edited "tree/$1"
}

cp "$SOURCE/tests/extending/learner.c" tree/rl/learn/toy.c
row rl/learn/learners.h 'ROW(dqn, "dqn")' '    ROW(toy, "toy") \'

cp "$SOURCE/tests/extending/format.c" tree/datasets/format_toy.c
row datasets/formats.c 'X(sgd, ' '    X(toy, "toy", "a toy", {"*.toy"}, {{0}}) \'

cp "$SOURCE/tests/extending/judge.c" tree/rewards/toy.c
row rewards/judge.h '#define KEEL_JUDGES(ROW) ROW(refusal)' '#define KEEL_JUDGES(ROW) ROW(refusal) ROW(toy)'
sed -i '/^#define KEEL_JUDGES(ROW) ROW(refusal)$/d' tree/rewards/judge.h

mkdir tree/policies/toy
cp "$SOURCE"/tests/policies/toy_base.[ch] tree/policies/toy/
row policies/base_kinds.c 'const keel_base_kind *const keel_base_kinds[]' 'extern const keel_base_kind toy_base_kind;'
sed -i 's/ NULL};/ \&toy_base_kind, NULL};/' tree/policies/base_kinds.c

cp "$SOURCE/tests/extending/verb.c" tree/experiments/cmd_toy.c
row experiments/verbs.h '    ROW(info) ' '    ROW(toy) \'

row core/nouns.h 'X(SAFETY, safety, 0.1, -1, 1)' '    X(POLITENESS, politeness, 0, 0, 1) \'
row datasets/schema.c 'keel__store_migrations[]' 'static const char schema_toy[] = "ALTER TABLE candidates ADD COLUMN politeness REAL; ALTER TABLE transitions ADD COLUMN politeness REAL;";'
sed -i 's/ NULL};/ schema_toy, NULL};/' tree/datasets/schema.c
row rewards/reward.c 'keel_reward reward = chosen->logged_reward;' '    present[KEEL_POLITENESS] = true, value[KEEL_POLITENESS] = chosen->taken ? 0.25 : 0;'

{ cmake -S tree -B tree/build -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_COMPILER="$CC" -DKEEL_TESTS=OFF -DKEEL_WERROR=ON &&
    cmake --build tree/build --target keel; } >build.txt 2>&1 || { tail -n 20 build.txt; fail "the extended tree builds"; finish; }
KEEL=$PWD/tree/build/experiments/keel

awk 'BEGIN { for (i = 0; i < 60; i++) { bad = i % 2; refuse = i % 5 ? bad : !bad
    printf "toy|%s|%s|question %d about %s|%s\n", bad ? "dangerous" : "benign", refuse ? "refuse" : "help", i,
        bad ? "bombs" : "cakes", refuse ? "No." : "Yes, gladly." } }' >log.toy
expect "the format is known by its content" 0 "" import --store s.db --json log.toy
[ "$(json conversations out.txt)" = 60 ] || fail "all conversations came in"
echo "toy|strange" >bad.toy
expect "a bad line is named" 1 "bad.toy:1" import --store s.db bad.toy
expect "the judge is used" 0 "" label --store s.db --judge toy
expect "the base is tuned" 0 "" sft --store s.db --base toy --out base --set width=3
expect "the learner trains" 0 "" train --store s.db --base base --algo toy --out policy --set steps=50 --set strength=3
expect "its key is its own" 2 "strength" train --store s.db --base base --algo cql --out other --set strength=3
expect "its policy is evaluated" 0 "" eval --store s.db --policy policy --split all --json
"$KEEL" train --algo toy --help | grep -q strength || fail "its help lists its key"
[ "$(json baselines.logged.metrics.politeness.value out.txt)" = 0.25 ] || fail "the component is a metric"
expect "what stands after it keeps its range" 3 "" eval --store s.db --policy policy --split all --gate "latency_s <= 5"
expect "its weight is a key" 0 "" train --store s.db --base base --algo cql --out other --set steps=9 --set weight_politeness=0.5
expect "the verb runs" 0 "" toy --json --twice three words
[ "$(json letters out.txt)" = 20 ] || fail "the verb has its flag and words"
"$KEEL" help | grep -q '^  toy ' || fail "the verb is listed"
finish
