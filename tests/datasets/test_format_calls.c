/* Logs of chat services: FastChat's server, Langfuse, OpenTelemetry, WildChat, llm. */
#define SCRATCH "format-calls"
#include <sqlite3.h>

#include "fixture.h"

static const keel_candidate *find(const keel_decision *decision, const char *text) {
    for (size_t k = 0; k < decision->n_candidates; k++)
        if (strcmp(decision->candidates[k].text, text) == 0) return &decision->candidates[k];
    fail_msg("no candidate says \"%s\"", text);
    return NULL;
}

static void is_optional(keel_optional got, double value) {
    assert_true(got.present);
    assert_true(got.value > value - 0.01 && got.value < value + 0.01);
}

static keel_conversation *only(void) {
    keel_conversation *conversation;
    assert_int_equal(report.conversations, 1);
    assert_ok(keel_store_conversation(store, 1, &arena, &conversation, &err));
    return conversation;
}

/* ---- FastChat ---- */

#define STATE(id, messages)                                                                                  \
    "{\"conv_id\":\"" id "\",\"roles\":[\"USER\",\"ASSISTANT\"],\"offset\":0,\"messages\":[" messages "]}"
#define CHAT(model, finish, state)                                                                           \
    "{\"tstamp\":1,\"type\":\"chat\",\"model\":\"" model "\",\"start\":9,\"finish\":" finish                 \
    ",\"ip\":\"1.2.3.4\",\"state\":" state "}\n"
#define HI    "[\"USER\",\"Hi\"],"
#define HELLO "[\"ASSISTANT\",\"Hello\"]"
#define HEY   "[\"ASSISTANT\",\"Hey\"]"
#define MORE  HI HELLO ",[\"USER\",\"And?\"],[\"ASSISTANT\",\"So\"]"

static void fastchat_keeps_the_longest_history(void **state) {
    (void)state;
    put("l.json",
        CHAT("m", "9.5", STATE("c", HI HELLO))
            CHAT("m", "9.75", STATE("c", MORE)) "{\"tstamp\":3,\"type\":\"upvote\",\"model\":\"m\",\"state\":" STATE(
                "c", MORE) "}\n"
                           "{\"tstamp\":4,\"type\":\"downvote\",\"model\":\"m\",\"state\":" STATE(
                               "c", MORE) "}\n"
                                          "{\"tstamp\":4,\"type\":\"clear\",\"state\":{}}\n" CHAT(
                                              "m", "9", STATE("d", "[\"USER\",\"Hi\"]")));
    assert_ok(import_as(NULL, NULL, in("l.json")));
    const keel_conversation *got = only();
    assert_string_equal(got->external_id, "c");
    assert_int_equal(got->n_turns, 4);
    is_optional(find(&got->decisions[0], "Hello")->latency_ms, 500);
    is_optional(find(&got->decisions[1], "So")->latency_ms, 750);
    is_optional(find(&got->decisions[1], "So")->feedback, -1); /* the later vote */
    assert_int_equal(counted("other_events"), 1);
    assert_int_equal(counted("no_answer"), 1);
    assert_null(strstr(got->meta ? got->meta : "", "1.2.3.4"));
}

static void fastchat_answers_of_two_models_are_candidates(void **state) {
    (void)state;
    put("l.json",
        CHAT("m1", "9.5", STATE("a", HI HELLO))
            CHAT("m2", "9.75", STATE("b", HI HEY)) "{\"tstamp\":3,\"type\":\"rightvote\",\"models\":[\"m1\",\"m2\"],\"states\":[" STATE(
                "a", HI HELLO) "," STATE("b", HI HEY) "]}\n");
    assert_ok(import_as(NULL, NULL, in("l.json")));
    const keel_decision *decision = &only()->decisions[0];
    assert_int_equal(decision->n_candidates, 2);
    const keel_candidate *left = find(decision, "Hello"), *right = find(decision, "Hey");
    assert_string_equal(left->model, "m1");
    assert_string_equal(right->model, "m2");
    is_optional(left->feedback, -1);
    is_optional(right->feedback, 1);
    is_optional(right->latency_ms, 750);
    import_fails("fastchat", put("l.json", "{\"tstamp\":1,\"type\":\"chat\",\"state\":{\"messages\":[7]}}\n"),
                 KEEL_E_PARSE, "l.json:1", "messages of a role");
}

/* ---- Langfuse ---- */

static void langfuse_traces_with_their_scores(void **state) {
    (void)state;
    put("t.jsonl", "{\"id\":\"t1\",\"name\":\"chat\",\"input\":[{\"role\":\"user\",\"content\":\"Hi\"}],"
                   "\"output\":{\"role\":\"assistant\",\"content\":\"Hello\"},\"latency\":0.64,"
                   "\"scores\":[{\"name\":\"thumbs\",\"value\":1}],\"metadata\":{}}\n");
    assert_ok(import_as(NULL, NULL, in("t.jsonl")));
    const keel_conversation *got = only();
    assert_string_equal(got->external_id, "t1");
    is_optional(find(&got->decisions[0], "Hello")->latency_ms, 640);
    is_optional(find(&got->decisions[0], "Hello")->feedback, 1);
}

#define TURN1 "{\\\"role\\\":\\\"user\\\",\\\"content\\\":\\\"Hi\\\"}"
#define TURN2                                                                                                \
    TURN1                                                                                                    \
    ",{\\\"role\\\":\\\"assistant\\\",\\\"content\\\":\\\"Hello\\\"},{\\\"role\\\":\\\"user\\\",\\\"content\\\":\\\"And?\\\"}"
#define GENERATION(id, input, output, end)                                                                   \
    "{\"id\":\"" id "\",\"trace_id\":\"t-" id                                                                \
    "\",\"session_id\":\"s\",\"user_id\":\"secret\",\"type\":\"GENERATION\","                                \
    "\"start_time\":\"2026-03-01 10:00:0" id "\",\"end_time\":\"2026-03-01 10:00:0" end                      \
    "\",\"latency\":99,\"provided_model_name\":\"m\",\"input\":\"[" input "]\",\"output\":\"" output "\"}\n"

static void langfuse_observations_of_a_session_are_joined(void **state) {
    (void)state;
    put("o.jsonl",
        GENERATION("1", TURN1, "Hello", "1.500000") GENERATION("3", TURN2, "So", "3.25") GENERATION(
            "2", TURN1, "Hey",
            "2") "{\"id\":\"x\",\"trace_id\":\"t-1\",\"type\":\"SPAN\",\"input\":\"a\",\"output\":\"b\"}\n"
                 "{\"id\":\"s1\",\"trace_id\":\"t-3\",\"name\":\"user\",\"value\":0,\"data_type\":\"BOOLEAN\",\"source\":\"API\"}\n"
                 "{\"id\":\"s2\",\"trace_id\":\"t-1\",\"observation_id\":\"1\",\"name\":\"user\",\"value\":0.5,\"source\":\"ANNOTATION\"}\n"
                 "{\"id\":\"s3\",\"trace_id\":\"t-1\",\"name\":\"judge\",\"value\":1,\"source\":\"EVAL\"}\n");
    assert_ok(import_as(NULL, NULL, in("o.jsonl")));
    const keel_conversation *got = only();
    assert_string_equal(got->external_id, "s");
    assert_int_equal(got->n_turns, 4);
    assert_int_equal(got->decisions[0].n_candidates, 2);
    is_optional(find(&got->decisions[0], "Hello")->latency_ms, 500);
    is_optional(find(&got->decisions[0], "Hello")->feedback, 0.5);
    assert_true(find(&got->decisions[0], "Hello")->taken);
    assert_false(find(&got->decisions[0], "Hey")->taken);
    is_optional(find(&got->decisions[1], "So")->latency_ms, 250);
    is_optional(find(&got->decisions[1], "So")->feedback, -1);
    assert_string_equal(find(&got->decisions[1], "So")->model, "m");
    assert_int_equal(counted("other_observations"), 1);
    assert_int_equal(counted("scores_unused"), 1);
    assert_null(strstr(got->group, "secret"));
}

#define SCORE(trace, value)                                                                                  \
    "{\"id\":\"s\",\"trace_id\":\"" trace "\",\"name\":\"user\",\"value\":" value "}\n"

/* As the export to a storage of files writes them: a folder of observations, a folder of scores. */
static void langfuse_states_of_graphs_and_columns_of_scores(void **state) {
    (void)state;
    put("l.jsonl",
        "{\"id\":\"t1\",\"timestamp\":\"2024-01-01T00:00:00Z\",\"latency\":1.5,\"traceId\":\"t1\","
        "\"input\":{\"messages\":[{\"type\":\"human\",\"content\":\"Hi\",\"id\":\"1\"}]},"
        "\"output\":{\"messages\":[{\"type\":\"human\",\"content\":\"Hi\"},{\"type\":\"ai\",\"content\":\"Hello\"}]},"
        "\"tags\":[\"x\"],\"user-feedback\":[1],\"toxicity\":[0.2],\"empty\":null}\n"
        "{\"id\":\"g\",\"type\":\"GENERATION\",\"traceId\":\"t2\",\"input\":[{\"type\":\"human\",\"content\":\"Hi\"},"
        "{\"type\":\"ai\",\"content\":\"Ho\"},{\"type\":\"human\",\"content\":\"And?\"}],"
        "\"output\":{\"choices\":[{\"finish_reason\":\"length\",\"message\":{\"role\":\"assistant\",\"content\":\"So\"}}]}}\n"
        "{\"id\":\"h\",\"type\":\"GENERATION\",\"traceId\":\"t3\",\"input\":\"Go\","
        "\"output\":[{\"role\":\"assistant\",\"tool_calls\":[{\"name\":\"f\",\"args\":{}}]},"
        "{\"role\":\"tool\",\"content\":\"3\"},{\"role\":\"assistant\",\"content\":\"Three\"}]}\n");
    assert_ok(import_as(NULL, NULL, in("l.jsonl")));
    const keel_conversation *got = get("langfuse:t1");
    assert_int_equal(got->n_turns, 2);
    is_optional(find(&got->decisions[0], "Hello")->feedback, 1);
    is_optional(find(&got->decisions[0], "Hello")->latency_ms, 1500);
    contains(got->meta, "\"toxicity\":[0.2]");
    assert_int_equal(counted("scores_unused"), 1);
    got = get("langfuse:t2");
    assert_int_equal(got->turns[1].role, KEEL_ROLE_ASSISTANT);
    assert_int_equal(got->n_decisions, 2);
    assert_true(got->truncated);
    got = get("langfuse:t3");
    assert_int_equal(got->n_turns, 4);
    assert_string_equal(got->turns[1].text, "f({})");
    assert_string_equal(got->turns[3].text, "Three");
}

static void langfuse_scores_may_lie_in_other_files(void **state) {
    (void)state;
    static const char *const folders[] = {"x", "x/observations_v2", "x/scores", "alone"};
    for (int i = 0; i < 4; i++) assert_int_equal(keel_folder_make(in(folders[i]), NULL), KEEL_OK);
    put("x/observations_v2/day1.jsonl", GENERATION("1", TURN1, "Hello", "2"));
    put("x/observations_v2/day2.jsonl",
        "{\"id\":\"5\",\"trace_id\":\"t-5\",\"type\":\"GENERATION\",\"start_time\":\"2026-03-02 10:00:00\","
        "\"input\":\"Yo\",\"output\":\"Yes\"}\n"
        "{\"id\":\"6\",\"trace_id\":\"t-6\",\"type\":\"GENERATION\",\"start_time\":\"2026-03-02 10:00:00\","
        "\"input\":\"Yo\",\"output\":\"No\"}\n");
    assert_ok(import_as(NULL, NULL, in("x")));
    assert_int_equal(report.conversations, 3);
    put("x/scores/day2.jsonl", SCORE("t-5", "-1") SCORE("t-1", "1") SCORE("t-9", "1"));
    assert_ok(import_as(NULL, NULL, in("x")));
    assert_int_equal(report.files, 3);
    assert_int_equal(report.files_known, 2);
    assert_int_equal(report.conversations, 0);
    assert_int_equal(report.extended, 2);
    assert_int_equal(report.unchanged, 0); /* what was not scored is not read again */
    assert_int_equal(counted("scores_unused"), 1);
    is_optional(get("s")->decisions[0].candidates[0].feedback, 1);
    is_optional(get("t-5")->decisions[0].candidates[0].feedback, -1);
    assert_false(get("t-6")->decisions[0].candidates[0].feedback.present);
    import_fails(NULL, put("alone/s.jsonl", SCORE("t", "1")), KEEL_E_NOT_FOUND, "s.jsonl", "scores alone");
    contains(err.hint, "observations_v2/ beside scores/");
}

/* ---- OpenTelemetry ---- */

#define TEXT(key, value) "{\"key\":\"" key "\",\"value\":{\"stringValue\":\"" value "\"}}"
#define SPAN(start, end, attributes)                                                                         \
    "{\"traceId\":\"t\",\"spanId\":\"" start "\",\"startTimeUnixNano\":\"" start                             \
    "\",\"endTimeUnixNano\":\"" end "\",\"attributes\":[" attributes "]}"
#define SPANS(spans) "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[" spans "]}]}]}\n"
#define MESSAGE(role, text)                                                                                  \
    "{\\\"role\\\":\\\"" role "\\\",\\\"parts\\\":[{\\\"type\\\":\\\"text\\\",\\\"content\\\":\\\"" text     \
    "\\\"}]}"

static void otel_spans_of_a_conversation_are_joined(void **state) {
    (void)state;
    /* clang-format off */
    put("o.jsonl", SPANS(SPAN("1700000000000000000", "1700000000250000000", TEXT("gen_ai.conversation.id", "c") ","
             TEXT("gen_ai.request.model", "m") ","
             TEXT("gen_ai.input.messages", "[" MESSAGE("user", "Hi") "]") ","
             TEXT("gen_ai.output.messages", "[" MESSAGE("assistant", "Hello") "," MESSAGE("assistant", "Hey") "]")) "," SPAN("5", "6", TEXT("gen_ai.operation.name", "execute_tool"))) SPANS(SPAN("1700000001000000000", "1700000001500000000", TEXT("gen_ai.conversation.id", "c") ","
             TEXT("gen_ai.input.messages", "[" MESSAGE("user", "Hi") "," MESSAGE("assistant", "Hello") "," MESSAGE("user", "And?") "]") ","
             TEXT("gen_ai.output.messages", "[{\\\"role\\\":\\\"assistant\\\",\\\"parts\\\":[{\\\"type\\\":\\\"reasoning\\\",\\\"content\\\":\\\"hm\\\"},{\\\"type\\\":\\\"tool_call\\\",\\\"name\\\":\\\"f\\\",\\\"arguments\\\":{\\\"x\\\":1}}]}]"))));
    /* clang-format on */
    assert_ok(import_as(NULL, NULL, in("o.jsonl")));
    const keel_conversation *got = only();
    assert_string_equal(got->external_id, "c");
    assert_int_equal(got->n_turns, 4);
    assert_int_equal(got->decisions[0].n_candidates, 2);
    is_optional(find(&got->decisions[0], "Hello")->latency_ms, 250);
    assert_string_equal(find(&got->decisions[0], "Hey")->model, "m");
    is_optional(find(&got->decisions[1], "f({\"x\":1})")->latency_ms, 500);
    assert_int_equal(counted("without_messages"), 1);
}

#define ASKED_AND_SAID(question, answer)                                                                     \
    TEXT("gen_ai.input.messages", "[" MESSAGE("user", question) "]")                                         \
    "," TEXT("gen_ai.output.messages", "[" MESSAGE("assistant", answer) "]")
#define OPERATION(name) TEXT("gen_ai.operation.name", name)
#define SCORED(name, label, value)                                                                           \
    TEXT("gen_ai.evaluation.name", name)                                                                     \
    "," TEXT("gen_ai.evaluation.score.label",                                                                \
             label) ",{\"key\":\"gen_ai.evaluation.score.value\",\"value\":"                                 \
                    "{\"doubleValue\":" value "}}"
#define OF_TRACE(trace, span, operation, attributes, events)                                                 \
    "{\"traceId\":\"" trace "\",\"spanId\":\"" span                                                          \
    "\",\"startTimeUnixNano\":\"5\",\"attributes\":[" OPERATION(operation) "," attributes                    \
                                                                           "],\"events\":[" events "]}"
#define EVALUATED(attributes) "{\"name\":\"gen_ai.evaluation.result\",\"attributes\":[" attributes "]}"

/* A call of an agent is read where the calls of models within it have no messages; what is said of it,
 * always. */
static void otel_agents_and_evaluations(void **state) {
    (void)state;
    put("o.json",
        "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[" OF_TRACE(
            "a", "a1", "invoke_agent", ASKED_AND_SAID("Hi", "Hello"),
            EVALUATED(SCORED(
                "user_feedback", "up",
                "7"))) "," OF_TRACE("a", "a2", "chat", OPERATION("chat"),
                                    "") "," OF_TRACE("b", "b1", "invoke_agent",
                                                     ASKED_AND_SAID("Yo", "Yes, agent"),
                                                     EVALUATED(SCORED(
                                                         "Human rating", "",
                                                         "-0.5"))) "," OF_TRACE("b", "b2", "chat",
                                                                                ASKED_AND_SAID("Yo", "Yes"),
                                                                                EVALUATED(
                                                                                    SCORED("harm", "Refused",
                                                                                           "1"))) "]}]}]}");
    assert_ok(import_as(NULL, NULL, in("o.json")));
    assert_int_equal(report.conversations, 2);
    assert_int_equal(counted("without_messages"), 1);
    assert_int_equal(counted("evaluations_unused"), 0);
    const keel_candidate *a = get("a")->decisions[0].candidates, *b = get("b")->decisions[0].candidates;
    assert_string_equal(a->text, "Hello");
    is_optional(a->feedback, 1);
    assert_int_equal(a->outcome, KEEL_OUTCOME_NONE);
    assert_int_equal(get("b")->decisions[0].n_candidates, 1);
    assert_string_equal(b->text, "Yes");
    is_optional(b->feedback, -0.5);
    assert_int_equal(b->outcome, KEEL_OUTCOME_REFUSAL);
    assert_int_equal(b->judge, KEEL_AUTHORITY_MODEL);
    contains(get("b")->meta, "\"name\":\"harm\"");
    put("l.json",
        "{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[{\"eventName\":\"gen_ai.evaluation.result\",\"spanId\":\"z\","
        "\"attributes\":[" SCORED(
            "user", "down",
            "0") "]},"
                 "{\"traceId\":\"c\",\"spanId\":\"c1\",\"timeUnixNano\":\"5\",\"attributes\":[" ASKED_AND_SAID(
                     "Ho",
                     "Hum") "]},"
                            "{\"eventName\":\"gen_ai.evaluation.result\",\"spanId\":\"c1\",\"attributes\":[" SCORED(
                                "user", "down", "0") "]}]}]}]}");
    assert_ok(import_as(NULL, NULL, in("l.json")));
    assert_int_equal(counted("evaluations_unused"), 1);
    is_optional(get("c")->decisions[0].candidates[0].feedback, -1);
}

static void otel_structured_events_and_numbered_attributes(void **state) {
    (void)state;
    put("o.json",
        SPANS(
            "{\"traceId\":\"t1\",\"attributes\":[],\"events\":[{\"attributes\":[{\"key\":\"gen_ai.input.messages\",\"value\":"
            "{\"arrayValue\":{\"values\":[{\"kvlistValue\":{\"values\":[" TEXT(
                "role",
                "user") ",{\"key\":\"parts\",\"value\":"
                        "{\"arrayValue\":{\"values\":[{\"kvlistValue\":{\"values\":[" TEXT("type", "text") "," TEXT(
                            "content",
                            "Hi") "]}}]}}}]}}]}}}," TEXT("gen_ai.output.messages",
                                                         "[" MESSAGE(
                                                             "assistant",
                                                             "Hello") "]") "]}]},"
                                                                           "{\"traceId\":\"t2\",\"attributes\":[" TEXT(
                                                                               "gen_ai.prompt.0.role",
                                                                               "user") "," TEXT("gen_ai.prompt.0.content",
                                                                                                "Yo") "," TEXT("gen_ai.completion.0.content",
                                                                                                               "Hi") "]}"));
    assert_ok(import_as(NULL, NULL, in("o.json")));
    assert_int_equal(report.conversations, 2);
    assert_string_equal(get("otel:t1")->turns[0].text, "Hi");
    assert_string_equal(get("otel:t1")->turns[1].text, "Hello");
    assert_string_equal(get("otel:t2")->turns[1].text, "Hi");
    import_fails("otel", put("o.json", "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[7]}]}]}\n"),
                 KEEL_E_PARSE, "o.json:1", "span");
}

/* Versions 1.26 to 1.36 of the conventions: an event, or a log record, for each message. */
#define LOGS(records) "{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[" records "]}]}]}\n"
#define BODY(members) "\"body\":{\"kvlistValue\":{\"values\":[" members "]}}"
#define RECORD(span, name, body)                                                                             \
    "{\"traceId\":\"t\",\"spanId\":\"" span "\",\"attributes\":[" TEXT("event.name", name) "]," body "}"
#define CHOICE(text, ended)                                                                                  \
    BODY(TEXT("finish_reason", ended) ",{\"key\":\"message\",\"value\":{\"kvlistValue\":{\"values\":[" TEXT( \
        "content", text) "]}}}")

static void otel_messages_may_be_events_or_records(void **state) {
    (void)state;
    /* clang-format off */
    put("e.json", SPANS("{\"traceId\":\"t1\",\"spanId\":\"s\",\"startTimeUnixNano\":\"1000000000\",\"endTimeUnixNano\":" "\"1250000000\",\"attributes\":[" TEXT("gen_ai.request.model", "m") "],\"events\":[" "{\"name\":\"gen_ai.user.message\",\"attributes\":[" TEXT("content", "Hi") "]},"
         "{\"name\":\"gen_ai.choice\",\"attributes\":[" TEXT("gen_ai.event.content", "{\\\"message\\\":{\\\"content\\\":\\\"Hello\\\"}}") "]}]},"
         "{\"traceId\":\"t2\",\"attributes\":[],\"events\":[" "{\"name\":\"gen_ai.content.prompt\",\"attributes\":[" TEXT("gen_ai.prompt", "[{\\\"role\\\":\\\"user\\\",\\\"content\\\":\\\"Yo\\\"}]") "]},"
         "{\"name\":\"gen_ai.content.completion\",\"attributes\":[" TEXT("gen_ai.completion", "Ho") "]}]}"));
    /* clang-format on */
    assert_ok(import_as(NULL, NULL, in("e.json")));
    const keel_conversation *got = get("otel:t1");
    assert_int_equal(got->n_turns, 2);
    assert_string_equal(got->turns[0].text, "Hi");
    is_optional(find(&got->decisions[0], "Hello")->latency_ms, 250);
    assert_string_equal(find(&got->decisions[0], "Hello")->model, "m");
    got = get("otel:t2");
    assert_string_equal(got->turns[0].text, "Yo");
    assert_string_equal(got->turns[1].text, "Ho");
    assert_int_equal(counted("without_messages"), 0);
}

/* Records of other spans may come between; the second call of a span begins behind the answer of the first.
 */
static void otel_records_of_a_span_are_one_call(void **state) {
    (void)state;
    /* clang-format off */
    put("r.json", LOGS(RECORD("a", "gen_ai.system.message", BODY(TEXT("content", "S"))) ","
         RECORD("b", "gen_ai.user.message", BODY(TEXT("content", "Alone"))) ","
         RECORD("a", "gen_ai.user.message", BODY(TEXT("content", "Hi"))) ","
         RECORD("a", "gen_ai.choice", CHOICE("No.", "content_filter")) ","
         RECORD("a", "gen_ai.system.message", BODY(TEXT("content", "S"))) ","
         RECORD("a", "gen_ai.user.message", BODY(TEXT("content", "Hi"))) ","
         RECORD("a", "gen_ai.assistant.message", BODY(TEXT("content", "No."))) ","
         RECORD("a", "gen_ai.user.message", BODY(TEXT("content", "Why?"))) ","
         RECORD("a", "gen_ai.user.message", "\"body\":{\"kvlistValue\":{\"values\":[]}}") ","
         RECORD("a", "gen_ai.choice", CHOICE("So.", "stop"))));
    /* clang-format on */
    assert_ok(import_as(NULL, NULL, in("r.json")));
    const keel_conversation *got = only();
    assert_string_equal(got->external_id, "t");
    assert_int_equal(got->n_turns, 5);
    assert_int_equal(got->turns[0].role, KEEL_ROLE_SYSTEM);
    assert_string_equal(got->turns[3].text, "Why?");
    assert_int_equal(find(&got->decisions[0], "No.")->outcome, KEEL_OUTCOME_REFUSAL);
    assert_string_equal(got->turns[4].text, "So.");
    assert_int_equal(counted("without_messages"), 1); /* the record of b */
}

static void otel_numbered_attributes_may_have_calls_without_content(void **state) {
    (void)state;
    /* clang-format off */
    put("n.json", SPANS("{\"traceId\":\"t1\",\"attributes\":[" TEXT("gen_ai.prompt.0.role", "user") ","
             TEXT("gen_ai.prompt.0.content", "Roll") ","
             TEXT("gen_ai.prompt.1.role", "assistant") ","
             TEXT("gen_ai.prompt.1.tool_calls.0.name", "roll") ","
             TEXT("gen_ai.prompt.1.tool_calls.0.arguments", "{}") ","
             TEXT("gen_ai.prompt.2.role", "tool") ","
             TEXT("gen_ai.prompt.2.content", "4") ","
             TEXT("gen_ai.completion.0.content", "A four") ","
             TEXT("gen_ai.completion.0.finish_reason", "length") "]},"
         "{\"traceId\":\"t2\",\"attributes\":[" TEXT("llm.input_messages.0.message.role", "user") ","
             TEXT("llm.input_messages.0.message.content", "Hi") ","
             TEXT("llm.model_name", "m") ","
             TEXT("llm.output_messages.0.message.role", "assistant") ","
             TEXT("llm.output_messages.0.message.tool_calls.0.tool_call.function.name", "f") "]}"));
    /* clang-format on */
    assert_ok(import_as(NULL, NULL, in("n.json")));
    const keel_conversation *got = get("otel:t1");
    assert_int_equal(got->n_turns, 4);
    assert_string_equal(got->turns[1].text, "roll({})");
    assert_int_equal(got->turns[2].role, KEEL_ROLE_TOOL);
    assert_true(got->truncated);
    got = get("otel:t2");
    assert_string_equal(got->turns[1].text, "f()");
    assert_string_equal(got->turns[1].model, "m");
}

static void otel_bytes_of_images_are_not_said(void **state) {
    (void)state;
    put("b.json",
        SPANS("{\"traceId\":\"t\",\"attributes\":[" TEXT(
            "gen_ai.input.messages",
            "[{\\\"role\\\":\\\"user\\\",\\\"parts\\\":[{\\\"type\\\":\\\"blob\\\","
            "\\\"mime_type\\\":\\\"image/png\\\",\\\"content\\\":\\\"iVBORw0K\\\"},"
            "{\\\"type\\\":\\\"text\\\",\\\"content\\\":\\\"Hi\\\"}]}]") "," TEXT("gen_ai.output.messages",
                                                                                  "[" MESSAGE(
                                                                                      "assistant",
                                                                                      "Hello") "]") "]}"));
    assert_ok(import_as(NULL, NULL, in("b.json")));
    const keel_conversation *got = only();
    assert_string_equal(got->turns[0].text, "Hi");
    contains(got->meta, "image/png");
    assert_null(strstr(got->meta, "iVBORw0K"));
}

/* ---- WildChat ---- */

static void wildchat_rows_name_model_and_conversation(void **state) {
    (void)state;
    put("w.jsonl",
        "{\"conversation_id\":\"w1\",\"model\":\"m\",\"conversation\":[{\"role\":\"user\",\"content\":\"Hi\","
        "\"toxic\":true,\"hashed_ip\":\"secret\"},{\"role\":\"assistant\",\"content\":\"Hello\"}],"
        "\"turn\":1,\"language\":\"English\",\"toxic\":true,\"redacted\":false,\"hashed_ip\":\"secret\","
        "\"openai_moderation\":[{\"flagged\":false}]}\n");
    assert_ok(import_as(NULL, NULL, in("w.jsonl")));
    const keel_conversation *got = get("wildchat:w1");
    assert_string_equal(got->turns[1].model, "m");
    assert_null(got->turns[0].model);
    assert_int_equal(got->risk, KEEL_RISK_UNKNOWN);
    contains(got->meta, "\"language\":\"English\"");
    contains(got->meta, "\"openai_moderation\"");
    assert_null(strstr(got->meta, "secret"));
    import_fails("wildchat", put("w.jsonl", "{\"conversation\":7,\"turn\":1}\n"), KEEL_E_PARSE, "w.jsonl:1",
                 "conversation");
    import_fails("wildchat", put("w.jsonl", "{\"conversation\":[7],\"turn\":1}\n"), KEEL_E_PARSE, "w.jsonl:1",
                 "object");
}

/* ---- llm ---- */

static const char *put_sql(const char *name, const char *sql) {
    sqlite3 *db;
    unlink(in(name));
    assert_int_equal(sqlite3_open(in(name), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    return in(name);
}

#define LLM                                                                                                  \
    "CREATE TABLE conversations (id TEXT PRIMARY KEY, name TEXT, model TEXT);"                               \
    "CREATE TABLE responses (id TEXT PRIMARY KEY, model TEXT, prompt TEXT, system TEXT, prompt_json TEXT, "  \
    "options_json TEXT, response TEXT, response_json TEXT, conversation_id TEXT, duration_ms INTEGER, "      \
    "datetime_utc TEXT);"

static void llm_tools_are_part_of_the_conversation(void **state) {
    (void)state;
    put_sql(
        "logs.db", LLM
        "CREATE TABLE tool_calls (id INTEGER PRIMARY KEY, response_id TEXT, tool_id INTEGER, name TEXT, "
        "arguments TEXT, tool_call_id TEXT);"
        "CREATE TABLE tool_results (id INTEGER PRIMARY KEY, response_id TEXT, tool_id INTEGER, name TEXT, "
        "output TEXT, tool_call_id TEXT, instance_id INTEGER, exception TEXT);"
        "INSERT INTO responses (id, model, prompt, response, conversation_id, datetime_utc) VALUES "
        "('r1', 'm', 'Weather?', NULL, 'c', '2026-01-01'), ('r2', 'm', '', 'Rain.', 'c', '2026-01-02');"
        "INSERT INTO tool_calls (response_id, name, arguments, tool_call_id) VALUES "
        "('r1', 'weather', '{\"at\": \"Ulm\"}', 't1'), ('r1', 'time', '{}', 't2');"
        "INSERT INTO tool_results (response_id, name, output, tool_call_id) VALUES "
        "('r2', 'weather', '3 degrees', 't1'), ('r2', 'time', NULL, 't2');");
    assert_ok(import_as(NULL, NULL, in("logs.db")));
    assert_int_equal(counted("tool_calls"), 0);
    const keel_conversation *c = get("c");
    assert_int_equal(c->n_turns, 5);
    assert_int_equal(c->turns[1].role, KEEL_ROLE_ASSISTANT);
    assert_string_equal(c->turns[1].text, "weather({\"at\": \"Ulm\"})\ntime({})");
    assert_int_equal(c->turns[2].role, KEEL_ROLE_TOOL);
    assert_string_equal(c->turns[2].text, "3 degrees");
    assert_string_equal(c->turns[3].text, "");
    assert_string_equal(c->turns[4].text, "Rain.");
    put_sql("logs.db", LLM "CREATE TABLE tool_calls (x); INSERT INTO tool_calls VALUES (1), (2);"
                           "INSERT INTO responses (id, prompt, response) VALUES ('r9', 'a', 'b');");
    assert_ok(import_as(NULL, NULL, in("logs.db")));
    assert_int_equal(counted("tool_calls"), 2);
    assert_int_equal(report.conversations, 1);
}

static void llm_databases_are_read(void **state) {
    (void)state;
    put_sql("logs.db",
            "PRAGMA journal_mode = WAL;" LLM
            "INSERT INTO responses (id, model, prompt, system, response, conversation_id, duration_ms, "
            "datetime_utc) VALUES ('r2', 'm', 'And?', 'Be brief', 'So', 'c1', 250, '2026-01-02'),"
            "('r1', 'm', 'Hi', 'Be brief', 'Hello', 'c1', 500, '2026-01-01'),"
            "('r3', 'n', 'Yo', NULL, 'Hey', NULL, NULL, '2026-01-01');");
    assert_ok(import_as(NULL, NULL, in("logs.db")));
    assert_int_equal(report.conversations, 2);
    const keel_conversation *got = get("llm:c1");
    assert_int_equal(got->n_turns, 5);
    assert_string_equal(got->turns[0].text, "Be brief");
    assert_string_equal(got->turns[2].text, "Hello");
    assert_string_equal(got->turns[2].model, "m");
    is_optional(find(&got->decisions[1], "So")->latency_ms, 250);
    assert_string_equal(get("llm:r3")->turns[1].text, "Hey");
}

static void other_sqlite_files_are_named(void **state) {
    (void)state;
    import_fails(NULL,
                 put_sql("a.db", "PRAGMA application_id = 1262830924; CREATE TABLE conversations (id);"),
                 KEEL_E_PARSE, "a.db", "this is a store of Keel");
    import_fails(NULL, put_sql("a.db", "CREATE TABLE x (id);"), KEEL_E_PARSE, "a.db",
                 "no table \"responses\"");
    import_fails(NULL, put_sql("a.db", "CREATE VIEW responses AS SELECT 1 AS id;"), KEEL_E_PARSE, "a.db",
                 "no table");
    import_fails(NULL, put_sql("a.db", "CREATE TABLE responses (id);"), KEEL_E_PARSE, "a.db",
                 "conversation_id");
    import_fails(
        NULL, put_sql("a.db", LLM "INSERT INTO responses (id, response) VALUES ('r', CAST(x'ff' AS TEXT));"),
        KEEL_E_PARSE, "conversation r", "response: invalid UTF-8");
    assert_int_equal(truncate(put_sql("a.db", LLM), 5000), 0);
    import_fails(NULL, in("a.db"), KEEL_E_PARSE, "a.db", "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(fastchat_keeps_the_longest_history),
        TEST(fastchat_answers_of_two_models_are_candidates),
        TEST(langfuse_traces_with_their_scores),
        TEST(langfuse_observations_of_a_session_are_joined),
        TEST(langfuse_states_of_graphs_and_columns_of_scores),
        TEST(langfuse_scores_may_lie_in_other_files),
        TEST(otel_spans_of_a_conversation_are_joined),
        TEST(otel_structured_events_and_numbered_attributes),
        TEST(otel_messages_may_be_events_or_records),
        TEST(otel_records_of_a_span_are_one_call),
        TEST(otel_numbered_attributes_may_have_calls_without_content),
        TEST(otel_bytes_of_images_are_not_said),
        TEST(otel_agents_and_evaluations),
        TEST(wildchat_rows_name_model_and_conversation),
        TEST(llm_databases_are_read),
        TEST(llm_tools_are_part_of_the_conversation),
        TEST(other_sqlite_files_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
