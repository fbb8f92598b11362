#include "fixture.h"

#include <math.h>

#include "golden/familiar.h"
#include "policies/familiar.h"

enum { STATES = sizeof familiar_states / sizeof *familiar_states, DIMENSIONS = 12 };

static keel_arena arena;

static int tear_down(void **state) {
    (void)state;
    keel_arena_free(&arena);
    return 0;
}

static keel_place place_of(const double *vector) {
    keel_place place = {0};
    double square = 0;
    for (int d = 0; d < DIMENSIONS; d++) square += vector[d] * vector[d];
    for (int d = 0; d < DIMENSIONS; d++) {
        if (!(vector[d] > 0)) continue;
        place.dim[place.n] = d;
        place.weight[place.n++] = (float)(vector[d] / sqrt(square));
    }
    return place;
}

static void near(double got, double expected) {
    if (!(fabs(got - expected) <= 1e-6)) fail_msg("expected %.9f, got %.9f", expected, got);
}

static keel_familiar make(const double (*vectors)[DIMENSIONS], size_t n, size_t each) {
    static keel_place places[STATES];
    int64_t group[STATES];
    keel_familiar made;
    for (size_t i = 0; i < n; i++) {
        places[i] = place_of(vectors[i]);
        group[i] = (int64_t)(i / each);
    }
    assert_int_equal(keel_familiar_make(places, places, group, n, &arena, &made, &err), KEEL_OK);
    return made;
}

static void distances_and_threshold_are_the_golden_ones(void **state) {
    (void)state;
    const keel_familiar made = make(familiar_states, STATES, 2);
    near(made.threshold, familiar_threshold);
    for (size_t i = 0; i < sizeof familiar_distances / sizeof *familiar_distances; i++) {
        const keel_place place = place_of(familiar_queries[i]);
        near(keel_familiar_distance(&made, &place), familiar_distances[i]);
    }
}

static void what_has_nothing_in_common_is_at_distance_one(void **state) {
    (void)state;
    const keel_familiar made = make(familiar_states, STATES, 2);
    const keel_place elsewhere = {.n = 1, .dim = {1000}, .weight = {1}}, nowhere = {0};
    near(keel_familiar_distance(&made, &elsewhere), 1);
    near(keel_familiar_distance(&made, &nowhere), 1);
}

static void one_group_alone_makes_nothing_unfamiliar(void **state) {
    (void)state;
    const keel_familiar made = make(familiar_states, 4, 4);
    const keel_place place = place_of(familiar_queries[0]);
    assert_int_equal(made.n, 0);
    assert_true(isnan(keel_familiar_distance(&made, &place)));
}

static void states_that_are_no_places_are_refused(void **state) {
    (void)state;
    static const int32_t first[] = {0, 2, 3}, back[] = {0, 3, 2}, dim[] = {1, 5, 0}, falling[] = {5, 1, 0},
                         negative[] = {-1, 5, 0};
    static const float weight[] = {0.6f, 0.8f, 1}, large[] = {0.6f, 80, 1}, none[] = {0.6f, NAN, 1};
    keel_familiar made;
    assert_int_equal(keel_familiar_open(first, dim, weight, 2, 0.5, &arena, &made, &err), KEEL_OK);
    assert_int_equal(keel_familiar_open(back, dim, weight, 2, 0.5, &arena, &made, &err), KEEL_E_INVALID);
    assert_int_equal(keel_familiar_open(first, falling, weight, 2, 0.5, &arena, &made, &err), KEEL_E_INVALID);
    assert_int_equal(keel_familiar_open(first, negative, weight, 2, 0.5, &arena, &made, &err),
                     KEEL_E_INVALID);
    assert_int_equal(keel_familiar_open(first, dim, large, 2, 0.5, &arena, &made, &err), KEEL_E_INVALID);
    assert_int_equal(keel_familiar_open(first, dim, none, 2, 0.5, &arena, &made, &err), KEEL_E_INVALID);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(distances_and_threshold_are_the_golden_ones),
                                       cmocka_unit_test(what_has_nothing_in_common_is_at_distance_one),
                                       cmocka_unit_test(one_group_alone_makes_nothing_unfamiliar),
                                       cmocka_unit_test(states_that_are_no_places_are_refused)};
    return cmocka_run_group_tests(tests, NULL, tear_down);
}
