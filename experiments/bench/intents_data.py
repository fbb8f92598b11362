"""Turns of SGD's users that announce an intent: what intents.py and students.py learn from. A quarter of all dialogues, drawn by hash."""
import gzip
import hashlib
import json
from pathlib import Path

SAMPLE = 0.25  # of all dialogues


def draw(text):
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def turns(sgd):
    for path in sorted(Path(sgd).glob("*/dialogues_*.json.gz")):
        for dialogue in json.load(gzip.open(path)):
            if draw("sample " + dialogue["dialogue_id"]) >= SAMPLE:
                continue
            for number, turn in enumerate(dialogue["turns"]):
                named = {f["state"]["active_intent"] for f in turn["frames"] if any(a["act"] == "INFORM_INTENT" for a in f["actions"])}
                if turn["speaker"] == "USER" and len(named) == 1:
                    yield f"{path.parent.name}/{dialogue['dialogue_id']}", number, turn["utterance"], named.pop()
