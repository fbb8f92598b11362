/* Internal header of the n-gram base: training of the encoder. */
#ifndef KEEL_POLICIES_NGRAM_BASE_TRAIN_H
#define KEEL_POLICIES_NGRAM_BASE_TRAIN_H

#include "policies/ngram_base/loss.h"

/* Trains table and layers from where they are, or from the checkpoint if its identity is this one. last gets
 * a running mean of each loss. */
keel_status keel__ngram_base_train(keel_tuning *tuning, double last[KEEL_N_LOSSES], uint64_t *updates,
                                   keel_err *err);

#endif
