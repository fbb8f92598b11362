/* What transformers need: attention within texts, the mean of a text. Texts follow one another in the rows of
 * a tensor, so that those of unequal length need no padding. */
#include <tgmath.h>

#include "core/gemm.h"
#include "core/numeric.h"
#include "core/simd.h"
#include "core/tape_internal.h"

/* The texts fill the rows. */
static bool texts_fit(const int32_t *offsets, size_t n, size_t rows, size_t shortest) {
    if (n == 0) return rows == 0;
    return offsets[0] == 0 && keel__offsets_fit(offsets, n, rows, shortest) && (size_t)offsets[n] == rows;
}

static size_t longest_text(const int32_t *offsets, size_t n) {
    size_t longest = 0;
    for (size_t i = 0; i < n; ++i) {
        const size_t tokens = (size_t)(offsets[i + 1] - offsets[i]);
        if (tokens > longest) longest = tokens;
    }
    return longest;
}

/* ---- attention ---- */

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

/* Of x y, or of x where y is NULL; in double over eight lanes. */
KEEL_SIMD static double sum_products(const keel_real *x, const keel_real *y, size_t n) {
    double lane[LANES] = {0};
    size_t i = 0;
    if (y)
        for (; i + LANES <= n; i += LANES)
            for (size_t j = 0; j < LANES; ++j) lane[j] += (double)x[i + j] * (double)y[i + j];
    else
        for (; i + LANES <= n; i += LANES)
            for (size_t j = 0; j < LANES; ++j) lane[j] += (double)x[i + j];
    for (; i < n; ++i) lane[0] += (double)x[i] * (y ? (double)y[i] : 1);
    return ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
}

KEEL_SIMD static void scale_row(keel_real *x, keel_real factor, size_t n) {
    for (size_t i = 0; i < n; ++i) x[i] *= factor;
}

KEEL_SIMD static void slope_row(const keel_real *restrict p, keel_real *restrict dp, keel_real sum,
                                size_t n) {
    for (size_t i = 0; i < n; ++i) dp[i] = p[i] * (dp[i] - sum);
}

/* One head of one text: q, k, v within x [tokens, 3 W], and where their gradients and the output lie. */
typedef struct head {
    size_t tokens, dim, width; /* dim of the head; width W of all */
    const keel_real *q, *k, *v;
    keel_real *p, *dp; /* room: [tokens, tokens] each */
} head;

static head head_at(const keel_tensor *x, size_t first, size_t tokens, size_t number, size_t heads,
                    keel_real *room) {
    const size_t width = x->cols / 3, dim = width / heads;
    const keel_real *q = x->data + first * x->cols + number * dim;
    return (head){tokens, dim, width, q, q + width, q + 2 * width, room, room + tokens * tokens};
}

/* p = softmax(q k^T / sqrt dim); the maximum is subtracted. */
static void fill_scores(const head *h) {
    const size_t n = h->tokens, row = 3 * h->width;
    keel_gemm(false, true, n, n, h->dim, 1 / sqrt((keel_real)h->dim), h->q, row, h->k, row, 0, h->p, n);
    for (size_t r = 0; r < n; ++r) {
        keel_real *p = h->p + r * n;
        keel_exp_below(p, n, largest(p, n));
        scale_row(p, (keel_real)(1 / sum_products(p, NULL, n)), n);
    }
}

static void attend(const head *h, keel_real *out) {
    fill_scores(h);
    keel_gemm(false, false, h->tokens, h->dim, h->tokens, 1, h->p, h->tokens, h->v, 3 * h->width, 0, out,
              h->width);
}

/* With S = q k^T s, P = softmax(S), O = P v: dv = P^T dO, dP = dO v^T, dS = P (dP - rowsum(dP P)),
 * dq = s dS k, dk = s dS^T q. */
static void head_backward(const head *h, const keel_real *dout, keel_real *dq, keel_real beta) {
    const size_t n = h->tokens, row = 3 * h->width;
    const keel_real scale = 1 / sqrt((keel_real)h->dim);
    keel_real *dk = dq + h->width, *dv = dk + h->width;
    fill_scores(h);
    keel_gemm(true, false, n, h->dim, n, 1, h->p, n, dout, h->width, beta, dv, row);
    keel_gemm(false, true, n, n, h->dim, 1, dout, h->width, h->v, row, 0, h->dp, n);
    for (size_t r = 0; r < n; ++r) {
        const keel_real *p = h->p + r * n;
        keel_real *dp = h->dp + r * n;
        slope_row(p, dp, (keel_real)sum_products(p, dp, n), n);
    }
    keel_gemm(false, false, n, h->dim, n, scale, h->dp, n, h->k, row, beta, dq, row);
    keel_gemm(true, false, n, h->dim, n, scale, h->dp, n, h->q, row, beta, dk, row);
}

static void attention_backward(const keel_node *node) {
    const keel_tensor *x = node->x, *out = node->out;
    const size_t heads = node->stride;
    const keel_real beta = keel__grad_beta(node->x);
    for (size_t i = 0; i < node->count; ++i) {
        const size_t first = (size_t)node->index[i], tokens = (size_t)node->index[i + 1] - first;
        for (size_t k = 0; k < heads && tokens; ++k) {
            const head h = head_at(x, first, tokens, k, heads, node->saved);
            head_backward(&h, out->grad + first * h.width + k * h.dim, x->grad + first * x->cols + k * h.dim,
                          beta);
        }
    }
}

keel_tensor *keel_op_attention(keel_tape *tape, keel_tensor *qkv, size_t heads, const int32_t *offsets,
                               size_t n) {
    if (!qkv) return NULL;
    const size_t width = qkv->cols / 3;
    if (heads == 0 || qkv->cols % 3 || width % heads || !texts_fit(offsets, n, qkv->rows, 0))
        return keel__tape_refuse(tape, "keel_op_attention", "qkv [R, 3 H d], heads and texts do not fit");
    const size_t longest = longest_text(offsets, n);
    keel_tensor *out = keel__tape_output(tape, qkv->rows, width, qkv->grad);
    keel_real *room = keel__tape_reals(tape, 2 * longest * longest + 1);
    if (!out || !room) return NULL;
    for (size_t i = 0; i < n; ++i) {
        const size_t first = (size_t)offsets[i], tokens = (size_t)offsets[i + 1] - first;
        for (size_t k = 0; k < heads && tokens; ++k) {
            const head h = head_at(qkv, first, tokens, k, heads, room);
            attend(&h, out->data + first * width + k * h.dim);
        }
    }
    return keel__tape_push(tape, (keel_node){.backward = attention_backward,
                                             .out = out,
                                             .x = qkv,
                                             .index = offsets,
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
                dx[(size_t)t * cols + c] += share * node->out->grad[i * cols + c];
    }
}

keel_tensor *keel_op_text_mean(keel_tape *tape, keel_tensor *x, const int32_t *offsets, size_t n) {
    if (!x) return NULL;
    if (!texts_fit(offsets, n, x->rows, 1))
        return keel__tape_refuse(tape, "keel_op_text_mean", "a text is empty or the texts are not all of x");
    const size_t cols = x->cols;
    keel_tensor *out = keel__tape_output(tape, n, cols, x->grad);
    if (!out) return NULL;
    for (size_t i = 0; i < n; ++i)
        for (size_t c = 0; c < cols; ++c) {
            double sum = 0;
            for (int32_t t = offsets[i]; t < offsets[i + 1]; ++t)
                sum += (double)x->data[(size_t)t * cols + c];
            out->data[i * cols + c] = (keel_real)(sum / (double)(offsets[i + 1] - offsets[i]));
        }
    return keel__tape_push(
        tape, (keel_node){.backward = text_mean_backward, .out = out, .x = x, .index = offsets, .count = n});
}
