#include "datasets/answers.h"

#include "datasets/build.h"

#include <string.h>

enum { ID_DIGITS = 16 };

cJSON *keel__answers_prompt(keel__value *build, const char *prompt) {
    const cJSON *parsed = NULL;
    cJSON *list = keel__value_array(build);
    bool chat = prompt[strspn(prompt, " \t\r\n")] == '[' &&
                keel_json_parse_in(build->arena, prompt, strlen(prompt), "", &parsed, NULL) == KEEL_OK &&
                parsed->child;
    for (const cJSON *item = chat ? parsed->child : NULL; item; item = item->next)
        chat = chat && keel__string_at(item, "role") && keel_json_get(item, "content");
    for (const cJSON *item = chat ? parsed->child : NULL; item; item = item->next)
        keel__value_put(build, list, NULL, keel__value_same(build, item));
    if (chat) return list;
    keel__value_put(build, list, NULL, keel__build_message(build, "user", prompt));
    return list;
}

void keel__answers_begin(keel__answers *answers, keel__value *build, cJSON *messages) {
    *answers = (keel__answers){.build = build,
                               .messages = messages,
                               .built = keel__value_object(build),
                               .list = keel__value_array(build),
                               .meta = keel__value_object(build)};
}

cJSON *keel__answers_add(keel__answers *answers, const char *text, const char *model, bool taken) {
    keel__value *build = answers->build;
    cJSON *answer = keel__value_object(build);
    keel__value_put_text(build, answer, "content", text);
    keel__value_put_text(build, answer, "model", model);
    if (taken) keel__value_put(build, answer, "taken", keel__value_bool(build, true));
    keel__value_put(build, answers->list, NULL, answer);
    answers->given += taken;
    return answer;
}

void keel__answers_judge(keel__answers *answers, cJSON *answer, bool passed) {
    keel__value_put(answers->build, answer, "reward", keel__value_number(answers->build, passed));
    answers->passed += passed;
    answers->failed += !passed;
}

void keel__answers_note(keel__answers *answers, const char *model, const char *key, const cJSON *item) {
    cJSON *own = model ? cJSON_GetObjectItemCaseSensitive(answers->meta, model) : answers->meta;
    if (!item || cJSON_IsNull(item)) return;
    if (!own) keel__value_put(answers->build, answers->meta, model, own = keel__value_object(answers->build));
    if (!keel_json_get(own, key)) keel__value_put_same(answers->build, own, key, item);
}

/* The id. NULL when out of memory. */
static const char *name_asked(const keel__answers *answers, const char *name, const cJSON *const *asked,
                              size_t n_asked, keel_err *err) {
    keel__value *build = answers->build;
    cJSON *all = keel__value_array(build);
    char hex[65];
    keel__value_put(build, all, NULL, keel__value_same(build, answers->messages));
    for (size_t i = 0; i < n_asked; i++)
        keel__value_put(build, all, NULL,
                        asked[i] ? keel__value_same(build, asked[i]) : keel__value_text(build, NULL));
    if (build->failed || keel_json_hash(all, hex, err) != KEEL_OK) return NULL;
    return keel__value_format(build, "%s/%.*s", name, ID_DIGITS, hex);
}

keel_status keel__answers_read(keel__answers *answers, const char *name, const cJSON *const *asked,
                               size_t n_asked, keel_read *out, keel_err *err) {
    keel__value *build = answers->build;
    const char *id = name_asked(answers, name, asked, n_asked, err);
    cJSON *message = keel__build_message(build, "assistant", NULL);
    const bool agreed =
        answers->given && (answers->passed == answers->given || answers->failed == answers->given);
    if (!id) return keel_nomem(err, out->where);
    keel__value_put(build, message, "candidates", answers->list);
    if (answers->list && answers->list->child) keel__value_put(build, answers->messages, NULL, message);
    keel__value_put_text(build, answers->built, "id", id);
    if (agreed)
        keel__value_put(build, answers->built, "completed", keel__value_bool(build, answers->passed > 0));
    keel__value_put(build, answers->built, "messages", answers->messages);
    keel__value_put(build, answers->built, "meta", answers->meta);
    out->merge = true;
    return keel__build_read(build, answers->built, NULL, out, err);
}
