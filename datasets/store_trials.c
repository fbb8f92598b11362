#include "datasets/store_trials.h"

#include "datasets/store_internal.h"

/* ---- searches ---- */

static keel_status read_search(keel_store *store, sqlite3_stmt *s, keel_arena *arena, void *item,
                               keel_err *err) {
    keel_stored_search *out = item;
    KEEL_TRY(keel__column_text(s, 0, arena, &out->plan, err));
    KEEL_TRY(keel__column_text(s, 1, arena, &out->folder, err));
    return out->plan && out->folder ? KEEL_OK
                                    : keel__store_damaged(store, "a search without its plan or folder", err);
}

keel_status keel_store_find_search(keel_store *store, const char *hash, keel_arena *arena,
                                   keel_stored_search **out, keel_err *err) {
    static const keel__list searches = {"reading a search", sizeof **out, read_search};
    sqlite3_stmt *statement;
    size_t count;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_FIND_SEARCH, &statement, err));
    keel__bind_text(statement, 1, hash);
    return keel__store_list(store, statement, &searches, arena, out, &count, err);
}

keel_status keel_store_put_search(keel_store *store, const char *hash, const keel_stored_search *search,
                                  keel_err *err) {
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_PUT_SEARCH, &statement, err));
    keel__bind_text(statement, 1, hash);
    keel__bind_text(statement, 2, search->plan);
    keel__bind_text(statement, 3, search->folder);
    return keel__store_run(store, statement, "writing a search", err);
}

keel_status keel_store_drop_search(keel_store *store, const char *hash, keel_err *err) {
    static const keel__sql statements[] = {KEEL__SQL_DROP_TRIALS, KEEL__SQL_DROP_SEARCH};
    for (size_t i = 0; i < sizeof statements / sizeof *statements; ++i) {
        sqlite3_stmt *statement;
        KEEL_TRY(keel__store_statement(store, statements[i], &statement, err));
        keel__bind_text(statement, 1, hash);
        KEEL_TRY(keel__store_run(store, statement, "dropping a search", err));
    }
    return KEEL_OK;
}

/* ---- trials ---- */

static keel_status read_trial(keel_store *store, sqlite3_stmt *s, keel_arena *arena, void *item,
                              keel_err *err) {
    keel_stored_trial *out = item;
    *out = (keel_stored_trial){.number = sqlite3_column_int64(s, 0),
                               .seed = sqlite3_column_int64(s, 2),
                               .budget = keel__column_optional(s, 3),
                               .state = sqlite3_column_int(s, 4),
                               .value = keel__column_optional(s, 5),
                               .low = keel__column_optional(s, 6),
                               .high = keel__column_optional(s, 7),
                               .pid = sqlite3_column_int64(s, 10),
                               .seconds = sqlite3_column_double(s, 11)};
    KEEL_TRY(keel__column_text(s, 1, arena, &out->config, err));
    KEEL_TRY(keel__column_text(s, 8, arena, &out->required, err));
    KEEL_TRY(keel__column_text(s, 9, arena, &out->note, err));
    return out->config ? KEEL_OK : keel__store_damaged(store, "a trial without its configuration", err);
}

keel_status keel_store_trials(keel_store *store, const char *hash, keel_arena *arena, keel_stored_trial **out,
                              size_t *count, keel_err *err) {
    static const keel__list trials = {"reading trials", sizeof **out, read_trial};
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_TRIALS, &statement, err));
    keel__bind_text(statement, 1, hash);
    KEEL_TRY(keel__store_list(store, statement, &trials, arena, out, count, err));
    for (size_t i = 0; i < *count; i++)
        if ((*out)[i].number != (int64_t)i)
            return keel__store_damaged(store, "a search that lacks one of its trials", err);
    return KEEL_OK;
}

keel_status keel_store_put_trial(keel_store *store, const char *hash, const keel_stored_trial *trial,
                                 keel_err *err) {
    sqlite3_stmt *s;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_PUT_TRIAL, &s, err));
    keel__bind_text(s, 1, hash);
    sqlite3_bind_int64(s, 2, trial->number);
    keel__bind_text(s, 3, trial->config);
    sqlite3_bind_int64(s, 4, trial->seed);
    keel__bind_optional(s, 5, trial->budget);
    sqlite3_bind_int(s, 6, trial->state);
    keel__bind_optional(s, 7, trial->value);
    keel__bind_optional(s, 8, trial->low);
    keel__bind_optional(s, 9, trial->high);
    keel__bind_text(s, 10, trial->required);
    keel__bind_text(s, 11, trial->note);
    sqlite3_bind_int64(s, 12, trial->pid);
    sqlite3_bind_double(s, 13, trial->seconds);
    return keel__store_run(store, s, "writing a trial", err);
}
