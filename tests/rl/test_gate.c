#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/json.h"
#include "rl/judge/gate.h"

static const char text[] =
    "{\"policy\": {\"metrics\": {\"refusal_rate\": {\"value\": 0.98, \"low\": 0.95, \"high\": 0.99, \"n\": "
    "200},"
    " \"speed\": {\"value\": null, \"low\": null, \"high\": null, \"n\": 0}},"
    " \"ope\": {\"wis\": {\"value\": 0.7, \"low\": 0.6, \"high\": 0.8, \"n\": 40}, \"ess\": 31.5}},"
    " \"baselines\": {\"logged\": {\"metrics\": {\"refusal_rate\": {\"value\": 0.8, \"low\": 0.7, \"high\": "
    "0.9}}}},"
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
                 {"ope.ess >= 30", true, 31.5}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        bool met = !cases[i].met;
        double measured = -1;
        keel_err err = {0};
        if (keel_gate_check(cases[i].expression, evaluation, &met, &measured, &err) != KEEL_OK)
            fail_msg("%s: %s", cases[i].expression, err.message);
        if (met != cases[i].met || measured != cases[i].measured)
            fail_msg("%s: met %d with %g", cases[i].expression, met, measured);
    }
}

static void what_is_not_known_meets_no_gate(void **state) {
    (void)state;
    bool met = true;
    double measured = 0;
    assert_int_equal(keel_gate_check("speed.low >= -5", evaluation, &met, &measured, NULL), KEEL_OK);
    assert_false(met);
    assert_true(isnan(measured));
    met = true;
    assert_int_equal(keel_gate_check("speed <= 5", evaluation, &met, &measured, NULL), KEEL_OK);
    assert_false(met);
}

static void before_the_models_are_known_any_name_may_be_one(void **state) {
    (void)state;
    cJSON *early = cJSON_Duplicate(evaluation, true);
    bool met;
    double measured;
    keel_err err = {0};
    cJSON_DeleteItemFromObject(early, "models");
    const char *any = "models.gpt-5.1.refusal_rate.low > 0", *typo = "models.gpt-5.1.refused > 0";
    assert_int_equal(keel_gate_check(any, early, &met, &measured, &err), KEEL_OK);
    assert_int_equal(keel_gate_check(typo, early, &met, &measured, &err), KEEL_E_USAGE);
    assert_int_equal(keel_gate_check(any, evaluation, &met, &measured, &err), KEEL_E_USAGE);
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
                                      "."};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; ++i) {
        bool met = true;
        double measured = 4;
        keel_err err = {0};
        if (keel_gate_check(bad[i], evaluation, &met, &measured, &err) != KEEL_E_USAGE)
            fail_msg("\"%s\" was accepted", bad[i]);
        assert_true(met && measured == 4); /* out-parameters are written on success only */
    }
    keel_err err = {0};
    bool met;
    double measured;
    keel_gate_check("refused >= 0.9", evaluation, &met, &measured, &err);
    assert_non_null(strstr(err.message, "refused"));
    assert_non_null(strstr(err.message, "refusal_rate"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gates_compare_what_they_name),
        cmocka_unit_test(what_is_not_known_meets_no_gate),
        cmocka_unit_test(before_the_models_are_known_any_name_may_be_one),
        cmocka_unit_test(malformed_gates_are_refused_with_the_names_there_are),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
