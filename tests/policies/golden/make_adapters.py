"""Golden LoRA adapters of the tiny encoder bert/mean as PEFT saves them, and the vectors that PEFT's model makes.

    pip install torch transformers peft && python make_adapters.py      (made with 2.15, 5.24 and 0.21.2)
"""
import json
import os
import shutil

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel

here = os.path.dirname(os.path.abspath(__file__))
folder = os.path.join(here, "bert", "mean")
texts = json.load(open(os.path.join(here, "vectors.json"), encoding="utf-8"))["texts"]
tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
tokenizer.enable_truncation(json.load(open(os.path.join(folder, "sentence_bert_config.json")))["max_seq_length"])


def encoder():
    model = BertModel(BertConfig.from_pretrained(folder), add_pooling_layer=False)
    model.load_state_dict(load_file(os.path.join(folder, "model.safetensors")), strict=True)
    return model


adapters = {
    "plain": dict(r=4, lora_alpha=8, lora_dropout=0.1, target_modules=["query", "value"]),
    "all": dict(r=3, lora_alpha=6, use_rslora=True, target_modules=["query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense"]),
    "pattern": dict(r=2, lora_alpha=5, target_modules=r"encoder\.layer\.\d+\.output\.dense"),
}
golden = {}
for name, settings in adapters.items():
    torch.manual_seed(len(name))
    model = get_peft_model(encoder(), LoraConfig(**settings))
    with torch.no_grad():
        for key, value in model.named_parameters():
            if "lora_" in key:
                value.copy_(torch.randn_like(value) * 0.3)
    out = os.path.join(here, "adapters", name)
    shutil.rmtree(out, ignore_errors=True)
    model.save_pretrained(out)
    os.remove(os.path.join(out, "README.md"))
    loaded = PeftModel.from_pretrained(encoder(), out).eval()
    with torch.no_grad():
        golden[name] = [[round(float(x), 7) for x in torch.nn.functional.normalize(
            loaded(input_ids=torch.tensor([tokenizer.encode(t).ids])).last_hidden_state[0].mean(0), dim=0)] for t in texts]
json.dump(golden, open(os.path.join(here, "adapters.json"), "w"))
