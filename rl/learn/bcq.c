/* Discrete batch-constrained Q-learning (Fujimoto et al. 2019): double Q-learning whose actions, in targets
 * and at decision time, are those that the behaviour takes with at least `support` times the probability of
 * its most probable one. The behaviour is the base's prior, which is fitted to the log, or a network cloned
 * beside Q; only the first makes a policy, since an artefact holds one network. */
#include "rl/learn/loss.h"

#include "core/ops.h"

static void standard(keel_learner_config *config) {
    config->alpha = 0;
}

static keel_tensor *loss(keel_loss *l) {
    if (l->learner->config.support_by == KEEL_SUPPORT_BASE) return l->td;
    return keel_op_add(l->shard->tape, l->td, keel_loss_clone(l, keel_loss_actor(l), NULL));
}

const keel_learner_kind keel_learn_bcq = {.target = KEEL_TARGET_BEST,
                                          .actor = true,
                                          .supported = true,
                                          .standard = standard,
                                          .check = keel_loss_check_no_alpha,
                                          .loss = loss};
