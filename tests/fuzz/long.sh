#!/bin/sh
# A long run: tests/fuzz/long.sh SECONDS [TARGET...], each target for so many seconds, one core each, as many at once
# as there are processors (JOBS=n for fewer). Below the folder WORK (default build-fuzz/long):
#   corpus/TARGET   what was found on the way, smallest set that covers the same; used again by the next run
#   crash/TARGET    inputs that broke something, each with a smaller twin where one was found
#   log/TARGET      libFuzzer's own words
#   cpu/TARGET      seconds of processor time of all runs so far
# Exit status 1 if anything was broken.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
source=$(cd "$here/../.." && pwd)
build=${KEEL_BUILD:-$source/build-fuzz}
work=${WORK:-$build/long}
seconds=${1:?"usage: long.sh SECONDS [TARGET...]"}
shift
[ $# -gt 0 ] || set -- $(ls "$here/corpus")
mkdir -p "$work/log" "$work/cpu"

# Adds the processor time of this process's children to the seconds in a file.
add_cpu() {
    times >"$1.now"
    { cat "$1" 2>/dev/null || true; tail -n 1 "$1.now" | tr 'ms' '  '; } |
        awk '{ sum += NF > 2 ? 60 * ($1 + $3) + $2 + $4 : $1 } END { printf "%.0f\n", sum }' >"$1.sum"
    mv "$1.sum" "$1"
    rm "$1.now"
}

run_one() {
    name=$1 program=$build/tests/fuzz/fuzz_$1
    mkdir -p "$work/corpus/$name" "$work/crash/$name" "$work/smaller/$name"
    "$program" "$work/corpus/$name" "$here/corpus/$name" -dict="$here/dict/$name.dict" -max_total_time="$seconds" -timeout=60 \
        -rss_limit_mb=2048 -report_slow_units=600 -artifact_prefix="$work/crash/$name/" -print_final_stats=1 >"$work/log/$name" 2>&1 || true
    for crash in "$work/crash/$name"/crash-*; do
        [ -f "$crash" ] && [ ! -f "${crash%/*}/small-${crash##*/}" ] || continue
        "$program" -minimize_crash=1 -runs=20000 -max_total_time=30 -exact_artifact_path="${crash%/*}/small-${crash##*/}" \
            "$crash" >>"$work/log/$name.small" 2>&1 || true
    done
    "$program" -merge=1 "$work/smaller/$name" "$work/corpus/$name" -timeout=60 >>"$work/log/$name.merge" 2>&1 &&
        rm -rf "$work/corpus/$name" && mv "$work/smaller/$name" "$work/corpus/$name"
    add_cpu "$work/cpu/$name"
    echo "$name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$work/log/$name") inputs," \
        "$(ls "$work/corpus/$name" | wc -l) kept, $(ls "$work/crash/$name" | wc -l) broken," \
        "$(awk '{ printf "%.2f", $1 / 3600 }' "$work/cpu/$name") CPU-hours so far"
}

if [ "${LONG_ONE:-}" ]; then
    run_one "$1"
    exit
fi
cmake -S "$source" -B "$build" -G Ninja -DCMAKE_C_COMPILER="${CC:-clang}" -DCMAKE_BUILD_TYPE=RelWithDebInfo \
    -DKEEL_FUZZ=ON -DKEEL_TESTS=OFF >/dev/null
cmake --build "$build" --target fuzzers
export LONG_ONE=1
printf '%s\n' "$@" | xargs -P "${JOBS:-$(nproc)}" -I '{}' "$0" "$seconds" '{}'
[ -z "$(find "$work/crash" -type f)" ]
