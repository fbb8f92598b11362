#include "datasets/reshape.h"

#include <stdint.h>
#include <string.h>

#include "core/json.h"
#include "datasets/message.h"
#include "datasets/value.h"

/* Names that jq takes after a dot as they are. */
static bool is_plain(const char *name) {
    static const char plain[] = "0123456789_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    const size_t length = strspn(name, plain);
    return length > 0 && length < 32 && !name[length] && !strchr("0123456789", name[0]);
}

/* Whether it is a list of parts with texts, which content may be. */
static bool are_parts(const cJSON *item) {
    return cJSON_IsArray(item) && cJSON_IsString(keel_json_get(item->child, "text"));
}

/* The keys of a message: of the text that names a role, and of what was said, by its name, or else the
 * longest other text, or parts. */
static bool find_keys(const cJSON *message, const char **role, const char **content) {
    static const char *const usual[] = {"content", "text", "value", "message", "body", NULL};
    keel_role named;
    size_t longest = 0;
    const char *parts = NULL;
    *role = *content = NULL;
    for (const cJSON *item = cJSON_IsObject(message) ? message->child : NULL; item; item = item->next) {
        if (!is_plain(item->string)) continue;
        if (are_parts(item)) parts = item->string;
        if (!cJSON_IsString(item)) continue;
        if (!*role && keel__message_role(item->valuestring, &named))
            *role = item->string;
        else if (longest < SIZE_MAX && keel__is_among(item->string, usual))
            longest = SIZE_MAX, *content = item->string;
        else if (strlen(item->valuestring) > longest)
            longest = strlen(item->valuestring), *content = item->string;
    }
    if (!*content) *content = parts;
    return *role && *content;
}

/* The first object of the text, or the first list of objects; NULL: there is none that is whole. *each: an
 * array is around it. */
static const cJSON *read_first(const keel_sniff *sniff, keel_arena *arena, bool *each) {
    const char *end = memchr(sniff->text, '\n', sniff->length);
    const cJSON *first = NULL;
    keel_json_items items;
    *each = sniff->shape == KEEL_SHAPE_ARRAY;
    if (*each && keel_json_items_open(&items, sniff->text, sniff->length, "", "", NULL) == KEEL_OK &&
        keel_json_items_next(&items, arena, &first, NULL) == KEEL_OK)
        return first;
    if (sniff->shape == KEEL_SHAPE_OBJECTS && end &&
        keel_json_parse_in(arena, sniff->text, (size_t)(end - sniff->text), "", &first, NULL) == KEEL_OK)
        return first;
    return NULL;
}

/* list: the key of the list of messages, "" for the value itself; each: of each item of an array. */
static void hint_at(const char *list, const char *role, const char *content, bool each, keel_err *err) {
    keel_hint(
        err,
        "bring it into the chat format: jq -c '%s{messages: [.%s[] | {role: .%s, content: .%s}]}' FILE | "
        "keel import --store FILE -; add risk and others (docs/format.md)",
        each ? ".[] | " : "", list, role, content);
}

bool keel__reshape_hint(const keel_sniff *sniff, keel_err *err) {
    const char *role, *content;
    bool each, found = false;
    keel_arena arena = {0};
    const cJSON *first = read_first(sniff, &arena, &each);
    if (each && find_keys(cJSON_IsArray(first) ? first->child : first, &role, &content)) {
        hint_at("", role, content, cJSON_IsArray(first), err);
        found = true;
    }
    for (const cJSON *list = cJSON_IsObject(first) ? first->child : NULL; list && !found; list = list->next) {
        found = cJSON_IsArray(list) && is_plain(list->string) && find_keys(list->child, &role, &content);
        if (found) hint_at(list->string, role, content, each, err);
    }
    keel_arena_free(&arena);
    return found;
}
