#!/bin/sh
# keel serve over a real socket, in front of upstreams that behave and that do not: what clients get, what is logged, how it ends.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/program.sh"
if ! command -v python3 >/dev/null; then
    echo "SKIPPED: python3, which speaks HTTP here, is not installed"
    exit 77
fi
expect "wrong use: nothing to choose by" 2 "--policy" serve
expect "wrong use: both" 2 "excludes --arm" serve --policy x --arm a=x:1
expect "wrong use: address" 2 "--listen" serve --policy x --listen nowhere
expect "wrong use: explore" 2 "--explore" serve --policy x --explore 1.5
expect "wrong use: an upstream that is no address" 2 "--upstream" serve --policy x --upstream ftp://a
expect "wrong use: redact without a store" 2 "--redact" serve --policy x --redact y
expect "wrong use: beyond this machine" 2 "" serve --policy x --token-env KEEL_NO_SUCH_VARIABLE
printf '{"text": "Not now."}\n{"txt": "Later."}\n' >fixed.jsonl
expect "fixed answers with an unknown key" 1 "fixed.jsonl:2" serve --policy x --fixed fixed.jsonl
expect "no policy there" 1 "nowhere" serve --policy nowhere --listen 127.0.0.1:0

chat 80 en >log.jsonl
"$KEEL" import --store s.db --format chat log.jsonl --quiet >/dev/null
"$KEEL" sft --store s.db --base builtin --out base --quiet --set epochs=4 --set buckets=4096 --set action_space=candidates >/dev/null
"$KEEL" train --store s.db --base base --algo cql --out policy --quiet --set steps=300 --set hidden=32 --set batch=32 >/dev/null
status=0
"$KEEL" serve --policy policy --listen 127.0.0.1:0 --upstream http://127.0.0.1:1/v1 >out.txt 2>err.txt &
server=$!
soon 'grep -q "serving at\|libmicrohttpd\|libcurl" err.txt'
if grep -q "built without" err.txt; then
    grep -q "libmicrohttpd-dev\|libcurl4-openssl-dev" err.txt || fail "the hint names the package"
    [ "$failures" = 0 ] || exit 1
    echo "SKIPPED: $(grep -o "built without [a-z]*" err.txt)"
    exit 77
fi
kill -TERM $server
wait $server || status=$?
[ "$status" = 0 ] || fail "SIGTERM ends it with 0, not $status"
! grep -q "nothing writes candidates" err.txt || fail "an upstream writes: $(cat err.txt)"
"$KEEL" serve --policy policy --listen 127.0.0.1:0 >out.txt 2>alone.txt &
server=$!
until grep -qs "serving at" alone.txt || ! kill -0 $server 2>/dev/null; do sleep 0.1; done
kill -TERM $server
wait $server || fail "a server without upstreams: $(cat alone.txt)"
grep -q "nothing writes candidates.*--upstream" alone.txt || fail "who writes is missing: $(cat alone.txt)"

python3 "$here/serve.py" "$KEEL" "$here/../support/fake_upstream.py" || fail "requests over a socket"
[ "$failures" = 0 ]
