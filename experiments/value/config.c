/* What can be set, and what each world starts from. */
#include <stddef.h>
#include <string.h>

#include "experiments/value/run.h"

static const char *const worlds[] = {"desk", "tabular", NULL};
static const value_world_kind *const kinds[] = {&value_desk, &value_tabular};

#define ROW(key, type, field, standard, low, high, help)                                                     \
    { key, type, offsetof(value_config, field), standard, low, high, NULL, help }

const keel_option value_options[] = {
    {"world", KEEL_OPT_CHOICE, offsetof(value_config, world), "desk", 0, 0, worlds, "where logs come from"},
    ROW("seeds", KEEL_OPT_INT, seeds, "20", 2, 1000, "logs of each cell, each with its own initialisation"),
    ROW("first_seed", KEEL_OPT_INT, first_seed, "0", 0, 1e9, "1000 and above: for choosing settings"),
    ROW("n", KEEL_OPT_INTS, n, "100,300,1000,3000", 2, 1e6, "conversations in a log"),
    ROW("eps", KEEL_OPT_INTS, eps, "30,60,90", 0, 100, "percent of the behaviour's acts that are random"),
    ROW("headline_n", KEEL_OPT_INT, headline_n, "1000", 2, 1e6, "the cell that is quoted"),
    ROW("headline_eps", KEEL_OPT_INT, headline_eps, "60", 0, 100, "the cell that is quoted"),
    ROW("steps", KEEL_OPT_INT, settings.steps, "1000", 1, 1e6, "optimizer steps of every fit"),
    ROW("batch", KEEL_OPT_INT, settings.batch, "64", 1, 65536, "transitions a step"),
    ROW("hidden", KEEL_OPT_INT, settings.hidden, "64", 1, 4096, "width of the one hidden layer"),
    ROW("target_interval", KEEL_OPT_INT, settings.target_interval, "25", 1, 1e6,
        "steps between copies to the target network"),
    ROW("learning_rate", KEEL_OPT_REAL, settings.learning_rate, "0.01", 1e-9, 1, "Adam's, falling to 0"),
    ROW("dropout", KEEL_OPT_REAL, settings.dropout, "0.1", 0, 0.9,
        "share of hidden units dropped in learning"),
    ROW("weight_decay", KEEL_OPT_REAL, settings.weight_decay, "0.3", 0, 10, "decoupled weight decay"),
    ROW("scale", KEEL_OPT_REAL, settings.scale, "20", 1e-3, 1e6,
        "of rewards: the policy's temperature is 1 / scale of a reward"),
    ROW("calibrated", KEEL_OPT_BOOL, settings.calibrated, "false", 0, 0,
        "CQL pushes no act below what the log earned from there on (Cal-QL)"),
    ROW("precision", KEEL_OPT_REAL, precision, "0.005", 1e-4, 1,
        "standard error of true values, as a share of the range from random to best"),
    ROW("threads", KEEL_OPT_INT, threads, "1", 1, 1024, "runs at a time; the result is the same"),
    {0},
};

/* Nearer to the pilot's: nothing to be regularised, values are ten times larger. */
static const char *const tabular[] = {
    "n=30,60,200",        "eps=50,90",           "headline_n=60", "headline_eps=50", "scale=10", "steps=2000",
    "target_interval=50", "learning_rate=0.003", "dropout=0",     "weight_decay=0",  NULL};

static bool has(const keel_int_list *list, int64_t item) {
    for (size_t i = 0; i < list->count; ++i)
        if (list->items[i] == item) return true;
    return false;
}

static keel_status assign_all(int count, char **assignments, value_config *config, keel_err *err) {
    for (int i = 0; i < count; ++i) KEEL_TRY(keel_options_assign(value_options, config, assignments[i], err));
    return KEEL_OK;
}

keel_status value_config_read(int count, char **assignments, value_config *out, keel_err *err) {
    value_config made = {0};
    KEEL_TRY(keel_options_defaults(value_options, &made, err));
    KEEL_TRY(assign_all(count, assignments, &made, err));
    if (kinds[made.world] == &value_tabular) {
        for (size_t i = 0; tabular[i]; ++i)
            KEEL_TRY(keel_options_assign(value_options, &made, tabular[i], err));
        KEEL_TRY(assign_all(count, assignments, &made, err));
    }
    if (!has(&made.n, made.headline_n))
        return keel_fail(err, KEEL_E_INVALID, "headline_n", "%lld is not one of n",
                         (long long)made.headline_n);
    if (!has(&made.eps, made.headline_eps))
        return keel_fail(err, KEEL_E_INVALID, "headline_eps", "%lld is not one of eps",
                         (long long)made.headline_eps);
    *out = made;
    return KEEL_OK;
}

const value_world_kind *value_config_world(const value_config *config) {
    return kinds[config->world];
}
