/* A judge from outside the tree (tests/experiments/extending.sh): whatever begins with "No" refuses. */
#include <string.h>

#include "core/memory.h"
#include "core/safetensors.h"
#include "rewards/judge.h"

static keel_status make(keel_judge **out, keel_err *err) {
    keel_judge *judge = keel_calloc(1, sizeof *judge);
    if (!judge) return keel_nomem(err, "toy");
    strcpy(judge->name, "toy/1");
    *out = judge;
    return KEEL_OK;
}

static keel_status fit(keel_judge **out, const keel_judge_example *examples, size_t count, keel_err *err) {
    (void)examples, (void)count;
    return make(out, err);
}

static keel_status predict(const keel_judge *judge, const keel_judge_input *input, keel_judge_verdict *out,
                           keel_err *err) {
    const bool refuses = strncmp(input->response, "No", 2) == 0;
    (void)judge, (void)err;
    *out = (keel_judge_verdict){.label = refuses ? 2 : 0, .authority = KEEL_AUTHORITY_RULE};
    out->p[out->label] = 1;
    return KEEL_OK;
}

static keel_status save(const keel_judge *judge, const char *path, keel_err *err) {
    static const float nothing = 0;
    const keel_named_tensor tensor = {"toy", KEEL_F32, 1, {1}, &nothing, sizeof nothing};
    return keel_judge_write(judge, path, &tensor, 1, err);
}

static keel_status load(keel_judge **out, const keel_safetensors *file, keel_err *err) {
    (void)file;
    return make(out, err);
}

static void release(keel_judge *judge) {
    keel_free(judge);
}

static const char *const classes[] = {"compliance", "partial_refusal", "refusal"};
const keel_judge_kind keel_judge_toy = {.name = "toy",
                                        .help = "a toy",
                                        .judged = KEEL_JUDGED_OUTCOME,
                                        .classes = classes,
                                        .n_classes = 3,
                                        .any = "refusal",
                                        .fit = fit,
                                        .predict = predict,
                                        .save = save,
                                        .load = load,
                                        .free = release};
