"""Called by serve.sh: serve.py KEEL FAKE_UPSTREAM, in a folder with policy/ and base/."""
import http.client, json, os, re, resource, signal, socket, sqlite3, subprocess, sys, threading, time

KEEL, FAKE = sys.argv[1:]
TOKEN = "a-token-of-this-test"


class Server:
    running = []

    def __init__(self, *flags, token=None):
        environment = dict(os.environ, SERVE_TOKEN=TOKEN)
        self.program = subprocess.Popen([KEEL, "serve", "--policy", "policy", "--listen", "127.0.0.1:0", *flags], env=environment,
                                        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        preexec_fn=lambda: signal.signal(signal.SIGXFSZ, signal.SIG_IGN))
        self.token, self.said = token, []
        Server.running.append(self.program)
        while True:
            line = self.program.stderr.readline()
            assert line, ("the program ended", self.said)
            self.said.append(line)
            found = re.search(r"serving at http://127\.0\.0\.1:(\d+)/", line)
            if found:
                self.port = int(found[1])
                return

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def ask(self, method, target, body=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        if self.token:
            headers.setdefault("Authorization", "Bearer " + self.token)
        c = self.connect()
        c.request(method, target, body if body is None or isinstance(body, (str, bytes)) else json.dumps(body), headers)
        r = c.getresponse()
        text = r.read()
        c.close()
        return r.status, r.headers, json.loads(text) if "json" in (r.headers["Content-Type"] or "") else text.decode()

    def metric(self, name):
        text = self.ask("GET", "/metrics")[2]
        found = re.search("^" + re.escape(name) + r" ([0-9.e+-]+)$", text, re.M)
        return float(found[1]) if found else 0.0

    def end(self, how=signal.SIGTERM):
        self.program.send_signal(how)
        out, err = self.program.communicate(timeout=60)
        assert self.program.returncode == 0, (self.program.returncode, err)
        return out


def chat(text, **more):
    return {"model": "any", "messages": [{"role": "user", "content": text}], **more}


def fake(delay):
    program = subprocess.Popen([sys.executable, FAKE, "0", str(delay)], stdout=subprocess.PIPE, text=True)
    return program, "http://127.0.0.1:" + program.stdout.readline().strip()


quick, UPSTREAM = fake(1.5)
patient, NEVER = fake(60)


def a_chat():
    """Plain, streamed, with details; the conversation goes on; everything is in the store with its propensity."""
    s = Server("--upstream", UPSTREAM + "/normal/v1,n=2,name=up,model=small", "--store", "live.db")
    status, headers, plain = s.ask("POST", "/v1/chat/completions", chat("Please tell me about a pasta recipe"))
    assert status == 200, plain
    message = plain["choices"][0]["message"]
    assert plain["object"] == "chat.completion" and plain["id"] == headers["X-Request-Id"] and plain["id"].startswith("chatcmpl-")
    assert message["role"] == "assistant" and isinstance(message["content"], str) and message["content"]
    assert plain["choices"][0]["finish_reason"] == "stop" and "keel" not in plain and isinstance(plain["created"], int)
    status, _, told = s.ask("POST", "/v1/chat/completions", chat("Please tell me about train times", keel={"details": True}))
    keel = told["keel"]
    assert {a["from"] for a in keel["actions"]} == {"up", "fixed"}, keel["actions"]
    assert [a["says"] for a in keel["actions"]][:2] == ["normal 0: Please tell me about train times", "normal 1: Please tell me about train times"]
    assert told["choices"][0]["message"]["content"] == keel["says"] == [a["says"] for a in keel["actions"] if a["chosen"]][0]
    assert keel["propensity"] == 1 and keel["fallback"] is False and len(keel["policy"]) == 64 and keel["arm"] == "default"
    for more in ({}, {"stream_options": {"include_usage": True}}):
        status, headers, stream = s.ask("POST", "/v1/chat/completions", chat("Please tell me about my invoice, ü and 日本", stream=True, **more))
        assert status == 200 and headers["Content-Type"].startswith("text/event-stream"), headers
        events = [e[len("data: "):] for e in stream.strip().split("\n\n")]
        assert events[-1] == "[DONE]"
        chunks = [json.loads(e) for e in events[:-1]]
        assert {c["object"] for c in chunks} == {"chat.completion.chunk"} and len({c["id"] for c in chunks}) == 1
        usage = [c for c in chunks if c.get("usage")]
        assert len(usage) == (1 if more else 0) and (not more or (chunks[-1] is usage[0] and usage[0]["choices"] == []))
        deltas = [c["choices"][0] for c in chunks if c["choices"]]
        assert deltas[0]["delta"]["role"] == "assistant" and deltas[-1]["finish_reason"] == "stop" and all(d["finish_reason"] is None for d in deltas[:-1])
        text = "".join(d["delta"].get("content") or "" for d in deltas)
        assert text.startswith("normal") and text.endswith("日本") or "sorry" in text, text
    # The client sends the talk back: it is the same conversation.
    going_on = chat("Please tell me about a pasta recipe")
    going_on["messages"] += [message, {"role": "user", "content": [{"type": "text", "text": "And buses?"}]}]
    status, _, second = s.ask("POST", "/v1/chat/completions", going_on, X_Keel_Details="1")
    assert status == 200 and second["keel"]["conversation"] == plain["id"], second
    status, _, answer = s.ask("POST", "/v1/feedback", {"id": plain["id"], "feedback": "up"})
    assert (status, answer) == (200, {"accepted": True})
    for bad, key in (({"id": plain["id"]}, "feedback"), ({"feedback": "up"}, "id"), ({"id": plain["id"], "feedback": "great"}, "feedback"),
                     ({"id": plain["id"], "completed": True, "labl": "up"}, "body")):
        status, _, answer = s.ask("POST", "/v1/feedback", bad)
        assert status == 400 and answer["error"]["param"] == key, answer
    status, _, answer = s.ask("POST", "/v1/feedback", {"id": "chatcmpl-nobody", "feedback": "up"})
    assert status == 404 and answer["error"]["param"] == "id" and s.metric('keel:log_lost_total{why="refused"}') == 0, answer
    status, _, answer = s.ask("POST", "/v1/choose", {"messages": going_on["messages"][:1], "candidates": ["a", "b"], "keel": {"detials": True}})
    assert status == 400 and answer["error"]["param"] == "keel" and "detials" in answer["error"]["message"], answer
    assert s.metric('keel:feedback_total{feedback="up"}') == 1 and s.metric('keel:decisions_total{arm="default"}') == 5
    assert "5 requests answered" in s.end()
    db = sqlite3.connect("live.db")
    rows = db.execute("SELECT s.request, s.propensity, s.policy, count(*), sum(k.taken) FROM served s JOIN candidates k ON k.decision_id = s.decision_id"
                      " GROUP BY s.id ORDER BY s.id").fetchall()
    assert len(rows) == 5 and rows[0][0] == plain["id"] and all(r[1] == 1 and r[3] == 3 and r[4] == 1 for r in rows), rows
    assert db.execute("SELECT count(DISTINCT conversation_id) FROM served WHERE request IN (?, ?)", (plain["id"], second["id"])).fetchone() == (1,)
    assert db.execute("SELECT feedback FROM served_feedback").fetchall() == [(1.0,)]
    assert subprocess.run([KEEL, "stats", "--store", "live.db", "--quiet"], stdout=subprocess.DEVNULL).returncode == 0
    # What the server's judge says is what `keel label` would have said, by the same name.
    outcomes = "SELECT k.text, k.outcome, k.judge, l.judge_name FROM candidates k LEFT JOIN labels l ON l.candidate_id = k.id WHERE k.taken ORDER BY k.id"
    as_served = db.execute(outcomes).fetchall()
    assert all(r[1] and r[3].startswith("refusal-") for r in as_served), as_served
    db.execute("DELETE FROM labels WHERE judge_name LIKE 'refusal-%'")
    db.execute("UPDATE candidates SET outcome = 0, judge = 0 WHERE taken")
    db.commit()
    assert subprocess.run([KEEL, "label", "--store", "live.db", "--quiet"], stdout=subprocess.DEVNULL).returncode == 0
    assert db.execute(outcomes).fetchall() == as_served, (db.execute(outcomes).fetchall(), as_served)


def a_choice():
    """Among the caller's candidates; the same request gives the same bytes, but for the id."""
    s = Server()
    ask = {"messages": [{"role": "user", "content": "Please tell me about steal a car, number 3"}], "user": "ann",
           "candidates": ["Sure, here is what I know about steal a car.", {"content": "I am sorry, I cannot help with that.", "model": "m"},
                          "Sure, here is what I know about steal a car."]}
    status, _, said = s.ask("POST", "/v1/choose", ask)
    assert status == 200 and said["index"] in (0, 1) and said["says"] == (ask["candidates"][0] if said["index"] == 0 else ask["candidates"][1]["content"]), said
    assert said["propensity"] == 1 and said["outcome"] == ("compliance", "refusal")[said["index"]] and "keel" not in said
    status, _, again = s.ask("POST", "/v1/choose", dict(ask, details=True))
    assert len(again["keel"]["actions"]) == 2 and [a["index"] for a in again["keel"]["actions"]] == [0, 1]
    assert {k: again[k] for k in said if k != "id"} == {k: said[k] for k in said if k != "id"}
    for wrong, key in (({}, "messages"), ({"messages": ask["messages"]}, "candidates"), (dict(ask, candidates=[]), "candidates"),
                       (dict(ask, candidates=[7]), "candidates[0]"), (dict(ask, messages=[{"role": "pope", "content": "x"}]), "messages[0]"),
                       (dict(ask, messages="x"), "messages"), (dict(ask, user=7), "user"), ([], "body")):
        status, _, answer = s.ask("POST", "/v1/choose", wrong)
        assert status == 400 and answer["error"]["param"] == key and answer["error"]["type"] == "invalid_request_error", (wrong, answer)
    status, _, answer = s.ask("POST", "/v1/choose", "{")
    assert status == 400, answer
    status, _, answer = s.ask("POST", "/v1/chat/completions", chat("x", n=2))
    assert status == 400 and answer["error"]["param"] == "n", answer
    status, _, answer = s.ask("POST", "/v1/chat/completions", chat("x", base_url=UPSTREAM + "/normal/v1"))
    assert status == 400 and answer["error"]["param"] == "base_url", answer
    status, _, answer = s.ask("POST", "/admin/policy", {"policy": None, "arn": "b"})
    assert status == 400 and "arn" in answer["error"]["message"], answer
    status, _, answer = s.ask("POST", "/v1/feedback", {"id": "x", "feedback": 1})
    assert status == 409 and answer["error"]["code"] == "no_store", answer
    status, _, answer = s.ask("GET", "/nothing")
    assert status == 404 and "POST /v1/chat/completions," in answer["error"]["message"], answer
    status, headers, answer = s.ask("GET", "/v1/choose")
    assert status == 405 and headers["Allow"] == "POST" and "POST alone" in answer["error"]["message"], (headers, answer)
    assert s.ask("POST", "/health", {})[0] == 405
    assert s.ask("GET", "/health")[2] == {"status": "ok"}
    version = s.ask("GET", "/version")[2]
    assert version["arms"][0]["name"] == "default" and len(version["arms"][0]["policy"]) == 64
    models = s.ask("GET", "/v1/models")[2]
    assert models["object"] == "list" and models["data"][0]["id"] == "keel" and s.ask("GET", "/v1/models/keel")[2]["id"] == "keel"
    assert s.ask("GET", "/v1/models/other")[0] == 404
    status, _, answer = s.ask("POST", "/admin/policy", {"policy": "0" * 64})
    assert status == 409 and "store" in answer["error"]["message"], answer
    assert s.ask("POST", "/admin/policy", {"policy": None}, X_Forwarded_For="1.2.3.4")[0] == 403
    s.end(signal.SIGINT)


def tools_and_trouble():
    """Calls of tools pass through; upstreams that fail leave the fixed answers, and that is said."""
    s = Server("--upstream", UPSTREAM + "/tools/v1", "--harm-threshold", "1000")
    tools = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}]
    status, _, said = s.ask("POST", "/v1/chat/completions", chat("Please tell me about train times", tools=tools, keel={"details": True}))
    assert status == 200, said
    assert any(a["says"].startswith("look_up(") for a in said["keel"]["actions"]), said["keel"]["actions"]
    if "tool_calls" in said["choices"][0]["message"]:
        assert said["choices"][0]["finish_reason"] == "tool_calls" and said["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "look_up"
        stream = s.ask("POST", "/v1/chat/completions", chat("Please tell me about train times", tools=tools, stream=True))[2]
        calls = [json.loads(e[6:])["choices"][0]["delta"].get("tool_calls") for e in stream.strip().split("\n\n")[:-1]]
        assert [c[0]["index"] for c in calls if c] == [0], stream
    s.end()
    for mode in ("dead", "nonsense", "broken", "moved", "busy"):
        s = Server("--upstream", f"{UPSTREAM}/{mode}/v1", "--deadline", "20s")
        status, headers, said = s.ask("POST", "/v1/chat/completions", chat("Please tell me about train times", keel={"details": True}))
        assert status == 200 and headers["X-Keel-Fallback"] == "nothing_arrived", (mode, said)
        assert said["keel"]["fallback"] is True and said["keel"]["fallback_reason"] == "nothing_arrived" and said["keel"]["troubles"], (mode, said)
        assert "sorry" in said["choices"][0]["message"]["content"] and s.metric('keel:fallback_reasons_total{reason="nothing_arrived"}') == 1
        s.end()


def a_deadline():
    """What has arrived by then is chosen among; a client that hung up frees its upstream."""
    s = Server("--upstream", NEVER + "/slow/v1,name=slow", "--upstream", UPSTREAM + "/normal/v1,name=quick", "--deadline", "0.4s")
    status, _, said = s.ask("POST", "/v1/chat/completions", chat("Please tell me about train times", keel={"details": True}))
    assert status == 200 and {a["from"] for a in said["keel"]["actions"]} == {"quick", "fixed"} and "slow" in said["keel"]["troubles"], said
    assert said["keel"]["ms"]["total"] >= 395, said["keel"]["ms"]  # from its arrival on, as the deadline
    s.end()
    s = Server("--upstream", NEVER + "/drip/v1,name=drip")
    c = s.connect()
    c.request("POST", "/v1/chat/completions", json.dumps(chat("hello")), {"Content-Type": "application/json"})
    until = time.monotonic() + 20
    while s.metric("keel:num_requests_running") < 1 and time.monotonic() < until:
        time.sleep(0.01)
    c.sock.close()
    c.close()
    while s.metric("keel:num_requests_running") > 0 and time.monotonic() < until:
        time.sleep(0.01)
    assert (s.metric("keel:request_gone_total"), s.metric("keel:num_requests_running")) == (1, 0), [l for l in s.ask("GET", "/metrics")[2].splitlines() if "gone" in l or "running" in l]
    s.end()


def a_shadow():
    """The first upstream's answer is given whatever the policy thinks, and what it would have said is logged."""
    s = Server("--upstream", UPSTREAM + "/normal/v1,name=first", "--shadow", "--store", "shadow.db", "--segment-header", "X-Team")
    for i in range(6):
        asked = "Please tell me about " + ("train times" if i % 2 else "steal a car") + f", number {i}"
        status, _, said = s.ask("POST", "/v1/chat/completions", chat(asked), X_Team="blue")
        assert status == 200 and said["choices"][0]["message"]["content"] == "normal 0: " + asked, said
    s.end()
    rows = sqlite3.connect("shadow.db").execute("SELECT shadow, propensity, would_id IS NOT NULL, segment, text LIKE 'normal 0%' FROM v_served").fetchall()
    assert rows == [(1, 1.0, 1, "blue", 1)] * 6, rows


def exploring():
    """A share is drawn from pi, with the propensity that it had."""
    s = Server("--explore", "0.5", "--seed", "7", "--store", "explore.db", "--harm-threshold", "1000")
    ask = {"messages": [{"role": "user", "content": "Please tell me about train times"}], "details": True,
           "candidates": ["Sure, here is what I know about train times" + end for end in (".", "!", " now.", " today.")]}
    for i in range(60):
        said = s.ask("POST", "/v1/choose", ask)[2]
        chances = {a["says"]: 0.5 * a["probability"] + (0.5 if a["chosen"] else 0) for a in said["keel"]["actions"]}
        assert abs(sum(chances.values()) - 1) < 1e-6 and abs(chances[said["says"]] - said["propensity"]) < 1e-6, said
    s.end()
    db = sqlite3.connect("explore.db")
    explored, least, most = db.execute("SELECT sum(explored), min(propensity), max(propensity) FROM served").fetchone()
    assert 15 <= explored <= 45 and 0 < least < most <= 1, (explored, least, most)
    assert db.execute("SELECT count(*) FROM served s JOIN candidates k ON k.id = s.candidate_id WHERE k.taken AND k.propensity = s.propensity").fetchone() == (60,)
    db.close()
    s = Server("--explore", "0.5", "--seed", "7", "--store", "explore.db", "--harm-threshold", "1000")  # once more: other requests are tried
    for i in range(60):
        s.ask("POST", "/v1/choose", ask)
    s.end()
    db = sqlite3.connect("explore.db")
    tried = [db.execute("SELECT explored FROM served WHERE start_id = ? ORDER BY id", (start,)).fetchall() for start in (1, 2)]
    assert len(tried[0]) == len(tried[1]) == 60 and tried[0] != tried[1], tried


def many_at_once():
    """A full queue is told to come back; SIGTERM lets what runs end."""
    s = Server("--upstream", NEVER + "/slow/v1", "--deadline", "5s", "--queue", "3", "--token-env", "SERVE_TOKEN", token=TOKEN)
    assert s.ask("GET", "/v1/models", Authorization="Bearer wrong-token-of-this")[0] == 401 and s.ask("GET", "/health", Authorization="x")[0] == 200
    got = []
    threads = [threading.Thread(target=lambda: got.append(s.ask("POST", "/v1/chat/completions", chat("hello")))) for _ in range(6)]
    for t in threads:
        t.start()
    until = time.monotonic() + 10
    while len(got) < 3 and time.monotonic() < until:
        time.sleep(0.01)
    refused = [g for g in got if g[0] == 503]
    assert len(refused) == 3 and all(g[1]["Retry-After"] and g[2]["error"]["code"] == "queue_full" for g in refused), got
    out = s.end()
    for t in threads:
        t.join()
    assert sorted(g[0] for g in got) == [200] * 3 + [503] * 3 and "3 requests answered" in out, (out, got)


def a_full_disk():
    """No file may grow: an order is refused in words and changes nothing, answers go on. With room again it is carried out."""
    published = subprocess.run([KEEL, "publish", "--store", "s.db", "--policy", "policy", "--ope", "none", "--gate", "logged.refusal_rate >= 0", "--quiet", "--json"],
                               stdout=subprocess.PIPE, check=True)
    order = {"policy": json.loads(published.stdout)["policy"]}
    s = Server("--store", "s.db")
    publications = lambda: sqlite3.connect("s.db").execute("SELECT count(*) FROM publications").fetchone()[0]
    before = publications()
    assert s.ask("POST", "/admin/policy", dict(order, arm="none-such"))[0] == 404 and publications() == before
    resource.prlimit(s.program.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    status, _, answer = s.ask("POST", "/admin/policy", order)
    assert status == 503 and "see that its disk has room" in answer["error"]["message"], answer
    status, _, said = s.ask("POST", "/v1/choose", {"messages": [{"role": "user", "content": "hello"}], "candidates": ["a", "b"]})
    assert status == 200 and s.ask("POST", "/v1/feedback", {"id": said["id"], "feedback": "up"})[0] == 200
    resource.prlimit(s.program.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert publications() == before
    status, _, answer = s.ask("POST", "/admin/policy", order)
    assert status == 200 and answer["policy"] == order["policy"], answer
    s.end()
    assert publications() == before + 1
    assert sqlite3.connect("s.db").execute("SELECT (SELECT count(*) FROM served) + (SELECT count(*) FROM served_feedback) + (SELECT ifnull(sum(count), 0) FROM served_lost) - (SELECT sum(accepted) FROM serve_starts)").fetchone() == (0,)


try:
    for test in (a_chat, a_choice, tools_and_trouble, a_deadline, a_shadow, exploring, many_at_once, a_full_disk):
        print(test.__name__, flush=True)
        test()
finally:
    for program in [quick, patient, *Server.running]:
        program.kill()
