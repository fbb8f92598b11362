#include "policies/tokens/component.h"

#include <string.h>

keel_status keel__component_refuse(const keel__reader *r, const char *kind, const char *what,
                                   const char *expected) {
    return keel_fail(r->err, KEEL_E_UNSUPPORTED, r->name, "%s: \"%s\": expected %s", kind, what, expected);
}

/* "NFC, Prepend, Replace or Sequence" */
static keel_status refuse_type(const keel__reader *r, const keel__component_kind *kind, const char *type) {
    char known[256] = "";
    for (size_t i = 0; i < kind->n && strlen(known) + strlen(kind->row[i].type) + 16 < sizeof known; i++)
        strcat(strcat(known, kind->row[i].type), i + 1 < kind->n ? ", " : " or Sequence");
    return keel__component_refuse(r, kind->name, type, known);
}

enum { DEEPEST = 8 };

static keel_status read(const keel__reader *r, const keel__component_kind *kind, const cJSON *json, void *to,
                        int depth) {
    const char *type = NULL;
    const cJSON *list = NULL, *item;
    if (depth == DEEPEST)
        return keel_fail(r->err, KEEL_E_PARSE, r->name, "%s: nested deeper than %d", kind->name, DEEPEST);
    if (!cJSON_IsObject(json))
        return keel_fail(r->err, KEEL_E_PARSE, r->name, "%s: expected an object", kind->name);
    KEEL_TRY(keel_json_string(json, "type", true, &type, r->name, r->err));
    if (strcmp(type, "Sequence") == 0) {
        KEEL_TRY(keel_json_array(json, kind->list, true, &list, r->name, r->err));
        cJSON_ArrayForEach (item, list) KEEL_TRY(read(r, kind, item, to, depth + 1));
        return KEEL_OK;
    }
    for (size_t i = 0; i < kind->n; i++)
        if (strcmp(type, kind->row[i].type) == 0) return kind->row[i].read(r, json, to);
    return refuse_type(r, kind, type);
}

keel_status keel__component_read(const keel__reader *r, const keel__component_kind *kind, const cJSON *json,
                                 void *to) {
    return !json || cJSON_IsNull(json) ? KEEL_OK : read(r, kind, json, to, 0);
}

keel_status keel__component_text(const keel__reader *r, const cJSON *json, const char *key,
                                 const char **out) {
    KEEL_TRY(keel_json_string(json, key, true, out, r->name, r->err));
    *out = keel_arena_strdup(r->arena, *out);
    return *out ? KEEL_OK : keel_nomem(r->err, r->name);
}

enum { MOST_STEPS = 32 };

keel_status keel__component_add(const keel__reader *r, void *chain, size_t *n, size_t size, const void *one) {
    char **at = chain;
    if (*n == MOST_STEPS)
        return keel_fail(r->err, KEEL_E_UNSUPPORTED, r->name, "more than %d components in a row", MOST_STEPS);
    if (!*at) *at = keel_arena_alloc(r->arena, MOST_STEPS * size);
    if (!*at) return keel_nomem(r->err, r->name);
    memcpy(*at + (*n)++ * size, one, size);
    return KEEL_OK;
}
