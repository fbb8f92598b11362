/* Sparse gradients of embedding tables. */
#ifndef KEEL_CORE_SPARSE_H
#define KEEL_CORE_SPARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/tensor.h"

/* The gradient that the bags of one operation contribute: bag s adds weight[j] * slope[s, :] to row id[j], j
 * in offsets[s] .. offsets[s+1]-1. */
typedef struct keel_bag_gradient {
    size_t n_bags;
    const int32_t *offsets; /* [n_bags + 1] */
    const uint32_t *id;
    const keel_real *weight;
    const keel_real *slope; /* [n_bags, cols] the gradient of what the operation gave */
} keel_bag_gradient;

/* The gradient of a table as contributions in the order of the backward pass, not added up: a step applies
 * them one after the other. All is borrowed, until the tape's next reset. Start with the shape and zeros. */
typedef struct keel_sparse_grad {
    size_t table_rows, cols;
    size_t count, room;
    keel_bag_gradient *bags; /* [count] */
} keel_sparse_grad;
/* Adds to the list; false when out of memory. */
bool keel__sparse_grad_add(keel_sparse_grad *grad, keel_bag_gradient bags);
void keel_sparse_grad_clear(keel_sparse_grad *grad);
void keel_sparse_grad_free(keel_sparse_grad *grad);
/* Stochastic gradient descent on the table: each contribution, times rate, is subtracted from its rows, one
 * after the other. It keeps no state and changes only rows that the list names (an optimizer with moments
 * would read and write three numbers a weight). It changes part `part` of `parts`, ranges of rows that
 * together are the table: threads may take a part each, and the result does not depend on their number. */
void keel_sparse_grad_descend(const keel_sparse_grad *grad, keel_real *table, double rate, size_t part,
                              size_t parts);

#endif
