#!/bin/sh
# Which lines and branches of the product the tests run: builds with gcc --coverage, runs every test (a process that is
# killed counts for nothing), and prints them by room, then the files with the most lines left out, and which those are.
# Exit status 0 only if every test passed and enough lines ran.
#
#   tests/coverage.sh [PERCENT]     enough is 90 % of all lines, if not told otherwise
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
build=${KEEL_BUILD:-$here/build-coverage}
enough=${1:-90}
rooms="core datasets rewards envs policies rl experiments"

"$here/experiments/install.sh"
cmake -S "$here" -B "$build" -G Ninja -DCMAKE_C_COMPILER=gcc -DCMAKE_BUILD_TYPE=Debug \
    -DCMAKE_C_FLAGS="--coverage -fprofile-update=atomic" >/dev/null
cmake --build "$build" -- -j "$(nproc)" >"$build/build.log" || { tail -n 30 "$build/build.log"; exit 1; }
find "$build" -name '*.gcda' -delete
# link_library links a program without --coverage, and runs nothing of ours.
status=0
(cd "$build" && ctest -j "$(nproc)" --output-on-failure -E '^link_library$' >ctest.log 2>&1) || status=$?
sed -n '/tests passed/,$ { /tests passed/p; /(Failed)\|(Timeout)/p }' "$build/ctest.log"

# Notes, not counters, are listed: a file that never ran counts too. Benchmarks are no part of the product.
# shellcheck disable=SC2086 # one word per room
(cd "$build" && find $rooms -name '*.gcno' ! -path '*/bench_*' | LC_ALL=C sort | xargs gcov -b -c -t -r -s "$here") \
    >"$build/gcov.txt" 2>"$build/gcov.err"
awk -v rooms="$rooms" -v enough="$enough" '
function share(part, whole) { return whole ? 100 * part / whole : 100 }
function row(name) {
    printf "%-32s %6d of %6d  %5.1f %%   %6d of %6d  %5.1f %%\n", name, ran[name], lines[name], share(ran[name], lines[name]),
        taken[name], branches[name], share(taken[name], branches[name])
}
function count(table, by) { table[file] += by; table[room] += by; table["all"] += by }
/^ *-: +0:Source:/ { sub(/^.*Source:/, ""); file = $0; room = file; sub(/\/.*/, "", room); if (!(file in lines)) files[++n] = file; next }
/^branch/ { count(branches, 1); if ($4 + 0 > 0) count(taken, 1); next }
/^ *[0-9]+\*?: *[0-9]+:/ { count(lines, 1); count(ran, 1) }
/^ *[#=]+: *[0-9]+:/ { count(lines, 1); split($0, part, ":"); missed[file] = missed[file] " " part[2] + 0 }
END {
    print "room                                      lines that ran           branches taken"
    last = split(rooms " all", name, " ")
    for (i = 1; i <= last; ++i) row(name[i])
    short = share(ran["all"], lines["all"]) < enough
    print "\nfiles with the most lines that did not run"
    for (shown = 0; shown < 15; ++shown) {
        most = ""
        for (i in files) if (lines[files[i]] - ran[files[i]] > (most == "" ? 0 : lines[most] - ran[most])) most = files[i]
        if (most == "") break
        row(most)
        print "    lines" missed[most]
        ran[most] = lines[most]
    }
    exit (short)
}' "$build/gcov.txt" || { echo "fewer than $enough % of the lines ran"; status=1; }
exit "$status"
