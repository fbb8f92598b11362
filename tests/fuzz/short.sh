#!/bin/sh
# A short pass of one target: short.sh PROGRAM NAME. First the committed inputs, then new ones from a fixed seed for
# KEEL_FUZZ_SECONDS (default 0: the committed ones alone). What is found goes to the build folder, and how to see it
# again is the last line.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
program=$1 name=$2 found=$(pwd)/found/$2
rm -rf "$found"
mkdir -p "$found"
set -- "$found" "$here/corpus/$name" "-dict=$here/dict/$name.dict" -seed=1 -timeout=60 -rss_limit_mb=2048 \
    -artifact_prefix="$found/" -print_final_stats=1 -verbosity=0
[ "${KEEL_FUZZ_SECONDS:-0}" != 0 ] || set -- "$@" -runs=0
"$program" "$@" -max_total_time="${KEEL_FUZZ_SECONDS:-0}" && exit
status=$?
for input in "$found"/crash-* "$found"/timeout-* "$found"/oom-* "$found"/leak-*; do
    [ ! -f "$input" ] || echo "to see it again: $program $input"
done
exit "$status"
