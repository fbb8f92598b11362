/* Outcome and reward of an answer, as far as the log determines them. */
#ifndef KEEL_RL_JUDGE_ANSWER_H
#define KEEL_RL_JUDGE_ANSWER_H

#include <stdint.h>

#include "policies/policy.h"
#include "rewards/reward.h"

typedef struct keel_answer {
    keel_outcome outcome;           /* NONE: unknown */
    keel_reward reward;             /* no component present: unknown */
    bool agrees;                    /* it is one of the answers the log took */
    const keel_candidate *labelled; /* whose label the outcome is; NULL: an outcome of its own, or none */
    keel_optional latency_ms;       /* that the answer took, where it is a candidate of the log */
} keel_answer;

/* The reward of one candidate. A taken one: as in the log. One that was not taken: by its own evidence
 * (label, feedback or logged reward), and only if the conversation ends there, since later turns followed
 * another answer. */
keel_reward keel_answer_reward(const keel_reward_view *log, size_t decision, size_t candidate);

/* The answer of a candidate. */
keel_answer keel_answer_of_candidate(const keel_reward_view *log, size_t decision, size_t candidate);

/* The answer of action `chosen` of a choice under `base`. Candidate sets: the candidate itself, or a
 * fixed answer of the base, which earns what the rule gives. Fixed spaces:
 * the candidate of the decision that is this act, preferably a taken and judged one. If there is none, or it
 * is not judged, the outcome is the one that `policy` (may be NULL) has stored for the act in conversations
 * of this risk, and the reward is unknown. An action of KEEL_SPACE_OUTCOMES is its outcome, and
 * its reward is what the rule gives for that (keel_reward_of_outcome). */
keel_answer keel_answer_of_action(const keel_reward_view *log, const keel_base *base,
                                  const keel_policy *policy, size_t decision, size_t chosen);

/* In place of an action: some answer of this outcome that is no action of the space. It earns what the rule
 * gives for that, and the log did not take it. */
static inline size_t keel_answer_plain(keel_outcome outcome) {
    return SIZE_MAX - (size_t)outcome;
}

/* The action of the base's space that a candidate is; -1 if there is none (unknown act, outcome not judged).
 */
int32_t keel_answer_action(const keel_base *base, const keel_decision *decision, size_t candidate);

/* Whether agreement with the log can be decided: some taken candidate has an act (known to the base or not)
 * or a judged outcome, as the base's space requires. Always true for candidate sets. */
bool keel_answer_comparable(const keel_base *base, const keel_decision *decision);

/* Whether the log judged an answer of the decision: only there refusals are counted, so that everybody is
 * held against the same decisions. */
bool keel_answer_asked(const keel_decision *decision);
/* Whether what the conversation comes to is its one answer: no verdict stands beside it. */
bool keel_answer_alone(const keel_conversation *conversation);
/* How many answers of a model (NULL: of all) the log took. */
size_t keel_answer_taken(const keel_decision *decision, const char *model);
/* ln b of a taken candidate, which is action `action` of the base: the logged propensity, of a set in which
 * all have one within the set (so a lone candidate's is 1), but for outcomes, since it is of a text; else
 * several that were taken were deployed side by side, each equally; else the base's choice says it, *by_base
 * (may be NULL). */
double keel_answer_log_behaviour(const keel_base *base, const keel_decision *decision, size_t candidate,
                                 const keel_choice *choice, int32_t action, bool *by_base);
/* Whether a logged propensity is not of that choice: of a text where outcomes are chosen, below 1 of a lone
 * candidate where candidates are. */
bool keel_answer_propensity_unused(const keel_base *base, const keel_decision *decision, size_t candidate);

/* Whether somebody judged it: its outcome or its accuracy is known. A latency alone says nothing of the
 * answer, and the safety of a benign conversation is known whatever is answered. */
bool keel_answer_judged(const keel_answer *answer);

#endif
