/* The layered policy: pi(a|s) proportional to pi_base(a|s) exp(beta (Q_w(s,a) - V(s))), V the pi_base-mean of
 * Q_w (ILQL's inference rule, Snell et al. 2023, with the base as prior), under a harm threshold: actions
 * whose expected cost of harm C is above it are masked, but for those that refuse or hand over. If nothing
 * else is left, one of those is taken; if there is none, the fallback. Under a constraint by multiplier Q_w -
 * lambda C stands for Q_w. */
#ifndef KEEL_POLICIES_POLICY_H
#define KEEL_POLICIES_POLICY_H

#include "core/api.h"
#include "core/memory.h"
#include "core/nouns.h"
#include "core/status.h"
#include "policies/base.h"

KEEL_BEGIN_DECLS

typedef struct keel_policy keel_policy;

/* What the policy sees and does at one decision. Arrays [n] (q: [n, heads]) in the scratch arena. */
typedef struct keel_choice {
    size_t n;
    size_t chosen;     /* argmax of log_pi, lowest index on ties */
    bool fallback;     /* the cost of all but what refuses or hands over was above the threshold, or the state
                          unfamiliar */
    const float *q;    /* per head */
    const float *cost; /* C; NULL without a cost critic */
    const float *q_w;  /* composite, less the multiplier's share of the cost */
    const float *advantage; /* q_w - V */
    const float *log_prior;
    const float *log_pi; /* -INFINITY where masked */
    const bool *masked;
    double value; /* V */
    double
        distance; /* from what the policy learned from (policies/familiar.h); NaN: not asked, or not known */
    bool unfamiliar; /* it is too far */
    double kl;       /* KL(pi || pi_base) */
} keel_choice;

keel_status keel_policy_load(keel_policy **out, const char *dir, keel_err *err);
void keel_policy_close(keel_policy *policy);
/* KEEL_E_CONFLICT, naming both hashes, unless the policy was trained on this base. */
keel_status keel_policy_check_base(const keel_policy *policy, const keel_base *base, keel_err *err);
/* Decides by these weights from now on, with the beta that is theirs. KEEL_E_INVALID unless they are shares
 * and it is conditioned, and for weight on a component that was never logged. */
keel_status keel_policy_weigh(keel_policy *policy, const double weight[KEEL_N_REWARDS], keel_err *err);
keel_status keel_policy_decide(const keel_policy *policy, const keel_features *features, keel_arena *scratch,
                               keel_choice *out, keel_err *err);
/* The same of a decision of a conversation, whose features these are: says too whether its state is like
 * those of training, and falls back where it is not and the policy is to (keel_policy_when_unfamiliar). */
keel_status keel_policy_decide_at(const keel_policy *policy, const keel_base *base,
                                  const keel_conversation *conversation, size_t decision,
                                  const keel_features *features, keel_arena *scratch, keel_choice *out,
                                  keel_err *err);
/* Whether unfamiliar states are sent to the fallback from now on: a fixed answer of the base, the act that
 * refuses, or, where there is neither, the action of the least cost of harm. Without any of these, and
 * without a flag, they are only marked. */
void keel_policy_when_unfamiliar(keel_policy *policy, bool fall_back);
/* pi_base alone, in the same form (q and advantage zero). */
keel_status keel_base_decide(const keel_features *features, keel_arena *scratch, keel_choice *out,
                             keel_err *err);

KEEL_END_DECLS

#endif
