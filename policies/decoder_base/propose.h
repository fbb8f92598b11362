/* Internal header of the decoder base: candidates that it writes. */
#ifndef KEEL_POLICIES_DECODER_BASE_PROPOSE_H
#define KEEL_POLICIES_DECODER_BASE_PROPOSE_H

#include "policies/decoder_base/encode.h"

/* Each item's prompt is read once; texts of all items are written together, and depend on their item, its
 * place among its own texts, and the seed alone. White space at both ends of a text is left out. */
keel_status keel__decoder_base_propose(const keel_base *base, const keel_proposal_item *items, size_t n,
                                       const keel_proposal_config *config, keel_arena *scratch,
                                       keel_err *err);

#endif
