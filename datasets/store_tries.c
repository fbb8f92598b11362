/* The ledger of gates. */
#include "datasets/store_internal.h"

keel_status keel_store_has_tries(keel_store *store, bool *has, keel_err *err) {
    return keel__store_has_table(store, "gate_tries", has, err);
}

keel_status keel_store_find_try(keel_store *store, const char *split_hash, const char *gate,
                                const char *policy, int64_t *tries, int64_t *place, keel_err *err) {
    sqlite3_stmt *statement;
    bool row;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_FIND_TRY, &statement, err));
    keel__bind_text(statement, 1, split_hash);
    keel__bind_text(statement, 2, gate);
    keel__bind_text(statement, 3, policy);
    keel_status status = keel__store_step(store, statement, &row, "reading the ledger of gates", err);
    if (status == KEEL_OK) {
        *tries = sqlite3_column_int64(statement, 0);
        *place = sqlite3_column_int64(statement, 1);
    }
    sqlite3_reset(statement);
    return status;
}

keel_status keel_store_put_try(keel_store *store, const char *split_hash, const char *gate,
                               const char *policy, const char *split, keel_err *err) {
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_PUT_TRY, &statement, err));
    keel__bind_text(statement, 1, split_hash);
    keel__bind_text(statement, 2, gate);
    keel__bind_text(statement, 3, policy);
    keel__bind_text(statement, 4, split);
    return keel__store_run(store, statement, "writing the ledger of gates", err);
}
