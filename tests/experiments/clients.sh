#!/bin/sh
# Real clients against keel serve: openai of PyPI and of npm, curl (experiments/bench/peers/clients.py), where their packages
# can be had: those that are installed into KEEL_PEERS, or into the build folder.
. "$(dirname "$0")/program.sh"
for program in python3 node npm curl; do
    command -v $program >/dev/null || {
        echo "SKIPPED: $program is not installed"
        exit 77
    }
done
chat 240 en >log.jsonl
expect "a log" 0 "" import --store s.db --format chat log.jsonl --quiet
expect "a base" 0 "" sft --store s.db --base builtin --out base --quiet --set epochs=2 --set buckets=4096
expect "a policy" 0 "" train --store s.db --base base --algo cql --out policy --quiet --set steps=200 --set hidden=16
"$KEEL" serve --policy policy --upstream http://127.0.0.1:1 --listen 127.0.0.1:0 >out.txt 2>&1 &
server=$!
soon 'grep -q "serving at\|built without" out.txt'
kill $server 2>/dev/null || true
if grep -q "built without" out.txt; then
    echo "SKIPPED: $(grep "built without" out.txt)"
    exit 77
fi
status=0
python3 "$SOURCE/experiments/bench/peers/clients.py" "$KEEL" policy --scratch "${KEEL_PEERS:-$BUILD/peers}" >said.txt 2>&1 || status=$?
[ "$status" != 77 ] || [ "$failures" != 0 ] || {
    grep SKIPPED said.txt
    exit 77
}
[ "$status" = 0 ] || fail "clients: $(grep -v '^ok ' said.txt)"
[ "$(grep -c '^ok ' said.txt)" -ge 30 ] || fail "so many checks ran: $(cat said.txt)"
finish
