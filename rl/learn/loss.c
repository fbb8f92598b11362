/* The loss of one shard: temporal difference per head and critic, and the conservative term over the action
 * set. */
#include "rl/learn/loss.h"

#include <math.h>

#include "core/ops.h"
#include "rewards/reward.h"

/* Rows of the taken candidates: offsets + place within the set. */
static const int32_t *taken_rows(const keel_shard_input *input, const int32_t *action, size_t n,
                                 keel_arena *arena) {
    int32_t *rows = keel_arena_alloc(arena, n * sizeof *rows);
    for (size_t i = 0; rows && i < n; ++i) rows[i] = input->offsets[i] + action[i];
    return rows;
}

keel_tensor *keel_loss_pick(const keel_loss *l, keel_tensor *q, size_t heads) {
    keel_tape *tape = l->shard->tape;
    return l->here.offsets ? keel_op_rows(tape, q, l->taken, l->n)
                           : keel_op_pick_heads(tape, q, l->taken, heads);
}

/* Loss of values against targets y under weights. */
static keel_tensor *loss_of_values(keel_loss *l, keel_tensor *q, const float *y, const float *weight) {
    const keel_learner *learner = l->learner;
    keel_tape *tape = l->shard->tape;
    keel_real divisor = (keel_real)l->batch->n;
    if (learner->config.td_loss == KEEL_TD_HUBER) return keel_op_huber(tape, q, y, weight, 1, divisor);
    if (learner->config.td_loss == KEEL_TD_SQUARE) divisor /= 2;
    return keel_op_half_square(tape, q, y, weight, divisor);
}

/* Loss of one critic's values of the acts taken. */
static keel_tensor *td_loss(keel_loss *l, keel_tensor *taken) {
    if (l->learner->net.shape.quantiles > 1) return keel_loss_quantiles(l, taken);
    return loss_of_values(l, taken, l->y, l->weight);
}

/* Loss of critic c's values of acts of which a rule says what they earn. */
static keel_tensor *rule_loss(keel_loss *l, size_t c) {
    keel_tape *tape = l->shard->tape;
    keel_tensor *q = keel_op_rows(tape, l->q[c], l->rule.row, l->rule.n);
    if (!l->here.offsets)
        q = keel_op_pick_heads(tape, q, l->rule.act, keel_qnet_outputs(&l->learner->net.shape));
    l->rule.q[c] = q;
    return q ? loss_of_values(l, q, l->rule.y, l->rule.weight) : NULL;
}

/* Every critic's Q on s; their temporal differences add up. */
static bool run_critics(keel_loss *l) {
    const keel_learner *learner = l->learner;
    const keel_qnet *net = &learner->net;
    keel_tape *tape = l->shard->tape;
    keel_tensor *mean = NULL;
    for (size_t c = 0; c < net->shape.critics; ++c) {
        l->q[c] = keel_qnet_forward(tape, net, learner->params.data, l->shard->grads, c, l->x,
                                    (float)learner->config.dropout, l->rng);
        mean = c ? keel_op_add(tape, mean, l->q[c]) : l->q[c];
        l->q_taken[c] = keel_loss_pick(l, l->q[c], keel_qnet_outputs(&net->shape));
        if (!mean || !l->q_taken[c]) return false;
        if (!l->y) continue;
        keel_tensor *td = td_loss(l, l->q_taken[c]);
        if (l->rule.n) td = keel_op_add(tape, td, rule_loss(l, c));
        l->td = c ? keel_op_add(tape, l->td, td) : td;
        if (!l->td) return false;
    }
    l->q_mean = net->shape.critics > 1 ? keel_op_scale(tape, mean, 1 / (keel_real)net->shape.critics) : mean;
    return l->q_mean != NULL;
}

/* Each output's share in Q_w: of all rows alike, or of each row of q, where transitions have weights of their
 * own.
 */
static keel_real *shares(const keel_loss *l, size_t heads) {
    const keel_qnet_shape *shape = &l->learner->net.shape;
    const bool own = l->batch->weight != NULL;
    keel_real *share = keel_arena_alloc(&l->shard->arena, (own ? l->here.rows : 1) * heads * sizeof *share);
    for (size_t i = 0, r = 0; share && i < (own ? l->n : 1); ++i) {
        double weight[KEEL_N_REWARDS];
        keel_learner_weights(l->learner, l->batch, l->first + i, weight);
        for (size_t end = own && l->here.offsets ? (size_t)l->here.offsets[i + 1] : r + 1; r < end; ++r)
            for (size_t h = 0; h < heads; ++h)
                share[r * heads + h] = (keel_real)keel_qnet_share(shape, weight, h);
    }
    return share;
}

/* Q_w of [n, K*A] or [R, K]. */
static keel_tensor *mix(const keel_loss *l, keel_tensor *q) {
    size_t heads = keel_qnet_outputs(&l->learner->net.shape);
    if (heads == 1) return q;
    keel_real *share = shares(l, heads);
    return share ? keel_op_mix_heads(l->shard->tape, q, share, l->batch->weight ? heads : 0, heads) : NULL;
}

keel_tensor *keel_loss_logsumexp(const keel_loss *l, keel_tensor *q_w) {
    keel_tape *tape = l->shard->tape;
    return l->here.offsets ? keel_op_segment_logsumexp(tape, q_w, l->here.offsets, l->n)
                           : keel_op_logsumexp(tape, q_w, NULL);
}

/* Calibration (Nakamoto et al. 2023, 2303.05479, equation 4): what the term pushes down counts at least as
 * much as the behaviour earned from here on, V_ref. Where the log was cut off that is not known, and the term
 * is what it is without: a V_ref made of Q itself would rise with Q without end. */
static double reference_value(const keel_loss *l, size_t i) {
    size_t row = l->first + i;
    double weight[KEEL_N_REWARDS], sum = 0;
    if (!l->batch->ended[row]) return -INFINITY;
    keel_learner_weights(l->learner, l->batch, row, weight);
    for (size_t k = 0; k < KEEL_N_REWARDS; ++k)
        sum += weight[k] * (double)l->batch->returns[row * KEEL_N_REWARDS + k];
    return sum;
}

/* max(Q_w, V_ref) + log weight of each action but the one taken. */
static keel_tensor *weigh_actions(keel_loss *l) {
    const keel_batch *batch = l->batch;
    const bool calibrated = l->learner->config.calibrated && batch->returns, sets = l->here.offsets != NULL;
    size_t size = l->q_w->rows * l->q_w->cols, from = sets ? (size_t)batch->offsets[l->first] : 0;
    if (!calibrated && !(sets && batch->log_weight)) return l->q_w;
    keel_real *floor = keel_arena_alloc(&l->shard->arena, size * sizeof *floor);
    keel_real *shift = keel_arena_calloc(&l->shard->arena, size, sizeof *shift);
    if (!floor || !shift) return NULL;
    for (size_t i = 0, a = 0; i < l->n; ++i) {
        size_t end = sets ? (size_t)l->here.offsets[i + 1] : (i + 1) * l->q_w->cols;
        size_t taken = sets ? (size_t)l->taken[i] : a + (size_t)l->taken[i];
        keel_real low = calibrated ? (keel_real)reference_value(l, i) : (keel_real)-INFINITY;
        for (; a < end; ++a) {
            floor[a] = a == taken ? (keel_real)-INFINITY : low;
            if (sets && batch->log_weight) shift[a] = (keel_real)batch->log_weight[from + a];
        }
    }
    return keel_op_floor(l->shard->tape, l->q_w, floor, shift);
}

static bool run_conservative(keel_loss *l) {
    l->q_w = mix(l, l->q_mean);
    l->q_w_taken = keel_loss_pick(l, l->q_w, 1);
    keel_tensor *weighed = l->q_w && l->q_w_taken ? weigh_actions(l) : NULL;
    l->logsumexp = weighed ? keel_loss_logsumexp(l, weighed) : NULL;
    return l->logsumexp != NULL;
}

static keel_tensor *gap_of_each(keel_loss *l) {
    keel_tape *tape = l->shard->tape;
    keel_tensor *sum = NULL;
    for (size_t c = 0; c < l->learner->net.shape.critics; ++c) {
        keel_tensor *q_w = mix(l, l->q[c]);
        keel_tensor *gap = keel_op_sub(tape, keel_loss_logsumexp(l, q_w), keel_loss_pick(l, q_w, 1));
        sum = c ? keel_op_add(tape, sum, gap) : gap;
    }
    return sum;
}

keel_tensor *keel_loss_conservative(keel_loss *l, double factor) {
    keel_tape *tape = l->shard->tape;
    keel_tensor *gap = l->gap ? l->gap : keel_op_sub(tape, l->logsumexp, l->q_w_taken);
    return keel_op_sum(tape, gap, (keel_real)(factor / (double)l->batch->n));
}

keel_tensor *keel_loss_conservative_each(keel_loss *l, double factor) {
    l->gap = gap_of_each(l);
    return l->gap ? keel_loss_conservative(l, factor) : NULL;
}

keel_tensor *keel_loss_given(keel_loss *l, keel_tensor *x, const float *slopes) {
    keel_tape *tape = l->shard->tape;
    if (!x) return NULL;
    return keel_op_sum(tape, keel_op_mul(tape, x, keel_tape_input(tape, slopes, x->rows, x->cols)), 1);
}

keel_qnet_shape keel_loss_actor_shape(const keel_qnet_shape *q) {
    keel_qnet_shape shape = *q;
    shape.heads = shape.critics = shape.quantiles = 1;
    shape.cost = false;
    return shape;
}

keel_tensor *keel_loss_network(keel_loss *l, size_t extra) {
    const keel_learner *learner = l->learner;
    return keel_qnet_forward(l->shard->tape, &learner->extra[extra], learner->params.data, l->shard->grads, 0,
                             l->x, (float)learner->config.dropout, l->rng);
}

keel_tensor *keel_loss_clone(keel_loss *l, keel_tensor *logits, const float *weight, double *sum) {
    keel_tape *tape = l->shard->tape;
    keel_tensor *surprise = keel_op_sub(tape, keel_loss_logsumexp(l, logits), keel_loss_pick(l, logits, 1));
    if (!surprise) return NULL;
    for (size_t i = 0; i < l->n; ++i) *sum += (weight ? (double)weight[i] : 1) * (double)surprise->data[i];
    if (weight) surprise = keel_op_mul(tape, surprise, keel_tape_input(tape, weight, l->n, 1));
    return keel_op_sum(tape, surprise, 1 / (keel_real)l->batch->n);
}

/* ---- the named parts, in double, from the values on the tape ---- */

static double td_value(int kind, double difference) {
    double size = fabs(difference), half = 0.5 * difference * difference;
    if (kind == KEEL_TD_SQUARE) return difference * difference;
    return kind == KEEL_TD_HUBER && size >= 1 ? size - 0.5 : half;
}

/* TD of n rows of values [n, heads], each head's to its part. */
static void add_td(const keel_loss *l, const keel_tensor *q, const float *y, const float *weight, size_t n) {
    const keel_qnet_shape *shape = &l->learner->net.shape;
    const size_t heads = keel_qnet_heads(shape);
    keel_loss_parts *sums = &l->shard->sums;
    for (size_t i = 0; i < n * heads; ++i) {
        double *part = i % heads < shape->heads ? &sums->td_head[i % heads] : &sums->td_cost;
        if (weight[i] != 0.0f)
            *part +=
                (double)weight[i] * td_value(l->learner->config.td_loss, (double)q->data[i] - (double)y[i]);
    }
}

static void sum_td(const keel_loss *l) {
    const keel_qnet_shape *shape = &l->learner->net.shape;
    for (size_t c = 0; c < shape->critics; ++c) {
        if (l->rule.n) add_td(l, l->rule.q[c], l->rule.y, l->rule.weight, l->rule.n);
        if (shape->quantiles <= 1) /* those were summed as they were worked out */
            add_td(l, l->q_taken[c], l->y, l->weight, l->n);
    }
}

static double set_mean(const keel_shard_input *input, const keel_tensor *q_w, size_t row) {
    size_t low = input->offsets ? (size_t)input->offsets[row] : row * q_w->cols;
    size_t high = input->offsets ? (size_t)input->offsets[row + 1] : low + q_w->cols;
    double sum = 0;
    for (size_t i = low; i < high; ++i) sum += (double)q_w->data[i];
    return sum / (double)(high - low);
}

static void sum_parts(const keel_loss *l) {
    keel_loss_parts *sums = &l->shard->sums;
    sums->q_low = INFINITY;
    sums->q_high = -INFINITY;
    for (size_t i = 0; i < l->n; ++i) {
        double taken = (double)l->q_w_taken->data[i];
        sums->conservative += l->gap ? (double)l->gap->data[i] : (double)l->logsumexp->data[i] - taken;
        sums->q_taken += taken;
        sums->q_others += set_mean(&l->here, l->q_w, i);
        /* Written so that a NaN gets through to the guard. */
        if (!(taken >= sums->q_low)) sums->q_low = taken;
        if (!(taken <= sums->q_high)) sums->q_high = taken;
    }
}

/* ---- rewards by rule ---- */

void keel_loss_actions(const keel_loss *l, size_t i, size_t *first, size_t *end) {
    size_t row = l->first + i, acts = l->learner->net.shape.n_acts;
    bool sets = l->here.offsets != NULL;
    *first = sets ? (size_t)l->batch->offsets[row] : row * acts;
    *end = sets ? (size_t)l->batch->offsets[row + 1] : *first + acts;
}

/* Heads that a rule knows the reward of, and the cost; the targets are those themselves, since nothing
 * follows.
 */
static bool rule_target(const keel_loss *l, size_t action, float *y, float *weight) {
    const keel_learner *learner = l->learner;
    const keel_batch *batch = l->batch;
    const size_t heads = learner->net.shape.heads;
    keel_reward rule = {0};
    bool any = false, declines = batch->declines && batch->declines[action];
    for (size_t k = 0; batch->rule_present && k < KEEL_N_REWARDS; ++k) {
        rule.value[k] = batch->rule_reward[action * KEEL_N_REWARDS + k];
        rule.present[k] = batch->rule_present[action * KEEL_N_REWARDS + k] != 0;
        any = any || rule.present[k];
    }
    if (learner->net.shape.cost) {
        y[heads] = declines ? 0 : fmaxf(0, -rule.value[KEEL_SAFETY]);
        weight[heads] = declines || rule.present[KEEL_SAFETY];
        any = any || declines;
    }
    if (!any || heads > 1) {
        for (size_t k = 0; any && k < KEEL_N_REWARDS; ++k) y[k] = rule.value[k], weight[k] = rule.present[k];
        return any;
    }
    y[0] = (float)keel_reward_composite(&rule, learner->weight, &any);
    weight[0] = any;
    return any || (learner->net.shape.cost && weight[1] != 0.0f);
}

static bool make_rule_room(keel_loss *l) {
    const size_t heads = keel_qnet_heads(&l->learner->net.shape);
    size_t first, end, room = 0;
    keel_arena *arena = &l->shard->arena;
    for (size_t i = 0; i < l->n; ++i) keel_loss_actions(l, i, &first, &end), room += end - first;
    l->rule.row = keel_arena_alloc(arena, room * sizeof *l->rule.row);
    l->rule.act = keel_arena_alloc(arena, room * sizeof *l->rule.act);
    l->rule.y = keel_arena_calloc(arena, room * heads, sizeof *l->rule.y);
    l->rule.weight = keel_arena_calloc(arena, room * heads, sizeof *l->rule.weight);
    l->rule.q = keel_arena_calloc(arena, l->learner->net.shape.critics, sizeof *l->rule.q);
    return l->rule.row && l->rule.act && l->rule.y && l->rule.weight && l->rule.q;
}

/* Each transition's rules together weigh rule_weight. Quantiles are learned from what was tried alone. */
static bool list_rules(keel_loss *l) {
    const keel_qnet_shape *shape = &l->learner->net.shape;
    const size_t heads = keel_qnet_heads(shape);
    const bool costs = shape->cost && l->batch->declines && l->learner->config.rule_weight > 0;
    if (!l->y || !(l->batch->rule_present || costs) || shape->quantiles > 1) return true;
    if (!make_rule_room(l)) return false;
    for (size_t i = 0; i < l->n; ++i) {
        size_t from = l->rule.n, first, end;
        keel_loss_actions(l, i, &first, &end);
        for (size_t a = first; a < end; ++a) {
            size_t at = l->rule.n, taken = (size_t)l->batch->action[l->first + i];
            if (a - first == taken || !rule_target(l, a, l->rule.y + at * heads, l->rule.weight + at * heads))
                continue;
            l->rule.row[at] = l->here.offsets ? l->here.offsets[i] + (int32_t)(a - first) : (int32_t)i;
            l->rule.act[at] = (int32_t)(a - first);
            l->rule.n++;
        }
        for (size_t j = from * heads; j < l->rule.n * heads; ++j)
            l->rule.weight[j] *= (float)(l->learner->config.rule_weight / (double)(l->rule.n - from));
    }
    return true;
}

/* ---- one shard ---- */

static keel_status prepare(keel_loss *l, keel_err *err) {
    const keel_learner *learner = l->learner;
    const keel_batch *batch = l->batch;
    keel_shard *shard = l->shard;
    size_t critics = learner->net.shape.critics;
    keel_tape_reset(shard->tape);
    keel_tape_reset(shard->frozen);
    keel_arena_reset(&shard->arena);
    shard->sums = (keel_loss_parts){0};
    if (learner->kind->next_value)
        KEEL_TRY(keel_target_make(learner, batch, l->first, l->n, shard, &l->y, &l->weight, err));
    KEEL_TRY(keel_shard_input_make(&learner->net, batch->state, batch->candidates, batch->offsets, batch->own,
                                   l->first, l->n, &shard->arena, &l->here, err));
    l->taken = batch->action + l->first;
    if (l->here.offsets) l->taken = taken_rows(&l->here, l->taken, l->n, &shard->arena);
    l->q = keel_arena_alloc(&shard->arena, critics * sizeof *l->q);
    l->q_taken = keel_arena_alloc(&shard->arena, critics * sizeof *l->q_taken);
    return l->taken && l->q && l->q_taken && list_rules(l) ? KEEL_OK : keel_nomem(err, "learner");
}

keel_status keel_loss_run(const keel_learner *learner, const keel_batch *batch, size_t first, size_t n,
                          keel_shard *shard, keel_err *err) {
    keel_rng rng = {0};
    keel_loss l = {.learner = learner, .batch = batch, .first = first, .n = n, .shard = shard, .rng = &rng};
    KEEL_TRY(prepare(&l, err));
    if (learner->config.dropout > 0)
        rng =
            keel_rng_stream((uint64_t)learner->config.seed, KEEL_STREAM_DROPOUT, learner->step << 20 | first);
    l.x = keel_tape_input(shard->tape, l.here.x, l.here.rows, learner->net.input_dim);
    if (!run_critics(&l) || !run_conservative(&l)) return keel_tape_check(shard->tape, NULL, err);
    KEEL_TRY(keel_tape_backward(shard->tape, keel_loss_with_cost(&l, learner->kind->loss(&l)), err));
    if (l.y) sum_td(&l);
    sum_parts(&l);
    return KEEL_OK;
}
