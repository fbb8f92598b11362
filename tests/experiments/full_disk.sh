#!/bin/sh
# No room and no right to write, through the program: a clean error that names the place, nothing partial, the store as
# it was; with room again the same command comes to its end. (test_faults fails each write in turn, in one process.)
. "$(dirname "$0")/program.sh"

chat 60 en >log.jsonl
"$KEEL" import --store s.db --format chat log.jsonl --quiet >/dev/null
"$KEEL" sft --store s.db --base builtin --out base --quiet --set epochs=1 --set buckets=4096 >/dev/null
"$KEEL" train --store s.db --base base --algo cql --out policy --quiet --set steps=20 --set hidden=8 >/dev/null
awk 'NR > 1' log.jsonl | sed 's/"id": "c/"id": "more-/' >more.jsonl
for i in 1 2 3 4 5 6; do sed "s/more-/more-$i-/" more.jsonl; done >much.jsonl
cp s.db kept.db
content() { "$DUMP_STORE" "$1"; }
content s.db >before

# No file may grow beyond so many blocks of 512 bytes: writing beyond fails as on a full disk.
# limited SENTENCE BLOCKS ARGS...
limited() {
    sentence=$1 blocks=$2
    shift 2
    status=0
    (trap '' XFSZ; ulimit -f "$blocks"; exec "$KEEL" "$@" --quiet) >out.txt 2>err.txt || status=$?
    [ $status = 1 ] || fail "$sentence: expected exit 1, got $status: $(cat err.txt)"
    grep -q '^keel' err.txt || fail "$sentence: an error is told"
    content s.db | cmp -s - before || fail "$sentence: the store is as it was"
    left=$(find . -name '.*.partial' -o -name 'base2*' -o -name 'policy2' -o -name 'eval.json' -o -name 'new.db*')
    [ -z "$left" ] || fail "$sentence: nothing is left behind, not $left"
}
limited "import into a store without room" 300 import --store s.db --format chat much.jsonl
limited "import into a new store without room" 100 import --store new.db --format chat much.jsonl
limited "sft without room" 20 sft --store s.db --base builtin --out base2 --set epochs=1 --set buckets=4096
limited "train without room" 4 train --store s.db --base base --algo cql --out policy2 --set steps=40 --set hidden=64
limited "eval without room for its result" 1 eval --store s.db --policy policy --out eval.json
expect "with room again, import" 0 "" import --store s.db --format chat much.jsonl --quiet
expect "with room again, sft" 0 "" sft --store s.db --base builtin --out base2 --quiet --set epochs=1 --set buckets=4096
[ "$(content s.db | grep -c more-)" -ge 354 ] || fail "with room again all conversations come in"

# Where nobody may write, not even root: under a file, and in /proc.
cp kept.db s.db
for place in log.jsonl/below /proc/keel; do
    expect "no store in $place" 1 "$place" import --store $place/s.db --format chat log.jsonl --quiet
    expect "no base in $place" 1 "${place%/below}" sft --store s.db --base builtin --out $place/base --quiet --set epochs=1 --set buckets=4096
    expect "no policy in $place" 1 "${place%/below}" train --store s.db --base base --algo cql --out $place/policy --quiet --set steps=5 --set hidden=8
    expect "no result in $place" 1 "$place" eval --store s.db --policy policy --out $place/eval.json --quiet
    expect "no metrics in $place" 1 "$place" sft --store s.db --base builtin --out base3 --metrics $place/m.jsonl --quiet --set epochs=1 --set buckets=4096
    [ ! -e base3 ] || fail "no base without its metrics"
done
content s.db | cmp -s - before || fail "the store is as it was"

# A folder of somebody else's: SQLite cannot make its log beside the store.
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
    mkdir theirs
    cp kept.db theirs/s.db
    chmod 755 . theirs
    chmod 644 theirs/s.db
    cp "$KEEL" ./keel-copy
    chmod 755 keel-copy
    status=0
    setpriv --reuid 65534 --regid 65534 --clear-groups ./keel-copy label --store theirs/s.db --quiet >out.txt 2>err.txt || status=$?
    [ $status = 1 ] && grep -q 'theirs/s.db' err.txt || fail "a store that may not be written is named: $status $(cat err.txt)"
    cmp -s theirs/s.db kept.db || fail "and is as it was"
    [ "$(ls theirs)" = s.db ] || fail "nothing is left beside it: $(ls theirs)"
else
    echo "skipped a folder of somebody else's: it takes root and setpriv to make one"
fi
finish
