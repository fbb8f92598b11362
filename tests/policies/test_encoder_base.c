/* An encoder as a base: tuned in every mode, interrupted, saved, loaded, gone on from. The encoder is a tiny
 * one of random weights that knows a few words, which tell danger and refusals apart. */
#define SCRATCH "encoder-base"
#include "encoder_fixture.h"

#include <math.h>
#include <stdlib.h>

#include "policies/compress/compress.h"
#include "policies/encoder_base/file.h"
#include "policies/encoder_base/lesson.h"
#include "policies/transformer/bert_internal.h"
#include "policies/transformer/bert_matrix.h"
#include "policies/transformer/peft.h"

typedef void look(const keel_base *base, const keel_conversation *conversation, const keel_features *features,
                  void *context);

static void look_at(const keel_base *base, const char *of, look *each, void *context) {
    keel_cursor *cursor;
    keel_arena arena = {0};
    keel_conversation *conversation;
    keel_split asked;
    assert_ok(keel_split_parse(of, &asked, &err));
    assert_ok(keel_cursor_open(&cursor, store, &asked, KEEL_ORDER_STORED, &err));
    for (;;) {
        keel_features features;
        keel_arena_reset(&arena);
        assert_ok(keel_cursor_next(cursor, &arena, &conversation, &err));
        if (!conversation) break;
        assert_ok(keel_base_encode_decision(base, conversation, 0, &arena, &features, &err));
        assert_int_equal(features.state_dim, base->state_dim);
        each(base, conversation, &features, context);
    }
    keel_cursor_close(cursor);
    keel_arena_free(&arena);
}

/* ---- what is learned ---- */

typedef struct score {
    size_t n, risk, choice, outcome;
} score;

static void judge(const keel_base *base, const keel_conversation *conversation, const keel_features *features,
                  void *context) {
    score *to = context;
    const bool dangerous = conversation->risk == KEEL_RISK_DANGEROUS;
    double sum = 0;
    to->n++;
    to->risk += (features->state[base->state_dim - 1] > 0) == dangerous;
    for (size_t i = 0; i < features->n_actions; i++) sum += exp((double)features->log_prior[i]);
    assert_float_equal(sum, 1, 1e-5);
    to->choice += (features->log_prior[1] > features->log_prior[0]) == dangerous;
    to->outcome +=
        features->candidates[base->candidate_dim + 1] > features->candidates[1]; /* refusal's log odds */
}

static void risk_outcome_and_choice_are_told_on_new_conversations(void **state) {
    (void)state;
    add_log(48, "a", "train");
    add_log(20, "b", "test");
    for (int mode = KEEL_BERT_FULL; mode <= KEEL_BERT_HEAD; mode++) {
        score s = {0};
        config.mode = mode;
        config.epochs = 6;
        config.tune_candidates = mode == KEEL_BERT_FULL;
        keel_encoder_base *base = tuned("base");
        look_at(&base->base, "test", judge, &s);
        const bool deep =
            mode == KEEL_BERT_FULL || mode == KEEL_BERT_FREEZE; /* what else can learn to compare */
        if (s.risk < 17 || s.outcome < 20 || (deep && s.choice < 17))
            fail_msg("mode %d: risk %zu, outcome %zu, choice %zu of %zu", mode, s.risk, s.outcome, s.choice,
                     s.n);
        keel_base_close(&base->base);
    }
}

static void what_the_mode_freezes_keeps_its_bits(void **state) {
    (void)state;
    add_log(16, "a", "train");
    keel_bert *origin;
    assert_ok(keel_bert_load(&origin, TINY, &err));
    config.frozen_layers = 1;
    for (int mode = KEEL_BERT_FULL; mode <= KEEL_BERT_HEAD; mode++) {
        config.mode = mode;
        keel_encoder_base *base = tuned("base");
        const size_t n = origin->params.count;
        size_t changed = 0, lowest = n;
        for (size_t i = n; i-- > 0;) {
            const keel_param *param = &origin->params.table[i];
            if (memcmp(keel_params_at(&origin->params, i), keel_params_at(&base->bert->params, i),
                       param->rows * param->cols * sizeof(keel_real)) == 0)
                continue;
            changed++;
            lowest = i;
        }
        const size_t expected[] = {0, KEEL_BERT_FIRST_LAYER + KEEL_BERT_LAYER, KEEL_BERT_FIRST_LAYER, n};
        assert_int_equal(lowest, expected[mode]);
        if (mode == KEEL_BERT_LORA)
            assert_int_equal(changed, 8); /* two layers of four matrices, and no bias */
        keel_base_close(&base->base);
    }
    keel_bert_close(origin);
}

/* ---- crossed features ---- */

static void count_crossed(const keel_base *base, const keel_conversation *conversation,
                          const keel_features *features, void *context) {
    const keel_encoder_base *model = (const keel_encoder_base *)base;
    size_t *found = context;
    for (size_t i = 0; i < model->states.n; i++) {
        const float z = (model->states.logits[i] - model->mean[0]) * model->scale[0];
        if (fabsf(z - features->state[1]) > 1e-6f || conversation->risk == KEEL_RISK_UNKNOWN) continue;
        ++*found;
        return;
    }
}

static void the_tuning_split_gets_logits_of_encoders_that_did_not_see_it(void **state) {
    (void)state;
    add_log(24, "a", "train");
    add_log(24, "b", "test");
    size_t seen = 0, fresh = 0;
    keel_encoder_base *base = tuned("base");
    assert_int_equal(base->states.n, 24);
    assert_true(base->base.crossed);
    assert_int_equal(base->candidates.n, 48);
    look_at(&base->base, "train", count_crossed, &seen);
    look_at(&base->base, "test", count_crossed, &fresh);
    assert_int_equal(seen, 24);
    assert_int_equal(fresh, 0);
    keel_base_close(&base->base);
    config.folds = 0;
    base = tuned("base");
    assert_int_equal(base->states.n, 0);
    assert_false(base->base.crossed);
    keel_base_close(&base->base);
}

static void whatever(const keel_base *base, const keel_conversation *conversation,
                     const keel_features *features, void *context) {
    (void)base, (void)conversation, (void)features, (void)context;
}

/* An encoder whose weights are no numbers cannot be asked: nothing that it was tuned on asks it, the answers
 * that are offered beside the candidates included. */
static void what_taught_the_encoder_never_asks_it(void **state) {
    (void)state;
    add_log(12, "a", "train");
    config.common.fixed_answers = 2; /* refusal */
    for (int candidates = KEEL_CANDIDATES_APART; candidates <= KEEL_CANDIDATES_CROSS; candidates++) {
        config.candidates = candidates;
        keel_encoder_base *base = tuned("base");
        assert_int_equal(base->base.n_fixed, 1);
        assert_int_equal(base->candidates.n, 36);
        for (size_t i = 0; i < base->bert->params.size; i++) base->bert->params.data[i] = NAN;
        look_at(&base->base, "train", whatever, NULL);
        keel_base_close(&base->base);
    }
}

/* Whether the crossed logits of a conversation are the same bits in two bases. */
typedef struct twins {
    const keel_encoder_base *a, *b;
    size_t same, other;
    bool own; /* of the conversation that was told otherwise */
} twins;

static void compare(const keel_base *base, const keel_conversation *conversation,
                    const keel_features *features, void *context) {
    twins *to = context;
    keel_arena arena = {0};
    keel_lesson_texts texts;
    (void)features;
    assert_ok(
        keel__encoder_read((const keel_encoder_base *)base, conversation, 3, NULL, 0, &arena, &texts, &err));
    const float *a = keel_crossed_find(&to->a->states, texts.state_key);
    const float *b = keel_crossed_find(&to->b->states, texts.state_key);
    assert_non_null(a);
    assert_non_null(b);
    *(*a == *b ? &to->same : &to->other) += 1;
    if (strcmp(conversation->external_id, "a5") == 0) to->own = *a == *b;
    keel_arena_free(&arena);
}

/* One conversation is told to be benign instead of dangerous: its fold's logits keep their bits, those of the
 * other folds, whose encoders learned from it, do not. */
static void what_a_decision_was_told_does_not_reach_its_own_features(void **state) {
    (void)state;
    add_log(24, "a", "train");
    config.mode = KEEL_BERT_HEAD;
    config.folds = 3;
    twins to = {.a = tuned("told")};
    keel_store_close(store);
    assert_ok(keel_store_open(&store, in("other.db"), KEEL_STORE_CREATE, &err));
    told_otherwise = 5;
    add_log(24, "a", "train");
    keel_encoder_base *b = tuned("told-otherwise");
    to.b = b;
    look_at(&b->base, "train", compare, &to);
    assert_true(to.own);
    assert_true(to.same >= 2 && to.other >= 8);
    keel_base_close((keel_base *)(uintptr_t)to.a);
    keel_base_close(&b->base);
}

static void same_logits(const keel_crossed *a, const keel_crossed *b) {
    assert_true(a->n > 0 && a->n == b->n && a->width == b->width);
    for (size_t i = 0; i < a->n; i++) assert_true(a->key[i] == b->key[i]);
    for (size_t i = 0; i < a->n * a->width; i++) assert_float_equal(a->logits[i], b->logits[i], 0.05);
}

/* Heads alone learn from vectors that are kept, as far as there is memory, and judge their folds by them:
 * what is left out of memory is encoded again, and says the same but for rounding, which AdamW amplifies. */
static void vectors_in_memory_say_what_encoding_again_says(void **state) {
    (void)state;
    enum { N = 3000 };
    add_log(N, "a", "train");
    config.mode = KEEL_BERT_HEAD;
    config.head_epochs = 1;
    config.common.fixed_answers = 2; /* refusal */
    keel_encoder_base *at_hand = tuned("at-hand");
    const size_t vectors = at_hand->bert->config.hidden * sizeof(float) * 4 * N;
    assert_true(vectors > 1 << 20 && vectors < 256 << 20);
    config.common.memory_mb = 1;
    keel_encoder_base *beyond = tuned("beyond");
    same_logits(&at_hand->states, &beyond->states);
    same_logits(&at_hand->candidates, &beyond->candidates);
    keel_base_close(&at_hand->base);
    keel_base_close(&beyond->base);
}

static void a_group_is_in_one_fold(void **state) {
    (void)state;
    one_group = "all of them";
    add_log(24, "a", "train");
    assert_int_equal(tune_from(TINY, "base", 1), KEEL_E_NOT_FOUND);
    contains(err.message, "one fold has all conversations");
}

typedef struct prior_work {
    keel_encoder_base *model;
    size_t n;
} prior_work;

/* Half of each, renormalised: a geometric mean. */
static void check_prior(const keel_base *base, const keel_conversation *conversation,
                        const keel_features *features, void *context) {
    prior_work *to = context;
    keel_encoder_base alone = *to->model;
    keel_features own, other;
    keel_arena arena = {0};
    double sum = 0, expected[2];
    (void)base;
    alone.base.beside = NULL;
    assert_ok(keel_base_encode_decision(&alone.base, conversation, 0, &arena, &own, &err));
    assert_ok(keel_base_encode_decision(to->model->base.beside, conversation, 0, &arena, &other, &err));
    for (size_t i = 0; i < 2; i++)
        sum += expected[i] = sqrt(exp((double)own.log_prior[i]) * exp((double)other.log_prior[i]));
    for (size_t i = 0; i < 2; i++)
        assert_float_equal(exp((double)features->log_prior[i]), (float)(expected[i] / sum), 1e-5);
    to->n += fabs(exp((double)own.log_prior[0]) - exp((double)other.log_prior[0])) > 0.01;
    keel_arena_free(&arena);
}

static void the_prior_is_the_geometric_mean_of_both_bases(void **state) {
    (void)state;
    add_log(16, "a", "train");
    add_log(8, "b", "test");
    config.ngrams = KEEL_BESIDE_YES;
    keel_encoder_base *base = tuned("base");
    prior_work work = {.model = base};
    look_at(&base->base, "test", check_prior, &work);
    assert_true(work.n > 0);
    keel_base_close(&base->base);
}

/* Mean 0 and deviation 1 over the tuning split. */
static void features_are_standardised(void **state) {
    (void)state;
    add_log(24, "a", "train");
    keel_encoder_base *base = tuned("base");
    double sum = 0, square = 0;
    for (size_t i = 0; i < base->states.n; i++) {
        const double z = (double)((base->states.logits[i] - base->mean[0]) * base->scale[0]);
        sum += z;
        square += z * z;
    }
    assert_float_equal(sum / 24, 0, 1e-4);
    assert_float_equal(square / 24, 1, 1e-4);
    keel_base_close(&base->base);
}

static void keep_state(const keel_base *base, const keel_conversation *conversation,
                       const keel_features *features, void *context) {
    float *to = context;
    (void)conversation;
    memcpy(to + (size_t)to[0] * base->state_dim + 1, features->state, base->state_dim * sizeof *to);
    to[0]++;
}

/* Whatever else is in the batch. */
static void a_batch_gives_what_one_decision_gives(void **state) {
    (void)state;
    add_log(16, "a", "train");
    add_log(16, "b", "test");
    config.candidates = KEEL_CANDIDATES_CROSS;
    keel_encoder_base *base = tuned("base");
    static float alone[1 + 64];
    alone[0] = 0;
    look_at(&base->base, "test", keep_state, alone);
    keel_arena arena = {0};
    keel_conversation *conversation[16];
    keel_base_item item[16];
    keel_features features[16];
    keel_cursor *cursor;
    keel_split asked;
    assert_ok(keel_split_parse("test", &asked, &err));
    assert_ok(keel_cursor_open(&cursor, store, &asked, KEEL_ORDER_STORED, &err));
    for (size_t i = 0; i < 16; i++) {
        assert_ok(keel_cursor_next(cursor, &arena, &conversation[i], &err));
        item[i] = (keel_base_item){conversation[i], NULL, 1, &features[i]};
    }
    keel_cursor_close(cursor);
    assert_ok(keel_base_encode(&base->base, item, 16, &arena, &err));
    for (size_t i = 0; i < 16; i++)
        assert_memory_equal(features[i].state, alone + 1 + i * base->base.state_dim,
                            base->base.state_dim * sizeof(float));
    keel_arena_free(&arena);
    keel_base_close(&base->base);
}

/* ---- in 8 bits ---- */

static void in_int8(keel_encoder_base *base) {
    keel_compress_config asked;
    keel_compress_report report = {0};
    const keel_compress_job job = {.config = &asked, .report = &report};
    assert_ok(keel_options_defaults(keel_compress_options, &asked, &err));
    asked.weights = KEEL_COMPRESS_INT8;
    assert_ok(keel_base_compress(&base->base, &job, &err));
    assert_true(report.bytes < report.bytes_before / 2);
    assert_int_equal(keel_bert_matrix(base->bert, keel__bert_row(1, KEEL_BERT_UP)).type, KEEL_MATRIX_I8);
    keel_compress_report_free(&report);
}

static void compressed_it_tells_apart_what_it_told_and_is_the_same_on_disk(void **state) {
    (void)state;
    static float before[1 + 128], after[1 + 128], again[1 + 128];
    before[0] = after[0] = again[0] = 0;
    add_log(20, "a", "train");
    add_log(16, "b", "test");
    keel_encoder_base *base = tuned("base");
    const size_t n = 16 * base->base.state_dim;
    assert_true(n <= 128);
    look_at(&base->base, "test", keep_state, before);
    in_int8(base);
    look_at(&base->base, "test", keep_state, after);
    assert_memory_not_equal(before, after, (1 + n) * sizeof *before);
    for (size_t i = 1; i <= n; i++)
        if (!(fabsf(before[i] - after[i]) < 0.3f))
            fail_msg("%zu: %g, %g", i, (double)before[i], (double)after[i]);
    assert_ok(keel_folder_make(in("int8"), &err));
    assert_ok(keel__encoder_base_save(&base->base, in("int8"), &err));
    keel_base_close(&base->base);
    keel_base *loaded;
    assert_ok(keel__encoder_base_load(&loaded, in("int8"), &err));
    look_at(loaded, "test", keep_state, again);
    assert_memory_equal(again, after, (1 + n) * sizeof *again);
    keel_base_close(loaded);
}

static void what_is_tuned_from_8_bits_is_in_f32(void **state) {
    (void)state;
    keel_bert *bert;
    keel_bert_form form[64] = {0};
    add_log(16, "a", "train");
    config.mode = KEEL_BERT_HEAD;
    assert_ok(keel_bert_load(&bert, TINY, &err));
    for (size_t row = 0; row < keel_bert_rows(bert); row++) form[row].type = KEEL_MATRIX_I8;
    assert_ok(keel_bert_convert(bert, form, NULL, &err));
    assert_ok(keel_folder_make(in("tiny"), &err));
    assert_ok(keel_bert_save(bert, in("tiny"), &err));
    assert_ok(keel_bert_widen(bert, &err));
    assert_ok(tune_from(in("tiny"), "base", 1));
    keel_base *base;
    assert_ok(keel_base_load(&base, in("base"), &err));
    const keel_bert *found = ((keel_encoder_base *)base)->bert;
    assert_null(found->compressed);
    for (size_t row = 0; row < keel_bert_rows(bert); row++) /* heads alone were trained */
        assert_memory_equal(keel_params_at(&found->params, row), keel_params_at(&bert->params, row),
                            bert->params.table[row].rows * bert->params.table[row].cols * sizeof(float));
    keel_base_close(base);
    keel_bert_close(bert);
}

/* ---- going on from one ---- */

static void tuning_goes_on_from_a_tuned_base(void **state) {
    (void)state;
    add_log(20, "a", "train");
    keel_encoder_base *base = tuned("first");
    assert_ok(tune_from(in("first"), "second", 1));
    assert_float_equal(figure("second", "decisions_known_before"), 20, 0);
    config.candidates = KEEL_CANDIDATES_CROSS;
    assert_int_equal(tune_from(in("first"), "third", 1), KEEL_E_CONFLICT);
    contains(err.message, "candidates cannot be changed");
    keel_base_close(&base->base);
}

static void copy_file(const char *from, const char *to, const char *name) {
    char source[512], target[512];
    keel_buf text = {0};
    snprintf(source, sizeof source, "%s/%s", from, name);
    snprintf(target, sizeof target, "%s/%s", to, name);
    assert_ok(keel_file_read(source, 0, &text, &err));
    assert_ok(keel_file_write(target, text.data, text.length, &err));
    keel_buf_free(&text);
}

/* The encoder as it was with the adapter beside it is the tuned encoder. */
static void the_adapter_that_lora_leaves_makes_the_tuned_encoder_again(void **state) {
    (void)state;
    static const char *const files[] = {"config.json", "tokenizer.json", "model.safetensors"};
    static const char *const adapter[] = {"adapter_config.json", "adapter_model.safetensors"};
    char to[512], from[512];
    keel_bert *again;
    add_log(20, "a", "train");
    config.mode = KEEL_BERT_LORA;
    keel_encoder_base *base = tuned("base");
    snprintf(to, sizeof to, "%s", in("again"));
    snprintf(from, sizeof from, "%s/adapter", in("base"));
    assert_ok(keel_folder_make(to, &err));
    for (int i = 0; i < 3; i++) copy_file(TINY, to, files[i]);
    for (int i = 0; i < 2; i++) copy_file(from, to, adapter[i]);
    assert_ok(keel_peft_open(&again, to, &err));
    for (size_t i = 0; i < again->params.count; i++) {
        const keel_param *param = &again->params.table[i];
        assert_memory_equal(keel_params_at(&again->params, i), keel_params_at(&base->bert->params, i),
                            param->rows * param->cols * sizeof(keel_real));
    }
    keel_bert_close(again);
    keel_base_close(&base->base);
}

/* ---- fixed spaces ---- */

static void judge_act(const keel_base *base, const keel_conversation *conversation,
                      const keel_features *features, void *context) {
    size_t *right = context;
    const int32_t refuse = keel_base_act_index(base, "refuse"), answer = keel_base_act_index(base, "answer");
    *right += (features->log_prior[refuse] > features->log_prior[answer]) ==
              (conversation->risk == KEEL_RISK_DANGEROUS);
}

static void acts_are_named_from_what_was_said(void **state) {
    (void)state;
    size_t right = 0;
    add_log(48, "a", "train");
    add_log(20, "b", "test");
    config.common.action_space = 1 + KEEL_SPACE_ACTS;
    config.epochs = 6;
    keel_encoder_base *base = tuned("base");
    assert_int_equal(base->base.state_dim, 2 + base->base.n_acts);
    look_at(&base->base, "test", judge_act, &right);
    if (right < 19) fail_msg("%zu of 20", right);
    keel_base_close(&base->base);
}

/* ---- what is refused ---- */

static void settings_that_leave_nothing_to_learn_are_refused(void **state) {
    (void)state;
    add_log(8, "a", "train");
    config.candidates = KEEL_CANDIDATES_NONE;
    assert_int_equal(tune_from(TINY, "base", 1), KEEL_E_INVALID);
    contains(err.message, "no prior over candidates");
    config.ngrams = KEEL_BESIDE_YES;
    config.risk_weight = 0;
    assert_int_equal(tune_from(TINY, "base", 1), KEEL_E_INVALID);
    contains(err.message, "nothing would be tuned");
    config.risk_weight = 1;
    config.candidates = KEEL_CANDIDATES_APART;
    config.head_epochs = 0;
    assert_int_equal(tune_from(TINY, "base", 1), KEEL_E_INVALID);
    contains(err.message, "without any training");
    assert_int_equal(tune_from("encoder", "base", 1), KEEL_E_USAGE);
    contains(err.hint, "folder");
}

static void more_frozen_layers_than_layers_and_one_fold_are_refused(void **state) {
    (void)state;
    add_log(8, "a", "train");
    config.mode = KEEL_BERT_FREEZE;
    config.frozen_layers = 3;
    assert_int_equal(tune_from(TINY, "base", 1), KEEL_E_USAGE);
    contains(err.message, "has 2 layers, got 3");
    config.frozen_layers = 2;
    assert_ok(tune_from(TINY, "base", 1));
    config.folds = 1;
    assert_int_equal(tune_from(TINY, "base", 1), KEEL_E_USAGE);
    assert_string_equal(err.where, "folds");
}

static void a_model_is_no_base_before_it_is_tuned(void **state) {
    (void)state;
    keel_base *base = NULL;
    assert_int_equal(keel_base_load(&base, TINY, &err), KEEL_E_NOT_FOUND);
    contains(err.message, "a model as it came");
    contains(err.hint, "keel sft --base");
}

static void held_out_groups_leave_some_to_learn_from(void **state) {
    (void)state;
    config.folds = 0;
    config.held_out = 0.5;
    for (size_t i = 0; i < 20; i++) { /* until the group falls to the held-out ones */
        char name[32];
        snprintf(name, sizeof name, "group %zu", i);
        keel_store_close(store);
        assert_ok(keel_store_open(&store, in(name), KEEL_STORE_CREATE, &err));
        one_group = name;
        add_log(4, "a", "train");
        if (tune_from(TINY, "base", 1) == KEEL_E_NOT_FOUND) break;
        err = (keel_err){0};
    }
    contains(err.message, "held_out leaves nothing");
}

/* With a rate that does not fall, a run of as many epochs as the best one ends in the same encoder. */
static void early_stopping_leaves_the_best_epoch(void **state) {
    (void)state;
    add_log(32, "a", "train");
    config.mode = KEEL_BERT_FULL;
    config.tune_candidates = true;
    config.folds = 0;
    config.held_out = 0.3;
    config.schedule = 0; /* constant */
    config.warm_up = 0;
    config.learning_rate = 1e-2;
    config.epochs = 8;
    config.patience = 3;
    keel_encoder_base *longer = tuned("longer");
    const double best = figure("longer", "best_epoch");
    if (!(best >= 1 && best < 8)) fail_msg("the best epoch is %g of 8", best);
    config.epochs = (int64_t)best;
    keel_encoder_base *shorter = tuned("shorter");
    assert_memory_equal(longer->bert->params.data, shorter->bert->params.data,
                        longer->bert->params.size * sizeof(keel_real));
    keel_base_close(&longer->base);
    keel_base_close(&shorter->base);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(risk_outcome_and_choice_are_told_on_new_conversations),
        TEST(what_the_mode_freezes_keeps_its_bits),
        TEST(the_tuning_split_gets_logits_of_encoders_that_did_not_see_it),
        TEST(what_taught_the_encoder_never_asks_it),
        TEST(what_a_decision_was_told_does_not_reach_its_own_features),
        TEST(vectors_in_memory_say_what_encoding_again_says),
        TEST(a_group_is_in_one_fold),
        TEST(the_prior_is_the_geometric_mean_of_both_bases),
        TEST(features_are_standardised),
        TEST(a_batch_gives_what_one_decision_gives),
        TEST(compressed_it_tells_apart_what_it_told_and_is_the_same_on_disk),
        TEST(what_is_tuned_from_8_bits_is_in_f32),
        TEST(tuning_goes_on_from_a_tuned_base),
        TEST(the_adapter_that_lora_leaves_makes_the_tuned_encoder_again),
        TEST(acts_are_named_from_what_was_said),
        TEST(settings_that_leave_nothing_to_learn_are_refused),
        TEST(more_frozen_layers_than_layers_and_one_fold_are_refused),
        TEST(a_model_is_no_base_before_it_is_tuned),
        TEST(held_out_groups_leave_some_to_learn_from),
        TEST(early_stopping_leaves_the_best_epoch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
