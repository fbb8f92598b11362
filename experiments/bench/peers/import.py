#!/usr/bin/env python3
"""Messages per second of imports: Keel, Python's json and sqlite3, and the floor that SQLite itself sets.

    import.py KEEL BENCH_IMPORT_FLOOR [ROUNDS [FORMAT...]]     KEEL_DATA for public logs

Formats: synthetic (a chat log of made-up words), chat, hh-rlhf, sgd, xstest (public logs, said anew as chat, or repeated
under fresh names). Each writes the same rows into a new store: that is checked, table by table. Keel is the program as
it stands, from start to exit, with everything that it checks, on two processors if there are; Python is python_import.py,
from its first open to its last close, interpreter already up, in one transaction. The floor is bench_import_floor: SQLite
writes the rows of a finished store into a new one, an INSERT ... SELECT for each table in one transaction, no log read.
That is what inserting these rows into these tables and their indexes takes. Keel takes a transaction for each file besides,
and where files add to each other's conversations (xstest) reads what is there, so that its own floor lies higher.
Rounds are interleaved; medians with the least and the most. A message is a stored turn, or another response's text.

All other formats (import_formats.py; "all" for all of them) are read by Python as one would who has just these logs: the same
conversations, turns and candidates, which is counted, with their rewards. There processor seconds are told, medians of rounds.
"""
import csv
import gc
import glob
import gzip
import json
import os
import random
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

import import_formats
import python_import

DATA = os.environ.get("KEEL_DATA", "")
FORMATS = ("synthetic", "chat", "hh-rlhf", "sgd", "xstest")
MESSAGES = 100_000

# What is compared; ids of conversations and decisions are the same, of candidates their order within a decision.
ROWS = {
    "conversations": "SELECT id, source, external_id, split, group_name, risk, completed, truncated, meta"
                     " FROM conversations ORDER BY id",
    "turns": "SELECT * FROM turns ORDER BY conversation_id, position",
    "decisions": "SELECT * FROM decisions ORDER BY id",
    "candidates": "SELECT decision_id, text, act, model, taken, propensity, latency_ms, feedback, accuracy, speed,"
                  " safety, outcome, judge FROM candidates ORDER BY decision_id, id",
    "labels": "SELECT decision_id, l.outcome, l.judge, judge_name, confidence FROM labels l JOIN candidates c"
              " ON c.id = candidate_id ORDER BY decision_id, c.id",
    "transitions": "SELECT decision_id, next_decision_id, accuracy, speed, safety,"
                   " terminal, truncated FROM transitions ORDER BY decision_id, candidate_id",
    "imports": "SELECT sha256, format, split, name FROM imports ORDER BY id",
}


# ---- logs ----

def words(draw, low, high):
    return " ".join("".join(draw.choices("abcdefghijklmnopqrstuvwxyzéüñ", k=draw.randint(2, 9)))
                    for _ in range(draw.randint(low, high)))


def synthetic_message(draw, i):
    if i % 2 == 0:
        return {"role": "user", "content": words(draw, 4, 20)}
    message = {"role": "assistant", "content": words(draw, 8, 40), "model": "desk-3",
               "latency_ms": draw.randint(50, 3000), "propensity": 0.75}
    if draw.random() < 0.5:
        message["outcome"] = draw.choice(["compliance", "partial_refusal", "refusal"])
    if draw.random() < 0.3:
        message["candidates"] = [{"content": words(draw, 8, 40), "model": "desk-2", "outcome": "compliance"}]
    return message


def write_synthetic(folder, _data):
    draw, path, count, n = random.Random(1), f"{folder}/logs.jsonl", 0, 0
    with open(path, "w", encoding="utf-8") as out:
        while count < MESSAGES:
            one = {"id": f"c-{n}", "split": "train", "risk": draw.choice(["benign", "dangerous"]), "channel": "web",
                   "messages": [synthetic_message(draw, i) for i in range(2 * draw.randint(1, 6))]}
            out.write(json.dumps(one, ensure_ascii=False) + "\n")
            count, n = count + len(one["messages"]), n + 1
    return [path]


def write_chat(folder, data):
    """Dialogues of SGD as a deployed assistant would log them."""
    path, count = f"{folder}/logs.jsonl.gz", 0
    draw = random.Random(2)
    with gzip.open(path, "wt", compresslevel=6, encoding="utf-8") as out:
        for name in sorted(glob.glob(f"{data}/sgd/train/dialogues_*.json.gz")):
            for one in json.loads(gzip.open(name).read()) if count < MESSAGES else ():
                messages = []
                for turn in one["turns"]:
                    user = turn["speaker"] == "USER"
                    messages.append({"role": "user" if user else "assistant", "content": turn["utterance"]})
                    if not user:
                        messages[-1].update(model="sgd", latency_ms=draw.randint(50, 3000))
                log = {"id": one["dialogue_id"], "split": "train", "completed": draw.random() < 0.9,
                       "meta": {"services": one["services"]}, "messages": messages}
                out.write(json.dumps(log, ensure_ascii=False) + "\n")
                count += len(messages)
    return [path]


def write_hh(folder, data):
    with gzip.open(glob.glob(f"{data}/hh-rlhf/harmless-base/*.jsonl.gz")[0]) as file:
        pairs = [json.loads(line) for line in file]
    path, count, n = f"{folder}/pairs.jsonl.gz", 0, 0
    with gzip.open(path, "wt", compresslevel=6, encoding="utf-8") as out:
        while count < MESSAGES:
            for pair in pairs:
                named = {k: v.replace("\n\nHuman:", f"\n\nHuman: [{n}]", 1) for k, v in pair.items()}
                out.write(json.dumps(named, ensure_ascii=False) + "\n")
                count += pair["chosen"].count("\n\nHuman:") + pair["chosen"].count("\n\nAssistant:") + 1
            n += 1
    return [path]


def copy_sgd(folder, data):
    os.mkdir(f"{folder}/train")
    shutil.copy(f"{data}/sgd/train/schema.json.gz", f"{folder}/train")
    paths, count = [], 0
    for path in sorted(glob.glob(f"{data}/sgd/train/dialogues_*.json.gz")):
        if count >= MESSAGES:
            break
        paths.append(shutil.copy(path, f"{folder}/train"))
        count += gzip.open(path).read().count(b'"utterance"')
    return paths


def write_xstest(folder, data):
    paths, repeats = [], 100
    files = glob.glob(f"{data}/xstest/completions/*.csv") + [f"{data}/xstest/xstest_prompts.csv"]
    for name in sorted(files, key=lambda name: (os.path.basename(name) == "xstest_prompts.csv", name)):
        with open(name, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        paths.append(f"{folder}/{os.path.basename(name)}")
        with open(paths[-1], "w", encoding="utf-8", newline="") as file:
            out = csv.DictWriter(file, rows[0].keys())
            out.writeheader()
            for n in range(repeats):
                out.writerows({**row, "id": int(row["id"].removeprefix("v2-")) + 450 * n} for row in rows)
    return paths


MAKERS = {"synthetic": write_synthetic, "chat": write_chat, "hh-rlhf": write_hh, "sgd": copy_sgd,
          "xstest": write_xstest}


# ---- the three ----

def fresh(folder, name):
    for path in glob.glob(f"{folder}/{name}*"):
        os.remove(path)
    return f"{folder}/{name}"


def run_keel(keel, kind, paths, store, split):
    asked = ["--split", split] if split else []
    begin = time.perf_counter()
    subprocess.run([keel, "import", "--store", store, "--format", kind, "--quiet", *asked, *paths], check=True,
                   stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def run_python(kind, paths, store, schema, split):
    gc.collect()
    begin = time.perf_counter()
    python_import.run(kind, paths, store, schema, split)
    return time.perf_counter() - begin


def run_floor(floor, source, store):
    return float(subprocess.run([floor, source, store], check=True, capture_output=True, text=True).stdout)


def schema_of(store):
    db = sqlite3.connect(store)
    rows = db.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'").fetchall()
    return [row[0] for row in rows] + ["PRAGMA user_version = 2"]


def equal(x, y):
    """Keel keeps rewards as floats."""
    return x == y or all(p == q or (isinstance(p, float) and isinstance(q, float) and abs(p - q) < 1e-6)
                         for p, q in zip(x, y, strict=True))


def check_same(one, other):
    """Every row of every table; the first difference is told."""
    a, b = sqlite3.connect(one), sqlite3.connect(other)
    for table, query in ROWS.items():
        left, right = a.execute(query).fetchall(), b.execute(query).fetchall()
        for x, y in zip(left, right):
            if not equal(x, y):
                sys.exit(f"{table} differ:\n{x}\n{y}")
        if len(left) != len(right):
            sys.exit(f"{table}: {len(left)} and {len(right)} rows")


def count_messages(store):
    db = sqlite3.connect(store)
    return db.execute("SELECT (SELECT count(*) FROM turns)"
                      " + (SELECT count(*) FROM candidates WHERE text IS NOT NULL)").fetchone()[0]


def told(rates):
    return f"{statistics.median(rates):9,.0f} ({min(rates):,.0f} to {max(rates):,.0f})"


def bench(name, keel, floor, rounds, folder):
    kind = "chat" if name == "synthetic" else name
    paths, split = MAKERS[name](folder, DATA), None if name in ("synthetic", "chat", "sgd") else "train"
    run_keel(keel, kind, paths, fresh(folder, "keel.db"), split)
    schema, messages = schema_of(f"{folder}/keel.db"), count_messages(f"{folder}/keel.db")
    seconds = {"keel": [], "python": [], "floor": []}
    for _ in range(rounds):
        seconds["keel"].append(run_keel(keel, kind, paths, fresh(folder, "keel.db"), split))
        seconds["python"].append(run_python(kind, paths, fresh(folder, "python.db"), schema, split))
        seconds["floor"].append(run_floor(floor, f"{folder}/keel.db", fresh(folder, "floor.db")))
    check_same(f"{folder}/keel.db", f"{folder}/python.db")
    check_same(f"{folder}/keel.db", f"{folder}/floor.db")
    ratio = [p / k for k, p in zip(seconds["keel"], seconds["python"])]
    share = [f / k for k, f in zip(seconds["keel"], seconds["floor"])]
    bound = [p / f for f, p in zip(seconds["floor"], seconds["python"])]
    print(f"{name}: {messages:,} messages, {sum(map(os.path.getsize, paths)) / 1e6:.1f} MB of logs; messages per second:")
    for who, times in seconds.items():
        print(f"  {who:7} {told([messages / t for t in times])}")
    print(f"  keel / python {statistics.median(ratio):.2f} ({min(ratio):.2f} to {max(ratio):.2f}); of the floor "
          f"{100 * statistics.median(share):.0f} %; floor / python {statistics.median(bound):.2f}", flush=True)


def count_rows(store):
    db = sqlite3.connect(store)
    return [db.execute(f"SELECT count(*) FROM {rows}").fetchone()[0]
            for rows in ("conversations", "turns", "candidates", "candidates WHERE taken")]


def keel_seconds(keel, name, paths, store):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run_keel(keel, name, paths, store, None)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def python_seconds(name, paths, store, schema):
    gc.collect()
    begin = time.process_time()
    rows = python_import.Rows()
    for called, completed, turns, decisions in import_formats.FORMATS[name][1](paths):
        rows.add(name, f"{len(rows.conversations)}-{called}", "train", "", 0, completed, 0, None, turns, decisions)
    rows.write(store, schema, [])
    return time.process_time() - begin


def bench_format(name, keel, rounds, folder):
    paths = import_formats.FORMATS[name][0](folder, DATA)
    run_keel(keel, name, paths, fresh(folder, "keel.db"), None)
    schema, seconds = schema_of(f"{folder}/keel.db"), ([], [])
    for _ in range(rounds):
        seconds[0].append(keel_seconds(keel, name, paths, fresh(folder, "keel.db")))
        seconds[1].append(python_seconds(name, paths, fresh(folder, "python.db"), schema))
    found = count_rows(f"{folder}/keel.db"), count_rows(f"{folder}/python.db")
    if found[0] != found[1]:
        sys.exit(f"{name}: conversations, turns, candidates, taken: {found[0]} and {found[1]}")
    ours, theirs = map(statistics.median, seconds)
    print(f"{name:11} {count_messages(f'{folder}/keel.db'):8,} messages {sum(map(os.path.getsize, paths)) / 1e6:6.1f} MB"
          f"  keel {ours:6.2f} s  python {theirs:6.2f} s  {theirs / ours:5.2f} times", flush=True)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    keel, floor, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 5
    asked = sys.argv[4:] or FORMATS
    for name in import_formats.NAMES if asked == ["all"] else asked:
        needs = import_formats.NEEDS.get(name) if name in import_formats.FORMATS else name != "synthetic"
        if needs and not os.path.isdir(DATA):
            print(f"{name}: skipped: set KEEL_DATA to the folder of public logs")
            continue
        with tempfile.TemporaryDirectory() as folder:
            if name in import_formats.FORMATS:
                bench_format(name, keel, rounds, folder)
            else:
                bench(name, keel, floor, rounds, folder)


if __name__ == "__main__":
    main()
