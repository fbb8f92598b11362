/* Rows of the option tables of learners. A learner's table begins with KEEL_LEARNER_OPTIONS, goes on with
 * the groups that it uses and with its own keys, and ends with {0}:
 *
 *   typedef struct own_options { double alpha; } own_options;
 *   KEEL_LEARNER_OWN(own_options)
 *   static const keel_option options[] = {
 *       KEEL_LEARNER_OPTIONS("own", "100"), KEEL_Q_OPTIONS("1", "huber"),
 *       KEEL_OWN_REAL(own_options, alpha, "0.1", 0, 1e4, "weight of the conservative term"), {0}};
 *
 * and own_of(&config).alpha is its value. A key that a learner has no use for has no row in its table. */
#ifndef KEEL_RL_LEARN_LEARNER_OPTIONS_H
#define KEEL_RL_LEARN_LEARNER_OPTIONS_H

#include <stddef.h>
#include <string.h>

#include "rl/learn/learner_config.h"
#include "rl/learn/learners.h"

extern const char *const keel_td_losses[], *const keel_ensembles[]; /* names, NULL */

#define KEEL_LEARNER_ROW(key, type, field, standard, low, high, choices, help)                               \
    { key, type, offsetof(keel_learner_config, field), standard, low, high, choices, help }
#define KEEL_LEARNER_INT(field, standard, low, high, help)                                                   \
    KEEL_LEARNER_ROW(#field, KEEL_OPT_INT, field, standard, low, high, NULL, help)
#define KEEL_LEARNER_REAL(field, standard, low, high, help)                                                  \
    KEEL_LEARNER_ROW(#field, KEEL_OPT_REAL, field, standard, low, high, NULL, help)
#define KEEL_LEARNER_BOOL(field, standard, help)                                                             \
    KEEL_LEARNER_ROW(#field, KEEL_OPT_BOOL, field, standard, 0, 0, NULL, help)
#define KEEL_LEARNER_CHOICE(field, standard, choices, help)                                                  \
    KEEL_LEARNER_ROW(#field, KEEL_OPT_CHOICE, field, standard, 0, 0, choices, help)
#define KEEL_LEARNER_WEIGHT(id, name, standard, low, high)                                                   \
    KEEL_LEARNER_ROW("weight_" #name, KEEL_OPT_REAL, weight[KEEL_##id], #standard, 0, 1e6, NULL,             \
                     "composite weight of " #name),
#define KEEL_LEARNER_CONCENTRATION(id, name, standard, low, high)                                            \
    KEEL_LEARNER_ROW("concentration_" #name, KEEL_OPT_REAL, concentration[KEEL_##id], "1", 0.1, 1e3, NULL,   \
                     "conditioned: Dirichlet parameter of the weight of " #name),

/* Every learner; its name in the table of learners, and the default of keep_top. Learners that clone are not
 * shown complying answers that they are not to give: they would learn to refuse. */
#define KEEL_LEARNER_OPTIONS(name, keep_top_standard) KEEL_LEARNER_ROWS(name, keep_top_standard, "0.7")
#define KEEL_CLONER_OPTIONS(name, keep_top_standard)  KEEL_LEARNER_ROWS(name, keep_top_standard, "0")
#define KEEL_LEARNER_ROWS(name, keep_top_standard, plant_standard)                                           \
    KEEL_LEARNER_CHOICE(algorithm, name, keel_algorithms, "what is learned"),                                \
        KEEL_LEARNER_REAL(gamma, "0.99", 0, 0.9999, "discount per decision"),                                \
        KEEL_LEARNER_REAL(keep_top, keep_top_standard, 1e-6, 100,                                            \
                          "percent of the conversations that are learned from, by their return"),            \
        KEEL_LEARNER_REAL(rival_drop, "0.5", 0, 1,                                                           \
                          "candidate sets: probability that a draw leaves out a candidate not taken"),       \
        KEEL_LEARNER_REAL(rival_plant, plant_standard, 0, 1,                                                 \
                          "candidate sets: probability that a complying answer of another conversation "     \
                          "joins the set"),                                                                  \
        KEEL_LEARNER_INT(                                                                                    \
            alternatives, "4", 0, 256,                                                                       \
            "candidate sets: answers of other conversations that the critic values beside the set"),         \
        KEEL_LEARNER_REAL(stands_for, "1", 0, 1e6,                                                           \
                          "actions that these stand for in the conservative term; 0: themselves"),           \
        KEEL_REWARDS(KEEL_LEARNER_WEIGHT) KEEL_LEARNER_INT(batch, "256", 1, 65536, "transitions a step"),    \
        KEEL_LEARNER_INT(steps, "0", 0, 1e9,                                                                 \
                         "optimizer steps; 0: 80 passes over the log, at least 300 for each decision of a "  \
                         "mean conversation, at most 10000"),                                                \
        KEEL_LEARNER_ROW("hidden", KEEL_OPT_INTS, hidden, "256,256", 1, 65536, NULL,                         \
                         "widths of the hidden layers"),                                                     \
        KEEL_LEARNER_REAL(learning_rate, "0.001", 1e-9, 10, "Adam's step size"),                             \
        KEEL_LEARNER_REAL(adam_epsilon, "1e-8", 1e-12, 1, "Adam's epsilon"),                                 \
        KEEL_LEARNER_BOOL(rate_decay, "true", "the step size falls linearly to 0 over the steps"),           \
        KEEL_LEARNER_REAL(weight_decay, "0.01", 0, 10, "decoupled weight decay"),                            \
        KEEL_LEARNER_REAL(clip_norm, "0", 0, 1e9, "largest norm of a step's gradient; 0: any"),              \
        KEEL_LEARNER_REAL(dropout, "-1", -1, 0.95,                                                           \
                          "share of hidden units dropped in training; below 0: 0.3 on up to 1,000 "          \
                          "transitions, else 0.1"),                                                          \
        KEEL_LEARNER_INT(seed, "1", 0, 9007199254740991, "seed of initialisation, sampling and dropout"),    \
        KEEL_LEARNER_INT(shard_rows, "128", 1, 65536, "rows of a batch that one shard works on"),            \
        KEEL_LEARNER_INT(log_every, "100", 1, 1e9, "steps between lines of metrics"),                        \
        KEEL_LEARNER_INT(checkpoint_every, "1000", 1, 1e9, "steps between checkpoints"),                     \
        KEEL_LEARNER_REAL(divergence_margin, "2", 1, 1e9,                                                    \
                          "factor by which Q of logged actions may exceed the return bounds")

/* Learners of Q by temporal differences. */
#define KEEL_Q_OPTIONS(critics_standard, td_loss_standard)                                                   \
    KEEL_LEARNER_INT(critics, critics_standard, 1, 16, "independent networks"),                              \
        KEEL_LEARNER_CHOICE(ensemble, "min", keel_ensembles, "what targets take over the critics"),          \
        KEEL_LEARNER_CHOICE(td_loss, td_loss_standard, keel_td_losses, "loss of the temporal difference"),   \
        KEEL_LEARNER_REAL(rule_weight, "0.3", 0, 1e3,                                                        \
                          "weight of rewards that rules give for answers nobody tried; 0: none"),            \
        KEEL_LEARNER_INT(n_step, "1", 1, 1000,                                                               \
                         "decisions whose rewards are summed before a target bootstraps"),                   \
        KEEL_LEARNER_REAL(tau, "0.005", 0, 1, "how far the target network moves at an update"),              \
        KEEL_LEARNER_INT(target_interval, "0", 0, 1e9,                                                       \
                         "steps between target updates, the first after step 1; 0: every step"),             \
        KEEL_LEARNER_BOOL(vector_heads, "true",                                                              \
                          "one head per reward component instead of one for the composite"),                 \
        KEEL_REWARDS(KEEL_LEARNER_CONCENTRATION) KEEL_LEARNER_BOOL(                                          \
            conditioned, "false", "one policy for many weightings: weights are drawn for each transition")

/* Learners with a conservative term of Q_w. */
#define KEEL_CONSERVATIVE_OPTIONS                                                                            \
    KEEL_LEARNER_BOOL(calibrated, "true",                                                                    \
                      "the conservative term pushes no action below the value of the behaviour (Cal-QL)")

/* Learners whose targets take the best next action. */
#define KEEL_GREEDY_OPTIONS                                                                                  \
    KEEL_LEARNER_BOOL(double_q, "true",                                                                      \
                      "the next action is chosen by the online network instead of the target network"),      \
        KEEL_LEARNER_INT(quantiles, "1", 1, 1024,                                                            \
                         "quantiles of the return's distribution for each head; 1: its mean")

/* Learners whose policy tilts the base's prior by Q. */
#define KEEL_TILT_OPTIONS                                                                                    \
    KEEL_LEARNER_REAL(kl_budget, "1", 0, 1e3,                                                                \
                      "mean KL from the base that the policy may spend, in nats; 0: beta is given"),         \
        KEEL_LEARNER_REAL(beta, "1", 0, 1e6,                                                                 \
                          "strength of the advantages over the prior when kl_budget is 0"),                  \
        KEEL_LEARNER_REAL(beta_limit, "50", 0, 1e6, "largest beta that the search may give")

/* Learners with a cost critic, and by default: how much its own term weighs, the threshold that masks. */
#define KEEL_COST_OPTIONS(pessimism_standard, threshold_standard)                                            \
    KEEL_LEARNER_REAL(cost_pessimism, pessimism_standard, 0, 1e4,                                            \
                      "weight of the term that raises the cost of harm of what the log did not take"),       \
        KEEL_LEARNER_REAL(harm_threshold, threshold_standard, 0, 1e6,                                        \
                          "actions whose cost of harm is above it are masked, but for refusing and handing " \
                          "over; 0.25: more harm than a partial answer does; not used where the log knows "  \
                          "no harm")

/* A learner's own keys: `type` is its struct. */
#define KEEL_OWN_ROW(type, field, kind, standard, low, high, choices, help)                                  \
    {                                                                                                        \
#field, kind, offsetof(keel_learner_config, own) + offsetof(type, field), standard, low, high,       \
            choices, help                                                                                    \
    }
#define KEEL_OWN_REAL(type, field, standard, low, high, help)                                                \
    KEEL_OWN_ROW(type, field, KEEL_OPT_REAL, standard, low, high, NULL, help)
#define KEEL_OWN_CHOICE(type, field, standard, choices, help)                                                \
    KEEL_OWN_ROW(type, field, KEEL_OPT_CHOICE, standard, 0, 0, choices, help)
#define KEEL_LEARNER_OWN(type)                                                                               \
    _Static_assert(sizeof(type) <= sizeof((keel_learner_config *)0)->own, "more room in own");               \
    static inline type own_of(const keel_learner_config *config) {                                           \
        type own;                                                                                            \
        memcpy(&own, config->own, sizeof own);                                                               \
        return own;                                                                                          \
    }

/* What the settings of peers have in common: plain Adam; for learners of Q also one head for the reward as
 * it is, and hard target copies. */
#define KEEL_PEER_SETTINGS                                                                                   \
    "rate_decay=false", "weight_decay=0", "dropout=0", "batch=32", "rival_drop=0", "rival_plant=0",          \
        "alternatives=0"
#define KEEL_PEER_Q_SETTINGS KEEL_PEER_SETTINGS, "vector_heads=false", "tau=1", "rule_weight=0"

#endif
