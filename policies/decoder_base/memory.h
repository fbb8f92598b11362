/* Internal header of tuning the decoder base: the memory of an update, before it is taken. */
#ifndef KEEL_POLICIES_DECODER_BASE_MEMORY_H
#define KEEL_POLICIES_DECODER_BASE_MEMORY_H

#include "core/tape.h"
#include "policies/decoder_base/units.h"

/* What stays of a layer until backward, by precision and recompute. */
keel_keep keel__decoder_keep(const struct keel_decoder_base_config *config);

/* Says what the largest update on the units takes, with a teacher or NULL. KEEL_E_NOMEM where the allocator
 * has less left; the hint has settings that fit, of which those that change no result come first. */
keel_status keel__decoder_check_memory(const keel_decoder_base *model, const keel_llama *teacher,
                                       const keel_decoder_units *units, size_t threads, keel_err *err);

#endif
