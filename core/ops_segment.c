/* Reductions over rows and over segments of rows, and bags of embeddings. Segment s is rows offsets[s] ..
 * offsets[s+1]-1. */
#include <math.h>

#include "core/numeric.h"
#include "core/tape_internal.h"

/* ---- log-sum-exp ---- */

/* saved: the softmax of each row. */
static void logsumexp_backward(const keel_node *node) {
    size_t cols = node->x->cols;
    const keel_real *p = node->saved;
    keel_real *dx = keel__grad_to_add(node->x);
    for (size_t b = 0; b < node->out->rows; ++b, dx += cols, p += cols)
        for (size_t a = 0; a < cols; ++a) dx[a] += p[a] * node->out->grad[b];
}

static bool allows_some(const uint8_t *mask, size_t count) {
    for (size_t i = 0; i < count; ++i)
        if (!mask || mask[i]) return true;
    return false;
}

keel_tensor *keel_op_logsumexp(keel_tape *tape, keel_tensor *x, const uint8_t *mask) {
    if (!x) return NULL;
    size_t cols = x->cols;
    for (size_t b = 0; b < x->rows; ++b)
        if (!allows_some(mask ? mask + b * cols : NULL, cols))
            return keel__tape_refuse(tape, "keel_op_logsumexp", "a row has no allowed action");
    keel_tensor *out = keel__tape_output(tape, x->rows, 1, x->grad);
    keel_real *p = out && out->grad ? keel__tape_reals(tape, keel__size(x)) : NULL;
    if (!out || (out->grad && !p)) return NULL;
    for (size_t b = 0; b < x->rows; ++b)
        out->data[b] =
            keel__softmax(x->data + b * cols, mask ? mask + b * cols : NULL, cols, p ? p + b * cols : NULL);
    return keel__tape_push(tape, (keel_node){.backward = logsumexp_backward, .out = out, .x = x, .saved = p});
}

/* saved: the softmax of each segment, by row. */
static void segment_logsumexp_backward(const keel_node *node) {
    keel_real *dx = keel__grad_to_add(node->x);
    for (size_t s = 0; s < node->count; ++s)
        for (int32_t r = node->index[s]; r < node->index[s + 1]; ++r)
            dx[r] += node->saved[r] * node->out->grad[s];
}

keel_tensor *keel_op_segment_logsumexp(keel_tape *tape, keel_tensor *x, const int32_t *offsets,
                                       size_t n_segments) {
    if (!x) return NULL;
    if (x->cols != 1) return keel__tape_refuse(tape, "keel_op_segment_logsumexp", "x is not a column");
    if (!keel__offsets_fit(offsets, n_segments, x->rows, 1))
        return keel__tape_refuse(tape, "keel_op_segment_logsumexp", "a segment is empty or outside x");
    keel_tensor *out = keel__tape_output(tape, n_segments, 1, x->grad);
    keel_real *p = out && out->grad ? keel__tape_reals(tape, x->rows) : NULL;
    if (!out || (out->grad && !p)) return NULL;
    for (size_t s = 0; s < n_segments; ++s) {
        int32_t first = offsets[s];
        out->data[s] =
            keel__softmax(x->data + first, NULL, (size_t)(offsets[s + 1] - first), p ? p + first : NULL);
    }
    return keel__tape_push(tape, (keel_node){.backward = segment_logsumexp_backward,
                                             .out = out,
                                             .x = x,
                                             .index = offsets,
                                             .count = n_segments,
                                             .saved = p});
}

/* ---- bags of embeddings ---- */

static void bag_backward(const keel_node *node) {
    keel_bag_gradient bags = {node->count, node->index, node->id, node->weight, node->out->grad};
    if (!keel__sparse_grad_add(node->sparse, bags)) keel__tape_out_of_memory(node->tape);
}

keel_tensor *keel_op_embedding_bag(keel_tape *tape, const keel_real *table, size_t table_rows, size_t cols,
                                   const uint32_t *id, const keel_real *weight, const int32_t *offsets,
                                   size_t n_segments, keel_sparse_grad *grad) {
    if (!keel__offsets_fit(offsets, n_segments, INT32_MAX, 0) ||
        (grad && (grad->table_rows != table_rows || grad->cols != cols)))
        return keel__tape_refuse(tape, "keel_op_embedding_bag",
                                 "the offsets fall or the gradient has another shape");
    for (int32_t j = offsets[0]; j < offsets[n_segments]; ++j)
        if (id[j] >= table_rows)
            return keel__tape_refuse(tape, "keel_op_embedding_bag", "an id is outside the table");
    keel_tensor *out = keel__tape_output(tape, n_segments, cols, grad != NULL);
    if (!out) return NULL;
    for (size_t s = 0; s < n_segments; ++s) {
        keel_real *restrict sum = out->data + s * cols;
        for (size_t c = 0; c < cols; ++c) sum[c] = 0;
        size_t first = (size_t)offsets[s];
        keel_add_rows(table, cols, id + first, weight + first, (size_t)offsets[s + 1] - first, sum);
    }
    return keel__tape_push(tape, (keel_node){.backward = bag_backward,
                                             .out = out,
                                             .id = id,
                                             .weight = weight,
                                             .index = offsets,
                                             .count = n_segments,
                                             .sparse = grad,
                                             .keeps_gradient = true});
}
