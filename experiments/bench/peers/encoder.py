"""Keel's BERT encoder beside the libraries: tokens, vectors, speed, one thread each, interleaved.

    pip install sentence-transformers && experiments/fetch-base.sh minilm
    python encoder.py BENCH_ENCODER minilm LINES.txt [ROUNDS]
"""
import os
import re
import subprocess
import sys
import time

os.environ.update(CUDA_VISIBLE_DEVICES="", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
import numpy  # noqa: E402
import torch  # noqa: E402
from sentence_transformers import SentenceTransformer  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402

bench, folder, lines = sys.argv[1:4]
rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 3
torch.set_num_threads(1)
texts = open(lines, encoding="utf-8", newline="").read().split("\n")[:-1]


def ours(*arguments, text=None):
    return subprocess.run([bench, *arguments], input=text, capture_output=True, check=True, text=True).stdout


tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
tokenizer.no_truncation()
tokenizer.no_padding()
found = ours("tokens", os.path.join(folder, "tokenizer.json"), text="\n".join(texts) + "\n").split("\n")[:-1]
differ = sum([int(i) for i in line.split()] != tokenizer.encode(text).ids for line, text in zip(found, texts))
print(f"tokens: {differ} of {len(texts)} lines differ")

model = SentenceTransformer(folder, device="cpu")
some = texts[:400]
vectors = numpy.array([[float(x) for x in line.split()] for line in ours("vectors", folder, "32", text="\n".join(some) + "\n").split("\n")[:-1]])
print(f"vectors: {abs(model.encode(some, batch_size=32) - vectors).max():.2g} at most apart, {len(some)} lines")

print("texts a CPU second, best of rounds: tokens, batch, Keel, sentence-transformers, ratio")
for tokens in (16, 64, 128):
    for batch in (32, 1):
        best = [0.0, 0.0]
        features = {"input_ids": torch.randint(1000, 20000, (batch, tokens)), "attention_mask": torch.ones(batch, tokens, dtype=torch.long),
                    "token_type_ids": torch.zeros(batch, tokens, dtype=torch.long)}
        for _ in range(rounds):
            rate = float(re.search(r"([0-9.]+) texts a CPU", ours("speed", folder, str(batch), str(tokens), "2")).group(1))
            best[0] = max(best[0], rate)
            begin = time.process_time()
            with torch.inference_mode():
                while time.process_time() - begin < 2:
                    at = time.process_time()
                    model(dict(features))
                    best[1] = max(best[1], batch / (time.process_time() - at))
        print(f"{tokens:4} {batch:3} {best[0]:8.1f} {best[1]:8.1f} {best[0] / best[1]:5.2f}")
