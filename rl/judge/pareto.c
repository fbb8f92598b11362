#include "rl/judge/pareto.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"

static bool dominates(const double *a, const double *b, size_t d) {
    bool better = false;
    for (size_t k = 0; k < d; ++k) {
        if (a[k] < b[k]) return false;
        better = better || a[k] > b[k];
    }
    return better;
}

void keel_pareto_front(const double *points, size_t n, size_t d, bool *on) {
    for (size_t i = 0; i < n; ++i) {
        on[i] = true;
        for (size_t j = 0; j < n && on[i]; ++j) {
            const double *a = points + j * d, *b = points + i * d;
            if (dominates(a, b, d) || (j < i && memcmp(a, b, d * sizeof *a) == 0)) on[i] = false;
        }
    }
}

/* ---- volume ---- */

/* Rows by their last objective, the highest first; few, so insertion does. */
static void sort_down(double *rows, size_t n, size_t d, double *spare) {
    for (size_t i = 1; i < n; ++i) {
        size_t j = i;
        memcpy(spare, rows + i * d, d * sizeof *rows);
        for (; j > 0 && rows[(j - 1) * d + d - 1] < spare[d - 1]; --j)
            memcpy(rows + j * d, rows + (j - 1) * d, d * sizeof *rows);
        memcpy(rows + j * d, spare, d * sizeof *rows);
    }
}

/* Between two heights of the last objective the dominated set is that of the points above, in one dimension
 * less. */
static double slice(double *rows, size_t n, size_t d, const double *reference, double *room) {
    if (d == 1) {
        double most = reference[0];
        for (size_t i = 0; i < n; ++i) most = fmax(most, rows[i]);
        return most - reference[0];
    }
    double volume = 0, *lower = room, *rest = room + n * d;
    sort_down(rows, n, d, lower);
    for (size_t i = 0; i < n; ++i) {
        double top = rows[i * d + d - 1], floor = i + 1 < n ? rows[(i + 1) * d + d - 1] : reference[d - 1];
        if (!(top > floor)) continue;
        for (size_t j = 0; j <= i; ++j) memcpy(lower + j * (d - 1), rows + j * d, (d - 1) * sizeof *rows);
        volume += (top - floor) * slice(lower, i + 1, d - 1, reference, rest);
    }
    return volume;
}

keel_status keel_pareto_volume(const double *points, size_t n, size_t d, const double *reference, double *out,
                               keel_err *err) {
    size_t kept = 0, cells;
    double *rows = keel_size_mul(n + 1, (d + 1) * d, &cells) ? keel_alloc(cells * sizeof *rows) : NULL;
    if (!rows) return keel_fail(err, KEEL_E_NOMEM, "hypervolume", "no memory for %zu points", n);
    for (size_t i = 0; i < n; ++i) {
        bool above = true;
        for (size_t k = 0; k < d; ++k) above = above && points[i * d + k] > reference[k];
        if (above) memcpy(rows + kept++ * d, points + i * d, d * sizeof *rows);
    }
    *out = kept ? slice(rows, kept, d, reference, rows + (n + 1) * d) : 0;
    keel_free(rows);
    return KEEL_OK;
}
