#!/bin/sh
# The door of keel serve as others meet it: who may ask, no secret anywhere, what /metrics says, an end that
# answers what is open.
. "$(dirname "$0")/program.sh"
if ! command -v python3 >/dev/null; then
    echo "SKIPPED: python3, which speaks HTTP here, is not installed"
    exit 77
fi
chat 80 en >log.jsonl
"$KEEL" import --store s.db --format chat log.jsonl --quiet >/dev/null
"$KEEL" sft --store s.db --base builtin --out base --quiet --set epochs=1 --set buckets=1024 --set action_space=candidates >/dev/null
"$KEEL" train --store s.db --base base --algo bc --out policy --quiet --set steps=20 --set hidden=8 --set batch=32 >/dev/null
# Registered, whether its gates are met or not: what they want is what is expected of it.
"$KEEL" import --store served.db --format chat log.jsonl --quiet >/dev/null
"$KEEL" publish --store served.db --policy policy --gate "refusal_rate.value >= 0.4" --gate "refusal_rate.value <= 0.6" --quiet >publish.txt 2>&1 ||
    grep -q "gate" publish.txt || fail "the policy is registered: $(cat publish.txt)"
export KEEL_SECRET=swordfish-swordfish KEEL_SHORT=short
expect "beyond loopback without a token" 2 "token-env NAME, or --behind-proxy" serve --policy policy --listen 0.0.0.0:0
expect "no such variable" 2 "KEEL_NOTHING" serve --policy policy --token-env KEEL_NOTHING
expect "a short token" 2 "at least 16" serve --policy policy --token-env KEEL_SHORT
expect "an address" 2 "--listen" serve --policy policy --listen nowhere
status=0
python3 - "$KEEL" <<'END' || status=$?
import atexit, http.client, json, re, signal, socket, subprocess, sys, threading, time

said = []  # all that any server printed or answered

class Server:
    def __init__(self, *flags):
        self.program = subprocess.Popen([sys.argv[1], "serve", "--policy", "policy", "--listen", "127.0.0.1:0", *flags], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        atexit.register(self.program.kill)  # where a check fails
        while True:
            line = self.program.stderr.readline()
            said.append(line)
            if "built without libmicrohttpd" in line:
                print("SKIPPED: built without libmicrohttpd")
                sys.exit(77)
            assert line, "the program ended"
            found = re.search(r"serving at http://127\.0\.0\.1:(\d+)/v1", line)
            if found:
                self.port = int(found[1])
                return

    def ask(self, method, target, body=None, **headers):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        c.request(method, target, body if body is None or isinstance(body, (str, bytes)) else json.dumps(body), headers)
        r = c.getresponse()
        text = r.read().decode()
        c.close()
        said.append(str(r.headers) + text)
        return r.status, json.loads(text) if "json" in (r.headers["Content-Type"] or "") else text

    def metric(self, name, **headers):
        text = self.ask("GET", "/metrics", **headers)[1]
        found = re.search("^" + re.escape(name) + r" (\S+)$", text, re.M)
        return float(found[1]) if found else None

    def end(self):
        self.program.send_signal(signal.SIGTERM)
        out, err = self.program.communicate(timeout=30)
        said.extend((out, err))
        assert self.program.returncode == 0, (self.program.returncode, err)

choose = {"messages": [{"role": "user", "content": "Where is my order?"}], "candidates": ["It is on its way.", "I am sorry, I cannot help with that."]}

# Without a token: this machine alone, no page of a browser, and who may publish.
server = Server("--host", "keel.example", "--behind-proxy")
status, answer = server.ask("POST", "/v1/choose", choose)
assert status == 200 and answer["id"], answer
assert server.ask("GET", "/health", Host="evil.example")[0] == 403
assert server.ask("GET", "/health", Host="keel.example")[0] == 200
assert server.ask("POST", "/v1/choose", choose, Origin="http://evil.example")[0] == 403
assert server.ask("POST", "/v1/choose", json.dumps(choose), Content_Type="text/plain")[0] == 415
assert server.ask("OPTIONS", "/v1/choose", Origin="http://evil.example", Access_Control_Request_Method="POST")[0] == 405
assert server.ask("DELETE", "/v1/choose")[0] == 405
status, answer = server.ask("GET", "/v1/nothing")
assert status == 404 and answer["error"]["message"], answer
for header in ({"X_Forwarded_For": "10.0.0.1"}, {"X_Forwarded_For": "10.0.0.1", "Authorization": "Bearer anything"}, {"Forwarded": "for=10.0.0.1"}):
    assert server.ask("POST", "/admin/policy", {"rollback": True}, **header)[0] == 403, header
server.end()

# With one.
server = Server("--token-env", "KEEL_SECRET", "--store", "served.db")
token = {"Authorization": "Bearer swordfish-swordfish"}
stranger = subprocess.run([sys.argv[1], "chat", "--server", f"http://127.0.0.1:{server.port}"], input="hello\n", capture_output=True, text=True)
assert stranger.returncode == 1 and "--token-env NAME" in stranger.stderr, stranger
for wrong in ({}, {"Authorization": "Bearer swordfish-swordfisH"}, {"Authorization": "swordfish-swordfish"}):
    for method, target, body in (("POST", "/v1/choose", choose), ("GET", "/metrics", None), ("POST", "/admin/policy", {"rollback": True}), ("GET", "/v1/models", None)):
        status, answer = server.ask(method, target, body, **wrong)
        assert status == 401 and answer["error"]["code"] == "invalid_api_key", (target, answer)
assert server.ask("GET", "/health")[0] == 200
for i in range(60):
    status, answer = server.ask("POST", "/v1/choose", choose, **token)
    assert status == 200, answer
    assert server.ask("POST", "/v1/feedback", {"id": answer["id"], "feedback": "down", "completed": i % 2 == 0, "risk": "dangerous"}, **token)[0] == 200
status, answer = server.ask("POST", "/v1/choose", dict(choose, keel={"detials": True}), **token)
assert status == 400 and 'unknown key "detials"' in answer["error"]["message"], answer
status, answer = server.ask("POST", "/v1/feedback", {"id": "of-no-answer", "feedback": "up"}, **token)
assert status == 404 and answer["error"]["code"] == "unknown_id", answer
assert server.metric('keel:decisions_total{arm="default"}', **token) == 60
assert server.metric('keel:feedback_total{feedback="down"}', **token) == 60
assert server.metric('keel:feedback_completed_total{completed="yes"}', **token) == 30
assert server.metric('keel:drift_rate{rate="completion_rate"}', **token) == 0.5
assert server.metric('keel:drift_rate{rate="unfamiliar"}', **token) in (0, 1)
assert server.metric('keel:drift_outside_gate{rate="completion_rate"}', **token) == 0  # nothing is expected
for _ in range(100):
    if server.metric('keel:drift_gate_low{rate="refusal_rate"}', **token) == 0.4:
        break
    time.sleep(0.1)  # the server looks into the store once a second
assert server.metric('keel:drift_gate_low{rate="refusal_rate"}', **token) == 0.4
assert server.metric('keel:drift_gate_high{rate="refusal_rate"}', **token) == 0.6
assert server.metric('keel:drift_rate{rate="refusal_rate"}', **token) in (0, 1)  # the same request each time
assert server.metric('keel:drift_outside_gate{rate="refusal_rate"}', **token) == 1
assert server.metric("keel:e2e_request_latency_seconds_count", **token) == 60
assert server.metric("keel:http_refused_total", **token) == 13
for _ in range(100):
    if server.metric("keel:log_written_total", **token) >= 120:
        break
    time.sleep(0.1)
assert server.metric("keel:log_written_total", **token) == 120
assert server.metric("keel:store_lag_seconds", **token) == 0
server.end()

# A client that is slow, one that is half done when the end comes, and one that is answered.
server = Server()
slow = socket.create_connection(("127.0.0.1", server.port), 20)
slow.sendall(b"POST /v1/choose HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\n{" % server.port)
while not server.metric("keel:http_body_bytes"):  # its first byte has come
    time.sleep(0.01)
ender = threading.Thread(target=server.end)
ender.start()
while socket.socket().connect_ex(("127.0.0.1", server.port)) == 0:  # it has closed its door
    time.sleep(0.01)
slow.sendall(b"  }")
answer = slow.recv(4096).decode()
assert " 503 " in answer.splitlines()[0] and "Connection: close" in answer, answer
ender.join()
slow.close()
assert not any("swordfish" in text for text in said), "a secret was said"
END
[ "$status" != 77 ] || exit 77
[ "$status" = 0 ] || fail "the door over a socket"
[ -s served.db ] || fail "the store is there"
! grep -qa swordfish served.db* || fail "a secret is in the store"
[ "$failures" = 0 ]
