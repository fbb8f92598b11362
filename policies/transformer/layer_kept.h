/* What stays of a transformer's layer when a smaller model is cut out of a larger one. */
#ifndef KEEL_POLICIES_TRANSFORMER_LAYER_KEPT_H
#define KEEL_POLICIES_TRANSFORMER_LAYER_KEPT_H

#include <stddef.h>
#include <stdint.h>

/* Places rising; at least one of each. */
typedef struct keel_layer_kept {
    size_t layer; /* its number before */
    size_t n_heads, n_inner;
    const uint32_t *head;  /* [n_heads]; of a decoder, heads of keys and values with those that read them */
    const uint32_t *inner; /* [n_inner] rows of up and of a gate, columns of down */
} keel_layer_kept;

#endif
