#!/bin/sh
# Wrong use of every verb: the right exit code, a message that says what is wrong, and nothing changed.
golden=$(cd "$(dirname "$0")/../policies/golden" && pwd)
. "$(dirname "$0")/program.sh"

chat 40 en >log.jsonl
"$KEEL" import --store s.db --format chat log.jsonl --quiet >/dev/null
: >empty.jsonl
"$KEEL" sft --store s.db --base builtin --out base --quiet --set epochs=1 --set min_updates=1 --set buckets=1024 >/dev/null
"$KEEL" train --store s.db --base base --algo cql --out policy --quiet --set steps=5 --set hidden=8 --set batch=8 >/dev/null
"$KEEL" sft --store s.db --base builtin --out other/base --quiet --seed 2 --set epochs=1 --set min_updates=1 --set buckets=1024 >/dev/null
"$KEEL" info --json --quiet >info.txt || fail "info says what this is"
# A store without any conversation: what an import of an empty log leaves, if it leaves one.
"$KEEL" import --store empty.db --format chat empty.jsonl --quiet >/dev/null 2>&1 || true
before=$(sha256sum s.db base/* policy/*)

expect "stats reads" 0 "" stats --store s.db --quiet
[ ! -e s.db-wal ] && [ ! -e s.db-shm ] || fail "stats leaves nothing beside the store: $(ls s.db*)"
expect "no verb" 2 "" ""
expect "an unknown verb suggests the nearest" 2 "did you mean 'train'?" trian
for verb in import stats label judge sft train eval replay decide simulate run search auto report info help; do
    expect "$verb knows no --sotre" 2 "unknown flag --sotre" "$verb" --sotre s.db
    expect "$verb has help" 0 "" "$verb" --help
    grep -q "usage: keel $verb" out.txt || fail "$verb --help shows its usage"
done
for verb in stats label; do expect "$verb needs --store" 2 "--store" "$verb"; done
expect "sft needs --out" 2 "--out" sft --store s.db --base builtin
expect "a mode of a base that has none" 2 "a builtin base has no modes" sft --store s.db --base builtin --mode lora --out p
expect "no such mode" 2 "freeze, lora, head" sft --store s.db --base "$golden/bert/mean" --mode qlora --out p
"$KEEL" import --store unlabelled.db --split train - --quiet >/dev/null <<'EOF'
{"messages": [{"role": "user", "content": "Where is my parcel?"}, {"role": "assistant", "content": "It arrives today."}]}
{"messages": [{"role": "user", "content": "Is the shop open?"}, {"role": "assistant", "content": "Yes, until nine."}]}
EOF
expect "a log that teaches an encoder nothing" 1 "risks alone" sft --store unlabelled.db --base "$golden/bert/mean" --out p
expect "two modes" 2 "says lora, --set says full" sft --store s.db --base "$golden/bert/mean" --mode lora --set mode=full --out p
expect "an encoder is tuned before a policy stands on it" 1 "keel sft --base" train --store unlabelled.db --base "$golden/bert/mean" --algo cql --out p
expect "train needs --base" 2 "--base" train --store s.db --algo cql --out p
expect "eval needs something to judge" 2 "nothing to evaluate" eval --store s.db
expect "replay needs --policy" 2 "--policy" replay --store s.db
expect "decide needs --policy" 2 "--policy" decide log.jsonl
expect "simulate needs somebody who answers" 2 "nobody answers" simulate --store s.db --env support-desk --episodes 1
expect "run needs a recipe" 2 "RECIPE.json" run
expect "report needs --run" 2 "--run" report
expect "a flag given twice" 2 "given twice" stats --store s.db --store s.db
expect "a value without its flag" 2 "does not expect" stats --store s.db train
expect "a flag without its value" 2 "needs a value" stats --store

arguments() {
    case $1 in
    stats) echo "" ;;
    judge) echo "test" ;;
    sft) echo "--base builtin --out p" ;;
    train) echo "--base base --algo cql --out p" ;;
    eval | replay) echo "--policy policy" ;;
    esac
}
for verb in stats judge sft train eval replay; do
    # shellcheck disable=SC2046 # one word per argument
    expect "$verb names a store that is not there" 1 "missing.db" "$verb" --store missing.db $(arguments "$verb")
    [ ! -e missing.db ] || fail "$verb makes no store"
    # shellcheck disable=SC2046
    expect "$verb names an unknown split" 1 "nosuch" "$verb" --store s.db --split nosuch $(arguments "$verb")
    # shellcheck disable=SC2046
    expect "$verb refuses a malformed split" 2 "" "$verb" --store s.db --split fold:9/5 $(arguments "$verb")
    # shellcheck disable=SC2046
    [ "$verb" = stats ] || [ ! -e empty.db ] || expect "$verb has nothing to do in an empty store" 1 "" "$verb" --store empty.db $(arguments "$verb")
done

[ ! -e empty.db ] || expect "label has nothing to do in an empty store" 1 "" label --store empty.db
expect "an unknown key suggests --help or the nearest" 2 "" train --store s.db --base base --algo cql --out p --set alhpa=1
expect "a value out of range names its bounds" 2 "" train --store s.db --base base --algo cql --out p --set alpha=-1
# A key of another learner is refused before the store is opened, from wherever it comes, and those that know it are named.
foreign() { expect "$1 is no key of $2" 2 "$2 has no key \"$1\": it is a key of $3" train --store nowhere.db --base nobase --algo "$2" --out p "$4" "$5"; }
foreign expectile cql "iql, ilql" --set expectile=0.95
foreign alpha dqn "cql, cql-constrained, cql-lagrange, ilql, awac" --set alpha=0.5
foreign kl_budget bc "cql, dqn, cql-constrained, cql-lagrange, iql, ilql, bcq" --set kl_budget=2
echo '{"steps": 3, "expectile": 0.95}' >foreign.json
foreign expectile cql "iql, ilql" --config foreign.json
echo '{"alpha": 7, "algorithm": "cql"}' >cql.json
foreign alpha dqn "cql, cql-constrained, cql-lagrange, ilql, awac" --config cql.json
echo '{"algorithm": "cql"}' >cql.json
expect "another algorithm in the configuration" 2 "--algo says dqn, the configuration says cql" train --store nowhere.db --base nobase --algo dqn \
    --out p --config cql.json
echo '{"alpha": "much"}' >cql.json
expect "a wrong value in the configuration" 2 "a number from 0 to 10000" train --store nowhere.db --base nobase --algo cql --out p --config cql.json
expect "what makes no policy is refused at once" 2 "support_by" train --store nowhere.db --base nobase --algo bcq --out p --set support_by=learned
expect "a peer has settings for some" 2 "d3rlpy has no settings for awac" train --store nowhere.db --base nobase --algo awac --preset d3rlpy --out p
echo '{"name": "x", "steps": [{"name": "t", "verb": "train", "args": {"store": "s.db", "base": "base", "algo": "cql", "out": "p", "set": ["expectile=0.9"]}}]}' >foreign.json
expect "nor does a recipe take it" 2 "it is a key of iql, ilql" run foreign.json --out foreign --quiet
[ ! -e foreign ] || [ ! -e foreign/p ] || fail "a recipe with a foreign key starts nothing"
"$KEEL" train --algo iql --help >out.txt
grep -q '^  expectile ' out.txt && grep -q '^  critics  *2 ' out.txt || fail "the keys of iql, with its defaults"
if grep -qE '^  (alpha|quantiles|support) ' out.txt; then fail "only the keys of iql: $(cat out.txt)"; fi
"$KEEL" train --help >out.txt
grep -A 1 '^  iql, ilql:$' out.txt | grep -q ' expectile$' || fail "train --help says who takes expectile"
if grep -q '^  expectile ' out.txt; then fail "train --help explains the common keys alone"; fi
expect "an unknown algorithm lists those there are" 2 "cql, dqn, bc" train --store s.db --base base --algo cqn --out p
expect "a missing configuration file is named" 1 "none.json" train --store s.db --base base --algo cql --out p --config none.json
expect "how many checkpoints are judged needs what judges them" 2 "needs --validate" train --store s.db --base base --algo cql --out p --checkpoints 3
expect "a validation part is a fold" 2 "out of range" train --store s.db --base base --algo cql --out p --validate 3/3
expect "a validation part is none of what is held out for judging" 2 "leaves it out" train --store s.db --base base --algo cql \
    --out p --split rest:1/3 --validate 1/3
expect "a validation part is not all there is" 2 "holds all" train --store s.db --base base --algo cql --out p --split fold:1/3 --validate 1/3
expect "a missing base is named" 1 "nobase" train --store s.db --base nobase --algo cql --out p
expect "a policy is no base" 1 "policy" train --store s.db --base policy --algo cql --out p
expect "a base is no policy" 1 "base" eval --store s.db --policy base
mkdir full && echo mine >full/file
expect "an out folder with other things in it is left alone" 1 "full" sft --store s.db --base builtin --out full
[ "$(cat full/file)" = mine ] || fail "what was in the out folder is still there"
# What somebody has there is not written over, whatever it is.
mkdir mine && echo '{"mine": 1}' >mine/notes.json && cp s.db mine/s.db
notes=$(sha256sum mine/*)
for file in notes.json s.db; do
    expect "metrics over $file" 1 "nothing that this command wrote" train --store s.db --base base --algo cql --out p --metrics mine/$file
    expect "sft's metrics over $file" 1 "nothing that this command wrote" sft --store s.db --base builtin --out p --metrics mine/$file
    expect "an evaluation over $file" 1 "nothing that this command wrote" eval --store s.db --policy policy --out mine/$file
    expect "a judge over $file" 1 "no folder of" judge fit --store mine/s.db --out mine/$file
    expect "a report over $file" 1 "nothing that this command wrote" report --run mine --out mine/$file
done
expect "metrics into no folder" 1 'no folder "nowhere/"' train --store s.db --base base --algo cql --out p --metrics nowhere/m.jsonl
expect "an evaluation into no folder" 1 'no folder "nowhere/"' eval --store s.db --policy policy --out nowhere/e.json
echo '{"name": "x", "steps": [{"name": "stats", "verb": "stats", "args": {"store": "s.db"}}]}' >recipe.json
expect "a run among other things" 0 "" run recipe.json --out mine --quiet
expect "is not removed with them" 1 "held other things when the run began" run recipe.json --out mine --fresh
[ "$(sha256sum mine/notes.json mine/s.db)" = "$notes" ] || fail "what was there is still there"
expect "a run by itself" 0 "" run recipe.json --out own --quiet
echo x >own/later
expect "is removed" 0 "" run recipe.json --out own --quiet --fresh
[ ! -e own/later ] && [ -e own/run.json ] || fail "--fresh takes the run's own folder"
echo '{"name": "../x", "steps": [{"name": "stats", "verb": "stats", "args": {"store": "s.db"}}]}' >path.json
expect "a recipe's name is no path" 1 "got the path" run path.json
expect "a policy made for another base is refused" 1 "base" eval --store s.db --policy policy --base other/base
expect "the same for replay" 1 "base" replay --store s.db --policy policy --base other/base
cp -r policy stray && mkdir alone && mv stray alone/
expect "a policy whose base is not beside it says so" 1 "--base" eval --store s.db --policy alone/stray
cp -r policy damaged && printf x >>damaged/model.safetensors
expect "a damaged policy is refused" 1 "damaged" eval --store s.db --policy damaged --base base
expect "a malformed gate is refused before any work" 2 "" eval --store s.db --policy policy --gate "refusal_rate >> 1"
expect "a gate in percent that is always met is refused" 2 "did you mean 0.05" eval --store s.db --policy policy --gate "over_refusal_rate.high <= 5"
expect "a gate in percent that is never met is refused" 2 "did you mean 0.97" eval --store s.db --policy policy --gate "refusal_rate.low >= 97"
expect "an unknown gate name is refused" 2 "" eval --store s.db --policy policy --gate "refusal_rat >= 1"
expect "an unknown conversation is named" 1 "nosuch" replay --store s.db --policy policy --conversation nosuch
expect "a simulation into a split of no name is refused" 2 "held-out" simulate --store n.db --env support-desk --behaviour random --episodes 1 --split held-out
expect "an import into a split of no name is refused" 2 "a,b" import --store n.db --format chat log.jsonl --split a,b
expect "an unknown behaviour lists those there are" 2 "support-82" simulate --store n.db --env support-desk --behaviour x --episodes 1
expect "only a policy has a threshold" 2 "nobody else has a threshold" simulate --store n.db --env support-desk --behaviour random \
    --episodes 1 --harm-threshold 0
expect "a threshold is a number" 2 "expected a number" eval --store s.db --policy policy --harm-threshold low
expect "and no floor any more" 2 "harm-threshold" eval --store s.db --policy policy --harm-treshold 1
expect "an unknown environment is named" 1 "nosuch" simulate --store n.db --env nosuch --behaviour random --episodes 1
[ ! -e n.db ] || fail "a failed simulation makes no store"
expect "a missing recipe is named" 1 "none.json" run none.json
expect "a folder without a run is named" 1 "holds no run" report --run full
[ ! -e p ] || fail "failed training leaves no artefact"
[ "$(sha256sum s.db base/* policy/*)" = "$before" ] || fail "wrong use leaves store and artefacts as they were"
finish
