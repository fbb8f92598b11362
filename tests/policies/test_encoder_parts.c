/* The encoder base by its parts: what it reads of a text, its loss, its logits, its files. The encoder is a
 * tiny one of random weights. */
#include "fixture.h"

#include <math.h>

#include "policies/encoder_base/file.h"
#include "policies/encoder_base/loss.h"
#include "policies/encoder_base/near.h"
#include "policies/preference.h"
#include "support/faults.h"

#define TINY KEEL_SOURCE_DIR "/tests/policies/golden/bert/mean"
enum { HIDDEN = 24 };

static char folder[256];
static struct keel_encoder_base_config config;
static keel_encoder_base *model;
static keel_arena arena;
static keel_encoder_shard shard;

static void open_model(void) {
    const keel_base_space space = {.space = KEEL_SPACE_CANDIDATES};
    keel_bert *bert;
    assert_ok(keel_bert_load(&bert, TINY, &err));
    assert_ok(keel__encoder_base_make(&model, &config, bert, &space, NULL, &err));
    model->split = "train";
    for (size_t i = 0; i < model->n_state + model->n_candidate; i++) model->scale[i] = 1;
}

static int set_up(void **state) {
    (void)state;
    arena = (keel_arena){0};
    shard = (keel_encoder_shard){0};
    if (!scratch_make(folder, "encoder-parts")) return -1;
    if (keel_options_defaults(keel_encoder_base_options, &config, &err) != KEEL_OK) return -1;
    config.candidates = KEEL_CANDIDATES_APART;
    config.ngrams = KEEL_BESIDE_NO;
    return keel_tape_open(&shard.tape, &err) == KEEL_OK ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    if (model) keel_base_close(&model->base);
    model = NULL;
    keel_tape_close(shard.tape);
    keel_arena_free(&shard.arena);
    keel_arena_free(&arena);
    return keel_folder_remove(folder, &err);
}

/* ---- texts ---- */

static void whole_turns_from_the_last_back_are_read_and_the_rest_is_counted(void **state) {
    (void)state;
    keel_turn turns[] = {{.role = KEEL_ROLE_USER, .text = "bread bread"},
                         {.role = KEEL_ROLE_ASSISTANT, .text = "the the the"},
                         {.role = KEEL_ROLE_USER, .text = "how do i bake"}};
    keel_conversation conversation = {.external_id = "1", .n_turns = 3, .turns = turns};
    static const struct {
        size_t tokens, n, cut;
    } cases[] = {{31, 2 + 4 + 1 + 3 + 1 + 2, 0}, /* [CLS], turns with [SEP] between, [SEP] */
                 {13, 13, 0},
                 {12, 2 + 4 + 1 + 3, 2},
                 {9, 2 + 4, 3}, /* and what is before is not looked at */
                 {5, 5, 1 + 3}};
    open_model();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        keel_lesson_texts texts;
        model->config.state_tokens = (int64_t)cases[i].tokens;
        assert_ok(keel__encoder_read(model, &conversation, 3, NULL, 0, &arena, &texts, &err));
        assert_int_equal(texts.state.n, cases[i].n);
        assert_int_equal(texts.state.cut, cases[i].cut);
    }
}

static void a_text_has_one_key_in_its_group_and_another_in_another(void **state) {
    (void)state;
    keel_turn turn = {.role = KEEL_ROLE_USER, .text = "how do i bake"};
    keel_candidate candidates[] = {{.text = "bread"}, {.text = "the"}, {.text = "bread"}};
    keel_conversation a = {.external_id = "1", .group = "g", .n_turns = 1, .turns = &turn}, b = a, c = a;
    keel_lesson_texts of[3];
    b.external_id = "2";
    c.group = "h";
    open_model();
    assert_ok(keel__encoder_read(model, &a, 1, candidates, 3, &arena, &of[0], &err));
    assert_ok(keel__encoder_read(model, &b, 1, candidates, 3, &arena, &of[1], &err));
    assert_ok(keel__encoder_read(model, &c, 1, candidates, 3, &arena, &of[2], &err));
    assert_true(of[0].state_key == of[1].state_key && of[0].state_key != of[2].state_key);
    assert_true(of[0].candidate_key[0] == of[0].candidate_key[2]);
    assert_true(of[0].candidate_key[0] != of[0].candidate_key[1]);
    assert_true(of[0].candidate_key[0] == of[1].candidate_key[0]);
    assert_true(of[0].candidate_key[0] != of[2].candidate_key[0]);
}

static void of_equal_keys_the_first_stays_and_others_are_found(void **state) {
    (void)state;
    static const int64_t key[] = {7, -3, 7, 9, -3};
    static const float logits[] = {1, 2, 3, 4, 5};
    keel_crossed table;
    assert_ok(keel_crossed_make(&table, key, logits, 5, 1, &arena, &err));
    assert_int_equal(table.n, 3);
    assert_float_equal(*keel_crossed_find(&table, 7), 1, 0);
    assert_float_equal(*keel_crossed_find(&table, -3), 2, 0);
    assert_float_equal(*keel_crossed_find(&table, 9), 4, 0);
    assert_null(keel_crossed_find(&table, 8));
    assert_null(keel_crossed_find(&table, 10));
}

/* ---- labels ---- */

static void feedback_decides_which_is_better_and_else_what_was_taken(void **state) {
    (void)state;
    keel_candidate candidates[] = {{.text = "a", .taken = true, .feedback = {.present = true, .value = 1}},
                                   {.text = "b", .feedback = {.present = true, .value = 2}},
                                   {.text = "c", .taken = true}};
    keel_decision decision = {.n_candidates = 3, .candidates = candidates};
    keel_conversation conversation = {.n_decisions = 1, .decisions = &decision};
    open_model();
    assert_false(keel_preference(&candidates[0], &candidates[1]));
    assert_true(keel_preference(&candidates[1], &candidates[0]));
    assert_false(keel_preference(&candidates[0], &candidates[2])); /* both were taken */
    assert_true(keel_preference(&candidates[2], &candidates[1]));
    assert_false(keel_preference(&candidates[2], &candidates[2]));
    assert_int_equal(keel__encoder_labels(model, &conversation, 0, NULL).n_pairs, 2);
}

static void one_candidate_alone_is_not_ranked(void **state) {
    (void)state;
    keel_candidate candidate = {.text = "a", .taken = true};
    keel_decision decision = {.n_candidates = 1, .candidates = &candidate};
    keel_conversation conversation = {.n_decisions = 1, .decisions = &decision};
    config.candidates = KEEL_CANDIDATES_CROSS;
    open_model();
    const keel_encoder_labels labels = keel__encoder_labels(model, &conversation, 0, NULL);
    assert_int_equal(keel__encoder_terms(model, &labels, KEEL_HEAD_RANK), 0);
    model->config.candidates = KEEL_CANDIDATES_APART; /* there are those of other decisions */
    assert_int_equal(keel__encoder_terms(model, &labels, KEEL_HEAD_RANK), 1);
}

/* ---- the loss ---- */

enum { MOST = 3000 };
static keel_candidate many[MOST];
static keel_reading readings[MOST];
static float vectors[(1 + MOST) * HIDDEN];

/* A lesson of n candidates on vectors that are given, each of a text of its own; the first was taken. */
static keel_encoder_lesson lesson_of(const keel_decision *decision, size_t n) {
    const keel_conversation conversation = {
        .risk = KEEL_RISK_DANGEROUS, .n_decisions = 1, .decisions = (keel_decision *)(uintptr_t)decision};
    for (size_t i = 0; i < (1 + n) * HIDDEN; i++) vectors[i] = sinf((float)i);
    for (size_t i = 0; i < n; i++) readings[i] = (keel_reading){.hash = i};
    return (keel_encoder_lesson){.texts = {.n_candidates = n, .candidate = readings},
                                 .labels = keel__encoder_labels(model, &conversation, 0, NULL),
                                 .vectors = vectors};
}

static keel_status loss_of(const keel_encoder_lesson *lesson, size_t n, keel_real *grads) {
    const size_t first = keel_bert_first_head(model->bert);
    keel_encoder_batch batch = {
        .model = model,
        .training = {.trained = keel_params_from(&model->bert->params, first), .first = first},
        .lesson = lesson,
        .n = n};
    for (int h = 0; h < KEEL_N_HEADS; h++)
        for (size_t i = 0; i < n; i++)
            batch.divisor[h] += (double)keel__encoder_terms(model, &lesson[i].labels, h);
    return keel__encoder_loss(&batch, 0, n, grads, NULL, &shard, &err);
}

static void a_loss_without_memory_is_an_error_and_never_a_smaller_one(void **state) {
    (void)state;
    for (size_t i = 0; i < MOST; i++)
        many[i] = (keel_candidate){.text = "", .taken = i == 0, .outcome = (keel_outcome)(1 + i % 3)};
    const keel_decision decision = {.n_candidates = MOST, .candidates = many};
    config.preference_weight = 1;
    open_model();
    const keel_encoder_lesson lesson = lesson_of(&decision, MOST);
    const size_t size = keel_params_from(&model->bert->params, keel_bert_first_head(model->bert)).size;
    keel_real *whole = keel_arena_calloc(&arena, 2 * size, sizeof *whole), *grads = whole + size;
    double part[KEEL_N_HEADS];
    size_t total = 1, refused = 0;
    for (size_t at = 0; at <= total; at++) { /* the first without a fault */
        faults state_of;
        keel_tape_close(shard.tape);
        keel_arena_free(&shard.arena);
        shard = (keel_encoder_shard){0};
        assert_ok(keel_tape_open(&shard.tape, &err));
        faults_begin(&state_of, at);
        state_of.alone = true;
        keel_status status = loss_of(&lesson, 1, at ? grads : whole);
        faults_end();
        if (at == 0) {
            assert_int_equal(status, KEEL_OK);
            total = state_of.calls;
            memcpy(part, shard.part, sizeof part);
        }
        refused += status == KEEL_E_NOMEM;
        if (status == KEEL_E_NOMEM || at == 0) continue;
        assert_int_equal(status, KEEL_OK);
        assert_memory_equal(part, shard.part, sizeof part);
        assert_memory_equal(whole, grads, size * sizeof *grads);
    }
    assert_true(refused > 4);
}

/* Heads that are zero know nothing: the loss of a name is ln of the number of names, smoothed or not. */
static void smoothing_spreads_a_share_of_the_label(void **state) {
    (void)state;
    many[0] = (keel_candidate){.text = "", .taken = true, .outcome = KEEL_OUTCOME_REFUSAL};
    many[1] = (keel_candidate){.text = "", .outcome = KEEL_OUTCOME_NONE};
    const keel_decision decision = {.n_candidates = 2, .candidates = many};
    config.label_smoothing = 0.3;
    open_model();
    const size_t row = keel__encoder_head(model, KEEL_HEAD_OUTCOME) + 1;
    const float bias[3] = {0, 1, 2};
    memcpy(keel_params_at(&model->bert->params, row), bias, sizeof bias);
    keel_params_at(&model->bert->params, keel__encoder_head(model, KEEL_HEAD_RISK) + 1)[0] = 1;
    keel_encoder_lesson lesson = lesson_of(&decision, 2);
    assert_ok(loss_of(&lesson, 1, NULL));
    const double all = log(1 + exp(1) + exp(2));
    const int refusal = KEEL_OUTCOME_REFUSAL - 1;
    assert_float_equal(shard.part[KEEL_HEAD_OUTCOME], (float)(all - 0.7 * refusal - 0.1 * (0 + 1 + 2)), 1e-5);
    assert_float_equal(shard.part[KEEL_HEAD_RISK], (float)(log1p(exp(1)) - 0.85), 1e-5);
    assert_float_equal(shard.part[KEEL_HEAD_PREFERENCE], log(2), 1e-5);
}

/* As a wrong answer to the other's state it would contradict the right one to its own. */
static void the_same_text_elsewhere_in_the_shard_is_no_wrong_answer(void **state) {
    (void)state;
    many[0] = (keel_candidate){.text = "", .taken = true};
    many[1] = (keel_candidate){.text = ""};
    const keel_decision decision = {.n_candidates = 2, .candidates = many};
    open_model();
    const keel_encoder_lesson lesson = lesson_of(&decision, 2);
    keel_encoder_lesson both[2] = {lesson, lesson};
    assert_ok(loss_of(&lesson, 1, NULL));
    const double alone = shard.part[KEEL_HEAD_RANK];
    assert_ok(loss_of(both, 2, NULL));
    assert_float_equal(shard.part[KEEL_HEAD_RANK], alone, 1e-5);
    keel_reading other[2] = {{.hash = 5}, {.hash = 6}};
    both[1].texts.candidate = other;
    assert_ok(loss_of(both, 2, NULL));
    assert_true(shard.part[KEEL_HEAD_RANK] > alone + 0.1);
}

/* ---- logits ---- */

/* Twelve units of three kinds in turn; a batch of five is cut into shards of three and two. */
static void near_states_come_into_one_shard(void **state) {
    (void)state;
    enum { N = 12, BATCH = 5, SHARD = 3 };
    static const float kinds[3][2] = {{1, 0}, {0, 2}, {-3, 0.1f}};
    const float *vector[N];
    size_t unit[N], at = 0;
    bool there[N] = {false};
    for (size_t i = 0; i < N; i++) {
        vector[i] = kinds[i % 3];
        unit[i] = N - 1 - i;
    }
    keel__encoder_order_near(unit, N, vector, 2, BATCH, SHARD);
    for (size_t i = 0; i < N; i++) there[unit[i]] = true;
    for (size_t i = 0; i < N; i++) assert_true(there[i]);
    static const size_t expected[N] = {11, 8, 5, 10, 7, 9, 6, 3, 4, 1, 2, 0};
    assert_memory_equal(unit, expected, sizeof unit);
    /* one without a vector is near to none, and is not lost */
    vector[11] = NULL;
    for (size_t i = 0; i < N; i++) unit[i] = N - 1 - i;
    keel__encoder_order_near(unit, N, vector, 2, BATCH, SHARD);
    for (at = 0; unit[at] != 11;) at++;
    assert_int_equal(at, 0);
    assert_int_equal(unit[1], 10); /* in order where nothing is near */
}

static void logits_of_an_outcome_are_log_odds(void **state) {
    (void)state;
    static const float bias[3] = {0.5f, -1, 2}, nothing[HIDDEN];
    float out[4];
    open_model();
    memcpy(keel_params_at(&model->bert->params, keel__encoder_head(model, KEEL_HEAD_OUTCOME) + 1), bias,
           sizeof bias);
    keel__encoder_candidate_logits(model, nothing, nothing, out);
    const double sum = exp(0.5) + exp(-1) + exp(2);
    const double refusal = exp((double)bias[KEEL_OUTCOME_REFUSAL - 1]) / sum,
                 compliance = exp((double)bias[KEEL_OUTCOME_COMPLIANCE - 1]) / sum;
    assert_float_equal(out[0], log(refusal / (1 - refusal)), 1e-5);
    assert_float_equal(out[1], log(compliance / (1 - compliance)), 1e-5);
}

/* ---- files ---- */

static keel_status load(void) {
    keel_base *base = NULL;
    keel_status status = keel__encoder_base_load(&base, folder, &err);
    if (base) keel_base_close(base);
    return status;
}

/* Room for as many rows as there are keys is made only once the rows are there. */
static void keys_without_their_rows_are_refused(void **state) {
    (void)state;
    enum { N = 512 };
    static int64_t keys[N];
    static const keel_dtype dtype[] = {KEEL_U8, KEEL_I64};
    for (size_t i = 0; i < N; i++) keys[i] = (int64_t)i;
    char path[512];
    open_model();
    snprintf(path, sizeof path, "%s/heads.safetensors", folder);
    for (size_t i = 0; i < 2; i++) {
        keel_safetensors file;
        keel_named_tensor all[16];
        const size_t n = i ? N : sizeof keys;
        assert_ok(keel__encoder_base_save(&model->base, folder, &err));
        assert_ok(load());
        assert_ok(keel_safetensors_read(path, &file, &err));
        memcpy(all, file.tensors, file.count * sizeof *all);
        all[file.count] = (keel_named_tensor){"state.key", dtype[i], 1, {n}, keys, sizeof keys};
        all[file.count + 1] = (keel_named_tensor){"state.logits", KEEL_F32, 2, {n, 0}, keys, 0};
        assert_ok(keel_safetensors_write(path, all, file.count + 2, NULL, &err));
        keel_safetensors_free(&file);
        assert_int_equal(load(), KEEL_E_INVALID);
        contains(err.message, "does not fit its keys");
    }
}

static void a_space_of_outcomes_has_all_three(void **state) {
    (void)state;
    char path[512];
    cJSON *json, *acts;
    open_model();
    assert_ok(keel__encoder_base_save(&model->base, folder, &err));
    snprintf(path, sizeof path, "%s/encoder.json", folder);
    assert_ok(keel_json_parse_file(path, &json, &err));
    cJSON_ReplaceItemInObject(json, "action_space", cJSON_CreateString("outcomes"));
    cJSON_ReplaceItemInObject(json, "acts", acts = cJSON_CreateArray());
    cJSON_AddItemToArray(acts, cJSON_CreateString("refusal"));
    assert_ok(keel_json_write_file(path, json, &err));
    cJSON_Delete(json);
    assert_int_equal(load(), KEEL_E_INVALID);
    contains(err.message, "expected the 3 outcomes");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(whole_turns_from_the_last_back_are_read_and_the_rest_is_counted),
        TEST(a_text_has_one_key_in_its_group_and_another_in_another),
        TEST(of_equal_keys_the_first_stays_and_others_are_found),
        TEST(feedback_decides_which_is_better_and_else_what_was_taken),
        TEST(one_candidate_alone_is_not_ranked),
        TEST(a_loss_without_memory_is_an_error_and_never_a_smaller_one),
        TEST(smoothing_spreads_a_share_of_the_label),
        TEST(the_same_text_elsewhere_in_the_shard_is_no_wrong_answer),
        TEST(near_states_come_into_one_shard),
        TEST(logits_of_an_outcome_are_log_odds),
        TEST(keys_without_their_rows_are_refused),
        TEST(a_space_of_outcomes_has_all_three),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
