/* Gaussian process regression (Rasmussen & Williams 2006, chapters 2, 4 and 5) for the few hundred
 * evaluations of a search: a Matern kernel with nu = 5/2 over the unit cube, a length scale for each
 * dimension, noise, all by marginal likelihood.
 *
 *   k(x, x') = s^2 (1 + a + a^2/3) e^-a,   a^2 = 5 sum_j d_j^2 / l_j^2,   d_j = x_j - x'_j
 *
 * and d_j in {0, 1} (the same or not) in nominal dimensions, whose values have no order. Values are
 * standardised before; s and noise are standard deviations on that scale. */
#ifndef KEEL_RL_SEARCH_GP_H
#define KEEL_RL_SEARCH_GP_H

#include <stdbool.h>
#include <stddef.h>

#include "core/memory.h"
#include "core/status.h"

enum { KEEL_GP_DIMS = 16, KEEL_GP_POINTS = 512 };

typedef struct keel_gp_scales {
    double length[KEEL_GP_DIMS], signal, noise;
} keel_gp_scales;

typedef struct keel_gp {
    size_t n, dims;
    const bool *nominal; /* [dims]; NULL: none is */
    const double *x;     /* [n, dims] */
    double *y;           /* [n] (value - mean) / scale */
    double mean, scale;
    keel_gp_scales scales;
    double *factor;       /* [n, n] lower Cholesky factor of K + noise^2 I */
    double *alpha;        /* [n] (K + noise^2 I)^-1 y */
    double *work, *inner; /* [n], [n, n] */
    keel_arena arena;
} keel_gp;

/* Takes n points [n, dims] in the unit cube with their values [n] (finite); x and nominal are borrowed until
 * the end. 1 <= n <= KEEL_GP_POINTS, 1 <= dims <= KEEL_GP_DIMS. Free in any case. */
keel_status keel_gp_open(keel_gp *gp, const double *x, const double *value, size_t n, size_t dims,
                         const bool *nominal, keel_err *err);
void keel_gp_close(keel_gp *gp);

/* Log marginal likelihood of y under these scales (R&W eq. 5.8), which the process takes over; gradient [dims
 * + 2] by the logarithm of each length, of signal and of noise (eq. 5.9), or NULL. -INFINITY where the matrix
 * is not positive definite. */
double keel_gp_likelihood(keel_gp *gp, const keel_gp_scales *scales, double *gradient);

/* The scales of highest likelihood times a weak prior (log-normal: lengths about 0.4 sqrt(dims), signal about
 * 1, noise about 0.03), by iRprop- (Igel & Huesken 2003; for this use Blum & Riedmiller 2013) from two
 * starts, little noise and much. KEEL_E_INVALID if no start has a likelihood. */
keel_status keel_gp_fit(keel_gp *gp, keel_err *err);

/* Mean and standard deviation of the function itself, without noise, at x [dims] (R&W eq. 2.25 and 2.26), in
 * the units of the values. After keel_gp_likelihood or keel_gp_fit. Not for several threads at once. */
void keel_gp_predict(keel_gp *gp, const double *x, double *mean, double *sd);

#endif
