#include "rewards/refusal.h"

#include <stdio.h>
#include <string.h>

#include "core/hash.h"
#include "core/safetensors.h"
#include "rewards/ngram_logistic.h"

enum { RULES_VERSION = 2, LEAST_EXAMPLES = 60 };

/* Strength of L2 against the summed log-loss. */
static const double lambda = 0.1;

struct keel_refusal_judge {
    float *weights; /* [D, K], or NULL: the rules alone */
    char name[64];
};

/* ---- name: what a label's provenance says ---- */

static void name_judge(keel_refusal_judge *judge) {
    const int written = snprintf(judge->name, sizeof judge->name, "refusal-rules/%d", RULES_VERSION);
    if (!judge->weights) return;
    const uint64_t hash = keel_hash64(judge->weights, KEEL_NGRAM_WEIGHTS * sizeof(float), RULES_VERSION);
    snprintf(judge->name + written, sizeof judge->name - (size_t)written, "+ngram-%016llx",
             (unsigned long long)hash);
}

const char *keel_refusal_judge_name(const keel_refusal_judge *judge) {
    return judge->name;
}

bool keel_refusal_judge_learned(const keel_refusal_judge *judge) {
    return judge->weights != NULL;
}

void keel_refusal_judge_free(keel_refusal_judge *judge) {
    if (!judge) return;
    keel_free(judge->weights);
    keel_free(judge);
}

/* ---- fitting ---- */

static keel_status check_examples(const keel_refusal_example *examples, size_t count, size_t *distinct,
                                  keel_err *err) {
    bool seen[KEEL_N_OUTCOMES] = {false};
    for (size_t i = 0; i < count; i++) {
        const keel_outcome outcome = examples[i].outcome;
        if (!examples[i].response)
            return keel_fail(err, KEEL_E_INVALID, "refusal judge", "example %zu has no response", i);
        if (outcome < KEEL_OUTCOME_COMPLIANCE || outcome > KEEL_OUTCOME_REFUSAL)
            return keel_fail(err, KEEL_E_INVALID, "refusal judge", "example %zu has no outcome (%d)", i,
                             (int)outcome);
        seen[outcome - KEEL_OUTCOME_COMPLIANCE] = true;
    }
    *distinct = (size_t)seen[0] + (size_t)seen[1] + (size_t)seen[2];
    return KEEL_OK;
}

static keel_status fit_weights(keel_refusal_judge *judge, const keel_refusal_example *examples, size_t count,
                               keel_err *err) {
    keel_status status = KEEL_OK;
    keel_arena arena = {0};
    keel_ngram_row *rows = keel_arena_calloc(&arena, count, sizeof *rows);
    int *outcome = keel_arena_calloc(&arena, count, sizeof *outcome);
    judge->weights = keel_alloc(KEEL_NGRAM_WEIGHTS * sizeof(float));
    if (!rows || !outcome || !judge->weights) {
        status = keel_fail(err, KEEL_E_NOMEM, "refusal judge", "out of memory for %zu examples", count);
        goto done;
    }
    for (size_t i = 0; i < count; i++) {
        outcome[i] = (int)examples[i].outcome - KEEL_OUTCOME_COMPLIANCE;
        KEEL_TRY_GOTO(keel_ngram_features(&arena, examples[i].response, &rows[i], err), done);
    }
    status = keel_ngram_logistic_fit(judge->weights, rows, outcome, count, lambda, err);
done:
    keel_arena_free(&arena);
    return status;
}

keel_status keel_refusal_judge_fit(keel_refusal_judge **out, const keel_refusal_example *examples,
                                   size_t count, keel_err *err) {
    size_t distinct;
    KEEL_TRY(check_examples(examples, count, &distinct, err));
    keel_refusal_judge *judge = keel_calloc(1, sizeof *judge);
    if (!judge) return keel_fail(err, KEEL_E_NOMEM, "refusal judge", "out of memory");
    if (count >= LEAST_EXAMPLES && distinct >= 2) {
        const keel_status status = fit_weights(judge, examples, count, err);
        if (status != KEEL_OK) {
            keel_refusal_judge_free(judge);
            return status;
        }
    }
    name_judge(judge);
    *out = judge;
    return KEEL_OK;
}

/* ---- judging ---- */

static keel_status regress(const keel_refusal_judge *judge, const char *response, double *out,
                           keel_err *err) {
    keel_arena arena = {0};
    keel_ngram_row row;
    const keel_status status = keel_ngram_features(&arena, response, &row, err);
    if (status == KEEL_OK) keel_ngram_logistic_predict(judge->weights, &row, out);
    keel_arena_free(&arena);
    return status;
}

keel_status keel_refusal_judge_predict(const keel_refusal_judge *judge, const char *response,
                                       float out[KEEL_N_OUTCOMES], keel_outcome *outcome, keel_err *err) {
    enum { COMPLIANCE, PARTIAL, REFUSAL };
    double p[KEEL_N_OUTCOMES] = {1, 0, 0};
    const keel_outcome rule = keel_refusal_rule(response);
    if (rule == KEEL_OUTCOME_NONE) return keel_fail(err, KEEL_E_NOMEM, "refusal rules", "out of memory");
    if (judge->weights) KEEL_TRY(regress(judge, response, p, err));
    if (rule == KEEL_OUTCOME_REFUSAL) p[REFUSAL] += p[COMPLIANCE], p[COMPLIANCE] = 0;
    size_t best = COMPLIANCE;
    for (size_t k = PARTIAL; k < KEEL_N_OUTCOMES; k++)
        if (p[k] > p[best]) best = k;
    for (size_t k = 0; k < KEEL_N_OUTCOMES; k++) out[k] = (float)p[k];
    *outcome = (keel_outcome)(KEEL_OUTCOME_COMPLIANCE + best);
    return KEEL_OK;
}

/* ---- validation ---- */

/* Folds in turn to the groups in the order they first appear, so that as many folds as groups leaves one
 * group out. seen [slots] is an open-addressing table of the first example of each group, plus one. */
static size_t number_groups(const keel_refusal_example *examples, size_t count, size_t folds, size_t *fold,
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

static keel_status assign_folds(const keel_refusal_example *examples, size_t count, size_t folds,
                                size_t *fold, keel_err *err) {
    size_t slots;
    size_t *seen = keel_size_mul(count + 1, 2, &slots) ? keel_calloc(slots, sizeof *seen) : NULL;
    if (!seen) return keel_fail(err, KEEL_E_NOMEM, "refusal judge", "out of memory for %zu examples", count);
    const size_t groups = number_groups(examples, count, folds, fold, seen, slots);
    keel_free(seen);
    if (groups < folds)
        return keel_fail(err, KEEL_E_INVALID, "refusal judge", "%zu folds need as many groups, got %zu",
                         folds, groups);
    return KEEL_OK;
}

typedef double confusion[KEEL_N_OUTCOMES][KEEL_N_OUTCOMES]; /* [human][judge], counts */

static keel_status judge_fold(const keel_refusal_example *examples, size_t count, const size_t *fold,
                              size_t held_out, keel_refusal_example *training, confusion table,
                              keel_err *err) {
    keel_refusal_judge *judge;
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (fold[i] != held_out) training[n++] = examples[i];
    KEEL_TRY(keel_refusal_judge_fit(&judge, training, n, err));
    keel_status status = KEEL_OK;
    for (size_t i = 0; i < count && status == KEEL_OK; i++) {
        float p[KEEL_N_OUTCOMES];
        keel_outcome outcome;
        if (fold[i] != held_out) continue;
        status = keel_refusal_judge_predict(judge, examples[i].response, p, &outcome, err);
        if (status == KEEL_OK)
            table[examples[i].outcome - KEEL_OUTCOME_COMPLIANCE][outcome - KEEL_OUTCOME_COMPLIANCE] += 1;
    }
    keel_refusal_judge_free(judge);
    return status;
}

/* Cohen's kappa of observed agreement over that expected from the margins; 1 where no disagreement was
 * possible. */
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

static keel_refusal_agreement summarise(confusion table, size_t count) {
    keel_refusal_agreement all = {.n = count};
    double any[4] = {0}; /* compliance against the rest */
    for (size_t i = 0; i < KEEL_N_OUTCOMES; i++)
        for (size_t j = 0; j < KEEL_N_OUTCOMES; j++) any[(size_t)(i > 0) * 2 + (j > 0)] += table[i][j];
    agreement_of(any, 2, (double)count, &all.any_refusal_accuracy, &all.any_refusal_kappa);
    agreement_of(&table[0][0], KEEL_N_OUTCOMES, (double)count, &all.accuracy, &all.kappa);
    return all;
}

keel_status keel_refusal_judge_validate(const keel_refusal_example *examples, size_t count, size_t folds,
                                        keel_refusal_agreement *out, keel_err *err) {
    size_t distinct;
    confusion table = {{0}};
    if (folds < 2)
        return keel_fail(err, KEEL_E_INVALID, "refusal judge", "expected at least 2 folds, got %zu", folds);
    KEEL_TRY(check_examples(examples, count, &distinct, err));
    size_t *fold = keel_calloc(count, sizeof *fold);
    keel_refusal_example *training = keel_calloc(count, sizeof *training);
    keel_status status = KEEL_OK;
    if (!fold || !training) {
        status = keel_fail(err, KEEL_E_NOMEM, "refusal judge", "out of memory for %zu examples", count);
        goto done;
    }
    KEEL_TRY_GOTO(assign_folds(examples, count, folds, fold, err), done);
    for (size_t f = 0; f < folds; f++)
        KEEL_TRY_GOTO(judge_fold(examples, count, fold, f, training, table, err), done);
    *out = summarise(table, count);
done:
    keel_free(training);
    keel_free(fold);
    return status;
}

/* ---- at rest: "rules.version" always, "ngram.weight" [D, K] if something was learned ---- */

keel_status keel_refusal_judge_save(const keel_refusal_judge *judge, const char *path, keel_err *err) {
    static const float version[] = {RULES_VERSION};
    const keel_named_tensor tensors[] = {
        {"rules.version", KEEL_F32, 1, {1}, version, sizeof version},
        {"ngram.weight",
         KEEL_F32,
         2,
         {KEEL_NGRAM_DIM, KEEL_N_OUTCOMES},
         judge->weights,
         KEEL_NGRAM_WEIGHTS * sizeof(float)},
    };
    const char *const metadata[] = {"judge", judge->name, NULL};
    return keel_safetensors_write(path, tensors, judge->weights ? 2 : 1, metadata, err);
}

static keel_status read_judge(keel_refusal_judge *judge, const keel_safetensors *file, const char *path,
                              keel_err *err) {
    float version;
    KEEL_TRY(keel_safetensors_copy(file, "rules.version", (const size_t[]){1}, 1, &version, err));
    if (version != (float)RULES_VERSION)
        return keel_fail(err, KEEL_E_UNSUPPORTED, path, "made with refusal rules %g, this build has %d",
                         (double)version, RULES_VERSION);
    if (!keel_safetensors_find(file, "ngram.weight")) return KEEL_OK;
    judge->weights = keel_alloc(KEEL_NGRAM_WEIGHTS * sizeof(float));
    if (!judge->weights) return keel_fail(err, KEEL_E_NOMEM, path, "out of memory for the judge's weights");
    KEEL_TRY(keel_safetensors_copy(file, "ngram.weight", (const size_t[]){KEEL_NGRAM_DIM, KEEL_N_OUTCOMES}, 2,
                                   judge->weights, err));
    for (size_t i = 0; i < KEEL_NGRAM_WEIGHTS; i++)
        if (!(judge->weights[i] > -1e6f && judge->weights[i] < 1e6f))
            return keel_fail(err, KEEL_E_INVALID, path, "ngram.weight[%zu] is %g, expected a finite weight",
                             i, (double)judge->weights[i]);
    return KEEL_OK;
}

keel_status keel_refusal_judge_load(keel_refusal_judge **out, const char *path, keel_err *err) {
    keel_safetensors file;
    KEEL_TRY(keel_safetensors_read(path, &file, err));
    keel_refusal_judge *judge = keel_calloc(1, sizeof *judge);
    keel_status status = judge ? read_judge(judge, &file, path, err)
                               : keel_fail(err, KEEL_E_NOMEM, path, "out of memory for a judge");
    keel_safetensors_free(&file);
    if (status != KEEL_OK) {
        keel_refusal_judge_free(judge);
        return status;
    }
    name_judge(judge);
    *out = judge;
    return KEEL_OK;
}
