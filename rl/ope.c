#include "rl/ope.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "rl/bootstrap.h"
#include "rl/bounds.h"
#include "rl/magic.h"

const char *const keel_ope_names[KEEL_N_OPE] = {"is", "wis", "pdis", "wpdis", "dm", "dr", "wdr", "magic"};

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

/* Columns of a row: what a conversation adds to each sum. Then, for each t, those of enum by_step. Weights
 * are scaled by the largest at that t, so that products of many ratios neither overflow nor vanish together;
 * the estimates that are not self-normalised scale back. */
enum { TRAJECTORIES, WEIGHTED_RETURN, VALUE, VALUES, FIXED_COLUMNS };
enum by_step {
    WEIGHT,
    REWARD, /* rho_{0:t} r_t */
    MODEL,  /* rho_{0:t} q_t */
    STATE,  /* rho_{0:t-1} v_t, scaled as the weights of t - 1 */
    STEP_COLUMNS
};
enum { MOST_CELLS = 1 << 22 };
enum { BLENDED = 32 }; /* steps among which MAGIC blends; more would cost time and add nothing but noise */

typedef struct sums {
    const keel_ope_config *config;
    size_t horizon, width, n_rows;
    double *rows;    /* [n_rows, width] */
    double *largest; /* [horizon] of log rho_{0:t} */
    double *total;   /* [width] */
    double *squares; /* [horizon] of the weights */
    double top;      /* largest weight of a whole trajectory */
    bool modelled;   /* q and v are known of every step */
    size_t n_blend;
    double *blend; /* [n_blend] MAGIC's, once it is known */
} sums;

static double column(const sums *s, const double *row, size_t t, enum by_step which) {
    return t < s->horizon ? row[FIXED_COLUMNS + t * STEP_COLUMNS + which] : 0;
}

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
    double log_weight = 0, before = 1, weight = 1, discount = 1, gain = 0;
    for (size_t t = 0; t < s->horizon; ++t, discount *= s->config->gamma, before = weight) {
        const keel_ope_step *step = t < at->length ? &log->steps[at->first + t] : NULL;
        double *columns = row + FIXED_COLUMNS + t * STEP_COLUMNS;
        if (step) log_weight += step->log_ratio;
        weight = scaled(log_weight, s->largest[t]);
        columns[WEIGHT] += weight;
        s->squares[t] += weight * weight;
        if (!step) continue;
        columns[REWARD] += weight * step->reward;
        gain += discount * step->reward;
        if (!s->modelled) continue;
        columns[MODEL] += weight * step->q;
        columns[STATE] += before * step->v;
    }
    row[TRAJECTORIES] += 1;
    row[WEIGHTED_RETURN] += weight * gain;
    s->top = fmax(s->top, weight);
}

static void measure(const keel_ope_log *log, sums *s) {
    s->horizon = 1;
    s->n_rows = 1;
    s->modelled = log->n_trajectories > 0;
    for (size_t i = 0; i < log->n_trajectories; ++i) {
        const struct keel_ope_trajectory *at = &log->trajectories[i];
        if (at->length > s->horizon) s->horizon = at->length;
        if (at->conversation >= s->n_rows) s->n_rows = at->conversation + 1;
    }
    for (size_t i = 0; i < log->n_values; ++i)
        if (log->values[i].conversation >= s->n_rows) s->n_rows = log->values[i].conversation + 1;
    for (size_t i = 0; i < log->n_steps; ++i)
        if (!isfinite(log->steps[i].q) || !isfinite(log->steps[i].v)) s->modelled = false;
    s->width = FIXED_COLUMNS + STEP_COLUMNS * s->horizon;
    if (s->n_rows > KEEL_BOOTSTRAP_ROWS) s->n_rows = KEEL_BOOTSTRAP_ROWS;
    if (s->n_rows > MOST_CELLS / s->width) s->n_rows = MOST_CELLS / s->width + 1;
    s->n_blend = s->horizon + 1 < BLENDED ? s->horizon + 1 : BLENDED;
}

static keel_status make_sums(const keel_ope_log *log, const keel_ope_config *config, sums *s, keel_err *err) {
    size_t cells;
    *s = (sums){.config = config};
    measure(log, s);
    if (!keel_size_mul(s->n_rows, s->width, &cells)) return no_memory(err);
    s->rows = keel_calloc(cells, sizeof *s->rows);
    s->largest = keel_calloc(s->horizon, sizeof *s->largest);
    s->squares = keel_calloc(s->horizon, sizeof *s->squares);
    s->total = keel_calloc(s->width, sizeof *s->total);
    s->blend = keel_calloc(s->n_blend, sizeof *s->blend);
    if (!s->rows || !s->largest || !s->squares || !s->total || !s->blend) return no_memory(err);
    find_largest(log, s);
    for (size_t i = 0; i < log->n_trajectories; ++i) add_trajectory(log, &log->trajectories[i], s);
    for (size_t i = 0; i < log->n_values; ++i) {
        double *row = s->rows + log->values[i].conversation % s->n_rows * s->width;
        row[VALUE] += log->values[i].value;
        row[VALUES] += 1;
    }
    for (size_t i = 0; i < cells; ++i) s->total[i % s->width] += s->rows[i];
    return KEEL_OK;
}

static void free_sums(sums *s) {
    keel_free(s->rows);
    keel_free(s->largest);
    keel_free(s->squares);
    keel_free(s->total);
    keel_free(s->blend);
}

/* ---- estimates: functions of the column sums, 0 / 0 = NaN where nothing is known ---- */

/* What the weights of step t are divided by: their sum (self-normalised), or the number of trajectories,
 * scaled. t = -1 (SIZE_MAX): every weight is 1. */
static double divisor(const sums *s, const double *total, size_t t, bool normalised) {
    if (t == SIZE_MAX) return total[TRAJECTORIES];
    return normalised ? column(s, total, t, WEIGHT) : total[TRAJECTORIES] * exp(-s->largest[t]);
}

static double whole_trajectories(const sums *s, const double *total, bool normalised) {
    return total[WEIGHTED_RETURN] / divisor(s, total, s->horizon - 1, normalised);
}

static double per_decision(const sums *s, const double *total, bool normalised) {
    double sum = 0, discount = 1;
    for (size_t t = 0; t < s->horizon; ++t, discount *= s->config->gamma)
        sum += discount * column(s, total, t, REWARD) / divisor(s, total, t, normalised);
    return sum;
}

/* g^(j) of MAGIC for j = steps - 1: `steps` steps of the log, then the model; of row over the divisors of
 * total. With all steps it is DR (or WDR), with none DM. */
static double doubly_robust(const sums *s, const double *row, const double *total, size_t steps,
                            bool normalised) {
    double sum = 0, discount = 1;
    for (size_t t = 0; t < steps; ++t, discount *= s->config->gamma)
        sum += discount *
               ((column(s, row, t, REWARD) - column(s, row, t, MODEL)) / divisor(s, total, t, normalised) +
                column(s, row, t, STATE) / divisor(s, total, t - 1, normalised));
    return sum + discount * column(s, row, steps, STATE) / divisor(s, total, steps - 1, normalised);
}

/* The steps of blend j: none, one, two, ..., and all at last. */
static size_t blend_steps(const sums *s, size_t j) {
    return j + 1 == s->n_blend ? s->horizon : j;
}

static double blended(const sums *s, const double *total) {
    double sum = 0;
    for (size_t j = 0; j < s->n_blend; ++j)
        if (s->blend[j] > 0) sum += s->blend[j] * doubly_robust(s, total, total, blend_steps(s, j), true);
    return sum;
}

static double estimate(const void *context, size_t index, const double *total) {
    const sums *s = context;
    switch ((keel_ope_estimator)index) {
    case KEEL_OPE_IS:
    case KEEL_OPE_WIS:
        return whole_trajectories(s, total, index == KEEL_OPE_WIS);
    case KEEL_OPE_PDIS:
    case KEEL_OPE_WPDIS:
        return per_decision(s, total, index == KEEL_OPE_WPDIS);
    case KEEL_OPE_DM:
        return total[VALUE] / total[VALUES];
    case KEEL_OPE_DR:
    case KEEL_OPE_WDR:
        return s->modelled ? doubly_robust(s, total, total, s->horizon, index == KEEL_OPE_WDR) : NAN;
    case KEEL_OPE_MAGIC:
        return s->modelled ? blended(s, total) : NAN;
    case KEEL_N_OPE:
        break;
    }
    return NAN;
}

static double only_wdr(const void *context, size_t index, const double *total) {
    (void)index;
    return estimate(context, KEEL_OPE_WDR, total);
}

/* The blend and what it rests on: each conversation's share in every g^(j), and WDR's 90 % interval, widened
 * to hold WDR itself. */
static keel_status find_blend(sums *s, keel_pool *pool, keel_err *err) {
    enum { RESAMPLES = 200 };
    double low, high, wdr = estimate(s, KEEL_OPE_WDR, s->total), g[BLENDED];
    if (!s->modelled || !isfinite(wdr)) return KEEL_OK;
    double *parts = keel_calloc(s->n_rows * s->n_blend, sizeof *parts);
    if (!parts) return no_memory(err);
    const keel_bootstrap_plan plan = {RESAMPLES, s->config->seed, 0.9, false};
    keel_status status =
        keel_bootstrap(s->rows, s->width, s->n_rows, &plan, only_wdr, s, 1, pool, &low, &high, err);
    for (size_t j = 0; j < s->n_blend; ++j) {
        g[j] = doubly_robust(s, s->total, s->total, blend_steps(s, j), true);
        for (size_t i = 0; i < s->n_rows; ++i)
            parts[i * s->n_blend + j] =
                doubly_robust(s, s->rows + i * s->width, s->total, blend_steps(s, j), true);
    }
    if (status == KEEL_OK)
        status =
            keel_magic_blend(parts, s->n_rows, g, s->n_blend, fmin(low, wdr), fmax(high, wdr), s->blend, err);
    keel_free(parts);
    return status;
}

/* ---- what else is said ---- */

/* What the trajectory returns above the least that it could, weighted. */
static double weighted_surplus(const keel_ope_log *log, size_t i, const keel_ope_config *config,
                               double least) {
    const struct keel_ope_trajectory *at = &log->trajectories[i];
    double weight = 0, gain = 0, discount = 1;
    for (size_t t = 0; t < at->length; ++t, discount *= config->gamma) {
        weight += log->steps[at->first + t].log_ratio;
        gain += discount * log->steps[at->first + t].reward;
    }
    return exp(weight) * fmax(0, gain - least);
}

/* A guarantee on IS, since every weight has mean 1: E[rho G] = least + E[rho (G - least)]. Every twentieth
 * conversation chooses where to truncate and is not counted. */
static keel_status find_lower(const keel_ope_log *log, const sums *s, double *out, keel_err *err) {
    enum { ASIDE = 20 };
    const double delta = 0.05;
    double least = 0, discount = 1, *x, *y;
    size_t kept = 0, aside = 0;
    if (!log->n_trajectories || !isfinite(s->config->reward_low)) return KEEL_OK;
    for (size_t t = 0; t < s->horizon; ++t, discount *= s->config->gamma)
        least += discount * s->config->reward_low;
    if (least > 0) least = 0; /* an ended trajectory pays nothing */
    x = keel_calloc(log->n_trajectories, 2 * sizeof *x);
    if (!x) return no_memory(err);
    y = x + log->n_trajectories;
    for (size_t i = 0; i < log->n_trajectories; ++i) {
        double surplus = weighted_surplus(log, i, s->config, least);
        if (log->trajectories[i].conversation % ASIDE == 0)
            y[aside++] = surplus;
        else
            x[kept++] = surplus;
    }
    double bound = keel_bound_truncated(x, kept, keel_bound_threshold(y, aside, kept, delta), delta);
    *out = bound > 0 ? least + bound : -INFINITY;
    keel_free(x);
    return KEEL_OK;
}

static double effective(const sums *s, size_t t) {
    double weight = column(s, s->total, t, WEIGHT);
    return s->squares[t] > 0 ? weight * weight / s->squares[t] : 0;
}

static void describe(const keel_ope_log *log, const sums *s, keel_ope *out) {
    double weight = column(s, s->total, s->horizon - 1, WEIGHT);
    out->ess = out->least_ess = effective(s, s->horizon - 1);
    for (size_t t = 0; t < s->horizon; ++t) out->least_ess = fmin(out->least_ess, effective(s, t));
    out->max_weight = weight > 0 ? s->top / weight : 0;
    for (size_t i = 0; i < log->n_steps; ++i)
        out->support += log->steps[i].probability / (double)log->n_steps;
    out->headline = out->ess >= 30;
}

static keel_status estimate_all(const keel_ope_log *log, sums *s, keel_pool *pool, keel_ope *out,
                                keel_err *err) {
    double low[KEEL_N_OPE], high[KEEL_N_OPE];
    const keel_ope_config *config = s->config;
    KEEL_TRY(find_blend(s, pool, err));
    const keel_bootstrap_plan plan = {config->resamples, config->seed, 0.95, true};
    KEEL_TRY(
        keel_bootstrap(s->rows, s->width, s->n_rows, &plan, estimate, s, KEEL_N_OPE, pool, low, high, err));
    KEEL_TRY(find_lower(log, s, &out->lower, err));
    for (size_t k = 0; k < KEEL_N_OPE; ++k) {
        double value = estimate(s, k, s->total);
        double n = k == KEEL_OPE_DM ? (double)log->n_values : (double)log->n_trajectories;
        if (isfinite(value) && n > 0) out->estimate[k] = (keel_interval){value, low[k], high[k], n};
    }
    describe(log, s, out);
    return KEEL_OK;
}

keel_status keel_ope_estimate(const keel_ope_log *log, const keel_ope_config *config, keel_pool *pool,
                              keel_ope *out, keel_err *err) {
    keel_ope made = {.lower = -INFINITY, .propensities_estimated = log->estimated};
    keel_status status = KEEL_OK;
    if (log->n_trajectories || log->n_values) {
        sums s;
        status = make_sums(log, config, &s, err);
        if (status == KEEL_OK) status = estimate_all(log, &s, pool, &made, err);
        free_sums(&s);
    }
    if (status == KEEL_OK) *out = made;
    return status;
}
