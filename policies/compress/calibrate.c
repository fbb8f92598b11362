#include "policies/compress/calibrate.h"

#include "policies/compress/sample.h"
#include "policies/transformer/bert_matrix.h"
#include "policies/transformer/input_stats.h"

static keel_matrix_fit fit_of(const keel_compress_config *config) {
    static const keel_matrix_method methods[] = {KEEL_FIT_ABSMAX, KEEL_FIT_PERCENTILE, KEEL_FIT_MSE};
    return (keel_matrix_fit){.method = methods[config->calibrate], .percentile = config->percentile};
}

/* Whether there is anything to look at, and for whom. */
static bool looks(const keel_compress_job *job) {
    return job->logged && job->config->weights != KEEL_COMPRESS_NONE &&
           fit_of(job->config).method == KEEL_FIT_MSE;
}

/* The importance of the columns of `row`, told by the row `told`. */
static keel_status take(const keel_input_stats *stats, size_t row, size_t told, keel_arena *arena,
                        keel_matrix_fit *fit, keel_err *err) {
    const keel_input_columns *columns = &stats->matrix[told];
    if (!columns->rows) return KEEL_OK;
    float *importance = keel_arena_calloc(arena, columns->cols, sizeof *importance);
    if (!importance) return keel_nomem(err, "compress");
    keel_input_mean_squares(columns, importance);
    fit[row].importance = importance;
    return KEEL_OK;
}

/* ---- decoders ---- */

static keel_status see_llama(keel_llama *llama, const keel_compress_job *job, const keel_observer *observer,
                             keel_err *err) {
    keel_arena arena = {0};
    keel_sample sample;
    keel_status status = keel_sample_llama(llama, job, &arena, &sample, err);
    llama->observer = observer;
    if (status == KEEL_OK) status = keel_sample_run(llama, &sample, job->pool, NULL, err);
    llama->observer = NULL;
    keel_arena_free(&arena);
    return status;
}

/* Which row of the table the inputs of `row` are told by. */
static size_t told_by(const keel_llama *llama, size_t row) {
    const keel_llama_config *c = &llama->config;
    if (row < KEEL_LLAMA_FIRST_LAYER || row >= keel_llama_norm(c)) return row;
    const size_t at = row - KEEL_LLAMA_FIRST_LAYER, kind = at % KEEL_LLAMA_LAYER;
    return keel_llama_row(at / KEEL_LLAMA_LAYER, keel_llama_reads(kind));
}

keel_status keel_calibrate_llama(keel_llama *llama, const keel_compress_job *job, keel_arena *arena,
                                 keel_matrix_fit *fit, keel_err *err) {
    keel_input_stats stats;
    for (size_t row = 0; row < llama->n_rows; row++) fit[row] = fit_of(job->config);
    if (!looks(job)) return KEEL_OK;
    KEEL_TRY(keel_input_stats_make(&stats, llama->n_rows, err));
    const keel_observer observer = keel_input_stats_observer(&stats);
    keel_status status = see_llama(llama, job, &observer, err);
    if (status == KEEL_OK) status = keel_input_stats_check(&stats, err);
    for (size_t row = 0; status == KEEL_OK && row < llama->n_rows; row++)
        status = take(&stats, row, told_by(llama, row), arena, fit, err);
    keel_input_stats_free(&stats);
    return status;
}

/* ---- encoders ---- */

static keel_status see_bert(keel_bert *bert, const keel_compress_job *job, const keel_observer *observer,
                            keel_err *err) {
    keel_arena arena = {0};
    keel_sample sample;
    keel_status status = keel_sample_bert(bert, job, &arena, &sample, err);
    bert->observer = observer;
    if (status == KEEL_OK) status = keel_sample_encode(bert, &sample, NULL, err);
    bert->observer = NULL;
    keel_arena_free(&arena);
    return status;
}

keel_status keel_calibrate_bert(keel_bert *bert, const keel_compress_job *job, keel_arena *arena,
                                keel_matrix_fit *fit, keel_err *err) {
    const size_t n = keel_bert_rows(bert);
    keel_input_stats stats;
    for (size_t row = 0; row < n; row++) fit[row] = fit_of(job->config);
    if (!looks(job)) return KEEL_OK;
    KEEL_TRY(keel_input_stats_make(&stats, n, err));
    const keel_observer observer = keel_input_stats_observer(&stats);
    keel_status status = see_bert(bert, job, &observer, err);
    if (status == KEEL_OK) status = keel_input_stats_check(&stats, err);
    for (size_t row = 0; status == KEEL_OK && row < n; row++)
        status = take(&stats, row, row, arena, fit, err);
    keel_input_stats_free(&stats);
    return status;
}
