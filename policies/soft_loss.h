/* Losses of labels mixed with what a teacher says, on the tape (Hinton et al. 2015):
 *
 *   (1 - share) loss(x, label) + share T^2 loss(x / T, what the teacher says at T)
 *
 * share by row: keel_soft_label_share. */
#ifndef KEEL_POLICIES_SOFT_LOSS_H
#define KEEL_POLICIES_SOFT_LOSS_H

#include "core/memory.h"
#include "core/ops.h"
#include "policies/base.h"

/* Of the rows of one loss; the caller fills hard and soft where the row's weight is not 0. */
typedef struct keel_soft_targets {
    double distil, temperature;       /* of the configuration */
    float *hard, *soft;               /* [n, classes] */
    float *hard_weight, *soft_weight; /* [n] 1 - share, and share T^2, where known; else 0 */
    bool taught;                      /* of any row a teacher says something */
} keel_soft_targets;

/* In the arena, zeros; false when out of memory. */
bool keel_soft_targets_make(const keel_base_config *config, size_t n, size_t classes, keel_arena *arena,
                            keel_soft_targets *out);
void keel_soft_targets_weigh(keel_soft_targets *to, size_t i, bool labelled, bool taught);

/* Of rows of logits; of logits of yes; of segments of logits (weights by segment). As the operations of
 * core/ops.h, over divisor. */
keel_tensor *keel_soft_cross_entropy(keel_tape *tape, keel_tensor *x, const keel_soft_targets *of,
                                     double divisor);
keel_tensor *keel_soft_logistic(keel_tape *tape, keel_tensor *x, const keel_soft_targets *of, double divisor);
keel_tensor *keel_soft_segments(keel_tape *tape, keel_tensor *x, const int32_t *offsets, size_t n_segments,
                                const keel_soft_targets *of, double divisor);

#endif
