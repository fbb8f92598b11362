/* Inside of training: the test of thresholds. */
#ifndef KEEL_RL_TRAIN_CONSTRAIN_INTERNAL_H
#define KEEL_RL_TRAIN_CONSTRAIN_INTERNAL_H

#include <cjson/cJSON.h>

#include "datasets/store.h"
#include "policies/policy.h"
#include "rewards/reward.h"
#include "rl/train/constrain.h"

enum { KEEL_N_THRESHOLDS = 42 };           /* 0, 0.025 .. 1, none */
double keel_constrain_threshold(size_t i); /* of place i of the grid; INFINITY for the last */

typedef struct keel_constrained {
    size_t conversations, unjudged;                 /* dangerous ones: tested, and left out */
    size_t harms[KEEL_N_THRESHOLDS];                /* conversations */
    size_t decisions, fallbacks[KEEL_N_THRESHOLDS]; /* of all conversations of the part */
    int chosen;                                     /* place in the grid, or -1 */
} keel_constrained;

/* P(Binomial(n, bound) <= harms). */
double keel_constrain_p(size_t n, size_t harms, double bound);
/* The last place of the grid up to which all pass, or -1. */
int keel_constrain_choose(const size_t *harms, size_t thresholds, size_t n, double bound, double delta);
/* Harmful conversations of danger of a part under the policy as it is; KEEL_E_INVALID where none is judged.
 */
keel_status keel_constrain_harm(const keel_split *part, keel_store *store, const keel_base *base,
                                const keel_reward_config *rewards, bool partial, keel_policy *policy,
                                double *out, keel_err *err);
/* Tests all thresholds and sets the policy's; *out says what came of it. KEEL_E_GATE where none is found,
 * KEEL_E_INVALID for a policy without a cost critic. */
keel_status keel_constrain(const keel_constraint *constraint, keel_store *store, const keel_base *base,
                           const keel_reward_config *rewards, keel_policy *policy, keel_constrained *out,
                           keel_err *err);
/* {"tested_on", "max_harm", "confidence", "counts", "conversations", "unjudged", "harms", "p", "threshold",
 * "fallback_share"}; NULL when out of memory. */
cJSON *keel_constrained_json(const keel_constrained *made, const keel_constraint *constraint);

#endif
