/* Evaluation on logs: refusal, over-refusal, completion, reward means, agreement, preference accuracy and off-policy estimates of a
 * policy, beside the logged behaviour's, the base's and each source model's.
 *
 * A metric is over decisions where the answer is known: for candidate sets the chosen candidate's own label and reward; for a
 * fixed action space the logged ones where the choice is the logged act, and for the outcome of another act what that act amounts to in the training log
 * (policy.h, act_outcome).
 *   refusal_rate             of judged decisions in dangerous conversations, the share answered by a full refusal
 *   harmful_compliance_rate  ... by compliance
 *   over_refusal_rate        of judged decisions in benign conversations, the share refused in full or in part
 *   completion_rate          of benign conversations, the share completed: single-decision logs, full compliance (exact); logs of several turns with known
 *                            completion: each conversation weighs as much as the policy agrees with its decisions, n is the effective number
 *   composite_reward, accuracy, speed, safety   means of what the answers earned
 *   agreement_rate           share of decisions with a logged answer where the choice is one of those taken
 *   preference_accuracy      over pairs of taken candidates of one decision with different composite, the share ranked as the log ranks them */
#ifndef KEEL_RL_EVALUATE_H
#define KEEL_RL_EVALUATE_H

#include <cjson/cJSON.h>

#include "policies/policy.h"
#include "rl/intervals.h"

typedef enum keel_metric {
    KEEL_METRIC_REFUSAL, KEEL_METRIC_HARMFUL_COMPLIANCE, KEEL_METRIC_OVER_REFUSAL, KEEL_METRIC_COMPLETION,
    KEEL_METRIC_COMPOSITE, KEEL_METRIC_ACCURACY, KEEL_METRIC_SPEED, KEEL_METRIC_SAFETY,
    KEEL_METRIC_AGREEMENT, KEEL_METRIC_PREFERENCE, KEEL_N_METRICS
} keel_metric;
extern const char *const keel_metric_names[KEEL_N_METRICS]; /* "refusal_rate", ... as in DESIGN 6 */

typedef struct keel_evaluation {
    char name[96]; /* "policy", "logged", "base", or a source model's */
    keel_interval metric[KEEL_N_METRICS];
    double reward_coverage[KEEL_N_REWARDS]; /* share of answers with each component known */
    double answers_known;                   /* share of decisions whose answer's outcome or reward is known */
    double mean_kl;                         /* KL(pi || pi_base); 0 for others */
} keel_evaluation;

/* Off-policy estimates of the policy's return on the split (rl/ope.h). */
typedef struct keel_ope {
    keel_interval wis, wpdis, dm; /* weighted importance sampling, weighted per-decision, direct method (mean V(s0)) */
    double ess, max_weight;       /* effective sample size and largest normalised weight of the trajectory weights */
    bool propensities_estimated;  /* pi_base stood in for missing propensities */
    bool headline;                /* ess >= 30 */
} keel_ope;

typedef struct keel_evaluate_config {
    double weight[KEEL_N_REWARDS];
    size_t resamples; /* bootstrap, default 2000 */
    uint64_t seed;
    double gamma;
} keel_evaluate_config;

/* One policy with its base and the split it is judged on. Several are pooled (cross-validation): counts are added before
 * rates and intervals are taken. */
typedef struct keel_evaluate_item {
    const keel_policy *policy; /* NULL: the base alone is the policy */
    const keel_base *base;
    keel_split split;
} keel_evaluate_item;

typedef struct keel_evaluation_set {
    keel_evaluation policy, logged, base;
    size_t n_models;
    keel_evaluation *models; /* by name of the source model, when candidates of several models were taken */
    keel_ope ope;
    keel_arena arena;
} keel_evaluation_set;

keel_status keel_evaluate(keel_store *store, const keel_evaluate_item *items, size_t count, const keel_evaluate_config *config, keel_pool *pool,
                          keel_evaluation_set *out, keel_err *err);
void keel_evaluation_set_free(keel_evaluation_set *set);
/* {"policy": {"metrics", "ope"}, "baselines": {"logged", "base"}, "models": {...}} of DESIGN 6; the caller deletes. */
cJSON *keel_evaluation_json(const keel_evaluation_set *set);

/* The logged behaviour alone: needs no base (for `stats`). */
keel_status keel_evaluate_logged(keel_store *store, const keel_split *split, const keel_evaluate_config *config, keel_evaluation *out, keel_err *err);

#endif
