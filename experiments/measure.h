/* What eval, stats, simulate and the report share about measuring: the knobs of an evaluation and its metrics
 * as JSON. */
#ifndef KEEL_EXPERIMENTS_MEASURE_H
#define KEEL_EXPERIMENTS_MEASURE_H

#include "core/options.h"
#include "rl/evaluate.h"

typedef struct keel_measure {
    double weight[KEEL_N_REWARDS]; /* of the composite reward */
    int64_t resamples, seed, fqe_steps;
    int ope; /* keel_ope_model */
    double gamma;
} keel_measure;
extern const keel_option keel_measure_options[];

/* The config points to reward: how the store's rewards are computed (keel_derive_rewards). */
keel_evaluate_config keel_measure_config(const keel_measure *measure, const keel_reward_config *reward);

/* {metric name: interval} */
cJSON *keel_measure_json(const keel_evaluation *evaluation);
/* The logged behaviour and its source models over one split, with the default knobs. The caller frees. */
keel_status keel_measure_logged(keel_store *store, const keel_split *split, keel_evaluation_set *out,
                                keel_err *err);

#endif
