#include "policies/transformer/bert_tape.h"

#include <string.h>

#include "policies/transformer/bert_internal.h"
#include "policies/transformer/bert_matrix.h"

typedef struct pass {
    keel_tape *tape;
    const keel_bert *bert;
    const keel_bert_training *training;
    const keel_bert_batch *batch;
    keel_arena *arena;
} pass;

keel_tensor *keel_bert_param(keel_tape *tape, const keel_bert *bert, const keel_bert_training *training,
                             size_t row) {
    const keel_params *all = training->fake ? &training->fake->quant.held : &bert->params;
    if (!training->grads || row < training->first) return keel_tape_param(tape, all, row, NULL);
    const keel_params trained = keel_params_from(all, training->first);
    return keel_tape_param(tape, &trained, row - training->first, training->grads);
}

keel_status keel_bert_fake_open(keel_bert_fake *out, const keel_bert *bert, const keel_matrix_type *type,
                                bool inputs, keel_err *err) {
    keel_matrix_type *all = keel_calloc(bert->params.count, sizeof *all); /* heads and LoRA: F32 */
    if (!all) return keel_nomem(err, "encoder");
    for (size_t row = 0; row < keel_bert_rows(bert); row++)
        if (keel_bert_is_matrix(row)) all[row] = type[row];
    *out = (keel_bert_fake){.inputs = inputs};
    const keel_status status = keel_fake_quant_open(&out->quant, &bert->params, all, NULL, err);
    keel_free(all);
    return status;
}

/* What a matrix is multiplied with. */
static keel_tensor *input_of(const pass *p, size_t row, keel_tensor *x) {
    const keel_bert_fake *fake = p->training->fake;
    return fake && fake->inputs ? keel_op_round_inputs(p->tape, x, fake->quant.type[row]) : x;
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

/* LN(x + drop(more)), the gain at a row and the bias at the next. */
static keel_tensor *norm(const pass *p, keel_tensor *x, keel_tensor *more, double rate, size_t gain) {
    keel_rng *rng = p->training->rng;
    return keel_op_residual_norm(p->tape, x, more, rng ? (keel_real)rate : 0, rng, param(p, gain),
                                 param(p, gain + 1), p->bert->config.epsilon);
}

/* 0, 1, .. of each text's tokens, then zeros: positions, and segments of a batch that names none. */
static int32_t *count_tokens(const pass *p, size_t total) {
    int32_t *index = keel_arena_calloc(p->arena, 2 * total, sizeof *index);
    for (size_t i = 0; index && i < p->batch->n; i++)
        for (int32_t t = p->batch->offsets[i]; t < p->batch->offsets[i + 1]; t++)
            index[t] = t - p->batch->offsets[i];
    return index;
}

static keel_tensor *embed(const pass *p) {
    const keel_bert_batch *batch = p->batch;
    const size_t total = (size_t)batch->offsets[batch->n];
    const int32_t *position = count_tokens(p, total);
    if (!position) return NULL;
    const int32_t *type = batch->type ? batch->type : position + total;
    keel_tensor *word = keel_op_rows(p->tape, param(p, KEEL_BERT_WORD), batch->id, total),
                *segment = keel_op_rows(p->tape, param(p, KEEL_BERT_TYPE), type, total),
                *place = keel_op_rows(p->tape, param(p, KEEL_BERT_POSITION), position, total);
    return drop(p, norm(p, keel_op_add(p->tape, word, segment), place, 0, KEEL_BERT_GAIN),
                (double)p->training->dropout);
}

/* s drop(x) A^T B^T, each target with a mask of its own. */
static keel_branch low_rank(const pass *p, size_t layer, keel_tensor *x, size_t target) {
    const keel_lora_config *lora = &p->bert->lora;
    const keel__lora_target *to = &keel__lora_targets[target];
    const size_t row = keel__lora_row(p->bert, layer, target);
    keel_tensor *seen = keel_op_linear(p->tape, drop(p, x, lora->dropout), param(p, row), NULL, KEEL_LINEAR);
    keel_tensor *b = param(p, row + 1);
    return (keel_branch){
        .x = seen, .b = b, .factor = (keel_real)keel_lora_factor(lora), .column = b ? to->part * b->rows : 0};
}

static keel_tensor *linear(const pass *p, size_t layer, keel_tensor *x, size_t weight, keel_activation act) {
    keel_branch branch[KEEL__N_LORA_TARGETS];
    size_t n = 0;
    for (size_t t = 0; p->bert->lora.rank && t < KEEL__N_LORA_TARGETS; t++)
        if (keel__lora_targets[t].row == weight && p->bert->lora.targets >> t & 1)
            branch[n++] = low_rank(p, layer, x, t);
    x = input_of(p, keel__bert_row(layer, weight), x);
    return keel_op_linear_branched(p->tape, x, layer_param(p, layer, weight),
                                   layer_param(p, layer, weight + 1), act, branch, n);
}

static keel_tensor *encode_layer(const pass *p, size_t layer, keel_tensor *x) {
    const keel_bert_batch *batch = p->batch;
    const double rate = (double)p->training->dropout;
    keel_tensor *qkv = linear(p, layer, x, KEEL_BERT_QKV, KEEL_LINEAR);
    keel_tensor *seen =
        keel_op_attention(p->tape, qkv, keel_bert_heads(&p->bert->config, layer), batch->offsets, batch->n);
    keel_tensor *more = linear(p, layer, seen, KEEL_BERT_OUT, KEEL_LINEAR);
    x = norm(p, x, more, rate, keel__bert_row(layer, KEEL_BERT_GAIN_1));
    more = linear(p, layer, linear(p, layer, x, KEEL_BERT_UP, KEEL_GELU), KEEL_BERT_DOWN, KEEL_LINEAR);
    return norm(p, x, more, rate, keel__bert_row(layer, KEEL_BERT_GAIN_2));
}

static keel_tensor *pool(const pass *p, keel_tensor *x) {
    const keel_bert_batch *batch = p->batch;
    return p->bert->config.first_token ? keel_op_rows(p->tape, x, batch->offsets, batch->n)
                                       : keel_op_text_mean(p->tape, x, batch->offsets, batch->n);
}

keel_tensor *keel_bert_on_tape(keel_tape *tape, const keel_bert *bert, const keel_bert_training *training,
                               const keel_bert_batch *batch, keel_arena *arena, keel_err *err) {
    const pass p = {.tape = tape, .bert = bert, .training = training, .batch = batch, .arena = arena};
    size_t longest;
    if (bert->unmerged) {
        keel_fail(err, KEEL_E_USAGE, "encoder", "it is merged: it cannot be tuned before it is unmerged");
        return NULL;
    }
    if (bert->compressed) {
        keel__bert_refuse_compressed(err);
        return NULL;
    }
    if (keel__bert_check(bert, batch, &longest, err) != KEEL_OK) return NULL;
    keel_tensor *x = embed(&p);
    for (size_t layer = 0; layer < bert->config.layers; layer++) x = encode_layer(&p, layer, x);
    return pool(&p, x);
}
