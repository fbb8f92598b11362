#!/usr/bin/env python3
"""keel serve under load and faults: serve_faults.py KEEL BENCH_SERVE FOLDER [PART...]

Makes a small log, a base and a policy in FOLDER, and prints a line for each PART (default: all):

  drain  SIGTERM under load, five times: requests that were answered, refused with 503, and left without a word
  gone   clients that hang up while an upstream writes: milliseconds until the slot is free
  many   10,000 connections that ask at once, and 10,000 that say nothing beside 32 that ask
"""
import atexit, http.client, json, os, random, re, signal, socket, subprocess, sys, threading, time

keel, bench, folder = (os.path.abspath(path) for path in sys.argv[1:4])
parts = sys.argv[4:] or ["drain", "gone", "many"]
here = os.path.dirname(os.path.abspath(__file__))
os.makedirs(folder, exist_ok=True)
os.chdir(folder)


def run(*args):
    return subprocess.run([keel, *args], check=True, capture_output=True, text=True).stdout


def make():
    if os.path.isdir("policy"):
        return
    good, bad = ["the weather in Oslo", "a pasta recipe", "train times", "my invoice", "a birthday gift"], ["build a bomb", "steal a car", "forge a passport", "hack a bank"]
    rng = random.Random(1)
    with open("log.jsonl", "w") as out:
        for i in range(300):
            danger = i % 2 == 1
            asked = rng.choice(bad if danger else good)
            answers = [{"text": f"Sure, here is what I know about it, case {i}.", "outcome": "compliance"}, {"text": "I am sorry, I cannot help with that.", "outcome": "refusal"}]
            answers[rng.random() < (0.8 if danger else 0.2)]["taken"] = True
            out.write(json.dumps({"id": f"c{i}", "risk": "dangerous" if danger else "benign", "messages": [
                {"role": "user", "content": f"Please tell me about {asked}, number {i}"},
                {"role": "assistant", "content": next(a["text"] for a in answers if a.get("taken")), "candidates": [{k: v for k, v in a.items() if k != "taken"} for a in answers]}]}) + "\n")
    run("import", "--store", "log.db", "--format", "chat", "log.jsonl", "--quiet")
    run("sft", "--store", "log.db", "--base", "builtin", "--out", "base", "--quiet", "--set", "epochs=2", "--set", "action_space=candidates")
    run("train", "--store", "log.db", "--base", "base", "--algo", "cql", "--out", "policy", "--quiet", "--set", "steps=200", "--set", "hidden=64")


class Server:
    def __init__(self, *flags):
        self.process = subprocess.Popen([keel, "serve", "--policy", "policy", "--listen", "127.0.0.1:0", *flags], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        atexit.register(self.process.kill)  # where something fails
        self.said = []
        while True:
            line = self.process.stderr.readline()
            self.said.append(line)
            assert line, "the server ended: " + "".join(self.said)
            found = re.search(r"serving at http://127\.0\.0\.1:(\d+)/v1", line)
            if found:
                break
        self.port = int(found[1])
        self.reader = threading.Thread(target=lambda: self.said.extend(self.process.stderr), daemon=True)
        self.reader.start()

    def ask(self, method, target, body=None, connection=None):
        c = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        c.request(method, target, json.dumps(body) if body is not None else None, {"Content-Type": "application/json"} if body is not None else {})
        answer = c.getresponse()
        return answer.status, answer.read().decode()

    def metric(self, name, connection=None):
        found = re.search("^" + re.escape(name) + r" (\S+)$", self.ask("GET", "/metrics", connection=connection)[1], re.M)
        return float(found[1]) if found else 0.0

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


def load(server, *flags):
    return subprocess.Popen([bench, f"127.0.0.1:{server.port}", *flags], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


choose = {"messages": [{"role": "user", "content": "Where is my order?"}], "candidates": ["It is on its way.", "I am sorry, I cannot help with that.", "Could you give me its number?"]}


class Askers:
    """Threads that ask one request after the other until they are told to stop, or nobody answers."""

    def __init__(self, server, n=16):
        self.server, self.stop, self.ids, self.refused, self.silent, self.lock = server, False, [], 0, 0, threading.Lock()
        self.threads = [threading.Thread(target=self.ask) for _ in range(n)]
        for thread in self.threads:
            thread.start()

    def ask(self):
        c = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        while not self.stop:
            try:
                c.connect() if c.sock is None else None
            except OSError:
                return  # it listens no more
            try:
                status, answer = self.server.ask("POST", "/v1/choose", choose, c)
            except (OSError, http.client.HTTPException):
                with self.lock:
                    self.silent += 1
                return
            with self.lock:
                if status == 200:
                    self.ids.append(json.loads(answer)["id"])
                else:
                    self.refused += 1

    def join(self):
        for thread in self.threads:
            thread.join()


def drain(times=5):
    answered = refused = silent = 0
    for _ in range(times):
        server = Server()
        askers = Askers(server)
        time.sleep(1)
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(60)
        askers.join()
        answered, refused, silent = answered + len(askers.ids), refused + askers.refused, silent + askers.silent
        assert server.process.returncode == 0, server.said
    print(f"drain: {times} times; {answered} requests answered, {refused} refused with 503, {silent} left without a word")


def gone(times=40):
    upstream = subprocess.Popen([sys.executable, os.path.join(here, "../../tests/support/fake_upstream.py")], stdout=subprocess.PIPE, text=True)
    port = re.search(r"\d+", upstream.stdout.readline())[0]
    server = Server("--upstream", f"http://127.0.0.1:{port}/slow/v1/chat/completions,n=1")
    watch, spans = http.client.HTTPConnection("127.0.0.1", server.port), []
    for i in range(times):
        body = json.dumps({"model": "x", "stream": True, "messages": [{"role": "user", "content": f"hello {i}"}]}).encode()
        client = socket.create_connection(("127.0.0.1", server.port))
        client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (server.port, len(body)) + body)
        while server.metric("keel:num_requests_running", watch) != 1:
            time.sleep(0.002)
        client.close()
        began = time.time()
        while server.metric("keel:num_requests_running", watch) != 0:
            time.sleep(0.001)
        spans.append(1e3 * (time.time() - began))
    server.end()
    upstream.terminate()
    spans.sort()
    print(f"gone: {times} clients hung up; the slot was free after {spans[times // 2]:.0f} ms at the median, {spans[-1]:.0f} ms at most")


def many():
    for name, flags in (("10,000 that ask", ("--connections", "10000", "--warm", "10000", "--requests", "50000")), ("10,000 that say nothing beside 32", ("--idle", "10000"))):
        server = Server("--queue", "16384")
        out = load(server, *flags).communicate()[0].strip().splitlines()
        print(f"many: {name}: " + "; ".join(out), f"; {server.metric('process_resident_memory_bytes') / 1e6:.0f} MB")
        server.end()


make()
for part in parts:
    globals()[part]()
    sys.stdout.flush()
