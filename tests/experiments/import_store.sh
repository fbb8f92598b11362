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
expect "a file that is no store is refused" 1 "good.jsonl" stats --store good.jsonl
finish
