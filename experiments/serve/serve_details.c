#include <math.h>

#include "core/json.h"
#include "experiments/choice_view.h"
#include "experiments/serve/serve_internal.h"
#include "policies/policy_internal.h"

static cJSON *times_json(const keel__serve_said *said) {
    cJSON *times = cJSON_CreateObject();
    cJSON_AddNumberToObject(times, "total", said->total_ms);
    cJSON_AddNumberToObject(times, "upstream", said->upstream_ms);
    cJSON_AddNumberToObject(times, "encode", said->encode_ms);
    cJSON_AddNumberToObject(times, "decide", said->decide_ms);
    return times;
}

static cJSON *action_json(const keel_job *job, const keel_choice *choice, size_t action) {
    const keel_version *version = job->version;
    cJSON *row = keel_choice_view_action(version->policy, version->base, &job->decision, choice, action);
    const size_t candidate = keel_serve_candidate(version->base, &job->decision, action);
    cJSON_DeleteItemFromObjectCaseSensitive(row, "taken");
    if (candidate == SIZE_MAX) {
        cJSON_AddStringToObject(row, "from", "base");
        return row;
    }
    const keel_job_source *source = &job->source[candidate];
    cJSON_AddStringToObject(row, "from", source->from);
    if (source->place >= 0) cJSON_AddNumberToObject(row, "index", (double)source->place);
    if (job->decision.candidates[candidate].latency_ms.present)
        cJSON_AddNumberToObject(row, "latency_ms", job->decision.candidates[candidate].latency_ms.value);
    return row;
}

static void add_version(cJSON *json, const keel_version *version) {
    cJSON_AddStringToObject(json, "policy", version->hash);
    cJSON_AddStringToObject(json, "base", version->base_hash);
    cJSON_AddStringToObject(json, "arm", version->arm);
    if (isfinite(version->policy->harm_threshold))
        cJSON_AddNumberToObject(json, "harm_threshold", version->policy->harm_threshold);
}

static void add_said(cJSON *json, const keel_serve *serve, const keel__serve_said *said) {
    cJSON_AddStringToObject(json, "says", said->text);
    cJSON_AddNumberToObject(json, "action", (double)said->action);
    cJSON_AddBoolToObject(json, "fallback", said->why != NULL);
    if (said->why) cJSON_AddStringToObject(json, "fallback_reason", said->why);
    cJSON_AddBoolToObject(json, "explored", said->explored);
    cJSON_AddBoolToObject(json, "shadow", serve->options.shadow);
    cJSON_AddNumberToObject(json, "propensity", said->propensity);
}

const char *keel__serve_details(const keel_serve *serve, keel_job *job, const keel_serve_choice *choice,
                                const keel__serve_said *said) {
    const size_t lost = keel_json_lost();
    const int64_t other = keel_choice_view_runner_up(&choice->choice);
    cJSON *json = cJSON_CreateObject();
    keel_buf text = {0};
    cJSON_AddStringToObject(json, "conversation", job->name);
    add_version(json, job->version);
    add_said(json, serve, said);
    keel_choice_view_familiarity(json, &choice->choice);
    cJSON_AddNumberToObject(json, "value", choice->choice.value);
    if (job->gathered.troubles && job->gathered.troubles[0])
        cJSON_AddStringToObject(json, "troubles", job->gathered.troubles);
    if (job->gathered.late) cJSON_AddBoolToObject(json, "late", true);
    if (other >= 0)
        keel_json_add(json, "why",
                      keel_choice_view_why(job->version->policy, &choice->choice, (size_t)other, false));
    cJSON *actions = cJSON_AddArrayToObject(json, "actions");
    for (size_t a = 0; a < choice->choice.n; a++)
        keel_json_add(actions, NULL, action_json(job, &choice->choice, a));
    keel_json_add(json, "ms", times_json(said));
    const bool whole =
        actions && keel_json_lost() == lost && keel_json_print(json, false, &text, NULL) == KEEL_OK;
    const char *out = whole ? keel_arena_strndup(&job->arena, text.data, text.length) : NULL;
    keel_buf_free(&text);
    cJSON_Delete(json);
    return out;
}
