/* Open WebUI's exports: an array of chats, {"id", "chat": {"history": {"currentId", "messages": {id:
 * {"parentId", "role", "content", "model", "annotation": {"rating"}}}}}}, or of ratings, whose snapshot holds
 * such a chat. The conversation is the path to currentId (of a rating: to the message that it is about).
 * Answers of other models and answers made anew are candidates. */
#include <string.h>

#include "core/decimal.h"
#include "datasets/tree.h"

/* Where a block of reasoning at the beginning ends. */
static const char *skip_reasoning(const char *text) {
    static const char open[] = "<details type=\"reasoning\"", close[] = "</details>";
    const char *end;
    while (strncmp(text, open, sizeof open - 1) == 0 && (end = strstr(text, close))) {
        text = end + sizeof close - 1;
        text += strspn(text, " \r\n\t");
    }
    return text;
}

/* 1, -1, or one of them as a text; anything else is no verdict. */
static cJSON *convert_rating(keel__value *build, const cJSON *rating) {
    const double value = cJSON_IsString(rating)   ? keel_decimal_read(rating->valuestring, NULL)
                         : cJSON_IsNumber(rating) ? rating->valuedouble
                                                  : 0;
    return value == 1 || value == -1 ? keel__value_number(build, value) : NULL;
}

/* The message in the chat format; NULL: an answer that an error replaced, or that never came. rating: NULL,
 * or the verdict on it that stands elsewhere. */
static cJSON *convert(keel__value *build, const cJSON *item, const cJSON *rating, keel__tree_node *node) {
    const cJSON *content = keel_json_get(item, "content");
    const char *role = keel__string_at(item, "role"),
               *text = cJSON_IsString(content) ? content->valuestring : NULL;
    node->assistant = role && strcmp(role, "assistant") == 0;
    if (node->assistant && text && !skip_reasoning(text)[0]) return NULL;
    cJSON *made = keel__value_object(build);
    keel__value_put_text(build, made, "role", role);
    if (node->assistant && text)
        keel__value_put_text(build, made, "content", skip_reasoning(text));
    else
        keel__value_put_same(build, made, "content", content);
    if (!node->assistant) return made;
    if (!rating) rating = keel_json_get(keel_json_get(item, "annotation"), "rating");
    keel__value_put_text(build, made, "model", keel__string_at(item, "model"));
    keel__value_put(build, made, "feedback", convert_rating(build, rating));
    if (cJSON_IsFalse(keel_json_get(item, "done")))
        keel__value_put_text(build, made, "finish_reason", "length");
    return made;
}

typedef struct export {
    const cJSON *chat, *history;      /* history NULL: the object is no such export */
    const char *id, *rated, *current; /* current: the message at the end of the conversation */
    const cJSON *rating;
}
export;

static export open_export(const cJSON *object) {
    const cJSON *snapshot = keel_json_get(object, "snapshot"), *about = keel_json_get(object, "meta");
    export found = {.id = keel__string_at(object, "id"), .chat = snapshot ? snapshot : object};
    for (int i = 0; i < 2 && !keel_json_get(found.chat, "history"); i++) {
        const cJSON *inner = keel_json_get(found.chat, "chat");
        if (cJSON_IsObject(inner)) found.chat = inner;
    }
    if (snapshot) {
        found.id = keel__string_at(about, "chat_id");
        found.rated = keel__string_at(about, "message_id");
        found.rating = keel_json_get(keel_json_get(object, "data"), "rating");
    }
    found.history = keel_json_get(found.chat, "history");
    found.current = found.rated ? found.rated : keel__string_at(found.history, "currentId");
    return found;
}

static keel_status add_nodes(keel__tree *tree, const export *from, keel_err *err) {
    keel__value build = {.arena = tree->arena};
    const cJSON *messages = NULL;
    KEEL_TRY(keel_json_object(from->history, "messages", true, &messages, tree->where, err));
    for (const cJSON *item = messages->child; item; item = item->next) {
        if (!cJSON_IsObject(item))
            return keel_fail(err, KEEL_E_PARSE, tree->where, "message \"%.80s\": expected an object",
                             item->string);
        keel__tree_node node = {.id = item->string,
                                .rank = -(double)tree->count}; /* the newest is the best */
        const bool rated = from->rated && strcmp(from->rated, item->string) == 0;
        KEEL_TRY(keel_json_string(item, "parentId", false, &node.parent_id, tree->where, err));
        node.message = convert(&build, item, rated ? from->rating : NULL, &node);
        KEEL_TRY(keel__tree_add(tree, &node, err));
    }
    return build.failed ? keel_nomem(err, tree->where) : keel__tree_link(tree, err);
}

static void put_meta(keel__value *build, cJSON *made, const cJSON *object, const export *from) {
    static const char *const of_object[] = {"id",       "user_id",  "chat",    "share_id",
                                            "history",  "messages", "version", "meta",
                                            "snapshot", "data",     "type",    NULL};
    static const char *const of_chat[] = {"id", "history", "messages", "title", "user_id", NULL};
    cJSON *meta = keel__value_copy(build, object, of_object);
    if (!keel_json_get(object, "title"))
        keel__value_put_same(build, meta, "title", keel_json_get(from->chat, "title"));
    if (from->chat != object)
        keel__value_put(build, meta, "chat", keel__value_copy(build, from->chat, of_chat));
    keel__value_put_same(build, meta, from->rated ? "rated" : "tags",
                         from->rated ? keel_json_get(object, "data")
                                     : keel_json_get(keel_json_get(object, "meta"), "tags"));
    keel__value_put(build, made, "meta", meta);
}

static keel_status read_chat(keel_reader *reader, keel_arena *arena, const cJSON *object, const char *where,
                             keel_conversation *out, int64_t *shown, keel_err *err) {
    keel__tree tree = {.arena = arena, .where = where};
    keel__value build = {.arena = arena};
    const export from = open_export(object);
    cJSON *messages;
    if (!cJSON_IsObject(from.history))
        return keel_fail(err, KEEL_E_PARSE, where, "chat: expected \"history\" with its messages");
    KEEL_TRY(add_nodes(&tree, &from, err));
    const int64_t leaf =
        from.current ? keel__tree_find(&tree, from.current) : keel__tree_best_leaf(&tree, KEEL__TREE_NONE);
    if (from.current && leaf == KEEL__TREE_NONE)
        return keel_fail(err, KEEL_E_INVALID, where, "message \"%.80s\" is not in the history", from.current);
    KEEL_TRY(keel__tree_messages(&tree, leaf, arena, &messages, shown, err));
    reader->counts[KEEL__TREE_OTHER_BRANCHES] += keel__tree_shown(&tree) - *shown;
    if (!*shown) return KEEL_OK;
    cJSON *made = keel__value_object(&build);
    /* Ratings of several messages of one chat are conversations of one group. */
    const char *id = from.id;
    if (id && from.rated) id = keel__value_format(&build, "%s/%s", id, from.rated);
    keel__value_put_text(&build, made, "id", id);
    keel__value_put_text(&build, made, "group", from.id);
    keel__value_put(&build, made, "messages", messages);
    put_meta(&build, made, object, &from);
    if (build.failed) return keel_nomem(err, where);
    return keel__chat_read_object(made, where, arena, NULL, out, err);
}

static keel_status next(keel_reader *reader, keel_arena *arena, keel_read *out, keel_err *err) {
    return keel__tree_next(reader, reader->state, read_chat, arena, out, err);
}

static bool looks_like(const keel_sniff *sniff) {
    const bool chat = keel_formats_has(sniff, "chat") ||
                      (keel_formats_has(sniff, "history") && keel_formats_contains(sniff, "\"messages\""));
    return sniff->shape != KEEL_SHAPE_TABLE &&
           ((chat && keel_formats_contains(sniff, "\"history\"") &&
             keel_formats_contains(sniff, "\"messages\"")) ||
            (keel_formats_has(sniff, "snapshot") && keel_formats_has(sniff, "data")));
}

const keel_reader_kind keel__open_webui_reader = {
    .looks_like = looks_like, .state_size = sizeof(keel__objects), .next = next, .close = keel__objects_end};
