/* Implicit Q-learning (Kostrikov et al. 2022) over discrete actions, and with a conservative term ILQL (Snell
 * et al. 2023) at the level of utterances:
 *
 *   y   = r + gamma V(s')
 *   L_V = mean |expectile - 1[Qhat_w < V_w]| sum_k (Qhat_k(s, a) - V_k(s))^2,  Qhat of the target critics
 *   L   = TD + L_V + alpha sum over critics of mean[ logsumexp_a Q_w(s, a) - Q_w(s, a_taken) ]
 *
 * (reference offline-rl 2.4, G3). With a head per component the composite decides which side of the expectile
 * a transition is on, so that all components' values are those of one policy. */
#include "rl/learn/loss.h"

#include "core/ops.h"

static void square_of_two(keel_learner_config *config) {
    config->alpha = 0;
    config->critics = 2;
    config->td_loss = KEEL_TD_SQUARE;
}

static void ilql_standard(keel_learner_config *config) {
    square_of_two(config);
    config->alpha = 0.1;
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
    double advantage = 0, squares = 0;
    for (size_t k = 0; k < heads; ++k)
        advantage += keel_learner_mix(learner, l->batch, l->first + i, k) * ((double)q[k] - (double)v[k]);
    double side = advantage >= 0 ? learner->config.expectile : 1 - learner->config.expectile;
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
    const float *q = judge_taken(l), *shared = keel_loss_shared(learner, &l->here, l->n, &l->shard->arena);
    float *slopes = keel_arena_alloc(&l->shard->arena, l->n * heads * sizeof *slopes);
    if (!q || !shared || !slopes) return NULL;
    keel_tensor *x = keel_tape_input(tape, shared, l->n, learner->value.input_dim);
    keel_tensor *v = keel_qnet_forward(tape, &learner->value, learner->params.data, l->shard->grads, 0, x,
                                       (float)learner->config.dropout, l->rng);
    if (!v) return NULL;
    for (size_t i = 0; i < l->n; ++i)
        l->shard->sums.value += value_row(l, i, q + i * heads, v->data + i * heads, slopes + i * heads);
    return keel_loss_given(l, v, slopes);
}

static keel_tensor *loss(keel_loss *l) {
    keel_tape *tape = l->shard->tape;
    keel_tensor *sum = keel_op_add(tape, l->td, value_loss(l));
    double alpha = l->learner->config.alpha;
    return alpha == 0 ? sum : keel_op_add(tape, sum, keel_loss_conservative(l, alpha));
}

const keel_learner_kind keel_learn_iql = {.target = KEEL_TARGET_VALUE,
                                          .value = true,
                                          .standard = square_of_two,
                                          .check = keel_loss_check_no_alpha,
                                          .loss = loss};
const keel_learner_kind keel_learn_ilql = {
    .target = KEEL_TARGET_VALUE, .value = true, .each_critic = true, .standard = ilql_standard, .loss = loss};
