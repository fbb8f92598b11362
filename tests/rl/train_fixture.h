/* What is trained from store to artefact in tests: tasks over acts or prompts with candidates, and an
 * artefact of them. */
#ifndef KEEL_TESTS_RL_TRAIN_FIXTURE_H
#define KEEL_TESTS_RL_TRAIN_FIXTURE_H

#include "core/pcg.h"
#include "rl/learn/learners.h"
#include "rl/runs.h"
#include "rl/train/train.h"

/* Tasks of two decisions over acts: act2 earns most, the log mostly takes act0. */
static inline void add_tasks(keel_store *store, size_t count) {
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
static inline void add_prompts(keel_store *store, size_t count, keel_risk risk) {
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
static inline world open_world_of(const char *name, keel_action_space space, const char *algorithm,
                                  keel_risk risk) {
    world w = {.base = fixture_base(space)};
    w.store = fixture_store(name);
    snprintf(w.folder, sizeof w.folder, "scratch-%s", name);
    if (space == KEEL_SPACE_CANDIDATES)
        add_prompts(w.store, 60, risk);
    else
        add_tasks(w.store, 60);
    fixture_derive(w.store);
    run_encode(w.store, &w.base);
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

static inline world open_world(const char *name, keel_action_space space, const char *algorithm) {
    return open_world_of(name, space, algorithm, KEEL_RISK_BENIGN);
}

static inline void close_world(world *w) {
    keel_store_close(w->store);
}

static inline keel_status train(const world *w, const char *out, const char *metrics, size_t threads,
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

static inline void assert_same_artefact(const world *w, const char *a, const char *b) {
    assert_same_file(w->folder, a, b, "/model.safetensors");
    assert_same_file(w->folder, a, b, "/config.json");
    assert_same_file(w->folder, a, b, "/keel.json");
}

static inline keel_policy *load(const world *w, const char *name) {
    keel_policy *policy = NULL;
    MUST(keel_policy_load(&policy, scratch_path(w->folder, name), err));
    return policy;
}

static inline const char *text_of(const cJSON *object, const char *key) {
    const cJSON *item = keel_json_get(object, key);
    assert_true(cJSON_IsString(item));
    return item->valuestring;
}

#endif
