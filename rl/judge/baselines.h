/* Two baselines that nobody has to train: who always refuses, and who never does. They frame every table: a
 * policy must refuse more of the dangerous than the one, and do more of the benign than the other. */
#ifndef KEEL_RL_JUDGE_BASELINES_H
#define KEEL_RL_JUDGE_BASELINES_H

#include "core/api.h"
#include "policies/policy.h"

KEEL_BEGIN_DECLS

typedef enum keel_baseline { KEEL_ALWAYS_REFUSE, KEEL_NEVER_REFUSE, KEEL_N_BASELINES } keel_baseline;
extern const char *const keel_baseline_names[KEEL_N_BASELINES]; /* "always-refuse", "never-refuse" */

/* Whether there is one under this base and policy (may be NULL): over acts only where the policy's log tells
 * which acts refuse, and some do and some do not. */
bool keel_baseline_exists(keel_baseline baseline, const keel_base *base, const keel_policy *policy);

/* What it chooses: of the answers of its kind the one of the highest prior. Outcomes: a refusal, a
 * compliance. Acts: the policy's fallback act; any act that is not judged a refusal, in full or in part, in
 * conversations of this risk. Candidate sets: a candidate judged to be a refusal, or a compliance, else a
 * fixed answer of the base that is one, else keel_answer_plain (rl/judge/answer.h): the answer is not in the
 * set, but what it amounts to is known. Arrays of *out but log_prior stay NULL. */
keel_choice keel_baseline_choose(keel_baseline baseline, const keel_base *base, const keel_policy *policy,
                                 const keel_conversation *conversation, size_t decision,
                                 const keel_features *features);

KEEL_END_DECLS

#endif
