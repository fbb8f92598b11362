#!/bin/sh
# Exporting: a log, a table, pairs and tuning files of one small store, and what other programs find in it.
. "$(dirname "$0")/program.sh"

cat >log.jsonl <<'END'
{"id": "c1", "risk": "benign", "messages": [{"role": "user", "content": "Say \"hi\", now"}, {"role": "assistant", "content": "hi", "outcome": "compliance", "candidates": [{"content": "No", "outcome": "refusal"}]}, {"role": "user", "content": "bye"}, {"role": "assistant", "content": "Never", "outcome": "refusal"}]}
{"id": "c2", "risk": "dangerous", "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "sure", "outcome": "compliance"}]}
{"id": "c3", "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": null, "candidates": [{"content": "a", "feedback": "down"}, {"content": "b", "feedback": "up"}]}]}
END
expect "the log imports" 0 "" import --store s.db log.jsonl --quiet
expect "without a format it is a log" 0 "" export --store s.db --out plain.jsonl --quiet
expect "as with chat" 0 "" export --store s.db --format chat --out chat.jsonl --quiet
cmp -s plain.jsonl chat.jsonl || fail "chat is the default"
expect "a table" 0 "" export --store s.db --format csv --out table.csv --json --quiet
[ "$(json candidates out.txt)" = 6 ] || fail "a row for each candidate"
grep -q '^"chat","c1","[^"]*","[a-z]*","benign",,1,"Say ""hi"", now","hi","","",true,,,,"compliance","human",0.5,,0,' table.csv || fail "words, quotes and rewards in the table"
# What a spreadsheet takes for a formula comes back to the byte: nothing is put before it.
cat >cells.jsonl <<'END'
{"id": "f1", "messages": [{"role": "user", "content": "=HYPERLINK(\"http://x.example\",\"a\")"}, {"role": "assistant", "content": "-1 is less, \"so\" they say"}]}
{"id": "f2", "messages": [{"role": "user", "content": "+49 30 1"}, {"role": "assistant", "content": "@SUM(A1:A9)\n=2"}]}
{"id": "f3", "messages": [{"role": "user", "content": "plain"}, {"role": "assistant", "content": "\t=cmd|' /C calc'!A0"}]}
END
expect "texts like formulas" 0 "" import --store cells.db cells.jsonl --quiet
expect "a table of them" 0 "" export --store cells.db --format csv --out cells.csv --quiet
expect "is read again" 0 "" import --store again.db --format csv --columns response=text cells.csv --quiet
said="SELECT group_concat(quote(text), char(10)) FROM (SELECT text FROM turns ORDER BY text)"
[ "$("$DUMP_STORE" cells.db "$said")" = "$("$DUMP_STORE" again.db "$said")" ] || fail "texts like formulas come back as they were"
grep -q '"=HYPERLINK(""http://x.example"",""a"")","-1 is less' cells.csv || fail "texts like formulas stand as they were said"
expect "pairs" 0 "" export --store s.db --format trl --out pairs.jsonl --json --quiet
[ "$(json pairs out.txt)" = 2 ] || fail "a pair of each decision that has two rewards"
grep -q '"chosen": \[{"role": "assistant", "content": "b"}\], "rejected": \[{"role": "assistant", "content": "a"}\], "chosen_reward": 1, "rejected_reward": -1,' pairs.jsonl || fail "the better one is chosen"
expect "pairs are read again" 0 "" import --store pairs.db pairs.jsonl --quiet --json
[ "$(json candidates out.txt)" = 4 ] || fail "two candidates of each pair"
# What a judge alone finds good is no better for having taken no time: the answer that was sent is chosen, at its speed.
cat >written.jsonl <<'END'
{"id": "slow", "risk": "benign", "messages": [{"role": "user", "content": "Say hi"}, {"role": "assistant", "content": "hi", "outcome": "compliance", "latency_ms": 1900, "candidates": [{"content": "Certainly, here it is: hi.", "model": "m"}, {"content": "I'm sorry, but I can't help with that.", "model": "m"}]}]}
{"id": "wrong", "risk": "benign", "messages": [{"role": "user", "content": "Say ho"}, {"role": "assistant", "content": "No", "outcome": "refusal", "latency_ms": 100, "candidates": [{"content": "Certainly, here it is: ho.", "model": "m"}]}]}
END
expect "written texts" 0 "" import --store w.db written.jsonl --quiet
expect "judged" 0 "" label --store w.db --quiet
expect "pairs of them" 0 "" export --store w.db --format trl --out judged.jsonl --json --quiet
[ "$(json pairs out.txt)$(json chosen_by_judge out.txt)" = 21 ] || fail "one better answer is a judge's: $(cat out.txt)"
grep '"slow"' judged.jsonl | grep -q '"chosen": \[{"role": "assistant", "content": "hi"}\].*"chosen_judge": "human", "rejected_judge": "model"' || fail "what was sent is chosen among equals: $(cat judged.jsonl)"
grep '"wrong"' judged.jsonl | grep -q '"content": "Certainly, here it is: ho."}\], "rejected".*"chosen_judge": "model"' || fail "a wrong answer is rejected: $(cat judged.jsonl)"
expect "tuning files" 0 "" export --store s.db --format sft --least 0.3 --out sft.jsonl --json --quiet
[ "$(json conversations out.txt)$(json left_out out.txt)" = 21 ] || fail "what is worth it, and the count of the others"
grep -q '"messages": \[{"role": "user", "content": "Say \\"hi\\", now"}, {"role": "assistant", "content": "hi"}\]}' sft.jsonl || fail "up to the last good answer"
grep -q '"content": "b"}\]}' sft.jsonl || fail "the better candidate"
expect "a reward that is none" 2 "expected a number from -1 to 1" export --store s.db --format sft --least much
expect "one answer a decision" 0 "" export --store s.db --one-response 1 --out one.jsonl --json --quiet
[ "$(json answers out.txt)$(json answers_left_out out.txt)$(json decisions_without_answer out.txt)" = 331 ] || fail "counts of answers"
expect "it is read again" 0 "" import --store one.db one.jsonl --quiet --json
[ "$(json candidates out.txt)" = 3 ] || fail "one candidate a decision"
expect "a seed that is none" 2 "whole number" export --store s.db --one-response x
expect "one answer only of logs" 2 "only with --format chat" export --store s.db --format csv --one-response 1
expect "only of tuning files" 2 "only with --format sft" export --store s.db --least 0.3

hostile=$(printf 'a\033[2J.jsonl')
expect "a name that would wipe the terminal" 0 "" export --store s.db --format chat --out "$hostile" --quiet
grep -q '^a?\[2J.jsonl: ' out.txt || fail "results are harmless: $(cat -v out.txt)"

# A folder of an older time, whose name is not UTF-8; what would stand in the store is refused.
old=$(printf 'caf\351')
if mkdir "$old" 2>/dev/null; then
    chat 40 en >"$old/in.jsonl"
    expect "a store in it" 0 "" import --store "$old/s.db" "$old/in.jsonl" --quiet
    expect "labels" 0 "" label --store "$old/s.db" --quiet
    expect "a base in it" 0 "" sft --store "$old/s.db" --base builtin --out "$old/base" --threads 1 --json --quiet
    grep -q '"caf?/base' out.txt || fail "the result says so in UTF-8: $(cat -v out.txt)"
    expect "a source that is no text" 1 "is not UTF-8" import --store "$old/s.db" --source "$old" log.jsonl --quiet
    expect "the store is whole" 0 "" stats --store "$old/s.db"
    expect "its runs too" 0 "" export --store "$old/s.db" --format chat --quiet
fi

# With a policy: what it would do, beside every candidate. The choice is that of `keel replay`.
chat 40 en >many.jsonl
"$KEEL" import --store many.db many.jsonl --quiet >/dev/null
expect "a base" 0 "" sft --store many.db --base builtin --out base --threads 1 --quiet
expect "a policy" 0 "" train --store many.db --base base --algo cql --out policy --threads 1 --set steps=20 --quiet
expect "a table with a policy" 0 "" export --store many.db --format csv --policy policy --split test --out chosen.csv --quiet
head -n 1 chosen.csv | grep -q ',reward,action,log_prior,log_pi,masked,q_accuracy,q_speed,q_safety,advantage,policy_choice,policy_agrees,why$' || fail "columns of a policy"
grep -q ',true,"{""against"":""[^{]*"",""sentence"":""[^{]*"",""reason"":.*""parts"":{""prior"":' chosen.csv || fail "why the choice was made"
expect "replay of the same" 0 "" replay --store many.db --policy policy --split test --json --quiet
[ "$((2 * $(json differing out.txt)))" = "$(grep -c '",false,"{""against' chosen.csv)" ] || fail "what replay says differs, differs in both rows of its decision"
[ "$((2 * $(json seen out.txt)))" = "$(tail -n +2 chosen.csv | wc -l)" ] || fail "two rows for every decision that replay saw"
expect "a policy only of tables" 2 "only with --format csv" export --store many.db --policy policy
expect "a base only of a policy" 2 "only with --policy" export --store many.db --format csv --base base
expect "a policy that is not there" 1 "nowhere" export --store many.db --format csv --policy nowhere

if command -v sqlite3 >/dev/null; then
    [ "$(sqlite3 s.db "SELECT risk, outcome, count(*) FROM v_candidates WHERE taken AND risk <> 'unknown' GROUP BY 1, 2 ORDER BY 1, 2" | tr '\n' ' ')" = \
        "benign|compliance|1 benign|refusal|1 dangerous|compliance|1 " ] || fail "views for sqlite3"
fi
finish
