/* What transformers need: attention within texts, rotary positions, the mean of a text. Texts follow one
 * another in the rows of a tensor, so that those of unequal length need no padding. */
#include <tgmath.h>

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

/* A tile of one head of one text: some queries, and the keys and values that they see. */
typedef struct head {
    keel__multiply *multiply;
    size_t dim;
    const keel_real *q, *k, *v; /* the first row of each */
    size_t q_row, k_row, v_row; /* steps to the next */
    size_t rows, keys;          /* of the tile; row i sees all keys, or those up to keys - rows + i */
    bool causal;
    keel_real *p, *dp; /* room: [rows, keys] each */
} head;

/* p = softmax(q k^T / sqrt dim), nothing where nothing is seen; the maximum is subtracted. */
static void fill_scores(const head *h) {
    const size_t n = h->keys;
    h->multiply(false, true, h->rows, n, h->dim, 1 / sqrt((keel_real)h->dim), h->q, h->q_row, h->k, h->k_row,
                0, h->p, n);
    for (size_t r = 0; r < h->rows; ++r) {
        keel_real *p = h->p + r * n;
        const size_t seen = h->causal ? n - h->rows + r + 1 : n;
        keel_exp_below(p, seen, keel_largest(p, seen));
        keel_multiply_by(p, (keel_real)(1 / keel_sum(p, seen)), seen);
        if (seen < n) memset(p + seen, 0, (n - seen) * sizeof *p);
    }
}

static void attend(const head *h, keel_real *out, size_t out_row) {
    fill_scores(h);
    h->multiply(false, false, h->rows, h->dim, h->keys, 1, h->p, h->keys, h->v, h->v_row, 0, out, out_row);
}

KEEL_SIMD static void slope_row(const keel_real *restrict p, keel_real *restrict dp, keel_real sum,
                                size_t n) {
    for (size_t i = 0; i < n; ++i) dp[i] = p[i] * (dp[i] - sum);
}

/* With S = q k^T s, P = softmax(S), O = P v: dv += P^T dO, dP = dO v^T, dS = P (dP - rowsum(dP P)),
 * dq += s dS k, dk += s dS^T q. What no gradient flows to is NULL. */
static void head_backward(const head *h, const keel_real *dout, size_t out_row, keel_real *dq, keel_real *dk,
                          keel_real *dv) {
    const size_t n = h->keys, rows = h->rows, dim = h->dim;
    const keel_real scale = 1 / sqrt((keel_real)dim);
    fill_scores(h);
    if (dv) h->multiply(true, false, n, dim, rows, 1, h->p, n, dout, out_row, 1, dv, h->v_row);
    h->multiply(false, true, rows, n, dim, 1, dout, out_row, h->v, h->v_row, 0, h->dp, n);
    for (size_t r = 0; r < rows; ++r) {
        const keel_real *p = h->p + r * n;
        keel_real *dp = h->dp + r * n;
        slope_row(p, dp, (keel_real)keel_dot(p, dp, n), n);
    }
    if (dq) h->multiply(false, false, rows, dim, n, scale, h->dp, n, h->k, h->k_row, 1, dq, h->q_row);
    if (dk) h->multiply(true, false, n, dim, rows, scale, h->dp, n, h->q, h->q_row, 1, dk, h->k_row);
}

/* Queries of a tile: all of a text, or few enough that scores stay in the cache. */
static size_t tile_rows(bool causal, size_t tokens) {
    enum { TILE = 64 };
    return causal && tokens > TILE ? TILE : tokens;
}

/* What attention is over; with q, k and v in one tensor they are columns of its. */
typedef struct sources {
    const keel_tensor *q, *k, *v;
    size_t k_at, v_at; /* their first column */
    size_t dim, count, groups;
    bool causal;
} sources;

static sources sources_of(const keel_node *node) {
    const keel_tensor *x = node->x;
    const size_t width = node->out->cols, dim = width / node->count;
    if (node->y) return (sources){x, node->y, node->b, 0, 0, dim, node->count, node->y->cols / dim, true};
    return (sources){x, x, x, width, 2 * width, dim, node->count, node->count, false};
}

/* count: heads. index: offsets of stride texts. */
static void attention_tiles(const keel_node *node, bool forward) {
    const size_t longest = longest_text(node->index, node->stride);
    keel_real *room = keel__tape_scratch(node->tape, 2 * tile_rows(node->y, longest) * longest);
    if (!room) return;
    const sources all = sources_of(node);
    const size_t dim = all.dim, out_row = node->out->cols, q_row = all.q->cols, k_row = all.k->cols,
                 v_row = all.v->cols;
    keel_real *dq = forward ? NULL : keel__grad_to_add(node->x),
              *dk = forward   ? NULL
                    : node->y ? keel__grad_to_add(node->y)
                              : dq,
              *dv = forward   ? NULL
                    : node->b ? keel__grad_to_add(node->b)
                              : dq;
    for (size_t i = 0; i < node->stride; ++i) {
        const size_t first = (size_t)node->index[i], tokens = (size_t)node->index[i + 1] - first,
                     tile = tile_rows(all.causal, tokens);
        for (size_t k = 0; k < all.count; ++k)
            for (size_t at = 0; at < tokens; at += tile) {
                const size_t group = k / (all.count / all.groups),
                             rows = tokens - at < tile ? tokens - at : tile;
                const size_t q_at = (first + at) * q_row + k * dim,
                             k_at = first * k_row + all.k_at + group * dim,
                             v_at = first * v_row + all.v_at + group * dim,
                             out_at = (first + at) * out_row + k * dim;
                const head h = {.multiply = node->tape->multiply,
                                .dim = dim,
                                .q = all.q->data + q_at,
                                .k = all.k->data + k_at,
                                .v = all.v->data + v_at,
                                .q_row = q_row,
                                .k_row = k_row,
                                .v_row = v_row,
                                .rows = rows,
                                .keys = all.causal ? at + rows : tokens,
                                .causal = all.causal,
                                .p = room,
                                .dp = room + tile * tokens};
                if (forward)
                    attend(&h, node->out->data + out_at, out_row);
                else
                    head_backward(&h, node->out->grad + out_at, out_row, dq ? dq + q_at : NULL,
                                  dk ? dk + k_at : NULL, dv ? dv + v_at : NULL);
            }
    }
}

static void attention_backward(const keel_node *node) {
    attention_tiles(node, false);
}

/* node: inputs, texts, heads. */
static keel_tensor *attention(keel_tape *tape, keel_node node, size_t cols, bool flows) {
    node.tape = tape;
    node.backward = attention_backward;
    node.out = keel__tape_output(tape, node.x->rows, cols, flows);
    if (!node.out) return NULL;
    attention_tiles(&node, true);
    return keel__tape_push(tape, node);
}

keel_tensor *keel_op_attention(keel_tape *tape, keel_tensor *qkv, size_t heads, const int32_t *offsets,
                               size_t n) {
    if (!qkv) return NULL;
    const size_t width = qkv->cols / 3;
    if (heads == 0 || qkv->cols % 3 || width % heads || !texts_fit(offsets, n, qkv->rows, 0))
        return keel__tape_refuse(tape, "keel_op_attention", "qkv [R, 3 H d], heads and texts do not fit");
    return attention(tape, (keel_node){.x = qkv, .index = offsets, .stride = n, .count = heads}, width,
                     qkv->grad);
}

keel_tensor *keel_op_causal_attention(keel_tape *tape, keel_tensor *q, keel_tensor *k, keel_tensor *v,
                                      size_t heads, size_t groups, const int32_t *offsets, size_t n) {
    if (!q || !k || !v) return NULL;
    if (heads == 0 || groups == 0 || heads % groups || q->cols % heads ||
        k->cols != q->cols / heads * groups || v->cols != k->cols || k->rows != q->rows ||
        v->rows != q->rows || !texts_fit(offsets, n, q->rows, 0))
        return keel__tape_refuse(tape, "keel_op_causal_attention",
                                 "q [R, H d], k and v [R, G d], heads and texts do not fit");
    return attention(tape, (keel_node){.x = q, .y = k, .b = v, .index = offsets, .stride = n, .count = heads},
                     q->cols, q->grad || k->grad || v->grad);
}

/* ---- rotary positions ---- */

/* sign -1 turns back. */
KEEL_SIMD static void turn_head(keel_real *restrict x, const keel_real *restrict turn, keel_real sign,
                                size_t half) {
    for (size_t i = 0; i < half; ++i) {
        const keel_real a = x[i], b = x[half + i], sine = sign * turn[half + i];
        x[i] = a * turn[i] - b * sine;
        x[half + i] = b * turn[i] + a * sine;
    }
}

static void turn_rows(const keel_node *node, keel_real *x, keel_real sign) {
    const size_t dim = node->out->cols / node->count;
    for (size_t r = 0; r < node->out->rows; ++r)
        for (size_t h = 0; h < node->count; ++h, x += dim)
            turn_head(x, node->weight + (size_t)node->index[r] * dim, sign, dim / 2);
}

static void rope_backward(const keel_node *node) {
    turn_rows(node, node->out->grad, -1);
    keel__tape_hand(node->out, node->x);
}

keel_tensor *keel_op_rope(keel_tape *tape, keel_tensor *x, size_t heads, const keel_real *turn,
                          const int32_t *position) {
    if (!x) return NULL;
    if (heads == 0 || x->cols % (2 * heads))
        return keel__tape_refuse(tape, "keel_op_rope", "x [R, H d] has no heads of an even size");
    const keel_node node = {.backward = rope_backward,
                            .out = keel__tape_over(tape, x->data, x->rows, x->cols, x->grad),
                            .x = x,
                            .count = heads,
                            .weight = turn,
                            .index = position};
    if (!node.out) return NULL;
    turn_rows(&node, x->data, 1);
    return keel__tape_push(tape, node);
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
