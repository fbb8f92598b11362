#include "rl/judge/bootstrap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/interrupt.h"
#include "core/memory.h"
#include "core/numeric.h"
#include "rl/judge/bounds.h"

/* Quantile by linear interpolation between order statistics (type 7 of Hyndman & Fan 1996). */
static double quantile(const double *sorted, size_t count, double p) {
    double place = p * (double)(count - 1);
    size_t below = (size_t)place, above = below + 1 < count ? below + 1 : below;
    return sorted[below] + (place - (double)below) * (sorted[above] - sorted[below]);
}

/* One resample: every cluster drawn adds its row to total; rows are small and lie side by side, so a draw
 * costs one cache line whatever the number of statistics. */
static void resample(const double *rows, size_t width, size_t clusters, keel_rng *rng, double *total) {
    memset(total, 0, width * sizeof *total);
    for (size_t draw = 0; draw < clusters; ++draw) {
        const double *row = rows + keel_rng_below(rng, clusters) * width;
        for (size_t i = 0; i < width; ++i) total[i] += row[i];
    }
}

typedef struct bootstrap_work {
    const double *rows;
    size_t width, clusters, n_statistics;
    const keel_bootstrap_plan *plan;
    keel_statistic *statistic;
    const void *context;
    double *totals; /* [threads, width] */
    double *values; /* [n_statistics, resamples] */
    double *whole;  /* [width] sums of all rows; with plan->corrected alone */
} bootstrap_work;

/* Resample r draws from its own substream, so the result does not depend on which thread takes it. */
static keel_status run_resample(void *context, size_t r, size_t thread, keel_err *err) {
    const bootstrap_work *work = context;
    if (keel_interrupted())
        return keel_fail(err, KEEL_E_INTERRUPTED, "bootstrap", "stopped; nothing was changed");
    double *total = work->totals + thread * work->width;
    keel_rng rng = keel_rng_stream(work->plan->seed, KEEL_STREAM_BOOTSTRAP, r);
    resample(work->rows, work->width, work->clusters, &rng, total);
    for (size_t s = 0; s < work->n_statistics; ++s)
        work->values[s * work->plan->resamples + r] = work->statistic(work->context, s, total);
    return KEEL_OK;
}

/* Resamples on which a statistic is undefined (no observation was drawn) are left out. */
static size_t keep_finite(double *values, size_t count) {
    size_t kept = 0;
    for (size_t i = 0; i < count; ++i)
        if (isfinite(values[i])) values[kept++] = values[i];
    return kept;
}

/* How fast the standard error changes with the value: the skewness of the statistic without one cluster each.
 * `total` is scratch. */
static double acceleration(const bootstrap_work *work, size_t index, double *total) {
    double mean = 0, squares = 0, cubes = 0, count = 0;
    for (int pass = 0; pass < 2; ++pass) {
        for (size_t c = 0; c < work->clusters; ++c) {
            for (size_t i = 0; i < work->width; ++i)
                total[i] = work->whole[i] - work->rows[c * work->width + i];
            double value = work->statistic(work->context, index, total);
            if (!isfinite(value)) continue;
            if (!pass) mean += value, count += 1;
            double below = mean / count - value;
            if (pass) squares += below * below, cubes += below * below * below;
        }
    }
    return squares > 0 ? cubes / (6 * pow(squares, 1.5)) : 0;
}

/* Which quantile of the resamples stands for quantile p: p itself, or Efron's correction of it. */
static double corrected(double p, double bias, double speed) {
    double z = bias + keel_normal_quantile(p), rest = 1 - speed * z;
    if (rest <= 0) return z > 0 ? 1 : 0; /* beyond the pole of the correction: as far as it goes */
    return keel_normal_cdf(bias + z / rest);
}

static void bounds(const bootstrap_work *work, size_t index, double *low, double *high) {
    double *values = work->values + index * work->plan->resamples, p = (1 - work->plan->confidence) / 2,
           q = 1 - p;
    size_t count = keep_finite(values, work->plan->resamples), below = 0;
    *low = *high = NAN;
    if (!count) return;
    qsort(values, count, sizeof *values, keel_by_value);
    if (work->plan->corrected) {
        double value = work->statistic(work->context, index, work->whole);
        while (below < count && values[below] < value) below++;
        /* Where all resamples lie on one side there is nothing to correct by. */
        if (below > 0 && below < count) {
            double bias = keel_normal_quantile((double)below / (double)count);
            double speed = acceleration(work, index, work->totals);
            p = corrected(p, bias, speed);
            q = corrected(q, bias, speed);
        }
    }
    *low = quantile(values, count, p);
    *high = quantile(values, count, q);
}

static keel_status prepare(bootstrap_work *work, size_t threads, keel_err *err) {
    size_t cells, resamples = work->plan->resamples;
    work->totals = keel_calloc(threads * work->width, sizeof *work->totals);
    work->whole = keel_calloc(work->width, sizeof *work->whole);
    if (keel_size_mul(work->n_statistics, resamples, &cells))
        work->values = keel_calloc(cells, sizeof *work->values);
    if (!work->totals || !work->whole || !work->values)
        return keel_fail(err, KEEL_E_NOMEM, "keel_bootstrap", "no memory for %zu resamples of %zu statistics",
                         resamples, work->n_statistics);
    for (size_t c = 0; work->plan->corrected && c < work->clusters; ++c)
        for (size_t i = 0; i < work->width; ++i) work->whole[i] += work->rows[c * work->width + i];
    return KEEL_OK;
}

keel_status keel_bootstrap(const double *rows, size_t width, size_t clusters, const keel_bootstrap_plan *plan,
                           keel_statistic *statistic, const void *context, size_t n_statistics,
                           keel_pool *pool, double *low, double *high, keel_err *err) {
    bootstrap_work work = {.rows = rows,
                           .width = width,
                           .clusters = clusters,
                           .n_statistics = n_statistics,
                           .plan = plan,
                           .statistic = statistic,
                           .context = context};
    keel_status status = prepare(&work, pool ? keel_pool_threads(pool) : 1, err);
    if (status == KEEL_OK && pool) status = keel_pool_run(pool, plan->resamples, run_resample, &work, err);
    for (size_t r = 0; status == KEEL_OK && !pool && r < plan->resamples; ++r)
        status = run_resample(&work, r, 0, err);
    for (size_t s = 0; status == KEEL_OK && s < n_statistics; ++s) bounds(&work, s, &low[s], &high[s]);
    keel_free(work.values);
    keel_free(work.whole);
    keel_free(work.totals);
    return status;
}

double keel_bootstrap_unseen(keel_rng *rng) {
    if (!rng) return 0;
    double u = keel_rng_uniform(rng), p = exp(-1), k = 0;
    while (u >= p && k < 8) u -= p, p /= ++k;
    return k;
}
