#!/usr/bin/env python3
"""An OpenAI-compatible server that behaves as its path says, for tests: python3 fake_upstream.py [PORT [DELAY]].

The first line on stdout is its port. POST /MODE/v1/chat/completions, MODE one of

  normal    n answers, as many as are asked for, streamed where that is asked for (also /v1 without a mode)
  no-n      one answer, whatever n says
  one-only  400 where n is more than 1
  slow      as normal, after DELAY seconds (default 3)
  drip      the headers at once, then nothing for DELAY seconds
  dead      the connection is closed without a word
  cut       the connection ends in the middle: of a body, or of a stream after its first answer
  nonsense  HTML, half a JSON, wrong types, no choices, an error with status 200, bytes that are no UTF-8: in turn
  huge      an answer of 16 MiB
  busy      429 with an error object that shows the key it was given
  rude      429 with an error that would wipe a terminal
  broken    500 with HTML
  moved     302 to /normal
  tools     one answer that calls the first tool
  odd       one answer with details as of keel serve, of wrong types in turn

An answer says "MODE I: TEXT" with I its index, plus the seed if one was given, and TEXT the last user message; it refuses where TEXT holds "bomb".
GET /log: the bodies that came, as a JSON list; GET /open: how many requests are being answered.
"""
import http.server, json, sys, threading, time

bodies, running, turn, lock = [], 0, 0, threading.Lock()
DELAY = float(sys.argv[2]) if len(sys.argv) > 2 else 3.0
NONSENSE = [b"<html><body>sign in</body></html>", b'{"choices": [{"message": {"content": "ha', b'{"choices": "many"}',
            b'{"choices": [{"message": {"content": 7}}]}', b'{"choices": []}', b'{"error": {"message": "out of order"}}',
            b'{"choices": [{"message": {"content": "\xff\xfe"}}]}', b"[]", b"null", b"", b'{"choices": [null, 3, {"message": []}]}',
            b'{"choices": [{"message": {"content": ""}}]}']


def last_user(body):
    said = [m.get("content") for m in body.get("messages", []) if isinstance(m, dict) and m.get("role") == "user"]
    return said[-1] if said and isinstance(said[-1], str) else ""


def text_of(mode, body, i):
    asked, i = last_user(body), i + int(body.get("seed") or 0)
    return "I'm sorry, but I can't help with that." if "bomb" in asked and i % 2 == 0 else f"{mode} {i}: {asked}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *arguments):
        pass

    def say(self, status, body, kind="application/json", headers=()):
        body = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def hang_up(self):
        self.close_connection = True

    def do_GET(self):
        if self.path == "/log":
            return self.say(200, bodies)
        if self.path == "/open":
            return self.say(200, running)
        if self.path.endswith("/v1/models"):
            return self.say(200, {"object": "list", "data": [{"id": "fake", "object": "model", "created": 1, "owned_by": "tests"}]})
        self.say(404, {"error": {"message": "no such page"}})

    def do_POST(self):
        global running
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        mode = self.path.strip("/").split("/")[0] if self.path.endswith("/chat/completions") else "nowhere"
        mode = "normal" if mode in ("v1", "chat") else mode
        with lock:
            bodies.append(body)
            running += 1
        try:
            getattr(self, "do_" + mode.replace("-", "_"), self.do_unknown)(mode, body)
        except (BrokenPipeError, ConnectionResetError):
            self.hang_up()
        finally:
            with lock:
                running -= 1

    def do_unknown(self, mode, body):
        self.say(404, {"error": {"message": "no such mode"}})

    def completion(self, mode, body, n):
        choices = [{"index": i, "message": {"role": "assistant", "content": text_of(mode, body, i)}, "finish_reason": "stop"} for i in range(n)]
        return {"id": "fake-1", "object": "chat.completion", "created": int(time.time()), "model": body.get("model", "fake"), "choices": choices,
                "usage": {"prompt_tokens": 10, "completion_tokens": 5 * n, "total_tokens": 10 + 5 * n}}

    def do_normal(self, mode, body):
        n = int(body.get("n") or 1)
        return self.stream(mode, body, n) if body.get("stream") else self.say(200, self.completion(mode, body, n))

    def do_no_n(self, mode, body):
        self.do_normal(mode, {**body, "n": 1})

    def do_one_only(self, mode, body):
        if int(body.get("n") or 1) > 1:
            return self.say(400, {"error": {"message": "only one choice is allowed"}})
        self.do_normal(mode, body)

    def do_slow(self, mode, body):
        self.wait()
        self.do_normal(mode, body)

    def wait(self):
        """Sleeps, but sees that the peer hung up."""
        self.connection.settimeout(0.01)
        end = time.monotonic() + DELAY
        while time.monotonic() < end:
            try:
                if self.connection.recv(1) == b"":
                    raise BrokenPipeError
            except TimeoutError:
                pass
        self.connection.settimeout(None)

    def do_drip(self, mode, body):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b'{"choices": [')
        self.wait()
        self.hang_up()

    def do_dead(self, mode, body):
        self.hang_up()

    def do_cut(self, mode, body):
        if body.get("stream"):
            return self.stream(mode, body, 2, whole=False)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b'{"choices": [{"message": {"role": "assistant", "content": "half an ans')
        self.hang_up()

    def do_nonsense(self, mode, body):
        global turn
        with lock:
            turn += 1
        self.say(200, NONSENSE[turn % len(NONSENSE)])

    def do_huge(self, mode, body):
        self.say(200, self.completion("x" * (16 << 20), body, 1))

    def do_busy(self, mode, body):
        self.say(429, {"error": {"message": "too many requests with " + self.headers.get("Authorization", "no key"), "type": "rate_limit"}})

    def do_rude(self, mode, body):
        self.say(429, {"error": "go \u001b[2J\u009b2J away"})

    def do_broken(self, mode, body):
        self.say(500, b"<html>Internal Server Error</html>", "text/html")

    def do_moved(self, mode, body):
        self.say(302, b"", "text/plain", [("Location", "/normal/v1/chat/completions")])

    def do_tools(self, mode, body):
        name = body["tools"][0]["function"]["name"] if body.get("tools") else "none"
        call = {"id": "call_1", "type": "function", "function": {"name": name, "arguments": "{\"city\": \"Oslo\"}"}}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        self.say(200, {**self.completion(mode, body, 1), "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]})

    def do_odd(self, mode, body):
        global turn
        with lock:
            turn += 1
        row = {"says": "a\u001b[31m", "q": {"accuracy": "x"}, "cost": [], "outcome": 7}
        odd = [None, 7, [], {"actions": 7}, {"actions": [7]}, {"actions": [{"says": 7}]}, {"actions": [row]}, {"actions": [row, {"says": "b", "q": {}}]},
               {"actions": [], "why": 7, "harm_threshold": "x"}, {"why": {"sentence": 7}, "unfamiliar": "no", "fallback": 3},
               {"why": {"sentence": "because\u001b[2J\u009b2J"}}]
        self.say(200, {**self.completion(mode, body, 1), "keel": odd[turn % len(odd)]})

    def chunk(self, body, choices, **more):
        event = {"id": "fake-1", "object": "chat.completion.chunk", "created": 1, "model": body.get("model", "fake"), "choices": choices, **more}
        self.put(b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n")

    def put(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def stream(self, mode, body, n, whole=True):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.put(b": begins\n\n")
        for i in range(n):
            self.chunk(body, [{"index": i, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}])
            for word in text_of(mode, body, i).split(" "):
                self.chunk(body, [{"index": i, "delta": {"content": word + " "}, "finish_reason": None}])
            if not whole and i == n - 1:
                return self.hang_up()
            self.chunk(body, [{"index": i, "delta": {}, "finish_reason": "stop"}])
        if (body.get("stream_options") or {}).get("include_usage"):
            self.chunk(body, [], usage={"prompt_tokens": 10, "completion_tokens": 5 * n, "total_tokens": 10 + 5 * n})
        self.put(b"data: [DONE]\n\n")
        self.put(b"")


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request, client_address):
        pass


server = Server(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
