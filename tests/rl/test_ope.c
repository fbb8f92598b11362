/* Off-policy estimates against worked examples of the reference. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/pcg.h"
#include "rl/ope.h"

static void check(double got, double expected, double tolerance) {
    if (!(fabs(got - expected) <= tolerance)) fail_msg("expected %.9g, got %.9g", expected, got);
}

static void add(keel_ope_log *to, size_t conversation, const double *ratio, const double *reward, size_t n) {
    keel_ope_step steps[64];
    for (size_t t = 0; t < n; ++t) steps[t] = (keel_ope_step){log(ratio[t]), reward[t]};
    assert_int_equal(keel_ope_add(to, conversation, steps, n, NULL), KEEL_OK);
}

static keel_ope estimate(keel_ope_log *log, double gamma) {
    keel_ope out;
    assert_int_equal(keel_ope_estimate(log, gamma, 200, 1, NULL, &out, NULL), KEEL_OK);
    keel_ope_log_free(log);
    return out;
}

/* reference evaluation 3.1 */
static void the_worked_example_of_three_trajectories_comes_out(void **state) {
    (void)state;
    const double ratio[3][2] = {{2, .5}, {1, 1}, {.5, 2}}, reward[3][2] = {{1, 0}, {0, 1}, {1, 1}};
    keel_ope_log log = {0};
    for (size_t i = 0; i < 3; ++i) add(&log, i, ratio[i], reward[i], 2);
    keel_ope got = estimate(&log, .9);
    check(got.wis.value, 1.266666667, 1e-6);
    check(got.wpdis.value, 1.314285714, 1e-6);
    check(got.ess, 3.0, 1e-6);
    check(got.max_weight, 1.0 / 3, 1e-6);
    assert_true(got.wis.n == 3 && got.dm.n == 0 && !got.headline);
}

/* reference offline-rl 2.10, G5 */
static void g5_comes_out(void **state) {
    (void)state;
    const double ratio[2][2] = {{2, 1}, {.5, 2}}, reward[2][2] = {{1, 0}, {0, 2}};
    keel_ope_log log = {0};
    for (size_t i = 0; i < 2; ++i) add(&log, i, ratio[i], reward[i], 2);
    assert_int_equal(keel_ope_add_value(&log, 0, .9, NULL), KEEL_OK);
    assert_int_equal(keel_ope_add_value(&log, 1, .6, NULL), KEEL_OK);
    keel_ope got = estimate(&log, .9);
    check(got.wis.value, 1.2666667, 1e-6);
    check(got.wpdis.value, 1.4, 1e-6);
    check(got.dm.value, .75, 1e-6);
    check(got.ess, 1.8, 1e-6);
}

static void an_ended_trajectory_keeps_its_weight(void **state) {
    (void)state;
    const double ratio[2][2] = {{3, 1}, {1, 1}}, reward[2][2] = {{1, 0}, {0, 1}};
    keel_ope_log log = {0};
    add(&log, 0, ratio[0], reward[0], 1);
    add(&log, 1, ratio[1], reward[1], 2);
    check(estimate(&log, 1).wpdis.value, 3.0 / 4 + 1.0 / 4, 1e-12);
}

static void products_of_many_large_ratios_do_not_overflow(void **state) {
    (void)state;
    double large[64], small[64], reward[64];
    for (size_t t = 0; t < 64; ++t) large[t] = 1e9, small[t] = 1e-9, reward[t] = 1;
    keel_ope_log log = {0};
    add(&log, 0, large, reward, 64);
    add(&log, 1, small, reward, 64);
    keel_ope got = estimate(&log, 1);
    check(got.wis.value, 64, 1e-9);
    check(got.wpdis.value, 64, 1e-9);
    check(got.ess, 1, 1e-9);
}

static void a_policy_that_would_never_act_as_logged_has_no_estimate(void **state) {
    (void)state;
    const double never[1] = {0}, reward[1] = {1};
    keel_ope_log log = {0}, empty = {0};
    add(&log, 0, never, reward, 1);
    keel_ope got = estimate(&log, 1);
    assert_true(got.wis.n == 0 && got.wpdis.n == 0 && got.ess == 0);
    assert_true(estimate(&empty, 1).wis.n == 0);
}

/* A bandit of known value: the interval covers it, and the estimate is near it. */
static void weighted_importance_sampling_finds_the_value_of_another_policy(void **state) {
    (void)state;
    keel_rng rng = keel_rng_stream(4, "test", 0);
    keel_ope_log log = {0};
    for (size_t i = 0; i < 4000; ++i) { /* behaviour 0.5 / 0.5, policy 0.8 / 0.2, rewards 0.9 / 0.2 */
        bool first = keel_rng_uniform(&rng) < 0.5;
        double ratio = first ? 1.6 : 0.4, reward = keel_rng_uniform(&rng) < (first ? 0.9 : 0.2);
        add(&log, i, &ratio, &reward, 1);
    }
    keel_ope got = estimate(&log, 1);
    check(got.wis.value, 0.76, 0.03);
    assert_true(got.wis.low < 0.76 && got.wis.high > 0.76 && got.wis.high - got.wis.low < 0.06 &&
                got.headline);
    check(got.ess, 4000 / 1.36, 60);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_worked_example_of_three_trajectories_comes_out),
        cmocka_unit_test(g5_comes_out),
        cmocka_unit_test(an_ended_trajectory_keeps_its_weight),
        cmocka_unit_test(products_of_many_large_ratios_do_not_overflow),
        cmocka_unit_test(a_policy_that_would_never_act_as_logged_has_no_estimate),
        cmocka_unit_test(weighted_importance_sampling_finds_the_value_of_another_policy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
