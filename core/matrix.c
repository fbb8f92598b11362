#include "core/matrix.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "core/simd.h"

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

float keel_half_to_float(uint16_t half) {
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16, exponent = half >> 10 & 31u,
                   fraction = half & 0x3ffu;
    if (exponent == 31) return float_of(sign | 0x7f800000u | fraction << 13);
    if (exponent == 0) return float_of(sign | bits_of((float)fraction * 0x1p-24f)); /* exact */
    return float_of(sign | (exponent + 112) << 23 | fraction << 13);
}

uint16_t keel_half_from_float(float x) {
    const uint32_t bits = bits_of(x), size = bits & 0x7fffffffu;
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);
    if (size > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);  /* not a number */
    if (size >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* 65520 on: infinity */
    if (size < 0x38800000u) /* below 2^-14 steps are of 2^-24: adding 1/2 leaves their number at the end */
        return (uint16_t)(sign | (bits_of(float_of(size) + 0.5f) - bits_of(0.5f)));
    const uint32_t odd = size >> 13 & 1u;
    return (uint16_t)(sign | ((size - (112u << 23) + 0xfffu + odd) >> 13));
}

float keel_bf16_to_float(uint16_t x) {
    return float_of((uint32_t)x << 16);
}

uint16_t keel_bf16_from_float(float x) {
    const uint32_t bits = bits_of(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40u); /* not a number: quiet */
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

size_t keel_matrix_row_bytes(keel_matrix_type type, size_t cols) {
    switch (type) {
    case KEEL_MATRIX_BF16:
        return cols * sizeof(uint16_t);
    case KEEL_MATRIX_Q8_0:
        return cols / KEEL_MATRIX_BLOCK * KEEL_MATRIX_BLOCK_BYTES;
    default:
        return cols * sizeof(float);
    }
}

static const char *row_of(const keel_matrix *matrix, size_t row) {
    return (const char *)matrix->data + row * keel_matrix_row_bytes(matrix->type, matrix->cols);
}

KEEL_SIMD static void widen_bf16(const char *restrict from, size_t cols, float *restrict out) {
    for (size_t c = 0; c < cols; c++) {
        uint16_t half;
        memcpy(&half, from + c * sizeof half, sizeof half);
        const uint32_t bits = (uint32_t)half << 16;
        memcpy(out + c, &bits, sizeof bits);
    }
}

static void widen_block(const char *from, float *out) {
    uint16_t half;
    int8_t q[KEEL_MATRIX_BLOCK];
    memcpy(&half, from, sizeof half);
    memcpy(q, from + sizeof half, sizeof q);
    const float scale = keel_half_to_float(half);
    for (size_t i = 0; i < KEEL_MATRIX_BLOCK; i++) out[i] = scale * (float)q[i];
}

void keel_matrix_read_row(const keel_matrix *matrix, size_t row, float *out) {
    const char *from = row_of(matrix, row);
    if (matrix->type == KEEL_MATRIX_F32) memcpy(out, from, matrix->cols * sizeof *out);
    if (matrix->type == KEEL_MATRIX_BF16) widen_bf16(from, matrix->cols, out);
    for (size_t c = 0; matrix->type == KEEL_MATRIX_Q8_0 && c < matrix->cols; c += KEEL_MATRIX_BLOCK)
        widen_block(from + c / KEEL_MATRIX_BLOCK * KEEL_MATRIX_BLOCK_BYTES, out + c);
}

static void write_block(const float *from, char *to) {
    float most = 0;
    int8_t q[KEEL_MATRIX_BLOCK];
    for (size_t i = 0; i < KEEL_MATRIX_BLOCK; i++) most = fmaxf(most, fabsf(from[i]));
    const float scale = most / 127,
                factor = scale >= FLT_MIN ? 1 / scale : 0; /* below it, scale 0 as a half */
    for (size_t i = 0; i < KEEL_MATRIX_BLOCK; i++) q[i] = (int8_t)roundf(from[i] * factor);
    const uint16_t half = keel_half_from_float(scale);
    memcpy(to, &half, sizeof half);
    memcpy(to + sizeof half, q, sizeof q);
}

void keel_matrix_write_row(keel_matrix_type type, const float *from, size_t cols, void *to) {
    char *at = to;
    if (type == KEEL_MATRIX_F32) memcpy(to, from, cols * sizeof *from);
    for (size_t c = 0; type == KEEL_MATRIX_BF16 && c < cols; c++) {
        const uint16_t half = keel_bf16_from_float(from[c]);
        memcpy(at + c * sizeof half, &half, sizeof half);
    }
    for (size_t c = 0; type == KEEL_MATRIX_Q8_0 && c < cols; c += KEEL_MATRIX_BLOCK)
        write_block(from + c, at + c / KEEL_MATRIX_BLOCK * KEEL_MATRIX_BLOCK_BYTES);
}

void keel_matrix_sum_blocks(const keel_matrix *matrix, int32_t *sums) {
    const size_t blocks = matrix->rows * (matrix->cols / KEEL_MATRIX_BLOCK);
    const char *from = matrix->data;
    for (size_t b = 0; b < blocks; b++, from += KEEL_MATRIX_BLOCK_BYTES) {
        int8_t q[KEEL_MATRIX_BLOCK];
        memcpy(q, from + sizeof(uint16_t), sizeof q);
        sums[b] = 0;
        for (size_t i = 0; i < KEEL_MATRIX_BLOCK; i++) sums[b] -= 128 * q[i];
    }
}
