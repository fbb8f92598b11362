/* Rollouts: a policy answers in an environment, which gives conversations as a log has them. */
#ifndef KEEL_RL_JUDGE_ROLLOUT_H
#define KEEL_RL_JUDGE_ROLLOUT_H

#include "core/api.h"
#include "envs/env.h"
#include "policies/policy.h"

KEEL_BEGIN_DECLS

/* Plays one episode; the answers are `name`'s (kept as their model; NULL: nobody's). policy NULL: the base's
 * prior alone (greedy). The conversation is valid until the next reset. In a fixed action space the candidate
 * with the chosen act is given; acts the environment does not offer are masked. */
keel_status keel_rollout_episode(keel_env *env, const char *name, const keel_policy *policy,
                                 const keel_base *base, uint64_t episode, keel_arena *scratch,
                                 const keel_conversation **out, keel_err *err);

KEEL_END_DECLS

#endif
