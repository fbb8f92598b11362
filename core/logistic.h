/* The one logistic regression: L2-regularised, over sparse rows of binary columns (hashed n-grams), with up
 * to KEEL_LOGISTIC_LANES outputs that go through the matrix together.
 *
 *   z_k = row_scale sum over the row's columns of column_scale w_ck  +  dense . w_k  +  b_k
 *   labelled output:  min over w, b of  sum over labelled rows of log(1 + exp(-+ z))  + lambda/2 (|w|^2 +
 * b^2) ranking output:   min over w    of  sum over pairs of log(1 + exp(z_worse - z_better)) + lambda/2
 * |w|^2 (Bradley-Terry; dense numbers take part here only) classes:          min over w, b of  sum over rows
 * of -log softmax(z)_class + lambda/2 (|w|^2 + |b|^2)
 *
 * Labelled and ranking outputs are problems of their own with a known curvature: accelerated gradient descent
 * (FISTA, Beck and Teboulle 2009, restarted after O'Donoghue and Candes 2015) moves all of them abreast and
 * needs no line search. The softmax ties the outputs of classes together, and a small lambda makes the
 * problem too ill-conditioned for it: L-BFGS (Nocedal and Wright 2006, algorithms 7.4 and 7.5) with
 * backtracking. Both use the same products with the matrix. Deterministic: one thread, sums in order. */
#ifndef KEEL_CORE_LOGISTIC_H
#define KEEL_CORE_LOGISTIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"

enum { KEEL_LOGISTIC_LANES = 4, KEEL_LOGISTIC_UNKNOWN = -1 };

/* The rows. Scales are factored out of the matrix, so that its entries are bare indices. */
typedef struct keel_logistic_matrix {
    size_t rows, used,
        n_dense;               /* used: binary columns; with the dense ones and the bias used + n_dense + 1 */
    size_t *start;             /* [rows + 1] of each row's entries */
    uint32_t *column;          /* [start[rows]], row after row */
    size_t *column_start;      /* [used + 1]; these two by keel_logistic_transpose */
    uint32_t *row;             /* the same entries, column after column */
    float *row_scale;          /* [rows] */
    const float *column_scale; /* [used] */
    float *dense;              /* [rows, n_dense] */
} keel_logistic_matrix;

/* Room in the arena for all but column_scale, for so many entries: rows, used and n_dense are set. start [0]
 * is 0. False when out of memory. */
bool keel_logistic_room(keel_logistic_matrix *x, size_t entries, keel_arena *arena);
/* From start and column. */
void keel_logistic_transpose(keel_logistic_matrix *x);

/* Of a ranking output: rows of which one is better. */
typedef struct keel_logistic_pair {
    uint32_t output, better, worse;
} keel_logistic_pair;

typedef struct keel_logistic_task {
    const keel_logistic_matrix *x;
    size_t outputs;                     /* 1 .. KEEL_LOGISTIC_LANES */
    double lambda[KEEL_LOGISTIC_LANES]; /* > 0 */
    const int *class_of;                /* [rows] below outputs; NULL: labels and pairs instead, and then: */
    const float *offset; /* [rows, outputs] added to the logits of classes, as of a model that is continued;
                            NULL: 0 */
    bool ranks[KEEL_LOGISTIC_LANES], fits[KEEL_LOGISTIC_LANES]; /* without fits an output stays 0 */
    const signed char *const *label; /* [rows] -> [KEEL_LOGISTIC_LANES] 0, 1 or KEEL_LOGISTIC_UNKNOWN */
    /* What a teacher says (Hinton et al. 2015): its probability of label 1 at `temperature`, NAN where it
     * says nothing; NULL: no teacher. A row's loss is (1 - share) times that of its label plus share times
     * temperature^2 times the cross-entropy of the teacher's with that of z / temperature; without a label,
     * the latter alone. */
    const float *const *soft; /* [rows] -> [KEEL_LOGISTIC_LANES] */
    double share, temperature;
    const keel_logistic_pair *pair; /* [n_pairs] */
    size_t n_pairs;
    const unsigned char
        *fold; /* [rows], or NULL; rows of the fold left_out take no part, nor do their pairs */
    size_t left_out;
    size_t iterations; /* at most */
    const char *where; /* for errors */
} keel_logistic_task;

/* weight [used + n_dense + 1, outputs], the bias last. KEEL_E_NOMEM; KEEL_E_INTERRUPTED. */
keel_status keel_logistic_fit(const keel_logistic_task *task, float *weight, keel_err *err);

#endif
