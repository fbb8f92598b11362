#!/bin/sh
# The loop in small: users of a desk behind keel serve, what was served is learned from, and the running server takes up what
# is published. And what keel consume says to those who use it wrongly.
. "$(dirname "$0")/program.sh"
expect "consume: no brokers" 2 "--brokers" consume --topic t --store s.db
expect "consume: a topic that is none" 2 "--topic" consume --brokers 127.0.0.1:1 --topic "a b" --store s.db
expect "consume: a format that is none" 2 "jsonl" consume --brokers 127.0.0.1:1 --topic t --store s.db --format jsonl
expect "consume: a source that names none" 2 "--source" consume --brokers 127.0.0.1:1 --topic t --store s.db --source a:b
expect "simulate: one answers" 2 "excludes --behaviour" simulate --store s.db --env support-desk --episodes 1 --server http://127.0.0.1:1 --behaviour random
expect "simulate: a token of nobody" 2 "KEEL_NO_TOKEN" simulate --store s.db --env support-desk --episodes 1 --server http://127.0.0.1:1 --token-env KEEL_NO_TOKEN
expect "simulate: silent to whom" 2 "--server" simulate --store s.db --env support-desk --episodes 1 --behaviour random --silent
if ! "$KEEL" consume --brokers 127.0.0.1:1 --topic t --store s.db --patience 1s 2>&1 | grep -q "built without librdkafka"; then
    printf 'sasl.password=sesame\nenable.auto.commit=true\n' >kafka.conf
    expect "consume: what Keel sets itself" 2 "kafka.conf:2" consume --brokers 127.0.0.1:1 --topic t --store s.db --kafka-config kafka.conf
    ! grep -q sesame err.txt || fail "a secret in an error: $(cat err.txt)"
    expect "consume: no broker" 1 "no answer" consume --brokers 127.0.0.1:1 --topic t --store s.db --patience 1s
fi
[ ! -e s.db ] || fail "nothing was made of all that"

# ---- a server with the clone of the log ----
"$KEEL" simulate --store s.db --env support-desk --behaviour support-82 --episodes 150 --quiet >/dev/null
"$KEEL" sft --store s.db --base builtin --out base --quiet --set epochs=2 --set buckets=2048 >/dev/null
"$KEEL" train --store s.db --base base --algo bc --out clone --quiet --set steps=100 --set hidden=16 --set batch=16 >/dev/null
"$KEEL" serve --policy clone --store s.db --listen 127.0.0.1:0 --explore 0.2 >serve.txt 2>&1 &
server=$!
trap 'kill $server 2>/dev/null || :; rm -rf "$work"' EXIT
soon 'grep -q "serving at\|built without" serve.txt'
if grep -q "built without" serve.txt; then
    [ "$failures" = 0 ] || exit 1
    echo "SKIPPED: $(grep -o "built without [a-z]*" serve.txt)"
    exit 77
fi
url=$(sed -n 's/.*serving at \(http[^ ;]*\)\/v1.*/\1/p' serve.txt)
if ! "$KEEL" simulate --store client.db --env support-desk --server "$url" --episodes 30 --quiet --json >client.json 2>err.txt; then
    grep -q "built without libcurl" err.txt && echo "SKIPPED: built without libcurl" && exit 77
    fail "users of the server: $(cat err.txt)"
fi
decisions=$("$KEEL" stats --store client.db --json --quiet | awk '/"decisions"/ { gsub(/[^0-9]/, ""); n += $0 } END { print n }')
grep -q '"added": 30' client.json || fail "thirty talks: $(cat client.json)"
"$KEEL" simulate --store client.db --env support-desk --server "$url" --episodes 30 --quiet --json >client.json
grep -q '"known": 30' client.json || fail "what was played stands: $(cat client.json)"
soon '[ "$("$DUMP_STORE" s.db "SELECT count(*) FROM served")" -ge "$decisions" ]'

# ---- learned from, compared with what the server was started with, published, taken up; and back ----
"$KEEL" learn --store s.db --base base --out live --algo cql --set steps=200 --set hidden=16 --set batch=16 --label never --publish \
    --gate "refusal_rate.value >= 0" --quiet --json >learn.json || fail "a round"
grep -q '"new": 180' learn.json || fail "what was served is learned from: $(cat learn.json)"
grep -q '"verdict": "not shown to be better than the published one' learn.json || fail "the first policy of the server is compared with: $(cat learn.json)"
policy=$(sed -n 's/^ *"policy": "\([0-9a-f]*\)".*/\1/p' learn.json | head -n 1)
expect "it is published all the same" 0 "" publish --store s.db --policy live/round-1/policy --ope none --gate "refusal_rate.value >= 0" --quiet
"$KEEL" simulate --store after.db --env support-desk --server "$url" --episodes 20 --seed 2 --quiet >/dev/null
soon 'grep -q "serves policy $(echo "$policy" | cut -c1-12)" serve.txt'
"$KEEL" simulate --store after.db --env support-desk --server "$url" --episodes 25 --seed 2 --quiet >/dev/null
expect "back to what the server was started with" 0 "" publish --store s.db --rollback --quiet --json
"$KEEL" publish --store s.db --list --quiet >list.txt
grep -q 'not judged' list.txt && grep -q 'start' list.txt || fail "the first policy is listed, as one that was not judged: $(cat list.txt)"
kill -TERM $server
status=0
wait $server || status=$?
[ "$status" = 0 ] || fail "the server ends with 0, not $status"
served=$("$DUMP_STORE" s.db "SELECT count(*) FROM served")
[ "$served" -ge "$decisions" ] || fail "every choice is in the log of the server: $served of $decisions"
[ "$("$DUMP_STORE" s.db "SELECT count(*) > 0 FROM served WHERE policy = '$policy'")" = 1 ] || fail "the running server took up what was published"
[ "$failures" = 0 ]
