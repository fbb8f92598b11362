#include "rl/judge/ridge_fqe.h"

#include <math.h>
#include <string.h>

#include "core/interrupt.h"
#include "core/memory.h"
#include "core/spool.h"

enum { FOLDS = 3, HEADS = KEEL_RIDGE_HEADS, POLICIES = KEEL_RIDGE_POLICIES };
enum {
    MOST_STATE = 64,
    MOST_CANDIDATE = 64,
    MOST_ACTS = 64,     /* more share a place */
    CROSSED = 16,       /* so many acts have the state's features for themselves, */
    CROSSED_STATE = 32, /* folded to these */
    MOST_FITTED = 6000,
    MOST_ROUNDS = 24,
    WINDOW = 1 << 16
};
static const double PENALTY = 1, PENALTY_CROSSED = 10;

/* A step as it is kept; its numbers follow: the state, what was taken, what each policy chooses. */
typedef struct record {
    uint64_t unit;
    int32_t action, choice[POLICIES];
    bool first, follows;
    double reward[HEADS];
    float number[];
} record;

struct keel_ridge_fqe {
    keel_ridge_shape shape;
    size_t state, candidate, acts, crossed; /* widths after folding; acts: places of the intercepts */
    size_t width, nonzero;                  /* of a row */
    size_t record_size;
    keel_spool *steps;
    record *at; /* one step, being written or read */
    bool follows;
    /* the fit */
    double *scale; /* [state + candidate] */
    double least[HEADS], most[HEADS], mean[HEADS];
    unsigned char *kept; /* [n_kept] records */
    size_t n_kept, rounds;
    double *gram;   /* [FOLDS, width, width], then its factor of what lies outside the fold */
    double *weight; /* [POLICIES, FOLDS, width, HEADS] */
    bool fitted[FOLDS];
    uint32_t *place; /* [nonzero] of one row */
    double *value;
};

static size_t least_of(size_t a, size_t b) {
    return a < b ? a : b;
}

keel_status keel_ridge_fqe_open(keel_ridge_fqe **out, const keel_ridge_shape *shape, keel_err *err) {
    keel_ridge_fqe *fqe = keel_calloc(1, sizeof *fqe);
    if (!fqe) return keel_nomem(err, "fitted Q evaluation");
    const bool sets = shape->n_acts == 0;
    fqe->shape = *shape;
    fqe->state = least_of(shape->state_dim, MOST_STATE);
    fqe->candidate = sets ? least_of(shape->candidate_dim, MOST_CANDIDATE) : 0;
    fqe->acts = sets ? 1 : least_of(shape->n_acts, MOST_ACTS);
    fqe->crossed = !sets && shape->n_acts <= CROSSED ? least_of(fqe->state, CROSSED_STATE) : 0;
    fqe->width = fqe->acts + fqe->state + fqe->candidate + fqe->acts * fqe->crossed;
    fqe->nonzero = 1 + fqe->state + fqe->candidate + fqe->crossed;
    fqe->record_size = sizeof(record) + (fqe->state + (1 + POLICIES) * fqe->candidate) * sizeof(float);
    fqe->record_size = (fqe->record_size + 7) / 8 * 8;
    fqe->at = keel_calloc(1, fqe->record_size);
    fqe->place = keel_calloc(fqe->nonzero, sizeof *fqe->place);
    fqe->value = keel_calloc(fqe->nonzero, sizeof *fqe->value);
    fqe->scale = keel_calloc(fqe->state + fqe->candidate + 1, sizeof *fqe->scale);
    if (!fqe->at || !fqe->place || !fqe->value || !fqe->scale) {
        keel_ridge_fqe_close(fqe);
        return keel_nomem(err, "fitted Q evaluation");
    }
    *out = fqe;
    return KEEL_OK;
}

void keel_ridge_fqe_close(keel_ridge_fqe *fqe) {
    if (!fqe) return;
    keel_spool_close(fqe->steps);
    keel_free(fqe->at);
    keel_free(fqe->place);
    keel_free(fqe->value);
    keel_free(fqe->scale);
    keel_free(fqe->kept);
    keel_free(fqe->gram);
    keel_free(fqe->weight);
    keel_free(fqe);
}

size_t keel_ridge_fqe_count(const keel_ridge_fqe *fqe) {
    return fqe->steps ? keel_spool_count(fqe->steps) : 0;
}

/* ---- keeping ---- */

/* Mixes a number well (Steele, Lea & Flood 2014). */
static uint64_t mix(uint64_t z) {
    z = (z + 0x9e3779b97f4a7c15) ^ z >> 30;
    z = (z ^ z >> 27) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 31) * 0x94d049bb133111eb;
    return z ^ z >> 29;
}

static void fold(const float *x, size_t from, size_t to, float *out) {
    memset(out, 0, to * sizeof *out);
    for (size_t i = 0; x && i < from; ++i) out[i % to] += i >= to && mix(i) & 1 ? -x[i] : x[i];
}

keel_status keel_ridge_fqe_add(keel_ridge_fqe *fqe, uint64_t unit, const keel_ridge_step *step, bool follows,
                               keel_err *err) {
    record *at = fqe->at;
    if (!fqe->steps) KEEL_TRY(keel_spool_open(&fqe->steps, fqe->record_size, WINDOW, err));
    *at = (record){.unit = unit, .action = step->action, .first = !fqe->follows, .follows = follows};
    memcpy(at->choice, step->choice, sizeof at->choice);
    memcpy(at->reward, step->reward, sizeof at->reward);
    fold(step->state, fqe->shape.state_dim, fqe->state, at->number);
    if (fqe->candidate) {
        float *next = at->number + fqe->state;
        fold(step->taken, fqe->shape.candidate_dim, fqe->candidate, next);
        for (size_t p = 0; p < POLICIES; ++p)
            fold(step->chosen[p], fqe->shape.candidate_dim, fqe->candidate, next += fqe->candidate);
    }
    fqe->follows = follows;
    return keel_spool_add(fqe->steps, at, err);
}

static record *kept_at(const keel_ridge_fqe *fqe, size_t i) {
    return (record *)(void *)(fqe->kept + i * fqe->record_size);
}

/* Whole units, so many that they are about MOST_FITTED steps. */
static bool is_kept(const keel_ridge_fqe *fqe, uint64_t unit) {
    const size_t n = keel_ridge_fqe_count(fqe);
    const double share = n > MOST_FITTED ? (double)MOST_FITTED / (double)n : 1;
    return (double)(mix(unit + 1) >> 11) * 0x1p-53 < share;
}

static keel_status keep_some(keel_ridge_fqe *fqe, keel_err *err) {
    const size_t n = keel_ridge_fqe_count(fqe);
    size_t wanted = 0;
    for (int pass = 0; pass < 2; ++pass) {
        for (size_t i = 0; i < n; ++i) {
            KEEL_TRY(keel_spool_get(fqe->steps, i, fqe->at, err));
            if (!is_kept(fqe, fqe->at->unit)) continue;
            if (pass)
                memcpy(kept_at(fqe, fqe->n_kept++), fqe->at, fqe->record_size);
            else
                wanted++;
        }
        if (!pass && !(fqe->kept = keel_calloc(wanted + 1, fqe->record_size)))
            return keel_nomem(err, "fitted Q evaluation");
    }
    return KEEL_OK;
}

/* ---- rows ---- */

/* The features of an action (-1: a candidate) at a step, as places and values; their number. */
static size_t make_row(const keel_ridge_fqe *fqe, const record *at, int32_t action, const float *candidate) {
    const size_t act = action < 0 ? 0 : (size_t)action % fqe->acts, states = fqe->acts;
    size_t n = 0;
    fqe->place[n] = (uint32_t)act;
    fqe->value[n++] = 1;
    for (size_t i = 0; i < fqe->state; ++i, ++n) {
        fqe->place[n] = (uint32_t)(states + i);
        fqe->value[n] = (double)at->number[i] * fqe->scale[i];
    }
    for (size_t i = 0; i < fqe->candidate; ++i, ++n) {
        fqe->place[n] = (uint32_t)(states + fqe->state + i);
        fqe->value[n] = (double)candidate[i] * fqe->scale[fqe->state + i];
    }
    const size_t own = states + fqe->state + fqe->candidate + act * fqe->crossed;
    for (size_t i = 0; i < fqe->crossed; ++i, ++n) {
        fqe->place[n] = (uint32_t)(own + i);
        fqe->value[n] = 0;
        for (size_t j = i; j < fqe->state; j += fqe->crossed)
            fqe->value[n] += (j >= fqe->crossed && mix(j) & 1 ? -1 : 1) * fqe->value[1 + j];
    }
    return n;
}

static size_t taken_row(const keel_ridge_fqe *fqe, const record *at) {
    return make_row(fqe, at, at->action, at->number + fqe->state);
}

static size_t chosen_row(const keel_ridge_fqe *fqe, const record *at, size_t policy) {
    return make_row(fqe, at, at->choice[policy], at->number + fqe->state + (1 + policy) * fqe->candidate);
}

/* Each feature to a mean square of 1. */
static void find_scale(keel_ridge_fqe *fqe) {
    const size_t n = fqe->state + fqe->candidate;
    for (size_t i = 0; i < n; ++i) {
        double squares = 0;
        for (size_t k = 0; k < fqe->n_kept; ++k) {
            const double x = (double)kept_at(fqe, k)->number[i];
            squares += x * x;
        }
        fqe->scale[i] = squares > 0 ? sqrt((double)fqe->n_kept / squares) : 0;
    }
}

/* Means stand in for unknown rewards; no Q is believed that no return came near. */
static void find_rewards(keel_ridge_fqe *fqe) {
    for (size_t h = 0; h < HEADS; ++h) {
        double sum = 0, count = 0, togo = 0;
        for (size_t i = 0; i < fqe->n_kept; ++i) {
            const double r = kept_at(fqe, i)->reward[h];
            if (!isnan(r)) sum += r, count += 1;
        }
        fqe->mean[h] = count > 0 ? sum / count : 0;
        for (size_t i = fqe->n_kept; i-- > 0;) {
            record *at = kept_at(fqe, i);
            if (isnan(at->reward[h])) at->reward[h] = fqe->mean[h];
            togo = at->reward[h] + (at->follows ? togo : 0);
            fqe->least[h] = fmin(fqe->least[h], togo);
            fqe->most[h] = fmax(fqe->most[h], togo);
        }
    }
}

static size_t find_rounds(const keel_ridge_fqe *fqe) {
    size_t longest = 0, length = 0;
    for (size_t i = 0; i < fqe->n_kept; ++i) {
        length = kept_at(fqe, i)->first ? 1 : length + 1;
        if (length > longest) longest = length;
    }
    return least_of(longest, MOST_ROUNDS);
}

/* ---- least squares ---- */

static size_t fold_of(uint64_t unit) {
    return (size_t)(mix(unit) >> 32) % FOLDS;
}

static void add_gram(const keel_ridge_fqe *fqe, size_t n, double *gram) {
    for (size_t i = 0; i < n; ++i) {
        double *row = gram + fqe->place[i] * fqe->width;
        for (size_t j = 0; j <= i; ++j) row[fqe->place[j]] += fqe->value[i] * fqe->value[j];
    }
}

/* The lower factor of a positive definite matrix, in place. */
static void factor(double *a, size_t n) {
    for (size_t j = 0; j < n; ++j) {
        double *row = a + j * n;
        for (size_t i = 0; i < j; ++i) {
            const double *other = a + i * n;
            double sum = row[i];
            for (size_t k = 0; k < i; ++k) sum -= row[k] * other[k];
            row[i] = sum / other[i];
        }
        double rest = row[j];
        for (size_t k = 0; k < j; ++k) rest -= row[k] * row[k];
        row[j] = sqrt(fmax(rest, 1e-9));
    }
}

/* x <- (L L')^-1 x of HEADS columns. */
static void solve(const double *l, size_t n, double *x) {
    for (size_t i = 0; i < n; ++i) {
        for (size_t k = 0; k < i; ++k)
            for (size_t h = 0; h < HEADS; ++h) x[i * HEADS + h] -= l[i * n + k] * x[k * HEADS + h];
        for (size_t h = 0; h < HEADS; ++h) x[i * HEADS + h] /= l[i * n + i];
    }
    for (size_t i = n; i-- > 0;) {
        for (size_t h = 0; h < HEADS; ++h) x[i * HEADS + h] /= l[i * n + i];
        for (size_t k = 0; k < i; ++k)
            for (size_t h = 0; h < HEADS; ++h) x[k * HEADS + h] -= l[i * n + k] * x[i * HEADS + h];
    }
}

/* Of each fold the factor of what lies outside it. */
static keel_status make_grams(keel_ridge_fqe *fqe, keel_err *err) {
    const size_t cells = fqe->width * fqe->width;
    size_t count[FOLDS] = {0};
    fqe->gram = keel_calloc(FOLDS * cells, sizeof *fqe->gram);
    if (!fqe->gram) return keel_nomem(err, "fitted Q evaluation");
    for (size_t i = 0; i < fqe->n_kept; ++i) {
        const size_t own = fold_of(kept_at(fqe, i)->unit);
        const size_t n = taken_row(fqe, kept_at(fqe, i));
        for (size_t k = 0; k < FOLDS; ++k)
            if (k != own) add_gram(fqe, n, fqe->gram + k * cells), count[k]++;
    }
    for (size_t k = 0; k < FOLDS; ++k) {
        double *gram = fqe->gram + k * cells;
        for (size_t i = 0; i < fqe->width; ++i)
            gram[i * fqe->width + i] += i < fqe->width - fqe->acts * fqe->crossed ? PENALTY : PENALTY_CROSSED;
        if (keel_interrupted())
            return keel_fail(err, KEEL_E_INTERRUPTED, "fitted Q evaluation", "stopped; nothing was changed");
        factor(gram, fqe->width);
        fqe->fitted[k] = count[k] > 0;
    }
    return KEEL_OK;
}

static void predict(const keel_ridge_fqe *fqe, const double *weight, size_t n, double *out) {
    memset(out, 0, HEADS * sizeof *out);
    for (size_t i = 0; i < n; ++i)
        for (size_t h = 0; h < HEADS; ++h) out[h] += fqe->value[i] * weight[fqe->place[i] * HEADS + h];
    for (size_t h = 0; h < HEADS; ++h) out[h] = fmin(fqe->most[h], fmax(fqe->least[h], out[h]));
}

/* One round for the policy: right sides from the weights of the round before, then their solution. */
static void run_round(const keel_ridge_fqe *fqe, size_t policy, size_t k, bool first, double *weight,
                      double *right) {
    memset(right, 0, fqe->width * HEADS * sizeof *right);
    for (size_t i = 0; i < fqe->n_kept; ++i) {
        const record *at = kept_at(fqe, i);
        double target[HEADS] = {0};
        if (fold_of(at->unit) == k) continue;
        if (at->follows && !first) {
            const record *next = kept_at(fqe, i + 1);
            predict(fqe, weight, chosen_row(fqe, next, policy), target);
        }
        for (size_t h = 0; h < HEADS; ++h) target[h] += at->reward[h];
        const size_t n = taken_row(fqe, at);
        for (size_t j = 0; j < n; ++j)
            for (size_t h = 0; h < HEADS; ++h) right[fqe->place[j] * HEADS + h] += fqe->value[j] * target[h];
    }
    solve(fqe->gram + k * fqe->width * fqe->width, fqe->width, right);
    memcpy(weight, right, fqe->width * HEADS * sizeof *right);
}

static double *weight_of(const keel_ridge_fqe *fqe, size_t policy, size_t k) {
    return fqe->weight + (policy * FOLDS + k) * fqe->width * HEADS;
}

keel_status keel_ridge_fqe_fit(keel_ridge_fqe *fqe, keel_err *err) {
    if (!keel_ridge_fqe_count(fqe)) return KEEL_OK;
    KEEL_TRY(keep_some(fqe, err));
    find_scale(fqe);
    find_rewards(fqe);
    KEEL_TRY(make_grams(fqe, err));
    const size_t rounds = find_rounds(fqe);
    double *right = keel_calloc(fqe->width * HEADS, sizeof *right);
    fqe->weight = keel_calloc(POLICIES * FOLDS * fqe->width * HEADS, sizeof *fqe->weight);
    keel_status status = right && fqe->weight ? KEEL_OK : keel_nomem(err, "fitted Q evaluation");
    for (size_t p = 0; p < POLICIES && status == KEEL_OK; ++p)
        for (size_t k = 0; k < FOLDS && status == KEEL_OK; ++k) {
            if (keel_interrupted())
                status =
                    keel_fail(err, KEEL_E_INTERRUPTED, "fitted Q evaluation", "stopped; nothing was changed");
            for (size_t r = 0; r < rounds && status == KEEL_OK && fqe->fitted[k]; ++r)
                run_round(fqe, p, k, r == 0, weight_of(fqe, p, k), right);
        }
    keel_free(right);
    keel_free(fqe->kept);
    keel_free(fqe->gram);
    fqe->kept = NULL;
    fqe->gram = NULL;
    return status;
}

keel_status keel_ridge_fqe_value(keel_ridge_fqe *fqe, size_t index, size_t policy, double *q, double *v,
                                 keel_err *err) {
    KEEL_TRY(keel_spool_get(fqe->steps, index, fqe->at, err));
    const size_t k = fold_of(fqe->at->unit);
    memset(q, 0, HEADS * sizeof *q);
    memset(v, 0, HEADS * sizeof *v);
    if (!fqe->fitted[k]) return KEEL_OK;
    predict(fqe, weight_of(fqe, policy, k), taken_row(fqe, fqe->at), q);
    predict(fqe, weight_of(fqe, policy, k), chosen_row(fqe, fqe->at, policy), v);
    return KEEL_OK;
}
