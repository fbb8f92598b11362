/* The loss of one shard of a batch:
 *
 *   risk        logistic loss of w.s + b with the conversation's risk
 *   act         cross-entropy of softmax(W s + b) with the taken act or outcome
 *   outcome     cross-entropy of softmax(W c + b) with a candidate's outcome
 *   preference  -ln sigmoid(w.c_better - w.c_worse) of each pair of a decision (Bradley & Terry 1952)
 *   rank        cross-entropy of softmax over a decision's candidates and those of the shard's other
 *               decisions with the uniform distribution over the taken ones; score 20 cos(s, c) + w.c, or
 *               w.c of a pair (in-batch negatives, Henderson et al. 2017; of near states with
 *               near_negatives); of a pair the decision's own candidates alone; another decision's
 *               candidate that reads as one of its own is none of the others
 *   vector      1 - cos(W s + b, the teacher's vector of the state)
 *
 * With a teacher risk, act and outcome are mixed with what it says (policies/soft_loss.h). s, c: vectors of
 * state and candidate; each term over its number in the whole batch, times its weight. */
#include "policies/encoder_base/loss.h"

#include <math.h>
#include <string.h>

#include "policies/preference.h"
#include "policies/soft_loss.h"

typedef struct shard_rows {
    const keel_encoder_batch *batch;
    keel_encoder_shard *work;
    const keel_encoder_lesson *lesson; /* [n] */
    size_t n, n_candidates;
    size_t *first; /* [n + 1] candidates of lesson b are first[b] .. first[b + 1] - 1 */
    keel_real *grads;
    keel_rng *rng;
} shard_rows;

static void *room(const shard_rows *rows, size_t n, size_t size) {
    return keel_arena_calloc(&rows->work->arena, n + 1, size);
}

/* ---- vectors of all texts: states first, then candidates ---- */

static void put_text(keel_bert_batch *to, int32_t *id, int32_t *type, int32_t *offsets,
                     const keel_reading *text) {
    memcpy(id + offsets[to->n], text->id, text->n * sizeof *id);
    memcpy(type + offsets[to->n], text->type, text->n * sizeof *type);
    offsets[to->n + 1] = offsets[to->n] + (int32_t)text->n;
    to->n++;
}

static keel_bert_batch *gather_texts(const shard_rows *rows) {
    size_t tokens = 0;
    for (size_t b = 0; b < rows->n; b++) {
        const keel_lesson_texts *texts = &rows->lesson[b].texts;
        tokens += texts->state.n;
        for (size_t i = 0; i < texts->n_candidates; i++) tokens += texts->candidate[i].n;
    }
    keel_bert_batch *out = room(rows, 1, sizeof *out);
    int32_t *id = room(rows, tokens, sizeof *id), *type = room(rows, tokens, sizeof *type);
    int32_t *offsets = room(rows, rows->n + rows->n_candidates + 1, sizeof *offsets);
    if (!out || !id || !type || !offsets || tokens > INT32_MAX) return NULL;
    *out = (keel_bert_batch){.id = id, .type = type, .offsets = offsets};
    for (size_t b = 0; b < rows->n; b++) put_text(out, id, type, offsets, &rows->lesson[b].texts.state);
    for (size_t b = 0; b < rows->n; b++)
        for (size_t i = 0; i < rows->lesson[b].texts.n_candidates; i++)
            put_text(out, id, type, offsets, &rows->lesson[b].texts.candidate[i]);
    return out;
}

/* Of the encoder as it came, worked out before. */
static keel_tensor *given_vectors(const shard_rows *rows) {
    const size_t hidden = rows->batch->model->bert->config.hidden, n = rows->n + rows->n_candidates;
    float *all = room(rows, n * hidden, sizeof *all);
    if (!all) return NULL;
    for (size_t b = 0; b < rows->n; b++) {
        const float *from = rows->lesson[b].vectors;
        const size_t own = rows->first[b + 1] - rows->first[b];
        memcpy(all + b * hidden, from, hidden * sizeof *all);
        if (own > 0)
            memcpy(all + (rows->n + rows->first[b]) * hidden, from + hidden, own * hidden * sizeof *all);
    }
    return keel_tape_input(rows->work->tape, all, n, hidden);
}

static keel_tensor *vectors(const shard_rows *rows, keel_err *err) {
    size_t given = 0;
    while (given < rows->n && rows->lesson[given].vectors) given++;
    if (given == rows->n) return given_vectors(rows);
    keel_bert_training training = rows->batch->training;
    keel_bert_batch *texts = gather_texts(rows);
    if (!texts) return NULL;
    training.grads = rows->grads;
    training.rng = rows->rng;
    if (!rows->rng) training.dropout = 0;
    return keel_bert_on_tape(rows->work->tape, rows->batch->model->bert, &training, texts, &rows->work->arena,
                             err);
}

static keel_tensor *rows_of(const shard_rows *rows, keel_tensor *x, size_t first, size_t n) {
    int32_t *index = room(rows, n, sizeof *index);
    if (!index) return NULL;
    for (size_t i = 0; i < n; i++) index[i] = (int32_t)(first + i);
    return keel_op_rows(rows->work->tape, x, index, n);
}

/* ---- heads ---- */

static keel_tensor *head(const shard_rows *rows, keel_tensor *x, int which) {
    const keel_encoder_base *model = rows->batch->model;
    keel_bert_training training = rows->batch->training;
    training.grads = rows->grads;
    const size_t row = keel__encoder_head(model, which);
    keel_tape *tape = rows->work->tape;
    keel_tensor *w = keel_bert_param(tape, model->bert, &training, row);
    return keel_op_linear(tape, x, w, keel_bert_param(tape, model->bert, &training, row + 1), KEEL_LINEAR);
}

static bool make_targets(const shard_rows *rows, size_t n, size_t classes, keel_soft_targets *out) {
    return keel_soft_targets_make(&rows->batch->model->config.common, n, classes, &rows->work->arena, out);
}

/* A label's row, of which a share is spread over all classes (Szegedy et al. 2016). */
static void put_label(const shard_rows *rows, size_t classes, size_t named, float *target) {
    const float smooth = (float)rows->batch->model->config.label_smoothing;
    for (size_t k = 0; k < classes; k++) target[k] = smooth / (float)classes;
    target[named] += 1 - smooth;
}

static keel_tensor *risk_loss(const shard_rows *rows, keel_tensor *states) {
    const float smooth = (float)rows->batch->model->config.label_smoothing;
    keel_soft_targets to;
    if (!make_targets(rows, rows->n, 1, &to)) return NULL;
    for (size_t b = 0; b < rows->n; b++) {
        const keel_encoder_labels *labels = &rows->lesson[b].labels;
        const bool taught = labels->soft && !isnan(labels->soft->risk);
        keel_soft_targets_weigh(&to, b, labels->risk != KEEL_RISK_UNKNOWN, taught);
        to.hard[b] = (labels->risk == KEEL_RISK_DANGEROUS) * (1 - smooth) + smooth / 2;
        if (taught) to.soft[b] = 1 / (1 + expf(-labels->soft->risk / (float)to.temperature));
    }
    return keel_soft_logistic(rows->work->tape, head(rows, states, KEEL_HEAD_RISK), &to,
                              rows->batch->divisor[KEEL_HEAD_RISK]);
}

static keel_tensor *act_loss(const shard_rows *rows, keel_tensor *states) {
    const size_t classes = rows->batch->model->base.n_acts;
    keel_soft_targets to;
    if (!make_targets(rows, rows->n, classes, &to)) return NULL;
    for (size_t b = 0; b < rows->n; b++) {
        const keel_encoder_labels *labels = &rows->lesson[b].labels;
        const bool labelled = labels->act >= 0, taught = labels->soft && labels->soft->prior;
        keel_soft_targets_weigh(&to, b, labelled, taught);
        put_label(rows, classes, labelled ? (size_t)labels->act : 0, to.hard + b * classes);
        to.soft[b * classes] = 1;
        if (taught) memcpy(to.soft + b * classes, labels->soft->prior, classes * sizeof *to.soft);
    }
    return keel_soft_cross_entropy(rows->work->tape, head(rows, states, KEEL_HEAD_ACT), &to,
                                   rows->batch->divisor[KEEL_HEAD_ACT]);
}

/* 1 - cos of the projection and the teacher's vector: half the squared distance of unit vectors. */
static keel_tensor *vector_loss(const shard_rows *rows, keel_tensor *states) {
    const size_t width = rows->batch->model->config.teacher_width;
    float *target = room(rows, rows->n * width, sizeof *target),
          *weight = room(rows, rows->n * width, sizeof *weight);
    if (!target || !weight) return NULL;
    for (size_t b = 0; b < rows->n; b++) {
        const keel_soft_label *soft = rows->lesson[b].labels.soft;
        if (!soft || !soft->vector) continue;
        memcpy(target + b * width, soft->vector, width * sizeof *target);
        for (size_t d = 0; d < width; d++) weight[b * width + d] = 1;
    }
    keel_tensor *told = keel_op_unit_rows(rows->work->tape, head(rows, states, KEEL_HEAD_VECTOR));
    return keel_op_half_square(rows->work->tape, told, target, weight,
                               (float)rows->batch->divisor[KEEL_HEAD_VECTOR]);
}

static void put_outcome(const shard_rows *rows, size_t b, size_t candidate, keel_soft_targets *to) {
    const keel_encoder_labels *labels = &rows->lesson[b].labels;
    const keel_outcome outcome = labels->decision->candidates[candidate].outcome;
    const bool labelled = outcome != KEEL_OUTCOME_NONE, taught = labels->soft && labels->soft->outcomes;
    const size_t row = rows->first[b] + candidate;
    float *soft = to->soft + row * KEEL_N_OUTCOMES;
    keel_soft_targets_weigh(to, row, labelled, taught);
    put_label(rows, KEEL_N_OUTCOMES, labelled ? (size_t)outcome - 1 : 0, to->hard + row * KEEL_N_OUTCOMES);
    soft[0] = 1;
    if (taught) keel_soft_label_outcome(labels->soft->outcomes + 2 * candidate, to->temperature, soft);
}

static keel_tensor *outcome_loss(const shard_rows *rows, keel_tensor *candidates) {
    keel_soft_targets to;
    if (!make_targets(rows, rows->n_candidates, KEEL_N_OUTCOMES, &to)) return NULL;
    for (size_t b = 0; b < rows->n; b++)
        for (size_t i = 0; i < rows->first[b + 1] - rows->first[b]; i++) put_outcome(rows, b, i, &to);
    return keel_soft_cross_entropy(rows->work->tape, head(rows, candidates, KEEL_HEAD_OUTCOME), &to,
                                   rows->batch->divisor[KEEL_HEAD_OUTCOME]);
}

/* ---- preference ---- */

static keel_tensor *preference_loss(const shard_rows *rows, keel_tensor *candidates) {
    size_t n = 0, at = 0;
    for (size_t b = 0; b < rows->n; b++) n += rows->lesson[b].labels.n_pairs;
    int32_t *better = room(rows, n, sizeof *better), *worse = room(rows, n, sizeof *worse);
    float *target = room(rows, n, sizeof *target);
    if (!better || !worse || !target) return NULL;
    for (size_t b = 0; b < rows->n; b++) {
        const size_t own = rows->first[b + 1] - rows->first[b];
        const keel_candidate *candidate = rows->lesson[b].labels.decision->candidates;
        for (size_t i = 0; i < own; i++)
            for (size_t j = 0; j < own; j++) {
                if (!keel_preference(&candidate[i], &candidate[j])) continue;
                better[at] = (int32_t)(rows->first[b] + i);
                worse[at] = (int32_t)(rows->first[b] + j);
                target[at++] = 1 - (float)rows->batch->model->config.label_smoothing / 2;
            }
    }
    keel_tape *tape = rows->work->tape;
    keel_tensor *score = head(rows, candidates, KEEL_HEAD_PREFERENCE);
    if (at == 0) return keel_op_sum(tape, score, 0);
    keel_tensor *gap =
        keel_op_sub(tape, keel_op_rows(tape, score, better, at), keel_op_rows(tape, score, worse, at));
    return keel_op_logistic(tape, gap, target, NULL, (float)rows->batch->divisor[KEEL_HEAD_PREFERENCE]);
}

/* ---- ranking ---- */

typedef struct ranking { /* segments of (lesson, candidate) */
    size_t n, n_segments;
    int32_t *state, *candidate, *offsets;
    float *target;
} ranking;

/* Whether the decision has a candidate that reads like one of another: as a wrong answer it would contradict
 * its own. */
static bool has_twin(const keel_lesson_texts *texts, const keel_reading *of) {
    for (size_t i = 0; i < texts->n_candidates; i++)
        if (texts->candidate[i].hash == of->hash) return true;
    return false;
}

/* Its own candidates, and those of the shard's other lessons where states are compared. */
static void rank_lesson(const shard_rows *rows, ranking *to, size_t b) {
    const keel_encoder_labels *labels = &rows->lesson[b].labels;
    const size_t first = rows->first[b], last = rows->first[b + 1];
    const bool others = keel__encoder_compares(rows->batch->model);
    for (size_t i = 0, of = 0; i < rows->n_candidates; i++) {
        const bool own = i >= first && i < last;
        while (i >= rows->first[of + 1]) of++;
        if (!own && (!others || has_twin(&rows->lesson[b].texts,
                                         &rows->lesson[of].texts.candidate[i - rows->first[of]])))
            continue;
        to->state[to->n] = (int32_t)b;
        to->candidate[to->n] = (int32_t)i;
        to->target[to->n++] =
            own && labels->decision->candidates[i - first].taken ? 1.0f / (float)labels->n_taken : 0;
    }
    to->offsets[++to->n_segments] = (int32_t)to->n;
}

static keel_tensor *rank_loss(const shard_rows *rows, keel_tensor *states, keel_tensor *candidates) {
    const keel_encoder_base *model = rows->batch->model;
    keel_tape *tape = rows->work->tape;
    const size_t most = rows->n * rows->n_candidates;
    ranking pairs = {.state = room(rows, most, sizeof(int32_t)),
                     .candidate = room(rows, most, sizeof(int32_t)),
                     .offsets = room(rows, rows->n + 1, sizeof(int32_t)),
                     .target = room(rows, most, sizeof(float))};
    if (!pairs.state || !pairs.candidate || !pairs.offsets || !pairs.target) return NULL;
    for (size_t b = 0; b < rows->n; b++)
        if (keel__encoder_terms(model, &rows->lesson[b].labels, KEEL_HEAD_RANK)) rank_lesson(rows, &pairs, b);
    keel_tensor *alone = head(rows, candidates, KEEL_HEAD_RANK);
    if (pairs.n == 0) return keel_op_sum(tape, alone, 0);
    keel_tensor *score = keel_op_rows(tape, alone, pairs.candidate, pairs.n);
    if (keel__encoder_compares(model)) {
        keel_tensor *s = keel_op_rows(tape, keel_op_unit_rows(tape, states), pairs.state, pairs.n);
        keel_tensor *c = keel_op_rows(tape, keel_op_unit_rows(tape, candidates), pairs.candidate, pairs.n);
        score = keel_op_add(tape, score, keel_op_scale(tape, keel_op_dot(tape, s, c), KEEL_COSINE_SCALE));
    }
    return keel_op_segment_cross_entropy(tape, score, pairs.offsets, pairs.n_segments, pairs.target, NULL,
                                         (float)rows->batch->divisor[KEEL_HEAD_RANK]);
}

/* ---- all together ---- */

double keel__encoder_weight(const keel_encoder_base *model, int head) {
    const struct keel_encoder_base_config *c = &model->config;
    const double weight[KEEL_N_HEADS] = {c->risk_weight,    c->act_weight,        c->distil_features,
                                         c->outcome_weight, c->preference_weight, c->rank_weight};
    return weight[head];
}

static keel_tensor *add_part(const shard_rows *rows, keel_tensor *total, keel_tensor *part, int which) {
    if (!total || !part) return NULL; /* what failed stays so */
    rows->work->part[which] = (double)part->data[0];
    part = keel_op_scale(rows->work->tape, part, (float)keel__encoder_weight(rows->batch->model, which));
    return keel_op_add(rows->work->tape, total, part);
}

static keel_tensor *forward(const shard_rows *rows, keel_err *err) {
    const bool *uses = rows->batch->model->uses;
    static const float nothing = 0;
    keel_tensor *x = vectors(rows, err), *total = keel_tape_input(rows->work->tape, &nothing, 1, 1);
    keel_tensor *states = rows_of(rows, x, 0, rows->n);
    const bool states_known = rows->batch->states_known;
    if (uses[KEEL_HEAD_RISK] && !states_known)
        total = add_part(rows, total, risk_loss(rows, states), KEEL_HEAD_RISK);
    if (uses[KEEL_HEAD_ACT] && !states_known)
        total = add_part(rows, total, act_loss(rows, states), KEEL_HEAD_ACT);
    if (uses[KEEL_HEAD_VECTOR] && !states_known)
        total = add_part(rows, total, vector_loss(rows, states), KEEL_HEAD_VECTOR);
    if (rows->n_candidates == 0) return total;
    keel_tensor *candidates = rows_of(rows, x, rows->n, rows->n_candidates);
    if (uses[KEEL_HEAD_OUTCOME])
        total = add_part(rows, total, outcome_loss(rows, candidates), KEEL_HEAD_OUTCOME);
    if (uses[KEEL_HEAD_PREFERENCE])
        total = add_part(rows, total, preference_loss(rows, candidates), KEEL_HEAD_PREFERENCE);
    if (uses[KEEL_HEAD_RANK])
        total = add_part(rows, total, rank_loss(rows, states, candidates), KEEL_HEAD_RANK);
    return total;
}

static bool lay_out(shard_rows *rows) {
    rows->first = room(rows, rows->n + 1, sizeof *rows->first);
    for (size_t b = 0; rows->first && b < rows->n; b++)
        rows->first[b + 1] = rows->n_candidates += rows->lesson[b].texts.n_candidates;
    return rows->first != NULL;
}

keel_status keel__encoder_loss(const keel_encoder_batch *batch, size_t first, size_t last, keel_real *grads,
                               keel_rng *rng, keel_encoder_shard *work, keel_err *err) {
    shard_rows rows = {.batch = batch,
                       .work = work,
                       .lesson = batch->lesson + first,
                       .n = last - first,
                       .grads = grads,
                       .rng = rng};
    keel_arena_reset(&work->arena);
    keel_tape_reset(work->tape);
    keel_tape_record(work->tape, grads != NULL);
    memset(work->part, 0, sizeof work->part);
    if (grads) memset(grads, 0, batch->training.trained.size * sizeof *grads);
    if (!lay_out(&rows)) return keel_nomem(err, "encoder base");
    keel_tensor *total = forward(&rows, err);
    KEEL_TRY(keel_tape_check(work->tape, total, err));
    return grads ? keel_tape_backward(work->tape, total, err) : KEEL_OK;
}
