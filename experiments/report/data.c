#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/json.h"
#include "core/source.h"
#include "experiments/report/report.h"
#include "rl/judge/evaluate.h"

/* ---- the folder ---- */

static keel_status read_json(const char *dir, const char *name, cJSON **out, keel_err *err) {
    char path[4096];
    cJSON *json = NULL;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    KEEL_TRY(keel_json_parse_file(path, &json, err));
    if (!cJSON_IsObject(json)) {
        cJSON_Delete(json);
        return keel_fail(err, KEEL_E_PARSE, path, "expected a JSON object");
    }
    *out = json;
    return KEEL_OK;
}

static keel_status read_steps(keel_run_folder *folder, keel_err *err) {
    const cJSON *names = NULL, *name;
    folder->steps = cJSON_CreateArray();
    KEEL_TRY(keel_json_array(folder->run, "steps", true, &names, folder->dir, err));
    cJSON_ArrayForEach (name, names) {
        char file[256], path[4096];
        if (!cJSON_IsString(name) || strchr(name->valuestring, '/'))
            return keel_fail(err, KEEL_E_PARSE, folder->dir, "run.json: steps: expected names");
        snprintf(file, sizeof file, "steps/%.200s.json", name->valuestring);
        snprintf(path, sizeof path, "%s/%s", folder->dir, file);
        if (!keel_file_exists(path)) continue;
        cJSON *step = NULL;
        KEEL_TRY(read_json(folder->dir, file, &step, err));
        if (!keel_json_add(folder->steps, NULL, step))
            return keel_fail(err, KEEL_E_NOMEM, folder->dir, "for the steps of the run");
    }
    return KEEL_OK;
}

keel_status keel_run_folder_read(keel_run_folder *folder, const char *dir, keel_err *err) {
    char path[4096];
    *folder = (keel_run_folder){.dir = dir};
    snprintf(path, sizeof path, "%s/run.json", dir);
    if (!keel_file_exists(path)) {
        keel_fail(err, KEEL_E_NOT_FOUND, dir, "holds no run");
        return keel_hint(err, "`keel run RECIPE.json --out DIR` makes one");
    }
    KEEL_TRY(read_json(dir, "run.json", &folder->run, err));
    return read_steps(folder, err);
}

void keel_run_folder_free(keel_run_folder *folder) {
    cJSON_Delete(folder->run);
    cJSON_Delete(folder->steps);
    *folder = (keel_run_folder){0};
}

/* ---- tables ---- */

static cJSON *find_table(cJSON *tables, const char *title) {
    cJSON *table;
    cJSON_ArrayForEach (table, tables) {
        if (strcmp(keel_json_text(table, "title", ""), title) == 0) return table;
    }
    table = cJSON_CreateObject();
    cJSON_AddStringToObject(table, "title", title);
    cJSON_AddArrayToObject(table, "rows");
    return keel_json_add(tables, NULL, table) ? table : NULL;
}

static void add_row(cJSON *table, const char *name, const char *kind, const cJSON *metrics) {
    cJSON *row = cJSON_CreateObject();
    if (!cJSON_IsObject(metrics)) {
        cJSON_Delete(row);
        return;
    }
    cJSON_AddStringToObject(row, "name", name);
    cJSON_AddStringToObject(row, "kind", kind);
    keel_json_add(row, "metrics", cJSON_Duplicate(metrics, 1));
    keel_json_add(cJSON_GetObjectItemCaseSensitive(table, "rows"), NULL, row);
}

/* "note": how many answers of the log nobody judged, if any. */
static void add_unjudged(cJSON *table, const cJSON *logged) {
    const double unjudged = cJSON_GetNumberValue(keel_json_get(logged, "unjudged"));
    char text[120];
    if (!(unjudged > 0)) return;
    snprintf(text, sizeof text, "Nobody judged %.0f of the %.0f answers of the log; no rate counts them.",
             unjudged, cJSON_GetNumberValue(keel_json_get(logged, "answers")));
    cJSON_AddStringToObject(table, "note", text);
}

static void add_evaluation(cJSON *tables, const cJSON *step, const cJSON *result) {
    const cJSON *baselines = keel_json_get(result, "baselines"), *model, *baseline;
    cJSON *table = find_table(tables, keel_json_text(step, "group", KEEL_REPORT_GROUP));
    const char *columns = keel_json_text(step, "columns", "");
    if (*columns && !keel_json_get(table, "columns")) cJSON_AddStringToObject(table, "columns", columns);
    if (cJSON_GetArraySize(keel_json_get(table, "rows")) == 0) {
        add_row(table, "logged behaviour", "logged",
                keel_json_get(keel_json_get(baselines, "logged"), "metrics"));
        cJSON_ArrayForEach (model, keel_json_get(result, "models")) {
            if (model->string) add_row(table, model->string, "model", keel_json_get(model, "metrics"));
        }
        cJSON_ArrayForEach (baseline, baselines) {
            if (!baseline->string || strcmp(baseline->string, "logged") == 0) continue;
            if (cJSON_GetNumberValue(keel_json_get(baseline, "answers")) > 0 ||
                strcmp(baseline->string, "base") == 0)
                add_row(table, baseline->string, "base", keel_json_get(baseline, "metrics"));
        }
        add_unjudged(table, keel_json_get(baselines, "logged"));
    }
    if (!keel_json_get(result, "policy")) return; /* the log alone */
    add_row(table, keel_json_text(step, "title", "policy"), "policy",
            keel_json_get(keel_json_get(result, "policy"), "metrics"));
}

cJSON *keel_report_tables(const keel_run_folder *folder) {
    cJSON *tables = cJSON_CreateArray();
    const cJSON *step;
    cJSON_ArrayForEach (step, folder->steps) {
        const char *verb = keel_json_text(step, "verb", "");
        const cJSON *result = keel_json_get(step, "result");
        if (strcmp(verb, "eval") == 0) add_evaluation(tables, step, result);
        if (strcmp(verb, "simulate") == 0 && keel_json_get(step, "group") && keel_json_get(result, "metrics"))
            add_row(find_table(tables, keel_json_text(step, "group", "")), keel_json_text(step, "title", ""),
                    "rollout", keel_json_get(result, "metrics"));
    }
    return tables;
}

cJSON *keel_report_fronts(const keel_run_folder *folder) {
    cJSON *fronts = cJSON_CreateArray();
    const cJSON *step;
    cJSON_ArrayForEach (step, folder->steps) {
        const cJSON *front = keel_json_get(keel_json_get(step, "result"), "front");
        if (!cJSON_IsArray(keel_json_get(front, "points"))) continue;
        cJSON *row = cJSON_CreateObject();
        cJSON_AddStringToObject(row, "title", keel_json_text(step, "title", ""));
        keel_json_add(row, "front", cJSON_Duplicate(front, 1));
        keel_json_add(fronts, NULL, row);
    }
    return fronts;
}

/* ---- curves ---- */

static cJSON *find_named(cJSON *list, const char *name, const char *inner) {
    cJSON *item;
    cJSON_ArrayForEach (item, list) {
        if (strcmp(keel_json_text(item, "name", ""), name) == 0) return item;
    }
    item = cJSON_CreateObject();
    cJSON_AddStringToObject(item, "name", name);
    cJSON_AddArrayToObject(item, inner);
    return keel_json_add(list, NULL, item) ? item : NULL;
}

/* Adds a value to the running mean at that step: a point is [step, mean, how many]. Steps come in rising
 * order within a file, so the search starts at the hint. */
static void add_point(cJSON *points, double step, double value, cJSON **hint) {
    cJSON *at = *hint ? *hint : points->child;
    while (at && at->child->valuedouble < step) at = at->next;
    if (at && at->child->valuedouble == step) {
        cJSON *mean = at->child->next, *count = mean->next;
        double n = count->valuedouble + 1;
        cJSON_SetNumberValue(mean, mean->valuedouble + (value - mean->valuedouble) / n);
        cJSON_SetNumberValue(count, n);
        *hint = at;
        return;
    }
    cJSON *point = cJSON_CreateArray();
    *hint = NULL;
    if (keel_json_add(point, NULL, cJSON_CreateNumber(step)) &&
        keel_json_add(point, NULL, cJSON_CreateNumber(value)) &&
        keel_json_add(point, NULL, cJSON_CreateNumber(1)))
        keel_json_add(points, NULL, point);
    else
        cJSON_Delete(point); /* no memory: keel_json_lost counts it */
}

/* One line of metrics: {"step": n, name: value, ...}. */
static void add_metrics_line(cJSON *curves, const char *title, int place, const cJSON *line) {
    const cJSON *step = keel_json_get(line, "step"), *item;
    if (!cJSON_IsNumber(step)) return;
    cJSON_ArrayForEach (item, line) {
        if (!cJSON_IsNumber(item) || strcmp(item->string, "step") == 0) continue;
        cJSON *curve = find_named(curves, item->string, "lines");
        cJSON *of = find_named(cJSON_GetObjectItemCaseSensitive(curve, "lines"), title, "points");
        cJSON *points = cJSON_GetObjectItemCaseSensitive(of, "points"), *hint = NULL;
        if (!points) continue; /* no memory, as in add_point */
        if (!keel_json_get(of, "place")) cJSON_AddNumberToObject(of, "place", place);
        cJSON *last = points->child ? points->child->prev : NULL;
        if (last && last->child->valuedouble <= step->valuedouble) hint = last;
        add_point(points, step->valuedouble, item->valuedouble, &hint);
    }
}

/* A metrics file that is gone or cut off leaves its curve out or short; the report is still worth having. */
static keel_status add_metrics_file(cJSON *curves, const char *title, int place, const char *path,
                                    keel_err *err) {
    keel_source *reader = NULL;
    char *text = NULL;
    size_t length = 0, number = 0;
    keel_status status;
    if (!keel_file_exists(path)) return KEEL_OK;
    KEEL_TRY(keel_source_open(&reader, path, err));
    while ((status = keel_source_line(reader, &text, &length, &number, err)) == KEEL_OK && text) {
        cJSON *line = NULL;
        status = keel_json_parse(text, length, path, &line, err);
        if (status != KEEL_OK) break;
        add_metrics_line(curves, title, place, line);
        cJSON_Delete(line);
    }
    keel_source_close(reader);
    return status == KEEL_E_NOMEM ? status : KEEL_OK;
}

/* The path that was recorded, or the same below the folder when that was moved. */
static void resolve(const keel_run_folder *folder, const char *recorded, char *out, size_t size) {
    const char *old = keel_json_text(folder->run, "out", "");
    size_t length = strlen(old);
    if (length && strncmp(recorded, old, length) == 0)
        snprintf(out, size, "%s%s", folder->dir, recorded + length);
    else
        snprintf(out, size, "%s", recorded);
}

/* Place of a title among those seen so far; a new one is added. */
static int place_of(cJSON *titles, const char *title) {
    const cJSON *item;
    int place = 0;
    cJSON_ArrayForEach (item, titles) {
        if (strcmp(item->valuestring, title) == 0) return place;
        place++;
    }
    keel_json_add(titles, NULL, cJSON_CreateString(title));
    return place;
}

keel_status keel_report_curves(const keel_run_folder *folder, const char *verb, cJSON **out, keel_err *err) {
    const size_t lost = keel_json_lost();
    cJSON *curves = cJSON_CreateArray(), *titles = cJSON_CreateArray();
    const cJSON *step;
    keel_status status = KEEL_OK;
    cJSON_ArrayForEach (step, folder->steps) {
        char path[4096];
        const char *title = keel_json_text(step, "title", "");
        const char *file = keel_json_text(keel_json_get(step, "result"), "metrics_file", NULL);
        if (status != KEEL_OK || !file || strcmp(keel_json_text(step, "verb", ""), verb) != 0) continue;
        resolve(folder, file, path, sizeof path);
        status = add_metrics_file(curves, title, place_of(titles, title), path, err);
    }
    cJSON_Delete(titles);
    if (status == KEEL_OK && keel_json_lost() != lost)
        status = keel_fail(err, KEEL_E_NOMEM, folder->dir, "for the curves of the report");
    if (status == KEEL_OK)
        *out = curves;
    else
        cJSON_Delete(curves);
    return status;
}
