#!/bin/sh
# A short pass of one target: short.sh PROGRAM NAME RUNS. First the committed inputs, then new ones from a fixed seed,
# counted, not timed; the seconds are a belt only. Which new inputs come depends on the build, so continuous integration
# (CI=true) takes the committed ones alone. What is found goes to the build folder.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
found=$(pwd)/found/$2
rm -rf "$found"
mkdir -p "$found"
set -- "$1" "$2" "$3" "$found" "$here/corpus/$2"
[ ! -f "$here/dict/$2.dict" ] || set -- "$@" "-dict=$here/dict/$2.dict"
program=$1 runs=$3
[ -z "${CI:-}" ] || runs=0
shift 3
exec "$program" "$@" -runs="$runs" -seed=1 -max_total_time=60 -timeout=5 -rss_limit_mb=2048 \
    -artifact_prefix="$found/" -print_final_stats=1 -verbosity=0
