#include "policies/compress/quantise.h"

#include "core/numeric.h"
#include "policies/compress/calibrate.h"
#include "policies/compress/sensitive.h"
#include "policies/transformer/bert_matrix.h"
#include "policies/transformer/llama_internal.h"

/* A width that the format does not take falls back to int8, which takes any. */
keel_matrix_type keel_quantise_type(const keel_compress_config *config, bool outer, size_t cols) {
    static const keel_matrix_type inner_types[KEEL_N_COMPRESS_WEIGHTS] = {
        [KEEL_COMPRESS_INT8] = KEEL_MATRIX_I8,
        [KEEL_COMPRESS_Q8_0] = KEEL_MATRIX_Q8_0,
        [KEEL_COMPRESS_Q4_0] = KEEL_MATRIX_Q4_0,
        [KEEL_COMPRESS_Q4_G32] = KEEL_MATRIX_Q4_G32,
    };
    keel_matrix_type type = inner_types[config->weights];
    if (outer && type == KEEL_MATRIX_Q4_0) type = KEEL_MATRIX_Q8_0;
    if (outer && type == KEEL_MATRIX_Q4_G32) type = KEEL_MATRIX_I8;
    return cols % keel_matrix_multiple(type) ? KEEL_MATRIX_I8 : type;
}

/* ---- one matrix ---- */

typedef struct quantising {
    const keel_matrix *from;
    const keel_matrix_fit *fit;
    keel_matrix to;
    char *data;
} quantising;

enum { SHARD_ROWS = 64 };

static keel_status fail_numbers(keel_matrix_type type, keel_err *err) {
    return keel_fail(err, KEEL_E_INVALID, "compress",
                     "a matrix holds numbers that are not finite, or larger than %s has scales for",
                     keel_matrix_type_name(type));
}

static keel_status quantise_rows(void *context, size_t shard, size_t thread, keel_err *err) {
    const quantising *q = context;
    const size_t bytes = keel_matrix_row_bytes(q->to.type, q->to.cols), first = shard * SHARD_ROWS,
                 end = first + SHARD_ROWS < q->to.rows ? first + SHARD_ROWS : q->to.rows;
    float *row = keel_alloc(q->to.cols * sizeof *row);
    keel_status status = row ? keel_compress_go_on(err) : keel_nomem(err, "compress");
    (void)thread;
    for (size_t r = first; status == KEEL_OK && r < end; r++) {
        keel_matrix_read_row(q->from, r, row);
        if (!keel_all_finite(row, q->to.cols)) status = fail_numbers(q->to.type, err);
        if (status == KEEL_OK)
            status = keel_matrix_fit_row(q->to.type, row, q->to.cols, q->fit, q->data + r * bytes, err);
        if (status == KEEL_OK && !keel_matrix_row_is_sound(q->to.type, q->data + r * bytes, q->to.cols))
            status = fail_numbers(q->to.type, err);
    }
    keel_free(row);
    return status;
}

keel_status keel_quantise_matrix(const keel_matrix *from, keel_matrix_type type, const keel_matrix_fit *fit,
                                 const keel_compress_job *job, keel_matrix *out, keel_err *err) {
    quantising q = {.from = from,
                    .fit = fit,
                    .to = {.type = type, .rows = from->rows, .cols = from->cols, .inputs = from->inputs},
                    .data = keel_alloc(from->rows * keel_matrix_row_bytes(type, from->cols))};
    if (!q.data) return keel_nomem(err, "compress");
    if (from->cols > KEEL_MATRIX_MOST_COLS) {
        keel_free(q.data);
        return keel_fail(err, KEEL_E_UNSUPPORTED, "compress",
                         "a matrix of %zu columns: at most %d are quantised", from->cols,
                         KEEL_MATRIX_MOST_COLS);
    }
    const keel_status status =
        keel_compress_share(job, (from->rows + SHARD_ROWS - 1) / SHARD_ROWS, quantise_rows, &q, err);
    q.to.data = q.data;
    q.to.inputs = job->config->activations ? KEEL_INPUTS_F32 : KEEL_INPUTS_INT8;
    *out = q.to;
    if (status != KEEL_OK) keel_free(q.data);
    return status;
}

/* ---- decoders ---- */

/* keep [layers]: which keep 8 bits. */
static keel_status quantise_all(keel_llama *llama, const keel_matrix_fit *fit, const bool *keep,
                                const keel_compress_job *job, keel_err *err) {
    const keel_llama_config *c = &llama->config;
    for (size_t row = 0; row < llama->n_rows; row++) {
        const keel_matrix *from = &llama->matrix[row];
        const bool outer = row == KEEL_LLAMA_EMBED || row >= keel_llama_norm(c) ||
                           keep[(row - KEEL_LLAMA_FIRST_LAYER) / KEEL_LLAMA_LAYER];
        keel_matrix made;
        if (!from->data || !keel_llama_is_matrix(c, row)) continue;
        KEEL_TRY(keel_quantise_matrix(from, keel_quantise_type(job->config, outer, from->cols), &fit[row],
                                      job, &made, err));
        KEEL_TRY(keel__llama_replace(llama, row, made, err));
    }
    return KEEL_OK;
}

keel_status keel_quantise_llama(keel_llama *llama, const keel_compress_job *job, keel_err *err) {
    keel_arena arena = {0};
    if (job->config->weights == KEEL_COMPRESS_NONE) return KEEL_OK;
    keel_matrix_fit *fit = keel_arena_calloc(&arena, llama->n_rows, sizeof *fit);
    bool *keep = keel_arena_calloc(&arena, llama->config.layers, sizeof *keep);
    keel_status status =
        fit && keep ? keel_calibrate_llama(llama, job, &arena, fit, err) : keel_nomem(err, "compress");
    if (status == KEEL_OK) status = keel_sensitive_llama(llama, fit, job, keep, err);
    if (status == KEEL_OK) status = quantise_all(llama, fit, keep, job, err);
    keel_arena_free(&arena);
    return status;
}

/* ---- encoders ---- */

static keel_bert_form form_of(const keel_bert *bert, size_t row, const keel_matrix_fit *fit, const bool *keep,
                              const keel_compress_job *job) {
    const bool outer = row < KEEL_BERT_FIRST_LAYER || keep[(row - KEEL_BERT_FIRST_LAYER) / KEEL_BERT_LAYER];
    return (keel_bert_form){.type = keel_quantise_type(job->config, outer, keel_bert_matrix(bert, row).cols),
                            .inputs = job->config->activations ? KEEL_INPUTS_F32 : KEEL_INPUTS_INT8,
                            .fit = *fit};
}

keel_status keel_quantise_bert(keel_bert *bert, const keel_compress_job *job, keel_err *err) {
    const size_t n = keel_bert_rows(bert);
    keel_arena arena = {0};
    if (job->config->weights == KEEL_COMPRESS_NONE) return KEEL_OK;
    keel_matrix_fit *fit = keel_arena_calloc(&arena, n, sizeof *fit);
    keel_bert_form *form = keel_arena_calloc(&arena, n, sizeof *form);
    bool *keep = keel_arena_calloc(&arena, bert->config.layers + 1, sizeof *keep);
    keel_status status =
        fit && form && keep ? keel_calibrate_bert(bert, job, &arena, fit, err) : keel_nomem(err, "compress");
    if (status == KEEL_OK) status = keel_sensitive_bert(bert, fit, job, keep, err);
    for (size_t row = 0; status == KEEL_OK && row < n; row++)
        form[row] = form_of(bert, row, &fit[row], keep, job);
    if (status == KEEL_OK) status = keel_bert_convert(bert, form, job->pool, err);
    keel_arena_free(&arena);
    return status;
}
