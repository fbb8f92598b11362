/* From bags to features and the prior, without the tape. Each decision is computed alone, so that its
 * features do not depend on what is encoded beside it. */
#include <math.h>
#include <string.h>

#include "policies/builtin_model.h"

static void pool(const keel_builtin *model, const keel_bag *bag, float *out) {
    size_t dim = (size_t)model->config.dim;
    memset(out, 0, dim * sizeof *out);
    keel_add_rows(model->table, dim, bag->row, bag->weight, bag->count, out);
}

/* out [rows of the layer] = weight x + bias */
static void layer(const keel_builtin *model, size_t index, const float *x, float *out) {
    const keel_param *weight = &model->params.table[index];
    memcpy(out, keel_params_at(&model->params, index + 1), weight->rows * sizeof *out);
    keel_gemm(false, true, 1, weight->rows, weight->cols, 1, x, weight->cols,
              keel_params_at(&model->params, index), weight->cols, 1, out, weight->rows);
}

/* ---- scalar features ---- */

keel_heads_row keel__builtin_state_row(const keel_sample *sample) {
    return (keel_heads_row){.id = sample->last.bucket, .n_ids = sample->last.count};
}

keel_heads_row keel__builtin_candidate_row(const keel_sample_candidate *candidate) {
    return (keel_heads_row){
        .id = candidate->text.bucket, .n_ids = candidate->text.count, .dense = candidate->extra};
}

void keel__builtin_state_scalars(const keel_builtin *model, const keel_sample *sample, int64_t group,
                                 float out[KEEL_STATE_SCALARS]) {
    keel_heads_row row = keel__builtin_state_row(sample);
    out[0] = sample->log_turns;
    out[1] = 0;
    if (model->state_heads) keel_heads_logits(model->state_heads, &row, group, &out[1]);
}

void keel__builtin_candidate_scalars(const keel_builtin *model, const keel_sample_candidate *candidate,
                                     int64_t group, float out[KEEL_CANDIDATE_SCALARS]) {
    keel_heads_row row = keel__builtin_candidate_row(candidate);
    memset(out, 0, KEEL_CANDIDATE_SCALARS * sizeof *out);
    if (model->candidate_heads) keel_heads_logits(model->candidate_heads, &row, group, out);
    out[KEEL_N_CANDIDATE_HEADS] = candidate->extra[KEEL_EXTRA_WORDS];
}

/* Standardised by the tuning split, cut at four deviations. */
static void standardise(float *x, const float *mean, const float *scale, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float z = (x[i] - mean[i]) * scale[i];
        x[i] = z > 4 ? 4 : z < -4 ? -4 : z;
    }
}

/* ---- the encoder ---- */

/* hidden [features] = tanh(layer(pooled fields)) */
static void encode_bags(const keel_builtin *model, const keel_bag *bags, size_t n, size_t index,
                        float *pooled, float *hidden) {
    size_t dim = (size_t)model->config.dim, width = (size_t)model->config.features;
    for (size_t i = 0; i < n; i++) pool(model, &bags[i], pooled + i * dim);
    layer(model, index, pooled, hidden);
    for (size_t i = 0; i < width; i++) hidden[i] = tanhf(hidden[i]);
}

/* score(s, c) = s . c / sqrt(features) + r . c, r how likely a response is anywhere: the logit of pi_base
 * within the set. */
static float rank_score(const keel_builtin *model, const float *state, const float *hidden) {
    size_t width = (size_t)model->config.features;
    const float *rank = keel_params_at(&model->params, KEEL_PARAM_RANK);
    double dot = 0, alone = 0;
    for (size_t i = 0; i < width; i++) {
        dot += (double)state[i] * hidden[i];
        alone += (double)rank[i] * hidden[i];
    }
    return (float)(dot / sqrt((double)width) + alone);
}

typedef struct encode_work {        /* room for one decision */
    float *pooled, *hidden, *other; /* [4 dim], [features], [features] */
    float *state, *candidates, *log_prior;
} encode_work;

static bool make_room(const keel_builtin *model, size_t n_candidates, size_t n_actions, keel_arena *arena,
                      encode_work *work) {
    size_t width = (size_t)model->config.features, dim = (size_t)model->config.dim;
    work->pooled = keel_arena_alloc(arena, KEEL_N_STATE_FIELDS * dim * sizeof(float));
    work->hidden = keel_arena_alloc(arena, width * sizeof(float));
    work->other = keel_arena_alloc(arena, width * sizeof(float));
    work->state = keel_arena_alloc(arena, model->base.state_dim * sizeof(float));
    work->candidates = keel_arena_alloc(arena, n_candidates * KEEL_CANDIDATE_SCALARS * sizeof(float));
    work->log_prior = keel_arena_alloc(arena, n_actions * sizeof(float));
    return work->pooled && work->hidden && work->other && work->state && work->candidates && work->log_prior;
}

static void encode_state(const keel_builtin *model, const keel_sample *sample, int64_t group,
                         const encode_work *work) {
    size_t width = (size_t)model->config.features;
    float scalars[KEEL_STATE_SCALARS];
    encode_bags(model, sample->field, KEEL_N_STATE_FIELDS, KEEL_PARAM_STATE, work->pooled, work->hidden);
    keel__builtin_state_scalars(model, sample, group, scalars);
    standardise(scalars, model->state_mean, model->state_scale, KEEL_STATE_SCALARS);
    if (model->base.space == KEEL_SPACE_CANDIDATES) {
        work->state[0] = scalars[0];
        return;
    }
    memcpy(work->state, work->hidden, width * sizeof(float));
    memcpy(work->state + width, scalars, sizeof scalars);
}

static void encode_candidates(const keel_builtin *model, const keel_sample *sample, int64_t group,
                              const encode_work *work) {
    for (size_t i = 0; i < sample->n_candidates; i++) {
        float *scalars = work->candidates + i * KEEL_CANDIDATE_SCALARS;
        encode_bags(model, sample->candidate[i].field, KEEL_N_CANDIDATE_FIELDS, KEEL_PARAM_CANDIDATE,
                    work->pooled, work->other);
        work->log_prior[i] = rank_score(model, work->hidden, work->other);
        keel__builtin_candidate_scalars(model, &sample->candidate[i], group, scalars);
        standardise(scalars, model->candidate_mean, model->candidate_scale, KEEL_CANDIDATE_SCALARS);
    }
}

static bool all_finite(const float *x, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!isfinite(x[i])) return false;
    return true;
}

/* Weights may be finite and yet absurd; what they give must not get into the store. */
static keel_status check_features(const keel_features *features, keel_err *err) {
    size_t rows = features->candidates ? features->n_candidates * features->candidate_dim : 0;
    if (all_finite(features->state, features->state_dim) && all_finite(features->candidates, rows) &&
        all_finite(features->log_prior, features->n_actions))
        return KEEL_OK;
    return keel_fail(err, KEEL_E_INVALID, "builtin base", "its weights give features that are not finite");
}

keel_status keel__builtin_encode(const keel_base *base, const keel_conversation *conversation,
                                 size_t decision, keel_arena *scratch, keel_features *out, keel_err *err) {
    const keel_builtin *model = (const keel_builtin *)base;
    keel_sample sample;
    encode_work work;
    KEEL_TRY(keel__builtin_sample(model, conversation, decision, true, scratch, &sample, err));
    bool sets = base->space == KEEL_SPACE_CANDIDATES;
    int64_t group = keel__builtin_group(conversation);
    size_t n_actions = sets ? sample.n_candidates : base->n_acts;
    if (!make_room(model, sample.n_candidates, n_actions, scratch, &work))
        return keel_fail(err, KEEL_E_NOMEM, "builtin base", "no memory to encode");
    encode_state(model, &sample, group, &work);
    if (sets)
        encode_candidates(model, &sample, group, &work);
    else
        layer(model, KEEL_PARAM_ACT, work.hidden, work.log_prior);
    keel_log_softmax(work.log_prior, n_actions, work.log_prior);
    keel_features made = {.state_dim = base->state_dim,
                          .candidate_dim = base->candidate_dim,
                          .n_candidates = sample.n_candidates,
                          .n_actions = n_actions,
                          .state = work.state,
                          .candidates = sets ? work.candidates : NULL,
                          .log_prior = work.log_prior};
    KEEL_TRY(check_features(&made, err));
    *out = made;
    return KEEL_OK;
}
