/* Double Q-learning with a target network (van Hasselt, Guez & Silver 2016): L = TD. */
#include "rl/learn/learner_options.h"
#include "rl/learn/loss.h"

static const keel_option options[] = {KEEL_LEARNER_OPTIONS("dqn", "100"),
                                      KEEL_Q_OPTIONS("1", "huber"),
                                      KEEL_GREEDY_OPTIONS,
                                      KEEL_TILT_OPTIONS,
                                      KEEL_COST_OPTIONS("0", "0.25"),
                                      {0}};

static const char *const d3rlpy[] = {KEEL_PEER_Q_SETTINGS, "learning_rate=6.25e-5", "target_interval=8000",
                                     NULL};
static const keel_learner_preset_row presets[] = {{"d3rlpy", d3rlpy}, {0}};

static keel_tensor *loss(keel_loss *l) {
    return l->td;
}

static double total(const keel_learner *learner, const keel_loss_parts *parts) {
    (void)learner;
    return parts->td;
}

const keel_learner_kind keel_learn_dqn = {.help = "double Q-learning: no conservative term",
                                          .options = options,
                                          .presets = presets,
                                          .cost = true,
                                          .next_value = keel_target_best,
                                          .loss = loss,
                                          .total = total};
