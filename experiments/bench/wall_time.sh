#!/bin/sh
# Wall time of a whole recipe by step, from an empty folder: seconds, share, and what kinds of steps cost together.
#
#     wall_time.sh KEEL [RECIPE.json] [ARGUMENTS OF keel run...]      KEEL is the program; default: the quickstart
#
# Times are those at which the steps' markers were written. Processor time over wall time says how many processors were
# kept busy. The floor of the slowest training is printed: the multiply-adds of its matrix products over the rate of SGEMM
# that bench_cql_step, beside KEEL, prints, on every processor; sampling, sums, elementwise work and the optimizer count as
# nothing. Floors of other steps: bench_base (sft, encoding), bench_import_floor (import).
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
SGEMM=$(echo 0.5 | "$(dirname "$keel")/bench_cql_step" ask scalar 32 12 32 1) python3 - "$begin" "$out"/run/steps/*.json <<'PYTHON'
import json, os, sqlite3, struct, sys

def load(path):
    with open(path) as file:
        return json.load(file)

def weights(path):
    """Elements of the network's matrices, and of its first layers'."""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    sizes = {name: at["shape"][0] * at["shape"][1] for name, at in header.items() if name.endswith(".weight")}
    return sum(sizes.values()), sum(size for name, size in sizes.items() if ".layer.0." in name)

def rows(store, space):
    """Rows of the network for the state, and for the next state, of a transition of the store, on average."""
    size = "count(*)" if space == "candidates" else "1"
    mean = "SELECT sum(n) * 1.0 / (SELECT count(*) FROM transitions) FROM transitions t JOIN (SELECT decision_id d, %s n " \
        "FROM candidates GROUP BY 1) ON d = t.%s"
    return [store.execute(mean % (size, at)).fetchone()[0] or 0 for at in ("decision_id", "next_decision_id")]

def flop(arguments):
    """Of a whole training. s: forward, dW, and but for the first layer dX. s': online if double, and target."""
    policy = arguments["--out"]
    config = load(policy + "/keel.json")["config"]
    all, first = weights(policy + "/model.safetensors")
    with sqlite3.connect(arguments["--store"]) as store:
        now, later = rows(store, load(policy + "/config.json")["action_space"])
    learns = 0 if config["algorithm"] in ("bc", "filtered-bc", "safe-bc") else 1 + config["double_q"]
    steps = load(policy + "/keel.json")["metrics"]["steps"]
    return steps, steps * config["batch"] * 2 * (now * (3 * all - first) + later * learns * all)

last, slowest = float(sys.argv[1]), None
for path in sorted(sys.argv[2:], key=os.path.getmtime):
    step, took = load(path), os.path.getmtime(path) - last
    last += took
    if step["verb"] == "train" and (not slowest or took > slowest[1]):
        slowest = step, took
if slowest:
    step, took = slowest
    argv = step["argv"]
    arguments = {argv[i]: argv[i + 1] for i in range(len(argv) - 1)}
    if arguments.get("--algo", "cql") not in ("bc", "filtered-bc", "safe-bc", "dqn", "cql"):
        raise SystemExit(f"{step['name']}: no floor is known for {arguments['--algo']}")
    steps, work = flop(arguments)
    rate, processors = float(os.environ["SGEMM"].split()[1]), os.cpu_count()
    floor = work / rate / processors
    print(f"\nslowest training, {step['name']}: {took:.2f} s; floor {floor:.2f} s: {steps} steps, {work / 1e9:.0f} GFLOP at "
          f"{rate / 1e9:.0f} GFLOP/s on each of {processors} processors; {took / floor:.1f} times the floor")
PYTHON
