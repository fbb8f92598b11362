#!/bin/sh
# Wall time of a whole recipe by step, from an empty folder: seconds, share, and what kinds of steps cost together.
#
#     wall_time.sh KEEL [RECIPE.json] [ARGUMENTS OF keel run...]      KEEL is the program; default: the quickstart
#
# Times are those at which the steps' markers were written. Processor time over wall time says how many processors were
# kept busy. Floors are measured by the programs beside this one: bench_cql_step (train), bench_base (sft, encoding),
# bench_import_floor (import).
set -eu
keel=$1
here=$(cd "$(dirname "$0")/.." && pwd)
recipe=${2:-$here/recipes/quickstart.json}
[ $# -lt 2 ] && shift 1 || shift 2
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT INT TERM
begin=$(date +%s.%N)
( "$keel" run "$recipe" --out "$out/run" --quiet "$@" >/dev/null; times >"$out/times" )
end=$(date +%s.%N)
stat -c '%.3Y %n' "$out"/run/steps/*.json | sort -n | sed 's|[^ ]*/||' | awk -v begin="$begin" -v end="$end" '
    { name[NR] = $2; took[NR] = $1 - (NR > 1 ? last : begin); last = $1
      sub(/\.json$/, "", name[NR]); kind = name[NR]; sub(/-.*/, "", kind); sum[kind] += took[NR]; count[kind]++ }
    END {
        all = end - begin
        printf "%-28s %8s %6s\n", "step", "seconds", "share"
        for (i = 1; i <= NR; i++) printf "%-28s %8.2f %5.1f%%\n", name[i], took[i], 100 * took[i] / all
        printf "\n%-28s %8s %6s %6s\n", "steps of one kind", "seconds", "share", "steps"
        for (kind in sum) printf "%-28s %8.2f %5.1f%% %6d\n", kind, sum[kind], 100 * sum[kind] / all, count[kind] | "sort -k2 -rn"
        close("sort -k2 -rn")
        printf "%-28s %8.2f\n", "all, start and report too", all
    }'
awk 'NR == 2 { split($1, u, /[ms]/); split($2, s, /[ms]/); printf "%-28s %8.2f user, %.2f system\n", "processor time", 60 * u[1] + u[2], 60 * s[1] + s[2] }' "$out/times"
