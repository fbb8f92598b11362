/* Tests that may be looked at after every observation: confidence sequences hold at all times at once, and
 * e-values and always-valid p-values may be compared with a level whenever one likes to stop. And what tables
 * of experiments need besides: the sample-ratio check, totals over strata, and multiplicity. */
#ifndef KEEL_RL_JUDGE_SEQUENTIAL_H
#define KEEL_RL_JUDGE_SEQUENTIAL_H

#include <stdbool.h>
#include <stddef.h>

/* ---- mixture sequential probability ratio test (Johari, Pekelis & Walsh 2017) ---- */

/* Lambda_n of pairs' differences with mean `difference` and variance V, mixed over N(0, tau2): an e-value
 * against a difference of 0 (asymptotic where V is estimated). 1 for V 0 or n 0. Golden: n 1000, .05, V .5,
 * tau2 .01: 2.360069723. */
double keel_msprt_ratio(double n, double difference, double variance, double tau2);
/* Half the width of its confidence sequence: the differences theta whose ratio is below 1 / alpha. INFINITY
 * for V 0 or n 0. */
double keel_msprt_half_width(double n, double variance, double tau2, double alpha);

/* Pairs of one treated and one control observation as they come. The variance is estimated, so nothing is
 * said before KEEL_PAIRED_FEW pairs. */
enum { KEEL_PAIRED_FEW = 30 };
typedef struct keel_paired {
    double n, mean1, mean0, squares1, squares0;
    double e, p; /* now; the least 1 / e so far */
} keel_paired;
void keel_paired_begin(keel_paired *of);
void keel_paired_add(keel_paired *of, double treated, double control, double tau2);
/* V: of both sides together, each with one made-up observation at a distance of 1/2, so that it is never 0.
 */
double keel_paired_variance(const keel_paired *of);

/* ---- asymptotic confidence sequence (Waudby-Smith et al. 2024) ---- */

/* Half its width for a mean of n observations with standard deviation s: s sqrt(2 (n r^2 + 1) / (n^2 r^2)
 * ln(sqrt(n r^2 + 1) / alpha)). Golden: s .5, n 1000, r .1, alpha .05: .048032010. */
double keel_asymptotic_half_width(double deviation, double n, double r, double alpha);

/* ---- empirical Bernstein confidence sequence (Waudby-Smith & Ramdas 2023, Theorem 2) ---- */

/* The lower limit of the mean of independent observations in [0, 1], with predictable weights. */
typedef struct keel_bernstein {
    double log_level; /* ln(1 / a) */
    double n, sum;    /* observations so far, their sum */
    double spread;    /* of squared distances from the mean of them and one of 1/2 */
    double weights, weighted, slack;
} keel_bernstein;
/* a: the probability that the limit ever fails. */
void keel_bernstein_begin(keel_bernstein *of, double a);
void keel_bernstein_add(keel_bernstein *of, double x);
double keel_bernstein_lower(const keel_bernstein *of); /* in [0, 1]; 0 without observations */

/* Both limits, each failing with alpha / 2. */
typedef struct keel_bernstein_pair {
    keel_bernstein low, high; /* high: of 1 - x */
} keel_bernstein_pair;
void keel_bernstein_pair_begin(keel_bernstein_pair *of, double alpha);
void keel_bernstein_pair_add(keel_bernstein_pair *of, double x);
void keel_bernstein_pair_interval(const keel_bernstein_pair *of, double *low, double *high);

/* ---- sample ratio ---- */

/* P(X >= x) of chi-squared with `freedom` degrees, at least 1. */
double keel_chi_squared_tail(double x, size_t freedom);
/* p of Pearson's test that counts [n] are as expected [n], whose sums are alike; n at least 2. Those with
 * nothing expected are left out; p 0 if they were counted all the same. */
double keel_sample_ratio(const double *counts, const double *expected, size_t n);

/* ---- totals over strata ---- */

/* One stratum: units and mean of treatment (1) and control (0), variances of single units. */
typedef struct keel_stratum {
    double n1, n0, mean1, mean0, variance1, variance0;
} keel_stratum;
/* Post-stratified difference: sum of (N_k / N)(mean1 - mean0) with N_k = n1 + n0, and its variance, sum of
 * (N_k / N)^2 (variance1 / n1 + variance0 / n0). Strata with an empty side are left out. false: all are. */
bool keel_post_stratified(const keel_stratum *strata, size_t n, double *difference, double *variance);
/* Mantel-Haenszel risk difference for sparse strata, and its variance by Greenland & Robins (1985), which is
 * an upper bound where means are of shares and not of 0 and 1. false: no stratum has both sides. */
bool keel_mantel_haenszel(const keel_stratum *strata, size_t n, double *difference, double *variance);

/* ---- multiplicity ---- */

/* Which of n hypotheses are rejected at a false discovery rate of alpha: Benjamini & Hochberg (1995) by
 * p-values that are independent or positively dependent; e-BH (Wang & Ramdas 2022) by e-values, whatever
 * their dependence: those of the k largest with e_(k) >= n / (k alpha). rejected [n]. */
void keel_benjamini_hochberg(const double *p, size_t n, double alpha, bool *rejected);
void keel_e_benjamini_hochberg(const double *e, size_t n, double alpha, bool *rejected);

#endif
