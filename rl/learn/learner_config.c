/* What all configurations of learners have in common: defaults, presets, one key at a time, checks. */
#include <string.h>

#include "core/decimal.h"
#include "core/memory.h"
#include "rl/learn/learner_options.h"
#include "rl/learn/reward_conditioning.h"

const char *const keel_presets[] = {"keel", "d3rlpy", "tianshou", "atari", NULL};
const char *const keel_td_losses[] = {"huber", "half-square", "square", NULL};
const char *const keel_ensembles[] = {"min", "mean", NULL};

const keel_option keel_learner_common_options[] = {KEEL_LEARNER_OPTIONS("cql", "100"), {0}};

/* What the frame looks at has a value for every learner, whether that has the key or not. */
static const keel_option all_of_the_frame[] = {KEEL_LEARNER_OPTIONS("cql", "100"),
                                               KEEL_Q_OPTIONS("1", "huber"),
                                               KEEL_GREEDY_OPTIONS,
                                               KEEL_TILT_OPTIONS,
                                               KEEL_COST_OPTIONS("0.03", "0.25"),
                                               {0}};

static const keel_learner_preset_row *preset_of(const keel_learner_kind *kind, const char *name) {
    for (const keel_learner_preset_row *row = kind->presets; row && row->name; ++row)
        if (strcmp(row->name, name) == 0) return row;
    return NULL;
}

static keel_status refuse_preset(const char *preset, const char *algorithm, keel_err *err) {
    keel_buf known = {0};
    for (int i = 0; keel_algorithms[i]; ++i)
        if (preset_of(keel_learner_kind_of(i), preset))
            keel_buf_format(&known, "%s%s", known.length ? ", " : "", keel_algorithms[i]);
    if (known.length) {
        keel_fail(err, KEEL_E_USAGE, "preset", "%s has no settings for %s", preset, algorithm);
        keel_hint(err, "it has some for %s", known.data ? known.data : "others");
    } else {
        keel_fail(err, KEEL_E_USAGE, "preset", "unknown preset \"%s\"", preset);
    }
    keel_buf_free(&known);
    return KEEL_E_USAGE;
}

static keel_status apply_preset(const char *preset, const keel_learner_kind *kind,
                                keel_learner_config *config, keel_err *err) {
    const keel_learner_preset_row *row = preset_of(kind, preset);
    if (strcmp(preset, keel_presets[0]) == 0) return KEEL_OK;
    if (!row) return refuse_preset(preset, keel_algorithms[config->algorithm], err);
    for (const char *const *setting = row->settings; *setting; ++setting)
        KEEL_TRY(keel_options_assign(kind->options, config, *setting, err));
    return KEEL_OK;
}

keel_status keel_learner_preset(const char *preset, const char *algorithm, keel_learner_config *out,
                                keel_err *err) {
    keel_learner_config config;
    memset(&config, 0, sizeof config);
    KEEL_TRY(keel_options_defaults(all_of_the_frame, &config, err));
    KEEL_TRY(keel_options_set(all_of_the_frame, &config, "algorithm", algorithm, "--algo", err));
    const keel_learner_kind *kind = keel_learner_kind_of(config.algorithm);
    KEEL_TRY(keel_options_defaults(kind->options, &config, err));
    if (!kind->next_value) config.vector_heads = false; /* no reward is looked at */
    KEEL_TRY(apply_preset(preset, kind, &config, err));
    *out = config;
    return KEEL_OK;
}

const keel_option *keel_learner_options(int algorithm) {
    return keel_learner_kind_of(algorithm)->options;
}

keel_status keel_learner_set(keel_learner_config *config, const char *key, const char *text, keel_err *err) {
    return keel_options_set(keel_learner_options(config->algorithm), config, key, text,
                            "learner configuration", err);
}

keel_status keel_learner_set_number(keel_learner_config *config, const char *key, double value,
                                    keel_err *err) {
    char text[KEEL_DECIMAL_SIZE];
    keel_decimal_print(text, value);
    return keel_learner_set(config, key, text, err);
}

keel_status keel_learner_check(const keel_learner_config *config, keel_err *err) {
    if (config->quantiles > 1 && config->td_loss != KEEL_TD_HUBER)
        return keel_fail(err, KEEL_E_INVALID, "learner configuration",
                         "td_loss: quantiles are learned by huber alone");
    return config->conditioned ? keel_reward_conditioning_check(config, err) : KEEL_OK;
}
