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

static keel_tensor *embedding_param(const pass *p, size_t row) {
    const keel_bert_training *t = p->training;
    return keel_tape_param(p->tape, &p->bert->params, row, t->embeddings ? t->grads : NULL);
}

static keel_tensor *layer_param(const pass *p, size_t layer, size_t row) {
    const keel_bert_training *t = p->training;
    return keel_tape_param(p->tape, &p->bert->params, keel__bert_row(layer, row),
                           layer >= t->first_layer ? t->grads : NULL);
}

static keel_tensor *drop(const pass *p, keel_tensor *x) {
    const keel_bert_training *t = p->training;
    return t->dropout > 0 && t->rng ? keel_op_dropout(p->tape, x, (keel_real)t->dropout, t->rng) : x;
}

/* Rows of a table for every row of the batch; rows that no token is take the first. */
static keel_tensor *look_up(const pass *p, size_t table, const int32_t *of_token) {
    int32_t *index = keel_arena_calloc(p->arena, p->places.rows, sizeof *index);
    if (!index) return NULL;
    for (int32_t t = 0; t < p->batch->offsets[p->batch->n]; t++)
        index[p->places.row[t]] = of_token ? of_token[t] : 0;
    return keel_op_rows(p->tape, embedding_param(p, table), index, p->places.rows);
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
    return drop(p, keel_op_layer_norm(p->tape, sum, look_up(p, KEEL_BERT_POSITION, position),
                                      embedding_param(p, KEEL_BERT_GAIN), embedding_param(p, KEEL_BERT_BIAS),
                                      p->bert->config.epsilon));
}

static keel_tensor *linear(const pass *p, size_t layer, keel_tensor *x, size_t weight, keel_activation act) {
    return keel_op_linear(p->tape, x, layer_param(p, layer, weight), layer_param(p, layer, weight + 1), act);
}

static keel_tensor *encode_layer(const pass *p, size_t layer, keel_tensor *x) {
    const keel_bert_config *c = &p->bert->config;
    keel_tensor *qkv = linear(p, layer, x, KEEL_BERT_QKV, KEEL_LINEAR);
    keel_tensor *seen =
        keel_op_attention(p->tape, qkv, c->heads, p->batch->offsets, p->places.row, p->batch->n);
    keel_tensor *more = drop(p, linear(p, layer, seen, KEEL_BERT_OUT, KEEL_LINEAR));
    x = keel_op_layer_norm(p->tape, x, more, layer_param(p, layer, KEEL_BERT_GAIN_1),
                           layer_param(p, layer, KEEL_BERT_BIAS_1), c->epsilon);
    keel_tensor *up = linear(p, layer, x, KEEL_BERT_UP, KEEL_GELU);
    more = drop(p, linear(p, layer, up, KEEL_BERT_DOWN, KEEL_LINEAR));
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
    if (keel__bert_place(bert, batch, arena, &p.places, err) != KEEL_OK) return NULL;
    keel_tensor *x = embed(&p);
    for (size_t layer = 0; layer < bert->config.layers; layer++) x = encode_layer(&p, layer, x);
    return pool(&p, x);
}
