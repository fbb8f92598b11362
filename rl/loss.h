/* Inside of the learner: targets and loss of one shard of a batch. Letters: n rows (transitions) of the
 * shard, R rows of the network's input (n in fixed action spaces, all candidates of the n sets else), K
 * heads, A acts. */
#ifndef KEEL_RL_LOSS_H
#define KEEL_RL_LOSS_H

#include "rl/learner.h"

/* What one shard works with; planned once, reused each step. */
typedef struct keel_loss_shard {
    keel_tape *tape;      /* records the forward pass on s */
    keel_tape *frozen;    /* forward only, on s' */
    keel_arena arena;     /* input rows, targets */
    float *grads;         /* gradient block, laid out as the parameters */
    keel_loss_parts sums; /* sums over the shard's rows; q_low, q_high extremes */
} keel_loss_shard;

/* Rows first .. first+n-1 of one side of a batch as the network takes them. */
typedef struct keel_loss_input {
    const float *x; /* [rows, input_dim] */
    size_t rows;
    const int32_t *offsets; /* [n+1] from 0; NULL in fixed action spaces */
} keel_loss_input;

/* KEEL_E_NOMEM is the only failure of both. */
keel_status keel_loss_input_make(const keel_qnet *net, const float *state, const float *candidates,
                                 const int32_t *offsets, size_t first, size_t n, keel_arena *arena,
                                 keel_loss_input *out, keel_err *err);
/* y[n, K] = r + gamma bootstrap min over critics of Qbar_k(s', a*), a* = argmax over A(s') of mean over
 * critics of Q_w online; under a given policy (batch->next_pi) sum_a pi(a|s') min Qbar_k(s', a). weight[n,
 * K]: 1 where the component is present and the transition usable, else 0. Next states that do not count are
 * not looked at. In shard->arena. */
keel_status keel_target_make(const keel_learner *learner, const keel_batch *batch, size_t first, size_t n,
                             keel_loss_shard *shard, const float **y, const float **weight, keel_err *err);
/* Loss of rows first .. first+n-1, divided by the whole batch's size, its gradient into shard->grads and its
 * parts into shard->sums. */
keel_status keel_loss_run(const keel_learner *learner, const keel_batch *batch, size_t first, size_t n,
                          keel_loss_shard *shard, keel_err *err);

#endif
