"""Keel's bench_decoder_speed and llama.cpp (llama-cpp-python), asked for the same tasks: what decoder_speed.py and quantised.py share. OPENBLAS_CORETYPE is taken out of the environment."""
import os
import subprocess
import sys
import time

for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)
import llama_cpp as lc  # noqa: E402

QUIET = lc.llama_log_callback(lambda *a: None)
lc.llama_log_set(QUIET, None)
BEFORE = 128  # tokens that are there before one is written


class Keel:
    def __init__(self, bench, path, weights, threads, **environment):
        self.process = subprocess.Popen([bench, path, weights, str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ, **environment))

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().split()

    def run(self, task):
        """Seconds by the clock, and of the processor."""
        return [float(x) for x in self.ask(" ".join(map(str, task)))[1:3]]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class LlamaCpp:
    def __init__(self, file, threads, sequences, tokens):
        """So many sequences at once, with so many tokens in all."""
        self.model = lc.llama_model_load_from_file(file.encode(), lc.llama_model_default_params())
        params = lc.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch, params.n_seq_max = tokens, 512, 512, sequences
        params.n_threads = params.n_threads_batch = threads
        self.context = lc.llama_init_from_model(self.model, params)
        vocab = lc.llama_vocab_n_tokens(lc.llama_model_get_vocab(self.model))
        self.id = [(i * 7919 + 13) % (vocab - 200) for i in range(8192)]
        self.batch = lc.llama_batch_init(512, 0, sequences)

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

    def work(self, task):
        """("prefill", tokens) or ("decode", sequences, tokens of each)."""
        if task[0] == "prefill":
            self.read([(self.id[t], t, 0, t == task[1] - 1) for t in range(task[1])])
        else:
            for t in range(task[2]):
                self.read([(self.id[7 * i + BEFORE + t], BEFORE + t, i, True) for i in range(task[1])])

    def run(self, task):
        """Seconds by the clock, and of the processor."""
        lc.llama_memory_clear(lc.llama_get_memory(self.context), True)
        if task[0] == "decode":
            for i in range(task[1]):
                self.read([(self.id[i + t], t, i, False) for t in range(BEFORE)])
        lc.llama_synchronize(self.context)
        wall, processor = time.monotonic(), time.process_time()
        self.work(task)
        lc.llama_synchronize(self.context)
        return time.monotonic() - wall, time.process_time() - processor

    def close(self):
        lc.llama_free(self.context)
        lc.llama_model_free(self.model)
