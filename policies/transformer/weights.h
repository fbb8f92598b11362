/* The weights of a folder as Hugging Face lays it out: model.safetensors, or the shards that
 * model.safetensors.index.json names. Hostile until checked: names of shards stay within the folder. */
#ifndef KEEL_POLICIES_TRANSFORMER_WEIGHTS_H
#define KEEL_POLICIES_TRANSFORMER_WEIGHTS_H

#include "core/safetensors.h"

typedef struct keel_weights {
    keel_safetensors *shard; /* [n] mapped */
    size_t n;
    keel_arena arena;
} keel_weights;

keel_status keel_weights_open(keel_weights *weights, const char *dir, keel_err *err);
void keel_weights_close(keel_weights *weights);
/* NULL when no shard has it; *shard (may be NULL) gets the one that does. */
const keel_named_tensor *keel_weights_find(const keel_weights *weights, const char *name,
                                           const keel_safetensors **shard);

#endif
