/* Conservative Q-learning whose weight holds the gap at a threshold, in the order of young-geng/CQL
 * (docs/design.md; d3rlpy's formula is the same, but moves the multiplier before it is used):
 *
 *   L  = TD + e^m alpha (gap - threshold),  gap = mean[ logsumexp_a Q_w(s, a) - Q_w(s, a_taken) ]
 *   Lm =    - e^m alpha (gap - threshold),  the gap taken as given
 *
 * m is a parameter like any other: one Adam moves all; e^m is at most 1e6.
 *
 * The paper's thresholds of 5 and 10 are of continuous actions. Over n actions the gap is log n where all are
 * valued alike, so a threshold above that lets go of the term, and one below what the log's randomness allows
 * drives the multiplier up without end: then this is cloning. */
#include <math.h>

#include "core/ops.h"
#include "rl/learn/learner_options.h"
#include "rl/learn/loss.h"

enum { LARGEST_MULTIPLIER = 1000 }; /* times divergence_margin */

typedef struct own_options {
    double alpha, lagrange_threshold, lagrange_start;
} own_options;
KEEL_LEARNER_OWN(own_options)

static const keel_option options[] = {
    KEEL_LEARNER_OPTIONS("cql-lagrange", "100"),
    KEEL_Q_OPTIONS("1", "huber"),
    KEEL_GREEDY_OPTIONS,
    KEEL_TILT_OPTIONS,
    KEEL_COST_OPTIONS("0.03", "0.25"),
    KEEL_CONSERVATIVE_OPTIONS,
    KEEL_OWN_REAL(own_options, alpha, "0.1", 1e-6, 1e4,
                  "weight of the conservative term, besides the multiplier"),
    KEEL_OWN_REAL(own_options, lagrange_threshold, "1.5", -1e3, 1e3,
                  "gap of the conservative term to hold; log n where n actions are valued alike"),
    KEEL_OWN_REAL(own_options, lagrange_start, "0", -10, 10, "log of the multiplier before the first step"),
    {0}};

static void extras(const keel_learner_config *config, const keel_qnet_shape *q, keel_learner_extras *out) {
    (void)q;
    out->n_scalars = 1;
    out->scalar[0].name = "log_multiplier";
    out->scalar[0].start = own_of(config).lagrange_start;
    out->part[0] = "multiplier";
}

static double multiplier_of(const keel_learner *learner) {
    return fmin(exp((double)learner->params.data[learner->scalar[0]]), 1e6);
}

static keel_tensor *loss(keel_loss *l) {
    const keel_learner *learner = l->learner;
    const own_options own = own_of(&learner->config);
    double multiplier = multiplier_of(learner), weight = multiplier * own.alpha, gap = 0;
    for (size_t i = 0; i < l->n; ++i)
        gap += (double)l->logsumexp->data[i] - (double)l->q_w_taken->data[i] - own.lagrange_threshold;
    l->shard->grads[learner->scalar[0]] = multiplier < 1e6 ? (float)(-weight * gap / (double)l->batch->n) : 0;
    l->shard->sums.own[0] = (double)l->n * multiplier;
    return keel_op_add(l->shard->tape, l->td, keel_loss_conservative(l, weight));
}

static double total(const keel_learner *learner, const keel_loss_parts *parts) {
    const own_options own = own_of(&learner->config);
    return parts->td + parts->own[0] * own.alpha * (parts->conservative - own.lagrange_threshold);
}

static keel_status guard(const keel_learner *learner, const keel_loss_parts *parts, const char *where,
                         keel_err *err) {
    double most = LARGEST_MULTIPLIER * learner->config.divergence_margin;
    if (parts->own[0] <= most) return KEEL_OK;
    return keel_fail(err, KEEL_E_DIVERGED, where,
                     "the multiplier is %g, expected up to %g: the gap does not come down to "
                     "lagrange_threshold",
                     parts->own[0], most);
}

const keel_learner_kind keel_learn_cql_lagrange = {
    .help = "cql, weighted so as to hold its gap (lagrange_threshold)",
    .options = options,
    .extras = extras,
    .cost = true,
    .next_value = keel_target_best,
    .loss = loss,
    .total = total,
    .guard = guard};
