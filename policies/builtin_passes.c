/* Passes over the tuning split: counting n-grams, fitting the linear heads, standardising scalar features. */
#include <math.h>
#include <string.h>

#include "policies/builtin_tune.h"
#include "policies/sweep.h"

static keel_status no_memory(keel_err *err) {
    return keel_fail(err, KEEL_E_NOMEM, "builtin base", "no memory to tune");
}

static keel_status
sweep(keel_tuning *tuning, const char *what, void *context,
      keel_status (*work)(void *, size_t, const keel_conversation *, keel_arena *, keel_err *),
      keel_status (*merge)(void *, size_t, const keel_conversation *, bool *, keel_err *), keel_err *err) {
    keel_sweep pass = {.store = tuning->store,
                       .pool = tuning->pool,
                       .what = what,
                       .ids = tuning->ids,
                       .count = tuning->count,
                       .work = work,
                       .merge = merge,
                       .context = context};
    return keel_sweep_run(&pass, err);
}

/* ---- counting ---- */

typedef struct field_grams {
    int field;
    keel_grams grams;
} field_grams;

typedef struct counting {
    const keel_builtin *model;
    field_grams *found[KEEL_SWEEP_SLOTS];
    size_t n_found[KEEL_SWEEP_SLOTS];
    int32_t *frequency; /* [buckets] */
    int64_t documents[KEEL_N_FIELDS];
} counting;

static size_t texts_of(const keel_builtin *model, const keel_decision *decision) {
    size_t sets = model->base.space == KEEL_SPACE_CANDIDATES;
    return KEEL_N_STATE_FIELDS + sets * KEEL_N_CANDIDATE_FIELDS * decision->n_candidates;
}

static keel_status count_decision(const keel_builtin *model, const keel_conversation *conversation,
                                  size_t decision, keel_arena *arena, field_grams *out, keel_err *err) {
    const keel_decision *at = &conversation->decisions[decision];
    keel_decision_view view = keel__builtin_view(conversation, decision);
    size_t n = texts_of(model, at);
    for (size_t i = 0; i < n; i++) {
        bool state = i < KEEL_N_STATE_FIELDS;
        size_t place = state ? 0 : i - KEEL_N_STATE_FIELDS;
        const keel_candidate *candidate = state ? NULL : &at->candidates[place / KEEL_N_CANDIDATE_FIELDS];
        out[i].field = state ? (int)i : KEEL_FIELD_TEXT + (int)(place % KEEL_N_CANDIDATE_FIELDS);
        KEEL_TRY(keel__builtin_grams(model, &view, candidate, out[i].field, arena, &out[i].grams, err));
    }
    return KEEL_OK;
}

static keel_status count_slot(void *context, size_t slot, const keel_conversation *conversation,
                              keel_arena *arena, keel_err *err) {
    counting *to = context;
    size_t room = 0, n = 0;
    for (size_t i = 0; i < conversation->n_decisions; i++)
        room += texts_of(to->model, &conversation->decisions[i]);
    field_grams *found = keel_arena_alloc(arena, room * sizeof *found);
    if (!found) return no_memory(err);
    for (size_t i = 0; i < conversation->n_decisions; i++) {
        KEEL_TRY(count_decision(to->model, conversation, i, arena, found + n, err));
        n += texts_of(to->model, &conversation->decisions[i]);
    }
    to->found[slot] = found;
    to->n_found[slot] = n;
    return KEEL_OK;
}

static keel_status add_counts(void *context, size_t slot, const keel_conversation *conversation, bool *stop,
                              keel_err *err) {
    counting *to = context;
    (void)conversation, (void)stop, (void)err;
    for (size_t i = 0; i < to->n_found[slot]; i++) {
        const field_grams *found = &to->found[slot][i];
        if (found->grams.count > 0) to->documents[found->field]++;
        for (size_t j = 0; j < found->grams.count; j++) {
            int32_t *frequency = &to->frequency[found->grams.bucket[j]];
            if (*frequency < INT32_MAX) ++*frequency;
        }
    }
    return KEEL_OK;
}

/* What another base has seen before counts too. */
static void add_earlier(counting *to, const keel_builtin *from) {
    for (size_t i = 0; i < from->rows; i++) {
        int64_t sum = (int64_t)to->frequency[from->bucket_of[i]] + from->frequency[i];
        to->frequency[from->bucket_of[i]] = sum < INT32_MAX ? (int32_t)sum : INT32_MAX;
    }
    for (int field = 0; field < KEEL_N_FIELDS; field++) to->documents[field] += from->documents[field];
}

static keel_status make_rows(keel_builtin *model, const counting *counts, keel_err *err) {
    size_t rows = 0, at = 0;
    for (size_t i = 0; i < model->rules.buckets; i++) rows += counts->frequency[i] > 0;
    KEEL_TRY(keel__builtin_room(model, rows, err));
    for (size_t i = 0; i < model->rules.buckets; i++) {
        if (counts->frequency[i] == 0) continue;
        model->bucket_of[at] = (int32_t)i;
        model->frequency[at++] = counts->frequency[i];
    }
    memcpy(model->documents, counts->documents, sizeof counts->documents);
    keel__builtin_index(model);
    return KEEL_OK;
}

/* Fresh embeddings are small against what an update moves them by; those of another base are kept. */
static void fill_table(keel_builtin *model, const keel_builtin *from) {
    size_t dim = (size_t)model->config.dim;
    keel_rng rng = keel_rng_stream((uint64_t)model->config.seed, "embedding", 0);
    for (size_t i = 0; i < model->rows; i++) {
        int32_t known = from ? from->row_of[model->bucket_of[i]] : -1;
        for (size_t d = 0; d < dim; d++)
            model->table[i * dim + d] = (float)(0.2 * keel_rng_uniform(&rng) - 0.1);
        if (known >= 0)
            memcpy(model->table + i * dim, from->table + (size_t)known * dim, dim * sizeof(float));
    }
}

keel_status keel__builtin_count(keel_tuning *tuning, const keel_builtin *from, keel_err *err) {
    keel_builtin *model = tuning->model;
    counting *counts = keel_calloc(1, sizeof *counts);
    if (counts) counts->frequency = keel_calloc(model->rules.buckets, sizeof *counts->frequency);
    keel_status status = counts && counts->frequency ? KEEL_OK : no_memory(err);
    if (status == KEEL_OK) {
        counts->model = model;
        status = sweep(tuning, "count n-grams", counts, count_slot, add_counts, err);
    }
    if (status == KEEL_OK && from) add_earlier(counts, from);
    if (status == KEEL_OK) status = make_rows(model, counts, err);
    if (status == KEEL_OK) fill_table(model, from);
    if (counts) keel_free(counts->frequency);
    keel_free(counts);
    return status;
}

/* ---- linear heads ---- */

typedef struct sampling { /* a pass that needs samples of all decisions */
    keel_builtin *model;
    keel_sample *samples[KEEL_SWEEP_SLOTS];
    keel_heads_builder *builder;
    double *sum, *square; /* scalars of states, then of candidates */
    double n_states, n_candidates;
} sampling;

static keel_status sample_slot(void *context, size_t slot, const keel_conversation *conversation,
                               keel_arena *arena, keel_err *err) {
    sampling *to = context;
    keel_sample *samples = keel_arena_calloc(arena, conversation->n_decisions, sizeof *samples);
    if (!samples) return no_memory(err);
    for (size_t i = 0; i < conversation->n_decisions; i++)
        KEEL_TRY(keel__builtin_sample(to->model, conversation, i, false, arena, &samples[i], err));
    to->samples[slot] = samples;
    return KEEL_OK;
}

static keel_tri risk_label(keel_risk risk) {
    return risk == KEEL_RISK_UNKNOWN ? KEEL_UNKNOWN : risk == KEEL_RISK_DANGEROUS ? KEEL_YES : KEEL_NO;
}

static keel_tri outcome_label(keel_outcome outcome, keel_outcome asked) {
    return outcome == KEEL_OUTCOME_NONE ? KEEL_UNKNOWN : outcome == asked ? KEEL_YES : KEEL_NO;
}

static keel_status add_state_rows(void *context, size_t slot, const keel_conversation *conversation,
                                  bool *stop, keel_err *err) {
    sampling *to = context;
    (void)stop;
    for (size_t i = 0; i < conversation->n_decisions; i++) {
        keel_heads_row row = keel__builtin_state_row(&to->samples[slot][i]);
        row.label[0] = risk_label(conversation->risk);
        KEEL_TRY(keel_heads_add(to->builder, keel__builtin_group(conversation), &row, 1, NULL, 0, err));
    }
    return KEEL_OK;
}

/* a was preferred to b: better feedback, or else the one that was taken (a chosen response against a rejected
 * one). */
static bool preferred(const keel_candidate *a, const keel_candidate *b) {
    if (a->feedback.present && b->feedback.present) return a->feedback.value > b->feedback.value;
    return a->taken && !b->taken;
}

static size_t list_pairs(const keel_decision *decision, keel_heads_pair *out) {
    size_t n = 0, count = decision->n_candidates;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < count; j++)
            if (preferred(&decision->candidates[i], &decision->candidates[j]))
                out[n++] = (keel_heads_pair){KEEL_HEAD_PREFERENCE, (uint32_t)i, (uint32_t)j};
    return n;
}

static keel_status add_decision(sampling *to, const keel_conversation *conversation,
                                const keel_decision *decision, const keel_sample *sample, keel_err *err) {
    size_t n = decision->n_candidates;
    keel_heads_row *rows = keel_calloc(n, sizeof *rows);
    keel_heads_pair *pairs = keel_calloc(n * n, sizeof *pairs);
    keel_status status = rows && pairs ? KEEL_OK : no_memory(err);
    for (size_t i = 0; status == KEEL_OK && i < n; i++) {
        keel_outcome outcome = decision->candidates[i].outcome;
        rows[i] = keel__builtin_candidate_row(&sample->candidate[i]);
        rows[i].label[KEEL_HEAD_REFUSAL] = outcome_label(outcome, KEEL_OUTCOME_REFUSAL);
        rows[i].label[KEEL_HEAD_COMPLIANCE] = outcome_label(outcome, KEEL_OUTCOME_COMPLIANCE);
        rows[i].label[KEEL_HEAD_RISK] = risk_label(conversation->risk);
    }
    if (status == KEEL_OK)
        status = keel_heads_add(to->builder, keel__builtin_group(conversation), rows, n, pairs,
                                list_pairs(decision, pairs), err);
    keel_free(pairs);
    keel_free(rows);
    return status;
}

static keel_status add_candidate_rows(void *context, size_t slot, const keel_conversation *conversation,
                                      bool *stop, keel_err *err) {
    sampling *to = context;
    (void)stop;
    for (size_t i = 0; i < conversation->n_decisions; i++)
        KEEL_TRY(add_decision(to, conversation, &conversation->decisions[i], &to->samples[slot][i], err));
    return KEEL_OK;
}

static keel_heads_config heads_config(const keel_builtin *model) {
    keel_heads_config config = keel_heads_standard;
    bool sets = model->base.space == KEEL_SPACE_CANDIDATES;
    config.n_ids = model->rules.buckets;
    config.folds = (size_t)model->config.head_folds;
    config.seed = (uint64_t)model->config.seed;
    config.n_dense = sets ? KEEL_N_EXTRAS : 0;
    config.n_heads = sets ? KEEL_N_CANDIDATE_HEADS : KEEL_N_STATE_HEADS;
    for (size_t i = 0; i < config.n_heads; i++) config.head[i].lambda = model->config.label_l2;
    config.head[sets ? KEEL_HEAD_RISK : 0].lambda = model->config.risk_l2;
    if (sets) config.head[KEEL_HEAD_PREFERENCE].ranks = true;
    return config;
}

keel_status keel__builtin_fit_heads(keel_tuning *tuning, keel_err *err) {
    keel_builtin *model = tuning->model;
    keel_heads_config config = heads_config(model);
    bool sets = model->base.space == KEEL_SPACE_CANDIDATES;
    sampling *to = keel_calloc(1, sizeof *to);
    keel_status status = to ? keel_heads_builder_open(&to->builder, &config, err) : no_memory(err);
    if (status == KEEL_OK) {
        to->model = model;
        bool labelled = sets || tuning->survey->with_risk > 0;
        if (labelled)
            status = sweep(tuning, "read labels", to, sample_slot, sets ? add_candidate_rows : add_state_rows,
                           err);
    }
    if (status == KEEL_OK)
        status = keel_heads_fit(to->builder, tuning->pool,
                                sets ? &model->candidate_heads : &model->state_heads, err);
    if (to) keel_heads_builder_close(to->builder);
    keel_free(to);
    return status;
}

/* ---- standardisation ---- */

static void add_moments(double *sum, double *square, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        sum[i] += x[i];
        square[i] += (double)x[i] * x[i];
    }
}

static keel_status add_scalars(void *context, size_t slot, const keel_conversation *conversation, bool *stop,
                               keel_err *err) {
    sampling *to = context;
    int64_t group = keel__builtin_group(conversation);
    float scalars[KEEL_CANDIDATE_SCALARS + KEEL_STATE_SCALARS];
    (void)stop, (void)err;
    for (size_t i = 0; i < conversation->n_decisions; i++) {
        const keel_sample *sample = &to->samples[slot][i];
        keel__builtin_state_scalars(to->model, sample, group, scalars);
        add_moments(to->sum, to->square, scalars, KEEL_STATE_SCALARS);
        to->n_states++;
        for (size_t j = 0; j < sample->n_candidates; j++) {
            keel__builtin_candidate_scalars(to->model, &sample->candidate[j], group, scalars);
            add_moments(to->sum + KEEL_STATE_SCALARS, to->square + KEEL_STATE_SCALARS, scalars,
                        KEEL_CANDIDATE_SCALARS);
            to->n_candidates++;
        }
    }
    return KEEL_OK;
}

/* A number that never changes says nothing: its scale is 0, so the feature is. */
static void finish_moments(const double *sum, const double *square, double n, size_t count, float *mean,
                           float *scale) {
    for (size_t i = 0; n > 0 && i < count; i++) {
        double average = sum[i] / n, variance = square[i] / n - average * average;
        mean[i] = (float)average;
        scale[i] = variance > 1e-10 ? (float)(1 / sqrt(variance)) : 0;
    }
}

keel_status keel__builtin_scale(keel_tuning *tuning, keel_err *err) {
    enum { N = KEEL_STATE_SCALARS + KEEL_CANDIDATE_SCALARS };
    keel_builtin *model = tuning->model;
    double sum[N] = {0}, square[N] = {0};
    sampling *to = keel_calloc(1, sizeof *to);
    if (!to) return no_memory(err);
    *to = (sampling){.model = model, .sum = sum, .square = square};
    keel_status status = sweep(tuning, "scale features", to, sample_slot, add_scalars, err);
    if (status == KEEL_OK) {
        finish_moments(sum, square, to->n_states, KEEL_STATE_SCALARS, model->state_mean, model->state_scale);
        finish_moments(sum + KEEL_STATE_SCALARS, square + KEEL_STATE_SCALARS, to->n_candidates,
                       KEEL_CANDIDATE_SCALARS, model->candidate_mean, model->candidate_scale);
    }
    keel_free(to);
    return status;
}
