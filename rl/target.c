/* The targets of double Q-learning (van Hasselt, Guez & Silver 2016), per reward component, over fixed acts
 * or sets. */
#include <math.h>
#include <string.h>

#include "rewards/reward.h"
#include "rl/loss.h"

static keel_status no_memory(keel_err *err) {
    return keel_fail(err, KEEL_E_NOMEM, "learner", "no memory for a step's targets");
}

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
    if (!local || !x) return no_memory(err);
    for (size_t i = 0; i <= n; ++i) local[i] = offsets[first + i] - offsets[first];
    keel_qnet_rows(net, own_state, candidates + base * shape->candidate_dim, local, n, x);
    *out = (keel_loss_input){x, rows, local};
    return KEEL_OK;
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
    if (!place || (!sets && !packed)) return no_memory(err);
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

/* Where Q of (decision, action, head) lies in a critic's output: one layout rule for both kinds of action
 * space. */
typedef struct q_layout {
    size_t base, actions, action_stride, head_stride;
} q_layout;

static q_layout layout_of(const keel_qnet_shape *shape, const keel_loss_input *input, size_t decision) {
    size_t heads = shape->heads;
    if (!input->offsets) return (q_layout){decision * heads * shape->n_acts, shape->n_acts, 1, shape->n_acts};
    size_t low = (size_t)input->offsets[decision], high = (size_t)input->offsets[decision + 1];
    return (q_layout){low * heads, high - low, heads, 1};
}

static double composite_q(const keel_learner *learner, const float *q, q_layout at, size_t action) {
    const float *first = q + at.base + action * at.action_stride;
    if (learner->net.shape.heads == 1) return (double)first[0];
    double sum = 0;
    for (size_t k = 0; k < learner->net.shape.heads; ++k)
        sum += learner->weight[k] * (double)first[k * at.head_stride];
    return sum;
}

/* argmax of the critics' mean Q_w; the lowest action on ties. */
static size_t best_action(const keel_learner *learner, keel_tensor *const *q, q_layout at) {
    size_t best = 0;
    double best_value = -INFINITY;
    for (size_t action = 0; action < at.actions; ++action) {
        double value = 0;
        for (size_t c = 0; c < learner->net.shape.critics; ++c)
            value += composite_q(learner, q[c]->data, at, action);
        if (value > best_value) {
            best_value = value;
            best = action;
        }
    }
    return best;
}

/* y += factor * min over critics of Qbar(s', action). */
static void add_action(const keel_learner *learner, keel_tensor *const *target, q_layout at, size_t action,
                       double factor, float *y) {
    for (size_t k = 0; k < learner->net.shape.heads; ++k) {
        size_t place = at.base + action * at.action_stride + k * at.head_stride;
        float least = target[0]->data[place];
        for (size_t c = 1; c < learner->net.shape.critics; ++c) least = fminf(least, target[c]->data[place]);
        y[k] += (float)(factor * (double)least);
    }
}

/* The policy's probabilities at the decision that follows transition `row`. */
static const float *given_policy(const keel_learner *learner, const keel_batch *batch, size_t row) {
    bool sets = learner->net.shape.space == KEEL_SPACE_CANDIDATES;
    return batch->next_pi + (sets ? (size_t)batch->next_offsets[row] : row * learner->net.shape.n_acts);
}

static void add_bootstrap(const keel_learner *learner, const keel_batch *batch, size_t row,
                          keel_tensor *const *online, keel_tensor *const *target, q_layout at, float *y) {
    double factor = learner->config.gamma * (double)batch->bootstrap[row];
    if (!batch->next_pi) {
        add_action(learner, target, at, best_action(learner, online, at), factor, y);
        return;
    }
    const float *pi = given_policy(learner, batch, row);
    for (size_t a = 0; a < at.actions; ++a)
        if (pi[a] != 0.0f) add_action(learner, target, at, a, factor * (double)pi[a], y);
}

static bool forward_critics(const keel_qnet *net, const float *params, keel_tape *tape, keel_tensor *x,
                            keel_tensor **out) {
    for (size_t c = 0; c < net->shape.critics; ++c) {
        out[c] = keel_qnet_forward(tape, net, params, NULL, c, x, 0, NULL);
        if (!out[c]) return false;
    }
    return true;
}

keel_status keel_target_make(const keel_learner *learner, const keel_batch *batch, size_t first, size_t n,
                             keel_loss_shard *shard, const float **y, const float **weight, keel_err *err) {
    const keel_qnet *net = &learner->net;
    size_t heads = net->shape.heads, critics = net->shape.critics;
    float *values = keel_arena_alloc(&shard->arena, n * heads * sizeof *values);
    float *weights = keel_arena_alloc(&shard->arena, n * heads * sizeof *weights);
    keel_tensor **online = keel_arena_alloc(&shard->arena, critics * sizeof *online);
    keel_tensor **target = keel_arena_alloc(&shard->arena, critics * sizeof *target);
    if (!values || !weights || !online || !target) return no_memory(err);
    for (size_t i = 0; i < n; ++i)
        head_rewards(learner, batch, first + i, values + i * heads, weights + i * heads);

    next_side next;
    KEEL_TRY(gather_next(learner, batch, first, n, &shard->arena, &next, err));
    if (next.count) {
        keel_tensor *x = keel_tape_input(shard->frozen, next.input.x, next.input.rows, net->input_dim);
        bool choose = !batch->next_pi; /* a given policy needs no online values to choose by */
        if ((choose && !forward_critics(net, net->params.data, shard->frozen, x, online)) ||
            !forward_critics(net, learner->target, shard->frozen, x, target))
            return keel_tape_check(shard->frozen, NULL, err);
    }
    for (size_t i = 0; i < n; ++i) {
        if (next.place[i] < 0) continue;
        q_layout at = layout_of(&net->shape, &next.input, (size_t)next.place[i]);
        add_bootstrap(learner, batch, first + i, online, target, at, values + i * heads);
    }
    *y = values;
    *weight = weights;
    return KEEL_OK;
}
