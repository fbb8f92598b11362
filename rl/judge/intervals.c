#include "rl/judge/intervals.h"

#include <math.h>

#include "rl/judge/bounds.h"

static const double Z_975 = 1.959963984540054; /* standard normal quantile at 0.975 */

static keel_interval wilson(double successes, double n, double z) {
    if (n <= 0) return (keel_interval){0};
    double rate = successes / n, z2 = z * z;
    double centre = (rate + z2 / (2 * n)) / (1 + z2 / n);
    double half = z / (1 + z2 / n) * sqrt(rate * (1 - rate) / n + z2 / (4 * n * n));
    /* At 0 and 1 the bound is the rate itself; the formula misses it by a rounding error. */
    return (keel_interval){.value = rate,
                           .low = rate <= 0 ? 0 : fmax(0, centre - half),
                           .high = rate >= 1 ? 1 : fmin(1, centre + half),
                           .n = n};
}

keel_interval keel_wilson(double successes, double n) {
    return wilson(successes, n, Z_975);
}

keel_interval keel_wilson_at(double successes, double n, double confidence) {
    return wilson(successes, n, confidence == 0.95 ? Z_975 : keel_normal_quantile((1 + confidence) / 2));
}
