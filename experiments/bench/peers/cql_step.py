#!/usr/bin/env python3
"""Steps per second of discrete CQL: Keel, PyTorch, d3rlpy; one thread each, sampling included.

    cql_step.py BENCH_CQL_STEP [ROUNDS [SECONDS]]      the program built from experiments/bench/bench_cql_step.c

All do one step of the same arithmetic on MLP(256, 256) in float32: double DQN target, Huber loss, alpha logsumexp
term, Adam, Polyak target; the batch is drawn out of 4096 transitions in memory. "scalar" has one head; "vector" has
three, dropout 0.1 and weight decay (Keel's defaults). d3rlpy, if it is installed, runs its own DiscreteCQL.fit, which
differs in copying its target network now and then instead of Polyak. Rounds are interleaved and medians taken; what
counts is processor time, so a busy machine blurs the figures but does not favour any. OPENBLAS_CORETYPE reaches Keel.
"""
import statistics
import subprocess
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

SHAPES = ((32, 12, 32), (32, 12, 256), (64, 12, 256), (384, 16, 256), (384, 16, 1024))
KINDS = {"scalar": 1, "vector": 3}
WEIGHT = torch.tensor([0.6, 0.3, 0.1])
ROWS, ALPHA, GAMMA, TAU, RATE = 4096, 0.1, 0.99, 0.005, 1e-3


class Torch:
    """One learner by autograd; fused AdamW and a fused Polyak step, the fastest that PyTorch offers eagerly."""

    def __init__(self, kind, features, acts, batch):
        self.heads, self.acts, self.batch = KINDS[kind], acts, batch
        drop = (lambda: [nn.Dropout(0.1)]) if kind == "vector" else (lambda: [])
        layers = [nn.Linear(features, 256), nn.ReLU(), *drop(), nn.Linear(256, 256), nn.ReLU(), *drop(),
                  nn.Linear(256, self.heads * acts)]
        self.net = nn.Sequential(*layers)
        self.target = nn.Sequential(*(nn.Linear(x.in_features, x.out_features) if isinstance(x, nn.Linear) else
                                      nn.ReLU() for x in layers if not isinstance(x, nn.Dropout)))
        self.online = [p for p in self.net.parameters()]
        self.slow = [p.requires_grad_(False) for p in self.target.parameters()]
        self.optimizer = torch.optim.AdamW(self.online, lr=RATE, weight_decay=0.01 if kind == "vector" else 0,
                                           fused=True)
        self.state, self.next = torch.randn(ROWS, features), torch.randn(ROWS, features)
        self.reward = 2 * torch.rand(ROWS, self.heads) - 1
        self.action = torch.randint(acts, (ROWS,))
        self.live = (torch.arange(ROWS) % 64 != 63).float()
        self.mix = WEIGHT if self.heads == 3 else torch.ones(1)

    def composite(self, q):
        return q[:, 0] if self.heads == 1 else torch.einsum("bka,k->ba", q, self.mix)

    def targets(self, rows):
        shape = (self.batch, self.heads, self.acts)
        with torch.no_grad():
            self.net.eval()
            best = self.composite(self.net(self.next[rows]).view(shape)).argmax(1)
            self.net.train()
            q = self.target(self.next[rows]).view(shape)
            q = q.gather(2, best.view(-1, 1, 1).expand(-1, self.heads, 1)).squeeze(2)
            return self.reward[rows] + GAMMA * self.live[rows].unsqueeze(1) * q

    def step(self):
        rows = torch.randint(ROWS, (self.batch,))
        y, action = self.targets(rows), self.action[rows]
        q = self.net(self.state[rows]).view(self.batch, self.heads, self.acts)
        taken = q.gather(2, action.view(-1, 1, 1).expand(-1, self.heads, 1)).squeeze(2)
        q_w = self.composite(q)
        gap = (torch.logsumexp(q_w, 1) - q_w.gather(1, action.unsqueeze(1)).squeeze(1)).mean()
        loss = F.huber_loss(taken, y, reduction="sum") / self.batch + ALPHA * gap
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(self.slow, self.online, TAU)

    def rate(self, seconds):
        for _ in range(8):
            self.step()
        steps, start = 0, time.process_time()
        while (spent := time.process_time() - start) < seconds:
            for _ in range(8):
                self.step()
            steps += 8
        return steps / spent


class D3rlpy:
    def __init__(self, kind, features, acts, batch):
        import d3rlpy
        import structlog
        import logging
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
        if kind != "scalar":
            raise ValueError("d3rlpy has one head")
        ends = (np.arange(ROWS) % 64 == 63).astype(np.float32)
        generator = np.random.default_rng(1)
        self.data = d3rlpy.dataset.MDPDataset(
            generator.standard_normal((ROWS, features), dtype=np.float32),
            generator.integers(acts, size=(ROWS, 1)), generator.uniform(-1, 1, (ROWS, 1)).astype(np.float32), ends,
            action_space=d3rlpy.ActionSpace.DISCRETE, action_size=acts)
        config = d3rlpy.algos.DiscreteCQLConfig(batch_size=batch, alpha=ALPHA,
                                                encoder_factory=d3rlpy.models.VectorEncoderFactory([256, 256]))
        self.algo, self.quiet = config.create(device="cpu:0"), d3rlpy.logging.NoopAdapterFactory()
        self.steps = 20

    def fit(self):
        start = time.process_time()
        self.algo.fit(self.data, n_steps=self.steps, n_steps_per_epoch=self.steps, show_progress=False,
                      logger_adapter=self.quiet, experiment_name="bench", with_timestamp=False)
        return self.steps / (time.process_time() - start)

    def rate(self, seconds):
        self.steps = max(20, int(seconds * self.fit()))
        return self.fit()


class Keel:
    def __init__(self, program, kind, shape):
        self.command = [program, "1", "", kind, *map(str, shape), "1"]

    def rate(self, seconds):
        self.command[2] = str(seconds)
        done = subprocess.run(self.command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(self.command)}: {done.stderr.strip()}")
        return float(done.stdout.split()[5])


def learners(program, kind, shape):
    made = {"Keel": Keel(program, kind, shape), "PyTorch": Torch(kind, *shape)}
    try:
        made["d3rlpy"] = D3rlpy(kind, *shape)
    except (ImportError, ValueError):
        pass
    return made


def compare(program, kind, shape, rounds, seconds):
    made = learners(program, kind, shape)
    rates = {name: [] for name in made}
    for _ in range(rounds):
        for name, learner in made.items():
            rates[name].append(learner.rate(seconds))
    middle = {name: statistics.median(r) for name, r in rates.items()}
    cells = "".join(f"  {f'{middle[n]:.0f} [{min(r):.0f}, {max(r):.0f}]':>20}" for n, r in rates.items())
    ratios = "  ".join(f"{middle['Keel'] / middle[n]:.2f} x {n}" for n in middle if n != "Keel")
    print(f"{kind:6} {shape[0]:8} {shape[1]:4} {shape[2]:5}{cells}   Keel = {ratios}", flush=True)


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 4:
        sys.exit("usage: cql_step.py BENCH_CQL_STEP [ROUNDS [SECONDS]]")
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 7
    seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 0.3
    torch.set_num_threads(1)
    torch.manual_seed(1)
    print(f"PyTorch {torch.__version__}, one thread each; steps per second of processor time: median [least, most] of "
          f"{rounds} interleaved rounds of {seconds:g} s")
    print("kind   features acts batch" + "".join(f"  {n:>20}" for n in ("Keel", "PyTorch", "d3rlpy (scalar)")))
    for kind in KINDS:
        for shape in SHAPES:
            compare(sys.argv[1], kind, shape, rounds, seconds)
