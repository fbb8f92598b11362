#!/usr/bin/env python3
"""Does an encoder say better than n-grams which of two responses people prefer? HH-RLHF, on the folds of the recipe hh-rlhf, whose
run folder it reads and writes into: of each fold it tunes an encoder (Bradley-Terry on the preferred pairs) and trains CQL
on it, as the recipe does on n-grams. Prints how often Q of each ranks a held-out pair as people do (ties half), and the difference at
the same pairs with its 95 % interval (bootstrap over conversations).

    keel run experiments/recipes/hh-rlhf.json --data DATA --out RUNS
    preferences.py KEEL ENCODER_FOLDER RUNS [WAY...]

A way says how the encoder reads a candidate: apart, or with the dialogue (cross, the default). Keys of keel sft may follow, as in
apart,mode=freeze,frozen_layers=3,folds=2; without them the heads alone are tuned.
"""
import csv
import io
import os
import random
import resource
import subprocess
import sys

keel, encoder, runs = sys.argv[1:4]
FOLDS, RESAMPLES = 5, 2000
WAYS = sys.argv[4:] or ["cross"]
csv.field_size_limit(1 << 30)


def run(*arguments):
    done = subprocess.run([keel, *arguments, "--quiet"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"keel {' '.join(arguments)}: {done.stderr}")
    return done.stdout


def settings(way):
    read, *keys = way.split(",")
    values = {"candidates": read, "mode": "head", "outcome_weight": 0, "rank_weight": 0, **dict(key.split("=") for key in keys)}
    return [word for key, value in values.items() for word in ("--set", f"{key}={value}")]


def make(store, fold, way):
    """The base's and the policy's folder; what is there is kept."""
    base = f"{runs}/{fold}/encoder-{way.replace(',', '-')}"
    policy = f"{base}-cql"
    rest = ["--store", store, "--split", f"rest:{fold}/{FOLDS}"]
    if not os.path.exists(f"{base}/keel.json"):
        run("sft", *rest, "--base", encoder, *settings(way), "--out", base)
    if not os.path.exists(f"{policy}/keel.json"):
        run("train", *rest, "--base", base, "--algo", "cql", "--out", policy)
    return policy, base


def right(store, fold, policy, base):
    """{(conversation, turn): 1, 1/2 or 0} of held-out pairs."""
    text = run("export", "--store", store, "--format", "csv", "--split", f"fold:{fold}/{FOLDS}", "--policy", policy, "--base", base)
    offered = {}
    for row in csv.DictReader(io.StringIO(text)):
        if row["reward"] and row["advantage"]:
            offered.setdefault((row["conversation"], row["turn"]), []).append((float(row["reward"]), float(row["advantage"])))
    out = {}
    for place, pair in offered.items():
        if len(pair) == 2 and pair[0][0] != pair[1][0]:
            better, worse = sorted(pair, reverse=True)
            out[place] = 0.5 if better[1] == worse[1] else float(better[1] > worse[1])
    return out


def interval(by_conversation):
    """By the sums (of values, of pairs) of each conversation."""
    rng, n, rates = random.Random(1), len(by_conversation), []
    for _ in range(RESAMPLES):
        drawn = [by_conversation[rng.randrange(n)] for _ in range(n)]
        rates.append(sum(v for v, _ in drawn) / sum(k for _, k in drawn))
    rates.sort()
    return rates[int(0.025 * RESAMPLES)], rates[int(0.975 * RESAMPLES)]


def show(name, values):
    sums = {}
    for (conversation, _), value in values.items():
        have = sums.get(conversation, (0, 0))
        sums[conversation] = (have[0] + value, have[1] + 1)
    low, high = interval(list(sums.values()))
    mean = sum(values.values()) / len(values)
    sign = "+" if " - " in name else ""
    print(f"{name:24} {mean:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]", flush=True)


def collect(store, policy_of):
    all_folds = {}
    for fold in range(FOLDS):
        policy, base = policy_of(fold)
        all_folds.update(right(store, fold, policy, base))
    return all_folds


store = f"{runs}/hh.db"
grams = collect(store, lambda fold: (f"{runs}/{fold}/cql", f"{runs}/{fold}/base"))
print(f"{len(grams)} pairs of {len({c for c, _ in grams})} conversations")
show("n-grams", grams)
for way in WAYS:
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    tuned = collect(store, lambda fold: make(store, fold, way))
    seconds = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    show(f"encoder, {way}", tuned)
    show(f"encoder, {way} - n-grams", {place: tuned[place] - grams[place] for place in grams})
    print(f"{seconds:.0f} CPU seconds", flush=True)
