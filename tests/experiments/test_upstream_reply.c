/* Replies of upstreams: texts as real servers send them (llama-cpp-python, vLLM, OpenAI), and those of
 * servers that are broken, or worse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/json.h"
#include "experiments/serve/upstream_reply.h"
#include "support/faults.h"

static keel_arena arena;
static keel_upstream_completion got;
static keel_err err;

static keel_status read_text(const char *text) {
    keel_arena_reset(&arena);
    err = (keel_err){0};
    char *alone = malloc(strlen(text) + 1);
    assert_non_null(alone);
    memcpy(alone, text, strlen(text) + 1);
    const keel_status status = keel_upstream_read(alone, strlen(text), &arena, &got, &err);
    free(alone); /* nothing of it is kept */
    return status;
}

/* A reply that is nothing but values takes many times its size while it is read, and not after. */
static void a_reply_does_not_stay(void **state) {
    (void)state;
    enum { ZEROS = 200000 };
    keel_buf body = {0};
    keel_buf_text(&body, "{\"model\":\"m\",\"choices\":[{\"message\":{\"content\":\"yes\"}}],\"zeros\":[0");
    for (int i = 0; i < ZEROS; i++) keel_buf_text(&body, ",0");
    keel_buf_text(&body, "]}");
    assert_false(body.failed);
    assert_int_equal(read_text(body.data), KEEL_OK);
    assert_string_equal(got.choices[0].text, "yes");
    assert_string_equal(got.model, "m");
    assert_true(arena.used < 10000);
    keel_arena_free(&arena);
    const char *says = keel_upstream_complaint(body.data, body.length, &arena);
    assert_string_equal(says, "");
    assert_true(arena.used < 10000);
    keel_buf_free(&body);
}

static void replies_of_real_servers_are_read(void **state) {
    (void)state;
    /* llama-cpp-python 0.3 */
    assert_int_equal(
        read_text(
            "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"smol\",\"choices\":[{\"index\":0,"
            "\"message\":{\"content\":\"Hello \\u00e4\\ud83d\\ude00\",\"role\":\"assistant\"},\"logprobs\":null,"
            "\"finish_reason\":\"length\"}],\"usage\":{\"prompt_tokens\":31,\"completion_tokens\":16,\"total_tokens\":47}}"),
        KEEL_OK);
    assert_int_equal(got.n, 1);
    assert_string_equal(got.model, "smol");
    assert_string_equal(got.choices[0].text, "Hello \xc3\xa4\xf0\x9f\x98\x80");
    assert_string_equal(got.choices[0].finish, "length");
    assert_null(got.choices[0].message);
    assert_int_equal(got.prompt_tokens, 31);
    assert_int_equal(got.completion_tokens, 16);
    /* vLLM: two choices, keys of its own, reasons of its own */
    assert_int_equal(
        read_text(
            "{\"id\":\"x\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"reasoning_content\":null,\"content\":\"A\","
            "\"tool_calls\":[]},\"finish_reason\":\"eos\",\"stop_reason\":null},{\"index\":1,\"message\":{\"content\":[{\"type\":"
            "\"text\",\"text\":\"B\"},{\"type\":\"image\"},{\"type\":\"text\",\"text\":\"C\"}]},\"finish_reason\":null}],"
            "\"usage\":{\"prompt_tokens\":3},\"error\":null}"),
        KEEL_OK);
    assert_int_equal(got.n, 2);
    assert_null(got.model);
    assert_string_equal(got.choices[0].finish, "stop");
    assert_string_equal(got.choices[1].text, "BC");
    assert_int_equal(got.completion_tokens, -1);
    /* OpenAI: a refusal, and calls of tools, whose arguments need not be JSON */
    assert_int_equal(
        read_text(
            "{\"choices\":[{\"message\":{\"content\":null,\"refusal\":\"No.\"},\"finish_reason\":\"stop\"},"
            "{\"message\":{\"content\":\"So\",\"tool_calls\":[{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":"
            "\"f\",\"arguments\":\"{\\\"x\\\": \"},\"extra\":1}]}}]}"),
        KEEL_OK);
    assert_string_equal(got.choices[0].text, "No.");
    assert_string_equal(got.choices[1].text, "So");
    assert_string_equal(got.choices[1].finish, "tool_calls");
    assert_string_equal(
        got.choices[1].message,
        "{\"role\":\"assistant\",\"content\":\"So\",\"tool_calls\":[{\"id\":\"a\",\"type\":\"function\","
        "\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\\\": \"}}]}");
}

static void what_is_no_reply_says_what_it_is(void **state) {
    (void)state;
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"", "no JSON"},
        {"<html><body>sign in</body></html>", "no JSON"},
        {"{\"choices\":[{\"message\":{\"content\":\"ha", "no JSON"},
        {"{\"choices\":[{\"message\":{\"content\":\"\xff\"}}]}", "no JSON"},
        {"{\"choices\":[{\"message\":{\"content\":\"\\ud800\"}}]}", "no JSON"},
        {"{\"choices\":[{\"message\":{\"content\":\"a\"}}],\"usage\":{\"prompt_tokens\":NaN}}", "no JSON"},
        {"{\"choices\":[],\"choices\":[{\"message\":{\"content\":\"a\"}}]}", "no JSON"},
        {"null", "no list"},
        {"[]", "no list"},
        {"7", "no list"},
        {"{}", "no list"},
        {"{\"choices\":\"many\"}", "no list"},
        {"{\"choices\":{}}", "no list"},
        {"{\"choices\":[]}", "no choice"},
        {"{\"choices\":[null,3,\"a\",[],{}]}", "no choice"},
        {"{\"choices\":[{\"message\":[]}]}", "no choice"},
        {"{\"choices\":[{\"message\":{\"content\":7}}]}", "no choice"},
        {"{\"choices\":[{\"message\":{\"content\":\"\"}}]}", "no choice"},
        {"{\"choices\":[{\"message\":{\"tool_calls\":[{\"id\":1}]}}]}", "no choice"},
        {"{\"choices\":[{\"message\":{\"tool_calls\":[{\"id\":\"a\",\"function\":[]}]}}]}", "no choice"},
        {"{\"error\":{\"message\":\"out\\nof\\u001border\"},\"choices\":[{\"message\":{\"content\":\"a\"}}]}",
         "an error: out of?order"},
        {"{\"error\":\"plain\"}", "an error: plain"},
        {"{\"error\":{}}", "an error: of no words"},
        {"{\"error\":true}", "an error: of no words"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(read_text(rows[i].text), KEEL_E_PARSE);
        if (!strstr(err.message, rows[i].says)) fail_msg("%s: %s", rows[i].text, err.message);
    }
    assert_int_equal(keel_upstream_read(NULL, 0, &arena, &got, &err), KEEL_E_PARSE);
}

static void numbers_of_tokens_are_numbers(void **state) {
    (void)state;
    static const char *const usages[] = {"-1", "1.5", "1e300", "\"7\"", "null", "[]", "true"};
    for (size_t i = 0; i < sizeof usages / sizeof *usages; i++) {
        char text[200];
        snprintf(
            text, sizeof text,
            "{\"choices\":[{\"message\":{\"content\":\"a\"}}],\"usage\":{\"prompt_tokens\":%s,\"completion_tokens\":0}}",
            usages[i]);
        assert_int_equal(read_text(text), KEEL_OK);
        assert_int_equal(got.prompt_tokens, -1);
        assert_int_equal(got.completion_tokens, 0);
    }
    assert_int_equal(read_text("{\"choices\":[{\"message\":{\"content\":\"a\"}}],\"usage\":[]}"), KEEL_OK);
    assert_int_equal(got.completion_tokens, -1);
}

static void choices_have_a_number(void **state) {
    (void)state;
    for (int n = KEEL_UPSTREAM_MOST_CHOICES; n <= KEEL_UPSTREAM_MOST_CHOICES + 1; n++) {
        keel_buf text = {0};
        keel_buf_text(&text, "{\"choices\":[");
        for (int i = 0; i < n; i++)
            keel_buf_format(&text, "%s{\"message\":{\"content\":\"%d\"}}", i ? "," : "", i);
        keel_buf_text(&text, "]}");
        assert_int_equal(read_text(text.data), n > KEEL_UPSTREAM_MOST_CHOICES ? KEEL_E_PARSE : KEEL_OK);
        keel_buf_free(&text);
    }
}

static void complaints_are_one_line(void **state) {
    (void)state;
    static const struct {
        const char *text, *says;
    } rows[] = {{"{\"error\":{\"message\":\"a\\nb\"}}", "a b"},
                {"{\"detail\":\"x\"}", "x"},
                {"{\"message\":\"y\"}", "y"},
                {"\"z\"", "z"},
                {"<html>", ""},
                {"{\"error\":7}", ""},
                {"", ""}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_string_equal(keel_upstream_complaint(rows[i].text, strlen(rows[i].text), &arena),
                            rows[i].says);
    keel_buf text = {0};
    keel_buf_text(&text, "{\"detail\":\"");
    for (int i = 0; i < 300; i++) keel_buf_text(&text, "\xc3\xa4");
    keel_buf_text(&text, "\"}");
    assert_int_equal(strlen(keel_upstream_complaint(text.data, text.length, &arena)), 200);
    keel_buf_free(&text);
}

/* ---- streams ---- */

#define CHUNK(rest)   "data: {\"choices\":[" rest "]}\n\n"
#define SAYS(i, text) CHUNK("{\"index\":" i ",\"delta\":{\"content\":\"" text "\"}}")
#define ENDS(i, why)  CHUNK("{\"index\":" i ",\"delta\":{},\"finish_reason\":" why "}")

static bool whole, done;
static keel_status read_stream(const char *text, size_t piece) {
    keel_upstream_stream *stream;
    keel_arena_reset(&arena);
    err = (keel_err){0};
    keel_status status = keel_upstream_stream_open(&stream, &err);
    for (size_t at = 0, n; status == KEEL_OK && at < strlen(text); at += n) {
        n = strlen(text) - at < piece ? strlen(text) - at : piece;
        status = keel_upstream_stream_take(stream, text + at, n, &err);
    }
    if (status == KEEL_OK) whole = keel_upstream_stream_whole(stream);
    if (status == KEEL_OK) done = keel_upstream_stream_done(stream);
    if (status == KEEL_OK) status = keel_upstream_stream_end(stream, &arena, &got, &err);
    keel_upstream_stream_close(stream);
    return status;
}

static void a_stream_is_put_together(void **state) {
    (void)state;
    static const char text[] = ": ping\n\n" CHUNK(
        "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":null},\"finish_reason\":null}")
        SAYS("0", "Hel") SAYS("1", "B\\u00e4") SAYS("0", "lo") ENDS("0", "\"length\"") ENDS(
            "1",
            "\"stop\"") "data: {\"choices\":[],\"model\":\"m\",\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\ndata: [DONE]\n\ndata: what?\n\n";
    for (size_t piece = 1; piece < sizeof text; piece += piece < 40 ? 1 : 101) {
        assert_int_equal(read_stream(text, piece), KEEL_OK);
        assert_true(whole && done);
        assert_int_equal(got.n, 2);
        assert_string_equal(got.choices[0].text, "Hello");
        assert_string_equal(got.choices[0].finish, "length");
        assert_string_equal(got.choices[1].text, "B\xc3\xa4");
        assert_string_equal(got.model, "m");
        assert_int_equal(got.prompt_tokens, 1);
        assert_int_equal(got.completion_tokens, 2);
    }
}

static void a_stream_calls_tools(void **state) {
    (void)state;
    static const char text[] = CHUNK(
        "{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}}")
        CHUNK(
            "{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"x\\\"\"}}]}}")
            CHUNK(
                "{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\":1}\"}},{\"index\":1,\"id\":\"b\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}]}}")
                ENDS("0", "\"tool_calls\"");
    assert_int_equal(read_stream(text, 7), KEEL_OK);
    assert_true(whole && !done);
    assert_string_equal(got.choices[0].text, "");
    assert_string_equal(
        got.choices[0].message,
        "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\","
        "\"arguments\":\"{\\\"x\\\":1}\"}},{\"id\":\"b\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}]}");
}

static void of_half_a_stream_the_finished_count(void **state) {
    (void)state;
    assert_int_equal(read_stream(SAYS("0", "whole") SAYS("1", "half") ENDS("0", "\"stop\""), 9), KEEL_OK);
    assert_false(whole);
    assert_int_equal(got.n, 1);
    assert_string_equal(got.choices[0].text, "whole");
    assert_int_equal(read_stream(SAYS("0", "half"), 9), KEEL_E_PARSE);
    assert_false(whole);
    assert_int_equal(read_stream(SAYS("0", "no reason") "data: [DONE]\n\n", 9), KEEL_OK);
    assert_true(whole);
}

static void a_stream_of_nonsense_is_an_error(void **state) {
    (void)state;
    static const char *const texts[] = {
        "",
        "<html>sign in</html>",
        "data: [DONE]\n\n",
        "data: {\n\n",
        "data: {\"error\":{\"message\":\"busy\"}}\n\n",
        "data: {\"choices\":7}\n\n",
        "data: \xff\n\n",
        CHUNK("7"),
        CHUNK("{\"index\":-1}"),
        CHUNK("{\"index\":64}"),
        CHUNK("{\"index\":1e99}"),
        CHUNK("{\"index\":\"0\"}"),
        CHUNK("{\"delta\":{\"tool_calls\":[7]}}"),
        CHUNK("{\"delta\":{\"tool_calls\":[{\"index\":1}]}}"),
        CHUNK(
            "{\"delta\":{\"tool_calls\":[{\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}},{\"index\":2,\"id\":\"b\"}]},\"finish_reason\":\"stop\"}"),
        CHUNK("{\"delta\":[],\"finish_reason\":\"stop\"}"),
        SAYS("0", "") ENDS("0", "\"stop\""),
        CHUNK("{\"delta\":{\"tool_calls\":[{\"id\":\"a\"}]},\"finish_reason\":\"tool_calls\"}"),
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (read_stream(texts[i], 5) != KEEL_E_PARSE) fail_msg("%s", texts[i]);
        assert_true(err.message[0] != '\0');
    }
}

/* Every allocation fails in turn: an error, and nothing is left. */
static void memory_runs_out(void **state) {
    (void)state;
    static const char body[] =
        "{\"model\":\"m\",\"choices\":[{\"message\":{\"content\":[{\"text\":\"a\"}],\"tool_calls\":[{\"id\":\"a\",\"function\":"
        "{\"name\":\"f\",\"arguments\":\"{}\"}}]}}]}";
    static const char chunks[] = CHUNK(
        "{\"index\":0,\"delta\":{\"content\":\"x\",\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}}")
        ENDS("0", "\"stop\"") "data: [DONE]\n\n";
    for (int kind = 0; kind < 2; kind++) {
        size_t fails = 0;
        for (size_t at = 1;; at++) {
            faults memory;
            keel_arena_free(&arena);
            faults_begin(&memory, at);
            const keel_status status = kind == 0 ? read_text(body) : read_stream(chunks, 11);
            if (status == KEEL_OK) assert_string_equal(got.choices[0].text, kind == 0 ? "a" : "x");
            keel_arena_free(&arena);
            faults_end();
            assert_int_equal(memory.live, 0);
            if (status == KEEL_OK) break;
            assert_int_equal(status, KEEL_E_NOMEM);
            fails++;
        }
        assert_true(fails > 1);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reply_does_not_stay),
        cmocka_unit_test(replies_of_real_servers_are_read),
        cmocka_unit_test(what_is_no_reply_says_what_it_is),
        cmocka_unit_test(numbers_of_tokens_are_numbers),
        cmocka_unit_test(choices_have_a_number),
        cmocka_unit_test(complaints_are_one_line),
        cmocka_unit_test(a_stream_is_put_together),
        cmocka_unit_test(a_stream_calls_tools),
        cmocka_unit_test(of_half_a_stream_the_finished_count),
        cmocka_unit_test(a_stream_of_nonsense_is_an_error),
        cmocka_unit_test(memory_runs_out),
    };
    const int failed = cmocka_run_group_tests_name("replies of upstreams", tests, NULL, NULL);
    keel_arena_free(&arena);
    return failed;
}
