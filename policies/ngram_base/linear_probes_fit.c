/* Fitting of the linear heads. All heads of one set of weights go through the sparse matrix together, four
 * lanes abreast; idf and norms are factored out of it, so that its entries are bare indices: rows of columns
 * for X w, columns of rows for X^T r. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/checkpoint.h"
#include "core/hash.h"
#include "core/interrupt.h"
#include "policies/ngram_base/linear_probes_internal.h"

enum { LANES = KEEL_LINEAR_PROBES_MAX, POWER_STEPS = 15 };
/* Power iteration comes from below: the margin keeps the step below 2 / L, where descent is sure. */
static const double curvature_margin = 1.1;
/* Length of a typical row of dense numbers, beside 1 of a row of n-grams. On HH-RLHF pairs anything from 0 to
 * 1 does as well within the noise (63 to 64 % right at lambda 1). */
static const double dense_weight = 0.4;
/* Descent ends when each gradient is this part of its first. */
static const double tolerance = 1e-4;

typedef struct lanes {
    float of[LANES];
} lanes;

typedef struct matrix {
    const keel_linear_probes_config *config;
    size_t rows, used, n_dense, n_pairs;
    size_t columns;                /* used + n_dense + 1 */
    size_t *start;                 /* [rows + 1] */
    uint32_t *column;              /* [start[rows]], row after row */
    size_t *column_start;          /* [used + 1] */
    uint32_t *row;                 /* the same entries, column after column */
    float *norm;                   /* [rows] 1 / L2 norm of a row's idf */
    float *dense;                  /* [rows, n_dense] scaled */
    unsigned char *fold;           /* [rows] */
    const signed char **label;     /* [rows] -> [KEEL_LINEAR_PROBES_MAX] */
    keel_linear_probes_pair *pair; /* [n_pairs] of rows of the matrix */
    keel_arena arena;
} matrix;

/* ---- the matrix ---- */

typedef struct frequency {
    uint32_t id, rows;
} frequency;

/* The most frequent first, so that what is read most lies together. */
static int by_frequency(const void *a, const void *b) {
    const frequency *x = a, *y = b;
    if (x->rows != y->rows) return x->rows > y->rows ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

/* Ids that occur, with the number of rows they occur in; *used of them. */
static frequency *count_ids(const keel_linear_probes_builder *builder, keel_arena *arena, size_t *used) {
    frequency *count = keel_arena_calloc(arena, builder->config.n_ids, sizeof *count);
    size_t kept = 0;
    if (!count) return NULL;
    for (size_t i = 0; i < builder->config.n_ids; i++) count[i].id = (uint32_t)i;
    for (size_t i = 0; i < builder->count; i++)
        for (size_t j = 0; j < builder->unit[i]->entries; j++) count[builder->unit[i]->id[j]].rows++;
    for (size_t i = 0; i < builder->config.n_ids; i++)
        if (count[i].rows > 0) count[kept++] = count[i];
    qsort(count, kept, sizeof *count, by_frequency);
    *used = kept;
    return count;
}

static void number_columns(keel_linear_probes *heads, const frequency *count, size_t rows) {
    double all = log1p((double)rows);
    for (size_t i = 0; i < heads->used; i++) {
        heads->id[i] = (int32_t)count[i].id;
        heads->column_of[count[i].id] = (int32_t)i;
        heads->idf[i] = (float)(all - log1p((double)count[i].rows) + 1);
    }
    heads->idf[heads->used] = (float)(all + 1);
}

static bool matrix_room(matrix *m, size_t entries) {
    keel_arena *arena = &m->arena;
    m->start = keel_arena_calloc(arena, m->rows + 1, sizeof *m->start);
    m->column = keel_arena_alloc(arena, entries * sizeof *m->column);
    m->column_start = keel_arena_calloc(arena, m->used + 2, sizeof *m->column_start);
    m->row = keel_arena_alloc(arena, entries * sizeof *m->row);
    m->norm = keel_arena_alloc(arena, m->rows * sizeof *m->norm);
    m->dense = keel_arena_alloc(arena, m->rows * m->n_dense * sizeof *m->dense);
    m->fold = keel_arena_alloc(arena, m->rows);
    m->label = keel_arena_alloc(arena, m->rows * sizeof *m->label);
    m->pair = keel_arena_alloc(arena, m->n_pairs * sizeof *m->pair);
    return m->start && m->column && m->column_start && m->row && m->norm && m->dense && m->fold && m->label &&
           m->pair;
}

/* One decision's rows and pairs behind those that are there already. */
static void put_unit(matrix *m, const keel_linear_probes *heads, const keel__linear_probes_unit *unit,
                     size_t *row, size_t *pair) {
    unsigned char fold = (unsigned char)keel__linear_probes_fold(unit->group, m->config->folds);
    for (size_t i = 0; i < unit->n_pairs; i++, ++*pair)
        m->pair[*pair] = (keel_linear_probes_pair){unit->pair[i].head, (uint32_t)*row + unit->pair[i].better,
                                                   (uint32_t)*row + unit->pair[i].worse};
    for (size_t r = 0, i = 0; r < unit->n_rows; r++, ++*row) {
        size_t at = m->start[*row];
        double square = 0;
        for (; i < unit->end[r]; i++) {
            uint32_t column = (uint32_t)heads->column_of[unit->id[i]];
            double idf = (double)heads->idf[column];
            m->column[at++] = column;
            square += idf * idf;
        }
        m->start[*row + 1] = at;
        m->norm[*row] = square > 0 ? (float)(1 / sqrt(square)) : 0;
        m->fold[*row] = fold;
        m->label[*row] = unit->label + r * KEEL_LINEAR_PROBES_MAX;
        for (size_t j = 0; j < m->n_dense; j++)
            m->dense[*row * m->n_dense + j] = unit->dense[r * m->n_dense + j];
    }
}

/* Entries once more, sorted by column; rows of one column ascend. */
static void transpose(matrix *m) {
    size_t *next = m->column_start + 1; /* one ahead, so that filling leaves the starts behind */
    for (size_t i = 0; i < m->start[m->rows]; i++) next[m->column[i] + 1]++;
    for (size_t c = 1; c <= m->used; c++) next[c] += next[c - 1];
    for (size_t r = 0; r < m->rows; r++)
        for (size_t i = m->start[r]; i < m->start[r + 1]; i++) m->row[next[m->column[i]]++] = (uint32_t)r;
}

/* Dense numbers to mean 0 and a deviation that makes all of them together weigh dense_weight. */
static void scale_dense(matrix *m, keel_linear_probes *heads) {
    for (size_t j = 0; j < m->n_dense; j++) {
        double sum = 0, square = 0, n = (double)m->rows;
        for (size_t r = 0; r < m->rows; r++) sum += (double)m->dense[r * m->n_dense + j];
        double mean = n > 0 ? sum / n : 0;
        for (size_t r = 0; r < m->rows; r++) square += pow((double)m->dense[r * m->n_dense + j] - mean, 2);
        double deviation = n > 0 ? sqrt(square / n) : 0;
        bool varies = deviation > 1e-6 * (1 + fabs(mean));
        heads->dense[j] = (float)mean;
        heads->dense[m->n_dense + j] =
            varies ? (float)(dense_weight / (deviation * sqrt((double)m->n_dense))) : 0;
        for (size_t r = 0; r < m->rows; r++) {
            float *x = &m->dense[r * m->n_dense + j];
            *x = (*x - heads->dense[j]) * heads->dense[m->n_dense + j];
        }
    }
}

static int by_number(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void put_groups(keel_linear_probes *heads, const keel_linear_probes_builder *builder) {
    size_t kept = 0;
    for (size_t i = 0; i < builder->count; i++) heads->group[i] = builder->unit[i]->group;
    qsort(heads->group, builder->count, sizeof *heads->group, by_number);
    for (size_t i = 0; i < builder->count; i++)
        if (kept == 0 || heads->group[i] != heads->group[kept - 1]) heads->group[kept++] = heads->group[i];
    heads->n_groups = kept;
}

/* Heads with columns, idf and groups, and the matrix of the builder's rows. */
static keel_status build(const keel_linear_probes_builder *builder, matrix *m, keel_linear_probes **out,
                         keel_err *err) {
    const keel_linear_probes_config *config = &builder->config;
    size_t row = 0, pair = 0, entries = builder->entries, rows = 0;
    keel_arena scratch = {0};
    *m = (matrix){.config = config, .n_dense = config->n_dense};
    for (size_t i = 0; i < builder->count; i++) {
        rows += builder->unit[i]->n_rows;
        m->n_pairs += builder->unit[i]->n_pairs;
    }
    m->rows = rows;
    entries -= rows;
    frequency *count = rows <= UINT32_MAX ? count_ids(builder, &scratch, &m->used) : NULL;
    m->columns = m->used + m->n_dense + 1;
    keel_linear_probes sizes = {.n_ids = config->n_ids,
                                .n_dense = m->n_dense,
                                .n_heads = config->n_heads,
                                .sets = config->folds + 1,
                                .used = m->used,
                                .n_groups = builder->count};
    keel_status status = KEEL_E_NOMEM;
    if (!count || !matrix_room(m, entries))
        keel__linear_probes_no_memory(err);
    else
        status = keel__linear_probes_make(out, &sizes, err);
    if (status == KEEL_OK) {
        number_columns(*out, count, rows);
        for (size_t i = 0; i < builder->count; i++) put_unit(m, *out, builder->unit[i], &row, &pair);
        transpose(m);
        scale_dense(m, *out);
        put_groups(*out, builder);
    }
    keel_arena_free(&scratch);
    return status;
}

/* A head counts if every set of weights has both labels, or pairs, to learn from. */
static void find_fitted(const matrix *m, keel_linear_probes *heads) {
    size_t seen[KEEL_LINEAR_PROBES_MAX_FOLDS + 1][LANES][2] = {0}, folds = m->config->folds;
    for (size_t r = 0; r < m->rows; r++)
        for (size_t h = 0; h < LANES; h++)
            if (m->label[r][h] != KEEL_UNKNOWN) {
                seen[m->fold[r]][h][m->label[r][h] == KEEL_YES]++;
                seen[folds][h][m->label[r][h] == KEEL_YES]++;
            }
    for (size_t i = 0; i < m->n_pairs; i++)
        for (size_t k = 0; k < 2; k++) {
            seen[m->fold[m->pair[i].better]][m->pair[i].head][k]++;
            seen[folds][m->pair[i].head][k]++;
        }
    for (size_t h = 0; h < heads->n_heads; h++) {
        heads->fitted[h] = 1;
        for (size_t f = 0; f < folds; f++)
            for (size_t k = 0; k < 2; k++)
                if (seen[folds][h][k] == seen[f][h][k]) heads->fitted[h] = 0;
    }
}

/* ---- one set of weights ---- */

typedef struct set_fit {
    const matrix *m;
    const keel_linear_probes *heads;
    size_t left_out;      /* fold; folds for none */
    lanes *x, *y, *slope; /* [columns] weights, where the gradient is taken, gradient */
    lanes *scaled;        /* [used] */
    lanes *z;             /* [rows] logits, then residuals */
    lanes *told;          /* [rows] residuals of rows, gathered from pairs too */
    keel_arena arena;
} set_fit;

/* z = X w */
static void forward(set_fit *fit, const lanes *w) {
    const matrix *m = fit->m;
    const float *idf = fit->heads->idf;
    lanes *restrict scaled = fit->scaled, bias = w[m->columns - 1];
    for (size_t c = 0; c < m->used; c++)
        for (size_t h = 0; h < LANES; h++) scaled[c].of[h] = idf[c] * w[c].of[h];
    for (size_t r = 0; r < m->rows; r++) {
        lanes sum = {{0}};
        if (m->fold[r] == fit->left_out) continue;
        for (size_t i = m->start[r]; i < m->start[r + 1]; i++)
            for (size_t h = 0; h < LANES; h++) sum.of[h] += scaled[m->column[i]].of[h];
        for (size_t h = 0; h < LANES; h++) sum.of[h] = m->norm[r] * sum.of[h] + bias.of[h];
        for (size_t j = 0; j < m->n_dense; j++)
            for (size_t h = 0; h < LANES; h++)
                sum.of[h] += m->dense[r * m->n_dense + j] * w[m->used + j].of[h];
        fit->z[r] = sum;
    }
}

/* The tail of the gradient: the bias is for labelled heads, dense numbers are for ranking ones. */
static void backward_tail(set_fit *fit, const lanes *residual) {
    const matrix *m = fit->m;
    for (size_t j = 0; j <= m->n_dense; j++) {
        double sum[LANES] = {0};
        for (size_t r = 0; r < m->rows; r++) {
            double x = j < m->n_dense ? (double)m->dense[r * m->n_dense + j] : 1;
            for (size_t h = 0; h < LANES; h++) sum[h] += x * (double)residual[r].of[h];
        }
        for (size_t h = 0; h < LANES; h++)
            fit->slope[m->used + j].of[h] = m->config->head[h].ranks == (j < m->n_dense) ? (float)sum[h] : 0;
    }
}

/* slope = X^T residual; the residual is overwritten. */
static void backward(set_fit *fit, lanes *restrict residual) {
    const matrix *m = fit->m;
    const float *idf = fit->heads->idf;
    backward_tail(fit, residual);
    for (size_t r = 0; r < m->rows; r++)
        for (size_t h = 0; h < LANES; h++) residual[r].of[h] *= m->norm[r];
    for (size_t c = 0; c < m->used; c++) {
        lanes sum = {{0}};
        for (size_t i = m->column_start[c]; i < m->column_start[c + 1]; i++)
            for (size_t h = 0; h < LANES; h++) sum.of[h] += residual[m->row[i]].of[h];
        for (size_t h = 0; h < LANES; h++) fit->slope[c].of[h] = idf[c] * sum.of[h];
    }
}

static float sigmoid(float z) {
    return 1 / (1 + expf(-z));
}

/* From logits z to told = d(loss)/dz, or, linear, to what X^T X needs: z itself where a label or pair is. */
static void residuals(set_fit *fit, bool linear) {
    const matrix *m = fit->m;
    for (size_t r = 0; r < m->rows; r++)
        for (size_t h = 0; h < LANES; h++) {
            bool known =
                m->fold[r] != fit->left_out && m->label[r][h] != KEEL_UNKNOWN && fit->heads->fitted[h];
            float z = known ? fit->z[r].of[h] : 0, y = m->label[r][h] == KEEL_YES;
            fit->told[r].of[h] = known ? (linear ? z : sigmoid(z) - y) : 0;
        }
    for (size_t i = 0; i < m->n_pairs; i++) {
        size_t h = m->pair[i].head, a = m->pair[i].better, b = m->pair[i].worse;
        if (m->fold[a] == fit->left_out || !fit->heads->fitted[h]) continue;
        float z = fit->z[a].of[h] - fit->z[b].of[h], told = linear ? z : sigmoid(z) - 1;
        fit->told[a].of[h] += told;
        fit->told[b].of[h] -= told;
    }
}

/* step[h] = 1 / L, L = sigma_max^2 / 4 + lambda, by power iteration. */
static void find_steps(set_fit *fit, double step[LANES]) {
    const matrix *m = fit->m;
    double square[LANES] = {0};
    for (size_t c = 0; c < m->columns; c++)
        for (size_t h = 0; h < LANES; h++)
            fit->y[c].of[h] = 1 + (float)(keel_hash64_mix(c, h) >> 40) * 0x1p-24f;
    for (int i = 0; i < POWER_STEPS; i++) {
        forward(fit, fit->y);
        residuals(fit, true);
        backward(fit, fit->told);
        double above[LANES] = {0}, below[LANES] = {0};
        for (size_t c = 0; c < m->columns; c++)
            for (size_t h = 0; h < LANES; h++) {
                above[h] += (double)fit->slope[c].of[h] * (double)fit->slope[c].of[h];
                below[h] += (double)fit->y[c].of[h] * (double)fit->y[c].of[h];
            }
        for (size_t h = 0; h < LANES; h++) square[h] = below[h] > 0 ? sqrt(above[h] / below[h]) : 0;
        for (size_t c = 0; c < m->columns; c++)
            for (size_t h = 0; h < LANES; h++)
                fit->y[c].of[h] = square[h] > 0 ? (float)((double)fit->slope[c].of[h] / square[h]) : 0;
    }
    for (size_t h = 0; h < LANES; h++) {
        double lambda = h < m->config->n_heads ? m->config->head[h].lambda : 1;
        step[h] = 1 / (0.25 * curvature_margin * square[h] + lambda);
    }
}

/* Accelerated step of every lane. squared: |gradient|^2; turned: whether momentum points uphill. */
static void descend(set_fit *fit, const double step[LANES], const float momentum[LANES],
                    double squared[LANES], bool turned[LANES]) {
    const matrix *m = fit->m;
    float size[LANES], lambda[LANES];
    double uphill[LANES] = {0};
    for (size_t h = 0; h < LANES; h++) {
        size[h] = (float)step[h];
        lambda[h] = h < m->config->n_heads ? (float)m->config->head[h].lambda : 1;
        squared[h] = 0;
    }
    for (size_t c = 0; c < m->columns; c++)
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

/* FISTA (Beck and Teboulle 2009), restarted per head when momentum goes uphill (O'Donoghue and Candes 2015).
 */
static keel_status descend_all(set_fit *fit, keel_err *err) {
    double step[LANES], first[LANES], squared[LANES], t[LANES] = {1, 1, 1, 1};
    float momentum[LANES];
    bool turned[LANES], done = false;
    find_steps(fit, step);
    memset(fit->y, 0, fit->m->columns * sizeof *fit->y);
    for (size_t i = 0; i < fit->m->config->iterations && !done; i++) {
        if (keel_interrupted())
            return keel_fail(err, KEEL_E_INTERRUPTED, "linear heads", "stopped while fitting");
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

typedef struct fitting {
    const matrix *m;
    keel_linear_probes *heads;
    int64_t done[KEEL_LINEAR_PROBES_MAX_FOLDS + 1]; /* sets of weights that are fitted */
    size_t turn[KEEL_LINEAR_PROBES_MAX_FOLDS + 1];  /* those that are being fitted */
} fitting;

static keel_status fit_set(void *context, size_t shard, size_t thread, keel_err *err) {
    const fitting *all = context;
    const matrix *m = all->m;
    size_t set = all->turn[shard], n = all->heads->n_heads;
    set_fit fit = {.m = m, .heads = all->heads, .left_out = set};
    (void)thread;
    fit.x = keel_arena_calloc(&fit.arena, m->columns, sizeof *fit.x);
    fit.y = keel_arena_calloc(&fit.arena, m->columns, sizeof *fit.y);
    fit.slope = keel_arena_calloc(&fit.arena, m->columns, sizeof *fit.slope);
    fit.scaled = keel_arena_calloc(&fit.arena, m->used, sizeof *fit.scaled);
    fit.z = keel_arena_calloc(&fit.arena, m->rows, sizeof *fit.z);
    fit.told = keel_arena_calloc(&fit.arena, m->rows, sizeof *fit.told);
    bool good = fit.x && fit.y && fit.slope && fit.scaled && fit.z && fit.told;
    keel_status status = good ? descend_all(&fit, err) : keel__linear_probes_no_memory(err);
    float *weight = all->heads->weight + set * m->columns * n;
    for (size_t c = 0; c < m->columns && status == KEEL_OK; c++)
        memcpy(weight + c * n, fit.x[c].of, n * sizeof *weight);
    keel_arena_free(&fit.arena);
    return status;
}

/* As many at a time as there are threads; what is done by then is kept. */
static keel_status fit_sets(fitting *all, keel_pool *pool, const char *checkpoint, const char *identity,
                            keel_err *err) {
    const keel_linear_probes *heads = all->heads;
    size_t cells = heads->sets * all->m->columns * heads->n_heads, n = heads->sets;
    const keel_named_tensor kept[] = {
        {"done", KEEL_I64, 1, {n}, all->done, n * sizeof *all->done},
        {"weight", KEEL_F32, 1, {cells}, heads->weight, cells * sizeof *heads->weight}};
    bool found;
    if (checkpoint) KEEL_TRY(keel_checkpoint_load(checkpoint, identity, kept, 2, &found, err));
    for (;;) {
        size_t count = 0;
        for (size_t s = 0; s < n && count < keel_pool_threads(pool); s++)
            if (!all->done[s]) all->turn[count++] = s;
        if (count == 0) return KEEL_OK;
        KEEL_TRY(keel_pool_run(pool, count, fit_set, all, err));
        for (size_t i = 0; i < count; i++) all->done[all->turn[i]] = 1;
        if (checkpoint) KEEL_TRY(keel_checkpoint_save(checkpoint, identity, kept, 2, err));
    }
}

static int by_draw(const void *a, const void *b) {
    const keel__linear_probes_unit *x = *(keel__linear_probes_unit *const *)a,
                                   *y = *(keel__linear_probes_unit *const *)b;
    return (x->draw > y->draw) - (x->draw < y->draw);
}

keel_status keel_linear_probes_fit(keel_linear_probes_builder *builder, keel_pool *pool,
                                   const char *checkpoint, const char *identity, keel_linear_probes **out,
                                   keel_err *err) {
    matrix m = {0};
    keel_linear_probes *heads = NULL;
    keel_status status = KEEL_OK;
    bool any = false;
    if (builder->count > 0) qsort(builder->unit, builder->count, sizeof *builder->unit, by_draw);
    KEEL_TRY_GOTO(build(builder, &m, &heads, err), done);
    find_fitted(&m, heads);
    for (size_t h = 0; h < heads->n_heads; h++) any = any || heads->fitted[h];
    fitting all = {.m = &m, .heads = heads};
    if (any) KEEL_TRY_GOTO(fit_sets(&all, pool, checkpoint, identity, err), done);
    *out = heads;
    heads = NULL;
done:
    keel_linear_probes_close(heads);
    keel_arena_free(&m.arena);
    return status;
}
