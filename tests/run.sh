#!/bin/sh
# Installs what is missing, builds with AddressSanitizer and UndefinedBehaviorSanitizer, runs every test, and each fuzz
# target, which clang builds, for KEEL_FUZZ_SECONDS (default 30; 0: the committed inputs alone); ends with one line:
# "N passed, N failed, N skipped". Exit status 0 only if nothing failed and something ran.
#
#   tests/run.sh              everything
#   tests/run.sh -L unit      what follows is handed to ctest
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
build=${KEEL_BUILD:-$here/build-tests}
fuzz=$build-fuzz
log=$build/ctest.log
status=0

# Builds the targets and runs them as ctest is told to; without clang and its libFuzzer they count as skipped.
fuzz_pass() {
    if ! { "$here/experiments/install.sh" "$here/tests/packages.txt" && cmake -S "$here" -B "$fuzz" -G Ninja \
        -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=RelWithDebInfo -DKEEL_FUZZ=ON -DKEEL_TESTS=OFF; } >"$fuzz.log" 2>&1; then
        tail -n 3 "$fuzz.log"
        echo "fuzz targets: ***Skipped (no clang with libFuzzer)"
        return 0
    fi
    (cd "$fuzz" && ctest -N "$@") | grep -q '^ *Test ' || return 0
    cmake --build "$fuzz" --target fuzzers -- -j "$(nproc)" >>"$fuzz.log" 2>&1 || { tail -n 30 "$fuzz.log"; return 1; }
    (cd "$fuzz" && ctest -j "$(nproc)" --output-on-failure "$@")
}

"$here/experiments/install.sh"
# Warnings stop continuous integration, not somebody with a newer compiler.
cmake -S "$here" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DKEEL_SANITIZE=ON \
    -DKEEL_WERROR="${CI:-OFF}" >/dev/null
cmake --build "$build" -- -j "$(nproc)"
(cd "$build" && ctest -j "$(nproc)" --output-on-failure "$@" >"$log" 2>&1) || status=$?
cat "$log"
fuzz_pass "$@" >"$log.fuzz" 2>&1 || status=$?
cat "$log.fuzz"
passed=$(cat "$log" "$log.fuzz" | grep -c ' Passed ' || true)
skipped=$(cat "$log" "$log.fuzz" | grep -c '\*\*\*Skipped' || true)
failed=$(cat "$log" "$log.fuzz" | grep -cE '\*\*\*(Failed|Timeout|Exception|Not Run)' || true)
[ "$passed" -gt 0 ] || status=1
[ "$status" = 0 ] || [ "$failed" -gt 0 ] || failed=1
echo "$passed passed, $failed failed, $skipped skipped"
exit "$status"
