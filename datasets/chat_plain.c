/* Objects of the chat format in other shapes than a list of messages: pairs of a request and its response,
 * an answer or a system prompt beside the messages under other names, the reason of the end beside them. They
 * are turned into the plain shape before they are read. */
#include <string.h>

#include "datasets/build.h"
#include "datasets/message.h"

static const char *const answers[] = {"completion", "output", "answer", "reply", NULL};
static const char *const systems[] = {"system_prompt", "system_message", "instructions", NULL};

/* The first of the keys that is there, *key; NULL: none. */
static const cJSON *first_of(const cJSON *object, const char *const *keys, const char **key) {
    for (*key = NULL; *keys; keys++) {
        const cJSON *item = keel_json_get(object, *keys);
        if (!item || cJSON_IsNull(item)) continue;
        *key = *keys;
        return item;
    }
    return NULL;
}

static const cJSON *last_of(const cJSON *list) {
    return cJSON_IsArray(list) && list->child ? list->child->prev : NULL; /* the first knows the last */
}

/* A text, a message, or the reply of a service. */
static bool may_answer(const cJSON *item) {
    return cJSON_IsString(item) ||
           (cJSON_IsObject(item) && (keel_json_get(item, "content") || keel_json_get(item, "choices")));
}

static bool has_choices(const cJSON *object) {
    const cJSON *choices = keel_json_get(object, "choices");
    return cJSON_IsArray(choices) && keel_json_get(choices->child, "message");
}

/* What a request of OpenAI's Responses asks: a text, or a list of messages, calls and their results, and of
 * reasoning, which nobody said. */
static cJSON *read_input(keel__value *build, const cJSON *input) {
    cJSON *list = keel__value_array(build);
    if (cJSON_IsString(input))
        keel__value_put(build, list, NULL, keel__build_message(build, "user", input->valuestring));
    for (const cJSON *item = cJSON_IsArray(input) ? input->child : NULL; item; item = item->next) {
        const char *type = keel__string_at(item, "type");
        if (!type || strcmp(type, "reasoning") != 0)
            keel__value_put(build, list, NULL, keel__value_same(build, item));
    }
    return list;
}

/* What the request asked with is kept in meta, without what was said. */
static cJSON *unwrap_request(keel__value *build, const cJSON *object, const cJSON *request) {
    static const char *const of_object[] = {"request", NULL};
    const cJSON *response = keel_json_get(object, "response"), *model = keel_json_get(request, "model"),
                *messages = keel_json_get(request, "messages");
    const char *const said[] = {"system", "system_prompt", "instructions", messages ? "messages" : "input",
                                NULL};
    cJSON *made = keel__value_object(build), *rest = keel__value_object(build);
    keel__value_put_others(build, made, object, of_object);
    for (size_t i = 0; i < 3; i++)
        keel__value_put_same(build, made, said[i], keel_json_get(request, said[i]));
    keel__value_put(build, made, "messages",
                    messages ? keel__value_same(build, messages)
                             : read_input(build, keel_json_get(request, "input")));
    keel__value_put_others(build, rest, request, said);
    if (rest && rest->child) keel__value_put(build, made, "request", rest);
    if (model && cJSON_IsObject(response) && response->child && !keel_json_get(response, "model")) {
        cJSON *with = cJSON_GetObjectItemCaseSensitive(made, "response"), *copy = keel__value_object(build);
        static const char *const none[] = {NULL};
        keel__value_put_others(build, copy, response, none);
        keel__value_put_same(build, copy, "model", model);
        if (with && copy) with->child = copy->child;
    }
    return made;
}

/* Puts the item under another key in place of its own. */
static cJSON *rename_key(keel__value *build, const cJSON *object, const char *from, const char *to) {
    const char *const used[] = {from, NULL};
    cJSON *made = keel__value_object(build);
    keel__value_put_others(build, made, object, used);
    keel__value_put_same(build, made, to, keel_json_get(object, from));
    return made;
}

/* An answer that is a text, with what is known of it beside the messages: a message of its own. */
static cJSON *move_answer(keel__value *build, const cJSON *object) {
    static const char *const facts[] = {"model",   "latency_ms", "feedback",   "reward",
                                        "outcome", "judge",      "propensity", NULL};
    static const char *const used[] = {"response", "messages", "model", "latency_ms", "feedback",
                                       "reward",   "outcome",  "judge", "propensity", NULL};
    cJSON *made = keel__value_object(build), *messages = keel__value_array(build);
    cJSON *answer = keel__build_message(build, "assistant", keel__string_at(object, "response"));
    for (size_t i = 0; facts[i]; i++)
        keel__value_put_same(build, answer, facts[i], keel_json_get(object, facts[i]));
    for (const cJSON *message = keel_json_get(object, "messages")->child; message; message = message->next)
        keel__value_put(build, messages, NULL, keel__value_same(build, message));
    keel__value_put(build, messages, NULL, answer);
    keel__value_put_others(build, made, object, used);
    keel__value_put(build, made, "messages", messages);
    return made;
}

/* {"choices", "model"} beside the messages. */
static cJSON *wrap_choices(keel__value *build, const cJSON *object) {
    static const char *const used[] = {"choices", "model", NULL};
    cJSON *made = keel__value_object(build), *response = keel__value_object(build);
    keel__value_put_others(build, made, object, used);
    for (size_t i = 0; used[i]; i++)
        keel__value_put_same(build, response, used[i], keel_json_get(object, used[i]));
    keel__value_put(build, made, "response", response);
    return made;
}

/* The reason goes into the last message, which is an answer without one. */
static cJSON *move_reason(keel__value *build, const cJSON *object, const char *key) {
    static const char *const none[] = {NULL};
    const cJSON *list = keel_json_get(object, "messages");
    const char *const used[] = {key, "messages", NULL};
    cJSON *made = keel__value_object(build), *messages = keel__value_array(build);
    for (const cJSON *message = list->child; message; message = message->next) {
        cJSON *copy = keel__value_same(build, message);
        if (!message->next && !keel_json_get(message, key)) {
            copy = keel__value_object(build);
            keel__value_put_others(build, copy, message, none);
            keel__value_put_same(build, copy, key, keel_json_get(object, key));
        }
        keel__value_put(build, messages, NULL, copy);
    }
    keel__value_put_others(build, made, object, used);
    keel__value_put(build, made, "messages", messages);
    return made;
}

keel_status keel__chat_plain(const cJSON *object, const char *where, keel_arena *arena, const cJSON **out,
                             keel_err *err) {
    keel__value build = {.arena = arena};
    const char *key = NULL;
    const cJSON *request = keel_json_get(object, "request");
    *out = object;
    if (keel_json_get(object, "keel")) return KEEL_OK; /* written by Keel */
    if ((keel_json_get(request, "messages") || keel_json_get(request, "input")) &&
        !keel_json_get(object, "messages"))
        *out = unwrap_request(&build, object, request);
    const cJSON *last = last_of(keel_json_get(*out, "messages"));
    if (!last) return build.failed ? keel_nomem(err, where) : KEEL_OK;
    if (!keel_json_get(*out, "response") && !keel__message_is_answer(last)) {
        if (has_choices(*out))
            *out = wrap_choices(&build, *out);
        else if (may_answer(first_of(*out, answers, &key)))
            *out = rename_key(&build, *out, key, "response");
    }
    if (keel__string_at(*out, "response") && !keel__message_is_answer(last)) {
        *out = move_answer(&build, *out);
        if (!build.failed) last = last_of(keel_json_get(*out, "messages"));
    }
    const cJSON *system = keel_json_get(*out, "system") ? NULL : first_of(*out, systems, &key);
    if (cJSON_IsString(system) || cJSON_IsArray(system)) *out = rename_key(&build, *out, key, "system");
    if (keel__message_is_answer(last) && cJSON_IsString(first_of(*out, keel__message_reasons, &key)))
        *out = move_reason(&build, *out, key);
    return build.failed ? keel_nomem(err, where) : KEEL_OK;
}
