#include "rl/judge/rollout.h"

#include <math.h>

/* The offered candidate that is this action of the base's space; n_candidates if none is. Outcomes are not
 * known before an answer is given, so a policy over outcomes cannot act. */
static size_t offered(const keel_base *base, const keel_decision *decision, size_t action) {
    if (base->space == KEEL_SPACE_CANDIDATES) return action;
    size_t c = 0;
    while (c < decision->n_candidates &&
           (!decision->candidates[c].act ||
            keel_base_act_index(base, decision->candidates[c].act) != (int32_t)action))
        c++;
    return c;
}

/* The most probable action that the environment offers, the lowest on ties; the first candidate if it offers
 * none that the policy knows. */
static size_t choose(const keel_base *base, const keel_decision *decision, const keel_choice *choice) {
    size_t best = decision->n_candidates;
    float best_log = -INFINITY;
    for (size_t action = 0; action < choice->n; ++action) {
        size_t candidate = offered(base, decision, action);
        if (candidate == decision->n_candidates || !(choice->log_pi[action] > best_log)) continue;
        best_log = choice->log_pi[action];
        best = candidate;
    }
    return best < decision->n_candidates ? best : 0;
}

/* The conversation as a log would show it at the open decision, which environments keep apart from those
 * answered. */
static bool view_open_decision(const keel_env *env, keel_arena *scratch, keel_conversation *out) {
    *out = *env->conversation;
    size_t before = 0;
    while (before < out->n_decisions && out->decisions[before].turn < env->decision->turn) before++;
    keel_decision *decisions = keel_arena_alloc(scratch, (before + 1) * sizeof *decisions);
    if (!decisions) return false;
    for (size_t d = 0; d < before; ++d) decisions[d] = out->decisions[d];
    decisions[before] = *env->decision;
    out->decisions = decisions;
    out->n_decisions = before + 1;
    return true;
}

static keel_status answer(keel_env *env, const char *name, const keel_policy *policy, const keel_base *base,
                          keel_arena *scratch, keel_err *err) {
    keel_conversation conversation;
    keel_features features;
    keel_choice choice;
    keel_arena_reset(scratch);
    if (!env->decision->n_candidates)
        return keel_fail(err, KEEL_E_INVALID, "rollout", "the environment offers no candidate");
    if (!view_open_decision(env, scratch, &conversation))
        return keel_fail(err, KEEL_E_NOMEM, "rollout", "no memory for a decision");
    KEEL_TRY(keel_base_encode_decision(base, &conversation, conversation.n_decisions - 1, scratch, &features,
                                       err));
    if (policy)
        KEEL_TRY(keel_policy_decide_at(policy, base, &conversation, conversation.n_decisions - 1, &features,
                                       scratch, &choice, err));
    else
        KEEL_TRY(keel_base_decide(&features, scratch, &choice, err));
    size_t chosen = choose(base, env->decision, &choice);
    env->decision->candidates[chosen].model = name;
    return keel_env_step(env, chosen, err);
}

keel_status keel_rollout_episode(keel_env *env, const char *name, const keel_policy *policy,
                                 const keel_base *base, uint64_t episode, keel_arena *scratch,
                                 const keel_conversation **out, keel_err *err) {
    if (policy) KEEL_TRY(keel_policy_check_base(policy, base, err));
    if (base->space == KEEL_SPACE_OUTCOMES)
        return keel_fail(err, KEEL_E_UNSUPPORTED, "rollout",
                         "a policy over outcomes judges answers but cannot give one");
    KEEL_TRY(keel_env_reset(env, episode, err));
    while (!env->done) KEEL_TRY(answer(env, name, policy, base, scratch, err));
    *out = env->conversation;
    return KEEL_OK;
}
