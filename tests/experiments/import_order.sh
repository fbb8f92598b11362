#!/bin/sh
# The same files imported in another order give the same bytes: judge, base, policy and rates depend on what was said.
. "$(dirname "$0")/program.sh"

# way FOLDER FORMAT FILE...: from files, in this order, to rates.
way() {
    folder=$1 format=$2
    shift 2
    mkdir "$folder"
    for file; do "$KEEL" import --store "$folder.db" --format "$format" --split train "$file" --quiet >/dev/null || return 1; done
    if [ "${folder%-reversed}" = sets ]; then
        "$KEEL" judge fit --store "$folder.db" --quiet --out "$folder/judge" >/dev/null || return 1
        "$KEEL" judge test --store "$folder.db" --quiet --judge "$folder/judge" >"$folder/judge.txt" || return 1
    fi
    "$KEEL" label --store "$folder.db" --quiet >"$folder/label.txt" || return 1
    "$KEEL" sft --store "$folder.db" --base builtin --out "$folder/base" --metrics "$folder/base.jsonl" --quiet \
        --split rest:0/4 --set epochs=2 --set buckets=4096 --set min_updates=20 --set batch=8 >/dev/null || return 1
    "$KEEL" train --store "$folder.db" --base "$folder/base" --algo cql --out "$folder/policy" --metrics "$folder/policy.jsonl" \
        --quiet --split rest:0/4 --set steps=60 --set hidden=32,16 --set batch=48 >/dev/null || return 1
    "$KEEL" eval --store "$folder.db" --policy "$folder/policy" --split fold:0/4 --ope fqe --out "$folder/eval.json" --quiet >/dev/null
}
rows() { "$DUMP_STORE" "$1.db" | awk '/^== /{ table = $2 } table == "turns" || table == "candidates"'; }

# check WHAT FORMAT FILE...: in this order and in the reverse one.
check() {
    what=$1 format=$2 reverse=
    shift 2
    for file; do reverse="$file $reverse"; done
    way "$what" "$format" "$@" 2>err.txt || fail "$what: $(cat err.txt)"
    # shellcheck disable=SC2086
    way "$what-reversed" "$format" $reverse 2>err.txt || fail "$what, reversed: $(cat err.txt)"
    diff -r "$what" "$what-reversed" >differences || fail "$what: $(head -n 5 differences)"
    rows "$what" >rows.txt
    if rows "$what-reversed" | cmp -s - rows.txt; then fail "$what: rows lie as before, so nothing is shown"; fi
}

# Of one decision with candidates.
chat 90 en >all.jsonl
for part in 0 1 2; do awk -v part=$part 'NR % 3 == part' all.jsonl >chat.$part.jsonl; done
check sets chat chat.0.jsonl chat.1.jsonl chat.2.jsonl

# Of several decisions with acts, three to a group, which share a hash.
awk 'BEGIN { for (i = 0; i < 90; i++) {
    printf "{\"id\": \"d%d\", \"group\": \"g%d\", \"risk\": \"benign\", \"completed\": %s, \"messages\": [", i, i / 3, i % 4 ? "true" : "false"
    for (t = 0; t < 2 + i % 3; t++)
        printf "%s{\"role\": \"user\", \"content\": \"word%d and word%d\"}, {\"role\": \"assistant\", \"content\": \"so %d\", \"act\": \"a%d\", \"latency_ms\": %d}",
            t ? ", " : "", i % 7, (i + t) % 5, t, (i * 5 + t) % 3, 100 + 37 * (i % 11)
    print "]}" } }' >all.jsonl
for part in 0 1 2; do awk -v part=$part 'NR % 3 == part' all.jsonl >acts.$part.jsonl; done
check acts chat acts.0.jsonl acts.1.jsonl acts.2.jsonl

# Of one prompt answered by a model a file: candidates come together from all files, one of which has them backwards.
for model in one two three; do
    awk -v model=$model 'BEGIN { print "id,type,prompt,completion,final_label"
        for (k = 1; k <= 60; k++) { i = model == "three" ? 61 - k : k; refused = (i + length(model)) % 3 == 0
            printf "v2-%d,%s,prompt %d of %s,%s w%d w%d,%s\n", i, i % 2 ? "homonyms" : "contrast_homonyms", i, i % 2 ? "good" : "ill",
                refused ? "No I cannot " model : "Sure here it is " model, i * i % 17, i * 7 % 23,
                (i % 7 == 3) != refused ? "2_full_refusal" : "1_full_compliance" } }' >completions_$model.csv
done
check models xstest completions_one.csv completions_two.csv completions_three.csv
finish
