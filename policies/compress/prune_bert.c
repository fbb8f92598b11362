#include "policies/compress/prune_bert.h"

#include <string.h>

#include "policies/compress/prune.h"
#include "policies/compress/sample.h"
#include "policies/transformer/bert_internal.h"
#include "policies/transformer/bert_matrix.h"
#include "policies/transformer/bert_slice.h"
#include "policies/transformer/bert_tape.h"
#include "policies/transformer/input_stats.h"

typedef struct pruning {
    keel_bert *bert;
    const keel_compress_job *job;
    keel_prune_model model;
    keel_sample held_out, sample; /* by what losses are measured; importance */
    float *whole;                 /* [held_out.n, hidden] vectors of the whole encoder */
    keel_arena arena;
    keel_err *err;
} pruning;

/* The matrix that reads units of a kind, each `wide` columns. */
static size_t reader_of(int kind) {
    return kind == KEEL_PRUNE_CHANNEL ? KEEL_BERT_DOWN : KEEL_BERT_OUT;
}

static size_t wide_of(const keel_bert *bert, int kind) {
    return kind == KEEL_PRUNE_CHANNEL ? 1 : keel_bert_head_dim(&bert->config);
}

static keel_matrix matrix_of(const pruning *p, size_t layer, size_t row) {
    return keel_bert_matrix(p->bert, keel__bert_row(layer, row));
}

/* ---- units ---- */

static keel_status list_units(pruning *p) {
    const keel_bert_config *c = &p->bert->config;
    const double hidden = (double)c->hidden, dim = (double)keel_bert_head_dim(c), channel = 2 * hidden + 1,
                 head = dim * (4 * hidden + 3);
    KEEL_TRY(keel_prune_make(&p->model, c->layers, &p->arena, p->err));
    for (size_t l = 0; l < c->layers; l++) {
        const size_t channels = keel_bert_inner(c, l), heads = keel_bert_heads(c, l);
        KEEL_TRY(keel_prune_set_units(&p->model, l, KEEL_PRUNE_CHANNEL, channels, KEEL_PRUNE_BLOCK, channel,
                                      p->err));
        KEEL_TRY(keel_prune_set_units(&p->model, l, KEEL_PRUNE_HEAD, heads, 1, head, p->err));
        p->model.layer[l].rest = 6 * hidden; /* two norms, two biases */
        p->model.parameters += (double)channels * channel + (double)heads * head + 6 * hidden;
    }
    return KEEL_OK;
}

/* ---- importance ---- */

/* Each column's squares times a factor (NULL: 1), to the unit that it belongs to. */
static keel_status add_columns(const pruning *p, const keel_matrix *matrix, const float *factor, size_t wide,
                               double *importance) {
    float *row = keel_alloc(matrix->cols * sizeof *row);
    if (!row) return keel_nomem(p->err, "prune");
    for (size_t r = 0; r < matrix->rows; r++) {
        keel_matrix_read_row(matrix, r, row);
        for (size_t c = 0; c < matrix->cols; c++)
            importance[c / wide] += (factor ? (double)factor[c] : 1) * (double)row[c] * (double)row[c];
    }
    keel_free(row);
    return KEEL_OK;
}

/* The same by rows, of each of `parts` equal parts. */
static keel_status add_rows(const pruning *p, const keel_matrix *matrix, size_t parts, size_t wide,
                            double *importance) {
    float *row = keel_alloc(matrix->cols * sizeof *row);
    if (!row) return keel_nomem(p->err, "prune");
    for (size_t r = 0; r < matrix->rows; r++) {
        keel_matrix_read_row(matrix, r, row);
        for (size_t c = 0; c < matrix->cols; c++)
            importance[r % (matrix->rows / parts) / wide] += (double)row[c] * (double)row[c];
    }
    keel_free(row);
    return KEEL_OK;
}

static keel_status by_weight(pruning *p) {
    for (size_t l = 0; l < p->model.n; l++)
        for (int k = 0; k < KEEL_N_PRUNE_KINDS; k++) {
            double *importance = p->model.layer[l].units[k].importance;
            const size_t wide = wide_of(p->bert, k);
            const keel_matrix reader = matrix_of(p, l, reader_of(k)),
                              maker = matrix_of(p, l, k == KEEL_PRUNE_CHANNEL ? KEEL_BERT_UP : KEEL_BERT_QKV);
            KEEL_TRY(add_columns(p, &reader, NULL, wide, importance));
            KEEL_TRY(add_rows(p, &maker, k == KEEL_PRUNE_CHANNEL ? 1 : 3, wide, importance));
        }
    return KEEL_OK;
}

/* Texts at .. at + n - 1 as a batch of their own. */
static keel_bert_batch batch_of(const keel_sample *sample, size_t at, size_t n, int32_t *offsets) {
    const int32_t from = sample->offsets[at];
    for (size_t i = 0; i <= n; i++) offsets[i] = sample->offsets[at + i] - from;
    return (keel_bert_batch){sample->id + from, sample->type + from, offsets, n};
}

/* out [sample->n, hidden], or NULL */
static keel_status encode(const pruning *p, const keel_sample *sample, float *out) {
    enum { AT_ONCE = 16 };
    const size_t hidden = p->bert->config.hidden;
    keel_arena scratch = {0};
    int32_t offsets[AT_ONCE + 1];
    keel_status status = KEEL_OK;
    for (size_t at = 0, n; status == KEEL_OK && at < sample->n; at += n) {
        keel_arena_reset(&scratch);
        n = sample->n - at < AT_ONCE ? sample->n - at : AT_ONCE;
        const keel_bert_batch batch = batch_of(sample, at, n, offsets);
        float *to = out ? out + at * hidden : keel_arena_alloc(&scratch, n * hidden * sizeof *to);
        status = to ? keel_compress_go_on(p->err) : keel_nomem(p->err, "prune");
        if (status == KEEL_OK) status = keel_bert_encode(p->bert, &batch, &scratch, to, p->err);
    }
    keel_arena_free(&scratch);
    return status;
}

static keel_status take_squares(pruning *p, const keel_input_stats *stats) {
    for (size_t l = 0; l < p->model.n; l++)
        for (int k = 0; k < KEEL_N_PRUNE_KINDS; k++) {
            const keel_input_columns *columns = &stats->matrix[keel__bert_row(l, reader_of(k))];
            const keel_matrix reader = matrix_of(p, l, reader_of(k));
            float *mean = keel_arena_alloc(&p->arena, columns->cols * sizeof *mean);
            if (!mean) return keel_nomem(p->err, "prune");
            keel_input_mean_squares(columns, mean);
            KEEL_TRY(
                add_columns(p, &reader, mean, wide_of(p->bert, k), p->model.layer[l].units[k].importance));
        }
    return KEEL_OK;
}

static keel_status by_activation(pruning *p) {
    keel_input_stats stats;
    KEEL_TRY(keel_input_stats_make(&stats, keel_bert_rows(p->bert), p->err));
    const keel_observer observer = keel_input_stats_observer(&stats);
    p->bert->observer = &observer;
    keel_status status = encode(p, &p->sample, NULL);
    p->bert->observer = NULL;
    if (status == KEEL_OK) status = keel_input_stats_check(&stats, p->err);
    if (status == KEEL_OK) status = take_squares(p, &stats);
    keel_input_stats_free(&stats);
    return status;
}

/* Adds the square of each unit's sum of weight times gradient. */
static keel_status add_products(pruning *p, const keel_bert_training *training) {
    for (size_t l = 0; l < p->model.n; l++)
        for (int k = 0; k < KEEL_N_PRUNE_KINDS; k++) {
            const size_t row = keel__bert_row(l, reader_of(k)), wide = wide_of(p->bert, k);
            const keel_prune_units *units = &p->model.layer[l].units[k];
            const keel_matrix matrix = keel_bert_matrix(p->bert, row);
            const float *w = matrix.data,
                        *g = training->grads + keel_params_offset(&training->trained, row - training->first);
            double *sums = keel_calloc(units->n, sizeof *sums);
            if (!sums) return keel_nomem(p->err, "prune");
            for (size_t i = 0; i < matrix.rows * matrix.cols; i++)
                sums[i % matrix.cols / wide] += (double)w[i] * (double)g[i];
            for (size_t i = 0; i < units->n; i++)
                units->importance[i] += sums[i] * sums[i] / (double)p->sample.n;
            keel_free(sums);
        }
    return KEEL_OK;
}

/* The gradient of one text's vector in a random direction. */
static keel_status run_text(const pruning *p, size_t text, keel_rng *rng, const keel_bert_training *training,
                            keel_tape *tape, keel_arena *arena) {
    const size_t hidden = p->bert->config.hidden;
    int32_t *offsets = keel_arena_alloc(arena, 2 * sizeof *offsets);
    float *direction = keel_arena_alloc(arena, hidden * sizeof *direction);
    if (!offsets || !direction) return keel_nomem(p->err, "prune");
    for (size_t i = 0; i < hidden; i++) direction[i] = (float)keel_rng_normal(rng);
    const keel_bert_batch batch = batch_of(&p->sample, text, 1, offsets);
    memset(training->grads, 0, training->trained.size * sizeof *training->grads);
    keel_tensor *vector = keel_bert_on_tape(tape, p->bert, training, &batch, arena, p->err);
    if (!vector) return keel_tape_check(tape, vector, p->err);
    if (p->bert->config.normalise) vector = keel_op_unit_rows(tape, vector);
    keel_tensor *sum =
        keel_op_sum(tape, keel_op_mul(tape, vector, keel_tape_input(tape, direction, 1, hidden)), 1);
    return keel_tape_backward(tape, sum, p->err);
}

static keel_status by_taylor(pruning *p) {
    KEEL_TRY(keel_bert_widen(p->bert, p->err));
    keel_bert_training training = {.trained = keel_params_from(&p->bert->params, KEEL_BERT_FIRST_LAYER),
                                   .first = KEEL_BERT_FIRST_LAYER};
    keel_rng rng = keel_rng_named((uint64_t)p->job->config->seed, "prune", 0);
    keel_tape *tape = NULL;
    keel_arena arena = {0};
    training.grads = keel_alloc(training.trained.size * sizeof *training.grads);
    keel_status status = training.grads ? keel_tape_open(&tape, p->err) : keel_nomem(p->err, "prune");
    for (size_t i = 0; status == KEEL_OK && i < p->sample.n; i++) {
        keel_tape_reset(tape);
        keel_arena_reset(&arena);
        status = keel_compress_go_on(p->err);
        if (status == KEEL_OK) status = run_text(p, i, &rng, &training, tape, &arena);
        if (status == KEEL_OK) status = add_products(p, &training);
    }
    keel_tape_close(tape);
    keel_arena_free(&arena);
    keel_free(training.grads);
    return status;
}

/* ---- how far off it is without some units ---- */

static keel_status mean_distance(const pruning *p, double *out) {
    const size_t size = p->held_out.n * p->bert->config.hidden;
    float *vectors = keel_alloc(size * sizeof *vectors);
    if (!vectors) return keel_nomem(p->err, "prune");
    const keel_status status = encode(p, &p->held_out, vectors);
    double sum = 0;
    for (size_t i = 0; status == KEEL_OK && i < size; i++) {
        const double off = (double)vectors[i] - (double)p->whole[i];
        sum += off * off;
    }
    keel_free(vectors);
    *out = sum / (double)p->held_out.n;
    return status;
}

/* Zeros in the columns of the least important n units; of all of them, in the bias too. to: what was there.
 */
static keel_status hide(const pruning *p, size_t layer, int kind, size_t n, float **before) {
    const keel_prune_units *units = &p->model.layer[layer].units[kind];
    const size_t wide = wide_of(p->bert, kind), row = keel__bert_row(layer, reader_of(kind)),
                 hidden = p->bert->config.hidden;
    const keel_matrix matrix = keel_bert_matrix(p->bert, row);
    const size_t size = matrix.rows * matrix.cols;
    keel_real *data = keel_params_at(&p->bert->params, row),
              *bias = keel_params_at(&p->bert->params, row + 1);
    *before = keel_alloc((size + hidden) * sizeof **before);
    if (!*before) return keel_nomem(p->err, "prune");
    memcpy(*before, data, size * sizeof *data);
    memcpy(*before + size, bias, hidden * sizeof *bias);
    for (size_t r = 0; r < matrix.rows; r++)
        for (size_t i = 0; i < n; i++)
            memset(data + r * matrix.cols + units->order[i] * wide, 0, wide * sizeof *data);
    if (n == units->n) memset(bias, 0, hidden * sizeof *bias);
    return KEEL_OK;
}

static void show(const pruning *p, size_t layer, int kind, float *before) {
    const size_t row = keel__bert_row(layer, reader_of(kind));
    const keel_matrix matrix = keel_bert_matrix(p->bert, row);
    const size_t size = matrix.rows * matrix.cols;
    if (!before) return;
    memcpy(keel_params_at(&p->bert->params, row), before, size * sizeof *before);
    memcpy(keel_params_at(&p->bert->params, row + 1), before + size, p->bert->config.hidden * sizeof *before);
    keel_free(before);
}

static keel_status harm_without(void *context, size_t layer, const size_t gone[KEEL_N_PRUNE_KINDS],
                                double *out, keel_err *err) {
    pruning *p = context;
    float *before[KEEL_N_PRUNE_KINDS] = {0};
    keel_status status = KEEL_OK;
    if (layer == SIZE_MAX) {
        p->whole = keel_arena_alloc(&p->arena, p->held_out.n * p->bert->config.hidden * sizeof *p->whole);
        *out = 0;
        return p->whole ? encode(p, &p->held_out, p->whole) : keel_nomem(err, "prune");
    }
    for (int k = 0; status == KEEL_OK && k < KEEL_N_PRUNE_KINDS; k++)
        if (gone[k]) status = hide(p, layer, k, gone[k], &before[k]);
    if (status == KEEL_OK) status = mean_distance(p, out);
    for (int k = 0; k < KEEL_N_PRUNE_KINDS; k++) show(p, layer, k, before[k]);
    return status;
}

/* ---- all of it ---- */

static keel_status cut(pruning *p) {
    keel_bert_kept *kept = keel_arena_calloc(&p->arena, p->model.n, sizeof *kept);
    size_t n = 0;
    if (!kept) return keel_nomem(p->err, "prune");
    for (size_t l = 0; l < p->model.n; l++) {
        uint32_t *heads, *channels;
        if (p->model.layer[l].gone) continue;
        kept[n].layer = l;
        KEEL_TRY(keel_prune_kept(&p->model, l, KEEL_PRUNE_HEAD, &heads, &kept[n].n_heads, p->err));
        KEEL_TRY(keel_prune_kept(&p->model, l, KEEL_PRUNE_CHANNEL, &channels, &kept[n].n_inner, p->err));
        kept[n].head = heads;
        kept[n++].inner = channels;
    }
    return keel_bert_slice(p->bert, kept, n, p->err);
}

static keel_status draw(pruning *p) {
    keel_sample all;
    if (!keel_prune_looks(p->job->config)) return KEEL_OK;
    KEEL_TRY(keel_sample_bert(p->bert, p->job, &p->arena, &all, p->err));
    return keel_sample_divide(&all, p->job, &p->held_out, &p->sample, p->err);
}

static keel_status prune(pruning *p) {
    static keel_status (*const importance[])(pruning * p) = {by_weight, by_activation, by_taylor};
    KEEL_TRY(keel_bert_widen(p->bert, p->err));
    KEEL_TRY(draw(p));
    KEEL_TRY(list_units(p));
    KEEL_TRY(importance[p->job->config->importance](p));
    KEEL_TRY(keel_prune_decide(&p->model, p->job->config, p->err));
    KEEL_TRY(keel_prune_tell(&p->model, p->job->report, p->err));
    return cut(p);
}

keel_status keel_prune_bert(keel_bert *bert, const keel_compress_job *job, keel_err *err) {
    pruning p = {.bert = bert, .job = job, .err = err, .model = {.harm = harm_without}};
    if (job->config->ratio == 0) return KEEL_OK;
    if (bert->config.layers == 0)
        return keel_fail(err, KEEL_E_UNSUPPORTED, "ratio", "an encoder without layers has nothing to prune");
    KEEL_TRY(keel_bert_widen(bert, err));
    p.model.context = &p;
    const keel_status status = prune(&p);
    keel_arena_free(&p.arena);
    return status;
}
