/* The encoder on the tape, for tuning. */
#ifndef KEEL_POLICIES_TRANSFORMER_BERT_TAPE_H
#define KEEL_POLICIES_TRANSFORMER_BERT_TAPE_H

#include "core/ops.h"
#include "policies/transformer/bert.h"

/* What of the encoder is trained. Gradients of what is frozen are not worked out, and nothing flows below the
 * lowest trained layer. */
typedef struct keel_bert_training {
    keel_real *grads;   /* laid out as bert->params.data; NULL: all is frozen */
    size_t first_layer; /* layers below it are frozen; 0: none */
    bool embeddings;    /* the tables and their norm are trained too; needs first_layer 0 */
    float dropout;      /* of the embeddings and of what each layer adds (Devlin et al. 2018) */
    keel_rng *rng;      /* for it */
} keel_bert_training;

/* Vectors [n, hidden] of the texts as bert->config pools them, but not normalised: heads come on top. The
 * batch and what lies in the arena must stay until backward. NULL: see keel_tape_check; a batch out of range
 * is told by err. */
keel_tensor *keel_bert_on_tape(keel_tape *tape, const keel_bert *bert, const keel_bert_training *training,
                               const keel_bert_batch *batch, keel_arena *arena, keel_err *err);

#endif
