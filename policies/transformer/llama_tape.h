/* The decoder on the tape, for tuning: what tuning trains (llama_adapt.h) has gradients, the rest is read in
 * whatever number format it is kept, and nothing flows below the lowest layer that is trained. */
#ifndef KEEL_POLICIES_TRANSFORMER_LLAMA_TAPE_H
#define KEEL_POLICIES_TRANSFORMER_LLAMA_TAPE_H

#include "core/ops.h"
#include "policies/transformer/llama_adapt.h"

typedef struct keel_llama_training {
    keel_real *grads; /* [llama->params.size], laid out as it; NULL: all is frozen */
    double dropout;   /* of what attention and the feed-forward layer add; of LoRA: llama->lora.dropout */
    bool drops;       /* false: none is dropped, LoRA's neither */
    uint64_t seed;    /* of what is dropped: the same seed drops the same, layer by layer */
    keel_keep keep;   /* what stays of each half of a layer until backward */
    bool plain; /* without what LoRA and virtual tokens add, unless it is merged: the model that tuning began
                   with */
} keel_llama_training;

/* Texts, packed: one behind the other, each with positions from 0 and seen by itself alone. */
typedef struct keel_llama_batch {
    const int32_t *id;      /* [offsets[n]] below the tokenizer's size */
    const int32_t *offsets; /* [n + 1] from 0; no empty text */
    size_t n;
    const keel_real
        *weight; /* [offsets[n]] what predicting this token from all before it counts. The first of a
                    text is predicted from virtual tokens, if there are any, else it does not count */
} keel_llama_batch;

/* A decoder of the same tokens whose predictions are learned too (keel_token_teacher): its corrections count,
 * virtual tokens it has none (KEEL_E_UNSUPPORTED). */
typedef struct keel_llama_teacher {
    const keel_llama *llama;
    keel_real share, temperature;
} keel_llama_teacher;

typedef struct keel_llama_loss {
    keel_real divisor;   /* the sum of weights of all that makes one step, say */
    keel_real smoothing; /* of labels, 0 to below 1 */
    keel_real
        *log_prob; /* [offsets[n]] gets ln p(token | all before it), 0 where the weight is; NULL: none */
    const keel_llama_teacher *teacher; /* NULL: none */
} keel_llama_loss;

/* y[n,1]: of each text, the sum of weight * cross-entropy / divisor. The loss is their sum; with weights 1
 * and divisor 1, -y is the log-probability of each text; with a teacher, cross-entropy is as
 * keel_op_token_loss mixes it. Batch, training and what lies in the arena must stay
 * until backward. NULL: see keel_tape_check; a batch out of range and a decoder that is merged are told by
 * err. */
keel_tensor *keel_llama_on_tape(keel_tape *tape, const keel_llama *llama, const keel_llama_training *training,
                                const keel_llama_batch *batch, const keel_llama_loss *loss, keel_arena *arena,
                                keel_err *err);

#endif
