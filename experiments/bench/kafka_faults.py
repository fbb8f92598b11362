#!/usr/bin/env python3
"""Every conversation once: a real broker of Kafka (experiments/kafka.sh), a consumer that is killed again and again,
and a broker that is restarted in between, in turns in an orderly way and by SIGKILL.

    experiments/bench/kafka_faults.py KEEL FOLDER [--conversations 100000] [--kills 50] [--restarts 5] [--seed 1]

FOLDER is new; the broker's jars are taken from runs/kafka where kafka.sh has fetched them. In the end the store is
compared, row by row, with one that `keel import` makes of the same conversations."""
import argparse
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOPIC = "faults"


def conversations(n, seed):
    draw = random.Random(seed)
    words = "please refund the order card number table three room booking cancel my account now".split()
    for i in range(n):
        messages = []
        for _ in range(draw.randint(1, 3)):
            messages.append({"role": "user", "content": " ".join(draw.choices(words, k=draw.randint(3, 12)))})
            messages.append({"role": "assistant", "content": " ".join(draw.choices(words, k=draw.randint(3, 20))),
                             "latency_ms": draw.randint(50, 900), "propensity": round(draw.uniform(0.2, 1), 3)})
        yield json.dumps({"id": f"c{i}", "messages": messages, "completed": draw.random() < 0.6,
                          "risk": draw.choice(["benign", "benign", "dangerous"])}) + "\n"


class Broker:
    def __init__(self, folder, port):
        self.env = dict(os.environ, KEEL_KAFKA=folder, KEEL_KAFKA_PORT=str(port))

    def call(self, *args, **more):
        subprocess.run(["sh", os.path.join(HERE, "..", "kafka.sh"), *args], env=self.env, check=True, **more)

    def produce(self, path):
        return subprocess.Popen(["sh", os.path.join(HERE, "..", "kafka.sh"), "produce", TOPIC], env=self.env,
                                stdin=open(path, "rb"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def rows(path, sql):
    store = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return store.execute(sql).fetchall()
    except sqlite3.OperationalError:
        return []
    finally:
        store.close()


def read_so_far(path):
    found = rows(path, "SELECT count(*) FROM stream_messages") if os.path.exists(path) else []
    return found[0][0] if found else 0


def wait_until_it_reads(store, before):
    until = time.time() + 3
    while read_so_far(store) == before and time.time() < until:
        time.sleep(0.002)


CONTENT = """SELECT c.external_id, c.risk, c.completed, t.position, t.role, t.text, k.propensity, x.accuracy, x.speed, x.safety
  FROM conversations c JOIN turns t ON t.conversation_id = c.id
  LEFT JOIN decisions d ON d.conversation_id = c.id AND d.turn = t.position
  LEFT JOIN candidates k ON k.decision_id = d.id LEFT JOIN transitions x ON x.candidate_id = k.id
  ORDER BY c.external_id, t.position"""


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("keel")
    ask.add_argument("folder")
    ask.add_argument("--conversations", type=int, default=100000)
    ask.add_argument("--kills", type=int, default=50)
    ask.add_argument("--restarts", type=int, default=5)
    ask.add_argument("--parts", type=int, default=20, help="in how many parts they are produced while others are read")
    ask.add_argument("--port", type=int, default=19192)
    ask.add_argument("--seed", type=int, default=1)
    a = ask.parse_args()
    draw = random.Random(a.seed)
    keel, n = os.path.abspath(a.keel), a.conversations
    os.makedirs(a.folder)
    broker_folder = os.path.join(os.path.abspath(a.folder), "kafka")
    os.makedirs(broker_folder)
    jars = os.path.join(os.environ.get("KEEL_KAFKA", "runs/kafka"), "lib")
    if os.path.isdir(jars):
        shutil.copytree(jars, os.path.join(broker_folder, "lib"))
    broker = Broker(broker_folder, a.port)
    store, plain = os.path.join(a.folder, "stream.db"), os.path.join(a.folder, "plain.db")

    lines = list(conversations(n, a.seed))
    whole = os.path.join(a.folder, "all.jsonl")
    open(whole, "w").writelines(lines)
    parts = []
    for i in range(a.parts):
        parts.append(os.path.join(a.folder, f"part{i}.jsonl"))
        open(parts[i], "w").writelines(lines[i * n // a.parts:(i + 1) * n // a.parts])

    begun, producers = time.time(), []
    broker.call("start")
    command = [keel, "consume", "--brokers", f"127.0.0.1:{a.port}", "--topic", TOPIC, "--store", store, "--quiet",
               "--batch", "300"]
    kills = during = restarts = 0
    due = [a.kills * (i + 1) // (a.restarts + 1) for i in range(a.restarts)]
    while kills < a.kills:
        while parts and kills * a.parts >= (a.parts - len(parts)) * a.kills * 0.9:
            producers.append(broker.produce(parts.pop(0)))
            if len(producers) == 1:
                producers[0].wait()
        before = read_so_far(store)
        one = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        if kills % 5 == 0:  # at any time: while it connects, too
            time.sleep(draw.uniform(0.02, 0.5))
        else:
            wait_until_it_reads(store, before)
            time.sleep(draw.uniform(0, 0.06))
        if restarts < len(due) and kills == due[restarts]:
            broker.call("kill" if restarts % 2 else "stop")
            broker.call("start")
            restarts += 1
            time.sleep(draw.uniform(0.1, 0.5))
        if one.poll() is not None:
            sys.exit(f"the consumer ended by itself: {one.stderr.read().decode()}")
        one.send_signal(signal.SIGKILL)
        one.wait()
        kills += 1
        during += before < read_so_far(store) < n
    for producer in producers + [broker.produce(part) for part in parts]:
        if producer.wait() != 0:
            sys.exit("a producer failed")
    last = json.loads(subprocess.run(command + ["--until-end", "--json"], check=True, capture_output=True).stdout)
    again = json.loads(subprocess.run(command + ["--until-end", "--json"], check=True, capture_output=True).stdout)
    broker.call("stop")
    seconds = time.time() - begun

    subprocess.run([keel, "import", "--store", plain, "--format", "chat", "--quiet", whole], check=True,
                   stdout=subprocess.DEVNULL)
    (count, distinct), = rows(store, "SELECT count(*), count(DISTINCT external_id) FROM conversations")
    (messages, once), = rows(store, "SELECT count(*), count(DISTINCT conversation_id) FROM stream_messages")
    (next_,), = rows(store, "SELECT sum(next) FROM stream_offsets")
    same = rows(store, CONTENT) == rows(plain, CONTENT)
    for name, value in [("conversations produced", n), ("consumer killed", kills), ("of those, while it was reading", during),
                        ("broker restarted", restarts), ("conversations in the store", count),
                        ("of those, distinct", distinct), ("messages in the store", messages),
                        ("conversations that they are", once), ("offsets read", next_),
                        ("left for the last run", last["messages"]), ("for one more", again["messages"]),
                        ("seconds", round(seconds, 1))]:
        print(f"{name:32} {value:>10}")
    print("every turn, label and reward is that of an import of the same file:", "yes" if same else "NO")
    good = count == distinct == messages == once == n and again["messages"] == 0 and same
    print("every conversation once, none lost" if good else "NOT every conversation once")
    sys.exit(not good)


if __name__ == "__main__":
    main()
