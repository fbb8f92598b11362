/* What is met in logs as people have them, kind by kind: each line is a log and what must be found in the
 * store, or the error and what it says to do. No format is named: all are known by their content. */
#define SCRATCH "log-kinds"
#include <sqlite3.h>

#include "fixture.h"

#define Q            "{\"role\":\"user\",\"content\":\"q\"}"
#define A(rest)      "{\"role\":\"assistant\"," rest "}"
#define LOG(m)       "{\"messages\":[" m "]}\n"
#define WITH(m, x)   "{\"messages\":[" m "]," x "}\n"
#define ROLE(role)   LOG(Q ",{\"role\":\"" role "\",\"content\":\"a\"}")
#define SAID         A("\"content\":\"a\"")
#define BOTH(result) "\"request\":{\"model\":\"m\",\"messages\":[" Q "]},\"response\":" result

#define ANSWER                                                                                               \
    "SELECT coalesce(text, (SELECT text FROM turns t WHERE t.position = 1)) || '/' || outcome FROM candidates"
#define TURNS     "SELECT group_concat(role || ':' || text, '|') FROM (SELECT * FROM turns ORDER BY position)"
#define ROLES     "SELECT group_concat(role) FROM (SELECT * FROM turns ORDER BY position)"
#define META      "SELECT meta FROM conversations"
#define TRUNCATED "SELECT truncated FROM conversations"
#define ID        "SELECT external_id FROM conversations"
#define CANDIDATES                                                                                           \
    "SELECT group_concat(t || '/' || coalesce(feedback, ''), '|') FROM (SELECT coalesce(text, '') AS t, "    \
    "feedback FROM candidates ORDER BY id)"

static const struct {
    const char *log, *asked, *found;
} good[] = {
    /* the service marked a refusal */
    {LOG(Q "," A("\"content\":[{\"type\":\"refusal\",\"refusal\":\"No.\"}]")), ANSWER, "No./3"},
    {LOG(Q "," A(
         "\"content\":[{\"type\":\"text\",\"text\":\"Hm.\"},{\"type\":\"refusal\",\"refusal\":\"No.\"}]")),
     ANSWER, "Hm.\nNo./3"},
    {LOG(Q "," A("\"content\":\"\",\"refusal\":\"No.\"")), ANSWER, "No./3"},
    {LOG(Q "," A("\"content\":[],\"refusal\":\"No.\"")), ANSWER, "No./3"},
    {LOG(Q "," A("\"content\":null,\"refusal\":\"No.\"")), ANSWER, "No./3"},
    {LOG(Q "," A("\"content\":\"\",\"stop_reason\":\"refusal\"")), ANSWER, "/3"},
    {LOG(Q "," A("\"content\":\"\",\"finish_reason\":\"content_filter\"")), ANSWER, "/3"},
    {WITH(Q "," SAID, "\"stop_reason\":\"refusal\""), ANSWER, "a/3"},
    {"{" BOTH(
         "{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}],\"stop_reason\":\"refusal\"}") "}\n",
     ANSWER, "a/3"},
    /* cut off */
    {LOG(Q "," A("\"content\":\"a\",\"finish_reason\":\"length\"")), TRUNCATED, "1"},
    {LOG(Q "," A("\"content\":\"a\",\"stop_reason\":\"max_tokens\"")), TRUNCATED, "1"},
    {WITH(Q "," SAID, "\"finish_reason\":\"length\""), TRUNCATED, "1"},
    {WITH(Q "," SAID, "\"finish_reason\":\"stop\""), TRUNCATED, "0"},
    {"{" BOTH("{\"choices\":[{\"message\":" SAID ",\"finish_reason\":\"length\"}]}") "}\n", TRUNCATED, "1"},
    /* digits */
    {WITH(Q "," SAID, "\"user\":1174926740395241507"), META, "{\"user\":1174926740395241507}"},
    {WITH(Q "," SAID, "\"x\":{\"y\":[-9007199254740993]}"), META, "{\"x\":{\"y\":[-9007199254740993]}}"},
    {WITH(Q "," SAID, "\"id\":1174926740395241507"), ID, "1174926740395241507"},
    {WITH(Q "," SAID, "\"id\":12345678901234567890123"), ID, "12345678901234567890123"},
    /* the half that matters */
    {WITH(Q "," SAID, "\"system\":\"S\""), TURNS, "0:S|1:q|2:a"},
    {WITH(Q "," SAID, "\"system\":[{\"type\":\"text\",\"text\":\"S\"}]"), TURNS, "0:S|1:q|2:a"},
    {WITH(Q "," SAID, "\"system_prompt\":\"S\""), TURNS, "0:S|1:q|2:a"},
    {WITH(Q "," SAID, "\"instructions\":\"S\""), TURNS, "0:S|1:q|2:a"},
    {WITH(Q, "\"response\":\"a\""), TURNS, "1:q|2:a"},
    {WITH(Q, "\"response\":{\"content\":[{\"type\":\"text\",\"text\":\"a\"}]}"), TURNS, "1:q|2:a"},
    {WITH(Q, "\"completion\":\"a\""), TURNS, "1:q|2:a"},
    {WITH(Q, "\"output\":" SAID), TURNS, "1:q|2:a"},
    {WITH(Q, "\"answer\":\"a\""), TURNS, "1:q|2:a"},
    {WITH(Q, "\"choices\":[{\"message\":" SAID "}],\"model\":\"m\""), TURNS, "1:q|2:a"},
    {WITH(Q "," SAID, "\"output\":\"of another step\""), META, "{\"output\":\"of another step\"}"},
    {"{" BOTH("{\"choices\":[{\"message\":" SAID "}]}") "}\n", TURNS, "1:q|2:a"},
    {"{" BOTH("\"a\"") ",\"trace\":7}\n", META, "{\"trace\":7,\"request\":{\"model\":\"m\"}}"},
    {LOG(Q "," A(
         "\"content\":[{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"w\",\"input\":{}}]") ",{\"role\":\"user\","
                                                                                           "\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"t\",\"content\":[{\"type\":\"text\",\"text\":\"3\"}]}]}"),
     TURNS, "1:q|2:w({})|3:3"},
    {LOG(Q "," A("\"content\":null,\"function_call\":{\"name\":\"w\",\"arguments\":\"{}\"}")), TURNS,
     "1:q|2:w({})"},
    {LOG(Q "," A("\"content\":\"a\",\"weight\":0")), "SELECT count(*) FROM candidates", "0"},
    /* newer and other writers' shapes of content */
    {LOG("{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":{\"value\":\"q\",\"annotations\":[]}}]}," SAID),
     TURNS, "1:q|2:a"},
    {LOG(Q "," A("\"content\":null,\"audio\":{\"id\":\"x\",\"data\":\"AA\",\"transcript\":\"a\"}")), TURNS,
     "1:q|2:a"},
    {LOG(Q "," A("\"content\":null,\"tool_calls\":[],\"finish_reason\":\"length\"")), ANSWER, "/0"},
    {LOG(Q "," A("\"content\":null,\"refusal\":null")), ANSWER, "/0"},
    {LOG(Q "," A(
         "\"content\":null,\"tool_calls\":[{\"type\":\"custom\",\"custom\":{\"name\":\"w\",\"input\":\"x\"}}]")),
     TURNS, "1:q|2:w(x)"},
    {LOG("{\"type\":\"human\",\"content\":\"q\"},{\"type\":\"ai\",\"content\":[{\"type\":\"tool_use\",\"name\":\"w\",\"input\":{}}],"
         "\"tool_calls\":[{\"name\":\"w\",\"args\":{}}]},{\"type\":\"tool\",\"content\":\"3\"},{\"type\":\"ai\",\"content\":\"a\"}"),
     TURNS, "1:q|2:w({})|3:3|2:a"},
    {LOG(Q "," A(
         "\"content\":[{\"text\":\"a\"},{\"toolUse\":{\"name\":\"w\",\"input\":{}}}]") ",{\"role\":\"user\",\"content\":[{\"toolResult\":{\"content\":[{\"text\":\"3\"}]}}]}"),
     TURNS, "1:q|2:a\nw({})|3:3"},
    {LOG(Q "," A(
         "\"content\":[{\"type\":\"server_tool_use\",\"name\":\"w\",\"input\":{}},{\"type\":\"text\",\"text\":\"a\"}]")),
     TURNS, "1:q|2:a\nw({})"},
    {LOG(Q "," A("\"parts\":[{\"text\":\"hm\",\"thought\":true},{\"text\":\"a\"}]")), TURNS, "1:q|2:a"},
    {LOG(Q
         ",{\"type\":\"function_call\",\"name\":\"w\",\"arguments\":\"{}\"},{\"type\":\"function_call_output\",\"output\":\"3\"}," SAID),
     TURNS, "1:q|2:w({})|3:3|2:a"},
    {LOG("{\"role\":\"tool\",\"content\":{\"temp\":3}},{\"role\":\"assistant\",\"content\":{\"content_type\":\"text\",\"parts\":[\"a\",null]}}"),
     TURNS, "3:{\"temp\":3}|2:a"},
    /* other words for the end of an answer */
    {WITH(Q "," SAID, "\"stopReason\":\"guardrail_intervened\""), ANSWER, "a/3"},
    {LOG(Q "," A("\"content\":\"\",\"finishReason\":\"PROHIBITED_CONTENT\"")), ANSWER, "/3"},
    {"{" BOTH("{\"message\":" SAID ",\"done_reason\":\"length\"}") "}\n", TRUNCATED, "1"},
    {WITH(Q, "\"response\":\"a\",\"finish_reason\":\"length\""), TRUNCATED, "1"},
    /* replies of services */
    {"{" BOTH(
         "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]},\"finishReason\":\"SAFETY\"}]}") "}\n",
     ANSWER, "a/3"},
    {"{" BOTH("{\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}") "}\n", ANSWER, "/3"},
    {"{" BOTH("{\"error\":{\"code\":\"content_filter\",\"status\":400}}") "}\n", ANSWER, "/3"},
    {"{" BOTH("{\"error\":{\"code\":\"rate_limit_exceeded\"}}") "}\n", TURNS, "1:q"},
    {"{" BOTH("{}") "}\n", TURNS, "1:q"},
    {"{" BOTH(
         "{\"choices\":[{\"message\":{\"role\":\"assistant\",\"content\":null},\"finish_reason\":\"length\"}]}") "}\n",
     TURNS, "1:q|2:"},
    {"{\"request\":{\"model\":\"m\",\"instructions\":\"S\",\"input\":[" Q
     ",{\"type\":\"reasoning\",\"summary\":[]}]},"
     "\"response\":{\"output\":[{\"type\":\"reasoning\",\"content\":[{\"type\":\"reasoning_text\",\"text\":\"hm\"}]},"
     "{\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"a\"}]},"
     "{\"type\":\"function_call\",\"name\":\"w\",\"arguments\":\"{}\"}]}}\n",
     TURNS, "0:S|1:q|2:a\nw({})"},
    {"{\"request\":{\"input\":\"q\"},\"response\":{\"output\":[{\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"a\"}]}],"
     "\"incomplete_details\":{\"reason\":\"max_output_tokens\"}}}\n",
     TRUNCATED, "1"},
    /* what is known of an answer beside it */
    {WITH(Q, "\"response\":\"a\",\"model\":\"m\",\"latency_ms\":640"),
     "SELECT model || '/' || latency_ms FROM candidates", "m/640.0"},
    /* what Keel itself wrote is taken as it stands */
    {WITH(Q, "\"keel\":{\"source\":\"other\"},\"output\":\"of a program\""), META,
     "{\"output\":\"of a program\"}"},
    /* roles */
    {ROLE("function"), ROLES, "1,3"},
    {ROLE("ipython"), ROLES, "1,3"},
    {ROLE("observation"), ROLES, "1,3"},
    {ROLE("function_response"), ROLES, "1,3"},
    {ROLE("ASSISTANT"), ROLES, "1,2"},
    {ROLE("Bot"), ROLES, "1,2"},
    {ROLE("ai"), ROLES, "1,2"},
    {ROLE("model"), ROLES, "1,2"},
    {ROLE("gpt"), ROLES, "1,2"},
    {ROLE("human"), ROLES, "1,1"},
    {ROLE("prompter"), ROLES, "1,1"},
    {ROLE("Customer"), ROLES, "1,1"},
    {ROLE("developer"), ROLES, "1,0"},
    {ROLE(" assistant "), ROLES, "1,2"},
    /* values as other tools write them */
    {WITH(Q "," SAID, "\"risk\":\"Dangerous\""), "SELECT risk FROM conversations", "2"},
    {LOG(Q "," A("\"content\":\"a\",\"outcome\":\"Refusal\"")), ANSWER, "a/3"},
    {LOG(Q "," A("\"content\":\"a\",\"feedback\":\"UP\"")), CANDIDATES, "/1.0"},
    {LOG(Q "," A("\"content\":\"a\",\"feedback\":true")), CANDIDATES, "/1.0"},
    {LOG(Q "," A("\"content\":\"a\",\"latency_ms\":\"640\"")), "SELECT latency_ms FROM candidates", "640.0"},
    {LOG(Q "," A("\"content\":\"a\",\"propensity\":1.0000001")), "SELECT propensity FROM candidates", "1.0"},
    /* formats */
    {"{\"id\":\"x\",\"conversations\":[{\"from\":\"human\",\"value\":\"q\"},{\"from\":\"gpt\",\"value\":\"a\"}]}\n",
     TURNS, "1:q|2:a"},
    {"[{\"conversation\":[{\"from\":\"human\",\"value\":\"q\"},{\"from\":\"gpt\",\"value\":\"a\"}]}]", TURNS,
     "1:q|2:a"},
    {"{\"prompt\":\"q\",\"chosen\":\"a\",\"rejected\":\"b\"}\n", CANDIDATES, "a/1.0|b/-1.0"},
    {"{\"conversation_hash\":\"h\",\"model\":\"m\",\"toxic\":true,\"conversation\":[" Q "," SAID "]}\n",
     TURNS, "1:q|2:a"},
    {"{\"instruction\":\"q\",\"input\":\"\",\"output\":\"a\",\"history\":[[\"h\",\"i\"]]}\n", TURNS,
     "1:h|2:i|1:q|2:a"},
    {"{\n  \"messages\": [\n    " Q ",\n    " SAID "\n  ]\n}\n", TURNS, "1:q|2:a"},
    {"\xEF\xBB\xBFprompt,response\r\nq,a\r\n", TURNS, "1:q|2:a"},
    {"[" LOG(Q "," SAID) "]", TURNS, "1:q|2:a"},
    /* tables as spreadsheets and scripts write them */
    {"sep=;\r\nprompt;response\r\nq;a\r\n", TURNS, "1:q|2:a"},
    {"prompt|response|risk\nq, r|a; b|benign\n", TURNS, "1:q, r|2:a; b"},
    {"Prompt,Response,RISK\nq,a,Dangerous\n", "SELECT risk FROM conversations", "2"},
    {"{\"Question\":\"q\",\"Answer\":\"a\",\"Model\":\"m\"}\n", "SELECT model FROM candidates", "m"},
    {"{\"Prompt\":\"p\",\"prompt\":\"q\",\"response\":\"a\"}\n", TURNS, "1:q|2:a"},
    {" prompt , response\nq,a\n", TURNS, "1:q|2:a"},
    {"prompt,response\n\nq,a\n\r\n\n", TURNS, "1:q|2:a"},
    {"prompt,response,response, response\nq,a,b,c\n", META, "{\"response.1\":\"b\",\"response.2\":\"c\"}"},
    {"prompt,response,risk\nq,a,Dangerous\n", "SELECT risk FROM conversations", "2"},
    {"prompt,response,risk\nq,a,Unharmful\n", "SELECT risk FROM conversations", "1"},
    {"prompt,response,outcome\nq,a,Partial Refusal\n", "SELECT outcome FROM candidates", "2"},
    {"prompt,response,feedback\nq,a,Thumbs Up\n", "SELECT feedback FROM candidates", "1.0"},
    {"{\"instruction\":\"q\",\"output\":\"a\",\"kto_tag\":false}\n", "SELECT feedback FROM candidates",
     "-1.0"},
};

static void ask(const char *sql, char found[1024]) {
    sqlite3 *db;
    sqlite3_stmt *row;
    assert_int_equal(sqlite3_open(in("store.db"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &row, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(row), SQLITE_ROW);
    const char *text = (const char *)sqlite3_column_text(row, 0);
    snprintf(found, 1024, "%s", text ? text : "NULL");
    sqlite3_finalize(row);
    sqlite3_close(db);
}

static void what_a_log_says_is_in_the_store(void **state) {
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        char found[1024];
        end_test(state);
        begin_test(state);
        const keel_status status = import_as(NULL, NULL, put("in.log", good[i].log));
        if (status != KEEL_OK) print_error("%s%s: %s\n", good[i].log, err.where, err.message);
        assert_int_equal(status, KEEL_OK);
        ask(good[i].asked, found);
        if (strcmp(found, good[i].found) != 0) print_error("%s", good[i].log);
        assert_string_equal(found, good[i].found);
    }
}

static const struct {
    const char *log;
    size_t length; /* 0: that of the text */
    const char *message, *hint;
} bad[] = {
    {"{\"messages\":NaN}\n", 0, "got 'N'", "allow_nan=False"},
    {LOG(Q ",{\"role\":\"assistant\",\"content\":\"a\\ud83d\"}"), 0, "lone surrogate", "\\ufffd"},
    {"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", 0, "", "git lfs pull"},
    {"\xFF\xFE{\0\"\0m\0\"\0", 10, "", "iconv -f UTF-16"},
    {"PK\x03\x04 a zip", 0, "", "unpack it first"},
    {"PAR1 a table", 0, "", "duckdb"},
    {LOG(Q "," A("\"content\":\"a\",\"reward\":5")), 0, "got 5", "divide by the largest"},
    {LOG(Q "," A("\"content\":\"a\",\"feedback\":-3")), 0, "got -3", "divide by the largest"},
    {LOG(Q "," A("\"content\":\"a\",\"propensity\":1.01")), 0, "got 1.01", ""},
    {LOG(Q "," A("\"content\":\"a\",\"latency_ms\":\"640ms\"")), 0, "got \"640ms\"", "write 640"},
    {LOG(Q "," A("\"content\":\"a\",\"latency_ms\":\"0.64 s\"")), 0, "got \"0.64 s\"", "write 0.64"},
    {LOG(Q "," A("\"content\":\"a\",\"feedback\":\"thumbs_up\"")), 0, "thumbs_up", "write up"},
    {LOG(Q "," A("\"content\":\"a\",\"outcome\":\"refused\"")), 0, "refused", "call what was answered"},
    {WITH(Q "," SAID, "\"risk\":\"unsafe\""), 0, "unsafe", "dangerous"},
    {ROLE("king"), 0, "king", "other tools use"},
    {LOG("{\"sender\":\"User\",\"text\":\"q\"}"), 0, "got nothing", "stands in \"role\""},
    {"{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},]}\n", 0, "got ']'", "a comma stands before"},
    {"[{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}]},]", 0, "got ']'", "a comma stands before"},
    {"{\"messages\":[{\"role\":\"user\",\"content\":\"q\",}]}\n", 0, "got '}'", "a comma stands before"},
    {"{\"id\":\"a\",\"id\":\"b\",\"messages\":[]}\n", 0, "stands twice", "keep one of the two"},
    {LOG("{\"role\":\"user\",\"content\":\"a\\u0000b\"}"), 0, "cannot hold NUL", "take \\u0000 out"},
    {"{\"messages\": ['q']}\n", 0, "got '\''", "json.dumps"},
    {"{\"custom_id\":\"a\",\"response\":{\"body\":{}}}\n", 0, "which has custom_id",
     "requests and responses"},
    {"{\"custom_id\":\"a\",\"method\":\"POST\",\"body\":{}}\n", 0, "which has custom_id",
     "requests and responses"},
    {"\xEF\xBB\xBF"
     "Anfrage;Antwort\r\nHallo;Ja\r\n",
     0, "which has Anfrage, Antwort", "--columns prompt=NAME"},
    {LOG(Q "," A("\"content\":\"a\",\"propensity\":-0.2")), 0, "got -0.2", "a logarithm"},
    {"{\"messages\":\"[]\"}\n", 0, "got a string", "jq -c '.messages |= fromjson'"},
    {WITH(Q, "\"response\":[]"), 0, "expected an answer: a text", ""},
    {"{\"custom_id\":\"a\",\"result\":{}}\n", 0, "which has custom_id", ".result.message"},
    {"p\0r\0o\0m\0", 8, "no log format", "iconv -f UTF-16LE"},
    {"{'messages': []}\n", 0, "no log format", "json.dumps"},
    {WITH(Q, "\"ok\":True"), 0, "got 'T'", "json.dumps"},
    {"{\"messages\":[" Q "]},\n{\"messages\":[" Q "]},\n", 0, "got ','", "no comma between lines"},
    {"data: {\"messages\":[" Q "]}\n", 0, "lines of text", "sed 's/^[^{]*//'"},
    {"prompt,response\nsay \"q\",a\n", 0, "a quote inside", "double those in it"},
    {"prompt,response\nq\0x,a\n", 22, "a NUL byte at byte 17", "tr -d"},
    {"prompt,response\ncaf\xE9,a\n", 0, "invalid UTF-8 at byte 19", "iconv"},
    {"prompt,response,latency_ms\nq,a,\"1,234\"\n", 0, "got \"1,234\"", "without a comma"},
    {"prompt,response,latency_ms\nq,a,NaN\n", 0, "got \"NaN\"", "write null"},
    {"{\"status\":\"success\",\"eval\":{\"task\":\"t\"},\"samples\":[{\"id\":NaN}]}", 0, "got 'N'",
     "allow_nan=False"},
    {"{\n \"messages\": [" Q "]\n}\n{\n \"messages\": [" Q "]\n}\n", 0, "nothing more", "jq -c"},
    {"[" Q "," SAID "]", 0, "which has role, content",
     "jq -c '{messages: [.[] | {role: .role, content: .content}]}'"},
    {"[[" Q "," SAID "]]", 0, "a JSON array", "jq -c '.[] | {messages: [.[] |"},
    {"[{\"name\":\"n\",\"chat_messages\":[{\"uuid\":\"0f3a-22\",\"text\":\"q\",\"sender\":\"human\"}]}]", 0,
     "chat_messages", "jq -c '.[] | {messages: [.chat_messages[] | {role: .sender, content: .text}]}'"},
    {"{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"q\"}]}]}\n", 0, "contents",
     "{role: .role, content: .parts}"},
    {"{\"request_body\":{},\"response_body\":{}}\n", 0, "request_body", "request: .request_body"},
    {"{\"name\":\"chat\",\"context\":{},\"attributes\":{}}\n", 0, "context", "OTLP"},
    {"{\"dialogue\":[]}\n", 0, "which has dialogue", "smallest line"},
    {"{\"mesages\":[]}\n", 0, "which has mesages", "nearest format is chat"},
};

static void what_cannot_be_read_says_how_it_is_mended(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const size_t length = bad[i].length ? bad[i].length : strlen(bad[i].log);
        assert_int_equal(keel_file_write(in("in.log"), bad[i].log, length, NULL), KEEL_OK);
        assert_int_not_equal(import_as(NULL, NULL, in("in.log")), KEEL_OK);
        contains(err.message, bad[i].message);
        contains(err.hint, bad[i].hint);
        contains(err.where, "in.log");
    }
}

static void keys_in_the_wrong_place_are_counted(void **state) {
    (void)state;
    static const char *const logs[] = {
        WITH(Q "," SAID, "\"reward\":1"), WITH(Q "," SAID, "\"latency_ms\":9"),
        WITH(Q "," SAID, "\"feedback\":\"up\""),
        LOG("{\"role\":\"user\",\"content\":\"q\",\"risk\":\"dangerous\"}," SAID),
        LOG(Q "," A("\"content\":\"a\",\"completed\":true"))};
    for (size_t i = 0; i < sizeof logs / sizeof *logs; i++) {
        assert_ok(import_as(NULL, NULL, put("in.log", logs[i])));
        assert_int_equal(counted("misplaced"), 1);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(what_a_log_says_is_in_the_store),
        TEST(what_cannot_be_read_says_how_it_is_mended),
        TEST(keys_in_the_wrong_place_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
