#include "core/sharded_step.h"

#include <tgmath.h>

#include "core/memory.h"
#include "core/numeric.h"

enum {
    PIECE = 16384
}; /* parameters one thread updates at a time: gradients, moments and target fit its cache */

typedef struct piece {
    size_t offset, size;
    bool decay;
    double rate;
    double squares; /* of its gradient */
} piece;

struct keel_sharded_step {
    keel_pool *pool;
    size_t size, capacity; /* parameters, gradients */
    keel_real **gradient;  /* [capacity] of [size] */
    size_t n_pieces;
    piece *pieces;
    keel_gradient_filter *filter;
    void *filter_context;
    /* of the step at hand */
    size_t shards, first, last; /* shards of the wave that is worked on */
    keel_shard_work *work;
    void *context;
    const keel_step_rule *rule;
    keel_params *params;
    const keel_adam *adam;
    double clip; /* factor on the gradient */
};

/* ---- life ---- */

static size_t count_pieces(const keel_params *params) {
    size_t count = 0;
    for (size_t i = 0; i < params->count; ++i)
        count += (params->table[i].rows * params->table[i].cols + PIECE - 1) / PIECE;
    return count;
}

static void cut_pieces(const keel_params *params, piece *pieces) {
    for (size_t i = 0; i < params->count; ++i) {
        size_t size = params->table[i].rows * params->table[i].cols;
        for (size_t at = 0; at < size; at += PIECE)
            *pieces++ = (piece){.offset = keel_params_offset(params, i) + at,
                                .size = size - at < PIECE ? size - at : PIECE,
                                .decay = params->table[i].decay,
                                .rate = params->table[i].rate};
    }
}

keel_status keel_sharded_step_open(keel_sharded_step **out, const keel_params *params, size_t gradients,
                                   keel_pool *pool, keel_err *err) {
    keel_sharded_step *step = keel_calloc(1, sizeof *step);
    bool whole = step != NULL;
    if (whole) {
        *step = (keel_sharded_step){
            .pool = pool, .size = params->size, .capacity = gradients, .n_pieces = count_pieces(params)};
        step->gradient = keel_calloc(gradients, sizeof(keel_real *));
        step->pieces = keel_calloc(step->n_pieces, sizeof *step->pieces);
        whole = step->gradient && step->pieces;
    }
    for (size_t i = 0; whole && i < gradients; ++i) {
        step->gradient[i] = keel_calloc(params->size, sizeof(keel_real));
        whole = step->gradient[i] != NULL;
    }
    if (!whole) {
        keel_sharded_step_close(step);
        return keel_fail(err, KEEL_E_NOMEM, "training", "no memory for %zu gradients", gradients);
    }
    cut_pieces(params, step->pieces);
    *out = step;
    return KEEL_OK;
}

void keel_sharded_step_close(keel_sharded_step *step) {
    if (!step) return;
    for (size_t i = 0; step->gradient && i < step->capacity; ++i) keel_free(step->gradient[i]);
    keel_free(step->gradient);
    keel_free(step->pieces);
    keel_free(step);
}

/* The first shards have a gradient each; those of later waves share all but the first, which holds the sum.
 */
static size_t slot_of(const keel_sharded_step *step, size_t shard) {
    return shard < step->capacity ? shard : 1 + (shard - step->capacity) % (step->capacity - 1);
}

keel_real *keel_sharded_step_gradient(const keel_sharded_step *step, size_t shard) {
    return step->gradient[slot_of(step, shard)];
}

void keel_sharded_step_filter(keel_sharded_step *step, keel_gradient_filter *filter, void *context) {
    step->filter = filter;
    step->filter_context = context;
}

/* ---- the sum ---- */

static keel_status run_shard(void *context, size_t at, size_t thread, keel_err *err) {
    const keel_sharded_step *step = context;
    const size_t shard = step->first + at;
    KEEL_TRY(step->work(step->context, shard, thread, err));
    if (!step->filter) return KEEL_OK;
    return step->filter(step->filter_context, shard, keel_sharded_step_gradient(step, shard), step->size,
                        err);
}

static keel_status add_piece(void *context, size_t index, size_t thread, keel_err *err) {
    (void)thread, (void)err;
    const keel_sharded_step *step = context;
    piece *part = &step->pieces[index];
    keel_real *sum = step->gradient[0] + part->offset;
    for (size_t s = step->first > 1 ? step->first : 1; s < step->last; ++s)
        keel_add_to(keel_sharded_step_gradient(step, s) + part->offset, part->size, sum);
    if (step->last == step->shards) part->squares = keel_dot(sum, sum, part->size);
    return KEEL_OK;
}

static double norm_of(const keel_sharded_step *step) {
    double squares = 0;
    for (size_t i = 0; i < step->n_pieces; ++i) squares += step->pieces[i].squares;
    return sqrt(squares);
}

static keel_status run_wave(keel_sharded_step *step, size_t first, keel_err *err) {
    const size_t most = first == 0 ? step->capacity : step->capacity - 1;
    step->first = first;
    step->last = step->shards - first < most ? step->shards : first + most;
    return keel_pool_run(step->pool, step->last - first, run_shard, step, err);
}

/* The work of all shards; of all waves but the last the sum too. */
static keel_status run_shards(keel_sharded_step *step, size_t shards, keel_shard_work *work, void *context,
                              keel_err *err) {
    if (!shards || (shards > step->capacity && step->capacity < 2))
        return keel_fail(err, KEEL_E_USAGE, "training", "%zu shards with room for %zu gradients", shards,
                         step->capacity);
    step->shards = shards;
    step->work = work;
    step->context = context;
    KEEL_TRY(run_wave(step, 0, err));
    while (step->last < shards) {
        KEEL_TRY(keel_pool_run(step->pool, step->n_pieces, add_piece, step, err));
        KEEL_TRY(run_wave(step, step->last, err));
    }
    return KEEL_OK;
}

keel_status keel_sharded_step_sum(keel_sharded_step *step, size_t shards, keel_shard_work *work,
                                  void *context, double *norm, keel_err *err) {
    KEEL_TRY(run_shards(step, shards, work, context, err));
    KEEL_TRY(keel_pool_run(step->pool, step->n_pieces, add_piece, step, err));
    *norm = norm_of(step);
    return KEEL_OK;
}

/* ---- the update ---- */

/* One piece seen as a parameter table of its own, so that the optimizer's one implementation serves. */
static keel_status update_piece(void *context, size_t index, size_t thread, keel_err *err) {
    (void)thread, (void)err;
    const keel_sharded_step *step = context;
    const keel_step_rule *rule = step->rule;
    const piece *part = &step->pieces[index];
    keel_param entry = {
        .name = "piece", .rows = 1, .cols = part->size, .decay = part->decay, .rate = part->rate};
    size_t offset = 0;
    keel_params params = {.count = 1,
                          .table = &entry,
                          .offset = &offset,
                          .size = part->size,
                          .data = step->params->data + part->offset};
    keel_adam adam = {part->size, step->adam->steps, step->adam->first + part->offset,
                      step->adam->second + part->offset};
    keel_real *gradient = step->gradient[0] + part->offset;
    for (size_t i = 0; step->clip != 1 && i < part->size; ++i) gradient[i] *= (keel_real)step->clip;
    keel_adam_step(&adam, &rule->adam, &params, gradient, rule->rate_factor);
    if (rule->target) keel_polyak(rule->target + part->offset, params.data, part->size, rule->tau);
    return KEEL_OK;
}

/* Where no clipping has to know the whole gradient first: each piece is fetched into the cache once. */
static keel_status add_and_update_piece(void *context, size_t index, size_t thread, keel_err *err) {
    KEEL_TRY(add_piece(context, index, thread, err));
    return update_piece(context, index, thread, err);
}

keel_status keel_sharded_step_take(keel_sharded_step *step, size_t shards, keel_shard_work *work,
                                   void *context, const keel_step_rule *rule, keel_params *params,
                                   keel_adam *adam, double *norm, keel_err *err) {
    step->rule = rule;
    step->params = params;
    step->adam = adam;
    step->clip = 1;
    if (rule->clip_norm > 0 || rule->scale) {
        const double factor = rule->scale ? rule->scale->factor : 1;
        KEEL_TRY(keel_sharded_step_sum(step, shards, work, context, norm, err));
        *norm /= factor;
        if (rule->scale) keel_loss_scale_step(rule->scale, isfinite(*norm));
        if (rule->scale && !isfinite(*norm)) return KEEL_OK;
        step->clip = (rule->clip_norm > 0 && *norm > rule->clip_norm ? rule->clip_norm / *norm : 1) / factor;
        KEEL_TRY(keel_pool_run(step->pool, step->n_pieces, update_piece, step, err));
    } else {
        KEEL_TRY(run_shards(step, shards, work, context, err));
        KEEL_TRY(keel_pool_run(step->pool, step->n_pieces, add_and_update_piece, step, err));
        *norm = norm_of(step);
    }
    adam->steps++;
    return KEEL_OK;
}
