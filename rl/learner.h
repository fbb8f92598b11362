/* Offline learners over one frame: double-Q targets, masks, named loss parts. Behaviour cloning is the
 * conservative term alone, double DQN is alpha = 0, conservative Q-learning (Kumar et al. 2020, CQL(H),
 * discrete) is both:
 *
 *   L = td_weight * sum_k TD_k + alpha * mean[ logsumexp_a Q_w(s, a) - Q_w(s, a_taken) ]   (reference
 * offline-rl 2.1, G1)
 */
#ifndef KEEL_RL_LEARNER_H
#define KEEL_RL_LEARNER_H

#include "core/optim.h"
#include "core/options.h"
#include "core/parallel.h"
#include "datasets/sampler.h"
#include "policies/qnet.h"

typedef enum keel_algorithm { KEEL_ALGO_CQL, KEEL_ALGO_DQN, KEEL_ALGO_BC } keel_algorithm;
extern const char *const keel_algorithms[]; /* "cql", "dqn", "bc", NULL */
typedef enum keel_td_loss { KEEL_TD_HUBER, KEEL_TD_HALF_SQUARE } keel_td_loss;

typedef struct keel_learner_config {
    int algorithm; /* keel_algorithm */
    double alpha;  /* weight of the conservative term; 0 for dqn, 1 for bc */
    double gamma;  /* discount */
    double tau;    /* Polyak factor of the target network each step; 1 with target_interval for hard copies */
    int64_t target_interval; /* 0: Polyak every step; n > 0: hard copy after step 1, n+1, 2n+1, ... as d3rlpy
                                does */
    int td_loss;             /* keel_td_loss */
    bool vector_heads;       /* one head per reward component, or one for the composite */
    double weight[KEEL_N_REWARDS]; /* composite weights */
    int64_t batch, steps;
    int64_t critics; /* networks; targets take the minimum */
    keel_int_list hidden;
    double learning_rate, weight_decay, clip_norm, dropout;
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

/* Defaults of an algorithm under a preset: "keel" or "d3rlpy" (reference offline-rl 2.1: exact loss, target,
 * defaults). */
extern const char *const keel_presets[];
keel_status keel_learner_preset(const char *preset, const char *algorithm, keel_learner_config *out,
                                keel_err *err);

/* Parts of one step's loss, means over the batch. */
typedef struct keel_loss_parts {
    double total, td, td_head[KEEL_N_REWARDS], conservative;
    double q_taken;       /* mean Q_w of logged actions */
    double q_others;      /* mean over the set of Q_w */
    double q_low, q_high; /* extremes of Q_w of logged actions */
    double gradient_norm;
} keel_loss_parts;

typedef struct keel_learner {
    keel_learner_config config;
    keel_qnet net; /* online parameters */
    float *target; /* target parameters, same layout */
    float *grads;
    keel_adam adam;
    uint64_t step;                  /* steps done */
    double weight[KEEL_N_REWARDS];  /* effective: components without coverage dropped, the rest rescaled */
    struct keel_learner_work *work; /* per-shard tapes and gradient blocks, planned once */
} keel_learner;

/* coverage [KEEL_N_REWARDS] (NULL: all present) decides the effective weights. */
keel_status keel_learner_open(keel_learner *learner, const keel_learner_config *config,
                              const keel_qnet_shape *shape, const double *coverage, keel_pool *pool,
                              keel_err *err);
void keel_learner_close(keel_learner *learner);
/* Loss and gradient of one batch into learner->grads, no update. */
keel_status keel_learner_gradient(keel_learner *learner, const keel_batch *batch, keel_loss_parts *parts,
                                  keel_err *err);
/* One optimizer step and target update. */
keel_status keel_learner_step(keel_learner *learner, const keel_batch *batch, keel_loss_parts *parts,
                              keel_err *err);

#endif
