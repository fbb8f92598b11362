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
#include "core/json.h"
#include "core/lock.h"
#include "experiments/pareto_report.h"
#include "experiments/recipe_run.h"
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
    keel_recipe_run run;
    bool alone; /* `out` held nothing when its run began */
} running;

/* ---- places ---- */

static keel_status join(keel_cli *cli, const char *folder, const char *name, const char **out,
                        keel_err *err) {
    *out = keel_path_join(&cli->arena, folder, name);
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

/* Writes run.json. */
static keel_status begin(running *work, keel_err *err) {
    const char *path;
    work->run = (keel_recipe_run){.recipe = &work->recipe,
                                  .to = work->recipe.n_steps,
                                  .out = work->out,
                                  .root = work->out,
                                  .threads = keel_cli_value(work->cli, "--threads"),
                                  .arena = &work->cli->arena};
    KEEL_TRY(keel_recipe_run_begin(&work->run, err));
    KEEL_TRY(join(work->cli, work->out, "run.json", &path, err));
    cJSON *run = cJSON_CreateObject(), *names = cJSON_CreateArray();
    cJSON_AddStringToObject(run, "recipe", work->recipe.name);
    cJSON_AddStringToObject(run, "about", work->recipe.about);
    cJSON_AddStringToObject(run, "out", work->out);
    cJSON_AddBoolToObject(run, "alone", work->alone);
    keel_json_add(run, "build", keel_build_info());
    for (size_t i = 0; i < work->recipe.n_steps; i++)
        keel_json_add(names, NULL, cJSON_CreateString(work->recipe.steps[i].name));
    keel_json_add(run, "steps", names);
    keel_status status = keel_cli_check_result(work->cli, err);
    if (status == KEEL_OK) status = keel_json_write_file(path, run, err);
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
    cJSON_AddNumberToObject(result, "steps_kept", (double)work->run.kept);
    keel_json_add(result, "tables", keel_report_tables(&folder));
    keel_json_add(result, "fronts", keel_report_fronts(&folder));
    if (work->run.gate.code != KEEL_OK)
        status = keel_fail(err, KEEL_E_GATE, work->run.gate.where, "%s", work->run.gate.message);
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
    KEEL_TRY(keel_recipe_run_steps(&work->run, err));
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
    .brief = "run a whole experiment; a second run continues where the first stopped",
    .flags = flags,
    .words = "RECIPE.json",
    .words_min = 1,
    .words_max = 1,
    .more =
        "A recipe is a JSON file that lists calls of the other verbs (docs/format.md). Each finished step leaves steps/NAME.json in\n"
        "the run folder. The same command again runs the steps that are left, and writes report.html anew.\n"
        "example: keel run experiments/recipes/quickstart.json --out runs/quickstart --set 'train*.steps=2000'\n",
    .run = run,
    .print = print,
};
