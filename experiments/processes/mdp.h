/* Small Markov decision processes with known dynamics: truth to test learners and estimators against. Values
 * are exact (dynamic programming), episodes are drawn from the same tables.
 *
 * An episode goes on from state s after action a to state t with probability next[s, a, t] and ends with what
 * is missing to 1: so every process here ends with probability 1, and its values exist for a discount of 1
 * too. */
#ifndef KEEL_EXPERIMENTS_PROCESSES_MDP_H
#define KEEL_EXPERIMENTS_PROCESSES_MDP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/pcg.h"
#include "core/status.h"

typedef struct keel_mdp {
    size_t n_states, n_actions;
    double gamma;   /* discount, in (0, 1] */
    double *start;  /* [S] distribution of the first state */
    double *reward; /* [S, A] paid for taking a in s */
    double *next;   /* [S, A, S]; rows sum to at most 1, the rest is the end */
} keel_mdp;

/* All tables zero. KEEL_E_INVALID for nothing at all or a discount outside (0, 1]. */
keel_status keel_mdp_open(keel_mdp *out, size_t n_states, size_t n_actions, double gamma, keel_err *err);
void keel_mdp_close(keel_mdp *mdp); /* a zeroed one is harmless */

/* Each (state, action) leads to `branching` states drawn at random with Dirichlet(1) weights and ends with
 * probability `ending`; rewards uniform in [0, 1]; starts uniform over the states. */
keel_status keel_mdp_random(keel_mdp *out, size_t n_states, size_t n_actions, size_t branching, double ending,
                            double gamma, uint64_t seed, keel_err *err);

/* V [S] and Q [S, A] of a policy [S, A] (rows sum to 1), to 1e-12; either may be NULL. KEEL_E_DIVERGED if
 * that is not reached (a process that need not end under a discount of 1). */
keel_status keel_mdp_evaluate(const keel_mdp *mdp, const double *policy, double *v, double *q, keel_err *err);
/* V* and Q* by value iteration, and the greedy policy [S, A] (lowest action on ties); each may be NULL. */
keel_status keel_mdp_solve(const keel_mdp *mdp, double *v, double *q, double *policy, keel_err *err);
/* Mean over first states: sum_s start[s] v[s]. */
double keel_mdp_start_value(const keel_mdp *mdp, const double *v);

/* (1 - epsilon) policy + epsilon uniform; out [S, A] may be policy itself. */
void keel_mdp_soften(const keel_mdp *mdp, const double *policy, double epsilon, double *out);

/* One step of an episode as a log has it. */
typedef struct keel_mdp_step {
    size_t state, action;
    double propensity; /* behaviour's probability of the action */
    double reward;
    size_t next; /* meaningless after the end */
    bool end;
} keel_mdp_step;
/* Plays one episode under the policy, at most `limit` steps into steps [limit]; returns how many. The last
 * one has end false if it was cut off. */
size_t keel_mdp_episode(const keel_mdp *mdp, const double *policy, keel_rng *rng, keel_mdp_step *steps,
                        size_t limit);

#endif
