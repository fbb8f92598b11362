/* What changes when one policy takes the place of another: both are evaluated on the same split, each over
 * its own base, and set beside each other conversation by conversation. */
#ifndef KEEL_RL_JUDGE_EXCHANGE_H
#define KEEL_RL_JUDGE_EXCHANGE_H

#include "rl/judge/evaluate.h"

enum { KEEL_EXCHANGE_BEFORE, KEEL_EXCHANGE_AFTER, KEEL_N_EXCHANGE };

typedef struct keel_exchange {
    keel_evaluation side[KEEL_N_EXCHANGE];
    /* After minus before, paired; n 0 where a metric is unknown. Rates at the log's decisions by the
     * bootstrap over conversations; what is estimated over all decisions (composite, and rates in
     * conversations of several turns) as keel_overall_sums_difference. */
    keel_interval minus[KEEL_N_METRICS];
    keel_interval same; /* the share of decisions at which both choose the same action */
} keel_exchange;

/* items [2]: before, after; their splits are the same, and their bases over the same actions (KEEL_E_USAGE
 * otherwise). config's look, policy_sums and policy_rates are not used. */
keel_status keel_exchange_evaluate(keel_store *store, const keel_evaluate_item *items,
                                   const keel_evaluate_config *config, keel_pool *pool, keel_exchange *out,
                                   keel_err *err);

#endif
