/* Between the files of the encoder: bert_encode.c runs it, bert_tape.c differentiates it. */
#ifndef KEEL_POLICIES_TRANSFORMER_BERT_INTERNAL_H
#define KEEL_POLICIES_TRANSFORMER_BERT_INTERNAL_H

#include "policies/transformer/bert.h"

/* Whether ids, types and lengths of the batch fit the encoder; tokens of the longest text. */
keel_status keel__bert_check(const keel_bert *bert, const keel_bert_batch *batch, size_t *longest,
                             keel_err *err);
/* Shape of a row, in whatever number format it is. */
void keel__bert_shape(const keel_bert_config *config, size_t row, size_t *rows, size_t *cols);
/* KEEL_E_USAGE: what tunes or corrects an encoder wants its matrices in F32. */
keel_status keel__bert_refuse_compressed(keel_err *err);
/* Memory of an encoder whose first rows are in these number formats. */
typedef struct keel__bert_rooms {
    keel_params params;
    keel_matrix *compressed; /* [n]; NULL: none is */
    keel_arena held;
} keel__bert_rooms;
/* table [count]: rows with the shapes of F32, to be changed; type [n] of the first n of them, F32 for
 * vectors. Nothing is written into it. After an error `out` is to be freed all the same. */
keel_status keel__bert_rooms_make(keel__bert_rooms *out, keel_param *table, size_t count,
                                  const keel_matrix_type *type, size_t n, keel_err *err);
void keel__bert_rooms_free(keel__bert_rooms *rooms);
/* Bytes of row r of a compressed matrix, to be filled. */
char *keel__bert_rooms_row(const keel__bert_rooms *rooms, size_t row, size_t r);
/* Once all is filled: the encoder has it instead of what it had. */
void keel__bert_rooms_take(keel_bert *bert, keel__bert_rooms *rooms);
/* Where a row of the table comes from in a file: its name there; for q, k and v three of them. */
typedef struct keel__bert_source {
    const char *name[3];
    size_t n;
    bool table; /* a matrix, else a vector */
} keel__bert_source;
const keel__bert_source *keel__bert_source_of(size_t row);
/* "encoder.layer.3.output.dense.bias" of a row of layer 3 and one of its names. */
void keel__bert_name(size_t row, const char *name, char out[128]);
/* Place in params of a row of a layer. */
static inline size_t keel__bert_row(size_t layer, size_t row) {
    return KEEL_BERT_FIRST_LAYER + layer * KEEL_BERT_LAYER + row;
}

/* The linear layers that LoRA may go to, in the order of their bits. */
enum { KEEL__N_LORA_TARGETS = 6 };
typedef struct keel__lora_target {
    size_t row;         /* of the layer's weights; its bias is the next */
    size_t part, parts; /* of the rows of these weights; query, key and value share a matrix */
    const char *module; /* "attention.self.query" */
} keel__lora_target;
extern const keel__lora_target keel__lora_targets[KEEL__N_LORA_TARGETS];
/* Row in params of A [rank, in] of a target that bert->lora has; B [out, rank] is the next. */
size_t keel__lora_row(const keel_bert *bert, size_t layer, size_t target);
/* weights [out, in] of a target += s B A; those of query, key and value are parts of one row. */
void keel__lora_add(const keel_bert *bert, size_t layer, size_t target, keel_real *weights);

#endif
