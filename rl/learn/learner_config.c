/* The learner's knobs, one row each, and the presets. */
#include <stddef.h>
#include <string.h>

#include "rl/learn/learner.h"

const char *const keel_presets[] = {"keel", "d3rlpy", "tianshou", "atari", NULL};
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
#define CONCENTRATION(key, index, help)                                                                      \
    ROW(key, KEEL_OPT_REAL, concentration[index], "1", 0.1, 1e3, NULL, help)

const keel_option keel_learner_options[] = {
    ROW("algorithm", KEEL_OPT_CHOICE, algorithm, "cql", 0, 0, keel_algorithms, "what is learned"),
    REAL(alpha, "0.1", 0, 1e4, "weight of the conservative term; 0 for dqn, above 0 for bc"),
    ROW("double_q", KEEL_OPT_BOOL, double_q, "true", 0, 0, NULL,
        "the next action is chosen by the online network instead of the target network"),
    ROW("ensemble", KEEL_OPT_CHOICE, ensemble, "min", 0, 0, ensembles, "what targets take over the critics"),
    INT(quantiles, "1", 1, 1024, "of each head's return (cql, cql-lagrange, dqn, bcq); 1: its mean"),
    INT(n_step, "1", 1, 1000, "decisions whose rewards are summed before a target bootstraps"),
    REAL(keep_top, "100", 1e-6, 100, "percent of the conversations that are learned from, by their return"),
    REAL(lagrange_threshold, "1.5", -1e3, 1e3,
         "cql-lagrange: gap of the conservative term to hold; log n where n actions are valued alike"),
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
    ROW("conditioned", KEEL_OPT_BOOL, conditioned, "false", 0, 0, NULL,
        "one policy for many weightings: weights are drawn for each transition (not for cloning)"),
    CONCENTRATION("concentration_accuracy", KEEL_ACCURACY,
                  "conditioned: Dirichlet parameter of accuracy's weight"),
    CONCENTRATION("concentration_speed", KEEL_SPEED, "of speed's"),
    CONCENTRATION("concentration_safety", KEEL_SAFETY, "of safety's"),
    INT(batch, "256", 1, 65536, "transitions a step"),
    INT(steps, "0", 0, 1e9, "optimizer steps; 0: by the size of the log"),
    INT(critics, "1", 1, 16, "independent networks"),
    ROW("hidden", KEEL_OPT_INTS, hidden, "256,256", 1, 65536, NULL, "widths of the hidden layers"),
    REAL(learning_rate, "0.001", 1e-9, 10, "Adam's step size"),
    REAL(adam_epsilon, "1e-8", 1e-12, 1, "Adam's epsilon"),
    ROW("rate_decay", KEEL_OPT_BOOL, rate_decay, "true", 0, 0, NULL,
        "the step size falls linearly to 0 over the steps"),
    REAL(weight_decay, "0.01", 0, 10, "decoupled weight decay"),
    REAL(clip_norm, "0", 0, 1e9, "largest norm of a step's gradient; 0: any"),
    REAL(dropout, "0.1", 0, 0.95, "share of hidden units dropped in training"),
    INT(seed, "1", 0, 9007199254740991, "of initialisation, sampling and dropout"),
    INT(shard_rows, "128", 1, 65536, "rows of a batch that one shard works on"),
    INT(log_every, "100", 1, 1e9, "steps between lines of metrics"),
    INT(checkpoint_every, "1000", 1, 1e9, "steps between checkpoints"),
    REAL(divergence_margin, "2", 1, 1e9, "factor by which Q of logged actions may exceed the return bounds"),
    REAL(kl_budget, "1", 0, 1e3,
         "mean KL from the base that the policy may spend, in nats; 0: beta is given"),
    REAL(beta, "1", 0, 1e6, "strength of the advantages over the prior when kl_budget is 0"),
    REAL(beta_limit, "50", 0, 1e6, "largest beta that the search may give"),
    REAL(safety_floor, "-0.25", -1e6, 1e6,
         "actions with a lower Q of safety are masked: those that promise more harm than a partial answer "
         "does; none where the log tells nothing of safety"),
    {0},
};

/* What the peers' settings have in common: one head for the reward as it is, plain Adam, hard target copies.
 */
static void apply_peer(keel_learner_config *config) {
    config->vector_heads = false;
    config->rate_decay = false;
    config->weight_decay = 0;
    config->dropout = 0;
    config->batch = 32;
    config->tau = 1;
}

/* DiscreteCQL's defaults (reference offline-rl 2.1). */
static void apply_d3rlpy(keel_learner_config *config) {
    apply_peer(config);
    config->alpha = 1;
    config->learning_rate = 6.25e-5;
    config->target_interval = 8000;
}

/* QR-DQN-200 with min_q_weight, and what its Atari example sets (reference offline-rl 2.1b). */
static void apply_tianshou(keel_learner_config *config) {
    apply_peer(config);
    config->alpha = 10;
    config->quantiles = 200;
    config->learning_rate = 1e-4;
    config->target_interval = 500;
}

/* The official multi-head QR agent: no double Q; w = 4 as for 1 % of the data (1 for 10 %: alpha=1), Adam as
 * in its reproduction (reference offline-rl 2.1, 2.1b). */
static void apply_atari(keel_learner_config *config) {
    apply_peer(config);
    config->alpha = 4;
    config->double_q = false;
    config->quantiles = 200;
    config->learning_rate = 5e-5;
    config->adam_epsilon = 1e-2 / 32;
    config->target_interval = 2000;
}

/* Which algorithms a peer's settings are for. */
static const struct {
    const char *preset, *algorithms[4];
    void (*apply)(keel_learner_config *config);
} peers[] = {{"d3rlpy", {"cql", "dqn", "bc"}, apply_d3rlpy},
             {"tianshou", {"cql"}, apply_tianshou},
             {"atari", {"cql"}, apply_atari}};

static keel_status refuse_algorithm(size_t peer, const char *algorithm, keel_err *err) {
    const char *const *a = peers[peer].algorithms;
    keel_fail(err, KEEL_E_USAGE, "preset", "%s has no settings for %s", peers[peer].preset, algorithm);
    return keel_hint(err, "it has some for %s%s%s%s%s", a[0], a[1] ? ", " : "", a[1] ? a[1] : "",
                     a[2] ? ", " : "", a[2] ? a[2] : "");
}

static keel_status apply_preset(const char *preset, const char *algorithm, keel_learner_config *config,
                                keel_err *err) {
    if (strcmp(preset, "keel") == 0) return KEEL_OK;
    for (size_t i = 0; i < sizeof peers / sizeof *peers; ++i) {
        if (strcmp(preset, peers[i].preset) != 0) continue;
        for (size_t a = 0; a < 4 && peers[i].algorithms[a]; ++a)
            if (strcmp(algorithm, peers[i].algorithms[a]) == 0) {
                peers[i].apply(config);
                return KEEL_OK;
            }
        return refuse_algorithm(i, algorithm, err);
    }
    return keel_fail(err, KEEL_E_USAGE, "preset", "expected keel, d3rlpy, tianshou or atari, got \"%s\"",
                     preset);
}

keel_status keel_learner_preset(const char *preset, const char *algorithm, keel_learner_config *out,
                                keel_err *err) {
    keel_learner_config config = {0};
    KEEL_TRY(keel_options_defaults(keel_learner_options, &config, err));
    KEEL_TRY(keel_options_set(keel_learner_options, &config, "algorithm", algorithm, "--algo", err));
    KEEL_TRY(apply_preset(preset, algorithm, &config, err));
    const keel_learner_kind *kind = keel_learner_kind_of(config.algorithm);
    if (kind->standard) kind->standard(&config);
    *out = config;
    return KEEL_OK;
}
