/* Bodies of the chat API, of choices and of feedback: what is read of them, and responses to the byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/json.h"
#include "experiments/serve/choose.h"
#include "experiments/serve/feedback.h"
#include "experiments/serve/openai.h"

static keel_arena arena;
static keel_err err;
static keel_asked asked;

static int forget(void **state) {
    (void)state;
    keel_arena_free(&arena);
    return 0;
}

static keel_status read_chat(const char *body) {
    return keel_openai_read(body, strlen(body), &arena, &asked, &err);
}

static keel_status read_choose(const char *body) {
    return keel_choose_read(body, strlen(body), &arena, &asked, &err);
}

static void read_chat_ok(const char *body) {
    const keel_status status = read_chat(body);
    if (status != KEEL_OK) print_error("%s: %s\n", err.where, err.message);
    assert_int_equal(status, KEEL_OK);
}

#define HELLO "\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]"

/* ---- requests ---- */

/* A body that is nothing but values takes many times its size while it is read, and not after. */
static void a_body_does_not_stay(void **state) {
    (void)state;
    enum { ZEROS = 200000 };
    keel_buf body = {0};
    keel_buf_text(&body, "{" HELLO ",\"candidates\":[\"yes\"],\"user\":\"ann\",\"metadata\":{\"zeros\":[0");
    for (int i = 0; i < ZEROS; i++) keel_buf_text(&body, ",0");
    keel_buf_text(&body, "]}}");
    assert_false(body.failed);
    read_chat_ok(body.data);
    assert_true(arena.used < 10000);
    assert_int_equal(read_choose(body.data), KEEL_OK);
    assert_true(arena.used < 10000);
    assert_string_equal(asked.candidates[0].text, "yes");
    assert_string_equal(asked.user, "ann");
    keel_buf_free(&body);
}

static void messages_become_turns_as_an_import_has_them(void **state) {
    (void)state;
    static const struct {
        keel_role role;
        const char *text, *act;
    } turns[] = {{KEEL_ROLE_SYSTEM, "Be brief.", NULL},
                 {KEEL_ROLE_USER, "one\ntwo", NULL},
                 {KEEL_ROLE_ASSISTANT, "look_up({\"id\":7})", NULL},
                 {KEEL_ROLE_TOOL, "42", NULL},
                 {KEEL_ROLE_ASSISTANT, "It is 42.", "inform"},
                 {KEEL_ROLE_USER, "thanks", NULL}};
    read_chat_ok(
        "{\"model\":\"m\",\"messages\":[{\"role\":\"developer\",\"content\":\"Be brief.\"},"
        "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"one\"},{\"type\":\"image_url\",\"image_url\":"
        "{\"url\":\"data:\"}},{\"type\":\"text\",\"text\":\"two\"}]},"
        "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c\",\"type\":\"function\",\"function\":"
        "{\"name\":\"look_up\",\"arguments\":\"{\\\"id\\\":7}\"}}]},"
        "{\"role\":\"tool\",\"tool_call_id\":\"c\",\"content\":\"42\"},"
        "{\"role\":\"assistant\",\"content\":\"It is 42.\",\"act\":\"inform\",\"outcome\":\"refusal\",\"reward\":9},"
        "{\"role\":\"user\",\"content\":\"thanks\"}],\"temperature\":0.5,\"logit_bias\":{\"1\":2}}");
    assert_int_equal(asked.n_turns, sizeof turns / sizeof *turns);
    for (size_t i = 0; i < asked.n_turns; i++) {
        assert_int_equal(asked.turns[i].role, turns[i].role);
        assert_string_equal(asked.turns[i].text, turns[i].text);
        assert_true(!asked.turns[i].act == !turns[i].act);
    }
    assert_string_equal(asked.turns[4].act, "inform");
    assert_string_equal(asked.model, "m");
    assert_false(asked.stream || asked.usage || asked.details);
    assert_null(asked.user);
    assert_null(asked.conversation);
    assert_int_equal(asked.max_tokens, 0);
}

static void own_keys_stand_in_the_body_or_in_keel(void **state) {
    (void)state;
    read_chat_ok("{" HELLO
                 ",\"user\":\"ann\",\"stream\":true,\"stream_options\":{\"include_usage\":true},\"n\":1,"
                 "\"max_tokens\":9,\"max_completion_tokens\":5,\"metadata\":{\"conversation_id\":\"c7\"},"
                 "\"keel\":{\"details\":true,\"segment\":\"blue\"}}");
    assert_true(asked.stream && asked.usage && asked.details);
    assert_string_equal(asked.user, "ann");
    assert_string_equal(asked.segment, "blue");
    assert_string_equal(asked.conversation, "c7");
    assert_int_equal(asked.max_tokens, 5);
    read_chat_ok("{" HELLO
                 ",\"safety_identifier\":\"bob\",\"keel\":{\"conversation\":\"c8\"},\"details\":true,"
                 "\"metadata\":{\"conversation_id\":\"c7\"},\"stream_options\":null}");
    assert_string_equal(asked.user, "bob");
    assert_string_equal(asked.conversation, "c8");
    assert_true(asked.details);
}

static void what_is_wrong_in_a_request_is_named(void **state) {
    (void)state;
    static const struct {
        const char *body, *where;
        keel_status status;
    } wrong[] = {
        {"", "body", KEEL_E_PARSE},
        {"[]", "body", KEEL_E_PARSE},
        {"{" HELLO "} x", "body", KEEL_E_PARSE},
        {"{}", "messages", KEEL_E_PARSE},
        {"{\"messages\":[]}", "messages", KEEL_E_PARSE},
        {"{\"messages\":{\"role\":\"user\"}}", "messages", KEEL_E_PARSE},
        {"{\"messages\":[7]}", "messages[0]", KEEL_E_PARSE},
        {"{\"messages\":[{\"content\":\"x\"}]}", "messages[0]", KEEL_E_PARSE},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"pope\",\"content\":\"x\"}]}",
         "messages[1]", KEEL_E_INVALID},
        {"{\"messages\":[{\"role\":\"user\",\"content\":7}]}", "messages[0]", KEEL_E_PARSE},
        {"{" HELLO ",\"n\":2}", "n", KEEL_E_INVALID},
        {"{" HELLO ",\"n\":\"1\"}", "n", KEEL_E_PARSE},
        {"{" HELLO ",\"stream\":1}", "stream", KEEL_E_PARSE},
        {"{" HELLO ",\"stream_options\":[]}", "stream_options", KEEL_E_PARSE},
        {"{" HELLO ",\"max_tokens\":-1}", "max_tokens", KEEL_E_INVALID},
        {"{" HELLO ",\"user\":7}", "user", KEEL_E_PARSE},
        {"{" HELLO ",\"metadata\":{\"conversation_id\":7}}", "metadata", KEEL_E_PARSE},
        {"{" HELLO ",\"metadata\":[]}", "metadata", KEEL_E_PARSE},
        {"{" HELLO ",\"model\":7}", "model", KEEL_E_PARSE},
        {"{" HELLO ",\"keel\":7}", "keel", KEEL_E_PARSE},
        {"{" HELLO ",\"keel\":{\"details\":\"yes\"}}", "details", KEEL_E_PARSE},
        {"{" HELLO ",\"keel\":{\"detials\":true}}", "keel", KEEL_E_PARSE},
        {"{" HELLO ",\"keel\":{\"metadata\":{}}}", "keel", KEEL_E_PARSE},
        {"{" HELLO ",\"keel\":{\"upstream\":\"http://evil.example\"}}", "keel", KEEL_E_PARSE},
        {"{" HELLO ",\"upstream\":\"http://evil.example\"}", "upstream", KEEL_E_INVALID},
        {"{" HELLO ",\"upstreams\":[]}", "upstreams", KEEL_E_INVALID},
        {"{" HELLO ",\"base_url\":\"http://169.254.169.254\"}", "base_url", KEEL_E_INVALID},
        {"{" HELLO ",\"api_base\":null}", "api_base", KEEL_E_INVALID},
        {"{" HELLO ",\"api_key\":\"sk\"}", "api_key", KEEL_E_INVALID},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(read_chat(wrong[i].body), wrong[i].status);
        assert_string_equal(err.where, wrong[i].where);
        assert_int_equal(keel_openai_status(wrong[i].status), 400);
    }
}

static void names_are_short_text(void **state) {
    (void)state;
    char longest[KEEL_OPENAI_MOST_NAME + 2] = "";
    memset(longest, 'a', KEEL_OPENAI_MOST_NAME);
    keel_asked named = {.conversation = longest, .segment = "blue", .user = "\xc3\xa4nn"};
    assert_int_equal(keel_openai_check_names(&named, &err), KEEL_OK);
    longest[KEEL_OPENAI_MOST_NAME] = 'a';
    assert_int_equal(keel_openai_check_names(&named, &err), KEEL_E_INVALID);
    assert_string_equal(err.where, "conversation");
    named = (keel_asked){.segment = "a\tb"};
    assert_int_equal(keel_openai_check_names(&named, &err), KEEL_E_INVALID);
    assert_string_equal(err.where, "segment");
    named = (keel_asked){.user = "\xff"};
    assert_int_equal(keel_openai_check_names(&named, &err), KEEL_E_INVALID);
    assert_string_equal(err.where, "user");
}

static void a_caller_gives_candidates(void **state) {
    (void)state;
    assert_int_equal(
        read_choose(
            "{" HELLO
            ",\"conversation\":\"c\",\"candidates\":[\"a\",{\"text\":\"b\",\"model\":\"m\",\"act\":\"x\","
            "\"outcome\":\"partial_refusal\"},\"a\",{\"act\":\"y\"},{\"refusal\":\"no\"},{\"content\":null,"
            "\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}]}"),
        KEEL_OK);
    static const char *const texts[] = {"a", "b", "", "no", "f({})"};
    static const size_t places[] = {0, 1, 3, 4, 5};
    assert_int_equal(asked.n_candidates, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(asked.candidates[i].text, texts[i]);
        assert_int_equal(asked.place[i], places[i]);
    }
    assert_string_equal(asked.candidates[1].act, "x");
    assert_int_equal(asked.candidates[1].outcome, KEEL_OUTCOME_PARTIAL);
    assert_int_equal(asked.candidates[3].outcome, KEEL_OUTCOME_REFUSAL);
    static const char *const wrong[][2] = {
        {"", "candidates"},
        {",\"candidates\":[]", "candidates"},
        {",\"candidates\":\"a\"", "candidates"},
        {",\"candidates\":[\"a\",7]", "candidates[1]"},
        {",\"candidates\":[{}]", "candidates[0]"},
        {",\"candidates\":[{\"text\":\"a\",\"outcome\":\"no\"}]", "candidates[0]"},
        {",\"candidates\":[\"a\",{\"text\":\"b\",\"outcom\":\"refusal\"}]", "candidates[1]"},
        {",\"candidates\":[\"a\"],\"convrsation\":\"c\"", "body"},
        {",\"candidates\":[\"a\"],\"base_url\":\"http://evil.example\"", "body"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char body[200];
        snprintf(body, sizeof body, "{" HELLO "%s}", wrong[i][0]);
        assert_int_not_equal(read_choose(body), KEEL_OK);
        assert_string_equal(err.where, wrong[i][1]);
    }
}

/* As a server answered it: with keys that only that server knows. */
static void a_candidate_may_be_a_message_as_it_came(void **state) {
    (void)state;
    assert_int_equal(
        read_choose("{" HELLO ",\"candidates\":[{\"role\":\"assistant\",\"content\":\"a\",\"refusal\":null,"
                    "\"annotations\":[],\"reasoning_content\":\"hm\",\"outcome\":\"refusal\"}]}"),
        KEEL_OK);
    assert_string_equal(asked.candidates[0].text, "a");
    assert_int_equal(asked.candidates[0].outcome, KEEL_OUTCOME_REFUSAL);
}

static void too_many_candidates_are_refused(void **state) {
    (void)state;
    keel_buf body = {0};
    keel_buf_text(&body, "{" HELLO ",\"candidates\":[0");
    for (int i = 0; i < KEEL_CHOOSE_MOST; i++) keel_buf_format(&body, ",\"%d\"", i);
    keel_buf_text(&body, "]}");
    assert_int_equal(read_choose(body.data), KEEL_E_INVALID);
    assert_string_equal(err.where, "candidates");
    keel_buf_free(&body);
}

static keel_status read_feedback(const char *body, keel_feedback *out) {
    return keel_feedback_read(body, strlen(body), &arena, out, &err);
}

static void feedback_says_something(void **state) {
    (void)state;
    keel_feedback f;
    assert_int_equal(
        read_feedback("{\"id\":\"r\",\"feedback\":\"down\",\"completed\":false,\"risk\":\"dangerous\","
                      "\"outcome\":\"compliance\",\"source\":\"ann\"}",
                      &f),
        KEEL_OK);
    assert_string_equal(f.request, "r");
    assert_string_equal(f.source, "ann");
    assert_true(f.feedback.present && f.feedback.value == -1 && f.completed == KEEL_NO);
    assert_true(f.risk == KEEL_RISK_DANGEROUS && f.outcome == KEEL_OUTCOME_COMPLIANCE);
    assert_int_equal(read_feedback("{\"id\":\"r\",\"feedback\":0.25}", &f), KEEL_OK);
    assert_true(f.feedback.value == 0.25 && f.completed == KEEL_UNKNOWN && f.risk == KEEL_RISK_UNKNOWN);
    static const char *const wrong[][2] = {
        {"7", "body"},
        {"{\"feedback\":1}", "id"},
        {"{\"id\":\"\",\"feedback\":1}", "id"},
        {"{\"id\":\"r\"}", "feedback"},
        {"{\"id\":\"r\",\"feedback\":null}", "feedback"},
        {"{\"id\":\"r\",\"feedback\":1.5}", "feedback"},
        {"{\"id\":\"r\",\"feedback\":\"fine\"}", "feedback"},
        {"{\"id\":\"r\",\"feedback\":true}", "feedback"},
        {"{\"id\":\"r\",\"outcome\":\"none\"}", "outcome"},
        {"{\"id\":\"r\",\"risk\":\"big\"}", "risk"},
        {"{\"id\":\"r\",\"completed\":1}", "completed"},
        {"{\"id\":\"r\",\"feedback\":1,\"reward_\":1}", "body"},
        {"{\"id\":\"r\",\"feedback\":1,\"Risk\":\"dangerous\"}", "body"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_not_equal(read_feedback(wrong[i][0], &f), KEEL_OK);
        assert_string_equal(err.where, wrong[i][1]);
    }
    assert_int_equal(read_feedback("{\"id\":\"r\",\"completed\":true,\"labl\":\"up\"}", &f), KEEL_E_PARSE);
    assert_string_equal(err.message,
                        "unknown key \"labl\"; known are id, feedback, outcome, completed, risk and source");
}

/* ---- responses ---- */

static const keel_openai_answer plain = {.id = "chatcmpl-1",
                                         .created = 1700000000,
                                         .model = "m",
                                         .text = "say \"hi\"\n\xc3\xbc",
                                         .prompt_tokens = 3,
                                         .completion_tokens = 4};
#define HEAD(object)                                                                                         \
    "{\"id\":\"chatcmpl-1\",\"object\":\"" object "\",\"created\":1700000000,\"model\":\"m\",\"choices\":["

static void check_written(const keel_openai_answer *answer, const char *expected) {
    keel_buf out = {0};
    cJSON *value = NULL;
    keel_openai_write(answer, &out);
    assert_string_equal(out.data, expected);
    assert_int_equal(keel_json_parse(out.data, out.length, "response", &value, &err), KEEL_OK);
    cJSON_Delete(value);
    keel_buf_free(&out);
}

static void a_response_has_openai_s_shape(void **state) {
    (void)state;
    check_written(
        &plain,
        HEAD(
            "chat.completion") "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"say \\\"hi\\\"\\n\xc3\xbc\","
                               "\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3,"
                               "\"completion_tokens\":4,\"total_tokens\":7}}\n");
    keel_openai_answer other = plain;
    other.prompt_tokens = other.completion_tokens = -1;
    other.text = "";
    other.finish = "tool_calls";
    other.message = "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[]}";
    other.keel = "{\"fallback\":false}";
    check_written(
        &other,
        HEAD(
            "chat.completion") "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[]},\"logprobs\":null,"
                               "\"finish_reason\":\"tool_calls\"}],\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0,"
                               "\"total_tokens\":0},\"keel\":{\"fallback\":false}}\n");
}

static void check_stream(const keel_openai_answer *answer, bool usage, const char *expected) {
    keel_buf out = {0};
    assert_int_equal(keel_openai_write_stream(answer, usage, &out, &err), KEEL_OK);
    assert_string_equal(out.data, expected);
    keel_buf_free(&out);
}

static void a_stream_is_chunks_and_done(void **state) {
    (void)state;
#define CHUNK "data: " HEAD("chat.completion.chunk") "{\"index\":0,\"delta\":"
    check_stream(
        &plain, false,
        CHUNK
        "{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null},\"logprobs\":null,\"finish_reason\":null}]}\n\n" CHUNK
        "{\"content\":\"say \\\"hi\\\"\\n\xc3\xbc\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n" CHUNK
        "{},\"logprobs\":null,\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n");
    keel_openai_answer calls = plain;
    calls.text = "";
    calls.finish = "tool_calls";
    calls.message = "{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"c\"},{\"id\":\"d\"}]}";
    check_stream(
        &calls, true,
        CHUNK
        "{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n" CHUNK
        "{\"tool_calls\":[{\"id\":\"c\",\"index\":0},{\"id\":\"d\",\"index\":1}]},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}"
        "\n\n" CHUNK "{},\"logprobs\":null,\"finish_reason\":\"tool_calls\"}],\"usage\":null}\n\n"
        "data: " HEAD(
            "chat.completion.chunk") "],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7}}\n\n"
                                     "data: [DONE]\n\n");
}

/* A long text comes in several pieces, none of which cuts a character. */
static void pieces_of_a_stream_are_whole_characters(void **state) {
    (void)state;
    char text[1001] = "";
    for (int i = 0; i < 333; i++) strcat(text, "\xe6\x97\xa5");
    keel_openai_answer answer = plain;
    keel_buf out = {0}, joined = {0};
    size_t pieces = 0;
    answer.text = text;
    assert_int_equal(keel_openai_write_stream(&answer, false, &out, &err), KEEL_OK);
    for (char *at = out.data; (at = strstr(at, "\"delta\":{\"content\":\"")); pieces++) {
        at += strlen("\"delta\":{\"content\":\"");
        const size_t length = strcspn(at, "\"");
        assert_int_equal(length % 3, 0);
        keel_buf_append(&joined, at, length);
    }
    assert_true(pieces > 3);
    assert_string_equal(joined.data, text);
    keel_buf_free(&out);
    keel_buf_free(&joined);
}

static void a_choice_and_models_are_written(void **state) {
    (void)state;
    keel_buf out = {0};
    keel_choose_answer answer = {.id = "r",
                                 .index = 2,
                                 .says = "a",
                                 .outcome = KEEL_OUTCOME_REFUSAL,
                                 .propensity = 0.5,
                                 .policy = "p",
                                 .arm = "b"};
    keel_choose_write(&answer, &out);
    assert_string_equal(
        out.data,
        "{\"id\":\"r\",\"index\":2,\"says\":\"a\",\"outcome\":\"refusal\",\"fallback\":false,\"propensity\":0.5,"
        "\"policy\":\"p\",\"arm\":\"b\"}\n");
    keel_buf_clear(&out);
    answer.index = -1, answer.outcome = KEEL_OUTCOME_NONE, answer.fallback = true, answer.keel = "{}";
    keel_choose_write(&answer, &out);
    assert_string_equal(
        out.data,
        "{\"id\":\"r\",\"index\":null,\"says\":\"a\",\"fallback\":true,\"propensity\":0.5,\"policy\":\"p\",\"arm\":\"b\","
        "\"keel\":{}}\n");
    keel_buf_clear(&out);
    keel_openai_write_models((const char *const[]){"keel", "m"}, 2, false, 7, &out);
    assert_string_equal(
        out.data,
        "{\"object\":\"list\",\"data\":[{\"id\":\"keel\",\"object\":\"model\",\"created\":7,\"owned_by\":\"keel\"},"
        "{\"id\":\"m\",\"object\":\"model\",\"created\":7,\"owned_by\":\"keel\"}]}\n");
    keel_buf_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_body_does_not_stay),
                                       cmocka_unit_test(messages_become_turns_as_an_import_has_them),
                                       cmocka_unit_test(own_keys_stand_in_the_body_or_in_keel),
                                       cmocka_unit_test(what_is_wrong_in_a_request_is_named),
                                       cmocka_unit_test(names_are_short_text),
                                       cmocka_unit_test(a_caller_gives_candidates),
                                       cmocka_unit_test(a_candidate_may_be_a_message_as_it_came),
                                       cmocka_unit_test(too_many_candidates_are_refused),
                                       cmocka_unit_test(feedback_says_something),
                                       cmocka_unit_test(a_response_has_openai_s_shape),
                                       cmocka_unit_test(a_stream_is_chunks_and_done),
                                       cmocka_unit_test(pieces_of_a_stream_are_whole_characters),
                                       cmocka_unit_test(a_choice_and_models_are_written)};
    return cmocka_run_group_tests(tests, NULL, forget);
}
