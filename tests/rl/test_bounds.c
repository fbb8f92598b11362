/* Bounds on means: golden values of docs/design.md (Bounds and intervals), quantiles, and how often the
 * bounds hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "core/pcg.h"
#include "rl/judge/bounds.h"

static const double GOLDEN[10] = {.1, .9, .4, .6, .3, .8, .5, .7, .2, 1.0};

static void near(double got, double expected, double tolerance) {
    if (!(fabs(got - expected) <= tolerance)) fail_msg("expected %.12g, got %.12g", expected, got);
}

static double bound(const double *x, size_t n, double cut, double delta) {
    double mean = 0, squares = 0;
    for (size_t i = 0; i < n; ++i) mean += fmin(x[i], cut) / (double)n;
    for (size_t i = 0; i < n; ++i) squares += (fmin(x[i], cut) - mean) * (fmin(x[i], cut) - mean);
    return keel_bound_truncated(mean, n > 1 ? squares / ((double)n - 1) : 0, n, cut, delta);
}

static void bounds_are_those_of_the_reference(void **state) {
    (void)state;
    double x[1000];
    for (size_t i = 0; i < 1000; ++i) x[i] = GOLDEN[i % 10];
    near(bound(x, 10, 1, .05), -.666432796, 1e-9);
    near(bound(x, 1000, 1, .05), .516700515, 1e-9);
    near(bound(x, 10, 1, .05) - bound(x, 10, 7, .05), 6 * 7 * log(40) / 27, 1e-9); /* nothing is cut */
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
    assert_true(bound(GOLDEN, 1, 1, .05) == -INFINITY && bound(GOLDEN, 0, 1, .05) == -INFINITY);
    assert_true(bound(GOLDEN, 10, INFINITY, .05) == -INFINITY);
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
        keel_rng rng = keel_rng_named(5, "trial", trial);
        for (size_t i = 0; i < ASIDE; ++i) y[i] = heavy(&rng);
        for (size_t i = 0; i < N; ++i) x[i] = heavy(&rng);
        double low = bound(x, N, keel_bound_threshold(y, ASIDE, N, .05), .05);
        held += low <= 1;
        truncated += low / TRIALS;
        plain += bound(x, N, range, .05) / TRIALS;
    }
    assert_in_range(held, 190, 200);
    if (!(truncated > .2 && plain < truncated - .3)) fail_msg("bounds %g and %g", truncated, plain);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_are_those_of_the_reference),
        cmocka_unit_test(quantiles_are_those_of_the_tables),
        cmocka_unit_test(quantiles_write_to_no_global_variable),
        cmocka_unit_test(too_few_samples_bound_nothing),
        cmocka_unit_test(on_heavy_tails_the_truncated_bound_holds_and_says_more_than_the_plain_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
