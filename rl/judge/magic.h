/* MAGIC (Thomas & Brunskill 2016): between trusting the model (v of first states) and trusting the weights
 * (WDR) lie the estimates g^(j) that follow the log for j + 1 steps and the model from there. Their blend x'g
 * on the simplex is chosen to minimise x'(Omega + b b')x: Omega the covariance of the g^(j), b how far each
 * lies outside WDR's confidence interval. */
#ifndef KEEL_RL_JUDGE_MAGIC_H
#define KEEL_RL_JUDGE_MAGIC_H

#include <stddef.h>

#include "core/status.h"

/* parts [n, k]: what trajectory (or conversation) i adds to g^(j), g [k] their sums; low, high: the interval
 * of WDR. The blend into x [k]. KEEL_E_NOMEM is the only failure. */
keel_status keel_magic_blend(const double *parts, size_t n, const double *g, size_t k, double low,
                             double high, double *x, keel_err *err);

/* argmin over the simplex of x'Ax for a symmetric positive semidefinite A [k, k]; x [k]. */
void keel_magic_minimise(const double *a, size_t k, double *x);

#endif
