#!/usr/bin/env python3
"""Trials that `keel search` needs to find a learning rate as good as a grid's: search_rate.py KEEL FOLDER [REPEATS]

A policy is trained on a simulated log, with few steps, so that its learning rate matters; what counts is the loss of its
critic at the end. A grid of 16 rates is run once, Bayesian and random search with 8 trials with REPEATS seeds (20).
A trial is as good if its loss is no more than
1 % of the way from the grid's best to its median above the best.
"""
import json
import math
import os
import subprocess
import sys

GRID, HALF = 16, 8


def keel(program, verb, *arguments):
    subprocess.run([program, verb, "--quiet", *arguments], check=True, stdout=subprocess.DEVNULL)


def search(program, folder, name, *arguments):
    out = os.path.join(folder, name)
    keel(program, "search", "--store", os.path.join(folder, "log.db"), "--out", out, "--over", "train.learning_rate=log:0.00001:1",
         "--minimise", "train.metrics.td", *arguments, "--", "train", "--base", os.path.join(folder, "base"), "--algo", "dqn",
         "--out", "${out}/policy", "--set", "steps=150", "--set", "hidden=32", "--set", "batch=64", "--set", "dropout=0")
    with open(os.path.join(out, "result.json")) as file:
        return json.load(file)


def values(result):
    return [trial["value"] for trial in sorted(result["trials"], key=lambda t: t["trial"]) if trial["state"] == "done"]


def wilson(k, n, z=1.96):
    p, d = k / n, 1 + z * z / n
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / d
    return (p + z * z / (2 * n)) / d - half, (p + z * z / (2 * n)) / d + half


def main(program, folder, repeats):
    os.makedirs(folder, exist_ok=True)
    log = os.path.join(folder, "log.db")
    if not os.path.exists(log):
        keel(program, "simulate", "--store", log, "--env", "support-desk", "--behaviour", "support-82", "--episodes", "300", "--seed", "3")
        keel(program, "sft", "--store", log, "--base", "builtin", "--out", os.path.join(folder, "base"))
    grid = values(search(program, folder, "grid", "--method", "grid", "--points", str(GRID)))
    asked = min(grid) + 0.01 * (sorted(grid)[len(grid) // 2] - min(grid))
    print(f"grid of {GRID} rates: best {min(grid):.6g}, median {sorted(grid)[len(grid) // 2]:.6g}; as good: at most {asked:.6g}")
    for method in ("bayes", "random"):
        after, best = [], []
        for seed in range(repeats):
            found = values(search(program, folder, f"{method}-{seed}", "--method", method, "--trials", str(HALF), "--seed", str(seed)))
            best.append(min(found) - min(grid))
            after.append(next((i + 1 for i, v in enumerate(found) if v <= asked), math.inf))
        reached = sum(a <= HALF for a in after)
        low, high = wilson(reached, repeats)
        mean = sum(best) / repeats
        error = 1.96 * math.sqrt(sum((b - mean) ** 2 for b in best) / (repeats - 1) / repeats)
        print(f"{method}: as good within {HALF} trials in {reached} of {repeats} [{low:.2f}, {high:.2f}], "
              f"after {sorted(after)[repeats // 2]} (median); best loss minus the grid's {mean:+.5f} [{mean - error:+.5f}, {mean + error:+.5f}]")


main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 20)
