#include "rl/search/gp.h"

#include <math.h>
#include <string.h>

static const double PI = 3.14159265358979323846;
/* On the diagonal besides the noise: points that coincide stay apart in double precision. */
static const double JITTER = 1e-9;

/* ---- kernel ---- */

/* 5 d_j^2 / l_j^2, or 0 where both are alike. */
static double part(const keel_gp *gp, const double *a, const double *b, size_t j) {
    const double apart = gp->nominal && gp->nominal[j] ? (double)(a[j] != b[j]) : a[j] - b[j];
    const double scaled = apart / gp->scales.length[j];
    return 5 * scaled * scaled;
}

static double kernel(const keel_gp *gp, const double *a, const double *b) {
    double square = 0;
    for (size_t j = 0; j < gp->dims; ++j) square += part(gp, a, b, j);
    const double r = sqrt(square);
    return gp->scales.signal * gp->scales.signal * (1 + r + square / 3) * exp(-r);
}

/* ---- linear algebra, lower triangles, row-major [n, n] ---- */

/* In four sums at once, which do not wait for each other. */
static double dot(const double *a, const double *b, size_t n) {
    double sum[4] = {0};
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (size_t k = 0; k < 4; ++k) sum[k] += a[i + k] * b[i + k];
    for (; i < n; ++i) sum[0] += a[i] * b[i];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

static bool factorise(double *a, size_t n) {
    for (size_t i = 0; i < n; ++i) {
        for (size_t j = 0; j < i; ++j)
            a[i * n + j] = (a[i * n + j] - dot(a + i * n, a + j * n, j)) / a[j * n + j];
        const double pivot = a[i * n + i] - dot(a + i * n, a + i * n, i);
        if (!(pivot > 0)) return false;
        a[i * n + i] = sqrt(pivot);
    }
    return true;
}

/* x <- L^-1 x; x <- L^-T x. */
static void solve_lower(const double *l, size_t n, double *x) {
    for (size_t i = 0; i < n; ++i) x[i] = (x[i] - dot(l + i * n, x, i)) / l[i * n + i];
}
static void solve_upper(const double *l, size_t n, double *x) {
    for (size_t i = n; i-- > 0;) {
        x[i] /= l[i * n + i];
        for (size_t j = 0; j < i; ++j) x[j] -= l[i * n + j] * x[i];
    }
}

/* The upper half of (L L')^-1 into out, by way of the rows of L^-T. */
static void invert(const double *l, size_t n, double *out) {
    for (size_t i = 0; i < n; ++i) {
        double *row = out + i * n; /* column i of L^-1, from its i-th entry on */
        memset(row, 0, n * sizeof *row);
        row[i] = 1 / l[i * n + i];
        for (size_t k = i + 1; k < n; ++k) row[k] = -dot(l + k * n + i, row + i, k - i) / l[k * n + k];
    }
    for (size_t j = 0; j < n; ++j) /* in place: of row j, what is left of column i is not needed any more */
        for (size_t i = j; i < n; ++i) out[j * n + i] = dot(out + j * n + i, out + i * n + i, n - i);
}

/* ---- the process ---- */

static void standardise(keel_gp *gp, const double *value) {
    double square = 0;
    for (size_t i = 0; i < gp->n; ++i) gp->mean += value[i] / (double)gp->n;
    for (size_t i = 0; i < gp->n; ++i) square += (value[i] - gp->mean) * (value[i] - gp->mean);
    const double sd = sqrt(square / (double)gp->n);
    gp->scale = sd > 1e-12 * (1 + fabs(gp->mean)) ? sd : 1;
    for (size_t i = 0; i < gp->n; ++i) gp->y[i] = (value[i] - gp->mean) / gp->scale;
}

keel_status keel_gp_open(keel_gp *gp, const double *x, const double *value, size_t n, size_t dims,
                         const bool *nominal, keel_err *err) {
    *gp = (keel_gp){.n = n, .dims = dims, .nominal = nominal, .x = x};
    if (n < 1 || n > KEEL_GP_POINTS || dims < 1 || dims > KEEL_GP_DIMS)
        return keel_fail(err, KEEL_E_INVALID, "Gaussian process",
                         "expected 1 to %d points in 1 to %d dimensions, got %zu in %zu", (int)KEEL_GP_POINTS,
                         (int)KEEL_GP_DIMS, n, dims);
    gp->y = keel_arena_calloc(&gp->arena, n, sizeof *gp->y);
    gp->alpha = keel_arena_calloc(&gp->arena, n, sizeof *gp->alpha);
    gp->work = keel_arena_calloc(&gp->arena, n, sizeof *gp->work);
    gp->factor = keel_arena_calloc(&gp->arena, n * n, sizeof *gp->factor);
    gp->inner = keel_arena_calloc(&gp->arena, n * n, sizeof *gp->inner);
    if (!gp->y || !gp->alpha || !gp->work || !gp->factor || !gp->inner)
        return keel_nomem(err, "Gaussian process");
    for (size_t i = 0; i < n; ++i)
        if (!isfinite(value[i]))
            return keel_fail(err, KEEL_E_INVALID, "Gaussian process", "value %zu is not finite", i);
    standardise(gp, value);
    return KEEL_OK;
}

void keel_gp_close(keel_gp *gp) {
    keel_arena_free(&gp->arena);
    *gp = (keel_gp){0};
}

/* half tr((alpha alpha' - K^-1) dK/dt) for t the logarithms: pairs below the diagonal count twice. */
static void add_gradient(keel_gp *gp, double *gradient) {
    const size_t n = gp->n, dims = gp->dims;
    const double signal = gp->scales.signal * gp->scales.signal;
    const double noise = gp->scales.noise * gp->scales.noise;
    memset(gradient, 0, (dims + 2) * sizeof *gradient);
    invert(gp->factor, n, gp->inner);
    for (size_t i = 0; i < n; ++i) {
        const double w = (gp->alpha[i] * gp->alpha[i] - gp->inner[i * n + i]) / 2;
        gradient[dims] += w * 2 * signal;
        gradient[dims + 1] += w * 2 * noise;
        for (size_t j = i + 1; j < n; ++j) {
            const double pair = gp->alpha[i] * gp->alpha[j] - gp->inner[i * n + j];
            const double *a = gp->x + i * dims, *b = gp->x + j * dims;
            double square = 0, parts[KEEL_GP_DIMS];
            for (size_t k = 0; k < dims; ++k) square += parts[k] = part(gp, a, b, k);
            const double r = sqrt(square), decay = signal * exp(-r);
            gradient[dims] += pair * 2 * decay * (1 + r + square / 3);
            for (size_t k = 0; k < dims; ++k) gradient[k] += pair * decay * (1 + r) / 3 * parts[k];
        }
    }
}

double keel_gp_likelihood(keel_gp *gp, const keel_gp_scales *scales, double *gradient) {
    const size_t n = gp->n;
    double log_det = 0;
    gp->scales = *scales;
    for (size_t i = 0; i < n; ++i) {
        for (size_t j = 0; j < i; ++j)
            gp->factor[i * n + j] = kernel(gp, gp->x + i * gp->dims, gp->x + j * gp->dims);
        gp->factor[i * n + i] = scales->signal * scales->signal + scales->noise * scales->noise + JITTER;
    }
    if (!factorise(gp->factor, n)) return -INFINITY;
    memcpy(gp->alpha, gp->y, n * sizeof *gp->alpha);
    solve_lower(gp->factor, n, gp->alpha);
    solve_upper(gp->factor, n, gp->alpha);
    for (size_t i = 0; i < n; ++i) log_det += log(gp->factor[i * n + i]);
    if (gradient) add_gradient(gp, gradient);
    return -dot(gp->y, gp->alpha, n) / 2 - log_det - (double)n / 2 * log(2 * PI);
}

void keel_gp_predict(keel_gp *gp, const double *x, double *mean, double *sd) {
    for (size_t i = 0; i < gp->n; ++i) gp->work[i] = kernel(gp, x, gp->x + i * gp->dims);
    *mean = gp->mean + gp->scale * dot(gp->work, gp->alpha, gp->n);
    solve_lower(gp->factor, gp->n, gp->work);
    const double variance = gp->scales.signal * gp->scales.signal - dot(gp->work, gp->work, gp->n);
    *sd = gp->scale * sqrt(fmax(variance, 0));
}

/* ---- scales ---- */

typedef struct prior {
    double centre, spread; /* of the logarithm */
} prior;

static prior prior_of(const keel_gp *gp, size_t i) {
    if (i < gp->dims) return (prior){log(0.4 * sqrt((double)gp->dims)), 0.9};
    return i == gp->dims ? (prior){0, 0.7} : (prior){log(0.03), 1.5};
}

static keel_gp_scales scales_at(const keel_gp *gp, const double *logs) {
    keel_gp_scales out = {.signal = exp(logs[gp->dims]), .noise = exp(logs[gp->dims + 1])};
    for (size_t j = 0; j < gp->dims; ++j) out.length[j] = exp(logs[j]);
    return out;
}

static double posterior(keel_gp *gp, const double *logs, double *gradient) {
    const keel_gp_scales scales = scales_at(gp, logs);
    double sum = keel_gp_likelihood(gp, &scales, gradient);
    for (size_t i = 0; i < gp->dims + 2; ++i) {
        const prior p = prior_of(gp, i);
        const double z = (logs[i] - p.centre) / p.spread;
        sum -= z * z / 2;
        gradient[i] -= z / p.spread;
    }
    return sum;
}

/* iRprop-: each step grows while its slope keeps its sign, and shrinks, without moving, when that changes. */
static double climb(keel_gp *gp, double *logs) {
    enum { ROUNDS = 60, MOST = KEEL_GP_DIMS + 2 };
    double gradient[MOST], before[MOST] = {0}, step[MOST], best_at[MOST], best = -INFINITY;
    const size_t n = gp->dims + 2;
    for (size_t i = 0; i < n; ++i) step[i] = 0.2;
    for (int round = 0; round < ROUNDS; ++round) {
        const double value = posterior(gp, logs, gradient);
        if (!isfinite(value)) break;
        if (value > best) {
            best = value;
            memcpy(best_at, logs, n * sizeof *logs);
        }
        for (size_t i = 0; i < n; ++i) {
            const double turn = gradient[i] * before[i];
            step[i] = turn > 0 ? fmin(step[i] * 1.2, 1) : turn < 0 ? fmax(step[i] * 0.5, 1e-4) : step[i];
            before[i] = turn < 0 ? 0 : gradient[i];
            if (before[i] != 0) logs[i] += before[i] > 0 ? step[i] : -step[i];
            logs[i] = fmin(fmax(logs[i], log(1e-5)), log(1e3));
        }
    }
    if (isfinite(best)) memcpy(logs, best_at, n * sizeof *logs);
    return best;
}

keel_status keel_gp_fit(keel_gp *gp, keel_err *err) {
    static const double noises[] = {0.01, 0.5};
    double best = -INFINITY, best_logs[KEEL_GP_DIMS + 2];
    for (size_t start = 0; start < sizeof noises / sizeof *noises; ++start) {
        double logs[KEEL_GP_DIMS + 2];
        for (size_t i = 0; i < gp->dims + 1; ++i) logs[i] = prior_of(gp, i).centre;
        logs[gp->dims + 1] = log(noises[start]);
        const double value = climb(gp, logs);
        if (!(value > best)) continue;
        best = value;
        memcpy(best_logs, logs, sizeof best_logs);
    }
    if (!isfinite(best))
        return keel_fail(err, KEEL_E_INVALID, "Gaussian process", "no scales fit these values");
    const keel_gp_scales scales = scales_at(gp, best_logs);
    keel_gp_likelihood(gp, &scales, NULL);
    return KEEL_OK;
}
