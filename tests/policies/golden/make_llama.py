"""Golden logits: tiny decoders with random weights in folders as Hugging Face lays them out, and what they make of tokens.

    pip install torch transformers && python make_llama.py      (made with 2.15 and 5.24)

The numbers are those of a plain forward in numpy, float64, straight from the formulas of policies/transformer/llama.h; the script checks that
transformers has the same to 5e-5 (it takes norms and angles in float32).
"""
import json
import os
import shutil

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokenizers.trainers import BpeTrainer
from transformers import AutoConfig, AutoModelForCausalLM

here = os.path.dirname(os.path.abspath(__file__))
root = os.path.join(here, "llama")
VOCAB = 60
CHATML = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"


def make_tokenizer():
    """Byte-level BPE over few letters: 3 special tokens, 26 letters and some, merges."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    text = ["how do i bake bread ? the bread bakes, and the baker asks: how ?", "quick brown fox jumps over the lazy dog.\n"]
    tokenizer.train_from_iterator(text * 3, BpeTrainer(vocab_size=54, special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"], show_progress=False))
    return tokenizer


shapes = {
    # new keys (rope_parameters, dtype), tied, grouped queries, linear scaling, float32
    "tied": dict(model_type="llama", hidden_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=40,
                 max_position_embeddings=64, tie_word_embeddings=True, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2,
                 rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}),
    # old keys, two shards, bfloat16, biased q, k and v, one head of keys and values, more rows than tokens
    "biased": dict(model_type="qwen2", hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=1, intermediate_size=32,
                   max_position_embeddings=48, tie_word_embeddings=False, rms_norm_eps=1e-6, bos_token_id=0, eos_token_id=2, rope_parameters={"rope_type": "default", "rope_theta": 1000000.0}),
    # heads wider than hidden / heads, all biases, llama3 scaling that bites, float16
    "llama3": dict(model_type="llama", hidden_size=24, num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=3, head_dim=10, intermediate_size=28,
                   max_position_embeddings=128, tie_word_embeddings=False, attention_bias=True, mlp_bias=True, rms_norm_eps=1e-5, bos_token_id=0, eos_token_id=2,
                   rope_parameters={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32, "rope_theta": 500.0}),
    # float32, plain
    "plain": dict(model_type="mistral", hidden_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2, head_dim=8, intermediate_size=24, sliding_window=None,
                  max_position_embeddings=48, tie_word_embeddings=False, rms_norm_eps=1e-5, bos_token_id=0, eos_token_id=2, rope_parameters={"rope_type": "default", "rope_theta": 10000.0}),
}
dtypes = {"tied": torch.float32, "biased": torch.bfloat16, "llama3": torch.float16, "plain": torch.float32}
eos_of_generation = {"tied": [2, 0], "llama3": [2]}


def frequencies(config):
    rope, d = config["rope_parameters"], head_dim(config)
    f = rope["rope_theta"] ** (-2 * np.arange(d // 2) / d)
    if rope["rope_type"] == "linear":
        return f / rope["factor"]
    if rope["rope_type"] == "llama3":
        low, high, original = rope["low_freq_factor"], rope["high_freq_factor"], rope["original_max_position_embeddings"]
        length = 2 * np.pi / f
        s = (original / length - low) / (high - low)
        between = (1 - s) * f / rope["factor"] + s * f
        return np.where(length < original / high, f, np.where(length > original / low, f / rope["factor"], between))
    return f


def head_dim(config):
    return config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]


def forward(config, w, ids):
    heads, kv_heads, d, eps = config["num_attention_heads"], config["num_key_value_heads"], head_dim(config), config["rms_norm_eps"]
    angle = np.arange(len(ids))[:, None] * frequencies(config)
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    rms = lambda x, g: g * x / np.sqrt((x * x).mean(-1, keepdims=True) + eps)
    linear = lambda x, name: x @ w[name + ".weight"].T + w.get(name + ".bias", 0)
    turn = lambda x: np.concatenate([x[..., :d // 2] * cos - x[..., d // 2:] * sin, x[..., d // 2:] * cos + x[..., :d // 2] * sin], -1)
    x = w["model.embed_tokens.weight"][ids]
    for i in range(config["num_hidden_layers"]):
        at = f"model.layers.{i}."
        r = rms(x, w[at + "input_layernorm.weight"])
        q = turn(linear(r, at + "self_attn.q_proj").reshape(len(ids), heads, d))
        k = turn(linear(r, at + "self_attn.k_proj").reshape(len(ids), kv_heads, d))
        v = linear(r, at + "self_attn.v_proj").reshape(len(ids), kv_heads, d)
        out = np.zeros_like(q)
        for h in range(heads):
            g = h // (heads // kv_heads)
            score = q[:, h] @ k[:, g].T / np.sqrt(d)
            score[np.triu_indices(len(ids), 1)] = -np.inf
            p = np.exp(score - score.max(-1, keepdims=True))
            out[:, h] = p / p.sum(-1, keepdims=True) @ v[:, g]
        x = x + linear(out.reshape(len(ids), heads * d), at + "self_attn.o_proj")
        r = rms(x, w[at + "post_attention_layernorm.weight"])
        gate = linear(r, at + "mlp.gate_proj")
        x = x + linear(gate / (1 + np.exp(-gate)) * linear(r, at + "mlp.up_proj"), at + "mlp.down_proj")
    return rms(x, w["model.norm.weight"]) @ w["model.embed_tokens.weight" if config["tie_word_embeddings"] else "lm_head.weight"].T


def old_keys(config):
    """As transformers 4 wrote them."""
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = rope if rope["rope_type"] != "default" else None
    config["torch_dtype"] = config.pop("dtype")
    config.pop("layer_types", None)
    config.update(use_sliding_window=False, sliding_window=4096, max_window_layers=2, transformers_version="4.51.0")
    return config


def write(name, tokenizer, golden):
    folder, dtype = os.path.join(root, name), dtypes[name]
    shape = dict(shapes[name], vocab_size=VOCAB)
    torch.manual_seed(len(name) + 7)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**shape))
    with torch.no_grad():
        for key, value in model.named_parameters():
            value.copy_(torch.randn_like(value) * (0.1 if "norm" in key or "bias" in key else 0.35) + ("norm" in key))
            value.copy_(value.to(dtype).float())
    model.config.dtype = dtype
    model.config.save_pretrained(folder)
    weights = {k: v.to(dtype).contiguous() for k, v in model.state_dict().items() if not (shape["tie_word_embeddings"] and k == "lm_head.weight")}
    if name == "biased":
        keys = sorted(weights)
        parts = {"model-00001-of-00002.safetensors": keys[::2], "model-00002-of-00002.safetensors": keys[1::2]}
        for file, some in parts.items():
            save_file({k: weights[k] for k in some}, os.path.join(folder, file), metadata={"format": "pt"})
        json.dump({"metadata": {}, "weight_map": {k: f for f, some in parts.items() for k in some}}, open(os.path.join(folder, "model.safetensors.index.json"), "w"))
        path = os.path.join(folder, "config.json")
        config = old_keys(json.load(open(path)))
        json.dump(config, open(path, "w"), indent=1)
    else:
        save_file(weights, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    if name in eos_of_generation:
        json.dump({"bos_token_id": 1, "eos_token_id": eos_of_generation[name], "do_sample": True, "temperature": 0.6, "top_p": 0.95}, open(os.path.join(folder, "generation_config.json"), "w"))
    tokenizer.save(os.path.join(folder, "tokenizer.json"))
    json.dump({"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "chat_template": CHATML}, open(os.path.join(folder, "tokenizer_config.json"), "w"))
    plain = {k: v.double().numpy() for k, v in weights.items()}
    model = model.eval()
    golden[name] = []
    rng = np.random.default_rng(len(name))
    for n in (1, 7, 40):
        ids = [int(i) for i in rng.integers(0, VOCAB, n)]
        logits = forward(shape, plain, ids)
        with torch.no_grad():
            other = model(torch.tensor([ids])).logits[0].double().numpy()
        assert np.abs(logits - other).max() < 5e-5, (name, n, np.abs(logits - other).max())
        log_p = logits - logits.max(-1, keepdims=True)
        log_p -= np.log(np.exp(log_p).sum(-1, keepdims=True))
        golden[name].append({"ids": ids, "logits": [round(float(x), 8) for x in logits[-1]],
                             "log_prob": [0.0] + [round(float(log_p[t, ids[t + 1]]), 8) for t in range(n - 1)]})
    print(name, sum(p.size for p in plain.values()), "weights; transformers is", f"{np.abs(logits - other).max():.1e}", "apart")


shutil.rmtree(root, ignore_errors=True)
golden = {}
tokenizer = make_tokenizer()
assert tokenizer.get_vocab_size() <= VOCAB
for name in shapes:
    os.makedirs(os.path.join(root, name))
    write(name, tokenizer, golden)
with open(os.path.join(here, "llama.json"), "w") as file:
    json.dump(golden, file, separators=(",", ":"))
    file.write("\n")
