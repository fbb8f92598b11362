/* Conservative Q-learning, CQL(H) over discrete actions (Kumar et al. 2020, equation 4), on double
 * Q-learning:
 *
 *   L = TD + alpha * mean[ logsumexp_a Q_w(s, a) - Q_w(s, a_taken) ]
 *
 * Presets of peers: d3rlpy's DiscreteCQL; tianshou's QR-DQN-200 with min_q_weight, and what its Atari example
 * sets; the official multi-head QR agent for Atari, without double Q, w = 4 as for 1 % of the data (1 for
 * 10 %: alpha=1), Adam's epsilon 0.01/32 as in its reproduction. */
#include "core/ops.h"
#include "rl/learn/learner_options.h"
#include "rl/learn/loss.h"

typedef struct own_options {
    double alpha;
} own_options;
KEEL_LEARNER_OWN(own_options)

static const keel_option options[] = {
    KEEL_LEARNER_OPTIONS("cql", "100"),
    KEEL_Q_OPTIONS("1", "huber"),
    KEEL_GREEDY_OPTIONS,
    KEEL_TILT_OPTIONS,
    KEEL_COST_OPTIONS("0.03", "0.25"),
    KEEL_CONSERVATIVE_OPTIONS,
    KEEL_OWN_REAL(own_options, alpha, "0.1", 0, 1e4, "weight of the conservative term"),
    {0}};

static const char *const d3rlpy[] = {KEEL_PEER_Q_SETTINGS,    "calibrated=false",     "alpha=1",
                                     "learning_rate=6.25e-5", "target_interval=8000", NULL};
static const char *const tianshou[] = {
    KEEL_PEER_Q_SETTINGS,   "calibrated=false",    "alpha=10", "quantiles=200",
    "learning_rate=0.0001", "target_interval=500", NULL};
static const char *const atari[] = {KEEL_PEER_Q_SETTINGS,     "calibrated=false",     "alpha=4",
                                    "double_q=false",         "quantiles=200",        "learning_rate=0.00005",
                                    "adam_epsilon=0.0003125", "target_interval=2000", NULL};
static const keel_learner_preset_row presets[] = {
    {"d3rlpy", d3rlpy}, {"tianshou", tianshou}, {"atari", atari}, {0}};

static keel_tensor *loss(keel_loss *l) {
    const double alpha = own_of(&l->learner->config).alpha;
    if (alpha == 0) return l->td; /* the term is still computed, to be logged */
    return keel_op_add(l->shard->tape, l->td, keel_loss_conservative(l, alpha));
}

static double total(const keel_learner *learner, const keel_loss_parts *parts) {
    return parts->td + own_of(&learner->config).alpha * parts->conservative;
}

const keel_learner_kind keel_learn_cql = {.help = "conservative Q-learning (alpha)",
                                          .options = options,
                                          .presets = presets,
                                          .cost = true,
                                          .next_value = keel_target_best,
                                          .loss = loss,
                                          .total = total};
