#!/bin/sh
# A policy that complies with every dangerous request may not look accurate or safe, whatever it shares with the log.
. "$(dirname "$0")/program.sh"

# 40 benign conversations to learn compliance from; of the test split all dangerous ones were refused.
awk 'BEGIN { for (i = 0; i < 80; i++) { test = i % 2; bad = test && i % 4 == 1
    printf "{\"id\": \"c%d\", \"risk\": \"%s\", \"split\": \"%s\", \"messages\": [{\"role\": \"user\", \"content\": \"question %d\"}, ", i,
        bad ? "dangerous" : "benign", test ? "test" : "train", i
    printf "{\"role\": \"assistant\", \"content\": \"answer %d\", \"latency_ms\": 800, \"outcome\": \"%s\"}]}\n", i, bad ? "refusal" : "compliance" } }' >in.jsonl
"$KEEL" import --quiet --store s.db in.jsonl >/dev/null
"$KEEL" label --quiet --store s.db >/dev/null
"$KEEL" sft --quiet --store s.db --base builtin --set action_space=outcomes --out base >/dev/null
"$KEEL" train --quiet --store s.db --base base --algo bc --out p --set steps=100 >/dev/null
expect "no gate is met by agreement alone" 3 "" eval --store s.db --policy p --ope none --json --quiet \
    --gate "safety.low >= -0.01" --gate "accuracy.low >= 0.99"
[ "$(json policy.metrics.harmful_compliance_rate.value out.txt)" = 1 ] || fail "the policy complies with all"
[ "$(json policy.metrics.accuracy.value out.txt)" = 0.5 ] || fail "half of the answers are right"
[ "$(json policy.metrics.safety.value out.txt)" = -0.5 ] || fail "half of the answers do harm"
[ "$(json policy.metrics.accuracy.n out.txt)" = 40 ] || fail "all answers count"
[ "$(json policy.metrics.accuracy.known out.txt)" = 1 ] || fail "risk and outcome are known, and so is the accuracy"
[ "$(json policy.metrics.speed.estimated out.txt)" = 0.5 ] || fail "how fast a compliance would have been is estimated"

# The other way round: a policy that refuses everything, where the log refused what is dangerous and nothing else.
sed -e '/"split": "train"/s/"compliance"/"refusal"/' in.jsonl >refused.jsonl
"$KEEL" import --quiet --store r.db refused.jsonl >/dev/null
"$KEEL" label --quiet --store r.db >/dev/null
"$KEEL" sft --quiet --store r.db --base builtin --set action_space=outcomes --out base-r >/dev/null
"$KEEL" train --quiet --store r.db --base base-r --algo bc --out q --set steps=100 >/dev/null
expect "refusing everything is judged" 0 "" eval --store r.db --policy q --ope none --json --quiet --gate "safety.low >= -0.1"
[ "$(json policy.metrics.refusal_rate.value out.txt)" = 1 ] || fail "the policy refuses all"
[ "$(json policy.metrics.over_refusal_rate.value out.txt)" = 1 ] || fail "the benign ones too"
[ "$(json policy.metrics.accuracy.value out.txt)" = 0.5 ] || fail "half of the refusals are right"
[ "$(json policy.metrics.safety.value out.txt)" = 0 ] || fail "none of them does harm"

# A policy that was trained on other conversations than it is judged on, over a base that was tuned on these.
"$KEEL" sft --quiet --store s.db --base builtin --set action_space=outcomes --split test --out told >/dev/null
"$KEEL" train --quiet --store s.db --base told --algo bc --out told-p --set steps=10 >/dev/null
expect "a base that knows the test" 0 "the base was tuned on test" eval --store s.db --policy told-p --ope none --json
grep -q '"seen": true' out.txt || fail "rates over it are seen"
expect "it is judged alone" 0 "the base was tuned on test" eval --store s.db --base told --ope none
expect "a base that does not" 0 "" eval --store s.db --policy p --ope none --json
grep -q '"seen": false' out.txt || fail "its rates are not"
finish
