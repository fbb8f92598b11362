#!/usr/bin/env python3
"""Keel's learners and d3rlpy's on the same logs of the pole on a cart: same data, same number of steps, same settings.

    pip install d3rlpy gymnasium
    cartpole.py BENCH_CARTPOLE [SEEDS [STEPS]]

Mean return of 100 fresh episodes (at most 500 each), mean over seeds with the 95 % t-interval. Settings of both: two hidden
layers of 256, Adam at 1e-3, batches of 64, target copied every 500 steps, discount 0.99, alpha 1.
"""
import os
import subprocess
import sys
import tempfile

import d3rlpy
import gymnasium
import numpy as np
import scipy.stats
import torch

JUDGED, BATCH, RATE, INTERVAL = 100, 64, 1e-3, 500


def learner(name):
    common = {"batch_size": BATCH, "learning_rate": RATE}
    if name == "bc":
        return d3rlpy.algos.DiscreteBCConfig(**common).create(device="cpu:0")
    common |= {"gamma": 0.99, "target_update_interval": INTERVAL}
    if name == "dqn":
        return d3rlpy.algos.DoubleDQNConfig(**common).create(device="cpu:0")
    return d3rlpy.algos.DiscreteCQLConfig(alpha=1.0, **common).create(device="cpu:0")


def dataset(path):
    rows = np.loadtxt(path, delimiter=",")
    return d3rlpy.dataset.MDPDataset(rows[:, :4].astype(np.float32), rows[:, 4].astype(np.int32), rows[:, 5].astype(np.float32),
                                     terminals=rows[:, 6].astype(np.float32), timeouts=rows[:, 7].astype(np.float32))


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


def peer(path, name, seed, steps):
    d3rlpy.seed(seed)
    algo = learner(name)
    algo.fit(dataset(path), n_steps=steps, n_steps_per_epoch=steps, show_progress=False,
             logger_adapter=d3rlpy.logging.NoopAdapterFactory())
    return judge(algo, seed)


def ours(bench, path, name, seed, steps):
    return float(subprocess.run([bench, "train", path, name, str(seed), str(steps)], check=True, capture_output=True).stdout)


def interval(values):
    values = np.array(values)
    half = scipy.stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():6.1f} [{values.mean() - half:6.1f}, {values.mean() + half:6.1f}]"


def main():
    bench = sys.argv[1]
    seeds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    steps = int(sys.argv[3]) if len(sys.argv) > 3 else 5000
    torch.set_num_threads(1)
    print(f"{'log':8} {'learner':8} {'Keel':>24} {'d3rlpy':>24}   ({seeds} seeds, {steps} steps)")
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("random", "medium", "mixed"):
            for name in ("cql", "dqn", "bc"):
                mine, theirs = [], []
                for seed in range(1, seeds + 1):
                    path = os.path.join(folder, f"{kind}-{seed}.csv")
                    if not os.path.exists(path):
                        subprocess.run([bench, "log", kind, str(seed), path], check=True)
                    mine.append(ours(bench, path, name, seed, steps))
                    theirs.append(peer(path, name, seed, steps))
                print(f"{kind:8} {name:8} {interval(mine):>24} {interval(theirs):>24}", flush=True)


main()
