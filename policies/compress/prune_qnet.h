/* Pruning of Q-networks: hidden units, of every layer and critic the same share. A unit a_u, that the next
 * layer reads by w_u, has the importance Var(a_u) ||w_u||^2 over rows, and what goes leaves its mean in the
 * next layer's bias; without rows, (||v_u||^2 + b_u^2) ||w_u||^2 with its own weights v_u and bias b_u, and
 * nothing is left. Each critic loses units of its own. */
#ifndef KEEL_POLICIES_COMPRESS_PRUNE_QNET_H
#define KEEL_POLICIES_COMPRESS_PRUNE_QNET_H

#include "policies/compress/job.h"
#include "policies/policy.h"
#include "policies/qnet.h"

/* Takes away `ratio` of the weights and biases, as near below what is left as units go. x [rows, input_dim],
 * or NULL. KEEL_E_INVALID: so much cannot go. After an error the network is as before. */
keel_status keel_prune_qnet(keel_qnet *net, double ratio, const float *x, size_t rows, keel_err *err);

/* The policy's network by config.critic_ratio (0: nothing), on decisions of `logged` (NULL: by its weights
 * alone) as `base`, which the policy is bound to, encodes them. */
keel_status keel_prune_policy(keel_policy *policy, const keel_base *base, const keel_compress_config *config,
                              keel_corpus *logged, keel_err *err);

#endif
