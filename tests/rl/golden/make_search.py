#!/usr/bin/env python3
"""Gaussian processes and expected improvements, by scikit-learn and mpmath.

    python3 tests/rl/golden/make_search.py tests/rl/golden/search.json

A Matern 5/2 kernel with a length scale for each dimension, a constant and white noise
(sklearn.gaussian_process), fitted to nothing: likelihood, its gradient by the logarithms of the scales, posterior mean
and standard deviation. The improvement is integrated numerically in 60 digits, not by its closed form.
"""
import json
import sys

import mpmath
import numpy as np
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel


def process(rng, n, dims, length, signal, noise):
    x = rng.uniform(size=(n, dims)).round(3)
    value = (10 + 3 * np.sin(5 * x[:, 0]) + x.sum(axis=1) + noise * rng.normal(size=n)).round(4)
    at = rng.uniform(size=(5, dims)).round(3)
    y = (value - value.mean()) / value.std()
    smooth = ConstantKernel(signal ** 2) * Matern(length_scale=length, nu=2.5)
    kernel = smooth + WhiteKernel(noise ** 2)
    model = GaussianProcessRegressor(kernel=kernel, alpha=1e-9, optimizer=None).fit(x, y)
    likelihood, gradient = model.log_marginal_likelihood(kernel.theta, eval_gradient=True)
    # theta is log signal^2, log length..., log noise^2; ours is log length..., log signal, log noise.
    gradient = list(gradient[1:-1]) + [2 * gradient[0], 2 * gradient[-1]]
    k = model.kernel_(x) + 1e-9 * np.eye(n)
    cross = model.kernel_.k1(at, x)
    mean = cross @ np.linalg.solve(k, y)
    variance = signal ** 2 - np.einsum("ij,ji->i", cross, np.linalg.solve(k, cross.T))
    return {"x": x.tolist(), "value": value.tolist(), "length": length, "signal": signal, "noise": noise,
            "likelihood": float(likelihood), "gradient": [float(g) for g in gradient], "at": at.tolist(),
            "mean": (value.mean() + value.std() * mean).tolist(), "sd": (value.std() * np.sqrt(variance)).tolist()}


def improvement(mean, sd, best):
    mean, sd, best = (mpmath.mpf(v) for v in (mean, sd, best))
    density = lambda f: mpmath.npdf(f, mean, sd)
    top = mpmath.mpf(max(best, mean))
    points = [mpmath.mpf(best)] + [top + sd * mpmath.mpf(2) ** k for k in range(-8, 6)]
    total = mpmath.quad(lambda f: (f - best) * density(f), points)
    feasible = mpmath.log(mpmath.ncdf((mean - best) / mpmath.mpf(sd)))
    return {"mean": float(mean), "sd": float(sd), "best": float(best), "log_improvement": float(mpmath.log(total)), "log_feasible": float(feasible)}


def main(path):
    mpmath.mp.dps = 60
    rng = np.random.default_rng(20261130)
    golden = {"processes": [process(rng, 7, 1, [0.3], 1.0, 0.1), process(rng, 25, 3, [0.2, 0.7, 1.5], 1.3, 0.05),
                            process(rng, 40, 5, [0.5, 1, 2, 0.4, 3], 0.8, 0.4)],
              "improvements": [improvement(*row) for row in [(1, 1, 0), (0, 1, 1), (0, 0.5, 3), (-2, 0.25, 1),
                                                             (0, 0.1, 1.9), (0, 0.1, 2.1), (5, 0.01, 1), (0, 1, 35)]]}
    with open(path, "w") as out:
        json.dump(golden, out, indent=1)
        out.write("\n")


main(sys.argv[1])
