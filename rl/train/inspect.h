/* Inside of training: what a policy does at the decisions that it learned from, before it is judged on
 * others. It is there so that nobody has to find out that a policy is the base in all but name, or that its Q
 * means nothing. */
#ifndef KEEL_RL_TRAIN_INSPECT_H
#define KEEL_RL_TRAIN_INSPECT_H

#include "rl/train/export.h"

enum { KEEL_INSPECTED = 1024 }; /* transitions looked at, about, spread evenly */

typedef struct keel_inspection {
    size_t decisions, from_base,
        from_log; /* where it chooses another action than the base, than the log did */
    size_t fallbacks;
    size_t valued, outside; /* transitions; where Q of what was taken lies outside what rewards allow */
    double excess;          /* the furthest outside lies so far beyond; 0 unless there are some */
    bool beta_at_limit;     /* the search for beta stopped there: the KL budget is not spent */
} keel_inspection;

/* Q_k of a taken action is outside if it is below the least, or above the most, that the component can
 * return: its least and largest reward, logged or by rule, once at the last decision of a conversation, else
 * times (1 - gamma^L) / (1 - gamma) for the longest conversation, L decisions; and by more than a twentieth
 * of that range. Of one head the rewards are those of all components, times the sum of their weights. */
keel_status keel_inspect(const keel_export *with, const keel_policy *policy, keel_inspection *out,
                         keel_err *err);
/* Says what of it matters. */
void keel_inspection_tell(const keel_inspection *found, const keel_export *with, const keel_policy *policy);
/* Adds "beta", "beta_at_limit", "differing": {"decisions", "from_base", "from_log", "fallbacks"} and, where Q
 * is learned, "q_outside": {"transitions", "outside", "excess"}; false when out of memory. */
bool keel_inspection_add(cJSON *metrics, const keel_inspection *found, const keel_policy *policy);

#endif
