/* Elementwise operations, and those that work row by row without mixing rows. */
#include <tgmath.h>

#include "core/numeric.h"
#include "core/simd.h"
#include "core/tape_internal.h"

/* ---- two inputs of one shape ---- */

/* The output for two inputs of the same shape, or NULL. */
static keel_tensor *pair_output(keel_tape *tape, const char *name, const keel_tensor *x,
                                const keel_tensor *y) {
    if (!x || !y) return NULL;
    if (x->rows != y->rows || x->cols != y->cols) return keel__tape_refuse(tape, name, "the shapes differ");
    return keel__tape_output(tape, x->rows, x->cols, x->grad || y->grad);
}

static void add_backward(const keel_node *node) {
    const keel_real *d = node->out->grad;
    KEEL_FLOW(node->x, keel__size(node->out), i, d[i]);
    KEEL_FLOW(node->y, keel__size(node->out), i, d[i]);
}

keel_tensor *keel_op_add(keel_tape *tape, keel_tensor *x, keel_tensor *y) {
    keel_tensor *out = pair_output(tape, "keel_op_add", x, y);
    if (!out) return NULL;
    keel_real *restrict sum = out->data;
    for (size_t i = 0; i < keel__size(x); ++i) sum[i] = x->data[i] + y->data[i];
    return keel__tape_push(tape, (keel_node){.backward = add_backward, .out = out, .x = x, .y = y});
}

static void add_onto_backward(const keel_node *node) {
    const keel_real *d = node->out->grad;
    KEEL_FLOW(node->x, keel__size(node->out), i, d[i]);
    if (node->y->grad) keel__tape_hand(node->out, node->y);
}

keel_tensor *keel_op_add_onto(keel_tape *tape, keel_tensor *x, keel_tensor *y) {
    if (!x || !y) return NULL;
    if (x->rows != y->rows || x->cols != y->cols || x == y)
        return keel__tape_refuse(tape, "keel_op_add_onto", "the shapes differ");
    keel_tensor *out = keel__tape_over(tape, y->data, y->rows, y->cols, x->grad || y->grad);
    if (!out) return NULL;
    keel_add_to(x->data, keel__size(x), y->data);
    return keel__tape_push(tape, (keel_node){.backward = add_onto_backward, .out = out, .x = x, .y = y});
}

static void sub_backward(const keel_node *node) {
    const keel_real *d = node->out->grad;
    KEEL_FLOW(node->x, keel__size(node->out), i, d[i]);
    KEEL_FLOW(node->y, keel__size(node->out), i, -d[i]);
}

keel_tensor *keel_op_sub(keel_tape *tape, keel_tensor *x, keel_tensor *y) {
    keel_tensor *out = pair_output(tape, "keel_op_sub", x, y);
    if (!out) return NULL;
    keel_real *restrict difference = out->data;
    for (size_t i = 0; i < keel__size(x); ++i) difference[i] = x->data[i] - y->data[i];
    return keel__tape_push(tape, (keel_node){.backward = sub_backward, .out = out, .x = x, .y = y});
}

static void mul_backward(const keel_node *node) {
    const keel_real *d = node->out->grad, *x = node->x->data, *y = node->y->data;
    KEEL_FLOW(node->x, keel__size(node->out), i, d[i] * y[i]);
    KEEL_FLOW(node->y, keel__size(node->out), i, d[i] * x[i]);
}

keel_tensor *keel_op_mul(keel_tape *tape, keel_tensor *x, keel_tensor *y) {
    keel_tensor *out = pair_output(tape, "keel_op_mul", x, y);
    if (!out) return NULL;
    keel_real *restrict product = out->data;
    for (size_t i = 0; i < keel__size(x); ++i) product[i] = x->data[i] * y->data[i];
    return keel__tape_push(tape, (keel_node){.backward = mul_backward, .out = out, .x = x, .y = y});
}

/* The slopes go to scratch where they cannot go to the gradient itself. */
static void gate_backward(const keel_node *node) {
    keel_tensor *gate = node->x, *up = node->y;
    const size_t n = keel__size(gate);
    const bool to_gate = gate->grad && !gate->grad_ready, to_up = up != gate && up->grad && !up->grad_ready;
    keel_real *room = keel__tape_scratch(node->tape, (to_gate ? 0 : n) + (to_up ? 0 : n));
    if (!room) return;
    keel_real *dgate = to_gate ? gate->grad : room, *dup = to_up ? up->grad : room + (to_gate ? 0 : n);
    keel_silu_times_backward(gate->data, up->data, node->out->grad, n, dgate, dup);
    gate->grad_ready = gate->grad_ready || to_gate;
    up->grad_ready = up->grad_ready || to_up;
    if (!to_gate) KEEL_FLOW(gate, n, i, dgate[i]);
    if (!to_up) KEEL_FLOW(up, n, i, dup[i]);
}

static void fill_gate(const keel_node *node) {
    keel_silu_times(node->x->data, node->y->data, keel__size(node->x), node->out->data);
}

keel_tensor *keel_op_gate(keel_tape *tape, keel_tensor *gate, keel_tensor *up) {
    const keel_node node = {.backward = gate_backward,
                            .redo = fill_gate,
                            .out = pair_output(tape, "keel_op_gate", gate, up),
                            .x = gate,
                            .y = up};
    if (!node.out) return NULL;
    fill_gate(&node);
    return keel__tape_push(tape, node);
}

static void dot_backward(const keel_node *node) {
    const keel_real *d = node->out->grad, *x = node->x->data, *y = node->y->data;
    size_t cols = node->x->cols, size = keel__size(node->x);
    if (!size) return;
    KEEL_FLOW(node->x, size, i, d[i / cols] * y[i]);
    KEEL_FLOW(node->y, size, i, d[i / cols] * x[i]);
}

keel_tensor *keel_op_dot(keel_tape *tape, keel_tensor *x, keel_tensor *y) {
    if (!x || !y) return NULL;
    if (x->rows != y->rows || x->cols != y->cols)
        return keel__tape_refuse(tape, "keel_op_dot", "the shapes differ");
    keel_tensor *out = keel__tape_output(tape, x->rows, 1, x->grad || y->grad);
    if (!out) return NULL;
    for (size_t r = 0; r < x->rows; ++r) {
        const keel_real *a = x->data + r * x->cols, *b = y->data + r * x->cols;
        double sum = 0;
        for (size_t c = 0; c < x->cols; ++c) sum += (double)a[c] * (double)b[c];
        out->data[r] = (keel_real)sum;
    }
    return keel__tape_push(tape, (keel_node){.backward = dot_backward, .out = out, .x = x, .y = y});
}

/* ---- one input ---- */

static void scale_backward(const keel_node *node) {
    const keel_real *d = node->out->grad;
    KEEL_FLOW(node->x, keel__size(node->out), i, node->factor * d[i]);
}

keel_tensor *keel_op_scale(keel_tape *tape, keel_tensor *x, keel_real factor) {
    keel_tensor *out = x ? keel__tape_output(tape, x->rows, x->cols, x->grad) : NULL;
    if (!out) return NULL;
    keel_real *restrict scaled = out->data;
    for (size_t i = 0; i < keel__size(x); ++i) scaled[i] = factor * x->data[i];
    return keel__tape_push(tape,
                           (keel_node){.backward = scale_backward, .out = out, .x = x, .factor = factor});
}

static void floor_backward(const keel_node *node) {
    const keel_real *d = node->out->grad, *x = node->x->data, *low = node->weight;
    KEEL_FLOW(node->x, keel__size(node->out), i, x[i] > low[i] ? d[i] : 0);
}

keel_tensor *keel_op_floor(keel_tape *tape, keel_tensor *x, const keel_real *floor, const keel_real *shift) {
    keel_tensor *out = x ? keel__tape_output(tape, x->rows, x->cols, x->grad) : NULL;
    if (!out) return NULL;
    for (size_t i = 0; i < keel__size(x); ++i)
        out->data[i] = (x->data[i] > floor[i] ? x->data[i] : floor[i]) + shift[i];
    return keel__tape_push(tape,
                           (keel_node){.backward = floor_backward, .out = out, .x = x, .weight = floor});
}

static void sum_backward(const keel_node *node) {
    keel_real d = node->factor * node->out->grad[0];
    KEEL_FLOW(node->x, keel__size(node->x), i, d);
}

keel_tensor *keel_op_sum(keel_tape *tape, keel_tensor *x, keel_real factor) {
    keel_tensor *out = x ? keel__tape_output(tape, 1, 1, x->grad) : NULL;
    if (!out) return NULL;
    double sum = 0;
    for (size_t i = 0; i < keel__size(x); ++i) sum += (double)x->data[i];
    out->data[0] = (keel_real)((double)factor * sum);
    return keel__tape_push(tape, (keel_node){.backward = sum_backward, .out = out, .x = x, .factor = factor});
}

/* ---- dropout ---- */

/* Sixteen random bits a unit, four units a draw, the lowest bits first. */
static void draw_bits(uint16_t *bits, size_t size, keel_rng *rng) {
    for (size_t i = 0; i < size; i += 4) {
        uint64_t draw = keel_rng_u64(rng);
        for (size_t j = 0; j < 4; ++j) bits[i + j] = (uint16_t)(draw >> 16 * j);
    }
}

bool keel__mask_draw(keel_tape *tape, size_t size, keel_real rate, keel_rng *rng, keel__mask *out) {
    if (!(rate > 0 && rate < 1)) {
        keel__tape_refuse(tape, "keel_op_dropout", "the rate is not in [0, 1)");
        return false;
    }
    const double limit = fmin(fmax(round((double)rate * 0x1p16), 1), 0x1p16 - 1);
    *out = (keel__mask){.bits = keel__tape_bytes(tape, (size + 3) / 4 * 4 * sizeof *out->bits),
                        .limit = (uint16_t)limit,
                        .factor = (keel_real)(1 / (1 - limit * 0x1p-16))};
    if (out->bits) draw_bits(out->bits, size, rng);
    return out->bits != NULL;
}

KEEL_SIMD static void drop(keel_real *restrict y, const keel_real *restrict x, size_t size,
                           const uint16_t *restrict bits, uint16_t limit, keel_real factor) {
    for (size_t i = 0; i < size; ++i) y[i] = x[i] * (bits[i] < limit ? 0 : factor);
}

KEEL_SIMD static void dropout_backward(const keel_node *node) {
    const keel_real *d = node->out->grad, factor = node->mask.factor;
    const uint16_t *bits = node->mask.bits, limit = node->mask.limit;
    KEEL_FLOW(node->x, keel__size(node->out), i, d[i] * (bits[i] < limit ? 0 : factor));
}

keel_tensor *keel_op_dropout(keel_tape *tape, keel_tensor *x, keel_real rate, keel_rng *rng) {
    if (!x || rate == 0) return x;
    keel_node node = {.backward = dropout_backward, .x = x};
    if (!keel__mask_draw(tape, keel__size(x), rate, rng, &node.mask)) return NULL;
    node.out = keel__tape_output(tape, x->rows, x->cols, x->grad);
    if (!node.out) return NULL;
    drop(node.out->data, x->data, keel__size(x), node.mask.bits, node.mask.limit, node.mask.factor);
    return keel__tape_push(tape, node);
}
