#include "core/logistic.h"

#include <math.h>
#include <string.h>

#include "core/hash.h"
#include "core/interrupt.h"
#include "core/numeric.h"

enum { LANES = KEEL_LOGISTIC_LANES };

typedef struct lanes {
    float of[LANES];
} lanes;

/* ---- the matrix ---- */

bool keel_logistic_room(keel_logistic_matrix *x, size_t entries, keel_arena *arena) {
    x->start = keel_arena_calloc(arena, x->rows + 1, sizeof *x->start);
    x->column = keel_arena_alloc(arena, entries * sizeof *x->column);
    x->column_start = keel_arena_calloc(arena, x->used + 2, sizeof *x->column_start);
    x->row = keel_arena_alloc(arena, entries * sizeof *x->row);
    x->row_scale = keel_arena_alloc(arena, x->rows * sizeof *x->row_scale);
    x->dense = keel_arena_alloc(arena, x->rows * x->n_dense * sizeof *x->dense);
    return x->start && x->column && x->column_start && x->row && x->row_scale && x->dense;
}

/* Rows of one column ascend. */
void keel_logistic_transpose(keel_logistic_matrix *x) {
    size_t *next = x->column_start + 1; /* one ahead, so that filling leaves the starts behind */
    for (size_t i = 0; i < x->start[x->rows]; i++) next[x->column[i] + 1]++;
    for (size_t c = 1; c <= x->used; c++) next[c] += next[c - 1];
    for (size_t r = 0; r < x->rows; r++)
        for (size_t i = x->start[r]; i < x->start[r + 1]; i++) x->row[next[x->column[i]]++] = (uint32_t)r;
}

/* ---- products with it ---- */

typedef struct fitting {
    const keel_logistic_task *task;
    const keel_logistic_matrix *m;
    size_t columns;
    lanes *x, *y, *slope; /* [columns] weights, where the gradient is taken, gradient */
    lanes *scaled;        /* [used] */
    lanes *z;             /* [rows] logits */
    lanes *told;          /* [rows] residuals of rows, gathered from pairs too */
    keel_arena arena;
} fitting;

static bool is_left_out(const fitting *fit, size_t row) {
    return fit->task->fold && fit->task->fold[row] == fit->task->left_out;
}

/* z = X w */
static void forward(fitting *fit, const lanes *w) {
    const keel_logistic_matrix *m = fit->m;
    const float *scale = m->column_scale;
    lanes *restrict scaled = fit->scaled, bias = w[fit->columns - 1];
    for (size_t c = 0; c < m->used; c++)
        for (size_t h = 0; h < LANES; h++) scaled[c].of[h] = scale[c] * w[c].of[h];
    for (size_t r = 0; r < m->rows; r++) {
        lanes sum = {{0}};
        if (is_left_out(fit, r)) continue;
        for (size_t i = m->start[r]; i < m->start[r + 1]; i++)
            for (size_t h = 0; h < LANES; h++) sum.of[h] += scaled[m->column[i]].of[h];
        for (size_t h = 0; h < LANES; h++) sum.of[h] = m->row_scale[r] * sum.of[h] + bias.of[h];
        for (size_t j = 0; j < m->n_dense; j++)
            for (size_t h = 0; h < LANES; h++)
                sum.of[h] += m->dense[r * m->n_dense + j] * w[m->used + j].of[h];
        fit->z[r] = sum;
    }
}

/* The tail of the gradient: dense numbers are for ranking outputs, the bias is for the others. */
static void backward_tail(fitting *fit, const lanes *residual) {
    const keel_logistic_matrix *m = fit->m;
    for (size_t j = 0; j <= m->n_dense; j++) {
        double sum[LANES] = {0};
        for (size_t r = 0; r < m->rows; r++) {
            double x = j < m->n_dense ? (double)m->dense[r * m->n_dense + j] : 1;
            for (size_t h = 0; h < LANES; h++) sum[h] += x * (double)residual[r].of[h];
        }
        for (size_t h = 0; h < LANES; h++)
            fit->slope[m->used + j].of[h] = fit->task->ranks[h] == (j < m->n_dense) ? (float)sum[h] : 0;
    }
}

/* slope = X^T residual; the residual is overwritten. */
static void backward(fitting *fit, lanes *restrict residual) {
    const keel_logistic_matrix *m = fit->m;
    const float *scale = m->column_scale;
    backward_tail(fit, residual);
    for (size_t r = 0; r < m->rows; r++)
        for (size_t h = 0; h < LANES; h++) residual[r].of[h] *= m->row_scale[r];
    for (size_t c = 0; c < m->used; c++) {
        lanes sum = {{0}};
        for (size_t i = m->column_start[c]; i < m->column_start[c + 1]; i++)
            for (size_t h = 0; h < LANES; h++) sum.of[h] += residual[m->row[i]].of[h];
        for (size_t h = 0; h < LANES; h++) fit->slope[c].of[h] = scale[c] * sum.of[h];
    }
}

static double lambda_of(const fitting *fit, size_t output) {
    return output < fit->task->outputs ? fit->task->lambda[output] : 1;
}

static float sigmoid(float z) {
    return 1 / (1 + expf(-z));
}

/* ---- labelled and ranking outputs: accelerated gradient descent ---- */

enum { POWER_STEPS = 15 };
/* Power iteration comes from below: the margin keeps the step below 2 / L, where descent is sure. */
static const double curvature_margin = 1.1;
/* Descent ends when each gradient is this part of its first. */
static const double tolerance = 1e-4;

/* d(loss)/dz of a row's label and of what a teacher says of it. The second derivative is at most 1/4,
 * whatever the temperature. */
static float residual(const keel_logistic_task *task, size_t row, size_t output, float z, bool linear) {
    const bool labelled = task->label[row][output] != KEEL_LOGISTIC_UNKNOWN;
    const float soft = task->soft ? task->soft[row][output] : NAN, y = task->label[row][output] == 1;
    const bool taught = !isnan(soft);
    if (!labelled && !taught) return 0;
    if (linear) return z;
    const float share = !taught ? 0 : labelled ? (float)task->share : 1, t = (float)task->temperature;
    const float own = labelled ? (1 - share) * (sigmoid(z) - y) : 0;
    return taught ? own + share * t * (sigmoid(z / t) - soft) : own;
}

/* From logits z to told = d(loss)/dz, or, linear, to what X^T X needs: z itself where a label or pair is. */
static void residuals(fitting *fit, bool linear) {
    const keel_logistic_task *task = fit->task;
    for (size_t r = 0; r < fit->m->rows; r++)
        for (size_t h = 0; h < LANES; h++)
            fit->told[r].of[h] =
                !is_left_out(fit, r) && task->fits[h] ? residual(task, r, h, fit->z[r].of[h], linear) : 0;
    for (size_t i = 0; i < task->n_pairs; i++) {
        size_t h = task->pair[i].output, a = task->pair[i].better, b = task->pair[i].worse;
        if (is_left_out(fit, a) || !task->fits[h]) continue;
        float z = fit->z[a].of[h] - fit->z[b].of[h], told = linear ? z : sigmoid(z) - 1;
        fit->told[a].of[h] += told;
        fit->told[b].of[h] -= told;
    }
}

/* step[h] = 1 / L, L = sigma_max^2 / 4 + lambda, by power iteration. */
static void find_steps(fitting *fit, double step[LANES]) {
    double square[LANES] = {0};
    for (size_t c = 0; c < fit->columns; c++)
        for (size_t h = 0; h < LANES; h++)
            fit->y[c].of[h] = 1 + (float)(keel_hash64_mix(c, h) >> 40) * 0x1p-24f;
    for (int i = 0; i < POWER_STEPS; i++) {
        forward(fit, fit->y);
        residuals(fit, true);
        backward(fit, fit->told);
        double above[LANES] = {0}, below[LANES] = {0};
        for (size_t c = 0; c < fit->columns; c++)
            for (size_t h = 0; h < LANES; h++) {
                above[h] += (double)fit->slope[c].of[h] * (double)fit->slope[c].of[h];
                below[h] += (double)fit->y[c].of[h] * (double)fit->y[c].of[h];
            }
        for (size_t h = 0; h < LANES; h++) square[h] = below[h] > 0 ? sqrt(above[h] / below[h]) : 0;
        for (size_t c = 0; c < fit->columns; c++)
            for (size_t h = 0; h < LANES; h++)
                fit->y[c].of[h] = square[h] > 0 ? (float)((double)fit->slope[c].of[h] / square[h]) : 0;
    }
    for (size_t h = 0; h < LANES; h++)
        step[h] = 1 / (0.25 * curvature_margin * square[h] + lambda_of(fit, h));
}

/* Accelerated step of every lane. squared: |gradient|^2; turned: whether momentum points uphill. */
static void descend(fitting *fit, const double step[LANES], const float momentum[LANES],
                    double squared[LANES], bool turned[LANES]) {
    float size[LANES], lambda[LANES];
    double uphill[LANES] = {0};
    for (size_t h = 0; h < LANES; h++) {
        size[h] = (float)step[h];
        lambda[h] = (float)lambda_of(fit, h);
        squared[h] = 0;
    }
    for (size_t c = 0; c < fit->columns; c++)
        for (size_t h = 0; h < LANES; h++) {
            float slope = fit->slope[c].of[h] + lambda[h] * fit->y[c].of[h];
            float next = fit->y[c].of[h] - size[h] * slope, moved = next - fit->x[c].of[h];
            squared[h] += (double)(slope * slope);
            uphill[h] += (double)(slope * moved);
            fit->y[c].of[h] = next + momentum[h] * moved;
            fit->x[c].of[h] = next;
        }
    for (size_t h = 0; h < LANES; h++) turned[h] = uphill[h] > 0;
}

/* Restarted per output when momentum goes uphill. */
static keel_status descend_all(fitting *fit, keel_err *err) {
    double step[LANES], first[LANES], squared[LANES], t[LANES] = {1, 1, 1, 1};
    float momentum[LANES];
    bool turned[LANES], done = false;
    find_steps(fit, step);
    memset(fit->y, 0, fit->columns * sizeof *fit->y);
    for (size_t i = 0; i < fit->task->iterations && !done; i++) {
        if (keel_interrupted())
            return keel_fail(err, KEEL_E_INTERRUPTED, fit->task->where, "stopped while fitting");
        forward(fit, fit->y);
        residuals(fit, false);
        backward(fit, fit->told);
        for (size_t h = 0; h < LANES; h++) {
            double next = 0.5 * (1 + sqrt(1 + 4 * t[h] * t[h]));
            momentum[h] = (float)((t[h] - 1) / next);
            t[h] = next;
        }
        descend(fit, step, momentum, squared, turned);
        if (i == 0) memcpy(first, squared, sizeof first);
        done = true;
        for (size_t h = 0; h < LANES; h++) {
            if (turned[h]) t[h] = 1;
            done = done && squared[h] <= tolerance * tolerance * first[h];
        }
    }
    return KEEL_OK;
}

/* ---- classes: L-BFGS. The problem is strongly convex, so accepted steps have positive curvature ---- */

enum { HISTORY = 6, LINE_STEPS = 40 };

/* Vectors are [columns] lanes. fit->x is where it stands, and fit->slope the gradient there; fit->y and next
 * are where it tries to go, direction the way there. */
typedef struct lbfgs {
    fitting *fit;
    lanes *gradient, *direction;
    lanes *step[HISTORY], *change[HISTORY]; /* s and y of the last updates, as a ring */
    double curvature[HISTORY];              /* s . y */
    size_t updates;
} lbfgs;

static double dot(const fitting *fit, const lanes *a, const lanes *b) {
    double sum[LANES] = {0}, all = 0;
    for (size_t c = 0; c < fit->columns; c++)
        for (size_t h = 0; h < LANES; h++) sum[h] += (double)a[c].of[h] * (double)b[c].of[h];
    for (size_t h = 0; h < LANES; h++) all += sum[h];
    return all;
}

static void add_scaled(const fitting *fit, lanes *y, double factor, const lanes *x) {
    const float by = (float)factor;
    for (size_t c = 0; c < fit->columns; c++)
        for (size_t h = 0; h < LANES; h++) y[c].of[h] += by * x[c].of[h];
}

/* The loss at w, and fit->slope its gradient. */
static double class_loss(fitting *fit, const lanes *w) {
    const keel_logistic_task *task = fit->task;
    double value = 0;
    forward(fit, w);
    memset(fit->told, 0, fit->m->rows * sizeof *fit->told);
    for (size_t r = 0; r < fit->m->rows; r++) {
        if (is_left_out(fit, r)) continue;
        const size_t own = (size_t)task->class_of[r];
        for (size_t h = 0; task->offset && h < task->outputs; h++)
            fit->z[r].of[h] += task->offset[r * task->outputs + h];
        keel_softmax(fit->z[r].of, task->outputs, fit->told[r].of);
        value -= log(fmax((double)fit->told[r].of[own], 1e-300));
        fit->told[r].of[own] -= 1;
    }
    backward(fit, fit->told);
    for (size_t c = 0; c < fit->columns; c++)
        for (size_t h = 0; h < task->outputs; h++) {
            const double lambda = task->lambda[h], weight = (double)w[c].of[h];
            value += 0.5 * lambda * weight * weight;
            fit->slope[c].of[h] += (float)(lambda * weight);
        }
    return value;
}

/* direction = - (approximate inverse Hessian) gradient: the two-loop recursion. */
static void find_direction(lbfgs *s) {
    const fitting *fit = s->fit;
    double alpha[HISTORY], scale = 1 / fmax(1, sqrt(dot(fit, s->gradient, s->gradient)));
    const size_t kept = s->updates < HISTORY ? s->updates : HISTORY;
    memset(s->direction, 0, fit->columns * sizeof *s->direction);
    add_scaled(fit, s->direction, -1, s->gradient);
    for (size_t back = 0; back < kept; back++) {
        const size_t r = (s->updates - 1 - back) % HISTORY;
        alpha[r] = dot(fit, s->step[r], s->direction) / s->curvature[r];
        add_scaled(fit, s->direction, -alpha[r], s->change[r]);
    }
    if (kept) {
        const size_t r = (s->updates - 1) % HISTORY;
        scale = s->curvature[r] / dot(fit, s->change[r], s->change[r]);
    }
    for (size_t c = 0; c < fit->columns; c++)
        for (size_t h = 0; h < LANES; h++) s->direction[c].of[h] *= (float)scale;
    for (size_t back = kept; back-- > 0;) {
        const size_t r = (s->updates - 1 - back) % HISTORY;
        const double beta = dot(fit, s->change[r], s->direction) / s->curvature[r];
        add_scaled(fit, s->direction, alpha[r] - beta, s->step[r]);
    }
}

/* Halves the step until the value falls enough (Armijo); false when it no longer can, at the limit of
 * precision. Leaves fit->y and fit->slope there. */
static bool search_line(lbfgs *s, double *value) {
    fitting *fit = s->fit;
    const double slope = dot(fit, s->gradient, s->direction);
    double length = 1;
    for (int tries = 0; tries < LINE_STEPS; tries++, length *= 0.5) {
        memcpy(fit->y, fit->x, fit->columns * sizeof *fit->y);
        add_scaled(fit, fit->y, length, s->direction);
        const double next = class_loss(fit, fit->y);
        if (!(next <= *value + 1e-4 * length * slope)) continue;
        *value = next;
        return true;
    }
    return false;
}

/* False where rounding has the say: the problem's curvature s . y is at least lambda s . s. */
static bool accept_step(lbfgs *s, double lambda) {
    fitting *fit = s->fit;
    const size_t r = s->updates % HISTORY;
    for (size_t c = 0; c < fit->columns; c++)
        for (size_t h = 0; h < LANES; h++) {
            s->step[r][c].of[h] = fit->y[c].of[h] - fit->x[c].of[h];
            s->change[r][c].of[h] = fit->slope[c].of[h] - s->gradient[c].of[h];
        }
    s->curvature[r] = dot(fit, s->step[r], s->change[r]);
    s->updates++;
    memcpy(fit->x, fit->y, fit->columns * sizeof *fit->x);
    memcpy(s->gradient, fit->slope, fit->columns * sizeof *s->gradient);
    return s->curvature[r] >= 0.5 * lambda * dot(fit, s->step[r], s->step[r]);
}

static keel_status minimise(lbfgs *s, keel_err *err) {
    fitting *fit = s->fit;
    double lambda = fit->task->lambda[0], value = class_loss(fit, fit->x);
    for (size_t h = 1; h < fit->task->outputs; h++) lambda = fmin(lambda, fit->task->lambda[h]);
    memcpy(s->gradient, fit->slope, fit->columns * sizeof *s->gradient);
    for (size_t n = 0; n < fit->task->iterations; n++) {
        if (keel_interrupted())
            return keel_fail(err, KEEL_E_INTERRUPTED, fit->task->where, "stopped while fitting");
        /* Strong convexity: |x - x*| <= |gradient| / lambda. */
        const double distance = sqrt(dot(fit, s->gradient, s->gradient)) / lambda;
        if (distance <= 1e-3 * fmax(1, sqrt(dot(fit, fit->x, fit->x)))) break;
        find_direction(s);
        if (!search_line(s, &value) || !accept_step(s, lambda)) break;
    }
    return KEEL_OK;
}

static keel_status fit_classes(fitting *fit, keel_err *err) {
    enum { VECTORS = 2 + 2 * HISTORY };
    lbfgs solver = {.fit = fit};
    lanes *block = keel_arena_calloc(&fit->arena, VECTORS * fit->columns, sizeof *block);
    if (!block) return keel_nomem(err, fit->task->where);
    solver.gradient = block;
    solver.direction = block + fit->columns;
    for (size_t r = 0; r < HISTORY; r++) {
        solver.step[r] = block + (2 + 2 * r) * fit->columns;
        solver.change[r] = block + (3 + 2 * r) * fit->columns;
    }
    return minimise(&solver, err);
}

/* ---- both ---- */

static bool make_room(fitting *fit) {
    fit->x = keel_arena_calloc(&fit->arena, fit->columns, sizeof *fit->x);
    fit->y = keel_arena_calloc(&fit->arena, fit->columns, sizeof *fit->y);
    fit->slope = keel_arena_calloc(&fit->arena, fit->columns, sizeof *fit->slope);
    fit->scaled = keel_arena_calloc(&fit->arena, fit->m->used, sizeof *fit->scaled);
    fit->z = keel_arena_calloc(&fit->arena, fit->m->rows, sizeof *fit->z);
    fit->told = keel_arena_calloc(&fit->arena, fit->m->rows, sizeof *fit->told);
    return fit->x && fit->y && fit->slope && fit->scaled && fit->z && fit->told;
}

keel_status keel_logistic_fit(const keel_logistic_task *task, float *weight, keel_err *err) {
    const keel_logistic_matrix *m = task->x;
    fitting fit = {.task = task, .m = m, .columns = m->used + m->n_dense + 1};
    keel_status status = make_room(&fit) ? KEEL_OK : keel_nomem(err, task->where);
    if (status == KEEL_OK) status = task->class_of ? fit_classes(&fit, err) : descend_all(&fit, err);
    for (size_t c = 0; c < fit.columns && status == KEEL_OK; c++)
        memcpy(weight + c * task->outputs, fit.x[c].of, task->outputs * sizeof *weight);
    keel_arena_free(&fit.arena);
    return status;
}
