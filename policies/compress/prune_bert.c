#include "policies/compress/prune_bert.h"

#include <string.h>

#include "policies/compress/pruning.h"
#include "policies/transformer/bert_internal.h"
#include "policies/transformer/bert_matrix.h"
#include "policies/transformer/bert_slice.h"
#include "policies/transformer/bert_tape.h"

typedef struct pruning {
    keel_pruning common;
    keel_bert *bert; /* in F32 */
    keel_rng rng;
} pruning;

static keel_bert *bert_of(const keel_pruning *p) {
    return ((const pruning *)p)->bert;
}

static size_t reader(size_t layer, int kind) {
    return keel__bert_row(layer, kind == KEEL_PRUNE_CHANNEL ? KEEL_BERT_DOWN : KEEL_BERT_OUT);
}

static keel_matrix matrix(const keel_pruning *p, size_t row) {
    return keel_bert_matrix(bert_of(p), row);
}

static keel_status draw(keel_pruning *p, keel_sample *all) {
    return keel_sample_bert(bert_of(p), p->job, &p->arena, all, p->err);
}

/* ---- units ---- */

static keel_status list(keel_pruning *p) {
    const keel_bert_config *c = &bert_of(p)->config;
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

static keel_status makers(keel_pruning *p, size_t layer, int kind) {
    const bool channels = kind == KEEL_PRUNE_CHANNEL;
    const keel_matrix maker = matrix(p, keel__bert_row(layer, channels ? KEEL_BERT_UP : KEEL_BERT_QKV));
    return keel_pruning_rows(p, &maker, channels ? 1 : 3, p->wide[kind],
                             p->model.layer[layer].units[kind].importance);
}

static keel_status look(keel_pruning *p, const keel_observer *observer) {
    bert_of(p)->observer = observer;
    const keel_status status = keel_sample_encode(bert_of(p), &p->sample, NULL, p->err);
    bert_of(p)->observer = NULL;
    return status;
}

static keel_status begin(keel_pruning *p) {
    p->first = KEEL_BERT_FIRST_LAYER;
    p->trained = keel_params_from(&bert_of(p)->params, p->first);
    ((pruning *)p)->rng = keel_rng_named((uint64_t)p->job->config->seed, "prune", 0);
    return KEEL_OK;
}

/* The gradient of one text's vector in a random direction. */
static keel_status text(keel_pruning *p, size_t at, keel_tape *tape, keel_arena *arena, float *grads) {
    const keel_bert *bert = bert_of(p);
    const keel_bert_training training = {.trained = p->trained, .first = p->first, .grads = grads};
    const size_t hidden = bert->config.hidden;
    int32_t *offsets = keel_arena_alloc(arena, 2 * sizeof *offsets);
    float *direction = keel_arena_alloc(arena, hidden * sizeof *direction);
    if (!offsets || !direction) return keel_nomem(p->err, "prune");
    for (size_t i = 0; i < hidden; i++) direction[i] = (float)keel_rng_normal(&((pruning *)p)->rng);
    const keel_bert_batch batch = keel_sample_batch(&p->sample, at, 1, offsets);
    keel_tensor *vector = keel_bert_on_tape(tape, bert, &training, &batch, arena, p->err);
    if (!vector) return keel_tape_check(tape, vector, p->err);
    if (bert->config.normalise) vector = keel_op_unit_rows(tape, vector);
    keel_tensor *sum =
        keel_op_sum(tape, keel_op_mul(tape, vector, keel_tape_input(tape, direction, 1, hidden)), 1);
    return keel_tape_backward(tape, sum, p->err);
}

static void end(keel_pruning *p) {
    (void)p;
}

/* ---- how far off it is without some units ---- */

/* The squared distance of a text's vector, on average. */
static void measure(keel_pruning *p) {
    p->n_numbers = p->held_out.n * bert_of(p)->config.hidden;
    p->divisor = (double)p->held_out.n;
}

static keel_status run(keel_pruning *p, float *out) {
    return keel_sample_encode(bert_of(p), &p->held_out, out, p->err);
}

/* Zeros in the columns of the least important n units; of all of them, in the bias too. before: what was
 * there. */
static keel_status hide(const keel_pruning *p, size_t layer, int kind, size_t n, float **before) {
    const keel_prune_units *units = &p->model.layer[layer].units[kind];
    const size_t wide = p->wide[kind], row = reader(layer, kind), hidden = bert_of(p)->config.hidden;
    const keel_matrix held = matrix(p, row);
    const size_t size = held.rows * held.cols;
    keel_real *data = keel_params_at(&bert_of(p)->params, row),
              *bias = keel_params_at(&bert_of(p)->params, row + 1);
    *before = keel_alloc((size + hidden) * sizeof **before);
    if (!*before) return keel_nomem(p->err, "prune");
    memcpy(*before, data, size * sizeof *data);
    memcpy(*before + size, bias, hidden * sizeof *bias);
    for (size_t r = 0; r < held.rows; r++)
        for (size_t i = 0; i < n; i++)
            memset(data + r * held.cols + units->order[i] * wide, 0, wide * sizeof *data);
    if (n == units->n) memset(bias, 0, hidden * sizeof *bias);
    return KEEL_OK;
}

static void show(const keel_pruning *p, size_t layer, int kind, float *before) {
    const size_t row = reader(layer, kind);
    const keel_matrix held = matrix(p, row);
    const size_t size = held.rows * held.cols;
    keel_params *params = &bert_of(p)->params;
    if (!before) return;
    memcpy(keel_params_at(params, row), before, size * sizeof *before);
    memcpy(keel_params_at(params, row + 1), before + size, bert_of(p)->config.hidden * sizeof *before);
    keel_free(before);
}

static keel_status without(keel_pruning *p, size_t layer, const size_t gone[KEEL_N_PRUNE_KINDS],
                           double *out) {
    float *before[KEEL_N_PRUNE_KINDS] = {0};
    keel_status status = KEEL_OK;
    for (int k = 0; status == KEEL_OK && k < KEEL_N_PRUNE_KINDS; k++)
        if (gone[k]) status = hide(p, layer, k, gone[k], &before[k]);
    if (status == KEEL_OK) status = keel_pruning_off(p, out);
    for (int k = 0; k < KEEL_N_PRUNE_KINDS; k++) show(p, layer, k, before[k]);
    return status;
}

/* ---- all of it ---- */

static keel_status slice(keel_pruning *p, const keel_layer_kept *kept, size_t n) {
    return keel_bert_slice(bert_of(p), kept, n, p->err);
}

keel_status keel_prune_bert(keel_bert *bert, const keel_compress_job *job, keel_err *err) {
    static const keel_pruned_kind encoders = {draw, list, reader, matrix,  makers,  look, begin,
                                              text, end,  run,    without, measure, slice};
    if (job->config->ratio == 0) return KEEL_OK;
    if (bert->config.layers == 0)
        return keel_fail(err, KEEL_E_UNSUPPORTED, "ratio", "an encoder without layers has nothing to prune");
    KEEL_TRY(keel_bert_widen(bert, err));
    pruning p = {
        .bert = bert,
        .common = {.kind = &encoders,
                   .job = job,
                   .n_rows = keel_bert_rows(bert),
                   .wide = {[KEEL_PRUNE_CHANNEL] = 1, [KEEL_PRUNE_HEAD] = keel_bert_head_dim(&bert->config)},
                   .err = err}};
    return keel_pruning_run(&p.common);
}
