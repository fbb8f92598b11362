#include "policies/encoder_base/model.h"

#include <math.h>
#include <string.h>

#include "core/gemm.h"
#include "core/numeric.h"

const char *const keel__encoder_heads[KEEL_N_HEADS] = {"risk",    "act",        "vector",
                                                       "outcome", "preference", "rank"};

/* ---- life ---- */

/* Outputs of a head; 0: it has no rows. */
static size_t outputs(const keel_encoder_base *model, int head) {
    if (!model->uses[head]) return 0;
    if (head == KEEL_HEAD_VECTOR) return model->config.teacher_width;
    return head == KEEL_HEAD_ACT ? model->base.n_acts : head == KEEL_HEAD_OUTCOME ? KEEL_N_OUTCOMES : 1;
}

static void choose_heads(keel_encoder_base *model) {
    const struct keel_encoder_base_config *c = &model->config;
    const bool sets = model->base.space == KEEL_SPACE_CANDIDATES,
               reads = c->candidates != KEEL_CANDIDATES_NONE;
    model->uses[KEEL_HEAD_RISK] = c->risk_weight > 0;
    model->uses[KEEL_HEAD_ACT] = !sets && c->act_weight > 0;
    model->uses[KEEL_HEAD_VECTOR] = c->distil_features > 0 && c->teacher_width > 0;
    model->uses[KEEL_HEAD_OUTCOME] = sets && reads && c->outcome_weight > 0;
    model->uses[KEEL_HEAD_PREFERENCE] = sets && reads && c->preference_weight > 0;
    model->uses[KEEL_HEAD_RANK] = sets && reads && c->rank_weight > 0;
}

static keel_status add_heads(keel_encoder_base *model, keel_err *err) {
    static const char *const names[KEEL_N_HEADS][2] = {{"risk.weight", "risk.bias"},
                                                       {"act.weight", "act.bias"},
                                                       {"vector.weight", "vector.bias"},
                                                       {"outcome.weight", "outcome.bias"},
                                                       {"preference.weight", "preference.bias"},
                                                       {"rank.weight", "rank.bias"}};
    const struct keel_encoder_base_config *c = &model->config;
    const size_t hidden = model->bert->config.hidden;
    keel_param table[2 * KEEL_N_HEADS];
    for (int h = 0; h < KEEL_N_HEADS; h++) {
        const size_t n = outputs(model, h);
        table[2 * h] = (keel_param){.name = names[h][0],
                                    .rows = n,
                                    .cols = n ? hidden : 0,
                                    .init = h == KEEL_HEAD_VECTOR ? KEEL_INIT_UNIFORM : KEEL_INIT_ZERO,
                                    .scale = (double)hidden,
                                    .decay = true,
                                    .rate = c->head_factor};
        table[2 * h + 1] = (keel_param){.name = names[h][1],
                                        .rows = n ? 1 : 0,
                                        .cols = n,
                                        .init = KEEL_INIT_ZERO,
                                        .rate = c->head_factor};
    }
    const keel_lora_config lora = {.rank = c->mode == KEEL_BERT_LORA ? (size_t)c->rank : 0,
                                   .alpha = c->alpha,
                                   .dropout = c->lora_dropout,
                                   .rslora = c->rslora,
                                   .targets =
                                       c->targets == 0 ? KEEL_LORA_QUERY | KEEL_LORA_VALUE : KEEL_LORA_ALL};
    return keel_bert_extend(model->bert, &lora, table, 2 * KEEL_N_HEADS, err);
}

static void count_features(keel_encoder_base *model) {
    const bool *uses = model->uses;
    const keel_base *beside = model->base.beside;
    const size_t scores = uses[KEEL_HEAD_RANK]; /* the prior's, no features */
    model->n_state = outputs(model, KEEL_HEAD_RISK) + outputs(model, KEEL_HEAD_ACT);
    model->n_candidate = (uses[KEEL_HEAD_OUTCOME] ? 2u : 0u) + uses[KEEL_HEAD_PREFERENCE] + scores;
    model->base.state_dim = (beside ? beside->state_dim : 1) + model->n_state;
    model->base.candidate_dim = model->base.space == KEEL_SPACE_CANDIDATES
                                    ? (beside ? beside->candidate_dim : 1) + model->n_candidate - scores
                                    : 0;
}

/* Without a prior of its own it needs the n-gram base's. */
static keel_status check_heads(const keel_encoder_base *model, keel_err *err) {
    const struct keel_encoder_base_config *c = &model->config;
    const bool sets = model->base.space == KEEL_SPACE_CANDIDATES;
    const bool reads_candidates =
        model->uses[KEEL_HEAD_OUTCOME] || model->uses[KEEL_HEAD_PREFERENCE] || model->uses[KEEL_HEAD_RANK];
    bool any = false;
    for (int h = 0; h < KEEL_N_HEADS; h++) any |= model->uses[h];
    if (!any)
        return keel_fail(err, KEEL_E_INVALID, "encoder base",
                         "no loss has a weight above 0: nothing would be tuned");
    if (c->head_epochs == 0 && (c->mode == KEEL_BERT_HEAD || (reads_candidates && !c->tune_candidates))) {
        keel_fail(err, KEEL_E_INVALID, "encoder base", "head_epochs=0 leaves heads without any training");
        return keel_hint(err, "use --set head_epochs=40");
    }
    if (keel_beside_wanted(model->config.ngrams, model->base.space) ||
        model->uses[sets ? KEEL_HEAD_RANK : KEEL_HEAD_ACT])
        return KEEL_OK;
    keel_fail(err, KEEL_E_INVALID, "encoder base", "it has no prior over %s", sets ? "candidates" : "acts");
    return keel_hint(err, sets ? "use ngrams=yes, or candidates=apart with rank_weight above 0"
                               : "use ngrams=yes, or act_weight above 0");
}

static keel_status make(keel_encoder_base *model, const keel_base_space *space, const bool *uses,
                        keel_err *err) {
    model->base.kind = &keel_encoder_base_kind;
    model->base.vector_width = model->bert->config.hidden;
    model->base.config = &model->config.common;
    model->normalise = model->bert->config.normalise;
    model->bert->config.normalise = false;
    KEEL_TRY(keel_base_space_set(&model->base, space, &model->arena, err));
    if (uses)
        memcpy(model->uses, uses, sizeof model->uses);
    else
        choose_heads(model);
    KEEL_TRY(check_heads(model, err));
    KEEL_TRY(add_heads(model, err));
    count_features(model);
    model->mean = keel_arena_calloc(&model->arena, model->n_state + model->n_candidate, sizeof *model->mean);
    model->scale =
        keel_arena_calloc(&model->arena, model->n_state + model->n_candidate, sizeof *model->scale);
    return model->mean && model->scale ? KEEL_OK : keel_nomem(err, "encoder base");
}

keel_status keel__encoder_base_make(keel_encoder_base **out, const struct keel_encoder_base_config *config,
                                    keel_bert *bert, const keel_base_space *space, const bool *uses,
                                    keel_err *err) {
    keel_encoder_base *model = keel_calloc(1, sizeof *model);
    if (!model) {
        keel_bert_close(bert);
        return keel_nomem(err, "encoder base");
    }
    model->config = *config;
    model->bert = bert;
    keel_status status = make(model, space, uses, err);
    if (status == KEEL_OK)
        *out = model;
    else
        keel__encoder_base_close(&model->base);
    return status;
}

keel_status keel__encoder_base_join(keel_encoder_base *model, keel_base *beside, keel_err *err) {
    KEEL_TRY(keel_beside_join(&model->base, beside, err));
    count_features(model);
    return KEEL_OK;
}

void keel__encoder_base_close(keel_base *base) {
    keel_encoder_base *model = (keel_encoder_base *)base;
    if (!model) return;
    keel_bert_close(model->bert);
    keel_arena_free(&model->arena);
    keel_free(model);
}

/* ---- logits ---- */

static void apply(const keel_encoder_base *model, int head, const float *vector, float *out) {
    const size_t row = keel__encoder_head(model, head), hidden = model->bert->config.hidden;
    const keel_params *params = &model->bert->params;
    const size_t n = params->table[row].rows;
    memcpy(out, keel_params_at(params, row + 1), n * sizeof *out);
    keel_gemv(n, hidden, keel_params_at(params, row), hidden, vector, 1, out);
}

void keel__encoder_state_logits(const keel_encoder_base *model, const float *vector, float *out) {
    if (model->uses[KEEL_HEAD_RISK]) apply(model, KEEL_HEAD_RISK, vector, out++);
    if (!model->uses[KEEL_HEAD_ACT]) return;
    apply(model, KEEL_HEAD_ACT, vector, out);
    keel_log_softmax(out, model->base.n_acts, out);
}

/* ln p / (1 - p) of a class of three. */
static float log_odds(const float *logits, int of) {
    const float a = logits[(of + 1) % 3], b = logits[(of + 2) % 3], most = a > b ? a : b;
    return (float)((double)logits[of] - ((double)most + log1p(exp((double)((a > b ? b : a) - most)))));
}

void keel__encoder_candidate_logits(const keel_encoder_base *model, const float *state, const float *vector,
                                    float *out) {
    if (model->uses[KEEL_HEAD_OUTCOME]) {
        float outcome[KEEL_N_OUTCOMES];
        apply(model, KEEL_HEAD_OUTCOME, vector, outcome);
        *out++ = log_odds(outcome, KEEL_OUTCOME_REFUSAL - 1);
        *out++ = log_odds(outcome, KEEL_OUTCOME_COMPLIANCE - 1);
    }
    if (model->uses[KEEL_HEAD_PREFERENCE]) apply(model, KEEL_HEAD_PREFERENCE, vector, out++);
    if (!model->uses[KEEL_HEAD_RANK]) return;
    apply(model, KEEL_HEAD_RANK, vector, out);
    if (keel__encoder_compares(model))
        *out += (float)(KEEL_COSINE_SCALE * keel_cosine(state, vector, model->bert->config.hidden));
}
