#include "policies/weighting.h"

#include <math.h>
#include <string.h>

/* ---- the lattice ---- */

/* Points by p = quarters of the first two components together, and q = those of the first: 0 <= q <= p <=
 * LATTICE.
 */
static size_t place_of(size_t p, size_t q) {
    return p * (p + 1) / 2 + q;
}

void keel_weighting_point(size_t i, double weight[KEEL_N_REWARDS]) {
    size_t p = 0;
    while (place_of(p + 1, 0) <= i) ++p;
    double q = (double)(i - place_of(p, 0));
    weight[0] = q / KEEL_LATTICE;
    weight[1] = ((double)p - q) / KEEL_LATTICE;
    weight[2] = (double)(KEEL_LATTICE - p) / KEEL_LATTICE;
}

/* The whole steps before x, so that a step lies behind them. */
static size_t steps_before(double x, size_t most) {
    double whole = floor(x);
    return whole < 0 ? 0 : whole > (double)most ? most : (size_t)whole;
}

double keel_weighting_beta(const double beta[KEEL_N_LATTICE], const double weight[KEEL_N_REWARDS]) {
    double x = KEEL_LATTICE * (weight[0] + weight[1]), y = KEEL_LATTICE * weight[0];
    size_t p = steps_before(x, KEEL_LATTICE - 1), q = steps_before(y, p);
    double right = fmin(1, x - (double)p), up = fmin(1, y - (double)q);
    /* From (p, q) to (p+1, q+1), round the corner that the point is nearer to. The diagonal is an edge. */
    size_t corner = right >= up ? place_of(p + 1, q) : place_of(p, q + 1);
    const size_t at[3] = {place_of(p, q), corner, place_of(p + 1, q + 1)};
    const double share[3] = {1 - fmax(right, up), fabs(right - up), fmin(right, up)};
    double inverse = 0;
    for (size_t i = 0; i < 3; ++i)
        if (share[i] > 1e-9) inverse += share[i] / beta[at[i]]; /* infinite where a beta is 0 */
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
    keel_fail(err, KEEL_E_INVALID, "weights", "expected shares of at least 0 that sum to 1, got %g, %g, %g",
              weight[0], weight[1], weight[2]);
    return keel_hint(err, "weights of accuracy, speed and safety, like 0.6,0.3,0.1");
}

void keel_weighting_extend(const float *state, const float *weight, size_t dim, float *to) {
    memcpy(to, state, dim * sizeof *to);
    memcpy(to + dim, weight, KEEL_N_REWARDS * sizeof *to);
}
