#include "experiments/pareto_report.h"

#include <string.h>

#include "core/json.h"
#include "experiments/cli_resources.h"
#include "experiments/table.h"
#include "policies/policy_internal.h"
#include "rl/judge/pareto.h"

enum { OBJECTIVES = KEEL_N_OBJECTIVES };
static const char *const objectives[OBJECTIVES] = {"completion_rate", "speed", "safety"};
static const double standard[OBJECTIVES] = {0, 0, -1}; /* reference */

/* ---- making one ---- */

/* What a policy's manifest says of its training. */
static keel_status add_training(const char *dir, double *updates, double *transitions, keel_err *err) {
    cJSON *manifest = NULL;
    KEEL_TRY(keel_manifest_read(dir, &manifest, err));
    const double steps = keel_json_number_or(keel_json_get(manifest, "metrics"), "steps", 0);
    *updates += steps;
    *transitions += steps * keel_json_number_or(keel_json_get(manifest, "config"), "batch", 0);
    cJSON_Delete(manifest);
    return KEEL_OK;
}

keel_status keel_pareto_report_reference(const keel_cli *cli, double out[OBJECTIVES], keel_err *err) {
    const char *given = cli ? keel_cli_value(cli, "--reference") : NULL;
    memcpy(out, standard, sizeof standard);
    return given ? keel_cli_numbers("--reference", given, out, OBJECTIVES, err) : KEEL_OK;
}

keel_status keel_pareto_report_begin(const keel_cli *cli, cJSON *front, const char *const *policy_dirs,
                                     size_t count, keel_err *err) {
    double updates = 0, transitions = 0, reference[OBJECTIVES];
    KEEL_TRY(keel_pareto_report_reference(cli, reference, err));
    for (size_t i = 0; i < count; i++) KEEL_TRY(add_training(policy_dirs[i], &updates, &transitions, err));
    keel_json_add(front, "objectives", cJSON_CreateStringArray(objectives, OBJECTIVES));
    keel_json_add(front, "reference", cJSON_CreateDoubleArray(reference, OBJECTIVES));
    cJSON *trained = cJSON_AddObjectToObject(front, "trained");
    cJSON_AddNumberToObject(trained, "runs", (double)count);
    cJSON_AddNumberToObject(trained, "updates", updates);
    cJSON_AddNumberToObject(trained, "transitions", transitions);
    cJSON_AddArrayToObject(front, "points");
    return KEEL_OK;
}

static void add_utility(cJSON *point, const keel_policy *policy, const cJSON *metrics) {
    double sum = 0;
    bool known = true;
    for (int k = 0; k < KEEL_N_REWARDS; k++) {
        const cJSON *value = keel_json_get(keel_json_get(metrics, keel_reward_name(k)), "value");
        if (policy->weight[k] == 0) continue;
        known = known && cJSON_IsNumber(value);
        sum += known ? policy->weight[k] * value->valuedouble : 0;
    }
    keel_json_add(point, "utility", known ? cJSON_CreateNumber(sum) : cJSON_CreateNull());
}

void keel_pareto_report_add(cJSON *front, const keel_policy *policy, cJSON *metrics) {
    cJSON *point = cJSON_CreateObject(), *weights = cJSON_AddObjectToObject(point, "weights");
    cJSON_AddStringToObject(point, "policy", policy->hash);
    for (int k = 0; k < KEEL_N_REWARDS; k++)
        cJSON_AddNumberToObject(weights, keel_reward_name(k), policy->weight[k]);
    add_utility(point, policy, metrics);
    keel_json_add(point, "metrics", metrics);
    keel_json_add(cJSON_GetObjectItemCaseSensitive(front, "points"), NULL, point);
}

/* What is known in all objectives, row by row; *count of them, and each one's point. */
static void list_known(const cJSON *points, double *rows, cJSON **of, size_t *count) {
    cJSON *point;
    *count = 0;
    cJSON_ArrayForEach (point, points) {
        bool known = true;
        for (size_t k = 0; k < OBJECTIVES; k++) {
            const cJSON *value =
                keel_json_get(keel_json_get(keel_json_get(point, "metrics"), objectives[k]), "value");
            known = known && cJSON_IsNumber(value);
            rows[*count * OBJECTIVES + k] = cJSON_IsNumber(value) ? value->valuedouble : 0;
        }
        of[*count] = point;
        *count += known;
    }
}

/* Null unless known at every point. */
static void add_mean_utility(cJSON *front, const cJSON *points) {
    const cJSON *point;
    double sum = 0;
    bool known = cJSON_GetArraySize(points) > 0;
    cJSON_ArrayForEach (point, points) {
        known = known && cJSON_IsNumber(keel_json_get(point, "utility"));
        sum += keel_json_number_or(point, "utility", 0);
    }
    keel_json_add(front, "mean_utility",
                  known ? cJSON_CreateNumber(sum / cJSON_GetArraySize(points)) : cJSON_CreateNull());
}

static void read_reference(const cJSON *front, double out[OBJECTIVES]) {
    const cJSON *item;
    size_t k = 0;
    memcpy(out, standard, sizeof standard);
    cJSON_ArrayForEach (item, keel_json_get(front, "reference")) {
        if (k < OBJECTIVES) out[k++] = item->valuedouble;
    }
}

/* Of the points that are known, and of the best of them alone. */
static keel_status add_volumes(cJSON *front, const double *rows, size_t known, keel_err *err) {
    double reference[OBJECTIVES], all = 0, best = 0;
    read_reference(front, reference);
    KEEL_TRY(keel_pareto_volume(rows, known, OBJECTIVES, reference, &all, err));
    for (size_t i = 0; i < known; i++) {
        double alone = 0;
        KEEL_TRY(keel_pareto_volume(rows + i * OBJECTIVES, 1, OBJECTIVES, reference, &alone, err));
        best = alone > best ? alone : best;
    }
    cJSON_AddNumberToObject(front, "hypervolume", all);
    cJSON_AddNumberToObject(front, "best_alone", best);
    return KEEL_OK;
}

keel_status keel_pareto_report_end(cJSON *front, keel_err *err) {
    const cJSON *points = keel_json_get(front, "points");
    size_t n = (size_t)cJSON_GetArraySize(points), known;
    keel_arena arena = {0};
    double *rows = keel_arena_alloc(&arena, (n + 1) * OBJECTIVES * sizeof *rows);
    cJSON **of = keel_arena_alloc(&arena, (n + 1) * sizeof *of), *point;
    bool *on = keel_arena_alloc(&arena, (n + 1) * sizeof *on);
    keel_status status = rows && of && on ? KEEL_OK : keel_fail(err, KEEL_E_NOMEM, NULL, "for %zu points", n);
    if (status == KEEL_OK) {
        list_known(points, rows, of, &known);
        keel_pareto_front(rows, known, OBJECTIVES, on);
        status = add_volumes(front, rows, known, err);
    }
    if (status == KEEL_OK) {
        for (size_t i = 0; i < known; i++) cJSON_AddBoolToObject(of[i], "on_front", on[i]);
        cJSON_ArrayForEach (point, points) {
            if (!keel_json_get(point, "on_front")) cJSON_AddBoolToObject(point, "on_front", false);
        }
        add_mean_utility(front, points);
    }
    keel_arena_free(&arena);
    return status;
}

/* ---- for people ---- */

void keel_pareto_report_name(const cJSON *point, char *out, size_t size) {
    const cJSON *weights = keel_json_get(point, "weights");
    size_t length = 0;
    for (int k = 0; k < KEEL_N_REWARDS && length < size; k++)
        length += (size_t)snprintf(out + length, size - length, "%s%s %.4g", k > 0 ? ", " : "",
                                   keel_reward_name(k), keel_json_number_or(weights, keel_reward_name(k), 0));
}

void keel_pareto_report_print(const cJSON *front, FILE *out) {
    static const char *const shown[] = {"completion_rate", "speed", "safety", "refusal_rate"};
    enum { SHOWN = sizeof shown / sizeof *shown };
    const cJSON *point;
    keel_table table = {.columns = SHOWN + 3};
    keel_table_cell(&table, "weights");
    for (size_t i = 0; i < SHOWN; i++) keel_table_cell(&table, "%s", shown[i]);
    keel_table_cell(&table, "utility");
    keel_table_cell(&table, "front");
    cJSON_ArrayForEach (point, keel_json_get(front, "points")) {
        char name[96];
        keel_pareto_report_name(point, name, sizeof name);
        keel_table_cell(&table, "%s", name);
        for (size_t i = 0; i < SHOWN; i++)
            keel_table_interval(&table, keel_json_get(keel_json_get(point, "metrics"), shown[i]));
        keel_table_number(&table, keel_json_get(point, "utility"), "%.3f");
        keel_table_cell(&table, "%s", cJSON_IsTrue(keel_json_get(point, "on_front")) ? "*" : "");
    }
    keel_table_print(&table, out);
    keel_table_free(&table);
    double reference[OBJECTIVES];
    read_reference(front, reference);
    fprintf(out,
            "\nhypervolume above completion %g, speed %g, safety %g: %.4g (of the best point alone: %.4g)\n",
            reference[0], reference[1], reference[2], keel_json_number_or(front, "hypervolume", 0),
            keel_json_number_or(front, "best_alone", 0));
}

static int count_on(const cJSON *front) {
    int count = 0;
    const cJSON *point;
    cJSON_ArrayForEach (point, keel_json_get(front, "points"))
        count += cJSON_IsTrue(keel_json_get(point, "on_front"));
    return count;
}

void keel_pareto_report_compare(const cJSON *fronts, FILE *out) {
    const cJSON *row;
    double first = 0;
    keel_table table = {.columns = 8};
    static const char *const heads[] = {"front",        "points",       "on it",   "hypervolume",
                                        "of the first", "mean utility", "updates", "transitions seen"};
    for (size_t i = 0; i < table.columns; i++) keel_table_cell(&table, "%s", heads[i]);
    cJSON_ArrayForEach (row, fronts) {
        const cJSON *front = keel_json_get(row, "front");
        fprintf(out, "%s\n\n", keel_json_get(row, "title")->valuestring);
        keel_pareto_report_print(front, out);
        fputc('\n', out);
        if (row == fronts->child) first = keel_json_number_or(front, "hypervolume", 0);
    }
    cJSON_ArrayForEach (row, fronts) {
        const cJSON *front = keel_json_get(row, "front"), *trained = keel_json_get(front, "trained");
        const double volume = keel_json_number_or(front, "hypervolume", 0);
        keel_table_cell(&table, "%s", keel_json_get(row, "title")->valuestring);
        keel_table_cell(&table, "%d", cJSON_GetArraySize(keel_json_get(front, "points")));
        keel_table_cell(&table, "%d", count_on(front));
        keel_table_cell(&table, "%.4g", volume);
        keel_table_cell(&table, "%.3f", first > 0 ? volume / first : 1);
        keel_table_number(&table, keel_json_get(front, "mean_utility"), "%.3f");
        keel_table_cell(&table, "%.0f", keel_json_number_or(trained, "updates", 0));
        keel_table_cell(&table, "%.0f", keel_json_number_or(trained, "transitions", 0));
    }
    if (cJSON_GetArraySize(fronts)) keel_table_print(&table, out), fputc('\n', out);
    keel_table_free(&table);
}
