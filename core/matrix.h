/* Matrices of weights as they lie in a file, in one of several number formats. */
#ifndef KEEL_CORE_MATRIX_H
#define KEEL_CORE_MATRIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Columns of a block are 32 that lie side by side, and their number is a multiple of 32. Four bits q stand
 * for q - 8; of sixteen bytes, the lower halves are columns 0 .. 15 of the block, the upper ones 16 .. 31.
 * Sums over whole numbers are of 32 bits: cols <= KEEL_MATRIX_MOST_COLS in I8 and Q4_G32. */
typedef enum keel_matrix_type {
    KEEL_MATRIX_F32,
    KEEL_MATRIX_BF16,   /* the upper half of a float */
    KEEL_MATRIX_Q8_0,   /* as in GGUF: blocks {fp16 scale; int8 weight[32]} */
    KEEL_MATRIX_I8,     /* a row: {float scale; int8 weight[cols]} */
    KEEL_MATRIX_Q4_0,   /* as in GGUF: blocks {fp16 scale; u8 q[16]}: scale (q - 8) */
    KEEL_MATRIX_Q4_G32, /* a row: {float scale; blocks {u8 step, 0 .. 15; u8 q[16]}}: scale step (q - 8), so
                           that step (q - 8) is a weight of 8 bits (Lin et al. 2024, arXiv:2405.04532, 4.1) */
    KEEL_N_MATRIX_TYPES
} keel_matrix_type;

enum {
    KEEL_MATRIX_BLOCK = 32,
    KEEL_MATRIX_BLOCK_BYTES = 34, /* of Q8_0 */
    KEEL_MATRIX_Q4_0_BYTES = 18,
    KEEL_MATRIX_G32_BYTES = 17,
    KEEL_MATRIX_MOST_COLS = 65536
};

/* What products with weights of 4 and 8 bits make of their inputs first: whole numbers of 8 bits, with a
 * scale by row (I8, Q4_G32) or by row and block (Q8_0, Q4_0); or nothing, weights being made floats. */
typedef enum keel_matrix_inputs { KEEL_INPUTS_INT8, KEEL_INPUTS_F32 } keel_matrix_inputs;

/* [rows, cols], row-major, little-endian. Data are borrowed (a mapped file, say) and at any address: they are
 * read byte by byte, never through a pointer to numbers. */
typedef struct keel_matrix {
    keel_matrix_type type;
    size_t rows, cols;
    const void *data; /* NULL: there is no such matrix */
    keel_matrix_inputs inputs;
} keel_matrix;

/* "f32", "bf16", "q8_0", "int8", "q4_0", "q4_g32" */
const char *keel_matrix_type_name(keel_matrix_type type);
/* What the number of columns is a multiple of: 1 or 32. */
size_t keel_matrix_multiple(keel_matrix_type type);
/* Bytes of a row. */
size_t keel_matrix_row_bytes(keel_matrix_type type, size_t cols);
/* A row in floats; what a number format holds, a float holds. */
void keel_matrix_read_row(const keel_matrix *matrix, size_t row, float *out);
/* Its columns from .. from + cols - 1; both are multiples of keel_matrix_multiple. */
void keel_matrix_read(const keel_matrix *matrix, size_t row, size_t from, size_t cols, float *out);
/* A row rounded (of 4 and 8 bits: finite numbers only). BF16: to nearest, ties to even; NaN stays NaN. Q8_0:
 * each block to its largest size / 127, ties away from 0, as ggml's quantize_row_q8_0. Q4_0: as ggml's
 * quantize_row_q4_0. I8: as keel_row_quantise. Q4_G32: steps of the row's largest / 15, each block to the
 * least step that holds it. to: keel_matrix_row_bytes. */
void keel_matrix_write_row(keel_matrix_type type, const float *from, size_t cols, void *to);
/* Whether a row of a file has a scale that is finite, and steps within 0 .. 15; true of F32 and BF16. */
bool keel_matrix_row_is_sound(keel_matrix_type type, const void *row, size_t cols);

/* q = x / scale to the nearest whole number, ties to even, scale = largest size / 127; all 0: scale 0. What
 * is not finite makes a scale that is not finite either. Products make I8's and Q4_G32's inputs of exactly
 * these. */
void keel_row_quantise(const float *x, size_t cols, int8_t *q, float *scale);
/* The nearest whole number of low .. high, ties to even; low for what is not a number. */
static inline float keel_round_within(float x, float low, float high) {
    const float to_whole = 12582912.0f, limited = x > low ? x < high ? x : high : low; /* 3 * 2^22 */
    return (limited + to_whole) - to_whole;
}
/* Its scale, and what it multiplies by: of a row's largest size. */
static inline void keel_row_scale(float most, float *scale, float *factor) {
    *scale = most / 127;
    *factor = *scale >= 1.17549435e-38f ? 127 / most : 0; /* FLT_MIN: below it 127 / most may be infinite */
}

#endif
