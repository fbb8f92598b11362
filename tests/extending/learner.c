/* A learner from outside the tree (tests/experiments/extending.sh): double Q-learning whose loss counts
 * `strength` times. */
#include "core/ops.h"
#include "rl/learn/learner_options.h"
#include "rl/learn/loss.h"

typedef struct own_options {
    double strength;
} own_options;
KEEL_LEARNER_OWN(own_options)

static const keel_option options[] = {KEEL_LEARNER_OPTIONS("toy", "100"),
                                      KEEL_Q_OPTIONS("1", "huber"),
                                      KEEL_GREEDY_OPTIONS,
                                      KEEL_TILT_OPTIONS,
                                      KEEL_OWN_REAL(own_options, strength, "2", 0, 10, "factor of the loss"),
                                      {0}};

static keel_tensor *loss(keel_loss *l) {
    return keel_op_scale(l->shard->tape, l->td, (float)own_of(&l->learner->config).strength);
}

static double total(const keel_learner *learner, const keel_loss_parts *parts) {
    return own_of(&learner->config).strength * parts->td;
}

const keel_learner_kind keel_learn_toy = {
    .help = "a toy", .options = options, .next_value = keel_target_best, .loss = loss, .total = total};
