#!/bin/sh
# Hostile files and folders through the verbs: one clear error that names the place, the right exit code, bounded memory,
# and nothing changed. tests/experiments/test_hostile.c changes single bytes; here are the cases one must think of.
. "$(dirname "$0")/program.sh"
escape=$(printf '\033')

# A verb that hangs or takes more memory than this has lost. Sanitizers need all the address space there is.
[ -n "${SANITIZE:-}" ] || ulimit -v 4000000
program=$KEEL
limited() { timeout 120 "$program" "$@"; }
KEEL=limited

# refuse SENTENCE TEXT: what stands in hostile.jsonl cannot be imported.
refuse() { expect "$1" 1 "$2" import --store s.db --format chat hostile.jsonl --quiet; }
# with CONTENT: hostile.jsonl is one conversation with this as its first message.
with() { printf '{"id": "x", "messages": [%s]}\n' "$1" >hostile.jsonl; }

chat 40 en >log.jsonl
expect "a log imports" 0 "" import --store s.db --format chat log.jsonl --quiet
expect "a base is tuned" 0 "" sft --store s.db --base builtin --out base --quiet --set epochs=1 --set min_updates=1 --set buckets=1024
expect "a policy is trained" 0 "" train --store s.db --base base --algo cql --out policy --quiet --set steps=5 --set hidden=8 --set batch=8
ln -s policy link
expect "an artefact may be read through a link" 0 "" eval --store s.db --policy link --base base --quiet
before=$(sha256sum s.db base/* policy/*)

# ---- lines and JSON ----
head -c 100000000 /dev/zero | tr '\0' x >hostile.jsonl
refuse "a line of 100 MB" "hostile.jsonl:1: the line is longer than 64 MiB"
head -c 1000000000 /dev/zero | gzip -1 >bomb.jsonl.gz
expect "a line of 1 GB, gzipped" 1 "bomb.jsonl.gz:1: the line is longer" import --store s.db --format chat bomb.jsonl.gz --quiet
head -c 1500000000 /dev/zero | tr '\0' ' ' | gzip -1 >dialogues_001.json.gz
expect "a JSON file of 1.5 GB, gzipped" 1 "dialogues_001.json.gz" import --store s.db --format sgd dialogues_001.json.gz --quiet
nested=$(printf '%100000s' '' | tr ' ' '[')
printf '%s\n' "$nested" >hostile.jsonl
refuse "nesting of 100,000" "hostile.jsonl: byte 100"
printf '%s\n' "$nested" | sed 's/\[/{"a":/g' >hostile.jsonl
refuse "objects nested 100,000 deep" "hostile.jsonl:1"
printf '%s' "$nested" | gzip >nested.jsonl.gz
expect "the same, gzipped" 1 "nested.jsonl.gz: byte 100" import --store s.db --format chat nested.jsonl.gz --quiet
awk 'BEGIN { printf "{\"messages\": [0"; for (i = 0; i < 30000000; i++) printf ",0"; print "]}" }' >hostile.jsonl
refuse "30 million values in one line" "more than 8 million values"
printf '{"id": "x\000", "messages": []}\n' >hostile.jsonl
refuse "a NUL byte" "hostile.jsonl:1"
printf '\000' >hostile.jsonl
refuse "nothing but a NUL byte" "hostile.jsonl:1"
with '{"role": "user", "content": "\ud800"}'
refuse "a lone surrogate" "hostile.jsonl:1"
with '{"role": "user", "content": "\u0000"}'
refuse "a NUL as an escape" "hostile.jsonl:1"
printf '{"id": "a\355\240\200b", "messages": []}\n' >hostile.jsonl
refuse "a surrogate in UTF-8" "hostile.jsonl:1"
with '{"role": "user", "role": "user", "content": "a"}'
refuse "a key that stands twice" "role"
for number in 1e999 -1e999 NaN Infinity -Infinity 0x10 01 1. .5 +1 -; do
    with '{"role": "assistant", "content": "a", "latency_ms": '$number'}'
    refuse "$number is no number" "hostile.jsonl:1"
done
with '{"role": "assistant", "content": "a", "latency_ms": -1}'
refuse "time that runs backwards" "latency_ms"
with '{"role": "assistant", "content": "a", "propensity": -0}'
refuse "minus zero is zero" "propensity"
printf '{"id": 0.5, "messages": [{"role": "user", "content": "a"}]}\n' >hostile.jsonl
refuse "an id that is no whole number" "id"
with '{"role": ["user"], "content": "a"}'
refuse "a wrong type" "role"
with '{"content": "a"}'
refuse "a missing key" "role"

# ---- what is no file ----
mkfifo pipe.jsonl
mkdir folder.jsonl
ln -s loop.jsonl loop.jsonl
ln -s nowhere.jsonl dangling.jsonl
for file in pipe.jsonl folder.jsonl loop.jsonl dangling.jsonl /dev/zero; do
    expect "$file is no log" 1 "$file" import --store s.db --format chat $file --quiet
    expect "$file is no store" 1 "$file" stats --store $file --quiet
    expect "$file is no recipe" 1 "$file" run $file --out run --quiet
    expect "$file is no configuration" 1 "$file" train --store s.db --base base --algo cql --out p --config $file --quiet
    expect "$file is no environment" 1 "" simulate --store new.db --env ./$file --behaviour random --episodes 1 --quiet
done
mkdir circle && ln -s ../circle circle/again
expect "folders in a circle" 1 "circle" import --store s.db --format chat circle --quiet

# ---- artefacts ----
for file in keel.json config.json model.safetensors; do
    cp -r policy broken
    rm broken/$file && mkfifo broken/$file
    expect "a policy whose $file is a pipe" 1 "broken" eval --store s.db --policy broken --base base --quiet
    rm broken/$file && mkdir broken/$file
    expect "a policy whose $file is a folder" 1 "broken" eval --store s.db --policy broken --base base --quiet
    rmdir broken/$file && ln -s $file broken/$file
    expect "a policy whose $file is a link to itself" 1 "broken" eval --store s.db --policy broken --base base --quiet
    rm broken/$file && head -c 100000 /dev/urandom >broken/$file
    expect "a policy whose $file is noise" 1 "broken" eval --store s.db --policy broken --base base --quiet
    rm -r broken
done
cp -r policy strange
for name in ../base/model.safetensors /etc/passwd .. "$(printf '%300s' '' | tr ' ' n)" 'a\nb'; do
    printf '{"keel": 2, "kind": "policy", "type": "cql", "lineage": {}, "config": {}, "metrics": {}, "files": {"%s": "00"}}' "$name" >strange/keel.json
    expect "a manifest that leads elsewhere" 1 "strange" eval --store s.db --policy strange --base base --quiet
done
expect "an artefact is not replaced through a link" 1 "link" train --store s.db --base base --algo cql --out link --quiet --set steps=5
[ -L link ] || fail "the link is still one"

# ---- where results go ----
echo mine >other.txt
mkdir others && echo mine >others/file
expect "a file in place of the folder to be" 1 "other.txt" train --store s.db --base base --algo cql --out other.txt --quiet --set steps=5
expect "a folder of other things" 1 "others" sft --store s.db --base builtin --out others --quiet
expect "a folder in place of the file to be" 1 "others" eval --store s.db --policy policy --out others --quiet
ln -s other.txt file-link
expect "a result does not replace a link" 1 "file-link" eval --store s.db --policy policy --out file-link --quiet
mkfifo result.pipe
expect "nor a pipe" 1 "result.pipe" eval --store s.db --policy policy --out result.pipe --quiet
[ "$(cat other.txt others/file)" = "mine
mine" ] && [ -p result.pipe ] || fail "what was there is still there"

# ---- names ----
printf '{"id": "%s", "messages": [{"role": "user", "content": "\\u001b[31m<script>"}, {"role": "assistant", "content": "b"}]}\n' '\u001b]0;owned\u0007<img src=x>' >strange.jsonl
expect "a log with terminal escapes in its names" 0 "" import --store strange.db --format chat strange.jsonl --split test --quiet
printf '{"id": "y", "risk": "\\u001b[31mred", "messages": []}\n' >hostile.jsonl
refuse "an unknown risk" "risk"
grep -q "$escape" err.txt && fail "an error carries no terminal escape"
for verb in "stats --store strange.db" "replay --store strange.db --policy policy"; do
    # shellcheck disable=SC2086
    limited $verb >out.txt 2>err.txt || true
    grep -q "$escape" out.txt err.txt && fail "$verb prints no terminal escape"
done
printf '{"name": "../../x", "steps": [{"name": "../../y", "verb": "stats", "args": {"store": "s.db"}}]}' >recipe.json
expect "a recipe's step that leads out of its folder" 1 "recipe.json" run recipe.json --out run --quiet
[ ! -e ../y.json ] && [ ! -e ../../y.json ] || fail "a step is written below the run alone"

# ---- stores ----
printf 'SQLite format 3\000 but no more' >head.db
cp log.jsonl text.db
: >blank.db
for file in head.db text.db blank.db; do
    expect "$file is no store" 1 "$file" stats --store $file --quiet
    expect "$file cannot be labelled" 1 "$file" label --store $file --quiet
done
# ours APPLICATION VERSION SQL: a file that claims to be a store, with these tables.
ours() { rm -f ours.db && "$DUMP_STORE" ours.db "PRAGMA application_id = $1; PRAGMA user_version = $2; $3" >/dev/null 2>&1 || true; }
ours 1 1 "CREATE TABLE t(x)"
expect "another application's file" 1 "another application" stats --store ours.db --quiet
expect "is not imported into" 1 "another application" import --store ours.db --format chat log.jsonl --quiet
ours 1262830924 99 "CREATE TABLE t(x)"
expect "a newer schema" 1 "schema version 99" stats --store ours.db --quiet
ours 1262830924 -1 "CREATE TABLE t(x)"
expect "a schema of no version" 1 "schema version -1" label --store ours.db --quiet
ours 1262830924 3 "CREATE TABLE conversations(id)"
expect "a schema that is not ours" 1 "ours.db" stats --store ours.db --quiet
ours 1262830924 3 "CREATE VIEW conversations AS WITH RECURSIVE r(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM r LIMIT 1000000000000) SELECT id FROM r"
expect "a view in place of a table is not run" 1 "ours.db" stats --store ours.db --quiet
cp s.db trap.db
"$DUMP_STORE" trap.db "CREATE TRIGGER t AFTER INSERT ON runs BEGIN DELETE FROM labels; END" >/dev/null
expect "a store with a trigger" 0 "" label --store trap.db --quiet
expect "has it not run" 0 "" stats --store trap.db --json --quiet
"$DUMP_STORE" trap.db | sed -n '/^== labels/,/^== m/p' | grep -q 1 || fail "a trigger in a store is not run"

[ "$(sha256sum s.db base/* policy/*)" = "$before" ] || fail "store and artefacts are as they were"
finish
