#include "policies/builtin_tune.h"

/* True when the decision was a choice: one response taken out of several. */
static bool survey_decision(const keel_decision *decision, keel_survey *out) {
    bool taken = false, act = false, judged = false;
    for (size_t i = 0; i < decision->n_candidates; i++) {
        const keel_candidate *candidate = &decision->candidates[i];
        taken = taken || candidate->taken;
        act = act || (candidate->taken && candidate->act);
        judged = judged || (candidate->taken && candidate->outcome != KEEL_OUTCOME_NONE);
    }
    out->decisions++;
    out->candidates += decision->n_candidates;
    out->taken += taken;
    out->with_act += act;
    out->judged += judged;
    return taken && decision->n_candidates >= 2;
}

static void survey_conversation(void *context, const keel_conversation *conversation) {
    keel_survey *out = context;
    bool choice = false;
    for (size_t i = 0; i < conversation->n_decisions; i++)
        choice = survey_decision(&conversation->decisions[i], out) || choice;
    out->conversations++;
    out->with_risk += conversation->risk != KEEL_RISK_UNKNOWN;
    out->choices += choice;
}

keel_status keel__builtin_survey(keel_store *store, const keel_split *split, keel_survey *out,
                                 char content[65], keel_err *err) {
    keel_survey survey = {0};
    KEEL_TRY(keel_store_walk(store, split, survey_conversation, &survey, content, err));
    *out = survey;
    return KEEL_OK;
}

/* Choices are counted by conversation: preference logs offer one only at the last of many turns. */
static keel_action_space fitting_space(const keel_survey *survey) {
    if (2 * survey->choices >= survey->conversations) return KEEL_SPACE_CANDIDATES;
    if (2 * survey->with_act >= survey->taken) return KEEL_SPACE_ACTS;
    return KEEL_SPACE_OUTCOMES;
}

keel_status keel__builtin_choose_space(const keel_survey *survey, const struct keel_builtin_config *config,
                                       const keel_split *split, keel_action_space *space, keel_err *err) {
    if (survey->taken == 0) {
        keel_fail(err, KEEL_E_NOT_FOUND, split->text,
                  "nothing to learn from: none of %zu decisions has a logged response", survey->decisions);
        keel_hint(err, "import logs in which an assistant answers");
        return KEEL_E_NOT_FOUND;
    }
    keel_action_space chosen =
        config->action_space == 0 ? fitting_space(survey) : (keel_action_space)(config->action_space - 1);
    if (chosen == KEEL_SPACE_ACTS && survey->with_act == 0) {
        keel_fail(err, KEEL_E_NOT_FOUND, split->text,
                  "no logged response carries a dialogue act (%zu decisions)", survey->taken);
        keel_hint(err, "log an \"act\" with each message, or use --set action_space=outcomes");
        return KEEL_E_NOT_FOUND;
    }
    if (chosen == KEEL_SPACE_OUTCOMES && survey->judged == 0) {
        keel_fail(err, KEEL_E_NOT_FOUND, split->text, "no logged response has been judged (%zu decisions)",
                  survey->taken);
        keel_hint(err, "run `keel label` first, so that outcomes are known");
        return KEEL_E_NOT_FOUND;
    }
    if (chosen == KEEL_SPACE_CANDIDATES && survey->candidates < 2) {
        keel_fail(err, KEEL_E_NOT_FOUND, split->text, "a single response cannot be ranked against another");
        keel_hint(err, "import more logs");
        return KEEL_E_NOT_FOUND;
    }
    *space = chosen;
    return KEEL_OK;
}
