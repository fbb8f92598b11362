#include "policies/transformer/bert_matrix.h"

#include <string.h>

#include "policies/transformer/bert_internal.h"

bool keel_bert_is_matrix(size_t row) {
    return keel__bert_source_of(row)->table;
}

keel_matrix keel_bert_matrix(const keel_bert *bert, size_t row) {
    if (bert->compressed && bert->compressed[row].data) return bert->compressed[row];
    keel_matrix matrix = {.type = KEEL_MATRIX_F32, .data = keel_params_at(&bert->params, row)};
    keel__bert_shape(&bert->config, row, &matrix.rows, &matrix.cols);
    return matrix;
}

size_t keel_bert_bytes(const keel_bert *bert) {
    size_t sum = 0;
    for (size_t row = 0; row < keel_bert_rows(bert); row++) {
        const keel_matrix matrix = keel_bert_matrix(bert, row);
        sum += matrix.rows * keel_matrix_row_bytes(matrix.type, matrix.cols);
    }
    return sum;
}

keel_status keel__bert_refuse_compressed(keel_err *err) {
    keel_fail(err, KEEL_E_USAGE, "encoder", "its matrices are compressed, and tuning needs them in F32");
    return keel_hint(err, "keel_bert_widen makes them so");
}

/* ---- other number formats ---- */

/* What becomes of an encoder, beside it until all is done. */
typedef struct change {
    const keel_bert *bert;
    const keel_matrix_type *type; /* NULL: F32 */
    keel_params params;
    keel_matrix *compressed;
    keel_arena held;
    float *row; /* [the widest] */
    keel_err *err;
} change;

static keel_matrix_type type_of(const change *c, size_t row) {
    return c->type && keel_bert_is_matrix(row) ? c->type[row] : KEEL_MATRIX_F32;
}

static keel_status check_widths(const change *c) {
    for (size_t row = 0; row < keel_bert_rows(c->bert); row++) {
        const keel_matrix from = keel_bert_matrix(c->bert, row);
        if (type_of(c, row) == KEEL_MATRIX_Q8_0 && from.cols % KEEL_MATRIX_BLOCK != 0)
            return keel_fail(c->err, KEEL_E_INVALID, "encoder",
                             "a matrix of %zu columns: Q8_0 takes multiples of %d", from.cols,
                             KEEL_MATRIX_BLOCK);
    }
    return KEEL_OK;
}

/* The table of params: no rows of what is compressed. */
static keel_status make_params(change *c) {
    const keel_params *from = &c->bert->params;
    keel_arena arena = {0};
    keel_param *table = keel_arena_calloc(&arena, from->count, sizeof *table);
    keel_status status = table ? KEEL_OK : keel_nomem(c->err, "encoder");
    for (size_t row = 0; table && row < from->count; row++) {
        table[row] = from->table[row];
        if (row >= keel_bert_rows(c->bert)) continue;
        keel__bert_shape(&c->bert->config, row, &table[row].rows, &table[row].cols);
        if (type_of(c, row) != KEEL_MATRIX_F32) table[row].rows = 0;
    }
    if (status == KEEL_OK) status = keel_params_make(&c->params, table, from->count, c->err);
    keel_arena_free(&arena);
    return status;
}

/* Sums are for products, which tables are not part of. */
static size_t sum_bytes(keel_matrix_type type, size_t row, const keel_matrix *from) {
    return type == KEEL_MATRIX_Q8_0 && row >= KEEL_BERT_FIRST_LAYER
               ? from->rows * (from->cols / KEEL_MATRIX_BLOCK) * sizeof(int32_t)
               : 0;
}

/* Room for all that is compressed, in one block; the width of the widest row. */
static keel_status make_room(change *c, bool *any, size_t *widest) {
    const size_t rows = keel_bert_rows(c->bert), padding = 3 * 64;
    size_t bytes = rows * sizeof *c->compressed + padding;
    for (size_t row = 0; row < rows; row++) {
        const keel_matrix from = keel_bert_matrix(c->bert, row);
        const keel_matrix_type type = type_of(c, row);
        *widest = from.cols > *widest ? from.cols : *widest;
        if (type == KEEL_MATRIX_F32) continue;
        *any = true;
        bytes += from.rows * keel_matrix_row_bytes(type, from.cols) + sum_bytes(type, row, &from) + padding;
    }
    if (!*any) return KEEL_OK;
    KEEL_TRY(keel_arena_reserve(&c->held, bytes, c->err));
    c->compressed = keel_arena_calloc(&c->held, rows, sizeof *c->compressed);
    return c->compressed ? KEEL_OK : keel_nomem(c->err, "encoder");
}

static keel_status compress(change *c, size_t row, const keel_matrix *from) {
    const keel_matrix_type type = type_of(c, row);
    const size_t bytes = keel_matrix_row_bytes(type, from->cols), for_sums = sum_bytes(type, row, from);
    char *to = keel_arena_alloc(&c->held, from->rows * bytes);
    int32_t *sums = for_sums ? keel_arena_alloc(&c->held, for_sums) : NULL;
    if (!to || (for_sums && !sums)) return keel_nomem(c->err, "encoder");
    for (size_t r = 0; from->type != type && r < from->rows; r++) {
        keel_matrix_read_row(from, r, c->row);
        keel_matrix_write_row(type, c->row, from->cols, to + r * bytes);
    }
    if (from->type == type) memcpy(to, from->data, from->rows * bytes);
    c->compressed[row] = (keel_matrix){.type = type, .rows = from->rows, .cols = from->cols, .data = to};
    if (sums) keel_matrix_sum_blocks(&c->compressed[row], sums);
    c->compressed[row].sums = sums;
    return KEEL_OK;
}

static void widen(change *c, size_t row, const keel_matrix *from) {
    keel_real *to = keel_params_at(&c->params, row);
    for (size_t r = 0; r < from->rows; r++) keel_matrix_read_row(from, r, to + r * from->cols);
}

static keel_status convert(change *c) {
    const size_t rows = keel_bert_rows(c->bert);
    size_t widest = 1;
    bool any = false;
    KEEL_TRY(check_widths(c));
    KEEL_TRY(make_params(c));
    KEEL_TRY(make_room(c, &any, &widest));
    c->row = keel_alloc(widest * sizeof *c->row);
    if (!c->row) return keel_nomem(c->err, "encoder");
    for (size_t row = 0; row < rows; row++) {
        const keel_matrix from = keel_bert_matrix(c->bert, row);
        if (type_of(c, row) == KEEL_MATRIX_F32)
            widen(c, row, &from);
        else
            KEEL_TRY(compress(c, row, &from));
    }
    for (size_t row = rows; row < c->params.count; row++)
        memcpy(keel_params_at(&c->params, row), keel_params_at(&c->bert->params, row),
               c->params.table[row].rows * c->params.table[row].cols * sizeof(keel_real));
    return KEEL_OK;
}

keel_status keel_bert_convert(keel_bert *bert, const keel_matrix_type *type, keel_err *err) {
    change c = {.bert = bert, .type = type, .err = err};
    if (bert->lora.rank)
        return keel_fail(err, KEEL_E_USAGE, "encoder", "it has low-rank corrections: settle them first");
    keel_status status = convert(&c);
    keel_free(c.row);
    if (status != KEEL_OK) {
        keel_params_free(&c.params);
        keel_arena_free(&c.held);
        return status;
    }
    keel_params_free(&bert->params);
    keel_arena_free(&bert->held);
    bert->params = c.params;
    bert->compressed = c.compressed;
    bert->held = c.held;
    return KEEL_OK;
}

keel_status keel_bert_widen(keel_bert *bert, keel_err *err) {
    return bert->compressed ? keel_bert_convert(bert, NULL, err) : KEEL_OK;
}
