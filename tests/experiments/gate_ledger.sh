#!/bin/sh
# A gate that is tried on many policies asks more of each, and the store remembers which were tried.
. "$(dirname "$0")/program.sh"

chat 400 en >in.jsonl
"$KEEL" import --quiet --store s.db in.jsonl >/dev/null
"$KEEL" label --quiet --store s.db >/dev/null
"$KEEL" sft --quiet --store s.db --base builtin --out base >/dev/null
for seed in 1 2 3; do
    "$KEEL" train --quiet --store s.db --base base --algo bc --out p$seed --seed $seed --set steps=20 >/dev/null
done

# try N POLICY ARGS...: the gate on the policy is try N, with all that is said of it in try.json.
try() {
    number=$1 policy=$2
    shift 2
    "$KEEL" eval --quiet --store s.db --policy "$policy" --ope none --json "$@" >try.json || true
    got=$(awk '/"tries":/ { gsub(/[^0-9nul]/, "", $2); print $2; exit }' try.json)
    [ "$got" = "$number" ] || fail "$policy $*: expected try $number, got $got"
}

GATE="refusal_rate.low >= 0.5"
try 1 p1 --gate "$GATE"
try 1 p1 --gate "$GATE"
low=$(json policy.metrics.refusal_rate.low try.json)
try 2 p2 --gate "$GATE"
grep -q "policy 2 that this gate is tried on here: interval of 97.5 %" try.json || fail "a second policy pays, and is told"
[ "$(json policy.metrics.refusal_rate.low try.json)" = "$low" ] || fail "the table stays at 95 % (both policies are alike)"
measured=$(awk '/"measured":/ { sub(/,/, "", $2); print $2; exit }' try.json)
awk "BEGIN { exit !($measured < $low) }" || fail "the second policy's interval is wider: $measured, $low"
try 3 p3 --gate "refusal_rate.low >= 0.4"   # another threshold is the same gate
try 1 p1 --gate "$GATE"                     # and the first policy stays the first
try 1 p3 --gate "over_refusal_rate.high <= 0.9"
try 1 p2 --gate "$GATE" --split train       # another split
try null p3 --gate "logged.refusal_rate.low >= 0.1"
"$KEEL" eval --quiet --store s.db --policy p2 --ope none --gate "$GATE" >out.txt || true
grep -q "^gate .*policy 2 that this gate" out.txt || fail "the text says so too"

# Who may only read is told that nothing is counted on; an older store, which has no ledger, is judged too. Root may write
# everywhere, so for root it is a folder of root's looked at by somebody else.
reader=
if [ "$(id -u)" = 0 ]; then
    command -v setpriv >/dev/null && reader="setpriv --reuid 65534 --regid 65534 --clear-groups"
fi
if [ "$(id -u)" != 0 ] || [ -n "$reader" ]; then
    mkdir theirs
    cp s.db theirs/s.db
    "$DUMP_STORE" s.db "DROP TABLE gate_tries; PRAGMA user_version = 5" >/dev/null
    cp s.db theirs/old.db
    cp -r base p3 theirs
    cp "$KEEL" keel-copy
    chmod 755 . keel-copy
    find theirs -type f -exec chmod 444 {} +
    find theirs -type d -exec chmod 555 {} +
    printf '#!/bin/sh\nexec %s %s/keel-copy "$@"\n' "$reader" "$work" >reader
    chmod 755 reader
    KEEL=$work/reader
    expect "a store that may only be read" 0 "not counted on" eval --store theirs/s.db --policy theirs/p3 --ope none --gate "$GATE"
    grep -q "policy 3 that this gate is tried on here: interval of 98.33 %; this try is not recorded" out.txt || fail "it pays all the same"
    expect "a store without a ledger" 0 "not counted on" eval --store theirs/old.db --policy theirs/p3 --ope none --gate "$GATE"
    grep -q "no ledger of tries" out.txt || fail "the gate says that there is no ledger"
    chmod -R u+w theirs
else
    echo "skipped the store that may only be read: as root it takes setpriv"
fi
finish
