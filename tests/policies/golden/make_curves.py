"""Golden loss curves: the tiny encoder bert/mean with a logistic head on its mean vector, tuned for 100 steps by
PyTorch's AdamW from the same start, in full and with the first layer and the embeddings frozen.

    pip install torch transformers && python make_curves.py      (made with 2.15 and 5.24)
"""
import json
import math
import os

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel

here = os.path.dirname(os.path.abspath(__file__))
folder = os.path.join(here, "bert", "mean")
texts = json.load(open(os.path.join(here, "vectors.json"), encoding="utf-8"))["texts"]
labels = [1.0, 0.0, 0.0, 1.0, 0.0, 1.0]
tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
tokenizer.enable_truncation(json.load(open(os.path.join(folder, "sentence_bert_config.json")))["max_seq_length"])


def curve(frozen):
    model = BertModel(BertConfig.from_pretrained(folder), add_pooling_layer=False)
    model.load_state_dict(load_file(os.path.join(folder, "model.safetensors")), strict=True)
    model.eval()
    width = model.config.hidden_size
    weight = torch.nn.Parameter(torch.tensor([[0.1 * math.sin(i + 1) for i in range(width)]]))
    bias = torch.nn.Parameter(torch.zeros(1))
    named = [(n, p) for n, p in model.named_parameters() if not (frozen and (n.startswith("embeddings") or ".layer.0." in n))]
    matrices = [p for n, p in named if p.dim() == 2] + [weight]
    others = [p for n, p in named if p.dim() == 1] + [bias]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}], lr=1e-3)
    losses = []
    for _ in range(100):
        vectors = torch.stack([model(input_ids=torch.tensor([tokenizer.encode(t).ids])).last_hidden_state[0].mean(0) for t in texts])
        loss = torch.nn.functional.binary_cross_entropy_with_logits((vectors @ weight.T)[:, 0] + bias, torch.tensor(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(round(float(loss), 7))
    return losses


json.dump({"labels": labels, "full": curve(False), "frozen": curve(True)}, open(os.path.join(here, "curves.json"), "w"))
