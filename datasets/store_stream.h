/* Streams at rest: how far each partition of a topic has been read, in the same transaction as what was read,
 * so that every message counts once (offsets stored outside of the broker, as Kafka's documentation of
 * KafkaConsumer describes it).
 *
 * A consumer claims the topic, which gives it an epoch. It then reads on from the offsets that are stored.
 * Whatever it brings in, and the offsets that follow, go into one transaction (keel_store_begin); a consumer
 * that is no longer the last to have claimed the topic cannot move the offsets, so its transaction fails. */
#ifndef KEEL_DATASETS_STORE_STREAM_H
#define KEEL_DATASETS_STORE_STREAM_H

#include "datasets/store.h"

/* A message. Keys and values are bytes. */
typedef struct keel_stream_message {
    int32_t partition;
    int64_t offset;
    const void *key, *value; /* NULL: none */
    size_t key_length, value_length;
} keel_stream_message;

/* Who may move the offsets of the topic from now on; in a transaction of its own. cluster: the identity of
 * the brokers; KEEL_E_CONFLICT where the topic of that name was another cluster's so far. */
keel_status keel_stream_claim(keel_store *store, const char *topic, const char *cluster, int64_t *epoch,
                              keel_err *err);
/* KEEL_E_CONFLICT: another consumer has claimed the topic since. Asked in the transaction that is to move its
 * offsets. */
keel_status keel_stream_check(keel_store *store, const char *topic, int64_t epoch, keel_err *err);
/* The offset that comes next in the partition; -1: nothing was read yet. */
keel_status keel_stream_next(keel_store *store, const char *topic, int32_t partition, int64_t *next,
                             keel_err *err);
/* Moves it from `expected` (-1: nothing was read yet). KEEL_E_CONFLICT: it is not there. */
keel_status keel_stream_advance(keel_store *store, const char *topic, int32_t partition, int64_t expected,
                                int64_t next, keel_err *err);
/* part: 0 for the first conversation of the message. */
keel_status keel_stream_put_message(keel_store *store, const char *topic, const keel_stream_message *message,
                                    int64_t part, int64_t conversation_id, keel_err *err);
/* Keeps a message that could not be used, with the reason. A second one of the same message is left out. */
keel_status keel_stream_put_bad(keel_store *store, const char *topic, const keel_stream_message *message,
                                const char *why, keel_err *err);

typedef struct keel_stream_place {
    const char *topic;
    int32_t partition;
    int64_t next;
} keel_stream_place;
/* Of all topics, by topic and partition; in the arena. */
keel_status keel_stream_places(keel_store *store, keel_arena *arena, keel_stream_place **out, size_t *count,
                               keel_err *err);

#endif
