/* Settings of the store: one text for each key. */
#include "datasets/store_internal.h"

keel_status keel_store_get_setting(keel_store *store, const char *key, keel_arena *arena, const char **value,
                                   keel_err *err) {
    sqlite3_stmt *statement;
    const char *found = NULL;
    bool row;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_GET_SETTING, &statement, err));
    keel__bind_text(statement, 1, key);
    KEEL_TRY(keel__store_step(store, statement, &row, "reading a setting", err));
    keel_status status = row ? keel__column_text(statement, 0, arena, &found, err) : KEEL_OK;
    sqlite3_reset(statement);
    if (status == KEEL_OK) *value = found;
    return status;
}

keel_status keel_store_put_setting(keel_store *store, const char *key, const char *value, keel_err *err) {
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_PUT_SETTING, &statement, err));
    keel__bind_text(statement, 1, key);
    keel__bind_text(statement, 2, value);
    return keel__store_run(store, statement, "writing a setting", err);
}
