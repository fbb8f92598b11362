/* What the log did as trajectories, for off-policy estimates and the fits behind them. */
#include <math.h>

#include "policies/policy_internal.h"
#include "rl/judge/answer.h"
#include "rl/judge/evaluate_work.h"

/* Does the policy estimate values, or only imitate? */
static bool has_critic(const evaluation *e) {
    return e->item->policy && !e->item->policy->imitates;
}

/* V(s) = sum_a pi(a|s) Q_w(s, a). */
static double value_of(const keel_choice *choice) {
    double value = 0;
    for (size_t a = 0; a < choice->n; ++a)
        if (choice->log_pi[a] > -INFINITY) value += exp((double)choice->log_pi[a]) * (double)choice->q_w[a];
    return value;
}

typedef struct step {
    keel_ope_step ope;
    keel_fqe_step fit;
    size_t decision;
} step;

/* Ratio and reward of a taken candidate; false if the policy's space does not hold it. */
static bool make_step(evaluation *e, const slot *s, size_t d, size_t c, step *made, bool *rewarded) {
    keel_ope_step *out = &made->ope;
    const keel_decision *decision = &s->conversation->decisions[d];
    int32_t action = keel_answer_action(e->item->base, decision, c);
    if (action < 0 || !s->policy[d].n) return false;
    const keel_base *base = e->item->base;
    bool by_base, present;
    const double log_behaviour = keel_answer_log_behaviour(base, decision, c, &s->base[d], action, &by_base);
    e->ope.estimated |= by_base;
    e->ope.unused |= keel_answer_propensity_unused(base, decision, c);
    if (!(log_behaviour > -INFINITY)) return false;
    keel_reward reward = keel_answer_reward(&s->log, d, c);
    out->reward = keel_reward_composite(&reward, e->config->weight, &present);
    out->log_ratio = (double)s->policy[d].log_pi[action] - log_behaviour;
    out->probability = exp((double)s->policy[d].log_pi[action]);
    out->q = has_critic(e) ? (double)s->policy[d].q_w[action] : NAN;
    out->v = has_critic(e) ? value_of(&s->policy[d]) : NAN;
    *rewarded = *rewarded || present;
    made->fit = (keel_fqe_step){.action = action, .reward = (float)out->reward};
    made->decision = d;
    return true;
}

/* ---- fitted Q evaluation ---- */

uint64_t keel__evaluate_unit(const keel_conversation *conversation) {
    return (uint64_t)keel_conversation_group_hash(conversation);
}

/* What is seen at a decision, and what the policy would do; the action taken and its reward stay as they are.
 */
static keel_status look(slot *s, size_t d, keel_fqe_step *fit, keel_err *err) {
    const keel_features *features = &s->features[d];
    float *pi = keel_arena_alloc(&s->arena, (features->n_actions + 1) * sizeof *pi);
    if (!pi) return keel_nomem(err, "evaluation");
    for (size_t a = 0; a < features->n_actions; ++a) pi[a] = (float)exp((double)s->policy[d].log_pi[a]);
    fit->state = features->state;
    fit->candidates = features->candidates;
    fit->pi = pi;
    fit->n_actions = features->n_actions;
    return KEEL_OK;
}

/* A trajectory goes to the fit, and on the second walk, with the values found, to the estimates. */
static keel_status add_steps(evaluation *e, slot *s, step *steps, size_t count, keel_err *err) {
    keel_ope_step *ope = keel_arena_alloc(&s->arena, (count + 1) * sizeof *ope);
    keel_fqe_step *fit = keel_arena_alloc(&s->arena, (count + 1) * sizeof *fit);
    uint64_t unit = keel__evaluate_unit(s->conversation);
    if (!ope || !fit) return keel_nomem(err, "evaluation");
    for (size_t t = 0; t < count; ++t) {
        ope[t] = steps[t].ope;
        fit[t] = steps[t].fit;
        if (!e->fqe) continue;
        KEEL_TRY(look(s, steps[t].decision, &fit[t], err));
        if (e->collecting) continue;
        KEEL_TRY(keel_fqe_value(e->fqe, unit, &fit[t], &s->arena, &ope[t].q, &ope[t].v, err));
    }
    if (e->collecting) return keel_fqe_add(e->fqe, unit, fit, count, s->conversation->truncated, err);
    return keel_ope_add(&e->ope, e->number, ope, count, err);
}

static keel_status add_single_steps(evaluation *e, slot *s, keel_err *err) {
    const keel_decision *decision = &s->conversation->decisions[0];
    for (size_t c = 0; c < decision->n_candidates; ++c) {
        step only;
        bool rewarded = false;
        if (!decision->candidates[c].taken || !make_step(e, s, 0, c, &only, &rewarded) || !rewarded) continue;
        KEEL_TRY(add_steps(e, s, &only, 1, err));
    }
    return KEEL_OK;
}

/* The conversation as one trajectory of its first taken answers, with candidate `end` at the last answered
 * decision; left out whole if a step is not in the policy's space. */
static keel_status add_trajectory(evaluation *e, slot *s, size_t end, keel_err *err) {
    const keel_conversation *conversation = s->conversation;
    step *steps = keel_arena_alloc(&s->arena, (conversation->n_decisions + 1) * sizeof *steps);
    if (!steps) return keel_nomem(err, "evaluation");
    size_t length = 0;
    bool rewarded = false;
    for (size_t d = 0; d < conversation->n_decisions; ++d) {
        const keel_decision *decision = &conversation->decisions[d];
        size_t c = d == s->log.last_answered ? end : 0;
        while (c < decision->n_candidates && !decision->candidates[c].taken) c++;
        if (c == decision->n_candidates) continue;
        if (!make_step(e, s, d, c, &steps[length++], &rewarded)) return KEEL_OK;
    }
    return rewarded ? add_steps(e, s, steps, length, err) : KEEL_OK;
}

/* Where several answers were taken at the end, as of a pair, each is the end of a trajectory: the first alone
 * may be the one that people chose. */
static keel_status add_each_end(evaluation *e, slot *s, keel_err *err) {
    const keel_decision *last = &s->conversation->decisions[s->log.last_answered];
    if (!s->log.answered) return KEEL_OK;
    for (size_t c = 0; c < last->n_candidates; ++c)
        if (last->candidates[c].taken) KEEL_TRY(add_trajectory(e, s, c, err));
    return KEEL_OK;
}

static keel_status add_value(evaluation *e, slot *s, keel_err *err) {
    const keel_choice *first = s->conversation->n_decisions ? &s->policy[0] : NULL;
    if (!first || !first->n || (!has_critic(e) && !e->fqe)) return KEEL_OK;
    double own = has_critic(e) ? value_of(first) : NAN, v = own, q;
    if (e->fqe) {
        keel_fqe_step fit = {0};
        KEEL_TRY(look(s, 0, &fit, err));
        KEEL_TRY(keel_fqe_value(e->fqe, keel__evaluate_unit(s->conversation), &fit, &s->arena, &q, &v, err));
    }
    return keel_ope_add_value(&e->ope, e->number, v, own, err);
}

keel_status keel__evaluate_trajectories(evaluation *e, slot *s, keel_err *err) {
    if (e->config->model == KEEL_MODEL_NONE) return KEEL_OK;
    KEEL_TRY(s->conversation->n_decisions == 1 ? add_single_steps(e, s, err) : add_each_end(e, s, err));
    return e->collecting ? KEEL_OK : add_value(e, s, err);
}
