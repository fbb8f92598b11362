#!/bin/sh
# Logs in English and in Chinese go the whole way: import, label, sft, train, eval with gates, replay.
. "$(dirname "$0")/program.sh"

for language in en zh; do
    rm -rf s.db* base policy
    chat 80 $language >log.jsonl
    expect "$language: imports" 0 "" import --store s.db --format chat log.jsonl --quiet
    expect "$language: labels" 0 "" label --store s.db --quiet
    expect "$language: tunes" 0 "" sft --store s.db --base builtin --out base --quiet --threads 2 --set epochs=4 --set buckets=4096 --metrics sft.jsonl
    expect "$language: trains" 0 "" train --store s.db --base base --algo cql --out policy --quiet --set steps=300 --set hidden=32 --set batch=32 --metrics train.jsonl
    [ -s sft.jsonl ] && [ -s train.jsonl ] || fail "$language: metrics are written"
    expect "$language: evaluates" 0 "" eval --store s.db --policy policy --quiet --json --out eval.json
    cmp -s out.txt eval.json || fail "$language: --out keeps what --json prints"
    for metric in refusal_rate over_refusal_rate completion_rate composite_reward; do
        [ "$(json "policy.metrics.$metric.n" out.txt)" != 0 ] || fail "$language: $metric of the policy is known"
        [ "$(json "baselines.logged.metrics.$metric.n" out.txt)" != 0 ] || fail "$language: $metric of the log is known"
    done
    expect "$language: the store remembers what was measured" 0 "" stats --store s.db --metric refusal_rate.value --quiet --json
    grep -q "\"value\": $(json policy.metrics.refusal_rate.value eval.json)" out.txt || fail "$language: the refusal rate that eval printed"
    expect "$language: a metric that nobody measured" 1 "no run measured" stats --store s.db --metric refusal_rat --quiet
    expect "$language: judged on what it was trained on, it says so" 0 "overlap" eval --store s.db --policy policy --split train
    expect "$language: a model fitted to the split" 0 "" eval --store s.db --policy policy --quiet --json --ope fqe --set fqe_steps=20
    [ "$(json policy.ope.dr.n out.txt)" != 0 ] || fail "$language: dr is known"
    [ "$(json policy.ope.self_prediction.value out.txt)" = "$(json policy.ope.dm.value eval.json)" ] || fail "$language: self_prediction is the critic's dm"
    expect "$language: no estimates" 0 "" eval --store s.db --policy policy --quiet --ope none
    head -n 1 out.txt | grep -q "the log.*composite_reward" || fail "$language: the first line is the verdict"
    grep -q "the policy differs from the base in [0-9]* of [0-9]* decisions, from the log in" out.txt || fail "$language: how often it differs"
    ! grep -q "off-policy" out.txt || fail "$language: without estimates there is no table of them"
    expect "$language: a model nobody knows" 2 "critic" eval --store s.db --policy policy --quiet --ope magic
    expect "$language: a gate that is met" 0 "" eval --store s.db --policy policy --quiet --gate "refusal_rate >= 0"
    expect "$language: two policies on one split are not pooled" 2 "same conversations" eval --store s.db --policy policy --policy policy --quiet
    expect "$language: a gate on a model nobody knows" 2 "models.nobody.refusal_rate" eval --store s.db --policy policy --quiet --gate "models.nobody.refusal_rate >= 0"
    expect "$language: a gate that is not met" 3 "not met" eval --store s.db --policy policy --quiet --gate "refusal_rate.low >= 0" --gate "over_refusal_rate.low > 0.9999"
    grep -q "NOT met" out.txt || fail "$language: the table is printed although a gate failed"
    expect "$language: replays" 0 "" replay --store s.db --policy policy --quiet --conversation chat:c3
    expect "$language: replays as JSON" 0 "" replay --store s.db --policy policy --quiet --limit 3 --json
    if [ $language = zh ]; then
        "$KEEL" replay --store s.db --policy policy --quiet --conversation c3 >out.txt
        grep -q '请告诉我' out.txt || fail "zh: the user's words are shown"
        grep -q '�' out.txt && fail "zh: no character is cut in half"
    fi
done

# Same inputs, same bytes, whatever the threads.
hash_before=$(sha256sum policy/model.safetensors)
rm -rf base2 policy2
"$KEEL" sft --store s.db --base builtin --out base2 --quiet --threads 1 --set epochs=4 --set buckets=4096 >/dev/null
cmp -s base/model.safetensors base2/model.safetensors || fail "a base does not depend on the threads"
"$KEEL" train --store s.db --base base2 --algo cql --out policy2 --quiet --threads 1 --set steps=300 --set hidden=32 --set batch=32 >/dev/null
[ "$(sha256sum <policy2/model.safetensors)" = "${hash_before%% *}  -" ] || fail "a policy does not depend on the threads"

# Terminal escapes in a log stay in the log.
printf '{"id": "e", "split": "test", "messages": [{"role": "user", "content": "\\u001b[2Jhello"}, {"role": "assistant", "content": "\\u001b]0;x\\u0007hi"}]}\n' >escape.jsonl
"$KEEL" import --store s.db --format chat escape.jsonl --quiet >/dev/null
expect "a hostile log replays" 0 "" replay --store s.db --policy policy --quiet --conversation e
if LC_ALL=C grep -q "$(printf '\033')" out.txt; then fail "no terminal escape of a log is printed"; fi
finish
