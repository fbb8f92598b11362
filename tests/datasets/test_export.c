/* What is exported and imported again is the same: conversations with every feature of the chat format, of
 * the other formats, shapes that only programs make, and the real public logs. */
#define SCRATCH "export"
#include "datasets/chat.h"
#include "datasets/export.h"
#include "fixture.h"
#include "support/real_logs.h"

static void export_to(const char *name, bool gzip) {
    keel_file_writer *to;
    int64_t count;
    assert_ok(keel_file_writer_open(&to, in(name), gzip, &err));
    assert_ok(keel_export_chat(store, NULL, to, &count, &err));
    assert_ok(keel_file_writer_commit(to, &err));
    size_t there;
    assert_ok(keel_store_count_conversations(store, NULL, &there, &err));
    assert_int_equal(count, there);
}

/* Exports the store, imports that into a new one, and compares their content, splits and meta. */
static void goes_round(void) {
    char before[65], after[65];
    keel_store *old = store;
    assert_ok(keel_store_content_hash(store, NULL, before, &err));
    export_to("out.jsonl.gz", true);
    assert_ok(keel_store_open(&store, in("again.db"), KEEL_STORE_CREATE, &err));
    assert_ok(import_as(NULL, NULL, in("out.jsonl.gz")));
    assert_ok(keel_store_content_hash(store, NULL, after, &err));
    assert_string_equal(before, after);
    keel_cursor *one, *other;
    assert_ok(keel_cursor_open(&one, old, NULL, KEEL_ORDER_STORED, &err));
    assert_ok(keel_cursor_open(&other, store, NULL, KEEL_ORDER_STORED, &err));
    for (keel_conversation *a = NULL, *b = NULL;;) {
        keel_arena_reset(&arena);
        assert_ok(keel_cursor_next(one, &arena, &a, &err));
        assert_ok(keel_cursor_next(other, &arena, &b, &err));
        if (!a) break;
        assert_string_equal(a->split, b->split);
        assert_true(!a->meta == !b->meta);
        if (a->meta) assert_string_equal(a->meta, b->meta);
    }
    keel_cursor_close(one);
    keel_cursor_close(other);
    keel_store_close(store);
    store = old;
    unlink(in("again.db"));
}

#define USER                     "{\"role\":\"user\",\"content\":\"Hi\"}"
#define ANSWER(x)                "{\"role\":\"assistant\",\"content\":\"Yes\"" x "}"
#define LINE(id, head, messages) "{\"id\":\"" id "\"" head ",\"messages\":[" messages "]}\n"

static const char every_feature[] = LINE(
    "plain", "",
    "{\"role\":\"system\",\"content\":\"S\"}," USER
    "," ANSWER(",\"latency_ms\":250.125,\"model\":\"m\",\"act\":\"HELP\"") "," USER)
    LINE("facts",
         ",\"risk\":\"dangerous\",\"completed\":false,\"truncated\":true,\"split\":\"dev\",\"group\":\"g\"",
         USER
         "," ANSWER(",\"propensity\":0.1,\"feedback\":\"down\",\"outcome\":\"refusal\",\"reward\":{\"speed\":"
                    "0.3,\"safety\":-1}"))
        LINE("judged", ",\"risk\":\"benign\",\"completed\":true",
             USER "," ANSWER(
                 ",\"outcome\":\"compliance\",\"judge\":\"model\",\"candidates\":[\"No\",{\"content\":"
                 "\"Maybe\",\"model\":\"n\",\"act\":\"A\",\"outcome\":\"partial_refusal\",\"judge\":\"rule\","
                 "\"latency_ms\":1e-3,\"taken\":true,\"reward\":0.7},{\"content\":\"Yes\",\"model\":\"m\"}]"))
            LINE("joined", "",
                 USER "," ANSWER(",\"candidates\":[{\"content\":\"Yes\",\"act\":\"A\",\"latency_ms\":7},"
                                 "{\"content\":\"Yes\",\"act\":\"B\"}]"))
                LINE("never", "",
                     USER
                     ",{\"role\":\"assistant\",\"content\":null,\"candidates\":[\"A\",{\"content\":\"B\","
                     "\"score\":1,\"taken\":true}],\"why\":\"late\"}")
                    LINE("first", "", "{\"role\":\"assistant\",\"content\":null,\"candidates\":[]}") LINE(
                        "tools", "",
                        USER
                        ",{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c\"}]},{\"role\":"
                        "\"tool\",\"content\":\"42\",\"latency_ms\":3,\"tool_call_id\":\"c\"}")
                        LINE(
                            "parts", "",
                            "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"What\"},{\"type\":\"image_url\"}"
                            "]},{\"role\":\"assistant\",\"content\":null,\"refusal\":\"I can't\",\"candidates\":[{\"content\":"
                            "[\"a\",{\"type\":\"image\"}]}]}")
                            LINE(
                                "meta",
                                ",\"lang\":\"zh\",\"n\":9007199254740993,\"x\":0.1,\"meta\":{\"id\":5,\"k\":[1,{\"a\":null}]}",
                                "{\"role\":\"user\",\"content\":\"Hi\\u0001\\\"\\n\\u4f60\",\"ip\":\"::1\"}") "{\"id\":18446744073709551615,\"messages\":[" USER
                                                                                                              "]}\n"
                                                                                                              "{\"messages\":[" USER
                                                                                                              "]}\n";

static void every_feature_of_the_chat_format_goes_round(void **state) {
    (void)state;
    assert_ok(import_as(NULL, NULL, put("log.jsonl", every_feature)));
    assert_int_equal(report.conversations, 11);
    contains(get("meta")->meta, "9007199254740993");
    assert_string_equal(get("18446744073709551615")->turns[0].text, "Hi");
    goes_round();
}

/* Results of tools that are images, or stand beside images: a turn of the tool, once. */
static void results_beside_images_go_round(void **state) {
    (void)state;
#define RESULT(content) "{\"type\":\"tool_result\",\"tool_use_id\":\"1\"" content "}"
#define IMAGE           "{\"type\":\"image\",\"source\":{\"data\":\"AA\"}}"
#define SHOT(parts)     USER "," ANSWER("") ",{\"role\":\"user\",\"content\":[" parts "]}," ANSWER("")
    put("log.jsonl", LINE("alone", "", SHOT(RESULT(",\"content\":[" IMAGE "]")))
                         LINE("beside", "", SHOT(RESULT(",\"content\":\"r\"") "," IMAGE))
                             LINE("said", "",
                                  SHOT(RESULT(",\"content\":[{\"type\":\"text\",\"text\":\"r\"}," IMAGE
                                              "]") ",{\"type\":\"text\",\"text\":\"go\"}"))
                                 LINE("none", "", SHOT(RESULT(""))));
    assert_ok(import_as("chat", NULL, in("log.jsonl")));
    assert_int_equal(get("alone")->n_turns, 4);
    assert_int_equal(get("alone")->turns[2].role, KEEL_ROLE_TOOL);
    assert_string_equal(get("beside")->turns[2].text, "r");
    assert_string_equal(get("said")->turns[3].text, "go");
    assert_int_equal(get("none")->turns[2].role, KEEL_ROLE_TOOL);
    goes_round();
}

static void labels_of_judges_do_not_come_back_as_human_ones(void **state) {
    (void)state;
    assert_ok(import_as("chat", NULL, put("log.jsonl", LINE("a", "", USER "," ANSWER("")))));
    const int64_t id = get("a")->decisions[0].candidates[0].id;
    assert_ok(keel_store_put_label(store, id, KEEL_OUTCOME_REFUSAL, KEEL_AUTHORITY_RULE, "rules", 1, &err));
    goes_round();
    export_to("out.jsonl", false);
    close_store();
    unlink(in("store.db"));
    open_store(KEEL_STORE_CREATE);
    assert_ok(import_as("chat", NULL, in("out.jsonl")));
    const keel_candidate *back = &get("a")->decisions[0].candidates[0];
    assert_int_equal(back->outcome, KEEL_OUTCOME_REFUSAL);
    assert_int_equal(back->judge, KEEL_AUTHORITY_RULE);
    import_fails(
        "chat", put("bad.jsonl", LINE("b", "", USER "," ANSWER(",\"outcome\":\"refusal\",\"judge\":\"me\""))),
        KEEL_E_INVALID, "messages[1]", "judge");
}

static void what_was_said_elsewhere_is_written_where_it_stood(void **state) {
    (void)state;
    keel_buf text = {0};
    assert_ok(import_as("chat", NULL,
                        put("log.jsonl", LINE("a", ",\"lang\":\"zh\",\"meta\":{\"k\":1}",
                                              "{\"role\":\"user\",\"content\":\"Hi\",\"ip\":\"::1\"}," ANSWER(
                                                  ",\"candidates\":[{\"content\":\"No\",\"score\":9}]")))));
    assert_ok(keel_chat_write(get("a"), &text, &err));
    contains(text.data, "\"lang\": \"zh\"");
    contains(text.data, "{\"role\": \"user\", \"content\": \"Hi\", \"ip\": \"::1\"}");
    contains(text.data, "{\"content\": \"No\", \"score\": 9}");
    assert_null(strstr(text.data, "\"meta\""));
    assert_null(strstr(text.data, "\"keel\""));
    keel_buf_free(&text);
}

/* Shapes that the messages alone do not tell. */
static void any_decisions_go_round(void **state) {
    (void)state;
    keel_conversation c;
    for (int i = 0; i < 7; i++) {
        char id[2] = {(char)('a' + i), '\0'};
        make(&c, keel_arena_strdup(&arena, id), NULL, NULL, "Ask", "Answer");
        keel_candidate *two = keel_arena_calloc(&arena, 2, sizeof *two);
        two[0] = (keel_candidate){.text = "Answer", .taken = true};
        two[1] = (keel_candidate){.text = "Answer", .model = "m"};
        c.source = i % 2 ? "sgd" : "chat";
        if (i == 0) c.n_decisions = 0;                           /* an answer that is no decision */
        if (i == 1) c.decisions[0].candidates[0].taken = false;  /* said, and not taken */
        if (i == 2) c.decisions[0].candidates[0].text = "Other"; /* something else was taken */
        if (i == 3) c.turns[1].model = "m";                      /* the turn knows more than the candidate */
        if (i == 4) c.n_turns = 1, c.n_decisions = 0;            /* nobody is to answer */
        if (i == 5) c.n_turns = 0, c.n_decisions = 0;            /* nothing was said */
        if (i == 6) c.decisions[0] = (keel_decision){.turn = 1, .n_candidates = 2, .candidates = two};
        add(&c);
    }
    make(&c, "u", NULL, NULL, "Ask", "Answer");
    c.decisions[0].turn = 0; /* before the user's turn */
    add(&c);
    goes_round();
}

static void a_list_of_decisions_is_checked(void **state) {
    (void)state;
    static const char *const bad[][2] = {
        {"\"keel\":5", "object"},
        {"\"keel\":{\"source\":\"\"}", "source"},
        {"\"keel\":{\"decisions\":[3]}", "decisions"},
        {"\"keel\":{\"decisions\":[1,0]}", "decisions"},
        {"\"keel\":{\"decisions\":[\"1\"]}", "decisions"},
        {"\"keel\":{\"decisions\":[0.5]}", "decisions"},
        {"\"keel\":{\"decisions\":[0]}", "candidates"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char line[512];
        snprintf(line, sizeof line,
                 "{\"id\":\"a\",%s,\"messages\":[" USER "," ANSWER(",\"candidates\":[]") "]}\n", bad[i][0]);
        assert_int_not_equal(import_as("chat", NULL, put("bad.jsonl", line)), KEEL_OK);
        contains(err.message, bad[i][1]);
    }
}

static void a_meta_that_is_no_object_is_refused(void **state) {
    (void)state;
    keel_conversation c;
    keel_buf text = {0};
    make(&c, "a", NULL, "train", "Ask", "Answer");
    c.meta = "[1]";
    assert_int_equal(keel_chat_write(&c, &text, &err), KEEL_E_INVALID);
    c.meta =
        "{\"messages\":[{\"turn\":7,\"x\":1},{\"turn\":0,\"role\":\"tool\"},5,{\"turn\":0,\"candidate\":0,\"y\":1}]}";
    keel_buf_clear(&text);
    assert_ok(keel_chat_write(&c, &text, &err));
    contains(text.data, strchr(c.meta, '[')); /* nothing of it fits a message */
    keel_buf_free(&text);
}

/* ---- the public logs ---- */

static void every_public_log_goes_round(void **state) {
    static const struct {
        const char *path, *format; /* format: as it is recognised */
        int conversations;
    } logs[] = {{"xstest", "xstest", 216},         {"hh-rlhf", "hh-rlhf", 1612},
                {"sgd/dev", "sgd", 2098},          {"tau1/airline", "tau-bench", 88},
                {"tau2/telecom", "tau2", 40},      {"refusalbench", "csv", 205},
                {"k-overrefusal", "prompts", 274}, {"formats/openai-chat", "chat", 5},
                {"formats/sharegpt", "chat", 500}, {"formats/oasst", "oasst", 100},
                {"formats/inspect", "inspect", 6}};
    for (size_t i = 0; i < sizeof logs / sizeof *logs; i++) {
        keel_cursor *cursor;
        keel_conversation *first;
        NEED(logs[i].path);
        end_test(state);
        begin_test(state);
        assert_ok(import_as(NULL, NULL, data(logs[i].path)));
        assert_int_equal(report.conversations, logs[i].conversations);
        assert_ok(keel_cursor_open(&cursor, store, NULL, KEEL_ORDER_STORED, &err));
        assert_ok(keel_cursor_next(cursor, &arena, &first, &err));
        assert_string_equal(first->source, logs[i].format);
        keel_cursor_close(cursor);
        goes_round();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(every_feature_of_the_chat_format_goes_round),
        TEST(results_beside_images_go_round),
        TEST(labels_of_judges_do_not_come_back_as_human_ones),
        TEST(what_was_said_elsewhere_is_written_where_it_stood),
        TEST(any_decisions_go_round),
        TEST(a_list_of_decisions_is_checked),
        TEST(a_meta_that_is_no_object_is_refused),
        TEST(every_public_log_goes_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
