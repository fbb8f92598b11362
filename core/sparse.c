/* What bags owe to an embedding table: a list that only grows, and keeps its room from step to step. */
#include "core/sparse.h"

#include "core/memory.h"
#include "core/simd.h"

bool keel__sparse_grad_owe(keel_sparse_grad *grad, keel_owed_bags owed) {
    if (!keel_grow(&grad->owed, grad->count + 1, &grad->room, sizeof *grad->owed)) return false;
    grad->owed[grad->count++] = owed;
    return true;
}

void keel_sparse_grad_clear(keel_sparse_grad *grad) {
    grad->count = 0;
}

void keel_sparse_grad_free(keel_sparse_grad *grad) {
    keel_free(grad->owed);
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
        const keel_owed_bags *owed = &grad->owed[i];
        for (size_t s = 0; s < owed->n_bags; ++s) {
            size_t at = (size_t)owed->offsets[s], count = (size_t)owed->offsets[s + 1] - at;
            descend(owed->id + at, owed->weight + at, count, (keel_real)rate, owed->slope + s * grad->cols,
                    grad->cols, first, end, table);
        }
    }
}
