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

# A folder that may be read but not written: what only looks works, what writes says so, and nothing changes. Root may
# write everywhere, so for root it is a folder of root's looked at by somebody else.
reader=
if [ "$(id -u)" = 0 ]; then
    command -v setpriv >/dev/null && reader="setpriv --reuid 65534 --regid 65534 --clear-groups"
fi
if [ "$(id -u)" != 0 ] || [ -n "$reader" ]; then
    mkdir "the?irs" out
    cp kept.db "the?irs/s.db"
    cp -r base policy "the?irs"
    cp "$KEEL" keel-copy
    chmod 755 . keel-copy
    cp kept.db out/s.db
    chmod 777 out out/s.db
    find "the?irs" -type f -exec chmod 444 {} +
    find "the?irs" -type d -exec chmod 555 {} +
    KEEL_HERE=$KEEL
    # look SENTENCE CODE TEXT ARGS...: expect, by somebody who may not write there.
    look() {
        KEEL=$work/reader
        expect "$@"
        KEEL=$KEEL_HERE
    }
    printf '#!/bin/sh\nexec %s %s/keel-copy "$@"\n' "$reader" "$work" >reader
    chmod 755 reader
    there="the?irs/s.db"
    for verb in stats "eval --policy the?irs/policy" "replay --policy the?irs/policy"; do
        "$KEEL" $verb --store s.db --json --quiet >should.txt
        look "$verb of a store that may only be read" 0 "" $verb --store "$there" --json --quiet
        cmp -s should.txt out.txt || fail "$verb prints there what it prints elsewhere"
        look "$verb by its whole path" 0 "" $verb --store "$work/$there" --json --quiet
    done
    look "eval says that it leaves no record" 0 "not recorded" eval --policy "the?irs/policy" --store "$there" --out out/eval.json
    [ -s out/eval.json ] || fail "and writes its result elsewhere"
    look "label names the store that may not be written" 1 "the?irs/s.db: the store or its folder may not be written" label --store "$there"
    look "so does import" 1 "may not be written" import --store "$there" --format chat log.jsonl
    look "so does sft" 1 "may not be written" sft --store "$there" --base builtin --out out/base
    look "so does train" 1 "may not be written" train --store "$there" --base "the?irs/base" --algo cql --out out/policy
    look "a new store there names the place" 1 "the?irs/new.db" import --store "the?irs/new.db" --format chat log.jsonl
    look "an artefact there names the place" 1 "the?irs/" train --store out/s.db --base base --algo cql --out "the?irs/more" --set steps=5
    cmp -s "$there" kept.db || fail "the store that may only be read is as it was"
    [ "$(cd "the?irs" && echo *)" = "base policy s.db" ] || fail "nothing is left there: $(ls -a "the?irs")"
    chmod -R u+w "the?irs"
else
    echo "skipped the folder that may only be read: as root it takes setpriv"
fi
finish
