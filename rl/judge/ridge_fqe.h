/* Fitted Q evaluation (Le, Voloshin & Yue 2019) by ridge regression: the model under doubly robust estimates
 * of several returns at once, for policies that choose one action at every decision. Of each return h
 *
 *   Q_h(s, a) -> r_h + Q_h(s', g(s')),   g the policy's choice, no discount
 *
 * is fitted in as many rounds as a trajectory has steps. Features: the action, the state, in fixed spaces of
 * few actions both together, in candidate sets those of the candidate. Wide features are folded
 * (Weinberger et al. 2009). It is cross-fitted: the fit that values a group has not seen it. Nothing here
 * must be right for a doubly robust estimate to be; a better fit makes it surer. Where a neural fit is
 * wanted, see rl/judge/fqe.h. */
#ifndef KEEL_RL_JUDGE_RIDGE_FQE_H
#define KEEL_RL_JUDGE_RIDGE_FQE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

enum { KEEL_RIDGE_HEADS = 7, KEEL_RIDGE_POLICIES = 4 };

typedef struct keel_ridge_shape {
    size_t n_acts; /* 0: candidate sets */
    size_t state_dim, candidate_dim;
} keel_ridge_shape;

/* One decision of a log, with what was done and what each policy would do. */
typedef struct keel_ridge_step {
    const float *state;                          /* [state_dim] */
    const float *taken;                          /* [candidate_dim]; NULL in fixed spaces */
    const float *chosen[KEEL_RIDGE_POLICIES];    /* the same of what the policies choose */
    int32_t action, choice[KEEL_RIDGE_POLICIES]; /* in fixed spaces */
    double reward[KEEL_RIDGE_HEADS];             /* of what was done; NaN: unknown, taken to be the mean */
} keel_ridge_step;

typedef struct keel_ridge_fqe keel_ridge_fqe;
keel_status keel_ridge_fqe_open(keel_ridge_fqe **out, const keel_ridge_shape *shape, keel_err *err);
void keel_ridge_fqe_close(keel_ridge_fqe *fqe); /* NULL is harmless */
/* The next step of a trajectory (copied); unit: number of its conversation's group, which decides the fold.
 * Long logs lie in a temporary file; the fit takes about 6,000 steps of whole units. */
keel_status keel_ridge_fqe_add(keel_ridge_fqe *fqe, uint64_t unit, const keel_ridge_step *step, bool follows,
                               keel_err *err);
size_t keel_ridge_fqe_count(const keel_ridge_fqe *fqe); /* steps added */
keel_status keel_ridge_fqe_fit(keel_ridge_fqe *fqe, keel_err *err);
/* After the fit, of step number `index`: Q of what was done and of what the policy would do,
 * [KEEL_RIDGE_HEADS] each. */
keel_status keel_ridge_fqe_value(keel_ridge_fqe *fqe, size_t index, size_t policy, double *q, double *v,
                                 keel_err *err);

#endif
