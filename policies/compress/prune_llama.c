#include "policies/compress/prune_llama.h"

#include <math.h>
#include <string.h>

#include "policies/compress/prune.h"
#include "policies/compress/sample.h"
#include "policies/transformer/input_stats.h"
#include "policies/transformer/llama_slice.h"
#include "policies/transformer/llama_tape.h"

typedef struct pruning {
    keel_llama *llama;
    const keel_compress_job *job;
    keel_prune_model model;
    keel_sample held_out, sample; /* by what losses are measured; importance */
    float *whole;                 /* ln p of the held-out tokens by the whole decoder */
    keel_arena arena;
    keel_err *err;
} pruning;

/* The matrix that reads units of a kind, each `wide` columns. */
static size_t reader_of(int kind) {
    return kind == KEEL_PRUNE_CHANNEL ? KEEL_LLAMA_DOWN : KEEL_LLAMA_O;
}

static size_t wide_of(const keel_llama_config *c, int kind) {
    return kind == KEEL_PRUNE_CHANNEL ? 1 : c->heads / c->kv_heads * c->head_dim;
}

/* ---- units ---- */

static double size_of(const keel_llama *llama, size_t row) {
    const keel_matrix *matrix = &llama->matrix[row];
    return matrix->data ? (double)(matrix->rows * matrix->cols) : 0;
}

static keel_status list_units(pruning *p) {
    const keel_llama_config *c = &p->llama->config;
    const size_t group = c->heads / c->kv_heads;
    const double channel = 3 * (double)c->hidden + (c->mlp_bias ? 2 : 0),
                 head = (double)c->head_dim * (2 * (double)(group + 1) * (double)c->hidden +
                                               (c->qkv_bias ? (double)(group + 2) : 0));
    KEEL_TRY(keel_prune_make(&p->model, c->layers, &p->arena, p->err));
    p->model.parameters = size_of(p->llama, keel_llama_norm(c));
    for (size_t l = 0; l < c->layers; l++) {
        const size_t channels = keel_llama_inner(c, l), heads = keel_llama_kv_heads(c, l);
        double all = 0;
        for (size_t row = 0; row < KEEL_LLAMA_LAYER; row++) all += size_of(p->llama, keel_llama_row(l, row));
        KEEL_TRY(keel_prune_set_units(&p->model, l, KEEL_PRUNE_CHANNEL, channels, KEEL_PRUNE_BLOCK, channel,
                                      p->err));
        KEEL_TRY(keel_prune_set_units(&p->model, l, KEEL_PRUNE_HEAD, heads, 1, head, p->err));
        p->model.layer[l].rest = all - (double)channels * channel - (double)heads * head;
        p->model.parameters += all;
    }
    return KEEL_OK;
}

/* ---- importance ---- */

/* sum[c] += factor[c] (NULL: 1) times the squares of column c. */
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

static keel_status add_rows(const pruning *p, const keel_matrix *matrix, size_t wide, double *importance) {
    float *row = keel_alloc(matrix->cols * sizeof *row);
    if (!row) return keel_nomem(p->err, "prune");
    for (size_t r = 0; r < matrix->rows; r++) {
        keel_matrix_read_row(matrix, r, row);
        for (size_t c = 0; c < matrix->cols; c++) importance[r / wide] += (double)row[c] * (double)row[c];
    }
    keel_free(row);
    return KEEL_OK;
}

static keel_status by_weight(pruning *p) {
    const keel_llama_config *c = &p->llama->config;
    static const size_t rows[KEEL_N_PRUNE_KINDS][3] = {
        [KEEL_PRUNE_CHANNEL] = {KEEL_LLAMA_GATE, KEEL_LLAMA_UP, 0},
        [KEEL_PRUNE_HEAD] = {KEEL_LLAMA_Q, KEEL_LLAMA_K, KEEL_LLAMA_V}};
    for (size_t l = 0; l < p->model.n; l++)
        for (int k = 0; k < KEEL_N_PRUNE_KINDS; k++) {
            const keel_matrix *layer = &p->llama->matrix[keel_llama_row(l, 0)];
            double *importance = p->model.layer[l].units[k].importance;
            KEEL_TRY(add_columns(p, &layer[reader_of(k)], NULL, wide_of(c, k), importance));
            for (size_t i = 0; i < 3 && rows[k][i]; i++)
                KEEL_TRY(add_rows(p, &layer[rows[k][i]],
                                  rows[k][i] == KEEL_LLAMA_K || rows[k][i] == KEEL_LLAMA_V ? c->head_dim
                                                                                           : wide_of(c, k),
                                  importance));
        }
    return KEEL_OK;
}

static keel_status take_squares(pruning *p, const keel_input_stats *stats) {
    for (size_t l = 0; l < p->model.n; l++)
        for (int k = 0; k < KEEL_N_PRUNE_KINDS; k++) {
            const size_t row = keel_llama_row(l, reader_of(k));
            const keel_input_columns *columns = &stats->matrix[row];
            float *mean = keel_arena_alloc(&p->arena, columns->cols * sizeof *mean);
            if (!mean) return keel_nomem(p->err, "prune");
            keel_input_mean_squares(columns, mean);
            KEEL_TRY(add_columns(p, &p->llama->matrix[row], mean, wide_of(&p->llama->config, k),
                                 p->model.layer[l].units[k].importance));
        }
    return KEEL_OK;
}

static keel_status by_activation(pruning *p) {
    keel_input_stats stats;
    KEEL_TRY(keel_input_stats_make(&stats, p->llama->n_rows, p->err));
    const keel_observer observer = keel_input_stats_observer(&stats);
    p->llama->observer = &observer;
    keel_status status = keel_sample_run(p->llama, &p->sample, p->job->pool, NULL, p->err);
    p->llama->observer = NULL;
    if (status == KEEL_OK) status = keel_input_stats_check(&stats, p->err);
    if (status == KEEL_OK) status = take_squares(p, &stats);
    keel_input_stats_free(&stats);
    return status;
}

/* Adds the square of each unit's sum of weight times gradient. */
static void add_products(pruning *p, const float *grads, double *sums) {
    const keel_llama *llama = p->llama;
    for (size_t l = 0; l < p->model.n; l++)
        for (int k = 0; k < KEEL_N_PRUNE_KINDS; k++) {
            const size_t row = keel_llama_row(l, reader_of(k)), wide = wide_of(&llama->config, k);
            const keel_prune_units *units = &p->model.layer[l].units[k];
            const keel_matrix *matrix = &llama->matrix[row];
            const float *w = matrix->data,
                        *g = grads + keel_params_offset(&llama->params, row - llama->first_trained);
            memset(sums, 0, units->n * sizeof *sums);
            for (size_t i = 0; i < matrix->rows * matrix->cols; i++)
                sums[i % matrix->cols / wide] += (double)w[i] * (double)g[i];
            for (size_t i = 0; i < units->n; i++)
                units->importance[i] += sums[i] * sums[i] / (double)p->sample.n;
        }
}

/* The gradient of one text's loss. */
static keel_status run_text(const pruning *p, size_t text, keel_tape *tape, keel_arena *arena, float *grads) {
    const int32_t from = p->sample.offsets[text], offsets[] = {0, p->sample.offsets[text + 1] - from};
    float *weight = keel_arena_alloc(arena, (size_t)offsets[1] * sizeof *weight);
    if (!weight) return keel_nomem(p->err, "prune");
    for (int32_t t = 0; t < offsets[1]; t++) weight[t] = 1;
    const keel_llama_batch batch = {p->sample.id + from, offsets, 1, weight};
    const keel_llama_training training = {.grads = grads, .keep = KEEL_KEEP_NOTHING};
    const keel_llama_loss loss = {.divisor = 1};
    memset(grads, 0, p->llama->params.size * sizeof *grads);
    keel_tensor *sum = keel_llama_on_tape(tape, p->llama, &training, &batch, &loss, arena, p->err);
    return sum ? keel_tape_backward(tape, sum, p->err) : keel_tape_check(tape, sum, p->err);
}

static keel_status run_texts(pruning *p) {
    size_t widest = 0;
    keel_tape *tape = NULL;
    keel_arena arena = {0};
    float *grads = keel_alloc(p->llama->params.size * sizeof *grads);
    for (size_t l = 0; l < p->model.n; l++)
        for (int k = 0; k < KEEL_N_PRUNE_KINDS; k++)
            if (p->model.layer[l].units[k].n > widest) widest = p->model.layer[l].units[k].n;
    double *sums = keel_arena_alloc(&p->arena, widest * sizeof *sums);
    keel_status status = grads && sums ? keel_tape_open(&tape, p->err) : keel_nomem(p->err, "prune");
    for (size_t i = 0; status == KEEL_OK && i < p->sample.n; i++) {
        keel_tape_reset(tape);
        keel_arena_reset(&arena);
        status = keel_compress_go_on(p->err);
        if (status == KEEL_OK) status = run_text(p, i, tape, &arena, grads);
        if (status == KEEL_OK) add_products(p, grads, sums);
    }
    keel_tape_close(tape);
    keel_arena_free(&arena);
    keel_free(grads);
    return status;
}

/* The decoder is tunable meanwhile, and then as it was. */
static keel_status by_taylor(pruning *p) {
    keel_llama *llama = p->llama;
    const keel_llama_tuning tuning = {.mode = KEEL_LLAMA_FREEZE};
    const size_t bytes = llama->n_rows * sizeof *llama->matrix;
    keel_matrix *before = keel_alloc(bytes);
    if (!before) return keel_nomem(p->err, "prune");
    memcpy(before, llama->matrix, bytes);
    keel_status status = keel_llama_train(llama, &tuning, p->err);
    if (status == KEEL_OK) {
        status = run_texts(p);
        memcpy(llama->matrix, before, bytes);
        keel_params_free(&llama->params);
        llama->params = (keel_params){0};
        llama->first_trained = llama->n_rows;
    }
    keel_free(before);
    return status;
}

/* ---- how far off it is without some units ---- */

/* Half the mean square of what ln p of a token differs by from that of the whole decoder: to second order the
 * divergence KL(whole || pruned), which a rise of the loss on few tokens would hide in its noise. */
static keel_status divergence(const pruning *p, double *out) {
    const keel_sample *held = &p->held_out;
    const size_t tokens = (size_t)(held->offsets[held->n] - held->offsets[0]);
    float *log_prob = keel_alloc(tokens * sizeof *log_prob);
    if (!log_prob) return keel_nomem(p->err, "prune");
    const keel_status status = keel_sample_run(p->llama, held, p->job->pool, log_prob, p->err);
    double sum = 0;
    for (size_t t = 0; status == KEEL_OK && t < tokens; t++) {
        const double off = (double)log_prob[t] - (double)p->whole[t];
        sum += off * off / 2;
    }
    keel_free(log_prob);
    *out = sum / (double)tokens;
    return status;
}

static keel_status keep_whole(pruning *p) {
    const keel_sample *held = &p->held_out;
    const size_t tokens = (size_t)(held->offsets[held->n] - held->offsets[0]);
    p->whole = keel_arena_alloc(&p->arena, tokens * sizeof *p->whole);
    return p->whole ? keel_sample_run(p->llama, held, p->job->pool, p->whole, p->err)
                    : keel_nomem(p->err, "prune");
}

/* A copy of the matrix whose columns of the least important units are 0; n units: all, and its bias is
 * absent.
 */
static keel_status hide(const pruning *p, size_t layer, int kind, size_t n, float **data) {
    const keel_prune_units *units = &p->model.layer[layer].units[kind];
    const size_t wide = wide_of(&p->llama->config, kind);
    keel_matrix *matrix = &p->llama->matrix[keel_llama_row(layer, reader_of(kind))];
    float *copy = *data = keel_alloc(matrix->rows * matrix->cols * sizeof *copy);
    if (!copy) return keel_nomem(p->err, "prune");
    for (size_t r = 0; r < matrix->rows; r++) {
        keel_matrix_read_row(matrix, r, copy + r * matrix->cols);
        for (size_t i = 0; i < n; i++)
            memset(copy + r * matrix->cols + units->order[i] * wide, 0, wide * sizeof *copy);
    }
    *matrix =
        (keel_matrix){.type = KEEL_MATRIX_F32, .rows = matrix->rows, .cols = matrix->cols, .data = copy};
    return KEEL_OK;
}

static keel_status harm_without(void *context, size_t layer, const size_t gone[KEEL_N_PRUNE_KINDS],
                                double *out, keel_err *err) {
    pruning *p = context;
    (void)err;
    *out = 0;
    if (layer == SIZE_MAX) return keep_whole(p);
    keel_matrix *rows = &p->llama->matrix[keel_llama_row(layer, 0)], before[KEEL_LLAMA_LAYER];
    float *data[KEEL_N_PRUNE_KINDS] = {0};
    keel_status status = KEEL_OK;
    memcpy(before, rows, sizeof before);
    for (int k = 0; status == KEEL_OK && k < KEEL_N_PRUNE_KINDS; k++) {
        const bool all = gone[k] == p->model.layer[layer].units[k].n;
        if (gone[k]) status = hide(p, layer, k, gone[k], &data[k]);
        if (all) rows[k == KEEL_PRUNE_CHANNEL ? KEEL_LLAMA_DOWN_BIAS : KEEL_LLAMA_O_BIAS].data = NULL;
    }
    if (status == KEEL_OK) status = divergence(p, out);
    memcpy(rows, before, sizeof before);
    for (int k = 0; k < KEEL_N_PRUNE_KINDS; k++) keel_free(data[k]);
    return status;
}

/* ---- all of it ---- */

static keel_status cut(pruning *p) {
    keel_llama_kept *kept = keel_arena_calloc(&p->arena, p->model.n, sizeof *kept);
    size_t n = 0;
    if (!kept) return keel_nomem(p->err, "prune");
    for (size_t l = 0; l < p->model.n; l++) {
        uint32_t *heads, *channels;
        if (p->model.layer[l].gone) continue;
        kept[n].layer = l;
        KEEL_TRY(keel_prune_kept(&p->model, l, KEEL_PRUNE_HEAD, &heads, &kept[n].n_kv_heads, p->err));
        KEEL_TRY(keel_prune_kept(&p->model, l, KEEL_PRUNE_CHANNEL, &channels, &kept[n].n_inner, p->err));
        kept[n].kv_head = heads;
        kept[n++].inner = channels;
    }
    return keel_llama_slice(p->llama, kept, n, p->err);
}

static keel_status draw(pruning *p) {
    keel_sample all;
    if (!keel_prune_looks(p->job->config)) return KEEL_OK;
    KEEL_TRY(keel_sample_llama(p->llama, p->job, &p->arena, &all, p->err));
    return keel_sample_divide(&all, p->job, &p->held_out, &p->sample, p->err);
}

static keel_status prune(pruning *p) {
    static keel_status (*const importance[])(pruning * p) = {by_weight, by_activation, by_taylor};
    KEEL_TRY(draw(p));
    KEEL_TRY(list_units(p));
    KEEL_TRY(importance[p->job->config->importance](p));
    KEEL_TRY(keel_prune_decide(&p->model, p->job->config, p->err));
    KEEL_TRY(keel_prune_tell(&p->model, p->job->report, p->err));
    return cut(p);
}

keel_status keel_prune_llama(keel_llama *llama, const keel_compress_job *job, keel_err *err) {
    pruning p = {.llama = llama, .job = job, .err = err, .model = {.harm = harm_without}};
    if (job->config->ratio == 0) return KEEL_OK;
    p.model.context = &p;
    const keel_status status = prune(&p);
    keel_arena_free(&p.arena);
    return status;
}
