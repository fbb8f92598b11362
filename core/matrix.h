/* Matrices of weights as they lie in a file, in one of several number formats. */
#ifndef KEEL_CORE_MATRIX_H
#define KEEL_CORE_MATRIX_H

#include <stddef.h>
#include <stdint.h>

typedef enum keel_matrix_type {
    KEEL_MATRIX_F32,
    KEEL_MATRIX_BF16, /* the upper half of a float */
    KEEL_MATRIX_Q8_0, /* as in GGUF: blocks of 32 columns, {fp16 scale; int8 weight[32]}; cols % 32 == 0 */
    KEEL_N_MATRIX_TYPES
} keel_matrix_type;

enum { KEEL_MATRIX_BLOCK = 32, KEEL_MATRIX_BLOCK_BYTES = 34 }; /* of Q8_0 */

/* [rows, cols], row-major, little-endian. Data are borrowed (a mapped file, say) and at any address: they are
 * read byte by byte, never through a pointer to numbers. */
typedef struct keel_matrix {
    keel_matrix_type type;
    size_t rows, cols;
    const void *data; /* NULL: there is no such matrix */
    const int32_t
        *sums; /* Q8_0: [rows, cols / 32] by keel_matrix_sum_blocks, which products need; else NULL */
} keel_matrix;

/* Bytes of a row. */
size_t keel_matrix_row_bytes(keel_matrix_type type, size_t cols);
/* A row in floats; what a number format holds, a float holds. */
void keel_matrix_read_row(const keel_matrix *matrix, size_t row, float *out);
/* A row rounded: to nearest, ties to even (BF16; NaN stays NaN); each block to its largest size / 127, ties
 * away from 0, as ggml's quantize_row_q8_0 (Q8_0; finite numbers only). to: keel_matrix_row_bytes. */
void keel_matrix_write_row(keel_matrix_type type, const float *from, size_t cols, void *to);
/* sums of a Q8_0 matrix: [rows, cols / 32], -128 times the sum of each block's weights: products take inputs
 * as whole numbers above 0, 128 too large. */
void keel_matrix_sum_blocks(const keel_matrix *matrix, int32_t *sums);

float keel_half_to_float(uint16_t half); /* IEEE 754 binary16, exact */
uint16_t keel_half_from_float(float x);  /* to nearest, ties to even */
float keel_bf16_to_float(uint16_t x);
uint16_t keel_bf16_from_float(float x); /* to nearest, ties to even */

#endif
