/* keel import: lists the files, reads each into the store in one transaction, derives the transitions of what
 * is new, and records the run. */
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "core/json.h"
#include "datasets/dedupe.h"
#include "experiments/cli_import.h"
#include "experiments/cli_resources.h"
#include "experiments/verbs.h"
#include "rl/learn/derive.h"

static const keel_flag flags[] = {
    KEEL_FLAG_STORE,
    {"--format", "NAME", false, false, "format of the logs (default: the one that each file looks like)"},
    {"--split", "NAME", false, false,
     "split of what is imported (default: as the log says, else of each risk 80 % train, 20 % test)"},
    {"--source", "NAME", false, false,
     "name of this log: ids are unique within it, so two logs may use the same ids"},
    {"--columns", "FIELD=COLUMN,...", false, false,
     "where rows and tables keep prompt, response, id, risk, outcome, model, ... (default: by common names)"},
    {"--near-duplicates", "S", false, false,
     "one group for conversations that name none and whose prompts have this Jaccard similarity, as 0.8 (0 to 1; default: not looked for)"},
    {"--skip-bad", "N", false, false,
     "go on after up to N lines that cannot be read or that contradict the store; list them (default: 0)"},
    KEEL_FLAG_END,
};

static const keel_flag_choices choices[] = {{"--format", keel_formats_names}, {NULL, NULL}};

static keel_status check_paths(const char *const *paths, size_t count, keel_err *err) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(paths[i], "-") != 0 && !keel_file_exists(paths[i]) && !keel_file_is_folder(paths[i]))
            return keel_fail(err, KEEL_E_NOT_FOUND, paths[i], "there is no such file or folder");
    return KEEL_OK;
}

typedef struct deriving {
    keel_store *store;
    keel_reward_config config;
    keel_arena arena;
    int64_t transitions;
} deriving;

static keel_status derive_one(void *user, const keel_conversation *conversation, keel_err *err) {
    deriving *to = user;
    keel_arena_reset(&to->arena);
    return keel_derive_added(to->store, conversation, &to->config, &to->arena, &to->transitions, err);
}

/* Transitions for what came in and was not whole then; for everything when older conversations changed, an
 * earlier run was cut off or a `label` changed the rewards meanwhile. */
static keel_status derive_rest(keel_store *store, const keel_import_report *report,
                               const keel_reward_config *used, int64_t missing_before, int64_t last_before,
                               keel_err *err) {
    keel_reward_config config;
    KEEL_TRY(keel_derive_settle_rewards(store, &config, err));
    bool changed = memcmp(&config, used, sizeof config) != 0;
    bool old_ones_too = report->extended > 0 || missing_before > 0 || changed;
    if (report->unseen == 0 && !old_ones_too) return KEEL_OK;
    return keel_derive(store, NULL, &config, old_ones_too ? 0 : last_before, NULL, err);
}

static cJSON *told_json(const keel_import_report *report) {
    const struct {
        const char *name;
        int64_t value;
    } rows[] = {
        {"files_known", report->files_known},
        {"passed_over", report->passed_over},
        {"conversations", report->conversations},
        {"unchanged", report->unchanged},
        {"extended", report->extended},
        {"skipped", report->skipped},
        {"turns", report->turns},
        {"decisions", report->decisions},
        {"candidates", report->candidates},
        {"completed", report->completed},
    };
    cJSON *json = cJSON_CreateObject();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cJSON_AddNumberToObject(json, rows[i].name, (double)rows[i].value);
    if (report->near) cJSON_AddNumberToObject(json, "near_duplicates", (double)report->near);
    for (size_t i = 0; i < report->n_counts; i++)
        cJSON_AddNumberToObject(json, report->counts[i].name, (double)report->counts[i].count);
    return json;
}

/* What follows from the files: the last transitions and the record, in one transaction. If all files were
 * known the record may still be missing: an earlier call was killed right before it. */
static keel_status settle(keel_cli *cli, keel_store *store, const keel_import_report *report,
                          const keel_reward_config *used, int64_t missing_before, int64_t last_before,
                          keel_err *err) {
    KEEL_TRY(keel_store_begin(store, err));
    keel_status status = derive_rest(store, report, used, missing_before, last_before, err);
    if (status == KEEL_OK) status = keel_record_run(cli, store, err);
    if (status == KEEL_OK) status = keel_store_commit(store, err);
    if (status != KEEL_OK) keel_store_rollback(store);
    return status;
}

static keel_status import_into(keel_cli *cli, keel_store *store, keel_import_options *options,
                               const char *const *paths, size_t count, keel_err *err) {
    keel_import_report report = {0};
    int64_t missing = 0, last = 0;
    KEEL_TRY(keel_derive_state(store, &missing, &last, err));
    deriving to = {.store = store};
    KEEL_TRY(keel_derive_rewards(store, &to.config, err));
    options->each = derive_one;
    options->each_user = &to;
    keel_status status = keel_import(store, options, paths, count, &report, err);
    keel_arena_free(&to.arena);
    KEEL_TRY(status);
    cli->result = cJSON_CreateObject();
    cJSON_AddNumberToObject(cli->result, "files", (double)report.files);
    cli->told = told_json(&report);
    return settle(cli, store, &report, &to.config, missing, last, err);
}

/* A store that this very call made and that is still empty is taken away again: a failed import leaves
 * nothing behind. */
static void remove_if_empty(keel_store *store, const char *path) {
    int64_t missing = 0, last = 0;
    bool empty = keel_derive_state(store, &missing, &last, NULL) == KEEL_OK && last == 0;
    keel_store_close(store);
    /* Whoever closes a store last takes its -wal away: while one is there, somebody else is about to write.
     */
    char wal[4096];
    snprintf(wal, sizeof wal, "%s-wal", path);
    if (empty && !keel_file_exists(wal)) unlink(path);
}

static keel_status read_options(keel_cli *cli, keel_import_options *out, keel_err *err) {
    out->columns = keel_cli_value(cli, "--columns");
    KEEL_TRY(keel_cli_blame(keel_import_check_columns(out->columns, err), err));
    KEEL_TRY(keel_cli_read_import(cli, out, err));
    return keel_cli_number(cli, "--near-duplicates", KEEL_DEDUPE_LEAST, 1, &out->near, err);
}

static void hint_to_go_on(keel_err *err) {
    char cure[sizeof err->hint];
    memcpy(cure, err->hint, sizeof cure);
    keel_hint(err, "%.200s%s--skip-bad N goes on after up to N bad lines", cure, cure[0] ? "; " : "");
}

static keel_status run(keel_cli *cli, keel_err *err) {
    keel_store *store = NULL;
    const char *const *paths;
    size_t count;
    keel_import_options options = {.bad = keel_cli_note_bad};
    const char *path = keel_cli_value(cli, "--store");
    bool existed = keel_file_exists(path);
    KEEL_TRY(keel_cli_values(cli, NULL, &paths, &count, err));
    KEEL_TRY(read_options(cli, &options, err));
    KEEL_TRY(check_paths(paths, count, err));
    KEEL_TRY(keel_cli_open_store(cli, KEEL_STORE_CREATE, &store, err));
    options.bad_user = cJSON_CreateArray();
    keel_status status = import_into(cli, store, &options, paths, count, err);
    if (status == KEEL_OK && ((cJSON *)options.bad_user)->child)
        keel_json_add(cli->told, "bad_lines", options.bad_user);
    else
        cJSON_Delete(options.bad_user);
    if ((status == KEEL_E_PARSE || status == KEEL_E_INVALID) && !options.skip_bad && strchr(err->where, ':'))
        hint_to_go_on(err);
    if (status != KEEL_OK && !existed)
        remove_if_empty(store, path);
    else
        keel_store_close(store);
    return status;
}

static void print(const cJSON *result, FILE *out) {
    keel_cli_print_import(result, "imported", "bad_lines", "skipped", out);
}

static void print_formats(FILE *out) {
    fputs("\nformats:\n", out);
    for (const keel_format *format = keel_formats; format->name; format++) {
        fprintf(out, "  %-20s%s\n  %-20sin a folder:", format->name, format->what, "");
        for (size_t i = 0; format->files[i]; i++) fprintf(out, "%s %s", i ? "," : "", format->files[i]);
        fputc('\n', out);
        for (size_t i = 0; i < KEEL_FORMAT_COUNTS && format->counts[i].name; i++)
            fprintf(out, "    %-18s%s\n", format->counts[i].name, format->counts[i].what);
    }
}

const keel_verb keel_verb_import = {
    .name = "import",
    .brief = "read logs of conversations into the store",
    .flags = flags,
    .choices = choices,
    .words = "PATH...",
    .words_min = 1,
    .words_max = 100000,
    .more =
        "A PATH is a file, a folder or - for standard input. Files may be compressed with gzip or zstd. A folder stands for the files\n"
        "in it and below that are logs by name and content; the others are counted as passed_over and named.\n"
        "Each file is imported whole or not at all. A file that was imported before changes nothing. The store is made if it is\n"
        "missing.\n"
        "The table counts what is new. `extended` counts conversations that were there and of which more is known now: turns,\n"
        "responses, labels, feedback. What contradicts the store is an error.\n"
        "example: keel import --store logs.db --split train logs/2024-*.jsonl.gz\n"
        "example: keel import --store logs.db --columns prompt=ASK,response=REPLY,risk=TIER table.csv\n",
    .more_tables = print_formats,
    .run = run,
    .print = print,
};
