/* Internal header of tuning the decoder base: a new decoder with a tokenizer of its own. */
#ifndef KEEL_POLICIES_DECODER_BASE_FRESH_H
#define KEEL_POLICIES_DECODER_BASE_FRESH_H

#include "policies/decoder_base/kind.h"
#include "policies/transformer/llama.h"

/* Trains byte-level BPE on what the corpus says, and draws the weights. It speaks ChatML. */
keel_status keel__decoder_fresh(const keel_base_tuning *job, const struct keel_decoder_base_config *config,
                                keel_llama **out, keel_err *err);

#endif
