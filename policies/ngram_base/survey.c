#include <stdlib.h>

#include "policies/ngram_base/tune.h"

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

/* What one pass collects. */
typedef struct walk {
    keel_tuning *tuning;
    size_t room;
    keel_buf ids, names, surveyed; /* int64_t, called, keel_conversation * */
} walk;

typedef struct called {
    uint64_t name;
    size_t place;
} called;

static void count_conversation(keel_survey *out, const keel_conversation *conversation) {
    bool choice = false;
    for (size_t i = 0; i < conversation->n_decisions; i++)
        choice = survey_decision(&conversation->decisions[i], out) || choice;
    out->conversations++;
    out->with_risk += conversation->risk != KEEL_RISK_UNKNOWN;
    out->choices += choice;
}

static bool look(void *context, keel_conversation *conversation) {
    walk *w = context;
    keel_tuning *tuning = w->tuning;
    const called one = {keel__ngram_base_name(conversation), tuning->count};
    keel_buf_append(&w->ids, &conversation->id, sizeof conversation->id);
    keel_buf_append(&w->names, &one, sizeof one);
    count_conversation(&tuning->survey, conversation);
    if (tuning->count++ == tuning->n_surveyed && tuning->texts.used < w->room) {
        keel_buf_append(&w->surveyed, &conversation, sizeof conversation);
        tuning->n_surveyed++;
        return true;
    }
    return false;
}

static int by_name(const void *a, const void *b) {
    const called *x = a, *y = b;
    if (x->name != y->name) return x->name < y->name ? -1 : 1;
    return (x->place > y->place) - (x->place < y->place);
}

/* Takes over what was collected. */
static keel_status list(keel_tuning *tuning, walk *w, keel_err *err) {
    called *names = (called *)(void *)w->names.data;
    size_t n = tuning->count;
    tuning->by_name = keel_calloc(n, sizeof *tuning->by_name);
    if (w->ids.failed || w->names.failed || w->surveyed.failed || !tuning->by_name)
        return keel_fail(err, KEEL_E_NOMEM, "builtin base", "no memory to list %zu conversations", n);
    if (n > 0) qsort(names, n, sizeof *names, by_name);
    for (size_t i = 0; i < n; i++) tuning->by_name[i] = names[i].place;
    tuning->ids = (int64_t *)(void *)w->ids.data;
    tuning->surveyed = (keel_conversation **)(void *)w->surveyed.data;
    w->ids = w->surveyed = (keel_buf){0};
    return KEEL_OK;
}

keel_status keel__ngram_base_survey(keel_tuning *tuning, const keel_split *split, size_t room,
                                    char content[65], keel_err *err) {
    walk w = {.tuning = tuning, .room = room / 2};
    keel_status status = keel_store_walk(tuning->store, split, &tuning->texts, look, &w, content, err);
    if (status == KEEL_OK) status = list(tuning, &w, err);
    keel_buf_free(&w.surveyed);
    keel_buf_free(&w.names);
    keel_buf_free(&w.ids);
    return status;
}

void keel__ngram_base_forget_texts(keel_tuning *tuning) {
    keel_free(tuning->surveyed);
    tuning->surveyed = NULL;
    tuning->n_surveyed = 0;
    keel_arena_free(&tuning->texts);
}

void keel__ngram_base_tuning_free(keel_tuning *tuning) {
    keel__ngram_base_forget_texts(tuning);
    keel_arena_free(&tuning->memory);
    keel_free(tuning->by_name);
    keel_free(tuning->ids);
}

/* Choices are counted by conversation: preference logs offer one only at the last of many turns. */
static keel_action_space fitting_space(const keel_survey *survey) {
    if (2 * survey->choices >= survey->conversations) return KEEL_SPACE_CANDIDATES;
    if (2 * survey->with_act >= survey->taken) return KEEL_SPACE_ACTS;
    return KEEL_SPACE_OUTCOMES;
}

keel_status keel__ngram_base_choose_space(const keel_survey *survey,
                                          const struct keel_ngram_base_config *config,
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
