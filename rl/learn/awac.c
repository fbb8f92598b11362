/* Cloning weighted by advantages, over an actor of its own: AWAC (Nair et al. 2020) with weights
 * exp(A / temperature), CRR (Wang et al. 2020) also with 1[A > 0]; A(s, a) = Q_w(s, a) - E_pi Q_w(s, .), Q
 * and pi as the step's forward pass has them. Targets are expectations under the actor:
 *
 *   y = r + gamma sum_a pi(a|s') Qbar(s', a)
 *   L = TD + mean[ min(weight, limit) (-log pi(a_taken|s)) ] + alpha * the conservative term */
#include <math.h>

#include "core/memory.h"
#include "core/numeric.h"
#include "core/ops.h"
#include "rl/learn/learner_options.h"
#include "rl/learn/loss.h"

enum { CLONE_EXP, CLONE_BINARY };
static const char *const clonings[] = {"exp", "binary", NULL};

typedef struct own_options {
    double alpha, temperature, weight_limit;
    int cloning;
} own_options;
KEEL_LEARNER_OWN(own_options)

static const keel_option options[] = {
    KEEL_LEARNER_OPTIONS("awac", "100"),
    KEEL_Q_OPTIONS("2", "huber"),
    KEEL_OWN_REAL(own_options, alpha, "0", 0, 1e4, "weight of a conservative term; 0: none, as published"),
    KEEL_OWN_CHOICE(own_options, cloning, "exp", clonings,
                    "weights exp(advantage / temperature), or 1 where the advantage is above 0"),
    KEEL_OWN_REAL(own_options, temperature, "1", 1e-3, 1e3, "of the advantages"),
    KEEL_OWN_REAL(own_options, weight_limit, "20", 1e-3, 1e6, "largest weight"),
    {0}};

static void extras(const keel_learner_config *config, const keel_qnet_shape *q, keel_learner_extras *out) {
    (void)config;
    out->n_networks = 1;
    out->network[0].name = "actor";
    out->network[0].shape = keel_loss_actor_shape(q);
    out->network[0].acts = true;
    out->part[0] = "policy";
}

/* y += gamma bootstrap sum_a pi(a|s') Qbar(s', a) */
static keel_status next_value(keel_target_next *next, float *y, keel_err *err) {
    keel_tensor **qbar = keel_target_critics(next, next->learner->target);
    keel_tensor *logits = keel_target_network(next, 0);
    if (!qbar || !logits) return keel_target_failed(next, err);
    for (size_t i = 0; i < next->n; ++i) {
        if (next->place[i] < 0) continue;
        size_t actions = keel_target_actions(next, i);
        float *pi = keel_arena_alloc(&next->shard->arena, actions * sizeof *pi);
        if (!pi) return keel_nomem(err, "learner");
        keel_softmax(keel_target_logits(next, logits, i), actions, pi);
        keel_target_add_expectation(next, i, qbar, pi, y);
    }
    return KEEL_OK;
}

static double weigh(const own_options *own, double advantage) {
    if (own->cloning == CLONE_BINARY) return advantage > 0;
    return fmin(exp(advantage / own->temperature), own->weight_limit);
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
    const own_options own = own_of(&l->learner->config);
    keel_tape *tape = l->shard->tape;
    keel_tensor *logits = keel_loss_network(l, 0);
    float *weight = keel_arena_alloc(&l->shard->arena, l->n * sizeof *weight);
    if (!logits || !weight) return NULL;
    for (size_t i = 0; i < l->n; ++i) {
        double a;
        if (advantage(l, logits, i, &a) != KEEL_OK) return NULL;
        weight[i] = (float)weigh(&own, a);
    }
    keel_tensor *sum = keel_op_add(tape, l->td, keel_loss_clone(l, logits, weight, &l->shard->sums.own[0]));
    return own.alpha == 0 ? sum : keel_op_add(tape, sum, keel_loss_conservative(l, own.alpha));
}

static double total(const keel_learner *learner, const keel_loss_parts *parts) {
    return parts->td + own_of(&learner->config).alpha * parts->conservative + parts->own[0];
}

const keel_learner_kind keel_learn_awac = {
    .help = "cloning weighted by advantages; cloning=binary: CRR (temperature)",
    .options = options,
    .imitates = true,
    .extras = extras,
    .next_value = next_value,
    .loss = loss,
    .total = total};
