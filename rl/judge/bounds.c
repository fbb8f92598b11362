#include "rl/judge/bounds.h"

#include <math.h>
#include <stdbool.h>

/* ---- distributions ---- */

double keel_normal_cdf(double x) {
    return 0.5 * erfc(-x / sqrt(2));
}

/* The x in [low, high] where an increasing function reaches p, by bisection to the last bit: no start value
 * to choose and nothing that can fail to converge. */
typedef double increasing(double x, double a, double b);
static double invert(increasing *f, double p, double a, double b, double low, double high) {
    for (int i = 0; i < 200; ++i) {
        double middle = 0.5 * (low + high);
        if (middle <= low || middle >= high) break;
        if (f(middle, a, b) < p)
            low = middle;
        else
            high = middle;
    }
    return 0.5 * (low + high);
}

static double normal(double x, double a, double b) {
    (void)a, (void)b;
    return keel_normal_cdf(x);
}

double keel_normal_quantile(double p) {
    return p == 0.5 ? 0 : invert(normal, p, 0, 0, -40, 40);
}

/* The continued fraction of the incomplete beta function (DLMF 8.17.22), by Lentz's method. */
static double beta_fraction(double x, double a, double b) {
    const double tiny = 1e-300;
    double c = 1, d = 1 - (a + b) * x / (a + 1), value;
    d = 1 / (fabs(d) < tiny ? tiny : d);
    value = d;
    for (int m = 1; m <= 10000; ++m) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        double before = value;
        const double steps[2] = {even, odd};
        for (int i = 0; i < 2; ++i) {
            d = 1 + steps[i] * d;
            d = 1 / (fabs(d) < tiny ? tiny : d);
            c = 1 + steps[i] / c;
            if (fabs(c) < tiny) c = tiny;
            value *= d * c;
        }
        if (fabs(value - before) <= 1e-16 * fabs(value)) break;
    }
    return value;
}

/* ln Gamma(x), x > 0: Stirling's series from 10 on, where seven terms are exact to the last bits, and steps
 * down from there. lgamma writes to a global variable. */
static double log_gamma(double x) {
    static const double series[] = {1. / 156,  -691. / 360360, 1. / 1188, -1. / 1680,
                                    1. / 1260, -1. / 360,      1. / 12};
    double steps = 1, sum = 0;
    while (x < 10) {
        steps *= x;
        x += 1;
    }
    for (size_t i = 0; i < sizeof series / sizeof *series; ++i) sum = sum / (x * x) + series[i];
    return (x - 0.5) * log(x) - x + 0.9189385332046727418 /* ln sqrt(2 pi) */ + sum / x - log(steps);
}

/* I_x(a, b), the distribution function of Beta(a, b). */
static double beta_cdf(double x, double a, double b) {
    if (x <= 0) return 0;
    if (x >= 1) return 1;
    bool mirror =
        x > (a + 1) / (a + b + 2); /* where the fraction converges slowly the other side's is fast */
    double front = exp(log_gamma(a + b) - log_gamma(a) - log_gamma(b) + a * log(x) + b * log1p(-x));
    if (mirror) return 1 - front * beta_fraction(1 - x, b, a) / b;
    return front * beta_fraction(x, a, b) / a;
}

double keel_beta_quantile(double p, double a, double b) {
    return invert(beta_cdf, p, a, b, 0, 1);
}

double keel_student_quantile(double p, double freedom) {
    if (p == 0.5) return 0;
    /* P(T <= t) = 1 - I_x(freedom / 2, 1 / 2) / 2 with x = freedom / (freedom + t^2), t >= 0. */
    double tail = 2 * (p < 0.5 ? p : 1 - p), x = keel_beta_quantile(tail, freedom / 2, 0.5);
    double t = sqrt(freedom * (1 - x) / x);
    return p < 0.5 ? -t : t;
}

/* ---- bounds ---- */

typedef struct moments {
    double mean, variance; /* unbiased */
} moments;

static moments of(const double *x, size_t n, double cut) {
    moments m = {0, 0};
    for (size_t i = 0; i < n; ++i) m.mean += fmin(x[i], cut) / (double)n;
    for (size_t i = 0; i < n; ++i) m.variance += pow(fmin(x[i], cut) - m.mean, 2) / ((double)n - 1);
    return m;
}

static double bernstein(moments m, size_t n, double range, double delta) {
    double size = (double)n, log_term = log(2 / delta);
    return m.mean - 7 * range * log_term / (3 * (size - 1)) - sqrt(2 * m.variance * log_term / size);
}

double keel_bound_truncated(double mean, double variance, size_t n, double threshold, double delta) {
    if (n < 2 || !isfinite(threshold)) return -INFINITY;
    return bernstein((moments){mean, variance}, n, threshold, delta);
}

/* The prediction is smooth in log c with one hump for the samples met in practice; a fine grid cannot be
 * misled where it has several. */
double keel_bound_threshold(const double *y, size_t n, size_t later, double delta) {
    enum { POINTS = 400 };
    double most = 0, best = INFINITY, best_bound = -INFINITY;
    for (size_t i = 0; i < n; ++i) most = fmax(most, y[i]);
    if (n < 2 || later < 2 || !(most > 0)) return INFINITY;
    for (int i = 0; i <= POINTS; ++i) {
        double cut = most * pow(10, 4.0 * (i - POINTS) / POINTS); /* most / 10000 .. most */
        double bound = bernstein(of(y, n, cut), later, cut, delta);
        if (bound > best_bound) {
            best_bound = bound;
            best = cut;
        }
    }
    return best;
}
