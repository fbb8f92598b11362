/* Internal header of the encoder base: decisions of near states learn together. */
#ifndef KEEL_POLICIES_ENCODER_BASE_NEAR_H
#define KEEL_POLICIES_ENCODER_BASE_NEAR_H

#include <stddef.h>

/* Orders units [n] anew so that a shard holds near ones: within each run of KEEL_NEAR_WINDOW units, a shard
 * is the first that is left and those of the greatest cosine to it, the earlier of equals. A batch is `batch`
 * units, cut into shards of `shard`. vector [any unit]: its state's, [width]; NULL: near to none. */
enum { KEEL_NEAR_WINDOW = 1024 };
void keel__encoder_order_near(size_t *unit, size_t n, const float *const *vector, size_t width, size_t batch,
                              size_t shard);

#endif
