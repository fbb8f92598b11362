/* Rows of WildChat and of LMSYS-Chat-1M: {"conversation_id", "model", "conversation": [{"role", "content",
 * "toxic",
 * ...}], "turn", "language", "openai_moderation", "redacted"}. All answers are of the row's model. What the
 * rows say of toxic content is kept in meta: it is a machine's opinion of the text, not the risk of the
 * request. */
#include <string.h>

#include "datasets/build.h"

static bool is_assistant(const cJSON *message) {
    const char *role = keel__string_at(message, "role");
    return role && strcmp(role, "assistant") == 0;
}

static cJSON *convert(keel__value *build, const cJSON *list, const char *model) {
    static const char *const private_keys[] = {"hashed_ip", "header", "ip", NULL};
    cJSON *made = keel__value_array(build);
    for (const cJSON *message = list->child; message; message = message->next) {
        cJSON *one = cJSON_IsObject(message) ? keel__value_copy(build, message, private_keys)
                                             : keel__value_same(build, message);
        if (is_assistant(message) && !keel_json_get(message, "model"))
            keel__value_put_text(build, one, "model", model);
        keel__value_put(build, made, NULL, one);
    }
    return made;
}

static keel_status next(keel_reader *reader, keel_arena *arena, keel_read *out, keel_err *err) {
    static const char *const used[] = {"id",    "conversation_id", "model",  "conversation", "group",
                                       "split", "hashed_ip",       "header", "ip",           "meta",
                                       NULL};
    keel__value build = {.arena = arena};
    const cJSON *object = NULL, *list = NULL;
    const char *model = NULL;
    KEEL_TRY(keel__objects_next(reader->state, reader->source, arena, &object, &out->where, err));
    if (!object) return KEEL_OK;
    KEEL_TRY(keel_json_array(object, "conversation", true, &list, out->where, err));
    KEEL_TRY(keel_json_string(object, "model", false, &model, out->where, err));
    const cJSON *id = keel_json_get(object, "conversation_id");
    cJSON *made = keel__value_object(&build), *meta = keel__value_copy(&build, object, used);
    keel__value_put_same(&build, made, "id", id ? id : keel_json_get(object, "id"));
    keel__value_put_same(&build, made, "group", keel_json_get(object, "group"));
    keel__value_put_same(&build, made, "split", keel_json_get(object, "split"));
    keel__value_put(&build, made, "messages", convert(&build, list, model));
    keel__value_put_same(&build, meta, "meta", keel_json_get(object, "meta"));
    keel__value_put(&build, made, "meta", meta);
    return keel__build_read(&build, made, NULL, out, err);
}

static bool looks_like(const keel_sniff *sniff) {
    static const char *const marks[] = {"conversation_id", "conversation_hash", "openai_moderation", "turn",
                                        "toxic",           "redacted"};
    bool marked = false;
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        marked = marked || keel_formats_has(sniff, marks[i]);
    return sniff->shape != KEEL_SHAPE_TABLE && keel_formats_has(sniff, "conversation") && marked &&
           !keel_formats_has(sniff, "chosen"); /* pairs name their conversation */
}

const keel_reader_kind keel__wildchat_reader = {
    .looks_like = looks_like, .state_size = sizeof(keel__objects), .next = next, .close = keel__objects_end};
