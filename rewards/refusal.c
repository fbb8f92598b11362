#include "rewards/refusal.h"

#include <stdio.h>
#include <string.h>

#include "core/hash.h"
#include "core/safetensors.h"
#include "rewards/judge.h"
#include "rewards/ngram_logistic.h"

enum { RULES_VERSION = 2, LEAST_EXAMPLES = 60, COMPLIANCE = 0, PARTIAL, REFUSAL };

/* Strength of L2 against the summed log-loss. */
static const double lambda = 0.1;

typedef struct refusal_judge {
    keel_judge base;
    float *weights; /* [D, K], or NULL: the rules alone */
} refusal_judge;

/* "refusal-rules/2" or "refusal-rules/2+ngram-<hash of the weights>". */
static void name_judge(refusal_judge *judge) {
    char *name = judge->base.name;
    const size_t size = sizeof judge->base.name;
    const int written = snprintf(name, size, "refusal-rules/%d", RULES_VERSION);
    judge->base.learned = judge->weights != NULL;
    if (!judge->weights) return;
    const uint64_t hash = keel_hash64(judge->weights, KEEL_NGRAM_WEIGHTS * sizeof(float), RULES_VERSION);
    snprintf(name + written, size - (size_t)written, "+ngram-%016llx", (unsigned long long)hash);
}

static void free_judge(keel_judge *base) {
    refusal_judge *judge = (refusal_judge *)base;
    if (!judge) return;
    keel_free(judge->weights);
    keel_free(judge);
}

/* ---- fitting ---- */

static keel_status fit_weights(refusal_judge *judge, const keel_judge_example *examples, size_t count,
                               keel_err *err) {
    keel_status status = KEEL_OK;
    keel_arena arena = {0};
    keel_grams *rows = keel_arena_calloc(&arena, count, sizeof *rows);
    int *label = keel_arena_calloc(&arena, count, sizeof *label);
    judge->weights = keel_alloc(KEEL_NGRAM_WEIGHTS * sizeof(float));
    if (!rows || !label || !judge->weights) KEEL_TRY_GOTO(keel_nomem(err, "refusal judge"), done);
    for (size_t i = 0; i < count; i++) {
        label[i] = examples[i].label;
        KEEL_TRY_GOTO(keel_ngram_features(&arena, examples[i].input.response, &rows[i], err), done);
    }
    status = keel_ngram_logistic_fit(judge->weights, rows, label, count, lambda, err);
done:
    keel_arena_free(&arena);
    return status;
}

static bool enough(const keel_judge_example *examples, size_t count) {
    bool several = false;
    for (size_t i = 1; i < count; i++) several = several || examples[i].label != examples[0].label;
    return count >= LEAST_EXAMPLES && several;
}

static keel_status fit(keel_judge **out, const keel_judge_example *examples, size_t count, keel_err *err) {
    refusal_judge *judge = keel_calloc(1, sizeof *judge);
    if (!judge) return keel_nomem(err, "refusal judge");
    const keel_status status = enough(examples, count) ? fit_weights(judge, examples, count, err) : KEEL_OK;
    if (status != KEEL_OK) {
        free_judge(&judge->base);
        return status;
    }
    name_judge(judge);
    *out = &judge->base;
    return KEEL_OK;
}

/* ---- judging ---- */

static keel_status regress(const refusal_judge *judge, const char *response, double *out, keel_err *err) {
    keel_arena arena = {0};
    keel_grams row;
    const keel_status status = keel_ngram_features(&arena, response, &row, err);
    if (status == KEEL_OK) keel_ngram_logistic_predict(judge->weights, &row, out);
    keel_arena_free(&arena);
    return status;
}

static keel_status predict(const keel_judge *base, const keel_judge_input *input, keel_judge_verdict *out,
                           keel_err *err) {
    const refusal_judge *judge = (const refusal_judge *)base;
    double p[KEEL_N_OUTCOMES] = {1, 0, 0};
    const keel_outcome rule = keel_refusal_rule(input->response);
    if (rule == KEEL_OUTCOME_NONE) return keel_nomem(err, "refusal rules");
    if (judge->weights) KEEL_TRY(regress(judge, input->response, p, err));
    if (rule == KEEL_OUTCOME_REFUSAL) p[REFUSAL] += p[COMPLIANCE], p[COMPLIANCE] = 0;
    *out = (keel_judge_verdict){.authority = judge->weights ? KEEL_AUTHORITY_MODEL : KEEL_AUTHORITY_RULE};
    for (int k = COMPLIANCE; k <= REFUSAL; k++) {
        if (p[k] > p[out->label]) out->label = k;
        out->p[k] = (float)p[k];
    }
    return KEEL_OK;
}

/* ---- at rest: "rules.version" always, "ngram.weight" [D, K] if something was learned ---- */

static keel_status save(const keel_judge *base, const char *path, const char *const *metadata,
                        keel_err *err) {
    static const float version[] = {RULES_VERSION};
    const refusal_judge *judge = (const refusal_judge *)base;
    const keel_named_tensor tensors[] = {
        {"rules.version", KEEL_F32, 1, {1}, version, sizeof version},
        {"ngram.weight",
         KEEL_F32,
         2,
         {KEEL_NGRAM_DIM, KEEL_N_OUTCOMES},
         judge->weights,
         KEEL_NGRAM_WEIGHTS * sizeof(float)},
    };
    return keel_safetensors_write(path, tensors, judge->weights ? 2 : 1, metadata, err);
}

static keel_status read_judge(refusal_judge *judge, const keel_safetensors *file, keel_err *err) {
    float version;
    KEEL_TRY(keel_safetensors_copy(file, "rules.version", (const size_t[]){1}, 1, &version, err));
    if (version != (float)RULES_VERSION)
        return keel_fail(err, KEEL_E_UNSUPPORTED, file->path, "made with refusal rules %g, this build has %d",
                         (double)version, RULES_VERSION);
    if (!keel_safetensors_find(file, "ngram.weight")) return KEEL_OK;
    judge->weights = keel_alloc(KEEL_NGRAM_WEIGHTS * sizeof(float));
    if (!judge->weights) return keel_nomem(err, file->path);
    KEEL_TRY(keel_safetensors_copy(file, "ngram.weight", (const size_t[]){KEEL_NGRAM_DIM, KEEL_N_OUTCOMES}, 2,
                                   judge->weights, err));
    for (size_t i = 0; i < KEEL_NGRAM_WEIGHTS; i++)
        if (!(judge->weights[i] > -1e6f && judge->weights[i] < 1e6f))
            return keel_fail(err, KEEL_E_INVALID, file->path,
                             "ngram.weight[%zu] is %g, expected a finite weight", i,
                             (double)judge->weights[i]);
    return KEEL_OK;
}

static keel_status load(keel_judge **out, const keel_safetensors *file, keel_err *err) {
    refusal_judge *judge = keel_calloc(1, sizeof *judge);
    const keel_status status = judge ? read_judge(judge, file, err) : keel_nomem(err, file->path);
    if (status != KEEL_OK) {
        free_judge(&judge->base);
        return status;
    }
    name_judge(judge);
    *out = &judge->base;
    return KEEL_OK;
}

static const char *const classes[] = {"compliance", "partial_refusal", "refusal"};

const keel_judge_kind keel_judge_refusal = {
    .name = "refusal",
    .help = "whether a response refuses: rules, and a regression where there are 60 human labels or more",
    .judged = KEEL_JUDGED_OUTCOME,
    .classes = classes,
    .n_classes = KEEL_N_OUTCOMES,
    .any = "refusal",
    .fit = fit,
    .predict = predict,
    .save = save,
    .load = load,
    .free = free_judge,
};
