#include "rl/judge/answer.h"

#include <math.h>
#include <string.h>

#include "policies/policy_internal.h"

/* ---- the log ---- */

bool keel_answer_asked(const keel_decision *decision) {
    for (size_t c = 0; c < decision->n_candidates; ++c)
        if (decision->candidates[c].outcome != KEEL_OUTCOME_NONE) return true;
    return false;
}

bool keel_answer_alone(const keel_conversation *conversation) {
    return conversation->n_decisions == 1 && conversation->completed == KEEL_UNKNOWN;
}

size_t keel_answer_taken(const keel_decision *decision, const char *model) {
    size_t count = 0;
    for (size_t c = 0; c < decision->n_candidates; ++c) {
        const keel_candidate *one = &decision->candidates[c];
        count += one->taken && (!model || (one->model && strcmp(one->model, model) == 0));
    }
    return count;
}

/* A set of candidates is what there was to choose from: where the log gives all of them a propensity, they
 * are taken within it. What it gives a lone one is of answers that it does not list; here nothing was chosen.
 */
static double log_propensity(const keel_base *base, const keel_decision *decision, size_t candidate) {
    const double one = decision->candidates[candidate].propensity.value;
    double all = 0;
    for (size_t c = 0; c < decision->n_candidates; ++c) {
        const keel_optional *propensity = &decision->candidates[c].propensity;
        if (base->space != KEEL_SPACE_CANDIDATES || !propensity->present) return log(one);
        all += propensity->value;
    }
    return log(one / all);
}

double keel_answer_log_behaviour(const keel_base *base, const keel_decision *decision, size_t candidate,
                                 const keel_choice *choice, int32_t action, bool *by_base) {
    const keel_candidate *one = &decision->candidates[candidate];
    const size_t taken = keel_answer_taken(decision, NULL);
    if (by_base) *by_base = false;
    if (one->propensity.present && base->space != KEEL_SPACE_OUTCOMES)
        return log_propensity(base, decision, candidate);
    if (taken > 1) return -log((double)taken);
    if (by_base) *by_base = true;
    return (double)choice->log_prior[action];
}

bool keel_answer_propensity_unused(const keel_base *base, const keel_decision *decision, size_t candidate) {
    const keel_optional *logged = &decision->candidates[candidate].propensity;
    if (base->space == KEEL_SPACE_OUTCOMES) return logged->present;
    return base->space == KEEL_SPACE_CANDIDATES && decision->n_candidates == 1 && logged->present &&
           logged->value < 1;
}

/* ---- answers ---- */

keel_reward keel_answer_reward(const keel_reward_view *log, size_t decision, size_t candidate) {
    const keel_candidate *chosen = &log->conversation->decisions[decision].candidates[candidate];
    bool alone = keel_answer_alone(log->conversation);
    bool evidence = chosen->outcome != KEEL_OUTCOME_NONE || chosen->feedback.present;
    if (chosen->taken || (alone && evidence)) return keel_reward_of(log, decision, candidate);
    return chosen->logged_reward;
}

keel_answer keel_answer_of_candidate(const keel_reward_view *log, size_t decision, size_t candidate) {
    const keel_candidate *chosen = &log->conversation->decisions[decision].candidates[candidate];
    return (keel_answer){.outcome = chosen->outcome,
                         .reward = keel_answer_reward(log, decision, candidate),
                         .agrees = chosen->taken,
                         .labelled = chosen->outcome != KEEL_OUTCOME_NONE ? chosen : NULL,
                         .latency_ms = chosen->latency_ms};
}

int32_t keel_answer_action(const keel_base *base, const keel_decision *decision, size_t candidate) {
    const keel_candidate *one = &decision->candidates[candidate];
    return base->space == KEEL_SPACE_CANDIDATES ? (int32_t)candidate : keel_base_action_index(base, one);
}

bool keel_answer_comparable(const keel_base *base, const keel_decision *decision) {
    for (size_t c = 0; c < decision->n_candidates; ++c) {
        const keel_candidate *one = &decision->candidates[c];
        if (!one->taken) continue;
        if (base->space == KEEL_SPACE_CANDIDATES) return true;
        if (base->space == KEEL_SPACE_ACTS ? one->act != NULL : one->outcome != KEEL_OUTCOME_NONE)
            return true;
    }
    return false;
}

/* The candidate that stands for an action: taken and judged, else taken, else judged, else any; n_candidates
 * if none. */
static size_t find_candidate(const keel_base *base, const keel_decision *decision, size_t chosen) {
    size_t best = decision->n_candidates;
    int best_rank = -1;
    for (size_t c = 0; c < decision->n_candidates; ++c) {
        if (keel_answer_action(base, decision, c) != (int32_t)chosen) continue;
        const keel_candidate *one = &decision->candidates[c];
        int rank = 2 * one->taken + (one->outcome != KEEL_OUTCOME_NONE);
        if (rank > best_rank) best = c, best_rank = rank;
    }
    return best;
}

static keel_answer plain_answer(const keel_reward_view *log, keel_outcome outcome) {
    return (keel_answer){.outcome = outcome, .reward = keel_reward_of_outcome(log, outcome)};
}

keel_answer keel_answer_of_action(const keel_reward_view *log, const keel_base *base,
                                  const keel_policy *policy, size_t decision, size_t chosen) {
    const keel_decision *at = &log->conversation->decisions[decision];
    if (chosen >= keel_answer_plain(KEEL_N_OUTCOMES))
        return plain_answer(log, (keel_outcome)(SIZE_MAX - chosen));
    if (base->space == KEEL_SPACE_CANDIDATES && chosen >= at->n_candidates)
        return plain_answer(log, base->fixed[chosen - at->n_candidates].outcome);
    size_t candidate = find_candidate(base, at, chosen);
    keel_answer answer = {.outcome = KEEL_OUTCOME_NONE};
    if (candidate < at->n_candidates) answer = keel_answer_of_candidate(log, decision, candidate);
    if (answer.outcome != KEEL_OUTCOME_NONE || base->space == KEEL_SPACE_CANDIDATES) return answer;
    if (base->space == KEEL_SPACE_OUTCOMES) {
        answer.outcome = (keel_outcome)(chosen + 1);
        answer.reward = keel_reward_of_outcome(log, answer.outcome);
    } else if (policy && chosen < policy->n_acts && policy->act_outcome[log->conversation->risk])
        answer.outcome = policy->act_outcome[log->conversation->risk][chosen];
    return answer;
}

bool keel_answer_judged(const keel_answer *answer) {
    return answer->outcome != KEEL_OUTCOME_NONE || answer->reward.present[KEEL_ACCURACY];
}
