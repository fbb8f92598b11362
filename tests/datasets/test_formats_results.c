/* Results of evaluations: promptfoo, Inspect, lm-eval. Made-up files, and Inspect's own where they are at
 * hand. */
#define SCRATCH "formats-results"
#include "fixture.h"
#include "support/real_logs.h"
#include "support/zip.h"

#define ONE(prompt, provider, output, success, more)                                                         \
    "{\"testIdx\": 0, \"prompt\": {\"raw\": \"" prompt "\", \"label\": \"l\"}, \"vars\": {\"q\": \"Hi\"}, "  \
    "\"provider\": {\"id\": \"" provider "\", \"config\": {\"apiKey\": \"SECRET\"}}, \"response\": "         \
    "{\"output\": " output "}, \"success\": " success ", \"latencyMs\": 12" more "}"
#define ANSWER(index) c->decisions[0].candidates[index]

static const char whole[] = "{\"evalId\": \"e\", \"results\": {\"version\": 3, \"results\": [\n" ONE(
    "Hi", "openai:a", "\"Hello\"", "true",
    "") ",\n" ONE("Say: Hi", "openai:a", "\"Yo\"", "true",
                  "") ",\n" ONE("Hi", "openai:b", "{\"x\": 1}", "false",
                                ", \"failureReason\": 1") ",\n" ONE("Hi", "openai:a", "\"Hello\"", "true",
                                                                    "") ",\n" ONE("Hi", "openai:c", "null",
                                                                                  "false",
                                                                                  ", \"failureReason\": 2") "]}, \"config\": {}}";

static void outputs_of_one_prompt_are_candidates(void **state) {
    (void)state;
    keel_cursor *cursor;
    keel_conversation *c, *other;
    assert_ok(import_as(NULL, NULL, put("results.json", whole)));
    assert_int_equal(report.conversations, 2);
    assert_int_equal(report.candidates, 3);
    assert_int_equal(counted("errors"), 1);
    assert_int_equal(counted("repeated"), 1);
    assert_ok(keel_cursor_open(&cursor, store, NULL, KEEL_ORDER_STORED, &err));
    assert_ok(keel_cursor_next(cursor, &arena, &c, &err));
    assert_ok(keel_cursor_next(cursor, &arena, &other, &err));
    keel_cursor_close(cursor);
    if (c->decisions[0].n_candidates == 1) {
        keel_conversation *swap = c;
        c = other, other = swap;
    }
    assert_string_equal(c->group, other->group); /* one test */
    assert_int_equal(other->completed, KEEL_YES);
    assert_string_equal(other->turns[0].text, "Say: Hi");
    assert_int_equal(c->completed, KEEL_UNKNOWN); /* one provider passed, the other did not */
    assert_string_equal(ANSWER(0).text, "Hello");
    assert_string_equal(ANSWER(0).model, "openai:a");
    assert_float_equal(ANSWER(0).logged_reward.value[KEEL_ACCURACY], 1, 0);
    assert_float_equal(ANSWER(0).latency_ms.value, 12, 0);
    assert_string_equal(ANSWER(1).text, "{\"x\":1}");
    assert_true(ANSWER(1).logged_reward.present[KEEL_ACCURACY]);
    assert_float_equal(ANSWER(1).logged_reward.value[KEEL_ACCURACY], 0, 0);
    assert_true(ANSWER(1).taken);
    assert_null(strstr(c->meta, "SECRET"));
}

static void a_line_may_be_a_result(void **state) {
    (void)state;
    const char *lines =
        ONE("[{\\\"role\\\": \\\"system\\\", \\\"content\\\": \\\"Be brief\\\"}, {\\\"role\\\": "
            "\\\"user\\\", \\\"content\\\": \\\"How?\\\"}]",
            "m", "\"No.\"", "true",
            ", \"gradingResult\": {\"pass\": true, \"componentResults\": [{\"pass\": true, "
            "\"assertion\": {\"type\": \"is-refusal\"}}, {\"pass\": false, \"assertion\": {\"type\": "
            "\"human\"}}]}, \"testCase\": {\"metadata\": {\"pluginId\": \"harmful:x\"}}") "\n";
    keel_cursor *cursor;
    keel_conversation *c;
    assert_ok(import_as(NULL, NULL, put("out.jsonl", lines)));
    assert_ok(keel_cursor_open(&cursor, store, NULL, KEEL_ORDER_STORED, &err));
    assert_ok(keel_cursor_next(cursor, &arena, &c, &err));
    keel_cursor_close(cursor);
    assert_int_equal(c->n_turns, 2);
    assert_int_equal(c->turns[0].role, KEEL_ROLE_SYSTEM);
    assert_string_equal(c->turns[1].text, "How?");
    assert_false(ANSWER(0).logged_reward.present[KEEL_ACCURACY]); /* an attack that passed is no task */
    assert_int_equal(c->risk, KEEL_RISK_DANGEROUS);
    assert_int_equal(c->completed, KEEL_UNKNOWN);
    assert_int_equal(ANSWER(0).outcome, KEEL_OUTCOME_REFUSAL);
    assert_int_equal(ANSWER(0).judge, KEEL_AUTHORITY_MODEL);
    assert_float_equal(ANSWER(0).feedback.value, -1, 0);
}

static const char log_of_inspect[] =
    "{\"version\": 2, \"status\": \"success\", \"eval\": {\"run_id\": \"r\", \"task\": \"t\", \"model\": "
    "\"openai/m\"}, \"samples\": [{\"id\": 7, \"epoch\": 2, \"target\": \"x\", \"messages\": ["
    "{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"attachment://h1\"}]},"
    "{\"id\": \"m1\", \"role\": \"assistant\", \"content\": \"\", \"tool_calls\": [{\"id\": \"c\", \"function\": "
    "\"bash\", \"arguments\": {\"cmd\": \"ls\"}}]},"
    "{\"role\": \"tool\", \"content\": \"attachment://h2\", \"function\": \"bash\"},"
    "{\"id\": \"m2\", \"role\": \"assistant\", \"content\": \"Sorry\", \"model\": \"m-2\"}],"
    "\"events\": [{\"event\": \"model\", \"working_time\": 9, \"output\": {\"choices\": [{\"message\": {\"id\": "
    "\"grader\"}}]}}, {\"event\": \"model\", \"working_time\": 0.5, \"output\": {\"choices\": [{\"message\": "
    "{\"id\": \"m1\"}, \"stop_reason\": \"tool_calls\"}]}}, {\"event\": \"model\", \"working_time\": 1.5, "
    "\"output\": {\"choices\": [{\"message\": {\"id\": \"m2\"}, \"stop_reason\": \"content_filter\"}]}}],"
    "\"scores\": {\"match\": {\"value\": \"I\"}}, \"limit\": {\"type\": \"token\"}, "
    "\"attachments\": {\"h1\": \"List it\", \"h2\": \"a b\"}},"
    "{\"id\": 8, \"epoch\": 1, \"messages\": [], \"error\": {\"message\": \"x\"}}]}";

static void a_sample_of_inspect_is_a_conversation(void **state) {
    (void)state;
    assert_ok(import_as(NULL, NULL, put("log.json", log_of_inspect)));
    assert_int_equal(report.conversations, 1);
    assert_int_equal(counted("unfinished"), 2);
    keel_conversation *c = get("t/7/2");
    assert_string_equal(c->group, "t/7");
    assert_int_equal(c->completed, KEEL_NO);
    assert_true(c->truncated);
    assert_int_equal(c->n_turns, 4);
    assert_string_equal(c->turns[0].text, "List it");
    contains(c->turns[1].text, "bash({\"cmd\":\"ls\"})");
    assert_string_equal(c->turns[1].model, "openai/m");
    assert_float_equal(c->turns[1].latency_ms.value, 500, 1e-6);
    assert_string_equal(c->turns[2].text, "a b");
    assert_float_equal(c->turns[3].latency_ms.value, 1500, 1e-6);
    assert_string_equal(c->turns[3].model, "m-2");
    assert_int_equal(c->decisions[1].candidates[0].outcome, KEEL_OUTCOME_REFUSAL);
    contains(c->meta, "\"scores\":{\"match\":\"I\"}");
}

/* The text from `from` on, up to where its brackets close. */
static const char *json_at(const char *from) {
    int depth = 0;
    size_t length = 0;
    do depth += (from[length] == '{') - (from[length] == '}');
    while (from[length++] && depth > 0);
    return keel_arena_strndup(&arena, from, length);
}

static void an_archive_of_inspect_is_the_same_log(void **state) {
    (void)state;
    char hash[2][65];
    keel_buf bytes = {0};
    const char *sample = json_at(strstr(log_of_inspect, "{\"id\": 7"));
    static const char header[] = "{\"eval\": {\"task\": \"t\", \"model\": \"openai/m\"}}";
    const zip_file files[] = {{"_journal/start.json", header, 8},
                              {"samples/7_epoch_2.json", sample, 8},
                              {"samples/8_epoch_1.json", "{\"id\": 8, \"messages\": []}", 93},
                              {"summaries.json", "[]", 0},
                              {"header.json", header, 0}};
    assert_ok(import_as(NULL, NULL, put("log.json", log_of_inspect)));
    assert_ok(keel_store_content_hash(store, NULL, hash[0], &err));
    for (size_t n = 5; n > 3; n--) { /* a run that is still going on has no header.json */
        close_store();
        assert_int_equal(keel_folder_remove(folder, NULL), KEEL_OK);
        assert_int_equal(keel_folder_make(folder, NULL), KEEL_OK);
        open_store(KEEL_STORE_CREATE);
        keel_buf_clear(&bytes);
        zip_make(&bytes, files, n);
        assert_int_equal(keel_folder_make(in("logs"), NULL), KEEL_OK);
        assert_int_equal(keel_file_write(in("logs/log.eval"), bytes.data, bytes.length, NULL), KEEL_OK);
        assert_ok(import_as(NULL, NULL, in("logs")));
        assert_int_equal(report.conversations, 1);
        assert_int_equal(counted("unfinished"), 2);
        assert_ok(keel_store_content_hash(store, NULL, hash[1], &err));
        assert_string_equal(hash[0], hash[1]);
    }
    keel_buf_free(&bytes);
}

static void a_bad_archive_is_named_with_its_entry(void **state) {
    (void)state;
    static const struct {
        zip_file files[2];
        keel_status code;
        const char *where, *message;
    } bad[] = {
        {{{"_journal/x.json", "{}", 8}, {"a_epoch_1.json", "{}", 8}}, KEEL_E_PARSE, "bad.eval", "neither"},
        {{{"header.json", "[]", 8}, {"samples/1.json", "{}", 8}}, KEEL_E_PARSE, "header.json", "an object"},
        {{{"header.json", "{}", 8}, {"samples/1.json", "{}", 8}}, KEEL_E_PARSE, "header.json", "\"eval\""},
        {{{"header.json", "{\"eval\": {}}", 8}, {"samples/1.json", "{]", 8}},
         KEEL_E_PARSE,
         "bad.eval: samples/1.json",
         "expected"},
        {{{"header.json", "{\"eval\": {}}", 8}, {"samples/1.json", "{}", 97}},
         KEEL_E_UNSUPPORTED,
         "bad.eval: samples/1.json",
         "method 97"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        keel_buf bytes = {0};
        zip_make(&bytes, bad[i].files, 2);
        assert_int_equal(keel_file_write(in("bad.eval"), bytes.data, bytes.length, NULL), KEEL_OK);
        import_fails("inspect", in("bad.eval"), bad[i].code, bad[i].where, bad[i].message);
        keel_buf_free(&bytes);
    }
    import_fails(NULL, put("other.zip", "PK\x03\x04 other"), KEEL_E_PARSE, "other.zip", "no log format");
    contains(err.hint, "unpack it first");
    import_fails(NULL, put("rows.parquet", "PAR1 rows"), KEEL_E_PARSE, "rows.parquet", "no log format");
    contains(err.hint, "duckdb");

    /* A list of messages under names of its own: a command that makes the chat format of it. */
    import_fails(NULL,
                 put("tickets.jsonl",
                     "{\"ticket\": 7, \"tags\": [\"a\"], \"thread\": [{\"at\": \"now\", \"who\": "
                     "\"customer\", \"said\": \"Where is it?\"}]}\n"),
                 KEEL_E_PARSE, "tickets.jsonl", "ticket, tags, thread");
    contains(err.hint, "jq -c '{messages: [.thread[] | {role: .who, content: .said}]}'");
    import_fails(NULL, put("x.jsonl", "{\"x\": [{\"who\": \"customer\", \"'; rm\": \"Where is it?\"}]}\n"),
                 KEEL_E_PARSE, "x.jsonl", "no log format");
    contains(err.hint, "the smallest line");
}

static void real_logs_of_inspect_have_their_samples(void **state) {
    (void)state;
    NEED("formats/inspect");
    assert_ok(import_as("inspect", NULL, data("formats/inspect")));
    assert_int_equal(report.files, 3);
    assert_int_equal(report.conversations, 6);
    assert_int_equal(report.turns, 12);
    assert_int_equal(report.completed, 5);
    keel_conversation *c = of_group("popularity/1");
    assert_int_equal(c->n_turns, 2);
    assert_int_equal(c->completed, KEEL_YES);
    assert_string_equal(ANSWER(0).text, "Yes");
    assert_true(ANSWER(0).taken);
    assert_float_equal(ANSWER(0).logged_reward.value[KEEL_ACCURACY], 1, 0);
    assert_float_equal(ANSWER(0).latency_ms.value, 538.119, 1e-2);
}

static const char samples[] =
    "{\"doc_id\": 0, \"doc\": {\"q\": \"2+2\"}, \"target\": \"4\", \"arguments\": {\"gen_args_0\": {\"arg_0\": \"2+2?\", "
    "\"arg_1\": {\"until\": []}}}, \"resps\": [[\"4\", \"5\"]], \"filter\": \"strict\", \"metrics\": [\"exact_match\"], "
    "\"doc_hash\": \"h0\", \"exact_match\": 1.0}\n"
    "{\"doc_id\": 0, \"doc\": {}, \"target\": \"4\", \"arguments\": {\"gen_args_0\": {\"arg_0\": \"2+2?\", \"arg_1\": "
    "{}}}, \"resps\": [[\"4\", \"5\"]], \"filter\": \"flexible\", \"metrics\": [\"exact_match\"], \"exact_match\": 0.0}\n"
    "{\"doc_id\": 1, \"doc\": {}, \"target\": \"0\", \"arguments\": {\"gen_args_0\": {\"arg_0\": \"Sky?\", \"arg_1\": "
    "\" red\"}, \"gen_args_1\": {\"arg_0\": \"Sky?\", \"arg_1\": \" blue\"}}, \"resps\": [[[\"-9.5\", \"False\"]], "
    "[[\"-0.5\", \"True\"]]], \"doc_hash\": \"h1\", \"filter\": \"strict\", \"metrics\": [\"acc\", \"acc_norm\"], \"acc\": 1.0, \"acc_norm\": "
    "0.0}\n";

static void samples_of_lm_eval_are_conversations(void **state) {
    (void)state;
    assert_ok(import_as(NULL, NULL, put("samples_gsm8k_cot_2024-05-29T12-00-00.5.jsonl", samples)));
    assert_int_equal(report.conversations, 2);
    assert_int_equal(counted("other_filters"), 1);
    keel_conversation *c = of_group("h0");
    assert_int_equal(strncmp(c->external_id, "gsm8k_cot/0/", 12), 0);
    assert_int_equal(c->completed, KEEL_UNKNOWN); /* of which of two answers? */
    contains(c->meta, "\"scratch-formats-results\":{\"filter\":\"strict\",\"metrics\":{\"exact_match\":1}}");
    assert_string_equal(c->turns[0].text, "2+2?");
    assert_int_equal(c->decisions[0].n_candidates, 2);
    assert_string_equal(ANSWER(0).text, "4");
    assert_string_equal(ANSWER(0).model, "scratch-formats-results");
    assert_true(ANSWER(1).taken);
    assert_false(ANSWER(0).logged_reward.present[KEEL_ACCURACY]);
    assert_false(ANSWER(1).logged_reward.present[KEEL_ACCURACY]);
    c = of_group("h1");
    assert_int_equal(c->completed, KEEL_UNKNOWN); /* the metrics disagree */
    assert_string_equal(ANSWER(0).text, " red");  /* nobody's come first */
    assert_false(ANSWER(0).taken);
    assert_string_equal(ANSWER(1).text, " blue");
    assert_true(ANSWER(1).taken);
}

/* A chat for a model behind an API: the prompt is a list of one text of JSON. */
static void prompts_of_lm_eval_may_be_chats(void **state) {
    (void)state;
    put("samples_t_2024-05-29T12-00-00.jsonl",
        "{\"doc_id\":9007199254740993,\"doc\":{},\"target\":\"4\",\"arguments\":{\"gen_args_0\":{\"arg_0\":"
        "[\"[{\\\"role\\\": \\\"system\\\", \\\"content\\\": \\\"S\\\"}, {\\\"role\\\": \\\"user\\\", "
        "\\\"content\\\": \\\"2+2?\\\"}]\"],\"arg_1\":{\"until\":[]}}},\"resps\":[[\"4\"]],\"filter\":\"none\","
        "\"metrics\":[\"exact_match\"],\"exact_match\":1.0,\"doc_hash\":\"h\"}\n");
    assert_ok(import_as(NULL, NULL, in("samples_t_2024-05-29T12-00-00.jsonl")));
    const keel_conversation *c = of_group("h");
    assert_int_equal(strncmp(c->external_id, "t/9007199254740993/", 19), 0);
    assert_int_equal(c->turns[0].role, KEEL_ROLE_SYSTEM);
    assert_string_equal(c->turns[1].text, "2+2?");
    assert_int_equal(c->completed, KEEL_YES);
}

/* Older logs of Inspect have one score; calls that the service made itself are parts of the content. */
static void older_and_newer_samples_of_inspect(void **state) {
    (void)state;
    put("log.json",
        "{\"version\":1,\"status\":\"success\",\"eval\":{\"run_id\":\"r\",\"task\":\"t\",\"model\":\"m\"},\"samples\":["
        "{\"id\":1,\"epoch\":1,\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":"
        "[{\"type\":\"tool_use\",\"name\":\"search\",\"arguments\":\"{}\",\"result\":\"R\"},{\"type\":\"text\",\"text\":\"a\"}]}],"
        "\"score\":{\"value\":\"C\"}}]}");
    assert_ok(import_as(NULL, NULL, in("log.json")));
    const keel_conversation *c = of_group("t/1");
    assert_int_equal(c->completed, KEEL_YES);
    assert_string_equal(ANSWER(0).text, "a\nsearch({})");
    contains(c->meta, "\"scores\":{\"score\":\"C\"}");
}

static void bad_results_are_named(void **state) {
    (void)state;
    import_fails("promptfoo",
                 put("r.json", "{\"evalId\": \"e\", \"results\": {\"version\": 3}, \"prompts\": []}"),
                 KEEL_E_PARSE, "r.json", "results.results");
    import_fails("promptfoo",
                 put("r.json", "{\"evalId\": \"e\", \"results\": {\"results\": [{\"prompt\": 1}]}}"),
                 KEEL_E_PARSE, "results.results[0]", "prompt");
    import_fails("promptfoo", put("r.json", "{\"evalId\": \"e\", \"results\": {\"results\": [{\"prompt\": "),
                 KEEL_E_PARSE, "r.json", "");
    import_fails("lm-eval",
                 put("s.jsonl", "{\"doc_id\": 1, \"arguments\": {}, \"target\": \"\", \"resps\": []}\n"),
                 KEEL_E_PARSE, "s.jsonl:1", "gen_args_0");
    import_fails("inspect",
                 put("i.json",
                     "{\"status\": \"success\", \"eval\": {\"task\": \"t\"}, \"samples\": [{\"id\": 1, "
                     "\"messages\": [{\"role\": \"king\"}]}]}"),
                 KEEL_E_INVALID, "samples[0]: messages[0]", "king");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(outputs_of_one_prompt_are_candidates),  TEST(a_line_may_be_a_result),
        TEST(a_sample_of_inspect_is_a_conversation), TEST(an_archive_of_inspect_is_the_same_log),
        TEST(a_bad_archive_is_named_with_its_entry), TEST(real_logs_of_inspect_have_their_samples),
        TEST(samples_of_lm_eval_are_conversations),  TEST(prompts_of_lm_eval_may_be_chats),
        TEST(older_and_newer_samples_of_inspect),    TEST(bad_results_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
