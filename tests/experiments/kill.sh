#!/bin/sh
# Kill it anywhere: each verb is killed with SIGKILL at random moments and given again; artefacts, files and
# store are then those of an undisturbed run, and nothing else lies about.
#
#   kill.sh [KILLS [SEED]]    KEEL: the program; DUMP_STORE: prints a store's content
kills=${1:-32} seed=${2:-1}
. "$(dirname "$0")/program.sh"
: "${DUMP_STORE:?prints the content of a store}"

verbs="simulate import judge label sft train compress eval replay run"

# The command of each verb, given in a folder of its own. Small steps, so that checkpoints are written all the time.
command_of() {
    case $1 in
    simulate) set -- simulate --store sim.db --env support-desk --behaviour support-82 --episodes 200 ;;
    import) set -- import --store s.db --format chat logs ;;
    judge) set -- judge fit --store s.db --out judge ;;
    label) set -- label --store s.db --set target_ms=900 --judge judge ;;
    sft) set -- sft --store s.db --base builtin --out base --metrics base.jsonl --set epochs=2 --set buckets=512 --set dim=8 \
        --set min_updates=60 --set batch=8 --set checkpoint_every=4 ;;
    train) set -- train --store s.db --base base --algo cql --out policy --metrics policy.jsonl --set steps=120 --set hidden=8 \
        --set batch=8 --set log_every=3 --set checkpoint_every=4 ;;
    compress) set -- compress --store s.db --base base --policy policy --weights int8 --set critics=int8 --out both ;;
    eval) set -- eval --store s.db --policy policy --out eval.json --set resamples=8000 ;;
    replay) set -- replay --store s.db --policy policy --split all --limit 1000 ;;
    run) set -- run recipe.json --out run ;;
    esac
    echo "$@ --quiet"
}

give() { # VERB: the command, to its end
    "$KEEL" $(command_of "$1") >out.txt 2>err.txt || return 1
}

# VERB PERMILLE_OF_ITS_TIME: the command, killed (or done before it could be).
give_and_kill() {
    echo "$1" >>"$work/aimed"
    "$KEEL" $(command_of "$1") >/dev/null 2>&1 &
    child=$!
    sleep "$(awk -v ms="$(cat "$work/time.$1")" -v permille="$2" 'BEGIN { printf "%.4f", ms * permille / 1e6 }')"
    kill -KILL $child 2>/dev/null || true
    status=0
    wait $child 2>/dev/null || status=$?
    [ $status != 137 ] || echo "$1" >>"$work/struck"
}

# What a folder holds: hashes of all files, names of all folders, content of the stores.
content() {
    (cd "$1" && find . ! -name '*.db' ! -name out.txt ! -name err.txt | LC_ALL=C sort | while read -r path; do
        if [ -f "$path" ]; then sha256sum "$path"; else echo "$path"; fi
    done
    find . -name '*.db' | LC_ALL=C sort | while read -r path; do echo "$path"; "$DUMP_STORE" "$path"; done)
}

# A log of several files, some of it without human labels.
mkdir start start/logs
chat 90 en | sed '30,60s/"outcome": "[a-z]*", //' >all.jsonl
for part in 1 2 3; do awk -v p=$part 'NR % 3 == p - 1' all.jsonl >start/logs/$part.jsonl; done
cat >start/recipe.json <<'END'
{"name": "small", "about": "killed again and again", "steps": [
  {"name": "simulate", "verb": "simulate", "args": {"store": "${out}/s.db", "env": "support-desk", "behaviour": "support-82", "episodes": 60}},
  {"name": "import", "verb": "import", "args": {"store": "${out}/s.db", "format": "chat"}, "positional": ["logs"]},
  {"name": "label", "verb": "label", "args": {"store": "${out}/s.db"}},
  {"name": "sft", "verb": "sft", "args": {"store": "${out}/s.db", "base": "builtin", "out": "${out}/base", "metrics": "${out}/base.jsonl",
    "set": ["epochs=1", "buckets=512", "dim=8", "min_updates=20", "checkpoint_every=4"]}},
  {"name": "train", "verb": "train", "args": {"store": "${out}/s.db", "base": "${out}/base", "algo": "cql", "out": "${out}/policy",
    "metrics": "${out}/policy.jsonl", "set": ["steps=60", "hidden=8", "batch=8", "log_every=3", "checkpoint_every=4"]}},
  {"name": "eval", "verb": "eval", "args": {"store": "${out}/s.db", "policy": "${out}/policy"}},
  {"name": "replay", "verb": "replay", "args": {"store": "${out}/s.db", "policy": "${out}/policy", "limit": 2}}]}
END

# The undisturbed way: after.VERB is the folder as the verb leaves it, before.VERB as it finds it.
cp -r start calm
for verb in $verbs; do
    cp -r calm "before.$verb"
    began=$(date +%s%N)
    (cd calm && give $verb) || { cat calm/err.txt; fail "undisturbed, $verb does what it should"; finish; }
    echo $((($(date +%s%N) - began) / 1000000)) >"time.$verb"
    content calm >"after.$verb"
done
content before.run | cmp -s - after.replay || fail "looking at a store changes nothing"

# Kills go around the verbs; two fifths of the runs that go on are killed once more.
awk -v n="$kills" -v seed="$seed" 'BEGIN { srand(seed); for (i = 0; i < n; i++) print int(1050 * rand()), rand() < 0.4 }' >moments
number=0 again=0
: >struck >aimed
set -- $verbs
while read -r permille twice; do
    number=$((number + 1))
    if [ $again = 0 ]; then
        verb=$1
        shift
        set -- "$@" "$verb"
        rm -rf shaken
        cp -r "before.$verb" shaken
    fi
    (cd shaken && give_and_kill "$verb" "$permille")
    again=$twice
    [ $number -lt "$kills" ] || again=0
    [ $again = 0 ] || continue
    (cd shaken && give "$verb") || { fail "kill $number of $verb at $permille permille: it does not go on: $(cat shaken/err.txt)"; continue; }
    content shaken >now
    cmp -s now "after.$verb" || { fail "kill $number of $verb at $permille permille: not what an undisturbed run leaves"; diff "after.$verb" now | cut -c1-300 | head -20; }
done <moments
for verb in $verbs; do
    echo "$verb: $(grep -cx "$verb" struck || true) kills struck, of $(grep -cx "$verb" aimed || true) aimed at $(cat "time.$verb") ms of work"
done
finish
