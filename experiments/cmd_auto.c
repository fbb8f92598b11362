/* keel auto: from a store to an evaluated policy, with a small search on the way.
 *
 *  1. Looks at the log (stats); has responses judged (label) if none is.
 *  2. Cuts the split that is learned from: a part judges, the rest teaches.
 *  3. Makes what the defaults make: sft --base builtin, train with its own choice among learners.
 *  4. Searches bases, modes and learners for a policy that earns more than that, conversation by conversation
 *     on the part that judges, as long as the budget allows.
 *  5. Keeps the defaults unless a trial is better beyond doubt; makes what is kept anew on the whole split.
 *  6. Judges it on the test split, with the gates, and writes the report.
 */
#include <string.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/context.h"
#include "core/decimal.h"
#include "core/file.h"
#include "core/json.h"
#include "core/lock.h"
#include "core/log.h"
#include "experiments/cli_resources.h"
#include "experiments/eval_gates.h"
#include "experiments/eval_print.h"
#include "experiments/recipe_chain.h"
#include "experiments/report/report.h"
#include "experiments/search/search_result.h"
#include "experiments/search/search_tidy.h"
#include "experiments/verbs.h"
#include "policies/artefact.h"
#include "policies/base.h"

static const keel_flag flags[] = {
    KEEL_FLAG_STORE,
    {"--budget", "DURATION", false, false,
     "how long it may take, as 90s, 10m (default) or 2h; it bounds what begins"},
    {"--base", "DIR", false, true, "an encoder, or a base, to try beside builtin"},
    {"--trials", "N", false, false,
     "how many at most (default: 12, and 8 for each --base); 0: the defaults alone"},
    {"--split", "NAME", false, false, "what it learns from (default: train)"},
    {"--test", "NAME", false, false, "what the kept policy is evaluated on at the end (default: test)"},
    {"--set", "STEP.KEY=VALUE", false, true, "a setting of sft or train wherever it calls them"},
    {"--gate", "EXPR", false, true, "a condition on that, as of `keel eval`; exit 3 if one is not met"},
    {"--out", "DIR", false, false, "the folder of it all (default: runs/auto)"},
    {"--seed", "N", false, false,
     "seed of what is tried (default: the recorded one); what is trained keeps seeds of its own"},
    KEEL_FLAG_THREADS,
    KEEL_FLAG_END,
};

/* Small logs need a larger part to see a difference on. */
enum { SMALL = 2000, OF_SMALL = 3, OF_LARGE = 5 };
static const double delta = 0.05; /* the chance that a trial is kept which is no better than the defaults */

typedef struct automatic {
    keel_cli *cli;
    const char *store, *out, *split, *test;
    char teaches[200], judges[200];
    double budget, spent; /* seconds; by the defaults */
    int64_t trials;
    bool labels; /* nothing is judged: label does it */
    char content[65], confidence[40];
    const char *over[8], *chain[KEEL_CHAIN_WORDS];
    keel_search_asked asked;
    keel_search_plan plan;
    keel_arena *arena;
} automatic;

/* ---- chains of verbs ---- */

static keel_chain_place place_in(const automatic *a, const char *out_dir) {
    return (keel_chain_place){.name = "auto",
                              .store = a->store,
                              .out = out_dir,
                              .root = a->out,
                              .threads = keel_cli_value(a->cli, "--threads"),
                              .arena = a->arena};
}

/* Runs the chain in a folder; *gate: what was not met. What --set says is for chains that begin with sft. */
static keel_status run_words(const automatic *a, const keel_chain *line, const char *out_dir, keel_err *gate,
                             keel_err *err) {
    keel_chain_place place = place_in(a, out_dir);
    if (strcmp(line->list[0], "sft") == 0)
        KEEL_TRY(keel_cli_values(a->cli, "--set", &place.settings, &place.n_settings, err));
    return keel_chain_run(line, &place, gate, err);
}

static keel_status result_of(const automatic *a, const char *out_dir, const char *step, cJSON **out,
                             keel_err *err) {
    const keel_chain_place place = place_in(a, out_dir);
    return keel_chain_result(&place, step, out, err);
}

static const char *in(const automatic *a, const char *name) {
    return keel_path_join(a->arena, a->out, name);
}

/* ---- the log ---- */

static double total(const cJSON *splits, const char *group, const char *name) {
    const cJSON *split;
    double sum = 0;
    cJSON_ArrayForEach (split, splits) {
        const cJSON *item = keel_json_get(group ? keel_json_get(split, group) : split, name);
        if (cJSON_IsNumber(item)) sum += item->valuedouble;
    }
    return sum;
}

static keel_status look_at_log(automatic *a, keel_err *err) {
    keel_chain line = {0};
    cJSON *stats = NULL;
    KEEL_CHAIN_SAY(&line, "stats");
    KEEL_TRY(run_words(a, &line, a->out, NULL, err));
    KEEL_TRY(result_of(a, a->out, "stats", &stats, err));
    const cJSON *splits = keel_json_get(stats, "splits");
    const double taken = total(splits, NULL, "taken");
    a->labels = taken > 0 && total(splits, "outcome", "unjudged") == taken;
    cJSON_Delete(stats);
    if (!a->labels) return KEEL_OK;
    keel_chain judge = {0};
    KEEL_CHAIN_SAY(&judge, "label");
    return run_words(a, &judge, a->out, NULL, err);
}

static keel_status cut(automatic *a, keel_err *err) {
    keel_store *store = NULL;
    keel_split split, test;
    size_t conversations = 0;
    KEEL_TRY(keel_cli_open_store(a->cli, KEEL_STORE_EITHER, &store, err));
    keel_status status = keel_cli_blame(keel_split_parse(a->split, &split, err), err);
    if (status == KEEL_OK) status = keel_cli_blame(keel_split_parse(a->test, &test, err), err);
    if (status == KEEL_OK) status = keel_store_check_split(store, &split, err);
    if (status == KEEL_OK) status = keel_store_check_split(store, &test, err);
    if (status == KEEL_OK && !keel_split_disjoint(&split, &test)) {
        status = keel_fail(err, KEEL_E_USAGE, "--test", "may hold conversations of --split %s", a->split);
        keel_hint(err, "choose a --test that nothing was learned from");
    }
    if (status == KEEL_OK) status = keel_store_count_conversations(store, &split, &conversations, err);
    keel_store_close(store);
    const int folds = conversations <= SMALL ? OF_SMALL : OF_LARGE;
    snprintf(a->teaches, sizeof a->teaches, "%.150s,rest:0/%d", a->split, folds);
    snprintf(a->judges, sizeof a->judges, "%.150s,fold:0/%d", a->split, folds);
    return status;
}

/* ---- the defaults ---- */

static void say_defaults(keel_chain *to, const char *split) {
    KEEL_CHAIN_SAY(to, "sft", "--base", "builtin", "--split", split, "--out", "${out}/base", "--", "train",
                   "--base", "${out}/base", "--split", split, "--out", "${out}/policy");
}

/* How long they took stands in the store: a run that goes on has spent it, too. */
static keel_status make_defaults(automatic *a, keel_store *store, keel_err *err) {
    keel_chain line = {0};
    char key[80], seconds[KEEL_DECIMAL_SIZE];
    const char *folder = in(a, "default"), *known = NULL;
    if (!folder) return keel_nomem(err, "auto");
    const double begun = keel_clock();
    keel_log(
        KEEL_LOG_INFO,
        "auto: the defaults come first, however long they take, and what is kept is made once more on all of "
        "%s; the budget of %.0f s bounds the trials between",
        a->split, a->budget);
    say_defaults(&line, a->teaches);
    KEEL_TRY(run_words(a, &line, folder, NULL, err));
    a->spent = keel_clock() - begun;
    snprintf(key, sizeof key, "auto %s", a->plan.hash);
    KEEL_TRY(keel_store_get_setting(store, key, a->arena, &known, err));
    if (known) a->spent = keel_decimal_read(known, NULL);
    if (known) return KEEL_OK;
    keel_decimal_print(seconds, a->spent);
    KEEL_TRY(keel_store_begin(store, err));
    keel_status status = keel_store_put_setting(store, key, seconds, err);
    if (status == KEEL_OK) status = keel_store_commit(store, err);
    if (status != KEEL_OK) keel_store_rollback(store);
    return status;
}

/* ---- the search ---- */

/* "sft.base=builtin,DIR"; *n: how many DIRs. */
static keel_status bases(automatic *a, const char **out, size_t *n, keel_err *err) {
    const char *const *dirs;
    keel_buf text = {0};
    KEEL_TRY(keel_cli_values(a->cli, "--base", &dirs, n, err));
    keel_buf_text(&text, "sft.base=builtin");
    for (size_t i = 0; i < *n; ++i) {
        const keel_base_kind *kind;
        KEEL_TRY(keel_base_find_kind(dirs[i], &kind, err));
        if (strchr(dirs[i], ',')) return keel_fail(err, KEEL_E_USAGE, "--base", "\"%s\": no commas", dirs[i]);
        keel_buf_format(&text, ",%s", dirs[i]);
    }
    *out = text.failed ? NULL : keel_arena_strdup(a->arena, text.data);
    keel_buf_free(&text);
    return *out ? KEEL_OK : keel_nomem(err, "auto");
}

/* What a trial is: a base, a policy on it, and what the two earn apart from the defaults on what judges. All
 * limits hold together (Bonferroni), so that the best of them does. */
static keel_status lay_out(automatic *a, keel_err *err) {
    const char *base;
    keel_chain chain = {0};
    size_t n = 0, n_bases;
    KEEL_TRY(bases(a, &base, &n_bases, err));
    if (n_bases) a->over[n++] = base;
    if (n_bases) a->over[n++] = "sft.mode=freeze,lora,full";
    a->over[n++] = "train.algo=cql,filtered-bc,iql";
    a->over[n++] = "train.alpha=log:0.03:1";
    a->over[n++] = "train.kl_budget=log:0.3:10";
    if (!keel_cli_has(a->cli, "--trials")) a->trials = 12 + 8 * (int64_t)n_bases;
    snprintf(a->confidence, sizeof a->confidence, "%.9g",
             1 - 2 * delta / (double)(a->trials > 0 ? a->trials : 1));
    KEEL_CHAIN_SAY(&chain, "sft", "--base", "builtin", "--split", a->teaches, "--out", "${out}/base", "--",
                   "train", "--base", "${out}/base", "--algo", "cql", "--split", a->teaches, "--out",
                   "${out}/policy", "--", "replay", "--policy", "${out}/policy", "--base", "${out}/base",
                   "--split", a->judges, "--limit", "1", "--confidence", a->confidence, "--diff",
                   in(a, "default/policy"), "--diff-base", in(a, "default/base"));
    memcpy(a->chain, chain.list, sizeof a->chain);
    a->asked = (keel_search_asked){.store = a->store,
                                   .out = in(a, "search"),
                                   .data = "",
                                   .threads = keel_cli_value(a->cli, "--threads"),
                                   .words = {a->chain, chain.n},
                                   .over = {a->over, n},
                                   .content = a->content,
                                   .maximise = "compared.composite_reward.low",
                                   .method = 2, /* bayes */
                                   .trials = (size_t)a->trials,
                                   .points = 5,
                                   .seed = keel_context_current()->seed,
                                   .eta = 3};
    int64_t seed = (int64_t)a->asked.seed;
    KEEL_TRY(keel_cli_values(a->cli, "--set", &a->asked.settings.items, &a->asked.settings.n, err));
    KEEL_TRY(keel_cli_integer(a->cli, "--seed", 0, INT64_MAX, &seed, err));
    a->asked.seed = (uint64_t)seed;
    return a->asked.out ? keel_search_plan_open(&a->plan, &a->asked, err) : keel_nomem(err, "auto");
}

/* The last of it, on the whole split, takes about as long as the defaults did. */
static double left_for_trials(const automatic *a) {
    return a->budget - a->spent - 1.5 * a->spent;
}

static void tell_time(const automatic *a) {
    const double left = left_for_trials(a);
    if (left > 0)
        keel_log(KEEL_LOG_INFO, "auto: the defaults took %.0f s; %.0f s are left for trials", a->spent, left);
    else
        keel_log(KEEL_LOG_INFO,
                 "auto: the defaults took %.0f s; trials begin with a budget of more than %.0f s", a->spent,
                 2.5 * a->spent);
}

static keel_status search(automatic *a, keel_store *store, cJSON **found, keel_err *err) {
    bool in_time = false;
    keel_status status = KEEL_OK;
    a->plan.asked.seconds = left_for_trials(a);
    if (a->trials > 0) tell_time(a);
    if (a->trials > 0 && a->plan.asked.seconds > 0)
        status = keel_search_trial_all(&a->plan, store, &in_time, err);
    return status == KEEL_OK ? keel_search_result_json(&a->plan, store, in_time, found, err) : status;
}

/* The trial that is better beyond doubt, or -1: the defaults. */
static int decide(const cJSON *found) {
    const cJSON *best = keel_json_get(found, "trials")->child;
    const cJSON *low = keel_json_get(best, "value");
    return cJSON_IsNumber(low) && low->valuedouble > 0 ? keel_json_get(best, "trial")->valueint : -1;
}

/* ---- what is kept ---- */

static keel_status forget(const automatic *a, const char *marker, keel_err *err) {
    const char *path = in(a, marker);
    if (!path) return keel_nomem(err, "auto");
    unlink(path);
    return KEEL_OK;
}

/* The markers of another choice would be in the way. */
static keel_status forget_other(const automatic *a, int kept, keel_err *err) {
    const char *path = in(a, "kept.json");
    cJSON *there = NULL;
    if (!path) return keel_nomem(err, "auto");
    if (keel_file_exists(path)) KEEL_TRY(keel_json_parse_file(path, &there, err));
    const bool other = !there || there->valueint != kept;
    cJSON_Delete(there);
    if (!other) return KEEL_OK;
    KEEL_TRY(forget(a, "steps/sft.json", err));
    KEEL_TRY(forget(a, "steps/train.json", err));
    cJSON *now = cJSON_CreateNumber(kept);
    const keel_status status = keel_json_write_file(path, now, err);
    cJSON_Delete(now);
    return status;
}

/* The base and the policy of a trial, on the whole split. */
static keel_status make_trial(const automatic *a, keel_store *store, int kept, keel_err *err) {
    keel_search_trials all;
    keel_recipe recipe = {0};
    char settings[2][200];
    const char *list[] = {settings[0], settings[1]};
    snprintf(settings[0], sizeof settings[0], "sft.split=%.150s", a->split);
    snprintf(settings[1], sizeof settings[1], "train.split=%.150s", a->split);
    keel_status status = keel_search_trial_list(&a->plan, store, &all, err);
    if (status == KEEL_OK)
        status = keel_search_plan_steps(&a->plan, all.values[kept], (keel_optional){0},
                                        &(keel_search_list){list, 2}, a->out, &recipe, err);
    const keel_chain_place place = place_in(a, a->out);
    keel_recipe_run run = keel_chain_in(&place, &recipe);
    run.to = 2; /* without what compares */
    if (status == KEEL_OK) status = keel_recipe_run_begin(&run, err);
    if (status == KEEL_OK) status = keel_recipe_run_steps(&run, err);
    keel_recipe_free(&recipe);
    keel_search_trial_free(&all);
    return status;
}

static keel_status make_kept(const automatic *a, keel_store *store, int kept, keel_err *err) {
    keel_chain line = {0};
    KEEL_TRY(forget_other(a, kept, err));
    if (kept >= 0) return make_trial(a, store, kept, err);
    say_defaults(&line, a->split);
    return run_words(a, &line, a->out, NULL, err);
}

static keel_status judge(const automatic *a, keel_err *gate, keel_err *err) {
    const char *const *gates;
    size_t n;
    keel_chain line = {0};
    KEEL_TRY(keel_cli_values(a->cli, "--gate", &gates, &n, err));
    if (n > 16) return keel_fail(err, KEEL_E_USAGE, "--gate", "at most 16");
    KEEL_CHAIN_SAY(&line, "eval", "--policy", "${out}/policy", "--base", "${out}/base", "--split", a->test,
                   "--cases", "6");
    for (size_t i = 0; i < n; ++i) KEEL_CHAIN_SAY(&line, "--gate", gates[i]);
    KEEL_TRY(forget(a, "steps/eval.json", err)); /* of other gates */
    return run_words(a, &line, a->out, gate, err);
}

/* ---- what comes out ---- */

static keel_status report(const automatic *a, const char **path, keel_err *err) {
    const char *run_path = in(a, "run.json");
    *path = in(a, "report.html");
    keel_run_folder folder = {0};
    keel_buf html = {0};
    if (!run_path || !*path) return keel_nomem(err, "auto");
    cJSON *run = cJSON_CreateObject(), *steps = cJSON_AddArrayToObject(run, "steps");
    cJSON_AddStringToObject(run, "recipe", "auto");
    cJSON_AddStringToObject(run, "about", "keel auto: the defaults, or what was better beyond doubt.");
    cJSON_AddStringToObject(run, "out", a->out);
    cJSON_AddBoolToObject(run, "alone", false);
    keel_json_add(run, "build", keel_build_info());
    for (const char *const *step = (const char *const[]){"stats", "label", "sft", "train", "eval", NULL};
         *step; ++step)
        if (a->labels || strcmp(*step, "label") != 0) keel_json_add(steps, NULL, cJSON_CreateString(*step));
    keel_status status = keel_cli_check_result(a->cli, err);
    if (status == KEEL_OK) status = keel_json_write_file(run_path, run, err);
    if (status == KEEL_OK) status = keel_run_folder_read(&folder, a->out, err);
    if (status == KEEL_OK) status = keel_report_html(&folder, &html, err);
    if (status == KEEL_OK) status = keel_file_write(*path, html.data, html.length, err);
    keel_buf_free(&html);
    keel_run_folder_free(&folder);
    cJSON_Delete(run);
    return status;
}

/* Why that was kept, in a sentence. */
static void explain(const automatic *a, const cJSON *found, int kept, char *out, size_t size) {
    const cJSON *best = keel_json_get(found, "trials")->child, *low = keel_json_get(best, "value");
    if (kept >= 0)
        snprintf(
            out, size,
            "trial %d earns at least %.4g more a conversation than the defaults on %s; the limit holds for all %lld "
            "trials at once (95 %%)",
            kept, low->valuedouble, a->judges, (long long)a->trials);
    else if (cJSON_IsNumber(low))
        snprintf(
            out, size,
            "no trial is better beyond doubt: the highest lower bound of what one earns above the defaults on %s is "
            "%.4g (for all %lld trials at once, 95 %%)",
            a->judges, low->valuedouble, (long long)a->trials);
    else
        snprintf(out, size, "nothing else was tried: %s",
                 a->trials == 0 ? "--trials 0" : "the budget left no time after the defaults");
}

static keel_status fill(automatic *a, cJSON *found, int kept, const char *report_path, keel_err *err) {
    char why[400];
    cJSON *evaluation = NULL, *result = a->cli->result = cJSON_CreateObject();
    explain(a, found, kept, why, sizeof why);
    cJSON_AddStringToObject(result, "out", a->out);
    cJSON_AddStringToObject(result, "labels", a->labels ? "made: no response was judged" : "as they are");
    cJSON_AddStringToObject(result, "learned_from", a->split);
    cJSON_AddStringToObject(result, "compared_on", a->judges);
    cJSON_AddStringToObject(result, "judged_on", a->test);
    cJSON_AddNumberToObject(result, "budget", a->budget);
    if (kept >= 0)
        cJSON_AddNumberToObject(result, "kept", kept);
    else
        cJSON_AddStringToObject(result, "kept", "default");
    cJSON_AddStringToObject(result, "why", why);
    const char *policy = in(a, "policy"), *base = in(a, "base");
    if (!policy || !base) return keel_nomem(err, "auto");
    cJSON_AddStringToObject(result, "policy", policy);
    cJSON_AddStringToObject(result, "base", base);
    cJSON_AddStringToObject(result, "report", report_path);
    keel_json_add(result, "search", cJSON_Duplicate(found, true));
    KEEL_TRY(result_of(a, a->out, "eval", &evaluation, err));
    keel_json_add(result, "eval", evaluation);
    return keel_cli_check_result(a->cli, err);
}

/* Told, not kept: how long it took. */
static keel_status tell(const automatic *a, keel_store *store, keel_err *err) {
    cJSON *seconds;
    KEEL_TRY(keel_search_result_seconds(&a->plan, store, &seconds, err));
    cJSON *told = a->cli->told = cJSON_CreateObject();
    keel_json_add(told, "seconds", seconds);
    cJSON_AddNumberToObject(told, "default_seconds", a->spent);
    return keel_cli_check_result(a->cli, err);
}

/* The search, and what is kept of it. */
static keel_status choose(automatic *a, keel_store *store, cJSON **found, int *kept, keel_err *err) {
    KEEL_TRY(keel_store_content_hash(store, NULL, a->content, err));
    KEEL_TRY(lay_out(a, err));
    KEEL_TRY(keel_search_trial_begin(&a->plan, store, err)); /* says so where the logs have changed */
    KEEL_TRY(make_defaults(a, store, err));
    KEEL_TRY(search(a, store, found, err));
    *kept = decide(*found);
    KEEL_TRY(keel_search_tidy(&a->plan, store, err));
    return make_kept(a, store, *kept, err);
}

static keel_status work(automatic *a, keel_err *err) {
    keel_err gate = {0};
    keel_store *store = NULL;
    cJSON *found = NULL;
    const char *path = NULL;
    int kept = -1;
    KEEL_TRY(cut(a, err));
    KEEL_TRY(look_at_log(a, err));
    KEEL_TRY(keel_cli_open_store(a->cli, KEEL_STORE_WRITE, &store, err));
    keel_status status = choose(a, store, &found, &kept, err);
    if (status == KEEL_OK) status = judge(a, &gate, err);
    if (status == KEEL_OK) status = report(a, &path, err);
    if (status == KEEL_OK) status = fill(a, found, kept, path, err);
    if (status == KEEL_OK) status = keel_record_run(a->cli, store, err);
    if (status == KEEL_OK) status = tell(a, store, err);
    cJSON_Delete(found);
    keel_store_close(store);
    if (status == KEEL_OK && gate.code != KEEL_OK)
        status = keel_fail(err, KEEL_E_GATE, gate.where, "%s", gate.message);
    return status;
}

static keel_status run(keel_cli *cli, keel_err *err) {
    automatic a = {.cli = cli,
                   .store = keel_cli_value(cli, "--store"),
                   .out = keel_cli_value(cli, "--out"),
                   .split = keel_cli_value(cli, "--split"),
                   .test = keel_cli_value(cli, "--test"),
                   .budget = 600,
                   .trials = 12,
                   .arena = &cli->arena};
    keel_eval_gates gates;
    keel_lock lock = {0};
    if (!a.out) a.out = "runs/auto";
    if (!a.split) a.split = "train";
    if (!a.test) a.test = "test";
    KEEL_TRY(keel_cli_duration(cli, "--budget", &a.budget, err));
    KEEL_TRY(keel_eval_gates_read(&gates, cli, err)); /* for their errors: before any training */
    KEEL_TRY(keel_cli_integer(cli, "--trials", 0, 200, &a.trials, err));
    const char *inside = in(&a, "");
    if (!inside) return keel_nomem(err, "auto");
    KEEL_TRY(keel_lock_take(&lock, inside, err));
    keel_status status = work(&a, err);
    keel_search_plan_close(&a.plan);
    keel_lock_release(&lock);
    if (status == KEEL_E_INTERRUPTED) keel_hint(err, "the same command goes on from here");
    return status;
}

static void print(const cJSON *result, FILE *out) {
    fprintf(out, "labels: %s. Learned from %s; compared on %s of it; evaluated on %s.\n\n",
            keel_json_get(result, "labels")->valuestring, keel_json_get(result, "learned_from")->valuestring,
            keel_json_get(result, "compared_on")->valuestring,
            keel_json_get(result, "judged_on")->valuestring);
    const cJSON *found = keel_json_get(result, "search"), *kept = keel_json_get(result, "kept");
    keel_search_result_print_trials(found, keel_json_get(result, "seconds"), out);
    if (cJSON_IsFalse(keel_json_get(found, "in_time")))
        fprintf(out, "the budget allowed %.0f of %.0f trials; the same command with more goes on\n",
                keel_json_get(found, "done")->valuedouble, keel_json_get(found, "asked")->valuedouble);
    if (cJSON_IsNumber(kept))
        fprintf(out, "\nkept: trial %.0f: ", kept->valuedouble);
    else
        fputs("\nkept: the defaults: ", out);
    fprintf(out, "%s\nOn %s:\n\n", keel_json_get(result, "why")->valuestring,
            keel_json_get(result, "judged_on")->valuestring);
    keel_eval_print(keel_json_get(result, "eval"), out);
    fprintf(out, "\npolicy: %s\nreport: %s\n", keel_json_get(result, "policy")->valuestring,
            keel_json_get(result, "report")->valuestring);
}

const keel_verb keel_verb_auto = {
    .name = "auto",
    .brief = "go from a store to an evaluated policy: labels, a search, gates, a report",
    .flags = flags,
    .more =
        "`auto` makes what sft and train make by default. Then it tries other bases (--base), modes, learners and their keys, as long\n"
        "as the budget allows. It keeps a trial only if the trial earns more than the defaults beyond doubt: both answer the same\n"
        "conversations, which neither has seen, and the bound holds for all trials at once (95 %). So the result is not worse than the\n"
        "defaults by chance, and on small logs it often is the defaults. What is kept is made anew on the whole of --split and\n"
        "evaluated on --test, which chose nothing.\n"
        "The budget bounds what begins. The defaults are always made; a trial does not begin if it would end late, judged by the\n"
        "longest trial so far and the time for the final one. Time decides how many trials there are, never what comes of one. The\n"
        "same command continues an interrupted run; with a larger budget it tries more.\n"
        "example: keel auto --store logs.db --budget 10m --gate \"refusal_rate.low >= 0.95\"\n",
    .run = run,
    .print = print,
};
