"""Golden loss curves of the tiny decoders of make_decoder_curves.py, each taught by the other: 50 steps of PyTorch's AdamW on
(1 - share) cross-entropy + share T^2 KL(teacher || student).

    pip install torch transformers peft && python make_decoder_taught.py      (made with 2.15, 5.24 and 0.21.2)
"""
import json
import math
import os

import torch
from peft import PromptTuningConfig, get_peft_model
from transformers import AutoModelForCausalLM

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "decoder")
given = json.load(open(os.path.join(here, "curves.json")))
texts, weights = given["texts"], given["weights"]
size = len(json.load(open(os.path.join(here, "tied", "tokenizer.json")))["model"]["vocab"])
STEPS = 50


def load(name):
    return AutoModelForCausalLM.from_pretrained(os.path.join(here, name), dtype=torch.float32).eval()


def logits_of(model, ids, n_virtual):
    """What predicts each token but the first: [rows, real vocabulary]."""
    return model(input_ids=torch.tensor([ids])).logits[0][n_virtual:-1, :size]


def curve(name, teacher, share, temperature, rate, smoothing=0.0, n_virtual=0):
    model, teacher = load(name), load(teacher)
    if n_virtual:
        hidden = model.config.hidden_size
        model = get_peft_model(model, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=n_virtual)).eval()
        with torch.no_grad():
            model.prompt_encoder.default.embedding.weight.copy_(torch.tensor([[0.1 * math.sin(i * hidden + j + 1) for j in range(hidden)] for i in range(n_virtual)]))
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW([{"params": [p for p in trained if p.dim() == d], "weight_decay": w} for d, w in ((2, 0.01), (1, 0.0))], lr=rate)
    total, losses = sum(sum(w[1:]) for w in weights), []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = 0.0
        for ids, w in zip(texts, weights):
            own = logits_of(model, ids, n_virtual)
            with torch.no_grad():
                other = logits_of(teacher, ids, 0)
            cross = torch.nn.functional.cross_entropy(own, torch.tensor(ids[1:]), reduction="none", label_smoothing=smoothing)
            apart = torch.nn.functional.kl_div(torch.log_softmax(own / temperature, -1), torch.log_softmax(other / temperature, -1),
                                               reduction="none", log_target=True).sum(-1)
            loss = loss + (torch.tensor(w[1:]) * ((1 - share) * cross + share * temperature**2 * apart)).sum() / total
        loss.backward()
        optimizer.step()
        losses.append(round(float(loss.detach()), 7))
    return losses


golden = {
    "full": curve("tied", "untied", 0.6, 2.0, 1e-3, smoothing=0.1),
    "prompt": curve("untied", "tied", 0.3, 1.0, 0.1, n_virtual=3),
    "alone": curve("untied", "tied", 1.0, 0.7, 3e-3),
}
json.dump(golden, open(os.path.join(here, "taught.json"), "w"))
