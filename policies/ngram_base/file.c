/* The n-gram base on disk.
 *
 *   config.json        model_type "keel-ngram", sizes, action space and acts
 *   tokenizer.json     how text becomes buckets: normaliser, words, n-grams
 *   model.safetensors  bucket [rows] (ascending), frequency [rows], documents [6], table [rows, dim], the
 *                      encoder's layers, the linear probes, mean and scale of the scalar features;
 *                      compressed: table and probes at 8 bits (core/packed.h) */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/json.h"
#include "core/packed.h"
#include "core/safetensors.h"
#include "policies/base_file.h"
#include "policies/compress/job.h"
#include "policies/compress/student.h"
#include "policies/ngram_base/file.h"

/* ---- tensors: the same list for saving and loading ---- */

enum { MAX_TENSORS = 8 + KEEL_N_NGRAM_BASE_PARAMS + 2 * KEEL_LINEAR_PROBES_TENSORS };

typedef struct tensor_list {
    size_t count;
    keel_named_tensor tensor[MAX_TENSORS]; /* data points into the model */
    char name[MAX_TENSORS][48];
} tensor_list;

static void list(tensor_list *to, const char *name, keel_dtype dtype, size_t rows, size_t cols,
                 const void *data) {
    const size_t at = to->count++;
    snprintf(to->name[at], sizeof to->name[at], "%s", name);
    to->tensor[at] = keel_named_tensor_of(to->name[at], dtype, rows, cols, data);
}

static void list_model(tensor_list *to, const keel_ngram_base *model) {
    list(to, "bucket", KEEL_I32, model->rows, 0, model->bucket_of);
    list(to, "frequency", KEEL_I32, model->rows, 0, model->frequency);
    list(to, "documents", KEEL_I64, KEEL_N_FIELDS, 0, model->documents);
    if (model->packed)
        list(to, "table" KEEL_PACKED_SUFFIX, KEEL_U8, model->rows, keel_packed_row((size_t)model->config.dim),
             model->packed);
    else
        list(to, "table", KEEL_F32, model->rows, (size_t)model->config.dim, model->table);
    for (size_t i = 0; i < model->params.count; i++) {
        const keel_param *param = &model->params.table[i];
        if (keel__ngram_base_has_param(model, i))
            list(to, param->name, KEEL_F32, param->rows, param->cols, keel_params_at(&model->params, i));
    }
    list(to, "state_scalar.mean", KEEL_F32, KEEL_STATE_SCALARS, 0, model->state_mean);
    list(to, "state_scalar.scale", KEEL_F32, KEEL_STATE_SCALARS, 0, model->state_scale);
    list(to, "candidate_scalar.mean", KEEL_F32, KEEL_CANDIDATE_SCALARS, 0, model->candidate_mean);
    list(to, "candidate_scalar.scale", KEEL_F32, KEEL_CANDIDATE_SCALARS, 0, model->candidate_scale);
}

static keel_status list_heads(tensor_list *to, const keel_ngram_base *model, keel_arena *names,
                              keel_err *err) {
    size_t added = 0;
    if (model->candidate_heads)
        KEEL_TRY(keel_linear_probes_tensors(model->candidate_heads, "candidate_heads", names,
                                            to->tensor + to->count, &added, err));
    to->count += added;
    added = 0;
    if (model->state_heads)
        KEEL_TRY(keel_linear_probes_tensors(model->state_heads, "state_heads", names, to->tensor + to->count,
                                            &added, err));
    to->count += added;
    return KEEL_OK;
}

/* ---- at 8 bits ---- */

static keel_status make_packed(keel_ngram_base *model, keel_err *err) {
    model->packed =
        keel_arena_alloc(&model->arena, model->rows * keel_packed_row((size_t)model->config.dim) + 1);
    return model->packed ? KEEL_OK : keel_nomem(err, "n-gram base");
}

static double bytes_of(const keel_ngram_base *model) {
    const double dim = (double)model->config.dim,
                 row = model->packed ? (double)keel_packed_row((size_t)dim) : 4 * dim;
    return (double)model->rows * row + 4 * (double)model->params.size +
           keel_linear_probes_bytes(model->state_heads) + keel_linear_probes_bytes(model->candidate_heads);
}

static double parameters_of(const keel_ngram_base *model) {
    return (double)model->rows * (double)model->config.dim + (double)model->params.size +
           keel_linear_probes_parameters(model->state_heads) +
           keel_linear_probes_parameters(model->candidate_heads);
}

/* Whatever the format: table and probes have 8 bits a weight, the small layers stay as they are. */
keel_status keel__ngram_base_compress(keel_base *base, const keel_compress_job *job, keel_err *err) {
    keel_ngram_base *model = (keel_ngram_base *)base;
    KEEL_TRY(keel_student_none(job, err));
    job->report->parameters_before += parameters_of(model);
    job->report->bytes_before += bytes_of(model);
    if (job->config->weights != KEEL_COMPRESS_NONE && !model->packed) {
        KEEL_TRY(make_packed(model, err));
        keel_packed_round(model->table, model->rows, (size_t)model->config.dim, model->packed);
        KEEL_TRY(keel_linear_probes_pack(model->state_heads, err));
        KEEL_TRY(keel_linear_probes_pack(model->candidate_heads, err));
    }
    job->report->parameters += parameters_of(model);
    job->report->bytes += bytes_of(model);
    return KEEL_OK;
}

/* ---- saving ---- */

static cJSON *config_json(const keel_ngram_base *model) {
    cJSON *json = cJSON_CreateObject(), *kinds = json ? cJSON_AddArrayToObject(json, "architectures") : NULL;
    bool good = kinds && cJSON_AddItemToArray(kinds, cJSON_CreateString("KeelNgram")) &&
                cJSON_AddStringToObject(json, "model_type", "keel-ngram") &&
                keel_base_space_write(&model->base, json) &&
                cJSON_AddStringToObject(json, "split", model->split) &&
                cJSON_AddNumberToObject(json, "rows", (double)model->rows) &&
                cJSON_AddNumberToObject(json, "dim", (double)model->config.dim) &&
                cJSON_AddNumberToObject(json, "hidden_size", (double)model->config.features) &&
                cJSON_AddNumberToObject(json, "context_turns", (double)model->config.context_turns) &&
                cJSON_AddBoolToObject(json, "user_acts", model->config.user_acts);
    if (good) return json;
    cJSON_Delete(json);
    return NULL;
}

static cJSON *tokenizer_json(const keel_ngram_base *model) {
    cJSON *json = cJSON_CreateObject();
    cJSON *normalizer = json ? cJSON_AddObjectToObject(json, "normalizer") : NULL;
    cJSON *words = json ? cJSON_AddObjectToObject(json, "pre_tokenizer") : NULL;
    cJSON *grams = json ? cJSON_AddObjectToObject(json, "model") : NULL;
    bool good =
        normalizer && words && grams && cJSON_AddStringToObject(json, "version", "1.0") &&
        cJSON_AddStringToObject(normalizer, "type", "NFKC_Casefold") &&
        cJSON_AddStringToObject(words, "type", "UnicodeWords") &&
        cJSON_AddStringToObject(words, "single", "Han, Kana, Hangul, symbols, punctuation") &&
        cJSON_AddNumberToObject(words, "max_words", (double)model->rules.max_words) &&
        cJSON_AddStringToObject(grams, "type", "HashedNgrams") &&
        cJSON_AddNumberToObject(grams, "word_high", (double)model->rules.word_high) &&
        cJSON_AddNumberToObject(grams, "char_low", (double)model->rules.char_low) &&
        cJSON_AddNumberToObject(grams, "char_high", (double)model->rules.char_high) &&
        cJSON_AddStringToObject(grams, "word_boundary", "<>") &&
        cJSON_AddStringToObject(grams, "hash", "fnv1a64-mix") &&
        cJSON_AddStringToObject(grams, "weight", "(log((1 + documents) / (1 + frequency)) + 1) / L2 norm") &&
        cJSON_AddNumberToObject(grams, "buckets", (double)model->rules.buckets) &&
        cJSON_AddNumberToObject(grams, "known", (double)model->rows);
    if (good) return json;
    cJSON_Delete(json);
    return NULL;
}

static keel_status write_json(keel_arena *arena, const char *folder, const char *name, cJSON *json,
                              keel_err *err) {
    char *path = keel_path_join(arena, folder, name);
    keel_status status = path && json ? keel_json_write_file(path, json, err) : keel_nomem(err, folder);
    cJSON_Delete(json);
    return status;
}

keel_status keel__ngram_base_save(const keel_base *base, const char *folder, keel_err *err) {
    const keel_ngram_base *model = (const keel_ngram_base *)base;
    keel_arena arena = {0};
    tensor_list *tensors = keel_arena_calloc(&arena, 1, sizeof *tensors);
    char *path = keel_path_join(&arena, folder, "model.safetensors");
    keel_status status = tensors && path ? KEEL_OK : keel_nomem(err, folder);
    if (status == KEEL_OK) {
        list_model(tensors, model);
        status = list_heads(tensors, model, &arena, err);
    }
    if (status == KEEL_OK) status = keel_safetensors_write(path, tensors->tensor, tensors->count, NULL, err);
    if (status == KEEL_OK) status = write_json(&arena, folder, "config.json", config_json(model), err);
    if (status == KEEL_OK) status = write_json(&arena, folder, "tokenizer.json", tokenizer_json(model), err);
    keel_arena_free(&arena);
    return status;
}

/* ---- loading ---- */

static keel_status read_int(const cJSON *json, const char *key, double low, double high, int64_t *out,
                            const char *where, keel_err *err) {
    double value = 0;
    KEEL_TRY(keel_json_number(json, key, true, &value, where, err));
    if (!(value >= low && value <= high) || value != floor(value))
        return keel_fail(err, KEEL_E_INVALID, where, "\"%s\": expected a whole number of %g to %g, got %g",
                         key, low, high, value);
    *out = (int64_t)value;
    return KEEL_OK;
}

static keel_status read_rules(const char *path, struct keel_ngram_base_config *config, keel_err *err) {
    cJSON *json = NULL;
    const cJSON *words = NULL, *grams = NULL;
    KEEL_TRY(keel_json_parse_file(path, &json, err));
    keel_status status = keel_json_object(json, "pre_tokenizer", true, &words, path, err);
    if (status == KEEL_OK) status = keel_json_object(json, "model", true, &grams, path, err);
    if (status == KEEL_OK) status = read_int(words, "max_words", 1, 1e6, &config->max_words, path, err);
    if (status == KEEL_OK) status = read_int(grams, "word_high", 1, 8, &config->word_high, path, err);
    if (status == KEEL_OK) status = read_int(grams, "char_low", 1, 16, &config->char_low, path, err);
    if (status == KEEL_OK) status = read_int(grams, "char_high", 0, 16, &config->char_high, path, err);
    if (status == KEEL_OK) status = read_int(grams, "buckets", 64, 16777216, &config->buckets, path, err);
    cJSON_Delete(json);
    return status;
}

typedef struct base_config { /* what config.json says */
    struct keel_ngram_base_config config;
    keel_base_space space;
    const char *split; /* into the JSON value */
    size_t rows;
} base_config;

static keel_status read_config(const cJSON *json, base_config *out, keel_arena *arena, const char *where,
                               keel_err *err) {
    const char *type = NULL;
    int64_t rows = 0;
    KEEL_TRY(keel_json_string(json, "model_type", true, &type, where, err));
    if (strcmp(type, "keel-ngram") != 0)
        return keel_fail(err, KEEL_E_UNSUPPORTED, where, "expected model_type \"keel-ngram\", got \"%s\"",
                         type);
    KEEL_TRY(keel_json_string(json, "split", true, &out->split, where, err));
    KEEL_TRY(read_int(json, "rows", 0, (double)out->config.buckets, &rows, where, err));
    KEEL_TRY(read_int(json, "dim", 1, 4096, &out->config.dim, where, err));
    KEEL_TRY(read_int(json, "hidden_size", 1, 4096, &out->config.features, where, err));
    KEEL_TRY(read_int(json, "context_turns", 0, 1000, &out->config.context_turns, where, err));
    out->config.user_acts = true; /* of a base that does not say: they were read once */
    KEEL_TRY(keel_json_bool(json, "user_acts", false, &out->config.user_acts, where, err));
    out->rows = (size_t)rows;
    return keel_base_space_read(json, where, arena, &out->space, err);
}

static keel_status check_maps(const keel_ngram_base *model, const char *path, keel_err *err) {
    for (size_t i = 0; i < model->rows; i++) {
        int64_t bucket = model->bucket_of[i], least = i > 0 ? (int64_t)model->bucket_of[i - 1] + 1 : 0;
        if (bucket < least || bucket >= (int64_t)model->rules.buckets || model->frequency[i] < 0)
            return keel_fail(err, KEEL_E_INVALID, path,
                             "\"bucket\" and \"frequency\": row %zu is out of order or range", i);
    }
    return KEEL_OK;
}

static keel_status load_heads(keel_ngram_base *model, const keel_safetensors *file, keel_err *err) {
    size_t buckets = model->rules.buckets;
    KEEL_TRY(keel_linear_probes_load(&model->state_heads, file, "state_heads", buckets, KEEL_N_STATE_PROBES,
                                     0, err));
    if (model->base.space != KEEL_SPACE_CANDIDATES) return KEEL_OK;
    return keel_linear_probes_load(&model->candidate_heads, file, "candidate_heads", buckets,
                                   KEEL_N_CANDIDATE_PROBES, KEEL_N_EXTRAS, err);
}

static keel_status fill(keel_ngram_base *model, const keel_safetensors *file, size_t rows, const char *path,
                        keel_err *err) {
    const keel_named_tensor *bucket = keel_safetensors_find(file, "bucket");
    keel_arena arena = {0};
    if (!bucket || bucket->n_dims != 1 ||
        bucket->shape[0] != rows) /* before anything of that size is allocated */
        return keel_fail(err, KEEL_E_INVALID, path, "expected \"bucket\" of %zu rows", rows);
    KEEL_TRY(keel__ngram_base_room(model, rows, err));
    if (keel_safetensors_find(file, "table" KEEL_PACKED_SUFFIX)) KEEL_TRY(make_packed(model, err));
    tensor_list *tensors = keel_arena_calloc(&arena, 1, sizeof *tensors);
    keel_status status = tensors ? KEEL_OK : keel_nomem(err, path);
    if (status == KEEL_OK) list_model(tensors, model);
    for (size_t i = 0; status == KEEL_OK && i < tensors->count; i++)
        status = keel_safetensors_take(file, &tensors->tensor[i], err);
    keel_arena_free(&arena);
    if (status == KEEL_OK && model->packed &&
        !keel_packed_widen(model->packed, model->rows, (size_t)model->config.dim, model->table))
        status = keel_fail(err, KEEL_E_INVALID, path, "\"table\" holds numbers that are not finite");
    if (status == KEEL_OK) status = check_maps(model, path, err);
    if (status == KEEL_OK) status = load_heads(model, file, err);
    if (status == KEEL_OK) keel__ngram_base_index(model);
    return status;
}

static keel_status load_with(keel_ngram_base **out, const char *dir, keel_arena *arena,
                             keel_safetensors *file, cJSON **json, keel_err *err) {
    base_config got = {0};
    char *config = keel_path_join(arena, dir, "config.json"),
         *tokenizer = keel_path_join(arena, dir, "tokenizer.json");
    char *weights = keel_path_join(arena, dir, "model.safetensors");
    if (!config || !tokenizer || !weights) return keel_nomem(err, dir);
    KEEL_TRY(keel_options_defaults(keel_ngram_base_options, &got.config, err));
    KEEL_TRY(read_rules(tokenizer, &got.config, err));
    KEEL_TRY(keel_json_parse_file(config, json, err));
    KEEL_TRY(read_config(*json, &got, arena, config, err));
    KEEL_TRY(keel_safetensors_map(weights, file, err));
    KEEL_TRY(keel__ngram_base_make(out, &got.config, got.space.space, got.space.acts, got.space.n_acts, err));
    (*out)->split = keel_arena_strdup(&(*out)->arena, got.split);
    if (!(*out)->split) return keel_nomem(err, dir);
    KEEL_TRY(keel__ngram_base_offer(*out, got.space.fixed, got.space.n_fixed, err));
    return fill(*out, file, got.rows, weights, err);
}

keel_status keel__ngram_base_load(keel_base **out, const char *dir, keel_err *err) {
    keel_arena arena = {0};
    keel_safetensors file = {0};
    cJSON *json = NULL;
    keel_ngram_base *model = NULL;
    keel_status status = load_with(&model, dir, &arena, &file, &json, err);
    keel_safetensors_free(&file);
    cJSON_Delete(json);
    keel_arena_free(&arena);
    if (status == KEEL_OK)
        *out = &model->base;
    else if (model)
        keel__ngram_base_close(&model->base);
    return status;
}
