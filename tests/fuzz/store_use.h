/* Uses a store that may hold anything: reads all of it, samples from it, and writes into it. */
#ifndef KEEL_TESTS_FUZZ_STORE_USE_H
#define KEEL_TESTS_FUZZ_STORE_USE_H

#define FUZZ_SQLITE

#include "datasets/sampler.h"
#include "rewards/reward.h"
#include "store_walk.h"

#define FUZZ_BASE_HASH "b"

/* Rewards and transitions of a conversation as it was read. */
static inline void fuzz_reward(const keel_conversation *conversation) {
    keel_reward_config config = {0};
    size_t room = keel_reward_count_taken(conversation);
    keel_transition *transitions = calloc(room + 1, sizeof *transitions);
    FUZZ_CHECK(transitions && keel_options_defaults(keel_reward_options, &config, &fuzz_err) == KEEL_OK);
    size_t n = keel_reward_transitions(&config, conversation, transitions);
    FUZZ_CHECK(n <= room);
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < KEEL_N_REWARDS; k++) FUZZ_CHECK(fabsf(transitions[i].reward.value[k]) <= 1);
    free(transitions);
}

static inline void fuzz_check_batch(const keel_batch *batch, const keel_sampler_config *config) {
    for (size_t i = 0; i < batch->n; i++) {
        size_t set = config->space == KEEL_SPACE_CANDIDATES
                         ? (size_t)(batch->offsets[i + 1] - batch->offsets[i])
                         : config->n_acts;
        FUZZ_CHECK(batch->action[i] >= 0 && (size_t)batch->action[i] < set);
        for (size_t k = 0; k < config->state_dim; k++)
            FUZZ_CHECK(isfinite(batch->state[i * config->state_dim + k]));
        for (int k = 0; k < KEEL_N_REWARDS; k++)
            FUZZ_CHECK(fabsf(batch->reward[i * KEEL_N_REWARDS + (size_t)k]) <= 1);
    }
}

static inline void fuzz_sample(keel_store *store, keel_action_space space) {
    static const char *const acts[] = {"answer", "refuse", "x"};
    keel_sampler_config config = {.base_hash = FUZZ_BASE_HASH,
                                  .space = space,
                                  .acts = acts,
                                  .n_acts = space == KEEL_SPACE_CANDIDATES ? 0 : 3,
                                  .state_dim = 2,
                                  .candidate_dim = space == KEEL_SPACE_CANDIDATES ? 2 : 0,
                                  .batch = 4,
                                  .cache_bytes = 256,
                                  .seed = 1};
    keel_sampler *sampler = NULL;
    keel_batch batch;
    if (!fuzz_ok(keel_sampler_open(&sampler, store, NULL, &config, &fuzz_err))) return;
    for (uint64_t step = 0; step < 2; step++)
        if (fuzz_ok(keel_sampler_draw(sampler, step, &batch, &fuzz_err))) fuzz_check_batch(&batch, &config);
    if (fuzz_ok(keel_sampler_read(sampler, 0, &batch, &fuzz_err))) fuzz_check_batch(&batch, &config);
    keel_sampler_close(sampler);
}

static inline void fuzz_write(keel_store *store) {
    keel_turn turn = {.role = KEEL_ROLE_USER, .text = "Hi"};
    keel_conversation conversation = {
        .source = "chat", .external_id = "1", .completed = KEEL_UNKNOWN, .n_turns = 1, .turns = &turn};
    keel_added added;
    if (!fuzz_ok(keel_store_begin(store, &fuzz_err))) return;
    (void)fuzz_ok(keel_store_add_conversation(store, &conversation, true, "new:1", &added, &fuzz_err));
    (void)fuzz_ok(
        keel_store_put_label(store, 1, KEEL_OUTCOME_REFUSAL, KEEL_AUTHORITY_RULE, "rule", 1, &fuzz_err));
    if (!fuzz_ok(keel_store_commit(store, &fuzz_err))) keel_store_rollback(store);
}

static inline void fuzz_use_store_read(const char *path) {
    keel_store *store = NULL;
    if (fuzz_ok(keel_store_open(&store, path, KEEL_STORE_READ, &fuzz_err))) {
        fuzz_walk_store(store, fuzz_reward);
        fuzz_query_store(store);
        fuzz_sample(store, KEEL_SPACE_CANDIDATES);
        fuzz_sample(store, KEEL_SPACE_ACTS);
        fuzz_sample(store, KEEL_SPACE_OUTCOMES);
    }
    keel_store_close(store);
}

static inline void fuzz_use_store_write(const char *path) {
    keel_store *store = NULL;
    if (fuzz_ok(keel_store_open(&store, path, KEEL_STORE_WRITE, &fuzz_err))) fuzz_write(store);
    keel_store_close(store);
}

static inline void fuzz_use_store(const char *path) {
    fuzz_use_store_read(path);
    fuzz_use_store_write(path);
}

#endif
