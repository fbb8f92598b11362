#include "rl/judge/magic.h"

#include <float.h>
#include <math.h>

#include "core/memory.h"

/* Exact steps that move mass from the coordinate with the largest gradient to the one with the least
 * (sequential minimal optimisation): each lowers the objective, and where no pair is left the point satisfies
 * Kuhn and Tucker's conditions. */
void keel_magic_minimise(const double *a, size_t k, double *x) {
    enum { MOST_STEPS = 100000 };
    double scale = 0;
    for (size_t i = 0; i < k; ++i) x[i] = 1 / (double)k;
    for (size_t i = 0; i < k * k; ++i) scale = fmax(scale, fabs(a[i]));
    for (int step = 0; step < MOST_STEPS; ++step) {
        size_t low = 0, high = 0;
        double least = INFINITY, most = -INFINITY;
        for (size_t i = 0; i < k; ++i) {
            double gradient = 0;
            for (size_t j = 0; j < k; ++j) gradient += a[i * k + j] * x[j];
            if (gradient < least) least = gradient, low = i;
            if (x[i] > 0 && gradient > most) most = gradient, high = i;
        }
        if (!(most - least > 1e-14 * scale)) return;
        double curve = a[low * k + low] + a[high * k + high] - 2 * a[low * k + high];
        double move = curve > DBL_MIN ? (most - least) / curve : x[high];
        if (move >= x[high]) move = x[high];
        x[low] += move;
        x[high] = move == x[high] ? 0 : x[high] - move;
    }
}

/* Omega_jk = n / (n - 1) sum_i (g_i^(j) - mean)(g_i^(k) - mean), and b b' on top. */
static void fill(const double *parts, size_t n, const double *g, size_t k, double low, double high,
                 double *a) {
    double size = (double)n;
    for (size_t i = 0; i < n; ++i)
        for (size_t j = 0; j < k; ++j)
            for (size_t l = 0; l <= j; ++l)
                a[j * k + l] +=
                    (parts[i * k + j] - g[j] / size) * (parts[i * k + l] - g[l] / size) * size / (size - 1);
    for (size_t j = 0; j < k; ++j)
        for (size_t l = 0; l <= j; ++l) {
            double bias_j = g[j] > high ? g[j] - high : g[j] < low ? g[j] - low : 0;
            double bias_l = g[l] > high ? g[l] - high : g[l] < low ? g[l] - low : 0;
            a[j * k + l] += bias_j * bias_l;
            a[l * k + j] = a[j * k + l];
        }
}

keel_status keel_magic_blend(const double *parts, size_t n, const double *g, size_t k, double low,
                             double high, double *x, keel_err *err) {
    size_t cells;
    double *a = keel_size_mul(k, k, &cells) ? keel_calloc(cells, sizeof *a) : NULL;
    if (!a) return keel_fail(err, KEEL_E_NOMEM, "magic", "no memory for a blend of %zu estimates", k);
    if (n > 1) fill(parts, n, g, k, low, high, a);
    keel_magic_minimise(a, k, x);
    keel_free(a);
    return KEEL_OK;
}
