#!/bin/sh
# Installs what is missing, builds with AddressSanitizer and UndefinedBehaviorSanitizer, runs every test, those of
# threads once more with ThreadSanitizer, and a short pass of the fuzz targets, which are built by clang; ends with one
# line: "N passed, N failed, N skipped". Exit status 0 only if nothing failed and something ran.
#
#   tests/run.sh              everything
#   tests/run.sh -L unit      what follows is handed to ctest
set -eu
. "$(dirname "$0")/steps.sh"
build=${KEEL_BUILD:-$here/build-tests}
status=0

# Builds the targets and runs them as ctest is told to; without clang and its libFuzzer they count as skipped.
fuzz_pass() {
    if ! { "$here/experiments/install.sh" "$here/tests/packages.txt" && targets=help built "$build-fuzz" \
        -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=RelWithDebInfo -DKEEL_FUZZ=ON -DKEEL_TESTS=OFF; } >"$build-fuzz.log" 2>&1; then
        tail -n 3 "$build-fuzz.log"
        echo "fuzz targets: ***Skipped (no clang with libFuzzer)" | tee "$build-fuzz/ctest.log"
        return 0
    fi
    (cd "$build-fuzz" && ctest -N "$@") | grep -q '^ *Test *#' || return 0
    targets=fuzzers built "$build-fuzz" || return 1
    tested "$build-fuzz" "$@"
}

"$here/experiments/install.sh"
rm -f "$build/ctest.log" "$build-threads/ctest.log" "$build-fuzz/ctest.log"
# Warnings stop continuous integration, not somebody with a newer compiler.
built "$build" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DKEEL_SANITIZE=ON -DKEEL_WERROR="${CI:-OFF}"
tested "$build" "$@" || status=$?
threads_tested "$build-threads" thread_tests -L '^threads$' "$@" || status=$?
fuzz_pass "$@" || status=$?
finished "$status" "$build" "$build-threads" "$build-fuzz"
