#include <stdio.h>
#include <string.h>

#include "core/json.h"
#include "core/text.h"
#include "datasets/message.h"
#include "experiments/serve/openai.h"

/* A key of the object itself, or of its "keel". */
static const cJSON *own_key(const cJSON *body, const char *key) {
    const cJSON *keel = keel_json_get(body, "keel"), *inner = keel_json_get(keel, key);
    return inner ? keel : body;
}

static keel_status read_own_text(const cJSON *body, const char *key, const char **out, keel_err *err) {
    return keel_json_string(own_key(body, key), key, false, out, key, err);
}

keel_status keel_openai_check_keys(const cJSON *object, const char *const *known, const char *where,
                                   keel_err *err) {
    const char *unknown = keel_json_unknown(object, known);
    char list[256] = "";
    if (!unknown) return KEEL_OK;
    for (size_t i = 0, at = 0; known[i] && at < sizeof list; i++)
        at += (size_t)snprintf(list + at, sizeof list - at, "%s%s",
                               i == 0         ? ""
                               : known[i + 1] ? ", "
                                              : " and ",
                               known[i]);
    return keel_fail(err, KEEL_E_PARSE, where, "unknown key \"%.64s\"; known are %s", unknown, list);
}

static keel_status check_own(const cJSON *keel, keel_err *err) {
    static const char *const keys[] = {"conversation", "details", "segment", "user", NULL};
    if (keel && !cJSON_IsObject(keel) && !cJSON_IsNull(keel))
        return keel_fail(err, KEEL_E_PARSE, "keel", "expected an object such as {\"details\": true}");
    return keel_openai_check_keys(keel, keys, "keel", err);
}

keel_status keel_openai_read_common(const cJSON *body, keel_asked *out, keel_err *err) {
    const cJSON *metadata = NULL;
    KEEL_TRY(check_own(keel_json_get(body, "keel"), err));
    KEEL_TRY(keel_json_object(body, "metadata", false, &metadata, "metadata", err));
    if (metadata)
        KEEL_TRY(keel_json_string(metadata, "conversation_id", false, &out->conversation, "metadata", err));
    KEEL_TRY(keel_json_string(body, "safety_identifier", false, &out->user, "safety_identifier", err));
    KEEL_TRY(read_own_text(body, "user", &out->user, err));
    KEEL_TRY(read_own_text(body, "conversation", &out->conversation, err));
    KEEL_TRY(read_own_text(body, "segment", &out->segment, err));
    return keel_json_bool(own_key(body, "details"), "details", false, &out->details, "details", err);
}

static keel_status check_name(const char *name, size_t most, const char *key, keel_err *err) {
    const size_t length = name ? strlen(name) : 0;
    if (length > most)
        return keel_fail(err, KEEL_E_INVALID, key, "expected at most %zu bytes, got %zu", most, length);
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7F)
            return keel_fail(err, KEEL_E_INVALID, key, "expected a name without control characters");
    if (length > 0 && keel_utf8_valid_prefix(name, length) != length)
        return keel_fail(err, KEEL_E_INVALID, key, "expected UTF-8 text");
    return KEEL_OK;
}

keel_status keel_openai_check_names(const keel_asked *asked, keel_err *err) {
    KEEL_TRY(check_name(asked->conversation, KEEL_OPENAI_MOST_NAME, "conversation", err));
    KEEL_TRY(check_name(asked->segment, KEEL_OPENAI_MOST_NAME, "segment", err));
    return check_name(asked->user, KEEL_OPENAI_MOST_USER, "user", err);
}

/* One answer is chosen and given. */
static keel_status check_n(const cJSON *body, keel_err *err) {
    double n = 1;
    KEEL_TRY(keel_json_number(body, "n", false, &n, "n", err));
    if (n == 1) return KEEL_OK;
    return keel_fail(err, KEEL_E_INVALID, "n",
                     "expected 1, got %g: candidates are written, and one of them is the answer", n);
}

static keel_status read_stream(const cJSON *body, keel_asked *out, keel_err *err) {
    const cJSON *options = NULL;
    KEEL_TRY(keel_json_bool(body, "stream", false, &out->stream, "stream", err));
    KEEL_TRY(keel_json_object(body, "stream_options", false, &options, "stream_options", err));
    return options ? keel_json_bool(options, "include_usage", false, &out->usage, "stream_options", err)
                   : KEEL_OK;
}

static keel_status read_most(const cJSON *body, const char *key, size_t *out, keel_err *err) {
    double most = 0;
    KEEL_TRY(keel_json_number(body, key, false, &most, key, err));
    if (most < 0) return keel_fail(err, KEEL_E_INVALID, key, "expected a number above 0, got %g", most);
    if (most > 0) *out = most < 1e9 ? (size_t)most : (size_t)1e9;
    return KEEL_OK;
}

static keel_status read_object(const char *body, size_t length, keel_arena *arena, const cJSON **out,
                               keel_err *err) {
    KEEL_TRY(keel_json_parse_in(arena, body ? body : "", length, "body", out, err));
    if (cJSON_IsObject(*out)) return KEEL_OK;
    return keel_fail(err, KEEL_E_PARSE, "body", "expected a JSON object");
}

/* ---- bodies ---- */

static bool keep(const char **text, keel_arena *arena) {
    const char *copy = keel_arena_strdup(arena, *text);
    const bool kept = copy || !*text;
    *text = copy;
    return kept;
}

/* Names and texts that are still the JSON's; those of turns are copies. */
static keel_status keep_all(keel_asked *asked, keel_arena *arena, keel_err *err) {
    bool kept = keep(&asked->model, arena) && keep(&asked->user, arena) &&
                keep(&asked->conversation, arena) && keep(&asked->segment, arena);
    for (size_t i = 0; i < asked->n_turns && kept; i++) kept = keep(&asked->turns[i].act, arena);
    for (size_t i = 0; i < asked->n_candidates && kept; i++) {
        keel_candidate *one = &asked->candidates[i];
        kept = keep(&one->text, arena) && keep(&one->act, arena) && keep(&one->model, arena);
    }
    return kept ? KEEL_OK : keel_nomem(err, "body");
}

keel_status keel_openai_read_body(const char *body, size_t length, keel_openai_reader *read,
                                  keel_arena *arena, keel_asked *out, keel_err *err) {
    keel_arena json = {0};
    const cJSON *object;
    *out = (keel_asked){0};
    keel_status status = read_object(body, length, &json, &object, err);
    if (status == KEEL_OK) status = read(object, arena, out, err);
    if (status == KEEL_OK) status = keep_all(out, arena, err);
    if (status != KEEL_OK) *out = (keel_asked){0};
    keel_arena_free(&json);
    return status;
}

/* Keys by which other servers are told where to ask. Who sends one expects an answer from there. */
static keel_status check_elsewhere(const cJSON *body, keel_err *err) {
    static const char *const keys[] = {"upstream", "upstreams", "base_url", "api_base", "api_key", NULL};
    for (const char *const *key = keys; *key; key++)
        if (keel_json_get(body, *key))
            return keel_fail(err, KEEL_E_INVALID, *key,
                             "no request says where to ask: the upstreams are those that this server was "
                             "started with");
    return KEEL_OK;
}

static keel_status read_chat(const cJSON *object, keel_arena *arena, keel_asked *out, keel_err *err) {
    KEEL_TRY(check_n(object, err));
    KEEL_TRY(check_elsewhere(object, err));
    KEEL_TRY(keel_json_string(object, "model", false, &out->model, "model", err));
    KEEL_TRY(read_stream(object, out, err));
    KEEL_TRY(read_most(object, "max_tokens", &out->max_tokens, err));
    KEEL_TRY(read_most(object, "max_completion_tokens", &out->max_tokens, err));
    KEEL_TRY(keel_openai_read_common(object, out, err));
    return keel_message_turns(keel_json_get(object, "messages"), "messages", arena, &out->turns,
                              &out->n_turns, err);
}

keel_status keel_openai_read(const char *body, size_t length, keel_arena *arena, keel_asked *out,
                             keel_err *err) {
    return keel_openai_read_body(body, length, read_chat, arena, out, err);
}
