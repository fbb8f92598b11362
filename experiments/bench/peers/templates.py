"""Keel's chat templates beside transformers' own rendering (jinja2 in its sandbox): texts byte for byte, spans of the assistant.

    pip install transformers jinja2 && python templates.py BENCH_TOKENS DATA TEMPLATE.jinja...

DATA: a folder like KEEL_DATA: dialogues of SGD, customer service with tools (tau1, tau2). Each conversation is rendered with and without
tools, a system message, a generation prompt; what transformers refuses must be refused. Known to differ:
{{ x | safe }} is no Markup, which would escape what it is added to. Real templates are in the source package of
llama-cpp-python (vendor/llama.cpp/models/templates). Spans: what stands in them must be what the assistant said, with the end of turn.
"""
import glob
import gzip
import json
import os
import subprocess
import sys
import time

os.environ.update(CUDA_VISIBLE_DEVICES="", TZ="UTC")
from transformers.utils.chat_template_utils import render_jinja_template  # noqa: E402

ENDS = {"<|im_end|>": "<|im_start|>", "<|eot_id|>": "<|begin_of_text|>", "</s>": "<s>", "<end_of_turn>": "<bos>", "<|end|>": "",
        "<｜end▁of▁sentence｜>": "<｜begin▁of▁sentence｜>", "<|endoftext|>": ""}


def schema(name, keys):
    return {"type": "function", "function": {"name": name, "description": f"Does \"{name}\" & tells <what> it's done.", "parameters": {
        "type": "object", "properties": {key: {"type": "string", "description": f"The {key}, e.g. 'é'"} for key in keys}, "required": sorted(keys)}}}


def tau(path, most):
    """Conversations with tools: arguments as texts, as logged, and as objects, as templates want them."""
    rows = json.load(gzip.open(path))
    for row in (rows if isinstance(rows, list) else rows["simulations"])[:most]:
        messages, tools = [], {}
        for message in row["traj"] if "traj" in row else row["messages"]:
            kept = {key: message[key] for key in ("role", "content", "name") if message.get(key) is not None}
            kept.setdefault("content", "")
            for call in message.get("tool_calls") or []:
                function = call.get("function", call)
                arguments = function["arguments"]
                try:
                    arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
                except ValueError:
                    arguments = {"malformed": arguments}
                tools[function["name"]] = schema(function["name"], arguments)
                kept.setdefault("tool_calls", []).append({"id": "call12345", "type": "function",
                                                          "function": {"name": function["name"], "arguments": arguments}})
            if message["role"] == "tool":
                kept["tool_call_id"] = "call12345"
            messages.append(kept)
        if messages and messages[0]["role"] == "assistant":
            messages.insert(0, {"role": "user", "content": "Hello"})
        yield messages, list(tools.values())


def sgd(path, most):
    for dialogue in json.load(gzip.open(path))[:most]:
        yield [{"role": turn["speaker"].lower().replace("system", "assistant"), "content": turn["utterance"]} for turn in dialogue["turns"]], []


MADE = [
    ([{"role": "user", "content": "Hi \"there\", 'you' & <b>\n\u00e9\u4e2d\U0001f600 {{ x }} {% y %}"}, {"role": "assistant", "content": "  padded \n"}, {"role": "user", "content": ""}], []),
    ([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "<think>\nEasy.\n</think>\n\n4"},
      {"role": "user", "content": "And 3+3?"}, {"role": "assistant", "content": "6", "reasoning_content": "Easy too."}], []),
    ([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}], []),
    ([{"role": "assistant", "content": "a"}], []),
    ([{"role": "user", "content": [{"type": "text", "text": "in parts"}, {"type": "text", "text": "two"}]}], []),
    ([{"role": "system", "content": "s"}], []),
    ([{"role": "user", "content": "weather"}, {"role": "assistant", "content": None, "tool_calls": [
        {"id": "abcdefghi", "type": "function", "function": {"name": "get", "arguments": {"a": 1, "b": 2.5, "c": [True, None, "x"], "d": {"e": 1e-7}}}}]},
      {"role": "tool", "tool_call_id": "abcdefghi", "name": "get", "content": "{\"t\": 1}"}, {"role": "assistant", "content": "It is 1."}],
     [schema("get", ["a", "b"])]),
]


def requests(data):
    made = list(MADE)
    for path in sorted(glob.glob(os.path.join(data, "sgd", "dev", "*.json.gz")))[:2]:
        made += sgd(path, 25)
    for path in sorted(glob.glob(os.path.join(data, "tau[12]", "*", "*.json.gz"))):
        made += tau(path, 2)
    for messages, tools in made:
        variants = [(messages, tools or None)]
        if tools:
            as_text = json.loads(json.dumps(messages))
            for message in as_text:
                for call in message.get("tool_calls", []):
                    call["function"]["arguments"] = json.dumps(call["function"]["arguments"])
            variants += [(messages, None), (as_text, tools)]
        if messages[0]["role"] == "system":
            variants.append((messages[1:], tools or None))
        for m, t in variants:
            for prompt in (False, True):
                yield m, t, prompt


def expected(template, request):
    variables = {key: request[key] for key in ("bos_token", "eos_token") if key in request}
    messages = [{key: value for key, value in message.items() if value is not None} for message in request["messages"]]  # as apply_chat_template
    try:
        return render_jinja_template([messages], tools=request.get("tools"), chat_template=template,
                                     add_generation_prompt=request["add_generation_prompt"], **variables)[0][0]
    except Exception as why:  # noqa: BLE001  what jinja2 raises has no common root
        return why


def said(request, row):
    """How many spans do not hold what the assistant said, with the mark that ends its turn."""
    text, wrong = row["text"].encode(), 0
    spans = [text[a:b].decode() for a, b in row["spans"]]
    messages = [m for m in request["messages"] if m["role"] == "assistant"]
    if len(spans) != len(messages):
        return 1
    for span, message in zip(spans, messages):
        content = message.get("content") or ""
        wrong += isinstance(content, str) and content.strip() not in span
        wrong += request["eos_token"] in span and not message.get("tool_calls") and not span.endswith(request["eos_token"])
        wrong += any(call["function"]["name"] not in span for call in message.get("tool_calls") or [])
    return wrong


def main():
    bench, data, *paths = sys.argv[1:]
    asked = list(requests(data))
    total = [0, 0, 0, 0]
    for path in paths:
        template = open(path, encoding="utf-8", newline="").read()
        eos = next((end for end in ENDS if end in template), "</s>")
        rows = [{"messages": m, "add_generation_prompt": prompt, "bos_token": ENDS[eos] or "<s>", "eos_token": eos, "spans": not prompt, "now": int(time.time()), **({"tools": t} if t else {})}
                for m, t, prompt in asked]
        found = subprocess.run([bench, "template", path], input="".join(json.dumps(row) + "\n" for row in rows), capture_output=True, text=True, encoding="utf-8")
        if found.returncode:
            print(f"{os.path.basename(path)}: {found.stderr.strip()[:300]}", flush=True)
            total[3] += 1
            continue
        differ = refused = wrong = told = untold = 0
        why = ""
        for request, line in zip(rows, found.stdout.split("\n")):
            row, want = json.loads(line), expected(template, request)
            if isinstance(want, Exception):
                refused += 1
                same = "error" in row
            else:
                same = row.get("text") == want
            if not same:
                differ += 1
                got = row.get("text", row.get("error", ""))
                at = next((i for i, (a, b) in enumerate(zip(got, str(want))) if a != b), min(len(got), len(str(want))))
                why = why or f"\n    ours   {got[max(0, at - 40):at + 60]!r}\n    theirs {str(want)[max(0, at - 40):at + 60]!r} {type(want).__name__}"
            told += "spans" in row
            untold += "refused" in row
            wrong += said(request, row) if "spans" in row and same else 0
        print(f"{os.path.basename(path)}: {len(rows)} requests, {refused} refused by both, {differ} differ; spans of {told}, {wrong} wrong, {untold} refused{why}", flush=True)
        total = [total[0] + differ, total[1] + wrong, total[2] + len(rows), total[3]]
    print(f"{len(paths)} templates, {total[2]} requests: {total[0]} differ, {total[1]} spans wrong, {total[3]} templates not read")


main()
