#include "datasets/reshape.h"

#include <string.h>

#include "core/json.h"
#include "datasets/message.h"

/* Names that jq takes after a dot as they are. */
static bool is_plain(const char *name) {
    static const char plain[] = "0123456789_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    const size_t length = strspn(name, plain);
    return length > 0 && length < 32 && !name[length] && !strchr("0123456789", name[0]);
}

/* The keys of a message: of the text that names a role, and of the longest other text. */
static bool find_keys(const cJSON *message, const char **role, const char **content) {
    keel_role named;
    size_t longest = 0;
    *role = *content = NULL;
    for (const cJSON *item = cJSON_IsObject(message) ? message->child : NULL; item; item = item->next) {
        if (!cJSON_IsString(item) || !is_plain(item->string)) continue;
        if (!*role && keel__message_role(item->valuestring, &named))
            *role = item->string;
        else if (strlen(item->valuestring) > longest)
            longest = strlen(item->valuestring), *content = item->string;
    }
    return *role && *content;
}

bool keel__reshape_hint(const keel_sniff *sniff, keel_err *err) {
    const char *role, *content, *end = memchr(sniff->text, '\n', sniff->length);
    cJSON *object = NULL;
    bool found = false;
    if (sniff->shape != KEEL_SHAPE_OBJECTS || !end ||
        keel_json_parse(sniff->text, (size_t)(end - sniff->text), "", &object, NULL) != KEEL_OK)
        return false;
    for (const cJSON *list = object->child; list && !found; list = list->next) {
        if (!cJSON_IsArray(list) || !is_plain(list->string) || !find_keys(list->child, &role, &content))
            continue;
        keel_hint(
            err,
            "bring it into the chat format: jq -c '{messages: [.%s[] | {role: .%s, content: .%s}]}' FILE | "
            "keel import --store FILE -; add risk and others (docs/format.md)",
            list->string, role, content);
        found = true;
    }
    cJSON_Delete(object);
    return found;
}
