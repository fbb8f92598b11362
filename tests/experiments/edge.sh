#!/bin/sh
# keel-decide decides as `keel decide` does, by itself and through its library, in C and C++. $EDGE is the program, run
# under $EMULATOR if that is set; $EDGE_LIBRARY its library.
if [ ! -x "${EDGE:-}" ]; then
    echo "skipped: keel-decide was not built here, for want of an archive of one of its libraries"
    exit 77
fi
. "$(dirname "$0")/program.sh"
whole=$KEEL

# All that holds for `keel decide` holds for it: the test of that verb, with it in its place.
cat >keel <<END
#!/bin/sh
if [ "\$1" = decide ]; then
    shift
    exec ${EMULATOR:-} "$EDGE" "\$@"
fi
exec "$whole" "\$@"
END
chmod +x keel
KEEL=$work/keel sh "$SOURCE/tests/experiments/decide.sh" >decide.txt 2>&1 || fail "the test of keel decide: $(cat decide.txt)"
edge() { ${EMULATOR:-} "$EDGE" "$@"; }

# ---- the same decisions ----

chat 300 en >log.jsonl
chat 100 zh | sed 's|"id": "c|"id": "z|' >>log.jsonl
open() { sed 's/{"role": "assistant", "content": \("[^"]*"\).*"candidates": \[{"content": \("[^"]*"\).*/{"role": "assistant", "content": null, "candidates": [\1, \2]}]}/' "$1"; }
open log.jsonl >open.jsonl
"$KEEL" import --store s.db --format chat log.jsonl --quiet >/dev/null
# same POLICY CONVERSATIONS: both decide them; what was said is in edge.jsonl.
same() {
    "$KEEL" decide --policy "$1" --json --quiet "$2" >whole.jsonl
    edge --policy "$1" --json --quiet "$2" >edge.jsonl || fail "$1: it decides"
    sh "$SOURCE/experiments/bench/edge_differences.sh" whole.jsonl edge.jsonl >differences.txt || fail "$1: the same choices, and log-probabilities to 1e-3: $(cat differences.txt)"
    grep -q "^$(wc -l <"$2") decisions, 0 of another choice, 0 actions" differences.txt || fail "$1: all of them: $(cat differences.txt)"
}
golden=$SOURCE/tests/policies/golden
few="--quiet --set epochs=1"
# shellcheck disable=SC2086 # flags are words
{
    "$KEEL" sft --store s.db --base builtin --out base --quiet --set epochs=2 --set buckets=4096
    "$KEEL" sft --store s.db --base "$golden/bert/mean" --out encoder/base $few --set folds=2 --set state_tokens=16
    "$KEEL" sft --store s.db --base "$golden/llama/tied" --out decoder/base $few --mode lora --set too_long=cut
    "$KEEL" train --store s.db --base base --algo cql --out policy --quiet --set steps=200 --set hidden=48 --set batch=32
    for kind in encoder decoder; do
        "$KEEL" train --store s.db --base $kind/base --algo cql --out $kind/policy --quiet --set steps=50 --set hidden=32 --set batch=32
        "$KEEL" compress --base $kind/base --policy $kind/policy --store s.db --weights int8 --out $kind-int8 --anyway --quiet
    done
    "$KEEL" compress --base base --policy policy --store s.db --weights int8 --out int8 --anyway --quiet
} >made.txt
head -n 40 open.jsonl >some.jsonl
for policy in int8 encoder encoder-int8 decoder decoder-int8; do same $policy/policy some.jsonl; done
same policy open.jsonl
grep -q '"says":"I am sorry' edge.jsonl && grep -q '"says":"Sure' edge.jsonl || fail "it chooses now one and now the other"

# ---- as a program ----

edge --version | grep -q '^keel [0-9]' || fail "--version"
edge --help | grep -q '^usage: keel-decide --policy DIR' || fail "--help names the program"
says() { # SENTENCE CODE TEXT ARGS...
    sentence=$1 code=$2 text=$3
    shift 3
    status=0
    edge "$@" >out.txt 2>err.txt || status=$?
    [ "$status" = "$code" ] && grep -qF -- "$text" err.txt || fail "$sentence: exit $status: $(cat err.txt)"
}
says "an unknown flag" 2 'keel-decide: unknown flag --polcy' --polcy policy open.jsonl
says "and says where flags are listed" 2 '`keel-decide --help` lists the flags' --polcy policy open.jsonl
says "no policy" 2 "--policy: is missing" open.jsonl
says "no such policy" 1 "keel-decide: gone: there is no such folder" --policy gone open.jsonl
mkdir lone
cp -r policy lone/policy
says "no base beside it" 1 "no folder beside it holds its base" --policy lone/policy open.jsonl
for other in a b c x y z; do cp -r encoder/base lone/$other; done
cp -r base lone/base
says "its base among others" 0 "" --policy lone/policy some.jsonl
printf x | dd of=lone/base/model.safetensors bs=1 seek=3000 conv=notrunc 2>/dev/null
says "a damaged base" 1 "damaged" --policy lone/policy open.jsonl
printf 'SQLite format 3\000' >llm.db
says "a SQLite file" 1 "llm.db" --policy policy llm.db
says "and by its name" 1 "this program reads no SQLite files" --policy policy --format llm llm.db
for i in 1 2 3 4 5 6 7 8; do cat open.jsonl; done >many.jsonl
{ edge --policy policy --json --quiet many.jsonl 2>pipe.txt || echo "exit $?" >>pipe.txt; } | head -n 1 >/dev/null
grep -q 'exit 141' pipe.txt || fail "it ends by SIGPIPE where a reader left, as keel does: $(cat pipe.txt)"

# ---- as a library ----

if [ -z "${EDGE_CC:-}" ]; then EDGE_CC=$CC EDGE_CXX=${CXX:-c++}; fi
mkdir include
cp "$SOURCE/experiments/edge/keel_decide.h" include/
# shellcheck disable=SC2086 # flags are words
example() {
    name=$1
    shift
    "$@" ${SANITIZE:-} ${EDGE_LINK:-} -Wall -Wextra -Wpedantic -Werror -Iinclude $sources -x none "$EDGE_LIBRARY" -pthread -lm -o "$name" || fail "$name links"
}
tail -n 1 open.jsonl >one.jsonl
sources="-x c $SOURCE/experiments/edge/example.c"
example in_c "$EDGE_CC" -std=c99
examples=in_c
if command -v "$EDGE_CXX" >/dev/null; then
    sources="-x c++ $SOURCE/experiments/edge/example.c"
    example in_cpp "$EDGE_CXX" -std=c++11
    examples="in_c in_cpp"
else
    echo "skipped: C++, because there is no $EDGE_CXX"
fi
for one in $examples; do
    ${EMULATOR:-} ./$one policy <one.jsonl >said.jsonl || fail "$one decides"
    [ "$(sed 's/"where":"[^"]*",//' said.jsonl)" = "$(tail -n 1 edge.jsonl | sed 's/"where":"[^"]*",//')" ] || fail "$one says what the program says: $(cat said.jsonl)"
    status=0
    echo '{"messages": [{"role": "user", ' | ${EMULATOR:-} ./$one policy >said.jsonl 2>err.txt || status=$?
    [ $status = 1 ] && grep -q '^example: conversation: ' err.txt && [ ! -s said.jsonl ] || fail "$one: a conversation that is none: $status, $(cat err.txt)"
    status=0
    ${EMULATOR:-} ./$one gone <one.jsonl 2>err.txt || status=$?
    [ $status = 2 ] && grep -q '^example: gone: there is no such folder (give a folder' err.txt || fail "$one: a policy that is not there: $status, $(cat err.txt)"
    head -n 1 log.jsonl | ${EMULATOR:-} ./$one policy >said.jsonl || fail "$one: what was answered"
    [ ! -s said.jsonl ] || fail "$one: nothing is said where nobody waits"
done
nm -g "$EDGE_LIBRARY" 2>/dev/null | awk 'NF == 3 && $2 ~ /[A-TV-Z]/ && $2 != "U" { print $3 }' | sort >seen.txt
[ "$(tr '\n' ' ' <seen.txt)" = "keel_decide keel_decide_close keel_decide_error keel_decide_open " ] || fail "the library shows its four functions and nothing else: $(cat seen.txt)"
! nm "$EDGE_LIBRARY" 2>/dev/null | grep -E ' U .*(sqlite3|cblas|openblas|cJSON|pcre2|ZSTD_d)' || fail "the library asks for no other"

# ---- without shared libraries ----

if [ -n "${SANITIZE:-}" ]; then
    echo "skipped: static, because sanitizers are shared libraries"
else
    size=$(wc -c <"$EDGE")
    [ "$size" -le 6000000 ] || fail "at most 6 MB: $size"
    ! readelf -d "$EDGE" | grep -q NEEDED || fail "it is static"
fi
finish
