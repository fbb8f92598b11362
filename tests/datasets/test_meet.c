/* Conversations that are in the store already: what goes on, what is known later, what contradicts. */
#define SCRATCH "meet"
#include "datasets/dedupe.h"
#include "datasets/minhash.h"
#include "datasets/store_internal.h"
#include "fixture.h"

#define USER                 "{\"role\":\"user\",\"content\":\"Hi\"}"
#define SAYS(more)           "{\"role\":\"assistant\",\"content\":\"Hello\"" more "}"
#define TALK(keys, messages) "{\"id\":\"c\"" keys ",\"messages\":[" messages "]}\n"

static void import_chat(const char *text) {
    assert_ok(import_as("chat", NULL, put("log.jsonl", text)));
}

static void extends(const char *text) {
    import_chat(text);
    assert_int_equal(report.extended, 1);
    assert_int_equal(report.conversations + report.unchanged, 0);
    import_chat(text);
    assert_int_equal(report.files_known, 1);
    assert_ok(import_as("chat", NULL, put("other.jsonl", text)));
    assert_int_equal(report.unchanged, 1);
}

static int64_t count(const char *sql) {
    sqlite3_stmt *statement;
    assert_ok(keel__store_prepare(store, sql, &statement, &err));
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    const int64_t n = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return n;
}

static void a_conversation_that_went_on_gets_the_rest(void **state) {
    (void)state;
    float numbers[4] = {1, 2, 3, 4};
    keel_features features = {.state_dim = 2, .n_actions = 2, .state = numbers, .log_prior = numbers + 2};
    bool found;
    import_chat(TALK(",\"completed\":false,\"score\":1", USER "," SAYS("")));
    assert_ok(keel_store_put_features(store, "base", get("c")->decisions[0].id, &features, &err));
    extends(TALK(",\"completed\":true,\"score\":2",
                 USER "," SAYS("") "," USER ",{\"role\":\"assistant\",\"content\":\"Yes\"}"));
    const keel_conversation *now = get("c");
    assert_int_equal(now->n_turns, 4);
    assert_int_equal(now->n_decisions, 2);
    assert_string_equal(now->decisions[1].candidates[0].text, "Yes");
    assert_int_equal(now->completed, KEEL_YES);
    contains(now->meta, "2");
    assert_ok(keel_store_get_features(store, "base", now->decisions[0].id, &arena, &features, &found, &err));
    assert_true(found);          /* nothing that they see changed */
    import_chat(TALK("", USER)); /* an older copy */
    assert_int_equal(report.unchanged, 1);
    assert_int_equal(get("c")->n_turns, 4);
}

static void the_growing_log_equals_the_grown_one(void **state) {
    (void)state;
    char grown[65], whole[65];
#define WHOLE TALK(",\"group\":\"g\"", USER "," SAYS(",\"feedback\":1") "," USER "," SAYS(""))
    import_chat(TALK(",\"group\":\"g\"", USER));
    extends(TALK(",\"group\":\"g\"", USER "," SAYS("")));
    extends(WHOLE);
    assert_ok(keel_store_content_hash(store, NULL, grown, &err));
    close_store();
    unlink(in("store.db"));
    open_store(KEEL_STORE_CREATE);
    import_chat(WHOLE);
    assert_ok(keel_store_content_hash(store, NULL, whole, &err));
    assert_string_equal(grown, whole);
}

static void what_is_known_later_is_added(void **state) {
    (void)state;
    import_chat(TALK("", USER "," SAYS("")));
    extends(TALK("", USER "," SAYS(",\"outcome\":\"compliance\"")));
    extends(TALK("", USER "," SAYS(",\"feedback\":-1,\"latency_ms\":5,\"model\":\"m\"")));
    extends(TALK(",\"risk\":\"dangerous\",\"completed\":false,\"k\":[1]", USER "," SAYS("")));
    extends(TALK("", USER "," SAYS(",\"reward\":{\"safety\":-0.5},\"propensity\":0.25")));
    const keel_conversation *now = get("c");
    const keel_candidate *taken = now->decisions[0].candidates;
    assert_int_equal(now->risk, KEEL_RISK_DANGEROUS);
    assert_int_equal(now->completed, KEEL_NO);
    assert_string_equal(now->meta, "{\"k\":[1]}");
    assert_int_equal(taken->outcome, KEEL_OUTCOME_COMPLIANCE);
    assert_int_equal(taken->judge, KEEL_AUTHORITY_HUMAN);
    assert_true(taken->feedback.value == -1 && taken->latency_ms.value == 5 &&
                taken->propensity.value == 0.25);
    assert_true(taken->logged_reward.present[KEEL_SAFETY] &&
                taken->logged_reward.value[KEEL_SAFETY] == -0.5f);
    assert_string_equal(taken->model, "m");
    assert_string_equal(now->turns[1].model, "m");
    assert_int_equal(now->decisions[0].n_candidates, 1);
    assert_int_equal(count("SELECT count(*) FROM labels"), 1);
}

static void a_humans_label_wins_over_a_judge_and_stays(void **state) {
    (void)state;
    import_chat(TALK("", USER "," SAYS("")));
    const int64_t id = get("c")->decisions[0].candidates[0].id;
    assert_ok(keel_store_put_label(store, id, KEEL_OUTCOME_REFUSAL, KEEL_AUTHORITY_RULE, "rules", 1, &err));
    extends(TALK("", USER "," SAYS(",\"outcome\":\"compliance\"")));
    assert_int_equal(get("c")->decisions[0].candidates[0].outcome, KEEL_OUTCOME_COMPLIANCE);
    assert_int_equal(count("SELECT count(*) FROM labels"), 2);
}

static void what_contradicts_is_named_and_changes_nothing(void **state) {
    (void)state;
    static const struct {
        const char *text, *what;
    } rows[] = {
        {TALK("", "{\"role\":\"user\",\"content\":\"Ho\"}"), "the text of turn 0"},
        {TALK("", USER ",{\"role\":\"assistant\",\"content\":\"Bye\"}," USER), "the text of turn 1"},
        {TALK("", USER "," SAYS(",\"outcome\":\"refusal\"")), "the outcome of a response of turn 1"},
        {TALK("", USER "," SAYS(",\"feedback\":0.5")), "the feedback on a response of turn 1"},
        {TALK("", USER "," SAYS(",\"model\":\"other\"")), "the model of turn 1"},
        {TALK("", USER "," SAYS(",\"latency_ms\":6")), "the latency of turn 1"},
        {TALK(",\"risk\":\"benign\"", USER "," SAYS("")), "risk"},
        {TALK(",\"completed\":true", USER "," SAYS("")), "completed"},
        {TALK(",\"group\":\"other\"", USER "," SAYS("")), "group"},
        {TALK(",\"k\":2", USER "," SAYS("")), "meta (key \"k\")"},
    };
    import_chat(
        TALK(",\"risk\":\"dangerous\",\"completed\":false,\"k\":1,\"group\":\"g\"",
             USER "," SAYS(",\"outcome\":\"compliance\",\"feedback\":1,\"model\":\"m\",\"latency_ms\":5")));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        import_fails("chat", put("bad.jsonl", rows[i].text), KEEL_E_CONFLICT, "bad.jsonl:1", rows[i].what);
        contains(err.hint, "--source");
    }
}

static void logs_whose_ids_collide_are_kept_apart(void **state) {
    (void)state;
    const char *path = put("b.jsonl", TALK("", "{\"role\":\"user\",\"content\":\"Ho\"}"));
    const keel_import_options options = {.source = "b"};
    import_chat(TALK("", USER));
    for (int again = 0; again < 2; again++) {
        assert_ok(keel_import(store, &options, &path, 1, &report, &err));
        assert_int_equal(report.conversations, !again);
        assert_int_equal(report.files_known, again);
    }
    assert_string_equal(get("b:c")->turns[0].text, "Ho");
    assert_string_equal(get("chat:c")->turns[0].text, "Hi");
}

static void note(void *user, const keel_err *bad) {
    contains(bad->where, ++*(int *)user == 1 ? "bad.jsonl:2" : "bad.jsonl:3");
}

static void bad_lines_are_passed_over_up_to_a_number(void **state) {
    (void)state;
    int noted = 0;
    keel_import_options options = {.bad = note, .bad_user = &noted};
    const char *path =
        put("bad.jsonl",
            TALK("", USER) "{\"x\":NaN}\n" TALK("", SAYS("")) "{\"id\":\"d\",\"messages\":[" USER "]}\n");
    for (options.skip_bad = 0; options.skip_bad < 2; options.skip_bad++) {
        noted = 0;
        assert_int_not_equal(keel_import(store, &options, &path, 1, &report, &err), KEEL_OK);
        contains(err.where, options.skip_bad ? "bad.jsonl:3" : "bad.jsonl:2");
        assert_int_equal(noted, options.skip_bad);
        assert_int_equal(count("SELECT count(*) FROM conversations"), 0);
    }
    noted = 0;
    assert_ok(keel_import(store, &options, &path, 1, &report, &err));
    assert_int_equal(report.skipped, 2);
    assert_int_equal(noted, 2);
    assert_int_equal(report.conversations, 2);
}

static void an_array_that_breaks_off_ends_whatever_is_passed_over(void **state) {
    (void)state;
    const keel_import_options options = {.skip_bad = 1000};
    const char *path =
        put("bad.json", "[{\"id\":1,\"messages\":0},{\"id\":\"d\",\"messages\":[" USER "]},{\"id\":");
    assert_int_equal(keel_import(store, &options, &path, 1, &report, &err), KEEL_E_PARSE);
    path = put("good.json", "[{\"id\":1,\"messages\":0},{\"id\":\"d\",\"messages\":[" USER "]}]");
    assert_ok(keel_import(store, &options, &path, 1, &report, &err));
    assert_int_equal(report.skipped, 1);
    assert_int_equal(report.conversations, 1);
}

/* ---- duplicates ---- */

#define ASKED(id, text, more)                                                                                \
    "{\"id\":\"" id "\",\"messages\":[{\"role\":\"user\",\"content\":\"" text "\"}" more "]}\n"

static void the_same_prompt_is_one_group_whatever_was_answered(void **state) {
    (void)state;
    import_chat(ASKED("a", "How do I bake a cake?", "," SAYS(""))
                    ASKED("b", "how do I  BAKE a cake?", ",{\"role\":\"assistant\",\"content\":\"No\"}")
                        ASKED("c", "How do I bake a pie?", "," SAYS(""))
                            ASKED("d", "Hi", "," SAYS("") "," USER) ASKED("e", "Hi", "," SAYS("")));
    assert_string_equal(get("a")->group, get("b")->group);
    assert_string_not_equal(get("a")->group, get("c")->group);
    assert_string_not_equal(get("d")->group, get("e")->group); /* a greeting is no prompt yet */
    assert_string_equal(get("a")->split, get("b")->split);
}

/* What one log calls a and another b is the same question: it is learned from or tested on, not both. */
static void prompts_of_two_sources_are_one_group(void **state) {
    (void)state;
    enum { N = 24 };
    char log[8192] = "", other[8192] = "", line[256];
    keel_dedupe_count found;
    for (int i = 0; i < N; i++) { /* questions that have no words in common */
        snprintf(line, sizeof line, ASKED("a%d", "q%da q%db q%dc q%dd q%de q%df", "," SAYS("")), i, i, i, i,
                 i, i, i);
        strcat(log, line);
        snprintf(
            line, sizeof line,
            "{\"instruction\":\"q%da q%db q%dc q%dd q%de q%df\",\"output\":\"another answer\",\"id\":\"b%d\"}\n",
            i, i, i, i, i, i, i);
        strcat(other, line);
    }
    const char *paths[] = {put("a.jsonl", log), put("b.jsonl", other)};
    assert_ok(keel_import(store, NULL, paths, 2, &report, &err));
    assert_int_equal(report.conversations, 2 * N);
    assert_int_equal(
        count("SELECT count(*) FROM (SELECT group_name FROM conversations GROUP BY group_name "
              "HAVING count(DISTINCT source) = 2 AND count(DISTINCT split) = 1 AND count(DISTINCT "
              "group_hash) = 1)"),
        N);
    assert_true(count("SELECT count(*) FROM conversations WHERE split = 'test'") > 0);
    assert_ok(keel_dedupe_stats(store, 0, &found, &err));
    assert_int_equal(found.same_prompt, N);
    assert_int_equal(found.same_prompt_straddling, 0);
    const keel_import_options later = {.source = "later"}; /* what is settled decides */
    assert_int_equal(rename(paths[0], in("c.jsonl")), 0);
    const char *path = in("c.jsonl");
    assert_ok(keel_import(store, &later, &path, 1, &report, &err));
    assert_int_equal(report.conversations, N);
    assert_ok(keel_dedupe_stats(store, 0, &found, &err));
    assert_int_equal(found.same_prompt, 2 * N);
    assert_int_equal(found.same_prompt_straddling, 0);
}

static void splits_that_the_log_gives_have_groups_of_their_own(void **state) {
    (void)state;
    keel_dedupe_count found;
    const char *text = ASKED("a", "How do I bake a cake?", "," SAYS(""));
    assert_ok(import_as("chat", "test", put("a.jsonl", text)));
    text = ASKED("b", "How do I bake a cake?", "," SAYS("")) ASKED("c", "How do I bake a cake?", "");
    assert_ok(import_as("chat", "train", put("b.jsonl", text)));
    assert_string_not_equal(get("a")->group, get("b")->group);
    assert_ok(keel_dedupe_stats(store, 0, &found, &err));
    assert_int_equal(found.same_turns, 1);
    assert_int_equal(found.same_turns_straddling, 1);
    assert_int_equal(found.same_prompt, 2);
    assert_int_equal(found.same_prompt_straddling, 2);
}

static void near_prompts_join_what_is_settled_and_never_straddle(void **state) {
    (void)state;
    keel_import_options options = {.near = 0.5};
    keel_dedupe_count found;
    const char *path =
        put("a.jsonl", ASKED("a", "please tell me how I can bake a cake with apples today", ""));
    assert_ok(keel_import(store, &options, &path, 1, &report, &err));
    path = put("b.jsonl", ASKED("b", "please tell me how I can bake a cake with apples now", "")
                              ASKED("c", "what is the weather like in the north of the country", ""));
    assert_ok(keel_import(store, &options, &path, 1, &report, &err));
    assert_int_equal(report.near, 1);
    assert_string_equal(get("a")->group, get("b")->group);
    assert_string_equal(get("a")->split, get("b")->split);
    assert_string_not_equal(get("a")->group, get("c")->group);
    assert_int_equal(count("SELECT count(*) FROM pending_splits"), 0);
    assert_ok(keel_dedupe_stats(store, 0.5, &found, &err));
    assert_int_equal(found.near_prompt, 1);
    assert_int_equal(found.near_prompt_straddling, 0);
    assert_int_equal(found.same_prompt, 0);
}

static void texts_of_a_similarity_meet_as_often_as_the_formula_says(void **state) {
    (void)state;
    enum { PAIRS = 400, LONG = 40 };
    keel_minhash all = {0};
    size_t met = 0;
    /* Word j of pair i; the second text has 6 other words at its end: 32 of 44 runs are shared, s = .727. */
    for (int i = 0; i < PAIRS; i++)
        for (int second = 0; second < 2; second++) {
            char text[1024] = "";
            for (int j = 0; j < LONG; j++)
                snprintf(text + strlen(text), sizeof text - strlen(text), "w%dx%dx%d ", i, j,
                         second && j >= 34);
            assert_ok(keel_minhash_add(&all, text, &err));
        }
    assert_float_equal(keel_minhash_similarity(&all.text[0], &all.text[1]), 32. / 44, 1e-12);
    assert_ok(keel_minhash_join(&all, 0.7, &err));
    for (size_t i = 0; i < PAIRS; i++) met += keel_minhash_first(&all, 2 * i + 1) == 2 * i;
    assert_true((double)met > 0.90 * PAIRS && (double)met < 0.999 * PAIRS); /* 1 - (1 - s^6)^20 = .955 */
    assert_int_equal(all.n, 2 * PAIRS);
    keel_minhash_free(&all);
    assert_ok(keel_minhash_add(&all, "\u4eca\u65e5\u306f\u826f\u3044\u5929\u6c17", &err));
    assert_ok(keel_minhash_add(&all, "\u660e\u65e5\u306f\u826f\u3044\u5929\u6c17", &err));
    assert_ok(keel_minhash_add(&all, "", &err));
    assert_int_equal(all.text[0].n, 3); /* runs of 5 of 7 code points */
    assert_float_equal(keel_minhash_similarity(&all.text[0], &all.text[1]), 2. / 4, 1e-12);
    assert_int_equal(all.text[2].n, 0);
    keel_minhash_free(&all);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_conversation_that_went_on_gets_the_rest),
        TEST(the_growing_log_equals_the_grown_one),
        TEST(what_is_known_later_is_added),
        TEST(a_humans_label_wins_over_a_judge_and_stays),
        TEST(what_contradicts_is_named_and_changes_nothing),
        TEST(logs_whose_ids_collide_are_kept_apart),
        TEST(bad_lines_are_passed_over_up_to_a_number),
        TEST(an_array_that_breaks_off_ends_whatever_is_passed_over),
        TEST(the_same_prompt_is_one_group_whatever_was_answered),
        TEST(splits_that_the_log_gives_have_groups_of_their_own),
        TEST(near_prompts_join_what_is_settled_and_never_straddle),
        TEST(prompts_of_two_sources_are_one_group),
        TEST(texts_of_a_similarity_meet_as_often_as_the_formula_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
