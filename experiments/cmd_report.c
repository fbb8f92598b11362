/* keel report: one HTML page of a run folder, or of a store and a policy.
 *
 *  1. --run: reads run.json and the results of the steps. --store: evaluates as `keel eval --cases` does, or,
 *     without --policy or where the split holds nothing, looks at what the log does.
 *  2. Draws the plots with gnuplot, or leaves tables where it is missing.
 *  3. Writes one self-contained page. Exit code 3 where a gate is not met; the page is written all the same.
 */
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/json.h"
#include "experiments/cli_eval.h"
#include "experiments/cli_resources.h"
#include "experiments/eval_config.h"
#include "experiments/eval_look.h"
#include "experiments/report/report.h"
#include "experiments/verbs.h"
#include "rl/judge/evaluate_internal.h"
#include "rl/learn/derive.h"

static const keel_flag flags[] = {
    {"--run", "DIR", false, false, "the run folder; or:"},
    {"--store", "FILE", false, false, "a store, whose log is shown"},
    {"--policy", "DIR", false, true, "with --store: the policy that is evaluated on it; several are pooled"},
    {"--base", "DIR", false, false, "its base (default: the folder beside it that holds it)"},
    {"--split", "NAME", false, false, "with --store: the split (default: test; without a policy: all)"},
    {"--gate", "EXPR", false, true, "with --policy: a condition, as `keel eval` takes it"},
    {"--cases", "N", false, false, "with --policy: decisions of each kind to show (default: 6)"},
    {"--out", "FILE", false, false, "the page (default: report.html in the run folder, else here)"},
    KEEL_FLAG_THREADS,
    KEEL_FLAG_END,
};

/* ---- a store ---- */

/* The last part of a path. */
static const char *name_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

static keel_status add_step(keel_run_folder *folder, const char *title, cJSON *result, keel_err *err) {
    cJSON *step = cJSON_CreateObject();
    cJSON_AddStringToObject(step, "name", "eval");
    cJSON_AddStringToObject(step, "title", title);
    cJSON_AddStringToObject(step, "verb", "eval");
    return keel_json_add(step, "result", result) && keel_json_add(folder->steps, NULL, step)
               ? KEEL_OK
               : keel_nomem(err, "the report");
}

/* The log over a split, in the form of an evaluation that judged no policy. */
static keel_status look_at_log(keel_cli *cli, const char *split_name, cJSON **out, keel_err *err) {
    keel_store *store = NULL;
    keel_split split;
    keel_reward_config reward;
    keel_eval_config measure;
    keel_eval_look look = {0};
    keel_evaluation_set set = {0};
    keel_status status;
    KEEL_TRY(keel_options_defaults(keel_eval_config_options, &measure, err));
    KEEL_TRY(keel_cli_blame(keel_split_parse(split_name, &split, err), err));
    KEEL_TRY(keel_cli_open_store(cli, KEEL_STORE_EITHER, &store, err));
    KEEL_TRY_GOTO(keel_derive_rewards(store, &reward, err), done);
    KEEL_TRY_GOTO(keel_eval_look_open(&look, 0, err), done);
    keel_evaluate_config config = keel_eval_config_resolve(&measure, &reward);
    config.look = keel_eval_look_at;
    config.look_context = &look;
    KEEL_TRY_GOTO(keel_evaluate_logged(store, &split, &config, &set, err), done);
    *out = keel_evaluation_json(&set);
    cJSON_DeleteItemFromObjectCaseSensitive(*out, "policy");
    cJSON_DeleteItemFromObjectCaseSensitive(*out, "differences");
    keel_eval_look_add(&look, *out, set.confidence);
    cJSON_DeleteItemFromObjectCaseSensitive(*out, "cases");
done:
    keel_evaluation_set_free(&set);
    keel_eval_look_close(&look);
    keel_store_close(store);
    return status;
}

/* Runs `eval`; the result is kept where a gate is not met too. */
static keel_status judge(keel_cli *cli, keel_run_folder *folder, keel_err *err) {
    static const char *const but[] = {"--out", NULL}, *const few[] = {"--cases", "6", NULL};
    cJSON *result;
    const keel_status status =
        keel_cli_eval(cli, but, keel_cli_has(cli, "--cases") ? few + 2 : few, &result, err);
    if (status != KEEL_OK && status != KEEL_E_GATE) return status;
    const keel_status added = add_step(folder, name_of(keel_cli_value(cli, "--policy")), result, err);
    return added == KEEL_OK ? status : added;
}

static keel_status read_store(keel_cli *cli, keel_run_folder *folder, keel_err *err) {
    const char *store = name_of(keel_cli_value(cli, "--store")), *split = keel_cli_value(cli, "--split");
    const bool policy = keel_cli_has(cli, "--policy");
    char about[1200] = "";
    keel_err missed = {0};
    keel_status status = policy ? judge(cli, folder, &missed) : KEEL_OK;
    const bool nothing = status == KEEL_E_NOT_FOUND && strstr(missed.message, "no conversation is in split");
    if (status != KEEL_OK && status != KEEL_E_GATE && !nothing) {
        *err = missed;
        return status;
    }
    if (nothing) snprintf(about, sizeof about, "The policy was not evaluated: %s.", missed.message);
    cJSON_AddStringToObject(folder->run, "recipe", store);
    cJSON_AddStringToObject(folder->run, "about", about);
    if (policy && !nothing) {
        *err = missed;
        return status;
    }
    cJSON *log = NULL;
    KEEL_TRY(look_at_log(cli, split && !nothing ? split : "all", &log, err));
    return add_step(folder, "The log", log, err);
}

/* ---- the verb ---- */

static keel_status check_flags(const keel_cli *cli, keel_err *err) {
    static const char *const of_store[] = {"--policy", "--base", "--split", "--gate", "--cases", NULL};
    static const char *const of_policy[] = {"--base", "--gate", "--cases", NULL};
    const bool run = keel_cli_has(cli, "--run"), store = keel_cli_has(cli, "--store");
    if (run == store)
        return keel_fail(err, KEEL_E_USAGE, "--run",
                         run ? "excludes --store" : "expected --run DIR or --store FILE");
    for (size_t i = 0; !store && of_store[i]; i++)
        if (keel_cli_has(cli, of_store[i]))
            return keel_fail(err, KEEL_E_USAGE, of_store[i], "expected --store");
    for (size_t i = 0; store && !keel_cli_has(cli, "--policy") && of_policy[i]; i++)
        if (keel_cli_has(cli, of_policy[i]))
            return keel_fail(err, KEEL_E_USAGE, of_policy[i], "expected --policy");
    return KEEL_OK;
}

static keel_status read_folder(keel_cli *cli, keel_run_folder *folder, keel_err *err) {
    const char *dir = keel_cli_value(cli, "--run");
    if (dir) return keel_run_folder_read(folder, dir, err);
    *folder = (keel_run_folder){.dir = ".", .run = cJSON_CreateObject(), .steps = cJSON_CreateArray()};
    return folder->run && folder->steps ? read_store(cli, folder, err) : keel_nomem(err, "the report");
}

static keel_status write_page(keel_cli *cli, const keel_run_folder *folder, const char *out, keel_err *err) {
    keel_buf html = {0};
    keel_status status = keel_cli_check_result(cli, err);
    if (status == KEEL_OK) status = keel_report_html(folder, &html, err);
    if (status == KEEL_OK) status = keel_file_write(out, html.data, html.length, err);
    if (status == KEEL_OK) {
        cli->result = cJSON_CreateObject();
        cJSON_AddStringToObject(cli->result, "report", out);
        cJSON_AddNumberToObject(cli->result, "bytes", (double)html.length);
    }
    keel_buf_free(&html);
    return status;
}

static keel_status run(keel_cli *cli, keel_err *err) {
    const char *dir = keel_cli_value(cli, "--run"), *out = keel_cli_value(cli, "--out");
    keel_run_folder folder = {0};
    keel_err inner = {0};
    KEEL_TRY(check_flags(cli, err));
    if (dir && !keel_file_is_folder(dir))
        return keel_fail(err, KEEL_E_NOT_FOUND, dir, "there is no such folder");
    if (!out) out = dir ? keel_path_join(&cli->arena, dir, "report.html") : "report.html";
    if (!out) return keel_fail(err, KEEL_E_NOMEM, NULL, "for a path");
    KEEL_TRY(keel_cli_open_out_file(out, 0, KEEL_REPORT_BEGIN, err));
    keel_status status = read_folder(cli, &folder, err);
    if (status == KEEL_OK || status == KEEL_E_GATE) {
        const keel_status written = write_page(cli, &folder, out, &inner);
        if (written != KEEL_OK) *err = inner, status = written;
    }
    keel_run_folder_free(&folder);
    return status;
}

static void print(const cJSON *result, FILE *out) {
    fprintf(out, "report: %s\n", cJSON_GetObjectItemCaseSensitive(result, "report")->valuestring);
}

const keel_verb keel_verb_report = {
    .name = "report",
    .brief = "write an HTML page about a run folder, or about a store and a policy",
    .flags = flags,
    .more =
        "One self-contained page: first a verdict in two sentences, what it rests on and what was not measured; then rates "
        "beside log\nand base, slices, the decisions to read, learning curves, lineage. Plots are drawn by gnuplot; "
        "without it the page\nholds the numbers as tables. It opens from disk, on a phone and on paper, and asks "
        "nothing of any server.\n"
        "example: keel report --run runs/quickstart\n"
        "example: keel report --store logs.db --policy runs/policy --gate \"refusal_rate.low >= 0.95\" --out policy.html\n",
    .run = run,
    .print = print,
};
