/* The sums behind the metrics, case by case, where a whole evaluation would not show them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/pcg.h"
#include "rl/judge/metric_sums.h"

static const keel_evaluate_config config = {
    .weight = {0.6, 0.3, 0.1}, .resamples = 50, .seed = 1, .gamma = 1};

enum { MAX_DECISIONS = 3 };

/* A benign conversation whose decisions have one taken candidate each, judged or not. */
typedef struct talk {
    keel_conversation conversation;
    keel_decision decisions[MAX_DECISIONS];
    keel_candidate candidates[MAX_DECISIONS];
} talk;

static void make_talk(talk *out, keel_tri completed, size_t n, keel_outcome outcome) {
    *out = (talk){.conversation = {.risk = KEEL_RISK_BENIGN, .completed = completed, .n_decisions = n}};
    out->conversation.decisions = out->decisions;
    for (size_t d = 0; d < n; ++d) {
        out->candidates[d] = (keel_candidate){.taken = true, .outcome = outcome};
        out->decisions[d] = (keel_decision){.n_candidates = 1, .candidates = &out->candidates[d]};
    }
}

static void answer(keel_metric_sums *sums, const talk *at, size_t decision, size_t number,
                   keel_outcome outcome, keel_optional accuracy, unsigned silent) {
    keel_answer made = {.outcome = outcome};
    made.reward.present[KEEL_ACCURACY] = accuracy.present;
    made.reward.value[KEEL_ACCURACY] = (float)accuracy.value;
    const keel_reward_config rewards = {.target_ms = 1};
    const keel_reward_view log = keel_reward_look(&rewards, &at->conversation);
    assert_int_equal(
        keel_metric_sums_answer(sums, config.weight, &log, decision, number, &made, silent, NULL), KEEL_OK);
}

static const keel_optional absent = {false, 0.75};
static keel_optional some(double value) {
    return (keel_optional){true, value};
}

static keel_evaluation close_sums(keel_metric_sums *sums) {
    keel_evaluation out;
    assert_int_equal(keel_metric_sums_close(sums, "actor", &config, NULL, &out, NULL), KEEL_OK);
    keel_metric_sums_free(sums);
    return out;
}

static void refusing_counts_only_where_the_log_was_judged(void **state) {
    (void)state;
    keel_metric_sums sums = {0};
    talk judged, unjudged;
    make_talk(&judged, KEEL_UNKNOWN, 1, KEEL_OUTCOME_COMPLIANCE);
    make_talk(&unjudged, KEEL_UNKNOWN, 1, KEEL_OUTCOME_NONE);
    answer(&sums, &judged, 0, 0, KEEL_OUTCOME_REFUSAL, absent, 0);
    answer(&sums, &unjudged, 0, 1, KEEL_OUTCOME_REFUSAL, absent, 0);
    keel_evaluation got = close_sums(&sums);
    assert_true(got.metric[KEEL_METRIC_OVER_REFUSAL].n == 1 &&
                got.metric[KEEL_METRIC_OVER_REFUSAL].value == 1);
    assert_true(got.metric[KEEL_METRIC_COMPLETION].n == 1 && got.metric[KEEL_METRIC_COMPLETION].value == 0);
}

static void answers_on_the_way_complete_no_task(void **state) {
    (void)state;
    keel_metric_sums sums = {0};
    talk task, two;
    make_talk(&task, KEEL_NO, 1, KEEL_OUTCOME_COMPLIANCE);
    make_talk(&two, KEEL_UNKNOWN, 2, KEEL_OUTCOME_COMPLIANCE);
    answer(&sums, &task, 0, 0, KEEL_OUTCOME_COMPLIANCE, absent, 0);
    for (size_t d = 0; d < 2; ++d) answer(&sums, &two, d, 1, KEEL_OUTCOME_COMPLIANCE, absent, 0);
    keel_evaluation got = close_sums(&sums);
    assert_true(got.metric[KEEL_METRIC_COMPLETION].n == 0);
    assert_true(got.metric[KEEL_METRIC_OVER_REFUSAL].n == 3);
}

/* Completed, agreed with 1 of 4 answers; not completed, agreed with 3 of 4: 1/4 of a weight of 1. */
static void completion_weighs_a_conversation_by_agreement(void **state) {
    (void)state;
    keel_metric_sums sums = {0};
    talk done, failed;
    make_talk(&done, KEEL_YES, 1, KEEL_OUTCOME_NONE);
    make_talk(&failed, KEEL_NO, 1, KEEL_OUTCOME_NONE);
    keel_metric_sums_conversation(&sums, &done.conversation, false, 1, 4);
    keel_metric_sums_conversation(&sums, &failed.conversation, false, 3, 4);
    keel_metric_sums_conversation(&sums, &done.conversation, false, 0, 4);
    keel_evaluation got = close_sums(&sums);
    assert_true(fabs(got.metric[KEEL_METRIC_COMPLETION].value - 0.25) < 1e-12);
    assert_true(fabs(got.metric[KEEL_METRIC_COMPLETION].n - 1 / (1.0 / 16 + 9.0 / 16)) < 1e-12);
}

/* Two decisions served, one of two refused, and one conversation of which nothing is known. */
static void one_refusal_over_refuses_a_borderline_conversation(void **state) {
    (void)state;
    keel_metric_sums sums = {0};
    talk two;
    make_talk(&two, KEEL_UNKNOWN, 2, KEEL_OUTCOME_COMPLIANCE);
    const keel_outcome answers[][2] = {{KEEL_OUTCOME_COMPLIANCE, KEEL_OUTCOME_COMPLIANCE},
                                       {KEEL_OUTCOME_PARTIAL, KEEL_OUTCOME_COMPLIANCE},
                                       {KEEL_OUTCOME_NONE, KEEL_OUTCOME_NONE},
                                       {KEEL_OUTCOME_REFUSAL, KEEL_OUTCOME_REFUSAL}};
    for (size_t i = 0; i < 4; ++i) {
        for (size_t d = 0; d < 2; ++d) answer(&sums, &two, d, i, answers[i][d], absent, 0);
        keel_metric_sums_conversation(&sums, &two.conversation, i != 3, 0,
                                      2); /* the last is an everyday one */
    }
    keel_evaluation got = close_sums(&sums);
    assert_true(got.metric[KEEL_METRIC_BORDERLINE].n == 2 && got.metric[KEEL_METRIC_BORDERLINE].value == 0.5);
    assert_true(got.metric[KEEL_METRIC_OVER_REFUSAL].n == 6);
}

/* `alike` of each conversation's `size` answers are one and the same draw, the rest are each their own. */
static keel_rate draw_rate(keel_rng *rng, size_t conversations, size_t size, size_t alike, double p) {
    keel_metric_sums sums = {0};
    talk none;
    make_talk(&none, KEEL_UNKNOWN, 1, KEEL_OUTCOME_NONE);
    for (size_t c = 0; c < conversations; ++c) {
        bool shared = keel_rng_uniform(rng) < p;
        for (size_t i = 0; i < size; ++i)
            keel_metric_sums_agreement(&sums, i < alike ? shared : keel_rng_uniform(rng) < p);
        keel_metric_sums_conversation(&sums, &none.conversation, false, 0, size);
    }
    return sums.rate[KEEL_METRIC_AGREEMENT];
}

static void answers_that_are_alike_count_as_one(void **state) {
    (void)state;
    keel_rng rng = keel_rng_named(1, "alike", 0);
    keel_rate rate = draw_rate(&rng, 50, 4, 4, .5);
    keel_interval got = keel_rate_interval(&rate), of_one = keel_wilson(got.value * 50, 50);
    assert_true(got.n == 200 && fabs(got.low - of_one.low) < .01 && fabs(got.high - of_one.high) < .01);
    rate = draw_rate(&rng, 30, 4, 4, 1); /* nothing tells whether they are alike */
    got = keel_rate_interval(&rate);
    assert_true(got.n == 120 && got.low == keel_wilson(30, 30).low && got.high == 1);
    rate = draw_rate(&rng, 60, 1, 1, .3); /* one answer each: Wilson's own */
    got = keel_rate_interval(&rate);
    of_one = keel_wilson(got.value * 60, 60);
    assert_true(got.low == of_one.low && got.high == of_one.high && got.n == 60);
}

/* 100 conversations of two answers, with misses in ever more of them, one or both of their answers. */
static void every_miss_makes_less_sure(void **state) {
    (void)state;
    for (size_t missed = 1; missed <= 2; ++missed) {
        double before = 1;
        for (size_t misses = 0; misses <= 100; ++misses) {
            keel_metric_sums sums = {0};
            talk none;
            make_talk(&none, KEEL_UNKNOWN, 2, KEEL_OUTCOME_NONE);
            for (size_t c = 0; c < 100; ++c) {
                for (size_t i = 0; i < 2; ++i) keel_metric_sums_agreement(&sums, c >= misses || i >= missed);
                keel_metric_sums_conversation(&sums, &none.conversation, false, 0, 2);
            }
            const keel_interval got = keel_rate_interval(&sums.rate[KEEL_METRIC_AGREEMENT]);
            if (!(got.low < before))
                fail_msg("%zu conversations with %zu misses: low %g after %g", misses, missed, got.low,
                         before);
            before = got.low;
        }
    }
}

/* Of 95 % intervals 95 % hold the truth, whether or not the answers of a conversation hang together. Taken
 * for independent, those of 2, 3 and 4 alike hold it in 87, 75 and 61 %. */
static void intervals_hold_as_often_as_they_say_when_answers_hang_together(void **state) {
    (void)state;
    for (size_t alike = 1; alike <= 4; ++alike) {
        size_t held = 0;
        for (uint64_t trial = 0; trial < 1000; ++trial) {
            keel_rng rng = keel_rng_named(alike, "trial", trial);
            keel_rate rate = draw_rate(&rng, 100, 4, alike, .8);
            keel_interval got = keel_rate_interval(&rate);
            held += got.low <= .8 && .8 <= got.high;
        }
        if (held < 930 || held > 970) fail_msg("%zu alike: %zu of 1000", alike, held);
    }
}

static void equal_scores_count_half_a_preference(void **state) {
    (void)state;
    keel_metric_sums sums = {0};
    const double composite[3] = {1, 0, 0}, score[3] = {2, 2, 1};
    keel_metric_sums_preferences(&sums, composite, score,
                                 3); /* a tie and a hit; the equal pair counts nothing */
    keel_evaluation got = close_sums(&sums);
    assert_true(got.metric[KEEL_METRIC_PREFERENCE].n == 2 &&
                got.metric[KEEL_METRIC_PREFERENCE].value == 0.75);
}

/* Without any answer at the end, what comes before it says nothing of a conversation's total. */
static void a_total_takes_the_end_and_what_comes_before_it(void **state) {
    (void)state;
    keel_metric_sums half = {0}, whole = {0};
    talk at;
    make_talk(&at, KEEL_UNKNOWN, 3, KEEL_OUTCOME_NONE);
    for (size_t d = 0; d < 2; ++d) answer(&half, &at, d, 0, KEEL_OUTCOME_NONE, some(0.25), 0);
    assert_true(close_sums(&half).metric[KEEL_METRIC_ACCURACY].n == 0);
    for (size_t d = 0; d < 3; ++d) answer(&whole, &at, d, 0, KEEL_OUTCOME_NONE, some(d == 2 ? 1 : 0.25), 0);
    keel_evaluation got = close_sums(&whole);
    assert_true(fabs(got.metric[KEEL_METRIC_ACCURACY].value - 1.5) < 1e-6);
    assert_true(got.metric[KEEL_METRIC_ACCURACY].n == 1);
}

static void a_silent_decision_adds_nothing_to_the_total(void **state) {
    (void)state;
    keel_metric_sums sums = {0};
    talk at;
    make_talk(&at, KEEL_UNKNOWN, 2, KEEL_OUTCOME_NONE);
    answer(&sums, &at, 0, 0, KEEL_OUTCOME_NONE, absent, 2u << KEEL_ACCURACY);
    answer(&sums, &at, 1, 0, KEEL_OUTCOME_NONE, some(0.5), 0);
    keel_evaluation got = close_sums(&sums);
    assert_true(fabs(got.metric[KEEL_METRIC_ACCURACY].value - 0.5) < 1e-6);
    assert_true(got.metric[KEEL_METRIC_ACCURACY].n == 1 && got.reward_coverage[KEEL_ACCURACY] == 0.5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refusing_counts_only_where_the_log_was_judged),
        cmocka_unit_test(answers_on_the_way_complete_no_task),
        cmocka_unit_test(completion_weighs_a_conversation_by_agreement),
        cmocka_unit_test(one_refusal_over_refuses_a_borderline_conversation),
        cmocka_unit_test(answers_that_are_alike_count_as_one),
        cmocka_unit_test(every_miss_makes_less_sure),
        cmocka_unit_test(intervals_hold_as_often_as_they_say_when_answers_hang_together),
        cmocka_unit_test(equal_scores_count_half_a_preference),
        cmocka_unit_test(a_total_takes_the_end_and_what_comes_before_it),
        cmocka_unit_test(a_silent_decision_adds_nothing_to_the_total),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
