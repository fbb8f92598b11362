/* Internal header of the encoder base: what encoders that were tuned without a text say of it. */
#ifndef KEEL_POLICIES_ENCODER_BASE_CROSSED_H
#define KEEL_POLICIES_ENCODER_BASE_CROSSED_H

#include "core/memory.h"
#include "core/safetensors.h"
#include "core/status.h"

/* A table from a text within its group to logits, by rising key. */
typedef struct keel_crossed {
    size_t n, width;
    int64_t *key;  /* [n] */
    float *logits; /* [n, width] */
} keel_crossed;

/* key [n] in any order, each with its row of logits [n, width]: copied into the arena; of equal keys the
 * first stays. */
keel_status keel_crossed_make(keel_crossed *out, const int64_t *key, const float *logits, size_t n,
                              size_t width, keel_arena *arena, keel_err *err);
/* The row of a key, or NULL. */
const float *keel_crossed_find(const keel_crossed *table, int64_t key);

#endif
