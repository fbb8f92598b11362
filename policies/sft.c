/* Supervised tuning, in this order: find the base to go on from, read the split through, choose the action
 * space, lock the out folder, have the kind tune, write the artefact, remove the checkpoints. */
#include "policies/sft.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

#include "core/checkpoint.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/json.h"
#include "core/lock.h"
#include "core/log.h"
#include "core/options_internal.h"
#include "datasets/store_corpus.h"
#include "policies/artefact.h"
#include "policies/policy_internal.h"
#include "policies/teacher.h"

typedef struct sft { /* what a tuning run is made of */
    keel_store *store;
    const keel_split *split;
    const char *spec, *out_dir;
    const keel_base_kind *kind;
    keel_base_config *config; /* of kind->config_size */
    keel_sft_extras extras;
    keel_base *from; /* the base to go on from, or NULL */
    keel_base *tuned;
    keel_teacher_counts taught;
    keel_corpus *logged, *corpus; /* what is learned from: the log, or what a teacher would have said */
    bool replace;                 /* an artefact that another run made */
    char model_hash[65], identity[65];
    cJSON *lineage;
    keel_base_tuning job;
    keel_base_report report;
    keel_lock lock; /* of the first checkpoint, and so of the out folder */
    keel_arena arena;
} sft;

/* ---- the base to go on from ---- */

static keel_status fail_shape(const sft *run, const char *key, keel_err *err) {
    keel_fail(err, KEEL_E_CONFLICT, run->spec, "%s cannot be changed: the base has another", key);
    return keel_hint(err, "leave %s out to go on from this base, or start from --base %s", key,
                     run->kind->type);
}

static bool is_shape(const keel_base_kind *kind, const char *key) {
    size_t i = 0;
    while (kind->shape && kind->shape[i] && strcmp(kind->shape[i], key) != 0) i++;
    return kind->shape && kind->shape[i];
}

/* Options that weights depend on keep the values of the base; the other ones are this run's. Such an option
 * that was set to something else (neither the default nor the base's value) is an error. */
static keel_status keep_shape(sft *run, const char *standard, keel_err *err) {
    const int space = (int)run->from->space + 1;
    for (const keel_option *option = run->kind->options; option->key; option++) {
        if (!is_shape(run->kind, option->key)) continue;
        const size_t size = keel_option_size(option->type);
        char *asked = (char *)run->config + option->offset;
        const char *there = (const char *)run->from->config + option->offset;
        if (memcmp(asked, standard + option->offset, size) != 0 && memcmp(asked, there, size) != 0)
            return fail_shape(run, option->key, err);
        memcpy(asked, there, size);
    }
    if (run->config->action_space && run->config->action_space != space)
        return fail_shape(run, "action_space", err);
    run->config->action_space = space;
    return KEEL_OK;
}

/* The base that is learned from, if any: with a policy, the base is that policy's. */
static const keel_base *teacher_base_of(const sft *run) {
    return run->extras.teacher ? NULL : run->extras.teacher_base;
}

static keel_status check_kind(const sft *run, keel_err *err) {
    const keel_base *teacher = teacher_base_of(run);
    if (!run->kind->tune)
        return keel_fail(err, KEEL_E_UNSUPPORTED, run->spec, "a base of type \"%s\" cannot be tuned",
                         run->kind->type);
    if (teacher && !run->kind->distils)
        return keel_fail(err, KEEL_E_UNSUPPORTED, run->spec,
                         "a base of type \"%s\" cannot learn from another base (of type \"%s\")",
                         run->kind->type, teacher->kind->type);
    return KEEL_OK;
}

/* What is set of a teacher's base (keel_base_kind.distils) does nothing without one. */
static keel_status check_taught(const sft *run, const char *standard, keel_err *err) {
    static const char of[] = "distil";
    for (const keel_option *option = run->kind->options; option->key && !teacher_base_of(run); option++)
        if (strncmp(option->key, of, sizeof of - 1) == 0 &&
            memcmp((const char *)run->config + option->offset, standard + option->offset,
                   keel_option_size(option->type)) != 0)
            return keel_fail(err, KEEL_E_USAGE, option->key,
                             "is of a base to learn from: give --teacher-base");
    return KEEL_OK;
}

static keel_status open_base(sft *run, const keel_base_config *config, keel_err *err) {
    KEEL_TRY(keel_base_find_kind(run->spec, &run->kind, err));
    KEEL_TRY(check_kind(run, err));
    char *standard = keel_arena_calloc(&run->arena, 1, run->kind->config_size);
    run->config = keel_arena_calloc(&run->arena, 1, run->kind->config_size);
    if (!standard || !run->config) return keel_nomem(err, "sft");
    KEEL_TRY(keel_options_defaults(run->kind->options, standard, err));
    memcpy(run->config, config ? (const void *)config : standard, run->kind->config_size);
    KEEL_TRY(check_taught(run, standard, err));
    if (keel_base_is_kind(run->spec)) return KEEL_OK;
    if (keel_base_is_model(run->spec)) {
        run->job.model = run->spec;
        return keel_base_hash_model(run->spec, run->model_hash, err);
    }
    KEEL_TRY(keel_base_load(&run->from, run->spec, err));
    run->job.model = run->spec;
    return keep_shape(run, standard, err);
}

/* ---- the action space ---- */

/* Choices are counted by conversation: preference logs offer one only at the last of many turns. */
static keel_action_space fitting_space(const keel_corpus_counts *counts) {
    if (2 * counts->choices >= counts->conversations) return KEEL_SPACE_CANDIDATES;
    if (2 * counts->with_act >= counts->taken) return KEEL_SPACE_ACTS;
    return 2 * counts->with_text >= counts->taken ? KEEL_SPACE_CANDIDATES : KEEL_SPACE_OUTCOMES;
}

enum { FIXED_AUTO, FIXED_NONE, FIXED_REFUSAL };

/* A log of one response a prompt offers no choice: with a refusal beside it there is one. */
static void choose_fixed(sft *run) {
    static const keel_candidate refusal = {.text = "I'm sorry, but I can't help with that.",
                                           .outcome = KEEL_OUTCOME_REFUSAL};
    const keel_corpus_counts *counts = &run->corpus->counts;
    int asked = run->config->fixed_answers;
    bool none = run->job.space != KEEL_SPACE_CANDIDATES || asked == FIXED_NONE;
    if (run->extras.n_fixed) {
        run->job.fixed = run->extras.fixed;
        run->job.n_fixed = run->extras.n_fixed;
    } else if (run->from) {
        run->job.fixed = run->from->fixed;
        run->job.n_fixed = run->from->n_fixed;
    } else if (!none && (asked == FIXED_REFUSAL || 2 * counts->choices < counts->conversations)) {
        run->job.fixed = &refusal;
        run->job.n_fixed = 1;
    }
}

static keel_status check_fixed(const sft *run, keel_err *err) {
    if (!run->extras.n_fixed) return KEEL_OK;
    if (run->job.space != KEEL_SPACE_CANDIDATES)
        return keel_fail(err, KEEL_E_INVALID, "fixed answers",
                         "belong to candidate sets, and this base is over %s",
                         keel_space_name(run->job.space));
    if (run->from)
        return keel_fail(err, KEEL_E_CONFLICT, run->spec,
                         "fixed answers cannot be changed: the base has its own");
    for (size_t i = 0; i < run->extras.n_fixed; i++)
        if (run->extras.n_fixed > KEEL_MOST_FIXED || !run->extras.fixed[i].text ||
            !run->extras.fixed[i].text[0] || run->extras.fixed[i].outcome != KEEL_OUTCOME_REFUSAL)
            return keel_fail(err, KEEL_E_INVALID, "fixed answers",
                             "expected at most %d texts that refuse or hand over", (int)KEEL_MOST_FIXED);
    return KEEL_OK;
}

/* The space that was asked for, or the one that fits the split; KEEL_E_NOT_FOUND when the split has nothing
 * to learn it from. */
static keel_status choose_space(const sft *run, keel_action_space *out, keel_err *err) {
    const keel_corpus_counts *counts = &run->corpus->counts;
    const char *where = run->split->text;
    int asked = run->config->action_space;
    if (counts->taken == 0) {
        keel_fail(err, KEEL_E_NOT_FOUND, where,
                  "nothing to learn from: none of %zu decisions has a logged response", counts->decisions);
        return keel_hint(err, "import logs in which an assistant answers");
    }
    keel_action_space chosen = asked == 0 ? fitting_space(counts) : (keel_action_space)(asked - 1);
    if (chosen == KEEL_SPACE_ACTS && counts->with_act == 0) {
        keel_fail(err, KEEL_E_NOT_FOUND, where, "no logged response carries a dialogue act (%zu decisions)",
                  counts->taken);
        return keel_hint(err, "log an \"act\" with each message, or use --set action_space=outcomes");
    }
    if (chosen == KEEL_SPACE_OUTCOMES && counts->judged == 0) {
        keel_fail(err, KEEL_E_NOT_FOUND, where, "no logged response has been judged (%zu decisions)",
                  counts->taken);
        return keel_hint(err, "run `keel label` first, so that outcomes are known");
    }
    if (chosen == KEEL_SPACE_CANDIDATES && counts->candidates < 2) {
        keel_fail(err, KEEL_E_NOT_FOUND, where, "a single response cannot be ranked against another");
        return keel_hint(err, "import more logs");
    }
    *out = chosen;
    return KEEL_OK;
}

static keel_status list_acts(sft *run, keel_err *err) {
    static const char *outcomes[KEEL_N_OUTCOMES];
    const char **acts;
    if (run->from || run->job.space == KEEL_SPACE_CANDIDATES) {
        run->job.acts = run->from ? run->from->acts : NULL;
        run->job.n_acts = run->from ? run->from->n_acts : 0;
        return KEEL_OK;
    }
    if (run->job.space == KEEL_SPACE_OUTCOMES) {
        for (int i = 0; i < KEEL_N_OUTCOMES; i++) outcomes[i] = keel_outcome_name((keel_outcome)(i + 1));
        run->job.acts = outcomes;
        run->job.n_acts = KEEL_N_OUTCOMES;
        return KEEL_OK;
    }
    KEEL_TRY(run->corpus->acts(run->corpus, &run->arena, &acts, &run->job.n_acts, err));
    run->job.acts = acts;
    if (run->job.n_acts <= (size_t)run->config->max_acts) return KEEL_OK;
    keel_fail(err, KEEL_E_INVALID, run->split->text,
              "%zu distinct dialogue acts, expected at most %lld (max_acts)", run->job.n_acts,
              (long long)run->config->max_acts);
    return keel_hint(err, "use --set max_acts=%zu, or --set action_space=outcomes", run->job.n_acts);
}

/* ---- identity, checkpoints ---- */

/* The answers that were given for this run: no option of the configuration has them. */
static bool add_fixed(const sft *run, cJSON *lineage) {
    cJSON *list = run->extras.n_fixed ? cJSON_AddArrayToObject(lineage, "fixed_answers") : NULL;
    bool whole = list || !run->extras.n_fixed;
    for (size_t i = 0; whole && i < run->extras.n_fixed; i++) {
        cJSON *row = cJSON_CreateObject();
        whole = keel_json_add(list, NULL, row) &&
                cJSON_AddStringToObject(row, "content", run->extras.fixed[i].text) &&
                cJSON_AddBoolToObject(row, "hand_over", run->extras.fixed[i].act != NULL);
    }
    return whole;
}

/* A checkpoint belongs to one configuration, one content, one starting point; so does an artefact, which
 * another run writes over only when asked. */
static keel_status identify(sft *run, keel_err *err) {
    cJSON *config = keel_options_to_json(run->kind->options, run->config);
    cJSON *lineage = run->lineage = cJSON_CreateObject();
    const keel_base *teacher_base = teacher_base_of(run);
    const char *origin = run->from ? run->from->hash : run->job.model ? run->model_hash : run->kind->type;
    bool complete =
        config && lineage && cJSON_AddNumberToObject(lineage, "seed", (double)run->config->seed) &&
        cJSON_AddStringToObject(lineage, "content", run->corpus->content) &&
        cJSON_AddStringToObject(lineage, "split", run->split->text) &&
        cJSON_AddStringToObject(lineage, "from", origin) && add_fixed(run, lineage) &&
        (!run->extras.teacher || cJSON_AddStringToObject(lineage, "teacher", run->extras.teacher->hash)) &&
        (!teacher_base || cJSON_AddStringToObject(lineage, "teacher_base", teacher_base->hash)) &&
        (!teacher_base || !run->extras.teacher_split ||
         cJSON_AddStringToObject(lineage, "teacher_split", run->extras.teacher_split));
    keel_status status =
        complete ? keel_artefact_identify(lineage, config, run->identity, err) : keel_nomem(err, "sft");
    if (status == KEEL_OK)
        status = keel_artefact_check_out(run->out_dir, "base", lineage, config, run->replace, err);
    cJSON_Delete(config);
    return status;
}

/* Names the checkpoints, and takes the out folder for this process alone: a folder that cannot be written is
 * an error now, not at the first checkpoint. */
static keel_status lock_out(sft *run, keel_err *err) {
    const char *first = keel_checkpoint_path(&run->arena, run->out_dir);
    if (!first) return keel_nomem(err, "sft");
    const char *const *suffix = run->kind->checkpoints;
    for (size_t i = 0; suffix && suffix[i] && i < KEEL_BASE_MAX_CHECKPOINTS; i++) {
        size_t size = strlen(first) + strlen(suffix[i]) + 1;
        char *path = keel_arena_alloc(&run->arena, size);
        if (!path) return keel_nomem(err, "sft");
        snprintf(path, size, "%s%s", first, suffix[i]);
        run->job.checkpoint[i] = path;
    }
    return keel_lock_take(&run->lock, first, err);
}

static void settle_teacher(sft *run) {
    run->taught = keel_teacher_settle(run->corpus, run->job.space);
    if (run->taught.named + run->taught.silent == 0) return;
    keel_log(
        KEEL_LOG_INFO,
        "sft: of %zu decisions, the teacher's choice is no candidate's in %zu, which teach its name, and %zu teach "
        "nothing",
        run->corpus->counts.decisions, run->taught.named, run->taught.silent);
}

static keel_status prepare(sft *run, keel_err *err) {
    size_t memory = (size_t)run->config->memory_mb << 20;
    KEEL_TRY(keel_store_check_split(run->store, run->split, err));
    KEEL_TRY(keel_store_corpus_open(&run->logged, run->store, run->split, memory / 2, err));
    run->corpus = run->logged;
    if (run->extras.teacher)
        KEEL_TRY(keel_teacher_open(&run->corpus, run->logged, run->extras.teacher, run->extras.teacher_base,
                                   run->job.pool, err));
    KEEL_TRY(choose_space(run, &run->job.space, err));
    if (run->extras.teacher) settle_teacher(run);
    KEEL_TRY(list_acts(run, err));
    KEEL_TRY(check_fixed(run, err));
    choose_fixed(run);
    KEEL_TRY(identify(run, err));
    KEEL_TRY(lock_out(run, err));
    run->job.corpus = run->corpus;
    run->job.config = run->config;
    run->job.from = run->from;
    run->job.teacher_base = teacher_base_of(run);
    run->job.identity = run->identity;
    run->job.taught = run->extras.teacher != NULL;
    return KEEL_OK;
}

/* ---- the artefact ---- */

static bool add_figures(cJSON *to, const keel_base_figure *figure, size_t n) {
    bool good = to != NULL;
    for (size_t i = 0; good && i < n; i++)
        good = cJSON_AddNumberToObject(to, figure[i].name, figure[i].value) != NULL;
    return good;
}

static bool add_taught(const sft *run, cJSON *to) {
    const keel_base_figure figure[] = {{"taught_by_name", (double)run->taught.named},
                                       {"taught_nothing", (double)run->taught.silent}};
    return !run->extras.teacher || add_figures(to, figure, 2);
}

static cJSON *metrics_json(const sft *run) {
    const keel_corpus_counts *counts = &run->corpus->counts;
    const keel_base_report *report = &run->report;
    cJSON *json = cJSON_CreateObject(), *losses = json ? cJSON_AddObjectToObject(json, "losses") : NULL;
    bool good = add_figures(losses, report->loss, report->n_losses) &&
                cJSON_AddNumberToObject(json, "conversations", (double)counts->conversations) &&
                cJSON_AddNumberToObject(json, "decisions", (double)counts->decisions) &&
                add_taught(run, json) && add_figures(json, report->figure, report->n_figures);
    if (good) return json;
    cJSON_Delete(json);
    return NULL;
}

static keel_status write_folder(const sft *run, const cJSON *config, const cJSON *metrics, keel_err *err) {
    keel_folder_write folder;
    KEEL_TRY(keel_folder_begin(&folder, run->out_dir, err));
    keel_status status = run->kind->save(run->tuned, folder.temporary, err);
    if (status == KEEL_OK)
        status =
            keel_artefact_commit(&folder, "base", run->kind->type, run->lineage, config, metrics, NULL, err);
    if (status != KEEL_OK) keel_folder_abandon(&folder);
    return status;
}

static keel_status write_artefact(const sft *run, keel_err *err) {
    cJSON *metrics = metrics_json(run);
    cJSON *config = keel_options_to_json(run->kind->options, run->config);
    keel_status status = metrics && config ? write_folder(run, config, metrics, err) : keel_nomem(err, "sft");
    for (size_t i = 0; status == KEEL_OK && i < KEEL_BASE_MAX_CHECKPOINTS && run->job.checkpoint[i]; i++)
        remove(run->job.checkpoint[i]); /* one that is missing is fine */
    cJSON_Delete(metrics);
    cJSON_Delete(config);
    return status;
}

keel_status keel_sft(keel_store *store, const keel_split *split, const char *spec,
                     const keel_base_config *config, const char *out_dir, bool replace,
                     const char *metrics_path, keel_pool *pool, keel_err *err) {
    return keel_sft_with(store, split, spec, config, NULL, out_dir, replace, metrics_path, pool, err);
}

static void close_all(sft *run) {
    keel_lock_release(&run->lock);
    keel_base_close(run->tuned);
    keel_base_close(run->from);
    if (run->corpus != run->logged) keel_teacher_close(run->corpus);
    keel_store_corpus_close(run->logged);
    cJSON_Delete(run->lineage);
    keel_arena_free(&run->arena);
}

keel_status keel_sft_with(keel_store *store, const keel_split *split, const char *spec,
                          const keel_base_config *config, const keel_sft_extras *extras, const char *out_dir,
                          bool replace, const char *metrics_path, keel_pool *pool, keel_err *err) {
    keel_split all;
    if (!split) KEEL_TRY(keel_split_parse("all", &all, err));
    sft run = {.store = store,
               .split = split ? split : &all,
               .spec = spec,
               .out_dir = out_dir,
               .extras = extras ? *extras : (keel_sft_extras){0},
               .replace = replace};
    run.job = (keel_base_tuning){.metrics_path = metrics_path, .pool = pool};
    keel_status status = open_base(&run, config, err);
    if (status == KEEL_OK) status = prepare(&run, err);
    if (status == KEEL_OK) status = run.kind->tune(&run.job, &run.tuned, &run.report, err);
    if (status == KEEL_OK) status = write_artefact(&run, err);
    close_all(&run);
    return status;
}
