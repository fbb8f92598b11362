/* What eval, stats, simulate and the report share about measuring: the knobs of an evaluation and its metrics
 * as JSON. */
#ifndef KEEL_EXPERIMENTS_EVAL_CONFIG_H
#define KEEL_EXPERIMENTS_EVAL_CONFIG_H

#include <cjson/cJSON.h>

#include "core/options.h"
#include "experiments/table.h"
#include "rl/judge/evaluate.h"

typedef struct keel_eval_config {
    double weight[KEEL_N_REWARDS]; /* of the composite reward */
    int64_t resamples, seed, fqe_steps;
    int ope; /* keel_ope_model */
    double gamma;
} keel_eval_config;
extern const keel_option keel_eval_config_options[];

/* The config points to reward: how the store's rewards are computed (keel_derive_rewards). */
keel_evaluate_config keel_eval_config_resolve(const keel_eval_config *measure,
                                              const keel_reward_config *reward);

/* {metric name: interval} */
cJSON *keel_eval_config_metrics_json(const keel_evaluation *evaluation);
/* A row for each corrected rate and way of correcting it that some column [n] knows: {rate: {"rogan_gladen",
 * "ppi"}}. */
void keel_eval_config_corrected_rows(keel_table *table, const cJSON *const *columns, size_t n);
/* One line: by whom the answers are labelled, and what would tell the judge's error where it is unknown. */
void keel_eval_config_print_judged(const cJSON *judged, FILE *out);
/* The logged behaviour and its source models over one split, with the default knobs. The caller frees. */
keel_status keel_eval_config_evaluate_logged(keel_store *store, const keel_split *split,
                                             keel_evaluation_set *out, keel_err *err);

#endif
