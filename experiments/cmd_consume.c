/* keel consume: conversations out of a topic of Kafka into the store, every message once.
 *
 *  1. Connects, claims the topic in the store, and begins where the store has come to, else at the earliest
 * message.
 *  2. Reads batches; each is one transaction with the offsets that come next.
 *  3. Ends when it is asked to, or with --until-end when all partitions have been read to their ends; then
 * settles the splits of what is new and records the run.
 */
#include <string.h>

#include "core/clock.h"
#include "core/interrupt.h"
#include "core/json.h"
#include "core/progress.h"
#include "datasets/stratify.h"
#include "experiments/cli_import.h"
#include "experiments/cli_resources.h"
#include "experiments/stream/consume.h"
#include "experiments/verbs.h"

static const keel_flag flags[] = {
    KEEL_FLAG_STORE,
    {"--brokers", "HOST:PORT,...", true, false, "some of the brokers; they name the others"},
    {"--topic", "NAME", true, false, "what is read, all partitions of it"},
    {"--format", "NAME", false, false, "format of the messages (default: the one that each looks like)"},
    {"--split", "NAME", false, false,
     "split of what comes in (default: as the log says, else of each risk 80 % train, 20 % test)"},
    {"--source", "NAME", false, false,
     "name of this log: ids are unique within it (default: the format's name)"},
    {"--until-end", NULL, false, false, "end at the ends of the partitions (default: wait for more)"},
    {"--skip-bad", "N", false, false,
     "go on after up to N messages, or conversations in them, that cannot be used; they are kept aside in stream_bad (default: 0)"},
    {"--skip-gone", NULL, false, false,
     "go on where the brokers deleted messages before they were read; they are counted"},
    {"--kafka-config", "FILE", false, false,
     "properties of librdkafka, KEY=VALUE a line: TLS, SASL and the like"},
    {"--group", "NAME", false, false,
     "tell the brokers under this name how far the store is, for monitors of lag; nothing depends on it"},
    {"--batch", "N", false, false, "most messages a transaction (default: 1000)"},
    {"--patience", "DURATION", false, false,
     "how long to wait for a first answer of the brokers (default: 30s)"},
    KEEL_FLAG_END,
};

static const keel_flag_choices choices[] = {{"--format", keel_formats_names}, {NULL, NULL}};

enum { MOST_BYTES = 16 << 20 };
static const double batch_seconds = 1, look_seconds = 30;

typedef struct consuming {
    keel_consume stream;
    keel_kafka_batch batch;
    bool until_end;
    int64_t most;
    double looked;
    keel_progress progress;
} consuming;

/* ---- options ---- */

static keel_status read_options(keel_cli *cli, consuming *work, keel_err *err) {
    keel_consume *stream = &work->stream;
    KEEL_TRY(keel_cli_read_import(cli, &stream->options, err));
    KEEL_TRY(keel_cli_integer(cli, "--batch", 1, 100000, &work->most, err));
    stream->topic = keel_cli_value(cli, "--topic");
    const size_t length =
        strspn(stream->topic, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    if (!length || length > 249 || stream->topic[length])
        return keel_fail(err, KEEL_E_USAGE, "--topic", "expected 1 to 249 letters, digits, '.', '_' and '-'");
    stream->skip_gone = keel_cli_has(cli, "--skip-gone");
    work->until_end = keel_cli_has(cli, "--until-end");
    return KEEL_OK;
}

static keel_status connect(keel_cli *cli, consuming *work, keel_err *err) {
    keel_kafka_property *properties = NULL;
    keel_kafka_spec spec = {.brokers = keel_cli_value(cli, "--brokers"),
                            .topic = work->stream.topic,
                            .config = keel_cli_value(cli, "--kafka-config"),
                            .group = keel_cli_value(cli, "--group"),
                            .patience = 30};
    KEEL_TRY(keel_cli_duration(cli, "--patience", &spec.patience, err));
    if (spec.config)
        KEEL_TRY(keel_kafka_properties_read(spec.config, &cli->arena, &properties, &spec.n_properties, err));
    spec.properties = properties;
    return keel_kafka_open(&work->stream.kafka, &spec, err);
}

/* ---- reading ---- */

/* Also while messages never cease: new partitions are read, too. */
static keel_status look(consuming *work, keel_err *err) {
    if (keel_clock() - work->looked < look_seconds) return KEEL_OK;
    work->looked = keel_clock();
    return keel_consume_look(&work->stream, err);
}

static keel_status read_batch(consuming *work, keel_err *err) {
    keel_consume *stream = &work->stream;
    KEEL_TRY(look(work, err));
    KEEL_TRY(
        keel_kafka_poll(stream->kafka, &work->batch, (size_t)work->most, MOST_BYTES, batch_seconds, err));
    if (keel_interrupted())
        return keel_fail(err, KEEL_E_INTERRUPTED, stream->topic,
                         "what was read is kept; go on by the same command");
    if (!work->batch.n) return KEEL_OK;
    const keel_status status = keel_consume_batch(stream, &work->batch, err);
    keel_kafka_release(&work->batch);
    keel_progress_step(&work->progress, (uint64_t)stream->messages, NULL);
    return status;
}

static keel_status read_all(consuming *work, keel_err *err) {
    keel_consume *stream = &work->stream;
    keel_status status = keel_consume_begin(stream, err);
    if (status != KEEL_OK) return status;
    const int64_t left = keel_consume_left(stream);
    work->looked = keel_clock();
    keel_progress_start(&work->progress, "messages", work->until_end && left > 0 ? (uint64_t)left : 0);
    do {
        status = read_batch(work, err);
    } while (status == KEEL_OK && !(work->until_end && keel_kafka_at_end(stream->kafka)));
    keel_progress_end(&work->progress, (uint64_t)stream->messages);
    return status;
}

/* ---- the verb ---- */

static void fill(keel_cli *cli, const keel_consume *stream) {
    const keel_import_report *report = &stream->report;
    const struct {
        const char *name;
        int64_t value;
    } rows[] = {{"messages", stream->messages},
                {"batches", stream->batches},
                {"conversations", report->conversations},
                {"unchanged", report->unchanged},
                {"extended", report->extended},
                {"empty", stream->empty},
                {"bad", stream->bad},
                {"gone", stream->gone},
                {"turns", report->turns},
                {"decisions", report->decisions},
                {"candidates", report->candidates},
                {"completed", report->completed},
                {"transitions", stream->transitions}};
    cli->result = cJSON_CreateObject();
    cJSON *offsets = cJSON_AddArrayToObject(cli->result, "offsets");
    for (int32_t p = 0; p < stream->partitions; p++)
        keel_json_add(offsets, NULL, cJSON_CreateNumber((double)stream->next[p]));
    cli->told = cJSON_CreateObject();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cJSON_AddNumberToObject(cli->told, rows[i].name, (double)rows[i].value);
    for (size_t i = 0; i < report->n_counts; i++)
        if (report->counts[i].count)
            cJSON_AddNumberToObject(cli->told, report->counts[i].name, (double)report->counts[i].count);
    if (stream->named->child) keel_json_add(cli->told, "bad_messages", cJSON_Duplicate(stream->named, true));
}

static keel_status run(keel_cli *cli, keel_err *err) {
    consuming work = {.most = 1000};
    keel_consume *stream = &work.stream;
    keel_status status;
    KEEL_TRY(read_options(cli, &work, err));
    KEEL_TRY_GOTO(connect(cli, &work, err), done);
    KEEL_TRY_GOTO(keel_cli_open_store(cli, KEEL_STORE_CREATE, &stream->store, err), done);
    KEEL_TRY_GOTO(read_all(&work, err), done);
    KEEL_TRY_GOTO(keel_stratify(stream->store, err), done);
    fill(cli, stream);
    status = keel_record_run(cli, stream->store, err);
done:
    if (stream->stopped) keel_hint(err, "--skip-bad N goes on after up to N of them and keeps them aside");
    keel_kafka_batch_free(&work.batch);
    keel_consume_end(stream);
    keel_store_close(stream->store);
    keel_kafka_close(stream->kafka);
    return status;
}

static void print(const cJSON *result, FILE *out) {
    keel_cli_print_import(result, "consumed", "bad_messages", "bad", out);
}

const keel_verb keel_verb_consume = {
    .name = "consume",
    .brief = "read conversations from Kafka into the store, each message once",
    .flags = flags,
    .choices = choices,
    .more =
        "A message holds one or more conversations in any format that `keel import` reads. What a batch of messages brings, "
        "and the\n"
        "offsets that come next, are one transaction of the store: killed at any moment, the same command goes on without a "
        "loss or a\n"
        "double. A second consumer of the same topic into the same store takes over; the first one stops with an error.\n"
        "A message that cannot be used stops it, named topic/partition/offset, unless --skip-bad allows for it.\n"
        "The file of --kafka-config holds lines such as security.protocol=SASL_SSL; no value of it is ever printed.\n"
        "example: keel consume --brokers localhost:9092 --topic chats --store logs.db --until-end\n",
    .run = run,
    .print = print,
};
