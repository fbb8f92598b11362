#include "datasets/value.h"

#include <limits.h>
#include <stdint.h>
#include <string.h>

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
    made->valueint = value >= INT_MAX ? INT_MAX : value <= INT_MIN ? INT_MIN : (int)value;
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
    for (const cJSON *item = object ? object->child : NULL; item; item = item->next) {
        const char *const *key = keys;
        while (*key && strcmp(*key, item->string) != 0) key++;
        if (!*key) keel__value_put_same(build, to, item->string, item);
    }
}

const char *keel__string_at(const cJSON *object, const char *key) {
    const cJSON *item = keel_json_get(object, key);
    return cJSON_IsString(item) ? item->valuestring : NULL;
}
