#include "policies/sft.h"

#include <string.h>

#include "core/checkpoint.h"
#include "core/hash.h"
#include "core/json.h"
#include "core/lock.h"
#include "policies/artefact.h"
#include "policies/ngram_base/tune.h"

typedef struct sft { /* what a tuning run is made of */
    keel_store *store;
    const keel_split *split;
    const char *spec, *out_dir;
    struct keel_ngram_base_config config;
    keel_base *from; /* the base to go on from, or NULL */
    char content[65], identity[65];
    char *checkpoint, *heads; /* the heads' own, beside it, kept until the artefact is there */
    keel_lock lock;           /* of the checkpoint, and so of the out folder */
    keel_tuning tuning;
    double losses[KEEL_N_LOSSES];
    uint64_t updates;
    keel_arena arena;
} sft;

/* ---- what to tune ---- */

static keel_status fail_shape(const sft *run, const char *key, keel_err *err) {
    keel_fail(err, KEEL_E_CONFLICT, run->spec, "%s cannot be changed: the base has another", key);
    keel_hint(err, "leave %s out to go on from this base, or start from --base builtin", key);
    return KEEL_E_CONFLICT;
}

/* What a base reads and how wide it is stays as it is; the rest of the configuration is this run's. A key
 * that was set to something else (so it is neither the default nor what the base has) is an error. */
static keel_status keep_shape(sft *run, keel_err *err) {
    static const char *const keys[] = {"buckets",  "dim",       "features",  "word_high",
                                       "char_low", "char_high", "max_words", "context_turns"};
    const struct keel_ngram_base_config *had = &((const keel_ngram_base *)run->from)->config;
    struct keel_ngram_base_config standard;
    const int space = (int)run->from->space + 1;
    KEEL_TRY(keel_options_defaults(keel_ngram_base_options, &standard, err));
    for (const keel_option *option = keel_ngram_base_options; option->key; option++) {
        size_t k = 0, count = sizeof keys / sizeof *keys;
        while (k < count && strcmp(keys[k], option->key) != 0) k++;
        if (k == count) continue;
        int64_t asked, usual, there;
        memcpy(&asked, (const char *)&run->config + option->offset, sizeof asked);
        memcpy(&usual, (const char *)&standard + option->offset, sizeof usual);
        memcpy(&there, (const char *)had + option->offset, sizeof there);
        if (asked != usual && asked != there) return fail_shape(run, option->key, err);
        memcpy((char *)&run->config + option->offset, &there, sizeof there);
    }
    if (run->config.action_space && run->config.action_space != space)
        return fail_shape(run, "action_space", err);
    run->config.action_space = space;
    return KEEL_OK;
}

static keel_status load_spec(sft *run, keel_err *err) {
    if (strcmp(run->spec, "builtin") == 0) return KEEL_OK;
    if (!keel_file_is_folder(run->spec)) {
        keel_fail(err, KEEL_E_NOT_FOUND, run->spec, "there is no such base");
        keel_hint(err, "--base is \"builtin\" or the folder of a base to go on from");
        return KEEL_E_NOT_FOUND;
    }
    KEEL_TRY(keel_base_load(&run->from, run->spec, err));
    if (run->from->kind != &keel__ngram_base_kind)
        return keel_fail(err, KEEL_E_UNSUPPORTED, run->spec, "only built-in bases can be tuned further");
    return keep_shape(run, err);
}

static keel_status list_acts(sft *run, keel_action_space space, const char ***acts, size_t *n,
                             keel_err *err) {
    static const char *outcomes[KEEL_N_OUTCOMES];
    if (run->from || space == KEEL_SPACE_CANDIDATES) {
        *acts = run->from ? run->from->acts : NULL;
        *n = run->from ? run->from->n_acts : 0;
        return KEEL_OK;
    }
    if (space == KEEL_SPACE_OUTCOMES) {
        for (int i = 0; i < KEEL_N_OUTCOMES; i++) outcomes[i] = keel_outcome_name((keel_outcome)(i + 1));
        *acts = outcomes;
        *n = KEEL_N_OUTCOMES;
        return KEEL_OK;
    }
    KEEL_TRY(keel_store_acts(run->store, run->split, &run->arena, acts, n, err));
    if (*n <= (size_t)run->config.max_acts) return KEEL_OK;
    keel_fail(err, KEEL_E_INVALID, run->split->text,
              "%zu distinct dialogue acts, expected at most %lld (max_acts)", *n,
              (long long)run->config.max_acts);
    keel_hint(err, "use --set max_acts=%zu, or --set action_space=outcomes", *n);
    return KEEL_E_INVALID;
}

/* A checkpoint belongs to one configuration, one content, one starting point. */
static keel_status identify(sft *run, keel_err *err) {
    keel_buf text = {0};
    keel_sha256 hash;
    cJSON *config = keel_options_to_json(keel_ngram_base_options, &run->config);
    keel_status status = config ? keel_json_print(config, false, &text, err) : keel_nomem(err, "sft");
    cJSON_Delete(config);
    keel_sha256_init(&hash);
    keel_sha256_add_text(&hash, text.data);
    keel_sha256_add_text(&hash, run->content);
    keel_sha256_add_text(&hash, run->split->text);
    keel_sha256_add_text(&hash, run->from ? run->from->hash : "builtin");
    keel_sha256_hex(&hash, run->identity);
    keel_buf_free(&text);
    return status;
}

/* Checkpoint and artefact are this process's alone; and better no right to write there now than at the first
 * checkpoint. */
static keel_status hold_out(sft *run, keel_err *err) {
    static const char suffix[] = ".heads";
    run->checkpoint = keel_checkpoint_path(&run->arena, run->out_dir);
    size_t length = run->checkpoint ? strlen(run->checkpoint) : 0;
    run->heads = keel_arena_alloc(&run->arena, length + sizeof suffix);
    if (!run->checkpoint || !run->heads) return keel_nomem(err, "sft");
    memcpy(run->heads, run->checkpoint, length);
    memcpy(run->heads + length, suffix, sizeof suffix);
    return keel_lock_take(&run->lock, run->checkpoint, err);
}

static keel_status prepare(sft *run, keel_pool *pool, keel_err *err) {
    keel_action_space space;
    const char **acts = NULL;
    size_t n_acts = 0;
    keel_ngram_base *model = NULL;
    KEEL_TRY(load_spec(run, err));
    KEEL_TRY(keel_store_check_split(run->store, run->split, err));
    run->tuning = (keel_tuning){.store = run->store, .pool = pool};
    KEEL_TRY(keel__ngram_base_survey(&run->tuning, run->split, (size_t)run->config.memory_mb << 20,
                                     run->content, err));
    KEEL_TRY(keel__ngram_base_choose_space(&run->tuning.survey, &run->config, run->split, &space, err));
    KEEL_TRY(list_acts(run, space, &acts, &n_acts, err));
    KEEL_TRY(identify(run, err));
    KEEL_TRY(hold_out(run, err));
    KEEL_TRY(keel__ngram_base_make(&model, &run->config, space, acts, n_acts, err));
    memcpy(model->split, run->split->text, sizeof model->split);
    run->tuning.model = model;
    run->tuning.kept = keel_arena_calloc(&run->arena, run->tuning.count, sizeof(keel_example *));
    return run->tuning.kept ? KEEL_OK : keel_nomem(err, "sft");
}

/* ---- tuning ---- */

static void start_layers(sft *run) {
    keel_params *params = &run->tuning.model->params;
    keel_rng rng = keel_rng_stream((uint64_t)run->config.seed, KEEL_STREAM_BASE_INIT, 0);
    keel_params_init(params, &rng);
    if (run->from)
        memcpy(params->data, ((const keel_ngram_base *)run->from)->params.data,
               params->size * sizeof *params->data);
}

static keel_status tune(sft *run, const char *metrics_path, keel_err *err) {
    KEEL_TRY(keel__ngram_base_count(&run->tuning, (const keel_ngram_base *)run->from, err));
    start_layers(run);
    KEEL_TRY(keel__ngram_base_fit_heads(&run->tuning, run->identity, run->heads, err));
    KEEL_TRY(keel__ngram_base_scale(&run->tuning, err));
    return keel__ngram_base_train(&run->tuning, run->identity, run->checkpoint, metrics_path, run->losses,
                                  &run->updates, err);
}

/* ---- what comes out ---- */

static cJSON *lineage_json(const sft *run) {
    cJSON *json = cJSON_CreateObject(), *build = keel_build_info();
    bool good = json && build && cJSON_AddItemToObject(json, "build", build);
    if (!good) cJSON_Delete(build);
    good = good && cJSON_AddNumberToObject(json, "seed", (double)run->config.seed) &&
           cJSON_AddStringToObject(json, "content", run->content) &&
           cJSON_AddStringToObject(json, "split", run->split->text) &&
           cJSON_AddStringToObject(json, "from", run->from ? run->from->hash : "builtin");
    if (good) return json;
    cJSON_Delete(json);
    return NULL;
}

static cJSON *metrics_json(const sft *run) {
    const keel_survey *survey = &run->tuning.survey;
    cJSON *json = cJSON_CreateObject(), *losses = json ? cJSON_AddObjectToObject(json, "losses") : NULL;
    bool good = losses && cJSON_AddNumberToObject(json, "conversations", (double)survey->conversations) &&
                cJSON_AddNumberToObject(json, "decisions", (double)survey->decisions) &&
                cJSON_AddNumberToObject(json, "ngrams", (double)run->tuning.model->rows) &&
                cJSON_AddNumberToObject(json, "updates", (double)run->updates);
    for (int k = 0; good && k < KEEL_N_LOSSES; k++)
        good = cJSON_AddNumberToObject(losses, keel__ngram_base_losses[k], run->losses[k]);
    if (good) return json;
    cJSON_Delete(json);
    return NULL;
}

static keel_status write_artefact(const sft *run, keel_err *err) {
    cJSON *lineage = lineage_json(run), *metrics = metrics_json(run);
    keel_status status = lineage && metrics ? KEEL_OK : keel_nomem(err, "sft");
    if (status == KEEL_OK)
        status = keel__ngram_base_save(run->tuning.model, run->out_dir, lineage, metrics, NULL, err);
    if (status == KEEL_OK) remove(run->checkpoint), remove(run->heads); /* missing is fine */
    cJSON_Delete(lineage);
    cJSON_Delete(metrics);
    return status;
}

keel_status keel_sft(keel_store *store, const keel_split *split, const char *spec,
                     const struct keel_ngram_base_config *config, const char *out_dir,
                     const char *metrics_path, keel_pool *pool, keel_err *err) {
    sft run = {.store = store, .split = split, .spec = spec, .out_dir = out_dir, .config = *config};
    keel_status status = prepare(&run, pool, err);
    if (status == KEEL_OK) status = tune(&run, metrics_path, err);
    if (status == KEEL_OK) status = write_artefact(&run, err);
    keel_lock_release(&run.lock);
    keel_base_close(run.from);
    if (run.tuning.model) keel__ngram_base_close(&run.tuning.model->base);
    keel__ngram_base_tuning_free(&run.tuning);
    keel_arena_free(&run.arena);
    return status;
}
