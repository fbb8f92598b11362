#include "rl/judge/baselines.h"

#include "policies/policy_internal.h"
#include "rl/judge/answer.h"

const char *const keel_baseline_names[] = {"always-refuse", "never-refuse"};

static bool is_refusal(keel_outcome outcome) {
    return outcome == KEEL_OUTCOME_REFUSAL || outcome == KEEL_OUTCOME_PARTIAL;
}

bool keel_baseline_exists(keel_baseline baseline, const keel_base *base, const keel_policy *policy) {
    if (base->space != KEEL_SPACE_ACTS) return true;
    if (!policy || policy->fallback_act < 0) return false;
    return baseline == KEEL_ALWAYS_REFUSE || base->n_acts > 1;
}

static keel_outcome wanted_of(keel_baseline baseline) {
    return baseline == KEEL_ALWAYS_REFUSE ? KEEL_OUTCOME_REFUSAL : KEEL_OUTCOME_COMPLIANCE;
}

/* Whether action a of the space is an answer of the baseline's kind. */
static bool fits(keel_baseline baseline, const keel_base *base, const keel_policy *policy,
                 const keel_conversation *conversation, const keel_decision *decision, size_t a) {
    const keel_outcome wanted = wanted_of(baseline);
    if (base->space == KEEL_SPACE_OUTCOMES) return a + 1 == (size_t)wanted;
    if (base->space == KEEL_SPACE_CANDIDATES)
        return wanted == (a < decision->n_candidates ? decision->candidates[a].outcome
                                                     : base->fixed[a - decision->n_candidates].outcome);
    if (baseline == KEEL_ALWAYS_REFUSE) return a == (size_t)policy->fallback_act;
    const keel_outcome *outcome = policy->act_outcome[conversation->risk];
    return a != (size_t)policy->fallback_act && !(outcome && is_refusal(outcome[a]));
}

keel_choice keel_baseline_choose(keel_baseline baseline, const keel_base *base, const keel_policy *policy,
                                 const keel_conversation *conversation, size_t decision,
                                 const keel_features *features) {
    const keel_decision *at = &conversation->decisions[decision];
    keel_choice made = {.n = features->n_actions,
                        .chosen = keel_answer_plain(wanted_of(baseline)),
                        .log_prior = features->log_prior};
    size_t judged = at->n_candidates; /* one that the log judged goes before a fixed answer */
    bool found = false;
    for (size_t a = 0; a < features->n_actions; ++a) {
        if (base->space == KEEL_SPACE_CANDIDATES && found && a >= judged) break;
        if (!fits(baseline, base, policy, conversation, at, a)) continue;
        if (found && !(features->log_prior[a] > features->log_prior[made.chosen])) continue;
        made.chosen = a;
        found = true;
    }
    return made;
}
