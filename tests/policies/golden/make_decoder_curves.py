"""Golden loss curves of decoders: two tiny ones (decoder/tied: Llama with scaled RoPE; decoder/untied: Qwen2 with biases), tuned for 100 steps by PyTorch's AdamW
(and PEFT's LoRA and prompt tuning) from the same start; what tokens of their texts cost before; and adapters as PEFT writes them.

    pip install torch transformers peft && python make_decoder_curves.py      (made with 2.15, 5.24 and 0.21.2)
"""
import json
import math
import os
import shutil

import torch
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, get_constant_schedule, get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup

here = os.path.dirname(os.path.abspath(__file__))
STEPS = 100
torch.manual_seed(15)

# ---- folders ----
alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
merges = [("t", "h"), ("th", "e"), ("i", "n"), ("a", "n"), ("Ġ", "a"), ("Ġ", "the"), ("e", "r"), ("o", "n")]
vocabulary = {token: i for i, token in enumerate(["<|end|>", "<|pad|>"] + alphabet + [a + b for a, b in merges])}
tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in ("<|end|>", "<|pad|>")])
size = tokenizer.get_vocab_size()
shape = dict(vocab_size=272, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
             bos_token_id=None, eos_token_id=0, pad_token_id=1)
scaled = {"rope_theta": 100.0, "rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}
kinds = {"tied": LlamaForCausalLM(LlamaConfig(**shape, head_dim=6, tie_word_embeddings=True, rope_parameters=scaled, rms_norm_eps=1e-5)),
         "untied": Qwen2ForCausalLM(Qwen2Config(**shape, tie_word_embeddings=False, rope_parameters={"rope_theta": 1000.0, "rope_type": "default"}, rms_norm_eps=1e-6))}
start_of = {}
for name, model in kinds.items():
    folder = os.path.join(here, "decoder", name)
    with torch.no_grad():
        for key, value in model.named_parameters():
            value.copy_(torch.randn(value.shape) * 0.3 + ("norm" in key))
    model.generation_config.pad_token_id = 1
    model.save_pretrained(folder)
    tokenizer.save(os.path.join(folder, "tokenizer.json"), pretty=False)
    start_of[name] = {k: v.clone() for k, v in model.state_dict().items()}

# ---- texts: a prompt that does not count, then what does, the token that ends it among it ----
generator = torch.Generator().manual_seed(1)
texts, weights = [], []
for n in (7, 12, 5, 19, 3, 10):
    ids = torch.randint(2, size, (n - 1,), generator=generator).tolist() + [0]
    texts.append(ids)
    weights.append([0.0] * (n // 3) + [1.0 if i % 4 else 0.5 for i in range(n - n // 3)])


def start(shape, first=0.0, scale=0.1):
    rows, cols = shape
    return torch.tensor([[scale * math.sin(i * cols + j + 1 + first) for j in range(cols)] for i in range(rows)])


def costs(model, ids, n_virtual):
    """ln p of each token but those with nothing before them: [rows, real vocabulary]."""
    logits = model(input_ids=torch.tensor([ids])).logits[0][:, :size]
    log_p = torch.log_softmax(logits, -1)[:-1]
    return log_p[n_virtual - 1:] if n_virtual else log_p


def loss_of(model, some, n_virtual, smoothing, total):
    loss = 0
    for i in some:
        first = 0 if n_virtual else 1
        log_p, ids, w = costs(model, texts[i], n_virtual), torch.tensor(texts[i][first:]), torch.tensor(weights[i][first:])
        nll = -log_p[range(len(ids)), ids] * (1 - smoothing) - log_p.mean(-1) * smoothing
        loss = loss + (w * nll).sum() / total
    return loss


def curve(name, frozen=(), lora=None, n_virtual=0, rate=1e-3, smoothing=0.0, clip=0.0, schedule=None, parts=1, save=None):
    """frozen: beginnings of names that are not trained; lora: settings of LoraConfig; parts: micro-batches whose gradients are added up."""
    model = kinds[name]
    model.load_state_dict(start_of[name])
    model.requires_grad_(True)
    for key, value in model.named_parameters():
        if frozen and key.startswith(tuple(frozen)):
            value.requires_grad_(False)
    if lora:
        model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **lora))
        with torch.no_grad():
            for key, value in model.named_parameters():
                if "lora_A" in key:
                    value.copy_(start(value.shape))
    if n_virtual:
        model = get_peft_model(model, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=n_virtual))
        with torch.no_grad():
            model.prompt_encoder.default.embedding.weight.copy_(start((n_virtual, shape["hidden_size"])))
    model.eval()
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [{"params": [p for p in trained if p.dim() == d], "weight_decay": decay} for d, decay in ((2, 0.01), (1, 0.0))]
    optimizer = torch.optim.AdamW(groups, lr=rate)
    factors = schedule(optimizer) if schedule else get_constant_schedule(optimizer)
    total = sum(sum(w if n_virtual else w[1:]) for w in weights)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        sum_of_parts = 0.0
        for part in range(parts):
            loss = loss_of(model, range(part * len(texts) // parts, (part + 1) * len(texts) // parts), n_virtual, smoothing, total)
            loss.backward()
            sum_of_parts += float(loss.detach())
        if clip:
            torch.nn.utils.clip_grad_norm_(trained, clip)
        optimizer.step()
        factors.step()
        losses.append(round(sum_of_parts, 7))
    result = {"losses": losses}
    if lora or n_virtual:
        with torch.no_grad():
            result["after"] = [round(float(costs(model, texts[3], n_virtual)[i, t]), 6) for i, t in enumerate(texts[3][0 if n_virtual else 1:])]
    if save:
        folder = os.path.join(here, "decoder", save)
        model.save_pretrained(folder)
        if os.path.exists(os.path.join(folder, "README.md")):
            os.remove(os.path.join(folder, "README.md"))
    if lora:
        kinds[name] = model.unload()
    if n_virtual:
        kinds[name] = model.get_base_model()
    return result


def before(name):
    model = kinds[name]
    model.load_state_dict(start_of[name])
    with torch.no_grad():
        return [[0.0] + [round(float(costs(model, ids, 0)[i, t]), 6) for i, t in enumerate(ids[1:])] for ids in texts]


every = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
golden = {
    "texts": texts,
    "weights": weights,
    "before": {name: before(name) for name in kinds},
    "full": curve("tied", parts=2),
    "full_untied": curve("untied", rate=3e-3, smoothing=0.1, clip=0.5, schedule=lambda o: get_cosine_schedule_with_warmup(o, 10, STEPS)),
    "freeze": curve("untied", frozen=("model.embed_tokens", "model.layers.0."), schedule=lambda o: get_linear_schedule_with_warmup(o, 10, STEPS)),
    "freeze_tied": curve("tied", frozen=("model.embed_tokens", "model.layers.0."), clip=1.0),
    "lora": curve("tied", lora=dict(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"]), rate=5e-3, save="lora"),
    "rslora": curve("untied", lora=dict(r=3, lora_alpha=6, use_rslora=True, target_modules=every), rate=5e-3, clip=1.0, parts=3, schedule=lambda o: get_cosine_schedule_with_warmup(o, 10, STEPS), save="rslora"),
    "prompt": curve("tied", n_virtual=4, rate=3e-3, save="prompt"),
    "prompt_untied": curve("untied", n_virtual=3, rate=0.3, schedule=lambda o: get_linear_schedule_with_warmup(o, 10, STEPS)),
}
json.dump(golden, open(os.path.join(here, "decoder", "curves.json"), "w"))
