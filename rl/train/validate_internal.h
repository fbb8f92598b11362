/* The trials of a run: its checkpoints as they were judged. */
#ifndef KEEL_RL_TRAIN_VALIDATE_INTERNAL_H
#define KEEL_RL_TRAIN_VALIDATE_INTERNAL_H

#include <cjson/cJSON.h>

#include "policies/policy.h"
#include "rl/learn/learner.h"
#include "rl/train/validate.h"

/* A checkpoint as it was judged. All doubles, all finite: a checkpoint of the run keeps them as they are. */
typedef struct keel_validation_trial {
    double step, beta;
    double judged;         /* 1: value and bound are known and may be relied on; else 0 */
    double value, bound;   /* 0 unless known */
    double ess, least_ess; /* effective sample size of whole conversations, and the least over steps */
    double logged;         /* what the log itself returned there */
    double compared;       /* 1: the next are known; else 0 */
    /* composite_reward over all decisions, less the log's and less the base's: value and lower limit */
    double over_log, over_log_low, over_base, over_base_low;
} keel_validation_trial;

/* Begin with {.best = -1}. */
typedef struct keel_validation_trials {
    double count, best; /* whole numbers; best -1: none could be judged */
    keel_validation_trial at[KEEL_MOST_TRIALS];
} keel_validation_trials;

/* The step of point i (0 .. points - 1) of a run of so many steps; several points of a short run may be one.
 */
uint64_t keel_validation_step(const keel_validation *validation, size_t i, uint64_t steps);

/* Judges the policy by the store's rewards; *out but its step. KEEL_E_INTERRUPTED when asked to stop. The
 * same for any number of threads. */
keel_status keel_validation_judge(const keel_validation *validation, keel_store *store, const keel_base *base,
                                  const keel_policy *policy, const keel_learner_config *config,
                                  const keel_reward_config *rewards, keel_pool *pool,
                                  keel_validation_trial *out, keel_err *err);

/* Adds a trial; true if it is the best so far (the earlier of equals). */
bool keel_validation_add(keel_validation_trials *trials, const keel_validation_trial *trial);
/* Says on the log what was chosen, and warns if nothing could be judged or nothing beats the log. */
void keel_validation_tell(const keel_validation_trials *trials, const keel_validation *validation);
/* {"judged_on", "learned_from", "estimator", "confidence", "logged", "chosen", "bound_above_logged",
 * "improvement_shown", "checkpoints": [{"step", "beta", "value", "bound", "ess", "least_ess", "minus_logged",
 * "minus_logged_low", "minus_base", "minus_base_low"}]}; null where not known. improvement_shown: the limit
 * of minus_logged of the one chosen is above 0. NULL when out of memory. */
cJSON *keel_validation_json(const keel_validation_trials *trials, const keel_validation *validation);

#endif
