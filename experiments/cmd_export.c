/* keel export: opens the store, writes the conversations of the split as lines of the chat format, and puts
 * the file in its place when it is complete. */
#include <string.h>

#include "core/decimal.h"
#include "core/json.h"
#include "core/log.h"
#include "datasets/one_response.h"
#include "experiments/cli_resources.h"
#include "experiments/export_rows.h"
#include "experiments/verbs.h"
#include "rl/learn/derive.h"

enum { CHAT, CSV, TRL, SFT };
static const char *const formats[] = {"chat", "csv", "trl", "sft", NULL};

static const keel_flag flags[] = {
    KEEL_FLAG_STORE,
    {"--format", "NAME", false, false,
     "chat, which `keel import` reads; csv, a row for each candidate; trl, pairs; sft (default: chat)"},
    {"--split", "NAME", false, false, "only the conversations of this split (default: all)"},
    {"--out", "FILE", false, false,
     "where to write; gzipped if the name ends in .gz (default: standard output)"},
    {"--one-response", "SEED", false, false,
     "with chat: of each decision one answer that was given, drawn at random; the others are left out"},
    {"--policy", "DIR", false, false, "with csv: what this policy would do at each decision, and why"},
    {"--base", "DIR", false, false, "its base (default: the folder beside it that holds it)"},
    {"--least", "REWARD", false, false, "with sft: an answer is imitated from this reward on (default: 0.5)"},
    KEEL_FLAG_END,
};

static const keel_flag_choices choices[] = {{"--format", formats}, {NULL, NULL}};

static bool is_gzip(const char *path) {
    const size_t length = path ? strlen(path) : 0;
    return length > 3 && strcmp(path + length - 3, ".gz") == 0;
}

typedef struct exporting {
    int format;
    keel_export_rewards rewards;
    keel_export_policy chooser;
    bool one_answer; /* a decision */
    keel_one_response one;
    int64_t count;
} exporting;

static keel_status write_header(const exporting *e, keel_file_writer *to, keel_err *err) {
    KEEL_TRY(keel_file_writer_add(to, keel_export_csv_header, strlen(keel_export_csv_header), err));
    if (e->rewards.chooser)
        KEEL_TRY(keel_file_writer_add(to, keel_export_csv_policy, strlen(keel_export_csv_policy), err));
    return keel_file_writer_add(to, "\n", 1, err);
}

static keel_status write_rows(keel_store *store, const keel_split *split, exporting *e, keel_file_writer *to,
                              keel_err *err) {
    static keel_export_write *const writers[] = {
        [CSV] = keel_export_csv, [TRL] = keel_export_trl, [SFT] = keel_export_sft};
    if (e->one_answer) return keel_export_one_response(store, split, &e->one, to, &e->count, err);
    if (e->format == CHAT) return keel_export_chat(store, split, to, &e->count, err);
    KEEL_TRY(keel_derive_rewards(store, &e->rewards.config, err));
    if (e->format == CSV) KEEL_TRY(write_header(e, to, err));
    return keel_export(store, split, writers[e->format], &e->rewards, to, &e->count, err);
}

static keel_status export_to(keel_store *store, const keel_split *split, exporting *e, const char *path,
                             keel_err *err) {
    keel_file_writer *to;
    if (split) KEEL_TRY(keel_store_check_split(store, split, err));
    KEEL_TRY(keel_file_writer_open(&to, path, is_gzip(path), err));
    keel_status status = write_rows(store, split, e, to, err);
    if (status == KEEL_OK) return keel_file_writer_commit(to, err);
    keel_file_writer_abandon(to);
    return status;
}

static keel_status read_least(const keel_cli *cli, exporting *e, keel_err *err) {
    e->rewards.least = 0.5;
    if (keel_cli_has(cli, "--least") && e->format != SFT)
        return keel_fail(err, KEEL_E_USAGE, "--least", "only with --format sft");
    return keel_cli_number(cli, "--least", -1, 1, &e->rewards.least, err);
}

static keel_status read_one_response(const keel_cli *cli, exporting *e, keel_err *err) {
    int64_t seed = 0;
    e->one_answer = keel_cli_has(cli, "--one-response");
    if (e->one_answer && e->format != CHAT)
        return keel_fail(err, KEEL_E_USAGE, "--one-response", "only with --format chat");
    KEEL_TRY(keel_cli_integer(cli, "--one-response", 0, INT64_MAX, &seed, err));
    e->one.seed = (uint64_t)seed;
    return KEEL_OK;
}

static keel_status open_policy(const keel_cli *cli, exporting *e, keel_err *err) {
    const char *path = keel_cli_value(cli, "--policy");
    if (!path && keel_cli_has(cli, "--base"))
        return keel_fail(err, KEEL_E_USAGE, "--base", "only with --policy");
    if (!path) return KEEL_OK;
    if (e->format != CSV) return keel_fail(err, KEEL_E_USAGE, "--policy", "only with --format csv");
    e->rewards.chooser = &e->chooser;
    return keel_cli_open_policy(path, keel_cli_value(cli, "--base"), &e->chooser.policy, &e->chooser.base,
                                err);
}

static void close_policy(exporting *e) {
    keel_policy_close(e->chooser.policy);
    keel_base_close(e->chooser.base);
    keel_arena_free(&e->chooser.scratch);
}

static const char *const units[] = {"conversations", "candidates", "pairs", "conversations"};

static void tell_left_out(const exporting *e) {
    if (e->rewards.left_out)
        keel_log(KEEL_LOG_INFO, "note: left out %lld %s", (long long)e->rewards.left_out,
                 e->format == TRL ? "decisions whose candidates have no two different rewards"
                                  : "conversations without an answer of enough reward");
    if (e->one_answer)
        keel_log(KEEL_LOG_INFO,
                 "note: kept %lld answers, left out %lld; decisions without a given answer: %lld",
                 (long long)e->one.answers, (long long)e->one.left_out, (long long)e->one.decisions);
}

static void put_result(keel_cli *cli, const exporting *e, const char *path) {
    cli->result = cJSON_CreateObject();
    cJSON_AddStringToObject(cli->result, "out", path);
    cJSON_AddNumberToObject(cli->result, units[e->format], (double)e->count);
    if (e->format == TRL || e->format == SFT)
        cJSON_AddNumberToObject(cli->result, "left_out", (double)e->rewards.left_out);
    if (e->format == TRL)
        cJSON_AddNumberToObject(cli->result, "chosen_by_judge", (double)e->rewards.by_judge);
    if (!e->one_answer) return;
    cJSON_AddNumberToObject(cli->result, "answers", (double)e->one.answers);
    cJSON_AddNumberToObject(cli->result, "answers_left_out", (double)e->one.left_out);
    cJSON_AddNumberToObject(cli->result, "decisions_without_answer", (double)e->one.decisions);
}

static keel_status run(keel_cli *cli, keel_err *err) {
    keel_store *store;
    keel_split split;
    exporting e = {.format = CHAT};
    const char *path = keel_cli_value(cli, "--out"), *name = keel_cli_value(cli, "--split");
    KEEL_TRY(keel_cli_choice(cli, "--format", formats, &e.format, err));
    KEEL_TRY(read_least(cli, &e, err));
    KEEL_TRY(read_one_response(cli, &e, err));
    if (name) KEEL_TRY(keel_cli_blame(keel_split_parse(name, &split, err), err));
    keel_status status = open_policy(cli, &e, err);
    if (status == KEEL_OK) status = keel_cli_open_store(cli, KEEL_STORE_EITHER, &store, err);
    if (status == KEEL_OK) {
        e.chooser.store = store;
        status = export_to(store, name ? &split : NULL, &e, path, err);
        keel_store_close(store);
    }
    close_policy(&e);
    if (status != KEEL_OK) return status;
    if (!path) /* standard output holds the log, so the count goes where progress goes */
        keel_log(KEEL_LOG_INFO, "exported %lld %s", (long long)e.count, units[e.format]);
    tell_left_out(&e);
    if (path) put_result(cli, &e, path);
    return KEEL_OK;
}

static void print(const cJSON *result, FILE *out) {
    const cJSON *path = keel_json_get(result, "out"), *count = path->next;
    fprintf(out, "%s: %.0f %s\n", path->valuestring, count->valuedouble, count->string);
}

const keel_verb keel_verb_export = {
    .name = "export",
    .brief = "write conversations out of the store: a log, a table, pairs, tuning files",
    .flags = flags,
    .choices = choices,
    .more =
        "chat: writes everything that was logged, with labels, their judges and logged rewards; imported into a new store it gives the\n"
        "same content hash. What is computed from it (transitions, features, runs) is not written. With --one-response the log has one\n"
        "answer a decision, as the log of a deployed assistant has: drawn, by the seed and the names of conversations, models and\n"
        "acts, from those that several models gave.\n"
        "csv: one row for each candidate, with outcome, judge and risk in words, and its rewards; with --policy also the action that\n"
        "the candidate is, how the policy sees it, what the policy chooses and why. trl: the candidates of most and of least reward at\n"
        "each decision, as chosen and rejected. sft: messages; answers of less reward than --least have weight 0, and conversations\n"
        "without a better one are left out.\n"
        "example: keel export --store logs.db --format chat --split test --out test.jsonl.gz\n",
    .run = run,
    .print = print,
};
