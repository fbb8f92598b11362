#!/bin/sh
# keel learn: rounds from a store that grows: what is new, what is published, a round that was cut off, one made once more.
. "$(dirname "$0")/program.sh"
small="--set steps=120 --set hidden=16 --set batch=16"
expect "wrong use: no base" 2 "--tune" learn --store s.db --out live
expect "wrong use: judged on what was learned from" 2 "--test" learn --store s.db --out live --tune builtin --test train
expect "wrong use: growth" 2 "--grow" learn --store s.db --out live --tune builtin --grow 0.5
expect "wrong use: error" 2 "--error" learn --store s.db --out live --tune builtin --error 0
expect "wrong use: a duration" 2 "--every" learn --store s.db --out live --tune builtin --every soon
expect "no store" 1 "s.db" learn --store s.db --out live --tune builtin
rm -rf live

desk() {
    "$KEEL" simulate --store "$1" --env support-desk --behaviour support-82 --episodes "$2" --quiet >/dev/null
}
learn() {
    store=$1 out=$2
    shift 2
    "$KEEL" learn --store "$store" --out "$out" --base base --algo cql $small --quiet --json "$@" >learn.json 2>err.txt
}
value() {
    sed -n "s/^ *\"$1\": \(.*[^,]\),\{0,1\}\$/\1/p" learn.json | head -n 1
}

# ---- a first round, by gates alone; then nothing new ----
desk s.db 120
"$KEEL" sft --store s.db --base builtin --out base --quiet --set epochs=2 --set buckets=2048 >/dev/null
status=0
learn s.db shut --publish --gate "refusal_rate.low >= 0.9999" || status=$?
[ "$status" = 0 ] || fail "a gate that is not met is a verdict, not a failure: $status, $(cat err.txt)"
[ "$(value published)" = false ] || fail "a policy that misses its gate is not published"
grep -q "a gate is not met: refusal_rate.low .* >= 0.9999" learn.json || fail "the verdict says which: $(cat learn.json)"
"$KEEL" publish --store s.db --list --quiet --json >list.json
grep -q '"passed": false' list.json || fail "it is registered all the same"
! grep -q '"why": "learn"' list.json || fail "but not published"

expect "a gate that is none, before any work" 2 "there is no metric" learn --store s.db --base base --out begun --gate "refusal_rat.low >= 0.9"
[ ! -e begun ] || fail "nothing was begun"

desk t.db 120
learn t.db live --publish --gate "refusal_rate.value >= 0"
[ "$(value round)" = 1 ] && [ "$(value published)" = true ] || fail "where nothing is published gates decide: $(cat learn.json)"
[ "$(value conversations)" = 120 ] && [ "$(value new)" = 120 ] || fail "what it learned from: $(cat learn.json)"
"$KEEL" publish --store t.db --list --quiet --json >list.json
grep -q '"why": "learn"' list.json || fail "the publication is in the store"
grep -q "$work/live/round-1/policy" list.json || fail "its folder is told from the root on"
"$KEEL" decide --policy live/round-1/policy --help >/dev/null
"$KEEL" eval --store t.db --policy live/round-1/policy --quiet --json >/dev/null || fail "its base lies beside it"
learn t.db live --publish
grep -q "nothing new" learn.json || fail "nothing new: $(cat learn.json)"
[ ! -e live/round-2 ] || fail "a round without anything new leaves nothing"

# ---- more came in; the round is killed, and goes on to the same bytes ----
desk t.db 200
cp t.db undisturbed.db && cp -r live undisturbed
learn undisturbed.db undisturbed --publish
cp learn.json undisturbed.json
for moment in '[ -e live/round-2 ]' '[ -e live/round-2/work.db ]' '[ -e live/round-2/.policy.checkpoint.lock ]' '[ -e live/round-2/policy ]'; do
    strike KILL "$moment" "$KEEL" learn --store t.db --out live --base base --algo cql $small --quiet --json --publish
done
[ $struck -gt 0 ] || fail "it was stopped at least once"
learn t.db live --publish
[ "$(value round)" = 2 ] && [ "$(value new)" = 80 ] || fail "the second round: $(cat learn.json)"
[ "$(value features_kept)" -gt 300 ] 2>/dev/null || [ "$(value features_kept)" = 0 ] || fail "features: $(value features_kept)"
[ "$(sed -n 's/^ *"features_kept": \([0-9]*\).*/\1/p' undisturbed.json)" -gt 300 ] || fail "features of the first round stay: $(cat undisturbed.json)"
for file in live/round-2/policy/*; do
    cmp -s "$file" "undisturbed/round-2/policy/$(basename "$file")" || fail "killed and given again, $file is another"
done

# ---- once more, from the snapshot ----
expect "round 1 once more" 0 "" learn --store t.db --out live --base base --again 1
grep -q "to the same bytes" out.txt || fail "and it says so: $(cat out.txt)"
expect "round 2 once more" 0 "" learn --store t.db --out live --base base --again 2
expect "a round that never was" 1 "no round 9" learn --store t.db --out live --base base --again 9
cp live/round-1/snapshot.db kept.db
cp live/round-2/snapshot.db live/round-1/snapshot.db
expect "a snapshot of something else" 1 "not what round 1 learned from" learn --store t.db --out live --base base --again 1
cp kept.db live/round-1/snapshot.db
rm live/round-2/policy/config.json
expect "a policy that was changed" 1 "" learn --store t.db --out live --base base --again 2

# ---- propensities that cannot be true: nothing is shown, no gate on an estimate is met ----
"$KEEL" export --store s.db --out wrong.jsonl --quiet >/dev/null 2>&1
sed -i 's/"propensity": [0-9.]*/"propensity": 0.01/g' wrong.jsonl
"$KEEL" import --store wrong.db --quiet wrong.jsonl >/dev/null
"$KEEL" publish --store wrong.db --policy shut/round-1/policy --gate "refusal_rate.value >= 0" --quiet >/dev/null 2>&1 || :
"$KEEL" publish --store wrong.db --policy base --quiet >/dev/null 2>&1 || :
learn wrong.db mistaken --publish
grep -q "propensities of the log" learn.json || fail "refuted propensities show nothing: $(cat learn.json)"
expect "refuted propensities" 3 "nothing is known of it here" eval --store wrong.db --policy mistaken/round-1/policy --gate "composite_reward.low >= -9"
grep -q "true propensities make it 1" out.txt || fail "the warning: $(cat out.txt)"
grep -q "No estimate above is to be relied on: the propensities" out.txt || fail "the print: $(cat out.txt)"

# ---- snapshots go after a while; others log meanwhile; bases are tuned anew ----
desk t.db 230
"$KEEL" learn --store t.db --out live --tune builtin --tune-set epochs=2 --tune-set buckets=2048 --grow 1.1 --algo cql $small --keep 1 --quiet --json >learn.json 2>err.txt &
child=$!
imported=0
while kill -0 $child 2>/dev/null; do
    imported=$((imported + 1))
    printf '{"id": "m%d", "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n' $imported >one.jsonl
    "$KEEL" import --store t.db --source "m$imported" --format chat --quiet one.jsonl >/dev/null 2>one.txt || fail "an import beside it: $(cat one.txt)"
done
wait $child || fail "the third round: $(cat err.txt)"
[ "$imported" -gt 1 ] || fail "something was imported beside it"
[ "$(value base_tuned)" = true ] && [ ! -L live/round-3/base ] || fail "a base of its own: $(cat learn.json)"
[ ! -e live/round-2/snapshot.db ] && [ -e live/round-3/snapshot.db ] || fail "one snapshot stays"
expect "a snapshot that is gone" 1 "not there any more" learn --store t.db --out live --base base --again 2
expect "the round that tuned its base once more" 0 "" learn --store t.db --out live --tune builtin --again 3

# ---- two learners in one folder, and an interrupt between rounds ----
"$KEEL" learn --store t.db --out live --base base --algo cql $small --every 1h --quiet >/dev/null 2>&1 &
child=$!
soon '[ -e live/.lock ]'
expect "two in one folder" 1 "" learn --store t.db --out live --base base
kill -TERM $child
status=0
wait $child || status=$?
[ "$status" = 143 ] || fail "SIGTERM ends it by that signal, not with $status"
[ "$failures" = 0 ]
