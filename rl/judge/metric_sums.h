/* The sums behind one actor's rates: policy, base, logged behaviour or a source model. Counts add over
 * items, so cross-validated policies pool before rates and intervals are taken. */
#ifndef KEEL_RL_JUDGE_METRIC_SUMS_H
#define KEEL_RL_JUDGE_METRIC_SUMS_H

#include "rl/judge/answer.h"
#include "rl/judge/evaluate.h"

enum { KEEL_METRIC_SUMS_ROW = 2 * KEEL_N_METRICS };

/* The sums behind one rate. An observation is an answer, a pair, or a conversation, and weighs 1 or less. */
typedef struct keel_rate {
    double hits, weight, squares;                 /* squares: of the observations' weights */
    double here[2];                               /* hits and weight of the conversation at hand */
    double hits_hits, hits_weight, weight_weight; /* sums over conversations */
} keel_rate;

/* Adds an observation of weight 1 to the conversation at hand; ends that conversation. */
void keel_rate_count(keel_rate *rate, bool hit);
void keel_rate_end(keel_rate *rate);

typedef struct keel_metric_sums {
    keel_rate rate[KEEL_N_METRICS]; /* of the means: unused */
    bool judged,
        declined; /* of the conversation at hand, if benign: some answer's outcome is known; was a refusal */
    double answers, judged_answers, component[KEEL_N_REWARDS];
    double kl, kl_count;
    size_t n_rows, capacity;       /* conversations, at most KEEL_BOOTSTRAP_ROWS */
    const keel_judge_error *error; /* of the judge that labelled answers; NULL: rates are not corrected */
    keel_corrected_sums corrected;
    double (*rows)[KEEL_METRIC_SUMS_ROW]; /* by conversation: of each rate hits and weight */
} keel_metric_sums;

/* Counts one answer at a decision of conversation number `number`. */
keel_status keel_metric_sums_answer(keel_metric_sums *sums, const keel_reward_view *log, size_t decision,
                                    size_t number, const keel_answer *answer, keel_err *err);
/* Ends conversation number `number` of `answered` decisions. One whose completion is known weighs as much as
 * the actor agreed with what was answered in it. borderline: it is marked so. */
keel_status keel_metric_sums_conversation(keel_metric_sums *sums, size_t number,
                                          const keel_conversation *conversation, bool borderline,
                                          size_t agreed, size_t answered, keel_err *err);
void keel_metric_sums_agreement(keel_metric_sums *sums, bool agrees);
/* Counts the pairs of candidates of one decision with known composite [n] that score [n] ranks in the same
 * order; equal scores count half. */
void keel_metric_sums_preferences(keel_metric_sums *sums, const double *composite, const double *score,
                                  size_t n);
/* The share of hits with Wilson's interval. Answers of one conversation are correlated, so the interval uses
 * an effective number: the observations divided by the design effect, which is the variance of the ratio
 * between conversations (linearised: sum (hits - p weight)^2, Cochran 1977, 6.11) over the variance for
 * independent observations. With few misses, or none, that variance is badly known: two conversations of mean
 * size are added for it, one with hits only and one with none. The effective number is at least (sum w)^2 /
 * sum w^2 over conversations (all answers of one are equal) and at most the same over observations (all are
 * independent). n of the result is the latter. */
keel_interval keel_rate_interval(const keel_rate *rate, double confidence);

/* The interval of a paired difference from the bounds low and high of a percentile bootstrap (NaN: none)
 * over so many conversations. The bootstrap knows only differences that it has seen: where no conversation
 * differs, its interval is a point, and flatters. Yet a share of up to 1 - .025^(1/n) (95 %) of conversations
 * may differ though none of n does (Clopper & Pearson 1934), each by up to `span`. Both distances are squared
 * and added (as Newcombe 1998, method 10, and Zou & Donner 2008 combine limits). n is left 0. */
keel_interval keel_difference_interval(double value, double low, double high, double conversations,
                                       double span, double confidence);

/* The metrics of `count` actors who answered at the same conversations, into out[count], their names cut to
 * fit: rates with Wilson intervals; the means are left empty (rl/judge/overall.h). differences[i] is actor 0
 * minus actor i + 1 [count - 1] (NULL when count is 1), paired: one resampling of conversations serves all
 * statistics of all actors. n of a difference is the smaller of the two; 0 where either metric is unknown.
 * pool may be NULL. */
keel_status keel_metric_sums_close(const keel_metric_sums *const *sums, const char *const *names,
                                   size_t count, const keel_evaluate_config *config, keel_pool *pool,
                                   keel_evaluation *out, keel_interval (*differences)[KEEL_N_METRICS],
                                   keel_err *err);
/* The counts of rates alone, without what corrects them, out of `from`, which is empty then. */
void keel_metric_sums_take(keel_metric_sums *to, keel_metric_sums *from);
void keel_metric_sums_free(keel_metric_sums *sums);

#endif
