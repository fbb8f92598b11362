/* Decoders in .gguf files. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "policies/transformer/gguf_tokenizer.h"
#include "policies/transformer/llama_internal.h"

typedef struct reader {
    keel_llama *to;
    const keel_gguf *from;
    const char *kind; /* general.architecture */
    char key[96];
    keel_err *err;
} reader;

/* "llama.block_count" */
static const char *key_of(reader *r, const char *name) {
    snprintf(r->key, sizeof r->key, "%s.%s", r->kind, name);
    return r->key;
}

static keel_status read_number(reader *r, const char *name, bool required, double *out) {
    return keel_gguf_number(r->from, key_of(r, name), required, out, r->err);
}

/* *out 0 before: the key is required. */
static keel_status read_size(reader *r, const char *name, size_t most, size_t *out) {
    double number = (double)*out;
    KEEL_TRY(read_number(r, name, *out == 0, &number));
    if (!(number >= 1 && number <= (double)most && floor(number) == number))
        return keel_fail(r->err, KEEL_E_INVALID, r->from->path, "%s: expected 1 to %zu, got %g", r->key, most,
                         number);
    *out = (size_t)number;
    return KEEL_OK;
}

/* A number, or a list of one for each layer: the largest, and the list [layers] in the arena or NULL. */
static keel_status read_layers(reader *r, const char *name, size_t most, size_t *out, uint32_t **list) {
    const keel_gguf_value *value = keel_gguf_find(r->from, key_of(r, name));
    const size_t n = r->to->config.layers;
    *list = NULL;
    if (!value || !value->list) return read_size(r, name, most, out);
    if (value->count != n || value->type == KEEL_GGUF_TEXT)
        return keel_fail(r->err, KEEL_E_INVALID, r->from->path,
                         "%s: expected a number for each of %zu layers", r->key, n);
    *list = keel_arena_calloc(&r->to->files->arena, n, sizeof **list);
    if (!*list) return keel_nomem(r->err, r->from->path);
    *out = 0;
    for (size_t l = 0; l < n; l++) {
        const double number = keel_gguf_item(value, l);
        if (!(number >= 1 && number <= (double)most && floor(number) == number))
            return keel_fail(r->err, KEEL_E_INVALID, r->from->path, "%s: expected 1 to %zu, got %g", r->key,
                             most, number);
        (*list)[l] = (uint32_t)number;
        if (*out < (size_t)number) *out = (size_t)number;
    }
    return KEEL_OK;
}

static keel_status refuse(const reader *r, const char *what) {
    return keel_fail(r->err, KEEL_E_UNSUPPORTED, r->from->path, "%s: %s", r->key, what);
}

static keel_status read_kind(reader *r) {
    KEEL_TRY(keel_gguf_text(r->from, "general.architecture", true, &r->kind, r->err));
    if (strcmp(r->kind, "llama") == 0 || strcmp(r->kind, "qwen2") == 0 || strcmp(r->kind, "deci") == 0)
        return KEEL_OK;
    keel_fail(r->err, KEEL_E_UNSUPPORTED, r->from->path,
              "general.architecture: expected \"llama\", \"qwen2\" or \"deci\", got \"%s\"", r->kind);
    return keel_hint(r->err, "Keel reads decoders such as SmolLM2, Qwen2.5 and Llama");
}

static bool has(const reader *r, const char *name) {
    return keel_gguf_tensor_of(r->from, name) != NULL;
}

static keel_status read_head_dim(reader *r) {
    keel_llama_config *c = &r->to->config;
    size_t value_dim, turned;
    c->head_dim = c->hidden / c->heads;
    if (c->head_dim == 0) c->head_dim = 1;
    KEEL_TRY(read_size(r, "attention.key_length", 4096, &c->head_dim));
    value_dim = turned = c->head_dim;
    KEEL_TRY(read_size(r, "attention.value_length", 4096, &value_dim));
    if (value_dim != c->head_dim) return refuse(r, "values are as wide as keys");
    KEEL_TRY(read_size(r, "rope.dimension_count", 4096, &turned));
    return turned == c->head_dim ? KEEL_OK : refuse(r, "RoPE turns whole heads");
}

/* Every layer has as many heads for each of keys and values. */
static keel_status read_heads(reader *r, uint32_t **kv_heads) {
    keel_llama_config *c = &r->to->config;
    uint32_t *heads;
    KEEL_TRY(read_layers(r, "attention.head_count", 1024, &c->heads, &heads));
    c->kv_heads = c->heads;
    KEEL_TRY(read_layers(r, "attention.head_count_kv", 1024, &c->kv_heads, kv_heads));
    if (heads && !*kv_heads && !keel_gguf_find(r->from, r->key)) *kv_heads = heads;
    for (size_t l = 0; (heads || *kv_heads) && l < c->layers; l++) {
        const size_t h = heads ? heads[l] : c->heads, kv = *kv_heads ? (*kv_heads)[l] : c->kv_heads;
        if (h * c->kv_heads != kv * c->heads || h % kv != 0)
            return keel_fail(r->err, KEEL_E_UNSUPPORTED, r->from->path,
                             "%s: layer %zu has %zu heads over %zu, and others %zu over %zu", r->key, l, h,
                             kv, c->heads, c->kv_heads);
    }
    return KEEL_OK;
}

static keel_status read_sizes(reader *r) {
    keel_llama_config *c = &r->to->config;
    uint32_t *kv_heads, *inner;
    const keel_gguf_tensor *embed = keel_gguf_tensor_of(r->from, "token_embd.weight");
    double experts = 0, window = 0;
    if (!embed || embed->n_dims != 2 || embed->dims[1] > 1 << 24)
        return keel_fail(r->err, KEEL_E_INVALID, r->from->path, "token_embd.weight: expected a matrix");
    c->vocab = embed->dims[1];
    KEEL_TRY(read_size(r, "embedding_length", 1 << 16, &c->hidden));
    KEEL_TRY(read_size(r, "block_count", 1024, &c->layers));
    KEEL_TRY(read_heads(r, &kv_heads));
    KEEL_TRY(read_layers(r, "feed_forward_length", 1 << 18, &c->inner, &inner));
    KEEL_TRY(read_size(r, "context_length", 1 << 26, &c->positions));
    KEEL_TRY(read_head_dim(r));
    if (c->heads % c->kv_heads == 0) KEEL_TRY(keel_llama_set_sizes(r->to, kv_heads, inner, r->err));
    KEEL_TRY(read_number(r, "attention.layer_norm_rms_epsilon", true, &c->epsilon));
    KEEL_TRY(read_number(r, "expert_count", false, &experts));
    if (experts != 0) return refuse(r, "Keel computes no mixture of experts");
    KEEL_TRY(read_number(r, "attention.sliding_window", false, &window));
    return window > 0 && window < (double)c->positions ? refuse(r, "Keel computes full attention alone")
                                                       : KEEL_OK;
}

/* ---- RoPE ---- */

/* The share of the unscaled frequency in one that is divided by f: s of the formula in llama.h. */
static double share_of(double f, double factor) {
    return factor > 1 ? (1 / f - 1 / factor) / (1 - 1 / factor) : 1;
}

/* Of positions, low and high only the ratios count, and those of low and high are 1 and 4 in all models of
 * Llama 3. */
bool keel__llama_find_scaling(keel_llama_config *c, const float *factors) {
    const size_t half = c->head_dim / 2;
    double wide = 0, narrow = INFINITY, original = 0;
    c->rope = KEEL_ROPE_LLAMA3;
    c->rope_factor = keel_gguf_shortest(factors[half - 1]);
    c->rope_low = 1;
    c->rope_high = 4;
    for (size_t i = 0; i < half; i++) {
        const double length = 2 * acos(-1) * pow(c->rope_theta, 2 * (double)i / (double)c->head_dim),
                     s = share_of((double)factors[i], c->rope_factor);
        if (s > 1e-4 && s < 1 - 1e-4) original = length * (c->rope_low + s * (c->rope_high - c->rope_low));
        if (s >= 1 - 1e-4) wide = fmax(wide, length);
        if (s <= 1e-4) narrow = fmin(narrow, length);
    }
    if (original == 0) original = (wide * c->rope_high + fmin(narrow, 1e9)) / 2; /* none is in between */
    if (!(original >= 1 && original < 1e8)) return false;
    c->rope_original = (size_t)floor(original + .5);
    for (size_t i = 0; i < half; i++)
        if (!(fabs(keel__llama_rope_divisor(c, i) / (double)factors[i] - 1) < 1e-4)) return false;
    return true;
}

/* rope_freqs.weight holds what each frequency is divided by. */
static keel_status read_factors(const reader *r, const keel_gguf_tensor *tensor) {
    keel_llama_config *c = &r->to->config;
    float *factors = keel_alloc(c->head_dim / 2 * sizeof *factors);
    if (!factors) return keel_nomem(r->err, r->from->path);
    keel_block_read(KEEL_BLOCK_F32, tensor->data, c->head_dim / 2, factors);
    const bool found = keel__llama_find_scaling(c, factors);
    keel_free(factors);
    return found ? KEEL_OK
                 : keel_fail(r->err, KEEL_E_UNSUPPORTED, r->from->path,
                             "rope_freqs.weight: expected the factors of Llama 3");
}

static keel_status read_rope(reader *r) {
    keel_llama_config *c = &r->to->config;
    const keel_gguf_tensor *factors = keel_gguf_tensor_of(r->from, "rope_freqs.weight");
    const char *kind = "none";
    double factor = 0;
    KEEL_TRY(read_number(r, "rope.freq_base", false, &c->rope_theta));
    KEEL_TRY(read_number(r, "rope.scale_linear", false, &factor)); /* of older files */
    if (factor > 1) kind = "linear";
    KEEL_TRY(keel_gguf_text(r->from, key_of(r, "rope.scaling.type"), false, &kind, r->err));
    if (factors) {
        if (factors->type != KEEL_BLOCK_F32 || factors->n_dims != 1 || factors->dims[0] != c->head_dim / 2)
            return keel_fail(r->err, KEEL_E_INVALID, r->from->path,
                             "rope_freqs.weight: expected %zu numbers in F32", c->head_dim / 2);
        return read_factors(r, factors);
    }
    if (strcmp(kind, "none") == 0) return KEEL_OK;
    if (strcmp(kind, "linear") != 0) return refuse(r, "expected \"none\" or \"linear\"");
    c->rope = KEEL_ROPE_LINEAR;
    KEEL_TRY(read_number(r, "rope.scaling.factor", factor == 0, &factor));
    c->rope_factor = factor;
    return KEEL_OK;
}

static keel_status read_config(reader *r) {
    keel_llama_config *c = &r->to->config;
    *c = (keel_llama_config){.rope_theta = 10000, .rope_factor = 1, .bos = -1, .pad = -1};
    KEEL_TRY(read_kind(r));
    KEEL_TRY(read_sizes(r));
    KEEL_TRY(read_rope(r));
    c->tied = !has(r, "output.weight");
    c->qkv_bias = has(r, "blk.0.attn_q.bias");
    c->out_bias = has(r, "blk.0.attn_output.bias");
    c->mlp_bias = has(r, "blk.0.ffn_gate.bias");
    return keel__llama_check(c, r->from->path, r->err);
}

/* ---- tokenizer and template ---- */

static keel_status read_tokenizer(reader *r) {
    keel_llama *to = r->to;
    keel_gguf_marks marks;
    const char *text = NULL;
    KEEL_TRY(keel_gguf_read_tokenizer(r->from, &to->tokenizer, &marks, r->err));
    if (keel_tokenizer_size(to->tokenizer) > to->config.vocab)
        return keel_fail(r->err, KEEL_E_INVALID, r->from->path, "it has %zu tokens, and %zu rows of them",
                         keel_tokenizer_size(to->tokenizer), to->config.vocab);
    to->config.bos = marks.bos;
    to->config.pad = marks.pad;
    to->config.adds_bos = marks.adds_bos && marks.bos >= 0;
    if (marks.eos >= 0) to->config.eos[to->config.n_eos++] = marks.eos;
    if (marks.eot >= 0 && marks.eot != marks.eos) to->config.eos[to->config.n_eos++] = marks.eot;
    for (size_t i = 0; i < to->config.n_eos; i++)
        if ((size_t)to->config.eos[i] >= to->config.vocab || to->config.bos >= (int32_t)to->config.vocab)
            return keel_fail(r->err, KEEL_E_INVALID, r->from->path, "a mark is beyond the %zu tokens",
                             to->config.vocab);
    KEEL_TRY(keel_gguf_text(r->from, "tokenizer.chat_template", false, &text, r->err));
    return text ? keel__llama_keep_template(to, text, r->from->path, r->err) : KEEL_OK;
}

/* ---- weights ---- */

void keel__llama_gguf_name(const keel_llama_config *c, size_t row, char out[64]) {
    static const char *const layer[KEEL_LLAMA_LAYER] = {
        [KEEL_LLAMA_NORM_1] = "attn_norm.weight", [KEEL_LLAMA_Q] = "attn_q.weight",
        [KEEL_LLAMA_K] = "attn_k.weight",         [KEEL_LLAMA_V] = "attn_v.weight",
        [KEEL_LLAMA_Q_BIAS] = "attn_q.bias",      [KEEL_LLAMA_K_BIAS] = "attn_k.bias",
        [KEEL_LLAMA_V_BIAS] = "attn_v.bias",      [KEEL_LLAMA_O] = "attn_output.weight",
        [KEEL_LLAMA_O_BIAS] = "attn_output.bias", [KEEL_LLAMA_NORM_2] = "ffn_norm.weight",
        [KEEL_LLAMA_GATE] = "ffn_gate.weight",    [KEEL_LLAMA_UP] = "ffn_up.weight",
        [KEEL_LLAMA_DOWN] = "ffn_down.weight",    [KEEL_LLAMA_GATE_BIAS] = "ffn_gate.bias",
        [KEEL_LLAMA_UP_BIAS] = "ffn_up.bias",     [KEEL_LLAMA_DOWN_BIAS] = "ffn_down.bias",
    };
    if (row == KEEL_LLAMA_EMBED || row >= keel_llama_norm(c)) {
        snprintf(out, 64, "%s.weight",
                 row == KEEL_LLAMA_EMBED     ? "token_embd"
                 : row == keel_llama_norm(c) ? "output_norm"
                                             : "output");
        return;
    }
    snprintf(out, 64, "blk.%zu.%s", (row - KEEL_LLAMA_FIRST_LAYER) / KEEL_LLAMA_LAYER,
             layer[(row - KEEL_LLAMA_FIRST_LAYER) % KEEL_LLAMA_LAYER]);
}

size_t keel__llama_pairs(const keel_llama_config *c, const char *kind, size_t row) {
    if (row < KEEL_LLAMA_FIRST_LAYER || row >= keel_llama_norm(c) || strcmp(kind, "qwen2") == 0) return 0;
    const size_t layer = (row - KEEL_LLAMA_FIRST_LAYER) / KEEL_LLAMA_LAYER;
    switch ((row - KEEL_LLAMA_FIRST_LAYER) % KEEL_LLAMA_LAYER) {
    case KEEL_LLAMA_Q:
    case KEEL_LLAMA_Q_BIAS:
        return keel_llama_heads(c, layer);
    case KEEL_LLAMA_K:
    case KEEL_LLAMA_K_BIAS:
        return keel_llama_kv_heads(c, layer);
    default:
        return 0;
    }
}

static keel_status find_tensor(const keel_llama *llama, const char *path, size_t row, keel__llama_tensor *out,
                               keel_err *err) {
    const keel_gguf *gguf = &llama->files->gguf;
    const bool matrix = keel_llama_is_matrix(&llama->config, row);
    const char *kind = "";
    char name[64];
    size_t rows, cols;
    keel__llama_gguf_name(&llama->config, row, name);
    keel_llama_shape(&llama->config, row, &rows, &cols);
    const keel_gguf_tensor *tensor = keel_gguf_tensor_of(gguf, name);
    if (!tensor) return keel_fail(err, KEEL_E_INVALID, path, "the tensor \"%s\" is missing", name);
    if (tensor->n_dims != (matrix ? 2u : 1u) || tensor->dims[0] != cols ||
        (matrix && tensor->dims[1] != rows))
        return keel_fail(err, KEEL_E_INVALID, path, "tensor \"%s\": expected %zu rows of %zu, got %zu of %zu",
                         name, rows, cols, tensor->n_dims > 1 ? tensor->dims[1] : 1, tensor->dims[0]);
    KEEL_TRY(keel_gguf_text(gguf, "general.architecture", true, &kind, err));
    *out = (keel__llama_tensor){
        .type = tensor->type, .data = tensor->data, .pairs = keel__llama_pairs(&llama->config, kind, row)};
    return KEEL_OK;
}

/* What stands in the file is computed with: a tensor of another name would be a part of the model left out.
 */
static keel_status check_names(const reader *r) {
    const keel_llama_config *c = &r->to->config;
    size_t known = has(r, "rope_freqs.weight");
    for (size_t row = 0; row <= keel_llama_head(c); row++) known += keel_llama_has(c, row);
    if (r->from->n_tensors <= known) return KEEL_OK; /* one that is missing is told by name */
    return keel_fail(r->err, KEEL_E_UNSUPPORTED, r->from->path,
                     "it has %zu tensors, and a model of its keys has %zu", r->from->n_tensors, known);
}

keel_status keel__llama_read_gguf(keel_llama *llama, const char *path, keel_llama_weights weights,
                                  keel_err *err) {
    keel_gguf *gguf = &llama->files->gguf;
    KEEL_TRY(keel_gguf_open(gguf, path, err));
    reader r = {.to = llama, .from = gguf, .err = err};
    KEEL_TRY(read_config(&r));
    KEEL_TRY(read_tokenizer(&r));
    KEEL_TRY(check_names(&r));
    for (size_t i = 0; i < gguf->n_tensors; i++) llama->file_bytes += gguf->tensors[i].bytes;
    KEEL_TRY(keel__llama_take(llama, path, weights, find_tensor, err));
    keel_gguf_forget(gguf);
    return KEEL_OK;
}
