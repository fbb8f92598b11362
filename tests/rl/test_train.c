/* Training from store to artefact: what is learned, what the artefact tells of it, and clear ends. */
#include "core/options_internal.h"
#include "core/source.h"
#include "policies/policy_internal.h"
#include "rl/train_fixture.h"

/* ---- what comes out ---- */

static void a_policy_over_acts_prefers_what_paid_and_knows_what_acts_amount_to(void **state) {
    (void)state;
    world w = open_world("train-acts", KEEL_SPACE_ACTS, "cql");
    keel_features features;
    keel_choice choice;
    keel_arena arena = {0};
    keel_conversation *conversation = NULL;
    w.config.steps = 1500;
    MUST(train(&w, "policy", NULL, 2, err));
    keel_policy *policy = load(&w, "policy");
    MUST(keel_policy_check_base(policy, &w.base, err));
    MUST(keel_store_conversation(w.store, 1, &arena, &conversation, err));
    MUST(keel_base_encode_decision(&w.base, conversation, 1, &arena, &features, err));
    MUST(keel_policy_decide(policy, &features, &arena, &choice, err));
    assert_true(choice.q_w[2] > choice.q_w[0]);
    assert_true(policy->beta > 0);
    assert_int_equal(policy->act_outcome[KEEL_RISK_DANGEROUS][1], KEEL_OUTCOME_REFUSAL);
    assert_int_equal(policy->act_outcome[KEEL_RISK_BENIGN][0], KEEL_OUTCOME_COMPLIANCE);
    assert_int_equal(policy->act_outcome[KEEL_RISK_UNKNOWN][0], KEEL_OUTCOME_NONE);
    assert_int_equal(policy->fallback_act, 1);
    keel_policy_close(policy);
    keel_arena_free(&arena);
    close_world(&w);
}

/* Feedback tells of accuracy alone; the threshold is for a cost of harm that was learned. */
static void a_log_that_tells_nothing_of_safety_gives_no_threshold(void **state) {
    (void)state;
    world w = open_world_of("train-floor", KEEL_SPACE_CANDIDATES, "cql", KEEL_RISK_UNKNOWN);
    w.config.steps = 20;
    MUST(train(&w, "policy", NULL, 1, err));
    keel_policy *policy = load(&w, "policy");
    assert_true(policy->harm_threshold == INFINITY && !policy->net.shape.cost &&
                policy->weight[KEEL_SAFETY] == 0);
    keel_policy_close(policy);
    close_world(&w);
    w = open_world("train-floor-acts", KEEL_SPACE_ACTS, "cql"); /* outcomes and risks are known */
    w.config.steps = 20;
    MUST(train(&w, "policy", NULL, 1, err));
    policy = load(&w, "policy");
    assert_true(policy->net.shape.cost && policy->harm_threshold == w.config.harm_threshold);
    assert_true(policy->declines[1] && !policy->declines[0]); /* refuse, answer */
    keel_policy_close(policy);
    close_world(&w);
}

static void a_policy_over_sets_stays_within_its_kl_budget(void **state) {
    (void)state;
    world w = open_world("train-sets", KEEL_SPACE_CANDIDATES, "cql");
    w.config.steps = 1000;
    w.config.kl_budget = 0.05;
    MUST(train(&w, "policy", NULL, 2, err));
    keel_policy *policy = load(&w, "policy");
    keel_cursor *cursor = NULL;
    keel_arena arena = {0};
    keel_conversation *conversation;
    double kl = 0, n = 0, best = 0;
    MUST(keel_cursor_open(&cursor, w.store, NULL, KEEL_ORDER_STORED, err));
    for (;;) {
        keel_features features;
        keel_choice choice;
        keel_arena_reset(&arena);
        MUST(keel_cursor_next(cursor, &arena, &conversation, err));
        if (!conversation) break;
        MUST(keel_base_encode_decision(&w.base, conversation, 0, &arena, &features, err));
        MUST(keel_policy_decide(policy, &features, &arena, &choice, err));
        kl += choice.kl;
        best += choice.q_w[2] > choice.q_w[0] && choice.q_w[2] > choice.q_w[1];
        n++;
    }
    /* Training weighs a decision by how often it was taken, this mean does not. */
    assert_true(kl / n < 0.06 && kl / n > 0.03);
    assert_true(best == n);
    keel_cursor_close(cursor);
    keel_arena_free(&arena);
    keel_policy_close(policy);
    close_world(&w);
}

/* Mean KL from the base over the log's decisions, under weights. */
static double kl_under(const world *w, keel_policy *policy, const double weight[KEEL_N_REWARDS]) {
    keel_cursor *cursor = NULL;
    keel_arena arena = {0};
    keel_conversation *conversation;
    double kl = 0, n = 0;
    MUST(keel_policy_weigh(policy, weight, err));
    MUST(keel_cursor_open(&cursor, w->store, NULL, KEEL_ORDER_STORED, err));
    for (;;) {
        keel_features features;
        keel_choice choice;
        keel_arena_reset(&arena);
        MUST(keel_cursor_next(cursor, &arena, &conversation, err));
        if (!conversation) break;
        for (size_t d = 0; d < conversation->n_decisions; ++d, ++n) {
            MUST(keel_base_encode_decision(&w->base, conversation, d, &arena, &features, err));
            MUST(keel_policy_decide(policy, &features, &arena, &choice, err));
            kl += choice.kl;
        }
    }
    keel_cursor_close(cursor);
    keel_arena_free(&arena);
    return kl / n;
}

static void a_conditioned_policy_spends_its_budget_under_every_weighting(void **state) {
    (void)state;
    static const double uneven[] = {0.55, 0.1, 0.35};
    world w = open_world("train-conditioned", KEEL_SPACE_ACTS, "cql");
    w.config.conditioned = true;
    w.config.kl_budget = 0.1;
    w.config.harm_threshold = 1e3; /* masked actions would cost KL of their own */
    MUST(train(&w, "policy", NULL, 2, err));
    keel_policy *policy = load(&w, "policy");
    assert_true(policy->conditioned);
    for (size_t i = 0; i < KEEL_N_LATTICE; ++i) {
        double weight[KEEL_N_REWARDS], kl;
        keel_weighting_point(i, weight);
        kl = kl_under(&w, policy, weight);
        if (policy->beta < w.config.beta_limit && fabs(kl - 0.1) > 1e-3) fail_msg("point %zu: %g", i, kl);
        assert_true(kl < 0.1 + 1e-3);
    }
    double kl = kl_under(&w, policy, uneven);
    assert_true(kl > 0.02 && kl < 0.13);
    keel_policy_close(policy);
    close_world(&w);
}

static void cloning_and_double_dqn_train_from_the_same_code(void **state) {
    (void)state;
    world w = open_world("train-bc", KEEL_SPACE_ACTS, "bc");
    MUST(train(&w, "bc", NULL, 1, err));
    keel_policy *policy = load(&w, "bc");
    assert_true(policy->imitates && policy->net.shape.heads == 1);
    keel_policy_close(policy);
    MUST(keel_learner_preset("d3rlpy", "dqn", &w.config, err));
    w.config.steps = 50;
    MUST(train(&w, "dqn", NULL, 1, err));
    policy = load(&w, "dqn");
    assert_string_equal(policy->algorithm, "dqn");
    keel_policy_close(policy);
    close_world(&w);
}

/* Quantiles of the last layer are averaged, so that all artefacts are ordinary networks. */
static void every_learner_makes_an_artefact_that_loads(void **state) {
    (void)state;
    for (int algorithm = 0; algorithm < KEEL_N_LEARNERS + 1; ++algorithm) {
        bool quantiles = algorithm == KEEL_N_LEARNERS;
        const char *name = quantiles ? "cql" : keel_algorithms[algorithm];
        world w = open_world("train-each", algorithm % 2 ? KEEL_SPACE_ACTS : KEEL_SPACE_CANDIDATES, name);
        w.config.steps = 40;
        w.config.keep_top = 50;
        w.config.quantiles = quantiles ? 8 : 1;
        MUST(train(&w, "one", "one.jsonl", 1, err));
        MUST(train(&w, "two", "two.jsonl", 2, err));
        assert_same_artefact(&w, "one", "two");
        keel_policy *policy = load(&w, "one");
        const keel_learner_kind *kind = keel_learner_kind_of(w.config.algorithm);
        assert_string_equal(policy->algorithm, name);
        assert_int_equal(policy->imitates, kind->imitates);
        assert_int_equal(policy->net.shape.heads, kind->imitates ? 1 : KEEL_N_REWARDS);
        assert_true(policy->support == (strcmp(name, "bcq") == 0 ? 0.3 : 0));
        keel_policy_close(policy);
        close_world(&w);
    }
}

/* Q_w of the acts at the first decision of the log. */
static void first_values(world *w, int64_t quantiles, float q[3]) {
    keel_conversation *conversation = NULL;
    keel_arena arena = {0};
    keel_features features;
    keel_choice choice;
    w->config.steps = 1500;
    w->config.quantiles = quantiles;
    MUST(train(w, "policy", NULL, 1, err));
    keel_policy *policy = load(w, "policy");
    MUST(keel_store_conversation(w->store, 1, &arena, &conversation, err));
    MUST(keel_base_encode_decision(&w->base, conversation, 0, &arena, &features, err));
    MUST(keel_policy_decide(policy, &features, &arena, &choice, err));
    memcpy(q, choice.q_w, 3 * sizeof *q);
    keel_policy_close(policy);
    keel_arena_free(&arena);
}

static void the_quantiles_of_an_artefact_come_to_the_mean(void **state) {
    (void)state;
    float mean[3], quantiles[3];
    world w = open_world("train-quantiles", KEEL_SPACE_ACTS, "dqn");
    first_values(&w, 1, mean);
    first_values(&w, 16, quantiles);
    for (int a = 0; a < 3; ++a) {
        assert_true(mean[a] > 0.1f);
        if (fabsf(quantiles[a] - mean[a]) > 0.1f) fail_msg("act%d: %g, %g", a, quantiles[a], mean[a]);
    }
    close_world(&w);
}

static void a_learned_behaviour_makes_no_artefact(void **state) {
    (void)state;
    keel_err error = {0};
    world w = open_world("train-learned", KEEL_SPACE_ACTS, "bcq");
    MUST(keel_learner_set(&w.config, "support_by", "learned", err));
    assert_int_equal(train(&w, "policy", NULL, 1, &error), KEEL_E_INVALID);
    assert_string_equal(error.where, "support_by");
    close_world(&w);
}

static void the_artefact_names_the_rewards_and_the_build_it_came_from(void **state) {
    (void)state;
    world w = open_world("train-lineage", KEEL_SPACE_ACTS, "cql");
    cJSON *manifest[2], *rewards;
    const cJSON *lineage[2];
    w.config.steps = 20;
    for (size_t i = 0; i < 2; ++i) {
        static const char *const outs[] = {"one", "two"};
        char hash[65];
        w.rewards.target_ms = i ? 5000 : 300;
        MUST(train(&w, outs[i], NULL, 1, err));
        manifest[i] = run_manifest(w.folder, outs[i]);
        lineage[i] = keel_json_get(manifest[i], "lineage");
        rewards = keel_options_to_json(keel_reward_options, &w.rewards);
        assert_true(cJSON_Compare(keel_json_get(lineage[i], "rewards"), rewards, true));
        MUST(keel_json_hash(rewards, hash, err));
        assert_string_equal(text_of(lineage[i], "rewards_sha256"), hash);
        cJSON_Delete(rewards);
    }
    assert_string_not_equal(text_of(lineage[0], "identity"), text_of(lineage[1], "identity"));
    static const char *const build[] = {"keel", "commit", "compiler", "flags", "blas"};
    for (size_t i = 0; i < sizeof build / sizeof *build; ++i)
        assert_true(*text_of(keel_json_get(lineage[0], "build"), build[i]) || strcmp(build[i], "flags") == 0);
    assert_true(cJSON_GetNumberValue(keel_json_get(lineage[0], "seed")) == (double)w.config.seed);
    for (size_t i = 0; i < 2; ++i) cJSON_Delete(manifest[i]);
    close_world(&w);
}

/* ---- clear ends ---- */

static void divergence_stops_the_run_with_the_step_and_the_bounds(void **state) {
    (void)state;
    world w = open_world("train-diverged", KEEL_SPACE_ACTS, "dqn");
    keel_err error = {0};
    w.config.learning_rate = 5;
    w.config.td_loss = KEEL_TD_HALF_SQUARE;
    w.config.divergence_margin = 1;
    assert_int_equal(train(&w, "policy", NULL, 1, &error), KEEL_E_DIVERGED);
    assert_non_null(strstr(error.where, "step"));
    assert_non_null(strstr(error.hint, "learning_rate"));
    assert_false(keel_file_exists(scratch_path(w.folder, "policy")));
    close_world(&w);
}

static void every_learner_set_up_to_diverge_stops_with_its_last_good_checkpoint(void **state) {
    (void)state;
    for (int which = 0; which < KEEL_N_LEARNERS + 1; ++which) { /* the last: cql, conditioned */
        int algorithm = which == KEEL_N_LEARNERS ? 0 : which;
        keel_err error = {0};
        world w = open_world("train-each-diverged", KEEL_SPACE_ACTS, keel_algorithms[algorithm]);
        w.config.conditioned = which == KEEL_N_LEARNERS;
        w.config.hidden = (keel_int_list){2, {256, 256}};
        w.config.steps = 400;
        w.config.gamma = 0.5; /* returns within 2 */
        w.config.keep_top = 100;
        w.config.checkpoint_every = 1;
        keel_learner_set(&w.config, "lagrange_threshold", "0", NULL); /* where it is a key */
        w.config.learning_rate *= 100;
        w.config.divergence_margin = 1;
        if (train(&w, "policy", NULL, 1, &error) != KEEL_E_DIVERGED)
            fail_msg("%s: %s", keel_algorithms[algorithm], error.message);
        assert_non_null(strstr(error.hint, "learning_rate"));
        assert_false(keel_file_exists(scratch_path(w.folder, "policy")));
        assert_true(keel_file_exists(scratch_path(w.folder, ".policy.checkpoint")));
        close_world(&w);
    }
}

static void a_multiplier_out_of_hand_stops_the_run(void **state) {
    (void)state;
    keel_err error = {0};
    world w = open_world("train-multiplier", KEEL_SPACE_ACTS, "cql-lagrange");
    MUST(keel_learner_set(&w.config, "lagrange_start", "8", err)); /* e^8 = 2981 */
    assert_int_equal(train(&w, "policy", NULL, 1, &error), KEEL_E_DIVERGED);
    assert_non_null(strstr(error.message, "the multiplier is 2980.96, expected up to 2000"));
    close_world(&w);
}

static void a_base_encodes_what_it_has_not_encoded_yet(void **state) {
    (void)state;
    world w = open_world("train-features", KEEL_SPACE_ACTS, "cql");
    size_t missing = 0;
    w.base.hash[0] = 'z';
    MUST(keel_store_missing_features(w.store, w.base.hash, NULL, &missing, err));
    assert_true(missing > 0);
    MUST(train(&w, "policy", NULL, 1, err));
    MUST(keel_store_missing_features(w.store, w.base.hash, NULL, &missing, err));
    assert_int_equal(missing, 0);
    close_world(&w);
}

static void metrics_name_every_part_of_the_loss(void **state) {
    (void)state;
    world w = open_world("train-metrics", KEEL_SPACE_ACTS, "cql");
    static const char *const names[] = {"step",         "loss",    "td",           "td_accuracy",
                                        "conservative", "q_taken", "gradient_norm"};
    keel_source *reader = NULL;
    size_t lines = 0;
    MUST(train(&w, "policy", "metrics.jsonl", 1, err));
    MUST(keel_source_open(&reader, scratch_path(w.folder, "metrics.jsonl"), err));
    for (;;) {
        char *line;
        size_t length;
        cJSON *json = NULL;
        MUST(keel_source_line(reader, &line, &length, NULL, err));
        if (!line) break;
        MUST(keel_json_parse(line, length, "metrics", &json, err));
        for (size_t i = 0; i < sizeof names / sizeof *names; ++i)
            assert_true(cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(json, names[i])));
        cJSON_Delete(json);
        lines++;
    }
    assert_int_equal(lines, 8); /* 40, 80, ..., 280 and the last step */
    keel_source_close(reader);
    close_world(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_policy_over_acts_prefers_what_paid_and_knows_what_acts_amount_to),
        cmocka_unit_test(a_log_that_tells_nothing_of_safety_gives_no_threshold),
        cmocka_unit_test(a_policy_over_sets_stays_within_its_kl_budget),
        cmocka_unit_test(a_conditioned_policy_spends_its_budget_under_every_weighting),
        cmocka_unit_test(cloning_and_double_dqn_train_from_the_same_code),
        cmocka_unit_test(every_learner_makes_an_artefact_that_loads),
        cmocka_unit_test(the_quantiles_of_an_artefact_come_to_the_mean),
        cmocka_unit_test(a_learned_behaviour_makes_no_artefact),
        cmocka_unit_test(every_learner_set_up_to_diverge_stops_with_its_last_good_checkpoint),
        cmocka_unit_test(a_multiplier_out_of_hand_stops_the_run),
        cmocka_unit_test(divergence_stops_the_run_with_the_step_and_the_bounds),
        cmocka_unit_test(a_base_encodes_what_it_has_not_encoded_yet),
        cmocka_unit_test(the_artefact_names_the_rewards_and_the_build_it_came_from),
        cmocka_unit_test(metrics_name_every_part_of_the_loss),
    };
    interrupt_listen();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
