/* Q-networks: multi-layer perceptrons over base features, one output head per reward component.
 *
 * Fixed acts: x[B, state_dim] -> q[B, K*A], head-major (q[b, k*A + a]).
 * Candidate sets: one row per candidate, x[R, D] -> q[R, K]; a row is
 *   [candidate | mean over the distinct candidates of the set, itself included | state],
 * so that a candidate is judged beside what else could be said, and neither order nor repetition matters.
 * With N quantiles, K*N heads in these layouts: head k's are k*N .. k*N + N-1. With a cost critic the last
 * head is the expected cost of harm: no part of the composite, and counted as 0 where it is below. */
#ifndef KEEL_POLICIES_QNET_H
#define KEEL_POLICIES_QNET_H

#include "core/nouns.h"
#include "core/options.h"
#include "core/params.h"
#include "core/tape.h"

typedef struct keel_qnet_shape {
    keel_action_space space;
    size_t state_dim, candidate_dim, n_acts;
    size_t heads;   /* K: KEEL_N_REWARDS, or 1 for a scalar composite */
    size_t critics; /* independent networks with their own initialisation */
    size_t
        quantiles; /* outputs of each head, whose mean is its Q; 0 or 1: Q itself (always so in artefacts) */
    keel_int_list hidden;
    bool cost; /* a cost critic; not with several quantiles */
} keel_qnet_shape;

static inline size_t keel_qnet_quantiles(const keel_qnet_shape *shape) {
    return shape->quantiles ? shape->quantiles : 1;
}
/* Heads for each action, that of the cost with them: K or K+1. */
static inline size_t keel_qnet_heads(const keel_qnet_shape *shape) {
    return shape->heads + shape->cost;
}
/* Outputs for each action: K*N or K+1. */
static inline size_t keel_qnet_outputs(const keel_qnet_shape *shape) {
    return shape->heads * keel_qnet_quantiles(shape) + shape->cost;
}

/* The composite of the heads under weights [K]: Q_w = sum_k w_k Q_k, Q_k the mean of its quantiles; with one
 * head its Q itself, and weight is not looked at. Share of output h in it, 0 of the cost; its value of one
 * action, whose outputs lie `stride` apart. */
double keel_qnet_share(const keel_qnet_shape *shape, const double *weight, size_t h);
double keel_qnet_composite(const keel_qnet_shape *shape, const double *weight, const float *q, size_t stride);
/* C of one action, 0 without a cost critic; Q_w - cost_weight C. */
double keel_qnet_cost(const keel_qnet_shape *shape, const float *q, size_t stride);
double keel_qnet_objective(const keel_qnet_shape *shape, const double *weight, double cost_weight,
                           const float *q, size_t stride);

typedef struct keel_qnet {
    keel_qnet_shape shape;
    size_t first; /* row of its block's table that it begins at */
    size_t input_dim;
    keel_params params; /* "critic.0.layer.0.weight" [out, in], ".bias" [1, out], ... */
} keel_qnet;

/* Weights and biases of all critics together; 0 for a shape that keel_qnet_open refuses. */
size_t keel_qnet_elements(const keel_qnet_shape *shape);

/* Shapes that make no sense are KEEL_E_INVALID. */
keel_status keel_qnet_open(keel_qnet *net, const keel_qnet_shape *shape, keel_err *err);
/* For several networks in one block: the rows of the block's table that a network takes, written from `rows`
 * on (names into the arena); and the network over rows `first` .. of a block that has them, which stays the
 * block's: it is not to be closed. */
size_t keel_qnet_n_params(const keel_qnet_shape *shape);
keel_status keel_qnet_list(const keel_qnet_shape *shape, const char *name, keel_arena *arena,
                           keel_param *rows, keel_err *err);
keel_qnet keel_qnet_over(const keel_qnet_shape *shape, const keel_params *block, size_t first);
void keel_qnet_init(
    keel_qnet *net,
    uint64_t seed); /* PyTorch's default for linear layers; one stream per critic and place in the block */
void keel_qnet_close(keel_qnet *net);

/* Rows for the network. Fixed acts: x is state itself [n, D], nothing to build (copied). Candidate sets:
 * state [n, state_dim], candidates [R, candidate_dim], offsets [n+1], R = offsets[n]; x [R, input_dim]. The
 * mean is over the first own[i] candidates of set i (NULL: all); the others are judged beside it. */
void keel_qnet_rows(const keel_qnet *net, const float *state, const float *candidates, const int32_t *offsets,
                    const int32_t *own, size_t n, float *x);
size_t keel_qnet_n_rows(const keel_qnet *net, const int32_t *offsets, size_t n);

/* Forward on the tape: critic c of net with the parameter block `params` (laid out as net->params.data:
 * online or target), gradients into grads (same layout; NULL: frozen). dropout > 0 needs rng. */
keel_tensor *keel_qnet_forward(keel_tape *tape, const keel_qnet *net, const float *params, float *grads,
                               size_t critic, keel_tensor *x, float dropout, keel_rng *rng);

/* Mean over critics, no tape: q [rows, heads*A] or [rows, heads]; minimum (may be NULL) over critics, same
 * shape. */
keel_status keel_qnet_infer(const keel_qnet *net, const float *x, size_t rows, float *q, float *minimum,
                            keel_arena *scratch, keel_err *err);

#endif
