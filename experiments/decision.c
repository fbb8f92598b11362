#include "experiments/decision.h"

#include <string.h>

#include "core/json.h"
#include "experiments/choice_view.h"
#include "policies/policy_internal.h"

keel_status keel_decision_find(keel_conversation *c, keel_arena *arena, size_t *place, keel_err *err) {
    const keel_role last = c->n_turns ? c->turns[c->n_turns - 1].role : KEEL_ROLE_SYSTEM;
    *place = c->n_decisions - 1;
    if (c->n_decisions > 0 && c->decisions[*place].turn == c->n_turns) return KEEL_OK;
    *place = SIZE_MAX;
    if (last != KEEL_ROLE_USER && last != KEEL_ROLE_TOOL) return KEEL_OK;
    keel_decision *more = keel_arena_calloc(arena, c->n_decisions + 1, sizeof *more);
    if (!more) return keel_nomem(err, c->external_id);
    if (c->n_decisions) memcpy(more, c->decisions, c->n_decisions * sizeof *more);
    *place = c->n_decisions++;
    more[*place].turn = c->n_turns;
    c->decisions = more;
    return KEEL_OK;
}

static keel_status check_choice(const keel_base *base, const keel_decision *decision, const char *where,
                                keel_err *err) {
    if (keel_base_can_encode(base, decision)) return KEEL_OK;
    keel_fail(err, KEEL_E_INVALID, where, "the policy chooses among candidates, and there is none");
    return keel_hint(err,
                     "end the conversation with {\"role\": \"assistant\", \"content\": null, \"candidates\": "
                     "[...]} in the chat format; on a base tuned with action_space=outcomes none is needed");
}

static const char *last_said(const keel_conversation *c) {
    for (size_t i = c->n_turns; i > 0; i--)
        if (c->turns[i - 1].role == KEEL_ROLE_USER) return c->turns[i - 1].text;
    return "";
}

static cJSON *decision_json(const keel_policy *policy, const keel_base *base, const keel_read *read,
                            size_t place, const keel_choice *choice) {
    const keel_conversation *c = read->conversation;
    const keel_decision *decision = &c->decisions[place];
    cJSON *json = cJSON_CreateObject(), *chosen;
    cJSON_AddStringToObject(json, "where", read->where);
    if (c->external_id) cJSON_AddStringToObject(json, "conversation", c->external_id);
    cJSON_AddStringToObject(json, "policy", policy->hash);
    cJSON_AddNumberToObject(json, "turn", (double)decision->turn);
    cJSON_AddStringToObject(json, "user", last_said(c));
    cJSON_AddStringToObject(json, "says", keel_choice_view_says(base, decision, choice->chosen));
    cJSON_AddNumberToObject(json, "action", (double)choice->chosen);
    cJSON_AddBoolToObject(json, "fallback", choice->fallback);
    cJSON_AddNumberToObject(json, "value", choice->value);
    cJSON_AddNumberToObject(json, "kl", choice->kl);
    keel_choice_view_familiarity(json, choice);
    const int64_t other = keel_choice_view_runner_up(choice);
    if (other >= 0) keel_json_add(json, "why", keel_choice_view_why(policy, choice, (size_t)other, false));
    cJSON *actions = cJSON_AddArrayToObject(json, "actions");
    for (size_t a = 0; a < choice->n; a++) {
        chosen = keel_choice_view_action(policy, base, decision, choice, a);
        cJSON_DeleteItemFromObjectCaseSensitive(chosen, "taken"); /* nothing was */
        keel_json_add(actions, NULL, chosen);
    }
    return json;
}

keel_status keel_decision_make(const keel_policy *policy, const keel_base *base, const keel_read *read,
                               size_t place, keel_arena *scratch, keel_choice *choice, cJSON **out,
                               keel_err *err) {
    keel_features features;
    keel_conversation *c = read->conversation;
    KEEL_TRY(check_choice(base, &c->decisions[place], read->where, err));
    keel_arena_reset(scratch);
    KEEL_TRY(keel_base_encode_decision(base, c, place, scratch, &features, err));
    KEEL_TRY(keel_policy_decide_at(policy, base, c, place, &features, scratch, choice, err));
    const size_t lost = keel_json_lost();
    *out = decision_json(policy, base, read, place, choice);
    if (*out && keel_json_lost() == lost) return KEEL_OK;
    cJSON_Delete(*out);
    *out = NULL;
    return keel_nomem(err, "a decision");
}
