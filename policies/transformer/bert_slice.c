#include "policies/transformer/bert_slice.h"

#include <string.h>

#include "policies/transformer/bert_internal.h"
#include "policies/transformer/bert_matrix.h"

/* Places that stay, along one side of a matrix; index NULL: all. */
typedef struct side {
    const uint32_t *index;
    size_t n;
} side;

typedef struct slicing {
    keel_bert *bert;
    keel_bert_config config; /* of what is made */
    const keel_layer_kept *kept;
    size_t rows;  /* of the encoder that is made */
    size_t extra; /* rows behind them */
    keel_params to;
    keel_arena arena;
    keel_err *err;
} slicing;

/* Rows of kept heads in each of `parts` equal parts of a matrix. */
static keel_status spread(slicing *s, const keel_layer_kept *kept, size_t parts, side *out) {
    const keel_bert_config *c = &s->bert->config;
    const size_t dim = keel_bert_head_dim(c), part = keel_bert_heads(c, kept->layer) * dim,
                 n = kept->n_heads * dim;
    uint32_t *index = keel_arena_alloc(&s->arena, parts * n * sizeof *index);
    if (!index) return keel_nomem(s->err, "encoder");
    for (size_t p = 0; p < parts; p++)
        for (size_t i = 0; i < n; i++)
            index[p * n + i] = (uint32_t)(p * part + kept->head[i / dim] * dim + i % dim);
    *out = (side){index, parts * n};
    return KEEL_OK;
}

static keel_status copy_row(const slicing *s, size_t from_row, size_t to_row, side rows, side cols) {
    const keel_matrix from = keel_bert_matrix(s->bert, from_row);
    float *row = keel_alloc(from.cols * sizeof *row);
    keel_real *to = keel_params_at(&s->to, to_row);
    if (!row) return keel_nomem(s->err, "encoder");
    const size_t n_rows = rows.index ? rows.n : from.rows, n_cols = cols.index ? cols.n : from.cols;
    for (size_t r = 0; r < n_rows; r++) {
        keel_matrix_read_row(&from, rows.index ? rows.index[r] : r, row);
        for (size_t c = 0; c < n_cols; c++) to[r * n_cols + c] = row[cols.index ? cols.index[c] : c];
    }
    keel_free(row);
    return KEEL_OK;
}

static keel_status cut_layer(slicing *s, size_t layer) {
    const keel_layer_kept *kept = &s->kept[layer];
    const side all = {0}, inner = {kept->inner, kept->n_inner};
    side three, one;
    KEEL_TRY(spread(s, kept, 3, &three));
    KEEL_TRY(spread(s, kept, 1, &one));
    const side cuts[KEEL_BERT_LAYER][2] = {
        [KEEL_BERT_QKV] = {three, all}, [KEEL_BERT_QKV_BIAS] = {all, three}, [KEEL_BERT_OUT] = {all, one},
        [KEEL_BERT_UP] = {inner, all},  [KEEL_BERT_UP_BIAS] = {all, inner},  [KEEL_BERT_DOWN] = {all, inner},
    };
    for (size_t row = 0; row < KEEL_BERT_LAYER; row++)
        KEEL_TRY(copy_row(s, keel__bert_row(kept->layer, row), keel__bert_row(layer, row), cuts[row][0],
                          cuts[row][1]));
    return KEEL_OK;
}

static keel_status make_params(slicing *s) {
    const keel_params *from = &s->bert->params;
    const size_t count = s->rows + s->extra;
    keel_param *table = keel_arena_calloc(&s->arena, count, sizeof *table);
    char(*names)[128] = keel_arena_calloc(&s->arena, s->rows, sizeof *names);
    if (!table || !names) return keel_nomem(s->err, "encoder");
    for (size_t i = 0; i < s->rows; i++) {
        keel__bert_name(i, keel__bert_source_of(i)->name[0], names[i]);
        table[i] = (keel_param){.name = names[i], .decay = keel__bert_source_of(i)->table};
        keel__bert_shape(&s->config, i, &table[i].rows, &table[i].cols);
    }
    if (s->extra) memcpy(table + s->rows, from->table + from->count - s->extra, s->extra * sizeof *table);
    return keel_params_make(&s->to, table, count, s->err);
}

static keel_status fill(slicing *s) {
    const side all = {0};
    const keel_params *from = &s->bert->params;
    for (size_t row = 0; row < KEEL_BERT_FIRST_LAYER; row++) KEEL_TRY(copy_row(s, row, row, all, all));
    for (size_t l = 0; l < s->config.layers; l++) KEEL_TRY(cut_layer(s, l));
    for (size_t i = 0; i < s->extra; i++) {
        const keel_param *param = &s->to.table[s->rows + i];
        memcpy(keel_params_at(&s->to, s->rows + i), keel_params_at(from, from->count - s->extra + i),
               param->rows * param->cols * sizeof(keel_real));
    }
    return KEEL_OK;
}

static keel_status slice(slicing *s, size_t n) {
    keel_bert *bert = s->bert;
    uint32_t *sizes = keel_arena_calloc(&s->arena, 2 * n + 1, sizeof *sizes);
    if (!sizes) return keel_nomem(s->err, "encoder");
    for (size_t l = 0; l < n; l++) {
        sizes[l] = (uint32_t)s->kept[l].n_heads;
        sizes[n + l] = (uint32_t)s->kept[l].n_inner;
    }
    s->config = bert->config;
    s->config.layers = n;
    s->config.head_dim = keel_bert_head_dim(&bert->config);
    s->config.layer_heads = sizes;
    s->config.layer_inner = sizes + n;
    s->rows = KEEL_BERT_FIRST_LAYER + n * KEEL_BERT_LAYER;
    s->extra = bert->params.count - keel_bert_rows(bert);
    KEEL_TRY(make_params(s));
    KEEL_TRY(fill(s));
    const keel_bert_config before = bert->config;
    bert->config.layers = n;
    const keel_status status = keel_bert_set_sizes(bert, sizes, sizes + n, s->err);
    if (status != KEEL_OK) bert->config = before;
    return status;
}

keel_status keel_bert_slice(keel_bert *bert, const keel_layer_kept *kept, size_t n, keel_err *err) {
    slicing s = {.bert = bert, .kept = kept, .err = err};
    if (bert->lora.rank)
        return keel_fail(err, KEEL_E_USAGE, "encoder", "it has low-rank corrections: settle them first");
    if (bert->compressed) return keel__bert_refuse_compressed(err);
    const keel_status status = slice(&s, n);
    if (status == KEEL_OK) {
        keel__bert_rooms made = {.params = s.to};
        keel__bert_rooms_take(bert, &made);
    } else {
        keel_params_free(&s.to);
    }
    keel_arena_free(&s.arena);
    return status;
}
