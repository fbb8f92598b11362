#!/usr/bin/env python3
"""Encoding and tuning of Keel's built-in base against fastText on the same texts.

    fasttext_base.py BENCH_BASE [ROUNDS [CORPUS...]]     the program built from experiments/bench/bench_base.c

Corpora: made-up text, and, where KEEL_DATA names the data folder, XSTest answers (label: the human judgement), HH-RLHF
answers (label: chosen or rejected) and SGD system turns (label: dialogue act). Both sides get the same lines and the
same settings: 64 dimensions, words and word pairs, character n-grams of 3 to 5, 131,072 buckets, EPOCHS passes.

Per text, fastText splits at white space, takes each word's n-grams from its dictionary (unknown words: hashes them
anew) and averages rows. Keel folds case and compatibility forms, splits at Unicode word boundaries, hashes all n-grams,
drops repeated ones, weighs them by tf-idf, adds up rows and applies a layer and the head. Beside get_sentence_vector
(an average alone) stands fastText's predict over all lines at once in C++ (average, head, probabilities).
Tuning: fastText goes down the gradient of each text at once; Keel down that of a batch of 32, through
a layer of 64 x 256 between embeddings and labels (AdamW), and it hashes its store's content.
Both include counting n-grams and saving the model; Keel reads its texts from its store, fastText from the file.

One thread: processor time; two threads: wall time (fastText encodes in two processes). Rounds are interleaved.
"""
import csv
import glob
import gzip
import json
import multiprocessing
import os
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import fasttext

EPOCHS, SECONDS, MOST = 2, 0.5, 12000


# ---- corpora: lists of (label, text)

def one_line(text):
    return re.sub(r"\s+", " ", text).strip()


def made_up():
    """Words drawn by Zipf's law, each label with words of its own."""
    draw = random.Random(1)
    words = ["".join(draw.choices("etaoinshrdlucmfwyp", k=draw.randint(2, 10))) for _ in range(20000)]
    weights = [1 / (rank + 10) for rank in range(len(words))]
    rows = []
    for _ in range(6000):
        label = draw.randrange(12)
        text = draw.choices(words, weights, k=draw.randint(5, 60)) + draw.choices(words[label * 50:][:50], k=3)
        rows.append((f"act{label}", " ".join(text)))
    return rows


def xstest(data):
    for path in sorted(glob.glob(f"{data}/xstest/completions/*.csv")):
        with open(path, encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                yield row.get("final_label", "none").strip() or "none", row["completion"]


def hh(data):
    for path in sorted(glob.glob(f"{data}/hh-rlhf/*/*.jsonl.gz")):
        for line in gzip.open(path, "rt", encoding="utf-8"):
            pair = json.loads(line)
            for label in ("chosen", "rejected"):
                yield label, pair[label].rsplit("\n\nAssistant:", 1)[1]


def sgd(data):
    for path in sorted(glob.glob(f"{data}/sgd/dev/dialogues_*.json.gz")):
        for dialogue in json.load(gzip.open(path, "rt", encoding="utf-8")):
            for turn in dialogue["turns"]:
                if turn["speaker"] == "SYSTEM":
                    yield turn["frames"][0]["actions"][0]["act"], turn["utterance"]


def corpora(names):
    data = os.environ.get("KEEL_DATA", "")
    made = {"made-up": made_up}
    for name, read in (("xstest", xstest), ("hh", hh), ("sgd", sgd)):
        if data and os.path.isdir(f"{data}/{'hh-rlhf' if name == 'hh' else name}"):
            made[name] = lambda read=read: read(data)
    for name, read in made.items():
        if not names or name in names:
            rows = [(label, one_line(text)) for label, text in read()]
            yield name, random.Random(1).sample(rows, min(len(rows), MOST))


# ---- fastText

def measured(work, threads):
    def now():
        used = resource.getrusage(resource.RUSAGE_SELF)
        return used.ru_utime + used.ru_stime if threads == 1 else time.perf_counter()
    start, result = now(), work()
    return now() - start, result


def tune(path, folder, threads):
    def work():
        model = fasttext.train_supervised(input=path, dim=64, wordNgrams=2, minn=3, maxn=5, bucket=131072, minCount=1,
                                          epoch=EPOCHS, lr=0.5, thread=threads, loss="softmax", verbose=0)
        model.save_model(f"{folder}/fasttext.bin")
        return model
    return measured(work, threads)


def vectors(model, texts):
    for text in texts:
        model.get_sentence_vector(text)


def predictions(model, texts):
    model.f.multilinePredict([text + "\n" for text in texts], 1, 0.0, "strict")


def repeat(encode, model, texts, least=SECONDS):
    """Seconds for one pass over the texts, of as many as fit."""
    passes, total = 0, 0.0
    while total < least:
        spent, _ = measured(lambda: encode(model, texts), 1)
        passes, total = passes + 1, total + spent
    return total / passes


def together(encode, model, texts):
    """Two processes, half of the texts each: wall seconds for one pass, of as many as fit."""
    half = len(texts) // 2
    passes = max(1, round(2 * SECONDS / repeat(encode, model, texts, 0.01)))

    def work(part):
        for _ in range(passes):
            encode(model, part)
    fork = multiprocessing.get_context("fork")
    both = [fork.Process(target=work, args=(part,)) for part in (texts[:half], texts[half:])]
    start = time.perf_counter()
    for process in both:
        process.start()
    for process in both:
        process.join()
    return (time.perf_counter() - start) / passes


# ---- Keel

def keel(program, verb, path, folder, threads, last):
    done = subprocess.run([program, verb, path, f"{folder}/base", str(threads), str(last)], capture_output=True,
                          text=True)
    if done.returncode:
        sys.exit(f"{program} {verb}: {done.stderr.strip()}")
    fields = done.stdout.split()[1:]
    return {key: float(value) for key, value in zip(fields[::2], fields[1::2])}


# ---- side by side

def show(name, what, threads, unit, amount, seconds, floor):
    rates = {who: sorted(amount / s for s in spent) for who, spent in seconds.items()}
    middle = {who: statistics.median(r) for who, r in rates.items()}
    cells = "".join(f"  {f'{middle[w]:,.0f} [{r[0]:,.0f}, {r[-1]:,.0f}]':>28}" for w, r in rates.items())
    ratios = ", ".join(f"{middle['Keel'] / middle[w]:.2f} x {w}" for w in middle if w != "Keel")
    print(f"{name:8} {what:6} {threads}  {unit:7}{cells}   Keel = {ratios}; {floor:.0%} of its floor", flush=True)


def compare(program, name, rows, rounds, folder):
    tsv, labelled, texts = f"{folder}/texts.tsv", f"{folder}/texts.txt", [text for _, text in rows]
    with open(tsv, "w", encoding="utf-8") as ours, open(labelled, "w", encoding="utf-8") as theirs:
        for label, text in rows:
            ours.write(f"{label}\t{text}\n")
            theirs.write(f"__label__{label.replace(' ', '_')} {text}\n")
    print(f"{name}: {len(rows):,} texts, {sum(len(t.encode()) for t in texts) / 1e6:.2f} MB, "
          f"{sum(len(t.split()) for t in texts):,} words, {len({label for label, _ in rows})} labels", flush=True)
    for threads in (1, 2):
        tuned, encoded, share = {"Keel": [], "fastText": []}, {"Keel": [], "predict": [], "vector": []}, []
        for _ in range(rounds):
            ours = keel(program, "sft", tsv, folder, threads, EPOCHS)
            spent, model = tune(labelled, folder, threads)
            tuned["Keel"].append(ours["seconds"])
            tuned["fastText"].append(spent)
            mine = keel(program, "encode", tsv, folder, threads, SECONDS)
            encoded["Keel"].append(mine["seconds"] / mine["passes"])
            for who, encode in (("predict", predictions), ("vector", vectors)):
                encoded[who].append((repeat if threads == 1 else together)(encode, model, texts))
            share.append((ours["floor"], mine["floor"]))
        words = sum(len(text.split()) for text in texts)
        show(name, "sft", threads, "words/s", EPOCHS * words, tuned, statistics.median(s[0] for s in share))
        show(name, "encode", threads, "texts/s", len(texts), encoded, statistics.median(s[1] for s in share))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: fasttext_base.py BENCH_BASE [ROUNDS [CORPUS...]]")
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    print(f"median [least, most] of {rounds} interleaved rounds; columns: Keel, fastText (encode: predict, vector)")
    for name, rows in corpora(sys.argv[3:]):
        with tempfile.TemporaryDirectory() as folder:
            compare(sys.argv[1], name, rows, rounds, folder)
