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

static void answer(keel_metric_sums *sums, const talk *at, size_t decision, keel_outcome outcome) {
    const keel_answer made = {.outcome = outcome};
    const keel_reward_config rewards = {.target_ms = 1};
    const keel_reward_view log = keel_reward_look(&rewards, &at->conversation);
    assert_int_equal(keel_metric_sums_answer(sums, &log, decision, 0, &made, NULL), KEEL_OK);
}

static void end(keel_metric_sums *sums, size_t number, const talk *at, bool borderline, size_t agreed,
                size_t answered) {
    assert_int_equal(
        keel_metric_sums_conversation(sums, number, &at->conversation, borderline, agreed, answered, NULL),
        KEEL_OK);
}

static keel_evaluation close_sums(keel_metric_sums *sums) {
    keel_evaluation out;
    const keel_metric_sums *one = sums;
    const char *name = "actor";
    assert_int_equal(keel_metric_sums_close(&one, &name, 1, &config, NULL, &out, NULL, NULL), KEEL_OK);
    keel_metric_sums_free(sums);
    return out;
}

static void refusing_counts_only_where_the_log_was_judged(void **state) {
    (void)state;
    keel_metric_sums sums = {0};
    talk judged, unjudged;
    make_talk(&judged, KEEL_UNKNOWN, 1, KEEL_OUTCOME_COMPLIANCE);
    make_talk(&unjudged, KEEL_UNKNOWN, 1, KEEL_OUTCOME_NONE);
    answer(&sums, &judged, 0, KEEL_OUTCOME_REFUSAL);
    answer(&sums, &unjudged, 0, KEEL_OUTCOME_REFUSAL);
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
    answer(&sums, &task, 0, KEEL_OUTCOME_COMPLIANCE);
    for (size_t d = 0; d < 2; ++d) answer(&sums, &two, d, KEEL_OUTCOME_COMPLIANCE);
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
    end(&sums, 0, &done, false, 1, 4);
    end(&sums, 1, &failed, false, 3, 4);
    end(&sums, 2, &done, false, 0, 4);
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
        for (size_t d = 0; d < 2; ++d) answer(&sums, &two, d, answers[i][d]);
        end(&sums, i, &two, i != 3, 0, 2); /* the last is an everyday one */
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
        end(&sums, c, &none, false, 0, size);
    }
    const keel_rate rate = sums.rate[KEEL_METRIC_AGREEMENT];
    keel_metric_sums_free(&sums);
    return rate;
}

static void answers_that_are_alike_count_as_one(void **state) {
    (void)state;
    keel_rng rng = keel_rng_named(1, "alike", 0);
    keel_rate rate = draw_rate(&rng, 50, 4, 4, .5);
    keel_interval got = keel_rate_interval(&rate, .95), of_one = keel_wilson(got.value * 50, 50);
    assert_true(got.n == 200 && fabs(got.low - of_one.low) < .01 && fabs(got.high - of_one.high) < .01);
    rate = draw_rate(&rng, 30, 4, 4, 1); /* nothing tells whether they are alike */
    got = keel_rate_interval(&rate, .95);
    assert_true(got.n == 120 && got.low == keel_wilson(30, 30).low && got.high == 1);
    rate = draw_rate(&rng, 60, 1, 1, .3); /* one answer each: Wilson's own */
    got = keel_rate_interval(&rate, .95);
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
                end(&sums, c, &none, false, 0, 2);
            }
            const keel_interval got = keel_rate_interval(&sums.rate[KEEL_METRIC_AGREEMENT], .95);
            if (!(got.low < before))
                fail_msg("%zu conversations with %zu misses: low %g after %g", misses, missed, got.low,
                         before);
            before = got.low;
            keel_metric_sums_free(&sums);
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
            keel_interval got = keel_rate_interval(&rate, .95);
            held += got.low <= .8 && .8 <= got.high;
        }
        if (held < 930 || held > 970) fail_msg("%zu alike: %zu of 1000", alike, held);
    }
}

/* 1 and 3 seconds: the mean 2 with standard error 1, and 12.706 the quantile of Student's t with one degree
 * of freedom; no answer takes less than nothing. */
static void seconds_are_averaged_between_conversations(void **state) {
    (void)state;
    keel_metric_sums sums = {0};
    talk one;
    make_talk(&one, KEEL_UNKNOWN, 1, KEEL_OUTCOME_NONE);
    const keel_reward_view view = {.conversation = &one.conversation};
    for (size_t c = 0; c < 3; ++c) {
        const keel_answer answer = {.latency_ms = {c < 2, c ? 3000 : 1000}}; /* the third says nothing */
        assert_int_equal(keel_metric_sums_answer(&sums, &view, 0, c, &answer, NULL), KEEL_OK);
        end(&sums, c, &one, false, 0, 1);
    }
    const keel_interval got = close_sums(&sums).metric[KEEL_METRIC_LATENCY];
    assert_true(got.n == 2 && got.value == 2 && got.low == 0 && fabs(got.high - 14.7062) < 1e-3);
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

/* ---- differences ---- */

/* Two actors with one answer in each of n conversations: the first alone agrees in a share `only_a` of them,
 * the second alone in `only_b`, both in `both`. */
typedef struct pairing {
    double only_a, only_b, both;
} pairing;

static keel_interval draw_difference(keel_rng *rng, const pairing *truth, size_t n, size_t size) {
    keel_metric_sums sums[2] = {0};
    const keel_metric_sums *const both[] = {&sums[0], &sums[1]};
    static const char *const names[] = {"a", "b"};
    keel_evaluation out[2];
    keel_interval difference[1][KEEL_N_METRICS];
    keel_evaluate_config quick = config;
    talk none;
    make_talk(&none, KEEL_UNKNOWN, 1, KEEL_OUTCOME_NONE);
    quick.resamples = 250;
    for (size_t c = 0; c < n; ++c) {
        const double u = keel_rng_uniform(rng);
        const bool a_alone = u < truth->only_a, b_alone = !a_alone && u < truth->only_a + truth->only_b,
                   shared = !a_alone && !b_alone && u < truth->only_a + truth->only_b + truth->both;
        for (size_t i = 0; i < size; ++i) {
            keel_metric_sums_agreement(&sums[0], a_alone || shared);
            keel_metric_sums_agreement(&sums[1], b_alone || shared);
        }
        for (int i = 0; i < 2; ++i) end(&sums[i], c, &none, false, 0, size);
    }
    assert_int_equal(keel_metric_sums_close(both, names, 2, &quick, NULL, out, difference, NULL), KEEL_OK);
    for (int i = 0; i < 2; ++i) keel_metric_sums_free(&sums[i]);
    return difference[0][KEEL_METRIC_AGREEMENT];
}

/* Near 0 and 1 the plain bootstrap of a difference is often a point, and then holds the truth never. */
static void differences_hold_as_often_as_they_say(void **state) {
    (void)state;
    static const pairing truths[] = {{.01, 0, .98}, {0, .03, .01}, {.1, 0, .9}, {.9, .05, 0}, {.02, .02, 0}};
    static const size_t sizes[] = {20, 50, 300};
    const size_t trials = 500;
    for (size_t t = 0; t < sizeof truths / sizeof *truths; ++t)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
            const double truth = truths[t].only_a - truths[t].only_b;
            size_t held = 0;
            for (size_t trial = 0; trial < trials; ++trial) {
                keel_rng rng = keel_rng_named(t * 8 + i, "trial", trial);
                const keel_interval got = draw_difference(&rng, &truths[t], sizes[i], 1);
                held += got.low <= truth && truth <= got.high;
            }
            if (held < trials * 93 / 100)
                fail_msg("difference %g over %zu: %zu of %zu", truth, sizes[i], held, trials);
        }
}

/* Two actors who answer alike in every conversation: no difference was seen, and the interval says how large
 * one may be. Answers of one conversation are no further evidence. */
static void a_difference_that_nothing_showed_keeps_an_interval(void **state) {
    (void)state;
    static const pairing same = {0, 0, .5};
    for (size_t size = 1; size <= 4; size += 3) {
        keel_rng rng = keel_rng_named(1, "same", 0);
        const keel_interval got = draw_difference(&rng, &same, 59, size);
        const double unseen = 1 - pow(.025, 1 / 59.0);
        assert_true(got.value == 0 && got.n == 59 * (double)size);
        assert_true(fabs(got.low + unseen) < 1e-12 && fabs(got.high - unseen) < 1e-12);
    }
}

/* What both have in common cancels: the difference is surer than either rate. */
static void a_difference_is_paired(void **state) {
    (void)state;
    keel_rng rng = keel_rng_named(2, "paired", 0);
    const pairing truth = {.02, 0, .5};
    const keel_interval got = draw_difference(&rng, &truth, 400, 1), one = keel_wilson(200, 400);
    assert_true(got.high - got.low < .6 * (one.high - one.low));
}

static void a_difference_to_an_unknown_metric_is_unknown(void **state) {
    (void)state;
    keel_metric_sums known = {0}, unknown = {0};
    const keel_metric_sums *const sums[] = {&known, &unknown, &known};
    static const char *const names[] = {"a", "b", "c"};
    keel_evaluation out[3];
    keel_interval difference[2][KEEL_N_METRICS];
    talk at;
    make_talk(&at, KEEL_UNKNOWN, 1, KEEL_OUTCOME_REFUSAL);
    for (size_t c = 0; c < 5; ++c) {
        answer(&known, &at, 0, KEEL_OUTCOME_REFUSAL);
        end(&known, c, &at, false, 0, 1);
    }
    assert_int_equal(keel_metric_sums_close(sums, names, 3, &config, NULL, out, difference, NULL), KEEL_OK);
    for (int m = 0; m < KEEL_N_METRICS; ++m)
        assert_true(difference[0][m].n == 0 && difference[0][m].value == 0 && difference[0][m].high == 0);
    assert_true(difference[1][KEEL_METRIC_OVER_REFUSAL].n == 5);
    keel_metric_sums_free(&known);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(differences_hold_as_often_as_they_say),
        cmocka_unit_test(a_difference_that_nothing_showed_keeps_an_interval),
        cmocka_unit_test(a_difference_is_paired),
        cmocka_unit_test(a_difference_to_an_unknown_metric_is_unknown),
        cmocka_unit_test(refusing_counts_only_where_the_log_was_judged),
        cmocka_unit_test(answers_on_the_way_complete_no_task),
        cmocka_unit_test(completion_weighs_a_conversation_by_agreement),
        cmocka_unit_test(one_refusal_over_refuses_a_borderline_conversation),
        cmocka_unit_test(answers_that_are_alike_count_as_one),
        cmocka_unit_test(every_miss_makes_less_sure),
        cmocka_unit_test(intervals_hold_as_often_as_they_say_when_answers_hang_together),
        cmocka_unit_test(seconds_are_averaged_between_conversations),
        cmocka_unit_test(equal_scores_count_half_a_preference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
