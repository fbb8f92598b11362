/* The loss of one shard of a batch, on the tape:
 *
 *   pooled = bags of embeddings, one for each field;  s = tanh(W_s pooled + b_s);  c = tanh(W_c pooled + b_c)
 *   rank     cross-entropy of softmax(s.c / sqrt(features) + r.c) over a decision's candidates and sampled
 *            other responses, with the uniform distribution over the taken candidates
 *   act      cross-entropy of softmax(A s) with the taken act or outcome
 *   outcome  cross-entropy of softmax(O c) with the judged outcome of a candidate
 *   risk     logistic loss of R s with the risk of the conversation */
#include <math.h>
#include <string.h>

#include "core/ops.h"
#include "policies/ngram_base/loss.h"
#include "policies/soft_loss.h"

const char *const keel__ngram_base_losses[KEEL_N_LOSSES] = {"rank", "act", "outcome", "risk"};

/* ---- which losses a lesson has: by its labels, by what the teacher says ---- */

typedef struct known {
    bool labelled, taught;
} known;

static known knows(const keel_lesson *lesson, keel_risk risk, int loss, size_t candidate) {
    const keel_soft_label *soft = lesson->soft;
    switch (loss) {
    case KEEL_LOSS_RANK:
        return (known){lesson->n_taken > 0, soft && soft->prior && lesson->sample.n_candidates > 1};
    case KEEL_LOSS_ACT:
        return (known){lesson->act >= 0, soft && soft->prior};
    case KEEL_LOSS_OUTCOME:
        return (known){lesson->outcome[candidate] != KEEL_OUTCOME_NONE, soft && soft->outcomes};
    default:
        return (known){risk != KEEL_RISK_UNKNOWN, soft && !isnan(soft->risk)};
    }
}

static bool any(known k) {
    return k.labelled || k.taught;
}

static bool has_sets(const keel_ngram_base *model) {
    return model->base.space == KEEL_SPACE_CANDIDATES;
}

/* Whether the lesson has a label for any of the losses; one without is left out. */
static bool teaches(const keel_ngram_base *model, const keel_example *example, const keel_lesson *lesson) {
    return any(knows(lesson, example->risk, KEEL_LOSS_RISK, 0)) ||
           any(knows(lesson, example->risk, has_sets(model) ? KEEL_LOSS_RANK : KEEL_LOSS_ACT, 0));
}

void keel__ngram_base_divisors(keel_ngram_base_batch *batch) {
    memset(batch->divisor, 0, sizeof batch->divisor);
    for (size_t i = 0; i < batch->n; i++)
        for (size_t j = 0; j < batch->examples[i]->n_lessons; j++) {
            const keel_lesson *lesson = &batch->examples[i]->lesson[j];
            const keel_risk risk = batch->examples[i]->risk;
            for (int k = 0; k < KEEL_N_LOSSES; k++)
                if (k != KEEL_LOSS_OUTCOME) batch->divisor[k] += any(knows(lesson, risk, k, 0));
            for (size_t k = 0; k < lesson->sample.n_candidates; k++)
                batch->divisor[KEEL_LOSS_OUTCOME] += any(knows(lesson, risk, KEEL_LOSS_OUTCOME, k));
        }
    for (int k = 0; k < KEEL_N_LOSSES; k++) batch->divisor[k] = fmax(1, batch->divisor[k]);
}

/* ---- the rows of the shard, laid out for the tape ---- */

typedef struct bag_rows { /* bags of one field, one after the other */
    uint32_t *id;
    float *weight;
    int32_t *offsets; /* [n + 1] */
} bag_rows;

typedef struct shard_rows {
    const keel_ngram_base_batch *batch;
    keel_tape *tape;
    keel_ngram_base_shard *work;
    size_t n, n_candidates;                  /* lessons (B), candidates (R) */
    const keel_lesson **lesson;              /* [B] */
    keel_risk *risk;                         /* [B] */
    const keel_sample_candidate **candidate; /* [R] */
    int8_t *outcome;                         /* [R] */
    const float **soft_outcome;              /* [R] as keel_soft_label.outcomes, or NULL */
    int32_t *first; /* [B + 1] candidates of lesson b are first[b] .. first[b + 1] - 1 */
    keel_rng rng;
} shard_rows;

static bool count_and_room(shard_rows *rows, size_t first, size_t last, keel_arena *arena) {
    size_t lessons = 0, candidates = 0;
    for (size_t i = first; i < last; i++)
        for (size_t j = 0; j < rows->batch->examples[i]->n_lessons; j++) {
            lessons++;
            candidates += rows->batch->examples[i]->lesson[j].sample.n_candidates;
        }
    rows->lesson = keel_arena_alloc(arena, lessons * sizeof *rows->lesson);
    rows->risk = keel_arena_alloc(arena, lessons * sizeof *rows->risk);
    rows->candidate = keel_arena_alloc(arena, candidates * sizeof *rows->candidate);
    rows->outcome = keel_arena_alloc(arena, candidates * sizeof *rows->outcome);
    rows->soft_outcome = keel_arena_alloc(arena, candidates * sizeof *rows->soft_outcome);
    rows->first = keel_arena_alloc(arena, (lessons + 1) * sizeof *rows->first);
    return rows->lesson && rows->risk && rows->candidate && rows->outcome && rows->soft_outcome &&
           rows->first;
}

static void add_lesson(shard_rows *rows, const keel_lesson *lesson, keel_risk risk) {
    rows->lesson[rows->n] = lesson;
    rows->risk[rows->n] = risk;
    rows->first[rows->n++] = (int32_t)rows->n_candidates;
    for (size_t i = 0; i < lesson->sample.n_candidates; i++) {
        rows->outcome[rows->n_candidates] = lesson->outcome[i];
        rows->soft_outcome[rows->n_candidates] =
            lesson->soft && lesson->soft->outcomes ? lesson->soft->outcomes + 2 * i : NULL;
        rows->candidate[rows->n_candidates++] = &lesson->sample.candidate[i];
    }
    rows->first[rows->n] = (int32_t)rows->n_candidates;
}

static bool lay_out(shard_rows *rows, size_t first, size_t last, keel_arena *arena) {
    if (!count_and_room(rows, first, last, arena)) return false;
    for (size_t i = first; i < last; i++) {
        const keel_example *example = rows->batch->examples[i];
        for (size_t j = 0; j < example->n_lessons; j++)
            if (teaches(rows->batch->model, example, &example->lesson[j]))
                add_lesson(rows, &example->lesson[j], example->risk);
    }
    return true;
}

static const keel_bag *bag_at(const shard_rows *rows, int field, size_t i) {
    if (field < KEEL_N_STATE_FIELDS) return &rows->lesson[i]->sample.field[field];
    return &rows->candidate[i]->field[field - KEEL_FIELD_TEXT];
}

/* ---- forward ---- */

static keel_tensor *pool_field(shard_rows *rows, int field, size_t n) {
    const keel_ngram_base *model = rows->batch->model;
    keel_arena *arena = &rows->work->arena;
    size_t total = 0;
    for (size_t i = 0; i < n; i++) total += bag_at(rows, field, i)->count;
    if (total > INT32_MAX) return NULL;
    bag_rows bags = {keel_arena_alloc(arena, total * sizeof(uint32_t)),
                     keel_arena_alloc(arena, total * sizeof(float)),
                     keel_arena_alloc(arena, (n + 1) * sizeof(int32_t))};
    if (!bags.id || !bags.weight || !bags.offsets) return NULL;
    bags.offsets[0] = 0;
    for (size_t i = 0, at = 0; i < n; i++) {
        const keel_bag *bag = bag_at(rows, field, i);
        if (bag->count > 0) memcpy(bags.id + at, bag->row, bag->count * sizeof *bags.id);
        if (bag->count > 0) memcpy(bags.weight + at, bag->weight, bag->count * sizeof *bags.weight);
        at += bag->count;
        bags.offsets[i + 1] = (int32_t)at;
    }
    return keel_op_embedding_bag(rows->tape, model->table, model->rows, (size_t)model->config.dim, bags.id,
                                 bags.weight, bags.offsets, n, &rows->work->sparse);
}

static keel_tensor *linear_runs(shard_rows *rows, keel_tensor *x, size_t index, keel_activation activation,
                                const int32_t *runs, size_t n_runs) {
    const keel_ngram_base *model = rows->batch->model;
    keel_tensor *weight = keel_tape_param(rows->tape, &model->params, index, rows->work->grads), *bias = NULL;
    if (keel__ngram_base_has_param(model, index + 1))
        bias = keel_tape_param(rows->tape, &model->params, index + 1, rows->work->grads);
    return keel_op_linear_runs(rows->tape, x, weight, bias, activation, runs, n_runs);
}

static keel_tensor *linear(shard_rows *rows, keel_tensor *x, size_t index, keel_activation activation) {
    return linear_runs(rows, x, index, activation, NULL, 1);
}

/* The columns of the fields that are not empty in this shard, as runs. Half of the fields are empty where
 * conversations have no earlier turns. */
static size_t list_runs(const shard_rows *rows, int first_field, size_t n_fields, size_t n, int32_t *runs) {
    int32_t dim = (int32_t)rows->batch->model->config.dim;
    size_t n_runs = 0;
    for (size_t k = 0; k < n_fields; k++) {
        size_t i = 0;
        while (i < n && bag_at(rows, first_field + (int)k, i)->count == 0) i++;
        if (i == n) continue;
        int32_t first = (int32_t)k * dim;
        if (n_runs == 0 || runs[2 * n_runs - 1] != first) runs[2 * n_runs++] = first;
        runs[2 * n_runs - 1] = first + dim;
    }
    return n_runs;
}

/* Hidden features [n, features] of states or candidates. */
static keel_tensor *hidden(shard_rows *rows, int first_field, size_t n_fields, size_t n, size_t index) {
    keel_tensor *pooled[KEEL_N_STATE_FIELDS];
    int32_t *runs = keel_arena_alloc(&rows->work->arena, 2 * n_fields * sizeof *runs);
    if (!runs) return NULL;
    for (size_t i = 0; i < n_fields; i++) pooled[i] = pool_field(rows, first_field + (int)i, n);
    keel_tensor *x = keel_op_concat(rows->tape, pooled, n_fields);
    x = keel_op_dropout(rows->tape, x, (float)rows->batch->model->config.dropout, &rows->rng);
    return linear_runs(rows, x, index, KEEL_TANH, runs, list_runs(rows, first_field, n_fields, n, runs));
}

/* ---- labels, and what the teacher says ---- */

static bool make_targets(const shard_rows *rows, size_t n, size_t classes, keel_soft_targets *out) {
    return keel_soft_targets_make(&rows->batch->model->config.common, n, classes, &rows->work->arena, out);
}

/* ---- ranking ---- */

typedef struct ranking { /* segments of (lesson, candidate): the lesson's own candidates, then sampled ones */
    size_t n, n_segments;
    int32_t *state, *candidate, *offsets;
    keel_soft_targets of; /* weights by segment */
} ranking;

static void add_pair(ranking *to, size_t lesson, size_t candidate, float target, float soft) {
    to->state[to->n] = (int32_t)lesson;
    to->candidate[to->n] = (int32_t)candidate;
    to->of.soft[to->n] = soft;
    to->of.hard[to->n++] = target;
}

static void rank_lesson(shard_rows *rows, ranking *to, size_t b, known k) {
    const keel_lesson *lesson = rows->lesson[b];
    size_t first = (size_t)rows->first[b], last = (size_t)rows->first[b + 1];
    keel_soft_targets_weigh(&to->of, to->n_segments, k.labelled, k.taught);
    for (size_t i = first; i < last; i++)
        add_pair(to, b, i, k.labelled && lesson->taken[i - first] ? 1.0f / (float)lesson->n_taken : 0,
                 k.taught ? lesson->soft->prior[i - first] : 0);
    for (int64_t j = 0; j < rows->batch->model->config.negatives; j++) {
        size_t i = (size_t)keel_rng_below(&rows->rng, rows->n_candidates);
        if (i < first || i >= last) add_pair(to, b, i, 0, 0);
    }
    to->offsets[++to->n_segments] = (int32_t)to->n;
}

static bool make_ranking(shard_rows *rows, ranking *to, keel_arena *arena) {
    size_t room = rows->n_candidates + rows->n * (size_t)rows->batch->model->config.negatives;
    *to = (ranking){.state = keel_arena_alloc(arena, room * sizeof(int32_t)),
                    .candidate = keel_arena_alloc(arena, room * sizeof(int32_t)),
                    .offsets = keel_arena_alloc(arena, (rows->n + 1) * sizeof(int32_t))};
    if (!to->state || !to->candidate || !to->offsets || !make_targets(rows, room, 1, &to->of)) return false;
    to->offsets[0] = 0;
    for (size_t b = 0; b < rows->n; b++) {
        const known k = knows(rows->lesson[b], rows->risk[b], KEEL_LOSS_RANK, 0);
        if (any(k)) rank_lesson(rows, to, b, k);
    }
    return true;
}

static keel_tensor *rank_loss(shard_rows *rows, keel_tensor *states, keel_tensor *candidates) {
    ranking pairs;
    static const float nothing = 0;
    if (!make_ranking(rows, &pairs, &rows->work->arena)) return NULL;
    if (pairs.n_segments == 0) return keel_tape_input(rows->tape, &nothing, 1, 1);
    float scale = 1 / sqrtf((float)rows->batch->model->config.features);
    keel_tensor *s = keel_op_rows(rows->tape, states, pairs.state, pairs.n);
    keel_tensor *c = keel_op_rows(rows->tape, candidates, pairs.candidate, pairs.n);
    keel_tensor *score = keel_op_scale(rows->tape, keel_op_dot(rows->tape, s, c), scale);
    score = keel_op_add(rows->tape, score, linear(rows, c, KEEL_PARAM_RANK, KEEL_LINEAR));
    return keel_soft_segments(rows->tape, score, pairs.offsets, pairs.n_segments, &pairs.of,
                              rows->batch->divisor[KEEL_LOSS_RANK]);
}

/* ---- classification: acts, outcomes, risk ---- */

static keel_tensor *act_loss(shard_rows *rows, keel_tensor *states) {
    const size_t classes = rows->batch->model->base.n_acts;
    keel_soft_targets to;
    if (!make_targets(rows, rows->n, classes, &to)) return NULL;
    for (size_t i = 0; i < rows->n; i++) {
        const keel_lesson *lesson = rows->lesson[i];
        const known k = knows(lesson, rows->risk[i], KEEL_LOSS_ACT, 0);
        keel_soft_targets_weigh(&to, i, k.labelled, k.taught);
        to.hard[i * classes + (k.labelled ? (size_t)lesson->act : 0)] = 1;
        to.soft[i * classes] = 1;
        if (k.taught) memcpy(to.soft + i * classes, lesson->soft->prior, classes * sizeof *to.soft);
    }
    return keel_soft_cross_entropy(rows->tape, linear(rows, states, KEEL_PARAM_ACT, KEEL_LINEAR), &to,
                                   rows->batch->divisor[KEEL_LOSS_ACT]);
}

static keel_tensor *outcome_loss(shard_rows *rows, keel_tensor *candidates) {
    keel_soft_targets to;
    if (!make_targets(rows, rows->n_candidates, KEEL_N_OUTCOMES, &to)) return NULL;
    for (size_t i = 0; i < rows->n_candidates; i++) {
        const known k = {rows->outcome[i] != KEEL_OUTCOME_NONE, rows->soft_outcome[i] != NULL};
        keel_soft_targets_weigh(&to, i, k.labelled, k.taught);
        to.hard[i * KEEL_N_OUTCOMES + (k.labelled ? (size_t)rows->outcome[i] - 1 : 0)] = 1;
        to.soft[i * KEEL_N_OUTCOMES] = 1;
        if (k.taught)
            keel_soft_label_outcome(rows->soft_outcome[i], to.temperature, to.soft + i * KEEL_N_OUTCOMES);
    }
    return keel_soft_cross_entropy(rows->tape, linear(rows, candidates, KEEL_PARAM_OUTCOME, KEEL_LINEAR), &to,
                                   rows->batch->divisor[KEEL_LOSS_OUTCOME]);
}

static keel_tensor *risk_loss(shard_rows *rows, keel_tensor *states) {
    keel_soft_targets to;
    if (!make_targets(rows, rows->n, 1, &to)) return NULL;
    for (size_t i = 0; i < rows->n; i++) {
        const known k = knows(rows->lesson[i], rows->risk[i], KEEL_LOSS_RISK, 0);
        keel_soft_targets_weigh(&to, i, k.labelled, k.taught);
        to.hard[i] = rows->risk[i] == KEEL_RISK_DANGEROUS;
        if (k.taught) to.soft[i] = 1 / (1 + expf(-rows->lesson[i]->soft->risk / (float)to.temperature));
    }
    return keel_soft_logistic(rows->tape, linear(rows, states, KEEL_PARAM_RISK, KEEL_LINEAR), &to,
                              rows->batch->divisor[KEEL_LOSS_RISK]);
}

/* ---- all together ---- */

static keel_tensor *add_part(shard_rows *rows, keel_tensor *total, keel_tensor *part, int which,
                             double weight) {
    if (!part) return NULL;
    rows->work->part[which] = (double)part->data[0];
    return keel_op_add(rows->tape, total, keel_op_scale(rows->tape, part, (float)weight));
}

static keel_tensor *forward(shard_rows *rows) {
    static const float nothing = 0;
    const struct keel_ngram_base_config *config = &rows->batch->model->config;
    keel_tensor *total = keel_tape_input(rows->tape, &nothing, 1, 1);
    keel_tensor *states = hidden(rows, KEEL_FIELD_LAST, KEEL_N_STATE_FIELDS, rows->n, KEEL_PARAM_STATE);
    total = add_part(rows, total, risk_loss(rows, states), KEEL_LOSS_RISK, config->risk_weight);
    if (!has_sets(rows->batch->model))
        return add_part(rows, total, act_loss(rows, states), KEEL_LOSS_ACT, config->act_weight);
    if (rows->n_candidates == 0) return total;
    keel_tensor *candidates =
        hidden(rows, KEEL_FIELD_TEXT, KEEL_N_CANDIDATE_FIELDS, rows->n_candidates, KEEL_PARAM_CANDIDATE);
    total = add_part(rows, total, outcome_loss(rows, candidates), KEEL_LOSS_OUTCOME, config->outcome_weight);
    return add_part(rows, total, rank_loss(rows, states, candidates), KEEL_LOSS_RANK, config->rank_weight);
}

keel_status keel__ngram_base_loss(const keel_ngram_base_batch *batch, size_t first, size_t last, size_t shard,
                                  keel_ngram_base_shard *work, keel_err *err) {
    const keel_ngram_base *model = batch->model;
    uint64_t seed = (uint64_t)model->config.common.seed;
    shard_rows rows = {.batch = batch, .tape = work->tape, .work = work};
    rows.rng =
        keel_rng_stream(seed, KEEL_STREAM_BASE_UPDATE, batch->update * 65536 + shard); /* shards < 65536 */
    keel_arena_reset(&work->arena);
    keel_tape_reset(work->tape);
    keel_sparse_grad_clear(&work->sparse);
    memset(work->part, 0, sizeof work->part);
    if (!lay_out(&rows, first, last, &work->arena)) return keel_nomem(err, "n-gram base");
    if (rows.n == 0 || has_sets(model)) /* else backward writes to each layer */
        memset(work->grads, 0, model->params.size * sizeof *work->grads);
    if (rows.n == 0) return KEEL_OK;
    keel_tensor *total = forward(&rows);
    if (!total) return keel_nomem(err, "n-gram base");
    return keel_tape_backward(work->tape, total, err);
}
