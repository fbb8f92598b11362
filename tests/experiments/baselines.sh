#!/bin/sh
# always-refuse and never-refuse stand beside the log and the base: exact where a rule gives what they earn, in every
# action space, and in the simulator.
. "$(dirname "$0")/program.sh"

chat 160 en | sed 's/"latency_ms": [0-9]*, //' >choice.jsonl
sed 's/, "candidates": [^]]*\]}/}/' choice.jsonl >one.jsonl
for log in choice one; do "$KEEL" import --store $log.db --format chat $log.jsonl --quiet >/dev/null; done
# Of the test split: how many are dangerous.
n=$(grep -c '"split": "test"' choice.jsonl) bad=$(grep '"split": "test"' choice.jsonl | grep -c '"risk": "dangerous"')
share() { awk "BEGIN { x = $1; printf \"%.6f\", x }"; }
value() { share "$(json "baselines.$1.metrics.$2.value" eval.json)"; }

for log in choice one; do
    for space in candidates outcomes; do
        rm -rf base policy eval.json
        "$KEEL" sft --store $log.db --base builtin --out base --quiet --set action_space=$space --set epochs=1 --set buckets=1024 --set min_updates=10 >/dev/null
        "$KEEL" train --store $log.db --base base --algo bc --out policy --quiet --set steps=20 --set hidden=8 --set batch=32 >/dev/null
        expect "$log over $space: judges" 0 "" eval --store $log.db --policy policy --quiet --out eval.json
        head -n 12 out.txt | grep -q "^metric .*policy .*logged .*base .*always-refuse .*never-refuse" || fail "$log over $space: columns for both: $(sed -n 6p out.txt)"
        for rate in always-refuse:refusal_rate:1 always-refuse:harmful_compliance_rate:0 always-refuse:over_refusal_rate:1 \
            always-refuse:completion_rate:0 always-refuse:accuracy:$bad/$n always-refuse:safety:0 \
            never-refuse:refusal_rate:0 never-refuse:harmful_compliance_rate:1 never-refuse:over_refusal_rate:0 \
            never-refuse:completion_rate:1 "never-refuse:accuracy:($n-$bad)/$n" "never-refuse:safety:-$bad/$n"; do
            who=${rate%%:*} rest=${rate#*:}
            [ "$(value $who "${rest%%:*}")" = "$(share "${rest#*:}" | sed 's/^-0.000000$/0.000000/')" ] ||
                fail "$log over $space: $who ${rest%%:*} is ${rest#*:}, not $(value $who "${rest%%:*}")"
        done
        [ "$(json baselines.never-refuse.metrics.accuracy.known eval.json)" = 1 ] || fail "$log over $space: all of it is known by rule"
    done
done
expect "a gate against a baseline" 0 "" eval --store one.db --policy policy --quiet --gate "baselines.always-refuse.refusal_rate >= 1"

# A third one is trained: cloning of the conversations without harm, here those that do not comply with danger.
"$KEEL" sft --store one.db --base builtin --out base-one --quiet --set action_space=outcomes --set epochs=1 --set buckets=1024 --set min_updates=10 >/dev/null
"$KEEL" train --store one.db --base base-one --algo safe-bc --out safe --quiet --set steps=20 --set hidden=8 --set batch=32 >/dev/null
harmless=$(grep '"split": "train"' one.jsonl | grep -vc '"risk": "dangerous".*"outcome": "compliance"')
[ "$(json metrics.transitions safe/keel.json)" = "$harmless" ] || fail "safe-bc learns from $harmless conversations, not $(json metrics.transitions safe/keel.json)"

# Over acts: the acts that refuse are those that the log's outcomes tell; without a policy nobody tells.
"$KEEL" simulate --store s.db --env support-desk --behaviour support-82 --episodes 200 --quiet >/dev/null
"$KEEL" sft --store s.db --base builtin --out desk --quiet --set epochs=1 --set buckets=1024 --set min_updates=10 >/dev/null
"$KEEL" train --store s.db --base desk --algo bc --out clone --quiet --set steps=30 --set hidden=8 --set batch=32 >/dev/null
expect "over acts" 0 "" eval --store s.db --policy clone --quiet --out acts.json
[ "$(json baselines.always-refuse.on_log.refusal_rate.value acts.json)" = 1 ] || fail "always-refuse refuses at the log's decisions"
[ "$(json baselines.never-refuse.on_log.over_refusal_rate.value acts.json)" = 0 ] || fail "never-refuse refuses nothing"
# What the cases call an error is what the rates count, decisions at which the log was judged; n of a rate is their
# number less what answers of one conversation have in common.
expect "cases" 0 "" eval --store s.db --policy clone --split train --quiet --ope none --out cases.json
count() { awk -F: -v kind="\"$1\"" 'index($0, "\"kind\": " kind) { wanted = 1 } wanted && /"count"/ { print $2 + 0; exit }' cases.json; }
errors=$(($(count harmful) + $(count harmful_in_part))) rate=policy.on_log.refusal_rate
rated=$(awk "BEGIN { printf \"%.0f\", $(json $rate.n cases.json) * (1 - $(json $rate.value cases.json)) }")
[ "$errors" -ge "$rated" ] && [ "$rated" -gt 10 ] && [ "$errors" -le $((rated * 5 / 4)) ] ||
    fail "cases count $errors answers that do not refuse, the rate $rated"
expect "over acts, the base alone" 0 "" eval --store s.db --base desk --quiet --out alone.json
[ "$(json baselines.always-refuse.answers alone.json)" = 0 ] || fail "without a policy nobody tells which acts refuse"
! grep -q "^metric .*always-refuse" out.txt || fail "what is not defined has no column"

for who in always-refuse never-refuse; do
    expect "$who plays" 0 "" simulate --store $who.db --env support-desk --behaviour $who --episodes 100 --quiet --json
    cp out.txt $who.json
done
[ "$(json metrics.refusal_rate.value always-refuse.json)" = 1 ] || fail "who always refuses refuses"
[ "$(json metrics.completion_rate.value always-refuse.json)" = 0 ] || fail "and completes nothing"
[ "$(json metrics.over_refusal_rate.value never-refuse.json)" = 0 ] || fail "who never refuses refuses nothing"
[ "$(json metrics.harmful_compliance_rate.value never-refuse.json)" = 1 ] || fail "and does what is dangerous"
finish
