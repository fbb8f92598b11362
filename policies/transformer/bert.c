#include "policies/transformer/bert_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/gemm.h"
#include "core/json.h"
#include "policies/transformer/bert_matrix.h"
#include "policies/transformer/layer_kept.h"
#include "policies/transformer/model_folder.h"
#include "policies/transformer/weights.h"

/* ---- configuration ---- */

typedef struct reader {
    keel_bert *to;
    keel_model_folder from;
    bool lowercase; /* sentence_bert_config.json wants capital letters made small */
    keel_model_quantised quantised;
} reader;

/* A key that must have this value, or be missing. */
static keel_status check_text(const reader *r, const cJSON *json, const char *key, const char *expected) {
    const char *found = expected;
    KEEL_TRY(keel_json_string(json, key, false, &found, r->from.path, r->from.err));
    if (strcmp(found, expected) == 0) return KEEL_OK;
    return keel_fail(r->from.err, KEEL_E_UNSUPPORTED, r->from.path, "%s: expected \"%s\", got \"%s\"", key,
                     expected, found);
}

static keel_status check_reads_both_ways(const reader *r, const cJSON *json) {
    bool decoder = false;
    KEEL_TRY(keel_json_bool(json, "is_decoder", false, &decoder, r->from.path, r->from.err));
    return decoder ? keel_fail(r->from.err, KEEL_E_UNSUPPORTED, r->from.path, "is_decoder: expected false")
                   : KEEL_OK;
}

static keel_status check_sizes(const reader *r) {
    const keel_bert_config *c = &r->to->config;
    if (c->head_dim || c->hidden % c->heads == 0) return KEEL_OK;
    return keel_fail(r->from.err, KEEL_E_INVALID, r->from.path, "hidden_size %zu is no multiple of %zu heads",
                     c->hidden, c->heads);
}

/* "keel_layers": {"head_dim": 32, "heads": [..], "inner": [..]} where pruning left fewer heads, or layers of
 * unequal sizes */
static keel_status read_layer_sizes(const reader *r, const cJSON *json) {
    keel_bert_config *c = &r->to->config;
    const cJSON *layers = NULL;
    keel_arena arena = {0};
    uint32_t *heads, *inner;
    KEEL_TRY(keel_json_object(json, "keel_layers", false, &layers, r->from.path, r->from.err));
    if (!layers) return KEEL_OK;
    if (keel_json_get(layers, "head_dim"))
        KEEL_TRY(keel_model_folder_size(&r->from, layers, "head_dim", 4096, &c->head_dim));
    keel_status status =
        keel_model_folder_sizes(&r->from, layers, "heads", c->layers, c->heads, &arena, &heads);
    if (status == KEEL_OK)
        status = keel_model_folder_sizes(&r->from, layers, "inner", c->layers, c->inner, &arena, &inner);
    if (status == KEEL_OK) status = keel_bert_set_sizes(r->to, heads, inner, r->from.err);
    keel_arena_free(&arena);
    return status;
}

/* None: one vector a token, pooled (policies/compress/student.h). */
static keel_status read_layers(reader *r, const cJSON *json) {
    const cJSON *layers = keel_json_get(json, "num_hidden_layers");
    if (cJSON_IsNumber(layers) && layers->valuedouble == 0) return KEEL_OK;
    return keel_model_folder_size(&r->from, json, "num_hidden_layers", 1024, &r->to->config.layers);
}

static keel_status read_config(void *context, const cJSON *json) {
    reader *r = context;
    keel_bert_config *c = &r->to->config;
    const char *type = "";
    *c = (keel_bert_config){.positions = 512, .types = 2, .epsilon = 1e-12, .normalise = true};
    KEEL_TRY(keel_json_string(json, "model_type", true, &type, r->from.path, r->from.err));
    if (strcmp(type, "bert") != 0) {
        keel_fail(r->from.err, KEEL_E_UNSUPPORTED, r->from.path, "model_type: expected \"bert\", got \"%s\"",
                  type);
        return keel_hint(r->from.err, "Keel reads BERT encoders, such as all-MiniLM-L6-v2");
    }
    KEEL_TRY(check_text(r, json, "hidden_act", "gelu"));
    KEEL_TRY(check_text(r, json, "position_embedding_type", "absolute"));
    KEEL_TRY(check_reads_both_ways(r, json));
    KEEL_TRY(keel_model_folder_quantised(&r->from, json, &r->quantised));
    KEEL_TRY(keel_model_folder_size(&r->from, json, "vocab_size", 1 << 24, &c->vocab));
    KEEL_TRY(keel_model_folder_size(&r->from, json, "hidden_size", 1 << 16, &c->hidden));
    KEEL_TRY(read_layers(r, json));
    KEEL_TRY(keel_model_folder_size(&r->from, json, "num_attention_heads", 1024, &c->heads));
    KEEL_TRY(keel_model_folder_size(&r->from, json, "intermediate_size", 1 << 18, &c->inner));
    KEEL_TRY(keel_model_folder_size(&r->from, json, "max_position_embeddings", 1 << 20, &c->positions));
    KEEL_TRY(keel_model_folder_size(&r->from, json, "type_vocab_size", 1024, &c->types));
    KEEL_TRY(keel_json_number(json, "layer_norm_eps", false, &c->epsilon, r->from.path, r->from.err));
    if (!(c->epsilon > 0 && c->epsilon < 1))
        return keel_fail(r->from.err, KEEL_E_INVALID, r->from.path,
                         "layer_norm_eps: expected above 0, got %g", c->epsilon);
    c->max_tokens = c->positions;
    KEEL_TRY(read_layer_sizes(r, json));
    return check_sizes(r);
}

/* tokenizer_config.json: a limit that may be anything up to 1e30, for none */
static keel_status read_limit(void *context, const cJSON *json) {
    reader *r = context;
    keel_bert_config *c = &r->to->config;
    double most = (double)c->positions;
    KEEL_TRY(keel_json_number(json, "model_max_length", false, &most, r->from.path, r->from.err));
    if (!(most >= 1 && floor(most) == most))
        return keel_fail(r->from.err, KEEL_E_INVALID, r->from.path,
                         "model_max_length: expected 1 or more, got %g", most);
    c->max_tokens = most < (double)c->positions ? (size_t)most : c->positions;
    return KEEL_OK;
}

/* sentence_bert_config.json, whose length goes before the tokenizer's */
static keel_status read_length(void *context, const cJSON *json) {
    reader *r = context;
    const cJSON *length = keel_json_get(json, "max_seq_length");
    KEEL_TRY(keel_json_bool(json, "do_lower_case", false, &r->lowercase, r->from.path, r->from.err));
    return length && !cJSON_IsNull(length)
               ? keel_model_folder_size(&r->from, json, "max_seq_length", r->to->config.positions,
                                        &r->to->config.max_tokens)
               : KEEL_OK;
}

/* config_sentence_transformers.json: a prompt that goes before every text would make other vectors. */
static keel_status read_prompt(void *context, const cJSON *json) {
    reader *r = context;
    const cJSON *name = keel_json_get(json, "default_prompt_name");
    if (!name || cJSON_IsNull(name)) return KEEL_OK;
    keel_fail(r->from.err, KEEL_E_UNSUPPORTED, r->from.path, "default_prompt_name: expected none");
    return keel_hint(r->from.err, "Keel puts no prompt before a text; null there says so");
}

/* 1_Pooling/config.json */
static keel_status take_pooling(const reader *r, const char *mode, int *found) {
    static const char *const known[] = {"mean", "cls"};
    int k = 0;
    while (k < 2 && strcmp(mode, known[k]) != 0) k++;
    if (k == 2 || *found >= 0)
        return keel_fail(r->from.err, KEEL_E_UNSUPPORTED, r->from.path,
                         "pooling_mode \"%s\": expected \"mean\" or \"cls\" alone", mode);
    *found = k;
    return KEEL_OK;
}

/* Up to version 5.1: {"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": false, ...} */
static keel_status read_old_pooling(const reader *r, const cJSON *json, int *found) {
    static const char *const known[][2] = {{"pooling_mode_mean_tokens", "mean"},
                                           {"pooling_mode_cls_token", "cls"}};
    const cJSON *item;
    cJSON_ArrayForEach (item, json) {
        const char *mode = item->string;
        if (!mode || strncmp(mode, "pooling_mode_", strlen("pooling_mode_")) != 0 || !cJSON_IsTrue(item))
            continue;
        for (int k = 0; k < 2; k++)
            if (strcmp(mode, known[k][0]) == 0) mode = known[k][1];
        KEEL_TRY(take_pooling(r, mode, found));
    }
    return KEEL_OK;
}

/* {"pooling_mode": "mean"}, or a list of one; without any: the mean. include_prompt is about prompts, which
 * Keel does not put. */
static keel_status read_pooling(void *context, const cJSON *json) {
    reader *r = context;
    const cJSON *mode = keel_json_get(json, "pooling_mode"), *item;
    int found = -1;
    if (cJSON_IsString(mode)) KEEL_TRY(take_pooling(r, mode->valuestring, &found));
    cJSON_ArrayForEach (item, mode)
        KEEL_TRY(take_pooling(r, cJSON_IsString(item) ? item->valuestring : "?", &found));
    if (!mode) KEEL_TRY(read_old_pooling(r, json, &found));
    if (mode && found < 0)
        return keel_fail(r->from.err, KEEL_E_INVALID, r->from.path,
                         "pooling_mode: expected \"mean\" or \"cls\"");
    r->to->config.first_token = found == 1;
    return KEEL_OK;
}

/* modules.json: a list of {"type": "sentence_transformers.models.Normalize", ...} */
static keel_status read_modules(void *context, const cJSON *json) {
    reader *r = context;
    static const char *const known[] = {"Transformer", "Pooling", "Normalize"};
    const cJSON *item;
    bool normalise = false;
    if (!cJSON_IsArray(json))
        return keel_fail(r->from.err, KEEL_E_PARSE, r->from.path, "expected a list of modules");
    cJSON_ArrayForEach (item, json) {
        const char *type = NULL, *name;
        size_t k = 0;
        KEEL_TRY(keel_json_string(item, "type", true, &type, r->from.path, r->from.err));
        name = strrchr(type, '.') ? strrchr(type, '.') + 1 : type;
        while (k < 3 && strcmp(name, known[k]) != 0) k++;
        if (k == 3)
            return keel_fail(r->from.err, KEEL_E_UNSUPPORTED, r->from.path,
                             "module \"%s\": expected Transformer, Pooling or Normalize", type);
        normalise |= k == 2;
    }
    r->to->config.normalise = normalise;
    return KEEL_OK;
}

/* ---- sizes of layers ---- */

keel_status keel_bert_set_sizes(keel_bert *bert, const uint32_t *heads, const uint32_t *inner,
                                keel_err *err) {
    keel_bert_config *c = &bert->config;
    const size_t n = c->layers;
    bool alike_heads, alike_inner;
    c->head_dim = keel_bert_head_dim(c);
    KEEL_TRY(keel_layer_largest(heads, c->layers, &c->heads, &alike_heads, "encoder", "heads", err));
    KEEL_TRY(keel_layer_largest(inner, c->layers, &c->inner, &alike_inner, "encoder", "channels", err));
    uint32_t *sizes = keel_calloc(2 * n + 1, sizeof *sizes);
    if (!sizes) return keel_nomem(err, "encoder");
    if (heads) memcpy(sizes, heads, n * sizeof *sizes);
    if (inner) memcpy(sizes + n, inner, n * sizeof *sizes);
    keel_free(bert->sizes);
    bert->sizes = sizes;
    c->layer_heads = alike_heads ? NULL : sizes;
    c->layer_inner = alike_inner ? NULL : sizes + n;
    return KEEL_OK;
}

/* ---- weights ---- */

static const keel__bert_source first_rows[KEEL_BERT_FIRST_LAYER] = {
    [KEEL_BERT_WORD] = {{"embeddings.word_embeddings.weight"}, 1, true},
    [KEEL_BERT_POSITION] = {{"embeddings.position_embeddings.weight"}, 1, true},
    [KEEL_BERT_TYPE] = {{"embeddings.token_type_embeddings.weight"}, 1, true},
    [KEEL_BERT_GAIN] = {{"embeddings.LayerNorm.weight"}, 1, false},
    [KEEL_BERT_BIAS] = {{"embeddings.LayerNorm.bias"}, 1, false},
};
static const keel__bert_source layer_rows[KEEL_BERT_LAYER] = {
    [KEEL_BERT_QKV] = {{"attention.self.query.weight", "attention.self.key.weight",
                        "attention.self.value.weight"},
                       3,
                       true},
    [KEEL_BERT_QKV_BIAS] =
        {{"attention.self.query.bias", "attention.self.key.bias", "attention.self.value.bias"}, 3, false},
    [KEEL_BERT_OUT] = {{"attention.output.dense.weight"}, 1, true},
    [KEEL_BERT_OUT_BIAS] = {{"attention.output.dense.bias"}, 1, false},
    [KEEL_BERT_GAIN_1] = {{"attention.output.LayerNorm.weight"}, 1, false},
    [KEEL_BERT_BIAS_1] = {{"attention.output.LayerNorm.bias"}, 1, false},
    [KEEL_BERT_UP] = {{"intermediate.dense.weight"}, 1, true},
    [KEEL_BERT_UP_BIAS] = {{"intermediate.dense.bias"}, 1, false},
    [KEEL_BERT_DOWN] = {{"output.dense.weight"}, 1, true},
    [KEEL_BERT_DOWN_BIAS] = {{"output.dense.bias"}, 1, false},
    [KEEL_BERT_GAIN_2] = {{"output.LayerNorm.weight"}, 1, false},
    [KEEL_BERT_BIAS_2] = {{"output.LayerNorm.bias"}, 1, false},
};

void keel__bert_shape(const keel_bert_config *c, size_t row, size_t *rows, size_t *cols) {
    const size_t first[KEEL_BERT_FIRST_LAYER][2] = {{c->vocab, c->hidden},
                                                    {c->positions, c->hidden},
                                                    {c->types, c->hidden},
                                                    {1, c->hidden},
                                                    {1, c->hidden}};
    const size_t at = row < KEEL_BERT_FIRST_LAYER ? 0 : (row - KEEL_BERT_FIRST_LAYER) / KEEL_BERT_LAYER,
                 heads = c->layers ? keel_bert_heads(c, at) * keel_bert_head_dim(c) : 0,
                 inner = c->layers ? keel_bert_inner(c, at) : 0;
    const size_t layer[KEEL_BERT_LAYER][2] = {{3 * heads, c->hidden}, {1, 3 * heads}, {c->hidden, heads},
                                              {1, c->hidden},         {1, c->hidden}, {1, c->hidden},
                                              {inner, c->hidden},     {1, inner},     {c->hidden, inner},
                                              {1, c->hidden},         {1, c->hidden}, {1, c->hidden}};
    const size_t *found =
        row < KEEL_BERT_FIRST_LAYER ? first[row] : layer[(row - KEEL_BERT_FIRST_LAYER) % KEEL_BERT_LAYER];
    *rows = found[0];
    *cols = found[1];
}

const keel__bert_source *keel__bert_source_of(size_t row) {
    return row < KEEL_BERT_FIRST_LAYER ? &first_rows[row]
                                       : &layer_rows[(row - KEEL_BERT_FIRST_LAYER) % KEEL_BERT_LAYER];
}

void keel__bert_name(size_t row, const char *name, char out[128]) {
    if (row < KEEL_BERT_FIRST_LAYER)
        snprintf(out, 128, "%s", name);
    else
        snprintf(out, 128, "encoder.layer.%zu.%s", (row - KEEL_BERT_FIRST_LAYER) / KEEL_BERT_LAYER, name);
}

/* With the prefix of a model with a head, and the names that layer norms had in old files. */
static const keel_named_tensor *find_tensor(const keel_weights *weights, const char *name,
                                            const keel_safetensors **shard) {
    static const char *const olds[][2] = {{"LayerNorm.weight", "LayerNorm.gamma"},
                                          {"LayerNorm.bias", "LayerNorm.beta"}};
    char other[192], old[160];
    const keel_named_tensor *found = keel_weights_find(weights, name, shard);
    snprintf(other, sizeof other, "bert.%s", name);
    if (!found) found = keel_weights_find(weights, other, shard);
    for (int i = 0; i < 2 && !found; i++) {
        const char *at = strstr(name, olds[i][0]);
        if (!at) continue;
        snprintf(old, sizeof old, "%.*s%s", (int)(at - name), name, olds[i][1]);
        found = keel_weights_find(weights, old, shard);
        snprintf(other, sizeof other, "bert.%s", old);
        if (!found) found = keel_weights_find(weights, other, shard);
    }
    return found;
}

/* What is read of a folder's weights. */
typedef struct weights_reader {
    const reader *r;
    keel_weights file;
    size_t count;           /* rows */
    keel_matrix_type *type; /* [count] */
    keel__bert_rooms rooms;
    keel_arena arena;
} weights_reader;

/* The i-th tensor of a row: of the shape that the configuration asks for, F32 whatever float it is in the
 * file, into `to`; NULL: it is looked at alone. */
static keel_status read_floats(const weights_reader *w, size_t row, size_t i, keel_real *to) {
    const keel__bert_source *from = keel__bert_source_of(row);
    keel_err *err = w->r->from.err;
    char name[128];
    size_t rows, cols;
    const keel_safetensors *shard = NULL;
    keel__bert_name(row, from->name[i], name);
    keel__bert_shape(&w->r->to->config, row, &rows, &cols);
    const size_t n_dims = from->table ? 2 : 1;
    const size_t matrix[2] = {rows / from->n, cols}, vector[1] = {rows * cols / from->n};
    const size_t *shape = from->table ? matrix : vector;
    const keel_named_tensor *tensor = find_tensor(&w->file, name, &shard);
    if (!tensor) return keel_fail(err, KEEL_E_INVALID, w->r->from.dir, "the tensor \"%s\" is missing", name);
    return to ? keel_safetensors_copy(shard, tensor->name, shape, n_dims, to + i * vector[0], err)
              : keel_safetensors_check(shard, tensor->name, shape, n_dims, err);
}

/* The same where it lies in another number format; else *out has no data. */
static keel_status find_held(const weights_reader *w, size_t row, size_t i, keel_matrix *out) {
    const keel__bert_source *from = keel__bert_source_of(row);
    char name[128];
    size_t rows, cols;
    *out = (keel_matrix){0};
    if (!from->table) return KEEL_OK;
    keel__bert_name(row, from->name[i], name);
    keel__bert_shape(&w->r->to->config, row, &rows, &cols);
    return keel_weights_held(&w->file, name, rows / from->n, cols, out, w->r->from.err);
}

/* Whether all tensors of a row are there; query, key and value in one number format. */
static keel_status look_at(weights_reader *w, size_t row) {
    const keel__bert_source *from = keel__bert_source_of(row);
    for (size_t i = 0; i < from->n; i++) {
        keel_matrix held;
        KEEL_TRY(find_held(w, row, i, &held));
        if (!held.data) KEEL_TRY(read_floats(w, row, i, NULL));
        if (i > 0 && held.type != w->type[row])
            return keel_fail(w->r->from.err, KEEL_E_INVALID, w->r->from.dir,
                             "layer %zu: query, key and value are in different number formats",
                             (row - KEEL_BERT_FIRST_LAYER) / KEEL_BERT_LAYER);
        w->type[row] = held.type; /* F32 where it is not held */
    }
    return KEEL_OK;
}

static keel_status take(const weights_reader *w, size_t row) {
    const keel__bert_source *from = keel__bert_source_of(row);
    for (size_t i = 0; i < from->n; i++) {
        keel_matrix held;
        if (w->type[row] == KEEL_MATRIX_F32) {
            KEEL_TRY(read_floats(w, row, i, keel_params_at(&w->rooms.params, row)));
            continue;
        }
        KEEL_TRY(find_held(w, row, i, &held));
        w->rooms.compressed[row].inputs = held.inputs;
        memcpy(keel__bert_rooms_row(&w->rooms, row, i * held.rows), held.data,
               held.rows * keel_matrix_row_bytes(held.type, held.cols));
    }
    return KEEL_OK;
}

static keel_status make_rooms(weights_reader *w) {
    keel_err *err = w->r->from.err;
    keel_param *table = keel_arena_calloc(&w->arena, w->count, sizeof *table);
    char(*names)[128] = keel_arena_calloc(&w->arena, w->count, sizeof *names);
    if (!table || !names) return keel_nomem(err, w->r->from.dir);
    for (size_t i = 0; i < w->count; i++) {
        keel__bert_name(i, keel__bert_source_of(i)->name[0], names[i]);
        table[i] =
            (keel_param){.name = names[i], .init = KEEL_INIT_ZERO, .decay = keel__bert_source_of(i)->table};
        keel__bert_shape(&w->r->to->config, i, &table[i].rows, &table[i].cols);
    }
    return keel__bert_rooms_make(&w->rooms, table, w->count, w->type, w->count, err);
}

/* Memory is taken once all is known to be there: a configuration may ask for any size. */
static keel_status read_all(weights_reader *w) {
    w->count = keel_bert_rows(w->r->to);
    w->type = keel_arena_calloc(&w->arena, w->count, sizeof *w->type);
    if (!w->type) return keel_nomem(w->r->from.err, w->r->from.dir);
    for (size_t row = 0; row < w->count; row++) KEEL_TRY(look_at(w, row));
    KEEL_TRY(make_rooms(w));
    for (size_t row = 0; row < w->count; row++) KEEL_TRY(take(w, row));
    keel__bert_rooms_take(w->r->to, &w->rooms);
    return KEEL_OK;
}

static keel_status read_weights(const reader *r) {
    weights_reader w = {.r = r};
    KEEL_TRY(keel_weights_open(&w.file, r->from.dir, r->from.err));
    w.file.inputs = r->quantised.wide ? KEEL_INPUTS_F32 : KEEL_INPUTS_INT8;
    const keel_status status = read_all(&w);
    keel_weights_close(&w.file);
    keel__bert_rooms_free(&w.rooms);
    keel_arena_free(&w.arena);
    return status;
}

/* ---- opening ---- */

static keel_status read_tokenizer(reader *r) {
    keel_bert *to = r->to;
    KEEL_TRY(keel_model_folder_tokenizer(&r->from, to->config.vocab, &to->tokenizer));
    if (r->lowercase && !keel_tokenizer_lowercases(to->tokenizer))
        return keel_fail(r->from.err, KEEL_E_UNSUPPORTED, r->from.path,
                         "it keeps capital letters, and do_lower_case of sentence_bert_config.json is true");
    if (to->config.max_tokens <= keel_tokenizer_frame_size(to->tokenizer, false))
        return keel_fail(r->from.err, KEEL_E_INVALID, r->from.path, "%zu tokens a text leave no room for any",
                         to->config.max_tokens);
    return KEEL_OK;
}

static keel_status load(reader *r) {
    KEEL_TRY(keel_model_folder_read(&r->from, "config.json", true, read_config, r));
    KEEL_TRY(keel_model_folder_read(&r->from, "tokenizer_config.json", false, read_limit, r));
    KEEL_TRY(keel_model_folder_read(&r->from, "sentence_bert_config.json", false, read_length, r));
    KEEL_TRY(keel_model_folder_read(&r->from, "config_sentence_transformers.json", false, read_prompt, r));
    KEEL_TRY(keel_model_folder_read(&r->from, "1_Pooling/config.json", false, read_pooling, r));
    KEEL_TRY(keel_model_folder_read(&r->from, "modules.json", false, read_modules, r));
    KEEL_TRY(read_tokenizer(r));
    return read_weights(r);
}

keel_status keel_bert_load(keel_bert **out, const char *dir, keel_err *err) {
    keel_bert *made = keel_calloc(1, sizeof *made);
    if (!made) return keel_nomem(err, dir);
    reader r = {.to = made, .from = {.dir = dir, .err = err}};
    keel_gemm_alone();
    keel_status status = load(&r);
    if (status == KEEL_OK)
        *out = made;
    else
        keel_bert_close(made);
    return status;
}

void keel_bert_close(keel_bert *bert) {
    if (!bert) return;
    keel_tokenizer_close(bert->tokenizer);
    keel_params_free(&bert->params);
    keel_free(bert->unmerged);
    keel_free(bert->sizes);
    keel_arena_free(&bert->held);
    keel_free(bert);
}

/* ---- reading texts ---- */

keel_status keel_bert_read(const keel_bert *bert, const char *const *texts, size_t n, keel_arena *arena,
                           keel_bert_batch *out, size_t *cut, keel_err *err) {
    const size_t most = bert->config.max_tokens, frame = keel_tokenizer_frame_size(bert->tokenizer, false);
    int32_t *offsets = keel_arena_calloc(arena, n + 1, sizeof *offsets);
    int32_t *id = keel_arena_alloc(arena, n * most * sizeof *id),
            *type = keel_arena_alloc(arena, n * most * sizeof *type);
    if (!offsets || !id || !type) return keel_nomem(err, "encoder");
    for (size_t i = 0; i < n; i++) {
        keel_tokens text, framed;
        int32_t *segment;
        KEEL_TRY(keel_tokenizer_encode(bert->tokenizer, texts[i], false, arena, &text, err));
        if (text.count + frame > most) {
            *cut += text.count + frame - most;
            text.count = most - frame;
        }
        KEEL_TRY(keel_tokenizer_frame(bert->tokenizer, &text, NULL, arena, &framed, &segment, err));
        if (framed.count == 0 || framed.count > most)
            return keel_fail(err, KEEL_E_INVALID, "encoder", "the tokenizer makes %zu tokens of a text",
                             framed.count);
        memcpy(id + offsets[i], framed.id, framed.count * sizeof *id);
        memcpy(type + offsets[i], segment, framed.count * sizeof *type);
        offsets[i + 1] = offsets[i] + (int32_t)framed.count;
    }
    *out = (keel_bert_batch){.id = id, .type = type, .offsets = offsets, .n = n};
    return KEEL_OK;
}
