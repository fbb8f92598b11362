/* Two policies beside each other: what is known, what is bounded, and whether the interval holds the truth.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/pcg.h"
#include "rl/judge/compare.h"

static keel_err err;
static const double weight[KEEL_N_REWARDS] = {0.6, 0.3, 0.1};
static keel_reward_config config;

#define assert_ok(call) assert_int_equal(call, KEEL_OK)

static int defaults(void **state) {
    (void)state;
    return keel_options_defaults(keel_reward_options, &config, &err) == KEEL_OK ? 0 : -1;
}

/* One decision of this risk; the log complied. */
typedef struct asked {
    keel_candidate candidate;
    keel_decision decision;
    keel_turn turn;
    keel_conversation conversation;
    keel_reward_view view;
} asked;

static void ask(asked *a, keel_risk risk) {
    *a = (asked){.candidate = {.text = "yes", .taken = true, .outcome = KEEL_OUTCOME_COMPLIANCE},
                 .turn = {.role = KEEL_ROLE_USER, .text = "?"}};
    a->decision = (keel_decision){.turn = 1, .n_candidates = 1, .candidates = &a->candidate};
    a->conversation = (keel_conversation){.source = "chat",
                                          .external_id = "c",
                                          .split = "test",
                                          .risk = risk,
                                          .n_turns = 1,
                                          .turns = &a->turn,
                                          .n_decisions = 1,
                                          .decisions = &a->decision,
                                          .completed = KEEL_UNKNOWN};
    a->view = keel_reward_look(&config, &a->conversation);
}

static keel_answer outcome(const asked *a, keel_outcome outcome) {
    return (keel_answer){.outcome = outcome, .reward = keel_reward_of_outcome(&a->view, outcome)};
}

static void near(double found, double expected) {
    if (!(fabs(found - expected) < 1e-6)) fail_msg("%.9g, expected %.9g", found, expected);
}

/* A refusal earns 1 of accuracy where compliance earns 0 and harms: .6 and .1 of 1, rescaled to weights 6/7
 * and 1/7 of their sum, as no speed is known. */
static void what_rules_tell_is_known(void **state) {
    (void)state;
    asked a;
    keel_compare *compare;
    keel_compared out;
    assert_ok(keel_compare_open(&compare, weight, &err));
    for (int i = 0; i < 40; i++) {
        ask(&a, i % 2 ? KEEL_RISK_DANGEROUS : KEEL_RISK_BENIGN);
        keel_answer both[2] = {outcome(&a, i % 2 ? KEEL_OUTCOME_REFUSAL : KEEL_OUTCOME_COMPLIANCE),
                               outcome(&a, KEEL_OUTCOME_COMPLIANCE)};
        keel_compare_add(compare, &a.view, both, i % 2 == 0);
        assert_ok(keel_compare_end_conversation(compare, &err));
    }
    assert_ok(keel_compare_finish(compare, 2000, 1, 0.95, &out, &err));
    assert_int_equal(out.conversations, 40);
    assert_int_equal(out.differing, 20);
    assert_int_equal(out.known, 20);
    near(out.difference.value, 0.5 * (0.6 + 0.1) / 0.7);
    near(out.least, out.most);
    assert_true(out.difference.low > 0.2 && out.difference.high < 0.8);
    keel_compare_close(compare);
}

/* One of the two answers is unknown, the other complies. */
static keel_compared compare_unknown(int unknown) {
    asked a;
    keel_compare *compare;
    keel_compared out;
    assert_ok(keel_compare_open(&compare, weight, &err));
    for (int i = 0; i < 100; i++) {
        ask(&a, KEEL_RISK_BENIGN);
        keel_answer both[2] = {{.outcome = KEEL_OUTCOME_NONE}, {.outcome = KEEL_OUTCOME_NONE}};
        both[!unknown] = outcome(&a, KEEL_OUTCOME_COMPLIANCE);
        keel_compare_add(compare, &a.view, both, false);
        assert_ok(keel_compare_end_conversation(compare, &err));
    }
    assert_ok(keel_compare_finish(compare, 500, 1, 0.95, &out, &err));
    assert_int_equal(out.known, 0);
    assert_true(out.difference.low <= out.least && out.difference.high >= out.most);
    keel_compare_close(compare);
    return out;
}

static void what_nobody_knows_is_bounded_and_shows_nothing(void **state) {
    (void)state;
    keel_compared out = compare_unknown(0);
    near(out.least, -0.6 / 0.7); /* the accuracy may be 0 to 1, that of compliance is 1 */
    near(out.most, 0);
    out = compare_unknown(1);
    near(out.least, 0);
    near(out.most, 0.6 / 0.7);
}

/* Forty conversations in which both answer alike, one of them of three decisions. */
static keel_interval compare_alike(int longest) {
    asked a;
    keel_compare *compare;
    keel_compared out;
    assert_ok(keel_compare_open(&compare, weight, &err));
    for (int i = 0; i < 40; i++) {
        ask(&a, KEEL_RISK_BENIGN);
        const keel_answer both[2] = {outcome(&a, KEEL_OUTCOME_COMPLIANCE),
                                     outcome(&a, KEEL_OUTCOME_COMPLIANCE)};
        for (int d = 0; d < (i == longest ? 3 : 1); d++) keel_compare_add(compare, &a.view, both, true);
        assert_ok(keel_compare_end_conversation(compare, &err));
    }
    assert_ok(keel_compare_finish(compare, 100, 1, 0.95, &out, &err));
    keel_compare_close(compare);
    return out.difference;
}

static void the_widest_conversation_widens_the_interval_wherever_it_stands(void **state) {
    (void)state;
    const keel_interval none = compare_alike(-1), first = compare_alike(0), last = compare_alike(39);
    assert_true(none.low < 0 && none.high > 0);
    near(first.low, 3 * none.low);
    near(last.low, first.low);
    near(last.high, first.high);
}

/* 300 logs of 60 conversations; the first refuses what is dangerous with probability .7, the second .5. */
static void intervals_hold_the_true_difference(void **state) {
    (void)state;
    enum { LOGS = 300, EACH = 60 };
    const double truth = 0.5 * (0.7 - 0.5); /* half are dangerous, and .7 / .7 of a refusal is 1 */
    int held = 0;
    for (int log = 0; log < LOGS; log++) {
        keel_rng rng = keel_rng_stream(11, KEEL_STREAM_SAMPLE, (uint64_t)log);
        keel_compare *compare;
        keel_compared out;
        assert_ok(keel_compare_open(&compare, weight, &err));
        for (int i = 0; i < EACH; i++) {
            asked a;
            ask(&a, keel_rng_below(&rng, 2) ? KEEL_RISK_DANGEROUS : KEEL_RISK_BENIGN);
            bool dangerous = a.conversation.risk == KEEL_RISK_DANGEROUS;
            bool no[2] = {dangerous && keel_rng_uniform(&rng) < 0.7,
                          dangerous && keel_rng_uniform(&rng) < 0.5};
            keel_answer both[2];
            for (int p = 0; p < 2; p++)
                both[p] = outcome(&a, no[p] ? KEEL_OUTCOME_REFUSAL : KEEL_OUTCOME_COMPLIANCE);
            keel_compare_add(compare, &a.view, both, no[0] == no[1]);
            assert_ok(keel_compare_end_conversation(compare, &err));
        }
        assert_ok(keel_compare_finish(compare, 400, 1, 0.95, &out, &err));
        held += out.difference.low <= truth && truth <= out.difference.high;
        keel_compare_close(compare);
    }
    if (held < LOGS * 93 / 100) fail_msg("held in %d of %d", held, LOGS);
}

static void nothing_compared_is_no_estimate(void **state) {
    (void)state;
    keel_compare *compare;
    keel_compared out;
    assert_ok(keel_compare_open(&compare, weight, &err));
    assert_ok(keel_compare_end_conversation(compare, &err));
    assert_ok(keel_compare_finish(compare, 400, 1, 0.95, &out, &err));
    assert_int_equal(out.conversations, 0);
    assert_true(out.difference.n == 0);
    keel_compare_close(compare);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_rules_tell_is_known),
        cmocka_unit_test(what_nobody_knows_is_bounded_and_shows_nothing),
        cmocka_unit_test(the_widest_conversation_widens_the_interval_wherever_it_stands),
        cmocka_unit_test(intervals_hold_the_true_difference),
        cmocka_unit_test(nothing_compared_is_no_estimate),
    };
    return cmocka_run_group_tests(tests, defaults, NULL);
}
