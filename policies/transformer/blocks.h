/* Number formats of weights in files, more than those that are computed with (core/matrix.h), as ggml lays
 * them out: a row is a run of blocks. */
#ifndef KEEL_POLICIES_TRANSFORMER_BLOCKS_H
#define KEEL_POLICIES_TRANSFORMER_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>

#include "core/matrix.h"

typedef enum keel_block_type {
    KEEL_BLOCK_F32,
    KEEL_BLOCK_F16,
    KEEL_BLOCK_BF16,
    KEEL_BLOCK_Q8_0, /* 32 weights d q: {fp16 d; int8 q[32]} */
    KEEL_BLOCK_Q4_0, /* 32 weights d (q - 8): {fp16 d; u8 q[16]}, low halves first */
    KEEL_BLOCK_Q4_1, /* 32 weights d q + m: {fp16 d, m; u8 q[16]} */
    KEEL_N_BLOCKS
} keel_block_type;

const char *keel_block_name(keel_block_type type); /* "Q4_1" */
/* Columns that a block holds; a row is a whole number of blocks. */
size_t keel_block_cols(keel_block_type type);
size_t keel_block_row_bytes(keel_block_type type, size_t cols);
/* A row, at any address, in floats: exact, but for the one rounding of d q + m. */
void keel_block_read(keel_block_type type, const void *from, size_t cols, float *to);
/* A row rounded as keel_matrix_write_row does, F16 to nearest, ties to even. Not Q4_1. False where a finite
 * number became infinite. */
bool keel_block_write(keel_block_type type, const float *from, size_t cols, void *to);
/* Whether matrices of this type are computed with as they are: *as gets their type. */
bool keel_block_is_matrix(keel_block_type type, keel_matrix_type *as);
/* The other way: false for matrices that no file of ggml's holds. */
bool keel_block_of_matrix(keel_matrix_type type, keel_block_type *as);

#endif
