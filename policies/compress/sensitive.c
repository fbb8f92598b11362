#include "policies/compress/sensitive.h"

#include <math.h>
#include <string.h>

#include "core/interrupt.h"
#include "core/log.h"
#include "core/progress.h"
#include "policies/compress/quantise.h"
#include "policies/compress/sample.h"
#include "policies/transformer/bert_matrix.h"

typedef struct sensing sensing;
struct sensing {
    const keel_compress_job *job;
    const keel_matrix_fit *fit;
    keel_sample sample;
    keel_llama *llama;
    keel_bert *bert;
    /* Of a decoder ln p of each token, of an encoder the vector of each text: as they were, and now. */
    float *made[2];
    size_t n_numbers;
    /* What the model makes now, and with one layer rounded. */
    keel_status (*run)(sensing *s, float *out);
    keel_status (*run_rounded)(sensing *s, size_t layer, float *out);
    keel_arena arena;
    keel_err *err;
};

/* to [rows, cols]: the matrix, rounded; it may be where it lies. */
static keel_status round_matrix(sensing *s, const keel_matrix *from, size_t row, float *to) {
    keel_matrix rounded;
    KEEL_TRY(keel_quantise_matrix(from, keel_quantise_type(s->job->config, false, from->cols), &s->fit[row],
                                  s->job, &rounded, s->err));
    for (size_t r = 0; r < from->rows; r++) keel_matrix_read_row(&rounded, r, to + r * from->cols);
    keel_free((void *)(uintptr_t)rounded.data);
    return KEEL_OK;
}

/* ---- decoders ---- */

static keel_status round_llama_layer(sensing *s, size_t layer, float *data[KEEL_LLAMA_LAYER]) {
    for (size_t kind = 0; kind < KEEL_LLAMA_LAYER; kind++) {
        const size_t row = keel_llama_row(layer, kind);
        keel_matrix *matrix = &s->llama->matrix[row];
        if (!matrix->data || !keel_llama_is_matrix(&s->llama->config, row)) continue;
        data[kind] = keel_alloc(matrix->rows * matrix->cols * sizeof *data[kind]);
        if (!data[kind]) return keel_nomem(s->err, "compress");
        KEEL_TRY(round_matrix(s, matrix, row, data[kind]));
        *matrix = (keel_matrix){
            .type = KEEL_MATRIX_F32, .rows = matrix->rows, .cols = matrix->cols, .data = data[kind]};
    }
    return KEEL_OK;
}

static keel_status run_llama(sensing *s, float *out) {
    return keel_sample_run(s->llama, &s->sample, s->job->pool, out, s->err);
}

static keel_status run_rounded_llama(sensing *s, size_t layer, float *out) {
    keel_matrix *rows = &s->llama->matrix[keel_llama_row(layer, 0)], before[KEEL_LLAMA_LAYER];
    float *data[KEEL_LLAMA_LAYER] = {0};
    memcpy(before, rows, sizeof before);
    keel_status status = round_llama_layer(s, layer, data);
    if (status == KEEL_OK) status = run_llama(s, out);
    memcpy(rows, before, sizeof before);
    for (size_t kind = 0; kind < KEEL_LLAMA_LAYER; kind++) keel_free(data[kind]);
    return status;
}

/* ---- encoders: their parameters are rounded and put back ---- */

static keel_status round_bert_layer(sensing *s, size_t layer) {
    for (size_t kind = 0; kind < KEEL_BERT_LAYER; kind++) {
        const size_t row = KEEL_BERT_FIRST_LAYER + layer * KEEL_BERT_LAYER + kind;
        const keel_matrix matrix = keel_bert_matrix(s->bert, row);
        if (keel_bert_is_matrix(row))
            KEEL_TRY(round_matrix(s, &matrix, row, keel_params_at(&s->bert->params, row)));
    }
    return KEEL_OK;
}

static keel_status run_bert(sensing *s, float *out) {
    return keel_sample_encode(s->bert, &s->sample, out, s->err);
}

static keel_status run_rounded_bert(sensing *s, size_t layer, float *out) {
    const keel_params *params = &s->bert->params;
    const size_t first = KEEL_BERT_FIRST_LAYER + layer * KEEL_BERT_LAYER, last = first + KEEL_BERT_LAYER - 1,
                 from = keel_params_offset(params, first),
                 n = keel_params_offset(params, last) + params->table[last].rows * params->table[last].cols -
                     from;
    keel_real *before = keel_alloc(n * sizeof *before);
    if (!before) return keel_nomem(s->err, "compress");
    memcpy(before, params->data + from, n * sizeof *before);
    keel_status status = round_bert_layer(s, layer);
    if (status == KEEL_OK) status = run_bert(s, out);
    memcpy(params->data + from, before, n * sizeof *before);
    keel_free(before);
    return status;
}

/* ---- which layers ---- */

static bool is_asked(const keel_compress_job *job) {
    const int weights = job->config->weights;
    const bool asked = job->config->sensitive_share > 0,
               fours = weights == KEEL_COMPRESS_Q4_0 || weights == KEEL_COMPRESS_Q4_G32;
    if (asked && !fours)
        keel_log(KEEL_LOG_INFO, "note: sensitive_share changes nothing: no layer has 4 bits");
    return asked && fours;
}

/* The first of them that suffers most and is not kept yet. */
static size_t worst(const double *harm, const bool *keep, size_t layers) {
    size_t found = layers;
    for (size_t i = 0; i < layers; i++)
        if (!keep[i] && (found == layers || harm[i] > harm[found])) found = i;
    return found;
}

static keel_status choose(sensing *s, size_t layers, bool *keep) {
    const size_t nearest = (size_t)round(s->job->config->sensitive_share * (double)layers),
                 n = nearest ? nearest : 1;
    double *harm = keel_arena_calloc(&s->arena, layers, sizeof *harm);
    if (!harm) return keel_nomem(s->err, "compress");
    for (int i = 0; i < 2; i++)
        if (!(s->made[i] = keel_arena_calloc(&s->arena, s->n_numbers, sizeof *s->made[i])))
            return keel_nomem(s->err, "compress");
    KEEL_TRY(s->run(s, s->made[0]));
    for (size_t i = 0; i < layers; i++) {
        if (keel_interrupted())
            return keel_fail(s->err, KEEL_E_INTERRUPTED, "compress", "stopped at layer %zu", i);
        KEEL_TRY(s->run_rounded(s, i, s->made[1]));
        harm[i] = keel_sample_distance(s->made[0], s->made[1], s->n_numbers);
    }
    for (size_t i = 0; i < n && i < layers; i++) keep[worst(harm, keep, layers)] = true;
    keel_compress_tell(s->job->report, "layers_at_8_bits", (double)n);
    return KEEL_OK;
}

keel_status keel_sensitive_llama(keel_llama *llama, const keel_matrix_fit *fit, const keel_compress_job *job,
                                 bool *keep, keel_err *err) {
    sensing s = {.job = job,
                 .fit = fit,
                 .llama = llama,
                 .run = run_llama,
                 .run_rounded = run_rounded_llama,
                 .err = err};
    memset(keep, 0, llama->config.layers * sizeof *keep);
    if (!is_asked(job)) return KEEL_OK;
    keel_status status = keel_sample_llama(llama, job, &s.arena, &s.sample, err);
    if (status == KEEL_OK) {
        s.sample = keel_sample_first(&s.sample, (size_t)job->config->sensitivity_tokens);
        s.n_numbers = (size_t)(s.sample.offsets[s.sample.n] - s.sample.offsets[0]);
        status = choose(&s, llama->config.layers, keep);
    }
    keel_arena_free(&s.arena);
    return status;
}

keel_status keel_sensitive_bert(keel_bert *bert, const keel_matrix_fit *fit, const keel_compress_job *job,
                                bool *keep, keel_err *err) {
    sensing s = {
        .job = job, .fit = fit, .bert = bert, .run = run_bert, .run_rounded = run_rounded_bert, .err = err};
    memset(keep, 0, bert->config.layers * sizeof *keep);
    if (!is_asked(job)) return KEEL_OK;
    if (bert->compressed)
        return keel_fail(err, KEEL_E_UNSUPPORTED, "sensitive_share",
                         "wants an encoder in f32: this one is quantised already");
    keel_status status = keel_sample_bert(bert, job, &s.arena, &s.sample, err);
    if (status == KEEL_OK) {
        s.sample = keel_sample_first(&s.sample, (size_t)job->config->sensitivity_tokens);
        s.n_numbers = s.sample.n * bert->config.hidden;
        status = choose(&s, bert->config.layers, keep);
    }
    keel_arena_free(&s.arena);
    return status;
}
