/* Decoders as .gguf files, for llama.cpp and for keel_llama_open. */
#include <math.h>
#include <stdio.h>

#include "policies/transformer/gguf_tokenizer.h"
#include "policies/transformer/llama_internal.h"

typedef struct writer {
    const keel_llama *llama;
    const char *path;
    const char *kind;     /* general.architecture */
    keel_block_type type; /* or KEEL_LLAMA_AS_HELD */
    bool has_fours;       /* some matrices are held in 4 bits */
    keel_gguf_head head;
    keel_file_writer *file;
    float *factors; /* [head_dim / 2] what llama3 divides frequencies by */
    keel_err *err;
} writer;

/* In a .gguf file factors of frequencies are Llama's alone. */
static bool is_qwen2(const keel_llama_config *c) {
    return keel__llama_is_qwen2(c) && c->rope != KEEL_ROPE_LLAMA3;
}
/* What a .gguf file calls it: "deci" has sizes by layer, and is Llama otherwise. */
static const char *kind_of(const keel_llama_config *c) {
    return c->layer_kv_heads || c->layer_inner ? "deci" : is_qwen2(c) ? "qwen2" : "llama";
}

/* ---- what stands before the data ---- */

static void put_u32(writer *w, const char *name, size_t number) {
    char key[96];
    snprintf(key, sizeof key, "%s.%s", w->kind, name);
    keel_gguf_put_u32(&w->head, key, (uint32_t)number);
}

static void put_f32(writer *w, const char *name, double number) {
    char key[96];
    snprintf(key, sizeof key, "%s.%s", w->kind, name);
    keel_gguf_put_f32(&w->head, key, number);
}

/* heads for each of keys and values, or other sizes: factor 1. */
static void put_layers(writer *w, const char *name, size_t all, const uint32_t *size, size_t factor) {
    char key[96];
    snprintf(key, sizeof key, "%s.%s", w->kind, name);
    if (!size) {
        keel_gguf_put_u32(&w->head, key, (uint32_t)all);
        return;
    }
    keel_gguf_put_list(&w->head, key, KEEL_GGUF_I32, w->llama->config.layers);
    for (size_t l = 0; l < w->llama->config.layers; l++)
        keel_gguf_add_i32(&w->head, (int32_t)(size[l] * factor));
}

static bool is_eight(keel_matrix_type type) {
    return type == KEEL_MATRIX_Q8_0 || type == KEEL_MATRIX_I8;
}

/* Vectors are F32. In 4 bits, embedding and head have 8, and so have those layers that have 8 where others
 * have 4 already. */
static keel_block_type type_of(const writer *w, size_t row) {
    const keel_llama_config *c = &w->llama->config;
    const keel_matrix_type held = w->llama->matrix[row].type;
    keel_block_type type = w->type;
    if (!keel_llama_is_matrix(c, row)) return KEEL_BLOCK_F32;
    if (type == KEEL_LLAMA_AS_HELD) keel_block_of_matrix(held, &type);
    const bool outer = row == KEEL_LLAMA_EMBED || row == keel_llama_head(c);
    return w->type == KEEL_BLOCK_Q4_0 && (outer || (w->has_fours && is_eight(held))) ? KEEL_BLOCK_Q8_0 : type;
}

static void put_config(writer *w) {
    static const uint32_t file_types[] = {
        [KEEL_BLOCK_F32] = 0,  [KEEL_BLOCK_F16] = 1,  [KEEL_BLOCK_BF16] = 32,
        [KEEL_BLOCK_Q8_0] = 7, [KEEL_BLOCK_Q4_0] = 2,
    };
    const keel_llama_config *c = &w->llama->config;
    keel_gguf_put_text(&w->head, "general.architecture", w->kind);
    keel_gguf_put_text(&w->head, "general.type", "model");
    keel_gguf_put_u32(&w->head, "general.file_type", file_types[type_of(w, keel_llama_row(0, KEEL_LLAMA_Q))]);
    keel_gguf_put_u32(&w->head, "general.quantization_version", 2);
    put_u32(w, "vocab_size", c->vocab);
    put_u32(w, "context_length", c->positions);
    put_u32(w, "embedding_length", c->hidden);
    put_u32(w, "block_count", c->layers);
    put_layers(w, "feed_forward_length", c->inner, c->layer_inner, 1);
    put_layers(w, "attention.head_count", c->heads, c->layer_kv_heads, c->heads / c->kv_heads);
    put_layers(w, "attention.head_count_kv", c->kv_heads, c->layer_kv_heads, 1);
    put_u32(w, "attention.key_length", c->head_dim);
    put_u32(w, "attention.value_length", c->head_dim);
    put_f32(w, "attention.layer_norm_rms_epsilon", c->epsilon);
    put_u32(w, "rope.dimension_count", c->head_dim);
    put_f32(w, "rope.freq_base", c->rope_theta);
    if (c->rope != KEEL_ROPE_LINEAR) return;
    char key[96];
    snprintf(key, sizeof key, "%s.rope.scaling.type", w->kind);
    keel_gguf_put_text(&w->head, key, "linear");
    put_f32(w, "rope.scaling.factor", c->rope_factor);
}

static keel_status put_tokenizer(writer *w) {
    const keel_llama_config *c = &w->llama->config;
    const keel_gguf_marks marks = {.bos = c->bos,
                                   .eos = c->n_eos ? c->eos[0] : -1,
                                   .eot = c->n_eos > 1 ? c->eos[1] : -1,
                                   .pad = c->pad,
                                   .adds_bos = c->adds_bos};
    KEEL_TRY(keel_gguf_put_tokenizer(&w->head, w->llama->tokenizer, &marks, c->vocab, w->err));
    if (w->llama->chat_source) keel_gguf_put_text(&w->head, "tokenizer.chat_template", w->llama->chat_source);
    return KEEL_OK;
}

/* From the factors alone the scaling must be found again. */
static keel_status make_factors(writer *w) {
    const keel_llama_config *c = &w->llama->config;
    keel_llama_config again = *c;
    if (c->rope != KEEL_ROPE_LLAMA3) return KEEL_OK;
    w->factors = keel_alloc(c->head_dim / 2 * sizeof *w->factors);
    if (!w->factors) return keel_nomem(w->err, w->path);
    for (size_t i = 0; i < c->head_dim / 2; i++) w->factors[i] = (float)keel__llama_rope_divisor(c, i);
    if (keel__llama_find_scaling(&again, w->factors) && again.rope_factor == c->rope_factor) return KEEL_OK;
    return keel_fail(
        w->err, KEEL_E_UNSUPPORTED, w->path,
        "rope_type llama3: a .gguf file keeps factors alone, and they do not tell its %zu positions, %g and %g",
        c->rope_original, c->rope_low, c->rope_high);
}

static keel_status put_tensors(writer *w) {
    const keel_llama_config *c = &w->llama->config;
    char name[64];
    if (c->rope == KEEL_ROPE_LLAMA3)
        keel_gguf_put_tensor(&w->head, "rope_freqs.weight", KEEL_BLOCK_F32, 0, c->head_dim / 2);
    for (size_t row = 0; row < w->llama->n_rows; row++) {
        const keel_matrix *matrix = &w->llama->matrix[row];
        const keel_block_type type = type_of(w, row);
        if (!matrix->data) continue;
        keel__llama_gguf_name(c, row, name);
        if (matrix->cols % keel_block_cols(type) != 0)
            return keel_fail(w->err, KEEL_E_UNSUPPORTED, w->path,
                             "tensor \"%s\": %s needs a width that %zu divides, got %zu", name,
                             keel_block_name(type), keel_block_cols(type), matrix->cols);
        keel_gguf_put_tensor(&w->head, name, type, keel_llama_is_matrix(c, row) ? matrix->rows : 0,
                             matrix->cols);
    }
    return KEEL_OK;
}

/* ---- data ---- */

static keel_status add_padding(writer *w, size_t bytes) {
    static const char zeros[32];
    return keel_file_writer_add(w->file, zeros, keel_gguf_padding(bytes), w->err);
}

static keel_status add_factors(writer *w) {
    const size_t bytes = w->llama->config.head_dim / 2 * sizeof *w->factors;
    KEEL_TRY(keel_file_writer_add(w->file, w->factors, bytes, w->err));
    return add_padding(w, bytes);
}

static keel_status add_data(writer *w) {
    const keel_llama_config *c = &w->llama->config;
    if (c->rope == KEEL_ROPE_LLAMA3) KEEL_TRY(add_factors(w));
    for (size_t row = 0; row < w->llama->n_rows; row++) {
        const keel_matrix *matrix = &w->llama->matrix[row];
        const keel_block_type type = type_of(w, row);
        if (!matrix->data) continue;
        KEEL_TRY(
            keel__llama_write_row(w->llama, row, type, keel__llama_pairs(c, w->kind, row), w->file, w->err));
        KEEL_TRY(add_padding(w, matrix->rows * keel_block_row_bytes(type, matrix->cols)));
    }
    return KEEL_OK;
}

static keel_status write_file(writer *w) {
    keel_buf head = {0};
    keel_status status = keel_gguf_finish(&w->head, &head, w->err);
    if (status == KEEL_OK) status = keel_file_writer_open(&w->file, w->path, false, w->err);
    if (status == KEEL_OK) {
        status = keel_file_writer_add(w->file, head.data, head.length, w->err);
        if (status == KEEL_OK) status = add_data(w);
        if (status == KEEL_OK)
            status = keel_file_writer_commit(w->file, w->err);
        else
            keel_file_writer_abandon(w->file);
    }
    keel_buf_free(&head);
    return status;
}

/* Which matrices there are; held in a format that no file has, only another is written. */
static keel_status look(writer *w) {
    for (size_t row = 0; row < w->llama->n_rows; row++) {
        const keel_matrix *matrix = &w->llama->matrix[row];
        keel_block_type type;
        if (!matrix->data) continue;
        w->has_fours = w->has_fours || matrix->type == KEEL_MATRIX_Q4_0 || matrix->type == KEEL_MATRIX_Q4_G32;
        if (w->type != KEEL_LLAMA_AS_HELD || keel_block_of_matrix(matrix->type, &type)) continue;
        keel_fail(w->err, KEEL_E_UNSUPPORTED, w->path,
                  "the model has weights in %s, which no .gguf file says",
                  keel_matrix_type_name(matrix->type));
        return keel_hint(w->err, "--weights %s rounds them to what is nearest",
                         matrix->type == KEEL_MATRIX_I8 && !w->has_fours ? "q8_0" : "q4_0");
    }
    return KEEL_OK;
}

keel_status keel_llama_save_gguf(const keel_llama *llama, const char *path, keel_block_type type,
                                 keel_err *err) {
    writer w = {.llama = llama, .path = path, .kind = kind_of(&llama->config), .type = type, .err = err};
    if (type == KEEL_BLOCK_Q4_1)
        return keel_fail(err, KEEL_E_USAGE, path, "F32, F16, BF16, Q8_0 and Q4_0 are written, not %s",
                         keel_block_name(type));
    KEEL_TRY(look(&w));
    put_config(&w);
    keel_status status = make_factors(&w);
    if (status == KEEL_OK) status = put_tokenizer(&w);
    if (status == KEEL_OK) status = put_tensors(&w);
    if (status == KEEL_OK) status = write_file(&w);
    keel_gguf_head_free(&w.head);
    keel_free(w.factors);
    return status;
}
