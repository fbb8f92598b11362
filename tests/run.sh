#!/bin/sh
# Installs what is missing, builds with AddressSanitizer and UndefinedBehaviorSanitizer, runs every test, and ends with
# one line: "N passed, N failed, N skipped". Exit status 0 only if nothing failed and something ran.
#
#   tests/run.sh              everything
#   tests/run.sh -L unit      what follows is handed to ctest
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
build=${KEEL_BUILD:-$here/build-tests}
"$here/experiments/install.sh"
cmake -S "$here" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DKEEL_SANITIZE=ON -DKEEL_WERROR=ON >/dev/null
cmake --build "$build" -- -j "$(nproc)"
log=$build/ctest.log
status=0
(cd "$build" && ctest -j "$(nproc)" --output-on-failure "$@" >"$log" 2>&1) || status=$?
cat "$log"
passed=$(grep -c ' Passed ' "$log" || true)
skipped=$(grep -c '\*\*\*Skipped' "$log" || true)
failed=$(grep -cE '\*\*\*(Failed|Timeout|Exception|Not Run)' "$log" || true)
[ "$passed" -gt 0 ] || status=1
[ "$status" = 0 ] || [ "$failed" -gt 0 ] || failed=1
echo "$passed passed, $failed failed, $skipped skipped"
exit "$status"
