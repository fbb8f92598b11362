#!/bin/sh
# Are the tests able to fail? Breaks a copy of the code in one place at a time (mutations.txt, and defects.txt
# with what is wrong elsewhere: file, what stands there, what stands there instead), and runs the tests of that
# file: killed (one failed) or survived. A line whose text is not in its file once exactly is stale. Exit status 0
# only if all were killed.
#
#   tests/mutate.sh [PATTERN [LIST...]]     only lines that match; only those of these lists
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
[ $# -gt 1 ] || set -- "${1:-.}" "$here/tests/mutations.txt" "$here/tests/defects.txt"
pattern=$1
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

# The tests that a mutation of this file is shown, those of its own first.
tests_of() {
    case $1 in
    core/gemm_bf16.c) echo core/test_gemm_bf16 ;;
    core/ops_quant.c | core/fake_quant.c) echo core/test_fake_quant policies/test_llama_fake ;;
    core/tape*) echo core/test_tape_segment core/test_gradient core/test_tape ;;
    core/ops_norm.c | core/ops_text.c | core/ops_tokens.c | core/ops_linear.c) echo core/test_ops_decoder core/test_gradient core/test_ops policies/test_bert_tape rl/test_learner ;;
    core/numeric.c | core/ops_*) echo rl/test_learner core/test_ops ;;
    core/panels*.c) echo core/test_panels ;;
    core/matrix*.c | core/half.h) echo core/test_matrix ;;
    core/cjson_plain.c) echo core/test_cjson_plain ;;
    core/gemm_plain.c) echo core/test_gemm_plain ;;
    core/packed.c) echo policies/test_policy policies/test_base ;;
    core/corpus.c | datasets/store_corpus.c) echo datasets/test_store_corpus ;;
    datasets/chat_plain.c) echo datasets/test_log_kinds ;;
    core/json_read.c | datasets/chat*.c | datasets/formats.c) echo datasets/test_export datasets/test_reader core/test_context ;;
    core/team.c) echo core/test_parallel ;;
    core/context.c | core/parallel.c | core/log.c | core/progress.c) echo core/test_context ;;
    core/logistic.c) echo core/test_logistic ;;
    core/ngram.c) echo core/test_ngram ;;
    core/*) echo core/test_optim core/test_sharded_step ;;
    rewards/reward.c) echo rewards/test_reward ;;
    rewards/judge_adapt.c | rewards/judge_file.c) echo rewards/test_judge_adapt ;;
    rewards/normalise*.c | rewards/words.c) echo rewards/test_normalise ;;
    rewards/*) echo rewards/test_judge rewards/test_refusal rewards/test_judge_adapt ;;
    datasets/store_stream.c | datasets/store_rounds.c) echo datasets/test_store_rounds experiments/test_consume ;;
    experiments/stream/*) echo experiments/test_consume ;;
    experiments/simulate_server.c) echo experiments/test_simulate_server ;;
    datasets/one_response.c) echo datasets/test_one_response ;;
    datasets/stratify.c) echo datasets/test_stratify ;;
    datasets/store_judged.c) echo datasets/test_store_judged datasets/test_store_review ;;
    datasets/store_trials.c) echo datasets/test_store_trials ;;
    datasets/store_review*.c) echo datasets/test_store_review ;;
    datasets/prefetch.c) echo datasets/test_import_chat ;;
    datasets/zip.c) echo datasets/test_zip ;;
    datasets/tau.c) echo datasets/test_formats_tau ;;
    datasets/row.c | datasets/format_pair.c | datasets/format_arena.c) echo datasets/test_formats_pairs ;;
    datasets/session.c | datasets/format_otel.c | datasets/format_llm.c | datasets/format_langfuse.c) echo datasets/test_format_calls ;;
    datasets/tree.c | datasets/format_oasst.c) echo datasets/test_format_trees ;;
    datasets/store_meet.c | datasets/dedupe.c) echo datasets/test_meet datasets/test_answers datasets/test_store_review ;;
    datasets/answers.c | datasets/format_lm_eval.c | datasets/format_inspect.c | datasets/format_promptfoo.c) echo datasets/test_answers datasets/test_formats_results ;;
    datasets/*) echo datasets/test_sampler ;;
    policies/base.c | policies/sft.c | policies/encode_store.c | policies/ngram_base/*) echo policies/test_base policies/test_sft ;;
    policies/compress/sensitive.c | policies/compress/quantise.c) echo policies/test_prune policies/test_prune_bert policies/test_compress experiments/compress_target ;;
    policies/compress/calibrate.c | policies/compress_base.c | policies/transformer/weights.c) echo policies/test_compress ;;
    policies/compress/rank.c) echo policies/test_prune policies/test_prune_qnet policies/test_student ;;
    policies/compress/sample.c) echo policies/test_sample policies/test_prune policies/test_prune_bert ;;
    policies/compress/prune_qnet.c) echo policies/test_prune_qnet ;;
    policies/compress/prun*.c | policies/transformer/llama_slice.c) echo policies/test_prune policies/test_prune_bert ;;
    policies/transformer/bert_slice.c | policies/transformer/bert_encode.c) echo policies/test_prune_bert policies/test_bert ;;
    policies/soft_*.c) echo policies/test_distil ;;
    policies/compress/student*.c) echo policies/test_student ;;
    policies/encoder_base/loss.c) echo policies/test_distil policies/test_encoder_base policies/test_encoder_parts ;;
    policies/encoder_base/* | policies/base_file.c) echo policies/test_encoder_base policies/test_encoder_parts policies/test_encoder_resume ;;
    policies/decoder_base/*) echo policies/test_decoder_base policies/test_decoder_taught ;;
    policies/artefact.c) echo policies/test_artefact rl/test_train rl/test_train_again ;;
    policies/familiar.c) echo policies/test_familiar ;;
    policies/preference.c) echo policies/test_encoder_parts ;;
    policies/explain.c) echo policies/test_explain ;;
    policies/transformer/lora.* | policies/transformer/bert_adapt.c | policies/transformer/bert_save.c | policies/transformer/bert_tape.c) echo policies/test_bert_fake policies/test_bert_tape policies/test_bert_adapt policies/test_bert_matrix ;;
    policies/encoder_onnx.c | policies/transformer/onnx*) echo policies/test_onnx ;;
    policies/transformer/bert_matrix.c) echo policies/test_bert_matrix ;;
    policies/transformer/peft*) echo policies/test_llama_adapt policies/test_bert_adapt ;;
    policies/transformer/llama_tape.c | policies/transformer/llama_adapt.c | policies/transformer/llama_plan.c | policies/transformer/llama_fake.c) echo policies/test_llama_tape policies/test_llama_taught policies/test_llama_adapt policies/test_llama_plan policies/test_llama_sizes policies/test_llama_fake ;;
    policies/tokens/jinja* | policies/tokens/chat_template.c) echo policies/test_chat_template ;;
    policies/tokens/pattern.c) echo policies/test_bpe policies/test_pattern ;;
    policies/tokens/*) echo policies/test_bpe policies/test_tokenizer ;;
    policies/transformer/sampling.c | policies/transformer/reply.c | policies/transformer/generate.c) echo policies/test_generate ;;
    policies/transformer/llama_run.c | policies/transformer/llama_head.c | policies/transformer/llama_layer.c | policies/transformer/llama_sequence.c | policies/transformer/input_stats.c) echo policies/test_llama_run policies/test_llama_sizes ;;
    policies/transformer/llama*.c | policies/transformer/gguf*.c | policies/transformer/blocks.c | policies/transformer/model_folder.c | policies/transformer/layer_kept.c) echo policies/test_llama policies/test_gguf policies/test_llama_sizes ;;
    policies/transformer/*) echo policies/test_bert policies/test_bert_folder policies/test_bert_matrix policies/test_tokenizer ;;
    policies/qnet.c) echo policies/test_qnet rl/test_learners ;;
    policies/*) echo policies/test_policy policies/test_qnet policies/test_weighting ;;
    rl/judge/ope.c | rl/judge/intervals.c | rl/judge/bootstrap.c) echo rl/test_intervals rl/test_ope rl/test_corrected rl/test_evaluate rl/test_evaluate_tasks rl/test_truth ;;
    rl/judge/agreement.c) echo rl/test_agreement ;;
    rl/judge/corrected.c) echo rl/test_corrected ;;
    rl/judge/review_order.c) echo rl/test_review_order ;;
    rl/judge/compare.c) echo rl/test_compare ;;
    rl/judge/exchange.c) echo rl/test_exchange ;;
    rl/judge/gate.c) echo rl/test_gate ;;
    rl/judge/magic.c) echo rl/test_ope ;;
    rl/judge/bounds.c) echo rl/test_bounds ;;
    rl/judge/fqe.c) echo rl/test_fqe ;;
    rl/judge/answer.c) echo rl/test_answer rl/test_evaluate rl/test_evaluate_tasks ;;
    rl/judge/evaluate*.c) echo rl/test_evaluate rl/test_evaluate_tasks ;;
    rl/judge/overall*.c | rl/judge/ridge_fqe.c) echo rl/test_overall rl/test_evaluate rl/test_evaluate_tasks ;;
    rl/judge/metric_sums.c) echo rl/test_metric_sums rl/test_evaluate rl/test_evaluate_tasks ;;
    rl/search/*) echo rl/test_search ;;
    rl/train/train.c) echo rl/test_train rl/test_train_again ;;
    rl/learn/loss_cost.c) echo rl/test_ordinary rl/test_learners ;;
    rl/learn/learner_config.c | rl/learn/learner_options.h | rl/learn/bcq.c | rl/train/export.c | rl/train/checkpoint.c) echo rl/test_learner rl/test_train rl/test_train_again ;;
    rl/*) echo rl/test_golden rl/test_target rl/test_learner rl/test_learners rl/test_reward_conditioning ;;
    experiments/search/* | experiments/recipe*.c) echo experiments/test_search_plan experiments/test_recipe ;;
    experiments/http.c) echo experiments/test_http ;;
    experiments/http_server.c) echo experiments/test_http_server experiments/test_http_connections ;;
    experiments/serve/monitor.c) echo experiments/test_monitor ;;
    experiments/serve/drift.c) echo experiments/test_drift ;;
    experiments/serve/served_*.c) echo experiments/test_served_log ;;
    experiments/serve/serve_decide.c | experiments/serve/gather.c | experiments/serve/crew.c | experiments/serve/job.c) echo experiments/test_serve ;;
    experiments/serve/openai_*.c | experiments/serve/choose.c | experiments/serve/feedback.c) echo experiments/test_openai ;;
    experiments/serve/sse.c) echo experiments/test_sse ;;
    experiments/serve/upstream_*.c) echo experiments/test_upstream_reply ;;
    experiments/serve/upstream.c) echo experiments/test_upstream ;;
    experiments/http_client.c) echo experiments/test_http_client ;;
    experiments/edge/* | experiments/cli_policy.c | experiments/decision.c) echo experiments/test_keel_decide ;;
    experiments/cmd_verify.c) echo experiments/convert ;;
    experiments/compress_measure.c | experiments/compress_target.c) echo experiments/compress_target experiments/compress ;;
    experiments/compress_*.c | experiments/cmd_compress.c) echo experiments/compress experiments/compress_target ;;
    experiments/review/*) echo experiments/test_review_desk ;;
    esac
}

# First that fails, if any, on one kernel or another.
first_failing() {
    for test in $(tests_of "$1"); do
        (cd "$work/build" && ctest -R "^${test#*/}(_plain|_avx2|_own_kernel|_Haswell|_Sandybridge)?$" --timeout 120 --no-tests=error) \
            >"$work/test.log" 2>&1 || { echo "$test"; return; }
    done
}

build() {
    targets=$(for test in $(tests_of "$1"); do
        case $test in
        */test_*) echo "${test#*/}" ;;
        *) echo keel dump_store ;;
        esac
    done)
    # shellcheck disable=SC2086 # one word per target
    cmake --build "$work/build" --target $targets >"$work/build.log" 2>&1
}

(cd "$here" && git ls-files -coz --exclude-standard | xargs -0 cp --parents -t "$work")
cmake -S "$work" -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Debug >/dev/null
status=0 killed=0 survived=0 previous=none
while IFS='	' read -r file old new; do
    [ -n "$file" ] || continue
    if [ "$file" != "$previous" ]; then
        build "$file" || { tail -n 20 "$work/build.log"; exit 1; }
        failing=$(first_failing "$file")
        [ -z "$failing" ] || { echo "$failing fails as things are"; exit 1; }
        previous=$file
    fi
    cp "$work/$file" "$work/kept"
    if ! OLD=$old NEW=$new awk 'BEGIN { RS = "\001"; old = ENVIRON["OLD"] }
        { at = index($0, old); rest = substr($0, at + length(old)); if (!at || index(rest, old)) exit 1
          printf "%s%s%s", substr($0, 1, at - 1), ENVIRON["NEW"], rest }' "$work/kept" >"$work/$file"; then
        echo "stale     $file: $old"
        status=1
    elif ! build "$file"; then
        echo "no build  $file: $old -> $new"
        status=1
    else
        failing=$(first_failing "$file")
        if [ -n "$failing" ]; then killed=$((killed + 1)); else survived=$((survived + 1)) status=1; fi
        echo "${failing:+killed  }${failing:-survived}  $file: $old -> $new"
    fi
    cp "$work/kept" "$work/$file"
done <<END
$(grep -h -v '^#' "$@" | grep -e "$pattern" | sort -s -t '	' -k 1,1)
END
echo "$killed killed, $survived survived"
exit "$status"
