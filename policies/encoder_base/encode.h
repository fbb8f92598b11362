/* Internal header of the encoder base: features and pi_base, without the tape. */
#ifndef KEEL_POLICIES_ENCODER_BASE_ENCODE_H
#define KEEL_POLICIES_ENCODER_BASE_ENCODE_H

#include "policies/encoder_base/lesson.h"

/* Vectors out [n, hidden] of texts; the same text is encoded once. */
keel_status keel__encoder_readings(const keel_encoder_base *model, const keel_reading *const *text, size_t n,
                                   keel_arena *scratch, float *out, keel_err *err);

keel_status keel__encoder_base_encode(const keel_base *base, const keel_base_item *items, size_t n,
                                      keel_arena *scratch, keel_err *err);
/* What its own heads say: keel_base_kind.opinion. */
keel_status keel__encoder_base_opinion(const keel_base *base, const keel_conversation *conversation,
                                       keel_arena *scratch, keel_base_opinion *out, keel_err *err);
/* The n-gram base's, or without one the state's vector: by the tuned encoder, which cannot forget a decision,
 * so that `seen` changes nothing there. */
keel_status keel__encoder_base_place(const keel_base *base, const keel_conversation *conversation,
                                     size_t decision, bool seen, keel_arena *scratch, keel_sparse_vector *out,
                                     keel_err *err);
/* Words behind a logit of the n-gram base. */

#endif
