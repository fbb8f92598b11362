#include "policies/compress/pruning.h"

#include <string.h>

#include "policies/transformer/input_stats.h"

static keel_status fail_memory(const keel_pruning *p) {
    return keel_nomem(p->err, "prune");
}

/* ---- importance ---- */

/* Each column's squares times a factor (NULL: 1), to the unit that it belongs to. */
static keel_status add_columns(const keel_pruning *p, const keel_matrix *matrix, const float *factor,
                               size_t wide, double *importance) {
    float *row = keel_alloc(matrix->cols * sizeof *row);
    if (!row) return fail_memory(p);
    for (size_t r = 0; r < matrix->rows; r++) {
        keel_matrix_read_row(matrix, r, row);
        for (size_t c = 0; c < matrix->cols; c++)
            importance[c / wide] += (factor ? (double)factor[c] : 1) * (double)row[c] * (double)row[c];
    }
    keel_free(row);
    return KEEL_OK;
}

keel_status keel_pruning_rows(const keel_pruning *p, const keel_matrix *matrix, size_t parts, size_t wide,
                              double *importance) {
    float *row = keel_alloc(matrix->cols * sizeof *row);
    if (!row) return fail_memory(p);
    for (size_t r = 0; r < matrix->rows; r++) {
        keel_matrix_read_row(matrix, r, row);
        for (size_t c = 0; c < matrix->cols; c++)
            importance[r % (matrix->rows / parts) / wide] += (double)row[c] * (double)row[c];
    }
    keel_free(row);
    return KEEL_OK;
}

/* By the columns of what reads them; stats: times the mean square of what these columns read. */
static keel_status add_readers(keel_pruning *p, size_t layer, int kind, const keel_input_stats *stats) {
    const size_t row = p->kind->reader(layer, kind);
    const keel_matrix reader = p->kind->matrix(p, row);
    float *mean = stats ? keel_arena_alloc(&p->arena, reader.cols * sizeof *mean) : NULL;
    if (stats && !mean) return fail_memory(p);
    if (stats) keel_input_mean_squares(&stats->matrix[row], mean);
    return add_columns(p, &reader, mean, p->wide[kind], p->model.layer[layer].units[kind].importance);
}

static keel_status by_weight(keel_pruning *p) {
    for (size_t l = 0; l < p->model.n; l++)
        for (int k = 0; k < KEEL_N_PRUNE_KINDS; k++) {
            KEEL_TRY(add_readers(p, l, k, NULL));
            KEEL_TRY(p->kind->makers(p, l, k));
        }
    return KEEL_OK;
}

static keel_status take_squares(keel_pruning *p, const keel_input_stats *stats) {
    KEEL_TRY(keel_input_stats_check(stats, p->err));
    for (size_t l = 0; l < p->model.n; l++)
        for (int k = 0; k < KEEL_N_PRUNE_KINDS; k++) KEEL_TRY(add_readers(p, l, k, stats));
    return KEEL_OK;
}

static keel_status by_activation(keel_pruning *p) {
    keel_input_stats stats;
    KEEL_TRY(keel_input_stats_make(&stats, p->n_rows, p->err));
    const keel_observer observer = keel_input_stats_observer(&stats);
    keel_status status = p->kind->look(p, &observer);
    if (status == KEEL_OK) status = take_squares(p, &stats);
    keel_input_stats_free(&stats);
    return status;
}

/* Adds the square of each unit's sum of weight times gradient. */
static keel_status add_products(keel_pruning *p, size_t layer, int kind, const float *grads) {
    const keel_prune_units *units = &p->model.layer[layer].units[kind];
    const size_t row = p->kind->reader(layer, kind);
    const keel_matrix reader = p->kind->matrix(p, row);
    const float *w = reader.data, *g = grads + keel_params_offset(&p->trained, row - p->first);
    double *sums = keel_calloc(units->n, sizeof *sums);
    if (!sums) return fail_memory(p);
    for (size_t i = 0; i < reader.rows * reader.cols; i++)
        sums[i % reader.cols / p->wide[kind]] += (double)w[i] * (double)g[i];
    for (size_t i = 0; i < units->n; i++) units->importance[i] += sums[i] * sums[i] / (double)p->sample.n;
    keel_free(sums);
    return KEEL_OK;
}

static keel_status look_at_text(keel_pruning *p, size_t text, keel_tape *tape, keel_arena *arena,
                                float *grads) {
    keel_tape_reset(tape);
    keel_arena_reset(arena);
    memset(grads, 0, p->trained.size * sizeof *grads);
    KEEL_TRY(keel_compress_go_on(p->err));
    KEEL_TRY(p->kind->text(p, text, tape, arena, grads));
    for (size_t l = 0; l < p->model.n; l++)
        for (int k = 0; k < KEEL_N_PRUNE_KINDS; k++) KEEL_TRY(add_products(p, l, k, grads));
    return KEEL_OK;
}

static keel_status look_at_texts(keel_pruning *p) {
    keel_tape *tape = NULL;
    keel_arena arena = {0};
    float *grads = keel_alloc(p->trained.size * sizeof *grads);
    keel_status status = grads ? keel_tape_open(&tape, p->err) : fail_memory(p);
    for (size_t i = 0; status == KEEL_OK && i < p->sample.n; i++)
        status = look_at_text(p, i, tape, &arena, grads);
    keel_tape_close(tape);
    keel_arena_free(&arena);
    keel_free(grads);
    return status;
}

static keel_status by_taylor(keel_pruning *p) {
    KEEL_TRY(p->kind->begin(p));
    const keel_status status = look_at_texts(p);
    p->kind->end(p);
    return status;
}

/* ---- how far off it is without some units ---- */

keel_status keel_pruning_off(keel_pruning *p, double *out) {
    float *now = keel_alloc(p->n_numbers * sizeof *now);
    if (!now) return fail_memory(p);
    const keel_status status = p->kind->run(p, now);
    *out = status == KEEL_OK ? keel_sample_distance(now, p->whole, p->n_numbers) / p->divisor : 0;
    keel_free(now);
    return status;
}

static keel_status harm_without(void *context, size_t layer, const size_t gone[KEEL_N_PRUNE_KINDS],
                                double *out, keel_err *err) {
    keel_pruning *p = context;
    (void)err;
    *out = 0;
    if (layer != SIZE_MAX) return p->kind->without(p, layer, gone, out);
    p->kind->measure(p);
    p->whole = keel_arena_alloc(&p->arena, p->n_numbers * sizeof *p->whole);
    return p->whole ? p->kind->run(p, p->whole) : fail_memory(p);
}

/* ---- all of it ---- */

static keel_status draw(keel_pruning *p) {
    keel_sample all;
    if (!keel_prune_looks(p->job->config)) return KEEL_OK;
    KEEL_TRY(p->kind->draw(p, &all));
    return keel_sample_divide(&all, p->job, &p->held_out, &p->sample, p->err);
}

static keel_status prune(keel_pruning *p) {
    static keel_status (*const importance[])(keel_pruning * p) = {by_weight, by_activation, by_taylor};
    keel_layer_kept *kept;
    size_t n;
    KEEL_TRY(draw(p));
    KEEL_TRY(p->kind->list(p));
    KEEL_TRY(importance[p->job->config->importance](p));
    KEEL_TRY(keel_prune_decide(&p->model, p->job->config, p->err));
    KEEL_TRY(keel_prune_tell(&p->model, p->job->report, p->err));
    KEEL_TRY(keel_prune_kept(&p->model, &kept, &n, p->err));
    return p->kind->slice(p, kept, n);
}

keel_status keel_pruning_run(keel_pruning *p) {
    p->model.harm = harm_without;
    p->model.context = p;
    const keel_status status = prune(p);
    keel_arena_free(&p->arena);
    return status;
}
