"""Keel's BERT encoder beside the libraries: tokens, vectors, speed, one thread each, in turn.

    pip install sentence-transformers onnxruntime onnx && experiments/fetch-base.sh minilm
    python encoder.py BENCH_ENCODER minilm LINES.txt [ROUNDS]

ROUNDS 0: tokens and vectors alone. OpenBLAS chooses its kernel itself, as PyTorch's library does; KEEL_KERNEL=Haswell: AVX2
for Keel and PyTorch. (No setting holds onnxruntime back.) What stands in the columns: texts a CPU second, the best of the rounds. "products": what
Keel would reach if there were nothing but its products, at the rate of a large SGEMM measured in the same process.
"""
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import warnings

os.environ.update(CUDA_VISIBLE_DEVICES="", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)
if kernel := os.environ.get("KEEL_KERNEL"):
    os.environ.update(OPENBLAS_CORETYPE=kernel, ATEN_CPU_CAPABILITY="avx2", ONEDNN_MAX_CPU_ISA="AVX2", DNNL_MAX_CPU_ISA="AVX2", MKL_ENABLE_INSTRUCTIONS="AVX2")
warnings.filterwarnings("ignore")
import numpy  # noqa: E402
import onnxruntime  # noqa: E402
import torch  # noqa: E402
from sentence_transformers import SentenceTransformer  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402
from transformers import BertModel  # noqa: E402

bench, folder, lines = sys.argv[1:4]
rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 3
SECONDS, NAMES = 2, ["input_ids", "attention_mask", "token_type_ids"]
torch.set_num_threads(1)
texts = open(lines, encoding="utf-8", newline="").read().split("\n")[:-1]


def ours(*arguments, text=None):
    return subprocess.run([bench, *arguments], input=text, capture_output=True, check=True, text=True).stdout


# ---- tokens and vectors ----

tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
tokenizer.no_truncation()
tokenizer.no_padding()
found = ours("tokens", os.path.join(folder, "tokenizer.json"), text="\n".join(texts) + "\n").split("\n")[:-1]
expected = [tokenizer.encode(text).ids for text in texts]
differ = sum([int(i) for i in line.split()] != ids for line, ids in zip(found, expected))
print(f"tokens: {differ} of {len(texts)} lines differ")

model = SentenceTransformer(folder, device="cpu")
some = texts[:400]
vectors = numpy.array([[float(x) for x in line.split()] for line in ours("vectors", folder, "32", text="\n".join(some) + "\n").split("\n")[:-1]])
print(f"vectors: {abs(model.encode(some, batch_size=32) - vectors).max():.2g} at most apart, {len(some)} lines")

# ---- speed ----

if rounds == 0:
    sys.exit()


class Bare(torch.nn.Module):
    """The encoder alone: what is exported does not even pool."""

    def __init__(self):
        super().__init__()
        self.bert = BertModel.from_pretrained(folder, attn_implementation="eager", add_pooling_layer=False).eval()

    def forward(self, ids, mask, types):
        return self.bert(input_ids=ids, attention_mask=mask, token_type_ids=types).last_hidden_state


def padded(lengths):
    longest = max(lengths)
    mask = torch.tensor([[int(t < n) for t in range(longest)] for n in lengths])
    return {"input_ids": torch.randint(1000, 20000, mask.shape) * mask, "attention_mask": mask, "token_type_ids": torch.zeros_like(mask)}


def open_onnx():
    path = os.path.join(tempfile.mkdtemp(), "model.onnx")
    axes = {name: {0: "texts", 1: "tokens"} for name in NAMES}
    torch.onnx.export(Bare(), tuple(padded([4, 4]).values()), path, input_names=NAMES, output_names=["x"], dynamic_axes=axes, opset_version=17, dynamo=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


session = open_onnx()


def rate_of(run, texts):
    best, begin = 0.0, time.process_time()
    while time.process_time() - begin < SECONDS:
        at = time.process_time()
        run()
        best = max(best, texts / (time.process_time() - at))
    return best


def measure(lengths, packed=True):
    """Best rates of Keel, its products alone, sentence-transformers, onnxruntime."""
    features = padded(lengths)
    arrays = {name: features[name].numpy() for name in NAMES}
    best = numpy.zeros(4)
    for _ in range(rounds):
        told = ours("speed", folder, str(SECONDS), *[str(n if packed else max(lengths)) for n in lengths])
        with torch.inference_mode():
            torch_rate = rate_of(lambda: model(dict(features)), len(lengths))
        rates = [*map(float, re.findall(r"([0-9.]+) (?:texts a CPU|if)", told)), torch_rate, rate_of(lambda: session.run(None, arrays), len(lengths))]
        best = numpy.maximum(best, rates)
    return best


def row(name, batch, best):
    print(f"{name:>8} {batch:5} {best[0]:8.1f} {best[1]:8.1f} {best[0] / best[1]:5.2f} {best[2]:8.1f} {best[0] / best[2]:5.2f} {best[3]:8.1f} {best[0] / best[3]:5.2f}", flush=True)


print("  tokens texts     Keel products ratio PyTorch  ratio     ONNX ratio")
for tokens in (16, 64, 128):
    for batch in (32, 1):
        row(tokens, batch, measure([tokens] * batch))
print("32 lines at random, cut at 256 tokens; PyTorch and onnxruntime pad them to the longest; padded: Keel too")
random.seed(1)
for _ in range(3):
    lengths = [min(len(ids), 256) for ids in random.sample(expected, 32)]
    print(f"  {sum(lengths)} tokens, the longest {max(lengths)}: {32 * max(lengths)} when padded")
    row("packed", 32, measure(lengths))
    row("padded", 32, measure(lengths, packed=False))
