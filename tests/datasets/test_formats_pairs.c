/* Preference pairs, prompts with answers, and tables, in the shapes that tools write them. */
#define SCRATCH "formats-pairs"
#include "fixture.h"
#include "support/faults.h"

static keel_conversation *only(const char *text) {
    assert_ok(import_as(NULL, NULL, put("log.jsonl", text)));
    assert_int_equal(report.conversations, 1);
    keel_conversation *conversation;
    assert_ok(keel_store_conversation(store, 1, &arena, &conversation, &err));
    return conversation;
}

static void again(void) {
    void *state = NULL;
    end_test(&state);
    begin_test(&state);
}

#define USER(text)      "{\"role\":\"user\",\"content\":\"" text "\"}"
#define ASSISTANT(text) "{\"role\":\"assistant\",\"content\":\"" text "\"}"

/* ---- votes between two models ---- */

#define VOTE(winner, rest)                                                                                   \
    "{\"question_id\":\"q\",\"model_a\":\"m1\",\"model_b\":\"m2\",\"winner\":\"" winner "\"," rest "}\n"
#define CHATS(a, b) "\"conversation_a\":[" a "],\"conversation_b\":[" b "]"
#define ASKED       USER("Sky?") ","
#define BOTH        CHATS(ASKED ASSISTANT("Blue"), ASKED ASSISTANT("Green"))

static void a_vote_in_every_dialect_is_one_decision(void **state) {
    (void)state;
    static const struct {
        const char *text;
        double a, b;
    } votes[] = {
        {VOTE("model_a", BOTH), 1, -1},
        {VOTE("model_b", BOTH), -1, 1},
        {VOTE("tie", BOTH), 0, 0},
        {VOTE("tie (bothbad)", BOTH), -1, -1},
        {VOTE("both_bad", BOTH), -1, -1},
        {VOTE("model_a", "\"judge\":[\"gpt-4\",\"pair\"]," BOTH), 0, 0},
        {"[{\"id\":30192,\"model_a\":\"m1\",\"model_b\":\"m2\",\"prompt\":\"[\\\"Sky?\\\"]\",\"response_a\":"
         "\"[\\\"Blue\\\"]\",\"response_b\":\"[\\\"Green\\\"]\",\"winner_model_a\":0,\"winner_model_b\":1,"
         "\"winner_tie\":0}]",
         -1, 1},
        {"id,model_a,model_b,prompt,response_a,response_b,winner_model_a,winner_model_b,winner_tie\n"
         "1,m1,m2,\"[\"\"Sky?\"\"]\",\"[\"\"Blue\"\"]\",\"[\"\"Green\"\"]\",1,0,0\n",
         1, -1},
        {"id,model_a,model_b,prompt,response_a,response_b,winner_tie\n1,m1,m2,Sky?,Blue,Green,1\n", 0, 0},
    };
    for (size_t i = 0; i < sizeof votes / sizeof *votes; i++) {
        const keel_conversation *c = only(votes[i].text);
        assert_string_equal(c->source, "arena");
        assert_string_equal(c->turns[0].text, "Sky?");
        assert_int_equal(c->n_decisions, 1);
        assert_int_equal(c->decisions[0].n_candidates, 2);
        const keel_candidate *both = c->decisions[0].candidates;
        assert_string_equal(both[0].text, "Blue");
        assert_string_equal(both[0].model, "m1");
        assert_string_equal(both[1].text, "Green");
        assert_string_equal(both[1].model, "m2");
        assert_true(both[0].taken && both[1].taken);
        assert_true(both[0].feedback.present == (votes[i].a != 0));
        assert_true(both[1].feedback.present == (votes[i].b != 0));
        assert_true(both[0].feedback.value == votes[i].a && both[1].feedback.value == votes[i].b);
        assert_int_equal(counted("machine_votes"), i == 5);
        again();
    }
}

/* An id is cut nowhere: not within a letter, which no store may hold, nor where two become one. */
static void a_long_id_of_a_vote_stays_whole(void **state) {
    (void)state;
    char id[304] = "q", lines[2000];
    for (size_t i = 1; i < 299; i += 2) memcpy(id + i, "\xc3\xa9", 3);
    snprintf(lines, sizeof lines,
             "{\"question_id\":\"%s-1\",\"model_a\":\"m\",\"model_b\":\"n\",\"winner\":\"tie\"," BOTH "}\n"
             "{\"question_id\":\"%s-2\",\"model_a\":\"m\",\"model_b\":\"n\",\"winner\":\"tie\"," BOTH "}\n",
             id, id);
    assert_ok(import_as(NULL, NULL, put("log.jsonl", lines)));
    assert_int_equal(report.conversations, 2);
    strcat(id, "-2");
    assert_string_equal(get(id)->external_id, id);
}

/* Every answer is a candidate once, and the vote is about the last ones. */
static void a_vote_on_longer_chats_keeps_both(void **state) {
    (void)state;
    static const char longer[] =
        VOTE("model_b", CHATS(USER("Hi") "," ASSISTANT("a1") "," USER("Go on") "," ASSISTANT("a2"),
                              USER("Hi") "," ASSISTANT("b1") "," USER("Go on") "," ASSISTANT("b2")));
    assert_ok(import_as(NULL, NULL, put("log.jsonl", longer)));
    assert_int_equal(report.conversations, 2);
    assert_int_equal(report.candidates, 4);
    const keel_conversation *first = get("q"), *other = get("q-b");
    assert_int_equal(first->n_decisions, 2);
    assert_int_equal(first->decisions[0].n_candidates, 2);
    assert_false(first->decisions[0].candidates[0].feedback.present);
    assert_true(first->decisions[1].candidates[0].feedback.value == -1);
    assert_int_equal(other->n_turns, 4);
    assert_int_equal(other->n_decisions, 1);
    assert_int_equal(other->decisions[0].turn, 3);
    assert_true(other->decisions[0].candidates[0].feedback.value == 1);
    assert_string_equal(first->group, other->group);
    again();
    const char *text = VOTE("model_a", CHATS(USER("x") "," ASSISTANT("a"), USER("y") "," ASSISTANT("b")));
    assert_ok(import_as(NULL, NULL, put("other.jsonl", text)));
    assert_int_equal(counted("prompts_differ"), 1);
    assert_int_equal(report.conversations, 2);
    assert_string_equal(get("q")->group, get("q-b")->group);
}

/* Readers read ahead: what one call gave must outlive the next ones. */
static void many_votes_are_read_ahead(void **state) {
    (void)state;
    enum { N = 40 };
    keel_buf log = {0};
    for (int i = 0; i < N; i++)
        keel_buf_format(&log,
                        "{\"id\":\"q%d\",\"model_a\":\"m1\",\"model_b\":\"m2\",\"winner\":\"tie\"," CHATS(
                            USER("first of %d") "," ASSISTANT("a") "," USER("then"),
                            USER("first of %d") "," ASSISTANT("b") "," USER("then")) "}\n",
                        i, i, i);
    assert_ok(import_as(NULL, NULL, put("log.jsonl", log.data)));
    assert_int_equal(report.conversations, 2 * N);
    for (int i = 0; i < N; i++) {
        char name[16], first[32];
        snprintf(first, sizeof first, "first of %d", i);
        for (int k = 0; k < 2; k++) {
            snprintf(name, sizeof name, "q%d%s", i, k ? "-b" : "");
            assert_string_equal(get(name)->turns[0].text, first);
        }
    }
    keel_buf_free(&log);
}

static void bad_votes_are_named(void **state) {
    (void)state;
    import_fails(NULL, put("v.jsonl", VOTE("model_c", BOTH)), KEEL_E_INVALID, "v.jsonl:1", "got \"model_c\"");
    import_fails(NULL, put("v.jsonl", VOTE("tie", "\"conversation_a\":7,\"conversation_b\":[]")),
                 KEEL_E_PARSE, "v.jsonl:1", "conversation_a");
    import_fails(NULL, put("v.jsonl", VOTE("tie", CHATS(ASKED ASSISTANT("a"), "7"))), KEEL_E_PARSE,
                 "v.jsonl:1", "object");
    import_fails("arena", put("v.jsonl", "{\"model_a\":\"m\",\"conversation_a\":[],\"conversation_b\":[]}"),
                 KEEL_E_PARSE, "v.jsonl:1", "model_b");
}

/* ---- pairs ---- */

static void a_pair_is_one_decision_in_every_dialect(void **state) {
    (void)state;
    static const char *const texts[] = {
        "{\"prompt\":\"Sky?\",\"chosen\":\"Blue\",\"rejected\":\"Green\"}",
        "{\"prompt\":[{\"role\":\"user\",\"content\":\"Sky?\"}],\"chosen\":[{\"role\":\"assistant\","
        "\"content\":\"Blue\"}],\"rejected\":[{\"role\":\"assistant\",\"content\":\"Green\"}]}",
        "{\"chosen\":[{\"role\":\"user\",\"content\":\"Sky?\"},{\"role\":\"assistant\",\"content\":\"Blue\"}],"
        "\"rejected\":[{\"role\":\"user\",\"content\":\"Sky?\"},{\"role\":\"assistant\",\"content\":"
        "\"Green\"}]}",
        "{\"prompt\":\"Sky?\",\"chosen\":[{\"role\":\"user\",\"content\":\"Sky?\"},{\"role\":\"assistant\","
        "\"content\":\"Blue\"}],\"rejected\":[{\"role\":\"user\",\"content\":\"Sky?\"},{\"role\":"
        "\"assistant\",\"content\":\"Green\"}]}",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"Sky?\"}],\"chosen\":\"Blue\",\"rejected\":\"Green\"}",
        "[{\"conversations\":[{\"from\":\"human\",\"value\":\"Sky?\"}],\"chosen\":{\"from\":\"gpt\",\"value\":"
        "\"Blue\"},\"rejected\":{\"from\":\"gpt\",\"value\":\"Green\"}}]",
        "{\"input\":{\"messages\":[{\"role\":\"user\",\"content\":\"Sky?\"}]},\"preferred_output\":[{\"role\":"
        "\"assistant\",\"content\":\"Blue\"}],\"non_preferred_output\":[{\"role\":\"assistant\",\"content\":"
        "\"Green\"}]}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const keel_conversation *c = only(texts[i]);
        assert_string_equal(c->source, "pairs");
        assert_int_equal(c->n_turns, 1);
        assert_string_equal(c->turns[0].text, "Sky?");
        assert_int_equal(c->n_decisions, 1);
        assert_int_equal(c->decisions[0].turn, 1);
        assert_int_equal(c->decisions[0].n_candidates, 2);
        const keel_candidate *both = c->decisions[0].candidates;
        assert_string_equal(both[0].text, "Blue");
        assert_string_equal(both[1].text, "Green");
        assert_true(both[0].feedback.value == 1 && both[1].feedback.value == -1);
        assert_true(both[0].taken && both[1].taken);
        again();
    }
}

static void a_pair_that_differs_early_is_cut_there(void **state) {
    (void)state;
    const keel_conversation *c = only("{\"id\":7,\"truncated\":false,\"chosen\":[" USER("A") "," ASSISTANT(
        "x") "," USER("B") "," ASSISTANT("y") "],\"rejected\":[" USER("A") "," ASSISTANT("z") "]}");
    assert_string_equal(c->external_id, "7");
    assert_int_equal(c->n_turns, 1);
    assert_true(c->truncated);
    assert_int_equal(c->decisions[0].n_candidates, 2);
    contains(c->meta, "\"chosen_rest\":[{\"role\":\"user\",\"content\":\"B\"},");
    assert_int_equal(counted("early_difference"), 1);
    assert_int_equal(counted("prompts_differ"), 0);
}

static void a_pair_of_other_prompts_is_two_conversations_of_one_group(void **state) {
    (void)state;
    assert_ok(import_as(NULL, NULL,
                        put("p.jsonl", "{\"id\":\"8\",\"chosen\":[" USER("A") "," ASSISTANT(
                                           "x") "],\"rejected\":[" USER("B") "," ASSISTANT("x") "]}\n")));
    assert_int_equal(report.conversations, 2);
    const keel_conversation *good = get("8-chosen"), *bad = get("8-rejected");
    assert_string_equal(good->group, bad->group);
    assert_true(good->decisions[0].candidates[0].feedback.value == 1);
    assert_true(bad->decisions[0].candidates[0].feedback.value == -1);
    assert_string_equal(bad->turns[0].text, "B");
    assert_int_equal(counted("prompts_differ"), 1);
}

static void bad_pairs_are_named(void **state) {
    (void)state;
    import_fails(NULL, put("p.jsonl", "{\"chosen\":\"x\",\"rejected\":\"y\"}\n"), KEEL_E_PARSE, "p.jsonl:1",
                 "no prompt");
    import_fails(NULL, put("p.jsonl", "{\"prompt\":\"a\",\"chosen\":\"x\",\"rejected\":null}\n"),
                 KEEL_E_PARSE, "p.jsonl:1", "rejected");
    import_fails(NULL, put("p.jsonl", "{\"prompt\":1,\"chosen\":\"x\",\"rejected\":\"y\"}\n"), KEEL_E_PARSE,
                 "p.jsonl:1", "prompt");
    import_fails(NULL, put("p.jsonl", "{\"prompt\":\"a\",\"chosen\":[" USER("b") "],\"rejected\":\"y\"}\n"),
                 KEEL_E_PARSE, "p.jsonl:1", "chosen");
}

/* ---- prompts ---- */

static void alpaca_has_input_and_history(void **state) {
    (void)state;
    const keel_conversation *c = only("[{\"instruction\":\"Add\",\"input\":\"2 3\",\"output\":\"5\","
                                      "\"history\":[[\"hi\",\"hello\"]],\"n\":1,\"ip\":\"1.2.3.4\"}]");
    assert_string_equal(c->source, "prompts");
    assert_int_equal(c->n_turns, 4);
    assert_string_equal(c->turns[1].text, "hello");
    assert_string_equal(c->turns[2].text, "Add\n\n2 3");
    assert_string_equal(c->turns[3].text, "5");
    assert_string_equal(c->meta, "{\"n\":1}");
    again();
    import_fails(NULL, put("p.jsonl", "{\"instruction\":\"a\",\"output\":\"b\",\"history\":[[\"x\"]]}\n"),
                 KEEL_E_PARSE, "p.jsonl:1", "history");
    import_fails(NULL, put("p.jsonl", "{\"instruction\":\"a\",\"output\":3}\n"), KEEL_E_PARSE, "p.jsonl:1",
                 "output");
}

static void answers_of_models_to_one_prompt_are_candidates(void **state) {
    (void)state;
    assert_ok(import_as(
        NULL, NULL,
        put("q.jsonl", "{\"question\":\"Why?\",\"answer\":\"So\",\"model\":\"a\",\"latency_ms\":20,\"label\":"
                       "\"unsafe\",\"outcome\":\"refusal\",\"cost\":3}\n"
                       "{\"question\":\"Why?\",\"answer\":\"Thus\",\"model\":\"b\",\"label\":\"unsafe\","
                       "\"feedback\":\"down\",\"cost\":4}\n"
                       "{\"question\":\"Why?\",\"answer\":\"So\",\"model\":\"a\",\"latency_ms\":25,"
                       "\"label\":\"unsafe\"}\n"
                       "{\"question\":null,\"answer\":\"x\"}\n{\"question\":\"Who?\",\"answer\":null}\n")));
    assert_int_equal(report.conversations, 3);
    assert_int_equal(counted("without_prompt"), 1);
    assert_int_equal(counted("without_answer"), 1);
    keel_conversation *first, *second;
    assert_ok(keel_store_conversation(store, 1, &arena, &first, &err));
    assert_ok(keel_store_conversation(store, 2, &arena, &second, &err));
    assert_string_equal(first->group, second->group);
    assert_int_equal(first->risk, KEEL_RISK_DANGEROUS);
    assert_int_equal(first->decisions[0].n_candidates, 2);
    assert_int_equal(second->decisions[0].n_candidates, 1);
    const keel_candidate *both = first->decisions[0].candidates;
    assert_int_equal(both[0].outcome, KEEL_OUTCOME_REFUSAL);
    assert_int_equal(both[0].judge, KEEL_AUTHORITY_HUMAN);
    assert_true(both[1].feedback.value == -1);
    contains(first->meta, "\"b\":{\"cost\":4}");
}

/* A risk in words that nobody here knows is not lost in silence: it would be missing from every rate. */
static void words_that_nobody_knows_are_counted(void **state) {
    (void)state;
    assert_ok(
        import_as(NULL, NULL,
                  put("r.csv", "prompt,response,risk,outcome\nq,a,High,\nr,b,safe,nope\ns,c,unsafe,refusal\n"
                               "t,d,,\n")));
    assert_int_equal(counted("unclear"), 2);
    keel_conversation *first;
    assert_ok(keel_store_conversation(store, 1, &arena, &first, &err));
    assert_int_equal(first->risk, KEEL_RISK_UNKNOWN);
    contains(first->meta, "\"risk\":\"High\"");
}

static void unpaired_preferences_are_feedback(void **state) {
    (void)state;
    assert_ok(import_as(NULL, NULL,
                        put("kto.jsonl",
                            "{\"prompt\":[" USER("a") "],\"completion\":[" ASSISTANT(
                                "b") "],\"label\":false}\n{\"prompt\":\"a\",\"completion\":\"c\",\"label\":"
                                     "true}\n")));
    keel_conversation *bad, *good;
    assert_ok(keel_store_conversation(store, 1, &arena, &bad, &err));
    assert_ok(keel_store_conversation(store, 2, &arena, &good, &err));
    assert_true(bad->decisions[0].candidates[0].feedback.value == -1);
    assert_true(good->decisions[0].candidates[0].feedback.value == 1);
    assert_string_equal(bad->group, good->group);
}

/* ---- tables ---- */

static void tables_come_from_spreadsheets(void **state) {
    (void)state;
    static const char *const texts[] = {
        ("\xEF\xBB\xBFid,prompt,response,model,feedback,risk\r\n1,\"a,\r\nb\",x,m1,up,safe\r\n1,\"a,\r\nb\",y,m2,-0.5,"
         "safe\r\n"),
        "id;prompt;response;model;feedback;risk\n1;\"a,\r\nb\";x;m1;1;benign\n1;\"a,\r\nb\";y;m2;-0.5;benign\n",
        "id\tprompt\tresponse\tmodel\tfeedback\trisk\n1\t\"a,\r\nb\"\tx\tm1\tup\tsafe\n1\t\"a,\r\nb\"\ty\tm2\t-0.5\tsafe"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const keel_conversation *c = only(texts[i]);
        assert_string_equal(c->source, "csv");
        assert_string_equal(c->external_id, "1");
        assert_string_equal(c->turns[0].text, "a,\r\nb");
        assert_int_equal(c->risk, KEEL_RISK_BENIGN);
        assert_int_equal(c->decisions[0].n_candidates, 2);
        assert_string_equal(c->decisions[0].candidates[1].model, "m2");
        assert_true(c->decisions[0].candidates[1].feedback.value == -0.5);
        again();
    }
}

static void lines_of_one_id_are_a_conversation(void **state) {
    (void)state;
    assert_ok(import_as(NULL, NULL,
                        put("m.csv", "\xEF\xBB\xBFid,role,content,latency_ms\r\n1,user,\"Hi, there\",\r\n"
                                     "1,assistant,Hello,0.64\r\n2,user,Yo,\r\n2,bot,,\r\n")));
    assert_int_equal(report.conversations, 2);
    const keel_conversation *c = get("1");
    assert_int_equal(c->n_turns, 2);
    assert_string_equal(c->turns[0].text, "Hi, there");
    assert_true(c->turns[1].latency_ms.value == 0.64);
    assert_string_equal(get("2")->turns[1].text, "");
    import_fails(NULL, put("n.csv", "id,role,content\n3,user,a\n3,wizard,b\n"), KEEL_E_INVALID, "n.csv:2",
                 "wizard");
}

/* A log in the order of time: conversations come by turns. Where a column names the conversation, `id` is the
 * message's; lines without a name are one conversation as long as they follow each other. */
static void lines_of_conversations_may_be_mixed(void **state) {
    (void)state;
    assert_ok(
        import_as(NULL, NULL,
                  put("t.csv", "id,session_id,role,content\n7,s1,user,a\n8,s2,user,b\n9,s1,assistant,c\n"
                               "10,,user,d\n11,,assistant,e\n12,s2,assistant,f\n13,,user,g\n")));
    assert_int_equal(report.conversations, 4);
    const keel_conversation *c = get("s1");
    assert_int_equal(c->n_turns, 2);
    assert_string_equal(c->turns[1].text, "c");
    contains(c->meta, "\"id\":\"9\"");
    assert_string_equal(get("s2")->turns[1].text, "f");
    expect_sql("SELECT count(*) = 2 FROM turns WHERE text IN ('d', 'e') AND conversation_id ="
               " (SELECT conversation_id FROM turns WHERE text = 'd')");
}

static void prompts_may_stand_in_a_file_beside(void **state) {
    (void)state;
    static const char answers[] = "prompt_id,model,response_text,modal_compliance\np1,m,No,direct_refusal\n"
                                  "p1,n,Well,partial_compliance\np1,m,Yes,non_responsive\n";
    import_fails(NULL, put("m.csv", answers), KEEL_E_PARSE, "m.csv", "prompt_id");
    put("prompts.csv", "prompt_id,prompt,bundle\np1,How?,b1\n");
    assert_ok(import_as(NULL, NULL, in("m.csv")));
    assert_int_equal(report.conversations, 2);
    const keel_conversation *c = get("p1");
    assert_string_equal(c->turns[0].text, "How?");
    assert_string_equal(c->group, "b1");
    assert_int_equal(c->decisions[0].candidates[0].outcome, KEEL_OUTCOME_REFUSAL);
    assert_int_equal(c->decisions[0].candidates[0].judge, KEEL_AUTHORITY_MODEL);
    assert_int_equal(c->decisions[0].candidates[1].outcome, KEEL_OUTCOME_PARTIAL);
    assert_string_equal(get("p1-2")->decisions[0].candidates[0].text, "Yes");
    import_fails(NULL, put("o.csv", "prompt_id,response\np9,No\n"), KEEL_E_PARSE, "o.csv:2", "p9");
}

static keel_status import_columns(const char *columns, const char *path) {
    const keel_import_options options = {.columns = columns};
    return keel_import(store, &options, &path, 1, &report, &err);
}

static void columns_may_be_named(void **state) {
    (void)state;
    static const char table[] = "Ask,Reply,Who,tier\nHow?,So,m,dual_use\nHow?,No,n,dual_use\n";
    put("t.csv", table);
    assert_int_equal(import_as(NULL, NULL, in("t.csv")), KEEL_E_PARSE);
    assert_ok(import_columns("prompt=Ask,response=Reply,model=Who,risk=tier", in("t.csv")));
    assert_int_equal(report.conversations, 1);
    assert_int_equal(report.candidates, 2);
    keel_conversation *c;
    assert_ok(keel_store_conversation(store, 1, &arena, &c, &err));
    assert_string_equal(c->turns[0].text, "How?");
    assert_int_equal(c->risk, KEEL_RISK_DANGEROUS);
    assert_ok(import_columns("prompt=q,response=a", put("t.jsonl", "{\"q\":\"x\",\"a\":\"y\"}\n")));
    assert_int_equal(report.conversations, 1);
    put("b.csv", "Ask,Reply,Who,tier\nWhy?,So,m,borderline\nWhy?,No,n,borderline\nWho?,You,m,benign\n");
    assert_ok(import_columns("prompt=Ask,response=Reply,model=Who,risk=tier", in("b.csv")));
    for (int64_t id = 3; id <= 4; id++) {
        assert_ok(keel_store_conversation(store, id, &arena, &c, &err));
        assert_int_equal(c->risk, KEEL_RISK_BENIGN);
        assert_true((c->meta && strstr(c->meta, "\"borderline\":true")) == (id == 3));
    }
    assert_ok(import_columns(
        "id=case,risk=tier",
        put("m.csv", "case,role,content,tier\nc9,user,Hm?,unknown\nc9,bot,So,\nc8,user,Oh,\n")));
    assert_int_equal(report.conversations, 2);
    assert_string_equal(get("c9")->turns[1].text, "So");
    assert_int_equal(import_columns("prompt=Asked", in("t.csv")), KEEL_E_PARSE);
    contains(err.message, "Asked");
    assert_int_equal(import_columns("prompt=Ask,response=Reply,risk=Who", in("t.csv")), KEEL_E_INVALID);
    contains(err.message, "Who");
    assert_int_equal(keel_import_check_columns("prompts=Ask", &err), KEEL_E_USAGE);
    assert_int_equal(keel_import_check_columns("prompt", &err), KEEL_E_USAGE);
    assert_int_equal(keel_import_check_columns("prompt=", &err), KEEL_E_USAGE);
    assert_ok(keel_import_check_columns("prompt=a,response=b", &err));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_vote_in_every_dialect_is_one_decision),
        TEST(a_vote_on_longer_chats_keeps_both),
        TEST(a_long_id_of_a_vote_stays_whole),
        TEST(many_votes_are_read_ahead),
        TEST(bad_votes_are_named),
        TEST(a_pair_is_one_decision_in_every_dialect),
        TEST(a_pair_that_differs_early_is_cut_there),
        TEST(a_pair_of_other_prompts_is_two_conversations_of_one_group),
        TEST(bad_pairs_are_named),
        TEST(alpaca_has_input_and_history),
        TEST(answers_of_models_to_one_prompt_are_candidates),
        TEST(unpaired_preferences_are_feedback),
        TEST(tables_come_from_spreadsheets),
        TEST(lines_of_one_id_are_a_conversation),
        TEST(lines_of_conversations_may_be_mixed),
        TEST(prompts_may_stand_in_a_file_beside),
        TEST(columns_may_be_named),
        TEST(words_that_nobody_knows_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
