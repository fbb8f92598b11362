#!/bin/sh
# The report through a parser of HTML: whatever a log, a recipe or the steps of a run say, the page has the tags and
# attributes that Keel writes and no others, well nested; its style and script are the files of the repository, and the
# policy that it states about itself names just these.
. "$(dirname "$0")/program.sh"
check="python3 $SOURCE/tests/experiments/report_page.py"

# ---- a whole way with a hostile log ----
$check log hostile.jsonl
cat >recipe.json <<'END'
{"name": "hostile", "about": "</style></title><script>alert(1)</script>\u202e", "steps": [
  {"name": "import", "verb": "import", "args": {"store": "${out}/s.db", "format": "chat"}, "positional": ["${data}/hostile.jsonl"]},
  {"name": "sft", "verb": "sft", "args": {"store": "${out}/s.db", "base": "builtin", "out": "${out}/base", "set": ["epochs=1", "buckets=4096", "min_updates=20"]}},
  {"name": "train", "verb": "train", "title": "\"><svg onload=alert(1)>", "args": {"store": "${out}/s.db", "base": "${out}/base", "algo": "cql", "out": "${out}/cql",
    "metrics": "${out}/cql.jsonl", "set": ["steps=60", "hidden=16", "batch=32"]}},
  {"name": "eval", "verb": "eval", "title": "'onmouseover='alert(1)", "group": "<b>g</b>", "args": {"store": "${out}/s.db", "policy": "${out}/cql", "cases": 6}},
  {"name": "replay", "verb": "replay", "args": {"store": "${out}/s.db", "policy": "${out}/cql", "limit": 4}}]}
END
expect "a run over a hostile log" 0 "" run recipe.json --out run --data . --quiet
$check page run/report.html "$SOURCE/experiments/report" >said.txt || fail "the page of a hostile log: $(cat said.txt)"
grep -q '^cards [1-9]' said.txt || fail "the page shows decisions: $(cat said.txt)"
[ "$(wc -c <run/report.html)" -le 5000000 ] || fail "the page is at most 5 MB"

# ---- steps that say anything ----
for seed in 1 2 3 4 5 6 7 8 9 10 11 12; do
    rm -rf broken && cp -r run broken
    $check break broken/steps $seed
    "$KEEL" report --run broken --quiet >out.txt 2>err.txt || fail "seed $seed: $(cat err.txt)"
    $check page broken/report.html "$SOURCE/experiments/report" >said.txt || fail "seed $seed: $(cat said.txt)"
done
# The parser sees what it must: a page that holds markup of others fails.
sed 's/<main>/<main><img src=x onerror=alert(1)>/' run/report.html >bad.html
! $check page bad.html "$SOURCE/experiments/report" >said.txt || fail "an image passes the check"
finish
