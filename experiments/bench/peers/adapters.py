"""Keel's LoRA adapters and folders in PEFT, transformers and sentence-transformers, and PEFT's in Keel: how far vectors
are apart at most.

    pip install sentence-transformers peft && experiments/fetch-base.sh minilm
    python adapters.py BENCH_ENCODER minilm LINES.txt
"""
import os
import subprocess
import sys
import tempfile

os.environ.update(CUDA_VISIBLE_DEVICES="", TOKENIZERS_PARALLELISM="false")
import numpy  # noqa: E402
import torch  # noqa: E402
from peft import LoraConfig, PeftModel, get_peft_model  # noqa: E402
from sentence_transformers import SentenceTransformer  # noqa: E402
from transformers import AutoModel, AutoTokenizer  # noqa: E402

bench, folder, lines = sys.argv[1:4]
texts = open(lines, encoding="utf-8", newline="").read().split("\n")[:64]
BITS = {"query": 1, "key": 2, "value": 4, "attention.output.dense": 8, "intermediate.dense": 16, "output.dense": 32}
torch.set_num_threads(1)


def ours(*arguments):
    out = subprocess.run([bench, "vectors", *arguments], input="\n".join(texts) + "\n", capture_output=True, check=True, text=True).stdout
    return numpy.array([[float(x) for x in line.split()] for line in out.split("\n")[:-1]])


def with_peft(adapter):
    model = SentenceTransformer(folder, device="cpu")
    model[0].auto_model = PeftModel.from_pretrained(model[0].auto_model, adapter).eval()
    return model.encode(texts)


def with_transformers(merged):
    model, tokenizer = AutoModel.from_pretrained(merged).eval(), AutoTokenizer.from_pretrained(merged)
    batch = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        x = model(**batch).last_hidden_state * batch["attention_mask"][..., None]
    return torch.nn.functional.normalize(x.sum(1) / batch["attention_mask"].sum(1, keepdim=True), dim=1).numpy()


def apart(a, b):
    return f"{abs(a - b).max():.2g}"


plain = ours(folder, "32")
print("rank, modules: moved; PEFT, sentence-transformers, transformers on what Keel wrote; Keel on what PEFT wrote")
for rank, modules in ((8, ["query", "value"]), (3, list(BITS)), (4, ["output.dense"])):
    with tempfile.TemporaryDirectory() as out:
        subprocess.run([bench, "adapt", folder, out, str(rank), str(sum(BITS[m] for m in modules))], check=True)
        adapter, merged = os.path.join(out, "adapter"), os.path.join(out, "merged")
        vectors = ours(folder, "32", adapter)
        print(rank, "+".join(modules), apart(vectors, plain), apart(vectors, with_peft(adapter)), apart(vectors, SentenceTransformer(merged, device="cpu").encode(texts)),
              apart(vectors, with_transformers(merged)), end=" ")
        torch.manual_seed(rank)
        names = r".*\.layer\.\d+\.output\.dense" if modules == ["output.dense"] else modules
        model = get_peft_model(AutoModel.from_pretrained(folder), LoraConfig(r=rank, lora_alpha=16, use_rslora=rank % 2 == 1, target_modules=names))
        with torch.no_grad():
            for name, value in model.named_parameters():
                if "lora_" in name:
                    value.copy_(torch.randn_like(value) * 0.03)
        theirs = os.path.join(out, "theirs")
        model.save_pretrained(theirs)
        print(apart(ours(folder, "32", theirs), with_peft(theirs)))
