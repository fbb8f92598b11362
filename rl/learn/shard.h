/* Inside of the learner: what one shard of a batch works with. Letters: n rows (transitions) of the shard, R
 * rows of the network's input (n in fixed action spaces, all candidates of the n sets else). */
#ifndef KEEL_RL_LEARN_SHARD_H
#define KEEL_RL_LEARN_SHARD_H

#include "rl/learn/learner.h"

/* What one shard works with; planned once, reused each step. */
typedef struct keel_shard {
    keel_tape *tape;      /* records the forward pass on s */
    keel_tape *frozen;    /* forward only, on s' */
    keel_arena arena;     /* input rows, targets */
    float *grads;         /* gradient block, laid out as the parameters */
    keel_loss_parts sums; /* sums over the shard's rows; q_low, q_high extremes */
} keel_shard;

/* Rows first .. first+n-1 of one side of a batch as the network takes them. */
typedef struct keel_shard_input {
    const float *x; /* [rows, input_dim] */
    size_t rows;
    const int32_t *offsets; /* [n+1] from 0; NULL in fixed action spaces */
} keel_shard_input;

/* What the rows of each decision share, [n, value.input_dim]: what the value network sees; zeros for empty
 * sets. NULL when out of memory. */
const float *keel_shard_shared(const keel_learner *learner, const keel_shard_input *input, size_t n,
                               keel_arena *arena);

/* KEEL_E_NOMEM is the only failure. */
keel_status keel_shard_input_make(const keel_qnet *net, const float *state, const float *candidates,
                                  const int32_t *offsets, const int32_t *own, size_t first, size_t n,
                                  keel_arena *arena, keel_shard_input *out, keel_err *err);

#endif
