#include "datasets/otel.h"

#include <stdio.h>
#include <string.h>

#include "datasets/build.h"
#include "datasets/message.h"

/* ---- attributes ---- */

static cJSON *plain(keel__value *build, const cJSON *value);

/* A list of {"key", "value"} as an object; of equal keys the first. */
static cJSON *plain_members(keel__value *build, const cJSON *list) {
    cJSON *made = keel__value_object(build);
    for (const cJSON *item = cJSON_IsArray(list) ? list->child : NULL; item; item = item->next) {
        const char *key = keel__string_at(item, "key");
        if (key && !keel_json_get(made, key))
            keel__value_put(build, made, key, plain(build, keel_json_get(item, "value")));
    }
    return made;
}

/* A value of OTLP as plain JSON. Nesting is bounded by the reader of JSON. */
static cJSON *plain(keel__value *build, const cJSON *value) {
    const cJSON *only = cJSON_IsObject(value) ? value->child : NULL, *list;
    if (!only) return NULL;
    list = keel_json_get(only, "values");
    if (strcmp(only->string, "kvlistValue") == 0) return plain_members(build, list);
    if (strcmp(only->string, "arrayValue") != 0) return keel__value_same(build, only);
    cJSON *made = keel__value_array(build);
    for (const cJSON *item = cJSON_IsArray(list) ? list->child : NULL; item; item = item->next)
        keel__value_put(build, made, NULL, plain(build, item));
    return made;
}

const cJSON *keel__otel_attribute(const cJSON *attributes, const char *name) {
    for (const cJSON *item = cJSON_IsArray(attributes) ? attributes->child : NULL; item; item = item->next) {
        const char *key = keel__string_at(item, "key");
        if (key && strcmp(key, name) == 0) return keel_json_get(item, "value");
    }
    return NULL;
}

const char *keel__otel_text(const cJSON *attributes, const char *name) {
    return keel__string_at(keel__otel_attribute(attributes, name), "stringValue");
}

/* A list that is structured, or a text of JSON; NULL: neither. */
static const cJSON *attribute_list(keel__sessions *sessions, const cJSON *attributes, const char *name) {
    keel__value build = {.arena = &sessions->arena};
    const cJSON *value = keel__otel_attribute(attributes, name);
    value = value ? keel__sessions_unpack(sessions, plain(&build, value)) : NULL;
    return cJSON_IsArray(value) ? value : NULL;
}

/* ---- messages ---- */

/* A part in the shape of the chat format; NULL: reasoning, or nothing that was said. The content of a blob is
 * an image or a sound. */
static cJSON *convert_part(keel__value *build, const cJSON *part, bool *result) {
    static const char *const bytes[] = {"content", NULL};
    const char *type = keel__string_at(part, "type");
    cJSON *made = keel__value_object(build);
    const cJSON *response = keel_json_get(part, "response"), *content = keel_json_get(part, "content");
    if (!type || strcmp(type, "reasoning") == 0) return NULL;
    if (strcmp(type, "blob") == 0) return keel__value_copy(build, part, bytes);
    if (strcmp(type, "tool_call") == 0) {
        keel__value_put_text(build, made, "type", "tool_use");
        keel__value_put_same(build, made, "name", keel_json_get(part, "name"));
        keel__value_put_same(build, made, "input", keel_json_get(part, "arguments"));
        return made;
    }
    *result = strcmp(type, "tool_call_response") == 0;
    if (*result && !response) response = keel_json_get(part, "result");
    if (*result) content = response;
    keel__value_put_text(build, made, "type", "text");
    if (cJSON_IsString(content)) {
        keel__value_put_same(build, made, "text", content);
    } else if (content && !cJSON_IsNull(content)) {
        keel_buf text = {0};
        if (keel_json_print(content, false, &text, NULL) == KEEL_OK)
            keel__value_put_text(build, made, "text",
                                 keel_arena_strndup(build->arena, text.data, text.length));
        keel_buf_free(&text);
    }
    return made;
}

static cJSON *convert_parts(keel__value *build, const char *role, const cJSON *parts) {
    cJSON *made = keel__value_object(build), *list = keel__value_array(build);
    bool result = false, results = false;
    for (const cJSON *part = cJSON_IsArray(parts) ? parts->child : NULL; part; part = part->next) {
        keel__value_put(build, list, NULL, convert_part(build, part, &result));
        results = results || result;
    }
    keel__value_put_text(build, made, "role", results ? "tool" : role);
    keel__value_put(build, made, "content", list);
    return made;
}

/* Why the answer ended, where that means something. */
static void put_ended(keel__value *build, cJSON *message, const char *reason) {
    keel__message ended = {0};
    if (reason) keel__message_ended(reason, &ended);
    if (ended.refused || ended.cut_off) keel__value_put_text(build, message, "finish_reason", reason);
}

static cJSON *convert_message(keel__value *build, const cJSON *message) {
    const char *ended = keel__string_at(message, "finish_reason"), *role = keel__string_at(message, "role");
    const cJSON *parts = keel_json_get(message, "parts");
    cJSON *made;
    if (!cJSON_IsObject(message)) return NULL;
    if (parts) {
        made = convert_parts(build, role, parts);
    } else {
        made = keel__value_object(build);
        keel__value_put_text(build, made, "role", role);
        keel__value_put_same(build, made, "content", keel_json_get(message, "content"));
        keel__value_put_same(build, made, "tool_calls", keel_json_get(message, "tool_calls"));
    }
    put_ended(build, made, ended);
    return made;
}

static void add_messages(keel__value *build, cJSON *to, const cJSON *list) {
    for (const cJSON *message = list ? list->child : NULL; message; message = message->next)
        keel__value_put(build, to, NULL, convert_message(build, message));
}

/* Attributes for each role, text and call: PREFIX.0INNER.content, PREFIX.0INNER.tool_calls.0OF_CALL.name. */
typedef struct numbering {
    const char *prefix, *inner, *of_call, *role; /* role: where none is said */
} numbering;

static const char *numbered(const cJSON *attributes, const numbering *by, int i, const char *key) {
    char name[160];
    snprintf(name, sizeof name, "%s.%d%s.%s", by->prefix, i, by->inner, key);
    return keel__otel_text(attributes, name);
}

/* The calls of tools of a message; NULL: it has none. */
static cJSON *numbered_calls(keel__value *build, const cJSON *attributes, const numbering *by, int i) {
    enum { MOST = 100 };
    cJSON *list = NULL;
    char name[64], arguments[64];
    for (int k = 0; k < MOST; k++) {
        snprintf(name, sizeof name, "tool_calls.%d%s.name", k, by->of_call);
        snprintf(arguments, sizeof arguments, "tool_calls.%d%s.arguments", k, by->of_call);
        if (!numbered(attributes, by, i, name)) break;
        cJSON *call = keel__value_object(build);
        keel__value_put_text(build, call, "name", numbered(attributes, by, i, name));
        keel__value_put_text(build, call, "arguments", numbered(attributes, by, i, arguments));
        if (!list) list = keel__value_array(build);
        keel__value_put(build, list, NULL, call);
    }
    return list;
}

static void add_numbered(keel__value *build, cJSON *to, const cJSON *attributes, const numbering *by) {
    enum { MOST = 1000 };
    for (int i = 0; i < MOST; i++) {
        const char *content = numbered(attributes, by, i, "content"),
                   *role = numbered(attributes, by, i, "role");
        cJSON *calls = numbered_calls(build, attributes, by, i);
        if (!content && !role && !calls) break;
        cJSON *made = keel__build_message(build, role ? role : by->role, content || calls ? content : "");
        keel__value_put(build, made, "tool_calls", calls);
        put_ended(build, made, numbered(attributes, by, i, "finish_reason"));
        keel__value_put(build, to, NULL, made);
    }
}

/* ---- messages as events ---- */

typedef struct said_by {
    const char *event, *role, *attribute; /* attribute: that has a list of messages; NULL: the event is one */
    bool answers;
} said_by;

const char *keel__otel_event_name(const cJSON *event) {
    const char *name = keel__string_at(event, "name");
    if (!name) name = keel__string_at(event, "eventName");
    return name ? name : keel__otel_text(keel_json_get(event, "attributes"), "event.name");
}

/* NULL: the event is no message. */
static const said_by *find_said(const cJSON *event) {
    static const said_by events[] = {
        {"gen_ai.system.message", "system", NULL, false},
        {"gen_ai.user.message", "user", NULL, false},
        {"gen_ai.assistant.message", "assistant", NULL, false},
        {"gen_ai.tool.message", "tool", NULL, false},
        {"gen_ai.choice", "assistant", NULL, true},
        {"gen_ai.content.prompt", "user", "gen_ai.prompt", false},
        {"gen_ai.content.completion", "assistant", "gen_ai.completion", true},
    };
    const char *name = keel__otel_event_name(event);
    for (size_t i = 0; name && i < sizeof events / sizeof *events; i++)
        if (strcmp(events[i].event, name) == 0) return &events[i];
    return NULL;
}

/* What the event holds: the body of a record, gen_ai.event.content, or its attributes. */
static const cJSON *content_of(keel__value *build, keel__sessions *sessions, const cJSON *event) {
    const cJSON *attributes = keel_json_get(event, "attributes"), *body = keel_json_get(event, "body");
    if (!body) body = keel__otel_attribute(attributes, "gen_ai.event.content");
    return body ? keel__sessions_unpack(sessions, plain(build, body)) : plain_members(build, attributes);
}

static void add_said(keel__value *build, cJSON *to, const said_by *by, const cJSON *said, const char *ended) {
    cJSON *made = cJSON_IsString(said) ? keel__build_message(build, by->role, said->valuestring)
                                       : convert_message(build, said);
    const cJSON *content = keel_json_get(made, "content");
    if ((!content || cJSON_IsNull(content)) && !keel_json_get(made, "tool_calls")) return;
    if (!keel_json_get(made, "role")) keel__value_put_text(build, made, "role", by->role);
    if (!keel_json_get(made, "finish_reason")) put_ended(build, made, ended);
    keel__value_put(build, to, NULL, made);
}

bool keel__otel_is_message(const cJSON *event, bool *answers) {
    const said_by *by = find_said(event);
    *answers = by && by->answers;
    return by != NULL;
}

keel_status keel__otel_add_event(keel__sessions *sessions, keel__call *call, const cJSON *event,
                                 keel_err *err) {
    const said_by *by = find_said(event);
    keel__value build = {.arena = &sessions->arena};
    const cJSON *said = content_of(&build, sessions, event), *message = keel_json_get(said, "message");
    const char *ended = keel__string_at(said, "finish_reason");
    cJSON *to = by->answers ? call->answers : call->history;
    if (by->attribute) said = keel__sessions_unpack(sessions, keel_json_get(said, by->attribute));
    if (by->answers && message) said = message;
    for (const cJSON *one = cJSON_IsArray(said) ? said->child : said; one;
         one = cJSON_IsArray(said) ? one->next : NULL)
        add_said(&build, to, by, one, ended);
    return build.failed ? keel_nomem(err, call->where) : KEEL_OK;
}

/* ---- messages as attributes ---- */

keel_status keel__otel_read(keel__sessions *sessions, const cJSON *attributes, keel__call *call,
                            keel_err *err) {
    static const numbering asked[] = {{"gen_ai.prompt", "", "", "user"},
                                      {"llm.input_messages", ".message", ".tool_call.function", "user"}},
                           answered[] = {
                               {"gen_ai.completion", "", "", "assistant"},
                               {"llm.output_messages", ".message", ".tool_call.function", "assistant"}};
    keel__value build = {.arena = &sessions->arena};
    const cJSON *system = attribute_list(sessions, attributes, "gen_ai.system_instructions");
    call->history = keel__value_array(&build);
    call->answers = keel__value_array(&build);
    if (system) keel__value_put(&build, call->history, NULL, convert_parts(&build, "system", system));
    add_messages(&build, call->history, attribute_list(sessions, attributes, "gen_ai.input.messages"));
    add_messages(&build, call->answers, attribute_list(sessions, attributes, "gen_ai.output.messages"));
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        if (!call->history->child) add_numbered(&build, call->history, attributes, &asked[i]);
        if (!call->answers->child) add_numbered(&build, call->answers, attributes, &answered[i]);
    }
    return build.failed ? keel_nomem(err, call->where) : KEEL_OK;
}
