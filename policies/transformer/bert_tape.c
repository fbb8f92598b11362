#include "policies/transformer/bert_tape.h"

#include <string.h>

#include "policies/transformer/bert_internal.h"

typedef struct pass {
    keel_tape *tape;
    const keel_bert *bert;
    const keel_bert_training *training;
    const keel_bert_batch *batch;
    keel__bert_places places;
    keel_arena *arena;
} pass;

keel_tensor *keel_bert_param(keel_tape *tape, const keel_bert *bert, const keel_bert_training *training,
                             size_t row) {
    if (training->grads && row >= training->first)
        return keel_tape_param(tape, &training->trained, row - training->first, training->grads);
    return keel_tape_param(tape, &bert->params, row, NULL);
}

static keel_tensor *param(const pass *p, size_t row) {
    return keel_bert_param(p->tape, p->bert, p->training, row);
}

static keel_tensor *layer_param(const pass *p, size_t layer, size_t row) {
    return param(p, keel__bert_row(layer, row));
}

static keel_tensor *drop(const pass *p, keel_tensor *x, double rate) {
    return p->training->rng ? keel_op_dropout(p->tape, x, (keel_real)rate, p->training->rng) : x;
}

/* Rows of a table for every row of the batch; rows that no token is take the first. */
static keel_tensor *look_up(const pass *p, size_t table, const int32_t *of_token) {
    int32_t *index = keel_arena_calloc(p->arena, p->places.rows, sizeof *index);
    if (!index) return NULL;
    for (int32_t t = 0; t < p->batch->offsets[p->batch->n]; t++)
        index[p->places.row[t]] = of_token ? of_token[t] : 0;
    return keel_op_rows(p->tape, param(p, table), index, p->places.rows);
}

static keel_tensor *embed(const pass *p) {
    const keel_bert_batch *batch = p->batch;
    int32_t *position = keel_arena_calloc(p->arena, (size_t)batch->offsets[batch->n], sizeof *position);
    if (!position) return NULL;
    for (size_t i = 0; i < batch->n; i++)
        for (int32_t t = batch->offsets[i]; t < batch->offsets[i + 1]; t++)
            position[t] = t - batch->offsets[i];
    keel_tensor *sum =
        keel_op_add(p->tape, look_up(p, KEEL_BERT_WORD, batch->id), look_up(p, KEEL_BERT_TYPE, batch->type));
    keel_tensor *unit =
        keel_op_layer_norm(p->tape, sum, look_up(p, KEEL_BERT_POSITION, position), param(p, KEEL_BERT_GAIN),
                           param(p, KEEL_BERT_BIAS), p->bert->config.epsilon);
    return drop(p, unit, (double)p->training->dropout);
}

/* s drop(x) A^T B^T, each target with a mask of its own. */
static keel_branch low_rank(const pass *p, size_t layer, keel_tensor *x, size_t target) {
    const keel_lora_config *lora = &p->bert->lora;
    const keel__lora_target *to = &keel__lora_targets[target];
    const size_t row = keel__lora_row(p->bert, layer, target);
    keel_tensor *seen = keel_op_linear(p->tape, drop(p, x, lora->dropout), param(p, row), NULL, KEEL_LINEAR);
    keel_tensor *b = param(p, row + 1);
    return (keel_branch){.x = seen,
                         .b = b,
                         .factor = (keel_real)keel__lora_factor(lora),
                         .column = b ? to->part * b->rows : 0};
}

static keel_tensor *linear(const pass *p, size_t layer, keel_tensor *x, size_t weight, keel_activation act) {
    keel_branch branch[KEEL__N_LORA_TARGETS];
    size_t n = 0;
    for (size_t t = 0; p->bert->lora.rank && t < KEEL__N_LORA_TARGETS; t++)
        if (keel__lora_targets[t].row == weight && p->bert->lora.targets >> t & 1)
            branch[n++] = low_rank(p, layer, x, t);
    return keel_op_linear_branched(p->tape, x, layer_param(p, layer, weight),
                                   layer_param(p, layer, weight + 1), act, branch, n);
}

static keel_tensor *encode_layer(const pass *p, size_t layer, keel_tensor *x) {
    const keel_bert_config *c = &p->bert->config;
    const double rate = (double)p->training->dropout;
    keel_tensor *qkv = linear(p, layer, x, KEEL_BERT_QKV, KEEL_LINEAR);
    keel_tensor *seen =
        keel_op_attention(p->tape, qkv, c->heads, p->batch->offsets, p->places.row, p->batch->n);
    keel_tensor *more = drop(p, linear(p, layer, seen, KEEL_BERT_OUT, KEEL_LINEAR), rate);
    x = keel_op_layer_norm(p->tape, x, more, layer_param(p, layer, KEEL_BERT_GAIN_1),
                           layer_param(p, layer, KEEL_BERT_BIAS_1), c->epsilon);
    keel_tensor *up = linear(p, layer, x, KEEL_BERT_UP, KEEL_GELU);
    more = drop(p, linear(p, layer, up, KEEL_BERT_DOWN, KEEL_LINEAR), rate);
    return keel_op_layer_norm(p->tape, x, more, layer_param(p, layer, KEEL_BERT_GAIN_2),
                              layer_param(p, layer, KEEL_BERT_BIAS_2), c->epsilon);
}

static keel_tensor *pool(const pass *p, keel_tensor *x) {
    const keel_bert_batch *batch = p->batch;
    if (!p->bert->config.first_token)
        return keel_op_text_mean(p->tape, x, batch->offsets, p->places.row, batch->n);
    int32_t *first = keel_arena_calloc(p->arena, batch->n, sizeof *first);
    if (!first) return NULL;
    for (size_t i = 0; i < batch->n; i++) first[i] = p->places.row[batch->offsets[i]];
    return keel_op_rows(p->tape, x, first, batch->n);
}

keel_tensor *keel_bert_on_tape(keel_tape *tape, const keel_bert *bert, const keel_bert_training *training,
                               const keel_bert_batch *batch, keel_arena *arena, keel_err *err) {
    pass p = {.tape = tape, .bert = bert, .training = training, .batch = batch, .arena = arena};
    if (bert->unmerged) {
        keel_fail(err, KEEL_E_USAGE, "encoder", "it is merged: it cannot be tuned before it is unmerged");
        return NULL;
    }
    if (keel__bert_place(bert, batch, arena, &p.places, err) != KEEL_OK) return NULL;
    keel_tensor *x = embed(&p);
    for (size_t layer = 0; layer < bert->config.layers; layer++) x = encode_layer(&p, layer, x);
    return pool(&p, x);
}
