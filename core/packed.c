#include "core/packed.h"

#include <math.h>

static keel_matrix matrix_of(const unsigned char *packed, size_t rows, size_t cols) {
    return (keel_matrix){.type = KEEL_MATRIX_I8, .rows = rows, .cols = cols, .data = packed};
}

bool keel_packed_widen(const unsigned char *packed, size_t rows, size_t cols, float *data) {
    const keel_matrix matrix = matrix_of(packed, rows, cols);
    bool finite = true;
    for (size_t r = 0; r < rows; r++) {
        keel_matrix_read_row(&matrix, r, data + r * cols);
        for (size_t c = 0; c < cols; c++) finite = finite && isfinite(data[r * cols + c]);
    }
    return finite;
}

void keel_packed_round(float *data, size_t rows, size_t cols, unsigned char *packed) {
    for (size_t r = 0; r < rows; r++)
        keel_matrix_write_row(KEEL_MATRIX_I8, data + r * cols, cols, packed + r * keel_packed_row(cols));
    keel_packed_widen(packed, rows, cols, data);
}
