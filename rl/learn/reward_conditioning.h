/* One policy for many weightings of the reward's components (Abels et al. 2019):
 * the weights w are three more numbers of every state, behind its features,
 *
 *   Q_k(s, w, a) -> r_k + gamma Qbar_k(s', w, a*),   a* = argmax_a w . Q(s', w, a)
 *
 * and each transition of a minibatch is seen under weights of its own, drawn from a Dirichlet distribution;
 * the conservative term is that of w . Q. Components that were never logged keep weight 0. One run so learns
 * what separate runs learn under fixed weights each; policies/weighting.h decides by them. A run's
 * metrics are means over the weights drawn; --validate chooses by its own. */
#ifndef KEEL_RL_LEARN_REWARD_CONDITIONING_H
#define KEEL_RL_LEARN_REWARD_CONDITIONING_H

#include "rl/learn/learner.h"

/* What a conditioned learner cannot do is KEEL_E_INVALID: learn the composite by one head, choose
 * conversations by one composite's return. Its own weights, the standard of decisions, must sum to one as
 * those drawn do. */
keel_status keel_reward_conditioning_check(const keel_learner_config *config, keel_err *err);

/* The batch with `weight` drawn (as it is where it has some) and both states extended by it, in the arena,
 * which is reset first; what it points to besides is the batch's. Depends on seed, step and the batch's size
 * alone. */
keel_status keel_reward_conditioning_batch(const keel_learner *learner, const keel_batch *batch,
                                           keel_arena *arena, keel_batch *out, keel_err *err);

#endif
