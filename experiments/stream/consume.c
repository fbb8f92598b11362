#include "experiments/stream/consume.h"

#include <string.h>

#include "core/json.h"
#include "core/log.h"

/* ---- where it begins ---- */

static keel_status fail_offset(const keel_consume *c, int32_t partition, int64_t next, int64_t low,
                               int64_t high, keel_err *err) {
    char where[600];
    snprintf(where, sizeof where, "%.249s/%d", c->topic, (int)partition);
    if (next > high) {
        keel_fail(err, KEEL_E_CONFLICT, where,
                  "the store has read up to offset %lld, but the brokers end at %lld", (long long)next,
                  (long long)high);
        return keel_hint(err,
                         "the topic was made anew or cut: read it into another store, or under another name");
    }
    keel_fail(err, KEEL_E_CONFLICT, where,
              "offsets %lld to %lld were deleted by the brokers before they were read", (long long)next,
              (long long)low - 1);
    return keel_hint(err, "--skip-gone goes on at %lld and counts what is missing", (long long)low);
}

static keel_status begin_partition(keel_consume *c, int32_t partition, keel_err *err) {
    int64_t low, high, *next = &c->next[partition];
    KEEL_TRY(keel_stream_next(c->store, c->topic, partition, &c->stored[partition], err));
    KEEL_TRY(keel_kafka_ends(c->kafka, partition, &low, &high, err));
    *next = c->stored[partition] < 0 ? low : c->stored[partition];
    if (*next > high || (*next < low && !c->skip_gone))
        return fail_offset(c, partition, *next, low, high, err);
    if (*next >= low) return KEEL_OK;
    keel_log(KEEL_LOG_INFO, "note: %s/%d: %lld messages were deleted before they were read", c->topic,
             (int)partition, (long long)(low - *next));
    c->gone += low - *next;
    *next = low;
    return KEEL_OK;
}

/* Partitions from `first` on are new to this consumer. */
static keel_status assign(keel_consume *c, int32_t first, keel_err *err) {
    const size_t n = (size_t)keel_kafka_partitions(c->kafka);
    int64_t *stored = keel_realloc(c->stored, n * sizeof *stored);
    if (stored) c->stored = stored;
    int64_t *next = keel_realloc(c->next, n * sizeof *next);
    if (next) c->next = next;
    if (!stored || !next) return keel_nomem(err, c->topic);
    for (int32_t p = first; p < (int32_t)n; p++) KEEL_TRY(begin_partition(c, p, err));
    c->partitions = (int32_t)n;
    return keel_kafka_assign(c->kafka, c->next, err);
}

keel_status keel_consume_begin(keel_consume *c, keel_err *err) {
    c->named = cJSON_CreateArray();
    KEEL_TRY(keel_stream_claim(c->store, c->topic, keel_kafka_cluster(c->kafka), &c->epoch, err));
    return assign(c, 0, err);
}

keel_status keel_consume_look(keel_consume *c, keel_err *err) {
    bool grown = false;
    KEEL_TRY(keel_stream_check(c->store, c->topic, c->epoch, err));
    if (keel_kafka_refresh(c->kafka, &grown, NULL) != KEEL_OK || !grown) return KEEL_OK;
    keel_log(KEEL_LOG_INFO, "note: %s has %d partitions now", c->topic, (int)keel_kafka_partitions(c->kafka));
    return assign(c, c->partitions, err);
}

void keel_consume_end(keel_consume *c) {
    cJSON_Delete(c->named);
    keel_free(c->stored);
    keel_free(c->next);
    keel_free(c->extended);
    keel_arena_free(&c->arena);
}

int64_t keel_consume_left(keel_consume *c) {
    int64_t left = 0;
    for (int32_t p = 0; p < c->partitions; p++) {
        int64_t low, high;
        if (keel_kafka_ends(c->kafka, p, &low, &high, NULL) != KEEL_OK) return -1;
        left += high > c->next[p] ? high - c->next[p] : 0;
    }
    return left;
}

/* ---- one message ---- */

static keel_status derive_new(void *user, const keel_conversation *conversation, keel_err *err) {
    keel_consume *c = user;
    keel_arena_reset(&c->arena);
    return keel_derive_added(c->store, conversation, &c->rewards, &c->arena, &c->transitions, err);
}

static keel_status note_conversation(void *user, int64_t id, keel_added added, keel_err *err) {
    keel_consume *c = user;
    if (added == KEEL_ADDED_MORE &&
        !keel_grow(&c->extended, c->n_extended + 1, &c->extended_capacity, sizeof *c->extended))
        return keel_nomem(err, c->topic);
    if (added == KEEL_ADDED_MORE) c->extended[c->n_extended++] = id;
    return keel_stream_put_message(c->store, c->topic, c->at, c->part++, id, err);
}

static void note_bad(void *user, const keel_err *bad) {
    keel_consume *c = user;
    char why[sizeof bad->where + sizeof bad->message + 4];
    snprintf(why, sizeof why, "%s: %s", bad->where, bad->message);
    if (c->status == KEEL_OK) c->status = keel_stream_put_bad(c->store, c->topic, c->at, why, &c->err);
    c->bad += !c->at_is_bad;
    c->at_is_bad = true;
    if (cJSON_GetArraySize(c->named) >= KEEL_CONSUME_NAMED) return;
    cJSON *item = cJSON_CreateObject();
    cJSON_AddStringToObject(item, "where", bad->where);
    cJSON_AddStringToObject(item, "message", bad->message);
    keel_json_add(c->named, NULL, item);
}

static keel_status add_message(keel_consume *c, const keel_stream_message *message, keel_err *err) {
    keel_source *source;
    char name[300];
    c->messages++;
    c->at = message;
    c->part = 0;
    c->at_is_bad = false;
    if (!message->value) {
        c->empty++;
        return KEEL_OK;
    }
    snprintf(name, sizeof name, "%.249s/%d/%lld", c->topic, (int)message->partition,
             (long long)message->offset);
    KEEL_TRY(keel_source_open_memory(&source, name, message->value, message->value_length, err));
    KEEL_TRY(keel_import_message(c->store, &c->options, source, &c->report, err));
    if (c->status != KEEL_OK && err) *err = c->err;
    return c->status;
}

/* ---- one transaction ---- */

/* What is counted goes back with a transaction that fails. */
typedef struct counted {
    keel_import_report report;
    int64_t messages, empty, bad, transitions;
    int named;
} counted;

static counted count(const keel_consume *c) {
    return (counted){c->report, c->messages, c->empty, c->bad, c->transitions, cJSON_GetArraySize(c->named)};
}

static void take_back(keel_consume *c, const counted *before) {
    c->report = before->report;
    c->messages = before->messages;
    c->empty = before->empty;
    c->bad = before->bad;
    c->transitions = before->transitions;
    while (cJSON_GetArraySize(c->named) > before->named) cJSON_DeleteItemFromArray(c->named, before->named);
}

static keel_status derive_extended(keel_consume *c, keel_err *err) {
    if (c->n_extended) KEEL_TRY(keel_store_gathered(c->store, err));
    for (size_t i = 0; i < c->n_extended; i++) {
        keel_arena_reset(&c->arena);
        KEEL_TRY(
            keel_derive_conversation(c->store, c->extended[i], &c->rewards, &c->arena, &c->transitions, err));
    }
    return KEEL_OK;
}

/* The last message of each partition in messages [n] says what comes next. */
static keel_status move_offsets(keel_consume *c, const keel_stream_message *messages, size_t n, int64_t *next,
                                keel_err *err) {
    for (int32_t p = 0; p < c->partitions; p++) next[p] = c->next[p];
    for (size_t i = 0; i < n; i++)
        if (messages[i].partition >= 0 && messages[i].partition < c->partitions)
            next[messages[i].partition] = messages[i].offset + 1;
    for (int32_t p = 0; p < c->partitions; p++)
        if (next[p] != c->next[p])
            KEEL_TRY(keel_stream_advance(c->store, c->topic, p, c->stored[p], next[p], err));
    return KEEL_OK;
}

/* *added: how many messages went well. */
static keel_status add_messages(keel_consume *c, const keel_stream_message *messages, size_t n, size_t *added,
                                int64_t *next, keel_err *err) {
    KEEL_TRY(keel_stream_check(c->store, c->topic, c->epoch, err));
    KEEL_TRY(keel_derive_settle_rewards(c->store, &c->rewards, err));
    keel_store_gather(c->store);
    for (*added = 0; *added < n; ++*added) KEEL_TRY(add_message(c, &messages[*added], err));
    KEEL_TRY(derive_extended(c, err));
    return move_offsets(c, messages, n, next, err);
}

static keel_status transact(keel_consume *c, const keel_stream_message *messages, size_t n, size_t *added,
                            int64_t *next, keel_err *err) {
    const counted before = count(c);
    c->n_extended = 0;
    c->status = KEEL_OK;
    c->options.bad = note_bad;
    c->options.came = note_conversation;
    c->options.each = derive_new;
    c->options.each_user = c->options.bad_user = c->options.came_user = c;
    *added = 0;
    KEEL_TRY(keel_store_begin(c->store, err));
    keel_status status = add_messages(c, messages, n, added, next, err);
    if (status == KEEL_OK) status = keel_store_commit(c->store, err);
    if (status != KEEL_OK) keel_store_rollback(c->store);
    if (status != KEEL_OK) take_back(c, &before);
    if (status != KEEL_OK) return status;
    for (int32_t p = 0; p < c->partitions; p++)
        if (next[p] != c->next[p]) c->next[p] = c->stored[p] = next[p];
    c->batches++;
    return KEEL_OK;
}

static bool is_bad(keel_status status) {
    return status == KEEL_E_PARSE || status == KEEL_E_INVALID || status == KEEL_E_CONFLICT ||
           status == KEEL_E_UNSUPPORTED;
}

/* next: room [partitions]. */
static keel_status keep_batch(keel_consume *c, const keel_kafka_batch *batch, int64_t *next, keel_err *err) {
    size_t added, again;
    keel_err other = {0};
    const keel_status status = transact(c, batch->messages, batch->n, &added, next, err);
    c->stopped = is_bad(status) && added < batch->n && c->at;
    if (!c->stopped) return status;
    if (added && transact(c, batch->messages, added, &again, next, &other) != KEEL_OK) {
        if (err) *err = other;
        return other.code;
    }
    return status;
}

keel_status keel_consume_batch(keel_consume *c, const keel_kafka_batch *batch, keel_err *err) {
    int64_t *next = keel_alloc((size_t)c->partitions * sizeof *next);
    if (!next) return keel_nomem(err, c->topic);
    c->at = NULL;
    const keel_status status = keep_batch(c, batch, next, err);
    keel_free(next);
    if (status == KEEL_OK) keel_kafka_tell(c->kafka, c->next);
    return status;
}
