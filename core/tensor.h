/* Tensors, parameter tables and reverse-mode differentiation.
 *
 * A tape is a flat list of fused operations over an arena: operations append a node as they run,
 * keel_tape_backward walks the list in reverse. No closures, no reference counts, no allocation per step once
 * the arena has its size. The first writer of a gradient overwrites, later ones add.
 *
 * keel_real is float; the gradient tests compile this room with -DKEEL_REAL_DOUBLE to check every operation
 * against central differences in double precision.
 *
 * Dimension letters: B rows (batch), I inputs, O outputs, A actions, S segments, V vocabulary rows. */
#ifndef KEEL_CORE_TENSOR_H
#define KEEL_CORE_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/memory.h"
#include "core/pcg.h"
#include "core/status.h"

#ifdef KEEL_REAL_DOUBLE
typedef double keel_real;
#else
typedef float keel_real;
#endif

/* A dense row-major matrix; a vector is [n, 1], a scalar [1, 1]. Higher ranks are views by the operations
 * that need them. */
typedef struct keel_tensor {
    size_t rows, cols;
    keel_real *data; /* [rows, cols] */
    keel_real *grad; /* same shape; NULL where no gradient flows */
    bool grad_ready; /* something was written to grad since it was made or cleared */
} keel_tensor;

/* ---- parameters: one table drives sizes, pointers, initialisation, decay, optimizer and file names ---- */

typedef enum keel_init {
    KEEL_INIT_ZERO,
    KEEL_INIT_ONE,
    KEEL_INIT_UNIFORM, /* U(-1/sqrt(scale), 1/sqrt(scale)); scale = fan-in is PyTorch's for linear layers */
    KEEL_INIT_NORMAL   /* N(0, scale^2) */
} keel_init;

typedef struct keel_param {
    const char *name; /* as in the safetensors file */
    size_t rows, cols;
    keel_init init;
    double scale;
    bool decay; /* weight decay applies */
} keel_param;

typedef struct keel_params {
    size_t count;
    keel_param *table;
    size_t *offset;  /* of each parameter in the block */
    size_t size;     /* elements of the block, each parameter padded to 16 elements */
    keel_real *data; /* one block */
} keel_params;

/* Copies the table and the names; data start as zeros, at an address divisible by 64. */
keel_status keel_params_make(keel_params *params, const keel_param *table, size_t count, keel_err *err);
void keel_params_init(keel_params *params, keel_rng *rng); /* draws in table order */
void keel_params_free(keel_params *params);
keel_real *keel_params_at(const keel_params *params, size_t index);

/* ---- the tape ---- */

/* For one thread. After a failed operation all later ones give NULL until the next reset. What an operation
 * borrows must stay until backward; gradients of intermediate tensors are scratch afterwards, those of
 * parameters are not. */
typedef struct keel_tape keel_tape;

keel_status keel_tape_open(keel_tape **out, keel_err *err);
void keel_tape_close(keel_tape *tape);
void keel_tape_reset(keel_tape *tape); /* forgets nodes and tensors, keeps memory */
/* false: forward only, no gradients kept. A reset keeps the setting. */
void keel_tape_record(keel_tape *tape, bool recording);

/* Every operation returns NULL when memory ran out, an input is NULL, or shapes or indices do not fit; so
 * check the last result once: keel_tape_check (which keel_tape_backward calls too) tells what the first
 * failure was. */
keel_status keel_tape_check(const keel_tape *tape, const keel_tensor *result, keel_err *err);
/* Borrowed data, no gradient. */
keel_tensor *keel_tape_input(keel_tape *tape, const keel_real *data, size_t rows, size_t cols);
/* Parameter `index` of params; its gradient goes to grads (a block laid out as params->data), overwritten by
 * the first writer of this step and added to by later ones. grads NULL: frozen. Fill the block with zeros
 * once when making it: the padding between parameters is never written. */
keel_tensor *keel_tape_param(keel_tape *tape, const keel_params *params, size_t index, keel_real *grads);
/* Uninitialised, with room for a gradient when recording. */
keel_tensor *keel_tape_new(keel_tape *tape, size_t rows, size_t cols);
/* d(loss)/d(everything); loss is a scalar; once per reset. A parameter used on the tape that the loss does
 * not depend on gets a zero gradient; one never put on the tape keeps whatever its grads held. */
keel_status keel_tape_backward(keel_tape *tape, keel_tensor *loss, keel_err *err);
size_t keel_tape_bytes(const keel_tape *tape); /* memory in use at the peak */

/* ---- operations (core/ops_*.c); each has a plain twin in the tests and a finite-difference test ---- */

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
keel_tensor *keel_op_add(keel_tape *tape, keel_tensor *x, keel_tensor *y); /* same shape */
keel_tensor *keel_op_sub(keel_tape *tape, keel_tensor *x, keel_tensor *y);
keel_tensor *keel_op_mul(keel_tape *tape, keel_tensor *x, keel_tensor *y);
keel_tensor *keel_op_scale(keel_tape *tape, keel_tensor *x, keel_real factor);
/* y[B, sum of cols] = [x0 | x1 | ...] */
keel_tensor *keel_op_concat(keel_tape *tape, keel_tensor *const *inputs, size_t count);
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
typedef struct keel_sparse_grad keel_sparse_grad;
keel_tensor *keel_op_embedding_bag(keel_tape *tape, const keel_real *table, size_t table_rows, size_t cols,
                                   const uint32_t *id, const keel_real *weight, const int32_t *offsets,
                                   size_t n_segments, keel_sparse_grad *grad);
/* y[B,1] = sum_c x[b,c] y[b,c] */
keel_tensor *keel_op_dot(keel_tape *tape, keel_tensor *x, keel_tensor *y);
/* Inverted dropout, rate in [0, 1), rounded to a multiple of 2^-16 (not to 0 or 1); rate 0 is x itself and
 * draws nothing. */
keel_tensor *keel_op_dropout(keel_tape *tape, keel_tensor *x, keel_real rate, keel_rng *rng);
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
keel_tensor *keel_op_sum(keel_tape *tape, keel_tensor *x, keel_real factor); /* scalar: factor * sum of all */

/* ---- plain numerics shared by losses, samplers and policies ---- */

void keel_log_softmax(const keel_real *x, size_t count, keel_real *out); /* may be in place */
void keel_softmax(const keel_real *x, size_t count, keel_real *out);
/* x <- tanh x, within four units in the last place; libm's goes by one element at a time. */
void keel_tanh(keel_real *x, size_t count);

/* sum[cols] += weight[j] table[id[j]] for each j in turn; ids are within the table [., cols]. */
void keel_add_rows(const keel_real *table, size_t cols, const uint32_t *id, const keel_real *weight,
                   size_t count, keel_real *sum);

/* y[M,N] = alpha * op(a) op(b) + beta * y, row-major: the one door to BLAS (core/gemm.c). */
void keel_gemm(bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k, keel_real alpha,
               const keel_real *a, size_t lda, const keel_real *b, size_t ldb, keel_real beta, keel_real *y,
               size_t ldy);
/* y[M] = a[M,K] x + beta * y: a row alone, for which a product of matrices would first copy all of a. */
void keel_gemv(size_t m, size_t k, const keel_real *a, size_t lda, const keel_real *x, keel_real beta,
               keel_real *y);

/* ---- sparse gradients of embedding tables ---- */

/* The bags of one operation: s owes weight[j] * slope[s, :] to row id[j], j in offsets[s] ..
 * offsets[s+1]-1. */
typedef struct keel_owed_bags {
    size_t n_bags;
    const int32_t *offsets; /* [n_bags + 1] */
    const uint32_t *id;
    const keel_real *weight;
    const keel_real *slope; /* [n_bags, cols] the gradient of what the operation gave */
} keel_owed_bags;

/* What is owed to a table, in the order in which backward met it, and not added up: a step hands it out as it
 * lies. All is borrowed, until the tape's next reset. Start with the shape and zeros. */
struct keel_sparse_grad {
    size_t table_rows, cols;
    size_t count, room;
    keel_owed_bags *owed; /* [count] */
};
void keel_sparse_grad_clear(keel_sparse_grad *grad);
void keel_sparse_grad_free(keel_sparse_grad *grad);
/* Stochastic gradient descent on the table: what it is owed, times rate, is taken off its rows one after the
 * other. It keeps no state and moves no row but those, once a term; an optimizer with moments moves three
 * numbers a weight. Part `part` of `parts` moves, ranges of rows that together are the table: threads may
 * take a part each, and the result does not depend on how many there are. */
void keel_sparse_grad_descend(const keel_sparse_grad *grad, keel_real *table, double rate, size_t part,
                              size_t parts);

#endif
