"""Public labelled responses as one chat log, for teaching the refusal judge (rewards/judges/README.md).

Each label says who gave it: humans in XSTest, models in the others, of which only those are here on which most of the
models agree.

usage: judge_logs.py DATA > judge.jsonl, DATA with the folders xstest, refusalbench and k-overrefusal
"""
import csv
import glob
import gzip
import json
import os
import sys

csv.field_size_limit(10**9)


def text_of(path):
    return (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf8", newline="")


def xstest(data):
    outcome = {"1": "compliance", "2": "refusal", "3": "partial_refusal"}
    for path in sorted(glob.glob(data + "/xstest/**/*completions*.csv*", recursive=True)):
        model = os.path.basename(path).split("completions_")[1].split(".")[0]
        for row in csv.DictReader(text_of(path)):
            yield model, row["prompt"], row["completion"], outcome[row["final_label"][0]]


def refusalbench(data, undecided=False):
    """undecided: also what each judge of the council calls something else."""
    outcome = {"compliance": "compliance", "partial_compliance": "compliance", "indirect_refusal": "refusal", "direct_refusal": "refusal"}
    for path in sorted(glob.glob(data + "/refusalbench/*.csv.gz")):
        model = os.path.basename(path)[: -len(".csv.gz")]
        for row in csv.DictReader(text_of(path)) if model != "prompts" else ():
            decided = undecided or float(row["compliance_agreement"] or 0) > 0.5
            if decided and row["text_withheld"] != "True" and not row["response_text"].startswith("[CONTENT_FILTERED]"):
                yield model, row["prompt_id"], row["response_text"], outcome.get(row["modal_compliance"])


def k_overrefusal(data):
    outcome = {"compliance": "compliance", "deflection": "partial_refusal", "refusal": "refusal"}
    for path in sorted(glob.glob(data + "/k-overrefusal/*.jsonl.gz")):
        model = os.path.basename(path)[: -len(".jsonl.gz")]
        for row in map(json.loads, text_of(path)):
            if row["refusal_clf_label"] == row["cross_judge_label"]:
                yield model, row["prompt"], row["response"] or "", outcome.get(row["cross_judge_label"])


def main(data):
    for name, judge, rows in (("xstest", "human", xstest), ("rb", "model", refusalbench), ("ko", "model", k_overrefusal)):
        for n, (model, prompt, response, outcome) in enumerate(rows(data)):
            if outcome is None or not response.strip():
                continue
            said = {"role": "assistant", "content": response, "model": model, "outcome": outcome, "judge": judge}
            messages = [{"role": "user", "content": prompt}, said]
            print(json.dumps({"id": f"{name}-{model}-{n}", "group": f"{name}-{model}", "messages": messages}))


if __name__ == "__main__":
    main(sys.argv[1])
