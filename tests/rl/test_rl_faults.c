/* Every allocation fails in turn: a clean error each time, nothing lost, nothing half done. */
#include "core/file.h"
#include "policies/encode_store.h"
#include "policies/policy_internal.h"
#include "rl/fixture.h"
#include "rl/judge/evaluate.h"
#include "rl/train/train.h"
#include "support/faults.h"

static keel_store *store;
static keel_base base;
static keel_policy policy;

static int open_all(void **state) {
    (void)state;
    const float bias[FIXTURE_DIM] = {0, 1, 2};
    base = fixture_base(KEEL_SPACE_CANDIDATES);
    store = fixture_store("rl-faults");
    for (int i = 0; i < 3; ++i) {
        char id[16];
        const char *user = "u1";
        keel_candidate candidates[2] = {{.text = "a 1",
                                         .model = "m1",
                                         .taken = true,
                                         .feedback = {true, 1},
                                         .outcome = KEEL_OUTCOME_REFUSAL,
                                         .judge = KEEL_AUTHORITY_HUMAN},
                                        {.text = "b 2",
                                         .model = "m2",
                                         .taken = true,
                                         .feedback = {true, 0},
                                         .outcome = KEEL_OUTCOME_COMPLIANCE,
                                         .judge = KEEL_AUTHORITY_HUMAN}};
        snprintf(id, sizeof id, "f%d", i);
        fixture_add(store, id, KEEL_RISK_DANGEROUS, KEEL_UNKNOWN, &user, 1, candidates, 2);
    }
    fixture_derive(store);
    keel_pool *pool = NULL;
    MUST(keel_pool_open(&pool, 1, err));
    MUST(keel_encode_store(store, NULL, &base, pool, NULL, err));
    keel_pool_close(pool);
    fixture_policy(&policy, &base, bias, 1);
    return 0;
}

static int close_all(void **state) {
    (void)state;
    fixture_policy_free(&policy);
    keel_store_close(store);
    return 0;
}

typedef keel_status attempt(keel_pool *pool, keel_err *err);

/* The number of allocations that a whole run takes; each was made to fail before. */
static size_t fail_each(attempt *try) {
    faults state;
    keel_pool *pool = NULL;
    MUST(keel_pool_open(&pool, 1, err));
    size_t at = 1;
    for (;; ++at) {
        keel_err err = {0};
        faults_begin(&state, at);
        keel_status status = try(pool, &err);
        faults_end();
        if (status == KEEL_OK) break;
        if (status != KEEL_E_NOMEM)
            fail_msg("allocation %zu: %d at %s: %s", at, (int)status, err.where, err.message);
        assert_true(at < 20000);
    }
    keel_pool_close(pool);
    return at;
}

static int model; /* keel_ope_model */

static keel_status try_evaluate(keel_pool *pool, keel_err *err) {
    const keel_evaluate_config config = {
        .weight = {0.6, 0.3, 0.1}, .resamples = 20, .seed = 1, .gamma = 1, .model = model, .fqe_steps = 1};
    keel_evaluate_item item = {.policy = &policy, .base = &base};
    keel_evaluation_set set;
    KEEL_TRY(keel_split_parse("all", &item.split, err));
    KEEL_TRY(keel_evaluate(store, &item, 1, &config, pool, &set, err));
    keel_evaluation_set_free(&set);
    return KEEL_OK;
}

static const char *algorithm;
static bool validates;

static keel_status try_train(keel_pool *pool, keel_err *err) {
    keel_learner_config config;
    KEEL_TRY(keel_learner_preset("keel", algorithm, &config, err));
    config.conditioned = strcmp(algorithm, "dqn") == 0;
    config.keep_top = config.conditioned ? 100 : 50; /* all have the same return */
    if (strcmp(algorithm, "cql") == 0) {
        config.vector_heads = false;
        config.quantiles = 4;
    }
    config.batch = 4;
    config.steps = 3;
    config.checkpoint_every = 2;
    config.hidden = (keel_int_list){1, {4}};
    keel_reward_config rewards;
    keel_validation validation = {.points = 1, .fit_steps = 1};
    keel_split all;
    KEEL_TRY(keel_options_defaults(keel_reward_options, &rewards, err));
    KEEL_TRY(keel_split_parse("all", &all, err));
    KEEL_TRY(keel_split_cut(&all, "0/2", &validation.part, &validation.rest, err));
    const keel_train_job job = {.store = store,
                                .validation = validates ? &validation : NULL,
                                .base = &base,
                                .rewards = &rewards,
                                .config = &config,
                                .out_dir = "scratch-rl-faults/policy",
                                .metrics_path = "scratch-rl-faults/metrics.jsonl",
                                .replace = true};
    return keel_train(&job, pool, err);
}

static void evaluation_survives_every_failing_allocation(void **state) {
    (void)state;
    for (model = KEEL_MODEL_CRITIC; model <= KEEL_MODEL_FQE; ++model)
        assert_true(fail_each(try_evaluate) > 20 * (size_t)(model + 1));
}

static void training_survives_every_failing_allocation_and_still_comes_to_its_end(void **state) {
    (void)state;
    static const char *const algorithms[] = {"cql", "cql-lagrange", "ilql", "awac", "dqn"};
    for (size_t i = 0; i < sizeof algorithms / sizeof *algorithms; ++i) {
        algorithm = algorithms[i];
        assert_true(fail_each(try_train) > 50);
        assert_true(keel_file_exists("scratch-rl-faults/policy/keel.json"));
        assert_false(keel_file_exists("scratch-rl-faults/.policy.checkpoint"));
    }
}

static void choosing_survives_every_failing_allocation(void **state) {
    (void)state;
    algorithm = "cql";
    validates = true;
    assert_true(fail_each(try_train) > 300);
    assert_false(keel_file_exists("scratch-rl-faults/.policy.checkpoint"));
    validates = false;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(evaluation_survives_every_failing_allocation),
        cmocka_unit_test(training_survives_every_failing_allocation_and_still_comes_to_its_end),
        cmocka_unit_test(choosing_survives_every_failing_allocation),
    };
    keel_store_use_allocator();
    return cmocka_run_group_tests(tests, open_all, close_all);
}
