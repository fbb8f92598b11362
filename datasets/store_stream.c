#include "datasets/store_stream.h"

#include <string.h>

#include "datasets/store_internal.h"

/* ---- who reads ---- */

/* *epoch 0: nobody has claimed the topic yet. */
static keel_status find_stream(keel_store *store, const char *topic, keel_arena *arena, const char **cluster,
                               int64_t *epoch, keel_err *err) {
    sqlite3_stmt *statement;
    bool row;
    *epoch = 0;
    *cluster = NULL;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_STREAM, &statement, err));
    keel__bind_text(statement, 1, topic);
    KEEL_TRY(keel__store_step(store, statement, &row, "reading a stream", err));
    if (row) *epoch = sqlite3_column_int64(statement, 1);
    keel_status status = row ? keel__column_text(statement, 0, arena, cluster, err) : KEEL_OK;
    sqlite3_reset(statement);
    return status;
}

static keel_status put_stream(keel_store *store, const char *topic, const char *cluster, int64_t epoch,
                              keel_err *err) {
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_PUT_STREAM, &statement, err));
    keel__bind_text(statement, 1, topic);
    keel__bind_text(statement, 2, cluster);
    sqlite3_bind_int64(statement, 3, epoch);
    return keel__store_run(store, statement, "claiming a stream", err);
}

static keel_status claim(keel_store *store, const char *topic, const char *cluster, int64_t *epoch,
                         keel_err *err) {
    keel_arena arena = {0};
    const char *there;
    keel_status status = find_stream(store, topic, &arena, &there, epoch, err);
    if (status == KEEL_OK && there && strcmp(there, cluster) != 0) {
        status = keel_fail(
            err, KEEL_E_CONFLICT, topic,
            "the store's offsets of this topic are of cluster %.80s, these brokers are cluster %.80s", there,
            cluster);
        keel_hint(err, "offsets of one cluster mean nothing on another: give another --store or topic name");
    }
    keel_arena_free(&arena);
    return status == KEEL_OK ? put_stream(store, topic, cluster, ++*epoch, err) : status;
}

keel_status keel_stream_claim(keel_store *store, const char *topic, const char *cluster, int64_t *epoch,
                              keel_err *err) {
    KEEL_TRY(keel_store_begin(store, err));
    return keel__store_end(store, true, claim(store, topic, cluster, epoch, err), err);
}

keel_status keel_stream_check(keel_store *store, const char *topic, int64_t epoch, keel_err *err) {
    keel_arena arena = {0};
    const char *cluster;
    int64_t now;
    keel_status status = find_stream(store, topic, &arena, &cluster, &now, err);
    keel_arena_free(&arena);
    if (status != KEEL_OK || now == epoch) return status;
    keel_fail(err, KEEL_E_CONFLICT, topic,
              "another consumer reads this topic into the store since (epoch %lld, this is %lld)",
              (long long)now, (long long)epoch);
    return keel_hint(err,
                     "one consumer a topic and store: nothing is lost or doubled, but this one must stop");
}

/* ---- how far ---- */

static void bind_partition(sqlite3_stmt *statement, const char *topic, int32_t partition) {
    keel__bind_text(statement, 1, topic);
    sqlite3_bind_int64(statement, 2, partition);
}

keel_status keel_stream_next(keel_store *store, const char *topic, int32_t partition, int64_t *next,
                             keel_err *err) {
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_STREAM_NEXT, &statement, err));
    bind_partition(statement, topic, partition);
    return keel__store_number(store, statement, "reading an offset", -1, next, err);
}

keel_status keel_stream_advance(keel_store *store, const char *topic, int32_t partition, int64_t expected,
                                int64_t next, keel_err *err) {
    sqlite3_stmt *statement;
    const bool first = expected < 0;
    KEEL_TRY(keel__store_statement(store, first ? KEEL__SQL_STREAM_BEGIN : KEEL__SQL_STREAM_ADVANCE,
                                   &statement, err));
    bind_partition(statement, topic, partition);
    sqlite3_bind_int64(statement, 3, first ? next : expected);
    if (!first) sqlite3_bind_int64(statement, 4, next);
    KEEL_TRY(keel__store_run(store, statement, "moving an offset", err));
    if (sqlite3_changes(store->db) == 1) return KEEL_OK;
    return keel_fail(err, KEEL_E_CONFLICT, topic,
                     "partition %d: its stored offset is not %lld any more: somebody else has moved it",
                     (int)partition, (long long)expected);
}

/* More partitions than a topic has would make a list of what lies between them. */
static keel_status read_place(keel_store *store, sqlite3_stmt *s, keel_arena *arena, void *item,
                              keel_err *err) {
    enum { MOST_PARTITIONS = 1000000 };
    keel_stream_place *out = item;
    *out = (keel_stream_place){.partition = sqlite3_column_int(s, 1), .next = sqlite3_column_int64(s, 2)};
    KEEL_TRY(keel__column_text(s, 0, arena, &out->topic, err));
    const bool whole = out->topic && out->partition >= 0 && out->partition < MOST_PARTITIONS;
    return whole ? KEEL_OK : keel__store_damaged(store, "an offset without its topic or partition", err);
}

keel_status keel_stream_places(keel_store *store, keel_arena *arena, keel_stream_place **out, size_t *count,
                               keel_err *err) {
    static const keel__list places = {"reading offsets", sizeof **out, read_place};
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_STREAM_OFFSETS, &statement, err));
    return keel__store_list(store, statement, &places, arena, out, count, err);
}

/* ---- what came ---- */

keel_status keel_stream_put_message(keel_store *store, const char *topic, const keel_stream_message *message,
                                    int64_t part, int64_t conversation_id, keel_err *err) {
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_PUT_MESSAGE, &statement, err));
    bind_partition(statement, topic, message->partition);
    sqlite3_bind_int64(statement, 3, message->offset);
    sqlite3_bind_int64(statement, 4, part);
    sqlite3_bind_int64(statement, 5, conversation_id);
    return keel__store_run(store, statement, "noting a message", err);
}

/* NULL stays NULL; no bytes are an empty blob. */
static void bind_bytes(sqlite3_stmt *statement, int place, const void *bytes, size_t length) {
    if (!bytes)
        sqlite3_bind_null(statement, place);
    else
        sqlite3_bind_blob64(statement, place, bytes, length, SQLITE_STATIC);
}

keel_status keel_stream_put_bad(keel_store *store, const char *topic, const keel_stream_message *message,
                                const char *why, keel_err *err) {
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_PUT_BAD_MESSAGE, &statement, err));
    bind_partition(statement, topic, message->partition);
    sqlite3_bind_int64(statement, 3, message->offset);
    keel__bind_text(statement, 4, why);
    bind_bytes(statement, 5, message->key, message->key_length);
    bind_bytes(statement, 6, message->value, message->value_length);
    return keel__store_run(store, statement, "keeping a bad message", err);
}
