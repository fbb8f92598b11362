/* Matrices of a BERT encoder in any number format. Inference multiplies by them as they are; tuning wants F32
 * (keel_bert_widen). */
#ifndef KEEL_POLICIES_TRANSFORMER_BERT_MATRIX_H
#define KEEL_POLICIES_TRANSFORMER_BERT_MATRIX_H

#include "core/matrix_fit.h"
#include "core/parallel.h"
#include "policies/transformer/bert.h"

/* Rows of the encoder itself: those of params before LoRA and heads. */
static inline size_t keel_bert_rows(const keel_bert *bert) {
    return KEEL_BERT_FIRST_LAYER + bert->config.layers * KEEL_BERT_LAYER;
}
/* Whether a row is a table or a matrix; else a vector, which is F32 always. */
bool keel_bert_is_matrix(size_t row);
/* A row as a matrix [out, in], F32 where it lies in params. */
keel_matrix keel_bert_matrix(const keel_bert *bert, size_t row);
/* Bytes of all weights of the encoder itself. */
size_t keel_bert_bytes(const keel_bert *bert);

/* How a matrix is held: F32 lies in params. */
typedef struct keel_bert_form {
    keel_matrix_type type;
    keel_matrix_inputs inputs;
    keel_matrix_fit fit; /* zeros: as keel_matrix_write_row; its importance is of the columns */
} keel_bert_form;

/* Puts each matrix in the form of its row in form [keel_bert_rows]; vectors, LoRA and heads stay. What is of
 * that type already keeps its bytes. pool NULL: the calling thread alone; the result is the same.
 * KEEL_E_UNSUPPORTED where a format does not take a width; KEEL_E_USAGE while corrections are not settled.
 * After an error the encoder is as before. */
keel_status keel_bert_convert(keel_bert *bert, const keel_bert_form *form, keel_pool *pool, keel_err *err);
/* All of them in F32. */
keel_status keel_bert_widen(keel_bert *bert, keel_err *err);

#endif
