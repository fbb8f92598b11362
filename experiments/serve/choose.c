#include "experiments/serve/choose.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/json.h"
#include "datasets/message.h"
#include "experiments/serve/job.h"
#include "experiments/serve/openai.h"

/* ---- requests ---- */

/* "none": the caller judges by itself, or later; no rule is to. */
static keel_status read_outcome(const cJSON *item, const char *place, keel_candidate *out, keel_err *err) {
    const char *name = NULL;
    KEEL_TRY(keel_json_string(item, "outcome", false, &name, place, err));
    if (name && strcmp(name, "none") == 0) {
        out->judge = KEEL_AUTHORITY_HUMAN;
        return KEEL_OK;
    }
    if (!name || (keel_outcome_parse(name, &out->outcome) && out->outcome != KEEL_OUTCOME_NONE))
        return KEEL_OK;
    return keel_fail(err, KEEL_E_INVALID, place,
                     "outcome: expected compliance, partial_refusal, refusal or none, got \"%s\"", name);
}

/* What it took the caller to make the answer. */
static keel_status read_latency(const cJSON *item, const char *place, keel_candidate *out, keel_err *err) {
    double latency = -1;
    KEEL_TRY(keel_json_number(item, "latency_ms", false, &latency, place, err));
    if (!keel_json_get(item, "latency_ms")) return KEEL_OK;
    if (!(latency >= 0 && latency <= 1e9))
        return keel_fail(err, KEEL_E_INVALID, place, "latency_ms: expected 0 to 1e9, got %g", latency);
    out->latency_ms = (keel_optional){true, latency};
    return KEEL_OK;
}

/* What has a role is a message as some server made it, with whatever else it puts there. */
static keel_status read_candidate(const cJSON *item, const char *place, keel_arena *arena,
                                  keel_candidate *out, keel_err *err) {
    static const char *const keys[] = {"text", "content", "tool_calls", "function_call", "refusal",
                                       "act",  "model",   "outcome",    "latency_ms",    NULL};
    bool refused = false;
    *out = (keel_candidate){0};
    if (cJSON_IsString(item)) {
        out->text = item->valuestring;
        return KEEL_OK;
    }
    if (!cJSON_IsObject(item)) return keel_fail(err, KEEL_E_PARSE, place, "expected a text or an object");
    if (!keel_json_get(item, "role")) KEEL_TRY(keel_openai_check_keys(item, keys, place, err));
    KEEL_TRY(keel_message_said(item, place, arena, &out->text, &refused, err));
    KEEL_TRY(keel_json_string(item, "act", false, &out->act, place, err));
    KEEL_TRY(keel_json_string(item, "model", false, &out->model, place, err));
    KEEL_TRY(read_latency(item, place, out, err));
    if (refused) out->outcome = KEEL_OUTCOME_REFUSAL;
    KEEL_TRY(read_outcome(item, place, out, err));
    if (!out->text && !out->act)
        return keel_fail(err, KEEL_E_PARSE, place, "expected a \"content\", a \"text\" or an \"act\"");
    if (!out->text) out->text = "";
    return KEEL_OK;
}

static keel_status read_candidates(const cJSON *list, keel_arena *arena, keel_asked *out, keel_err *err) {
    char place[32];
    size_t index = 0;
    if (!cJSON_IsArray(list) || !list->child)
        return keel_fail(err, KEEL_E_PARSE, "candidates", "expected a list of answers, and at least one");
    const size_t count = (size_t)cJSON_GetArraySize(list);
    if (count > KEEL_CHOOSE_MOST)
        return keel_fail(err, KEEL_E_INVALID, "candidates", "expected at most %d, got %zu", KEEL_CHOOSE_MOST,
                         count);
    out->candidates = keel_arena_alloc(arena, count * sizeof *out->candidates);
    out->place = keel_arena_alloc(arena, count * sizeof *out->place);
    if (!out->candidates || !out->place) return keel_nomem(err, "candidates");
    for (const cJSON *item = list->child; item; item = item->next, index++) {
        keel_candidate *one = &out->candidates[out->n_candidates];
        snprintf(place, sizeof place, "candidates[%zu]", index);
        KEEL_TRY(read_candidate(item, place, arena, one, err));
        if (keel_candidate_among(out->candidates, out->n_candidates, one)) continue;
        out->place[out->n_candidates++] = index;
    }
    return KEEL_OK;
}

static keel_status read_choice(const cJSON *object, keel_arena *arena, keel_asked *out, keel_err *err) {
    static const char *const keys[] = {"messages", "candidates",   "model",   "user",
                                       "details",  "conversation", "segment", "safety_identifier",
                                       "metadata", "keel",         NULL};
    KEEL_TRY(keel_openai_check_keys(object, keys, "body", err));
    KEEL_TRY(keel_json_string(object, "model", false, &out->model, "model", err));
    KEEL_TRY(keel_openai_read_common(object, out, err));
    KEEL_TRY(keel_message_turns(keel_json_get(object, "messages"), "messages", arena, &out->turns,
                                &out->n_turns, err));
    return read_candidates(keel_json_get(object, "candidates"), arena, out, err);
}

keel_status keel_choose_read(const char *body, size_t length, keel_arena *arena, keel_asked *out,
                             keel_err *err) {
    return keel_openai_read_body(body, length, read_choice, arena, out, err);
}

/* ---- responses ---- */

void keel_choose_write(const keel_choose_answer *answer, keel_buf *out) {
    keel_buf_text(out, "{\"id\":");
    keel_json_put_string(out, answer->id);
    if (answer->index >= 0)
        keel_buf_format(out, ",\"index\":%" PRId64 ",\"says\":", answer->index);
    else
        keel_buf_text(out, ",\"index\":null,\"says\":");
    keel_json_put_string(out, answer->says);
    if (answer->outcome != KEEL_OUTCOME_NONE)
        keel_buf_format(out, ",\"outcome\":\"%s\"", keel_outcome_name(answer->outcome));
    keel_buf_format(out, ",\"fallback\":%s,\"propensity\":", answer->fallback ? "true" : "false");
    keel_json_put_number(out, answer->propensity);
    keel_buf_text(out, ",\"policy\":");
    keel_json_put_string(out, answer->policy);
    keel_buf_text(out, ",\"arm\":");
    keel_json_put_string(out, answer->arm);
    if (answer->keel) {
        keel_buf_text(out, ",\"keel\":");
        keel_buf_text(out, answer->keel);
    }
    keel_buf_text(out, "}\n");
}
