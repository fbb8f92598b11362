#!/bin/sh
# keel review over a real socket: what it answers and refuses, killed in the middle without a loss, a clean end.
. "$(dirname "$0")/program.sh"
if ! command -v python3 >/dev/null; then
    echo "SKIPPED: python3, which speaks HTTP here, is not installed"
    exit 77
fi
for i in 0 1 2 3 4 5 6 7 8 9 10 11; do
    echo "{\"id\": \"c$i\", \"risk\": \"dangerous\", \"messages\": [{\"role\": \"user\", \"content\": \"How $i?\"}, {\"role\": \"assistant\", \"content\": \"I am sorry, I cannot help with $i.\"}]}"
done >log.jsonl
expect "a log" 0 "" import --store s.db --format chat log.jsonl --quiet
expect "wrong use: address" 2 "--listen" review --store s.db --listen nowhere
expect "wrong use: interval" 2 "--interval" review --store s.db --interval 0
expect "wrong use: name" 2 "--name" review --store s.db --name ""
expect "wrong use: base" 2 "--base" review --store s.db --base x
expect "no store" 1 "none.db" review --store none.db
"$KEEL" review --store s.db --listen 127.0.0.1:0 2>err.txt >/dev/null &
server=$!
soon 'grep -q "review at\|libmicrohttpd" err.txt'
if grep -q "built without libmicrohttpd" err.txt; then
    grep -q "libmicrohttpd-dev" err.txt || fail "the hint names the package"
    [ "$failures" = 0 ] || exit 1
    echo "SKIPPED: built without libmicrohttpd; keel review says so"
    exit 77
fi
kill -INT $server
status=0
wait $server || status=$?
[ "$status" = 0 ] || fail "SIGINT ends it with 0, not $status"

# The same through a whole review: python speaks HTTP and starts, kills and ends the program.
python3 - "$KEEL" <<'END' || fail "a review over a socket"
import http.client, json, re, signal, socket, sqlite3, subprocess, sys, time

def start(listen):
    program = subprocess.Popen([sys.argv[1], "review", "--store", "s.db", "--listen", listen, "--interval", "0.1"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while True:
        line = program.stderr.readline()
        assert line, "the program ended"
        found = re.search(r"review at http://127\.0\.0\.1:(\d+)/", line)
        if found:
            return program, int(found[1])

def ask(method, target, body=None, **headers):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    if body is not None:
        headers.setdefault("Content-Type", "application/json")
    c.request(method, target, body if body is None or isinstance(body, (str, bytes)) else json.dumps(body), headers)
    r = c.getresponse()
    text = r.read()
    c.close()
    return r.status, r.headers, json.loads(text) if "json" in (r.headers["Content-Type"] or "") else text

program, port = start("127.0.0.1:0")
status, headers, page = ask("GET", "/")
assert status == 200 and b"<script src=" in page and b"<script>" not in page, page
assert "script-src 'self'" in headers["Content-Security-Policy"] and "unsafe" not in headers["Content-Security-Policy"]
assert headers["X-Content-Type-Options"] == "nosniff"
for wrong, want in (({"Host": "evil.example"}, 403), ({"Origin": "http://evil.example"}, 403), ({"Sec-Fetch-Site": "cross-site"}, 403)):
    assert ask("GET", "/api/progress?reviewer=a", **wrong)[0] == want, wrong
assert ask("POST", "/api/undo", "{}", **{"Content-Type": "text/plain"})[0] == 415
assert ask("POST", "/api/label", b"x" * 70000)[0] == 413
assert ask("PUT", "/api/label", "{}")[0] == 405
# Requests that are none.
for bytes_ in (b"\0\1\2\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nHost: " + b"a" * 60000 + b"\r\n\r\n", b"POST /api/label HTTP/1.1\r\nContent-Length: 5\r\n\r\n{}"):
    s = socket.create_connection(("127.0.0.1", port), 5)
    s.sendall(bytes_)
    s.close()
silent = [socket.create_connection(("127.0.0.1", port), 5) for _ in range(40)]  # who connect and say nothing
told = {}
def label(who, outcome):
    item = ask("GET", f"/api/next?reviewer={who}")[2]["item"]
    if item is None:
        return False
    assert ask("POST", "/api/label", {"reviewer": who, "item": item["id"], "outcome": outcome})[0] == 200
    told[item["id"], who] = outcome
    return True
assert label("ann", "refusal") and label("bob", "skip") and label("ann", "harmful")
for s in silent:
    s.close()
# Another writer has the store for a while: the label waits for it.
other = sqlite3.connect("s.db", isolation_level=None)
other.execute("BEGIN IMMEDIATE")
item = ask("GET", "/api/next?reviewer=ann")[2]["item"]["id"]
try:
    status, _, said = ask("POST", "/api/label", {"reviewer": "ann", "item": item, "outcome": "refusal"})
    assert status == 503 and "in use" in said["error"], said
finally:
    other.execute("ROLLBACK")
other.close()
program.kill()
program.wait()
program, port = start(f"127.0.0.1:{port}")
assert label("ann", "refusal")
assert ask("POST", "/api/undo", {"reviewer": "ann"})[2]["item"]["said"]["outcome"] == "refusal"
while label("ann", "refusal"):
    pass
assert ask("GET", "/api/progress?reviewer=ann")[2]["progress"]["open"] == 0
program.send_signal(signal.SIGTERM)
out, _ = program.communicate(timeout=20)
assert program.returncode == 0 and "taken back" in out, (program.returncode, out)
rows = sqlite3.connect("s.db").execute("SELECT candidate_id, reviewer, outcome, harmful FROM reviews").fetchall()
number = {"refusal": (3, 0), "harmful": (1, 1), "skip": (0, 0)}
assert len(rows) == len(told) and all(number[told[c, who]] == (o, h) for c, who, o, h in rows), (rows, told)
END

# What people said is what the others go by.
expect "the judge beside them" 0 "" label --store s.db --quiet
expect "counted as humans'" 0 "" stats --store s.db --json --quiet
python3 -c 'import json; print(sum(split["judged_by"]["human"] for split in json.load(open("out.txt"))["splits"].values()))' >humans.txt
[ "$(cat humans.txt)" -ge 10 ] || fail "labels of people are counted: $(cat humans.txt)"
expect "export has them" 0 "" export --store s.db --format chat --out out.jsonl --quiet
grep -q '"outcome": *"refusal"' out.jsonl || fail "exported labels: $(head -2 out.jsonl)"

# With a policy: responses in whose place it would do something else.
"$KEEL" simulate --store p.db --env support-desk --behaviour support-82 --episodes 60 --quiet >/dev/null
"$KEEL" sft --store p.db --base builtin --out base --quiet --set epochs=1 --set buckets=1024 --set min_updates=10 >/dev/null
"$KEEL" train --store p.db --base base --algo bc --out policy --quiet --set steps=20 --set hidden=8 --set batch=32 >/dev/null
expect "one rate" 2 "refusal_rate" review --store p.db --rate accuracy
"$KEEL" review --store p.db --policy policy --rate refusal_rate --listen 127.0.0.1:0 2>err.txt >/dev/null &
server=$!
soon 'grep -q "review at" err.txt'
grep -q "would do something else in place of [1-9]" err.txt || fail "the policy is asked: $(cat err.txt)"
kill -INT $server
wait $server || fail "it ends with 0"
[ "$failures" = 0 ]
