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
import time

for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)
import llama_cpp as lc  # noqa: E402

keel, bench, folder = sys.argv[1:4]
THREADS = int(sys.argv[4]) if len(sys.argv) > 4 else 2
ROUNDS = int(sys.argv[5]) if len(sys.argv) > 5 else 7
WEIGHTS = sys.argv[6].split(",") if len(sys.argv) > 6 else ["f32", "bf16", "q8_0"]
folder_of_files = tempfile.TemporaryDirectory()
work = folder_of_files.name
BEFORE = 128
tasks = [("prefill", 256), ("prefill", 512), ("decode", 1, 24), ("decode", 4, 12), ("decode", 16, 6)]


class Keel:
    def __init__(self, file, weights):
        self.process = subprocess.Popen([bench, file, weights, str(THREADS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().split()

    def run(self, task):
        return [float(x) for x in self.ask(" ".join(map(str, task)))[1:3]]


class LlamaCpp:
    def __init__(self, file):
        lc.llama_log_set(QUIET, None)
        self.model = lc.llama_model_load_from_file(file.encode(), lc.llama_model_default_params())
        params = lc.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch, params.n_seq_max = 16 * 512, 512, 512, 16
        params.n_threads = params.n_threads_batch = THREADS
        self.context = lc.llama_init_from_model(self.model, params)
        vocab = lc.llama_vocab_n_tokens(lc.llama_model_get_vocab(self.model))
        self.id = [(i * 7919 + 13) % (vocab - 200) for i in range(8192)]
        self.batch = lc.llama_batch_init(512, 0, 16)

    def read(self, rows):
        """(token, position, sequence, logits?)"""
        b = self.batch
        b.n_tokens = len(rows)
        for i, (token, position, sequence, logits) in enumerate(rows):
            b.token[i], b.pos[i], b.n_seq_id[i], b.logits[i] = token, position, 1, logits
            b.seq_id[i][0] = sequence
        if lc.llama_decode(self.context, b):
            sys.exit("llama_decode failed")
        lc.llama_get_logits(self.context)

    def run(self, task):
        lc.llama_memory_clear(lc.llama_get_memory(self.context), True)
        if task[0] == "decode":
            for i in range(task[1]):
                self.read([(self.id[i + t], t, i, False) for t in range(BEFORE)])
        lc.llama_synchronize(self.context)
        wall, processor = time.monotonic(), time.process_time()
        if task[0] == "prefill":
            self.read([(self.id[t], t, 0, t == task[1] - 1) for t in range(task[1])])
        else:
            for t in range(task[2]):
                self.read([(self.id[7 * i + BEFORE + t], BEFORE + t, i, True) for i in range(task[1])])
        lc.llama_synchronize(self.context)
        return time.monotonic() - wall, time.process_time() - processor


QUIET = lc.llama_log_callback(lambda *a: None)
print(f"llama-cpp-python {lc.__version__}, {THREADS} threads, {ROUNDS} rounds; load at the start {os.getloadavg()[0]:.1f}")
print(f"{'weights':8} {'task':14} {'keel tok/s':>11} {'llama.cpp':>10} {'ratio':>6}   {'keel by CPU':>11} {'llama.cpp':>10} {'ratio':>6}   {'floor':>7}")
for weights in WEIGHTS:
    file = os.path.join(work, weights + ".gguf")
    subprocess.run([keel, "convert", "--quiet", "--base", folder, "--out", file, "--weights", weights], check=True, stdout=subprocess.DEVNULL)
    ours, theirs = Keel(file, weights), LlamaCpp(file)
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
    ours.process.stdin.close()
    ours.process.wait()
    lc.llama_free(theirs.context)
    lc.llama_model_free(theirs.model)
    os.unlink(file)
