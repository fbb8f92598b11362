#include "rl/judge/overall_sums.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "rl/judge/bootstrap.h"
#include "rl/judge/bounds.h"

enum { LOW, HIGH, COUNT };

static bool is_rate(keel_overall_measure measure) {
    return measure >= KEEL_OVERALL_REFUSAL;
}

/* ---- adding ---- */

static keel_status reach(keel_overall_sums *sums, size_t row, keel_err *err) {
    const size_t had = sums->capacity;
    if (!keel_grow(&sums->rows, row + 1, &sums->capacity, sizeof *sums->rows))
        return keel_nomem(err, "evaluation");
    memset(sums->rows + had, 0, (sums->capacity - had) * sizeof *sums->rows);
    if (row >= sums->n_rows) sums->n_rows = row + 1;
    return KEEL_OK;
}

/* The ends of the way on which what one conversation adds lies: what was seen, and what one answer can be. */
static void widen_ends(keel_overall_sums *sums, keel_overall_measure m, const keel_overall_value *value) {
    double *end = sums->end[m];
    const double per = value->count > 0 ? 1 / value->count : 0;
    if (!(sums->from[m][0] + sums->from[m][1] + sums->from[m][2] > 0))
        end[0] = (double)INFINITY, end[1] = -(double)INFINITY;
    end[0] = fmin(end[0], value->end[0]);
    end[1] = fmax(end[1], value->end[1]);
    if (value->low == value->least) end[0] = fmin(end[0], value->low * per);
    if (value->high == value->most) end[1] = fmax(end[1], value->high * per);
    sums->range[m][0] = fmin(sums->range[m][0], value->part > 0 ? value->floor / value->part : 0);
    sums->range[m][1] = fmax(sums->range[m][1], value->part > 0 ? value->ceiling / value->part : 0);
}

keel_status keel_overall_sums_add(keel_overall_sums *sums, size_t number, keel_overall_measure m,
                                  const keel_overall_value *value, keel_err *err) {
    const size_t row = number % KEEL_BOOTSTRAP_ROWS;
    if (!(value->count > 0) && value->source == KEEL_OVERALL_KNOWN) return KEEL_OK;
    KEEL_TRY(reach(sums, row, err));
    sums->rows[row][m][LOW] += value->low;
    sums->rows[row][m][HIGH] += value->high;
    sums->rows[row][m][COUNT] += value->count;
    widen_ends(sums, m, value);
    keel_overall_tally *tally = &sums->tally[m][value->stratum];
    tally->n += value->part;
    tally->count += value->count;
    tally->value[LOW] += value->low;
    tally->value[HIGH] += value->high;
    tally->least += value->least;
    tally->most += value->most;
    tally->worst += value->worst;
    tally->best += value->best;
    tally->largest = fmax(tally->largest, value->largest);
    tally->longest = fmax(tally->longest, value->longest);
    sums->from[m][value->source] += value->part;
    if (value->source == KEEL_OVERALL_UNKNOWN) return KEEL_OK;
    tally->weight += value->weight;
    tally->squares += value->weight * value->weight;
    return KEEL_OK;
}

void keel_overall_sums_free(keel_overall_sums *sums) {
    keel_free(sums->rows);
    *sums = (keel_overall_sums){0};
}

/* ---- ratios ---- */

static void total_of(const keel_overall_sums *sums, keel_overall_measure m, int which, double total[2]) {
    total[0] = total[1] = 0;
    for (size_t r = 0; r < sums->n_rows; ++r) {
        total[0] += sums->rows[r][m][which];
        total[1] += sums->rows[r][m][COUNT];
    }
}

/* Sum over rows of (value - ratio count)^2, and how many rows have the measure. */
static double spread_of(const keel_overall_sums *sums, keel_overall_measure m, int which, double ratio,
                        double *rows) {
    double squares = 0;
    *rows = 0;
    for (size_t r = 0; r < sums->n_rows; ++r) {
        const double *row = sums->rows[r][m], off = row[which] - ratio * row[COUNT];
        squares += off * off;
        *rows += row[which] != 0 || row[COUNT] != 0;
    }
    return squares;
}

double keel_overall_sums_ratio(const keel_overall_sums *sums, keel_overall_measure m, int which,
                               double *standard_error) {
    double total[2], rows;
    total_of(sums, m, which, total);
    const double ratio = total[0] / total[1], squares = spread_of(sums, m, which, ratio, &rows);
    *standard_error = rows > 1 ? sqrt(rows / (rows - 1) * squares) / total[1] : (double)INFINITY;
    return ratio;
}

/* Of all strata. */
static keel_overall_tally all_of(const keel_overall_sums *sums, keel_overall_measure m) {
    keel_overall_tally all = {0};
    for (int s = 0; s < KEEL_N_OVERALL_STRATA; ++s) {
        const keel_overall_tally *one = &sums->tally[m][s];
        all.n += one->n;
        all.count += one->count;
        all.least += one->least;
        all.most += one->most;
        all.weight += one->weight;
        all.squares += one->squares;
    }
    return all;
}

/* The effective number of conversations that speak for it. */
static double evidence_of(const keel_overall_tally *tally) {
    return tally->squares > 0 ? tally->weight * tally->weight / tally->squares : 0;
}

/* ---- intervals ---- */

/* What m observations cannot exclude though none showed it: a share of 1 - delta^(1/m). */
static double unseen_share(double m, double confidence) {
    return m > 0 ? 1 - pow((1 - confidence) / 2, 1 / m) : 1;
}

/* Wilson's interval between the ends, for the effective number that the variance of the ratio gives;
 * `evidence` conversations speak for it, and two such are added. */
static keel_interval wilson_interval(const keel_overall_sums *sums, keel_overall_measure m, int which,
                                     const keel_overall_tally *all, double evidence, double confidence) {
    double total[2], rows;
    const double *end = sums->end[m], span = end[1] - end[0], n = all->n;
    total_of(sums, m, which, total);
    const double ratio = total[0] / total[1], size = total[1] / evidence;
    if (!(span > 0)) return (keel_interval){ratio, ratio, ratio, n};
    const double p = fmin(1, fmax(0, (ratio - end[0]) / span));
    const double middle = (p * evidence + 1) / (evidence + 2), centre = end[0] + middle * span;
    double squares = spread_of(sums, m, which, centre, &rows);
    squares += size * size * ((end[0] - centre) * (end[0] - centre) + (end[1] - centre) * (end[1] - centre));
    const double variance = squares / (total[1] + 2 * size) / total[1];
    const double number = middle * (1 - middle) * span * span / variance;
    const keel_interval unit = keel_wilson_at(p * number, number, confidence);
    return (keel_interval){ratio, end[0] + unit.low * span, end[0] + unit.high * span, n};
}

/* How far below the value (or above it) unseen conversations may bring it, stratum by stratum. A rate's lie
 * in 0 to 1. */
static double unseen(const keel_overall_sums *sums, keel_overall_measure m, int which,
                     const keel_overall_tally *all, double confidence, bool below) {
    double sum = 0;
    for (int s = 0; s < KEEL_N_OVERALL_STRATA; ++s) {
        const keel_overall_tally *at = &sums->tally[m][s];
        if (!(at->count > 0)) continue;
        const double value = at->value[which] / at->count, size = at->count / at->n;
        const double end = is_rate(m) ? !below : (below ? at->worst : at->best) / at->count;
        const double u = unseen_share(evidence_of(at), confidence), large = fmax(at->largest, size);
        const double share = u * large / (size * (1 - u) + u * large);
        sum += at->count / all->count * share * fmax(0, below ? value - end : end - value);
    }
    return sum;
}

/* Some estimated: the normal interval, and what is unseen. */
static keel_interval estimated_interval(const keel_overall_sums *sums, keel_overall_measure m, int which,
                                        const keel_overall_tally *all, double confidence,
                                        const double possible[2]) {
    double error;
    const double ratio = keel_overall_sums_ratio(sums, m, which, &error);
    const double value = fmin(possible[1], fmax(possible[0], ratio)); /* the interval holds both */
    const double freedom = fmax(1, fmin(all->n, evidence_of(all)) - 1);
    const double half = keel_student_quantile((1 + confidence) / 2, freedom) * error;
    return (keel_interval){
        value, fmin(value, ratio) - hypot(half, unseen(sums, m, which, all, confidence, true)),
        fmax(value, ratio) + hypot(half, unseen(sums, m, which, all, confidence, false)), all->n};
}

/* Whether enough speaks for every stratum, and none has conversations of several decisions. */
static bool is_simple(const keel_overall_sums *sums, keel_overall_measure m) {
    enum { ENOUGH = 10 };
    for (int s = 0; s < KEEL_N_OVERALL_STRATA; ++s) {
        const keel_overall_tally *at = &sums->tally[m][s];
        if (at->n > 0 && (at->longest > 1 || evidence_of(at) < ENOUGH)) return false;
    }
    return true;
}

keel_overall_result keel_overall_sums_result(const keel_overall_sums *sums, keel_overall_measure m,
                                             double confidence) {
    keel_overall_result out = {0};
    const keel_overall_tally all = all_of(sums, m);
    const double *from = sums->from[m], slack = 1e-6;
    if (!(all.n > 0) || !(all.count > 0)) return out;
    const bool simple = is_simple(sums, m);
    const bool rate = is_rate(m), known = !(from[KEEL_OVERALL_ESTIMATED] > 0);
    const double range[2] = {rate ? 0 : sums->range[m][0], rate ? 1 : sums->range[m][1]};
    const double possible[2] = {rate ? 0 : all.least / all.count, rate ? 1 : all.most / all.count};
    keel_interval side[2];
    for (int which = LOW; which <= HIGH; ++which) {
        double error;
        const double raw = keel_overall_sums_ratio(sums, m, which, &error);
        out.clipped = out.clipped || raw < possible[0] - slack || raw > possible[1] + slack;
        side[which] = known    ? wilson_interval(sums, m, which, &all, all.n, confidence)
                      : simple ? wilson_interval(sums, m, which, &all, evidence_of(&all), confidence)
                               : estimated_interval(sums, m, which, &all, confidence, possible);
    }
    for (int which = LOW; which <= HIGH; ++which)
        side[which].value = fmin(possible[1], fmax(possible[0], side[which].value));
    out.interval = (keel_interval){(side[LOW].value + side[HIGH].value) / 2, fmax(range[0], side[LOW].low),
                                   fmin(range[1], side[HIGH].high), rate ? all.count : all.n};
    for (int s = 0; s < KEEL_N_OVERALL_SOURCES; ++s) out.share[s] = from[s] / (from[0] + from[1] + from[2]);
    return out;
}

/* What one conversation can differ by between two actors. */
static double span_of(const keel_overall_sums *a, const keel_overall_sums *b, keel_overall_measure m) {
    if (is_rate(m)) return 1;
    return fmax(a->range[m][1], b->range[m][1]) - fmin(a->range[m][0], b->range[m][0]);
}

keel_interval keel_overall_sums_difference(const keel_overall_sums *a, const keel_overall_sums *b,
                                           keel_overall_measure m, double confidence) {
    const size_t rows = a->n_rows > b->n_rows ? a->n_rows : b->n_rows;
    double limit[2], middle = 0;
    const keel_overall_tally all_a = all_of(a, m), all_b = all_of(b, m);
    if (!(all_a.count > 0) || !(all_b.count > 0)) return (keel_interval){0};
    const double z = keel_normal_quantile((1 + confidence) / 2);
    for (int which = LOW; which <= HIGH; ++which) {
        double of_a[2], of_b[2], squares = 0, seen = 0;
        total_of(a, m, which, of_a);
        total_of(b, m, HIGH - which, of_b);
        const double ratio_a = of_a[0] / of_a[1], ratio_b = of_b[0] / of_b[1];
        for (size_t r = 0; r < rows; ++r) {
            const double none[3] = {0};
            const double *x = r < a->n_rows ? a->rows[r][m] : none, *y = r < b->n_rows ? b->rows[r][m] : none;
            const double off =
                (x[which] - ratio_a * x[COUNT]) / of_a[1] - (y[HIGH - which] - ratio_b * y[COUNT]) / of_b[1];
            squares += off * off;
            seen += x[COUNT] != 0 || y[COUNT] != 0;
        }
        const double error = seen > 1 ? sqrt(seen / (seen - 1) * squares) : 0;
        middle += (ratio_a - ratio_b) / 2;
        limit[which] = ratio_a - ratio_b + (which == LOW ? -1 : 1) * z * error;
    }
    const double evidence = fmin(evidence_of(&all_a), evidence_of(&all_b));
    const double more = span_of(a, b, m) * unseen_share(evidence, confidence);
    const double below = middle - limit[LOW], above = limit[HIGH] - middle;
    const keel_interval found = {middle, middle - hypot(below, more), middle + hypot(above, more),
                                 is_rate(m) ? fmin(all_a.count, all_b.count) : fmin(all_a.n, all_b.n)};
    if (!is_rate(m)) return found;
    return (keel_interval){fmin(1, fmax(-1, middle)), fmax(-1, found.low), fmin(1, found.high), found.n};
}
