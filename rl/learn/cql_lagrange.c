/* Conservative Q-learning whose weight holds the gap at a threshold, in the order of young-geng/CQL
 * (reference offline-rl 2.3; d3rlpy's formula is the same, but moves the multiplier before it is used):
 *
 *   L  = TD + e^m alpha (gap - threshold),  gap = mean[ logsumexp_a Q_w(s, a) - Q_w(s, a_taken) ]
 *   Lm =    - e^m alpha (gap - threshold),  the gap taken as given
 *
 * m is a parameter like any other: one Adam moves all; e^m is at most 1e6.
 *
 * The paper's thresholds of 5 and 10 are of continuous actions. Over n actions the gap is log n where all are
 * valued alike, so a threshold above that lets go of the term, and one below what the log's randomness allows
 * drives the multiplier up without end: then this is cloning. */
#include "rl/learn/loss.h"

#include "core/ops.h"

static keel_status check(const keel_learner_config *config, keel_err *err) {
    if (config->alpha > 0) return KEEL_OK;
    return keel_fail(err, KEEL_E_INVALID, "learner configuration",
                     "alpha: cql-lagrange moves its multiplier by this term, expected above 0, got %g",
                     config->alpha);
}

static keel_tensor *loss(keel_loss *l) {
    const keel_learner *learner = l->learner;
    double weight = keel_learner_multiplier(learner) * learner->config.alpha, gap = 0;
    for (size_t i = 0; i < l->n; ++i)
        gap += (double)l->logsumexp->data[i] - (double)l->q_w_taken->data[i] -
               learner->config.lagrange_threshold;
    bool free = keel_learner_multiplier(learner) < 1e6;
    l->shard->grads[learner->multiplier] = free ? (float)(-weight * gap / (double)l->batch->n) : 0;
    return keel_op_add(l->shard->tape, l->td, keel_loss_conservative(l, weight));
}

const keel_learner_kind keel_learn_cql_lagrange = {
    .target = KEEL_TARGET_BEST, .multiplier = true, .check = check, .loss = loss};
