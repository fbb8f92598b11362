/* What leaves the store keeps the contract of the nouns. SQLite guards the types of columns, not the values:
 * a row may have been changed by hand, by another program or by a failing disk. */
#include <float.h>
#include <math.h>
#include <stdio.h>

#include "datasets/store_internal.h"

keel_status keel__store_damaged(const keel_store *store, const char *what, keel_err *err) {
    keel_fail(err, KEEL_E_STORE, store->path, "damaged: %s", what);
    keel_hint(err, "restore a copy, or import the logs into a new store");
    return KEEL_E_STORE;
}

static bool is_within(keel_optional value, double low, double high) {
    return !value.present || (value.value >= low && value.value <= high);
}

/* A name of what is wrong, or NULL. */
static const char *wrong_turn(const keel_turn *turn) {
    if (!turn->text) return "text of a turn";
    if ((unsigned)turn->role > KEEL_ROLE_TOOL) return "role of a turn";
    return is_within(turn->latency_ms, 0, DBL_MAX) ? NULL : "latency of a turn";
}

static const char *wrong_candidate(const keel_candidate *candidate) {
    if (!candidate->text) return "text of a candidate";
    if ((unsigned)candidate->outcome > KEEL_N_OUTCOMES) return "outcome of a candidate";
    if ((unsigned)candidate->judge > KEEL_AUTHORITY_HUMAN) return "judge of a candidate";
    if (!is_within(candidate->propensity, DBL_TRUE_MIN, 1)) return "propensity of a candidate";
    if (!is_within(candidate->latency_ms, 0, DBL_MAX)) return "latency of a candidate";
    if (!is_within(candidate->feedback, -1, 1)) return "feedback of a candidate";
    for (int k = 0; k < KEEL_N_REWARDS; k++)
        if (candidate->logged_reward.present[k] && !keel_reward_within(k, candidate->logged_reward.value[k]))
            return "reward of a candidate";
    return NULL;
}

static const char *wrong_conversation(const keel_conversation *c) {
    const char *wrong = NULL;
    if (!c->source || !c->external_id || !c->split || !c->group) return "name or split";
    if ((unsigned)c->risk > KEEL_RISK_DANGEROUS) return "risk";
    if (c->completed < KEEL_UNKNOWN || c->completed > KEEL_YES) return "completion";
    for (size_t i = 0; !wrong && i < c->n_turns; i++) wrong = wrong_turn(&c->turns[i]);
    for (size_t i = 0; !wrong && i < c->n_decisions; i++) {
        const keel_decision *decision = &c->decisions[i];
        if (decision->turn > c->n_turns) return "place of a decision";
        /* Ascending by the query, once each by the schema: not so when an index is damaged. */
        if (i > 0 && decision->turn <= c->decisions[i - 1].turn) return "order of decisions";
        for (size_t k = 0; !wrong && k < decision->n_candidates; k++)
            wrong = wrong_candidate(&decision->candidates[k]);
    }
    return wrong;
}

keel_status keel__store_check(const keel_store *store, const keel_conversation *conversation, keel_err *err) {
    char what[160];
    const char *wrong = wrong_conversation(conversation);
    if (!wrong) return KEEL_OK;
    snprintf(what, sizeof what, "conversation %lld has an impossible %s", (long long)conversation->id, wrong);
    return keel__store_damaged(store, what, err);
}
