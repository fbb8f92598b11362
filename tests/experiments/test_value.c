/* The value-estimation experiment: its worlds, its logs, and what its tables are made of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "experiments/value/report.h"

static void near(double got, double expected, double tolerance) {
    if (!(fabs(got - expected) <= tolerance)) fail_msg("expected %.12g, got %.12g", expected, got);
}

static void open_world(value_world *world, const value_world_kind *kind) {
    keel_err err = {0};
    if (value_world_open(world, kind, 3, 0.02, &err) != KEEL_OK) fail_msg("%s: %s", err.where, err.message);
}

/* ---- worlds ---- */

/* A network of zeros takes any act, as likely as any other. */
static void check_indifferent_policy(const value_world_kind *kind) {
    value_world world;
    value_truth truth;
    keel_qnet net = {0};
    open_world(&world, kind);
    const keel_qnet_shape shape = {.space = KEEL_SPACE_ACTS,
                                   .state_dim = world.dim,
                                   .n_acts = world.acts,
                                   .heads = 1,
                                   .critics = 1,
                                   .hidden = {1, {4}}};
    assert_int_equal(keel_qnet_open(&net, &shape, NULL), KEEL_OK);
    assert_int_equal(kind->truth(&world, &net, &truth, NULL), KEEL_OK);
    near(truth.value, world.random, 4 * truth.se + 1e-6);
    assert_true(world.best > world.random + 0.5);
    assert_true(truth.se <= world.precision * (world.best - world.random));
    keel_qnet_close(&net);
    value_world_close(&world);
}

static void who_is_indifferent_is_worth_what_acting_at_random_is(void **state) {
    (void)state;
    check_indifferent_policy(&value_tabular);
    check_indifferent_policy(&value_desk);
}

static double mean_return(const value_log *log, double gamma) {
    double sum = 0, discount = 1;
    for (size_t i = 0; i < log->n; ++i) {
        discount = log->first[i] ? 1 : discount * gamma;
        sum += discount * (double)log->reward[i];
        assert_true(i == 0 ? log->first[i] : log->first[i] == log->last[i - 1]);
    }
    assert_true(log->last[log->n - 1]);
    return sum / (double)log->n_conversations;
}

static void check_logs(const value_world_kind *kind) {
    value_world world;
    value_log few = {0}, many = {0}, other = {0}, best = {0};
    open_world(&world, kind);
    assert_int_equal(kind->log(&world, 20, 0.5, 0, &few, NULL), KEEL_OK);
    assert_int_equal(kind->log(&world, 30, 0.5, 0, &many, NULL), KEEL_OK);
    assert_int_equal(kind->log(&world, 20, 0.5, 1, &other, NULL), KEEL_OK);
    assert_int_equal(kind->log(&world, 400, 0, 0, &best, NULL), KEEL_OK);
    assert_int_equal(few.n_conversations, 20);
    near(mean_return(&few, world.gamma), few.mean_return, 1e-5);
    near(mean_return(&best, world.gamma), world.best, 0.1 * (world.best - world.random));
    assert_memory_equal(few.state, many.state, few.n * world.dim * sizeof(float));
    assert_memory_equal(few.action, many.action, few.n * sizeof(int32_t));
    const size_t least = few.n < other.n ? few.n : other.n;
    assert_memory_not_equal(few.action, other.action, least * sizeof(int32_t));
    value_log_free(&few);
    value_log_free(&many);
    value_log_free(&other);
    value_log_free(&best);
    value_world_close(&world);
}

static void a_log_begins_as_a_shorter_one_and_the_held_out_one_is_another(void **state) {
    (void)state;
    check_logs(&value_tabular);
    check_logs(&value_desk);
}

/* ---- learning ---- */

/* Enough of it: what fitted Q evaluation says of the clone is near the truth, and the critic of the greedy
 * learner near its own. */
static void with_ample_logs_promises_are_kept(void **state) {
    (void)state;
    const value_settings settings = {
        .steps = 3000, .batch = 64, .hidden = 64, .target_interval = 50, .learning_rate = 0.003, .scale = 10};
    static const char *const algorithms[] = {"bc", "dqn"};
    value_world world;
    value_log log = {0};
    keel_pool *pool;
    open_world(&world, &value_tabular);
    assert_int_equal(keel_pool_open(&pool, 1, NULL), KEEL_OK);
    assert_int_equal(world.kind->log(&world, 2000, 0.9, 0, &log, NULL), KEEL_OK);
    for (size_t i = 0; i < 2; ++i) {
        keel_learner learner;
        value_truth truth;
        double fitted, own, range = world.best - world.random;
        assert_int_equal(value_learn(&world, &log, &settings, algorithms[i], 0, 1, pool, &learner, NULL),
                         KEEL_OK);
        assert_int_equal(world.kind->truth(&world, &learner.net, &truth, NULL), KEEL_OK);
        assert_int_equal(value_fitted(&world, &log, &settings, &learner, 1, pool, &fitted, NULL), KEEL_OK);
        assert_int_equal(value_own(&world, &log, &settings, &learner, &own, NULL), KEEL_OK);
        near(fitted, truth.value, 0.1 * range);
        if (i) near(own, truth.value, 0.15 * range);
        if (i) assert_true(truth.value > world.random + 0.6 * range);
        keel_learner_close(&learner);
    }
    value_log_free(&log);
    keel_pool_close(pool);
    value_world_close(&world);
}

/* The log is mostly random, so the term pushes hard; what the log earned holds it up. */
static void calibrated_promises_are_less_pessimistic(void **state) {
    (void)state;
    value_settings settings = {
        .steps = 300, .batch = 64, .hidden = 32, .target_interval = 50, .learning_rate = 0.003, .scale = 10};
    value_world world;
    value_log log = {0};
    keel_pool *pool;
    double own[2];
    open_world(&world, &value_tabular);
    assert_int_equal(keel_pool_open(&pool, 1, NULL), KEEL_OK);
    assert_int_equal(world.kind->log(&world, 100, 0.9, 0, &log, NULL), KEEL_OK);
    for (size_t i = 0; i < 2; ++i) {
        keel_learner learner;
        settings.calibrated = i == 1;
        assert_int_equal(value_learn(&world, &log, &settings, "cql", 3, 1, pool, &learner, NULL), KEEL_OK);
        assert_int_equal(value_own(&world, &log, &settings, &learner, &own[i], NULL), KEEL_OK);
        keel_learner_close(&learner);
    }
    assert_true(own[0] < log.mean_return && own[1] > own[0] + 0.05 * (world.best - world.random));
    value_log_free(&log);
    keel_pool_close(pool);
    value_world_close(&world);
}

/* ---- cells ---- */

enum { SEEDS = 2 };

/* True values are 0, the range is 1. On another log the second alpha looks best; on the truth the last is. */
static void make_runs(value_run *runs) {
    static const double own[VALUE_N_METHODS] = {0, 4, 0.9, 0.1, 0.3, 0.02},
                        held_out[VALUE_N_METHODS] = {0, 0, 0.2, 0.05, 0, -0.5};
    for (size_t k = 0; k < SEEDS; ++k) {
        runs[k] = (value_run){
            .n = 10, .eps = 0.5, .seed = (double)k, .best = 0.5, .random = -0.5, .logged = k ? 0.75 : 0.25};
        for (size_t m = 0; m < VALUE_N_METHODS; ++m)
            runs[k].of[m] =
                (value_result){.own = own[m], .fitted = 0.05 * (double)(m + 1), .held_out = held_out[m]};
    }
}

static void make_cell(value_config *config, value_cell *cell) {
    char *assignments[] = {(char[]){"n=10"}, (char[]){"eps=50"}, (char[]){"headline_n=10"},
                           (char[]){"headline_eps=50"}, (char[]){"seeds=2"}};
    value_run runs[SEEDS];
    make_runs(runs);
    assert_int_equal(value_config_read(5, assignments, config, NULL), KEEL_OK);
    assert_int_equal(value_cells_make(config, runs, cell, NULL), KEEL_OK);
}

static void alpha_is_chosen_by_the_other_log_and_not_by_the_truth(void **state) {
    (void)state;
    value_config config;
    value_cell cell;
    make_cell(&config, &cell);
    near(cell.of[VALUE_CHOSEN][KEEL_ESTIMAND_E1].method.rmse, 0.1, 1e-12);
    near(cell.of[3][KEEL_ESTIMAND_E1].method.rmse, 0.02, 1e-12);
}

static void a_cell_has_each_estimand_of_each_alpha(void **state) {
    (void)state;
    value_config config;
    value_cell cell;
    make_cell(&config, &cell);
    near(cell.logged, 1, 1e-12);
    near(cell.share[VALUE_BC], 0.5, 1e-12);
    near(cell.own[VALUE_BC].rmse, 0.05, 1e-12); /* by FQE */
    near(cell.own_logged.rmse, sqrt(0.3125), 1e-12);
    near(cell.own[VALUE_QL].rmse, 4, 1e-12);
    near(cell.of[0][KEEL_ESTIMAND_E1].reduction, 1 - 0.9 / 0.05, 1e-9);
    near(cell.of[0][KEEL_ESTIMAND_E2].reduction, 1 - 0.15 / 0.05, 1e-9);
    near(cell.of[3][KEEL_ESTIMAND_E4].reduction, 1 - 0.02 / 4, 1e-9);
    near(cell.of[3][KEEL_ESTIMAND_E5].reduction, 1 - 0.02 / sqrt(0.3125), 1e-9);
}

/* The line of an estimand in the printed table. */
static void expect_verdict(const char *text, const char *estimand, const char *verdict) {
    const char *line = strstr(text, estimand);
    assert_non_null(line);
    const char *end = strchr(line + 1, '\n'), *said = strstr(line, verdict);
    if (!said || !end || said > end) fail_msg("expected \"%s\" in: %.*s", verdict, (int)(end - line), line);
}

static void the_claim_is_made_where_the_interval_supports_it_and_nowhere_else(void **state) {
    (void)state;
    value_config config;
    value_cell cell;
    char text[8192] = {0};
    FILE *file = tmpfile();
    make_cell(&config, &cell);
    value_cells_print(&config, &cell, file);
    rewind(file);
    assert_true(fread(text, 1, sizeof text - 1, file) > 0);
    fclose(file);
    expect_verdict(text, "\nE1 ", "no: the error is larger");
    expect_verdict(text, "\nE4 ", "  yes\n");
    expect_verdict(text, "\nE3 ", "  no\n");
    expect_verdict(text, "\nE5 ", "not shown: lower, by how much is open"); /* 60 to 87 % */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_indifferent_is_worth_what_acting_at_random_is),
        cmocka_unit_test(a_log_begins_as_a_shorter_one_and_the_held_out_one_is_another),
        cmocka_unit_test(with_ample_logs_promises_are_kept),
        cmocka_unit_test(calibrated_promises_are_less_pessimistic),
        cmocka_unit_test(alpha_is_chosen_by_the_other_log_and_not_by_the_truth),
        cmocka_unit_test(a_cell_has_each_estimand_of_each_alpha),
        cmocka_unit_test(the_claim_is_made_where_the_interval_supports_it_and_nowhere_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
