#include "rewards/judge.h"

#include <string.h>

#include "core/hash.h"
#include "core/memory.h"
#include "core/safetensors.h"

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

keel_status keel_judge_fit(keel_judge **out, const keel_judge_kind *kind, const keel_judge_example *examples,
                           size_t count, keel_err *err) {
    for (size_t i = 0; i < count; i++) {
        const char *missing = missing_input(kind, &examples[i].input);
        if (missing) return keel_fail(err, KEEL_E_INVALID, kind->name, "example %zu has %s", i, missing);
        if (examples[i].label < 0 || (size_t)examples[i].label >= kind->n_classes)
            return keel_fail(err, KEEL_E_INVALID, kind->name, "example %zu has no label (%d)", i,
                             examples[i].label);
    }
    KEEL_TRY(kind->fit(out, examples, count, err));
    (*out)->kind = kind;
    return KEEL_OK;
}

keel_status keel_judge_predict(const keel_judge *judge, const keel_judge_input *input,
                               keel_judge_verdict *out, keel_err *err) {
    const char *missing = missing_input(judge->kind, input);
    if (missing) return keel_fail(err, KEEL_E_INVALID, judge->kind->name, "what is judged has %s", missing);
    return judge->kind->predict(judge, input, out, err);
}

void keel_judge_free(keel_judge *judge) {
    if (judge) judge->kind->free(judge);
}

/* ---- files ---- */

keel_status keel_judge_save(const keel_judge *judge, const char *path, keel_err *err) {
    const char *const metadata[] = {"judge", judge->kind->name, "name", judge->name, NULL};
    return judge->kind->save(judge, path, metadata, err);
}

static keel_status load_kind(keel_judge **out, const keel_safetensors *file, keel_err *err) {
    const char *name = keel_safetensors_metadata(file, "judge");
    if (!name) return keel_fail(err, KEEL_E_INVALID, file->path, "no saved judge: its header names no kind");
    const keel_judge_kind *kind = keel_judge_find(name);
    if (!kind) {
        keel_fail(err, KEEL_E_UNSUPPORTED, file->path, "\"%s\" is no kind of judge that this build has",
                  name);
        return keel_hint(
            err, "fit it anew and save it: keel label --save-judge (version 0.1 wrote another format)");
    }
    KEEL_TRY(kind->load(out, file, err));
    (*out)->kind = kind;
    return KEEL_OK;
}

keel_status keel_judge_load(keel_judge **out, const char *path, keel_err *err) {
    keel_safetensors file;
    KEEL_TRY(keel_safetensors_read(path, &file, err));
    const keel_status status = load_kind(out, &file, err);
    keel_safetensors_free(&file);
    return status;
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

static keel_status assign_folds(const keel_judge_example *examples, size_t count, size_t folds, size_t *fold,
                                keel_err *err) {
    size_t slots;
    size_t *seen = keel_size_mul(count + 1, 2, &slots) ? keel_calloc(slots, sizeof *seen) : NULL;
    if (!seen) return keel_nomem(err, "folds of examples");
    const size_t groups = number_groups(examples, count, folds, fold, seen, slots);
    keel_free(seen);
    if (groups < folds)
        return keel_fail(err, KEEL_E_INVALID, "judge", "%zu folds need as many groups, got %zu", folds,
                         groups);
    return KEEL_OK;
}

static keel_status judge_fold(const keel_judge_kind *kind, const keel_judge_example *examples, size_t count,
                              const size_t *fold, size_t held_out, keel_judge_example *training,
                              keel_judge_verdict *out, keel_err *err) {
    keel_judge *judge;
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (fold[i] != held_out) training[n++] = examples[i];
    KEEL_TRY(keel_judge_fit(&judge, kind, training, n, err));
    keel_status status = KEEL_OK;
    for (size_t i = 0; i < count && status == KEEL_OK; i++)
        if (fold[i] == held_out) status = keel_judge_predict(judge, &examples[i].input, &out[i], err);
    keel_judge_free(judge);
    return status;
}

keel_status keel_judge_cross_validate(const keel_judge_kind *kind, const keel_judge_example *examples,
                                      size_t count, size_t folds, keel_judge_verdict *out, keel_err *err) {
    if (folds < 2)
        return keel_fail(err, KEEL_E_INVALID, kind->name, "expected at least 2 folds, got %zu", folds);
    size_t *fold = keel_calloc(count, sizeof *fold);
    keel_judge_example *training = keel_calloc(count, sizeof *training);
    keel_status status = fold && training ? KEEL_OK : keel_nomem(err, "validation of a judge");
    if (status == KEEL_OK) status = assign_folds(examples, count, folds, fold, err);
    for (size_t f = 0; f < folds && status == KEEL_OK; f++)
        status = judge_fold(kind, examples, count, fold, f, training, out, err);
    keel_free(training);
    keel_free(fold);
    return status;
}

/* Cohen's kappa: observed agreement over that expected from the margins; 1 where no disagreement was
 * possible. table [k, k]: counts by label and verdict. */
static void agreement_of(const double *table, size_t k, double n, double *accuracy, double *kappa) {
    double agreed = 0, expected = 0;
    for (size_t i = 0; i < k; i++) {
        double row = 0, column = 0;
        for (size_t j = 0; j < k; j++) row += table[i * k + j], column += table[j * k + i];
        agreed += table[i * k + i] / n;
        expected += row / n * (column / n);
    }
    *accuracy = agreed;
    *kappa = expected < 1 ? (agreed - expected) / (1 - expected) : 1;
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
    agreement_of(any, ANY, (double)count, &out.any_accuracy, &out.any_kappa);
    agreement_of(all, k, (double)count, &out.accuracy, &out.kappa);
    return out;
}
