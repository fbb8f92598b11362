/* Decoders that are tuned as number formats would hold them (core/fake_quant.h): the forward pass computes
 * with the weights, and where asked with the inputs, that the compressed decoder will have. */
#ifndef KEEL_POLICIES_TRANSFORMER_LLAMA_FAKE_H
#define KEEL_POLICIES_TRANSFORMER_LLAMA_FAKE_H

#include "core/fake_quant.h"
#include "policies/transformer/llama_adapt.h"

typedef struct keel_llama_fake {
    keel_fake_quant quant;  /* of llama->params */
    keel_matrix_type *type; /* [n_rows] */
    keel_matrix *matrix;    /* [n_rows] rows that are not trained, as they are held */
    bool inputs;            /* what matrices are multiplied with is rounded too */
    keel_arena arena;
} keel_llama_fake;

/* A decoder that keel_llama_train prepared in mode FULL or FREEZE (else KEEL_E_UNSUPPORTED). type [n_rows]:
 * of matrices; F32: as they are. Factors that tuning->scales added begin at 1. Holds the weights as they are
 * now. pool NULL: this thread. After an error the decoder is as before. */
keel_status keel_llama_fake_open(keel_llama *llama, const keel_matrix_type *type, bool inputs,
                                 keel_pool *pool, keel_err *err);
/* After each change of parameters; nothing without a fake. */
keel_status keel_llama_fake_hold(keel_llama *llama, keel_pool *pool, keel_err *err);
/* After backward, of the block of gradients that it wrote; nothing without a fake. */
void keel_llama_fake_flow(const keel_llama *llama, keel_real *grads);
/* The end of it: weights written in their formats are what was held. Nothing without a fake. */
void keel_llama_fake_settle(keel_llama *llama);
void keel_llama_fake_close(keel_llama *llama); /* the weights stay as they are */

#endif
