/* The refusal judge: string rules united with a hashed n-gram logistic regression (XSTest's string match and
 * its openings, Roettger et al. 2024). Its kind is keel_judge_refusal (judge.h): without 60 examples of at
 * least two outcomes, the rules alone; else a multinomial logistic regression on binary n-grams,
 * L2-regularised, fitted to convergence, whose compliance a rule may turn into a refusal, never the other way
 * round. */
#ifndef KEEL_REWARDS_REFUSAL_H
#define KEEL_REWARDS_REFUSAL_H

#include "core/nouns.h"

enum { KEEL_REFUSAL_BUCKETS = 1 << 16 }; /* of n-grams */

/* The lists of phrases that the rules know, each ended by NULL, as folding leaves them; ended by NULL. */
extern const char *const *const keel_refusal_phrases[];

/* KEEL_OUTCOME_REFUSAL if the response begins like a refusal in one of the languages the rules know
 * (refusal_rules.c), else KEEL_OUTCOME_COMPLIANCE; KEEL_OUTCOME_NONE when out of memory. Never a partial
 * refusal: no phrase shows whether help that follows is the help asked for. */
keel_outcome keel_refusal_rule(const char *response);

#endif
