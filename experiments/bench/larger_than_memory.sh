#!/bin/sh
# Training and evaluation on logs of 1, 10 and 100 times the cache, within --memory and ulimit -v: peak memory and rates.
#
#   larger_than_memory.sh KEEL                          a quick one, in a folder that is removed again (half a minute)
#   larger_than_memory.sh KEEL make FOLDER EPISODES     FOLDER/s.db: splits x1, x10, x100 of EPISODES, 10 and 100 times as
#                                                       many conversations (4.6 transitions each), encoded to 384 features
#   larger_than_memory.sh KEEL measure FOLDER MB SPLIT...
#
# 5 million transitions: make FOLDER 11000, then measure FOLDER 128 x1 x10 x100; 15 GB of disk, some ten minutes alone.
set -eu
keel=$(realpath "$1")

make() {
    mkdir -p "$1"
    for times in 1 10 100; do
        "$keel" simulate --store "$1/s.db" --env support-desk --behaviour support-82 --episodes $(($2 * times)) --seed $times \
            --split x$times --quiet >/dev/null
    done
    "$keel" sft --store "$1/s.db" --base builtin --out "$1/base" --split x1 --set features=384 --quiet >/dev/null
    "$keel" train --store "$1/s.db" --base "$1/base" --algo bc --out "$1/encoded" --split all --set steps=1 --quiet >/dev/null
}

# held MB COMMAND...: within the limit and room for the program, its libraries and stacks; prints seconds and peak RSS in MB.
held() {
    (
        ulimit -v $(($1 * 1024 + 600000))
        shift
        python3 -c '
import resource, subprocess, sys, time
start = time.monotonic()
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
print("%.1f %.0f" % (time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024))
sys.exit(done.returncode)' "$@" --quiet
    )
}

measure() {
    folder=$1 mb=$2
    shift 2
    printf '%-8s %12s %12s %10s %10s %10s %10s\n' split transitions features train/s train/MB eval/s eval/MB
    for split; do
        train=$(held "$mb" "$keel" train --store "$folder/s.db" --base "$folder/base" --algo cql --out "$folder/policy-$split" --split "$split" \
            --memory "$mb" --threads 1 --set steps=1000)
        eval=$(held "$mb" "$keel" eval --store "$folder/s.db" --base "$folder/base" --policy "$folder/policy-$split" --split "$split" \
            --memory "$mb" --threads 1)
        n=$(sed -n 's/.*"transitions": *\([0-9]*\).*/\1/p' "$folder/policy-$split/keel.json" | head -n 1)
        # shellcheck disable=SC2086
        printf '%-8s %12s %9s MB %10s %10s %10s %10s\n' "$split" "$n" $((n * 393 * 4 / 1000000)) $train $eval
    done
}

if [ $# -gt 1 ]; then
    shift
    "$@"
else
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    make "$folder" 100
    measure "$folder" 64 x1 x10 x100
fi
