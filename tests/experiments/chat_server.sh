#!/bin/sh
# keel chat --server: what it says to a server, what it makes of answers, silence and nonsense. tests/experiments/serve.sh has it
# talk to keel serve.
. "$(dirname "$0")/program.sh"
if ! command -v python3 >/dev/null; then
    echo "SKIPPED: python3, which is the server here, is not installed"
    exit 77
fi
python3 "$SOURCE/tests/support/fake_upstream.py" 0 60 >port.txt &
server=$!
trap 'kill $server; rm -rf "$work"' EXIT
while [ ! -s port.txt ]; do sleep 0.05; done
url=http://127.0.0.1:$(cat port.txt)

echo Hello >lines.txt
expect "wrong use: both" 2 "--policy" chat --server "$url" --policy x <lines.txt
expect "wrong use: neither" 2 "--server" chat <lines.txt
expect "wrong use: a token without a server" 2 "--token-env" chat --policy x --token-env HOME <lines.txt
if "$KEEL" chat --server "$url" <lines.txt 2>&1 | grep -q "built without libcurl"; then
    [ "$failures" = 0 ] || exit 1
    echo "SKIPPED: built without libcurl; keel chat --server says so"
    exit 77
fi
expect "wrong use: no address" 2 "--server" chat --server localhost:80 <lines.txt
expect "wrong use: a password" 2 "no password" chat --server http://ann:sesame@localhost/ <lines.txt
expect "wrong use: no token" 2 "KEEL_NO_TOKEN" chat --server "$url" --token-env KEEL_NO_TOKEN <lines.txt

printf 'Hello\nAnd more\n/new\nAgain\n/what\n/quit\nnot read\n' >lines.txt
expect "talks" 0 "/good likes the last answer" chat --server "$url/v1" --system "Be kind." <lines.txt
grep -q '^assistant> normal 0: And more$' out.txt || fail "shows the answer: $(cat out.txt)"
python3 - "$url" <<'END' || fail "what it says to the server"
import json, sys, urllib.request
bodies = json.load(urllib.request.urlopen(sys.argv[1] + "/log"))[1:]
said = [[(m["role"], m["content"]) for m in b["messages"]] for b in bodies]
assert said == [[("system", "Be kind."), ("user", "Hello")],
                [("system", "Be kind."), ("user", "Hello"), ("assistant", "normal 0: Hello"), ("user", "And more")],
                [("system", "Be kind."), ("user", "Again")]], said
assert all(b["keel"] == {"details": True} for b in bodies)
END
printf 'Hello\n' >lines.txt
expect "as JSON" 0 "" chat --server "$url" --json <lines.txt
grep -q '"says":"normal 0: Hello"' out.txt || fail "a line of JSON: $(cat out.txt)"
expect "calls of tools are shown" 0 "" chat --server "$url/tools" <lines.txt
grep -q 'call_1' out.txt || fail "a call: $(cat out.txt)"

for i in 0 1 2 3 4 5 6 7 8 9 10; do
    expect "odd details $i" 0 "" chat --server "$url/odd" <lines.txt
    grep -q '^assistant> odd 0: Hello$' out.txt || fail "odd details: $(cat out.txt)"
    ! grep -q "$(printf '\033\|\302\233')" out.txt || fail "text of others is harmless"
    cat out.txt >>all.txt
done
grep -q '^why: because?\[2J?2J$' all.txt || fail "a reason is shown"

printf 'Hello\n/good\nHello again\n/good\n' >lines.txt
expect "feedback before an answer, and to a server that takes none" 1 "nothing was answered yet" chat --server "$url/broken" <lines.txt
grep -q "failed: it answers 500" err.txt || fail "says what the server answers: $(cat err.txt)"
grep -q "2 requests got no answer" err.txt || fail "counts what was not answered: $(cat err.txt)"
expect "feedback that is refused" 1 "refused: it answers 404" chat --server "$url" <lines.txt
expect "an error that would wipe the terminal" 1 "refused: it answers 429: go ?[2J?2J away" chat --server "$url/rude" <lines.txt
for mode in dead cut moved; do expect "$mode" 1 "2 requests got no answer" chat --server "$url/$mode" <lines.txt; done
expect "nonsense" 1 "is no JSON object" chat --server "$url/nonsense" <lines.txt
KEEL_TEST_TOKEN=sesame expect "the token is sent" 1 "too many requests with Bearer sesame" chat --server "$url/busy" --token-env KEEL_TEST_TOKEN <lines.txt
expect "nobody there" 1 "dead: " chat --server http://127.0.0.1:1 <lines.txt

mkfifo lines
"$KEEL" chat --server "$url/slow" <lines >out.txt 2>err.txt &
chat=$!
exec 8>lines
echo Hello >&8
while [ "$(python3 -c "import urllib.request; print(urllib.request.urlopen('$url/open').read().decode())")" = 0 ]; do sleep 0.05; done
kill -INT $chat
status=0
wait $chat || status=$?
exec 8>&-
[ "$status" = 130 ] || fail "an interrupt ends the wait for an answer: $status, $(cat err.txt)"
finish
