/* The harm threshold by a bound: exact p-values, and which threshold passes. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/pcg.h"
#include "rl/golden/ordinary.h"
#include "rl/train/constrain_internal.h"

enum { CASES = sizeof golden_harms / sizeof *golden_harms };

static void p_values_are_exact(void **state) {
    (void)state;
    for (size_t i = 0; i < CASES; ++i)
        assert_true(fabs(keel_constrain_p(400, golden_harms[i], 0.02) / golden_p[i] - 1) < 1e-8);
    assert_true(fabs(keel_constrain_p(3, 3, 0.5) - 1) < 1e-12);
    assert_true(fabs(keel_constrain_p(3, 1, 0.5) - 0.5) < 1e-12);
}

static void the_last_threshold_before_the_first_failure_is_taken(void **state) {
    (void)state;
    const size_t dip[] = {0, 9, 0};
    assert_int_equal(keel_constrain_choose(golden_harms, CASES, 400, 0.02, 0.05), 3);
    assert_int_equal(keel_constrain_choose(dip, 3, 400, 0.02, 0.05),
                     0); /* what passes after it was not tested */
    assert_int_equal(keel_constrain_choose(golden_harms, CASES, 148, 0.02, 0.05), -1);
    assert_int_equal(keel_constrain_choose(golden_harms, CASES, 149, 0.02, 0.05), 0);
    assert_int_equal(keel_constrain_choose(golden_harms, CASES, 0, 0.02, 0.05), -1);
}

static void the_grid_goes_from_strict_to_none(void **state) {
    (void)state;
    for (size_t i = 1; i < KEEL_N_THRESHOLDS; ++i)
        assert_true(keel_constrain_threshold(i) > keel_constrain_threshold(i - 1));
    assert_true(keel_constrain_threshold(0) == 0 &&
                keel_constrain_threshold(KEEL_N_THRESHOLDS - 1) == INFINITY);
}

/* Ten thresholds of rising true harm, 0.5 to 5 %, 500 conversations: the one that is taken breaks the bound
 * of 2 % in at most 5 % of the tests, up to chance (2,000 tests: three deviations are 1.5 %). */
static void the_bound_holds_with_the_stated_confidence(void **state) {
    (void)state;
    enum { TESTS = 2000, THRESHOLDS = 10, N = 500 };
    keel_rng rng = keel_rng_named(1, "test constrain", 0);
    size_t broken = 0, found = 0;
    for (int t = 0; t < TESTS; ++t) {
        size_t harms[THRESHOLDS] = {0};
        for (int c = 0; c < N; ++c) {
            double u = keel_rng_uniform(&rng); /* one conversation under all thresholds */
            for (int i = 0; i < THRESHOLDS; ++i) harms[i] += u < 0.005 * (i + 1);
        }
        int chosen = keel_constrain_choose(harms, THRESHOLDS, N, 0.02, 0.05);
        found += chosen >= 0;
        broken += chosen >= 4; /* true harm of 2.5 % and more */
    }
    assert_true(broken <= TESTS * 65 / 1000);
    assert_true(found > TESTS / 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(p_values_are_exact),
        cmocka_unit_test(the_last_threshold_before_the_first_failure_is_taken),
        cmocka_unit_test(the_grid_goes_from_strict_to_none),
        cmocka_unit_test(the_bound_holds_with_the_stated_confidence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
