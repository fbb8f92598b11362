/* A lower bound on a mean from independent samples (one per conversation), at one-sided confidence 1 - delta,
 * and the quantiles that intervals need. */
#ifndef KEEL_RL_JUDGE_BOUNDS_H
#define KEEL_RL_JUDGE_BOUNDS_H

#include <stddef.h>

/* Quantiles of the standard normal and of Student's t with `freedom` degrees (> 0); p in (0, 1). To 1e-10. */
double keel_normal_cdf(double x);
double keel_normal_quantile(double p);
double keel_student_quantile(double p, double freedom);
/* Quantile of Beta(a, b): Clopper-Pearson's lower bound of k successes in n is keel_beta_quantile(delta, k, n
 * - k + 1). */
double keel_beta_quantile(double p, double a, double b);

/* High-confidence off-policy evaluation (Thomas, Theocharous & Ghavamzadeh 2015, Theorem 1, one threshold for
 * all): the empirical Bernstein bound (Maurer & Pontil 2009, Theorem 4) of min(x, c), from the mean and the
 * unbiased variance S^2 of these: mean - 7 c ln(2/delta) / (3 (n - 1)) - sqrt(2 S^2 ln(2/delta) / n). Valid
 * for x >= 0 without upper limit, as long as c was not chosen on x; see keel_bound_threshold. -infinity for
 * n < 2. */
double keel_bound_truncated(double mean, double variance, size_t n, double threshold, double delta);
/* The threshold that promises the largest bound of `later` samples, judged on other samples y (their section
 * 4: the bound predicted from y's mean and variance after truncation). Infinity if n is 0 or nothing is above
 * 0. */
double keel_bound_threshold(const double *y, size_t n, size_t later, double delta);

#endif
