#include "rl/judge/sequential.h"

#include <math.h>

/* ---- mSPRT ---- */

double keel_msprt_ratio(double n, double difference, double variance, double tau2) {
    if (!(variance > 0) || !(n > 0)) return 1;
    const double all = variance + n * tau2;
    return sqrt(variance / all) * exp(n * n * tau2 * difference * difference / (2 * variance * all));
}

/* The difference at which the ratio is 1 / alpha. */
double keel_msprt_half_width(double n, double variance, double tau2, double alpha) {
    if (!(variance > 0) || !(n > 0)) return INFINITY;
    const double all = variance + n * tau2;
    return sqrt(2 * variance * all / (n * n * tau2) * log(sqrt(all / variance) / alpha));
}

void keel_paired_begin(keel_paired *of) {
    *of = (keel_paired){.e = 1, .p = 1};
}

double keel_paired_variance(const keel_paired *of) {
    return (of->squares1 + of->squares0 + 0.5) / (of->n + 1);
}

void keel_paired_add(keel_paired *of, double treated, double control, double tau2) {
    const double from1 = treated - of->mean1, from0 = control - of->mean0;
    of->n++;
    of->mean1 += from1 / of->n;
    of->mean0 += from0 / of->n;
    of->squares1 += from1 * (treated - of->mean1);
    of->squares0 += from0 * (control - of->mean0);
    if (of->n < KEEL_PAIRED_FEW) return;
    of->e = keel_msprt_ratio(of->n, of->mean1 - of->mean0, keel_paired_variance(of), tau2);
    if (1 / of->e < of->p) of->p = 1 / of->e;
}

double keel_asymptotic_half_width(double deviation, double n, double r, double alpha) {
    if (!(n > 0)) return INFINITY;
    const double grown = n * r * r + 1;
    return deviation * sqrt(2 * grown / (n * n * r * r) * log(sqrt(grown) / alpha));
}

/* ---- empirical Bernstein ---- */

void keel_bernstein_begin(keel_bernstein *of, double a) {
    *of = (keel_bernstein){.log_level = log(1 / a)};
}

/* The weight goes by what was seen before x: variance with one made-up observation of mean 1/2 and variance
 * 1/4, so that it is never 0. */
void keel_bernstein_add(keel_bernstein *of, double x) {
    const double t = of->n + 1, mean = of->n > 0 ? of->sum / of->n : 0;
    const double variance = (0.25 + of->spread) / t;
    const double wished = sqrt(2 * of->log_level / (variance * t * log(1 + t)));
    const double weight = wished < 0.5 ? wished : 0.5;
    of->weights += weight;
    of->weighted += weight * x;
    of->slack += (x - mean) * (x - mean) * (-log1p(-weight) - weight);
    of->n = t;
    of->sum += x;
    const double around = (0.5 + of->sum) / (t + 1);
    of->spread += (x - around) * (x - around);
}

double keel_bernstein_lower(const keel_bernstein *of) {
    if (!(of->weights > 0)) return 0;
    const double low = (of->weighted - of->log_level - of->slack) / of->weights;
    return low > 0 ? low : 0;
}

void keel_bernstein_pair_begin(keel_bernstein_pair *of, double alpha) {
    keel_bernstein_begin(&of->low, alpha / 2);
    keel_bernstein_begin(&of->high, alpha / 2);
}

void keel_bernstein_pair_add(keel_bernstein_pair *of, double x) {
    keel_bernstein_add(&of->low, x);
    keel_bernstein_add(&of->high, 1 - x);
}

void keel_bernstein_pair_interval(const keel_bernstein_pair *of, double *low, double *high) {
    *low = keel_bernstein_lower(&of->low);
    *high = 1 - keel_bernstein_lower(&of->high);
}

/* ---- sample ratio ---- */

/* Q(a, h), the upper incomplete gamma function over Gamma(a), by Q(a + 1, h) = Q(a, h) + h^a e^-h / Gamma(a +
 * 1), from a = 1/2 or 1 (Abramowitz & Stegun 6.5.21). */
double keel_chi_squared_tail(double x, size_t freedom) {
    static const double GAMMA_OF_3_2 = 0.88622692545275801365;
    if (!(x > 0)) return 1;
    const double h = x / 2;
    const bool odd = freedom % 2;
    double a = odd ? 0.5 : 1, tail = odd ? erfc(sqrt(h)) : exp(-h);
    double term = odd ? sqrt(h) * exp(-h) / GAMMA_OF_3_2 : h * exp(-h);
    for (; a + 0.5 < (double)freedom / 2; a += 1) {
        tail += term;
        term *= h / (a + 1);
    }
    return tail < 1 ? tail : 1;
}

double keel_sample_ratio(const double *counts, const double *expected, size_t n) {
    double chi = 0;
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        if (!(expected[i] > 0) && counts[i] > 0) return 0;
        if (!(expected[i] > 0)) continue;
        chi += (counts[i] - expected[i]) * (counts[i] - expected[i]) / expected[i];
        used++;
    }
    return used > 1 ? keel_chi_squared_tail(chi, used - 1) : 1;
}

/* ---- strata ---- */

static bool has_both(const keel_stratum *s) {
    return s->n1 > 0 && s->n0 > 0;
}

bool keel_post_stratified(const keel_stratum *strata, size_t n, double *difference, double *variance) {
    double all = 0, sum = 0, spread = 0;
    for (size_t i = 0; i < n; i++)
        if (has_both(&strata[i])) all += strata[i].n1 + strata[i].n0;
    for (size_t i = 0; i < n; i++) {
        const keel_stratum *s = &strata[i];
        if (!has_both(s)) continue;
        const double share = (s->n1 + s->n0) / all;
        sum += share * (s->mean1 - s->mean0);
        spread += share * share * (s->variance1 / s->n1 + s->variance0 / s->n0);
    }
    *difference = sum;
    *variance = spread;
    return all > 0;
}

bool keel_mantel_haenszel(const keel_stratum *strata, size_t n, double *difference, double *variance) {
    double weights = 0, sum = 0, spread = 0;
    for (size_t i = 0; i < n; i++) {
        const keel_stratum *s = &strata[i];
        if (!has_both(s)) continue;
        const double all = s->n1 + s->n0, x1 = s->n1 * s->mean1, x0 = s->n0 * s->mean0;
        sum += (x1 * s->n0 - x0 * s->n1) / all;
        weights += s->n1 * s->n0 / all;
        spread += (x1 * (s->n1 - x1) * s->n0 * s->n0 * s->n0 + x0 * (s->n0 - x0) * s->n1 * s->n1 * s->n1) /
                  (s->n1 * s->n0 * all * all);
    }
    *difference = weights > 0 ? sum / weights : 0;
    *variance = weights > 0 ? spread / (weights * weights) : 0;
    return weights > 0;
}

/* ---- multiplicity ---- */

/* How many of the values are at least as extreme as this one. */
static size_t rank_of(const double *value, size_t n, double one, bool larger) {
    size_t rank = 0;
    for (size_t i = 0; i < n; i++) rank += larger ? value[i] >= one : value[i] <= one;
    return rank;
}

void keel_benjamini_hochberg(const double *p, size_t n, double alpha, bool *rejected) {
    double limit = -1;
    for (size_t i = 0; i < n; i++)
        if (p[i] > limit && p[i] <= alpha * (double)rank_of(p, n, p[i], false) / (double)n) limit = p[i];
    for (size_t i = 0; i < n; i++) rejected[i] = p[i] <= limit;
}

void keel_e_benjamini_hochberg(const double *e, size_t n, double alpha, bool *rejected) {
    double limit = INFINITY;
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        if (e[i] < (double)n / ((double)rank_of(e, n, e[i], true) * alpha)) continue;
        any = true;
        if (e[i] < limit) limit = e[i];
    }
    for (size_t i = 0; i < n; i++) rejected[i] = any && e[i] >= limit;
}
