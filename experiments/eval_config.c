#include "experiments/eval_config.h"

#include <stddef.h>

#include "core/json.h"
#include "experiments/cli_resources.h"
#include "rl/learn/derive.h"

#define WEIGHT(id, name, standard, low, high)                                                                \
    {"weight_" #name,                                                                                        \
     KEEL_OPT_REAL,                                                                                          \
     offsetof(keel_eval_config, weight[KEEL_##id]),                                                          \
     #standard,                                                                                              \
     0,                                                                                                      \
     1e6,                                                                                                    \
     NULL,                                                                                                   \
     "weight of " #name " in composite_reward"},

const keel_option keel_eval_config_options[] = {
    /* clang-format off */
    KEEL_REWARDS(WEIGHT)
    /* clang-format on */
    {"resamples", KEEL_OPT_INT, offsetof(keel_eval_config, resamples), "2000", 100, 1e6, NULL,
     "bootstrap resamples of differences, corrected rates and off-policy estimates"},
    {"gamma", KEEL_OPT_REAL, offsetof(keel_eval_config, gamma), "0.99", 0, 1, NULL,
     "discount of the off-policy estimates"},
    {"ope", KEEL_OPT_CHOICE, offsetof(keel_eval_config, ope), "critic", 0, 0, keel_ope_models,
     "where the model of the off-policy estimates comes from"},
    {"fqe_steps", KEEL_OPT_INT, offsetof(keel_eval_config, fqe_steps), "0", 0, 1e9, NULL,
     "optimizer steps of a fold's fit; 0: by the size of the split"},
    {"seed", KEEL_OPT_INT, offsetof(keel_eval_config, seed), "1", 0, 9007199254740991, NULL,
     "seed of the bootstrap and of the fit"},
    {0},
};

keel_evaluate_config keel_eval_config_resolve(const keel_eval_config *measure,
                                              const keel_reward_config *reward) {
    keel_evaluate_config config = {.resamples = (size_t)measure->resamples,
                                   .seed = (uint64_t)measure->seed,
                                   .gamma = measure->gamma,
                                   .model = measure->ope,
                                   .fqe_steps = measure->fqe_steps,
                                   .reward = reward};
    for (int k = 0; k < KEEL_N_REWARDS; k++) config.weight[k] = measure->weight[k];
    return config;
}

cJSON *keel_eval_config_metrics_json(const keel_evaluation *evaluation) {
    cJSON *json = cJSON_CreateObject();
    for (int i = 0; i < KEEL_N_METRICS; i++)
        keel_json_add(json, keel_metric_names[i], keel_interval_json(&evaluation->metric[i]));
    return json;
}

void keel_eval_config_corrected_rows(keel_table *table, const cJSON *const *columns, size_t n) {
    static const char *const ways[][2] = {{"rogan_gladen", "Rogan-Gladen"}, {"ppi", "prediction-powered"}};
    for (int r = 0; r < KEEL_N_CORRECTED; r++)
        for (size_t w = 0; w < 2; w++) {
            bool known = false;
            for (size_t i = 0; i < n; i++)
                known =
                    known || keel_json_get(keel_json_get(columns[i], keel_corrected_names[r]), ways[w][0]);
            if (!known) continue;
            keel_table_cell(table, "%s, %s", keel_corrected_names[r], ways[w][1]);
            for (size_t i = 0; i < n; i++)
                keel_table_interval(
                    table, keel_json_get(keel_json_get(columns[i], keel_corrected_names[r]), ways[w][0]));
        }
}

void keel_eval_config_print_judged(const cJSON *judged, FILE *out) {
    const double labels = cJSON_GetNumberValue(keel_json_get(judged, "labels"));
    const cJSON *unknown = keel_json_get(judged, "error_unknown");
    if (!(labels > 0)) return;
    fprintf(out, "\n%.0f responses are labelled by a judge alone (", labels);
    keel_print_line(out, keel_json_get(judged, "judge")->valuestring, 0);
    if (!cJSON_IsString(unknown)) {
        fprintf(out, "); %.0f have a human label too, which tells its error.\n",
                cJSON_GetNumberValue(keel_json_get(judged, "both")));
        return;
    }
    fprintf(
        out,
        "). Its error is unknown here: %s. Label about 100 yourself: `keel review` draws and shows them; or "
        "write \"outcome\" and \"judge\": \"human\" into what `keel export --format chat` gives, and `keel import` it. Then "
        "`keel label`.\n",
        unknown->valuestring);
}

keel_status keel_eval_config_evaluate_logged(keel_store *store, const keel_split *split,
                                             keel_evaluation_set *out, keel_err *err) {
    keel_eval_config measure;
    keel_reward_config reward;
    KEEL_TRY(keel_options_defaults(keel_eval_config_options, &measure, err));
    KEEL_TRY(keel_derive_rewards(store, &reward, err));
    keel_evaluate_config config = keel_eval_config_resolve(&measure, &reward);
    return keel_evaluate_logged(store, split, &config, out, err);
}
