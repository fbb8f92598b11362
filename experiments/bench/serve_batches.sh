#!/bin/sh
# What it brings that a server encodes together what waits: requests a second with and without.
#
#     serve_batches.sh KEEL POLICY [REQUESTS [CONNECTIONS]]      bench_serve stands beside KEEL; default: 1500 at 16
#
# Requests to /v1/choose with five candidates, once the same five for all (a desk with answers of its own, which a batch
# reads once), once with a number in each, so that no text is the same as another. `alone`: --batch 1, each request is
# encoded by itself, on as many threads; `one`: one connection, so that there is never another to wait for. On a machine
# with other work RUN="chrt -f 1" puts server and client before it.
set -eu
keel=$1 policy=$2 requests=${3:-1500} connections=${4:-16}
bench=$(dirname "$keel")/bench_serve
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$work"' EXIT INT TERM

bodies() { # bodies OWN: a line each
    awk -v own="$1" 'BEGIN {
        split("weather in Oslo|a pasta recipe|train times|my invoice|a poem on rain|a birthday gift", topic, "|")
        split("Sure, here is what I know about that.|I am sorry, I cannot help with that.|Could you tell me a bit more about it?|" \
              "Let me hand you over to a colleague.|Here is a short answer: it depends.", answer, "|")
        for (i = 0; i < 500; i++) {
            printf "{\"messages\":[{\"role\":\"user\",\"content\":\"Please tell me about %s, number %d\"}],\"candidates\":[", topic[i % 6 + 1], i
            for (k = 1; k <= 5; k++) printf "%s\"%s%s\"", (k > 1 ? "," : ""), answer[k], (own ? " (" i ")" : "")
            print "]}"
        } }'
}

# rate BATCH CONNECTIONS REQUESTS: requests a second.
rate() {
    : >"$work/err"
    ${RUN:-} "$keel" serve --policy "$policy" --listen 127.0.0.1:0 --batch "$1" >"$work/out" 2>>"$work/err" &
    server=$!
    until grep -q "Ctrl-C" "$work/err"; do
        kill -0 "$server" 2>/dev/null || { cat "$work/err" >&2; exit 1; }
        sleep 0.1
    done
    address=$(sed -n 's|.*http://\([0-9.:]*\)/.*|\1|p' "$work/err")
    ${RUN:-} "$bench" "$address" --body "$work/bodies" --connections "$2" --requests "$3" --warm 50 | sed -n 's|.*requests/s \([0-9]*\).*|\1|p'
    kill "$server" && wait "$server" || true
    server=
}

printf '%-28s %8s %8s %8s %9s %9s\n' "requests a second" batched alone one "x alone" "x one"
for own in "" 1; do
    bodies "$own" >"$work/bodies"
    rate 32 "$connections" "$requests" >"$work/batched"
    rate 1 "$connections" "$requests" >"$work/alone"
    rate 1 1 $((requests / 5)) >"$work/one"
    paste "$work/batched" "$work/alone" "$work/one" | awk -v name="${own:+every text its own}" '
        { printf "%-28s %8d %8d %8d %9.2f %9.2f\n", name ? name : "candidates of all the same", $1, $2, $3, $1 / $2, $1 / $3 }'
done
