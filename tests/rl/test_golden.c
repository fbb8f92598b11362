/* The learner against double-precision references: golden/README says where the numbers come from. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define GOLDEN_FILE "discrete_cql.json"
#include "golden.h"

#include "core/parallel.h"
#include "rl/learn/learner.h"

enum { ROWS = 10, STATE = 8, ACTS = 4 };
static const char *const layers[] = {"W1", "b1", "W2", "b2", "W3", "b3"}; /* in the parameter table's order */

static const cJSON *at(const cJSON *object, const char *key) {
    const cJSON *found = cJSON_GetObjectItemCaseSensitive(object, key);
    assert_non_null(found);
    return found;
}

static size_t flatten_float(const cJSON *array, float *out) {
    double wide[512];
    size_t count = golden_numbers(array, wide);
    for (size_t i = 0; i < count; ++i) out[i] = (float)wide[i];
    return count;
}

/* ---- the fixed batch ---- */

typedef struct fixed_batch {
    float state[ROWS * STATE], next_state[ROWS * STATE], reward[ROWS * KEEL_N_REWARDS], bootstrap[ROWS];
    uint8_t present[ROWS * KEEL_N_REWARDS], usable[ROWS];
    int32_t action[ROWS];
    keel_batch batch;
} fixed_batch;

static void point(fixed_batch *f, size_t n) {
    f->batch = (keel_batch){.n = n,
                            .state = f->state,
                            .action = f->action,
                            .reward = f->reward,
                            .present = f->present,
                            .bootstrap = f->bootstrap,
                            .usable = f->usable,
                            .next_state = f->next_state};
}

/* The reward is one number: it goes into the first component, which carries all the weight. */
static void read_batch(fixed_batch *f) {
    const cJSON *from = at(at(golden, "inputs"), "batch");
    double action[ROWS], reward[ROWS], terminal[ROWS];
    memset(f, 0, sizeof *f);
    flatten_float(at(from, "obs"), f->state);
    flatten_float(at(from, "next_obs"), f->next_state);
    golden_numbers(at(from, "action"), action);
    golden_numbers(at(from, "reward"), reward);
    golden_numbers(at(from, "terminal"), terminal);
    for (size_t i = 0; i < ROWS; ++i) {
        f->action[i] = (int32_t)action[i];
        f->reward[i * KEEL_N_REWARDS] = (float)reward[i];
        f->present[i * KEEL_N_REWARDS] = f->usable[i] = 1;
        f->bootstrap[i] = (float)(1 - terminal[i]);
        for (size_t d = 0; terminal[i] > 0 && d < STATE; ++d) f->next_state[i * STATE + d] = NAN;
    }
    point(f, ROWS);
}

static void put_parameters(const keel_qnet *net, float *block, const cJSON *from) {
    for (size_t i = 0; i < 6; ++i) flatten_float(at(from, layers[i]), block + net->params.offset[i]);
}

static void open_golden(keel_learner *learner, const cJSON *variant, int64_t shard_rows, keel_pool *pool) {
    keel_err err = {0};
    keel_learner_config config;
    assert_int_equal(keel_learner_preset("keel", "cql", &config, &err), KEEL_OK);
    assert_int_equal(keel_learner_set_number(&config, "alpha", at(variant, "alpha")->valuedouble, &err),
                     KEEL_OK);
    config.td_loss =
        strcmp(at(variant, "td_loss")->valuestring, "huber") == 0 ? KEEL_TD_HUBER : KEEL_TD_HALF_SQUARE;
    config.vector_heads = false;
    config.weight[0] = 1, config.weight[1] = config.weight[2] = 0;
    config.batch = ROWS;
    config.learning_rate = 1e-3;
    config.rate_decay = false;
    config.weight_decay = config.dropout = 0;
    config.shard_rows = shard_rows;
    keel_qnet_shape shape = {.space = KEEL_SPACE_ACTS,
                             .state_dim = STATE,
                             .n_acts = ACTS,
                             .heads = 1,
                             .critics = 1,
                             .hidden = {2, {16, 16}}};
    assert_int_equal(keel_learner_open(learner, &config, &shape, NULL, pool, &err), KEEL_OK);
    put_parameters(&learner->net, learner->net.params.data, at(at(golden, "inputs"), "online"));
    put_parameters(&learner->net, learner->target, at(at(golden, "inputs"), "target"));
}

static void check_block(const keel_qnet *net, const float *block, const cJSON *expected, double absolute,
                        double relative, const char *what) {
    double wanted[512];
    for (size_t i = 0; i < 6; ++i) {
        size_t count = golden_numbers(at(expected, layers[i]), wanted);
        for (size_t j = 0; j < count; ++j) {
            double got = (double)block[net->params.offset[i] + j];
            if (fabs(got - wanted[j]) <= absolute + relative * fabs(wanted[j])) continue;
            fail_msg("%s %s[%zu]: expected %.9g, got %.9g", what, layers[i], j, wanted[j], got);
        }
    }
}

static void check_near(double got, double expected, double relative, const char *what) {
    if (!(fabs(got - expected) <= relative * fmax(1e-3, fabs(expected))))
        fail_msg("%s: expected %.17g, got %.17g", what, expected, got);
}

static void run_variant(const cJSON *variant, int64_t shard_rows, keel_pool *pool) {
    keel_learner learner;
    fixed_batch fixed;
    keel_err err = {0};
    keel_loss_parts parts;
    double history[100];
    read_batch(&fixed);
    open_golden(&learner, variant, shard_rows, pool);
    assert_int_equal(keel_learner_gradient(&learner, &fixed.batch, &parts, &err), KEEL_OK);
    check_near(parts.td, at(at(variant, "loss"), "td")->valuedouble, 1e-5, "td");
    check_near(parts.conservative, at(at(variant, "loss"), "conservative")->valuedouble, 1e-5,
               "conservative");
    check_near(parts.total, at(at(variant, "loss"), "total")->valuedouble, 1e-5, "total");
    check_block(&learner.net, learner.grads, at(variant, "grad"), 2e-7, 1e-5, "gradient");

    assert_int_equal(golden_numbers(at(variant, "total_loss_before_step"), history), 100);
    for (int step = 1; step <= 100; ++step) {
        assert_int_equal(keel_learner_step(&learner, &fixed.batch, &parts, &err), KEEL_OK);
        check_near(parts.total, history[step - 1], 2e-5, "total before a step");
        if (step != 1 && step != 10 && step != 100) continue;
        char mark[8];
        snprintf(mark, sizeof mark, "%d", step);
        double drift = step == 1 ? 1e-6 : step == 10 ? 1e-5 : 2e-5;
        const cJSON *after = at(at(variant, "after"), mark);
        check_block(&learner.net, learner.net.params.data, at(after, "online"), drift, 0, "online");
        check_block(&learner.net, learner.target, at(after, "target"), drift, 0, "target");
    }
    keel_learner_close(&learner);
}

static void every_variant_follows_the_double_precision_reference(void **state) {
    (void)state;
    keel_pool *pool;
    keel_err err = {0};
    assert_int_equal(keel_pool_open(&pool, 2, &err), KEEL_OK);
    const cJSON *variant;
    size_t count = 0;
    cJSON_ArrayForEach (variant, at(golden, "variants")) {
        run_variant(variant, 128, pool);
        run_variant(variant, 3, pool); /* four shards, the last of one row */
        count++;
    }
    assert_int_equal(count, 4);
    keel_pool_close(pool);
}

/* ---- G1 of the reference: Q-values given, so a network without hidden layers on one-hot states. ---- */

/* State 0 is s, state 1 is s'; row o of the only weight matrix is (Q(s, o), Q(s', o)), the bias zero. */
static void open_g1(keel_learner *learner, double alpha, keel_pool *pool) {
    static const float online[3][2] = {{1, 0.2f}, {2, 0.9f}, {3, 0.4f}},
                       target[3][2] = {{0, 0.5f}, {0, 0.3f}, {0, 0.8f}};
    keel_err err = {0};
    keel_learner_config config;
    assert_int_equal(keel_learner_preset("d3rlpy", "cql", &config, &err), KEEL_OK);
    assert_int_equal(keel_learner_set_number(&config, "alpha", alpha, &err), KEEL_OK);
    config.gamma = 0.9;
    config.weight[0] = 1, config.weight[1] = config.weight[2] = 0;
    keel_qnet_shape shape = {.space = KEEL_SPACE_ACTS, .state_dim = 2, .n_acts = 3, .heads = 1, .critics = 1};
    assert_int_equal(keel_learner_open(learner, &config, &shape, NULL, pool, &err), KEEL_OK);
    memset(learner->net.params.data, 0, learner->net.params.size * sizeof(float));
    memset(learner->target, 0, learner->net.params.size * sizeof(float));
    memcpy(learner->net.params.data, online, sizeof online);
    memcpy(learner->target, target, sizeof target);
}

static void g1_batch(fixed_batch *f, bool terminal) {
    memset(f, 0, sizeof *f);
    f->state[0] = 1;
    f->next_state[0] = terminal ? NAN : 0;
    f->next_state[1] = terminal ? NAN : 1;
    f->action[0] = 1;
    f->reward[0] = 0.5f;
    f->present[0] = f->usable[0] = 1;
    f->bootstrap[0] = terminal ? 0 : 1;
    point(f, 1);
}

static keel_loss_parts g1_loss(double alpha, bool terminal, bool double_q, double gradient[3]) {
    keel_pool *pool;
    keel_err err = {0};
    keel_learner learner;
    fixed_batch f;
    keel_loss_parts parts;
    assert_int_equal(keel_pool_open(&pool, 1, &err), KEEL_OK);
    open_g1(&learner, alpha, pool);
    learner.config.double_q = double_q;
    g1_batch(&f, terminal);
    assert_int_equal(keel_learner_gradient(&learner, &f.batch, &parts, &err), KEEL_OK);
    /* s is one-hot, so the gradient of weight (o, 0) is dL/dQ(s, o). */
    for (size_t o = 0; o < 3; ++o) gradient[o] = (double)learner.grads[2 * o];
    keel_learner_close(&learner);
    keel_pool_close(pool);
    return parts;
}

static void g1_losses_and_gradient_come_out(void **state) {
    (void)state;
    static const double expected[3] = {0.09003057317, 0.24472847105, 0.66524095578};
    double gradient[3];
    keel_loss_parts parts = g1_loss(1, false, true, gradient);
    check_near(parts.td, 0.73, 1e-6, "Huber");
    check_near(parts.conservative, 1.4076059644443806, 1e-6, "CQL");
    check_near(parts.total, 2.1376059644443806, 1e-6, "L at alpha 1");
    for (size_t o = 0; o < 3; ++o) check_near(gradient[o], expected[o], 1e-6, "dL/dQ");
    check_near(g1_loss(4, false, true, gradient).total, 6.360423857777523, 1e-6, "L at alpha 4");
}

static void g1_does_not_read_the_next_state_of_a_terminal_transition(void **state) {
    (void)state;
    double gradient[3];
    keel_loss_parts parts = g1_loss(1, true, true, gradient); /* y = 0.5, so the difference is 1.5 */
    check_near(parts.td, 1.0, 1e-6, "Huber");
    for (size_t o = 0; o < 3; ++o) assert_true(isfinite(gradient[o]));
}

static void g1_without_double_q_takes_the_target_networks_own_best(void **state) {
    (void)state;
    double gradient[3];
    check_near(g1_loss(1, false, false, gradient).td, 0.3042, 1e-6, "Huber"); /* y = 1.22 */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_variant_follows_the_double_precision_reference),
        cmocka_unit_test(g1_losses_and_gradient_come_out),
        cmocka_unit_test(g1_without_double_q_takes_the_target_networks_own_best),
        cmocka_unit_test(g1_does_not_read_the_next_state_of_a_terminal_transition),
    };
    return cmocka_run_group_tests(tests, golden_load, golden_drop);
}
