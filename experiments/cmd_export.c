/* keel export: opens the store, writes the conversations of the split as lines of the chat format, and puts
 * the file in its place when it is complete. */
#include <string.h>

#include "core/json.h"
#include "core/log.h"
#include "datasets/export.h"
#include "experiments/cli_resources.h"
#include "experiments/verbs.h"

static const char *const formats[] = {"chat", NULL};

static const keel_flag flags[] = {
    KEEL_FLAG_STORE,
    {"--format", "NAME", true, false, "chat, which `keel import` reads"},
    {"--split", "NAME", false, false, "only the conversations of this split (default: all)"},
    {"--out", "FILE", false, false,
     "where to write; gzipped if the name ends in .gz (default: standard output)"},
    KEEL_FLAG_END,
};

static const keel_flag_choices choices[] = {{"--format", formats}, {NULL, NULL}};

static bool is_gzip(const char *path) {
    const size_t length = path ? strlen(path) : 0;
    return length > 3 && strcmp(path + length - 3, ".gz") == 0;
}

static keel_status export_to(keel_store *store, const keel_split *split, const char *path, int64_t *count,
                             keel_err *err) {
    keel_file_writer *to;
    if (split) KEEL_TRY(keel_store_check_split(store, split, err));
    KEEL_TRY(keel_file_writer_open(&to, path, is_gzip(path), err));
    keel_status status = keel_export_chat(store, split, to, count, err);
    if (status == KEEL_OK) return keel_file_writer_commit(to, err);
    keel_file_writer_abandon(to);
    return status;
}

static keel_status run(keel_cli *cli, keel_err *err) {
    keel_store *store;
    keel_split split;
    int format;
    int64_t count;
    const char *path = keel_cli_value(cli, "--out"), *name = keel_cli_value(cli, "--split");
    KEEL_TRY(keel_cli_choice(cli, "--format", formats, &format, err));
    if (name) KEEL_TRY(keel_cli_blame(keel_split_parse(name, &split, err), err));
    KEEL_TRY(keel_cli_open_store(cli, KEEL_STORE_READ, &store, err));
    keel_status status = export_to(store, name ? &split : NULL, path, &count, err);
    keel_store_close(store);
    if (status != KEEL_OK) return status;
    if (!path) { /* standard output holds the log, so the count goes where progress goes */
        keel_log(KEEL_LOG_INFO, "exported %lld conversations", (long long)count);
        return KEEL_OK;
    }
    cli->result = cJSON_CreateObject();
    cJSON_AddStringToObject(cli->result, "out", path);
    cJSON_AddNumberToObject(cli->result, "conversations", (double)count);
    return KEEL_OK;
}

static void print(const cJSON *result, FILE *out) {
    fprintf(out, "%s: %.0f conversations\n", keel_json_get(result, "out")->valuestring,
            keel_json_get(result, "conversations")->valuedouble);
}

const keel_verb keel_verb_export = {
    .name = "export",
    .brief = "conversations out of the store, as a log that can be imported again",
    .flags = flags,
    .choices = choices,
    .more =
        "Everything that was logged is written, with labels, their judges and logged rewards; imported into a "
        "new store it\n"
        "gives the same content hash. Not written: what is computed from it (transitions, features, runs).\n"
        "example: keel export --store logs.db --format chat --split test --out test.jsonl.gz\n",
    .run = run,
    .print = print,
};
