#!/usr/bin/env python3
"""What a decoder loses when it is quantised, pruned, or both, and what tuning with the unpruned one as teacher gives back: size,
time of a decision, perplexity of what is said, the share of decisions whose choice is another, and, with a policy, what it loses.

    compress_table.py KEEL MODEL STORE OUT [--train SPLIT] [--recover SPLIT] [--test SPLIT] [--ratio 0.4] [--weights int8,q4_g32] [--seeds 1,2,3]
                      [--policy ALGO] [--decisions 50] [--base-set KEY=VALUE ...] [--prune-set KEY=VALUE ...] [--recover-set KEY=VALUE ...]

MODEL is a decoder as it came, or a base that `keel sft` made of one. It is made a base of STORE without being tuned, and with
--policy a policy is trained on it. Recovery is `keel sft --teacher-base` with distil=1 (what the teacher says of the log's
responses, not the log's choices) on --recover (--train, unless named); what is to be quantised is tuned with fake_quant of its format, pruned ones first
without. --recover-set says how long, as epochs=1; the table names it, and the seconds of processor time that each recovery took.
Everything is judged on --test. Times are medians of processor time on one thread, the two sides of a comparison in turn.
What is there in OUT is not made again.
"""
import argparse
import json
import os
import resource
import subprocess
import sys

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
for name in ("keel", "model", "store", "out"):
    parser.add_argument(name)
parser.add_argument("--train", default="train")
parser.add_argument("--recover")
parser.add_argument("--test", default="test")
parser.add_argument("--ratio", default="0.4")
parser.add_argument("--weights", default="int8,q4_g32")
parser.add_argument("--seeds", default="1")
parser.add_argument("--policy")
parser.add_argument("--decisions", default="50")
parser.add_argument("--threads", default="2")
parser.add_argument("--base-set", nargs="*", default=[])
parser.add_argument("--prune-set", nargs="*", default=[])
parser.add_argument("--recover-set", nargs="*", default=["epochs=1"])
asked = parser.parse_args()
seeds = asked.seeds.split(",")
formats = asked.weights.split(",")


def place(name):
    return os.path.join(asked.out, name)


def settings(pairs):
    return [word for pair in pairs for word in ("--set", pair)]


def keel(*arguments):
    done = subprocess.run([asked.keel, *arguments, "--json"], stdout=subprocess.PIPE, check=False)
    if done.returncode not in (0, 3):
        sys.exit(f"keel {' '.join(arguments)}: exit status {done.returncode}")
    return json.loads(done.stdout)


def once(name, *arguments):
    """A folder that is made if it is not there, and the seconds of processor time that it took; its result is kept beside it."""
    folder, kept = place(name), place(name + ".result.json")
    if not os.path.exists(kept):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        result = keel(*arguments, "--out", folder)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        result["seconds"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        with open(kept, "w", encoding="utf-8") as to:
            json.dump(result, to)
    with open(kept, encoding="utf-8") as of:
        return folder, json.load(of)


log = ["--store", asked.store]


def make_base():
    return once("base", "sft", *log, "--base", asked.model, "--mode", "none", "--split", asked.train, "--threads", asked.threads,
                *settings(["action_space=candidates", *asked.base_set]))[0]


def make_policy(base):
    if not asked.policy:
        return None
    return once("policy", "train", *log, "--base", base, "--algo", asked.policy, "--split", asked.train, "--threads", asked.threads)[0]


def prune(base):
    return once("pruned", "compress", *log, "--base", base, "--split", asked.train, "--ratio", asked.ratio, "--threads", asked.threads,
                *settings(["decisions=0", *asked.prune_set]))[0]


def recover(name, base, teacher, seed, *more):
    return once(name, "sft", *log, "--base", base, "--teacher-base", teacher, "--mode", "full", "--split", asked.recover or asked.train, "--seed", seed,
                "--threads", asked.threads, *settings(["distil=1", *asked.recover_set, *more]))


def judge(name, base, start, policy, weights):
    """Compressed and set beside the base at the start: what keel compress says, and the perplexity."""
    with_policy = ["--policy", policy, "--anyway"] if policy else []
    folder, result = once(name, "compress", *log, "--base", base, "--before", start, "--split", asked.train, "--held-out", asked.test,
                          "--weights", weights, *with_policy, "--set", f"decisions={asked.decisions}", "--threads", asked.threads)
    kept = place(name + ".said.json")
    if not os.path.exists(kept):
        said = keel("verify", "--base", os.path.join(folder, "base") if policy else folder, *log, "--split", asked.test)
        with open(kept, "w", encoding="utf-8") as to:
            json.dump(said, to)
    with open(kept, encoding="utf-8") as of:
        result["perplexity"] = find(json.load(of), "perplexity")
    return result


def find(tree, key):
    """The first value of this name, an interval."""
    if isinstance(tree, dict):
        if isinstance(tree.get(key), dict):
            return tree[key]
        tree = list(tree.values())
    for part in tree if isinstance(tree, list) else []:
        found = find(part, key)
        if found:
            return found
    return None


def interval(x, factor=1.0, digits=3):
    if not x:
        return "-"
    return f"{x['value'] * factor:.{digits}f} [{x['low'] * factor:.{digits}f}, {x['high'] * factor:.{digits}f}]"


def row(name, weights, recovered, results, seconds):
    def over(get):
        values = [get(r) for r in results]
        middle = sum(values) / len(values)
        return f"{middle:.4g}" + (f" ({min(values):.4g} to {max(values):.4g})" if len(values) > 1 else "")

    first = results[0]
    metrics = first["metrics"]
    cells = [name, weights, recovered, f"{metrics['bytes'] / 1e6:.2f}", over(lambda r: r["metrics"]["latency_ms"]),
             over(lambda r: r["metrics"]["latency_ms"] / r["metrics"]["latency_ms_before"]), over(lambda r: r["perplexity"]["value"]),
             interval(first["perplexity"], digits=2), over(lambda r: find(r["metrics"], "changed")["value"]),
             interval(find(metrics, "changed"))]
    if asked.policy:
        cells += [over(lambda r: r["policy"]["loss"]["value"] * 100), interval(first["policy"]["loss"], 100, 1),
                  interval(first["policy"]["table"]["refusal_rate"]["after"])]
    print("| " + " | ".join([*cells, f"{sum(seconds) / len(seconds):.0f}" if seconds else "-"]) + " |", flush=True)


def main():
    os.makedirs(asked.out, exist_ok=True)
    start = make_base()
    policy = make_policy(start)
    head = ["weights of", "format", "recovered", "MB", "ms a decision", "of the original", "perplexity", "its interval", "changed", "its interval"]
    if asked.policy:
        head += ["loss, points", "its interval", "refusal"]
    head += ["recovery, s of processor"]
    print(f"pruning: {' '.join(asked.prune_set) or 'as by default'}; recovery: distil=1 {' '.join(asked.recover_set)}, seeds {asked.seeds}; figures over seeds as mean (least to most), intervals of the first seed")
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head), flush=True)
    row("all", "f32", "no", [judge("all-none", start, start, policy, "none")], [])
    for weights in formats:
        row("all", weights, "no", [judge(f"all-{weights}", start, start, policy, weights)], [])
    pruned = prune(start)
    for weights in ["none", *formats]:
        row(f"{asked.ratio} pruned", weights, "no", [judge(f"pruned-{weights}", pruned, start, policy, weights)], [])
    low = [w for w in formats if w.startswith("q4")]
    again = [recover(f"pruned-tuned-{s}", pruned, start, s) for s in seeds]
    for weights in ["none", *[w for w in formats if w not in low]]:
        row(f"{asked.ratio} pruned", weights, "yes", [judge(f"pruned-tuned-{s}-{weights}", a[0], start, policy, weights) for s, a in zip(seeds, again)],
            [a[1]["seconds"] for a in again])
    for weights in low:
        both = [recover(f"both-tuned-{weights}-{s}", a[0], start, s, f"fake_quant={weights}") for s, a in zip(seeds, again)]
        row(f"{asked.ratio} pruned", weights, "yes", [judge(f"both-tuned-{weights}-{s}-small", b[0], start, policy, weights) for s, b in zip(seeds, both)],
            [a[1]["seconds"] + b[1]["seconds"] for a, b in zip(again, both)])
    for weights in low:
        tuned = [recover(f"all-tuned-{weights}-{s}", start, start, s, f"fake_quant={weights}") for s in seeds]
        row("all", weights, "yes", [judge(f"all-tuned-{weights}-{s}-small", t[0], start, policy, weights) for s, t in zip(seeds, tuned)],
            [t[1]["seconds"] for t in tuned])


main()
