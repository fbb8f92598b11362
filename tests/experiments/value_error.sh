#!/bin/sh
# The value-estimation experiment: the same bytes for any number of threads and after any number of kills; other
# settings are refused; what it writes has a row for everything.
. "$(dirname "$0")/program.sh"
: "${VALUE_ERROR:?the experiment}"

small="world=tabular n=10,20 headline_n=20 eps=50 seeds=3 steps=60 hidden=8"

# experiment FOLDER ARGS...: a small one.
experiment() {
    folder=$1
    shift
    # shellcheck disable=SC2086 # one word per setting
    "$VALUE_ERROR" "$folder" $small "$@" >"$folder.txt" 2>"$folder.err"
}
same() {
    for file in runs.csv estimands.csv protocol.json runs; do
        diff -r "$1/$file" "$2/$file" >/dev/null || fail "$3: $file differs"
    done
}

experiment whole || fail "an experiment runs: $(cat whole.err)"
[ "$(wc -l <whole/runs.csv)" = 37 ] || fail "runs.csv has a row for each of 6 methods of 6 runs and a head"
[ "$(wc -l <whole/estimands.csv)" = 61 ] || fail "estimands.csv has a row for each of 6 estimands of 5 alphas of 2 cells and a head"
grep -q "^E1 .*%" whole.txt && grep -q "^E5 .*%" whole.txt || fail "the table has a row for each estimand"
if command -v gnuplot >/dev/null; then grep -q "<svg" whole/value_error.svg || fail "there is a figure"; fi

experiment threads threads=3
same whole threads "three threads give the bytes of one"

for runs in 1 2 4; do
    # shellcheck disable=SC2086
    strike KILL "there $runs broken/runs/*" "$VALUE_ERROR" broken $small
done
[ $struck -gt 0 ] || fail "it was stopped at least once"
experiment broken || fail "a killed experiment goes on: $(cat broken.err)"
same whole broken "a killed experiment comes to the same end"

status=0
experiment whole seeds=2 || status=$?
[ $status = 1 ] && grep -q "made with other settings" whole.err || fail "a folder with other settings is refused: $(cat whole.err)"
status=0
experiment other headline_n=7 || status=$?
[ $status = 2 ] && grep -q "7 is not one of n" other.err || fail "a headline outside the grid is refused"

"$VALUE_ERROR" desk n=20 eps=60 headline_n=20 seeds=2 steps=20 hidden=8 precision=0.05 >desk.txt 2>desk.err || fail "the desk runs: $(cat desk.err)"
[ "$(wc -l <desk/runs.csv)" = 13 ] || fail "the desk's runs are written"
finish
