/* The mean of clusters, cluster c contributing sum[c] over count[c] values, with a percentile bootstrap. */
#ifndef KEEL_TESTS_RL_CLUSTERS_H
#define KEEL_TESTS_RL_CLUSTERS_H

#include <math.h>
#include <stdlib.h>

#include "rl/judge/bootstrap.h"
#include "rl/judge/intervals.h"

static double cluster_ratio(const void *context, size_t index, const double *total) {
    (void)context, (void)index;
    return total[1] > 0 ? total[0] / total[1] : NAN;
}

static keel_interval cluster_mean(const double *sum, const double *count, size_t clusters, size_t resamples,
                                  uint64_t seed) {
    double total[2] = {0, 0}, *rows = malloc((2 * clusters + 1) * sizeof *rows);
    const keel_bootstrap_plan plan = {.resamples = resamples, .seed = seed, .confidence = 0.95};
    keel_interval got;
    for (size_t c = 0; c < clusters; ++c) {
        total[0] += rows[2 * c] = sum[c];
        total[1] += rows[2 * c + 1] = count[c];
    }
    assert_int_equal(
        keel_bootstrap(rows, 2, clusters, &plan, cluster_ratio, NULL, 1, NULL, &got.low, &got.high, NULL), 0);
    free(rows);
    got.value = total[0] / total[1];
    got.n = total[1];
    return got;
}

#endif
