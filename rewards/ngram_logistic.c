#include "rewards/ngram_logistic.h"

#include <math.h>
#include <string.h>

#include "core/interrupt.h"

/* ---- features ---- */

static const keel_ngram_window windows[] = {
    {{.word_high = 3, .char_low = 1, .max_words = 12, .buckets = KEEL_NGRAM_BUCKETS}, false, 1},
    {{.word_high = 3, .char_low = 1, .max_words = 60, .buckets = KEEL_NGRAM_BUCKETS}, false, 2},
    {{.word_high = 3, .char_low = 1, .max_words = 25, .buckets = KEEL_NGRAM_BUCKETS}, true, 3},
    {{.word_high = 2, .char_low = 1, .max_words = SIZE_MAX, .buckets = KEEL_NGRAM_BUCKETS}, false, 4},
};

keel_status keel_ngram_features(keel_arena *arena, const char *text, keel_grams *out, keel_err *err) {
    return keel_ngram_windows(windows, sizeof windows / sizeof *windows, text, 5, arena, out, err);
}

/* ---- the objective ---- */

typedef struct problem {
    const keel_grams *rows;
    const int *outcome;
    size_t count;
    double lambda;
} problem;

static double row_value(const keel_grams *row) {
    return row->count ? 1 / sqrt((double)row->count) : 0;
}

static void softmax_logits(double *x) {
    double highest = x[0], sum = 0;
    for (size_t k = 1; k < KEEL_N_OUTCOMES; k++) highest = x[k] > highest ? x[k] : highest;
    for (size_t k = 0; k < KEEL_N_OUTCOMES; k++) sum += x[k] = exp(x[k] - highest);
    for (size_t k = 0; k < KEEL_N_OUTCOMES; k++) x[k] /= sum;
}

static void probabilities(const double *weights, const keel_grams *row, double *out) {
    double sum[KEEL_N_OUTCOMES] = {0};
    for (size_t j = 0; j < row->count; j++)
        for (size_t k = 0; k < KEEL_N_OUTCOMES; k++) sum[k] += weights[row->bucket[j] * KEEL_N_OUTCOMES + k];
    for (size_t k = 0; k < KEEL_N_OUTCOMES; k++)
        out[k] = sum[k] * row_value(row) + weights[KEEL_NGRAM_BIAS * KEEL_N_OUTCOMES + k];
    softmax_logits(out);
}

/* Value and gradient [D, K] at weights. */
static double objective(const problem *p, const double *weights, double *gradient) {
    double value = 0;
    for (size_t i = 0; i < KEEL_NGRAM_WEIGHTS; i++) {
        value += 0.5 * p->lambda * weights[i] * weights[i];
        gradient[i] = p->lambda * weights[i];
    }
    for (size_t i = 0; i < p->count; i++) {
        const keel_grams *row = &p->rows[i];
        double error[KEEL_N_OUTCOMES];
        probabilities(weights, row, error);
        value -= log(fmax(error[p->outcome[i]], 1e-300));
        error[p->outcome[i]] -= 1;
        for (size_t k = 0; k < KEEL_N_OUTCOMES; k++) {
            gradient[KEEL_NGRAM_BIAS * KEEL_N_OUTCOMES + k] += error[k];
            error[k] *= row_value(row);
        }
        for (size_t j = 0; j < row->count; j++)
            for (size_t k = 0; k < KEEL_N_OUTCOMES; k++)
                gradient[row->bucket[j] * KEEL_N_OUTCOMES + k] += error[k];
    }
    return value;
}

/* ---- L-BFGS (Nocedal & Wright, Numerical Optimization, algorithms 7.4 and 7.5), Armijo backtracking; the
 * problem is strongly convex, so every accepted step has positive curvature ---- */

enum { HISTORY = 6, MAX_STEPS = 300 };

typedef struct lbfgs {
    double *x, *gradient, *direction, *x_next, *gradient_next; /* [D, K] each */
    double *step[HISTORY], *change[HISTORY];                   /* s and y of the last updates, as a ring */
    double curvature[HISTORY];                                 /* s . y */
    size_t updates;
} lbfgs;

static double dot(const double *a, const double *b) {
    double sum = 0;
    for (size_t i = 0; i < KEEL_NGRAM_WEIGHTS; i++) sum += a[i] * b[i];
    return sum;
}

static void add_scaled(double *y, double factor, const double *x) {
    for (size_t i = 0; i < KEEL_NGRAM_WEIGHTS; i++) y[i] += factor * x[i];
}

/* direction = - (approximate inverse Hessian) gradient: the two-loop recursion. */
static void find_direction(lbfgs *s) {
    double alpha[HISTORY];
    const size_t kept = s->updates < HISTORY ? s->updates : HISTORY;
    for (size_t i = 0; i < KEEL_NGRAM_WEIGHTS; i++) s->direction[i] = -s->gradient[i];
    for (size_t back = 0; back < kept; back++) {
        const size_t r = (s->updates - 1 - back) % HISTORY;
        alpha[r] = dot(s->step[r], s->direction) / s->curvature[r];
        add_scaled(s->direction, -alpha[r], s->change[r]);
    }
    double scale = 1 / fmax(1, sqrt(dot(s->gradient, s->gradient)));
    if (kept) {
        const size_t r = (s->updates - 1) % HISTORY;
        scale = s->curvature[r] / dot(s->change[r], s->change[r]);
    }
    for (size_t i = 0; i < KEEL_NGRAM_WEIGHTS; i++) s->direction[i] *= scale;
    for (size_t back = kept; back-- > 0;) {
        const size_t r = (s->updates - 1 - back) % HISTORY;
        add_scaled(s->direction, alpha[r] - dot(s->change[r], s->direction) / s->curvature[r], s->step[r]);
    }
}

/* Halves the step until the value falls enough; false when it no longer can, at the limit of double
 * precision. */
static bool search_line(lbfgs *s, const problem *p, double *value) {
    const double slope = dot(s->gradient, s->direction);
    double length = 1;
    for (int tries = 0; tries < 40; tries++, length *= 0.5) {
        memcpy(s->x_next, s->x, KEEL_NGRAM_WEIGHTS * sizeof(double));
        add_scaled(s->x_next, length, s->direction);
        const double next = objective(p, s->x_next, s->gradient_next);
        if (next > *value + 1e-4 * length * slope) continue;
        *value = next;
        return true;
    }
    return false;
}

static void accept_step(lbfgs *s) {
    const size_t r = s->updates % HISTORY;
    for (size_t i = 0; i < KEEL_NGRAM_WEIGHTS; i++) {
        s->step[r][i] = s->x_next[i] - s->x[i];
        s->change[r][i] = s->gradient_next[i] - s->gradient[i];
    }
    s->curvature[r] = dot(s->step[r], s->change[r]);
    if (s->curvature[r] > 0) s->updates++;
    double *x = s->x, *gradient = s->gradient;
    s->x = s->x_next, s->gradient = s->gradient_next;
    s->x_next = x, s->gradient_next = gradient;
}

static keel_status minimise(lbfgs *s, const problem *p, keel_err *err) {
    double value = objective(p, s->x, s->gradient);
    for (int n = 0; n < MAX_STEPS; n++) {
        if (keel_interrupted())
            return keel_fail(err, KEEL_E_INTERRUPTED, "refusal judge", "stopped while fitting");
        /* Strong convexity: |x - x*| <= |gradient| / lambda. */
        if (sqrt(dot(s->gradient, s->gradient)) <= 1e-3 * p->lambda * fmax(1, sqrt(dot(s->x, s->x)))) break;
        find_direction(s);
        if (!search_line(s, p, &value)) break;
        accept_step(s);
    }
    return KEEL_OK;
}

keel_status keel_ngram_logistic_fit(float *out, const keel_grams *rows, const int *outcome, size_t count,
                                    double lambda, keel_err *err) {
    const problem p = {rows, outcome, count, lambda};
    double *block = keel_calloc((5 + 2 * HISTORY) * (size_t)KEEL_NGRAM_WEIGHTS, sizeof *block);
    if (!block)
        return keel_fail(err, KEEL_E_NOMEM, "refusal judge", "out of memory while fitting %zu examples",
                         count);
    double *parts[5 + 2 * HISTORY];
    for (size_t i = 0; i < 5 + 2 * HISTORY; i++) parts[i] = block + i * KEEL_NGRAM_WEIGHTS;
    lbfgs solver = {parts[0], parts[1], parts[2], parts[3], parts[4], {0}, {0}, {0}, 0};
    for (size_t r = 0; r < HISTORY; r++)
        solver.step[r] = parts[5 + 2 * r], solver.change[r] = parts[6 + 2 * r];
    keel_status status = minimise(&solver, &p, err);
    for (size_t i = 0; i < KEEL_NGRAM_WEIGHTS && status == KEEL_OK; i++) out[i] = (float)solver.x[i];
    keel_free(block);
    return status;
}

void keel_ngram_logistic_predict(const float *weights, const keel_grams *row, double *out) {
    double sum[KEEL_N_OUTCOMES] = {0};
    for (size_t j = 0; j < row->count; j++)
        for (size_t k = 0; k < KEEL_N_OUTCOMES; k++)
            sum[k] += (double)weights[row->bucket[j] * KEEL_N_OUTCOMES + k];
    for (size_t k = 0; k < KEEL_N_OUTCOMES; k++)
        out[k] = sum[k] * row_value(row) + (double)weights[KEEL_NGRAM_BIAS * KEEL_N_OUTCOMES + k];
    softmax_logits(out);
}
