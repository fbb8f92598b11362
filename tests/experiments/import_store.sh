#!/bin/sh
# Importing: what comes in, what a second time changes (nothing), and what a bad file leaves behind (nothing).
. "$(dirname "$0")/program.sh"

chat 40 en >good.jsonl
expect "a chat log imports" 0 "" import --store s.db --format chat good.jsonl --quiet --json
[ "$(json conversations out.txt)" = 40 ] || fail "40 conversations come in"
[ "$(json decisions out.txt)" = 40 ] || fail "40 decisions come in"
before=$(sha256sum <s.db)
expect "the same file imports again" 0 "" import --store s.db --format chat good.jsonl --quiet --json
[ "$(json conversations out.txt)" = 0 ] || fail "a second import brings nothing"
[ "$(sha256sum <s.db)" = "$before" ] || fail "a second import changes no byte of the store"
gzip -k good.jsonl
expect "gzip is seen through" 0 "" import --store z.db --format chat good.jsonl.gz --quiet
expect "stats of both" 0 "" stats --store z.db --json --quiet
[ "$(json splits.train.conversations out.txt)" -gt 0 ] || fail "the log's own split is kept"
[ "$(json splits.train.transitions out.txt)" = "$(json splits.train.taken out.txt)" ] || fail "every taken candidate has a transition"

{ cat good.jsonl; echo '{"id": "x", "messages": [{"role": "user", "content": }]}'; } >malformed.jsonl
expect "a malformed line is named by file and line" 1 "malformed.jsonl:41" import --store s.db --format chat malformed.jsonl
[ "$(sha256sum <s.db)" = "$before" ] || fail "a malformed file leaves the store as it was"
expect "a malformed file makes no store" 1 "malformed.jsonl:41" import --store new.db --format chat malformed.jsonl
[ ! -e new.db ] || fail "a failed import leaves no store behind"
printf '{"id": "x", "messages": [{"role": "user", "content": "a\377b"}]}\n' >bytes.jsonl
expect "bytes that are no UTF-8 are named" 1 "bytes.jsonl:1" import --store s.db --format chat bytes.jsonl
expect "a missing file is named" 1 "missing.jsonl" import --store s.db --format chat missing.jsonl
expect "an unknown format suggests the nearest" 2 "did you mean 'chat'?" import --store s.db --format chta good.jsonl
[ "$(sha256sum <s.db)" = "$before" ] || fail "failed imports leave the store as it was"

# `label --set` decides rewards of what comes in later, and of evaluations: the same logs, in whatever order, earn the same.
# What stats say but for how many labels a judge has an opinion on besides.
earned() { "$KEEL" stats --store "$1" --quiet --json | sed '/^  "judged": {/,/^  }/d'; }
awk 'NR <= 20' good.jsonl >first.jsonl
awk 'NR > 20' good.jsonl >second.jsonl
"$KEEL" import --store later.db --format chat first.jsonl --quiet >/dev/null
expect "label takes reward keys" 0 "" label --store later.db --quiet --set target_ms=500 --set benign_refusal=-1 --json
[ "$(json rewards.target_ms out.txt)" = 500 ] || fail "label says which reward keys hold"
"$KEEL" import --store later.db --format chat second.jsonl --quiet >/dev/null
earned later.db >later.txt
"$KEEL" import --store once.db --format chat good.jsonl --quiet >/dev/null
earned once.db >default.txt
"$KEEL" label --store once.db --quiet --set target_ms=500 --set benign_refusal=-1 >/dev/null
earned once.db >once.txt
cmp -s later.txt once.txt || fail "reward keys of label hold for what is imported later"
[ "$(json behaviour.all.speed.value once.txt)" != "$(json behaviour.all.speed.value default.txt)" ] || fail "reward keys of label hold in what is measured"
"$KEEL" sft --store once.db --base builtin --out base --quiet --set epochs=1 --set min_updates=1 --set buckets=1024 >/dev/null
learn() { "$KEEL" train --store "$1" --base base --algo cql --out "$2" --quiet --set steps=20 --set hidden=8 --set batch=8 >/dev/null; }
learn once.db once && learn later.db later
cmp -s once/model.safetensors later/model.safetensors || fail "what is imported later is learnt from as label said"
"$KEEL" label --store once.db --quiet >/dev/null
earned once.db >again.txt
cmp -s again.txt default.txt || fail "label without keys goes back to the defaults"
learn once.db again
cmp -s again/model.safetensors once/model.safetensors && fail "reward keys of label change what is learnt"

expect "a file that is no store is refused" 1 "good.jsonl" stats --store good.jsonl

# ---- logs of other shapes say what shape is wanted ----
echo '{"prompt": "hi", "response": "yo"}' >pairs.jsonl
expect "prompt and response" 0 'looks like prompts' import --store prompts.db --format chat pairs.jsonl
printf '[{"messages": [{"role": "user", "content": "hi"}]}]\n' >array.jsonl
expect "an array, whatever the name of its file" 0 "" import --store shapes.db array.jsonl --quiet --json
[ "$(json conversations out.txt)" = 1 ] || fail "a conversation in an array comes in"
printf '{\n "messages": []}\n' >pretty.jsonl
expect "an object over several lines" 1 "expected at least one message" import --store shapes.db --format chat pretty.jsonl
cp good.jsonl lines.json
expect "lines, whatever the name of their file" 0 "" import --store shapes.db lines.json --quiet --json
[ "$(json conversations out.txt)" = 40 ] || fail "conversations in lines come in"
echo '{"prompt": "hi", "respons": "yo"}' >odd.jsonl
expect "a file of no known format names its keys" 1 "prompt, respons" import --store shapes.db odd.jsonl
expect "and the nearest format" 1 'the nearest format is prompts: {"prompt"' import --store shapes.db odd.jsonl
printf '{"messages": [{"role": "user", "content": "Gr\374sse"}]}\n' >latin.jsonl
expect "text in Latin-1" 1 "convert the file to UTF-8" import --store shapes.db --format chat latin.jsonl
: >nothing.jsonl
expect "an empty log is noted" 0 "note: nothing.jsonl holds no conversation" import --store shapes.db --format chat nothing.jsonl

# ---- standard input, and back out again ----
"$KEEL" import --store in.db --quiet --json - <good.jsonl >out.txt 2>err.txt || fail "standard input imports"
[ "$(json conversations out.txt)" = 40 ] || fail "40 conversations come in by standard input"
gzip -c good.jsonl | "$KEEL" import --store pipe.db --format chat --quiet --json - >out.txt 2>err.txt || fail "a pipe imports"
[ "$(json conversations out.txt)" = 40 ] || fail "40 conversations come in by a gzipped pipe"
cat good.jsonl | "$KEEL" import --store in.db --quiet --json - >out.txt 2>err.txt || fail "a pipe imports again"
[ "$(json files_known out.txt)" = 1 ] || fail "what came by standard input is known by its content"
cat good.jsonl | "$KEEL" import --store in.db --quiet --json /dev/stdin >out.txt 2>err.txt || fail "standard input by its path imports"
[ "$(json files_known out.txt)" = 1 ] || fail "standard input by its path is the same source"
cat good.jsonl | "$KEEL" import --store fd.db --quiet --json /dev/fd/5 5<&0 >out.txt 2>err.txt || fail "a pipe that the shell opened imports"
[ "$(json conversations out.txt)" = 40 ] || fail "40 conversations come in by a pipe that the shell opened"
expect "a descriptor that is not open" 1 "/dev/fd/99" import --store fd.db --quiet /dev/fd/99
expect "export writes a file" 0 "" export --store in.db --format chat --out back.jsonl.gz --quiet --json
[ "$(json conversations out.txt)" = 40 ] || fail "40 conversations go out"
"$KEEL" export --store in.db --format chat --quiet | cmp -s - good.jsonl && fail "spaces and key order are Keel's own"
"$KEEL" export --store in.db --format chat --quiet >plain.jsonl
gzip -dc back.jsonl.gz | cmp -s - plain.jsonl || fail "standard output and a gzipped file hold the same lines"
"$KEEL" export --store in.db --format chat --quiet | "$KEEL" import --store back.db --quiet - >out.txt 2>&1 || fail "an export imports"
"$KEEL" export --store back.db --format chat --quiet | cmp -s - plain.jsonl || fail "an export of an import of an export is the same"
for store in in back; do "$KEEL" stats --store $store.db --quiet --json | sed '/"store"/d' >$store.txt; done
cmp -s in.txt back.txt || fail "statistics of an export are those of the log"
expect "export of a split that is not there" 1 "no conversation is in split" export --store in.db --format chat --split dev --out none.jsonl
[ ! -e none.jsonl ] || fail "a failed export leaves no file"
expect "export in an unknown format" 2 "expected one of chat" export --store in.db --format cvs
finish
