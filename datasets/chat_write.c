/* Writing the chat format. Most conversations are written as a log has them: the messages, of which every
 * assistant's is a decision and its own first candidate. A conversation for which reading that would not give
 * the same decisions back lists its decisions in the key `keel`. */
#include "datasets/chat.h"

#include <stdlib.h>
#include <string.h>

#include "datasets/message.h"
#include "datasets/reader_internal.h"
#include "datasets/value.h"

/* A decision as it is written. */
typedef struct plan {
    const keel_decision *decision;
    const keel_candidate **order; /* [n_candidates] what the message itself says first, then as they came */
    const cJSON **extra;          /* [n_candidates] their entries in meta.messages, or NULL */
} plan;

typedef struct writer {
    const keel_conversation *c;
    keel_arena arena;
    keel_buf *out;
    plan *plans;         /* [n_decisions] */
    bool listed;         /* decisions and all of their candidates are listed */
    cJSON *meta;         /* owned; or NULL */
    const cJSON **extra; /* [n_turns + 1] entries of messages in meta.messages, or NULL */
    bool *spread;        /* [size of meta.messages] whether the entry is written at its message */
} writer;

/* ---- decisions ---- */

static int compare_rows(const void *a, const void *b) {
    const keel_candidate *x = *(const keel_candidate *const *)a, *y = *(const keel_candidate *const *)b;
    if (x->id != y->id) return x->id < y->id ? -1 : 1;
    return x < y ? -1 : x > y;
}

static bool agrees(const char *said, const char *known) {
    return !said || (known && strcmp(said, known) == 0);
}

/* Whether the message gives this candidate, if the list of candidates adds what the message lacks. */
static bool is_said(const keel_turn *turn, const keel_candidate *candidate) {
    const bool timed = candidate->latency_ms.present && candidate->latency_ms.value == turn->latency_ms.value;
    return candidate->taken && strcmp(turn->text, candidate->text) == 0 &&
           agrees(turn->model, candidate->model) && agrees(turn->act, candidate->act) &&
           (!turn->latency_ms.present || timed);
}

/* Puts the candidates in order. False: reading the message and a list would not give the same ones. */
static bool order_candidates(const writer *w, plan *p) {
    const size_t n = p->decision->n_candidates, turn = p->decision->turn;
    for (size_t i = 0; i < n; i++) p->order[i] = &p->decision->candidates[i];
    qsort(p->order, n, sizeof *p->order, compare_rows);
    if (turn < w->c->n_turns) {
        size_t k = 0;
        while (k < n && !is_said(&w->c->turns[turn], p->order[k])) k++;
        if (k == n) return false;
        const keel_candidate *said = p->order[k];
        memmove(p->order + 1, p->order, k * sizeof *p->order);
        p->order[0] = said;
    }
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++)
            if (keel__chat_same_response(p->order[i], p->order[k])) return false;
    return true;
}

/* Whether the decisions are those that the roles of the messages imply. */
static bool are_implied(const keel_conversation *c) {
    size_t d = 0;
    for (size_t i = 0; i < c->n_turns; i++) {
        const bool there = d < c->n_decisions && c->decisions[d].turn == i;
        if (there != (c->turns[i].role == KEEL_ROLE_ASSISTANT)) return false;
        d += there;
    }
    if (d < c->n_decisions) return true; /* an open one is written as a message without content */
    if (c->n_turns == 0) return false;
    const keel_role last = c->turns[c->n_turns - 1].role;
    return last != KEEL_ROLE_USER && last != KEEL_ROLE_TOOL;
}

static bool plan_decisions(writer *w) {
    const keel_conversation *c = w->c;
    w->listed = !are_implied(c);
    w->plans = keel_arena_calloc(&w->arena, c->n_decisions + 1, sizeof *w->plans);
    if (!w->plans) return false;
    for (size_t d = 0; d < c->n_decisions; d++) {
        plan *p = &w->plans[d];
        const size_t n = c->decisions[d].n_candidates;
        p->decision = &c->decisions[d];
        p->order = keel_arena_calloc(&w->arena, n + 1, sizeof *p->order);
        p->extra = keel_arena_calloc(&w->arena, n + 1, sizeof *p->extra);
        if (!p->order || !p->extra) return false;
        if (!order_candidates(w, p)) w->listed = true;
    }
    return true;
}

/* The decision at a turn, or NULL. */
static plan *plan_at(const writer *w, size_t turn) {
    size_t low = 0, high = w->c->n_decisions;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (w->c->decisions[middle].turn < turn)
            low = middle + 1;
        else
            high = middle;
    }
    return low < w->c->n_decisions && w->c->decisions[low].turn == turn ? &w->plans[low] : NULL;
}

/* ---- meta ---- */

static bool read_index(const cJSON *item, const char *key, size_t end, size_t *out) {
    if (!item || strcmp(item->string, key) != 0 || !cJSON_IsNumber(item)) return false;
    if (!(item->valuedouble >= 0 && item->valuedouble < (double)end)) return false;
    *out = (size_t)item->valuedouble;
    return (double)*out == item->valuedouble;
}

/* Content in parts that hold more than text, and say what the text says. */
static bool fits_content(const cJSON *item, const char *text) {
    return keel__message_parts_say(item, text);
}

static bool fits_keys(const cJSON *first, const char *const *keys, const char *text) {
    for (const cJSON *item = first; item; item = item->next)
        if (keel__is_among(item->string, keys) &&
            (strcmp(item->string, keys[0]) != 0 || !text || !fits_content(item, text)))
            return false;
    return first != NULL;
}

/* The place of an entry of meta.messages, {"turn", "candidate"?, keys}, if it can be written there. */
static const cJSON **place_of(const writer *w, const cJSON *entry) {
    size_t turn, k;
    const cJSON *first = cJSON_IsObject(entry) ? entry->child : NULL;
    const bool open = plan_at(w, w->c->n_turns) != NULL;
    if (!read_index(first, "turn", w->c->n_turns + open, &turn)) return NULL;
    plan *p = plan_at(w, turn);
    first = first->next;
    if (!keel_json_get(entry, "candidate")) {
        const char *text = turn < w->c->n_turns ? w->c->turns[turn].text : NULL;
        return fits_keys(first, keel__chat_message_keys, text) ? &w->extra[turn] : NULL;
    }
    if (!p || !read_index(first, "candidate", p->decision->n_candidates, &k)) return NULL;
    const bool said = k == 0 && !w->listed && turn < w->c->n_turns;
    return !said && fits_keys(first->next, keel__chat_candidate_keys, p->order[k]->text) ? &p->extra[k]
                                                                                         : NULL;
}

static keel_status plan_meta(writer *w, keel_err *err) {
    const keel_conversation *c = w->c;
    w->extra = keel_arena_calloc(&w->arena, c->n_turns + 1, sizeof *w->extra);
    if (!w->extra) return keel_nomem(err, c->external_id);
    if (!c->meta) return KEEL_OK;
    KEEL_TRY(keel_json_parse(c->meta, strlen(c->meta), c->external_id, &w->meta, err));
    if (!cJSON_IsObject(w->meta))
        return keel_fail(err, KEEL_E_INVALID, c->external_id, "its meta is not a JSON object");
    const cJSON *list = keel_json_get(w->meta, "messages");
    if (!cJSON_IsArray(list)) return KEEL_OK;
    size_t i = (size_t)cJSON_GetArraySize(list);
    w->spread = keel_arena_calloc(&w->arena, i + 1, sizeof *w->spread);
    if (!w->spread) return keel_nomem(err, c->external_id);
    /* From the last one, as reading adds what stands at the messages behind what stands in meta. */
    for (const cJSON *entry = list->child ? list->child->prev : NULL; i > 0; entry = entry->prev) {
        const cJSON **place = place_of(w, entry);
        w->spread[--i] = place && !*place;
        if (w->spread[i]) *place = entry;
    }
    return KEEL_OK;
}

/* ---- JSON ---- */

/* Begins a member of an object: a comma unless it is the first, and its key. */
static void put_key(keel_buf *out, const char *key) {
    if (out->length && out->data[out->length - 1] != '{') keel_buf_text(out, ", ");
    keel_json_put_string(out, key);
    keel_buf_text(out, ": ");
}

static void put_text(keel_buf *out, const char *key, const char *text) {
    if (!text) return;
    put_key(out, key);
    keel_json_put_string(out, text);
}

static void put_true(keel_buf *out, const char *key, bool value) {
    if (!value) return;
    put_key(out, key);
    keel_buf_text(out, "true");
}

static void put_optional(keel_buf *out, const char *key, keel_optional value) {
    if (!value.present) return;
    put_key(out, key);
    keel_json_put_number(out, value.value);
}

static keel_status put_value(keel_buf *out, const cJSON *item, keel_err *err) {
    put_key(out, item->string);
    return keel_json_print(item, false, out, err);
}

/* Members of an entry of meta.messages but its place and content. */
static keel_status put_extra(keel_buf *out, const cJSON *entry, keel_err *err) {
    for (const cJSON *item = entry ? entry->child->next : NULL; item; item = item->next)
        if (strcmp(item->string, "content") != 0 && strcmp(item->string, "candidate") != 0)
            KEEL_TRY(put_value(out, item, err));
    return KEEL_OK;
}

/* ---- messages ---- */

static keel_status put_content(keel_buf *out, const char *text, const cJSON *entry, keel_err *err) {
    const cJSON *parts = keel_json_get(entry, "content");
    if (parts) return put_value(out, parts, err);
    put_text(out, "content", text);
    return KEEL_OK;
}

static void put_reward(keel_buf *out, const keel_reward *reward) {
    bool any = false;
    for (int k = 0; k < KEEL_N_REWARDS; k++) any = any || reward->present[k];
    if (!any) return;
    put_key(out, "reward");
    keel_buf_text(out, "{");
    for (int k = 0; k < KEEL_N_REWARDS; k++)
        put_optional(out, keel_reward_name(k), (keel_optional){reward->present[k], (double)reward->value[k]});
    keel_buf_text(out, "}");
}

/* What is known of a response besides what was said and by whom. */
static void put_judgements(keel_buf *out, const keel_candidate *candidate) {
    put_optional(out, "propensity", candidate->propensity);
    put_optional(out, "feedback", candidate->feedback);
    put_reward(out, &candidate->logged_reward);
    if (candidate->outcome == KEEL_OUTCOME_NONE) return;
    put_text(out, "outcome", keel_outcome_name(candidate->outcome));
    if (candidate->judge == KEEL_AUTHORITY_MODEL || candidate->judge == KEEL_AUTHORITY_RULE)
        put_text(out, "judge", keel_authority_name(candidate->judge));
}

static keel_status put_candidate(keel_buf *out, const keel_candidate *candidate, const cJSON *extra,
                                 keel_err *err) {
    keel_buf_text(out, "{");
    KEEL_TRY(put_content(out, candidate->text, extra, err));
    put_text(out, "model", candidate->model);
    put_text(out, "act", candidate->act);
    put_optional(out, "latency_ms", candidate->latency_ms);
    put_true(out, "taken", candidate->taken);
    put_judgements(out, candidate);
    KEEL_TRY(put_extra(out, extra, err));
    keel_buf_text(out, "}");
    return KEEL_OK;
}

/* The said candidate again, if the message lacks what is known of it. Reading makes the two one. */
static bool put_mention(keel_buf *out, const keel_turn *turn, const keel_candidate *said) {
    const bool model = said->model && !turn->model, act = said->act && !turn->act,
               time = said->latency_ms.present && !turn->latency_ms.present;
    if (!model && !act && !time) return false;
    keel_buf_text(out, "{");
    put_text(out, "content", said->text);
    put_text(out, "model", said->model);
    put_text(out, "act", said->act);
    put_optional(out, "latency_ms", said->latency_ms);
    keel_buf_text(out, "}");
    return true;
}

/* turn: the message that says the first of the candidates, NULL where all are listed. */
static keel_status put_candidates(keel_buf *out, const plan *p, const keel_turn *turn, keel_err *err) {
    const size_t n = p->decision->n_candidates, before = out->length;
    put_key(out, "candidates");
    keel_buf_text(out, "[");
    bool any = turn && put_mention(out, turn, p->order[0]);
    for (size_t i = turn ? 1 : 0; i < n; i++, any = true) {
        if (any) keel_buf_text(out, ", ");
        KEEL_TRY(put_candidate(out, p->order[i], p->extra[i], err));
    }
    keel_buf_text(out, "]");
    if (turn && !any && !out->failed) out->data[out->length = before] = '\0';
    return KEEL_OK;
}

static keel_status put_turn(writer *w, size_t i, keel_err *err) {
    const keel_turn *turn = &w->c->turns[i];
    const plan *p = plan_at(w, i);
    keel_buf_text(w->out, "{");
    put_text(w->out, "role", keel_role_name(turn->role));
    KEEL_TRY(put_content(w->out, turn->text, w->extra[i], err));
    put_text(w->out, "model", turn->model);
    put_text(w->out, "act", turn->act);
    put_optional(w->out, "latency_ms", turn->latency_ms);
    if (p && !w->listed) put_judgements(w->out, p->order[0]);
    if (p) KEEL_TRY(put_candidates(w->out, p, w->listed ? NULL : turn, err));
    KEEL_TRY(put_extra(w->out, w->extra[i], err));
    keel_buf_text(w->out, "}");
    return KEEL_OK;
}

static keel_status put_messages(writer *w, keel_err *err) {
    const size_t n = w->c->n_turns;
    const plan *open = plan_at(w, n);
    const bool waiting =
        n > 0 && (w->c->turns[n - 1].role == KEEL_ROLE_USER || w->c->turns[n - 1].role == KEEL_ROLE_TOOL);
    put_key(w->out, "messages");
    keel_buf_text(w->out, "[");
    for (size_t i = 0; i < n; i++) {
        if (i) keel_buf_text(w->out, ", ");
        KEEL_TRY(put_turn(w, i, err));
    }
    /* A decision that waits for an answer and has no candidates needs no message: that is how a log ends. */
    if (open && (w->listed || !waiting || open->decision->n_candidates > 0 || w->extra[n])) {
        if (n) keel_buf_text(w->out, ", ");
        keel_buf_text(w->out, "{\"role\": \"assistant\", \"content\": null");
        KEEL_TRY(put_candidates(w->out, open, NULL, err));
        KEEL_TRY(put_extra(w->out, w->extra[n], err));
        keel_buf_text(w->out, "}");
    }
    keel_buf_text(w->out, "]");
    return KEEL_OK;
}

/* ---- the conversation ---- */

static void put_keel(writer *w) {
    const bool other = strcmp(w->c->source, keel_formats[0].name) != 0;
    if (!other && !w->listed) return;
    put_key(w->out, "keel");
    keel_buf_text(w->out, "{");
    if (other) put_text(w->out, "source", w->c->source);
    if (w->listed) {
        put_key(w->out, "decisions");
        keel_buf_text(w->out, "[");
        for (size_t d = 0; d < w->c->n_decisions; d++)
            keel_buf_format(w->out, "%s%zu", d ? ", " : "", w->c->decisions[d].turn);
        keel_buf_text(w->out, "]");
    }
    keel_buf_text(w->out, "}");
}

/* meta.messages without the entries that are written at their messages, if any is left. */
static keel_status put_rest_of_messages(writer *w, const cJSON *list, keel_err *err) {
    bool any = false;
    size_t i = 0;
    if (!w->spread || !list->child) return put_value(w->out, list, err);
    for (const cJSON *entry = list->child; entry; entry = entry->next, i++) {
        if (w->spread[i]) continue;
        if (!any) put_key(w->out, "messages");
        keel_buf_text(w->out, any ? "," : "[");
        KEEL_TRY(keel_json_print(entry, false, w->out, err));
        any = true;
    }
    if (any) keel_buf_text(w->out, "]");
    return KEEL_OK;
}

/* Keys that came beside the others go there again; those that would be taken for others stay in meta, and so
 * does all meta of other formats. */
static keel_status put_meta(writer *w, keel_err *err) {
    const bool own = strcmp(w->c->source, keel_formats[0].name) == 0;
    const size_t before = w->out->length;
    if (!w->meta) return KEEL_OK;
    put_key(w->out, "meta");
    keel_buf_text(w->out, "{");
    const size_t empty = w->out->length;
    for (const cJSON *item = w->meta->child; item; item = item->next) {
        if (strcmp(item->string, "messages") == 0)
            KEEL_TRY(put_rest_of_messages(w, item, err));
        else if (!own || keel__is_among(item->string, keel__chat_conversation_keys))
            KEEL_TRY(put_value(w->out, item, err));
    }
    if (w->out->length > empty)
        keel_buf_text(w->out, "}");
    else if (!w->out->failed)
        w->out->data[w->out->length = before] = '\0';
    for (const cJSON *item = w->meta->child; own && item; item = item->next)
        if (!keel__is_among(item->string, keel__chat_conversation_keys))
            KEEL_TRY(put_value(w->out, item, err));
    return KEEL_OK;
}

static keel_status put_conversation(writer *w, keel_err *err) {
    const keel_conversation *c = w->c;
    keel_buf_text(w->out, "{");
    put_text(w->out, "id", c->external_id);
    put_keel(w);
    if (c->risk != KEEL_RISK_UNKNOWN) put_text(w->out, "risk", keel_risk_name(c->risk));
    if (c->completed != KEEL_UNKNOWN) {
        put_key(w->out, "completed");
        keel_buf_text(w->out, c->completed == KEEL_YES ? "true" : "false");
    }
    put_true(w->out, "truncated", c->truncated);
    put_text(w->out, "split", c->split);
    if (c->group) put_text(w->out, "group", c->group);
    KEEL_TRY(put_meta(w, err));
    KEEL_TRY(put_messages(w, err));
    keel_buf_text(w->out, "}");
    return KEEL_OK;
}

keel_status keel_chat_write(const keel_conversation *conversation, keel_buf *out, keel_err *err) {
    writer w = {.c = conversation, .out = out};
    keel_status status = plan_decisions(&w) ? plan_meta(&w, err) : keel_nomem(err, conversation->external_id);
    if (status == KEEL_OK) status = put_conversation(&w, err);
    if (status == KEEL_OK && out->failed) status = keel_nomem(err, conversation->external_id);
    cJSON_Delete(w.meta);
    keel_arena_free(&w.arena);
    return status;
}
