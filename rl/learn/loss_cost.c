/* The cost critic C(s, a) >= 0: the expected discounted harm of an action and what follows it, learned beside
 * Q by temporal differences on the cost (rl/learn/target.h), and pessimistic upward by a term of its own,
 * which is the conservative term applied to -C (docs/design.md, Safety):
 *
 *   L_c = TD + cost_pessimism * mean[ log sum_a e^(m_a - C(s, a)) + C(s, a_taken) ],  m_a the log weights of
 * a
 *
 * Q_w and its term know nothing of C. What a rule knows the cost of is no part of the sum, and nothing is
 * pushed above 1, a whole harm: no threshold worth having lies beyond. */
#include <math.h>

#include "core/ops.h"
#include "rl/learn/loss.h"

/* -C of each action, [n, A] or [R, 1]. */
static keel_tensor *minus_cost(const keel_loss *l) {
    const size_t outputs = keel_qnet_outputs(&l->learner->net.shape);
    keel_real *share = keel_arena_calloc(&l->shard->arena, outputs, sizeof *share);
    if (!share) return NULL;
    share[outputs - 1] = -1;
    return keel_op_mix_heads(l->shard->tape, l->q_mean, share, 0, outputs);
}

static bool is_known(const keel_batch *batch, size_t action) {
    if (batch->declines && batch->declines[action]) return true;
    return batch->rule_present && batch->rule_present[action * KEEL_N_REWARDS + KEEL_SAFETY];
}

/* max(-C, -1) + m of each action but the one taken. */
static keel_tensor *weigh_actions(const keel_loss *l, keel_tensor *minus) {
    const keel_batch *batch = l->batch;
    const size_t size = minus->rows * minus->cols;
    keel_real *low = keel_arena_alloc(&l->shard->arena, size * sizeof *low);
    keel_real *shift = keel_arena_calloc(&l->shard->arena, size, sizeof *shift);
    if (!low || !shift) return NULL;
    for (size_t i = 0, at = 0; i < l->n; ++i) {
        size_t first, end, taken = (size_t)batch->action[l->first + i];
        keel_loss_actions(l, i, &first, &end);
        for (size_t a = first; a < end; ++a, ++at) {
            const bool own = a - first == taken;
            low[at] = own ? (keel_real)-INFINITY : -1;
            if (l->here.offsets && batch->log_weight) shift[at] = (keel_real)batch->log_weight[a];
            if (!own && is_known(batch, a)) shift[at] = (keel_real)-INFINITY;
        }
    }
    return keel_op_floor(l->shard->tape, minus, low, shift);
}

keel_tensor *keel_loss_with_cost(keel_loss *l, keel_tensor *loss) {
    const keel_learner *learner = l->learner;
    keel_tape *tape = l->shard->tape;
    if (!loss || !learner->net.shape.cost) return loss;
    keel_tensor *minus = minus_cost(l), *weighed = minus ? weigh_actions(l, minus) : NULL;
    if (!weighed) return NULL;
    keel_tensor *gap = keel_op_sub(tape, keel_loss_logsumexp(l, weighed), keel_loss_pick(l, minus, 1));
    if (!gap) return NULL;
    for (size_t i = 0; i < l->n; ++i) l->shard->sums.conservative_cost += (double)gap->data[i];
    if (learner->config.cost_pessimism == 0) return loss;
    return keel_op_add(
        tape, loss,
        keel_op_sum(tape, gap, (keel_real)(learner->config.cost_pessimism / (double)l->batch->n)));
}
