#include "experiments/cli_resources.h"

#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"
#include "core/json.h"
#include "core/log.h"
#include "datasets/stratify.h"
#include "experiments/table.h"
#include "policies/artefact.h"

keel_status keel_cli_open_store(const keel_cli *cli, keel_store_mode mode, keel_store **out, keel_err *err) {
    const char *path = keel_cli_value(cli, "--store");
    KEEL_TRY(keel_store_check_path(path, err));
    if (mode != KEEL_STORE_CREATE && !keel_file_exists(path)) {
        keel_fail(err, KEEL_E_NOT_FOUND, path, "there is no store");
        return keel_hint(err, "`keel import`, `keel simulate`, `keel consume` and `keel serve` make one");
    }
    return keel_store_open(out, path, mode, err);
}

keel_status keel_cli_open_split(const keel_cli *cli, keel_store *store, const char *standard, keel_split *out,
                                keel_err *err) {
    const char *text = keel_cli_value(cli, "--split");
    keel_split split;
    KEEL_TRY(keel_cli_blame(keel_split_parse(text ? text : standard, &split, err), err));
    if (keel_store_writable(store)) KEEL_TRY(keel_stratify(store, err)); /* an import was cut off */
    KEEL_TRY(keel_store_check_split(store, &split, err));
    *out = split;
    return KEEL_OK;
}

keel_status keel_cli_open_pool(const keel_cli *cli, keel_pool **out, keel_err *err) {
    int64_t threads = 0;
    KEEL_TRY(keel_cli_integer(cli, "--threads", 0, 1024, &threads, err));
    return keel_pool_open(out, (size_t)threads, err);
}

/* Better now than at the end of the work. */
static keel_status check_parent(const char *path, keel_err *err) {
    char folder[4096];
    keel_path_parent(path, folder, sizeof folder);
    if (!keel_file_is_folder(folder))
        return keel_fail(err, KEEL_E_NOT_FOUND, path, "there is no folder \"%s\" to write it into", folder);
    if (faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS) != 0)
        return keel_fail(err, KEEL_E_IO, path, "the folder \"%s\" may not be written", folder);
    return KEEL_OK;
}

keel_status keel_cli_open_out_file(const char *path, size_t at, const char *begins, keel_err *err) {
    char found[64];
    int fd;
    struct stat about;
    if (!path) return KEEL_OK;
    if (stat(path, &about) != 0) return check_parent(path, err);
    if (!S_ISREG(about.st_mode) || about.st_size == 0) return KEEL_OK;
    KEEL_TRY(keel_file_open(path, &fd, err));
    const ssize_t got = read(fd, found, sizeof found);
    close(fd);
    const size_t length = strlen(begins);
    if (got >= (ssize_t)(at + length) && memcmp(found + at, begins, length) == 0) return KEEL_OK;
    keel_fail(err, KEEL_E_CONFLICT, path, "exists and is nothing that this command wrote");
    return keel_hint(err, "choose another name, or remove it");
}

keel_status keel_manifest_read(const char *dir, cJSON **out, keel_err *err) {
    char path[4096];
    snprintf(path, sizeof path, "%s/keel.json", dir);
    return keel_json_parse_file(path, out, err);
}

static bool overlaps(const char *text, const keel_split *part, keel_base_saw *out) {
    keel_split tuned_on;
    if (text && keel_split_parse(text, &tuned_on, NULL) == KEEL_OK && keel_split_disjoint(&tuned_on, part))
        return false;
    snprintf(out->text, sizeof out->text, "%s", text ? text : "what nobody says");
    return true;
}

keel_status keel_cli_base_saw(const char *dir, const keel_split *part, keel_base_saw *out, keel_err *err) {
    cJSON *manifest = NULL;
    *out = (keel_base_saw){0};
    KEEL_TRY(keel_manifest_read(dir, &manifest, err));
    const cJSON *lineage = keel_json_get(manifest, "lineage");
    out->itself = overlaps(keel_json_text(lineage, "split", NULL), part, out);
    for (; lineage && !out->teacher; lineage = keel_json_get(lineage, "before")) {
        const char *taught_on = keel_json_text(lineage, "teacher_split", NULL);
        out->teacher = taught_on && overlaps(taught_on, part, out);
    }
    cJSON_Delete(manifest);
    return KEEL_OK;
}

/* ---- results ---- */

static cJSON *arguments_json(const keel_cli *cli) {
    cJSON *arguments = cJSON_CreateArray();
    for (size_t i = 0; i < cli->n_given; i++) {
        if (cli->given[i].flag) keel_json_add(arguments, NULL, cJSON_CreateString(cli->given[i].flag->name));
        if (cli->given[i].value) keel_json_add(arguments, NULL, cJSON_CreateString(cli->given[i].value));
    }
    return arguments;
}

/* Adds each number below an object under its dotted name: {"refusal_rate": {"low": 0.9}} is refusal_rate.low.
 * Names in the arena. */
static keel_status list_metrics(const cJSON *object, const char *prefix, keel_arena *arena, keel_buf *out,
                                keel_err *err) {
    const cJSON *item;
    cJSON_ArrayForEach (item, object) {
        size_t length = (prefix ? strlen(prefix) + 1 : 0) + strlen(item->string) + 1;
        char *name = keel_arena_alloc(arena, length);
        if (!name) return keel_fail(err, KEEL_E_NOMEM, NULL, "for the names of metrics");
        snprintf(name, length, "%s%s%s", prefix ? prefix : "", prefix ? "." : "", item->string);
        if (cJSON_IsObject(item)) KEEL_TRY(list_metrics(item, name, arena, out, err));
        if (!cJSON_IsNumber(item) && !cJSON_IsNull(item)) continue;
        bool known = cJSON_IsNumber(item) && isfinite(item->valuedouble);
        keel_store_metric metric = {name, {known, known ? item->valuedouble : 0}};
        keel_buf_append(out, &metric, sizeof metric);
    }
    return out->failed ? keel_fail(err, KEEL_E_NOMEM, NULL, "for metrics") : KEEL_OK;
}

/* What a verb measured: of an evaluation, the policy's. */
static keel_status find_metrics(const cJSON *result, keel_arena *arena, keel_buf *out, keel_err *err) {
    const cJSON *policy = cJSON_GetObjectItemCaseSensitive(result, "policy");
    const cJSON *metrics =
        cJSON_GetObjectItemCaseSensitive(cJSON_IsObject(policy) ? policy : result, "metrics");
    return cJSON_IsObject(metrics) ? list_metrics(metrics, NULL, arena, out, err) : KEEL_OK;
}

keel_status keel_record_run(keel_cli *cli, keel_store *store, keel_err *err) {
    keel_buf config = {0}, result = {0}, metrics = {0};
    keel_arena names = {0};
    if (!keel_store_writable(store)) {
        keel_log(KEEL_LOG_INFO, "note: %s may not be written: this run is not recorded in it",
                 keel_store_path(store));
        return keel_cli_check_result(cli, err);
    }
    cJSON *arguments = arguments_json(cli);
    keel_status status;
    KEEL_TRY_GOTO(keel_cli_check_result(cli, err), done);
    keel_json_mend(arguments);
    KEEL_TRY_GOTO(keel_json_print(arguments, false, &config, err), done);
    KEEL_TRY_GOTO(keel_json_print(cli->result, false, &result, err), done);
    KEEL_TRY_GOTO(find_metrics(cli->result, &names, &metrics, err), done);
    status = keel_store_put_run(store, cli->verb->name, config.data, result.data,
                                (const keel_store_metric *)(const void *)metrics.data,
                                metrics.length / sizeof(keel_store_metric), err);
done:
    cJSON_Delete(arguments);
    keel_buf_free(&config);
    keel_buf_free(&result);
    keel_buf_free(&metrics);
    keel_arena_free(&names);
    return status;
}

keel_status keel_artefact_result(keel_cli *cli, const char *dir, const char *kind, const char *split,
                                 keel_err *err) {
    cJSON *manifest = NULL;
    char hash[65];
    KEEL_TRY(keel_artefact_open(dir, kind, &manifest, hash, err));
    cli->result = cJSON_CreateObject();
    cJSON_AddStringToObject(cli->result, "out", dir);
    cJSON_AddStringToObject(cli->result, "kind", kind);
    cJSON_AddStringToObject(cli->result, "hash", hash);
    cJSON_AddStringToObject(cli->result, "split", split);
    for (size_t i = 0; i < 3; i++) {
        static const char *const kept[] = {"metrics", "lineage", "config"};
        cJSON *part = cJSON_DetachItemFromObjectCaseSensitive(manifest, kept[i]);
        if (part) keel_json_add(cli->result, kept[i], part);
    }
    const char *metrics = keel_cli_value(cli, "--metrics");
    if (metrics) cJSON_AddStringToObject(cli->result, "metrics_file", metrics);
    cJSON_Delete(manifest);
    return KEEL_OK;
}

void keel_artefact_print(const cJSON *result, FILE *out) {
    keel_table table = {.columns = 2, .plain = true};
    keel_table_cell(&table, "artefact");
    keel_table_cell(&table, "value");
    const cJSON *item;
    cJSON_ArrayForEach (item, result) {
        if (!cJSON_IsString(item)) continue;
        keel_table_cell(&table, "%s", item->string);
        keel_table_cell(&table, "%s", item->valuestring);
    }
    keel_table_leaves(&table, cJSON_GetObjectItemCaseSensitive(result, "metrics"));
    keel_table_print(&table, out);
    keel_table_free(&table);
}

cJSON *keel_interval_json(const keel_interval *interval) {
    bool known = interval->n > 0;
    cJSON *json = cJSON_CreateObject();
    keel_json_add(json, "value", known ? cJSON_CreateNumber(interval->value) : cJSON_CreateNull());
    keel_json_add(json, "low", known ? cJSON_CreateNumber(interval->low) : cJSON_CreateNull());
    keel_json_add(json, "high", known ? cJSON_CreateNumber(interval->high) : cJSON_CreateNull());
    cJSON_AddNumberToObject(json, "n", interval->n);
    return json;
}
