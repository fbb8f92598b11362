#include "datasets/build.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "core/decimal.h"

cJSON *keel__build_message(keel__value *build, const char *role, const char *text) {
    cJSON *made = keel__value_object(build);
    keel__value_put_text(build, made, "role", role);
    keel__value_put_text(build, made, "content", text);
    return made;
}

keel_status keel__build_said(keel__value *build, cJSON *list, const cJSON *said, const char *role,
                             const char *where, keel_err *err) {
    const bool several = cJSON_IsArray(said);
    if (cJSON_IsString(said)) {
        keel__value_put(build, list, NULL, keel__build_message(build, role, said->valuestring));
        return KEEL_OK;
    }
    if (!several && !cJSON_IsObject(said))
        return keel_fail(err, KEEL_E_PARSE, where, "%s: expected a text or a list of messages",
                         said->string ? said->string : role);
    for (const cJSON *item = several ? said->child : said; item; item = several ? item->next : NULL) {
        if (!cJSON_IsObject(item))
            return keel_fail(err, KEEL_E_PARSE, where, "%s: expected a list of messages",
                             said->string ? said->string : role);
        keel__value_put(build, list, NULL, keel__value_copy(build, item, NULL));
    }
    return KEEL_OK;
}

cJSON *keel__build_last(const cJSON *list) {
    return list && list->child ? list->child->prev : NULL; /* the first child knows the last */
}

void keel__build_append(keel__value *build, cJSON *list, const char *text) {
    cJSON *content = cJSON_GetObjectItemCaseSensitive(keel__build_last(list), "content");
    if (!cJSON_IsString(content)) return;
    const char *before = content->valuestring,
               *joined = keel__value_format(build, "%s%s%s", before, *before ? "\n\n" : "", text);
    if (joined) content->valuestring = (char *)(uintptr_t)joined;
}

/* ---- facts, and what is left ---- */

static const char *const facts[] = {"id", "risk", "group", "split", "completed", "truncated", NULL};
enum { FLAGS = 4 /* the first that is true or false, not a text */ };

static bool is_fact(const cJSON *item) {
    if (!item || !keel__is_among(item->string, facts)) return false;
    if (keel__is_among(item->string, facts + FLAGS)) return cJSON_IsBool(item);
    return (cJSON_IsString(item) && item->valuestring[0]) ||
           (cJSON_IsNumber(item) && strcmp(item->string, "id") == 0);
}

/* Rows may say it in words that nobody knows, which are not lost. */
static bool is_odd_risk(const cJSON *item) {
    static const char *const risks[] = {"benign", "dangerous", NULL};
    return strcmp(item->string, "risk") == 0 && !keel__is_among(item->valuestring, risks);
}

void keel__build_facts(keel__value *build, cJSON *to, const cJSON *object) {
    for (size_t i = 0; facts[i]; i++)
        if (is_fact(keel_json_get(object, facts[i])))
            keel__value_put_same(build, to, facts[i], keel_json_get(object, facts[i]));
}

void keel__build_suffix(keel__value *build, cJSON *to, const char *suffix) {
    cJSON *id = cJSON_GetObjectItemCaseSensitive(to, "id");
    char number[KEEL_DECIMAL_SIZE];
    if (!cJSON_IsString(id) && !(cJSON_IsNumber(id) && isfinite(id->valuedouble))) return;
    keel_decimal_print(number, id->valuedouble);
    /* A number has digits too where a double does not hold them. */
    const char *name = keel__value_format(build, "%s%s", id->valuestring ? id->valuestring : number, suffix);
    id->type = cJSON_String;
    id->valuestring = (char *)(uintptr_t)name;
}

cJSON *keel__build_rest(keel__value *build, const cJSON *object, const char *const *used,
                        const char *const *more) {
    /* Never stored: addresses of people, and credentials. */
    static const char *const private_keys[] = {"ip",       "user_ip", "ip_address", "email",
                                               "llm_args", "api_key", NULL};
    cJSON *rest = keel__value_object(build);
    for (const cJSON *item = object->child; item; item = item->next) {
        if ((is_fact(item) && !is_odd_risk(item)) || keel__is_among(item->string, used) ||
            (more && keel__is_among(item->string, more)) || keel__is_among(item->string, private_keys))
            continue;
        const bool own = strcmp(item->string, "meta") == 0 && cJSON_IsObject(item);
        for (const cJSON *part = own ? item->child : item; part; part = own ? part->next : NULL)
            if (!keel_json_get(rest, part->string))
                keel__value_put(build, rest, part->string, keel__value_same(build, part));
    }
    return rest && rest->child ? rest : NULL;
}

/* ---- reading ---- */

keel_status keel__build_read(keel__value *build, const cJSON *built, int64_t *counts, keel_read *out,
                             keel_err *err) {
    out->conversation = keel_arena_calloc(build->arena, 1, sizeof *out->conversation);
    if (build->failed || !out->conversation) return keel_nomem(err, out->where);
    return keel__chat_read_object(built, out->where, build->arena, counts, out->conversation, err);
}
