/* From bags to features and the prior, without the tape. Each decision is computed alone, so that its
 * features do not depend on the rest of the batch. */
#include <math.h>
#include <string.h>

#include "core/gemm.h"
#include "core/numeric.h"
#include "policies/ngram_base/encode.h"

/* out [rows of the layer] = weight x + bias */
static void layer(const keel_ngram_base *model, size_t index, const float *x, float *out) {
    const keel_param *weight = &model->params.table[index];
    memcpy(out, keel_params_at(&model->params, index + 1), weight->rows * sizeof *out);
    keel_gemv(weight->rows, weight->cols, keel_params_at(&model->params, index), weight->cols, x, 1, out);
}

/* ---- scalar features ---- */

keel_linear_probes_row keel__ngram_base_state_row(const keel_ngram_sample *sample) {
    return (keel_linear_probes_row){.id = sample->field[KEEL_FIELD_LAST].row,
                                    .n_ids = sample->field[KEEL_FIELD_LAST].count};
}

keel_linear_probes_row keel__ngram_base_candidate_row(const keel_sample_candidate *candidate) {
    const keel_bag *text = &candidate->field[0]; /* KEEL_FIELD_TEXT */
    return (keel_linear_probes_row){.id = text->row, .n_ids = text->count, .dense = candidate->extra};
}

void keel__ngram_base_state_scalars(const keel_ngram_base *model, const keel_ngram_sample *sample,
                                    int64_t group, float out[KEEL_STATE_SCALARS]) {
    keel_linear_probes_row row = keel__ngram_base_state_row(sample);
    out[0] = sample->log_turns;
    out[1] = 0;
    if (model->state_heads) keel_linear_probes_logits(model->state_heads, &row, group, &out[1]);
}

void keel__ngram_base_candidate_scalars(const keel_ngram_base *model, const keel_sample_candidate *candidate,
                                        int64_t group, float out[KEEL_CANDIDATE_SCALARS]) {
    keel_linear_probes_row row = keel__ngram_base_candidate_row(candidate);
    memset(out, 0, KEEL_CANDIDATE_SCALARS * sizeof *out);
    if (model->candidate_heads) keel_linear_probes_logits(model->candidate_heads, &row, group, out);
    out[KEEL_N_CANDIDATE_PROBES] = candidate->extra[KEEL_EXTRA_WORDS];
}

/* ---- the encoder ---- */

/* hidden [features] = tanh(layer(pooled fields)). A field without n-grams adds nothing and is skipped. */
static void encode_bags(const keel_ngram_base *model, const keel_bag *bags, size_t n, size_t index,
                        float *pooled, float *hidden) {
    size_t dim = (size_t)model->config.dim, width = (size_t)model->config.features;
    const float *weight = keel_params_at(&model->params, index);
    memcpy(hidden, keel_params_at(&model->params, index + 1), width * sizeof *hidden);
    for (size_t i = 0; i < n; i++) {
        if (bags[i].count == 0) continue;
        memset(pooled, 0, dim * sizeof *pooled);
        keel_add_rows(model->table, dim, bags[i].row, bags[i].weight, bags[i].count, pooled);
        keel_gemv(width, dim, weight + i * dim, n * dim, pooled, 1, hidden);
    }
    keel_tanh(hidden, width);
}

/* Logit of pi_base within a candidate set: score(s, c) = s . c / sqrt(features) + r . c. The second term is
 * how likely the response is whatever the state. */
static float rank_score(const keel_ngram_base *model, const float *state, const float *hidden) {
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
    float *pooled, *hidden, *other; /* [dim], [features], [features] */
    float *state, *candidates, *log_prior;
} encode_work;

static bool make_room(const keel_ngram_base *model, size_t n_candidates, size_t n_actions, keel_arena *arena,
                      encode_work *work) {
    size_t width = (size_t)model->config.features, dim = (size_t)model->config.dim;
    work->pooled = keel_arena_alloc(arena, dim * sizeof(float));
    work->hidden = keel_arena_alloc(arena, width * sizeof(float));
    work->other = keel_arena_alloc(arena, width * sizeof(float));
    work->state = keel_arena_alloc(arena, model->base.state_dim * sizeof(float));
    work->candidates = keel_arena_alloc(arena, n_candidates * KEEL_CANDIDATE_SCALARS * sizeof(float));
    work->log_prior = keel_arena_alloc(arena, n_actions * sizeof(float));
    return work->pooled && work->hidden && work->other && work->state && work->candidates && work->log_prior;
}

/* Scalar features, from a sample that is not weighed yet. In candidate sets the state scalars are the whole
 * state; in fixed spaces they follow the hidden features. */
static void encode_scalars(const keel_ngram_base *model, const keel_ngram_sample *sample, int64_t group,
                           const encode_work *work) {
    bool sets = model->base.space == KEEL_SPACE_CANDIDATES;
    float scalars[KEEL_STATE_SCALARS];
    keel__ngram_base_state_scalars(model, sample, group, scalars);
    keel_standardise(scalars, model->state_mean, model->state_scale, KEEL_STATE_SCALARS,
                     work->state + (sets ? 0 : model->config.features));
    for (size_t i = 0; i < sample->n_candidates; i++) {
        float *candidate = work->candidates + i * KEEL_CANDIDATE_SCALARS;
        keel__ngram_base_candidate_scalars(model, &sample->candidate[i], group, candidate);
        keel_standardise(candidate, model->candidate_mean, model->candidate_scale, KEEL_CANDIDATE_SCALARS,
                         candidate);
    }
}

static void encode_prior(const keel_ngram_base *model, const keel_ngram_sample *sample,
                         const encode_work *work) {
    encode_bags(model, sample->field, KEEL_N_STATE_FIELDS, KEEL_PARAM_STATE, work->pooled, work->hidden);
    if (model->base.space != KEEL_SPACE_CANDIDATES) {
        memcpy(work->state, work->hidden, (size_t)model->config.features * sizeof(float));
        layer(model, KEEL_PARAM_ACT, work->hidden, work->log_prior);
        return;
    }
    for (size_t i = 0; i < sample->n_candidates; i++) {
        encode_bags(model, sample->candidate[i].field, KEEL_N_CANDIDATE_FIELDS, KEEL_PARAM_CANDIDATE,
                    work->pooled, work->other);
        work->log_prior[i] = rank_score(model, work->hidden, work->other);
    }
}

/* Finite weights may still give features that are not finite; those must not get into the store. */
static keel_status check_features(const keel_features *features, keel_err *err) {
    size_t rows = features->candidates ? features->n_candidates * features->candidate_dim : 0;
    if (keel_all_finite(features->state, features->state_dim) &&
        keel_all_finite(features->candidates, rows) &&
        keel_all_finite(features->log_prior, features->n_actions))
        return KEEL_OK;
    return keel_fail(err, KEEL_E_INVALID, "n-gram base", "its weights give features that are not finite");
}

/* The scalars come first: they need the buckets, which weighing overwrites. */
static keel_status encode_sample(const keel_ngram_base *model, keel_ngram_sample *sample, int64_t group,
                                 keel_arena *scratch, keel_features *out, keel_err *err) {
    encode_work work;
    bool sets = model->base.space == KEEL_SPACE_CANDIDATES;
    size_t n_actions = sets ? sample->n_candidates : model->base.n_acts;
    if (!make_room(model, sample->n_candidates, n_actions, scratch, &work))
        return keel_nomem(err, "n-gram base");
    encode_scalars(model, sample, group, &work);
    keel__ngram_base_weigh(model, sample);
    encode_prior(model, sample, &work);
    keel_log_softmax(work.log_prior, n_actions, work.log_prior);
    keel_features made = {.state_dim = model->base.state_dim,
                          .candidate_dim = model->base.candidate_dim,
                          .n_candidates = sample->n_candidates,
                          .n_actions = n_actions,
                          .state = work.state,
                          .candidates = sets ? work.candidates : NULL,
                          .log_prior = work.log_prior};
    KEEL_TRY(check_features(&made, err));
    *out = made;
    return KEEL_OK;
}

static keel_status encode_item(const keel_ngram_base *model, const keel_base_item *item, keel_arena *scratch,
                               keel_err *err) {
    int64_t group = keel_conversation_group_hash(item->conversation);
    keel_ngram_sample *samples = keel_arena_alloc(scratch, item->n * sizeof *samples);
    if (!samples) return keel_nomem(err, "n-gram base");
    KEEL_TRY(
        keel__ngram_base_samples(model, item->conversation, item->decision, item->n, scratch, samples, err));
    for (size_t i = 0; i < item->n; i++)
        KEEL_TRY(encode_sample(model, &samples[i], group, scratch, &item->features[i], err));
    return KEEL_OK;
}

keel_status keel__ngram_base_encode(const keel_base *base, const keel_base_item *items, size_t n,
                                    keel_arena *scratch, keel_err *err) {
    for (size_t i = 0; i < n; i++)
        KEEL_TRY(encode_item((const keel_ngram_base *)base, &items[i], scratch, err));
    return KEEL_OK;
}
