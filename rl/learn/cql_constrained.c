/* Conservative Q-learning under a constraint on harm (docs/design.md, the cost of harm): what the policy
 * maximises, in targets and at decision time, is Q_w(s, a) - lambda C(s, a). lambda moves by projected ascent
 * on the dual (as in Le, Voloshin & Yue 2019, 1903.08738, with CQL's critics):
 *
 *   lambda <- min(multiplier_limit, max(0, lambda + dual_rate (J - harm_limit)))
 *
 * J is the share of conversations of danger that the policy of that moment would answer harmfully at some
 * decision, on a fold that nothing is learned from (rl/train/dual.h): the training critic does not judge
 * itself. The steps are spread evenly over the run after a warm-up, in which lambda stays where it starts. */
#include <math.h>

#include "core/ops.h"
#include "rl/learn/learner_options.h"
#include "rl/learn/loss.h"

typedef struct own_options {
    double alpha, harm_limit, dual_rate, dual_steps, dual_warmup, multiplier_start, multiplier_limit;
} own_options;
KEEL_LEARNER_OWN(own_options)

static const keel_option options[] = {
    KEEL_LEARNER_OPTIONS("cql-constrained", "100"),
    KEEL_Q_OPTIONS("1", "huber"),
    KEEL_GREEDY_OPTIONS,
    KEEL_TILT_OPTIONS,
    KEEL_COST_OPTIONS("0.03", "1000000"),
    KEEL_CONSERVATIVE_OPTIONS,
    KEEL_OWN_REAL(own_options, alpha, "0.1", 0, 1e4, "weight of the conservative term"),
    KEEL_OWN_REAL(own_options, harm_limit, "0.02", 0, 1,
                  "share of conversations of danger that may be answered harmfully"),
    KEEL_OWN_REAL(own_options, dual_rate, "2", 0, 1e3, "how far the multiplier moves by the excess of harm"),
    KEEL_OWN_REAL(own_options, dual_steps, "40", 1, 1e6, "how often the multiplier moves in a run"),
    KEEL_OWN_REAL(own_options, dual_warmup, "0.2", 0, 0.99, "share of the steps before it moves"),
    KEEL_OWN_REAL(own_options, multiplier_start, "0", 0, 1e6, "the multiplier before the first step"),
    KEEL_OWN_REAL(own_options, multiplier_limit, "20", 0, 1e6, "largest multiplier"),
    {0}};

static void extras(const keel_learner_config *config, const keel_qnet_shape *q, keel_learner_extras *out) {
    (void)q;
    out->n_scalars = 1;
    out->scalar[0].name = "multiplier";
    out->scalar[0].start = own_of(config).multiplier_start;
    out->part[0] = "multiplier";
}

static double multiplier_of(const keel_learner *learner) {
    return (double)learner->params.data[learner->scalar[0]];
}

static keel_tensor *loss(keel_loss *l) {
    const double alpha = own_of(&l->learner->config).alpha;
    l->shard->grads[l->learner->scalar[0]] = 0; /* it moves by dual_step alone */
    l->shard->sums.own[0] = (double)l->n * multiplier_of(l->learner);
    if (alpha == 0) return l->td;
    return keel_op_add(l->shard->tape, l->td, keel_loss_conservative(l, alpha));
}

static double total(const keel_learner *learner, const keel_loss_parts *parts) {
    return parts->td + own_of(&learner->config).alpha * parts->conservative;
}

/* Evenly after the warm-up, the last at the end of the run. */
static bool dual_due(const keel_learner *learner) {
    const own_options own = own_of(&learner->config);
    const double steps = (double)learner->config.steps, first = floor(own.dual_warmup * steps);
    const double every = fmax(1, (steps - first) / floor(own.dual_steps)),
                 now = (double)learner->step - first;
    return now >= 1 && floor(now / every) > floor((now - 1) / every);
}

static void dual_step(keel_learner *learner, double harm) {
    const own_options own = own_of(&learner->config);
    double moved = multiplier_of(learner) + own.dual_rate * (harm - own.harm_limit);
    learner->params.data[learner->scalar[0]] = (float)fmin(own.multiplier_limit, fmax(0, moved));
}

const keel_learner_kind keel_learn_cql_constrained = {
    .help = "cql that maximises Q_w - lambda C, lambda by the harm on a fold held out (harm_limit)",
    .options = options,
    .cost = true,
    .extras = extras,
    .cost_weight = multiplier_of,
    .dual_due = dual_due,
    .dual_step = dual_step,
    .next_value = keel_target_best,
    .loss = loss,
    .total = total};
