"""What the comparisons of returns share: d3rlpy's learners under the settings both sides get, cells kept in a file so
that a run that was stopped goes on, and the table of means over seeds with 95 % t-intervals."""
import json
import os

import d3rlpy
import numpy as np
import scipy.stats
import structlog
import torch

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))  # d3rlpy logs to stdout

LEARNERS = ("cql", "dqn", "bc")
BATCH, RATE, INTERVAL, GAMMA, ALPHA = 64, 1e-3, 500, 0.99, 1.0  # the network is d3rlpy's default: two layers of 256


def train(name, data, seed, steps):
    d3rlpy.seed(seed)
    torch.set_num_threads(1)
    common = {"batch_size": BATCH, "learning_rate": RATE}
    critic = common | {"gamma": GAMMA, "target_update_interval": INTERVAL}
    config = {"bc": lambda: d3rlpy.algos.DiscreteBCConfig(**common),
              "dqn": lambda: d3rlpy.algos.DoubleDQNConfig(**critic),
              "cql": lambda: d3rlpy.algos.DiscreteCQLConfig(alpha=ALPHA, **critic)}[name]()
    algo = config.create(device="cpu:0")
    algo.fit(data, n_steps=steps, n_steps_per_epoch=steps, show_progress=False,
             logger_adapter=d3rlpy.logging.NoopAdapterFactory())
    return algo


def dataset(state, action, reward, terminal, timeout):
    return d3rlpy.dataset.MDPDataset(state.astype(np.float32), action.astype(np.int32), reward.astype(np.float32),
                                     terminals=terminal.astype(np.float32), timeouts=timeout.astype(np.float32),
                                     action_space=d3rlpy.ActionSpace.DISCRETE, action_size=int(action.max()) + 1)


class Cells:
    """{metric: value} of each (log, learner, seed, side), a line of JSON in the file as soon as it is known."""

    def __init__(self, path):
        self.path, self.known = path, {}
        for line in open(path) if os.path.exists(path) else ():
            *key, value = json.loads(line)
            self.known[tuple(key)] = value

    def get(self, log, learner, seed, side, make):
        key = (log, learner, seed, side)
        if key not in self.known:
            self.known[key] = make()
            with open(self.path, "a") as file:
                file.write(json.dumps([*key, self.known[key]]) + "\n")
        return self.known[key]


def interval(values):
    values = np.array(values)
    half = scipy.stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():.3f} [{values.mean() - half:.3f}, {values.mean() + half:.3f}]"


def heading():
    print(f"{'log':8} {'learner':8} {'metric':18} {'Keel':>27} {'d3rlpy':>27}")


def row(log, learner, pairs):
    """pairs: one (Keel's metrics, d3rlpy's metrics) a seed."""
    for metric in pairs[0][0]:
        mine, theirs = ([side[metric] for side in sides] for sides in zip(*pairs))
        print(f"{log:8} {learner:8} {metric:18} {interval(mine):>27} {interval(theirs):>27}", flush=True)
