/* Configuration of a learner: what all have in common, and room for the options that are its own. Each
 * learner's keys, defaults and settings of peers are in its file in this folder. */
#ifndef KEEL_RL_LEARN_LEARNER_CONFIG_H
#define KEEL_RL_LEARN_LEARNER_CONFIG_H

#include "core/api.h"
#include "core/nouns.h"
#include "core/options.h"

KEEL_BEGIN_DECLS

typedef enum keel_td_loss { KEEL_TD_HUBER, KEEL_TD_HALF_SQUARE, KEEL_TD_SQUARE } keel_td_loss;
typedef enum keel_ensemble { KEEL_ENSEMBLE_MIN, KEEL_ENSEMBLE_MEAN } keel_ensemble;

/* Made by keel_learner_preset. Fields are set directly or by their key; own fields by key alone. */
typedef struct keel_learner_config {
    int algorithm;     /* index into keel_algorithms */
    bool double_q;     /* the next action is chosen by the online network, not by the target network itself */
    int ensemble;      /* keel_ensemble: what targets take over critics */
    int64_t quantiles; /* quantiles of the return's distribution for each head; 1: its mean alone */
    int64_t n_step;    /* rewards summed before the target bootstraps */
    bool safe_only;    /* conversations with harm in them are left out */
    double keep_top;   /* percent of the conversations that are learned from, by their return */
    double rival_drop, rival_plant; /* of candidate sets, as are the next two (datasets/sampler.h) */
    int64_t alternatives;
    double stands_for;
    double rule_weight; /* of what rules say that other answers earn; 0: nothing is learned from rules */
    bool calibrated;    /* the conservative term pushes no action below the value of the behaviour */
    double gamma;       /* discount */
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
    double cost_pessimism; /* weight of the cost critic's own term */
    double harm_threshold; /* actions of a higher cost are masked */
    double own[8];         /* the learner's own options, in a struct that its file declares */
} keel_learner_config;

/* The keys that every learner takes, {0} at the end; all keys of one. */
extern const keel_option keel_learner_common_options[];
const keel_option *keel_learner_options(int algorithm);

/* Defaults of an algorithm under a preset: "keel", or the settings of a peer to the last one, for the
 * algorithms that it has; KEEL_E_USAGE for others. Every byte of *out is set. */
extern const char *const keel_presets[]; /* NULL-terminated */
keel_status keel_learner_preset(const char *preset, const char *algorithm, keel_learner_config *out,
                                keel_err *err);
/* One key of the learner's; KEEL_E_INVALID for a key it does not take or a value out of range. */
keel_status keel_learner_set(keel_learner_config *config, const char *key, const char *text, keel_err *err);
keel_status keel_learner_set_number(keel_learner_config *config, const char *key, double value,
                                    keel_err *err);
/* KEEL_E_INVALID for values that do not go together. */
keel_status keel_learner_check(const keel_learner_config *config, keel_err *err);

KEEL_END_DECLS

#endif
