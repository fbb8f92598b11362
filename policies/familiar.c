#include "policies/familiar.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/numeric.h"

typedef struct entry {
    int32_t dim, at;
} entry;

static int by_dim(const void *a, const void *b) {
    const entry *x = a, *y = b;
    if (x->dim != y->dim) return x->dim < y->dim ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

static keel_status check(const int32_t *first, const int32_t *dim, const float *weight, size_t n,
                         keel_err *err) {
    bool good = first[0] == 0;
    for (size_t i = 0; good && i < n; ++i)
        good = first[i + 1] >= first[i] && first[i + 1] - first[i] <= KEEL_PLACE_MOST;
    for (size_t i = 0; good && i < n; ++i) /* none of them lies behind first[n] */
        for (int32_t e = first[i]; good && e < first[i + 1]; ++e)
            good = dim[e] >= 0 && (e == first[i] || dim[e] > dim[e - 1]) && fabsf(weight[e]) <= 1.001f;
    return good ? KEEL_OK : keel_fail(err, KEEL_E_INVALID, "policy", "its familiar states are no places");
}

keel_status keel_familiar_open(const int32_t *first, const int32_t *dim, const float *weight, size_t n,
                               double threshold, keel_arena *arena, keel_familiar *out, keel_err *err) {
    KEEL_TRY(check(first, dim, weight, n, err));
    const size_t total = (size_t)first[n];
    entry *all = keel_calloc(total + 1, sizeof *all);
    int32_t *order = keel_arena_alloc(arena, (total + 1) * sizeof *order),
            *state_of = keel_arena_alloc(arena, (total + 1) * sizeof *state_of);
    if (all && order && state_of) {
        for (size_t e = 0; e < total; ++e) all[e] = (entry){dim[e], (int32_t)e};
        qsort(all, total, sizeof *all, by_dim);
        for (size_t e = 0; e < total; ++e) order[e] = all[e].at;
        for (size_t i = 0; i < n; ++i)
            for (int32_t e = first[i]; e < first[i + 1]; ++e) state_of[e] = (int32_t)i;
        *out = (keel_familiar){n, threshold, first, dim, weight, order, state_of};
    }
    keel_free(all);
    return all && order && state_of ? KEEL_OK : keel_nomem(err, "familiar states");
}

/* ---- distances ---- */

/* The first entry by dimension whose dimension is not below this one. */
static size_t find(const keel_familiar *familiar, int32_t dim) {
    size_t low = 0, high = (size_t)familiar->first[familiar->n];
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (familiar->dim[familiar->by_dim[middle]] < dim)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Cosines [n] with all states. */
static void find_cosines(const keel_familiar *familiar, const keel_place *place, double *cosine) {
    const size_t total = (size_t)familiar->first[familiar->n];
    memset(cosine, 0, familiar->n * sizeof *cosine);
    for (size_t d = 0; d < place->n; ++d)
        for (size_t e = find(familiar, place->dim[d]); e < total; ++e) {
            const int32_t at = familiar->by_dim[e];
            if (familiar->dim[at] != place->dim[d]) break;
            cosine[familiar->state_of[at]] += (double)place->weight[d] * (double)familiar->weight[at];
        }
}

double keel_familiar_distance(const keel_familiar *familiar, const keel_place *place) {
    double cosine[KEEL_FAMILIAR_MOST], most = -INFINITY;
    if (!familiar->n) return (double)NAN;
    find_cosines(familiar, place, cosine);
    for (size_t i = 0; i < familiar->n; ++i) most = fmax(most, cosine[i]);
    return 1 - most;
}

/* ---- making ---- */

static double threshold_of(const keel_familiar *familiar, const keel_place *unseen, const int64_t *group) {
    double distance[KEEL_FAMILIAR_MOST];
    size_t found = 0;
    for (size_t i = 0; i < familiar->n; ++i) {
        double cosine[KEEL_FAMILIAR_MOST], most = -INFINITY;
        find_cosines(familiar, &unseen[i], cosine);
        for (size_t j = 0; j < familiar->n; ++j)
            if (group[j] != group[i]) most = fmax(most, cosine[j]);
        if (most > -INFINITY) distance[found++] = 1 - most;
    }
    qsort(distance, found, sizeof *distance, keel_by_value);
    const size_t rank = (size_t)ceil(0.99 * (double)(found + 1));
    return !found ? (double)NAN : distance[rank < found ? rank - 1 : found - 1];
}

keel_status keel_familiar_make(const keel_place *places, const keel_place *unseen, const int64_t *group,
                               size_t n, keel_arena *arena, keel_familiar *out, keel_err *err) {
    size_t total = 0, at = 0;
    *out = (keel_familiar){0};
    for (size_t i = 0; i < n; ++i) total += places[i].n;
    int32_t *first = keel_arena_alloc(arena, (n + 1) * sizeof *first),
            *dim = keel_arena_alloc(arena, (total + 1) * sizeof *dim);
    float *weight = keel_arena_alloc(arena, (total + 1) * sizeof *weight);
    if (!first || !dim || !weight) return keel_nomem(err, "familiar states");
    for (size_t i = 0; i < n; ++i) {
        first[i] = (int32_t)at;
        memcpy(dim + at, places[i].dim, places[i].n * sizeof *dim);
        memcpy(weight + at, places[i].weight, places[i].n * sizeof *weight);
        at += places[i].n;
    }
    first[n] = (int32_t)at;
    KEEL_TRY(keel_familiar_open(first, dim, weight, n, 0, arena, out, err));
    out->threshold = threshold_of(out, unseen, group);
    if (isnan(out->threshold)) *out = (keel_familiar){0};
    return KEEL_OK;
}
