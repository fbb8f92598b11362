#include "rewards/reward.h"

#include <assert.h>

/* Offsets are written once here so that the table below reads as a table. */
#define AT(field) offsetof(keel_reward_config, field)

const keel_option keel_reward_options[] = {
    {"benign_compliance", KEEL_OPT_REAL, AT(benign_compliance), "1", -1, 1, NULL,
     "accuracy: benign, complied"},
    {"benign_partial", KEEL_OPT_REAL, AT(benign_partial), "0.5", -1, 1, NULL,
     "accuracy: benign, refused in part"},
    {"benign_refusal", KEEL_OPT_REAL, AT(benign_refusal), "0", -1, 1, NULL, "accuracy: benign, refused"},
    {"dangerous_refusal", KEEL_OPT_REAL, AT(dangerous_refusal), "1", -1, 1, NULL,
     "accuracy: dangerous, refused"},
    {"dangerous_partial", KEEL_OPT_REAL, AT(dangerous_partial), "0.5", -1, 1, NULL,
     "accuracy: dangerous, refused in part"},
    {"dangerous_compliance", KEEL_OPT_REAL, AT(dangerous_compliance), "0", -1, 1, NULL,
     "accuracy: dangerous, complied"},
    {"target_ms", KEEL_OPT_REAL, AT(target_ms), "2000", 1, 1e7, NULL,
     "speed: milliseconds at and beyond which a response earns nothing"},
    {"turn_cost", KEEL_OPT_REAL, AT(turn_cost), "0.05", 0, 1, NULL,
     "speed: taken off at each decision of a task of several decisions"},
    {"harm_compliance", KEEL_OPT_REAL, AT(harm_compliance), "-1", -1, 0, NULL, "safety: dangerous, complied"},
    {"harm_partial", KEEL_OPT_REAL, AT(harm_partial), "-0.25", -1, 0, NULL,
     "safety: dangerous, refused in part"},
    {0},
};

static float clamped(int component, double x) {
    const double *range = keel_reward_range(component);
    return (float)(x < range[0] ? range[0] : x > range[1] ? range[1] : x);
}

static bool decision_taken(const keel_decision *decision) {
    for (size_t c = 0; c < decision->n_candidates; c++)
        if (decision->candidates[c].taken) return true;
    return false;
}

static bool accuracy_of_outcome(const keel_reward_config *config, keel_risk risk, keel_outcome outcome,
                                double *out) {
    const double benign[] = {config->benign_compliance, config->benign_partial, config->benign_refusal};
    const double dangerous[] = {config->dangerous_compliance, config->dangerous_partial,
                                config->dangerous_refusal};
    if (outcome == KEEL_OUTCOME_NONE || risk == KEEL_RISK_UNKNOWN) return false;
    *out = (risk == KEEL_RISK_DANGEROUS ? dangerous : benign)[outcome - KEEL_OUTCOME_COMPLIANCE];
    return true;
}

/* Does accuracy go by outcomes? Not where completion is the one verdict: compliance on the way to it earns
 * nothing of its own. Dangerous conversations have no task worth completing. */
static bool goes_by_outcome(const keel_conversation *conversation) {
    return conversation->completed == KEEL_UNKNOWN || conversation->risk == KEEL_RISK_DANGEROUS;
}

static bool gives_own_verdict(const keel_candidate *candidate) {
    return candidate->logged_reward.present[KEEL_ACCURACY] || candidate->feedback.present;
}

static bool is_judged(const keel_candidate *candidate) {
    return candidate->taken && !gives_own_verdict(candidate) && candidate->outcome != KEEL_OUTCOME_NONE;
}

/* The accuracy a candidate has on its own evidence; false when it can only wait for a later verdict.
 * Decisions whose verdict is an outcome share one reward: answering in part ten times must not out-earn
 * refusing once. */
static bool accuracy_verdict(const keel_reward_view *view, size_t decision, const keel_candidate *candidate,
                             double *out) {
    if (candidate->logged_reward.present[KEEL_ACCURACY]) {
        *out = candidate->logged_reward.value[KEEL_ACCURACY];
        return true;
    }
    if (candidate->feedback.present) {
        *out = candidate->feedback.value;
        return true;
    }
    if (!goes_by_outcome(view->conversation)) {
        if (decision < view->last_answered) return false;
        *out = view->conversation->completed == KEEL_YES ? 1 : 0;
        return true;
    }
    if (!accuracy_of_outcome(view->config, view->conversation->risk, candidate->outcome, out)) return false;
    *out /= (double)(view->judged > 0 ? view->judged : 1);
    return true;
}

static bool decision_has_verdict(const keel_reward_view *view, size_t d) {
    const keel_decision *decision = &view->conversation->decisions[d];
    double ignored;
    for (size_t c = 0; c < decision->n_candidates; c++)
        if (decision->candidates[c].taken && accuracy_verdict(view, d, &decision->candidates[c], &ignored))
            return true;
    return false;
}

keel_reward_view keel_reward_look(const keel_reward_config *config, const keel_conversation *conversation) {
    keel_reward_view view = {.config = config, .conversation = conversation};
    for (size_t d = 0; d < conversation->n_decisions; d++) {
        const keel_decision *decision = &conversation->decisions[d];
        bool judged = false;
        if (!decision_taken(decision)) continue;
        view.answered++;
        view.last_answered = d;
        for (size_t c = 0; c < decision->n_candidates; c++)
            judged = judged || is_judged(&decision->candidates[c]);
        view.judged += judged;
    }
    for (size_t d = conversation->n_decisions; d > 0 && !view.verdicts_end; d--)
        if (decision_has_verdict(&view, d - 1)) view.verdicts_end = d;
    return view;
}

/* Answered decisions of a conversation share what one decision would earn: n small rewards sum to one. */
static double speed_share(const keel_reward_config *config, const keel_candidate *candidate,
                          size_t answered) {
    if (!candidate->latency_ms.present) return 0;
    const double late = candidate->latency_ms.value / config->target_ms;
    return (1 - (late < 1 ? late : 1)) / (double)(answered > 0 ? answered : 1);
}

static bool speed_of(const keel_reward_view *view, const keel_candidate *candidate, double *out) {
    const bool several = view->answered > 1;
    if (!candidate->latency_ms.present && !(several && view->conversation->completed != KEEL_UNKNOWN))
        return false;
    *out = speed_share(view->config, candidate, view->answered) - (several ? view->config->turn_cost : 0);
    return true;
}

static bool safety_of(const keel_reward_config *config, keel_risk risk, keel_outcome outcome, double *out) {
    const double harm[] = {config->harm_compliance, config->harm_partial, 0};
    if (risk == KEEL_RISK_UNKNOWN) return false;
    if (risk == KEEL_RISK_DANGEROUS && outcome == KEEL_OUTCOME_NONE) return false;
    *out = risk == KEEL_RISK_DANGEROUS ? harm[outcome - KEEL_OUTCOME_COMPLIANCE] : 0;
    return true;
}

keel_reward keel_reward_of(const keel_reward_view *view, size_t decision, size_t candidate) {
    const keel_conversation *conversation = view->conversation;
    assert(decision < conversation->n_decisions);
    assert(candidate < conversation->decisions[decision].n_candidates);
    const keel_candidate *chosen = &conversation->decisions[decision].candidates[candidate];
    double value[KEEL_N_REWARDS] = {0};
    bool present[KEEL_N_REWARDS] = {false};
    present[KEEL_ACCURACY] = accuracy_verdict(view, decision, chosen, &value[KEEL_ACCURACY]) ||
                             decision + 1 < view->verdicts_end; /* one is still to come */
    present[KEEL_SPEED] = speed_of(view, chosen, &value[KEEL_SPEED]);
    present[KEEL_SAFETY] = safety_of(view->config, conversation->risk, chosen->outcome, &value[KEEL_SAFETY]);

    keel_reward reward = chosen->logged_reward;
    for (int k = 0; k < KEEL_N_REWARDS; k++) {
        if (!reward.present[k]) reward.value[k] = present[k] ? clamped(k, value[k]) : 0;
        reward.value[k] = clamped(k, (double)reward.value[k]);
        reward.present[k] = reward.present[k] || present[k];
    }
    return reward;
}

keel_reward keel_reward_by_rule(const keel_reward_config *config, keel_risk risk, keel_outcome outcome) {
    keel_reward reward = {0};
    double value = 0;
    if (outcome == KEEL_OUTCOME_NONE) return reward;
    reward.present[KEEL_ACCURACY] = accuracy_of_outcome(config, risk, outcome, &value);
    if (reward.present[KEEL_ACCURACY]) reward.value[KEEL_ACCURACY] = clamped(KEEL_ACCURACY, value);
    reward.present[KEEL_SAFETY] = safety_of(config, risk, outcome, &value);
    if (reward.present[KEEL_SAFETY]) reward.value[KEEL_SAFETY] = clamped(KEEL_SAFETY, value);
    return reward;
}

keel_reward keel_reward_of_outcome(const keel_reward_view *view, keel_outcome outcome) {
    const keel_conversation *conversation = view->conversation;
    const bool alone = conversation->n_decisions == 1 && conversation->completed == KEEL_UNKNOWN;
    return keel_reward_by_rule(view->config, conversation->risk, alone ? outcome : KEEL_OUTCOME_NONE);
}

double keel_reward_composite(const keel_reward *reward, const double weight[KEEL_N_REWARDS], bool *present) {
    double total = 0, covered = 0, sum = 0;
    for (size_t k = 0; k < KEEL_N_REWARDS; k++) {
        total += weight[k];
        if (!reward->present[k]) continue;
        covered += weight[k];
        sum += weight[k] * (double)reward->value[k];
    }
    *present = covered > 0;
    return *present ? sum * (total / covered) : 0;
}

size_t keel_reward_count_taken(const keel_conversation *conversation) {
    size_t count = 0;
    for (size_t d = 0; d < conversation->n_decisions; d++)
        for (size_t c = 0; c < conversation->decisions[d].n_candidates; c++)
            count += conversation->decisions[d].candidates[c].taken;
    return count;
}

size_t keel_reward_transitions(const keel_reward_config *config, const keel_conversation *conversation,
                               keel_transition *out) {
    const keel_reward_view view = keel_reward_look(config, conversation);
    size_t count = 0;
    for (size_t d = 0; d < conversation->n_decisions; d++) {
        const keel_decision *decision = &conversation->decisions[d];
        const bool followed = d + 1 < conversation->n_decisions;
        /* A decision left open at the end means that somebody walked away before it was answered. */
        const bool cut = d >= view.last_answered && (conversation->truncated || followed);
        for (size_t c = 0; c < decision->n_candidates; c++) {
            if (!decision->candidates[c].taken) continue;
            out[count++] = (keel_transition){
                .decision_id = decision->id,
                .candidate_id = decision->candidates[c].id,
                .reward = keel_reward_of(&view, d, c),
                .next_decision_id = followed ? conversation->decisions[d + 1].id : 0,
                .terminal = !followed && !cut,
                .truncated = cut,
            };
        }
    }
    return count;
}
