/* Learning from a log and judging by it, every method with the same network, batches, steps and step sizes.
 */
#ifndef KEEL_EXPERIMENTS_VALUE_LEARN_H
#define KEEL_EXPERIMENTS_VALUE_LEARN_H

#include "experiments/value/world.h"
#include "rl/learn/learner.h"

/* Rewards are multiplied by `scale` before learning and values divided by it after: the conservative term and
 * the policy softmax(Q) have a temperature of 1, so of 1 / scale of a reward. */
typedef struct value_settings {
    int64_t steps, batch, hidden, target_interval;
    double learning_rate, dropout, weight_decay, scale;
    bool calibrated; /* CQL pushes no act below what the log earned from there on (Cal-QL) */
} value_settings;

/* algorithm: "bc", "dqn" (alpha 0), "cql". Close it with keel_learner_close. */
keel_status value_learn(const value_world *world, const value_log *log, const value_settings *settings,
                        const char *algorithm, double alpha, uint64_t seed, keel_pool *pool,
                        keel_learner *out, keel_err *err);
/* mean over the log's first decisions of sum_a pi(a|s) Q(s, a), Q the learner's own critic. */
keel_status value_own(const value_world *world, const value_log *log, const value_settings *settings,
                      const keel_learner *learner, double *out, keel_err *err);
/* The same, Q by fitted Q evaluation of the learner's policy on this log (rl/judge/fqe.h), one fold. */
keel_status value_fitted(const value_world *world, const value_log *log, const value_settings *settings,
                         const keel_learner *learner, uint64_t seed, keel_pool *pool, double *out,
                         keel_err *err);

#endif
