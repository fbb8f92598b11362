/* Reviews: SQL. Statements are short-lived: people are slow. */
#include "datasets/store_review.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/hash.h"
#include "core/text.h"
#include "datasets/store_internal.h"

#define OF_CONVERSATION                                                                                      \
    " FROM candidates k JOIN decisions d ON d.id = k.decision_id WHERE d.conversation_id = ?1"

/* Runs one statement about one row. */
static keel_status run(keel_store *store, const char *sql, int64_t id, keel_err *err) {
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_prepare(store, sql, &statement, err));
    if (sqlite3_bind_parameter_count(statement) > 0) sqlite3_bind_int64(statement, 1, id);
    const keel_status status = keel__store_run(store, statement, "keeping a review", err);
    sqlite3_finalize(statement);
    return status;
}

keel_status keel_store_review_has(keel_store *store, bool *has, keel_err *err) {
    return keel__store_has_table(store, "reviews", has, err);
}

keel_status keel_store_review_sync(keel_store *store, keel_err *err) {
    return run(store, "PRAGMA synchronous = FULL", 0, err);
}

/* ---- the order ---- */

keel_status keel_store_review_restart(keel_store *store, keel_err *err) {
    return run(store, "DELETE FROM review_items WHERE NOT EXISTS (SELECT 1 FROM reviews)", 0, err);
}

static double number_of(uint64_t hash) {
    return ((double)(hash >> 11) + 0.5) / 9007199254740992.0; /* 2^53 */
}

static void draw(sqlite3_stmt *statement, keel_review_response *out) {
    enum { NUMBER = 1, OTHER = 2 };
    const char *source = (const char *)sqlite3_column_text(statement, 6),
               *name = (const char *)sqlite3_column_text(statement, 7);
    const void *text = sqlite3_column_text(statement, 9);
    const size_t length = (size_t)sqlite3_column_bytes(statement, 9);
    const uint64_t turn = (uint64_t)sqlite3_column_int64(statement, 8),
                   of = keel_hash64_mix(keel_hash64_texts(source ? source : "", name ? name : "", 0), turn),
                   said = keel_hash64(text ? text : "", text ? length : 0, 0);
    out->number = number_of(keel_hash64_mix(keel_hash64_mix(of, said), NUMBER));
    out->other = number_of(keel_hash64_mix(keel_hash64_mix(of, said), OTHER));
}

static keel_status read_response(keel_store *store, sqlite3_stmt *statement, keel_review_response *out,
                                 keel_err *err) {
    *out = (keel_review_response){.candidate = sqlite3_column_int64(statement, 0),
                                  .decision = sqlite3_column_int64(statement, 1),
                                  .conversation = sqlite3_column_int64(statement, 2),
                                  .risk = (keel_risk)sqlite3_column_int(statement, 3),
                                  .judged = (keel_outcome)sqlite3_column_int(statement, 4),
                                  .confidence = sqlite3_column_double(statement, 5)};
    if ((unsigned)out->risk > KEEL_RISK_DANGEROUS || (unsigned)out->judged > KEEL_N_OUTCOMES ||
        !(out->confidence >= 0 && out->confidence <= 1))
        return keel__store_damaged(store, "a label", err);
    draw(statement, out);
    return KEEL_OK;
}

keel_status keel_store_review_new(keel_store *store, keel_review_response **out, size_t *count,
                                  keel_err *err) {
    sqlite3_stmt *statement;
    keel_status status;
    bool row = true;
    size_t capacity = 0;
    *out = NULL;
    *count = 0;
    KEEL_TRY(keel__store_prepare(
        store,
        "SELECT k.id, d.id, c.id, c.risk, ifnull(l.outcome, 0), ifnull(l.confidence, 0), c.source,"
        " c.external_id, d.turn, coalesce(k.text, t.text) AS said FROM candidates k"
        " JOIN decisions d ON d.id = k.decision_id JOIN conversations c ON c.id = d.conversation_id"
        " LEFT JOIN turns t ON t.conversation_id = c.id AND t.position = d.turn"
        " LEFT JOIN labels l ON l.id = (SELECT id FROM labels WHERE candidate_id = k.id AND judge < 3"
        " ORDER BY judge DESC, id DESC LIMIT 1)"
        " WHERE k.taken AND k.judge < 3 AND said <> ''"
        " AND NOT EXISTS (SELECT 1 FROM review_items i WHERE i.candidate_id = k.id) ORDER BY k.id",
        &statement, err));
    while ((status = keel__store_step(store, statement, &row, "reading responses", err)) == KEEL_OK && row) {
        status = keel_grow(out, *count + 1, &capacity, sizeof **out)
                     ? read_response(store, statement, &(*out)[*count], err)
                     : keel_nomem(err, keel_store_path(store));
        if (status != KEEL_OK) break;
        ++*count;
    }
    sqlite3_finalize(statement);
    return status;
}

static keel_status add_all(keel_store *store, const keel_review_response *responses,
                           const keel_review_place *places, size_t count, keel_err *err) {
    sqlite3_stmt *statement;
    keel_status status = KEEL_OK;
    KEEL_TRY(keel__store_prepare(store,
                                 "INSERT INTO review_items(candidate_id, size, place, judged, reason, twice,"
                                 " wants) VALUES(?1, ?2, ?3, ?4, ?5, ?6, 1 + ?6)",
                                 &statement, err));
    for (size_t i = 0; i < count && status == KEEL_OK; i++) {
        sqlite3_bind_int64(statement, 1, responses[i].candidate);
        sqlite3_bind_double(statement, 2, places[i].size);
        sqlite3_bind_double(statement, 3, places[i].place);
        sqlite3_bind_int(statement, 4, (int)responses[i].judged);
        sqlite3_bind_int(statement, 5, (int)places[i].reason);
        sqlite3_bind_int(statement, 6, places[i].twice);
        status = keel__store_run(store, statement, "ordering responses", err);
    }
    sqlite3_finalize(statement);
    return status;
}

keel_status keel_store_review_add(keel_store *store, const keel_review_response *responses,
                                  const keel_review_place *places, size_t count, keel_err *err) {
    KEEL_TRY(keel_store_begin(store, err));
    return keel__store_end(store, true, add_all(store, responses, places, count, err), err);
}

/* ---- who looks at what next ---- */

#define NEXT                                                                                                 \
    "SELECT i.candidate_id, d.conversation_id, d.id, i.reason, i.done, i.wants FROM review_items i"          \
    " JOIN candidates k ON k.id = i.candidate_id JOIN decisions d ON d.id = k.decision_id WHERE "
#define NOT_MINE                                                                                             \
    " AND NOT EXISTS (SELECT 1 FROM reviews r WHERE r.candidate_id = i.candidate_id AND r.reviewer = ?1)"

static void read_next(sqlite3_stmt *statement, keel_review_next *out) {
    *out = (keel_review_next){
        sqlite3_column_int64(statement, 0), sqlite3_column_int64(statement, 1),
        sqlite3_column_int64(statement, 2), (keel_review_reason)sqlite3_column_int(statement, 3),
        sqlite3_column_int64(statement, 4), sqlite3_column_int64(statement, 5)};
}

static bool among(const int64_t *ids, size_t count, int64_t id) {
    for (size_t i = 0; i < count; i++)
        if (ids[i] == id) return true;
    return false;
}

/* The first row that is not leased. */
static keel_status first_free(keel_store *store, const char *sql, const char *reviewer, const int64_t *leased,
                              size_t n_leased, keel_review_next *out, keel_err *err) {
    sqlite3_stmt *statement;
    keel_status status;
    bool row = true;
    KEEL_TRY(keel__store_prepare(store, sql, &statement, err));
    if (sqlite3_bind_parameter_count(statement) > 0) keel__bind_text(statement, 1, reviewer);
    while ((status = keel__store_step(store, statement, &row, "choosing a response", err)) == KEEL_OK &&
           row) {
        if (among(leased, n_leased, sqlite3_column_int64(statement, 0))) continue;
        read_next(statement, out);
        break;
    }
    sqlite3_finalize(statement);
    return status;
}

keel_status keel_store_review_next(keel_store *store, const char *reviewer, const int64_t *leased,
                                   size_t n_leased, keel_review_next *out, keel_err *err) {
    static const char *const queues[] = {
        NEXT "i.done > 0 AND i.done < i.wants AND i.wants > 2" NOT_MINE " ORDER BY i.place",
        NEXT "i.done > 0 AND i.done < i.wants AND i.wants <= 2" NOT_MINE " ORDER BY i.place",
        NEXT "i.done = 0 ORDER BY i.place"};
    *out = (keel_review_next){0};
    for (size_t q = 0; q < sizeof queues / sizeof *queues && !out->candidate; q++)
        KEEL_TRY(first_free(store, queues[q], reviewer, leased, n_leased, out, err));
    return KEEL_OK;
}

keel_status keel_store_review_find(keel_store *store, int64_t candidate, keel_review_next *out,
                                   keel_err *err) {
    sqlite3_stmt *statement;
    bool row;
    *out = (keel_review_next){0};
    KEEL_TRY(keel__store_prepare(store, NEXT "i.candidate_id = ?1", &statement, err));
    sqlite3_bind_int64(statement, 1, candidate);
    keel_status status = keel__store_step(store, statement, &row, "looking for a response", err);
    if (status == KEEL_OK && row) read_next(statement, out);
    sqlite3_finalize(statement);
    if (status == KEEL_OK && !row)
        return keel_fail(err, KEEL_E_NOT_FOUND, "item", "no response %lld is under review",
                         (long long)candidate);
    return status;
}

/* ---- what counts ---- */

/* What most say of `column`, of equally many what was said first; among those rows where `said` holds. */
#define VOTE(column, of, said)                                                                               \
    "(SELECT v." column " FROM reviews v " of " AND " said " GROUP BY v." column                             \
    " ORDER BY count(*) DESC, min(v.id) LIMIT 1)"
#define OF_CANDIDATE    "WHERE v.candidate_id = ?1"
#define OF_CANDIDATES_C "WHERE v.candidate_id IN (SELECT k.id" OF_CONVERSATION ")"

static keel_status unmark_candidate(keel_store *store, int64_t candidate, keel_err *err) {
    KEEL_TRY(run(store,
                 "UPDATE candidates SET safety = (SELECT safety FROM review_items WHERE candidate_id = ?1)"
                 " WHERE id = ?1 AND (SELECT marked FROM review_items WHERE candidate_id = ?1)",
                 candidate, err));
    return run(store, "UPDATE review_items SET marked = 0, safety = NULL WHERE candidate_id = ?1", candidate,
               err);
}

static keel_status mark_candidate(keel_store *store, int64_t candidate, keel_err *err) {
    KEEL_TRY(run(store,
                 "UPDATE review_items SET marked = 1, safety = (SELECT safety FROM candidates WHERE id = ?1)"
                 " WHERE candidate_id = ?1 AND " VOTE("harmful", OF_CANDIDATE, "v.outcome > 0"),
                 candidate, err));
    return run(store,
               "UPDATE candidates SET safety = -1 WHERE id = ?1"
               " AND (SELECT marked FROM review_items WHERE candidate_id = ?1)",
               candidate, err);
}

/* Who shall still look at it: a third person where the first two disagree, one more where most do not agree.
 */
static keel_status settle_item(keel_store *store, int64_t candidate, keel_err *err) {
    return run(
        store,
        "UPDATE review_items SET done = (SELECT count(*) FROM reviews WHERE candidate_id = ?1),"
        " wants = CASE WHEN (SELECT count(*) > 1 AND 2 * (SELECT count(*) FROM reviews WHERE candidate_id = ?1"
        " AND outcome > 0 GROUP BY outcome, harmful ORDER BY count(*) DESC LIMIT 1) <= count(*)"
        " FROM reviews WHERE candidate_id = ?1 AND outcome > 0) THEN 3 ELSE 1 + twice END"
        " WHERE candidate_id = ?1",
        candidate, err);
}

static keel_status settle_candidate(keel_store *store, int64_t candidate, keel_err *err) {
    KEEL_TRY(unmark_candidate(store, candidate, err));
    KEEL_TRY(keel__store_settle_label(store, candidate, "", err));
    KEEL_TRY(mark_candidate(store, candidate, err));
    return settle_item(store, candidate, err);
}

static keel_status lift_conversation(keel_store *store, int64_t conversation, keel_err *err) {
    KEEL_TRY(
        run(store,
            "UPDATE conversations SET (risk, completed) = (SELECT risk, completed FROM reviewed_conversations"
            " WHERE conversation_id = ?1) WHERE id = ?1 AND EXISTS (SELECT 1 FROM reviewed_conversations"
            " WHERE conversation_id = ?1)",
            conversation, err));
    return run(store, "DELETE FROM reviewed_conversations WHERE conversation_id = ?1", conversation, err);
}

static keel_status settle_conversation(keel_store *store, int64_t conversation, keel_err *err) {
    KEEL_TRY(lift_conversation(store, conversation, err));
    KEEL_TRY(
        run(store,
            "INSERT INTO reviewed_conversations SELECT id, risk, completed FROM conversations WHERE id = ?1"
            " AND EXISTS (SELECT 1 FROM reviews v " OF_CANDIDATES_C " AND (v.risk > 0 OR v.completed >= 0))",
            conversation, err));
    return run(
        store,
        "UPDATE conversations SET risk = coalesce(" VOTE("risk", OF_CANDIDATES_C, "v.risk > 0") ", risk), completed = coalesce(" VOTE(
            "completed", OF_CANDIDATES_C,
            "v.completed >= 0") ", completed) WHERE id = ?1"
                                " AND EXISTS (SELECT 1 FROM reviewed_conversations WHERE conversation_id = ?1)",
        conversation, err);
}

/* ---- meeting an import ---- */

typedef keel_status each_candidate(keel_store *store, int64_t candidate, keel_err *err);

/* Calls it for the reviewed candidates of a conversation; *any: there was one. */
static keel_status for_each_reviewed(keel_store *store, int64_t conversation, each_candidate *call, bool *any,
                                     keel_err *err) {
    sqlite3_stmt *statement;
    keel_status status;
    bool row = true;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_REVIEWED, &statement, err));
    sqlite3_bind_int64(statement, 1, conversation);
    while ((status = keel__store_step(store, statement, &row, "reading reviews", err)) == KEEL_OK && row) {
        *any = true;
        status = call(store, sqlite3_column_int64(statement, 0), err);
        if (status != KEEL_OK) break;
    }
    sqlite3_reset(statement);
    return status;
}

static keel_status lift_candidate(keel_store *store, int64_t candidate, keel_err *err) {
    KEEL_TRY(unmark_candidate(store, candidate, err));
    return keel__store_settle_label(store, candidate, KEEL_REVIEW_LABEL "*", err);
}

keel_status keel__review_lift(keel_store *store, int64_t conversation, bool *lifted, keel_err *err) {
    *lifted = false;
    KEEL_TRY(for_each_reviewed(store, conversation, lift_candidate, lifted, err));
    return *lifted ? lift_conversation(store, conversation, err) : KEEL_OK;
}

keel_status keel__review_lay(keel_store *store, int64_t conversation, keel_err *err) {
    bool any = false;
    KEEL_TRY(for_each_reviewed(store, conversation, settle_candidate, &any, err));
    return settle_conversation(store, conversation, err);
}

/* ---- saying and taking back ---- */

bool keel_review_name_ok(const char *name) {
    const size_t length = strlen(name);
    if (length == 0 || length > KEEL_REVIEW_NAME || keel_utf8_valid_prefix(name, length) < length)
        return false;
    for (const unsigned char *c = (const unsigned char *)name; *c; c++)
        if (*c < 0x20 || *c == 0x7f || (*c == 0xc2 && c[1] < 0xa0)) return false;
    return name[0] != ' ' && name[length - 1] != ' ';
}

static keel_status check(const keel_review *review, keel_err *err) {
    if (!keel_review_name_ok(review->reviewer))
        return keel_fail(err, KEEL_E_INVALID, "reviewer",
                         "a name has 1 to %d bytes and no control characters", KEEL_REVIEW_NAME);
    const size_t note = strlen(review->note);
    if (note > KEEL_REVIEW_NOTE || keel_utf8_valid_prefix(review->note, note) < note)
        return keel_fail(err, KEEL_E_INVALID, "note", "a note is UTF-8 of at most %d bytes",
                         KEEL_REVIEW_NOTE);
    if ((unsigned)review->outcome > KEEL_N_OUTCOMES || (unsigned)review->risk > KEEL_RISK_DANGEROUS ||
        review->completed < KEEL_UNKNOWN || review->completed > KEEL_YES ||
        (review->harmful && review->outcome == KEEL_OUTCOME_NONE))
        return keel_fail(err, KEEL_E_INVALID, "outcome", "is no judgement");
    return KEEL_OK;
}

static keel_status insert(keel_store *store, const keel_review *review, keel_err *err) {
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_prepare(
        store,
        "INSERT INTO reviews(candidate_id, reviewer, outcome, harmful, risk, completed, note, at)"
        " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT(candidate_id, reviewer) DO UPDATE SET"
        " outcome = excluded.outcome, harmful = excluded.harmful, risk = excluded.risk,"
        " completed = excluded.completed, note = excluded.note, at = excluded.at",
        &statement, err));
    sqlite3_bind_int64(statement, 1, review->candidate);
    keel__bind_text(statement, 2, review->reviewer);
    sqlite3_bind_int(statement, 3, (int)review->outcome);
    sqlite3_bind_int(statement, 4, review->harmful);
    sqlite3_bind_int(statement, 5, (int)review->risk);
    sqlite3_bind_int(statement, 6, (int)review->completed);
    keel__bind_text(statement, 7, review->note);
    sqlite3_bind_int64(statement, 8, review->at);
    const keel_status status = keel__store_run(store, statement, "keeping a review", err);
    sqlite3_finalize(statement);
    return status;
}

static const char *label_name(keel_store *store, const char *reviewer) {
    char name[sizeof KEEL_REVIEW_LABEL + KEEL_REVIEW_NAME];
    snprintf(name, sizeof name, KEEL_REVIEW_LABEL "%s", reviewer);
    return keel_arena_strdup(&store->scratch, name);
}

/* The person's label of a candidate, replaced by one of this outcome, or none. */
static keel_status put_label(keel_store *store, int64_t candidate, const char *reviewer, keel_outcome outcome,
                             keel_err *err) {
    sqlite3_stmt *statement;
    keel_arena_reset(&store->scratch);
    const char *name = label_name(store, reviewer);
    if (!name) return keel_nomem(err, keel_store_path(store));
    if (outcome != KEEL_OUTCOME_NONE)
        return keel__store_insert_label(store, candidate, outcome, KEEL_AUTHORITY_HUMAN, name, 1, err);
    KEEL_TRY(keel__store_prepare(
        store, "DELETE FROM labels WHERE candidate_id = ?1 AND judge = 3 AND judge_name = ?2", &statement,
        err));
    sqlite3_bind_int64(statement, 1, candidate);
    keel__bind_text(statement, 2, name);
    const keel_status status = keel__store_run(store, statement, "taking a label back", err);
    sqlite3_finalize(statement);
    return status;
}

static keel_status settle(keel_store *store, int64_t candidate, int64_t conversation, keel_err *err) {
    KEEL_TRY(settle_candidate(store, candidate, err));
    return settle_conversation(store, conversation, err);
}

static keel_status put(keel_store *store, const keel_review *review, keel_err *err) {
    keel_review_next item;
    KEEL_TRY(keel_store_review_find(store, review->candidate, &item, err));
    KEEL_TRY(insert(store, review, err));
    KEEL_TRY(put_label(store, review->candidate, review->reviewer, review->outcome, err));
    return settle(store, review->candidate, item.conversation, err);
}

keel_status keel_store_review_put(keel_store *store, const keel_review *review, keel_err *err) {
    KEEL_TRY(check(review, err));
    KEEL_TRY(keel_store_begin(store, err));
    return keel__store_end(store, true, put(store, review, err), err);
}

/* The person's last review, and its row. */
static keel_status find_last(keel_store *store, const char *reviewer, keel_arena *arena, keel_review *out,
                             int64_t *id, keel_err *err) {
    sqlite3_stmt *statement;
    bool row;
    *out = (keel_review){.reviewer = reviewer, .note = ""};
    KEEL_TRY(keel__store_prepare(
        store,
        "SELECT candidate_id, outcome, harmful, risk, completed, note, at, id FROM reviews"
        " WHERE reviewer = ?1 ORDER BY at DESC, id DESC LIMIT 1",
        &statement, err));
    keel__bind_text(statement, 1, reviewer);
    keel_status status = keel__store_step(store, statement, &row, "looking for a review", err);
    if (status == KEEL_OK && row) {
        out->candidate = sqlite3_column_int64(statement, 0);
        out->outcome = (keel_outcome)sqlite3_column_int(statement, 1);
        out->harmful = sqlite3_column_int(statement, 2) != 0;
        out->risk = (keel_risk)sqlite3_column_int(statement, 3);
        out->completed = (keel_tri)sqlite3_column_int(statement, 4);
        out->at = sqlite3_column_int64(statement, 6);
        *id = sqlite3_column_int64(statement, 7);
        status = keel__column_text(statement, 5, arena, &out->note, err);
    }
    sqlite3_finalize(statement);
    return status == KEEL_OK && out->candidate ? check(out, err) : status;
}

static keel_status undo(keel_store *store, const char *reviewer, keel_arena *arena, keel_review *out,
                        keel_err *err) {
    keel_review_next item;
    int64_t id = 0;
    KEEL_TRY(find_last(store, reviewer, arena, out, &id, err));
    if (!out->candidate) return KEEL_OK;
    KEEL_TRY(keel_store_review_find(store, out->candidate, &item, err));
    KEEL_TRY(run(store, "DELETE FROM reviews WHERE id = ?1", id, err));
    KEEL_TRY(put_label(store, out->candidate, reviewer, KEEL_OUTCOME_NONE, err));
    return settle(store, out->candidate, item.conversation, err);
}

keel_status keel_store_review_undo(keel_store *store, const char *reviewer, keel_arena *arena,
                                   keel_review *out, keel_err *err) {
    KEEL_TRY(keel_store_begin(store, err));
    return keel__store_end(store, true, undo(store, reviewer, arena, out, err), err);
}
