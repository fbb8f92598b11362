/* A topic of Kafka, read partition by partition from given offsets on, without a consumer group: who reads,
 * and how far, is in the store (datasets/store_stream.h). kafka.c is the one file that knows librdkafka;
 * without it at build time keel_kafka_open is KEEL_E_UNSUPPORTED. One thread uses a handle. */
#ifndef KEEL_EXPERIMENTS_STREAM_KAFKA_H
#define KEEL_EXPERIMENTS_STREAM_KAFKA_H

#include "datasets/store_stream.h"

typedef struct keel_kafka keel_kafka;

/* A line of a file of properties. */
typedef struct keel_kafka_property {
    const char *key, *value;
    size_t line;
} keel_kafka_property;

/* Reads "key=value" lines, as kcat and librdkafka's tools take them; '#' begins a comment. In the arena. Keys
 * that decide what is read, and how often, are refused (KEEL_E_USAGE): Keel sets them. No error says a value.
 */
keel_status keel_kafka_properties_read(const char *path, keel_arena *arena, keel_kafka_property **out,
                                       size_t *count, keel_err *err);

typedef struct keel_kafka_spec {
    const char *brokers, *topic;
    const char *config; /* where the properties stand, for errors; NULL: there are none */
    const keel_kafka_property *properties;
    size_t n_properties;
    const char
        *group; /* offsets are told to the brokers under this name, for monitors of lag; NULL: they are not */
    double patience; /* seconds to wait for a first answer */
} keel_kafka_spec;

/* Connects, and asks for the topic's partitions. KEEL_E_NOT_FOUND: there is no such topic; KEEL_E_IO: no
 * broker answers. */
keel_status keel_kafka_open(keel_kafka **out, const keel_kafka_spec *spec, keel_err *err);
void keel_kafka_close(keel_kafka *kafka); /* NULL is harmless */

const char *keel_kafka_cluster(const keel_kafka *kafka); /* identity of the cluster */
int32_t keel_kafka_partitions(const keel_kafka *kafka);  /* when opened, or last asked: */
/* Asks once how many there are by now; they never get fewer. *grown: there are more. */
keel_status keel_kafka_refresh(keel_kafka *kafka, bool *grown, keel_err *err);
/* The first offset that the broker still has, and one past the last. Interruptible. */
keel_status keel_kafka_ends(keel_kafka *kafka, int32_t partition, int64_t *low, int64_t *high, keel_err *err);

/* Begins to read: partition p from next [partitions][p] on. */
keel_status keel_kafka_assign(keel_kafka *kafka, const int64_t *next, keel_err *err);

/* Messages as they came, in the order of each partition. What they point to lives until keel_kafka_release.
 */
typedef struct keel_kafka_batch {
    keel_stream_message *messages;
    size_t n, bytes;
    struct keel_kafka_held *held; /* kafka.c's */
    size_t capacity;
} keel_kafka_batch;
/* Adds messages to the batch until it holds `most` of them or `most_bytes`, or the seconds are over. It may
 * stay empty. Brokers that are away for a while are waited for. KEEL_E_CONFLICT: an offset that was to be
 * read is not there. */
keel_status keel_kafka_poll(keel_kafka *kafka, keel_kafka_batch *batch, size_t most, size_t most_bytes,
                            double seconds, keel_err *err);
void keel_kafka_release(keel_kafka_batch *batch); /* empties it; keeps its memory */
void keel_kafka_batch_free(keel_kafka_batch *batch);

/* Whether the end of every partition has been met since keel_kafka_assign. */
bool keel_kafka_at_end(const keel_kafka *kafka);
/* Tells the brokers, for monitors alone, that all before next [partitions] is in; -1: nothing. Nothing
 * depends on it. */
void keel_kafka_tell(keel_kafka *kafka, const int64_t *next);

#endif
