/* The refusal judge: rules by structure united with a hashed n-gram logistic regression. Its kind is
 * keel_judge_refusal (judge.h): without 60 examples of at least two outcomes, the rules alone; else a
 * multinomial logistic regression on binary n-grams, L2-regularised, fitted to convergence, whose compliance
 * a rule may turn into a refusal, never the other way round. A response without an answer, and one in a
 * language that is not known, stay unjudged. */
#ifndef KEEL_REWARDS_REFUSAL_H
#define KEEL_REWARDS_REFUSAL_H

#include <stdbool.h>

#include "core/nouns.h"
#include "rewards/answer.h"

enum { KEEL_REFUSAL_BUCKETS = 1 << 16 }; /* of n-grams */

/* What the rules say of an answer (answer.h): a refusal or a partial refusal in one of the languages they
 * know, compliance where nothing refuses, KEEL_OUTCOME_NONE where the language is none they know. False when
 * out of memory. */
bool keel_refusal_rule(const keel_answer *answer, keel_outcome *out);

#endif
