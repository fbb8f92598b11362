/* Behaviour cloning: the network's outputs are log pi up to a constant, its loss the cross-entropy of the
 * acts taken,
 *
 *   L = mean[ logsumexp_a f(s, a) - f(s, a_taken) ]
 *
 * over all conversations, over those of the highest returns (filtered, "BC%": Chen et al. 2021), or over
 * those without harm ("BC-Safe": Liu et al. 2023, 2303.14624). */
#include "rl/learn/learner_options.h"
#include "rl/learn/loss.h"

#define SAFE_ONLY(standard)                                                                                  \
    KEEL_LEARNER_BOOL(safe_only, standard, "no conversation with harm in it (safety below 0) is learned from")
static const keel_option options[] = {KEEL_CLONER_OPTIONS("bc", "100"), SAFE_ONLY("false"), {0}};
static const keel_option filtered_options[] = {
    KEEL_CLONER_OPTIONS("filtered-bc", "10"), SAFE_ONLY("false"), {0}};
static const keel_option safe_options[] = {KEEL_CLONER_OPTIONS("safe-bc", "100"), SAFE_ONLY("true"), {0}};

static const char *const d3rlpy[] = {KEEL_PEER_SETTINGS, "learning_rate=6.25e-5", NULL};
static const keel_learner_preset_row presets[] = {{"d3rlpy", d3rlpy}, {0}};

static keel_tensor *loss(keel_loss *l) {
    return keel_loss_conservative(l, 1);
}

static double total(const keel_learner *learner, const keel_loss_parts *parts) {
    (void)learner;
    return parts->conservative;
}

const keel_learner_kind keel_learn_bc = {.help = "behaviour cloning",
                                         .options = options,
                                         .presets = presets,
                                         .imitates = true,
                                         .loss = loss,
                                         .total = total};
const keel_learner_kind keel_learn_filtered_bc = {.help = "cloning of the best conversations (keep_top)",
                                                  .options = filtered_options,
                                                  .imitates = true,
                                                  .loss = loss,
                                                  .total = total};
const keel_learner_kind keel_learn_safe_bc = {.help = "cloning of the conversations without harm (safe_only)",
                                              .options = safe_options,
                                              .imitates = true,
                                              .loss = loss,
                                              .total = total};
