#include "rl/search/search.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/numeric.h"
#include "core/pcg.h"
#include "rl/search/search_internal.h"

#define NAME(name, text) text,
const char *const keel_search_methods[] = {KEEL_SEARCH_METHODS(NAME) NULL};
#undef NAME
#define ROW(name, text) &keel__search_##name,
static const keel_search_method *const methods[] = {KEEL_SEARCH_METHODS(ROW)};
#undef ROW
const char *const keel_trial_states[] = {"running", "done", "failed", NULL};

const keel_search_method *keel_search_method_of(int method) {
    return methods[method];
}

/* ---- next ---- */

keel_status keel_search_check(const keel_search *search, keel_err *err) {
    const bool bayes = methods[search->method] == &keel__search_bayes;
    if (search->space->n == 0) return keel_fail(err, KEEL_E_INVALID, "search", "nothing is varied");
    if (methods[search->method] == &keel__search_halving && !search->budget.name) {
        keel_fail(err, KEEL_E_INVALID, "search", "halving needs a budget");
        return keel_hint(err, "name a key that says how long a trial takes, as train.steps=500:8000");
    }
    const size_t size = keel_search_size(search), most = bayes ? KEEL_GP_POINTS : KEEL_SEARCH_TRIALS;
    if (size <= most) return KEEL_OK;
    return keel_fail(err, KEEL_E_INVALID, "search", "%zu trials; %s makes at most %zu", size,
                     keel_search_methods[search->method], most);
}

/* To the place of the very text that the value has, so that a trial read back from its text is the same. */
static keel_status settle(const keel_space *space, double *at, keel_err *err) {
    keel_arena arena = {0};
    keel_status status = KEEL_OK;
    for (size_t i = 0; i < space->n && status == KEEL_OK; ++i) {
        const char *text = keel_dimension_value(&space->dims[i], at[i], &arena);
        status = text ? keel_dimension_place(&space->dims[i], text, &at[i], err) : keel_nomem(err, "search");
    }
    keel_arena_free(&arena);
    return status;
}

keel_status keel_search_next(const keel_search *search, const keel_trial *trials, size_t n, keel_trial *out,
                             keel_search_turn *turn, keel_err *err) {
    *out = (keel_trial){0};
    *turn = KEEL_SEARCH_END;
    KEEL_TRY(methods[search->method]->next(search, trials, n, out, turn, err));
    return *turn == KEEL_SEARCH_TRIAL ? settle(search->space, out->at, err) : KEEL_OK;
}

size_t keel_search_size(const keel_search *search) {
    return methods[search->method]->size(search);
}

/* ---- what methods share ---- */

size_t keel__search_asked(const keel_search *search) {
    enum { STANDARD = 20 };
    const double size = keel_space_size(search->space);
    const size_t asked = search->trials ? search->trials : STANDARD;
    return (double)asked > size ? (size_t)size : asked;
}

bool keel__search_same(const keel_search *search, const double *a, const double *b) {
    for (size_t i = 0; i < search->space->n; ++i)
        if (fabs(a[i] - b[i]) > 1e-9) return false;
    return true;
}

bool keel__search_tried(const keel_search *search, const keel_trial *trials, size_t n, const double *at) {
    for (size_t i = 0; i < n; ++i)
        if (keel__search_same(search, trials[i].at, at)) return true;
    return false;
}

void keel__search_draw(const keel_search *search, const keel_trial *trials, size_t n, size_t number,
                       keel_trial *out) {
    enum { ATTEMPTS = 1000 };
    keel_rng rng = keel_rng_stream(search->seed, KEEL_STREAM_SEARCH, number + 1);
    for (int attempt = 0; attempt < ATTEMPTS; ++attempt) {
        for (size_t i = 0; i < search->space->n; ++i)
            out->at[i] = keel_dimension_round(&search->space->dims[i], keel_rng_uniform(&rng));
        if (!keel__search_tried(search, trials, n, out->at)) return;
    }
}

/* Below the median no further than three times as far as the best lies above it. */
static void tame(double *value, size_t n) {
    double sorted[KEEL_GP_POINTS];
    memcpy(sorted, value, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, keel_by_value);
    const double median = (sorted[(n - 1) / 2] + sorted[n / 2]) / 2,
                 least = median - 3 * (sorted[n - 1] - median);
    for (size_t i = 0; i < n && sorted[n - 1] > median; ++i) value[i] = fmax(value[i], least);
}

size_t keel__search_data(const keel_search *search, const keel_trial *trials, size_t n, double budget,
                         int slack, double *x, double *value) {
    const size_t dims = search->space->n;
    size_t done = 0, count = 0;
    double lowest = INFINITY;
    for (size_t pass = 0; pass < 2; ++pass) { /* done ones first, then those that failed */
        for (size_t i = 0; i < n && count < KEEL_GP_POINTS; ++i) {
            const keel_trial *t = &trials[i];
            if (t->state != (pass ? KEEL_TRIAL_FAILED : KEEL_TRIAL_DONE) || t->budget != budget) continue;
            memcpy(x + count * dims, t->at, dims * sizeof *x);
            value[count++] = pass ? lowest : slack < 0 ? t->goal : t->slack[slack];
        }
        if (pass) break;
        done = count;
        if (done == 0) return 0;
        if (slack < 0) tame(value, done);
        for (size_t i = 0; i < done; ++i) lowest = fmin(lowest, value[i]);
        if (slack >= 0) lowest = fmin(lowest, -fabs(lowest));
    }
    return count;
}

/* ---- the best ---- */

bool keel_trial_feasible(const keel_search *search, const keel_trial *trial) {
    bool holds = trial->state == KEEL_TRIAL_DONE;
    for (size_t i = 0; i < search->n_requires; ++i) holds = holds && trial->slack[i] >= 0;
    return holds;
}

/* The sum of what is lacking. */
static double lack(const keel_search *search, const keel_trial *trial) {
    double sum = 0;
    for (size_t i = 0; i < search->n_requires; ++i) sum += fmax(-trial->slack[i], 0);
    return sum;
}

bool keel_trial_better(const keel_search *search, const keel_trial *a, const keel_trial *b) {
    const bool a_done = a->state == KEEL_TRIAL_DONE, b_done = b->state == KEEL_TRIAL_DONE;
    if (a_done != b_done) return a_done;
    if (!a_done) return a->state < b->state;
    if (a->budget != b->budget) return a->budget > b->budget;
    const double a_lack = lack(search, a), b_lack = lack(search, b);
    return a_lack != b_lack ? a_lack < b_lack : a->goal > b->goal;
}

size_t keel_search_best(const keel_search *search, const keel_trial *trials, size_t n) {
    size_t best = n;
    double most = 0;
    for (size_t i = 0; i < n; ++i)
        if (trials[i].state == KEEL_TRIAL_DONE) most = fmax(most, trials[i].budget);
    for (size_t i = 0; i < n; ++i)
        if (trials[i].budget == most && keel_trial_feasible(search, &trials[i]) &&
            (best == n || keel_trial_better(search, &trials[i], &trials[best])))
            best = i;
    return best;
}

/* Of those like the best by what counts besides the goal, the one that the process expects most of. */
static size_t expected(const keel_search *search, const keel_trial *trials, size_t n, size_t best,
                       keel_gp *gp) {
    double highest = -INFINITY;
    size_t which = best;
    for (size_t i = 0; i < n; ++i) {
        double mean, sd;
        if (trials[i].budget != trials[best].budget || !keel_trial_feasible(search, &trials[i])) continue;
        keel_gp_predict(gp, trials[i].at, &mean, &sd);
        if (!(mean > highest)) continue;
        highest = mean;
        which = i;
    }
    return which;
}

static keel_status believe(const keel_search *search, const keel_trial *trials, size_t n, size_t *which,
                           double *x, keel_search_belief *out, keel_err *err) {
    enum { FEWEST = 5 };
    double value[KEEL_GP_POINTS];
    keel_gp gp;
    const size_t dims = search->space->n;
    const size_t count = keel__search_data(search, trials, n, trials[*which].budget, -1, x, value);
    if (count < FEWEST) return KEEL_OK;
    keel_status status = keel_gp_open(&gp, x, value, count, dims, search->space->nominal, err);
    if (status == KEEL_OK && keel_gp_fit(&gp, NULL) == KEEL_OK) {
        if (methods[search->method]->believes) *which = expected(search, trials, n, *which, &gp);
        keel_gp_predict(&gp, trials[*which].at, &out->mean, &out->sd);
        out->noise = gp.scales.noise * gp.scale;
        out->known = true;
    }
    keel_gp_close(&gp);
    return status;
}

keel_status keel_search_keep(const keel_search *search, const keel_trial *trials, size_t n, size_t *which,
                             keel_search_belief *belief, keel_err *err) {
    *belief = (keel_search_belief){0};
    *which = keel_search_best(search, trials, n);
    if (*which == n || n > KEEL_GP_POINTS) return KEEL_OK;
    double *x = keel_calloc(KEEL_GP_POINTS, search->space->n * sizeof *x);
    keel_status status = x ? believe(search, trials, n, which, x, belief, err) : keel_nomem(err, "search");
    keel_free(x);
    return status;
}
