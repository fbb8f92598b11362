/* The bootstrap over conversations (Efron 1979) for any number of statistics at once. All statistics share
 * one resampling, so many cost little more than one. */
#ifndef KEEL_RL_JUDGE_BOOTSTRAP_H
#define KEEL_RL_JUDGE_BOOTSTRAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/parallel.h"
#include "core/pcg.h"
#include "core/status.h"

/* With more conversations than this, conversation i adds to row i modulo this. The resampling is then of
 * groups of conversations: the intervals stay valid, and neither time nor memory grows with the log. */
enum { KEEL_BOOTSTRAP_ROWS = 16384 };

/* Statistic `index` of a resample, given the column sums of the rows drawn; NaN where it is undefined. */
typedef double keel_statistic(const void *context, size_t index, const double *total);

typedef struct keel_bootstrap_plan {
    size_t resamples;  /* >= 1 */
    uint64_t seed;     /* resample r draws from substream r of its stream "bootstrap" */
    double confidence; /* of the two-sided interval, as 0.95 */
    bool corrected;    /* bias-corrected and accelerated (BCa, Efron 1987) instead of plain percentiles */
} keel_bootstrap_plan;

/* rows [clusters, width]: the terms of each conversation. Bounds of each statistic into low and high
 * [n_statistics] (NaN where no resample defines it). pool may be NULL. */
keel_status keel_bootstrap(const double *rows, size_t width, size_t clusters, const keel_bootstrap_plan *plan,
                           keel_statistic *statistic, const void *context, size_t n_statistics,
                           keel_pool *pool, double *low, double *high, keel_err *err);

/* How many observations that nobody saw a resample gets: Poisson(1), at most 8, since what was not seen is
 * not impossible. rng NULL: none. */
double keel_bootstrap_unseen(keel_rng *rng);

#endif
