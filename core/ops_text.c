/* What transformers need: layer normalisation, attention within texts, the mean of a text. */
#include <tgmath.h>

#include "core/attention.h"
#include "core/gemm.h"
#include "core/tape_internal.h"

/* ---- layer normalisation ---- */

/* list: x, more or NULL, gain, bias. saved: [B, C] normalised, then [B] 1 / deviation. */
static void layer_norm_backward(const keel_node *node) {
    keel_tensor *x = node->list[0], *more = node->list[1], *gain = node->list[2], *bias = node->list[3];
    const size_t rows = node->out->rows, cols = node->out->cols;
    const keel_real *unit = node->saved, *inverse = unit + rows * cols;
    keel_real *dgain = keel__grad_to_add(gain), *dbias = keel__grad_to_add(bias);
    for (size_t r = 0; r < rows; ++r) {
        keel_real *dy = node->out->grad + r * cols;
        const keel_real *u = unit + r * cols;
        double mean = 0, along = 0;
        for (size_t c = 0; c < cols; ++c) {
            if (dgain) dgain[c] += dy[c] * u[c];
            if (dbias) dbias[c] += dy[c];
            dy[c] *= gain->data[c];
            mean += (double)dy[c];
            along += (double)dy[c] * (double)u[c];
        }
        mean /= (double)cols;
        along /= (double)cols;
        for (size_t c = 0; c < cols; ++c)
            dy[c] = inverse[r] * (dy[c] - (keel_real)mean - u[c] * (keel_real)along);
    }
    const keel_real *dy = node->out->grad;
    KEEL_FLOW(x, rows * cols, i, dy[i]);
    if (more) KEEL_FLOW(more, rows * cols, i, dy[i]);
}

/* The normalised rows and 1 / deviation, for backward. */
static void keep_unit(const keel_real *x, const keel_real *more, double epsilon, size_t rows, size_t cols,
                      keel_real *unit, keel_real *inverse) {
    for (size_t r = 0; r < rows; ++r, unit += cols) {
        double mean = 0, variance = 0;
        for (size_t c = 0; c < cols; ++c) {
            unit[c] = more ? x[r * cols + c] + more[r * cols + c] : x[r * cols + c];
            mean += (double)unit[c];
        }
        mean /= (double)cols;
        for (size_t c = 0; c < cols; ++c) variance += ((double)unit[c] - mean) * ((double)unit[c] - mean);
        inverse[r] = (keel_real)(1 / sqrt(variance / (double)cols + epsilon));
        for (size_t c = 0; c < cols; ++c) unit[c] = (unit[c] - (keel_real)mean) * inverse[r];
    }
}

keel_tensor *keel_op_layer_norm(keel_tape *tape, keel_tensor *x, keel_tensor *more, keel_tensor *gain,
                                keel_tensor *bias, double epsilon) {
    if (!x || !gain || !bias) return NULL;
    const size_t rows = x->rows, cols = x->cols;
    if (keel__size(gain) != cols || keel__size(bias) != cols ||
        (more && (more->rows != rows || more->cols != cols)))
        return keel__tape_refuse(tape, "keel_op_layer_norm", "x [B, C], gain and bias [1, C] do not fit");
    const bool flows = x->grad || (more && more->grad) || gain->grad || bias->grad;
    keel_tensor *out = keel__tape_output(tape, rows, cols, flows);
    keel_tensor **list = keel__tape_bytes(tape, 4 * sizeof *list);
    keel_real *saved = out && out->grad ? keel__tape_reals(tape, rows * (cols + 1)) : NULL;
    if (!out || !list || (out->grad && !saved)) return NULL;
    list[0] = x, list[1] = more, list[2] = gain, list[3] = bias;
    keel_layer_norm(x->data, more ? more->data : NULL, gain->data, bias->data, epsilon, rows, cols,
                    out->data);
    if (saved) keep_unit(x->data, more ? more->data : NULL, epsilon, rows, cols, saved, saved + rows * cols);
    return keel__tape_push(
        tape,
        (keel_node){.backward = layer_norm_backward, .out = out, .list = list, .count = 4, .saved = saved});
}

/* ---- attention ---- */

/* One text's room in backward. */
typedef struct text_room {
    keel_real *qkv, *dqkv, *dout, *p, *dp; /* [n, 3 W] twice, [n, W], [n, n] twice */
} text_room;

static size_t longest_text(const int32_t *offsets, size_t n) {
    size_t longest = 0;
    for (size_t i = 0; i < n; ++i) {
        const size_t tokens = (size_t)(offsets[i + 1] - offsets[i]);
        if (tokens > longest) longest = tokens;
    }
    return longest;
}

/* With S = q k^T s, P = softmax(S), O = P v: dv = P^T dO, dP = dO v^T, dS = P (dP - rowsum(dP P)),
 * dq = s dS k, dk = s dS^T q. */
static void head_backward(const text_room *room, size_t head, size_t head_dim, size_t width, size_t tokens) {
    const size_t row = 3 * width;
    const keel_real scale = 1 / sqrt((keel_real)head_dim);
    const keel_real *q = room->qkv + head * head_dim, *k = q + width, *v = k + width,
                    *dout = room->dout + head * head_dim;
    keel_real *dq = room->dqkv + head * head_dim, *dk = dq + width, *dv = dk + width;
    keel__attention_scores(q, k, width, head_dim, tokens, room->p);
    keel_gemm(true, false, tokens, head_dim, tokens, 1, room->p, tokens, dout, width, 0, dv, row);
    keel_gemm(false, true, tokens, tokens, head_dim, 1, dout, width, v, row, 0, room->dp, tokens);
    for (size_t r = 0; r < tokens; ++r) {
        const keel_real *p = room->p + r * tokens;
        keel_real *dp = room->dp + r * tokens;
        double sum = 0;
        for (size_t c = 0; c < tokens; ++c) sum += (double)p[c] * (double)dp[c];
        for (size_t c = 0; c < tokens; ++c) dp[c] = p[c] * (dp[c] - (keel_real)sum);
    }
    keel_gemm(false, false, tokens, head_dim, tokens, scale, room->dp, tokens, k, row, 0, dq, row);
    keel_gemm(true, false, tokens, head_dim, tokens, scale, room->dp, tokens, q, row, 0, dk, row);
}

static void attention_backward(const keel_node *node) {
    const keel_tensor *x = node->x, *out = node->out;
    const size_t width = out->cols, heads = node->stride;
    keel_real *dx = keel__grad_to_add(node->x);
    for (size_t i = 0; dx && i < node->count; ++i) {
        const int32_t *at = node->row + node->index[i];
        const size_t tokens = (size_t)(node->index[i + 1] - node->index[i]);
        text_room room = {.qkv = node->saved};
        room.dqkv = room.qkv + tokens * 3 * width;
        room.dout = room.dqkv + tokens * 3 * width;
        room.p = room.dout + tokens * width;
        room.dp = room.p + tokens * tokens;
        for (size_t t = 0; t < tokens; ++t) {
            memcpy(room.qkv + t * 3 * width, x->data + (size_t)at[t] * 3 * width, 3 * width * sizeof *dx);
            memcpy(room.dout + t * width, out->grad + (size_t)at[t] * width, width * sizeof *dx);
        }
        for (size_t h = 0; h < heads && tokens; ++h) head_backward(&room, h, width / heads, width, tokens);
        for (size_t t = 0; t < tokens; ++t) {
            keel_real *to = dx + (size_t)at[t] * 3 * width;
            for (size_t c = 0; c < 3 * width; ++c) to[c] += room.dqkv[t * 3 * width + c];
        }
    }
}

/* Texts follow one another, and every token is a row of its own kind. */
static bool texts_fit(const int32_t *offsets, const int32_t *row, size_t n, size_t rows, int32_t shortest) {
    if (n == 0) return true;
    if (offsets[0] != 0) return false;
    for (size_t i = 0; i < n; ++i)
        if (offsets[i + 1] - offsets[i] < shortest) return false;
    for (int32_t t = 0; t < offsets[n]; ++t)
        if (row[t] < 0 || (size_t)row[t] >= rows) return false;
    return true;
}

keel_tensor *keel_op_attention(keel_tape *tape, keel_tensor *qkv, size_t heads, const int32_t *offsets,
                               const int32_t *row, size_t n) {
    if (!qkv) return NULL;
    const size_t width = qkv->cols / 3;
    if (heads == 0 || qkv->cols % 3 || width % heads || !texts_fit(offsets, row, n, qkv->rows, 0))
        return keel__tape_refuse(tape, "keel_op_attention", "qkv [R, 3 H d], heads and texts do not fit");
    const size_t longest = longest_text(offsets, n);
    keel_tensor *out = keel__tape_output(tape, qkv->rows, width, qkv->grad);
    keel_real *room = keel__tape_reals(tape, longest * (7 * width + 2 * longest) + 1);
    if (!out || !room) return NULL;
    if (keel__size(out)) memset(out->data, 0, keel__size(out) * sizeof *out->data);
    keel_attention(qkv->data, heads, width / heads, offsets, row, n, out->data, room);
    return keel__tape_push(tape, (keel_node){.backward = attention_backward,
                                             .out = out,
                                             .x = qkv,
                                             .index = offsets,
                                             .row = row,
                                             .count = n,
                                             .stride = heads,
                                             .saved = room});
}

/* ---- the mean of a text ---- */

static void text_mean_backward(const keel_node *node) {
    const size_t cols = node->out->cols;
    keel_real *dx = keel__grad_to_add(node->x);
    for (size_t i = 0; dx && i < node->count; ++i) {
        const keel_real share = 1 / (keel_real)(node->index[i + 1] - node->index[i]);
        for (int32_t t = node->index[i]; t < node->index[i + 1]; ++t)
            for (size_t c = 0; c < cols; ++c)
                dx[(size_t)node->row[t] * cols + c] += share * node->out->grad[i * cols + c];
    }
}

keel_tensor *keel_op_text_mean(keel_tape *tape, keel_tensor *x, const int32_t *offsets, const int32_t *row,
                               size_t n) {
    if (!x) return NULL;
    if (!texts_fit(offsets, row, n, x->rows, 1))
        return keel__tape_refuse(tape, "keel_op_text_mean", "a text is empty or outside x");
    const size_t cols = x->cols;
    keel_tensor *out = keel__tape_output(tape, n, cols, x->grad);
    if (!out) return NULL;
    for (size_t i = 0; i < n; ++i)
        for (size_t c = 0; c < cols; ++c) {
            double sum = 0;
            for (int32_t t = offsets[i]; t < offsets[i + 1]; ++t)
                sum += (double)x->data[(size_t)row[t] * cols + c];
            out->data[i * cols + c] = (keel_real)(sum / (double)(offsets[i + 1] - offsets[i]));
        }
    return keel__tape_push(
        tape,
        (keel_node){
            .backward = text_mean_backward, .out = out, .x = x, .index = offsets, .row = row, .count = n});
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
