#include "policies/transformer/llama_slice.h"

#include <string.h>

#include "policies/transformer/llama_internal.h"

/* Places that stay, along one side of a matrix; index NULL: all. */
typedef struct side {
    const uint32_t *index;
    size_t n;
} side;

typedef struct slicing {
    keel_llama *llama;
    keel_arena work;
    keel_err *err;
} slicing;

/* Rows of kept heads, each `wide`. */
static keel_status spread(slicing *s, const uint32_t *head, size_t n, size_t wide, side *out) {
    uint32_t *index = keel_arena_alloc(&s->work, n * wide * sizeof *index);
    if (!index) return keel_nomem(s->err, "decoder");
    for (size_t h = 0; h < n; h++)
        for (size_t i = 0; i < wide; i++) index[h * wide + i] = (uint32_t)(head[h] * wide + i);
    *out = (side){index, n * wide};
    return KEEL_OK;
}

static bool is_whole(side cut, size_t all) {
    return !cut.index || cut.n == all;
}

static keel_status cut_matrix(const slicing *s, const keel_matrix *from, side rows, side cols,
                              keel_matrix *out) {
    *out = *from;
    if (!from->data || (is_whole(rows, from->rows) && is_whole(cols, from->cols))) return KEEL_OK;
    out->type = from->type == KEEL_MATRIX_BF16 ? KEEL_MATRIX_BF16 : KEEL_MATRIX_F32;
    out->rows = rows.index ? rows.n : from->rows;
    out->cols = cols.index ? cols.n : from->cols;
    const size_t bytes = keel_matrix_row_bytes(out->type, out->cols);
    char *data = keel_arena_alloc(&s->llama->files->copies, out->rows * bytes);
    float *row = keel_alloc((from->cols + out->cols) * sizeof *row), *kept = row ? row + from->cols : NULL;
    out->data = data;
    for (size_t r = 0; data && row && r < out->rows; r++) {
        keel_matrix_read_row(from, rows.index ? rows.index[r] : r, row);
        for (size_t c = 0; c < out->cols; c++) kept[c] = row[cols.index ? cols.index[c] : c];
        keel_matrix_write_row(out->type, kept, out->cols, data + r * bytes);
    }
    const bool there = data && row;
    keel_free(row);
    return there ? KEEL_OK : keel_nomem(s->err, "decoder");
}

static keel_status cut_layer(slicing *s, const keel_layer_kept *kept, keel_matrix *to) {
    const keel_llama_config *c = &s->llama->config;
    const keel_matrix *from = &s->llama->matrix[keel_llama_row(kept->layer, 0)];
    const side all = {0}, inner = {kept->inner, kept->n_inner};
    side q, kv;
    KEEL_TRY(spread(s, kept->head, kept->n_heads, c->heads / c->kv_heads * c->head_dim, &q));
    KEEL_TRY(spread(s, kept->head, kept->n_heads, c->head_dim, &kv));
    const side cuts[KEEL_LLAMA_LAYER][2] = {
        [KEEL_LLAMA_Q] = {q, all},
        [KEEL_LLAMA_K] = {kv, all},
        [KEEL_LLAMA_V] = {kv, all},
        [KEEL_LLAMA_Q_BIAS] = {all, q},
        [KEEL_LLAMA_K_BIAS] = {all, kv},
        [KEEL_LLAMA_V_BIAS] = {all, kv},
        [KEEL_LLAMA_O] = {all, q},
        [KEEL_LLAMA_GATE] = {inner, all},
        [KEEL_LLAMA_UP] = {inner, all},
        [KEEL_LLAMA_DOWN] = {all, inner},
        [KEEL_LLAMA_GATE_BIAS] = {all, inner},
        [KEEL_LLAMA_UP_BIAS] = {all, inner},
    };
    for (size_t row = 0; row < KEEL_LLAMA_LAYER; row++)
        KEEL_TRY(cut_matrix(s, &from[row], cuts[row][0], cuts[row][1], &to[row]));
    keel_arena_reset(&s->work);
    return KEEL_OK;
}

static keel_status cut_layers(slicing *s, const keel_layer_kept *kept, size_t n, keel_matrix *made) {
    keel_llama *llama = s->llama;
    uint32_t *kv_heads = keel_alloc(2 * n * sizeof *kv_heads), *inner = kv_heads ? kv_heads + n : NULL;
    keel_status status = kv_heads ? KEEL_OK : keel_nomem(s->err, "decoder");
    for (size_t l = 0; status == KEEL_OK && l < n; l++) {
        status = cut_layer(s, &kept[l], &made[keel_llama_row(l, 0)]);
        kv_heads[l] = (uint32_t)kept[l].n_heads;
        inner[l] = (uint32_t)kept[l].n_inner;
    }
    const keel_llama_config before = llama->config;
    if (status == KEEL_OK) {
        llama->config.layers = n;
        status = keel_llama_set_sizes(llama, kv_heads, inner, s->err);
        if (status != KEEL_OK) llama->config = before;
    }
    keel_free(kv_heads);
    return status;
}

keel_status keel_llama_slice(keel_llama *llama, const keel_layer_kept *kept, size_t n, keel_err *err) {
    const size_t last = keel_llama_norm(&llama->config), rows = keel_llama_row(n, 0) + 2;
    slicing s = {.llama = llama, .err = err};
    if (llama->params.data || llama->lora.rank || llama->n_virtual)
        return keel_fail(err, KEEL_E_USAGE, "decoder",
                         "it is tuned: nothing can be cut before that is settled");
    keel_matrix *made = keel_calloc(rows, sizeof *made);
    if (!made) return keel_nomem(err, "decoder");
    made[KEEL_LLAMA_EMBED] = llama->matrix[KEEL_LLAMA_EMBED];
    memcpy(made + rows - 2, llama->matrix + last, 2 * sizeof *made);
    keel_status status = cut_layers(&s, kept, n, made);
    keel_arena_free(&s.work);
    if (status != KEEL_OK) {
        keel_free(made);
        return status;
    }
    keel_free(llama->matrix);
    llama->matrix = made;
    llama->n_rows = llama->first_trained = rows;
    return KEEL_OK;
}
