#include "datasets/stratify.h"

#include "core/hash.h"
#include "datasets/store_internal.h"

enum { TEST_PERCENT = 20, BOUNDARY = 100 - TEST_PERCENT, HASH_BITS = 56, ONE_FROM = 3, N_RISKS = 3 };

/* ---- what is provisional ---- */

/* Where a group stands between train and test: its percent in the upper bits. The seed differs from that of
 * the fold hash, so that folds cut every split alike. */
static int64_t place_of(const char *source, const char *group) {
    const uint64_t hash =
        keel_hash64_texts(keel_group_of_all_sources(group) ? "" : source, group, 0x73706c6974);
    return (int64_t)((hash % 100) << HASH_BITS | hash >> (64 - HASH_BITS));
}

const char *keel__stratify_split(const char *source, const char *group) {
    return place_of(source, group) >> HASH_BITS < BOUNDARY ? "train" : "test";
}

keel_status keel__stratify_note(keel_store *store, const keel_conversation *conversation, int64_t id,
                                int64_t first, keel_err *err) {
    const bool asked = conversation->split != NULL;
    sqlite3_stmt *statement;
    if (asked && !first) return KEEL_OK;
    const keel__sql what = asked   ? KEEL__SQL_DROP_PENDING
                           : first ? KEEL__SQL_RAISE_PENDING
                                   : KEEL__SQL_ADD_PENDING;
    KEEL_TRY(keel__store_statement(store, what, &statement, err));
    sqlite3_bind_int64(statement, 1, first ? first : id);
    if (!asked) sqlite3_bind_int(statement, 2, (int)conversation->risk);
    if (!asked && !first)
        sqlite3_bind_int64(statement, 3,
                           place_of(conversation->source, keel_conversation_group(conversation)));
    return keel__store_run(store, statement, "noting a provisional split", err);
}

/* A conversation turned out to be of this risk. Its group is found as that of a new one would be. */
keel_status keel__stratify_raise(keel_store *store, const keel_conversation *conversation, keel_risk risk,
                                 keel_err *err) {
    sqlite3_stmt *statement;
    bool row;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_GROUP_SPLIT, &statement, err));
    sqlite3_bind_int64(statement, 1, keel_conversation_group_hash(conversation));
    keel__bind_text(statement, 2, conversation->source);
    keel__bind_text(statement, 3, keel_conversation_group(conversation));
    KEEL_TRY(keel__store_step(store, statement, &row, "looking up a group", err));
    const int64_t first = row ? sqlite3_column_int64(statement, 2) : conversation->id;
    sqlite3_reset(statement);
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_RAISE_PENDING, &statement, err));
    sqlite3_bind_int64(statement, 1, first);
    sqlite3_bind_int(statement, 2, (int)risk);
    return keel__store_run(store, statement, "noting a provisional split", err);
}

/* ---- settling ---- */

/* Groups of one risk: settled ones and provisional ones, and how many of each are in test. */
typedef struct stratum {
    int64_t groups, test, added, added_test;
} stratum;

static keel_status count(keel_store *store, keel__sql what, int risk, int64_t *all, int64_t *test,
                         keel_err *err) {
    sqlite3_stmt *statement;
    bool row;
    KEEL_TRY(keel__store_statement(store, what, &statement, err));
    sqlite3_bind_int(statement, 1, risk);
    if (what == KEEL__SQL_COUNT_PENDING) sqlite3_bind_int64(statement, 2, (int64_t)BOUNDARY << HASH_BITS);
    KEEL_TRY(keel__store_step(store, statement, &row, "counting a stratum", err));
    *all = row ? sqlite3_column_int64(statement, 0) : 0;
    *test = row ? sqlite3_column_int64(statement, 1) : 0;
    sqlite3_reset(statement);
    if (*test >= 0 && *test <= *all && *all <= INT64_MAX / 200) return KEEL_OK;
    return keel__store_damaged(store, "the counts of a stratum", err);
}

/* How many provisional groups go to test; less than 0: how many leave it. */
static int64_t to_move(const stratum *s) {
    const int64_t groups = s->groups + s->added, there = s->test + s->added_test;
    int64_t least = groups * TEST_PERCENT / 100;
    const int64_t most = (groups * TEST_PERCENT + 99) / 100;
    if (least == 0 && groups >= ONE_FROM) least = 1;
    return there < least ? least - there : there > most ? most - there : 0;
}

/* Moves the provisional groups that lie nearest to the boundary. */
static keel_status move_groups(keel_store *store, int risk, int64_t number, keel_err *err) {
    const bool to_test = number > 0;
    sqlite3_stmt *nearest, *move;
    bool row;
    KEEL_TRY(keel__store_statement(store, to_test ? KEEL__SQL_BELOW_BOUNDARY : KEEL__SQL_ABOVE_BOUNDARY,
                                   &nearest, err));
    sqlite3_bind_int(nearest, 1, risk);
    sqlite3_bind_int64(nearest, 2, (int64_t)BOUNDARY << HASH_BITS);
    sqlite3_bind_int64(nearest, 3, to_test ? number : -number);
    for (;;) {
        KEEL_TRY(keel__store_step(store, nearest, &row, "looking for groups to move", err));
        if (!row) return KEEL_OK;
        keel_status status = keel__store_statement(store, KEEL__SQL_MOVE_GROUP, &move, err);
        if (status == KEEL_OK) {
            sqlite3_bind_int64(move, 1, sqlite3_column_int64(nearest, 0));
            keel__bind_text(move, 2, to_test ? "test" : "train");
            status = keel__store_run(store, move, "moving a group", err);
        }
        if (status != KEEL_OK) {
            sqlite3_reset(nearest);
            return status;
        }
    }
}

static keel_status settle_stratum(keel_store *store, int risk, keel_err *err) {
    stratum s;
    sqlite3_stmt *statement;
    KEEL_TRY(count(store, KEEL__SQL_COUNT_PENDING, risk, &s.added, &s.added_test, err));
    if (s.added == 0) return KEEL_OK;
    KEEL_TRY(count(store, KEEL__SQL_COUNT_STRATUM, risk, &s.groups, &s.test, err));
    const int64_t moved = to_move(&s);
    KEEL_TRY(move_groups(store, risk, moved, err));
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_PUT_STRATUM, &statement, err));
    sqlite3_bind_int(statement, 1, risk);
    sqlite3_bind_int64(statement, 2, s.groups + s.added);
    sqlite3_bind_int64(statement, 3, s.test + s.added_test + moved);
    return keel__store_run(store, statement, "counting a stratum", err);
}

static keel_status settle(keel_store *store, keel_err *err) {
    sqlite3_stmt *statement;
    for (int risk = 0; risk < N_RISKS; risk++) KEEL_TRY(settle_stratum(store, risk, err));
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_CLEAR_PENDING, &statement, err));
    return keel__store_run(store, statement, "settling splits", err);
}

keel_status keel_stratify(keel_store *store, keel_err *err) {
    sqlite3_stmt *statement;
    bool pending;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_ANY_PENDING, &statement, err));
    KEEL_TRY(keel__store_step(store, statement, &pending, "looking for provisional splits", err));
    sqlite3_reset(statement);
    if (!pending) return KEEL_OK;
    bool own;
    KEEL_TRY(keel__store_enter(store, &own, err));
    return keel__store_end(store, own, settle(store, err), err);
}
