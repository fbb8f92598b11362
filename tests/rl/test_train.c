/* Training from store to artefact: the same bytes whatever the threads and interruptions, and clear ends. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/file.h"
#include "core/json.h"
#include "core/options_internal.h"
#include "core/pcg.h"
#include "core/source.h"
#include "policies/encode_store.h"
#include "policies/policy_internal.h"
#include "rl/fixture.h"
#include "rl/learn/learners.h"
#include "rl/train/train.h"
#include "support/interrupt.h"

/* Tasks of two decisions over acts: act2 earns most, the log mostly takes act0. */
static void add_tasks(keel_store *store, size_t count) {
    keel_rng rng = keel_rng_named(1, "tasks", 0);
    for (size_t i = 0; i < count; ++i) {
        const char *const users[] = {i % 2 ? "u1" : "u2", "u3"};
        const char *act[2];
        char id[16];
        bool dangerous = i % 5 == 4;
        for (size_t d = 0; d < 2; ++d)
            act[d] = fixture_acts[keel_rng_below(&rng, 8) < 5 ? 0 : 1 + keel_rng_below(&rng, 2)];
        keel_candidate candidates[2];
        /* act1 is a refusal three times out of four, act0 once in seven. */
        bool refuses[3] = {i % 7 == 0, i % 4 != 0, false};
        for (size_t d = 0; d < 2; ++d)
            candidates[d] = (keel_candidate){.act = act[d],
                                             .taken = true,
                                             .outcome = refuses[act[d][3] - '0'] ? KEEL_OUTCOME_REFUSAL
                                                                                 : KEEL_OUTCOME_COMPLIANCE,
                                             .judge = KEEL_AUTHORITY_HUMAN};
        snprintf(id, sizeof id, "t%03zu", i);
        bool done = act[0] == fixture_acts[2] || act[1] == fixture_acts[2];
        fixture_add(store, id, dangerous ? KEEL_RISK_DANGEROUS : KEEL_RISK_BENIGN,
                    dangerous ? KEEL_UNKNOWN
                    : done    ? KEEL_YES
                              : KEEL_NO,
                    users, 2, candidates, 1);
    }
}

/* Prompts with three candidates each, all taken once or not at all; the best ends in 3. */
static void add_prompts(keel_store *store, size_t count, keel_risk risk) {
    keel_rng rng = keel_rng_named(2, "prompts", 0);
    for (size_t i = 0; i < count; ++i) {
        const char *user = i % 2 ? "u1" : "u2";
        char id[16], text[3][16];
        keel_candidate candidates[3];
        for (size_t c = 0; c < 3; ++c) {
            size_t digit = 1 + c;
            snprintf(text[c], sizeof text[c], "answer %zu", digit);
            candidates[c] = (keel_candidate){.text = text[c],
                                             .taken = keel_rng_below(&rng, 3) > 0,
                                             .feedback = {true, digit == 3 ? 1 : -0.5}};
        }
        candidates[0].taken = true;
        snprintf(id, sizeof id, "p%03zu", i);
        fixture_add(store, id, risk, KEEL_UNKNOWN, &user, 1, candidates, 3);
    }
}

typedef struct world {
    char folder[256];
    keel_store *store;
    keel_base base;
    keel_reward_config rewards;
    keel_learner_config config;
    bool keeps; /* does not write over what another run made */
} world;

/* risk: of prompts; tasks have each their own. */
static world open_world_of(const char *name, keel_action_space space, const char *algorithm, keel_risk risk) {
    world w = {.base = fixture_base(space)};
    keel_pool *pool = NULL;
    w.store = fixture_store(name);
    snprintf(w.folder, sizeof w.folder, "scratch-%s", name);
    if (space == KEEL_SPACE_CANDIDATES)
        add_prompts(w.store, 60, risk);
    else
        add_tasks(w.store, 60);
    fixture_derive(w.store);
    MUST(keel_pool_open(&pool, 1, err));
    MUST(keel_encode_store(w.store, NULL, &w.base, pool, NULL, err));
    keel_pool_close(pool);
    MUST(keel_options_defaults(keel_reward_options, &w.rewards, err));
    MUST(keel_learner_preset("keel", algorithm, &w.config, err));
    w.config.batch = 32;
    w.config.shard_rows = 12;
    w.config.steps = 300;
    w.config.learning_rate = 3e-3;
    w.config.hidden = (keel_int_list){2, {16, 16}};
    w.config.log_every = 40;
    w.config.checkpoint_every = 50;
    return w;
}

static world open_world(const char *name, keel_action_space space, const char *algorithm) {
    return open_world_of(name, space, algorithm, KEEL_RISK_BENIGN);
}

static void close_world(world *w) {
    keel_store_close(w->store);
}

static keel_status train(const world *w, const char *out, const char *metrics, size_t threads,
                         keel_err *err) {
    keel_pool *pool = NULL;
    keel_split all;
    keel_dual dual = {0};
    const bool moves = keel_learner_kind_of(w->config.algorithm)->dual_step != NULL;
    KEEL_TRY(keel_split_parse("all", &all, err));
    KEEL_TRY(keel_split_cut(&all, "1/5", &dual.part, &dual.rest, err));
    KEEL_TRY(keel_pool_open(&pool, threads, err));
    const keel_train_job job = {.store = w->store,
                                .dual = moves ? &dual : NULL,
                                .base = &w->base,
                                .rewards = &w->rewards,
                                .config = &w->config,
                                .out_dir = scratch_path(w->folder, out),
                                .metrics_path = metrics ? scratch_path(w->folder, metrics) : NULL,
                                .replace = !w->keeps};
    keel_status status = keel_train(&job, pool, err);
    keel_pool_close(pool);
    return status;
}

static void assert_same_file(const char *folder, const char *a, const char *b, const char *name) {
    char path[2][600], hex[2][65];
    snprintf(path[0], sizeof path[0], "%s/%s%s", folder, a, name);
    snprintf(path[1], sizeof path[1], "%s/%s%s", folder, b, name);
    for (size_t i = 0; i < 2; ++i) MUST(keel_file_hash(path[i], hex[i], err));
    assert_string_equal(hex[0], hex[1]);
}

static void assert_same_artefact(const world *w, const char *a, const char *b) {
    assert_same_file(w->folder, a, b, "/model.safetensors");
    assert_same_file(w->folder, a, b, "/config.json");
    assert_same_file(w->folder, a, b, "/keel.json");
}

static keel_policy *load(const world *w, const char *name) {
    keel_policy *policy = NULL;
    MUST(keel_policy_load(&policy, scratch_path(w->folder, name), err));
    return policy;
}

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

/* ---- the same bytes ---- */

static void the_artefact_is_the_same_for_any_number_of_threads(void **state) {
    (void)state;
    world w = open_world("train-threads", KEEL_SPACE_CANDIDATES, "cql");
    MUST(train(&w, "one", "one.jsonl", 1, err));
    MUST(train(&w, "two", "two.jsonl", 2, err));
    MUST(train(&w, "eight", "eight.jsonl", 8, err));
    assert_same_artefact(&w, "one", "two");
    assert_same_artefact(&w, "one", "eight");
    assert_same_file(w.folder, "one.jsonl", "two.jsonl", "");
    w.config.seed = 2;
    MUST(train(&w, "other", NULL, 1, err));
    keel_policy *one = load(&w, "one"), *other = load(&w, "other");
    assert_string_not_equal(one->hash, other->hash);
    keel_policy_close(one);
    keel_policy_close(other);
    close_world(&w);
}

/* Interrupts once the metrics file holds something, wherever training is by then. */
static void *interrupt_soon(void *path) {
    keel_buf text = {0};
    for (int i = 0; i < 20000; ++i) {
        if (keel_file_exists(path) && keel_file_read(path, 0, &text, NULL) == KEEL_OK && text.length > 0)
            break;
        nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
    }
    keel_buf_free(&text);
    interrupt_set(true);
    return NULL;
}

static void interrupt_run(const world *w, const char *out, const char *metrics) {
    keel_err error = {0};
    pthread_t thread;
    char path[512];
    snprintf(path, sizeof path, "%s/%s", w->folder, metrics);
    assert_int_equal(pthread_create(&thread, NULL, interrupt_soon, path), 0);
    assert_int_equal(train(w, out, metrics, 2, &error), KEEL_E_INTERRUPTED);
    pthread_join(thread, NULL);
    interrupt_set(false);
    assert_non_null(strstr(error.hint, "again"));
}

static void check_interrupted(bool conditioned) {
    world w = open_world("train-resume", KEEL_SPACE_ACTS, "cql");
    w.config.conditioned = conditioned;
    w.config.steps = 6000;
    w.config.log_every = 70;
    MUST(train(&w, "whole", "whole.jsonl", 2, err));
    interrupt_run(&w, "parts", "parts.jsonl");
    assert_true(keel_file_exists(scratch_path(w.folder, ".parts.checkpoint")));
    assert_false(keel_file_exists(scratch_path(w.folder, "parts")));
    MUST(train(&w, "parts", "parts.jsonl", 1, err));
    assert_same_artefact(&w, "whole", "parts");
    assert_same_file(w.folder, "whole.jsonl", "parts.jsonl", "");
    assert_false(keel_file_exists(scratch_path(w.folder, ".parts.checkpoint")));
    close_world(&w);
}

static void an_interrupted_run_goes_on_to_the_same_bytes(void **state) {
    (void)state;
    check_interrupted(false);
    check_interrupted(true);
}

/* The multiplier moves in every step, and asks at every conversation: most of these lie within a move. */
static void an_interruption_within_a_move_of_the_multiplier_changes_no_byte(void **state) {
    (void)state;
    world w = open_world("train-move", KEEL_SPACE_ACTS, "cql-constrained");
    keel_status status = KEEL_E_INTERRUPTED;
    int interrupted = 0;
    w.config.steps = 14;
    w.config.checkpoint_every = 3;
    w.config.log_every = 4;
    MUST(train(&w, "whole", "whole.jsonl", 1, err));
    for (long at = 4; status == KEEL_E_INTERRUPTED; at += 5) {
        keel_err error = {0};
        interrupt_at(at);
        status = train(&w, "parts", "parts.jsonl", 1, &error);
        interrupt_at(0);
        interrupt_set(false);
        interrupted += status == KEEL_E_INTERRUPTED;
        MUST(train(&w, "parts", "parts.jsonl", 1, err));
        assert_same_artefact(&w, "whole", "parts");
        assert_same_file(w.folder, "whole.jsonl", "parts.jsonl", "");
    }
    assert_int_equal(status, KEEL_OK);
    assert_true(interrupted > 10);
    close_world(&w);
}

static void a_killed_run_goes_on_to_the_same_bytes(void **state) {
    (void)state;
    world w = open_world("train-kill", KEEL_SPACE_ACTS, "cql");
    w.config.steps = 3000;
    w.config.log_every = w.config.checkpoint_every =
        50; /* a line of metrics at the very step of a checkpoint */
    MUST(train(&w, "whole", "whole.jsonl", 1, err));
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        keel_store *store = NULL; /* a handle does not cross a fork */
        if (keel_store_open(&store, scratch_path(w.folder, "logs.keel"), KEEL_STORE_READ, NULL) != KEEL_OK)
            _exit(1);
        w.store = store;
        keel_err error = {0};
        _exit(train(&w, "parts", "parts.jsonl", 1, &error) == KEEL_OK ? 0 : 1);
    }
    for (int i = 0; i < 20000 && !keel_file_exists(scratch_path(w.folder, ".parts.checkpoint")); ++i)
        nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
    kill(child, SIGKILL);
    int how;
    waitpid(child, &how, 0);
    MUST(train(&w, "parts", "parts.jsonl", 2, err));
    assert_same_artefact(&w, "whole", "parts");
    assert_same_file(w.folder, "whole.jsonl", "parts.jsonl", "");
    close_world(&w);
}

/* ---- checkpoints of something else ---- */

static void a_checkpoint_of_another_configuration_is_not_gone_on_from(void **state) {
    (void)state;
    world w = open_world("train-other", KEEL_SPACE_ACTS, "cql");
    w.config.steps = 4000;
    MUST(train(&w, "whole", NULL, 1, err));
    MUST(keel_learner_set(&w.config, "alpha", "0.7", err));
    interrupt_run(&w, "parts", "parts.jsonl");
    MUST(keel_learner_set(&w.config, "alpha", "0.1", err));
    MUST(train(&w, "parts", NULL, 1, err));
    assert_same_artefact(&w, "whole", "parts");
    close_world(&w);
}

static void reward_turns(world *w, double turn_cost) {
    w->rewards.turn_cost = turn_cost;
    fixture_derive_under(w->store, &w->rewards);
}

static void a_run_stopped_under_other_rewards_is_not_gone_on_from(void **state) {
    (void)state;
    world w = open_world("train-rewards", KEEL_SPACE_ACTS, "cql");
    w.config.steps = 4000;
    reward_turns(&w, 0.5);
    MUST(train(&w, "whole", NULL, 1, err));
    reward_turns(&w, 0.1);
    interrupt_run(&w, "parts", "parts.jsonl");
    assert_true(keel_file_exists(scratch_path(w.folder, ".parts.checkpoint")));
    reward_turns(&w, 0.5);
    MUST(train(&w, "parts", NULL, 1, err));
    assert_same_artefact(&w, "whole", "parts");
    close_world(&w);
}

static cJSON *lineage_of(const world *w, const char *out) {
    char path[64];
    cJSON *manifest = NULL;
    snprintf(path, sizeof path, "%s/keel.json", out);
    MUST(keel_json_parse_file(scratch_path(w->folder, path), &manifest, err));
    cJSON *lineage = cJSON_DetachItemFromObjectCaseSensitive(manifest, "lineage");
    cJSON_Delete(manifest);
    assert_non_null(lineage);
    return lineage;
}

static const char *text_of(const cJSON *object, const char *key) {
    const cJSON *item = keel_json_get(object, key);
    assert_true(cJSON_IsString(item));
    return item->valuestring;
}

static void the_artefact_names_the_rewards_and_the_build_it_came_from(void **state) {
    (void)state;
    world w = open_world("train-lineage", KEEL_SPACE_ACTS, "cql");
    cJSON *lineage[2], *rewards;
    w.config.steps = 20;
    for (size_t i = 0; i < 2; ++i) {
        static const char *const outs[] = {"one", "two"};
        char hash[65];
        w.rewards.target_ms = i ? 5000 : 300;
        MUST(train(&w, outs[i], NULL, 1, err));
        lineage[i] = lineage_of(&w, outs[i]);
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
    for (size_t i = 0; i < 2; ++i) cJSON_Delete(lineage[i]);
    close_world(&w);
}

/* ---- what another run made ---- */

static void what_another_run_made_is_written_over_only_when_asked(void **state) {
    (void)state;
    world w = open_world("train-replace", KEEL_SPACE_ACTS, "cql");
    keel_err error = {0};
    char before[65], after[65];
    w.config.steps = 20;
    w.keeps = true;
    MUST(train(&w, "policy", NULL, 1, err));
    MUST(train(&w, "same", NULL, 1, err));
    MUST(train(&w, "policy", NULL, 2, err)); /* the same run again */
    assert_same_artefact(&w, "policy", "same");
    MUST(keel_file_hash(scratch_path(w.folder, "policy/keel.json"), before, err));
    MUST(keel_learner_set(&w.config, "alpha", "0.7", err));
    w.rewards.target_ms = 300;
    assert_int_equal(train(&w, "policy", NULL, 1, &error), KEEL_E_CONFLICT);
    assert_non_null(strstr(error.message, "holds a policy (cql)"));
    assert_non_null(strstr(error.message, "alpha (0.1, here 0.7)"));
    assert_non_null(strstr(error.message, "rewards.target_ms (2000, here 300)"));
    assert_non_null(strstr(error.hint, "--replace"));
    MUST(keel_file_hash(scratch_path(w.folder, "policy/keel.json"), after, err));
    assert_string_equal(before, after);
    assert_false(keel_file_exists(scratch_path(w.folder, ".policy.checkpoint")));
    w.keeps = false;
    MUST(train(&w, "policy", NULL, 1, err));
    MUST(keel_file_hash(scratch_path(w.folder, "policy/keel.json"), after, err));
    assert_string_not_equal(before, after);
    close_world(&w);
}

static void each_input_of_a_run_makes_another_identity(void **state) {
    (void)state;
    world w = open_world("train-identity", KEEL_SPACE_ACTS, "cql");
    enum { N = 5 };
    char identity[N][65];
    w.config.steps = 5;
    for (size_t i = 0; i < N; ++i) {
        const world usual = w;
        const char *user = "u1";
        keel_candidate one = {.act = fixture_acts[0], .taken = true};
        if (i == 1) MUST(keel_learner_set(&w.config, "alpha", "0.7", err));
        if (i == 2) w.config.seed = 2;
        if (i == 3) w.rewards.turn_cost = 0.25;
        if (i == 4) fixture_add(w.store, "more", KEEL_RISK_BENIGN, KEEL_UNKNOWN, &user, 1, &one, 1);
        MUST(train(&w, "policy", NULL, 1, err));
        cJSON *lineage = lineage_of(&w, "policy");
        snprintf(identity[i], sizeof identity[i], "%s", text_of(lineage, "identity"));
        cJSON_Delete(lineage);
        for (size_t k = 0; k < i; ++k) assert_string_not_equal(identity[i], identity[k]);
        w = usual;
    }
    close_world(&w);
}

static void a_damaged_checkpoint_is_an_error_that_names_it(void **state) {
    (void)state;
    world w = open_world("train-damaged", KEEL_SPACE_ACTS, "cql");
    keel_err error = {0};
    MUST(keel_file_write(scratch_path(w.folder, ".policy.checkpoint"), "nonsense", 8, err));
    assert_int_not_equal(train(&w, "policy", NULL, 1, &error), KEEL_OK);
    assert_non_null(strstr(error.where, ".policy.checkpoint"));
    assert_false(keel_file_exists(scratch_path(w.folder, "policy")));
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
        cmocka_unit_test(the_artefact_is_the_same_for_any_number_of_threads),
        cmocka_unit_test(an_interrupted_run_goes_on_to_the_same_bytes),
        cmocka_unit_test(an_interruption_within_a_move_of_the_multiplier_changes_no_byte),
        cmocka_unit_test(a_killed_run_goes_on_to_the_same_bytes),
        cmocka_unit_test(a_checkpoint_of_another_configuration_is_not_gone_on_from),
        cmocka_unit_test(a_damaged_checkpoint_is_an_error_that_names_it),
        cmocka_unit_test(divergence_stops_the_run_with_the_step_and_the_bounds),
        cmocka_unit_test(a_base_encodes_what_it_has_not_encoded_yet),
        cmocka_unit_test(the_artefact_names_the_rewards_and_the_build_it_came_from),
        cmocka_unit_test(a_run_stopped_under_other_rewards_is_not_gone_on_from),
        cmocka_unit_test(what_another_run_made_is_written_over_only_when_asked),
        cmocka_unit_test(each_input_of_a_run_makes_another_identity),
        cmocka_unit_test(metrics_name_every_part_of_the_loss),
    };
    interrupt_listen();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
