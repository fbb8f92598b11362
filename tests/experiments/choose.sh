#!/bin/sh
# train without a learner's name compares several on conversations held out, keeps the best and says what was shown;
# interrupted or killed, with one thread or two, it leaves the same bytes.
. "$(dirname "$0")/program.sh"

# A log that errs in every fifth answer, and one whose answers all earn the same.
chat 150 en | sed 's/"latency_ms": [0-9]*, //' >log.jsonl
sed 's/"risk": "[a-z]*"/"risk": "benign"/; s/"outcome": "[a-z]*"/"outcome": "compliance"/g' log.jsonl >flat.jsonl
for log in log flat; do
    "$KEEL" import --store $log.db --format chat $log.jsonl --quiet >/dev/null
    "$KEEL" sft --store $log.db --base builtin --out base-$log --quiet --set epochs=2 --set buckets=4096 --set min_updates=20 >/dev/null
done
steps="--set steps=60 --set hidden=16 --set batch=64 --set checkpoint_every=20"
# shellcheck disable=SC2086 # flags are words
set -- --quiet $steps
few="bc,cql:alpha=0.1,cql:alpha=0.3:kl_budget=2,base"

expect "it compares and keeps one" 0 "" train --store log.db --base base-log --out kept "$@" --choose "$few" --threads 2
grep -q "^better than the log; kept: " out.txt || fail "an improvement is shown: $(cat out.txt)"
for name in bc cql:alpha=0.1 cql:alpha=0.3:kl_budget=2 base; do
    grep -q "^$name  *[0-9]" out.txt || fail "$name is in the table: $(cat out.txt)"
done
[ "$(json metrics.choice.improvement_shown kept/keel.json)" = true ] || fail "the artefact says that it was shown"
[ "$(json metrics.choice.judged_folds kept/keel.json)" = 5 ] || fail "a small log is judged on all folds"
[ "$(json metrics.choice.base_tuned_anew kept/keel.json)" = true ] || fail "the base is tuned without what judges"
[ "$(json metrics.choice.confidence kept/keel.json)" = 0.9875 ] || fail "bounds hold together: 1 - 0.05/4"
[ "$(json metrics.differing.decisions kept/keel.json)" -gt 0 ] || fail "it says how often the policy differs"
[ ! -e .kept.choice ] || fail "what was trained on the way is gone"
[ "$("$DUMP_STORE" log.db "SELECT count(DISTINCT base_hash) FROM features")" = 1 ] || fail "the store keeps features of its own base alone"
"$KEEL" eval --store log.db --policy kept --quiet >out.txt || fail "what was kept is a policy"
head -n 1 out.txt | grep -q "^better than the log" || fail "eval: $(head -n 1 out.txt)"

# The same for one thread, and for one that is stopped and killed on the way.
bytes() { (cd "$1" && sha256sum keel.json config.json model.safetensors); }
bytes kept >undisturbed
expect "one thread" 0 "" train --store log.db --base base-log --out one/kept "$@" --choose "$few" --threads 1
bytes one/kept | cmp -s - undisturbed || fail "one thread gives the bytes of two"
shaken() {
    strike "$1" "$2" "$KEEL" train --store log.db --base base-log --out shaken/kept --quiet $steps --choose "$few" --threads 2
}
shaken KILL 'there 1 shaken/.kept.choice/base-*'
shaken KILL 'there 4 shaken/.kept.choice/base-*'
shaken TERM 'there 3 shaken/.kept.choice/0-*'
shaken KILL 'there 2 shaken/.kept.choice/2-*'
shaken KILL '[ -e shaken/.kept.checkpoint ]'
[ $struck -gt 0 ] || fail "it was stopped at least once"
expect "it goes on" 0 "" train --store log.db --base base-log --out shaken/kept "$@" --choose "$few"
bytes shaken/kept | cmp -s - undisturbed || fail "stopped and killed, it leaves the same bytes"
rm -rf torn && mkdir -p torn/.kept.choice/0-1 torn/.kept.choice/base-1 && : >torn/.kept.choice/0-1/config.json
expect "a folder that was killed while it was cleared away" 0 "" train --store log.db --base base-log --out torn/kept "$@" --choose "$few"
bytes torn/kept | cmp -s - undisturbed || fail "what was half cleared away is made anew"
[ "$(ls -A shaken)" = kept ] || fail "nothing else lies about: $(ls -A shaken)"

# What is there is not written over by another choice.
expect "again is harmless" 0 "" train --store log.db --base base-log --out kept "$@" --choose "$few"
expect "another list" 1 "was not chosen among these" train --store log.db --base base-log --out kept "$@" --choose bc,base
expect "another list, with --replace" 0 "" train --store log.db --base base-log --out kept "$@" --choose base --replace
"$KEEL" eval --store log.db --policy kept --quiet >out.txt
grep -q "differs from the base in 0 of" out.txt || fail "the base as a policy is the base: $(sed -n 2p out.txt)"

# Nothing to win: it says so, in the artefact and in eval's first line.
expect "a log without better answers" 0 "" train --store flat.db --base base-flat --out flat "$@" --choose bc,cql,base
grep -q "^no improvement shown; kept: " out.txt || fail "nothing is shown: $(cat out.txt)"
[ "$(json metrics.choice.improvement_shown flat/keel.json)" = false ] || fail "the artefact says that nothing was shown"
"$KEEL" eval --store flat.db --policy flat --quiet >out.txt
head -n 1 out.txt | grep -q "^no improvement shown in training" || fail "eval: $(head -n 1 out.txt)"

expect "none is cql as it is" 0 "" train --store log.db --base base-log --out plain "$@" --choose none
"$KEEL" train --store log.db --base base-log --out named "$@" --algo cql >/dev/null 2>&1
cmp -s plain/model.safetensors named/model.safetensors || fail "--choose none trains what --algo cql does"
expect "a named learner is not compared" 2 "goes with --algo auto" train --store log.db --base base-log --out x "$@" --algo cql --choose bc
expect "nobody's learner" 2 "is no learner" train --store log.db --base base-log --out x "$@" --choose bc,sarsa
expect "a key that it does not take" 2 "alpha" train --store log.db --base base-log --out x "$@" --choose bc:alpha=1
expect "keys of one learner stand in the list" 2 "alpha" train --store log.db --base base-log --out x "$@" --set alpha=1
expect "checkpoints belong to one learner" 2 "name it with --algo" train --store log.db --base base-log --out x "$@" --validate 0/3
expect "a bound on harm needs a cost critic" 2 "no critic of the cost of harm" train --store log.db --base base-log --out x "$@" --max-harm 0.9 --choose bc
expect "a choice under a bound on harm" 0 "" train --store log.db --base base-log --out bound "$@" --set steps=300 --max-harm 0.95 --choose cql,dqn
[ "$(json metrics.constraint.max_harm bound/keel.json)" = 0.95 ] || fail "the one that is kept has its bound"

# What training counts of a policy is what eval counts there.
"$KEEL" eval --store log.db --policy named --split train --quiet --json >out.txt
for key in decisions from_base from_log; do
    [ "$(json differing.$key out.txt)" = "$(json metrics.differing.$key named/keel.json)" ] || fail "differing.$key of train and eval"
done
[ "$(json metrics.beta_at_limit named/keel.json)" = "$([ "$(json metrics.beta named/keel.json)" = 50 ] && echo true || echo false)" ] || fail "beta_at_limit"
expect "beta at a low limit" 0 "stopped at its limit, 0.1" train --store log.db --base base-log --out low --set steps=60 --set hidden=16 --algo cql --set beta_limit=0.1
[ "$(json metrics.beta_at_limit low/keel.json)" = true ] || fail "the artefact says that beta stopped at its limit"
for alpha in 0.1 20; do
    expect "alpha $alpha" 0 "" train --store log.db --base base-log --out pulled-$alpha --set hidden=16 --algo cql --set steps=400 \
        --set alpha=$alpha --set calibrated=false --set rule_weight=0
done
grep -q "outside what rewards allow" err.txt || fail "a term that pulls up what was taken is told of"
[ "$(json metrics.q_outside.outside pulled-20/keel.json)" -gt "$(json metrics.q_outside.outside pulled-0.1/keel.json)" ] ||
    fail "Q outside what rewards allow is counted: $(json metrics.q_outside.outside pulled-20/keel.json) and $(json metrics.q_outside.outside pulled-0.1/keel.json)"

# An encoder that knows the conversations by heart gives no verdict; one that crosses its features over folds does.
golden=$(cd "$(dirname "$0")/../policies/golden" && pwd)
for folds in 0 2; do
    "$KEEL" sft --store log.db --base "$golden/bert/mean" --out encoder-$folds --quiet --set folds=$folds --set epochs=1 --set state_tokens=16 >/dev/null
done
expect "an encoder without folds is compared without a verdict" 0 "knows them by heart" train --store log.db --base encoder-0 --out by-heart --set steps=60 --set hidden=16 --choose bc,cql
grep -q "^no verdict: " out.txt || fail "no verdict is given: $(cat out.txt)"
[ "$(json metrics.choice.improvement_shown by-heart/keel.json)" = false ] || fail "the artefact says that nothing was shown"
expect "an encoder with folds is compared" 0 "Its features are crossed" train --store log.db --base encoder-2 --out crossed --set steps=60 --set hidden=16 --choose bc,cql
grep -q "^no verdict: " out.txt && fail "its verdict is given: $(cat out.txt)"

# One fold is held out for the checkpoint: the difference from the log is told of that one.
expect "--validate tells the difference" 0 "" train --store log.db --base base-log --out held --set steps=40 --set hidden=16 --algo cql --validate 0/3 --checkpoints 1 --quiet
[ -n "$(json metrics.validation.improvement_shown held/keel.json)" ] || fail "the artefact says whether the held-out fold shows an improvement"
finish
