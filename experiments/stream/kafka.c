/* The one file that knows librdkafka. Without it at build time a topic cannot be opened, and it says so. */
#include "experiments/stream/kafka.h"

#if !KEEL_HAVE_RDKAFKA

keel_status keel_kafka_open(keel_kafka **out, const keel_kafka_spec *spec, keel_err *err) {
    (void)spec;
    *out = NULL;
    keel_fail(err, KEEL_E_UNSUPPORTED, "Kafka",
              "this keel was built without librdkafka, which reads streams");
    return keel_hint(err, "install the package librdkafka-dev, then configure and build again");
}

static keel_status absent(keel_err *err) {
    return keel_fail(err, KEEL_E_UNSUPPORTED, "Kafka", "nothing is open");
}

void keel_kafka_close(keel_kafka *kafka) {
    (void)kafka;
}

const char *keel_kafka_cluster(const keel_kafka *kafka) {
    (void)kafka;
    return "";
}

int32_t keel_kafka_partitions(const keel_kafka *kafka) {
    (void)kafka;
    return 0;
}

keel_status keel_kafka_refresh(keel_kafka *kafka, bool *grown, keel_err *err) {
    (void)kafka, (void)grown;
    return absent(err);
}

keel_status keel_kafka_ends(keel_kafka *kafka, int32_t partition, int64_t *low, int64_t *high,
                            keel_err *err) {
    (void)kafka, (void)partition, (void)low, (void)high;
    return absent(err);
}

keel_status keel_kafka_assign(keel_kafka *kafka, const int64_t *next, keel_err *err) {
    (void)kafka, (void)next;
    return absent(err);
}

keel_status keel_kafka_poll(keel_kafka *kafka, keel_kafka_batch *batch, size_t most, size_t most_bytes,
                            double seconds, keel_err *err) {
    (void)kafka, (void)batch, (void)most, (void)most_bytes, (void)seconds;
    return absent(err);
}

void keel_kafka_release(keel_kafka_batch *batch) {
    (void)batch;
}

void keel_kafka_batch_free(keel_kafka_batch *batch) {
    (void)batch;
}

bool keel_kafka_at_end(const keel_kafka *kafka) {
    (void)kafka;
    return true;
}

void keel_kafka_tell(keel_kafka *kafka, const int64_t *next) {
    (void)kafka, (void)next;
}

#else

#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/interrupt.h"
#include "core/log.h"

enum { SLICE_MS = 100 /* between looks at keel_interrupted */ };
static const double quiet = 10; /* seconds between two notes of the same trouble */

struct keel_kafka_held {
    rd_kafka_message_t *message;
};

struct keel_kafka {
    rd_kafka_t *client;
    char *topic, *cluster;
    int32_t partitions, assigned;
    bool *ended; /* [assigned] */
    bool tells;
    double told; /* when trouble was last noted */
    double patience;
};

/* ---- what the library says ---- */

static void note(keel_kafka *kafka, const char *what) {
    const double now = keel_clock();
    if (kafka->told > 0 && now - kafka->told < quiet) return;
    kafka->told = now;
    keel_log(KEEL_LOG_INFO, "note: kafka: %s; it is tried again", what);
}

static void on_error(rd_kafka_t *client, int code, const char *reason, void *user) {
    (void)client, (void)code;
    note(user, reason);
}

static void on_log(const rd_kafka_t *client, int level, const char *facility, const char *text) {
    (void)client, (void)level;
    keel_log(KEEL_LOG_DEBUG, "kafka: %s: %s", facility, text);
}

/* ---- opening ---- */

/* The library's own text may say the value, which may be a secret. */
static keel_status set(rd_kafka_conf_t *conf, const char *key, const char *value, const char *where,
                       keel_err *err) {
    char text[512];
    switch (rd_kafka_conf_set(conf, key, value, text, sizeof text)) {
    case RD_KAFKA_CONF_OK:
        return KEEL_OK;
    case RD_KAFKA_CONF_UNKNOWN:
        return keel_fail(err, KEEL_E_USAGE, where, "%.100s: librdkafka %s has no such property", key,
                         rd_kafka_version_str());
    default:
        return keel_fail(err, KEEL_E_USAGE, where, "%.100s: librdkafka does not take this value", key);
    }
}

static keel_status set_properties(rd_kafka_conf_t *conf, const keel_kafka_spec *spec, keel_err *err) {
    for (size_t i = 0; i < spec->n_properties; i++) {
        char where[4200];
        snprintf(where, sizeof where, "%s:%zu", spec->config ? spec->config : "", spec->properties[i].line);
        KEEL_TRY(set(conf, spec->properties[i].key, spec->properties[i].value, where, err));
    }
    return KEEL_OK;
}

/* An offset that is not there is an error: the default would skip to the end. */
static keel_status configure(rd_kafka_conf_t *conf, const keel_kafka_spec *spec, keel_err *err) {
    static const char *const fixed[][2] = {{"client.id", "keel"},
                                           {"isolation.level", "read_committed"},
                                           {"enable.auto.commit", "false"},
                                           {"enable.auto.offset.store", "false"},
                                           {"auto.offset.reset", "error"},
                                           {"enable.partition.eof", "true"},
                                           {"queued.max.messages.kbytes", "16384"},
                                           {"log.queue", "true"}};
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        KEEL_TRY(set(conf, fixed[i][0], fixed[i][1], "Kafka", err));
    KEEL_TRY(set_properties(conf, spec, err));
    KEEL_TRY(set(conf, "group.id", spec->group ? spec->group : "keel", "--group", err));
    return set(conf, "bootstrap.servers", spec->brokers, "--brokers", err);
}

static keel_status make_client(keel_kafka *kafka, const keel_kafka_spec *spec, keel_err *err) {
    char text[512] = "";
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    const keel_status status = configure(conf, spec, err);
    if (status != KEEL_OK) {
        rd_kafka_conf_destroy(conf);
        return status;
    }
    rd_kafka_conf_set_opaque(conf, kafka);
    rd_kafka_conf_set_error_cb(conf, on_error);
    rd_kafka_conf_set_log_cb(conf, on_log);
    kafka->client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    if (!kafka->client) {
        rd_kafka_conf_destroy(conf);
        return keel_fail(err, KEEL_E_USAGE, spec->config ? spec->config : "Kafka", "%s", text);
    }
    rd_kafka_set_log_queue(kafka->client, NULL);
    rd_kafka_poll_set_consumer(kafka->client);
    return KEEL_OK;
}

static keel_status no_broker(const keel_kafka *kafka, const char *what, keel_err *err) {
    keel_fail(err, KEEL_E_IO, "--brokers", "no answer about topic %s within %.0f s: %s", kafka->topic,
              kafka->patience, what);
    return keel_hint(
        err,
        "HOST:PORT of one broker is enough, and the names that it announces must be reachable from here");
}

static keel_status read_topic(keel_kafka *kafka, const struct rd_kafka_metadata_topic *topic, keel_err *err) {
    if (topic->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
        topic->err == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC || (!topic->err && !topic->partition_cnt))
        return keel_fail(err, KEEL_E_NOT_FOUND, "--topic", "the brokers have no topic \"%s\"", kafka->topic);
    if (topic->err)
        return keel_fail(err, KEEL_E_IO, "--topic", "%s: %s", kafka->topic, rd_kafka_err2str(topic->err));
    if (topic->partition_cnt > kafka->partitions) kafka->partitions = topic->partition_cnt;
    return KEEL_OK;
}

/* Leaders that are being elected and brokers that come up are waited for. */
static keel_status ask_topic(keel_kafka *kafka, double patience, keel_err *err) {
    const double until = keel_clock() + patience;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(kafka->client, kafka->topic, NULL);
    if (!topic) return keel_fail(err, KEEL_E_USAGE, "--topic", "\"%s\" is no name of a topic", kafka->topic);
    for (;;) {
        const struct rd_kafka_metadata *about = NULL;
        const rd_kafka_resp_err_t code = rd_kafka_metadata(kafka->client, 0, topic, &about, 1000);
        const bool known = !code && about->topic_cnt == 1;
        keel_status status =
            known ? read_topic(kafka, about->topics, err) : no_broker(kafka, rd_kafka_err2str(code), err);
        if (about) rd_kafka_metadata_destroy(about);
        if (status == KEEL_E_IO && keel_interrupted())
            status = keel_fail(err, KEEL_E_INTERRUPTED, "--brokers", "while waiting for an answer");
        if (status != KEEL_E_IO || keel_clock() > until) {
            rd_kafka_topic_destroy(topic);
            return status;
        }
        rd_kafka_poll(kafka->client, SLICE_MS);
    }
}

keel_status keel_kafka_open(keel_kafka **out, const keel_kafka_spec *spec, keel_err *err) {
    keel_kafka *kafka = *out = keel_calloc(1, sizeof *kafka);
    if (!kafka) return keel_nomem(err, "Kafka");
    kafka->tells = spec->group != NULL;
    kafka->patience = spec->patience;
    kafka->topic = keel_strdup(spec->topic);
    keel_status status = kafka->topic ? make_client(kafka, spec, err) : keel_nomem(err, "Kafka");
    if (status == KEEL_OK) status = ask_topic(kafka, spec->patience, err);
    char *cluster =
        status == KEEL_OK ? rd_kafka_clusterid(kafka->client, (int)(1000 * spec->patience)) : NULL;
    kafka->cluster = keel_strdup(cluster ? cluster : "");
    if (cluster) rd_kafka_mem_free(kafka->client, cluster);
    if (status == KEEL_OK && !kafka->cluster) status = keel_nomem(err, "Kafka");
    if (status == KEEL_OK) return KEEL_OK;
    keel_kafka_close(kafka);
    *out = NULL;
    return status;
}

void keel_kafka_close(keel_kafka *kafka) {
    if (!kafka) return;
    if (kafka->client) {
        rd_kafka_consumer_close(kafka->client);
        rd_kafka_destroy(kafka->client);
    }
    keel_free(kafka->ended);
    keel_free(kafka->topic);
    keel_free(kafka->cluster);
    keel_free(kafka);
}

const char *keel_kafka_cluster(const keel_kafka *kafka) {
    return kafka->cluster;
}

int32_t keel_kafka_partitions(const keel_kafka *kafka) {
    return kafka->partitions;
}

keel_status keel_kafka_refresh(keel_kafka *kafka, bool *grown, keel_err *err) {
    const int32_t before = kafka->partitions;
    const keel_status status = ask_topic(kafka, 0, err);
    *grown = kafka->partitions > before;
    return status;
}

keel_status keel_kafka_ends(keel_kafka *kafka, int32_t partition, int64_t *low, int64_t *high,
                            keel_err *err) {
    const double until = keel_clock() + kafka->patience;
    for (;;) {
        const rd_kafka_resp_err_t code =
            rd_kafka_query_watermark_offsets(kafka->client, kafka->topic, partition, low, high, 1000);
        if (!code) return KEEL_OK;
        if (keel_interrupted())
            return keel_fail(err, KEEL_E_INTERRUPTED, "--brokers", "while waiting for an answer");
        if (keel_clock() > until) return no_broker(kafka, rd_kafka_err2str(code), err);
        rd_kafka_poll(kafka->client, SLICE_MS);
    }
}

/* ---- reading ---- */

static rd_kafka_topic_partition_list_t *make_list(const keel_kafka *kafka, const int64_t *next) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(kafka->partitions);
    for (int32_t p = 0; p < kafka->partitions; p++)
        if (next[p] >= 0) rd_kafka_topic_partition_list_add(list, kafka->topic, p)->offset = next[p];
    return list;
}

keel_status keel_kafka_assign(keel_kafka *kafka, const int64_t *next, keel_err *err) {
    bool *ended = keel_calloc((size_t)kafka->partitions, sizeof *ended);
    if (!ended) return keel_nomem(err, "Kafka");
    keel_free(kafka->ended);
    kafka->ended = ended;
    kafka->assigned = kafka->partitions;
    rd_kafka_topic_partition_list_t *list = make_list(kafka, next);
    const rd_kafka_resp_err_t code = rd_kafka_assign(kafka->client, list);
    rd_kafka_topic_partition_list_destroy(list);
    return code ? keel_fail(err, KEEL_E_IO, kafka->topic, "%s", rd_kafka_err2str(code)) : KEEL_OK;
}

static keel_status add(keel_kafka_batch *batch, rd_kafka_message_t *message, keel_err *err) {
    size_t capacity = batch->capacity;
    if (!keel_grow(&batch->held, batch->n + 1, &capacity, sizeof *batch->held) ||
        !keel_grow(&batch->messages, batch->n + 1, &batch->capacity, sizeof *batch->messages)) {
        rd_kafka_message_destroy(message);
        return keel_nomem(err, "a message");
    }
    batch->held[batch->n].message = message;
    batch->messages[batch->n++] = (keel_stream_message){.partition = message->partition,
                                                        .offset = message->offset,
                                                        .key = message->key,
                                                        .key_length = message->key_len,
                                                        .value = message->payload,
                                                        .value_length = message->len};
    batch->bytes += message->len + message->key_len;
    return KEEL_OK;
}

/* An event instead of a message. What passes is noted. */
static keel_status hear(keel_kafka *kafka, rd_kafka_message_t *event, keel_err *err) {
    keel_status status = KEEL_OK;
    char where[600];
    snprintf(where, sizeof where, "%.249s/%d", kafka->topic, (int)event->partition);
    switch (event->err) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        if (event->partition >= 0 && event->partition < kafka->assigned)
            kafka->ended[event->partition] = true;
        break;
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
        status = keel_fail(err, KEEL_E_CONFLICT, where, "the next message is not there: %s",
                           rd_kafka_message_errstr(event));
        keel_hint(err, "the broker deleted messages before they were read, or the topic was made anew");
        break;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR__FATAL:
        status = keel_fail(err, KEEL_E_IO, where, "%s", rd_kafka_message_errstr(event));
        break;
    default:
        note(kafka, rd_kafka_message_errstr(event));
    }
    rd_kafka_message_destroy(event);
    return status;
}

keel_status keel_kafka_poll(keel_kafka *kafka, keel_kafka_batch *batch, size_t most, size_t most_bytes,
                            double seconds, keel_err *err) {
    const double until = keel_clock() + seconds;
    while (batch->n < most && batch->bytes < most_bytes && !keel_interrupted()) {
        const double left = until - keel_clock();
        if (left <= 0) break;
        const int wait = left * 1000 < SLICE_MS ? (int)(left * 1000) + 1 : SLICE_MS;
        rd_kafka_message_t *message = rd_kafka_consumer_poll(kafka->client, wait);
        if (!message) continue;
        const bool event = message->err != RD_KAFKA_RESP_ERR_NO_ERROR;
        KEEL_TRY(event ? hear(kafka, message, err) : add(batch, message, err));
        if (event && keel_kafka_at_end(kafka)) break; /* nothing more for now: what there is can be kept */
    }
    return KEEL_OK;
}

void keel_kafka_release(keel_kafka_batch *batch) {
    for (size_t i = 0; i < batch->n; i++) rd_kafka_message_destroy(batch->held[i].message);
    batch->n = batch->bytes = 0;
}

void keel_kafka_batch_free(keel_kafka_batch *batch) {
    keel_kafka_release(batch);
    keel_free(batch->messages);
    keel_free(batch->held);
    *batch = (keel_kafka_batch){0};
}

bool keel_kafka_at_end(const keel_kafka *kafka) {
    for (int32_t p = 0; p < kafka->assigned; p++)
        if (!kafka->ended[p]) return false;
    return true;
}

void keel_kafka_tell(keel_kafka *kafka, const int64_t *next) {
    if (!kafka->tells) return;
    rd_kafka_topic_partition_list_t *list = make_list(kafka, next);
    rd_kafka_commit(kafka->client, list, 1);
    rd_kafka_topic_partition_list_destroy(list);
}

#endif
