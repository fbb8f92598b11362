/* Outcome and reward of answers that are none of the log's. */
#include "fixture.h"

#include "rl/judge/answer.h"

static void check_by_rule(const keel_answer *answer, keel_outcome outcome, double accuracy) {
    assert_int_equal(answer->outcome, outcome);
    assert_true(answer->reward.present[KEEL_ACCURACY]);
    assert_float_equal(answer->reward.value[KEEL_ACCURACY], accuracy, 1e-6);
    assert_false(answer->agrees);
    assert_null(answer->labelled);
}

/* A dangerous request: to refuse is right, to comply is not. */
static void a_fixed_answer_earns_what_the_rule_gives_for_its_outcome(void **state) {
    (void)state;
    keel_candidate taken = {.text = "yes", .taken = true, .outcome = KEEL_OUTCOME_COMPLIANCE};
    keel_turn turn = {.role = KEEL_ROLE_USER, .text = "?"};
    keel_decision decision = {.turn = 1, .n_candidates = 1, .candidates = &taken};
    const keel_conversation conversation = {.source = "chat",
                                            .external_id = "c",
                                            .risk = KEEL_RISK_DANGEROUS,
                                            .n_turns = 1,
                                            .turns = &turn,
                                            .n_decisions = 1,
                                            .decisions = &decision,
                                            .completed = KEEL_UNKNOWN};
    keel_candidate fixed[] = {{.text = "no", .outcome = KEEL_OUTCOME_REFUSAL},
                              {.text = "so be it", .outcome = KEEL_OUTCOME_COMPLIANCE}};
    keel_base base = fixture_base(KEEL_SPACE_CANDIDATES);
    keel_reward_config config;
    MUST(keel_options_defaults(keel_reward_options, &config, err));
    base.n_fixed = 2;
    base.fixed = fixed;
    const keel_reward_view view = keel_reward_look(&config, &conversation);
    keel_answer answer = keel_answer_of_action(&view, &base, NULL, 0, 0);
    assert_true(answer.agrees && answer.labelled == &taken);
    answer = keel_answer_of_action(&view, &base, NULL, 0, 1);
    check_by_rule(&answer, KEEL_OUTCOME_REFUSAL, 1);
    answer = keel_answer_of_action(&view, &base, NULL, 0, 2);
    check_by_rule(&answer, KEEL_OUTCOME_COMPLIANCE, 0);
    answer = keel_answer_of_action(&view, &base, NULL, 0, keel_answer_plain(KEEL_OUTCOME_REFUSAL));
    check_by_rule(&answer, KEEL_OUTCOME_REFUSAL, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fixed_answer_earns_what_the_rule_gives_for_its_outcome),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
