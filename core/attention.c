#include "core/attention.h"

#include <string.h>
#include <tgmath.h>

#include "core/gemm.h"
#include "core/numeric.h"
#include "core/simd.h"

/* In place; the maximum is subtracted. */
static void softmax_rows(keel_real *x, size_t rows, size_t cols) {
    for (size_t r = 0; r < rows; ++r, x += cols) {
        keel_real most = x[0];
        double sum = 0;
        for (size_t c = 1; c < cols; ++c) most = x[c] > most ? x[c] : most;
        keel_exp_below(x, cols, most);
        for (size_t c = 0; c < cols; ++c) sum += (double)x[c];
        keel_real scale = (keel_real)(1 / sum);
        for (size_t c = 0; c < cols; ++c) x[c] *= scale;
    }
}

void keel__attention_scores(const keel_real *q, const keel_real *k, size_t width, size_t head_dim,
                            size_t tokens, keel_real *scores) {
    const keel_real scale = 1 / sqrt((keel_real)head_dim);
    keel_gemm(false, true, tokens, tokens, head_dim, scale, q, 3 * width, k, 3 * width, 0, scores, tokens);
    softmax_rows(scores, tokens, tokens);
}

void keel__attend(const keel_real *qkv, size_t heads, size_t head_dim, size_t tokens, keel_real *out,
                  keel_real *scores) {
    const size_t width = heads * head_dim;
    for (size_t h = 0; h < heads; ++h) {
        const keel_real *q = qkv + h * head_dim, *k = q + width, *v = k + width;
        keel__attention_scores(q, k, width, head_dim, tokens, scores);
        keel_gemm(false, false, tokens, head_dim, tokens, 1, scores, tokens, v, 3 * width, 0,
                  out + h * head_dim, width);
    }
}

void keel_attention(const keel_real *qkv, size_t heads, size_t head_dim, const int32_t *offsets,
                    const int32_t *row, size_t n, keel_real *out, keel_real *scratch) {
    const size_t width = heads * head_dim;
    for (size_t i = 0; i < n; ++i) {
        const int32_t *at = row + offsets[i];
        const size_t tokens = (size_t)(offsets[i + 1] - offsets[i]);
        keel_real *text = scratch, *made = text + tokens * 3 * width, *scores = made + tokens * width;
        for (size_t t = 0; t < tokens; ++t)
            memcpy(text + t * 3 * width, qkv + (size_t)at[t] * 3 * width, 3 * width * sizeof *text);
        if (tokens) keel__attend(text, heads, head_dim, tokens, made, scores);
        for (size_t t = 0; t < tokens; ++t)
            memcpy(out + (size_t)at[t] * width, made + t * width, width * sizeof *out);
    }
}

/* y may be x. */
KEEL_SIMD static void add_row(const keel_real *x, const keel_real *more, size_t cols, keel_real *y) {
    for (size_t c = 0; c < cols; ++c) y[c] = more ? x[c] + more[c] : x[c];
}

KEEL_SIMD static void scale_row(keel_real mean, keel_real factor, const keel_real *restrict gain,
                                const keel_real *restrict bias, size_t cols, keel_real *restrict y) {
    for (size_t c = 0; c < cols; ++c) y[c] = (y[c] - mean) * factor * gain[c] + bias[c];
}

/* Sums in double over four lanes, so that their order is one in any width. */
static double sum_of(const keel_real *x, double less, bool squared, size_t cols) {
    double lane[4] = {0};
    for (size_t c = 0; c < cols; ++c) {
        const double d = (double)x[c] - less;
        lane[c % 4] += squared ? d * d : d;
    }
    return (lane[0] + lane[1]) + (lane[2] + lane[3]);
}

void keel_layer_norm(const keel_real *x, const keel_real *more, const keel_real *gain, const keel_real *bias,
                     double epsilon, size_t rows, size_t cols, keel_real *y) {
    for (size_t r = 0; r < rows; ++r) {
        keel_real *to = y + r * cols;
        if (to != x + r * cols || more) add_row(x + r * cols, more ? more + r * cols : NULL, cols, to);
        const double mean = sum_of(to, 0, false, cols) / (double)cols;
        const double variance = sum_of(to, mean, true, cols) / (double)cols;
        scale_row((keel_real)mean, (keel_real)(1 / sqrt(variance + epsilon)), gain, bias, cols, to);
    }
}
