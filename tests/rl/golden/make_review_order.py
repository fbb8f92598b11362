#!/usr/bin/env python3
"""Sizes, places and rates of the order of reviews, in double precision, with the standard library alone.

    python3 tests/rl/golden/make_review_order.py tests/rl/golden/review_order.json

Priority sampling (Duffield, Lund and Thorup 2007) with a defensive mixture of sizes, and the prediction-powered rate
with weights 1 / pi: rl/judge/review_order.h says the formulas. Inputs are made up by a linear congruential generator.
"""
import json
import math
import sys

RANDOM, DIFFERS, AIMED = 0.5, 0.25, 0.9
N, SEEN = 240, 90


def numbers():
    state = 20261130
    while True:
        state = (state * 6364136223846793005 + 1442695040888963407) % 2 ** 64
        yield (state >> 11) / 2 ** 53


def make():
    u = numbers()
    rows = []
    for _ in range(N):
        risk, judged = int(next(u) * 3), int(next(u) * 4)
        confidence = 0.4 + 0.6 * next(u)
        human = judged if judged and next(u) < confidence else 1 + int(next(u) * 3)
        rows.append({"risk": risk, "judged": judged, "confidence": confidence, "number": next(u), "differs": next(u) < 0.2,
                     "human": 0 if next(u) < 0.05 else human})
    return rows


def sizes(rows, policy, aim=None):
    risks = sorted({row["risk"] for row in rows})
    doubt = lambda row: math.sqrt(row["confidence"] * (1 - row["confidence"])) if row["judged"] else 0.5
    out = []
    for row in rows:
        same = [other for other in rows if other["risk"] == row["risk"]]
        mean = sum(map(doubt, same)) / len(same)
        differing = sum(other["differs"] for other in same) / len(same) if policy else 0
        parts = [RANDOM, (1 - RANDOM - (DIFFERS if differing else 0)) * doubt(row) / mean,
                 DIFFERS * row["differs"] / differing if differing else 0]
        share = 1 / len(risks) if aim is None else AIMED if row["risk"] == aim else (1 - AIMED) / (len(risks) - 1)
        out.append(sum(parts) * share * len(rows) / len(same))
    return out


def rate(rows, size, place, hit, risk, wished):
    order = sorted(range(N), key=lambda i: place[i])
    opened, first = place[order[SEEN]], order[:SEEN]
    domain = [row for row in rows if row["risk"] == risk]
    looked = [i for i in first if rows[i]["risk"] == risk]
    labelled = [i for i in looked if rows[i]["human"]]
    share = len(labelled) / len(looked)
    w = [1 / (share * min(1, opened * size[i])) for i in labelled]
    e = [(rows[i]["human"] in hit) - (rows[i]["judged"] in hit) for i in labelled]
    mean = sum(a * b for a, b in zip(w, e)) / sum(w)
    value = sum(row["judged"] in hit for row in domain) / len(domain) + mean
    variance = (sum(a * (a - 1) * (b - mean) ** 2 for a, b in zip(w, e)) + max(w) * (max(w) - 1)) / sum(w) ** 2
    half = 1.959963984540054 * math.sqrt(variance)
    value = min(1, max(0, value))
    n, all_ = len(labelled), len(domain)
    c = variance / (1 / n - 1 / all_)
    aim = wished / 1.959963984540054
    needed = math.ceil(1 / (aim * aim / c + 1 / all_) - n) if variance > aim * aim else 0
    return {"value": value, "low": max(0, value - half), "high": min(1, value + half), "labels": n, "needed": needed}


def main(path):
    rows = make()
    out = {"seen": SEEN, "wished": 0.03, "rows": rows}
    for name, policy, aim in (("sizes", False, None), ("sizes_with_policy", True, None), ("sizes_aimed", True, 2)):
        out[name] = sizes(rows, policy, aim)
    place = [row["number"] / size for row, size in zip(rows, out["sizes"])]
    out["rates"] = [rate(rows, out["sizes"], place, *of, 0.03) for of in (({3}, 2), ({1}, 2), ({2, 3}, 1))]
    with open(path, "w") as file:
        json.dump(out, file, indent=1)
        file.write("\n")


main(sys.argv[1])
