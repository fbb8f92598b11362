#include "datasets/value.h"

#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "core/decimal.h"

static cJSON *make(keel__value *build, int type) {
    cJSON *made = build->failed ? NULL : keel_arena_calloc(build->arena, 1, sizeof *made);
    if (!made) build->failed = true;
    if (made) made->type = type;
    return made;
}

cJSON *keel__value_object(keel__value *build) {
    return make(build, cJSON_Object);
}

cJSON *keel__value_array(keel__value *build) {
    return make(build, cJSON_Array);
}

cJSON *keel__value_text(keel__value *build, const char *text) {
    cJSON *made = make(build, text ? cJSON_String : cJSON_NULL);
    if (made) made->valuestring = (char *)(uintptr_t)text;
    return made;
}

cJSON *keel__value_number(keel__value *build, double value) {
    cJSON *made = make(build, cJSON_Number);
    if (!made) return NULL;
    made->valuedouble = value;
    made->valueint = value >= INT_MAX ? INT_MAX : value > INT_MIN ? (int)value : INT_MIN; /* NaN too */
    return made;
}

cJSON *keel__value_bool(keel__value *build, bool value) {
    return make(build, value ? cJSON_True : cJSON_False);
}

cJSON *keel__value_same(keel__value *build, const cJSON *item) {
    cJSON *made = make(build, cJSON_NULL);
    if (!made) return NULL;
    *made = *item;
    made->next = made->prev = NULL;
    made->string = NULL;
    return made;
}

void keel__value_put(keel__value *build, cJSON *to, const char *key, cJSON *item) {
    if (build->failed || !item || !to) return;
    item->string = (char *)(uintptr_t)key;
    item->next = NULL;
    if (!to->child) {
        to->child = item->prev = item;
        return;
    }
    cJSON *last = to->child->prev; /* as in cJSON, the first child knows the last */
    last->next = item;
    item->prev = last;
    to->child->prev = item;
}

void keel__value_put_same(keel__value *build, cJSON *to, const char *key, const cJSON *item) {
    if (item && !cJSON_IsNull(item)) keel__value_put(build, to, key, keel__value_same(build, item));
}

void keel__value_put_text(keel__value *build, cJSON *to, const char *key, const char *text) {
    if (text) keel__value_put(build, to, key, keel__value_text(build, text));
}

void keel__value_put_others(keel__value *build, cJSON *to, const cJSON *object, const char *const *keys) {
    for (const cJSON *item = object ? object->child : NULL; item; item = item->next)
        if (!keys || !keel__is_among(item->string, keys)) keel__value_put_same(build, to, item->string, item);
}

cJSON *keel__value_copy(keel__value *build, const cJSON *object, const char *const *but) {
    cJSON *made = keel__value_object(build);
    keel__value_put_others(build, made, object, but);
    return made;
}

const char *keel__value_format(keel__value *build, const char *format, ...) {
    keel_buf text = {0};
    va_list arguments;
    va_start(arguments, format);
    keel_buf_vformat(&text, format, arguments);
    va_end(arguments);
    const char *made = text.failed || build->failed
                           ? NULL
                           : keel_arena_strndup(build->arena, text.data ? text.data : "", text.length);
    keel_buf_free(&text);
    build->failed = build->failed || !made;
    return made;
}

const char *keel__string_at(const cJSON *object, const char *key) {
    const cJSON *item = keel_json_get(object, key);
    return cJSON_IsString(item) ? item->valuestring : NULL;
}

bool keel__is_among(const char *text, const char *const *list) {
    while (text && *list && strcmp(*list, text) != 0) list++;
    return text && *list;
}

/* ---- time ---- */

/* Days from 1970-01-01 in the Gregorian calendar, by counting 400-year eras from March. */
static double days_of(int year, int month, int day) {
    const int y = year - (month <= 2), era = y / 400, of_era = y - era * 400;
    const int of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097.0 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

bool keel__iso_seconds(const char *text, double *out) {
    int year, month, day, hour, minute, length = 0, hours = 0, minutes = 0;
    double second = 0;
    char sign = 'Z';
    if (!text ||
        sscanf(text, "%4d-%2d-%2d%*1[T ]%2d:%2d:%n", &year, &month, &day, &hour, &minute, &length) != 5 ||
        !length || year < 1 || month < 1 || month > 12)
        return false;
    const char *at = text + length;
    char *end;
    if (*at < '0' || *at > '9') return false;
    second = keel_decimal_read(at, &end);
    if (*end && sscanf(end, "%c%2d:%2d", &sign, &hours, &minutes) < 1) return false;
    const double offset = (hours * 60.0 + minutes) * 60 * (sign == '-' ? -1 : sign == '+' ? 1 : 0);
    *out = ((days_of(year, month, day) * 24 + hour) * 60 + minute) * 60 + second - offset;
    return true;
}
