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

/* ---- hostile trees, in every format ---- */

typedef enum kind { CHAIN, STAR, SELF, CIRCLE, MISSING, TWICE, TWO_ROOTS } kind;

/* The parent of node i of n; n: it has none. */
static size_t parent_of(kind what, size_t i, size_t n) {
    const bool last = i + 1 == n;
    if (what == CIRCLE && i) return last ? 1 : i + 1; /* none of it below the root */
    if (last && what == SELF) return i;
    if (last && what == MISSING) return n + 1;
    if (i == 0 || (last && what == TWO_ROOTS)) return n;
    return what == STAR ? 0 : i - 1;
}

static void write_node(keel_buf *to, const char *format, size_t i, size_t id, const char *parent) {
    const char *role = i % 2 ? "assistant" : "user";
    if (strcmp(format, "chatgpt") == 0)
        keel_buf_format(
            to, "%s\"%zu\":{\"message\":{\"author\":{\"role\":\"%s\"},\"content\":\"x\"},\"parent\":%s}",
            i ? "," : "", id, role, parent);
    else if (strcmp(format, "open-webui") == 0)
        keel_buf_format(to, "%s\"%zu\":{\"role\":\"%s\",\"content\":\"x\",\"parentId\":%s}", i ? "," : "", id,
                        role, parent);
    else
        keel_buf_format(to, "{\"message_id\":\"%zu\",\"role\":\"%s\",\"text\":\"x\",\"parent_id\":%s}\n", id,
                        i % 2 ? role : "prompter", parent);
}

static const char *put_tree(const char *format, kind what, size_t n) {
    keel_buf text = {0};
    const bool chatgpt = strcmp(format, "chatgpt") == 0, webui = strcmp(format, "open-webui") == 0;
    if (chatgpt) keel_buf_format(&text, "[{\"id\":\"c\",\"current_node\":\"%zu\",\"mapping\":{", n - 1);
    if (webui)
        keel_buf_format(&text, "[{\"id\":\"c\",\"chat\":{\"history\":{\"currentId\":\"%zu\",\"messages\":{",
                        n - 1);
    for (size_t i = 0; i < n && !text.failed; i++) {
        char parent[32] = "null";
        const size_t above = parent_of(what, i, n);
        if (above != n) snprintf(parent, sizeof parent, "\"%zu\"", above);
        write_node(&text, format, i, what == TWICE && i + 1 == n ? i - 1 : i, parent);
    }
    keel_buf_text(&text, chatgpt ? "}}]" : webui ? "}}}}]" : "");
    assert_false(text.failed);
    assert_ok(keel_file_write(in("tree.json"), text.data, text.length, NULL));
    keel_buf_free(&text);
    return in("tree.json");
}

static void hostile_trees_are_refused_by_name(void **state) {
    static const char *const formats[] = {"chatgpt", "open-webui", "oasst"};
    static const struct {
        kind what;
        size_t n;
        const char *message;
    } cases[] = {{CHAIN, 10000, NULL},
                 {CHAIN, 10001, "\"10000\": it lies deeper than 10000 messages"},
                 {CHAIN, 50000, "\"10000\": it lies deeper than 10000 messages"},
                 {STAR, 10001, NULL},
                 {STAR, 10002, "\"0\": it has more than 10000 replies"},
                 {STAR, 50000, "\"0\": it has more than 10000 replies"},
                 {SELF, 3, "\"2\": its parents run in a circle"},
                 {CIRCLE, 3, "\"1\": its parents run in a circle"},
                 {CIRCLE, 50000, "\"1\": its parents run in a circle"},
                 {MISSING, 3, "\"2\": its parent is not there"},
                 {TWICE, 3, "twice"},
                 {TWO_ROOTS, 3, NULL}};
    for (size_t f = 0; f < 3; f++)
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            const bool twice = cases[i].what == TWICE, oasst = f == 2;
            const char *path = put_tree(formats[f], cases[i].what, cases[i].n);
            if (cases[i].message) {
                import_fails(formats[f], path, twice && !oasst ? KEEL_E_PARSE : KEEL_E_INVALID, "tree.json",
                             cases[i].message);
                continue;
            }
            assert_int_equal(end_test(state) || begin_test(state), 0);
            assert_ok(import_as(formats[f], NULL, put_tree(formats[f], cases[i].what, cases[i].n)));
            assert_int_equal(report.conversations, cases[i].what == TWO_ROOTS && oasst ? 2 : 1);
            assert_int_equal(only()->n_turns, cases[i].what == CHAIN           ? 10000
                                              : cases[i].what == STAR || oasst ? 2
                                                                               : 1);
            if (cases[i].what == TWO_ROOTS) assert_int_equal(counted("other_branches"), oasst ? 0 : 2);
        }
}

/* Nested replies are as deep as JSON may be. */
static void a_deep_tree_of_nested_replies_is_refused(void **state) {
    (void)state;
    keel_buf text = {0};
    keel_buf_text(&text, "{\"message_tree_id\":\"t\",\"prompt\":");
    for (int i = 0; i < 100000; i++)
        keel_buf_text(&text, "{\"message_id\":\"a\",\"text\":\"x\",\"role\":\"prompter\",\"replies\":[");
    assert_ok(keel_file_write(in("tree.jsonl"), text.data, text.length, NULL));
    keel_buf_free(&text);
    import_fails("oasst", in("tree.jsonl"), KEEL_E_PARSE, "tree.jsonl:1", "deep");
}

/* Two people replied the same words: the better rank holds. */
static void same_words_are_one_reply(void **state) {
    (void)state;
    assert_ok(import_as(
        "oasst", NULL,
        put("t.jsonl",
            "{\"message_id\":\"a\",\"role\":\"prompter\",\"text\":\"Hi\",\"parent_id\":null}\n"
            "{\"message_id\":\"b\",\"role\":\"assistant\",\"text\":\"Yes\",\"parent_id\":\"a\",\"rank\":2}\n"
            "{\"message_id\":\"c\",\"role\":\"assistant\",\"text\":\"No\",\"parent_id\":\"a\",\"rank\":1}\n"
            "{\"message_id\":\"d\",\"role\":\"assistant\",\"text\":\"Yes\",\"parent_id\":\"a\",\"rank\":0}\n"
            "{\"message_id\":\"e\",\"role\":\"prompter\",\"text\":\"No answer\",\"parent_id\":\"a\"}\n")));
    const keel_decision *decision = &only()->decisions[0];
    assert_int_equal(decision->n_candidates, 2);
    assert_string_equal(decision->candidates[0].text, "Yes");
    assert_float_equal(decision->candidates[0].feedback.value, 1, 0);
    assert_float_equal(decision->candidates[1].feedback.value, 0, 0);
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
        TEST(hostile_trees_are_refused_by_name),
        TEST(a_deep_tree_of_nested_replies_is_refused),
        TEST(same_words_are_one_reply),
        TEST(open_webui_chats_in_both_layouts),
        TEST(open_webui_ratings_hold_their_chat),
        TEST(oasst_follows_the_best_ranked_replies),
        TEST(oasst_messages_are_joined_to_trees),
        TEST(real_trees_of_open_assistant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
