/* From bags to features and the prior, without the tape. Each decision is computed alone, so that its
 * features do not depend on what is encoded beside it. */
#include <math.h>
#include <string.h>

#include "policies/builtin_model.h"

float keel__builtin_probe(const keel_builtin *model, int probe, size_t fit, const keel_bag *bag) {
    const keel_probe *at = &model->probe[probe];
    if (!at->fitted) return 0;
    const float *weight = at->weight + fit * model->rows;
    double sum = at->bias[fit];
    for (size_t i = 0; i < bag->count; i++) sum += (double)bag->weight[i] * weight[bag->row[i]];
    return (float)sum;
}

static void pool(const keel_builtin *model, const keel_bag *bag, float *restrict out) {
    size_t dim = (size_t)model->config.dim;
    memset(out, 0, dim * sizeof *out);
    for (size_t i = 0; i < bag->count; i++) {
        const float *restrict row = model->table + bag->row[i] * dim;
        float weight = bag->weight[i];
        for (size_t d = 0; d < dim; d++) out[d] += weight * row[d];
    }
}

/* out [rows of the layer] = weight x + bias */
static void layer(const keel_builtin *model, size_t index, const float *x, float *out) {
    const keel_param *weight = &model->params.table[index];
    memcpy(out, keel_params_at(&model->params, index + 1), weight->rows * sizeof *out);
    keel_gemm(false, true, 1, weight->rows, weight->cols, 1, x, weight->cols,
              keel_params_at(&model->params, index), weight->cols, 1, out, weight->rows);
}

static void squash(float *x, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = tanhf(x[i]);
}

void keel__builtin_state(const keel_builtin *model, const keel_sample *sample, float *pooled, float *out) {
    size_t dim = (size_t)model->config.dim;
    for (size_t i = 0; i < KEEL_N_STATE_FIELDS; i++) pool(model, &sample->field[i], pooled + i * dim);
    layer(model, KEEL_PARAM_STATE, pooled, out);
    squash(out, (size_t)model->config.features);
}

void keel__builtin_candidate(const keel_builtin *model, const keel_sample_candidate *candidate, float *pooled,
                             float *out) {
    size_t dim = (size_t)model->config.dim;
    for (size_t i = 0; i < KEEL_N_CANDIDATE_FIELDS; i++) pool(model, &candidate->field[i], pooled + i * dim);
    layer(model, KEEL_PARAM_CANDIDATE, pooled, out);
    squash(out, (size_t)model->config.features);
}

void keel__builtin_state_scalars(const keel_builtin *model, const keel_sample *sample, size_t fit,
                                 float out[KEEL_STATE_SCALARS]) {
    out[0] = keel__builtin_probe(model, KEEL_PROBE_STATE_RISK, fit, &sample->field[KEEL_FIELD_LAST]);
    out[1] = sample->log_turns;
}

/* score(s, c) = s . c / sqrt(features) + rank bias of c: the logit of pi_base within the set. */
static float rank_score(const keel_builtin *model, const float *state, const float *hidden) {
    size_t width = (size_t)model->config.features;
    const float *bias = keel_params_at(&model->params, KEEL_PARAM_RANK);
    double dot = 0, alone = 0;
    for (size_t i = 0; i < width; i++) {
        dot += (double)state[i] * hidden[i];
        alone += (double)bias[i] * hidden[i];
    }
    return (float)(dot / sqrt((double)width) + alone);
}

void keel__builtin_candidate_scalars(const keel_builtin *model, const keel_sample *sample, size_t candidate,
                                     size_t fit, const float *state, const float *hidden,
                                     float out[KEEL_CANDIDATE_SCALARS]) {
    const keel_sample_candidate *at = &sample->candidate[candidate];
    for (int i = 0; i < 4; i++)
        out[i] = keel__builtin_probe(model, KEEL_PROBE_REFUSAL + i, fit, &at->field[0]);
    memcpy(out + 4, at->extra, sizeof at->extra);
    out[4 + KEEL_N_EXTRAS] = rank_score(model, state, hidden);
}

/* Standardised by the tuning split, cut at four deviations. */
static void standardise(float *x, const float *mean, const float *scale, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float z = (x[i] - mean[i]) * scale[i];
        x[i] = z > 4 ? 4 : z < -4 ? -4 : z;
    }
}

static float *encode_candidates(const keel_builtin *model, const keel_sample *sample, size_t fit,
                                const float *state, float *pooled, float *log_prior, keel_arena *scratch) {
    size_t width = (size_t)model->config.features, dim = model->base.candidate_dim;
    float *out = keel_arena_alloc(scratch, sample->n_candidates * dim * sizeof *out);
    for (size_t i = 0; out && i < sample->n_candidates; i++) {
        float *hidden = out + i * dim, *scalars = hidden + width;
        keel__builtin_candidate(model, &sample->candidate[i], pooled, hidden);
        keel__builtin_candidate_scalars(model, sample, i, fit, state, hidden, scalars);
        log_prior[i] = scalars[KEEL_CANDIDATE_SCALARS - 1];
        standardise(scalars, model->candidate_mean, model->candidate_scale, KEEL_CANDIDATE_SCALARS);
    }
    return out;
}

keel_status keel__builtin_encode(const keel_base *base, const keel_conversation *conversation,
                                 size_t decision, keel_arena *scratch, keel_features *out, keel_err *err) {
    const keel_builtin *model = (const keel_builtin *)base;
    keel_sample sample;
    KEEL_TRY(keel__builtin_sample(model, conversation, decision, scratch, &sample, err));
    bool sets = base->space == KEEL_SPACE_CANDIDATES;
    size_t width = (size_t)model->config.features, fit = keel__builtin_fit_for(model, conversation);
    size_t n_actions = sets ? sample.n_candidates : base->n_acts;
    float *state = keel_arena_alloc(scratch, base->state_dim * sizeof *state);
    float *pooled =
        keel_arena_alloc(scratch, KEEL_N_STATE_FIELDS * (size_t)model->config.dim * sizeof *pooled);
    float *log_prior = keel_arena_alloc(scratch, n_actions * sizeof *log_prior), *candidates = NULL;
    bool good = state && pooled && log_prior;
    if (good) {
        keel__builtin_state(model, &sample, pooled, state);
        keel__builtin_state_scalars(model, &sample, fit, state + width);
        standardise(state + width, model->state_mean, model->state_scale, KEEL_STATE_SCALARS);
        if (sets)
            candidates = encode_candidates(model, &sample, fit, state, pooled, log_prior, scratch);
        else
            layer(model, KEEL_PARAM_ACT, state, log_prior);
    }
    if (!good || (sets && !candidates))
        return keel_fail(err, KEEL_E_NOMEM, "builtin base", "no memory to encode");
    keel_log_softmax(log_prior, n_actions, log_prior);
    *out = (keel_features){.state_dim = base->state_dim,
                           .candidate_dim = base->candidate_dim,
                           .n_candidates = sets ? n_actions : 0,
                           .n_actions = n_actions,
                           .state = state,
                           .candidates = candidates,
                           .log_prior = log_prior};
    return KEEL_OK;
}
