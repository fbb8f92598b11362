#!/bin/sh
# Server, review, imports, labels and learning on one store, killed, short of memory and of disk: a few kills of
# experiments/bench/everything.py, KILLS (6) of them.
. "$(dirname "$0")/program.sh"
if ! python3 -c "import sqlite3" 2>/dev/null; then
    echo "SKIPPED: python3, which asks, kills and looks, is not installed"
    exit 77
fi
status=0
python3 "$SOURCE/experiments/bench/everything.py" "$KEEL" everything --kills "${KILLS:-6}" >out.txt 2>&1 || status=$?
if grep -q "built without" out.txt; then
    echo "SKIPPED: $(grep -o "built without [a-z]*" out.txt)"
    exit 77
fi
[ $status = 0 ] && grep -q "^all holds$" out.txt || fail "$(cat out.txt)"
finish
