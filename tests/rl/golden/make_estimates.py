#!/usr/bin/env python3
"""Recomputes the outputs of estimates.json in double precision from its inputs, with the standard library alone.

    python3 tests/rl/golden/make_estimates.py tests/rl/golden/estimates.json

doubly_robust: five decisions with one answer logged each; q of what was logged and of what the policy would answer.
ratio: refusals over dangerous decisions of five weighted conversations, standard error by the delta method.
"""
import json
import math
import sys


def doubly_robust(case):
    n = len(case["reward"])
    rows = list(zip(case["behaviour"], case["agree"], case["reward"], case["q_logged"], case["q_policy"]))
    case["value"] = math.fsum(v + a / b * (r - q) for b, a, r, q, v in rows) / n
    known = [r for _, a, r, _, _ in rows if a]
    case["mean_over_agreeing"] = math.fsum(known) / len(known)
    case["bounds_0_1"] = [math.fsum(known) / n, (math.fsum(known) + n - len(known)) / n]


def ratio(case):
    hits = [w * x for w, x in zip(case["weights"], case["refused"])]
    counts = [w * y for w, y in zip(case["weights"], case["dangerous"])]
    case["rate"] = math.fsum(hits) / math.fsum(counts)
    squares = math.fsum((x - case["rate"] * y) ** 2 for x, y in zip(hits, counts))
    n = len(hits)
    case["standard_error"] = math.sqrt(n / (n - 1) * squares) / math.fsum(counts)


def main():
    path = sys.argv[1]
    with open(path, encoding="utf-8") as file:
        golden = json.load(file)
    doubly_robust(golden["doubly_robust"])
    ratio(golden["ratio"])
    with open(path, "w", encoding="utf-8") as file:
        json.dump(golden, file, indent=1)
        file.write("\n")


main()
