/* The weights of a folder as Hugging Face lays it out: model.safetensors, or the shards that
 * model.safetensors.index.json names. Hostile until checked: names of shards stay within the folder. */
#ifndef KEEL_POLICIES_TRANSFORMER_WEIGHTS_H
#define KEEL_POLICIES_TRANSFORMER_WEIGHTS_H

#include "core/matrix.h"
#include "core/safetensors.h"

typedef struct keel_weights {
    keel_safetensors *shard; /* [n] mapped */
    size_t n;
    keel_matrix_inputs inputs; /* of what keel_weights_held finds: set by whoever has read config.json */
    keel_arena arena;
} keel_weights;

keel_status keel_weights_open(keel_weights *weights, const char *dir, keel_err *err);
void keel_weights_close(keel_weights *weights);
/* NULL when no shard has it; *shard (may be NULL) gets the one that does. */
const keel_named_tensor *keel_weights_find(const keel_weights *weights, const char *name,
                                           const keel_safetensors **shard);

/* A matrix in a number format that safetensors have no name for is a tensor of U8 [rows, bytes of a row]
 * whose name ends in the format's: "model.layers.0.mlp.up_proj.weight.q8_0". */
/* Whether one of that name lies so: *out gets it, where it is mapped, else data NULL.
 * KEEL_E_INVALID for another type or shape, or what the format cannot hold (a scale that is not finite). */
keel_status keel_weights_held(const keel_weights *weights, const char *name, size_t rows, size_t cols,
                              keel_matrix *out, keel_err *err);
/* Its name, or NULL for a format that safetensors know. */
const char *keel_weights_format(keel_matrix_type type);

#endif
