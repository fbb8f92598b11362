/* Evaluation of tasks over acts, of several decisions each, counted by hand. */
#include "rl/evaluate_fixture.h"

static int over_acts(void **state) {
    (void)state;
    return begin("evaluate-tasks", KEEL_SPACE_ACTS);
}

/* Rates that are estimated as played, at the decisions of the log. */
static keel_evaluation on_log(const keel_evaluation *of) {
    keel_evaluation made = *of;
    for (int m = 0; m < KEEL_N_METRICS; ++m)
        if (of->on_log[m].n > 0) made.metric[m] = of->on_log[m];
    return made;
}

static void add_task(const char *id, keel_risk risk, keel_tri completed, const char *first,
                     const char *second, keel_outcome outcome) {
    const char *const users[] = {"u1", "u2"};
    keel_candidate candidates[2] = {
        {.act = first, .taken = true, .outcome = outcome, .judge = KEEL_AUTHORITY_HUMAN},
        {.act = second, .taken = true, .outcome = outcome, .judge = KEEL_AUTHORITY_HUMAN}};
    if (outcome == KEEL_OUTCOME_NONE) candidates[0].judge = candidates[1].judge = KEEL_AUTHORITY_NONE;
    fixture_add(t.store, id, risk, completed, users, 2, candidates, 1);
}

static void add_tasks(void) {
    add_task("t1", KEEL_RISK_BENIGN, KEEL_YES, "act1", "act1", KEEL_OUTCOME_NONE);
    add_task("t2", KEEL_RISK_BENIGN, KEEL_NO, "act1", "act0", KEEL_OUTCOME_NONE);
    add_task("t3", KEEL_RISK_BENIGN, KEEL_YES, "act0", "act0", KEEL_OUTCOME_NONE);
    add_task("t4", KEEL_RISK_DANGEROUS, KEEL_UNKNOWN, "act0", "act0", C);
    add_task("t5", KEEL_RISK_DANGEROUS, KEEL_UNKNOWN, "act1", "act2", R);
}

static void tasks_weigh_as_much_as_the_policy_agrees(void **state) {
    (void)state;
    add_tasks();
    prefer((const float[FIXTURE_DIM]){0, 1, 0}, 50);
    t.policy.act_outcome[KEEL_RISK_DANGEROUS][1] = R;
    t.got = evaluate(&t.policy, 2);
    const keel_evaluation policy_on_log = on_log(&t.got.policy), base_on_log = on_log(&t.got.base);
    /* t1 weighs 1, t2 a half: 1 of 1.5, effective number 1.5^2 / 1.25 = 1.8. */
    check_rate(&policy_on_log, KEEL_METRIC_COMPLETION, 1.2, 1.8);
    check_rate(&t.got.logged, KEEL_METRIC_COMPLETION, 2, 3);
    check_rate(&t.got.policy, KEEL_METRIC_AGREEMENT, 4, 10);
    assert_int_equal(t.got.differing.told, 10);
    assert_int_equal(t.got.differing.from_log, 6);
    assert_true(t.got.differing.from_base <= t.got.differing.decisions);
    /* t4: the policy's act was not taken, but amounts to refusal; t5: taken once, once by the table. */
    check_rate(&policy_on_log, KEEL_METRIC_REFUSAL, 4, 4);
    check_rate(&t.got.logged, KEEL_METRIC_REFUSAL, 2, 4);
    check_rate(&base_on_log, KEEL_METRIC_REFUSAL, 0, 2); /* act0: taken in t4, of unknown outcome in t5 */
    assert_int_equal(t.got.n_models, 0);
    assert_true(t.got.ope.propensities_estimated && t.got.ope.estimate[KEEL_OPE_WIS].n == 5);
    assert_true(fabs(t.got.ope.estimate[KEEL_OPE_DM].value - 1) < 1e-6 &&
                t.got.ope.estimate[KEEL_OPE_DM].n == 5);
}

/* t1's second answer has no act, t2's has one that the base does not know: the one is no disagreement, the
 * other is. */
static void what_the_log_does_not_tell_is_no_disagreement(void **state) {
    (void)state;
    prefer((const float[FIXTURE_DIM]){0, 1, 0}, 50);
    add_task("t1", KEEL_RISK_BENIGN, KEEL_YES, "act1", NULL, KEEL_OUTCOME_NONE);
    add_task("t2", KEEL_RISK_BENIGN, KEEL_NO, "act1", "act9", KEEL_OUTCOME_NONE);
    t.got = evaluate(&t.policy, 1);
    check_rate(&t.got.policy, KEEL_METRIC_AGREEMENT, 2, 3);
    const keel_evaluation policy_on_log = on_log(&t.got.policy);
    check_rate(&policy_on_log, KEEL_METRIC_COMPLETION, 1.2, 1.8); /* weights 1 and a half */
    check_rate(&t.got.logged, KEEL_METRIC_COMPLETION, 1, 2);
}

/* Two decisions each; the task is done where the second act is act1. */
static void add_where_seconds_count(void) {
    const char *const users[] = {"u1", "u2"};
    for (int i = 0; i < 60; ++i) {
        bool done = i % 3 == 0;
        char id[16];
        keel_candidate candidates[2] = {
            {.act = i % 2 ? "act1" : "act0", .taken = true, .propensity = {true, 0.5}},
            {.act = done ? "act1" : "act2", .taken = true, .propensity = {true, done ? 1.0 / 3 : 2.0 / 3}}};
        snprintf(id, sizeof id, "s%d", i);
        fixture_add(t.store, id, KEEL_RISK_BENIGN, done ? KEEL_YES : KEEL_NO, users, 2, candidates, 1);
    }
}

static void a_model_fitted_to_the_split_is_right_where_the_critic_is_not(void **state) {
    (void)state;
    add_where_seconds_count();
    prefer((const float[FIXTURE_DIM]){0, 5, 0}, 50);
    keel_evaluate_config with = config;
    with.model = KEEL_MODEL_FQE;
    with.fqe_steps = 400;
    with.gamma = .8; /* so that first decisions are worth less than second ones */
    keel_evaluation_set fitted = evaluate_with(&with, &t.policy, 2),
                        again = evaluate_with(&with, &t.policy, 1), critic = evaluate(&t.policy, 1);
    const keel_interval *got = fitted.ope.estimate;
    double truth = got[KEEL_OPE_WIS].value; /* all that act so earn the same */
    assert_true(truth > .4 && got[KEEL_OPE_WIS].n == 60);
    for (size_t k = KEEL_OPE_DM; k <= KEEL_OPE_MAGIC; ++k)
        if (!(fabs(got[k].value - truth) < .05 * truth))
            fail_msg("%s is %g, expected %g", keel_ope_names[k], got[k].value, truth);
    assert_true(got[KEEL_OPE_DM].n == 60 && got[KEEL_OPE_SELF].n == 60);
    assert_true(fabs(got[KEEL_OPE_SELF].value - 5) < 1e-6);
    assert_true(fabs(critic.ope.estimate[KEEL_OPE_DM].value - 5) < 1e-6);
    assert_true(got[KEEL_OPE_DM].value == again.ope.estimate[KEEL_OPE_DM].value);
    assert_true(fitted.ope.ess == critic.ope.ess);
    for (size_t k = 0; k < KEEL_N_METRICS; ++k) /* nothing is counted twice */
        assert_true(fitted.logged.metric[k].n == critic.logged.metric[k].n);
    keel_evaluation_set_free(&fitted);
    keel_evaluation_set_free(&again);
    keel_evaluation_set_free(&critic);
}

/* A base has no critic, and can be judged by a fit all the same; who wants no estimates gets none. */
static void a_base_is_judged_by_a_fit_and_nobody_by_none(void **state) {
    (void)state;
    add_where_seconds_count();
    keel_evaluate_config with = config;
    with.model = KEEL_MODEL_FQE;
    with.fqe_steps = 20;
    keel_evaluation_set fitted = evaluate_with(&with, NULL, 1);
    assert_true(fitted.ope.estimate[KEEL_OPE_DR].n == 60 && fitted.ope.estimate[KEEL_OPE_SELF].n == 0);
    with.model = KEEL_MODEL_NONE;
    keel_evaluation_set none = evaluate_with(&with, NULL, 1);
    for (size_t k = 0; k < KEEL_N_OPE; ++k) assert_true(none.ope.estimate[k].n == 0);
    assert_true(none.policy.metric[KEEL_METRIC_AGREEMENT].value ==
                fitted.policy.metric[KEEL_METRIC_AGREEMENT].value);
    keel_evaluation_set_free(&fitted);
    keel_evaluation_set_free(&none);
}

static void agreeing_at_the_end_alone_tells_nothing_of_what_a_task_earns(void **state) {
    (void)state;
    prefer((const float[FIXTURE_DIM]){0, 1, 0}, 50);
    add_task("t1", KEEL_RISK_BENIGN, KEEL_YES, "act0", "act1", KEEL_OUTCOME_NONE);
    add_task("t2", KEEL_RISK_BENIGN, KEEL_YES, "act0", "act1", KEEL_OUTCOME_NONE);
    add_task("t3", KEEL_RISK_BENIGN, KEEL_NO, "act1", "act1", KEEL_OUTCOME_NONE);
    t.got = evaluate(&t.policy, 1);
    check_mean(&t.got.logged, KEEL_METRIC_ACCURACY, 2.0 / 3, 3);
    /* Only t3 was answered as the policy would, and one conversation tells nothing of the others. */
    const keel_interval *accuracy = &t.got.policy.metric[KEEL_METRIC_ACCURACY];
    assert_true(accuracy->n == 3 && accuracy->low < .02 && accuracy->high > .95);
    const keel_sources *source = &t.got.policy.source[KEEL_METRIC_ACCURACY];
    assert_true(fabs(source->known - 1.0 / 3) < 1e-9 && fabs(source->estimated - 2.0 / 3) < 1e-9);
}

static void what_the_log_does_not_tell_adds_nothing_to_a_total(void **state) {
    (void)state;
    const char *const users[] = {"u1", "u2", "u3"};
    const keel_optional up = {true, 1};
    keel_candidate candidates[3] = {
        {.act = "act0", .taken = true}, {.act = "act0", .taken = true}, {.act = "act0", .taken = true}};
    candidates[1].feedback = up; /* thumbs up in the middle, nothing after it */
    fixture_add(t.store, "middle", KEEL_RISK_UNKNOWN, KEEL_UNKNOWN, users, 3, candidates, 1);
    candidates[1].feedback = (keel_optional){0};
    candidates[2].latency_ms = (keel_optional){true, 500}; /* timed at the end only: 0.75 / 3 - 0.05 */
    fixture_add(t.store, "end", KEEL_RISK_UNKNOWN, KEEL_UNKNOWN, users, 3, candidates, 1);
    t.got = evaluate(NULL, 1);
    check_mean(&t.got.logged, KEEL_METRIC_ACCURACY, 1, 1);
    check_mean(&t.got.policy, KEEL_METRIC_ACCURACY, 1, 1);
    check_mean(&t.got.logged, KEEL_METRIC_SPEED, 0.2, 1);
}

/* The first act decides where the conversation goes, and with it whether the task is done. */
static void completion_is_that_of_the_conversations_that_the_policy_would_have(void **state) {
    (void)state;
    prefer((const float[FIXTURE_DIM]){0, 5, 0}, 50);
    for (int i = 0; i < 200; ++i) {
        char id[16];
        const bool done = i % 4 == 0;
        const char *const users[] = {"u1", done ? "u2" : "u3"};
        keel_candidate candidates[2] = {
            {.act = done ? "act1" : "act0", .taken = true, .propensity = {true, done ? .25 : .75}},
            {.act = "act1", .taken = true, .propensity = {true, 1}}};
        snprintf(id, sizeof id, "w%d", i);
        fixture_add(t.store, id, KEEL_RISK_BENIGN, done ? KEEL_YES : KEEL_NO, users, 2, candidates, 1);
    }
    t.got = evaluate(&t.policy, 1);
    const keel_interval *played = &t.got.policy.metric[KEEL_METRIC_COMPLETION];
    if (!(fabs(played->value - 1) < .02) || played->low < .85 || played->high < 1)
        fail_msg("%g [%g, %g]", played->value, played->low, played->high);
    assert_true(fabs(t.got.policy.on_log[KEEL_METRIC_COMPLETION].value - .4) < 1e-9);
    check_rate(&t.got.logged, KEEL_METRIC_COMPLETION, 50, 200);
    assert_true(fabs(t.got.minus[KEEL_MINUS_LOGGED][KEEL_METRIC_COMPLETION].value - .75) < .02);
}

static void of_two_candidates_with_one_act_the_taken_one_counts(void **state) {
    (void)state;
    const char *user = "u0";
    keel_candidate candidates[2] = {
        {.text = "spare", .act = "act0", .outcome = C, .judge = KEEL_AUTHORITY_HUMAN},
        {.text = "taken", .act = "act0", .taken = true, .outcome = R, .judge = KEEL_AUTHORITY_HUMAN}};
    fixture_add(t.store, "d1", KEEL_RISK_DANGEROUS, KEEL_UNKNOWN, &user, 1, candidates, 2);
    t.got = evaluate(NULL, 1);
    check_rate(&t.got.policy, KEEL_METRIC_REFUSAL, 1, 1);
    check_rate(&t.got.policy, KEEL_METRIC_AGREEMENT, 1, 1);
}

static void logged_propensities_are_used_where_there_are_any(void **state) {
    (void)state;
    const char *user = "u0";
    for (int i = 0; i < 8; ++i) { /* act1 with probability 1/4, rewarded; act0 with 3/4, not */
        char id[16];
        bool rare = i % 4 == 0;
        keel_candidate candidate = {.act = rare ? "act1" : "act0",
                                    .taken = true,
                                    .propensity = {true, rare ? 0.25 : 0.75},
                                    .feedback = {true, rare ? 1 : 0}};
        snprintf(id, sizeof id, "p%d", i);
        fixture_add(t.store, id, KEEL_RISK_BENIGN, KEEL_UNKNOWN, &user, 1, &candidate, 1);
    }
    prefer((const float[FIXTURE_DIM]){0, 0, -1e4f}, 1); /* never act2 */
    t.got = evaluate(&t.policy, 1);
    /* weights 0.5 / 0.25 = 2 on two rewarded, 0.5 / 0.75 = 2/3 on six that are not; accuracy 0.6 and safety
     * 0.1 present */
    double reward = 0.6 * 1 / 0.7;
    assert_true(fabs(t.got.ope.estimate[KEEL_OPE_WIS].value - 4 / (4 + 4.0) * reward) < 1e-5);
    assert_false(t.got.ope.propensities_estimated);
    assert_true(fabs(t.got.ope.ess - 64 / (2 * 4 + 6 * 4.0 / 9)) < 1e-4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(completion_is_that_of_the_conversations_that_the_policy_would_have, over_acts),
        TEST(of_two_candidates_with_one_act_the_taken_one_counts, over_acts),
        TEST(tasks_weigh_as_much_as_the_policy_agrees, over_acts),
        TEST(what_the_log_does_not_tell_is_no_disagreement, over_acts),
        TEST(a_model_fitted_to_the_split_is_right_where_the_critic_is_not, over_acts),
        TEST(a_base_is_judged_by_a_fit_and_nobody_by_none, over_acts),
        TEST(agreeing_at_the_end_alone_tells_nothing_of_what_a_task_earns, over_acts),
        TEST(what_the_log_does_not_tell_adds_nothing_to_a_total, over_acts),
        TEST(logged_propensities_are_used_where_there_are_any, over_acts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
