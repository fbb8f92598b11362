/* Conservative Q-learning and, without its term, double Q-learning. */
#include "rl/learn/loss.h"

#include "core/ops.h"

static keel_tensor *td_and_conservative(keel_loss *l) {
    if (l->learner->config.alpha == 0) return l->td; /* the term is still computed, to be logged */
    return keel_op_add(l->shard->tape, l->td, keel_loss_conservative(l, l->learner->config.alpha));
}

const keel_learner_kind keel_learn_cql = {.target = KEEL_TARGET_BEST, .loss = td_and_conservative};

static void without_alpha(keel_learner_config *config) {
    config->alpha = 0;
}

keel_status keel_loss_check_no_alpha(const keel_learner_config *config, keel_err *err) {
    if (config->alpha == 0) return KEEL_OK;
    keel_fail(err, KEEL_E_INVALID, "learner configuration",
              "alpha: %s has no conservative term, expected 0, got %g", keel_algorithms[config->algorithm],
              config->alpha);
    return keel_hint(err, "choose the algorithm cql for a conservative term");
}

const keel_learner_kind keel_learn_dqn = {.target = KEEL_TARGET_BEST,
                                          .standard = without_alpha,
                                          .check = keel_loss_check_no_alpha,
                                          .loss = td_and_conservative};
