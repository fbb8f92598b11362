/* An evaluation as JSON: what `eval --json` prints, gates read and reports draw. */
#include <math.h>

#include "core/json.h"
#include "rl/judge/evaluate.h"

const char *const keel_difference_names[KEEL_N_DIFFERENCES] = {"policy - logged", "policy - base"};

static void add_number(cJSON *object, const char *key, double value, bool known) {
    keel_json_add(object, key, known ? cJSON_CreateNumber(value) : cJSON_CreateNull());
}

static cJSON *interval_json(const keel_interval *interval) {
    cJSON *json = cJSON_CreateObject();
    bool known = interval->n > 0;
    add_number(json, "value", interval->value, known);
    add_number(json, "low", interval->low, known);
    add_number(json, "high", interval->high, known);
    add_number(json, "n", interval->n, true);
    return json;
}

static cJSON *metrics_json(const keel_interval *metric) {
    cJSON *json = cJSON_CreateObject();
    for (int m = 0; m < KEEL_N_METRICS; ++m)
        keel_json_add(json, keel_metric_names[m], interval_json(&metric[m]));
    return json;
}

static cJSON *evaluation_json(const keel_evaluation *evaluation) {
    cJSON *json = cJSON_CreateObject();
    keel_json_add(json, "metrics", metrics_json(evaluation->metric));
    cJSON *coverage = cJSON_AddObjectToObject(json, "reward_coverage");
    for (int k = 0; k < KEEL_N_REWARDS; ++k)
        cJSON_AddNumberToObject(coverage, keel_reward_name(k), evaluation->reward_coverage[k]);
    cJSON_AddNumberToObject(json, "answers_known", evaluation->answers_known);
    cJSON_AddNumberToObject(json, "mean_kl", evaluation->mean_kl);
    return json;
}

static cJSON *ope_json(const keel_ope *ope) {
    cJSON *json = cJSON_CreateObject();
    for (int k = 0; k < KEEL_N_OPE; ++k)
        keel_json_add(json, keel_ope_names[k], interval_json(&ope->estimate[k]));
    add_number(json, "lower", ope->lower, ope->lower > -INFINITY);
    cJSON_AddNumberToObject(json, "ess", ope->ess);
    cJSON_AddNumberToObject(json, "least_ess", ope->least_ess);
    cJSON_AddNumberToObject(json, "max_weight", ope->max_weight);
    cJSON_AddNumberToObject(json, "support", ope->support);
    cJSON_AddBoolToObject(json, "propensities_estimated", ope->propensities_estimated);
    cJSON_AddBoolToObject(json, "headline", ope->headline);
    return json;
}

cJSON *keel_evaluation_json(const keel_evaluation_set *set) {
    cJSON *json = cJSON_CreateObject(), *policy = evaluation_json(&set->policy);
    keel_json_add(policy, "ope", ope_json(&set->ope));
    keel_json_add(json, "policy", policy);
    cJSON *baselines = cJSON_AddObjectToObject(json, "baselines");
    keel_json_add(baselines, "logged", evaluation_json(&set->logged));
    keel_json_add(baselines, "base", evaluation_json(&set->base));
    cJSON *differences = cJSON_AddObjectToObject(json, "differences");
    for (int d = 0; d < KEEL_N_DIFFERENCES; ++d)
        keel_json_add(differences, keel_difference_names[d], metrics_json(set->minus[d]));
    cJSON *models = cJSON_AddObjectToObject(json, "models");
    for (size_t i = 0; i < set->n_models; ++i)
        keel_json_add(models, set->models[i].name, evaluation_json(&set->models[i]));
    return json;
}
