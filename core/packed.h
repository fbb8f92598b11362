/* Matrices of floats that are kept at 8 bits on disk and computed with as floats: rows of KEEL_MATRIX_I8
 * (core/matrix.h), a tensor of U8 [rows, bytes of a row] whose name ends in ".int8". Who has such a matrix
 * keeps its bytes too, so that what is written again has the same. */
#ifndef KEEL_CORE_PACKED_H
#define KEEL_CORE_PACKED_H

#include <stdbool.h>

#include "core/matrix.h"

#define KEEL_PACKED_SUFFIX ".int8"

static inline size_t keel_packed_row(size_t cols) {
    return keel_matrix_row_bytes(KEEL_MATRIX_I8, cols);
}
/* data [rows, cols] becomes what 8 bits hold of it; packed [rows, keel_packed_row(cols)] gets the bytes. */
void keel_packed_round(float *data, size_t rows, size_t cols, unsigned char *packed);
/* data out of bytes; false where a number is not finite. */
bool keel_packed_widen(const unsigned char *packed, size_t rows, size_t cols, float *data);

#endif
