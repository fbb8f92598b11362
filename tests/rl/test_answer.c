/* Outcome and reward of answers that are none of the log's; how likely those of the log were. */
#include "fixture.h"

#include <math.h>

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

/* Of a set: within it where all have a propensity, else as it is logged. Of acts: as it is logged. */
static void a_propensity_is_of_the_answers_beside_it(void **state) {
    (void)state;
    static const struct {
        size_t n;
        double logged[3], expected; /* 0: none; the first is taken */
    } cases[] = {{1, {.024}, 1}, {3, {.2, .1, .5}, .25}, {3, {.2, .3, .5}, .2}, {3, {.2, 0, .5}, .2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        keel_candidate candidates[3] = {{.text = "a", .taken = true}, {.text = "b"}, {.text = "c"}};
        const keel_decision decision = {.n_candidates = cases[i].n, .candidates = candidates};
        const keel_base sets = fixture_base(KEEL_SPACE_CANDIDATES), acts = fixture_base(KEEL_SPACE_ACTS);
        const keel_choice choice = {0};
        bool by_base = true;
        for (size_t c = 0; c < cases[i].n; c++)
            if (cases[i].logged[c] > 0) candidates[c].propensity = (keel_optional){true, cases[i].logged[c]};
        assert_float_equal(exp(keel_answer_log_behaviour(&sets, &decision, 0, &choice, 0, &by_base)),
                           cases[i].expected, 1e-12);
        assert_false(by_base);
        assert_float_equal(exp(keel_answer_log_behaviour(&acts, &decision, 0, &choice, 0, &by_base)),
                           cases[i].logged[0], 1e-12);
        assert_int_equal(keel_answer_propensity_unused(&sets, &decision, 0), cases[i].n == 1);
        assert_false(keel_answer_propensity_unused(&acts, &decision, 0));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fixed_answer_earns_what_the_rule_gives_for_its_outcome),
        cmocka_unit_test(a_propensity_is_of_the_answers_beside_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
