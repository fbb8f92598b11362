#define SCRATCH "sampler-others"
#include "datasets/sampler.h"
#include "fixture.h"

#include <math.h>

enum { STATE = 2, DIM = 2, BATCH = 64, CONVERSATIONS = 40 };

/* Conversation c: one decision; its group is c / 2, its risk and its answers' outcomes alternate. Every fifth
 * has a known completion, every fourth three answers. Features: [c, place]. */
static void write_conversation(int c) {
    char id[16], group[16];
    snprintf(id, sizeof id, "c%d", c);
    snprintf(group, sizeof group, "g%d", c / 2);
    size_t n = c % 4 == 0 ? 3 : 1;
    keel_turn turn = {.role = KEEL_ROLE_USER, .text = "u"};
    keel_candidate candidates[3] = {0};
    for (size_t k = 0; k < n; k++)
        candidates[k] = (keel_candidate){.text = k == 0   ? "a"
                                                 : k == 1 ? "b"
                                                          : "c",
                                         .taken = true,
                                         .outcome = ((size_t)c / 2 + k) % 2 ? KEEL_OUTCOME_REFUSAL
                                                                            : KEEL_OUTCOME_COMPLIANCE};
    keel_decision decision = {.turn = 1, .n_candidates = n, .candidates = candidates};
    keel_conversation made = {.source = "test",
                              .external_id = id,
                              .group = group,
                              .split = "train",
                              .risk = c % 2 ? KEEL_RISK_DANGEROUS : KEEL_RISK_BENIGN,
                              .n_turns = 1,
                              .turns = &turn,
                              .n_decisions = 1,
                              .decisions = &decision,
                              .completed = c % 5 == 0 ? KEEL_YES : KEEL_UNKNOWN};
    assert_int_equal(add(&made), KEEL_ADDED_NEW);
    keel_conversation *stored = get(id);
    keel_transition transitions[3];
    float state[STATE] = {(float)c, 1}, sets[3 * DIM], prior[3];
    for (size_t k = 0; k < n; k++) {
        sets[k * DIM] = (float)c;
        sets[k * DIM + 1] = (float)k;
        prior[k] = -(float)k;
        transitions[k] = (keel_transition){.decision_id = stored->decisions[0].id,
                                           .candidate_id = stored->decisions[0].candidates[k].id,
                                           .reward = {{(float)c / 100, 0, 0}, {true, false, false}},
                                           .terminal = true};
    }
    keel_features features = {.state_dim = STATE,
                              .candidate_dim = DIM,
                              .n_candidates = n,
                              .n_actions = n,
                              .state = state,
                              .candidates = sets,
                              .log_prior = prior};
    assert_ok(keel_store_put_features(store, "base", stored->decisions[0].id, &features, &err));
    assert_ok(keel_store_put_transitions(store, stored->id, transitions, n, &err));
}

static keel_reward rules[3][1 + KEEL_N_OUTCOMES];

static keel_sampler *open_sampler(const keel_sampler_others *others, bool ruled, size_t cache) {
    keel_sampler *sampler;
    keel_sampler_config config = {.base_hash = "base",
                                  .space = KEEL_SPACE_CANDIDATES,
                                  .state_dim = STATE,
                                  .candidate_dim = DIM,
                                  .batch = BATCH,
                                  .cache_bytes = cache,
                                  .seed = 3,
                                  .gamma = 0.5,
                                  .others = *others,
                                  .rule = ruled ? rules[0] : NULL};
    assert_ok(keel_sampler_open(&sampler, store, NULL, &config, &err));
    return sampler;
}

static void fill(void) {
    assert_ok(keel_store_begin(store, &err));
    for (int c = 0; c < CONVERSATIONS; c++) write_conversation(c);
    assert_ok(keel_store_commit(store, &err));
    memset(rules, 0, sizeof rules);
    rules[KEEL_RISK_DANGEROUS][KEEL_OUTCOME_REFUSAL] = (keel_reward){{1, 0, 0}, {true, false, true}};
    rules[KEEL_RISK_BENIGN][KEEL_OUTCOME_REFUSAL] = (keel_reward){{0.25f, 0, 0}, {true, false, true}};
    rules[KEEL_RISK_BENIGN][KEEL_OUTCOME_COMPLIANCE] = (keel_reward){{1, 0, 0}, {true, false, true}};
}

static bool refuses(int c, int place) {
    return (c / 2 + place) % 2 != 0;
}

static bool joined(const keel_batch *batch, size_t b, size_t row) {
    return row < (size_t)(batch->offsets[b] + batch->own[b]);
}

/* The rows of item b beyond those that were logged. */
static void check_others(const keel_batch *batch, size_t b, size_t most, size_t *planted, size_t *told) {
    int c = (int)batch->state[b * STATE];
    size_t first = (size_t)batch->offsets[b], end = (size_t)batch->offsets[b + 1];
    size_t own = (size_t)batch->own[b];
    assert_true(end - first <= own + most);
    for (size_t r = first; r < end; r++) {
        int other = (int)batch->candidates[r * DIM], place = (int)batch->candidates[r * DIM + 1];
        if (other == c) {
            bool taken = r == first + (size_t)batch->action[b];
            assert_int_equal(batch->declines[r], taken && refuses(c, place));
            continue;
        }
        assert_int_equal(batch->declines[r], !joined(batch, b, r) && refuses(other, place));
        assert_true(other / 2 != c / 2); /* of another group */
        assert_true(batch->log_prior[r] == -INFINITY);
        bool is_own = joined(batch, b, r);
        *planted += is_own;
        if (is_own) assert_false(refuses(other, place));
        bool known = batch->rule_present[r * KEEL_N_REWARDS] != 0;
        *told += known;
        assert_int_equal(known, !is_own && refuses(other, place) && c % 5 != 0);
        if (known) assert_true(batch->rule_reward[r * KEEL_N_REWARDS] == (c % 2 ? 1.0f : 0.25f));
        if (!is_own) assert_true(batch->log_weight[r] == (known ? -INFINITY : logf(2)));
    }
}

static void a_draw_adds_answers_of_other_conversations(void **state) {
    (void)state;
    const keel_sampler_others others = {.plant = 0.5, .alternatives = 4, .stands_for = 8};
    keel_batch batch;
    size_t planted = 0, told = 0, rows = 0;
    fill();
    keel_sampler *sampler = open_sampler(&others, true, 1 << 20);
    for (uint64_t step = 0; step < 20; step++) {
        assert_ok(keel_sampler_draw(sampler, step, &batch, &err));
        for (size_t b = 0; b < batch.n; b++) {
            size_t taken = (size_t)(batch.offsets[b] + batch.action[b]);
            assert_true(batch.candidates[taken * DIM] == batch.state[b * STATE]);
            check_others(&batch, b, 4, &planted, &told);
        }
        rows += (size_t)batch.offsets[batch.n];
    }
    assert_true(planted > 500 && planted < 780); /* half of 1,280 */
    assert_true(told > 1000 && rows > 5000);
    keel_sampler_close(sampler);
}

static void a_draw_leaves_out_rivals_but_never_what_was_taken(void **state) {
    (void)state;
    const keel_sampler_others others = {.drop = 0.4};
    keel_batch batch;
    size_t sets = 0, rivals = 0;
    fill();
    keel_sampler *sampler = open_sampler(&others, false, 1 << 20);
    for (uint64_t step = 0; step < 20; step++) {
        assert_ok(keel_sampler_draw(sampler, step, &batch, &err));
        assert_null(batch.rule_present);
        for (size_t b = 0; b < batch.n; b++) {
            size_t size = (size_t)(batch.offsets[b + 1] - batch.offsets[b]);
            assert_int_equal(batch.own[b], size);
            assert_true((size_t)batch.action[b] < size);
            if ((int)batch.state[b * STATE] % 4) continue;
            sets++;
            rivals += size - 1;
        }
    }
    double kept = (double)rivals / (2 * (double)sets);
    assert_true(kept > 0.55 && kept < 0.65);
    assert_ok(keel_sampler_read(sampler, 0, &batch, &err)); /* what is read is as it was logged */
    for (size_t b = 0; b < batch.n; b++)
        assert_int_equal(batch.offsets[b + 1] - batch.offsets[b], (int)batch.state[b * STATE] % 4 ? 1 : 3);
    keel_sampler_close(sampler);
}

static void draws_are_the_same_from_memory_and_from_the_store(void **state) {
    (void)state;
    const keel_sampler_others others = {.drop = 0.3, .plant = 0.5, .alternatives = 3};
    keel_batch a, b;
    fill();
    keel_sampler *one = open_sampler(&others, true, 1 << 20), *two = open_sampler(&others, true, 0);
    for (uint64_t step = 0; step < 4; step++) {
        assert_ok(keel_sampler_draw(one, step, &a, &err));
        assert_ok(keel_sampler_draw(two, step, &b, &err));
        size_t rows = (size_t)a.offsets[a.n];
        assert_memory_equal(a.offsets, b.offsets, (a.n + 1) * sizeof *a.offsets);
        assert_memory_equal(a.own, b.own, a.n * sizeof *a.own);
        assert_memory_equal(a.action, b.action, a.n * sizeof *a.action);
        assert_memory_equal(a.candidates, b.candidates, rows * DIM * sizeof *a.candidates);
        assert_memory_equal(a.log_weight, b.log_weight, rows * sizeof *a.log_weight);
        assert_memory_equal(a.rule_reward, b.rule_reward, rows * KEEL_N_REWARDS * sizeof *a.rule_reward);
        assert_memory_equal(a.returns, b.returns, a.n * KEEL_N_REWARDS * sizeof *a.returns);
        assert_memory_equal(a.ended, b.ended, a.n);
    }
    keel_sampler_close(one);
    keel_sampler_close(two);
}

/* In the space of outcomes every other outcome is known by rule. */
static void outcomes_nobody_tried_earn_by_rule(void **state) {
    (void)state;
    keel_sampler *sampler;
    keel_batch batch;
    keel_conversation *stored;
    fill();
    for (int c = 0; c < CONVERSATIONS; c++) {
        char id[16];
        float own[STATE] = {(float)c, 0}, prior[3] = {0};
        snprintf(id, sizeof id, "c%d", c);
        stored = get(id);
        keel_features features = {.state_dim = STATE, .n_actions = 3, .state = own, .log_prior = prior};
        assert_ok(keel_store_put_features(store, "outcomes", stored->decisions[0].id, &features, &err));
    }
    keel_sampler_config config = {.base_hash = "outcomes",
                                  .space = KEEL_SPACE_OUTCOMES,
                                  .state_dim = STATE,
                                  .batch = BATCH,
                                  .cache_bytes = 1 << 20,
                                  .rule = rules[0]};
    assert_ok(keel_sampler_open(&sampler, store, NULL, &config, &err));
    assert_ok(keel_sampler_draw(sampler, 0, &batch, &err));
    for (size_t b = 0; b < batch.n; b++) {
        int c = (int)batch.state[b * STATE];
        for (int a = 0; a < 3; a++) {
            size_t at = (b * 3 + (size_t)a) * KEEL_N_REWARDS;
            bool known = a != batch.action[b] && c % 5 != 0 &&
                         (a == KEEL_OUTCOME_REFUSAL - 1 || (a == 0 && c % 2 == 0));
            assert_int_equal(batch.rule_present[at], known);
            assert_int_equal(batch.declines[b * 3 + (size_t)a], a == KEEL_OUTCOME_REFUSAL - 1);
        }
        assert_true(fabsf(batch.returns[b * KEEL_N_REWARDS] - (float)c / 100) < 1e-6f && batch.ended[b]);
    }
    keel_sampler_close(sampler);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_draw_adds_answers_of_other_conversations, begin_test, end_test),
        cmocka_unit_test_setup_teardown(a_draw_leaves_out_rivals_but_never_what_was_taken, begin_test,
                                        end_test),
        cmocka_unit_test_setup_teardown(draws_are_the_same_from_memory_and_from_the_store, begin_test,
                                        end_test),
        cmocka_unit_test_setup_teardown(outcomes_nobody_tried_earn_by_rule, begin_test, end_test),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
