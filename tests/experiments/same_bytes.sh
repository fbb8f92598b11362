#!/bin/sh
# Same seed, same bytes: artefacts, store and rates do not depend on the number of threads; and the seed of one verb
# moves nothing of another.
. "$(dirname "$0")/program.sh"

# way FOLDER THREADS SFT_SEED TRAIN_SEED EVAL_SEED: from a simulated log to rates, in a folder of its own.
way() {
    mkdir "$1"
    (
        cd "$1"
        "$KEEL" simulate --store s.db --env support-desk --behaviour support-82 --episodes 120 --seed 5 --quiet
        "$KEEL" label --store s.db --quiet
        "$KEEL" sft --store s.db --base builtin --out base --metrics base.jsonl --quiet --threads "$2" --seed "$3" \
            --set epochs=2 --set buckets=4096 --set min_updates=20
        "$KEEL" train --store s.db --base base --algo cql --out policy --metrics policy.jsonl --quiet --threads "$2" --seed "$4" \
            --set steps=60 --set hidden=32,16 --set batch=48
        "$KEEL" eval --store s.db --policy policy --out eval.json --quiet --threads "$2" --seed "$5"
        "$DUMP_STORE" s.db | awk '/^== /{ table = $2 } table != "runs" && table != "metrics"' >store.txt # runs name the threads, metrics hold intervals
        rm s.db
    ) >"$1.out" 2>"$1.err" || fail "the way with $2 threads: $(cat "$1.err")"
}
same() { diff -rq "$1" "$2" >/dev/null || fail "$3: $(diff -rq "$1" "$2")"; }
differs() { if cmp -s "$1" "$2"; then fail "$3"; fi; }

for threads in 1 2 8; do way threads$threads $threads 1 1 1; done
same threads1 threads2 "two threads give the bytes of one"
same threads1 threads8 "eight threads give the bytes of one"

way eval 2 1 1 2
for part in base policy base.jsonl policy.jsonl store.txt; do same threads1/$part eval/$part "the seed of eval does not move $part"; done
differs threads1/eval.json eval/eval.json "the seed of eval moves its intervals"
# MAGIC alone weighs its parts by what the bootstrap shows of their noise.
values() { sed '/"magic"/,/}/d' "$1/eval.json" | grep '"value"'; }
values threads1 >values1
values eval | cmp -s - values1 || fail "the seed of eval moves no value"

way train 2 1 2 1
for part in base base.jsonl store.txt; do same threads1/$part train/$part "the seed of train does not move $part"; done
differs threads1/policy/model.safetensors train/policy/model.safetensors "the seed of train moves the policy"
tables() { awk '/^== /{ table = $2 } table != "features"' "$1/store.txt"; }
way sft 2 2 1 1
tables threads1 >logs1
tables sft | cmp -s - logs1 || fail "the seed of sft does not move the log"
differs threads1/base/model.safetensors sft/base/model.safetensors "the seed of sft moves the base"
logged() { sed -n '/"baselines"/,/"base"/p' "$1/eval.json"; }
logged threads1 >log1
logged sft | cmp -s - log1 || fail "no other seed moves what eval says of the log"

# Every learner in every space: artefacts of 1 and 8 threads.
chat 60 en >candidates.jsonl
sed 's/"candidates": [^]]*\]}/"model": "m"}/' candidates.jsonl >outcomes.jsonl
"$KEEL" simulate --store acts.db --env support-desk --behaviour support-82 --episodes 40 --quiet >/dev/null
for space in candidates outcomes; do "$KEEL" import --store $space.db --format chat $space.jsonl --quiet >/dev/null; done
for space in acts candidates outcomes; do
    for threads in 1 8; do
        "$KEEL" sft --store $space.db --base builtin --out $space.$threads/base --quiet --threads $threads --set epochs=1 \
            --set buckets=1024 --set min_updates=10 --set action_space=$space --json >base.txt || fail "sft over $space"
        grep -q "\"action_space\": \"$space\"" base.txt || fail "a base over $space is over $space"
        for algo in bc filtered-bc safe-bc dqn cql cql-lagrange cql-constrained iql ilql awac bcq; do
            "$KEEL" train --store $space.db --base $space.$threads/base --algo $algo --out $space.$threads/$algo --quiet \
                --threads $threads --set steps=30 --set hidden=16,8 --set batch=24 >/dev/null || fail "$algo over $space"
        done
        "$KEEL" train --store $space.db --base $space.$threads/base --algo cql --out $space.$threads/conditioned --quiet \
            --threads $threads --set steps=30 --set hidden=16,8 --set batch=24 --set conditioned=true >/dev/null ||
            fail "conditioned over $space"
        [ $space = acts ] || # whose base takes seconds to tune anew
            "$KEEL" train --store $space.db --base $space.$threads/base --choose base,bc,cql --out $space.$threads/chosen --quiet \
                --threads $threads --set steps=30 --set hidden=16,8 --set batch=24 >/dev/null || fail "a choice over $space"
    done
    same $space.1 $space.8 "$space: eight threads give the bytes of one"
done
finish
