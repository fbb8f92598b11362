/* Internal header of the n-gram base: the words behind the logits of its linear probes. */
#ifndef KEEL_POLICIES_NGRAM_BASE_EVIDENCE_H
#define KEEL_POLICIES_NGRAM_BASE_EVIDENCE_H

#include "policies/base.h"

/* Of the state: that the request is dangerous; of a candidate: that its text is a refusal. What an n-gram
 * adds is shared alike by its occurrences, and of each by the words of the run. */
keel_status keel__ngram_base_evidence(const keel_base *base, const keel_conversation *conversation,
                                      size_t decision, size_t action, keel_arena *arena,
                                      keel_base_evidence *out, keel_err *err);

#endif
