/* The operations of a tape (ops_*.c). Each has a plain twin and a finite-difference test.
 *
 * Dimension letters: B rows (batch), I inputs, O outputs, A actions, S segments, V vocabulary rows. */
#ifndef KEEL_CORE_OPS_H
#define KEEL_CORE_OPS_H

#include <stddef.h>
#include <stdint.h>

#include "core/matrix.h"
#include "core/pcg.h"
#include "core/sparse.h"
#include "core/tape.h"

typedef enum keel_activation {
    KEEL_LINEAR,
    KEEL_RELU,
    KEEL_TANH,
    KEEL_GELU
} keel_activation; /* GELU: the exact one, by erf */

/* y[B,O] = act(x[B,I] w[O,I]^T + b[1,O]); b may be NULL. One SGEMM forward, two backward. */
keel_tensor *keel_op_linear(keel_tape *tape, keel_tensor *x, keel_tensor *w, keel_tensor *b,
                            keel_activation act);
/* The same where x is zero but for the columns runs[2k] .. runs[2k+1]-1, ascending, k < n_runs: no others are
 * read, nor is their gradient worked out. runs NULL: all; borrowed until backward. */
keel_tensor *keel_op_linear_runs(keel_tape *tape, keel_tensor *x, keel_tensor *w, keel_tensor *b,
                                 keel_activation act, const int32_t *runs, size_t n_runs);
/* What is added to columns column .. column + O' - 1 of a linear layer's result: factor x[B,R] b[O',R]^T.
 * With x = a product of the layer's input with [R,I] it is a correction of rank R (LoRA, Hu et al. 2021). */
typedef struct keel_branch {
    keel_tensor *x, *b;
    keel_real factor;
    size_t column;
} keel_branch;
/* y[B,O] = act(x[B,I] w[O,I]^T + b[1,O] + n branches). They are copied. */
keel_tensor *keel_op_linear_branched(keel_tape *tape, keel_tensor *x, keel_tensor *w, keel_tensor *b,
                                     keel_activation act, const keel_branch *branches, size_t n);
/* The same over weights of any number format that no gradient flows to; borrowed until backward. */
keel_tensor *keel_op_linear_frozen(keel_tape *tape, keel_tensor *x, const keel_matrix *w, keel_tensor *b,
                                   keel_activation act, const keel_branch *branches, size_t n);
/* y = x as products with weights of this type take it (core/matrix.h: keel_row_quantise, of rows or of blocks
 * of 32 columns); the gradient passes as if nothing had been rounded. F32 and BF16: x itself. */
keel_tensor *keel_op_round_inputs(keel_tape *tape, keel_tensor *x, keel_matrix_type type);
keel_tensor *keel_op_add(keel_tape *tape, keel_tensor *x, keel_tensor *y); /* same shape */
/* The same written over y, whose data nothing else may need: y is the result of a linear layer without
 * activation, say. */
keel_tensor *keel_op_add_onto(keel_tape *tape, keel_tensor *x, keel_tensor *y);
keel_tensor *keel_op_sub(keel_tape *tape, keel_tensor *x, keel_tensor *y);
keel_tensor *keel_op_mul(keel_tape *tape, keel_tensor *x, keel_tensor *y);
keel_tensor *keel_op_scale(keel_tape *tape, keel_tensor *x, keel_real factor);
/* y = max(x, floor) + shift; floor and shift [size of x], borrowed until backward. Where x is at or below its
 * floor no gradient passes. */
keel_tensor *keel_op_floor(keel_tape *tape, keel_tensor *x, const keel_real *floor, const keel_real *shift);
/* y[B, sum of cols] = [x0 | x1 | ...] */
keel_tensor *keel_op_concat(keel_tape *tape, keel_tensor *const *inputs, size_t count);
/* The rows of x, then those of y. */
keel_tensor *keel_op_stack(keel_tape *tape, keel_tensor *x, keel_tensor *y);
/* y[R, cols] = x[index[r], :]; index is borrowed until backward. */
keel_tensor *keel_op_rows(keel_tape *tape, keel_tensor *x, const int32_t *index, size_t n_rows);
/* y[B,K]: y[b,k] = x[b, k*A + column[b]], x [B, K*A]: one action out of each of K heads; column borrowed. */
keel_tensor *keel_op_pick_heads(keel_tape *tape, keel_tensor *x, const int32_t *column, size_t heads);
/* y[B,A] = sum_k weight[b*stride + k] x[b, k*A + a], x [B, K*A]; weight borrowed: [K] for all rows alike with
 * stride 0, [B, K] with stride K. */
keel_tensor *keel_op_mix_heads(keel_tape *tape, keel_tensor *x, const keel_real *weight, size_t stride,
                               size_t heads);
/* y[B,1] = log sum_a exp x[b,a] (maximum subtracted). mask [B,A] of 0/1 bytes or NULL; a row with no allowed
 * action is an input error and gives NULL. */
keel_tensor *keel_op_logsumexp(keel_tape *tape, keel_tensor *x, const uint8_t *mask);
/* y[S,1] = log sum of exp over rows offsets[s] .. offsets[s+1]-1 of x[R,1]; offsets [S+1] borrowed, no empty
 * segment. */
keel_tensor *keel_op_segment_logsumexp(keel_tape *tape, keel_tensor *x, const int32_t *offsets,
                                       size_t n_segments);
/* Bags of weighted table rows: y[S, cols] = sum_j weight[j] table[id[j], :] over j in offsets[s] ..
 * offsets[s+1]-1. The gradient of the table is sparse: see keel_sparse_grad; NULL: frozen. ids, weights,
 * offsets borrowed for as long as that. */
keel_tensor *keel_op_embedding_bag(keel_tape *tape, const keel_real *table, size_t table_rows, size_t cols,
                                   const uint32_t *id, const keel_real *weight, const int32_t *offsets,
                                   size_t n_segments, keel_sparse_grad *grad);
/* y[B,1] = sum_c x[b,c] y[b,c] */
keel_tensor *keel_op_dot(keel_tape *tape, keel_tensor *x, keel_tensor *y);
/* Inverted dropout, rate in [0, 1), rounded to a multiple of 2^-16 (not to 0 or 1); rate 0 is x itself and
 * draws nothing. */
keel_tensor *keel_op_dropout(keel_tape *tape, keel_tensor *x, keel_real rate, keel_rng *rng);
/* y[B,C] = (x + more - mean) / sqrt(variance + epsilon) * gain[1,C] + bias[1,C] row by row; more[B,C] may be
 * NULL (Ba et al. 2016). */
keel_tensor *keel_op_layer_norm(keel_tape *tape, keel_tensor *x, keel_tensor *more, keel_tensor *gain,
                                keel_tensor *bias, double epsilon);
/* The same with keel_op_dropout of more, in one pass. */
keel_tensor *keel_op_residual_norm(keel_tape *tape, keel_tensor *x, keel_tensor *more, keel_real rate,
                                   keel_rng *rng, keel_tensor *gain, keel_tensor *bias, double epsilon);
/* y[B,C] = s / sqrt(mean of s^2 + epsilon) * gain[1,C] with s = x + more, row by row (Zhang & Sennrich 2019).
 * more[B,C] may be NULL; else s is written over it (as keel_op_add_onto does), and *sum, if asked for, is s.
 */
keel_tensor *keel_op_rms_norm(keel_tape *tape, keel_tensor *x, keel_tensor *more, keel_tensor *gain,
                              double epsilon, keel_tensor **sum);
/* y = silu(gate) * up element by element (SwiGLU; Shazeer 2020). */
keel_tensor *keel_op_gate(keel_tape *tape, keel_tensor *gate, keel_tensor *up);
/* Rotary positions (Su et al. 2021) in x[R, H d], written over it: in each head, columns i and i + d/2 are
 * turned by the angle of their row, whose cosine is turn[position[r], i] and sine turn[position[r], d/2 + i].
 * turn [., d] and position [R] are borrowed until backward. */
keel_tensor *keel_op_rope(keel_tape *tape, keel_tensor *x, size_t heads, const keel_real *turn,
                          const int32_t *position);
/* Attention (Vaswani et al. 2017) within n texts, which follow one another and are all of the rows: softmax(q
 * k^T / sqrt d) v for each of H heads of d, y[R, H d] out of qkv[R, 3 H d] = [q | k | v], head h in columns h
 * d .. h d + d - 1 of each. Nothing of the square of a text's tokens is kept: backward works it out again.
 * Text i is rows offsets[i] .. offsets[i + 1] - 1; offsets [n + 1] borrowed until backward. */
keel_tensor *keel_op_attention(keel_tape *tape, keel_tensor *qkv, size_t heads, const int32_t *offsets,
                               size_t n);
/* The same where a token sees itself and those before it, and several heads of q share one of k and v
 * (Ainslie et al. 2023): q[R, H d], k and v[R, G d], head h with h / (H / G). */
keel_tensor *keel_op_causal_attention(keel_tape *tape, keel_tensor *q, keel_tensor *k, keel_tensor *v,
                                      size_t heads, size_t groups, const int32_t *offsets, size_t n);
/* y[n, cols]: the mean of each text's rows; no empty text; borrowed as above. */
keel_tensor *keel_op_text_mean(keel_tape *tape, keel_tensor *x, const int32_t *offsets, size_t n);
/* y[B,C] = x / |x| row by row; a row shorter than 1e-12 counts as that long. */
keel_tensor *keel_op_unit_rows(keel_tape *tape, keel_tensor *x);
/* Losses: scalars, sum over elements of weight * loss / divisor; target, weight borrowed (same shape as x);
 * weight NULL: ones. */
keel_tensor *keel_op_huber(keel_tape *tape, keel_tensor *x, const keel_real *target, const keel_real *weight,
                           keel_real delta, keel_real divisor);
keel_tensor *keel_op_half_square(keel_tape *tape, keel_tensor *x, const keel_real *target,
                                 const keel_real *weight, keel_real divisor);
/* Binary cross-entropy of logits x with targets in [0, 1]. */
keel_tensor *keel_op_logistic(keel_tape *tape, keel_tensor *x, const keel_real *target,
                              const keel_real *weight, keel_real divisor);
/* Cross-entropy of rows of logits x[B,A] with distributions target[B,A]; weight [B] or NULL. */
keel_tensor *keel_op_cross_entropy(keel_tape *tape, keel_tensor *x, const keel_real *target,
                                   const keel_real *weight, keel_real divisor);
/* Cross-entropy within segments of logits x[R,1] with target[R] summing to one in each segment; weight [S] or
 * NULL. */
keel_tensor *keel_op_segment_cross_entropy(keel_tape *tape, keel_tensor *x, const int32_t *offsets,
                                           size_t n_segments, const keel_real *target,
                                           const keel_real *weight, keel_real divisor);
/* Another model of the same vocabulary, whose next tokens are learned too (Hinton et al. 2015). */
typedef struct keel_token_teacher {
    const keel_real *x;           /* [R, D] its states */
    const keel_matrix *w;         /* [V'', D]: its logits are x w^T */
    keel_real share, temperature; /* s in [0, 1]; T above 0 */
} keel_token_teacher;
/* What a next token costs, where logits over a vocabulary x[R,C] w[V,C]^T would be too large to keep: they
 * are worked out in tiles, forward and backward, and only for rows that count. */
typedef struct keel_token_loss {
    keel_tensor *w;            /* [V', C] */
    const keel_matrix *frozen; /* the same without a gradient, where w is NULL; borrowed until backward */
    size_t vocabulary;         /* V <= V': rows beyond are no tokens */
    const int32_t *target;     /* [R] in 0 .. V - 1; borrowed, as weight and offsets are */
    const keel_real *weight;   /* [R]; a row of weight 0 takes no part, and its target may be anything */
    const int32_t *offsets;    /* [n + 1] texts, which follow one another and are all of the rows */
    size_t n;
    keel_real divisor;
    keel_real smoothing; /* e: the target distribution is (1 - e) of the target and e / V of each token */
    keel_real *log_prob; /* [R] gets ln p(target), 0 where the weight is; NULL: not asked for */
    const keel_token_teacher *teacher; /* NULL: none; borrowed until backward, as what it points to is */
} keel_token_loss;
/* y[n,1]: the sum over each text's rows of weight * cross-entropy / divisor. With weights 1 and divisor 1, -y
 * is the log-probability of a text. With a teacher, (1 - s) cross-entropy + s T^2 KL(p || q) stands for
 * cross-entropy: p the softmax of its logits / T, q that of these logits / T. */
keel_tensor *keel_op_token_loss(keel_tape *tape, keel_tensor *x, const keel_token_loss *loss);
keel_tensor *keel_op_sum(keel_tape *tape, keel_tensor *x, keel_real factor); /* scalar: factor * sum of all */

#endif
