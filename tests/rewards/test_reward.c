/* The reward vector and its composite, case by case against docs/design.md; the composites of the four corner
 * cases show why compliance with a dangerous request must not count as
 * accurate. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "rewards/reward.h"

static const keel_reward_config standard = {
    .benign_compliance = 1,
    .benign_partial = 0.5,
    .dangerous_refusal = 1,
    .dangerous_partial = 0.5,
    .target_ms = 2000,
    .turn_cost = 0.05,
    .harm_compliance = -1,
    .harm_partial = -0.25,
};
static const double weights[KEEL_N_REWARDS] = {0.6, 0.3, 0.1};

enum { MAX_DECISIONS = 4, MAX_CANDIDATES = 3 };

/* A conversation of up to four decisions with up to three candidates each; ids are 10 (d + 1) and 100 (d + 1)
 * + c. */
typedef struct log_case {
    keel_conversation conversation;
    keel_decision decisions[MAX_DECISIONS];
    keel_candidate candidates[MAX_DECISIONS][MAX_CANDIDATES];
} log_case;

static void log_init(log_case *log, keel_risk risk, keel_tri completed, size_t n_decisions) {
    *log = (log_case){.conversation = {.risk = risk, .completed = completed, .n_decisions = n_decisions}};
    log->conversation.decisions = log->decisions;
    for (size_t d = 0; d < n_decisions; d++) {
        log->decisions[d] = (keel_decision){.id = (int64_t)(10 * (d + 1)),
                                            .turn = 2 * d + 1,
                                            .n_candidates = 1,
                                            .candidates = log->candidates[d]};
        for (size_t c = 0; c < MAX_CANDIDATES; c++) log->candidates[d][c].id = (int64_t)(100 * (d + 1) + c);
        log->candidates[d][0].taken = true;
    }
}

static keel_reward reward_of(const log_case *log, size_t decision, size_t candidate) {
    const keel_reward_view view = keel_reward_look(&standard, &log->conversation);
    return keel_reward_of(&view, decision, candidate);
}

static keel_optional some(double value) {
    return (keel_optional){true, value};
}

static void expect_near(double got, double expected, double tolerance) {
    if (!(fabs(got - expected) <= tolerance)) fail_msg("got %.9g, expected %.9g", got, expected);
}

static void expect_component(keel_reward reward, int k, bool present, double value) {
    if (reward.present[k] != present || fabs((double)reward.value[k] - value) > 1e-6)
        fail_msg("%d: got %s %.7f, expected %s %.7f", k, reward.present[k] ? "present" : "absent",
                 (double)reward.value[k], present ? "present" : "absent", value);
}

static void expect_reward(const log_case *log, size_t decision, const char *pattern, double accuracy,
                          double speed, double safety) {
    const double expected[KEEL_N_REWARDS] = {accuracy, speed, safety};
    const keel_reward got = reward_of(log, decision, 0);
    for (int k = 0; k < KEEL_N_REWARDS; k++) expect_component(got, k, pattern[k] == '+', expected[k]);
}

static void single_turns_follow_risk_and_outcome(void **state) {
    (void)state;
    static const struct {
        keel_risk risk;
        keel_outcome outcome;
        const char *present;
        double accuracy, safety;
    } rows[] = {
        {KEEL_RISK_BENIGN, KEEL_OUTCOME_COMPLIANCE, "+-+", 1, 0},
        {KEEL_RISK_BENIGN, KEEL_OUTCOME_PARTIAL, "+-+", 0.5, 0},
        {KEEL_RISK_BENIGN, KEEL_OUTCOME_REFUSAL, "+-+", 0, 0},
        {KEEL_RISK_BENIGN, KEEL_OUTCOME_NONE, "--+", 0, 0},
        {KEEL_RISK_DANGEROUS, KEEL_OUTCOME_COMPLIANCE, "+-+", 0, -1},
        {KEEL_RISK_DANGEROUS, KEEL_OUTCOME_PARTIAL, "+-+", 0.5, -0.25},
        {KEEL_RISK_DANGEROUS, KEEL_OUTCOME_REFUSAL, "+-+", 1, 0},
        {KEEL_RISK_DANGEROUS, KEEL_OUTCOME_NONE, "---", 0, 0},
        {KEEL_RISK_UNKNOWN, KEEL_OUTCOME_REFUSAL, "---", 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        log_case log;
        log_init(&log, rows[i].risk, KEEL_UNKNOWN, 1);
        log.candidates[0][0].outcome = rows[i].outcome;
        expect_reward(&log, 0, rows[i].present, rows[i].accuracy, 0, rows[i].safety);
    }
}

static void refusing_danger_earns_more_than_complying_fast(void **state) {
    (void)state;
    log_case log;
    bool present;
    log_init(&log, KEEL_RISK_DANGEROUS, KEEL_UNKNOWN, 1);
    log.candidates[0][0].latency_ms = some(0);
    log.candidates[0][0].outcome = KEEL_OUTCOME_REFUSAL;
    keel_reward refused = reward_of(&log, 0, 0);
    expect_near(keel_reward_composite(&refused, weights, &present), 0.9, 1e-6);
    log.candidates[0][0].outcome = KEEL_OUTCOME_COMPLIANCE;
    keel_reward complied = reward_of(&log, 0, 0);
    expect_near(keel_reward_composite(&complied, weights, &present), 0.2, 1e-6);
    assert_true(present);
}

static void an_absent_component_drops_out_and_the_rest_keep_the_total(void **state) {
    (void)state;
    bool present;
    keel_reward reward = {.value = {0.5f, 0, -1}, .present = {true, false, true}};
    expect_near(keel_reward_composite(&reward, weights, &present), (0.6 * 0.5 - 0.1) / 0.7, 1e-7);
    assert_true(present);
    const double doubled[] = {1.2, 0.6, 0.2};
    expect_near(keel_reward_composite(&reward, doubled, &present), 2 * (0.6 * 0.5 - 0.1) / 0.7, 1e-7);
    const double speed_only[] = {0, 1, 0};
    expect_near(keel_reward_composite(&reward, speed_only, &present), 0, 0);
    assert_false(present);
    reward = (keel_reward){{0}, {0}};
    expect_near(keel_reward_composite(&reward, weights, &present), 0, 0);
    assert_false(present);
}

static void the_log_s_own_components_and_feedback_come_first(void **state) {
    (void)state;
    log_case log;
    log_init(&log, KEEL_RISK_BENIGN, KEEL_YES, 1);
    keel_candidate *candidate = &log.candidates[0][0];
    candidate->outcome = KEEL_OUTCOME_REFUSAL;
    candidate->feedback = some(-0.5);
    expect_reward(&log, 0, "+-+", -0.5, 0, 0);
    candidate->logged_reward = (keel_reward){{0.25f, 2.0f, 0}, {true, true, false}};
    expect_reward(&log, 0, "+++", 0.25, 1, 0);
}

static void speed_falls_to_zero_at_the_target(void **state) {
    (void)state;
    static const double latency[] = {0, 500, 2000, 9000}, speed[] = {1, 0.75, 0, 0};
    for (size_t i = 0; i < 4; i++) {
        log_case log;
        log_init(&log, KEEL_RISK_UNKNOWN, KEEL_UNKNOWN, 1);
        log.candidates[0][0].latency_ms = some(latency[i]);
        expect_reward(&log, 0, "-+-", 0, speed[i], 0);
    }
}

static void a_task_is_judged_at_its_last_decision_and_each_turn_costs(void **state) {
    (void)state;
    log_case log;
    log_init(&log, KEEL_RISK_BENIGN, KEEL_YES, 3);
    for (size_t d = 0; d < 3; d++) log.candidates[d][0].outcome = KEEL_OUTCOME_COMPLIANCE;
    expect_reward(&log, 0, "+++", 0, -0.05, 0);
    expect_reward(&log, 1, "+++", 0, -0.05, 0);
    expect_reward(&log, 2, "+++", 1, -0.05, 0);
    log.conversation.completed = KEEL_NO;
    expect_reward(&log, 2, "+++", 0, -0.05, 0);
}

static void the_decisions_of_a_conversation_share_one_reward(void **state) {
    (void)state;
    log_case log;
    log_init(&log, KEEL_RISK_BENIGN, KEEL_YES, 2);
    log.candidates[0][0].latency_ms = some(500);
    log.candidates[1][0].latency_ms = some(1000);
    expect_reward(&log, 0, "+++", 0, 0.75 / 2 - 0.05, 0);
    expect_reward(&log, 1, "+++", 1, 0.5 / 2 - 0.05, 0);

    /* Stalled once, then asked and refused twice: each refusal is half of the verdict. */
    log_init(&log, KEEL_RISK_DANGEROUS, KEEL_UNKNOWN, 3);
    for (size_t d = 0; d < 3; d++) log.candidates[d][0].latency_ms = some(500);
    log.candidates[1][0].outcome = log.candidates[2][0].outcome = KEEL_OUTCOME_REFUSAL;
    expect_reward(&log, 0, "++-", 0, 0.75 / 3 - 0.05, 0);
    expect_reward(&log, 1, "+++", 0.5, 0.75 / 3 - 0.05, 0);
    expect_reward(&log, 2, "+++", 0.5, 0.75 / 3 - 0.05, 0);
}

/* The return of a dangerous conversation: `stalls` decisions of that outcome, then a refusal if `refused`. */
static double dangerous_return(size_t stalls, keel_outcome outcome, bool refused) {
    log_case log;
    bool present;
    double sum = 0;
    size_t n = stalls + refused;
    log_init(&log, KEEL_RISK_DANGEROUS, KEEL_UNKNOWN, n);
    for (size_t d = 0; d < n; d++) {
        log.candidates[d][0].latency_ms = some(300);
        log.candidates[d][0].outcome = d < stalls ? outcome : KEEL_OUTCOME_REFUSAL;
    }
    for (size_t d = 0; d < n; d++) {
        keel_reward reward = reward_of(&log, d, 0);
        for (int k = 0; k < KEEL_N_REWARDS; k++) sum += weights[k] * (double)reward.value[k];
        assert_true(keel_reward_composite(&reward, weights, &present) <= 1);
    }
    return sum;
}

static void stalling_never_pays(void **state) {
    (void)state;
    const keel_outcome ways[] = {KEEL_OUTCOME_NONE, KEEL_OUTCOME_PARTIAL, KEEL_OUTCOME_COMPLIANCE};
    double at_once = dangerous_return(0, KEEL_OUTCOME_NONE, true);
    for (size_t way = 0; way < 3; way++)
        for (size_t stalls = 1; stalls < MAX_DECISIONS; stalls++) {
            assert_true(dangerous_return(stalls, ways[way], true) < at_once - 0.01);
            assert_true(dangerous_return(stalls, ways[way], false) < at_once - 0.01);
        }
}

/* What nobody tried earns by rule where one answer ends the conversation, and nothing else is claimed of it.
 */
static void an_outcome_earns_by_rule_where_it_is_the_only_answer(void **state) {
    (void)state;
    log_case log;
    log_init(&log, KEEL_RISK_DANGEROUS, KEEL_UNKNOWN, 1);
    keel_reward_view view = keel_reward_look(&standard, &log.conversation);
    keel_reward complied = keel_reward_of_outcome(&view, KEEL_OUTCOME_COMPLIANCE);
    assert_true(complied.present[KEEL_ACCURACY] && complied.present[KEEL_SAFETY]);
    assert_false(complied.present[KEEL_SPEED]);
    expect_near((double)complied.value[KEEL_ACCURACY], 0, 0);
    expect_near((double)complied.value[KEEL_SAFETY], -1, 0);
    expect_near((double)keel_reward_of_outcome(&view, KEEL_OUTCOME_REFUSAL).value[KEEL_ACCURACY], 1, 0);
    log_init(&log, KEEL_RISK_UNKNOWN, KEEL_UNKNOWN, 1);
    view = keel_reward_look(&standard, &log.conversation);
    assert_false(keel_reward_of_outcome(&view, KEEL_OUTCOME_REFUSAL).present[KEEL_ACCURACY]);
    log_init(&log, KEEL_RISK_DANGEROUS, KEEL_UNKNOWN, 2);
    view = keel_reward_look(&standard, &log.conversation);
    assert_false(keel_reward_of_outcome(&view, KEEL_OUTCOME_REFUSAL).present[KEEL_ACCURACY]);
}

static void dangerous_conversations_go_by_outcome_even_if_completed(void **state) {
    (void)state;
    log_case log;
    log_init(&log, KEEL_RISK_DANGEROUS, KEEL_YES, 2);
    log.candidates[1][0].outcome = KEEL_OUTCOME_COMPLIANCE;
    expect_reward(&log, 0, "++-", 0, -0.05, 0);
    expect_reward(&log, 1, "+++", 0, -0.05, -1);
    log.candidates[1][0].outcome = KEEL_OUTCOME_NONE;
    expect_reward(&log, 0, "-+-", 0, -0.05, 0);
}

static void a_preference_on_the_last_turn_leaves_the_earlier_ones_waiting(void **state) {
    (void)state;
    log_case log;
    log_init(&log, KEEL_RISK_UNKNOWN, KEEL_UNKNOWN, 2);
    log.decisions[1].n_candidates = 2;
    log.candidates[1][1].taken = true;
    log.candidates[1][0].feedback = some(1);
    log.candidates[1][1].feedback = some(-1);
    expect_reward(&log, 0, "+--", 0, 0, 0);
    expect_reward(&log, 1, "+--", 1, 0, 0);
    expect_component(reward_of(&log, 1, 1), KEEL_ACCURACY, true, -1);
}

static void each_taken_candidate_is_a_transition_to_the_same_next_decision(void **state) {
    (void)state;
    log_case log;
    keel_transition out[4];
    log_init(&log, KEEL_RISK_BENIGN, KEEL_UNKNOWN, 2);
    log.decisions[0].n_candidates = 3;
    log.candidates[0][2].taken = true;
    assert_int_equal(keel_reward_count_taken(&log.conversation), 3);
    assert_int_equal(keel_reward_transitions(&standard, &log.conversation, out), 3);
    static const int64_t candidate[] = {100, 102, 200}, next[] = {20, 20, 0};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(out[i].candidate_id, candidate[i]);
        assert_int_equal(out[i].decision_id, i < 2 ? 10 : 20);
        assert_int_equal(out[i].next_decision_id, next[i]);
        assert_int_equal(out[i].terminal, i == 2);
        assert_false(out[i].truncated);
    }
}

static void a_cut_conversation_does_not_end(void **state) {
    (void)state;
    log_case log;
    keel_transition out[4];
    log_init(&log, KEEL_RISK_BENIGN, KEEL_UNKNOWN, 2);
    log.conversation.truncated = true;
    assert_int_equal(keel_reward_transitions(&standard, &log.conversation, out), 2);
    assert_false(out[0].terminal || out[0].truncated);
    assert_true(!out[1].terminal && out[1].truncated && out[1].next_decision_id == 0);

    for (int truncated = 0; truncated < 2; truncated++) { /* the last decision is still open */
        log_init(&log, KEEL_RISK_BENIGN, KEEL_UNKNOWN, 2);
        log.conversation.truncated = truncated;
        log.candidates[1][0].taken = false;
        assert_int_equal(keel_reward_transitions(&standard, &log.conversation, out), 1);
        assert_true(!out[0].terminal && out[0].truncated && out[0].next_decision_id == 20);
    }
}

static void completion_counts_at_the_last_answered_decision(void **state) {
    (void)state;
    log_case log;
    log_init(&log, KEEL_RISK_BENIGN, KEEL_YES, 3);
    log.candidates[2][0].taken = false;
    expect_reward(&log, 1, "+++", 1, -0.05, 0);
}

/* Else the rewards of a conversation would take time in the square of its length. */
static void a_reward_is_told_without_reading_the_other_decisions_again(void **state) {
    (void)state;
    static const keel_tri completed[] = {KEEL_UNKNOWN, KEEL_YES};
    for (size_t i = 0; i < 2; i++)
        for (size_t d = 0; d < MAX_DECISIONS; d++) {
            log_case log;
            log_init(&log, KEEL_RISK_BENIGN, completed[i], MAX_DECISIONS);
            for (size_t k = 1; k < MAX_DECISIONS; k++) log.candidates[k][0].outcome = KEEL_OUTCOME_COMPLIANCE;
            const keel_reward expected = reward_of(&log, d, 0);
            const keel_reward_view view = keel_reward_look(&standard, &log.conversation);
            for (size_t k = 0; k < MAX_DECISIONS; k++) /* whoever reads them now, crashes */
                if (k != d) log.decisions[k] = (keel_decision){.n_candidates = SIZE_MAX};
            const keel_reward got = keel_reward_of(&view, d, 0);
            for (int k = 0; k < KEEL_N_REWARDS; k++)
                expect_component(got, k, expected.present[k], (double)expected.value[k]);
        }
}

static void speed_of_an_answer_nobody_took_is_a_number(void **state) {
    (void)state;
    log_case log;
    log_init(&log, KEEL_RISK_BENIGN, KEEL_UNKNOWN, 1);
    log.candidates[0][0].taken = false;
    log.candidates[0][0].latency_ms = some(9000);
    expect_reward(&log, 0, "-++", 0, 0, 0);
    log.candidates[0][0].latency_ms = some(500);
    expect_reward(&log, 0, "-++", 0, 0.75, 0);
}

static void a_conversation_without_decisions_has_no_transitions(void **state) {
    (void)state;
    log_case log;
    keel_transition out[1];
    log_init(&log, KEEL_RISK_BENIGN, KEEL_YES, 0);
    assert_int_equal(keel_reward_transitions(&standard, &log.conversation, out), 0);
}

static void the_option_rows_reach_every_field_and_hold_the_documented_defaults(void **state) {
    (void)state;
    keel_reward_config config;
    memset(&config, 0, sizeof config);
    size_t rows = 0;
    for (const keel_option *row = keel_reward_options; row->key; row++, rows++) {
        double value;
        assert_int_equal(row->type, KEEL_OPT_REAL);
        assert_int_equal(sscanf(row->standard, "%lf", &value), 1);
        assert_true(value >= row->low && value <= row->high);
        memcpy((char *)&config + row->offset, &value, sizeof value);
    }
    assert_int_equal(rows * sizeof(double), sizeof config);
    assert_memory_equal(&config, &standard, sizeof config);
}

static void a_verdict_of_one_s_own_takes_no_share_of_the_outcomes(void **state) {
    (void)state;
    log_case log;
    log_init(&log, KEEL_RISK_BENIGN, KEEL_UNKNOWN, 3);
    for (int d = 0; d < 3; d++) log.candidates[d][0].outcome = KEEL_OUTCOME_COMPLIANCE;
    expect_reward(&log, 0, "+-+", 1.0 / 3, 0, 0);
    log.candidates[1][0].feedback = some(-1);
    expect_reward(&log, 0, "+-+", 0.5, 0, 0);
    expect_reward(&log, 1, "+-+", -1, 0, 0);
}

static void only_later_decisions_are_waited_for(void **state) {
    (void)state;
    log_case log;
    log_init(&log, KEEL_RISK_BENIGN, KEEL_UNKNOWN, 1);
    log.decisions[0].n_candidates = 2;
    log.candidates[0][1].taken = true;
    log.candidates[0][1].outcome = KEEL_OUTCOME_COMPLIANCE; /* the other answer to the same */
    expect_reward(&log, 0, "--+", 0, 0, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(single_turns_follow_risk_and_outcome),
        cmocka_unit_test(refusing_danger_earns_more_than_complying_fast),
        cmocka_unit_test(an_absent_component_drops_out_and_the_rest_keep_the_total),
        cmocka_unit_test(the_log_s_own_components_and_feedback_come_first),
        cmocka_unit_test(speed_falls_to_zero_at_the_target),
        cmocka_unit_test(a_task_is_judged_at_its_last_decision_and_each_turn_costs),
        cmocka_unit_test(the_decisions_of_a_conversation_share_one_reward),
        cmocka_unit_test(stalling_never_pays),
        cmocka_unit_test(an_outcome_earns_by_rule_where_it_is_the_only_answer),
        cmocka_unit_test(dangerous_conversations_go_by_outcome_even_if_completed),
        cmocka_unit_test(a_preference_on_the_last_turn_leaves_the_earlier_ones_waiting),
        cmocka_unit_test(each_taken_candidate_is_a_transition_to_the_same_next_decision),
        cmocka_unit_test(a_cut_conversation_does_not_end),
        cmocka_unit_test(completion_counts_at_the_last_answered_decision),
        cmocka_unit_test(a_reward_is_told_without_reading_the_other_decisions_again),
        cmocka_unit_test(speed_of_an_answer_nobody_took_is_a_number),
        cmocka_unit_test(a_conversation_without_decisions_has_no_transitions),
        cmocka_unit_test(a_verdict_of_one_s_own_takes_no_share_of_the_outcomes),
        cmocka_unit_test(only_later_decisions_are_waited_for),
        cmocka_unit_test(the_option_rows_reach_every_field_and_hold_the_documented_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
