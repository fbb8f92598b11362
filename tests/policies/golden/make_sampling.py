"""Golden draws for policies/transformer/sampling.h: logits, parameters, a uniform number, and what is drawn, straight from the definition.

    pip install numpy && python make_sampling.py      (made with 2.4)

A case whose uniform number lies within 1e-5 of the border between two tokens is drawn anew, and so is one where a probability is that near to where
top-p or min-p cuts: there float32 may round to either side.
"""
import json
import os

import numpy as np

here = os.path.dirname(os.path.abspath(__file__))
rng = np.random.default_rng(15)
EDGE = 1e-5


def draw(logits, text, u, temperature, top_k, top_p, min_p, penalty):
    """id, ln of the probability with which it is drawn, or None where it is too near to a border."""
    x = np.array(logits, dtype=np.float64)
    for i in set(text):
        x[i] = x[i] / penalty if x[i] > 0 else x[i] * penalty
    if temperature == 0:
        best = int(np.flatnonzero(x == x.max())[0])
        return best, 0.0
    p = np.exp((x - x.max()) / temperature)
    order = sorted((i for i in range(len(p)) if p[i] > 0), key=lambda i: (-p[i], i))
    if top_k:
        order = order[:top_k]
    if top_p < 1:
        cumulative = np.cumsum(p[order]) / p[order].sum()
        if np.abs(cumulative - top_p).min() < EDGE:
            return None
        order = order[:int(np.argmax(cumulative >= top_p)) + 1]
    if min_p and np.abs(p / p.max() - min_p).min() < EDGE:
        return None
    kept = sorted(i for i in order if p[i] >= min_p * p.max())
    cumulative = np.cumsum(p[kept]) / p[kept].sum()
    if np.abs(cumulative - u).min() < EDGE:
        return None
    one = kept[int(np.argmax(cumulative > u))]
    return one, np.log(p[one] / p[kept].sum())


cases = []
while len(cases) < 400:
    n = int(rng.integers(1, 60))
    logits = (rng.normal(size=n) * rng.choice([0.5, 3, 12])).round(3)
    if n > 3 and rng.random() < 0.3:  # equals, and what is no token
        logits[rng.integers(n)] = logits[rng.integers(n)] = logits.max()
        logits = np.where(rng.random(n) < 0.1, -np.inf, logits)
        logits[0] = 1
    logits = logits.astype(np.float32)
    text = [int(i) for i in rng.integers(0, n, size=rng.integers(0, 6))]
    case = dict(u=round(float(rng.random()), 9), temperature=float(rng.choice([0, 0.3, 1, 1, 2])), top_k=int(rng.choice([0, 0, 1, 3, 40])), top_p=float(rng.choice([1, 0.9, 0.5, 0.05])),
                min_p=float(rng.choice([0, 0, 0.05, 0.5])), penalty=float(rng.choice([1, 1.3, 0.7])))
    found = draw(logits, text, **case)
    if found is None:
        continue
    cases.append(dict(case, logits=[None if np.isinf(v) else round(float(v), 3) for v in logits], text=text, id=found[0], log_prob=round(float(found[1]), 7)))
with open(os.path.join(here, "sampling.json"), "w") as file:
    file.write("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
