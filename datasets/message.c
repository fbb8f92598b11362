#include "datasets/message.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "datasets/value.h"

/* ---- roles ---- */

/* LangChain, and the items of OpenAI's Responses, name the speaker by the type. */
static const char *role_of_type(const cJSON *message) {
    const char *type = keel__string_at(message, "type");
    keel_role role;
    return type && keel__message_role(type, &role) ? type : NULL;
}

const char *keel__message_role_name(const cJSON *message) {
    const char *role = keel__string_at(message, "role"), *from = keel__string_at(message, "from");
    if (!role) role = from ? from : keel__string_at(keel_json_get(message, "author"), "role");
    return role ? role : role_of_type(message);
}

bool keel__message_role(const char *name, keel_role *out) {
    static const char *const names[][16] = {
        [KEEL_ROLE_SYSTEM] = {"system", "developer", "system_prompt", NULL},
        [KEEL_ROLE_USER] = {"user", "human", "prompter", "customer", "client", "usr", "visitor", "caller",
                            "student", NULL},
        [KEEL_ROLE_ASSISTANT] = {"assistant", "ai", "bot", "model", "gpt", "chatgpt", "bing", "bard", "agent",
                                 "claude", "function_call", "tool_call", "custom_tool_call", "chatbot", NULL},
        [KEEL_ROLE_TOOL] = {"tool", "function", "ipython", "observation", "tool_response", "tool_result",
                            "environment", "function_response", "function_call_output",
                            "custom_tool_call_output", NULL}};
    char lower[32];
    name += strspn(name, " \t");
    size_t length = strcspn(name, " \t");
    if (length >= sizeof lower || name[length + strspn(name + length, " \t")]) return false;
    for (size_t i = 0; i < length; i++) lower[i] = (char)tolower((unsigned char)name[i]);
    lower[length] = '\0';
    for (size_t role = 0; role < sizeof names / sizeof *names; role++)
        if (keel__is_among(lower, names[role])) return *out = (keel_role)role, true;
    return false;
}

bool keel__message_is_answer(const cJSON *message) {
    const char *name = keel__message_role_name(message);
    keel_role role;
    return name && keel__message_role(name, &role) && role == KEEL_ROLE_ASSISTANT;
}

/* ---- how an answer ended ---- */

const char *const keel__message_reasons[] = {"finish_reason", "stop_reason", "finishReason",
                                             "stopReason",    "done_reason", NULL};

void keel__message_ended(const char *reason, keel__message *out) {
    static const char *const refused[] = {
        "refusal",   "content_filter", "content_filtered",     "SAFETY",      "PROHIBITED_CONTENT",
        "BLOCKLIST", "SPII",           "guardrail_intervened", "ERROR_TOXIC", NULL};
    static const char *const cut_off[] = {"length",     "max_tokens",        "model_context_window_exceeded",
                                          "MAX_TOKENS", "max_output_tokens", "model_length",
                                          NULL};
    out->refused = out->refused || keel__is_among(reason, refused);
    out->cut_off = out->cut_off || keel__is_among(reason, cut_off);
}

void keel__message_ended_in(const cJSON *object, keel__message *out) {
    for (const char *const *key = keel__message_reasons; *key; key++)
        if (keel__string_at(object, *key)) keel__message_ended(keel__string_at(object, *key), out);
    const cJSON *incomplete = keel_json_get(object, "incomplete_details");
    if (keel__string_at(incomplete, "reason"))
        keel__message_ended(keel__string_at(incomplete, "reason"), out);
}

/* ---- what was said ---- */

typedef struct said {
    keel_buf text, calls, results;
    bool any, refused, whole; /* any: something was said, be it "" */
    bool resulted;            /* a tool gave something, be it "" */
} said;

static void free_said(said *s) {
    keel_buf_free(&s->text), keel_buf_free(&s->calls), keel_buf_free(&s->results);
}

static void add_line(keel_buf *to, const char *text) {
    if (to->length) keel_buf_text(to, "\n");
    keel_buf_text(to, text);
}

/* name(arguments); arguments are JSON, as a text or as a value. A call without a name is not said. */
static keel_status add_call(said *s, const char *name, const cJSON *arguments, keel_err *err) {
    if (!name) {
        s->any = true;
        return KEEL_OK;
    }
    add_line(&s->calls, name);
    keel_buf_text(&s->calls, "(");
    if (cJSON_IsString(arguments))
        keel_buf_text(&s->calls, arguments->valuestring);
    else if (arguments && !cJSON_IsNull(arguments))
        KEEL_TRY(keel_json_print(arguments, false, &s->calls, err));
    keel_buf_text(&s->calls, ")");
    return KEEL_OK;
}

/* {"name", "arguments"}, which other services call otherwise. */
static keel_status add_call_of(said *s, const cJSON *call, keel_err *err) {
    static const char *const keys[] = {"arguments", "input", "args"};
    const cJSON *arguments = NULL;
    for (size_t i = 0; i < sizeof keys / sizeof *keys && !arguments; i++)
        arguments = keel_json_get(call, keys[i]);
    return add_call(s, keel__string_at(call, "name"), arguments, err);
}

/* OpenAI's {"function": {"name", "arguments"}} and {"custom": {"name", "input"}}, the flat {"name",
 * "arguments"} of others, and {"function": "name", "arguments"}. */
static keel_status add_calls(said *s, const cJSON *list, keel_err *err) {
    for (const cJSON *call = cJSON_IsArray(list) ? list->child : NULL; call; call = call->next) {
        const cJSON *function = keel_json_get(call, "function"), *custom = keel_json_get(call, "custom");
        if (cJSON_IsString(function))
            KEEL_TRY(add_call(s, function->valuestring, keel_json_get(call, "arguments"), err));
        else
            KEEL_TRY(add_call_of(s,
                                 cJSON_IsObject(function) ? function
                                 : cJSON_IsObject(custom) ? custom
                                                          : call,
                                 err));
    }
    return KEEL_OK;
}

static keel_status add_content(said *s, const cJSON *content, const char *place, int depth, keel_err *err);

static keel_status add_result(said *s, const cJSON *content, const char *place, int depth, keel_err *err) {
    said inner = {.whole = true};
    keel_status status = add_content(&inner, content, place, depth + 1, err);
    add_line(&s->results, inner.text.data ? inner.text.data : "");
    s->resulted = true;
    s->whole = s->whole && inner.whole;
    s->results.failed = s->results.failed || inner.text.failed;
    free_said(&inner);
    return status;
}

/* Whether the part is the call of a tool, or the result of one, which is added: Anthropic's, OpenAI's and
 * Inspect's by the type, Bedrock's and Gemini's by the key. */
static bool add_tool(said *s, const cJSON *part, const char *place, int depth, keel_status *status,
                     keel_err *err) {
    static const char *const calls[] = {"tool_use",  "server_tool_use", "mcp_tool_use",
                                        "tool_call", "function_call",   "custom_tool_call",
                                        NULL};
    static const char *const keys[] = {"toolUse", "functionCall"};
    const cJSON *result = keel_json_get(part, "toolResult");
    const char *type = keel__string_at(part, "type");
    *status = KEEL_OK;
    if (type && keel__is_among(type, calls)) return *status = add_call_of(s, part, err), true;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (cJSON_IsObject(keel_json_get(part, keys[i])))
            return *status = add_call_of(s, keel_json_get(part, keys[i]), err), true;
    if (type && strcmp(type, "tool_result") == 0) result = part;
    if (!cJSON_IsObject(result)) return false;
    *status = add_result(s, keel_json_get(result, "content"), place, depth, err);
    return true;
}

/* The text of a part: a string, or OpenAI's {"value", "annotations"} of its assistants. */
static keel_status text_of(const cJSON *part, const char *place, const char **out, keel_err *err) {
    const cJSON *text = keel_json_get(part, "text");
    *out = keel__string_at(text, "value");
    if (cJSON_IsString(text)) *out = text->valuestring;
    if (*out || !text || cJSON_IsNull(text)) return KEEL_OK;
    return keel_fail(err, KEEL_E_PARSE, place, "content: key \"text\" of a part: expected a string");
}

/* A part of a list of content, by its type; one whose type is unknown counts by the text that it has. */
static keel_status add_part(said *s, const cJSON *part, const char *place, int depth, keel_err *err) {
    static const char *const silent[] = {"thinking", "redacted_thinking", "reasoning", NULL};
    const char *type = keel__string_at(part, "type"), *text;
    keel_status status;
    if (cJSON_IsString(part)) {
        s->any = true;
        add_line(&s->text, part->valuestring);
        return KEEL_OK;
    }
    if (cJSON_IsNull(part)) return s->whole = false, KEEL_OK;
    if (!cJSON_IsObject(part))
        return keel_fail(err, KEEL_E_PARSE, place, "content: expected its parts to be texts or objects");
    if ((type && keel__is_among(type, silent)) || cJSON_IsTrue(keel_json_get(part, "thought")))
        return KEEL_OK;
    if (add_tool(s, part, place, depth, &status, err)) return status;
    if (type && strcmp(type, "refusal") == 0) {
        s->refused = s->any = true;
        text = keel__string_at(part, "refusal");
    } else {
        KEEL_TRY(text_of(part, place, &text, err));
    }
    s->whole = s->whole && text;
    if (!text) return KEEL_OK;
    s->any = true;
    add_line(&s->text, text);
    return KEEL_OK;
}

/* Whether it is an object of the user's own, as tools give and structured answers are: said as JSON. */
static bool is_data(const cJSON *content) {
    static const char *const keys[] = {"parts",        "text",       "type",         "refusal", "toolUse",
                                       "functionCall", "toolResult", "content_type", "thought", NULL};
    for (size_t i = 0; keys[i]; i++)
        if (keel_json_get(content, keys[i])) return false;
    return cJSON_IsObject(content) && content->child;
}

static keel_status add_data(said *s, const cJSON *content, keel_err *err) {
    if (s->text.length) keel_buf_text(&s->text, "\n");
    s->any = true;
    return keel_json_print(content, false, &s->text, err);
}

static keel_status add_content(said *s, const cJSON *content, const char *place, int depth, keel_err *err) {
    enum { DEEPEST = 8 };
    if (!content || cJSON_IsNull(content)) return KEEL_OK;
    if (depth > DEEPEST) return keel_fail(err, KEEL_E_PARSE, place, "content: its parts are nested too deep");
    if (cJSON_IsString(content)) return add_part(s, content, place, depth, err);
    const cJSON *parts = cJSON_IsObject(content) ? keel_json_get(content, "parts") : content;
    if (is_data(content)) return add_data(s, content, err);
    if (cJSON_IsObject(content) && !parts) return add_part(s, content, place, depth, err);
    if (!cJSON_IsArray(parts))
        return keel_fail(err, KEEL_E_PARSE, place, "content: expected a text or a list of parts");
    for (const cJSON *part = parts->child; part; part = part->next)
        KEEL_TRY(add_part(s, part, place, depth, err));
    s->any =
        s->any || !s->resulted; /* parts without text are still a message; results alone are the tool's */
    return KEEL_OK;
}

/* The calls go behind the text, unless they are there already: an export of Keel's holds both. */
static void join_calls(said *s) {
    if (!s->calls.length) return;
    const size_t length = s->text.length, tail = s->calls.length;
    s->any = true;
    if (length >= tail && memcmp(s->text.data + length - tail, s->calls.data, tail) == 0) return;
    add_line(&s->text, s->calls.data);
}

/* An item of a list of OpenAI's Responses that is a call. */
static bool is_call(const cJSON *item) {
    const char *type = keel__string_at(item, "type");
    return type && (strcmp(type, "function_call") == 0 || strcmp(type, "custom_tool_call") == 0);
}

/* The output of OpenAI's Responses: a list of messages, calls and reasoning; or what a tool gave, a text. */
static keel_status add_output(said *s, const cJSON *output, const char *place, keel_err *err) {
    if (cJSON_IsString(output)) return add_content(s, output, place, 0, err);
    for (const cJSON *item = cJSON_IsArray(output) ? output->child : NULL; item; item = item->next) {
        const char *type = keel__string_at(item, "type");
        if (is_call(item))
            KEEL_TRY(add_call_of(s, item, err));
        else if (!type || strcmp(type, "message") == 0)
            KEEL_TRY(add_content(s, keel_json_get(item, "content"), place, 0, err));
    }
    return KEEL_OK;
}

/* Only what a service wrote has these keys: without a content it is an answer that says nothing. */
static bool is_of_service(const cJSON *message) {
    static const char *const keys[] = {"refusal",           "tool_calls", "function_call",
                                       "reasoning_content", "reasoning",  "audio"};
    bool found = false;
    for (const char *const *key = keel__message_reasons; *key; key++)
        found = found || keel_json_get(message, *key);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) found = found || keel_json_get(message, keys[i]);
    return found && !keel_json_get(message, "candidates");
}

static keel_status gather_content(said *s, const cJSON *message, const char *place, keel_err *err) {
    static const char *const keys[] = {"content", "value", "text", "parts"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (keel_json_get(message, keys[i]))
            return add_content(s, keel_json_get(message, keys[i]), place, 0, err);
    return add_output(s, keel_json_get(message, "output"), place, err);
}

static keel_status gather(said *s, const cJSON *message, const char *place, keel_err *err) {
    const cJSON *call = keel_json_get(message, "function_call");
    const char *refusal = keel__string_at(message, "refusal"),
               *spoken = keel__string_at(keel_json_get(message, "audio"), "transcript");
    KEEL_TRY(gather_content(s, message, place, err));
    if (!s->calls.length) KEEL_TRY(add_calls(s, keel_json_get(message, "tool_calls"), err));
    if (cJSON_IsObject(call)) KEEL_TRY(add_call_of(s, call, err));
    if (is_call(message)) KEEL_TRY(add_call_of(s, message, err));
    if (spoken && !s->text.length) {
        s->any = true;
        keel_buf_text(&s->text, spoken);
    }
    join_calls(s);
    if (refusal && refusal[0] && !s->text.length) {
        s->any = s->refused = true;
        keel_buf_text(&s->text, refusal);
    }
    s->any = s->any || is_of_service(message);
    return KEEL_OK;
}

static bool copy(keel_arena *arena, const keel_buf *from, bool any, const char **out) {
    if (any && !from->failed) *out = keel_arena_strndup(arena, from->data ? from->data : "", from->length);
    return !any || *out;
}

keel_status keel__message_content(const cJSON *message, const char *place, keel_arena *arena,
                                  keel__message *out, keel_err *err) {
    said s = {.whole = true};
    *out = (keel__message){.whole = true};
    keel_status status = gather(&s, message, place, err);
    out->refused = s.refused, out->whole = s.whole;
    keel__message_ended_in(message, out);
    if (status == KEEL_OK &&
        (!copy(arena, &s.text, s.any, &out->text) || !copy(arena, &s.results, s.resulted, &out->results)))
        status = keel_nomem(err, place);
    free_said(&s);
    return status;
}

keel_status keel__message_read(const cJSON *message, const char *place, keel_arena *arena, keel__message *out,
                               keel_err *err) {
    keel_role role;
    const char *name = keel__message_role_name(message);
    *out = (keel__message){0};
    if (!name) {
        keel_fail(err, KEEL_E_PARSE, place, "key \"role\": expected a string, got nothing");
        return keel_hint(err,
                         "who said it stands in \"role\", \"from\" or \"author\": {\"role\"}; a message is "
                         "{\"role\": \"user\", \"content\": \"...\"}");
    }
    if (!keel__message_role(name, &role)) {
        keel_fail(err, KEEL_E_INVALID, place, "role: expected system, user, assistant or tool, got \"%s\"",
                  name);
        return keel_hint(err,
                         "names that other tools use are known too: human, gpt, bot, model, function, ...");
    }
    KEEL_TRY(keel__message_content(message, place, arena, out, err));
    out->role = role;
    return KEEL_OK;
}

/* A message is a turn, and the results of tools in it are one before. */
static keel_status add_turns(const cJSON *message, const char *place, keel_arena *arena, keel_turn *turns,
                             size_t *n, keel_err *err) {
    keel__message read;
    const char *act = keel__string_at(message, "act");
    if (!cJSON_IsObject(message)) return keel_fail(err, KEEL_E_PARSE, place, "expected an object");
    KEEL_TRY(keel__message_read(message, place, arena, &read, err));
    if (read.results) turns[(*n)++] = (keel_turn){.role = KEEL_ROLE_TOOL, .text = read.results};
    if (!read.text && !act) return KEEL_OK;
    turns[(*n)++] = (keel_turn){.role = read.role, .text = read.text ? read.text : "", .act = act};
    return KEEL_OK;
}

keel_status keel_message_turns(const cJSON *messages, const char *where, keel_arena *arena, keel_turn **turns,
                               size_t *n, keel_err *err) {
    char place[480];
    size_t index = 0;
    *n = 0;
    if (!cJSON_IsArray(messages) || !messages->child)
        return keel_fail(err, KEEL_E_PARSE, where, "expected a list of messages, and at least one");
    *turns = keel_arena_calloc(arena, 2 * (size_t)cJSON_GetArraySize(messages), sizeof **turns);
    if (!*turns) return keel_nomem(err, where);
    for (const cJSON *message = messages->child; message; message = message->next, index++) {
        snprintf(place, sizeof place, "%s[%zu]", where, index);
        KEEL_TRY(add_turns(message, place, arena, *turns, n, err));
    }
    return KEEL_OK;
}

keel_status keel_message_said(const cJSON *message, const char *where, keel_arena *arena, const char **text,
                              bool *refused, keel_err *err) {
    keel__message read;
    KEEL_TRY(keel__message_content(message, where, arena, &read, err));
    *text = read.text;
    *refused = read.refused;
    return KEEL_OK;
}

bool keel__message_parts_say(const cJSON *parts, const char *text) {
    said s = {.whole = true};
    bool same = cJSON_IsArray(parts) && add_content(&s, parts, "", 0, NULL) == KEEL_OK && !s.whole &&
                !s.resulted; /* results are a turn of their own */
    join_calls(&s);
    same = same && !s.text.failed && strcmp(s.text.data ? s.text.data : "", text) == 0;
    free_said(&s);
    return same;
}
