/* Offline learners over one frame: one block of parameters that may hold several networks, targets by one of
 * a few rules, masks, named loss parts. What each algorithm computes is in its own file in this folder;
 * rl/learn/learners.h lists them. Conservative Q-learning (Kumar et al. 2020, CQL(H), discrete), for one:
 *
 *   L = td_weight * sum_k TD_k + alpha * mean[ logsumexp_a Q_w(s, a) - Q_w(s, a_taken) ]   (reference
 * offline-rl 2.1, G1)
 */
#ifndef KEEL_RL_LEARN_LEARNER_H
#define KEEL_RL_LEARN_LEARNER_H

#include "core/options.h"
#include "core/sharded_step.h"
#include "datasets/sampler.h"
#include "policies/qnet.h"
#include "rl/learn/learners.h"

typedef enum keel_td_loss { KEEL_TD_HUBER, KEEL_TD_HALF_SQUARE, KEEL_TD_SQUARE } keel_td_loss;
typedef enum keel_ensemble { KEEL_ENSEMBLE_MIN, KEEL_ENSEMBLE_MEAN } keel_ensemble;
typedef enum keel_cloning { KEEL_CLONE_EXP, KEEL_CLONE_BINARY } keel_cloning;
typedef enum keel_support { KEEL_SUPPORT_BASE, KEEL_SUPPORT_LEARNED } keel_support;

typedef struct keel_learner_config {
    int algorithm;     /* keel_algorithm */
    double alpha;      /* weight of the conservative term; 0 for dqn, 1 for bc */
    bool double_q;     /* the next action is chosen by the online network, not by the target network itself */
    int ensemble;      /* keel_ensemble: what targets take over critics */
    int64_t quantiles; /* of the return's distribution, each head; 1: its mean alone */
    double lagrange_threshold,
        lagrange_start;               /* cql-lagrange: gap to hold; log of the multiplier at step 0 */
    double expectile;                 /* iql, ilql */
    int cloning;                      /* awac: keel_cloning */
    double temperature, weight_limit; /* awac: exp(advantage / temperature), at most the limit */
    double support;                   /* bcq: least share of the most probable action's probability */
    int support_by;                   /* bcq: keel_support */
    int64_t n_step;                   /* rewards summed before the target bootstraps */
    double keep_top; /* percent of the conversations that are learned from, by their return */
    double gamma;    /* discount */
    double tau; /* Polyak factor of the target network each step; 1 with target_interval for hard copies */
    int64_t target_interval; /* 0: Polyak every step; n > 0: hard copy after step 1, n+1, 2n+1, ... as d3rlpy
                                does */
    int td_loss;             /* keel_td_loss */
    bool vector_heads;       /* one head per reward component, or one for the composite */
    double weight[KEEL_N_REWARDS]; /* composite weights */
    bool conditioned; /* one policy for many weightings: weights are drawn for each transition, and an
                         input (rl/learn/reward_conditioning.h) */
    double concentration[KEEL_N_REWARDS]; /* of the Dirichlet distribution that they are drawn from */
    int64_t batch, steps;
    int64_t critics; /* networks */
    keel_int_list hidden;
    double learning_rate, adam_epsilon, weight_decay, clip_norm, dropout;
    bool rate_decay; /* the step size falls linearly to 0 over the steps */
    int64_t seed;
    int64_t shard_rows; /* rows of a batch one shard works on; part of the result, so recorded */
    int64_t log_every, checkpoint_every;
    double divergence_margin; /* guard: |Q of logged actions| may exceed the return bounds by this factor */
    double kl_budget; /* mean KL(pi || pi_base) allowed when beta is solved for; 0: beta given below */
    double beta;      /* used when kl_budget is 0 */
    double beta_limit;
    double safety_floor;
} keel_learner_config;
extern const keel_option keel_learner_options[];

/* Defaults of an algorithm under a preset: "keel", or the settings of a peer to the last one
 * (rl/learn/learner_config.c), for the algorithms that it has; KEEL_E_USAGE for others. */
extern const char *const keel_presets[];
keel_status keel_learner_preset(const char *preset, const char *algorithm, keel_learner_config *out,
                                keel_err *err);

/* Parts of one step's loss, means over the batch. */
typedef struct keel_loss_parts {
    double total, td, td_head[KEEL_N_REWARDS], conservative;
    double value, policy; /* of the value network (iql), of the actor (awac, bcq) */
    double multiplier;    /* of the conservative term (cql-lagrange); else 1 */
    double q_taken;       /* mean Q_w of logged actions */
    double q_others;      /* mean over the set of Q_w */
    double q_low, q_high; /* extremes of Q_w of logged actions */
    double gradient_norm;
} keel_loss_parts;

typedef struct keel_learner {
    keel_learner_config config;
    const keel_learner_kind *kind;
    keel_params params; /* of all networks: one block for optimizer, shards and checkpoints */
    keel_qnet net;      /* over it: Q, or log pi for bc */
    keel_qnet value;    /* V, one output a head; without parameters where the algorithm has none */
    keel_qnet actor;    /* log pi, likewise */
    size_t multiplier;  /* place of log of the Lagrange multiplier in the block, likewise 0 */
    float *target;      /* target parameters, laid out as the block */
    float *grads;       /* of the last batch, likewise; the work's own */
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
/* The network that the policy is made of: the actor where there is one to act, or else net. */
const keel_qnet *keel_learner_acting(const keel_learner *learner);
/* What the conservative term is multiplied by: exp of the parameter, at most 1e6 (cql-lagrange); else 1. */
double keel_learner_multiplier(const keel_learner *learner);
/* Share of output h (of K heads of N quantiles) in Q_w of a row of the batch. */
double keel_learner_mix(const keel_learner *learner, const keel_batch *batch, size_t row, size_t h);
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
