/* Learning from logs of one response a prompt: the conservative term over answers that the log did not take,
 * its calibration, and rewards by rule. A linear network of one weight makes Q the candidate's feature. */
#include "rl/batch.h"

#include <math.h>

#include "rl/golden/ordinary.h"

enum { ROWS = 2, OTHERS = 3, SET = 1 + OTHERS };

typedef struct fixture {
    keel_pool *pool;
    keel_learner learner;
    float candidates[ROWS * SET], state[ROWS], next_state[ROWS], reward[ROWS * KEEL_N_REWARDS],
        bootstrap[ROWS], log_weight[ROWS * SET], rule_reward[ROWS * SET * KEEL_N_REWARDS],
        returns[ROWS * KEEL_N_REWARDS], prior[ROWS * SET];
    uint8_t present[ROWS * KEEL_N_REWARDS], usable[ROWS], rule_present[ROWS * SET * KEEL_N_REWARDS],
        ended[ROWS], declines[ROWS * SET];
    int32_t action[ROWS], offsets[ROWS + 1], next_offsets[ROWS + 1], own[ROWS];
    keel_batch batch;
} fixture;

static fixture f;

static void near(double got, double expected) {
    if (!(fabs(got - expected) <= 1e-6)) fail_msg("expected %.9g, got %.9g", expected, got);
}

static void set_up(const keel_learner_config *config) {
    f = (fixture){.pool = open_pool(1)};
    const keel_qnet_shape shape = {
        .space = KEEL_SPACE_CANDIDATES, .state_dim = 1, .candidate_dim = 1, .heads = 1, .critics = 1};
    assert_int_equal(keel_learner_open(&f.learner, config, &shape, NULL, f.pool, NULL), KEEL_OK);
    memset(f.learner.params.data, 0, f.learner.params.size * sizeof(float));
    f.learner.params.data[0] = 1; /* of the candidate; then of the set's mean, of the state, and the bias */
    for (int i = 0; i < ROWS; ++i) {
        f.offsets[i + 1] = f.offsets[i] + SET;
        f.own[i] = 1;
        f.usable[i] = 1;
        f.candidates[i * SET] = (float)golden_taken[i];
        for (int j = 0; j < OTHERS; ++j) {
            f.candidates[i * SET + 1 + j] = (float)golden_other[i * OTHERS + j];
            f.log_weight[i * SET + 1 + j] = (float)log(golden_m / OTHERS);
        }
        f.returns[i * KEEL_N_REWARDS] = (float)(golden_v[i] / config->weight[0]);
        f.ended[i] = 1;
    }
    f.batch = (keel_batch){.n = ROWS,
                           .state = f.state,
                           .action = f.action,
                           .reward = f.reward,
                           .present = f.present,
                           .bootstrap = f.bootstrap,
                           .usable = f.usable,
                           .next_state = f.next_state,
                           .offsets = f.offsets,
                           .own = f.own,
                           .candidates = f.candidates,
                           .log_weight = f.log_weight,
                           .returns = f.returns,
                           .ended = f.ended,
                           .next_offsets = f.next_offsets,
                           .next_candidates = f.candidates,
                           .log_prior = f.prior,
                           .next_log_prior = f.prior};
}

static void tear_down(void) {
    keel_learner_close(&f.learner);
    keel_pool_close(f.pool);
}

static keel_learner_config one_head(bool calibrated) {
    keel_learner_config config = config_of("keel", "cql");
    config.vector_heads = false;
    config.hidden.count = 0;
    config.calibrated = calibrated;
    set(&config, "alpha", "1");
    return config;
}

static keel_loss_parts gradient(void) {
    keel_loss_parts parts;
    keel_err err = {0};
    if (keel_learner_gradient(&f.learner, &f.batch, &parts, &err) != KEEL_OK) fail_msg("%s", err.message);
    return parts;
}

static void answers_of_other_conversations_make_the_term(void **state) {
    (void)state;
    const keel_learner_config config = one_head(false);
    set_up(&config);
    near(gradient().conservative, (golden_negatives[0] + golden_negatives[1]) / 2);
    f.batch.own = NULL; /* sets of one: without other answers the term is nothing */
    for (int i = 0; i <= ROWS; ++i) f.offsets[i] = i;
    f.candidates[1] = f.candidates[SET];
    f.log_weight[1] = 0;
    near(gradient().conservative, 0);
    tear_down();
}

/* By the weight of the candidate's feature: the sum of values times their slopes. */
static double slope(const double *other, const double *taken) {
    double sum = 0;
    for (int i = 0; i < ROWS; ++i) {
        sum += taken[i] * golden_taken[i];
        for (int j = 0; j < OTHERS; ++j) sum += other[i * OTHERS + j] * golden_other[i * OTHERS + j];
    }
    return sum;
}

static void the_term_pushes_nothing_below_what_the_behaviour_earned(void **state) {
    (void)state;
    const keel_learner_config config = one_head(true);
    set_up(&config);
    near(gradient().conservative, (golden_calibrated[0] + golden_calibrated[1]) / 2);
    near((double)f.learner.grads[0], slope(golden_slope_other, golden_slope_taken));
    memset(f.ended, 0, sizeof f.ended); /* where the log was cut off nothing is known of its return */
    near(gradient().conservative, (golden_negatives[0] + golden_negatives[1]) / 2);
    tear_down();
}

static void rules_teach_values_of_answers_nobody_tried(void **state) {
    (void)state;
    keel_learner_config config = one_head(false);
    config.rule_weight = 0.5;
    set(&config, "alpha", "0");
    set_up(&config);
    f.batch.rule_reward = f.rule_reward;
    f.batch.rule_present = f.rule_present;
    near(gradient().total, 0);
    for (size_t j = 1; j <= 2; ++j) { /* two answers of the first row; accuracy alone is known */
        f.rule_reward[j * KEEL_N_REWARDS + KEEL_ACCURACY] = 1;
        f.rule_present[j * KEEL_N_REWARDS + KEEL_ACCURACY] = 1;
    }
    double total = 0; /* the composite of accuracy alone, 1 */
    for (size_t j = 0; j < 2; ++j) total += 0.5 * (golden_other[j] - 1) * (golden_other[j] - 1);
    near(gradient().td, 0.5 * total / 2 / ROWS);
    near(gradient().total, 0.5 * total / 2 / ROWS);
    double by_weight = 0;
    for (size_t j = 0; j < 2; ++j) by_weight += (golden_other[j] - 1) * golden_other[j];
    near((double)f.learner.grads[0], 0.5 * by_weight / 2 / ROWS);
    tear_down();
}

/* ---- the cost critic ---- */

enum { COST_OTHERS = 2 };

/* C is the candidate's feature; the last alternative of each row counts nothing. */
static void set_up_cost(const keel_learner_config *config) {
    const keel_qnet_shape shape = {.space = KEEL_SPACE_CANDIDATES,
                                   .state_dim = 1,
                                   .candidate_dim = 1,
                                   .heads = 1,
                                   .critics = 1,
                                   .cost = true};
    set_up(config);
    keel_learner_close(&f.learner);
    assert_int_equal(keel_learner_open(&f.learner, config, &shape, NULL, f.pool, NULL), KEEL_OK);
    memset(f.learner.params.data, 0, f.learner.params.size * sizeof(float));
    f.learner.params.data[f.learner.net.input_dim] = 1; /* the second row: Q is 0 */
    for (size_t i = 0; i < ROWS; ++i) {
        f.candidates[i * SET] = (float)golden_cost_taken[i];
        for (size_t j = 0; j < COST_OTHERS; ++j) {
            f.candidates[i * SET + 1 + j] = (float)golden_cost_other[i * COST_OTHERS + j];
            f.log_weight[i * SET + 1 + j] = (float)log(golden_cost_m / COST_OTHERS);
        }
        f.log_weight[i * SET + OTHERS] = -INFINITY;
    }
    f.batch.declines = f.declines;
}

static void the_cost_of_what_was_not_taken_is_pushed_up_to_a_whole_harm(void **state) {
    (void)state;
    keel_learner_config config = one_head(false);
    set(&config, "alpha", "0");
    set(&config, "cost_pessimism", "0.5");
    set_up_cost(&config);
    const keel_loss_parts parts = gradient();
    near(parts.conservative_cost, (golden_cost[0] + golden_cost[1]) / 2);
    near(parts.total, parts.conservative_cost / 2);
    double slope = 0;
    for (size_t i = 0; i < ROWS; ++i) {
        slope += golden_cost_slope_taken[i] * golden_cost_taken[i];
        for (size_t j = 0; j < COST_OTHERS; ++j)
            slope += golden_cost_slope_other[i * COST_OTHERS + j] * golden_cost_other[i * COST_OTHERS + j];
    }
    near((double)f.learner.grads[f.learner.net.input_dim], slope / 2);
    near((double)f.learner.grads[0], 0); /* of Q */
    tear_down();
}

/* Costs are what the log says of safety, and nothing for what declines, whatever it says. */
static void costs_are_harm_and_nothing_for_what_declines(void **state) {
    (void)state;
    keel_learner_config config = one_head(false);
    set(&config, "alpha", "0");
    set(&config, "cost_pessimism", "0");
    set_up_cost(&config);
    for (size_t i = 0; i < ROWS; ++i) {
        f.reward[i * KEEL_N_REWARDS + KEEL_SAFETY] = i ? 0.7f : -1; /* a harm, and none */
        f.present[i * KEEL_N_REWARDS + KEEL_SAFETY] = 1;
    }
    near(gradient().td_cost, 0.5 * (0.9 * 0.9 + 0.3 * 0.3) / 2);
    f.declines[0] = 1;
    near(gradient().td_cost, 0.5 * (0.1 * 0.1 + 0.3 * 0.3) / 2);
    f.present[KEEL_SAFETY] = f.present[KEEL_N_REWARDS + KEEL_SAFETY] = 0;
    near(gradient().td_cost, 0.5 * 0.1 * 0.1 / 2); /* of an unknown risk nothing is known but this */
    tear_down();
}

static void what_a_rule_knows_the_cost_of_is_learned_and_no_part_of_the_sum(void **state) {
    (void)state;
    keel_learner_config config = one_head(false);
    set(&config, "alpha", "0");
    config.rule_weight = 0.5;
    config.cost_pessimism = 1;
    set_up_cost(&config);
    for (size_t i = 0; i < ROWS; ++i)
        for (size_t j = 1; j < SET; ++j) f.declines[i * SET + j] = 1;
    keel_loss_parts parts = gradient();
    near(parts.conservative_cost, 0);
    double sum = 0, left = f.candidates[OTHERS], last = f.candidates[SET + OTHERS];
    for (size_t j = 0; j < ROWS * COST_OTHERS; ++j) {
        double c = golden_cost_other[j];
        sum += c < 1 ? 0.5 * c * c : c - 0.5;
    }
    sum += 0.5 * (left * left + last * last);
    near(parts.td_cost, 0.5 * sum / OTHERS / ROWS);
    near(parts.total, parts.td_cost);
    tear_down();
}

static void an_answer_that_counts_nothing_is_no_part_of_the_sum(void **state) {
    (void)state;
    const keel_learner_config config = one_head(false);
    set_up(&config);
    for (int i = 0; i < ROWS * SET; ++i)
        if (i % SET) f.log_weight[i] = -INFINITY;
    near(gradient().conservative, 0);
    near((double)f.learner.grads[0], 0);
    tear_down();
}

/* ---- the multiplier of a constraint ---- */

static void the_multiplier_follows_harm_within_its_bounds(void **state) {
    (void)state;
    enum { STEPS = sizeof golden_dual / sizeof *golden_dual };
    keel_learner_config config = config_of("keel", "cql-constrained");
    config.vector_heads = false;
    config.hidden.count = 0;
    keel_learner_set_number(&config, "dual_rate", golden_dual_rate, NULL);
    keel_learner_set_number(&config, "harm_limit", golden_dual_bound, NULL);
    keel_learner_set_number(&config, "multiplier_limit", golden_dual_limit, NULL);
    set_up_cost(&config);
    near(f.learner.kind->cost_weight(&f.learner), 0);
    for (size_t i = 0; i < STEPS; ++i) {
        f.learner.kind->dual_step(&f.learner, golden_dual_harm[i]);
        near(f.learner.kind->cost_weight(&f.learner), golden_dual[i]);
    }
    keel_loss_parts parts;
    assert_int_equal(keel_learner_step(&f.learner, &f.batch, &parts, NULL), KEEL_OK);
    near(parts.own[0], golden_dual[STEPS - 1]); /* a step of the optimizer does not move it */
    near(f.learner.kind->cost_weight(&f.learner), golden_dual[STEPS - 1]);
    tear_down();
}

static void the_multiplier_moves_after_the_warm_up_as_often_as_asked(void **state) {
    (void)state;
    static const int64_t lengths[] = {1000, 997, 20};
    for (size_t i = 0; i < 3; ++i) {
        keel_learner_config config = config_of("keel", "cql-constrained");
        config.vector_heads = false;
        config.hidden.count = 0;
        config.steps = lengths[i];
        set(&config, "dual_steps", "10");
        set(&config, "dual_warmup", "0.5");
        set_up_cost(&config);
        int moves = 0;
        for (f.learner.step = 1; f.learner.step <= (uint64_t)config.steps; ++f.learner.step) {
            const bool due = f.learner.kind->dual_due(&f.learner);
            assert_false(due && f.learner.step <= (uint64_t)config.steps / 2);
            moves += due;
            if (f.learner.step == (uint64_t)config.steps) assert_true(due); /* the last one counts */
        }
        assert_int_equal(moves, 10);
        tear_down();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_of_other_conversations_make_the_term),
        cmocka_unit_test(the_term_pushes_nothing_below_what_the_behaviour_earned),
        cmocka_unit_test(rules_teach_values_of_answers_nobody_tried),
        cmocka_unit_test(an_answer_that_counts_nothing_is_no_part_of_the_sum),
        cmocka_unit_test(the_cost_of_what_was_not_taken_is_pushed_up_to_a_whole_harm),
        cmocka_unit_test(costs_are_harm_and_nothing_for_what_declines),
        cmocka_unit_test(what_a_rule_knows_the_cost_of_is_learned_and_no_part_of_the_sum),
        cmocka_unit_test(the_multiplier_follows_harm_within_its_bounds),
        cmocka_unit_test(the_multiplier_moves_after_the_warm_up_as_often_as_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
