#!/usr/bin/env python3
"""Golden numbers of learning from ordinary logs, in double precision; the standard library alone.

    python3 tests/rl/golden/make_ordinary.py > tests/rl/golden/ordinary.h

One decision a row: the value of what was taken, and of three answers of other conversations.
negatives:  log(e^taken + (m / 3) sum_j e^other_j) - taken
calibrated: the same with max(other_j, v) for other_j (Nakamoto et al. 2023, 2303.05479), and the derivatives of
            the mean of both rows by each value, by central differences.
cost:       the cost critic's term, log(e^-taken + (m / 2) sum_j e^-min(other_j, 1)) + taken, and the derivatives
            of the mean of both rows, likewise
dual:       the multiplier of a constraint, step by step: min(limit, max(0, lambda + rate (harm - bound)))
p:          P(Binomial(400, 0.02) <= harms), with exact binomial coefficients
"""
import math

TAKEN = [0.4, -0.2]
OTHER = [[0.1, 0.9, -0.5], [0.3, -0.4, 0.2]]
M = 6.0
V = [0.5, 0.1]
STEP = 1e-6


def term(taken, other):
    return math.log(math.exp(taken) + M / len(other) * sum(map(math.exp, other))) - taken


def calibrated(taken, other, v):
    return term(taken, [max(o, v) for o in other])


def mean(taken, other):
    return sum(calibrated(t, o, v) for t, o, v in zip(taken, other, V)) / len(taken)


def slope(i, j):
    """By TAKEN[i] (j None) or OTHER[i][j]."""
    ends = []
    for by in (STEP, -STEP):
        taken, other = list(TAKEN), [list(row) for row in OTHER]
        if j is None:
            taken[i] += by
        else:
            other[i][j] += by
        ends.append(mean(taken, other))
    return (ends[0] - ends[1]) / (2 * STEP)


COST_TAKEN = [0.1, 0.3]
COST_OTHER = [[0.0, 0.8], [1.7, 0.5]]
COST_M = 2.0


def cost(taken, other):
    others = sum(math.exp(-min(o, 1)) for o in other)
    return math.log(math.exp(-taken) + COST_M / len(other) * others) + taken


def cost_slope(i, j):
    ends = []
    for by in (STEP, -STEP):
        taken, other = list(COST_TAKEN), [list(row) for row in COST_OTHER]
        if j is None:
            taken[i] += by
        else:
            other[i][j] += by
        ends.append(sum(map(cost, taken, other)) / len(taken))
    return (ends[0] - ends[1]) / (2 * STEP)


HARM = [0.01, 0.25, 0.1, 0.4, 0.0, 0.02, 0.0, 0.7]
RATE, BOUND, LIMIT = 0.5, 0.02, 0.3


def dual():
    multiplier, path = 0.0, []
    for harm in HARM:
        multiplier = min(LIMIT, max(0.0, multiplier + RATE * (harm - BOUND)))
        path.append(multiplier)
    return path


HARMS = [0, 1, 2, 3, 5, 9]


def p_value(harms, n=400, bound=0.02):
    return math.fsum(math.comb(n, k) * bound**k * (1 - bound) ** (n - k) for k in range(harms + 1))


def show(name, values):
    print("static const double %s[] = {%s};" % (name, ", ".join("%.9g" % (v if abs(v) > 1e-9 else 0) for v in values)))


print("/* Made by make_ordinary.py: do not edit. */")
print("/* clang-format off */")
show("golden_taken", TAKEN)
show("golden_other", [o for row in OTHER for o in row])
show("golden_v", V)
print("static const double golden_m = %g;" % M)
show("golden_negatives", [term(t, o) for t, o in zip(TAKEN, OTHER)])
show("golden_calibrated", [calibrated(t, o, v) for t, o, v in zip(TAKEN, OTHER, V)])
show("golden_slope_other", [slope(i, j) for i in range(2) for j in range(3)])
show("golden_slope_taken", [slope(i, None) for i in range(2)])
show("golden_cost_taken", COST_TAKEN)
show("golden_cost_other", [o for row in COST_OTHER for o in row])
print("static const double golden_cost_m = %g;" % COST_M)
show("golden_cost", [cost(t, o) for t, o in zip(COST_TAKEN, COST_OTHER)])
show("golden_cost_slope_other", [cost_slope(i, j) for i in range(2) for j in range(2)])
show("golden_cost_slope_taken", [cost_slope(i, None) for i in range(2)])
show("golden_dual_harm", HARM)
print("static const double golden_dual_rate = %g, golden_dual_bound = %g, golden_dual_limit = %g;" % (RATE, BOUND, LIMIT))
show("golden_dual", dual())
show("golden_p", [p_value(k) for k in HARMS])
print("static const size_t golden_harms[] = {%s};" % ", ".join(map(str, HARMS)))
