/* Fronts and hypervolumes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "core/pcg.h"
#include "rl/judge/pareto.h"

static const double ORIGIN[3] = {0, 0, 0};

static double volume(const double *points, size_t n, size_t d) {
    double out = -1;
    assert_int_equal(keel_pareto_volume(points, n, d, ORIGIN, &out, NULL), KEEL_OK);
    return out;
}

static void near(double got, double expected, double tolerance) {
    if (!(fabs(got - expected) <= tolerance)) fail_msg("expected %.12g, got %.12g", expected, got);
}

static void the_worked_example_has_its_volume(void **state) {
    (void)state;
    const double points[3][2] = {{.9, .2}, {.7, .6}, {.4, .85}};
    near(volume(points[0], 3, 2), .56, 1e-12);
    near(volume(points[0], 1, 2), .18, 1e-12);
    near(volume(points[0], 0, 2), 0, 0);
}

static void a_dominated_point_and_one_below_the_reference_add_nothing(void **state) {
    (void)state;
    const double points[5][2] = {{.9, .2}, {.7, .6}, {.6, .5}, {.4, .85}, {-1, 3}};
    near(volume(points[0], 5, 2), .56, 1e-12);
}

static void boxes_in_three_dimensions_add_up(void **state) {
    (void)state;
    const double one[3] = {.5, .4, .3}, two[2][3] = {{.5, .4, .3}, {.2, .6, .9}};
    near(volume(one, 1, 3), .06, 1e-12);
    near(volume(two[0], 2, 3), .06 + .108 - .2 * .4 * .3, 1e-12); /* less what both dominate */
}

static void the_volume_is_the_share_of_random_points_that_are_dominated(void **state) {
    (void)state;
    enum { N = 12, TRIALS = 200000 };
    double points[N][3];
    int inside = 0;
    keel_rng rng = keel_rng_named(2, "test", 0);
    for (size_t i = 0; i < N * 3; ++i) points[i / 3][i % 3] = keel_rng_uniform(&rng);
    for (int trial = 0; trial < TRIALS; ++trial) {
        double at[3] = {keel_rng_uniform(&rng), keel_rng_uniform(&rng), keel_rng_uniform(&rng)};
        bool dominated = false;
        for (size_t i = 0; i < N; ++i)
            dominated = dominated || (at[0] < points[i][0] && at[1] < points[i][1] && at[2] < points[i][2]);
        inside += dominated;
    }
    near(volume(points[0], N, 3), (double)inside / TRIALS, .005);
}

static void the_front_holds_what_nothing_beats_and_equals_once(void **state) {
    (void)state;
    const double points[5][2] = {{.9, .2}, {.7, .6}, {.6, .6}, {.7, .6}, {.4, .85}};
    const bool expected[5] = {true, true, false, false, true};
    bool on[5];
    keel_pareto_front(points[0], 5, 2, on);
    for (size_t i = 0; i < 5; ++i) assert_int_equal(on[i], expected[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_worked_example_has_its_volume),
        cmocka_unit_test(a_dominated_point_and_one_below_the_reference_add_nothing),
        cmocka_unit_test(boxes_in_three_dimensions_add_up),
        cmocka_unit_test(the_volume_is_the_share_of_random_points_that_are_dominated),
        cmocka_unit_test(the_front_holds_what_nothing_beats_and_equals_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
