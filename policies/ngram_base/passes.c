/* Passes over the tuning split: counting n-grams, fitting the linear probes, standardising scalar features.
 */
#include <math.h>
#include <string.h>

#include "core/hash.h"
#include "core/interrupt.h"
#include "core/progress.h"
#include "policies/ngram_base/encode.h"
#include "policies/ngram_base/example.h"
#include "policies/ngram_base/passes.h"
#include "policies/preference.h"

enum { AT_ONCE = 64 }; /* examples in memory at a time; the result does not depend on it */

typedef keel_status keel_look(void *context, const keel_example *example, keel_err *err);

/* Calls look for each example of the corpus, in the order of the corpus. The result of a pass must not depend
 * on that order. */
static keel_status look_at_all(keel_tuning *tuning, const char *what, keel_look *look, void *context,
                               keel_err *err) {
    keel_example_reader reader;
    keel_progress progress;
    size_t place[AT_ONCE], done = 0;
    KEEL_TRY(keel__ngram_base_reader_open(&reader, tuning, AT_ONCE, err));
    keel_status status = KEEL_OK;
    keel_progress_start(&progress, what, tuning->corpus->count);
    while (done < tuning->corpus->count && status == KEEL_OK) {
        size_t n = tuning->corpus->count - done < AT_ONCE ? tuning->corpus->count - done : AT_ONCE;
        for (size_t i = 0; i < n; i++) place[i] = done + i;
        status = keel_interrupted()
                     ? keel_fail(err, KEEL_E_INTERRUPTED, what, "stopped after %zu conversations", done)
                     : keel__ngram_base_fetch(&reader, place, n, err);
        for (size_t i = 0; i < n && status == KEEL_OK; i++) status = look(context, reader.example[i], err);
        keel_progress_step(&progress, done += n, NULL);
    }
    keel_progress_end(&progress, done);
    keel__ngram_base_reader_close(&reader);
    return status;
}

/* ---- counting ---- */

typedef struct counting {
    int32_t *frequency; /* [buckets] */
    int64_t documents[KEEL_N_FIELDS];
} counting;

static void count_bag(counting *to, int field, const keel_bag *bag) {
    to->documents[field] += bag->count > 0;
    for (size_t j = 0; j < bag->count; j++) {
        int32_t *frequency = &to->frequency[bag->row[j]];
        if (*frequency < INT32_MAX) ++*frequency;
    }
}

static keel_status count_example(void *context, const keel_example *example, keel_err *err) {
    (void)err;
    for (size_t i = 0; i < example->n_lessons; i++) {
        const keel_ngram_sample *sample = &example->lesson[i].sample;
        for (int field = 0; field < KEEL_N_STATE_FIELDS; field++)
            count_bag(context, field, &sample->field[field]);
        for (size_t j = 0; j < sample->n_candidates; j++)
            for (int k = 0; k < KEEL_N_CANDIDATE_FIELDS; k++)
                count_bag(context, KEEL_FIELD_TEXT + k, &sample->candidate[j].field[k]);
    }
    return KEEL_OK;
}

/* Adds the counts of the base to go on from. */
static void add_earlier(counting *to, const keel_ngram_base *from) {
    for (size_t i = 0; i < from->rows; i++) {
        int64_t sum = (int64_t)to->frequency[from->bucket_of[i]] + from->frequency[i];
        to->frequency[from->bucket_of[i]] = sum < INT32_MAX ? (int32_t)sum : INT32_MAX;
    }
    for (int field = 0; field < KEEL_N_FIELDS; field++) to->documents[field] += from->documents[field];
}

static keel_status make_rows(keel_ngram_base *model, const counting *counts, keel_err *err) {
    size_t rows = 0, at = 0;
    for (size_t i = 0; i < model->rules.buckets; i++) rows += counts->frequency[i] > 0;
    KEEL_TRY(keel__ngram_base_room(model, rows, err));
    for (size_t i = 0; i < model->rules.buckets; i++) {
        if (counts->frequency[i] == 0) continue;
        model->bucket_of[at] = (int32_t)i;
        model->frequency[at++] = counts->frequency[i];
    }
    memcpy(model->documents, counts->documents, sizeof counts->documents);
    keel__ngram_base_index(model);
    return KEEL_OK;
}

/* New embeddings are small compared with the size of an update; those of the base to go on from are kept. */
static void fill_table(keel_ngram_base *model, const keel_ngram_base *from) {
    size_t dim = (size_t)model->config.dim;
    keel_rng rng = keel_rng_stream((uint64_t)model->config.common.seed, KEEL_STREAM_BASE_EMBEDDING, 0);
    for (size_t i = 0; i < model->rows; i++) {
        int32_t known = from ? from->bucket[model->bucket_of[i]].row : -1;
        for (size_t d = 0; d < dim; d++)
            model->table[i * dim + d] = (float)(0.2 * keel_rng_uniform(&rng) - 0.1);
        if (known >= 0)
            memcpy(model->table + i * dim, from->table + (size_t)known * dim, dim * sizeof(float));
    }
}

keel_status keel__ngram_base_count(keel_tuning *tuning, keel_err *err) {
    keel_ngram_base *model = tuning->model;
    const keel_ngram_base *from = tuning->from;
    counting *counts = keel_calloc(1, sizeof *counts);
    if (counts) counts->frequency = keel_calloc(model->rules.buckets, sizeof *counts->frequency);
    keel_status status = counts && counts->frequency ? KEEL_OK : keel_nomem(err, "n-gram base");
    if (status == KEEL_OK) status = look_at_all(tuning, "count n-grams", count_example, counts, err);
    tuning->corpus->forget(tuning->corpus);
    if (status == KEEL_OK && from) add_earlier(counts, from);
    if (status == KEEL_OK) status = make_rows(model, counts, err);
    if (status == KEEL_OK) fill_table(model, from);
    if (counts) keel_free(counts->frequency);
    keel_free(counts);
    return status;
}

/* ---- linear probes ---- */

static keel_tri risk_label(keel_risk risk) {
    return risk == KEEL_RISK_UNKNOWN ? KEEL_UNKNOWN : risk == KEEL_RISK_DANGEROUS ? KEEL_YES : KEEL_NO;
}

static keel_tri outcome_label(keel_outcome outcome, keel_outcome asked) {
    return outcome == KEEL_OUTCOME_NONE ? KEEL_UNKNOWN : outcome == asked ? KEEL_YES : KEEL_NO;
}

static uint64_t lesson_name(const keel_example *example, size_t lesson) {
    return keel_hash64_mix(example->name, lesson);
}

static keel_status add_state_rows(void *context, const keel_example *example, keel_err *err) {
    for (size_t i = 0; i < example->n_lessons; i++) {
        const keel_lesson *lesson = &example->lesson[i];
        keel_linear_probes_row row = keel__ngram_base_state_row(&lesson->sample);
        row.label[0] = risk_label(example->risk);
        if (lesson->soft) row.taught = &lesson->soft->risk;
        KEEL_TRY(
            keel_linear_probes_add(context, lesson_name(example, i), example->group, &row, 1, NULL, 0, err));
    }
    return KEEL_OK;
}

static keel_candidate candidate_of(const keel_lesson *lesson, size_t i) {
    return (keel_candidate){.taken = lesson->taken[i], .feedback = lesson->feedback[i]};
}

static size_t list_pairs(const keel_lesson *lesson, keel_linear_probes_pair *out) {
    size_t n = 0, count = lesson->sample.n_candidates;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < count; j++) {
            const keel_candidate a = candidate_of(lesson, i), b = candidate_of(lesson, j);
            if (keel_preference(&a, &b))
                out[n++] = (keel_linear_probes_pair){KEEL_PROBE_PREFERENCE, (uint32_t)i, (uint32_t)j};
        }
    return n;
}

/* What the teacher says of a candidate, by probe. */
static void taught_of(const keel_soft_label *soft, size_t candidate, float out[KEEL_N_CANDIDATE_PROBES]) {
    for (size_t k = 0; k < KEEL_N_CANDIDATE_PROBES; k++) out[k] = NAN;
    out[KEEL_PROBE_RISK] = soft->risk;
    if (!soft->outcomes) return;
    out[KEEL_PROBE_REFUSAL] = soft->outcomes[2 * candidate];
    out[KEEL_PROBE_COMPLIANCE] = soft->outcomes[2 * candidate + 1];
}

static keel_status add_lesson(keel_linear_probes_builder *builder, const keel_example *example, size_t at,
                              keel_err *err) {
    const keel_lesson *lesson = &example->lesson[at];
    size_t n = lesson->sample.n_candidates;
    keel_linear_probes_row *rows = keel_calloc(n, sizeof *rows);
    keel_linear_probes_pair *pairs = keel_calloc(n * n, sizeof *pairs);
    float(*taught)[KEEL_N_CANDIDATE_PROBES] = keel_calloc(n, sizeof *taught);
    keel_status status = rows && pairs && taught ? KEEL_OK : keel_nomem(err, "n-gram base");
    for (size_t i = 0; status == KEEL_OK && i < n; i++) {
        keel_outcome outcome = (keel_outcome)lesson->outcome[i];
        rows[i] = keel__ngram_base_candidate_row(&lesson->sample.candidate[i]);
        rows[i].label[KEEL_PROBE_REFUSAL] = outcome_label(outcome, KEEL_OUTCOME_REFUSAL);
        rows[i].label[KEEL_PROBE_COMPLIANCE] = outcome_label(outcome, KEEL_OUTCOME_COMPLIANCE);
        rows[i].label[KEEL_PROBE_RISK] = risk_label(example->risk);
        if (lesson->soft) taught_of(lesson->soft, i, taught[i]);
        if (lesson->soft) rows[i].taught = taught[i];
    }
    if (status == KEEL_OK)
        status = keel_linear_probes_add(builder, lesson_name(example, at), example->group, rows, n, pairs,
                                        list_pairs(lesson, pairs), err);
    keel_free(taught);
    keel_free(pairs);
    keel_free(rows);
    return status;
}

static keel_status add_candidate_rows(void *context, const keel_example *example, keel_err *err) {
    for (size_t i = 0; i < example->n_lessons; i++) KEEL_TRY(add_lesson(context, example, i, err));
    return KEEL_OK;
}

/* Of the candidates' probes, or of the states'. */
static keel_linear_probes_config heads_config(const keel_ngram_base *model, bool candidates) {
    keel_linear_probes_config config = keel_linear_probes_standard;
    config.n_ids = model->rules.buckets;
    config.folds = (size_t)model->config.head_folds;
    config.seed = (uint64_t)model->config.common.seed;
    config.n_dense = candidates ? KEEL_N_EXTRAS : 0;
    config.distil = model->config.common.distil;
    config.temperature = model->config.common.distil_temperature;
    config.n_heads = candidates ? KEEL_N_CANDIDATE_PROBES : KEEL_N_STATE_PROBES;
    for (size_t i = 0; i < config.n_heads; i++) config.head[i].lambda = model->config.label_l2;
    config.head[candidates ? KEEL_PROBE_RISK : 0].lambda = model->config.risk_l2;
    if (candidates) config.head[KEEL_PROBE_PREFERENCE].ranks = true;
    return config;
}

static keel_status fit_heads(keel_tuning *tuning, bool candidates, keel_err *err) {
    keel_ngram_base *model = tuning->model;
    keel_linear_probes_config config = heads_config(model, candidates);
    const char *checkpoint =
        tuning->job->checkpoint[candidates ? KEEL_CHECKPOINT_CANDIDATES : KEEL_CHECKPOINT_STATES];
    keel_linear_probes_builder *builder;
    keel_status status = KEEL_OK;
    KEEL_TRY(keel_linear_probes_builder_open(&builder, &config, err));
    if (candidates || tuning->soft || tuning->corpus->counts.with_risk > 0)
        status = look_at_all(tuning, "read labels", candidates ? add_candidate_rows : add_state_rows, builder,
                             err);
    if (status == KEEL_OK)
        status = keel_linear_probes_fit(builder, tuning->job->pool, checkpoint, tuning->job->identity,
                                        candidates ? &model->candidate_heads : &model->state_heads, err);
    keel_linear_probes_builder_close(builder);
    return status;
}

keel_status keel__ngram_base_fit_heads(keel_tuning *tuning, keel_err *err) {
    KEEL_TRY(fit_heads(tuning, false, err));
    return tuning->model->base.space == KEEL_SPACE_CANDIDATES ? fit_heads(tuning, true, err) : KEEL_OK;
}

/* ---- standardisation ---- */

enum { N_SCALARS = KEEL_STATE_SCALARS + KEEL_CANDIDATE_SCALARS };

typedef struct scaling {
    const keel_ngram_base *model;
    double sum[N_SCALARS], square[N_SCALARS]; /* of states, then of candidates */
    double n_states, n_candidates;
} scaling;

/* Adds numbers rounded to multiples of 2^-14: sums of some millions of them are exact in any order. */
static void add_moments(double *sum, double *square, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        double rounded = rint((double)x[i] * 0x1p14) * 0x1p-14;
        sum[i] += rounded;
        square[i] += rounded * rounded;
    }
}

static keel_status add_scalars(void *context, const keel_example *example, keel_err *err) {
    scaling *to = context;
    float scalars[N_SCALARS];
    (void)err;
    for (size_t i = 0; i < example->n_lessons; i++) {
        const keel_ngram_sample *sample = &example->lesson[i].sample;
        keel__ngram_base_state_scalars(to->model, sample, example->group, scalars);
        add_moments(to->sum, to->square, scalars, KEEL_STATE_SCALARS);
        to->n_states++;
        for (size_t j = 0; j < sample->n_candidates; j++) {
            keel__ngram_base_candidate_scalars(to->model, &sample->candidate[j], example->group, scalars);
            add_moments(to->sum + KEEL_STATE_SCALARS, to->square + KEEL_STATE_SCALARS, scalars,
                        KEEL_CANDIDATE_SCALARS);
            to->n_candidates++;
        }
    }
    return KEEL_OK;
}

/* A constant number gets scale 0, so that its feature is 0. */
static void finish_moments(const double *sum, const double *square, double n, size_t count, float *mean,
                           float *scale) {
    for (size_t i = 0; n > 0 && i < count; i++) {
        double average = sum[i] / n, variance = square[i] / n - average * average;
        mean[i] = (float)average;
        scale[i] = variance > 1e-10 ? (float)(1 / sqrt(variance)) : 0;
    }
}

keel_status keel__ngram_base_scale(keel_tuning *tuning, keel_err *err) {
    keel_ngram_base *model = tuning->model;
    scaling to = {.model = model};
    KEEL_TRY(look_at_all(tuning, "scale features", add_scalars, &to, err));
    finish_moments(to.sum, to.square, to.n_states, KEEL_STATE_SCALARS, model->state_mean, model->state_scale);
    finish_moments(to.sum + KEEL_STATE_SCALARS, to.square + KEEL_STATE_SCALARS, to.n_candidates,
                   KEEL_CANDIDATE_SCALARS, model->candidate_mean, model->candidate_scale);
    return KEEL_OK;
}
