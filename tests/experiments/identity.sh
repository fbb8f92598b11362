#!/bin/sh
# What was learned can be traced: the reward configuration of the store enters a policy's lineage and its identity, and
# what another configuration made is written over only when asked.
. "$(dirname "$0")/program.sh"
chat 120 en >log.jsonl
"$KEEL" import --store s.db --format chat log.jsonl --quiet >/dev/null
"$KEEL" sft --store s.db --base builtin --out base --quiet --set epochs=1 --set min_updates=1 --set buckets=1024 >/dev/null
train() { "$KEEL" train --store s.db --base base --quiet --set hidden=8 --set batch=16 "$@"; }
target() { "$KEEL" label --store s.db --quiet --set target_ms="$1" >/dev/null; }
setting() { "$DUMP_STORE" s.db | grep '"target_ms"' | grep -c "rewards.*\"target_ms\":$1,"; }
again="--algo cql --set steps=40"

# ---- other rewards, another policy ----
[ "$(setting 2000)" -gt 0 ] || fail "the first import records the rewards that it goes by"
target 300
# shellcheck disable=SC2086 # flags are words
train $again --out under300 >/dev/null
expect "label says how the rewards change" 0 "target_ms (300, here 5000)" label --store s.db --set target_ms=5000
# shellcheck disable=SC2086
train $again --out under5000 >/dev/null
for out in under300 under5000; do
    [ "$(json lineage.rewards.target_ms $out/keel.json)" = ${out#under} ] || fail "$out names its target_ms"
done
for key in identity rewards_sha256; do
    [ "$(json lineage.$key under300/keel.json)" != "$(json lineage.$key under5000/keel.json)" ] || fail "$key differs under other rewards"
done
for key in store base split seed; do
    [ "$(json lineage.$key under300/keel.json)" = "$(json lineage.$key under5000/keel.json)" ] || fail "$key is the same"
done
cmp -s under300/model.safetensors under5000/model.safetensors && fail "other rewards teach otherwise"
expect "eval says that a policy learned from other rewards" 0 "target_ms (300, here 5000)" eval --store s.db --policy under300
expect "and nothing of one that learned from these" 0 "" eval --store s.db --policy under5000
grep -q "computed otherwise" err.txt && fail "the rewards are the same: $(cat err.txt)"
[ -n "$(json lineage.build.commit under300/keel.json)" ] && [ -n "$(json lineage.build.compiler under300/keel.json)" ] ||
    fail "an artefact names commit and compiler"

# What comes in later earns by the rewards of the store; `label` alone goes back to the defaults and says so.
sed 's/"id": "/"id": "new-/' log.jsonl >new.jsonl
"$KEEL" import --store s.db --format chat new.jsonl --quiet >/dev/null
"$DUMP_STORE" s.db | awk '/^== /{ table = $2 } table == "transitions"' >before.txt
target 5000
"$DUMP_STORE" s.db | awk '/^== /{ table = $2 } table == "transitions"' | cmp -s - before.txt || fail "an import goes by the rewards of the store"
[ "$(setting 5000)" -gt 0 ] || fail "an import leaves the setting alone"
expect "label without a key" 0 "target_ms (5000, here 2000)" label --store s.db

# ---- a run that was stopped under other rewards ----
# Both runs below have no end.
train_until() {
    strike INT "$1" "$KEEL" train --store s.db --base base --algo cql --set hidden=8 --set batch=16 --set steps=10000000 --set checkpoint_every=10 --out parts
}
began='grep -q "starts anew\|going on from step" err.txt'
target 300
train_until '[ -e .parts.checkpoint ]'
[ -e .parts.checkpoint ] || fail "a run that is stopped leaves a checkpoint: $(cat err.txt)"
target 5000
train_until "$began"
grep -q "training starts anew" err.txt || fail "a run under other rewards starts anew: $(cat err.txt)"
train_until "$began"
grep -q "going on from step" err.txt || fail "a run under the same rewards goes on: $(cat err.txt)"

# ---- and one of a base under another setting ----
endless="sft --store s.db --base builtin --set buckets=4096 --set epochs=100000 --set checkpoint_every=1 --out tuned"
# shellcheck disable=SC2086
strike INT '[ -e .tuned.checkpoint ]' "$KEEL" $endless
[ -e .tuned.checkpoint ] || fail "a tuning that is stopped leaves a checkpoint: $(cat err.txt)"
# shellcheck disable=SC2086
strike INT 'grep -q "starts anew\|tune" err.txt' "$KEEL" $endless --set learning_rate=0.02
grep -q "training starts anew" err.txt || fail "a tuning under another setting says that it starts anew: $(cat err.txt)"
rm -f .tuned.checkpoint*

# ---- what another configuration made ----
cp under5000/keel.json kept.json
expect "another algorithm writes over nothing" 1 'algorithm ("cql", here "bc")' train --store s.db --base base --algo bc --out under5000 --quiet
grep -q -- "--replace" err.txt || fail "the way out is named: $(cat err.txt)"
cmp -s kept.json under5000/keel.json || fail "nothing was written"
# shellcheck disable=SC2086
expect "nor do other logs" 1 "store (" train --store s.db --base base --quiet --set hidden=8 --set batch=16 $again --out under5000
for out in once twice once; do
    # shellcheck disable=SC2086
    expect "the same command again is fine" 0 "" train --store s.db --base base --quiet --set hidden=8 --set batch=16 $again --out $out
done
cmp -s once/keel.json twice/keel.json || fail "and gives the same bytes"
expect "--replace writes over it" 0 "" train --store s.db --base base --algo bc --out under5000 --quiet --set steps=20 --set hidden=8 --replace
[ "$(json type under5000/keel.json)" = '"bc"' ] || fail "the policy is another"
expect "a base of another configuration is kept" 1 'buckets (1024, here 2048)' sft --store s.db --base builtin --out base --quiet \
    --set epochs=1 --set min_updates=1 --set buckets=2048
expect "--replace writes over it too" 0 "" sft --store s.db --base builtin --out base --quiet --replace --set epochs=1 --set min_updates=1 \
    --set buckets=2048
expect "but never a policy over a base" 1 "is not a policy" train --store s.db --base base --algo bc --out base --quiet --replace

# ---- an artefact of Keel 0.1 ----
cp -r under300 old
sed 's/"keel": 2/"keel": 1/' under300/keel.json >old/keel.json
expect "an artefact of 0.1 is refused by name" 1 "was written by Keel 0.1" eval --store s.db --policy old --quiet
grep -q "keel train" err.txt || fail "the way to a new one is named: $(cat err.txt)"
finish
