/* An encoder on disk, for other programs and for keel_bert_load. */
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/json.h"
#include "core/safetensors.h"
#include "policies/transformer/bert_internal.h"
#include "policies/transformer/bert_matrix.h"
#include "policies/transformer/model_folder.h"
#include "policies/transformer/weights.h"

typedef struct writer {
    const keel_bert *bert;
    const char *dir;
    keel_arena arena;
    keel_err *err;
} writer;

/* ---- weights ---- */

/* A row's data; with low-rank corrections that are not merged, a copy that has them. */
static const keel_real *data_of(writer *w, size_t row) {
    const keel_bert *bert = w->bert;
    const keel_param *param = &bert->params.table[row];
    const size_t size = param->rows * param->cols, layer = (row - KEEL_BERT_FIRST_LAYER) / KEEL_BERT_LAYER;
    const keel_real *data = keel_params_at(&bert->params, row);
    keel_real *copy = NULL;
    if (row < KEEL_BERT_FIRST_LAYER || !bert->lora.rank || bert->unmerged) return data;
    for (size_t t = 0; t < KEEL__N_LORA_TARGETS; t++) {
        const keel__lora_target *to = &keel__lora_targets[t];
        if (!(bert->lora.targets >> t & 1) || row != keel__bert_row(layer, to->row)) continue;
        if (!copy) {
            copy = keel_arena_alloc(&w->arena, size * sizeof *copy);
            if (!copy) return NULL;
            memcpy(copy, data, size * sizeof *copy);
        }
        keel__lora_add(bert, layer, t, copy + to->part * (size / to->parts));
    }
    return copy ? copy : data;
}

/* The tensors that a row is in the file: floats, or bytes in a number format that its name ends in. */
static bool list_row(writer *w, size_t row, keel_named_tensor *tensors, size_t *count) {
    enum { ROOM = 160 };
    const keel__bert_source *source = keel__bert_source_of(row);
    const keel_matrix matrix = keel_bert_matrix(w->bert, row);
    const char *format = keel_weights_format(matrix.type),
               *data = format ? matrix.data : (const void *)data_of(w, row);
    const size_t rows = source->table ? matrix.rows / source->n : 1,
                 cols = source->table ? matrix.cols : matrix.cols / source->n,
                 bytes = keel_matrix_row_bytes(matrix.type, cols);
    for (size_t i = 0; data && i < source->n; i++) {
        char plain[128], *name = keel_arena_alloc(&w->arena, ROOM);
        if (!name) return false;
        keel__bert_name(row, source->name[i], plain);
        snprintf(name, ROOM, "%s%s%s", plain, format ? "." : "", format ? format : "");
        const size_t across = format ? bytes : cols;
        tensors[(*count)++] =
            keel_named_tensor_of(name, format ? KEEL_U8 : KEEL_F32, source->table ? rows : across,
                                 source->table ? across : 0, data + i * rows * bytes);
    }
    return data != NULL;
}

static keel_status write_weights(writer *w) {
    const size_t rows = keel__bert_row(w->bert->config.layers, 0);
    size_t count = 0;
    keel_named_tensor *tensors = keel_arena_calloc(&w->arena, 3 * rows, sizeof *tensors);
    char *path = keel_path_join(&w->arena, w->dir, "model.safetensors");
    if (!tensors || !path) return keel_nomem(w->err, w->dir);
    for (size_t row = 0; row < rows; row++)
        if (!list_row(w, row, tensors, &count)) return keel_nomem(w->err, w->dir);
    return keel_safetensors_write(path, tensors, count, NULL, w->err);
}

/* ---- what is text ---- */

/* Where there are fewer heads than fill the width, or layers of unequal sizes; other programs refuse such a
 * folder by the shapes of its tensors. */
static void put_layers(const keel_bert_config *c, keel_buf *to) {
    const size_t dim = keel_bert_head_dim(c);
    if (!c->layer_heads && !c->layer_inner && dim * c->heads == c->hidden) return;
    keel_buf_format(to, "  \"keel_layers\": {\"head_dim\": %zu", dim);
    if (c->layer_heads) keel_model_folder_put_sizes("heads", c->layer_heads, c->layers, to);
    if (c->layer_inner) keel_model_folder_put_sizes("inner", c->layer_inner, c->layers, to);
    keel_buf_text(to, "},\n");
}

/* Whether compressed matrices are multiplied with floats: all of them, or none. */
static bool multiplies_floats(const keel_bert *bert) {
    bool wide = false;
    for (size_t row = 0; row < keel_bert_rows(bert); row++)
        wide |= bert->compressed[row].data && bert->compressed[row].inputs == KEEL_INPUTS_F32;
    return wide;
}

static void put_config(const keel_bert *bert, keel_buf *to) {
    const keel_bert_config *c = &bert->config;
    keel_buf_text(to, "{\n  \"architectures\": [\"BertModel\"],\n  \"model_type\": \"bert\",\n"
                      "  \"dtype\": \"float32\",\n  \"torch_dtype\": \"float32\",\n"
                      "  \"hidden_act\": \"gelu\",\n  \"position_embedding_type\": \"absolute\",\n");
    keel_buf_format(to, "  \"vocab_size\": %zu,\n  \"hidden_size\": %zu,\n  \"num_hidden_layers\": %zu,\n",
                    c->vocab, c->hidden, c->layers);
    keel_buf_format(to, "  \"num_attention_heads\": %zu,\n  \"intermediate_size\": %zu,\n", c->heads,
                    c->inner);
    keel_buf_format(to, "  \"max_position_embeddings\": %zu,\n  \"type_vocab_size\": %zu,\n", c->positions,
                    c->types);
    put_layers(c, to);
    const int32_t pad = keel_tokenizer_find(bert->tokenizer, "[PAD]");
    if (pad >= 0) keel_buf_format(to, "  \"pad_token_id\": %d,\n", (int)pad);
    if (bert->compressed)
        keel_buf_format(to, "  %s,\n", keel_model_folder_quantised_text(multiplies_floats(bert)));
    keel_buf_text(to, "  \"layer_norm_eps\": ");
    keel_json_put_number(to, c->epsilon);
    keel_buf_text(to, "\n}\n");
}

/* Without this file transformers takes the tokenizer for one that lowers case, whatever tokenizer.json says.
 */
static void put_tokenizer_config(const keel_bert *bert, keel_buf *to) {
    static const char *const special[][2] = {{"pad_token", "[PAD]"},
                                             {"unk_token", "[UNK]"},
                                             {"cls_token", "[CLS]"},
                                             {"sep_token", "[SEP]"},
                                             {"mask_token", "[MASK]"}};
    keel_buf_text(to, "{\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\",\n");
    for (size_t i = 0; i < sizeof special / sizeof *special; i++)
        if (keel_tokenizer_find(bert->tokenizer, special[i][1]) >= 0)
            keel_buf_format(to, "  \"%s\": \"%s\",\n", special[i][0], special[i][1]);
    keel_buf_text(to, "  \"model_input_names\": [\"input_ids\", \"token_type_ids\", \"attention_mask\"],\n");
    keel_buf_format(to, "  \"model_max_length\": %zu\n}\n", bert->config.max_tokens);
}

static void put_modules(const keel_bert *bert, keel_buf *to) {
    static const char *const modules[][2] = {
        {"", "Transformer"}, {"1_Pooling", "Pooling"}, {"2_Normalize", "Normalize"}};
    const size_t n = bert->config.normalise ? 3 : 2;
    for (size_t i = 0; i < n; i++)
        keel_buf_format(to,
                        "%s{\"idx\": %zu, \"name\": \"%zu\", \"path\": \"%s\", \"type\": "
                        "\"sentence_transformers.models.%s\"}",
                        i ? ",\n " : "[", i, i, modules[i][0], modules[i][1]);
    keel_buf_text(to, "]\n");
}

static void put_pooling(const keel_bert *bert, keel_buf *to) {
    const bool first = bert->config.first_token;
    keel_buf_format(to,
                    "{\n  \"word_embedding_dimension\": %zu,\n  \"pooling_mode_cls_token\": %s,\n"
                    "  \"pooling_mode_mean_tokens\": %s,\n  \"pooling_mode_max_tokens\": false,\n"
                    "  \"pooling_mode_mean_sqrt_len_tokens\": false\n}\n",
                    bert->config.hidden, first ? "true" : "false", first ? "false" : "true");
}

static void put_length(const keel_bert *bert, keel_buf *to) {
    keel_buf_format(to, "{\n  \"max_seq_length\": %zu,\n  \"do_lower_case\": false\n}\n",
                    bert->config.max_tokens);
}

static void put_tokenizer(const keel_bert *bert, keel_buf *to) {
    size_t length;
    const char *text = keel_tokenizer_file(bert->tokenizer, &length);
    keel_buf_append(to, text, length);
}

static const struct {
    const char *name;
    void (*put)(const keel_bert *bert, keel_buf *to);
} texts[] = {
    {"config.json", put_config},
    {"tokenizer.json", put_tokenizer},
    {"tokenizer_config.json", put_tokenizer_config},
    {"modules.json", put_modules},
    {"1_Pooling/config.json", put_pooling},
    {"sentence_bert_config.json", put_length},
};

static keel_status write_text(writer *w, size_t k) {
    keel_buf text = {0};
    char *path = keel_path_join(&w->arena, w->dir, texts[k].name);
    texts[k].put(w->bert, &text);
    keel_status status = path && !text.failed ? keel_file_write(path, text.data, text.length, w->err)
                                              : keel_nomem(w->err, w->dir);
    keel_buf_free(&text);
    return status;
}

static keel_status write_all(writer *w) {
    char *pooling = keel_path_join(&w->arena, w->dir, "1_Pooling");
    if (!pooling) return keel_nomem(w->err, w->dir);
    KEEL_TRY(keel_folder_make(pooling, w->err));
    KEEL_TRY(write_weights(w));
    for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) KEEL_TRY(write_text(w, k));
    return KEEL_OK;
}

keel_status keel_bert_save(const keel_bert *bert, const char *dir, keel_err *err) {
    writer w = {.bert = bert, .dir = dir, .err = err};
    keel_status status = write_all(&w);
    keel_arena_free(&w.arena);
    return status;
}
