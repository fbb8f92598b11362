/* Offline learners over one frame: one block of parameters that may hold several networks, targets, masks,
 * named loss parts. What each learner computes, and the options that are its own, are in its file in this
 * folder; rl/learn/learners.h lists them. The frame names none of them. */
#ifndef KEEL_RL_LEARN_LEARNER_H
#define KEEL_RL_LEARN_LEARNER_H

#include "core/sharded_step.h"
#include "datasets/sampler.h"
#include "policies/qnet.h"
#include "rl/learn/learner_config.h"
#include "rl/learn/learners.h"

/* Parts of one step's loss, means over the batch. */
typedef struct keel_loss_parts {
    double total, td, td_head[KEEL_N_REWARDS], conservative;
    double td_cost, conservative_cost; /* of the cost critic */
    double own[KEEL_LEARNER_EXTRAS];   /* the learner's, named in its extras */
    double q_taken;                    /* mean Q_w of logged actions */
    double q_others;                   /* mean over the set of Q_w */
    double q_low, q_high;              /* extremes of Q_w of logged actions */
    double gradient_norm;
} keel_loss_parts;

typedef struct keel_learner {
    keel_learner_config config;
    const keel_learner_kind *kind;
    keel_params params; /* of all networks: one block for optimizer, shards and checkpoints */
    keel_qnet net;      /* over it: Q, or log pi for bc */
    keel_learner_extras extras;
    keel_qnet extra[KEEL_LEARNER_EXTRAS]; /* its networks besides Q, without dropout at targets */
    size_t scalar[KEEL_LEARNER_EXTRAS];   /* places of its single parameters in the block */
    float *target;                        /* target parameters, laid out as the block */
    float *grads;                         /* of the last batch, likewise; the work's own */
    keel_adam adam;
    uint64_t step;                  /* steps done */
    double weight[KEEL_N_REWARDS];  /* effective: components without coverage dropped, the rest rescaled */
    bool covered[KEEL_N_REWARDS];   /* components that were ever logged */
    struct keel_learner_work *work; /* per-shard tapes and gradient blocks, planned once */
} keel_learner;

/* coverage [KEEL_N_REWARDS] (NULL: all present) decides the effective weights. shape is that of a network
 * that is not conditioned: what a conditioned one sees besides is added. */
keel_status keel_learner_open(keel_learner *learner, const keel_learner_config *config,
                              const keel_qnet_shape *shape, const double *coverage, keel_pool *pool,
                              keel_err *err);
void keel_learner_close(keel_learner *learner);
/* The network that the policy is made of: the one of the extras that acts, or else net. */
const keel_qnet *keel_learner_acting(const keel_learner *learner);
/* The composite's weights [KEEL_N_REWARDS] for a row of the batch. */
void keel_learner_weights(const keel_learner *learner, const keel_batch *batch, size_t row, double *weight);
/* Q_w - cost_weight C of an action, whose outputs lie `stride` apart: what the policy maximises. */
double keel_learner_objective(const keel_learner *learner, const double *weight, const float *q,
                              size_t stride);
/* Loss and gradient of one batch into learner->grads, no update. */
keel_status keel_learner_gradient(keel_learner *learner, const keel_batch *batch, keel_loss_parts *parts,
                                  keel_err *err);
/* One optimizer step and target update. */
keel_status keel_learner_step(keel_learner *learner, const keel_batch *batch, keel_loss_parts *parts,
                              keel_err *err);
/* A filter of each shard's gradient (core/sharded_step.h); with shard_rows=1, of each transition's. NULL:
 * none.
 */
void keel_learner_filter(keel_learner *learner, keel_gradient_filter *filter, void *context);

#endif
