/* Drift: rates over a window, what gates expect of them, and when they are outside. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "experiments/serve/drift.h"

static keel_err err;

static keel_drift *open_drift(void) {
    keel_drift *drift;
    assert_int_equal(keel_drift_open(&drift, &err), KEEL_OK);
    return drift;
}

static keel_drift_state look(keel_drift *drift, keel_drift_rate rate) {
    keel_drift_state state;
    keel_drift_look(drift, rate, &state);
    return state;
}

static void answer(keel_drift *drift, int number, bool unfamiliar, bool refused) {
    char request[32];
    snprintf(request, sizeof request, "chatcmpl-%d", number);
    keel_drift_answered(drift, request, unfamiliar, refused);
}

static void tell(keel_drift *drift, int number, keel_risk risk, int completed) {
    char request[32];
    snprintf(request, sizeof request, "chatcmpl-%d", number);
    keel_drift_told(drift, request, risk, completed);
}

static void unfamiliar_requests_raise_it(void **state) {
    keel_drift *drift = open_drift();
    (void)state;
    assert_true(isnan(look(drift, KEEL_DRIFT_UNFAMILIAR).rate));
    for (int i = 0; i < 1000; i++) answer(drift, i, i % 100 == 0, false);
    assert_true(look(drift, KEEL_DRIFT_UNFAMILIAR).rate == 0.01);
    assert_false(look(drift, KEEL_DRIFT_UNFAMILIAR).outside);
    for (int i = 0; i < 500; i++) answer(drift, 1000 + i, i % 10 == 0, false);
    /* the window holds the last 1000: 5 of the first 500 are gone, 50 came */
    assert_true(look(drift, KEEL_DRIFT_UNFAMILIAR).rate == 0.055);
    assert_true(look(drift, KEEL_DRIFT_UNFAMILIAR).outside);
    for (int i = 0; i < 1000; i++) answer(drift, 2000 + i, false, false);
    assert_true(look(drift, KEEL_DRIFT_UNFAMILIAR).rate == 0);
    assert_false(look(drift, KEEL_DRIFT_UNFAMILIAR).outside);
    keel_drift_close(drift);
}

static void few_requests_are_no_drift(void **state) {
    keel_drift *drift = open_drift();
    (void)state;
    for (int i = 0; i < KEEL_DRIFT_LEAST - 1; i++) answer(drift, i, true, false);
    assert_false(look(drift, KEEL_DRIFT_UNFAMILIAR).outside);
    answer(drift, 100, true, false);
    assert_true(look(drift, KEEL_DRIFT_UNFAMILIAR).outside);
    keel_drift_close(drift);
}

static void feedback_is_counted_once(void **state) {
    keel_drift *drift = open_drift();
    (void)state;
    answer(drift, 1, false, true);
    answer(drift, 2, false, false);
    tell(drift, 1, KEEL_RISK_DANGEROUS, -1);
    tell(drift, 1, KEEL_RISK_DANGEROUS, 1); /* now the completion is new, the risk is not */
    tell(drift, 1, KEEL_RISK_UNKNOWN, 0);
    tell(drift, 2, KEEL_RISK_BENIGN, -1);   /* no request for which refusals are wanted */
    tell(drift, 3, KEEL_RISK_DANGEROUS, 1); /* nobody knows it */
    assert_true(look(drift, KEEL_DRIFT_REFUSAL).n == 1 && look(drift, KEEL_DRIFT_REFUSAL).rate == 1);
    assert_true(look(drift, KEEL_DRIFT_COMPLETION).n == 1 && look(drift, KEEL_DRIFT_COMPLETION).rate == 1);
    keel_drift_close(drift);
}

static void gates_say_what_is_expected(void **state) {
    keel_drift *drift = open_drift();
    (void)state;
    assert_true(isnan(look(drift, KEEL_DRIFT_REFUSAL).expected_low));
    static const char gates[] =
        "[{\"gate\": \"refusal_rate.low >= 0.97\", \"met\": true}, {\"gate\": \"policy.refusal_rate<=0.99\"},"
        " {\"gate\": \"completion_rate > 0.9\"}, {\"gate\": \"over_refusal_rate <= 0.1\"},"
        " {\"gate\": \"logged.completion_rate >= 0.99\"}, {\"gate\": \"completion_rate.n >= 0.99\"},"
        " {\"gate\": \"policy.refusal_rate - base.refusal_rate >= 0.98\"}, {\"gate\": \"completion_rate\"},"
        " {\"gate\": \"completion_rate >= 98 %\"}, {\"met\": true}]";
    assert_int_equal(keel_drift_expect(drift, gates, &err), KEEL_OK);
    assert_true(look(drift, KEEL_DRIFT_REFUSAL).expected_low == 0.97);
    assert_true(look(drift, KEEL_DRIFT_REFUSAL).expected_high == 0.99);
    assert_true(look(drift, KEEL_DRIFT_COMPLETION).expected_low == 0.9);
    assert_true(look(drift, KEEL_DRIFT_COMPLETION).expected_high == 1);
    assert_int_equal(keel_drift_expect(drift, "{}", &err), KEEL_E_PARSE);
    assert_int_equal(keel_drift_expect(drift, "[{\"gate\": 1}]", &err), KEEL_E_PARSE);
    assert_true(look(drift, KEEL_DRIFT_REFUSAL).expected_low == 0.97); /* as before */
    assert_int_equal(keel_drift_expect(drift, NULL, &err), KEEL_OK);
    assert_true(isnan(look(drift, KEEL_DRIFT_COMPLETION).expected_low));
    keel_drift_close(drift);
}

static void a_rate_below_its_gate_is_shown(void **state) {
    keel_drift *drift = open_drift();
    keel_monitor *monitor;
    (void)state;
    assert_int_equal(keel_monitor_open(&monitor, &err), KEEL_OK);
    assert_int_equal(keel_drift_expect(drift, "[{\"gate\": \"refusal_rate >= 0.97\"}]", &err), KEEL_OK);
    for (int i = 0; i < 200; i++) {
        answer(drift, i, false, i % 20 != 0); /* 95 %: by chance below .97 */
        tell(drift, i, KEEL_RISK_DANGEROUS, i % 2);
    }
    keel_drift_show(drift, monitor);
    assert_true(keel_monitor_value(monitor, KEEL_MONITOR_DRIFT, "refusal_rate") == 0.95);
    assert_true(keel_monitor_value(monitor, KEEL_MONITOR_DRIFT_LOW, "refusal_rate") == 0.97);
    assert_true(keel_monitor_value(monitor, KEEL_MONITOR_DRIFT_OUTSIDE, "refusal_rate") == 0);
    for (int i = 200; i < 400; i++) {
        answer(drift, i, false, i % 5 != 0);
        tell(drift, i, KEEL_RISK_DANGEROUS, -1);
    }
    keel_drift_show(drift, monitor);
    assert_true(keel_monitor_value(monitor, KEEL_MONITOR_DRIFT_OUTSIDE, "refusal_rate") == 1);
    /* of completion nothing is expected, so 50 % is not outside */
    assert_true(keel_monitor_value(monitor, KEEL_MONITOR_DRIFT, "completion_rate") == 0.5);
    assert_true(keel_monitor_value(monitor, KEEL_MONITOR_DRIFT_OUTSIDE, "completion_rate") == 0);
    keel_monitor_close(monitor);
    keel_drift_close(drift);
    keel_drift_close(NULL);
    keel_drift_answered(NULL, "a", true, true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unfamiliar_requests_raise_it),   cmocka_unit_test(few_requests_are_no_drift),
        cmocka_unit_test(feedback_is_counted_once),       cmocka_unit_test(gates_say_what_is_expected),
        cmocka_unit_test(a_rate_below_its_gate_is_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
