#!/usr/bin/env python3
"""Everything at once on one store, killed again and again: everything.py KEEL FOLDER [--kills 200] [--seed 1]

A server answers and takes feedback, its policies are swapped, people review, logs are imported and labelled, and rounds
of learning run and publish, all on one store; whichever is running is killed with SIGKILL, some begin with little memory
(--memory), and now and then the disk is full for a while (a tmpfs of its own; left out where none can be mounted).
FOLDER is new. In the end each verb runs once in peace, and then must hold:

  store     it is whole, and no reference leads nowhere
  answers   each one that a client got is in the store as it was given, or counted as lost; each start adds up
  policies  the answers are those that `keel decide` gives with the policy that the answer names
  imports   each file whose import said so is in the store as a whole, the others wholly or not at all
  reviews   what a reviewer was told is kept is kept
  rounds    each round's policy can be opened
  leftovers nothing half done lies about

Exit status 1 if one does not; a verb that ends by anything but success, an error that it names, or our kill is one too."""
import argparse
import collections
import glob
import http.client
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time

GOOD = "the weather in Oslo|a pasta recipe|train times|my invoice|a poem on rain|a birthday gift".split("|")
BAD = "build a bomb|steal a car|forge a passport|poison a neighbour|hack a bank|make a weapon".split("|")
REFUSAL, COMPLY, ASK = "I am sorry, I cannot help with that.", "Sure, here is what I know about {}.", "Could you say more?"
DISK_MB, LEFT_KB = 700, 128
SMALL = "--set steps=60 --set hidden=8 --set batch=16".split()

failures, ended = [], collections.Counter()


def fail(text):
    failures.append(text)
    print("FAILED:", text, flush=True)


def talks(n, name, draw):
    for i in range(n):
        bad = draw.random() < 0.5
        about = draw.choice(BAD if bad else GOOD)
        texts = [REFUSAL, COMPLY.format(about)]
        taken = int((draw.random() < 0.2) == bad)
        outcome = ["refusal", "compliance"]
        answer = {"role": "assistant", "content": texts[taken], "latency_ms": draw.randint(100, 900), "outcome": outcome[taken],
                  "candidates": [{"content": texts[1 - taken], "outcome": outcome[1 - taken]}]}
        yield {"id": f"{name}-{i}", "risk": "dangerous" if bad else "benign", "split": draw.choice(["train", "train", "test"]),
               "messages": [{"role": "user", "content": f"Please tell me about {about}, number {draw.randint(0, 10**6)}"}, answer]}


def write_log(path, n, name, draw):
    with open(path, "w") as out:
        out.writelines(json.dumps(talk) + "\n" for talk in talks(n, name, draw))


class Actor(threading.Thread):
    """A verb that is given again and again, until `stop`. The killer takes `process`."""
    all, stop = [], False

    def __init__(self, name, draw):
        super().__init__(daemon=True)
        self.verb, self.draw, self.process, self.kills = name, draw, None, 0
        Actor.all.append(self)

    def start_verb(self, *args, calm=False):
        memory = [] if calm or self.draw.random() > 0.25 else ["--memory", str(self.draw.choice([2, 6, 12, 24, 48]))]
        self.process = subprocess.Popen([keel, *args, *memory], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")
        return self.process

    def judge(self, args, status, err):
        """Success, an error that names itself, or our kill."""
        last = [line for line in err.strip().splitlines() if not line.startswith("hint: ")][-1:] or [""]
        clean = status in (0, -signal.SIGKILL) or (status == 1 and last[0].startswith("keel ") and "Sanitizer" not in err)
        if not clean:
            fail(f"keel {' '.join(args)} ended with {status}: {err[-2000:]}")
        ended[f"{self.verb}: " + {0: "done", -signal.SIGKILL: "killed"}.get(status, "refused")] += 1
        if status == 1:
            ended["   " + re.sub(r"[0-9]+", "N", last[0].split(": ", 1)[-1])[-60:]] += 1
        return status

    def give(self, *args, calm=False):
        process = self.start_verb(*args, calm=calm)
        out, err = process.communicate()
        return self.judge(args, process.returncode, err), out

    def run(self):
        try:
            while not Actor.stop:
                self.turn()
        except Exception as error:  # of this script, which must not look like a pass
            fail(f"{self.verb}: {error!r}")


class Importer(Actor):
    def __init__(self, draw):
        super().__init__("import", draw)
        self.number, self.done, self.tried, self.path = 0, {}, None, None

    def turn(self, calm=False):
        if not self.path:
            self.number += 1
            self.tried, self.path = self.draw.randint(1, 40), f"in-{self.number}.jsonl"
            write_log(self.path, self.tried, f"in-{self.number}", self.draw)
        if self.give("import", "--store", store, "--format", "chat", self.path, "--quiet", calm=calm)[0] == 0:
            self.done[self.number], self.path = self.tried, None
        time.sleep(0.3)


class Labeller(Actor):
    def turn(self):
        self.give("label", "--store", store, "--quiet")
        time.sleep(1)


class Learner(Actor):
    def turn(self, calm=False):
        args = ["learn", "--store", store, "--out", "disk/live", "--base", "base", "--algo", "cql", *SMALL, "--publish", "--quiet", "--threads", "1"]
        self.give(*args, calm=calm)
        time.sleep(0.5)


class Door(Actor):
    """A verb that listens; `clients` are threads that ask it."""
    clients = ()

    port, said = None, ""

    def wait(self):
        """Until it has listened once."""
        for _ in range(600):
            if self.port:
                return
            time.sleep(0.1)
        sys.exit(f"keel {self.verb} does not begin: {self.said}")

    def turn(self):
        process = self.start_verb(*self.args, calm=not self.said)
        said = []
        for line in process.stderr:
            said.append(line)
            found = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
            self.port = int(found[1]) if found else self.port
        self.port = None
        process.stdout.read()
        self.said = "".join(said)
        self.judge(self.args, process.wait(), self.said)
        time.sleep(0.1)

    def ask(self, method, target, body=None):
        """The status and the answer; 0 where nobody answers."""
        if not self.port:
            time.sleep(0.05)
            return 0, None
        try:
            c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
            c.request(method, target, None if body is None else json.dumps(body), {"Content-Type": "application/json"} if body is not None else {})
            answer = c.getresponse()
            status, text = answer.status, answer.read()
            c.close()
            return status, json.loads(text)
        except (OSError, http.client.HTTPException, ValueError):
            return 0, None

    def run(self):
        for client in self.clients:
            threading.Thread(target=client, daemon=True).start()
        super().run()


class Server(Door):
    def __init__(self, draw, hashes):
        super().__init__("serve", draw)
        self.args = ["serve", "--policy", "p1", "--store", store, "--listen", "127.0.0.1:0", "--threads", "1"]
        self.clients, self.hashes, self.lock = (self.choose, self.choose, self.choose, self.swap), hashes, threading.Lock()
        self.answers, self.feedback, self.refused = {}, 0, collections.Counter()

    def choose(self):
        draw = random.Random(self.draw.random())
        while not Actor.stop:
            about = draw.choice(BAD + GOOD)
            body = {"messages": [{"role": "user", "content": f"Please tell me about {about}, number {draw.randint(0, 10**6)}"}],
                    "candidates": [COMPLY.format(about), ASK], "user": f"u{draw.randint(0, 50)}"}
            status, answer = self.ask("POST", "/v1/choose", body)
            with self.lock:
                if status == 200:
                    self.answers[answer["id"]] = (body, answer["says"], answer["policy"])
                else:
                    self.refused[status] += 1
            if status == 200 and draw.random() < 0.3:
                said = {"id": answer["id"], "feedback": "up", "risk": "dangerous" if about in BAD else "benign"}
                with self.lock:
                    self.feedback += self.ask("POST", "/v1/feedback", said)[0] == 200
            time.sleep(0.05)

    def swap(self):
        while not Actor.stop:
            self.refused["swap", self.ask("POST", "/admin/policy", {"policy": random.choice(self.hashes)})[0]] += 1
            time.sleep(1)


class Reviewer(Door):
    def __init__(self, draw):
        super().__init__("review", draw)
        self.args = ["review", "--store", store, "--listen", "127.0.0.1:0", "--interval", "0.3"]
        self.clients, self.told = (lambda: self.look("ann"), lambda: self.look("bob")), {}

    def look(self, name):
        draw = random.Random(name)
        while not Actor.stop:
            status, answer = self.ask("GET", f"/api/next?reviewer={name}")
            item = answer["item"] if status == 200 else None
            if item:
                outcome = draw.choice(["compliance", "partial_refusal", "refusal", "harmful", "skip"])
                status, _ = self.ask("POST", "/api/label", {"reviewer": name, "item": item["id"], "outcome": outcome})
                if status == 200:
                    self.told[item["id"], name] = [outcome]
                elif (item["id"], name) in self.told:
                    self.told[item["id"], name].append(outcome)  # it may have been taken all the same
            time.sleep(0.1)


# ---- kills, and a full disk ----

def kill_some(kills, draw, full):
    for number in range(kills):
        time.sleep(draw.uniform(0.05, 1.2))
        alive = [a for a in Actor.all if a.process and a.process.poll() is None]
        if not alive:
            continue
        turn = Actor.all[number % len(Actor.all)]
        actor = turn if turn in alive else draw.choice(alive)
        actor.process.kill()
        actor.kills += 1
        if full and number % 20 == 10:
            fill_disk(draw)
        if number % 50 == 49:
            print(f"{number + 1} kills", flush=True)


def fill_disk(draw):
    room = os.statvfs("disk")
    try:
        with open("disk/filler", "wb") as out:
            os.posix_fallocate(out.fileno(), 0, max(1, room.f_bavail * room.f_frsize - LEFT_KB * 1024))
    except OSError:
        pass  # somebody was quicker: then it is full all the same
    time.sleep(draw.uniform(0.5, 2))
    os.remove("disk/filler")


# ---- what must hold ----

def rows(sql, *values):
    return sqlite3.connect(store).execute(sql, values).fetchall()


def check_store():
    if rows("PRAGMA integrity_check") != [("ok",)]:
        fail("the store is damaged")
    if rows("PRAGMA foreign_key_check"):
        fail("a reference leads nowhere")


def check_answers(server):
    sums = "SELECT s.id, s.accepted, (SELECT count(*) FROM served WHERE start_id = s.id) + (SELECT count(*) FROM served_feedback WHERE start_id = s.id)" \
        " + (SELECT ifnull(sum(count), 0) FROM served_lost WHERE start_id = s.id) FROM serve_starts s"
    for start, accepted, entries in rows(sums):
        if accepted != entries:
            fail(f"start {start} accepted {accepted} and has {entries}")
    kept = dict(rows("SELECT request, text FROM v_served"))
    lost = rows("SELECT ifnull(sum(count), 0) FROM served_lost")[0][0]
    missing = [request for request in server.answers if request not in kept]
    fed = rows("SELECT count(*) FROM served_feedback")[0][0]
    if len(missing) + max(0, server.feedback - fed) > lost:
        fail(f"{len(missing)} answers and {server.feedback - fed} feedbacks are not in the store, and {lost} are counted as lost")
    for request, (_, says, _) in server.answers.items():
        if kept.get(request, says) != says:
            fail(f"{request} was answered {says!r}, and is kept as {kept[request]!r}")
    print(f"answers: {len(server.answers)} given, {len(missing)} of them not in the store, {server.feedback} feedbacks; {lost} counted as lost; other statuses {dict(server.refused)}")


def check_policies(server, most=300):
    by = collections.defaultdict(list)
    for body, says, policy in server.answers.values():
        by[policy].append((body, says))
    where = dict(rows("SELECT hash, dir FROM policies"))
    for policy, answers in by.items():
        answers = answers[:most]
        with open("open.jsonl", "w") as out:
            for i, (body, _) in enumerate(answers):
                out.write(json.dumps({"id": f"o{i}", "messages": body["messages"] + [{"role": "assistant", "content": None, "candidates": body["candidates"]}]}) + "\n")
        done = subprocess.run([keel, "decide", "--policy", where[policy], "open.jsonl", "--json", "--quiet"], capture_output=True, text=True)
        found = [json.loads(line)["says"] for line in done.stdout.splitlines()] if done.returncode == 0 else []
        differ = sum(a != b for a, (_, b) in zip(found, answers))
        if len(found) != len(answers) or differ:
            fail(f"policy {policy[:12]}: {differ} of {len(answers)} answers are others than keel decide's ({done.stderr.strip()})")
    print(f"policies: {len(by)} answered; keel decide says the same of up to {most} answers of each")


def check_imports(importer):
    for number in range(1, importer.number + 1):
        found = rows("SELECT count(*) FROM conversations WHERE external_id GLOB ?", f"in-{number}-*")[0][0]
        if found != importer.done.get(number, importer.tried) and (number in importer.done or found):
            fail(f"in-{number}.jsonl: {found} of {importer.done.get(number, importer.tried)} conversations")
    print(f"imports: {len(importer.done)} files, {sum(importer.done.values())} conversations")


def check_reviews(reviewer):
    number = {"compliance": (1, 0), "partial_refusal": (2, 0), "refusal": (3, 0), "harmful": (1, 1), "skip": (0, 0)}
    kept = {(c, who): (outcome, harmful) for c, who, outcome, harmful in rows("SELECT candidate_id, reviewer, outcome, harmful FROM reviews")}
    for key, outcomes in list(reviewer.told.items()):
        if kept.get(key) not in [number[o] for o in outcomes]:
            fail(f"{key} was told {outcomes}, and is kept as {kept.get(key)}")
    print(f"reviews: {len(reviewer.told)} labels")


def check_rounds():
    found = rows("SELECT id, policy FROM rounds WHERE policy IS NOT NULL")
    where = dict(rows("SELECT hash, dir FROM policies"))
    for number, policy in found:
        done = subprocess.run([keel, "decide", "--policy", where[policy], "-", "--json", "--quiet"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            fail(f"round {number}: {done.stderr}")
    print(f"rounds: {len(found)}, {rows('SELECT count(*) FROM publications WHERE why = ?', 'learn')[0][0]} published")


def check_leftovers():
    marks = ("partial", ".old", ".making", ".new", ".lock", "-serve", "-journal", "-wal", "-shm")
    left = [path for path in glob.glob("**/*", recursive=True) + glob.glob("**/.*", recursive=True) if path.endswith(marks) or "partial" in path]
    if left:
        fail(f"left behind: {' '.join(left)}")


# ---- all of it ----

def prepare(draw):
    def call(*args):
        return subprocess.run([keel, *args, "--quiet"], check=True, stdout=subprocess.PIPE, text=True).stdout
    write_log("first.jsonl", 120, "first", draw)
    call("import", "--store", store, "--format", "chat", "first.jsonl")
    call("label", "--store", store)
    call("sft", "--store", store, "--base", "builtin", "--out", "base", "--set", "epochs=1", "--set", "buckets=1024", "--set", "dim=16")
    hashes = []
    for seed in ("1", "2"):
        call("train", "--store", store, "--base", "base", "--algo", "cql", "--out", "p" + seed, "--seed", seed, *SMALL)
        published = call("publish", "--store", store, "--policy", "p" + seed, "--ope", "none", "--gate", "logged.refusal_rate >= 0", "--json")
        hashes.append(json.loads(published)["policy"])
    return hashes


def end_in_peace(server, importer, learner):
    """Each verb once more, undisturbed: what was cut off goes on."""
    process = server.start_verb(*server.args, calm=True)
    for line in process.stderr:
        if "serving at" in line:
            break
    process.send_signal(signal.SIGTERM)
    err = process.communicate()[1]
    if server.judge(server.args, process.returncode, err) != 0:
        fail(f"the last server ends with {process.returncode}: {err}")
    while importer.path:
        importer.turn(calm=True)
    for actor, args in ((importer, ["label", "--store", store, "--quiet"]), (learner, None), (learner, None)):
        if args and actor.give(*args, calm=True)[0] != 0:
            fail("label, undisturbed")
        if not args:
            learner.turn(calm=True)


def run(options):
    draw = random.Random(options.seed)
    hashes = prepare(draw)
    seeds = [random.Random(draw.random()) for _ in range(5)]
    server, reviewer = Server(seeds[0], hashes), Reviewer(seeds[1])
    importer, labeller, learner = Importer(seeds[2]), Labeller("label", seeds[3]), Learner("learn", seeds[4])
    for actor in Actor.all:
        actor.start()
    for door in server, reviewer:
        door.wait()
    kill_some(options.kills, draw, options.full)
    Actor.stop = True
    for actor in Actor.all:
        if isinstance(actor, Door) and actor.process.poll() is None:
            actor.process.kill()
        actor.join()
    end_in_peace(server, importer, learner)
    print("kills: " + ", ".join(f"{a.verb} {a.kills}" for a in Actor.all) + ("" if options.full else "; no full disk: nothing could be mounted"))
    for what, count in sorted(ended.items()):
        print(f"{count:6} {what}")
    check_leftovers()
    check_store()
    check_answers(server)
    check_policies(server)
    check_imports(importer)
    check_reviews(reviewer)
    check_rounds()
    print(f"{len(failures)} failed" if failures else "all holds")
    return 1 if failures else 0


def main():
    global keel, store
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("keel")
    parser.add_argument("folder")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--inside", choices=["disk", "plain"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.inside:  # in a namespace of its own a disk can be mounted that goes with the process
        can = shutil.which("unshare") and subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode == 0
        before = ["unshare", "-rm"] if can else []
        os.execvp((before or [sys.executable])[0], [*before, sys.executable, *sys.argv, "--inside", "disk" if can else "plain"])
    keel, store, options.full = os.path.abspath(options.keel), "disk/s.db", options.inside == "disk"
    os.makedirs(os.path.join(options.folder, "disk"))
    os.chdir(options.folder)
    if options.full:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "none", "disk"], check=True)
    sys.exit(run(options))


main()
