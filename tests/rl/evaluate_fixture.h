/* What the tests of an evaluation have: an empty store, a base, and what they expect of rates and means. */
#ifndef KEEL_TESTS_RL_EVALUATE_FIXTURE_H
#define KEEL_TESTS_RL_EVALUATE_FIXTURE_H

#include "rl/fixture.h"
#include "rl/judge/evaluate.h"

static const keel_evaluate_config config = {
    .weight = {0.6, 0.3, 0.1}, .resamples = 200, .seed = 1, .gamma = 1};

/* What each test has: an empty store, a base, and what is freed after it where it was made. */
static struct {
    keel_store *store;
    keel_base base;
    keel_policy policy;
    keel_evaluation_set got;
} t;

static inline int begin(const char *name, keel_action_space space) {
    memset(&t, 0, sizeof t);
    t.store = fixture_store(name);
    t.base = fixture_base(space);
    return 0;
}

static inline int end(void **state) {
    (void)state;
    keel_evaluation_set_free(&t.got);
    fixture_policy_free(&t.policy);
    keel_store_close(t.store);
    return 0;
}

static inline void prefer(const float *bias, double beta) {
    fixture_policy(&t.policy, &t.base, bias, beta);
}

static inline keel_evaluation_set evaluate_with(const keel_evaluate_config *with, const keel_policy *policy,
                                                size_t threads) {
    keel_evaluation_set out;
    keel_pool *pool = NULL;
    keel_evaluate_item item = {.policy = policy, .base = &t.base};
    MUST(keel_split_parse("all", &item.split, err));
    MUST(keel_pool_open(&pool, threads, err));
    MUST(keel_evaluate(t.store, &item, 1, with, pool, &out, err));
    keel_pool_close(pool);
    return out;
}

static inline keel_evaluation_set evaluate(const keel_policy *policy, size_t threads) {
    return evaluate_with(&config, policy, threads);
}

/* The interval is that of n answers, or wider where those of one conversation hang together
 * (test_metric_sums.c). */
static inline void check_rate(const keel_evaluation *of, keel_metric metric, double successes, double n) {
    const keel_interval *got = &of->metric[metric];
    keel_interval expected = keel_wilson(successes, n);
    if (fabs(got->value - expected.value) > 1e-9 || got->low > expected.low + 1e-9 ||
        got->high < expected.high - 1e-9 || fabs(got->n - n) > 1e-9)
        fail_msg("%s %s: expected %g of %g, got %g of %g", of->name, keel_metric_names[metric], successes, n,
                 got->value * got->n, got->n);
}

static inline void check_mean(const keel_evaluation *of, keel_metric metric, double value, double n) {
    const keel_interval *got = &of->metric[metric];
    if (fabs(got->value - value) > 1e-6 || got->n != n || got->low > value + 1e-6 || got->high < value - 1e-6)
        fail_msg("%s %s: expected %g of %g, got %g [%g, %g] of %g", of->name, keel_metric_names[metric],
                 value, n, got->value, got->low, got->high, got->n);
}

static const keel_outcome C = KEEL_OUTCOME_COMPLIANCE, P = KEEL_OUTCOME_PARTIAL, R = KEEL_OUTCOME_REFUSAL;

#define TEST(test, begins) cmocka_unit_test_setup_teardown(test, begins, end)

#endif
