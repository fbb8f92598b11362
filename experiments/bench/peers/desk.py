#!/usr/bin/env python3
"""Keel's learners and d3rlpy's on the same logs of the simulated desk: same data, features, steps and settings.

    pip install d3rlpy
    desk.py KEEL FOLDER [SEEDS [STEPS]]     KEEL: the program; FOLDER: logs, bases, policies and what is known so far

Each seed has 12,000 logged conversations, a base tuned on them whose features both sides learn from, and composite rewards
in one head. d3rlpy's weights are put into the artefact that Keel's learner of that name wrote, so that the same program
plays both, greedily by Q (BC: by probability), in the same 1,000 fresh conversations. Settings: returns.py, as flags below.
"""
import hashlib
import json
import os
import re
import shutil
import sqlite3
import struct
import subprocess
import sys

import numpy as np

import returns

LOGGED, JUDGED = 12000, 1000
WEIGHTS = np.array([0.6, 0.3, 0.1])
METRICS = ("composite_reward", "refusal_rate", "over_refusal_rate", "completion_rate")


def keel(program, verb, **flags):
    words = [word for name, value in flags.items() for one in (value if isinstance(value, list) else [value])
             for word in ("--" + name, str(one))]
    return json.loads(subprocess.run([program, verb, *words, "--quiet", "--json"], check=True, capture_output=True).stdout)


def make_log(program, place, seed):
    store, base = place + "/logs.db", place + "/base"
    os.makedirs(place, exist_ok=True)
    keel(program, "simulate", store=store, env="support-desk", behaviour="support-82", episodes=LOGGED, split="train", seed=seed)
    if not os.path.exists(base):
        keel(program, "sft", store=store, base="builtin", out=base, split="train", seed=seed)


def train_keel(program, place, name, seed, steps):
    settings = {"batch": returns.BATCH, "learning_rate": returns.RATE, "steps": steps, "kl_budget": 0, "beta": 1e6}
    if name != "bc":
        settings |= {"target_interval": returns.INTERVAL, "gamma": returns.GAMMA}
    if name == "cql":
        settings["alpha"] = returns.ALPHA
    keel(program, "train", store=place + "/logs.db", base=place + "/base", algo=name, preset="d3rlpy", split="train", seed=seed,
         out=f"{place}/{name}", set=[f"{key}={value}" for key, value in settings.items()])


def transitions(place, acts):
    """The log as d3rlpy takes it, conversation by conversation; components that are absent leave their weight to the rest."""
    with sqlite3.connect(f"file:{place}/logs.db?mode=ro", uri=True) as db:
        rows = db.execute("SELECT f.state_dim, f.data, c.act, t.terminal, d.conversation_id, t.accuracy, t.speed, t.safety"
                          " FROM transitions t JOIN candidates c ON c.id = t.candidate_id JOIN decisions d ON d.id = t.decision_id"
                          " JOIN features f ON f.decision_id = d.id ORDER BY d.conversation_id, d.turn").fetchall()
    state = np.array([np.frombuffer(row[1], np.float32)[:row[0]] for row in rows])
    reward = np.array([row[5:] for row in rows], float)
    terminal, conversation = (np.array([row[i] for row in rows]) for i in (3, 4))
    last = np.append(conversation[1:] != conversation[:-1], True)
    return returns.dataset(state, np.array([acts.index(row[2]) for row in rows]),
                           np.nansum(reward * WEIGHTS, 1) / (~np.isnan(reward) * WEIGHTS).sum(1), terminal,
                           last & (terminal == 0))


def layers(algo):
    modules = algo.impl.modules
    module = modules.imitator if hasattr(modules, "imitator") else modules.q_funcs[0]
    return [parameter.detach().numpy() for parameter in module.parameters()]  # weight, bias, weight, ...


def wrap(source, target, weights):
    """Keel's artefact with other weights: the file, its hash, and the hash over keel.json without white space."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    with open(target + "/model.safetensors", "r+b") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        table = json.loads(file.read(size))
        for i, values in enumerate(weights):
            start, end = table[f"critic.0.layer.{i // 2}.{'bias' if i % 2 else 'weight'}"]["data_offsets"]
            assert end - start == values.nbytes
            file.seek(8 + size + start)
            file.write(np.ascontiguousarray(values, np.float32).tobytes())
    new = hashlib.sha256(open(target + "/model.safetensors", "rb").read()).hexdigest()
    text = open(target + "/keel.json").read()
    text = re.sub(r'("model.safetensors":\s*")\w+', rf"\g<1>{new}", text)
    text = re.sub(r',\s*"sha256":\s*"\w+"(\s*})\s*$', r"\1", text)
    bare = re.sub(r'("(?:[^"\\]|\\.)*")|\s+', lambda found: found[1] or "", text)
    seal = hashlib.sha256(bare.encode()).hexdigest()
    open(target + "/keel.json", "w").write(f'{bare[:-1]},"sha256":"{seal}"}}')


def train_peer(place, name, seed, steps):
    acts = json.load(open(f"{place}/{name}/config.json"))["acts"]
    algo = returns.train(name, transitions(place, acts), seed, steps)
    wrap(f"{place}/{name}", f"{place}/{name}-d3rlpy", layers(algo))


def judge(program, place, policy, seed):
    store = f"{place}/judged-{policy}.db"
    if os.path.exists(store):
        os.remove(store)
    result = keel(program, "simulate", store=store, env="support-desk", policy=f"{place}/{policy}", base=place + "/base",
                  episodes=JUDGED, seed=1000 + seed)
    os.remove(store)
    return {name: result["metrics"][name]["value"] for name in METRICS}


def sides(program, place, name, seed, steps, cells):
    """A seed's metrics of both; what is known is not made again."""
    def ours():
        make_log(program, place, seed)
        train_keel(program, place, name, seed, steps)
        return judge(program, place, name, seed)

    def theirs():
        train_peer(place, name, seed, steps)
        return judge(program, place, f"{name}-d3rlpy", seed)

    return cells.get("desk", name, seed, "keel", ours), cells.get("desk", name, seed, "d3rlpy", theirs)


def main():
    program, folder = sys.argv[1:3]
    seeds, steps = (int(x) for x in (sys.argv[3:] + ["5", "3000"][len(sys.argv) - 3:]))
    os.makedirs(folder, exist_ok=True)
    cells = returns.Cells(folder + "/cells")
    returns.heading()
    for name in returns.LEARNERS:
        returns.row("desk", name, [sides(program, f"{folder}/{seed}", name, seed, steps, cells)
                                   for seed in range(1, seeds + 1)])


main()
