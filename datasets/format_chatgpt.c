/* ChatGPT's export (conversations.json): an array of {"id", "current_node", "mapping": {id: {"message",
 * "parent", "children"}}}. The conversation is the path to current_node; answers that were made anew are
 * candidates. Messages that the page does not show (custom instructions, thoughts, empty ones) are passed
 * through. */
#include <string.h>

#include "datasets/tree.h"

static const char *const hidden_kinds[] = {"thoughts", "reasoning_recap", "model_editable_context",
                                           "user_editable_context", NULL};

/* Whether nothing is in it, not even something that is no text. */
static bool is_empty(const cJSON *content) {
    const cJSON *text = keel_json_get(content, "text"), *parts = keel_json_get(content, "parts");
    if (cJSON_IsString(text) && text->valuestring[0]) return false;
    for (const cJSON *part = cJSON_IsArray(parts) ? parts->child : NULL; part; part = part->next)
        if (!cJSON_IsString(part) || part->valuestring[0]) return false;
    return !cJSON_IsString(content) || !content->valuestring[0];
}

/* The message in the chat format; NULL: not shown. */
static cJSON *convert(keel__value *build, const cJSON *message, bool *assistant) {
    const cJSON *content = keel_json_get(message, "content"), *metadata = keel_json_get(message, "metadata");
    const char *role = keel__string_at(keel_json_get(message, "author"), "role");
    const char *ended = keel__string_at(keel_json_get(metadata, "finish_details"), "type");
    *assistant = role && strcmp(role, "assistant") == 0;
    const bool hidden = cJSON_IsTrue(keel_json_get(metadata, "is_visually_hidden_from_conversation"));
    const bool silent = is_empty(content) && (!role || strcmp(role, "user") != 0);
    if (!cJSON_IsObject(message) || hidden || silent) return NULL;
    if (keel__is_among(keel__string_at(content, "content_type"), hidden_kinds)) return NULL;
    cJSON *made = keel__value_object(build);
    keel__value_put_same(build, made, "author", keel_json_get(message, "author"));
    keel__value_put_text(build, made, "role", role);
    keel__value_put_same(build, made, "content", content);
    if (*assistant) keel__value_put_text(build, made, "model", keel__string_at(metadata, "model_slug"));
    if (ended && strcmp(ended, "stop") != 0) keel__value_put_text(build, made, "finish_reason", ended);
    return made;
}

static keel_status add_nodes(keel__tree *tree, const cJSON *mapping, keel_err *err) {
    keel__value build = {.arena = tree->arena};
    for (const cJSON *item = mapping->child; item; item = item->next) {
        if (!cJSON_IsObject(item))
            return keel_fail(err, KEEL_E_PARSE, tree->where, "mapping: \"%.80s\": expected an object",
                             item->string);
        keel__tree_node node = {.id = item->string,
                                .rank = -(double)tree->count}; /* the newest is the best */
        KEEL_TRY(keel_json_string(item, "parent", false, &node.parent_id, tree->where, err));
        node.message = convert(&build, keel_json_get(item, "message"), &node.assistant);
        KEEL_TRY(keel__tree_add(tree, &node, err));
    }
    return build.failed ? keel_nomem(err, tree->where) : keel__tree_link(tree, err);
}

static keel_status find_leaf(const keel__tree *tree, const cJSON *object, int64_t *leaf, keel_err *err) {
    const char *current = NULL;
    KEEL_TRY(keel_json_string(object, "current_node", false, &current, tree->where, err));
    *leaf = current ? keel__tree_find(tree, current) : keel__tree_best_leaf(tree, KEEL__TREE_NONE);
    if (!current || *leaf != KEEL__TREE_NONE) return KEEL_OK;
    return keel_fail(err, KEEL_E_INVALID, tree->where, "current_node: \"%.80s\" is not in the mapping",
                     current);
}

static keel_status read_tree(keel_reader *reader, keel_arena *arena, const cJSON *object, const char *where,
                             keel_conversation *out, int64_t *shown, keel_err *err) {
    static const char *const used[] = {"id", "conversation_id", "current_node", "mapping", NULL};
    keel__tree tree = {.arena = arena, .where = where};
    keel__value build = {.arena = arena};
    const cJSON *mapping = NULL, *id = keel_json_get(object, "conversation_id");
    int64_t leaf;
    cJSON *messages;
    KEEL_TRY(keel_json_object(object, "mapping", true, &mapping, where, err));
    KEEL_TRY(add_nodes(&tree, mapping, err));
    KEEL_TRY(find_leaf(&tree, object, &leaf, err));
    KEEL_TRY(keel__tree_messages(&tree, leaf, arena, &messages, shown, err));
    reader->counts[KEEL__TREE_OTHER_BRANCHES] += keel__tree_shown(&tree) - *shown;
    if (!*shown) return KEEL_OK;
    cJSON *made = keel__value_object(&build);
    keel__value_put_same(&build, made, "id", id ? id : keel_json_get(object, "id"));
    keel__value_put(&build, made, "messages", messages);
    keel__value_put(&build, made, "meta", keel__value_copy(&build, object, used));
    if (build.failed) return keel_nomem(err, where);
    return keel__chat_read_object(made, where, arena, NULL, out, err);
}

static keel_status next(keel_reader *reader, keel_arena *arena, keel_read *out, keel_err *err) {
    return keel__tree_next(reader, reader->state, read_tree, arena, out, err);
}

static bool looks_like(const keel_sniff *sniff) {
    return sniff->shape != KEEL_SHAPE_TABLE &&
           (keel_formats_has(sniff, "mapping") || keel_formats_has(sniff, "current_node"));
}

const keel_reader_kind keel__chatgpt_reader = {
    .looks_like = looks_like, .state_size = sizeof(keel__objects), .next = next, .close = keel__objects_end};
