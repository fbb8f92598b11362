/* The percentile bootstrap over conversations for any number of statistics at once: all share one resampling,
 * so their intervals rest on the same draws and cost little more than one. */
#ifndef KEEL_RL_BOOTSTRAP_H
#define KEEL_RL_BOOTSTRAP_H

#include <stddef.h>
#include <stdint.h>

#include "core/parallel.h"
#include "core/status.h"

/* More conversations than this share rows (conversation i adds to row i modulo this): the resampling is then
 * of groups of conversations, the intervals stay valid, and neither time nor memory grows with the log. */
enum { KEEL_BOOTSTRAP_ROWS = 16384 };

/* Statistic `index` of a resample, given the column sums of the rows drawn; NaN where it is undefined. */
typedef double keel_statistic(const void *context, size_t index, const double *total);

/* rows [clusters, width]: what each conversation adds. 95 % percentile bounds of each statistic into low and
 * high [n_statistics] (NaN where no resample defines it). Resample r draws from substream r of the stream
 * "bootstrap" of seed. pool may be NULL. resamples >= 1. */
keel_status keel_bootstrap(const double *rows, size_t width, size_t clusters, size_t resamples, uint64_t seed,
                           keel_statistic *statistic, const void *context, size_t n_statistics,
                           keel_pool *pool, double *low, double *high, keel_err *err);

#endif
