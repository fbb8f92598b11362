/* Which checkpoint of a run becomes the policy: the one whose value has the highest lower bound on
 * conversations that nothing was learned from.
 *
 * A fold of the training split, by group, is held out of learning. At n points of the run, evenly spaced and
 * the last at its end, the policy is made as it would be at the end, beta solved. Its discounted return is
 * estimated on the held-out part by WDR (rl/judge/ope.h) with Q fitted for this very policy on the part
 * learned from (rl/judge/fqe.h): neither the critic it was trained with nor the conversations that judge it
 * have a say in Q. Weights of single decisions multiply up over a dialogue; Q is there to keep the variance
 * of that small, and what Q gets wrong the weights correct.
 *
 * Bound: the lower end of the BCa interval over conversations at one-sided confidence 1 - 0.05/n. So all n
 * bounds hold together with 95 % (Bonferroni), and that of the one chosen does
 * although it was chosen for being the highest. Approximate, as every bootstrap is: bounds that are
 * guaranteed (rl/judge/bounds.h) say nothing at the lengths that dialogues have. What is judged is the
 * policy's probabilities.
 *
 * A checkpoint whose effective sample size is under 30 (whole conversations), or whose Q diverges, cannot be
 * chosen; if none can, the last is kept. The base has seen the held-out part where it was tuned on the whole
 * split: tune it on the rest alone to be strict.
 *
 * It is there for runs that go wrong. One that goes well loses what the part could have taught, and may lose
 * a better checkpoint that strays too far from the log to be vouched for. */
#ifndef KEEL_RL_TRAIN_VALIDATE_H
#define KEEL_RL_TRAIN_VALIDATE_H

#include <cjson/cJSON.h>

#include "policies/policy.h"
#include "rewards/reward.h"
#include "rl/learn/learner.h"

enum { KEEL_MOST_TRIALS = 100 };

typedef struct keel_validation {
    keel_split part, rest; /* keel_split_cut: judged, learned from */
    size_t points;         /* 1 .. KEEL_MOST_TRIALS */
    int64_t fit_steps;     /* of each fit of Q; 0: by the size of the part learned from */
} keel_validation;

/* A checkpoint as it was judged. All doubles, all finite: a checkpoint of the run keeps them as they are. */
typedef struct keel_trial {
    double step, beta;
    double judged;         /* 1: value and bound are known and may be relied on; else 0 */
    double value, bound;   /* 0 unless known */
    double ess, least_ess; /* effective sample size of whole conversations, and the least over steps */
    double logged;         /* what the log itself returned there */
} keel_trial;

/* Begin with {.best = -1}. */
typedef struct keel_trials {
    double count, best; /* whole numbers; best -1: none could be judged */
    keel_trial at[KEEL_MOST_TRIALS];
} keel_trials;

/* The step of point i (0 .. points - 1) of a run of so many steps; several points of a short run may be one.
 */
uint64_t keel_validation_step(const keel_validation *validation, size_t i, uint64_t steps);

/* Judges the policy by the store's rewards; *out but its step. KEEL_E_INTERRUPTED when asked to stop. The
 * same for any number of threads. */
keel_status keel_validation_judge(const keel_validation *validation, keel_store *store, const keel_base *base,
                                  const keel_policy *policy, const keel_learner_config *config,
                                  const keel_reward_config *rewards, keel_pool *pool, keel_trial *out,
                                  keel_err *err);

/* Adds a trial; true if it is the best so far (the earlier of equals). */
bool keel_trials_add(keel_trials *trials, const keel_trial *trial);
/* Says on the log what was chosen, and warns if nothing could be judged or nothing beats the log. */
void keel_trials_tell(const keel_trials *trials, const keel_validation *validation);
/* {"judged_on", "learned_from", "estimator", "confidence", "logged", "chosen", "bound_above_logged",
 * "checkpoints":
 * [{"step", "beta", "value", "bound", "ess", "least_ess"}]}; value, bound and chosen null where not known.
 * NULL when out of memory. */
cJSON *keel_trials_json(const keel_trials *trials, const keel_validation *validation);

#endif
