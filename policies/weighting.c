#include "policies/weighting.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- the lattice ---- */

/* A point is told by D whole numbers, KEEL_LATTICE >= c[0] >= c[1] >= ... >= 0: the quarters of the first D
 * components together, of the first D - 1, and so on. */
enum { D = KEEL_N_REWARDS - 1 };

static size_t choose(size_t n, size_t k) {
    size_t ways = 1;
    for (size_t i = 1; i <= k; ++i) ways = ways * (n + 1 - i) / i; /* 0 where k > n */
    return ways;
}

/* How many points come before those with c[j] = c, among those with the same c[0 .. j). */
static size_t points_before(size_t j, size_t c) {
    return choose(c + D - 1 - j, D - j);
}

static size_t place_of(const size_t c[D]) {
    size_t place = 0;
    for (size_t j = 0; j < D; ++j) place += points_before(j, c[j]);
    return place;
}

void keel_weighting_point(size_t i, double weight[KEEL_N_REWARDS]) {
    double above = KEEL_LATTICE;
    for (size_t j = 0; j < D; ++j) {
        size_t c = 0;
        while (points_before(j, c + 1) <= i) ++c;
        i -= points_before(j, c);
        weight[D - j] = (above - (double)c) / KEEL_LATTICE;
        above = (double)c;
    }
    weight[0] = above / KEEL_LATTICE;
}

/* The whole steps before x, so that a step lies behind them. */
static size_t steps_before(double x, size_t most) {
    double whole = floor(x);
    return whole < 0 ? 0 : whole > (double)most ? most : (size_t)whole;
}

double keel_weighting_beta(const double beta[KEEL_N_LATTICE], const double weight[KEEL_N_REWARDS]) {
    size_t c[D], order[D];
    double rest[D]; /* of a step, behind c */
    for (size_t j = 0; j < D; ++j) {
        double sum = 0;
        for (size_t k = 0; k < D - j; ++k) sum += weight[k];
        const double x = KEEL_LATTICE * sum;
        c[j] = steps_before(x, j > 0 ? c[j - 1] : KEEL_LATTICE - 1);
        rest[j] = fmin(1, x - (double)c[j]);
        size_t at = j; /* the largest rest first */
        for (; at > 0 && rest[order[at - 1]] < rest[j]; --at) order[at] = order[at - 1];
        order[at] = j;
    }
    /* From c to c + 1, one step at a time: each corner's share is what its rest is above the next. */
    double inverse = 0, left = 1;
    for (size_t i = 0; i <= D; ++i) {
        const double next = i < D ? rest[order[i]] : 0, share = left - next;
        if (share > 1e-9) inverse += share / beta[place_of(c)]; /* infinite where a beta is 0 */
        if (i < D) ++c[order[i]];
        left = next;
    }
    return 1 / inverse;
}

/* ---- weights ---- */

keel_status keel_weighting_check(const double weight[KEEL_N_REWARDS], keel_err *err) {
    double total = 0;
    bool good = true;
    for (int k = 0; k < KEEL_N_REWARDS; ++k) {
        good = good && weight[k] >= 0;
        total += weight[k];
    }
    if (good && fabs(total - 1) <= 1e-6) return KEEL_OK;
    char got[32 * KEEL_N_REWARDS];
    size_t length = 0;
    for (int k = 0; k < KEEL_N_REWARDS; ++k)
        length += (size_t)snprintf(got + length, sizeof got - length, "%s%g", k > 0 ? ", " : "", weight[k]);
    keel_fail(err, KEEL_E_INVALID, "weights", "expected shares of at least 0 that sum to 1, got %s", got);
    return keel_hint(err, "weights of %s, like 0.6,0.3,0.1", keel_reward_list);
}

void keel_weighting_extend(const float *state, const float *weight, size_t dim, float *to) {
    memcpy(to, state, dim * sizeof *to);
    memcpy(to + dim, weight, KEEL_N_REWARDS * sizeof *to);
}
