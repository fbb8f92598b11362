#include "rl/train/validate_internal.h"

#include <math.h>
#include <string.h>

#include "core/json.h"
#include "core/log.h"
#include "policies/policy_internal.h"
#include "rl/judge/evaluate.h"

enum { RESAMPLES = 4000 }; /* of which the least 0.05 / points are beyond the bound */
static const double delta = 0.05;

uint64_t keel_validation_step(const keel_validation *validation, size_t i, uint64_t steps) {
    return (steps * (i + 1) + validation->points - 1) / validation->points;
}

/* ---- judging ---- */

static void read_ope(const keel_ope *ope, keel_validation_trial *out) {
    const keel_interval *wdr = &ope->estimate[KEEL_OPE_WDR], *logged = &ope->estimate[KEEL_OPE_LOGGED];
    bool known = wdr->n > 0 && isfinite(wdr->value) && isfinite(wdr->low);
    out->judged = known && ope->headline;
    out->value = known ? wdr->value : 0;
    out->bound = known ? wdr->low : 0;
    out->ess = ope->ess;
    out->least_ess = ope->least_ess;
    out->logged = logged->n > 0 ? logged->value : 0;
}

/* What is earned over all decisions, paired. */
static void read_differences(const keel_evaluation_set *set, keel_validation_trial *out) {
    const keel_interval *log = &set->minus[KEEL_MINUS_LOGGED][KEEL_METRIC_COMPOSITE],
                        *base = &set->minus[KEEL_MINUS_BASE][KEEL_METRIC_COMPOSITE];
    out->compared = log->n > 0 && base->n > 0 && isfinite(log->low) && isfinite(base->low);
    if (!(out->compared > 0)) return;
    out->over_log = log->value;
    out->over_log_low = log->low;
    out->over_base = base->value;
    out->over_base_low = base->low;
}

keel_status keel_validation_judge(const keel_validation *validation, keel_store *store, const keel_base *base,
                                  const keel_policy *policy, const keel_learner_config *config,
                                  const keel_reward_config *rewards, keel_pool *pool,
                                  keel_validation_trial *out, keel_err *err) {
    const keel_evaluate_item item = {
        .policy = policy, .base = base, .split = validation->part, .fitted_on = &validation->rest};
    keel_evaluate_config how = {.resamples = RESAMPLES,
                                .seed = (uint64_t)config->seed,
                                .gamma = config->gamma,
                                .model = KEEL_MODEL_FQE,
                                .fqe_steps = validation->fit_steps,
                                .confidence = 1 - 2 * delta / (double)validation->points,
                                .reward = rewards};
    keel_evaluation_set set;
    keel_validation_trial made = {.beta = policy->beta};
    memcpy(how.weight, config->weight, sizeof how.weight);
    keel_status status = keel_evaluate(store, &item, 1, &how, pool, &set, err);
    if (status == KEEL_E_DIVERGED) {
        keel_log(KEEL_LOG_INFO, "note: a checkpoint cannot be evaluated: its fitted Q diverges");
        status = KEEL_OK;
    } else if (status == KEEL_OK) {
        read_ope(&set.ope, &made);
        read_differences(&set, &made);
        keel_evaluation_set_free(&set);
    }
    if (status == KEEL_OK) *out = made;
    return status;
}

/* ---- choosing ---- */

bool keel_validation_add(keel_validation_trials *trials, const keel_validation_trial *trial) {
    size_t i = (size_t)trials->count++;
    bool better =
        trial->judged > 0 && (trials->best < 0 || trial->bound > trials->at[(size_t)trials->best].bound);
    trials->at[i] = *trial;
    if (better) trials->best = (double)i;
    return better;
}

static const keel_validation_trial *chosen(const keel_validation_trials *trials) {
    return trials->best < 0 ? NULL : &trials->at[(size_t)trials->best];
}

static bool is_shown(const keel_validation_trial *trial) {
    return trial->compared > 0 && trial->over_log_low > 0;
}

static void tell_differences(const keel_validation_trial *trial) {
    if (!(trial->compared > 0)) return;
    keel_log(KEEL_LOG_INFO,
             "%s: composite_reward minus the log's %+.4f, at least %+.4f; minus the base's %+.4f, at least "
             "%+.4f",
             is_shown(trial) ? "better than the log" : "no improvement shown", trial->over_log,
             trial->over_log_low, trial->over_base, trial->over_base_low);
}

void keel_validation_tell(const keel_validation_trials *trials, const keel_validation *validation) {
    const keel_validation_trial *best = chosen(trials);
    if (!best) {
        keel_log(
            KEEL_LOG_INFO,
            "warning: no checkpoint could be evaluated on %s (effective sample sizes under 30): the last "
            "is kept",
            validation->part.text);
        tell_differences(&trials->at[(size_t)trials->count - 1]);
        return;
    }
    keel_log(KEEL_LOG_INFO, "chosen: step %.0f, whose value is at least %.4f on %s (WDR %.4f, ESS %.0f)",
             best->step, best->bound, validation->part.text, best->value, best->ess);
    tell_differences(best);
    if (best->bound <= best->logged)
        keel_log(KEEL_LOG_INFO,
                 "warning: no checkpoint's bound is above %.4f, which the log itself returned there: nothing "
                 "shows "
                 "that this policy is better than what was logged",
                 best->logged);
}

/* ---- what is recorded ---- */

static bool add_number(cJSON *to, const char *key, double value, bool known) {
    return keel_json_add(to, key, known ? cJSON_CreateNumber(value) : cJSON_CreateNull());
}

static bool add_trial(cJSON *list, const keel_validation_trial *trial) {
    cJSON *row = cJSON_CreateObject();
    bool known = trial->judged > 0, compared = trial->compared > 0;
    bool whole =
        row && add_number(row, "step", trial->step, true) && add_number(row, "beta", trial->beta, true) &&
        add_number(row, "value", trial->value, known) && add_number(row, "bound", trial->bound, known) &&
        add_number(row, "ess", trial->ess, true) && add_number(row, "least_ess", trial->least_ess, true) &&
        add_number(row, "minus_logged", trial->over_log, compared) &&
        add_number(row, "minus_logged_low", trial->over_log_low, compared) &&
        add_number(row, "minus_base", trial->over_base, compared) &&
        add_number(row, "minus_base_low", trial->over_base_low, compared);
    if (whole) return keel_json_add(list, NULL, row);
    cJSON_Delete(row);
    return false;
}

cJSON *keel_validation_json(const keel_validation_trials *trials, const keel_validation *validation) {
    const keel_validation_trial *best = chosen(trials), *last = &trials->at[(size_t)trials->count - 1];
    cJSON *json = cJSON_CreateObject();
    bool whole = json && cJSON_AddStringToObject(json, "judged_on", validation->part.text) &&
                 cJSON_AddStringToObject(json, "learned_from", validation->rest.text) &&
                 cJSON_AddStringToObject(json, "estimator", "wdr") &&
                 add_number(json, "confidence", 1 - delta / (double)validation->points, true) &&
                 add_number(json, "logged", last->logged, true) &&
                 add_number(json, "chosen", best ? best->step : 0, best != NULL) &&
                 cJSON_AddBoolToObject(json, "bound_above_logged", best && best->bound > best->logged) &&
                 cJSON_AddBoolToObject(json, "improvement_shown", is_shown(best ? best : last));
    cJSON *list = whole ? cJSON_AddArrayToObject(json, "checkpoints") : NULL;
    whole = list != NULL;
    for (size_t i = 0; whole && i < (size_t)trials->count; ++i) whole = add_trial(list, &trials->at[i]);
    if (whole) return json;
    cJSON_Delete(json);
    return NULL;
}
