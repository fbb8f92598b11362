#include "policies/compress_base.h"

#include <cjson/cJSON.h>
#include <string.h>

#include "core/json.h"
#include "core/options_internal.h"
#include "policies/artefact.h"

const char keel_compress_base_lineage[] = "compress.json";

typedef struct making {
    const char *from, *out_dir;
    bool replace;
    const keel_compress_job *job;
    bool model; /* as it came */
    const keel_base_kind *kind;
    keel_base *base; /* unless model */
    char hash[65];
    cJSON *before; /* keel.json of an artefact, compress.json of a model that has one; or NULL */
    cJSON *options, *lineage, *metrics;
    keel_arena arena;
    keel_err *err;
} making;

/* ---- what it was ---- */

static keel_status read_before(making *m) {
    char *path = keel_path_join(&m->arena, m->from, m->model ? keel_compress_base_lineage : "keel.json");
    if (!path) return keel_nomem(m->err, m->from);
    return keel_file_exists(path) ? keel_json_parse_file(path, &m->before, m->err) : KEEL_OK;
}

static keel_status open_source(making *m) {
    KEEL_TRY(keel_base_find_made(m->from, &m->kind, m->err));
    m->model = keel_base_is_model(m->from);
    if (m->model ? !m->kind->compress_model : !m->kind->compress) {
        keel_fail(m->err, KEEL_E_UNSUPPORTED, m->from, "there is nothing here that could be made smaller");
        return keel_hint(m->err, "give a model (docs/bases.md), or what `keel sft --out` wrote");
    }
    KEEL_TRY(read_before(m));
    if (m->model) return keel_base_hash_model(m->from, m->hash, m->err);
    KEEL_TRY(keel_base_load(&m->base, m->from, m->err));
    memcpy(m->hash, m->base->hash, sizeof m->hash);
    return KEEL_OK;
}

/* Steps that would do nothing: scales of no format, and what is done to layers of a kind that has none. */
static keel_status check_steps(const making *m) {
    const keel_compress_config *c = m->job->config;
    if (c->calibrate && c->weights == KEEL_COMPRESS_NONE)
        return keel_fail(m->err, KEEL_E_USAGE, "calibrate", "weights=none has no scales: give --weights too");
    const char *key = c->ratio > 0             ? "ratio"
                      : c->sensitive_share > 0 ? "sensitive_share"
                      : c->calibrate           ? "calibrate"
                                               : NULL;
    if (m->kind->prunes || !key) return KEEL_OK;
    keel_fail(m->err, KEEL_E_USAGE, key,
              "%s has no layers that could be pruned, calibrated or kept at 8 bits", m->from);
    return keel_hint(m->err, "`keel compress --weights int8` makes a base of n-grams small");
}

/* ---- lineage ---- */

/* Of an artefact, what it was tuned on stays in sight: evaluations ask for it. */
static bool keep_origin(const making *m) {
    const cJSON *was = keel_json_get(m->before, "lineage");
    bool good = true;
    for (const char *const *key = (const char *const[]){"seed", "content", "split", NULL}; good && *key;
         key++) {
        const cJSON *item = keel_json_get(was, *key);
        if (item) good = keel_json_add(m->lineage, *key, cJSON_Duplicate(item, true));
    }
    return good && (!was || keel_json_add(m->lineage, "before", cJSON_Duplicate(was, true)));
}

static bool add_logged(const making *m) {
    const keel_corpus *logged = m->job->logged;
    cJSON *row = logged ? cJSON_AddObjectToObject(m->lineage, "looked_at") : NULL;
    return !logged || (row && cJSON_AddStringToObject(row, "split", logged->name) &&
                       cJSON_AddStringToObject(row, "content", logged->content));
}

static keel_status make_lineage(making *m) {
    m->options = keel_options_to_json(keel_compress_options, m->job->config);
    m->lineage = cJSON_CreateObject();
    const bool good = m->options && m->lineage &&
                      cJSON_AddStringToObject(m->lineage, "compressed_from", m->hash) && add_logged(m) &&
                      keel_json_add(m->lineage, "compression", cJSON_Duplicate(m->options, true)) &&
                      keep_origin(m);
    return good ? keel_artefact_identify(m->lineage, m->options, NULL, m->err) : keel_nomem(m->err, m->from);
}

/* A model has no keel.json: another run made what is there unless its compress.json is this run's. */
static keel_status check_model_out(making *m) {
    cJSON *there = NULL;
    const char *ours = "", *theirs = "";
    if (!keel_file_exists(m->out_dir) && !keel_file_is_folder(m->out_dir)) return KEEL_OK;
    char *path = keel_path_join(&m->arena, m->out_dir, keel_compress_base_lineage);
    if (!path) return keel_nomem(m->err, m->out_dir);
    const bool is = keel_json_parse_file(path, &there, NULL) == KEEL_OK;
    keel_json_string(m->lineage, "identity", false, &ours, path, NULL);
    keel_json_string(keel_json_get(there, "lineage"), "identity", false, &theirs, path, NULL);
    const bool may = is && (m->replace || strcmp(ours, theirs) == 0);
    cJSON_Delete(there);
    if (may) return KEEL_OK;
    keel_fail(m->err, KEEL_E_CONFLICT, m->out_dir,
              is ? "holds a model that another run made" : "exists and is no model that could be replaced");
    return keel_hint(m->err, is ? "--replace writes over it; or choose another --out"
                                : "choose another --out, or remove it");
}

static keel_status check_out(making *m) {
    if (m->model) return check_model_out(m);
    return keel_artefact_check_out(m->out_dir, "base", m->lineage, keel_json_get(m->before, "config"),
                                   m->replace, m->err);
}

/* ---- writing ---- */

static keel_status make_metrics(making *m) {
    const keel_compress_report *r = m->job->report;
    const cJSON *was = keel_json_get(m->before, "metrics");
    m->metrics = cJSON_CreateObject();
    bool good = m->metrics &&
                cJSON_AddNumberToObject(m->metrics, "parameters_before", r->parameters_before) &&
                cJSON_AddNumberToObject(m->metrics, "parameters", r->parameters) &&
                cJSON_AddNumberToObject(m->metrics, "bytes_before", r->bytes_before) &&
                cJSON_AddNumberToObject(m->metrics, "bytes", r->bytes);
    for (size_t i = 0; good && i < r->n_figures; i++)
        good = cJSON_AddNumberToObject(m->metrics, r->figure[i].name, r->figure[i].value) != NULL;
    good = good && (!was || keel_json_add(m->metrics, "before", cJSON_Duplicate(was, true)));
    return good ? KEEL_OK : keel_nomem(m->err, m->from);
}

/* Beside a model: what keel.json says of an artefact. */
static keel_status write_lineage(making *m, keel_folder_write *folder) {
    char *path = keel_path_join(&m->arena, folder->temporary, keel_compress_base_lineage);
    cJSON *json = cJSON_CreateObject();
    const bool good = path && json && cJSON_AddStringToObject(json, "kind", "model") &&
                      keel_json_add(json, "lineage", cJSON_Duplicate(m->lineage, true)) &&
                      keel_json_add(json, "metrics", cJSON_Duplicate(m->metrics, true));
    const keel_status status =
        good ? keel_json_write_file(path, json, m->err) : keel_nomem(m->err, m->out_dir);
    cJSON_Delete(json);
    return status;
}

static keel_status write_model(making *m, keel_folder_write *folder) {
    KEEL_TRY(m->kind->compress_model(m->from, folder->temporary, m->job, m->err));
    KEEL_TRY(make_metrics(m));
    KEEL_TRY(write_lineage(m, folder));
    return keel_folder_commit(folder, m->err);
}

static keel_status write_artefact(making *m, keel_folder_write *folder) {
    KEEL_TRY(keel_base_compress(m->base, m->job, m->err));
    KEEL_TRY(make_metrics(m));
    KEEL_TRY(m->kind->save(m->base, folder->temporary, m->err));
    return keel_artefact_commit(folder, "base", m->kind->type, m->lineage, keel_json_get(m->before, "config"),
                                m->metrics, NULL, m->err);
}

static keel_status prepare(making *m) {
    KEEL_TRY(open_source(m));
    KEEL_TRY(check_steps(m));
    KEEL_TRY(make_lineage(m));
    return check_out(m);
}

static keel_status make(making *m) {
    keel_folder_write folder;
    KEEL_TRY(prepare(m));
    KEEL_TRY(keel_folder_begin(&folder, m->out_dir, m->err));
    const keel_status status = m->model ? write_model(m, &folder) : write_artefact(m, &folder);
    if (status != KEEL_OK) keel_folder_abandon(&folder);
    return status;
}

static void close_all(making *m) {
    keel_base_close(m->base);
    cJSON_Delete(m->before);
    cJSON_Delete(m->options);
    cJSON_Delete(m->lineage);
    cJSON_Delete(m->metrics);
    keel_arena_free(&m->arena);
}

keel_status keel_compress_base(const char *from, const char *out_dir, bool replace,
                               const keel_compress_job *job, keel_err *err) {
    making m = {.from = from, .out_dir = out_dir, .replace = replace, .job = job, .err = err};
    const keel_status status = make(&m);
    close_all(&m);
    return status;
}

keel_status keel_compress_base_check(const char *from, const char *out_dir, bool replace,
                                     const keel_compress_job *job, keel_err *err) {
    making m = {.from = from, .out_dir = out_dir, .replace = replace, .job = job, .err = err};
    const keel_status status = prepare(&m);
    close_all(&m);
    return status;
}
