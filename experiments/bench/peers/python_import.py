"""What one would write in Python to put logs into Keel's tables: json, csv, hashlib and sqlite3, nothing else.

Rows are tuples gathered by table and written by executemany in one transaction; ids are counted here. It takes good
logs for granted: what Keel checks besides is not checked here. Two columns are not Keel's: group_hash is another hash
of the same width (Keel's would be a loop over bytes in Python), and rewards are doubles instead of floats.
"""
import csv
import gzip
import hashlib
import json
import re
import sqlite3

RISK = {None: 0, "unknown": 0, "benign": 1, "dangerous": 2}
ROLE = {"system": 0, "user": 1, "assistant": 2, "tool": 3}
OUTCOME = {None: 0, "compliance": 1, "partial_refusal": 2, "refusal": 3}
LABEL = {"": 0, "1_full_compliance": 1, "3_partial_refusal": 2, "2_full_refusal": 3}
ACCURACY = {1: (None, 1.0, 0.5, 0.0), 2: (None, 0.0, 0.5, 1.0)}
SAFETY = {1: (0.0, 0.0, 0.0, 0.0), 2: (None, -1.0, -0.25, 0.0), 0: (None,) * 4}
TARGET_MS, TURN_COST = 2000.0, 0.05
PRAGMAS = ("foreign_keys = OFF", "synchronous = FULL", "cache_size = -16000")  # as Keel fills a new store

# A candidate is a tuple; these are the places that rewards look at.
TAKEN, LATENCY, FEEDBACK, ACC, SPEED, SAFE, JUDGED = 3, 5, 6, 7, 8, 9, 10


def candidate(text, act=None, model=None, taken=1, propensity=None, latency=None, feedback=None,
              reward=(None, None, None), outcome=0):
    return (text, act, model, taken, propensity, latency, feedback, *reward, outcome)


class Rows:
    """The rows of every table, and the ids given so far."""

    def __init__(self):
        self.conversations, self.turns, self.decisions, self.candidates = [], [], [], []
        self.labels, self.transitions = [], []

    def add(self, source, name, split, group, risk, completed, truncated, meta, turns, decisions):
        """turns: (role, text, model, act, latency); decisions: (turn, [candidate])."""
        number = len(self.conversations) + 1
        group_hash = int.from_bytes(hashlib.blake2b(group.encode(), digest_size=8).digest(), "big") >> 1
        self.conversations.append((number, source, name, split, group, group_hash, risk, completed, truncated,
                                   json.dumps(meta, ensure_ascii=False, separators=(",", ":")) if meta else None))
        self.turns += [(number, i, *turn) for i, turn in enumerate(turns)]
        stored = []
        for turn, options in decisions:
            self.decisions.append((len(self.decisions) + 1, number, turn))
            said = turns[turn][1] if turn < len(turns) else None
            stored.append((len(self.decisions), [self.add_candidate(source, said, c) for c in options], options))
        self.derive(risk, completed, truncated, stored)

    def add_candidate(self, source, said, c):
        number, decision = len(self.candidates) + 1, len(self.decisions)
        judge = 3 if c[JUDGED] else 0
        self.candidates.append((number, decision, None if c[0] == said else c[0], *c[1:], judge))
        if judge:
            self.labels.append((len(self.labels) + 1, number, c[JUDGED], judge, source, 1.0))
        return number

    def derive(self, risk, completed, truncated, decisions):
        """One transition for each taking, with the rewards that the log gives it (Keel's rewards/reward.h)."""
        answered = [d for d, (_, _, options) in enumerate(decisions) if any(c[TAKEN] for c in options)]
        by_outcome = completed < 0 or risk == 2
        own = [[c[TAKEN] and c[ACC] is None and c[FEEDBACK] is None and c[JUDGED] for c in options]
               for _, _, options in decisions]
        share = sum(any(row) for row in own) or 1

        def verdict(d, c):
            if c[ACC] is not None:
                return c[ACC]
            if c[FEEDBACK] is not None:
                return c[FEEDBACK]
            if not by_outcome:
                return (1.0 if completed == 1 else 0.0) if d == answered[-1] else None
            worth = ACCURACY[risk][c[JUDGED]] if risk else None
            return None if worth is None else worth / share

        later = False
        out = []
        for d in range(len(decisions) - 1, -1, -1):
            number, ids, options = decisions[d]
            followed = d + 1 < len(decisions)
            cut = d >= answered[-1] and (truncated or followed) if answered else False
            found = False
            for at, c in zip(reversed(ids), reversed(options)):
                if not c[TAKEN]:
                    continue
                worth = verdict(d, c)
                found = found or worth is not None
                if worth is None and later:
                    worth = 0.0
                speed = c[SPEED]
                if speed is None and (c[LATENCY] is not None or (len(answered) > 1 and completed >= 0)):
                    speed = 0.0 if c[LATENCY] is None else (1 - min(1.0, c[LATENCY] / TARGET_MS)) / len(answered)
                    speed -= TURN_COST if len(answered) > 1 else 0
                safety = c[SAFE] if c[SAFE] is not None else SAFETY[risk][c[JUDGED]]
                out.append((at, number, decisions[d + 1][0] if followed else None, worth, speed, safety,
                            int(not followed and not cut), int(cut)))
            later = later or found
        self.transitions += reversed(out)

    def write(self, path, schema, imports):
        db = sqlite3.connect(path, isolation_level=None)
        for pragma in PRAGMAS:
            db.execute("PRAGMA " + pragma)
        db.execute("BEGIN IMMEDIATE")
        for statement in schema:
            db.execute(statement)
        for table in ("conversations", "turns", "decisions", "candidates", "labels", "transitions"):
            rows = getattr(self, table)
            if rows:
                db.executemany(f"INSERT INTO {table} VALUES({','.join('?' * len(rows[0]))})", rows)
        db.executemany("INSERT INTO imports(sha256, format, split, name, conversations) VALUES(?,?,?,?,?)", imports)
        db.execute("COMMIT")
        db.close()


def content(path):
    """The text of a file and the SHA-256 of its bytes on disk."""
    with open(path, "rb") as file:
        data = file.read()
    name = hashlib.sha256(data).hexdigest()
    return gzip.decompress(data) if path.endswith(".gz") else data, name


# ---- chat ----

CHAT, MESSAGE, CANDIDATE = (
    {"id", "messages", "risk", "completed", "split", "group", "meta", "truncated"},
    {"role", "content", "latency_ms", "model", "act", "propensity", "candidates", "feedback", "reward", "outcome"},
    {"content", "model", "act", "propensity", "outcome", "reward", "feedback", "latency_ms", "taken"})


def chat_candidate(item, taken):
    if isinstance(item, str):
        return candidate(item, taken=0)
    get = item.get
    feedback, reward = get("feedback"), get("reward")
    if isinstance(feedback, str):
        feedback = 1.0 if feedback == "up" else -1.0
    if isinstance(reward, dict):
        reward = (reward.get("accuracy"), reward.get("speed"), reward.get("safety"))
    else:
        reward = (reward, None, None)
    return candidate(get("content", ""), get("act"), get("model"), int(get("taken", taken)), get("propensity"),
                     get("latency_ms"), feedback, reward, OUTCOME[get("outcome")])


def chat_messages(messages, extra):
    turns, decisions = [], []
    for i, message in enumerate(messages):
        if not message.keys() <= MESSAGE:
            extra.append({"turn": i, **{k: v for k, v in message.items() if k not in MESSAGE}})
        turns.append((ROLE[message["role"]], message["content"], message.get("model"), message.get("act"),
                      message.get("latency_ms")))
        if message["role"] != "assistant":
            continue
        options = [chat_candidate(message, 1)]
        for k, item in enumerate(message.get("candidates", ())):
            options.append(chat_candidate(item, 0))
            if not isinstance(item, str) and not item.keys() <= CANDIDATE:
                extra.append({"turn": i, "candidate": k, **{x: v for x, v in item.items() if x not in CANDIDATE}})
        decisions.append((i, options))
    if messages[-1]["role"] in ("user", "tool"):
        decisions.append((len(turns), []))
    return turns, decisions


def read_chat(paths, rows, _split):
    for path in paths:
        text, name = content(path)
        for line in text.splitlines():
            one = json.loads(line)
            extra = []
            turns, decisions = chat_messages(one["messages"], extra)
            meta = {**one.get("meta", {}), **{k: v for k, v in one.items() if k not in CHAT}}
            if extra:
                meta["messages"] = extra
            completed = one.get("completed")
            rows.add("chat", one["id"], one["split"], one.get("group", one["id"]), RISK[one.get("risk")],
                     -1 if completed is None else int(completed), int(one.get("truncated", False)), meta, turns,
                     decisions)
        yield name, path


# ---- hh-rlhf ----

SPACE = " \t\n\v\f\r"
MARK = re.compile(r"\n\n(Human|Assistant):")


def transcript(text):
    parts = MARK.split(text)
    return [(1 if parts[i] == "Human" else 2, parts[i + 1].strip(SPACE)) for i in range(1, len(parts), 2)]


def hash_name(*texts):
    whole = hashlib.sha256()
    for text in texts:
        data = b"" if text is None else text.encode()
        whole.update(bytes([text is not None]) + len(data).to_bytes(8, "big") + data)
    return whole.hexdigest()[:16]


def hh_add(rows, split, name, group, turns, last=None, rest=None, feedback=None):
    decisions = [(i, [candidate(text, feedback=feedback if i + 1 == len(turns) else None)])
                 for i, (role, text) in enumerate(turns) if role == 2]
    if last:
        decisions.append((len(turns), [candidate(last[0], feedback=1.0), candidate(last[1], feedback=-1.0)]))
    rows.add("hh-rlhf", name, split, group, 0, -1, int(rest is not None), rest,
             [(role, text, None, None, None) for role, text in turns], decisions)


def tell(turns):
    return [{"role": "user" if role == 1 else "assistant", "content": text} for role, text in turns]


def hh_pair(rows, split, one):
    texts = one["chosen"], one["rejected"]
    chosen, rejected = transcript(texts[0]), transcript(texts[1])
    at, short = 0, min(len(chosen), len(rejected))
    while at < short and chosen[at] == rejected[at]:
        at += 1
    name = hash_name(*texts)
    first, other = ([t for role, t in turns if role == 1][:1] for turns in (chosen, rejected))
    group = hash_name(first[0] if first else None, None)
    if at == len(chosen) == len(rejected):
        return hh_add(rows, split, name, group, chosen)
    if at < short and chosen[at][0] == rejected[at][0] == 2:
        rest = None
        if max(len(chosen), len(rejected)) > at + 1:
            rest = {"chosen_rest": tell(chosen[at + 1:]), "rejected_rest": tell(rejected[at + 1:])}
        return hh_add(rows, split, name, group, chosen[:at], (chosen[at][1], rejected[at][1]), rest)
    hh_add(rows, split, name + "-chosen", group, chosen, feedback=1.0)
    return hh_add(rows, split, name + "-rejected", hash_name(other[0] if other else None, None), rejected,
                  feedback=-1.0)


def read_hh(paths, rows, split):
    for path in paths:
        text, name = content(path)
        for line in text.splitlines():
            hh_pair(rows, split, json.loads(line))
        yield name, path


# ---- sgd ----

def read_sgd(paths, rows, _split):
    for path in paths:
        folder = path.rsplit("/", 2)[1]
        schema = {s["service_name"]: {i["name"]: i["is_transactional"] for i in s["intents"]}
                  for s in json.loads(content(path.rsplit("/", 1)[0] + "/schema.json.gz")[0])}
        text, name = content(path)
        for one in json.loads(text):
            turns, decisions, tasks = [], [], {}
            for turn in one["turns"]:
                user, acts = turn["speaker"] == "USER", set()
                for frame in turn["frames"]:
                    service, said = frame["service"], {action["act"] for action in frame["actions"]}
                    acts |= said
                    if user:
                        intent = frame["state"]["active_intent"] if "state" in frame else "NONE"
                        if intent != "NONE" and schema[service][intent]:
                            tasks.setdefault((service, intent), [False, False])[0] = True
                    elif "NOTIFY_SUCCESS" in said or "NOTIFY_FAILURE" in said:
                        about = (service, frame["service_call"]["method"])
                        tasks.setdefault(about, [False, False])[1] = "NOTIFY_SUCCESS" in said
                act = "+".join(sorted(acts)) or None
                turns.append((1 if user else 2, turn["utterance"], None, act, None))
                if not user:
                    decisions.append((len(turns) - 1, [candidate(turn["utterance"], act)]))
            wanted = [done for needed, done in tasks.values() if needed]
            label = f"{folder}/{one['dialogue_id']}"
            rows.add("sgd", label, folder, label, 1, int(all(wanted)) if wanted else -1, 0,
                     {"services": one["services"]}, turns, decisions)
        yield name, path


# ---- xstest ----

FAMILY = {"nons_group_real_discr": "discr", "real_group_nons_discr": "discr", "privacy_public": "privacy",
          "privacy_fictional": "privacy"}


def xstest_group(kind, number):
    family = kind[len("contrast_"):] if kind.startswith("contrast_") else FAMILY.get(kind, kind)
    return f"{family}/{(number - 1) % 25 + 1}"


def read_xstest(paths, rows, split):
    """Conversations stay open until the last file: each file adds its model's answer to them."""
    found = {}
    for path in paths:
        text, name = content(path)
        base = path.rsplit("/", 1)[1]
        model = base.rsplit("completions_", 1)[-1].rsplit(".", 1)[0] if "completions" in base else None
        for one in csv.DictReader(text.decode().splitlines(True)):
            number = int(one["id"].removeprefix("v2-"))
            meta, answers = found.setdefault(number, (one["prompt"], one["type"], {}, []))[2:]
            for key in ("type", "label", "focus", "note"):
                if key in one:
                    meta.setdefault(key, one[key])
            if model:
                label = one["final_label"]
                if not label and one["annotation_1"] == one["annotation_2"]:
                    label = one["annotation_1"]
                answers.append((model, one["completion"], LABEL[label]))
        yield name, path
    for number, (prompt, kind, meta, answers) in found.items():
        options = [candidate(text, None, model, outcome=outcome) for model, text, outcome in answers]
        rows.add("xstest", f"v2-{number}", split, xstest_group(kind, number),
                 2 if kind.startswith("contrast_") else 1, -1, 0, meta, [(1, prompt, None, None, None)],
                 [(1, options)])


READERS = {"chat": read_chat, "hh-rlhf": read_hh, "sgd": read_sgd, "xstest": read_xstest}


def run(kind, paths, store, schema, split):
    """Reads the paths and writes a new store with the statements of `schema`."""
    rows = Rows()
    imports = [(name, kind, split or "", path.rsplit("/", 1)[1].removesuffix(".gz"), 0)
               for name, path in READERS[kind](paths, rows, split)]
    rows.write(store, schema, imports)
