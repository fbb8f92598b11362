/* Internal header of the n-gram base: passes over the corpus, before examples are weighed. */
#ifndef KEEL_POLICIES_NGRAM_BASE_PASSES_H
#define KEEL_POLICIES_NGRAM_BASE_PASSES_H

#include "policies/ngram_base/tune.h"

/* Counts in how many texts each bucket occurs, adds the counts of tuning->from, makes one row for each bucket
 * that occurs, and copies the embeddings of tuning->from. */
keel_status keel__ngram_base_count(keel_tuning *tuning, keel_err *err);
/* Fits the linear probes. Goes on from their checkpoint if its identity is this one, and leaves it there. */
keel_status keel__ngram_base_fit_heads(keel_tuning *tuning, keel_err *err);
/* Mean and deviation of the scalar features. */
keel_status keel__ngram_base_scale(keel_tuning *tuning, keel_err *err);

#endif
