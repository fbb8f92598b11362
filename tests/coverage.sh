#!/bin/sh
# Which lines and branches of the product the tests run: builds with gcc --coverage, runs every test (a process that is
# killed counts for nothing), and prints them by room, then the files with the most lines left out, and which those are.
# Exit status 0 only if every test passed and enough lines ran.
#
#   tests/coverage.sh [PERCENT]     enough is 90 % of all lines, if not told otherwise
set -eu
. "$(dirname "$0")/steps.sh"
build=${KEEL_BUILD:-$here/build-coverage}
enough=${1:-90}
rooms="core datasets rewards envs policies rl experiments"

"$here/experiments/install.sh"
built "$build" -DCMAKE_C_COMPILER=gcc -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS="--coverage -fprofile-update=atomic"
find "$build" -name '*.gcda' -delete
# link_library links a program without --coverage, and runs nothing of ours.
status=0
tested "$build" -E '^link_library$' >/dev/null || status=$?
sed -n '/tests passed/,$ { /tests passed/p; /(Failed)\|(Timeout)/p }' "$build/ctest.log"

# Notes, not counters, are listed: a file that never ran counts too. What is compiled twice (test_gradient builds half of
# core in double) counts where either ran. Benchmarks and tests are no part of the product.
(cd "$build" && find . -name '*.gcno' ! -path '*/bench_*' | LC_ALL=C sort | xargs gcov -b -c -t -r -s "$here") \
    >"$build/gcov.txt" 2>"$build/gcov.err"
awk -v rooms="$rooms" -v enough="$enough" '
function share(part, whole) { return whole ? 100 * part / whole : 100 }
function row(name) {
    printf "%-32s %6d of %6d  %5.1f %%   %6d of %6d  %5.1f %%\n", name, ran[name], lines[name], share(ran[name], lines[name]),
        taken[name], branches[name], share(taken[name], branches[name])
}
function add(table) { table[file]++; table[room]++; table["all"]++ }
function count(whole, part, key, runs) {
    if (!((file, key) in seen)) { add(whole); seen[file, key] = 0 }
    if (runs && !seen[file, key]) { add(part); seen[file, key] = 1 }
}
BEGIN { last = split(rooms " all", name, " "); for (i = 1; i < last; ++i) inside[name[i]] = 1 }
/^ *-: +0:Source:/ { sub(/^.*Source:/, ""); file = room = $0; sub(/\/.*/, "", room); files[file]; next }
!(room in inside) { next }
/^branch/ { count(branches, taken, line " " $2, $4 + 0 > 0); next }
/^ *([0-9]+\*?|[#=]+): *[0-9]+:/ { split($0, part, ":"); line = part[2] + 0; count(lines, ran, line, part[1] + 0 > 0); if (line > end[file]) end[file] = line }
END {
    print "room                                      lines that ran           branches taken"
    for (i = 1; i <= last; ++i) row(name[i])
    short = share(ran["all"], lines["all"]) < enough
    print "\nfiles with the most lines that did not run"
    for (shown = 0; shown < 15; ++shown) {
        most = ""
        for (file in files) if (lines[file] - ran[file] > (most == "" ? 0 : lines[most] - ran[most])) most = file
        if (most == "") break
        row(most)
        printf "    lines"
        for (i = 1; i <= end[most]; ++i) if ((most, i) in seen && !seen[most, i]) printf " %d", i
        print ""
        delete files[most]
    }
    exit (short)
}' "$build/gcov.txt" || { echo "fewer than $enough % of the lines ran"; status=1; }
exit "$status"
