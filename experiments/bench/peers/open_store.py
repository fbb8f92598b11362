#!/usr/bin/env python3
"""Getting ready to train on a log in a file: Keel's bench_open beside d3rlpy's MDPDataset saving and loading the same.

    open_store.py BENCH_OPEN [TRANSITIONS [TURNS]]     the program built from experiments/bench/bench_open.c

1,000,000 transitions of 64 features, 12 acts, in episodes of TURNS (20): d3rlpy keeps each apart, so short ones cost it
more. d3rlpy: dump() once, then ReplayBuffer.load() and a first
minibatch of 256, then 100 more, once each. Ratios are d3rlpy's seconds over Keel's medians.
"""
import subprocess
import sys
import tempfile
import time

import numpy as np
import d3rlpy
from d3rlpy.dataset import InfiniteBuffer, MDPDataset, ReplayBuffer

FEATURES, ACTS, BATCH = 64, 12, 256


def made(transitions, turns):
    generator = np.random.default_rng(1)
    ends = (np.arange(transitions) % turns == turns - 1).astype(np.float32)
    return MDPDataset(generator.standard_normal((transitions, FEATURES), dtype=np.float32),
                      generator.integers(ACTS, size=(transitions, 1)),
                      generator.uniform(-1, 1, (transitions, 1)).astype(np.float32), ends,
                      action_space=d3rlpy.ActionSpace.DISCRETE, action_size=ACTS)


def d3rlpy_seconds(transitions, turns):
    """Seconds to save, to load and draw one minibatch, and for 100 more."""
    data, marks = made(transitions, turns), []
    with tempfile.NamedTemporaryFile(suffix=".h5") as file:
        marks.append(time.perf_counter())
        with open(file.name, "w+b") as out:
            data.dump(out)
        del data
        marks.append(time.perf_counter())
        with open(file.name, "rb") as stored:
            loaded = ReplayBuffer.load(stored, InfiniteBuffer())
        loaded.sample_transition_batch(BATCH)
        marks.append(time.perf_counter())
        for _ in range(100):
            loaded.sample_transition_batch(BATCH)
        marks.append(time.perf_counter())
    return [after - before for before, after in zip(marks, marks[1:])]


def keel_seconds(program, transitions, turns):
    """{memory: (seconds to the first minibatch, of 100 more)}, medians."""
    text = subprocess.run([program, str(transitions), str(turns)], check=True, capture_output=True, text=True).stdout
    print(text, end="")
    found = {}
    for line in text.splitlines()[1:]:
        words = line[8:].replace("[", "").replace("]", "").replace(",", "").split()
        found[line[:8].strip()] = float(words[1]), float(words[4])
    return found


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 4:
        sys.exit("usage: open_store.py BENCH_OPEN [TRANSITIONS [TURNS]]")
    transitions = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    turns = int(sys.argv[3]) if len(sys.argv) > 3 else 20
    keel = keel_seconds(sys.argv[1], transitions, turns)
    saved, ready, drawn = d3rlpy_seconds(transitions, turns)
    print(f"d3rlpy {d3rlpy.__version__}: saved in {saved:.1f} s, loaded and one minibatch in {ready:.1f} s, "
          f"100 more in {drawn:.3f} s")
    for memory, (first, more) in keel.items():
        print(f"Keel, memory {memory}: {ready / first:.1f} times as fast to the first minibatch "
              f"({(saved + ready) / first:.1f} with saving), {drawn / more:.1f} times for the others")
