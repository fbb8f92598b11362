"""Golden .gguf files: the tiny decoders of make_llama.py as llama.cpp's own converter lays them out (rows of q and k in pairs for `llama`), in
the number formats that Keel reads, quantised and dequantised by the package gguf.

    pip install gguf safetensors numpy llama-cpp-python && python make_gguf.py      (made with gguf 0.19, llama-cpp-python 0.3.36)

gguf.json has the SHA-256 of the dequantised rows, in F32 and in halves, of each tensor. pieces.json has the tokens of llama.cpp under a vocabulary of
SentencePiece's kind (pieces.gguf).
"""
import hashlib
import json
import os

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import quants
from safetensors import safe_open

here = os.path.dirname(os.path.abspath(__file__))
NAMES = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
# of which folder, in which format
FILES = {"tied-f32": ("tied", Type.F32), "llama3-f16": ("llama3", Type.F16), "biased-bf16": ("biased", Type.BF16), "biased-q8_0": ("biased", Type.Q8_0),
         "biased-q4_0": ("biased", Type.Q4_0), "biased-q4_1": ("biased", Type.Q4_1)}


def weights_of(folder):
    out = {}
    for file in sorted(os.listdir(folder)):
        if file.endswith(".safetensors"):
            with safe_open(os.path.join(folder, file), "pt") as tensors:
                out.update({k: tensors.get_tensor(k).float().numpy() for k in tensors.keys()})
    return out


def name_of(key):
    if not key.startswith("model.layers."):
        return {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight", "lm_head.weight": "output.weight"}[key]
    layer, rest = key.removeprefix("model.layers.").split(".", 1)
    module, kind = rest.rsplit(".", 1)
    return f"blk.{layer}.{NAMES[module]}.{kind}"


def pairs(x, heads):
    """As the converter permutes rows of q and k."""
    return x.reshape(heads, 2, x.shape[0] // heads // 2, *x.shape[1:]).swapaxes(1, 2).reshape(x.shape)


def factors(rope, d):
    f = rope["rope_theta"] ** -(np.arange(0, d, 2) / d)
    out = []
    for x in f:
        length = 2 * np.pi / x
        low, high, original = rope["low_freq_factor"], rope["high_freq_factor"], rope["original_max_position_embeddings"]
        if length < original / high:
            out.append(1)
        elif length > original / low:
            out.append(rope["factor"])
        else:
            s = (original / length - low) / (high - low)
            out.append(1 / ((1 - s) / rope["factor"] + s))
    return np.array(out, np.float32)


def write(name, folder, kind):
    root = os.path.join(here, "llama", folder)
    config = json.load(open(os.path.join(root, "config.json")))
    tokenizer = json.load(open(os.path.join(root, "tokenizer.json")))
    rope = config.get("rope_parameters") or {"rope_type": "default", "rope_theta": config["rope_theta"]}
    arch = config["model_type"]
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    d = config.get("head_dim") or config["hidden_size"] // heads
    w = gguf.GGUFWriter(os.path.join(here, "gguf", name + ".gguf"), arch)
    w.add_vocab_size(config["vocab_size"])
    w.add_context_length(config["max_position_embeddings"])
    w.add_embedding_length(config["hidden_size"])
    w.add_block_count(config["num_hidden_layers"])
    w.add_feed_forward_length(config["intermediate_size"])
    w.add_head_count(heads)
    w.add_head_count_kv(kv_heads)
    w.add_layer_norm_rms_eps(config["rms_norm_eps"])
    w.add_rope_freq_base(rope["rope_theta"])
    w.add_rope_dimension_count(d)
    if d * heads != config["hidden_size"]:
        w.add_key_length(d)
        w.add_value_length(d)
    if rope["rope_type"] == "linear":
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        w.add_rope_scaling_factor(rope["factor"])
    tokens = {i: t for t, i in tokenizer["model"]["vocab"].items()}
    added = {t["id"]: t["content"] for t in tokenizer["added_tokens"]}
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list([added.get(i) or tokens.get(i) or f"[PAD{i}]" for i in range(config["vocab_size"])])
    w.add_token_types([3 if i in added else 1 if i in tokens else 5 for i in range(config["vocab_size"])])
    w.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]])
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    w.add_add_bos_token(False)
    w.add_chat_template("{{ messages }}")
    hashes = {}
    if rope["rope_type"] == "llama3":
        w.add_tensor("rope_freqs.weight", factors(rope, d))
    for key, x in weights_of(root).items():
        y = x
        if arch == "llama" and ".q_proj." in key:
            y = pairs(x, heads)
        if arch == "llama" and ".k_proj." in key:
            y = pairs(x, kv_heads)
        of = kind if x.ndim == 2 else Type.F32
        data = quants.quantize(np.ascontiguousarray(y), of)
        w.add_tensor(name_of(key), data, raw_dtype=of)
        back = quants.dequantize(data, of).reshape(y.shape)
        if y is not x:  # and into halves again
            n = heads if ".q_proj." in key else kv_heads
            back = back.reshape(n, back.shape[0] // n // 2, 2, *back.shape[1:]).swapaxes(1, 2).reshape(back.shape)
        if of in (Type.F32, Type.F16, Type.BF16):
            assert (back == x).all(), key  # these weights are exact in the format
        hashes[key] = hashlib.sha256(np.ascontiguousarray(back, dtype="<f4").tobytes()).hexdigest()
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return hashes


def pieces():
    """Pieces by merging the commonest neighbours, each with a score below that of the one before."""
    words = ("\u2581how do i bake bread ? the bread bakes , the baker asks : how ? na\u00efve caf\u00e9 caf\u00e9 " * 2).replace(" ", " \u2581").split()
    words = [list(w) for w in words]
    found = []
    for _ in range(28):
        pairs = {}
        for w in words:
            for a, b in zip(w, w[1:]):
                pairs[a, b] = pairs.get((a, b), 0) + 1
        best = max(sorted(pairs), key=lambda p: pairs[p])
        found.append("".join(best))
        for w in words:
            i = 0
            while i + 1 < len(w):
                if (w[i], w[i + 1]) == best:
                    w[i:i + 2] = ["".join(best)]
                i += 1
    letters = sorted(set("".join("".join(w) for w in words)))
    found = [p for i, p in enumerate(found) if p not in found[:i]]
    return ([("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)] + [(f"<0x{b:02X}>", 0.0, 6) for b in range(256)] + [(p, -float(i), 1) for i, p in enumerate(found)]
            + [(c, -float(len(found) + i), 1) for i, c in enumerate(letters)])


def write_pieces():
    path = os.path.join(here, "gguf", "pieces.gguf")
    every, h = pieces(), 4
    w = gguf.GGUFWriter(path, "llama")
    w.add_vocab_size(len(every))
    w.add_context_length(64)
    w.add_embedding_length(h)
    w.add_block_count(1)
    w.add_feed_forward_length(h)
    w.add_head_count(1)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_tokenizer_model("llama")
    w.add_token_list([p[0] for p in every])
    w.add_token_scores([p[1] for p in every])
    w.add_token_types([p[2] for p in every])
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    shapes = {"token_embd": (len(every), h), "output_norm": (h,), **{"blk.0." + n: (h,) if n.endswith("norm") else (h, h) for n in NAMES.values()}}
    for name, shape in shapes.items():
        w.add_tensor(name + ".weight", np.ones(shape, np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    from llama_cpp import Llama
    llama = Llama(path, vocab_only=True, verbose=False)
    texts = ["how do i bake bread ?", "the baker bakes", "caf\u00e9 na\u00efve", "  two  blanks ", "\u5317\u4eac 9\n", "x", "", "breadbread asks,:"]
    texts += ["head thead asake", "theaddo ask howhead"]  # where the order of merges matters
    return [{"text": t, "ids": llama.tokenize(t.encode(), add_bos=True, special=False)} for t in texts]


os.makedirs(os.path.join(here, "gguf"), exist_ok=True)
with open(os.path.join(here, "pieces.json"), "w") as file:
    json.dump(write_pieces(), file)
    file.write("\n")
golden = {name: write(name, *what) for name, what in FILES.items()}
with open(os.path.join(here, "gguf.json"), "w") as file:
    json.dump(golden, file, indent=0)
    file.write("\n")
