#!/usr/bin/env python3
"""Rates corrected for a judge's error, in double precision, with the standard library alone.

    python3 tests/rl/golden/make_corrected.py tests/rl/golden/corrected.json

Rogan and Gladen 1978 and prediction-powered inference (Angelopoulos et al. 2023): of the judge's labels f on
answers that it alone labelled, and of labels f and y (by a human) on others. The standard errors are those of
the same samples given `copies` times; y and f of Rogan-Gladen by the delta method.
"""
import json
import math
import statistics
import sys

COPIES = 40


def rogan_gladen(f_alone, y, f):
    hits = [b for a, b in zip(y, f) if a]
    none = [1 - b for a, b in zip(y, f) if not a]
    tpr, tnr = statistics.fmean(hits), statistics.fmean(none)
    observed = statistics.fmean(f_alone)
    slope = tpr + tnr - 1
    rate = (observed + tnr - 1) / slope
    variance = (observed * (1 - observed) / (COPIES * len(f_alone)) + (rate * rate) * tpr * (1 - tpr) / (COPIES * len(hits))
                + (1 - rate) ** 2 * tnr * (1 - tnr) / (COPIES * len(none))) / slope ** 2
    return rate, math.sqrt(variance)


def prediction_powered(f_alone, y, f):
    off = [a - b for a, b in zip(y, f)]
    rate = statistics.fmean(f_alone) + statistics.fmean(off)
    once = statistics.variance(f_alone) / len(f_alone) + statistics.variance(off) / len(off)
    copied = statistics.pvariance(f_alone) / (COPIES * len(f_alone)) + statistics.pvariance(off) / (COPIES * len(off))
    return rate, once, math.sqrt(copied)


def main(path):
    f_alone, y, f = [1, 1, 0, 1, 0, 0, 1, 0, 1, 1], [1, 0, 1, 1, 0], [1, 0, 0, 1, 1]
    z_alone, z, g = [1, 0, 1, 0, 1, 0, 1, 1, 0, 0], [1, 1, 1, 1, 1, 0, 0, 0, 0, 1], [1, 1, 1, 1, 0, 0, 0, 0, 1, 1]
    rate, once, copied = prediction_powered(f_alone, y, f)
    rg, rg_error = rogan_gladen(z_alone, z, g)
    out = {
        "rogan_gladen": {"observed": .62, "tpr": .90, "tnr": .95, "rate": (.62 + .95 - 1) / (.90 + .95 - 1)},
        "copies": COPIES,
        "ppi": {"f_alone": f_alone, "y": y, "f": f, "rate": rate, "variance": once, "error_of_copies": copied},
        "sample": {"f_alone": z_alone, "y": z, "f": g, "rate": rg, "error_of_copies": rg_error,
                   "ppi": prediction_powered(z_alone, z, g)[0]},
    }
    with open(path, "w", encoding="utf8") as file:
        json.dump(out, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
