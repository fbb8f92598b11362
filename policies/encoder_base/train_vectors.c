/* Vectors of texts that training keeps, and what a training says of the units that it did without. */
#include "policies/encoder_base/train_internal.h"

#include <string.h>

/* A pass in which the encoder encodes. */
static keel_status look_merged(keel_encoder_training *run, const char *what, const size_t *at, size_t n,
                               keel_encoder_look *look, keel_err *err) {
    KEEL_TRY(keel_bert_merge(run->model->bert, err));
    keel_status status = keel__encoder_look_at(run->tuning, what, at, n, look, err);
    keel_bert_unmerge(run->model->bert);
    return status;
}

/* Vectors of the lessons' texts, one behind the other. */
static keel_status encode(const keel_encoder_tuning *tuning, keel_encoder_lesson *lesson, size_t n,
                          keel_arena *scratch, float **out, keel_err *err) {
    size_t texts = 0;
    for (size_t i = 0; i < n; i++) texts += 1 + lesson[i].texts.n_candidates;
    *out = keel_arena_alloc(scratch, texts * tuning->model->bert->config.hidden * sizeof **out);
    if (!*out) return keel_nomem(err, "encoder base");
    return keel__encoder_vectors(tuning->model, lesson, n, scratch, *out, err);
}

static keel_status keep_vectors(keel_encoder_tuning *tuning, const size_t *at, keel_encoder_lesson *lesson,
                                size_t n, keel_arena *scratch, keel_err *err) {
    float *all;
    for (size_t i = 0; i < n && !tuning->filled->candidates; i++) lesson[i].texts.n_candidates = 0;
    KEEL_TRY(encode(tuning, lesson, n, scratch, &all, err));
    for (size_t i = 0; i < n; i++) {
        const size_t size =
            (1 + lesson[i].texts.n_candidates) * tuning->model->bert->config.hidden * sizeof *all;
        float *kept = keel_calloc(1, size);
        if (!kept) return keel_nomem(err, "encoder base");
        memcpy(kept, all, size);
        tuning->filled->of[at[i]] = kept;
        all += size / sizeof *all;
    }
    return KEEL_OK;
}

/* Candidates of a unit whose vectors are kept. */
static size_t count_kept(const keel_encoder_tuning *tuning, const keel_encoder_vectors *vectors,
                         size_t unit) {
    const bool reads = keel__encoder_reads_candidates(tuning->model);
    const size_t offered = vectors->offers && reads ? tuning->job->n_fixed : 0;
    return vectors->candidates ? tuning->unit[unit].n_candidates + offered : 0;
}

keel_status keel__encoder_encode_missing(keel_encoder_training *run, const size_t *units, size_t n_units,
                                         keel_err *err) {
    keel_encoder_tuning *tuning = run->tuning;
    keel_encoder_vectors *to = tuning->filled = keel__encoder_vectors_of(run);
    const size_t budget = (size_t)keel__encoder_config(run)->common.memory_mb << 20,
                 hidden = run->model->bert->config.hidden;
    size_t n = 0, *missing = keel_calloc(n_units + 1, sizeof *missing);
    if (!to->of) to->of = keel_calloc(tuning->n + 1, sizeof *to->of);
    to->candidates = keel__encoder_reads(run);
    to->offers = keel__encoder_head_only(run);
    for (size_t i = 0; missing && to->of && i < n_units; i++) {
        const size_t size = (1 + count_kept(tuning, to, units[i])) * hidden * sizeof(float);
        if (to->of[units[i]] || to->bytes + size > budget) continue;
        missing[n++] = units[i];
        to->bytes += size;
    }
    keel_status status = missing && to->of ? KEEL_OK : keel_nomem(err, "encoder base");
    tuning->offers = to->offers;
    if (n > 0) status = look_merged(run, "encode", missing, n, keep_vectors, err);
    tuning->offers = false;
    keel_free(missing);
    return status;
}

/* Logits of a unit by the vectors [1 + n_candidates, hidden] of its texts. */
static void put_logits(keel_encoder_tuning *tuning, size_t unit, const float *vector, size_t n_candidates) {
    const keel_encoder_base *model = tuning->model;
    const size_t hidden = model->bert->config.hidden, first = tuning->unit[unit].first_candidate;
    keel__encoder_state_logits(model, vector, tuning->state_logits + unit * model->n_state);
    for (size_t k = 0; k < n_candidates; k++)
        keel__encoder_candidate_logits(model, vector, vector + (k + 1) * hidden,
                                       tuning->candidate_logits + (first + k) * model->n_candidate);
}

static keel_status keep_logits(keel_encoder_tuning *tuning, const size_t *at, keel_encoder_lesson *lesson,
                               size_t n, keel_arena *scratch, keel_err *err) {
    float *vector;
    KEEL_TRY(encode(tuning, lesson, n, scratch, &vector, err));
    for (size_t i = 0; i < n; i++) {
        put_logits(tuning, at[i], vector, lesson[i].texts.n_candidates);
        vector += (1 + lesson[i].texts.n_candidates) * tuning->model->bert->config.hidden;
    }
    return KEEL_OK;
}

/* The same of units whose vectors are at hand; the others stay in the list. */
static keel_status judge_vectors(keel_encoder_training *run, size_t *units, size_t *n, keel_err *err) {
    keel_encoder_tuning *tuning = run->tuning;
    const keel_encoder_vectors *known = keel__encoder_vectors_of(run);
    size_t left = 0;
    KEEL_TRY(keel__encoder_encode_missing(run, units, *n, err));
    for (size_t i = 0; i < *n; i++) {
        const float *vectors = known->of[units[i]];
        if (vectors)
            put_logits(tuning, units[i], vectors, count_kept(tuning, known, units[i]));
        else
            units[left++] = units[i];
    }
    *n = left;
    return KEEL_OK;
}

keel_status keel__encoder_judge(keel_encoder_training *run, keel_err *err) {
    keel_encoder_tuning *tuning = run->tuning;
    const bool all = run->at[LEFT_OUT] == keel__encoder_config(run)->folds;
    size_t *list = keel_calloc(tuning->n + 1, sizeof *list), n = 0;
    keel_status status = list ? KEEL_OK : keel_nomem(err, "encoder base");
    for (size_t i = 0; list && i < tuning->n; i++)
        if (all || (int64_t)tuning->unit[i].fold == run->at[LEFT_OUT]) list[n++] = i;
    if (list && keel__encoder_head_only(run)) status = judge_vectors(run, list, &n, err);
    tuning->offers = true;
    if (status == KEEL_OK && n > 0) status = look_merged(run, "judge the fold", list, n, keep_logits, err);
    tuning->offers = false;
    keel_free(list);
    return status;
}
