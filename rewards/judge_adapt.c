/* A judge for one's own labels: cross-fitted verdicts, calibrated, with a threshold. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/numeric.h"
#include "rewards/judge_internal.h"

enum { MOST = KEEL_JUDGE_MAX_CLASSES, STEPS = 50 };

#define LEAST_SLOPE 0.05 /* of a judge that knows nothing of the labels */

/* Examples with their verdicts: by the kind, each by one that has not seen its group. */
typedef struct fitting {
    const keel_judge_kind *kind;
    const keel_judge *from;
    const keel_judge_example *examples;
    const keel_judge_adaptation *how;
    size_t count;
    size_t *fold;
    keel_judge_verdict *verdicts;
    keel_judge_held_out *held_out;
} fitting;

/* ---- calibration: the slope that makes the labels likeliest. The loss is convex in it, so damped Newton
 * steps find it; a weak prior at 1 keeps few examples in check. Shifts of classes are not fitted
 * (docs/design.md) ---- */

static const double prior = 1; /* the weight of half the squared distance from 1 */

/* Which examples count: those judged, but for a fold (SIZE_MAX: all). */
static bool counts(const fitting *f, size_t i, size_t without) {
    return f->verdicts[i].label != KEEL_UNJUDGED && f->fold[i] != without;
}

/* The loss of one example at a slope; adds to its derivatives. */
static double add_example(const float *p, int label, size_t k, double slope, double *first, double *second) {
    double x[MOST] = {0}, q[MOST], sum = 0, mean = 0;
    for (size_t i = 0; i < k; i++) {
        x[i] = log(fmax((double)p[i], KEEL_JUDGE_LEAST_P));
        sum += q[i] = exp(slope * x[i]);
    }
    for (size_t i = 0; i < k; i++) mean += q[i] / sum * x[i];
    for (size_t i = 0; i < k; i++) *second += q[i] / sum * (x[i] - mean) * (x[i] - mean);
    *first += mean - x[label];
    return log(sum) - slope * x[label];
}

static double loss_at(const fitting *f, size_t without, double slope, double *first, double *second) {
    double loss = 0.5 * prior * (slope - 1) * (slope - 1);
    *first = prior * (slope - 1);
    *second = prior;
    for (size_t i = 0; i < f->count; i++)
        if (counts(f, i, without))
            loss +=
                add_example(f->verdicts[i].p, f->examples[i].label, f->kind->n_classes, slope, first, second);
    return loss;
}

static double find_slope(const fitting *f, size_t without) {
    double slope = 1, first, second, next_first, next_second;
    double loss = loss_at(f, without, slope, &first, &second);
    for (int step = 0; step < STEPS && fabs(first / second) > 1e-9; step++) {
        double length = 1, trial = INFINITY, next = slope;
        for (int tries = 0; tries < STEPS && !(trial <= loss); tries++, length *= 0.5) {
            next = fmax(LEAST_SLOPE, slope - length * first / second);
            trial = loss_at(f, without, next, &next_first, &next_second);
        }
        if (!(trial <= loss) || next == slope) break;
        slope = next, loss = trial, first = next_first, second = next_second;
    }
    return slope;
}

/* ---- the threshold ---- */

typedef struct graded {
    double confidence;
    bool wrong;
} graded;

static int by_confidence(const void *a, const void *b) {
    const graded *x = a, *y = b;
    return (x->confidence < y->confidence) - (x->confidence > y->confidence);
}

/* The lowest confidence down to which the share of wrong verdicts is within the error; 2 where there is none.
 */
static keel_status find_least(const fitting *f, size_t without, keel_judge_calibration *calibration,
                              keel_err *err) {
    const size_t k = f->kind->n_classes;
    graded *all = keel_calloc(f->count, sizeof *all);
    size_t n = 0, wrong = 0;
    if (!all) return keel_nomem(err, "threshold of a judge");
    for (size_t i = 0; i < f->count; i++) {
        float q[MOST];
        if (!counts(f, i, without)) continue;
        memcpy(q, f->verdicts[i].p, sizeof q);
        keel__judge_calibrate(calibration, k, q);
        const bool any = keel__judge_label(calibration, k, q) > 0;
        all[n++] = (graded){fmax((double)q[0], 1 - (double)q[0]), any != (f->examples[i].label > 0)};
    }
    if (n) qsort(all, n, sizeof *all, by_confidence);
    double least = 2;
    for (size_t i = 0; i < n; i++) {
        wrong += all[i].wrong;
        const bool last = i + 1 == n || all[i + 1].confidence < all[i].confidence;
        if (last && (double)wrong <= f->how->error * (double)(i + 1)) least = all[i].confidence;
    }
    keel_free(all);
    calibration->least = least;
    return KEEL_OK;
}

static keel_status find_calibration(const fitting *f, size_t without, keel_judge_calibration *out,
                                    keel_err *err) {
    *out = (keel_judge_calibration){.slope = find_slope(f, without)};
    return f->how->error > 0 ? find_least(f, without, out, err) : KEEL_OK;
}

/* ---- verdicts that the judge keeps ---- */

static int by_response(const void *a, const void *b) {
    const keel_judge_held_out *x = a, *y = b;
    return x->response != y->response ? (x->response < y->response ? -1 : 1) : 0;
}

/* Of the examples of one fold, by the calibration of the others. */
static keel_status hold_out(const fitting *f, size_t fold, keel_err *err) {
    const size_t k = f->kind->n_classes;
    keel_judge_calibration calibration;
    KEEL_TRY(find_calibration(f, fold, &calibration, err));
    for (size_t i = 0; i < f->count; i++) {
        keel_judge_held_out *one = &f->held_out[i];
        if (f->fold[i] != fold) continue;
        one->response = keel__judge_hash(f->examples[i].input.response);
        memcpy(one->p, f->verdicts[i].p, sizeof one->p);
        keel__judge_calibrate(&calibration, k, one->p);
        one->label = f->verdicts[i].label;
        if (one->label != KEEL_UNJUDGED) one->label = keel__judge_label(&calibration, k, one->p);
    }
    return KEEL_OK;
}

/* Those that `from` has are kept too: it learned from them. The first of several with one text stays. */
static keel_status keep(const fitting *f, keel_judge *judge, keel_err *err) {
    const size_t before = f->from ? f->from->n_held_out : 0;
    keel_judge_held_out *all = keel_calloc(before + f->count, sizeof *all);
    size_t n = 0;
    if (!all) return keel_nomem(err, "a judge");
    if (before) memcpy(all, f->from->held_out, before * sizeof *all);
    n = before;
    for (size_t i = 0; i < f->count; i++)
        if (!f->from || !keel__judge_find_held_out(f->from, f->held_out[i].response))
            all[n++] = f->held_out[i];
    if (n) qsort(all, n, sizeof *all, by_response);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || all[kept - 1].response != all[i].response) all[kept++] = all[i];
    judge->held_out = all;
    judge->n_held_out = kept;
    return KEEL_OK;
}

/* ---- the whole ---- */

/* What `from` learned from is judged as it was when it was held out there. */
static void recall(const fitting *f) {
    for (size_t i = 0; f->from && i < f->count; i++) {
        const keel_judge_held_out *held_out =
            keel__judge_find_held_out(f->from, keel__judge_hash(f->examples[i].input.response));
        if (!held_out) continue;
        memcpy(f->verdicts[i].p, held_out->p, sizeof held_out->p);
        f->verdicts[i].label = held_out->label;
    }
}

static keel_status adapt(keel_judge **out, const fitting *f, keel_err *err) {
    const bool continued = f->from && f->kind->adapt;
    keel_judge *judge;
    if (continued)
        KEEL_TRY(f->kind->adapt(&judge, f->from, f->examples, f->count, err));
    else
        KEEL_TRY(f->kind->fit(&judge, f->examples, f->count, err));
    judge->kind = f->kind;
    *out = judge;
    if (!judge->learned)
        return keel_fail(err, KEEL_E_INVALID, f->kind->name, "%zu labels are too few to learn from",
                         f->count);
    KEEL_TRY(keel__judge_folds(f->examples, f->count, f->how->folds, f->fold, err));
    KEEL_TRY(keel__judge_cross_validate(f->kind, f->from, f->examples, f->count, f->how->folds, f->fold,
                                        f->verdicts, err));
    recall(f);
    KEEL_TRY(find_calibration(f, SIZE_MAX, &judge->calibration, err));
    if (judge->calibration.least > 1)
        return keel_fail(err, KEEL_E_INVALID, f->kind->name,
                         "no threshold leaves a share of %g or less of the verdicts wrong", f->how->error);
    judge->calibrated = true;
    for (size_t fold = 0; fold < f->how->folds; fold++) KEEL_TRY(hold_out(f, fold, err));
    KEEL_TRY(keep(f, judge, err));
    keel__judge_name(judge);
    return KEEL_OK;
}

keel_status keel_judge_adapt(keel_judge **out, const keel_judge_kind *kind, const keel_judge *from,
                             const keel_judge_example *examples, size_t count,
                             const keel_judge_adaptation *how, keel_err *err) {
    fitting f = {.kind = kind, .from = from, .examples = examples, .how = how, .count = count};
    keel_judge *judge = NULL;
    f.fold = keel_calloc(count + 1, sizeof *f.fold);
    f.verdicts = keel_calloc(count + 1, sizeof *f.verdicts);
    f.held_out = keel_calloc(count + 1, sizeof *f.held_out);
    keel_status status = f.fold && f.verdicts && f.held_out ? KEEL_OK : keel_nomem(err, "a judge");
    if (status == KEEL_OK) status = adapt(&judge, &f, err);
    keel_free(f.held_out);
    keel_free(f.verdicts);
    keel_free(f.fold);
    if (status == KEEL_OK)
        *out = judge;
    else
        keel_judge_free(judge);
    return status;
}
