#include "experiments/recipe_run.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/hash.h"
#include "core/interrupt.h"
#include "core/json.h"
#include "core/log.h"
#include "policies/artefact.h"

/* ---- places ---- */

static keel_status join(keel_recipe_run *run, const char *folder, const char *name, const char **out,
                        keel_err *err) {
    *out = keel_path_join(run->arena, folder, name);
    return *out ? KEEL_OK : keel_fail(err, KEEL_E_NOMEM, NULL, "for a path");
}

/* The folder that a path lies in, "." for a bare name. */
static keel_status folder_of(keel_recipe_run *run, const char *path, const char **out, keel_err *err) {
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    *out = slash ? keel_arena_strndup(run->arena, path, length ? length : 1) : ".";
    return *out ? KEEL_OK : keel_fail(err, KEEL_E_NOMEM, NULL, "for a path");
}

/* ---- what a step depends on ---- */

static keel_status hash_path(keel_sha256 *hash, const char *path, int depth, keel_err *err);

static keel_status hash_folder(keel_sha256 *hash, const char *path, int depth, keel_err *err) {
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, NULL, alphasort);
    if (count < 0) return keel_fail(err, KEEL_E_IO, path, "could not be listed");
    keel_status status = KEEL_OK;
    for (int i = 0; i < count; i++) {
        char inner[4096];
        bool skip = entries[i]->d_name[0] == '.' || status != KEEL_OK;
        snprintf(inner, sizeof inner, "%s/%s", path, entries[i]->d_name);
        if (!skip) keel_sha256_add_text(hash, entries[i]->d_name);
        if (!skip) status = hash_path(hash, inner, depth + 1, err);
        free(entries[i]); /* scandir's own allocation */
    }
    free(entries);
    return status;
}

/* Adds the content of a file, or of all files in a folder. */
static keel_status hash_path(keel_sha256 *hash, const char *path, int depth, keel_err *err) {
    char hex[65];
    if (depth > 16) return keel_fail(err, KEEL_E_INVALID, path, "folders are nested too deep");
    if (keel_file_is_folder(path)) return hash_folder(hash, path, depth, err);
    if (!keel_file_exists(path)) return KEEL_OK;
    KEEL_TRY(keel_file_hash(path, hex, err));
    keel_sha256_add_text(hash, hex);
    return KEEL_OK;
}

bool keel_recipe_is_inside(const char *path, const char *folder) {
    size_t length = strlen(folder);
    return strncmp(path, folder, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

/* Files from outside the run: their content is part of the key. What lies inside came from earlier steps. */
static bool is_input(const keel_recipe_run *run, const keel_given *given) {
    static const char *const names[] = {"--config", "--judge", "--env", "--base", "--policy", NULL};
    if (!given->value || keel_recipe_is_inside(given->value, run->root)) return false;
    if (!given->flag) return true;
    for (size_t i = 0; names[i]; i++)
        if (strcmp(given->flag->name, names[i]) == 0) return true;
    return false;
}

/* Where the run folder lies, what it held, how many threads work and what is printed do not change a result.
 */
static keel_status step_key(keel_recipe_run *run, const keel_step *step, const keel_cli *cli, char key[65],
                            keel_err *err) {
    keel_sha256 hash;
    keel_sha256_init(&hash);
    keel_sha256_add_text(&hash, run->key);
    keel_sha256_add_text(&hash, step->verb->name);
    for (size_t i = 0; i < cli->n_given; i++) {
        const keel_given *given = &cli->given[i];
        const char *flag = given->flag ? given->flag->name : "", *value = given->value;
        if (strcmp(flag, "--threads") == 0 || strcmp(flag, "--replace") == 0 ||
            strcmp(flag, "--quiet") == 0 || strcmp(flag, "--json") == 0)
            continue;
        bool inside = value && keel_recipe_is_inside(value, run->root);
        keel_sha256_add_text(&hash, flag);
        keel_sha256_add_text(&hash, inside ? "inside" : "outside");
        keel_sha256_add_text(&hash, inside ? value + strlen(run->root) : value);
        if (is_input(run, given)) KEEL_TRY(hash_path(&hash, value, 0, err));
    }
    keel_sha256_hex(&hash, key);
    return KEEL_OK;
}

bool keel_recipe_is_output(const char *flag) {
    static const char *const names[] = {"--store", "--out", "--metrics", NULL};
    for (size_t i = 0; names[i]; i++)
        if (strcmp(flag, names[i]) == 0) return true;
    return false;
}

static bool is_output(const keel_given *given) {
    return given->flag && keel_recipe_is_output(given->flag->name);
}

/* ---- markers ---- */

static keel_status marker_path(keel_recipe_run *run, const keel_step *step, const char **out, keel_err *err) {
    char name[96];
    snprintf(name, sizeof name, "steps/%s.json", step->name);
    return join(run, run->out, name, out, err);
}

/* Whether the step's marker says that exactly this was done and what it made is still there. A marker of
 * something else in the way is a conflict: nothing of an older run is overwritten or mixed in. */
static keel_status is_done(keel_recipe_run *run, const keel_step *step, const keel_cli *cli, const char *path,
                           const char *key, bool *done, keel_err *err) {
    cJSON *marker = NULL;
    const char *found = NULL, *gate = NULL;
    *done = false;
    if (!keel_file_exists(path)) return KEEL_OK;
    KEEL_TRY(keel_json_parse_file(path, &marker, err));
    keel_status status = keel_json_string(marker, "key", true, &found, path, err);
    if (status == KEEL_OK) status = keel_json_string(marker, "gate", false, &gate, path, err);
    if (status == KEEL_OK && strcmp(found, key) != 0) {
        status = keel_fail(err, KEEL_E_CONFLICT, run->out,
                           "step %s was done with other arguments, data or build", step->name);
        keel_hint(err, "choose another --out, or start over with --fresh");
    }
    *done = status == KEEL_OK;
    for (size_t i = 0; i < cli->n_given; i++)
        if (is_output(&cli->given[i]) && !keel_file_exists(cli->given[i].value) &&
            !keel_file_is_folder(cli->given[i].value))
            *done = false;
    if (*done && gate && run->gate.code == KEEL_OK)
        keel_fail(&run->gate, KEEL_E_GATE, step->name, "%s", gate);
    cJSON_Delete(marker);
    return status;
}

static keel_status write_marker(const keel_step *step, keel_cli *cli, const char *path, const char *key,
                                const char *gate, keel_err *err) {
    cJSON *marker = cJSON_CreateObject(), *argv = cJSON_CreateArray();
    for (size_t i = 0; i < step->argc; i++) keel_json_add(argv, NULL, cJSON_CreateString(step->argv[i]));
    cJSON_AddStringToObject(marker, "name", step->name);
    cJSON_AddStringToObject(marker, "title", step->title);
    if (step->group) cJSON_AddStringToObject(marker, "group", step->group);
    if (step->columns) cJSON_AddStringToObject(marker, "columns", step->columns);
    cJSON_AddStringToObject(marker, "verb", step->verb->name);
    keel_json_add(marker, "argv", argv);
    cJSON_AddStringToObject(marker, "key", key);
    if (gate) cJSON_AddStringToObject(marker, "gate", gate);
    /* Not cJSON_AddItemReferenceToObject, which without memory for the key loses the reference. */
    if (cli->result) keel_json_add(marker, "result", cJSON_CreateObjectReference(cli->result->child));
    keel_status status = keel_cli_check_result(cli, err);
    if (status == KEEL_OK) status = keel_json_write_file(path, marker, err);
    cJSON_Delete(marker);
    return status;
}

/* ---- steps ---- */

static keel_status make_folders(keel_recipe_run *run, const keel_cli *cli, keel_err *err) {
    for (size_t i = 0; i < cli->n_given; i++) {
        const char *folder;
        if (!is_output(&cli->given[i]) || !keel_recipe_is_inside(cli->given[i].value, run->root)) continue;
        KEEL_TRY(folder_of(run, cli->given[i].value, &folder, err));
        KEEL_TRY(keel_folder_make(folder, err));
    }
    return KEEL_OK;
}

static keel_status fail_step(const keel_step *step, keel_status status, const keel_err *inner,
                             keel_err *err) {
    keel_fail(err, status, NULL, "step %s (%s): %s%s%s", step->name, step->verb->name, inner->where,
              inner->where[0] ? ": " : "", inner->message[0] ? inner->message : keel_status_text(status));
    if (status == KEEL_E_INTERRUPTED) return keel_hint(err, "the same command goes on from here");
    return inner->hint[0] ? keel_hint(err, "%s", inner->hint) : status;
}

/* Puts words before the step's own arguments. */
static keel_status pass(keel_recipe_run *run, keel_step *step, const char *const *words, size_t count,
                        keel_err *err) {
    const char **argv = keel_arena_calloc(run->arena, step->argc + count, sizeof *argv);
    if (!argv) return keel_fail(err, KEEL_E_NOMEM, NULL, "for arguments");
    memcpy(argv, words, count * sizeof *argv);
    memcpy(argv + count, step->argv, step->argc * sizeof *argv);
    step->argv = argv;
    step->argc += count;
    return KEEL_OK;
}

/* Whether the step's verb has the flag and the step does not give it. */
static bool lacks(const keel_step *step, const char *name) {
    bool takes = keel_verb_has_flag(step->verb, name);
    for (size_t i = 0; i < step->argc; i++) takes &= strcmp(step->argv[i], name) != 0;
    return takes;
}

/* --threads of the run holds for every step that takes it and says nothing itself. The run folder is the
 * run's own: what it holds of an earlier run is written over. */
static keel_status pass_flags(keel_recipe_run *run, keel_step *step, keel_err *err) {
    const char *const threads[] = {"--threads", run->threads};
    const char *const replace[] = {"--replace"};
    bool inside = false;
    for (size_t i = 0; i + 1 < step->argc; i++)
        inside |= strcmp(step->argv[i], "--out") == 0 && keel_recipe_is_inside(step->argv[i + 1], run->root);
    if (inside && lacks(step, replace[0])) KEEL_TRY(pass(run, step, replace, 1, err));
    return threads[1] && lacks(step, threads[0]) ? pass(run, step, threads, 2, err) : KEEL_OK;
}

/* Runs the step unless its marker says that it is done. */
static keel_status do_step(keel_recipe_run *run, const keel_step *step, keel_cli *cli, size_t number,
                           keel_err *err) {
    keel_err inner = {0};
    const char *path;
    char key[65];
    bool done = false;
    KEEL_TRY(step_key(run, step, cli, key, err));
    KEEL_TRY(marker_path(run, step, &path, err));
    if (!run->redo) KEEL_TRY(is_done(run, step, cli, path, key, &done, err));
    memcpy(run->key, key, sizeof key);
    if (done) {
        run->kept++;
        return KEEL_OK;
    }
    run->redo = true;
    keel_log(KEEL_LOG_INFO, "step %zu of %zu: %s (%s)", number, run->recipe->n_steps, step->name,
             step->verb->name);
    KEEL_TRY(make_folders(run, cli, err));
    keel_status status = keel_cli_run(cli, &inner);
    if (status != KEEL_OK && status != KEEL_E_GATE) return fail_step(step, status, &inner, err);
    char gate[1024];
    snprintf(gate, sizeof gate, "%s: %s", inner.where, inner.message);
    if (status == KEEL_E_GATE && run->gate.code == KEEL_OK)
        keel_fail(&run->gate, KEEL_E_GATE, step->name, "%s", gate);
    return write_marker(step, cli, path, key, status == KEEL_E_GATE ? gate : NULL, err);
}

keel_status keel_recipe_run_steps(keel_recipe_run *run, keel_err *err) {
    for (size_t i = run->from; i < run->to; i++) {
        keel_step step = run->recipe->steps[i];
        keel_cli cli;
        bool help = false;
        if (keel_interrupted()) {
            keel_fail(err, KEEL_E_INTERRUPTED, NULL, "before step %s", step.name);
            return keel_hint(err, "the same command goes on from here");
        }
        KEEL_TRY(pass_flags(run, &step, err));
        keel_status status = keel_cli_parse(&cli, step.verb, step.argc, step.argv, &help, err);
        if (status == KEEL_OK) status = do_step(run, &step, &cli, i + 1, err);
        keel_cli_free(&cli);
        if (status != KEEL_OK) return status;
    }
    return KEEL_OK;
}

keel_status keel_recipe_run_begin(keel_recipe_run *run, keel_err *err) {
    const char *steps;
    keel_buf text = {0};
    keel_sha256 hash;
    KEEL_TRY(join(run, run->out, "steps", &steps, err));
    KEEL_TRY(keel_folder_make(steps, err));
    cJSON *build = keel_build_info();
    keel_status status = keel_json_print(build, false, &text, err);
    keel_sha256_init(&hash);
    keel_sha256_add_text(&hash, text.data);
    keel_sha256_hex(&hash, run->key);
    keel_buf_free(&text);
    cJSON_Delete(build);
    return status;
}

keel_status keel_recipe_run_result(keel_recipe_run *run, const char *step, cJSON **out, keel_err *err) {
    const keel_step named = {.name = step};
    const char *path;
    cJSON *marker = NULL;
    KEEL_TRY(marker_path(run, &named, &path, err));
    KEEL_TRY(keel_json_parse_file(path, &marker, err));
    *out = cJSON_DetachItemFromObjectCaseSensitive(marker, "result");
    cJSON_Delete(marker);
    return *out ? KEEL_OK : keel_fail(err, KEEL_E_PARSE, path, "key \"result\" is missing");
}
