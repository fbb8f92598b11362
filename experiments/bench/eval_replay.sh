#!/bin/sh
# Evaluation and replay of a long log on one thread: decisions per second, peak memory, and how far from the floor.
#
#     eval_replay.sh KEEL [DECISIONS]      KEEL is the program, with bench_cql_step beside it; default: 100,000
#
# The log is simulated (4.6 decisions a conversation), encoded to 64 features, and judged by a policy of MLP(256, 256); some
# 1 KB of disk a decision, in a folder below TMPDIR that is removed again. The floor: the bytes of the features over the rate
# at which the store's file is read, and the multiply-adds of the policy's network over the rate of SGEMM that bench_cql_step
# prints, as if nothing else were to be done. Seconds are of the processor; files are in the system's cache.
set -eu
keel=$(realpath "$1")
episodes=$((${2:-100000} * 10 / 46))
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT INT TERM
cd "$folder"

for split in few many; do
    [ $split = few ] && count=500 || count=$episodes
    "$keel" simulate --store s.db --env support-desk --behaviour support-82 --episodes "$count" --seed "$count" --split $split \
        --quiet >simulated
done
"$keel" sft --store s.db --base builtin --out base --split few --set features=64 --quiet >tuned
"$keel" train --store s.db --base base --algo cql --out policy --split few --set steps=200 --quiet >trained
"$keel" train --store s.db --base base --algo bc --out encoded --split many --set steps=1 --quiet >encoded.txt

KEEL=$keel SGEMM=$(echo 0.5 | "$(dirname "$keel")/bench_cql_step" ask scalar 32 12 32 1) python3 - <<'PYTHON'
import json, os, sqlite3, subprocess, time

def measure(verb, *more):
    """Processor seconds, peak MB, result."""
    command = [os.environ["KEEL"], verb, "--store", "s.db", "--policy", "policy", "--split", "many", "--json", "--quiet", *more]
    with open("result", "w") as out:
        process = subprocess.Popen(command, stdout=out)
        _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{verb} failed")
    with open("result") as text:
        return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, json.load(text)

def read_rate():
    """Bytes per second of reading the store's file."""
    block, done, start = bytearray(1 << 20), 0, time.process_time()
    with open("s.db", "rb", buffering=0) as file:
        while count := file.readinto(block):
            done += count
    return done / (time.process_time() - start)

store = sqlite3.connect("s.db")
decisions, features, acts = store.execute(
    "SELECT count(*), f.state_dim, f.n_actions FROM features f JOIN decisions d ON d.id = f.decision_id "
    "JOIN conversations c ON c.id = d.conversation_id WHERE c.split = 'many'").fetchone()
store.close()
read_rate()
rate, sgemm = read_rate(), float(os.environ["SGEMM"].split()[1])
reading = decisions * 4 * (features + acts) / rate
network = decisions * 2 * (features * 256 + 256 * 256 + 256 * acts * 3) / sgemm
floor = reading + network
print(f"{decisions} decisions, {features} features, {acts} acts; store of {os.path.getsize('s.db') / 1e6:.0f} MB")
print(f"floor {floor:.2f} s: features at {rate / 1e9:.1f} GB/s {reading:.2f} s, network at {sgemm / 1e9:.0f} GFLOP/s {network:.2f} s")
print("verb    seconds  decisions/s  peak MB  over the floor")
for verb, more in (("eval", ("--threads", "1")), ("replay", ())):
    seconds, peak, result = measure(verb, *more)
    if verb == "replay" and result["seen"] > decisions:
        raise SystemExit(f"replay saw {result['seen']} decisions")
    print(f"{verb:7} {seconds:7.1f} {decisions / seconds:12.0f} {peak:8.0f} {seconds / floor:15.1f}")
PYTHON
