/* Targets, per reward component, over fixed acts or sets: of double Q-learning (van Hasselt, Guez & Silver
 * 2016) and of the other rules of rl/learn/learners.h. */
#include <math.h>
#include <string.h>

#include "core/numeric.h"
#include "policies/policy_internal.h"
#include "rewards/reward.h"
#include "rl/learn/loss.h"

keel_status keel_loss_input_make(const keel_qnet *net, const float *state, const float *candidates,
                                 const int32_t *offsets, size_t first, size_t n, keel_arena *arena,
                                 keel_loss_input *out, keel_err *err) {
    const keel_qnet_shape *shape = &net->shape;
    const float *own_state = state + first * shape->state_dim;
    if (shape->space != KEEL_SPACE_CANDIDATES) {
        *out = (keel_loss_input){own_state, n, NULL};
        return KEEL_OK;
    }
    size_t base = (size_t)offsets[first], rows = (size_t)offsets[first + n] - base;
    int32_t *local = keel_arena_alloc(arena, (n + 1) * sizeof *local);
    float *x = keel_arena_alloc(arena, rows * net->input_dim * sizeof *x);
    if (!local || !x) return keel_nomem(err, "learner");
    for (size_t i = 0; i <= n; ++i) local[i] = offsets[first + i] - offsets[first];
    keel_qnet_rows(net, own_state, candidates + base * shape->candidate_dim, local, n, x);
    *out = (keel_loss_input){x, rows, local};
    return KEEL_OK;
}

const float *keel_loss_shared(const keel_learner *learner, const keel_loss_input *input, size_t n,
                              keel_arena *arena) {
    if (!input->offsets) return input->x;
    size_t own = learner->net.shape.candidate_dim, all = learner->net.input_dim, dim = all - own;
    float *shared = keel_arena_calloc(arena, n * dim, sizeof *shared);
    for (size_t i = 0; shared && i < n; ++i)
        if (input->offsets[i + 1] > input->offsets[i])
            memcpy(shared + i * dim, input->x + (size_t)input->offsets[i] * all + own, dim * sizeof *shared);
    return shared;
}

/* Rewards and weights by head: the components themselves, or the one composite of those present. */
static void head_rewards(const keel_learner *learner, const keel_batch *batch, size_t row, float *reward,
                         float *weight) {
    bool vector = learner->net.shape.heads > 1;
    keel_reward r;
    for (size_t k = 0; k < KEEL_N_REWARDS; ++k) {
        r.value[k] = batch->reward[row * KEEL_N_REWARDS + k];
        r.present[k] = batch->present[row * KEEL_N_REWARDS + k] != 0;
        if (vector) {
            reward[k] = r.value[k];
            weight[k] = batch->usable[row] && r.present[k];
        }
    }
    if (!vector) {
        bool present = false;
        reward[0] = (float)keel_reward_composite(&r, learner->weight, &present);
        weight[0] = batch->usable[row] && present;
    }
}

/* The next decisions that count, packed: place[i] is where row i's is, -1 for none. */
typedef struct next_side {
    keel_loss_input input;
    int32_t *place;
    size_t count;
    keel_tensor **online, **target; /* [critics] as far as the rule wants them, and the others */
    keel_tensor *value, *actor;
} next_side;

static bool row_bootstraps(const keel_learner *learner, const keel_batch *batch, size_t row) {
    if (batch->bootstrap[row] == 0.0f || !batch->usable[row]) return false;
    return learner->net.shape.space != KEEL_SPACE_CANDIDATES ||
           batch->next_offsets[row + 1] > batch->next_offsets[row];
}

/* Fixed acts: states that count are gathered, so that single-decision logs cost no forward pass at all. Sets:
 * rows are taken as they lie, since a decision that is not there has no candidates. */
static keel_status gather_next(const keel_learner *learner, const keel_batch *batch, size_t first, size_t n,
                               keel_arena *arena, next_side *out, keel_err *err) {
    size_t dim = learner->net.shape.state_dim;
    bool sets = learner->net.shape.space == KEEL_SPACE_CANDIDATES;
    int32_t *place = keel_arena_alloc(arena, n * sizeof *place);
    float *packed = sets ? NULL : keel_arena_alloc(arena, n * dim * sizeof *packed);
    if (!place || (!sets && !packed)) return keel_nomem(err, "learner");
    *out = (next_side){.place = place};
    for (size_t i = 0; i < n; ++i) {
        place[i] = -1;
        if (!row_bootstraps(learner, batch, first + i)) continue;
        place[i] = (int32_t)(sets ? i : out->count);
        if (packed)
            memcpy(packed + out->count * dim, batch->next_state + (first + i) * dim, dim * sizeof *packed);
        out->count++;
    }
    if (!out->count) return KEEL_OK;
    if (!sets) {
        out->input = (keel_loss_input){packed, out->count, NULL};
        return KEEL_OK;
    }
    return keel_loss_input_make(&learner->net, batch->next_state, batch->next_candidates, batch->next_offsets,
                                first, n, arena, &out->input, err);
}

/* Where Q of (decision, action, output) lies in a network's output: one layout rule for both kinds of action
 * space. */
typedef struct q_layout {
    size_t base, actions, action_stride, head_stride;
} q_layout;

static q_layout layout_of(const keel_qnet_shape *shape, const keel_loss_input *input, size_t decision) {
    size_t heads = keel_qnet_outputs(shape);
    if (!input->offsets) return (q_layout){decision * heads * shape->n_acts, shape->n_acts, 1, shape->n_acts};
    size_t low = (size_t)input->offsets[decision], high = (size_t)input->offsets[decision + 1];
    return (q_layout){low * heads, high - low, heads, 1};
}

static double composite_q(const keel_learner *learner, const keel_batch *batch, size_t row, const float *q,
                          q_layout at, size_t action) {
    const float *first = q + at.base + action * at.action_stride;
    size_t heads = learner->net.shape.heads, quantiles = keel_qnet_outputs(&learner->net.shape) / heads;
    double sum = 0;
    for (size_t k = 0; k < heads; ++k) {
        double of_head = 0;
        for (size_t j = 0; j < quantiles; ++j) of_head += (double)first[(k * quantiles + j) * at.head_stride];
        sum += keel_learner_mix(learner, batch, row, k * quantiles) * of_head;
    }
    return sum;
}

/* ---- who acts at the next decision ---- */

/* A row of what is laid out like the batch's priors of the next decisions. */
static const float *next_row(const keel_learner *learner, const keel_batch *batch, const float *all,
                             size_t row) {
    bool sets = learner->net.shape.space == KEEL_SPACE_CANDIDATES;
    return all + (sets ? (size_t)batch->next_offsets[row] : row * learner->net.shape.n_acts);
}

static const float *actor_row(const keel_learner *learner, const next_side *next, size_t decision) {
    return next->actor->data + layout_of(&learner->actor.shape, &next->input, decision).base;
}

/* Log probabilities, up to a constant, of the behaviour at the decision that follows transition `row`; NULL
 * where all actions are supported. */
static const float *next_behaviour(const keel_learner *learner, const keel_batch *batch,
                                   const next_side *next, size_t row, size_t decision) {
    if (!learner->kind->supported) return NULL;
    return next->actor ? actor_row(learner, next, decision)
                       : next_row(learner, batch, batch->next_log_prior, row);
}

/* argmax of the critics' mean Q_w among the supported; the lowest action on ties. */
static size_t best_action(const keel_learner *learner, const keel_batch *batch, size_t row,
                          keel_tensor *const *q, q_layout at, const float *behaviour) {
    size_t best = 0;
    double best_value = -INFINITY, least = -INFINITY;
    if (behaviour) least = keel_policy_least_prior(behaviour, at.actions, learner->config.support);
    for (size_t action = 0; action < at.actions; ++action) {
        double value = 0;
        if (behaviour && !((double)behaviour[action] >= least)) continue;
        for (size_t c = 0; c < learner->net.shape.critics; ++c)
            value += composite_q(learner, batch, row, q[c]->data, at, action);
        if (value > best_value) {
            best_value = value;
            best = action;
        }
    }
    return best;
}

/* ---- what its value is ---- */

float keel_target_ensemble(const keel_learner *learner, keel_tensor *const *critics, size_t place) {
    size_t n = learner->net.shape.critics;
    float least = critics[0]->data[place], sum = least;
    for (size_t c = 1; c < n; ++c) {
        least = fminf(least, critics[c]->data[place]);
        sum += critics[c]->data[place];
    }
    return learner->config.ensemble == KEEL_ENSEMBLE_MEAN ? sum / (float)n : least;
}

/* y += factor * Qbar(s', action) */
static void add_action(const keel_learner *learner, const next_side *next, q_layout at, size_t action,
                       double factor, float *y) {
    for (size_t h = 0; h < keel_qnet_outputs(&learner->net.shape); ++h) {
        size_t place = at.base + action * at.action_stride + h * at.head_stride;
        y[h] += (float)(factor * (double)keel_target_ensemble(learner, next->target, place));
    }
}

static void add_expectation(const keel_learner *learner, const next_side *next, q_layout at, const float *pi,
                            double factor, float *y) {
    for (size_t a = 0; a < at.actions; ++a)
        if (pi[a] != 0.0f) add_action(learner, next, at, a, factor * (double)pi[a], y);
}

static keel_status add_bootstrap(const keel_learner *learner, const keel_batch *batch, const next_side *next,
                                 size_t row, size_t decision, keel_arena *arena, float *y, keel_err *err) {
    double factor = learner->config.gamma * (double)batch->bootstrap[row];
    q_layout at = layout_of(&learner->net.shape, &next->input, decision);
    if (batch->next_pi) {
        add_expectation(learner, next, at, next_row(learner, batch, batch->next_pi, row), factor, y);
    } else if (learner->kind->target == KEEL_TARGET_VALUE) {
        size_t heads = learner->net.shape.heads;
        for (size_t k = 0; k < heads; ++k)
            y[k] += (float)(factor * (double)next->value->data[decision * heads + k]);
    } else if (learner->kind->target == KEEL_TARGET_ACTOR) {
        float *pi = keel_arena_alloc(arena, at.actions * sizeof *pi);
        if (!pi) return keel_nomem(err, "learner");
        keel_softmax(actor_row(learner, next, decision), at.actions, pi);
        add_expectation(learner, next, at, pi, factor, y);
    } else {
        const float *behaviour = next_behaviour(learner, batch, next, row, decision);
        keel_tensor *const *judge = learner->config.double_q ? next->online : next->target;
        add_action(learner, next, at, best_action(learner, batch, row, judge, at, behaviour), factor, y);
    }
    return KEEL_OK;
}

/* ---- forward passes ---- */

bool keel_target_forward(const keel_learner *learner, const float *params, keel_tape *tape, keel_tensor *x,
                         keel_tensor **out) {
    for (size_t c = 0; c < learner->net.shape.critics; ++c) {
        out[c] = keel_qnet_forward(tape, &learner->net, params, NULL, c, x, 0, NULL);
        if (!out[c]) return false;
    }
    return true;
}

static bool run_value(const keel_learner *learner, size_t n, keel_loss_shard *shard, next_side *next) {
    size_t rows = next->input.offsets ? n : next->count;
    const float *shared = keel_loss_shared(learner, &next->input, rows, &shard->arena);
    if (!shared) return false;
    keel_tensor *x = keel_tape_input(shard->frozen, shared, rows, learner->value.input_dim);
    next->value =
        keel_qnet_forward(shard->frozen, &learner->value, learner->params.data, NULL, 0, x, 0, NULL);
    return next->value != NULL;
}

/* Only what the rule looks at; a given policy needs neither online values nor an actor to choose by. */
static bool run_next(const keel_learner *learner, const keel_batch *batch, size_t n, keel_loss_shard *shard,
                     next_side *next) {
    keel_tape *tape = shard->frozen;
    bool best = learner->kind->target == KEEL_TARGET_BEST;
    if (!batch->next_pi && learner->kind->target == KEEL_TARGET_VALUE)
        return run_value(learner, n, shard, next);
    keel_tensor *x = keel_tape_input(tape, next->input.x, next->input.rows, learner->net.input_dim);
    if (!batch->next_pi && best && learner->config.double_q &&
        !keel_target_forward(learner, learner->params.data, tape, x, next->online))
        return false;
    if (!keel_target_forward(learner, learner->target, tape, x, next->target)) return false;
    if (batch->next_pi || !learner->actor.params.count) return true;
    next->actor = keel_qnet_forward(tape, &learner->actor, learner->params.data, NULL, 0, x, 0, NULL);
    return next->actor != NULL;
}

/* The reward of each head, for each of its quantiles alike. */
static void put_rewards(const keel_learner *learner, const keel_batch *batch, size_t row, float *y,
                        float *weight) {
    size_t heads = learner->net.shape.heads, outputs = keel_qnet_outputs(&learner->net.shape);
    float reward[KEEL_N_REWARDS];
    head_rewards(learner, batch, row, reward, weight);
    for (size_t h = 0; h < outputs; ++h) y[h] = reward[h / (outputs / heads)];
}

keel_status keel_target_make(const keel_learner *learner, const keel_batch *batch, size_t first, size_t n,
                             keel_loss_shard *shard, const float **y, const float **weight, keel_err *err) {
    const keel_qnet_shape *shape = &learner->net.shape;
    size_t outputs = keel_qnet_outputs(shape), critics = shape->critics;
    float *values = keel_arena_alloc(&shard->arena, n * outputs * sizeof *values);
    float *weights = keel_arena_alloc(&shard->arena, n * shape->heads * sizeof *weights);
    keel_tensor **tensors = keel_arena_alloc(&shard->arena, 2 * critics * sizeof *tensors);
    if (!values || !weights || !tensors) return keel_nomem(err, "learner");
    for (size_t i = 0; i < n; ++i)
        put_rewards(learner, batch, first + i, values + i * outputs, weights + i * shape->heads);

    next_side next;
    KEEL_TRY(gather_next(learner, batch, first, n, &shard->arena, &next, err));
    next.online = tensors;
    next.target = tensors + critics;
    if (next.count && !run_next(learner, batch, n, shard, &next))
        return keel_tape_check(shard->frozen, NULL, err);
    for (size_t i = 0; i < n; ++i)
        if (next.place[i] >= 0)
            KEEL_TRY(add_bootstrap(learner, batch, &next, first + i, (size_t)next.place[i], &shard->arena,
                                   values + i * outputs, err));
    *y = values;
    *weight = weights;
    return KEEL_OK;
}
