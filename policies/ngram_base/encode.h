/* Internal header of the n-gram base: features and pi_base from bags. */
#ifndef KEEL_POLICIES_NGRAM_BASE_ENCODE_H
#define KEEL_POLICIES_NGRAM_BASE_ENCODE_H

#include "policies/ngram_base/bags.h"

keel_linear_probes_row keel__ngram_base_state_row(const keel_ngram_sample *sample);
keel_linear_probes_row keel__ngram_base_candidate_row(const keel_sample_candidate *candidate);
/* Rows of the linear probes, and scalar features before standardisation; of samples that are not weighed yet.
 */
void keel__ngram_base_state_scalars(const keel_ngram_base *model, const keel_ngram_sample *sample,
                                    int64_t group, float out[KEEL_STATE_SCALARS]);
void keel__ngram_base_candidate_scalars(const keel_ngram_base *model, const keel_sample_candidate *candidate,
                                        int64_t group, float out[KEEL_CANDIDATE_SCALARS]);
keel_status keel__ngram_base_encode(const keel_base *base, const keel_base_item *items, size_t n,
                                    keel_arena *scratch, keel_err *err);

#endif
