/* Implicit Q-learning (Kostrikov et al. 2022) over discrete actions, and with a conservative term ILQL (Snell
 * et al. 2023) at the level of utterances:
 *
 *   y   = r + gamma V(s')
 *   L_V = mean |expectile - 1[Qhat_w < V_w]| sum_k (Qhat_k(s, a) - V_k(s))^2,  Qhat of the target critics
 *   L   = TD + L_V + alpha sum over critics of mean[ logsumexp_a Q_w(s, a) - Q_w(s, a_taken) ]
 *
 * (docs/design.md, G3). With a head per component the composite decides which side of the expectile
 * a transition is on, so that all components' values are those of one policy. */
#include "core/memory.h"
#include "core/ops.h"
#include "rl/learn/learner_options.h"
#include "rl/learn/loss.h"

typedef struct own_options {
    double expectile, alpha; /* alpha: ilql's alone, 0 for iql */
} own_options;
KEEL_LEARNER_OWN(own_options)

#define EXPECTILE                                                                                            \
    KEEL_OWN_REAL(own_options, expectile, "0.7", 0.01, 0.99, "of Q that the value network learns")
static const keel_option options[] = {
    KEEL_LEARNER_OPTIONS("iql", "100"), KEEL_Q_OPTIONS("2", "square"), KEEL_TILT_OPTIONS, EXPECTILE, {0}};
static const keel_option ilql_options[] = {
    KEEL_LEARNER_OPTIONS("ilql", "100"),
    KEEL_Q_OPTIONS("2", "square"),
    KEEL_TILT_OPTIONS,
    EXPECTILE,
    KEEL_OWN_REAL(own_options, alpha, "0.1", 0, 1e4, "weight of each critic's conservative term"),
    {0}};

/* V sees what the rows of a decision share: all of a state, but no candidate of a set. */
static void extras(const keel_learner_config *config, const keel_qnet_shape *q, keel_learner_extras *out) {
    (void)config;
    out->n_networks = 1;
    out->network[0].name = "value";
    out->network[0].shape = (keel_qnet_shape){.space = KEEL_SPACE_ACTS,
                                              .state_dim = q->state_dim,
                                              .n_acts = 1,
                                              .heads = q->heads,
                                              .critics = 1,
                                              .hidden = q->hidden};
    if (q->space == KEEL_SPACE_CANDIDATES) out->network[0].shape.state_dim += q->candidate_dim;
    out->part[0] = "value";
}

/* y += gamma bootstrap V(s') */
static keel_status next_value(keel_target_next *next, float *y, keel_err *err) {
    const keel_learner *learner = next->learner;
    const keel_qnet *value = &learner->extra[0];
    keel_tape *tape = next->shard->frozen;
    size_t heads = learner->net.shape.heads, rows = next->input.offsets ? next->n : next->count;
    const float *shared = keel_shard_shared(learner, &next->input, rows, &next->shard->arena);
    if (!shared) return keel_nomem(err, "learner");
    keel_tensor *x = keel_tape_input(tape, shared, rows, value->input_dim);
    keel_tensor *v = keel_qnet_forward(tape, value, learner->params.data, NULL, 0, x, 0, NULL);
    if (!v) return keel_target_failed(next, err);
    for (size_t i = 0; i < next->n; ++i)
        for (size_t k = 0; next->place[i] >= 0 && k < heads; ++k)
            y[i * heads + k] +=
                (float)(keel_target_factor(next, i) * (double)v->data[(size_t)next->place[i] * heads + k]);
    return KEEL_OK;
}

/* Qhat of the acts taken, [n, K]. */
static float *judge_taken(keel_loss *l) {
    const keel_learner *learner = l->learner;
    const keel_qnet_shape *shape = &learner->net.shape;
    keel_tape *tape = l->shard->frozen;
    bool sets = l->here.offsets != NULL;
    float *out = keel_arena_alloc(&l->shard->arena, l->n * shape->heads * sizeof *out);
    keel_tensor **q = keel_arena_alloc(&l->shard->arena, shape->critics * sizeof *q);
    keel_tensor *x = keel_tape_input(tape, l->here.x, l->here.rows, learner->net.input_dim);
    if (sets) x = keel_op_rows(tape, x, l->taken, l->n); /* no other candidate is asked about */
    if (!out || !q || !keel_target_forward(learner, learner->target, tape, x, q)) return NULL;
    for (size_t i = 0; i < l->n; ++i)
        for (size_t k = 0; k < shape->heads; ++k) {
            size_t at = i * shape->heads + k;
            if (!sets) at = at * shape->n_acts + (size_t)l->taken[i];
            out[i * shape->heads + k] = keel_target_ensemble(learner, q, at);
        }
    return out;
}

/* Row i of L_V; slopes by V [K] of a batch's mean. */
static double value_row(const keel_loss *l, size_t i, const float *q, const float *v, float *slopes) {
    const keel_learner *learner = l->learner;
    size_t heads = learner->net.shape.heads;
    double advantage = 0, squares = 0, weight[KEEL_N_REWARDS];
    keel_learner_weights(learner, l->batch, l->first + i, weight);
    for (size_t k = 0; k < heads; ++k)
        advantage += keel_qnet_share(&learner->net.shape, weight, k) * ((double)q[k] - (double)v[k]);
    const double expectile = own_of(&learner->config).expectile;
    double side = advantage >= 0 ? expectile : 1 - expectile;
    for (size_t k = 0; k < heads; ++k) {
        double u = (double)q[k] - (double)v[k];
        squares += u * u;
        slopes[k] = (float)(-2 * side * u / (double)l->batch->n);
    }
    return side * squares;
}

static keel_tensor *value_loss(keel_loss *l) {
    const keel_learner *learner = l->learner;
    keel_tape *tape = l->shard->tape;
    size_t heads = learner->net.shape.heads;
    const float *q = judge_taken(l), *shared = keel_shard_shared(learner, &l->here, l->n, &l->shard->arena);
    float *slopes = keel_arena_alloc(&l->shard->arena, l->n * heads * sizeof *slopes);
    if (!q || !shared || !slopes) return NULL;
    keel_tensor *x = keel_tape_input(tape, shared, l->n, learner->extra[0].input_dim);
    keel_tensor *v = keel_qnet_forward(tape, &learner->extra[0], learner->params.data, l->shard->grads, 0, x,
                                       (float)learner->config.dropout, l->rng);
    if (!v) return NULL;
    for (size_t i = 0; i < l->n; ++i)
        l->shard->sums.own[0] += value_row(l, i, q + i * heads, v->data + i * heads, slopes + i * heads);
    return keel_loss_given(l, v, slopes);
}

static keel_tensor *loss(keel_loss *l) {
    keel_tape *tape = l->shard->tape;
    keel_tensor *sum = keel_op_add(tape, l->td, value_loss(l));
    double alpha = own_of(&l->learner->config).alpha;
    return alpha == 0 ? sum : keel_op_add(tape, sum, keel_loss_conservative_each(l, alpha));
}

static double total(const keel_learner *learner, const keel_loss_parts *parts) {
    return parts->td + own_of(&learner->config).alpha * parts->conservative + parts->own[0];
}

const keel_learner_kind keel_learn_iql = {.help = "implicit Q-learning: expectile values (expectile)",
                                          .options = options,
                                          .extras = extras,
                                          .next_value = next_value,
                                          .loss = loss,
                                          .total = total};
const keel_learner_kind keel_learn_ilql = {.help =
                                               "iql with each critic's conservative term (expectile, alpha)",
                                           .options = ilql_options,
                                           .extras = extras,
                                           .next_value = next_value,
                                           .loss = loss,
                                           .total = total};
