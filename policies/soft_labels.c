#include "policies/soft_labels.h"

#include <math.h>
#include <string.h>

#include "core/numeric.h"
#include "policies/corpus_pass.h"

typedef struct asking {
    const keel_base_tuning *job;
    const char *who;
    keel_soft_labels *to;
    bool vectors;
    int32_t *act; /* fixed spaces: [teacher's n_acts] place among the student's, or -1 */
    keel_base_opinion *opinion[KEEL_PASS_ONCE];
} asking;

/* ---- whether it fits ---- */

static keel_status map_acts(asking *a, keel_err *err) {
    const keel_base *teacher = a->job->teacher_base;
    size_t known = 0;
    a->act = keel_arena_calloc(&a->to->arena, teacher->n_acts + 1, sizeof *a->act);
    if (!a->act) return keel_nomem(err, a->who);
    for (size_t i = 0; i < teacher->n_acts; i++) {
        a->act[i] = -1;
        for (size_t k = 0; k < a->job->n_acts && a->act[i] < 0; k++)
            if (strcmp(teacher->acts[i], a->job->acts[k]) == 0) a->act[i] = (int32_t)k;
        known += a->act[i] >= 0;
    }
    if (known > 0 || a->job->space == KEEL_SPACE_CANDIDATES) return KEEL_OK;
    return keel_fail(err, KEEL_E_CONFLICT, a->who, "the teacher's base knows none of the acts of %s",
                     a->job->corpus->name);
}

static keel_status check(const asking *a, keel_err *err) {
    const keel_base *teacher = a->job->teacher_base;
    if (!teacher->kind->opinion) {
        keel_fail(err, KEEL_E_UNSUPPORTED, a->who, "a base of type \"%s\" cannot teach it",
                  teacher->kind->type);
        return keel_hint(err, "a teacher is an encoder that `keel sft` tuned");
    }
    if (teacher->space == a->job->space) return KEEL_OK;
    keel_fail(err, KEEL_E_CONFLICT, a->who, "the teacher's base is over %s, and this one is to be over %s",
              keel_space_name(teacher->space), keel_space_name(a->job->space));
    return keel_hint(err, "use --set action_space=%s", keel_space_name(teacher->space));
}

/* ---- one decision ---- */

/* Probabilities of n logits at the temperature. */
static void soften(const float *logits, size_t n, double temperature, float *out) {
    for (size_t i = 0; i < n; i++) out[i] = (float)((double)logits[i] / temperature);
    keel_softmax(out, n, out);
}

/* Acts that the student does not know are left out, those that the teacher does not know are impossible. */
static keel_status put_prior(const asking *a, const float *log_prior, size_t own, keel_soft_label *out,
                             keel_err *err) {
    const bool sets = a->job->space == KEEL_SPACE_CANDIDATES;
    const size_t n = sets ? own : a->job->n_acts;
    if (!log_prior || n == 0) return KEEL_OK;
    float *prior = keel_arena_alloc(&a->to->arena, n * sizeof *prior);
    if (!prior) return keel_nomem(err, a->who);
    for (size_t i = 0; i < n; i++) prior[i] = sets ? log_prior[i] : -INFINITY;
    for (size_t i = 0; !sets && i < a->job->teacher_base->n_acts; i++)
        if (a->act[i] >= 0) prior[a->act[i]] = log_prior[i];
    soften(prior, n, a->job->config->distil_temperature, prior);
    out->prior = prior;
    return KEEL_OK;
}

static keel_status put_vector(const asking *a, const float *vector, keel_soft_label *out, keel_err *err) {
    const size_t n = a->job->teacher_base->vector_width;
    double square = 0;
    float *unit = keel_arena_alloc(&a->to->arena, (n + 1) * sizeof *unit);
    if (!unit) return keel_nomem(err, a->who);
    for (size_t i = 0; i < n; i++) square += (double)vector[i] * (double)vector[i];
    for (size_t i = 0; i < n; i++) unit[i] = (float)((double)vector[i] / fmax(sqrt(square), 1e-12));
    out->vector = unit;
    return KEEL_OK;
}

static keel_status put_label(const asking *a, const keel_base_opinion *opinion, const keel_decision *decision,
                             keel_soft_label *out, keel_err *err) {
    const size_t own = decision->n_candidates;
    *out = (keel_soft_label){.risk = opinion->risk};
    KEEL_TRY(put_prior(a, opinion->log_prior, own, out, err));
    if (opinion->outcomes && own > 0) {
        float *outcomes = keel_arena_alloc(&a->to->arena, 2 * own * sizeof *outcomes);
        if (!outcomes) return keel_nomem(err, a->who);
        memcpy(outcomes, opinion->outcomes, 2 * own * sizeof *outcomes);
        out->outcomes = outcomes;
    }
    if (a->vectors && opinion->vector) KEEL_TRY(put_vector(a, opinion->vector, out, err));
    a->to->decisions++;
    a->to->taught += !isnan(out->risk) || out->prior || out->outcomes;
    return KEEL_OK;
}

/* ---- all of them ---- */

static keel_status ask_one(void *context, const keel_corpus_some *some, size_t i, keel_err *err) {
    asking *a = context;
    const keel_base *teacher = a->job->teacher_base;
    const size_t n = some->read[i]->n_decisions;
    a->opinion[i] = keel_arena_calloc(&some->arena[i], n + 1, sizeof *a->opinion[i]);
    if (!a->opinion[i]) return keel_nomem(err, a->who);
    return n ? teacher->kind->opinion(teacher, some->read[i], &some->arena[i], a->opinion[i], err) : KEEL_OK;
}

static keel_status keep_one(asking *a, const keel_conversation *conversation, size_t place,
                            const keel_base_opinion *opinion, keel_err *err) {
    keel_soft_label *label = keel_arena_calloc(&a->to->arena, conversation->n_decisions + 1, sizeof *label);
    if (!label) return keel_nomem(err, a->who);
    a->to->of[place] = label;
    for (size_t d = 0; d < conversation->n_decisions; d++)
        KEEL_TRY(put_label(a, &opinion[d], &conversation->decisions[d], &label[d], err));
    return KEEL_OK;
}

static keel_status keep_some(void *context, const keel_corpus_some *some, keel_err *err) {
    asking *a = context;
    for (size_t i = 0; i < some->n; i++)
        KEEL_TRY(keep_one(a, some->read[i], some->place[i], a->opinion[i], err));
    return KEEL_OK;
}

static keel_status ask_all(asking *a, keel_err *err) {
    const keel_corpus_pass pass = {.what = "ask the teacher",
                                   .who = "ask the teacher",
                                   .look = ask_one,
                                   .take = keep_some,
                                   .context = a};
    return keel_corpus_pass_run(&pass, a->job->corpus, a->job->pool, err);
}

keel_status keel_soft_labels_ask(keel_soft_labels **out, const keel_base_tuning *job, const char *who,
                                 bool vectors, keel_err *err) {
    *out = NULL;
    if (!job->teacher_base) return KEEL_OK;
    asking *a = keel_calloc(1, sizeof *a);
    keel_soft_labels *labels = keel_calloc(1, sizeof *labels);
    keel_status status = a && labels ? KEEL_OK : keel_nomem(err, who);
    if (status == KEEL_OK) {
        *a = (asking){.job = job, .who = who, .to = labels, .vectors = vectors};
        labels->of = keel_arena_calloc(&labels->arena, job->corpus->count + 1, sizeof *labels->of);
        status = labels->of ? check(a, err) : keel_nomem(err, who);
    }
    if (status == KEEL_OK) status = map_acts(a, err);
    if (status == KEEL_OK) status = ask_all(a, err);
    keel_free(a);
    if (status == KEEL_OK)
        *out = labels;
    else
        keel_soft_labels_free(labels);
    return status;
}

void keel_soft_labels_free(keel_soft_labels *labels) {
    if (!labels) return;
    keel_arena_free(&labels->arena);
    keel_free(labels);
}

/* ---- use ---- */

const keel_soft_label *keel_soft_label_of(const keel_soft_labels *labels, size_t place, size_t decision) {
    return labels ? &labels->of[place][decision] : NULL;
}

double keel_soft_label_share(bool taught, bool labelled, double distil) {
    return !taught ? 0 : labelled ? distil : 1;
}

void keel_soft_label_outcome(const float log_odds[2], double temperature, float out[KEEL_N_OUTCOMES]) {
    double refusal = 1 / (1 + exp(-(double)log_odds[0])), compliance = 1 / (1 + exp(-(double)log_odds[1]));
    double sum = refusal + compliance;
    if (sum > 1) { /* by rounding alone: the third is never below 0 */
        refusal /= sum;
        compliance /= sum;
    }
    const double p[KEEL_N_OUTCOMES] = {compliance, fmax(0, 1 - refusal - compliance), refusal};
    float logits[KEEL_N_OUTCOMES];
    for (size_t i = 0; i < KEEL_N_OUTCOMES; i++) logits[i] = (float)log(fmax(p[i], 1e-30));
    soften(logits, KEEL_N_OUTCOMES, temperature, out);
}
