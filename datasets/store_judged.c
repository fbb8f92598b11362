/* What humans say about the labels of judges. */
#include <math.h>

#include "datasets/store_internal.h"

/* The first row is the judge; the others of its authority are added up. */
static keel_status find_judge(keel_store *store, keel_arena *arena, keel_judged_pairs *out, keel_err *err) {
    sqlite3_stmt *statement;
    keel_status status;
    bool row = true;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_JUDGES, &statement, err));
    while ((status = keel__store_step(store, statement, &row, "reading judges", err)) == KEEL_OK && row) {
        const keel_authority authority = (keel_authority)sqlite3_column_int(statement, 1);
        const int64_t labels = sqlite3_column_int64(statement, 2);
        if (out->judge) {
            out->others += authority == out->authority ? labels : 0;
            continue;
        }
        out->authority = authority;
        out->labels = labels;
        out->n = (size_t)sqlite3_column_int64(statement, 3);
        status = keel__column_text(statement, 0, arena, &out->judge, err);
        if (status != KEEL_OK) break;
    }
    sqlite3_reset(statement);
    return status;
}

static bool is_judgement(keel_outcome outcome) {
    return outcome > KEEL_OUTCOME_NONE && outcome <= KEEL_N_OUTCOMES;
}

/* 1 / pi - 1 of a response of the order of reviews, less than 0 for others. */
static double weight_of(sqlite3_stmt *statement, double open) {
    if (sqlite3_column_type(statement, 5) == SQLITE_NULL) return -1;
    const double size = sqlite3_column_double(statement, 5);
    if (!(sqlite3_column_double(statement, 6) < open) || !isfinite(open)) return 0;
    return size * open < 1 ? 1 / fmax(1e-9, size * open) - 1 : 0;
}

static void scale_weights(keel_judged_pairs *out) {
    double sum = 0, n = 0;
    for (size_t i = 0; i < out->n; i++)
        if (out->pairs[i].weight > 0) sum += out->pairs[i].weight, n++;
    for (size_t i = 0; i < out->n; i++)
        out->pairs[i].weight = out->pairs[i].weight < 0 ? 1 : sum > 0 ? out->pairs[i].weight * n / sum : 0;
}

static keel_status read_pair(keel_store *store, sqlite3_stmt *statement, keel_arena *arena, double open,
                             keel_judged_pair *out, keel_err *err) {
    *out = (keel_judged_pair){.conversation = sqlite3_column_int64(statement, 0),
                              .risk = (keel_risk)sqlite3_column_int(statement, 1),
                              .human = (keel_outcome)sqlite3_column_int(statement, 3),
                              .judge = (keel_outcome)sqlite3_column_int(statement, 4),
                              .weight = weight_of(statement, open)};
    if ((unsigned)out->risk > KEEL_RISK_DANGEROUS || !is_judgement(out->human) || !is_judgement(out->judge))
        return keel__store_damaged(store, "a label", err);
    return keel__column_text(statement, 2, arena, &out->model, err);
}

static keel_status read_pairs(keel_store *store, keel_arena *arena, keel_judged_pairs *out, keel_err *err) {
    sqlite3_stmt *statement;
    keel_status status;
    bool row = true;
    size_t capacity = 0;
    double open;
    bool drawn;
    out->n = 0;
    KEEL_TRY(keel__review_open_place(store, &open, &drawn, err));
    KEEL_TRY(keel__store_statement(store, drawn ? KEEL__SQL_JUDGED_PAIRS_DRAWN : KEEL__SQL_JUDGED_PAIRS,
                                   &statement, err));
    keel__bind_text(statement, 1, out->judge);
    sqlite3_bind_int(statement, 2, (int)out->authority);
    while ((status = keel__store_step(store, statement, &row, "reading labels", err)) == KEEL_OK && row) {
        status = keel_arena_grow(arena, &out->pairs, out->n, &capacity, sizeof *out->pairs)
                     ? read_pair(store, statement, arena, open, &out->pairs[out->n], err)
                     : keel_nomem(err, keel_store_path(store));
        if (status != KEEL_OK) break;
        out->n++;
    }
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    scale_weights(out);
    return status;
}

keel_status keel_store_judged_pairs(keel_store *store, keel_arena *arena, keel_judged_pairs *out,
                                    keel_err *err) {
    *out = (keel_judged_pairs){0};
    KEEL_TRY(find_judge(store, arena, out, err));
    return out->judge && out->n ? read_pairs(store, arena, out, err) : KEEL_OK;
}
