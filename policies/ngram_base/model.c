#include <math.h>
#include <string.h>

#include "policies/base_file.h"
#include "policies/ngram_base/model.h"

static keel_ngram_rules rules_of(const struct keel_ngram_base_config *config) {
    return (keel_ngram_rules){.word_high = (size_t)config->word_high,
                              .char_low = (size_t)config->char_low,
                              .char_high = (size_t)config->char_high,
                              .max_words = (size_t)config->max_words,
                              .buckets = (uint32_t)config->buckets};
}

/* One layer is two entries of the table: weight and bias. A layer that this action space does not use has no
 * rows. */
static void put_layer(keel_param *table, size_t index, const char *weight, const char *bias, size_t out,
                      size_t in) {
    double fan_in = in > 0 ? (double)in : 1;
    table[index] = (keel_param){weight, out, out ? in : 0, KEEL_INIT_UNIFORM, fan_in, true, 0};
    table[index + 1] = (keel_param){bias, out ? 1 : 0, out, KEEL_INIT_ZERO, 0, false, 0};
}

static keel_status make_params(keel_ngram_base *model, keel_err *err) {
    keel_param table[KEEL_N_NGRAM_BASE_PARAMS];
    bool sets = model->base.space == KEEL_SPACE_CANDIDATES;
    size_t dim = (size_t)model->config.dim, width = (size_t)model->config.features;
    put_layer(table, KEEL_PARAM_STATE, "state.weight", "state.bias", width, KEEL_N_STATE_FIELDS * dim);
    put_layer(table, KEEL_PARAM_CANDIDATE, "candidate.weight", "candidate.bias", sets ? width : 0,
              KEEL_N_CANDIDATE_FIELDS * dim);
    put_layer(table, KEEL_PARAM_RANK, "rank.weight", "rank.bias", sets ? 1 : 0, width);
    table[KEEL_PARAM_RANK + 1].rows = 0; /* a bias common to all candidates changes no softmax */
    put_layer(table, KEEL_PARAM_ACT, "act.weight", "act.bias", model->base.n_acts, width);
    put_layer(table, KEEL_PARAM_OUTCOME, "outcome.weight", "outcome.bias", sets ? KEEL_N_OUTCOMES : 0, width);
    put_layer(table, KEEL_PARAM_RISK, "risk.weight", "risk.bias", 1, width);
    return keel_params_make(&model->params, table, KEEL_N_NGRAM_BASE_PARAMS, err);
}

bool keel__ngram_base_has_param(const keel_ngram_base *model, size_t index) {
    return model->params.table[index].rows * model->params.table[index].cols > 0;
}

keel_status keel__ngram_base_offer(keel_ngram_base *model, const keel_candidate *fixed, size_t n,
                                   keel_err *err) {
    const keel_base_space space = {.space = model->base.space,
                                   .n_acts = model->base.n_acts,
                                   .acts = model->base.acts,
                                   .n_fixed = n,
                                   .fixed = fixed};
    return keel_base_space_set(&model->base, &space, &model->arena, err);
}

keel_status keel__ngram_base_make(keel_ngram_base **out, const struct keel_ngram_base_config *config,
                                  keel_action_space space, const char *const *acts, size_t n_acts,
                                  keel_err *err) {
    keel_ngram_base *model = keel_calloc(1, sizeof *model);
    if (!model) return keel_nomem(err, "n-gram base");
    bool sets = space == KEEL_SPACE_CANDIDATES;
    model->config = *config;
    model->rules = rules_of(config);
    model->base.kind = &keel_ngram_base_kind;
    model->base.config = &model->config.common;
    model->base.state_dim = KEEL_STATE_SCALARS + (sets ? 0 : (size_t)config->features);
    model->base.candidate_dim = sets ? KEEL_CANDIDATE_SCALARS : 0;
    for (size_t i = 0; i < KEEL_STATE_SCALARS; i++) model->state_scale[i] = 1;
    for (size_t i = 0; i < KEEL_CANDIDATE_SCALARS; i++) model->candidate_scale[i] = 1;
    const keel_base_space shown = {.space = space, .n_acts = n_acts, .acts = acts};
    model->base.crossed = sets; /* its features there are probes, each fitted over folds */
    keel_status status = keel_base_space_set(&model->base, &shown, &model->arena, err);
    if (status == KEEL_OK) status = make_params(model, err);
    if (status == KEEL_OK)
        *out = model;
    else
        keel__ngram_base_close(&model->base);
    return status;
}

keel_status keel__ngram_base_room(keel_ngram_base *model, size_t rows, keel_err *err) {
    size_t bytes;
    keel_arena *arena = &model->arena;
    if (!keel_size_mul(rows, (size_t)model->config.dim * sizeof *model->table, &bytes))
        return keel_nomem(err, "n-gram base");
    model->rows = rows;
    model->bucket = keel_arena_alloc(arena, model->rules.buckets * sizeof *model->bucket);
    model->bucket_of = keel_arena_calloc(arena, rows, sizeof *model->bucket_of);
    model->frequency = keel_arena_calloc(arena, rows, sizeof *model->frequency);
    model->table = keel_arena_alloc(arena, bytes);
    bool good = model->bucket && model->bucket_of && model->frequency && model->table;
    return good ? KEEL_OK : keel_nomem(err, "n-gram base");
}

void keel__ngram_base_index(keel_ngram_base *model) {
    for (size_t i = 0; i < model->rules.buckets; i++) model->bucket[i] = (keel_bucket){.row = -1};
    for (size_t i = 0; i < model->rows; i++)
        model->bucket[model->bucket_of[i]] =
            (keel_bucket){(int32_t)i, (float)log1p((double)model->frequency[i])};
}

void keel__ngram_base_close(keel_base *base) {
    keel_ngram_base *model = (keel_ngram_base *)base;
    if (!model) return;
    keel_linear_probes_close(model->candidate_heads);
    keel_linear_probes_close(model->state_heads);
    keel_params_free(&model->params);
    keel_arena_free(&model->arena);
    keel_free(model);
}
