/* Sparse gradients: a dense map from table row to slot, and one slot of values per touched row. Everything
 * costs time in proportion to the touched rows, except opening and the scan that sorts (one bit per table
 * row). */
#include <stdint.h>
#include <string.h>

#include "core/tape.h"
#include "core/wide.h"

static const uint32_t NO_SLOT = UINT32_MAX;

struct keel_sparse_grad {
    size_t table_rows, cols;
    size_t count, capacity;
    bool sorted;      /* slots are in ascending order of rows */
    uint32_t *slot;   /* [table_rows] */
    uint64_t *seen;   /* [ceil(table_rows / 64)]: bit r % 64 of word r / 64 is set for a touched row r */
    uint32_t *row;    /* [capacity] row of a slot */
    uint32_t *source; /* [capacity] scratch of sorting */
    keel_real *value; /* [capacity, cols] */
    keel_real *spare; /* [cols] scratch of sorting */
};

keel_status keel_sparse_grad_open(keel_sparse_grad **out, size_t table_rows, size_t cols, keel_err *err) {
    if (table_rows >= UINT32_MAX)
        return keel_fail(err, KEEL_E_INVALID, "keel_sparse_grad_open", "a table of %zu rows is too long",
                         table_rows);
    keel_sparse_grad *grad = keel_calloc(1, sizeof *grad);
    if (!grad) goto no_memory;
    *grad = (keel_sparse_grad){.table_rows = table_rows, .cols = cols, .sorted = true};
    grad->slot = keel_calloc(table_rows, sizeof *grad->slot);
    grad->seen = keel_calloc(table_rows / 64 + 1, sizeof *grad->seen);
    grad->spare = keel_calloc(cols, sizeof *grad->spare);
    if (!grad->slot || !grad->seen || !grad->spare) goto no_memory;
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
    keel_free(grad->spare);
    keel_free(grad->value);
    keel_free(grad->source);
    keel_free(grad->row);
    keel_free(grad->seen);
    keel_free(grad->slot);
    keel_free(grad);
}

void keel_sparse_grad_clear(keel_sparse_grad *grad) {
    for (size_t i = 0; i < grad->count; ++i) {
        grad->slot[grad->row[i]] = NO_SLOT;
        grad->seen[grad->row[i] / 64] = 0;
    }
    grad->count = 0;
    grad->sorted = true;
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
    void *row = grad->row, *source = grad->source, *value = grad->value;
    bool grown = grow_list(&row, capacity, sizeof *grad->row) &&
                 grow_list(&source, capacity, sizeof *grad->source) && grow_list(&value, capacity, width);
    grad->row = row, grad->source = source, grad->value = value;
    if (grown) grad->capacity = capacity;
    return grown;
}

/* A new slot for a row, its values not yet set; NO_SLOT when out of memory. */
static uint32_t claim(keel_sparse_grad *grad, uint32_t row) {
    if (!reserve(grad)) return NO_SLOT;
    uint32_t slot = (uint32_t)grad->count++;
    grad->sorted = grad->sorted && (!slot || grad->row[slot - 1] < row);
    grad->slot[row] = slot;
    grad->row[slot] = row;
    grad->seen[row / 64] |= (uint64_t)1 << row % 64;
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

keel_status keel_sparse_grad_merge(keel_sparse_grad *into, const keel_sparse_grad *from, keel_err *err) {
    if (into->table_rows != from->table_rows || into->cols != from->cols)
        return keel_fail(err, KEEL_E_INVALID, "keel_sparse_grad_merge",
                         "expected a table [%zu, %zu], got [%zu, %zu]", into->table_rows, into->cols,
                         from->table_rows, from->cols);
    for (size_t i = 0; i < from->count; ++i)
        if (!keel__sparse_grad_add(into, from->row[i], 1, from->value + i * from->cols))
            return keel_fail(err, KEEL_E_NOMEM, "keel_sparse_grad_merge", "no memory for %zu rows",
                             into->count);
    return KEEL_OK;
}

/* ---- sorted access ---- */

/* source[i]: the slot that holds the i-th touched row in ascending order. */
static void list_sources(keel_sparse_grad *grad) {
    size_t n = 0, words = grad->table_rows / 64 + 1;
    for (size_t w = 0; w < words; ++w)
        for (uint64_t bits = grad->seen[w]; bits; bits &= bits - 1)
            grad->source[n++] = grad->slot[w * 64 + (size_t)__builtin_ctzll(bits)];
}

/* Moves the slots of one cycle of the permutation, each once, through the spare row. */
static void move_cycle(keel_sparse_grad *grad, size_t start) {
    size_t width = grad->cols * sizeof *grad->value, hole = start;
    uint32_t spare_row = grad->row[start];
    memcpy(grad->spare, grad->value + start * grad->cols, width);
    for (size_t from; (from = grad->source[hole]) != start; hole = from) {
        memcpy(grad->value + hole * grad->cols, grad->value + from * grad->cols, width);
        grad->row[hole] = grad->row[from];
        grad->source[hole] = (uint32_t)hole;
    }
    memcpy(grad->value + hole * grad->cols, grad->spare, width);
    grad->row[hole] = spare_row;
    grad->source[hole] = (uint32_t)hole;
}

static void sort(keel_sparse_grad *grad) {
    if (grad->sorted) return;
    list_sources(grad);
    for (size_t i = 0; i < grad->count; ++i)
        if (grad->source[i] != i) move_cycle(grad, i);
    for (size_t i = 0; i < grad->count; ++i) grad->slot[grad->row[i]] = (uint32_t)i;
    grad->sorted = true;
}

size_t keel_sparse_grad_count(const keel_sparse_grad *grad) {
    return grad->count;
}

/* Sorting changes how the gradient is laid out, not what it is: hence the casts. */
const uint32_t *keel_sparse_grad_rows(const keel_sparse_grad *grad) {
    sort((keel_sparse_grad *)grad);
    return grad->row;
}

const keel_real *keel_sparse_grad_values(const keel_sparse_grad *grad) {
    sort((keel_sparse_grad *)grad);
    return grad->value;
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
