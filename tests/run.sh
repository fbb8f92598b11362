#!/bin/sh
# Installs what is missing, builds with AddressSanitizer and UndefinedBehaviorSanitizer, runs every test, then those of
# threads with ThreadSanitizer, then every fuzz target (built by clang) on its committed corpus. The last line is
# "N passed, N failed, N skipped". The exit status is 0 only if nothing failed and something ran.
#
#   tests/run.sh                  everything: about 13 minutes on two idle cores
#   tests/run.sh --fuzz SECONDS   each fuzz target also looks for new inputs for so long; tests/fuzz/long.sh for hours
#   tests/run.sh -L unit          ctest gets the other arguments
#
# All that is built stays in build-tests (or $KEEL_BUILD) of the tree.
set -eu
. "$(dirname "$0")/steps.sh"
build=${KEEL_BUILD:-$here/build-tests}
mkdir -p "$build"
build=$(cd "$build" && pwd)
asan=$build/asan threads=$build/threads fuzz=$build/fuzz
status=0
if [ "${1:-}" = --fuzz ]; then
    case ${2:-} in
    '' | *[!0-9]*)
        echo "run.sh: --fuzz needs a whole number of seconds" >&2
        exit 2
        ;;
    esac
    export KEEL_FUZZ_SECONDS="$2"
    shift 2
fi

# Builds the targets and runs them as ctest is told to. Without clang and its libFuzzer they count as skipped.
fuzz_pass() {
    if ! targets=help built "$fuzz" -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=RelWithDebInfo -DKEEL_FUZZ=ON -DKEEL_TESTS=OFF; then
        echo "fuzz targets: ***Skipped (no clang with libFuzzer)" | tee "$fuzz/ctest.log"
        return 0
    fi
    (cd "$fuzz" && ctest -N "$@") | grep -q '^ *Test *#' || return 0
    targets=fuzzers built "$fuzz" || return 1
    tested "$fuzz" "$@"
}

# Temporary files stay in the tree too, also those of a program that a test kills.
export TMPDIR="$build/tmp"
rm -rf "$TMPDIR"
mkdir -p "$TMPDIR"
trap 'rm -rf "$TMPDIR"' EXIT

"$here/experiments/install.sh"
# What only some tests need. Those that miss it are skipped.
"$here/experiments/install.sh" "$here/tests/packages.txt" || true
rm -f "$asan/ctest.log" "$threads/ctest.log" "$fuzz/ctest.log"
# Warnings stop continuous integration, not somebody with a newer compiler.
built "$asan" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DKEEL_SANITIZE=ON -DKEEL_WERROR="${CI:-OFF}"
tested "$asan" "$@" || status=$?
threads_tested "$threads" thread_tests -L '^threads$' "$@" || status=$?
fuzz_pass "$@" || status=$?
finished "$status" "$asan" "$threads" "$fuzz"
