#!/usr/bin/env python3
"""What each verb costs on one log: seconds of wall and of processor, and peak resident memory.

    verbs.py KEEL DATA WORK [VERB...]

DATA holds SGD's train/ and dev/ (the largest of the public logs). In the folder WORK the log is imported, learned from on
train with every default, and judged on dev; what is there already is kept, so that VERB... measures these alone. A server
answers REQUESTS of the log's users, `review` gives its page and what it asks first. Standard library alone; Linux.
"""
import http.client
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

REQUESTS = 2000
keel, data, work = os.path.realpath(sys.argv[1]), os.path.realpath(sys.argv[2]), sys.argv[3]
wanted = sys.argv[4:]


def ended(process, began):
    """Wall seconds, processor seconds, peak MB of a process that is waited for."""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def call(*args, text=None):
    began = time.monotonic()
    with open("out.txt", "w") as out, open("err.txt", "w") as err:
        process = subprocess.Popen([keel, *args], stdout=out, stderr=err, stdin=subprocess.PIPE if text else subprocess.DEVNULL, text=True)
        if text:
            process.stdin.write(text)
            process.stdin.close()
        took = ended(process, began)
    if process.returncode:
        raise SystemExit(f"{' '.join(args)}: {process.returncode}: {open('err.txt').read()}")
    return took


def served(args, ask):
    """A verb that serves: what `ask` asks of it, given its port; ended by SIGTERM."""
    began = time.monotonic()
    process = subprocess.Popen([keel, *args], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        found = re.search(r"http://127\.0\.0\.1:(\d+)/\S*", line)
        if found:
            break
    else:
        raise SystemExit(f"{' '.join(args)}: ended")
    try:
        ask(int(found[1]), found[0])
    finally:
        process.send_signal(signal.SIGTERM)
    process.stderr.read()
    return ended(process, began)


def choose(port, _):
    log = sqlite3.connect("log.db")
    users = [row[0] for row in log.execute(f"SELECT text FROM turns WHERE role = 1 LIMIT {REQUESTS}")]
    answers = [{"text": text, "act": act} for text, act in log.execute("SELECT text, act FROM candidates WHERE act IS NOT NULL GROUP BY act LIMIT 5")]
    connection = http.client.HTTPConnection("127.0.0.1", port)
    for user in users:
        body = {"messages": [{"role": "user", "content": user}], "candidates": answers}
        connection.request("POST", "/v1/choose", json.dumps(body), {"Content-Type": "application/json"})
        reply = connection.getresponse()
        if reply.status != 200:
            raise SystemExit(f"/v1/choose: {reply.status}: {reply.read()}")
        reply.read()


def look(port, url):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", url.split(str(port), 1)[1])
    reply = connection.getresponse()
    if reply.status != 200 or not reply.read():
        raise SystemExit(f"review: {reply.status}")


on = ["--store", "log.db"]
policy = ["--policy", "policy", "--base", "base"]
# The verb's words, and what it makes, which is kept.
calls = [
    ("info", ["info"], None),
    ("import", ["import", *on, "--format", "sgd", f"{data}/train", f"{data}/dev"], "log.db"),
    ("stats", ["stats", *on], None),
    ("label", ["label", *on], None),
    ("export", ["export", *on, "--format", "chat", "--split", "dev", "--out", "dev.jsonl"], "dev.jsonl"),
    ("sft", ["sft", *on, "--base", "builtin", "--out", "base"], "base"),
    ("train", ["train", *on, "--base", "base", "--algo", "cql", "--out", "policy"], "policy"),
    ("eval", ["eval", *on, *policy, "--split", "dev"], None),
    ("replay", ["replay", *on, *policy, "--split", "dev", "--disagree", "--limit", "20"], None),
    ("decide", ["decide", *policy, "--out", "decided.jsonl", "dev.jsonl"], "decided.jsonl"),
    ("compress", ["compress", *on, *policy, "--weights", "int8", "--held-out", "dev", "--anyway", "--out", "small"], "small"),
    ("verify", ["verify", "--base", "base"], None),
    ("simulate", ["simulate", "--store", "played.db", "--env", "support-desk", "--behaviour", "support-82", "--episodes", "10000"], "played.db"),
    ("learn", ["learn", *on, "--out", "rounds", "--base", "base", "--algo", "cql", "--test", "dev"], "rounds"),
]

os.makedirs(work, exist_ok=True)
os.chdir(work)
print(f"{'verb':10} {'wall s':>8} {'processor s':>12} {'peak MB':>8}", flush=True)


def row(name, took):
    print(f"{name:10} {took[0]:8.1f} {took[1]:12.1f} {took[2]:8.0f}", flush=True)


for name, words, made in calls:
    if wanted and name not in wanted:
        continue
    if made and os.path.exists(made) and not wanted:
        continue
    for path in [made] if made else []:
        shutil.rmtree(path) if os.path.isdir(path) else os.path.exists(path) and os.remove(path)
    row(name, call(*words, "--quiet"))
for name, words, ask in (("serve", ["serve", *policy, "--store", "served.db"], choose), ("review", ["review", *on, *policy], look)):
    if not wanted or name in wanted:
        row(name, served([*words, "--listen", "127.0.0.1:0"], ask))
if not wanted or "chat" in wanted:
    row("chat", call("chat", *policy, text="I need a table for two.\n"))
print(f"log: {os.path.getsize('log.db') / 1e6:.0f} MB,", *sqlite3.connect("log.db").execute("SELECT (SELECT count(*) FROM conversations) || ' conversations, ' || (SELECT count(*) FROM decisions) || ' decisions'").fetchone())
