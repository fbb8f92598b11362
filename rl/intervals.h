/* Intervals: Wilson for rates, percentile bootstrap over conversations for means. */
#ifndef KEEL_RL_INTERVALS_H
#define KEEL_RL_INTERVALS_H

#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

typedef struct keel_interval {
    double value, low, high;
    double n; /* what it rests on: decisions, conversations or, for weighted rates, the effective number; 0:
                 no estimate */
} keel_interval;

/* Wilson score interval (Wilson 1927), 95 %. Golden: 95/250 -> [.322077, .441555]. n 0: all zero. */
keel_interval keel_wilson(double successes, double n);

/* Mean with a 95 % percentile bootstrap interval over clusters (conversations): cluster c contributes sum[c]
 * over count[c] values. resamples draws from the stream "bootstrap" of seed. */
keel_status keel_bootstrap_mean(const double *sum, const double *count, size_t clusters, size_t resamples,
                                uint64_t seed, keel_interval *out, keel_err *err);

#endif
