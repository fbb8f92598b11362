"""Golden vectors: tiny BERT encoders with random weights as Hugging Face and sentence-transformers lay them out,
and what those libraries make of texts.

    pip install torch transformers && python make_bert.py      (made with 2.15 and 5.24)

The tokenizer is that of make_tokenizer.py.
"""
import json
import os
import shutil

import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel

here = os.path.dirname(os.path.abspath(__file__))
texts = ["How do I bake bread?", "unaffable", "", "Café naïve 北京 a b c i e 1-23!", "bread " * 40, "the there's ' $ qq x"]
shapes = {
    "mean": dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40, max_position_embeddings=32),
    "first": dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=1, intermediate_size=64, max_position_embeddings=48, layer_norm_eps=1e-5),
}
golden = {"texts": texts}
for name, shape in shapes.items():
    folder = os.path.join(here, "bert", name)
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(len(name))
    tokens = json.load(open(os.path.join(here, "tokenizer.json"), encoding="utf-8"))
    size = 1 + max([*tokens["model"]["vocab"].values()] + [t["id"] for t in tokens["added_tokens"]])
    model = BertModel(BertConfig(vocab_size=size, **shape), add_pooling_layer=False)
    with torch.no_grad():
        for key, value in model.named_parameters():
            value.copy_(torch.randn_like(value) * 0.4 + (1 if "LayerNorm.weight" in key else 0))
    os.makedirs(os.path.join(folder, "1_Pooling"))
    model.config.save_pretrained(folder)
    weights = {k: v.contiguous() for k, v in model.state_dict().items() if "position_ids" not in k}
    if name == "first":  # in half precision, in two shards, with the prefix of a model with a head
        weights = {"bert." + k: v.to(torch.float16 if i % 2 else torch.bfloat16) for i, (k, v) in enumerate(weights.items())}
        keys = sorted(weights)
        parts = {"model-00001-of-00002.safetensors": keys[::2], "model-00002-of-00002.safetensors": keys[1::2]}
        for file, some in parts.items():
            save_file({k: weights[k] for k in some}, os.path.join(folder, file), metadata={"format": "pt"})
        json.dump({"metadata": {}, "weight_map": {k: f for f, some in parts.items() for k in some}}, open(os.path.join(folder, "model.safetensors.index.json"), "w"))
        with torch.no_grad():
            for key, value in model.named_parameters():
                value.copy_(weights["bert." + key].float())
    else:
        save_file(weights, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    shutil.copy(os.path.join(here, "tokenizer.json"), folder)
    most = shape["max_position_embeddings"] - 4
    json.dump({"max_seq_length": most, "do_lower_case": False}, open(os.path.join(folder, "sentence_bert_config.json"), "w"))
    json.dump({"word_embedding_dimension": shape["hidden_size"], "pooling_mode_cls_token": name == "first", "pooling_mode_mean_tokens": name == "mean"},
              open(os.path.join(folder, "1_Pooling", "config.json"), "w"))
    modules = ["Transformer", "Pooling"] + (["Normalize"] if name == "mean" else [])
    json.dump([{"idx": i, "name": str(i), "path": ["", "1_Pooling", "2_Normalize"][i], "type": "sentence_transformers.models." + m} for i, m in enumerate(modules)],
              open(os.path.join(folder, "modules.json"), "w"))
    # the library's own loader wants more files than Keel does: its parts are put together by hand
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    tokenizer.enable_truncation(most)
    vectors = []
    with torch.no_grad():
        for text in texts:
            x = model.eval()(input_ids=torch.tensor([tokenizer.encode(text).ids])).last_hidden_state[0]
            v = x[0] if name == "first" else x.mean(0)
            vectors.append([round(float(y), 7) for y in (torch.nn.functional.normalize(v, dim=0) if name == "mean" else v)])
    golden[name] = vectors
json.dump(golden, open(os.path.join(here, "vectors.json"), "w"), ensure_ascii=False)
