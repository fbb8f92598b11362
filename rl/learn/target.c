/* Targets, per reward component, over fixed acts or sets: rewards, the next decisions that count, and what
 * learners make the value of those from. */
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "policies/policy_internal.h"
#include "rewards/reward.h"
#include "rl/learn/target.h"

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

static bool row_bootstraps(const keel_learner *learner, const keel_batch *batch, size_t row) {
    if (batch->bootstrap[row] == 0.0f || !batch->usable[row]) return false;
    return learner->net.shape.space != KEEL_SPACE_CANDIDATES ||
           batch->next_offsets[row + 1] > batch->next_offsets[row];
}

/* Fixed acts: states that count are gathered, so that single-decision logs cost no forward pass at all. Sets:
 * rows are taken as they lie, since a decision that is not there has no candidates. */
static keel_status gather_next(keel_target_next *out, keel_err *err) {
    const keel_learner *learner = out->learner;
    const keel_batch *batch = out->batch;
    keel_arena *arena = &out->shard->arena;
    size_t first = out->first, n = out->n;
    size_t dim = learner->net.shape.state_dim;
    bool sets = learner->net.shape.space == KEEL_SPACE_CANDIDATES;
    int32_t *place = keel_arena_alloc(arena, n * sizeof *place);
    float *packed = sets ? NULL : keel_arena_alloc(arena, n * dim * sizeof *packed);
    if (!place || (!sets && !packed)) return keel_nomem(err, "learner");
    out->place = place;
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
        out->input = (keel_shard_input){packed, out->count, NULL};
        return KEEL_OK;
    }
    return keel_shard_input_make(&learner->net, batch->next_state, batch->next_candidates,
                                 batch->next_offsets, NULL, first, n, arena, &out->input, err);
}

/* Where Q of (decision, action, output) lies in a network's output: one layout rule for both kinds of action
 * space. */
typedef struct q_layout {
    size_t base, actions, action_stride, head_stride;
} q_layout;

static q_layout layout_of(const keel_qnet_shape *shape, const keel_shard_input *input, size_t decision) {
    size_t heads = keel_qnet_outputs(shape);
    if (!input->offsets) return (q_layout){decision * heads * shape->n_acts, shape->n_acts, 1, shape->n_acts};
    size_t low = (size_t)input->offsets[decision], high = (size_t)input->offsets[decision + 1];
    return (q_layout){low * heads, high - low, heads, 1};
}

static q_layout layout_at(const keel_target_next *next, const keel_qnet_shape *shape, size_t i) {
    return layout_of(shape, &next->input, (size_t)next->place[i]);
}

size_t keel_target_actions(const keel_target_next *next, size_t i) {
    return layout_at(next, &next->learner->net.shape, i).actions;
}

double keel_target_factor(const keel_target_next *next, size_t i) {
    return next->learner->config.gamma * (double)next->batch->bootstrap[next->first + i];
}

const float *keel_target_row(const keel_target_next *next, const float *all, size_t i) {
    const keel_qnet_shape *shape = &next->learner->net.shape;
    size_t row = next->first + i;
    bool sets = shape->space == KEEL_SPACE_CANDIDATES;
    return all + (sets ? (size_t)next->batch->next_offsets[row] : row * shape->n_acts);
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

static keel_tensor *next_input(keel_target_next *next) {
    if (!next->x)
        next->x = keel_tape_input(next->shard->frozen, next->input.x, next->input.rows,
                                  next->learner->net.input_dim);
    return next->x;
}

keel_tensor **keel_target_critics(keel_target_next *next, const float *params) {
    keel_tensor **out = keel_arena_alloc(&next->shard->arena, next->learner->net.shape.critics * sizeof *out);
    bool done = out && keel_target_forward(next->learner, params, next->shard->frozen, next_input(next), out);
    return done ? out : NULL;
}

keel_tensor *keel_target_network(keel_target_next *next, size_t extra) {
    return keel_qnet_forward(next->shard->frozen, &next->learner->extra[extra], next->learner->params.data,
                             NULL, 0, next_input(next), 0, NULL);
}

const float *keel_target_logits(const keel_target_next *next, const keel_tensor *logits, size_t i) {
    const keel_qnet_shape *shape = &next->learner->net.shape;
    keel_qnet_shape one = {.space = shape->space, .n_acts = shape->n_acts, .heads = 1};
    return next->place[i] < 0 ? NULL : logits->data + layout_at(next, &one, i).base;
}

keel_status keel_target_failed(const keel_target_next *next, keel_err *err) {
    keel_status status = keel_tape_check(next->shard->frozen, NULL, err);
    return status == KEEL_OK ? keel_nomem(err, "learner") : status;
}

/* ---- values ---- */

float keel_target_ensemble(const keel_learner *learner, keel_tensor *const *critics, size_t place) {
    size_t n = learner->net.shape.critics;
    float least = critics[0]->data[place], sum = least;
    for (size_t c = 1; c < n; ++c) {
        least = fminf(least, critics[c]->data[place]);
        sum += critics[c]->data[place];
    }
    return learner->config.ensemble == KEEL_ENSEMBLE_MEAN ? sum / (float)n : least;
}

float keel_target_cost(const keel_learner *learner, keel_tensor *const *critics, size_t place) {
    float most = 0;
    for (size_t c = 0; c < learner->net.shape.critics; ++c) most = fmaxf(most, critics[c]->data[place]);
    return most;
}

/* y += factor * Qbar(s', action) */
static void add_action(const keel_target_next *next, keel_tensor *const *qbar, q_layout at, size_t action,
                       double factor, float *y) {
    const keel_qnet_shape *shape = &next->learner->net.shape;
    const size_t outputs = keel_qnet_outputs(shape), values = outputs - shape->cost;
    const size_t first = at.base + action * at.action_stride;
    for (size_t h = 0; h < values; ++h)
        y[h] +=
            (float)(factor * (double)keel_target_ensemble(next->learner, qbar, first + h * at.head_stride));
    if (shape->cost)
        y[values] +=
            (float)(factor * (double)keel_target_cost(next->learner, qbar, first + values * at.head_stride));
}

void keel_target_add_expectation(const keel_target_next *next, size_t i, keel_tensor *const *qbar,
                                 const float *pi, float *y) {
    const keel_qnet_shape *shape = &next->learner->net.shape;
    q_layout at = layout_at(next, shape, i);
    for (size_t a = 0; a < at.actions; ++a)
        if (pi[a] != 0.0f)
            add_action(next, qbar, at, a, keel_target_factor(next, i) * (double)pi[a],
                       y + i * keel_qnet_outputs(shape));
}

/* argmax of the critics' mean of what the policy maximises, among the supported; the lowest action on ties.
 */
static size_t best_action(const keel_target_next *next, size_t i, keel_tensor *const *q,
                          const float *behaviour, double support) {
    const keel_qnet_shape *shape = &next->learner->net.shape;
    q_layout at = layout_at(next, shape, i);
    size_t best = 0;
    double best_value = -INFINITY, least = -INFINITY, weight[KEEL_N_REWARDS];
    keel_learner_weights(next->learner, next->batch, next->first + i, weight);
    if (behaviour) least = keel_policy_least_prior(behaviour, at.actions, support);
    for (size_t action = 0; action < at.actions; ++action) {
        double value = 0;
        if (behaviour && !((double)behaviour[action] >= least)) continue;
        for (size_t c = 0; c < shape->critics; ++c)
            value += keel_learner_objective(next->learner, weight,
                                            q[c]->data + at.base + action * at.action_stride, at.head_stride);
        if (value > best_value) {
            best_value = value;
            best = action;
        }
    }
    return best;
}

keel_status keel_target_best_of(keel_target_next *next, const float *const *behaviour, double support,
                                float *y, keel_err *err) {
    const keel_learner *learner = next->learner;
    size_t outputs = keel_qnet_outputs(&learner->net.shape);
    keel_tensor **qbar = keel_target_critics(next, learner->target), **judge = qbar;
    if (qbar && learner->config.double_q) judge = keel_target_critics(next, learner->params.data);
    if (!judge) return keel_target_failed(next, err);
    for (size_t i = 0; i < next->n; ++i) {
        if (next->place[i] < 0) continue;
        size_t action = best_action(next, i, judge, behaviour ? behaviour[i] : NULL, support);
        add_action(next, qbar, layout_at(next, &learner->net.shape, i), action, keel_target_factor(next, i),
                   y + i * outputs);
    }
    return KEEL_OK;
}

keel_status keel_target_best(keel_target_next *next, float *y, keel_err *err) {
    return keel_target_best_of(next, NULL, 0, y, err);
}

/* Under a given policy: y += gamma bootstrap sum_a pi(a|s') Qbar(s', a). */
static keel_status next_of_given(keel_target_next *next, float *y, keel_err *err) {
    keel_tensor **qbar = keel_target_critics(next, next->learner->target);
    if (!qbar) return keel_target_failed(next, err);
    for (size_t i = 0; i < next->n; ++i)
        if (next->place[i] >= 0)
            keel_target_add_expectation(next, i, qbar, keel_target_row(next, next->batch->next_pi, i), y);
    return KEEL_OK;
}

/* The reward of each head, for each of its quantiles alike, and the cost. */
static void put_rewards(const keel_learner *learner, const keel_batch *batch, size_t row, float *y,
                        float *weight) {
    const keel_qnet_shape *shape = &learner->net.shape;
    const size_t quantiles = keel_qnet_quantiles(shape), safety = row * KEEL_N_REWARDS + KEEL_SAFETY;
    float reward[KEEL_N_REWARDS];
    head_rewards(learner, batch, row, reward, weight);
    for (size_t h = 0; h < shape->heads * quantiles; ++h) y[h] = reward[h / quantiles];
    if (!shape->cost) return;
    y[shape->heads] = fmaxf(0, -batch->reward[safety]);
    weight[shape->heads] = batch->usable[row] && batch->present[safety];
}

/* What refuses or hands over costs nothing by rule: harm that comes later is of what is done then. */
static void waive_costs(const keel_learner *learner, const keel_batch *batch, size_t first, size_t n,
                        float *y, float *weight) {
    const keel_qnet_shape *shape = &learner->net.shape;
    const bool sets = shape->space == KEEL_SPACE_CANDIDATES;
    const size_t heads = keel_qnet_heads(shape);
    for (size_t i = 0; shape->cost && batch->declines && i < n; ++i) {
        size_t row = first + i, set = sets ? (size_t)batch->offsets[row] : row * shape->n_acts;
        if (!batch->declines[set + (size_t)batch->action[row]]) continue;
        y[i * heads + heads - 1] = 0;
        weight[i * heads + heads - 1] = 1;
    }
}

keel_status keel_target_make(const keel_learner *learner, const keel_batch *batch, size_t first, size_t n,
                             keel_shard *shard, const float **y, const float **weight, keel_err *err) {
    const keel_qnet_shape *shape = &learner->net.shape;
    size_t outputs = keel_qnet_outputs(shape);
    float *values = keel_arena_alloc(&shard->arena, n * outputs * sizeof *values);
    float *weights = keel_arena_alloc(&shard->arena, n * keel_qnet_heads(shape) * sizeof *weights);
    if (!values || !weights) return keel_nomem(err, "learner");
    for (size_t i = 0; i < n; ++i)
        put_rewards(learner, batch, first + i, values + i * outputs, weights + i * keel_qnet_heads(shape));

    keel_target_next next = {.learner = learner, .batch = batch, .first = first, .n = n, .shard = shard};
    KEEL_TRY(gather_next(&next, err));
    *y = values;
    *weight = weights;
    if (next.count)
        KEEL_TRY(batch->next_pi ? next_of_given(&next, values, err)
                                : learner->kind->next_value(&next, values, err));
    waive_costs(learner, batch, first, n, values, weights);
    return KEEL_OK;
}
