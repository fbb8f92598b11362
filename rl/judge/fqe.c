#include "rl/judge/fqe.h"

#include <math.h>
#include <string.h>

#include "core/interrupt.h"
#include "core/progress.h"

/* A step as it is kept. Its numbers lie together: the state, pi, the candidates. */
typedef struct kept {
    uint64_t unit;
    size_t numbers; /* place of the first */
    uint32_t n_actions;
    int32_t action;
    float reward;
    bool first;   /* of its trajectory */
    bool follows; /* the next kept step is this trajectory's next */
    bool usable;
} kept;

struct keel_fqe {
    keel_fqe_config config;
    keel_qnet_shape shape;
    kept *steps;
    size_t n_steps, step_room, n_trajectories;
    float *numbers;
    size_t n_numbers, number_room;
    uint64_t thinned;        /* units whose hash is not a multiple of 2^thinned are forgotten */
    keel_learner *learners;  /* [folds]; without parameters where there was nothing to learn from */
    size_t fold;             /* at hand */
    keel_arena arena, draws; /* of the networks' shapes; of one batch */
};

keel_status keel_fqe_standard(keel_fqe_config *out, keel_err *err) {
    keel_fqe_config made = {.folds = 2};
    size_t half = keel_memory_left() / 2;
    KEEL_TRY(keel_learner_preset("keel", "dqn", &made.learner, err));
    made.memory = half < KEEL_SAMPLER_CACHE ? half : KEEL_SAMPLER_CACHE;
    made.learner.vector_heads = made.learner.double_q = false;
    made.learner.td_loss = KEEL_TD_HALF_SQUARE; /* of means: Huber's loss would be pulled to the median */
    made.learner.hidden = (keel_int_list){2, {128, 128}};
    made.learner.tau = 1;
    made.learner.target_interval = 50;
    made.learner.dropout = made.learner.weight_decay = 0;
    *out = made;
    return KEEL_OK;
}

keel_status keel_fqe_open(keel_fqe **out, const keel_fqe_config *config, const keel_qnet_shape *shape,
                          keel_err *err) {
    keel_fqe *fqe = keel_calloc(1, sizeof *fqe);
    if (fqe && config->folds) fqe->learners = keel_calloc(config->folds, sizeof *fqe->learners);
    if (!fqe || !fqe->learners) {
        keel_free(fqe);
        return config->folds ? keel_nomem(err, "fitted Q evaluation")
                             : keel_fail(err, KEEL_E_INVALID, "fitted Q evaluation", "expected a fold");
    }
    fqe->config = *config;
    fqe->shape = *shape;
    fqe->shape.heads = fqe->shape.critics = 1;
    fqe->shape.hidden = config->learner.hidden;
    /* The one reward stands where accuracy does. */
    for (int k = 0; k < KEEL_N_REWARDS; ++k) fqe->config.learner.weight[k] = k == KEEL_ACCURACY;
    *out = fqe;
    return KEEL_OK;
}

void keel_fqe_close(keel_fqe *fqe) {
    if (!fqe) return;
    for (size_t k = 0; k < fqe->config.folds; ++k) keel_learner_close(&fqe->learners[k]);
    keel_free(fqe->learners);
    keel_free(fqe->steps);
    keel_free(fqe->numbers);
    keel_arena_free(&fqe->arena);
    keel_arena_free(&fqe->draws);
    keel_free(fqe);
}

size_t keel_fqe_count(const keel_fqe *fqe) {
    return fqe->n_steps;
}

/* ---- what is kept ---- */

/* Mixes a unit's number (Steele, Lea & Flood 2014), which may itself be the hash that folds of the store go
 * by. */
static uint64_t mix(uint64_t unit) {
    uint64_t z = unit + 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static bool is_kept(const keel_fqe *fqe, uint64_t unit) {
    return (mix(unit) & ((UINT64_C(1) << fqe->thinned) - 1)) == 0;
}

static size_t fold_of(const keel_fqe *fqe, uint64_t unit) {
    return (size_t)(mix(unit) >> 32) % fqe->config.folds;
}

static size_t numbers_of(const keel_fqe *fqe, size_t n_actions) {
    bool sets = fqe->shape.space == KEEL_SPACE_CANDIDATES;
    return fqe->shape.state_dim + n_actions * (1 + (sets ? fqe->shape.candidate_dim : 0));
}

/* Forgets every other unit. */
static void thin(keel_fqe *fqe) {
    size_t n = 0, numbers = 0, trajectories = 0;
    fqe->thinned++;
    for (size_t i = 0; i < fqe->n_steps; ++i) {
        kept *step = &fqe->steps[i];
        size_t size = numbers_of(fqe, step->n_actions);
        if (!is_kept(fqe, step->unit)) continue;
        memmove(fqe->numbers + numbers, fqe->numbers + step->numbers, size * sizeof *fqe->numbers);
        fqe->steps[n] = *step;
        fqe->steps[n++].numbers = numbers;
        numbers += size;
        trajectories += step->first;
    }
    fqe->n_steps = n;
    fqe->n_numbers = numbers;
    fqe->n_trajectories = trajectories;
}

static keel_status make_room(keel_fqe *fqe, size_t steps, size_t numbers, keel_err *err) {
    bool room = keel_grow(&fqe->steps, fqe->n_steps + steps, &fqe->step_room, sizeof *fqe->steps) &&
                keel_grow(&fqe->numbers, fqe->n_numbers + numbers, &fqe->number_room, sizeof *fqe->numbers);
    return room ? KEEL_OK : keel_nomem(err, "fitted Q evaluation");
}

static void keep(keel_fqe *fqe, uint64_t unit, const keel_fqe_step *step, bool first, bool last,
                 bool cut_off) {
    size_t state = fqe->shape.state_dim, n = step->n_actions;
    float *at = fqe->numbers + fqe->n_numbers;
    fqe->steps[fqe->n_steps++] = (kept){.unit = unit,
                                        .numbers = fqe->n_numbers,
                                        .n_actions = (uint32_t)n,
                                        .action = step->action,
                                        .reward = step->reward,
                                        .first = first,
                                        .follows = !last,
                                        .usable = !(last && cut_off)};
    memcpy(at, step->state, state * sizeof *at);
    memcpy(at + state, step->pi, n * sizeof *at);
    if (fqe->shape.space == KEEL_SPACE_CANDIDATES)
        memcpy(at + state + n, step->candidates, n * fqe->shape.candidate_dim * sizeof *at);
    fqe->n_numbers += numbers_of(fqe, n);
}

keel_status keel_fqe_add(keel_fqe *fqe, uint64_t unit, const keel_fqe_step *steps, size_t count, bool cut_off,
                         keel_err *err) {
    size_t numbers = 0, most = fqe->config.memory;
    if (!count || !is_kept(fqe, unit)) return KEEL_OK;
    for (size_t t = 0; t < count; ++t) numbers += numbers_of(fqe, steps[t].n_actions);
    /* Blocks double and are copied as they do: a third of what may be taken is in use at most. */
    while (fqe->n_steps &&
           (fqe->n_steps + count) * sizeof *fqe->steps + (fqe->n_numbers + numbers) * sizeof *fqe->numbers >
               most / 3) {
        thin(fqe);
        if (!is_kept(fqe, unit)) return KEEL_OK;
    }
    KEEL_TRY(make_room(fqe, count, numbers, err));
    for (size_t t = 0; t < count; ++t) keep(fqe, unit, &steps[t], t == 0, t + 1 == count, cut_off);
    fqe->n_trajectories++;
    return KEEL_OK;
}

/* ---- minibatches ---- */

/* Room for one batch; candidates are put behind one another as their steps are drawn. */
typedef struct minibatch {
    float *state, *next_state, *reward, *bootstrap, *next_pi, *candidates, *next_candidates;
    uint8_t *present, *usable;
    int32_t *action, *offsets, *next_offsets;
} minibatch;

static bool room_for(keel_arena *arena, const keel_fqe *fqe, const size_t *drawn, size_t n, minibatch *out) {
    size_t dim = fqe->shape.state_dim, here = 0, next = 0;
    for (size_t i = 0; i < n; ++i) {
        const kept *step = &fqe->steps[drawn[i]];
        here += step->n_actions;
        next += step[step->follows].n_actions;
    }
    *out = (minibatch){.state = keel_arena_alloc(arena, n * dim * sizeof(float)),
                       .next_state = keel_arena_calloc(arena, n * dim, sizeof(float)),
                       .reward = keel_arena_calloc(arena, n * KEEL_N_REWARDS, sizeof(float)),
                       .bootstrap = keel_arena_calloc(arena, n, sizeof(float)),
                       .next_pi = keel_arena_calloc(arena, next, sizeof(float)),
                       .candidates = keel_arena_alloc(arena, here * fqe->shape.candidate_dim * sizeof(float)),
                       .next_candidates =
                           keel_arena_alloc(arena, next * fqe->shape.candidate_dim * sizeof(float)),
                       .present = keel_arena_calloc(arena, n * KEEL_N_REWARDS, sizeof(uint8_t)),
                       .usable = keel_arena_calloc(arena, n, sizeof(uint8_t)),
                       .action = keel_arena_calloc(arena, n, sizeof(int32_t)),
                       .offsets = keel_arena_calloc(arena, n + 1, sizeof(int32_t)),
                       .next_offsets = keel_arena_calloc(arena, n + 1, sizeof(int32_t))};
    return out->state && out->next_state && out->reward && out->bootstrap && out->next_pi &&
           out->candidates && out->next_candidates && out->present && out->usable && out->action &&
           out->offsets && out->next_offsets;
}

static void put_next(const keel_fqe *fqe, const kept *next, minibatch *m, size_t i) {
    bool sets = fqe->shape.space == KEEL_SPACE_CANDIDATES;
    size_t dim = fqe->shape.state_dim, own = fqe->shape.candidate_dim, n = next->n_actions;
    size_t at = sets ? (size_t)m->next_offsets[i] : i * fqe->shape.n_acts;
    const float *numbers = fqe->numbers + next->numbers;
    m->bootstrap[i] = 1;
    memcpy(m->next_state + i * dim, numbers, dim * sizeof *numbers);
    memcpy(m->next_pi + at, numbers + dim, n * sizeof *numbers);
    if (!sets) return;
    memcpy(m->next_candidates + at * own, numbers + dim + n, n * own * sizeof *numbers);
    m->next_offsets[i + 1] += (int32_t)n;
}

static void put_step(const keel_fqe *fqe, const kept *step, minibatch *m, size_t i) {
    size_t dim = fqe->shape.state_dim, own = fqe->shape.candidate_dim, n = step->n_actions;
    const float *numbers = fqe->numbers + step->numbers;
    m->action[i] = step->action;
    m->reward[i * KEEL_N_REWARDS + KEEL_ACCURACY] = step->reward;
    m->present[i * KEEL_N_REWARDS + KEEL_ACCURACY] = 1;
    m->usable[i] = step->usable;
    memcpy(m->state + i * dim, numbers, dim * sizeof *numbers);
    m->offsets[i + 1] = m->offsets[i];
    m->next_offsets[i + 1] = m->next_offsets[i];
    if (fqe->shape.space == KEEL_SPACE_CANDIDATES) {
        memcpy(m->candidates + (size_t)m->offsets[i] * own, numbers + dim + n, n * own * sizeof *numbers);
        m->offsets[i + 1] += (int32_t)n;
    }
    if (step->follows) put_next(fqe, step + 1, m, i);
}

/* Steps outside the fold at hand, uniform with replacement. */
static keel_status draw(keel_fqe *fqe, uint64_t number, keel_batch *out, keel_err *err) {
    const keel_learner_config *config = &fqe->config.learner;
    size_t n = (size_t)config->batch;
    keel_rng rng =
        keel_rng_stream((uint64_t)config->seed, KEEL_STREAM_FQE_SAMPLE, (uint64_t)fqe->fold << 40 | number);
    keel_arena_reset(&fqe->draws);
    size_t *drawn = keel_arena_alloc(&fqe->draws, n * sizeof *drawn);
    for (size_t i = 0; drawn && i < n; ++i) do
            drawn[i] = (size_t)keel_rng_below(&rng, fqe->n_steps);
        while (fqe->config.folds > 1 && fold_of(fqe, fqe->steps[drawn[i]].unit) == fqe->fold);
    minibatch m;
    if (!drawn || !room_for(&fqe->draws, fqe, drawn, n, &m)) return keel_nomem(err, "fitted Q evaluation");
    for (size_t i = 0; i < n; ++i) put_step(fqe, &fqe->steps[drawn[i]], &m, i);
    bool sets = fqe->shape.space == KEEL_SPACE_CANDIDATES;
    *out = (keel_batch){.n = n,
                        .state = m.state,
                        .action = m.action,
                        .reward = m.reward,
                        .present = m.present,
                        .bootstrap = m.bootstrap,
                        .usable = m.usable,
                        .next_state = m.next_state,
                        .offsets = m.offsets,
                        .candidates = sets ? m.candidates : NULL,
                        .next_offsets = m.next_offsets,
                        .next_candidates = sets ? m.next_candidates : NULL,
                        .next_pi = m.next_pi};
    return KEEL_OK;
}

/* ---- fitting ---- */

static int64_t standard_steps(const keel_fqe *fqe) {
    enum { PASSES = 20, LEAST_A_STEP = 300, MOST = 5000 };
    double length = (double)fqe->n_steps / (double)fqe->n_trajectories;
    int64_t least = (int64_t)ceil(LEAST_A_STEP * length);
    int64_t steps = (int64_t)fqe->n_steps * PASSES / fqe->config.learner.batch;
    steps = steps < least ? least : steps;
    return steps > MOST ? MOST : steps;
}

/* Whether some step kept lies outside the fold. */
static bool has_others(const keel_fqe *fqe, size_t fold) {
    for (size_t i = 0; i < fqe->n_steps; ++i)
        if (fqe->config.folds == 1 || fold_of(fqe, fqe->steps[i].unit) != fold) return true;
    return false;
}

static keel_status run_step(keel_fqe *fqe, keel_learner *learner, keel_err *err) {
    keel_batch batch;
    keel_loss_parts parts;
    if (keel_interrupted())
        return keel_fail(err, KEEL_E_INTERRUPTED, "fitted Q evaluation", "stopped; nothing was changed");
    KEEL_TRY(draw(fqe, learner->step, &batch, err));
    KEEL_TRY(keel_learner_step(learner, &batch, &parts, err));
    if (isfinite(parts.total)) return KEEL_OK;
    return keel_fail(err, KEEL_E_DIVERGED, "fitted Q evaluation", "the loss is %g after step %llu",
                     parts.total, (unsigned long long)learner->step);
}

keel_status keel_fqe_fit(keel_fqe *fqe, keel_pool *pool, keel_err *err) {
    keel_learner_config config = fqe->config.learner;
    size_t folds = fqe->config.folds;
    if (!fqe->n_steps) return KEEL_OK;
    if (!config.steps) config.steps = standard_steps(fqe);
    keel_progress progress;
    keel_progress_start(&progress, "fqe", folds * (uint64_t)config.steps);
    keel_status status = KEEL_OK;
    for (fqe->fold = 0; status == KEEL_OK && fqe->fold < folds; ++fqe->fold) {
        keel_learner *learner = &fqe->learners[fqe->fold];
        keel_learner_close(learner);
        if (!has_others(fqe, fqe->fold)) continue;
        keel_rng seeds =
            keel_rng_stream((uint64_t)fqe->config.learner.seed, KEEL_STREAM_FQE_LEARNER, fqe->fold);
        config.seed = (int64_t)(keel_rng_u64(&seeds) >> 11); /* whole in JSON too */
        status = keel_learner_open(learner, &config, &fqe->shape, NULL, pool, err);
        while (status == KEEL_OK && learner->step < (uint64_t)config.steps) {
            status = run_step(fqe, learner, err);
            keel_progress_step(&progress, fqe->fold * (uint64_t)config.steps + learner->step, NULL);
        }
    }
    if (status == KEEL_OK) keel_progress_end(&progress, folds * (uint64_t)config.steps);
    return status;
}

/* ---- judging ---- */

keel_status keel_fqe_value(const keel_fqe *fqe, uint64_t unit, const keel_fqe_step *step, keel_arena *scratch,
                           double *q, double *v, keel_err *err) {
    const keel_learner *learner = &fqe->learners[fold_of(fqe, unit)];
    const int32_t offsets[2] = {0, (int32_t)step->n_actions};
    bool sets = fqe->shape.space == KEEL_SPACE_CANDIDATES;
    size_t rows = sets ? step->n_actions : 1;
    *q = *v = NAN;
    if (!learner->params.size) return KEEL_OK;
    float *x = keel_arena_alloc(scratch, rows * learner->net.input_dim * sizeof *x);
    float *values = keel_arena_alloc(scratch, step->n_actions * sizeof *values);
    if (!x || !values) return keel_nomem(err, "fitted Q evaluation");
    keel_qnet_rows(&learner->net, step->state, step->candidates, offsets, NULL, 1, x);
    KEEL_TRY(keel_qnet_infer(&learner->net, x, rows, values, NULL, scratch, err));
    double sum = 0;
    for (size_t a = 0; a < step->n_actions; ++a)
        if (step->pi[a] > 0) sum += (double)step->pi[a] * (double)values[a];
    *q = (double)values[step->action];
    *v = sum;
    return KEEL_OK;
}
