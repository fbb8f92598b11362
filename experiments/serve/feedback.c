#include "experiments/serve/feedback.h"

#include <string.h>

#include "core/json.h"
#include "experiments/serve/openai.h"

static keel_status read_score(const cJSON *object, keel_optional *out, keel_err *err) {
    const cJSON *item = keel_json_get(object, "feedback");
    if (!item || cJSON_IsNull(item)) return KEEL_OK;
    out->present = true;
    if (cJSON_IsNumber(item)) {
        out->value = item->valuedouble;
        if (out->value >= -1 && out->value <= 1) return KEEL_OK;
    }
    out->value = 1;
    if (cJSON_IsString(item) && strcmp(item->valuestring, "up") == 0) return KEEL_OK;
    out->value = -1;
    if (cJSON_IsString(item) && strcmp(item->valuestring, "down") == 0) return KEEL_OK;
    return keel_fail(err, KEEL_E_INVALID, "feedback", "expected \"up\", \"down\" or a number from -1 to 1");
}

static keel_status read_words(const cJSON *object, keel_feedback *out, keel_err *err) {
    const char *outcome = NULL, *risk = NULL;
    bool completed = false;
    KEEL_TRY(keel_json_string(object, "outcome", false, &outcome, "outcome", err));
    KEEL_TRY(keel_json_string(object, "risk", false, &risk, "risk", err));
    KEEL_TRY(keel_json_string(object, "source", false, &out->source, "source", err));
    KEEL_TRY(keel_json_bool(object, "completed", false, &completed, "completed", err));
    const cJSON *said = keel_json_get(object, "completed");
    out->completed = !said || cJSON_IsNull(said) ? KEEL_UNKNOWN : completed ? KEEL_YES : KEEL_NO;
    if (outcome && (!keel_outcome_parse(outcome, &out->outcome) || out->outcome == KEEL_OUTCOME_NONE))
        return keel_fail(err, KEEL_E_INVALID, "outcome",
                         "expected compliance, partial_refusal or refusal, got \"%s\"", outcome);
    if (risk && !keel_risk_parse(risk, &out->risk))
        return keel_fail(err, KEEL_E_INVALID, "risk", "expected benign or dangerous, got \"%s\"", risk);
    return KEEL_OK;
}

keel_status keel_feedback_read(const char *body, size_t length, keel_arena *arena, keel_feedback *out,
                               keel_err *err) {
    static const char *const keys[] = {"id", "feedback", "outcome", "completed", "risk", "source", NULL};
    const cJSON *object;
    *out = (keel_feedback){.completed = KEEL_UNKNOWN, .source = ""};
    if (length > KEEL_FEEDBACK_MOST)
        return keel_fail(err, KEEL_E_INVALID, "body", "expected at most %d bytes, got %zu",
                         KEEL_FEEDBACK_MOST, length);
    KEEL_TRY(keel_json_parse_in(arena, body ? body : "", length, "body", &object, err));
    if (!cJSON_IsObject(object)) return keel_fail(err, KEEL_E_PARSE, "body", "expected a JSON object");
    KEEL_TRY(keel_openai_check_keys(object, keys, "body", err));
    KEEL_TRY(keel_json_string(object, "id", true, &out->request, "id", err));
    if (!out->request[0] || strlen(out->request) > KEEL_SERVED_REQUEST)
        return keel_fail(err, KEEL_E_INVALID, "id", "expected the id of a response");
    KEEL_TRY(read_score(object, &out->feedback, err));
    KEEL_TRY(read_words(object, out, err));
    if (out->feedback.present || out->outcome != KEEL_OUTCOME_NONE || out->completed != KEEL_UNKNOWN ||
        out->risk != KEEL_RISK_UNKNOWN)
        return KEEL_OK;
    return keel_fail(err, KEEL_E_INVALID, "feedback",
                     "nothing is said: give feedback, outcome, completed or risk");
}

void keel_feedback_count(keel_monitor *monitor, const keel_feedback *feedback) {
    const double score = feedback->feedback.value;
    if (feedback->feedback.present)
        keel_monitor_add(monitor, KEEL_MONITOR_FEEDBACK, score > 0 ? "up" : score < 0 ? "down" : "none", 1);
    if (feedback->completed != KEEL_UNKNOWN)
        keel_monitor_add(monitor, KEEL_MONITOR_COMPLETED, feedback->completed == KEEL_YES ? "yes" : "no", 1);
}
