/* Off-policy estimation from logged trajectories of any length (docs/design.md). With rho_t =
 * pi(a_t|s_t) / b(a_t|s_t), rho_{0:t} their product, rho_{0:-1} = 1, G = sum_t gamma^t r_t, q an estimate of
 * Q^pi and v(s) = sum_a pi(a|s) q(s, a):
 *
 *   IS     mean_i rho^i_{0:T-1} G_i
 *   WIS    sum_i rho^i_{0:T-1} G_i / sum_i rho^i_{0:T-1}
 *   PDIS   mean_i sum_t gamma^t rho^i_{0:t} r^i_t
 *   WPDIS  sum_t gamma^t [ sum_i rho^i_{0:t} r^i_t / sum_i rho^i_{0:t} ]
 *   DM     mean_i v(s_0^i)
 *   DR     mean_i sum_t gamma^t [ rho_{0:t} (r_t - q_t) + rho_{0:t-1} v_t ]            (Jiang & Li 2016)
 *   WDR    the same with rho^i_{0:t} / sum_k rho^k_{0:t} for rho / n     (Thomas & Brunskill 2016)
 *   MAGIC  the blend of WDR after j steps and v of least estimated error (the same; see rl/judge/magic.h)
 *   ESS    (sum_i w_i)^2 / sum_i w_i^2 of the trajectory weights w_i = rho^i_{0:T-1}
 *   SELF   DM with the critic that the policy was trained with, whatever model q and v come from
 *   LOGGED mean_i G_i, the value of the behaviour
 *
 * A trajectory that has ended is in an absorbing state: its weight stays; r, q and v are 0. Intervals: 95 %
 * unless another confidence is given, bootstrap (BCa) over conversations. The bootstrap does not contain the
 * error of the model, so the interval of DM is widened to contain that of DR, and the interval of MAGIC to
 * contain that of WDR. (Refitting the model for each resample is expensive and covers less on small logs.)
 * Where there is no DR, the interval of DM is conditional on the model; that of SELF always is. `lower` is
 * guaranteed: the truncated empirical Bernstein bound on IS (rl/judge/bounds.h), 95 % one-sided; there is
 * none where propensities are estimated or a conversation has several trajectories. The same bound on the
 * weights alone, whose mean is 1, and Markov's inequality refute propensities that are not those of the
 * choice. */
#ifndef KEEL_RL_JUDGE_OPE_H
#define KEEL_RL_JUDGE_OPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/api.h"
#include "core/parallel.h"
#include "rl/judge/intervals.h"

KEEL_BEGIN_DECLS

typedef enum keel_ope_estimator {
    KEEL_OPE_IS,
    KEEL_OPE_WIS,
    KEEL_OPE_PDIS,
    KEEL_OPE_WPDIS,
    KEEL_OPE_DM,
    KEEL_OPE_DR,
    KEEL_OPE_WDR,
    KEEL_OPE_MAGIC,
    KEEL_OPE_SELF,
    KEEL_OPE_LOGGED,
    KEEL_N_OPE
} keel_ope_estimator;
extern const char *const keel_ope_names[KEEL_N_OPE]; /* "is", "wis", ... */

/* Estimates of the policy's return on the split. n: trajectories; of dm: first decisions. n 0: not known (dr,
 * wdr and magic need q of every step). */
typedef struct keel_ope {
    keel_interval estimate[KEEL_N_OPE];
    double lower;                /* -INFINITY: no bound */
    double ess, least_ess;       /* of whole trajectories; the least over steps */
    double max_weight;           /* largest share of one trajectory in the sum of weights */
    double support;              /* mean over steps of the policy's probability of the logged action */
    double mean_weight;          /* of whole trajectories; 1 is expected of true propensities */
    bool propensities_estimated; /* pi_base stood in for missing propensities */
    bool propensities_unused;    /* some of the log are not of the choice (rl/judge/answer.h) */
    bool propensities_refuted;   /* the mean weight is shown to be above 1 (confidence .999) */
    bool headline;               /* ess >= 30 and not refuted; otherwise no estimate is reliable */
} keel_ope;

typedef struct keel_ope_step {
    double log_ratio;   /* log rho_t; -INFINITY where the policy would never do it */
    double probability; /* pi(a_t|s_t) */
    double reward;
    double q, v; /* NAN: not known */
} keel_ope_step;

/* The trajectories collected; most of them lie in a temporary file (core/spool.h). Zero-initialise; free at
 * the end. */
typedef struct keel_ope_log {
    size_t n_steps, n_trajectories, n_values, n_own;
    size_t longest, n_conversations; /* largest conversation number + 1 */
    bool unmodelled;                 /* q or v of some step is not known */
    bool estimated;                  /* pi_base stood in for missing propensities */
    bool unused;                     /* some logged propensities are not of the choice */
    double probability;              /* sum over steps */
    struct keel_spool *steps, *trajectories, *values;
} keel_ope_log;

keel_status keel_ope_add(keel_ope_log *log, size_t conversation, const keel_ope_step *steps, size_t count,
                         keel_err *err);
/* v(s_0) of a conversation by the model, and by the policy's own critic; NAN: not known. */
keel_status keel_ope_add_value(keel_ope_log *log, size_t conversation, double value, double own,
                               keel_err *err);
void keel_ope_log_free(keel_ope_log *log);

typedef struct keel_ope_config {
    double gamma;
    double reward_low; /* least reward of a step, the origin of `lower`; -INFINITY: unknown, no bound */
    size_t resamples;  /* of the bootstrap */
    uint64_t seed;
    double confidence; /* of the intervals, two-sided; 0: 0.95 */
} keel_ope_config;

/* pool may be NULL. */
keel_status keel_ope_estimate(const keel_ope_log *log, const keel_ope_config *config, keel_pool *pool,
                              keel_ope *out, keel_err *err);

KEEL_END_DECLS

#endif
