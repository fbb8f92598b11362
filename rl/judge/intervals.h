/* Intervals: Wilson for rates; for means the bootstrap over conversations (rl/judge/bootstrap.h). */
#ifndef KEEL_RL_JUDGE_INTERVALS_H
#define KEEL_RL_JUDGE_INTERVALS_H

#include "core/api.h"

KEEL_BEGIN_DECLS

typedef struct keel_interval {
    double value, low, high;
    double n; /* observations: decisions, conversations or, for weighted rates, the effective number; 0:
                 no estimate */
} keel_interval;

/* Wilson score interval (Wilson 1927), 95 %. Golden: 95/250 -> [.322077, .441555]. n 0: all zero. */
keel_interval keel_wilson(double successes, double n);
/* The same with another confidence (two-sided), as 0.99. */
keel_interval keel_wilson_at(double successes, double n, double confidence);

KEEL_END_DECLS

#endif
