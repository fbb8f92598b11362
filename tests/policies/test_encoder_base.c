/* An encoder as a base: tuned in every mode, interrupted, saved, loaded, gone on from. The encoder is a tiny
 * one of random weights that knows a few words, which tell danger and refusals apart. */
#include "fixture.h"

#include <math.h>
#include <stdlib.h>

#include "core/file.h"
#include "core/hash.h"
#include "core/json.h"
#include "policies/base.h"
#include "policies/encode_store.h"
#include "policies/encoder_base/model.h"
#include "policies/sft.h"
#include "policies/transformer/peft.h"
#include "support/interrupt.h"

#define TINY KEEL_SOURCE_DIR "/tests/policies/golden/bert/mean"

static char folder[256];
static keel_store *store;
static keel_split split;
static struct keel_encoder_base_config config;

static const char *in(const char *name) {
    return scratch_path(folder, name);
}

static int set_up(void **state) {
    (void)state;
    interrupt_listen();
    if (!scratch_make(folder, "encoder")) return -1;
    if (keel_store_open(&store, in("logs.db"), KEEL_STORE_CREATE, &err) != KEEL_OK) return -1;
    if (keel_options_defaults(keel_encoder_base_options, &config, &err) != KEEL_OK) return -1;
    config.folds = 2;
    config.candidates = KEEL_CANDIDATES_APART;
    config.ngrams = KEEL_NGRAMS_NO;
    config.epochs = 2;
    config.head_epochs = 20;
    config.learning_rate = 1e-3;
    config.common.fixed_answers = 1; /* none */
    return keel_split_parse("train", &split, &err) == KEEL_OK ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    interrupt_set(false);
    keel_store_close(store);
    return keel_folder_remove(folder, &err);
}

/* Conversation i asks for one thing or another; both an answer and a refusal were given, the right one taken.
 */
static void add_log(size_t n, const char *name, const char *in_split) {
    assert_ok(keel_store_begin(store, &err));
    for (size_t i = 0; i < n; i++) {
        const bool dangerous = i % 2;
        char ask[256], id[32];
        snprintf(id, sizeof id, "%s%zu", name, i);
        snprintf(ask, sizeof ask, "%s %zu %zu",
                 dangerous ? "how do i run the cafe !" : "how do i bake bread ?", i % 7, i % 5);
        keel_turn turns[3] = {{.role = KEEL_ROLE_USER, .text = "how are the bread s"},
                              {.role = KEEL_ROLE_ASSISTANT, .text = "the bread , the re .", .act = "greet"},
                              {.role = KEEL_ROLE_USER, .text = ask}};
        keel_candidate candidates[2] = {{.text = "bake the bread 1 2 3 .", .act = "answer"},
                                        {.text = "unable , unable !", .act = "refuse"}};
        for (int k = 0; k < 2; k++) {
            candidates[k].taken = (k == 1) == dangerous;
            candidates[k].outcome = k ? KEEL_OUTCOME_REFUSAL : KEEL_OUTCOME_COMPLIANCE;
            candidates[k].judge = KEEL_AUTHORITY_HUMAN;
        }
        keel_decision decision = {.turn = 3, .n_candidates = 2, .candidates = candidates};
        keel_conversation conversation = {.source = "chat",
                                          .external_id = id,
                                          .split = in_split,
                                          .n_turns = 3,
                                          .turns = turns,
                                          .risk = dangerous ? KEEL_RISK_DANGEROUS : KEEL_RISK_BENIGN,
                                          .n_decisions = 1,
                                          .decisions = &decision};
        keel_added added;
        assert_ok(keel_store_add_conversation(store, &conversation, false, "test", &added, &err));
    }
    assert_ok(keel_store_commit(store, &err));
}

static keel_status tune_from(const char *spec, const char *name, size_t threads) {
    keel_pool *pool;
    char dir[512];
    snprintf(dir, sizeof dir, "%s", in(name));
    assert_ok(keel_pool_open(&pool, threads, &err));
    keel_status status = keel_sft(store, &split, spec, &config.common, dir, true, NULL, pool, &err);
    keel_pool_close(pool);
    return status;
}

static keel_encoder_base *tuned(const char *name) {
    keel_base *base = NULL;
    assert_ok(tune_from(TINY, name, 1));
    assert_ok(keel_base_load(&base, in(name), &err));
    return (keel_encoder_base *)base;
}

static void same_artefact(const char *a, const char *b) {
    static const char *const names[] = {"keel.json", "model.safetensors", "heads.safetensors",
                                        "encoder.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char one[512], other[512], first[65], second[65];
        snprintf(one, sizeof one, "%s/%s/%s", folder, a, names[i]);
        snprintf(other, sizeof other, "%s/%s/%s", folder, b, names[i]);
        assert_ok(keel_file_hash(one, first, &err));
        assert_ok(keel_file_hash(other, second, &err));
        if (strcmp(first, second) != 0) fail_msg("%s differs between %s and %s", names[i], a, b);
    }
}

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
        keel__encoder_base_close(&base->base);
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
        keel__encoder_base_close(&base->base);
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
    assert_int_equal(base->candidates.n, 48);
    look_at(&base->base, "train", count_crossed, &seen);
    look_at(&base->base, "test", count_crossed, &fresh);
    assert_int_equal(seen, 24);
    assert_int_equal(fresh, 0);
    keel__encoder_base_close(&base->base);
    config.folds = 0;
    base = tuned("base");
    assert_int_equal(base->states.n, 0);
    keel__encoder_base_close(&base->base);
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
    keel__encoder_base_close(&base->base);
}

/* ---- the same bytes ---- */

static void any_number_of_threads_gives_the_same_bytes(void **state) {
    (void)state;
    add_log(20, "a", "train");
    config.ngrams = KEEL_NGRAMS_YES;
    config.held_out = 0.2;
    assert_ok(tune_from(TINY, "one", 1));
    assert_ok(tune_from(TINY, "three", 3));
    same_artefact("one", "three");
}

static void a_run_interrupted_again_and_again_ends_in_the_same_bytes(void **state) {
    (void)state;
    add_log(20, "a", "train");
    config.mode = KEEL_BERT_LORA;
    config.lora_dropout = 0.2;
    config.held_out = 0.2;
    config.checkpoint_every = 3;
    assert_ok(tune_from(TINY, "whole", 1));
    size_t cuts = 0;
    for (long at = 20;; at += 17) {
        interrupt_set(false);
        interrupt_at(at);
        keel_status status = tune_from(TINY, "cut", 1);
        interrupt_at(0);
        interrupt_set(false);
        if (status == KEEL_OK) break;
        assert_int_equal(status, KEEL_E_INTERRUPTED);
        cuts++;
    }
    assert_true(cuts >= 2);
    same_artefact("whole", "cut");
}

static void tuning_goes_on_from_a_tuned_base(void **state) {
    (void)state;
    add_log(20, "a", "train");
    keel_encoder_base *base = tuned("first");
    assert_ok(tune_from(in("first"), "second", 1));
    config.candidates = KEEL_CANDIDATES_CROSS;
    assert_int_equal(tune_from(in("first"), "third", 1), KEEL_E_CONFLICT);
    contains(err.message, "candidates cannot be changed");
    keel__encoder_base_close(&base->base);
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
    keel__encoder_base_close(&base->base);
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
    keel__encoder_base_close(&base->base);
}

/* ---- what is refused ---- */

static void settings_that_leave_nothing_to_learn_are_refused(void **state) {
    (void)state;
    add_log(8, "a", "train");
    config.candidates = KEEL_CANDIDATES_NONE;
    assert_int_equal(tune_from(TINY, "base", 1), KEEL_E_INVALID);
    contains(err.message, "no prior over candidates");
    config.ngrams = KEEL_NGRAMS_YES;
    config.risk_weight = 0;
    assert_int_equal(tune_from(TINY, "base", 1), KEEL_E_INVALID);
    contains(err.message, "nothing would be tuned");
    assert_int_equal(tune_from("encoder", "base", 1), KEEL_E_USAGE);
    contains(err.hint, "folder");
}

static void what_is_cut_is_counted(void **state) {
    (void)state;
    add_log(8, "a", "train");
    config.state_tokens = 12;
    assert_ok(tune_from(TINY, "base", 1));
    cJSON *manifest;
    char path[512];
    snprintf(path, sizeof path, "%s/base/keel.json", folder);
    assert_ok(keel_json_parse_file(path, &manifest, &err));
    const cJSON *metrics = keel_json_get(manifest, "metrics");
    assert_float_equal(cJSON_GetNumberValue(keel_json_get(metrics, "decisions_cut")), 8, 0);
    assert_true(cJSON_GetNumberValue(keel_json_get(metrics, "tokens_cut")) >= 8);
    cJSON_Delete(manifest);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(risk_outcome_and_choice_are_told_on_new_conversations),
        TEST(what_the_mode_freezes_keeps_its_bits),
        TEST(the_tuning_split_gets_logits_of_encoders_that_did_not_see_it),
        TEST(a_batch_gives_what_one_decision_gives),
        TEST(any_number_of_threads_gives_the_same_bytes),
        TEST(a_run_interrupted_again_and_again_ends_in_the_same_bytes),
        TEST(tuning_goes_on_from_a_tuned_base),
        TEST(the_adapter_that_lora_leaves_makes_the_tuned_encoder_again),
        TEST(acts_are_named_from_what_was_said),
        TEST(settings_that_leave_nothing_to_learn_are_refused),
        TEST(what_is_cut_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
