#!/usr/bin/env python3
"""Students beside their teacher, MiniLM tuned: n-grams and small encoders that learn what it says.

    students.py KEEL MINILM DATA OUT [--task xstest|intents] [--draws 1 2 3] [--folds 0 1 2 3 4] [--percent 5]
                [--variants 8000] [--words 8000] [--turns 4000] [--students NAME...] [--set KEY=VALUE...]

xstest: one random model's answer a prompt, the prompt alone, comply or refuse, folds by contrast group: as experiments/recipes/encoder.json.
What a teacher says besides of prompts without labels, for each fold anew: variants of the prompts that it was tuned on, a word or two of which
are replaced by other words (Tang et al. 2019, arXiv 1903.12136), all of MiniLM's vocabulary in turn, and users' turns of HH-RLHF. No prompt of the
fold is among them. Composites are of policies by CQL on each base; a second line has the base's own choice.
intents: the intent of a user's turn of SGD from few labels, as intents.py; besides, turns of the training dialogues without their labels.
"""
import argparse
import gzip
import json
import os
import random
import re
import resource
import subprocess
import sys

from intents_data import draw, turns

p = argparse.ArgumentParser()
for name in ("keel", "minilm", "data", "out"):
    p.add_argument(name)
p.add_argument("--task", default="xstest", choices=("xstest", "intents"))
p.add_argument("--draws", nargs="+", default=["1", "2", "3"])
p.add_argument("--folds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
p.add_argument("--percent", type=float, default=5, help="of intents: dialogues whose labels are known")
p.add_argument("--variants", type=int, default=8000)
p.add_argument("--words", type=int, default=8000, help="ids of MiniLM's vocabulary, the most frequent first, whose words go into variants")
p.add_argument("--turns", type=int, default=4000, help="of HH-RLHF, at most")
p.add_argument("--students", nargs="+", default=["n-grams taught", "narrow taught", "static taught"])
p.add_argument("--set", nargs="*", default=[], dest="sets", help="of the students' tuning")
a = p.parse_args()

# an encoder of a tenth of MiniLM's 22.6 million parameters, or n-grams
SHAPES = {"narrow": ["student_layers=2", "student_hidden=64"], "static": ["student_static=true", "student_hidden=64"]}


def run(*arguments):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([a.keel, *arguments, "--quiet"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"keel {' '.join(arguments)}: {done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done.stdout, after.ru_utime - before.ru_utime


def once(path, *arguments):
    """A command that makes a folder or a file, unless it is there."""
    if not os.path.exists(path):
        run(*arguments)
    return path


def settings(*values):
    return [word for value in values for word in ("--set", value)]


def student_of(shape):
    return once(f"{a.out}/{shape}", "compress", "--base", a.minilm, "--out", f"{a.out}/{shape}", *settings(*SHAPES[shape]))


COMMON = set("how do i can the a an to of in what is are my you for with and from should where who why when does on at it me that this be was your".split())


def words():
    vocabulary = json.load(open(f"{a.minilm}/tokenizer.json"))["model"]["vocab"]
    return [w for w, number in vocabulary.items() if re.fullmatch("[a-z]{3,}", w) and number < a.words]


def variants(rows, n, seed):
    draw, known, left = random.Random(seed), words(), []
    for i in range(n):
        row = rows[i % len(rows)]
        text = re.findall(r"[\w']+|[^\w\s]", row["messages"][0]["content"])
        places = [j for j, w in enumerate(text) if re.match(r"\w", w) and w.lower() not in COMMON] or [0]
        for j in draw.sample(places, min(len(places), draw.choice((1, 1, 2)))):
            if not left:
                left = known[:]
                draw.shuffle(left)
            text[j] = left.pop()
        yield {"id": f"variant/{i}", "group": row["group"], "messages": [{"role": "user", "content": re.sub(r" ([?!.,])", r"\1", " ".join(text))}]}


def human_turns():
    seen = set()
    for line in gzip.open(f"{a.data}/hh-rlhf/harmless-base/dev.jsonl.gz", "rt"):
        for turn in re.findall(r"\n\nHuman: (.*?)(?=\n\nAssistant:|\Z)", json.loads(line)["chosen"], re.S):
            if 0 < len(turn.strip()) < 200:
                seen.add(turn.strip())
    for i, turn in enumerate(sorted(seen)[: a.turns]):
        yield {"id": f"turn/{i}", "messages": [{"role": "user", "content": turn}]}


def write_store(folder, rows, held_out):
    """A store of these conversations, none of which asks what is held out."""
    asked = {r["messages"][0]["content"].strip().lower() for r in held_out}
    with open(f"{folder}/lessons.jsonl", "w", encoding="utf-8") as log:
        for row in rows:
            if row["messages"][0]["content"].strip().lower() not in asked:
                log.write(json.dumps(row | {"split": "train"}) + "\n")
    return once(f"{folder}/lessons.db", "import", "--store", f"{folder}/lessons.db", f"{folder}/lessons.jsonl")


def tune(name, folder, store, split, lessons, teacher, space):
    """The base of that name, and CPU seconds of its tuning."""
    base = f"{folder}/{name.replace(' ', '-')}"
    if os.path.exists(base):
        return base
    shape, taught = name.split()[0], "taught" in name
    spec = {"MiniLM": a.minilm, "n-grams": "builtin"}.get(shape) or student_of(shape)
    how = settings(f"action_space={space}", *(a.sets if taught else []))
    if shape in SHAPES:
        how += ["--mode", "full", *settings("epochs=4", "folds=0", "head_epochs=0", "batch=32", "shard=8", "learning_rate=1e-3", "head_factor=2")]
    if shape == "MiniLM" and space == "acts":
        how += ["--mode", "full", *settings("folds=0")]
    where = ["--store", lessons, "--split", "train", "--teacher-base", teacher] if taught else ["--store", store, "--split", split]
    _, seconds = run("sft", "--base", spec, "--out", base, *where, *how)
    print(f"  tuned {base}: {seconds:.0f} CPU seconds", flush=True)
    return base


def show(name, metrics, keys):
    parts = [f"{metrics[k]['value']:.3f} [{metrics[k]['low']:.3f}, {metrics[k]['high']:.3f}]" for k in keys]
    print(f"{name:16}" + "  ".join(parts), flush=True)


def xstest_fold(draw, k, names):
    """Policies on each base of one fold."""
    store, folder = f"{a.out}/{draw}.db", f"{a.out}/{draw}/{k}"
    os.makedirs(folder, exist_ok=True)
    rest = once(f"{folder}/rest.jsonl", "export", "--store", store, "--split", f"rest:{k}/5", "--out", f"{folder}/rest.jsonl")
    held = once(f"{folder}/held.jsonl", "export", "--store", store, "--split", f"fold:{k}/5", "--out", f"{folder}/held.jsonl")
    rows, held_out = ([json.loads(line) for line in open(path)] for path in (rest, held))
    lessons = write_store(folder, [*rows, *variants(rows, a.variants, k), *human_turns()], held_out)
    policies = {}
    for name in names:
        base = tune(name, folder, store, f"rest:{k}/5", lessons, f"{folder}/MiniLM", "outcomes")
        policies[name] = once(f"{base}-cql", "train", "--store", store, "--base", base, "--algo", "cql", "--split", f"rest:{k}/5", "--out", f"{base}-cql")
    return policies


def xstest(names):
    keys = ("refusal_rate", "completion_rate", "composite_reward")
    once(f"{a.out}/all.db", "import", "--store", f"{a.out}/all.db", "--format", "xstest", f"{a.data}/xstest")
    total = {}
    for number in a.draws:
        log = once(f"{a.out}/draw-{number}.jsonl", "export", "--store", f"{a.out}/all.db", "--one-response", number, "--out", f"{a.out}/draw-{number}.jsonl")
        once(f"{a.out}/{number}.db", "import", "--store", f"{a.out}/{number}.db", log)
        folds = [xstest_fold(number, k, names) for k in a.folds]
        print(f"draw {number}: refusal, completion, composite")
        for name in names:
            judged, seconds = run("eval", "--store", f"{a.out}/{number}.db", "--split", "held-out", "--json", *[w for f in folds for w in ("--policy", f[name])])
            judged = json.loads(judged)
            for who, metrics in ((name, judged["policy"]["metrics"]), ("  its base", judged["baselines"]["base"]["metrics"])):
                show(who, metrics, keys)
                total.setdefault((name, who), []).append([metrics[k]["value"] for k in keys])
            print(f"  judged in {seconds:.2f} CPU seconds", flush=True)
    print("means of draws, and the composite's way from n-grams to MiniLM")
    means = {key: [sum(c) / len(c) for c in zip(*rows)] for key, rows in total.items()}
    for (name, who), mean in means.items():
        low, high = (means[of, of if who == name else who][2] for of in ("n-grams", "MiniLM"))
        print(f"{who:16}" + "  ".join(f"{m:.3f}" for m in mean) + f"  {(mean[2] - low) / (high - low):.2f}")


def intents(names):
    folder = f"{a.out}/{a.percent:g}"
    os.makedirs(folder, exist_ok=True)
    labelled, lessons, test = [], [], []
    for dialogue, number, text, intent in turns(f"{a.data}/sgd"):
        row = {"id": f"{dialogue}/{number}", "group": dialogue, "messages": [{"role": "user", "content": text}]}
        full = row | {"messages": row["messages"] + [{"role": "assistant", "content": "", "act": intent}]}
        if draw("test " + dialogue) < 0.25:
            test.append(full | {"split": "test"})
        elif draw("label " + dialogue) < a.percent / 100:
            labelled.append(full | {"split": "train"})
            lessons.append(full)
        else:
            lessons.append(row)
    with open(f"{folder}/log.jsonl", "w", encoding="utf-8") as log:
        log.writelines(json.dumps(row) + "\n" for row in labelled + test)
    store = once(f"{folder}/logs.db", "import", "--store", f"{folder}/logs.db", f"{folder}/log.jsonl")
    rows = write_store(folder, lessons, test)
    print(f"intents, labels of {a.percent:g} %: {len(labelled)} labelled turns, {len(lessons)} in all, {len(test)} to test; accuracy, and the way from n-grams to MiniLM")
    first = {}
    for name in names:
        base = tune(name, folder, store, "train", rows, f"{folder}/MiniLM", "acts")
        policy = once(f"{base}-bc", "train", "--store", store, "--base", base, "--algo", "bc", "--set", "steps=1", "--out", f"{base}-bc")
        judged, _ = run("eval", "--store", store, "--policy", policy, "--split", "test", "--json")
        metrics = json.loads(judged)["baselines"]["base"]["metrics"]
        show(name, metrics, ["agreement_rate"])
        first[name] = metrics["agreement_rate"]["value"]
    for name, rate in first.items():
        print(f"{name:16}{rate:.3f}  {(rate - first['n-grams']) / (first['MiniLM'] - first['n-grams']):.2f}")


os.makedirs(a.out, exist_ok=True)
{"xstest": xstest, "intents": intents}[a.task](["n-grams", "MiniLM", *a.students])
