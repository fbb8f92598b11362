#include "core/fake_quant.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"

static const float LEAST_FACTOR = 0.125f;

/* Columns that share a scale. */
static size_t group_of(keel_matrix_type type, size_t cols) {
    return type == KEEL_MATRIX_I8 ? cols : KEEL_MATRIX_BLOCK;
}

static float largest(const float *x, size_t n) {
    float most = 0;
    for (size_t i = 0; i < n; i++) most = fmaxf(most, fabsf(x[i]));
    return most;
}

/* to: the row limited to the factor times the largest of each group; may be from. */
static void limit(keel_matrix_type type, const float *from, size_t cols, float factor, float *to) {
    const size_t group = group_of(type, cols);
    for (size_t c = 0; c < cols; c += group) {
        const float most = factor * largest(from + c, group);
        for (size_t i = c; i < c + group; i++) to[i] = fminf(fmaxf(from[i], -most), most);
    }
}

/* ---- life ---- */

static bool is_quantised(const keel_fake_quant *fake, size_t i) {
    return fake->type[i] != KEEL_MATRIX_F32 && fake->held.table[i].rows > 0;
}

static keel_status check_widths(const keel_fake_quant *fake, keel_err *err) {
    for (size_t i = 0; i < fake->held.count; i++) {
        const keel_param *param = &fake->held.table[i];
        const size_t multiple = keel_matrix_multiple(fake->type[i]);
        if (!is_quantised(fake, i) || param->cols % multiple == 0) continue;
        return keel_fail(err, KEEL_E_UNSUPPORTED, param->name,
                         "its width %zu is no multiple of %zu, which this number format needs", param->cols,
                         multiple);
    }
    return KEEL_OK;
}

keel_status keel_fake_quant_open(keel_fake_quant *out, const keel_params *params,
                                 const keel_matrix_type *type, const int *factors, keel_err *err) {
    const size_t n = params->count;
    keel_fake_quant made = {.type = keel_calloc(n + 1, sizeof *made.type),
                            .factors = keel_calloc(n + 1, sizeof *made.factors)};
    keel_status status = made.type && made.factors ? keel_params_make(&made.held, params->table, n, err)
                                                   : keel_nomem(err, "fake quantisation");
    for (size_t i = 0; status == KEEL_OK && i < n; i++) {
        made.type[i] = type[i];
        made.factors[i] = factors ? factors[i] : KEEL_FAKE_QUANT_NO_FACTORS;
    }
    if (status == KEEL_OK) status = check_widths(&made, err);
    if (status != KEEL_OK)
        keel_fake_quant_close(&made);
    else
        *out = made;
    return status;
}

void keel_fake_quant_close(keel_fake_quant *fake) {
    if (fake->held.table) keel_params_free(&fake->held);
    keel_free(fake->type);
    keel_free(fake->factors);
    *fake = (keel_fake_quant){0};
}

/* ---- holding ---- */

/* A parameter's rows, some to a shard. */
typedef struct holding {
    keel_fake_quant *fake;
    const keel_params *params;
    size_t at; /* the parameter */
} holding;

enum { SHARD_ROWS = 64 };

/* Of a parameter's rows; NULL: none. */
static float *factors_of(const keel_fake_quant *fake, const keel_params *params, size_t i) {
    return fake->factors[i] == KEEL_FAKE_QUANT_NO_FACTORS ? NULL
                                                          : keel_params_at(params, (size_t)fake->factors[i]);
}

static keel_status hold_rows(void *context, size_t shard, size_t thread, keel_err *err) {
    const holding *h = context;
    const keel_param *param = &h->params->table[h->at];
    const size_t cols = param->cols, first = shard * SHARD_ROWS,
                 end = first + SHARD_ROWS < param->rows ? first + SHARD_ROWS : param->rows;
    const keel_matrix_type type = h->fake->type[h->at];
    const float *from = keel_params_at(h->params, h->at), *factor = factors_of(h->fake, h->params, h->at);
    float *to = keel_params_at(&h->fake->held, h->at);
    void *code = keel_alloc(keel_matrix_row_bytes(type, cols));
    const keel_matrix one = {.type = type, .rows = 1, .cols = cols, .data = code};
    (void)thread;
    if (!code) return keel_nomem(err, "fake quantisation");
    for (size_t r = first; r < end; r++) {
        const float *row = from + r * cols;
        float *held = to + r * cols;
        if (factor) limit(type, row, cols, factor[r], held);
        keel_matrix_write_row(type, factor ? held : row, cols, code);
        keel_matrix_read_row(&one, 0, held);
    }
    keel_free(code);
    return KEEL_OK;
}

static void keep_within(const keel_fake_quant *fake, keel_params *params, size_t i) {
    float *factor = factors_of(fake, params, i);
    for (size_t r = 0; factor && r < params->table[i].rows; r++)
        factor[r] = fminf(fmaxf(factor[r], LEAST_FACTOR), 1);
}

keel_status keel_fake_quant_hold(keel_fake_quant *fake, keel_params *params, keel_pool *pool, keel_err *err) {
    for (size_t i = 0; i < params->count; i++) {
        const keel_param *param = &params->table[i];
        holding h = {fake, params, i};
        if (!is_quantised(fake, i)) {
            memcpy(keel_params_at(&fake->held, i), keel_params_at(params, i),
                   param->rows * param->cols * sizeof(float));
            continue;
        }
        keep_within(fake, params, i);
        const size_t shards = (param->rows + SHARD_ROWS - 1) / SHARD_ROWS;
        if (pool) KEEL_TRY(keel_pool_run(pool, shards, hold_rows, &h, err));
        for (size_t s = 0; !pool && s < shards; s++) KEEL_TRY(hold_rows(&h, s, 0, err));
    }
    return KEEL_OK;
}

/* ---- gradients ---- */

/* The factor's gradient; grad of weights that are limited becomes 0. */
static double flow_row(keel_matrix_type type, const float *w, const float *v, size_t cols, float factor,
                       float *grad) {
    const size_t group = group_of(type, cols);
    double sum = 0;
    for (size_t c = 0; c < cols; c += group) {
        const float most = largest(w + c, group);
        for (size_t i = c; i < c + group; i++) {
            const bool limited = fabsf(w[i]) > factor * most;
            const double by =
                limited ? (double)copysignf(most, w[i]) : ((double)v[i] - (double)w[i]) / (double)factor;
            sum += (double)grad[i] * by;
            if (limited) grad[i] = 0;
        }
    }
    return sum;
}

void keel_fake_quant_flow(const keel_fake_quant *fake, const keel_params *params, float *grads) {
    for (size_t i = 0; i < params->count; i++) {
        const keel_param *param = &params->table[i];
        const float *factor = is_quantised(fake, i) ? factors_of(fake, params, i) : NULL;
        if (!factor) continue;
        float *to = grads + keel_params_offset(params, (size_t)fake->factors[i]);
        for (size_t r = 0; r < param->rows; r++)
            to[r] = (float)flow_row(fake->type[i], keel_params_at(params, i) + r * param->cols,
                                    keel_params_at(&fake->held, i) + r * param->cols, param->cols, factor[r],
                                    grads + keel_params_offset(params, i) + r * param->cols);
    }
}

void keel_fake_quant_settle(const keel_fake_quant *fake, keel_params *params) {
    for (size_t i = 0; i < params->count; i++) {
        const keel_param *param = &params->table[i];
        const float *factor = is_quantised(fake, i) ? factors_of(fake, params, i) : NULL;
        for (size_t r = 0; factor && r < param->rows; r++) {
            float *row = keel_params_at(params, i) + r * param->cols;
            limit(fake->type[i], row, param->cols, factor[r], row);
        }
    }
}
