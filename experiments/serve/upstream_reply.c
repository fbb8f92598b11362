#include <math.h>
#include <string.h>

#include "core/text.h"
#include "experiments/serve/upstream_reply_internal.h"

static const char where[] = "reply";

/* ---- parts of a reply ---- */

int64_t keel__upstream_tokens(const cJSON *usage, const char *key) {
    const cJSON *value = cJSON_IsObject(usage) ? keel_json_get(usage, key) : NULL;
    const double n = cJSON_IsNumber(value) ? value->valuedouble : -1;
    return n >= 0 && n <= 1e9 && floor(n) == n ? (int64_t)n : -1;
}

const char *keel__upstream_string(const cJSON *object, const char *key) {
    const cJSON *value = cJSON_IsObject(object) ? keel_json_get(object, key) : NULL;
    return cJSON_IsString(value) ? value->valuestring : NULL;
}

/* The text of a message's content: a string, or a list of parts of which those of type text count; NULL: it
 * is something else, or nothing. A refusal stands under a key of its own. */
static const char *text_of(const cJSON *message, keel_arena *arena) {
    const cJSON *content = keel_json_get(message, "content"), *part;
    if (cJSON_IsString(content)) return content->valuestring;
    if (!cJSON_IsArray(content)) return keel__upstream_string(message, "refusal");
    keel_buf text = {0};
    cJSON_ArrayForEach (part, content) {
        const char *piece = keel__upstream_string(part, "text");
        if (piece) keel_buf_text(&text, piece);
    }
    const char *out =
        text.length > 0 && !text.failed ? keel_arena_strndup(arena, text.data, text.length) : NULL;
    keel_buf_free(&text);
    return out;
}

/* A call is {"id", "type": "function", "function": {"name", "arguments"}}, all strings. That the arguments
 * are JSON is the model's task, not the server's: they go through as they are. */
static bool read_call(const cJSON *call, keel__upstream_call *out) {
    const cJSON *function = cJSON_IsObject(call) ? keel_json_get(call, "function") : NULL;
    *out = (keel__upstream_call){keel__upstream_string(call, "id"), keel__upstream_string(function, "name"),
                                 keel__upstream_string(function, "arguments")};
    return out->id && out->name && out->arguments;
}

/* *n 0: it calls nothing, or something that is no list of calls. */
static keel_status read_calls(const cJSON *message, keel_arena *arena, keel__upstream_call **out, size_t *n,
                              keel_err *err) {
    const cJSON *calls = keel_json_get(message, "tool_calls"), *call;
    *n = 0;
    if (!cJSON_IsArray(calls)) return KEEL_OK;
    *out = keel_arena_calloc(arena, KEEL_UPSTREAM_MOST_CHOICES, sizeof **out);
    if (!*out) return keel_nomem(err, where);
    cJSON_ArrayForEach (call, calls) {
        if (*n < KEEL_UPSTREAM_MOST_CHOICES && read_call(call, &(*out)[*n]))
            (*n)++;
        else
            return *n = 0, KEEL_OK;
    }
    return KEEL_OK;
}

keel_status keel__upstream_message(const char *text, const keel__upstream_call *calls, size_t n,
                                   keel_arena *arena, const char **out, keel_err *err) {
    keel_buf json = {0};
    keel_buf_text(&json, "{\"role\":\"assistant\",\"content\":");
    if (text && *text)
        keel_json_put_string(&json, text);
    else
        keel_buf_text(&json, "null");
    keel_buf_text(&json, ",\"tool_calls\":[");
    for (size_t i = 0; i < n; i++) {
        keel_buf_text(&json, i == 0 ? "{\"id\":" : ",{\"id\":");
        keel_json_put_string(&json, calls[i].id);
        keel_buf_text(&json, ",\"type\":\"function\",\"function\":{\"name\":");
        keel_json_put_string(&json, calls[i].name);
        keel_buf_text(&json, ",\"arguments\":");
        keel_json_put_string(&json, calls[i].arguments);
        keel_buf_text(&json, "}}");
    }
    keel_buf_text(&json, "]}");
    *out = json.failed ? NULL : keel_arena_strndup(arena, json.data, json.length);
    keel_buf_free(&json);
    return *out ? KEEL_OK : keel_nomem(err, where);
}

const char *keel__upstream_finish(const char *given, bool calls) {
    static const char *const known[] = {"stop", "length", "tool_calls", "content_filter"};
    for (size_t i = 0; given && i < sizeof known / sizeof *known; i++)
        if (strcmp(given, known[i]) == 0) return known[i];
    return calls ? "tool_calls" : "stop";
}

/* ---- a body ---- */

/* *good: the choice says or calls something. */
static keel_status read_choice(const cJSON *choice, keel_arena *arena, keel_upstream_choice *out, bool *good,
                               keel_err *err) {
    const cJSON *message = cJSON_IsObject(choice) ? keel_json_get(choice, "message") : NULL;
    keel__upstream_call *calls = NULL;
    size_t n = 0;
    *good = false;
    if (!cJSON_IsObject(message)) return KEEL_OK;
    const char *text = text_of(message, arena);
    KEEL_TRY(read_calls(message, arena, &calls, &n, err));
    *good = n > 0 || (text && *text);
    *out = (keel_upstream_choice){
        .text = keel_arena_strdup(arena, text ? text : ""),
        .finish = keel__upstream_finish(keel__upstream_string(choice, "finish_reason"), n > 0)};
    if (!out->text) return keel_nomem(err, where);
    return n > 0 ? keel__upstream_message(text, calls, n, arena, &out->message, err) : KEEL_OK;
}

static keel_status read_choices(const cJSON *choices, keel_arena *arena, keel_upstream_completion *out,
                                keel_err *err) {
    const cJSON *choice;
    bool good;
    out->choices = keel_arena_calloc(arena, KEEL_UPSTREAM_MOST_CHOICES, sizeof *out->choices);
    if (!out->choices) return keel_nomem(err, where);
    cJSON_ArrayForEach (choice, choices) {
        if (out->n == KEEL_UPSTREAM_MOST_CHOICES)
            return keel_fail(err, KEEL_E_PARSE, where, "it has more than %d choices",
                             KEEL_UPSTREAM_MOST_CHOICES);
        KEEL_TRY(read_choice(choice, arena, &out->choices[out->n], &good, err));
        out->n += good;
    }
    if (out->n > 0) return KEEL_OK;
    return keel_fail(err, KEEL_E_PARSE, where, "no choice has a message that says or calls anything");
}

/* What a value says that stands where an answer should. */
static const char *complaint_in(const cJSON *value) {
    static const char *const keys[] = {"error", "message", "detail"};
    if (cJSON_IsString(value)) return value->valuestring;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const cJSON *inner = cJSON_IsObject(value) ? keel_json_get(value, keys[i]) : NULL;
        if (cJSON_IsString(inner)) return inner->valuestring;
        if (keel__upstream_string(inner, "message")) return keel__upstream_string(inner, "message");
    }
    return NULL;
}

static const char *one_line(const char *text, keel_arena *arena) {
    enum { MOST = 200 };
    char *line = keel_arena_strndup(arena, text, keel_utf8_cut(text, strlen(text), MOST));
    if (line) keel_text_tame(line);
    return line ? line : "";
}

const char *keel_upstream_complaint(const char *body, size_t length, keel_arena *arena) {
    keel_arena json = {0};
    const cJSON *value;
    const keel_status status = keel_json_parse_in(&json, body ? body : "", length, where, &value, NULL);
    const char *says = status == KEEL_OK ? complaint_in(value) : NULL,
               *line = says ? one_line(says, arena) : "";
    keel_arena_free(&json);
    return line;
}

keel_status keel__upstream_open(const char *text, size_t length, keel_arena *arena, const cJSON **out,
                                const cJSON **choices, keel_err *err) {
    keel_err why = {0};
    if (keel_json_parse_in(arena, text, length, where, out, &why) != KEEL_OK)
        return why.code == KEEL_E_NOMEM
                   ? keel_nomem(err, where)
                   : keel_fail(err, KEEL_E_PARSE, where, "it is no JSON: %s", why.message);
    const cJSON *error = cJSON_IsObject(*out) ? keel_json_get(*out, "error") : NULL;
    if (error && !cJSON_IsNull(error)) {
        const char *says = complaint_in(*out);
        return keel_fail(err, KEEL_E_PARSE, where, "it is an error: %s",
                         says ? one_line(says, arena) : "of no words");
    }
    *choices = cJSON_IsObject(*out) ? keel_json_get(*out, "choices") : NULL;
    if (cJSON_IsArray(*choices)) return KEEL_OK;
    return keel_fail(err, KEEL_E_PARSE, where, "it is JSON, but has no list \"choices\"");
}

static keel_status read_completion(const cJSON *value, const cJSON *choices, keel_arena *arena,
                                   keel_upstream_completion *out, keel_err *err) {
    const char *model = keel__upstream_string(value, "model");
    KEEL_TRY(read_choices(choices, arena, out, err));
    out->model = keel_arena_strdup(arena, model);
    out->prompt_tokens = keel__upstream_tokens(keel_json_get(value, "usage"), "prompt_tokens");
    out->completion_tokens = keel__upstream_tokens(keel_json_get(value, "usage"), "completion_tokens");
    return model && !out->model ? keel_nomem(err, where) : KEEL_OK;
}

keel_status keel_upstream_read(const char *body, size_t length, keel_arena *arena,
                               keel_upstream_completion *out, keel_err *err) {
    keel_arena json = {0};
    const cJSON *value, *choices;
    *out = (keel_upstream_completion){.prompt_tokens = -1, .completion_tokens = -1};
    keel_status status = keel__upstream_open(body ? body : "", length, &json, &value, &choices, err);
    if (status == KEEL_OK) status = read_completion(value, choices, arena, out, err);
    keel_arena_free(&json); /* it takes up to 40 times its text */
    return status;
}
