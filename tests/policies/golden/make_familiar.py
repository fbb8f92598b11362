#!/usr/bin/env python3
"""Distances between sparse places and the threshold of what is unfamiliar, in double precision, with the standard
library alone. Prints familiar.h.

    python3 tests/policies/golden/make_familiar.py > tests/policies/golden/familiar.h

States are vectors over 12 dimensions; the distance is 1 - cos to the nearest. The threshold is the
ceil(0.99 (n + 1))-th smallest, or the largest, of the distances of each state to the nearest of another group.
"""
import math
import random

DIMENSIONS, STATES, QUERIES = 12, 130, 3


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b)) / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(y * y for y in b))


def table(name, rows):
    print(f"static const double {name}[{len(rows)}][{DIMENSIONS}] = {{")
    for row in rows:
        print("    {" + ", ".join(f"{x:g}" for x in row) + "},")
    print("};")


draw = random.Random(7)
vectors = [[draw.randint(1, 9) if draw.random() < 0.3 else 0 for _ in range(DIMENSIONS)] for _ in range(STATES + QUERIES)]
for i, vector in enumerate(vectors):
    vector[i % DIMENSIONS] = vector[i % DIMENSIONS] or 1
states, queries = vectors[:STATES], vectors[STATES:]
groups = [i // 2 for i in range(STATES)]
apart = sorted(1 - max(cosine(a, b) for b, h in zip(states, groups) if h != g) for a, g in zip(states, groups))
print("/* Made by make_familiar.py. */")
print("/* clang-format off */")
table("familiar_states", states)
table("familiar_queries", queries)
print(f"static const double familiar_threshold = {apart[min(STATES, math.ceil(0.99 * (STATES + 1))) - 1]:.12f};")
print("static const double familiar_distances[] = {" +
      ", ".join(f"{1 - max(cosine(q, s) for s in states):.12f}" for q in queries) + "};")
