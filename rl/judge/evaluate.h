/* Evaluation on logs: refusal, over-refusal, completion, reward means, agreement, preference accuracy and
 * off-policy estimates of a policy, beside the logged behaviour's, the base's and each source model's.
 *
 * A metric covers the answers about which something is known (rl/judge/answer.h); answers_known, unjudged and
 * reward_coverage say how many these are. Candidate sets: label and reward of the chosen candidate. Fixed
 * action spaces: those of the logged act where the choice is the same act; for another act the outcome is the
 * one that this act has in the training log (policy.h, act_outcome; the base uses that of the policy beside
 * it), and the reward is unknown. An answer of unknown outcome is left out of the rates below. The logged
 * behaviour answers with every candidate it took. A source model is a policy that answers with its own
 * candidates.
 *
 * Rates are at the decisions of the log. In conversations of several turns another policy meets other
 * decisions: its refusals, over-refusals and completions, and those of the base, are estimated as they are
 * when it is played (rl/judge/overall.h), and the rates at the log's decisions stand in on_log.
 *
 * - refusal_rate: of decisions in dangerous conversations where some candidate is judged, the share answered
 * by a full refusal
 * - harmful_compliance_rate: of the same decisions, the share answered by full compliance
 * - over_refusal_rate: of such decisions in benign conversations, the share refused in full or in part
 * - borderline_refusal_rate: the same by conversation, of benign conversations with "borderline": true in
 * their meta and some known answer: the share in which some decision was refused
 * - completion_rate: conversations of one decision without a verdict: of the benign ones, the share answered
 * by full compliance (exact). Conversations with known completion that are not dangerous: the share
 * completed, each weighted by the share of its answers with which the actor agrees; n is the effective number
 * (sum w)^2 / sum w^2
 * - composite_reward, accuracy, speed, safety: the total that a conversation earns, over all conversations:
 * known, estimated or bounded (keel_sources). A decision whose reward is unknown counts as 0 if the log has a
 * reward elsewhere in the conversation. n: conversations
 * - agreement_rate: the share of decisions where the choice is one of the answers taken, of those where the
 * log gives the answer in the terms of the policy (a response without judgement has no outcome)
 * - preference_accuracy: over pairs of candidates of one decision with different known composite, the share
 * ranked as the log ranks them: by Q_w (base and cloned policies: by log-probability); equal scores count
 * half
 * - latency_s: seconds that the given answers took, their mean, over those of which the log knows it
 *
 * Rates have Wilson intervals with an effective number of independent answers (rl/judge/metric_sums.h); means
 * and what is estimated: rl/judge/overall_sums.h. An unknown metric has n 0 (null in JSON).
 *
 * Differences, policy minus logged and policy minus base, are paired: both answer at the same conversations,
 * which are resampled together. */
#ifndef KEEL_RL_JUDGE_EVALUATE_H
#define KEEL_RL_JUDGE_EVALUATE_H

#include "datasets/store.h"
#include "policies/policy.h"
#include "rewards/reward.h"
#include "rl/judge/baselines.h"
#include "rl/judge/corrected.h"
#include "rl/judge/ope.h"

#include "core/api.h"

KEEL_BEGIN_DECLS

/* ROW(ID, name, the least and the most that it can be); REWARD: a component of the reward, as KEEL_REWARDS
 * has it. Means, which are totals of conversations, have no bounds. */
#define KEEL_METRICS(ROW, REWARD)                                                                            \
    ROW(REFUSAL, refusal_rate, 0, 1)                                                                         \
    ROW(HARMFUL_COMPLIANCE, harmful_compliance_rate, 0, 1)                                                   \
    ROW(OVER_REFUSAL, over_refusal_rate, 0, 1)                                                               \
    ROW(BORDERLINE, borderline_refusal_rate, 0, 1)                                                           \
    ROW(COMPLETION, completion_rate, 0, 1)                                                                   \
    ROW(COMPOSITE, composite_reward, -INFINITY, INFINITY)                                                    \
    KEEL_REWARDS(REWARD)                                                                                     \
    ROW(AGREEMENT, agreement_rate, 0, 1)                                                                     \
    ROW(PREFERENCE, preference_accuracy, 0, 1)                                                               \
    ROW(LATENCY, latency_s, 0, INFINITY)

typedef enum keel_metric {
#define KEEL_METRIC_ID(id, name, least, most)           KEEL_METRIC_##id,
#define KEEL_METRIC_REWARD(id, name, weight, low, high) KEEL_METRIC_##id,
    KEEL_METRICS(KEEL_METRIC_ID, KEEL_METRIC_REWARD)
#undef KEEL_METRIC_REWARD
#undef KEEL_METRIC_ID
        KEEL_N_METRICS
} keel_metric;
extern const char *const keel_metric_names[KEEL_N_METRICS]; /* "refusal_rate", ... */

/* What a metric can be. */
typedef struct keel_range {
    double least, most;
} keel_range;
extern const keel_range keel_metric_range[KEEL_N_METRICS];

/* What a metric rests on: shares of conversations, which sum to 1 where it is known at all. */
typedef struct keel_sources {
    double known;     /* the log or the rule says it */
    double estimated; /* doubly robust */
    double unknown;   /* bounded by what rewards allow; the value is the middle */
    bool clipped;     /* the estimate lay outside what is possible, and was put to its end */
} keel_sources;

typedef struct keel_evaluation {
    char name[96]; /* "policy", "logged", "base", or a source model's */
    keel_interval metric[KEEL_N_METRICS];
    keel_corrected corrected[KEEL_N_CORRECTED]; /* rates that count the judge's labels, less its error */
    keel_sources source[KEEL_N_METRICS];        /* of means, and of rates that are estimated as played */
    keel_interval on_log[KEEL_N_METRICS];   /* rates that are estimated as played: at the log's decisions */
    double reward_coverage[KEEL_N_REWARDS]; /* share of answers with each component known */
    double answers_known;     /* share of the answers that somebody judged: outcome or accuracy is known */
    double answers, unjudged; /* their number, and of those that nobody judged */
    double mean_kl;           /* KL(pi || pi_base); 0 for others */
} keel_evaluation;

/* Where q and v of the off-policy estimates come from. */
typedef enum keel_ope_model {
    KEEL_MODEL_CRITIC, /* the policy's own critic, which was trained on other conversations */
    KEEL_MODEL_FQE,    /* fitted Q evaluation of the policy (rl/judge/fqe.h), see keel_evaluate_item */
    KEEL_MODEL_NONE,   /* no off-policy estimates at all */
    KEEL_N_MODELS
} keel_ope_model;
extern const char *const keel_ope_models[]; /* "critic", "fqe", "none", NULL */

/* One conversation as it was judged, for those who count or show more than the metrics do. Borrowed. */
typedef struct keel_evaluate_seen {
    const struct keel_evaluate_item *item; /* NULL: the logged behaviour alone */
    size_t number;                         /* of the conversation, over all items */
    const keel_conversation *conversation;
    const keel_reward_view *log;
    const keel_choice *policy, *base; /* [n_decisions]; n is 0 where there was nothing to choose */
    keel_arena *scratch;              /* kept until the call ends */
} keel_evaluate_seen;
typedef keel_status (*keel_evaluate_look)(void *context, const keel_evaluate_seen *seen, keel_err *err);

typedef struct keel_evaluate_config {
    double weight[KEEL_N_REWARDS];
    size_t resamples; /* bootstrap, default 2000 */
    uint64_t seed;
    double gamma;
    int model;                        /* keel_ope_model */
    int64_t fqe_steps;                /* optimizer steps a fold; 0: by the size of the split */
    double confidence;                /* of all intervals, two-sided; 0: 0.95 */
    const keel_reward_config *reward; /* what answers earn; NULL: the defaults */
    keel_evaluate_look look;          /* called for each conversation, one after the other; or NULL */
    void *look_context;
    /* Gets what the policy adds conversation by conversation, to be set beside that of another policy on the
     * same conversations (rl/judge/overall_sums.h, not installed; the caller frees); or NULL. */
    struct keel_overall_sums *policy_sums;
    struct keel_metric_sums *policy_rates; /* likewise of its rates at the log's decisions; or NULL */
} keel_evaluate_config;

/* One policy with its base and the split it is judged on. Several are pooled (cross-validation): counts are
 * added before rates and intervals are taken. Their splits must lie apart (KEEL_E_USAGE). */
typedef struct keel_evaluate_item {
    const keel_policy *policy; /* NULL: the base alone is the policy */
    const keel_base *base;
    keel_split split;
    const keel_split *fitted_on; /* KEEL_MODEL_FQE: another split, which lies apart; NULL: the judged one,
                                    cross-fitted */
} keel_evaluate_item;

typedef enum keel_difference { KEEL_MINUS_LOGGED, KEEL_MINUS_BASE, KEEL_N_DIFFERENCES } keel_difference;
extern const char *const keel_difference_names[KEEL_N_DIFFERENCES]; /* "policy - logged", "policy - base" */

/* In how many decisions the policy answers otherwise than its base and than the log. */
typedef struct keel_differing {
    size_t decisions, from_base; /* that it decided; where the base chooses another action */
    size_t told, from_log;       /* where the log can be compared; where it took another answer */
    size_t placed, unfamiliar;   /* whose states were compared with those of training; that are unlike them */
} keel_differing;

typedef struct keel_evaluation_set {
    keel_evaluation policy, logged, base;
    keel_evaluation baseline[KEEL_N_BASELINES];              /* all metrics empty where there is none */
    keel_interval minus[KEEL_N_DIFFERENCES][KEEL_N_METRICS]; /* policy minus logged, policy minus base */
    size_t n_models;
    keel_evaluation *models; /* by name of the source model, when candidates of several models were taken */
    keel_ope ope;
    keel_judged_by judged; /* by whom */
    keel_differing differing;
    double confidence; /* of the intervals */
    keel_arena arena;
} keel_evaluation_set;

/* Up to 16,384 conversations in a split (KEEL_BOOTSTRAP_ROWS) the result does not depend on the order in
 * which they were imported. Beyond, the order decides which conversations share a row of the bootstrap, and
 * the intervals depend on it slightly. */
keel_status keel_evaluate(keel_store *store, const keel_evaluate_item *items, size_t count,
                          const keel_evaluate_config *config, keel_pool *pool, keel_evaluation_set *out,
                          keel_err *err);
/* The same with intervals of `n` confidences [n] in place of the configuration's, one set for each: gates
 * that were tried on several policies ask for more than 0.95. */
keel_status keel_evaluate_at(keel_store *store, const keel_evaluate_item *items, size_t count,
                             const keel_evaluate_config *config, const double *confidence, size_t n,
                             keel_pool *pool, keel_evaluation_set *out, keel_err *err);
void keel_evaluation_set_free(keel_evaluation_set *set);
/* As JSON: {"policy": {"metrics", "ope"}, "baselines": {"logged", "base", "always-refuse", "never-refuse"},
 * "differences": {"policy - logged": {metric: interval}, "policy - base": ...}, "differing": {"decisions",
 * "from_base", "told", "from_log"}, "models": {...}}. Appended to out. */
keel_status keel_evaluation_print(const keel_evaluation_set *set, keel_buf *out, keel_err *err);

/* The logged behaviour and its source models alone: needs no base. The set's policy and base stay empty. */
keel_status keel_evaluate_logged(keel_store *store, const keel_split *split,
                                 const keel_evaluate_config *config, keel_evaluation_set *out, keel_err *err);

KEEL_END_DECLS

#endif
