/* Inside of the learner: targets of one shard of a batch, and what learners make the value of the next
 * decision from. Letters: n rows (transitions) of the shard, R rows of the network's input (n in fixed action
 * spaces, all candidates of the n sets else), K heads of N quantiles, A acts. */
#ifndef KEEL_RL_LEARN_TARGET_H
#define KEEL_RL_LEARN_TARGET_H

#include "rl/learn/shard.h"

/* y[n, outputs] = r + gamma bootstrap V(s'), V by the learner's next_value, or under a given policy
 * (batch->next_pi) sum_a pi(a|s') Qbar_k(s', a). weight[n, heads]: 1 where the component is present and the
 * transition usable, else 0. The cost of harm: c = -min(0, r_safety), and 0, whatever follows, of what
 * refuses or hands over. Next states that do not count are not looked at. In shard->arena. */
keel_status keel_target_make(const keel_learner *learner, const keel_batch *batch, size_t first, size_t n,
                             keel_shard *shard, const float **y, const float **weight, keel_err *err);
/* What the target critics amount to at one place of their outputs: their minimum or mean; of the cost, the
 * most (keel_target_cost), never below 0. */
float keel_target_ensemble(const keel_learner *learner, keel_tensor *const *critics, size_t place);
float keel_target_cost(const keel_learner *learner, keel_tensor *const *critics, size_t place);
/* Q of all critics for rows x by the block `params`, without gradients, into out [critics]. */
bool keel_target_forward(const keel_learner *learner, const float *params, keel_tape *tape, keel_tensor *x,
                         keel_tensor **out);

/* ---- what learners make the value of the next decision from ---- */

/* The next decisions that count, packed. All is in the shard's arena and on its frozen tape. */
typedef struct keel_target_next {
    const keel_learner *learner;
    const keel_batch *batch;
    size_t first, n; /* rows of the batch */
    keel_shard *shard;
    keel_shard_input input;
    int32_t *place; /* [n] place of a row's next decision in the input; -1: it does not count */
    size_t count;
    keel_tensor *x; /* input on the tape, once somebody asked for it */
} keel_target_next;

/* Q of all critics by a block of parameters, [critics] of [count, K*N*A] or [R, K*N]; the output of a
 * network besides Q on the same input. NULL when that fails: return keel_target_failed then. */
keel_tensor **keel_target_critics(keel_target_next *next, const float *params);
keel_tensor *keel_target_network(keel_target_next *next, size_t extra);
keel_status keel_target_failed(const keel_target_next *next, keel_err *err);
/* Of row i, whose next decision counts: gamma times its bootstrap; its number of actions. */
double keel_target_factor(const keel_target_next *next, size_t i);
size_t keel_target_actions(const keel_target_next *next, size_t i);
/* Row i [actions] of what is laid out like the batch's priors of the next decisions; of an actor's logits
 * (NULL where none counts). */
const float *keel_target_row(const keel_target_next *next, const float *all, size_t i);
const float *keel_target_logits(const keel_target_next *next, const keel_tensor *logits, size_t i);
/* y[i] += gamma bootstrap sum_a pi(a) Qbar(s', a); Qbar is the target critics' minimum or mean. */
void keel_target_add_expectation(const keel_target_next *next, size_t i, keel_tensor *const *qbar,
                                 const float *pi, float *y);
/* Double Q-learning (van Hasselt, Guez & Silver 2016): y += gamma bootstrap Qbar(s', a*), a* the argmax over
 * A(s') of the mean over critics of Q_w, by the online network or (double_q false) by Qbar's own. */
keel_status keel_target_best(keel_target_next *next, float *y, keel_err *err);
/* The same over the actions whose behaviour[i] (log probabilities [actions] up to a constant) is at least
 * `support` times the largest. */
keel_status keel_target_best_of(keel_target_next *next, const float *const *behaviour, double support,
                                float *y, keel_err *err);

#endif
