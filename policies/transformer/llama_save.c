/* Decoders on disk, for other programs and for keel_llama_open: folders as Hugging Face lays them out. */
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/json.h"
#include "core/numeric.h"
#include "policies/transformer/llama_internal.h"
#include "policies/transformer/model_folder.h"

static const size_t usual_shard = (size_t)5000000000;
enum { CHUNK = 1 << 20 };

/* ---- rows ---- */

/* Where `row` of a file in pairs is among rows in halves. */
static size_t from_pairs(size_t row, size_t rows, size_t heads) {
    const size_t dim = rows / heads, at = row % dim;
    return row - at + at / 2 + at % 2 * (dim / 2);
}

static bool is_same(keel_matrix_type held, keel_block_type type) {
    keel_matrix_type as = KEEL_MATRIX_F32;
    return keel_block_is_matrix(type, &as) && as == held;
}

/* Row `at` in the type; a file that was mapped is looked at here for the first time. row: room for two. */
static keel_status put_row(const keel_matrix *matrix, size_t at, keel_block_type type, size_t pairs,
                           const char *name, float *row, char *to, keel_err *err) {
    const size_t cols = matrix->cols, bytes = keel_block_row_bytes(type, cols);
    const bool mixed = pairs && matrix->rows == 1; /* a vector, whose numbers are in pairs */
    keel_matrix_read_row(matrix, at, row);
    if (!keel_all_finite(row, cols))
        return keel_fail(err, KEEL_E_INVALID, name, "it holds numbers that are not finite");
    for (size_t i = 0; mixed && i < cols; i++) row[cols + i] = row[from_pairs(i, cols, pairs)];
    if (is_same(matrix->type, type) && !mixed)
        memcpy(to, (const char *)matrix->data + at * bytes, bytes);
    else if (!keel_block_write(type, mixed ? row + cols : row, cols, to))
        return keel_fail(err, KEEL_E_INVALID, name, "it has weights that are too large for %s",
                         keel_block_name(type));
    return KEEL_OK;
}

keel_status keel__llama_write_row(const keel_llama *llama, size_t row, keel_block_type type, size_t pairs,
                                  keel_file_writer *to, keel_err *err) {
    const keel_matrix *matrix = &llama->matrix[row];
    const size_t bytes = keel_block_row_bytes(type, matrix->cols), many = CHUNK / bytes + 1;
    float *spare = keel_alloc(2 * matrix->cols * sizeof *spare);
    char *chunk = keel_alloc((many < matrix->rows ? many : matrix->rows) * bytes), name[128];
    keel_status status = spare && chunk ? KEEL_OK : keel_nomem(err, "weights");
    keel_llama_name(&llama->config, row, name);
    for (size_t r = 0; status == KEEL_OK && r < matrix->rows; r += many) {
        const size_t end = matrix->rows - r < many ? matrix->rows : r + many;
        for (size_t i = r; status == KEEL_OK && i < end; i++) {
            const size_t at = pairs && matrix->rows > 1 ? from_pairs(i, matrix->rows, pairs) : i;
            status = put_row(matrix, at, type, pairs, name, spare, chunk + (i - r) * bytes, err);
        }
        if (status == KEEL_OK) status = keel_file_writer_add(to, chunk, (end - r) * bytes, err);
    }
    keel_free(spare);
    keel_free(chunk);
    return status;
}

/* ---- model.safetensors, or shards ---- */

typedef struct writer {
    const keel_llama *llama;
    const char *dir;
    keel_block_type type;
    bool as_held; /* but for rows that safetensors have no name for */
    size_t n, n_shards;
    keel_named_tensor *tensors; /* [n] */
    size_t *row, *shard;        /* [n] */
    keel_arena arena;
    keel_err *err;
} writer;

/* The format's name where the row is written as it is held; else NULL: in the writer's type. */
static const char *format_of(const writer *w, size_t row) {
    return w->as_held ? keel_weights_format(w->llama->matrix[row].type) : NULL;
}

static keel_status add_data(void *context, const keel_named_tensor *tensor, keel_file_writer *to,
                            keel_err *err) {
    const writer *w = context;
    const size_t row = w->row[tensor - w->tensors];
    if (format_of(w, row)) return keel_file_writer_add(to, w->llama->matrix[row].data, tensor->bytes, err);
    return keel__llama_write_row(w->llama, row, w->type, 0, to, err);
}

static const char *shard_name(const writer *w, size_t shard, char out[64]) {
    if (w->n_shards == 1)
        snprintf(out, 64, "model.safetensors");
    else
        snprintf(out, 64, "model-%05zu-of-%05zu.safetensors", shard + 1, w->n_shards);
    return out;
}

/* What a row is in the file. */
static keel_status describe(const writer *w, size_t row, keel_arena *arena, keel_named_tensor *out) {
    static const keel_dtype dtypes[] = {
        [KEEL_BLOCK_F32] = KEEL_F32, [KEEL_BLOCK_F16] = KEEL_F16, [KEEL_BLOCK_BF16] = KEEL_BF16};
    const keel_matrix *matrix = &w->llama->matrix[row];
    const char *format = format_of(w, row);
    char *name = keel_arena_alloc(arena, 160);
    if (!name) return keel_nomem(w->err, w->dir);
    keel_llama_name(&w->llama->config, row, name);
    if (format) snprintf(name + strlen(name), 32, ".%s", format);
    const bool table = keel_llama_is_matrix(&w->llama->config, row);
    *out = keel_named_tensor_of(name, format ? KEEL_U8 : dtypes[w->type], table ? matrix->rows : matrix->cols,
                                !table   ? 0
                                : format ? keel_matrix_row_bytes(matrix->type, matrix->cols)
                                         : matrix->cols,
                                NULL);
    return KEEL_OK;
}

static keel_status list_tensors(writer *w, size_t shard_bytes) {
    const keel_llama *llama = w->llama;
    size_t used = 0;
    w->tensors = keel_arena_calloc(&w->arena, llama->n_rows, sizeof *w->tensors);
    w->row = keel_arena_calloc(&w->arena, llama->n_rows, sizeof *w->row);
    w->shard = keel_arena_calloc(&w->arena, llama->n_rows, sizeof *w->shard);
    if (!w->tensors || !w->row || !w->shard) return keel_nomem(w->err, w->dir);
    w->n_shards = 1;
    for (size_t row = 0; row < llama->n_rows; row++) {
        keel_named_tensor *tensor = &w->tensors[w->n];
        if (!llama->matrix[row].data) continue;
        KEEL_TRY(describe(w, row, &w->arena, tensor));
        if (used && tensor->bytes > shard_bytes - used) w->n_shards++, used = 0;
        used = used + tensor->bytes < shard_bytes ? used + tensor->bytes : shard_bytes;
        w->row[w->n] = row;
        w->shard[w->n++] = w->n_shards - 1;
    }
    return KEEL_OK;
}

static void put_index(const writer *w, keel_buf *to) {
    char name[64];
    size_t bytes = 0;
    for (size_t i = 0; i < w->n; i++) bytes += w->tensors[i].bytes;
    keel_buf_format(to, "{\n  \"metadata\": {\"total_size\": %zu},\n  \"weight_map\": {", bytes);
    for (size_t i = 0; i < w->n; i++)
        keel_buf_format(to, "%s\n    \"%s\": \"%s\"", i ? "," : "", w->tensors[i].name,
                        shard_name(w, w->shard[i], name));
    keel_buf_text(to, "\n  }\n}\n");
}

static keel_status write_file(writer *w, const char *name, keel_buf *text) {
    char *path = keel_path_join(&w->arena, w->dir, name);
    keel_status status = path && !text->failed ? keel_file_write(path, text->data, text->length, w->err)
                                               : keel_nomem(w->err, w->dir);
    keel_buf_free(text);
    return status;
}

static keel_status write_weights(writer *w, size_t shard_bytes) {
    char name[64];
    keel_buf index = {0};
    KEEL_TRY(list_tensors(w, shard_bytes));
    for (size_t shard = 0, first = 0; shard < w->n_shards; shard++) {
        size_t end = first;
        while (end < w->n && w->shard[end] == shard) end++;
        char *path = keel_path_join(&w->arena, w->dir, shard_name(w, shard, name));
        if (!path) return keel_nomem(w->err, w->dir);
        KEEL_TRY(keel_safetensors_stream(path, w->tensors + first, end - first, NULL, add_data, w, w->err));
        first = end;
    }
    if (w->n_shards == 1) return KEEL_OK;
    put_index(w, &index);
    return write_file(w, "model.safetensors.index.json", &index);
}

/* ---- what is text ---- */

static void put_number(keel_buf *to, const char *key, double number) {
    keel_buf_format(to, "  \"%s\": ", key);
    keel_json_put_number(to, number);
    keel_buf_text(to, ",\n");
}

/* A number that may have a fraction: the library tells 1 from 1.0. */
static void put_fraction(keel_buf *to, double number) {
    const size_t from = to->length;
    keel_json_put_number(to, number);
    if (!to->failed && strcspn(to->data + from, ".e") == to->length - from) keel_buf_text(to, ".0");
}

static void put_real(keel_buf *to, const char *key, double number) {
    keel_buf_format(to, "  \"%s\": ", key);
    put_fraction(to, number);
    keel_buf_text(to, ",\n");
}

static void put_bool(keel_buf *to, const char *key, bool value) {
    keel_buf_format(to, "  \"%s\": %s,\n", key, value ? "true" : "false");
}

static void put_rope(const keel_llama_config *c, bool theta, keel_buf *to) {
    static const char *const kinds[] = {"default", "linear", "llama3"};
    keel_buf_format(to, "{\"rope_type\": \"%s\"", kinds[c->rope]);
    if (theta) keel_buf_text(to, ", \"rope_theta\": "), put_fraction(to, c->rope_theta);
    if (c->rope != KEEL_ROPE_PLAIN) keel_buf_text(to, ", \"factor\": "), put_fraction(to, c->rope_factor);
    if (c->rope == KEEL_ROPE_LLAMA3) {
        keel_buf_text(to, ", \"low_freq_factor\": ");
        put_fraction(to, c->rope_low);
        keel_buf_text(to, ", \"high_freq_factor\": ");
        put_fraction(to, c->rope_high);
        keel_buf_format(to, ", \"original_max_position_embeddings\": %zu", c->rope_original);
    }
    keel_buf_text(to, "}");
}

/* Where layers are of unequal sizes; other programs refuse such a folder by the shapes of its tensors. */
static void put_layers(const keel_llama_config *c, keel_buf *to) {
    if (!c->layer_kv_heads && !c->layer_inner) return;
    keel_buf_format(to, "  \"keel_layers\": {\"head_dim\": %zu", c->head_dim);
    if (c->layer_kv_heads) keel_model_folder_put_sizes("kv_heads", c->layer_kv_heads, c->layers, to);
    if (c->layer_inner) keel_model_folder_put_sizes("inner", c->layer_inner, c->layers, to);
    keel_buf_text(to, "},\n");
}

/* One id alone, or a list. */
static void put_marks(const keel_llama_config *c, keel_buf *to) {
    if (c->bos >= 0) put_number(to, "bos_token_id", c->bos);
    if (c->pad >= 0) put_number(to, "pad_token_id", c->pad);
    if (!c->n_eos) return;
    keel_buf_format(to, "  \"eos_token_id\": %s%d", c->n_eos > 1 ? "[" : "", (int)c->eos[0]);
    for (size_t i = 1; i < c->n_eos; i++) keel_buf_format(to, ", %d", (int)c->eos[i]);
    keel_buf_text(to, c->n_eos > 1 ? "],\n" : ",\n");
}

static void put_quantised(const writer *w, keel_buf *to) {
    bool any = false, wide = false;
    for (size_t row = 0; row < w->llama->n_rows; row++) {
        if (!w->llama->matrix[row].data || !format_of(w, row)) continue;
        any = true;
        wide = wide || w->llama->matrix[row].inputs == KEEL_INPUTS_F32;
    }
    if (any) keel_buf_format(to, "  %s,\n", keel_model_folder_quantised_text(wide));
}

static void put_config(const writer *w, keel_buf *to) {
    const keel_llama_config *c = &w->llama->config;
    const bool qwen2 = keel__llama_is_qwen2(c);
    const char *type = w->type == KEEL_BLOCK_F32   ? "float32"
                       : w->type == KEEL_BLOCK_F16 ? "float16"
                                                   : "bfloat16";
    keel_buf_format(to, "{\n  \"architectures\": [\"%sForCausalLM\"],\n  \"model_type\": \"%s\",\n",
                    qwen2 ? "Qwen2" : "Llama", qwen2 ? "qwen2" : "llama");
    keel_buf_format(to, "  \"dtype\": \"%s\",\n  \"torch_dtype\": \"%s\",\n  \"hidden_act\": \"silu\",\n",
                    type, type);
    put_number(to, "vocab_size", (double)c->vocab);
    put_number(to, "hidden_size", (double)c->hidden);
    put_number(to, "intermediate_size", (double)c->inner);
    put_number(to, "num_hidden_layers", (double)c->layers);
    put_number(to, "num_attention_heads", (double)c->heads);
    put_number(to, "num_key_value_heads", (double)c->kv_heads);
    put_number(to, "head_dim", (double)c->head_dim);
    put_layers(c, to);
    put_number(to, "max_position_embeddings", (double)c->positions);
    put_real(to, "rms_norm_eps", c->epsilon);
    put_real(to, "rope_theta", c->rope_theta);
    keel_buf_text(to, "  \"rope_scaling\": ");
    if (c->rope == KEEL_ROPE_PLAIN)
        keel_buf_text(to, "null");
    else
        put_rope(c, false, to);
    keel_buf_text(to, ",\n  \"rope_parameters\": ");
    put_rope(c, true, to);
    keel_buf_text(to, ",\n");
    if (!qwen2) put_bool(to, "attention_bias", c->qkv_bias), put_bool(to, "mlp_bias", c->mlp_bias);
    if (qwen2) put_bool(to, "use_sliding_window", false);
    put_marks(c, to);
    put_quantised(w, to);
    keel_buf_format(to, "  \"tie_word_embeddings\": %s\n}\n", c->tied ? "true" : "false");
}

static void put_generation(const writer *w, keel_buf *to) {
    const keel_llama_defaults *d = &w->llama->defaults;
    const bool samples = d->temperature > 0;
    keel_buf_text(to, "{\n");
    put_marks(&w->llama->config, to);
    if (samples) put_real(to, "temperature", d->temperature);
    if (samples) put_number(to, "top_k", (double)d->top_k);
    if (samples) put_real(to, "top_p", d->top_p);
    if (samples && d->min_p > 0) put_real(to, "min_p", d->min_p);
    put_real(to, "repetition_penalty", d->repetition_penalty);
    keel_buf_format(to, "  \"do_sample\": %s\n}\n", samples ? "true" : "false");
}

static void put_token(const writer *w, const char *key, int32_t id, keel_buf *to) {
    const char *text = id >= 0 ? keel_tokenizer_token(w->llama->tokenizer, id) : NULL;
    if (!text) return;
    keel_buf_format(to, "  \"%s\": ", key);
    keel_json_put_string(to, text);
    keel_buf_text(to, ",\n");
}

static void put_tokenizer_config(const writer *w, keel_buf *to) {
    const keel_llama_config *c = &w->llama->config;
    keel_buf_text(to, "{\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\",\n");
    put_token(w, "bos_token", c->bos, to);
    put_token(w, "eos_token", c->n_eos ? c->eos[0] : -1, to);
    put_token(w, "pad_token", c->pad, to);
    put_bool(to, "add_bos_token", c->adds_bos);
    put_bool(to, "clean_up_tokenization_spaces", false);
    if (w->llama->chat_source) {
        keel_buf_text(to, "  \"chat_template\": ");
        keel_json_put_string(to, w->llama->chat_source);
        keel_buf_text(to, ",\n");
    }
    keel_buf_format(to, "  \"model_max_length\": %zu\n}\n", c->positions);
}

static void put_tokenizer(const writer *w, keel_buf *to) {
    size_t length;
    const char *text = keel_tokenizer_file(w->llama->tokenizer, &length);
    keel_buf_append(to, text, length);
}

static const struct {
    const char *name;
    void (*put)(const writer *w, keel_buf *to);
} texts[] = {{"config.json", put_config},
             {"generation_config.json", put_generation},
             {"tokenizer.json", put_tokenizer},
             {"tokenizer_config.json", put_tokenizer_config}};

static keel_status write_all(writer *w, size_t shard_bytes) {
    const keel_llama_config *c = &w->llama->config;
    if (!keel__llama_is_qwen2(c) && c->qkv_bias != c->out_bias)
        return keel_fail(w->err, KEEL_E_UNSUPPORTED, w->dir, "no family of models has its biases");
    KEEL_TRY(write_weights(w, shard_bytes));
    for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
        keel_buf text = {0};
        texts[k].put(w, &text);
        KEEL_TRY(write_file(w, texts[k].name, &text));
    }
    return KEEL_OK;
}

/* The narrowest of F32 and BF16 that holds what is held in these as it is. */
static keel_block_type rest_of(const keel_llama *llama) {
    bool bf16 = false;
    for (size_t row = 0; row < llama->n_rows; row++) {
        if (!llama->matrix[row].data || !keel_llama_is_matrix(&llama->config, row)) continue;
        if (llama->matrix[row].type != KEEL_MATRIX_BF16) return KEEL_BLOCK_F32;
        bf16 = true;
    }
    return bf16 ? KEEL_BLOCK_BF16 : KEEL_BLOCK_F32;
}

keel_status keel_llama_save(const keel_llama *llama, const char *dir, keel_block_type type,
                            size_t shard_bytes, keel_err *err) {
    const bool as_held = type == KEEL_LLAMA_AS_HELD;
    if (as_held) type = rest_of(llama);
    writer w = {.llama = llama, .dir = dir, .type = type, .as_held = as_held, .err = err};
    if (type > KEEL_BLOCK_BF16)
        return keel_fail(err, KEEL_E_USAGE, dir, "a Hugging Face folder has F32, F16 or BF16, not %s",
                         keel_block_name(type));
    keel_status status = write_all(&w, shard_bytes ? shard_bytes : usual_shard);
    keel_arena_free(&w.arena);
    return status;
}
