/* Bayesian search: a Gaussian process over the trials so far (rl/search/gp.h), and the point of the highest
 * expected improvement next.
 *
 * - The first dims + 2 points fill the space: an additive recurrence with the generalised golden ratio
 *   (Roberts 2018), moved by a random shift.
 * - Trials are noisy: the improvement is over the highest posterior mean at a point that was tried and met
 * its requirements, not over the highest value that was seen.
 * - Each requirement has a process of its own; the improvement is weighed by the probability that they hold
 *   (Gardner et al. 2014). While none of the trials is feasible, by that probability alone.
 * - Running trials count as having what the process expects of them (Ginsbourger et al. 2010, "kriging
 *   believer"), so that several processes do not try the same.
 * - The improvement is looked for at random points and round the best ones, then more and more finely. */
#include <math.h>
#include <string.h>

#include "core/pcg.h"
#include "rl/search/acquire.h"
#include "rl/search/search_internal.h"

enum { SCATTERED = 1000, AROUND = 40, TOP = 5, ROUNDS = 6, FINER = 40 };

/* ---- the first points ---- */

static size_t designed(const keel_search *search) {
    return search->space->n + 2;
}

static void design(const keel_search *search, size_t n, double *at) {
    const size_t dims = search->space->n;
    keel_rng rng = keel_rng_stream(search->seed, KEEL_STREAM_SEARCH, 0);
    double ratio = 1.5; /* of x^(dims + 1) = x + 1 */
    for (int i = 0; i < 60; ++i) ratio = pow(1 + ratio, 1 / ((double)dims + 1));
    for (size_t i = 0; i < dims; ++i) {
        const double u = keel_rng_uniform(&rng) + (double)(n + 1) * pow(ratio, -(double)(i + 1));
        at[i] = keel_dimension_round(&search->space->dims[i], u - floor(u));
    }
}

/* ---- what is believed ---- */

typedef struct belief {
    const keel_search *search;
    const keel_trial *trials;
    size_t n;
    keel_gp gp[1 + KEEL_SEARCH_REQUIRES]; /* the goal, then each requirement */
    size_t n_gp;
    double *x[1 + KEEL_SEARCH_REQUIRES];
    double value[KEEL_GP_POINTS];
    bool any;    /* some trial is feasible */
    double best; /* posterior mean */
} belief;

/* Adds the running trials at their expected value: the scales stay as they are. */
static keel_status believe_running(belief *b, keel_gp *gp, double *x, keel_err *err) {
    const size_t dims = b->search->space->n;
    const keel_gp_scales scales = gp->scales;
    size_t count = gp->n;
    for (size_t i = 0; i < b->n && count < KEEL_GP_POINTS; ++i) {
        double sd;
        if (b->trials[i].state != KEEL_TRIAL_RUNNING) continue;
        keel_gp_predict(gp, b->trials[i].at, &b->value[count], &sd);
        memcpy(x + count * dims, b->trials[i].at, dims * sizeof *x);
        count++;
    }
    if (count == gp->n) return KEEL_OK;
    keel_gp_close(gp);
    KEEL_TRY(keel_gp_open(gp, x, b->value, count, dims, b->search->space->nominal, err));
    if (isfinite(keel_gp_likelihood(gp, &scales, NULL))) return KEEL_OK;
    return keel_fail(err, KEEL_E_INVALID, "search", "the running trials leave no process");
}

static keel_status learn(belief *b, int slack, keel_err *err) {
    keel_gp *gp = &b->gp[b->n_gp];
    double *x = b->x[b->n_gp] = keel_calloc(KEEL_GP_POINTS, b->search->space->n * sizeof *x);
    b->n_gp++;
    if (!x) return keel_nomem(err, "search");
    const size_t count = keel__search_data(b->search, b->trials, b->n, 0, slack, x, b->value);
    KEEL_TRY(keel_gp_open(gp, x, b->value, count, b->search->space->n, b->search->space->nominal, err));
    KEEL_TRY(keel_gp_fit(gp, err));
    return believe_running(b, gp, x, err);
}

static void find_best(belief *b) {
    b->best = -INFINITY;
    for (size_t i = 0; i < b->n; ++i) {
        double mean, sd;
        if (!keel_trial_feasible(b->search, &b->trials[i])) continue;
        keel_gp_predict(&b->gp[0], b->trials[i].at, &mean, &sd);
        b->any = true;
        b->best = fmax(b->best, mean);
    }
}

static void forget(belief *b) {
    for (size_t i = 0; i < b->n_gp; ++i) {
        keel_gp_close(&b->gp[i]);
        keel_free(b->x[i]);
    }
}

/* ---- where the improvement is highest ---- */

typedef struct spot {
    double at[KEEL_SPACE_DIMS], worth;
} spot;

static double worth(belief *b, const double *at) {
    double mean, sd, sum = 0;
    if (keel__search_tried(b->search, b->trials, b->n, at)) return -INFINITY;
    if (b->any) {
        keel_gp_predict(&b->gp[0], at, &mean, &sd);
        sum = keel_log_improvement(mean, sd, b->best);
    }
    for (size_t i = 1; i < b->n_gp; ++i) {
        keel_gp_predict(&b->gp[i], at, &mean, &sd);
        sum += keel_log_feasible(mean, sd, 0);
    }
    return sum;
}

/* Keeps the best TOP spots, best first. */
static void offer(belief *b, spot *top, const double *at) {
    spot one = {.worth = worth(b, at)};
    memcpy(one.at, at, b->search->space->n * sizeof *at);
    for (size_t k = 0; k < TOP; ++k) {
        if (!(one.worth > top[k].worth)) continue;
        const spot pushed = top[k];
        top[k] = one;
        one = pushed;
    }
}

/* Each dimension moves with probability 1/2, numbers by about `far`, choices to any other. */
static void near(const belief *b, keel_rng *rng, const double *from, double far, double *at) {
    for (size_t i = 0; i < b->search->space->n; ++i) {
        const keel_dimension *d = &b->search->space->dims[i];
        const bool moves = keel_rng_uniform(rng) < 0.5;
        const double step = keel_rng_normal(rng), anywhere = keel_rng_uniform(rng);
        const double u = !moves ? from[i] : d->nominal ? anywhere : from[i] + far * step;
        at[i] = keel_dimension_round(d, fmin(fmax(u, 0), 1));
    }
}

static void look(belief *b, keel_rng *rng, spot *top) {
    double at[KEEL_SPACE_DIMS];
    for (size_t k = 0; k < TOP; ++k) top[k] = (spot){.worth = -INFINITY};
    for (int i = 0; i < SCATTERED; ++i) {
        for (size_t j = 0; j < b->search->space->n; ++j)
            at[j] = keel_dimension_round(&b->search->space->dims[j], keel_rng_uniform(rng));
        offer(b, top, at);
    }
    for (size_t i = 0; i < b->n; ++i)
        for (int k = 0; k < AROUND && b->trials[i].state == KEEL_TRIAL_DONE; ++k) {
            near(b, rng, b->trials[i].at, k % 2 ? 0.1 : 0.02, at);
            offer(b, top, at);
        }
    for (int round = 0; round < ROUNDS; ++round) {
        spot from[TOP];
        memcpy(from, top, sizeof from);
        for (int i = 0; i < FINER; ++i) {
            if (from[i % TOP].worth == -INFINITY) continue;
            near(b, rng, from[i % TOP].at, 0.1 * pow(0.5, round), at);
            offer(b, top, at);
        }
    }
}

static keel_status improve(belief *b, size_t n, keel_trial *out, keel_err *err) {
    spot top[TOP];
    keel_rng rng = keel_rng_stream(b->search->seed, KEEL_STREAM_SEARCH, n + 1);
    KEEL_TRY(learn(b, -1, err));
    for (size_t i = 0; i < b->search->n_requires; ++i) KEEL_TRY(learn(b, (int)i, err));
    find_best(b);
    look(b, &rng, top);
    if (top[0].worth == -INFINITY)
        keel__search_draw(b->search, b->trials, n, n, out);
    else
        memcpy(out->at, top[0].at, sizeof out->at);
    return KEEL_OK;
}

/* ---- the method ---- */

static bool any_done(const keel_trial *trials, size_t n) {
    for (size_t i = 0; i < n; ++i)
        if (trials[i].state == KEEL_TRIAL_DONE) return true;
    return false;
}

static keel_status next(const keel_search *search, const keel_trial *trials, size_t n, keel_trial *out,
                        keel_search_turn *turn, keel_err *err) {
    if (n >= keel__search_asked(search)) return KEEL_OK;
    *turn = KEEL_SEARCH_TRIAL;
    if (n < designed(search) || !any_done(trials, n)) {
        design(search, n, out->at);
        if (keel__search_tried(search, trials, n, out->at)) keel__search_draw(search, trials, n, n, out);
        return KEEL_OK;
    }
    belief *b = keel_calloc(1, sizeof *b);
    if (!b) return keel_nomem(err, "search");
    b->search = search;
    b->trials = trials;
    b->n = n;
    const keel_status status = improve(b, n, out, err);
    forget(b);
    keel_free(b);
    return status;
}

const keel_search_method keel__search_bayes = {
    .help = "a Gaussian process over the trials so far says where the expected improvement is highest",
    .next = next,
    .size = keel__search_asked,
    .believes = true,
};
