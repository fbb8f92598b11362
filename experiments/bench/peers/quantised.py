"""How fast and how good SmolLM2 is in each number format, beside llama.cpp (llama-cpp-python) at the same bits.

    pip install llama-cpp-python && experiments/fetch-base.sh smollm2
    python quantised.py KEEL BENCH_DECODER_SPEED smollm2 [--threads 2] [--rounds 5] [--store S.db] [--split NAME] [--isa own,avx2]

Keel: f32, int8 (INT8 by rows, inputs INT8 by tokens), q8_0, q4_0, q4_g32, quantised by absmax as they are read; llama.cpp: F32, Q8_0, Q4_0 of `keel convert`. Each round does every task once with
everybody, one right after the other, so that whatever else the machine does meets all; printed are medians with the middle half of the rounds, and the median of the rounds' ratios to Keel's f32 with
the same instructions. `decision`: five candidates of 40 tokens scored after a state of 512 that is read once. --isa: the kernels that the processor has, and those of AVX2 alone (OPENBLAS_CORETYPE, for
Keel alone: llama.cpp's are those it was built with). clock: seconds by the clock; --processor: of the processor instead, for a machine that is shared. --store: perplexity of what was said in that store, by a
base that `keel compress` made.
"""
import argparse
import json
import os
import statistics
import subprocess
import tempfile

import asked_decoders
from asked_decoders import lc

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("keel")
parser.add_argument("bench")
parser.add_argument("folder")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--store")
parser.add_argument("--split")
parser.add_argument("--isa", default="own,avx2")
parser.add_argument("--processor", action="store_true")
args = parser.parse_args()
FORMATS = ["f32", "int8", "q8_0", "q4_0", "q4_g32"]
TASKS = [("prefill", 256), ("prefill", 512), ("decode", 1, 24), ("decision",)]
STATE, CANDIDATES, CANDIDATE = 512, 5, 40


class Keel(asked_decoders.Keel):
    def __init__(self, weights, isa):
        super().__init__(args.bench, args.folder, weights, args.threads, **({"OPENBLAS_CORETYPE": "Haswell"} if isa == "avx2" else {}))
        self.name, self.isa, self.bytes = weights, isa, int(self.ask("floor")[1])

    def floor(self):
        return [float(x) for x in self.ask("floor")[3:5]]


class LlamaCpp(asked_decoders.LlamaCpp):
    isa = "llama.cpp"

    def __init__(self, weights, file):
        super().__init__(file, args.threads, 8, 8 * 1024)
        self.name, self.bytes = weights, os.path.getsize(file)

    def work(self, task):
        if task[0] != "decision":
            super().work(task)
            return
        self.read([(self.id[t], t, 0, False) for t in range(STATE)])
        for i in range(CANDIDATES):
            lc.llama_memory_seq_cp(lc.llama_get_memory(self.context), 0, i + 1, -1, -1)
        self.read([(self.id[600 + CANDIDATE * i + t], STATE + t, i + 1, True) for i in range(CANDIDATES) for t in range(CANDIDATE)])


def shown(values, scale, digits):
    values = sorted(x * scale for x in values)
    q = statistics.quantiles(values, n=4) if len(values) > 1 else [values[0]] * 3
    return f"{q[1]:9.{digits}f} ({q[0]:.{digits}f}-{q[2]:.{digits}f})"


def perplexity(weights, folder):
    base = args.folder
    if weights != "f32":
        base = os.path.join(folder, weights)
        subprocess.run([args.keel, "compress", "--quiet", "--base", args.folder, "--weights", weights, "--out", base], check=True, stdout=subprocess.DEVNULL)
    command = [args.keel, "verify", "--quiet", "--json", "--base", base, "--store", args.store]
    done = subprocess.run(command + (["--split", args.split] if args.split else []), check=True, capture_output=True, text=True)
    return json.loads(done.stdout)["log"]["perplexity"]["value"]


which = 1 if args.processor else 0
with tempfile.TemporaryDirectory() as work:
    all_of_them = [Keel(weights, isa) for isa in args.isa.split(",") for weights in FORMATS]
    for weights in ("f32", "q8_0", "q4_0"):
        file = os.path.join(work, weights + ".gguf")
        subprocess.run([args.keel, "convert", "--quiet", "--base", args.folder, "--out", file, "--weights", weights], check=True, stdout=subprocess.DEVNULL)
        all_of_them.append(LlamaCpp(weights, file))
    print(f"llama-cpp-python {lc.__version__}, {args.threads} threads, {args.rounds} rounds, {'seconds of the processor' if which else 'by the clock'}; "
          f"load at the start {os.getloadavg()[0]:.1f}", flush=True)
    times = {(who, task): [] for who in all_of_them for task in TASKS}
    floors = {who: [] for who in all_of_them}
    for who in all_of_them:
        for task in TASKS[:1] + TASKS[2:3]:
            who.run(task)
    for _ in range(args.rounds):
        for task in TASKS:
            for who in all_of_them:
                times[who, task].append(who.run(task)[which])
        for who in all_of_them:
            if isinstance(who, Keel):
                floors[who].append(who.floor()[which])
    base = {who.isa: who for who in all_of_them if who.name == "f32"}
    own = all_of_them[0].isa
    print(f"{'':18} {'MB':>6} {'x f32':>6}")
    for who in all_of_them:
        print(f"{who.isa:10} {who.name:7} {who.bytes / 1e6:6.1f} {base[own].bytes / who.bytes:6.2f}")
    for task in TASKS:
        unit = "ms" if task[0] == "decision" else "tokens a second"
        print(f"\n{' '.join(map(str, task))}, {unit} (middle half of the rounds), and as often as Keel's f32 with these instructions" + (", share of the floor" if task[0] == "decode" else ""))
        for who in all_of_them:
            mine = times[who, task]
            against = times[base[who.isa if isinstance(who, Keel) else own], task]
            figures = shown(mine, 1e3, 1) if task[0] == "decision" else shown([1 / (x / (task[-1] if task[0] == "decode" else task[1])) for x in mine], 1, 1)
            ratio = statistics.median(b / a for a, b in zip(mine, against))
            floor = f" {statistics.median(f * task[-1] / a for f, a in zip(floors[who], mine)):6.2f}" if task[0] == "decode" and floors[who] else ""
            print(f"{who.isa:10} {who.name:7} {figures:28} {ratio:6.2f}{floor}", flush=True)
    for who in all_of_them:
        who.close()
if args.store:
    print("\nperplexity of what was said in the store")
    before = None
    for weights in FORMATS:
        with tempfile.TemporaryDirectory() as work:
            value = perplexity(weights, work)
        before = before or value
        print(f"{weights:18} {value:9.4f} {100 * (value / before - 1):+6.2f} %", flush=True)
