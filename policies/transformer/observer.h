/* What a model tells while it computes: what its matrices read. */
#ifndef KEEL_POLICIES_TRANSFORMER_OBSERVER_H
#define KEEL_POLICIES_TRANSFORMER_OBSERVER_H

#include <stddef.h>

typedef struct keel_observer {
    /* x: panels [rows, cols] (core/panels.h; a number of row r and column c is at keel_panel_at(r, c, cols))
     * that matrix `row` multiplies: its place in the model's table. Matrices that read the same are told
     * once, by the first of them. Calls come one after the other, layers in their order, rows of a text in
     * theirs; x is there during the call alone. What the model computes does not change. */
    void (*see)(void *context, size_t row, const float *x, size_t rows, size_t cols);
    void *context;
} keel_observer;

#endif
