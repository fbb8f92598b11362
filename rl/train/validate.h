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

#include "core/api.h"
#include "datasets/split.h"
#include "rewards/reward.h"

KEEL_BEGIN_DECLS

enum { KEEL_MOST_TRIALS = 100 };

typedef struct keel_validation {
    keel_split part, rest; /* keel_split_cut: judged, learned from */
    size_t points;         /* 1 .. KEEL_MOST_TRIALS */
    int64_t fit_steps;     /* of each fit of Q; 0: by the size of the part learned from */
} keel_validation;

KEEL_END_DECLS

#endif
