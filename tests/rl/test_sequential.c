/* Sequential tests against golden numbers, and how often they fail when one looks all the time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <math.h>

#define GOLDEN_FILE "sequential.json"
#include "golden.h"

#include "core/pcg.h"
#include "rl/judge/sequential.h"

static void near(double got, double expected, double tolerance) {
    if (!(fabs(got - expected) <= tolerance * (1 + fabs(expected))))
        fail_msg("expected %.12g, got %.12g", expected, got);
}

static double number(const cJSON *of, const char *key) {
    return cJSON_GetNumberValue(keel_json_get(of, key));
}

static double in(const cJSON *row, int i) {
    return cJSON_GetNumberValue(cJSON_GetArrayItem(keel_json_get(row, "in"), i));
}

static void numbers_are_those_of_the_reference(void **state) {
    (void)state;
    near(keel_msprt_ratio(1000, .05, .5, .01), 2.360069723, 1e-9);
    near(1 / keel_msprt_ratio(1000, .05, .5, .01), .423716296, 1e-9);
    near(keel_asymptotic_half_width(.5, 1000, .1, .05), .048032010, 1e-9);
}

static void numbers_are_those_of_the_script(void **state) {
    (void)state;
    const cJSON *row;
    int seen = 0;
    cJSON_ArrayForEach (row, keel_json_get(golden, "ratio"))
        near(keel_msprt_ratio(in(row, 0), in(row, 1), in(row, 2), in(row, 3)), number(row, "out"), 1e-9),
            seen++;
    cJSON_ArrayForEach (row, keel_json_get(golden, "msprt"))
        near(keel_msprt_half_width(in(row, 0), in(row, 1), in(row, 2), in(row, 3)), number(row, "out"), 1e-9),
            seen++;
    cJSON_ArrayForEach (row, keel_json_get(golden, "asymptotic"))
        near(keel_asymptotic_half_width(in(row, 0), in(row, 1), in(row, 2), in(row, 3)), number(row, "out"),
             1e-9),
            seen++;
    cJSON_ArrayForEach (row, keel_json_get(golden, "chi"))
        near(keel_chi_squared_tail(in(row, 0), (size_t)in(row, 1)), number(row, "out"), 1e-12), seen++;
    cJSON_ArrayForEach (row, keel_json_get(golden, "sample_ratio")) {
        double counts[8], expected[8];
        const size_t n = golden_numbers(keel_json_get(row, "counts"), counts);
        golden_numbers(keel_json_get(row, "expected"), expected);
        near(keel_sample_ratio(counts, expected, n), number(row, "out"), 1e-12);
        seen++;
    }
    assert_int_equal(seen, 4 + 4 + 3 + 6 + 3);
}

static void bernsteins_limits_are_those_of_the_script(void **state) {
    (void)state;
    const cJSON *row;
    int checked = 0;
    cJSON_ArrayForEach (row, keel_json_get(golden, "bernstein")) {
        double x[1000], at[8], low[8], high[8];
        const size_t n = golden_numbers(keel_json_get(row, "x"), x),
                     k = golden_numbers(keel_json_get(row, "at"), at);
        golden_numbers(keel_json_get(row, "low"), low);
        golden_numbers(keel_json_get(row, "high"), high);
        keel_bernstein_pair limits;
        keel_bernstein_pair_begin(&limits, number(row, "alpha"));
        for (size_t i = 0; i < n; i++) {
            double got_low, got_high;
            keel_bernstein_pair_add(&limits, x[i]);
            keel_bernstein_pair_interval(&limits, &got_low, &got_high);
            for (size_t j = 0; j < k; j++) {
                if ((size_t)at[j] != i + 1) continue;
                near(got_low, low[j], 1e-9);
                near(got_high, high[j], 1e-9);
                checked++;
            }
        }
    }
    assert_int_equal(checked, 12);
}

static void totals_are_those_of_the_script(void **state) {
    (void)state;
    const cJSON *of = keel_json_get(golden, "strata"), *row;
    keel_stratum strata[8];
    size_t n = 0;
    double difference, variance;
    cJSON_ArrayForEach (row, keel_json_get(of, "rows")) {
        double v[6];
        golden_numbers(row, v);
        strata[n++] = (keel_stratum){v[0], v[1], v[2], v[3], v[4], v[5]};
    }
    assert_true(keel_post_stratified(strata, n, &difference, &variance));
    near(difference, number(of, "post"), 1e-12);
    near(variance, number(of, "post_variance"), 1e-12);
    assert_true(keel_mantel_haenszel(strata, n, &difference, &variance));
    near(difference, number(of, "mh"), 1e-12);
    near(variance, number(of, "mh_variance"), 1e-12);
    strata[n++] = (keel_stratum){5, 0, 1, 0, 0.1, 0}; /* nothing to compare with: changes nothing */
    assert_true(keel_mantel_haenszel(strata, n, &difference, &variance));
    near(difference, number(of, "mh"), 1e-12);
    assert_true(keel_post_stratified(strata, n, &difference, &variance));
    near(difference, number(of, "post"), 1e-12);
    assert_false(keel_post_stratified(strata + n - 1, 1, &difference, &variance));
}

static void rejections_are_those_of_the_script(void **state) {
    (void)state;
    static const char *const groups[2] = {"bh", "ebh"}, *const values[2] = {"p", "e"};
    for (int way = 0; way < 2; way++) {
        double value[64];
        bool rejected[64];
        size_t some = 0;
        const cJSON *of = keel_json_get(golden, groups[way]);
        const size_t n = golden_numbers(keel_json_get(of, values[way]), value);
        (way ? keel_e_benjamini_hochberg : keel_benjamini_hochberg)(value, n, .05, rejected);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(rejected[i],
                             cJSON_IsTrue(cJSON_GetArrayItem(keel_json_get(of, "rejected"), (int)i)));
            some += rejected[i];
        }
        assert_in_range(some, 1, n - 1);
    }
}

static void what_was_not_to_be_assigned_is_a_wrong_ratio(void **state) {
    (void)state;
    near(keel_sample_ratio((double[]){10, 1}, (double[]){11, 0}, 2), 0, 0);
    near(keel_sample_ratio((double[]){10, 0}, (double[]){10, 0}, 2), 1, 0);
}

/* Looked at after every observation, the limits of a mean fail in no more than their share of the runs. */
static void bernsteins_limits_hold_at_all_times(void **state) {
    (void)state;
    static const double rates[3] = {.5, .9, .97};
    for (int r = 0; r < 3; r++) {
        int failed = 0;
        for (uint64_t run = 0; run < 400; run++) {
            keel_rng rng = keel_rng_named(16, "bernstein", run * 3 + (uint64_t)r);
            keel_bernstein_pair limits;
            keel_bernstein_pair_begin(&limits, .1);
            bool ever = false;
            for (int i = 0; i < 1000; i++) {
                double low, high;
                keel_bernstein_pair_add(&limits, keel_rng_uniform(&rng) < rates[r]);
                keel_bernstein_pair_interval(&limits, &low, &high);
                ever = ever || low > rates[r] || high < rates[r];
            }
            failed += ever;
        }
        assert_in_range(failed, 0, 40);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_those_of_the_reference),
        cmocka_unit_test(numbers_are_those_of_the_script),
        cmocka_unit_test(bernsteins_limits_are_those_of_the_script),
        cmocka_unit_test(totals_are_those_of_the_script),
        cmocka_unit_test(rejections_are_those_of_the_script),
        cmocka_unit_test(what_was_not_to_be_assigned_is_a_wrong_ratio),
        cmocka_unit_test(bernsteins_limits_hold_at_all_times),
    };
    return cmocka_run_group_tests(tests, golden_load, golden_drop);
}
