/* A smaller decoder out of a larger one: some layers, and of each some heads and channels, as dense matrices.
 */
#ifndef KEEL_POLICIES_TRANSFORMER_LLAMA_SLICE_H
#define KEEL_POLICIES_TRANSFORMER_LLAMA_SLICE_H

#include "policies/transformer/layer_kept.h"
#include "policies/transformer/llama.h"

/* Makes it of these n layers, in this order. F32 and BF16 stay what they are, other formats become F32 where
 * something is cut. The logits are those of the larger one with zeros in place of what is left out.
 * KEEL_E_USAGE while it is tuned. After an error it is as before. */
keel_status keel_llama_slice(keel_llama *llama, const keel_layer_kept *kept, size_t n, keel_err *err);

#endif
