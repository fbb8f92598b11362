#!/bin/sh
# keel serve in front of upstreams that are dead, slow, cut, talk nonsense, know no n, call tools, whole and streamed, all at once;
# keel chat --server in front of it.
. "$(dirname "$0")/program.sh"
for program in python3 curl; do
    command -v $program >/dev/null || {
        echo "SKIPPED: $program is not installed"
        exit 77
    }
done
chat 80 en >log.jsonl
"$KEEL" import --store s.db --format chat log.jsonl --quiet >/dev/null
"$KEEL" sft --store s.db --base builtin --out base --quiet --set epochs=4 --set buckets=4096 --set action_space=candidates >/dev/null
"$KEEL" train --store s.db --base base --algo cql --out policy --quiet --set steps=100 --set hidden=16 --set batch=32 >/dev/null
status=0
"$KEEL" serve --policy policy --listen 127.0.0.1:0 --upstream http://127.0.0.1:1/v1 >out.txt 2>&1 &
server=$!
while kill -0 $server 2>/dev/null && ! grep -q "serving at" out.txt; do sleep 0.1; done
kill $server 2>/dev/null || true
if grep -q "built without" out.txt; then
    echo "SKIPPED: $(grep -o "built without [a-z]*" out.txt)"
    exit 77
fi
python3 "$SOURCE/tests/experiments/serve_upstreams.py" "$KEEL" "$SOURCE/tests/support/fake_upstream.py" || fail "upstreams of every kind"
finish
