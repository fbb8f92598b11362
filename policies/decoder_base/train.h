/* Internal header of tuning the decoder base: updates and checkpoints. */
#ifndef KEEL_POLICIES_DECODER_BASE_TRAIN_H
#define KEEL_POLICIES_DECODER_BASE_TRAIN_H

#include "policies/decoder_base/units.h"
#include "policies/transformer/llama_tape.h"

typedef struct keel_decoder_trained {
    uint64_t updates;
    double loss; /* running mean: of a token (sft), of a pair or response (dpo, kto); below 0: no update */
    double grad_norm; /* of the last update, before clipping */
} keel_decoder_trained;

/* The rate that config.learning_rate stands for; `anew`: the model is a new one. */
double keel__decoder_rate(const struct keel_decoder_base_config *config, bool anew);

/* Trains what keel_llama_train made trainable on the units, with a teacher or NULL. Interruptible; goes on
 * from the job's first checkpoint. */
keel_status keel__decoder_train(keel_decoder_base *model, const keel_base_tuning *job,
                                const keel_decoder_units *units, const keel_llama_teacher *teacher,
                                double rate, keel_decoder_trained *out, keel_err *err);

#endif
