"""Keel's BERT encoder in 8 bits beside its own float32 and beside onnxruntime: vectors, speed, size, one thread each, in turn.

    pip install onnx onnxruntime tokenizers numpy && experiments/fetch-base.sh minilm
    python encoder_int8.py KEEL BENCH_ENCODER minilm LINES.txt [ROUNDS]

onnxruntime runs what `keel convert --out NAME.onnx` writes, in float32 and as its own quantize_dynamic makes it (int8 weights, a scale
a tensor and a scale a row of weights). Vectors: cosine to Keel's float32 over the first 400 lines, mean and least. Speed: texts a CPU second
of each round, the contenders in turn; median, and least to most of the rounds. OpenBLAS chooses its kernel itself; KEEL_KERNEL=Haswell: AVX2 for
Keel. (No setting holds onnxruntime back.)
"""
import os
import re
import subprocess
import sys
import tempfile
import time

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)
if kernel := os.environ.get("KEEL_KERNEL"):
    os.environ["OPENBLAS_CORETYPE"] = kernel
import numpy  # noqa: E402
import onnxruntime  # noqa: E402
from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402

keel, bench, folder, lines = sys.argv[1:5]
rounds = int(sys.argv[5]) if len(sys.argv) > 5 else 5
SECONDS, SOME, TOKENS = 0.5, 400, 64
scratch = tempfile.mkdtemp()
texts = [line for line in open(lines, encoding="utf-8", newline="").read().split("\n") if line.strip()][:SOME]
at = lambda name: os.path.join(scratch, name)  # noqa: E731


def run(*arguments, text=None):
    done = subprocess.run(arguments, input=text, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(arguments)}: {done.stderr}")
    return done.stdout


def megabytes(path):
    if os.path.isdir(path):
        path = os.path.join(path, "model.safetensors")
    return os.path.getsize(path) / 1e6


# ---- the contenders ----

for weights in ("int8", "q8_0"):
    run(keel, "compress", "--base", folder, "--weights", weights, "--out", at(weights))
run(keel, "convert", "--base", folder, "--out", at("f32.onnx"))
quantize_dynamic(at("f32.onnx"), at("int8.onnx"), weight_type=QuantType.QInt8, per_channel=True)


def open_session(name):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(at(name), options, providers=["CPUExecutionProvider"])


ours = {"Keel f32": folder, "Keel q8_0": at("q8_0"), "Keel int8": at("int8")}
theirs = {"onnxruntime f32": open_session("f32.onnx"), "onnxruntime int8": open_session("int8.onnx")}
sizes = {name: megabytes(path) for name, path in ours.items()} | {"onnxruntime f32": megabytes(at("f32.onnx")), "onnxruntime int8": megabytes(at("int8.onnx"))}

# ---- vectors ----

tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
tokenizer.no_padding()
tokenizer.enable_truncation(256)
tokenizer.enable_padding()


def vectors_of(name):
    if name in ours:
        told = run(bench, "vectors", ours[name], "32", text="\n".join(texts) + "\n")
        return numpy.array([[float(x) for x in line.split()] for line in told.split("\n")[:-1]])
    found = []
    for start in range(0, len(texts), 32):
        read = tokenizer.encode_batch(texts[start:start + 32])
        arrays = {"input_ids": [x.ids for x in read], "attention_mask": [x.attention_mask for x in read], "token_type_ids": [x.type_ids for x in read]}
        found.append(theirs[name].run(None, {key: numpy.array(value, dtype=numpy.int64) for key, value in arrays.items()})[0])
    return numpy.concatenate(found)


expected = vectors_of("Keel f32")
print(f"{'':>18} {'MB':>6} {'cosine':>8} {'least':>8} {'most apart':>11}   to Keel's f32, {len(texts)} lines")
for name in [*ours, *theirs]:
    found = vectors_of(name)
    cosine = (found * expected).sum(1) / numpy.linalg.norm(found, axis=1) / numpy.linalg.norm(expected, axis=1)
    print(f"{name:>18} {sizes[name]:6.1f} {cosine.mean():8.4f} {cosine.min():8.4f} {abs(found - expected).max():11.2g}", flush=True)

# ---- speed ----


def rate_of(name, batch):
    if name in ours:
        told = run(bench, "speed", ours[name], str(SECONDS), f"{TOKENS}x{batch}")
        return float(re.search(r"([0-9.]+) texts a CPU", told).group(1))
    ids = numpy.random.default_rng(1).integers(1000, 20000, (batch, TOKENS))
    arrays = {"input_ids": ids, "attention_mask": numpy.ones_like(ids), "token_type_ids": numpy.zeros_like(ids)}
    best, begin = 0.0, time.process_time()
    while time.process_time() - begin < SECONDS:
        before = time.process_time()
        theirs[name].run(None, arrays)
        best = max(best, batch / (time.process_time() - before))
    return best


for batch in (32, 1):
    rates = {name: [] for name in [*ours, *theirs]}
    for _ in range(rounds):
        for name, found in rates.items():
            found.append(rate_of(name, batch))
    base = numpy.median(rates["Keel f32"])
    print(f"{TOKENS} tokens, {batch} texts at a time: texts a CPU second, {rounds} rounds")
    for name, found in rates.items():
        ratios = numpy.array(found) / numpy.array(rates["Keel f32"])
        print(f"{name:>18} {numpy.median(found):7.1f} ({min(found):.1f} to {max(found):.1f}), {numpy.median(ratios):.2f} of Keel's f32 ({min(ratios):.2f} to {max(ratios):.2f})", flush=True)
