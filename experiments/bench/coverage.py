#!/usr/bin/env python3
"""How often the intervals of `keel eval` hold the truth, on simulated logs whose truth is played.

    coverage.py KEEL FOLDER [--turns N] [--one N] [--episodes N]

turns  24 logs of several turns: three behaviours, 1,500 and 4,000 conversations, four seeds. CQL with the defaults
       learns from 80 % of each and is judged on the rest; the truth is what it does in 8,000 fresh conversations.
one    500 logs of 300 conversations of one decision, half of them dangerous. One policy, cloned from 4,000 others;
       the truth is what it does in 20,000.

Prints a line for each log with the metrics whose interval misses, and at the end how many hold and how wide they are.
Standard library alone; about ten minutes. FOLDER keeps the logs and policies: a second run reads them.
"""
import argparse
import json
import os
import subprocess
from itertools import product

RATES = ["refusal_rate", "harmful_compliance_rate", "over_refusal_rate", "completion_rate"]
MEANS = ["composite_reward", "accuracy", "speed", "safety"]


def keel(program, *args):
    done = subprocess.run([program, *map(str, args), "--quiet", "--json"], check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def made(path, make):
    """What is in the file, or what `make` returns, which is kept there."""
    if not os.path.exists(path):
        result = make()
        with open(path + ".part", "w", encoding="utf-8") as file:
            json.dump(result, file)
        os.replace(path + ".part", path)
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def learn(program, folder, env, behaviour, episodes, seed, algo):
    store, base, policy = (f"{folder}/{name}" for name in ("logs.db", "base", "policy"))
    os.makedirs(folder, exist_ok=True)
    keel(program, "simulate", "--store", store, "--env", env, "--behaviour", behaviour, "--episodes", episodes,
         "--seed", seed)
    keel(program, "sft", "--store", store, "--base", "builtin", "--out", base)
    keel(program, "train", "--store", store, "--base", base, "--algo", algo, "--out", policy)
    return True


def play(program, folder, env, episodes):
    return keel(program, "simulate", "--store", f"{folder}/played.db", "--env", env, "--policy", f"{folder}/policy",
                "--base", f"{folder}/base", "--episodes", episodes, "--seed", 977)["metrics"]


def judge(program, store, folder, split):
    return keel(program, "eval", "--store", store, "--policy", f"{folder}/policy", "--base", f"{folder}/base",
                "--split", split, "--ope", "none")["policy"]["metrics"]


class Count:
    def __init__(self, names):
        self.names, self.logs = names, 0
        self.held = dict.fromkeys(names, 0)
        self.width = dict.fromkeys(names, 0.0)

    def add(self, label, found, truth):
        missed = []
        self.logs += 1
        for name in self.names:
            low, high, true = found[name]["low"], found[name]["high"], truth[name]["value"]
            self.width[name] += high - low
            if low <= true <= high:
                self.held[name] += 1
            else:
                missed.append(f"{name} [{low:.3f}, {high:.3f}] misses {true:.3f}")
        if label or missed:
            print(label, "; ".join(missed) or "all hold", flush=True)

    def report(self, title):
        print(f"\n{title}: {self.logs} logs")
        print(f"{'metric':<26}{'hold':>6}{'share':>9}{'mean width':>12}")
        for name in self.names:
            print(f"{name:<26}{self.held[name]:>6}{100 * self.held[name] / self.logs:>7.1f} %"
                  f"{self.width[name] / self.logs:>12.3f}")
        print(flush=True)


def several_turns(program, folder, logs):
    count = Count(RATES + MEANS)
    for seed, episodes, behaviour in list(product(range(101, 105), (1500, 4000),
                                                  ("support-60", "support-82", "support-95")))[:logs]:
        at = f"{folder}/{behaviour}-{episodes}-{seed}"
        made(f"{at}.json", lambda: learn(program, at, "support-desk", behaviour, episodes, seed, "cql"))
        truth = made(f"{at}.played.json", lambda: play(program, at, "support-desk", 8000))
        count.add(f"{behaviour} {episodes} seed {seed}:", judge(program, f"{at}/logs.db", at, "test"), truth)
    count.report("several turns")


def one_turn(program, folder, logs, episodes):
    env, at = f"{folder}/one-turn-env.json", f"{folder}/one-turn"
    with open(env, "w", encoding="utf-8") as file:
        json.dump({"env": "support-desk", "max_turns": 1, "dangerous": 0.5}, file)
    made(f"{at}.json", lambda: learn(program, at, env, "support-60", 4000, 1, "bc"))
    truth = made(f"{at}.played.json", lambda: play(program, at, env, 20000))
    count = Count(MEANS)
    for seed in range(1001, 1001 + logs):
        store = f"{folder}/one.db"
        for name in (store, store + "-wal", store + "-shm"):
            if os.path.exists(name):
                os.remove(name)
        keel(program, "simulate", "--store", store, "--env", env, "--behaviour", "support-60", "--episodes", episodes,
             "--split", "fresh", "--seed", seed)
        count.add("", judge(program, store, at, "fresh"), truth)
    count.report("one turn")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("keel")
    parser.add_argument("folder")
    parser.add_argument("--turns", type=int, default=24, help="logs of several turns")
    parser.add_argument("--one", type=int, default=500, help="logs of one turn")
    parser.add_argument("--episodes", type=int, default=300, help="conversations in a log of one turn")
    args = parser.parse_args()
    os.makedirs(args.folder, exist_ok=True)
    if args.turns:
        several_turns(args.keel, args.folder, args.turns)
    if args.one:
        one_turn(args.keel, args.folder, args.one, args.episodes)


main()
