/* Objects of the chat format that readers of other formats build. */
#include "datasets/build.h"

#include <string.h>

#include "core/hash.h"

/* Never stored: addresses of people, and credentials. */
static const char *const private_keys[] = {"ip",       "user_ip", "ip_address", "email",
                                           "llm_args", "api_key", NULL};

bool keel__add_message(cJSON *list, const char *role, const char *text) {
    cJSON *message = cJSON_CreateObject();
    if (!message || !cJSON_AddStringToObject(message, "role", role) ||
        !cJSON_AddStringToObject(message, "content", text)) {
        cJSON_Delete(message);
        return false;
    }
    return keel_json_add(list, NULL, message);
}

bool keel__append_text(cJSON *message, const char *text) {
    cJSON *content = cJSON_GetObjectItemCaseSensitive(message, "content");
    keel_buf joined = {0};
    if (!cJSON_IsString(content)) return true;
    keel_buf_format(&joined, "%s%s%s", content->valuestring, content->valuestring[0] ? "\n\n" : "", text);
    const bool good = !joined.failed && cJSON_SetValuestring(content, joined.data);
    keel_buf_free(&joined);
    return good;
}

cJSON *keel__chat_begin(const cJSON *object, const char *where, keel_err *err) {
    static const char *const keys[] = {"risk", "group", "split", NULL};
    cJSON *out = cJSON_CreateObject();
    const cJSON *id = keel_json_get(object, "id");
    bool good = out != NULL;
    if (cJSON_IsString(id) ? id->valuestring[0] != '\0' : cJSON_IsNumber(id))
        good = good && keel_json_add(out, "id", cJSON_Duplicate(id, true));
    for (size_t i = 0; keys[i]; i++) {
        const cJSON *item = keel_json_get(object, keys[i]);
        if (good && cJSON_IsString(item)) good = keel_json_add(out, keys[i], cJSON_Duplicate(item, true));
    }
    for (int i = 0; i < 2; i++) {
        const char *key = i ? "truncated" : "completed";
        const cJSON *item = keel_json_get(object, key);
        if (good && cJSON_IsBool(item)) good = keel_json_add(out, key, cJSON_Duplicate(item, true));
    }
    if (good) return out;
    cJSON_Delete(out);
    keel_nomem(err, where);
    return NULL;
}

keel_status keel__chat_suffix_id(cJSON *to, const char *suffix, const char *where, keel_err *err) {
    cJSON *id = cJSON_GetObjectItemCaseSensitive(to, "id");
    keel_buf name = {0};
    if (!suffix || !id) return KEEL_OK;
    keel_status status = KEEL_OK;
    if (cJSON_IsString(id))
        keel_buf_text(&name, id->valuestring);
    else
        status = keel_json_print(id, false, &name, err);
    keel_buf_text(&name, suffix);
    if (status == KEEL_OK) {
        cJSON_DeleteItemFromObjectCaseSensitive(to, "id");
        if (name.failed || !cJSON_AddStringToObject(to, "id", name.data)) status = keel_nomem(err, where);
    }
    keel_buf_free(&name);
    return status;
}

static bool is_among(const char *key, const char *const *keys) {
    return keys && keel__chat_is_key(key, keys);
}

/* What keel__chat_begin takes over. */
static bool is_taken_over(const cJSON *item) {
    static const char *const texts[] = {"id", "risk", "group", "split", NULL};
    static const char *const flags[] = {"completed", "truncated", NULL};
    static const char *const risks[] = {"benign", "dangerous", NULL};
    if (is_among(item->string, flags)) return cJSON_IsBool(item);
    if (strcmp(item->string, "id") == 0 && cJSON_IsNumber(item)) return true;
    if (strcmp(item->string, "risk") == 0 && cJSON_IsString(item))
        return is_among(item->valuestring, risks); /* rows may say it in words that nobody knows */
    return is_among(item->string, texts) && cJSON_IsString(item) && item->valuestring[0];
}

keel_status keel__chat_rest(const cJSON *object, const char *const *used, const char *const *more,
                            cJSON **out, const char *where, keel_err *err) {
    *out = NULL;
    for (const cJSON *item = object->child; item; item = item->next) {
        if (is_taken_over(item) || is_among(item->string, used) || is_among(item->string, more) ||
            is_among(item->string, private_keys))
            continue;
        if (!*out && !(*out = cJSON_CreateObject())) return keel_nomem(err, where);
        const bool own = strcmp(item->string, "meta") == 0 && cJSON_IsObject(item);
        for (const cJSON *part = own ? item->child : item; part; part = own ? part->next : NULL)
            if (!cJSON_GetObjectItemCaseSensitive(*out, part->string) &&
                !keel_json_add(*out, part->string, cJSON_Duplicate(part, true)))
                return keel_nomem(err, where);
    }
    return KEEL_OK;
}

/* The group is what the user said first: variants of one prompt stay together. */
keel_status keel__chat_group(const cJSON *messages, char group[20], keel_err *err) {
    const cJSON *first = messages;
    while (first && first->next && keel_json_get(first, "role") &&
           cJSON_IsString(keel_json_get(first, "role")) &&
           strcmp(keel_json_get(first, "role")->valuestring, "system") == 0)
        first = first->next;
    char hex[65];
    keel_sha256 hash;
    const cJSON *said = keel_json_get(first, "content");
    if (!said) said = keel_json_get(first, "value");
    keel_buf text = {0};
    keel_status status = said && !cJSON_IsString(said) ? keel_json_print(said, false, &text, err) : KEEL_OK;
    keel_sha256_init(&hash);
    keel_sha256_add_text(&hash, cJSON_IsString(said) ? said->valuestring : text.data);
    keel_sha256_hex(&hash, hex);
    keel_buf_free(&text);
    memcpy(group, hex, 16);
    group[16] = '\0';
    return status;
}

keel_status keel__chat_read_built(keel_status status, cJSON *built, keel_arena *arena, int64_t *counts,
                                  keel_read *out, keel_err *err) {
    keel_buf text = {0};
    const cJSON *object = NULL;
    if (status == KEEL_OK) status = keel_json_print(built, false, &text, err);
    cJSON_Delete(built);
    if (status == KEEL_OK)
        status = keel_json_parse_in(arena, text.data, text.length, out->where, &object, err);
    keel_buf_free(&text);
    KEEL_TRY(status);
    out->conversation = keel_arena_alloc(arena, sizeof *out->conversation);
    if (!out->conversation) return keel_nomem(err, out->where);
    return keel__chat_read_object(object, out->where, arena, counts, out->conversation, err);
}
