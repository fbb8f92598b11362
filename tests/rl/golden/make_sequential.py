#!/usr/bin/env python3
"""Sequential tests and what tables of experiments need, in another way than rl/judge/sequential.c has it.

    python3 tests/rl/golden/make_sequential.py tests/rl/golden/sequential.json

NumPy and SciPy. The mixture of the mSPRT is integrated numerically over its normal prior, its confidence sequence is
found by bisection, and so is the asymptotic one's boundary as the mixture of a Brownian motion; chi-squared tails and
adjusted p-values are SciPy's. The empirical Bernstein sequence is computed on whole arrays. Inputs are made up by NumPy's
generator (seed 16).
"""
import json
import sys

import numpy as np
from scipy import integrate, optimize, stats


def log_ratio(n, d, v, tau2):
    """log of E over theta ~ N(0, tau2) of the likelihood ratio of theta against 0 for a mean d of variance v / n."""
    s2 = v / n
    centre, width = d * tau2 / (tau2 + s2), np.sqrt(tau2 * s2 / (tau2 + s2))
    f = lambda t: stats.norm.logpdf(t, 0, np.sqrt(tau2)) + (d * t - t * t / 2) / s2
    inside = lambda t: np.exp(f(t) - f(centre))
    half = lambda sign: integrate.quad(inside, *sorted((centre, centre + sign * 12 * width)), epsabs=0, epsrel=1e-11)[0]
    return f(centre) + np.log(half(-1) + half(1))


def msprt_half(n, v, tau2, alpha):
    return optimize.brentq(lambda d: log_ratio(n, d, v, tau2) + np.log(alpha), 0, 3, xtol=1e-14)


def asymptotic_half(s, n, r, alpha):
    """The smallest mean at which the normal mixture of the sum, prior variance r^2, reaches 1 / alpha."""
    log_mixture = lambda z: r * r * z * z / (2 * (n * r * r + 1)) - np.log(n * r * r + 1) / 2
    z = optimize.brentq(lambda z: log_mixture(z) + np.log(alpha), 0, 1e6, xtol=1e-10)
    return s * z / n


def bernstein_low(x, a):
    t = np.arange(1, len(x) + 1)
    around = (0.5 + np.cumsum(x)) / (t + 1)
    variance = (0.25 + np.cumsum((x - around) ** 2)) / (t + 1)
    before = np.append(0.25, variance[:-1])
    lam = np.minimum(np.sqrt(2 * np.log(1 / a) / (t * np.log(1 + t) * before)), 0.5)
    mean = np.append(0, np.cumsum(x)[:-1] / t[:-1])
    slack = (np.log(1 / a) + np.cumsum((x - mean) ** 2 * (-np.log(1 - lam) - lam))) / np.cumsum(lam)
    return np.maximum(np.cumsum(lam * x) / np.cumsum(lam) - slack, 0)


def make():
    rng = np.random.default_rng(16)
    out = {"ratio": [], "msprt": [], "asymptotic": [], "bernstein": [], "chi": [], "sample_ratio": []}
    for n, d, v, tau2 in [(1000, 0.05, 0.5, 0.01), (50, -0.2, 0.4, 0.0025), (7, 0.4, 0.1, 0.01), (20000, 0.01, 0.18, 0.0009)]:
        out["ratio"].append({"in": [n, d, v, tau2], "out": np.exp(log_ratio(n, d, v, tau2))})
        out["msprt"].append({"in": [n, v, tau2, 0.05], "out": msprt_half(n, v, tau2, 0.05)})
    for s, n, r, alpha in [(0.5, 1000, 0.1, 0.05), (0.3, 30, 0.1, 0.01), (0.2, 100000, 0.02, 0.05)]:
        out["asymptotic"].append({"in": [s, n, r, alpha], "out": asymptotic_half(s, n, r, alpha)})
    for p, n in [(0.97, 400), (0.5, 60), (1.0, 40)]:
        x = np.round((rng.random(n) < p) * rng.choice([1, 0.5, 0.9], n), 2)
        at = [1, 2, 10, n]
        low, high = bernstein_low(x, 0.025), 1 - bernstein_low(1 - x, 0.025)
        out["bernstein"].append({"x": x.tolist(), "alpha": 0.05, "at": at, "low": [low[i - 1] for i in at],
                                 "high": [high[i - 1] for i in at]})
    for x, k in [(3.84, 1), (10.828, 1), (0.3, 2), (7.5, 3), (25, 8), (40, 15)]:
        out["chi"].append({"in": [x, k], "out": stats.chi2.sf(x, k)})
    for counts, share in [([520, 480], [0.5, 0.5]), ([5300, 4700], [0.5, 0.5]), ([880, 60, 60], [0.9, 0.05, 0.05])]:
        expected = (np.array(share) * sum(counts)).tolist()
        out["sample_ratio"].append({"counts": counts, "expected": expected, "out": stats.chisquare(counts, expected).pvalue})
    strata = []
    for _ in range(6):
        n1, n0 = (int(v) for v in rng.integers(2, 40, 2))
        x1, x0 = (rng.random(n1) < 0.7).astype(float), (rng.random(n0) < 0.5).astype(float)
        strata.append([x1, x0])
    weight = np.array([len(a) + len(b) for a, b in strata])
    share = weight / weight.sum()
    rows = [[len(a), len(b), a.mean(), b.mean(), a.var(ddof=1), b.var(ddof=1)] for a, b in strata]
    post = sum(w * (a.mean() - b.mean()) for w, (a, b) in zip(share, strata))
    spread = sum(w ** 2 * (a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b)) for w, (a, b) in zip(share, strata))
    top = sum((a.sum() * len(b) - b.sum() * len(a)) / (len(a) + len(b)) for a, b in strata)
    low = sum(len(a) * len(b) / (len(a) + len(b)) for a, b in strata)
    L = sum((a.sum() * (1 - a).sum() * len(b) ** 3 + b.sum() * (1 - b).sum() * len(a) ** 3)
            / (len(a) * len(b) * (len(a) + len(b)) ** 2) for a, b in strata)
    out["strata"] = {"rows": rows, "post": post, "post_variance": spread, "mh": top / low, "mh_variance": L / low ** 2}
    p = np.round(np.concatenate([rng.random(12), rng.random(8) * 0.02]), 5)
    out["bh"] = {"p": p.tolist(), "rejected": [bool(q <= 0.05) for q in stats.false_discovery_control(p)]}
    e = np.round(np.exp(rng.normal(1, 3, 20)), 4)
    k = max((k for k in range(1, 21) if np.sort(e)[::-1][k - 1] >= 20 / (k * 0.05)), default=0)
    out["ebh"] = {"e": e.tolist(), "rejected": [bool(v >= (np.sort(e)[::-1][k - 1] if k else np.inf)) for v in e]}
    return out


json.dump(make(), open(sys.argv[1], "w"), indent=1)
