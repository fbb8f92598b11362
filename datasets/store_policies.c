#include "datasets/store_policies.h"

#include <string.h>

#include "datasets/store_internal.h"

/* ---- policies ---- */

keel_status keel_store_put_policy(keel_store *store, const keel_registered_policy *policy, keel_err *err) {
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_PUT_POLICY, &statement, err));
    keel__bind_text(statement, 1, policy->hash);
    keel__bind_text(statement, 2, policy->dir);
    keel__bind_text(statement, 3, policy->base);
    keel__bind_text(statement, 4, policy->gates);
    sqlite3_bind_int(statement, 5, policy->passed);
    sqlite3_bind_double(statement, 6, policy->at);
    return keel__store_run(store, statement, "registering a policy", err);
}

static keel_status read_policy(keel_store *store, sqlite3_stmt *s, keel_arena *arena, void *item,
                               keel_err *err) {
    keel_registered_policy *out = item;
    *out =
        (keel_registered_policy){.passed = sqlite3_column_int(s, 4) != 0, .at = sqlite3_column_double(s, 5)};
    KEEL_TRY(keel__column_text(s, 0, arena, &out->hash, err));
    KEEL_TRY(keel__column_text(s, 1, arena, &out->dir, err));
    KEEL_TRY(keel__column_text(s, 2, arena, &out->base, err));
    KEEL_TRY(keel__column_text(s, 3, arena, &out->gates, err));
    return out->hash && out->dir && out->gates ? KEEL_OK
                                               : keel__store_damaged(store, "a policy without its name", err);
}

keel_status keel_store_policies(keel_store *store, keel_arena *arena, keel_registered_policy **out,
                                size_t *count, keel_err *err) {
    static const keel__list policies = {"reading policies", sizeof **out, read_policy};
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_POLICIES, &statement, err));
    return keel__store_list(store, statement, &policies, arena, out, count, err);
}

/* ---- publications ---- */

static keel_status check_registered(keel_store *store, const char *hash, keel_err *err) {
    keel_arena arena = {0};
    keel_registered_policy *all;
    size_t count = 0, i = 0;
    keel_status status = keel_store_policies(store, &arena, &all, &count, err);
    while (i < count && strcmp(all[i].hash, hash) != 0) i++;
    keel_arena_free(&arena);
    if (status != KEEL_OK || i < count) return status;
    return keel_fail(err, KEEL_E_NOT_FOUND, hash, "the policy is not registered");
}

keel_status keel_store_publish(keel_store *store, const keel_publication *publication, int64_t *id,
                               keel_err *err) {
    sqlite3_stmt *statement;
    if (publication->policy) KEEL_TRY(check_registered(store, publication->policy, err));
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_PUBLISH, &statement, err));
    keel__bind_text(statement, 1, publication->arm);
    keel__bind_text(statement, 2, publication->policy);
    sqlite3_bind_double(statement, 3, publication->at);
    keel__bind_text(statement, 4, publication->why);
    keel__bind_text(statement, 5, publication->note);
    KEEL_TRY(keel__store_run(store, statement, "publishing", err));
    if (id) *id = sqlite3_last_insert_rowid(store->db);
    return KEEL_OK;
}

static keel_status read_publication(keel_store *store, sqlite3_stmt *s, keel_arena *arena, void *item,
                                    keel_err *err) {
    keel_publication *out = item;
    *out = (keel_publication){.id = sqlite3_column_int64(s, 0), .at = sqlite3_column_double(s, 3)};
    KEEL_TRY(keel__column_text(s, 1, arena, &out->arm, err));
    KEEL_TRY(keel__column_text(s, 2, arena, &out->policy, err));
    KEEL_TRY(keel__column_text(s, 4, arena, &out->why, err));
    KEEL_TRY(keel__column_text(s, 5, arena, &out->note, err));
    KEEL_TRY(keel__column_text(s, 6, arena, &out->dir, err));
    return out->arm && out->why && !out->policy == !out->dir
               ? KEEL_OK
               : keel__store_damaged(store, "a publication without its arm or policy", err);
}

keel_status keel_store_publications(keel_store *store, int64_t after, keel_arena *arena,
                                    keel_publication **out, size_t *count, keel_err *err) {
    static const keel__list publications = {"reading publications", sizeof **out, read_publication};
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_PUBLICATIONS, &statement, err));
    sqlite3_bind_int64(statement, 1, after);
    return keel__store_list(store, statement, &publications, arena, out, count, err);
}

/* The newest of the arm among the first n; of another policy than `but`, if that is not NULL. */
static keel_publication *newest(keel_publication *all, size_t n, const char *arm, const char *but) {
    while (n-- > 0)
        if (strcmp(all[n].arm, arm) == 0 && (!but || (all[n].policy && strcmp(all[n].policy, but) != 0)))
            return &all[n];
    return NULL;
}

keel_status keel_store_published(keel_store *store, const char *arm, keel_arena *arena,
                                 keel_publication **out, keel_err *err) {
    keel_publication *all;
    size_t count;
    KEEL_TRY(keel_store_publications(store, 0, arena, &all, &count, err));
    *out = newest(all, count, arm, NULL);
    return KEEL_OK;
}

keel_status keel_store_roll_back(keel_store *store, const char *arm, double at, keel_arena *arena,
                                 keel_publication **out, keel_err *err) {
    keel_publication *all;
    size_t count;
    KEEL_TRY(keel_store_publications(store, 0, arena, &all, &count, err));
    const keel_publication *last = newest(all, count, arm, ""); /* that was served */
    keel_publication *back = last ? newest(all, (size_t)(last - all), arm, last->policy) : NULL;
    if (!back) {
        keel_fail(err, KEEL_E_NOT_FOUND, arm, "no other policy was published to this arm before");
        return keel_hint(err,
                         "`keel publish --list` shows what was; what `keel serve --policy` named is none: "
                         "publish it (--policy DIR --gate EXPR)");
    }
    keel_publication again = *back;
    again.at = at, again.why = KEEL_PUBLISHED_ROLLBACK, again.note = NULL;
    KEEL_TRY(keel_store_publish(store, &again, &again.id, err));
    *back = again;
    if (out) *out = back;
    return KEEL_OK;
}
