#include "policies/compress/prune_llama.h"

#include <string.h>

#include "policies/compress/pruning.h"
#include "policies/transformer/llama_slice.h"
#include "policies/transformer/llama_tape.h"

typedef struct pruning {
    keel_pruning common;
    keel_llama *llama;
    keel_matrix *before; /* [n_rows] while gradients are taken */
} pruning;

static keel_llama *llama_of(const keel_pruning *p) {
    return ((const pruning *)p)->llama;
}

static size_t reader(size_t layer, int kind) {
    return keel_llama_row(layer, kind == KEEL_PRUNE_CHANNEL ? KEEL_LLAMA_DOWN : KEEL_LLAMA_O);
}

static keel_matrix matrix(const keel_pruning *p, size_t row) {
    return llama_of(p)->matrix[row];
}

static keel_status draw(keel_pruning *p, keel_sample *all) {
    return keel_sample_llama(llama_of(p), p->job, &p->arena, all, p->err);
}

/* ---- units ---- */

static double size_of(const keel_llama *llama, size_t row) {
    const keel_matrix *held = &llama->matrix[row];
    return held->data ? (double)(held->rows * held->cols) : 0;
}

static keel_status list(keel_pruning *p) {
    const keel_llama *llama = llama_of(p);
    const keel_llama_config *c = &llama->config;
    const size_t group = c->heads / c->kv_heads;
    const double channel = 3 * (double)c->hidden + (c->mlp_bias ? 2 : 0),
                 head = (double)c->head_dim * (2 * (double)(group + 1) * (double)c->hidden +
                                               (c->qkv_bias ? (double)(group + 2) : 0));
    KEEL_TRY(keel_prune_make(&p->model, c->layers, &p->arena, p->err));
    p->model.parameters = size_of(llama, keel_llama_norm(c));
    for (size_t l = 0; l < c->layers; l++) {
        const size_t channels = keel_llama_inner(c, l), heads = keel_llama_kv_heads(c, l);
        double all = 0;
        for (size_t row = 0; row < KEEL_LLAMA_LAYER; row++) all += size_of(llama, keel_llama_row(l, row));
        KEEL_TRY(keel_prune_set_units(&p->model, l, KEEL_PRUNE_CHANNEL, channels, KEEL_PRUNE_BLOCK, channel,
                                      p->err));
        KEEL_TRY(keel_prune_set_units(&p->model, l, KEEL_PRUNE_HEAD, heads, 1, head, p->err));
        p->model.layer[l].rest = all - (double)channels * channel - (double)heads * head;
        p->model.parameters += all;
    }
    return KEEL_OK;
}

/* ---- importance ---- */

static keel_status makers(keel_pruning *p, size_t layer, int kind) {
    static const size_t rows[KEEL_N_PRUNE_KINDS][3] = {
        [KEEL_PRUNE_CHANNEL] = {KEEL_LLAMA_GATE, KEEL_LLAMA_UP, 0},
        [KEEL_PRUNE_HEAD] = {KEEL_LLAMA_Q, KEEL_LLAMA_K, KEEL_LLAMA_V}};
    const keel_llama *llama = llama_of(p);
    for (size_t i = 0; i < 3 && rows[kind][i]; i++) {
        const size_t row = rows[kind][i];
        KEEL_TRY(keel_pruning_rows(p, &llama->matrix[keel_llama_row(layer, row)], 1,
                                   row == KEEL_LLAMA_K || row == KEEL_LLAMA_V ? llama->config.head_dim
                                                                              : p->wide[kind],
                                   p->model.layer[layer].units[kind].importance));
    }
    return KEEL_OK;
}

static keel_status look(keel_pruning *p, const keel_observer *observer) {
    llama_of(p)->observer = observer;
    const keel_status status = keel_sample_run(llama_of(p), &p->sample, p->job->pool, NULL, p->err);
    llama_of(p)->observer = NULL;
    return status;
}

/* The decoder is tunable meanwhile, and then as it was. */
static keel_status begin(keel_pruning *p) {
    keel_llama *llama = llama_of(p);
    const keel_llama_tuning tuning = {.mode = KEEL_LLAMA_FREEZE};
    const size_t bytes = llama->n_rows * sizeof *llama->matrix;
    keel_matrix *before = keel_arena_alloc(&p->arena, bytes);
    if (!before) return keel_nomem(p->err, "prune");
    memcpy(before, llama->matrix, bytes);
    KEEL_TRY(keel_llama_train(llama, &tuning, p->err));
    p->trained = llama->params;
    p->first = llama->first_trained;
    ((pruning *)p)->before = before;
    return KEEL_OK;
}

/* The gradient of one text's loss. */
static keel_status text(keel_pruning *p, size_t at, keel_tape *tape, keel_arena *arena, float *grads) {
    const int32_t from = p->sample.offsets[at], offsets[] = {0, p->sample.offsets[at + 1] - from};
    float *weight = keel_arena_alloc(arena, (size_t)offsets[1] * sizeof *weight);
    if (!weight) return keel_nomem(p->err, "prune");
    for (int32_t t = 0; t < offsets[1]; t++) weight[t] = 1;
    const keel_llama_batch batch = {p->sample.id + from, offsets, 1, weight};
    const keel_llama_training training = {.grads = grads, .keep = KEEL_KEEP_NOTHING};
    const keel_llama_loss loss = {.divisor = 1};
    keel_tensor *sum = keel_llama_on_tape(tape, llama_of(p), &training, &batch, &loss, arena, p->err);
    return sum ? keel_tape_backward(tape, sum, p->err) : keel_tape_check(tape, sum, p->err);
}

static void end(keel_pruning *p) {
    keel_llama *llama = llama_of(p);
    memcpy(llama->matrix, ((pruning *)p)->before, llama->n_rows * sizeof *llama->matrix);
    keel_params_free(&llama->params);
    llama->params = (keel_params){0};
    llama->first_trained = llama->n_rows;
}

/* ---- how far off it is without some units ---- */

/* Half the mean square of what ln p of a token differs by from that of the whole decoder: to second order the
 * divergence KL(whole || pruned), which a rise of the loss on few tokens would hide in its noise. */
static void measure(keel_pruning *p) {
    p->n_numbers = (size_t)(p->held_out.offsets[p->held_out.n] - p->held_out.offsets[0]);
    p->divisor = 2 * (double)p->n_numbers;
}

static keel_status run(keel_pruning *p, float *out) {
    return keel_sample_run(llama_of(p), &p->held_out, p->job->pool, out, p->err);
}

/* A copy of the matrix whose columns of the least important n units are 0. */
static keel_status hide(const keel_pruning *p, size_t layer, int kind, size_t n, float **data) {
    const keel_prune_units *units = &p->model.layer[layer].units[kind];
    const size_t wide = p->wide[kind];
    keel_matrix *held = &llama_of(p)->matrix[reader(layer, kind)];
    float *copy = *data = keel_alloc(held->rows * held->cols * sizeof *copy);
    if (!copy) return keel_nomem(p->err, "prune");
    for (size_t r = 0; r < held->rows; r++) {
        keel_matrix_read_row(held, r, copy + r * held->cols);
        for (size_t i = 0; i < n; i++)
            memset(copy + r * held->cols + units->order[i] * wide, 0, wide * sizeof *copy);
    }
    *held = (keel_matrix){.type = KEEL_MATRIX_F32, .rows = held->rows, .cols = held->cols, .data = copy};
    return KEEL_OK;
}

/* Where all units of a kind go, the bias is absent too. */
static keel_status without(keel_pruning *p, size_t layer, const size_t gone[KEEL_N_PRUNE_KINDS],
                           double *out) {
    keel_matrix *rows = &llama_of(p)->matrix[keel_llama_row(layer, 0)], before[KEEL_LLAMA_LAYER];
    float *data[KEEL_N_PRUNE_KINDS] = {0};
    keel_status status = KEEL_OK;
    memcpy(before, rows, sizeof before);
    for (int k = 0; status == KEEL_OK && k < KEEL_N_PRUNE_KINDS; k++) {
        const bool all = gone[k] == p->model.layer[layer].units[k].n;
        if (gone[k]) status = hide(p, layer, k, gone[k], &data[k]);
        if (all) rows[k == KEEL_PRUNE_CHANNEL ? KEEL_LLAMA_DOWN_BIAS : KEEL_LLAMA_O_BIAS].data = NULL;
    }
    if (status == KEEL_OK) status = keel_pruning_off(p, out);
    memcpy(rows, before, sizeof before);
    for (int k = 0; k < KEEL_N_PRUNE_KINDS; k++) keel_free(data[k]);
    return status;
}

/* ---- all of it ---- */

static keel_status slice(keel_pruning *p, const keel_layer_kept *kept, size_t n) {
    return keel_llama_slice(llama_of(p), kept, n, p->err);
}

keel_status keel_prune_llama(keel_llama *llama, const keel_compress_job *job, keel_err *err) {
    static const keel_pruned_kind decoders = {draw, list, reader, matrix,  makers,  look, begin,
                                              text, end,  run,    without, measure, slice};
    const keel_llama_config *c = &llama->config;
    pruning p = {
        .llama = llama,
        .common = {
            .kind = &decoders,
            .job = job,
            .n_rows = llama->n_rows,
            .wide = {[KEEL_PRUNE_CHANNEL] = 1, [KEEL_PRUNE_HEAD] = c->heads / c->kv_heads * c->head_dim},
            .err = err}};
    return job->config->ratio == 0 ? KEEL_OK : keel_pruning_run(&p.common);
}
