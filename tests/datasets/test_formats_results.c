/* Results of evaluations: promptfoo. Made-up files. */
#define SCRATCH "formats-results"
#include "fixture.h"

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
    assert_float_equal(ANSWER(0).feedback.value, 1, 0);
    assert_float_equal(ANSWER(0).latency_ms.value, 12, 0);
    assert_string_equal(ANSWER(1).text, "{\"x\":1}");
    assert_float_equal(ANSWER(1).feedback.value, -1, 0);
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
    assert_int_equal(c->n_turns, 3);
    assert_int_equal(c->turns[0].role, KEEL_ROLE_SYSTEM);
    assert_string_equal(c->turns[1].text, "How?");
    assert_int_equal(c->risk, KEEL_RISK_DANGEROUS);
    assert_int_equal(c->completed, KEEL_UNKNOWN);
    assert_int_equal(ANSWER(0).outcome, KEEL_OUTCOME_REFUSAL);
    assert_int_equal(ANSWER(0).judge, KEEL_AUTHORITY_MODEL);
    assert_float_equal(ANSWER(0).feedback.value, -1, 0);
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
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(outputs_of_one_prompt_are_candidates),
        TEST(a_line_may_be_a_result),
        TEST(bad_results_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
