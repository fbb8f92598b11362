#include "datasets/store_rounds.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/json.h"
#include "datasets/store_internal.h"
#include "datasets/store_stream.h"

/* ---- snapshots ---- */

static keel_status run_with(keel_store *store, const char *sql, const char *text, const char *doing,
                            keel_err *err) {
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_prepare(store, sql, &statement, err));
    if (text) keel__bind_text(statement, 1, text);
    const keel_status status = keel__store_run(store, statement, doing, err);
    sqlite3_finalize(statement);
    return status;
}

keel_status keel_store_snapshot(keel_store *store, const char *path, keel_err *err) {
    keel_buf temporary = {0};
    keel_buf_format(&temporary, "%s.new", path);
    if (temporary.failed) {
        keel_buf_free(&temporary);
        return keel_nomem(err, path);
    }
    unlink(temporary.data);
    keel_status status = run_with(store, "VACUUM INTO ?1", temporary.data, "writing a snapshot", err);
    if (status == KEEL_OK && rename(temporary.data, path) != 0)
        status = keel_fail(err, KEEL_E_IO, path, "the snapshot cannot be put there");
    if (status != KEEL_OK) unlink(temporary.data);
    keel_buf_free(&temporary);
    return status;
}

/* ---- features that still hold ---- */

/* What the features of a decision are made of: what was said before it, and its candidates. One side's rows
 * that the other does not have. */
#define TURNS(of)                                                                                            \
    "SELECT t.position, t.role, t.text, t.model, t.act FROM " of ".turns t"                                  \
    " WHERE t.conversation_id = d.conversation_id AND t.position < d.turn"
#define CANDIDATES(of)                                                                                       \
    "SELECT k.id, k.text, k.act, k.model, k.taken, u.text FROM " of ".candidates k LEFT JOIN " of            \
    ".turns u ON k.text IS NULL AND u.conversation_id = d.conversation_id AND u.position = d.turn"           \
    " WHERE k.decision_id = d.id"
#define SAME(rows)                                                                                           \
    " AND NOT EXISTS(" rows("main") " EXCEPT " rows("older") ") AND NOT EXISTS(" rows(                       \
        "older") " EXCEPT " rows("main") ")"

static const char carry_sql[] =
    "INSERT INTO main.features(decision_id, base_hash, state_dim, candidate_dim, n_candidates, n_actions, data)"
    " SELECT f.decision_id, f.base_hash, f.state_dim, f.candidate_dim, f.n_candidates, f.n_actions, f.data"
    " FROM older.features f JOIN main.decisions d ON d.id = f.decision_id JOIN older.decisions o ON o.id = d.id"
    " AND o.conversation_id = d.conversation_id AND o.turn = d.turn WHERE f.base_hash = ?1"
    " AND NOT EXISTS(SELECT 1 FROM main.features h WHERE h.decision_id = d.id AND h.base_hash = ?1)" SAME(
        TURNS) SAME(CANDIDATES) " ORDER BY f.id";

keel_status keel_store_carry_features(keel_store *store, const char *older, const char *base_hash,
                                      int64_t *carried, keel_err *err) {
    KEEL_TRY(run_with(store, "ATTACH DATABASE ?1 AS older", older, "opening an older copy", err));
    const keel_status status = run_with(store, carry_sql, base_hash, "carrying features over", err);
    if (carried) *carried = status == KEEL_OK ? sqlite3_changes64(store->db) : 0;
    const keel_status detached = run_with(store, "DETACH DATABASE older", NULL, "closing an older copy",
                                          status == KEEL_OK ? err : NULL);
    return status == KEEL_OK ? detached : status;
}

/* ---- what one policy answered ---- */

#define ANSWERED                                                                                             \
    " split = ?1 AND EXISTS(SELECT 1 FROM served s WHERE s.conversation_id = conversations.id"               \
    " AND s.policy = ?2) AND NOT EXISTS(SELECT 1 FROM served s WHERE s.conversation_id = conversations.id"   \
    " AND (s.policy IS NOT ?2 OR s.shadow))"

keel_status keel_store_count_answered(keel_store *store, const char *split, const char *policy,
                                      int64_t *count, keel_err *err) {
    sqlite3_stmt *statement;
    KEEL_TRY(
        keel__store_prepare(store, "SELECT count(*) FROM conversations WHERE" ANSWERED, &statement, err));
    keel__bind_text(statement, 1, split);
    keel__bind_text(statement, 2, policy);
    const keel_status status =
        keel__store_number(store, statement, "counting what was answered", 0, count, err);
    sqlite3_finalize(statement);
    return status;
}

keel_status keel_store_set_apart(keel_store *store, const char *split, const char *policy, const char *into,
                                 keel_err *err) {
    sqlite3_stmt *statement;
    KEEL_TRY(
        keel__store_prepare(store, "UPDATE conversations SET split = ?3 WHERE" ANSWERED, &statement, err));
    keel__bind_text(statement, 1, split);
    keel__bind_text(statement, 2, policy);
    keel__bind_text(statement, 3, into);
    const keel_status status = keel__store_run(store, statement, "setting conversations apart", err);
    sqlite3_finalize(statement);
    return status;
}

/* ---- rows ---- */

keel_status keel_store_put_round(keel_store *store, const keel_round *round, keel_err *err) {
    sqlite3_stmt *s;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_PUT_ROUND, &s, err));
    sqlite3_bind_int64(s, 1, round->id);
    sqlite3_bind_double(s, 2, round->at);
    keel__bind_text(s, 3, round->snapshot);
    keel__bind_text(s, 4, round->content);
    sqlite3_bind_int64(s, 5, round->conversations);
    keel__bind_text(s, 6, round->offsets);
    sqlite3_bind_int64(s, 7, round->served);
    keel__bind_text(s, 8, round->policy_before);
    keel__bind_text(s, 9, round->policy);
    keel__bind_text(s, 10, round->gates);
    keel__bind_text(s, 11, round->verdict);
    sqlite3_bind_int(s, 12, round->published);
    keel__bind_text(s, 13, round->config);
    sqlite3_bind_int64(s, 14, round->seed);
    return keel__store_run(store, s, "writing a round", err);
}

static keel_status read_round(keel_store *store, sqlite3_stmt *s, keel_arena *arena, void *item,
                              keel_err *err) {
    keel_round *out = item;
    *out = (keel_round){.id = sqlite3_column_int64(s, 0),
                        .at = sqlite3_column_double(s, 1),
                        .conversations = sqlite3_column_int64(s, 4),
                        .served = sqlite3_column_int64(s, 6),
                        .published = sqlite3_column_int(s, 11) != 0,
                        .seed = sqlite3_column_int64(s, 13)};
    KEEL_TRY(keel__column_text(s, 2, arena, &out->snapshot, err));
    KEEL_TRY(keel__column_text(s, 3, arena, &out->content, err));
    KEEL_TRY(keel__column_text(s, 5, arena, &out->offsets, err));
    KEEL_TRY(keel__column_text(s, 7, arena, &out->policy_before, err));
    KEEL_TRY(keel__column_text(s, 8, arena, &out->policy, err));
    KEEL_TRY(keel__column_text(s, 9, arena, &out->gates, err));
    KEEL_TRY(keel__column_text(s, 10, arena, &out->verdict, err));
    KEEL_TRY(keel__column_text(s, 12, arena, &out->config, err));
    const bool whole = out->snapshot && out->content && out->offsets && out->config;
    return whole ? KEEL_OK : keel__store_damaged(store, "a round without its snapshot", err);
}

keel_status keel_store_rounds(keel_store *store, keel_arena *arena, keel_round **out, size_t *count,
                              keel_err *err) {
    static const keel__list rounds = {"reading rounds", sizeof **out, read_round};
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_ROUNDS, &statement, err));
    return keel__store_list(store, statement, &rounds, arena, out, count, err);
}

/* ---- how far the store has come ---- */

/* {"topic": [next of partition 0, ...]}; null: nothing of that partition was read. */
static void print_places(const keel_stream_place *places, size_t count, keel_buf *out) {
    int32_t partition = 0;
    keel_buf_text(out, "{");
    for (size_t i = 0; i < count; i++, partition++) {
        const bool first = i == 0 || strcmp(places[i - 1].topic, places[i].topic) != 0;
        if (first) partition = 0;
        if (first && i) keel_buf_text(out, "], ");
        if (first) keel_json_put_string(out, places[i].topic);
        if (first) keel_buf_text(out, ": [");
        for (; partition < places[i].partition; partition++)
            keel_buf_text(out, partition ? ", null" : "null");
        keel_buf_format(out, "%s%lld", partition ? ", " : "", (long long)places[i].next);
    }
    keel_buf_text(out, count ? "]}" : "}");
}

keel_status keel_store_reached(keel_store *store, keel_arena *arena, const char **offsets, int64_t *served,
                               keel_err *err) {
    sqlite3_stmt *statement;
    keel_stream_place *places;
    keel_buf text = {0};
    size_t count;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_LAST_SERVED, &statement, err));
    KEEL_TRY(keel__store_number(store, statement, "reading what was served", 0, served, err));
    KEEL_TRY(keel_stream_places(store, arena, &places, &count, err));
    print_places(places, count, &text);
    *offsets = text.failed ? NULL : keel_arena_strdup(arena, text.data);
    keel_buf_free(&text);
    return *offsets ? KEEL_OK : keel_nomem(err, "offsets");
}
