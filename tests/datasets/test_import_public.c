/* The importers of public formats, on tiny logs written here. */
#define SCRATCH "import-public"
#include "fixture.h"
#include "support/faults.h"

/* ---- XSTest ---- */

#define COMPLETIONS "id,type,prompt,completion,annotation_1,annotation_2,agreement,final_label\r\n"

static void put_xstest(void) {
    put("xstest_v2_completions_one.csv", COMPLETIONS
        "v2-2,homonyms,\"How, \"\"please\"\"\nkill it?\",\"Line 1\r\nLine 2\",a,b,c,1_full_compliance\r\n"
        "v2-27,contrast_homonyms,How?,Never,a,b,c,2_full_refusal\r\n");
    put("xstest_v2_completions_two.csv", COMPLETIONS
        "v2-27,contrast_homonyms,How?,Perhaps,a,b,c,3_partial_refusal\n"
        "v2-2,homonyms,\"How, \"\"please\"\"\nkill it?\",,1_full_compliance,1_full_compliance,c,");
    put("xstest_prompts.csv",
        "id,prompt,type,label,focus,note\r\n2,\"How, \"\"please\"\"\nkill it?\",homonyms,safe,kill,\r\n"
        "27,How?,contrast_homonyms,unsafe,kill,violence\r\n30,Why?,contrast_homonyms,unsafe,,\r\n");
}

static void completions_of_one_prompt_are_candidates_of_one_decision(void **state) {
    (void)state;
    put_xstest();
    assert_ok(import_as("xstest", NULL, folder));
    assert_int_equal(report.files, 3);
    assert_int_equal(report.conversations, 3);
    assert_int_equal(report.candidates, 4);
    keel_conversation *safe = get("v2-2"), *unsafe = get("xstest:v2-27");
    assert_string_equal(safe->turns[0].text, "How, \"please\"\nkill it?");
    assert_int_equal(safe->n_turns, 1);
    assert_int_equal(safe->risk, KEEL_RISK_BENIGN);
    assert_int_equal(unsafe->risk, KEEL_RISK_DANGEROUS);
    assert_string_equal(safe->group, "homonyms/2");
    assert_string_equal(unsafe->group, safe->group);
    assert_string_equal(unsafe->split, safe->split);
    contains(unsafe->meta, "\"note\":\"violence\"");
    assert_int_equal(safe->decisions[0].n_candidates, 2);
    const keel_candidate *one = &safe->decisions[0].candidates[0], *two = &safe->decisions[0].candidates[1];
    assert_string_equal(one->text, "Line 1\r\nLine 2");
    assert_string_equal(one->model, "one");
    assert_true(one->taken && two->taken);
    assert_int_equal(one->outcome, KEEL_OUTCOME_COMPLIANCE);
    assert_string_equal(two->text, "");
    assert_int_equal(two->outcome, KEEL_OUTCOME_COMPLIANCE); /* both annotators said so */
    assert_int_equal(two->judge, KEEL_AUTHORITY_HUMAN);
    assert_int_equal(unsafe->decisions[0].candidates[1].outcome, KEEL_OUTCOME_PARTIAL);
    assert_int_equal(get("v2-30")->decisions[0].n_candidates, 0);
}

static void one_file_may_answer_a_prompt_twice(void **state) {
    (void)state;
    put("completions_m.csv", COMPLETIONS "1,homonyms,How?,Never,a,a,c,2_full_refusal\n"
                                         "2,homonyms,Why?,Because,a,a,c,1_full_compliance\n"
                                         "1,homonyms,How?,Thus,a,a,c,1_full_compliance\n"
                                         "1,homonyms,How?,Never,a,a,c,2_full_refusal\n");
    assert_ok(import_as("xstest", NULL, in("completions_m.csv")));
    assert_int_equal(report.conversations, 2);
    assert_int_equal(report.extended, 1);
    assert_int_equal(report.unchanged, 1);
    assert_int_equal(get("v2-1")->decisions[0].n_candidates, 2);
}

static void a_prompt_that_was_mended_since_stays_as_it_was_answered(void **state) {
    static const char *const names[] = {"completions_m.csv", "xstest_prompts.csv"};
    for (int first = 0; first < 2; first++) {
        put(names[0], COMPLETIONS "195,contrast_homonyms,my rival?,No,a,a,c,2_full_refusal\n");
        put(names[1], "id,prompt,type\n195,somebody?,contrast_homonyms\n");
        assert_ok(import_as("xstest", NULL, in(names[first])));
        assert_ok(import_as("xstest", NULL, in(names[1 - first])));
        assert_string_equal(get("v2-195")->turns[0].text, "my rival?");
        assert_int_equal(get("v2-195")->decisions[0].n_candidates, 1);
        end_test(state);
        begin_test(state);
    }
    put(names[0], COMPLETIONS "1,homonyms,A?,No,a,a,c,2_full_refusal\n");
    assert_ok(import_as("xstest", NULL, in(names[0])));
    import_fails("xstest", put("completions_n.csv", COMPLETIONS "1,homonyms,B?,No,a,a,c,2_full_refusal\n"),
                 KEEL_E_CONFLICT, "completions_n.csv:2", "text");
}

static void labels_of_machines_stand_beside_those_of_people(void **state) {
    (void)state;
    put("completions_m.csv", COMPLETIONS "1,homonyms,A?,No,2_full_refusal,2_full_refusal,c,2_full_refusal\n");
    put("completions_m_streval.csv", "id,type,prompt,completion,final_label,strmatch_label\n"
                                     "1,homonyms,A?,No,2_full_refusal,1_full_compliance\n"
                                     "2,homonyms,B?,Yes,2_full_refusal,1_full_compliance\n");
    put("completions_m_gpteval.csv", "id,type,prompt,completion,final_label,gpt4_label\n"
                                     "3,homonyms,C?,Yes,2_full_refusal,\n"
                                     "4,homonyms,D?,Yes,2_full_refusal,3_partial_refusal\n");
    assert_ok(import_as("xstest", NULL, folder));
    assert_int_equal(report.conversations, 4);
    assert_int_equal(report.candidates, 4);
    const keel_candidate *both = get("v2-1")->decisions[0].candidates,
                         *rule = get("v2-2")->decisions[0].candidates;
    assert_int_equal(both->outcome, KEEL_OUTCOME_REFUSAL);
    assert_int_equal(both->judge, KEEL_AUTHORITY_HUMAN);
    assert_string_equal(rule->model, "m");
    assert_int_equal(rule->outcome, KEEL_OUTCOME_COMPLIANCE);
    assert_int_equal(rule->judge, KEEL_AUTHORITY_RULE);
    assert_int_equal(get("v2-3")->decisions[0].candidates[0].outcome, KEEL_OUTCOME_NONE);
    assert_int_equal(get("v2-4")->decisions[0].candidates[0].judge, KEEL_AUTHORITY_MODEL);
}

static void the_order_of_files_does_not_matter(void **state) {
    (void)state;
    static const char *const names[] = {"xstest_prompts.csv", "xstest_v2_completions_one.csv",
                                        "xstest_v2_completions_two.csv"};
    char hashes[2][65];
    for (int round = 0; round < 2; round++) {
        close_store();
        keel_folder_remove(folder, NULL);
        scratch_make(folder, SCRATCH);
        open_store(KEEL_STORE_CREATE);
        put_xstest();
        for (int i = 0; i < 3; i++) assert_ok(import_as("xstest", NULL, in(names[round ? i : 2 - i])));
        assert_ok(keel_store_content_hash(store, NULL, hashes[round], &err));
    }
    assert_string_equal(hashes[0], hashes[1]);
}

static void contrast_groups_go_by_family_and_position(void **state) {
    (void)state;
    put("completions_m.csv", "id,type,prompt,completion,final_label\n"
                             "v2-253,nons_group_real_discr,a,b,1_full_compliance\n"
                             "v2-278,real_group_nons_discr,c,b,1_full_compliance\n"
                             "v2-303,contrast_discr,d,b,1_full_compliance\n"
                             "v2-380,privacy_public,e,b,1_full_compliance\n"
                             "v2-405,privacy_fictional,f,b,1_full_compliance\n"
                             "v2-430,contrast_privacy,g,b,1_full_compliance\n"
                             "v2-451,riddles,h,b,1_full_compliance\n"
                             "v2-476,contrast_riddles,i,b,1_full_compliance\n");
    assert_ok(import_as("xstest", NULL, in("completions_m.csv")));
    static const char *const groups[] = {"discr/3",   "discr/3",   "discr/3",   "privacy/5",
                                         "privacy/5", "privacy/5", "riddles/1", "riddles/1"};
    for (int i = 0; i < 8; i++) {
        keel_conversation *conversation;
        assert_ok(keel_store_conversation(store, i + 1, &arena, &conversation, &err));
        assert_string_equal(conversation->group, groups[i]);
    }
}

static void bad_rows_of_csv_are_named_and_nothing_of_the_file_is_kept(void **state) {
    (void)state;
    static const struct {
        const char *rows, *where, *message;
    } bad[] = {
        {"v2-3,homonyms,p,c,x,y,z,4_other\n", ":3", "final_label"},
        {"v2-3,homonyms,p,c,x,y,z\n", ":3", "fields"},
        {"v2-3,homonyms,p,c,x,y,z,1_full_compliance,more\n", ":3", "fields"},
        {"three,homonyms,p,c,x,y,z,1_full_compliance\n", ":3", "id"},
        {"v2-3,,p,c,x,y,z,1_full_compliance\n", ":3", "type"},
        {"v2-3,homonyms,,c,x,y,z,1_full_compliance\n", ":3", "prompt"},
        {"v2-3,homonyms,p\"q,c,x,y,z,1_full_compliance\n", ":3", "quote"},
        {"v2-3,homonyms,\"p\"q,c,x,y,z,1_full_compliance\n", ":3", "comma"},
        {"v2-3,homonyms,\"a\nb\",\"c,x,y,z,1_full_compliance\n", ":4", "quote"},
        {"v2-3,homonyms,p,c,x\ry,y,z,1_full_compliance\n", ":3", "end of the line"},
        {"v2-3,homonyms,p,\xc3(,x,y,z,1_full_compliance\n", ":3", "byte 133"},
    };
    char text[1024];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(text, sizeof text, COMPLETIONS "v2-2,homonyms,p,c,x,y,z,1_full_compliance\n%s", bad[i].rows);
        import_fails("xstest", put("completions_m.csv", text), KEEL_E_PARSE, bad[i].where, bad[i].message);
    }
    import_fails("xstest", put("completions_m.csv", ""), KEEL_E_PARSE, "completions_m.csv:1", "empty");
    import_fails("xstest", put("completions_m.csv", "id,prompt\n1,x\n"), KEEL_E_PARSE, "completions_m.csv",
                 "type");
    import_fails("xstest",
                 put("completions_m.csv", "\xef\xbb\xbf"
                                          "id,type,prompt\n2,homonyms,p\n2,homonyms,q\n"),
                 KEEL_E_CONFLICT, ":3", "v2-2");
}

/* ---- HH-RLHF ---- */

static void import_hh(const char *chosen, const char *rejected) {
    char text[1024];
    snprintf(text, sizeof text, "{\"chosen\":\"%s\",\"rejected\":\"%s\"}\n", chosen, rejected);
    assert_ok(import_as("hh-rlhf", NULL, put("pairs.jsonl", text)));
}

static keel_conversation *first(int64_t id) {
    keel_conversation *conversation;
    assert_ok(keel_store_conversation(store, id, &arena, &conversation, &err));
    return conversation;
}

#define SHARED "\\n\\nHuman: Hi\\n\\nAssistant: Hello\\n\\nhow are you?\\n\\nHuman: Fine"

static void a_pair_that_shares_all_but_the_last_response_is_one_decision(void **state) {
    (void)state;
    import_hh(SHARED "\\n\\nAssistant: Good ", SHARED "\\n\\nAssistant: Bad");
    assert_int_equal(report.conversations, 1);
    assert_int_equal(counted("early_difference"), 0);
    keel_conversation *c = first(1);
    assert_int_equal(strlen(c->external_id), 16);
    assert_int_equal(c->n_turns, 3);
    assert_string_equal(c->turns[0].text, "Hi");
    assert_string_equal(c->turns[1].text, "Hello\n\nhow are you?");
    assert_int_equal(c->n_decisions, 2);
    assert_int_equal(c->decisions[0].turn, 1);
    assert_false(c->decisions[0].candidates[0].feedback.present);
    assert_int_equal(c->decisions[1].turn, 3);
    assert_int_equal(c->decisions[1].n_candidates, 2);
    const keel_candidate *both = c->decisions[1].candidates;
    assert_string_equal(both[0].text, "Good");
    assert_true(both[0].taken && both[1].taken);
    assert_true(both[0].feedback.value == 1 && both[1].feedback.value == -1);
    assert_null(c->meta);
}

static void a_pair_that_parts_at_an_assistant_turn_is_decided_there(void **state) {
    (void)state;
    import_hh(SHARED "\\n\\nAssistant: Good\\n\\nHuman: More\\n\\nAssistant: End",
              SHARED "\\n\\nAssistant: Bad");
    assert_int_equal(report.conversations, 1);
    assert_int_equal(counted("early_difference"), 1);
    assert_int_equal(counted("prompts_differ"), 0);
    keel_conversation *c = first(1);
    assert_int_equal(c->n_turns, 3);
    assert_int_equal(c->decisions[1].n_candidates, 2);
    contains(c->meta, "\"chosen_rest\":[{\"role\":\"user\",\"content\":\"More\"},");
    contains(c->meta, "\"rejected_rest\":[]");
}

static void a_pair_that_parts_at_a_human_turn_is_two_conversations_of_one_group(void **state) {
    (void)state;
    import_hh("\\n\\nHuman: Hi\\n\\nAssistant: Yo\\n\\nHuman: A\\n\\nAssistant: Good",
              "\\n\\nHuman: Hi\\n\\nAssistant: Yo\\n\\nHuman: B\\n\\nAssistant: Bad");
    assert_int_equal(report.conversations, 2);
    assert_int_equal(counted("early_difference"), 1);
    assert_int_equal(counted("prompts_differ"), 1);
    keel_conversation *a = first(1), *b = first(2);
    assert_string_equal(a->group, b->group);
    assert_string_equal(a->split, b->split);
    assert_int_equal(a->n_turns, 4);
    assert_true(a->decisions[1].candidates[0].feedback.value == 1);
    assert_true(b->decisions[1].candidates[0].feedback.value == -1);
    assert_string_equal(b->decisions[1].candidates[0].text, "Bad");
    assert_false(a->decisions[0].candidates[0].feedback.present);
}

static void equal_transcripts_judge_nothing(void **state) {
    (void)state;
    import_hh(SHARED "\\n\\nAssistant: Same", SHARED "\\n\\nAssistant: Same");
    keel_conversation *c = first(1);
    assert_int_equal(c->n_turns, 4);
    assert_int_equal(c->decisions[1].n_candidates, 1);
    assert_false(c->decisions[1].candidates[0].feedback.present);
}

static void a_transcript_within_the_other_is_kept_apart(void **state) {
    (void)state;
    import_hh(SHARED "\\n\\nAssistant: A\\n\\nHuman: B\\n\\nAssistant: C", SHARED "\\n\\nAssistant: A");
    assert_int_equal(report.conversations, 2);
    assert_int_equal(counted("prompts_differ"), 1);
}

static void bad_transcripts_are_named(void **state) {
    (void)state;
    import_fails("hh-rlhf", put("p.jsonl", "{\"chosen\":\"x\",\"rejected\":\"y\"}\n"), KEEL_E_PARSE,
                 "p.jsonl:1", "chosen");
    import_fails("hh-rlhf", put("p.jsonl", "{\"chosen\":\"\\n\\nHuman: a\\n\\nAssistant: b\"}\n"),
                 KEEL_E_PARSE, "p.jsonl:1", "rejected");
    import_fails(
        "hh-rlhf",
        put("p.jsonl", "{\"chosen\":\"\\n\\nHuman: a\\n\\nAssistant: b\",\"rejected\":\"\\n\\nHuman: a\"}\n"),
        KEEL_E_PARSE, "p.jsonl:1", "rejected: expected an assistant");
    import_fails("hh-rlhf", put("p.jsonl", "{\"chosen\":\"\",\"rejected\":\"\"}\n"), KEEL_E_PARSE,
                 "p.jsonl:1", "chosen");
}

/* ---- SGD ---- */

#define FRAME(service, actions, rest)                                                                        \
    "{\"service\":\"" service "\",\"actions\":[" actions "],\"slots\":[]" rest "}"
#define ACT(name)             "{\"act\":\"" name "\",\"slot\":\"\",\"values\":[]}"
#define WANT(intent)          ",\"state\":{\"active_intent\":\"" intent "\"}"
#define CALL(method)          ",\"service_call\":{\"method\":\"" method "\",\"parameters\":{}}"
#define TURN(speaker, frames) "{\"speaker\":\"" speaker "\",\"utterance\":\"u\",\"frames\":[" frames "]}"
#define DIALOGUE(id, turns)   "{\"dialogue_id\":\"" id "\",\"services\":[\"S\"],\"turns\":[" turns "]}"

static const char schema[] = "[{\"service_name\":\"S\",\"intents\":["
                             "{\"name\":\"Find\",\"is_transactional\":false},"
                             "{\"name\":\"Book\",\"is_transactional\":true},"
                             "{\"name\":\"Pay\",\"is_transactional\":true}]}]";

static void put_sgd(const char *split, const char *dialogues) {
    char name[64], text[4096];
    assert_ok(keel_folder_make(in(split), &err));
    snprintf(name, sizeof name, "%s/schema.json", split);
    put(name, schema);
    snprintf(name, sizeof name, "%s/dialogues_001.json", split);
    snprintf(text, sizeof text, "[%s]", dialogues);
    put(name, text);
}

static void dialogues_bring_acts_splits_and_verdicts(void **state) {
    (void)state;
    put_sgd(
        "train",
        DIALOGUE("1", TURN("USER", FRAME("S", ACT("INFORM_INTENT"), WANT("Find"))) "," TURN("SYSTEM", FRAME("S", ACT("OFFER") "," ACT("INFORM_COUNT") "," ACT("OFFER"), ""))) "," DIALOGUE(
            "2",
            TURN("USER", FRAME("S", ACT("INFORM_INTENT"), WANT("Book"))) "," TURN("SYSTEM", FRAME("S", ACT("NOTIFY_FAILURE"), CALL("Book"))) "," TURN(
                "SYSTEM",
                FRAME(
                    "S", ACT("NOTIFY_SUCCESS"),
                    CALL(
                        "Book")))) "," DIALOGUE("3",
                                                TURN("USER", FRAME("S", ACT("INFORM"), WANT("Book"))) "," TURN(
                                                    "SYSTEM",
                                                    FRAME(
                                                        "S", ACT("NOTIFY_SUCCESS"),
                                                        CALL(
                                                            "Book"))) "," TURN("USER",
                                                                               FRAME(
                                                                                   "S",
                                                                                   ACT("INFORM"),
                                                                                   WANT(
                                                                                       "Pay"))) "," TURN("SYS"
                                                                                                         "TE"
                                                                                                         "M",
                                                                                                         FRAME(
                                                                                                             "S",
                                                                                                             ACT("NOTIFY_FAILURE"),
                                                                                                             CALL(
                                                                                                                 "Pay")))));
    put_sgd("dev",
            DIALOGUE("1", TURN("USER", FRAME("S", ACT("THANK_YOU"), WANT("NONE")))) "," DIALOGUE(
                "2", TURN("USER", FRAME("S", ACT("INFORM"), WANT("Pay"))) "," TURN(
                         "SYSTEM", FRAME("S", ACT("NOTIFY_SUCCESS"),
                                         CALL("Pay"))) "," TURN("SYSTEM", FRAME("S", ACT("NOTIFY_FAILURE"),
                                                                                CALL("Pay")))));
    assert_ok(import_as("sgd", NULL, folder));
    assert_int_equal(report.conversations, 5);
    assert_int_equal(report.turns, 2 + 3 + 4 + 1 + 3);
    assert_int_equal(report.decisions, 1 + 2 + 2 + 2);
    assert_int_equal(report.completed, 1);
    keel_conversation *c = get("train/1");
    assert_string_equal(c->turns[1].act, "INFORM_COUNT+OFFER");
    assert_string_equal(c->decisions[0].candidates[0].act, "INFORM_COUNT+OFFER");
    assert_string_equal(c->decisions[0].candidates[0].text, "u");
    assert_string_equal(c->split, "train");
    assert_string_equal(c->group, "train/1");
    assert_int_equal(c->risk, KEEL_RISK_BENIGN);
    assert_int_equal(c->completed, KEEL_UNKNOWN); /* nothing transactional was asked for */
    assert_int_equal(get("train/2")->completed, KEEL_YES);
    assert_int_equal(get("train/3")->completed, KEEL_NO);
    assert_int_equal(get("dev/2")->completed, KEEL_NO); /* the last notice counts */
    assert_string_equal(get("dev/1")->split, "dev");
}

static void dialogues_need_their_schema(void **state) {
    (void)state;
    put_sgd("dev", DIALOGUE("1", TURN("USER", FRAME("S", ACT("INFORM"), WANT("Fly")))));
    import_fails("sgd", in("dev"), KEEL_E_PARSE, "dialogue 1", "Fly");
    put("dev/schema.json", "{}");
    import_fails("sgd", in("dev"), KEEL_E_PARSE, "schema.json", "expected an array of services");
    unlink(in("dev/schema.json"));
    import_fails("sgd", in("dev"), KEEL_E_NOT_FOUND, "dialogues_001.json", "schema");
}

static void bad_dialogues_are_named(void **state) {
    (void)state;
    static const struct {
        const char *dialogue, *where, *message;
    } bad[] = {
        {"5", "[1]", "object"},
        {"{\"turns\":[]}", "[1]", "dialogue_id"},
        {"{\"dialogue_id\":\"2\"}", "dialogue 2", "turns"},
        {DIALOGUE("2", TURN("ROBOT", "")), "dialogue 2", "ROBOT"},
        {DIALOGUE("2", TURN("SYSTEM", FRAME("S", ACT("NOTIFY_SUCCESS"), ""))), "dialogue 2", "service_call"},
        {DIALOGUE("2", TURN("SYSTEM", "{\"service\":\"S\"}")), "dialogue 2", "actions"},
    };
    char text[1024];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(text, sizeof text, "%s,%s", DIALOGUE("1", ""), bad[i].dialogue);
        put_sgd("dev", text);
        import_fails("sgd", in("dev"), KEEL_E_PARSE, bad[i].where, bad[i].message);
    }
    put("dev/dialogues_001.json", "{}");
    import_fails("sgd", in("dev"), KEEL_E_PARSE, "dialogues_001.json", "expected an array of dialogues");
}

/* ---- faults ---- */

/* Imports path again and again, each time with a later allocation failing, until it works. */
static void import_through_faults(const char *format, const char *path) {
    faults failing;
    keel_split_count *counts;
    size_t failures = 0, before, splits;
    assert_ok(keel_store_counts(store, &arena, &counts, &before, &err));
    for (size_t n = 1;; n += 1 + n / 30, failures++) {
        faults_begin(&failing, n);
        keel_status status = import_as(format, NULL, path);
        faults_end();
        if (status == KEEL_OK) break;
        if (status != KEEL_E_NOMEM) print_error("%s %zu: %s: %s\n", format, n, err.where, err.message);
        assert_int_equal(status, KEEL_E_NOMEM);
        assert_ok(keel_store_counts(store, &arena, &counts, &splits, &err));
        assert_int_equal(splits, before); /* nothing of the file is there */
    }
    assert_true(failures > 20);
}

static void running_out_of_memory_keeps_nothing_of_the_file(void **state) {
    (void)state;
    static const char pair[] = "{\"chosen\":\"" SHARED "\\n\\nAssistant: A\\n\\nHuman: B\\n\\nAssistant: C\","
                               "\"rejected\":\"" SHARED "\\n\\nAssistant: D\"}\n";
    static const char chat[] = "{\"k\":1,\"messages\":[{\"role\":\"assistant\",\"content\":\"a\",\"x\":2,"
                               "\"candidates\":[\"b\",{\"content\":\"c\",\"y\":3}]}]}\n";
    static const char *const names[] = {"chat", "hh-rlhf", "xstest", "sgd"};
    for (int i = 0; i < 4; i++) {
        close_store();
        keel_folder_remove(folder, NULL);
        scratch_make(folder, SCRATCH);
        open_store(KEEL_STORE_CREATE);
        put("chat.jsonl", chat);
        put("pairs.jsonl", pair);
        put_xstest();
        put_sgd("dev", DIALOGUE("1", TURN("USER", FRAME("S", ACT("INFORM"), WANT("Book")))));
        char paths[4][64];
        static const char *const files[] = {"chat.jsonl", "pairs.jsonl", "xstest_v2_completions_one.csv",
                                            "dev"};
        snprintf(paths[i], sizeof paths[i], "%s", in(files[i]));
        import_through_faults(names[i], paths[i]);
        assert_true(report.conversations > 0);
        if (i != 2) continue;
        snprintf(paths[i], sizeof paths[i], "%s", in("xstest_prompts.csv")); /* adds to their meta */
        import_through_faults(names[i], paths[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(completions_of_one_prompt_are_candidates_of_one_decision),
        TEST(one_file_may_answer_a_prompt_twice),
        TEST(a_prompt_that_was_mended_since_stays_as_it_was_answered),
        TEST(labels_of_machines_stand_beside_those_of_people),
        TEST(the_order_of_files_does_not_matter),
        TEST(contrast_groups_go_by_family_and_position),
        TEST(bad_rows_of_csv_are_named_and_nothing_of_the_file_is_kept),
        TEST(a_pair_that_shares_all_but_the_last_response_is_one_decision),
        TEST(a_pair_that_parts_at_an_assistant_turn_is_decided_there),
        TEST(a_pair_that_parts_at_a_human_turn_is_two_conversations_of_one_group),
        TEST(equal_transcripts_judge_nothing),
        TEST(a_transcript_within_the_other_is_kept_apart),
        TEST(bad_transcripts_are_named),
        TEST(dialogues_bring_acts_splits_and_verdicts),
        TEST(dialogues_need_their_schema),
        TEST(bad_dialogues_are_named),
        TEST(running_out_of_memory_keeps_nothing_of_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
