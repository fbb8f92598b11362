#!/bin/sh
# A server under load is killed, and its policy is swapped: every request that it accepted is in the store or counted as
# lost, and no request fails for a swap. SWAPS (200) of them.
. "$(dirname "$0")/program.sh"

# The load generator leaves its memory to the system.
loads() {
    export ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0"
    exec "$BENCH_SERVE" "$@"
}

chat 400 en >in.jsonl
"$KEEL" import --quiet --store s.db in.jsonl >/dev/null
"$KEEL" label --quiet --store s.db >/dev/null
"$KEEL" sft --quiet --store s.db --base builtin --out base --set epochs=1 --set buckets=4096 >/dev/null
for seed in 1 2; do
    "$KEEL" train --quiet --store s.db --base base --algo bc --out p$seed --seed $seed --set steps=20 >/dev/null
done

# begin ARGS...: a server; $address, $server.
begin() {
    rm -f err.txt
    "$KEEL" serve --policy p1 --store s.db --listen 127.0.0.1:0 "$@" >out.txt 2>err.txt &
    server=$!
    soon 'grep -qs "serving at\|built without" err.txt'
    address=$(sed -n 's|.*serving at http://\([^/;]*\).*|\1|p' err.txt)
}
end() {
    kill -TERM $server
    wait $server || fail "SIGTERM ends it with 0: $(cat err.txt)"
}
# holds SENTENCE CONDITION: of the store.
holds() {
    [ "$("$DUMP_STORE" s.db "SELECT $2")" = 1 ] || fail "$1"
}

begin
if grep -q "built without" err.txt; then
    echo "SKIPPED: $(grep -o "built without [a-z]*" err.txt)"
    exit 77
fi
end

# ---- kills ----
for round in 1 2 3; do
    begin
    loads "$address" --requests 1000000 --connections 8 >/dev/null 2>&1 &
    load=$!
    soon '[ "$("$DUMP_STORE" s.db "SELECT count(*) > 200 * $round FROM served")" = 1 ]'
    kill -KILL $server
    wait $server 2>/dev/null || true
    wait $load 2>/dev/null || true
    grep -q . s.db-serve || fail "the count of what was accepted outlives the kill"
    begin
    end
    holds "round $round: what was accepted is written or counted as lost" "(SELECT count(*) FROM served) + (SELECT count(*) FROM served_feedback) + (SELECT ifnull(sum(count), 0) FROM served_lost) = (SELECT sum(accepted) FROM serve_starts)"
    holds "round $round: all starts are settled" "(SELECT count(*) FROM serve_starts WHERE accepted IS NULL) = 0 AND (SELECT count(*) FROM served) > 0"
    holds "round $round: the store is whole" "(SELECT integrity_check FROM pragma_integrity_check) = 'ok'"
done

# ---- swaps ----
for p in p1 p2; do
    expect "$p is published" 0 "" publish --store s.db --policy $p --ope none --gate "logged.refusal_rate >= 0" --quiet --json
    json policy out.txt | tr -d '"' >$p.hash
done
begin
loads "$address" --requests "${REQUESTS:-20000}" --connections 4 >load.txt 2>&1 &
load=$!
printf '{"policy": "%s"}\n{"policy": "%s"}\n' "$(cat p1.hash)" "$(cat p2.hash)" >swaps.txt
(loads "$address" --path /admin/policy --body swaps.txt --connections 1 --warm 0 --requests "${SWAPS:-200}") >swap.txt 2>&1 ||
    fail "no swap fails: $(cat swap.txt)"
wait $load || fail "no request fails for a swap: $(cat load.txt)"
end
holds "both policies served" "(SELECT count(DISTINCT policy) FROM served WHERE start_id = (SELECT max(id) FROM serve_starts)) = 2"
holds "each swap is a publication" "(SELECT count(*) FROM publications WHERE why <> 'start') = ${SWAPS:-200} + 2"

# ---- the store says what is served: a start names the folder, and goes on without it where it is gone ----
begin
soon 'grep -q "in place of" err.txt'
end
grep -q "serves policy $(cut -c 1-12 p2.hash) of $PWD/p2, as published, in place of $(cut -c 1-12 p1.hash)" err.txt ||
    fail "what is served in place of --policy is named: $(cat err.txt)"
mv p2 moved
begin
soon 'grep -q "warning: arm" err.txt'
end
grep -q "warning: arm default serves what it did: $PWD/p2" err.txt || fail "a folder that is gone is named: $(cat err.txt)"
finish
