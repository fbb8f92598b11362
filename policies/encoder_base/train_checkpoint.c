#include "core/checkpoint.h"

#include <string.h>

#include "core/log.h"
#include "policies/encoder_base/train_internal.h"

enum { MOST_TENSORS = 8 };

typedef struct tensor_list {
    size_t count;
    keel_named_tensor tensor[MOST_TENSORS];
} tensor_list;

static void list(tensor_list *to, const char *name, keel_dtype dtype, size_t count, void *data) {
    if (count > 0) to->tensor[to->count++] = keel_named_tensor_of(name, dtype, count, 0, data);
}

static void list_folds(keel_encoder_training *run, int64_t at[N_PROGRESS], tensor_list *to) {
    keel_encoder_tuning *t = run->tuning;
    *to = (tensor_list){0};
    list(to, "progress", KEEL_I64, N_PROGRESS, at);
    list(to, "state.logits", KEEL_F32, t->n * run->model->n_state, t->state_logits);
    list(to, "candidate.logits", KEEL_F32, t->n_candidates * run->model->n_candidate, t->candidate_logits);
}

static void list_training(keel_encoder_training *run, int64_t at[N_PROGRESS], tensor_list *to) {
    *to = (tensor_list){0};
    list(to, "progress", KEEL_I64, N_PROGRESS, at);
    list(to, "losses", KEEL_F32, KEEL_N_HEADS, run->mean);
    list(to, "trained", KEEL_F32, run->size,
         keel_params_from(&run->model->bert->params, run->tuning->first).data);
    list(to, "first", KEEL_F32, run->size, run->first);
    list(to, "second", KEEL_F32, run->size, run->second);
    if (run->best) list(to, "best", KEEL_F32, run->size, run->best);
    if (run->best) list(to, "best_loss", KEEL_F32, 1, run->best_loss);
}

static keel_status save(const keel_encoder_training *run, size_t which, const tensor_list *tensors,
                        keel_err *err) {
    const keel_base_tuning *job = run->tuning->job;
    return keel_checkpoint_save(job->checkpoint[which], job->identity, tensors->tensor, tensors->count, err);
}

keel_status keel__encoder_keep_folds(keel_encoder_training *run, keel_err *err) {
    tensor_list tensors;
    list_folds(run, run->at, &tensors);
    return save(run, KEEL_CHECKPOINT_FOLDS, &tensors, err);
}

keel_status keel__encoder_keep_training(keel_encoder_training *run, keel_err *err) {
    tensor_list tensors;
    list_training(run, run->at, &tensors);
    return save(run, KEEL_CHECKPOINT_TRAINING, &tensors, err);
}

static keel_status load(const keel_encoder_training *run, size_t which, const tensor_list *tensors,
                        const int64_t at[N_PROGRESS], bool *found, keel_err *err) {
    const keel_base_tuning *job = run->tuning->job;
    const struct keel_encoder_base_config *c = &run->model->config;
    const int64_t any = INT64_MAX / 2; /* there is room to count on */
    const int64_t most[N_PROGRESS] = {c->folds, N_STAGES - 1, any, any, any, c->epochs, c->epochs};
    KEEL_TRY(keel_checkpoint_load(job->checkpoint[which], job->identity, tensors->tensor, tensors->count,
                                  found, err));
    for (int i = 0; *found && i < N_PROGRESS; i++)
        if (at[i] < 0 || at[i] > most[i])
            return keel_fail(err, KEEL_E_INVALID, job->checkpoint[which],
                             "the checkpoint holds impossible numbers");
    return KEEL_OK;
}

keel_status keel__encoder_resume(keel_encoder_training *run, bool *found, bool *begun, keel_err *err) {
    int64_t over[N_PROGRESS] = {0}, at[N_PROGRESS] = {0};
    tensor_list tensors;
    list_folds(run, over, &tensors);
    KEEL_TRY(load(run, KEEL_CHECKPOINT_FOLDS, &tensors, over, found, err));
    list_training(run, at, &tensors);
    KEEL_TRY(load(run, KEEL_CHECKPOINT_TRAINING, &tensors, at, begun, err));
    if (*begun && at[LEFT_OUT] != over[LEFT_OUT]) *begun = false; /* that training is over */
    memcpy(run->at, *begun ? at : over, sizeof at);
    *found |= *begun;
    if (*found)
        keel_log(KEEL_LOG_INFO, "sft: going on after %lld updates", (long long)run->at[TOTAL_UPDATES]);
    return KEEL_OK;
}
