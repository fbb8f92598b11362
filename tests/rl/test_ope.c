/* Off-policy estimates against worked examples of the reference. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/pcg.h"
#include "rl/judge/magic.h"
#include "rl/judge/ope.h"

static void check(double got, double expected, double tolerance) {
    if (!(fabs(got - expected) <= tolerance)) fail_msg("expected %.9g, got %.9g", expected, got);
}

typedef struct example {
    const double *ratio, *reward, *q, *v; /* q, v: NULL where not known */
} example;

static void add(keel_ope_log *to, size_t conversation, example e, size_t n) {
    keel_ope_step steps[64];
    for (size_t t = 0; t < n; ++t)
        steps[t] = (keel_ope_step){log(e.ratio[t]), 0.5, e.reward[t], e.q ? e.q[t] : NAN, e.v ? e.v[t] : NAN};
    assert_int_equal(keel_ope_add(to, conversation, steps, n, NULL), KEEL_OK);
    if (e.v) assert_int_equal(keel_ope_add_value(to, conversation, e.v[0], e.v[0], NULL), KEEL_OK);
}

static keel_ope estimate(keel_ope_log *log, double gamma) {
    const keel_ope_config config = {.gamma = gamma, .reward_low = 0, .resamples = 200, .seed = 1};
    keel_ope out;
    assert_int_equal(keel_ope_estimate(log, &config, NULL, &out, NULL), KEEL_OK);
    keel_ope_log_free(log);
    return out;
}

static const double R3[3][2] = {{2, .5}, {1, 1}, {.5, 2}}, W3[3][2] = {{1, 0}, {0, 1}, {1, 1}},
                    Q3[3][2] = {{.8, .3}, {.2, .7}, {.9, .6}}, V3[3][2] = {{.7, .4}, {.5, .6}, {.6, .5}};

/* docs/design.md, Off-policy estimates */
static void the_worked_example_of_three_trajectories_comes_out(void **state) {
    (void)state;
    keel_ope_log log = {0};
    for (size_t i = 0; i < 3; ++i) add(&log, i, (example){R3[i], W3[i], Q3[i], V3[i]}, 2);
    keel_ope got = estimate(&log, .9);
    check(got.estimate[KEEL_OPE_IS].value, 1.266666667, 1e-9);
    check(got.estimate[KEEL_OPE_PDIS].value, 1.433333333, 1e-9);
    check(got.estimate[KEEL_OPE_WIS].value, 1.266666667, 1e-9);
    check(got.estimate[KEEL_OPE_LOGGED].value, 3.8 / 3, 1e-9);
    check(got.estimate[KEEL_OPE_WPDIS].value, 1.314285714, 1e-9);
    check(got.estimate[KEEL_OPE_DR].value, 1.298333333, 1e-9);
    check(got.estimate[KEEL_OPE_WDR].value, 1.215714286, 1e-9);
    check(got.estimate[KEEL_OPE_DM].value, .6, 1e-9); /* g(-1) */
    check(got.ess, 3.0, 1e-9);
    check(got.least_ess, 3.5 * 3.5 / 5.25, 1e-9);
    check(got.max_weight, 1.0 / 3, 1e-9);
    check(got.support, .5, 1e-12);
    assert_true(got.estimate[KEEL_OPE_WIS].n == 3 && !got.headline);
}

/* docs/design.md, G5 */
static void g5_comes_out(void **state) {
    (void)state;
    const double ratio[2][2] = {{2, 1}, {.5, 2}}, reward[2][2] = {{1, 0}, {0, 2}},
                 q[2][2] = {{.8, .3}, {.5, 1.5}}, v[2][2] = {{.9, .2}, {.6, 1.2}};
    keel_ope_log log = {0};
    for (size_t i = 0; i < 2; ++i) add(&log, i, (example){ratio[i], reward[i], q[i], v[i]}, 2);
    keel_ope got = estimate(&log, .9);
    check(got.estimate[KEEL_OPE_IS].value, 1.9, 1e-9);
    check(got.estimate[KEEL_OPE_WIS].value, 1.2666666667, 1e-9);
    check(got.estimate[KEEL_OPE_PDIS].value, 1.9, 1e-9);
    check(got.estimate[KEEL_OPE_WPDIS].value, 1.4, 1e-9);
    check(got.estimate[KEEL_OPE_DR].value, 1.23, 1e-9);
    check(got.estimate[KEEL_OPE_WDR].value, 1.14, 1e-9);
    check(got.estimate[KEEL_OPE_DM].value, .75, 1e-9);
    check(got.ess, 1.8, 1e-9);
    check(got.least_ess, 1.4705882353, 1e-9);
}

/* ReAgent leaves ended episodes out of the normaliser, so that it shrinks with t; SCOPE-RL wants one length
 * for all. */
static void an_ended_trajectory_keeps_its_weight(void **state) {
    (void)state;
    const double ratio[2][2] = {{3, 1}, {1, 1}}, reward[2][2] = {{1, 0}, {0, 1}};
    keel_ope_log log = {0};
    add(&log, 0, (example){ratio[0], reward[0], NULL, NULL}, 1);
    add(&log, 1, (example){ratio[1], reward[1], NULL, NULL}, 2);
    check(estimate(&log, 1).estimate[KEEL_OPE_WPDIS].value, 3.0 / 4 + 1.0 / 4, 1e-12);
}

static void an_ended_trajectory_is_as_one_padded_with_steps_that_change_nothing(void **state) {
    (void)state;
    const double ratio[2][3] = {{2, 1, 1}, {.5, 1.5, .8}}, reward[2][3] = {{1, 0, 0}, {.2, .3, .4}},
                 q[2][3] = {{.8, 0, 0}, {.5, .4, .3}}, v[2][3] = {{.7, 0, 0}, {.6, .5, .2}};
    keel_ope_log ragged = {0}, padded = {0};
    add(&ragged, 0, (example){ratio[0], reward[0], q[0], v[0]}, 1);
    add(&ragged, 1, (example){ratio[1], reward[1], q[1], v[1]}, 3);
    for (size_t i = 0; i < 2; ++i) add(&padded, i, (example){ratio[i], reward[i], q[i], v[i]}, 3);
    keel_ope a = estimate(&ragged, .9), b = estimate(&padded, .9);
    for (size_t k = 0; k < KEEL_N_OPE; ++k) check(a.estimate[k].value, b.estimate[k].value, 1e-12);
}

/* d3rlpy's evaluators cut episodes into windows of 1024 steps. */
static void an_episode_of_thousands_of_steps_is_one(void **state) {
    (void)state;
    enum { LONG = 3000 };
    static keel_ope_step steps[LONG];
    keel_ope_log log = {0};
    for (size_t t = 0; t < LONG; ++t)
        steps[t] = (keel_ope_step){0, 1, 1, (double)(LONG - t), (double)(LONG - t)};
    assert_int_equal(keel_ope_add(&log, 0, steps, LONG, NULL), KEEL_OK);
    assert_int_equal(keel_ope_add_value(&log, 0, steps[0].v, steps[0].v, NULL), KEEL_OK);
    keel_ope got = estimate(&log, 1);
    for (size_t k = 0; k < KEEL_OPE_MAGIC; ++k) check(got.estimate[k].value, LONG, 1e-9);
    assert_true(got.estimate[KEEL_OPE_DM].n == 1 && got.estimate[KEEL_OPE_PDIS].n == 1);
}

static void products_of_many_large_ratios_do_not_overflow(void **state) {
    (void)state;
    double large[64], small[64], reward[64];
    for (size_t t = 0; t < 64; ++t) large[t] = 1e9, small[t] = 1e-9, reward[t] = 1;
    keel_ope_log log = {0};
    add(&log, 0, (example){large, reward, NULL, NULL}, 64);
    add(&log, 1, (example){small, reward, NULL, NULL}, 64);
    keel_ope got = estimate(&log, 1);
    check(got.estimate[KEEL_OPE_WIS].value, 64, 1e-9);
    check(got.estimate[KEEL_OPE_WPDIS].value, 64, 1e-9);
    check(got.ess, 1, 1e-9);
    assert_true(got.estimate[KEEL_OPE_IS].n == 0); /* 10^576 is no number to report */
}

static void a_policy_that_would_never_act_as_logged_has_no_estimate(void **state) {
    (void)state;
    const double never[1] = {0}, reward[1] = {1};
    keel_ope_log log = {0}, empty = {0};
    add(&log, 0, (example){never, reward, NULL, NULL}, 1);
    keel_ope got = estimate(&log, 1);
    assert_true(got.estimate[KEEL_OPE_WIS].n == 0 && got.estimate[KEEL_OPE_WPDIS].n == 0 && got.ess == 0);
    assert_true(estimate(&empty, 1).estimate[KEEL_OPE_WIS].n == 0);
}

static void without_a_model_of_every_step_nothing_is_doubly_robust(void **state) {
    (void)state;
    keel_ope_log log = {0};
    add(&log, 0, (example){R3[0], W3[0], Q3[0], V3[0]}, 2);
    add(&log, 1, (example){R3[1], W3[1], NULL, NULL}, 2);
    keel_ope got = estimate(&log, 1);
    assert_true(got.estimate[KEEL_OPE_DR].n == 0 && got.estimate[KEEL_OPE_WDR].n == 0 &&
                got.estimate[KEEL_OPE_MAGIC].n == 0 && got.estimate[KEEL_OPE_DM].n == 1 &&
                got.estimate[KEEL_OPE_PDIS].n == 2);
}

/* ---- MAGIC ---- */

static void the_blend_is_the_minimum_on_the_simplex(void **state) {
    (void)state;
    const double two[4] = {2, 0, 0, 1}, corner[4] = {1, 2, 2, 5}, none[4] = {0};
    double x[2], best[5], a[25], b[25];
    keel_magic_minimise(two, 2, x);
    check(x[0], 1.0 / 3, 1e-9);
    keel_magic_minimise(corner, 2, x); /* unconstrained it would be (3/2, -1/2) */
    check(x[0], 1, 0);
    keel_magic_minimise(none, 2, x);
    check(x[0] + x[1], 1, 1e-12);
    keel_rng rng = keel_rng_named(8, "test", 0);
    for (size_t i = 0; i < 25; ++i) b[i] = keel_rng_normal(&rng);
    for (size_t i = 0; i < 25; ++i) {
        a[i] = 0;
        for (size_t j = 0; j < 5; ++j) a[i] += b[i / 5 * 5 + j] * b[i % 5 * 5 + j];
    }
    keel_magic_minimise(a, 5, best);
    double least = 0;
    for (size_t i = 0; i < 25; ++i) least += best[i / 5] * a[i] * best[i % 5];
    for (int trial = 0; trial < 20000; ++trial) { /* no point drawn at random is lower */
        double y[5], sum = 0, value = 0;
        for (size_t i = 0; i < 5; ++i) sum += y[i] = -log1p(-keel_rng_uniform(&rng));
        for (size_t i = 0; i < 25; ++i) value += y[i / 5] * a[i] * y[i % 5] / (sum * sum);
        if (value < least - 1e-9) fail_msg("%g is below %g", value, least);
    }
}

/* ReAgent multiplies b b' element by element, which would give .9 and .1 here: b = (1, -3), no covariance. */
static void biases_of_opposite_signs_cancel_in_the_blend(void **state) {
    (void)state;
    const double parts[4] = {.5, -1.5, .5, -1.5}, g[2] = {1, -3};
    double x[2];
    assert_int_equal(keel_magic_blend(parts, 2, g, 2, 0, 0, x, NULL), KEEL_OK);
    check(x[0], .75, 1e-9);
    check(x[1], .25, 1e-9);
}

/* Omega_11 = 3/2 (1 + 0 + 1) = 3; b = (0, 1): 3 x^2 + (1 - x)^2 is least at 1/4. ReAgent leaves out the n of
 * n / (n - 1). */
static void covariance_and_bias_are_weighed_as_they_are(void **state) {
    (void)state;
    const double parts[6] = {2, 2.0 / 3, 1, 2.0 / 3, 0, 2.0 / 3}, g[2] = {3, 2};
    double x[2];
    assert_int_equal(keel_magic_blend(parts, 3, g, 2, 3, 4, x, NULL), KEEL_OK);
    check(x[0], .25, 1e-9);
}

/* Where q = r + gamma v' to the letter, all g^(j) are DM, and so is their blend. ReAgent takes v of the step
 * that it has just counted for that of the next. */
static void a_model_without_error_makes_all_estimates_one(void **state) {
    (void)state;
    const double ratio[3][3] = {{2, .5, 1.5}, {.5, 2, 1}, {1.2, .7, .4}},
                 reward[3][3] = {{1, 0, .5}, {.2, .4, .6}, {0, 1, 1}};
    double q[3][3], v[3][3], mean = 0;
    keel_ope_log log = {0};
    for (size_t i = 0; i < 3; ++i) {
        for (size_t t = 3; t-- > 0;) {
            q[i][t] = reward[i][t] + (t < 2 ? .9 * v[i][t + 1] : 0);
            v[i][t] = q[i][t];
        }
        add(&log, i, (example){ratio[i], reward[i], q[i], v[i]}, 3);
        mean += v[i][0] / 3;
    }
    keel_ope got = estimate(&log, .9);
    for (size_t k = KEEL_OPE_DM; k < KEEL_OPE_LOGGED; ++k) check(got.estimate[k].value, mean, 1e-12);
}

/* ReAgent optimises a copy, so that its weights stay even, and multiplies b b' element by element. */
static void magic_trusts_the_model_when_it_is_right_and_the_weights_when_it_is_not(void **state) {
    (void)state;
    for (int wrong = 0; wrong < 2; ++wrong) {
        keel_rng rng = keel_rng_named(9, "test", 0);
        keel_ope_log log = {0};
        for (size_t i = 0; i < 3000; ++i) { /* three pulls, each 0.8 / 0.2 against 0.5 / 0.5, paying 1 or 0 */
            double ratio[3], reward[3], q[3], v[3], shift = wrong ? .7 : 0;
            for (size_t t = 0; t < 3; ++t) {
                bool first = keel_rng_uniform(&rng) < 0.5;
                ratio[t] = first ? 1.6 : 0.4;
                reward[t] = keel_rng_uniform(&rng) < (first ? .9 : .2);
                double later = (double)(2 - t) * .76;
                q[t] = (first ? .9 : .2) + later + shift;
                v[t] = .76 + later + shift;
            }
            add(&log, i, (example){ratio, reward, q, v}, 3);
        }
        keel_ope got = estimate(&log, 1);
        double off = fabs(got.estimate[KEEL_OPE_MAGIC].value - got.estimate[KEEL_OPE_DM].value);
        check(got.estimate[KEEL_OPE_MAGIC].value, 3 * .76, .06);
        check(got.estimate[KEEL_OPE_DM].value, 3 * .76 + (wrong ? .7 : 0), 1e-9);
        assert_true(wrong ? off > .6 : off < .005);
        assert_true(got.estimate[KEEL_OPE_MAGIC].low <= got.estimate[KEEL_OPE_WDR].low &&
                    got.estimate[KEEL_OPE_MAGIC].high >= got.estimate[KEEL_OPE_WDR].high);
        assert_true(got.lower > 1.2 && got.lower < 3 * .76);
        check(got.mean_weight, 1, .05);
        assert_false(got.propensities_refuted);
    }
}

/* Weights over a model's propensities have no known mean, and answers of one conversation hang together. */
static void nothing_is_guaranteed_without_logged_propensities_and_independent_trajectories(void **state) {
    (void)state;
    const double ratio[1] = {1}, reward[1] = {1};
    for (int how = 0; how < 3; ++how) {
        keel_ope_log log = {.estimated = how == 1};
        for (size_t i = 0; i < 400; ++i)
            add(&log, how == 2 ? i / 2 : i, (example){ratio, reward, NULL, NULL}, 1);
        keel_ope got = estimate(&log, 1);
        assert_true(how ? got.lower == -INFINITY : got.lower > .8);
    }
}

/* Weights of true propensities have mean 1. Those of a choice among other answers than the log lists may all
 * be larger; a model's, and few weights, show nothing. */
static void propensities_that_cannot_be_true_are_refuted(void **state) {
    (void)state;
    const double reward[2] = {1, 1};
    const struct {
        size_t n;
        double ratio; /* of both steps */
        bool estimated, refuted;
    } cases[] = {{400, 2, false, true}, {400, 2, true, false}, {20, 2, false, false}, {20, 50, false, true}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; ++k) {
        const double ratio[2] = {cases[k].ratio, cases[k].ratio};
        keel_ope_log log = {.estimated = cases[k].estimated};
        for (size_t i = 0; i < cases[k].n; ++i) add(&log, i, (example){ratio, reward, NULL, NULL}, 2);
        const keel_ope got = estimate(&log, 1);
        check(got.mean_weight, cases[k].ratio * cases[k].ratio, 1e-6);
        assert_int_equal(got.propensities_refuted, cases[k].refuted);
        assert_int_equal(got.headline, cases[k].n == 400 && !cases[k].refuted);
        if (cases[k].refuted) assert_true(got.lower == -INFINITY);
    }
}

/* A step of the log, then the model: 0.5 + 0.9 times 1 without any error, where the log goes on with noise
 * and the model of the first step is wrong. */
static void what_the_model_adds_is_discounted_by_the_steps_before_it(void **state) {
    (void)state;
    const double ratio[4][2] = {{1, .5}, {1, .5}, {1, 1.5}, {1, 1.5}},
                 reward[4][2] = {{.5, 0}, {.5, 2}, {.5, 0}, {.5, 2}}, q[2] = {5, 1};
    keel_ope_log log = {0};
    for (size_t i = 0; i < 40; ++i) add(&log, i, (example){ratio[i % 4], reward[i % 4], q, q}, 2);
    check(estimate(&log, .9).estimate[KEEL_OPE_MAGIC].value, 1.4, 1e-9);
}

/* More steps than are blended: the last of the blends is still the whole log, which is right to the bit here,
 * where the model is wrong by far. */
static void the_last_blend_takes_the_log_to_its_end(void **state) {
    (void)state;
    enum { STEPS = 60 };
    double ones[STEPS], wrong[STEPS];
    keel_ope_log log = {0};
    for (size_t t = 0; t < STEPS; ++t) ones[t] = 1, wrong[t] = 1000;
    for (size_t i = 0; i < 20; ++i) add(&log, i, (example){ones, ones, wrong, wrong}, STEPS);
    keel_ope got = estimate(&log, 1);
    check(got.estimate[KEEL_OPE_DM].value, 1000, 1e-9);
    check(got.estimate[KEEL_OPE_WDR].value, STEPS, 1e-9);
    check(got.estimate[KEEL_OPE_MAGIC].value, STEPS, 1e-6);
}

/* A bandit of known value: the interval covers it, and the estimate is near it. */
static void weighted_importance_sampling_finds_the_value_of_another_policy(void **state) {
    (void)state;
    keel_rng rng = keel_rng_named(4, "test", 0);
    keel_ope_log log = {0};
    for (size_t i = 0; i < 4000; ++i) { /* behaviour 0.5 / 0.5, policy 0.8 / 0.2, rewards 0.9 / 0.2 */
        bool first = keel_rng_uniform(&rng) < 0.5;
        double ratio = first ? 1.6 : 0.4, reward = keel_rng_uniform(&rng) < (first ? 0.9 : 0.2);
        add(&log, i, (example){&ratio, &reward, NULL, NULL}, 1);
    }
    keel_ope got = estimate(&log, 1);
    check(got.estimate[KEEL_OPE_WIS].value, 0.76, 0.03);
    assert_true(got.estimate[KEEL_OPE_WIS].low < 0.76 && got.estimate[KEEL_OPE_WIS].high > 0.76 &&
                got.estimate[KEEL_OPE_WIS].high - got.estimate[KEEL_OPE_WIS].low < 0.06 && got.headline);
    check(got.ess, 4000 / 1.36, 60);
}

/* 30 is enough to be the headline. Values of the model are counted by themselves. */
static void the_headline_takes_an_effective_sample_of_thirty(void **state) {
    (void)state;
    const double ratio[1] = {1}, reward[1] = {1};
    for (size_t n = 29; n <= 30; ++n) {
        keel_ope_log log = {0};
        for (size_t i = 0; i < n; ++i) add(&log, i, (example){ratio, reward, NULL, NULL}, 1);
        for (size_t i = 0; i < 7; ++i)
            assert_int_equal(keel_ope_add_value(&log, i, i ? 2 : NAN, i < 3 ? 4 : NAN, NULL), KEEL_OK);
        keel_ope got = estimate(&log, 1);
        assert_int_equal(got.headline, n == 30);
        assert_true(got.ess == (double)n && got.estimate[KEEL_OPE_DM].n == 6 &&
                    got.estimate[KEEL_OPE_SELF].n == 3 && got.estimate[KEEL_OPE_SELF].value == 4 &&
                    got.estimate[KEEL_OPE_DM].value == 2);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_worked_example_of_three_trajectories_comes_out),
        cmocka_unit_test(g5_comes_out),
        cmocka_unit_test(an_ended_trajectory_keeps_its_weight),
        cmocka_unit_test(an_episode_of_thousands_of_steps_is_one),
        cmocka_unit_test(products_of_many_large_ratios_do_not_overflow),
        cmocka_unit_test(a_policy_that_would_never_act_as_logged_has_no_estimate),
        cmocka_unit_test(an_ended_trajectory_is_as_one_padded_with_steps_that_change_nothing),
        cmocka_unit_test(without_a_model_of_every_step_nothing_is_doubly_robust),
        cmocka_unit_test(the_blend_is_the_minimum_on_the_simplex),
        cmocka_unit_test(biases_of_opposite_signs_cancel_in_the_blend),
        cmocka_unit_test(covariance_and_bias_are_weighed_as_they_are),
        cmocka_unit_test(a_model_without_error_makes_all_estimates_one),
        cmocka_unit_test(magic_trusts_the_model_when_it_is_right_and_the_weights_when_it_is_not),
        cmocka_unit_test(what_the_model_adds_is_discounted_by_the_steps_before_it),
        cmocka_unit_test(the_last_blend_takes_the_log_to_its_end),
        cmocka_unit_test(nothing_is_guaranteed_without_logged_propensities_and_independent_trajectories),
        cmocka_unit_test(weighted_importance_sampling_finds_the_value_of_another_policy),
        cmocka_unit_test(propensities_that_cannot_be_true_are_refuted),
        cmocka_unit_test(the_headline_takes_an_effective_sample_of_thirty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
