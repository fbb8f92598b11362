/* Internal header of the encoder base: the loss of one shard, on the tape. */
#ifndef KEEL_POLICIES_ENCODER_BASE_LOSS_H
#define KEEL_POLICIES_ENCODER_BASE_LOSS_H

#include "core/ops.h"
#include "policies/encoder_base/lesson.h"
#include "policies/transformer/bert_tape.h"

/* A decision to learn from. */
typedef struct keel_encoder_lesson {
    keel_lesson_texts texts;
    keel_encoder_labels labels;
    const float *vectors; /* [1 + n_candidates, hidden] of its texts; NULL: by the encoder on the tape */
} keel_encoder_lesson;

typedef struct keel_encoder_batch {
    const keel_encoder_base *model;
    keel_bert_training training;       /* what is trained; gradients and random numbers are the shard's */
    const keel_encoder_lesson *lesson; /* [n] */
    size_t n;
    bool states_known;            /* no loss of states */
    double terms[KEEL_N_HEADS];   /* of each head's loss in the whole batch */
    double divisor[KEEL_N_HEADS]; /* the same, at least 1 */
} keel_encoder_batch;

/* What one shard works with; its memory is reused from update to update. */
typedef struct keel_encoder_shard {
    keel_tape *tape;
    keel_arena arena;
    double part[KEEL_N_HEADS]; /* each a share of the batch's mean */
} keel_encoder_shard;

/* Of a head's loss, in what is trained. */
double keel__encoder_weight(const keel_encoder_base *model, int head);
/* Loss of lessons first .. last-1; with gradients where grads (laid out as training.trained) is given. rng:
 * for dropout; NULL: none. */
keel_status keel__encoder_loss(const keel_encoder_batch *batch, size_t first, size_t last, keel_real *grads,
                               keel_rng *rng, keel_encoder_shard *work, keel_err *err);

#endif
