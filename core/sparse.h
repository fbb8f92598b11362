/* Sparse gradients of embedding tables. */
#ifndef KEEL_CORE_SPARSE_H
#define KEEL_CORE_SPARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/tensor.h"

/* The bags of one operation: s owes weight[j] * slope[s, :] to row id[j], j in offsets[s] ..
 * offsets[s+1]-1. */
typedef struct keel_owed_bags {
    size_t n_bags;
    const int32_t *offsets; /* [n_bags + 1] */
    const uint32_t *id;
    const keel_real *weight;
    const keel_real *slope; /* [n_bags, cols] the gradient of what the operation gave */
} keel_owed_bags;

/* What is owed to a table, in the order in which backward met it, and not added up: a step hands it out as it
 * lies. All is borrowed, until the tape's next reset. Start with the shape and zeros. */
typedef struct keel_sparse_grad {
    size_t table_rows, cols;
    size_t count, room;
    keel_owed_bags *owed; /* [count] */
} keel_sparse_grad;
/* Adds to the list; false when out of memory. */
bool keel__sparse_grad_owe(keel_sparse_grad *grad, keel_owed_bags owed);
void keel_sparse_grad_clear(keel_sparse_grad *grad);
void keel_sparse_grad_free(keel_sparse_grad *grad);
/* Stochastic gradient descent on the table: what it is owed, times rate, is taken off its rows one after the
 * other. It keeps no state and moves no row but those, once a term; an optimizer with moments moves three
 * numbers a weight. Part `part` of `parts` moves, ranges of rows that together are the table: threads may
 * take a part each, and the result does not depend on how many there are. */
void keel_sparse_grad_descend(const keel_sparse_grad *grad, keel_real *table, double rate, size_t part,
                              size_t parts);

#endif
