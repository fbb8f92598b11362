#include "policies/decoder_base/file.h"

#include <string.h>

#include "core/file.h"
#include "core/json.h"
#include "policies/compress/compress.h"
#include "policies/transformer/peft.h"

static const char model_type[] = "keel-decoder", settings_name[] = "decoder.json",
                  whole_name[] = "model.gguf", adapter_name[] = "adapter";

/* ---- saving ---- */

static bool has_adapter(const keel_llama *llama) {
    return llama->lora.rank > 0 || llama->n_virtual > 0;
}

static keel_status save_settings(const keel_decoder_base *model, const char *dir, keel_err *err) {
    const struct keel_decoder_base_config *c = &model->config;
    const keel_base_settings all = {.split = model->split,
                                    .state_tokens = c->state_tokens,
                                    .candidate_tokens = c->candidate_tokens,
                                    .ngrams = model->base.beside != NULL};
    cJSON *json = keel_base_settings_json(&model->base, model_type, &all);
    if (json && cJSON_AddBoolToObject(json, "tuned", model->tuned) &&
        cJSON_AddNumberToObject(json, "prior_factor", c->prior_factor) &&
        cJSON_AddNumberToObject(json, "mean", (double)model->mean) &&
        cJSON_AddNumberToObject(json, "scale", (double)model->scale) &&
        cJSON_AddBoolToObject(json, "adapter", has_adapter(model->llama)))
        return keel_base_settings_write(json, dir, settings_name, err);
    cJSON_Delete(json);
    return keel_nomem(err, dir);
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
    keel_status status = keel_llama_save(model->llama, dir, KEEL_LLAMA_AS_HELD, 0, err);
    if (status == KEEL_OK) status = save_settings(model, dir, err);
    if (status == KEEL_OK && has_adapter(model->llama)) status = save_adapter(model->llama, dir, &arena, err);
    if (status == KEEL_OK && model->base.beside) status = keel_beside_save(model->base.beside, dir, err);
    keel_arena_free(&arena);
    return status;
}

/* ---- loading ---- */

static keel_status read_settings(const keel_base_settings *s, struct keel_decoder_base_config *config,
                                 keel_decoder_base *to, keel_err *err) {
    double mean, scale;
    KEEL_TRY(keel_json_bool(s->json, "tuned", true, &to->tuned, s->where, err));
    KEEL_TRY(keel_base_settings_number(s, "prior_factor", 0, 100, &config->prior_factor, err));
    KEEL_TRY(keel_base_settings_number(s, "mean", -1e6, 1e6, &mean, err));
    KEEL_TRY(keel_base_settings_number(s, "scale", 0, 1e6, &scale, err));
    to->mean = (float)mean;
    to->scale = (float)scale;
    config->state_tokens = s->state_tokens;
    config->candidate_tokens = s->candidate_tokens;
    config->ngrams = s->ngrams ? KEEL_BESIDE_YES : KEEL_BESIDE_NO;
    config->mode = KEEL_DECODER_NONE; /* what was learned is in the weights and the adapter */
    return KEEL_OK;
}

static keel_status load_beside(const char *dir, const keel_base_settings *s, keel_decoder_base *model,
                               keel_err *err) {
    keel_base *beside = NULL;
    if (s->ngrams) KEEL_TRY(keel_beside_load(&beside, dir, err));
    return keel__decoder_base_join(model, beside, err);
}

static keel_status load_all(const char *dir, keel_base_settings *s, keel_decoder_base **out, keel_err *err) {
    struct keel_decoder_base_config config;
    keel_decoder_base read = {0};
    keel_llama *llama;
    KEEL_TRY(keel_options_defaults(keel_decoder_base_options, &config, err));
    KEEL_TRY(keel_base_settings_read(s, dir, settings_name, model_type, err));
    KEEL_TRY(read_settings(s, &config, &read, err));
    const char *whole = keel_path_join(&s->arena, dir, whole_name);
    if (!whole) return keel_nomem(err, dir);
    /* as it was written before there were folders of compressed weights: Q8_0 was held so */
    const keel_llama_weights weights = keel_file_exists(whole) ? KEEL_LLAMA_Q8_0 : KEEL_LLAMA_AS_STORED;
    KEEL_TRY(keel__decoder_open_model(&llama, dir, weights, err));
    KEEL_TRY(keel__decoder_base_make(out, &config, llama, &s->space, err));
    keel_decoder_base *model = *out;
    model->tuned = read.tuned;
    model->mean = read.mean;
    model->scale = read.scale;
    model->split = keel_arena_strdup(&model->arena, s->split);
    return model->split ? load_beside(dir, s, model, err) : keel_nomem(err, dir);
}

keel_status keel__decoder_base_load(keel_base **out, const char *dir, keel_err *err) {
    keel_base_settings settings = {0};
    keel_decoder_base *model = NULL;
    keel_status status = load_all(dir, &settings, &model, err);
    keel_base_settings_free(&settings);
    if (status == KEEL_OK)
        *out = &model->base;
    else if (model)
        keel_base_close(&model->base);
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

/* ---- smaller ---- */

/* Corrections become the weights' own, but for virtual tokens, which stay beside them. */
static keel_status compress(keel_llama *llama, const keel_compress_job *job, keel_err *err) {
    if (!llama->n_virtual) KEEL_TRY(keel_llama_settle(llama, err));
    return keel_compress_llama(llama, job, err);
}

keel_status keel__decoder_base_compress(keel_base *base, const keel_compress_job *job, keel_err *err) {
    keel_decoder_base *model = (keel_decoder_base *)base;
    return compress(model->llama, job, err);
}

keel_status keel__decoder_base_compress_model(const char *path, const char *dir, const keel_compress_job *job,
                                              keel_err *err) {
    keel_llama *llama;
    KEEL_TRY(keel__decoder_open_model(&llama, path, KEEL_LLAMA_AS_STORED, err));
    keel_status status = compress(llama, job, err);
    if (status == KEEL_OK) status = keel_llama_save(llama, dir, KEEL_LLAMA_AS_HELD, 0, err);
    keel_llama_close(llama);
    return status;
}
