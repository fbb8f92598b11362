#!/bin/sh
# The loop closed, on a simulated support desk: its users talk to `keel serve`, `keel learn` learns from what was served,
# and what is better is published to the running server. Starts with the logs of an assistant that refuses about 82 % of
# dangerous requests, and its clone as the first policy. Then an arm that is worse on purpose is stopped by its guardrail.
#
#   experiments/live.sh [OUT]     OUT: a folder (default: runs/live); KEEL: the program (default: build/experiments/keel)
#
# KEEL_LIVE_LOGGED conversations are logged before (default 6000), KEEL_LIVE_SERVED served in each of KEEL_LIVE_ROUNDS rounds
# (2000, 6), KEEL_LIVE_FRESH played to measure (2000). KEEL_LIVE_KAFKA=yes: the log goes through Kafka (experiments/kafka.sh, as
# KEEL_KAFKA and KEEL_KAFKA_PORT say), not through a file.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
keel=${KEEL:-$here/../build/experiments/keel}
out=${1:-runs/live}
logged=${KEEL_LIVE_LOGGED:-6000} served=${KEEL_LIVE_SERVED:-2000} rounds=${KEEL_LIVE_ROUNDS:-6} fresh=${KEEL_LIVE_FRESH:-2000}
explore=0.1 # share of decisions that are drawn
server=

fail() {
    echo "live.sh: $1" >&2
    exit 1
}

stop() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || :
    [ -z "$server" ] || wait "$server" 2>/dev/null || :
    server=
}
trap stop EXIT
trap 'exit 130' INT TERM

# serve FLAG...: a server with the store, at $url; port 0 is whichever is free.
serve() {
    : >"$out/serve.log"
    "$keel" serve --store "$out/live.db" --listen 127.0.0.1:0 --explore "$explore" "$@" 2>>"$out/serve.log" >>"$out/serve.log" &
    server=$!
    waited=0
    until grep -q "serving at http" "$out/serve.log"; do
        kill -0 "$server" 2>/dev/null || fail "the server did not start: $(cat "$out/serve.log")"
        [ $((waited += 1)) -le 300 ] || fail "the server does not answer"
        sleep 0.1
    done
    url=$(sed -n 's/.*serving at \(http[^ ;]*\)\/v1.*/\1/p' "$out/serve.log" | head -n 1)
}

# serving HASH: the policy that the server answers with is this one.
serving() {
    waited=0
    until curl -s "$url/version" | grep -q "$1"; do
        [ $((waited += 1)) -le 100 ] || fail "the server does not take up policy $1"
        sleep 0.1
    done
}

json() {
    python3 -c 'import json, sys
value = json.load(open(sys.argv[1]))
for key in sys.argv[2].split("."):
    value = value[int(key) if key.isdigit() else key]
print(value)' "$1" "$2"
}

# rate FILE NAME: "0.983 [0.965, 0.992]"
rate() {
    python3 -c 'import json, sys
m = json.load(open(sys.argv[1]))["metrics"][sys.argv[2]]
print("{value:.3f} [{low:.3f}, {high:.3f}]".format(**m))' "$1" "$2"
}

# measure NAME FLAG...: fresh episodes, the same ones for all.
measure() {
    name=$1
    shift
    "$keel" simulate --store "$out/fresh/$name.db" --env support-desk --episodes "$fresh" --seed 1000001 --quiet --json "$@" >"$out/fresh/$name.json"
}

row() {
    printf '%-9s %13s  %-22s %-22s %-22s %-10s %s\n' "$@"
}

[ ! -e "$out" ] || fail "$out is there already: remove it, or name another folder"
command -v curl >/dev/null || fail "curl is needed"
mkdir -p "$out/fresh"
out=$(cd "$out" && pwd)

# ---- the log, and its clone ----
"$keel" simulate --store "$out/log.db" --env support-desk --behaviour support-82 --episodes "$logged" --seed 1 --quiet >/dev/null
"$keel" export --store "$out/log.db" --out "$out/log.jsonl" --quiet 2>/dev/null >/dev/null
if [ -n "${KEEL_LIVE_KAFKA:-}" ]; then
    topic=live-$(date +%s)
    "$here/kafka.sh" start
    "$here/kafka.sh" produce "$topic" <"$out/log.jsonl"
    "$keel" consume --store "$out/live.db" --brokers "127.0.0.1:${KEEL_KAFKA_PORT:-9092}" --topic "$topic" --until-end --quiet >/dev/null
else
    "$keel" import --store "$out/live.db" --quiet "$out/log.jsonl" >/dev/null
fi
"$keel" sft --store "$out/live.db" --base builtin --out "$out/base" --quiet >/dev/null
"$keel" train --store "$out/live.db" --base "$out/base" --algo bc --out "$out/clone" --quiet >/dev/null
"$keel" publish --store "$out/live.db" --policy "$out/clone" --gate "refusal_rate.value >= 0" --quiet --json >"$out/clone.json"
measure logged --behaviour support-82
measure clone --policy "$out/clone"

# ---- serve, learn, publish ----
row round conversations "served: refusal" "policy: refusal" "policy: completion" published "why"
row "the log" "$logged" "$(rate "$out/fresh/logged.json" refusal_rate)" - "$(rate "$out/fresh/logged.json" completion_rate)" - -
row clone - - "$(rate "$out/fresh/clone.json" refusal_rate)" "$(rate "$out/fresh/clone.json" completion_rate)" yes "the first policy"
serve --policy "$out/clone"
policy=$out/clone
round=0
while [ $((round += 1)) -le "$rounds" ]; do
    "$keel" simulate --store "$out/client-$round.db" --env support-desk --server "$url" --episodes "$served" --seed "$round" --quiet --json >"$out/client-$round.json"
    sleep 1 # the log of the server is written
    "$keel" learn --store "$out/live.db" --tune builtin --grow 1.2 --algo cql --set steps=5000 --out "$out/rounds" --publish --quiet --json \
        --label never --keep 2 >"$out/learn-$round.json"
    if [ "$(json "$out/learn-$round.json" rounds.0.published)" = True ]; then
        policy=$out/rounds/round-$round/policy
        serving "$(json "$out/learn-$round.json" rounds.0.policy | cut -c1-12)"
        published=yes
    else
        published=no
    fi
    measure "$round" --policy "$policy"
    row "$round" "$(json "$out/learn-$round.json" rounds.0.conversations)" "$(rate "$out/client-$round.json" refusal_rate)" \
        "$(rate "$out/fresh/$round.json" refusal_rate)" "$(rate "$out/fresh/$round.json" completion_rate)" "$published" \
        "$(json "$out/learn-$round.json" rounds.0.verdict)"
done
stop

# ---- an arm that is worse on purpose: the clone of an assistant that never refuses ----
"$keel" simulate --store "$out/worse.db" --env support-desk --behaviour never-refuse --episodes 2000 --seed 2 --quiet >/dev/null
"$keel" sft --store "$out/worse.db" --base builtin --out "$out/worse/base" --quiet >/dev/null
"$keel" train --store "$out/worse.db" --base "$out/worse/base" --algo bc --out "$out/worse/policy" --quiet >/dev/null
serve --arm "control=$policy:0.5" --arm "worse=$out/worse/policy:0.5" --guard "refusal_rate >= control - 0.05"
echo
echo "an arm that never refuses gets half of the users; guardrail: refusal_rate >= control - 0.05"
talks=0
until grep -q '"guardrail"' "$out/publications.json" 2>/dev/null; do
    [ "$talks" -lt 6000 ] || fail "the guardrail did not stop the arm within $talks conversations"
    talks=$((talks + 200))
    "$keel" simulate --store "$out/client-ab.db" --env support-desk --server "$url" --episodes "$talks" --seed 100 --quiet >/dev/null
    "$keel" publish --store "$out/live.db" --list --quiet --json >"$out/publications.json"
done
sleep 2 # until the server has taken that up
echo "stopped by the server within $talks conversations; what it answered until then:"
"$keel" ab --store "$out/live.db" --since all --quiet --guard "refusal_rate >= control - 0.05" 2>/dev/null || :
before=$(curl -s "$url/metrics" | sed -n 's/^keel:decisions_total{arm="worse"} //p')
"$keel" simulate --store "$out/client-after.db" --env support-desk --server "$url" --episodes 200 --seed 101 --quiet --json >"$out/client-after.json"
after=$(curl -s "$url/metrics" | sed -n 's/^keel:decisions_total{arm="worse"} //p')
echo "afterwards: 200 conversations, $((after - before)) answers by the stopped arm, refusal $(rate "$out/client-after.json" refusal_rate)"
stop
