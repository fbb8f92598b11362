/* Logs that are trees of messages: ChatGPT, Open WebUI, Open Assistant. */
#define SCRATCH "format-trees"
#include "fixture.h"
#include "support/real_logs.h"

static keel_conversation *only(void) {
    keel_conversation *conversation;
    assert_ok(keel_store_conversation(store, 1, &arena, &conversation, &err));
    return conversation;
}

/* ---- ChatGPT ---- */

#define NODE(id, parent, role, text)                                                                         \
    "\"" id "\":{\"parent\":\"" parent "\",\"message\":{\"author\":{\"role\":\"" role                        \
    "\"},\"content\":{\"content_type\":\"text\",\"parts\":[\"" text                                          \
    "\"]},\"metadata\":{\"model_slug\":\"m\"}}}"
#define ROOT "\"r\":{\"message\":null,\"parent\":null}"

static void chatgpt_takes_the_path_to_the_current_node(void **state) {
    (void)state;
    put("c.json",
        "[{\"title\":\"t\",\"conversation_id\":\"c1\",\"current_node\":\"e\",\"mapping\":{" ROOT
        "," NODE("s", "r", "system", "") "," NODE("a", "s", "user", "Hi") "," NODE(
            "b", "a", "assistant",
            "Hello") "," NODE("c", "a", "assistant",
                              "Good day") "," NODE("d", "c", "user",
                                                   "Why?") "," NODE("e", "d", "assistant",
                                                                    "So") "," NODE("x", "b", "user",
                                                                                   "Elsewhere") "}}]");
    assert_ok(import_as(NULL, NULL, in("c.json")));
    const keel_conversation *got = get("chatgpt:c1");
    assert_int_equal(got->n_turns, 4);
    assert_string_equal(got->turns[1].text, "Good day");
    assert_string_equal(got->turns[1].model, "m");
    assert_int_equal(got->n_decisions, 2);
    assert_int_equal(got->decisions[0].n_candidates, 2);
    assert_string_equal(got->decisions[0].candidates[1].text, "Hello");
    assert_false(got->decisions[0].candidates[1].taken);
    assert_int_equal(counted("other_branches"), 1);
    contains(got->meta, "\"title\":\"t\"");
}

/* Two answers below hidden thoughts are still answers to one message. */
static void hidden_messages_are_passed_through(void **state) {
    (void)state;
    static const char thought[] = "\"parent\":\"a\",\"message\":{\"author\":{\"role\":\"assistant\"},"
                                  "\"content\":{\"content_type\":\"thoughts\",\"parts\":[\"hm\"]}}}";
    char text[2000];
    snprintf(
        text, sizeof text,
        "[{\"id\":\"c1\",\"current_node\":\"b\",\"mapping\":{" ROOT
        "," NODE("a", "r", "user", "Hi") ",\"t\":{%s,\"u\":{%s," NODE("b", "t", "assistant", "One") "," NODE(
            "c", "u", "assistant", "Two") "}},{\"id\":\"empty\",\"mapping\":{" ROOT "}}]",
        thought, thought);
    assert_ok(import_as(NULL, NULL, put("c.json", text)));
    assert_int_equal(report.conversations, 1);
    assert_int_equal(counted("empty"), 1);
    assert_int_equal(only()->n_turns, 2);
    assert_string_equal(only()->turns[1].text, "One");
    assert_int_equal(only()->decisions[0].n_candidates, 2);
    assert_string_equal(only()->decisions[0].candidates[1].text, "Two");
}

static void broken_trees_are_named(void **state) {
    (void)state;
    static const struct {
        const char *nodes, *message;
    } bad[] = {
        {NODE("a", "b", "user", "Hi") "," NODE("b", "a", "user", "Hi"), "circle"},
        {ROOT "," NODE("a", "a", "user", "Hi"), "\"a\": its parents run in a circle"},
        {ROOT "," NODE("a", "nobody", "user", "Hi"), "\"a\": its parent is not there"},
        {ROOT ",\"a\":7", "\"a\": expected an object"},
        {ROOT ",\"a\":{\"parent\":7}", "parent"},
        {ROOT "," NODE("z", "r", "user", "Hi"), "current_node: \"q\""},
    };
    char text[2000];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(text, sizeof text, "[{\"id\":\"c1\",\"current_node\":\"q\",\"mapping\":{%s}}]",
                 bad[i].nodes);
        const keel_status expected =
            strstr(bad[i].message, "expected") || strcmp(bad[i].message, "parent") == 0 ? KEEL_E_PARSE
                                                                                        : KEEL_E_INVALID;
        import_fails("chatgpt", put("c.json", text), expected, "c.json: [0]", bad[i].message);
    }
}

/* n nodes, each below the one before it, or all below the root. */
static void put_many(size_t n, bool chain) {
    keel_buf text = {0};
    keel_buf_text(&text, "[{\"id\":\"c1\",\"mapping\":{" ROOT);
    for (size_t i = 0; i < n; i++) {
        keel_buf_format(
            &text, ",\"%zu\":{\"message\":{\"author\":{\"role\":\"user\"},\"content\":\"x\"},\"parent\":", i);
        if (chain && i)
            keel_buf_format(&text, "\"%zu\"}", i - 1);
        else
            keel_buf_text(&text, "\"r\"}");
    }
    keel_buf_text(&text, "}}]");
    assert_false(text.failed);
    assert_ok(keel_file_write(in("c.json"), text.data, text.length, NULL));
    keel_buf_free(&text);
}

static void deep_and_wide_trees_are_refused_by_name(void **state) {
    (void)state;
    put_many(9999, true);
    assert_ok(import_as(NULL, NULL, in("c.json")));
    assert_int_equal(only()->n_turns, 9999);
    put_many(10000, true);
    import_fails(NULL, in("c.json"), KEEL_E_INVALID, "c.json: [0]", "\"9999\": it lies deeper than");
    put_many(300000, false);
    import_fails(NULL, in("c.json"), KEEL_E_INVALID, "c.json: [0]", "\"r\": it has more than 10000");
}

/* ---- Open WebUI ---- */

#define WEBUI(id, parent, role, rest)                                                                        \
    "\"" id "\":{\"id\":\"" id "\",\"parentId\":" parent ",\"role\":\"" role "\"," rest "}"
#define HISTORY                                                                                                                                                                                                                  \
    "\"history\":{\"currentId\":\"c\",\"messages\":{" WEBUI("a", "null", "user", "\"content\":\"Hi\"") "," WEBUI("b", "\"a\"", "assistant", "\"content\":\"Hello\",\"model\":\"one\",\"annotation\":{\"rating\":-1}") "," WEBUI( \
        "c", "\"a\"", "assistant",                                                                                                                                                                                               \
        "\"content\":\"<details type=\\\"reasoning\\\" done=\\\"true\\\">hm</details>\\nHey\",\"model\":\"two\"") "," WEBUI("d",                                                                                                 \
                                                                                                                            "\"a\"",                                                                                             \
                                                                                                                            "assistant",                                                                                         \
                                                                                                                            "\"content\":\"\",\"model\":\"three\",\"error\":{\"content\":\"x\"}") "}}"

static void check_webui(const keel_conversation *got, double feedback) {
    assert_int_equal(got->n_turns, 2);
    assert_string_equal(got->turns[1].text, "Hey");
    assert_string_equal(got->turns[1].model, "two");
    assert_int_equal(got->decisions[0].n_candidates, 2);
    const keel_candidate *taken = &got->decisions[0].candidates[0], *other = &got->decisions[0].candidates[1];
    assert_string_equal(other->model, "one");
    assert_true(other->feedback.present && other->feedback.value == -1);
    assert_true(taken->feedback.present == (feedback != 0) && taken->feedback.value == feedback);
    assert_null(strstr(got->meta ? got->meta : "", "secret"));
}

static void open_webui_chats_in_both_layouts(void **state) {
    (void)state;
    put("a.json",
        "[{\"id\":\"w1\",\"user_id\":\"secret\",\"title\":\"t\",\"chat\":{\"title\":\"t\",\"models\":[\"one\"],"
        "\"messages\":[]," HISTORY "},\"meta\":{\"tags\":[\"x\"]}}]");
    assert_ok(import_as(NULL, NULL, in("a.json")));
    check_webui(get("open-webui:w1"), 0);
    contains(get("w1")->meta, "\"tags\":[\"x\"]");
    put("b.json", "[{\"id\":\"w2\",\"messages\":[]," HISTORY ",\"title\":\"t\"}]");
    assert_ok(import_as(NULL, NULL, in("b.json")));
    check_webui(get("open-webui:w2"), 0);
}

static void open_webui_ratings_hold_their_chat(void **state) {
    (void)state;
    put("f.json",
        "[{\"id\":\"f1\",\"user_id\":\"secret\",\"type\":\"rating\",\"data\":{\"rating\":1,\"reason\":\"good\"},"
        "\"meta\":{\"chat_id\":\"w3\",\"message_id\":\"c\"},\"snapshot\":{\"chat\":{\"id\":\"w3\","
        "\"user_id\":\"secret\",\"chat\":{" HISTORY "}}}}]");
    assert_ok(import_as(NULL, NULL, in("f.json")));
    check_webui(get("open-webui:w3/c"), 1);
    assert_string_equal(get("w3/c")->group, "w3");
    put("g.json",
        "[{\"id\":\"f1\",\"data\":{\"rating\":1},\"meta\":{\"chat_id\":\"w3\",\"message_id\":\"z\"},"
        "\"snapshot\":{\"chat\":{" HISTORY "}}}]");
    import_fails(NULL, in("g.json"), KEEL_E_INVALID, "g.json: [0]", "\"z\" is not in the history");
}

/* ---- Open Assistant ---- */

#define OASST(id, role, rest)                                                                                \
    "{\"message_id\":\"" id "\",\"user_id\":\"secret\",\"text\":\"" id "\",\"role\":\"" role "\"" rest

static void check_oasst(const keel_conversation *got) {
    assert_int_equal(got->n_turns, 4);
    assert_string_equal(got->turns[1].text, "best");
    assert_string_equal(got->turns[3].text, "end");
    assert_int_equal(got->decisions[0].n_candidates, 3);
    for (size_t k = 0; k < 3; k++) {
        const keel_candidate *c = &got->decisions[0].candidates[k];
        const double feedback = strcmp(c->text, "best") == 0 ? 1 : strcmp(c->text, "middle") == 0 ? 0 : -1;
        assert_true(c->feedback.present && c->feedback.value == feedback);
        assert_true(c->taken == (feedback == 1));
    }
    assert_null(strstr(got->meta ? got->meta : "", "secret"));
}

static void oasst_follows_the_best_ranked_replies(void **state) {
    (void)state;
    put("t.jsonl",
        "{\"message_tree_id\":\"t1\",\"tree_state\":\"ready\",\"prompt\":" OASST(
            "ask", "prompter", ",\"replies\":[") OASST("worst", "assistant", ",\"rank\":2,\"replies\":[")
            OASST("lost", "prompter", "}]},") OASST("best", "assistant", ",\"rank\":0,\"replies\":[")
                OASST("why", "prompter", ",\"replies\":[") OASST("end", "assistant", "}]}]},")
                    OASST("middle", "assistant", ",\"rank\":1},")
                        OASST("gone", "assistant", ",\"deleted\":true,\"replies\":[")
                            OASST("below", "prompter", "}]}]}}\n"));
    assert_ok(import_as(NULL, NULL, in("t.jsonl")));
    check_oasst(get("oasst:t1"));
    assert_int_equal(counted("other_branches"), 1);
    assert_int_equal(counted("left_out"), 1);
}

#define FLAT(id, role, parent, rest)                                                                         \
    OASST(id, role, ",\"message_tree_id\":\"ask\",\"parent_id\":" parent rest "}\n")

static void oasst_messages_are_joined_to_trees(void **state) {
    (void)state;
    put("m.jsonl",
        FLAT("end", "assistant", "\"why\"", "") FLAT("ask", "prompter", "null", "")
            FLAT("worst", "assistant", "\"ask\"", ",\"rank\":2")
                FLAT("best", "assistant", "\"ask\"", ",\"rank\":0") FLAT("why", "prompter", "\"best\"", "")
                    FLAT("middle", "assistant", "\"ask\"", ",\"rank\":1") FLAT("gone", "assistant", "\"ask\"",
                                                                               ",\"deleted\":true")
                        FLAT("below", "prompter", "\"gone\"", "") FLAT("lost", "prompter", "\"worst\"", ""));
    assert_ok(import_as(NULL, NULL, in("m.jsonl")));
    check_oasst(get("oasst:ask"));
    assert_int_equal(report.conversations, 1);
    assert_int_equal(counted("other_branches"), 1);
    assert_int_equal(counted("left_out"), 2);
    put("n.jsonl", FLAT("a", "prompter", "\"b\"", "") FLAT("b", "assistant", "\"a\"", ""));
    import_fails(NULL, in("n.jsonl"), KEEL_E_INVALID, "n.jsonl", "circle");
    put("n.jsonl", FLAT("a", "prompter", "null", "") FLAT("a", "assistant", "\"a\"", ""));
    import_fails(NULL, in("n.jsonl"), KEEL_E_INVALID, "n.jsonl", "\"a\": this id is given twice");
}

/* Counted by a program in Python. */
static void real_trees_of_open_assistant(void **state) {
    (void)state;
    NEED("formats/oasst");
    assert_ok(import_as(NULL, NULL, data("formats/oasst/en_100_tree.jsonl.gz")));
    assert_int_equal(report.conversations, 100);
    assert_int_equal(report.turns, 323);
    assert_int_equal(report.decisions, 181);
    assert_int_equal(report.candidates, 432);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(chatgpt_takes_the_path_to_the_current_node),
        TEST(hidden_messages_are_passed_through),
        TEST(broken_trees_are_named),
        TEST(deep_and_wide_trees_are_refused_by_name),
        TEST(open_webui_chats_in_both_layouts),
        TEST(open_webui_ratings_hold_their_chat),
        TEST(oasst_follows_the_best_ranked_replies),
        TEST(oasst_messages_are_joined_to_trees),
        TEST(real_trees_of_open_assistant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
