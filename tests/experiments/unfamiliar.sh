#!/bin/sh
# A request unlike any that a policy learned from is marked by decide, replay and eval, and sent to the fallback on
# request; held-out ones of the same kind rarely are.
. "$(dirname "$0")/program.sh"

chat 400 en | sed 's/, "candidates": [^]]*\]}/}/; s/"latency_ms": [0-9]*, //' >en.jsonl
chat 40 zh | sed 's/, "candidates": [^]]*\]}/}/; s/"latency_ms": [0-9]*, //; s/"id": "c/"id": "z/; s/"split": "train"/"split": "test"/' >zh.jsonl
for log in en both; do "$KEEL" import --store $log.db --format chat en.jsonl --quiet >/dev/null; done
"$KEEL" import --store both.db --format chat zh.jsonl --quiet >/dev/null
cat >asked.txt <<'END'
Please tell me about a pasta recipe, number 401
Please tell me about train times, number 402
Wie melde ich mein Auto bei der Zulassungsstelle an?
请告诉我奥斯陆的天气
Посоветуйте хороший фильм на вечер
END
for space in candidates outcomes; do
    rm -rf base policy
    "$KEEL" sft --store en.db --base builtin --out base --quiet --set action_space=$space --set epochs=1 --set buckets=16384 --set min_updates=20 >/dev/null
    "$KEEL" train --store en.db --base base --algo cql --out policy --quiet --set steps=40 --set hidden=8 --set batch=64 >/dev/null
    expect "$space: prompts" 0 "" decide --policy policy --text asked.txt --quiet --json
    [ "$(grep -o '"unfamiliar":[a-z]*' out.txt | tr '\n' ' ')" = '"unfamiliar":false "unfamiliar":false "unfamiliar":true "unfamiliar":true "unfamiliar":true ' ] ||
        fail "$space: what is of another language is marked, and no other: $(grep -o '"unfamiliar":[a-z]*,"distance":[0-9.]*' out.txt)"
    ! grep -q '"fallback":true' out.txt || fail "$space: marked alone, nothing falls back"
    expect "$space: prompts, with a fallback" 0 "" decide --policy policy --text asked.txt --quiet --json --unfamiliar fallback
    [ "$(grep -c '"unfamiliar":true.*"fallback":true\|"fallback":true.*"unfamiliar":true' out.txt)" = 3 ] || fail "$space: what is unfamiliar falls back: $(cut -c1-300 out.txt)"
    [ "$(grep '"fallback":true' out.txt | grep -c '"says":"refusal"\|"says":"I.m sorry')" = 3 ] || fail "$space: on a refusal"
    expect "$space: held out, of the same kind" 0 "" eval --store en.db --policy policy --quiet --out same.json
    awk "BEGIN { exit !($(json unfamiliar.share same.json) <= 0.05) }" || fail "$space: held-out requests of the same kind are rarely marked: $(json unfamiliar.share same.json)"
    expect "$space: with another language among them" 0 "" eval --store both.db --policy policy --quiet --out other.json
    [ "$(json unfamiliar.unfamiliar other.json)" = $((40 + $(json unfamiliar.unfamiliar same.json))) ] || fail "$space: 40 more are marked, not $(json unfamiliar.unfamiliar other.json)"
    grep -q "decisions are unlike any that it learned from" out.txt || fail "$space: eval says so"
    grep -q '"name": "unfamiliar"' other.json || fail "$space: their rates stand apart"
    expect "$space: eval with a fallback" 0 "" eval --store both.db --policy policy --quiet --unfamiliar fallback --out fallback.json
    [ $space = outcomes ] || [ "$(json differing.from_log other.json)" != "$(json differing.from_log fallback.json)" ] || fail "$space: a fallback changes what is chosen"
    expect "$space: replay" 0 "" replay --store both.db --policy policy --quiet --limit 1000 --json
    [ "$(grep -c '"unfamiliar": true' out.txt)" = "$(json unfamiliar.unfamiliar other.json)" ] || fail "$space: replay marks what eval counts"
done
expect "nobody's way" 2 "mark" decide --policy policy --text asked.txt --unfamiliar ask
finish
