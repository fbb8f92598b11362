/* Inputs of products as whole numbers, while tuning: what products with weights of 4 and 8 bits make of their
 * inputs (core/matrix.h), with a gradient that passes as if nothing had been rounded. */
#include "core/tape_internal.h"

static void round_backward(const keel_node *node) {
    const keel_real *d = node->out->grad;
    KEEL_FLOW(node->x, keel__size(node->x), i, d[i]);
}

/* Columns that share a scale; 0: the type's products round nothing. */
static size_t group_of(keel_matrix_type type, size_t cols) {
    switch (type) {
    case KEEL_MATRIX_I8:
    case KEEL_MATRIX_Q4_G32:
        return cols;
    case KEEL_MATRIX_Q8_0:
    case KEEL_MATRIX_Q4_0:
        return KEEL_MATRIX_BLOCK;
    default:
        return 0;
    }
}

static void round_group(const keel_real *x, size_t n, int8_t *q, keel_real *out) {
    float scale;
    keel_row_quantise((const float *)(const void *)x, n, q, &scale);
    for (size_t i = 0; i < n; ++i) out[i] = (keel_real)(scale * (float)q[i]);
}

static void round_all(const keel_node *node) {
    const keel_tensor *x = node->x;
    int8_t *q = (int8_t *)(void *)keel__tape_scratch(node->tape, node->count);
    for (size_t at = 0; q && at < keel__size(x); at += node->count)
        round_group(x->data + at, node->count, q, node->out->data + at);
}

keel_tensor *keel_op_round_inputs(keel_tape *tape, keel_tensor *x, keel_matrix_type type) {
    const size_t group = x ? group_of(type, x->cols) : 0;
    if (group == 0) return x;
    if (sizeof(keel_real) != sizeof(float) || x->cols % group != 0)
        return keel__tape_refuse(tape, "keel_op_round_inputs", "the width is no multiple of a block's");
    keel_node node = {.backward = round_backward, .redo = round_all, .tape = tape, .x = x, .count = group};
    node.out = keel__tape_output(tape, x->rows, x->cols, x->grad);
    if (!node.out) return NULL;
    round_all(&node);
    return keel__tape_push(tape, node);
}
