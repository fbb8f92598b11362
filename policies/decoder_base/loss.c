#include "policies/decoder_base/loss.h"

#include <math.h>
#include <string.h>

/* Texts of a shard, packed one behind the other. */
typedef struct packing {
    size_t n, tokens;
    int32_t *id, *offsets;
    keel_real *weight; /* [tokens] of what each token says of the next: 1 where that is learned */
} packing;

static bool trains(const keel_decoder_batch *batch, size_t text) {
    return text == 0 || batch->model->config.loss == KEEL_LOSS_DPO;
}

static keel_status lay_out(const keel_decoder_batch *batch, size_t first, size_t last, keel_arena *arena,
                           packing *out, keel_err *err) {
    *out = (packing){0};
    for (size_t i = first; i < last; i++)
        for (size_t k = 0; k < batch->example[i].n; k++)
            if (trains(batch, k)) out->n++, out->tokens += batch->example[i].text[k].n;
    out->id = keel_arena_alloc(arena, out->tokens * sizeof *out->id);
    out->weight = keel_arena_calloc(arena, out->tokens, sizeof *out->weight);
    out->offsets = keel_arena_calloc(arena, out->n + 1, sizeof *out->offsets);
    if (!out->id || !out->weight || !out->offsets || out->tokens > INT32_MAX)
        return keel_nomem(err, "decoder base");
    size_t at = 0, text = 0;
    for (size_t i = first; i < last; i++)
        for (size_t k = 0; k < batch->example[i].n; k++) {
            const keel_decoder_text *one = &batch->example[i].text[k];
            if (!trains(batch, k)) continue;
            memcpy(out->id + at, one->id, one->n * sizeof *out->id);
            for (size_t t = 0; t < one->n; t++) out->weight[at + t] = one->learned[t];
            at += one->n;
            out->offsets[++text] = (int32_t)at;
        }
    return KEEL_OK;
}

/* -log sigmoid(beta (d - d_ref)), summed over pairs: sums[2p] and sums[2p + 1] are minus log-likelihoods. */
static keel_tensor *dpo(const keel_decoder_batch *batch, size_t first, size_t n, keel_tensor *sums,
                        keel_tape *tape, keel_arena *arena) {
    const keel_real beta = (keel_real)batch->model->config.preference_beta;
    int32_t *better = keel_arena_alloc(arena, n * sizeof *better),
            *worse = keel_arena_alloc(arena, n * sizeof *worse);
    keel_real *margin = keel_arena_alloc(arena, n * sizeof *margin),
              *one = keel_arena_alloc(arena, n * sizeof *one);
    if (!better || !worse || !margin || !one) return NULL;
    for (size_t i = 0; i < n; i++) {
        const keel_decoder_example *example = &batch->example[first + i];
        better[i] = (int32_t)(2 * i);
        worse[i] = (int32_t)(2 * i + 1);
        margin[i] = (keel_real)(-(double)beta * (example->reference[0] - example->reference[1]));
        one[i] = 1;
    }
    keel_tensor *d =
        keel_op_sub(tape, keel_op_rows(tape, sums, worse, n), keel_op_rows(tape, sums, better, n));
    keel_tensor *logit = keel_op_add(tape, keel_op_scale(tape, d, beta), keel_tape_input(tape, margin, n, 1));
    return keel_op_logistic(tape, logit, one, NULL, (keel_real)batch->divisor);
}

/* 1 - sigmoid(s beta (r - z)), s = 1 for good responses, -1 for bad ones: (1 - tanh(x / 2)) / 2. */
static keel_tensor *kto(const keel_decoder_batch *batch, size_t first, size_t n, keel_tensor *sums,
                        keel_tape *tape, keel_arena *arena) {
    static const keel_real half[1] = {0.5f};
    const double beta = batch->model->config.preference_beta;
    keel_real *sign = keel_arena_alloc(arena, n * sizeof *sign),
              *rest = keel_arena_alloc(arena, n * sizeof *rest);
    if (!sign || !rest) return NULL;
    for (size_t i = 0; i < n; i++) {
        const keel_decoder_example *example = &batch->example[first + i];
        const double s = example->good ? beta : -beta;
        sign[i] = (keel_real)-s; /* of a sum that is minus a log-likelihood */
        rest[i] = (keel_real)(-s * (example->reference[0] + batch->baseline));
    }
    keel_tensor *x = keel_op_add(tape, keel_op_mul(tape, sums, keel_tape_input(tape, sign, n, 1)),
                                 keel_tape_input(tape, rest, n, 1));
    keel_tensor *y = keel_op_linear(tape, x, keel_tape_input(tape, half, 1, 1), NULL, KEEL_TANH);
    return keel_op_sum(tape, y, (keel_real)(-0.5 / batch->divisor)); /* n / 2 of it is left out: a constant */
}

keel_status keel__decoder_loss(const keel_decoder_batch *batch, size_t first, size_t last, keel_real *grads,
                               keel_tape *tape, keel_arena *arena, double *loss, keel_err *err) {
    const struct keel_decoder_base_config *c = &batch->model->config;
    const size_t n = last - first;
    packing texts;
    keel_llama_training training = batch->training;
    training.grads = grads;
    KEEL_TRY(lay_out(batch, first, last, arena, &texts, err));
    keel_tape_reset(tape);
    const bool sft = c->loss == KEEL_LOSS_SFT;
    const keel_llama_batch packed = {
        .id = texts.id, .offsets = texts.offsets, .n = texts.n, .weight = texts.weight};
    const keel_llama_loss of = {.divisor = (keel_real)(sft ? batch->divisor : 1),
                                .smoothing = (keel_real)(sft ? c->label_smoothing : 0)};
    if (err) *err = (keel_err){0};
    keel_tensor *sums = keel_llama_on_tape(tape, batch->model->llama, &training, &packed, &of, arena, err);
    if (!sums && err && err->code != KEEL_OK) return err->code;
    keel_tensor *sum = sft                        ? keel_op_sum(tape, sums, 1)
                       : c->loss == KEEL_LOSS_DPO ? dpo(batch, first, n, sums, tape, arena)
                                                  : kto(batch, first, n, sums, tape, arena);
    KEEL_TRY(keel_tape_check(tape, sum, err));
    *loss = (double)sum->data[0] + (c->loss == KEEL_LOSS_KTO ? 0.5 * (double)n / batch->divisor : 0);
    return keel_tape_backward(tape, keel_op_scale(tape, sum, (keel_real)batch->scale), err);
}
