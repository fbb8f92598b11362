#!/bin/sh
# --memory: a log that does not fit is encoded, trained on and judged within the limit, to the same bytes as without
# one; a limit that is too small is an error that names the flag, and leaves nothing behind.
. "$(dirname "$0")/program.sh"

"$KEEL" simulate --store s.db --env support-desk --behaviour support-82 --episodes 3000 --split all-of-it --seed 5 --quiet >/dev/null
"$KEEL" sft --store s.db --base builtin --out base --split all-of-it,fold:0/30 --quiet --threads 1 --set features=384 --set buckets=4096 \
    --set dim=16 --set min_updates=5 --set epochs=1 >/dev/null
cp s.db small.db

# way STORE OUT FLAGS...: about 20 MB of features, and what is learned from them.
way() {
    store=$1 out=$2
    shift 2
    "$KEEL" train --store "$store" --base base --algo cql --out "$out" --split all-of-it --threads 1 --quiet "$@" --set steps=50 \
        --set hidden=16 --set batch=16 >/dev/null &&
        "$KEEL" eval --store "$store" --policy "$out" --base base --split all-of-it --threads 1 --quiet "$@" --set resamples=100 --out "$out.json" >/dev/null
}

way s.db wide || fail "training without a limit"
way small.db narrow --memory 40 || fail "training within 40 MB"
for file in keel.json model.safetensors config.json; do
    cmp wide/$file narrow/$file || fail "the limit moves no byte of $file"
done
cmp wide.json narrow.json || fail "the limit moves no rate"
"$DUMP_STORE" s.db | awk '/^== /{ table = $2 } table != "runs"' >wide.txt # runs name the flags
"$DUMP_STORE" small.db | awk '/^== /{ table = $2 } table != "runs"' >narrow.txt
cmp wide.txt narrow.txt || fail "the limit moves nothing in the store"

expect "a limit too small for the base names the flag" 1 "--memory" train --store s.db --base base --algo cql --out none --split all-of-it --memory 1
[ ! -e none ] || fail "a run without memory leaves an artefact"
expect "a limit must be a number" 2 "--memory" stats --store s.db --memory much
expect "a limit of nothing is refused" 2 "--memory" stats --store s.db --memory 0

# The process itself: the limit, and room for the program, its libraries and one stack.
if [ -n "${SANITIZE:-}" ]; then
    echo "skipped: ulimit -v, because sanitizers reserve more addresses than there is memory"
else
    (ulimit -v 600000 && way s.db held --memory 40) || fail "training and evaluation within ulimit -v"
    cmp wide/model.safetensors held/model.safetensors || fail "nor does ulimit"
fi
finish
