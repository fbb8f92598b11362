/* The sparse gradient of an embedding table: a list of bags that grows and keeps its memory from step to
 * step. */
#include "core/sparse.h"

#include "core/memory.h"
#include "core/simd.h"

bool keel__sparse_grad_add(keel_sparse_grad *grad, keel_bag_gradient bags) {
    if (!keel_grow(&grad->bags, grad->count + 1, &grad->room, sizeof *grad->bags)) return false;
    grad->bags[grad->count++] = bags;
    return true;
}

void keel_sparse_grad_clear(keel_sparse_grad *grad) {
    grad->count = 0;
}

void keel_sparse_grad_free(keel_sparse_grad *grad) {
    keel_free(grad->bags);
    *grad = (keel_sparse_grad){0};
}

/* table[id] -= rate * weight * slope for the terms of one bag with first <= id < end. */
KEEL_SIMD static void descend(const uint32_t *id, const keel_real *weight, size_t count, keel_real rate,
                              const keel_real *restrict slope, size_t cols, size_t first, size_t end,
                              keel_real *table) {
    for (size_t j = 0; j < count; ++j) {
        if (id[j] < first || id[j] >= end) continue;
        keel_real *restrict row = table + id[j] * cols, factor = rate * weight[j];
        for (size_t c = 0; c < cols; ++c) row[c] -= factor * slope[c];
    }
}

void keel_sparse_grad_descend(const keel_sparse_grad *grad, keel_real *table, double rate, size_t part,
                              size_t parts) {
    size_t first = grad->table_rows * part / parts, end = grad->table_rows * (part + 1) / parts;
    for (size_t i = 0; i < grad->count; ++i) {
        const keel_bag_gradient *bags = &grad->bags[i];
        for (size_t s = 0; s < bags->n_bags; ++s) {
            size_t at = (size_t)bags->offsets[s], count = (size_t)bags->offsets[s + 1] - at;
            descend(bags->id + at, bags->weight + at, count, (keel_real)rate, bags->slope + s * grad->cols,
                    grad->cols, first, end, table);
        }
    }
}
