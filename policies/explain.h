/* Why a policy prefers one action to another: Shapley values (Shapley 1953) of the game whose players are the
 * parts that pi is made of.
 *
 *   v(S) = pi_S(chosen|s) - pi_S(against|s), in [-1, 1]
 *
 * pi_S is the policy with the parts of S alone: without the prior all actions on offer are alike in it,
 * without a component its Q weighs nothing, nor the cost without it, without the threshold nothing is harm. v
 * of no part is 0, so the values sum to the margin v(all). With at most six players all subsets are gone
 * through: the values are exact. Probabilities, not their logarithms, since a masked action has none. */
#ifndef KEEL_POLICIES_EXPLAIN_H
#define KEEL_POLICIES_EXPLAIN_H

#include "policies/policy_internal.h"

/* The first are keel_reward components. */
typedef enum keel_part {
    KEEL_PART_PRIOR = KEEL_N_REWARDS,
    KEEL_PART_HARM,      /* the harm threshold */
    KEEL_PART_COST,      /* lambda C, where that is part of what the policy maximises */
    KEEL_PART_VALUE,     /* the only head of a network that has one */
    KEEL_PART_IMITATION, /* the only part of a cloned policy */
    KEEL_N_PARTS
} keel_part;

const char *keel_part_name(int part); /* "accuracy", ..., "prior", "harm", "cost", "value", "imitation" */

typedef struct keel_explanation {
    size_t against;
    bool plays[KEEL_N_PARTS];     /* the parts that this policy has */
    double shapley[KEEL_N_PARTS]; /* 0 for others; they sum to the margin */
    double margin;                /* pi(chosen) - pi(against) */
    /* The part that says it best: of those without which log pi(chosen) - log pi(against) would be less, the
     * one with the largest Shapley value; -1 if there is none, where both are alike. */
    int reason;
} keel_explanation;

/* choice: of keel_policy_decide by this policy; against: another action, below choice->n. No memory is taken;
 * the time is 64 times that of one softmax. */
void keel_policy_explain(const keel_policy *policy, const keel_choice *choice, size_t against,
                         keel_explanation *out);

#endif
