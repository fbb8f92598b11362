/* keel search: the best of many settings of a chain of verbs.
 *
 *  1. Reads the steps (a recipe, verbs after --, or the standard ones), what varies and what is looked at;
 * all command lines are checked before the first runs.
 *  2. Takes trials from the store, one after the other, and runs their steps in folders of their own.
 *  3. Judges the kept trial under --held-out, writes OUT/result.json, records the run, prints the table.
 */
#include <stdlib.h>
#include <string.h>

#include "core/context.h"
#include "core/file.h"
#include "core/json.h"
#include "experiments/cli_resources.h"
#include "experiments/search/search_result.h"
#include "experiments/search/search_tidy.h"
#include "experiments/verbs.h"

static const keel_flag flags[] = {
    {"--store", "FILE", false, false,
     "the logs, and where trials are kept (default with a recipe: trials.db in the folder of the search)"},
    {"--over", "NAME=RANGE", false, true,
     "what varies: LOW:HIGH, log:LOW:HIGH or A,B,C of STEP.FLAG or STEP.KEY, or of a key that one step takes"},
    {"--method", "NAME", false, false, "grid, random, bayes (default) or halving"},
    {"--trials", "N", false, false,
     "how many (default: 20; grid: all); halving: how many begin. A larger N continues the search"},
    {"--maximise", "METRIC", false, false,
     "the metric to make large, by its place in the result of the last step, or STEP.METRIC (default: composite_reward)"},
    {"--minimise", "METRIC", false, false, "the metric to make small"},
    {"--require", "COND", false, true, "what a trial must meet to be kept, as \"refusal_rate.low >= 0.95\""},
    {"--held-out", "STEP.KEY=VALUE", false, true,
     "settings under which the kept trial is evaluated at the end (standard steps: eval.split=test)"},
    {"--budget", "NAME=LOW:HIGH", false, false, "halving: the key that says how long a trial takes"},
    {"--eta", "N", false, false, "halving: one in N goes on, with N times the budget (default: 3)"},
    {"--points", "N", false, false, "grid: values of each range (default: 5)"},
    {"--time", "DURATION", false, false,
     "begin no trial that would end later than this, as 90s, 10m or 2h in all"},
    {"--set", "STEP.KEY=VALUE", false, true, "a setting of all trials"},
    {"--data", "DIR", false, false, "${data} of the recipe (default: $KEEL_DATA)"},
    {"--out", "DIR", false, false, "the folder of the search (default: runs/search)"},
    {"--seed", "N", false, false,
     "seed of what is tried (default: the recorded one); trials keep seeds of their own"},
    KEEL_FLAG_THREADS,
    KEEL_FLAG_END,
};

static const keel_flag_choices choices[] = {{"--method", keel_search_methods}, {NULL, NULL}};

static keel_status read_list(keel_cli *cli, const char *flag, keel_search_list *out, keel_err *err) {
    return keel_cli_values(cli, flag, &out->items, &out->n, err);
}

static keel_status read_numbers(const keel_cli *cli, keel_search_asked *out, keel_err *err) {
    int64_t trials = 0, points = 5, seed = (int64_t)keel_context_current()->seed;
    out->eta = 3;
    KEEL_TRY(keel_cli_integer(cli, "--trials", 1, KEEL_SEARCH_TRIALS, &trials, err));
    KEEL_TRY(keel_cli_integer(cli, "--points", 1, 1000, &points, err));
    KEEL_TRY(keel_cli_integer(cli, "--seed", 0, INT64_MAX, &seed, err));
    KEEL_TRY(keel_cli_number(cli, "--eta", 1.5, 100, &out->eta, err));
    out->trials = (size_t)trials;
    out->points = (size_t)points;
    out->seed = (uint64_t)seed;
    return keel_cli_duration(cli, "--time", &out->seconds, err);
}

static keel_status read_flags(keel_cli *cli, keel_search_asked *out, keel_err *err) {
    const char *data = keel_cli_value(cli, "--data");
    if (!data) data = getenv("KEEL_DATA");
    *out = (keel_search_asked){.store = keel_cli_value(cli, "--store"),
                               .out = keel_cli_value(cli, "--out"),
                               .data = data ? data : "",
                               .threads = keel_cli_value(cli, "--threads"),
                               .budget = keel_cli_value(cli, "--budget"),
                               .maximise = keel_cli_value(cli, "--maximise"),
                               .minimise = keel_cli_value(cli, "--minimise"),
                               .method = 2}; /* bayes */
    if (!out->out) out->out = "runs/search";
    KEEL_TRY(keel_cli_choice(cli, "--method", keel_search_methods, &out->method, err));
    KEEL_TRY(read_list(cli, NULL, &out->words, err));
    KEEL_TRY(read_list(cli, "--set", &out->settings, err));
    KEEL_TRY(read_list(cli, "--over", &out->over, err));
    KEEL_TRY(read_list(cli, "--require", &out->require, err));
    KEEL_TRY(read_list(cli, "--held-out", &out->held_out, err));
    return read_numbers(cli, out, err);
}

/* The store of the trials: --store, or one of its own in OUT. */
static keel_status open_store(keel_cli *cli, const keel_search_asked *asked, keel_store **out,
                              keel_err *err) {
    if (asked->store) return keel_cli_open_store(cli, KEEL_STORE_WRITE, out, err);
    const char *path = keel_path_join(&cli->arena, asked->out, "trials.db");
    if (!path) return keel_nomem(err, asked->out);
    KEEL_TRY(keel_folder_make(asked->out, err));
    return keel_store_open(out, path, KEEL_STORE_CREATE, err);
}

/* Standard steps judge what they keep on the split test, where there is one. */
static void hold_out(keel_search_asked *asked, keel_store *store) {
    static const char *const standard[] = {"eval.split=test"};
    keel_split test;
    if (asked->words.n || asked->held_out.n || keel_split_parse("test", &test, NULL) != KEEL_OK) return;
    if (keel_store_check_split(store, &test, NULL) == KEEL_OK)
        asked->held_out = (keel_search_list){standard, 1};
}

static keel_status search(keel_cli *cli, const keel_search_plan *plan, keel_store *store, keel_err *err) {
    bool in_time = true;
    const char *path = keel_path_join(&cli->arena, plan->asked.out, "result.json");
    if (!path) return keel_nomem(err, plan->asked.out);
    KEEL_TRY(keel_search_trial_begin(plan, store, err));
    KEEL_TRY(keel_search_trial_all(plan, store, &in_time, err));
    KEEL_TRY(keel_search_result_json(plan, store, in_time, &cli->result, err));
    KEEL_TRY(keel_search_tidy(plan, store, err));
    KEEL_TRY(keel_cli_check_result(cli, err));
    KEEL_TRY(keel_json_write_file(path, cli->result, err));
    KEEL_TRY(keel_record_run(cli, store, err));
    cJSON *seconds;
    KEEL_TRY(keel_search_result_seconds(plan, store, &seconds, err));
    cli->told = cJSON_CreateObject();
    keel_json_add(cli->told, "seconds", seconds);
    return keel_cli_check_result(cli, err);
}

static keel_status run(keel_cli *cli, keel_err *err) {
    keel_search_asked asked;
    keel_search_plan plan = {0};
    keel_store *store = NULL;
    char content[65];
    keel_status status;
    KEEL_TRY(read_flags(cli, &asked, err));
    if (asked.store || asked.words.n) KEEL_TRY(open_store(cli, &asked, &store, err));
    if (asked.store) KEEL_TRY_GOTO(keel_store_content_hash(store, NULL, content, err), done);
    asked.content = asked.store ? content : NULL;
    if (store) hold_out(&asked, store);
    KEEL_TRY_GOTO(keel_search_plan_open(&plan, &asked, err), done);
    status = search(cli, &plan, store, err);
done:
    if (status == KEEL_E_INTERRUPTED) keel_hint(err, "the same command goes on from here");
    keel_search_plan_close(&plan);
    keel_store_close(store);
    return status;
}

static void print_methods(FILE *out) {
    fputs("\nmethods (--method):\n", out);
    for (int i = 0; keel_search_methods[i]; ++i)
        fprintf(out, "  %s: %s\n", keel_search_methods[i], keel_search_method_of(i)->help);
}

const keel_verb keel_verb_search = {
    .name = "search",
    .brief = "try many settings of training, a chain of verbs or a recipe, and keep the best",
    .flags = flags,
    .choices = choices,
    .words = "[RECIPE.json] [-- VERB ARGUMENTS...]...",
    .words_max = 1000,
    .more =
        "A trial is a chain of verbs with one value of everything that varies. The chain is a recipe, or verbs after --, or, "
        "if nothing\n"
        "is named, the standard one: sft, train (cql) and eval, learning from four fifths of the split train and evaluated on the "
        "rest.\n"
        "${out} in an argument is the trial's own folder, OUT/trials/NNNN; steps before the first one that varies are run once, "
        "in\n"
        "OUT/common. --store goes to every step that takes it and says nothing itself. A step is called as in the recipe, or by "
        "its\n"
        "verb (train, a second one train-2). A key that a step does not take beside the other values of a trial is left out of "
        "it.\n"
        "\n"
        "Trials are kept in the store. The same command goes on after an interruption or a kill, to the same trials; several "
        "processes\n"
        "with the same command share the work (grid, random and halving make the same trials then; with bayes these depend on "
        "what\n"
        "had ended when each began). A trial that diverges, or whose values do not go together, has failed.\n"
        "\n"
        "What is kept is the feasible trial of the highest value; with bayes the one of which the process expects most. The value "
        "that it\n"
        "shows flatters, for it was chosen by that: --held-out judges it on what nothing was chosen by.\n"
        "examples:\n"
        "  keel search --store logs.db --over train.alpha=log:0.01:1 --over sft.epochs=2,4,8\n"
        "  keel search --store logs.db --over alpha=log:0.01:1 --maximise composite_reward --held-out eval.split=test \\\n"
        "    -- train --base runs/base --algo cql --split train,rest:0/5 --out '${out}/policy' \\\n"
        "    -- eval --policy '${out}/policy' --base runs/base --split train,fold:0/5\n"
        "  keel search recipe.json --method halving --budget train.steps=500:8000 --over train.learning_rate=log:1e-5:1e-2 --maximise "
        "eval.composite_reward\n",
    .more_tables = print_methods,
    .run = run,
    .print = keel_search_result_print,
};
