# Sourced by the scripts that build Keel and run its tests.
here=$(cd "$(dirname "$0")/.." && pwd)

# built FOLDER ARGS...: configures with ARGS in FOLDER and builds $targets, or all; says what went wrong, if anything.
built() {
    folder=$1
    shift
    mkdir -p "$folder"
    # shellcheck disable=SC2086 # one word per target
    { cmake -S "$here" -B "$folder" -G Ninja "$@" && cmake --build "$folder" ${targets:+--target $targets} -- -j "$(nproc)"; } \
        >"$folder/build.log" 2>&1 || { tail -n 30 "$folder/build.log"; return 1; }
}

# tested FOLDER ARGS...: ctest ARGS there, its words also in FOLDER/ctest.log; CTest's status. $under stands before it.
# One test more than there are processors: some wait for a clock or a disk.
tested() {
    folder=$1 code=0
    shift
    (cd "$folder" && ${under:-} ctest -j "$(($(nproc) + 1))" --output-on-failure "$@") >"$folder/ctest.log" 2>&1 || code=$?
    cat "$folder/ctest.log"
    return $code
}

# threads_tested FOLDER TARGETS ARGS...: both with ThreadSanitizer. Where addresses are randomised too far it cannot map
# its shadow, so they are not where that may be asked for.
threads_tested() {
    folder=$1 targets=$2 under=
    shift 2
    ! setarch -R true 2>/dev/null || under="setarch -R"
    built "$folder" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DKEEL_SANITIZE=thread || return 1
    targets=
    tested "$folder" "$@"
}

# finished STATUS FOLDER...: "N passed, N failed, N skipped" of what was tested there, and exits.
finished() {
    status=$1
    shift
    for folder; do cat "$folder/ctest.log" 2>/dev/null || true; done | awk -v status="$status" '
        / Passed / { passed++ }
        /\*\*\*Skipped/ { skipped++ }
        /\*\*\*(Failed|Timeout|Exception|Not Run)/ { failed++ }
        END {
            if (!passed) status = 1
            if (status && !failed) failed = 1
            printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
            exit status
        }'
    exit
}
