/* Fronts as eval and simulate make them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/json.h"
#include "experiments/pareto_report.h"
#include "policies/policy_internal.h"

static cJSON *metrics(double completion, double speed, double safety) {
    static const char *const names[] = {"completion_rate", "speed", "safety", "accuracy"};
    const double values[] = {completion, speed, safety, completion / 2};
    cJSON *json = cJSON_CreateObject();
    for (int i = 0; i < 4; i++) {
        cJSON *interval = cJSON_AddObjectToObject(json, names[i]);
        keel_json_add(interval, "value", values[i] < -4 ? cJSON_CreateNull() : cJSON_CreateNumber(values[i]));
    }
    return json;
}

static cJSON *front_of(const double (*points)[3], size_t count) {
    cJSON *front = cJSON_CreateObject();
    assert_int_equal(keel_pareto_report_begin(NULL, front, NULL, 0, NULL), KEEL_OK);
    for (size_t i = 0; i < count; i++) {
        keel_policy policy = {.weight = {0.5, 0.25, 0.25}};
        keel_pareto_report_add(front, &policy, metrics(points[i][0], points[i][1], points[i][2]));
    }
    assert_int_equal(keel_pareto_report_end(front, NULL), KEEL_OK);
    return front;
}

static bool on(const cJSON *front, int place) {
    const cJSON *points = cJSON_GetObjectItemCaseSensitive(front, "points");
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(points, place), "on_front"));
}

static double volume(const cJSON *front) {
    return cJSON_GetObjectItemCaseSensitive(front, "hypervolume")->valuedouble;
}

static void points_that_no_other_beats_are_on_the_front(void **state) {
    (void)state;
    enum { UNKNOWN = -9 };
    static const double points[][3] = {
        {0.9, 0.2, 0}, {0.8, 0.1, 0}, {UNKNOWN, 1, 0}, {0.7, 0.6, 0}, {0.4, 0.85, 0}};
    cJSON *front = front_of(points, 5);
    assert_true(on(front, 0) && on(front, 3) && on(front, 4));
    assert_false(on(front, 1) || on(front, 2));
    assert_float_equal(volume(front), 0.56, 1e-9); /* of rl/judge/pareto.h, one unit of safety high */
    assert_float_equal(cJSON_GetObjectItemCaseSensitive(front, "best_alone")->valuedouble, 0.42, 1e-6);
    assert_true(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(front, "mean_utility")));
    cJSON_Delete(front);
}

static void each_point_is_worth_what_its_own_weights_make_of_it(void **state) {
    (void)state;
    static const double points[][3] = {{0.8, 0.4, -0.2}, {0.4, 0.8, 0}};
    cJSON *front = front_of(points, 2), *list = cJSON_GetObjectItemCaseSensitive(front, "points");
    assert_float_equal(cJSON_GetObjectItemCaseSensitive(list->child, "utility")->valuedouble, 0.25, 1e-6);
    assert_float_equal(cJSON_GetObjectItemCaseSensitive(front, "mean_utility")->valuedouble, (0.25 + 0.3) / 2,
                       1e-9);
    cJSON_Delete(front);
}

static void what_is_no_better_than_the_reference_adds_nothing(void **state) {
    (void)state;
    static const double points[][3] = {{0.9, -0.1, 0}, {0, 0.9, 0}, {0.5, 0.5, -1}};
    cJSON *front = front_of(points, 3);
    assert_float_equal(volume(front), 0, 0);
    assert_true(on(front, 0) && on(front, 1) && on(front, 2));
    cJSON_Delete(front);
}

static void a_point_is_named_by_its_weights(void **state) {
    (void)state;
    static const double points[][3] = {{0.9, 0.2, 0}};
    cJSON *front = front_of(points, 1);
    char name[96];
    keel_pareto_report_name(cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(front, "points"), 0), name,
                            sizeof name);
    assert_string_equal(name, "accuracy 0.5, speed 0.25, safety 0.25");
    cJSON_Delete(front);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(points_that_no_other_beats_are_on_the_front),
        cmocka_unit_test(each_point_is_worth_what_its_own_weights_make_of_it),
        cmocka_unit_test(what_is_no_better_than_the_reference_adds_nothing),
        cmocka_unit_test(a_point_is_named_by_its_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
