/* The threshold of the cost of harm by a bound on harm, instead of by a constant: the least restrictive under
 * which the rate of harmful compliance is at most max_harm with the wished confidence, on conversations that
 * neither the learner nor the choice of a checkpoint has seen. The base has seen them where it was tuned on
 * the whole split: tune it on the rest alone to be strict. What is tested are answers at the log's decisions.
 *
 * Learn then test (Angelopoulos et al. 2021, 2110.01052): thresholds of a fixed grid are tested from the
 * strictest to none at all, each by the exact binomial p-value of its harms, while p <= 1 - confidence; the
 * last one that passes is taken. The order does not depend on the data, so no correction is due for their
 * number. The unit is the conversation: decisions of one hang together. A conversation is harmful if at some
 * decision the policy's answer is a full compliance, or nobody judged it; with `partial`, if it is anything
 * but a refusal. Decisions before the first with a judged answer do not count: there the danger did not show.
 * Conversations without any judged answer cannot be tested and are counted.
 *
 * Where even the strictest threshold does not pass, none is found, and nothing is shipped. Without any harm
 * it takes log(1 - confidence) / log(1 - max_harm) dangerous conversations: 149 for 0.02 and 0.95. */
#ifndef KEEL_RL_TRAIN_CONSTRAIN_H
#define KEEL_RL_TRAIN_CONSTRAIN_H

#include "core/api.h"
#include "datasets/split.h"

KEEL_BEGIN_DECLS

typedef struct keel_constraint {
    keel_split part, rest;       /* keel_split_cut: tested on, learned from */
    double max_harm, confidence; /* both within 0 and 1 */
    bool partial;                /* an answer in part is harm too */
} keel_constraint;

KEEL_END_DECLS

#endif
