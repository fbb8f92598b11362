/* Features at rest: one blob a decision and base, laid out as state, candidates, log prior; float32 of the
 * machine that wrote it (little-endian on every processor Keel builds for). */
#include <string.h>

#include "datasets/store_internal.h"

static keel_status count_floats(const keel_features *features, size_t *floats, keel_err *err) {
    size_t rows;
    if (keel_size_mul(features->n_candidates, features->candidate_dim, &rows) &&
        keel_size_add(rows, features->state_dim, floats) &&
        keel_size_add(*floats, features->n_actions, floats) && *floats < (1u << 28))
        return KEEL_OK;
    return keel_fail(err, KEEL_E_INVALID, "features", "%zu + %zu x %zu + %zu floats are too many",
                     features->state_dim, features->n_candidates, features->candidate_dim,
                     features->n_actions);
}

keel_status keel_store_put_features(keel_store *store, const char *base_hash, int64_t decision_id,
                                    const keel_features *features, keel_err *err) {
    sqlite3_stmt *statement;
    size_t floats, rows = features->candidates ? features->n_candidates * features->candidate_dim : 0;
    KEEL_TRY(count_floats(features, &floats, err));
    keel_arena_reset(&store->scratch);
    float *data = keel_arena_alloc(&store->scratch, floats * sizeof *data);
    if (!data) return keel_nomem(err, store->path);
    memcpy(data, features->state, features->state_dim * sizeof *data);
    if (rows) memcpy(data + features->state_dim, features->candidates, rows * sizeof *data);
    memcpy(data + features->state_dim + rows, features->log_prior, features->n_actions * sizeof *data);
    floats = features->state_dim + rows + features->n_actions;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_PUT_FEATURES, &statement, err));
    sqlite3_bind_int64(statement, 1, decision_id);
    keel__bind_text(statement, 2, base_hash);
    sqlite3_bind_int64(statement, 3, (int64_t)features->state_dim);
    sqlite3_bind_int64(statement, 4, features->candidates ? (int64_t)features->candidate_dim : 0);
    sqlite3_bind_int64(statement, 5, features->candidates ? (int64_t)features->n_candidates : 0);
    sqlite3_bind_int64(statement, 6, (int64_t)features->n_actions);
    sqlite3_bind_blob(statement, 7, data, (int)(floats * sizeof *data), SQLITE_STATIC);
    return keel__store_run(store, statement, "keeping features", err);
}

/* Reads the dimensions and copies the floats; a blob of another size is damage. */
keel_status keel__features_read(keel_store *store, sqlite3_stmt *statement, keel_arena *arena,
                                keel_features *out, keel_err *err) {
    keel_features features = {.state_dim = (size_t)sqlite3_column_int64(statement, 0),
                              .candidate_dim = (size_t)sqlite3_column_int64(statement, 1),
                              .n_candidates = (size_t)sqlite3_column_int64(statement, 2),
                              .n_actions = (size_t)sqlite3_column_int64(statement, 3)};
    size_t floats;
    KEEL_TRY(count_floats(&features, &floats, err));
    const void *blob = sqlite3_column_blob(statement, 4);
    size_t bytes = (size_t)sqlite3_column_bytes(statement, 4);
    if (bytes != floats * sizeof(float))
        return keel_fail(err, KEEL_E_STORE, store->path,
                         "features hold %zu bytes, expected %zu: the store is damaged", bytes,
                         floats * sizeof(float));
    float *data = keel_arena_alloc(arena, bytes);
    if (!data) return keel_nomem(err, store->path);
    if (bytes) memcpy(data, blob, bytes);
    features.state = data;
    if (features.candidate_dim) features.candidates = data + features.state_dim;
    features.log_prior = data + features.state_dim + features.n_candidates * features.candidate_dim;
    *out = features;
    return KEEL_OK;
}

keel_status keel_store_get_features(keel_store *store, const char *base_hash, int64_t decision_id,
                                    keel_arena *arena, keel_features *out, bool *found, keel_err *err) {
    sqlite3_stmt *statement;
    bool row;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_GET_FEATURES, &statement, err));
    sqlite3_bind_int64(statement, 1, decision_id);
    keel__bind_text(statement, 2, base_hash);
    KEEL_TRY(keel__store_step(store, statement, &row, "reading features", err));
    keel_status status = row ? keel__features_read(store, statement, arena, out, err) : KEEL_OK;
    sqlite3_reset(statement);
    if (status == KEEL_OK) *found = row;
    return status;
}

keel_status keel_store_drop_features(keel_store *store, const char *base_hash, keel_err *err) {
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_DROP_FEATURES_OF, &statement, err));
    keel__bind_text(statement, 1, base_hash);
    return keel__store_run(store, statement, "dropping features", err);
}

keel_status keel_store_missing_features(keel_store *store, const char *base_hash, const keel_split *split,
                                        size_t *count, keel_err *err) {
    sqlite3_stmt *statement;
    keel_buf sql = {0};
    bool row;
    keel_buf_text(&sql, "SELECT count(*) FROM conversations c JOIN decisions d ON d.conversation_id = c.id"
                        " WHERE NOT EXISTS (SELECT 1 FROM features f WHERE f.decision_id = d.id"
                        " AND f.base_hash = :base)");
    keel__split_clause(split, &sql);
    keel_status status =
        sql.failed ? keel_nomem(err, store->path) : keel__store_prepare(store, sql.data, &statement, err);
    keel_buf_free(&sql);
    if (status != KEEL_OK) return status;
    keel__split_bind(split, statement);
    keel__bind_text(statement, sqlite3_bind_parameter_index(statement, ":base"), base_hash);
    status = keel__store_step(store, statement, &row, "counting features", err);
    if (status == KEEL_OK) *count = row ? (size_t)sqlite3_column_int64(statement, 0) : 0;
    sqlite3_finalize(statement);
    return status;
}
