#include "policies/encoder_base/file.h"

#include <math.h>
#include <string.h>

#include "core/file.h"
#include "core/json.h"
#include "policies/beside.h"
#include "policies/transformer/peft.h"

static const char settings_name[] = "encoder.json", heads_name[] = "heads.safetensors",
                  adapter_name[] = "adapter";

/* ---- tensors: the same list for saving and loading ---- */

enum { MOST_TENSORS = 2 * KEEL_N_HEADS + 6 };

typedef struct tensor_list {
    size_t count;
    keel_named_tensor tensor[MOST_TENSORS]; /* data point into the model */
} tensor_list;

static void list(tensor_list *to, const char *name, keel_dtype dtype, size_t rows, size_t cols,
                 const void *data) {
    const size_t size = dtype == KEEL_I64 ? 8 : 4, n = rows * (cols ? cols : 1);
    if (n > 0)
        to->tensor[to->count++] = (keel_named_tensor){.name = name,
                                                      .dtype = dtype,
                                                      .n_dims = cols ? 2 : 1,
                                                      .shape = {rows, cols},
                                                      .data = data,
                                                      .bytes = n * size};
}

static void list_model(tensor_list *to, const keel_encoder_base *model) {
    const keel_params *params = &model->bert->params;
    *to = (tensor_list){0};
    for (size_t i = keel_bert_first_head(model->bert); i < params->count; i++)
        if (params->table[i].cols > 0)
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

static cJSON *settings_json(const keel_encoder_base *model) {
    const struct keel_encoder_base_config *c = &model->config;
    cJSON *json = cJSON_CreateObject(), *heads = NULL;
    bool good = json && cJSON_AddStringToObject(json, "model_type", "keel-encoder") &&
                cJSON_AddStringToObject(json, "split", model->split) &&
                keel_base_space_write(&model->base, json) &&
                cJSON_AddNumberToObject(json, "state_tokens", (double)c->state_tokens) &&
                cJSON_AddNumberToObject(json, "candidate_tokens", (double)c->candidate_tokens) &&
                cJSON_AddStringToObject(json, "candidates", candidates_names[c->candidates]) &&
                cJSON_AddBoolToObject(json, "ngrams", model->beside != NULL) &&
                cJSON_AddBoolToObject(json, "normalise", model->normalise) &&
                (heads = cJSON_AddArrayToObject(json, "heads"));
    for (int h = 0; good && h < KEEL_N_HEADS; h++)
        if (model->uses[h]) good = keel_json_add(heads, NULL, cJSON_CreateString(keel__encoder_heads[h]));
    if (good) return json;
    cJSON_Delete(json);
    return NULL;
}

static keel_status save_settings(const keel_encoder_base *model, const char *dir, keel_arena *arena,
                                 keel_err *err) {
    cJSON *json = settings_json(model);
    const char *path = keel_path_join(arena, dir, settings_name);
    keel_status status = json && path ? keel_json_write_file(path, json, err) : keel_nomem(err, dir);
    cJSON_Delete(json);
    return status;
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
    if (status == KEEL_OK) status = save_settings(model, dir, &arena, err);
    if (status == KEEL_OK) status = save_heads(model, dir, &arena, err);
    if (status == KEEL_OK && encoder.lora.rank) status = save_adapter(&encoder, dir, &arena, err);
    if (status == KEEL_OK && model->beside) status = keel_beside_save(model->beside, dir, err);
    keel_arena_free(&arena);
    return status;
}

/* ---- loading ---- */

typedef struct loading {
    const char *dir;
    keel_arena arena;
    cJSON *json;
    keel_safetensors file;
    struct keel_encoder_base_config config;
    keel_base_space space;
    const char *split; /* into the JSON value */
    bool uses[KEEL_N_HEADS], ngrams, normalise;
    keel_err *err;
} loading;

static keel_status read_int(const loading *l, const char *key, const char *where, int64_t *out) {
    double value = 0;
    KEEL_TRY(keel_json_number(l->json, key, true, &value, where, l->err));
    if (!(value >= 0 && value <= 1e6) || value != floor(value))
        return keel_fail(l->err, KEEL_E_INVALID, where,
                         "\"%s\": expected a whole number of 0 to 1000000, got %g", key, value);
    *out = (int64_t)value;
    return KEEL_OK;
}

static keel_status find_name(const char *const *names, int n, const char *name, const char *key,
                             const char *where, int *out, keel_err *err) {
    for (*out = 0; *out < n; ++*out)
        if (strcmp(names[*out], name) == 0) return KEEL_OK;
    return keel_fail(err, KEEL_E_INVALID, where, "\"%s\": \"%s\" is not known", key, name);
}

static keel_status read_heads(loading *l, const char *where) {
    const cJSON *heads = NULL, *item;
    int head;
    KEEL_TRY(keel_json_array(l->json, "heads", true, &heads, where, l->err));
    cJSON_ArrayForEach (item, heads) {
        if (!cJSON_IsString(item)) return keel_fail(l->err, KEEL_E_PARSE, where, "\"heads\": expected texts");
        KEEL_TRY(
            find_name(keel__encoder_heads, KEEL_N_HEADS, item->valuestring, "heads", where, &head, l->err));
        l->uses[head] = true;
    }
    const bool sets = l->space.space == KEEL_SPACE_CANDIDATES;
    const bool reads = l->uses[KEEL_HEAD_OUTCOME] || l->uses[KEEL_HEAD_PREFERENCE] || l->uses[KEEL_HEAD_RANK];
    if ((l->uses[KEEL_HEAD_ACT] && sets) ||
        (reads && (!sets || l->config.candidates == KEEL_CANDIDATES_NONE)))
        return keel_fail(l->err, KEEL_E_INVALID, where, "\"heads\" do not fit the space %s",
                         keel_space_name(l->space.space));
    return KEEL_OK;
}

static keel_status read_settings(loading *l) {
    const char *where = keel_path_join(&l->arena, l->dir, settings_name), *type = NULL, *candidates = NULL;
    if (!where) return keel_nomem(l->err, l->dir);
    KEEL_TRY(keel_json_parse_file(where, &l->json, l->err));
    KEEL_TRY(keel_json_string(l->json, "model_type", true, &type, where, l->err));
    if (strcmp(type, "keel-encoder") != 0)
        return keel_fail(l->err, KEEL_E_UNSUPPORTED, where,
                         "expected model_type \"keel-encoder\", got \"%s\"", type);
    KEEL_TRY(keel_json_string(l->json, "split", true, &l->split, where, l->err));
    KEEL_TRY(keel_base_space_read(l->json, where, &l->arena, &l->space, l->err));
    KEEL_TRY(read_int(l, "state_tokens", where, &l->config.state_tokens));
    KEEL_TRY(read_int(l, "candidate_tokens", where, &l->config.candidate_tokens));
    KEEL_TRY(keel_json_string(l->json, "candidates", true, &candidates, where, l->err));
    KEEL_TRY(find_name(candidates_names, 3, candidates, "candidates", where, &l->config.candidates, l->err));
    KEEL_TRY(keel_json_bool(l->json, "ngrams", true, &l->ngrams, where, l->err));
    KEEL_TRY(keel_json_bool(l->json, "normalise", true, &l->normalise, where, l->err));
    l->config.ngrams = l->ngrams ? KEEL_NGRAMS_YES : KEEL_NGRAMS_NO;
    return read_heads(l, where);
}

static keel_status fail_tensor(const loading *l, const char *name, const char *what) {
    return keel_fail(l->err, KEEL_E_INVALID, l->file.path, "tensor \"%s\" %s", name, what);
}

static bool fits(const keel_named_tensor *have, const keel_named_tensor *want) {
    bool same =
        have && have->dtype == want->dtype && have->n_dims == want->n_dims && have->bytes == want->bytes;
    for (size_t i = 0; same && i < want->n_dims; i++) same = have->shape[i] == want->shape[i];
    return same;
}

/* Copies a tensor of exactly this type and shape to where the list points. */
static keel_status copy_tensor(const loading *l, const keel_named_tensor *want) {
    const keel_named_tensor *have = keel_safetensors_find(&l->file, want->name);
    if (!fits(have, want)) return fail_tensor(l, want->name, "is missing or of another type or shape");
    if (!keel_safetensors_finite(have))
        return fail_tensor(l, want->name, "holds numbers that are not finite");
    memcpy((void *)(uintptr_t)want->data, have->data, want->bytes);
    return KEEL_OK;
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
    for (size_t i = 0; i < tensors.count; i++) KEEL_TRY(copy_tensor(l, &tensors.tensor[i]));
    for (size_t i = 1; i < n; i++)
        if (out->key[i] <= out->key[i - 1]) return fail_tensor(l, key, "holds keys that do not rise");
    return KEEL_OK;
}

static keel_status load_heads(loading *l, keel_encoder_base *model) {
    const char *path = keel_path_join(&l->arena, l->dir, heads_name);
    tensor_list tensors;
    if (!path) return keel_nomem(l->err, l->dir);
    KEEL_TRY(keel_safetensors_read(path, &l->file, l->err));
    list_model(&tensors, model);
    for (size_t i = 0; i < tensors.count; i++) KEEL_TRY(copy_tensor(l, &tensors.tensor[i]));
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
    KEEL_TRY(keel__encoder_base_make(out, &l->config, bert, &l->space, l->uses, l->err));
    keel_encoder_base *model = *out;
    model->normalise = l->normalise;
    model->split = keel_arena_strdup(&model->arena, l->split);
    if (!model->split) return keel_nomem(l->err, l->dir);
    KEEL_TRY(load_heads(l, model));
    return l->ngrams ? load_beside(l, model) : KEEL_OK;
}

keel_status keel__encoder_base_load(keel_base **out, const char *dir, keel_err *err) {
    loading *l = keel_calloc(1, sizeof *l);
    keel_encoder_base *model = NULL;
    if (!l) return keel_nomem(err, dir);
    l->dir = dir;
    l->err = err;
    keel_status status = load_all(l, &model);
    keel_safetensors_free(&l->file);
    cJSON_Delete(l->json);
    keel_arena_free(&l->arena);
    keel_free(l);
    if (status == KEEL_OK)
        *out = &model->base;
    else if (model)
        keel__encoder_base_close(&model->base);
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
