/* Between the files of the judges' door. */
#ifndef KEEL_REWARDS_JUDGE_INTERNAL_H
#define KEEL_REWARDS_JUDGE_INTERNAL_H

#include "rewards/judge.h"

#define KEEL_JUDGE_LEAST_P 1e-4 /* probabilities below count as this when they are calibrated */

uint64_t keel__judge_hash(const char *response);
const keel_judge_held_out *keel__judge_find_held_out(const keel_judge *judge, uint64_t response);
/* p [n_classes] of a kind to q. */
void keel__judge_calibrate(const keel_judge_calibration *calibration, size_t n_classes, float *p);
/* The label of q [n_classes]; KEEL_UNJUDGED below the threshold. */
int keel__judge_label(const keel_judge_calibration *calibration, size_t n_classes, const float *q);
/* Puts into the name what the kind does not know of. */
void keel__judge_name(keel_judge *judge);
/* What all kinds have in their files, into a judge whose kind is set. For kinds that come with a judge. */
keel_status keel__judge_read_common(keel_judge *judge, const keel_safetensors *file, keel_err *err);

/* Folds [count] of examples by group; KEEL_E_INVALID with fewer groups than folds. */
keel_status keel__judge_folds(const keel_judge_example *examples, size_t count, size_t folds, size_t *fold,
                              keel_err *err);
/* As keel_judge_cross_validate with folds that are known, continuing `from` (NULL: from nothing), by the kind
 * alone: not calibrated. */
keel_status keel__judge_cross_validate(const keel_judge_kind *kind, const keel_judge *from,
                                       const keel_judge_example *examples, size_t count, size_t folds,
                                       const size_t *fold, keel_judge_verdict *out, keel_err *err);

#endif
