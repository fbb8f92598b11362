#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/parallel.h"
#include "core/pcg.h"
#include "rl/clusters.h"

static void check(double got, double expected, double tolerance) {
    if (!(fabs(got - expected) <= tolerance)) fail_msg("expected %.9g, got %.9g", expected, got);
}

/* docs/design.md, Bounds and intervals; some of them rounded the quantile to 1.96, hence 2e-6 */
static void wilson_gives_the_published_bounds(void **state) {
    (void)state;
    static const struct {
        double k, n, low, high;
    } golden[] = {{95, 250, .322077, .441555},
                  {0, 200, 0, .018845},
                  {3, 200, .005114, .043167},
                  {195, 200, .942822, .989275}};
    for (size_t i = 0; i < sizeof golden / sizeof *golden; ++i) {
        keel_interval got = keel_wilson(golden[i].k, golden[i].n);
        check(got.value, golden[i].k / golden[i].n, 1e-12);
        check(got.low, golden[i].low, 2e-6);
        check(got.high, golden[i].high, 2e-6);
    }
}

static void wilson_of_nothing_is_zero(void **state) {
    (void)state;
    keel_interval got = keel_wilson(0, 0);
    assert_true(got.value == 0 && got.low == 0 && got.high == 0 && got.n == 0);
    assert_true(keel_wilson(200, 200).high == 1);
}

enum { CLUSTERS = 400 };

static void make_clusters(double *sum, double *count) {
    keel_rng rng = keel_rng_named(3, "test", 0);
    for (size_t c = 0; c < CLUSTERS; ++c) {
        count[c] = 1 + (double)keel_rng_below(&rng, 4);
        sum[c] = 0;
        for (int i = 0; i < (int)count[c]; ++i) sum[c] += keel_rng_normal(&rng);
    }
}

static void the_bootstrap_agrees_with_the_normal_interval_of_a_ratio(void **state) {
    (void)state;
    double sum[CLUSTERS], count[CLUSTERS], total = 0, n = 0, squares = 0;
    make_clusters(sum, count);
    for (size_t c = 0; c < CLUSTERS; ++c) total += sum[c], n += count[c];
    for (size_t c = 0; c < CLUSTERS; ++c) squares += pow(sum[c] - count[c] * total / n, 2);
    double half = 1.959964 * sqrt(squares) / n; /* linearised (delta method) standard error */
    const keel_interval got = cluster_mean(sum, count, CLUSTERS, 4000, 7);
    check(got.value, total / n, 1e-12);
    check(got.low, total / n - half, 0.08 * half);
    check(got.high, total / n + half, 0.08 * half);
    assert_true(got.n == n);
}

static void clusters_without_observations_give_no_estimate(void **state) {
    (void)state;
    double sum[3] = {0}, count[3] = {0};
    const keel_interval got = cluster_mean(sum, count, 3, 100, 1);
    assert_true(isnan(got.low) && isnan(got.high));
}

static double first_mean(const void *context, size_t index, const double *total) {
    (void)context;
    return total[index] / total[1];
}

static void the_bootstrap_does_not_depend_on_threads(void **state) {
    (void)state;
    double rows[CLUSTERS * 2], sum[CLUSTERS], count[CLUSTERS], low[3], high[3];
    const keel_bootstrap_plan plan = {300, 5, 0.95, true};
    make_clusters(sum, count);
    for (size_t c = 0; c < CLUSTERS; ++c) rows[2 * c] = sum[c], rows[2 * c + 1] = count[c];
    for (size_t i = 0; i < 3; ++i) {
        keel_pool *pool = NULL;
        if (i) assert_int_equal(keel_pool_open(&pool, 2 * i, NULL), KEEL_OK);
        assert_int_equal(
            keel_bootstrap(rows, 2, CLUSTERS, &plan, first_mean, NULL, 1, pool, &low[i], &high[i], NULL),
            KEEL_OK);
        keel_pool_close(pool);
    }
    assert_true(low[0] == low[1] && low[1] == low[2] && high[0] == high[1] && high[1] == high[2]);
}

static double first_sum(const void *context, size_t index, const double *total) {
    (void)context, (void)index;
    return total[0];
}

static void a_resample_draws_as_many_as_there_are(void **state) {
    (void)state;
    const double rows[7] = {1, 1, 1, 1, 1, 1, 1};
    const keel_bootstrap_plan plan = {50, 1, 0.95, false};
    double low, high;
    assert_int_equal(keel_bootstrap(rows, 1, 7, &plan, first_sum, NULL, 1, NULL, &low, &high, NULL), KEEL_OK);
    assert_true(low == 7 && high == 7);
}

/* Every other resample is undefined; the rest gives 0, 1, 2, ... downwards. */
static double counted(const void *context, size_t index, const double *total) {
    size_t *left = *(size_t *const *)context;
    (void)index, (void)total;
    --*left;
    const size_t half = *left / 2;
    return *left % 2 ? NAN : (double)half;
}

static void bounds_lie_between_the_defined_resamples_by_rank(void **state) {
    (void)state;
    const double rows[2] = {1, 2};
    keel_bootstrap_plan plan = {2 * 81, 1, 0.95, false};
    size_t left = plan.resamples, *counter = &left; /* values 0 to 80: 2.5 % of the way from 0 to 80 is 2 */
    double low, high;
    assert_int_equal(keel_bootstrap(rows, 1, 2, &plan, counted, &counter, 1, NULL, &low, &high, NULL),
                     KEEL_OK);
    check(low, 2, 1e-12);
    check(high, 78, 1e-12);
    plan.resamples = left = 2 * 2; /* of 0 and 1, between the two */
    assert_int_equal(keel_bootstrap(rows, 1, 2, &plan, counted, &counter, 1, NULL, &low, &high, NULL),
                     KEEL_OK);
    check(low, 0.025, 1e-12);
    check(high, 0.975, 1e-12);
}

/* The sample's variance: biased and skewed, so that both of Efron's corrections matter. Golden: scipy 1.17.1,
 * bootstrap(method='BCa' and 'percentile', n_resamples=200000), mean of two seeds. */
static double variance(const void *context, size_t index, const double *total) {
    (void)context, (void)index;
    return total[1] / total[2] - total[0] / total[2] * (total[0] / total[2]);
}

static void corrected_bounds_are_those_of_bca(void **state) {
    (void)state;
    static const double x[] = {.1,  .2,  .2,  .3,  .4,  .5,  .6,  .7,  .9,  1.1,
                               1.3, 1.6, 1.9, 2.2, 2.7, 3.3, 4.1, 5.2, 7.0, 9.5};
    enum { N = sizeof x / sizeof *x };
    double rows[3 * N], low, high;
    for (size_t i = 0; i < N; ++i) rows[3 * i] = x[i], rows[3 * i + 1] = x[i] * x[i], rows[3 * i + 2] = 1;
    for (int corrected = 0; corrected < 2; ++corrected) {
        const keel_bootstrap_plan plan = {20000, 3, 0.8, corrected != 0};
        assert_int_equal(keel_bootstrap(rows, 3, N, &plan, variance, NULL, 1, NULL, &low, &high, NULL),
                         KEEL_OK);
        check(low, corrected ? 3.524 : 2.429, 0.12);
        check(high, corrected ? 11.039 : 9.217, 0.25);
    }
}

/* One cluster far out, and a confidence that asks for its farthest quantiles: there the correction has a
 * pole, behind which the bounds changed sides. */
static void corrected_bounds_keep_their_sides(void **state) {
    (void)state;
    enum { N = 60 };
    double rows[2 * N], low, high;
    const keel_bootstrap_plan plan = {2000, 3, 1 - 1e-14, true};
    for (size_t i = 0; i < N; ++i) rows[2 * i] = i ? (double)i / 1e4 : -1000, rows[2 * i + 1] = 1;
    for (int side = 0; side < 2; ++side, rows[0] = -rows[0]) {
        assert_int_equal(keel_bootstrap(rows, 2, N, &plan, cluster_ratio, NULL, 1, NULL, &low, &high, NULL),
                         KEEL_OK);
        double mean = rows[0] / N;
        if (!(low <= mean && mean - 1 < high)) fail_msg("side %d: [%g, %g]", side, low, high);
        assert_true(low < high);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wilson_gives_the_published_bounds),
        cmocka_unit_test(wilson_of_nothing_is_zero),
        cmocka_unit_test(the_bootstrap_agrees_with_the_normal_interval_of_a_ratio),
        cmocka_unit_test(clusters_without_observations_give_no_estimate),
        cmocka_unit_test(a_resample_draws_as_many_as_there_are),
        cmocka_unit_test(bounds_lie_between_the_defined_resamples_by_rank),
        cmocka_unit_test(corrected_bounds_are_those_of_bca),
        cmocka_unit_test(corrected_bounds_keep_their_sides),
        cmocka_unit_test(the_bootstrap_does_not_depend_on_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
