/* From tokens to vectors, without the tape. */
#include "policies/transformer/bert_matrix.h"

#include <math.h>
#include <string.h>

#include "core/numeric.h"
#include "core/panels.h"
#include "policies/transformer/bert_internal.h"

keel_status keel__bert_check(const keel_bert *bert, const keel_bert_batch *batch, size_t *longest,
                             keel_err *err) {
    const keel_bert_config *c = &bert->config;
    *longest = 0;
    for (size_t i = 0; i < batch->n; i++) {
        const int32_t n = batch->offsets[i + 1] - batch->offsets[i];
        if (n < 1 || (size_t)n > c->positions)
            return keel_fail(err, KEEL_E_INVALID, "encoder", "text %zu: expected 1 to %zu tokens, got %d", i,
                             c->positions, (int)n);
        if ((size_t)n > *longest) *longest = (size_t)n;
    }
    for (int32_t t = 0; t < batch->offsets[batch->n]; t++) {
        const bool fits = batch->id[t] >= 0 && (size_t)batch->id[t] < c->vocab &&
                          (!batch->type || (batch->type[t] >= 0 && (size_t)batch->type[t] < c->types));
        if (!fits)
            return keel_fail(err, KEEL_E_INVALID, "encoder", "token %d: its id or type is out of range",
                             (int)t);
    }
    return KEEL_OK;
}

/* Room for one batch in panels of rows, one text behind the other. */
typedef struct work {
    size_t rows, panels;
    float *x, *seen, *more,
        *wide;      /* panels of hidden columns, seen of the heads', wide of three times these or inner */
    float *scratch; /* of attention */
    void *packed;   /* inputs of a matrix that is compressed */
    float *row;     /* [hidden] of such a table */
} work;

/* Bytes of a panel of inputs, made ready for the matrix that needs most. */
static size_t packed_bytes(const keel_bert *bert) {
    size_t most = 1;
    for (size_t row = 0; bert->compressed && row < keel_bert_rows(bert); row++) {
        const keel_matrix *matrix = &bert->compressed[row];
        const size_t bytes = matrix->data ? keel_panel_packed(keel_panel_form_of(matrix), matrix->cols) : 0;
        most = bytes > most ? bytes : most;
    }
    return most;
}

/* Lanes beyond the last row mean nothing, but hold numbers: zeros at first. */
static keel_status make_room(const keel_bert *bert, const keel_bert_batch *batch, keel_arena *scratch,
                             work *out, keel_err *err) {
    const keel_bert_config *c = &bert->config;
    const size_t heads = c->heads * keel_bert_head_dim(c), wide = 3 * heads > c->inner ? 3 * heads : c->inner;
    size_t longest;
    KEEL_TRY(keel__bert_check(bert, batch, &longest, err));
    out->rows = (size_t)batch->offsets[batch->n];
    out->panels = keel_panels(out->rows);
    const size_t lanes = out->panels * KEEL_PANEL,
                 room = keel_panel_attention_room(c->heads, keel_bert_head_dim(c), longest);
    out->x = keel_arena_alloc(scratch, lanes * c->hidden * sizeof(float));
    out->wide = keel_arena_calloc(scratch, lanes * wide + KEEL_PANEL, sizeof(float));
    out->seen = keel_arena_calloc(scratch, lanes * heads, sizeof(float));
    out->more = keel_arena_calloc(scratch, lanes * c->hidden, sizeof(float));
    out->scratch = keel_arena_calloc(scratch, room, sizeof(float));
    out->packed = keel_arena_alloc(scratch, out->panels * packed_bytes(bert));
    out->row = keel_arena_alloc(scratch, c->hidden * sizeof(float));
    return out->x && out->seen && out->wide && out->more && out->scratch && out->packed && out->row
               ? KEEL_OK
               : keel_nomem(err, "encoder");
}

static const float *first_param(const keel_bert *bert, size_t row) {
    return keel_params_at(&bert->params, row);
}

static const float *layer_param(const keel_bert *bert, size_t layer, size_t row) {
    return keel_params_at(&bert->params, keel__bert_row(layer, row));
}

/* x [hidden] of a panel's lane += row `id` of a table */
static void add_row(const keel_bert *bert, size_t table, size_t id, const work *w, float *to) {
    const keel_matrix matrix = keel_bert_matrix(bert, table);
    keel_matrix_read_row(&matrix, id, w->row);
    for (size_t d = 0; d < matrix.cols; d++) to[d * KEEL_PANEL] += w->row[d];
}

static void embed_token(const keel_bert *bert, size_t id, size_t type, size_t position, size_t row,
                        const work *w) {
    const size_t hidden = bert->config.hidden;
    float *to = w->x + keel_panel_at(row, 0, hidden);
    for (size_t d = 0; d < hidden; d++) to[d * KEEL_PANEL] = 0;
    add_row(bert, KEEL_BERT_WORD, id, w, to);
    add_row(bert, KEEL_BERT_TYPE, type, w, to);
    add_row(bert, KEEL_BERT_POSITION, position, w, to);
}

static void embed(const keel_bert *bert, const keel_bert_batch *batch, work *w) {
    const size_t hidden = bert->config.hidden;
    for (size_t i = 0; i < batch->n; i++)
        for (int32_t t = batch->offsets[i]; t < batch->offsets[i + 1]; t++)
            embed_token(bert, (size_t)batch->id[t], batch->type ? (size_t)batch->type[t] : 0,
                        (size_t)(t - batch->offsets[i]), (size_t)t, w);
    for (size_t r = w->rows; r < w->panels * KEEL_PANEL; r++) /* lanes that mean nothing hold numbers */
        embed_token(bert, 0, 0, 0, r, w);
    keel_panel_layer_norm(w->x, NULL, first_param(bert, KEEL_BERT_GAIN), first_param(bert, KEEL_BERT_BIAS),
                          bert->config.epsilon, w->panels, hidden);
}

static void linear(const keel_bert *bert, size_t l, size_t weight, const float *x, const work *w, float *y) {
    const size_t row = keel__bert_row(l, weight);
    const keel_matrix matrix = keel_bert_matrix(bert, row);
    if (bert->observer) bert->observer->see(bert->observer->context, row, x, w->rows, matrix.cols);
    const float *bias = layer_param(bert, l, weight + 1);
    if (matrix.type == KEEL_MATRIX_F32) {
        keel_panel_linear(x, w->panels, matrix.cols, matrix.data, bias, matrix.rows, y);
        return;
    }
    keel_panel_pack(keel_panel_form_of(&matrix), x, w->panels, matrix.cols, 0, matrix.cols, w->packed);
    keel_panel_matrix(w->packed, w->rows, &matrix, bias, 0, matrix.rows, y);
}

static void add_and_norm(const keel_bert *bert, size_t l, size_t gain, work *w) {
    keel_panel_layer_norm(w->x, w->more, layer_param(bert, l, gain), layer_param(bert, l, gain + 1),
                          bert->config.epsilon, w->panels, bert->config.hidden);
}

static void layer(const keel_bert *bert, size_t l, const keel_bert_batch *batch, work *w) {
    const keel_bert_config *c = &bert->config;
    const size_t heads = keel_bert_heads(c, l), dim = keel_bert_head_dim(c);
    linear(bert, l, KEEL_BERT_QKV, w->x, w, w->wide);
    memset(w->wide + w->panels * KEEL_PANEL * 3 * heads * dim, 0, KEEL_PANEL * sizeof(float));
    keel_panel_attention(w->wide, heads, dim, batch->offsets, batch->n, w->seen, w->scratch);
    linear(bert, l, KEEL_BERT_OUT, w->seen, w, w->more);
    add_and_norm(bert, l, KEEL_BERT_GAIN_1, w);
    linear(bert, l, KEEL_BERT_UP, w->x, w, w->wide);
    keel_gelu(w->wide, w->panels * KEEL_PANEL * keel_bert_inner(c, l), w->wide);
    linear(bert, l, KEEL_BERT_DOWN, w->wide, w, w->more);
    add_and_norm(bert, l, KEEL_BERT_GAIN_2, w);
}

/* The vector of one text of n tokens, rows first .. first + n - 1; false if it is not finite. */
static bool pool(const keel_bert_config *c, const float *x, size_t first, size_t n, keel_real *out) {
    double square = 0;
    const size_t counted = c->first_token ? 1 : n;
    for (size_t d = 0; d < c->hidden; d++) {
        double sum = 0;
        for (size_t t = 0; t < counted; t++) sum += (double)x[keel_panel_at(first + t, d, c->hidden)];
        out[d] = (keel_real)(sum / (double)counted);
        square += (double)out[d] * (double)out[d];
    }
    const keel_real scale = (keel_real)(1 / fmax(sqrt(square), 1e-12));
    for (size_t d = 0; c->normalise && d < c->hidden; d++) out[d] *= scale;
    return isfinite(square);
}

keel_status keel_bert_encode(const keel_bert *bert, const keel_bert_batch *batch, keel_arena *scratch,
                             keel_real *out, keel_err *err) {
    const size_t hidden = bert->config.hidden;
    work w = {0};
    if (bert->lora.rank && !bert->unmerged)
        return keel_fail(err, KEEL_E_USAGE, "encoder", "its low-rank corrections are not merged");
    if (batch->n == 0) return KEEL_OK;
    KEEL_TRY(make_room(bert, batch, scratch, &w, err));
    embed(bert, batch, &w);
    for (size_t l = 0; l < bert->config.layers; l++) layer(bert, l, batch, &w);
    for (size_t i = 0; i < batch->n; i++)
        if (!pool(&bert->config, w.x, (size_t)batch->offsets[i],
                  (size_t)(batch->offsets[i + 1] - batch->offsets[i]), out + i * hidden))
            return keel_fail(err, KEEL_E_INVALID, "encoder",
                             "text %zu: its vector is not finite: the weights are not finite, or too large",
                             i);
    return KEEL_OK;
}
