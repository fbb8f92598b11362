#!/usr/bin/env python3
"""Steps per second of discrete CQL: Keel, PyTorch, d3rlpy; sampling included; on one thread and on two.

    cql_step.py BENCH_CQL_STEP [ROUNDS [SECONDS [KIND]]]    the program built from experiments/bench/bench_cql_step.c

All do one step of the same arithmetic on MLP(256, 256) in float32: double DQN target, Huber loss, alpha logsumexp
term, Adam, Polyak target; the batch is drawn out of 4096 transitions in memory. KIND "scalar" (the default, and what
ratios are judged by) has one head; "vector" has three, dropout 0.1 and weight decay (Keel's defaults). "autograd" and
"manual" are PyTorch by hand, gradients by autograd or written out; "d3rlpy" is what the loop of its fit() does each
step, sample_transition_batch and update, without fit's logging; it copies its target network now and then instead of
Polyak. "floor" is what bench_cql_step.c says: FLOPs of the products over the SGEMM rate of the same OpenBLAS.

Rounds are interleaved, every learner once in each; medians [least, most] are printed, and the ratio of Keel to each
as the median over rounds. One thread is timed by processor time, two by the clock. "CPUs": multiply-adds of two
threads over those of one, in the same round; rounds with fewer than 1.9 do not count for two threads, since then the
two CPUs were no two cores. OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE are taken out of the environment, so that OpenBLAS
chooses for this processor as PyTorch's own library does; KEEL_KERNEL=NAME sets the kernel again.
"""
import os
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


class Manual(Torch):
    """The same without autograd: products and gradients written out, as one would in NumPy. One head."""

    def step(self):
        with torch.no_grad():
            rows = torch.randint(ROWS, (self.batch,))
            y, action = self.targets(rows).squeeze(1), self.action[rows].unsqueeze(1)
            (w1, b1, w2, b2, w3, b3), x = self.online, self.state[rows]
            h1 = torch.addmm(b1, x, w1.t()).relu_()
            h2 = torch.addmm(b2, h1, w2.t()).relu_()
            q = torch.addmm(b3, h2, w3.t())
            dq = torch.softmax(q, 1).mul_(ALPHA / self.batch)
            td = (q.gather(1, action).squeeze(1) - y).clamp_(-1, 1).sub_(ALPHA).div_(self.batch)
            dq.scatter_add_(1, action, td.unsqueeze(1))
            d2 = (dq @ w3).mul_(h2 > 0)
            d1 = (d2 @ w2).mul_(h1 > 0)
            for p, g in zip(self.online, (d1.t() @ x, d1.sum(0), d2.t() @ h1, d2.sum(0), dq.t() @ h2, dq.sum(0))):
                p.grad = g
            self.optimizer.step()
            torch._foreach_lerp_(self.slow, self.online, TAU)


class D3rlpy:
    def __init__(self, features, acts, batch):
        import logging

        import d3rlpy
        import structlog
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
        ends = (np.arange(ROWS) % 64 == 63).astype(np.float32)
        generator = np.random.default_rng(1)
        self.data = d3rlpy.dataset.MDPDataset(
            generator.standard_normal((ROWS, features), dtype=np.float32),
            generator.integers(acts, size=(ROWS, 1)), generator.uniform(-1, 1, (ROWS, 1)).astype(np.float32), ends,
            action_space=d3rlpy.ActionSpace.DISCRETE, action_size=acts)
        config = d3rlpy.algos.DiscreteCQLConfig(batch_size=batch, alpha=ALPHA, learning_rate=RATE,
                                                encoder_factory=d3rlpy.models.VectorEncoderFactory([256, 256]))
        self.algo, self.batch = config.create(device="cpu:0"), batch
        self.algo.build_with_dataset(self.data)

    def step(self):
        self.algo.update(self.data.sample_transition_batch(self.batch))


class Keel:
    """The program, waiting between windows."""

    def __init__(self, program, kind, shape, threads):
        environment = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
        if kernel := os.environ.get("KEEL_KERNEL"):
            environment["OPENBLAS_CORETYPE"] = kernel
        self.process = subprocess.Popen([program, "ask", kind, *map(str, shape), str(threads)], env=environment,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def window(self, seconds):
        print(seconds, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline().split()
        if len(answer) != 4:
            sys.exit(f"{' '.join(self.process.args)}: no answer")
        steps, flops, cpus, step_flops = map(float, answer)
        return steps, flops / step_flops, cpus

    def close(self):
        self.process.communicate()


def rate(learner, threads, seconds):
    """Steps per second of a window; one step at least."""
    torch.set_num_threads(threads)
    clock = time.process_time if threads == 1 else time.perf_counter
    steps, start = 0, clock()
    while (spent := clock() - start) < seconds:
        learner.step()
        steps += 1
    return steps / spent


def learners(kind, shape):
    made = {"autograd": Torch(kind, *shape)}
    if kind == "scalar":
        made["manual"] = Manual(kind, *shape)
        try:
            made["d3rlpy"] = D3rlpy(*shape)
        except ImportError:
            pass
    return made


def spread(values):
    return f"{statistics.median(values):.0f} [{min(values):.0f}, {max(values):.0f}]" if values else "-"


def compare(program, kind, shape, rounds, seconds):
    peers = learners(kind, shape)
    keel = {threads: Keel(program, kind, shape, threads) for threads in (1, 2)}
    rows = {1: [], 2: []}
    for turn in range(rounds + 1):
        for threads in (1, 2):
            steps, floor, cpus = keel[threads].window(seconds)
            alone = steps if threads == 1 else alone
            row = {"Keel": steps, "floor": floor} | {n: rate(p, threads, seconds) for n, p in peers.items()}
            if turn and (threads == 1 or cpus >= 1.9):
                rows[threads].append(row | {"alone": alone})
    for process in keel.values():
        process.close()
    for threads, kept in rows.items():
        cells = "".join(f"  {spread([r[n] for r in kept]):>17}" for n in ("Keel", "floor", *peers))
        ratios = [f"{statistics.median(r['Keel'] / r[n] for r in kept):.2f} x {n}" for n in peers if kept]
        if threads == 1:
            ratios.insert(0, f"{statistics.median(r['Keel'] / r['floor'] for r in kept):.2f} of floor")
        elif kept:
            ratios.insert(0, f"{statistics.median(r['Keel'] / r['alone'] for r in kept):.2f} x one thread")
        print(f"{kind:6} {shape[0]:8} {shape[1]:4} {shape[2]:5} {threads:7} {len(kept):6}{cells}   {', '.join(ratios)}",
              flush=True)


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 5 or (kind := sys.argv[4] if len(sys.argv) > 4 else "scalar") not in KINDS:
        sys.exit("usage: cql_step.py BENCH_CQL_STEP [ROUNDS [SECONDS [scalar|vector]]]")
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 9
    seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 0.15
    torch.manual_seed(1)
    print(f"PyTorch {torch.__version__}; steps per second: median [least, most] of {rounds} interleaved rounds of "
          f"{seconds:g} s")
    print("kind   features acts batch threads rounds" +
          "".join(f"  {n:>17}" for n in ("Keel", "floor", *(["autograd", "manual", "d3rlpy"] if kind == "scalar" else
                                                           ["autograd"]))) + "   Keel is")
    for shape in SHAPES:
        compare(sys.argv[1], kind, shape, rounds, seconds)
