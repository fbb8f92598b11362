/* Fitted Q evaluation: Q of a given policy, learned from the steps that another one took (Le, Voloshin & Yue
 * 2019; docs/design.md). The learner frame fits
 *
 *   Q(s, a) -> r + gamma sum_a' pi(a'|s') Qbar(s', a')
 *
 * in expectation under the policy, without maximum or penalty. It is cross-fitted: conversations are divided
 * into folds, and the network that evaluates a fold is fitted to the others. Otherwise estimates that correct
 * Q by the same log (DR, WDR, MAGIC) would be too optimistic. */
#ifndef KEEL_RL_JUDGE_FQE_H
#define KEEL_RL_JUDGE_FQE_H

#include "rl/learn/learner.h"

/* One decision of a log: the logged action and the probabilities of the evaluated policy. */
typedef struct keel_fqe_step {
    const float *state;      /* [state_dim] */
    const float *candidates; /* [n_actions, candidate_dim]; NULL in fixed action spaces */
    const float *pi;         /* [n_actions], the policy's probabilities */
    size_t n_actions;
    int32_t action; /* taken */
    float reward;
} keel_fqe_step;

typedef struct keel_fqe_config {
    keel_learner_config learner; /* gamma, network, optimiser; steps 0: 20 passes over the log, at least 300
                                    for each step of a mean trajectory, at most 5000 */
    size_t folds;                /* 1: one network, fitted to the data that it evaluates */
    size_t memory;               /* bytes that steps may take */
} keel_fqe_config;
/* 2 folds; two hidden layers of 128; squared error; hard target copies every 50 steps; a step size that falls
 * to 0. Within what is left of the memory limit. */
keel_status keel_fqe_standard(keel_fqe_config *out, keel_err *err);

typedef struct keel_fqe keel_fqe;
/* Of shape only space and widths are used: there is one head and one critic. */
keel_status keel_fqe_open(keel_fqe **out, const keel_fqe_config *config, const keel_qnet_shape *shape,
                          keel_err *err);
void keel_fqe_close(keel_fqe *fqe); /* NULL is harmless */
/* Adds a trajectory (copied). unit: number of its conversation or group, which decides the fold. cut_off: the
 * trajectory did not end here, so its last step is not fitted. When memory is full, every other unit is
 * dropped; the sample that remains depends on the log alone. */
keel_status keel_fqe_add(keel_fqe *fqe, uint64_t unit, const keel_fqe_step *steps, size_t count, bool cut_off,
                         keel_err *err);
size_t keel_fqe_count(const keel_fqe *fqe); /* steps kept */
/* The same bytes for any number of threads. KEEL_E_DIVERGED when the loss is not finite. */
keel_status keel_fqe_fit(keel_fqe *fqe, keel_pool *pool, keel_err *err);
/* After the fit: Q of the action taken, and sum_a pi(a|s) Q(s, a), by the network that has not seen the unit;
 * NAN where there is none (all kept steps are in its fold). */
keel_status keel_fqe_value(const keel_fqe *fqe, uint64_t unit, const keel_fqe_step *step, keel_arena *scratch,
                           double *q, double *v, keel_err *err);

#endif
