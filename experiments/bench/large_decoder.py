"""A decoder of 1.8 billion random weights in BF16 (the shape of DeepSeek-R1-Distill-Qwen-1.5B) in a folder of two shards, and what `keel verify` needs to open it and answer.

    python3 large_decoder.py KEEL FOLDER [MB]        (numpy; 3.6 GB of disk, which stay until you remove FOLDER)

MB (100): the --memory that must do. Weights stay where they are mapped, so that what is counted is the rest. Peak resident memory has the mapped pages in it, which the system takes back
when others need them.
"""
import json
import os
import resource
import struct
import subprocess
import sys
import time

import numpy as np

keel, folder = sys.argv[1:3]
memory = int(sys.argv[3]) if len(sys.argv) > 3 else 100
HIDDEN, LAYERS, HEADS, KV_HEADS, INNER, VOCAB = 1536, 28, 12, 2, 8960, 151936
DIM = HIDDEN // HEADS
rng = np.random.default_rng(1)


def bf16(shape, name):
    if "norm" in name:
        return np.full(shape, 0x3F80, np.uint16)  # 1
    x = rng.standard_normal(shape, np.float32) * np.float32(0.02)
    return (x.view(np.uint32) >> 16).astype(np.uint16)


def tensors():
    yield "model.embed_tokens.weight", (VOCAB, HIDDEN)
    for i in range(LAYERS):
        at = f"model.layers.{i}."
        yield at + "input_layernorm.weight", (HIDDEN,)
        for part, out in (("q", HEADS), ("k", KV_HEADS), ("v", KV_HEADS)):
            yield at + f"self_attn.{part}_proj.weight", (out * DIM, HIDDEN)
            yield at + f"self_attn.{part}_proj.bias", (out * DIM,)
        yield at + "self_attn.o_proj.weight", (HIDDEN, HEADS * DIM)
        yield at + "post_attention_layernorm.weight", (HIDDEN,)
        yield at + "mlp.gate_proj.weight", (INNER, HIDDEN)
        yield at + "mlp.up_proj.weight", (INNER, HIDDEN)
        yield at + "mlp.down_proj.weight", (HIDDEN, INNER)
    yield "model.norm.weight", (HIDDEN,)
    yield "lm_head.weight", (VOCAB, HIDDEN)


def write_shard(path, some):
    header, at = {}, 0
    for name, shape in some:
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in some:
            file.write(bf16(shape, name).tobytes())


def alphabet():
    """Byte-level: the character of each byte."""
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in keep]
    return [chr(b if b in keep else 256 + rest.index(b)) for b in range(256)]


def make():
    os.makedirs(folder)
    every = list(tensors())
    parts = {"model-00001-of-00002.safetensors": every[: len(every) // 2], "model-00002-of-00002.safetensors": every[len(every) // 2:]}
    for file, some in parts.items():
        write_shard(os.path.join(folder, file), some)
    put = lambda name, what: json.dump(what, open(os.path.join(folder, name), "w"))
    put("model.safetensors.index.json", {"metadata": {}, "weight_map": {name: file for file, some in parts.items() for name, _ in some}})
    put("config.json", {"model_type": "qwen2", "vocab_size": VOCAB, "hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS,
                        "intermediate_size": INNER, "max_position_embeddings": 131072, "rms_norm_eps": 1e-6, "rope_theta": 10000, "tie_word_embeddings": False, "torch_dtype": "bfloat16"})
    bytes_of = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    put("tokenizer.json", {"added_tokens": [], "normalizer": None, "pre_tokenizer": bytes_of, "post_processor": None, "decoder": bytes_of,
                           "model": {"type": "BPE", "vocab": {c: i for i, c in enumerate(alphabet())}, "merges": []}})


def verify(*flags):
    begin = time.time()
    out = subprocess.run([keel, "verify", "--base", folder, "--json", "--quiet", *flags], capture_output=True, text=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000
    return out, time.time() - begin, peak


if not os.path.exists(folder):
    make()
out, seconds, peak = verify("--memory", str(memory))
if out.returncode:
    sys.exit(out.stderr)
result = json.loads(out.stdout)
print(f"{result['model']['parameters']:.0f} parameters in {result['model']['weights']}, {result['model']['memory_mb']:.0f} MB mapped: --memory {memory} does; "
      f"{seconds:.0f} s with hashes, {sum(len(p['ids']) for p in result['prompts'])} tokens of prompts, {result['standard_text']['tokens']:.0f} of a text; peak resident {peak:.0f} MB")
out, seconds, _ = verify("--memory", str(memory), "--weights", "q8_0")
print(f"--weights q8_0, which would be copied: exit status {out.returncode}: {out.stderr.strip()}")
sys.exit(0 if out.returncode == 1 and "--memory" in out.stderr else 1)
