"""How fast Keel's decoder reads and writes, beside llama.cpp (llama-cpp-python) on the same weights: F32, BF16 and Q8_0.

    pip install llama-cpp-python && experiments/fetch-base.sh smollm2
    python decoder_speed.py KEEL BENCH_DECODER_SPEED smollm2 [THREADS [ROUNDS [f32,bf16,q8_0]]]

`keel convert` makes the three .gguf files that both read. Each round does every task once with Keel and once with llama.cpp, one right after the other, so that whatever else
the machine does meets both; printed are medians of tokens a second by the clock, of tokens a second of the processor, and of the rounds' ratios. The kernel of Keel is the
processor's own: OPENBLAS_CORETYPE is taken out of the environment. floor: weights are read once a token by all threads, as fast as they read memory in this round.
"""
import os
import statistics
import subprocess
import sys
import tempfile

from asked_decoders import Keel, LlamaCpp, lc

keel, bench, folder = sys.argv[1:4]
THREADS = int(sys.argv[4]) if len(sys.argv) > 4 else 2
ROUNDS = int(sys.argv[5]) if len(sys.argv) > 5 else 7
WEIGHTS = sys.argv[6].split(",") if len(sys.argv) > 6 else ["f32", "bf16", "q8_0"]
folder_of_files = tempfile.TemporaryDirectory()
work = folder_of_files.name
tasks = [("prefill", 256), ("prefill", 512), ("decode", 1, 24), ("decode", 4, 12), ("decode", 16, 6)]

print(f"llama-cpp-python {lc.__version__}, {THREADS} threads, {ROUNDS} rounds; load at the start {os.getloadavg()[0]:.1f}")
print(f"{'weights':8} {'task':14} {'keel tok/s':>11} {'llama.cpp':>10} {'ratio':>6}   {'keel by CPU':>11} {'llama.cpp':>10} {'ratio':>6}   {'floor':>7}")
for weights in WEIGHTS:
    file = os.path.join(work, weights + ".gguf")
    subprocess.run([keel, "convert", "--quiet", "--base", folder, "--out", file, "--weights", weights], check=True, stdout=subprocess.DEVNULL)
    ours, theirs = Keel(bench, file, weights, THREADS), LlamaCpp(file, THREADS, 16, 16 * 512)
    for task in tasks:
        ours.run(task), theirs.run(task)
    times = {task: ([], []) for task in tasks}
    shared, reading = [], []
    for _ in range(ROUNDS):
        for task in tasks:
            times[task][0].append(ours.run(task))
            times[task][1].append(theirs.run(task))
        answer = ours.ask("candidates")
        shared.append((float(answer[1]) / float(answer[4]), float(answer[2]) / float(answer[5])))
        reading.append(float(ours.ask("floor")[3]))
    median = statistics.median
    for task in tasks:
        tokens = task[1] if task[0] == "prefill" else task[1] * task[2]
        a, b = times[task]
        floor = f"{1 / median(reading) * task[1]:7.0f}" if task[0] == "decode" else ""
        print(f"{weights:8} {' '.join(map(str, task)):14}" + "   ".join(
            f" {tokens / median(x[k] for x in a):10.1f} {tokens / median(x[k] for x in b):10.1f} {median(y[k] / x[k] for x, y in zip(a, b)):6.2f}" for k in (0, 1)) + "   " + floor, flush=True)
    print(f"{weights:8} five candidates of 32 tokens after a prompt of 512, of the time of five whole texts: {median(x[0] for x in shared):.3f} by the clock, "
          f"{median(x[1] for x in shared):.3f} by the processor", flush=True)
    ours.close()
    theirs.close()
    os.unlink(file)
