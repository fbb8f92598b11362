/* keel ab: arms of a server beside each other, from what it logged.
 *
 *  1. Reads what was served since an arm last changed, by segment and window of time.
 *  2. Checks in each cell whether units were shared among arms as assigned.
 *  3. Compares each arm with the control, by tests that may be looked at at any time.
 *  4. Adds totals over the cells, and what guardrails say. Exit code 3 where one is broken.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/clock.h"
#include "core/json.h"
#include "experiments/cli_resources.h"
#include "experiments/serve/ab_rows.h"
#include "experiments/table.h"
#include "experiments/verbs.h"

static const char *const ways[] = {"bernstein", "msprt", "asymptotic", NULL};
static const char *const corrections[] = {"ebh", "bh", NULL};
static const char *const unit_names[] = {"user", "conversation", NULL};

static const keel_flag flags[] = {
    {"--store", "FILE", true, false, "the store that `keel serve` logs into"},
    {"--control", "ARM", false, false, "the arm that others are compared with (default: the server's first)"},
    {"--segments", NULL, false, false, "a cell for each segment, the first 64; others together"},
    {"--segment", "NAME", false, false, "this segment alone"},
    {"--window", "TIME", false, false, "a cell for each span of time, as 6h or 24h (default: all together)"},
    {"--since", "TIME", false, false,
     "requests from this time on: 2026-11-30T14:00:00Z, or all (default: since an arm last began to serve another "
     "policy)"},
    {"--unit", "NAME", false, false,
     "what counts once: user (and a conversation where nobody is named; default) or conversation"},
    {"--interval", "NAME", false, false,
     "intervals of differences: bernstein (holds without assumptions; default), msprt or asymptotic (of pairs)"},
    {"--alpha", "A", false, false, "level of intervals and verdicts (default: 0.05)"},
    {"--tau", "D", false, false, "the size of difference that the mSPRT looks for (default: 0.05)"},
    {"--correct", "NAME", false, false,
     "verdicts for many comparisons: ebh (by e-values, whatever their dependence; default) or bh (by p-values)"},
    {"--guard", "EXPR", false, true,
     "what no arm may break, as \"refusal_rate >= control - 0.05\"; exit 3 if one does"},
    {"--out", "FILE", false, false, "keep the result as JSON"},
    KEEL_FLAG_END,
};

static const keel_flag_choices choices[] = {
    {"--interval", ways}, {"--correct", corrections}, {"--unit", unit_names}, {NULL, NULL}};

/* ---- flags ---- */

static bool in(int value, int low, int high) {
    return value >= low && value <= high;
}

/* "2026-11-30T14:00:00Z", seconds since 1970, or "all". */
static keel_status parse_since(const char *text, double *out, keel_err *err) {
    struct tm t = {0};
    char z, end;
    double seconds;
    if (!text) return KEEL_OK;
    if (strcmp(text, "all") == 0) {
        *out = -INFINITY;
        return KEEL_OK;
    }
    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d%c%c", &t.tm_year, &t.tm_mon, &t.tm_mday, &t.tm_hour, &t.tm_min,
               &t.tm_sec, &z, &end) == 7 &&
        z == 'Z' && t.tm_year >= 1970 && in(t.tm_mon, 1, 12) && in(t.tm_mday, 1, 31) &&
        in(t.tm_hour, 0, 23) && in(t.tm_min, 0, 59) && in(t.tm_sec, 0, 60)) {
        /* days since 1970 (Howard Hinnant's days_from_civil) */
        const int y = t.tm_year - (t.tm_mon <= 2), era = y / 400, of_era = y - era * 400;
        const int of_year = (153 * (t.tm_mon + (t.tm_mon > 2 ? -3 : 9)) + 2) / 5 + t.tm_mday - 1;
        const int days = era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
        *out = days * 86400.0 + t.tm_hour * 3600.0 + t.tm_min * 60.0 + t.tm_sec;
        return KEEL_OK;
    }
    if (sscanf(text, "%lf%c", &seconds, &end) == 1 && seconds >= 0) {
        *out = seconds;
        return KEEL_OK;
    }
    return keel_fail(err, KEEL_E_USAGE, "--since", "\"%s\" is no time as 2026-11-30T14:00:00Z, nor all",
                     text);
}

typedef struct asked {
    keel_ab_config rows;
    keel_experiment_config test;
    int way, correction, unit;
} asked;

static keel_status read_flags(keel_cli *cli, asked *out, keel_err *err) {
    *out = (asked){.rows = {.control = keel_cli_value(cli, "--control"),
                            .segment = keel_cli_value(cli, "--segment"),
                            .apart = keel_cli_has(cli, "--segments"),
                            .since = NAN},
                   .test = {.alpha = 0.05, .tau = 0.05}};
    KEEL_TRY(keel_cli_duration(cli, "--window", &out->rows.window, err));
    KEEL_TRY(parse_since(keel_cli_value(cli, "--since"), &out->rows.since, err));
    KEEL_TRY(keel_cli_share(cli, "--alpha", &out->test.alpha, err));
    KEEL_TRY(keel_cli_share(cli, "--tau", &out->test.tau, err));
    KEEL_TRY(keel_cli_choice(cli, "--interval", ways, &out->way, err));
    KEEL_TRY(keel_cli_choice(cli, "--correct", corrections, &out->correction, err));
    KEEL_TRY(keel_cli_choice(cli, "--unit", unit_names, &out->unit, err));
    out->test.way = (keel_experiment_way)out->way;
    out->test.independent = out->correction == 1;
    out->rows.by_talk = out->unit == 1;
    return KEEL_OK;
}

/* ---- JSON ---- */

static cJSON *number_or_null(double value) {
    return isfinite(value) ? cJSON_CreateNumber(value) : cJSON_CreateNull();
}

static cJSON *time_json(double at) {
    char text[24];
    return keel_clock_write(at, text) ? cJSON_CreateString(text) : cJSON_CreateNull();
}

static cJSON *mean_json(const keel_arm_mean *mean) {
    cJSON *json = cJSON_CreateObject();
    const bool any = mean->units > 0;
    keel_json_add(json, "value", any ? cJSON_CreateNumber(mean->mean) : cJSON_CreateNull());
    keel_json_add(json, "low", any ? cJSON_CreateNumber(mean->low) : cJSON_CreateNull());
    keel_json_add(json, "high", any ? cJSON_CreateNumber(mean->high) : cJSON_CreateNull());
    cJSON_AddNumberToObject(json, "n", mean->units);
    cJSON_AddNumberToObject(json, "asked", mean->asked);
    keel_json_add(json, "unjudged",
                  mean->asked > 0 ? cJSON_CreateNumber(mean->unjudged / mean->asked) : cJSON_CreateNull());
    return json;
}

static const char *verdict_of(const keel_experiment_cell *cell, const keel_arm_difference *d, int metric) {
    const bool better = d->difference * keel_experiment_directions[metric] > 0;
    return cell->is_void     ? "void"
           : d->insufficient ? "insufficient"
           : !d->rejected    ? "open"
           : better          ? "better"
                             : "worse";
}

static cJSON *difference_json(const keel_experiment_cell *cell, const keel_arm_difference *d, int metric) {
    cJSON *json = cJSON_CreateObject();
    const bool told = !d->insufficient;
    keel_json_add(json, "value", told ? cJSON_CreateNumber(d->difference) : cJSON_CreateNull());
    keel_json_add(json, "low", told ? number_or_null(d->low) : cJSON_CreateNull());
    keel_json_add(json, "high", told ? number_or_null(d->high) : cJSON_CreateNull());
    cJSON_AddNumberToObject(json, "pairs", d->pairs);
    keel_json_add(json, "p", told ? cJSON_CreateNumber(d->p) : cJSON_CreateNull());
    keel_json_add(json, "e", told ? number_or_null(d->e) : cJSON_CreateNull());
    cJSON_AddStringToObject(json, "verdict", verdict_of(cell, d, metric));
    return json;
}

static cJSON *cell_json(const keel_ab_rows *rows, const keel_experiment_cell *cell,
                        const keel_ab_cell *where) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "segment", where->segment);
    keel_json_add(json, "from", time_json(where->from));
    cJSON_AddNumberToObject(json, "sample_ratio_p", cell->ratio_p);
    cJSON_AddBoolToObject(json, "void", cell->is_void);
    cJSON_AddNumberToObject(json, "switched", cell->switched);
    cJSON *arms = cJSON_AddObjectToObject(json, "arms");
    for (size_t a = 0; a < rows->n_arms; a++) {
        cJSON *arm = cJSON_AddObjectToObject(arms, rows->arms[a]);
        cJSON_AddNumberToObject(arm, "units", cell->units[a]);
        cJSON_AddNumberToObject(arm, "expected", cell->expected[a]);
        for (int m = 0; m < KEEL_EXPERIMENT_N; m++) {
            cJSON *metric = mean_json(&cell->mean[m][a]);
            if (a > 0) keel_json_add(metric, "difference", difference_json(cell, &cell->difference[m][a], m));
            keel_json_add(arm, keel_experiment_metrics[m], metric);
        }
    }
    return json;
}

static cJSON *total_json(const keel_experiment_total *total) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "units", total->units);
    keel_json_add(json, "difference",
                  total->known ? cJSON_CreateNumber(total->difference) : cJSON_CreateNull());
    keel_json_add(json, "variance",
                  total->known ? cJSON_CreateNumber(total->deviation * total->deviation)
                               : cJSON_CreateNull());
    keel_json_add(json, "low", total->known ? number_or_null(total->low) : cJSON_CreateNull());
    keel_json_add(json, "high", total->known ? number_or_null(total->high) : cJSON_CreateNull());
    keel_json_add(json, "mantel_haenszel",
                  total->sparse_known ? cJSON_CreateNumber(total->sparse) : cJSON_CreateNull());
    keel_json_add(json, "mantel_haenszel_variance",
                  total->sparse_known ? cJSON_CreateNumber(total->sparse_deviation * total->sparse_deviation)
                                      : cJSON_CreateNull());
    return json;
}

static void add_about(cJSON *result, const asked *of, const keel_ab_rows *rows,
                      const keel_experiment *found) {
    cJSON *about = cJSON_AddObjectToObject(result, "about");
    cJSON_AddStringToObject(about, "control", rows->arms[0]);
    keel_json_add(about, "since", time_json(rows->since));
    cJSON_AddStringToObject(about, "unit", unit_names[of->unit]);
    cJSON_AddStringToObject(about, "interval", ways[of->way]);
    cJSON_AddNumberToObject(about, "alpha", of->test.alpha);
    cJSON_AddNumberToObject(about, "tau", of->test.tau);
    cJSON_AddStringToObject(about, "correct", corrections[of->correction]);
    cJSON_AddNumberToObject(about, "comparisons", (double)found->comparisons);
    cJSON_AddNumberToObject(about, "requests", (double)rows->n);
    cJSON_AddNumberToObject(about, "risk_unknown", (double)rows->unknown);
    cJSON_AddNumberToObject(about, "earlier", (double)rows->earlier);
    cJSON_AddNumberToObject(about, "shadow", (double)rows->shadow);
    cJSON_AddNumberToObject(about, "other_arms", (double)rows->other);
    cJSON *arms = cJSON_AddObjectToObject(result, "arms");
    for (size_t a = 0; a < rows->n_arms; a++) cJSON_AddStringToObject(arms, rows->arms[a], rows->policies[a]);
}

static void add_found(cJSON *result, const keel_ab_rows *rows, const keel_experiment *found) {
    cJSON *cells = cJSON_AddArrayToObject(result, "cells"), *total = cJSON_AddObjectToObject(result, "total");
    for (size_t c = 0; c < found->n_cells; c++)
        keel_json_add(cells, NULL, cell_json(rows, &found->cells[c], &rows->cells[c]));
    for (size_t a = 1; a < rows->n_arms; a++) {
        cJSON *arm = cJSON_AddObjectToObject(total, rows->arms[a]);
        for (int m = 0; m < KEEL_EXPERIMENT_N; m++)
            keel_json_add(arm, keel_experiment_metrics[m], total_json(&found->total[m][a]));
    }
}

/* ---- guardrails ---- */

/* Over all segments and windows together. */
static keel_status check_guards(keel_cli *cli, const keel_guard *guards, const char *const *texts, size_t n,
                                keel_ab_rows *rows, double alpha, keel_err *err) {
    cJSON *list = cJSON_AddArrayToObject(cli->result, "guardrails");
    size_t missed = 0;
    for (size_t i = 0; i < rows->n; i++) rows->observations[i].cell = 0;
    for (size_t g = 0; g < n; g++)
        for (size_t a = 1; a < rows->n_arms; a++) {
            bool is;
            double limit;
            KEEL_TRY(keel_guard_broken(&guards[g], rows->observations, rows->n, rows->n_arms, a, alpha,
                                       &cli->arena, &is, &limit, err));
            cJSON *row = cJSON_CreateObject();
            cJSON_AddStringToObject(row, "guard", texts[g]);
            cJSON_AddStringToObject(row, "arm", rows->arms[a]);
            cJSON_AddBoolToObject(row, "broken", is);
            keel_json_add(row, "limit", number_or_null(limit));
            keel_json_add(list, NULL, row);
            missed += is;
        }
    return missed ? keel_fail(err, KEEL_E_GATE, "--guard", "%zu guardrails are broken", missed) : KEEL_OK;
}

static keel_status read_guards(keel_cli *cli, keel_guard **out, const char *const **texts, size_t *n,
                               keel_err *err) {
    KEEL_TRY(keel_cli_values(cli, "--guard", texts, n, err));
    *out = keel_arena_calloc(&cli->arena, *n + 1, sizeof **out);
    if (!*out) return keel_nomem(err, "--guard");
    for (size_t i = 0; i < *n; i++) KEEL_TRY(keel_guard_parse((*texts)[i], &(*out)[i], err));
    return KEEL_OK;
}

/* ---- the verb ---- */

static keel_status run(keel_cli *cli, keel_err *err) {
    asked of;
    keel_store *store = NULL;
    keel_ab_rows rows;
    keel_experiment found;
    keel_guard *guards;
    const char *const *texts;
    size_t n_guards;
    const char *out = keel_cli_value(cli, "--out");
    KEEL_TRY(read_flags(cli, &of, err));
    KEEL_TRY(read_guards(cli, &guards, &texts, &n_guards, err));
    KEEL_TRY(keel_cli_open_out_file(out, 0, "{\n  \"about\": {", err));
    KEEL_TRY(keel_cli_open_store(cli, KEEL_STORE_READ, &store, err));
    keel_status status = keel_ab_rows_load(store, &of.rows, &cli->arena, &rows, err);
    keel_store_close(store);
    if (status != KEEL_OK) return status;
    of.test.arms = rows.n_arms;
    KEEL_TRY(
        keel_experiment_analyse(&of.test, rows.observations, rows.n, rows.n_cells, &cli->arena, &found, err));
    cli->result = cJSON_CreateObject();
    add_about(cli->result, &of, &rows, &found);
    add_found(cli->result, &rows, &found);
    status = check_guards(cli, guards, texts, n_guards, &rows, of.test.alpha, err);
    if (status != KEEL_OK && status != KEEL_E_GATE) return status;
    KEEL_TRY(keel_cli_check_result(cli, err));
    if (out) KEEL_TRY(keel_json_write_file(out, cli->result, err));
    return status;
}

/* ---- for people ---- */

static void difference_cell(keel_table *table, const cJSON *difference, const char *key) {
    const double value = keel_json_value(difference, key), low = keel_json_value(difference, "low");
    if (isnan(value))
        keel_table_cell(table, "-");
    else if (isnan(low))
        keel_table_cell(table, "%+.3f", value);
    else
        keel_table_cell(table, "%+.3f [%+.3f, %+.3f]", value, low, keel_json_value(difference, "high"));
}

static void metric_row(keel_table *table, const char *metric, const cJSON *arm) {
    const cJSON *of = keel_json_get(arm, metric), *difference = keel_json_get(of, "difference");
    const double unjudged = keel_json_value(of, "unjudged"), p = keel_json_value(difference, "p");
    keel_table_cell(table, "%s %s", metric, arm->string);
    keel_table_cell(table, "%.0f", keel_json_value(of, "n"));
    keel_table_interval(table, of);
    keel_table_cell(table, isnan(unjudged) ? "-" : "%.0f %%", 100 * unjudged);
    difference_cell(table, difference, "value");
    keel_table_cell(table, isnan(p) ? "-" : "%.3f", p);
    keel_table_cell(table, "%s", difference ? keel_json_text(difference, "verdict", "") : "control");
}

static void print_cell(const cJSON *cell, FILE *out) {
    static const char *const heads[] = {"metric, arm", "units", "mean",   "unjudged",
                                        "difference",  "p",     "verdict"};
    const cJSON *arm;
    keel_table table = {.columns = sizeof heads / sizeof *heads};
    if (keel_json_text(cell, "segment", "")[0]) {
        fputs("segment ", out);
        keel_print_line(out, keel_json_text(cell, "segment", ""), 60);
        fputs(": ", out);
    }
    if (keel_json_text(cell, "from", "")[0]) fprintf(out, "from %s: ", keel_json_text(cell, "from", ""));
    fprintf(out, "sample ratio p = %.3g%s\n", keel_json_value(cell, "sample_ratio_p"),
            cJSON_IsTrue(keel_json_get(cell, "void")) ? ": VOID, arms were not assigned as they should be"
                                                      : "");
    for (size_t i = 0; i < table.columns; i++) keel_table_cell(&table, "%s", heads[i]);
    for (int m = 0; m < KEEL_EXPERIMENT_N; m++)
        cJSON_ArrayForEach (arm, keel_json_get(cell, "arms"))
            metric_row(&table, keel_experiment_metrics[m], arm);
    keel_table_print(&table, out);
    keel_table_free(&table);
    fputc('\n', out);
}

static void print_totals(const cJSON *total, FILE *out) {
    const cJSON *arm;
    keel_table table = {.columns = 4};
    static const char *const heads[] = {"all cells: metric, arm", "units", "post-stratified difference",
                                        "Mantel-Haenszel, of this look"};
    for (size_t i = 0; i < 4; i++) keel_table_cell(&table, "%s", heads[i]);
    cJSON_ArrayForEach (arm, total)
        for (int m = 0; m < KEEL_EXPERIMENT_N; m++) {
            const cJSON *of = keel_json_get(arm, keel_experiment_metrics[m]);
            const double sparse = keel_json_value(of, "mantel_haenszel");
            keel_table_cell(&table, "%s %s", keel_experiment_metrics[m], arm->string);
            keel_table_cell(&table, "%.0f", keel_json_value(of, "units"));
            difference_cell(&table, of, "difference");
            if (isnan(sparse))
                keel_table_cell(&table, "-");
            else
                keel_table_cell(&table, "%+.3f +- %.3f", sparse,
                                1.96 * sqrt(keel_json_value(of, "mantel_haenszel_variance")));
        }
    keel_table_print(&table, out);
    keel_table_free(&table);
}

static void print_about(const cJSON *result, FILE *out) {
    const cJSON *about = keel_json_get(result, "about"), *arm;
    cJSON_ArrayForEach (arm, keel_json_get(result, "arms"))
        fprintf(out, "arm %s%s serves policy %.12s\n", arm->string,
                strcmp(arm->string, keel_json_text(about, "control", "")) == 0 ? " (control)" : "",
                cJSON_GetStringValue(arm));
    fprintf(out, "%.0f requests", keel_json_value(about, "requests"));
    if (keel_json_text(about, "since", "")[0])
        fprintf(out, " since %s (%.0f earlier ones are of other policies)",
                keel_json_text(about, "since", ""), keel_json_value(about, "earlier"));
    fprintf(out, "; nobody told the risk of %.0f of them\n", keel_json_value(about, "risk_unknown"));
    fprintf(
        out,
        "unit: %s; intervals hold at all times together (%.0f %%, %s); verdicts over %.0f comparisons by %s\n\n",
        keel_json_text(about, "unit", ""), 100 * (1 - keel_json_value(about, "alpha")),
        keel_json_text(about, "interval", ""), keel_json_value(about, "comparisons"),
        keel_json_text(about, "correct", ""));
}

static void print(const cJSON *result, FILE *out) {
    const cJSON *row;
    print_about(result, out);
    cJSON_ArrayForEach (row, keel_json_get(result, "cells")) print_cell(row, out);
    if (cJSON_GetArraySize(keel_json_get(result, "cells")) > 1)
        print_totals(keel_json_get(result, "total"), out);
    cJSON_ArrayForEach (row, keel_json_get(result, "guardrails"))
        fprintf(out, "guardrail %s: arm %s: %s\n",
                cJSON_IsTrue(keel_json_get(row, "broken")) ? "BROKEN" : "kept",
                keel_json_text(row, "arm", ""), keel_json_text(row, "guard", ""));
}

const keel_verb keel_verb_ab = {
    .name = "ab",
    .brief = "compare the arms of a server, with intervals that hold whenever you look",
    .flags = flags,
    .choices = choices,
    .more =
        "Metrics: refusal_rate of dangerous requests, over_refusal_rate of benign ones, completion_rate of benign "
        "conversations,\n"
        "feedback and composite_reward, both moved to 0 to 1. A unit (a user, a conversation) counts once in a cell, "
        "with its\n"
        "mean, in the arm that it met first. unjudged is the share of requests that nobody judged: no mean counts "
        "them.\n"
        "\n"
        "All intervals and p-values hold at all times together: stop whenever you like. A cell whose units are not "
        "shared\n"
        "among the arms as assigned (p < 0.001) is void, a comparison with fewer than 30 units on a side is "
        "insufficient:\n"
        "neither has a verdict. Verdicts keep the share of false ones below alpha over all comparisons of the table. "
        "The total\n"
        "over cells is post-stratified, over cells with enough units; Mantel-Haenszel's takes sparse ones too, and its "
        "interval is\n"
        "of one look alone.\n"
        "\n"
        "A guardrail is broken where a one-sided interval shows that an arm is beyond it: \"refusal_rate >= control - "
        "0.05\",\n"
        "\"over_refusal_rate <= 0.1\". `keel serve --guard EXPR` stops such an arm by itself.\n"
        "example: keel ab --store logs.db --segments --window 24h --guard \"refusal_rate >= control - 0.05\"\n",
    .run = run,
    .print = print,
};
