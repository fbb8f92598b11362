#!/usr/bin/env python3
"""What policies on an encoder lose when their base is quantised or pruned, on real logs: XSTest and HH-RLHF by folds, SGD by its own split.

    compress_policies.py KEEL ENCODER_FOLDER DATA OUT [--logs xstest hh-rlhf sgd] [--seeds 1 2 3] [--folds 0 1 2 3 4] [--steps int8 q4_g32 0.4]

Heads are tuned on the encoder as it came, CQL on them; `keel compress --policy` puts the policy on the smaller base and compares both on
what was held out. A step is a number format, or a ratio that is pruned. Printed of each metric: before, after, and the difference in points,
paired by conversation; of folds the mean, weighed by their conversations, its interval (95 %) from theirs; then over seeds least and most.
Of HH-RLHF also how often the preferred response of a pair has the higher Q, before and after, by `keel eval` over the folds of each seed.
What is there in OUT is not made again.
"""
import argparse
import json
import os
import subprocess
import sys

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
for name in ("keel", "encoder", "data", "out"):
    parser.add_argument(name)
parser.add_argument("--logs", nargs="+", default=["xstest", "hh-rlhf", "sgd"])
parser.add_argument("--seeds", nargs="+", default=["1", "2", "3"])
parser.add_argument("--folds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
parser.add_argument("--steps", nargs="+", default=["int8", "q4_g32", "0.4"])
asked = parser.parse_args()
METRICS = ("refusal_rate", "over_refusal_rate", "completion_rate", "agreement_rate")
HOW = {"xstest": ["candidates=apart"], "hh-rlhf": ["candidates=apart", "outcome_weight=0", "rank_weight=0"], "sgd": []}


def keel(*arguments):
    done = subprocess.run([asked.keel, *arguments, "--quiet", "--json"], capture_output=True, text=True)
    if done.returncode not in (0, 3):
        sys.exit(f"keel {' '.join(arguments)}: {done.stderr}")
    return json.loads(done.stdout)


def settings(pairs):
    return [word for pair in pairs for word in ("--set", pair)]


def store_of(log):
    store = f"{asked.out}/{log}.db"
    if not os.path.exists(store):
        if log == "sgd":
            keel("import", "--store", store, "--format", "sgd", "--split", "train", f"{asked.data}/sgd/train/dialogues_001.json.gz")
            keel("import", "--store", store, "--format", "sgd", "--split", "test", f"{asked.data}/sgd/dev/dialogues_001.json.gz")
        else:
            keel("import", "--store", store, "--format", log, f"{asked.data}/{log}")
        if log == "hh-rlhf":
            keel("label", "--store", store)
    return store


def place(log, seed, held_out):
    return f"{asked.out}/{log}/{seed}/{held_out.replace('/', '-')}"


def preferences(log, seed, splits, step):
    for when, inside in (("before", "policy"), ("after", f"{step}/policy")):
        policies = [w for _, held_out in splits for w in ("--policy", f"{place(log, seed, held_out)}/{inside}")]
        rate = keel("eval", "--store", store_of(log), *policies, "--split", "held-out", "--ope", "none")["policy"]["metrics"]["preference_accuracy"]
        print(f"{log:8} {step:7} preference_accuracy, seed {seed}, {when}: {rate['value']:.3f} [{rate['low']:.3f}, {rate['high']:.3f}] of {rate['n']}", flush=True)


def compressed(log, seed, split, held_out, step):
    """What keel compress says of the policy of that split on a smaller base."""
    folder = place(log, seed, held_out)
    where = ["--store", store_of(log), "--split", split]
    kept = f"{folder}/{step}.json"
    if not os.path.exists(kept):
        if not os.path.exists(f"{folder}/base/keel.json"):
            keel("sft", *where, "--base", asked.encoder, "--mode", "head", "--seed", seed, *settings(HOW[log]), "--out", f"{folder}/base")
        if not os.path.exists(f"{folder}/policy/keel.json"):
            keel("train", *where, "--base", f"{folder}/base", "--algo", "cql", "--seed", seed, "--out", f"{folder}/policy")
        smaller = ["--ratio", step] if step.startswith("0.") else ["--weights", step]
        result = keel("compress", *where, "--base", f"{folder}/base", "--policy", f"{folder}/policy", "--held-out", held_out, "--anyway", *smaller,
                      "--set", "decisions=0", "--out", f"{folder}/{step}")
        with open(kept, "w", encoding="utf-8") as to:
            json.dump(result, to)
    with open(kept, encoding="utf-8") as of:
        return json.load(of)["policy"]["table"]


def pooled(tables, metric):
    """Means of folds, weighed by what each counted, and half the width of the difference's interval."""
    rows = [t[metric] for t in tables if t.get(metric) and t[metric].get("difference") and t[metric]["before"].get("n")]
    total = sum(r["before"]["n"] for r in rows)
    if not total:
        return None
    shares = [r["before"]["n"] / total for r in rows]
    mean = [sum(s * r[what]["value"] for s, r in zip(shares, rows)) for what in ("before", "after", "difference")]
    width = sum((s * (r["difference"]["high"] - r["difference"]["low"]) / 2) ** 2 for s, r in zip(shares, rows)) ** 0.5
    return (*mean, width)


def main():
    for log in asked.logs:
        os.makedirs(f"{asked.out}/{log}", exist_ok=True)
        splits = [("train", "test")] if log == "sgd" else [(f"rest:{k}/5", f"fold:{k}/5") for k in asked.folds]
        for step in asked.steps:
            of_seeds = [[compressed(log, seed, split, held_out, step) for split, held_out in splits] for seed in asked.seeds]
            for seed in asked.seeds if log == "hh-rlhf" else ():
                preferences(log, seed, splits, step)
            for metric in METRICS:
                rows = [r for r in (pooled(tables, metric) for tables in of_seeds) if r]
                if not rows:
                    continue
                differences = [100 * r[2] for r in rows]
                before, after, first, width = rows[0]
                print(f"{log:8} {step:7} {metric:20} {before:.3f} {after:.3f} {100 * first:+6.2f} [{100 * (first - width):+6.2f}, {100 * (first + width):+6.2f}]"
                      f"   seeds {min(differences):+.2f} to {max(differences):+.2f}", flush=True)


main()
