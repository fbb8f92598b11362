/* Matrices of models in smaller number formats (core/matrix.h). */
#ifndef KEEL_POLICIES_COMPRESS_QUANTISE_H
#define KEEL_POLICIES_COMPRESS_QUANTISE_H

#include "core/matrix_fit.h"
#include "policies/compress/compress.h"

/* The format of a matrix of so many columns under config.weights, not KEEL_COMPRESS_NONE; outer (an
 * embedding, a head) has 8 bits at least. */
keel_matrix_type keel_quantise_type(const keel_compress_config *config, bool outer, size_t cols);

/* *out: the matrix in the type, its data taken with keel_alloc. */
keel_status keel_quantise_matrix(const keel_matrix *from, keel_matrix_type type, const keel_matrix_fit *fit,
                                 const keel_compress_job *job, keel_matrix *out, keel_err *err);

/* In place (policies/compress/compress.h). */
keel_status keel_quantise_llama(keel_llama *llama, const keel_compress_job *job, keel_err *err);
keel_status keel_quantise_bert(keel_bert *bert, const keel_compress_job *job, keel_err *err);

#endif
