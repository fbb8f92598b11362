/* What agents did with the tasks of benchmarks, by the keys that importers leave in meta. */
#include "datasets/store_internal.h"

static keel_status read_count(sqlite3_stmt *statement, keel_arena *arena, keel_task_count *out,
                              keel_err *err) {
    const char **names[] = {&out->source, &out->domain, &out->agent, &out->setting};
    int64_t *counts[] = {
        &out->conversations,          &out->completed,          &out->completion_known, &out->must_not_act,
        &out->must_not_act_completed, &out->must_not_act_known, &out->forbidden};
    *out = (keel_task_count){0};
    for (int i = 0; i < 4; i++) KEEL_TRY(keel__column_text(statement, i, arena, names[i], err));
    for (int i = 0; i < 7; i++) *counts[i] = sqlite3_column_int64(statement, 4 + i);
    return KEEL_OK;
}

keel_status keel_store_tasks(keel_store *store, keel_arena *arena, keel_task_count **out, size_t *count,
                             keel_err *err) {
    sqlite3_stmt *statement;
    keel_task_count *rows = NULL;
    size_t n = 0, capacity = 0;
    keel_status status;
    bool row = true;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_TASKS, &statement, err));
    while ((status = keel__store_step(store, statement, &row, "counting tasks", err)) == KEEL_OK && row) {
        status = keel_arena_grow(arena, &rows, n, &capacity, sizeof *rows)
                     ? read_count(statement, arena, &rows[n], err)
                     : keel_nomem(err, keel_store_path(store));
        if (status != KEEL_OK) break;
        n++;
    }
    sqlite3_reset(statement);
    if (status != KEEL_OK) return status;
    *out = rows;
    *count = n;
    return KEEL_OK;
}
