/* Sparse gradients: a dense map from table row to slot, and one slot of values per touched row. Everything
 * but opening costs time in proportion to the touched rows. */
#include <stdint.h>
#include <string.h>

#include "core/tape.h"
#include "core/wide.h"

static const uint32_t NO_SLOT = UINT32_MAX;

struct keel_sparse_grad {
    size_t table_rows, cols;
    size_t count, capacity;
    uint32_t *slot;   /* [table_rows] */
    uint32_t *row;    /* [capacity] row of a slot */
    keel_real *value; /* [capacity, cols] */
};

keel_status keel_sparse_grad_open(keel_sparse_grad **out, size_t table_rows, size_t cols, keel_err *err) {
    if (table_rows >= UINT32_MAX)
        return keel_fail(err, KEEL_E_INVALID, "keel_sparse_grad_open", "a table of %zu rows is too long",
                         table_rows);
    keel_sparse_grad *grad = keel_calloc(1, sizeof *grad);
    if (!grad) goto no_memory;
    *grad = (keel_sparse_grad){.table_rows = table_rows, .cols = cols};
    grad->slot = keel_calloc(table_rows, sizeof *grad->slot);
    if (!grad->slot) goto no_memory;
    memset(grad->slot, 0xff, table_rows * sizeof *grad->slot);
    *out = grad;
    return KEEL_OK;
no_memory:
    keel_sparse_grad_close(grad);
    return keel_fail(err, KEEL_E_NOMEM, "keel_sparse_grad_open", "no memory for a table of %zu rows",
                     table_rows);
}

void keel_sparse_grad_close(keel_sparse_grad *grad) {
    if (!grad) return;
    keel_free(grad->value);
    keel_free(grad->row);
    keel_free(grad->slot);
    keel_free(grad);
}

void keel_sparse_grad_clear(keel_sparse_grad *grad) {
    for (size_t i = 0; i < grad->count; ++i) grad->slot[grad->row[i]] = NO_SLOT;
    grad->count = 0;
}

static bool grow_list(void **list, size_t capacity, size_t size) {
    size_t bytes;
    void *grown = keel_size_mul(capacity, size, &bytes) ? keel_realloc(*list, bytes) : NULL;
    if (grown) *list = grown;
    return grown != NULL;
}

static bool reserve(keel_sparse_grad *grad) {
    if (grad->count < grad->capacity) return true;
    size_t capacity = grad->capacity ? grad->capacity * 2 : 256, width = grad->cols * sizeof *grad->value;
    void *row = grad->row, *value = grad->value;
    bool grown = grow_list(&row, capacity, sizeof *grad->row) && grow_list(&value, capacity, width);
    grad->row = row, grad->value = value;
    if (grown) grad->capacity = capacity;
    return grown;
}

/* A new slot for a row, its values not yet set; NO_SLOT when out of memory. */
static uint32_t claim(keel_sparse_grad *grad, uint32_t row) {
    if (!reserve(grad)) return NO_SLOT;
    uint32_t slot = (uint32_t)grad->count++;
    grad->slot[row] = slot;
    grad->row[slot] = row;
    return slot;
}

KEEL_WIDE static void put_scaled(keel_real *restrict to, keel_real factor, const keel_real *restrict values,
                                 size_t cols) {
    for (size_t c = 0; c < cols; ++c) to[c] = factor * values[c];
}

KEEL_WIDE static void add_scaled(keel_real *restrict to, keel_real factor, const keel_real *restrict values,
                                 size_t cols) {
    for (size_t c = 0; c < cols; ++c) to[c] += factor * values[c];
}

bool keel__sparse_grad_add(keel_sparse_grad *grad, uint32_t row, keel_real factor, const keel_real *values) {
    uint32_t slot = grad->slot[row];
    bool first = slot == NO_SLOT;
    if (first && (slot = claim(grad, row)) == NO_SLOT) return false;
    (first ? put_scaled : add_scaled)(grad->value + slot * grad->cols, factor, values, grad->cols);
    return true;
}

size_t keel_sparse_grad_count(const keel_sparse_grad *grad) {
    return grad->count;
}

const uint32_t *keel__sparse_grad_rows(const keel_sparse_grad *grad) {
    return grad->row;
}

keel_real *keel__sparse_grad_find(keel_sparse_grad *grad, uint32_t row) {
    uint32_t slot = grad->slot[row];
    return slot == NO_SLOT ? NULL : grad->value + slot * grad->cols;
}

size_t keel__sparse_grad_cols(const keel_sparse_grad *grad) {
    return grad->cols;
}

bool keel__sparse_grad_fits(const keel_sparse_grad *grad, size_t table_rows, size_t cols) {
    return grad->table_rows == table_rows && grad->cols == cols;
}
