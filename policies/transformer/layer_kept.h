/* Layers of unequal sizes: what stays of one when a smaller model is cut out of a larger one. */
#ifndef KEEL_POLICIES_TRANSFORMER_LAYER_KEPT_H
#define KEEL_POLICIES_TRANSFORMER_LAYER_KEPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

/* Places rising; at least one of each. */
typedef struct keel_layer_kept {
    size_t layer; /* its number before */
    size_t n_heads, n_inner;
    const uint32_t *head;  /* [n_heads]; of a decoder, heads of keys and values with those that read them */
    const uint32_t *inner; /* [n_inner] rows of up and of a gate, columns of down */
} keel_layer_kept;

/* The largest of sizes [layers], each at least 1, or KEEL_E_INVALID: a layer of the model, a "decoder" say,
 * has none of what they count. *alike: all are the same. No sizes, or no layers: *most stays. */
keel_status keel_layer_largest(const uint32_t *size, size_t layers, size_t *most, bool *alike,
                               const char *model, const char *what, keel_err *err);

#endif
