#include "policies/encoder_base/file.h"

#include <string.h>

#include "core/file.h"
#include "core/json.h"
#include "policies/compress/compress.h"
#include "policies/transformer/peft.h"

static const char model_type[] = "keel-encoder", settings_name[] = "encoder.json",
                  heads_name[] = "heads.safetensors", adapter_name[] = "adapter";

/* ---- tensors: the same list for saving and loading ---- */

enum { MOST_TENSORS = 2 * KEEL_N_HEADS + 6 };

typedef struct tensor_list {
    size_t count;
    keel_named_tensor tensor[MOST_TENSORS]; /* data point into the model */
} tensor_list;

static void list(tensor_list *to, const char *name, keel_dtype dtype, size_t rows, size_t cols,
                 const void *data) {
    if (rows > 0) to->tensor[to->count++] = keel_named_tensor_of(name, dtype, rows, cols, data);
}

static void list_model(tensor_list *to, const keel_encoder_base *model) {
    const keel_params *params = &model->bert->params;
    *to = (tensor_list){0};
    const size_t vector = keel__encoder_head(model, KEEL_HEAD_VECTOR); /* of tuning alone */
    for (size_t i = keel_bert_first_head(model->bert); i < params->count; i++)
        if (params->table[i].cols > 0 && i != vector && i != vector + 1)
            list(to, params->table[i].name, KEEL_F32, params->table[i].rows, params->table[i].cols,
                 keel_params_at(params, i));
    list(to, "logits.mean", KEEL_F32, model->n_state + model->n_candidate, 0, model->mean);
    list(to, "logits.scale", KEEL_F32, model->n_state + model->n_candidate, 0, model->scale);
}

static void list_crossed(tensor_list *to, const keel_encoder_base *model) {
    list(to, "state.key", KEEL_I64, model->states.n, 0, model->states.key);
    if (model->states.width)
        list(to, "state.logits", KEEL_F32, model->states.n, model->states.width, model->states.logits);
    list(to, "candidate.key", KEEL_I64, model->candidates.n, 0, model->candidates.key);
    if (model->candidates.width)
        list(to, "candidate.logits", KEEL_F32, model->candidates.n, model->candidates.width,
             model->candidates.logits);
}

/* ---- saving ---- */

static const char *const candidates_names[] = {"none", "apart", "cross"};

static bool add_heads(const keel_encoder_base *model, cJSON *json) {
    cJSON *heads = cJSON_AddArrayToObject(json, "heads");
    bool good = heads != NULL;
    for (int h = 0; good && h < KEEL_N_HEADS; h++)
        if (model->uses[h]) good = keel_json_add(heads, NULL, cJSON_CreateString(keel__encoder_heads[h]));
    return good;
}

static keel_status save_settings(const keel_encoder_base *model, const char *dir, keel_err *err) {
    const struct keel_encoder_base_config *c = &model->config;
    const keel_base_settings all = {.split = model->split,
                                    .state_tokens = c->state_tokens,
                                    .candidate_tokens = c->candidate_tokens,
                                    .ngrams = model->base.beside != NULL};
    cJSON *json = keel_base_settings_json(&model->base, model_type, &all);
    if (json && cJSON_AddStringToObject(json, "candidates", candidates_names[c->candidates]) &&
        cJSON_AddBoolToObject(json, "normalise", model->normalise) && add_heads(model, json))
        return keel_base_settings_write(json, dir, settings_name, err);
    cJSON_Delete(json);
    return keel_nomem(err, dir);
}

static keel_status save_heads(const keel_encoder_base *model, const char *dir, keel_arena *arena,
                              keel_err *err) {
    tensor_list tensors;
    const char *path = keel_path_join(arena, dir, heads_name);
    if (!path) return keel_nomem(err, dir);
    list_model(&tensors, model);
    list_crossed(&tensors, model);
    return keel_safetensors_write(path, tensors.tensor, tensors.count, NULL, err);
}

/* What LoRA tuned, for who has the encoder that it was tuned from. */
static keel_status save_adapter(const keel_bert *bert, const char *dir, keel_arena *arena, keel_err *err) {
    const char *path = keel_path_join(arena, dir, adapter_name);
    if (!path) return keel_nomem(err, dir);
    KEEL_TRY(keel_folder_make(path, err));
    return keel_peft_save(bert, path, err);
}

keel_status keel__encoder_base_save(const keel_base *base, const char *dir, keel_err *err) {
    const keel_encoder_base *model = (const keel_encoder_base *)base;
    keel_bert encoder = *model->bert; /* borrowed: as its folder says that it ends */
    encoder.config.normalise = model->normalise;
    keel_arena arena = {0};
    keel_status status = keel_bert_save(&encoder, dir, err);
    if (status == KEEL_OK) status = save_settings(model, dir, err);
    if (status == KEEL_OK) status = save_heads(model, dir, &arena, err);
    if (status == KEEL_OK && encoder.lora.rank) status = save_adapter(&encoder, dir, &arena, err);
    if (status == KEEL_OK && model->base.beside) status = keel_beside_save(model->base.beside, dir, err);
    keel_arena_free(&arena);
    return status;
}

/* ---- loading ---- */

typedef struct loading {
    const char *dir;
    keel_base_settings all;
    keel_safetensors file;
    struct keel_encoder_base_config config;
    bool uses[KEEL_N_HEADS], normalise;
    keel_err *err;
} loading;

static keel_status find_name(const char *const *names, int n, const char *name, const char *key,
                             const char *where, int *out, keel_err *err) {
    for (*out = 0; *out < n; ++*out)
        if (strcmp(names[*out], name) == 0) return KEEL_OK;
    return keel_fail(err, KEEL_E_INVALID, where, "\"%s\": \"%s\" is not known", key, name);
}

static keel_status read_heads(loading *l, const char *where) {
    const cJSON *heads = NULL, *item;
    int head;
    KEEL_TRY(keel_json_array(l->all.json, "heads", true, &heads, where, l->err));
    cJSON_ArrayForEach (item, heads) {
        if (!cJSON_IsString(item)) return keel_fail(l->err, KEEL_E_PARSE, where, "\"heads\": expected texts");
        KEEL_TRY(
            find_name(keel__encoder_heads, KEEL_N_HEADS, item->valuestring, "heads", where, &head, l->err));
        if (head == KEEL_HEAD_VECTOR)
            return keel_fail(l->err, KEEL_E_INVALID, where, "\"heads\": \"vector\" is of tuning alone");
        l->uses[head] = true;
    }
    const bool sets = l->all.space.space == KEEL_SPACE_CANDIDATES;
    const bool reads = l->uses[KEEL_HEAD_OUTCOME] || l->uses[KEEL_HEAD_PREFERENCE] || l->uses[KEEL_HEAD_RANK];
    if ((l->uses[KEEL_HEAD_ACT] && sets) ||
        (reads && (!sets || l->config.candidates == KEEL_CANDIDATES_NONE)))
        return keel_fail(l->err, KEEL_E_INVALID, where, "\"heads\" do not fit the space %s",
                         keel_space_name(l->all.space.space));
    return KEEL_OK;
}

static keel_status read_settings(loading *l) {
    const keel_base_settings *all = &l->all;
    const char *candidates = NULL;
    KEEL_TRY(keel_base_settings_read(&l->all, l->dir, settings_name, model_type, l->err));
    KEEL_TRY(keel_json_string(all->json, "candidates", true, &candidates, all->where, l->err));
    KEEL_TRY(
        find_name(candidates_names, 3, candidates, "candidates", all->where, &l->config.candidates, l->err));
    KEEL_TRY(keel_json_bool(all->json, "normalise", true, &l->normalise, all->where, l->err));
    l->config.state_tokens = all->state_tokens;
    l->config.candidate_tokens = all->candidate_tokens;
    l->config.ngrams = all->ngrams ? KEEL_BESIDE_YES : KEEL_BESIDE_NO;
    return read_heads(l, all->where);
}

static keel_status fail_tensor(const loading *l, const char *name, const char *what) {
    return keel_fail(l->err, KEEL_E_INVALID, l->file.path, "tensor \"%s\" %s", name, what);
}

/* A table of crossed logits: none, or keys that rise with a row of logits each. */
static keel_status load_crossed(loading *l, const char *key, const char *logits, size_t width,
                                keel_arena *arena, keel_crossed *out) {
    const keel_named_tensor *keys = keel_safetensors_find(&l->file, key);
    if (!keys || width == 0) return KEEL_OK;
    const size_t n = keys->dtype == KEEL_I64 && keys->n_dims == 1 ? keys->shape[0] : 0;
    const keel_named_tensor *rows = keel_safetensors_find(&l->file, logits);
    if (n == 0 || !rows || rows->n_dims != 2 || rows->shape[0] != n || rows->shape[1] != width)
        return fail_tensor(l, logits, "does not fit its keys"); /* before room for them is made */
    *out = (keel_crossed){n, width, keel_arena_calloc(arena, n + 1, sizeof *out->key),
                          keel_arena_calloc(arena, n * width + 1, sizeof *out->logits)};
    if (!out->key || !out->logits) return keel_nomem(l->err, l->dir);
    tensor_list tensors = {0};
    list(&tensors, key, KEEL_I64, n, 0, out->key);
    list(&tensors, logits, KEEL_F32, n, width, out->logits);
    for (size_t i = 0; i < tensors.count; i++)
        KEEL_TRY(keel_safetensors_take(&l->file, &tensors.tensor[i], l->err));
    for (size_t i = 1; i < n; i++)
        if (out->key[i] <= out->key[i - 1]) return fail_tensor(l, key, "holds keys that do not rise");
    return KEEL_OK;
}

static keel_status load_heads(loading *l, keel_encoder_base *model) {
    const char *path = keel_path_join(&l->all.arena, l->dir, heads_name);
    tensor_list tensors;
    if (!path) return keel_nomem(l->err, l->dir);
    KEEL_TRY(keel_safetensors_read(path, &l->file, l->err));
    list_model(&tensors, model);
    for (size_t i = 0; i < tensors.count; i++)
        KEEL_TRY(keel_safetensors_take(&l->file, &tensors.tensor[i], l->err));
    KEEL_TRY(load_crossed(l, "state.key", "state.logits", model->n_state, &model->arena, &model->states));
    KEEL_TRY(load_crossed(l, "candidate.key", "candidate.logits", model->n_candidate, &model->arena,
                          &model->candidates));
    model->base.crossed = model->states.n + model->candidates.n > 0;
    return KEEL_OK;
}

static keel_status load_beside(const loading *l, keel_encoder_base *model) {
    keel_base *beside = NULL;
    KEEL_TRY(keel_beside_load(&beside, l->dir, l->err));
    return keel__encoder_base_join(model, beside, l->err);
}

static keel_status load_all(loading *l, keel_encoder_base **out) {
    keel_bert *bert;
    KEEL_TRY(keel_options_defaults(keel_encoder_base_options, &l->config, l->err));
    KEEL_TRY(read_settings(l));
    KEEL_TRY(keel_bert_load(&bert, l->dir, l->err));
    l->config.mode = KEEL_BERT_HEAD; /* what was learned is in the weights */
    KEEL_TRY(keel__encoder_base_make(out, &l->config, bert, &l->all.space, l->uses, l->err));
    keel_encoder_base *model = *out;
    model->normalise = l->normalise;
    model->split = keel_arena_strdup(&model->arena, l->all.split);
    if (!model->split) return keel_nomem(l->err, l->dir);
    KEEL_TRY(load_heads(l, model));
    return l->all.ngrams ? load_beside(l, model) : KEEL_OK;
}

keel_status keel__encoder_base_load(keel_base **out, const char *dir, keel_err *err) {
    loading *l = keel_calloc(1, sizeof *l);
    keel_encoder_base *model = NULL;
    if (!l) return keel_nomem(err, dir);
    l->dir = dir;
    l->err = err;
    keel_status status = load_all(l, &model);
    keel_safetensors_free(&l->file);
    keel_base_settings_free(&l->all);
    keel_free(l);
    if (status == KEEL_OK)
        *out = &model->base;
    else if (model)
        keel_base_close(&model->base);
    return status;
}

keel_status keel__encoder_base_starts_from(const char *dir, bool *out, keel_err *err) {
    keel_arena arena = {0};
    cJSON *json = NULL;
    const char *type = NULL, *path = keel_path_join(&arena, dir, "config.json");
    keel_status status = path ? KEEL_OK : keel_nomem(err, dir);
    *out = false;
    if (status == KEEL_OK && keel_file_exists(path)) status = keel_json_parse_file(path, &json, err);
    if (status == KEEL_OK && json) status = keel_json_string(json, "model_type", true, &type, path, err);
    *out = type != NULL;
    cJSON_Delete(json);
    keel_arena_free(&arena);
    return status;
}

/* ---- smaller ---- */

static keel_status compress(keel_bert *bert, const keel_compress_job *job, keel_err *err) {
    if (bert->lora.rank) KEEL_TRY(keel_bert_settle(bert, err));
    return keel_compress_bert(bert, job, err);
}

/* Crossed logits stay: they are what encoders that never saw a text said of it. */
keel_status keel__encoder_base_compress(keel_base *base, const keel_compress_job *job, keel_err *err) {
    keel_encoder_base *model = (keel_encoder_base *)base;
    return compress(model->bert, job, err);
}

keel_status keel__encoder_base_compress_model(const char *path, const char *dir, const keel_compress_job *job,
                                              keel_err *err) {
    keel_bert *bert;
    KEEL_TRY(keel_peft_open(&bert, path, err));
    keel_status status = compress(bert, job, err);
    if (status == KEEL_OK) status = keel_bert_save(bert, dir, err);
    keel_bert_close(bert);
    return status;
}
