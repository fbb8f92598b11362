/* Which rows and actions the targets, the loss's parts and a step go by. */
#include "rl/batch.h"

#include <math.h>
#include <stdlib.h>

/* A learner on one thread, its target unlike its network. */
typedef struct fixture {
    keel_pool *pool;
    keel_learner learner;
    own_batch own;
    keel_shard shard;
} fixture;

static fixture f;

static void set_up(const keel_learner_config *config, bool sets, bool table) {
    f = (fixture){.pool = open_pool(1)};
    keel_qnet_shape shape = shape_of(config, sets, 4, 1);
    if (table) shape.hidden.count = 0;
    assert_int_equal(keel_learner_open(&f.learner, config, &shape, NULL, f.pool, NULL), KEEL_OK);
    keel_rng rng = keel_rng_named(8, "test target", 0);
    fill_normal(&rng, f.learner.target, f.learner.net.params.size);
    assert_int_equal(keel_tape_open(&f.shard.frozen, NULL), KEEL_OK);
    keel_tape_record(f.shard.frozen, false);
}

static void tear_down(void) {
    keel_tape_close(f.shard.frozen);
    keel_arena_free(&f.shard.arena);
    keel_learner_close(&f.learner);
    keel_pool_close(f.pool);
}

static void make_targets(size_t n, const float **y, const float **weight) {
    keel_err err = {0};
    if (keel_target_make(&f.learner, &f.own.batch, 0, n, &f.shard, y, weight, &err) != KEEL_OK)
        fail_msg("%s", err.message);
}

static void of_equal_actions_the_first_is_bootstrapped_from(void **state) {
    (void)state;
    const float *y, *weight;
    keel_learner_config config = config_of("d3rlpy", "cql");
    set_up(&config, false, true);
    memset(f.learner.net.params.data, 0, f.learner.net.params.size * sizeof(float));
    random_batch(&f.own, 1, 1, 4, false);
    f.own.bootstrap[0] = 1;
    memset(f.own.next_state, 0, sizeof f.own.next_state);
    f.own.next_state[2] = 1; /* one-hot: the target's Q of act 0 is its weight [0, 2] and bias [0] */
    make_targets(1, &y, &weight);
    size_t bias = f.learner.net.params.offset[1];
    double first = (double)f.learner.target[2] + (double)f.learner.target[bias];
    double reward = 0;
    for (int k = 0; k < KEEL_N_REWARDS; ++k) reward += config.weight[k] * (double)f.own.reward[k];
    assert_true(fabs((double)y[0] - (reward + config.gamma * first)) < 1e-5);
    tear_down();
}

static void an_empty_next_set_is_not_looked_into(void **state) {
    (void)state;
    const float *y, *weight;
    keel_learner_config config = config_of("keel", "cql");
    set_up(&config, true, false);
    random_batch(&f.own, 4, 3, 0, true);
    for (int i = 0; i < 3; ++i) f.own.bootstrap[i] = 1;
    f.own.next_offsets[1] = 0; /* nobody can choose after the first; the others have a set of 2 */
    f.own.next_offsets[2] = 2, f.own.next_offsets[3] = 4;
    make_targets(3, &y, &weight);
    assert_memory_equal(y, f.own.reward, KEEL_N_REWARDS * sizeof *y);
    for (int i = KEEL_N_REWARDS; i < 3 * KEEL_N_REWARDS; ++i) assert_true(y[i] != f.own.reward[i]);
    tear_down();
}

static void one_head_counts_the_usable_rows_that_have_a_reward(void **state) {
    (void)state;
    const float *y, *weight;
    keel_learner_config config = config_of("d3rlpy", "dqn");
    set_up(&config, false, false);
    random_batch(&f.own, 4, 4, 4, false);
    f.own.usable[1] = 0;
    memset(f.own.present + 2 * KEEL_N_REWARDS, 0, KEEL_N_REWARDS);
    make_targets(4, &y, &weight);
    assert_true(weight[0] == 1 && weight[1] == 0 && weight[2] == 0 && weight[3] == 1);
    tear_down();
}

/* ---- expectations under a given policy ---- */

/* Each next decision's probabilities, in a pattern. */
static void fill_policy(float *pi, const int32_t *offsets, size_t n, size_t acts) {
    for (size_t i = 0; i < n; ++i) {
        size_t low = offsets ? (size_t)offsets[i] : i * acts;
        size_t size = offsets ? (size_t)(offsets[i + 1] - offsets[i]) : acts;
        for (size_t a = 0; a < size; ++a) pi[low + a] = 2.0f * (float)(a + 1) / (float)(size * (size + 1));
    }
}

/* One-hot policies give one action's value each; the mixture must be their mean by pi. */
static void check_expectation(bool sets) {
    static float pi[MAX_ROWS * MAX_SET], one[MAX_ROWS * MAX_SET], mean[16 * KEEL_N_REWARDS];
    const float *y, *weight;
    keel_learner_config config = config_of("keel", "dqn");
    set_up(&config, sets, false);
    random_batch(&f.own, 6, 16, 4, sets);
    const int32_t *offsets = sets ? f.own.next_offsets : NULL;
    fill_policy(pi, offsets, 16, 4);
    memset(mean, 0, sizeof mean);
    for (size_t a = 0; a < MAX_SET; ++a) {
        memset(one, 0, sizeof one);
        for (size_t i = 0; i < 16; ++i) {
            size_t low = offsets ? (size_t)offsets[i] : i * 4;
            if (low + a < (offsets ? (size_t)offsets[i + 1] : low + 4)) one[low + a] = pi[low + a];
        }
        f.own.batch.next_pi = one;
        make_targets(16, &y, &weight);
        for (size_t i = 0; i < 16 * KEEL_N_REWARDS; ++i) mean[i] += y[i] - f.own.reward[i];
        if (!sets && a < 4)
            assert_true(y[KEEL_N_REWARDS] != f.own.reward[KEEL_N_REWARDS]); /* row 1 goes on */
    }
    f.own.batch.next_pi = pi;
    make_targets(16, &y, &weight);
    for (size_t i = 0; i < 16; ++i)
        for (size_t k = 0; k < KEEL_N_REWARDS; ++k) {
            size_t at = i * KEEL_N_REWARDS + k;
            assert_true(fabsf(y[at] - f.own.reward[at] - mean[at]) < 1e-5f);
            assert_int_equal(mean[at] != 0, f.own.bootstrap[i] != 0);
        }
    tear_down();
}

static void a_given_policy_is_averaged_over_at_the_next_decision(void **state) {
    (void)state;
    check_expectation(false);
    check_expectation(true);
}

/* ---- over shards ---- */

static keel_batch rows_of(const keel_batch *batch, size_t first, size_t n) {
    keel_batch part = *batch;
    part.n = n;
    part.state += first * DIM, part.next_state += first * DIM;
    part.reward += first * KEEL_N_REWARDS, part.present += first * KEEL_N_REWARDS;
    part.bootstrap += first, part.usable += first, part.action += first;
    return part;
}

static void the_extremes_are_those_of_all_shards(void **state) {
    (void)state;
    keel_learner_config config = config_of("keel", "cql");
    for (uint64_t seed = 0; seed < 4; ++seed) { /* wherever the extremes happen to lie */
        set_up(&config, false, false);
        random_batch(&f.own, seed, MAX_ROWS, 4, false);
        keel_loss_parts whole = gradient_of(&f.learner, &f.own), part;
        double low = INFINITY, high = -INFINITY;
        for (size_t first = 0; first < MAX_ROWS; first += 16) {
            keel_batch rows = rows_of(&f.own.batch, first, 16);
            assert_int_equal(keel_learner_gradient(&f.learner, &rows, &part, NULL), KEEL_OK);
            low = fmin(low, part.q_low), high = fmax(high, part.q_high);
        }
        assert_true(low < high && whole.q_low == low && whole.q_high == high);
        tear_down();
    }
}

static void each_step_and_each_shard_drops_units_of_its_own(void **state) {
    (void)state;
    keel_learner_config config = config_of("keel", "cql");
    config.dropout = 0.5;
    set_up(&config, false, false);
    random_batch(&f.own, 2, 16, 4, false);
    memcpy(f.own.state + 16 * DIM, f.own.state, 16 * DIM * sizeof(float)); /* the second shard is the first */
    memcpy(f.own.action + 16, f.own.action, 16 * sizeof(int32_t));
    double once = gradient_of(&f.learner, &f.own).q_taken;
    assert_true(gradient_of(&f.learner, &f.own).q_taken == once);
    f.learner.step = 1;
    assert_true(gradient_of(&f.learner, &f.own).q_taken != once);
    f.learner.step = 0;
    f.own.batch.n = 32;
    assert_true(gradient_of(&f.learner, &f.own).q_taken != once);
    tear_down();
}

/* ---- a step ---- */

/* Parameters after one step with that decay. */
static void step_with(double decay, float *before, float *after, size_t room) {
    keel_learner_config config = config_of("keel", "cql");
    config.weight_decay = decay;
    config.learning_rate = 1e-2;
    set_up(&config, false, false);
    random_batch(&f.own, 3, 32, 4, false);
    size_t bytes = f.learner.net.params.size * sizeof(float);
    assert_true(bytes <= room);
    memcpy(before, f.learner.net.params.data, bytes);
    step_of(&f.learner, &f.own);
    memcpy(after, f.learner.net.params.data, bytes);
}

static void decay_shrinks_weights_and_leaves_biases(void **state) {
    (void)state;
    static float before[4096], plain[4096], decayed[4096];
    step_with(0, before, plain, sizeof before);
    tear_down();
    step_with(0.5, before, decayed, sizeof before);
    const keel_params *params = &f.learner.net.params;
    size_t shrunk = 0, kept = 0;
    for (size_t p = 0; p < params->count; ++p)
        for (size_t i = 0; i < params->table[p].rows * params->table[p].cols; ++i) {
            size_t at = params->offset[p] + i;
            double off = params->table[p].decay ? 1e-2 * 0.5 * (double)before[at] : 0;
            assert_true(fabs((double)plain[at] - (double)decayed[at] - off) < 1e-6);
            shrunk += fabs(off) > 1e-4;
            kept += off == 0;
        }
    assert_true(shrunk > 100 && kept > 20);
    tear_down();
}

static void a_batch_beyond_what_was_planned_for_is_refused(void **state) {
    (void)state;
    keel_learner_config config = config_of("keel", "cql");
    keel_loss_parts parts;
    keel_err err = {0};
    set_up(&config, false, false);
    random_batch(&f.own, 3, 32, 4, false);
    f.own.batch.n = MAX_ROWS + 1;
    assert_int_equal(keel_learner_step(&f.learner, &f.own.batch, &parts, &err), KEEL_E_USAGE);
    assert_non_null(strstr(err.message, "1 to 64 rows"));
    f.own.batch.n = 0;
    assert_int_equal(keel_learner_step(&f.learner, &f.own.batch, &parts, &err), KEEL_E_USAGE);
    assert_int_equal(f.learner.step, 0);
    tear_down();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_equal_actions_the_first_is_bootstrapped_from),
        cmocka_unit_test(an_empty_next_set_is_not_looked_into),
        cmocka_unit_test(one_head_counts_the_usable_rows_that_have_a_reward),
        cmocka_unit_test(a_given_policy_is_averaged_over_at_the_next_decision),
        cmocka_unit_test(the_extremes_are_those_of_all_shards),
        cmocka_unit_test(each_step_and_each_shard_drops_units_of_its_own),
        cmocka_unit_test(decay_shrinks_weights_and_leaves_biases),
        cmocka_unit_test(a_batch_beyond_what_was_planned_for_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
