#include "rl/judge/gate.h"

#include <math.h>
#include <string.h>

#include "core/decimal.h"
#include "core/json.h"
#include "core/memory.h"

typedef enum comparison { AT_LEAST, AT_MOST, ABOVE, BELOW } comparison;

typedef struct gate {
    char name[160];    /* without the bound */
    const char *bound; /* "value", "low", "high" */
    comparison how;
    double number;
} gate;

static keel_status malformed(const char *expression, keel_err *err) {
    keel_fail(err, KEEL_E_USAGE, "--gate",
              "expected NAME[.low|.high|.value] OP NUMBER with OP one of >= <= > <, got \"%s\"", expression);
    return keel_hint(err, "for instance --gate \"refusal_rate.low >= 0.97\"");
}

/* Cuts a trailing .value, .low or .high off the name; value is the standard. */
static const char *take_bound(char *name) {
    static const char *const bounds[] = {"value", "low", "high"};
    char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < 3; ++i)
        if (strcmp(dot + 1, bounds[i]) == 0) {
            *dot = '\0';
            return bounds[i];
        }
    return bounds[0];
}

static keel_status parse(const char *expression, gate *out, keel_err *err) {
    const char *text = expression + strspn(expression, " \t");
    size_t length = strcspn(text, " \t<>=");
    const char *sign = text + length + strspn(text + length, " \t");
    if (!length || length >= sizeof out->name || (*sign != '<' && *sign != '>'))
        return malformed(expression, err);
    bool equal = sign[1] == '=';
    const char *number = sign + 1 + equal;
    char *end;
    out->number = keel_decimal_read(number, &end);
    if (end == number || end[strspn(end, " \t")] || !isfinite(out->number)) return malformed(expression, err);
    out->how = *sign == '>' ? (equal ? AT_LEAST : ABOVE) : (equal ? AT_MOST : BELOW);
    memcpy(out->name, text, length);
    out->name[length] = '\0';
    out->bound = take_bound(out->name);
    return KEEL_OK;
}

/* ---- looking a name up ---- */

/* "refusal_rate" and "ope.wis" are the policy's; "baselines.logged.refusal_rate" and
 * "models.NAME.refusal_rate" are reached from the top. A model's name may hold dots, so the metric is what
 * follows the last one. Where the models are not known yet, any name may turn out to be one. */
static const cJSON *find(const cJSON *evaluation, const char *name) {
    const cJSON *policy = keel_json_get(evaluation, "policy");
    if (strncmp(name, "ope.", 4) == 0) return keel_json_get(keel_json_get(policy, "ope"), name + 4);
    const char *last = strrchr(name, '.');
    if (!last) return keel_json_get(keel_json_get(policy, "metrics"), name);
    const char *first = strchr(name, '.');
    size_t group = (size_t)(first - name);
    if (first == last)
        return group == 6 && strncmp(name, "policy", 6) == 0 ? find(evaluation, last + 1) : NULL;
    char key[160];
    memcpy(key, name, group);
    key[group] = '\0';
    const cJSON *owners = keel_json_get(evaluation, key);
    if (!owners && strcmp(key, "models") == 0)
        return keel_json_get(keel_json_get(policy, "metrics"), last + 1);
    size_t length = (size_t)(last - first - 1);
    memcpy(key, first + 1, length);
    key[length] = '\0';
    return keel_json_get(keel_json_get(keel_json_get(owners, key), "metrics"), last + 1);
}

static keel_status unknown(const gate *wanted, const cJSON *evaluation, keel_err *err) {
    keel_buf names = {0};
    const cJSON *item;
    cJSON_ArrayForEach (item, keel_json_get(keel_json_get(evaluation, "policy"), "metrics"))
        keel_buf_format(&names, "%s%s", names.length ? ", " : "", item->string);
    keel_fail(err, KEEL_E_USAGE, "--gate", "there is no metric \"%s\"; there are: %s", wanted->name,
              names.data ? names.data : "none");
    keel_buf_free(&names);
    return keel_hint(err,
                     "those, baselines.logged.NAME, baselines.base.NAME, models.MODEL.NAME, or ope.NAME");
}

static bool compare(comparison how, double measured, double number) {
    switch (how) {
    case AT_LEAST:
        return measured >= number;
    case AT_MOST:
        return measured <= number;
    case ABOVE:
        return measured > number;
    case BELOW:
        return measured < number;
    }
    return false;
}

keel_status keel_gate_check(const char *expression, const cJSON *evaluation, bool *met, double *measured,
                            keel_err *err) {
    gate wanted;
    KEEL_TRY(parse(expression, &wanted, err));
    const cJSON *found = find(evaluation, wanted.name);
    if (cJSON_IsObject(found)) found = keel_json_get(found, wanted.bound);
    if (!found) return unknown(&wanted, evaluation, err);
    double value = cJSON_IsNumber(found) ? found->valuedouble : NAN; /* null: nothing was known */
    *met = cJSON_IsNumber(found) && compare(wanted.how, value, wanted.number);
    *measured = value;
    return KEEL_OK;
}
