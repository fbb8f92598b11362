/* Internal header of the encoder base: training. */
#ifndef KEEL_POLICIES_ENCODER_BASE_TRAIN_H
#define KEEL_POLICIES_ENCODER_BASE_TRAIN_H

#include "policies/encoder_base/tune.h"

/* What is known at the end of a training. */
typedef struct keel_encoder_trained {
    double loss[KEEL_N_HEADS]; /* running means; below 0: nothing had a label for the head */
    uint64_t updates;          /* of all trainings so far */
    int64_t best_epoch;        /* with held-out units: the epoch whose parameters stayed, from 1 */
} keel_encoder_trained;

/* Trains the model once for each fold without it (crossed logits of the fold then stand in tuning), and once
 * on all units; goes on from the checkpoint if its identity is this one. */
keel_status keel__encoder_train(keel_encoder_tuning *tuning, keel_encoder_trained *out, keel_err *err);

#endif
