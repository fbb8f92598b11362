#include "rl/judge/ope.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "core/spool.h"
#include "rl/judge/bootstrap.h"
#include "rl/judge/bounds.h"
#include "rl/judge/magic.h"

const char *const keel_ope_names[KEEL_N_OPE] = {"is", "wis", "pdis",  "wpdis",           "dm",
                                                "dr", "wdr", "magic", "self_prediction", "logged_return"};

/* ---- collecting ---- */

enum { WINDOW = 1 << 18 }; /* bytes of each list that are in memory */

typedef struct trajectory {
    size_t length;       /* its steps follow the last one's */
    size_t conversation; /* number of the conversation, the unit of the bootstrap */
} trajectory;

typedef struct first_value {
    double value, own; /* v(s_0) by the model, by the policy's critic; NAN: not known */
    size_t conversation;
} first_value;

static keel_status add_to(keel_spool **list, const void *record, size_t size, keel_err *err) {
    if (!*list) KEEL_TRY(keel_spool_open(list, size, WINDOW, err));
    return keel_spool_add(*list, record, err);
}

static void count_conversation(keel_ope_log *log, size_t conversation) {
    if (conversation >= log->n_conversations) log->n_conversations = conversation + 1;
}

keel_status keel_ope_add(keel_ope_log *log, size_t conversation, const keel_ope_step *steps, size_t count,
                         keel_err *err) {
    const trajectory made = {count, conversation};
    if (!count) return KEEL_OK;
    for (size_t t = 0; t < count; ++t) {
        KEEL_TRY(add_to(&log->steps, &steps[t], sizeof *steps, err));
        log->unmodelled = log->unmodelled || !isfinite(steps[t].q) || !isfinite(steps[t].v);
        log->probability += steps[t].probability;
    }
    KEEL_TRY(add_to(&log->trajectories, &made, sizeof made, err));
    if (count > log->longest) log->longest = count;
    count_conversation(log, conversation);
    log->n_steps += count;
    log->n_trajectories++;
    return KEEL_OK;
}

keel_status keel_ope_add_value(keel_ope_log *log, size_t conversation, double value, double own,
                               keel_err *err) {
    const first_value made = {value, own, conversation};
    KEEL_TRY(add_to(&log->values, &made, sizeof made, err));
    count_conversation(log, conversation);
    log->n_values += isfinite(value) != 0;
    log->n_own += isfinite(own) != 0;
    return KEEL_OK;
}

void keel_ope_log_free(keel_ope_log *log) {
    keel_spool_close(log->steps);
    keel_spool_close(log->trajectories);
    keel_spool_close(log->values);
    *log = (keel_ope_log){0};
}

/* All trajectories in the order in which they were added. */
typedef void visitor(const trajectory *at, const keel_ope_step *steps, void *context);
static keel_status visit(const keel_ope_log *log, visitor *look, void *context, keel_err *err) {
    trajectory at;
    size_t first = 0;
    keel_status status = KEEL_OK;
    keel_ope_step *steps = keel_calloc(log->longest + 1, sizeof *steps);
    if (!steps) return keel_nomem(err, "off-policy estimation");
    for (size_t i = 0; i < log->n_trajectories; ++i, first += at.length) {
        KEEL_TRY_GOTO(keel_spool_get(log->trajectories, i, &at, err), done);
        for (size_t t = 0; t < at.length; ++t)
            KEEL_TRY_GOTO(keel_spool_get(log->steps, first + t, &steps[t], err), done);
        look(&at, steps, context);
    }
done:
    keel_free(steps);
    return status;
}

/* ---- sums by conversation ---- */

/* Columns of a row: what a conversation adds to each sum. Then, for each t, those of enum by_step. Weights
 * are scaled by the largest at that t, so that products of many ratios neither overflow nor vanish together;
 * the estimates that are not self-normalised scale back. */
enum { TRAJECTORIES, WEIGHTED_RETURN, RETURN, VALUE, VALUES, OWN, OWNS, FIXED_COLUMNS };
enum by_step {
    WEIGHT,
    REWARD, /* rho_{0:t} r_t */
    MODEL,  /* rho_{0:t} q_t */
    STATE,  /* rho_{0:t-1} v_t, scaled as the weights of t - 1 */
    STEP_COLUMNS
};
enum { MOST_CELLS = 1 << 22, MOST_ASIDE = 1 << 14 };
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

static void find_largest(const trajectory *at, const keel_ope_step *steps, void *context) {
    sums *s = context;
    double weight = 0;
    for (size_t t = 0; t < s->horizon; ++t) {
        if (t < at->length) weight += steps[t].log_ratio;
        s->largest[t] = fmax(s->largest[t], weight);
    }
}

static double scaled(double log_weight, double largest) {
    return largest > -INFINITY ? exp(log_weight - largest) : 0;
}

static void add_trajectory(const trajectory *at, const keel_ope_step *steps, void *context) {
    sums *s = context;
    double *row = s->rows + at->conversation % s->n_rows * s->width;
    double log_weight = 0, before = 1, weight = 1, discount = 1, gain = 0;
    for (size_t t = 0; t < s->horizon; ++t, discount *= s->config->gamma, before = weight) {
        const keel_ope_step *step = t < at->length ? &steps[t] : NULL;
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
    row[RETURN] += gain;
    s->top = fmax(s->top, weight);
}

static void add_known(double *sum_and_count, double value) {
    if (!isfinite(value)) return;
    sum_and_count[0] += value;
    sum_and_count[1] += 1;
}

static keel_status add_values(const keel_ope_log *log, sums *s, keel_err *err) {
    for (size_t i = 0; log->values && i < keel_spool_count(log->values); ++i) {
        first_value at;
        KEEL_TRY(keel_spool_get(log->values, i, &at, err));
        double *row = s->rows + at.conversation % s->n_rows * s->width;
        add_known(row + VALUE, at.value);
        add_known(row + OWN, at.own);
    }
    return KEEL_OK;
}

static void measure(const keel_ope_log *log, sums *s) {
    s->horizon = log->longest > 1 ? log->longest : 1;
    s->n_rows = log->n_conversations > 1 ? log->n_conversations : 1;
    s->modelled = log->n_trajectories > 0 && !log->unmodelled;
    s->width = FIXED_COLUMNS + STEP_COLUMNS * s->horizon;
    if (s->n_rows > KEEL_BOOTSTRAP_ROWS) s->n_rows = KEEL_BOOTSTRAP_ROWS;
    if (s->n_rows > MOST_CELLS / s->width) s->n_rows = MOST_CELLS / s->width + 1;
    s->n_blend = s->horizon + 1 < BLENDED ? s->horizon + 1 : BLENDED;
}

static keel_status make_sums(const keel_ope_log *log, const keel_ope_config *config, sums *s, keel_err *err) {
    size_t cells;
    *s = (sums){.config = config};
    measure(log, s);
    if (!keel_size_mul(s->n_rows, s->width, &cells)) return keel_nomem(err, "off-policy estimation");
    s->rows = keel_calloc(cells, sizeof *s->rows);
    s->largest = keel_calloc(s->horizon, sizeof *s->largest);
    s->squares = keel_calloc(s->horizon, sizeof *s->squares);
    s->total = keel_calloc(s->width, sizeof *s->total);
    s->blend = keel_calloc(s->n_blend, sizeof *s->blend);
    if (!s->rows || !s->largest || !s->squares || !s->total || !s->blend)
        return keel_nomem(err, "off-policy estimation");
    for (size_t t = 0; t < s->horizon; ++t) s->largest[t] = -INFINITY;
    KEEL_TRY(visit(log, find_largest, s, err));
    KEEL_TRY(visit(log, add_trajectory, s, err));
    KEEL_TRY(add_values(log, s, err));
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
    case KEEL_OPE_SELF:
        return total[OWN] / total[OWNS];
    case KEEL_OPE_LOGGED:
        return total[RETURN] / total[TRAJECTORIES];
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
    if (!parts) return keel_nomem(err, "off-policy estimation");
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

/* The weight of each trajectory: alone, or times what it returns above the least that it could. Every
 * twentieth conversation chooses where to truncate and is not counted; of the others the moments are kept, as
 * they come (Welford 1962). */
typedef struct surplus {
    const keel_ope_config *config;
    bool alone;
    double least, *aside, cut; /* aside NULL: the others' turn */
    size_t n_aside, n;
    double mean, squares;
    size_t last; /* conversation seen last, and one more */
    bool shared; /* some conversation has several trajectories */
} surplus;

static void find_surplus(const trajectory *at, const keel_ope_step *steps, void *context) {
    enum { ASIDE = 20 };
    surplus *all = context;
    double weight = 0, gain = 0, discount = 1;
    if ((at->conversation % ASIDE == 0) != (all->aside != NULL)) return;
    all->shared = all->shared || all->last == at->conversation + 1;
    all->last = at->conversation + 1;
    for (size_t t = 0; t < at->length; ++t, discount *= all->config->gamma) {
        weight += steps[t].log_ratio;
        gain += discount * steps[t].reward;
    }
    double one = exp(weight) * (all->alone ? 1 : fmax(0, gain - all->least));
    if (all->aside) {
        if (all->n_aside < MOST_ASIDE) all->aside[all->n_aside++] = one;
        return;
    }
    double off = fmin(one, all->cut) - all->mean;
    all->mean += off / (double)++all->n;
    all->squares += off * (fmin(one, all->cut) - all->mean);
}

/* Where to truncate for `later` samples, judged on those aside. */
static keel_status find_cut(const keel_ope_log *log, surplus *all, size_t later, double delta,
                            keel_err *err) {
    all->aside = keel_calloc(MOST_ASIDE, sizeof *all->aside);
    if (!all->aside) return keel_nomem(err, "off-policy estimation");
    keel_status status = visit(log, find_surplus, all, err);
    if (status == KEEL_OK) all->cut = keel_bound_threshold(all->aside, all->n_aside, later, delta);
    keel_free(all->aside);
    all->aside = NULL;
    return status;
}

/* The bound on the mean, at one-sided confidence 1 - delta; -infinity where conversations have several
 * trajectories, which are not independent. */
static keel_status bound(const keel_ope_log *log, surplus all, double delta, double *out, keel_err *err) {
    KEEL_TRY(find_cut(log, &all, log->n_trajectories - log->n_trajectories / 20, delta, err));
    KEEL_TRY(visit(log, find_surplus, &all, err));
    const double variance = all.n > 1 ? all.squares / ((double)all.n - 1) : 0;
    *out = all.shared ? -INFINITY : keel_bound_truncated(all.mean, variance, all.n, all.cut, delta);
    return KEEL_OK;
}

static double mean_weight(const sums *s) {
    return column(s, s->total, s->horizon - 1, WEIGHT) / divisor(s, s->total, s->horizon - 1, false);
}

/* Weights have mean 1, unless propensities are a model's. Two tests at .0005 each: the bound on their mean,
 * and Markov's inequality, P(mean >= 2000) <= 1 / 2000, which few weights and dependent ones do not weaken.
 */
static keel_status refute(const keel_ope_log *log, const sums *s, keel_ope *out, keel_err *err) {
    double weights = -INFINITY;
    if (!log->n_trajectories || log->estimated) return KEEL_OK;
    KEEL_TRY(bound(log, (surplus){.config = s->config, .alone = true}, 0.0005, &weights, err));
    out->propensities_refuted = weights > 1 || out->mean_weight >= 2000;
    return KEEL_OK;
}

/* A guarantee on IS, since every weight has mean 1: E[rho G] = least + E[rho (G - least)]. */
static keel_status find_lower(const keel_ope_log *log, const sums *s, keel_ope *out, keel_err *err) {
    const double delta = s->config->confidence > 0.95 ? 1 - s->config->confidence : 0.05;
    double least = 0, above, discount = 1;
    if (!log->n_trajectories || log->estimated || out->propensities_refuted ||
        !isfinite(s->config->reward_low))
        return KEEL_OK;
    for (size_t t = 0; t < s->horizon; ++t, discount *= s->config->gamma)
        least += discount * s->config->reward_low;
    if (least > 0) least = 0; /* an ended trajectory pays nothing */
    KEEL_TRY(bound(log, (surplus){.config = s->config, .least = least}, delta, &above, err));
    out->lower = above > 0 ? least + above : -INFINITY;
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
    if (log->n_steps) out->support = log->probability / (double)log->n_steps;
    out->headline = out->ess >= 30 && !out->propensities_refuted;
}

/* Conversations drawn again show how far the estimates of one model vary, but not how far models do. DR and
 * WDR need no right model: what rests on the model must not seem surer than they are. */
static void widen(keel_interval *estimate, keel_ope_estimator which, keel_ope_estimator to) {
    if (!(estimate[which].n > 0) || !(estimate[to].n > 0)) return;
    estimate[which].low = fmin(estimate[which].low, estimate[to].low);
    estimate[which].high = fmax(estimate[which].high, estimate[to].high);
}

static keel_status estimate_all(const keel_ope_log *log, sums *s, keel_pool *pool, keel_ope *out,
                                keel_err *err) {
    double low[KEEL_N_OPE], high[KEEL_N_OPE];
    const keel_ope_config *config = s->config;
    KEEL_TRY(find_blend(s, pool, err));
    const double confidence = config->confidence > 0 ? config->confidence : 0.95;
    const keel_bootstrap_plan plan = {config->resamples, config->seed, confidence, true};
    KEEL_TRY(
        keel_bootstrap(s->rows, s->width, s->n_rows, &plan, estimate, s, KEEL_N_OPE, pool, low, high, err));
    if (log->n_trajectories) out->mean_weight = mean_weight(s);
    KEEL_TRY(refute(log, s, out, err));
    KEEL_TRY(find_lower(log, s, out, err));
    for (size_t k = 0; k < KEEL_N_OPE; ++k) {
        double value = estimate(s, k, s->total);
        double n = k == KEEL_OPE_DM ? (double)log->n_values : (double)log->n_trajectories;
        if (k == KEEL_OPE_SELF) n = (double)log->n_own;
        if (isfinite(value) && n > 0) out->estimate[k] = (keel_interval){value, low[k], high[k], n};
    }
    widen(out->estimate, KEEL_OPE_DM, KEEL_OPE_DR);
    widen(out->estimate, KEEL_OPE_MAGIC, KEEL_OPE_WDR);
    describe(log, s, out);
    return KEEL_OK;
}

keel_status keel_ope_estimate(const keel_ope_log *log, const keel_ope_config *config, keel_pool *pool,
                              keel_ope *out, keel_err *err) {
    keel_ope made = {
        .lower = -INFINITY, .propensities_estimated = log->estimated, .propensities_unused = log->unused};
    keel_status status = KEEL_OK;
    if (log->n_trajectories || log->values) {
        sums s;
        status = make_sums(log, config, &s, err);
        if (status == KEEL_OK) status = estimate_all(log, &s, pool, &made, err);
        free_sums(&s);
    }
    if (status == KEEL_OK) *out = made;
    return status;
}
