/* Inside of the learner: targets and loss of one shard of a batch. Letters: n rows (transitions) of the
 * shard, R rows of the network's input (n in fixed action spaces, all candidates of the n sets else), K
 * heads, A acts. */
#ifndef KEEL_RL_LEARN_LOSS_H
#define KEEL_RL_LEARN_LOSS_H

#include "rl/learn/learner.h"

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

/* One shard's loss while it is put together. */
typedef struct keel_loss {
    const keel_learner *learner;
    const keel_batch *batch;
    size_t first, n;
    keel_loss_shard *shard;
    keel_loss_input here;
    keel_tensor *x;          /* its rows on the tape */
    const int32_t *taken;    /* [n] act, or row of x that was taken */
    const float *y, *weight; /* [n, K*N], [n, K]: targets; NULL where no Q is learned */
    keel_rng *rng;           /* of dropout */
    keel_tensor *td;         /* scalar; NULL where no Q is learned */
    keel_tensor **q;         /* [critics] of [n, K*N*A] or [R, K*N] */
    keel_tensor **q_taken;   /* [critics] of [n, K*N] */
    keel_tensor *q_w;        /* of the critics' mean, [n, A] or [R, 1] */
    keel_tensor *q_w_taken;  /* [n, 1] */
    keel_tensor *logsumexp;  /* [n, 1]: of q_w over the action set */
    keel_tensor *gap;        /* [n, 1]: of the conservative term, where each critic has its own; else NULL */
} keel_loss;

/* What the rows of each decision share, [n, value.input_dim]: what the value network sees; zeros for empty
 * sets. NULL when out of memory. */
const float *keel_loss_shared(const keel_learner *learner, const keel_loss_input *input, size_t n,
                              keel_arena *arena);

/* KEEL_E_NOMEM is the only failure of both. */
keel_status keel_loss_input_make(const keel_qnet *net, const float *state, const float *candidates,
                                 const int32_t *offsets, size_t first, size_t n, keel_arena *arena,
                                 keel_loss_input *out, keel_err *err);
/* y[n, K*N] = r + gamma bootstrap V(s'), V by the algorithm's rule: Qbar_k of one action, of the actor's in
 * expectation, or the value network's; under a given policy (batch->next_pi) sum_a pi(a|s') Qbar_k(s', a).
 * Qbar is the target critics' minimum or mean, the one action the argmax over A(s') of mean over critics of
 * Q_w. weight[n, K]: 1 where the component is present and the transition usable, else 0. Next states that do
 * not count are not looked at. In shard->arena. */
keel_status keel_target_make(const keel_learner *learner, const keel_batch *batch, size_t first, size_t n,
                             keel_loss_shard *shard, const float **y, const float **weight, keel_err *err);
/* What the target critics amount to at one place of their outputs: their minimum or mean. */
float keel_target_ensemble(const keel_learner *learner, keel_tensor *const *critics, size_t place);
/* Q of all critics for rows x by the block `params`, without gradients, into out [critics]. */
bool keel_target_forward(const keel_learner *learner, const float *params, keel_tape *tape, keel_tensor *x,
                         keel_tensor **out);
/* Loss of rows first .. first+n-1, divided by the whole batch's size, its gradient into shard->grads and its
 * parts into shard->sums. */
keel_status keel_loss_run(const keel_learner *learner, const keel_batch *batch, size_t first, size_t n,
                          keel_loss_shard *shard, keel_err *err);

/* ---- what algorithms put their loss together from ---- */

/* factor * sum(logsumexp - q_w_taken) / batch size: the conservative term, or all of cloning. */
keel_tensor *keel_loss_conservative(keel_loss *l, double factor);
/* A loss worked out elsewhere: a scalar whose gradient by x is `slopes`, laid out as x; its value means
 * nothing. */
keel_tensor *keel_loss_given(keel_loss *l, keel_tensor *x, const float *slopes);
/* Quantile regression of one critic's [n, K*N] (rl/learn/loss_quantile.c). */
keel_tensor *keel_loss_quantiles(keel_loss *l, keel_tensor *taken);
/* The actor's logits on s, [n, A] or [R, 1]; and their cross-entropy with the acts taken, weighted [n] (NULL:
 * ones). */
keel_tensor *keel_loss_actor(keel_loss *l);
keel_tensor *keel_loss_clone(keel_loss *l, keel_tensor *logits, const float *weight);
/* alpha must be 0. */
keel_status keel_loss_check_no_alpha(const keel_learner_config *config, keel_err *err);

#endif
