/* Internal header of tuning the decoder base: the losses of a shard, on the tape.
 *
 * sft: -log p of each token of a response, summed, over the supervised tokens of the batch; with a teacher
 * mixed with what it says of them (keel_op_token_loss). dpo: -log
 * sigmoid(beta (d - d_ref)), d the log-likelihood of the preferred response less that of the other (Rafailov
 * et al. 2023, equation 7). kto: 1 - sigmoid(beta (r - z)) of a good response, 1 - sigmoid(beta (z - r)) of a
 * bad one, r = log p - log p_ref, z the mean of r over responses to other dialogues, at least 0, without a
 * gradient (Ethayarajh et al. 2024, equation 8). */
#ifndef KEEL_POLICIES_DECODER_BASE_LOSS_H
#define KEEL_POLICIES_DECODER_BASE_LOSS_H

#include "policies/decoder_base/units.h"
#include "policies/transformer/llama_tape.h"

/* A unit of a batch with its texts. */
typedef struct keel_decoder_example {
    keel_decoder_text text[KEEL_DECODER_MOST_TEXTS];
    size_t n;
    double reference[KEEL_DECODER_MOST_TEXTS]; /* dpo, kto: log-likelihoods by the model as it was */
    bool good;
} keel_decoder_example;

typedef struct keel_decoder_batch {
    const keel_decoder_base *model;
    keel_llama_training training;      /* without gradients */
    const keel_llama_teacher *teacher; /* sft: or NULL */
    const keel_decoder_example *example;
    double divisor;
    double baseline; /* kto: z */
    double scale;    /* on the gradient: of the loss, where it passes through binary16 */
} keel_decoder_batch;

/* Examples [first, last) of a batch, and what one thread works on them with. */
typedef struct keel_decoder_shard {
    const keel_decoder_batch *batch;
    size_t first, last;
    keel_real *grads; /* of the parameters: the gradient goes there */
    keel_tape *tape;
    keel_arena *arena;
} keel_decoder_shard;

/* out[i]: log-likelihoods of text k of each example i, with dpo of both texts (k is then 0), as the pass of
 * the loss works them out: by the same operations on the same packed texts, so that a model that has not
 * moved gives the same bits. Nothing is added to grads. */
keel_status keel__decoder_likelihoods(const keel_decoder_shard *shard, size_t k,
                                      double (*out)[KEEL_DECODER_MOST_TEXTS], keel_err *err);

/* The gradient is that of the examples times batch->scale; *loss: their part of the loss. */
keel_status keel__decoder_loss(const keel_decoder_shard *shard, double *loss, keel_err *err);

#endif
