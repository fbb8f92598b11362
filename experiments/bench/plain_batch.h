/* A minibatch of plain steps: fixed acts, and one reward, which stands where accuracy does. For programs that
 * learn from steps in memory rather than from a store. */
#ifndef KEEL_EXPERIMENTS_BENCH_PLAIN_BATCH_H
#define KEEL_EXPERIMENTS_BENCH_PLAIN_BATCH_H

#include <string.h>

#include "rl/learn/learner.h"

typedef struct plain_batch {
    size_t n, dim;
    float *state, *next, *reward, *bootstrap;
    int32_t *action;
    uint8_t *present, *usable;
} plain_batch;

/* Room for n steps of states [dim], in the arena; false when out of memory. */
static inline bool plain_batch_open(plain_batch *b, size_t n, size_t dim, keel_arena *arena) {
    *b = (plain_batch){.n = n,
                       .dim = dim,
                       .state = keel_arena_calloc(arena, n * dim, sizeof(float)),
                       .next = keel_arena_calloc(arena, n * dim, sizeof(float)),
                       .reward = keel_arena_calloc(arena, n * KEEL_N_REWARDS, sizeof(float)),
                       .bootstrap = keel_arena_calloc(arena, n, sizeof(float)),
                       .action = keel_arena_calloc(arena, n, sizeof(int32_t)),
                       .present = keel_arena_calloc(arena, n * KEEL_N_REWARDS, 1),
                       .usable = keel_arena_calloc(arena, n, 1)};
    return b->state && b->next && b->reward && b->bootstrap && b->action && b->present && b->usable;
}

/* Step i. next: the state it led to, NULL at an end. cut: the log breaks off there, so that nothing is known
 * of what came next. */
static inline void plain_batch_put(plain_batch *b, size_t i, const float *state, int32_t action, float reward,
                                   const float *next, bool cut) {
    memcpy(b->state + i * b->dim, state, b->dim * sizeof(float));
    if (next)
        memcpy(b->next + i * b->dim, next, b->dim * sizeof(float));
    else
        memset(b->next + i * b->dim, 0, b->dim * sizeof(float));
    b->action[i] = action;
    b->reward[i * KEEL_N_REWARDS + KEEL_ACCURACY] = reward;
    b->present[i * KEEL_N_REWARDS + KEEL_ACCURACY] = 1;
    b->bootstrap[i] = next != NULL;
    b->usable[i] = !cut;
}

static inline keel_batch plain_batch_view(const plain_batch *b) {
    return (keel_batch){.n = b->n,
                        .state = b->state,
                        .action = b->action,
                        .reward = b->reward,
                        .present = b->present,
                        .bootstrap = b->bootstrap,
                        .usable = b->usable,
                        .next_state = b->next};
}

#endif
