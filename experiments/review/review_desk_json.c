/* The desk's JSON: responses with their conversations, progress, labels. */
#include <math.h>
#include <string.h>

#include "core/json.h"
#include "core/text.h"
#include "experiments/cli_resources.h"
#include "experiments/review/review_desk_internal.h"
#include "rewards/judge.h"
#include "rl/judge/review_order.h"

/* What is sent of long conversations: the response and the turns just before it come whole, as far as this
 * reaches; what is left out is counted. */
enum { MOST_TEXT = 200 * 1000, MOST_CONTEXT = 400 * 1000, MOST_TURNS = 400 };

/* ---- a response ---- */

static void add_text(cJSON *to, const char *key, const char *text, size_t most) {
    const size_t length = strlen(text), shown = keel_utf8_cut(text, length, most);
    char *copy = keel_alloc(shown + 1);
    if (!copy) {
        keel_json_lose();
        return;
    }
    memcpy(copy, text, shown);
    copy[shown] = '\0';
    cJSON_AddStringToObject(to, key, copy);
    if (shown < length) cJSON_AddNumberToObject(to, "left_out", (double)(length - shown));
    keel_free(copy);
}

static void add_optional(cJSON *to, const char *key, const char *text) {
    if (text) cJSON_AddStringToObject(to, key, text);
}

static void add_turn(cJSON *turns, const keel_turn *turn) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "role", keel_role_name(turn->role));
    add_text(json, "text", turn->text, MOST_TEXT);
    add_optional(json, "model", turn->model);
    add_optional(json, "act", turn->act);
    keel_json_add(turns, NULL, json);
}

static void add_context(cJSON *to, const keel_conversation *conversation, size_t turn) {
    size_t first = turn, room = MOST_CONTEXT;
    while (first > 0 && turn - first < MOST_TURNS && strlen(conversation->turns[first - 1].text) < room)
        room -= strlen(conversation->turns[--first].text) + 1;
    if (first == turn && turn > 0) first--;
    cJSON_AddNumberToObject(to, "earlier", (double)first);
    cJSON *turns = cJSON_AddArrayToObject(to, "turns");
    for (size_t t = first; t < turn; t++) add_turn(turns, &conversation->turns[t]);
}

static const keel_candidate *find(const keel_conversation *conversation, int64_t candidate, size_t *turn) {
    for (size_t d = 0; d < conversation->n_decisions; d++)
        for (size_t c = 0; c < conversation->decisions[d].n_candidates; c++)
            if (conversation->decisions[d].candidates[c].id == candidate) {
                *turn = conversation->decisions[d].turn;
                return &conversation->decisions[d].candidates[c];
            }
    return NULL;
}

static const char *tri_name(keel_tri tri) {
    return tri == KEEL_YES ? "yes" : tri == KEEL_NO ? "no" : "unknown";
}

keel_status keel__review_desk_item(keel_review_desk *desk, const keel_review_next *next, cJSON *to,
                                   keel_err *err) {
    static const char *const reasons[] = {"random", "unsure", "differs"};
    keel_conversation *conversation;
    size_t turn = 0;
    KEEL_TRY(keel_store_conversation(desk->store, next->conversation, &desk->arena, &conversation, err));
    const keel_candidate *candidate = find(conversation, next->candidate, &turn);
    if (!candidate) return keel_fail(err, KEEL_E_NOT_FOUND, "item", "the response is gone");
    cJSON *item = cJSON_AddObjectToObject(to, "item");
    cJSON_AddNumberToObject(item, "id", (double)next->candidate);
    cJSON_AddStringToObject(item, "conversation", conversation->external_id);
    cJSON_AddStringToObject(item, "source", conversation->source);
    cJSON_AddStringToObject(item, "risk", keel_risk_name(conversation->risk));
    cJSON_AddStringToObject(item, "completed", tri_name(conversation->completed));
    if ((unsigned)next->reason < 3) cJSON_AddStringToObject(item, "reason", reasons[next->reason]);
    cJSON_AddNumberToObject(item, "later",
                            (double)(conversation->n_turns - turn - (turn < conversation->n_turns)));
    add_context(item, conversation, turn);
    cJSON *response = cJSON_AddObjectToObject(item, "response");
    add_text(response, "text", candidate->text ? candidate->text : "", MOST_TEXT);
    add_optional(response, "model", candidate->model);
    add_optional(response, "act", candidate->act);
    return KEEL_OK;
}

/* ---- progress ---- */

static void add_rate(cJSON *rates, keel_corrected_rate which, const keel_review_rate *rate) {
    cJSON *json = keel_interval_json(&rate->rate);
    cJSON_AddStringToObject(json, "name", keel_corrected_names[which]);
    cJSON_AddNumberToObject(json, "labels", rate->labels);
    keel_json_add(json, "needed",
                  isfinite(rate->needed) ? cJSON_CreateNumber(rate->needed) : cJSON_CreateNull());
    keel_json_add(rates, NULL, json);
}

static keel_status add_rates(keel_review_desk *desk, cJSON *to, keel_err *err) {
    static const keel_corrected_rate shown[] = {KEEL_CORRECTED_REFUSAL, KEEL_CORRECTED_HARMFUL_COMPLIANCE,
                                                KEEL_CORRECTED_OVER_REFUSAL};
    keel_review_seen *seen;
    size_t n;
    double open;
    KEEL_TRY(keel_store_review_seen(desk->store, &desk->arena, &seen, &n, &open, err));
    cJSON_AddNumberToObject(to, "wished", desk->options.wished);
    cJSON *rates = cJSON_AddArrayToObject(to, "rates");
    for (size_t r = 0; r < sizeof shown / sizeof *shown; r++) {
        const keel_review_rate rate =
            keel_review_order_rate(&desk->population, seen, n, open, shown[r], desk->options.wished);
        add_rate(rates, shown[r], &rate);
    }
    return KEEL_OK;
}

static void add_people(cJSON *to, const keel_review_counts *counts, const char *reviewer) {
    double mine = 0, pairs = 0;
    cJSON *people = cJSON_AddArrayToObject(to, "people");
    for (size_t p = 0; p < counts->n_people; p++) {
        const keel_review_person *person = &counts->people[p];
        cJSON *json = cJSON_CreateObject();
        cJSON_AddStringToObject(json, "name", person->name);
        cJSON_AddNumberToObject(json, "labels", (double)person->labels);
        cJSON_AddNumberToObject(json, "skipped", (double)person->skipped);
        keel_json_add(people, NULL, json);
        if (strcmp(person->name, reviewer) == 0) mine = (double)person->labels;
    }
    cJSON_AddNumberToObject(to, "mine", mine);
    for (int i = 0; i < KEEL_N_OUTCOMES * KEEL_N_OUTCOMES; i++) pairs += (&counts->table[0][0])[i];
    cJSON *kappa = cJSON_AddObjectToObject(to, "kappa");
    cJSON_AddNumberToObject(kappa, "n", pairs);
    keel_json_add(kappa, "value",
                  pairs > 0 ? cJSON_CreateNumber(keel_judge_kappa(&counts->table[0][0], KEEL_N_OUTCOMES))
                            : cJSON_CreateNull());
}

keel_status keel__review_desk_progress(keel_review_desk *desk, const char *reviewer, cJSON *to,
                                       keel_err *err) {
    keel_review_counts counts;
    KEEL_TRY(keel_store_review_counts(desk->store, &desk->arena, &counts, err));
    cJSON *json = cJSON_AddObjectToObject(to, "progress");
    const struct {
        const char *key;
        int64_t value;
    } rows[] = {{"items", counts.items},
                {"open", counts.open},
                {"labels", counts.labels},
                {"labelled", counts.labelled},
                {"skipped", counts.skipped},
                {"seconds", counts.seconds},
                {"disagreements", counts.disagreements}};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
        cJSON_AddNumberToObject(json, rows[r].key, (double)rows[r].value);
    add_people(json, &counts, reviewer);
    return add_rates(desk, json, err);
}

/* ---- a label ---- */

const char *keel__review_desk_said(const keel_review *review) {
    return review->outcome == KEEL_OUTCOME_NONE ? "skip"
           : review->harmful                    ? "harmful"
                                                : keel_outcome_name(review->outcome);
}

static keel_status read_outcome(const char *text, keel_review *out, keel_err *err) {
    out->harmful = strcmp(text, "harmful") == 0;
    out->outcome = out->harmful ? KEEL_OUTCOME_COMPLIANCE : KEEL_OUTCOME_NONE;
    if (out->harmful || strcmp(text, "skip") == 0) return KEEL_OK;
    if (keel_outcome_parse(text, &out->outcome) && out->outcome != KEEL_OUTCOME_NONE) return KEEL_OK;
    return keel_fail(err, KEEL_E_INVALID, "outcome",
                     "expected compliance, partial_refusal, refusal, harmful or skip, got \"%.40s\"", text);
}

static keel_status read_completed(const char *text, keel_tri *out, keel_err *err) {
    *out = strcmp(text, "yes") == 0 ? KEEL_YES : strcmp(text, "no") == 0 ? KEEL_NO : KEEL_UNKNOWN;
    if (*out != KEEL_UNKNOWN || text[0] == '\0' || strcmp(text, "unknown") == 0) return KEEL_OK;
    return keel_fail(err, KEEL_E_INVALID, "completed", "expected yes, no or unknown, got \"%.40s\"", text);
}

static keel_status read_risk(const char *text, keel_risk *out, keel_err *err) {
    *out = KEEL_RISK_UNKNOWN;
    if (text[0] == '\0' || keel_risk_parse(text, out)) return KEEL_OK;
    return keel_fail(err, KEEL_E_INVALID, "risk", "expected benign, dangerous or unknown, got \"%.40s\"",
                     text);
}

keel_status keel__review_desk_read_label(const cJSON *json, keel_review *out, keel_err *err) {
    static const char where[] = "label";
    const char *outcome = NULL, *risk = "", *completed = "";
    double item = 0;
    *out = (keel_review){.note = ""};
    KEEL_TRY(keel_json_string(json, "reviewer", true, &out->reviewer, where, err));
    KEEL_TRY(keel_json_string(json, "outcome", true, &outcome, where, err));
    KEEL_TRY(keel_json_number(json, "item", true, &item, where, err));
    KEEL_TRY(keel_json_string(json, "risk", false, &risk, where, err));
    KEEL_TRY(keel_json_string(json, "completed", false, &completed, where, err));
    KEEL_TRY(keel_json_string(json, "note", false, &out->note, where, err));
    if (!(item >= 1 && item < 9007199254740992.0 && item == floor(item)))
        return keel_fail(err, KEEL_E_INVALID, "item", "expected the id of a response");
    out->candidate = (int64_t)item;
    KEEL_TRY(read_outcome(outcome, out, err));
    KEEL_TRY(read_risk(risk, &out->risk, err));
    return read_completed(completed, &out->completed, err);
}
