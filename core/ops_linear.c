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
    if (act == KEEL_GELU) keel_gelu_backward(z, size, dy);
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

/* ---- branches ---- */

static bool branches_fit(const keel_branch *branches, size_t n, size_t rows, size_t cols) {
    for (size_t k = 0; k < n; ++k) {
        const keel_tensor *x = branches[k].x, *b = branches[k].b;
        if (x->rows != rows || x->cols != b->cols || b->rows > cols || branches[k].column > cols - b->rows)
            return false;
    }
    return true;
}

static bool branches_are_made(const keel_branch *branches, size_t n) {
    for (size_t k = 0; k < n; ++k)
        if (!branches[k].x || !branches[k].b) return false;
    return true;
}

static bool branches_flow(const keel_branch *branches, size_t n) {
    for (size_t k = 0; k < n; ++k)
        if (branches[k].x->grad || branches[k].b->grad) return true;
    return false;
}

static void add_branch(const keel_branch *one, keel_real *z, size_t rows, size_t cols) {
    const keel_tensor *x = one->x, *b = one->b;
    keel_gemm(false, true, rows, b->rows, b->cols, one->factor, x->data, x->cols, b->data, b->cols, 1,
              z + one->column, cols);
}

static void branch_backward(const keel_branch *one, const keel_real *dz, size_t rows, size_t cols) {
    keel_tensor *x = one->x, *b = one->b;
    dz += one->column;
    if (b->grad)
        keel_gemm(true, false, b->rows, b->cols, rows, one->factor, dz, cols, x->data, x->cols,
                  keel__grad_beta(b), b->grad, b->cols);
    if (x->grad)
        keel_gemm(false, false, rows, x->cols, b->rows, one->factor, dz, cols, b->data, b->cols,
                  keel__grad_beta(x), x->grad, x->cols);
}

/* ---- weights that are not trained, in any format ---- */

static bool lies_as_reals(const keel_matrix *matrix) {
    return sizeof(keel_real) == sizeof(float) && matrix->type == KEEL_MATRIX_F32 &&
           (uintptr_t)matrix->data % sizeof(keel_real) == 0;
}

size_t keel__weight_tile(const keel_tensor *w, const keel_matrix *matrix) {
    enum { TILE = 256 };
    if (w || lies_as_reals(matrix)) return 0;
    return matrix->rows < TILE ? matrix->rows : TILE;
}

/* A row of floats within reals: the last first, so that none is written over before it is read. */
static void widen(keel_real *row, size_t cols) {
    const char *floats = (const char *)row;
    for (size_t c = cols; sizeof(keel_real) != sizeof(float) && c-- > 0;) {
        float x;
        memcpy(&x, floats + c * sizeof x, sizeof x);
        row[c] = (keel_real)x;
    }
}

const keel_real *keel__weight_rows(const keel_tensor *w, const keel_matrix *matrix, size_t first, size_t n,
                                   keel_real *room) {
    if (w) return w->data + first * w->cols;
    if (lies_as_reals(matrix)) return (const keel_real *)matrix->data + first * matrix->cols;
    for (size_t r = 0; r < n; ++r) {
        keel_matrix_read_row(matrix, first + r, (float *)(void *)(room + r * matrix->cols));
        widen(room + r * matrix->cols, matrix->cols);
    }
    return room;
}

/* z[B,O] = x w^T, or dx[B,I] (+)= dz w, by tiles of the outputs. */
static void frozen_product(const keel_node *node, bool forward) {
    const keel_matrix *w = node->matrix;
    const size_t rows = node->out->rows, inputs = w->cols, widened = keel__weight_tile(NULL, w),
                 tile = widened ? widened : w->rows;
    keel_real *room = keel__tape_scratch(node->tape, widened * inputs);
    if (!room) return;
    keel_real beta = forward ? 0 : keel__grad_beta(node->x);
    for (size_t at = 0, n; at < w->rows; at += n, beta = 1) {
        n = w->rows - at < tile ? w->rows - at : tile;
        const keel_real *some = keel__weight_rows(NULL, w, at, n, room);
        if (forward)
            node->tape->multiply(false, true, rows, n, inputs, 1, node->x->data, inputs, some, inputs, 0,
                                 node->saved + at, w->rows);
        else
            node->tape->multiply(false, false, rows, inputs, n, 1, node->out->grad + at, w->rows, some,
                                 inputs, beta, node->x->grad, inputs);
    }
}

/* ---- the layer ---- */

/* Rows that stay in the cache from one pass over them to the next. */
static size_t block_rows(const keel_tensor *y) {
    enum { BLOCK = 8192 };
    return y->cols < BLOCK ? BLOCK / (y->cols ? y->cols : 1) : 1;
}

/* out->grad <- dL/dz; the bias gets its column sums. */
static void bias_backward(const keel_node *node) {
    const keel_tensor *out = node->out;
    const size_t cols = out->cols, most = block_rows(out);
    keel_real *dz = out->grad, *db = node->b ? keel__grad_to_add(node->b) : NULL;
    if (db && node->activation == KEEL_RELU) {
        relu_backward(dz, out->data, db, out->rows, cols);
        return;
    }
    for (size_t r = 0; r < out->rows; r += most) {
        const size_t at = r * cols, rows = out->rows - r < most ? out->rows - r : most;
        activation_backward(node->activation, dz + at, out->data + at, node->saved + at, rows * cols);
        if (db) add_columns(dz + at, db, rows, cols);
    }
}

/* y = act(z + b) */
static void activate(const keel_node *node) {
    const keel_tensor *out = node->out;
    const size_t cols = out->cols, most = block_rows(out);
    const keel_real *bias = node->b ? node->b->data : NULL;
    for (size_t r = 0; r < out->rows; r += most) {
        const size_t at = r * cols, rows = out->rows - r < most ? out->rows - r : most;
        keel_real *z = node->saved + at, *y = out->data + at;
        if (node->activation == KEEL_RELU)
            bias_relu(z, bias, rows, cols);
        else
            bias_only(z, bias, rows, cols);
        if (node->activation == KEEL_TANH) keel_tanh(y, rows * cols);
        if (node->activation == KEEL_GELU) keel_gelu(z, rows * cols, y);
    }
}

static void linear_backward(const keel_node *node) {
    keel_tensor *x = node->x, *w = node->y, *out = node->out;
    size_t rows = out->rows, cols = out->cols, inputs = x->cols;
    const int32_t all[] = {0, (int32_t)inputs}, *runs = node->index ? node->index : all;
    const size_t n_runs = node->index ? node->count : 1;
    const keel_real *dz = out->grad;
    bias_backward(node);
    for (size_t k = 0; k < node->n_branches; ++k) branch_backward(&node->branch[k], dz, rows, cols);
    if (!w) {
        if (x->grad) frozen_product(node, false);
        return;
    }
    keel_real w_beta = w->grad ? flow_beta(w, node) : 0, x_beta = x->grad ? flow_beta(x, node) : 0;
    for (size_t k = 0; k < n_runs; ++k) {
        size_t first = (size_t)runs[2 * k], n = (size_t)runs[2 * k + 1] - first;
        if (w->grad)
            node->tape->multiply(true, false, cols, n, rows, 1, dz, cols, x->data + first, inputs, w_beta,
                                 w->grad + first, inputs);
        if (x->grad)
            node->tape->multiply(false, false, rows, n, cols, 1, dz, cols, w->data + first, inputs, x_beta,
                                 x->grad + first, inputs);
    }
}

/* z = x w^T over the runs + branches, then y = act(z + b); z is y where the activation needs no input later.
 */
static void fill_linear(const keel_node *node) {
    const keel_tensor *x = node->x, *w = node->y;
    const size_t rows = node->out->rows, cols = node->out->cols, inputs = x->cols;
    const int32_t *runs = node->index;
    keel_real *z = node->saved;
    if (node->matrix) frozen_product(node, true);
    if (w && node->count == 0) memset(z, 0, rows * cols * sizeof *z);
    for (size_t k = 0; w && k < node->count; ++k) {
        size_t first = runs ? (size_t)runs[2 * k] : 0, n = runs ? (size_t)runs[2 * k + 1] - first : inputs;
        node->tape->multiply(false, true, rows, cols, n, 1, x->data + first, inputs, w->data + first, inputs,
                             k ? 1 : 0, z, cols);
    }
    for (size_t k = 0; k < node->n_branches; ++k) add_branch(&node->branch[k], z, rows, cols);
    activate(node);
}

/* node: inputs, activation, runs and branches. */
static keel_tensor *linear(keel_tape *tape, keel_node node) {
    const keel_tensor *x = node.x, *w = node.y, *b = node.b;
    if (!x || (!w && !node.matrix) || !branches_are_made(node.branch, node.n_branches)) return NULL;
    const size_t outputs = w ? w->rows : node.matrix->rows, inputs = w ? w->cols : node.matrix->cols;
    if (inputs != x->cols || (b && keel__size(b) != outputs) || !runs_fit(node.index, node.count, x->cols) ||
        !branches_fit(node.branch, node.n_branches, x->rows, outputs))
        return keel__tape_refuse(tape, "keel_op_linear", "x [B, I], w [O, I], b [1, O] do not fit");
    const bool flows =
        x->grad || (w && w->grad) || (b && b->grad) || branches_flow(node.branch, node.n_branches);
    node.tape = tape;
    node.backward = linear_backward;
    node.out = keel__tape_output(tape, x->rows, outputs, flows);
    if (!node.out) return NULL;
    /* GELU's slope needs its input; those of tanh and ReLU follow from the output. */
    node.saved = node.activation == KEEL_GELU ? keel__tape_reals(tape, keel__size(node.out)) : node.out->data;
    if (!node.saved) return NULL;
    fill_linear(&node);
    return keel__tape_push(tape, node);
}

keel_tensor *keel_op_linear(keel_tape *tape, keel_tensor *x, keel_tensor *w, keel_tensor *b,
                            keel_activation act) {
    return keel_op_linear_runs(tape, x, w, b, act, NULL, 1);
}

keel_tensor *keel_op_linear_runs(keel_tape *tape, keel_tensor *x, keel_tensor *w, keel_tensor *b,
                                 keel_activation act, const int32_t *runs, size_t n_runs) {
    return linear(tape,
                  (keel_node){.x = x, .y = w, .b = b, .activation = act, .index = runs, .count = n_runs});
}

/* node without branches: they are copied. */
static keel_tensor *branched(keel_tape *tape, keel_node node, const keel_branch *branches, size_t n) {
    node.n_branches = n;
    node.branch = n ? keel__tape_bytes(tape, n * sizeof *node.branch) : NULL;
    if (n && !node.branch) return NULL;
    if (n) memcpy(node.branch, branches, n * sizeof *node.branch);
    return linear(tape, node);
}

keel_tensor *keel_op_linear_branched(keel_tape *tape, keel_tensor *x, keel_tensor *w, keel_tensor *b,
                                     keel_activation act, const keel_branch *branches, size_t n) {
    if (!w) return NULL;
    return branched(tape, (keel_node){.x = x, .y = w, .b = b, .activation = act, .count = 1}, branches, n);
}

keel_tensor *keel_op_linear_frozen(keel_tape *tape, keel_tensor *x, const keel_matrix *w, keel_tensor *b,
                                   keel_activation act, const keel_branch *branches, size_t n) {
    return branched(tape, (keel_node){.x = x, .matrix = w, .b = b, .activation = act}, branches, n);
}
