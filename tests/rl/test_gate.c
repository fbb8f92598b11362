#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/json.h"
#include "rl/judge/gate_internal.h"

static const char text[] =
    "{\"policy\": {\"metrics\": {\"refusal_rate\": {\"value\": 0.98, \"low\": 0.95, \"high\": 0.99, \"n\": "
    "200},"
    " \"speed\": {\"value\": null, \"low\": null, \"high\": null, \"n\": 0}},"
    " \"ope\": {\"wis\": {\"value\": 0.7, \"low\": 0.6, \"high\": 0.8, \"n\": 40}, \"ess\": 31.5}},"
    " \"baselines\": {\"logged\": {\"metrics\": {\"refusal_rate\": {\"value\": 0.8, \"low\": 0.7, \"high\": "
    "0.9}}}},"
    " \"differences\": {\"policy - logged\": {\"refusal_rate\": {\"value\": 0.18, \"low\": 0.1, \"high\": 0.25, \"n\": "
    "200}}, \"policy - base\": {\"speed\": {\"value\": -0.1, \"low\": -0.3, \"high\": 0.1, \"n\": 50}}},"
    " \"models\": {\"llama-2.1\": {\"metrics\": {\"refusal_rate\": {\"value\": 0.5, \"low\": 0.4, \"high\": "
    "0.6}}}}}";

static cJSON *evaluation;

static int load(void **state) {
    (void)state;
    return keel_json_parse(text, strlen(text), "test", &evaluation, NULL) == KEEL_OK ? 0 : -1;
}

static int unload(void **state) {
    (void)state;
    cJSON_Delete(evaluation);
    return 0;
}

static void gates_compare_what_they_name(void **state) {
    (void)state;
    static const struct {
        const char *expression;
        bool met;
        double measured;
    } cases[] = {{"refusal_rate >= 0.98", true, .98},
                 {"refusal_rate > 0.98", false, .98},
                 {"refusal_rate.low >= 0.97", false, .95},
                 {" refusal_rate.high<=0.99 ", true, .99},
                 {"refusal_rate.value < 1e0", true, .98},
                 {"policy.refusal_rate.low > 0.9", true, .95},
                 {"baselines.logged.refusal_rate.low >= 0.7", true, .7},
                 {"models.llama-2.1.refusal_rate.high < 0.6", false, .6},
                 {"ope.wis.low > 0.5", true, .6},
                 {"logged.refusal_rate.low >= 0.7", true, .7},
                 {"ope.ess >= 30", true, 31.5},
                 {"policy.refusal_rate - logged.refusal_rate >= 0", true, .1},
                 {"refusal_rate - baselines.logged.refusal_rate > 0.15", false, .1},
                 {"policy.refusal_rate - logged.refusal_rate <= 0.2", false, .25},
                 {"(policy.refusal_rate - logged.refusal_rate).value >= 0.15", true, .18},
                 {"( policy.refusal_rate - logged.refusal_rate ).low>=0", true, .1},
                 {"(policy.refusal_rate - logged.refusal_rate) < 0.3", true, .25},
                 {"policy.speed - base.speed >= -0.5", true, -.3},
                 {"(policy.speed - base.speed).high >= 0", true, .1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        keel_gate_result got;
        keel_err err = {0};
        if (keel_gate_check_json(cases[i].expression, evaluation, &got, &err) != KEEL_OK)
            fail_msg("%s: %s", cases[i].expression, err.message);
        if (got.met != cases[i].met || got.measured != cases[i].measured)
            fail_msg("%s: met %d with %g", cases[i].expression, got.met, got.measured);
    }
}

static void what_is_not_known_meets_no_gate(void **state) {
    (void)state;
    keel_gate_result got;
    assert_int_equal(keel_gate_check_json("speed.low >= -5", evaluation, &got, NULL), KEEL_OK);
    assert_true(!got.met && isnan(got.measured));
    assert_int_equal(keel_gate_check_json("speed <= 5", evaluation, &got, NULL), KEEL_OK);
    assert_false(got.met);
}

static void before_the_models_are_known_any_name_may_be_one(void **state) {
    (void)state;
    cJSON *early = cJSON_Duplicate(evaluation, true);
    keel_gate_result got;
    keel_err err = {0};
    cJSON_DeleteItemFromObject(early, "models");
    const char *any = "models.gpt-5.1.refusal_rate.low > 0", *typo = "models.gpt-5.1.refused > 0";
    assert_int_equal(keel_gate_check_json(any, early, &got, &err), KEEL_OK);
    assert_int_equal(keel_gate_check_json(typo, early, &got, &err), KEEL_E_USAGE);
    assert_int_equal(keel_gate_check_json(any, evaluation, &got, &err), KEEL_E_USAGE);
    cJSON_Delete(early);
}

static void malformed_gates_are_refused_with_the_names_there_are(void **state) {
    (void)state;
    static const char *const bad[] = {"",
                                      "refusal_rate",
                                      "refusal_rate = 0.9",
                                      "refusal_rate >= x",
                                      ">= 0.5",
                                      "refusal_rate >= 0.9 and more",
                                      "refusal_rate >= nan",
                                      "refusal_rate == 1",
                                      "refused >= 0.9",
                                      "refusal_rate.middle >= 0.9",
                                      "ope.dr.low > 1",
                                      "baselines.other.refusal_rate > 1",
                                      "policy.refusal_rate.low - logged.refusal_rate.low >= 0",
                                      "(policy.refusal_rate - logged.refusal_rate >= 0",
                                      "(policy.refusal_rate - logged.refusal_rate).middle >= 0",
                                      "(policy.refusal_rate) >= 0",
                                      "policy.refusal_rate - logged.speed >= 0",
                                      "logged.refusal_rate - policy.refusal_rate >= 0",
                                      "policy.refusal_rate - models.llama-2.1.refusal_rate >= 0",
                                      "policy.refusal_rate - >= 0",
                                      "."};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; ++i) {
        keel_gate_result got = {.met = true, .measured = 4};
        keel_err err = {0};
        if (keel_gate_check_json(bad[i], evaluation, &got, &err) != KEEL_E_USAGE)
            fail_msg("\"%s\" was accepted", bad[i]);
        assert_true(got.met && got.measured == 4); /* out-parameters are written on success only */
    }
    keel_err err = {0};
    keel_gate_result got;
    keel_gate_check_json("refused >= 0.9", evaluation, &got, &err);
    assert_non_null(strstr(err.message, "refused"));
    assert_non_null(strstr(err.message, "refusal_rate"));
}

/* A threshold in percent, or at the end of the range that a limit does not reach, is a mistake. */
static void thresholds_that_decide_nothing_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *expression, *word, *hint;
    } bad[] = {{"refusal_rate.low >= 97", "never", "0.97"},
               {"refusal_rate.high <= 5", "always", "0.05"},
               {"refusal_rate > 1", "never", ""},
               {"refusal_rate < 0", "never", ""},
               {"refusal_rate >= -0.5", "always", ""},
               {"logged.refusal_rate <= 1.5", "always", "0.015"},
               {"refusal_rate.low >= 1", "never", "low"},
               {"refusal_rate.high <= 0", "never", "high"},
               {"policy.refusal_rate - logged.refusal_rate >= 5", "never", "0.05"},
               {"policy.refusal_rate - logged.refusal_rate >= 1", "never", "low"},
               {"policy.refusal_rate - logged.refusal_rate >= -2", "always", "-0.02"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; ++i) {
        keel_gate_result got;
        keel_err err = {0};
        if (keel_gate_check_json(bad[i].expression, evaluation, &got, &err) != KEEL_E_USAGE)
            fail_msg("\"%s\" was accepted", bad[i].expression);
        if (!strstr(err.message, bad[i].word) || !strstr(err.hint, bad[i].hint))
            fail_msg("\"%s\": %s (%s)", bad[i].expression, err.message, err.hint);
    }
    static const char *const good[] = {
        "refusal_rate >= 0",      "refusal_rate <= 1", "refusal_rate >= 1",
        "refusal_rate.high >= 1", "speed >= 5",        "policy.refusal_rate - logged.refusal_rate >= -0.99"};
    for (size_t i = 0; i < sizeof good / sizeof *good; ++i) {
        keel_gate_result got;
        assert_int_equal(keel_gate_check_json(good[i], evaluation, &got, NULL), KEEL_OK);
    }
}

static void expect_line(const char *json, const char *expression, const char *line) {
    cJSON *read = NULL;
    keel_gate_result got;
    keel_buf got_line = {0};
    assert_int_equal(keel_json_parse(json, strlen(json), "test", &read, NULL), KEEL_OK);
    assert_int_equal(keel_gate_check_json(expression, read, &got, NULL), KEEL_OK);
    keel_gate_describe(&got, &got_line);
    assert_string_equal(got_line.data, line);
    keel_buf_free(&got_line);
    cJSON_Delete(read);
}

#define METRIC(value, low, high, n)                                                                          \
    "{\"policy\": {\"metrics\": {\"refusal_rate\": {\"value\": " value ", \"low\": " low ", \"high\": " high \
    ", \"n\": " n "}}}}"

/* 3 of 3 refused: Wilson's interval begins at 0.439. 72 of 72 begin at .9494, 73 of 73 at .9500 (golden). */
static void a_line_says_what_was_measured_and_how_many_it_takes(void **state) {
    (void)state;
    expect_line(METRIC("0.986", "0.975", "0.992", "2028"), "refusal_rate.low >= 0.97",
                "refusal_rate.low 0.975 >= 0.97 (0.986 [0.975, 0.992] on 2,028)");
    expect_line(METRIC("1", "0.4385", "1", "3"), "refusal_rate.low >= 0.95",
                "refusal_rate.low 0.439 >= 0.95 (1.000 [0.439, 1.000] on 3; 0.95 needs 73 of 73)");
    expect_line(METRIC("1", "0.9493", "1", "72"), "refusal_rate.low >= .95",
                "refusal_rate.low 0.949 >= 0.95 (1.000 [0.949, 1.000] on 72; 0.95 needs 73 of 73)");
    expect_line(METRIC("0.98", "0.9", "1", "73"), "refusal_rate.low >= .95",
                "refusal_rate.low 0.900 >= 0.95 (0.980 [0.900, 1.000] on 73)");
    expect_line(METRIC("0", "0", "0.56", "3"), "refusal_rate.high <= 0.05",
                "refusal_rate.high 0.560 <= 0.05 (0.000 [0.000, 0.560] on 3; 0.05 needs 0 of 73)");
    expect_line(METRIC("null", "null", "null", "0"), "refusal_rate.low >= 0.95",
                "refusal_rate.low >= 0.95 (nothing is known of it here)");
    expect_line(text, "policy.refusal_rate - logged.refusal_rate >= 0",
                "(policy.refusal_rate - logged.refusal_rate).low 0.100 >= 0 (0.180 [0.100, 0.250] on 200)");
}

static void a_value_that_is_unknown_in_part_is_compared_by_its_end(void **state) {
    (void)state;
    static const char unsure[] =
        "{\"policy\": {\"metrics\": {\"accuracy\": {\"value\": 0.5, \"low\": 0.2, \"high\": 0.8, \"n\": 9, "
        "\"unknown\": 0.6}}}}";
    cJSON *json = NULL;
    keel_gate_result got;
    assert_int_equal(keel_json_parse(unsure, strlen(unsure), "test", &json, NULL), KEEL_OK);
    assert_int_equal(keel_gate_check_json("accuracy >= 0.3", json, &got, NULL), KEEL_OK);
    assert_true(!got.met && got.measured == .2);
    assert_string_equal(got.what, "accuracy.low");
    assert_int_equal(keel_gate_check_json("accuracy < 0.7", json, &got, NULL), KEEL_OK);
    assert_true(!got.met && got.measured == .8);
    assert_int_equal(keel_gate_check_json("accuracy.value >= 0.3", json, &got, NULL), KEEL_OK);
    assert_true(got.met && got.measured == .5);
    cJSON_Delete(json);
}

/* Where the log's propensities are refuted, what is estimated with them meets no gate; what is known does. */
static void estimates_over_refuted_propensities_meet_no_gate(void **state) {
    (void)state;
    static const struct {
        const char *expression;
        bool when_true, when_refuted;
    } cases[] = {{"speed.low >= -5", true, false},    {"policy.speed <= 5", true, false},
                 {"ope.wdr >= 0.1", true, false},     {"policy.speed - logged.speed >= 0", true, false},
                 {"accuracy.low >= 0.1", true, true}, {"logged.speed >= 0.1", true, true}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
        for (int refuted = 0; refuted < 2; refuted++) {
            char json_text[1200];
            cJSON *json = NULL;
            keel_gate_result got;
            snprintf(
                json_text, sizeof json_text,
                "{\"policy\": {\"metrics\": {\"speed\": {\"value\": 0.5, \"low\": 0.4, \"high\": 0.6, \"n\": 9, "
                "\"estimated\": 0.1, \"unknown\": 0}, \"accuracy\": {\"value\": 0.5, \"low\": 0.4, \"high\": 0.6, "
                "\"n\": 9}}, \"ope\": {\"wdr\": {\"value\": 0.5, \"low\": 0.4, \"high\": 0.6, \"n\": 9}%s}}, "
                "\"baselines\": {\"logged\": {\"metrics\": {\"speed\": {\"value\": 0.3, \"low\": 0.2, \"high\": "
                "0.4, \"n\": 9}}}}, \"differences\": {\"policy - logged\": {\"speed\": {\"value\": 0.2, \"low\": 0.1, "
                "\"high\": 0.3, \"n\": 9}}}}",
                refuted ? ", \"propensities_refuted\": true" : "");
            assert_int_equal(keel_json_parse(json_text, strlen(json_text), "test", &json, NULL), KEEL_OK);
            assert_int_equal(keel_gate_check_json(cases[k].expression, json, &got, NULL), KEEL_OK);
            if (got.met != (refuted ? cases[k].when_refuted : cases[k].when_true))
                fail_msg("%s", cases[k].expression);
            cJSON_Delete(json);
        }
}

static void another_threshold_or_bound_measures_the_same(void **state) {
    (void)state;
    static const struct {
        const char *expression, *measure;
        bool of_policy;
    } cases[] = {{"refusal_rate.low >= 0.9", "refusal_rate", true},
                 {"policy.refusal_rate > 0.8", "refusal_rate", true},
                 {"(policy.speed - base.speed).value > 0", "speed - base.speed", true},
                 {"speed - baselines.base.speed > 0", "speed - base.speed", true},
                 {"ope.wis.low > 0.5", "ope.wis", true},
                 {"logged.refusal_rate >= 0.5", "logged.refusal_rate", false},
                 {"models.m.refusal_rate >= 0.5", "models.m.refusal_rate", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        char measure[360];
        bool of_policy;
        assert_int_equal(keel_gate_measure(cases[i].expression, measure, &of_policy, NULL), KEEL_OK);
        assert_string_equal(measure, cases[i].measure);
        assert_int_equal(of_policy, cases[i].of_policy);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_that_is_unknown_in_part_is_compared_by_its_end),
        cmocka_unit_test(estimates_over_refuted_propensities_meet_no_gate),
        cmocka_unit_test(another_threshold_or_bound_measures_the_same),
        cmocka_unit_test(gates_compare_what_they_name),
        cmocka_unit_test(what_is_not_known_meets_no_gate),
        cmocka_unit_test(before_the_models_are_known_any_name_may_be_one),
        cmocka_unit_test(thresholds_that_decide_nothing_are_refused),
        cmocka_unit_test(a_line_says_what_was_measured_and_how_many_it_takes),
        cmocka_unit_test(malformed_gates_are_refused_with_the_names_there_are),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
