/* What an answer amounts to, as far as the log can tell. */
#ifndef KEEL_RL_JUDGE_ANSWER_H
#define KEEL_RL_JUDGE_ANSWER_H

#include "policies/policy.h"
#include "rewards/reward.h"

typedef struct keel_answer {
    keel_outcome outcome; /* NONE: unknown */
    keel_reward reward;   /* no component present: unknown */
    bool agrees;          /* it is one of the answers the log took */
} keel_answer;

/* What one candidate earned: as taken in the log; one that was not taken, by its own evidence (its label,
 * feedback or logged reward), and that only where nothing came after it, since the log's later turns answered
 * somebody else. */
keel_reward keel_answer_reward(const keel_reward_view *log, size_t decision, size_t candidate);

/* The answer of a candidate. */
keel_answer keel_answer_of_candidate(const keel_reward_view *log, size_t decision, size_t candidate);

/* The answer of action `chosen` of a choice under `base`. Candidate sets: the candidate itself. Fixed spaces:
 * the decision's candidate that is this act (one taken and judged before others); if there is none, or it is
 * not judged, the outcome is what `policy` (may be NULL) has learned that the act amounts to in conversations
 * of this risk, and nothing is known of the reward. An action of KEEL_SPACE_OUTCOMES is its outcome. */
keel_answer keel_answer_of_action(const keel_reward_view *log, const keel_base *base,
                                  const keel_policy *policy, size_t decision, size_t chosen);

/* Which action of the base's space a candidate is; -1 if it is none (an unknown act, an unjudged outcome). */
int32_t keel_answer_action(const keel_base *base, const keel_decision *decision, size_t candidate);

/* Whether the log says what was answered there, in the terms of the base's space: some taken candidate has an
 * act (known to the base or not), or a judged outcome; of candidate sets it always does. Where it does not,
 * nobody can agree or disagree with it. */
bool keel_answer_told(const keel_base *base, const keel_decision *decision);

bool keel_answer_known(const keel_answer *answer); /* outcome or some reward component */

#endif
