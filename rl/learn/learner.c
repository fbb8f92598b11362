/* The learner's frame: networks in one block of parameters, and a sharded step on it (core/sharded_step.h).
 * Nothing here depends on the number of threads. */
#include "rl/learn/learner.h"

#include <math.h>
#include <string.h>

#include "rl/learn/loss.h"
#include "rl/learn/reward_conditioning.h"

struct keel_learner_work {
    keel_sharded_step *step;
    size_t capacity; /* shards of a full batch */
    keel_shard *shards;
    /* this step's */
    const keel_learner *learner;
    const keel_batch *batch;
    keel_batch weighted; /* the same with weights drawn, where those are an input; in the arena */
    keel_arena arena;
    size_t n_shards;
};

/* ---- what a configuration must satisfy beyond its bounds ---- */

static keel_status check_config(const keel_learner_config *config, const keel_qnet_shape *shape,
                                keel_err *err) {
    const char *where = "learner configuration";
    KEEL_TRY(keel_learner_check(config, err));
    if (!keel_learner_kind_of(config->algorithm)->next_value && shape->heads != 1)
        return keel_fail(err, KEEL_E_INVALID, where, "expected 1 head, got %zu: %s learns no values",
                         shape->heads, keel_algorithms[config->algorithm]);
    if (shape->heads != 1 && shape->heads != KEEL_N_REWARDS)
        return keel_fail(err, KEEL_E_INVALID, where, "expected 1 or %d heads, got %zu", (int)KEEL_N_REWARDS,
                         shape->heads);
    return KEEL_OK;
}

static keel_status effective_weights(keel_learner *learner, const double *coverage, keel_err *err) {
    const keel_learner_config *config = &learner->config;
    double total = 0, kept = 0;
    for (int k = 0; k < KEEL_N_REWARDS; ++k) {
        learner->covered[k] = !coverage || coverage[k] > 0;
        total += config->weight[k];
        if (learner->covered[k]) kept += config->weight[k];
    }
    if (kept <= 0 && learner->kind->next_value) {
        keel_fail(err, KEEL_E_INVALID, "reward",
                  "no reward component with a weight is known of any transition");
        return keel_hint(
            err, "outcomes (keel label judges them) earn by the conversation's risk; completed, feedback, "
                 "reward and latency_ms earn too: the log must have one of these (keel stats counts "
                 "them), or imitate it (--algo bc)");
    }
    for (int k = 0; k < KEEL_N_REWARDS; ++k)
        learner->weight[k] = kept > 0 && learner->covered[k] ? config->weight[k] * total / kept : 0;
    return KEEL_OK;
}

/* ---- planning ---- */

static void close_shard(keel_shard *shard) {
    keel_tape_close(shard->tape);
    keel_tape_close(shard->frozen);
    keel_arena_free(&shard->arena);
}

static keel_status open_shard(keel_shard *shard, keel_err *err) {
    KEEL_TRY(keel_tape_open(&shard->tape, err));
    KEEL_TRY(keel_tape_open(&shard->frozen, err));
    keel_tape_record(shard->frozen, false);
    return KEEL_OK;
}

static keel_status open_work(keel_learner *learner, keel_pool *pool, keel_err *err) {
    size_t batch = (size_t)learner->config.batch, rows = (size_t)learner->config.shard_rows;
    struct keel_learner_work *work = learner->work = keel_calloc(1, sizeof *work);
    if (!work) return keel_nomem(err, "learner");
    work->capacity = (batch + rows - 1) / rows;
    work->shards = keel_calloc(work->capacity, sizeof *work->shards);
    if (!work->shards) return keel_nomem(err, "learner");
    KEEL_TRY(keel_sharded_step_open(&work->step, &learner->params, work->capacity, pool, err));
    for (size_t i = 0; i < work->capacity; ++i) {
        work->shards[i].grads = keel_sharded_step_gradient(work->step, i);
        KEEL_TRY(open_shard(&work->shards[i], err));
    }
    learner->grads = keel_sharded_step_gradient(work->step, 0);
    return KEEL_OK;
}

/* ---- the block of parameters ---- */

typedef struct network {
    keel_qnet *net;
    const char *name;
    keel_qnet_shape shape;
    size_t first; /* row of the block's table */
} network;

static size_t list_networks(keel_learner *learner, const keel_qnet_shape *shape,
                            network out[1 + KEEL_LEARNER_EXTRAS]) {
    const keel_learner_extras *extras = &learner->extras;
    size_t count = 0;
    out[count++] = (network){&learner->net, "critic", *shape, 0};
    for (size_t i = 0; i < extras->n_networks; ++i, ++count)
        out[count] = (network){&learner->extra[i], extras->network[i].name, extras->network[i].shape,
                               out[count - 1].first + keel_qnet_n_params(&out[count - 1].shape)};
    return count;
}

static void start_scalars(keel_learner *learner, size_t first) {
    for (size_t i = 0; i < learner->extras.n_scalars; ++i) {
        learner->scalar[i] = learner->params.offset[first + i];
        learner->params.data[learner->scalar[i]] = (float)learner->extras.scalar[i].start;
    }
}

/* Room for the largest list of networks that keel_qnet_list may refuse; then their views, and first values.
 */
static keel_status open_networks(keel_learner *learner, const keel_qnet_shape *shape, keel_err *err) {
    network nets[1 + KEEL_LEARNER_EXTRAS];
    keel_arena arena = {0};
    keel_status status = KEEL_OK;
    const keel_learner_extras *extras = &learner->extras;
    size_t n = list_networks(learner, shape, nets), used = nets[n - 1].first;
    used += keel_qnet_n_params(&nets[n - 1].shape);
    keel_param *table = keel_arena_calloc(&arena, used + KEEL_LEARNER_EXTRAS, sizeof *table);
    if (!table) status = keel_fail(err, KEEL_E_NOMEM, "learner", "no memory for its networks' table");
    for (size_t i = 0; status == KEEL_OK && i < n; ++i)
        status = keel_qnet_list(&nets[i].shape, nets[i].name, &arena, table + nets[i].first, err);
    for (size_t i = 0; status == KEEL_OK && i < extras->n_scalars; ++i)
        table[used + i] = (keel_param){extras->scalar[i].name, 1, 1, KEEL_INIT_ZERO, 1, false, 0};
    if (status == KEEL_OK) status = keel_params_make(&learner->params, table, used + extras->n_scalars, err);
    keel_arena_free(&arena);
    if (status != KEEL_OK) return status;
    for (size_t i = 0; i < n; ++i) {
        *nets[i].net = keel_qnet_over(&nets[i].shape, &learner->params, nets[i].first);
        keel_qnet_init(nets[i].net, (uint64_t)learner->config.seed);
    }
    start_scalars(learner, used);
    return KEEL_OK;
}

keel_status keel_learner_open(keel_learner *learner, const keel_learner_config *config,
                              const keel_qnet_shape *shape, const double *coverage, keel_pool *pool,
                              keel_err *err) {
    keel_learner made = {.config = *config, .kind = keel_learner_kind_of(config->algorithm)};
    made.config.dropout = fmax(0, config->dropout); /* whoever knows the size of the log resolves it */
    keel_qnet_shape resolved = *shape;
    resolved.quantiles = (size_t)config->quantiles;
    if (config->conditioned) resolved.state_dim += KEEL_N_REWARDS;
    keel_status status = check_config(config, shape, err);
    if (status == KEEL_OK) status = effective_weights(&made, coverage, err);
    if (status != KEEL_OK) return status;
    if (made.kind->extras) made.kind->extras(config, &resolved, &made.extras);
    KEEL_TRY(open_networks(&made, &resolved, err));
    size_t size = made.params.size;
    made.target = keel_calloc(size, sizeof *made.target);
    if (!made.target) {
        status = keel_fail(err, KEEL_E_NOMEM, "learner", "no memory for %zu parameters", size);
        goto failed;
    }
    memcpy(made.target, made.params.data, size * sizeof *made.target);
    KEEL_TRY_GOTO(keel_adam_open(&made.adam, size, err), failed);
    KEEL_TRY_GOTO(open_work(&made, pool, err), failed);
    *learner = made;
    return KEEL_OK;
failed:
    keel_learner_close(&made);
    return status;
}

void keel_learner_close(keel_learner *learner) {
    struct keel_learner_work *work = learner->work;
    for (size_t i = 0; work && work->shards && i < work->capacity; ++i) close_shard(&work->shards[i]);
    if (work) {
        keel_sharded_step_close(work->step);
        keel_arena_free(&work->arena);
        keel_free(work->shards);
    }
    keel_free(work);
    keel_adam_close(&learner->adam);
    keel_free(learner->target);
    keel_params_free(&learner->params); /* which the networks only look into */
    *learner = (keel_learner){0};
}

const keel_qnet *keel_learner_acting(const keel_learner *learner) {
    for (size_t i = 0; i < learner->extras.n_networks; ++i)
        if (learner->extras.network[i].acts) return &learner->extra[i];
    return &learner->net;
}

void keel_learner_weights(const keel_learner *learner, const keel_batch *batch, size_t row, double *weight) {
    for (size_t k = 0; k < KEEL_N_REWARDS; ++k)
        weight[k] = batch->weight ? (double)batch->weight[row * KEEL_N_REWARDS + k] : learner->weight[k];
}

double keel_learner_objective(const keel_learner *learner, const double *weight, const float *q,
                              size_t stride) {
    double cost_weight = learner->kind->cost_weight ? learner->kind->cost_weight(learner) : 0;
    return keel_qnet_objective(&learner->net.shape, weight, cost_weight, q, stride);
}

/* ---- loss and gradient ---- */

static keel_status run_shard(void *context, size_t index, size_t thread, keel_err *err) {
    (void)thread;
    struct keel_learner_work *work = context;
    size_t rows = (size_t)work->learner->config.shard_rows, first = index * rows;
    size_t n = work->batch->n - first < rows ? work->batch->n - first : rows;
    return keel_loss_run(work->learner, work->batch, first, n, &work->shards[index], err);
}

static void add_parts(keel_loss_parts *into, const keel_loss_parts *from) {
    for (int k = 0; k < KEEL_N_REWARDS; ++k) into->td_head[k] += from->td_head[k];
    into->conservative += from->conservative;
    into->td_cost += from->td_cost;
    into->conservative_cost += from->conservative_cost;
    for (size_t i = 0; i < KEEL_LEARNER_EXTRAS; ++i) into->own[i] += from->own[i];
    into->q_taken += from->q_taken;
    into->q_others += from->q_others;
    if (!(from->q_low >= into->q_low)) into->q_low = from->q_low;
    if (!(from->q_high <= into->q_high)) into->q_high = from->q_high;
}

static void collect_parts(const keel_learner *learner, size_t n, double norm, keel_loss_parts *out) {
    const struct keel_learner_work *work = learner->work;
    keel_loss_parts parts = work->shards[0].sums;
    for (size_t s = 1; s < work->n_shards; ++s) add_parts(&parts, &work->shards[s].sums);
    for (int k = 0; k < KEEL_N_REWARDS; ++k) {
        parts.td_head[k] /= (double)n;
        parts.td += parts.td_head[k];
    }
    parts.conservative /= (double)n;
    parts.td_cost /= (double)n;
    parts.conservative_cost /= (double)n;
    for (size_t i = 0; i < KEEL_LEARNER_EXTRAS; ++i) parts.own[i] /= (double)n;
    parts.q_taken /= (double)n;
    parts.q_others /= (double)n;
    parts.total = learner->kind->total(learner, &parts) + parts.td_cost +
                  learner->config.cost_pessimism * parts.conservative_cost;
    parts.gradient_norm = norm;
    *out = parts;
}

static keel_status begin(keel_learner *learner, const keel_batch *batch, keel_err *err) {
    struct keel_learner_work *work = learner->work;
    size_t rows = (size_t)learner->config.shard_rows;
    if (!batch->n || batch->n > (size_t)learner->config.batch)
        return keel_fail(err, KEEL_E_USAGE, "learner", "a batch of 1 to %lld rows was planned for, got %zu",
                         (long long)learner->config.batch, batch->n);
    work->learner = learner;
    work->batch = batch;
    if (learner->config.conditioned) {
        KEEL_TRY(keel_reward_conditioning_batch(learner, batch, &work->arena, &work->weighted, err));
        work->batch = &work->weighted;
    }
    work->n_shards = (batch->n + rows - 1) / rows;
    return KEEL_OK;
}

keel_status keel_learner_gradient(keel_learner *learner, const keel_batch *batch, keel_loss_parts *parts,
                                  keel_err *err) {
    struct keel_learner_work *work = learner->work;
    double norm;
    KEEL_TRY(begin(learner, batch, err));
    KEEL_TRY(keel_sharded_step_sum(work->step, work->n_shards, run_shard, work, &norm, err));
    collect_parts(learner, batch->n, norm, parts);
    return KEEL_OK;
}

/* ---- update ---- */

static double rate_factor(const keel_learner *learner) {
    double steps = (double)learner->config.steps;
    return learner->config.rate_decay && steps > 0 ? fmax(0, 1 - (double)learner->step / steps) : 1;
}

/* d3rlpy counts from 0 and tests before it counts: the first hard copy falls right after step 1. */
static bool target_due(const keel_learner *learner) {
    int64_t interval = learner->config.target_interval;
    return interval == 0 || learner->step % (uint64_t)interval == 0;
}

static keel_step_rule rule_of(const keel_learner *learner) {
    const keel_learner_config *config = &learner->config;
    keel_step_rule rule = {.adam = keel_adam_defaults(),
                           .rate_factor = rate_factor(learner),
                           .clip_norm = config->clip_norm,
                           .target = target_due(learner) ? learner->target : NULL,
                           .tau = config->tau};
    rule.adam.learning_rate = config->learning_rate;
    rule.adam.epsilon = config->adam_epsilon;
    rule.adam.weight_decay = config->weight_decay;
    return rule;
}

keel_status keel_learner_step(keel_learner *learner, const keel_batch *batch, keel_loss_parts *parts,
                              keel_err *err) {
    struct keel_learner_work *work = learner->work;
    keel_step_rule rule = rule_of(learner);
    double norm;
    KEEL_TRY(begin(learner, batch, err));
    KEEL_TRY(keel_sharded_step_take(work->step, work->n_shards, run_shard, work, &rule, &learner->params,
                                    &learner->adam, &norm, err));
    learner->step++;
    collect_parts(learner, batch->n, norm, parts);
    return KEEL_OK;
}

void keel_learner_filter(keel_learner *learner, keel_gradient_filter *filter, void *context) {
    keel_sharded_step_filter(learner->work->step, filter, context);
}
