#include "experiments/chat_server.h"

#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/json.h"
#include "core/secret.h"

enum { MOST = 8 << 20 /* bytes of an answer */, WAIT = 300 /* seconds for it */ };

struct keel_chat_server {
    keel_http_client *client;
    keel_arena arena; /* of url and token */
    const char *url, *token;
    char conversation[48]; /* "X-Keel-Conversation: chat-..." */
    char *last;            /* id of the last answer; NULL: none */
};

keel_status keel_chat_server_open(keel_chat_server **out, const char *url, const char *token_env,
                                  keel_err *err) {
    const char *token = "";
    *out = NULL;
    KEEL_TRY(keel_http_client_url(url, "--server", err));
    if (token_env) KEEL_TRY(keel_http_client_key(token_env, "--token-env", &token, err));
    keel_chat_server *server = keel_calloc(1, sizeof *server);
    if (!server) return keel_nomem(err, "chat");
    server->url = keel_arena_strndup(&server->arena, url, keel_http_client_root(url));
    server->token = keel_arena_strdup(&server->arena, token);
    keel_status status = server->url && server->token ? KEEL_OK : keel_nomem(err, "chat");
    if (status == KEEL_OK) status = keel_http_client_open(&server->client, err);
    if (status == KEEL_OK) status = keel_chat_server_begin(server, err);
    if (status == KEEL_OK)
        *out = server;
    else
        keel_chat_server_close(server);
    return status;
}

void keel_chat_server_close(keel_chat_server *server) {
    if (!server) return;
    keel_http_client_close(server->client);
    keel_arena_free(&server->arena);
    keel_free(server->last);
    keel_free(server);
}

keel_status keel_chat_server_begin(keel_chat_server *server, keel_err *err) {
    uint64_t id;
    KEEL_TRY(keel_secret(&id, sizeof id, err));
    snprintf(server->conversation, sizeof server->conversation, "X-Keel-Conversation: chat-%016llx",
             (unsigned long long)id);
    keel_free(server->last);
    server->last = NULL;
    return KEEL_OK;
}

/* ---- asking ---- */

static const char *string_of(const cJSON *object, const char *key) {
    const cJSON *value = cJSON_IsObject(object) ? keel_json_get(object, key) : NULL;
    return cJSON_IsString(value) ? value->valuestring : NULL;
}

/* Posts a body; *reply gets what came back, a JSON object that the caller deletes. */
static keel_status post(keel_chat_server *server, const char *path, const keel_buf *body, cJSON **reply,
                        keel_err *err) {
    const char *const headers[] = {server->conversation, NULL};
    keel_arena arena = {0};
    keel_buf url = {0};
    keel_http_got got;
    *reply = NULL;
    keel_buf_format(&url, "%s%s", server->url, path);
    keel_status status = url.failed || body->failed ? keel_nomem(err, "chat") : KEEL_OK;
    const keel_http_fetch fetch = {.url = url.data,
                                   .body = body->data,
                                   .length = body->length,
                                   .token = server->token,
                                   .headers = headers,
                                   .deadline = keel_clock() + WAIT,
                                   .most = MOST};
    if (status == KEEL_OK) status = keel_http_client_ask(server->client, &fetch, &arena, &got, err);
    if (status == KEEL_OK) {
        const keel_status parsed = keel_json_parse(got.body->data, got.body->length, "answer", reply, NULL);
        const cJSON *error = parsed == KEEL_OK ? keel_json_get(*reply, "error") : NULL;
        const char *says = cJSON_IsString(error) ? error->valuestring : string_of(error, "message");
        if (got.trouble != KEEL_HTTP_NONE)
            status =
                keel_fail(err, KEEL_E_IO, server->url, "%s: %s%s%.300s", keel_http_trouble_name(got.trouble),
                          got.words, says ? ": " : "", says ? says : "");
        else if (!cJSON_IsObject(*reply))
            status = keel_fail(err, KEEL_E_IO, server->url, "the answer to %s is no JSON object", path);
        if (got.status == 401) keel_hint(err, "--token-env NAME gives the server's token");
    }
    keel_buf_free(&url);
    keel_arena_free(&arena);
    return status;
}

static void put_messages(const keel_conversation *said, keel_buf *body) {
    keel_buf_text(body, "{\"model\":\"keel\",\"keel\":{\"details\":true},\"messages\":[");
    for (size_t t = 0; t < said->n_turns; t++) {
        keel_buf_format(body, "%s{\"role\":\"%s\",\"content\":", t ? "," : "",
                        keel_role_name(said->turns[t].role));
        keel_json_put_string(body, said->turns[t].text);
        keel_buf_text(body, "}");
    }
    keel_buf_text(body, "]}");
}

/* What is said by the first choice: its text, or its calls of tools as JSON; NULL: it is no such thing. */
static const char *says_of(const cJSON *reply, keel_buf *calls, keel_err *err) {
    const cJSON *choices = keel_json_get(reply, "choices");
    const cJSON *message = cJSON_IsArray(choices) && cJSON_IsObject(choices->child)
                               ? keel_json_get(choices->child, "message")
                               : NULL;
    const char *text = string_of(message, "content");
    if (text) return text;
    const cJSON *tools = cJSON_IsObject(message) ? keel_json_get(message, "tool_calls") : NULL;
    return cJSON_IsArray(tools) && keel_json_print(tools, false, calls, err) == KEEL_OK ? calls->data : NULL;
}

/* Whether the actions have the shape of keel_choice_view_action, which is what a table is made of. */
static bool actions_ok(const cJSON *actions) {
    const cJSON *action;
    int heads = -1;
    cJSON_ArrayForEach (action, actions) {
        const cJSON *q = cJSON_IsObject(action) ? keel_json_get(action, "q") : NULL;
        if (!string_of(action, "says") || !cJSON_IsObject(q)) return false;
        if (heads >= 0 && heads != cJSON_GetArraySize(q)) return false;
        heads = cJSON_GetArraySize(q);
    }
    return cJSON_IsArray(actions) && heads >= 0 && heads <= 16;
}

/* What a server says about its choice, less what cannot be shown. */
static cJSON *details_of(cJSON *reply) {
    cJSON *details = cJSON_DetachItemFromObjectCaseSensitive(reply, "keel");
    if (!cJSON_IsObject(details)) {
        cJSON_Delete(details);
        return cJSON_CreateObject();
    }
    if (!actions_ok(keel_json_get(details, "actions")))
        cJSON_DeleteItemFromObjectCaseSensitive(details, "actions");
    if (!cJSON_IsObject(keel_json_get(details, "why")))
        cJSON_DeleteItemFromObjectCaseSensitive(details, "why");
    cJSON_DeleteItemFromObjectCaseSensitive(details, "says");
    cJSON_DeleteItemFromObjectCaseSensitive(details, "id");
    return details;
}

static keel_status read_answer(keel_chat_server *server, cJSON *reply, cJSON **details, keel_err *err) {
    keel_buf calls = {0};
    const char *says = says_of(reply, &calls, err), *id = string_of(reply, "id");
    keel_status status = KEEL_OK;
    if (!says) status = keel_fail(err, KEEL_E_IO, server->url, "the answer has no choice with a message");
    keel_free(server->last);
    server->last = keel_strdup(id);
    *details = details_of(reply);
    if (status == KEEL_OK && (!cJSON_AddStringToObject(*details, "says", says) ||
                              (id && !cJSON_AddStringToObject(*details, "id", id))))
        status = keel_nomem(err, "chat");
    keel_buf_free(&calls);
    return status;
}

keel_status keel_chat_server_answer(keel_chat_server *server, const keel_conversation *said, cJSON **details,
                                    keel_err *err) {
    keel_buf body = {0};
    cJSON *reply;
    *details = NULL;
    put_messages(said, &body);
    keel_status status = post(server, "/v1/chat/completions", &body, &reply, err);
    if (status == KEEL_OK) status = read_answer(server, reply, details, err);
    if (status != KEEL_OK) {
        cJSON_Delete(*details);
        *details = NULL;
    }
    cJSON_Delete(reply);
    keel_buf_free(&body);
    return status;
}

keel_status keel_chat_server_feedback(keel_chat_server *server, const char *key, cJSON *value,
                                      keel_err *err) {
    cJSON *json = cJSON_CreateObject(), *reply = NULL;
    keel_buf body = {0};
    keel_status status = KEEL_OK;
    if (!keel_json_add(json, key, value)) status = keel_nomem(err, "chat");
    if (status == KEEL_OK && !server->last)
        status = keel_fail(err, KEEL_E_NOT_FOUND, "feedback", "nothing was answered yet");
    if (status == KEEL_OK && !cJSON_AddStringToObject(json, "id", server->last))
        status = keel_nomem(err, "chat");
    if (status == KEEL_OK) status = keel_json_print(json, false, &body, err);
    if (status == KEEL_OK) status = post(server, "/v1/feedback", &body, &reply, err);
    cJSON_Delete(reply);
    cJSON_Delete(json);
    keel_buf_free(&body);
    return status;
}
