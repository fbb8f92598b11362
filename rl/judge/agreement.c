#include "rl/judge/agreement.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/interrupt.h"
#include "core/numeric.h"
#include "core/pcg.h"
#include "rl/judge/bootstrap.h"
#include "rl/judge/metric_sums.h"

/* Columns of a row: the table of all classes [label, verdict], then of each source [label, verdict] of the
 * first class against the others. The last verdict: unjudged. */
enum {
    MOST = KEEL_JUDGE_MAX_CLASSES + 1,
    ALL = MOST * MOST,
    ANY = 3,
    OF_SOURCE = ANY * ANY,
    SOURCES = KEEL_AGREEMENT_SOURCES,
    WIDTH = ALL + SOURCES * OF_SOURCE,
    ROWS = 1024, /* group i adds to row i modulo this */
    STATISTICS = 5 + SOURCES
};
/* Statistics. Kappas twice: as drawn, for the upper bound, and with mistakes that were not seen, for the
 * lower. */
enum { ANY_KAPPA, KAPPA, WORSE_ANY_KAPPA, WORSE_KAPPA, BIAS, SOURCE_BIAS };

typedef struct measuring {
    const keel_agreement_item *items;
    size_t count, resamples;
    uint64_t seed;
    size_t *order;  /* [count] items by group */
    size_t *source; /* [count] */
    size_t n_rows;
    float *rows;    /* [n_rows, WIDTH] */
    double *values; /* [STATISTICS, resamples] */
    keel_arena arena;
    keel_agreement out;
} measuring;

static bool judged(const keel_agreement_item *item) {
    return item->verdict.label != KEEL_UNJUDGED;
}

static int any_verdict(const keel_agreement_item *item) {
    return judged(item) ? item->verdict.label > 0 : ANY - 1;
}

/* ---- sources ---- */

typedef struct named {
    const char *name;
    size_t n;
} named;

static const char *name_of(const keel_agreement_item *item) {
    return item->source ? item->source : "(unknown)";
}

static int by_number(const void *a, const void *b) {
    const named *x = a, *y = b;
    return x->n != y->n ? (x->n < y->n ? 1 : -1) : strcmp(x->name, y->name);
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const named *)a)->name, ((const named *)b)->name);
}

static size_t find_name(const named *names, size_t n, const char *name) {
    size_t at = 0;
    while (at < n && strcmp(names[at].name, name) != 0) at++;
    return at;
}

/* The sources with most items, by name, and "others" behind them where there are more. */
static keel_status number_sources(measuring *m, keel_err *err) {
    named *names = NULL;
    size_t n = 0, capacity = 0;
    for (size_t i = 0; i < m->count; i++) {
        const size_t at = find_name(names, n, name_of(&m->items[i]));
        if (at == n) {
            if (!keel_arena_grow(&m->arena, &names, n, &capacity, sizeof *names))
                return keel_nomem(err, "agreement");
            names[n++] = (named){name_of(&m->items[i]), 0};
        }
        names[at].n++;
    }
    if (n) qsort(names, n, sizeof *names, by_number);
    const size_t own = n <= SOURCES ? n : SOURCES - 1;
    if (own) qsort(names, own, sizeof *names, by_name);
    m->out.n_sources = n <= SOURCES ? n : SOURCES;
    for (size_t s = 0; s < own; s++) m->out.sources[s].name = names[s].name;
    if (own < n) m->out.sources[own].name = "others";
    for (size_t i = 0; i < m->count; i++) m->source[i] = find_name(names, own, name_of(&m->items[i]));
    return KEEL_OK;
}

/* ---- rows ---- */

typedef struct place {
    uint64_t group;
    size_t item;
} place;

static int by_group(const void *a, const void *b) {
    const place *x = a, *y = b;
    if (x->group != y->group) return x->group < y->group ? -1 : 1;
    return (x->item > y->item) - (x->item < y->item);
}

static keel_status order_items(measuring *m, keel_err *err) {
    place *places = keel_arena_alloc(&m->arena, (m->count + 1) * sizeof *places);
    if (!places) return keel_nomem(err, "agreement");
    for (size_t i = 0; i < m->count; i++) places[i] = (place){m->items[i].group, i};
    if (m->count) qsort(places, m->count, sizeof *places, by_group);
    for (size_t i = 0; i < m->count; i++) m->order[i] = places[i].item;
    return KEEL_OK;
}

static bool same_group(const measuring *m, size_t place_a, size_t place_b) {
    return m->items[m->order[place_a]].group == m->items[m->order[place_b]].group;
}

static void count_items(measuring *m) {
    size_t group = 0;
    for (size_t i = 0; i < m->count; i++) {
        const size_t at = m->order[i];
        const keel_agreement_item *item = &m->items[at];
        keel_agreement_source *source = &m->out.sources[m->source[at]];
        if (i > 0 && !same_group(m, i - 1, i)) group++;
        float *row = m->rows + group % ROWS * WIDTH;
        if (group % ROWS >= m->n_rows) m->n_rows = group % ROWS + 1;
        row[item->label * MOST + (judged(item) ? item->verdict.label : MOST - 1)] += 1;
        row[ALL + m->source[at] * OF_SOURCE + (size_t)((item->label > 0) * ANY + any_verdict(item))] += 1;
        source->n++;
        source->unjudged += !judged(item);
        m->out.unjudged += !judged(item);
    }
    m->out.n = m->count;
}

/* ---- kappa and bias, of all or of a resample ---- */

/* NaN where nothing is judged. */
static double bias_of(const double *table, keel_rng *rng) {
    const double false_hits = table[1] + keel_bootstrap_unseen(rng),
                 missed = table[ANY] + keel_bootstrap_unseen(rng);
    const double n = table[0] + false_hits + missed + table[ANY + 1];
    return n > 0 ? (false_hits - missed) / n : NAN;
}

static void statistics_of(const measuring *m, const double *total, keel_rng *rng, double *out) {
    double any[OF_SOURCE] = {0}, all[ALL];
    for (size_t s = 0; s < m->out.n_sources; s++)
        for (size_t i = 0; i < OF_SOURCE; i++) any[i] += total[ALL + s * OF_SOURCE + i];
    out[BIAS] = bias_of(any, rng);
    out[ANY_KAPPA] = keel_judge_kappa(any, ANY);
    any[1] += keel_bootstrap_unseen(rng);
    any[ANY] += keel_bootstrap_unseen(rng);
    out[WORSE_ANY_KAPPA] = keel_judge_kappa(any, ANY);
    memcpy(all, total, sizeof all);
    out[KAPPA] = keel_judge_kappa(all, MOST);
    all[1] += keel_bootstrap_unseen(rng);
    all[MOST] += keel_bootstrap_unseen(rng);
    out[WORSE_KAPPA] = keel_judge_kappa(all, MOST);
    for (size_t s = 0; s < m->out.n_sources; s++)
        out[SOURCE_BIAS + s] = bias_of(total + ALL + s * OF_SOURCE, rng);
}

/* ---- the bootstrap ---- */

static void draw(const measuring *m, keel_rng *rng, double *total) {
    memset(total, 0, WIDTH * sizeof *total);
    const size_t width = ALL + m->out.n_sources * OF_SOURCE;
    for (size_t i = 0; i < m->n_rows; i++) {
        const float *row = m->rows + keel_rng_below(rng, m->n_rows) * WIDTH;
        for (size_t c = 0; c < width; c++) total[c] += (double)row[c];
    }
}

static keel_status resample(measuring *m, keel_err *err) {
    double total[WIDTH], found[STATISTICS];
    const size_t n = SOURCE_BIAS + m->out.n_sources;
    for (size_t r = 0; r < m->resamples; r++) {
        keel_rng rng = keel_rng_stream(m->seed, KEEL_STREAM_AGREEMENT, r);
        if (keel_interrupted())
            return keel_fail(err, KEEL_E_INTERRUPTED, "agreement", "stopped; nothing was changed");
        draw(m, &rng, total);
        statistics_of(m, total, &rng, found);
        for (size_t s = 0; s < n; s++) m->values[s * m->resamples + r] = found[s];
    }
    return KEEL_OK;
}

static keel_interval interval_of(const measuring *m, size_t statistic, double value, double n) {
    double *values = m->values + statistic * m->resamples;
    size_t kept = 0;
    for (size_t r = 0; r < m->resamples; r++)
        if (!isnan(values[r])) values[kept++] = values[r];
    if (isnan(value) || !kept) return (keel_interval){0};
    qsort(values, kept, sizeof *values, keel_by_value);
    const size_t tail = (size_t)(0.025 * (double)kept);
    return (keel_interval){value, fmin(value, values[tail]), fmax(value, values[kept - 1 - tail]), n};
}

static keel_status measure_bootstrapped(measuring *m, keel_err *err) {
    double total[WIDTH] = {0}, found[STATISTICS];
    for (size_t r = 0; r < m->n_rows; r++)
        for (size_t c = 0; c < WIDTH; c++) total[c] += (double)m->rows[r * WIDTH + c];
    statistics_of(m, total, NULL, found);
    KEEL_TRY(resample(m, err));
    const double n = (double)m->count;
    m->out.any_kappa = interval_of(m, ANY_KAPPA, found[ANY_KAPPA], n);
    m->out.any_kappa.low = interval_of(m, WORSE_ANY_KAPPA, found[ANY_KAPPA], n).low;
    m->out.kappa = interval_of(m, KAPPA, found[KAPPA], n);
    m->out.kappa.low = interval_of(m, WORSE_KAPPA, found[KAPPA], n).low;
    m->out.bias = interval_of(m, BIAS, found[BIAS], n - (double)m->out.unjudged);
    for (size_t s = 0; s < m->out.n_sources; s++) {
        keel_agreement_source *source = &m->out.sources[s];
        const double *table = total + ALL + s * OF_SOURCE;
        const double judged_n = (double)(source->n - source->unjudged);
        source->human = (table[ANY] + table[ANY + 1]) / judged_n;
        source->judge = (table[1] + table[ANY + 1]) / judged_n;
        source->bias = interval_of(m, SOURCE_BIAS + s, found[SOURCE_BIAS + s], judged_n);
    }
    return KEEL_OK;
}

/* ---- shares, by groups ---- */

/* 1 a hit, 0 none, below 0: the item does not count. */
typedef int is_hit(const keel_agreement_item *item, int bin);

static int any_agrees(const keel_agreement_item *item, int bin) {
    (void)bin;
    return any_verdict(item) == (item->label > 0);
}

static int agrees(const keel_agreement_item *item, int bin) {
    (void)bin;
    return item->verdict.label == item->label;
}

static int judged_agrees(const keel_agreement_item *item, int bin) {
    return judged(item) ? any_agrees(item, bin) : -1;
}

static double any_p(const keel_agreement_item *item) {
    return fmin(1, fmax(0, 1 - (double)item->verdict.p[0]));
}

static int bin_of(const keel_agreement_item *item) {
    const int bin = (int)(any_p(item) * KEEL_AGREEMENT_BINS);
    return bin < KEEL_AGREEMENT_BINS ? bin : KEEL_AGREEMENT_BINS - 1;
}

static int in_bin(const keel_agreement_item *item, int bin) {
    return judged(item) && bin_of(item) == bin ? item->label > 0 : -1;
}

static keel_interval share_of(const measuring *m, is_hit *hit, int bin) {
    keel_rate rate = {0};
    for (size_t i = 0; i < m->count; i++) {
        const int found = hit(&m->items[m->order[i]], bin);
        if (i > 0 && !same_group(m, i - 1, i)) keel_rate_end(&rate);
        if (found >= 0) keel_rate_count(&rate, found > 0);
    }
    return keel_rate_interval(&rate, 0.95);
}

static void measure_bins(measuring *m) {
    double all = 0;
    for (int b = 0; b < KEEL_AGREEMENT_BINS; b++) {
        keel_agreement_bin *bin = &m->out.bins[b];
        for (size_t i = 0; i < m->count; i++) {
            if (in_bin(&m->items[i], b) < 0) continue;
            bin->n++;
            bin->mean_p += any_p(&m->items[i]);
        }
        if (!bin->n) continue;
        bin->mean_p /= (double)bin->n;
        bin->share = share_of(m, in_bin, b);
        m->out.ece += (double)bin->n * fabs(bin->share.value - bin->mean_p);
        all += (double)bin->n;
    }
    m->out.ece = all > 0 ? m->out.ece / all : 0;
}

keel_status keel_agreement_measure(const keel_agreement_item *items, size_t count, size_t resamples,
                                   uint64_t seed, keel_agreement *out, keel_err *err) {
    measuring m = {.items = items, .count = count, .resamples = resamples, .seed = seed};
    keel_status status;
    *out = (keel_agreement){0};
    if (!count) return KEEL_OK;
    m.order = keel_arena_calloc(&m.arena, count, sizeof *m.order);
    m.source = keel_arena_calloc(&m.arena, count, sizeof *m.source);
    m.rows = keel_arena_calloc(&m.arena, (size_t)ROWS * WIDTH, sizeof *m.rows);
    m.values = keel_arena_calloc(&m.arena, STATISTICS * resamples, sizeof *m.values);
    status = m.order && m.source && m.rows && m.values ? KEEL_OK : keel_nomem(err, "agreement");
    if (status == KEEL_OK) status = number_sources(&m, err);
    if (status == KEEL_OK) status = order_items(&m, err);
    if (status == KEEL_OK) {
        count_items(&m);
        status = measure_bootstrapped(&m, err);
    }
    if (status == KEEL_OK) {
        m.out.any_accuracy = share_of(&m, any_agrees, 0);
        m.out.accuracy = share_of(&m, agrees, 0);
        m.out.judged_accuracy = share_of(&m, judged_agrees, 0);
        measure_bins(&m);
        *out = m.out;
    }
    keel_arena_free(&m.arena);
    return status;
}
