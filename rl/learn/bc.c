/* Behaviour cloning: the network's outputs are log pi up to a constant, its loss the cross-entropy of the
 * acts taken. */
#include "rl/learn/loss.h"

static void standard(keel_learner_config *config) {
    config->alpha = 1;
    config->vector_heads = false;
}

static void filtered(keel_learner_config *config) {
    standard(config);
    config->keep_top = 10;
}

static keel_status check(const keel_learner_config *config, keel_err *err) {
    if (config->alpha > 0) return KEEL_OK;
    return keel_fail(err, KEEL_E_INVALID, "learner configuration",
                     "alpha: %s learns by this term alone, expected above 0, got %g",
                     keel_algorithms[config->algorithm], config->alpha);
}

static keel_tensor *loss(keel_loss *l) {
    return keel_loss_conservative(l, l->learner->config.alpha);
}

const keel_learner_kind keel_learn_bc = {
    .target = KEEL_TARGET_NONE, .imitates = true, .standard = standard, .check = check, .loss = loss};
const keel_learner_kind keel_learn_filtered_bc = {
    .target = KEEL_TARGET_NONE, .imitates = true, .standard = filtered, .check = check, .loss = loss};
