#include "datasets/store_served.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/text.h"
#include "datasets/store_internal.h"

/* ---- talks ---- */

static keel_status check(const keel_served *s, keel_err *err) {
    const keel_conversation *c = s->conversation;
    const size_t length = s->request ? strlen(s->request) : 0;
    const char *wrong = NULL;
    if (length == 0 || length > KEEL_SERVED_REQUEST)
        wrong = "its id is empty or too long";
    else if (s->decision >= c->n_decisions || s->taken >= c->decisions[s->decision].n_candidates ||
             s->would < -1 || s->would >= (int64_t)c->decisions[s->decision].n_candidates)
        wrong = "no such decision or candidate";
    else if (!isfinite(s->at))
        wrong = "its time is no number";
    else if (s->propensity.present && !(s->propensity.value > 0 && s->propensity.value <= 1))
        wrong = "its propensity is not in (0, 1]";
    return wrong ? keel_fail(err, KEEL_E_INVALID, s->request ? s->request : "request", "%s", wrong) : KEEL_OK;
}

/* What waits to be inserted is inserted first where it may be this talk. */
static keel_status is_answered(keel_store *store, const keel_served *s, bool *answered, keel_err *err) {
    sqlite3_stmt *statement;
    bool row;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_SERVED_ANSWERED, &statement, err));
    keel__bind_text(statement, 1, s->conversation->external_id);
    keel__bind_text(statement, 2, s->conversation->source);
    sqlite3_bind_int64(statement, 3, (int64_t)s->conversation->decisions[s->decision].turn);
    KEEL_TRY(keel__store_step(store, statement, &row, "looking for an answer", err));
    const int64_t id = row ? sqlite3_column_int64(statement, 0) : 0;
    *answered = row && sqlite3_column_int(statement, 1);
    sqlite3_reset(statement);
    if (!id || !keel__is_waiting(store, id)) return KEEL_OK;
    KEEL_TRY(keel__rows_insert(store, err));
    return is_answered(store, s, answered, err);
}

static keel_status add_conversation(keel_store *store, const keel_served *s, keel_err *err) {
    const char *group = s->conversation->group;
    store->by_prompt = true;
    const keel_status status =
        keel_store_add_conversation(store, s->conversation, false, s->request, NULL, err);
    store->by_prompt = false;
    s->conversation->group = group; /* one by prompt lies in the store's scratch */
    return status;
}

static keel_status add_talk(keel_store *store, const keel_served *s, keel_arena *arena, keel_err *err) {
    keel_conversation *c = s->conversation;
    bool answered = false;
    KEEL_TRY(is_answered(store, s, &answered, err));
    const keel_status status = answered ? KEEL_E_CONFLICT : add_conversation(store, s, err);
    if (status != KEEL_E_CONFLICT) return status;
    const size_t room = strlen(c->external_id) + strlen(s->request) + 2;
    char *own = keel_arena_alloc(arena, room);
    if (!own) return keel_nomem(err, s->request);
    snprintf(own, room, "%s~%s", c->external_id, s->request);
    c->external_id = own;
    return add_conversation(store, s, err);
}

/* ---- rows ---- */

static void bind_id(sqlite3_stmt *statement, int place, int64_t id) {
    if (id > 0)
        sqlite3_bind_int64(statement, place, id);
    else
        sqlite3_bind_null(statement, place);
}

static keel_status add_row(keel_store *store, const keel_served *s, keel_err *err) {
    const keel_decision *decision = &s->conversation->decisions[s->decision];
    sqlite3_stmt *row;
    int at = 0;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_ADD_SERVED, &row, err));
    keel__bind_text(row, ++at, s->request);
    bind_id(row, ++at, s->start);
    sqlite3_bind_int64(row, ++at, s->conversation->id);
    sqlite3_bind_int64(row, ++at, decision->id);
    sqlite3_bind_int64(row, ++at, decision->candidates[s->taken].id);
    bind_id(row, ++at, s->would >= 0 ? decision->candidates[s->would].id : 0);
    keel__bind_text(row, ++at, s->policy);
    keel__bind_text(row, ++at, s->base);
    keel__bind_text(row, ++at, s->arm ? s->arm : "");
    keel__bind_text(row, ++at, s->segment ? s->segment : "");
    keel__bind_text(row, ++at, s->user);
    sqlite3_bind_double(row, ++at, s->at);
    keel__bind_optional(row, ++at, s->propensity);
    sqlite3_bind_int(row, ++at, s->explored);
    sqlite3_bind_int(row, ++at, s->fallback);
    sqlite3_bind_int(row, ++at, s->shadow);
    sqlite3_bind_int64(row, ++at, s->stopped);
    keel__bind_optional(row, ++at, s->total_ms);
    keel__bind_optional(row, ++at, s->upstream_ms);
    keel__bind_optional(row, ++at, s->encode_ms);
    keel__bind_optional(row, ++at, s->decide_ms);
    KEEL_TRY(keel__store_run(store, row, "adding what was served", err));
    if (sqlite3_changes(store->db) == 0)
        return keel_fail(err, KEEL_E_CONFLICT, s->request, "a request of this id is in the store already");
    return KEEL_OK;
}

static keel_status add_verdict(keel_store *store, const keel_served *s, keel_err *err) {
    const keel_candidate *answer = &s->conversation->decisions[s->decision].candidates[s->taken];
    if (s->judged == KEEL_OUTCOME_NONE) return KEEL_OK;
    return keel_store_put_label(store, answer->id, s->judged, s->authority, s->judge, s->confidence, err);
}

static keel_status add_all(keel_store *store, const keel_served *served, size_t n, keel_arena *arena,
                           keel_err *err) {
    for (size_t i = 0; i < n; i++) KEEL_TRY(check(&served[i], err));
    for (size_t i = 0; i < n; i++) KEEL_TRY(add_talk(store, &served[i], arena, err));
    KEEL_TRY(keel__rows_insert(store, err));
    for (size_t i = 0; i < n; i++) KEEL_TRY(add_row(store, &served[i], err));
    for (size_t i = 0; i < n; i++) KEEL_TRY(add_verdict(store, &served[i], err));
    return KEEL_OK;
}

keel_status keel_store_add_served(keel_store *store, const keel_served *served, size_t n, keel_arena *arena,
                                  keel_err *err) {
    keel_store_gather(store);
    return add_all(store, served, n, arena, err);
}

/* ---- feedback ---- */

/* The rows that a request is of. */
typedef struct rows {
    int64_t conversation, candidate;
    keel_risk risk;
} rows;

static keel_status find_rows(keel_store *store, const char *request, rows *out, keel_err *err) {
    sqlite3_stmt *statement;
    bool row;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_SERVED_ROWS, &statement, err));
    keel__bind_text(statement, 1, request);
    KEEL_TRY(keel__store_step(store, statement, &row, "looking for a request", err));
    if (!row) return keel_fail(err, KEEL_E_NOT_FOUND, request, "no request of this id was served");
    *out = (rows){sqlite3_column_int64(statement, 0), sqlite3_column_int64(statement, 1),
                  (keel_risk)sqlite3_column_int(statement, 2)};
    sqlite3_reset(statement);
    return KEEL_OK;
}

keel_status keel_store_find_served(keel_store *store, const char *request, keel_err *err) {
    rows of;
    return find_rows(store, request, &of, err);
}

static keel_status check_feedback(const keel_feedback *f, keel_err *err) {
    const bool said = f->feedback.present || f->outcome || f->completed != KEEL_UNKNOWN || f->risk;
    const char *wrong = NULL;
    if (!said)
        wrong = "it says nothing";
    else if (f->feedback.present && !(f->feedback.value >= -1 && f->feedback.value <= 1))
        wrong = "a feedback is from -1 to 1";
    else if ((unsigned)f->outcome > KEEL_N_OUTCOMES || (unsigned)f->risk > KEEL_RISK_DANGEROUS ||
             f->completed < KEEL_UNKNOWN || f->completed > KEEL_YES || !isfinite(f->at))
        wrong = "a value is out of range";
    return wrong ? keel_fail(err, KEEL_E_INVALID, f->request, "feedback: %s", wrong) : KEEL_OK;
}

static keel_status add_feedback_row(keel_store *store, const keel_feedback *f, keel_err *err) {
    sqlite3_stmt *row;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_ADD_FEEDBACK, &row, err));
    keel__bind_text(row, 1, f->request);
    bind_id(row, 2, f->start);
    sqlite3_bind_double(row, 3, f->at);
    keel__bind_optional(row, 4, f->feedback);
    sqlite3_bind_int(row, 5, (int)f->outcome);
    sqlite3_bind_int(row, 6, (int)f->completed);
    sqlite3_bind_int(row, 7, (int)f->risk);
    keel__bind_text(row, 8, f->source ? f->source : "");
    return keel__store_run(store, row, "adding feedback", err);
}

static keel_status label(keel_store *store, const keel_feedback *f, int64_t candidate, keel_err *err) {
    char name[128];
    const bool named = f->source && f->source[0];
    const int length =
        snprintf(name, sizeof name, "feedback%s%.100s", named ? ":" : "", named ? f->source : "");
    name[keel_utf8_valid_prefix(name, (size_t)length)] = '\0';
    return keel_store_put_label(store, candidate, f->outcome, KEEL_AUTHORITY_HUMAN, name, 1, err);
}

static keel_status say(keel_store *store, const keel_feedback *f, const rows *of, keel_err *err) {
    sqlite3_stmt *statement;
    if (f->feedback.present) {
        KEEL_TRY(keel__store_statement(store, KEEL__SQL_SAY_FEEDBACK, &statement, err));
        sqlite3_bind_int64(statement, 1, of->candidate);
        sqlite3_bind_double(statement, 2, f->feedback.value);
        KEEL_TRY(keel__store_run(store, statement, "setting feedback", err));
    }
    if (f->outcome) KEEL_TRY(label(store, f, of->candidate, err));
    if (f->completed == KEEL_UNKNOWN && !f->risk) return KEEL_OK;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_SAY_OF_TALK, &statement, err));
    sqlite3_bind_int64(statement, 1, of->conversation);
    sqlite3_bind_int(statement, 2, (int)f->completed);
    sqlite3_bind_int(statement, 3, (int)f->risk);
    return keel__store_run(store, statement, "setting what is said of a talk", err);
}

/* A group's split goes by its risk: what was provisional without it goes by it from now on. */
static keel_status raise_risk(keel_store *store, const keel_feedback *f, const rows *of, keel_err *err) {
    keel_arena arena = {0};
    keel_conversation *conversation;
    if (!f->risk || of->risk) return KEEL_OK;
    keel_status status = keel_store_conversation(store, of->conversation, &arena, &conversation, err);
    if (status == KEEL_OK) status = keel__stratify_raise(store, conversation, f->risk, err);
    keel_arena_free(&arena);
    return status;
}

keel_status keel_store_add_feedback(keel_store *store, const keel_feedback *f, int64_t *conversation,
                                    keel_err *err) {
    rows of = {0};
    bool lifted = false;
    KEEL_TRY(check_feedback(f, err));
    KEEL_TRY(keel__rows_insert(store, err));
    KEEL_TRY(find_rows(store, f->request, &of, err));
    KEEL_TRY(keel__review_lift(store, of.conversation, &lifted, err));
    KEEL_TRY(add_feedback_row(store, f, err));
    KEEL_TRY(say(store, f, &of, err));
    KEEL_TRY(raise_risk(store, f, &of, err));
    *conversation = of.conversation;
    return lifted ? keel__review_lay(store, of.conversation, err) : KEEL_OK;
}

/* ---- starts and losses ---- */

keel_status keel_store_add_start(keel_store *store, double at, const char *arms, int64_t *id, keel_err *err) {
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_ADD_START, &statement, err));
    sqlite3_bind_double(statement, 1, at);
    keel__bind_text(statement, 2, arms);
    KEEL_TRY(keel__store_run(store, statement, "recording a start", err));
    *id = sqlite3_last_insert_rowid(store->db);
    return KEEL_OK;
}

keel_status keel_store_end_start(keel_store *store, int64_t id, int64_t accepted, bool *ended,
                                 keel_err *err) {
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_END_START, &statement, err));
    sqlite3_bind_int64(statement, 1, id);
    sqlite3_bind_int64(statement, 2, accepted);
    KEEL_TRY(keel__store_run(store, statement, "recording an end", err));
    *ended = sqlite3_changes(store->db) > 0;
    return KEEL_OK;
}

keel_status keel_store_end_starts(keel_store *store, keel_err *err) {
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_END_STARTS, &statement, err));
    return keel__store_run(store, statement, "recording ends", err);
}

keel_status keel_store_count_start(keel_store *store, int64_t id, int64_t *entries, keel_err *err) {
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_COUNT_START, &statement, err));
    sqlite3_bind_int64(statement, 1, id);
    return keel__store_number(store, statement, "counting what was served", 0, entries, err);
}

keel_status keel_store_add_lost(keel_store *store, int64_t start, double at, int64_t count, const char *why,
                                keel_err *err) {
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_ADD_LOST, &statement, err));
    bind_id(statement, 1, start);
    sqlite3_bind_double(statement, 2, at);
    sqlite3_bind_int64(statement, 3, count);
    keel__bind_text(statement, 4, why);
    return keel__store_run(store, statement, "recording what was lost", err);
}

static keel_status read_start(keel_store *store, sqlite3_stmt *s, keel_arena *arena, void *item,
                              keel_err *err) {
    keel_serve_start *out = item;
    *out = (keel_serve_start){.id = sqlite3_column_int64(s, 0), .at = sqlite3_column_double(s, 1)};
    KEEL_TRY(keel__column_text(s, 2, arena, &out->arms, err));
    return out->arms ? KEEL_OK : keel__store_damaged(store, "a start without its arms", err);
}

keel_status keel_store_starts(keel_store *store, keel_arena *arena, keel_serve_start **out, size_t *count,
                              keel_err *err) {
    static const keel__list starts = {"reading starts", sizeof **out, read_start};
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_STARTS, &statement, err));
    return keel__store_list(store, statement, &starts, arena, out, count, err);
}

/* ---- reading ---- */

static keel_status read_row(keel_store *store, sqlite3_stmt *s, keel_served_row *out, keel_err *err) {
    *out = (keel_served_row){.conversation = sqlite3_column_int64(s, 0),
                             .start = sqlite3_column_int64(s, 1),
                             .arm = (const char *)sqlite3_column_text(s, 2),
                             .segment = (const char *)sqlite3_column_text(s, 3),
                             .user = (const char *)sqlite3_column_text(s, 4),
                             .policy = (const char *)sqlite3_column_text(s, 5),
                             .at = sqlite3_column_double(s, 6),
                             .shadow = sqlite3_column_int(s, 7) != 0,
                             .stopped = (uint32_t)sqlite3_column_int64(s, 8),
                             .risk = (keel_risk)sqlite3_column_int(s, 9),
                             .completed = (keel_tri)sqlite3_column_int(s, 10),
                             .outcome = (keel_outcome)sqlite3_column_int(s, 11),
                             .feedback = keel__column_optional(s, 12),
                             .reward = keel__column_reward(s, 13)};
    const bool whole = out->arm && out->segment && (unsigned)out->risk <= KEEL_RISK_DANGEROUS &&
                       (unsigned)out->outcome <= KEEL_N_OUTCOMES && out->completed >= KEEL_UNKNOWN &&
                       out->completed <= KEEL_YES &&
                       (!out->feedback.present || fabs(out->feedback.value) <= 1);
    return whole ? KEEL_OK : keel__store_damaged(store, "a request with impossible values", err);
}

keel_status keel_store_walk_served(keel_store *store, double since, keel_served_look *look, void *context,
                                   keel_err *err) {
    sqlite3_stmt *statement;
    keel_served_row one;
    bool row = true;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_WALK_SERVED, &statement, err));
    sqlite3_bind_double(statement, 1, since);
    keel_status status;
    while ((status = keel__store_step(store, statement, &row, "reading what was served", err)) == KEEL_OK &&
           row) {
        status = read_row(store, statement, &one, err);
        if (status == KEEL_OK) status = look(context, &one, err);
        if (status != KEEL_OK) break;
    }
    sqlite3_reset(statement);
    return status;
}

keel_status keel_store_walk_arms(keel_store *store, keel_served_arm_look *look, void *context,
                                 keel_err *err) {
    sqlite3_stmt *statement;
    bool row = true;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_WALK_ARMS, &statement, err));
    keel_status status;
    while ((status = keel__store_step(store, statement, &row, "reading who answered", err)) == KEEL_OK &&
           row) {
        const char *policy = (const char *)sqlite3_column_text(statement, 1);
        status = look(context, (const char *)sqlite3_column_text(statement, 0), policy ? policy : "",
                      sqlite3_column_double(statement, 2), err);
        if (status != KEEL_OK) break;
    }
    sqlite3_reset(statement);
    return status;
}

keel_status keel_store_count_served(keel_store *store, double since, size_t *before, size_t *from,
                                    keel_err *err) {
    sqlite3_stmt *statement;
    bool row;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_COUNT_SERVED, &statement, err));
    sqlite3_bind_double(statement, 1, since);
    KEEL_TRY(keel__store_step(store, statement, &row, "counting what was served", err));
    *before = (size_t)sqlite3_column_int64(statement, 0);
    *from = (size_t)sqlite3_column_int64(statement, 1);
    sqlite3_reset(statement);
    return KEEL_OK;
}

keel_status keel_store_version(keel_store *store, int64_t *out, keel_err *err) {
    sqlite3_stmt *statement;
    bool row;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_VERSION, &statement, err));
    KEEL_TRY(keel__store_step(store, statement, &row, "asking whether it was written to", err));
    *out = sqlite3_column_int64(statement, 0);
    sqlite3_reset(statement);
    return KEEL_OK;
}

keel_status keel_store_has_served(keel_store *store, bool *has, keel_err *err) {
    return keel__store_has_table(store, "served", has, err);
}
