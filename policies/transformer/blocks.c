#include "policies/transformer/blocks.h"

#include <math.h>
#include <string.h>

#include "core/half.h"

enum { COLS = KEEL_MATRIX_BLOCK };

static const struct {
    const char *name;
    size_t cols, bytes; /* of a block */
} types[KEEL_N_BLOCKS] = {
    [KEEL_BLOCK_F32] = {"F32", 1, 4},       [KEEL_BLOCK_F16] = {"F16", 1, 2},
    [KEEL_BLOCK_BF16] = {"BF16", 1, 2},     [KEEL_BLOCK_Q8_0] = {"Q8_0", COLS, 34},
    [KEEL_BLOCK_Q4_0] = {"Q4_0", COLS, 18}, [KEEL_BLOCK_Q4_1] = {"Q4_1", COLS, 20},
};

const char *keel_block_name(keel_block_type type) {
    return types[type].name;
}

size_t keel_block_cols(keel_block_type type) {
    return types[type].cols;
}

size_t keel_block_row_bytes(keel_block_type type, size_t cols) {
    return cols / types[type].cols * types[type].bytes;
}

bool keel_block_is_matrix(keel_block_type type, keel_matrix_type *as) {
    static const keel_matrix_type same[] = {[KEEL_BLOCK_F32] = KEEL_MATRIX_F32,
                                            [KEEL_BLOCK_BF16] = KEEL_MATRIX_BF16,
                                            [KEEL_BLOCK_Q8_0] = KEEL_MATRIX_Q8_0,
                                            [KEEL_BLOCK_Q4_0] = KEEL_MATRIX_Q4_0};
    if (type == KEEL_BLOCK_F16 || type > KEEL_BLOCK_Q4_0) return false;
    *as = same[type];
    return true;
}

bool keel_block_of_matrix(keel_matrix_type type, keel_block_type *as) {
    keel_matrix_type same;
    for (int block = 0; block < KEEL_N_BLOCKS; block++)
        if (keel_block_is_matrix((keel_block_type)block, &same) && same == type)
            return *as = (keel_block_type)block, true;
    return false;
}

static void read_q4_1(const unsigned char *from, float *to) {
    const float d = keel_half_at(from), m = keel_half_at(from + 2);
    for (int i = 0; i < COLS / 2; i++) {
        to[i] = (float)(from[4 + i] & 15) * d + m;
        to[i + COLS / 2] = (float)(from[4 + i] >> 4) * d + m;
    }
}

void keel_block_read(keel_block_type type, const void *from, size_t cols, float *to) {
    const unsigned char *at = from;
    keel_matrix matrix = {.rows = 1, .cols = cols, .data = from};
    if (keel_block_is_matrix(type, &matrix.type)) {
        keel_matrix_read_row(&matrix, 0, to);
        return;
    }
    for (size_t c = 0; c < cols; c += types[type].cols, at += types[type].bytes) {
        if (type == KEEL_BLOCK_F16)
            to[c] = keel_half_at(at);
        else
            read_q4_1(at, to + c);
    }
}

bool keel_block_write(keel_block_type type, const float *from, size_t cols, void *to) {
    unsigned char *at = to;
    keel_matrix_type same;
    bool fits = true;
    const float most = type == KEEL_BLOCK_Q8_0 ? 127 : type == KEEL_BLOCK_Q4_0 ? 8 : 0;
    for (size_t c = 0; most > 0 && c < cols; c++) fits = fits && fabsf(from[c]) <= most * 65504;
    if (keel_block_is_matrix(type, &same)) {
        keel_matrix_write_row(same, from, cols, to);
        return fits;
    }
    for (size_t c = 0; c < cols; c++) {
        const uint16_t half = keel_half_from_float(from[c]);
        fits = fits && (half & 0x7c00u) != 0x7c00u;
        memcpy(at + c * sizeof half, &half, sizeof half);
    }
    return fits;
}
