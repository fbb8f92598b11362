/* Lower bounds on a mean from independent samples (one per conversation), at one-sided confidence 1 - delta
 * (reference evaluation 3.2). Hoeffding, empirical Bernstein and the truncated bound hold for any
 * distribution within its stated range; Student's t is approximate. For an upper bound negate the samples
 * (t), or take range - x. */
#ifndef KEEL_RL_BOUNDS_H
#define KEEL_RL_BOUNDS_H

#include <stddef.h>

/* Quantiles of the standard normal and of Student's t with `freedom` degrees (> 0); p in (0, 1). To 1e-10. */
double keel_normal_cdf(double x);
double keel_normal_quantile(double p);
double keel_student_quantile(double p, double freedom);
/* Quantile of Beta(a, b): Clopper-Pearson's lower bound of k successes in n is keel_beta_quantile(delta, k, n
 * - k + 1). */
double keel_beta_quantile(double p, double a, double b);

/* All: n >= 2 samples, else -infinity. Hoeffding and Bernstein need x in [0, range]: mean - range
 * sqrt(ln(1/delta) / 2n) and, with the unbiased variance S^2, mean - 7 range ln(2/delta) / (3 (n - 1)) -
 * sqrt(2 S^2 ln(2/delta) / n) (Maurer & Pontil 2009, Theorem 4). t: mean - t_{1-delta, n-1} S / sqrt(n). */
double keel_bound_hoeffding(const double *x, size_t n, double range, double delta);
double keel_bound_bernstein(const double *x, size_t n, double range, double delta);
double keel_bound_student(const double *x, size_t n, double delta);

/* High-confidence off-policy evaluation (Thomas, Theocharous & Ghavamzadeh 2015, Theorem 1, one threshold for
 * all): the empirical Bernstein bound of min(x, c). Valid for x >= 0 without upper limit, as long as c was
 * not chosen on x; see keel_bound_threshold. */
double keel_bound_truncated(const double *x, size_t n, double threshold, double delta);
/* The same from the mean and the unbiased variance of n samples min(x, threshold), for more of them than fit
 * memory. */
double keel_bound_truncated_moments(double mean, double variance, size_t n, double threshold, double delta);
/* The threshold that promises the largest bound of `later` samples, judged on other samples y (their section
 * 4: the bound predicted from y's mean and variance after truncation). Infinity if n is 0 or nothing is above
 * 0. */
double keel_bound_threshold(const double *y, size_t n, size_t later, double delta);

#endif
