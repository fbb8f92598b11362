/* Inside of the tape, for the files that implement operations (core/ops_*.c) only.
 *
 * An operation checks its inputs, asks for an output, fills it and pushes a node. A node's backward reads the
 * output's gradient (complete by then) and flows it into the inputs with KEEL_FLOW; it may use the output's
 * gradient as scratch. */
#ifndef KEEL_CORE_TAPE_INTERNAL_H
#define KEEL_CORE_TAPE_INTERNAL_H

#include <string.h>

#include "core/memory.h"
#include "core/ops.h"
#include "core/tape.h"

/* Where what is asked for comes from: the tape's arena, or the memory of a segment, which is used again by
 * the next one. */
typedef enum keel__place {
    KEEL__OUTSIDE,
    KEEL__KEPT,   /* in a segment: reals from the segment's memory, listed so that they can be put away */
    KEEL__DROPPED /* in a segment: all from its memory */
} keel__place;

/* Memory that is used from its beginning again and again; what was given out keeps its address. */
typedef struct keel__strip {
    struct keel__strip_block {
        unsigned char *memory, *data; /* data aligned, within memory */
        size_t capacity, used;
    } * block;
    size_t count, capacity; /* of blocks */
    size_t at;              /* the block in use */
    size_t bytes;           /* of all blocks */
} keel__strip;
void *keel__strip_take(keel__strip *strip, size_t bytes); /* aligned to 64; NULL when out of memory */
void keel__strip_rewind(keel__strip *strip);
void keel__strip_free(keel__strip *strip);

typedef struct keel__piece {
    keel_real *at;
    size_t size;
    uint16_t *packed;
} keel__piece;

/* What dropout keeps: elements whose bits are at least the limit, times the factor. bits NULL: all as it is.
 */
typedef struct keel__mask {
    uint16_t *bits;
    uint16_t limit;
    keel_real factor;
} keel__mask;

typedef struct keel_segment keel_segment;
typedef struct keel_node keel_node;
struct keel_node {
    void (*backward)(const keel_node *node);
    void (*redo)(const keel_node *node); /* works out->data out again, if that is cheap; NULL: it is not */
    keel_tape *tape;
    keel_tensor *out, *also; /* outputs; NULL: no second one */
    keel_tensor *x, *y, *b;  /* inputs; y also the weights of a linear operation */
    keel_tensor **list;      /* more inputs, any of them NULL; in the arena */
    size_t n_list;
    size_t count;         /* of index, heads or texts */
    size_t stride;        /* of weight from row to row */
    const int32_t *index; /* borrowed: rows, columns or offsets */
    const uint32_t *id;   /* borrowed */
    keel_branch *branch;  /* [n_branches], in the arena */
    size_t n_branches;
    const keel_real *weight; /* borrowed */
    keel_real *saved;        /* what forward kept for backward; in the arena; layout per operation */
    keel_real factor;
    double epsilon;
    keel_activation activation;
    keel__mask mask;
    keel_sparse_grad *sparse;
    const keel_matrix *matrix; /* borrowed */
    keel_segment *segment;
    keel_token_loss *loss;
    bool keeps_gradient; /* the output's gradient is still needed after backward */
};

typedef void keel__multiply(bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k, keel_real alpha,
                            const keel_real *a, size_t lda, const keel_real *b, size_t ldb, keel_real beta,
                            keel_real *y, size_t ldy);

struct keel_tape {
    keel_arena arena; /* tensors, activations, gradients, what operations save */
    keel_node *nodes; /* [capacity]; kept over resets */
    size_t count, capacity;
    keel_tensor **leaves; /* parameters on the tape, [leaf_capacity] */
    size_t leaf_count, leaf_capacity;
    keel_real **spare; /* gradients that are free again, [spare_capacity] */
    size_t spare_count, spare_capacity;
    keel_real *scratch;
    size_t scratch_size;
    keel__place place;
    keel__strip strip;   /* of segments */
    keel__piece *pieces; /* of the segment that runs, [piece_capacity] */
    size_t piece_count, piece_capacity;
    keel__multiply *multiply; /* keel_gemm or keel_gemm_bf16 */
    bool recording;
    bool out_of_memory;
    const char *operation, *problem; /* the first refused call, or NULL */
};

/* A tensor around data that is already there; it carries a gradient if `flows` and the tape records. */
keel_tensor *keel__tape_over(keel_tape *tape, keel_real *data, size_t rows, size_t cols, bool flows);
/* Backward through the nodes from `first` on, which are then off the tape. */
void keel__tape_unwind(keel_tape *tape, size_t first);
/* to's gradient gets from's, which is not needed any more: its memory changes hands where it can. */
void keel__tape_hand(keel_tensor *from, keel_tensor *to);
/* An output of an operation, uninitialised; it carries a gradient if `flows` and the tape records. */
keel_tensor *keel__tape_output(keel_tape *tape, size_t rows, size_t cols, bool flows);
/* Appends the node if its output carries a gradient. Returns the output, or NULL when out of memory. */
keel_tensor *keel__tape_push(keel_tape *tape, keel_node node);
/* count reals in the arena; NULL when out of memory. */
keel_real *keel__tape_reals(keel_tape *tape, size_t count);
void *keel__tape_bytes(keel_tape *tape, size_t bytes);
/* Room for count reals that lasts until the next call: within one operation. NULL when out of memory. */
keel_real *keel__tape_scratch(keel_tape *tape, size_t count);
/* Rows first .. first + n - 1 of weights as reals [n, cols]: where they lie, or widened into room for as
 * many. matrix is what counts where w is NULL. */
const keel_real *keel__weight_rows(const keel_tensor *w, const keel_matrix *matrix, size_t first, size_t n,
                                   keel_real *room);
/* How many rows of weights [rows, cols] to widen at a time, for which room is needed; 0: they need none. */
size_t keel__weight_tile(const keel_tensor *w, const keel_matrix *matrix);
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
