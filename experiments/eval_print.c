#include "experiments/eval_print.h"

#include <string.h>

#include "core/json.h"
#include "experiments/cli_resources.h"
#include "experiments/eval_config.h"
#include "experiments/pareto_report.h"
#include "experiments/table.h"
#include "experiments/verdict.h"
#include "rl/judge/evaluate.h"

enum { MOST_COLUMNS = 8 };

/* Columns of {metric: interval}; metrics that none of them knows are left out. */
static void print_differences(const cJSON *differences, FILE *out) {
    const cJSON *column;
    size_t rows = 0;
    keel_table table = {.columns = 1 + (size_t)cJSON_GetArraySize(differences)};
    keel_table_cell(&table, "difference, paired");
    cJSON_ArrayForEach (column, differences) keel_table_cell(&table, "%s", column->string);
    for (int m = 0; m < KEEL_N_METRICS; m++) {
        bool known = false;
        cJSON_ArrayForEach (column, differences)
            known |= cJSON_IsNumber(keel_json_get(keel_json_get(column, keel_metric_names[m]), "value"));
        if (!known) continue;
        rows++;
        keel_table_cell(&table, "%s", keel_metric_names[m]);
        cJSON_ArrayForEach (column, differences)
            keel_table_interval(&table, keel_json_get(column, keel_metric_names[m]));
    }
    if (rows) fputc('\n', out), keel_table_print(&table, out);
    keel_table_free(&table);
}

static const cJSON *metric_json(const cJSON *column, int metric) {
    return keel_json_get(keel_json_get(column, "metrics"), keel_metric_names[metric]);
}

static const cJSON *metric_key(const cJSON *column, int metric, const char *key) {
    return keel_json_get(metric_json(column, metric), key);
}

/* NaN: there is none. */
static double metric_number(const cJSON *column, int metric, const char *key) {
    return cJSON_GetNumberValue(metric_key(column, metric, key));
}

/* A table of metrics (rows) by who answered (columns): pairs of heading and evaluation. */
static void print_metrics(const char *const *heads, const cJSON *const *columns, size_t count, FILE *out) {
    keel_table table = {.columns = count + 1};
    keel_table_cell(&table, "metric");
    for (size_t i = 0; i < count; i++) keel_table_cell(&table, "%s", heads[i]);
    for (int m = 0; m < KEEL_N_METRICS; m++) {
        keel_table_cell(&table, "%s", keel_metric_names[m]);
        for (size_t i = 0; i < count; i++) keel_table_interval(&table, metric_json(columns[i], m));
    }
    const cJSON *corrected[12];
    for (size_t i = 0; i < count; i++) corrected[i] = keel_json_get(columns[i], "corrected");
    keel_eval_config_corrected_rows(&table, corrected, count);
    keel_table_cell(&table, "decisions judged");
    for (size_t i = 0; i < count; i++) {
        const cJSON *known = keel_json_get(columns[i], "answers_known");
        keel_table_cell(&table, cJSON_IsNumber(known) ? "%.1f %%" : "-",
                        cJSON_IsNumber(known) ? 100 * known->valuedouble : 0.0);
    }
    keel_table_cell(&table, "answers nobody judged");
    for (size_t i = 0; i < count; i++)
        keel_table_cell(&table, "%.0f", cJSON_GetNumberValue(keel_json_get(columns[i], "unjudged")));
    keel_table_print(&table, out);
    keel_table_free(&table);
}

/* What the means, and rates as they are played, rest on; nothing where all of it is known. */
static void print_sources(const char *const *heads, const cJSON *const *columns, size_t count, FILE *out) {
    keel_table table = {.columns = count + 1};
    bool told = false;
    keel_table_cell(&table, "known / estimated / unknown, %%");
    for (size_t i = 0; i < count; i++) keel_table_cell(&table, "%s", heads[i]);
    for (int m = 0; m < KEEL_N_METRICS; m++) {
        bool any = false;
        for (size_t i = 0; i < count; i++)
            any |= metric_number(columns[i], m, "known") < 1; /* false for NaN */
        if (!any) continue;
        told = true;
        keel_table_cell(&table, "%s", keel_metric_names[m]);
        for (size_t i = 0; i < count; i++) {
            const double known = metric_number(columns[i], m, "known");
            if (!(known >= 0))
                keel_table_cell(&table, "-");
            else
                keel_table_cell(&table, "%.1f / %.1f / %.1f%s", 100 * known,
                                100 * metric_number(columns[i], m, "estimated"),
                                100 * metric_number(columns[i], m, "unknown"),
                                cJSON_IsTrue(metric_key(columns[i], m, "clipped")) ? " clipped" : "");
        }
    }
    if (told) fputc('\n', out), keel_table_print(&table, out);
    keel_table_free(&table);
}

/* Rates that are played, at the decisions of the log. */
static void print_on_log(const char *const *heads, const cJSON *const *columns, size_t count, FILE *out) {
    keel_table table = {.columns = count + 1};
    bool told = false;
    keel_table_cell(&table, "at the log's decisions");
    for (size_t i = 0; i < count; i++) keel_table_cell(&table, "%s", heads[i]);
    for (int m = 0; m < KEEL_N_METRICS; m++) {
        if (!keel_json_get(keel_json_get(columns[0], "on_log"), keel_metric_names[m])) continue;
        told = true;
        keel_table_cell(&table, "%s", keel_metric_names[m]);
        for (size_t i = 0; i < count; i++) {
            const cJSON *own = keel_json_get(keel_json_get(columns[i], "on_log"), keel_metric_names[m]);
            keel_table_interval(&table, own ? own : metric_json(columns[i], m));
        }
    }
    if (told) fputc('\n', out), keel_table_print(&table, out);
    keel_table_free(&table);
}

static void print_models(const cJSON *models, FILE *out) {
    const char *heads[12];
    const cJSON *columns[12], *model;
    size_t count = 0;
    cJSON_ArrayForEach (model, models) {
        heads[count] = model->string;
        columns[count++] = model;
        if (count < 12 && model->next) continue;
        fputs("\nsource models of the log\n", out);
        print_metrics(heads, columns, count, out);
        print_sources(heads, columns, count, out);
        count = 0;
    }
}

static void print_ope(const cJSON *ope, FILE *out) {
    const cJSON *item;
    keel_table table = {.columns = 2};
    if (!ope || !ope->child) return;
    if (!(cJSON_GetNumberValue(keel_json_get(ope, "ess")) > 0)) {
        fputs("\nNo off-policy estimate: nothing that the log did has a reward, or the policy would never do "
              "it.\n",
              out);
        return;
    }
    keel_table_cell(&table, "off-policy estimate of the return");
    keel_table_cell(&table, "value");
    cJSON_ArrayForEach (item, ope) {
        keel_table_cell(&table, "%s", item->string);
        if (cJSON_IsObject(item))
            keel_table_interval(&table, item);
        else if (cJSON_IsBool(item))
            keel_table_cell(&table, "%s", cJSON_IsTrue(item) ? "yes" : "no");
        else
            keel_table_cell(&table, cJSON_IsNumber(item) ? "%.3f" : "-", item->valuedouble);
    }
    fputc('\n', out);
    keel_table_print(&table, out);
    keel_table_free(&table);
    if (cJSON_IsTrue(keel_json_get(ope, "propensities_refuted")))
        fputs("No estimate above is to be relied on: the propensities of the log are not of this choice.\n",
              out);
    else if (cJSON_IsFalse(keel_json_get(ope, "headline")))
        fprintf(out,
                "No estimate above is to be relied on: the effective sample size is %.1f, 30 are needed.\n",
                cJSON_GetNumberValue(keel_json_get(ope, "ess")));
}

/* Whether training held something out and could not show that the policy is better than the log. */
static bool is_unshown(const cJSON *result) {
    const cJSON *policy;
    bool unshown = false;
    cJSON_ArrayForEach (policy, keel_json_get(result, "policies"))
        unshown = unshown || cJSON_IsFalse(keel_json_get(policy, "improvement_shown"));
    return unshown;
}

/* What the difference from the log shows, in one sentence; then how often the policy differs at all. */
static void print_verdict(const cJSON *result, FILE *out) {
    const cJSON *to_log = keel_json_get(keel_json_get(result, "differences"), keel_difference_names[0]);
    const cJSON *earned = keel_json_get(to_log, keel_metric_names[KEEL_METRIC_COMPOSITE]);
    const cJSON *differing = keel_json_get(result, "differing"), *sentence;
    const double value = cJSON_GetNumberValue(keel_json_get(earned, "value")),
                 low = cJSON_GetNumberValue(keel_json_get(earned, "low")),
                 high = cJSON_GetNumberValue(keel_json_get(earned, "high"));
    if (is_unshown(result)) fputs("no improvement shown in training; here: ", out);
    const char *verdict = cJSON_GetStringValue(keel_json_get(keel_json_get(result, "verdict"), "finding"));
    if (cJSON_IsNumber(keel_json_get(earned, "value")))
        fprintf(out, "%s: composite_reward %+.3f [%+.3f, %+.3f]\n", verdict, value, low, high);
    else
        fputs("no improvement over the log is shown: its rewards are not known\n", out);
    fprintf(out, "the policy differs from the base in %.0f of %.0f decisions, from the log in %.0f of %.0f\n",
            cJSON_GetNumberValue(keel_json_get(differing, "from_base")),
            cJSON_GetNumberValue(keel_json_get(differing, "decisions")),
            cJSON_GetNumberValue(keel_json_get(differing, "from_log")),
            cJSON_GetNumberValue(keel_json_get(differing, "told")));
    const cJSON *unfamiliar = keel_json_get(result, "unfamiliar");
    if (cJSON_GetNumberValue(keel_json_get(unfamiliar, "decisions")) > 0)
        fprintf(out, "%.0f of %.0f decisions are unlike any that it learned from (slice \"state\")\n",
                cJSON_GetNumberValue(keel_json_get(unfamiliar, "unfamiliar")),
                cJSON_GetNumberValue(keel_json_get(unfamiliar, "decisions")));
    cJSON_ArrayForEach (sentence, keel_json_get(keel_json_get(result, "verdict"), "sentences"))
        fprintf(out, "%s\n", sentence->valuestring);
    fputc('\n', out);
}

void keel_eval_print(const cJSON *result, FILE *out) {
    const cJSON *baselines = keel_json_get(result, "baselines"), *gate, *warning;
    const char *heads[MOST_COLUMNS] = {"policy"};
    const cJSON *columns[MOST_COLUMNS] = {keel_json_get(result, "policy")}, *baseline;
    size_t n = 1;
    cJSON_ArrayForEach (baseline, baselines) {
        if (n == MOST_COLUMNS || !(cJSON_GetNumberValue(keel_json_get(baseline, "answers")) > 0)) continue;
        heads[n] = baseline->string;
        columns[n++] = baseline;
    }
    print_verdict(result, out);
    print_metrics(heads, columns, n, out);
    print_sources(heads, columns, n, out);
    print_on_log(heads, columns, n, out);
    keel_eval_config_print_judged(keel_json_get(result, "judged"), out);
    cJSON_ArrayForEach (warning, keel_json_get(result, "warnings"))
        fprintf(out, "\nWarning: %s\n", warning->valuestring);
    print_differences(keel_json_get(result, "differences"), out);
    print_models(keel_json_get(result, "models"), out);
    if (strcmp(keel_json_get(keel_json_get(result, "config"), "ope")->valuestring, "none") != 0)
        print_ope(keel_json_get(columns[0], "ope"), out);
    if (keel_json_get(result, "front")) {
        fputs("\nthe policy under each weighting; the first is the one above\n", out);
        keel_pareto_report_print(keel_json_get(result, "front"), out);
    }
    cJSON_ArrayForEach (gate, keel_json_get(result, "gates"))
        fprintf(out, "%sgate %smet: %s\n", gate->prev->next ? "" : "\n",
                cJSON_IsTrue(keel_json_get(gate, "met")) ? "" : "NOT ",
                keel_json_get(gate, "text")->valuestring);
}
