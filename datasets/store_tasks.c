/* What agents did with the tasks of benchmarks, by the keys that importers leave in meta. */
#include "datasets/store_internal.h"

static keel_status read_count(keel_store *store, sqlite3_stmt *row, keel_arena *arena, void *item,
                              keel_err *err) {
    keel_task_count *out = item;
    const char **names[] = {&out->source, &out->domain, &out->agent, &out->setting};
    int64_t *counts[] = {
        &out->conversations,          &out->completed,          &out->completion_known, &out->must_not_act,
        &out->must_not_act_completed, &out->must_not_act_known, &out->forbidden};
    for (int i = 0; i < 4; i++) KEEL_TRY(keel__column_text(row, i, arena, names[i], err));
    for (int i = 0; i < 7; i++) *counts[i] = sqlite3_column_int64(row, 4 + i);
    return out->source ? KEEL_OK : keel__store_damaged(store, "a conversation without a source", err);
}

keel_status keel_store_tasks(keel_store *store, keel_arena *arena, keel_task_count **out, size_t *count,
                             keel_err *err) {
    static const keel__list tasks = {"counting tasks", sizeof **out, read_count};
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_TASKS, &statement, err));
    return keel__store_list(store, statement, &tasks, arena, out, count, err);
}
