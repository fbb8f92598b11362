/* keel stats: what is in the store.
 *
 *  1. Opens the store and the split, or all splits and their total.
 *  2. Counts conversations, decisions, labels, reward coverage; evaluates the logged behaviour.
 *  3. With --metric it lists the runs that measured this metric instead.
 *  4. Counts, over all splits, what agents did with the tasks of benchmarks, where the logs say so.
 *  5. Prints a table with a column for each split, then what the log lacks.
 */
#include "core/json.h"
#include "datasets/dedupe.h"
#include "experiments/cli_resources.h"
#include "experiments/eval_config.h"
#include "experiments/table.h"
#include "experiments/verbs.h"
#include "rl/judge/evaluate_internal.h"

static const keel_flag flags[] = {
    KEEL_FLAG_STORE,
    {"--split", "NAME", false, false, "one split (all, NAME, fold:K/N, rest:K/N) instead of each and all"},
    {"--metric", "NAME", false, false,
     "instead: the runs that measured it in this store, as gates name it (refusal_rate.low; train: loss)"},
    {"--near-duplicates", "S", false, false,
     "from which Jaccard similarity on prompts count as nearly the same (above 0, up to 1; default: 0.8)"},
    KEEL_FLAG_END,
};

static cJSON *counts_json(const keel_split_count *count) {
    cJSON *json = cJSON_CreateObject();
    const struct {
        const char *name;
        int64_t value;
    } rows[] = {
        {"conversations", count->conversations},
        {"turns", count->turns},
        {"decisions", count->decisions},
        {"candidates", count->candidates},
        {"taken", count->taken},
        {"transitions", count->transitions},
        {"benign", count->benign},
        {"dangerous", count->dangerous},
        {"risk_unknown", count->risk_unknown},
        {"completed", count->completed},
        {"completion_known", count->completion_known},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cJSON_AddNumberToObject(json, rows[i].name, (double)rows[i].value);
    cJSON *outcome = cJSON_AddObjectToObject(json, "outcome");
    for (int i = 0; i <= KEEL_N_OUTCOMES; i++)
        cJSON_AddNumberToObject(outcome, i ? keel_outcome_name((keel_outcome)i) : "unjudged",
                                (double)count->outcome[i]);
    cJSON *judged = cJSON_AddObjectToObject(json, "judged_by");
    for (int i = 1; i < 4; i++)
        cJSON_AddNumberToObject(judged, keel_authority_name((keel_authority)i), (double)count->judged_by[i]);
    cJSON *rewards = cJSON_AddObjectToObject(json, "reward_present");
    for (int i = 0; i < KEEL_N_REWARDS; i++)
        cJSON_AddNumberToObject(rewards, keel_reward_name(i), (double)count->reward_present[i]);
    return json;
}

static keel_status add_behaviour(keel_cli *cli, keel_store *store, const char *text, keel_err *err) {
    keel_split split;
    keel_evaluation_set measured = {0};
    KEEL_TRY(keel_cli_blame(keel_split_parse(text, &split, err), err));
    KEEL_TRY(keel_store_check_split(store, &split, err));
    KEEL_TRY(keel_eval_config_evaluate_logged(store, &split, &measured, err));

    keel_json_add(cJSON_GetObjectItemCaseSensitive(cli->result, "behaviour"), text,
                  keel_eval_config_metrics_json(&measured.logged));
    keel_json_add(cJSON_GetObjectItemCaseSensitive(cli->result, "corrected"), text,
                  keel_corrected_json(measured.logged.corrected));
    cJSON_DeleteItemFromObjectCaseSensitive(cli->result, "judged"); /* the same for every split */
    keel_json_add(cli->result, "judged", keel_judged_json(&measured.judged));
    keel_evaluation_set_free(&measured);
    return KEEL_OK;
}

static void add_share(cJSON *to, const char *name, int64_t part, int64_t of) {
    keel_json_add(to, name, of ? cJSON_CreateNumber((double)part / (double)of) : cJSON_CreateNull());
}

/* "tasks": [{source, domain, agent, setting, conversations, completed, must_not_act, ...}], where there are
 * any. */
static keel_status add_tasks(keel_cli *cli, keel_store *store, keel_arena *arena, keel_err *err) {
    keel_task_count *rows;
    size_t n = 0;
    KEEL_TRY(keel_store_tasks(store, arena, &rows, &n, err));
    cJSON *list = n ? cJSON_AddArrayToObject(cli->result, "tasks") : NULL;
    for (size_t i = 0; i < n; i++) {
        const keel_task_count *r = &rows[i];
        const char *const names[] = {r->source, r->domain, r->agent, r->setting};
        static const char *const keys[] = {"source", "domain", "agent", "setting"};
        cJSON *row = cJSON_CreateObject();
        for (int k = 0; k < 4; k++)
            keel_json_add(row, keys[k], names[k] ? cJSON_CreateString(names[k]) : cJSON_CreateNull());
        cJSON_AddNumberToObject(row, "conversations", (double)r->conversations);
        add_share(row, "completed", r->completed, r->completion_known);
        cJSON_AddNumberToObject(row, "must_not_act", (double)r->must_not_act);
        add_share(row, "must_not_act_share", r->must_not_act, r->conversations);
        add_share(row, "must_not_act_completed", r->must_not_act_completed, r->must_not_act_known);
        cJSON_AddNumberToObject(row, "forbidden_writes", (double)r->forbidden);
        add_share(row, "must_act_completed", r->completed - r->must_not_act_completed,
                  r->completion_known - r->must_not_act_known);
        keel_json_add(list, NULL, row);
    }
    return KEEL_OK;
}

/* {"low", "high"} of all latencies, in ms. */
static keel_status add_latencies(keel_cli *cli, keel_store *store, keel_err *err) {
    keel_optional low, high;
    KEEL_TRY(keel_store_latencies(store, &low, &high, err));
    if (!low.present || !high.present) return KEEL_OK;
    cJSON *json = cJSON_AddObjectToObject(cli->result, "latency_ms");
    cJSON_AddNumberToObject(json, "low", low.value);
    cJSON_AddNumberToObject(json, "high", high.value);
    return KEEL_OK;
}

static keel_status add_duplicates(keel_cli *cli, keel_store *store, keel_err *err) {
    keel_dedupe_count count;
    double near = KEEL_DEDUPE_NEAR;
    KEEL_TRY(keel_cli_number(cli, "--near-duplicates", KEEL_DEDUPE_LEAST, 1, &near, err));
    KEEL_TRY(keel_dedupe_stats(store, near, &count, err));
    cJSON *json = cJSON_AddObjectToObject(cli->result, "duplicates");
    cJSON_AddNumberToObject(json, "same_turns", (double)count.same_turns);
    cJSON_AddNumberToObject(json, "same_turns_straddling", (double)count.same_turns_straddling);
    cJSON_AddNumberToObject(json, "same_prompt", (double)count.same_prompt);
    cJSON_AddNumberToObject(json, "same_prompt_straddling", (double)count.same_prompt_straddling);
    cJSON_AddNumberToObject(json, "near_prompt", (double)count.near_prompt);
    cJSON_AddNumberToObject(json, "near_prompt_straddling", (double)count.near_prompt_straddling);
    return KEEL_OK;
}

static keel_status fill(keel_cli *cli, keel_store *store, keel_arena *arena, keel_err *err) {
    const char *only = keel_cli_value(cli, "--split");
    keel_split_count *counts;
    size_t n = 0;
    KEEL_TRY(keel_store_counts(store, arena, &counts, &n, err));
    cli->result = cJSON_CreateObject();
    cJSON *splits = cJSON_AddObjectToObject(cli->result, "splits");
    for (size_t i = 0; i < n; i++) keel_json_add(splits, counts[i].name, counts_json(&counts[i]));
    cJSON_AddObjectToObject(cli->result, "behaviour");
    cJSON_AddObjectToObject(cli->result, "corrected");
    KEEL_TRY(add_latencies(cli, store, err));
    KEEL_TRY(add_duplicates(cli, store, err));
    if (only) return add_behaviour(cli, store, only, err);
    if (n == 0) return KEEL_OK;
    KEEL_TRY(add_tasks(cli, store, arena, err));
    for (size_t i = 0; i < n && n > 1; i++) KEEL_TRY(add_behaviour(cli, store, counts[i].name, err));
    return add_behaviour(cli, store, "all", err);
}

/* {"metric", "measured": [{"run", "verb", "arguments", "value"}]}, oldest first. */
static keel_status list_measured(keel_cli *cli, keel_store *store, const char *metric, keel_arena *arena,
                                 keel_err *err) {
    keel_measured *rows;
    size_t n = 0;
    KEEL_TRY(keel_store_measured(store, metric, arena, &rows, &n, err));
    if (n == 0) {
        keel_fail(err, KEEL_E_NOT_FOUND, keel_store_path(store), "no run measured \"%s\"", metric);
        return keel_hint(err, "`keel eval` measures refusal_rate.value and what else gates can name");
    }
    cli->result = cJSON_CreateObject();
    cJSON_AddStringToObject(cli->result, "metric", metric);
    cJSON *list = cJSON_AddArrayToObject(cli->result, "measured");
    for (size_t i = 0; i < n; i++) {
        cJSON *row = cJSON_CreateObject();
        cJSON_AddNumberToObject(row, "run", (double)rows[i].run);
        cJSON_AddStringToObject(row, "verb", rows[i].verb);
        cJSON_AddStringToObject(row, "arguments", rows[i].config_json ? rows[i].config_json : "");
        keel_json_add(row, "value",
                      rows[i].value.present ? cJSON_CreateNumber(rows[i].value.value) : cJSON_CreateNull());
        keel_json_add(list, NULL, row);
    }
    return KEEL_OK;
}

static keel_status run(keel_cli *cli, keel_err *err) {
    const char *metric = keel_cli_value(cli, "--metric");
    keel_store *store = NULL;
    keel_arena arena = {0};
    KEEL_TRY(keel_cli_open_store(cli, KEEL_STORE_EITHER, &store, err));
    keel_status status =
        metric ? list_measured(cli, store, metric, &arena, err) : fill(cli, store, &arena, err);
    keel_arena_free(&arena);
    keel_store_close(store);
    return status;
}

/* One row per leaf of the first split's object, one column per split. */
static void put_count_rows(keel_table *table, const cJSON *splits, const char *group) {
    const cJSON *first = cJSON_GetArrayItem(splits, 0),
                *model = group ? cJSON_GetObjectItemCaseSensitive(first, group) : first, *item, *split;
    cJSON_ArrayForEach (item, model) {
        if (cJSON_IsObject(item)) {
            put_count_rows(table, splits, item->string);
            continue;
        }
        keel_table_cell(table, "%s%s%s", group ? group : "", group ? ": " : "", item->string);
        cJSON_ArrayForEach (split, splits) {
            const cJSON *object = group ? cJSON_GetObjectItemCaseSensitive(split, group) : split;
            const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, item->string);
            keel_table_cell(table, "%.0f", cJSON_IsNumber(value) ? value->valuedouble : 0.0);
        }
    }
}

static void print_columns(const cJSON *columns, const char *title, FILE *out, bool intervals) {
    keel_table table = {.columns = (size_t)cJSON_GetArraySize(columns) + 1};
    const cJSON *first = cJSON_GetArrayItem(columns, 0), *column, *metric;
    keel_table_cell(&table, "%s", title);
    cJSON_ArrayForEach (column, columns) keel_table_cell(&table, "%s", column->string);
    if (!intervals) {
        put_count_rows(&table, columns, NULL);
    } else {
        cJSON_ArrayForEach (metric, first) {
            keel_table_cell(&table, "%s", metric->string);
            cJSON_ArrayForEach (column, columns)
                keel_table_interval(&table, cJSON_GetObjectItemCaseSensitive(column, metric->string));
        }
    }
    keel_table_print(&table, out);
    keel_table_free(&table);
}

/* Rates less the judge's error, a column a split; nothing where no rate has such. */
static void print_corrected(const cJSON *corrected, FILE *out) {
    enum { MOST = 12 };
    const cJSON *columns[MOST], *column;
    size_t n = 0;
    keel_table table = {0};
    cJSON_ArrayForEach (column, corrected)
        if (n < MOST) columns[n++] = column;
    table.columns = n + 1;
    keel_table_cell(&table, "corrected for the judge's error");
    for (size_t i = 0; i < n; i++) keel_table_cell(&table, "%s", columns[i]->string);
    const size_t head = table.n_cells;
    keel_eval_config_corrected_rows(&table, columns, n);
    if (table.n_cells > head) fputc('\n', out), keel_table_print(&table, out);
    keel_table_free(&table);
}

static void print_measured(const cJSON *result, FILE *out) {
    const cJSON *row;
    keel_table table = {.columns = 4};
    keel_table_cell(&table, "run");
    keel_table_cell(&table, "verb");
    keel_table_cell(&table, "%s", cJSON_GetObjectItemCaseSensitive(result, "metric")->valuestring);
    keel_table_cell(&table, "arguments");
    cJSON_ArrayForEach (row, cJSON_GetObjectItemCaseSensitive(result, "measured")) {
        const cJSON *value = cJSON_GetObjectItemCaseSensitive(row, "value");
        keel_table_cell(&table, "%.0f", cJSON_GetObjectItemCaseSensitive(row, "run")->valuedouble);
        keel_table_cell(&table, "%s", cJSON_GetObjectItemCaseSensitive(row, "verb")->valuestring);
        keel_table_cell(&table, cJSON_IsNumber(value) ? "%.4f" : "-", value->valuedouble);
        keel_table_cell(&table, "%s", cJSON_GetObjectItemCaseSensitive(row, "arguments")->valuestring);
    }
    keel_table_print(&table, out);
    keel_table_free(&table);
}

static void print_tasks(const cJSON *tasks, FILE *out) {
    static const char *const columns[] = {
        "agent",        "domain", "setting",   "conversations",    "completed",
        "must not act", "share",  "completed", "forbidden writes", "must act: completed"};
    static const char *const keys[] = {"agent",
                                       "domain",
                                       "setting",
                                       "conversations",
                                       "completed",
                                       "must_not_act",
                                       "must_not_act_share",
                                       "must_not_act_completed",
                                       "forbidden_writes",
                                       "must_act_completed"};
    enum { N = sizeof keys / sizeof *keys };
    keel_table table = {.columns = N};
    const cJSON *row;
    for (int i = 0; i < N; i++) keel_table_cell(&table, "%s", columns[i]);
    cJSON_ArrayForEach (row, tasks)
        for (int i = 0; i < N; i++) {
            const cJSON *value = cJSON_GetObjectItemCaseSensitive(row, keys[i]);
            const bool count = i == 3 || i == 5 || i == 8;
            if (cJSON_IsString(value))
                keel_table_cell(&table, "%s", value->valuestring);
            else if (cJSON_IsNumber(value))
                keel_table_cell(&table, count ? "%.0f" : "%.3f", value->valuedouble);
            else
                keel_table_cell(&table, "-");
        }
    fputc('\n', out);
    keel_table_print(&table, out);
    keel_table_free(&table);
}

/* Over all splits. */
static double total(const cJSON *splits, const char *group, const char *key) {
    double sum = 0;
    const cJSON *split;
    cJSON_ArrayForEach (split, splits) {
        const cJSON *object = group ? cJSON_GetObjectItemCaseSensitive(split, group) : split;
        const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, key);
        sum += cJSON_IsNumber(value) ? value->valuedouble : 0;
    }
    return sum;
}

/* What a log without labels lacks, and what would help. */
static void print_missing(const cJSON *splits, FILE *out) {
    const double taken = total(splits, NULL, "taken");
    double rewards = 0;
    for (int k = 0; k < KEEL_N_REWARDS; k++) rewards += total(splits, "reward_present", keel_reward_name(k));
    const struct {
        bool lacks;
        const char *text;
    } notes[] = {
        {total(splits, "outcome", "unjudged") == taken,
         "No response is judged a refusal or none: `keel label` does it."},
        {total(splits, NULL, "risk_unknown") == total(splits, NULL, "conversations"),
         "No conversation has a \"risk\": what it refuses or should is not counted."},
        {rewards == 0,
         "Nothing earns a reward: risk and outcome, completed, feedback, reward or latency_ms would; "
         "without them logs can be imitated (train --algo bc)."},
    };
    for (size_t i = 0, n = 0; taken > 0 && i < sizeof notes / sizeof *notes; i++)
        if (notes[i].lacks) fprintf(out, "%s%s\n", n++ ? "" : "\n", notes[i].text);
}

/* latency_ms that is in another unit, or no duration: speed means nothing then. */
static void print_latencies(const cJSON *range, FILE *out) {
    enum { HOUR = 3600000, SHORTEST = 100 };
    if (!range) return;
    const double low = cJSON_GetObjectItemCaseSensitive(range, "low")->valuedouble;
    const double high = cJSON_GetObjectItemCaseSensitive(range, "high")->valuedouble;
    if (low > HOUR)
        fputs("\nnote: all latencies are above 1 h: are they timestamps? latency_ms is a duration in "
              "milliseconds, and speed goes by it.\n",
              out);
    if (high < SHORTEST)
        fputs(
            "\nnote: all latencies are below 0.1 s: are they in seconds? latency_ms is in milliseconds, and "
            "speed goes by it.\n",
            out);
}

static void print_duplicates(const cJSON *counts, FILE *out) {
    const struct {
        const char *key, *same;
    } rows[] = {
        {"same_turns", "turns"}, {"same_prompt", "prompt"}, {"near_prompt", "or nearly the same prompt"}};
    for (size_t i = 0, lines = 0; i < 3; i++) {
        char straddling[32];
        snprintf(straddling, sizeof straddling, "%s_straddling", rows[i].key);
        const cJSON *count = cJSON_GetObjectItemCaseSensitive(counts, rows[i].key);
        const cJSON *apart = cJSON_GetObjectItemCaseSensitive(counts, straddling);
        if (!count || !apart || count->valuedouble == 0) continue;
        if (i == 2 && cJSON_Compare(count, cJSON_GetObjectItemCaseSensitive(counts, rows[1].key), true))
            continue;
        fprintf(out, "%sduplicates: %.0f conversations have the same %s as an earlier one",
                lines++ ? "" : "\n", count->valuedouble, rows[i].same);
        if (apart->valuedouble > 0) fprintf(out, ", %.0f of them in another split", apart->valuedouble);
        fputs(".\n", out);
        if (apart->valuedouble > 0 && i == 1)
            fputs("A test split that shares prompts with train flatters: import into a new store without "
                  "--split, or give both one \"group\".\n",
                  out);
    }
}

static void print(const cJSON *result, FILE *out) {
    if (cJSON_HasObjectItem(result, "measured")) {
        print_measured(result, out);
        return;
    }
    const cJSON *splits = cJSON_GetObjectItemCaseSensitive(result, "splits");
    const cJSON *behaviour = cJSON_GetObjectItemCaseSensitive(result, "behaviour");
    if (!splits || !splits->child || !behaviour) {
        fputs("the store is empty\n", out);
        return;
    }
    print_columns(splits, "split", out, false);
    fputc('\n', out);
    print_columns(behaviour, "logged behaviour", out, true);
    print_corrected(cJSON_GetObjectItemCaseSensitive(result, "corrected"), out);
    keel_eval_config_print_judged(cJSON_GetObjectItemCaseSensitive(result, "judged"), out);
    if (cJSON_HasObjectItem(result, "tasks"))
        print_tasks(cJSON_GetObjectItemCaseSensitive(result, "tasks"), out);
    print_missing(splits, out);
    print_duplicates(cJSON_GetObjectItemCaseSensitive(result, "duplicates"), out);
    print_latencies(cJSON_GetObjectItemCaseSensitive(result, "latency_ms"), out);
}

const keel_verb keel_verb_stats = {
    .name = "stats",
    .brief = "show what the store holds: counts, labels, rewards, rates of the logged behaviour",
    .flags = flags,
    .more =
        "Rates have 95 % intervals (Wilson; answers of one conversation depend on each other and count as fewer). Rewards are means\n"
        "per conversation, with bootstrap intervals. '-' stands where nothing is known. Benchmark tasks (conversations whose meta has\n"
        "must_not_act) are listed by agent, over all splits.\n"
        "Rates of answers that a judge labelled are also shown corrected for its error, if some of them have a human label too.\n"
        "example: keel stats --store logs.db --split train\n",
    .run = run,
    .print = print,
};
