/* Tables of experiments: units, sample ratios, comparisons, guardrails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <math.h>

#include "core/pcg.h"
#include "rl/judge/experiment.h"
#include "support/faults.h"

static const double HALVES[2] = {.5, .5};
static keel_arena arena;
static keel_err err;
static keel_experiment found;

static int end(void **state) {
    (void)state;
    keel_arena_free(&arena);
    return 0;
}

static void near(double got, double expected) {
    if (!(fabs(got - expected) <= 1e-12)) fail_msg("expected %.12g, got %.12g", expected, got);
}

static keel_observation seen(uint64_t unit, uint32_t arm, double refused) {
    return (keel_observation){.unit = unit,
                              .arm = arm,
                              .shares = HALVES,
                              .applies = 1u << KEEL_EXPERIMENT_REFUSAL,
                              .known = 1u << KEEL_EXPERIMENT_REFUSAL,
                              .value = {(float)refused}};
}

static void analyse_with(keel_experiment_config config, const keel_observation *all, size_t n, size_t cells) {
    config.arms = 2, config.tau = .05;
    if (config.alpha == 0) config.alpha = .05;
    assert_int_equal(keel_experiment_analyse(&config, all, n, cells, &arena, &found, &err), KEEL_OK);
}

static void a_unit_counts_once_with_its_mean(void **state) {
    (void)state;
    keel_observation all[] = {seen(1, 0, 1), seen(2, 0, 1), seen(1, 0, 0),
                              seen(3, 1, 0), seen(1, 1, 0), seen(4, 1, 1)};
    all[5].known = 0;
    analyse_with((keel_experiment_config){0}, all, 6, 1);
    const keel_experiment_cell *cell = found.cells;
    near(cell->units[0], 2), near(cell->units[1], 2), near(cell->expected[0], 2), near(cell->switched, 1);
    const keel_arm_mean *mean = cell->mean[KEEL_EXPERIMENT_REFUSAL];
    near(mean[0].units, 2), near(mean[0].mean, .75), near(mean[0].asked, 3), near(mean[0].unjudged, 0);
    near(mean[1].units, 1), near(mean[1].mean, 0), near(mean[1].asked, 2), near(mean[1].unjudged, 1);
    near(mean[0].variance, .125);
    assert_true(cell->difference[KEEL_EXPERIMENT_REFUSAL][1].insufficient && found.comparisons == 0);
    near(cell->mean[KEEL_EXPERIMENT_FEEDBACK][0].units, 0);
}

/* A run with rates of refusal by arm; each unit asks once. */
static size_t make(keel_observation *all, size_t n, double control, double treated, double share,
                   uint64_t run) {
    keel_rng rng = keel_rng_named(7, "experiment", run);
    for (size_t i = 0; i < n; i++) {
        const uint32_t arm = keel_rng_uniform(&rng) < share;
        all[i] = seen(i, arm, keel_rng_uniform(&rng) < (arm ? treated : control));
    }
    return n;
}

static keel_observation *room(size_t n) {
    keel_observation *all = keel_arena_calloc(&arena, n, sizeof *all);
    assert_non_null(all);
    return all;
}

static void a_difference_is_found_by_every_way_and_nothing_where_there_is_none(void **state) {
    (void)state;
    enum { N = 6000 };
    keel_observation *all = room(N);
    for (int way = 0; way < 3; way++) {
        make(all, N, .5, .7, .5, 1);
        analyse_with((keel_experiment_config){.way = (keel_experiment_way)way}, all, N, 1);
        const keel_arm_difference *d = &found.cells->difference[KEEL_EXPERIMENT_REFUSAL][1];
        assert_false(found.cells->is_void || d->insufficient);
        assert_true(d->low > 0 && d->low < .2 && d->high > .2 && d->rejected && d->p < .01);
        assert_int_equal(found.comparisons, 1);
        const keel_experiment_total *total = &found.total[KEEL_EXPERIMENT_REFUSAL][1];
        assert_true(total->known && total->low > 0 && total->low < .2 && total->high > .2);
        assert_true(fabs(total->sparse - total->difference) < 1e-9 && total->sparse_known);
        make(all, N, .6, .6, .5, 2);
        analyse_with((keel_experiment_config){.way = (keel_experiment_way)way}, all, N, 1);
        assert_true(d != NULL && !found.cells->difference[KEEL_EXPERIMENT_REFUSAL][1].rejected);
        assert_true(found.cells->difference[KEEL_EXPERIMENT_REFUSAL][1].low < 0);
    }
}

static void a_wrong_ratio_voids_the_cell_and_its_part_of_the_total(void **state) {
    (void)state;
    enum { N = 2000 };
    keel_observation *all = room(2 * N);
    make(all, N, .5, .5, .5, 3);
    make(all + N, N, .5, .9, .6, 4); /* 60 % where half was assigned */
    for (size_t i = N; i < 2 * N; i++) all[i].cell = 1, all[i].unit += N;
    analyse_with((keel_experiment_config){0}, all, 2 * N, 2);
    assert_false(found.cells[0].is_void);
    assert_true(found.cells[1].is_void && found.cells[1].ratio_p < .001);
    assert_true(fabs(found.total[KEEL_EXPERIMENT_REFUSAL][1].difference) < .1);
    assert_false(found.cells[1].difference[KEEL_EXPERIMENT_REFUSAL][1].rejected);
    assert_int_equal(found.comparisons, 1);
}

/* Simpson: the arm is better in both windows, and was served more in the worse one. */
static void windows_are_compared_each_with_itself(void **state) {
    (void)state;
    static const double shares[2][2] = {{.9, .1}, {.1, .9}};
    enum { N = 4000 };
    keel_observation *all = room(2 * N);
    make(all, N, .8, .9, .1, 5);
    make(all + N, N, .2, .3, .9, 6);
    for (size_t i = 0; i < 2 * N; i++) {
        all[i].cell = i >= N, all[i].shares = shares[i >= N];
        if (i >= N) all[i].unit += N;
    }
    analyse_with((keel_experiment_config){0}, all, 2 * N, 2);
    assert_true(found.total[KEEL_EXPERIMENT_REFUSAL][1].low > 0);
    assert_true(fabs(found.total[KEEL_EXPERIMENT_REFUSAL][1].difference - .1) < .04);
}

/* The same users in four windows say no more than in one: their values go together. */
static void a_user_in_many_windows_is_one_user(void **state) {
    (void)state;
    enum { N = 400, WINDOWS = 4 };
    keel_observation *all = room(N * WINDOWS);
    const keel_experiment_total *total = &found.total[KEEL_EXPERIMENT_REFUSAL][1];
    make(all, N, .5, .6, .5, 8);
    analyse_with((keel_experiment_config){0}, all, N, 1);
    const double once = total->deviation, low = total->low;
    for (size_t i = N; i < N * WINDOWS; i++) all[i] = all[i - N], all[i].cell++;
    analyse_with((keel_experiment_config){0}, all, N * WINDOWS, WINDOWS);
    assert_true(fabs(total->deviation / once - 1) < .01 && fabs(total->low - low) < .01);
    for (size_t i = N; i < N * WINDOWS; i++) all[i].unit += N * all[i].cell; /* other users */
    analyse_with((keel_experiment_config){0}, all, N * WINDOWS, WINDOWS);
    assert_true(fabs(2 * total->deviation / once - 1) < .01 && total->low > low);
}

/* Everybody alike on each side: what is shown is not certain. */
static void a_total_without_variance_has_an_interval(void **state) {
    (void)state;
    enum { N = 100 };
    keel_observation *all = room(N);
    const keel_experiment_total *total = &found.total[KEEL_EXPERIMENT_REFUSAL][1];
    make(all, N, 0, 1, .5, 9);
    analyse_with((keel_experiment_config){0}, all, N, 1);
    near(total->difference, 1);
    assert_true(total->low > .5 && total->low < .98);
}

/* What was shown once stays shown: p is the least of all looks, e is that of now. */
static void p_does_not_rise_again(void **state) {
    (void)state;
    enum { N = 800 };
    keel_observation *all = room(N);
    for (size_t i = 0; i < N; i++) all[i] = seen(i, i % 2, (double)(i < N / 2 ? i % 2 : (i + 1) % 2));
    analyse_with((keel_experiment_config){0}, all, N, 1);
    const keel_arm_difference *d = &found.cells->difference[KEEL_EXPERIMENT_REFUSAL][1];
    near(d->pairs, 400), near(d->difference, 0);
    assert_true(d->p < 1e-6 && d->e < 1);
}

static void guard(const char *text, int metric, bool at_least, bool of_control, double bound) {
    keel_guard got;
    assert_int_equal(keel_guard_parse(text, &got, &err), KEEL_OK);
    assert_int_equal(got.metric, metric);
    assert_int_equal(got.at_least, at_least);
    assert_int_equal(got.of_control, of_control);
    near(got.bound, bound);
}

static void guardrails_are_read(void **state) {
    (void)state;
    static const char *const wrong[] = {"",
                                        "refusal_rate",
                                        "refusal_rate > 0.5",
                                        "refusal_rate >= control + 0.1",
                                        "over_refusal_rate <= control - 0.1",
                                        "refusal_rate >= 2",
                                        "x >= 0.5",
                                        "refusal_rate >= control - ",
                                        "refusal_rate >= 0.5 and",
                                        "refusal_rate >= nan"};
    keel_guard got;
    guard("refusal_rate >= control - 0.05", KEEL_EXPERIMENT_REFUSAL, true, true, .05);
    guard("over_refusal_rate<=control+.1 ", KEEL_EXPERIMENT_OVER_REFUSAL, false, true, .1);
    guard(" completion_rate >= control", KEEL_EXPERIMENT_COMPLETION, true, true, 0);
    guard("refusal_rate >= 0.9", KEEL_EXPERIMENT_REFUSAL, true, false, .9);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(keel_guard_parse(wrong[i], &got, &err), KEEL_E_USAGE);
}

static bool broken(const char *text, const keel_observation *all, size_t n) {
    keel_guard rule;
    bool is;
    double limit;
    assert_int_equal(keel_guard_parse(text, &rule, &err), KEEL_OK);
    assert_int_equal(keel_guard_broken(&rule, all, n, 2, 1, .05, &arena, &is, &limit, &err), KEEL_OK);
    return is;
}

static void a_guardrail_stops_what_is_worse_and_nothing_else(void **state) {
    (void)state;
    enum { N = 3000 };
    keel_observation *all = room(N);
    make(all, N, .95, .7, .5, 8);
    assert_true(broken("refusal_rate >= control - 0.05", all, N));
    assert_true(broken("refusal_rate >= 0.9", all, N));
    assert_false(broken("refusal_rate >= control - 0.3", all, N));
    assert_false(broken("refusal_rate >= 0.6", all, N));
    assert_false(broken("refusal_rate >= control - 0.05", all, 40)); /* too few */
    make(all, N, .7, .95, .5, 9);
    assert_false(broken("refusal_rate >= control", all, N));
    for (size_t i = 0; i < N; i++)
        all[i].applies = all[i].known = 1u << KEEL_EXPERIMENT_OVER_REFUSAL, all[i].value[1] = all[i].value[0];
    assert_true(broken("over_refusal_rate <= control + 0.1", all, N));
    assert_true(broken("over_refusal_rate <= 0.85", all, N));
    assert_false(broken("over_refusal_rate <= control + 0.3", all, N));
    make(all, N, .95, .7, .7, 10); /* the ratio is wrong */
    assert_false(broken("refusal_rate >= control - 0.05", all, N));
}

static void without_memory_it_is_an_error(void **state) {
    (void)state;
    enum { N = 200 };
    keel_observation all[N];
    make(all, N, .5, .5, .5, 11);
    faults fault;
    for (size_t at = 1;; at++) {
        keel_arena own = {0};
        keel_experiment got;
        faults_begin(&fault, at);
        const keel_status status = keel_experiment_analyse(
            &(keel_experiment_config){.arms = 2, .alpha = .05, .tau = .05}, all, N, 1, &own, &got, &err);
        const bool reached = fault.calls >= at;
        keel_arena_free(&own);
        faults_end();
        assert_int_equal(fault.live, 0);
        assert_int_equal(status, reached ? KEEL_E_NOMEM : KEEL_OK);
        if (!reached) break;
    }
}

#define TEST(name) cmocka_unit_test_teardown(name, end)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_unit_counts_once_with_its_mean),
        TEST(a_difference_is_found_by_every_way_and_nothing_where_there_is_none),
        TEST(a_wrong_ratio_voids_the_cell_and_its_part_of_the_total),
        TEST(a_user_in_many_windows_is_one_user),
        TEST(a_total_without_variance_has_an_interval),
        TEST(windows_are_compared_each_with_itself),
        TEST(p_does_not_rise_again),
        TEST(guardrails_are_read),
        TEST(a_guardrail_stops_what_is_worse_and_nothing_else),
        TEST(without_memory_it_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
