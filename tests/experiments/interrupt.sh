#!/bin/sh
# SIGINT and SIGTERM: every verb stops, ends by that signal and says how to go on; and then goes on. Two processes on one
# store: the second waits, or says who holds it. How soon a verb must stop is asked only where a limit in milliseconds
# is given, as in STOP_WITHIN=1000: the tests of every day do not depend on how busy a machine is.
. "$(dirname "$0")/program.sh"
limit=${STOP_WITHIN:-60000}

# When a command is asked to stop: as soon as it has begun, or when it has been at work for a tenth of a second of the
# processor's time since then.
ticks() { awk '{ print $14 + $15 }' /proc/$child/stat 2>/dev/null || echo 0; } # hundredths of a second
at_work() {
    [ -n "$since" ] || since=$(ticks)
    [ "$(ticks)" -ge $((since + 10)) ]
}

# stop SIGNAL MOMENT ARGS...: keel ARGS, asked to stop at that moment. It may have been done by then.
stop() {
    signal=$1 moment=$2 since=
    shift 2
    strike "$signal" "$moment" "$KEEL" "$@" --quiet
    [ $status != 0 ] || return 0
    [ $took -le "$limit" ] || fail "$1 stops within $limit ms of SIG$signal, not after $took ms"
    [ "$status" != 143 ] || [ -s err.txt ] || return 0 # under valgrind a signal may come before the program itself has begun
    stopped="$stopped $1"
    [ "$signal" = INT ] && by=130 || by=143
    [ $status = $by ] || fail "$1 ends by SIG$signal, not with $status: $(cat err.txt)"
    grep -q "same command" err.txt || fail "$1 says how to go on after SIG$signal: $(cat err.txt)"
}

# Each command (VERB --store FILE ...) is stopped at two moments and then given to its end.
stopped=
through() {
    stop INT begun "$@"
    stop TERM at_work "$@"
    expect "$1 goes on after it was stopped" 0 "" "$@" --quiet
}

chat 1500 en >log.jsonl
through simulate --store simulated.db --env support-desk --behaviour support-82 --episodes 4000
"$KEEL" simulate --store s.db --env support-desk --behaviour support-82 --episodes 800 --quiet >/dev/null
chat 40000 en >big.jsonl
through import --store big.db --format chat big.jsonl
"$KEEL" import --store s.db --format chat log.jsonl --quiet >/dev/null
through label --store s.db
through stats --store s.db
through sft --store s.db --base builtin --out base --set epochs=1
through train --store s.db --base base --algo cql --out policy --set steps=200 --set hidden=16 --set batch=32
through train --store s.db --base base --algo cql --out chosen --set steps=60 --set hidden=16 --set batch=32 --validate 0/5 --checkpoints 2
through eval --store s.db --policy policy
through replay --store s.db --policy policy --limit 100000
for verb in simulate import label sft train; do
    case $stopped in *$verb*) ;; *) fail "$verb was stopped at least once (only$stopped)" ;; esac
done
[ -z "$(find . -name ".?*" -o -name "*.db-*")" ] || fail "nothing is left lying about: $(find . -name ".?*" -o -name "*.db-*")"

# rows TABLE STORE: how many rows the table has.
rows() { "$DUMP_STORE" "$2" "SELECT count(*) FROM $1"; }

# Somebody writes to the store.
chat 40 en >one.jsonl
chat 40 zh | sed 's/"id": "c/"id": "z/' >two.jsonl
"$KEEL" import --store t.db --format chat one.jsonl --quiet >/dev/null
hold t.db
waiting='grep -q "note: t.db: waiting for another process" err.txt'
strike TERM "$waiting" "$KEEL" import --store t.db --format chat two.jsonl 9>&-
[ $status = 143 ] || fail "who waits for the store stops too: $(cat err.txt)"
expect "after five seconds the second says that the store is in use" 1 "in use by another process" import --store t.db --format chat two.jsonl --quiet
if [ -r /proc/locks ]; then grep -q "($holder)" err.txt || fail "it names process $holder: $(cat err.txt)"; fi
"$KEEL" import --store t.db --format chat two.jsonl >out.txt 2>err.txt 9>&- &
second=$!
soon "$waiting"
let_go || fail "the first writer comes to its end"
wait $second || fail "the second waited: $(cat err.txt)"
[ "$(rows conversations t.db) $(rows transitions t.db)" = "80 80" ] || fail "80 conversations with their transitions are in the store"

# Two at work on one artefact: the second says who is. A verb that says nothing of its store waits for it all the same.
for verb in "sft --base builtin --set epochs=500 --set buckets=512" "train --base base --algo cql --set steps=1000000 --set hidden=16"; do
    "$KEEL" $verb --store s.db --out one --quiet >/dev/null 2>&1 &
    holder=$!
    while [ ! -e .one.checkpoint.lock ]; do sleep 0.05; done
    expect "a second ${verb%% *} to one folder says who is at work there" 1 "another process ($holder) is at work here" $verb --store s.db --out one --quiet
    kill -KILL $holder
    wait $holder 2>/dev/null || true
    rm -f .one.checkpoint # as if it had been killed before the first
    case $verb in sft*) short="--set epochs=1" ;; *) short="--set steps=5" ;; esac
    expect "a killed ${verb%% *} holds nothing" 0 "" $verb --store s.db --out one --quiet $short
    rm -rf one
    [ -z "$(find . -name ".one*")" ] || fail "nothing is left of either: $(find . -name ".one*")"
done
# An import while a training encodes and records: both come in whole.
cp s.db both.db
"$KEEL" train --store both.db --base base --algo cql --out both --quiet --set steps=300 --set hidden=16 --set seed=3 >both1.txt 2>&1 &
child=$!
expect "an import beside a training" 0 "" import --store both.db --format chat two.jsonl --quiet
wait $child || fail "a training beside an import: $(cat both1.txt)"
[ "$(rows conversations both.db)" = $(($(rows conversations s.db) + 40)) ] || fail "the import came in"
[ "$(rows runs both.db)" = $(($(rows runs s.db) + 2)) ] || fail "and both runs are recorded"

# Many at once make one store, and each finds its own in it.
for i in 1 2 3 4; do
    sed "s/\"id\": \"c/\"id\": \"$i-c/" one.jsonl >part$i.jsonl
    "$KEEL" import --store many.db --format chat part$i.jsonl --quiet >/dev/null 2>many$i.txt &
    eval "child$i=$!"
done
for i in 1 2 3 4; do
    eval "wait \$child$i" || fail "import $i of four at once: $(cat many$i.txt)"
done
[ "$(rows conversations many.db) $(rows transitions many.db)" = "160 160" ] || fail "four imports at once lose nothing"

# A reader that goes away, and a terminal that does.
"$KEEL" replay --store s.db --policy policy --split all --limit 100000 --json --quiet 2>err.txt | head -n 1 >/dev/null
[ ! -s err.txt ] || grep -q "could not be written" err.txt || fail "a closed pipe is no crash: $(cat err.txt)"
# A test may run where SIGHUP is ignored, as under nohup; then Keel ignores it too.
env --default-signal=HUP "$KEEL" sft --store s.db --base builtin --out hung --quiet --set epochs=500 --set buckets=512 2>err.txt &
child=$!
while [ ! -e .hung.checkpoint.lock ]; do sleep 0.05; done
kill -HUP $child
status=0
wait $child || status=$?
[ $status = 129 ] && grep -q "same command" err.txt || fail "SIGHUP stops a command as SIGTERM does: $status $(cat err.txt)"
finish
