/* Answers of several models to the same prompt, in a file for each: candidates of one decision, whatever the
 * order of the files. */
#define SCRATCH "answers"
#include "fixture.h"

#define ANSWER(index) c->decisions[0].candidates[index]

/* ---- the files ---- */

typedef struct file {
    const char *name, *text;
} file;

#define ROW(id, prompt, continuation, responses, metrics)                                                    \
    "{\"doc_id\": " id ", \"doc\": {\"n\": " id "}, \"target\": \"4\", \"arguments\": {\"gen_args_0\": "     \
    "{\"arg_0\": \"" prompt "\", \"arg_1\": " continuation "}" responses ", \"filter\": \"none\", "          \
    "\"doc_hash\": \"h" id "\", \"metrics\": [\"acc\"], \"acc\": " metrics "}\n"
#define SAID(text) "{}", "}, \"resps\": [[\"" text "\"]]"
#define CHOSEN(a, b)                                                                                         \
    "\" A\"", ", \"gen_args_1\": {\"arg_0\": \"Pick\", \"arg_1\": \" B\"}}, \"resps\": [[[" a                \
              ", false]], [[" b ", false]]]"
#define ROW_OF(...) ROW(__VA_ARGS__)

static const file of_lm_eval[] = {
    {"samples_t_2024-05-29T12-00-00.5.jsonl",
     ROW_OF("0", "2+2?", SAID("4"), "1.0") ROW_OF("1", "Pick", CHOSEN("-1", "-2"), "1.0")
         ROW_OF("2", "3+3?", SAID("6"), "1.0")},
    {"samples_t_2024-05-30T12-00-00.5.jsonl",
     ROW_OF("0", "2+2?", SAID("5"), "0.0") ROW_OF("1", "Pick", CHOSEN("-2", "-1"), "0.0")
         ROW_OF("2", "Sum: 3+3?", SAID("6"), "1.0")},
    {"samples_t_2024-05-31T12-00-00.5.jsonl",
     ROW_OF("0", "2+2?", SAID("4"), "1.0") ROW_OF("1", "Pick", CHOSEN("-1", "-3"), "1.0")
         ROW_OF("2", "3+3?", SAID("6"), "1.0")},
};

#define LOG(model, samples)                                                                                        \
    "{\"version\": 2, \"status\": \"success\", \"eval\": {\"run_id\": \"r\", \"task\": \"t\", \"model\": \"" model \
    "\"}, \"samples\": [" samples "]}"
#define SAMPLE(epoch, uuid, answer, seconds, score, more)                                                    \
    "{\"id\": 7, \"epoch\": " epoch ", \"uuid\": \"" uuid                                                    \
    "\", \"target\": \"x\", \"messages\": [{\"role\": "                                                      \
    "\"user\", \"content\": \"Say x\"}, {\"role\": \"assistant\", \"content\": \"" answer                    \
    "\"}], \"output\": {\"time\": " seconds "}, \"scores\": {\"match\": {\"value\": \"" score "\"}}" more    \
    "}"

/* A sample whose answer the service cut off. */
#define CUT_OFF                                                                                                 \
    "{\"id\": 7, \"epoch\": 4, \"uuid\": \"b4\", \"messages\": [{\"role\": \"user\", \"content\": \"Say x\"}, " \
    "{\"role\": \"assistant\", \"content\": \"x and\"}], \"output\": {\"choices\": [{\"stop_reason\": "         \
    "\"max_tokens\"}]}}"

static const file of_inspect[] = {
    {"a.json", LOG("a", SAMPLE("1", "a1", "x", "1", "C", "") "," SAMPLE("2", "a2", "x", "2", "C", ""))},
    {"b.json",
     LOG("b", SAMPLE("1", "b1", "y", "3", "I", "") "," SAMPLE("2", "b2", "x", "4", "C", "") "," SAMPLE(
                  "3", "b3", "x", "4", "C", ", \"limit\": {\"type\": \"token\"}") "," CUT_OFF)},
    {"c.json", LOG("a", SAMPLE("1", "c1", "x", "1.5", "C", ""))}, /* once more, of another run */
};

#define RESULT(provider, output, success)                                                                           \
    "{\"testIdx\": 0, \"prompt\": {\"raw\": \"Hi\"}, \"vars\": {\"q\": \"Hi\"}, \"provider\": {\"id\": \"" provider \
    "\"}, \"response\": {\"output\": \"" output "\"}, \"success\": " success ", \"latencyMs\": 12}"
#define EVALUATION(id, results)                                                                              \
    "{\"evalId\": \"" id "\", \"results\": {\"version\": 3, \"results\": [" results "]}, \"config\": {}}"

static const file of_promptfoo[] = {
    {"a.json", EVALUATION("e1", RESULT("a", "Yes", "true") "," RESULT("b", "No", "false"))},
    {"b.json", EVALUATION("e2", RESULT("c", "Yes", "true"))},
    {"c.json", EVALUATION("e3", RESULT("d", "Perhaps", "true") "," RESULT("a", "Yes", "true"))},
};

static const file of_csv[] = {
    {"a.csv", "prompt,response,model,latency_ms\nHi,Hello,a,5\nHi,Yo,a,6\n"},
    {"b.csv", "prompt,response,model,latency_ms\nHi,Hello,b,7\n"},
    {"c.csv", "prompt,response,model,latency_ms\nHi,Hello,a,9\nHi,Hm,c,8\n"},
};

/* ---- orders ---- */

/* The file in a folder of its own, named after the model as lm-eval does. */
static const char *write_file(const file *one, int number) {
    char name[200];
    snprintf(name, sizeof name, "model-%c", 'a' + number);
    if (!keel_file_is_folder(in(name))) assert_int_equal(keel_folder_make(in(name), NULL), KEEL_OK);
    snprintf(name, sizeof name, "model-%c/%s", 'a' + number, one->name);
    return keel_arena_strdup(&arena, put(name, one->text));
}

static void start_anew(void **state) {
    assert_int_equal(end_test(state), 0);
    assert_int_equal(begin_test(state), 0);
}

/* Imports three files in that order, in one command or one each, and the last of them twice. */
static void import_in_order(const file files[3], const int order[3], bool at_once) {
    const char *paths[3];
    char before[65], after[65];
    for (int i = 0; i < 3; i++) paths[i] = write_file(&files[order[i]], order[i]);
    for (int i = 0; i < (at_once ? 1 : 3); i++)
        assert_ok(keel_import(store, NULL, paths + i, at_once ? 3 : 1, &report, &err));
    assert_ok(keel_store_content_hash(store, NULL, before, &err));
    keel_buf again = {0}; /* the same, as another file */
    const bool table = files == of_csv;
    keel_buf_format(&again, "%s%s%s", table ? "\xef\xbb\xbf" : "", files[order[2]].text, table ? "" : "\n");
    assert_int_equal(keel_file_write(paths[2], again.data, again.length, NULL), KEEL_OK);
    keel_buf_free(&again);
    assert_ok(import_as(NULL, NULL, paths[2]));
    assert_int_equal(report.files_known, 0);
    assert_int_equal(report.conversations + report.extended + report.candidates, 0);
    assert_ok(keel_store_content_hash(store, NULL, after, &err));
    assert_string_equal(before, after);
}

static void no_order_of_files_matters(void **state) {
    static const file *const families[] = {of_lm_eval, of_inspect, of_promptfoo, of_csv};
    static const int orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (size_t f = 0; f < sizeof families / sizeof *families; f++) {
        char first[65] = "", hash[65];
        for (int i = 0; i < 12; i++) {
            start_anew(state);
            import_in_order(families[f], orders[i / 2], i % 2);
            assert_ok(keel_store_content_hash(store, NULL, hash, &err));
            if (first[0]) assert_string_equal(first, hash);
            memcpy(first, hash, sizeof first);
        }
    }
}

/* ---- what becomes of them ---- */

static const int as_they_come[] = {0, 1, 2};

/* How many candidates say so; taken: how many of them were. */
static int said(const keel_conversation *c, const char *text, int *taken) {
    int n = 0;
    *taken = 0;
    for (size_t i = 0; i < c->decisions[0].n_candidates; i++) {
        if (strcmp(ANSWER(i).text, text) != 0) continue;
        n++;
        *taken += ANSWER(i).taken;
        assert_true(ANSWER(i).taken == (ANSWER(i).model != NULL));
    }
    return n;
}

static void samples_of_models_are_of_one_decision(void **state) {
    (void)state;
    int taken;
    import_in_order(of_lm_eval, as_they_come, true);
    keel_conversation *c = of_group("h0");
    assert_int_equal(c->n_turns, 1);
    assert_int_equal(c->decisions[0].n_candidates, 3);
    assert_int_equal(c->completed, KEEL_UNKNOWN); /* one of three failed */
    assert_string_equal(ANSWER(0).model, "model-a");
    assert_string_equal(ANSWER(1).model, "model-b");
    assert_string_equal(ANSWER(2).model, "model-c");
    assert_float_equal(ANSWER(0).logged_reward.value[KEEL_ACCURACY], 1, 0);
    assert_true(ANSWER(1).logged_reward.present[KEEL_ACCURACY]);
    assert_float_equal(ANSWER(1).logged_reward.value[KEEL_ACCURACY], 0, 0);
    contains(c->meta, "\"model-b\":{\"filter\":\"none\",\"metrics\":{\"acc\":0}}");
    c = of_group("h1"); /* both continuations were chosen by someone: nobody's are not kept beside them */
    assert_int_equal(c->decisions[0].n_candidates, 3);
    assert_int_equal(said(c, " A", &taken), 2);
    assert_int_equal(taken, 2);
    assert_int_equal(said(c, " B", &taken), 1);
    assert_int_equal(taken, 1);
    c = of_group("h2"); /* one model was asked otherwise */
    assert_string_equal(c->turns[0].text, "3+3?");
    assert_int_equal(c->decisions[0].n_candidates, 2);
    size_t count;
    assert_ok(keel_store_count_conversations(store, NULL, &count, &err));
    assert_int_equal(count, 4);
}

static void one_continuation_is_nobodys_until_it_is_chosen(void **state) {
    (void)state;
    int taken;
    const char *path = write_file(&of_lm_eval[0], 0);
    assert_ok(import_as(NULL, NULL, path));
    keel_conversation *c = of_group("h1");
    assert_int_equal(c->completed, KEEL_YES);
    assert_int_equal(said(c, " B", &taken), 1);
    assert_int_equal(taken, 0);
    assert_ok(import_as(NULL, NULL, write_file(&of_lm_eval[2], 2)));
    c = of_group("h1");
    assert_int_equal(c->completed, KEEL_YES); /* both did it */
    assert_int_equal(said(c, " A", &taken), 2);
    assert_int_equal(said(c, " B", &taken), 1);
    assert_int_equal(taken, 0);
}

static void epochs_of_models_meet_each_other(void **state) {
    (void)state;
    keel_cursor *cursor;
    keel_conversation *c;
    size_t n[4] = {0};
    import_in_order(of_inspect, as_they_come, false);
    assert_ok(keel_cursor_open(&cursor, store, NULL, KEEL_ORDER_STORED, &err));
    for (size_t i = 0; i < 2; i++) {
        assert_ok(keel_cursor_next(cursor, &arena, &c, &err));
        assert_string_equal(c->group, "t/7");
        n[i] = c->decisions[0].n_candidates;
        if (i == 0) assert_int_equal(c->completed, KEEL_UNKNOWN);
        if (i == 1) assert_int_equal(c->completed, KEEL_YES);
        if (i == 0) /* the same words of the same model, another time */
            assert_true(ANSWER(0).latency_ms.value == 1000 && ANSWER(1).latency_ms.value == 1500);
    }
    keel_cursor_close(cursor);
    static const char *const broken[] = {"b3", "b4"}; /* ended by a limit, cut off: no whole answer */
    for (size_t i = 0; i < 2; i++) {
        c = get(broken[i]);
        assert_true(c->truncated);
        assert_int_equal(c->n_turns, 2);
    }
    size_t count;
    assert_ok(keel_store_count_conversations(store, NULL, &count, &err));
    assert_int_equal(count, 4);
    assert_int_equal(n[0], 3);
    assert_int_equal(n[1], 2);
}

static void results_of_other_providers_come_later(void **state) {
    (void)state;
    keel_cursor *cursor;
    keel_conversation *c, *none;
    import_in_order(of_promptfoo, as_they_come, false);
    assert_ok(keel_cursor_open(&cursor, store, NULL, KEEL_ORDER_STORED, &err));
    assert_ok(keel_cursor_next(cursor, &arena, &c, &err));
    assert_ok(keel_cursor_next(cursor, &arena, &none, &err));
    keel_cursor_close(cursor);
    assert_null(none);
    assert_int_equal(c->decisions[0].n_candidates, 4);
    for (size_t i = 0; i < 4; i++)
        assert_float_equal(ANSWER(i).logged_reward.value[KEEL_ACCURACY], strcmp(ANSWER(i).text, "No") != 0,
                           0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(no_order_of_files_matters),
        TEST(samples_of_models_are_of_one_decision),
        TEST(one_continuation_is_nobodys_until_it_is_chosen),
        TEST(epochs_of_models_meet_each_other),
        TEST(results_of_other_providers_come_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
