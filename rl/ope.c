#include "rl/ope.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "rl/bootstrap.h"

static keel_status no_memory(keel_err *err) {
    return keel_fail(err, KEEL_E_NOMEM, "off-policy estimation", "no memory for the trajectories");
}

/* ---- collecting ---- */

static bool grow(void **list, size_t *capacity, size_t needed, size_t size) {
    if (needed <= *capacity) return true;
    size_t more = needed * 2 > 64 ? needed * 2 : 64, bytes;
    void *grown = keel_size_mul(more, size, &bytes) ? keel_realloc(*list, bytes) : NULL;
    if (!grown) return false;
    *list = grown;
    *capacity = more;
    return true;
}

keel_status keel_ope_add(keel_ope_log *log, size_t conversation, const keel_ope_step *steps, size_t count,
                         keel_err *err) {
    if (!count) return KEEL_OK;
    void *all = log->steps, *trajectories = log->trajectories;
    bool fits = grow(&all, &log->step_capacity, log->n_steps + count, sizeof *log->steps);
    log->steps = all;
    fits = fits &&
           grow(&trajectories, &log->trajectory_capacity, log->n_trajectories + 1, sizeof *log->trajectories);
    log->trajectories = trajectories;
    if (!fits) return no_memory(err);
    memcpy(log->steps + log->n_steps, steps, count * sizeof *steps);
    log->trajectories[log->n_trajectories++] =
        (struct keel_ope_trajectory){log->n_steps, count, conversation};
    log->n_steps += count;
    return KEEL_OK;
}

keel_status keel_ope_add_value(keel_ope_log *log, size_t conversation, double value, keel_err *err) {
    void *values = log->values;
    bool fits = grow(&values, &log->value_capacity, log->n_values + 1, sizeof *log->values);
    log->values = values;
    if (!fits) return no_memory(err);
    log->values[log->n_values++] = (struct keel_ope_value){value, conversation};
    return KEEL_OK;
}

void keel_ope_log_free(keel_ope_log *log) {
    keel_free(log->steps);
    keel_free(log->trajectories);
    keel_free(log->values);
    *log = (keel_ope_log){0};
}

/* ---- sums by conversation ---- */

/* Columns of a row: what a conversation adds to each sum. Weights are scaled by their largest, which every
 * estimate here is indifferent to, so that products of many ratios neither overflow nor vanish together. */
enum {
    WEIGHTED_RETURN,
    WEIGHT,
    VALUE,
    VALUES,
    FIXED_COLUMNS
}; /* then, for each t: weighted reward, weight */
enum { MOST_CELLS = 1 << 22 };

typedef struct sums {
    size_t horizon, width, n_rows;
    double gamma;
    double *rows;        /* [n_rows, width] */
    double *largest;     /* [horizon] of log rho_{0:t} */
    double *total;       /* [width] */
    double squares, top; /* of the trajectory weights */
} sums;

static void find_largest(const keel_ope_log *log, sums *s) {
    for (size_t t = 0; t < s->horizon; ++t) s->largest[t] = -INFINITY;
    for (size_t i = 0; i < log->n_trajectories; ++i) {
        const struct keel_ope_trajectory *at = &log->trajectories[i];
        double weight = 0;
        for (size_t t = 0; t < s->horizon; ++t) {
            if (t < at->length) weight += log->steps[at->first + t].log_ratio;
            s->largest[t] = fmax(s->largest[t], weight);
        }
    }
}

static double scaled(double log_weight, double largest) {
    return largest > -INFINITY ? exp(log_weight - largest) : 0;
}

static void add_trajectory(const keel_ope_log *log, const struct keel_ope_trajectory *at, sums *s) {
    double *row = s->rows + at->conversation % s->n_rows * s->width;
    double weight = 0, discount = 1, gain = 0;
    for (size_t t = 0; t < s->horizon; ++t) {
        double reward = 0;
        if (t < at->length) {
            weight += log->steps[at->first + t].log_ratio;
            reward = log->steps[at->first + t].reward;
        }
        double share = scaled(weight, s->largest[t]);
        row[FIXED_COLUMNS + 2 * t] += share * reward;
        row[FIXED_COLUMNS + 2 * t + 1] += share;
        gain += discount * reward;
        discount *= s->gamma;
    }
    double share = scaled(weight, s->largest[s->horizon - 1]);
    row[WEIGHTED_RETURN] += share * gain;
    row[WEIGHT] += share;
    s->squares += share * share;
    s->top = fmax(s->top, share);
}

static size_t longest(const keel_ope_log *log) {
    size_t most = 1;
    for (size_t i = 0; i < log->n_trajectories; ++i)
        if (log->trajectories[i].length > most) most = log->trajectories[i].length;
    return most;
}

static size_t conversations(const keel_ope_log *log) {
    size_t most = 0;
    for (size_t i = 0; i < log->n_trajectories; ++i)
        if (log->trajectories[i].conversation >= most) most = log->trajectories[i].conversation + 1;
    for (size_t i = 0; i < log->n_values; ++i)
        if (log->values[i].conversation >= most) most = log->values[i].conversation + 1;
    return most;
}

static keel_status make_sums(const keel_ope_log *log, double gamma, sums *s, keel_err *err) {
    size_t cells;
    *s = (sums){.horizon = longest(log), .gamma = gamma};
    s->width = FIXED_COLUMNS + 2 * s->horizon;
    s->n_rows = conversations(log);
    if (s->n_rows > KEEL_BOOTSTRAP_ROWS) s->n_rows = KEEL_BOOTSTRAP_ROWS;
    if (s->n_rows > MOST_CELLS / s->width) s->n_rows = MOST_CELLS / s->width + 1;
    if (!keel_size_mul(s->n_rows, s->width, &cells)) return no_memory(err);
    s->rows = keel_calloc(cells, sizeof *s->rows);
    s->largest = keel_calloc(s->horizon, sizeof *s->largest);
    s->total = keel_calloc(s->width, sizeof *s->total);
    if (!s->rows || !s->largest || !s->total) return no_memory(err);
    find_largest(log, s);
    for (size_t i = 0; i < log->n_trajectories; ++i) add_trajectory(log, &log->trajectories[i], s);
    for (size_t i = 0; i < log->n_values; ++i) {
        double *row = s->rows + log->values[i].conversation % s->n_rows * s->width;
        row[VALUE] += log->values[i].value;
        row[VALUES] += 1;
    }
    for (size_t i = 0; i < s->n_rows * s->width; ++i) s->total[i % s->width] += s->rows[i];
    return KEEL_OK;
}

static void free_sums(sums *s) {
    keel_free(s->rows);
    keel_free(s->largest);
    keel_free(s->total);
}

/* ---- estimates ---- */

enum { WIS, WPDIS, DM, N_ESTIMATES };

static double per_decision(const sums *s, const double *total) {
    double sum = 0, discount = 1;
    for (size_t t = 0; t < s->horizon; ++t, discount *= s->gamma)
        sum += discount * total[FIXED_COLUMNS + 2 * t] / total[FIXED_COLUMNS + 2 * t + 1];
    return sum;
}

/* 0 / 0 where nothing was drawn: NaN, which the bootstrap leaves out. */
static double estimate(const void *context, size_t index, const double *total) {
    const sums *s = context;
    if (index == WIS) return total[WEIGHTED_RETURN] / total[WEIGHT];
    if (index == DM) return total[VALUE] / total[VALUES];
    return per_decision(s, total);
}

static keel_interval interval(const sums *s, size_t index, double n, const double *low, const double *high) {
    double value = estimate(s, index, s->total);
    if (n <= 0 || !isfinite(value)) return (keel_interval){0};
    return (keel_interval){value, low[index], high[index], n};
}

keel_status keel_ope_estimate(const keel_ope_log *log, double gamma, size_t resamples, uint64_t seed,
                              keel_pool *pool, keel_ope *out, keel_err *err) {
    sums s = {0};
    double low[N_ESTIMATES], high[N_ESTIMATES];
    if (!log->n_trajectories && !log->n_values) {
        *out = (keel_ope){.propensities_estimated = log->estimated};
        return KEEL_OK;
    }
    keel_status status = make_sums(log, gamma, &s, err);
    if (status == KEEL_OK)
        status = keel_bootstrap(s.rows, s.width, s.n_rows, resamples, seed, estimate, &s, N_ESTIMATES, pool,
                                low, high, err);
    if (status == KEEL_OK) {
        double n = (double)log->n_trajectories, weight = s.total[WEIGHT];
        keel_ope made = {.wis = interval(&s, WIS, n, low, high),
                         .wpdis = interval(&s, WPDIS, n, low, high),
                         .dm = interval(&s, DM, (double)log->n_values, low, high),
                         .ess = s.squares > 0 ? weight * weight / s.squares : 0,
                         .max_weight = weight > 0 ? s.top / weight : 0,
                         .propensities_estimated = log->estimated};
        made.headline = made.ess >= 30;
        *out = made;
    }
    free_sums(&s);
    return status;
}
