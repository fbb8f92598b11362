/* Attention (Vaswani et al. 2017) over several texts at once, so that texts of unequal length need no
 * padding: softmax(q k^T / sqrt d) v within each text and head. And layer normalisation.
 *
 * T tokens in all, H heads of d; qkv [R, 3 H d] = [q | k | v], head h in columns h d .. h d + d - 1 of each.
 * offsets [n + 1]: text i is tokens offsets[i] .. offsets[i + 1] - 1; row [T]: the row that each token is. */
#ifndef KEEL_CORE_ATTENTION_H
#define KEEL_CORE_ATTENTION_H

#include <stddef.h>
#include <stdint.h>

#include <stdbool.h>

#include "core/tensor.h"

/* out [R, H d]; rows that no token is stay as they are. scratch: keel_attention_room of the longest text. One
 * thread. */
void keel_attention(const keel_real *qkv, size_t heads, size_t head_dim, const int32_t *offsets,
                    const int32_t *row, size_t n, keel_real *out, keel_real *scratch);
static inline size_t keel_attention_room(size_t heads, size_t head_dim, size_t tokens) {
    return tokens * (tokens + 4 * heads * head_dim);
}

/* One text: qkv [tokens, 3 H d] -> out [tokens, H d]; scores [tokens, tokens] is room, and holds the last
 * head's softmax afterwards. */
void keel__attend(const keel_real *qkv, size_t heads, size_t head_dim, size_t tokens, keel_real *out,
                  keel_real *scores);
/* Softmax of q k^T / sqrt d of one head: q, k within qkv. */
void keel__attention_scores(const keel_real *q, const keel_real *k, size_t width, size_t head_dim,
                            size_t tokens, keel_real *scores);

/* y[r] = (x[r] + more[r] - mean) / sqrt(variance + epsilon) * gain + bias for each row of cols; more may be
 * NULL, y may be x. The variance is the biased one (Ba et al. 2016). */
void keel_layer_norm(const keel_real *x, const keel_real *more, const keel_real *gain, const keel_real *bias,
                     double epsilon, size_t rows, size_t cols, keel_real *y);

#endif
