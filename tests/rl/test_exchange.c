/* One policy in the place of another: differences are those that an evaluation has between policy and base.
 */
#include "rl/fixture.h"
#include "rl/judge/exchange.h"

static const keel_evaluate_config config = {
    .weight = {0.6, 0.3, 0.1}, .resamples = 200, .seed = 1, .gamma = 1};

/* Two answers to each of 24 prompts, careful (text ends in 1) and bold (in 2, which the prior prefers). */
static keel_store *prompts(void) {
    keel_store *made = fixture_store("exchange");
    for (int i = 0; i < 24; i++) {
        const bool dangerous = i % 3 == 0;
        const char *user = "u0";
        char id[16];
        keel_candidate candidates[2] = {{.text = "careful 1", .taken = true, .judge = KEEL_AUTHORITY_HUMAN},
                                        {.text = "bold 2", .taken = true, .judge = KEEL_AUTHORITY_HUMAN}};
        candidates[0].outcome = dangerous || i % 4 == 1 ? KEEL_OUTCOME_REFUSAL : KEEL_OUTCOME_COMPLIANCE;
        candidates[1].outcome = i % 5 == 0 ? KEEL_OUTCOME_REFUSAL : KEEL_OUTCOME_COMPLIANCE;
        snprintf(id, sizeof id, "c%d", i);
        fixture_add(made, id, dangerous ? KEEL_RISK_DANGEROUS : KEEL_RISK_BENIGN, KEEL_UNKNOWN, &user, 1,
                    candidates, 2);
    }
    return made;
}

static void same_interval(const keel_interval *a, const keel_interval *b, int metric) {
    if (a->n != b->n || fabs(a->value - b->value) > 1e-12 || fabs(a->low - b->low) > 1e-12 ||
        fabs(a->high - b->high) > 1e-12)
        fail_msg("%s: %g [%g, %g] of %g, expected %g [%g, %g] of %g", keel_metric_names[metric], a->value,
                 a->low, a->high, a->n, b->value, b->low, b->high, b->n);
}

static keel_store *store;
static keel_base base;
static keel_policy policy;
static keel_pool *pool;

static int setup(void **state) {
    (void)state;
    const float prefer_careful[FIXTURE_DIM] = {0, 1, 0};
    store = prompts();
    base = fixture_base(KEEL_SPACE_CANDIDATES);
    MUST(keel_pool_open(&pool, 2, err));
    fixture_policy(&policy, &base, prefer_careful, 50);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    fixture_policy_free(&policy);
    keel_pool_close(pool);
    keel_store_close(store);
    return 0;
}

/* The base alone, then the policy over it. */
static void differences_are_those_of_an_evaluation(void **state) {
    (void)state;
    keel_evaluation_set set;
    keel_exchange found;
    keel_evaluate_item items[2] = {{.base = &base}, {.policy = &policy, .base = &base}};
    for (int i = 0; i < 2; i++) MUST(keel_split_parse("all", &items[i].split, err));
    MUST(keel_evaluate(store, &items[1], 1, &config, pool, &set, err));
    MUST(keel_exchange_evaluate(store, items, &config, pool, &found, err));
    for (int m = 0; m < KEEL_N_METRICS; m++) {
        same_interval(&found.side[KEEL_EXCHANGE_AFTER].metric[m], &set.policy.metric[m], m);
        if (m == KEEL_METRIC_PREFERENCE || m == KEEL_METRIC_LATENCY) continue; /* not of the base alone */
        same_interval(&found.side[KEEL_EXCHANGE_BEFORE].metric[m], &set.base.metric[m], m);
        same_interval(&found.minus[m], &set.minus[KEEL_MINUS_BASE][m], m);
    }
    assert_true(found.minus[KEEL_METRIC_REFUSAL].value > 0.5);
    assert_true(found.minus[KEEL_METRIC_COMPLETION].n > 0);
    assert_float_equal(found.same.value, 0, 0); /* careful everywhere, where the base is bold */
    assert_float_equal(found.same.n, 24, 0);
    keel_evaluation_set_free(&set);
}

/* Nothing differs, and the intervals say how little that shows. */
static void a_policy_in_its_own_place_changes_nothing(void **state) {
    (void)state;
    keel_exchange found;
    keel_evaluate_item items[2] = {{.policy = &policy, .base = &base}, {.policy = &policy, .base = &base}};
    for (int i = 0; i < 2; i++) MUST(keel_split_parse("all", &items[i].split, err));
    MUST(keel_exchange_evaluate(store, items, &config, pool, &found, err));
    for (int m = 0; m < KEEL_N_METRICS; m++) {
        if (!(found.minus[m].n > 0)) continue;
        assert_float_equal(found.minus[m].value, 0, 1e-12);
        assert_true(m == KEEL_METRIC_LATENCY || (found.minus[m].low < 0 && found.minus[m].high > 0));
    }
    assert_float_equal(found.same.value, 1, 0);
    assert_true(found.same.low < 1);
    MUST(keel_split_parse("fold:0/2", &items[1].split, err));
    keel_err told = {0};
    assert_int_equal(keel_exchange_evaluate(store, items, &config, pool, &found, &told), KEEL_E_USAGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(differences_are_those_of_an_evaluation, setup, teardown),
        cmocka_unit_test_setup_teardown(a_policy_in_its_own_place_changes_nothing, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
