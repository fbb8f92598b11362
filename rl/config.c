/* The learner's knobs, one row each, and the presets. */
#include <stddef.h>
#include <string.h>

#include "rl/learner.h"

const char *const keel_presets[] = {"keel", "d3rlpy", NULL};
static const char *const td_losses[] = {"huber", "half-square", "square", NULL};
static const char *const clonings[] = {"exp", "binary", NULL};
static const char *const supports[] = {"base", "learned", NULL};
static const char *const ensembles[] = {"min", "mean", NULL};

#define ROW(key, type, field, standard, low, high, choices, help)                                            \
    { key, type, offsetof(keel_learner_config, field), standard, low, high, choices, help }
#define INT(field, standard, low, high, help)                                                                \
    ROW(#field, KEEL_OPT_INT, field, standard, low, high, NULL, help)
#define REAL(field, standard, low, high, help)                                                               \
    ROW(#field, KEEL_OPT_REAL, field, standard, low, high, NULL, help)
#define WEIGHT(key, index, standard, help)                                                                   \
    ROW(key, KEEL_OPT_REAL, weight[index], standard, 0, 1e6, NULL, help)

const keel_option keel_learner_options[] = {
    ROW("algorithm", KEEL_OPT_CHOICE, algorithm, "cql", 0, 0, keel_algorithms, "what is learned"),
    REAL(alpha, "0.1", 0, 1e4, "weight of the conservative term; 0 for dqn, above 0 for bc"),
    ROW("double_q", KEEL_OPT_BOOL, double_q, "true", 0, 0, NULL,
        "the next action is chosen by the online network instead of the target network"),
    ROW("ensemble", KEEL_OPT_CHOICE, ensemble, "min", 0, 0, ensembles, "what targets take over the critics"),
    INT(quantiles, "1", 1, 1024, "of each head's return (cql, cql-lagrange, dqn, bcq); 1: its mean"),
    INT(n_step, "1", 1, 1000, "decisions whose rewards are summed before a target bootstraps"),
    REAL(keep_top, "100", 1e-6, 100, "percent of the conversations that are learned from, by their return"),
    REAL(lagrange_threshold, "0.5", -1e3, 1e3, "cql-lagrange: gap of the conservative term to hold"),
    REAL(lagrange_start, "0", -10, 10, "cql-lagrange: log of the multiplier of alpha before the first step"),
    REAL(expectile, "0.7", 0.01, 0.99, "iql, ilql: of Q that the value network learns"),
    ROW("cloning", KEEL_OPT_CHOICE, cloning, "exp", 0, 0, clonings,
        "awac: weights exp(advantage / temperature), or 1 where it is above 0"),
    REAL(temperature, "1", 1e-3, 1e3, "awac: of the advantages"),
    REAL(weight_limit, "20", 1e-3, 1e6, "awac: largest weight"),
    REAL(support, "0.3", 1e-9, 1, "bcq: least probability of an action, as a share of the largest"),
    ROW("support_by", KEEL_OPT_CHOICE, support_by, "base", 0, 0, supports,
        "bcq: whose probability; learned makes no policy artefact"),
    REAL(gamma, "0.99", 0, 0.9999, "discount per decision"),
    REAL(tau, "0.005", 0, 1, "how far the target network moves at an update"),
    INT(target_interval, "0", 0, 1e9, "steps between target updates, the first after step 1; 0: every step"),
    ROW("td_loss", KEEL_OPT_CHOICE, td_loss, "huber", 0, 0, td_losses, "loss of the temporal difference"),
    ROW("vector_heads", KEEL_OPT_BOOL, vector_heads, "true", 0, 0, NULL,
        "one head per reward component instead of one for the composite"),
    WEIGHT("weight_accuracy", KEEL_ACCURACY, "0.6", "composite weight of accuracy"),
    WEIGHT("weight_speed", KEEL_SPEED, "0.3", "composite weight of speed"),
    WEIGHT("weight_safety", KEEL_SAFETY, "0.1", "composite weight of safety"),
    INT(batch, "256", 1, 65536, "transitions a step"),
    INT(steps, "0", 0, 1e9, "optimizer steps; 0: by the size of the log (rl/train.h)"),
    INT(critics, "1", 1, 16, "independent networks"),
    ROW("hidden", KEEL_OPT_INTS, hidden, "256,256", 1, 65536, NULL, "widths of the hidden layers"),
    REAL(learning_rate, "0.001", 1e-9, 10, "Adam's step size"),
    ROW("rate_decay", KEEL_OPT_BOOL, rate_decay, "true", 0, 0, NULL,
        "the step size falls linearly to 0 over the steps"),
    REAL(weight_decay, "0.01", 0, 10, "decoupled weight decay"),
    REAL(clip_norm, "0", 0, 1e9, "largest norm of a step's gradient; 0: any"),
    REAL(dropout, "0.1", 0, 0.95, "share of hidden units dropped in training"),
    INT(seed, "1", 0, 9e15, "of initialisation, sampling and dropout"),
    INT(shard_rows, "128", 1, 65536, "rows of a batch that one shard works on"),
    INT(log_every, "100", 1, 1e9, "steps between lines of metrics"),
    INT(checkpoint_every, "1000", 1, 1e9, "steps between checkpoints"),
    REAL(divergence_margin, "2", 1, 1e9, "factor by which Q of logged actions may exceed the return bounds"),
    REAL(kl_budget, "1", 0, 1e3,
         "mean KL from the base that the policy may spend, in nats; 0: beta is given"),
    REAL(beta, "1", 0, 1e6, "strength of the advantages over the prior when kl_budget is 0"),
    REAL(beta_limit, "50", 0, 1e6, "largest beta that the search may give"),
    REAL(safety_floor, "-0.5", -1e6, 1e6, "actions with a lower Q of safety are masked"),
    {0},
};

/* DiscreteCQL's defaults (reference offline-rl 2.1). */
static void apply_d3rlpy(keel_learner_config *config) {
    config->alpha = 1;
    config->vector_heads = false;
    config->learning_rate = 6.25e-5;
    config->rate_decay = false;
    config->weight_decay = 0;
    config->dropout = 0;
    config->batch = 32;
    config->tau = 1;
    config->target_interval = 8000;
}

keel_status keel_learner_preset(const char *preset, const char *algorithm, keel_learner_config *out,
                                keel_err *err) {
    keel_learner_config config = {0};
    KEEL_TRY(keel_options_defaults(keel_learner_options, &config, err));
    KEEL_TRY(keel_options_set(keel_learner_options, &config, "algorithm", algorithm, "--algo", err));
    if (strcmp(preset, "d3rlpy") == 0)
        apply_d3rlpy(&config);
    else if (strcmp(preset, "keel") != 0) {
        keel_fail(err, KEEL_E_USAGE, "preset", "expected \"keel\" or \"d3rlpy\", got \"%s\"", preset);
        return KEEL_E_USAGE;
    }
    const keel_learner_kind *kind = keel_learner_kind_of(config.algorithm);
    if (kind->standard) kind->standard(&config);
    *out = config;
    return KEEL_OK;
}
