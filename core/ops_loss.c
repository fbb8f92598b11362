/* Losses: scalars whose slope (d loss / d x, elementwise) is worked out in the forward pass and kept, so that
 * all share one backward. Sums are taken in double: a batch's worth of small terms. */
#include <tgmath.h>

#include "core/numeric.h"
#include "core/tape_internal.h"

typedef struct loss {
    keel_tensor *out;
    keel_real *slope; /* as x; NULL when no gradient flows */
} loss;

static bool loss_begin(keel_tape *tape, const keel_tensor *x, loss *made) {
    if (!x) return false;
    *made = (loss){.out = keel__tape_output(tape, 1, 1, x->grad)};
    if (!made->out) return false;
    if (!made->out->grad) return true;
    made->slope = keel__tape_reals(tape, keel__size(x));
    if (made->slope) memset(made->slope, 0, keel__size(x) * sizeof *made->slope);
    return made->slope != NULL;
}

static void loss_backward(const keel_node *node) {
    const keel_real *slope = node->saved;
    keel_real d = node->out->grad[0];
    KEEL_FLOW(node->x, keel__size(node->x), i, d * slope[i]);
}

static keel_tensor *loss_end(keel_tape *tape, keel_tensor *x, loss made, double sum) {
    made.out->data[0] = (keel_real)sum;
    return keel__tape_push(
        tape, (keel_node){.backward = loss_backward, .out = made.out, .x = x, .saved = made.slope});
}

/* ---- element by element ---- */

/* The loss of one element; *slope gets its derivative by x. */
typedef keel_real element_loss(keel_real x, keel_real target, keel_real delta, keel_real *slope);

static keel_tensor *sum_elements(keel_tape *tape, keel_tensor *x, const keel_real *target,
                                 const keel_real *weight, keel_real delta, keel_real divisor,
                                 element_loss *element) {
    loss made;
    if (!loss_begin(tape, x, &made)) return NULL;
    double sum = 0;
    for (size_t i = 0; i < keel__size(x); ++i) {
        keel_real slope, scale = (weight ? weight[i] : 1) / divisor;
        sum += (double)scale * (double)element(x->data[i], target[i], delta, &slope);
        if (made.slope) made.slope[i] = scale * slope;
    }
    return loss_end(tape, x, made, sum);
}

static keel_real huber_element(keel_real x, keel_real target, keel_real delta, keel_real *slope) {
    keel_real e = x - target, size = fabs(e);
    *slope = size <= delta ? e : e > 0 ? delta : e < 0 ? -delta : e; /* the last keeps NaN */
    return size <= delta ? e * e / 2 : delta * (size - delta / 2);
}

keel_tensor *keel_op_huber(keel_tape *tape, keel_tensor *x, const keel_real *target, const keel_real *weight,
                           keel_real delta, keel_real divisor) {
    return sum_elements(tape, x, target, weight, delta, divisor, huber_element);
}

static keel_real half_square_element(keel_real x, keel_real target, keel_real delta, keel_real *slope) {
    (void)delta;
    *slope = x - target;
    return *slope * *slope / 2;
}

keel_tensor *keel_op_half_square(keel_tape *tape, keel_tensor *x, const keel_real *target,
                                 const keel_real *weight, keel_real divisor) {
    return sum_elements(tape, x, target, weight, 0, divisor, half_square_element);
}

/* -t log s(x) - (1 - t) log(1 - s(x)), written so that no exponential can overflow. */
static keel_real logistic_element(keel_real x, keel_real target, keel_real delta, keel_real *slope) {
    (void)delta;
    keel_real e = exp(-fabs(x));
    *slope = (x < 0 ? e : 1) / (1 + e) - target;
    return (x < 0 ? 0 : x) - x * target + log1p(e);
}

keel_tensor *keel_op_logistic(keel_tape *tape, keel_tensor *x, const keel_real *target,
                              const keel_real *weight, keel_real divisor) {
    return sum_elements(tape, x, target, weight, 0, divisor, logistic_element);
}

/* ---- cross-entropy ---- */

/* scale * sum_a target[a] (logsumexp(x) - x[a]); the slope is scale * (softmax(x) sum(target) - target). A
 * target of 0 takes no part, so that a logit of -INFINITY there does no harm. */
static double cross_entropy(const keel_real *x, const keel_real *target, size_t count, keel_real scale,
                            keel_real *slope) {
    keel_real all = keel__softmax(x, NULL, count, slope);
    double sum = 0, total = 0;
    for (size_t a = 0; a < count; ++a) {
        if (target[a] != 0) sum += (double)target[a] * (double)(all - x[a]);
        total += (double)target[a];
    }
    for (size_t a = 0; slope && a < count; ++a) slope[a] = scale * (slope[a] * (keel_real)total - target[a]);
    return (double)scale * sum;
}

keel_tensor *keel_op_cross_entropy(keel_tape *tape, keel_tensor *x, const keel_real *target,
                                   const keel_real *weight, keel_real divisor) {
    loss made;
    if (!loss_begin(tape, x, &made)) return NULL;
    double sum = 0;
    for (size_t b = 0, at = 0; b < x->rows; ++b, at += x->cols)
        sum += cross_entropy(x->data + at, target + at, x->cols, (weight ? weight[b] : 1) / divisor,
                             made.slope ? made.slope + at : NULL);
    return loss_end(tape, x, made, sum);
}

keel_tensor *keel_op_segment_cross_entropy(keel_tape *tape, keel_tensor *x, const int32_t *offsets,
                                           size_t n_segments, const keel_real *target,
                                           const keel_real *weight, keel_real divisor) {
    if (x && (x->cols != 1 || !keel__offsets_fit(offsets, n_segments, x->rows, 0)))
        return keel__tape_refuse(tape, "keel_op_segment_cross_entropy",
                                 "x is no column or a segment is outside it");
    loss made;
    if (!loss_begin(tape, x, &made)) return NULL;
    double sum = 0;
    for (size_t s = 0; s < n_segments; ++s) {
        int32_t at = offsets[s];
        sum += cross_entropy(x->data + at, target + at, (size_t)(offsets[s + 1] - at),
                             (weight ? weight[s] : 1) / divisor, made.slope ? made.slope + at : NULL);
    }
    return loss_end(tape, x, made, sum);
}
