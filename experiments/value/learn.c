#include "experiments/value/learn.h"

#include <math.h>
#include <string.h>

#include "core/numeric.h"
#include "experiments/bench/plain_batch.h"
#include "rl/judge/fqe.h"

enum { MOST_ACTS = 16, LONGEST = 512 };

/* ---- what all methods share ---- */

static void share(const value_world *world, const value_settings *settings, uint64_t seed,
                  keel_learner_config *config) {
    config->seed = (int64_t)seed;
    config->steps = settings->steps;
    config->batch = settings->batch;
    config->learning_rate = settings->learning_rate;
    config->hidden = (keel_int_list){1, {settings->hidden}};
    config->gamma = world->gamma;
    config->vector_heads = false;
    config->td_loss = KEEL_TD_HALF_SQUARE;
    config->tau = 1;
    config->target_interval = settings->target_interval;
    config->dropout = settings->dropout;
    config->weight_decay = settings->weight_decay;
    /* The one reward stands where accuracy does. */
    for (int k = 0; k < KEEL_N_REWARDS; ++k) config->weight[k] = k == KEEL_ACCURACY;
}

static keel_qnet_shape shape_of(const value_world *world, const keel_learner_config *config) {
    return (keel_qnet_shape){.space = KEEL_SPACE_ACTS,
                             .state_dim = world->dim,
                             .n_acts = world->acts,
                             .heads = 1,
                             .critics = 1,
                             .hidden = config->hidden};
}

/* ---- minibatches ---- */

/* What calibration needs: what the log earned from each step on, discounted; room for a batch of it. */
typedef struct earned {
    float *whole;   /* [log n], scaled */
    float *returns; /* [batch, KEEL_N_REWARDS] */
    uint8_t *ended; /* [batch]: 1, every conversation of these worlds comes to its end */
} earned;

static bool earned_open(const value_world *world, const value_log *log, const value_settings *settings,
                        keel_arena *arena, earned *out) {
    const size_t n = (size_t)settings->batch;
    *out = (earned){.whole = keel_arena_calloc(arena, log->n, sizeof(float)),
                    .returns = keel_arena_calloc(arena, n * KEEL_N_REWARDS, sizeof(float)),
                    .ended = keel_arena_alloc(arena, n)};
    if (!out->whole || !out->returns || !out->ended) return false;
    memset(out->ended, 1, n);
    double later = 0;
    for (size_t i = log->n; i-- > 0;) {
        if (log->last[i]) later = 0;
        later = settings->scale * (double)log->reward[i] + world->gamma * later;
        out->whole[i] = (float)later;
    }
    return true;
}

/* Steps of the log, uniform with replacement: the same for every method of a seed. */
static keel_batch draw(const value_log *log, size_t dim, const value_settings *settings, uint64_t seed,
                       uint64_t number, plain_batch *batch, earned *sums) {
    keel_rng rng = keel_rng_stream(seed, KEEL_STREAM_DRAW, number);
    for (size_t i = 0; i < batch->n; ++i) {
        const size_t step = (size_t)keel_rng_below(&rng, log->n);
        const float *state = log->state + step * dim;
        plain_batch_put(batch, i, state, log->action[step], (float)settings->scale * log->reward[step],
                        log->last[step] ? NULL : state + dim, false);
        if (settings->calibrated) sums->returns[i * KEEL_N_REWARDS + KEEL_ACCURACY] = sums->whole[step];
    }
    keel_batch view = plain_batch_view(batch);
    if (settings->calibrated) view.returns = sums->returns, view.ended = sums->ended;
    return view;
}

/* ---- learning ---- */

static keel_status take_steps(const value_world *world, const value_log *log, const value_settings *settings,
                              uint64_t seed, keel_learner *learner, keel_err *err) {
    keel_arena arena = {0};
    plain_batch room;
    earned sums = {0};
    keel_loss_parts parts = {0};
    keel_status status = KEEL_OK;
    if (!plain_batch_open(&room, (size_t)settings->batch, world->dim, &arena) ||
        (settings->calibrated && !earned_open(world, log, settings, &arena, &sums)))
        status = keel_fail(err, KEEL_E_NOMEM, "learning", "no memory for a batch");
    while (status == KEEL_OK && learner->step < (uint64_t)settings->steps) {
        const keel_batch batch = draw(log, world->dim, settings, seed, learner->step, &room, &sums);
        status = keel_learner_step(learner, &batch, &parts, err);
        if (status == KEEL_OK && !isfinite(parts.total))
            status = keel_fail(err, KEEL_E_DIVERGED, "learning", "the loss is %g after step %llu",
                               parts.total, (unsigned long long)learner->step);
    }
    keel_arena_free(&arena);
    return status;
}

keel_status value_learn(const value_world *world, const value_log *log, const value_settings *settings,
                        const char *algorithm, double alpha, uint64_t seed, keel_pool *pool,
                        keel_learner *out, keel_err *err) {
    keel_learner_config config;
    KEEL_TRY(keel_learner_preset("keel", algorithm, &config, err));
    share(world, settings, seed, &config);
    if (strcmp(algorithm, "cql") == 0) KEEL_TRY(keel_learner_set_number(&config, "alpha", alpha, err));
    const keel_qnet_shape shape = shape_of(world, &config);
    keel_learner made;
    KEEL_TRY(keel_learner_open(&made, &config, &shape, NULL, pool, err));
    const keel_status status = take_steps(world, log, settings, seed, &made, err);
    if (status != KEEL_OK)
        keel_learner_close(&made);
    else
        *out = made;
    return status;
}

/* ---- judging by the log ---- */

/* Outputs of the network at every step of the log, [n, acts]; the caller frees. */
static keel_status outputs_of(const value_world *world, const value_log *log, const keel_learner *learner,
                              float **out, keel_err *err) {
    keel_arena scratch = {0};
    size_t cells;
    float *q = keel_size_mul(log->n, world->acts * sizeof *q, &cells) ? keel_alloc(cells) : NULL;
    if (!q) return keel_fail(err, KEEL_E_NOMEM, "learning", "no memory for %zu decisions", log->n);
    const keel_status status = keel_qnet_infer(&learner->net, log->state, log->n, q, NULL, &scratch, err);
    keel_arena_free(&scratch);
    if (status != KEEL_OK)
        keel_free(q);
    else
        *out = q;
    return status;
}

keel_status value_own(const value_world *world, const value_log *log, const value_settings *settings,
                      const keel_learner *learner, double *out, keel_err *err) {
    const size_t acts = world->acts;
    double sum = 0;
    float *q = NULL, pi[MOST_ACTS];
    if (acts > MOST_ACTS)
        return keel_fail(err, KEEL_E_UNSUPPORTED, "learning", "%zu acts, expected at most %d", acts,
                         MOST_ACTS);
    KEEL_TRY(outputs_of(world, log, learner, &q, err));
    for (size_t i = 0; i < log->n; ++i) {
        if (!log->first[i]) continue;
        keel_softmax(q + i * acts, acts, pi);
        for (size_t a = 0; a < acts; ++a) sum += (double)pi[a] * (double)q[i * acts + a];
    }
    keel_free(q);
    *out = sum / (double)log->n_conversations / settings->scale;
    return KEEL_OK;
}

/* The log's steps as fitted Q evaluation takes them; pi [n, acts] has the policy's probabilities. */
static keel_status add_log(const value_world *world, const value_log *log, const value_settings *settings,
                           const float *pi, keel_fqe *fqe, keel_err *err) {
    keel_fqe_step steps[LONGEST];
    size_t length = 0;
    uint64_t unit = 0;
    for (size_t i = 0; i < log->n; ++i) {
        if (length == sizeof steps / sizeof *steps)
            return keel_fail(err, KEEL_E_UNSUPPORTED, "learning", "a conversation has more than %d decisions",
                             LONGEST);
        steps[length++] = (keel_fqe_step){.state = log->state + i * world->dim,
                                          .pi = pi + i * world->acts,
                                          .n_actions = world->acts,
                                          .action = log->action[i],
                                          .reward = (float)settings->scale * log->reward[i]};
        if (!log->last[i]) continue;
        KEEL_TRY(keel_fqe_add(fqe, unit++, steps, length, false, err));
        length = 0;
    }
    return KEEL_OK;
}

static keel_status value_at_start(const value_world *world, const value_log *log, const float *pi,
                                  const keel_fqe *fqe, double *out, keel_err *err) {
    keel_arena scratch = {0};
    keel_status status = KEEL_OK;
    double sum = 0;
    for (size_t i = 0; status == KEEL_OK && i < log->n; ++i) {
        if (!log->first[i]) continue;
        const keel_fqe_step at = {
            .state = log->state + i * world->dim, .pi = pi + i * world->acts, .n_actions = world->acts};
        double q, v = 0;
        keel_arena_reset(&scratch);
        status = keel_fqe_value(fqe, 0, &at, &scratch, &q, &v, err);
        sum += v;
    }
    keel_arena_free(&scratch);
    *out = sum / (double)log->n_conversations;
    return status;
}

keel_status value_fitted(const value_world *world, const value_log *log, const value_settings *settings,
                         const keel_learner *learner, uint64_t seed, keel_pool *pool, double *out,
                         keel_err *err) {
    keel_fqe_config config;
    keel_fqe *fqe = NULL;
    float *pi = NULL;
    double value = 0;
    keel_status status;
    KEEL_TRY(keel_fqe_standard(&config, err));
    share(world, settings, seed, &config.learner);
    config.folds = 1;
    const keel_qnet_shape shape = shape_of(world, &config.learner);
    KEEL_TRY_GOTO(keel_fqe_open(&fqe, &config, &shape, err), done);
    KEEL_TRY_GOTO(outputs_of(world, log, learner, &pi, err), done);
    for (size_t i = 0; i < log->n; ++i) keel_softmax(pi + i * world->acts, world->acts, pi + i * world->acts);
    KEEL_TRY_GOTO(add_log(world, log, settings, pi, fqe, err), done);
    KEEL_TRY_GOTO(keel_fqe_fit(fqe, pool, err), done);
    KEEL_TRY_GOTO(value_at_start(world, log, pi, fqe, &value, err), done);
    *out = value / settings->scale;
done:
    keel_free(pi);
    keel_fqe_close(fqe);
    return status;
}
