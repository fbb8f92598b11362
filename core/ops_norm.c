/* Normalisation of rows. That of layers is of a sum whose second part may be dropped, in one operation: each
 * would be a pass through memory. */
#include <tgmath.h>

#include "core/numeric.h"
#include "core/simd.h"
#include "core/tape_internal.h"

enum { LANES = 8 }; /* as keel_sum */

KEEL_SIMD static double sum_squares(const keel_real *x, double mean, size_t n) {
    double lane[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t j = 0; j < LANES; ++j) {
            const double d = (double)x[i + j] - mean;
            lane[j] += d * d;
        }
    for (; i < n; ++i) lane[0] += ((double)x[i] - mean) * ((double)x[i] - mean);
    return ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
}

/* ---- forward ---- */

KEEL_SIMD static void add_row(const keel_real *x, const keel_real *more, size_t n, keel_real *restrict sum) {
    for (size_t i = 0; i < n; ++i) sum[i] = x[i] + more[i];
}

KEEL_SIMD static void add_kept(const keel_real *x, const keel_real *more, const keel__mask *mask,
                               const uint16_t *restrict bits, size_t n, keel_real *restrict sum) {
    const uint16_t limit = mask->limit;
    const keel_real factor = mask->factor;
    for (size_t i = 0; i < n; ++i) sum[i] = x[i] + more[i] * (bits[i] < limit ? 0 : factor);
}

/* unit: in the sum, out what is normalised. */
KEEL_SIMD static void finish_row(keel_real *restrict unit, keel_real mean, keel_real inverse,
                                 const keel_real *restrict gain, const keel_real *restrict bias, size_t n,
                                 keel_real *restrict y) {
    for (size_t i = 0; i < n; ++i) {
        unit[i] = (unit[i] - mean) * inverse;
        y[i] = unit[i] * gain[i] + bias[i];
    }
}

/* list: x, more or NULL, gain, bias. unit, inverse: of row r, kept or not. */
static void norm_row(const keel_node *node, double epsilon, size_t r, keel_real *unit, keel_real *inverse) {
    const keel_tensor *more = node->list[1];
    const size_t n = node->out->cols;
    const keel_real *x = node->list[0]->data + r * n;
    if (!more)
        memcpy(unit, x, n * sizeof *unit);
    else if (node->mask.bits)
        add_kept(x, more->data + r * n, &node->mask, node->mask.bits + r * n, n, unit);
    else
        add_row(x, more->data + r * n, n, unit);
    const double mean = keel_sum(unit, n) / (double)n, variance = sum_squares(unit, mean, n) / (double)n;
    *inverse = (keel_real)(1 / sqrt(variance + epsilon));
    finish_row(unit, (keel_real)mean, *inverse, node->list[2]->data, node->list[3]->data, n,
               node->out->data + r * n);
}

/* ---- backward ---- */

KEEL_SIMD static void add_products(const keel_real *restrict dy, const keel_real *restrict unit, size_t n,
                                   keel_real *restrict dgain) {
    for (size_t i = 0; i < n; ++i) dgain[i] += dy[i] * unit[i];
}

KEEL_SIMD static void scale(keel_real *restrict dy, const keel_real *restrict gain, size_t n) {
    for (size_t i = 0; i < n; ++i) dy[i] *= gain[i];
}

KEEL_SIMD static void centre(keel_real *restrict dy, const keel_real *restrict unit, keel_real inverse,
                             keel_real mean, keel_real along, size_t n) {
    for (size_t i = 0; i < n; ++i) dy[i] = inverse * (dy[i] - mean - unit[i] * along);
}

KEEL_SIMD static void flow(const keel_node *node) {
    const size_t size = keel__size(node->out);
    const keel_real *dy = node->out->grad, factor = node->mask.factor;
    const uint16_t *bits = node->mask.bits, limit = node->mask.limit;
    KEEL_FLOW(node->list[0], size, i, dy[i]);
    if (!node->list[1]) return;
    if (bits)
        KEEL_FLOW(node->list[1], size, i, dy[i] * (bits[i] < limit ? 0 : factor));
    else
        KEEL_FLOW(node->list[1], size, i, dy[i]);
}

/* saved: [B, C] normalised, then [B] 1 / deviation. */
static void norm_backward(const keel_node *node) {
    keel_tensor *gain = node->list[2];
    const size_t rows = node->out->rows, n = node->out->cols;
    const keel_real *inverse = node->saved + rows * n;
    keel_real *dgain = keel__grad_to_add(gain), *dbias = keel__grad_to_add(node->list[3]);
    const bool further = node->list[0]->grad || (node->list[1] && node->list[1]->grad);
    for (size_t r = 0; r < rows; ++r) {
        keel_real *dy = node->out->grad + r * n;
        const keel_real *unit = node->saved + r * n;
        if (dgain) add_products(dy, unit, n, dgain);
        if (dbias) keel_add_to(dy, n, dbias);
        if (!further) continue;
        scale(dy, gain->data, n);
        const double mean = keel_sum(dy, n) / (double)n, along = keel_dot(dy, unit, n) / (double)n;
        centre(dy, unit, inverse[r], (keel_real)mean, (keel_real)along, n);
    }
    flow(node);
}

keel_tensor *keel_op_layer_norm(keel_tape *tape, keel_tensor *x, keel_tensor *more, keel_tensor *gain,
                                keel_tensor *bias, double epsilon) {
    return keel_op_residual_norm(tape, x, more, 0, NULL, gain, bias, epsilon);
}

keel_tensor *keel_op_residual_norm(keel_tape *tape, keel_tensor *x, keel_tensor *more, keel_real rate,
                                   keel_rng *rng, keel_tensor *gain, keel_tensor *bias, double epsilon) {
    if (!x || !gain || !bias) return NULL;
    const size_t rows = x->rows, cols = x->cols;
    if (keel__size(gain) != cols || keel__size(bias) != cols ||
        (more && (more->rows != rows || more->cols != cols)))
        return keel__tape_refuse(tape, "keel_op_layer_norm", "x [B, C], gain and bias [1, C] do not fit");
    const bool flows = x->grad || (more && more->grad) || gain->grad || bias->grad;
    keel_node node = {.backward = norm_backward, .out = keel__tape_output(tape, rows, cols, flows)};
    if (!node.out || (rate != 0 && !keel__mask_draw(tape, rows * cols, rate, rng, &node.mask))) return NULL;
    const bool kept = node.out->grad;
    node.n_list = 4;
    node.list = keel__tape_bytes(tape, node.n_list * sizeof *node.list);
    node.saved = keel__tape_reals(tape, (kept ? rows : 1) * (cols + 1));
    if (!node.list || !node.saved) return NULL;
    node.list[0] = x, node.list[1] = more, node.list[2] = gain, node.list[3] = bias;
    keel_real *inverse = node.saved + (kept ? rows : 1) * cols;
    for (size_t r = 0; r < rows; ++r)
        norm_row(&node, epsilon, r, node.saved + (kept ? r * cols : 0), inverse + (kept ? r : 0));
    return keel__tape_push(tape, node);
}

/* ---- by the mean square ---- */

KEEL_SIMD static void scale_to(const keel_real *restrict x, keel_real inverse, const keel_real *restrict gain,
                               size_t n, keel_real *restrict y) {
    for (size_t i = 0; i < n; ++i) y[i] = x[i] * inverse * gain[i];
}

KEEL_SIMD static void add_units(const keel_real *restrict dy, const keel_real *restrict x, keel_real inverse,
                                size_t n, keel_real *restrict dgain) {
    for (size_t i = 0; i < n; ++i) dgain[i] += dy[i] * (x[i] * inverse);
}

/* dx += inverse (dy gain - unit along), unit = x inverse; dy gain is in dy. */
KEEL_SIMD static void rms_slope(const keel_real *restrict dy, const keel_real *restrict x, keel_real inverse,
                                keel_real along, size_t n, keel_real *restrict dx) {
    for (size_t i = 0; i < n; ++i) dx[i] += inverse * (dy[i] - x[i] * inverse * along);
}

/* list: x, more or NULL, gain. also: the sum, x itself where more is NULL. saved: [B] 1 / root mean square.
 */
static void rms_backward(const keel_node *node) {
    keel_tensor *x = node->list[0], *more = node->list[1], *gain = node->list[2],
                *sum = more ? node->also : x;
    const size_t n = node->out->cols;
    keel_real *dgain = keel__grad_to_add(gain), *dsum = keel__grad_to_add(sum);
    for (size_t r = 0; node->out->grad_ready && r < node->out->rows; ++r) {
        keel_real *dy = node->out->grad + r * n;
        const keel_real *row = sum->data + r * n, inverse = node->saved[r];
        if (dgain) add_units(dy, row, inverse, n, dgain);
        if (!dsum) continue;
        scale(dy, gain->data, n);
        const double along = keel_dot(dy, row, n) * (double)inverse / (double)n;
        rms_slope(dy, row, inverse, (keel_real)along, n, dsum + r * n);
    }
    if (!more || !dsum) return;
    KEEL_FLOW(x, keel__size(x), i, dsum[i]);
    if (more->grad) keel__tape_hand(sum, more);
}

/* Of the sum, which is there. */
static void fill_rms(const keel_node *node) {
    const keel_tensor *sum = node->list[1] ? node->list[1] : node->list[0];
    const size_t n = node->out->cols;
    for (size_t r = 0; r < node->out->rows; ++r) {
        const keel_real *row = sum->data + r * n;
        node->saved[r] = (keel_real)(1 / sqrt(keel_dot(row, row, n) / (double)n + node->epsilon));
        scale_to(row, node->saved[r], node->list[2]->data, n, node->out->data + r * n);
    }
}

keel_tensor *keel_op_rms_norm(keel_tape *tape, keel_tensor *x, keel_tensor *more, keel_tensor *gain,
                              double epsilon, keel_tensor **sum) {
    if (!x || !gain || (sum && !more)) return NULL;
    const size_t rows = x->rows, n = x->cols;
    if (keel__size(gain) != n || (more && (more->rows != rows || more->cols != n)))
        return keel__tape_refuse(tape, "keel_op_rms_norm", "x [B, C] and gain [1, C] do not fit");
    const bool flows = x->grad || (more && more->grad);
    keel_node node = {.backward = rms_backward,
                      .redo = fill_rms,
                      .epsilon = epsilon,
                      .out = keel__tape_output(tape, rows, n, flows || gain->grad),
                      .also = more ? keel__tape_over(tape, more->data, rows, n, flows) : NULL,
                      .list = keel__tape_bytes(tape, 3 * sizeof *node.list),
                      .n_list = 3,
                      .saved = keel__tape_reals(tape, rows + 1)};
    if (!node.out || (more && !node.also) || !node.list || !node.saved) return NULL;
    node.list[0] = x, node.list[1] = more, node.list[2] = gain;
    if (more) keel_add_to(x->data, rows * n, more->data);
    fill_rms(&node);
    if (sum) *sum = node.also;
    return keel__tape_push(tape, node);
}

/* ---- rows of length 1 ---- */

/* dx = (dy - y (y . dy)) / |x| */
static void unit_rows_backward(const keel_node *node) {
    const size_t rows = node->out->rows, cols = node->out->cols;
    keel_real *dx = keel__grad_to_add(node->x);
    for (size_t i = 0; dx && i < rows; ++i) {
        const keel_real *y = node->out->data + i * cols, *dy = node->out->grad + i * cols;
        double dot = 0;
        for (size_t c = 0; c < cols; ++c) dot += (double)y[c] * (double)dy[c];
        for (size_t c = 0; c < cols; ++c)
            dx[i * cols + c] += (keel_real)(((double)dy[c] - (double)y[c] * dot) * (double)node->saved[i]);
    }
}

keel_tensor *keel_op_unit_rows(keel_tape *tape, keel_tensor *x) {
    if (!x) return NULL;
    keel_tensor *out = keel__tape_output(tape, x->rows, x->cols, x->grad);
    keel_real *inverse = keel__tape_reals(tape, x->rows + 1);
    if (!out || !inverse) return NULL;
    for (size_t i = 0; i < x->rows; ++i) {
        double square = 0;
        for (size_t c = 0; c < x->cols; ++c)
            square += (double)x->data[i * x->cols + c] * (double)x->data[i * x->cols + c];
        inverse[i] = (keel_real)(1 / fmax(sqrt(square), 1e-12));
        for (size_t c = 0; c < x->cols; ++c)
            out->data[i * x->cols + c] = x->data[i * x->cols + c] * inverse[i];
    }
    return keel__tape_push(tape,
                           (keel_node){.backward = unit_rows_backward, .out = out, .x = x, .saved = inverse});
}
