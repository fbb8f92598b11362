#include "policies/transformer/llama.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/gemm.h"
#include "core/json.h"
#include "core/log.h"
#include "core/text.h"
#include "policies/transformer/layer_kept.h"
#include "policies/transformer/llama_fake.h"
#include "policies/transformer/llama_internal.h"

/* ---- rows ---- */

static const struct {
    const char *name;
    bool matrix;
} layer_rows[KEEL_LLAMA_LAYER] = {
    [KEEL_LLAMA_NORM_1] = {"input_layernorm.weight", false},
    [KEEL_LLAMA_Q] = {"self_attn.q_proj.weight", true},
    [KEEL_LLAMA_K] = {"self_attn.k_proj.weight", true},
    [KEEL_LLAMA_V] = {"self_attn.v_proj.weight", true},
    [KEEL_LLAMA_Q_BIAS] = {"self_attn.q_proj.bias", false},
    [KEEL_LLAMA_K_BIAS] = {"self_attn.k_proj.bias", false},
    [KEEL_LLAMA_V_BIAS] = {"self_attn.v_proj.bias", false},
    [KEEL_LLAMA_O] = {"self_attn.o_proj.weight", true},
    [KEEL_LLAMA_O_BIAS] = {"self_attn.o_proj.bias", false},
    [KEEL_LLAMA_NORM_2] = {"post_attention_layernorm.weight", false},
    [KEEL_LLAMA_GATE] = {"mlp.gate_proj.weight", true},
    [KEEL_LLAMA_UP] = {"mlp.up_proj.weight", true},
    [KEEL_LLAMA_DOWN] = {"mlp.down_proj.weight", true},
    [KEEL_LLAMA_GATE_BIAS] = {"mlp.gate_proj.bias", false},
    [KEEL_LLAMA_UP_BIAS] = {"mlp.up_proj.bias", false},
    [KEEL_LLAMA_DOWN_BIAS] = {"mlp.down_proj.bias", false},
};

size_t keel_llama_kv_heads_before(const keel_llama_config *c, size_t layer) {
    if (!c->layer_kv_heads) return layer * c->kv_heads;
    size_t heads = 0;
    for (size_t l = 0; l < layer; l++) heads += c->layer_kv_heads[l];
    return heads;
}

/* The row's kind within its layer; KEEL_LLAMA_LAYER: it is in none. */
static size_t kind_of(const keel_llama_config *c, size_t row) {
    if (row < KEEL_LLAMA_FIRST_LAYER || row >= keel_llama_norm(c)) return KEEL_LLAMA_LAYER;
    return (row - KEEL_LLAMA_FIRST_LAYER) % KEEL_LLAMA_LAYER;
}

void keel_llama_shape(const keel_llama_config *c, size_t row, size_t *rows, size_t *cols) {
    const size_t kind = kind_of(c, row),
                 at = kind < KEEL_LLAMA_LAYER ? (row - KEEL_LLAMA_FIRST_LAYER) / KEEL_LLAMA_LAYER : 0,
                 q = keel_llama_heads(c, at) * c->head_dim, kv = keel_llama_kv_heads(c, at) * c->head_dim,
                 inner = keel_llama_inner(c, at);
    const size_t layer[KEEL_LLAMA_LAYER][2] = {
        [KEEL_LLAMA_NORM_1] = {1, c->hidden},   [KEEL_LLAMA_Q] = {q, c->hidden},
        [KEEL_LLAMA_K] = {kv, c->hidden},       [KEEL_LLAMA_V] = {kv, c->hidden},
        [KEEL_LLAMA_Q_BIAS] = {1, q},           [KEEL_LLAMA_K_BIAS] = {1, kv},
        [KEEL_LLAMA_V_BIAS] = {1, kv},          [KEEL_LLAMA_O] = {c->hidden, q},
        [KEEL_LLAMA_O_BIAS] = {1, c->hidden},   [KEEL_LLAMA_NORM_2] = {1, c->hidden},
        [KEEL_LLAMA_GATE] = {inner, c->hidden}, [KEEL_LLAMA_UP] = {inner, c->hidden},
        [KEEL_LLAMA_DOWN] = {c->hidden, inner}, [KEEL_LLAMA_GATE_BIAS] = {1, inner},
        [KEEL_LLAMA_UP_BIAS] = {1, inner},      [KEEL_LLAMA_DOWN_BIAS] = {1, c->hidden},
    };
    *rows = kind < KEEL_LLAMA_LAYER ? layer[kind][0] : row == keel_llama_norm(c) ? 1 : c->vocab;
    *cols = kind < KEEL_LLAMA_LAYER ? layer[kind][1] : c->hidden;
}

bool keel_llama_has(const keel_llama_config *c, size_t row) {
    switch (kind_of(c, row)) {
    case KEEL_LLAMA_Q_BIAS:
    case KEEL_LLAMA_K_BIAS:
    case KEEL_LLAMA_V_BIAS:
        return c->qkv_bias;
    case KEEL_LLAMA_O_BIAS:
        return c->out_bias;
    case KEEL_LLAMA_GATE_BIAS:
    case KEEL_LLAMA_UP_BIAS:
    case KEEL_LLAMA_DOWN_BIAS:
        return c->mlp_bias;
    default:
        return row != keel_llama_head(c) || !c->tied;
    }
}

bool keel_llama_is_matrix(const keel_llama_config *c, size_t row) {
    const size_t kind = kind_of(c, row);
    return kind < KEEL_LLAMA_LAYER ? layer_rows[kind].matrix : row != keel_llama_norm(c);
}

void keel_llama_name(const keel_llama_config *c, size_t row, char out[128]) {
    const size_t kind = kind_of(c, row);
    if (kind < KEEL_LLAMA_LAYER)
        snprintf(out, 128, "model.layers.%zu.%s", (row - KEEL_LLAMA_FIRST_LAYER) / KEEL_LLAMA_LAYER,
                 layer_rows[kind].name);
    else
        snprintf(out, 128, "%s",
                 row == KEEL_LLAMA_EMBED     ? "model.embed_tokens.weight"
                 : row == keel_llama_norm(c) ? "model.norm.weight"
                                             : "lm_head.weight");
}

static size_t count_bits(unsigned bits) {
    size_t n = 0;
    for (; bits; bits >>= 1) n += bits & 1;
    return n;
}

size_t keel_llama_lora_row(const keel_llama *llama, size_t layer, unsigned target) {
    const unsigned targets = llama->lora.rank ? llama->lora.targets : 0;
    return llama->n_rows + 2 * (layer * count_bits(targets) + count_bits(targets & (target - 1)));
}

size_t keel_llama_virtual_row(const keel_llama *llama) {
    return keel_llama_lora_row(llama, llama->config.layers, 1);
}

/* ---- positions ---- */

static double frequency(const keel_llama_config *c, size_t i) {
    const double f = pow(c->rope_theta, -2.0 * (double)i / (double)c->head_dim);
    if (c->rope == KEEL_ROPE_PLAIN) return f;
    if (c->rope == KEEL_ROPE_LINEAR) return f / c->rope_factor;
    const double turns = (double)c->rope_original * f / 6.28318530717958647692;
    if (turns > c->rope_high) return f;
    if (turns < c->rope_low) return f / c->rope_factor;
    const double s = (turns - c->rope_low) / (c->rope_high - c->rope_low);
    return (1 - s) * f / c->rope_factor + s * f;
}

void keel_llama_turn(const keel_llama_config *c, size_t position, float *turn) {
    const size_t half = c->head_dim / 2;
    for (size_t i = 0; i < half; i++) {
        const float angle = (float)position * (float)frequency(c, i);
        turn[i] = (float)cos((double)angle);
        turn[half + i] = (float)sin((double)angle);
    }
}

/* ---- configuration ---- */

keel_status keel__llama_check(const keel_llama_config *c, const char *where, keel_err *err) {
    const double weights =
        (double)c->layers * (double)c->hidden *
            (2.0 * (double)((c->heads + c->kv_heads) * c->head_dim) + 3.0 * (double)c->inner) +
        2.0 * (double)c->vocab * (double)c->hidden;
    if (c->heads % c->kv_heads != 0)
        return keel_fail(err, KEEL_E_INVALID, where, "%zu heads are no multiple of %zu of keys and values",
                         c->heads, c->kv_heads);
    if (c->head_dim % 2 != 0)
        return keel_fail(err, KEEL_E_INVALID, where, "heads have width %zu: RoPE needs an even one",
                         c->head_dim);
    if (weights > 1e12) return keel_fail(err, KEEL_E_INVALID, where, "it would have %g weights", weights);
    if (!(c->epsilon > 0 && c->epsilon < 1))
        return keel_fail(err, KEEL_E_INVALID, where, "the norms' epsilon: expected above 0, got %g",
                         c->epsilon);
    if (!(c->rope_theta > 1 && c->rope_theta < 1e12))
        return keel_fail(err, KEEL_E_INVALID, where, "RoPE's theta: expected above 1, got %g", c->rope_theta);
    if (c->rope != KEEL_ROPE_PLAIN && !(c->rope_factor >= 1 && c->rope_factor < 1e6))
        return keel_fail(err, KEEL_E_INVALID, where, "RoPE's factor: expected 1 or more, got %g",
                         c->rope_factor);
    if (c->rope == KEEL_ROPE_LLAMA3 &&
        !(c->rope_low > 0 && c->rope_high > c->rope_low && c->rope_high < 1e6 && c->rope_original > 0))
        return keel_fail(
            err, KEEL_E_INVALID, where,
            "RoPE's frequency factors: expected 0 < low < high and original positions, got %g, %g, %zu",
            c->rope_low, c->rope_high, c->rope_original);
    return KEEL_OK;
}

static keel_status keep_sizes(keel_llama *llama, const uint32_t *size, bool alike, const uint32_t **out,
                              keel_err *err) {
    const size_t bytes = llama->config.layers * sizeof *size;
    *out = NULL;
    if (!size || alike) return KEEL_OK;
    uint32_t *copy = keel_arena_alloc(&llama->files->arena, bytes);
    if (!copy) return keel_nomem(err, "decoder");
    memcpy(copy, size, bytes);
    *out = copy;
    return KEEL_OK;
}

keel_status keel_llama_set_sizes(keel_llama *llama, const uint32_t *kv_heads, const uint32_t *inner,
                                 keel_err *err) {
    keel_llama_config *c = &llama->config;
    const size_t group = c->heads / c->kv_heads;
    bool alike_heads, alike_inner;
    KEEL_TRY(keel_layer_largest(kv_heads, c->layers, &c->kv_heads, &alike_heads, "decoder",
                                "heads of keys and values", err));
    KEEL_TRY(keel_layer_largest(inner, c->layers, &c->inner, &alike_inner, "decoder", "channels", err));
    c->heads = c->kv_heads * group;
    KEEL_TRY(keep_sizes(llama, kv_heads, alike_heads, &c->layer_kv_heads, err));
    return keep_sizes(llama, inner, alike_inner, &c->layer_inner, err);
}

double keel__llama_rope_divisor(const keel_llama_config *c, size_t i) {
    const double length = 2 * acos(-1) * pow(c->rope_theta, 2 * (double)i / (double)c->head_dim);
    if (c->rope == KEEL_ROPE_PLAIN) return 1;
    if (c->rope == KEEL_ROPE_LINEAR) return c->rope_factor;
    const double s = ((double)c->rope_original / length - c->rope_low) / (c->rope_high - c->rope_low);
    if (s >= 1) return 1;
    return s <= 0 ? c->rope_factor : 1 / ((1 - s) / c->rope_factor + s);
}

/* ---- weights ---- */

/* outer: the embedding or the head, which have at least 8 bits. */
static keel_matrix_type type_for(keel_llama_weights weights, const keel__llama_tensor *from, bool outer) {
    static const keel_matrix_type types[KEEL_N_LLAMA_WEIGHTS] = {
        [KEEL_LLAMA_F32] = KEEL_MATRIX_F32,   [KEEL_LLAMA_BF16] = KEEL_MATRIX_BF16,
        [KEEL_LLAMA_Q8_0] = KEEL_MATRIX_Q8_0, [KEEL_LLAMA_I8] = KEEL_MATRIX_I8,
        [KEEL_LLAMA_Q4_0] = KEEL_MATRIX_Q4_0, [KEEL_LLAMA_Q4_G32] = KEEL_MATRIX_Q4_G32,
    };
    if (weights == KEEL_LLAMA_AS_STORED) {
        if (from->held.data) return from->held.type;
        return from->type == KEEL_BLOCK_BF16 ? KEEL_MATRIX_BF16 : KEEL_MATRIX_F32;
    }
    const bool fours = weights == KEEL_LLAMA_Q4_0 || weights == KEEL_LLAMA_Q4_G32;
    return fours && outer ? KEEL_MATRIX_Q8_0 : types[weights];
}

/* A vector in pairs, put in order. */
static void order_vector(float *vector, size_t n, size_t heads, float *spare) {
    memcpy(spare, vector, n * sizeof *spare);
    for (size_t i = 0; i < n; i++) vector[i] = spare[keel__llama_to_pairs(i, n, heads)];
}

static void read_row(const keel__llama_tensor *from, size_t row, size_t cols, float *to) {
    if (from->held.data)
        keel_matrix_read_row(&from->held, row, to);
    else
        keel_block_read(from->type, (const char *)from->data + row * keel_block_row_bytes(from->type, cols),
                        cols, to);
}

/* Rows read one by one, put in order, and written in the matrix's type. */
static keel_status copy_rows(const keel_matrix *to, const keel__llama_tensor *from, bool matrix, char *data,
                             float *row, const char *name, keel_err *err) {
    const size_t out = keel_matrix_row_bytes(to->type, to->cols);
    for (size_t r = 0; r < to->rows; r++) {
        const size_t at = from->pairs && matrix ? keel__llama_to_pairs(r, to->rows, from->pairs) : r;
        read_row(from, at, to->cols, row);
        if (from->pairs && !matrix) order_vector(row, to->cols, from->pairs, row + to->cols);
        for (size_t c = 0; c < to->cols; c++)
            if (!isfinite(row[c]))
                return keel_fail(err, KEEL_E_INVALID, name, "it holds numbers that are not finite");
        keel_matrix_write_row(to->type, row, to->cols, data + r * out);
    }
    return KEEL_OK;
}

static keel_status check_width(const keel_matrix *matrix, const char *name, keel_err *err) {
    const keel_matrix_type type = matrix->type;
    const size_t multiple = keel_matrix_multiple(type), cols = matrix->cols;
    const bool by_rows = type == KEEL_MATRIX_I8 || type == KEEL_MATRIX_Q4_G32;
    if (cols % multiple == 0 && !(by_rows && cols > KEEL_MATRIX_MOST_COLS)) return KEEL_OK;
    keel_fail(err, KEEL_E_UNSUPPORTED, name, "its width is %zu: %s wants %s", cols,
              keel_matrix_type_name(type), cols % multiple ? "a multiple of 32" : "65536 at most");
    return keel_hint(err, "f32 and bf16 take any width");
}

static keel_status take_row(keel_llama *llama, size_t row, const keel__llama_tensor *from,
                            keel_llama_weights weights, keel_err *err) {
    keel_matrix *to = &llama->matrix[row];
    keel_arena *arena = &llama->files->copies;
    const bool is_matrix = keel_llama_is_matrix(&llama->config, row);
    keel_matrix_type stored = from->held.type;
    char name[128];
    keel_llama_name(&llama->config, row, name);
    keel_llama_shape(&llama->config, row, &to->rows, &to->cols);
    const bool outer = row == KEEL_LLAMA_EMBED || row == keel_llama_head(&llama->config);
    to->type = is_matrix ? type_for(weights, from, outer) : KEEL_MATRIX_F32;
    KEEL_TRY(check_width(to, name, err));
    if (is_matrix && !from->pairs && (from->held.data || keel_block_is_matrix(from->type, &stored)) &&
        stored == to->type) {
        to->data = from->held.data ? from->held.data : from->data;
        to->inputs = from->held.inputs;
    } else {
        char *data = keel_arena_alloc(arena, to->rows * keel_matrix_row_bytes(to->type, to->cols));
        float *spare = keel_alloc(2 * to->cols * sizeof *spare);
        keel_status status =
            data && spare ? copy_rows(to, from, is_matrix, data, spare, name, err) : keel_nomem(err, name);
        keel_free(spare);
        KEEL_TRY(status);
        to->data = data;
    }
    return KEEL_OK;
}

keel_status keel__llama_replace(keel_llama *llama, size_t row, keel_matrix matrix, keel_err *err) {
    struct keel_llama_files *files = llama->files;
    void *data = (void *)(uintptr_t)matrix.data;
    if (!keel_grow(&files->owned, files->n_owned + 1, &files->owned_capacity, sizeof *files->owned)) {
        keel_free(data);
        return keel_nomem(err, "decoder");
    }
    files->owned[files->n_owned++] = data;
    llama->matrix[row] = matrix;
    return KEEL_OK;
}

keel_status keel__llama_take(keel_llama *llama, const char *path, keel_llama_weights weights,
                             keel__llama_find *find, keel_err *err) {
    const size_t n = keel_llama_head(&llama->config) + 1;
    keel__llama_tensor tensor;
    for (size_t row = 0; row < n; row++)
        if (keel_llama_has(&llama->config, row)) KEEL_TRY(find(llama, path, row, &tensor, err));
    llama->matrix = keel_calloc(n, sizeof *llama->matrix);
    if (!llama->matrix) return keel_nomem(err, path);
    llama->n_rows = n;
    llama->first_trained = n;
    for (size_t row = 0; row < n; row++) {
        if (!keel_llama_has(&llama->config, row)) continue;
        KEEL_TRY(find(llama, path, row, &tensor, err));
        KEEL_TRY(take_row(llama, row, &tensor, weights, err));
    }
    return KEEL_OK;
}

/* ---- a new one ---- */

/* NORMAL around 0 of this deviation; 0: all are `value`. */
static keel_status make_row(keel_llama *llama, size_t row, double deviation, float value, keel_rng *rng,
                            keel_err *err) {
    keel_matrix *to = &llama->matrix[row];
    keel_llama_shape(&llama->config, row, &to->rows, &to->cols);
    float *data = keel_arena_calloc(&llama->files->copies, to->rows * to->cols, sizeof *data);
    if (!data) return keel_nomem(err, "decoder");
    for (size_t i = 0; i < to->rows * to->cols; i++)
        data[i] = deviation > 0 ? (float)(deviation * keel_rng_normal(rng)) : value;
    to->data = data;
    return KEEL_OK;
}

static keel_status make_rows(keel_llama *llama, uint64_t seed, keel_err *err) {
    const keel_llama_config *c = &llama->config;
    const size_t n = keel_llama_head(c) + 1;
    keel_rng rng = keel_rng_named(seed, "decoder", 0);
    llama->matrix = keel_calloc(n, sizeof *llama->matrix);
    if (!llama->matrix) return keel_nomem(err, "decoder");
    llama->n_rows = llama->first_trained = n;
    for (size_t row = 0; row < n; row++) {
        const size_t kind = kind_of(c, row);
        const bool residual = kind == KEEL_LLAMA_O || kind == KEEL_LLAMA_DOWN,
                   norm = kind == KEEL_LLAMA_NORM_1 || kind == KEEL_LLAMA_NORM_2 || row == keel_llama_norm(c);
        if (!keel_llama_has(c, row)) continue;
        const double deviation = .02 / (residual ? sqrt(2 * (double)c->layers) : 1);
        KEEL_TRY(make_row(llama, row, keel_llama_is_matrix(c, row) ? deviation : 0, norm, &rng, err));
    }
    return KEEL_OK;
}

/* ---- opening ---- */

/* A template that is not understood is no reason not to open a model. One that is no text is not kept: no
 * file that is written may hold it. */
keel_status keel__llama_keep_template(keel_llama *llama, const char *text, const char *where, keel_err *err) {
    keel_err told = {0};
    const size_t length = strlen(text), good = keel_utf8_valid_prefix(text, length);
    keel_chat_template_close(llama->chat);
    llama->chat = NULL;
    llama->chat_source = NULL;
    if (good < length) {
        keel_log(KEEL_LOG_INFO, "%s: the chat template is left out: byte %zu is no UTF-8", where, good + 1);
        return KEEL_OK;
    }
    llama->chat_source = keel_arena_strdup(&llama->files->arena, text);
    if (!llama->chat_source) return keel_nomem(err, where);
    const keel_status status = keel_chat_template_parse(&llama->chat, text, where, &told);
    if (status == KEEL_E_NOMEM) return keel_nomem(err, where);
    if (status != KEEL_OK)
        keel_log(KEEL_LOG_INFO, "%s: the chat template is left out: %s", told.where, told.message);
    return KEEL_OK;
}

static keel_llama *new_llama(void) {
    keel_llama *made = keel_calloc(1, sizeof *made);
    if (!made) return NULL;
    made->defaults = (keel_llama_defaults){.temperature = 1, .top_p = 1, .repetition_penalty = 1};
    made->files = keel_calloc(1, sizeof *made->files);
    if (made->files) return made;
    keel_free(made);
    return NULL;
}

keel_status keel_llama_make(keel_llama **out, const keel_llama_config *config, keel_tokenizer *tokenizer,
                            const char *chat_template, uint64_t seed, keel_err *err) {
    keel_llama *made = new_llama();
    if (!made) {
        keel_tokenizer_close(tokenizer);
        return keel_nomem(err, "decoder");
    }
    made->config = *config;
    made->tokenizer = tokenizer;
    keel_status status = keel__llama_check(config, "decoder", err);
    if (status == KEEL_OK)
        status = keel_llama_set_sizes(made, config->layer_kv_heads, config->layer_inner, err);
    if (status == KEEL_OK && chat_template)
        status = keel__llama_keep_template(made, chat_template, "decoder", err);
    if (status == KEEL_OK) status = make_rows(made, seed, err);
    if (status == KEEL_OK)
        *out = made;
    else
        keel_llama_close(made);
    return status;
}

/* The model at the path: a .gguf file, also where it is the only one of a folder without config.json; else
 * the path itself, a folder. */
static keel_status find_model(const char *path, keel_arena *arena, const char **out, keel_err *err) {
    static const char *const suffixes[] = {".gguf", NULL};
    const char *config = keel_path_join(arena, path, "config.json"), **names = NULL;
    size_t n = 0;
    *out = path;
    if (!config) return keel_nomem(err, path);
    if (!keel_file_is_folder(path) || keel_file_exists(config)) return KEEL_OK;
    KEEL_TRY(keel_folder_list(path, suffixes, arena, &names, &n, err));
    if (n > 1) return keel_fail(err, KEEL_E_INVALID, path, "it holds %zu .gguf files: name one of them", n);
    if (n == 1) *out = keel_path_join(arena, path, names[0]);
    return *out ? KEEL_OK : keel_nomem(err, path);
}

bool keel_llama_is(const char *path) {
    static const char *const families[] = {"llama", "qwen2", "mistral"};
    keel_arena arena = {0};
    const char *model = path, *config = keel_path_join(&arena, path, "config.json"), *family = "";
    cJSON *json = NULL;
    bool is = keel_gguf_is(path) || (find_model(path, &arena, &model, NULL) == KEEL_OK && model != path);
    if (!is && config && keel_json_parse_file(config, &json, NULL) == KEEL_OK &&
        keel_json_string(json, "model_type", true, &family, config, NULL) == KEEL_OK)
        for (size_t k = 0; k < sizeof families / sizeof *families; k++)
            is |= strcmp(family, families[k]) == 0;
    cJSON_Delete(json);
    keel_arena_free(&arena);
    return is;
}

keel_status keel_llama_open(keel_llama **out, const char *path, keel_llama_weights weights, keel_err *err) {
    keel_llama *made = new_llama();
    keel_arena arena = {0};
    const char *model = path;
    if (!made) return keel_nomem(err, path);
    keel_gemm_alone();
    keel_status status = find_model(path, &arena, &model, err);
    if (status == KEEL_OK)
        status = keel_gguf_is(model) ? keel__llama_read_gguf(made, model, weights, err)
                                     : keel__llama_read_folder(made, model, weights, err);
    keel_arena_free(&arena);
    if (status == KEEL_OK)
        *out = made;
    else
        keel_llama_close(made);
    return status;
}

void keel_llama_close(keel_llama *llama) {
    if (!llama) return;
    keel_tokenizer_close(llama->tokenizer);
    keel_chat_template_close(llama->chat);
    keel_llama_fake_close(llama);
    keel_params_free(&llama->params);
    keel_free(llama->matrix);
    keel_free(llama->unmerged);
    for (size_t i = 0; i < llama->files->n_owned; i++) keel_free(llama->files->owned[i]);
    keel_free(llama->files->owned);
    keel_free(llama->files->merged);
    keel_weights_close(&llama->files->weights);
    keel_gguf_close(&llama->files->gguf);
    keel_arena_free(&llama->files->copies);
    keel_arena_free(&llama->files->arena);
    keel_free(llama->files);
    keel_free(llama);
}
