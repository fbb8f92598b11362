/* The loss of one shard: temporal difference per head and critic, and the conservative term over the action
 * set. */
#include "rl/loss.h"

#include <math.h>

static keel_status no_memory(keel_err *err) {
    return keel_fail(err, KEEL_E_NOMEM, "learner", "no memory for a step's loss");
}

/* What the tape holds of one shard's forward pass. */
typedef struct forward {
    keel_tensor *td;        /* scalar; NULL for behaviour cloning */
    keel_tensor *q_mean;    /* critics' mean, [n, K*A] or [R, K] */
    keel_tensor *q_w;       /* [n, A] or [R, 1] */
    keel_tensor *q_w_taken; /* [n, 1] */
    keel_tensor *logsumexp; /* [n, 1] */
    keel_tensor **taken;    /* [critics] of [n, K] */
} forward;

static bool imitates(const keel_learner *learner) {
    return learner->config.algorithm == KEEL_ALGO_BC;
}

/* Rows of the taken candidates: offsets + place within the set. */
static const int32_t *taken_rows(const keel_loss_input *input, const int32_t *action, size_t n,
                                 keel_arena *arena) {
    int32_t *rows = keel_arena_alloc(arena, n * sizeof *rows);
    for (size_t i = 0; rows && i < n; ++i) rows[i] = input->offsets[i] + action[i];
    return rows;
}

static keel_tensor *pick_taken(keel_tape *tape, keel_tensor *q, bool sets, const int32_t *index, size_t n,
                               size_t heads) {
    return sets ? keel_op_rows(tape, q, index, n) : keel_op_pick_heads(tape, q, index, heads);
}

static keel_tensor *td_loss(const keel_learner *learner, keel_tape *tape, keel_tensor *taken, const float *y,
                            const float *weight, size_t batch) {
    return learner->config.td_loss == KEEL_TD_HUBER
               ? keel_op_huber(tape, taken, y, weight, 1, (keel_real)batch)
               : keel_op_half_square(tape, taken, y, weight, (keel_real)batch);
}

/* Every critic's Q on s; their temporal differences add up, their mean goes into the conservative term. */
static bool run_critics(const keel_learner *learner, keel_loss_shard *shard, keel_tensor *x,
                        const int32_t *index, size_t n, size_t batch, keel_rng *rng, const float *y,
                        const float *weight, forward *f) {
    const keel_qnet_shape *shape = &learner->net.shape;
    keel_tape *tape = shard->tape;
    for (size_t c = 0; c < shape->critics; ++c) {
        keel_tensor *q = keel_qnet_forward(tape, &learner->net, learner->net.params.data, shard->grads, c, x,
                                           (float)learner->config.dropout, rng);
        f->q_mean = c ? keel_op_add(tape, f->q_mean, q) : q;
        f->taken[c] = pick_taken(tape, q, shape->space == KEEL_SPACE_CANDIDATES, index, n, shape->heads);
        if (!f->q_mean || !f->taken[c]) return false;
        if (imitates(learner)) continue;
        keel_tensor *td = td_loss(learner, tape, f->taken[c], y, weight, batch);
        f->td = c ? keel_op_add(tape, f->td, td) : td;
        if (!f->td) return false;
    }
    if (shape->critics > 1) f->q_mean = keel_op_scale(tape, f->q_mean, 1 / (keel_real)shape->critics);
    return f->q_mean != NULL;
}

static bool run_conservative(const keel_learner *learner, keel_loss_shard *shard,
                             const keel_loss_input *input, const int32_t *index, const keel_real *mix,
                             size_t n, forward *f) {
    const keel_qnet_shape *shape = &learner->net.shape;
    keel_tape *tape = shard->tape;
    f->q_w = shape->heads > 1 ? keel_op_mix_heads(tape, f->q_mean, mix, shape->heads) : f->q_mean;
    f->q_w_taken = pick_taken(tape, f->q_w, input->offsets != NULL, index, n, 1);
    f->logsumexp = input->offsets ? keel_op_segment_logsumexp(tape, f->q_w, input->offsets, n)
                                  : keel_op_logsumexp(tape, f->q_w, NULL);
    return f->q_w_taken && f->logsumexp;
}

static keel_tensor *total_loss(const keel_learner *learner, keel_tape *tape, const forward *f, size_t batch) {
    double alpha = learner->config.alpha;
    if (alpha == 0) return f->td; /* the conservative term is still computed, to be logged */
    keel_tensor *gap = keel_op_sub(tape, f->logsumexp, f->q_w_taken);
    keel_tensor *conservative = keel_op_sum(tape, gap, (keel_real)(alpha / (double)batch));
    return f->td ? keel_op_add(tape, f->td, conservative) : conservative;
}

/* ---- the named parts, in double, from the values on the tape ---- */

static double td_value(int kind, double difference) {
    double size = fabs(difference);
    return kind == KEEL_TD_HUBER && size >= 1 ? size - 0.5 : 0.5 * difference * difference;
}

static void sum_td(const keel_learner *learner, const forward *f, size_t n, const float *y,
                   const float *weight, keel_loss_parts *sums) {
    size_t heads = learner->net.shape.heads;
    for (size_t c = 0; c < learner->net.shape.critics; ++c)
        for (size_t i = 0; i < n * heads; ++i)
            if (weight[i] != 0.0f)
                sums->td_head[i % heads] +=
                    td_value(learner->config.td_loss, (double)f->taken[c]->data[i] - (double)y[i]);
}

static double set_mean(const keel_loss_input *input, const keel_tensor *q_w, size_t row) {
    size_t low = input->offsets ? (size_t)input->offsets[row] : row * q_w->cols;
    size_t high = input->offsets ? (size_t)input->offsets[row + 1] : low + q_w->cols;
    double sum = 0;
    for (size_t i = low; i < high; ++i) sum += (double)q_w->data[i];
    return sum / (double)(high - low);
}

static void sum_parts(const keel_loss_input *input, const forward *f, size_t n, keel_loss_parts *sums) {
    sums->q_low = INFINITY;
    sums->q_high = -INFINITY;
    for (size_t i = 0; i < n; ++i) {
        double taken = (double)f->q_w_taken->data[i];
        sums->conservative += (double)f->logsumexp->data[i] - taken;
        sums->q_taken += taken;
        sums->q_others += set_mean(input, f->q_w, i);
        /* Written so that a NaN gets through to the guard. */
        if (!(taken >= sums->q_low)) sums->q_low = taken;
        if (!(taken <= sums->q_high)) sums->q_high = taken;
    }
}

/* ---- one shard ---- */

keel_status keel_loss_run(const keel_learner *learner, const keel_batch *batch, size_t first, size_t n,
                          keel_loss_shard *shard, keel_err *err) {
    const keel_qnet_shape *shape = &learner->net.shape;
    keel_tape_reset(shard->tape);
    keel_tape_reset(shard->frozen);
    keel_arena_reset(&shard->arena);
    shard->sums = (keel_loss_parts){0};

    const float *y = NULL, *weight = NULL;
    if (!imitates(learner)) KEEL_TRY(keel_target_make(learner, batch, first, n, shard, &y, &weight, err));
    keel_loss_input input;
    KEEL_TRY(keel_loss_input_make(&learner->net, batch->state, batch->candidates, batch->offsets, first, n,
                                  &shard->arena, &input, err));
    const int32_t *index = batch->action + first;
    if (input.offsets) index = taken_rows(&input, index, n, &shard->arena);
    keel_real *mix = keel_arena_alloc(&shard->arena, shape->heads * sizeof *mix);
    forward f = {.taken = keel_arena_alloc(&shard->arena, shape->critics * sizeof *f.taken)};
    if (!index || !mix || !f.taken) return no_memory(err);
    for (size_t k = 0; k < shape->heads; ++k) mix[k] = (keel_real)learner->weight[k];

    keel_rng rng = {0};
    if (learner->config.dropout > 0)
        rng = keel_rng_stream((uint64_t)learner->config.seed, "dropout", learner->step << 20 | first);
    keel_tensor *x = keel_tape_input(shard->tape, input.x, input.rows, learner->net.input_dim);
    if (!run_critics(learner, shard, x, index, n, batch->n, &rng, y, weight, &f) ||
        !run_conservative(learner, shard, &input, index, mix, n, &f))
        return keel_tape_check(shard->tape, NULL, err);
    KEEL_TRY(keel_tape_backward(shard->tape, total_loss(learner, shard->tape, &f, batch->n), err));
    if (y) sum_td(learner, &f, n, y, weight, &shard->sums);
    sum_parts(&input, &f, n, &shard->sums);
    return KEEL_OK;
}
