/* Checkpoints of training: one safetensors file beside the artefact to be, written atomically. */
#ifndef KEEL_RL_CHECKPOINT_H
#define KEEL_RL_CHECKPOINT_H

#include "rl/learner.h"

/* Loss parts over the steps since the last line of metrics: sums, and the extremes of q_low and q_high. */
typedef struct keel_loss_window {
    keel_loss_parts sum;
    double steps;
} keel_loss_window;

/* out_dir/../.<name>.checkpoint, into the arena; NULL when out of memory. */
char *keel_checkpoint_path(keel_arena *arena, const char *out_dir);

/* identity: 64 hex digits over everything the result depends on (configuration, logs, split, base). */
keel_status keel_checkpoint_write(const char *path, const char *identity, const keel_learner *learner,
                                  const keel_loss_window *window, keel_err *err);
/* *found false, and nothing touched, if there is none or it belongs to another identity. A damaged one is an
 * error. */
keel_status keel_checkpoint_read(const char *path, const char *identity, keel_learner *learner,
                                 keel_loss_window *window, bool *found, keel_err *err);

#endif
