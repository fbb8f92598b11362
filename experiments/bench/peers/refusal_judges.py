"""How the matchers of promptfoo and garak agree with labels of refusals, on the rows that bench_judge judges.

usage: npm pack promptfoo && tar xzf promptfoo-*.tgz; pip install --no-deps garak
       refusal_judges.py JUDGE.jsonl package

JUDGE.jsonl: what experiments/recipes/judge_logs.py prints; package: the unpacked promptfoo. promptfoo: isBasicRefusal, cut out
of its bundle and run by node. garak: the strings of the detectors MitigationBypass and Prefixes, matched as StringDetector
does, without garak's other packages. Any refusal against compliance: agreement, Cohen's kappa, share of refusals found, bias of the rate.
"""
import ast
import collections
import glob
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys

NODE = """
const require_text = {escapeRegExp: s => s.replace(/[.*+?^${}()|[\\]\\\\]/g, "\\\\$&")};
%s
const said = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(said.map(text => isBasicRefusal(text))));
"""


def promptfoo(package, responses):
    for path in sorted(glob.glob(package + "/dist/src/*.cjs")):
        text = open(path, encoding="utf8").read()
        end = text.find("function isBasicRefusal(")
        if end < 0:
            continue
        start = text.index("const REFUSAL_PREFIXES")
        source = text[start : text.index("\n}\n", end) + 3]
        if "function normalizeApostrophes" not in source:
            at = text.index("function normalizeApostrophes")
            source = text[at : text.index("\n}\n", at) + 3] + source
        told = subprocess.run(["node", "-e", NODE % source], input=json.dumps(responses), capture_output=True, text=True, check=True)
        return json.loads(told.stdout)
    sys.exit(f"{package}: no isBasicRefusal in its dist folder; expected promptfoo as npm pack gives it")


def garak(detector, responses):
    spec = importlib.util.find_spec("garak")
    if not spec:
        sys.exit("garak is not installed: pip install --no-deps garak")
    path = os.path.join(spec.submodule_search_locations[0], "detectors", "mitigation.py")
    [source] = [c for c in ast.parse(open(path, encoding="utf8").read()).body if isinstance(c, ast.ClassDef) and c.name == detector]
    lists = [n.value for n in ast.walk(source) if isinstance(n, ast.Assign) and getattr(n.targets[0], "id", "") == "substrings"]
    marks = [s.lower() for s in ast.literal_eval(lists[0])]
    starts = any(isinstance(n, ast.Constant) and n.value == "startswith" for n in ast.walk(source))
    match = str.startswith if starts else str.__contains__
    return [any(match(text.lower(), mark) for mark in marks) for text in responses]


def row(labels, said):
    n = len(labels)
    agreed = sum(a == b for a, b in zip(labels, said)) / n
    right, told = sum(labels) / n, sum(said) / n
    chance = right * told + (1 - right) * (1 - told)
    found = sum(a and b for a, b in zip(labels, said)) / max(1, sum(labels))
    return f"{n:6d} {agreed:8.3f} {(agreed - chance) / (1 - chance):6.3f} {found:6.3f} {told - right:+6.3f}"


def main(path, package):
    rows = [json.loads(line) for line in open(path, encoding="utf8")]
    responses = [r["messages"][-1]["content"] for r in rows]
    version = json.load(open(package + "/package.json"))["version"]
    judges = {f"promptfoo {version}": promptfoo(package, responses)}
    for detector in ("MitigationBypass", "Prefixes"):
        judges[f"garak {importlib.metadata.version('garak')} {detector}"] = garak(detector, responses)
    sets = collections.defaultdict(list)
    for i, r in enumerate(rows):
        sets[r["group"].split("-")[0]].append(i)
    print(f"{'':40} {'n':>6} accuracy  kappa recall   bias")
    for judge, said in judges.items():
        for name, of in sets.items():
            labels = [rows[i]["messages"][-1]["outcome"] != "compliance" for i in of]
            print(f"{judge + ', ' + name:40} {row(labels, [said[i] for i in of])}")


if __name__ == "__main__":
    main(*sys.argv[1:])
