/* What is estimated over all decisions: golden numbers, and how often intervals hold the truth. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define GOLDEN_FILE "estimates.json"
#include "golden.h"

#include "core/pcg.h"
#include "rl/judge/overall_internal.h"

static double number(const char *group, const char *key, int i) {
    const cJSON *at = keel_json_get(keel_json_get(golden, group), key);
    return cJSON_GetNumberValue(i < 0 ? at : cJSON_GetArrayItem(at, i));
}

static void add(keel_overall_sums *sums, size_t row, keel_overall_measure m,
                const keel_overall_value *value) {
    assert_int_equal(keel_overall_sums_add(sums, row, m, value, NULL), KEEL_OK);
}

/* Known, of one conversation alone, between 0 and 1. */
static keel_overall_value known(double value) {
    return (keel_overall_value){.low = value,
                                .high = value,
                                .least = value,
                                .most = value,
                                .count = 1,
                                .ceiling = 1,
                                .worst = value,
                                .best = value,
                                .end = {0, 1},
                                .part = 1,
                                .largest = 1,
                                .weight = 1};
}

static void one_step_is_doubly_robust(void **state) {
    (void)state;
    keel_overall_sums sums = {0};
    for (int i = 0; i < 5; ++i) {
        const bool agrees = number("doubly_robust", "agree", i) > 0;
        keel_overall_value one = known(number("doubly_robust", "reward", i));
        one.low = one.high = keel__overall_doubly_robust(
            number("doubly_robust", "q_policy", i), agrees, 1 / number("doubly_robust", "behaviour", i),
            number("doubly_robust", "reward", i), number("doubly_robust", "q_logged", i));
        if (!agrees) one.least = one.worst = 0, one.most = one.best = 1, one.source = KEEL_OVERALL_ESTIMATED;
        one.stratum = KEEL_OVERALL_SHARED;
        one.weight = agrees ? 1 / number("doubly_robust", "behaviour", i) : 0;
        add(&sums, (size_t)i, KEEL_OVERALL_ACCURACY, &one);
    }
    const keel_overall_result got = keel_overall_sums_result(&sums, KEEL_OVERALL_ACCURACY, .95);
    const keel_overall_tally *all = &sums.tally[KEEL_OVERALL_ACCURACY][KEEL_OVERALL_SHARED];
    assert_true(fabs(got.interval.value - number("doubly_robust", "value", -1)) < 1e-12);
    assert_true(fabs(all->least / all->count - number("doubly_robust", "bounds_0_1", 0)) < 1e-12);
    assert_true(fabs(all->most / all->count - number("doubly_robust", "bounds_0_1", 1)) < 1e-12);
    assert_true(fabs(got.share[KEEL_OVERALL_KNOWN] - .6) < 1e-12 && !got.clipped && got.interval.n == 5);
    keel_overall_sums_free(&sums);
}

static void a_ratio_of_returns_has_the_error_of_the_delta_method(void **state) {
    (void)state;
    keel_overall_sums sums = {0};
    double error;
    for (int i = 0; i < 5; ++i) {
        const double weight = number("ratio", "weights", i);
        keel_overall_value one = known(weight * number("ratio", "refused", i));
        one.count = weight * number("ratio", "dangerous", i);
        add(&sums, (size_t)i, KEEL_OVERALL_REFUSAL, &one);
    }
    const double rate = keel_overall_sums_ratio(&sums, KEEL_OVERALL_REFUSAL, 0, &error);
    assert_true(fabs(rate - number("ratio", "rate", -1)) < 1e-12);
    assert_true(fabs(error - number("ratio", "standard_error", -1)) < 1e-12);
    keel_overall_sums_free(&sums);
}

static void an_estimate_outside_what_is_possible_is_clipped_and_flagged(void **state) {
    (void)state;
    keel_overall_sums sums = {0};
    for (size_t i = 0; i < 10; ++i) {
        keel_overall_value one = known(1);
        if (i == 0) one.low = one.high = 12, one.weight = 12;
        if (i > 4) {
            one.low = one.high = .9, one.source = KEEL_OVERALL_ESTIMATED;
            one.least = one.worst = one.weight = 0;
        }
        one.stratum = KEEL_OVERALL_SHARED;
        add(&sums, i, KEEL_OVERALL_ACCURACY, &one);
    }
    const keel_overall_result got = keel_overall_sums_result(&sums, KEEL_OVERALL_ACCURACY, .95);
    assert_true(got.clipped && got.interval.value == 1 && got.interval.high == 1 && got.interval.low < .6);
    keel_overall_sums_free(&sums);
}

static void what_is_unknown_lies_between_its_bounds(void **state) {
    (void)state;
    keel_overall_sums sums = {0};
    for (size_t i = 0; i < 100; ++i) {
        keel_overall_value one = known(1);
        if (i < 30) one.low = one.least = one.worst = 0, one.source = KEEL_OVERALL_UNKNOWN, one.weight = 0;
        add(&sums, i, KEEL_OVERALL_ACCURACY, &one);
    }
    const keel_overall_result got = keel_overall_sums_result(&sums, KEEL_OVERALL_ACCURACY, .95);
    assert_true(fabs(got.interval.value - .85) < 1e-12 && fabs(got.share[KEEL_OVERALL_UNKNOWN] - .3) < 1e-12);
    assert_true(got.interval.low < .7 && got.interval.low > .55 && got.interval.high == 1);
    const double wider = keel_overall_sums_result(&sums, KEEL_OVERALL_ACCURACY, .99).interval.low;
    assert_true(wider < got.interval.low);
    keel_overall_sums_free(&sums);
}

/* ---- the model ---- */

/* Two decisions; act 1 earns 1 at the first and 2 at the second, act 0 nothing; the log takes either, policy
 * 0 always act 1, policy 1 always act 0. */
static void ridge_finds_the_returns_of_the_policy_not_of_the_log(void **state) {
    (void)state;
    const keel_ridge_shape shape = {.n_acts = 2, .state_dim = 2};
    const float at[2][2] = {{1, 0}, {0, 1}};
    keel_ridge_fqe *fit = NULL;
    keel_rng rng = keel_rng_named(1, "ridge", 0);
    assert_int_equal(keel_ridge_fqe_open(&fit, &shape, NULL), KEEL_OK);
    for (uint64_t i = 0; i < 600; ++i)
        for (int t = 0; t < 2; ++t) {
            keel_ridge_step step = {.state = at[t], .action = keel_rng_uniform(&rng) < .5, .choice = {1, 0}};
            step.reward[0] = step.action * (t + 1);
            step.reward[1] = i % 2 ? (double)NAN : 1; /* unknown: as the mean */
            assert_int_equal(keel_ridge_fqe_add(fit, i, &step, t == 0, NULL), KEEL_OK);
        }
    assert_int_equal(keel_ridge_fqe_fit(fit, NULL), KEEL_OK);
    for (size_t i = 0; i < 20; ++i)
        for (size_t p = 0; p < 2; ++p) {
            double q[KEEL_RIDGE_HEADS], v[KEEL_RIDGE_HEADS];
            assert_int_equal(keel_ridge_fqe_value(fit, i, p, q, v, NULL), KEEL_OK);
            const double expected = p ? 0 : i % 2 ? 2 : 3;
            if (fabs(v[0] - expected) > .05) fail_msg("step %zu, policy %zu: %g", i, p, v[0]);
            if (fabs(v[1] - (i % 2 ? 1 : 2)) > .05) fail_msg("step %zu: %g steps to go", i, v[1]);
        }
    keel_ridge_fqe_close(fit);
}

/* ---- coverage ---- */

/* One decision each. In `shared` of the states the log did what the policy would with probability b, in the
 * others both answers are known by the rule. */
typedef struct world {
    double right, b, shared;
} world;

static keel_overall_value draw(keel_rng *rng, const world *w) {
    const bool estimated = keel_rng_uniform(rng) < w->shared, agrees = keel_rng_uniform(rng) < w->b;
    const double reward = keel_rng_uniform(rng) < w->right, q = .6;
    keel_overall_value one = known(reward);
    if (!estimated) return one;
    one.low = one.high = keel__overall_doubly_robust(q, agrees, 1 / w->b, reward, q);
    one.stratum = KEEL_OVERALL_SHARED;
    one.worst = 0, one.best = 1;
    one.weight = agrees ? 1 / w->b : 0;
    if (!agrees) one.least = 0, one.most = 1, one.source = KEEL_OVERALL_ESTIMATED;
    return one;
}

static void intervals_hold_as_often_as_they_say(void **state) {
    (void)state;
    static const world worlds[] = {{.9, 1, 0}, {.97, 1, 0}, {.5, 1, 0}, {.8, .5, .5}, {.7, .3, 1}};
    for (size_t i = 0; i < sizeof worlds / sizeof *worlds; ++i) {
        size_t held = 0;
        for (uint64_t trial = 0; trial < 1000; ++trial) {
            keel_rng rng = keel_rng_named(i, "trial", trial);
            keel_overall_sums sums = {0};
            for (size_t n = 0; n < 200; ++n) {
                const keel_overall_value one = draw(&rng, &worlds[i]);
                add(&sums, n, KEEL_OVERALL_ACCURACY, &one);
            }
            const keel_interval got = keel_overall_sums_result(&sums, KEEL_OVERALL_ACCURACY, .95).interval;
            held += got.low <= worlds[i].right && worlds[i].right <= got.high;
            keel_overall_sums_free(&sums);
        }
        if (held < 930 || held > 970) fail_msg("world %zu: %zu of 1000", i, held);
    }
}

/* Harm that one conversation in a hundred does: few logs show enough of it to tell its variance. */
static void rare_harm_is_not_missed(void **state) {
    (void)state;
    size_t held = 0;
    for (uint64_t trial = 0; trial < 500; ++trial) {
        keel_rng rng = keel_rng_named(1, "harm", trial);
        keel_overall_sums sums = {0};
        for (size_t n = 0; n < 200; ++n) {
            keel_overall_value one = known(keel_rng_uniform(&rng) < .01 ? -1 : 0);
            one.end[0] = one.floor = -1, one.end[1] = one.ceiling = 0;
            add(&sums, n, KEEL_OVERALL_ACCURACY, &one);
        }
        const keel_interval got = keel_overall_sums_result(&sums, KEEL_OVERALL_ACCURACY, .95).interval;
        held += got.low <= -.01 && -.01 <= got.high;
        keel_overall_sums_free(&sums);
    }
    if (held < 465) fail_msg("%zu of 500", held);
}

/* Two who earn the same but in one conversation in 25, where people praise the one and blame the other: 1 and
 * -1, which is twice as far as rules go. Most logs of 60 show at most a few of these, and one in twelve none.
 */
static void rare_differences_are_as_large_as_rewards_allow(void **state) {
    (void)state;
    enum { LOGS = 1000, EACH = 60 };
    const keel_overall_measure measures[] = {KEEL_OVERALL_ACCURACY, KEEL_OVERALL_COMPOSITE};
    overall_facts facts = {.answered = 1};
    facts.applies[KEEL_ACCURACY] = true;
    facts.share[KEEL_ACCURACY] = 1;
    facts.low[KEEL_ACCURACY] = facts.end[KEEL_ACCURACY][0] = -1;
    facts.high[KEEL_ACCURACY] = facts.end[KEEL_ACCURACY][1] = 1;
    int held[2] = {0};
    for (uint64_t trial = 0; trial < LOGS; ++trial) {
        keel_rng rng = keel_rng_named(1, "blame", trial);
        keel_overall_sums sums[2] = {{0}, {0}};
        for (size_t n = 0; n < EACH; ++n) {
            const double earned[2] = {1, keel_rng_uniform(&rng) < .04 ? -1 : 1};
            for (int who = 0; who < 2; ++who) {
                overall_part parts[KEEL_N_REWARDS] = {0};
                parts[KEEL_ACCURACY] = keel__overall_sure(&facts, earned[who]);
                assert_int_equal(
                    keel__overall_put(&sums[who], n, &facts, parts, earned[who], earned[who], 1, NULL),
                    KEEL_OK);
            }
        }
        for (int i = 0; i < 2; ++i) {
            const keel_interval got = keel_overall_sums_difference(&sums[0], &sums[1], measures[i], .95);
            held[i] += got.low <= .08 && .08 <= got.high;
        }
        for (int who = 0; who < 2; ++who) keel_overall_sums_free(&sums[who]);
    }
    for (int i = 0; i < 2; ++i)
        if (held[i] < LOGS * 93 / 100) fail_msg("measure %d: %d of %d", measures[i], held[i], LOGS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_step_is_doubly_robust),
        cmocka_unit_test(a_ratio_of_returns_has_the_error_of_the_delta_method),
        cmocka_unit_test(an_estimate_outside_what_is_possible_is_clipped_and_flagged),
        cmocka_unit_test(what_is_unknown_lies_between_its_bounds),
        cmocka_unit_test(ridge_finds_the_returns_of_the_policy_not_of_the_log),
        cmocka_unit_test(intervals_hold_as_often_as_they_say),
        cmocka_unit_test(rare_harm_is_not_missed),
        cmocka_unit_test(rare_differences_are_as_large_as_rewards_allow),
    };
    return cmocka_run_group_tests(tests, golden_load, golden_drop);
}
