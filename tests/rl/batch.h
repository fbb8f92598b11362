/* Batches of random transitions and learners to show them to. */
#ifndef KEEL_TESTS_RL_BATCH_H
#define KEEL_TESTS_RL_BATCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/parallel.h"
#include "rl/learn/loss.h"

enum { MAX_ROWS = 64, MAX_SET = 5, DIM = 6 };

/* A batch that owns its memory. */
typedef struct own_batch {
    float state[MAX_ROWS * DIM], next_state[MAX_ROWS * DIM];
    float candidates[MAX_ROWS * MAX_SET * DIM], next_candidates[MAX_ROWS * MAX_SET * DIM];
    float reward[MAX_ROWS * KEEL_N_REWARDS], bootstrap[MAX_ROWS];
    uint8_t present[MAX_ROWS * KEEL_N_REWARDS], usable[MAX_ROWS];
    int32_t action[MAX_ROWS], offsets[MAX_ROWS + 1], next_offsets[MAX_ROWS + 1];
    keel_batch batch;
} own_batch;

static inline void point(own_batch *own, size_t n) {
    own->batch = (keel_batch){.n = n,
                              .state = own->state,
                              .action = own->action,
                              .reward = own->reward,
                              .present = own->present,
                              .bootstrap = own->bootstrap,
                              .usable = own->usable,
                              .next_state = own->next_state,
                              .offsets = own->offsets,
                              .candidates = own->candidates,
                              .next_offsets = own->next_offsets,
                              .next_candidates = own->next_candidates};
}

static inline void fill_normal(keel_rng *rng, float *out, size_t count) {
    for (size_t i = 0; i < count; ++i) out[i] = (float)keel_rng_normal(rng);
}

/* Random transitions; sets of 1 to MAX_SET candidates, `acts` fixed acts. Every third ends its conversation.
 */
static inline void random_batch(own_batch *own, uint64_t seed, size_t n, size_t acts, bool sets) {
    keel_rng rng = keel_rng_named(seed, "test batch", 0);
    memset(own, 0, sizeof *own);
    fill_normal(&rng, own->state, n * DIM);
    fill_normal(&rng, own->next_state, n * DIM);
    fill_normal(&rng, own->candidates, MAX_ROWS * MAX_SET * DIM);
    fill_normal(&rng, own->next_candidates, MAX_ROWS * MAX_SET * DIM);
    fill_normal(&rng, own->reward, n * KEEL_N_REWARDS);
    memset(own->present, 1, sizeof own->present);
    memset(own->usable, 1, sizeof own->usable);
    for (size_t i = 0; i < n; ++i) {
        int32_t size = 1 + (int32_t)keel_rng_below(&rng, MAX_SET),
                next = 1 + (int32_t)keel_rng_below(&rng, MAX_SET);
        own->bootstrap[i] = i % 3 == 0 ? 0 : 1;
        own->offsets[i + 1] = own->offsets[i] + size;
        own->next_offsets[i + 1] = own->next_offsets[i] + (own->bootstrap[i] > 0 ? next : 0);
        own->action[i] = (int32_t)keel_rng_below(&rng, sets ? (uint64_t)size : acts);
    }
    point(own, n);
}

static inline keel_learner_config config_of(const char *preset, const char *algorithm) {
    keel_learner_config config;
    assert_int_equal(keel_learner_preset(preset, algorithm, &config, NULL), KEEL_OK);
    config.batch = MAX_ROWS;
    config.shard_rows = 16;
    config.rate_decay = false; /* the loss alone: nothing random, nothing that fades */
    config.weight_decay = config.dropout = 0;
    return config;
}

static inline void set(keel_learner_config *config, const char *key, const char *text) {
    keel_err err = {0};
    if (keel_learner_set(config, key, text, &err) != KEEL_OK) fail_msg("%s", err.message);
}

static inline keel_qnet_shape shape_of(const keel_learner_config *config, bool sets, size_t acts,
                                       size_t critics) {
    return (keel_qnet_shape){.space = sets ? KEEL_SPACE_CANDIDATES : KEEL_SPACE_ACTS,
                             .state_dim = DIM,
                             .candidate_dim = sets ? DIM : 0,
                             .n_acts = sets ? 0 : acts,
                             .heads = config->vector_heads ? KEEL_N_REWARDS : 1,
                             .critics = critics,
                             .hidden = {2, {16, 12}}};
}

static inline keel_pool *open_pool(size_t threads) {
    keel_pool *pool;
    assert_int_equal(keel_pool_open(&pool, threads, NULL), KEEL_OK);
    return pool;
}

static inline keel_loss_parts gradient_of(keel_learner *learner, const own_batch *own) {
    keel_loss_parts parts;
    keel_err err = {0};
    if (keel_learner_gradient(learner, &own->batch, &parts, &err) != KEEL_OK) fail_msg("%s", err.message);
    return parts;
}

static inline keel_loss_parts step_of(keel_learner *learner, const own_batch *own) {
    keel_loss_parts parts;
    keel_err err = {0};
    if (keel_learner_step(learner, &own->batch, &parts, &err) != KEEL_OK) fail_msg("%s", err.message);
    return parts;
}

#endif
