"""Golden tokens of byte pair encodings: small tokenizers as the library `tokenizers` trains and writes them, what it makes of texts, and
what it makes of the tokens again.

    pip install tokenizers && python make_bpe.py      (made with 0.23.3)

A case is a pipeline around one of the models; its tokenizer.json is the pipeline with that model as "model".
"""
import json
import os

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

here = os.path.dirname(os.path.abspath(__file__))
LINES = """Hello, can you book a table for two people at 7:30 pm?
I'd like to cancel my order #12345, it's late; I'll wait no longer.
The café on Main Street closes at 10, doesn't it? They've told me so.
Please transfer $2500 to my account ending in 9876.
We're sorry, we can't do that without the code we've sent you.
  def answer(x):\n    return x + 1  # two  blanks
Où est la bibliothèque ? Na\u00efve fa\u00e7ade, \u00dcber stra\u00dfe.
\u4f60\u597d\uff0c\u6211\u60f3\u9884\u8ba2\u4e00\u5f20\u684c\u5b50\u3002 \ud55c\uad6d\uc5b4 \ubb38\uc7a5\uc785\ub2c8\ub2e4.
What's the weather like in San Francisco tomorrow? It's sunny and warm.
\U0001f600 thanks!!! You're welcome... See you tomorrow at 9am.
aa aaaa aa, aaa! Baa, aaah.""".split("\n")
LINES = LINES * 3
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace("{1,3}", "")
SPECIAL = ["<s>", "</s>", "<|end|>"]


def trained_bytes(size=420):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator(LINES, trainers.BpeTrainer(vocab_size=size, special_tokens=SPECIAL, show_progress=False,
                                                             initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return json.loads(tokenizer.to_str())["model"]


def trained_pieces(size=520):
    """As SentencePiece's, in the words of the library: marks for blanks, bytes for what is not known."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.pre_tokenizer = pre_tokenizers.Split("\u2581", "merged_with_next")
    known = [line for line in LINES if line.isascii()]
    bytes_ = [f"<0x{b:02X}>" for b in range(256)]
    tokenizer.train_from_iterator(known, trainers.BpeTrainer(vocab_size=size, special_tokens=["<unk>", "<s>", "</s>", *bytes_], show_progress=False))
    model = json.loads(tokenizer.to_str())["model"]
    return {**model, "byte_fallback": True, "fuse_unk": True}


def trained_characters():
    """No bytes to fall back on: what is not known is <unk>."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator([line for line in LINES if line.isascii()], trainers.BpeTrainer(vocab_size=150, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False))
    return json.loads(tokenizer.to_str())["model"]


BYTES, PIECES, CHARACTERS = trained_bytes(), trained_pieces(), trained_characters()
MODELS = {"bytes": BYTES, "ignore_merges": {"ignore_merges": True}, "pieces": PIECES, "characters": CHARACTERS, "fused": {"fuse_unk": True}}
# Variants stand as what differs; this token is in the vocabulary, but its merges lead elsewhere.
ODD = max(BYTES["vocab"].values()) + 1
OF = {"ignore_merges": "bytes", "fused": "characters"}


def model_of(name):
    base = json.loads(json.dumps(MODELS[OF.get(name, name)]))
    base.update(MODELS[name] if name in OF else {})
    if OF.get(name, name) == "bytes":
        base["vocab"]["\u0120qzqz"] = ODD
    return base


def pipeline(model, normalizer=None, pre=None, post=None, decoder=None, added=()):
    base = model_of(model)
    tokenizer = Tokenizer.from_str(json.dumps({"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
                                               "pre_tokenizer": None, "post_processor": None, "decoder": None, "model": base}))
    if normalizer:
        tokenizer.normalizer = normalizer
    if pre:
        tokenizer.pre_tokenizer = pre
    if post:
        tokenizer.post_processor = post
    if decoder:
        tokenizer.decoder = decoder
    special = [t for t in ("<unk>", "<s>", "</s>", "<|end|>") if t in base["vocab"]]
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    for token in added:
        tokenizer.add_special_tokens([token]) if token.special else tokenizer.add_tokens([token])
    return tokenizer


def split(pattern, behavior, invert=False):
    return pre_tokenizers.Split(pattern, behavior, invert)


def around(tokenizer_vocab):
    return processors.TemplateProcessing(single="<s> $A", pair="<s> $A </s> $B:1 </s>:1", special_tokens=[("<s>", tokenizer_vocab["<s>"]), ("</s>", tokenizer_vocab["</s>"])])


byte_level = lambda **more: pre_tokenizers.ByteLevel(**{"add_prefix_space": False, "use_regex": False, **more})  # noqa: E731
whole = decoders.ByteLevel()
llama2 = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
marks = [AddedToken("<left>", lstrip=True, normalized=False, special=True), AddedToken("<right>", rstrip=True, normalized=False, special=False),
         AddedToken("<both>", lstrip=True, rstrip=True, normalized=False), AddedToken("word", single_word=True, normalized=False), AddedToken("caf\u00e9", normalized=True),
         AddedToken("<|end|>x", normalized=False), AddedToken("\u0144\u0100", normalized=False)]
CASES = {
    "gpt-2": ("bytes", dict(pre=byte_level(use_regex=True), decoder=whole, post=processors.ByteLevel())),
    "gpt-2 with a blank before": ("bytes", dict(pre=byte_level(add_prefix_space=True, use_regex=True), decoder=whole)),
    "llama-3": ("ignore_merges", dict(pre=pre_tokenizers.Sequence([split(Regex(LLAMA3), "isolated"), byte_level()]), decoder=whole,
                                      post=processors.Sequence([processors.ByteLevel(), around(BYTES["vocab"])]))),
    "qwen2": ("bytes", dict(normalizer=normalizers.NFC(), pre=pre_tokenizers.Sequence([split(Regex(QWEN2), "isolated"), byte_level()]), decoder=whole)),
    "smollm": ("bytes", dict(pre=pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level(use_regex=True)]), decoder=whole)),
    "runs of digits": ("bytes", dict(pre=pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=False), byte_level()]), decoder=whole)),
    "added tokens": ("bytes", dict(normalizer=normalizers.NFC(), pre=byte_level(use_regex=True), decoder=whole, added=marks)),
    "removed": ("bytes", dict(pre=pre_tokenizers.Sequence([split(Regex(r"\s"), "removed"), byte_level()]), decoder=whole)),
    "with the previous": ("bytes", dict(pre=pre_tokenizers.Sequence([split(Regex(r"[a-e ]"), "merged_with_previous"), byte_level()]))),
    "with the next": ("bytes", dict(pre=pre_tokenizers.Sequence([split(Regex(r"[a-e ]"), "merged_with_next"), byte_level()]), decoder=whole)),
    "contiguous": ("bytes", dict(pre=pre_tokenizers.Sequence([split(Regex(r"[a-e ]"), "contiguous"), byte_level()]), decoder=whole)),
    "inverted": ("bytes", dict(pre=pre_tokenizers.Sequence([split(Regex(r"\w+|[^\w\s]+"), "removed", invert=True), byte_level()]), decoder=whole)),
    "of nothing": ("bytes", dict(pre=pre_tokenizers.Sequence([split(Regex(r"x*"), "isolated"), byte_level()]), decoder=whole)),
    "llama-2": ("pieces", dict(normalizer=normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]), decoder=llama2,
                               post=around(PIECES["vocab"]))),
    "metaspace": ("characters", dict(pre=pre_tokenizers.Metaspace(prepend_scheme="always"), decoder=decoders.Metaspace(prepend_scheme="always"))),
    "metaspace at first": ("fused", dict(normalizer=normalizers.NFKC(), pre=pre_tokenizers.Metaspace(prepend_scheme="first"), decoder=decoders.Metaspace(prepend_scheme="first"), added=marks[:2])),
    "digits, then metaspace at first": ("fused", dict(pre=pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.Metaspace(prepend_scheme="first")]),
                                                      decoder=decoders.Metaspace(prepend_scheme="first"))),
    "metaspace never": ("fused", dict(normalizer=normalizers.Replace(Regex(" {2,}"), " "), pre=pre_tokenizers.Metaspace(prepend_scheme="never", split=False),
                                      decoder=decoders.Metaspace(prepend_scheme="never"))),
    "roberta": ("bytes", dict(pre=byte_level(use_regex=True), post=processors.RobertaProcessing(("</s>", 1), ("<s>", 0)), decoder=whole)),
}
TEXTS = ["", " ", "Hello, can you book a table?", "I'LL wait, they'Ve told; it'\u017f DON'T", "12345 and 7:30 \u00bd \u0663\u0664", "  two  blanks\t\ttabs\n\nlines \r\n end ",
         "caf\u00e9 cafe\u0301 Na\u00efve \u00dcber stra\u00dfe \u1e9b\u0323", "\u4f60\u597d\uff0c\ud55c\uad6d\uc5b4 \u00bfqu\u00e9?", "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 \u00a0\u2003\u3000\u180e\x85x",
         "<s>a</s> b <|end|> c<|end|>x", "a  <left>  b  <right>  c  <both>  d", "word words sword word. a_word \u00e9word", " qzqz qzqzq", "Tomorrow\u2019s \u201cquotes\u201d \u2013 dash\u2026",
         "xxabcxx x", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbb", "\u2581already\u2581marked", "\u0301\u0301 \ufdfa \ufb01x", "\uff1cleft\uff1e x", "aaaaa aaaaaaa aaa", "1a2 b\u0144\u0100c"]


def main():
    cases = []
    for name, (model, parts) in CASES.items():
        tokenizer = pipeline(model, **parts)
        file = json.loads(tokenizer.to_str())
        del file["model"]
        rows = []
        for text in TEXTS:
            ids, bare = tokenizer.encode(text).ids, tokenizer.encode(text, add_special_tokens=False).ids
            rows.append({"text": text, "ids": bare, "framed": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=False), "without": tokenizer.decode(ids)})
        pair = tokenizer.encode("a b", "c")
        # Bytes that are no text: alone, in part, in the wrong order.
        vocabulary = tokenizer.get_vocab()
        broken = [vocabulary[t] for t in (("\u00f0", "\u0141", "a", "\u013a", "\u00e0", "\u0122", "\u00ed", "\u0142", "b") if OF.get(model, model) == "bytes" else ("<0xF0>", "<0x9F>", "a", "<0xE4>", "<0xBD>", "<0xA0>", "<0xFF>"))
                  if t in vocabulary]
        cases.append({"name": name, "model": model, "file": file, "rows": rows, "pair": pair.ids, "types": pair.type_ids, "broken": broken,
                      "broken_text": tokenizer.decode(broken, skip_special_tokens=False)})
    golden = {"models": {name: model_of(name) if name not in OF else MODELS[name] for name in MODELS}, "of": OF, "cases": cases,
              "training": {"lines": LINES, "special": SPECIAL, "size": 420, "vocab": BYTES["vocab"], "merges": BYTES["merges"]}}
    with open(os.path.join(here, "bpe.json"), "w", encoding="utf-8") as file:
        json.dump(golden, file, ensure_ascii=True, separators=(",", ":"))
        file.write("\n")


main()
