#include "experiments/search/search_metric.h"

#include <math.h>
#include <string.h>

#include "core/decimal.h"
#include "core/json.h"

/* ---- reading ---- */

static bool has_empty_key(const char *path) {
    return !*path || *path == '.' || path[strlen(path) - 1] == '.' || strstr(path, "..");
}

static bool names_step(const char *text, const char *step) {
    const size_t n = strlen(step);
    return strncmp(text, step, n) == 0 && text[n] == '.';
}

keel_status keel_search_metric_read(const keel_recipe *recipe, const char *text, keel_arena *arena,
                                    const char *where, keel_search_metric *out, keel_err *err) {
    char *copy = keel_arena_strdup(arena, text);
    if (!copy) return keel_nomem(err, where);
    *out = (keel_search_metric){.text = copy, .path = copy};
    for (size_t i = 0; i < recipe->n_steps; ++i) {
        const char *name = recipe->steps[i].name;
        if (i + 1 == recipe->n_steps && !out->step) out->step = name;
        if (!names_step(copy, name)) continue;
        out->step = name;
        out->path = copy + strlen(name) + 1;
    }
    out->step = keel_arena_strdup(arena, out->step);
    if (!out->step) return keel_nomem(err, where);
    if (!has_empty_key(out->path)) return KEEL_OK;
    keel_fail(err, KEEL_E_USAGE, where, "\"%.80s\" is no metric", text);
    return keel_hint(err, "write its keys with points between, as composite_reward or refusal_rate.low");
}

/* The last of >= <= > < in the text, and how long it is. */
static const char *comparison(const char *text, size_t *length) {
    const char *found = NULL;
    for (const char *at = text; *at; ++at)
        if (*at == '<' || *at == '>') found = at;
    *length = found && found[1] == '=' ? 2 : 1;
    return found;
}

keel_status keel_search_metric_require(const keel_recipe *recipe, const char *text, keel_arena *arena,
                                       keel_search_require *out, keel_err *err) {
    size_t length, n;
    char *end = NULL;
    const char *sign = comparison(text, &length);
    *out = (keel_search_require){.text = text};
    if (sign) {
        out->at_least = *sign == '>';
        out->bound = keel_decimal_read(sign + length, &end);
        if (end == sign + length) end = NULL;
        while (end && *end == ' ') ++end;
    }
    if (!end || *end || !isfinite(out->bound)) {
        keel_fail(err, KEEL_E_USAGE, "--require", "\"%.80s\" is no requirement", text);
        return keel_hint(err, "write METRIC >= NUMBER or METRIC <= NUMBER, as \"refusal_rate.low >= 0.95\"");
    }
    for (n = (size_t)(sign - text); n > 0 && text[n - 1] == ' ';) --n;
    while (n > 0 && *text == ' ') ++text, --n;
    const char *metric = keel_arena_strndup(arena, text, n);
    if (!metric) return keel_nomem(err, "--require");
    return keel_search_metric_read(recipe, metric, arena, "--require", &out->metric, err);
}

/* ---- looking up ---- */

/* The value at a path of keys with points between, or NULL. */
static const cJSON *follow(const cJSON *from, const char *path) {
    char key[200];
    while (from && *path) {
        const size_t n = strcspn(path, ".");
        if (n >= sizeof key) return NULL;
        memcpy(key, path, n);
        key[n] = '\0';
        from = keel_json_get(from, key);
        path += n + (path[n] == '.');
    }
    return from;
}

static keel_optional number_of(const cJSON *item) {
    const bool known = cJSON_IsNumber(item) && isfinite(item->valuedouble);
    return (keel_optional){.present = known, .value = known ? item->valuedouble : 0};
}

static keel_status fail_missing(const keel_search_metric *metric, const cJSON *result, keel_err *err) {
    static const char *const places[] = {"policy.metrics", "metrics", ""};
    keel_buf names = {0};
    for (size_t i = 0; i < sizeof places / sizeof *places && !names.length; ++i) {
        const cJSON *object = follow(result, places[i]), *item;
        cJSON_ArrayForEach (item, object)
            if (item->string) keel_buf_format(&names, "%s%s", names.length ? ", " : "", item->string);
    }
    keel_fail(err, KEEL_E_NOT_FOUND, metric->text, "the result of step %s has no such key", metric->step);
    keel_hint(err, "it has %.200s", names.data ? names.data : "nothing");
    keel_buf_free(&names);
    return KEEL_E_NOT_FOUND;
}

keel_status keel_search_metric_find(const keel_search_metric *metric, const cJSON *result,
                                    keel_search_value *out, keel_err *err) {
    static const char *const places[] = {"", "policy.metrics", "metrics"};
    const cJSON *item = NULL;
    for (size_t i = 0; i < sizeof places / sizeof *places && !item; ++i)
        item = follow(follow(result, places[i]), metric->path);
    *out = (keel_search_value){0};
    if (!item) return fail_missing(metric, result, err);
    const cJSON *value = keel_json_get(item, "value");
    if (!cJSON_IsNumber(item) && !cJSON_IsNull(item) && !cJSON_IsBool(item) && !value)
        return keel_fail(err, KEEL_E_INVALID, metric->text, "is no number in the result of step %s",
                         metric->step);
    out->value = number_of(value ? value : item);
    out->low = number_of(keel_json_get(item, "low"));
    out->high = number_of(keel_json_get(item, "high"));
    if (cJSON_IsBool(item)) out->value = (keel_optional){true, cJSON_IsTrue(item)};
    return KEEL_OK;
}
