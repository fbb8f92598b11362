/* Internal header of the decoder base: from decisions to pi_base and features.
 *
 * A dialogue is read once: its decisions stand on what was read for the one before, candidates on the
 * decision. In candidate sets pi_base = softmax(prior_factor * mean log-likelihood by token), in fixed spaces
 * that of the likelihoods of the names. */
#ifndef KEEL_POLICIES_DECODER_BASE_ENCODE_H
#define KEEL_POLICIES_DECODER_BASE_ENCODE_H

#include "policies/decoder_base/reading.h"

keel_status keel__decoder_base_encode(const keel_base *base, const keel_base_item *items, size_t n,
                                      keel_arena *scratch, keel_err *err);
keel_status keel__decoder_base_likelihood(const keel_base *base, const keel_conversation *conversation,
                                          keel_base_said *out, keel_err *err);
keel_status keel__decoder_base_place(const keel_base *base, const keel_conversation *conversation,
                                     size_t decision, bool seen, keel_arena *scratch, keel_sparse_vector *out,
                                     keel_err *err);

/* What was read of a dialogue, for its next decision to go on from. */
typedef struct keel_decoder_memory {
    keel_llama_sequence *read; /* NULL: nothing yet */
    keel_tokens tokens;        /* of it, of keel_alloc */
} keel_decoder_memory;
void keel__decoder_forget(keel_decoder_memory *memory);
/* The memory holds exactly the prompt from here on. pool NULL: on this thread. */
keel_status keel__decoder_read_prompt(const keel_decoder_base *model, const keel_tokens *prompt,
                                      keel_decoder_memory *memory, keel_pool *pool, keel_arena *scratch,
                                      keel_err *err);

#endif
