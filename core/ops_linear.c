/* The linear layer: matrix product, bias and activation in one operation. */
#include <tgmath.h>

#include "core/tape.h"
#include "core/wide.h"

/* Bias and activation in one pass over y[rows, cols]; b may be NULL. The comparison is written so that NaN
 * passes. */
KEEL_WIDE static void bias_relu(keel_real *restrict y, const keel_real *restrict b, size_t rows,
                                size_t cols) {
    for (size_t r = 0; r < rows; ++r, y += cols)
        for (size_t c = 0; c < cols; ++c) {
            keel_real z = b ? y[c] + b[c] : y[c];
            y[c] = z < 0 ? 0 : z;
        }
}

KEEL_WIDE static void bias_only(keel_real *restrict y, const keel_real *restrict b, size_t rows,
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
KEEL_WIDE static void relu_backward(keel_real *restrict dy, const keel_real *restrict y,
                                    keel_real *restrict db, size_t rows, size_t cols) {
    for (size_t r = 0; r < rows; ++r, dy += cols, y += cols)
        for (size_t c = 0; c < cols; ++c) {
            keel_real dz = y[c] > 0 ? dy[c] : 0;
            dy[c] = dz;
            db[c] += dz;
        }
}

KEEL_WIDE static void add_columns(const keel_real *restrict dz, keel_real *restrict db, size_t rows,
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

static void linear_backward(const keel_node *node) {
    keel_tensor *x = node->x, *w = node->y, *b = node->b, *out = node->out;
    size_t rows = out->rows, cols = out->cols, inputs = x->cols;
    keel_real *dz = out->grad, *db = b ? keel__grad_to_add(b) : NULL;
    if (db && node->activation == KEEL_RELU) {
        relu_backward(dz, out->data, db, rows, cols);
    } else {
        activation_backward(node->activation, dz, out->data, node->saved, rows * cols);
        if (db) add_columns(dz, db, rows, cols);
    }
    if (w->grad) {
        keel_real beta = keel__grad_beta(w);
        keel_gemm(true, false, cols, inputs, rows, 1, dz, cols, x->data, inputs, beta, w->grad, inputs);
    }
    if (x->grad) {
        keel_real beta = keel__grad_beta(x);
        keel_gemm(false, false, rows, inputs, cols, 1, dz, cols, w->data, inputs, beta, x->grad, inputs);
    }
}

keel_tensor *keel_op_linear(keel_tape *tape, keel_tensor *x, keel_tensor *w, keel_tensor *b,
                            keel_activation act) {
    if (!x || !w) return NULL;
    if (w->cols != x->cols || (b && keel__size(b) != w->rows))
        return keel__tape_refuse(tape, "keel_op_linear", "x [B, I], w [O, I], b [1, O] do not fit");
    size_t rows = x->rows, cols = w->rows, inputs = x->cols;
    keel_tensor *y = keel__tape_output(tape, rows, cols, x->grad || w->grad || (b && b->grad));
    if (!y) return NULL;
    /* GELU's slope needs its input; tanh and ReLU can tell theirs from the output. */
    keel_real *z = act == KEEL_GELU ? keel__tape_reals(tape, rows * cols) : y->data;
    if (!z) return NULL;
    keel_gemm(false, true, rows, cols, inputs, 1, x->data, inputs, w->data, inputs, 0, z, cols);
    const keel_real *bias = b ? b->data : NULL;
    if (act == KEEL_RELU)
        bias_relu(z, bias, rows, cols);
    else
        bias_only(z, bias, rows, cols);
    if (act == KEEL_TANH) keel_tanh(y->data, rows * cols);
    for (size_t i = 0; act == KEEL_GELU && i < rows * cols; ++i) y->data[i] = z[i] * gaussian_cdf(z[i]);
    return keel__tape_push(
        tape,
        (keel_node){
            .backward = linear_backward, .out = y, .x = x, .y = w, .b = b, .saved = z, .activation = act});
}
