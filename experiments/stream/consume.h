/* A topic into a store, every message once: a batch of messages, the transitions that follow from them and
 * the offsets that come next are one transaction. */
#ifndef KEEL_EXPERIMENTS_STREAM_CONSUME_H
#define KEEL_EXPERIMENTS_STREAM_CONSUME_H

#include <cjson/cJSON.h>

#include "datasets/import.h"
#include "experiments/stream/kafka.h"
#include "rl/learn/derive.h"

enum { KEEL_CONSUME_NAMED = 100 }; /* bad messages that are named; all are counted and kept */

typedef struct keel_consume {
    /* set by the caller: */
    keel_store *store;
    keel_kafka *kafka;
    const char *topic;
    keel_import_options options; /* format, split, source, columns, skip_bad */
    bool skip_gone;              /* goes on after messages that the brokers deleted before they were read */

    int64_t epoch;
    int32_t partitions;
    int64_t *stored, *next; /* [partitions] offsets: in the store (-1: none yet), to be read */
    int64_t messages, empty, bad, gone, batches, transitions; /* empty: without a value */
    keel_import_report report;
    cJSON *named; /* [{"where", "message"}] */
    bool stopped; /* by a bad message */

    /* of the transaction at hand: */
    const keel_stream_message *at;
    int64_t part;
    bool at_is_bad;
    keel_status status; /* of a callback that cannot fail */
    keel_err err;
    int64_t *extended; /* [n_extended] conversations whose transitions are to be made anew */
    size_t n_extended, extended_capacity;
    keel_reward_config rewards;
    keel_arena arena;
} keel_consume;

/* Claims the topic for this consumer and begins to read where the store has come to, else at the earliest
 * message. KEEL_E_CONFLICT: the offsets of the store do not fit what the brokers have. */
keel_status keel_consume_begin(keel_consume *consume, keel_err *err);
/* Looks for new partitions, and whether another consumer took over (KEEL_E_CONFLICT). Between batches. */
keel_status keel_consume_look(keel_consume *consume, keel_err *err);
/* All of the batch, or nothing of it; where a message is bad, more of them than may be, what came before it,
 * and the error names topic/partition/offset. */
keel_status keel_consume_batch(keel_consume *consume, const keel_kafka_batch *batch, keel_err *err);
void keel_consume_end(keel_consume *consume); /* frees what it made; store and kafka stay the caller's */

/* How many messages there are to be read by now; < 0: not known. */
int64_t keel_consume_left(keel_consume *consume);

#endif
