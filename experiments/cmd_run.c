/* keel run: a recipe, step by step.
 *
 *  1. Reads the recipe with --set and checks every step's command line before the first runs.
 *  2. Locks the run folder. A folder of another recipe or other settings is refused.
 *  3. Runs the steps from the first one on that has no valid marker in steps/; each leaves its result there.
 *  4. Writes run.json and report.html, and prints the tables.
 */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/hash.h"
#include "core/interrupt.h"
#include "core/json.h"
#include "core/lock.h"
#include "core/log.h"
#include "experiments/pareto_report.h"
#include "experiments/recipe.h"
#include "experiments/report/report.h"
#include "experiments/table.h"
#include "experiments/verbs.h"
#include "policies/artefact.h"
#include "rl/judge/evaluate.h"

static const keel_flag flags[] = {
    {"--data", "DIR", false, false, "${data} of the recipe (default: $KEEL_DATA)"},
    {"--out", "DIR", false, false, "the run folder (default: runs/<the recipe's name>)"},
    {"--set", "STEP.KEY=VALUE", false, true,
     "replaces a flag of a step, or sets a configuration key; STEP may end in *"},
    {"--fresh", NULL, false, false, "remove an older run in that folder first"},
    KEEL_FLAG_THREADS,
    KEEL_FLAG_END,
};

typedef struct running {
    keel_cli *cli;
    const char *out;
    keel_lock lock; /* of `out` */
    keel_recipe recipe;
    char key[65]; /* of the step before: each key contains all that led to it */
    bool redo;    /* a step was run anew, so all after it are */
    bool alone;   /* `out` held nothing when its run began */
    size_t kept;
    keel_err gate; /* the first gate that was not met */
} running;

/* ---- places ---- */

static keel_status join(keel_cli *cli, const char *folder, const char *name, const char **out,
                        keel_err *err) {
    *out = keel_path_join(&cli->arena, folder, name);
    return *out ? KEEL_OK : keel_fail(err, KEEL_E_NOMEM, NULL, "for a path");
}

/* The folder that a path lies in, "." for a bare name. */
static keel_status folder_of(keel_cli *cli, const char *path, const char **out, keel_err *err) {
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    *out = slash ? keel_arena_strndup(&cli->arena, path, length ? length : 1) : ".";
    return *out ? KEEL_OK : keel_fail(err, KEEL_E_NOMEM, NULL, "for a path");
}

/* --data, else $KEEL_DATA, else "". */
static const char *find_data(const keel_cli *cli) {
    const char *given = keel_cli_value(cli, "--data");
    if (!given) given = getenv("KEEL_DATA");
    return given ? given : "";
}

/* The recipe's "name" is needed before its ${out} is known. */
static keel_status find_out(keel_cli *cli, const char *recipe, const char **out, keel_err *err) {
    *out = keel_cli_value(cli, "--out");
    if (*out) return KEEL_OK;
    cJSON *json = NULL;
    const char *name = NULL;
    KEEL_TRY(keel_json_parse_file(recipe, &json, err));
    keel_status status = keel_json_string(json, "name", true, &name, recipe, err);
    if (status == KEEL_OK && (strchr(name, '/') || *name == '.'))
        status =
            keel_fail(err, KEEL_E_PARSE, recipe, "key \"name\": expected a name, got the path \"%s\"", name);
    if (status == KEEL_OK) status = join(cli, "runs", name, out, err);
    cJSON_Delete(json);
    return status;
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

static bool is_inside(const char *path, const char *folder) {
    size_t length = strlen(folder);
    return strncmp(path, folder, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

/* Files from outside the run: their content is part of the key. What lies inside came from earlier steps. */
static bool is_input(const running *work, const keel_given *given) {
    static const char *const names[] = {"--config", "--judge", "--env", "--base", "--policy", NULL};
    if (!given->value || is_inside(given->value, work->out)) return false;
    if (!given->flag) return true;
    for (size_t i = 0; names[i]; i++)
        if (strcmp(given->flag->name, names[i]) == 0) return true;
    return false;
}

/* Where the run folder lies, what it held, how many threads work and what is printed do not change a result.
 */
static keel_status step_key(running *work, const keel_step *step, const keel_cli *cli, char key[65],
                            keel_err *err) {
    keel_sha256 hash;
    keel_sha256_init(&hash);
    keel_sha256_add_text(&hash, work->key);
    keel_sha256_add_text(&hash, step->verb->name);
    for (size_t i = 0; i < cli->n_given; i++) {
        const keel_given *given = &cli->given[i];
        const char *flag = given->flag ? given->flag->name : "", *value = given->value;
        if (strcmp(flag, "--threads") == 0 || strcmp(flag, "--replace") == 0 ||
            strcmp(flag, "--quiet") == 0 || strcmp(flag, "--json") == 0)
            continue;
        bool inside = value && is_inside(value, work->out);
        keel_sha256_add_text(&hash, flag);
        keel_sha256_add_text(&hash, inside ? "inside" : "outside");
        keel_sha256_add_text(&hash, inside ? value + strlen(work->out) : value);
        if (is_input(work, given)) KEEL_TRY(hash_path(&hash, value, 0, err));
    }
    keel_sha256_hex(&hash, key);
    return KEEL_OK;
}

static bool is_output(const keel_given *given) {
    static const char *const names[] = {"--store", "--out", "--metrics", NULL};
    for (size_t i = 0; given->flag && names[i]; i++)
        if (strcmp(given->flag->name, names[i]) == 0) return true;
    return false;
}

/* ---- markers ---- */

static keel_status marker_path(running *work, const keel_step *step, const char **out, keel_err *err) {
    char name[96];
    snprintf(name, sizeof name, "steps/%s.json", step->name);
    return join(work->cli, work->out, name, out, err);
}

/* Whether the step's marker says that exactly this was done and what it made is still there. A marker of
 * something else in the way is a conflict: nothing of an older run is overwritten or mixed in. */
static keel_status is_done(running *work, const keel_step *step, const keel_cli *cli, const char *path,
                           const char *key, bool *done, keel_err *err) {
    cJSON *marker = NULL;
    const char *found = NULL, *gate = NULL;
    *done = false;
    if (!keel_file_exists(path)) return KEEL_OK;
    KEEL_TRY(keel_json_parse_file(path, &marker, err));
    keel_status status = keel_json_string(marker, "key", true, &found, path, err);
    if (status == KEEL_OK) status = keel_json_string(marker, "gate", false, &gate, path, err);
    if (status == KEEL_OK && strcmp(found, key) != 0) {
        status = keel_fail(err, KEEL_E_CONFLICT, work->out,
                           "step %s was done with other arguments, data or build", step->name);
        keel_hint(err, "choose another --out, or start over with --fresh");
    }
    *done = status == KEEL_OK;
    for (size_t i = 0; i < cli->n_given; i++)
        if (is_output(&cli->given[i]) && !keel_file_exists(cli->given[i].value) &&
            !keel_file_is_folder(cli->given[i].value))
            *done = false;
    if (*done && gate && work->gate.code == KEEL_OK)
        keel_fail(&work->gate, KEEL_E_GATE, step->name, "%s", gate);
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

static keel_status make_folders(running *work, const keel_cli *cli, keel_err *err) {
    for (size_t i = 0; i < cli->n_given; i++) {
        const char *folder;
        if (!is_output(&cli->given[i]) || !is_inside(cli->given[i].value, work->out)) continue;
        KEEL_TRY(folder_of(work->cli, cli->given[i].value, &folder, err));
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
static keel_status pass(running *work, keel_step *step, const char *const *words, size_t count,
                        keel_err *err) {
    const char **argv = keel_arena_calloc(&work->cli->arena, step->argc + count, sizeof *argv);
    if (!argv) return keel_fail(err, KEEL_E_NOMEM, NULL, "for arguments");
    memcpy(argv, words, count * sizeof *argv);
    memcpy(argv + count, step->argv, step->argc * sizeof *argv);
    step->argv = argv;
    step->argc += count;
    return KEEL_OK;
}

/* Whether the step's verb has the flag and the step does not give it. */
static bool lacks(const keel_step *step, const char *name) {
    bool takes = false;
    for (const keel_flag *flag = step->verb->flags; flag->name; flag++)
        takes |= strcmp(flag->name, name) == 0;
    for (size_t i = 0; i < step->argc; i++) takes &= strcmp(step->argv[i], name) != 0;
    return takes;
}

/* --threads of the run holds for every step that takes it and says nothing itself. The run folder is the
 * run's own: what it holds of an earlier run is written over. */
static keel_status pass_flags(running *work, keel_step *step, keel_err *err) {
    const char *const threads[] = {"--threads", keel_cli_value(work->cli, "--threads")};
    const char *const replace[] = {"--replace"};
    bool inside = false;
    for (size_t i = 0; i + 1 < step->argc; i++)
        inside |= strcmp(step->argv[i], "--out") == 0 && is_inside(step->argv[i + 1], work->out);
    if (inside && lacks(step, replace[0])) KEEL_TRY(pass(work, step, replace, 1, err));
    return threads[1] && lacks(step, threads[0]) ? pass(work, step, threads, 2, err) : KEEL_OK;
}

/* Runs the step unless its marker says that it is done. */
static keel_status do_step(running *work, const keel_step *step, keel_cli *cli, size_t number,
                           keel_err *err) {
    keel_err inner = {0};
    const char *path;
    char key[65];
    bool done = false;
    KEEL_TRY(step_key(work, step, cli, key, err));
    KEEL_TRY(marker_path(work, step, &path, err));
    if (!work->redo) KEEL_TRY(is_done(work, step, cli, path, key, &done, err));
    memcpy(work->key, key, sizeof key);
    if (done) {
        work->kept++;
        return KEEL_OK;
    }
    work->redo = true;
    keel_log(KEEL_LOG_INFO, "step %zu of %zu: %s (%s)", number, work->recipe.n_steps, step->name,
             step->verb->name);
    KEEL_TRY(make_folders(work, cli, err));
    keel_status status = keel_cli_run(cli, &inner);
    if (status != KEEL_OK && status != KEEL_E_GATE) return fail_step(step, status, &inner, err);
    char gate[1024];
    snprintf(gate, sizeof gate, "%s: %s", inner.where, inner.message);
    if (status == KEEL_E_GATE && work->gate.code == KEEL_OK)
        keel_fail(&work->gate, KEEL_E_GATE, step->name, "%s", gate);
    return write_marker(step, cli, path, key, status == KEEL_E_GATE ? gate : NULL, err);
}

static keel_status run_steps(running *work, keel_err *err) {
    for (size_t i = 0; i < work->recipe.n_steps; i++) {
        keel_step step = work->recipe.steps[i];
        keel_cli cli;
        bool help = false;
        if (keel_interrupted()) {
            keel_fail(err, KEEL_E_INTERRUPTED, NULL, "before step %s", step.name);
            return keel_hint(err, "the same command goes on from here");
        }
        KEEL_TRY(pass_flags(work, &step, err));
        keel_status status = keel_cli_parse(&cli, step.verb, step.argc, step.argv, &help, err);
        if (status == KEEL_OK) status = do_step(work, &step, &cli, i + 1, err);
        keel_cli_free(&cli);
        if (status != KEEL_OK) return status;
    }
    return KEEL_OK;
}

/* ---- the verb ---- */

/* Two runs in one folder would mix their steps: the second fails. */
static keel_status lock_folder(running *work, keel_err *err) {
    const char *inside;
    KEEL_TRY(join(work->cli, work->out, "", &inside, err)); /* so the lock is OUT/.lock */
    return keel_lock_take(&work->lock, inside, err);
}

/* Whether the run has the folder for itself: as its run.json says, or, where it only begins, as it looks.
 * "steps" is what a run killed at its very beginning leaves. */
static keel_status look_around(running *work, keel_err *err) {
    const char *path;
    cJSON *run = NULL;
    KEEL_TRY(join(work->cli, work->out, "run.json", &path, err));
    if (keel_file_exists(path)) {
        KEEL_TRY(keel_json_parse_file(path, &run, err));
        work->alone = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(run, "alone"));
        cJSON_Delete(run);
        return KEEL_OK;
    }
    struct dirent **entries = NULL;
    int count = scandir(work->out, &entries, NULL, alphasort);
    work->alone = true;
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        if (name[0] != '.' && strcmp(name, "steps") != 0) work->alone = false;
        free(entries[i]); /* scandir's own allocation */
    }
    free(entries);
    return KEEL_OK;
}

/* Starts the chain of keys with the build, and writes run.json. */
static keel_status begin(running *work, keel_err *err) {
    const char *path, *steps;
    keel_buf build_text = {0};
    keel_sha256 hash;
    KEEL_TRY(join(work->cli, work->out, "steps", &steps, err));
    KEEL_TRY(join(work->cli, work->out, "run.json", &path, err));
    KEEL_TRY(keel_folder_make(steps, err));
    cJSON *run = cJSON_CreateObject(), *build = keel_build_info(), *names = cJSON_CreateArray();
    keel_status status = keel_json_print(build, false, &build_text, err);
    cJSON_AddStringToObject(run, "recipe", work->recipe.name);
    cJSON_AddStringToObject(run, "about", work->recipe.about);
    cJSON_AddStringToObject(run, "out", work->out);
    cJSON_AddBoolToObject(run, "alone", work->alone);
    keel_json_add(run, "build", build);
    for (size_t i = 0; i < work->recipe.n_steps; i++)
        keel_json_add(names, NULL, cJSON_CreateString(work->recipe.steps[i].name));
    keel_json_add(run, "steps", names);
    if (status == KEEL_OK) status = keel_cli_check_result(work->cli, err);
    if (status == KEEL_OK) status = keel_json_write_file(path, run, err);
    keel_sha256_init(&hash);
    keel_sha256_add_text(&hash, build_text.data);
    keel_sha256_hex(&hash, work->key);
    keel_buf_free(&build_text);
    cJSON_Delete(run);
    return status;
}

static keel_status finish(running *work, keel_err *err) {
    keel_run_folder folder = {0};
    keel_buf html = {0};
    const char *path;
    keel_status status;
    KEEL_TRY(join(work->cli, work->out, "report.html", &path, err));
    KEEL_TRY_GOTO(keel_run_folder_read(&folder, work->out, err), done);
    KEEL_TRY_GOTO(keel_report_html(&folder, &html, err), done);
    KEEL_TRY_GOTO(keel_file_write(path, html.data, html.length, err), done);
    cJSON *result = work->cli->result = cJSON_CreateObject();
    cJSON_AddStringToObject(result, "recipe", work->recipe.name);
    cJSON_AddStringToObject(result, "report", path);
    cJSON_AddNumberToObject(result, "steps", (double)work->recipe.n_steps);
    cJSON_AddNumberToObject(result, "steps_kept", (double)work->kept);
    keel_json_add(result, "tables", keel_report_tables(&folder));
    keel_json_add(result, "fronts", keel_report_fronts(&folder));
    if (work->gate.code != KEEL_OK)
        status = keel_fail(err, KEEL_E_GATE, work->gate.where, "%s", work->gate.message);
done:
    keel_buf_free(&html);
    keel_run_folder_free(&folder);
    return status;
}

/* Removes an older run with its folder, but no folder that held anything before the run. */
static keel_status start_over(running *work, keel_err *err) {
    const char *path;
    KEEL_TRY(join(work->cli, work->out, "run.json", &path, err));
    if (!keel_file_exists(path)) return KEEL_OK;
    if (!work->alone) {
        keel_fail(err, KEEL_E_CONFLICT, work->out, "held other things when the run began");
        return keel_hint(err, "remove what the run wrote yourself, or choose another --out");
    }
    KEEL_TRY(keel_folder_remove(work->out, err));
    keel_lock_release(&work->lock); /* its file went too */
    return lock_folder(work, err);
}

static keel_status run_recipe(running *work, keel_err *err) {
    keel_cli *cli = work->cli;
    const char *const *words;
    keel_recipe_places places = {0};
    size_t count;
    KEEL_TRY(keel_cli_values(cli, NULL, &words, &count, err));
    KEEL_TRY(keel_cli_values(cli, "--set", &places.settings, &places.n_settings, err));
    places.data = find_data(cli);
    KEEL_TRY(find_out(cli, words[0], &places.out, err));
    work->out = places.out;
    KEEL_TRY(keel_recipe_load(&work->recipe, words[0], &places, err));
    KEEL_TRY(lock_folder(work, err));
    KEEL_TRY(look_around(work, err));
    if (keel_cli_has(cli, "--fresh")) KEEL_TRY(start_over(work, err));
    KEEL_TRY(begin(work, err));
    KEEL_TRY(run_steps(work, err));
    return finish(work, err);
}

static keel_status run(keel_cli *cli, keel_err *err) {
    running work = {.cli = cli};
    keel_status status = run_recipe(&work, err);
    keel_lock_release(&work.lock);
    keel_recipe_free(&work.recipe);
    return status;
}

static bool any_estimate(const cJSON *rows, const char *metric) {
    const cJSON *row;
    cJSON_ArrayForEach (row, rows) {
        const cJSON *metrics = cJSON_GetObjectItemCaseSensitive(row, "metrics");
        const cJSON *interval = cJSON_GetObjectItemCaseSensitive(metrics, metric);
        const cJSON *n = cJSON_GetObjectItemCaseSensitive(interval, "n");
        if (cJSON_IsNumber(n) && n->valuedouble > 0) return true;
    }
    return false;
}

/* Whether a word stands in a list with commas. */
static bool is_listed(const char *list, const char *word) {
    const size_t length = strlen(word);
    for (const char *at = list; at && (at = strstr(at, word)); at += length)
        if ((at == list || at[-1] == ',') && (!at[length] || at[length] == ',')) return true;
    return false;
}

/* One table of the report: who answered (rows) by what is known of them (columns). */
static void print_group(const cJSON *group, FILE *out) {
    static const char *const names[] = {"refusal_rate",       "over_refusal_rate", "borderline_refusal_rate",
                                        "completion_rate",    "composite_reward",  "agreement_rate",
                                        "preference_accuracy"};
    enum { N_NAMES = sizeof names / sizeof names[0] };
    const cJSON *rows = cJSON_GetObjectItemCaseSensitive(group, "rows"), *row;
    const char *columns = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(group, "columns"));
    const char *shown[N_NAMES + KEEL_N_METRICS];
    size_t count = 0;
    for (size_t i = 0; i < N_NAMES; i++)
        if (any_estimate(rows, names[i])) shown[count++] = names[i];
    for (size_t i = 0; i < KEEL_N_METRICS; i++)
        if (is_listed(columns, keel_metric_names[i])) shown[count++] = keel_metric_names[i];
    keel_table table = {.columns = count + 1};
    keel_print_line(out, cJSON_GetObjectItemCaseSensitive(group, "title")->valuestring, 0);
    fputs("\n\n", out);
    keel_table_cell(&table, "answers");
    for (size_t i = 0; i < count; i++) keel_table_cell(&table, "%s", shown[i]);
    cJSON_ArrayForEach (row, rows) {
        const cJSON *metrics = cJSON_GetObjectItemCaseSensitive(row, "metrics");
        keel_table_cell(&table, "%s", cJSON_GetObjectItemCaseSensitive(row, "name")->valuestring);
        for (size_t i = 0; i < count; i++)
            keel_table_interval(&table, cJSON_GetObjectItemCaseSensitive(metrics, shown[i]));
    }
    keel_table_print(&table, out);
    keel_table_free(&table);
    const char *note = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(group, "note"));
    if (note) fprintf(out, "%s\n", note);
    fputc('\n', out);
}

static void print(const cJSON *result, FILE *out) {
    const cJSON *group, *fronts = cJSON_GetObjectItemCaseSensitive(result, "fronts");
    cJSON_ArrayForEach (group, cJSON_GetObjectItemCaseSensitive(result, "tables")) print_group(group, out);
    keel_pareto_report_compare(fronts, out);
    fprintf(out, "report: %s\n", cJSON_GetObjectItemCaseSensitive(result, "report")->valuestring);
}

const keel_verb keel_verb_run = {
    .name = "run",
    .brief = "a whole experiment; a second run continues where the first stopped",
    .flags = flags,
    .words = "RECIPE.json",
    .words_min = 1,
    .words_max = 1,
    .more =
        "A recipe is a JSON file that lists calls of the other verbs; docs/format.md describes it. Each finished step "
        "leaves\n"
        "steps/NAME.json in the run folder; the same command again does what is left and writes "
        "report.html anew.\n"
        "example: keel run experiments/recipes/quickstart.json --out runs/quickstart --set "
        "'train*.steps=2000'\n",
    .run = run,
    .print = print,
};
