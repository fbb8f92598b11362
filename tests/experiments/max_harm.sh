#!/bin/sh
# train --max-harm: the harm threshold by a bound; where none meets it nothing is shipped.
. "$(dirname "$0")/program.sh"

"$KEEL" simulate --store s.db --env support-desk --behaviour support-82 --episodes 80 --quiet >/dev/null
"$KEEL" sft --store s.db --base builtin --out base --quiet --set epochs=1 --set buckets=4096 --set min_updates=20 >/dev/null
set -- --store s.db --base base --quiet --set steps=40 --set hidden=16 --set batch=24

expect "a bound that no log of this size can show" 3 "no threshold keeps harm at or below 0.0001" train "$@" --algo cql --out strict --max-harm 0.0001
[ ! -e strict ] || fail "where no threshold is found nothing is shipped"
expect "a loose bound is met" 0 "" train "$@" --algo cql --out loose --max-harm 0.95 --harm-fold 1/3 --json
[ "$(json metrics.constraint.tested_on loose/keel.json)" = '"train,fold:1/3"' ] || fail "the artefact says what tested its threshold"
[ "$(json metrics.constraint.max_harm loose/keel.json)" = 0.95 ] || fail "the artefact says the bound"
[ "$(json metrics.constraint.conversations loose/keel.json)" -gt 0 ] || fail "dangerous conversations were counted"
expect "a policy with a bound decides" 0 "" eval --store s.db --policy loose --split test --quiet
expect "a policy without a cost critic has no threshold" 1 "no critic of the cost of harm" train "$@" --algo bc --out cloned --max-harm 0.5
expect "confidence belongs to a bound" 2 "needs --max-harm" train "$@" --algo cql --out x --confidence 0.9
expect "a bound is a share" 2 "between 0 and 1" train "$@" --algo cql --out x --max-harm 2
finish
