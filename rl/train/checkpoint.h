/* What a checkpoint of training holds (core/checkpoint.h: the file). */
#ifndef KEEL_RL_TRAIN_CHECKPOINT_H
#define KEEL_RL_TRAIN_CHECKPOINT_H

#include "rl/learn/learner.h"
#include "rl/train/validate_internal.h"

/* Loss parts over the steps since the last line of metrics: sums, and the extremes of q_low and q_high. */
typedef struct keel_loss_window {
    keel_loss_parts sum;
    double steps;
} keel_loss_window;

/* What a run has chosen from so far, and the parameters [learner's] of the best. */
typedef struct keel_choosing {
    keel_validation_trials trials;
    float *best;
} keel_choosing;

/* identity: 64 hex digits over everything the result depends on (configuration, logs, split, base).
 * choosing: NULL without a validation part. */
keel_status keel_learner_save(const keel_learner *learner, const keel_loss_window *window,
                              const keel_choosing *choosing, const char *identity, const char *path,
                              keel_err *err);
/* *found false, and nothing touched, if there is no checkpoint or it is of another identity. After an error
 * the learner can only be closed. */
keel_status keel_learner_resume(keel_learner *learner, keel_loss_window *window, keel_choosing *choosing,
                                const char *identity, const char *path, bool *found, keel_err *err);

#endif
