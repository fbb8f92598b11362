#include "policies/beside.h"

#include <math.h>
#include <string.h>

#include "core/file.h"

const char *const keel_beside_choices[] = {"auto", "yes", "no", NULL};

keel_status keel_beside_tune(const keel_base_tuning *job, const keel_base *from, size_t checkpoint,
                             keel_base **out, keel_err *err) {
    const keel_base_kind *kind;
    keel_base_report report;
    KEEL_TRY(keel_base_find_kind("builtin", &kind, err));
    keel_base_config *own = keel_calloc(1, kind->config_size);
    if (!own) return keel_nomem(err, "n-gram base");
    keel_base_tuning inner = *job;
    keel_status status = keel_options_defaults(kind->options, own, err);
    if (from && status == KEEL_OK) memcpy(own, from->config, kind->config_size);
    own->action_space = job->config->action_space;
    own->max_acts = job->config->max_acts;
    own->memory_mb = job->config->memory_mb;
    own->seed = job->config->seed;
    inner.config = own;
    inner.from = from;
    inner.model = NULL;
    inner.metrics_path = NULL;
    for (size_t i = 0; kind->checkpoints[i]; i++) inner.checkpoint[i] = job->checkpoint[checkpoint + i];
    if (status == KEEL_OK) status = kind->tune(&inner, out, &report, err);
    keel_free(own);
    return status;
}

static const char folder_name[] = "ngrams";

keel_status keel_beside_save(const keel_base *beside, const char *dir, keel_err *err) {
    keel_arena arena = {0};
    const char *path = keel_path_join(&arena, dir, folder_name);
    keel_status status = path ? keel_folder_make(path, err) : keel_nomem(err, dir);
    if (status == KEEL_OK) status = beside->kind->save(beside, path, err);
    keel_arena_free(&arena);
    return status;
}

keel_status keel_beside_load(keel_base **out, const char *dir, keel_err *err) {
    const keel_base_kind *kind;
    keel_arena arena = {0};
    const char *path = keel_path_join(&arena, dir, folder_name);
    keel_status status = path ? keel_base_find_kind("builtin", &kind, err) : keel_nomem(err, dir);
    if (status == KEEL_OK) status = kind->load(out, path, err);
    keel_arena_free(&arena);
    return status;
}

static bool fits(const keel_base *beside, const keel_base *base) {
    bool same =
        beside->space == base->space && beside->n_acts == base->n_acts && beside->n_fixed == base->n_fixed;
    for (size_t i = 0; same && i < base->n_acts; i++) same = strcmp(beside->acts[i], base->acts[i]) == 0;
    for (size_t i = 0; same && i < base->n_fixed; i++)
        same = strcmp(beside->fixed[i].text, base->fixed[i].text) == 0;
    return same;
}

keel_status keel_beside_join(keel_base *base, keel_base *beside, keel_err *err) {
    base->beside = beside;
    return !beside || fits(beside, base) ? KEEL_OK
                                         : keel_fail(err, KEEL_E_INVALID, base->kind->type,
                                                     "the n-gram base beside it is over other answers");
}

size_t keel_beside_put(const float *features, size_t n, double length, float *out) {
    if (features)
        memcpy(out, features, n * sizeof *out);
    else
        out[0] = (float)log1p(length);
    return features ? n : 1;
}
