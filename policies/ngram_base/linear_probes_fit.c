/* Fitting the linear probes: their rows as the matrix of one logistic regression (core/logistic.h) for each
 * set of weights. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/checkpoint.h"
#include "core/hash.h"
#include "core/logistic.h"
#include "policies/ngram_base/linear_probes_internal.h"

/* Length of a typical row of dense numbers; a row of n-grams has length 1. On HH-RLHF pairs all values from 0
 * to 1 do equally well within the noise (63 to 64 % right at lambda 1). */
static const double dense_weight = 0.4;
typedef struct matrix {
    keel_logistic_matrix x;
    const keel_linear_probes_config *config;
    size_t n_pairs;
    unsigned char *fold;       /* [rows] */
    const signed char **label; /* [rows] -> [KEEL_LINEAR_PROBES_MAX] */
    const float **soft;        /* the same */
    keel_logistic_pair *pair;  /* [n_pairs] of rows of the matrix */
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
    m->fold = keel_arena_alloc(&m->arena, m->x.rows);
    m->label = keel_arena_alloc(&m->arena, m->x.rows * sizeof *m->label);
    m->soft = keel_arena_alloc(&m->arena, m->x.rows * sizeof *m->soft);
    m->pair = keel_arena_alloc(&m->arena, m->n_pairs * sizeof *m->pair);
    return keel_logistic_room(&m->x, entries, &m->arena) && m->fold && m->label && m->soft && m->pair;
}

/* Appends the rows and pairs of one decision. */
static void put_unit(matrix *m, const keel_linear_probes *heads, const keel__linear_probes_unit *unit,
                     size_t *row, size_t *pair) {
    unsigned char fold = (unsigned char)keel__linear_probes_fold(unit->group, m->config->folds);
    for (size_t i = 0; i < unit->n_pairs; i++, ++*pair)
        m->pair[*pair] = (keel_logistic_pair){unit->pair[i].head, (uint32_t)*row + unit->pair[i].better,
                                              (uint32_t)*row + unit->pair[i].worse};
    for (size_t r = 0, i = 0; r < unit->n_rows; r++, ++*row) {
        size_t at = m->x.start[*row];
        double square = 0;
        for (; i < unit->end[r]; i++) {
            uint32_t column = (uint32_t)heads->column_of[unit->id[i]];
            double idf = (double)heads->idf[column];
            m->x.column[at++] = column;
            square += idf * idf;
        }
        m->x.start[*row + 1] = at;
        m->x.row_scale[*row] = square > 0 ? (float)(1 / sqrt(square)) : 0;
        m->fold[*row] = fold;
        m->label[*row] = unit->label + r * KEEL_LINEAR_PROBES_MAX;
        m->soft[*row] = unit->soft + r * KEEL_LINEAR_PROBES_MAX;
        for (size_t j = 0; j < m->x.n_dense; j++)
            m->x.dense[*row * m->x.n_dense + j] = unit->dense[r * m->x.n_dense + j];
    }
}

/* Scales dense numbers to mean 0 and such a deviation that a typical row of them has length dense_weight. */
static void scale_dense(matrix *m, keel_linear_probes *heads) {
    for (size_t j = 0; j < m->x.n_dense; j++) {
        double sum = 0, square = 0, n = (double)m->x.rows;
        for (size_t r = 0; r < m->x.rows; r++) sum += (double)m->x.dense[r * m->x.n_dense + j];
        double mean = n > 0 ? sum / n : 0;
        for (size_t r = 0; r < m->x.rows; r++)
            square += pow((double)m->x.dense[r * m->x.n_dense + j] - mean, 2);
        double deviation = n > 0 ? sqrt(square / n) : 0;
        bool varies = deviation > 1e-6 * (1 + fabs(mean));
        heads->dense[j] = (float)mean;
        heads->dense[m->x.n_dense + j] =
            varies ? (float)(dense_weight / (deviation * sqrt((double)m->x.n_dense))) : 0;
        for (size_t r = 0; r < m->x.rows; r++) {
            float *x = &m->x.dense[r * m->x.n_dense + j];
            *x = (*x - heads->dense[j]) * heads->dense[m->x.n_dense + j];
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
    *m = (matrix){.config = config, .x.n_dense = config->n_dense};
    for (size_t i = 0; i < builder->count; i++) {
        rows += builder->unit[i]->n_rows;
        m->n_pairs += builder->unit[i]->n_pairs;
    }
    m->x.rows = rows;
    entries -= rows;
    frequency *count = rows <= UINT32_MAX ? count_ids(builder, &scratch, &m->x.used) : NULL;
    keel_linear_probes sizes = {.n_ids = config->n_ids,
                                .n_dense = m->x.n_dense,
                                .n_heads = config->n_heads,
                                .sets = config->folds + 1,
                                .used = m->x.used,
                                .n_groups = builder->count};
    keel_status status = KEEL_E_NOMEM;
    if (!count || !matrix_room(m, entries))
        keel_nomem(err, "linear probes");
    else
        status = keel__linear_probes_make(out, &sizes, err);
    if (status == KEEL_OK) {
        number_columns(*out, count, rows);
        m->x.column_scale = (*out)->idf;
        for (size_t i = 0; i < builder->count; i++) put_unit(m, *out, builder->unit[i], &row, &pair);
        keel_logistic_transpose(&m->x);
        scale_dense(m, *out);
        put_groups(*out, builder);
    }
    keel_arena_free(&scratch);
    return status;
}

/* A head is fitted if every set of weights has both labels, or pairs, to learn from. What a teacher says has
 * something of both. */
static void find_fitted(const matrix *m, keel_linear_probes *heads) {
    size_t seen[KEEL_LINEAR_PROBES_MAX_FOLDS + 1][KEEL_LINEAR_PROBES_MAX][2] = {0}, folds = m->config->folds;
    for (size_t r = 0; r < m->x.rows; r++)
        for (size_t h = 0; h < KEEL_LINEAR_PROBES_MAX; h++)
            for (size_t k = 0; k < 2; k++) {
                const bool has = !isnan(m->soft[r][h]) || m->label[r][h] == (k ? KEEL_YES : KEEL_NO);
                seen[m->fold[r]][h][k] += has;
                seen[folds][h][k] += has;
            }
    for (size_t i = 0; i < m->n_pairs; i++)
        for (size_t k = 0; k < 2; k++) {
            seen[m->fold[m->pair[i].better]][m->pair[i].output][k]++;
            seen[folds][m->pair[i].output][k]++;
        }
    for (size_t h = 0; h < heads->n_heads; h++) {
        heads->fitted[h] = 1;
        for (size_t f = 0; f < folds; f++)
            for (size_t k = 0; k < 2; k++)
                if (seen[folds][h][k] == seen[f][h][k]) heads->fitted[h] = 0;
    }
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
    size_t set = all->turn[shard], n = all->heads->n_heads, columns = m->x.used + m->x.n_dense + 1;
    (void)thread;
    keel_logistic_task task = {.x = &m->x,
                               .outputs = n,
                               .label = m->label,
                               .soft = m->soft,
                               .share = m->config->distil,
                               .temperature = m->config->temperature,
                               .pair = m->pair,
                               .n_pairs = m->n_pairs,
                               .fold = m->fold,
                               .left_out = set,
                               .iterations = m->config->iterations,
                               .where = "linear probes"};
    for (size_t h = 0; h < n; h++) {
        task.lambda[h] = m->config->head[h].lambda;
        task.ranks[h] = m->config->head[h].ranks;
        task.fits[h] = all->heads->fitted[h];
    }
    return keel_logistic_fit(&task, all->heads->weight + set * columns * n, err);
}

/* Fits as many sets at a time as there are threads, and saves them to the checkpoint. */
static keel_status fit_sets(fitting *all, keel_pool *pool, const char *checkpoint, const char *identity,
                            keel_err *err) {
    const keel_linear_probes *heads = all->heads;
    size_t cells = heads->sets * (heads->used + heads->n_dense + 1) * heads->n_heads, n = heads->sets;
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
