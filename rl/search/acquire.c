#include "rl/search/acquire.h"

#include <math.h>

static const double LOG_SQRT_2PI = 0.91893853320467274178;
/* Below it densities soon leave the range of a double: asymptotic series. */
static const double FAR = -35;

/* log of the standard normal distribution function. */
static double log_normal_cdf(double z) {
    if (z > FAR) return log(erfc(-z / sqrt(2)) / 2);
    const double s = 1 / (z * z);
    return -z * z / 2 - LOG_SQRT_2PI - log(-z) + log1p(s * (-1 + s * (3 - 15 * s)));
}

/* log(phi(z) + z Phi(z)). */
static double log_gain(double z) {
    if (z > FAR) return log(exp(-z * z / 2 - LOG_SQRT_2PI) + z * erfc(-z / sqrt(2)) / 2);
    const double s = 1 / (z * z);
    return -z * z / 2 - LOG_SQRT_2PI + log(s) + log1p(s * (-3 + s * (15 - 105 * s)));
}

double keel_log_improvement(double mean, double sd, double best) {
    if (!(sd > 0)) return mean > best ? log(mean - best) : -INFINITY;
    return log(sd) + log_gain((mean - best) / sd);
}

double keel_log_feasible(double mean, double sd, double least) {
    if (!(sd > 0)) return mean >= least ? 0 : -INFINITY;
    return log_normal_cdf((mean - least) / sd);
}
