#!/usr/bin/env python3
"""Which dialogue act comes next on SGD: an encoder or a decoder, which read the text alone, against the n-gram base, which also reads
the acts that the assistant took so far; on a sample of the dialogues drawn by hash: of the training part to tune on, of the
development part to judge. Prints how often the act that each base puts first is the logged one, with its interval, and the
difference at the same decisions (bootstrap over conversations); of a decoder also the perplexity of the assistant's acts and texts.

    next_act.py KEEL MODEL SGD_FOLDER OUT [SHARE_TRAIN SHARE_DEV [PASSES]]     PASSES: of a decoder over what it is tuned on (default 2)
"""
import csv
import gzip
import hashlib
import io
import json
import os
import random
import resource
import subprocess
import sys
from pathlib import Path

keel, model, sgd, out = sys.argv[1:5]
SHARE = dict(zip(("train", "dev"), map(float, sys.argv[5:7] or (0.02, 0.05))))
PASSES = (sys.argv[7:8] or ["2"])[0]
RESAMPLES = 2000
GRAMS = {"n-grams": ["--base", "builtin"]}
ENCODER = {
    "heads": ["--mode", "head", "--set", "folds=0", "--set", "state_tokens=64"],
    "freeze": ["--mode", "freeze", "--set", "frozen_layers=3", "--set", "folds=0", "--set", "state_tokens=64"],
}
DECODER = {
    "none": ["--mode", "none"],
    "prompt": ["--mode", "prompt", "--set", "virtual_tokens=20"],
    "lora": ["--mode", "lora"],
    "freeze": ["--mode", "freeze", "--set", "frozen_layers=20"],
    "full": ["--mode", "full"],
}
csv.field_size_limit(1 << 30)


def draw(text):
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def sample(part):
    """Writes the part's sampled dialogues where `keel import` finds them; how many they are."""
    taken = []
    for path in sorted(Path(sgd).glob(f"{part}/dialogues_*.json.gz")):
        taken += [d for d in json.load(gzip.open(path)) if draw(f"{part} {d['dialogue_id']}") < SHARE[part]]
    os.makedirs(f"{out}/sgd/{part}", exist_ok=True)
    with open(f"{out}/sgd/{part}/dialogues_001.json", "w", encoding="utf-8") as file:
        json.dump(taken, file)
    with open(f"{out}/sgd/{part}/schema.json", "wb") as file:
        file.write(gzip.open(f"{sgd}/{part}/schema.json.gz").read())
    return len(taken)


def run(*arguments):
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run([keel, *arguments, "--quiet"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"keel {' '.join(arguments)}: {done.stderr}")
    return done.stdout, resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before


def is_decoder():
    path = Path(model)
    config = path / "config.json"
    return not config.exists() or any(a.endswith("ForCausalLM") for a in json.loads(config.read_text()).get("architectures") or [])


DECODES = is_decoder()
BASES = GRAMS | {
    name: ["--base", model, *how, *(["--set", f"epochs={PASSES}", "--set", "batch=4"] if DECODES and name != "none" else [])]
    for name, how in (DECODER if DECODES else ENCODER).items()
}


def perplexity(name):
    """Of what the assistant says in dev: its acts and texts."""
    if not DECODES or name == "n-grams":
        return ""
    text, _ = run("verify", "--base", f"{out}/{name}", "--store", f"{out}/sgd.db", "--split", "dev", "--json")
    found = json.loads(text)["log"]["perplexity"]
    return " {value:.2f} [{low:.2f}, {high:.2f}]".format(**found)


def hits(name):
    """{(conversation, turn): 1 or 0} of a policy that keeps to the base's prior, and the CPU seconds of tuning."""
    store, base, policy = f"{out}/sgd.db", f"{out}/{name}", f"{out}/{name}-policy"
    _, seconds = run("sft", "--store", store, "--out", base, "--set", "action_space=acts", "--replace", *BASES[name])
    prior = [word for key in ("steps=1", "kl_budget=0", "beta=0", "harm_threshold=1000000") for word in ("--set", key)]
    run("train", "--store", store, "--base", base, "--algo", "cql", *prior, "--out", policy, "--replace")
    text, _ = run("export", "--store", store, "--format", "csv", "--split", "dev", "--policy", policy, "--base", base)
    rows = csv.DictReader(io.StringIO(text))
    return {(r["conversation"], r["turn"]): float(r["policy_agrees"] == "true") for r in rows if r["taken"] == "true"}, seconds


def interval(values):
    """Of the mean of {(conversation, turn): value}."""
    sums = {}
    for (conversation, _), value in values.items():
        have = sums.get(conversation, (0, 0))
        sums[conversation] = (have[0] + value, have[1] + 1)
    rows, rng, means = list(sums.values()), random.Random(1), []
    for _ in range(RESAMPLES):
        drawn = [rows[rng.randrange(len(rows))] for _ in rows]
        means.append(sum(v for v, _ in drawn) / sum(k for _, k in drawn))
    means.sort()
    return sum(values.values()) / len(values), means[int(0.025 * RESAMPLES)], means[int(0.975 * RESAMPLES)]


os.makedirs(out, exist_ok=True)
counts = {part: sample(part) for part in SHARE}
run("import", "--store", f"{out}/sgd.db", "--format", "sgd", f"{out}/sgd/train", f"{out}/sgd/dev")
print(f"{counts['train']} dialogues to tune on, {counts['dev']} to judge on")
grams = None
print("base      agreement              minus n-grams             CPU seconds" + (" perplexity" if DECODES else ""))
for name in BASES:
    hit, seconds = hits(name)
    grams = grams or hit
    difference = interval({place: hit[place] - grams[place] for place in grams})
    shown = "{:.3f} [{:.3f}, {:.3f}]".format(*interval(hit))
    apart = "{:+.3f} [{:+.3f}, {:+.3f}]".format(*difference) if hit is not grams else "-"
    print(f"{name:9} {shown:22} {apart:25} {seconds:11.0f}{perplexity(name)}", flush=True)
