/* Discrete batch-constrained Q-learning (Fujimoto et al. 2019): double Q-learning whose actions, in targets
 * and at decision time, are those that the behaviour takes with at least `support` times the probability of
 * its most probable one. The behaviour is the base's prior, which is fitted to the log, or a network cloned
 * beside Q; only the first makes a policy, since an artefact holds one network.
 *
 *   L = TD, with a cloned network also + mean[ -log b(a_taken|s) ] */
#include "core/memory.h"
#include "core/ops.h"
#include "rl/learn/learner_options.h"
#include "rl/learn/loss.h"

enum { SUPPORT_BASE, SUPPORT_LEARNED };
static const char *const supports[] = {"base", "learned", NULL};

typedef struct own_options {
    double support;
    int support_by;
} own_options;
KEEL_LEARNER_OWN(own_options)

static const keel_option options[] = {
    KEEL_LEARNER_OPTIONS("bcq", "100"),
    KEEL_Q_OPTIONS("1", "huber"),
    KEEL_GREEDY_OPTIONS,
    KEEL_TILT_OPTIONS,
    KEEL_COST_OPTIONS("0", "0.25"),
    KEEL_OWN_REAL(own_options, support, "0.3", 1e-9, 1,
                  "least probability of an action, as a share of the largest"),
    KEEL_OWN_CHOICE(own_options, support_by, "base", supports,
                    "where these probabilities come from: the base's prior, or a network that is cloned "
                    "beside Q and makes no policy artefact"),
    {0}};

static void extras(const keel_learner_config *config, const keel_qnet_shape *q, keel_learner_extras *out) {
    const own_options own = own_of(config);
    out->support = own.support;
    if (own.support_by == SUPPORT_BASE) return;
    out->n_networks = 1;
    out->network[0].name = "actor";
    out->network[0].shape = keel_loss_actor_shape(q);
    out->part[0] = "policy";
}

static keel_status check_policy(const keel_learner_config *config, keel_err *err) {
    if (own_of(config).support_by == SUPPORT_BASE) return KEEL_OK;
    keel_fail(err, KEEL_E_INVALID, "support_by",
              "expected base: an artefact has no room for a learned behaviour");
    return keel_hint(err, "the base's prior is fitted to the log");
}

/* Log probabilities of the behaviour, up to a constant, at the next decision of each row [n]. */
static keel_status behaviour_of(keel_target_next *next, const float **out, keel_err *err) {
    const bool learned = next->learner->extras.n_networks > 0;
    const float *prior = next->batch->next_log_prior;
    if (!learned && !prior) {
        keel_fail(err, KEEL_E_USAGE, "learner", "%s uses the base's priors, and the batch has none",
                  keel_algorithms[next->learner->config.algorithm]);
        return keel_hint(err, "set support_by=learned");
    }
    keel_tensor *logits = learned ? keel_target_network(next, 0) : NULL;
    if (learned && !logits) return keel_target_failed(next, err);
    for (size_t i = 0; i < next->n; ++i)
        out[i] = learned ? keel_target_logits(next, logits, i) : keel_target_row(next, prior, i);
    return KEEL_OK;
}

static keel_status next_value(keel_target_next *next, float *y, keel_err *err) {
    const float **behaviour = keel_arena_calloc(&next->shard->arena, next->n, sizeof *behaviour);
    if (!behaviour) return keel_nomem(err, "learner");
    KEEL_TRY(behaviour_of(next, behaviour, err));
    return keel_target_best_of(next, behaviour, own_of(&next->learner->config).support, y, err);
}

static keel_tensor *loss(keel_loss *l) {
    if (!l->learner->extras.n_networks) return l->td;
    return keel_op_add(l->shard->tape, l->td,
                       keel_loss_clone(l, keel_loss_network(l, 0), NULL, &l->shard->sums.own[0]));
}

static double total(const keel_learner *learner, const keel_loss_parts *parts) {
    (void)learner;
    return parts->td + parts->own[0];
}

const keel_learner_kind keel_learn_bcq = {.help =
                                              "Q-learning over the actions that the base supports (support)",
                                          .options = options,
                                          .extras = extras,
                                          .check_policy = check_policy,
                                          .cost = true,
                                          .next_value = next_value,
                                          .loss = loss,
                                          .total = total};
