/* Bounds on means: golden values of reference evaluation 3.2 and 1.5, quantiles, and how often the bounds
 * hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "core/pcg.h"
#include "rl/bounds.h"

static const double GOLDEN[10] = {.1, .9, .4, .6, .3, .8, .5, .7, .2, 1.0};

static void near(double got, double expected, double tolerance) {
    if (!(fabs(got - expected) <= tolerance)) fail_msg("expected %.12g, got %.12g", expected, got);
}

static void bounds_of_ten_samples_are_those_of_the_reference(void **state) {
    (void)state;
    near(keel_bound_hoeffding(GOLDEN, 10, 1, .05), .162977244, 1e-9);
    near(keel_bound_bernstein(GOLDEN, 10, 1, .05), -.666432796, 1e-9);
    near(keel_bound_student(GOLDEN, 10, .05), .374492799, 1e-9);
}

/* SCOPE-RL multiplies by n under the root, takes the largest sample for the range, and gives t's one-sided
 * quantile for the two-sided interval. Reference offline-rl 2.10: half widths of 95 %. */
static void widths_follow_the_range_that_is_given_and_the_number_of_samples(void **state) {
    (void)state;
    const double x[10] = {0, 1, .5, 1, 0, 1, 1, .5, 0, 1};
    near(.6 - keel_bound_hoeffding(x, 10, 1, .025), .4294694, 1e-7);
    near(.6 - keel_bound_bernstein(x, 10, 1, .05), 1.3510313, 1e-7);
    near(.6 - keel_bound_student(x, 10, .025), 2.2621571628 * sqrt(.2111111111 / 10), 1e-9);
    near(.6 - keel_bound_hoeffding(x, 10, 7, .025), 7 * .4294694, 1e-6);
    near(keel_bound_bernstein(x, 10, 1, .05) - keel_bound_bernstein(x, 10, 7, .05), 6 * 7 * log(40) / 27,
         1e-9);
}

static void bounds_of_a_thousand_samples_are_those_of_the_reference(void **state) {
    (void)state;
    double x[1000];
    for (size_t i = 0; i < 1000; ++i) x[i] = GOLDEN[i % 10];
    near(keel_bound_hoeffding(x, 1000, 1, .05), .511297724, 1e-9);
    near(keel_bound_bernstein(x, 1000, 1, .05), .516700515, 1e-9);
    near(keel_bound_student(x, 1000, .05), .535038525, 1e-9);
    near(keel_bound_truncated(x, 1000, 1, .05), .516700515, 1e-9); /* nothing is cut */
}

static void quantiles_are_those_of_the_tables(void **state) {
    (void)state;
    near(keel_normal_quantile(.975), 1.959963984540054, 1e-12);
    near(keel_normal_quantile(.05), -1.6448536269514722, 1e-12);
    near(keel_student_quantile(.95, 9), 1.8331129326536335, 1e-10);
    near(keel_student_quantile(.025, 1), -12.706204736432095, 1e-8);
    near(keel_student_quantile(.975, 1e6), 1.9599668, 1e-6);
    near(keel_beta_quantile(.05, 195, 6), .948157, 1e-6);  /* 195 of 200 */
    near(keel_beta_quantile(.05, 200, 1), .985133, 1e-6);  /* 200 of 200 */
    near(keel_beta_quantile(.975, 196, 5), .991834, 1e-6); /* two-sided, upper */
    near(keel_beta_quantile(.3, 1, 1), .3, 1e-12);
}

/* The C library's lgamma leaves a sign in a global variable, so two threads could not ask for quantiles. */
extern int signgam;
static void quantiles_write_to_no_global_variable(void **state) {
    (void)state;
    signgam = 7;
    near(keel_student_quantile(.975, 4), 2.7764451051977987, 1e-10);
    assert_int_equal(signgam, 7);
}

static void too_few_samples_bound_nothing(void **state) {
    (void)state;
    assert_true(keel_bound_student(GOLDEN, 1, .05) == -INFINITY);
    assert_true(keel_bound_hoeffding(GOLDEN, 0, 1, .05) == -INFINITY);
    assert_true(keel_bound_truncated(GOLDEN, 10, INFINITY, .05) == -INFINITY);
    assert_true(isinf(keel_bound_threshold(GOLDEN, 0, 10, .05)));
}

/* Products of likelihood ratios: rare large samples, the case the truncated bound is made for. */
static double heavy(keel_rng *rng) {
    double weight = 1;
    for (int t = 0; t < 10; ++t) weight *= keel_rng_uniform(rng) < .5 ? 1.6 : .4;
    return weight;
}

static void on_heavy_tails_the_truncated_bound_holds_and_says_more_than_the_plain_one(void **state) {
    (void)state;
    enum { TRIALS = 200, N = 950, ASIDE = 50 };
    double x[N], y[ASIDE], range = pow(1.6, 10), truncated = 0, plain = 0; /* the mean is 1 */
    int held = 0;
    for (uint64_t trial = 0; trial < TRIALS; ++trial) {
        keel_rng rng = keel_rng_stream(5, "trial", trial);
        for (size_t i = 0; i < ASIDE; ++i) y[i] = heavy(&rng);
        for (size_t i = 0; i < N; ++i) x[i] = heavy(&rng);
        double bound = keel_bound_truncated(x, N, keel_bound_threshold(y, ASIDE, N, .05), .05);
        held += bound <= 1;
        truncated += bound / TRIALS;
        plain += keel_bound_bernstein(x, N, range, .05) / TRIALS;
    }
    assert_in_range(held, 190, 200);
    if (!(truncated > .2 && plain < truncated - .3)) fail_msg("bounds %g and %g", truncated, plain);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_of_ten_samples_are_those_of_the_reference),
        cmocka_unit_test(widths_follow_the_range_that_is_given_and_the_number_of_samples),
        cmocka_unit_test(bounds_of_a_thousand_samples_are_those_of_the_reference),
        cmocka_unit_test(quantiles_are_those_of_the_tables),
        cmocka_unit_test(quantiles_write_to_no_global_variable),
        cmocka_unit_test(too_few_samples_bound_nothing),
        cmocka_unit_test(on_heavy_tails_the_truncated_bound_holds_and_says_more_than_the_plain_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
