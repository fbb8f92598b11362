#include "core/numeric.h"

#include <tgmath.h>

#include "core/simd.h"

enum { COLUMNS = 16 }; /* of keel_softmax_columns */

/* The largest allowed entry. Nothing allowed, or only -INFINITY: 0, because subtracting -INFINITY would make
 * NaN out of what is an empty sum. */
static keel_real shift_of(const keel_real *x, const uint8_t *mask, size_t count) {
    keel_real largest = -INFINITY;
    for (size_t i = 0; i < count; ++i)
        if ((!mask || mask[i]) && x[i] > largest) largest = x[i];
    return isinf(largest) && largest < 0 ? 0 : largest;
}

keel_real keel__softmax(const keel_real *x, const uint8_t *mask, size_t count, keel_real *p) {
    keel_real shift = shift_of(x, mask, count);
    double sum = 0;
    for (size_t i = 0; i < count; ++i) {
        keel_real e = !mask || mask[i] ? exp(x[i] - shift) : 0;
        sum += (double)e;
        if (p) p[i] = e;
    }
    if (p && sum > 0) {
        keel_real scale = (keel_real)(1 / sum);
        for (size_t i = 0; i < count; ++i) p[i] *= scale;
    }
    return shift + (keel_real)log(sum);
}

void keel_log_softmax(const keel_real *x, size_t count, keel_real *out) {
    keel_real shift = shift_of(x, NULL, count);
    double sum = 0;
    for (size_t i = 0; i < count; ++i) sum += (double)exp(x[i] - shift);
    keel_real rest = (keel_real)log(sum); /* added to a large shift it would be rounded away */
    for (size_t i = 0; i < count; ++i) out[i] = x[i] - shift - rest;
}

void keel_softmax(const keel_real *x, size_t count, keel_real *out) {
    keel__softmax(x, NULL, count, out);
}

double keel_cosine(const float *x, const float *y, size_t n) {
    double xy = 0, xx = 0, yy = 0;
    for (size_t i = 0; i < n; i++) {
        xy += (double)x[i] * (double)y[i];
        xx += (double)x[i] * (double)x[i];
        yy += (double)y[i] * (double)y[i];
    }
    return xy / fmax(sqrt(xx) * sqrt(yy), 1e-12);
}

/* Four rows at a time, added one after the other: the sum passes through memory once for all four, and their
 * reads, which are what takes the time, overlap. */
KEEL_SIMD static void add_four(const keel_real *const row[4], const keel_real *weight, size_t cols,
                               keel_real *restrict sum) {
    const keel_real *restrict a = row[0], *restrict b = row[1], *restrict c = row[2], *restrict d = row[3];
    keel_real wa = weight[0], wb = weight[1], wc = weight[2], wd = weight[3];
    for (size_t i = 0; i < cols; ++i) sum[i] = (((sum[i] + wa * a[i]) + wb * b[i]) + wc * c[i]) + wd * d[i];
}

void keel_add_rows(const keel_real *table, size_t cols, const uint32_t *id, const keel_real *weight,
                   size_t count, keel_real *restrict sum) {
    size_t j = 0;
    for (; j + 4 <= count; j += 4) {
        const keel_real *row[4];
        for (size_t k = 0; k < 4; ++k) row[k] = table + id[j + k] * cols;
        add_four(row, weight + j, cols, sum);
    }
    for (; j < count; ++j)
        for (size_t i = 0; i < cols; ++i) sum[i] += weight[j] * table[id[j] * cols + i];
}

/* ---- rows, over eight lanes ---- */

enum { LANES = 8 };

KEEL_SIMD static keel_real largest(const keel_real *x, size_t n) {
    keel_real lane[LANES], most;
    size_t i = 0;
    for (size_t j = 0; j < LANES; ++j) lane[j] = x[0];
    for (; i + LANES <= n; i += LANES)
        for (size_t j = 0; j < LANES; ++j) lane[j] = x[i + j] > lane[j] ? x[i + j] : lane[j];
    for (; i < n; ++i) lane[0] = x[i] > lane[0] ? x[i] : lane[0];
    most = lane[0];
    for (size_t j = 1; j < LANES; ++j) most = lane[j] > most ? lane[j] : most;
    return most;
}

static double sum_lanes(const double lane[LANES]) {
    return ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
}

KEEL_SIMD static double sum_of(const keel_real *x, size_t n) {
    double lane[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t j = 0; j < LANES; ++j) lane[j] += (double)x[i + j];
    for (; i < n; ++i) lane[0] += (double)x[i];
    return sum_lanes(lane);
}

KEEL_SIMD static double dot_of(const keel_real *x, const keel_real *y, size_t n) {
    double lane[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t j = 0; j < LANES; ++j) lane[j] += (double)x[i + j] * (double)y[i + j];
    for (; i < n; ++i) lane[0] += (double)x[i] * (double)y[i];
    return sum_lanes(lane);
}

KEEL_SIMD static void multiply_by(keel_real *x, keel_real factor, size_t n) {
    for (size_t i = 0; i < n; ++i) x[i] *= factor;
}

KEEL_SIMD static void add_to(const keel_real *restrict x, size_t n, keel_real *restrict y) {
    for (size_t i = 0; i < n; ++i) y[i] += x[i];
}

keel_real keel_largest(const keel_real *x, size_t count) {
    return largest(x, count);
}

double keel_sum(const keel_real *x, size_t count) {
    return sum_of(x, count);
}

double keel_dot(const keel_real *x, const keel_real *y, size_t count) {
    return dot_of(x, y, count);
}

void keel_multiply_by(keel_real *x, keel_real factor, size_t count) {
    multiply_by(x, factor, count);
}

void keel_add_to(const keel_real *x, size_t count, keel_real *y) {
    add_to(x, count, y);
}

/* ---- functions of one number ---- */

#ifdef KEEL_REAL_DOUBLE

static inline double exp_below(double t) {
    return exp(t);
}

void keel_tanh(double *x, size_t count) {
    for (size_t i = 0; i < count; ++i) x[i] = tanh(x[i]);
}

void keel_exp_below(double *x, size_t count, double shift) {
    for (size_t i = 0; i < count; ++i) x[i] = exp(x[i] - shift);
}

void keel_softmax_columns(double *x, size_t rows, double factor) {
    for (size_t c = 0; c < COLUMNS; ++c) {
        double most = -INFINITY, sum = 0;
        for (size_t r = 0; r < rows; ++r) most = fmax(most, x[r * COLUMNS + c]);
        for (size_t r = 0; r < rows; ++r)
            sum += x[r * COLUMNS + c] = exp(factor * (x[r * COLUMNS + c] - most));
        for (size_t r = 0; r < rows; ++r) x[r * COLUMNS + c] /= sum;
    }
}

void keel_sum_columns(const double *x, size_t rows, double *most, double *sum) {
    for (size_t c = 0; c < COLUMNS; ++c) {
        most[c] = -INFINITY, sum[c] = 0;
        for (size_t r = 0; r < rows; ++r) most[c] = fmax(most[c], x[r * COLUMNS + c]);
        for (size_t r = 0; r < rows; ++r) sum[c] += exp(x[r * COLUMNS + c] - most[c]);
    }
}

void keel_gelu(const double *x, size_t count, double *y) {
    for (size_t i = 0; i < count; ++i) y[i] = 0.5 * x[i] * (1 + erf(x[i] * 0.70710678118654752440));
}

void keel_gelu_backward(const double *x, size_t count, double *dy) {
    for (size_t i = 0; i < count; ++i)
        dy[i] *= 0.5 * (1 + erf(x[i] * 0.70710678118654752440)) +
                 x[i] * exp(-x[i] * x[i] / 2) * 0.39894228040143267794; /* 1 / sqrt(2 pi) */
}

#else

/* e^x = 2^n e^r with |r| <= log(2) / 2 and e^r by its series; -87 <= x <= 20. */
static inline float power_of_e(float x) {
    const float to_whole = 12582912.0f; /* 3 * 2^22: adding it rounds to a whole number */
    float n = (x * 1.44269504f + to_whole) - to_whole;
    float r =
        (x - n * 0.693359375f) + n * 2.12194440e-4f; /* log(2) in two parts: n times the first is exact */
    float tail = 1.0f / 24 + r * (1.0f / 120 + r * (1.0f / 720 + r * (1.0f / 5040)));
    float series = 1 + r * (1 + r * (1.0f / 2 + r * (1.0f / 6 + r * tail)));
    union {
        uint32_t bits;
        float value;
    } power = {.bits = (uint32_t)((int32_t)n + 127) << 23};
    return series * power.value;
}

/* Odd terms of the series, for x below 0.35. */
static inline float small_tanh(float x) {
    float q = x * x;
    float tail = 2.0f / 15 + q * (-17.0f / 315 + q * (62.0f / 2835 + q * (-1382.0f / 155925)));
    return x + x * q * (-1.0f / 3 + q * tail);
}

/* The series where 1 - 2 / (e^2x + 1) would cancel; 1 from 10 on; NaN stays. */
KEEL_SIMD static void tanh_span(float *x, size_t count) {
    for (size_t i = 0; i < count; ++i) {
        float t = fabs(x[i]), limited = t < 10 ? t : 10;
        float large = 1 - 2 / (power_of_e(2 * limited) + 1), y = t < 0.35f ? small_tanh(limited) : large;
        x[i] = t <= INFINITY ? copysign(y, x[i]) : x[i];
    }
}

void keel_tanh(float *x, size_t count) {
    tanh_span(x, count);
}

/* e^t for t <= 0; NaN stays. */
static inline float exp_below(float t) {
    float limited = t < -87 ? -87 : t <= 0 ? t : 0, y = power_of_e(limited);
    return t < -87 ? 0 : t <= 0 ? y : t > 0 ? 1 : t;
}

KEEL_SIMD static void exp_span(float *x, size_t count, float shift) {
    for (size_t i = 0; i < count; ++i) x[i] = exp_below(x[i] - shift);
}

void keel_exp_below(float *x, size_t count, float shift) {
    exp_span(x, count, shift);
}

KEEL_SIMD static void sum_columns(const float *x, size_t rows, float *restrict most, double *restrict sum) {
    for (size_t c = 0; c < COLUMNS; ++c) most[c] = x[c], sum[c] = 0;
    for (size_t r = 1; r < rows; ++r)
        for (size_t c = 0; c < COLUMNS; ++c)
            most[c] = x[r * COLUMNS + c] > most[c] ? x[r * COLUMNS + c] : most[c];
    for (size_t r = 0; r < rows; ++r)
        for (size_t c = 0; c < COLUMNS; ++c) sum[c] += (double)exp_below(x[r * COLUMNS + c] - most[c]);
}

void keel_sum_columns(const float *x, size_t rows, float *most, double *sum) {
    sum_columns(x, rows, most, sum);
}

KEEL_SIMD static void softmax_columns(float *x, size_t rows, float factor) {
    float most[COLUMNS], scale[COLUMNS];
    double sum[COLUMNS] = {0};
    for (size_t c = 0; c < COLUMNS; ++c) most[c] = x[c];
    for (size_t r = 1; r < rows; ++r) {
        float more[COLUMNS]; /* a row at a time, which the compiler keeps in one register */
        for (size_t c = 0; c < COLUMNS; ++c)
            more[c] = x[r * COLUMNS + c] > most[c] ? x[r * COLUMNS + c] : most[c];
        for (size_t c = 0; c < COLUMNS; ++c) most[c] = more[c];
    }
    for (size_t r = 0; r < rows; ++r) {
        float e[COLUMNS];
        for (size_t c = 0; c < COLUMNS; ++c) e[c] = exp_below(factor * (x[r * COLUMNS + c] - most[c]));
        for (size_t c = 0; c < COLUMNS; ++c) sum[c] += (double)e[c];
        for (size_t c = 0; c < COLUMNS; ++c) x[r * COLUMNS + c] = e[c];
    }
    for (size_t c = 0; c < COLUMNS; ++c) scale[c] = (float)(1 / sum[c]);
    for (size_t r = 0; r < rows; ++r)
        for (size_t c = 0; c < COLUMNS; ++c) x[r * COLUMNS + c] *= scale[c];
}

void keel_softmax_columns(float *x, size_t rows, float factor) {
    softmax_columns(x, rows, factor);
}

/* erf(x) / x as a quotient of polynomials in x^2, fitted on |x| <= 4 to 3e-8 of the value; beyond, erf is 1.
 */
static inline float erf_of(float x) {
    float limited = x < -4 ? -4 : x > 4 ? 4 : x, t = limited * limited;
    float above =
        1.12837914f +
        t * (0.193672923f +
             t * (0.0531152268f + t * (0.00388770537f + t * (0.000284458405f + t * 1.98312512e-6f))));
    float below =
        1 + t * (0.504970739f +
                 t * (0.115399639f + t * (0.0152164143f + t * (0.00118623371f + t * 3.73767382e-5f))));
    return limited * (above / below);
}

KEEL_SIMD static void gelu_span(const float *x, size_t count, float *y) {
    for (size_t i = 0; i < count; ++i) y[i] = 0.5f * x[i] * (1 + erf_of(x[i] * 0.707106781f));
}

void keel_gelu(const float *x, size_t count, float *y) {
    gelu_span(x, count, y);
}

KEEL_SIMD static void gelu_slope_span(const float *restrict x, size_t count, float *restrict dy) {
    for (size_t i = 0; i < count; ++i) {
        float density = exp_below(-x[i] * x[i] / 2) * 0.398942280f; /* 1 / sqrt(2 pi) */
        dy[i] *= 0.5f * (1 + erf_of(x[i] * 0.707106781f)) + x[i] * density;
    }
}

void keel_gelu_backward(const float *x, size_t count, float *dy) {
    gelu_slope_span(x, count, dy);
}

#endif

/* 1 / (1 + e^-x) without an exponential that could overflow. */
static inline keel_real logistic(keel_real x) {
    const keel_real e = exp_below(x < 0 ? x : -x);
    return (x < 0 ? e : 1) / (1 + e);
}

KEEL_SIMD static void silu_times(const keel_real *x, const keel_real *up, size_t count, keel_real *y) {
    for (size_t i = 0; i < count; ++i) y[i] = x[i] * logistic(x[i]) * up[i];
}

void keel_silu_times(const keel_real *x, const keel_real *up, size_t count, keel_real *y) {
    silu_times(x, up, count, y);
}

/* d (x s) / dx = s + x s (1 - s) */
KEEL_SIMD static void silu_slopes(const keel_real *restrict x, const keel_real *restrict up,
                                  const keel_real *restrict dy, size_t count, keel_real *restrict dx,
                                  keel_real *restrict dup) {
    for (size_t i = 0; i < count; ++i) {
        const keel_real s = logistic(x[i]), y = x[i] * s;
        dx[i] = dy[i] * up[i] * (s + y * (1 - s));
        dup[i] = dy[i] * y;
    }
}

void keel_silu_times_backward(const keel_real *x, const keel_real *up, const keel_real *dy, size_t count,
                              keel_real *dx, keel_real *dup) {
    silu_slopes(x, up, dy, count, dx, dup);
}

void keel_standardise(const keel_real *x, const keel_real *mean, const keel_real *scale, size_t count,
                      keel_real *out) {
    for (size_t i = 0; i < count; i++) {
        const keel_real z = (x[i] - mean[i]) * scale[i];
        out[i] = z > 4 ? 4 : z < -4 ? -4 : z;
    }
}

bool keel_all_finite(const keel_real *x, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!isfinite(x[i])) return false;
    return true;
}

int keel_by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
