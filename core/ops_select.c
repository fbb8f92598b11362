/* Operations that arrange: concatenation, row gathering, picking actions, and heads. */
#include "core/tape_internal.h"

static bool indices_fit(const int32_t *index, size_t count, size_t bound) {
    for (size_t i = 0; i < count; ++i)
        if (index[i] < 0 || (size_t)index[i] >= bound) return false;
    return true;
}

/* ---- concatenation ---- */

static void concat_backward(const keel_node *node) {
    const keel_tensor *out = node->out;
    const keel_real *from = out->grad;
    for (size_t k = 0; k < node->n_list; from += node->list[k++]->cols) {
        size_t cols = node->list[k]->cols;
        keel_real *to = keel__grad_to_add(node->list[k]);
        for (size_t r = 0; to && r < out->rows; ++r)
            for (size_t c = 0; c < cols; ++c) to[r * cols + c] += from[r * out->cols + c];
    }
}

keel_tensor *keel_op_concat(keel_tape *tape, keel_tensor *const *inputs, size_t count) {
    if (!count) return keel__tape_refuse(tape, "keel_op_concat", "nothing to concatenate");
    size_t cols = 0;
    bool flows = false;
    for (size_t k = 0; k < count; ++k) {
        if (!inputs[k]) return NULL;
        if (inputs[k]->rows != inputs[0]->rows)
            return keel__tape_refuse(tape, "keel_op_concat", "the numbers of rows differ");
        cols += inputs[k]->cols;
        flows = flows || inputs[k]->grad;
    }
    keel_tensor *out = keel__tape_output(tape, inputs[0]->rows, cols, flows);
    keel_tensor **list = out ? keel__tape_bytes(tape, count * sizeof *list) : NULL;
    if (!list) return NULL;
    memcpy(list, inputs, count * sizeof *list);
    keel_real *to = out->data;
    for (size_t r = 0; r < out->rows; ++r)
        for (size_t k = 0; k < count; to += list[k++]->cols)
            memcpy(to, list[k]->data + r * list[k]->cols, list[k]->cols * sizeof *to);
    return keel__tape_push(
        tape, (keel_node){.backward = concat_backward, .out = out, .list = list, .n_list = count});
}

static void stack_backward(const keel_node *node) {
    const keel_real *d = node->out->grad, *below = d + keel__size(node->x);
    KEEL_FLOW(node->x, keel__size(node->x), i, d[i]);
    KEEL_FLOW(node->y, keel__size(node->y), i, below[i]);
}

keel_tensor *keel_op_stack(keel_tape *tape, keel_tensor *x, keel_tensor *y) {
    if (!x || !y) return NULL;
    if (x->cols != y->cols) return keel__tape_refuse(tape, "keel_op_stack", "the numbers of columns differ");
    keel_tensor *out = keel__tape_output(tape, x->rows + y->rows, x->cols, x->grad || y->grad);
    if (!out) return NULL;
    if (keel__size(x)) memcpy(out->data, x->data, keel__size(x) * sizeof *out->data);
    if (keel__size(y)) memcpy(out->data + keel__size(x), y->data, keel__size(y) * sizeof *out->data);
    return keel__tape_push(tape, (keel_node){.backward = stack_backward, .out = out, .x = x, .y = y});
}

/* ---- rows and columns by index ---- */

static void rows_backward(const keel_node *node) {
    size_t cols = node->x->cols;
    const keel_real *from = node->out->grad;
    keel_real *dx = keel__grad_to_add(node->x);
    for (size_t r = 0; r < node->count; ++r, from += cols) {
        keel_real *restrict to = dx + (size_t)node->index[r] * cols;
        for (size_t c = 0; c < cols; ++c) to[c] += from[c];
    }
}

keel_tensor *keel_op_rows(keel_tape *tape, keel_tensor *x, const int32_t *index, size_t n_rows) {
    if (!x) return NULL;
    if (!indices_fit(index, n_rows, x->rows))
        return keel__tape_refuse(tape, "keel_op_rows", "an index is outside x");
    size_t cols = x->cols;
    keel_tensor *out = keel__tape_output(tape, n_rows, cols, x->grad);
    if (!out) return NULL;
    for (size_t r = 0; r < n_rows; ++r)
        memcpy(out->data + r * cols, x->data + (size_t)index[r] * cols, cols * sizeof *out->data);
    return keel__tape_push(
        tape, (keel_node){.backward = rows_backward, .out = out, .x = x, .index = index, .count = n_rows});
}

static void pick_heads_backward(const keel_node *node) {
    const keel_tensor *x = node->x, *out = node->out;
    size_t heads = node->count, actions = x->cols / heads;
    keel_real *dx = keel__grad_to_add(node->x);
    for (size_t b = 0; b < out->rows; ++b)
        for (size_t k = 0; k < heads; ++k)
            dx[b * x->cols + k * actions + (size_t)node->index[b]] += out->grad[b * heads + k];
}

keel_tensor *keel_op_pick_heads(keel_tape *tape, keel_tensor *x, const int32_t *column, size_t heads) {
    if (!x) return NULL;
    if (!heads || x->cols % heads)
        return keel__tape_refuse(tape, "keel_op_pick_heads", "the columns do not divide into heads");
    size_t actions = x->cols / heads;
    if (!indices_fit(column, x->rows, actions))
        return keel__tape_refuse(tape, "keel_op_pick_heads", "a column is outside x");
    keel_tensor *out = keel__tape_output(tape, x->rows, heads, x->grad);
    if (!out) return NULL;
    for (size_t b = 0; b < x->rows; ++b)
        for (size_t k = 0; k < heads; ++k)
            out->data[b * heads + k] = x->data[b * x->cols + k * actions + (size_t)column[b]];
    return keel__tape_push(
        tape,
        (keel_node){.backward = pick_heads_backward, .out = out, .x = x, .index = column, .count = heads});
}

static void mix_heads_backward(const keel_node *node) {
    const keel_tensor *out = node->out;
    size_t actions = out->cols;
    keel_real *dx = keel__grad_to_add(node->x);
    for (size_t b = 0; b < out->rows; ++b)
        for (size_t k = 0; k < node->count; ++k, dx += actions) {
            const keel_real weight = node->weight[b * node->stride + k];
            for (size_t a = 0; a < actions; ++a) dx[a] += weight * out->grad[b * actions + a];
        }
}

keel_tensor *keel_op_mix_heads(keel_tape *tape, keel_tensor *x, const keel_real *weight, size_t stride,
                               size_t heads) {
    if (!x) return NULL;
    if (!heads || x->cols % heads)
        return keel__tape_refuse(tape, "keel_op_mix_heads", "the columns do not divide into heads");
    size_t actions = x->cols / heads;
    keel_tensor *out = keel__tape_output(tape, x->rows, actions, x->grad);
    const keel_real *first = weight;
    if (!out) return NULL;
    for (size_t b = 0; b < x->rows; ++b, weight += stride) {
        const keel_real *from = x->data + b * x->cols;
        keel_real *to = out->data + b * actions;
        for (size_t a = 0; a < actions; ++a) to[a] = weight[0] * from[a];
        for (size_t k = 1; k < heads; ++k)
            for (size_t a = 0; a < actions; ++a) to[a] += weight[k] * from[k * actions + a];
    }
    return keel__tape_push(tape, (keel_node){.backward = mix_heads_backward,
                                             .out = out,
                                             .x = x,
                                             .weight = first,
                                             .stride = stride,
                                             .count = heads});
}
