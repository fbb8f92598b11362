/* The linear layer: matrix product, bias and activation in one operation. */
#include <tgmath.h>

#include "core/gemm.h"
#include "core/numeric.h"
#include "core/simd.h"
#include "core/tape_internal.h"

/* Bias and activation in one pass over y[rows, cols]; b may be NULL. The comparison is written so that NaN
 * passes. */
KEEL_SIMD static void bias_relu(keel_real *restrict y, const keel_real *restrict b, size_t rows,
                                size_t cols) {
    for (size_t r = 0; r < rows; ++r, y += cols)
        for (size_t c = 0; c < cols; ++c) {
            keel_real z = b ? y[c] + b[c] : y[c];
            y[c] = z < 0 ? 0 : z;
        }
}

KEEL_SIMD static void bias_only(keel_real *restrict y, const keel_real *restrict b, size_t rows,
                                size_t cols) {
    for (size_t r = 0; b && r < rows; ++r, y += cols)
        for (size_t c = 0; c < cols; ++c) y[c] += b[c];
}

static keel_real gaussian_cdf(keel_real z) {
    return (keel_real)0.5 * (1 + erf(z * (keel_real)0.70710678118654752440)); /* sqrt(1/2) */
}

static keel_real gelu_slope(keel_real z) {
    keel_real density = exp(-z * z / 2) * (keel_real)0.39894228040143267794; /* 1 / sqrt(2 pi) */
    return gaussian_cdf(z) + z * density;
}

/* dy <- dL/dz in place, and db[cols] += its column sums. The output of ReLU says where the input was
 * positive. */
KEEL_SIMD static void relu_backward(keel_real *restrict dy, const keel_real *restrict y,
                                    keel_real *restrict db, size_t rows, size_t cols) {
    for (size_t r = 0; r < rows; ++r, dy += cols, y += cols)
        for (size_t c = 0; c < cols; ++c) {
            keel_real dz = y[c] > 0 ? dy[c] : 0;
            dy[c] = dz;
            db[c] += dz;
        }
}

KEEL_SIMD static void add_columns(const keel_real *restrict dz, keel_real *restrict db, size_t rows,
                                  size_t cols) {
    for (size_t r = 0; r < rows; ++r, dz += cols)
        for (size_t c = 0; c < cols; ++c) db[c] += dz[c];
}

static void activation_backward(keel_activation act, keel_real *restrict dy, const keel_real *restrict y,
                                const keel_real *restrict z, size_t size) {
    if (act == KEEL_TANH)
        for (size_t i = 0; i < size; ++i) dy[i] *= 1 - y[i] * y[i];
    if (act == KEEL_GELU)
        for (size_t i = 0; i < size; ++i) dy[i] *= gelu_slope(z[i]);
    if (act == KEEL_RELU)
        for (size_t i = 0; i < size; ++i) dy[i] = y[i] > 0 ? dy[i] : 0;
}

/* ---- columns that are read: runs [n, 2] of first and end, or NULL for all ---- */

static bool runs_fit(const int32_t *runs, size_t n, size_t cols) {
    int32_t at = 0;
    for (size_t k = 0; runs && k < 2 * n; ++k) {
        if (runs[k] < at) return false;
        at = runs[k];
    }
    return (size_t)at <= cols;
}

/* The gradient of columns that are not read is zero. */
static void clear_gaps(keel_tensor *x, const int32_t *runs, size_t n) {
    for (size_t r = 0; r < x->rows; ++r)
        for (size_t k = 0, at = 0; k <= n; ++k) {
            size_t end = k < n ? (size_t)runs[2 * k] : x->cols;
            memset(x->grad + r * x->cols + at, 0, (end - at) * sizeof *x->grad);
            at = k < n ? (size_t)runs[2 * k + 1] : at;
        }
}

static keel_real flow_beta(keel_tensor *x, const keel_node *node) {
    if (node->index && !x->grad_ready) clear_gaps(x, node->index, node->count);
    return keel__grad_beta(x);
}

static void linear_backward(const keel_node *node) {
    keel_tensor *x = node->x, *w = node->y, *b = node->b, *out = node->out;
    size_t rows = out->rows, cols = out->cols, inputs = x->cols;
    const int32_t all[] = {0, (int32_t)inputs}, *runs = node->index ? node->index : all;
    const size_t n_runs = node->index ? node->count : 1;
    keel_real *dz = out->grad, *db = b ? keel__grad_to_add(b) : NULL;
    if (db && node->activation == KEEL_RELU) {
        relu_backward(dz, out->data, db, rows, cols);
    } else {
        activation_backward(node->activation, dz, out->data, node->saved, rows * cols);
        if (db) add_columns(dz, db, rows, cols);
    }
    keel_real w_beta = w->grad ? flow_beta(w, node) : 0, x_beta = x->grad ? flow_beta(x, node) : 0;
    for (size_t k = 0; k < n_runs; ++k) {
        size_t first = (size_t)runs[2 * k], n = (size_t)runs[2 * k + 1] - first;
        if (w->grad)
            keel_gemm(true, false, cols, n, rows, 1, dz, cols, x->data + first, inputs, w_beta,
                      w->grad + first, inputs);
        if (x->grad)
            keel_gemm(false, false, rows, n, cols, 1, dz, cols, w->data + first, inputs, x_beta,
                      x->grad + first, inputs);
    }
}

keel_tensor *keel_op_linear(keel_tape *tape, keel_tensor *x, keel_tensor *w, keel_tensor *b,
                            keel_activation act) {
    return keel_op_linear_runs(tape, x, w, b, act, NULL, 1);
}

keel_tensor *keel_op_linear_runs(keel_tape *tape, keel_tensor *x, keel_tensor *w, keel_tensor *b,
                                 keel_activation act, const int32_t *runs, size_t n_runs) {
    if (!x || !w) return NULL;
    if (w->cols != x->cols || (b && keel__size(b) != w->rows) || !runs_fit(runs, n_runs, x->cols))
        return keel__tape_refuse(tape, "keel_op_linear", "x [B, I], w [O, I], b [1, O] do not fit");
    size_t rows = x->rows, cols = w->rows, inputs = x->cols;
    keel_tensor *y = keel__tape_output(tape, rows, cols, x->grad || w->grad || (b && b->grad));
    if (!y) return NULL;
    /* GELU's slope needs its input; those of tanh and ReLU follow from the output. */
    keel_real *z = act == KEEL_GELU ? keel__tape_reals(tape, rows * cols) : y->data;
    if (!z) return NULL;
    if (n_runs == 0) memset(z, 0, rows * cols * sizeof *z);
    for (size_t k = 0; k < n_runs; ++k) {
        size_t first = runs ? (size_t)runs[2 * k] : 0, n = runs ? (size_t)runs[2 * k + 1] - first : inputs;
        keel_gemm(false, true, rows, cols, n, 1, x->data + first, inputs, w->data + first, inputs, k ? 1 : 0,
                  z, cols);
    }
    const keel_real *bias = b ? b->data : NULL;
    if (act == KEEL_RELU)
        bias_relu(z, bias, rows, cols);
    else
        bias_only(z, bias, rows, cols);
    if (act == KEEL_TANH) keel_tanh(y->data, rows * cols);
    if (act == KEEL_GELU) keel_gelu(z, rows * cols, y->data);
    return keel__tape_push(tape, (keel_node){.backward = linear_backward,
                                             .out = y,
                                             .x = x,
                                             .y = w,
                                             .b = b,
                                             .saved = z,
                                             .activation = act,
                                             .index = runs,
                                             .count = n_runs});
}
