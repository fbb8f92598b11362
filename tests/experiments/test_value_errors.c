/* Errors of estimated values, and the estimands E1 to E5, on numbers worked out by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "core/pcg.h"
#include "experiments/value/errors.h"

static void near(double got, double expected, double tolerance) {
    if (!(fabs(got - expected) <= tolerance)) fail_msg("expected %.12g, got %.12g", expected, got);
}

static void the_error_of_the_truth_is_taken_off_and_the_rest_is_a_share_of_the_range(void **state) {
    (void)state;
    /* (0.5^2 - 0.3^2) / 2^2 */
    near(keel_value_squared_error(&(keel_value_guess){1.5, 1, 0.3, 2}), 0.04, 1e-12);
    near(keel_value_squared_error(&(keel_value_guess){0.5, 1, 0.3, 2}), 0.04, 1e-12);
    near(keel_value_squared_error(&(keel_value_guess){1.5, 1, 0, 1}), 0.25, 1e-12);
}

static void what_lies_within_the_error_of_the_truth_is_no_error(void **state) {
    (void)state;
    near(keel_value_squared_error(&(keel_value_guess){1.2, 1, 0.3, 2}), 0, 0);
}

static const keel_value_guess three[3] = {{1.4, 1, 0, 2}, {0.4, 1, 0, 2}, {1, 1, 0, 2}};

static void errors_sum_over_seeds(void **state) {
    (void)state;
    const value_error got = value_error_over(three, 3);
    near(got.rmse, sqrt((0.04 + 0.09 + 0) / 3), 1e-12);
    near(got.bias, (0.2 - 0.3 + 0) / 3, 1e-12);
    assert_int_equal(got.n, 3);
    assert_int_equal(got.at_most, 2); /* one below, one equal */
}

static void the_reduction_is_of_root_mean_squares_not_a_mean_of_ratios(void **state) {
    (void)state;
    const keel_value_guess method[2] = {{0.3, 0, 0, 1}, {0.1, 0, 0, 1}},
                           base[2] = {{0.6, 0, 0, 1}, {0.8, 0, 0, 1}};
    keel_value_comparison got;
    assert_int_equal(keel_value_compare(method, base, 2, 1, &got, NULL), KEEL_OK);
    near(got.reduction, 1 - sqrt(0.1), 1e-12); /* 1 - sqrt(.1 / 1) */
    near(got.method.rmse, sqrt(0.05), 1e-12);
    near(got.base.rmse, sqrt(0.5), 1e-12);
}

/* Errors that rise and fall together: whoever resampled the two apart would have a wide interval. */
static void the_interval_is_paired(void **state) {
    (void)state;
    enum { N = 20 };
    keel_value_guess method[N], base[N];
    keel_value_comparison got;
    keel_rng rng = keel_rng_named(1, "test", 0);
    for (size_t k = 0; k < N; ++k) {
        const double off = 0.1 + keel_rng_uniform(&rng);
        method[k] = (keel_value_guess){0.4 * off, 0, 0, 1};
        base[k] = (keel_value_guess){off, 0, 0, 1};
    }
    assert_int_equal(keel_value_compare(method, base, N, 1, &got, NULL), KEEL_OK);
    near(got.reduction, 0.6, 1e-9);
    near(got.low, 0.6, 1e-9);
    near(got.high, 0.6, 1e-9);
}

/* SciPy 1.17's bootstrap(paired=True, method="BCa", n_resamples=400000) of the same statistic; plain
 * percentiles are [-.031, .720]. */
static void the_interval_is_bias_corrected_and_accelerated(void **state) {
    (void)state;
    enum { N = 8 };
    static const double of_method[N] = {.1, .2, .1, .3, .9, .2, .1, .4},
                        of_base[N] = {.5, .4, .6, .5, .7, .9, .3, .4};
    keel_value_guess method[N], base[N];
    keel_value_comparison got;
    for (size_t k = 0; k < N; ++k) {
        method[k] = (keel_value_guess){of_method[k], 0, 0, 1};
        base[k] = (keel_value_guess){-of_base[k], 0, 0, 1};
    }
    assert_int_equal(keel_value_compare(method, base, N, 1, &got, NULL), KEEL_OK);
    near(got.reduction, 0.325275672, 1e-9);
    near(got.low, -0.1096, 0.02);
    near(got.high, 0.6760, 0.02);
}

static void the_interval_covers_the_reduction_and_narrows_with_seeds(void **state) {
    (void)state;
    enum { N = 200 };
    keel_value_guess method[N], base[N];
    keel_value_comparison few, many;
    keel_rng rng = keel_rng_named(2, "test", 0);
    for (size_t k = 0; k < N; ++k) {
        method[k] = (keel_value_guess){0.3 * keel_rng_normal(&rng), 0, 0, 1};
        base[k] = (keel_value_guess){keel_rng_normal(&rng), 0, 0, 1};
    }
    assert_int_equal(keel_value_compare(method, base, 20, 1, &few, NULL), KEEL_OK);
    assert_int_equal(keel_value_compare(method, base, N, 1, &many, NULL), KEEL_OK);
    assert_true(few.low < few.reduction && few.reduction < few.high);
    assert_true(many.low < 0.7 && 0.7 < many.high);
    assert_true(many.high - many.low < 0.5 * (few.high - few.low));
}

static void one_seed_is_refused_and_a_base_without_error_gives_no_number(void **state) {
    (void)state;
    const keel_value_guess off[2] = {{1, 0, 0, 1}, {1, 0, 0, 1}}, right[2] = {{0, 0, 0, 1}, {0, 0, 0, 1}};
    keel_value_comparison got;
    assert_int_equal(keel_value_compare(off, right, 1, 1, &got, NULL), KEEL_E_INVALID);
    assert_int_equal(keel_value_compare(off, right, 2, 1, &got, NULL), KEEL_OK);
    assert_true(isnan(got.reduction) && isnan(got.low) && isnan(got.high));
}

/* Each number is its own, so that a wrong one is seen. */
static const keel_value_run run = {.best = 100,
                                   .best_se = 3,
                                   .range = 50,
                                   .logged = 41,
                                   .bc = {.value = 40, .se = 1, .own = -1, .fitted = 42},
                                   .ql = {.value = 60, .se = 2, .own = 75, .fitted = 63},
                                   .cql = {.value = 80, .se = 4, .own = 77, .fitted = 84}};

static void check(keel_estimand estimand, keel_value_guess method, keel_value_guess base) {
    keel_value_guess of_method, of_base;
    keel_value_guesses(&run, estimand, &of_method, &of_base);
    const keel_value_guess *got[2] = {&of_method, &of_base}, *expected[2] = {&method, &base};
    for (size_t i = 0; i < 2; ++i) {
        near(got[i]->estimate, expected[i]->estimate, 0);
        near(got[i]->truth, expected[i]->truth, 0);
        near(got[i]->se, expected[i]->se, 1e-12);
        near(got[i]->range, 50, 0);
    }
}

static void each_estimand_sets_the_right_numbers_side_by_side(void **state) {
    (void)state;
    const keel_value_guess own = {77, 80, 4, 50};
    check(KEEL_ESTIMAND_E1, own, (keel_value_guess){42, 40, 1, 50});
    check(KEEL_ESTIMAND_E1_LOGGED, own, (keel_value_guess){41, 40, 1, 50});
    check(KEEL_ESTIMAND_E2, (keel_value_guess){84, 80, 4, 50}, (keel_value_guess){42, 40, 1, 50});
    check(KEEL_ESTIMAND_E3, (keel_value_guess){100, 80, 5, 50}, (keel_value_guess){100, 40, sqrt(10), 50});
    check(KEEL_ESTIMAND_E4, own, (keel_value_guess){75, 60, 2, 50});
    check(KEEL_ESTIMAND_E5, own, (keel_value_guess){41, 80, 4, 50});
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_error_of_the_truth_is_taken_off_and_the_rest_is_a_share_of_the_range),
        cmocka_unit_test(what_lies_within_the_error_of_the_truth_is_no_error),
        cmocka_unit_test(errors_sum_over_seeds),
        cmocka_unit_test(the_reduction_is_of_root_mean_squares_not_a_mean_of_ratios),
        cmocka_unit_test(the_interval_is_paired),
        cmocka_unit_test(the_interval_is_bias_corrected_and_accelerated),
        cmocka_unit_test(the_interval_covers_the_reduction_and_narrows_with_seeds),
        cmocka_unit_test(one_seed_is_refused_and_a_base_without_error_gives_no_number),
        cmocka_unit_test(each_estimand_sets_the_right_numbers_side_by_side),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
