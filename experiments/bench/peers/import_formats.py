"""Logs as other programs write them, and what one would write in Python to read them: json, csv and sqlite3.

FORMATS: name -> (make, read). make(folder, data) gives the paths of logs, public ones said anew under fresh names where
the data folder has some, else made-up ones. read(paths) gives conversations (name, completed, turns, decisions) as
python_import.Rows takes them. It takes good logs for granted and reads what these logs have, not what they might.
"""
import csv
import glob
import gzip
import itertools
import json
import os
import random
import sqlite3

from python_import import candidate

SIZE = 20_000  # conversations of a made-up log


def words(draw, low, high):
    return " ".join("".join(draw.choices("abcdefghijklmnopqrstuvwxyzéüñ", k=draw.randint(2, 9)))
                    for _ in range(draw.randint(low, high)))


def talks(seed, turns=2):
    draw = random.Random(seed)
    for n in range(SIZE):
        yield n, draw, [words(draw, 8, 30) for _ in range(turns)]


def lines(folder, name, items, array=False):
    path = f"{folder}/{name}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as out:
        if array:
            json.dump(list(items), out, ensure_ascii=False)
        for item in () if array else items:
            out.write(json.dumps(item, ensure_ascii=False) + "\n")
    return [path]


def opened(path):
    return gzip.open(path, "rt", encoding="utf-8") if path.endswith(".gz") else open(path, encoding="utf-8", newline="")


def objects(paths):
    for path in paths:
        with opened(path) as file:
            if path.endswith("l") or path.endswith("l.gz"):
                yield from map(json.loads, file)
            else:
                whole = json.load(file)
                yield from whole if isinstance(whole, list) else [whole]


def plain(text, role=1, model=None, latency=None):
    return role, text, model, None, latency


def answered(name, asked, said, model=None, latency=None, others=(), completed=-1, feedback=None):
    """One prompt, one answer that was given, and others that might have been."""
    return (name, completed, [plain(asked), plain(said, 2, model, latency)],
            [(1, [candidate(said, None, model, 1, None, latency, feedback), *others])])


def gathered(answers):
    """Answers of several models to one prompt: (name, prompt, answer)."""
    found = {}
    for name, asked, answer in answers:
        found.setdefault((name, asked), []).append(answer)
    for (name, asked), options in found.items():
        yield name, -1, [plain(asked)], [(1, options)]


ROLE = {"system": 0, "user": 1, "human": 1, "prompter": 1, "assistant": 2, "gpt": 2, "tool": 3, "function": 3}


def chatted(name, messages, model=None, completed=-1):
    turns = [plain(m.get("content") or "", ROLE[m["role"]], model if m["role"] == "assistant" else None) for m in messages]
    decisions = [(i, [candidate(t[1], None, t[2])]) for i, t in enumerate(turns) if t[0] == 2]
    if turns[-1][0] in (1, 3):
        decisions.append((len(turns), []))
    return name, completed, turns, decisions


def two(texts):
    return [{"role": "user", "content": texts[0]}, {"role": "assistant", "content": texts[1]}]


# ---- rows ----

def make_pairs(folder, _data):
    return lines(folder, "pairs.jsonl", ({"prompt": t[0], "chosen": t[1], "rejected": t[2]} for _, _, t in talks(1, 3)))


def read_pairs(paths):
    for n, one in enumerate(objects(paths)):
        yield str(n), -1, [plain(one["prompt"])], [(1, [candidate(one["chosen"], feedback=1.0),
                                                        candidate(one["rejected"], feedback=-1.0)])]


def make_prompts(folder, data):
    for n, path in itertools.product(range(20), sorted(glob.glob(f"{data}/k-overrefusal/*.jsonl.gz"))):
        once = {row["prompt"]: row for row in objects([path]) if row["response"]}
        rows = ({**row, "prompt": f"{asked} [{n}]", "model": os.path.basename(path)[:-9]} for asked, row in once.items())
        lines(folder, f"{n}-{os.path.basename(path)[:-3]}", rows)
    return sorted(glob.glob(f"{folder}/*.jsonl"))


def read_prompts(paths):
    return gathered((one["prompt"], one["prompt"], candidate(one["response"], None, one["model"])) for one in objects(paths))


def make_csv(folder, _data):
    with open(f"{folder}/rows.csv", "w", encoding="utf-8", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["prompt", "response", "model", "latency_ms"])
        rows.writerows([t[0], answer, model, draw.randint(50, 3000)]
                       for _, draw, t in talks(2, 3) for model, answer in zip("ab", t[1:]))
    return [f"{folder}/rows.csv"]


def read_csv(paths):
    return gathered((row["prompt"], row["prompt"], candidate(row["response"], None, row["model"], 1, None, float(row["latency_ms"])))
                    for path in paths for row in csv.DictReader(opened(path)))


# ---- trees ----

def make_chatgpt(folder, _data):
    def tree(n, texts):
        nodes = [("r", None, None, None), ("a", "r", "user", texts[0]), ("b", "a", "assistant", texts[1]),
                 ("c", "a", "assistant", texts[2])]
        return {"id": f"c{n}", "current_node": "b", "title": "t", "mapping": {i: {
            "id": i, "parent": parent, "children": [], "message": role and {
                "author": {"role": role}, "content": {"content_type": "text", "parts": [text]},
                "metadata": {"model_slug": "m"}}} for i, parent, role, text in nodes}}
    return lines(folder, "conversations.json", (tree(n, t) for n, _, t in talks(3, 3)), array=True)


def read_chatgpt(paths):
    for one in objects(paths):
        nodes, path, at = one["mapping"], [], one["current_node"]
        while at:
            if nodes[at]["message"]:
                path.append(at)
            at = nodes[at]["parent"]
        said = [(nodes[i]["message"]["author"]["role"], nodes[i]["message"]["content"]["parts"][0]) for i in reversed(path)]
        others = [candidate(n["message"]["content"]["parts"][0], None, "m", 0) for i, n in nodes.items()
                  if n["parent"] == path[1] and i != path[0]]
        yield answered(one["id"], said[0][1], said[1][1], "m", others=others)


def make_open_webui(folder, _data):
    def tree(n, texts):
        nodes = [("a", None, "user", texts[0]), ("b", "a", "assistant", texts[1]), ("c", "a", "assistant", texts[2])]
        return {"id": f"c{n}", "chat": {"title": "t", "history": {"currentId": "b", "messages": {
            i: {"id": i, "parentId": parent, "role": role, "content": text, "model": "m"} for i, parent, role, text in nodes}}}}
    return lines(folder, "chats.json", (tree(n, t) for n, _, t in talks(4, 3)), array=True)


def read_open_webui(paths):
    for one in objects(paths):
        history = one["chat"]["history"]
        nodes, last = history["messages"], history["currentId"]
        first = nodes[last]["parentId"]
        others = [candidate(n["content"], None, "m", 0) for i, n in nodes.items() if n["parentId"] == first and i != last]
        yield answered(one["id"], nodes[first]["content"], nodes[last]["content"], "m", others=others)


def make_oasst(folder, data):
    trees = list(objects(glob.glob(f"{data}/formats/oasst/*.jsonl.gz")))
    return lines(folder, "trees.jsonl", ({**tree, "message_tree_id": f"{tree['message_tree_id']}-{n}"}
                                         for n in range(30) for tree in trees))


def read_oasst(paths):
    for one in objects(paths):
        at, turns, decisions = one["prompt"], [], []
        while at:
            turns.append(plain(at["text"], ROLE[at["role"]]))
            replies = sorted((r for r in at["replies"] if not r.get("deleted") and r.get("review_result") is not False),
                             key=lambda r: 1e300 if r.get("rank") is None else r["rank"])
            if replies and replies[0]["role"] == "assistant":
                different = {r["text"]: r for r in reversed(replies)}
                decisions.append((len(turns), [candidate(r["text"], taken=int(r is replies[0]))
                                               for r in reversed(different.values())]))
            at = replies[0] if replies else None
        if turns[-1][0] == 1:
            decisions.append((len(turns), []))
        yield one["message_tree_id"], -1, turns, decisions


# ---- logs of services ----

def make_wildchat(folder, _data):
    return lines(folder, "rows.jsonl", ({"conversation_id": f"c{n}", "model": "m", "toxic": False, "conversation": two(t)}
                                        for n, _, t in talks(5)))


def read_wildchat(paths):
    return (chatted(one["conversation_id"], one["conversation"], one["model"]) for one in objects(paths))


def make_arena(folder, _data):
    return lines(folder, "votes.jsonl", ({"question_id": f"q{n}", "model_a": "a", "model_b": "b", "winner": "model_a",
                                          "conversation_a": two(t), "conversation_b": two([t[0], t[2]])} for n, _, t in talks(6, 3)))


def read_arena(paths):
    for one in objects(paths):
        a, b = one["conversation_a"], one["conversation_b"]
        vote = 1.0 if one["winner"] == "model_a" else -1.0
        yield answered(one["question_id"], a[0]["content"], a[1]["content"], one["model_a"], feedback=vote,
                       others=[candidate(b[1]["content"], None, one["model_b"], 1, None, None, -vote)])


def make_fastchat(folder, _data):
    return lines(folder, "log.jsonl", ({"tstamp": n, "type": "chat", "model": "m", "start": n, "finish": n + .5, "ip": "", "state": {
        "conv_id": f"c{n}", "offset": 0, "roles": ["USER", "ASSISTANT"], "messages": [["USER", t[0]], ["ASSISTANT", t[1]]]}}
        for n, _, t in talks(7)))


def read_fastchat(paths):
    for one in objects(paths):
        said = one["state"]["messages"]
        yield answered(one["state"]["conv_id"], said[0][1], said[1][1], one["model"], 1000 * (one["finish"] - one["start"]))


def make_langfuse(folder, _data):
    return lines(folder, "observations.jsonl", ({"id": f"o{n}", "type": "GENERATION", "traceId": f"t{n}", "model": "m",
        "startTime": "2024-01-01T00:00:00.000Z", "endTime": "2024-01-01T00:00:01.500Z", "input": two(t)[:1], "output": two(t)[1]}
        for n, _, t in talks(8)))


def read_langfuse(paths):
    return (answered(one["traceId"], one["input"][0]["content"], one["output"]["content"], one["model"], 1500.0)
            for one in objects(paths))


def make_otel(folder, _data):
    def span(n, t):
        said = [json.dumps([{"role": m["role"], "parts": [{"type": "text", "content": m["content"]}]}]) for m in two(t)]
        return {"traceId": f"{n:032x}", "spanId": f"{n:016x}", "name": "chat m", "startTimeUnixNano": "1000000000",
                "endTimeUnixNano": "2500000000", "attributes": [{"key": key, "value": {"stringValue": value}} for key, value in (
                    ("gen_ai.operation.name", "chat"), ("gen_ai.response.model", "m"), ("gen_ai.input.messages", said[0]),
                    ("gen_ai.output.messages", said[1]))]}
    return lines(folder, "spans.jsonl", ({"resourceSpans": [{"scopeSpans": [{"spans": [span(n, t)]}]}]} for n, _, t in talks(9)))


def read_otel(paths):
    for one in objects(paths):
        for span in one["resourceSpans"][0]["scopeSpans"][0]["spans"]:
            of = {a["key"]: a["value"]["stringValue"] for a in span["attributes"]}
            asked, said = (json.loads(of[f"gen_ai.{x}.messages"])[0]["parts"][0]["content"] for x in ("input", "output"))
            late = (int(span["endTimeUnixNano"]) - int(span["startTimeUnixNano"])) / 1e6
            yield answered(span["traceId"], asked, said, of["gen_ai.response.model"], late)


def make_llm(folder, _data):
    db = sqlite3.connect(f"{folder}/logs.db")
    db.executescript("CREATE TABLE conversations(id TEXT PRIMARY KEY, name TEXT, model TEXT); CREATE TABLE responses("
                     "id TEXT PRIMARY KEY, model TEXT, prompt TEXT, system TEXT, prompt_json TEXT, options_json TEXT, response TEXT,"
                     "response_json TEXT, conversation_id TEXT, duration_ms INTEGER, datetime_utc TEXT);")
    for n, draw, t in talks(10):
        db.execute("INSERT INTO conversations VALUES(?, 'x', 'm')", (f"c{n:06}",))
        db.execute("INSERT INTO responses VALUES(?, 'm', ?, NULL, NULL, '{}', ?, NULL, ?, ?, '2024-01-01T00:00:00')",
                   (f"r{n:06}", *t, f"c{n:06}", draw.randint(50, 3000)))
    db.commit()
    db.close()
    return [f"{folder}/logs.db"]


def read_llm(paths):
    for path in paths:
        for row in sqlite3.connect(path).execute("SELECT conversation_id, prompt, response, model, duration_ms FROM responses"):
            yield answered(*row[:4], float(row[4]))


# ---- results of evaluations ----

def make_promptfoo(folder, _data):
    def result(n, provider, texts, draw):
        return {"testIdx": n, "prompt": {"raw": texts[0], "label": "p"}, "vars": {"q": texts[0]}, "provider": {"id": provider},
                "response": {"output": draw.choice(texts[1:])}, "success": True, "score": 1, "latencyMs": draw.randint(50, 3000)}
    return lines(folder, "results.json", [{"evalId": "e", "config": {}, "results": {"version": 3, "results": [
        result(n, provider, t, draw) for n, draw, t in talks(11, 3) for provider in ("a", "b")]}}], array=False)


def read_promptfoo(paths):
    return gathered((json.dumps(r["vars"]), r["prompt"]["raw"], candidate(r["response"]["output"], None, r["provider"]["id"], 1, None,
                                                                           float(r["latencyMs"]), None, (float(r["success"]), None, None)))
                    for path in paths for r in json.load(opened(path))["results"]["results"])


def make_inspect(folder, _data):
    def sample(n, t, score):
        return {"id": n, "epoch": 1, "uuid": f"u{n}", "input": t[0], "target": "x", "messages": two(t), "metadata": {}, "store": {},
                "output": {"model": "m", "choices": [{"message": two(t)[1], "stop_reason": "stop"}], "time": 1.5},
                "scores": {"match": {"value": score}}, "events": []}
    for model in "ab":
        lines(folder, f"{model}.json", [{"version": 2, "status": "success", "eval": {"run_id": "r", "task": "t", "model": model}, "samples": [
            sample(n, [t[0], t[1 + (model == "b")]], draw.choice("CI")) for n, draw, t in talks(12, 3)]}])
    return [f"{folder}/a.json", f"{folder}/b.json"]


def read_inspect(paths):
    def answers():
        for path in paths:
            log = json.load(opened(path))
            for one in log["samples"]:
                asked, said = one["messages"]
                yield one["id"], asked["content"], candidate(said["content"], None, log["eval"]["model"], 1, None, 1000 * one["output"]["time"],
                                                             None, (float(one["scores"]["match"]["value"] == "C"), None, None))
    return gathered(answers())


def make_lm_eval(folder, _data):
    def row(n, t, good):
        return {"doc_id": n, "doc": {"question": t[0]}, "target": "x", "arguments": {"gen_args_0": {"arg_0": t[0], "arg_1": {"until": []}}},
                "resps": [[t[1]]], "filtered_resps": [t[1]], "filter": "none", "metrics": ["acc"], "acc": good, "doc_hash": f"h{n}"}
    return [lines(folder, f"{model}/samples_t_2024-01-01T00-00-00.0.jsonl", (
        row(n, [t[0], t[1 + (model == "b")]], float(draw.random() < .5)) for n, draw, t in talks(13, 3)))[0] for model in "ab"]


def read_lm_eval(paths):
    return gathered((one["doc_id"], one["arguments"]["gen_args_0"]["arg_0"], candidate(
        one["resps"][0][0], None, os.path.basename(os.path.dirname(path)), reward=(one["acc"], None, None)))
        for path in paths for one in objects([path]))


def called(message):
    """What a message of an agent says: its text, and name(arguments) of each tool that it calls."""
    calls = [call.get("function", call) for call in message.get("tool_calls") or ()]
    told = [f"{c['name']}({c['arguments'] if isinstance(c['arguments'], str) else json.dumps(c['arguments'])})" for c in calls]
    return {"role": message["role"], "content": "\n".join(filter(None, [message.get("content"), *told]))}


def make_tau_bench(folder, data):
    rows = [row for path in sorted(glob.glob(f"{data}/tau1/*/*.json.gz")) for row in objects([path])
            if "error" not in row["info"] and row["traj"]]
    return lines(folder, "agent.json", ({**row, "trial": n} for n, row in enumerate(rows)), array=True)


def read_tau_bench(paths):
    return (chatted(f"{one['task_id']}/{one['trial']}", [called(m) for m in one["traj"]], "agent", int(one["reward"] == 1))
            for one in objects(paths))


def make_tau2(folder, data):
    return sorted(glob.glob(f"{data}/tau2/retail/*.json.gz"))


def read_tau2(paths):
    for path in paths:
        whole = json.load(opened(path))
        for one in whole["simulations"]:
            if one["messages"]:
                yield chatted(one["id"], [called(m) for m in one["messages"] if m.get("requestor") != "user" or m["role"] != "tool"],
                              "agent", int((one.get("reward_info") or {}).get("reward") == 1))


NAMES = ("pairs", "prompts", "csv", "chatgpt", "open-webui", "oasst", "wildchat", "arena", "fastchat", "langfuse", "otel", "llm",
         "promptfoo", "inspect", "lm-eval", "tau-bench", "tau2")
FORMATS = {name: (globals()["make_" + name.replace("-", "_")], globals()["read_" + name.replace("-", "_")]) for name in NAMES}
NEEDS = {"prompts": "k-overrefusal", "oasst": "formats/oasst", "tau-bench": "tau1", "tau2": "tau2"}  # in the data folder
