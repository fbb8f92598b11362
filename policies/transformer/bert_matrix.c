#include "policies/transformer/bert_matrix.h"

#include <string.h>

#include "core/numeric.h"
#include "policies/transformer/bert_internal.h"
#include "policies/transformer/weights.h"

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

/* ---- memory ---- */

/* All that is compressed, in one block. */
static keel_status make_held(keel__bert_rooms *out, const keel_param *table, const keel_matrix_type *type,
                             size_t n, keel_err *err) {
    enum { PADDING = 64 };
    size_t bytes = n * sizeof *out->compressed + PADDING;
    bool any = false;
    for (size_t row = 0; row < n; row++) {
        if (type[row] == KEEL_MATRIX_F32) continue;
        any = true;
        bytes += table[row].rows * keel_matrix_row_bytes(type[row], table[row].cols) + PADDING;
    }
    if (!any) return KEEL_OK;
    KEEL_TRY(keel_arena_reserve(&out->held, bytes, err));
    out->compressed = keel_arena_calloc(&out->held, n, sizeof *out->compressed);
    for (size_t row = 0; out->compressed && row < n; row++) {
        if (type[row] == KEEL_MATRIX_F32) continue;
        keel_matrix *made = &out->compressed[row];
        *made = (keel_matrix){.type = type[row], .rows = table[row].rows, .cols = table[row].cols};
        made->data = keel_arena_alloc(&out->held, made->rows * keel_matrix_row_bytes(made->type, made->cols));
        if (!made->data) return keel_nomem(err, "encoder");
    }
    return out->compressed ? KEEL_OK : keel_nomem(err, "encoder");
}

keel_status keel__bert_rooms_make(keel__bert_rooms *out, keel_param *table, size_t count,
                                  const keel_matrix_type *type, size_t n, keel_err *err) {
    *out = (keel__bert_rooms){0};
    KEEL_TRY(make_held(out, table, type, n, err));
    for (size_t row = 0; row < n; row++)
        if (type[row] != KEEL_MATRIX_F32) table[row].rows = 0;
    return keel_params_make(&out->params, table, count, err);
}

void keel__bert_rooms_free(keel__bert_rooms *rooms) {
    keel_params_free(&rooms->params);
    keel_arena_free(&rooms->held);
    *rooms = (keel__bert_rooms){0};
}

char *keel__bert_rooms_row(const keel__bert_rooms *rooms, size_t row, size_t r) {
    const keel_matrix *matrix = &rooms->compressed[row];
    return (char *)(uintptr_t)matrix->data + r * keel_matrix_row_bytes(matrix->type, matrix->cols);
}

void keel__bert_rooms_take(keel_bert *bert, keel__bert_rooms *rooms) {
    keel_params_free(&bert->params);
    keel_arena_free(&bert->held);
    bert->params = rooms->params;
    bert->compressed = rooms->compressed;
    bert->held = rooms->held;
    *rooms = (keel__bert_rooms){0};
}

/* ---- other number formats ---- */

enum { SHARD_ROWS = 256 };

typedef struct change {
    const keel_bert *bert;
    const keel_bert_form *form; /* NULL: F32 */
    size_t rows;                /* of the encoder itself */
    keel_matrix_type *type;     /* [rows]: F32 for vectors */
    keel__bert_rooms to;
    size_t row; /* that is converted */
    keel_arena arena;
    keel_err *err;
} change;

static keel_status read_types(change *c) {
    c->rows = keel_bert_rows(c->bert);
    c->type = keel_arena_calloc(&c->arena, c->rows, sizeof *c->type);
    if (!c->type) return keel_nomem(c->err, "encoder");
    for (size_t row = 0; row < c->rows; row++) {
        const keel_matrix from = keel_bert_matrix(c->bert, row);
        c->type[row] = c->form && keel_bert_is_matrix(row) ? c->form[row].type : KEEL_MATRIX_F32;
        if (c->type[row] != KEEL_MATRIX_F32 && from.cols > KEEL_MATRIX_MOST_COLS)
            return keel_fail(c->err, KEEL_E_UNSUPPORTED, "encoder",
                             "a matrix of %zu columns: at most %d are quantised", from.cols,
                             KEEL_MATRIX_MOST_COLS);
        if (from.cols % keel_matrix_multiple(c->type[row]) == 0) continue;
        keel_fail(c->err, KEEL_E_UNSUPPORTED, "encoder", "a matrix of %zu columns: %s takes multiples of %zu",
                  from.cols, keel_matrix_type_name(c->type[row]), keel_matrix_multiple(c->type[row]));
        return keel_hint(c->err, "--weights int8 takes any width");
    }
    return KEEL_OK;
}

static keel_status make_rooms(change *c) {
    const keel_params *from = &c->bert->params;
    keel_param *table = keel_arena_calloc(&c->arena, from->count, sizeof *table);
    if (!table) return keel_nomem(c->err, "encoder");
    memcpy(table, from->table, from->count * sizeof *table);
    for (size_t row = 0; row < c->rows; row++)
        keel__bert_shape(&c->bert->config, row, &table[row].rows, &table[row].cols);
    return keel__bert_rooms_make(&c->to, table, from->count, c->type, c->rows, c->err);
}

/* Row r of the matrix; numbers: room for it in floats. */
static keel_status convert_row(const change *c, const keel_matrix *from, size_t r, float *numbers,
                               keel_err *err) {
    const keel_matrix_type type = c->type[c->row];
    const size_t bytes = keel_matrix_row_bytes(from->type, from->cols);
    if (type == KEEL_MATRIX_F32) {
        keel_matrix_read_row(from, r, keel_params_at(&c->to.params, c->row) + r * from->cols);
        return KEEL_OK;
    }
    char *to = keel__bert_rooms_row(&c->to, c->row, r);
    if (from->type == type) {
        memcpy(to, (const char *)from->data + r * bytes, bytes);
        return KEEL_OK;
    }
    keel_matrix_read_row(from, r, numbers);
    const bool finite = keel_all_finite(numbers, from->cols);
    if (finite) KEEL_TRY(keel_matrix_fit_row(type, numbers, from->cols, &c->form[c->row].fit, to, err));
    if (finite && keel_matrix_row_is_sound(type, to, from->cols)) return KEEL_OK;
    return keel_fail(err, KEEL_E_INVALID, "encoder",
                     "a matrix holds numbers that are not finite, or larger than %s has scales for",
                     keel_matrix_type_name(type));
}

static keel_status convert_shard(void *context, size_t shard, size_t thread, keel_err *err) {
    const change *c = context;
    const keel_matrix from = keel_bert_matrix(c->bert, c->row);
    const size_t first = shard * SHARD_ROWS,
                 end = first + SHARD_ROWS < from.rows ? first + SHARD_ROWS : from.rows;
    float *numbers = keel_alloc(from.cols * sizeof *numbers);
    keel_status status = numbers ? KEEL_OK : keel_nomem(err, "encoder");
    (void)thread;
    for (size_t r = first; status == KEEL_OK && r < end; r++) status = convert_row(c, &from, r, numbers, err);
    keel_free(numbers);
    return status;
}

static keel_status convert_matrix(change *c, keel_pool *pool) {
    const size_t rows = keel_bert_matrix(c->bert, c->row).rows, shards = (rows + SHARD_ROWS - 1) / SHARD_ROWS;
    if (c->to.compressed && c->to.compressed[c->row].data)
        c->to.compressed[c->row].inputs = c->form[c->row].inputs;
    if (pool) return keel_pool_run(pool, shards, convert_shard, c, c->err);
    for (size_t shard = 0; shard < shards; shard++) KEEL_TRY(convert_shard(c, shard, 0, c->err));
    return KEEL_OK;
}

static keel_status convert(change *c, keel_bert *bert, keel_pool *pool) {
    KEEL_TRY(read_types(c));
    KEEL_TRY(make_rooms(c));
    for (c->row = 0; c->row < c->rows; c->row++) KEEL_TRY(convert_matrix(c, pool));
    for (size_t row = c->rows; row < c->to.params.count; row++)
        memcpy(keel_params_at(&c->to.params, row), keel_params_at(&bert->params, row),
               c->to.params.table[row].rows * c->to.params.table[row].cols * sizeof(keel_real));
    keel__bert_rooms_take(bert, &c->to);
    return KEEL_OK;
}

keel_status keel_bert_convert(keel_bert *bert, const keel_bert_form *form, keel_pool *pool, keel_err *err) {
    change c = {.bert = bert, .form = form, .err = err};
    if (bert->lora.rank)
        return keel_fail(err, KEEL_E_USAGE, "encoder", "it has low-rank corrections: settle them first");
    const keel_status status = convert(&c, bert, pool);
    keel__bert_rooms_free(&c.to);
    keel_arena_free(&c.arena);
    return status;
}

keel_status keel_bert_widen(keel_bert *bert, keel_err *err) {
    return bert->compressed ? keel_bert_convert(bert, NULL, NULL, err) : KEEL_OK;
}
