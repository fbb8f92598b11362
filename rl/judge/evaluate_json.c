/* An evaluation as JSON: what `eval --json` prints, gates read and reports draw. */
#include <math.h>

#include "core/json.h"
#include "rl/judge/evaluate_internal.h"

const char *const keel_difference_names[KEEL_N_DIFFERENCES] = {"policy - logged", "policy - base"};

static bool add_number(cJSON *object, const char *key, double value, bool known) {
    return keel_json_add(object, key, known ? cJSON_CreateNumber(value) : cJSON_CreateNull());
}

/* What lacks a part for want of memory is nothing. */
static cJSON *whole(cJSON *json, bool complete) {
    if (complete) return json;
    cJSON_Delete(json);
    return NULL;
}

cJSON *keel__interval_json(const keel_interval *interval) {
    cJSON *json = cJSON_CreateObject();
    const bool known = interval->n > 0;
    return whole(json, add_number(json, "value", interval->value, known) &&
                           add_number(json, "low", interval->low, known) &&
                           add_number(json, "high", interval->high, known) &&
                           add_number(json, "n", interval->n, true));
}

/* "known", "estimated", "unknown" beside the interval of what is estimated over all decisions. */
static bool add_sources(cJSON *interval, const keel_sources *source) {
    const double all = source->known + source->estimated + source->unknown;
    return !(all > 0) || (add_number(interval, "known", source->known, true) &&
                          add_number(interval, "estimated", source->estimated, true) &&
                          add_number(interval, "unknown", source->unknown, true) &&
                          (!source->clipped || keel_json_add(interval, "clipped", cJSON_CreateTrue())));
}

/* source: NULL where the metrics are differences. */
static cJSON *metrics_json(const keel_interval *metric, const keel_sources *source) {
    cJSON *json = cJSON_CreateObject();
    bool good = true;
    for (int m = 0; m < KEEL_N_METRICS && good; ++m) {
        cJSON *one = keel__interval_json(&metric[m]);
        good = one && (!source || add_sources(one, &source[m]));
        good = keel_json_add(json, keel_metric_names[m], whole(one, good));
    }
    return whole(json, good);
}

/* Rates that are estimated as played: what they are at the decisions of the log. */
static cJSON *on_log_json(const keel_evaluation *evaluation) {
    cJSON *json = cJSON_CreateObject();
    bool good = true;
    for (int m = 0; m < KEEL_N_METRICS && good; ++m)
        if (evaluation->on_log[m].n > 0)
            good = keel_json_add(json, keel_metric_names[m], keel__interval_json(&evaluation->on_log[m]));
    return whole(json, good);
}

/* Of the rates that count the judge's labels, those whose error is known. */
cJSON *keel_corrected_json(const keel_corrected corrected[KEEL_N_CORRECTED]) {
    cJSON *json = cJSON_CreateObject();
    bool good = true;
    for (int r = 0; r < KEEL_N_CORRECTED && good; ++r) {
        const keel_corrected *one = &corrected[r];
        if (!(one->ppi.n > 0)) continue;
        cJSON *rate = cJSON_CreateObject();
        good = keel_json_add(json, keel_corrected_names[r], rate) &&
               keel_json_add(rate, "rogan_gladen", keel__interval_json(&one->rogan_gladen)) &&
               keel_json_add(rate, "ppi", keel__interval_json(&one->ppi)) &&
               add_number(rate, "judged", one->judged, true) && add_number(rate, "both", one->both, true);
    }
    return whole(json, good);
}

cJSON *keel_judged_json(const keel_judged_by *judged) {
    cJSON *json = cJSON_CreateObject();
    return whole(
        json, keel_json_add(json, "judge", cJSON_CreateString(judged->judge)) &&
                  add_number(json, "labels", judged->labels, true) &&
                  add_number(json, "both", judged->both, true) &&
                  keel_json_add(json, "error_unknown",
                                judged->unknown ? cJSON_CreateString(judged->unknown) : cJSON_CreateNull()));
}

static cJSON *coverage_json(const double *coverage) {
    cJSON *json = cJSON_CreateObject();
    bool good = true;
    for (int k = 0; k < KEEL_N_REWARDS && good; ++k)
        good = add_number(json, keel_reward_name(k), coverage[k], true);
    return whole(json, good);
}

static cJSON *evaluation_json(const keel_evaluation *evaluation) {
    cJSON *json = cJSON_CreateObject();
    return whole(json,
                 keel_json_add(json, "metrics", metrics_json(evaluation->metric, evaluation->source)) &&
                     keel_json_add(json, "on_log", on_log_json(evaluation)) &&
                     keel_json_add(json, "corrected", keel_corrected_json(evaluation->corrected)) &&
                     keel_json_add(json, "reward_coverage", coverage_json(evaluation->reward_coverage)) &&
                     add_number(json, "answers_known", evaluation->answers_known, true) &&
                     add_number(json, "answers", evaluation->answers, true) &&
                     add_number(json, "unjudged", evaluation->unjudged, true) &&
                     add_number(json, "mean_kl", evaluation->mean_kl, true));
}

static cJSON *ope_json(const keel_ope *ope) {
    cJSON *json = cJSON_CreateObject();
    bool good = true;
    for (int k = 0; k < KEEL_N_OPE && good; ++k)
        good = keel_json_add(json, keel_ope_names[k], keel__interval_json(&ope->estimate[k]));
    return whole(
        json,
        good && add_number(json, "lower", ope->lower, ope->lower > -INFINITY) &&
            add_number(json, "ess", ope->ess, true) && add_number(json, "least_ess", ope->least_ess, true) &&
            add_number(json, "max_weight", ope->max_weight, true) &&
            add_number(json, "mean_weight", ope->mean_weight, true) &&
            add_number(json, "support", ope->support, true) &&
            keel_json_add(json, "propensities_estimated", cJSON_CreateBool(ope->propensities_estimated)) &&
            (!ope->propensities_unused || keel_json_add(json, "propensities_unused", cJSON_CreateTrue())) &&
            (!ope->propensities_refuted || keel_json_add(json, "propensities_refuted", cJSON_CreateTrue())) &&
            keel_json_add(json, "headline", cJSON_CreateBool(ope->headline)));
}

static cJSON *policy_json(const keel_evaluation_set *set) {
    cJSON *json = evaluation_json(&set->policy);
    return whole(json, keel_json_add(json, "ope", ope_json(&set->ope)));
}

static cJSON *baselines_json(const keel_evaluation_set *set) {
    cJSON *json = cJSON_CreateObject();
    bool good = keel_json_add(json, "logged", evaluation_json(&set->logged)) &&
                keel_json_add(json, "base", evaluation_json(&set->base));
    for (int b = 0; b < KEEL_N_BASELINES && good; ++b)
        good = keel_json_add(json, keel_baseline_names[b], evaluation_json(&set->baseline[b]));
    return whole(json, good);
}

static cJSON *differences_json(const keel_evaluation_set *set) {
    cJSON *json = cJSON_CreateObject();
    bool good = true;
    for (int d = 0; d < KEEL_N_DIFFERENCES && good; ++d)
        good = keel_json_add(json, keel_difference_names[d], metrics_json(set->minus[d], NULL));
    return whole(json, good);
}

static cJSON *differing_json(const keel_differing *differing) {
    cJSON *json = cJSON_CreateObject();
    return whole(json, add_number(json, "decisions", (double)differing->decisions, true) &&
                           add_number(json, "from_base", (double)differing->from_base, true) &&
                           add_number(json, "told", (double)differing->told, true) &&
                           add_number(json, "from_log", (double)differing->from_log, true));
}

static cJSON *unfamiliar_json(const keel_differing *differing) {
    const double placed = (double)differing->placed, unfamiliar = (double)differing->unfamiliar;
    cJSON *json = cJSON_CreateObject();
    return whole(json, add_number(json, "decisions", placed, true) &&
                           add_number(json, "unfamiliar", unfamiliar, true) &&
                           add_number(json, "share", unfamiliar / placed, placed > 0));
}

static cJSON *models_json(const keel_evaluation_set *set) {
    cJSON *json = cJSON_CreateObject();
    bool good = true;
    for (size_t i = 0; i < set->n_models && good; ++i)
        good = keel_json_add(json, set->models[i].name, evaluation_json(&set->models[i]));
    return whole(json, good);
}

cJSON *keel_evaluation_json(const keel_evaluation_set *set) {
    cJSON *json = cJSON_CreateObject();
    return whole(json, keel_json_add(json, "policy", policy_json(set)) &&
                           keel_json_add(json, "baselines", baselines_json(set)) &&
                           keel_json_add(json, "differences", differences_json(set)) &&
                           keel_json_add(json, "differing", differing_json(&set->differing)) &&
                           keel_json_add(json, "unfamiliar", unfamiliar_json(&set->differing)) &&
                           keel_json_add(json, "models", models_json(set)) &&
                           keel_json_add(json, "judged", keel_judged_json(&set->judged)) &&
                           add_number(json, "confidence", set->confidence, true));
}

keel_status keel_evaluation_print(const keel_evaluation_set *set, keel_buf *out, keel_err *err) {
    cJSON *json = keel_evaluation_json(set);
    keel_status status = keel_json_print(json, true, out, err);
    cJSON_Delete(json);
    return status;
}
