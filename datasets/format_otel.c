/* OpenTelemetry with the attributes of generative AI, as OTLP in JSON: {"resourceSpans": [{"scopeSpans":
 * [{"spans":
 * [{"attributes", "events", ...}]}]}]} or the same of logs, one object or one a line. A call of a model is a
 * span, an event of it or a log record with gen_ai.input.messages and gen_ai.output.messages, or the older
 * gen_ai.prompt.0.content and gen_ai.completion.0.content (OpenInference: llm.input_messages.0.message...),
 * or a span with an event, or a log record, for each message (gen_ai.user.message, gen_ai.choice; before,
 * gen_ai.content.prompt). Several output messages are candidates. The call
 * of an agent (invoke_agent) counts where its trace has no call of a model with messages. Events
 * gen_ai.evaluation.result belong to the answer of their span or response: what a user said of it is
 * feedback, what names an outcome is a label by a model. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/decimal.h"
#include "datasets/otel.h"

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

/* A log record that is one message of a call. */
typedef struct message_record {
    const cJSON *owner;
    const char *trace, *span, *where;
    size_t number; /* as they came */
} message_record;

typedef struct state {
    keel__sessions sessions;
    evaluation *evaluations;
    agent_call *agents;
    const char **traces; /* that have calls of models */
    message_record *records;
    size_t n_evaluations, evaluations_capacity, n_agents, agents_capacity, n_traces, traces_capacity,
        n_records, records_capacity;
} state;

/* ---- calls ---- */

static double nanoseconds(const cJSON *object, const char *key) {
    const cJSON *item = keel_json_get(object, key);
    char *end;
    if (cJSON_IsNumber(item)) return item->valuedouble;
    return cJSON_IsString(item) ? keel_decimal_read(item->valuestring, &end) : 0;
}

static bool is_operation(const cJSON *attributes, const char *name) {
    const char *operation = keel__otel_text(attributes, "gen_ai.operation.name");
    return operation && strcmp(operation, name) == 0;
}

static bool is_call(const cJSON *attributes) {
    return !is_operation(attributes, "execute_tool") && !is_operation(attributes, "create_agent") &&
           !is_operation(attributes, "embeddings");
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

/* A call whose messages were read. owner: its span, or the record of its answer; id: of the conversation,
 * NULL: the trace is one. */
static keel_status give_call(state *s, const cJSON *owner, const char *id, keel__call *call, keel_err *err) {
    keel__value build = {.arena = &s->sessions.arena};
    const cJSON *own = keel_json_get(owner, "attributes");
    const char *model, *trace = keel__string_at(owner, "traceId");
    const double start = nanoseconds(owner, "startTimeUnixNano"), end = nanoseconds(owner, "endTimeUnixNano");
    call->time = start > 0 ? start : nanoseconds(owner, "timeUnixNano");
    call->session = id ? id : trace && trace[0] ? trace : NULL;
    if (!call->session) return keel_fail(err, KEEL_E_PARSE, call->where, "expected a traceId of a span");
    if (!(model = keel__otel_text(own, "gen_ai.response.model")))
        model = keel__otel_text(own, "gen_ai.request.model");
    if (!model) model = keel__otel_text(own, "llm.model_name");
    for (cJSON *answer = call->answers->child; answer; answer = answer->next)
        keel__value_put_text(&build, answer, "model", model);
    if (start > 0 && end >= start)
        keel__value_put(&build, call->answers->child, "latency_ms",
                        keel__value_number(&build, (end - start) / 1e6));
    if (build.failed) return keel_nomem(err, call->where);
    const agent_call made = {*call, trace, keel__string_at(owner, "spanId"),
                             keel__otel_text(own, "gen_ai.response.id")};
    return is_operation(own, "invoke_agent") ? keep_agent(s, &made, err) : keep_call(s, &made, err);
}

/* owner: the span or record; attributes: its own, or those of an event in it. *found: they hold messages. */
static keel_status add_call(state *s, const cJSON *owner, const cJSON *attributes, bool *found,
                            const char *where, keel_err *err) {
    const char *id = keel__otel_text(keel_json_get(owner, "attributes"), "gen_ai.conversation.id");
    keel__call call = {.where = where};
    KEEL_TRY(keel__otel_read(&s->sessions, attributes, &call, err));
    *found = call.history->child && call.answers->child;
    if (!id) id = keel__otel_text(attributes, "gen_ai.conversation.id");
    return *found ? give_call(s, owner, id, &call, err) : KEEL_OK;
}

static keel_status begin_call(state *s, const char *where, keel__call *out, keel_err *err) {
    keel__value build = {.arena = &s->sessions.arena};
    *out = (keel__call){.where = where};
    out->history = keel__value_array(&build);
    out->answers = keel__value_array(&build);
    return build.failed ? keel_nomem(err, where) : KEEL_OK;
}

/* A span with an event for each message. */
static keel_status add_call_of_events(state *s, const cJSON *owner, bool *found, const char *where,
                                      keel_err *err) {
    const cJSON *events = keel_json_get(owner, "events");
    const char *id = keel__otel_text(keel_json_get(owner, "attributes"), "gen_ai.conversation.id");
    keel__call call;
    bool answers;
    KEEL_TRY(begin_call(s, where, &call, err));
    for (const cJSON *event = cJSON_IsArray(events) ? events->child : NULL; event; event = event->next) {
        if (keel__otel_is_message(event, &answers))
            KEEL_TRY(keel__otel_add_event(&s->sessions, &call, event, err));
    }
    *found = call.history->child && call.answers->child;
    return *found ? give_call(s, owner, id, &call, err) : KEEL_OK;
}

/* ---- records of single messages ---- */

static const char *or_none(const char *name) {
    return name ? name : "";
}

static keel_status keep_record(state *s, const cJSON *owner, const char *where, keel_err *err) {
    if (!keel_arena_grow(&s->sessions.arena, &s->records, s->n_records, &s->records_capacity,
                         sizeof *s->records))
        return keel_nomem(err, where);
    s->records[s->n_records] = (message_record){.owner = owner,
                                                .trace = or_none(keel__string_at(owner, "traceId")),
                                                .span = or_none(keel__string_at(owner, "spanId")),
                                                .where = where,
                                                .number = s->n_records};
    s->n_records++;
    return KEEL_OK;
}

static int compare_spans(const message_record *x, const message_record *y) {
    const int traces = strcmp(x->trace, y->trace);
    return traces ? traces : strcmp(x->span, y->span);
}

static int compare_records(const void *a, const void *b) {
    const message_record *x = a, *y = b;
    const int spans = compare_spans(x, y);
    return spans ? spans : (x->number > y->number) - (x->number < y->number);
}

/* The records of a span up to its answers, from the one at *at on, which goes behind them. */
static keel_status add_call_of_records(keel_reader *reader, size_t *at, keel_err *err) {
    state *s = reader->state;
    const size_t from = *at;
    const message_record *first = &s->records[from], *last = first;
    const char *id = NULL;
    keel__call call;
    bool answers;
    KEEL_TRY(begin_call(s, first->where, &call, err));
    for (; *at < s->n_records && compare_spans(first, &s->records[*at]) == 0; ++*at) {
        keel__otel_is_message(s->records[*at].owner, &answers);
        if (call.answers->child && !answers) break;
        last = &s->records[*at];
        KEEL_TRY(keel__otel_add_event(&s->sessions, &call, last->owner, err));
        if (!id) id = keel__otel_text(keel_json_get(last->owner, "attributes"), "gen_ai.conversation.id");
    }
    if (call.history->child && call.answers->child) return give_call(s, last->owner, id, &call, err);
    reader->counts[WITHOUT_MESSAGES] += (int64_t)(*at - from);
    return KEEL_OK;
}

static keel_status use_records(keel_reader *reader, keel_err *err) {
    state *s = reader->state;
    if (s->n_records) qsort(s->records, s->n_records, sizeof *s->records, compare_records);
    for (size_t at = 0; at < s->n_records;) KEEL_TRY(add_call_of_records(reader, &at, err));
    return KEEL_OK;
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
    const char *response = keel__otel_text(attributes, "gen_ai.response.id");
    evaluation made = {.names = {response, keel__string_at(owner, "spanId")}};
    made.said = keel__value_object(&build);
    keel__value_put_text(&build, made.said, "name", keel__otel_text(attributes, "gen_ai.evaluation.name"));
    keel__value_put_same(&build, made.said, "value",
                         number_of(keel__otel_attribute(attributes, "gen_ai.evaluation.score.value")));
    keel__value_put_text(&build, made.said, "label",
                         keel__otel_text(attributes, "gen_ai.evaluation.score.label"));
    keel__value_put_text(&build, made.said, "explanation",
                         keel__otel_text(attributes, "gen_ai.evaluation.explanation"));
    if (build.failed || !keel_arena_grow(build.arena, &s->evaluations, s->n_evaluations,
                                         &s->evaluations_capacity, sizeof *s->evaluations))
        return keel_nomem(err, where);
    s->evaluations[s->n_evaluations++] = made;
    return KEEL_OK;
}

static bool is_evaluation(const cJSON *event) {
    const char *name = keel__otel_event_name(event);
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
    KEEL_TRY(use_records(reader, err));
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
    state *s = reader->state;
    const cJSON *events = keel_json_get(owner, "events"), *own = keel_json_get(owner, "attributes");
    bool found = false, answers;
    if (!cJSON_IsObject(owner))
        return keel_fail(err, KEEL_E_PARSE, where, "expected a span or a record to be an object");
    if (is_evaluation(owner)) return add_evaluation(s, owner, owner, where, err);
    if (keel_json_get(owner, "body") && keel__otel_is_message(owner, &answers))
        return keep_record(s, owner, where, err);
    const bool call = is_call(own);
    if (call) KEEL_TRY(add_call(s, owner, own, &found, where, err));
    for (const cJSON *event = cJSON_IsArray(events) ? events->child : NULL; event; event = event->next) {
        if (is_evaluation(event))
            KEEL_TRY(add_evaluation(s, owner, event, where, err));
        else if (call && !found)
            KEEL_TRY(add_call(s, owner, keel_json_get(event, "attributes"), &found, where, err));
    }
    if (call && !found) KEEL_TRY(add_call_of_events(s, owner, &found, where, err));
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
