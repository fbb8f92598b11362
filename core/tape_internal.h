/* Inside of the tape, for the files that implement operations (core/ops_*.c) only.
 *
 * An operation checks its inputs, asks for an output, fills it and pushes a node. A node's backward reads the
 * output's gradient (complete by then) and flows it into the inputs with KEEL_FLOW; it may use the output's
 * gradient as scratch. */
#ifndef KEEL_CORE_TAPE_INTERNAL_H
#define KEEL_CORE_TAPE_INTERNAL_H

#include <string.h>

#include "core/ops.h"
#include "core/tape.h"

/* What dropout keeps: elements whose bits are at least the limit, times the factor. bits NULL: all as it is.
 */
typedef struct keel__mask {
    uint16_t *bits;
    uint16_t limit;
    keel_real factor;
} keel__mask;

typedef struct keel_node keel_node;
struct keel_node {
    void (*backward)(const keel_node *node);
    keel_tape *tape;
    keel_tensor *out;
    keel_tensor *x, *y, *b; /* inputs; y also the weights of a linear operation */
    keel_tensor **list;     /* inputs of an operation over many; in the arena */
    size_t count;           /* of list, index, heads or segments */
    size_t stride;          /* of weight from row to row */
    const int32_t *index;   /* borrowed: rows, columns or offsets */
    const uint32_t *id;     /* borrowed */
    keel_branch *branch;    /* [n_branches], in the arena */
    size_t n_branches;
    const keel_real *weight; /* borrowed */
    keel_real *saved;        /* what forward kept for backward; in the arena; layout per operation */
    keel_real factor;
    keel_activation activation;
    keel__mask mask;
    keel_sparse_grad *sparse;
};

/* An output of an operation; it carries a gradient if `flows` and the tape records. */
keel_tensor *keel__tape_output(keel_tape *tape, size_t rows, size_t cols, bool flows);
/* Appends the node if its output carries a gradient. Returns the output, or NULL when out of memory. */
keel_tensor *keel__tape_push(keel_tape *tape, keel_node node);
/* count reals in the arena; NULL when out of memory. */
keel_real *keel__tape_reals(keel_tape *tape, size_t count);
void *keel__tape_bytes(keel_tape *tape, size_t bytes);
/* Draws a mask of so many elements for a rate in [0, 1); false when refused or out of memory. */
bool keel__mask_draw(keel_tape *tape, size_t size, keel_real rate, keel_rng *rng, keel__mask *out);
/* Notes the first thing that went wrong on this tape; returns NULL. what is static text. */
keel_tensor *keel__tape_refuse(keel_tape *tape, const char *operation, const char *what);
void keel__tape_out_of_memory(keel_tape *tape);

static inline size_t keel__size(const keel_tensor *x) {
    return x->rows * x->cols;
}

/* x's gradient gets expression(i) for i in 0..n-1: overwritten by the first writer, added to by later ones.
 * Nothing is computed where no gradient flows. g and whatever the expression reads must not overlap. */
#define KEEL_FLOW(tensor, n, i, expression)                                                                  \
    do {                                                                                                     \
        keel_tensor *flow_to_ = (tensor);                                                                    \
        keel_real *restrict flow_ = flow_to_->grad;                                                          \
        size_t flow_n_ = (n);                                                                                \
        if (flow_ && flow_to_->grad_ready) {                                                                 \
            for (size_t i = 0; i < flow_n_; ++i) flow_[i] += (expression);                                   \
        } else if (flow_) {                                                                                  \
            for (size_t i = 0; i < flow_n_; ++i) flow_[i] = (expression);                                    \
            flow_to_->grad_ready = true;                                                                     \
        }                                                                                                    \
    } while (0)

/* For backward passes that scatter: the gradient, zeroed if nothing was written yet; NULL where none flows.
 */
static inline keel_real *keel__grad_to_add(keel_tensor *x) {
    if (x->grad && !x->grad_ready) {
        if (keel__size(x)) memset(x->grad, 0, keel__size(x) * sizeof(keel_real));
        x->grad_ready = true;
    }
    return x->grad;
}

/* beta of a matrix product into x's gradient; marks it written. */
static inline keel_real keel__grad_beta(keel_tensor *x) {
    keel_real beta = x->grad_ready ? 1 : 0;
    x->grad_ready = true;
    return beta;
}

/* offsets rise, every segment has at least `shortest` rows, and all lie within rows. */
bool keel__offsets_fit(const int32_t *offsets, size_t n_segments, size_t rows, size_t shortest);

#endif
