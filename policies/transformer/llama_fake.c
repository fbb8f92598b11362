#include "policies/transformer/llama_fake.h"

#include <string.h>

#include "policies/transformer/llama_internal.h"
#include "policies/transformer/tuning_rows.h"

/* ---- opening ---- */

/* By parameters: their formats, and where their factors are. */
static keel_status open_quant(const keel_llama *llama, keel_llama_fake *fake, keel_err *err) {
    const keel_params *params = &llama->params;
    const size_t first = llama->first_trained;
    keel_matrix_type *type = keel_arena_calloc(&fake->arena, params->count + 1, sizeof *type);
    int *factors = keel_arena_calloc(&fake->arena, params->count + 1, sizeof *factors);
    size_t next = llama->n_rows - first; /* of factors, in the order of matrices */
    if (!type || !factors) return keel_nomem(err, "decoder");
    for (size_t i = 0; i < params->count; i++) {
        const bool own = first + i < llama->n_rows,
                   matrix = own && keel__llama_has_factors(&llama->config, first + i);
        type[i] = matrix ? fake->type[first + i] : KEEL_MATRIX_F32;
        factors[i] = matrix && next < params->count ? (int)next++ : KEEL_FAKE_QUANT_NO_FACTORS;
    }
    for (size_t i = llama->n_rows - first; i < params->count; i++)
        for (size_t r = 0; r < params->table[i].cols; r++) keel_params_at(params, i)[r] = 1;
    return keel_fake_quant_open(&fake->quant, params, type, factors, err);
}

/* A matrix that is not trained, as its format holds it. */
static keel_status hold_frozen(const keel_llama *llama, keel_llama_fake *fake, size_t row, keel_err *err) {
    const keel_matrix *from = &llama->matrix[row];
    const keel_matrix_type type = fake->type[row];
    const size_t bytes = keel_matrix_row_bytes(type, from->cols);
    fake->matrix[row] = *from;
    if (!from->data || !keel_llama_is_matrix(&llama->config, row) || type == KEEL_MATRIX_F32) return KEEL_OK;
    if (from->cols % keel_matrix_multiple(type) != 0)
        return keel_fail(err, KEEL_E_UNSUPPORTED, "decoder",
                         "a width of %zu is no multiple of %zu, which this number format needs", from->cols,
                         keel_matrix_multiple(type));
    char *data = keel_arena_alloc(&fake->arena, from->rows * bytes);
    float *one = keel_alloc(from->cols * sizeof *one);
    for (size_t r = 0; data && one && r < from->rows; r++) {
        keel_matrix_read_row(from, r, one);
        keel_matrix_write_row(type, one, from->cols, data + r * bytes);
    }
    fake->matrix[row] = (keel_matrix){.type = type, .rows = from->rows, .cols = from->cols, .data = data};
    const bool made = data && one;
    keel_free(one);
    return made ? KEEL_OK : keel_nomem(err, "decoder");
}

static keel_status open_all(keel_llama *llama, keel_llama_fake *fake, const keel_matrix_type *type,
                            keel_pool *pool, keel_err *err) {
    fake->type = keel_arena_calloc(&fake->arena, llama->n_rows, sizeof *fake->type);
    fake->matrix = keel_arena_calloc(&fake->arena, llama->n_rows, sizeof *fake->matrix);
    if (!fake->type || !fake->matrix) return keel_nomem(err, "decoder");
    memcpy(fake->type, type, llama->n_rows * sizeof *type);
    for (size_t row = 0; row < llama->first_trained; row++) KEEL_TRY(hold_frozen(llama, fake, row, err));
    KEEL_TRY(open_quant(llama, fake, err));
    return keel_fake_quant_hold(&fake->quant, &llama->params, pool, err);
}

keel_status keel_llama_fake_open(keel_llama *llama, const keel_matrix_type *type, bool inputs,
                                 keel_pool *pool, keel_err *err) {
    if (!llama->params.data || llama->lora.rank || llama->n_virtual)
        return keel_fail(err, KEEL_E_UNSUPPORTED, "decoder",
                         "fake quantisation is of weights that are tuned: all, or those of upper layers");
    keel_llama_fake *fake = keel_calloc(1, sizeof *fake);
    if (!fake) return keel_nomem(err, "decoder");
    fake->inputs = inputs;
    llama->fake = fake;
    const keel_status status = open_all(llama, fake, type, pool, err);
    if (status != KEEL_OK) keel_llama_fake_close(llama);
    return status;
}

/* ---- tuning ---- */

keel_status keel_llama_fake_hold(keel_llama *llama, keel_pool *pool, keel_err *err) {
    return llama->fake ? keel_fake_quant_hold(&llama->fake->quant, &llama->params, pool, err) : KEEL_OK;
}

void keel_llama_fake_flow(const keel_llama *llama, keel_real *grads) {
    if (llama->fake) keel_fake_quant_flow(&llama->fake->quant, &llama->params, grads);
}

void keel_llama_fake_settle(keel_llama *llama) {
    if (llama->fake) keel_fake_quant_settle(&llama->fake->quant, &llama->params);
    keel_llama_fake_close(llama);
}

void keel_llama_fake_close(keel_llama *llama) {
    if (!llama->fake) return;
    keel_fake_quant_close(&llama->fake->quant);
    keel_arena_free(&llama->fake->arena);
    keel_free(llama->fake);
    llama->fake = NULL;
}
