/* Evaluation on logs small enough to be counted by hand: prompts with candidates. */
#include "core/json.h"
#include "policies/encode_store.h"
#include "rl/evaluate_fixture.h"
#include "rl/judge/evaluate_internal.h"
#include "rl/judge/overall_sums.h"

static int over_sets(void **state) {
    (void)state;
    return begin("evaluate", KEEL_SPACE_CANDIDATES);
}

static int over_outcomes(void **state) {
    (void)state;
    return begin("evaluate", KEEL_SPACE_OUTCOMES);
}

/* ---- one decision each, answered by two models ---- */

/* Model "careful" answers first (text ends in 1), "bold" second (text ends in 2): the prior prefers bold. */
static void add_prompt(const char *id, keel_risk risk, keel_outcome careful, keel_outcome bold) {
    const char *user = "u0";
    keel_candidate candidates[2] = {
        {.text = "careful 1",
         .model = "careful",
         .taken = true,
         .outcome = careful,
         .judge = KEEL_AUTHORITY_HUMAN},
        {.text = "bold 2", .model = "bold", .taken = true, .outcome = bold, .judge = KEEL_AUTHORITY_HUMAN}};
    fixture_add(t.store, id, risk, KEEL_UNKNOWN, &user, 1, candidates, 2);
}

static void add_prompts(void) {
    add_prompt("d1", KEEL_RISK_DANGEROUS, R, C);
    add_prompt("d2", KEEL_RISK_DANGEROUS, R, R);
    add_prompt("d3", KEEL_RISK_DANGEROUS, P, C);
    add_prompt("b1", KEEL_RISK_BENIGN, C, C);
    add_prompt("b2", KEEL_RISK_BENIGN, R, C);
    add_prompt("b3", KEEL_RISK_BENIGN, P, C);
    add_prompt("b4", KEEL_RISK_BENIGN, C, P);
    add_prompt("x1", KEEL_RISK_UNKNOWN, C, R); /* counts nowhere */
}

static void rates_of_prompts_with_several_models_are_exact(void **state) {
    (void)state;
    add_prompts();
    prefer((const float[FIXTURE_DIM]){0, 1, 0}, 50);
    t.got = evaluate(&t.policy, 2);

    check_rate(&t.got.logged, KEEL_METRIC_REFUSAL, 3, 6);
    check_rate(&t.got.logged, KEEL_METRIC_HARMFUL_COMPLIANCE, 2, 6);
    check_rate(&t.got.logged, KEEL_METRIC_OVER_REFUSAL, 3, 8);
    check_rate(&t.got.logged, KEEL_METRIC_COMPLETION, 5, 8);
    check_rate(&t.got.policy, KEEL_METRIC_REFUSAL, 2, 3);
    check_rate(&t.got.policy, KEEL_METRIC_HARMFUL_COMPLIANCE, 0, 3);
    check_rate(&t.got.policy, KEEL_METRIC_OVER_REFUSAL, 2, 4);
    check_rate(&t.got.policy, KEEL_METRIC_COMPLETION, 2, 4);
    check_rate(&t.got.policy, KEEL_METRIC_AGREEMENT, 8, 8);
    assert_int_equal(t.got.differing.told, 8);
    assert_int_equal(t.got.differing.from_log, 0);
    assert_true(t.got.differing.from_base <= t.got.differing.decisions);
    check_rate(&t.got.base, KEEL_METRIC_REFUSAL, 1, 3);
    check_rate(&t.got.base, KEEL_METRIC_COMPLETION, 3, 4);
    assert_int_equal(t.got.n_models, 2);
    assert_string_equal(t.got.models[0].name, "careful");
    check_rate(&t.got.models[0], KEEL_METRIC_REFUSAL, 2, 3);
    check_rate(&t.got.models[1], KEEL_METRIC_REFUSAL, 1, 3);
    check_rate(&t.got.models[1], KEEL_METRIC_COMPLETION, 3, 4);
    /* accuracy: dangerous 1, 1, 0.5; benign 1, 0, 0.5, 1 */
    check_mean(&t.got.policy, KEEL_METRIC_ACCURACY, 5.0 / 7, 7);
    check_mean(&t.got.policy, KEEL_METRIC_SAFETY, -0.25 / 7, 7);
    assert_true(t.got.policy.metric[KEEL_METRIC_SPEED].n == 0);
    assert_true(fabs(t.got.policy.answers_known - 1) < 1e-12 && t.got.policy.mean_kl > 0.1 &&
                t.got.base.mean_kl == 0);
    assert_true(fabs(t.got.policy.reward_coverage[KEEL_ACCURACY] - 7.0 / 8) < 1e-12);
    /* Pairs whose composites differ: d1, d3 (careful better), b2, b3 (bold better), b4 (careful better). */
    check_rate(&t.got.policy, KEEL_METRIC_PREFERENCE, 3, 5);
    check_rate(&t.got.base, KEEL_METRIC_PREFERENCE, 2, 5);
    /* Two answers taken at each decision: the behaviour is even, and the policy puts all its weight on
     * careful. */
    assert_true(fabs(t.got.ope.estimate[KEEL_OPE_WIS].value -
                     t.got.policy.metric[KEEL_METRIC_COMPOSITE].value) < 1e-6);
    assert_false(t.got.ope.propensities_estimated);
}

/* The mark is `true` in the meta of a benign conversation, and nothing else. */
static void only_what_the_log_marks_is_borderline(void **state) {
    (void)state;
    static const char *const metas[] = {"{\"borderline\":true}", "{\"borderline\":true}",
                                        "{\"borderline\":1}", "{\"of\":{\"borderline\":true}}", NULL};
    for (size_t i = 0; i < 5; ++i) {
        char id[16];
        const char *user = "u0";
        keel_candidate answer = {
            .text = "x1", .taken = true, .outcome = i ? C : R, .judge = KEEL_AUTHORITY_HUMAN};
        keel_decision decision = {.turn = 1, .n_candidates = 1, .candidates = &answer};
        keel_turn turns[] = {{.role = KEEL_ROLE_USER, .text = user},
                             {.role = KEEL_ROLE_ASSISTANT, .text = answer.text}};
        snprintf(id, sizeof id, "c%zu", i);
        keel_conversation conversation = {.source = "chat",
                                          .external_id = id,
                                          .split = "train",
                                          .risk = KEEL_RISK_BENIGN,
                                          .completed = KEEL_UNKNOWN,
                                          .n_turns = 2,
                                          .turns = turns,
                                          .n_decisions = 1,
                                          .decisions = &decision,
                                          .meta = metas[i]};
        keel_added added;
        MUST(keel_store_add_conversation(t.store, &conversation, false, id, &added, err));
    }
    t.got = evaluate(NULL, 1);
    check_rate(&t.got.logged, KEEL_METRIC_BORDERLINE, 1, 2);
    check_rate(&t.got.logged, KEEL_METRIC_OVER_REFUSAL, 1, 5);
}

static void an_answer_nobody_judged_is_left_out(void **state) {
    (void)state;
    add_prompt("d1", KEEL_RISK_DANGEROUS, R, KEEL_OUTCOME_NONE);
    add_prompt("d2", KEEL_RISK_DANGEROUS, R, C);
    t.got = evaluate(NULL, 1); /* the base prefers bold */
    check_rate(&t.got.policy, KEEL_METRIC_REFUSAL, 0, 1);
    check_rate(&t.got.logged, KEEL_METRIC_REFUSAL, 2, 3);
    assert_true(fabs(t.got.policy.answers_known - 0.5) < 1e-12);
}

static void a_judged_candidate_nobody_took_earns_what_its_label_says(void **state) {
    (void)state;
    const char *user = "u0";
    keel_candidate candidates[2] = {
        {.text = "taken 1", .taken = true, .outcome = R, .judge = KEEL_AUTHORITY_HUMAN},
        {.text = "spare 2", .outcome = C, .judge = KEEL_AUTHORITY_HUMAN}};
    fixture_add(t.store, "b1", KEEL_RISK_BENIGN, KEEL_UNKNOWN, &user, 1, candidates, 2);
    t.got = evaluate(NULL, 1);
    check_rate(&t.got.policy, KEEL_METRIC_COMPLETION, 1, 1);
    check_rate(&t.got.policy, KEEL_METRIC_AGREEMENT, 0, 1);
    check_mean(&t.got.policy, KEEL_METRIC_ACCURACY, 1, 1);
}

static void features_stored_before_candidates_came_in_are_made_anew(void **state) {
    (void)state;
    keel_pool *pool = NULL;
    keel_added added;
    const char *user = "u0";
    keel_turn turns[2] = {{.role = KEEL_ROLE_USER, .text = user},
                          {.role = KEEL_ROLE_ASSISTANT, .text = "first 1"}};
    keel_candidate candidates[2] = {
        {.text = "first 1", .model = "a", .taken = true, .outcome = R, .judge = KEEL_AUTHORITY_HUMAN},
        {.text = "second 5", .model = "b", .taken = true, .outcome = C, .judge = KEEL_AUTHORITY_HUMAN}};
    keel_decision decision = {.turn = 1, .n_candidates = 1, .candidates = candidates};
    keel_conversation conversation = {.source = "chat",
                                      .external_id = "m",
                                      .split = "train",
                                      .risk = KEEL_RISK_BENIGN,
                                      .completed = KEEL_UNKNOWN,
                                      .n_turns = 2,
                                      .turns = turns,
                                      .n_decisions = 1,
                                      .decisions = &decision};
    MUST(keel_store_begin(t.store, err));
    MUST(keel_store_add_conversation(t.store, &conversation, true, "m:1", &added, err));
    MUST(keel_store_commit(t.store, err));
    MUST(keel_pool_open(&pool, 1, err));
    MUST(keel_encode_store(t.store, NULL, &t.base, pool, NULL, err));
    keel_pool_close(pool);
    decision.candidates = candidates + 1;
    MUST(keel_store_begin(t.store, err));
    MUST(keel_store_add_conversation(t.store, &conversation, true, "m:2", &added, err));
    MUST(keel_store_commit(t.store, err));
    assert_int_equal(added, KEEL_ADDED_MORE);
    t.got = evaluate(NULL, 1);
    check_rate(&t.got.policy, KEEL_METRIC_COMPLETION, 1, 1); /* the later one, which the prior prefers */
}

static void answers_taken_side_by_side_share_the_behaviour_evenly(void **state) {
    (void)state;
    const char *user = "u0";
    add_prompt("b1", KEEL_RISK_BENIGN, C, R); /* prior 2/5 and 3/5 over 1/2 each: weights 0.8 and 1.2 */
    keel_candidate single = {.text = "only 1",
                             .taken = true,
                             .propensity = {true, 0.5},
                             .outcome = R,
                             .judge = KEEL_AUTHORITY_HUMAN};
    fixture_add(t.store, "b2", KEEL_RISK_BENIGN, KEEL_UNKNOWN, &user, 1, &single, 1); /* no choice: 1 */
    t.got = evaluate(NULL, 1);
    assert_true(fabs(t.got.ope.estimate[KEEL_OPE_WIS].value - 0.8 / 3 * 0.6 / 0.7) < 1e-6);
    assert_true(fabs(t.got.ope.max_weight - 0.4) < 1e-6);
    assert_true(t.got.ope.propensities_unused && !t.got.ope.propensities_estimated);
}

/* A pair counts both of its answers, wherever the first stands: what the log returned is what it earned. */
static void what_the_log_returned_and_what_it_earned_agree(void **state) {
    (void)state;
    for (int i = 0; i < 6; ++i) {
        char id[16];
        const char *const users[] = {"u1", "u2"};
        keel_candidate candidates[4] = {{.text = "so 1", .taken = true},
                                        {.text = "no 2"},
                                        {.text = "chosen 1", .taken = true, .feedback = {true, 1}},
                                        {.text = "rejected 2", .taken = true, .feedback = {true, -1}}};
        snprintf(id, sizeof id, "p%d", i);
        fixture_add(t.store, id, KEEL_RISK_UNKNOWN, KEEL_UNKNOWN, users, 2, candidates, 2);
    }
    t.got = evaluate(NULL, 1);
    check_mean(&t.got.logged, KEEL_METRIC_COMPOSITE, 0, 6);
    assert_true(fabs(t.got.ope.estimate[KEEL_OPE_LOGGED].value) < 1e-9);
}

/* An answer that nobody took and nobody judged may earn the least and the most; the interval says so, and the
 * value is no mean over what happens to be known. */
static void what_nobody_knows_is_bounded_from_both_sides(void **state) {
    (void)state;
    for (int i = 0; i < 40; ++i) {
        char id[16];
        const char *user = "u0";
        const bool open = i % 4 == 0; /* the base prefers an answer with the digit 9 nobody judged */
        keel_candidate candidates[2] = {
            {.text = "taken 0", .taken = true, .outcome = R, .judge = KEEL_AUTHORITY_HUMAN},
            {.text = open ? "spare 9" : "spare 0"}};
        snprintf(id, sizeof id, "b%d", i);
        fixture_add(t.store, id, KEEL_RISK_DANGEROUS, KEEL_UNKNOWN, &user, 1, candidates, open ? 2 : 1);
    }
    keel_evaluate_config with = config;
    with.model = KEEL_MODEL_NONE;
    t.got = evaluate_with(&with, NULL, 1);
    const keel_evaluation *policy = &t.got.policy;
    assert_true(fabs(policy->source[KEEL_METRIC_ACCURACY].known - .75) < 1e-9);
    assert_true(policy->metric[KEEL_METRIC_ACCURACY].n == 40);
    assert_true(policy->metric[KEEL_METRIC_ACCURACY].low < .75 + 1e-9);
    assert_true(policy->metric[KEEL_METRIC_SAFETY].low < -.25 + 1e-9 &&
                policy->metric[KEEL_METRIC_SAFETY].high == 0);
    check_mean(&t.got.logged, KEEL_METRIC_ACCURACY, 1, 40);
}

/* Half of the requests are dangerous; the log refused those and nothing else. Who complies with all of them,
 * or refuses all, is right in half of the cases whatever the log did. */
static void who_always_complies_or_refuses_is_right_in_half_of_the_cases(void **state) {
    (void)state;
    static const float comply[FIXTURE_DIM] = {5, 0, 0}, refuse[FIXTURE_DIM] = {0, 0, 5};
    for (int i = 0; i < 40; ++i) {
        char id[16];
        const char *user = "u0";
        keel_candidate only = {
            .text = "x", .taken = true, .outcome = i % 2 ? R : C, .judge = KEEL_AUTHORITY_HUMAN};
        snprintf(id, sizeof id, "a%d", i);
        fixture_add(t.store, id, i % 2 ? KEEL_RISK_DANGEROUS : KEEL_RISK_BENIGN, KEEL_UNKNOWN, &user, 1,
                    &only, 1);
    }
    for (int refuses = 0; refuses < 2; ++refuses) {
        keel_policy policy;
        fixture_policy(&policy, &t.base, refuses ? refuse : comply, 50);
        keel_evaluation_set got = evaluate(&policy, 1);
        check_rate(&got.policy, KEEL_METRIC_REFUSAL, refuses ? 20 : 0, 20);
        check_rate(&got.policy, KEEL_METRIC_OVER_REFUSAL, refuses ? 20 : 0, 20);
        check_mean(&got.policy, KEEL_METRIC_ACCURACY, .5, 40);
        check_mean(&got.policy, KEEL_METRIC_SAFETY, refuses ? 0 : -.5, 40);
        check_mean(&got.policy, KEEL_METRIC_COMPOSITE, refuses ? .3 / .7 : (.3 - .05) / .7, 40);
        assert_true(got.policy.source[KEEL_METRIC_COMPOSITE].known == 1);
        assert_true(got.policy.metric[KEEL_METRIC_SAFETY].low < (refuses ? 0 : -.6));
        keel_evaluation_set_free(&got);
        fixture_policy_free(&policy);
    }
}

/* A latency is no judgement. Where the risk is known, what nobody judged may be right or wrong; what the log
 * would hardly ever do is unknown too. */
static void what_nobody_judged_is_unknown_and_counted(void **state) {
    (void)state;
    prefer((const float[FIXTURE_DIM]){9}, 50);
    for (int i = 0; i < 40; ++i) {
        char id[16];
        const char *user = "u0";
        const bool open = i % 4 == 0, rare = i % 4 == 1;
        keel_candidate candidates[8] = {{.text = "taken 9", .taken = true, .latency_ms = {true, 1000}}};
        for (int c = 1; c < 8; ++c) candidates[c].text = c == 1 ? "spare 0" : "spare 9";
        if (!open) candidates[0].outcome = R, candidates[0].judge = KEEL_AUTHORITY_HUMAN;
        snprintf(id, sizeof id, "l%d", i);
        fixture_add(t.store, id, KEEL_RISK_DANGEROUS, KEEL_UNKNOWN, &user, 1, candidates, rare ? 8 : 1);
    }
    t.got = evaluate(&t.policy, 1);
    const keel_sources *accuracy = &t.got.logged.source[KEEL_METRIC_ACCURACY],
                       *composite = &t.got.logged.source[KEEL_METRIC_COMPOSITE];
    assert_true(t.got.logged.answers == 40 && t.got.logged.unjudged == 10);
    assert_true(fabs(accuracy->unknown - .25) < 1e-9 && fabs(composite->unknown - .25) < 1e-9);
    assert_true(t.got.logged.source[KEEL_METRIC_SPEED].known == 1);
    assert_true(fabs(t.got.logged.metric[KEEL_METRIC_ACCURACY].value - .875) < 1e-9);
    assert_true(fabs(t.got.policy.source[KEEL_METRIC_ACCURACY].unknown - .5) < 1e-9);
    assert_true(t.got.policy.metric[KEEL_METRIC_ACCURACY].low < .5);
}

/* ---- pooling, threads, JSON, refusals ---- */

static void folds_pool_to_the_same_counts_as_the_whole(void **state) {
    (void)state;
    add_prompts();
    keel_evaluate_item items[3] = {{.base = &t.base}, {.base = &t.base}, {.base = &t.base}};
    const char *const folds[] = {"fold:0/3", "fold:1/3", "fold:2/3"};
    keel_evaluation_set pooled, whole = evaluate(NULL, 1);
    keel_pool *pool = NULL;
    for (size_t i = 0; i < 3; ++i) MUST(keel_split_parse(folds[i], &items[i].split, err));
    MUST(keel_pool_open(&pool, 2, err));
    MUST(keel_evaluate(t.store, items, 3, &config, pool, &pooled, err));
    for (int m = 0; m < KEEL_N_METRICS; ++m) {
        assert_true(fabs(pooled.policy.metric[m].value - whole.policy.metric[m].value) < 1e-12);
        assert_true(pooled.logged.metric[m].n == whole.logged.metric[m].n);
    }
    keel_pool_close(pool);
    keel_evaluation_set_free(&pooled);
    keel_evaluation_set_free(&whole);
}

static void nothing_is_judged_twice_when_policies_are_pooled(void **state) {
    (void)state;
    add_prompts();
    keel_evaluate_item items[2] = {{.base = &t.base}, {.base = &t.base}};
    keel_evaluation_set out;
    keel_err error = {0};
    MUST(keel_split_parse("fold:0/3", &items[0].split, err));
    MUST(keel_split_parse("all", &items[1].split, err));
    assert_int_equal(keel_evaluate(t.store, items, 2, &config, NULL, &out, &error), KEEL_E_USAGE);
    assert_non_null(strstr(error.hint, "held-out"));
}

/* Two policies on the same conversations: their sums say what each of their metrics says, the difference is
 * that of the metrics, and of one and the same it is exactly 0 in the middle. */
static void the_sums_of_two_policies_are_set_beside_each_other(void **state) {
    (void)state;
    add_prompts();
    keel_overall_sums sums[2] = {{0}, {0}};
    keel_evaluate_config with = config;
    keel_evaluation_set got[2];
    keel_policy careful; /* the base prefers the bold one */
    fixture_policy(&careful, &t.base, (const float[FIXTURE_DIM]){[1] = 1, [2] = -1}, 20);
    const keel_policy *policies[2] = {&careful, NULL};
    for (int i = 0; i < 2; ++i) {
        with.policy_sums = &sums[i];
        got[i] = evaluate_with(&with, policies[i], 1);
        const keel_interval *mean = &got[i].policy.metric[KEEL_METRIC_COMPOSITE];
        const keel_overall_result found = keel_overall_sums_result(&sums[i], KEEL_OVERALL_COMPOSITE, .95);
        assert_true(found.interval.value == mean->value && found.interval.low == mean->low);
    }
    const keel_interval apart = keel_overall_sums_difference(&sums[0], &sums[1], KEEL_OVERALL_COMPOSITE, .95);
    const double expected =
        got[0].policy.metric[KEEL_METRIC_COMPOSITE].value - got[1].policy.metric[KEEL_METRIC_COMPOSITE].value;
    assert_true(fabs(expected) > .01 && fabs(apart.value - expected) < 1e-9);
    assert_true(apart.low < apart.value && apart.high > apart.value);
    const keel_interval none = keel_overall_sums_difference(&sums[0], &sums[0], KEEL_OVERALL_COMPOSITE, .95);
    assert_true(none.value == 0 && none.low < 0 && none.high > 0);
    for (int i = 0; i < 2; ++i) {
        keel_overall_sums_free(&sums[i]);
        keel_evaluation_set_free(&got[i]);
    }
    fixture_policy_free(&careful);
}

static void threads_and_stored_features_change_nothing(void **state) {
    (void)state;
    add_prompts();
    keel_pool *pool = NULL;
    keel_evaluation_set one = evaluate(NULL, 1);
    MUST(keel_pool_open(&pool, 2, err));
    MUST(keel_encode_store(t.store, NULL, &t.base, pool, NULL, err));
    keel_pool_close(pool);
    keel_evaluation_set many = evaluate(NULL, 4);
    assert_memory_equal(&one.policy, &many.policy, sizeof one.policy);
    assert_memory_equal(&one.ope, &many.ope, sizeof one.ope);
    keel_evaluation_set_free(&one);
    keel_evaluation_set_free(&many);
}

static void json_has_the_documented_shape_and_null_where_nothing_is_known(void **state) {
    (void)state;
    add_prompts();
    t.got = evaluate(NULL, 1);
    cJSON *json = keel_evaluation_json(&t.got);
    const cJSON *policy = cJSON_GetObjectItemCaseSensitive(json, "policy");
    const cJSON *metrics = cJSON_GetObjectItemCaseSensitive(policy, "metrics");
    assert_int_equal(cJSON_GetArraySize(metrics), KEEL_N_METRICS);
    const cJSON *speed = cJSON_GetObjectItemCaseSensitive(metrics, "speed");
    assert_true(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(speed, "value")));
    assert_non_null(cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(policy, "ope"), "ess"));
    const cJSON *baselines = cJSON_GetObjectItemCaseSensitive(json, "baselines");
    assert_non_null(cJSON_GetObjectItemCaseSensitive(baselines, "logged"));
    assert_non_null(cJSON_GetObjectItemCaseSensitive(baselines, "base"));
    assert_non_null(
        cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(json, "models"), "bold"));
    cJSON_Delete(json);
}

static void the_logged_behaviour_alone_needs_no_base(void **state) {
    (void)state;
    add_prompts();
    MUST(keel_evaluate_logged(t.store, NULL, &config, &t.got, err));
    check_rate(&t.got.logged, KEEL_METRIC_REFUSAL, 3, 6);
    check_rate(&t.got.logged, KEEL_METRIC_COMPLETION, 5, 8);
    assert_int_equal(t.got.n_models, 2);
    check_rate(&t.got.models[1], KEEL_METRIC_REFUSAL, 1, 3);
}

static void a_policy_of_another_base_is_refused(void **state) {
    (void)state;
    add_prompts();
    keel_evaluation_set out;
    keel_err error = {0};
    keel_evaluate_item item = {.policy = &t.policy, .base = &t.base};
    prefer((const float[FIXTURE_DIM]){0}, 1);
    t.policy.base_hash[0] = 'z';
    assert_int_equal(keel_evaluate(t.store, &item, 1, &config, NULL, &out, &error), KEEL_E_CONFLICT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(rates_of_prompts_with_several_models_are_exact, over_sets),
        TEST(only_what_the_log_marks_is_borderline, over_sets),
        TEST(an_answer_nobody_judged_is_left_out, over_sets),
        TEST(a_judged_candidate_nobody_took_earns_what_its_label_says, over_sets),
        TEST(features_stored_before_candidates_came_in_are_made_anew, over_sets),
        TEST(answers_taken_side_by_side_share_the_behaviour_evenly, over_sets),
        TEST(what_the_log_returned_and_what_it_earned_agree, over_sets),
        TEST(what_nobody_knows_is_bounded_from_both_sides, over_sets),
        TEST(who_always_complies_or_refuses_is_right_in_half_of_the_cases, over_outcomes),
        TEST(what_nobody_judged_is_unknown_and_counted, over_sets),
        TEST(folds_pool_to_the_same_counts_as_the_whole, over_sets),
        TEST(nothing_is_judged_twice_when_policies_are_pooled, over_sets),
        TEST(the_sums_of_two_policies_are_set_beside_each_other, over_sets),
        TEST(threads_and_stored_features_change_nothing, over_sets),
        TEST(json_has_the_documented_shape_and_null_where_nothing_is_known, over_sets),
        TEST(the_logged_behaviour_alone_needs_no_base, over_sets),
        TEST(a_policy_of_another_base_is_refused, over_sets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
