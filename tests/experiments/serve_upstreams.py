"""keel serve in front of upstreams of every kind, and keel chat in front of keel serve: serve_upstreams.py KEEL FAKE."""
import atexit, glob, json, os, re, signal, sqlite3, subprocess, sys, time, urllib.error, urllib.request

KEEL, FAKE = sys.argv[1:3]
KEY = "sk-key-of-the-upstream-1234"
os.environ["UPSTREAM_KEY"] = KEY


def start(command, pattern, stream):
    program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    atexit.register(program.kill)  # also where a check fails
    while True:
        line = getattr(program, stream).readline()
        assert line, "a program ended: " + " ".join(command)
        found = re.search(pattern, line)
        if found:
            return program, "http://127.0.0.1:" + found[1]


fake, UPSTREAM = start([sys.executable, FAKE, "0", "60"], r"^(\d+)$", "stdout")


def get(url):
    return urllib.request.urlopen(url, timeout=30).read().decode()


def ask(url, asked="Please tell me about train times", **more):
    body = {"messages": [{"role": "user", "content": asked}], "keel": {"details": True}, "seed": 5, **more}
    request = urllib.request.Request(url + "/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
    return urllib.request.urlopen(request, timeout=60).read().decode()


# What each behaves like, asked for two answers, and what is to be there then: how many answers, the name of the trouble.
KINDS = {"normal": (2, None), "no-n": (2, None), "one-only": (2, None), "tools": (2, None), "dead": (0, "cut"), "cut": (0, "cut"), "nonsense": (0, "nonsense"), "huge": (0, "large"), "busy": (0, "refused"),
         "broken": (0, "failed"), "moved": (0, "redirect"), "nowhere": (0, "refused"), "drip": (0, "slow"), "slow": (0, "slow")}
STREAMED = {**KINDS, "cut": (1, "cut")}
for stream, kinds in (("no", KINDS), ("yes", STREAMED)):
    specs = [w for kind in kinds for w in ("--upstream", f"{UPSTREAM}/{kind}/v1,name={kind},n=2,stream={stream},key=UPSTREAM_KEY" + (",timeout=2s" if kind in ("drip", "slow") else ",timeout=30s"))]
    server, url = start([KEEL, "serve", "--policy", "policy", "--listen", "127.0.0.1:0", "--store", f"served-{stream}.db", "--harm-threshold", "1000", *specs], r"serving at http://[^:]+:(\d+)", "stderr")
    for turn in range(2):  # what was learned of n the first time holds the second time
        said = json.loads(ask(url, f"Please tell me about train times, {turn}"))
        troubles = dict(re.findall(r"(?:^|; )([a-z-]+): ([a-z]+): ", said["keel"]["troubles"]))
        written = [a["from"] for a in said["keel"]["actions"]]
        for kind, (n, trouble) in kinds.items():
            assert troubles.get(kind) == trouble, (stream, kind, said["keel"]["troubles"])
            seen = min(n, 1) if kind == "tools" else n  # the same call twice is one candidate
            assert written.count(kind) == seen, (stream, kind, written)
    metrics = get(url + "/metrics")
    assert f'keel:upstream_errors_total{{upstream="dead"}}' in metrics and 'keel:upstream_troubles_total{trouble="redirect"}' in metrics, metrics
    bodies = json.loads(get(UPSTREAM + "/log"))
    for key in ("api_base", "base_url", "api_key"):
        try:
            raise SystemExit(f"{key} is not refused: " + ask(url, **{key: "file:///etc/passwd"}))
        except urllib.error.HTTPError as error:
            assert error.code == 400 and json.loads(error.read())["error"]["param"] == key
    assert len(json.loads(get(UPSTREAM + "/log"))) == len(bodies)
    ask(url, proxy="http://127.0.0.1:1/", extra_headers={"x": "y"}, model="file:///etc/passwd")
    sent = json.loads(get(UPSTREAM + "/log"))[len(bodies):]
    assert sent and all(set(b) <= {"messages", "n", "stream", "stream_options", "seed", "temperature"} for b in sent), sent[0]
    server.send_signal(signal.SIGTERM)
    out, err = server.communicate(timeout=60)
    assert server.returncode == 0, err
    for text in (metrics, json.dumps(said), out, err):
        assert KEY not in text
assert not any(KEY.encode() in open(path, "rb").read() for path in glob.glob("served-*"))

# A client that hangs up frees the upstream: no timing here, but 60 s would pass otherwise.
server, url = start([KEEL, "serve", "--policy", "policy", "--listen", "127.0.0.1:0", "--upstream", UPSTREAM + "/slow/v1,n=2"], r"serving at http://[^:]+:(\d+)", "stderr")
for stream in (False, True):
    client = subprocess.Popen(["curl", "-sN", "-d", json.dumps({"messages": [{"role": "user", "content": "a"}], "stream": stream}), "-H", "Content-Type: application/json", url + "/v1/chat/completions"],
                              stdout=subprocess.DEVNULL)
    while get(UPSTREAM + "/open") != "1":
        time.sleep(0.01)
    began = time.monotonic()
    client.kill()
    client.wait()
    while get(UPSTREAM + "/open") != "0":
        assert time.monotonic() - began < 30, "an upstream writes for nobody"
        time.sleep(0.01)
    print(f"stream {stream}: {1000 * (time.monotonic() - began):.0f} ms from a client's end to that of its call")
server.send_signal(signal.SIGTERM)
assert server.communicate(timeout=60) and server.returncode == 0

# keel chat in front of keel serve.
os.environ["SERVE_TOKEN"] = "a-token-of-this-test"
server, url = start([KEEL, "serve", "--policy", "policy", "--listen", "127.0.0.1:0", "--store", "chat.db", "--token-env", "SERVE_TOKEN", "--upstream", UPSTREAM + "/normal/v1,n=2"],
                    r"serving at http://[^:]+:(\d+)", "stderr")
talk = "Please tell me about train times\n/good\nPlease tell me about my invoice\n/bad\n/done\nPlease tell me about steal a car\n/quit\n"
chat = subprocess.run([KEEL, "chat", "--server", url, "--token-env", "SERVE_TOKEN"], input=talk, capture_output=True, text=True, timeout=60)
assert chat.returncode == 0 and chat.stdout.count("noted") == 3 and chat.stdout.count("\nassistant> ") == 3, (chat.stdout, chat.stderr)
assert "Q accuracy" in chat.stdout and "normal 1: Please tell me about train times" in chat.stdout, chat.stdout
lines = subprocess.run([KEEL, "chat", "--server", url, "--token-env", "SERVE_TOKEN", "--json"], input="Please tell me about train times\n", capture_output=True, text=True, timeout=60).stdout.splitlines()
assert len(lines) == 1 and json.loads(lines[0])["actions"] and json.loads(lines[0])["id"].startswith("chatcmpl-"), lines
os.environ["SERVE_TOKEN"] = "another-token-of-this-test"
chat = subprocess.run([KEEL, "chat", "--server", url, "--token-env", "SERVE_TOKEN"], input=talk, capture_output=True, text=True, timeout=60)
assert chat.returncode == 1 and "answers 401" in chat.stderr and "another-token" not in chat.stderr, chat.stderr
server.send_signal(signal.SIGTERM)
assert server.communicate(timeout=60) and server.returncode == 0
db = sqlite3.connect("chat.db")
assert db.execute("SELECT feedback, completed FROM served_feedback ORDER BY id").fetchall() == [(1.0, -1), (-1.0, -1), (None, 1)], db.execute("SELECT * FROM served_feedback").fetchall()
assert db.execute("SELECT count(*), count(DISTINCT conversation_id) FROM served").fetchone() == (4, 3), db.execute("SELECT * FROM served").fetchall()
fake.kill()
