/* A judge for one's own labels: cross-fitted verdicts, calibrated, with a threshold. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/numeric.h"
#include "rewards/judge_internal.h"

enum { MOST = KEEL_JUDGE_MAX_CLASSES, PARAMETERS = MOST, STEPS = 50 };

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
    size_t free; /* parameters of the calibration that are fitted */
} fitting;

/* ---- calibration: slope and shifts that make the labels likeliest. The loss is convex, so damped Newton
 * steps find it; a weak prior at "as it is" keeps few examples in check. Nothing, the slope, or slope and
 * shifts: whichever makes labels likeliest that it was not fitted to, since shifts hurt where groups differ
 * in how often they refuse ---- */

static const double prior = 1; /* the weight of half a squared distance from slope 1 and shifts 0 */

/* parameter 0 is the slope, parameter k the shift of class k; the first class has none. */
static void shape(const double *parameter, size_t k, keel_judge_calibration *out) {
    *out = (keel_judge_calibration){.slope = fmax(0.05, parameter[0])};
    for (size_t i = 1; i < k; i++) out->shift[i] = parameter[i];
}

/* Adds one example to the gradient and the Hessian [k, k] of the loss; its loss comes back. */
static double add_example(const float *p, int label, size_t k, const double *parameter, double *gradient,
                          double *hessian) {
    double x[MOST] = {0}, q[MOST], sum = 0, mean = 0;
    for (size_t i = 0; i < k; i++) {
        x[i] = log(fmax((double)p[i], KEEL_JUDGE_LEAST_P));
        q[i] = exp(parameter[0] * x[i] + (i ? parameter[i] : 0));
        sum += q[i];
    }
    for (size_t i = 0; i < k; i++) q[i] /= sum, mean += q[i] * x[i];
    gradient[0] += mean - x[label];
    for (size_t i = 0; i < k; i++) hessian[0] += q[i] * (x[i] - mean) * (x[i] - mean);
    for (size_t i = 1; i < k; i++) {
        gradient[i] += q[i] - ((int)i == label);
        hessian[i] += q[i] * (x[i] - mean);
        hessian[i * k] = hessian[i];
        for (size_t j = 1; j < k; j++) hessian[i * k + j] += (i == j ? q[i] : 0) - q[i] * q[j];
    }
    return -log(fmax(q[label], 1e-300));
}

/* Which examples count: those judged, but for a fold (SIZE_MAX: all). */
static bool counts(const fitting *f, size_t i, size_t without) {
    return f->verdicts[i].label != KEEL_UNJUDGED && f->fold[i] != without;
}

static double loss_at(const fitting *f, size_t without, const double *parameter, double *gradient,
                      double *hessian) {
    const size_t k = f->kind->n_classes;
    double loss = 0;
    memset(gradient, 0, k * sizeof *gradient);
    memset(hessian, 0, k * k * sizeof *hessian);
    for (size_t i = 0; i < f->count; i++)
        if (counts(f, i, without))
            loss += add_example(f->verdicts[i].p, f->examples[i].label, k, parameter, gradient, hessian);
    for (size_t j = 0; j < k; j++) {
        const double away = parameter[j] - (j == 0);
        loss += 0.5 * prior * away * away;
        gradient[j] += prior * away;
        hessian[j * k + j] += prior;
    }
    return loss;
}

/* x = A^-1 b of the leading n of a positive definite A [k, k], which is overwritten: Gauss without pivots. */
static void solve(double *a, double *b, size_t k, size_t n) {
    for (size_t i = 0; i < n; i++)
        for (size_t r = i + 1; r < n; r++) {
            const double by = a[r * k + i] / a[i * k + i];
            for (size_t c = i; c < n; c++) a[r * k + c] -= by * a[i * k + c];
            b[r] -= by * b[i];
        }
    for (size_t i = n; i-- > 0;) {
        for (size_t c = i + 1; c < n; c++) b[i] -= a[i * k + c] * b[c];
        b[i] /= a[i * k + i];
    }
}

static void calibrate(const fitting *f, size_t without, keel_judge_calibration *out) {
    const size_t k = f->kind->n_classes;
    double parameter[PARAMETERS] = {1}, gradient[MOST], hessian[MOST * MOST], next[MOST];
    double trial_gradient[MOST], trial_hessian[MOST * MOST];
    double loss = loss_at(f, without, parameter, gradient, hessian);
    for (int step = 0; step < STEPS; step++) {
        double length = 1, move[MOST] = {0}, moved = 0;
        memcpy(move, gradient, f->free * sizeof *move);
        solve(hessian, move, k, f->free);
        for (size_t j = 0; j < f->free; j++) moved = fmax(moved, fabs(move[j]));
        if (moved < 1e-9) break;
        double trial = INFINITY;
        for (int tries = 0; tries < 30 && !(trial <= loss); tries++, length *= 0.5) {
            for (size_t j = 0; j < k; j++) next[j] = parameter[j] - length * move[j];
            trial = loss_at(f, without, next, trial_gradient, trial_hessian);
        }
        if (!(trial <= loss)) break;
        loss = trial;
        memcpy(parameter, next, k * sizeof *next);
        memcpy(gradient, trial_gradient, sizeof gradient);
        memcpy(hessian, trial_hessian, sizeof hessian);
    }
    shape(parameter, k, out);
}

/* The loss of every fold under the calibration of the others. */
static double cross_loss(const fitting *f) {
    double loss = 0;
    for (size_t fold = 0; fold < f->how->folds; fold++) {
        keel_judge_calibration calibration;
        calibrate(f, fold, &calibration);
        for (size_t i = 0; i < f->count; i++) {
            float q[MOST];
            if (f->fold[i] != fold || f->verdicts[i].label == KEEL_UNJUDGED) continue;
            memcpy(q, f->verdicts[i].p, sizeof q);
            keel__judge_calibrate(&calibration, f->kind->n_classes, q);
            loss -= log(fmax((double)q[f->examples[i].label], KEEL_JUDGE_LEAST_P));
        }
    }
    return loss;
}

static void choose_free(fitting *f) {
    const size_t choices[] = {0, 1, f->kind->n_classes};
    double least = INFINITY;
    size_t best = 0;
    for (size_t c = 0; c < sizeof choices / sizeof *choices; c++) {
        f->free = choices[c];
        const double loss = cross_loss(f);
        if (loss < least) least = loss, best = f->free;
    }
    f->free = best;
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
    calibrate(f, without, out);
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

static keel_status adapt(keel_judge **out, fitting *f, keel_err *err) {
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
    choose_free(f);
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
