#include "core/matrix.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "core/half.h"
#include "core/simd.h"

/* ---- formats ---- */

enum { BLOCK = KEEL_MATRIX_BLOCK, HALF = KEEL_MATRIX_BLOCK / 2 };

/* A row: what stands before it, and bytes of so many columns. */
static const struct {
    const char *name;
    size_t before, cols, bytes;
} types[KEEL_N_MATRIX_TYPES] = {
    [KEEL_MATRIX_F32] = {"f32", 0, 1, sizeof(float)},
    [KEEL_MATRIX_BF16] = {"bf16", 0, 1, sizeof(uint16_t)},
    [KEEL_MATRIX_Q8_0] = {"q8_0", 0, BLOCK, KEEL_MATRIX_BLOCK_BYTES},
    [KEEL_MATRIX_I8] = {"int8", sizeof(float), 1, 1},
    [KEEL_MATRIX_Q4_0] = {"q4_0", 0, BLOCK, KEEL_MATRIX_Q4_0_BYTES},
    [KEEL_MATRIX_Q4_G32] = {"q4_g32", sizeof(float), BLOCK, KEEL_MATRIX_G32_BYTES},
};

const char *keel_matrix_type_name(keel_matrix_type type) {
    return types[type].name;
}

size_t keel_matrix_multiple(keel_matrix_type type) {
    return types[type].cols;
}

size_t keel_matrix_row_bytes(keel_matrix_type type, size_t cols) {
    return types[type].before + cols / types[type].cols * types[type].bytes;
}

static float float_at(const unsigned char *from) {
    float x;
    memcpy(&x, from, sizeof x);
    return x;
}

/* ---- reading ---- */

KEEL_SIMD static void widen_bf16(const unsigned char *restrict from, size_t cols, float *restrict out) {
    for (size_t c = 0; c < cols; c++) {
        uint16_t half;
        memcpy(&half, from + c * sizeof half, sizeof half);
        out[c] = keel_bf16_to_float(half);
    }
}

static void widen_bytes(const unsigned char *from, size_t cols, float scale, float *out) {
    for (size_t c = 0; c < cols; c++) out[c] = scale * (float)(int8_t)from[c];
}

static void widen_fours(const unsigned char *from, float scale, float *out) {
    for (size_t i = 0; i < HALF; i++) {
        out[i] = scale * (float)((from[i] & 15) - 8);
        out[i + HALF] = scale * (float)((from[i] >> 4) - 8);
    }
}

void keel_matrix_read(const keel_matrix *matrix, size_t row, size_t from, size_t cols, float *out) {
    const keel_matrix_type type = matrix->type;
    const unsigned char *start =
        (const unsigned char *)matrix->data + row * keel_matrix_row_bytes(type, matrix->cols);
    const unsigned char *at = start + keel_matrix_row_bytes(type, from);
    if (type == KEEL_MATRIX_F32) memcpy(out, at, cols * sizeof *out);
    if (type == KEEL_MATRIX_BF16) widen_bf16(at, cols, out);
    if (type == KEEL_MATRIX_I8) widen_bytes(at, cols, float_at(start), out);
    if (types[type].cols == 1) return;
    for (size_t c = 0; c < cols; c += BLOCK, at += types[type].bytes) {
        if (type == KEEL_MATRIX_Q8_0) widen_bytes(at + 2, BLOCK, keel_half_at(at), out + c);
        if (type == KEEL_MATRIX_Q4_0) widen_fours(at + 2, keel_half_at(at), out + c);
        if (type == KEEL_MATRIX_Q4_G32) widen_fours(at + 1, float_at(start) * (float)*at, out + c);
    }
}

void keel_matrix_read_row(const keel_matrix *matrix, size_t row, float *out) {
    keel_matrix_read(matrix, row, 0, matrix->cols, out);
}

bool keel_matrix_row_is_sound(keel_matrix_type type, const void *row, size_t cols) {
    const unsigned char *at = (const unsigned char *)row + types[type].before;
    if (types[type].before && !isfinite(float_at(row))) return false;
    if (types[type].cols == 1) return true;
    for (size_t c = 0; c < cols; c += BLOCK, at += types[type].bytes)
        if (type == KEEL_MATRIX_Q4_G32 ? *at > 15 : !isfinite(keel_half_at(at))) return false;
    return true;
}

/* ---- writing ---- */

static float largest(const float *from, size_t n) {
    float most = 0;
    for (size_t i = 0; i < n; i++) most = fmaxf(most, fabsf(from[i]));
    return most;
}

static float inverse(float scale) { /* below the least normal number it may be infinite */
    return fabsf(scale) >= FLT_MIN ? 1 / scale : 0;
}

static void write_q8_0(const float *from, unsigned char *to) {
    const float scale = largest(from, BLOCK) / 127, factor = inverse(scale);
    keel_half_put(scale, to);
    for (size_t i = 0; i < BLOCK; i++) to[2 + i] = (unsigned char)(int8_t)roundf(from[i] * factor);
}

/* The number of the largest size, the first of them, becomes -8. */
static void write_q4_0(const float *from, unsigned char *to) {
    float most = 0;
    for (size_t i = 0; i < BLOCK; i++)
        if (fabsf(from[i]) > fabsf(most)) most = from[i];
    const float scale = most / -8, factor = inverse(scale);
    keel_half_put(scale, to);
    for (size_t i = 0; i < HALF; i++) {
        const int low = (int)(from[i] * factor + 8.5f), high = (int)(from[i + HALF] * factor + 8.5f);
        to[2 + i] = (unsigned char)((low < 15 ? low : 15) | (high < 15 ? high : 15) << 4);
    }
}

static void write_fours(const float *from, float scale, unsigned char *q) {
    const float factor = inverse(scale);
    for (size_t i = 0; i < HALF; i++)
        q[i] = (unsigned char)(((int)keel_round_within(from[i] * factor, -8, 7) + 8) |
                               ((int)keel_round_within(from[i + HALF] * factor, -8, 7) + 8) << 4);
}

/* The scale with which -8 .. 7 hold a block. */
static float fours_scale(const float *from) {
    float most = 0;
    for (size_t i = 0; i < BLOCK; i++) most = fmaxf(most, from[i] < 0 ? from[i] / -8 : from[i] / 7);
    return most;
}

static void write_q4_g32(const float *from, size_t cols, unsigned char *to) {
    float scale = 0;
    for (size_t c = 0; c < cols; c += BLOCK) scale = fmaxf(scale, fours_scale(from + c));
    scale /= 15;
    memcpy(to, &scale, sizeof scale);
    to += sizeof scale;
    for (size_t c = 0; c < cols; c += BLOCK, to += KEEL_MATRIX_G32_BYTES) {
        const float step = keel_round_within(fours_scale(from + c) * inverse(scale), 0, 15);
        *to = (unsigned char)step;
        write_fours(from + c, scale * step, to + 1);
    }
}

static void write_i8(const float *from, size_t cols, unsigned char *to) {
    float scale;
    keel_row_quantise(from, cols, (int8_t *)to + sizeof scale, &scale);
    memcpy(to, &scale, sizeof scale);
}

void keel_matrix_write_row(keel_matrix_type type, const float *from, size_t cols, void *to) {
    unsigned char *at = to;
    if (type == KEEL_MATRIX_F32) memcpy(to, from, cols * sizeof *from);
    for (size_t c = 0; type == KEEL_MATRIX_BF16 && c < cols; c++) {
        const uint16_t half = keel_bf16_from_float(from[c]);
        memcpy(at + c * sizeof half, &half, sizeof half);
    }
    if (type == KEEL_MATRIX_I8) write_i8(from, cols, at);
    if (type == KEEL_MATRIX_Q4_G32) write_q4_g32(from, cols, at);
    for (size_t c = 0; type == KEEL_MATRIX_Q8_0 && c < cols; c += BLOCK, at += KEEL_MATRIX_BLOCK_BYTES)
        write_q8_0(from + c, at);
    for (size_t c = 0; type == KEEL_MATRIX_Q4_0 && c < cols; c += BLOCK, at += KEEL_MATRIX_Q4_0_BYTES)
        write_q4_0(from + c, at);
}

/* ---- inputs ---- */

/* As bits of numbers above 0 are ordered as they are, and those of what is not a number come last. */
KEEL_SIMD static uint32_t largest_bits(const float *x, size_t cols) {
    uint32_t most = 0;
    for (size_t c = 0; c < cols; c++) {
        const uint32_t bits = keel_float_bits(x[c]) & 0x7fffffffu;
        most = bits > most ? bits : most;
    }
    return most;
}

KEEL_SIMD static void round_all(const float *restrict x, size_t cols, float factor, int8_t *restrict q) {
    for (size_t c = 0; c < cols; c++) q[c] = (int8_t)keel_round_within(x[c] * factor, -127, 127);
}

void keel_row_quantise(const float *x, size_t cols, int8_t *q, float *scale) {
    float factor;
    keel_row_scale(keel_float_of_bits(largest_bits(x, cols)), scale, &factor);
    round_all(x, cols, factor, q);
}
