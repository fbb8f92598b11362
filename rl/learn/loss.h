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
/* y[n, K*N] = r + gamma bootstrap V(s'), V by the learner's next_value, or under a given policy
 * (batch->next_pi) sum_a pi(a|s') Qbar_k(s', a). weight[n, K]: 1 where the component is present and the
 * transition usable, else 0. Next states that do not count are not looked at. In shard->arena. */
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

/* ---- what learners put their loss together from ---- */

/* factor * sum(logsumexp - q_w_taken) / batch size: the conservative term, or all of cloning. */
keel_tensor *keel_loss_conservative(keel_loss *l, double factor);
/* The same with each critic's own term, added up, instead of that of their mean. */
keel_tensor *keel_loss_conservative_each(keel_loss *l, double factor);
/* A loss worked out elsewhere: a scalar whose gradient by x is `slopes`, laid out as x; its value means
 * nothing. */
keel_tensor *keel_loss_given(keel_loss *l, keel_tensor *x, const float *slopes);
/* Quantile regression of one critic's [n, K*N] (rl/learn/loss_quantile.c). */
keel_tensor *keel_loss_quantiles(keel_loss *l, keel_tensor *taken);
/* Shape of a network of log pi: Q's, with one output for each action. */
keel_qnet_shape keel_loss_actor_shape(const keel_qnet_shape *q);
/* One of the learner's networks besides Q on x: logits of an actor, [n, A] or [R, 1]. */
keel_tensor *keel_loss_network(keel_loss *l, size_t extra);
/* Cross-entropy of an actor's logits with the acts taken, weighted [n] (NULL: ones); *sum += that of the
 * shard's rows. */
keel_tensor *keel_loss_clone(keel_loss *l, keel_tensor *logits, const float *weight, double *sum);

/* ---- what learners make the value of the next decision from ---- */

/* The next decisions that count, packed. All is in the shard's arena and on its frozen tape. */
typedef struct keel_next {
    const keel_learner *learner;
    const keel_batch *batch;
    size_t first, n; /* rows of the batch */
    keel_loss_shard *shard;
    keel_loss_input input;
    int32_t *place; /* [n] place of a row's next decision in the input; -1: it does not count */
    size_t count;
    keel_tensor *x; /* input on the tape, once somebody asked for it */
} keel_next;

/* Q of all critics by a block of parameters, [critics] of [count, K*N*A] or [R, K*N]; the output of a
 * network besides Q on the same input. NULL when that fails: return keel_next_failed then. */
keel_tensor **keel_next_critics(keel_next *next, const float *params);
keel_tensor *keel_next_network(keel_next *next, size_t extra);
keel_status keel_next_failed(const keel_next *next, keel_err *err);
/* Of row i, whose next decision counts: gamma times its bootstrap; its number of actions. */
double keel_next_factor(const keel_next *next, size_t i);
size_t keel_next_actions(const keel_next *next, size_t i);
/* Row i [actions] of what is laid out like the batch's priors of the next decisions; of an actor's logits
 * (NULL where none counts). */
const float *keel_next_row(const keel_next *next, const float *all, size_t i);
const float *keel_next_logits(const keel_next *next, const keel_tensor *logits, size_t i);
/* y[i] += gamma bootstrap sum_a pi(a) Qbar(s', a); Qbar is the target critics' minimum or mean. */
void keel_next_add_expectation(const keel_next *next, size_t i, keel_tensor *const *qbar, const float *pi,
                               float *y);
/* Double Q-learning (van Hasselt, Guez & Silver 2016): y += gamma bootstrap Qbar(s', a*), a* the argmax over
 * A(s') of the mean over critics of Q_w, by the online network or (double_q false) by Qbar's own. */
keel_status keel_next_best(keel_next *next, float *y, keel_err *err);
/* The same over the actions whose behaviour[i] (log probabilities [actions] up to a constant) is at least
 * `support` times the largest. */
keel_status keel_next_best_of(keel_next *next, const float *const *behaviour, double support, float *y,
                              keel_err *err);

#endif
