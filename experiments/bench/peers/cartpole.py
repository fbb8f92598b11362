#!/usr/bin/env python3
"""Keel's learners and d3rlpy's on the same logs of the pole on a cart: same data, same number of steps, same settings.

    pip install d3rlpy gymnasium
    cartpole.py BENCH_CARTPOLE CELLS [SEEDS [STEPS]]     CELLS: a file of what is known so far

Mean return of 100 fresh episodes (at most 500 each), mean over seeds with the 95 % t-interval. Settings: returns.py and
bench_cartpole.c. d3rlpy's BC keeps its default penalty on logits, which Keel's has not.
"""
import os
import subprocess
import sys
import tempfile

import gymnasium
import numpy as np

import returns

JUDGED = 100


def judge(algo, seed):
    """All episodes side by side, one prediction a step."""
    envs = [gymnasium.make("CartPole-v1") for _ in range(JUDGED)]
    states = np.array([env.reset(seed=1000 * seed + i)[0] for i, env in enumerate(envs)], dtype=np.float32)
    total, going = np.zeros(JUDGED), np.ones(JUDGED, bool)
    while going.any():
        actions = algo.predict(states)
        for i in np.flatnonzero(going):
            states[i], reward, ended, cut_off, _ = envs[i].step(int(actions[i]))
            total[i] += reward
            going[i] = not (ended or cut_off)
    return total.mean()


def theirs(path, name, seed, steps):
    rows = np.loadtxt(path, delimiter=",")
    data = returns.dataset(rows[:, :4], rows[:, 4], rows[:, 5], rows[:, 6], rows[:, 7])
    return {"return": judge(returns.train(name, data, seed, steps), seed)}


def ours(bench, path, name, seed, steps):
    return {"return": float(subprocess.run([bench, "train", path, name, str(seed), str(steps)], check=True,
                                           capture_output=True).stdout)}


def main():
    bench, cells = sys.argv[1], returns.Cells(sys.argv[2])
    seeds, steps = (int(x) for x in (sys.argv[3:] + ["5", "5000"][len(sys.argv) - 3:]))
    returns.heading()
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("random", "medium", "mixed"):
            for seed in range(1, seeds + 1):
                subprocess.run([bench, "log", kind, str(seed), os.path.join(folder, f"{kind}-{seed}")], check=True)
            for name in returns.LEARNERS:
                pairs = []
                for seed in range(1, seeds + 1):
                    case = os.path.join(folder, f"{kind}-{seed}"), name, seed, steps
                    pairs.append((cells.get(kind, name, seed, "keel", lambda: ours(bench, *case)),
                                  cells.get(kind, name, seed, "d3rlpy", lambda: theirs(*case))))
                returns.row(kind, name, pairs)


main()
