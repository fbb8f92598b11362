#!/bin/sh
# edge.sh BUILD [WORK]: what keel-decide takes, of a release build in BUILD and of one for arm64, which it makes in
# WORK/aarch64: size, start, memory, conversations a second; and 10,000 conversations of the simulator decided by `keel
# decide`, by keel-decide, and by that of arm64 under qemu: differences. Policies over acts and over candidates on n-grams,
# as they are and compressed to 8 bits. Needs python3; for arm64 what tests/experiments/edge_aarch64.sh needs, else it goes
# without. A second run in the same WORK makes nothing anew.
set -eu
here=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$1" && pwd)
work=${2:-$(mktemp -d)}
mkdir -p "$work"
cd "$work"
keel=$build/experiments/keel
started=30

# ---- conversations, policies, the other program ----

[ -e log.jsonl ] || {
    "$keel" simulate --store logs.db --env support-desk --behaviour support-82 --episodes 4000 --quiet >/dev/null
    "$keel" export --store logs.db --format chat --out log.jsonl --quiet >/dev/null
}
python3 - <<'END'
import json
n, out = 0, open("open.jsonl", "w")
for line in open("log.jsonl"):
    messages = json.loads(line)["messages"]
    answers = list(dict.fromkeys(m["content"] for m in messages if m["role"] == "assistant"))
    for i, m in enumerate(messages):
        if m["role"] == "assistant" and n < 10000:
            past = [{"role": o["role"], "content": o["content"]} for o in messages[:i]]
            out.write(json.dumps({"id": f"o{n}", "messages": past + [{"role": "assistant", "content": None, "candidates": answers[:4]}]}) + "\n")
            n += 1
END
head -n 1 open.jsonl >one.jsonl
for space in acts candidates; do
    [ -e $space/policy ] || {
        "$keel" sft --store logs.db --base builtin --out $space/base --quiet --set action_space=$space >/dev/null
        "$keel" train --store logs.db --base $space/base --algo cql --out $space/policy --quiet --set steps=1000 >/dev/null
    }
    [ -e $space-int8/policy ] ||
        "$keel" compress --base $space/base --policy $space/policy --store logs.db --weights int8 --out $space-int8 --anyway --quiet >/dev/null
done
emulator=$(command -v qemu-aarch64-static || command -v qemu-aarch64 || true)
if [ -n "$emulator" ] && command -v aarch64-linux-gnu-gcc >/dev/null; then
    "$here/experiments/edge/arm64.sh" aarch64/debian >/dev/null
    { cmake -S "$here" -B aarch64 -G Ninja -DCMAKE_TOOLCHAIN_FILE="$here/experiments/edge/aarch64.cmake" -DKEEL_ARM64="$work/aarch64/debian" \
        -DKEEL_EDGE_ONLY=ON -DCMAKE_BUILD_TYPE=Release && cmake --build aarch64; } >aarch64.log 2>&1 || { tail -n 30 aarch64.log; exit 1; }
else
    echo "arm64: skipped, for want of aarch64-linux-gnu-gcc or qemu-aarch64"
    emulator=
fi

# ---- figures ----

cat >measure.py <<'END'
import os, statistics, subprocess, sys, time
times, command = int(sys.argv[1]), sys.argv[2:]
wall, cpu, memory = [], [], []
for _ in range(times):
    at = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, use = os.wait4(child.pid, 0)
    wall.append(time.perf_counter() - at)
    cpu.append(use.ru_utime + use.ru_stime)
    memory.append(use.ru_maxrss)
    assert status == 0, command
print(f"{1000 * statistics.median(wall):.1f} ms ({1000 * statistics.quantiles(wall, n=4)[0]:.1f} to {1000 * statistics.quantiles(wall, n=4)[2]:.1f}), "
      f"processor {1000 * statistics.median(cpu):.1f} ms, {max(memory) / 1024:.1f} MB" if times > 1 else f"{wall[0]:.1f} s, processor {cpu[0]:.1f} s, {memory[0] / 1024:.1f} MB")
END
size() { echo "$1: $(wc -c <"$2") bytes, libkeel_decide.a $(wc -c <"$3") bytes"; }
size x86-64 "$build/experiments/edge/keel-decide" "$build/experiments/edge/libkeel_decide.a"
[ -z "$emulator" ] || size aarch64 aarch64/experiments/edge/keel-decide aarch64/experiments/edge/libkeel_decide.a

run() { # NAME COMMAND...: one conversation, all, differences
    name=$1
    shift
    echo "  $name, one: $(python3 measure.py $started "$@" --policy $policy/policy --json --quiet one.jsonl)"
    echo "  $name, all: $(python3 measure.py 1 "$@" --policy $policy/policy --json --quiet --out "$name.jsonl" open.jsonl)"
    [ "$name" = keel ] || echo "    beside keel decide: $(sh "$here/experiments/bench/edge_differences.sh" keel.jsonl "$name.jsonl")"
}
for policy in acts acts-int8 candidates candidates-int8; do
    echo "$policy: base of $(wc -c <$policy/base/model.safetensors) bytes, policy of $(wc -c <$policy/policy/model.safetensors)"
    run keel "$keel" decide
    run keel-decide "$build/experiments/edge/keel-decide"
    [ -z "$emulator" ] || run aarch64 "$emulator" aarch64/experiments/edge/keel-decide
done
