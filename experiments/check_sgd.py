#!/usr/bin/env python3
"""Counts Schema-Guided Dialogue logs without Keel, to check `keel import --format sgd` and `keel stats` against.

usage: check_sgd.py FOLDER...   each folder holds dialogues_*.json[.gz] and schema.json[.gz]
Prints conversations, turns, decisions (system turns), completed, and conversations with a transactional intent."""
import glob, gzip, json, os, sys


def load(path):
    with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as file:
        return json.load(file)


for folder in sys.argv[1:]:
    services = load(glob.glob(os.path.join(folder, "schema.json*"))[0])
    tasks = {(s["service_name"], i["name"]) for s in services for i in s["intents"] if i["is_transactional"]}
    conversations = turns = decisions = completed = known = 0
    for path in sorted(glob.glob(os.path.join(folder, "dialogues_*.json*"))):
        for dialogue in load(path):
            wanted, last = set(), {}
            for turn in dialogue["turns"]:
                for frame in turn["frames"]:
                    wanted |= {(frame["service"], frame.get("state", {}).get("active_intent"))} & tasks
                    for act in (a["act"] for a in frame["actions"] if a["act"].startswith("NOTIFY_")):
                        last[frame["service"], frame["service_call"]["method"]] = act
            conversations += 1
            turns += len(dialogue["turns"])
            decisions += sum(turn["speaker"] == "SYSTEM" for turn in dialogue["turns"])
            known += bool(wanted)
            completed += bool(wanted) and all(last.get(task) == "NOTIFY_SUCCESS" for task in wanted)
    print(f"{folder}: conversations {conversations}, turns {turns}, decisions {decisions}, completed {completed} of {known}")
