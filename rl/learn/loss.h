/* Inside of the learner: the loss of one shard of a batch. Letters: n rows (transitions) of the shard, R rows
 * of the network's input (n in fixed action spaces, all candidates of the n sets else), K heads, with that of
 * the cost where there is one, A acts. */
#ifndef KEEL_RL_LEARN_LOSS_H
#define KEEL_RL_LEARN_LOSS_H

#include "rl/learn/target.h"

/* One shard's loss while it is put together. */
typedef struct keel_loss {
    const keel_learner *learner;
    const keel_batch *batch;
    size_t first, n;
    keel_shard *shard;
    keel_shard_input here;
    keel_tensor *x;          /* its rows on the tape */
    const int32_t *taken;    /* [n] act, or row of x that was taken */
    const float *y, *weight; /* [n, outputs], [n, heads]: targets; NULL where no Q is learned */
    keel_rng *rng;           /* of dropout */
    keel_tensor *td;         /* scalar; NULL where no Q is learned */
    keel_tensor **q;         /* [critics] of [n, K*N*A] or [R, K*N] */
    keel_tensor **q_taken;   /* [critics] of [n, K*N] */
    keel_tensor *q_mean;     /* of the critics */
    keel_tensor *q_w;        /* of the critics' mean, [n, A] or [R, 1] */
    keel_tensor *q_w_taken;  /* [n, 1] */
    keel_tensor *logsumexp;  /* [n, 1]: of q_w over the action set, weighted and calibrated */
    struct {                 /* actions not taken of which a rule says what they earn */
        size_t n;
        int32_t *row, *act; /* [n] row of q; fixed acts: of the shard, and act */
        float *y, *weight;  /* [n, heads] */
        keel_tensor **q;    /* [critics] of [n, heads] */
    } rule;
    keel_tensor *gap; /* [n, 1]: of the conservative term, where each critic has its own; else NULL */
} keel_loss;

/* Loss of rows first .. first+n-1, divided by the whole batch's size, its gradient into shard->grads and its
 * parts into shard->sums. */
keel_status keel_loss_run(const keel_learner *learner, const keel_batch *batch, size_t first, size_t n,
                          keel_shard *shard, keel_err *err);

/* ---- what learners put their loss together from ---- */

/* factor * sum(logsumexp - q_w_taken) / batch size: the conservative term, or all of cloning. */
keel_tensor *keel_loss_conservative(keel_loss *l, double factor);
/* The same with each critic's own term, added up, instead of that of their mean. */
keel_tensor *keel_loss_conservative_each(keel_loss *l, double factor);
/* A loss worked out elsewhere: a scalar whose gradient by x is `slopes`, laid out as x; its value means
 * nothing. */
keel_tensor *keel_loss_given(keel_loss *l, keel_tensor *x, const float *slopes);
/* The cost critic's own term with the shard's other loss (rl/learn/loss_cost.c). */
keel_tensor *keel_loss_with_cost(keel_loss *l, keel_tensor *loss);
/* Of actions' values [n, A] or [R, 1]: those of the acts taken [n, 1]; log sum exp over each decision's. */
keel_tensor *keel_loss_pick(const keel_loss *l, keel_tensor *values, size_t heads);
keel_tensor *keel_loss_logsumexp(const keel_loss *l, keel_tensor *values);
/* Actions of row i, of the whole batch's rows of actions first .. end-1. */
void keel_loss_actions(const keel_loss *l, size_t i, size_t *first, size_t *end);
/* Quantile regression of one critic's [n, K*N] (rl/learn/loss_quantile.c). */
keel_tensor *keel_loss_quantiles(keel_loss *l, keel_tensor *taken);
/* Shape of a network of log pi: Q's, with one output for each action. */
keel_qnet_shape keel_loss_actor_shape(const keel_qnet_shape *q);
/* One of the learner's networks besides Q on x: logits of an actor, [n, A] or [R, 1]. */
keel_tensor *keel_loss_network(keel_loss *l, size_t extra);
/* Cross-entropy of an actor's logits with the acts taken, weighted [n] (NULL: ones); *sum += that of the
 * shard's rows. */
keel_tensor *keel_loss_clone(keel_loss *l, keel_tensor *logits, const float *weight, double *sum);

#endif
