#include "policies/decoder_base/file.h"

#include <math.h>
#include <string.h>

#include "core/file.h"
#include "core/json.h"
#include "policies/beside.h"
#include "policies/transformer/blocks.h"
#include "policies/transformer/peft.h"

static const char settings_name[] = "decoder.json", whole_name[] = "model.gguf", adapter_name[] = "adapter";

/* ---- saving ---- */

static bool has_adapter(const keel_llama *llama) {
    return llama->lora.rank > 0 || llama->n_virtual > 0;
}

static cJSON *settings_json(const keel_decoder_base *model) {
    const struct keel_decoder_base_config *c = &model->config;
    cJSON *json = cJSON_CreateObject();
    const bool good = json && cJSON_AddStringToObject(json, "model_type", "keel-decoder") &&
                      cJSON_AddStringToObject(json, "split", model->split) &&
                      cJSON_AddBoolToObject(json, "tuned", model->tuned) &&
                      keel_base_space_write(&model->base, json) &&
                      cJSON_AddNumberToObject(json, "state_tokens", (double)c->state_tokens) &&
                      cJSON_AddNumberToObject(json, "candidate_tokens", (double)c->candidate_tokens) &&
                      cJSON_AddNumberToObject(json, "prior_factor", c->prior_factor) &&
                      cJSON_AddNumberToObject(json, "mean", (double)model->mean) &&
                      cJSON_AddNumberToObject(json, "scale", (double)model->scale) &&
                      cJSON_AddBoolToObject(json, "adapter", has_adapter(model->llama)) &&
                      cJSON_AddBoolToObject(json, "ngrams", model->beside != NULL);
    if (good) return json;
    cJSON_Delete(json);
    return NULL;
}

static keel_status save_settings(const keel_decoder_base *model, const char *dir, keel_arena *arena,
                                 keel_err *err) {
    cJSON *json = settings_json(model);
    const char *path = keel_path_join(arena, dir, settings_name);
    keel_status status = json && path ? keel_json_write_file(path, json, err) : keel_nomem(err, dir);
    cJSON_Delete(json);
    return status;
}

/* The narrowest format that holds all matrices as they are. */
static keel_block_type format_of(const keel_llama *llama) {
    bool seen[3] = {false};
    for (size_t i = 0; i < llama->n_rows; i++)
        if (llama->matrix[i].data && keel_llama_is_matrix(&llama->config, i))
            seen[llama->matrix[i].type] = true;
    const int n = seen[KEEL_MATRIX_F32] + seen[KEEL_MATRIX_BF16] + seen[KEEL_MATRIX_Q8_0];
    if (n != 1 || seen[KEEL_MATRIX_F32]) return KEEL_BLOCK_F32;
    return seen[KEEL_MATRIX_BF16] ? KEEL_BLOCK_BF16 : KEEL_BLOCK_Q8_0;
}

/* safetensors know no Q8_0. */
static keel_status save_model(const keel_llama *llama, const char *dir, keel_arena *arena, keel_err *err) {
    const keel_block_type type = format_of(llama);
    const char *path = keel_path_join(arena, dir, whole_name);
    if (!path) return keel_nomem(err, dir);
    if (type != KEEL_BLOCK_Q8_0) return keel_llama_save(llama, dir, type, 0, err);
    const keel_status status = keel_llama_save_gguf(llama, path, type, err);
    return status == KEEL_E_UNSUPPORTED ? keel_llama_save(llama, dir, KEEL_BLOCK_F32, 0, err) : status;
}

static keel_status save_adapter(const keel_llama *llama, const char *dir, keel_arena *arena, keel_err *err) {
    const char *path = keel_path_join(arena, dir, adapter_name);
    if (!path) return keel_nomem(err, dir);
    KEEL_TRY(keel_folder_make(path, err));
    return keel_peft_save_llama(llama, path, err);
}

keel_status keel__decoder_base_save(const keel_base *base, const char *dir, keel_err *err) {
    const keel_decoder_base *model = (const keel_decoder_base *)base;
    keel_arena arena = {0};
    keel_status status = save_model(model->llama, dir, &arena, err);
    if (status == KEEL_OK) status = save_settings(model, dir, &arena, err);
    if (status == KEEL_OK && has_adapter(model->llama)) status = save_adapter(model->llama, dir, &arena, err);
    if (status == KEEL_OK && model->beside) status = keel_beside_save(model->beside, dir, err);
    keel_arena_free(&arena);
    return status;
}

/* ---- loading ---- */

typedef struct loading {
    const char *dir;
    keel_arena arena;
    cJSON *json;
    struct keel_decoder_base_config config;
    keel_base_space space;
    const char *split; /* into the JSON value */
    double mean, scale;
    bool tuned, ngrams, adapter;
    keel_err *err;
} loading;

static keel_status read_real(const loading *l, const char *key, const char *where, double low, double high,
                             double *out) {
    KEEL_TRY(keel_json_number(l->json, key, true, out, where, l->err));
    if (*out >= low && *out <= high) return KEEL_OK;
    return keel_fail(l->err, KEEL_E_INVALID, where, "\"%s\": expected %g to %g, got %g", key, low, high,
                     *out);
}

static keel_status read_int(const loading *l, const char *key, const char *where, int64_t *out) {
    double value = 0;
    KEEL_TRY(read_real(l, key, where, 1, 1e6, &value));
    *out = (int64_t)value;
    return value == floor(value) ? KEEL_OK
                                 : keel_fail(l->err, KEEL_E_INVALID, where,
                                             "\"%s\": expected a whole number, got %g", key, value);
}

static keel_status read_settings(loading *l) {
    const char *where = keel_path_join(&l->arena, l->dir, settings_name), *type = NULL;
    if (!where) return keel_nomem(l->err, l->dir);
    KEEL_TRY(keel_json_parse_file(where, &l->json, l->err));
    KEEL_TRY(keel_json_string(l->json, "model_type", true, &type, where, l->err));
    if (strcmp(type, "keel-decoder") != 0)
        return keel_fail(l->err, KEEL_E_UNSUPPORTED, where,
                         "expected model_type \"keel-decoder\", got \"%s\"", type);
    KEEL_TRY(keel_json_string(l->json, "split", true, &l->split, where, l->err));
    KEEL_TRY(keel_json_bool(l->json, "tuned", true, &l->tuned, where, l->err));
    KEEL_TRY(keel_base_space_read(l->json, where, &l->arena, &l->space, l->err));
    KEEL_TRY(read_int(l, "state_tokens", where, &l->config.state_tokens));
    KEEL_TRY(read_int(l, "candidate_tokens", where, &l->config.candidate_tokens));
    KEEL_TRY(read_real(l, "prior_factor", where, 0, 100, &l->config.prior_factor));
    KEEL_TRY(read_real(l, "mean", where, -1e6, 1e6, &l->mean));
    KEEL_TRY(read_real(l, "scale", where, 0, 1e6, &l->scale));
    KEEL_TRY(keel_json_bool(l->json, "adapter", true, &l->adapter, where, l->err));
    KEEL_TRY(keel_json_bool(l->json, "ngrams", true, &l->ngrams, where, l->err));
    l->config.ngrams = l->ngrams ? KEEL_BESIDE_YES : KEEL_BESIDE_NO;
    return KEEL_OK;
}

static keel_status load_beside(const loading *l, keel_decoder_base *model) {
    keel_base *beside = NULL;
    if (l->ngrams) KEEL_TRY(keel_beside_load(&beside, l->dir, l->err));
    return keel__decoder_base_join(model, beside, l->err);
}

static keel_status load_all(loading *l, keel_decoder_base **out) {
    keel_llama *llama;
    KEEL_TRY(keel_options_defaults(keel_decoder_base_options, &l->config, l->err));
    KEEL_TRY(read_settings(l));
    const char *whole = keel_path_join(&l->arena, l->dir, whole_name);
    if (!whole) return keel_nomem(l->err, l->dir);
    /* what was held in Q8_0 is computed with in Q8_0 again */
    const keel_llama_weights weights = keel_file_exists(whole) ? KEEL_LLAMA_Q8_0 : KEEL_LLAMA_AS_STORED;
    KEEL_TRY(keel__decoder_open_model(&llama, l->dir, weights, l->err));
    l->config.mode = KEEL_DECODER_NONE; /* what was learned is in the weights and the adapter */
    KEEL_TRY(keel__decoder_base_make(out, &l->config, llama, &l->space, l->err));
    keel_decoder_base *model = *out;
    model->tuned = l->tuned;
    model->mean = (float)l->mean;
    model->scale = (float)l->scale;
    model->split = keel_arena_strdup(&model->arena, l->split);
    if (!model->split) return keel_nomem(l->err, l->dir);
    return load_beside(l, model);
}

keel_status keel__decoder_base_load(keel_base **out, const char *dir, keel_err *err) {
    loading *l = keel_calloc(1, sizeof *l);
    keel_decoder_base *model = NULL;
    if (!l) return keel_nomem(err, dir);
    l->dir = dir;
    l->err = err;
    keel_status status = load_all(l, &model);
    cJSON_Delete(l->json);
    keel_arena_free(&l->arena);
    keel_free(l);
    if (status == KEEL_OK)
        *out = &model->base;
    else if (model)
        keel__decoder_base_close(&model->base);
    return status;
}

/* ---- models ---- */

keel_status keel__decoder_open_model(keel_llama **out, const char *path, keel_llama_weights weights,
                                     keel_err *err) {
    return keel_peft_open_llama(out, path, weights, err);
}

/* As it came: a writer of candidates whose likelihoods are a prior. */
keel_status keel__decoder_base_open(keel_base **out, const char *path, keel_err *err) {
    const keel_base_space space = {.space = KEEL_SPACE_CANDIDATES};
    struct keel_decoder_base_config config;
    keel_decoder_base *model;
    keel_llama *llama;
    KEEL_TRY(keel_options_defaults(keel_decoder_base_options, &config, err));
    config.mode = KEEL_DECODER_NONE;
    config.ngrams = KEEL_BESIDE_NO;
    KEEL_TRY(keel__decoder_open_model(&llama, path, KEEL_LLAMA_AS_STORED, err));
    KEEL_TRY(keel__decoder_base_make(&model, &config, llama, &space, err));
    *out = &model->base;
    return KEEL_OK;
}

keel_status keel__decoder_base_starts_from(const char *path, bool *out, keel_err *err) {
    (void)err;
    *out = keel_llama_is(path);
    return KEEL_OK;
}
