#define SCRATCH "sft"
#include "sft_fixture.h"

#include <math.h>
#include <stdlib.h>

#include "core/hash.h"
#include "policies/encode_store.h"
#include "policies/ngram_base/encode.h"
#include "support/threads.h"

static struct keel_ngram_base_config config;

static int set_up(void **state) {
    (void)state;
    if (keel_options_defaults(keel_ngram_base_options, &config, &err) != KEEL_OK) return -1;
    config.min_updates = 300;
    config.buckets = 4096;
    config.dim = config.features = 16;
    return open_store();
}

static keel_status tune_from(const char *spec, const char *out, size_t threads) {
    keel_pool *pool;
    char dir[512];
    snprintf(dir, sizeof dir, "%s", out);
    assert_ok(keel_pool_open(&pool, threads, &err));
    keel_status status = keel_sft(store, &split, spec, &config.common, dir, true, NULL, pool, &err);
    keel_pool_close(pool);
    return status;
}

static keel_status tune(const char *out, size_t threads) {
    return tune_from("builtin", out, threads);
}

static void same_artefact(const char *a, const char *b) {
    same_file(a, b, "keel.json");
    same_file(a, b, "model.safetensors");
    same_file(a, b, "config.json");
    same_file(a, b, "tokenizer.json");
}

/* Share of the split's decisions at which the prior's favourite is what was logged. */
static double agreement(const keel_base *base) {
    keel_cursor *cursor;
    keel_arena arena = {0};
    keel_conversation *conversation;
    double right = 0, n = 0;
    assert_ok(keel_cursor_open(&cursor, store, &split, KEEL_ORDER_STORED, &err));
    for (;;) {
        keel_arena_reset(&arena);
        assert_ok(keel_cursor_next(cursor, &arena, &conversation, &err));
        if (!conversation) break;
        for (size_t d = 0; d < conversation->n_decisions; d++) {
            const keel_decision *decision = &conversation->decisions[d];
            keel_features features;
            size_t best = 0;
            double sum = 0;
            assert_ok(keel_base_encode_decision(base, conversation, d, &arena, &features, &err));
            assert_int_equal(features.state_dim, base->state_dim);
            for (size_t a = 0; a < features.n_actions; a++) {
                if (features.log_prior[a] > features.log_prior[best]) best = a;
                sum += exp(features.log_prior[a]);
            }
            assert_float_equal(sum, 1, 1e-5);
            if (base->space == KEEL_SPACE_CANDIDATES)
                right += decision->candidates[best].taken;
            else if (base->space == KEEL_SPACE_ACTS)
                right += strcmp(base->acts[best], decision->candidates[0].act) == 0;
            n++;
        }
    }
    keel_cursor_close(cursor);
    keel_arena_free(&arena);
    return right / n;
}

static void logged_responses_are_ranked_above_others_in_both_languages(void **state) {
    (void)state;
    keel_base *base = NULL;
    add_sets(store, 60, "train");
    config.common.seed = 2; /* of seven seeds six rank all of them right, and the first 95 % */
    assert_ok(tune(in("base"), 1));
    assert_ok(keel_base_load(&base, in("base"), &err));
    assert_int_equal(base->space, KEEL_SPACE_CANDIDATES);
    double share = agreement(base);
    if (share < 0.95) fail_msg("%.3f of the decisions agree with the log", share);
    keel_base_close(base);
}

static void acts_are_named_from_what_was_said(void **state) {
    (void)state;
    keel_base *base = NULL;
    add_acts(store, 48, "train", true);
    assert_ok(tune(in("base"), 2));
    assert_ok(keel_base_load(&base, in("base"), &err));
    assert_int_equal(base->space, KEEL_SPACE_ACTS);
    assert_int_equal(base->n_acts, 3);
    assert_int_equal(keel_base_act_index(base, "refuse"), 2);
    assert_int_equal(keel_base_act_index(base, "sing"), -1);
    double share = agreement(base);
    if (share < 0.95) fail_msg("%.3f of the decisions agree with the log", share);
    keel_base_close(base);
}

static void the_bytes_do_not_depend_on_the_threads(void **state) {
    (void)state;
    add_sets(store, 40, "train");
    assert_ok(tune(in("one"), 1));
    assert_ok(tune(in("two"), 2));
    same_artefact("one", "two");
    config.common.seed = 2;
    assert_ok(tune(in("three"), 1));
    char a[65], b[65];
    assert_ok(keel_file_hash(in("one/model.safetensors"), a, &err));
    assert_ok(keel_file_hash(in("three/model.safetensors"), b, &err));
    assert_string_not_equal(a, b);
}

static void a_small_memory_gives_the_same_bytes(void **state) {
    (void)state;
    add_sets(store, 40, "train");
    assert_ok(tune(in("one"), 1));
    config.common.memory_mb = 1;
    assert_ok(tune(in("two"), 1));
    same_file("one", "two", "model.safetensors");
}

/* An allocator that raises the interrupt flag at its n-th call: a run is cut at a place that repeats. */
typedef struct cutter {
    size_t calls, cut_at;
} cutter;

static void *cutter_resize(void *user, void *old, size_t bytes) {
    cutter *state = user;
    if (++state->calls == state->cut_at) interrupt_set(true);
    return realloc(old, bytes);
}

static void cutter_release(void *user, void *old) {
    (void)user;
    free(old);
}

static keel_status tune_until(const char *out, size_t cut_at, size_t *calls) {
    cutter state = {.cut_at = cut_at};
    keel_context context = *keel_context_current();
    context.allocator = (keel_allocator){cutter_resize, cutter_release, &state, NULL};
    const keel_context *before = keel_context_use(&context);
    keel_status status = tune(out, 1);
    keel_context_use(before);
    interrupt_set(false);
    if (calls) *calls = state.calls;
    return status;
}

static void a_run_interrupted_again_and_again_ends_in_the_same_bytes(void **state) {
    (void)state;
    size_t calls, cuts = 0, checkpoints = 0;
    add_sets(store, 40, "train");
    config.checkpoint_every = 7;
    assert_ok(tune_until(in("whole"), 0, &calls));
    for (size_t cut_at = calls / 4;; cut_at += calls / 12, cuts++) {
        keel_status status = tune_until(in("cut"), cut_at, NULL);
        if (status == KEEL_OK) break;
        assert_int_equal(status, KEEL_E_INTERRUPTED);
        assert_false(keel_file_is_folder(in("cut")));
        checkpoints += keel_file_exists(in(".cut.checkpoint"));
    }
    assert_true(cuts >= 2);
    assert_true(checkpoints >= 1);
    same_artefact("whole", "cut");
    assert_false(keel_file_exists(in(".cut.checkpoint")));
}

static void a_split_without_supervision_says_what_is_missing(void **state) {
    (void)state;
    add_acts(store, 6, "train", false);
    config.common.action_space = 3; /* outcomes */
    assert_int_equal(tune(in("base"), 1), KEEL_E_NOT_FOUND);
    contains(err.hint, "keel label");
    config.common.action_space = 2; /* acts */
    assert_int_equal(tune(in("base"), 1), KEEL_E_NOT_FOUND);
    contains(err.message, "dialogue act");
    assert_false(keel_file_is_folder(in("base")));
}

/* A log of one response a prompt: the response is the action, and a refusal is offered beside it. */
static void a_log_of_one_response_a_prompt_gets_a_refusal_beside_it(void **state) {
    (void)state;
    keel_base *base = NULL;
    keel_features features;
    keel_arena scratch = {0};
    keel_turn turn = {.role = KEEL_ROLE_USER, .text = "Hello?"};
    keel_candidate said = {.text = "Hello."};
    keel_decision decision = {.turn = 1, .n_candidates = 1, .candidates = &said};
    keel_conversation one = {.n_turns = 1, .turns = &turn, .n_decisions = 1, .decisions = &decision};
    add_acts(store, 6, "train", false);
    assert_ok(tune(in("base"), 1));
    assert_ok(keel_base_load(&base, in("base"), &err));
    assert_int_equal(base->space, KEEL_SPACE_CANDIDATES);
    assert_int_equal(base->n_fixed, 1);
    assert_int_equal(base->fixed[0].outcome, KEEL_OUTCOME_REFUSAL);
    assert_ok(keel_base_encode_decision(base, &one, 0, &scratch, &features, &err));
    assert_int_equal(features.n_actions, 2);
    assert_true(features.log_prior[0] < 0 && features.log_prior[1] < 0);
    decision.n_candidates = 0; /* an open prompt: the refusal alone */
    assert_ok(keel_base_encode_decision(base, &one, 0, &scratch, &features, &err));
    assert_int_equal(features.n_actions, 1);
    keel_base_close(base);
    config.common.fixed_answers = 1; /* none */
    assert_ok(tune(in("none"), 1));
    assert_ok(keel_base_load(&base, in("none"), &err));
    assert_int_equal(base->n_fixed, 0);
    assert_int_equal(keel_base_encode_decision(base, &one, 0, &scratch, &features, &err), KEEL_E_INVALID);
    keel_base_close(base);
    keel_arena_free(&scratch);
}

static void a_log_without_responses_is_an_error(void **state) {
    (void)state;
    keel_turn turn = {.role = KEEL_ROLE_USER, .text = "Hello?"};
    keel_candidate candidates[2] = {{.text = "Hello."}, {.text = "No."}};
    keel_decision decision = {.turn = 1, .n_candidates = 2, .candidates = candidates};
    keel_conversation conversation = {.source = "chat",
                                      .external_id = "open",
                                      .split = "train",
                                      .n_turns = 1,
                                      .turns = &turn,
                                      .n_decisions = 1,
                                      .decisions = &decision};
    keel_added added;
    assert_ok(keel_store_begin(store, &err));
    assert_ok(keel_store_add_conversation(store, &conversation, false, "test", &added, &err));
    assert_ok(keel_store_commit(store, &err));
    assert_int_equal(tune(in("base"), 1), KEEL_E_NOT_FOUND);
    contains(err.message, "none of 1 decisions has a logged response");
}

static void an_unknown_split_or_base_is_named(void **state) {
    (void)state;
    add_sets(store, 6, "train");
    assert_int_equal(tune_from(in("nowhere"), in("base"), 1), KEEL_E_NOT_FOUND);
    contains(err.where, "nowhere");
    assert_ok(keel_split_parse("test", &split, &err));
    assert_int_equal(tune(in("base"), 1), KEEL_E_NOT_FOUND);
}

static void too_many_acts_are_an_error_with_a_way_out(void **state) {
    (void)state;
    add_acts(store, 12, "train", true);
    config.common.max_acts = 2;
    assert_int_equal(tune(in("base"), 1), KEEL_E_INVALID);
    contains(err.hint, "max_acts=3");
}

static void a_base_can_be_tuned_further(void **state) {
    (void)state;
    keel_base *first = NULL, *second = NULL;
    add_sets(store, 30, "train");
    assert_ok(tune(in("first"), 1));
    assert_ok(tune_from(scratch_path(folder, "first"), in("second"), 1));
    assert_ok(keel_base_load(&first, in("first"), &err));
    assert_ok(keel_base_load(&second, in("second"), &err));
    assert_string_not_equal(first->hash, second->hash);
    assert_int_equal(first->candidate_dim, second->candidate_dim);
    keel_base_close(first);
    keel_base_close(second);
}

static void what_a_base_reads_cannot_be_changed_when_it_is_tuned_further(void **state) {
    (void)state;
    add_sets(store, 30, "train");
    assert_ok(tune(in("first"), 1));
    config.dim = 32;
    assert_int_equal(tune_from(scratch_path(folder, "first"), in("second"), 1), KEEL_E_CONFLICT);
    assert_non_null(strstr(err.message, "dim"));
    config.dim = 64; /* the default: nothing was asked */
    assert_ok(tune_from(scratch_path(folder, "first"), in("second"), 1));
}

/* The preference head is taught by feedback where both responses have it, whichever was taken. */
static void better_feedback_is_preferred_to_what_was_taken(void **state) {
    (void)state;
    enum { PAIRS = 40 };
    keel_base *base = NULL;
    keel_arena arena = {0};
    keel_features features;
    keel_turn turn = {.role = KEEL_ROLE_USER, .text = "How do I bake bread?"};
    keel_candidate candidates[2] = {{.text = "Mix flour and water, then wait.", .feedback = {true, 1}},
                                    {.text = "No idea whatsoever.", .feedback = {true, -1}, .taken = true}};
    keel_decision decision = {.turn = 1, .n_candidates = 2, .candidates = candidates};
    keel_conversation conversation = {.source = "chat",
                                      .split = "train",
                                      .n_turns = 1,
                                      .turns = &turn,
                                      .n_decisions = 1,
                                      .decisions = &decision};
    assert_ok(keel_store_begin(store, &err));
    for (size_t i = 0; i < PAIRS; i++) {
        char id[16];
        keel_added added;
        snprintf(id, sizeof id, "f%zu", i);
        conversation.external_id = id;
        assert_ok(keel_store_add_conversation(store, &conversation, false, "test", &added, &err));
    }
    assert_ok(keel_store_commit(store, &err));
    assert_ok(tune(in("base"), 1));
    assert_ok(keel_base_load(&base, in("base"), &err));
    conversation.external_id = "new";
    assert_ok(keel_base_encode_decision(base, &conversation, 0, &arena, &features, &err));
    const float *good = features.candidates + KEEL_PROBE_PREFERENCE, *bad = good + base->candidate_dim;
    if (*good <= *bad)
        fail_msg("preference %g of what was liked, %g of what was not", (double)*good, (double)*bad);
    keel_arena_free(&arena);
    keel_base_close(base);
}

/* Labels, models, risk and what comes later are not inputs. */
static void features_depend_on_nothing_but_what_was_said_before(void **state) {
    (void)state;
    keel_base *base = NULL;
    keel_arena arena = {0};
    keel_features one, other;
    keel_turn turns[3] = {{.role = KEEL_ROLE_USER, .text = "How do I bake bread?"},
                          {.role = KEEL_ROLE_ASSISTANT, .text = "So."},
                          {.role = KEEL_ROLE_USER, .text = "Thanks."}};
    keel_candidate candidates[2] = {{.text = "Mix flour and water."}, {.text = "I'm sorry, I can't."}};
    keel_decision decision = {.turn = 1, .n_candidates = 2, .candidates = candidates};
    keel_conversation conversation = {.source = "chat",
                                      .external_id = "new",
                                      .split = "test",
                                      .n_turns = 3,
                                      .turns = turns,
                                      .n_decisions = 1,
                                      .decisions = &decision};
    add_sets(store, 30, "train");
    assert_ok(tune(in("base"), 1));
    assert_ok(keel_base_load(&base, in("base"), &err));
    assert_ok(keel_base_encode_decision(base, &conversation, 0, &arena, &one, &err));
    conversation.risk = KEEL_RISK_DANGEROUS, conversation.completed = KEEL_YES, conversation.truncated = true;
    turns[1].text = "Something else.", turns[2].text = "", turns[0].model = "gpt",
    turns[0].latency_ms.present = true;
    for (int i = 0; i < 2; i++) {
        candidates[i].model = "model", candidates[i].taken = i == 0,
        candidates[i].outcome = KEEL_OUTCOME_PARTIAL;
        candidates[i].feedback = (keel_optional){true, 1},
        candidates[i].propensity = (keel_optional){true, 0.5};
    }
    assert_ok(keel_base_encode_decision(base, &conversation, 0, &arena, &other, &err));
    assert_memory_equal(one.state, other.state, one.state_dim * sizeof(float));
    assert_memory_equal(one.candidates, other.candidates, 2 * one.candidate_dim * sizeof(float));
    assert_memory_equal(one.log_prior, other.log_prior, 2 * sizeof(float));
    candidates[0].text = "Mix flour and wine.";
    assert_ok(keel_base_encode_decision(base, &conversation, 0, &arena, &other, &err));
    assert_memory_not_equal(one.candidates, other.candidates, one.candidate_dim * sizeof(float));
    keel_arena_free(&arena);
    keel_base_close(base);
}

/* Else a long conversation would take memory in the square of its length, and time in its cube. */
static void a_late_decision_takes_no_more_memory_than_an_early_one(void **state) {
    (void)state;
    enum { TURNS = 20000, EARLY = 101 };
    static keel_turn turns[TURNS];
    static char acts[TURNS][16];
    keel_base *base = NULL;
    keel_arena early = {0}, late = {0};
    keel_features features;
    keel_candidate candidates[2] = {{.text = "Mix flour and water."}, {.text = "I'm sorry, I can't."}};
    keel_decision decisions[] = {{EARLY, EARLY, 2, candidates}, {TURNS - 1, TURNS - 1, 2, candidates}};
    keel_conversation conversation = {.source = "chat",
                                      .external_id = "long",
                                      .split = "test",
                                      .n_turns = TURNS,
                                      .turns = turns,
                                      .n_decisions = 2,
                                      .decisions = decisions};
    for (size_t i = 0; i < TURNS; i++) {
        snprintf(acts[i], sizeof acts[i], "act %zu", i < EARLY ? i : i % EARLY);
        turns[i] = (keel_turn){
            .role = i % 2 ? KEEL_ROLE_ASSISTANT : KEEL_ROLE_USER, .text = "And then?", .act = acts[i]};
    }
    add_sets(store, 30, "train");
    assert_ok(tune(in("base"), 1));
    assert_ok(keel_base_load(&base, in("base"), &err));
    assert_ok(keel_base_encode_decision(base, &conversation, 0, &early, &features, &err));
    assert_ok(keel_base_encode_decision(base, &conversation, 1, &late, &features, &err));
    assert_true(late.used <= 4 * early.used); /* each act may come up to three times, not once */
    keel_arena_free(&early);
    keel_arena_free(&late);
    keel_base_close(base);
}

/* The likelihood of acts after TURNS turns, the only one with an act being `turn`. */
static void prior_after(const keel_base *base, size_t turn, float out[3]) {
    enum { TURNS = 3000 };
    static keel_turn turns[TURNS];
    keel_arena arena = {0};
    keel_features features;
    keel_decision decision = {.turn = TURNS};
    keel_conversation conversation = {
        .n_turns = TURNS, .turns = turns, .n_decisions = 1, .decisions = &decision};
    for (size_t i = 0; i < TURNS; i++)
        turns[i] = (keel_turn){.role = i % 2 ? KEEL_ROLE_USER : KEEL_ROLE_ASSISTANT, .text = "And then?"};
    turns[turn].act = "greet";
    assert_ok(keel_base_encode_decision(base, &conversation, 0, &arena, &features, &err));
    memcpy(out, features.log_prior, 3 * sizeof *out);
    keel_arena_free(&arena);
}

/* Else a decision's cost would grow with its place in the conversation. */
static void acts_of_long_ago_are_forgotten(void **state) {
    (void)state;
    float now[3], first[3];
    keel_base *base = NULL;
    add_acts(store, 24, "train", true);
    assert_ok(tune(in("base"), 1));
    assert_ok(keel_base_load(&base, in("base"), &err));
    prior_after(base, 0, first);
    prior_after(base, 1975, now);
    assert_memory_equal(now, first, sizeof first);
    prior_after(base, 1976, now);
    assert_memory_not_equal(now, first, sizeof first);
    keel_base_close(base);
}

static void encoding_on_threads_fills_the_store_once(void **state) {
    (void)state;
    keel_base *base = NULL;
    keel_pool *pool;
    size_t encoded = 0, missing = 1;
    add_sets(store, 70, "train");
    assert_ok(tune(in("base"), 1));
    assert_ok(keel_base_load(&base, in("base"), &err));
    assert_ok(keel_pool_open(&pool, 2, &err));
    assert_ok(keel_encode_store(store, &split, base, pool, &encoded, &err));
    assert_int_equal(encoded, 70);
    assert_ok(keel_store_missing_features(store, base->hash, &split, &missing, &err));
    assert_int_equal(missing, 0);
    assert_ok(keel_encode_store(store, &split, base, pool, &encoded, &err));
    assert_int_equal(encoded, 0);
    add_acts(store, 5, "train", true); /* candidates of one: ten decisions more */
    assert_ok(keel_encode_store(store, &split, base, pool, &encoded, &err));
    assert_int_equal(encoded, 10);
    keel_pool_close(pool);
    keel_base_close(base);
}

static void stored_features_must_fit_the_decision(void **state) {
    (void)state;
    keel_base *base = NULL;
    keel_pool *pool;
    keel_arena arena = {0};
    keel_conversation *conversation;
    keel_features stored;
    bool found = true;
    add_sets(store, 70, "train");
    assert_ok(tune(in("base"), 1));
    assert_ok(keel_base_load(&base, in("base"), &err));
    assert_ok(keel_store_conversation(store, 1, &arena, &conversation, &err));
    keel_decision *decision = &conversation->decisions[0];
    assert_ok(keel_encode_store_find(base, store, decision, &arena, &stored, &found, &err));
    assert_false(found);
    assert_ok(keel_pool_open(&pool, 1, &err));
    assert_ok(keel_encode_store(store, &split, base, pool, NULL, &err));
    assert_ok(keel_encode_store_find(base, store, decision, &arena, &stored, &found, &err));
    assert_true(found);
    assert_int_equal(stored.n_actions, decision->n_candidates);
    decision->n_candidates--; /* as if a candidate had been taken out of the file */
    assert_int_equal(keel_encode_store_find(base, store, decision, &arena, &stored, &found, &err),
                     KEEL_E_STORE);
    assert_non_null(strstr(err.message, "the store is damaged"));
    decision->n_candidates++;
    base->state_dim++;
    assert_int_equal(keel_encode_store_find(base, store, decision, &arena, &stored, &found, &err),
                     KEEL_E_STORE);
    base->state_dim--;
    keel_pool_close(pool);
    keel_base_close(base);
    keel_arena_free(&arena);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(logged_responses_are_ranked_above_others_in_both_languages),
        TEST(acts_are_named_from_what_was_said),
        TEST(the_bytes_do_not_depend_on_the_threads),
        TEST(a_small_memory_gives_the_same_bytes),
        TEST(a_run_interrupted_again_and_again_ends_in_the_same_bytes),
        TEST(a_split_without_supervision_says_what_is_missing),
        TEST(a_log_of_one_response_a_prompt_gets_a_refusal_beside_it),
        TEST(a_log_without_responses_is_an_error),
        TEST(an_unknown_split_or_base_is_named),
        TEST(too_many_acts_are_an_error_with_a_way_out),
        TEST(a_base_can_be_tuned_further),
        TEST(what_a_base_reads_cannot_be_changed_when_it_is_tuned_further),
        TEST(better_feedback_is_preferred_to_what_was_taken),
        TEST(features_depend_on_nothing_but_what_was_said_before),
        TEST(a_late_decision_takes_no_more_memory_than_an_early_one),
        TEST(acts_of_long_ago_are_forgotten),
        TEST(encoding_on_threads_fills_the_store_once),
        TEST(stored_features_must_fit_the_decision),
    };
    only_threads_for_tsan();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
