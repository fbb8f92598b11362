/* From tokens to vectors, without the tape. */
#include "policies/transformer/bert_internal.h"

#include <math.h>

#include "core/attention.h"
#include "core/gemm.h"
#include "core/numeric.h"

/* Where tokens lie. Some kernels of matrix products take rows by the dozen and round the first six of each
 * otherwise than the last six, and what is left over at the end otherwise again. So that a text's vector does
 * not depend on its company, their number is a multiple of twelve, and even tokens of a text are among the
 * first six, odd ones among the last: about as many of each, so that little room is lost. */
enum { DOZEN = 12, HALF = 6 };

static bool place_tokens(const keel_bert_batch *batch, keel_arena *arena, keel__bert_places *out) {
    size_t used[2] = {0, 0};
    out->row = keel_arena_alloc(arena, (size_t)batch->offsets[batch->n] * sizeof *out->row);
    for (size_t i = 0; out->row && i < batch->n; i++)
        for (int32_t t = batch->offsets[i]; t < batch->offsets[i + 1]; t++) {
            const size_t odd = (size_t)(t - batch->offsets[i]) % 2, at = used[odd]++;
            out->row[t] = (int32_t)(at / HALF * DOZEN + odd * HALF + at % HALF);
        }
    out->rows = (used[0] + HALF - 1) / HALF * DOZEN; /* there are no more odd ones than even ones */
    return out->row != NULL;
}

static keel_status check_batch(const keel_bert *bert, const keel_bert_batch *batch, size_t *longest,
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

keel_status keel__bert_place(const keel_bert *bert, const keel_bert_batch *batch, keel_arena *arena,
                             keel__bert_places *out, keel_err *err) {
    *out = (keel__bert_places){0};
    KEEL_TRY(check_batch(bert, batch, &out->longest, err));
    return place_tokens(batch, arena, out) ? KEEL_OK : keel_nomem(err, "encoder");
}

/* Room for one batch in R rows. */
typedef struct work {
    keel__bert_places places;
    keel_real *x, *wide, *more; /* [R, hidden], [R, max(3 hidden, inner)], [R, hidden] */
    keel_real *scratch;         /* of attention */
} work;

static keel_status make_room(const keel_bert *bert, const keel_bert_batch *batch, keel_arena *scratch,
                             work *out, keel_err *err) {
    const keel_bert_config *c = &bert->config;
    const size_t wide = 3 * c->hidden > c->inner ? 3 * c->hidden : c->inner;
    KEEL_TRY(keel__bert_place(bert, batch, scratch, &out->places, err));
    const size_t rows = out->places.rows,
                 room = keel_attention_room(c->heads, c->hidden / c->heads, out->places.longest);
    out->x = keel_arena_calloc(scratch, rows * c->hidden, sizeof(keel_real));
    out->wide = keel_arena_alloc(scratch, rows * wide * sizeof(keel_real));
    out->more = keel_arena_calloc(scratch, rows * c->hidden, sizeof(keel_real));
    out->scratch = keel_arena_alloc(scratch, room * sizeof(keel_real));
    return out->x && out->wide && out->more && out->scratch ? KEEL_OK : keel_nomem(err, "encoder");
}

static const keel_real *first_param(const keel_bert *bert, size_t row) {
    return keel_params_at(&bert->params, row);
}

static const keel_real *layer_param(const keel_bert *bert, size_t layer, size_t row) {
    return keel_params_at(&bert->params, keel__bert_row(layer, row));
}

static void embed(const keel_bert *bert, const keel_bert_batch *batch, work *w) {
    const size_t hidden = bert->config.hidden;
    for (size_t i = 0; i < batch->n; i++)
        for (int32_t t = batch->offsets[i]; t < batch->offsets[i + 1]; t++) {
            const size_t type = batch->type ? (size_t)batch->type[t] : 0;
            const keel_real *word = first_param(bert, KEEL_BERT_WORD) + (size_t)batch->id[t] * hidden,
                            *place = first_param(bert, KEEL_BERT_POSITION) +
                                     (size_t)(t - batch->offsets[i]) * hidden,
                            *kind = first_param(bert, KEEL_BERT_TYPE) + type * hidden;
            keel_real *to = w->x + (size_t)w->places.row[t] * hidden;
            for (size_t d = 0; d < hidden; d++) to[d] = word[d] + kind[d] + place[d];
        }
    keel_layer_norm(w->x, NULL, first_param(bert, KEEL_BERT_GAIN), first_param(bert, KEEL_BERT_BIAS),
                    bert->config.epsilon, w->places.rows, hidden, w->x);
}

/* y [R, out] = x [R, in] w [out, in]^T + bias. Small products are taken to other kernels, which depend on the
 * number of rows: where the layer is so small, it is a dozen at a time. */
static void linear(const keel_real *x, size_t rows, size_t in, size_t out, const keel_real *weight,
                   const keel_real *bias, keel_real *y) {
    enum { SMALL = 1000000 }; /* multiplications */
    const size_t most = DOZEN * in * out <= SMALL ? DOZEN : rows;
    for (size_t r = 0; r < rows; r += most)
        keel_gemm(false, true, rows - r < most ? rows - r : most, out, in, 1, x + r * in, in, weight, in, 0,
                  y + r * out, out);
    for (size_t r = 0; r < rows; r++, y += out)
        for (size_t o = 0; o < out; o++) y[o] += bias[o];
}

static void layer(const keel_bert *bert, size_t l, const keel_bert_batch *batch, work *w) {
    const keel_bert_config *c = &bert->config;
    const size_t t = w->places.rows, hidden = c->hidden;
    linear(w->x, t, hidden, 3 * hidden, layer_param(bert, l, KEEL_BERT_QKV),
           layer_param(bert, l, KEEL_BERT_QKV_BIAS), w->wide);
    keel_attention(w->wide, c->heads, hidden / c->heads, batch->offsets, w->places.row, batch->n, w->more,
                   w->scratch);
    linear(w->more, t, hidden, hidden, layer_param(bert, l, KEEL_BERT_OUT),
           layer_param(bert, l, KEEL_BERT_OUT_BIAS), w->wide);
    keel_layer_norm(w->x, w->wide, layer_param(bert, l, KEEL_BERT_GAIN_1),
                    layer_param(bert, l, KEEL_BERT_BIAS_1), c->epsilon, t, hidden, w->x);
    linear(w->x, t, hidden, c->inner, layer_param(bert, l, KEEL_BERT_UP),
           layer_param(bert, l, KEEL_BERT_UP_BIAS), w->wide);
    keel_gelu(w->wide, t * c->inner, w->wide);
    linear(w->wide, t, c->inner, hidden, layer_param(bert, l, KEEL_BERT_DOWN),
           layer_param(bert, l, KEEL_BERT_DOWN_BIAS), w->more);
    keel_layer_norm(w->x, w->more, layer_param(bert, l, KEEL_BERT_GAIN_2),
                    layer_param(bert, l, KEEL_BERT_BIAS_2), c->epsilon, t, hidden, w->x);
}

/* The vector of one text of n tokens, which are these rows of x; false if it is not finite. */
static bool pool(const keel_bert_config *c, const keel_real *x, const int32_t *row, size_t n,
                 keel_real *out) {
    double square = 0;
    const size_t counted = c->first_token ? 1 : n;
    for (size_t d = 0; d < c->hidden; d++) {
        double sum = 0;
        for (size_t t = 0; t < counted; t++) sum += (double)x[(size_t)row[t] * c->hidden + d];
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
        if (!pool(&bert->config, w.x, w.places.row + batch->offsets[i],
                  (size_t)(batch->offsets[i + 1] - batch->offsets[i]), out + i * hidden))
            return keel_fail(err, KEEL_E_INVALID, "encoder",
                             "text %zu: its vector is not finite: the weights are too large", i);
    return KEEL_OK;
}
