#include "core/matrix_fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/half.h"
#include "core/memory.h"
#include "core/simd.h"

enum { BLOCK = KEEL_MATRIX_BLOCK, HALF = KEEL_MATRIX_BLOCK / 2, LANES = 8 };

/* ---- percentile ---- */

static int by_size(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Numbers that share a scale, their size limited to the percentile's. sizes: [n] */
static void limit(const float *from, size_t n, double percentile, float *sizes, float *to) {
    for (size_t i = 0; i < n; i++) sizes[i] = fabsf(from[i]);
    qsort(sizes, n, sizeof *sizes, by_size);
    const size_t rank = (size_t)ceil(percentile / 100 * (double)n);
    const float most = sizes[rank > n ? n - 1 : rank > 0 ? rank - 1 : 0];
    for (size_t i = 0; i < n; i++) to[i] = fmaxf(-most, fminf(from[i], most));
}

static keel_status fit_percentile(keel_matrix_type type, const float *from, size_t cols, double percentile,
                                  void *to, keel_err *err) {
    const size_t share = type == KEEL_MATRIX_I8 ? cols : BLOCK;
    float *limited = keel_alloc(2 * cols * sizeof *limited);
    if (!limited) return keel_nomem(err, "matrix");
    for (size_t c = 0; c < cols; c += share) limit(from + c, share, percentile, limited + cols, limited + c);
    keel_matrix_write_row(type, limited, cols, to);
    keel_free(limited);
    return KEEL_OK;
}

/* ---- least weighted square error ---- */

/* Numbers that share a scale, and the whole numbers that they become. */
typedef struct span {
    const float *x, *importance; /* NULL: all 1 */
    size_t n;
    float low, high;
} span;

/* Of whole numbers q: sums of importance x q and importance q^2. */
typedef struct sums {
    double xq, qq;
} sums;

static float inverse(float scale) {
    return fabsf(scale) >= 1e-30f ? 1 / scale : 0;
}

/* Eight sums side by side, whose order does not depend on instructions. */
KEEL_SIMD static sums try_scale(const span *s, float scale) {
    double xq[LANES] = {0}, qq[LANES] = {0};
    const float factor = inverse(scale);
    sums all = {0, 0};
    for (size_t i = 0; i < s->n; i += LANES)
        for (size_t lane = 0; lane < LANES && i + lane < s->n; lane++) {
            const float x = s->x[i + lane], q = keel_round_within(x * factor, s->low, s->high);
            const double h = s->importance ? (double)s->importance[i + lane] : 1;
            xq[lane] += h * (double)x * (double)q;
            qq[lane] += h * (double)q * (double)q;
        }
    for (int lane = 0; lane < LANES; lane++) {
        all.xq += xq[lane];
        all.qq += qq[lane];
    }
    return all;
}

/* Square error with q in this scale, less the sum of importance x^2. */
static double error_of(sums s, double scale) {
    return scale * (scale * s.qq - 2 * s.xq);
}

static float rounded(double scale, bool half) {
    return half ? keel_half_to_float(keel_half_from_float((float)scale)) : (float)scale;
}

/* q are those of scale `of`; `best` is the scale that is kept with them. */
typedef struct found {
    float of, best;
    double error;
} found;

/* What is taken where no scale is better than 0: nothing is of importance, say. */
static found first(float scale, bool half) {
    return (found){scale, rounded((double)scale, half), 0};
}

/* Scales from `most` down; a negative one turns low and high about. */
static void search(const span *s, float most, bool half, found *f) {
    enum { TRIALS = 60 };
    for (int k = 0; k < TRIALS; k++) {
        const float scale = most * (1 - (float)k / 100);
        const sums trial = try_scale(s, scale);
        if (!(trial.qq > 0)) continue;
        const float best = rounded(trial.xq / trial.qq, half);
        const double error = error_of(trial, (double)best);
        if (error < f->error) *f = (found){scale, best, error};
    }
}

static float largest(const float *x, size_t n, float *with_sign) {
    *with_sign = 0;
    for (size_t i = 0; i < n; i++)
        if (fabsf(x[i]) > fabsf(*with_sign)) *with_sign = x[i];
    return fabsf(*with_sign);
}

static void put_bytes(const span *s, float of, unsigned char *to) {
    const float factor = inverse(of);
    for (size_t i = 0; i < s->n; i++)
        to[i] = (unsigned char)(int8_t)keel_round_within(s->x[i] * factor, s->low, s->high);
}

static void put_fours(const span *s, float of, unsigned char *to) {
    const float factor = inverse(of);
    for (size_t i = 0; i < HALF; i++)
        to[i] = (unsigned char)(((int)keel_round_within(s->x[i] * factor, -8, 7) + 8) |
                                ((int)keel_round_within(s->x[i + HALF] * factor, -8, 7) + 8) << 4);
}

static void fit_bytes(const span *s, bool half, unsigned char *to) {
    float with_sign;
    found f = first(largest(s->x, s->n, &with_sign) / 127, half);
    search(s, f.of, half, &f);
    if (half)
        keel_half_put(f.best, to);
    else
        memcpy(to, &f.best, sizeof f.best);
    put_bytes(s, f.of, to + (half ? 2 : sizeof(float)));
}

static void fit_q4_0(const span *s, unsigned char *to) {
    float with_sign;
    largest(s->x, s->n, &with_sign);
    found f = first(with_sign / -8, true);
    search(s, f.of, true, &f);
    search(s, with_sign / 7, true, &f);
    keel_half_put(f.best, to);
    put_fours(s, f.of, to + 2);
}

/* ---- Q4_G32: one scale, and a step of each block ---- */

/* The scale with which -8 .. 7 hold them. */
static float fours_scale(const span *s) {
    float most = 0;
    for (size_t i = 0; i < s->n; i++) most = fmaxf(most, s->x[i] < 0 ? s->x[i] / -8 : s->x[i] / 7);
    return most;
}

/* Of whole numbers step q. */
static sums stepped(const span *block, float scale, int step) {
    const sums s = try_scale(block, scale * (float)step);
    return (sums){s.xq * step, s.qq * step * step};
}

/* The step near the one that holds the block, of the least error. */
static unsigned best_step(const span *block, float scale, sums *with) {
    enum { BELOW = 4, ABOVE = 1 };
    const int holds = (int)keel_round_within(fours_scale(block) * inverse(scale), 0, 15);
    int best = holds;
    *with = stepped(block, scale, holds);
    for (int step = holds > BELOW ? holds - BELOW : 1; step <= holds + ABOVE && step <= 15; step++) {
        const sums trial = stepped(block, scale, step);
        if (error_of(trial, (double)scale) >= error_of(*with, (double)scale)) continue;
        best = step;
        *with = trial;
    }
    return (unsigned)best;
}

static span block_of(const span *row, size_t c) {
    return (span){row->x + c, row->importance ? row->importance + c : NULL, BLOCK, -8, 7};
}

/* Steps for a scale, and the scale that fits them best. */
static found try_row(const span *row, float scale) {
    sums all = {0, 0};
    for (size_t c = 0; c < row->n; c += BLOCK) {
        const span block = block_of(row, c);
        sums with;
        best_step(&block, scale, &with);
        all.xq += with.xq;
        all.qq += with.qq;
    }
    if (!(all.qq > 0)) return (found){0};
    const float best = (float)(all.xq / all.qq);
    return (found){scale, best, error_of(all, (double)best)};
}

static void fit_q4_g32(const span *row, unsigned char *to) {
    enum { TRIALS = 12 };
    const float most = fours_scale(row);
    found f = first(most / 15, false);
    for (int k = 0; k < TRIALS; k++) {
        const found trial = try_row(row, most / 15 * (1 - (float)k / 25));
        if (trial.error < f.error) f = trial;
    }
    memcpy(to, &f.best, sizeof f.best);
    to += sizeof f.best;
    for (size_t c = 0; c < row->n; c += BLOCK, to += KEEL_MATRIX_G32_BYTES) {
        const span block = block_of(row, c);
        sums unused;
        *to = (unsigned char)best_step(&block, f.of, &unused);
        put_fours(&block, f.of * (float)*to, to + 1);
    }
}

static void fit_least(keel_matrix_type type, const span *row, void *to) {
    unsigned char *at = to;
    if (type == KEEL_MATRIX_I8) fit_bytes(row, false, at);
    if (type == KEEL_MATRIX_Q4_G32) fit_q4_g32(row, at);
    for (size_t c = 0; keel_matrix_multiple(type) > 1 && type != KEEL_MATRIX_Q4_G32 && c < row->n;
         c += BLOCK) {
        span block = block_of(row, c);
        if (type == KEEL_MATRIX_Q4_0) {
            fit_q4_0(&block, at);
        } else {
            block.low = -127;
            block.high = 127;
            fit_bytes(&block, true, at);
        }
        at += keel_matrix_row_bytes(type, BLOCK);
    }
}

keel_status keel_matrix_fit_row(keel_matrix_type type, const float *from, size_t cols,
                                const keel_matrix_fit *how, void *to, keel_err *err) {
    const bool floats = type == KEEL_MATRIX_F32 || type == KEEL_MATRIX_BF16;
    const span row = {from, how->importance, cols, -127, 127};
    if (!floats && how->method == KEEL_FIT_PERCENTILE)
        return fit_percentile(type, from, cols, how->percentile, to, err);
    if (!floats && how->method == KEEL_FIT_MSE)
        fit_least(type, &row, to);
    else
        keel_matrix_write_row(type, from, cols, to);
    return KEEL_OK;
}
