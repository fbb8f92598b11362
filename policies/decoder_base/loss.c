#include "policies/decoder_base/loss.h"

#include <math.h>
#include <string.h>

/* Texts of a shard, packed one behind the other. */
typedef struct packing {
    size_t n, tokens;
    int32_t *id, *offsets;
    keel_real *weight; /* [tokens] of what each token says of the next: 1 where that is learned */
} packing;

/* Texts [k, end) of each example are packed. */
static size_t end_of(const keel_decoder_batch *batch, size_t k) {
    return batch->model->config.loss == KEEL_LOSS_DPO ? KEEL_DECODER_MOST_TEXTS : k + 1;
}

static keel_status lay_out(const keel_decoder_shard *s, size_t k, packing *out, keel_err *err) {
    const keel_decoder_batch *batch = s->batch;
    const size_t end = end_of(batch, k);
    *out = (packing){.n = (s->last - s->first) * (end - k)};
    for (size_t i = s->first; i < s->last; i++)
        for (size_t j = k; j < end; j++) out->tokens += batch->example[i].text[j].n;
    out->id = keel_arena_alloc(s->arena, out->tokens * sizeof *out->id);
    out->weight = keel_arena_calloc(s->arena, out->tokens, sizeof *out->weight);
    out->offsets = keel_arena_calloc(s->arena, out->n + 1, sizeof *out->offsets);
    if (!out->id || !out->weight || !out->offsets || out->tokens > INT32_MAX)
        return keel_nomem(err, "decoder base");
    size_t at = 0, text = 0;
    for (size_t i = s->first; i < s->last; i++)
        for (size_t j = k; j < end; j++) {
            const keel_decoder_text *one = &batch->example[i].text[j];
            memcpy(out->id + at, one->id, one->n * sizeof *out->id);
            for (size_t t = 0; t < one->n; t++) out->weight[at + t] = one->learned[t];
            at += one->n;
            out->offsets[++text] = (int32_t)at;
        }
    return KEEL_OK;
}

/* sums [texts, 1] of what is packed: minus their log-likelihoods, by of->divisor. */
static keel_status run_texts(const keel_decoder_shard *s, const packing *texts, const keel_llama_loss *of,
                             keel_tensor **sums, keel_err *err) {
    keel_llama_training *training = keel_arena_alloc(s->arena, sizeof *training);
    keel_llama_batch *packed = keel_arena_alloc(s->arena, sizeof *packed);
    if (!training || !packed) return keel_nomem(err, "decoder base");
    *training = s->batch->training;
    training->grads = s->grads;
    *packed = (keel_llama_batch){
        .id = texts->id, .offsets = texts->offsets, .n = texts->n, .weight = texts->weight};
    keel_tape_reset(s->tape);
    if (err) *err = (keel_err){0};
    *sums = keel_llama_on_tape(s->tape, s->batch->model->llama, training, packed, of, s->arena, err);
    return !*sums && err && err->code != KEEL_OK ? err->code : KEEL_OK;
}

keel_status keel__decoder_likelihoods(const keel_decoder_shard *s, size_t k,
                                      double (*out)[KEEL_DECODER_MOST_TEXTS], keel_err *err) {
    static const keel_llama_loss of = {.divisor = 1};
    packing texts;
    keel_tensor *sums;
    KEEL_TRY(lay_out(s, k, &texts, err));
    KEEL_TRY(run_texts(s, &texts, &of, &sums, err));
    KEEL_TRY(keel_tape_check(s->tape, sums, err));
    const size_t end = end_of(s->batch, k);
    for (size_t i = s->first, text = 0; i < s->last; i++)
        for (size_t j = k; j < end; j++) out[i][j] = -(double)sums->data[text++];
    return KEEL_OK;
}

/* ---- losses ---- */

/* log p_ref - log p of each text that is packed: 0 where the model has not moved. */
static keel_tensor *moved(const keel_decoder_shard *s, keel_tensor *sums) {
    const size_t end = end_of(s->batch, 0), n = (s->last - s->first) * end;
    keel_real *reference = keel_arena_alloc(s->arena, n * sizeof *reference);
    if (!reference) return NULL;
    for (size_t i = 0; i < n; i++)
        reference[i] = (keel_real)s->batch->example[s->first + i / end].reference[i % end];
    return keel_op_add(s->tape, sums, keel_tape_input(s->tape, reference, n, 1));
}

/* -log sigmoid(beta (d - d_ref)), summed over pairs: behind[2p] and behind[2p + 1] are what `moved` gives. */
static keel_tensor *dpo(const keel_decoder_shard *s, keel_tensor *behind) {
    const keel_real beta = (keel_real)s->batch->model->config.preference_beta;
    const size_t n = s->last - s->first;
    int32_t *better = keel_arena_alloc(s->arena, n * sizeof *better),
            *worse = keel_arena_alloc(s->arena, n * sizeof *worse);
    keel_real *one = keel_arena_alloc(s->arena, n * sizeof *one);
    if (!better || !worse || !one) return NULL;
    for (size_t i = 0; i < n; i++) {
        better[i] = (int32_t)(2 * i);
        worse[i] = (int32_t)(2 * i + 1);
        one[i] = 1;
    }
    keel_tensor *d = keel_op_sub(s->tape, keel_op_rows(s->tape, behind, worse, n),
                                 keel_op_rows(s->tape, behind, better, n));
    return keel_op_logistic(s->tape, keel_op_scale(s->tape, d, beta), one, NULL,
                            (keel_real)s->batch->divisor);
}

/* 1 - sigmoid(s beta (r - z)), s = 1 for good responses, -1 for bad ones: (1 - tanh(x / 2)) / 2. */
static keel_tensor *kto(const keel_decoder_shard *s, keel_tensor *behind) {
    static const keel_real half[1] = {0.5f};
    const keel_decoder_batch *batch = s->batch;
    const double beta = batch->model->config.preference_beta;
    const size_t n = s->last - s->first;
    keel_tape *tape = s->tape;
    keel_real *sign = keel_arena_alloc(s->arena, n * sizeof *sign),
              *rest = keel_arena_alloc(s->arena, n * sizeof *rest);
    if (!sign || !rest) return NULL;
    for (size_t i = 0; i < n; i++) {
        const double way = batch->example[s->first + i].good ? beta : -beta;
        sign[i] = (keel_real)-way; /* of what is minus r */
        rest[i] = (keel_real)(-way * batch->baseline);
    }
    keel_tensor *x = keel_op_add(tape, keel_op_mul(tape, behind, keel_tape_input(tape, sign, n, 1)),
                                 keel_tape_input(tape, rest, n, 1));
    keel_tensor *y = keel_op_linear(tape, x, keel_tape_input(tape, half, 1, 1), NULL, KEEL_TANH);
    return keel_op_sum(tape, y, (keel_real)(-0.5 / batch->divisor)); /* n / 2 of it is left out: a constant */
}

static keel_tensor *loss_of(const keel_decoder_shard *s, keel_tensor *sums) {
    const int loss = s->batch->model->config.loss;
    if (loss == KEEL_LOSS_SFT) return keel_op_sum(s->tape, sums, 1);
    keel_tensor *behind = moved(s, sums);
    return loss == KEEL_LOSS_DPO ? dpo(s, behind) : kto(s, behind);
}

keel_status keel__decoder_loss(const keel_decoder_shard *s, double *loss, keel_err *err) {
    const keel_decoder_batch *batch = s->batch;
    const struct keel_decoder_base_config *c = &batch->model->config;
    const bool sft = c->loss == KEEL_LOSS_SFT;
    const keel_llama_loss of = {.divisor = (keel_real)(sft ? batch->divisor : 1),
                                .smoothing = (keel_real)(sft ? c->label_smoothing : 0),
                                .teacher = sft ? batch->teacher : NULL};
    packing texts;
    keel_tensor *sums;
    KEEL_TRY(lay_out(s, 0, &texts, err));
    KEEL_TRY(run_texts(s, &texts, &of, &sums, err));
    keel_tensor *sum = loss_of(s, sums);
    KEEL_TRY(keel_tape_check(s->tape, sum, err));
    const double left_out = 0.5 * (double)(s->last - s->first) / batch->divisor;
    *loss = (double)sum->data[0] + (c->loss == KEEL_LOSS_KTO ? left_out : 0);
    return keel_tape_backward(s->tape, keel_op_scale(s->tape, sum, (keel_real)batch->scale), err);
}
