/* Decoders in folders as Hugging Face lays them out. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "core/json.h"
#include "core/log.h"
#include "policies/transformer/llama_internal.h"
#include "policies/transformer/model_folder.h"

typedef struct reader {
    keel_llama *to;
    keel_model_folder from;
    int32_t eos_of_tokenizer;
    keel_model_quantised held;
    bool says_bos; /* tokenizer_config.json says whether a text begins with bos */
} reader;

static bool is_set(const cJSON *json, const char *key) {
    const cJSON *item = keel_json_get(json, key);
    return item && !cJSON_IsNull(item);
}

static keel_status read_number(const reader *r, const cJSON *json, const char *key, double *out) {
    return keel_json_number(json, key, false, out, r->from.path, r->from.err);
}

static keel_status refuse(const reader *r, const char *key, const char *what) {
    return keel_fail(r->from.err, KEEL_E_UNSUPPORTED, r->from.path, "%s: %s", key, what);
}

/* ---- config.json ---- */

typedef enum family { LLAMA, QWEN2, MISTRAL, N_FAMILIES } family;

static keel_status read_family(const reader *r, const cJSON *json, family *out) {
    static const char *const names[N_FAMILIES] = {"llama", "qwen2", "mistral"};
    const char *type = "";
    int k = 0;
    KEEL_TRY(keel_json_string(json, "model_type", true, &type, r->from.path, r->from.err));
    while (k < N_FAMILIES && strcmp(type, names[k]) != 0) k++;
    if (k == N_FAMILIES) {
        keel_fail(r->from.err, KEEL_E_UNSUPPORTED, r->from.path,
                  "model_type: expected \"llama\", \"qwen2\" or \"mistral\", got \"%s\"", type);
        return keel_hint(r->from.err, "Keel reads decoders such as SmolLM2, Qwen2.5 and Llama");
    }
    *out = (family)k;
    return KEEL_OK;
}

/* Kinds of layers and a window over which attention would reach no further back: only where it is in use. */
static keel_status check_window(const reader *r, const cJSON *json, family kind) {
    const cJSON *layers = NULL, *layer;
    bool used = kind == MISTRAL;
    double window = kind == MISTRAL ? 4096 : 0, full_layers = 0;
    KEEL_TRY(keel_json_array(json, "layer_types", false, &layers, r->from.path, r->from.err));
    cJSON_ArrayForEach (layer, layers)
        if (!cJSON_IsString(layer) || strcmp(layer->valuestring, "full_attention") != 0)
            return refuse(r, "layer_types", "expected \"full_attention\" for every layer");
    if (kind == LLAMA || (layers && cJSON_GetArraySize(layers) > 0)) return KEEL_OK;
    KEEL_TRY(keel_json_bool(json, "use_sliding_window", false, &used, r->from.path, r->from.err));
    const cJSON *stated = keel_json_get(json, "sliding_window");
    if (!used || (stated && cJSON_IsNull(stated))) return KEEL_OK;
    KEEL_TRY(read_number(r, json, "sliding_window", &window));
    KEEL_TRY(read_number(r, json, "max_window_layers", &full_layers)); /* those below it have none */
    if (window >= (double)r->to->config.positions || full_layers >= (double)r->to->config.layers)
        return KEEL_OK;
    return refuse(r, "sliding_window", "Keel computes full attention alone");
}

static keel_status check_rest(reader *r, const cJSON *json) {
    const char *activation = "silu";
    double share = 1;
    KEEL_TRY(keel_json_string(json, "hidden_act", false, &activation, r->from.path, r->from.err));
    if (strcmp(activation, "silu") != 0)
        return keel_fail(r->from.err, KEEL_E_UNSUPPORTED, r->from.path,
                         "hidden_act: expected \"silu\", got \"%s\"", activation);
    KEEL_TRY(keel_model_folder_quantised(&r->from, json, &r->held));
    if (is_set(json, "num_local_experts") || is_set(json, "num_experts"))
        return refuse(r, "num_experts", "Keel computes no mixture of experts");
    KEEL_TRY(read_number(r, json, "partial_rotary_factor", &share));
    return share == 1 ? KEEL_OK : refuse(r, "partial_rotary_factor", "expected 1");
}

static keel_status read_sizes(const reader *r, const cJSON *json, family kind) {
    keel_llama_config *c = &r->to->config;
    KEEL_TRY(keel_model_folder_size(&r->from, json, "vocab_size", 1 << 24, &c->vocab));
    KEEL_TRY(keel_model_folder_size(&r->from, json, "hidden_size", 1 << 16, &c->hidden));
    KEEL_TRY(keel_model_folder_size(&r->from, json, "num_hidden_layers", 1024, &c->layers));
    KEEL_TRY(keel_model_folder_size(&r->from, json, "num_attention_heads", 1024, &c->heads));
    KEEL_TRY(keel_model_folder_size(&r->from, json, "intermediate_size", 1 << 18, &c->inner));
    KEEL_TRY(keel_model_folder_size(&r->from, json, "max_position_embeddings", 1 << 26, &c->positions));
    if (kind == LLAMA) c->kv_heads = c->heads; /* the library's default; the other families have numbers */
    if (kind != LLAMA || is_set(json, "num_key_value_heads"))
        KEEL_TRY(keel_model_folder_size(&r->from, json, "num_key_value_heads", 1024, &c->kv_heads));
    c->head_dim = c->hidden / c->heads;
    if (!is_set(json, "head_dim") && c->head_dim * c->heads != c->hidden)
        return keel_fail(r->from.err, KEEL_E_INVALID, r->from.path,
                         "hidden_size %zu is no multiple of %zu heads", c->hidden, c->heads);
    return is_set(json, "head_dim") ? keel_model_folder_size(&r->from, json, "head_dim", 4096, &c->head_dim)
                                    : KEEL_OK;
}

/* "keel_layers": {"kv_heads": [..], "inner": [..]} where pruning left layers of unequal sizes */
static keel_status read_layer_sizes(const reader *r, const cJSON *json) {
    const keel_llama_config *c = &r->to->config;
    keel_arena *arena = &r->to->files->arena;
    const cJSON *layers = NULL;
    uint32_t *kv_heads, *inner;
    KEEL_TRY(keel_json_object(json, "keel_layers", false, &layers, r->from.path, r->from.err));
    if (!layers || c->heads % c->kv_heads != 0) return KEEL_OK; /* the latter is told with other numbers */
    KEEL_TRY(keel_model_folder_sizes(&r->from, layers, "kv_heads", c->layers, c->kv_heads, arena, &kv_heads));
    KEEL_TRY(keel_model_folder_sizes(&r->from, layers, "inner", c->layers, c->inner, arena, &inner));
    return keel_llama_set_sizes(r->to, kv_heads, inner, r->from.err);
}

/* The object that has rope_type: rope_parameters of newer libraries, rope_scaling of older ones. */
static keel_status read_rope(const reader *r, const cJSON *json) {
    keel_llama_config *c = &r->to->config;
    const cJSON *rope = NULL;
    const char *type = "default";
    KEEL_TRY(keel_json_object(json, "rope_parameters", false, &rope, r->from.path, r->from.err));
    if (!rope) KEEL_TRY(keel_json_object(json, "rope_scaling", false, &rope, r->from.path, r->from.err));
    KEEL_TRY(read_number(r, json, "rope_theta", &c->rope_theta));
    if (!rope) return KEEL_OK;
    KEEL_TRY(read_number(r, rope, "rope_theta", &c->rope_theta));
    KEEL_TRY(keel_json_string(rope, "type", false, &type, r->from.path, r->from.err));
    KEEL_TRY(keel_json_string(rope, "rope_type", false, &type, r->from.path, r->from.err));
    if (cJSON_IsObject(rope->child)) return refuse(r, "rope_parameters", "they differ by kind of layer");
    if (strcmp(type, "default") == 0) return KEEL_OK;
    KEEL_TRY(keel_json_number(rope, "factor", true, &c->rope_factor, r->from.path, r->from.err));
    if (strcmp(type, "linear") == 0) return c->rope = KEEL_ROPE_LINEAR, KEEL_OK;
    if (strcmp(type, "llama3") != 0)
        return keel_fail(r->from.err, KEEL_E_UNSUPPORTED, r->from.path,
                         "rope_type: expected \"default\", \"linear\" or \"llama3\", got \"%s\"", type);
    c->rope = KEEL_ROPE_LLAMA3;
    KEEL_TRY(keel_json_number(rope, "low_freq_factor", true, &c->rope_low, r->from.path, r->from.err));
    KEEL_TRY(keel_json_number(rope, "high_freq_factor", true, &c->rope_high, r->from.path, r->from.err));
    return keel_model_folder_size(&r->from, rope, "original_max_position_embeddings", 1 << 26,
                                  &c->rope_original);
}

static keel_status read_id(const reader *r, const char *key, const cJSON *item, int32_t *out) {
    const double id = cJSON_IsNumber(item) ? item->valuedouble : NAN;
    if (!(id >= -1 && id < (double)r->to->config.vocab && floor(id) == id))
        return keel_fail(r->from.err, KEEL_E_INVALID, r->from.path, "%s: expected an id below %zu", key,
                         r->to->config.vocab);
    *out = (int32_t)id;
    return KEEL_OK;
}

static keel_status add_eos(const reader *r, int32_t id) {
    keel_llama_config *c = &r->to->config;
    for (size_t i = 0; i < c->n_eos; i++)
        if (c->eos[i] == id) return KEEL_OK;
    if (id < 0) return KEEL_OK;
    if (c->n_eos == KEEL_LLAMA_MOST_EOS)
        return keel_fail(r->from.err, KEEL_E_UNSUPPORTED, r->from.path, "eos_token_id: more than %d tokens",
                         KEEL_LLAMA_MOST_EOS);
    c->eos[c->n_eos++] = id;
    return KEEL_OK;
}

/* bos_token_id, pad_token_id, and eos_token_id: one id or a list. What the file has goes before what was read
 * from another. */
static keel_status read_ids(const reader *r, const cJSON *json) {
    keel_llama_config *c = &r->to->config;
    const cJSON *eos = keel_json_get(json, "eos_token_id"), *item;
    int32_t id = -1;
    if (is_set(json, "bos_token_id"))
        KEEL_TRY(read_id(r, "bos_token_id", keel_json_get(json, "bos_token_id"), &c->bos));
    if (is_set(json, "pad_token_id"))
        KEEL_TRY(read_id(r, "pad_token_id", keel_json_get(json, "pad_token_id"), &c->pad));
    if (!is_set(json, "eos_token_id")) return KEEL_OK;
    c->n_eos = 0;
    if (!cJSON_IsArray(eos)) {
        KEEL_TRY(read_id(r, "eos_token_id", eos, &id));
        return add_eos(r, id);
    }
    cJSON_ArrayForEach (item, eos) {
        KEEL_TRY(read_id(r, "eos_token_id", item, &id));
        KEEL_TRY(add_eos(r, id));
    }
    return KEEL_OK;
}

static keel_status read_config(void *context, const cJSON *json) {
    reader *r = context;
    keel_llama_config *c = &r->to->config;
    family kind = LLAMA;
    *c = (keel_llama_config){.epsilon = 1e-6, .rope_theta = 10000, .rope_factor = 1, .bos = -1, .pad = -1};
    KEEL_TRY(read_family(r, json, &kind));
    KEEL_TRY(check_rest(r, json));
    KEEL_TRY(read_sizes(r, json, kind));
    KEEL_TRY(read_layer_sizes(r, json));
    KEEL_TRY(check_window(r, json, kind));
    KEEL_TRY(read_rope(r, json));
    KEEL_TRY(read_number(r, json, "rms_norm_eps", &c->epsilon));
    KEEL_TRY(keel_json_bool(json, "tie_word_embeddings", false, &c->tied, r->from.path, r->from.err));
    if (kind == LLAMA) {
        KEEL_TRY(keel_json_bool(json, "attention_bias", false, &c->qkv_bias, r->from.path, r->from.err));
        KEEL_TRY(keel_json_bool(json, "mlp_bias", false, &c->mlp_bias, r->from.path, r->from.err));
        c->out_bias = c->qkv_bias;
    }
    if (kind == QWEN2) c->qkv_bias = true;
    KEEL_TRY(read_ids(r, json));
    return keel__llama_check(c, r->from.path, r->from.err);
}

/* ---- the other files of text ---- */

/* generation_config.json, which goes before config.json */
static keel_status read_generation(void *context, const cJSON *json) {
    reader *r = context;
    keel_llama_defaults *d = &r->to->defaults;
    double top_k = 0;
    bool samples = true;
    KEEL_TRY(read_ids(r, json));
    KEEL_TRY(read_number(r, json, "temperature", &d->temperature));
    KEEL_TRY(read_number(r, json, "top_k", &top_k));
    KEEL_TRY(read_number(r, json, "top_p", &d->top_p));
    KEEL_TRY(read_number(r, json, "min_p", &d->min_p));
    KEEL_TRY(read_number(r, json, "repetition_penalty", &d->repetition_penalty));
    KEEL_TRY(keel_json_bool(json, "do_sample", false, &samples, r->from.path, r->from.err));
    if (!(d->temperature >= 0 && d->temperature < 1e6 && top_k >= 0 && top_k <= 1 << 24 && d->top_p > 0 &&
          d->top_p <= 1 && d->min_p >= 0 && d->min_p <= 1 && d->repetition_penalty > 0 &&
          d->repetition_penalty < 1e6))
        return keel_fail(
            r->from.err, KEEL_E_INVALID, r->from.path,
            "expected temperature and top_k from 0, top_p and min_p up to 1, repetition_penalty above 0");
    d->top_k = (size_t)top_k;
    if (!samples) d->temperature = 0;
    return KEEL_OK;
}

/* {"bos_token": "<s>"} or {"bos_token": {"content": "<s>", ...}}: its id, -1 where there is none */
static keel_status read_token(const reader *r, const cJSON *json, const char *key, int32_t *out) {
    const cJSON *item = keel_json_get(json, key);
    const char *text = NULL;
    *out = -1;
    if (cJSON_IsObject(item))
        KEEL_TRY(keel_json_string(item, "content", true, &text, r->from.path, r->from.err));
    else
        KEEL_TRY(keel_json_string(json, key, false, &text, r->from.path, r->from.err));
    if (text) *out = keel_tokenizer_find(r->to->tokenizer, text);
    return KEEL_OK;
}

static keel_status keep_template(const reader *r, const char *text) {
    return keel__llama_keep_template(r->to, text, r->from.path, r->from.err);
}

/* chat_template: a text, or a list of {"name": "default", "template": text} */
static keel_status read_template(const reader *r, const cJSON *json) {
    const cJSON *found = keel_json_get(json, "chat_template"), *item;
    if (!found || cJSON_IsNull(found)) return KEEL_OK;
    if (cJSON_IsString(found)) return keep_template(r, found->valuestring);
    if (!cJSON_IsArray(found))
        return keel_fail(r->from.err, KEEL_E_PARSE, r->from.path, "chat_template: expected a text or a list");
    cJSON_ArrayForEach (item, found) {
        const char *name = "", *text = "";
        KEEL_TRY(keel_json_string(item, "name", true, &name, r->from.path, r->from.err));
        KEEL_TRY(keel_json_string(item, "template", true, &text, r->from.path, r->from.err));
        if (strcmp(name, "default") == 0) return keep_template(r, text);
    }
    return KEEL_OK;
}

/* tokenizer_config.json. Its beginning of a text goes before that of config.json, as it does in templates. */
static keel_status read_tokenizer_config(void *context, const cJSON *json) {
    reader *r = context;
    keel_llama_config *c = &r->to->config;
    int32_t bos;
    KEEL_TRY(read_token(r, json, "bos_token", &bos));
    KEEL_TRY(read_token(r, json, "eos_token", &r->eos_of_tokenizer));
    if (bos >= 0) c->bos = bos;
    r->says_bos = is_set(json, "add_bos_token");
    KEEL_TRY(keel_json_bool(json, "add_bos_token", false, &c->adds_bos, r->from.path, r->from.err));
    return read_template(r, json);
}

/* chat_template.jinja, which goes before tokenizer_config.json */
static keel_status read_template_file(reader *r) {
    keel_buf text = {0};
    KEEL_TRY(keel_model_folder_name(&r->from, "chat_template.jinja"));
    if (access(r->from.path, F_OK) != 0) return KEEL_OK;
    keel_status status = keel_file_read(r->from.path, 1 << 20, &text, r->from.err);
    if (status == KEEL_OK) status = keep_template(r, text.data ? text.data : "");
    keel_buf_free(&text);
    return status;
}

/* Where tokenizer_config.json does not say so: whether the tokenizer itself puts bos before a text. */
static keel_status look_for_bos(const reader *r) {
    keel_llama_config *c = &r->to->config;
    keel_arena arena = {0};
    if (r->says_bos || c->bos < 0) return KEEL_OK;
    keel_tokens none = {0}, framed = {0};
    int32_t *type;
    keel_status status =
        keel_tokenizer_frame(r->to->tokenizer, &none, NULL, &arena, &framed, &type, r->from.err);
    c->adds_bos = status == KEEL_OK && framed.count > 0 && framed.id[0] == c->bos;
    keel_arena_free(&arena);
    return status;
}

/* ---- weights ---- */

static keel_block_type block_of(keel_dtype dtype) {
    return dtype == KEEL_F16 ? KEEL_BLOCK_F16 : dtype == KEEL_BF16 ? KEEL_BLOCK_BF16 : KEEL_BLOCK_F32;
}

static keel_status find_tensor(const keel_llama *llama, const char *path, size_t row, keel__llama_tensor *out,
                               keel_err *err) {
    const keel_safetensors *shard = NULL;
    char name[128];
    size_t shape[2];
    keel_llama_name(&llama->config, row, name);
    keel_llama_shape(&llama->config, row, &shape[0], &shape[1]);
    *out = (keel__llama_tensor){0};
    const bool matrix = keel_llama_is_matrix(&llama->config, row);
    if (matrix)
        KEEL_TRY(keel_weights_held(&llama->files->weights, name, shape[0], shape[1], &out->held, err));
    if (out->held.data) return KEEL_OK;
    const keel_named_tensor *tensor = keel_weights_find(&llama->files->weights, name, &shard);
    if (!tensor) return keel_fail(err, KEEL_E_INVALID, path, "the tensor \"%s\" is missing", name);
    KEEL_TRY(keel_safetensors_check(shard, name, matrix ? shape : shape + 1, matrix ? 2 : 1, err));
    *out = (keel__llama_tensor){.type = block_of(tensor->dtype), .data = tensor->data};
    return KEEL_OK;
}

/* A tied model whose file has a head all the same: the embedding counts. */
static void compare_head(const keel_llama *llama, const char *dir) {
    const keel_weights *weights = &llama->files->weights;
    const keel_named_tensor *head = keel_weights_find(weights, "lm_head.weight", NULL),
                            *embed = keel_weights_find(weights, "model.embed_tokens.weight", NULL);
    if (!llama->config.tied || !head || !embed) return;
    if (head->dtype == embed->dtype && head->bytes == embed->bytes &&
        memcmp(head->data, embed->data, head->bytes) == 0)
        return;
    keel_log(
        KEEL_LOG_INFO,
        "%s: lm_head.weight differs from the embedding that config.json ties it to; the embedding counts",
        dir);
}

static void count_bytes(keel_llama *llama) {
    const keel_weights *weights = &llama->files->weights;
    for (size_t i = 0; i < weights->n; i++)
        for (size_t t = 0; t < weights->shard[i].count; t++)
            llama->file_bytes += weights->shard[i].tensors[t].bytes;
}

keel_status keel__llama_read_folder(keel_llama *llama, const char *dir, keel_llama_weights weights,
                                    keel_err *err) {
    reader r = {.to = llama, .from = {.dir = dir, .err = err}, .eos_of_tokenizer = -1};
    KEEL_TRY(keel_model_folder_read(&r.from, "config.json", true, read_config, &r));
    KEEL_TRY(keel_model_folder_tokenizer(&r.from, llama->config.vocab, &llama->tokenizer));
    KEEL_TRY(keel_model_folder_read(&r.from, "tokenizer_config.json", false, read_tokenizer_config, &r));
    KEEL_TRY(keel_model_folder_read(&r.from, "generation_config.json", false, read_generation, &r));
    KEEL_TRY(add_eos(&r, r.eos_of_tokenizer));
    KEEL_TRY(look_for_bos(&r));
    llama->config.adds_bos &= llama->config.bos >= 0;
    KEEL_TRY(read_template_file(&r));
    KEEL_TRY(keel_weights_open(&llama->files->weights, dir, err));
    llama->files->weights.inputs = r.held.wide ? KEEL_INPUTS_F32 : KEEL_INPUTS_INT8;
    compare_head(llama, dir);
    count_bytes(llama);
    return keel__llama_take(llama, dir, weights, find_tensor, err);
}
