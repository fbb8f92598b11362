/* Reviews: what was said so far, counted. */
#include <math.h>

#include "datasets/store_internal.h"
#include "datasets/store_review.h"

/* ---- counts ---- */

static keel_status count_items(keel_store *store, keel_review_counts *out, keel_err *err) {
    sqlite3_stmt *statement;
    bool row;
    KEEL_TRY(keel__store_prepare(
        store,
        "SELECT (SELECT count(*) FROM review_items), (SELECT count(*) FROM review_items WHERE done = 0),"
        " (SELECT count(*) FROM reviews WHERE outcome > 0), (SELECT count(DISTINCT candidate_id) FROM reviews"
        " WHERE outcome > 0), (SELECT count(*) FROM reviews WHERE outcome = 0),"
        " (SELECT count(*) FROM review_items WHERE done > 0 AND done < wants AND wants <= 2),"
        " (SELECT count(*) FROM review_items WHERE done > 0 AND done < wants AND wants > 2)",
        &statement, err));
    const keel_status status = keel__store_step(store, statement, &row, "counting reviews", err);
    int64_t *const to[] = {&out->items,   &out->open,    &out->labels,       &out->labelled,
                           &out->skipped, &out->seconds, &out->disagreements};
    for (int i = 0; status == KEEL_OK && row && i < (int)(sizeof to / sizeof *to); i++)
        *to[i] = sqlite3_column_int64(statement, i);
    sqlite3_finalize(statement);
    return status;
}

static keel_status read_person(keel_store *store, sqlite3_stmt *row, keel_arena *arena, void *item,
                               keel_err *err) {
    keel_review_person *out = item;
    out->labels = sqlite3_column_int64(row, 1);
    out->skipped = sqlite3_column_int64(row, 2);
    KEEL_TRY(keel__column_text(row, 0, arena, &out->name, err));
    return out->name ? KEEL_OK : keel__store_damaged(store, "a review without its reviewer", err);
}

static keel_status read_people(keel_store *store, keel_arena *arena, keel_review_counts *out, keel_err *err) {
    static const keel__list people = {"counting reviews", sizeof *out->people, read_person};
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_prepare(store,
                                 "SELECT reviewer, sum(outcome > 0), sum(outcome = 0) FROM reviews GROUP BY 1"
                                 " ORDER BY 2 DESC, 1 LIMIT ?1",
                                 &statement, err));
    sqlite3_bind_int(statement, 1, KEEL_REVIEW_MOST_PEOPLE);
    const keel_status status =
        keel__store_list(store, statement, &people, arena, &out->people, &out->n_people, err);
    sqlite3_finalize(statement);
    return status;
}

static keel_status read_table(keel_store *store, keel_review_counts *out, keel_err *err) {
    sqlite3_stmt *statement;
    keel_status status;
    bool row = true;
    KEEL_TRY(keel__store_prepare(
        store,
        "SELECT a.outcome, b.outcome, count(*) FROM reviews a JOIN reviews b ON b.candidate_id = a.candidate_id"
        " WHERE a.outcome BETWEEN 1 AND 3 AND b.outcome BETWEEN 1 AND 3 AND a.id < b.id"
        " AND NOT EXISTS (SELECT 1 FROM reviews o WHERE o.candidate_id = a.candidate_id AND o.outcome > 0"
        " AND o.id < b.id AND o.id <> a.id) GROUP BY 1, 2",
        &statement, err));
    while ((status = keel__store_step(store, statement, &row, "counting reviews", err)) == KEEL_OK && row)
        out->table[sqlite3_column_int(statement, 0) - 1][sqlite3_column_int(statement, 1) - 1] +=
            (double)sqlite3_column_int64(statement, 2);
    sqlite3_finalize(statement);
    return status;
}

keel_status keel_store_review_counts(keel_store *store, keel_arena *arena, keel_review_counts *out,
                                     keel_err *err) {
    *out = (keel_review_counts){0};
    KEEL_TRY(count_items(store, out, err));
    KEEL_TRY(read_people(store, arena, out, err));
    return read_table(store, out, err);
}

keel_status keel_store_review_population(keel_store *store, keel_review_population *out, keel_err *err) {
    sqlite3_stmt *statement;
    keel_status status;
    bool row = true;
    *out = (keel_review_population){0};
    KEEL_TRY(keel__store_prepare(
        store,
        "SELECT ifnull(v.risk, c.risk), i.candidate_id IS NULL, ifnull(i.judged, k.outcome), count(*) FROM candidates k"
        " LEFT JOIN review_items i ON i.candidate_id = k.id JOIN decisions d ON d.id = k.decision_id"
        " JOIN conversations c ON c.id = d.conversation_id"
        " LEFT JOIN reviewed_conversations v ON v.conversation_id = c.id"
        " WHERE k.taken AND (i.candidate_id IS NOT NULL OR k.judge = 3) GROUP BY 1, 2, 3",
        &statement, err));
    while ((status = keel__store_step(store, statement, &row, "counting responses", err)) == KEEL_OK && row) {
        const int risk = sqlite3_column_int(statement, 0), outcome = sqlite3_column_int(statement, 2);
        if (risk < 0 || risk > 2 || outcome < 0 || outcome > KEEL_N_OUTCOMES) {
            status = keel__store_damaged(store, "a label", err);
            break;
        }
        (sqlite3_column_int(statement, 1) ? out->human : out->drawn)[risk][outcome] +=
            sqlite3_column_int64(statement, 3);
    }
    sqlite3_finalize(statement);
    return status;
}

/* ---- what was seen ---- */

keel_status keel__review_open_place(keel_store *store, double *open, bool *any, keel_err *err) {
    sqlite3_stmt *statement;
    bool row;
    *any = false;
    *open = INFINITY;
    KEEL_TRY(keel_store_review_has(store, any, err));
    if (!*any) return KEEL_OK;
    KEEL_TRY(keel__store_prepare(
        store, "SELECT place FROM review_items WHERE done = 0 ORDER BY place LIMIT 1", &statement, err));
    const keel_status status = keel__store_step(store, statement, &row, "reading the order", err);
    if (status == KEEL_OK && row) *open = sqlite3_column_double(statement, 0);
    sqlite3_finalize(statement);
    return status;
}

static keel_status read_seen(keel_store *store, sqlite3_stmt *statement, keel_arena *arena, void *item,
                             keel_err *err) {
    keel_review_seen *out = item;
    (void)arena;
    *out = (keel_review_seen){.risk = (keel_risk)sqlite3_column_int(statement, 0),
                              .logged = (keel_risk)sqlite3_column_int(statement, 1),
                              .human = (keel_outcome)sqlite3_column_int(statement, 2),
                              .judged = (keel_outcome)sqlite3_column_int(statement, 3),
                              .size = sqlite3_column_double(statement, 4),
                              .place = sqlite3_column_double(statement, 5)};
    if ((unsigned)out->risk > KEEL_RISK_DANGEROUS || (unsigned)out->logged > KEEL_RISK_DANGEROUS ||
        (unsigned)out->human > KEEL_N_OUTCOMES || (unsigned)out->judged > KEEL_N_OUTCOMES ||
        !(out->size > 0) || !isfinite(out->size) || !(out->place > 0))
        return keel__store_damaged(store, "a place in the order of reviews", err);
    return KEEL_OK;
}

keel_status keel_store_review_seen(keel_store *store, keel_arena *arena, keel_review_seen **out,
                                   size_t *count, double *open, keel_err *err) {
    static const keel__list reviews = {"reading reviews", sizeof **out, read_seen};
    sqlite3_stmt *statement;
    bool any;
    *out = NULL;
    *count = 0;
    KEEL_TRY(keel__review_open_place(store, open, &any, err));
    if (!any) return KEEL_OK;
    KEEL_TRY(keel__store_prepare(
        store,
        "SELECT c.risk, ifnull(v.risk, c.risk), iif(k.judge = 3, k.outcome, 0), i.judged, i.size, i.place FROM review_items i"
        " JOIN candidates k ON k.id = i.candidate_id JOIN decisions d ON d.id = k.decision_id"
        " JOIN conversations c ON c.id = d.conversation_id"
        " LEFT JOIN reviewed_conversations v ON v.conversation_id = c.id"
        " WHERE i.done > 0 ORDER BY i.place, i.candidate_id",
        &statement, err));
    const keel_status status = keel__store_list(store, statement, &reviews, arena, out, count, err);
    sqlite3_finalize(statement);
    return status;
}
