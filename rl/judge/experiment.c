#include "rl/judge/experiment.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/decimal.h"
#include "core/hash.h"
#include "rl/judge/sequential.h"

#define NAME_OF(id, name, direction)      #name,
#define DIRECTION_OF(id, name, direction) direction,
#define AFTER_COMMA(id, name, direction)  ", " #name
const char *const keel_experiment_metrics[KEEL_EXPERIMENT_N] = {KEEL_EXPERIMENT_METRICS(NAME_OF)};
const int keel_experiment_directions[KEEL_EXPERIMENT_N] = {KEEL_EXPERIMENT_METRICS(DIRECTION_OF)};

/* ---- units ---- */

/* A unit in a cell, and the next one of its cell and arm that a metric has a value of. */
typedef struct unit {
    uint64_t name;
    uint32_t cell, arm;
    double sum[KEEL_EXPERIMENT_N];
    uint32_t n[KEEL_EXPERIMENT_N];
    struct unit *next[KEEL_EXPERIMENT_N];
} unit;

typedef struct list {
    unit *first, *last;
} list;

typedef struct error_of_unit {
    uint64_t unit;
    double error;
} error_of_unit;

typedef struct analysis {
    const keel_experiment_config *config;
    keel_experiment *out;
    size_t mask;
    unit **table; /* [mask + 1] */
    list *lists;  /* [cells, metrics, arms] */
    size_t n_units;
    error_of_unit *errors; /* [n_units], of a total */
    keel_arena *arena;
} analysis;

static list *list_of(const analysis *a, size_t cell, size_t metric, size_t arm) {
    return &a->lists[(cell * KEEL_EXPERIMENT_N + metric) * a->config->arms + arm];
}

/* The unit in its cell, which is made if it is new; NULL: no memory. */
static unit *unit_of(analysis *a, const keel_observation *o, bool *new) {
    size_t at = keel_hash64_mix(o->unit, o->cell) & a->mask;
    while (a->table[at] && (a->table[at]->name != o->unit || a->table[at]->cell != o->cell))
        at = (at + 1) & a->mask;
    *new = !a->table[at];
    if (*new) a->table[at] = keel_arena_calloc(a->arena, 1, sizeof *a->table[at]);
    unit *one = a->table[at];
    if (one && *new) one->name = o->unit, one->cell = o->cell, one->arm = o->arm, a->n_units++;
    return one;
}

static void add_value(analysis *a, unit *one, size_t metric, double value) {
    if (one->n[metric]++ == 0) {
        list *all = list_of(a, one->cell, metric, one->arm);
        *(all->last ? &all->last->next[metric] : &all->first) = one;
        all->last = one;
    }
    one->sum[metric] += value;
}

static keel_status add(analysis *a, const keel_observation *o, keel_err *err) {
    bool new;
    keel_experiment_cell *cell = &a->out->cells[o->cell];
    unit *one = unit_of(a, o, &new);
    if (!one) return keel_nomem(err, "experiment");
    if (new) {
        cell->units[o->arm]++;
        for (size_t i = 0; i < a->config->arms; i++) cell->expected[i] += o->shares[i];
    }
    if (one->arm != o->arm) {
        cell->switched++;
        return KEEL_OK;
    }
    for (size_t m = 0; m < KEEL_EXPERIMENT_N; m++) {
        const bool applies = o->applies >> m & 1, known = applies && o->known >> m & 1;
        cell->mean[m][o->arm].asked += applies;
        cell->mean[m][o->arm].unjudged += applies && !known;
        if (known) add_value(a, one, m, (double)o->value[m]);
    }
    return KEEL_OK;
}

/* ---- one arm ---- */

static double value_of(const unit *one, size_t metric) {
    return one->sum[metric] / one->n[metric];
}

static void measure(const analysis *a, size_t cell, size_t metric, size_t arm) {
    keel_arm_mean *out = &a->out->cells[cell].mean[metric][arm];
    keel_bernstein_pair limits;
    double squares = 0;
    keel_bernstein_pair_begin(&limits, a->config->alpha);
    for (const unit *one = list_of(a, cell, metric, arm)->first; one; one = one->next[metric]) {
        const double x = value_of(one, metric), from = x - out->mean;
        out->mean += from / ++out->units;
        squares += from * (x - out->mean);
        keel_bernstein_pair_add(&limits, x);
    }
    out->variance = out->units > 1 ? squares / (out->units - 1) : 0;
    keel_bernstein_pair_interval(&limits, &out->low, &out->high);
}

/* ---- a comparison ---- */

static keel_paired pair_up(const analysis *a, size_t cell, size_t metric, size_t arm) {
    const unit *one = list_of(a, cell, metric, arm)->first, *other = list_of(a, cell, metric, 0)->first;
    keel_paired pairs;
    keel_paired_begin(&pairs);
    for (; one && other; one = one->next[metric], other = other->next[metric])
        keel_paired_add(&pairs, value_of(one, metric), value_of(other, metric),
                        a->config->tau * a->config->tau);
    return pairs;
}

/* The limits of one arm at half the level each, joined. */
static void join(const analysis *a, size_t cell, size_t metric, size_t arm, double *low, double *high) {
    double limit[2][2];
    for (size_t side = 0; side < 2; side++) {
        keel_bernstein_pair limits;
        keel_bernstein_pair_begin(&limits, a->config->alpha / 2);
        const unit *one = list_of(a, cell, metric, side ? arm : 0)->first;
        for (; one; one = one->next[metric]) keel_bernstein_pair_add(&limits, value_of(one, metric));
        keel_bernstein_pair_interval(&limits, &limit[side][0], &limit[side][1]);
    }
    *low = limit[1][0] - limit[0][1];
    *high = limit[1][1] - limit[0][0];
}

static void compare(const analysis *a, size_t cell, size_t metric, size_t arm) {
    static const double R = 0.1;
    const keel_arm_mean *mean = a->out->cells[cell].mean[metric];
    keel_arm_difference *out = &a->out->cells[cell].difference[metric][arm];
    const keel_paired pairs = pair_up(a, cell, metric, arm);
    const double variance = keel_paired_variance(&pairs), tau2 = a->config->tau * a->config->tau;
    *out = (keel_arm_difference){.pairs = pairs.n, .e = pairs.e, .p = pairs.p};
    out->insufficient = mean[arm].units < KEEL_EXPERIMENT_FEW || mean[0].units < KEEL_EXPERIMENT_FEW;
    if (a->config->way == KEEL_EXPERIMENT_BERNSTEIN) {
        out->difference = mean[arm].mean - mean[0].mean;
        join(a, cell, metric, arm, &out->low, &out->high);
        return;
    }
    const double half = a->config->way == KEEL_EXPERIMENT_MSPRT
                            ? keel_msprt_half_width(pairs.n, variance, tau2, a->config->alpha)
                            : keel_asymptotic_half_width(sqrt(variance), pairs.n, R, a->config->alpha);
    out->difference = pairs.mean1 - pairs.mean0;
    out->low = fmax(out->difference - half, -1);
    out->high = fmin(out->difference + half, 1);
}

/* ---- totals ---- */

static int by_unit(const void *a, const void *b) {
    const error_of_unit *one = a, *other = b;
    return one->unit != other->unit ? (one->unit > other->unit) - (one->unit < other->unit)
                                    : (one->error > other->error) - (one->error < other->error);
}

static bool counts_in_total(const keel_experiment_cell *cell, size_t metric, size_t arm) {
    return !cell->is_void && !cell->difference[metric][arm].insufficient;
}

/* The variance of the post-stratified difference, and how many units it has. Units are independent of each
 * other, but the values of one in several cells are not: its errors, w (x - mean) / n with a cell's weight w
 * and, for the control, -w, are added up before they are squared. Each side of each cell has a made-up unit
 * besides, 1/2 from its mean, so that it is never 0. */
static double spread_of(const analysis *a, size_t metric, size_t arm, double all, double *units) {
    double variance = 0;
    size_t n = 0;
    for (size_t c = 0; c < a->out->n_cells; c++) {
        const keel_experiment_cell *cell = &a->out->cells[c];
        if (!counts_in_total(cell, metric, arm)) continue;
        const keel_arm_mean *mean = cell->mean[metric];
        const double weight = (mean[arm].units + mean[0].units) / all;
        for (size_t side = 0; side <= arm; side += arm) {
            const double each = (side ? weight : -weight) / mean[side].units;
            variance += 0.25 * each * each;
            for (const unit *one = list_of(a, c, metric, side)->first; one; one = one->next[metric])
                a->errors[n++] = (error_of_unit){one->name, each * (value_of(one, metric) - mean[side].mean)};
        }
    }
    qsort(a->errors, n, sizeof *a->errors, by_unit);
    *units = 0;
    for (size_t i = 0; i < n; ++*units) {
        double error = 0;
        for (const uint64_t name = a->errors[i].unit; i < n && a->errors[i].unit == name; i++)
            error += a->errors[i].error;
        variance += error * error;
    }
    return variance;
}

static keel_status add_total(const analysis *a, size_t metric, size_t arm, keel_err *err) {
    static const double R = 0.1;
    keel_experiment_total *out = &a->out->total[metric][arm];
    keel_stratum *all = keel_arena_calloc(a->arena, 2 * a->out->n_cells + 1, sizeof *all);
    keel_stratum *large = all ? all + a->out->n_cells : NULL;
    size_t n = 0, n_large = 0;
    double variance, units, half = INFINITY;
    if (!all) return keel_nomem(err, "experiment");
    for (size_t c = 0; c < a->out->n_cells; c++) {
        const keel_experiment_cell *cell = &a->out->cells[c];
        const keel_arm_mean *t = &cell->mean[metric][arm], *k = &cell->mean[metric][0];
        if (cell->is_void) continue;
        all[n++] = (keel_stratum){t->units, k->units, t->mean, k->mean, t->variance, k->variance};
        if (!counts_in_total(cell, metric, arm)) continue;
        large[n_large++] = all[n - 1];
        out->units += t->units + k->units;
    }
    out->known = keel_post_stratified(large, n_large, &out->difference, &variance);
    if (out->known) {
        variance = spread_of(a, metric, arm, out->units, &units);
        half = keel_asymptotic_half_width(sqrt(variance * units / 2), units / 2, R, a->config->alpha);
    }
    out->deviation = sqrt(variance);
    out->low = fmax(out->difference - half, -1);
    out->high = fmin(out->difference + half, 1);
    out->sparse_known = keel_mantel_haenszel(all, n, &out->sparse, &variance);
    out->sparse_deviation = sqrt(variance);
    return KEEL_OK;
}

/* ---- multiplicity ---- */

static keel_status settle(const analysis *a, keel_err *err) {
    const size_t most = a->out->n_cells * KEEL_EXPERIMENT_N * a->config->arms;
    keel_arm_difference **of = keel_arena_calloc(a->arena, most + 1, sizeof(void *));
    double *value = keel_arena_calloc(a->arena, most + 1, sizeof *value);
    bool *rejected = keel_arena_calloc(a->arena, most + 1, sizeof *rejected);
    size_t n = 0;
    if (!of || !value || !rejected) return keel_nomem(err, "experiment");
    for (size_t c = 0; c < a->out->n_cells; c++)
        for (size_t m = 0; m < KEEL_EXPERIMENT_N && !a->out->cells[c].is_void; m++)
            for (size_t arm = 1; arm < a->config->arms; arm++) {
                keel_arm_difference *d = &a->out->cells[c].difference[m][arm];
                if (d->insufficient) continue;
                value[n] = a->config->independent ? d->p : d->e;
                of[n++] = d;
            }
    (a->config->independent ? keel_benjamini_hochberg : keel_e_benjamini_hochberg)(value, n, a->config->alpha,
                                                                                   rejected);
    for (size_t i = 0; i < n; i++) of[i]->rejected = rejected[i];
    a->out->comparisons = n;
    return KEEL_OK;
}

/* ---- the whole ---- */

static keel_status collect(analysis *a, const keel_observation *observations, size_t n, size_t n_cells,
                           keel_err *err) {
    for (a->mask = 15; a->mask < 2 * n; a->mask = 2 * a->mask + 1) {}
    a->table = keel_arena_calloc(a->arena, a->mask + 1, sizeof(void *));
    a->lists =
        keel_arena_calloc(a->arena, n_cells * KEEL_EXPERIMENT_N * a->config->arms + 1, sizeof *a->lists);
    a->out->cells = keel_arena_calloc(a->arena, n_cells + 1, sizeof *a->out->cells);
    if (!a->table || !a->lists || !a->out->cells) return keel_nomem(err, "experiment");
    a->out->n_cells = n_cells;
    for (size_t i = 0; i < n; i++) {
        if (observations[i].arm >= a->config->arms || observations[i].cell >= n_cells)
            return keel_fail(err, KEEL_E_INVALID, "experiment", "an observation of no arm or cell");
        KEEL_TRY(add(a, &observations[i], err));
    }
    a->errors = keel_arena_calloc(a->arena, a->n_units + 1, sizeof *a->errors);
    return a->errors ? KEEL_OK : keel_nomem(err, "experiment");
}

static void finish_cell(const analysis *a, size_t c) {
    keel_experiment_cell *cell = &a->out->cells[c];
    cell->ratio_p = keel_sample_ratio(cell->units, cell->expected, a->config->arms);
    cell->is_void = cell->ratio_p < KEEL_EXPERIMENT_VOID;
    for (size_t m = 0; m < KEEL_EXPERIMENT_N; m++) {
        for (size_t arm = 0; arm < a->config->arms; arm++) measure(a, c, m, arm);
        for (size_t arm = 1; arm < a->config->arms; arm++) compare(a, c, m, arm);
    }
}

keel_status keel_experiment_analyse(const keel_experiment_config *config,
                                    const keel_observation *observations, size_t n, size_t n_cells,
                                    keel_arena *arena, keel_experiment *out, keel_err *err) {
    analysis a = {.config = config, .out = out, .arena = arena};
    *out = (keel_experiment){0};
    if (config->arms == 0 || config->arms > KEEL_EXPERIMENT_ARMS)
        return keel_fail(err, KEEL_E_INVALID, "experiment", "expected 1 to %d arms", KEEL_EXPERIMENT_ARMS);
    KEEL_TRY(collect(&a, observations, n, n_cells, err));
    for (size_t c = 0; c < n_cells; c++) finish_cell(&a, c);
    for (size_t m = 0; m < KEEL_EXPERIMENT_N; m++)
        for (size_t arm = 1; arm < config->arms; arm++) KEEL_TRY(add_total(&a, m, arm, err));
    return settle(&a, err);
}

/* ---- guardrails ---- */

static bool take_word(const char **at, const char *word) {
    while (**at == ' ') ++*at;
    const size_t length = strlen(word);
    if (strncmp(*at, word, length) != 0) return false;
    *at += length;
    return true;
}

static bool take_number(const char **at, double *out) {
    char *end;
    while (**at == ' ') ++*at;
    *out = keel_decimal_read(*at, &end);
    const bool any = end != *at && isfinite(*out);
    *at = end;
    while (**at == ' ') ++*at;
    return any && !**at;
}

/* What follows the metric and its comparison. */
static bool parse_bound(const char *at, keel_guard *out) {
    out->of_control = take_word(&at, "control");
    while (*at == ' ') at++;
    if (out->of_control && !*at) return true; /* a margin of 0 */
    if (out->of_control && !take_word(&at, out->at_least ? "-" : "+")) return false;
    return take_number(&at, &out->bound) && out->bound >= 0 && out->bound <= 1;
}

keel_status keel_guard_parse(const char *text, keel_guard *out, keel_err *err) {
    const char *at = text;
    *out = (keel_guard){.metric = -1};
    for (int m = 0; m < KEEL_EXPERIMENT_N && out->metric < 0; m++)
        if (take_word(&at, keel_experiment_metrics[m])) out->metric = m;
    out->at_least = out->metric >= 0 && take_word(&at, ">=");
    const bool compared = out->metric >= 0 && (out->at_least || take_word(&at, "<="));
    if (compared && parse_bound(at, out)) return KEEL_OK;
    keel_fail(err, KEEL_E_USAGE, "--guard", "\"%s\" is no guardrail", text);
    return keel_hint(err,
                     "as in \"refusal_rate >= control - 0.05\" or \"over_refusal_rate <= 0.1\"; metrics: %s",
                     &KEEL_EXPERIMENT_METRICS(AFTER_COMMA)[2]);
}

/* The one-sided limit of an arm's mean that fails with probability a: from above or from below. */
static double limit_of(const analysis *all, size_t metric, size_t arm, bool upper, double a) {
    keel_bernstein limit;
    keel_bernstein_begin(&limit, a);
    for (const unit *one = list_of(all, 0, metric, arm)->first; one; one = one->next[metric])
        keel_bernstein_add(&limit, upper ? 1 - value_of(one, metric) : value_of(one, metric));
    return upper ? 1 - keel_bernstein_lower(&limit) : keel_bernstein_lower(&limit);
}

keel_status keel_guard_broken(const keel_guard *guard, const keel_observation *observations, size_t n,
                              size_t arms, size_t arm, double alpha, keel_arena *arena, bool *broken,
                              double *limit, keel_err *err) {
    const size_t m = (size_t)guard->metric;
    keel_experiment found = {0};
    const keel_experiment_config config = {.arms = arms, .alpha = alpha, .tau = 0.05};
    analysis a = {.config = &config, .out = &found, .arena = arena};
    *broken = false, *limit = NAN;
    KEEL_TRY(collect(&a, observations, n, 1, err));
    finish_cell(&a, 0);
    const keel_experiment_cell *cell = &found.cells[0];
    if (cell->is_void || cell->mean[m][arm].units < KEEL_EXPERIMENT_FEW) return KEEL_OK;
    if (guard->of_control && cell->mean[m][0].units < KEEL_EXPERIMENT_FEW) return KEEL_OK;
    const double level = guard->of_control ? alpha / 2 : alpha;
    *limit = limit_of(&a, m, arm, guard->at_least, level);
    if (guard->of_control) *limit -= limit_of(&a, m, 0, !guard->at_least, level);
    const double bound = guard->of_control && guard->at_least ? -guard->bound : guard->bound;
    *broken = guard->at_least ? *limit < bound : *limit > bound;
    return KEEL_OK;
}
