#!/bin/sh
# A short pass of one target: short.sh PROGRAM NAME RUNS. The same inputs each time: they are counted, not timed; the
# seconds are a belt only. What is found on the way goes to the build folder.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
found=$(pwd)/found/$2
rm -rf "$found"
mkdir -p "$found"
set -- "$1" "$2" "$3" "$found" "$here/corpus/$2"
[ ! -f "$here/dict/$2.dict" ] || set -- "$@" "-dict=$here/dict/$2.dict"
program=$1 runs=$3
shift 3
exec "$program" "$@" -runs="$runs" -seed=1 -max_total_time=60 -timeout=5 -rss_limit_mb=2048 \
    -artifact_prefix="$found/" -print_final_stats=1 -verbosity=0
