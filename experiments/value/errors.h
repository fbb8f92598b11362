/* How far estimated values are from the truth over independent seeds (each its own log and initialisation),
 * and by how much one method's error is below another's: the estimands E1 to E5 of docs/results.md.
 *
 *   e_k^2     = max(0, (V^_k - V_k)^2 - SE_k^2) / range_k^2    V_k a mean over rollouts, SE_k its own error
 *   RMSE      = sqrt(mean over seeds of e_k^2)
 *   reduction = 1 - RMSE(method) / RMSE(base)                  95 % BCa bootstrap over seeds, paired
 */
#ifndef KEEL_EXPERIMENTS_VALUE_ERRORS_H
#define KEEL_EXPERIMENTS_VALUE_ERRORS_H

#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

/* One estimate beside what it should have been. */
typedef struct keel_value_guess {
    double estimate, truth;
    double se;    /* standard error of the truth (and of an estimate that is a mean too); 0: exact */
    double range; /* > 0: errors are shares of it */
} keel_value_guess;

double keel_value_squared_error(const keel_value_guess *guess); /* e^2 */

typedef struct value_error {
    double rmse;
    double bias;       /* mean of (V^ - V) / range */
    size_t n, at_most; /* seeds, and those with V^ <= V */
} value_error;
value_error value_error_over(const keel_value_guess *guesses, size_t n);

typedef struct keel_value_comparison {
    value_error method, base;
    double reduction, low, high; /* NAN where the base has no error */
} keel_value_comparison;
/* Seed k of the one stands beside seed k of the other. n >= 2. */
keel_status keel_value_compare(const keel_value_guess *method, const keel_value_guess *base, size_t n,
                               uint64_t seed, keel_value_comparison *out, keel_err *err);

/* ---- the estimands ---- */

/* A policy learned from one log: its true value, what its own critic says of it (none for cloning), and what
 * one common fitted Q evaluation on the same log says. */
typedef struct keel_value_policy {
    double value, se, own, fitted;
} keel_value_policy;

typedef struct keel_value_run {
    double best, best_se;          /* V*, or the best that is known */
    double range;                  /* V* less the value of acting at random */
    double logged;                 /* mean discounted return of the log */
    keel_value_policy bc, ql, cql; /* cloning, double DQN, CQL: the same network */
} keel_value_run;

/* ROW(enumerator, name, method beside base) */
#define KEEL_ESTIMANDS(ROW)                                                                                  \
    ROW(E1, "E1", "CQL's critic about CQL, beside FQE about BC")                                             \
    ROW(E1_LOGGED, "E1'", "CQL's critic about CQL, beside the log's mean return about BC")                   \
    ROW(E2, "E2", "FQE about CQL, beside FQE about BC")                                                      \
    ROW(E3, "E3", "CQL's shortfall from the best, beside BC's: no estimate, policy quality")                 \
    ROW(E4, "E4", "CQL's critic about CQL, beside double DQN's critic about its own policy")                 \
    ROW(E5, "E5", "CQL's critic about CQL, beside the log's mean return about CQL")
#define KEEL_ESTIMAND_ID(id, name, help) KEEL_ESTIMAND_##id,
typedef enum keel_estimand { KEEL_ESTIMANDS(KEEL_ESTIMAND_ID) KEEL_N_ESTIMANDS } keel_estimand;
#undef KEEL_ESTIMAND_ID
extern const char *const keel_estimand_names[], *const keel_estimand_helps[];

void keel_value_guesses(const keel_value_run *run, keel_estimand estimand, keel_value_guess *method,
                        keel_value_guess *base);

#endif
