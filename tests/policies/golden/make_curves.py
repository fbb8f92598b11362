"""Golden loss curves: the tiny encoder bert/mean with a head on its mean vector, tuned for 100 steps by PyTorch's
AdamW (and PEFT's LoRA) from the same start.

    pip install torch transformers peft && python make_curves.py      (made with 2.15, 5.24 and 0.21.2)
"""
import json
import math
import os

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel, get_constant_schedule, get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup

here = os.path.dirname(os.path.abspath(__file__))
folder = os.path.join(here, "bert", "mean")
texts = json.load(open(os.path.join(here, "vectors.json"), encoding="utf-8"))["texts"]
labels = [1, 0, 0, 1, 0, 1]
classes = [0, 1, 2, 0, 1, 2]
tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
tokenizer.enable_truncation(json.load(open(os.path.join(folder, "sentence_bert_config.json")))["max_seq_length"])
STEPS = 100


def start(shape, first=0.0, size=0.1):
    rows, cols = shape
    return torch.tensor([[size * math.sin(i * cols + j + 1 + first) for j in range(cols)] for i in range(rows)])


def curve(frozen=(), lora=None, outputs=1, smoothing=0.0, clip=0.0, schedule=None, head_rate=1.0):
    """frozen: beginnings of names that are not trained; lora: settings of LoraConfig, then LoRA and head alone are."""
    model = BertModel(BertConfig.from_pretrained(folder), add_pooling_layer=False)
    model.load_state_dict(load_file(os.path.join(folder, "model.safetensors")), strict=True)
    if lora:
        model = get_peft_model(model, LoraConfig(**lora))
        with torch.no_grad():
            for name, value in model.named_parameters():
                if "lora_A" in name:
                    value.copy_(start(value.shape))
    model.eval()  # no dropout
    weight = torch.nn.Parameter(start((outputs, BertConfig.from_pretrained(folder).hidden_size)))
    bias = torch.nn.Parameter(torch.zeros(outputs))
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad and not n.startswith(tuple(frozen) or "\n")]
    groups = []
    for rate, some in ((1.0, [p for _, p in named]), (head_rate, [weight, bias])):
        for dims, decay in ((2, 0.01), (1, 0.0)):
            groups.append({"params": [p for p in some if p.dim() == dims], "weight_decay": decay, "lr": 1e-3 * rate})
    optimizer = torch.optim.AdamW(groups)
    factors = schedule(optimizer) if schedule else get_constant_schedule(optimizer)
    losses = []
    for _ in range(STEPS):
        vectors = torch.stack([model(input_ids=torch.tensor([tokenizer.encode(t).ids])).last_hidden_state[0].mean(0) for t in texts])
        logits = vectors @ weight.T + bias
        if outputs > 1:
            loss = torch.nn.functional.cross_entropy(logits, torch.tensor(classes), label_smoothing=smoothing)
        else:
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits[:, 0], torch.tensor(labels).float())
        optimizer.zero_grad()
        loss.backward()
        if clip:
            torch.nn.utils.clip_grad_norm_([p for g in groups for p in g["params"]], clip)
        optimizer.step()
        factors.step()
        losses.append(round(float(loss), 7))
    return losses


every = ["query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense"]
golden = {
    "labels": labels,
    "classes": classes,
    "full": curve(),
    "freeze": curve(frozen=("embeddings", "encoder.layer.0.")),
    "lora": curve(lora=dict(r=4, lora_alpha=8, target_modules=["query", "value"])),
    "rslora": curve(lora=dict(r=3, lora_alpha=6, use_rslora=True, target_modules=every)),
    "head": curve(frozen=("embeddings", "encoder")),
    "linear": curve(frozen=("embeddings",), outputs=3, smoothing=0.1, clip=0.5, head_rate=5.0, schedule=lambda o: get_linear_schedule_with_warmup(o, 10, STEPS)),
    "cosine": curve(lora=dict(r=4, lora_alpha=8, target_modules=["query", "value"]), clip=1.0, head_rate=5.0, schedule=lambda o: get_cosine_schedule_with_warmup(o, 10, STEPS)),
}
json.dump(golden, open(os.path.join(here, "curves.json"), "w"))
