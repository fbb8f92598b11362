/* OpenTelemetry with the attributes of generative AI, as OTLP in JSON: {"resourceSpans": [{"scopeSpans":
 * [{"spans":
 * [{"attributes", "events", ...}]}]}]} or the same of logs, one object or one a line. A call of a model is a
 * span, an event of it or a log record with gen_ai.input.messages and gen_ai.output.messages, or the older
 * gen_ai.prompt.0.content and gen_ai.completion.0.content. Several output messages are candidates. The call
 * of an agent (invoke_agent) counts where its trace has no call of a model with messages. Events
 * gen_ai.evaluation.result belong to the answer of their span or response: what a user said of it is
 * feedback, what names an outcome is a label by a model. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/decimal.h"
#include "datasets/session.h"

enum { WITHOUT_MESSAGES, EVALUATIONS_UNUSED };

/* What was said of an answer. */
typedef struct evaluation {
    const char *names[2]; /* of the response and of the span; NULL: none */
    cJSON *said;          /* {"name", "value", "label", "explanation"} */
} evaluation;

typedef struct agent_call {
    keel__call call;
    const char *trace, *span, *response; /* NULL: not said */
} agent_call;

typedef struct state {
    keel__sessions sessions;
    evaluation *evaluations;
    agent_call *agents;
    const char **traces; /* that have calls of models */
    size_t n_evaluations, evaluations_capacity, n_agents, agents_capacity, n_traces, traces_capacity;
} state;

/* ---- attributes ---- */

/* A value of OTLP as plain JSON. Nesting is bounded by the reader of JSON. */
static cJSON *plain(keel__value *build, const cJSON *value) {
    const cJSON *only = cJSON_IsObject(value) ? value->child : NULL, *list;
    if (!only) return NULL;
    list = keel_json_get(only, "values");
    cJSON *made = NULL;
    if (strcmp(only->string, "arrayValue") == 0) {
        made = keel__value_array(build);
        for (const cJSON *item = cJSON_IsArray(list) ? list->child : NULL; item; item = item->next)
            keel__value_put(build, made, NULL, plain(build, item));
    } else if (strcmp(only->string, "kvlistValue") == 0) {
        made = keel__value_object(build);
        for (const cJSON *item = cJSON_IsArray(list) ? list->child : NULL; item; item = item->next) {
            const char *key = keel__string_at(item, "key");
            if (key && !keel_json_get(made, key))
                keel__value_put(build, made, key, plain(build, keel_json_get(item, "value")));
        }
    } else {
        made = keel__value_same(build, only);
    }
    return made;
}

static const cJSON *attribute(const cJSON *attributes, const char *name) {
    for (const cJSON *item = cJSON_IsArray(attributes) ? attributes->child : NULL; item; item = item->next) {
        const char *key = keel__string_at(item, "key");
        if (key && strcmp(key, name) == 0) return keel_json_get(item, "value");
    }
    return NULL;
}

static const char *attribute_text(const cJSON *attributes, const char *name) {
    return keel__string_at(attribute(attributes, name), "stringValue");
}

/* A list that is structured, or a text of JSON; NULL: neither. */
static const cJSON *attribute_list(keel__sessions *sessions, const cJSON *attributes, const char *name) {
    keel__value build = {.arena = &sessions->arena};
    const cJSON *value = attribute(attributes, name);
    value = value ? keel__sessions_unpack(sessions, plain(&build, value)) : NULL;
    return cJSON_IsArray(value) ? value : NULL;
}

/* ---- messages ---- */

/* A part in the shape of the chat format; NULL: reasoning, or nothing that was said. */
static cJSON *convert_part(keel__value *build, const cJSON *part, bool *result) {
    const char *type = keel__string_at(part, "type");
    cJSON *made = keel__value_object(build);
    const cJSON *response = keel_json_get(part, "response"), *content = keel_json_get(part, "content");
    if (!type || strcmp(type, "reasoning") == 0) return NULL;
    if (strcmp(type, "tool_call") == 0) {
        keel__value_put_text(build, made, "type", "tool_use");
        keel__value_put_same(build, made, "name", keel_json_get(part, "name"));
        keel__value_put_same(build, made, "input", keel_json_get(part, "arguments"));
        return made;
    }
    *result = strcmp(type, "tool_call_response") == 0;
    if (*result && !response) response = keel_json_get(part, "result");
    if (*result) content = response;
    keel__value_put_text(build, made, "type", "text");
    if (cJSON_IsString(content)) {
        keel__value_put_same(build, made, "text", content);
    } else if (content && !cJSON_IsNull(content)) {
        keel_buf text = {0};
        if (keel_json_print(content, false, &text, NULL) == KEEL_OK)
            keel__value_put_text(build, made, "text",
                                 keel_arena_strndup(build->arena, text.data, text.length));
        keel_buf_free(&text);
    }
    return made;
}

static cJSON *convert_parts(keel__value *build, const char *role, const cJSON *parts) {
    cJSON *made = keel__value_object(build), *list = keel__value_array(build);
    bool result = false, results = false;
    for (const cJSON *part = cJSON_IsArray(parts) ? parts->child : NULL; part; part = part->next) {
        keel__value_put(build, list, NULL, convert_part(build, part, &result));
        results = results || result;
    }
    keel__value_put_text(build, made, "role", results ? "tool" : role);
    keel__value_put(build, made, "content", list);
    return made;
}

static cJSON *convert_message(keel__value *build, const cJSON *message) {
    const char *ended = keel__string_at(message, "finish_reason"), *role = keel__string_at(message, "role");
    const cJSON *parts = keel_json_get(message, "parts");
    cJSON *made;
    if (!cJSON_IsObject(message)) return NULL;
    if (parts) {
        made = convert_parts(build, role, parts);
    } else {
        made = keel__value_object(build);
        keel__value_put_text(build, made, "role", role);
        keel__value_put_same(build, made, "content", keel_json_get(message, "content"));
        keel__value_put_same(build, made, "tool_calls", keel_json_get(message, "tool_calls"));
    }
    if (ended && (strcmp(ended, "length") == 0 || strcmp(ended, "content_filter") == 0))
        keel__value_put_text(build, made, "finish_reason", ended);
    return made;
}

static void add_messages(keel__value *build, cJSON *to, const cJSON *list) {
    for (const cJSON *message = list ? list->child : NULL; message; message = message->next)
        keel__value_put(build, to, NULL, convert_message(build, message));
}

/* The older attributes, one for each role and each text: PREFIX.0.role, PREFIX.0.content. */
static void add_numbered(keel__value *build, cJSON *to, const cJSON *attributes, const char *prefix,
                         const char *otherwise) {
    enum { MOST = 1000 };
    char name[80];
    for (int i = 0; i < MOST; i++) {
        snprintf(name, sizeof name, "%s.%d.content", prefix, i);
        const char *content = attribute_text(attributes, name);
        snprintf(name, sizeof name, "%s.%d.role", prefix, i);
        const char *role = attribute_text(attributes, name);
        if (!content) break;
        cJSON *made = keel__value_object(build);
        keel__value_put_text(build, made, "role", role ? role : otherwise);
        keel__value_put_text(build, made, "content", content);
        keel__value_put(build, to, NULL, made);
    }
}

/* ---- calls ---- */

static double nanoseconds(const cJSON *object, const char *key) {
    const cJSON *item = keel_json_get(object, key);
    char *end;
    if (cJSON_IsNumber(item)) return item->valuedouble;
    return cJSON_IsString(item) ? keel_decimal_read(item->valuestring, &end) : 0;
}

static bool is_operation(const cJSON *attributes, const char *name) {
    const char *operation = attribute_text(attributes, "gen_ai.operation.name");
    return operation && strcmp(operation, name) == 0;
}

static bool is_call(const cJSON *attributes) {
    return !is_operation(attributes, "execute_tool") && !is_operation(attributes, "create_agent") &&
           !is_operation(attributes, "embeddings");
}

/* History and answers of a span, or of an event in it. */
static keel_status read_messages(keel__sessions *sessions, const cJSON *attributes, keel__call *call,
                                 keel_err *err) {
    keel__value build = {.arena = &sessions->arena};
    const cJSON *system = attribute_list(sessions, attributes, "gen_ai.system_instructions");
    call->history = keel__value_array(&build);
    call->answers = keel__value_array(&build);
    if (system) keel__value_put(&build, call->history, NULL, convert_parts(&build, "system", system));
    add_messages(&build, call->history, attribute_list(sessions, attributes, "gen_ai.input.messages"));
    add_messages(&build, call->answers, attribute_list(sessions, attributes, "gen_ai.output.messages"));
    add_numbered(&build, call->history, attributes, "gen_ai.prompt", "user");
    add_numbered(&build, call->answers, attributes, "gen_ai.completion", "assistant");
    return build.failed ? keel_nomem(err, call->where) : KEEL_OK;
}

/* A call of an agent waits until all of the log is read: it says what calls of models say, if there are any.
 */
static keel_status keep_agent(state *s, const agent_call *call, keel_err *err) {
    if (!keel_arena_grow(&s->sessions.arena, &s->agents, s->n_agents, &s->agents_capacity, sizeof *s->agents))
        return keel_nomem(err, call->call.where);
    s->agents[s->n_agents++] = *call;
    return KEEL_OK;
}

static keel_status name_call(state *s, const agent_call *call, keel_err *err) {
    KEEL_TRY(keel__sessions_name(&s->sessions, call->span, &call->call, err));
    return keel__sessions_name(&s->sessions, call->response, &call->call, err);
}

static keel_status keep_call(state *s, const agent_call *call, keel_err *err) {
    if (call->trace) {
        if (!keel_arena_grow(&s->sessions.arena, &s->traces, s->n_traces, &s->traces_capacity,
                             sizeof *s->traces))
            return keel_nomem(err, call->call.where);
        s->traces[s->n_traces++] = call->trace;
    }
    KEEL_TRY(keel__sessions_name(&s->sessions, call->trace, &call->call, err));
    KEEL_TRY(name_call(s, call, err));
    return keel__sessions_add(&s->sessions, &call->call, err);
}

/* owner: the span or record; attributes: its own, or those of an event in it. *found: they hold messages. */
static keel_status add_call(keel_reader *reader, const cJSON *owner, const cJSON *attributes, bool *found,
                            const char *where, keel_err *err) {
    state *s = reader->state;
    keel__value build = {.arena = &s->sessions.arena};
    const cJSON *own = keel_json_get(owner, "attributes");
    const char *id = attribute_text(own, "gen_ai.conversation.id"), *model,
               *trace = keel__string_at(owner, "traceId");
    const double start = nanoseconds(owner, "startTimeUnixNano"), end = nanoseconds(owner, "endTimeUnixNano");
    keel__call call = {.where = where, .time = start > 0 ? start : nanoseconds(owner, "timeUnixNano")};
    if (!is_call(own)) return KEEL_OK;
    KEEL_TRY(read_messages(&s->sessions, attributes, &call, err));
    if (!call.history->child || !call.answers->child) return KEEL_OK;
    *found = true;
    if (!id) id = attribute_text(attributes, "gen_ai.conversation.id");
    call.session = id ? id : trace;
    if (!call.session) return keel_fail(err, KEEL_E_PARSE, where, "expected a traceId of a span");
    if (!(model = attribute_text(own, "gen_ai.response.model")))
        model = attribute_text(own, "gen_ai.request.model");
    for (cJSON *answer = call.answers->child; answer; answer = answer->next)
        keel__value_put_text(&build, answer, "model", model);
    if (start > 0 && end >= start)
        keel__value_put(&build, call.answers->child, "latency_ms",
                        keel__value_number(&build, (end - start) / 1e6));
    if (build.failed) return keel_nomem(err, where);
    const agent_call made = {call, trace, keel__string_at(owner, "spanId"),
                             attribute_text(own, "gen_ai.response.id")};
    return is_operation(own, "invoke_agent") ? keep_agent(s, &made, err) : keep_call(s, &made, err);
}

/* ---- evaluations ---- */

static const cJSON *number_of(const cJSON *value) {
    const cJSON *number = keel_json_get(value, "doubleValue");
    return number ? number : keel_json_get(value, "intValue");
}

/* event: with the attributes of an evaluation. owner: the span that it stands in, or itself. */
static keel_status add_evaluation(state *s, const cJSON *owner, const cJSON *event, const char *where,
                                  keel_err *err) {
    keel__value build = {.arena = &s->sessions.arena};
    const cJSON *attributes = keel_json_get(event, "attributes");
    const char *response = attribute_text(attributes, "gen_ai.response.id");
    evaluation made = {.names = {response, keel__string_at(owner, "spanId")}};
    made.said = keel__value_object(&build);
    keel__value_put_text(&build, made.said, "name", attribute_text(attributes, "gen_ai.evaluation.name"));
    keel__value_put_same(&build, made.said, "value",
                         number_of(attribute(attributes, "gen_ai.evaluation.score.value")));
    keel__value_put_text(&build, made.said, "label",
                         attribute_text(attributes, "gen_ai.evaluation.score.label"));
    keel__value_put_text(&build, made.said, "explanation",
                         attribute_text(attributes, "gen_ai.evaluation.explanation"));
    if (build.failed || !keel_arena_grow(build.arena, &s->evaluations, s->n_evaluations,
                                         &s->evaluations_capacity, sizeof *s->evaluations))
        return keel_nomem(err, where);
    s->evaluations[s->n_evaluations++] = made;
    return KEEL_OK;
}

static bool is_evaluation(const cJSON *event) {
    const char *name = keel__string_at(event, "name"), *event_name = keel__string_at(event, "eventName");
    if (!name)
        name = event_name ? event_name : attribute_text(keel_json_get(event, "attributes"), "event.name");
    return name && strcmp(name, "gen_ai.evaluation.result") == 0;
}

/* 1, -1 or between; 0: nothing that a user said. */
static double feedback_of(const cJSON *said) {
    const char *name = keel__string_at(said, "name"), *label = keel__string_at(said, "label");
    const cJSON *value = keel_json_get(said, "value");
    const double number = cJSON_IsNumber(value) ? value->valuedouble : 0;
    if (!name || (strncasecmp(name, "user", 4) != 0 && strncasecmp(name, "human", 5) != 0)) return 0;
    if (label && strcasecmp(label, "up") == 0) return 1;
    if (label && strcasecmp(label, "down") == 0) return -1;
    return number >= -1 && number <= 1 ? number : 0;
}

static const char *outcome_of(const cJSON *said) {
    static const char *const outcomes[][2] = {{"compliance", "compliance"},
                                              {"complied", "compliance"},
                                              {"partial_refusal", "partial_refusal"},
                                              {"refusal", "refusal"},
                                              {"refused", "refusal"}};
    const char *label = keel__string_at(said, "label");
    for (size_t i = 0; label && i < sizeof outcomes / sizeof *outcomes; i++)
        if (strcasecmp(label, outcomes[i][0]) == 0) return outcomes[i][1];
    return NULL;
}

/* All are kept with the answer. */
static void use_evaluation(keel__value *build, cJSON *answer, cJSON *said) {
    const char *outcome = outcome_of(said);
    const double feedback = feedback_of(said);
    cJSON *list = cJSON_GetObjectItemCaseSensitive(answer, "evaluations");
    if (!list) keel__value_put(build, answer, "evaluations", list = keel__value_array(build));
    keel__value_put(build, list, NULL, said);
    if (feedback != 0 && !keel_json_get(answer, "feedback"))
        keel__value_put(build, answer, "feedback", keel__value_number(build, feedback));
    if (!outcome || keel_json_get(answer, "outcome")) return;
    keel__value_put_text(build, answer, "outcome", outcome);
    keel__value_put_text(build, answer, "judge", "model");
}

static int compare_texts(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* What is said of the call of an agent that is left out is said of the last answer of its trace. */
static keel_status finish_agent(state *s, agent_call *agent, keel_err *err) {
    const bool told = s->n_traces && agent->trace &&
                      bsearch(&agent->trace, s->traces, s->n_traces, sizeof *s->traces, compare_texts);
    cJSON *answer = told ? keel__sessions_named(&s->sessions, agent->trace) : NULL;
    if (!told) KEEL_TRY(keel__sessions_add(&s->sessions, &agent->call, err));
    if (answer) agent->call.answers->child = answer;
    return name_call(s, agent, err);
}

static keel_status finish(keel_reader *reader, keel_err *err) {
    state *s = reader->state;
    keel__value build = {.arena = &s->sessions.arena};
    if (s->n_traces) qsort(s->traces, s->n_traces, sizeof *s->traces, compare_texts);
    for (size_t i = 0; i < s->n_agents; i++) KEEL_TRY(finish_agent(s, &s->agents[i], err));
    for (size_t i = 0; i < s->n_evaluations; i++) {
        cJSON *answer = keel__sessions_named(&s->sessions, s->evaluations[i].names[0]);
        if (!answer) answer = keel__sessions_named(&s->sessions, s->evaluations[i].names[1]);
        reader->counts[EVALUATIONS_UNUSED] += !answer;
        if (answer) use_evaluation(&build, answer, s->evaluations[i].said);
    }
    return build.failed ? keel_nomem(err, reader->place) : KEEL_OK;
}

/* ---- spans and records ---- */

static keel_status add_owner(keel_reader *reader, const cJSON *owner, const char *where, keel_err *err) {
    const cJSON *events = keel_json_get(owner, "events");
    bool found = false;
    if (!cJSON_IsObject(owner))
        return keel_fail(err, KEEL_E_PARSE, where, "expected a span or a record to be an object");
    if (is_evaluation(owner)) return add_evaluation(reader->state, owner, owner, where, err);
    KEEL_TRY(add_call(reader, owner, keel_json_get(owner, "attributes"), &found, where, err));
    for (const cJSON *event = cJSON_IsArray(events) ? events->child : NULL; event; event = event->next) {
        if (is_evaluation(event))
            KEEL_TRY(add_evaluation(reader->state, owner, event, where, err));
        else if (!found)
            KEEL_TRY(add_call(reader, owner, keel_json_get(event, "attributes"), &found, where, err));
    }
    reader->counts[WITHOUT_MESSAGES] += !found;
    return KEEL_OK;
}

static keel_status read_object(keel_reader *reader, const cJSON *object, const char *where, keel_err *err) {
    static const char *const keys[2][3] = {{"resourceSpans", "scopeSpans", "spans"},
                                           {"resourceLogs", "scopeLogs", "logRecords"}};
    for (int k = 0; k < 2; k++) {
        const cJSON *resources = NULL, *scopes = NULL, *owners = NULL;
        KEEL_TRY(keel_json_array(object, keys[k][0], false, &resources, where, err));
        for (const cJSON *r = resources ? resources->child : NULL; r; r = r->next, scopes = NULL) {
            KEEL_TRY(keel_json_array(r, keys[k][1], false, &scopes, where, err));
            for (const cJSON *scope = scopes ? scopes->child : NULL; scope;
                 scope = scope->next, owners = NULL) {
                KEEL_TRY(keel_json_array(scope, keys[k][2], false, &owners, where, err));
                for (const cJSON *owner = owners ? owners->child : NULL; owner; owner = owner->next)
                    KEEL_TRY(add_owner(reader, owner, where, err));
            }
        }
    }
    return KEEL_OK;
}

static keel_status next(keel_reader *reader, keel_arena *arena, keel_read *out, keel_err *err) {
    return keel__sessions_next(reader, read_object, finish, arena, out, err);
}

static bool looks_like(const keel_sniff *sniff) {
    return sniff->shape != KEEL_SHAPE_TABLE &&
           (keel_formats_has(sniff, "resourceSpans") || keel_formats_has(sniff, "resourceLogs"));
}

const keel_reader_kind keel__otel_reader = {
    .looks_like = looks_like, .state_size = sizeof(state), .next = next, .close = keel__sessions_close};
