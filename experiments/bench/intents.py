#!/usr/bin/env python3
"""Intent classification on SGD with few labels: the encoder tuned in full, frozen to its upper half, by LoRA, heads alone, and
the n-gram base, from 1, 5, 25 and 100 % of the labels. Each turn of a user that announces an intent becomes a log of one
decision whose act is the intent. A quarter of all dialogues is read, and a quarter of those tests; both are drawn by hash.

    intents.py KEEL ENCODER_FOLDER SGD_FOLDER OUT [SEED...]
"""
import json
import os
import resource
import subprocess
import sys

from intents_data import draw, turns

keel, encoder, sgd, out = sys.argv[1:5]
seeds = sys.argv[5:] or ["1"]
FRACTIONS = (1, 5, 25, 100)
MODES = {
    "n-grams": ["--base", "builtin"],
    "head": ["--base", encoder, "--mode", "head"],
    "lora": ["--base", encoder, "--mode", "lora", "--set", "learning_rate=1e-3", "--set", "head_factor=2"],
    "freeze": ["--base", encoder, "--mode", "freeze", "--set", "frozen_layers=3"],
    "full": ["--base", encoder, "--mode", "full"],
}


def write_log(path, percent):
    known = set()
    with open(path, "w", encoding="utf-8") as log:
        for dialogue, number, text, intent in turns(sgd):
            test = draw("test " + dialogue) < 0.25
            if not test and draw("label " + dialogue) >= percent / 100:
                continue
            if not test:
                known.add(intent)
            row = {"id": f"{dialogue}/{number}", "split": "test" if test else "train", "group": dialogue,
                   "messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "", "act": intent}]}
            log.write(json.dumps(row) + "\n")
    return len(known)


def run(*arguments):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([keel, *arguments, "--quiet", "--json"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"keel {' '.join(arguments)}: {done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return json.loads(done.stdout), after.ru_utime - before.ru_utime


def measure(store, mode, seed, folder):
    extra = [] if mode == "n-grams" else ["--set", "folds=0"]
    base, policy = f"{folder}/base", f"{folder}/bc"
    result, seconds = run("sft", "--store", store, "--out", base, "--set", "action_space=acts", "--seed", seed, "--replace", *extra, *MODES[mode])
    run("train", "--store", store, "--base", base, "--algo", "bc", "--set", "steps=1", "--out", policy, "--replace")
    judged, _ = run("eval", "--store", store, "--policy", policy, "--split", "test")
    manifest = json.load(open(f"{base}/keel.json"))
    return judged["baselines"]["base"]["metrics"]["agreement_rate"], manifest["metrics"].get("parameters_trained"), seconds


print("labels  base      seed  accuracy               trained parameters  CPU seconds")
for percent in FRACTIONS:
    folder = f"{out}/{percent}"
    os.makedirs(folder, exist_ok=True)
    store = f"{folder}/logs.db"
    intents = write_log(f"{folder}/log.jsonl", percent)
    run("import", "--store", store, f"{folder}/log.jsonl")
    print(f"{percent} %: {intents} intents known", flush=True)
    for mode in MODES:
        for seed in seeds:
            rate, parameters, seconds = measure(store, mode, seed, f"{folder}/{mode}")
            shown = f"{rate['value']:.3f} [{rate['low']:.3f}, {rate['high']:.3f}]"
            print(f"{percent:5} % {mode:9} {seed:>4}  {shown:22} {parameters if parameters else '-':>19}  {seconds:11.0f}", flush=True)
