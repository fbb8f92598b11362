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

typedef struct calibrating {
    keel_llama *llama; /* or */
    keel_bert *bert;
    const keel_compress_job *job;
    size_t n; /* rows of its table */
    keel_arena *arena;
    keel_matrix_fit *fit; /* [n] */
    keel_err *err;
} calibrating;

/* Which row of the table the inputs of `row` are told by. */
static size_t told_by(const calibrating *c, size_t row) {
    if (c->bert || row < KEEL_LLAMA_FIRST_LAYER || row >= keel_llama_norm(&c->llama->config)) return row;
    const size_t at = row - KEEL_LLAMA_FIRST_LAYER, kind = at % KEEL_LLAMA_LAYER;
    return keel_llama_row(at / KEEL_LLAMA_LAYER, keel_llama_reads(kind));
}

/* The importance of the columns of a row's matrix. */
static keel_status take(const calibrating *c, const keel_input_stats *stats, size_t row) {
    const keel_input_columns *columns = &stats->matrix[told_by(c, row)];
    if (!columns->rows) return KEEL_OK;
    float *importance = keel_arena_calloc(c->arena, columns->cols, sizeof *importance);
    if (!importance) return keel_nomem(c->err, "compress");
    keel_input_mean_squares(columns, importance);
    c->fit[row].importance = importance;
    return KEEL_OK;
}

static keel_status see_llama(const calibrating *c, const keel_observer *observer, keel_arena *arena) {
    keel_sample sample;
    KEEL_TRY(keel_sample_llama(c->llama, c->job, arena, &sample, c->err));
    c->llama->observer = observer;
    const keel_status status = keel_sample_run(c->llama, &sample, c->job->pool, NULL, c->err);
    c->llama->observer = NULL;
    return status;
}

static keel_status see_bert(const calibrating *c, const keel_observer *observer, keel_arena *arena) {
    keel_sample sample;
    KEEL_TRY(keel_sample_bert(c->bert, c->job, arena, &sample, c->err));
    c->bert->observer = observer;
    const keel_status status = keel_sample_encode(c->bert, &sample, NULL, c->err);
    c->bert->observer = NULL;
    return status;
}

static keel_status calibrate(const calibrating *c) {
    keel_input_stats stats;
    keel_arena arena = {0};
    for (size_t row = 0; row < c->n; row++) c->fit[row] = fit_of(c->job->config);
    if (!looks(c->job)) return KEEL_OK;
    KEEL_TRY(keel_input_stats_make(&stats, c->n, c->err));
    const keel_observer observer = keel_input_stats_observer(&stats);
    keel_status status = c->bert ? see_bert(c, &observer, &arena) : see_llama(c, &observer, &arena);
    if (status == KEEL_OK) status = keel_input_stats_check(&stats, c->err);
    for (size_t row = 0; status == KEEL_OK && row < c->n; row++) status = take(c, &stats, row);
    keel_input_stats_free(&stats);
    keel_arena_free(&arena);
    return status;
}

keel_status keel_calibrate_llama(keel_llama *llama, const keel_compress_job *job, keel_arena *arena,
                                 keel_matrix_fit *fit, keel_err *err) {
    return calibrate(&(calibrating){
        .llama = llama, .job = job, .n = llama->n_rows, .arena = arena, .fit = fit, .err = err});
}

keel_status keel_calibrate_bert(keel_bert *bert, const keel_compress_job *job, keel_arena *arena,
                                keel_matrix_fit *fit, keel_err *err) {
    return calibrate(&(calibrating){
        .bert = bert, .job = job, .n = keel_bert_rows(bert), .arena = arena, .fit = fit, .err = err});
}
