/* Off-policy estimation from logged trajectories (reference evaluation 3.1). With rho_t = pi(a_t|s_t) /
 * b(a_t|s_t) and rho_{0:t} their product:
 *
 *   WIS    sum_i rho^i_{0:T-1} G_i / sum_i rho^i_{0:T-1}          G = sum_t gamma^t r_t
 *   WPDIS  sum_t gamma^t [ sum_i rho^i_{0:t} r^i_t / sum_i rho^i_{0:t} ]
 *   DM     mean_i V(s_0^i), V the policy's mean of Q
 *   ESS    (sum_i w_i)^2 / sum_i w_i^2 of the trajectory weights w_i = rho^i_{0:T-1}
 *
 * A trajectory that has ended counts as absorbed: its weight stays, its reward is 0. Intervals: percentile
 * bootstrap over conversations. */
#ifndef KEEL_RL_OPE_H
#define KEEL_RL_OPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/parallel.h"
#include "rl/intervals.h"

/* Off-policy estimates of the policy's return on the split. n of wis and wpdis: trajectories; of dm: first
 * decisions. */
typedef struct keel_ope {
    keel_interval wis, wpdis, dm;
    double ess,
        max_weight; /* effective sample size and largest normalised weight of the trajectory weights */
    bool propensities_estimated; /* pi_base stood in for missing propensities */
    bool headline;               /* ess >= 30: below, the estimates are not to be relied on */
} keel_ope;

typedef struct keel_ope_step {
    double log_ratio; /* log rho_t; -INFINITY where the policy would never do it */
    double reward;
} keel_ope_step;

/* Trajectories as they are collected. Zero-initialise; free at the end. */
typedef struct keel_ope_log {
    size_t n_steps, step_capacity;
    keel_ope_step *steps;
    size_t n_trajectories, trajectory_capacity;
    struct keel_ope_trajectory {
        size_t first, length; /* of its steps */
        size_t conversation;  /* number of the conversation, the unit of the bootstrap */
    } * trajectories;
    size_t n_values, value_capacity;
    struct keel_ope_value {
        double value; /* V(s0) */
        size_t conversation;
    } * values;
    bool estimated;
} keel_ope_log;

keel_status keel_ope_add(keel_ope_log *log, size_t conversation, const keel_ope_step *steps, size_t count,
                         keel_err *err);
keel_status keel_ope_add_value(keel_ope_log *log, size_t conversation, double value, keel_err *err);
void keel_ope_log_free(keel_ope_log *log);

/* pool may be NULL. What nothing is known of has n 0. */
keel_status keel_ope_estimate(const keel_ope_log *log, double gamma, size_t resamples, uint64_t seed,
                              keel_pool *pool, keel_ope *out, keel_err *err);

#endif
