#include "rewards/judge.h"

#include <math.h>
#include <string.h>

#include "core/hash.h"
#include "core/memory.h"
#include "core/numeric.h"
#include "rewards/judge_internal.h"

/* ---- the table ---- */

#define POINT(kind) &keel_judge_##kind,
const keel_judge_kind *const keel_judge_kinds[] = {KEEL_JUDGES(POINT) NULL};

const keel_judge_kind *keel_judge_find(const char *name) {
    for (const keel_judge_kind *const *kind = keel_judge_kinds; *kind; kind++)
        if (strcmp((*kind)->name, name) == 0) return *kind;
    return NULL;
}

/* ---- fitting and judging ---- */

static const char *missing_input(const keel_judge_kind *kind, const keel_judge_input *input) {
    const bool response = kind->judged == KEEL_JUDGED_OUTCOME || kind->judged == KEEL_JUDGED_HARM;
    if (response) return input->response ? NULL : "no response";
    return input->n_turns > 0 ? NULL : "no turns";
}

static keel_status check_examples(const keel_judge_kind *kind, const keel_judge_example *examples,
                                  size_t count, keel_err *err) {
    for (size_t i = 0; i < count; i++) {
        const char *missing = missing_input(kind, &examples[i].input);
        if (missing) return keel_fail(err, KEEL_E_INVALID, kind->name, "example %zu has %s", i, missing);
        if (examples[i].label < 0 || (size_t)examples[i].label >= kind->n_classes)
            return keel_fail(err, KEEL_E_INVALID, kind->name, "example %zu has no label (%d)", i,
                             examples[i].label);
    }
    return KEEL_OK;
}

keel_status keel_judge_fit(keel_judge **out, const keel_judge_kind *kind, const keel_judge_example *examples,
                           size_t count, keel_err *err) {
    KEEL_TRY(check_examples(kind, examples, count, err));
    KEEL_TRY(kind->fit(out, examples, count, err));
    (*out)->kind = kind;
    return KEEL_OK;
}

keel_status keel_judge_predict(const keel_judge *judge, const keel_judge_input *input,
                               keel_judge_verdict *out, keel_err *err) {
    const char *missing = missing_input(judge->kind, input);
    const size_t k = judge->kind->n_classes;
    if (missing) return keel_fail(err, KEEL_E_INVALID, judge->kind->name, "what is judged has %s", missing);
    KEEL_TRY(judge->kind->predict(judge, input, out, err));
    const keel_judge_held_out *held_out =
        input->response && judge->n_held_out
            ? keel__judge_find_held_out(judge, keel__judge_hash(input->response))
            : NULL;
    if (held_out) {
        memcpy(out->p, held_out->p, k * sizeof *out->p);
        out->label = held_out->label;
    } else if (judge->calibrated) {
        keel__judge_calibrate(&judge->calibration, k, out->p);
        if (out->label != KEEL_UNJUDGED) out->label = keel__judge_label(&judge->calibration, k, out->p);
    }
    return KEEL_OK;
}

void keel_judge_free(keel_judge *judge) {
    if (!judge) return;
    keel_free(judge->held_out);
    judge->kind->free(judge);
}

/* ---- what it learned from ---- */

uint64_t keel__judge_hash(const char *response) {
    return keel_hash64(response, strlen(response), 0);
}

const keel_judge_held_out *keel__judge_find_held_out(const keel_judge *judge, uint64_t response) {
    size_t low = 0, high = judge->n_held_out;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (judge->held_out[middle].response < response)
            low = middle + 1;
        else
            high = middle;
    }
    const bool found = low < judge->n_held_out && judge->held_out[low].response == response;
    return found ? &judge->held_out[low] : NULL;
}

bool keel_judge_remembers(const keel_judge *judge, const char *response) {
    return keel__judge_find_held_out(judge, keel__judge_hash(response)) != NULL;
}

/* ---- calibration ---- */

void keel__judge_calibrate(const keel_judge_calibration *calibration, size_t n_classes, float *p) {
    for (size_t k = 0; k < n_classes; k++)
        p[k] = (float)(calibration->slope * log(fmax((double)p[k], KEEL_JUDGE_LEAST_P)));
    keel_softmax(p, n_classes, p);
}

int keel__judge_label(const keel_judge_calibration *calibration, size_t n_classes, const float *q) {
    size_t best = 0;
    for (size_t k = 1; k < n_classes; k++)
        if (q[k] > q[best]) best = k;
    return fmax((double)q[0], 1 - (double)q[0]) < calibration->least ? KEEL_UNJUDGED : (int)best;
}

/* ---- validation ---- */

/* seen [slots]: an open-addressing table of the first example of each group, plus one. */
static size_t number_groups(const keel_judge_example *examples, size_t count, size_t folds, size_t *fold,
                            size_t *seen, size_t slots) {
    size_t groups = 0;
    for (size_t i = 0; i < count; i++) {
        size_t at = (size_t)(keel_hash64_mix(examples[i].group, 0) % slots);
        while (seen[at] && examples[seen[at] - 1].group != examples[i].group) at = (at + 1) % slots;
        fold[i] = seen[at] ? fold[seen[at] - 1] : groups++ % folds;
        if (!seen[at]) seen[at] = i + 1;
    }
    return groups;
}

keel_status keel__judge_folds(const keel_judge_example *examples, size_t count, size_t folds, size_t *fold,
                              keel_err *err) {
    size_t slots;
    if (folds < 2)
        return keel_fail(err, KEEL_E_INVALID, "judge", "expected at least 2 folds, got %zu", folds);
    size_t *seen = keel_size_mul(count + 1, 2, &slots) ? keel_calloc(slots, sizeof *seen) : NULL;
    if (!seen) return keel_nomem(err, "folds of examples");
    const size_t groups = number_groups(examples, count, folds, fold, seen, slots);
    keel_free(seen);
    if (groups < folds)
        return keel_fail(err, KEEL_E_INVALID, "judge", "%zu folds need as many groups, got %zu", folds,
                         groups);
    return KEEL_OK;
}

static keel_status judge_fold(const keel_judge_kind *kind, const keel_judge *from,
                              const keel_judge_example *examples, size_t count, const size_t *fold,
                              size_t held_out, keel_judge_example *training, keel_judge_verdict *out,
                              keel_err *err) {
    keel_judge *judge;
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (fold[i] != held_out) training[n++] = examples[i];
    if (from && kind->adapt)
        KEEL_TRY(kind->adapt(&judge, from, training, n, err));
    else
        KEEL_TRY(kind->fit(&judge, training, n, err));
    judge->kind = kind;
    keel_status status = KEEL_OK;
    for (size_t i = 0; i < count && status == KEEL_OK; i++)
        if (fold[i] == held_out) status = kind->predict(judge, &examples[i].input, &out[i], err);
    keel_judge_free(judge);
    return status;
}

keel_status keel__judge_cross_validate(const keel_judge_kind *kind, const keel_judge *from,
                                       const keel_judge_example *examples, size_t count, size_t folds,
                                       const size_t *fold, keel_judge_verdict *out, keel_err *err) {
    KEEL_TRY(check_examples(kind, examples, count, err));
    keel_judge_example *training = keel_calloc(count, sizeof *training);
    keel_status status = training ? KEEL_OK : keel_nomem(err, "validation of a judge");
    for (size_t f = 0; f < folds && status == KEEL_OK; f++)
        status = judge_fold(kind, from, examples, count, fold, f, training, out, err);
    keel_free(training);
    return status;
}

keel_status keel_judge_cross_validate(const keel_judge_kind *kind, const keel_judge_example *examples,
                                      size_t count, size_t folds, keel_judge_verdict *out, keel_err *err) {
    size_t *fold = keel_calloc(count, sizeof *fold);
    keel_status status = fold ? KEEL_OK : keel_nomem(err, "validation of a judge");
    if (status == KEEL_OK) status = keel__judge_folds(examples, count, folds, fold, err);
    if (status == KEEL_OK)
        status = keel__judge_cross_validate(kind, NULL, examples, count, folds, fold, out, err);
    keel_free(fold);
    return status;
}

/* The share on the diagonal of a table [k, k]. */
static double accuracy_of(const double *table, size_t k) {
    double n = 0, agreed = 0;
    for (size_t i = 0; i < k * k; i++) n += table[i];
    for (size_t i = 0; i < k; i++) agreed += table[i * k + i];
    return agreed / n;
}

double keel_judge_kappa(const double *table, size_t k) {
    double n = 0, expected = 0;
    for (size_t i = 0; i < k * k; i++) n += table[i];
    for (size_t i = 0; i < k; i++) {
        double row = 0, column = 0;
        for (size_t j = 0; j < k; j++) row += table[i * k + j], column += table[j * k + i];
        expected += row / n * (column / n);
    }
    return expected < 1 ? (accuracy_of(table, k) - expected) / (1 - expected) : 1;
}

keel_judge_agreement keel_judge_agree(const keel_judge_kind *kind, const keel_judge_example *examples,
                                      const keel_judge_verdict *verdicts, size_t count) {
    enum { MOST = KEEL_JUDGE_MAX_CLASSES + 1, ANY = 3 };
    const size_t k = kind->n_classes + 1; /* the last: unjudged */
    double all[MOST * MOST] = {0}, any[ANY * ANY] = {0};
    keel_judge_agreement out = {.n = count};
    for (size_t i = 0; i < count; i++) {
        const bool judged = verdicts[i].label != KEEL_UNJUDGED;
        const size_t label = (size_t)examples[i].label, verdict = judged ? (size_t)verdicts[i].label : k - 1;
        all[label * k + verdict] += 1;
        any[(size_t)(label > 0) * ANY + (judged ? verdict > 0 : ANY - 1)] += 1;
        out.unjudged += !judged;
    }
    out.any_accuracy = accuracy_of(any, ANY);
    out.any_kappa = keel_judge_kappa(any, ANY);
    out.accuracy = accuracy_of(all, k);
    out.kappa = keel_judge_kappa(all, k);
    return out;
}
