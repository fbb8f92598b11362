/* The encoder on the tape, for tuning. */
#ifndef KEEL_POLICIES_TRANSFORMER_BERT_TAPE_H
#define KEEL_POLICIES_TRANSFORMER_BERT_TAPE_H

#include "core/fake_quant.h"
#include "core/ops.h"
#include "policies/transformer/bert_adapt.h"

/* The encoder as number formats would hold it (core/fake_quant.h): keel_bert_convert to the same types gives
 * the weights that are computed with. */
typedef struct keel_bert_fake {
    keel_fake_quant quant; /* of bert->params, held after each change of them */
    bool inputs;           /* what matrices are multiplied with is rounded too */
} keel_bert_fake;
/* type [keel_bert_rows]: of matrices; F32: as they are. keel_fake_quant_close ends it. KEEL_E_UNSUPPORTED
 * names a width that a format cannot have. */
keel_status keel_bert_fake_open(keel_bert_fake *out, const keel_bert *bert, const keel_matrix_type *type,
                                bool inputs, keel_err *err);

/* What of the encoder is trained: the rows of bert->params from `first` on. Gradients of what is frozen are
 * not worked out, and nothing flows below the lowest trained layer. */
typedef struct keel_bert_training {
    keel_params trained;        /* keel_params_from(&bert->params, first) */
    size_t first;               /* keel_bert_first_trained */
    keel_real *grads;           /* [trained.size], laid out as it; NULL: all is frozen */
    float dropout;              /* of the embeddings and of what each layer adds (Devlin et al. 2018) */
    keel_rng *rng;              /* for it and for that of LoRA; NULL: none is dropped */
    const keel_bert_fake *fake; /* NULL: the weights as they are */
} keel_bert_training;

/* A row of bert->params on the tape, with its gradient if it is trained: for heads. */
keel_tensor *keel_bert_param(keel_tape *tape, const keel_bert *bert, const keel_bert_training *training,
                             size_t row);
/* Vectors [n, hidden] of the texts as bert->config pools them, but not normalised: heads come on top. The
 * batch and what lies in the arena must stay until backward. NULL: see keel_tape_check; a batch out of range
 * and an encoder that is merged are told by err. */
keel_tensor *keel_bert_on_tape(keel_tape *tape, const keel_bert *bert, const keel_bert_training *training,
                               const keel_bert_batch *batch, keel_arena *arena, keel_err *err);

#endif
