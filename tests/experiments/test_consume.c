/* A topic into a store, on librdkafka's mock cluster: every message once, through crashes before and after
 * the commit, through errors of brokers and a second consumer; what is bad, missing or not ours is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "core/context.h"
#include "core/file.h"
#include "core/json.h"
#include "datasets/store_internal.h"
#include "experiments/stream/consume.h"
#include "support/check.h"
#include "support/scratch.h"

enum { PARTITIONS = 3, BATCH = 20, FETCH = 1 /* its number in the protocol */ };

static char folder[256];
static keel_err err;
static rd_kafka_t *host; /* the mock cluster lives in it */
static rd_kafka_mock_cluster_t *cluster;

/* ---- the cluster ---- */

static rd_kafka_t *make_client(const char *brokers) {
    char text[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    assert_int_equal(rd_kafka_conf_set(conf, "log_level", "3", text, sizeof text), 0);
    if (brokers)
        assert_int_equal(rd_kafka_conf_set(conf, "bootstrap.servers", brokers, text, sizeof text), 0);
    rd_kafka_t *client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    if (!client) fail_msg("%s", text);
    return client;
}

static int begin_test(void **state) {
    (void)state;
    if (!scratch_make(folder, "consume")) return -1;
    host = make_client(NULL);
    cluster = rd_kafka_mock_cluster_new(host, 2);
    return rd_kafka_mock_topic_create(cluster, "chats", PARTITIONS, 2) ? -1 : 0;
}

static int end_test(void **state) {
    (void)state;
    rd_kafka_mock_cluster_destroy(cluster);
    rd_kafka_destroy(host);
    keel_folder_remove(folder, NULL);
    return 0;
}

static void produce(rd_kafka_t *client, int32_t partition, const char *text) {
    rd_kafka_topic_t *topic = rd_kafka_topic_new(client, "chats", NULL);
    assert_non_null(topic);
    assert_int_equal(rd_kafka_produce(topic, partition, RD_KAFKA_MSG_F_COPY, (void *)(uintptr_t)text,
                                      text ? strlen(text) : 0, NULL, 0, NULL),
                     0);
    rd_kafka_topic_destroy(topic);
}

/* Conversations first .. last-1, in turns on all partitions. */
static void produce_talks(int first, int last) {
    rd_kafka_t *client = make_client(rd_kafka_mock_cluster_bootstraps(cluster));
    for (int i = first; i < last; i++) {
        char text[400];
        snprintf(
            text, sizeof text,
            "{\"id\": \"c%d\", \"risk\": \"benign\", \"messages\": [{\"role\": \"user\", \"content\": \"Ask %d\"},"
            " {\"role\": \"assistant\", \"content\": \"Say %d\", \"propensity\": 0.5}]}",
            i, i, i);
        produce(client, i % PARTITIONS, text);
    }
    assert_int_equal(rd_kafka_flush(client, 10000), 0);
    rd_kafka_destroy(client);
}

static void produce_one(int32_t partition, const char *text) {
    rd_kafka_t *client = make_client(rd_kafka_mock_cluster_bootstraps(cluster));
    produce(client, partition, text);
    assert_int_equal(rd_kafka_flush(client, 10000), 0);
    rd_kafka_destroy(client);
}

/* ---- the consumer ---- */

typedef struct reader {
    keel_consume stream;
    keel_kafka_batch batch;
} reader;

static keel_status open_reader(reader *to, const char *brokers, const char *path, int64_t skip_bad) {
    const keel_kafka_spec spec = {.brokers = brokers, .topic = "chats", .patience = 10};
    *to = (reader){.stream = {.topic = "chats", .options = {.skip_bad = skip_bad}}};
    KEEL_TRY(keel_store_open(&to->stream.store, path, KEEL_STORE_CREATE, &err));
    KEEL_TRY(keel_kafka_open(&to->stream.kafka, &spec, &err));
    return keel_consume_begin(&to->stream, &err);
}

static void close_reader(reader *of) {
    keel_kafka_batch_free(&of->batch);
    keel_consume_end(&of->stream);
    keel_store_close(of->stream.store);
    keel_kafka_close(of->stream.kafka);
}

/* One batch, as the verb reads it. */
static keel_status read_batch(reader *from) {
    KEEL_TRY(keel_kafka_poll(from->stream.kafka, &from->batch, BATCH, 1 << 20, 1, &err));
    const keel_status status =
        from->batch.n ? keel_consume_batch(&from->stream, &from->batch, &err) : KEEL_OK;
    keel_kafka_release(&from->batch);
    return status;
}

static keel_status read_to_end(reader *from) {
    do {
        KEEL_TRY(read_batch(from));
    } while (!keel_kafka_at_end(from->stream.kafka));
    return KEEL_OK;
}

static keel_status read_all(const char *path, int64_t skip_bad, reader *out) {
    keel_status status = open_reader(out, rd_kafka_mock_cluster_bootstraps(cluster), path, skip_bad);
    if (status == KEEL_OK) status = read_to_end(out);
    return status;
}

static int64_t ask(const char *path, const char *sql) {
    keel_store *store;
    sqlite3_stmt *statement;
    bool row;
    assert_ok(keel_store_open(&store, path, KEEL_STORE_READ, &err));
    assert_ok(keel__store_prepare(store, sql, &statement, &err));
    assert_ok(keel__store_step(store, statement, &row, sql, &err));
    const int64_t value = row ? sqlite3_column_int64(statement, 0) : -1;
    sqlite3_finalize(statement);
    keel_store_close(store);
    return value;
}

static void assert_each_once(const char *path, int64_t n) {
    assert_int_equal(ask(path, "SELECT count(*) FROM conversations"), n);
    assert_int_equal(ask(path, "SELECT count(DISTINCT external_id) FROM conversations"), n);
    assert_int_equal(ask(path, "SELECT count(*) FROM stream_messages"), n);
    assert_int_equal(ask(path, "SELECT count(DISTINCT conversation_id) FROM stream_messages"), n);
    assert_int_equal(ask(path, "SELECT count(*) FROM transitions"), n);
    assert_int_equal(ask(path, "SELECT sum(next) FROM stream_offsets"), n);
}

/* ---- crashes ---- */

static long until_crash;

/* Asked once for each conversation, in the middle of a transaction. */
static bool crash(void *user) {
    (void)user;
    if (until_crash > 0 && --until_crash == 0) _exit(9);
    return false;
}

/* A process of its own that dies at the n-th conversation (before: the transaction is open), or right after
 * the n-th commit. Its exit status: 0 when it came to the end. */
static int read_and_die(const char *path, long n, bool before) {
    const char *brokers = rd_kafka_mock_cluster_bootstraps(cluster);
    const pid_t child = fork();
    if (child == 0) {
        keel_context context;
        reader from;
        keel_context_init(&context);
        context.interrupted = crash;
        keel_context_use(&context);
        if (open_reader(&from, brokers, path, 0) != KEEL_OK) _exit(1);
        until_crash = before ? n : 0;
        for (long batches = 0; !keel_kafka_at_end(from.stream.kafka);) {
            const int64_t seen = from.stream.batches;
            if (read_batch(&from) != KEEL_OK) _exit(1);
            batches += from.stream.batches > seen;
            if (!before && batches == n) _exit(9);
        }
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void every_message_once_through_crashes(void **state) {
    (void)state;
    const char *path = "scratch-consume/s.db";
    int crashes = 0;
    produce_talks(0, 300);
    for (long i = 0; i < 14; i++) {
        const int how = read_and_die(path, i % 2 ? 1 : 3 + 7 * i, i % 2 == 0);
        assert_true(how == 9 || how == 0);
        crashes += how == 9;
        if (i == 6) produce_talks(300, 400);
    }
    assert_true(crashes >= 8);
    reader last;
    assert_ok(read_all(path, 0, &last));
    assert_true(last.stream.messages > 0);
    close_reader(&last);
    assert_each_once(path, 400);
    assert_ok(read_all(path, 0, &last));
    assert_int_equal(last.stream.messages, 0);
    close_reader(&last);
    assert_each_once(path, 400);
}

/* ---- brokers ---- */

static void errors_of_brokers_lose_nothing(void **state) {
    (void)state;
    reader from;
    const char *path = "scratch-consume/s.db";
    produce_talks(0, 150);
    assert_ok(open_reader(&from, rd_kafka_mock_cluster_bootstraps(cluster), path, 0));
    rd_kafka_mock_push_request_errors(cluster, FETCH, 4, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
                                      RD_KAFKA_RESP_ERR__TRANSPORT, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
                                      RD_KAFKA_RESP_ERR__TRANSPORT);
    assert_ok(read_batch(&from));
    rd_kafka_mock_partition_set_leader(cluster, "chats", 0, 2);
    rd_kafka_mock_partition_set_leader(cluster, "chats", 1, 1);
    assert_ok(read_to_end(&from));
    close_reader(&from);
    assert_each_once(path, 150);
}

/* ---- two consumers ---- */

static void the_second_consumer_takes_over(void **state) {
    (void)state;
    reader first, second;
    const char *path = "scratch-consume/s.db", *brokers = rd_kafka_mock_cluster_bootstraps(cluster);
    produce_talks(0, 60);
    assert_ok(open_reader(&first, brokers, path, 0));
    assert_ok(read_batch(&first));
    assert_ok(keel_kafka_poll(first.stream.kafka, &first.batch, BATCH, 1 << 20, 5, &err));
    assert_true(first.batch.n > 0); /* read, and not yet kept */
    assert_ok(open_reader(&second, brokers, path, 0));
    assert_int_equal(keel_consume_batch(&first.stream, &first.batch, &err), KEEL_E_CONFLICT);
    assert_non_null(strstr(err.message, "another consumer"));
    assert_int_equal(keel_consume_look(&first.stream, &err), KEEL_E_CONFLICT);
    assert_ok(read_to_end(&second));
    assert_int_equal(keel_consume_batch(&first.stream, &first.batch, &err), KEEL_E_CONFLICT);
    close_reader(&first);
    close_reader(&second);
    assert_each_once(path, 60);
}

/* ---- what is bad ---- */

static const char *const not_a_talk =
    "{\"id\": \"x\", \"messages\": [{\"role\": \"king\", \"content\": \"\"}]}";

static void a_bad_message_stops_it_and_is_named(void **state) {
    (void)state;
    reader from;
    const char *path = "scratch-consume/s.db";
    produce_talks(0, 9);
    produce_one(1, not_a_talk);
    produce_talks(9, 18);
    assert_int_equal(read_all(path, 0, &from), KEEL_E_INVALID);
    assert_non_null(strstr(err.where, "chats/1/3"));
    assert_true(from.stream.stopped);
    close_reader(&from);
    assert_int_equal(ask(path, "SELECT next FROM stream_offsets WHERE partition = 1"), 3);
    assert_int_equal(ask(path, "SELECT count(*) FROM stream_bad"), 0);
    assert_int_equal(ask(path, "SELECT count(*) = count(DISTINCT conversation_id) FROM stream_messages"), 1);
}

static void bad_messages_are_kept_aside(void **state) {
    (void)state;
    reader from;
    const char *path = "scratch-consume/s.db";
    produce_talks(0, 9);
    produce_one(1, not_a_talk);
    produce_one(2, "no format at all");
    produce_one(0, NULL);
    produce_talks(9, 18);
    assert_ok(read_all(path, 2, &from));
    assert_int_equal(from.stream.bad, 2);
    assert_int_equal(from.stream.empty, 1);
    assert_int_equal(from.stream.messages, 21);
    assert_int_equal(cJSON_GetArraySize(from.stream.named), 2);
    close_reader(&from);
    assert_int_equal(ask(path, "SELECT count(*) FROM conversations"), 18);
    assert_int_equal(ask(path, "SELECT sum(next) FROM stream_offsets"), 21);
    assert_int_equal(ask(path,
                         "SELECT count(*) FROM stream_bad WHERE value = CAST('no format at all' AS BLOB)"
                         " AND partition = 2 AND offset = 3 AND why LIKE 'chats/2/3%'"),
                     1);
    assert_int_equal(ask(path, "SELECT count(*) FROM stream_bad"), 2);
}

static void a_message_of_several_conversations(void **state) {
    (void)state;
    reader from;
    const char *path = "scratch-consume/s.db";
    static const char talk[] = "{\"id\": \"%s\", \"messages\": [{\"role\": \"user\", \"content\": \"a\"},"
                               " {\"role\": \"assistant\", \"content\": \"b\"}%s]}\n";
    char text[2000];
    int length = snprintf(text, sizeof text, talk, "a", "");
    snprintf(text + length, sizeof text - (size_t)length, talk, "b", "");
    produce_one(0, text);
    /* One of them goes on later, and comes once more. */
    snprintf(text, sizeof text, talk, "a",
             ", {\"role\": \"user\", \"content\": \"c\"}, {\"role\": \"assistant\", \"content\": \"d\"}");
    produce_one(0, text);
    produce_one(0, text);
    assert_ok(read_all(path, 0, &from));
    assert_int_equal(from.stream.report.conversations, 2);
    assert_int_equal(from.stream.report.extended, 1);
    assert_int_equal(from.stream.report.unchanged, 1);
    close_reader(&from);
    assert_int_equal(ask(path, "SELECT count(*) FROM stream_messages WHERE partition = 0 AND offset = 0"), 2);
    assert_int_equal(ask(path, "SELECT count(*) FROM transitions"), 3);
}

/* ---- what does not fit ---- */

static void offsets_that_the_brokers_do_not_have(void **state) {
    (void)state;
    reader from;
    const char *path = "scratch-consume/s.db";
    int64_t epoch;
    produce_talks(0, 6);
    assert_ok(read_all(path, 0, &from));
    assert_ok(keel_store_begin(from.stream.store, &err));
    assert_ok(keel_stream_advance(from.stream.store, "chats", 0, 2, 7, &err));
    assert_ok(keel_store_commit(from.stream.store, &err));
    assert_int_equal(keel_stream_claim(from.stream.store, "chats", "elsewhere", &epoch, &err),
                     KEEL_E_CONFLICT);
    assert_non_null(strstr(err.message, "elsewhere"));
    close_reader(&from);
    assert_int_equal(read_all(path, 0, &from), KEEL_E_CONFLICT);
    assert_string_equal(err.where, "chats/0");
    close_reader(&from);
}

static void a_broker_that_is_not_there(void **state) {
    (void)state;
    keel_kafka *kafka;
    const keel_kafka_spec spec = {.brokers = "127.0.0.1:1", .topic = "chats", .patience = 0.2};
    assert_int_equal(keel_kafka_open(&kafka, &spec, &err), KEEL_E_IO);
    assert_string_equal(err.where, "--brokers");
}

/* ---- properties ---- */

static keel_status open_with(const char *text) {
    keel_arena arena = {0};
    keel_kafka *kafka = NULL;
    keel_kafka_property *properties;
    const char *path = scratch_path(folder, "kafka.conf");
    keel_kafka_spec spec = {
        .brokers = rd_kafka_mock_cluster_bootstraps(cluster), .topic = "chats", .patience = 5};
    assert_ok(keel_file_write(path, text, strlen(text), &err));
    spec.config = path;
    memset(&err, 0, sizeof err);
    keel_status status = keel_kafka_properties_read(path, &arena, &properties, &spec.n_properties, &err);
    spec.properties = properties;
    if (status == KEEL_OK) status = keel_kafka_open(&kafka, &spec, &err);
    keel_kafka_close(kafka);
    keel_arena_free(&arena);
    return status;
}

static void assert_refused(const char *text, const char *where, const char *what) {
    assert_int_not_equal(open_with(text), KEEL_OK);
    if (!strstr(err.where, where) || !strstr(err.message, what)) fail_msg("%s: %s", err.where, err.message);
    assert_null(strstr(err.where, "secret"));
    assert_null(strstr(err.message, "secret"));
    assert_null(strstr(err.hint, "secret"));
}

static void properties_are_read_and_no_secret_is_said(void **state) {
    (void)state;
    assert_ok(open_with("# all is well\n\n client.id = someone \r\nsasl.password=secret=1#2"));
    assert_ok(open_with(""));
    assert_refused("sasl.password=secret\nenable.auto.commit=true\n", "kafka.conf:2", "enable.auto.commit");
    assert_refused("auto.offset.reset=latest", "kafka.conf:1", "Keel sets this itself");
    assert_refused("security.protocol=secret", "kafka.conf:1", "security.protocol");
    assert_refused("no.such=secret", "kafka.conf:1", "no.such");
    assert_refused("\nsecret", "kafka.conf:2", "KEY=VALUE");
    assert_refused("=secret", "kafka.conf:1", "KEY=VALUE");
    assert_refused("security.protocol=ssl\nssl.key.pem=secret\n", "kafka.conf", "ssl.key.pem");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, begin_test, end_test)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(every_message_once_through_crashes),
        TEST(errors_of_brokers_lose_nothing),
        TEST(the_second_consumer_takes_over),
        TEST(a_bad_message_stops_it_and_is_named),
        TEST(bad_messages_are_kept_aside),
        TEST(a_message_of_several_conversations),
        TEST(offsets_that_the_brokers_do_not_have),
        TEST(a_broker_that_is_not_there),
        TEST(properties_are_read_and_no_secret_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
