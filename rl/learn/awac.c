/* Cloning weighted by advantages, over an actor of its own: AWAC (Nair et al. 2020) with weights
 * exp(A / temperature), CRR (Wang et al. 2020) also with 1[A > 0]; A(s, a) = Q_w(s, a) - E_pi Q_w(s, .), Q
 * and pi as the step's forward pass has them. Targets are expectations under the actor:
 *
 *   y = r + gamma sum_a pi(a|s') Qbar(s', a)
 *   L = TD + mean[ min(weight, limit) (-log pi(a_taken|s)) ] + alpha * the conservative term */
#include <math.h>

#include "core/numeric.h"
#include "core/ops.h"
#include "rl/learn/loss.h"

static void standard(keel_learner_config *config) {
    config->alpha = 0;
    config->critics = 2;
}

static double weigh(const keel_learner_config *config, double advantage) {
    if (config->cloning == KEEL_CLONE_BINARY) return advantage > 0;
    return fmin(exp(advantage / config->temperature), config->weight_limit);
}

/* A of the act taken, of decision i. */
static keel_status advantage(const keel_loss *l, const keel_tensor *logits, size_t i, double *out) {
    size_t low = l->here.offsets ? (size_t)l->here.offsets[i] : i * logits->cols;
    size_t n = l->here.offsets ? (size_t)l->here.offsets[i + 1] - low : logits->cols;
    float *pi = keel_arena_alloc(&l->shard->arena, n * sizeof *pi);
    if (!pi) return KEEL_E_NOMEM;
    keel_softmax(logits->data + low, n, pi);
    *out = (double)l->q_w_taken->data[i];
    for (size_t a = 0; a < n; ++a) *out -= (double)pi[a] * (double)l->q_w->data[low + a];
    return KEEL_OK;
}

static keel_tensor *loss(keel_loss *l) {
    const keel_learner_config *config = &l->learner->config;
    keel_tape *tape = l->shard->tape;
    keel_tensor *logits = keel_loss_actor(l);
    float *weight = keel_arena_alloc(&l->shard->arena, l->n * sizeof *weight);
    if (!logits || !weight) return NULL;
    for (size_t i = 0; i < l->n; ++i) {
        double a;
        if (advantage(l, logits, i, &a) != KEEL_OK) return NULL;
        weight[i] = (float)weigh(config, a);
    }
    keel_tensor *sum = keel_op_add(tape, l->td, keel_loss_clone(l, logits, weight));
    return config->alpha == 0 ? sum : keel_op_add(tape, sum, keel_loss_conservative(l, config->alpha));
}

const keel_learner_kind keel_learn_awac = {
    .target = KEEL_TARGET_ACTOR, .actor = true, .imitates = true, .standard = standard, .loss = loss};
