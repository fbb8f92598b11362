/* Reviews: a label is one person's, what counts is what most say, undo gives back what was there, imports
 * meet the log and not the reviews. */
#define SCRATCH "store_review"
#include <math.h>

#include "datasets/store_internal.h"
#include "datasets/store_review.h"
#include "fixture.h"

#define LOG                                                                                                  \
    "{\"id\": \"one\", \"risk\": \"benign\", \"messages\": [{\"role\": \"user\", \"content\": \"Q1\"},"      \
    " {\"role\": \"assistant\", \"content\": \"A1\"}]}\n"                                                    \
    "{\"id\": \"two\", \"messages\": [{\"role\": \"user\", \"content\": \"Q2\"},"                            \
    " {\"role\": \"assistant\", \"content\": \"A2\"}, {\"role\": \"user\", \"content\": \"Q3\"},"            \
    " {\"role\": \"assistant\", \"content\": \"A3\"}]}\n"                                                    \
    "{\"id\": \"three\", \"messages\": [{\"role\": \"user\", \"content\": \"Q4\"},"                          \
    " {\"role\": \"assistant\", \"content\": \"A4\", \"outcome\": \"refusal\"}]}\n"

/* Responses A1, A2, A3 are 1, 2, 3 by their places; A2 is shown to two people. */
static void order_three(void) {
    keel_review_response *found;
    keel_review_place places[3] = {{1, 0.1, KEEL_REVIEW_UNSURE, false},
                                   {2, 0.2, KEEL_REVIEW_UNSURE, true},
                                   {2, 0.3, KEEL_REVIEW_RANDOM, false}};
    size_t n;
    assert_ok(import_as("chat", NULL, put("log.jsonl", LOG)));
    assert_ok(keel_store_review_new(store, &found, &n, &err));
    assert_int_equal(n, 3); /* not the one that came with a label by a human */
    for (size_t i = 0; i < n; i++) {
        assert_true(found[i].number > 0 && found[i].number < 1 && found[i].other > 0 && found[i].other < 1);
        for (size_t k = 0; k < i; k++) assert_true(found[i].number != found[k].number);
    }
    assert_ok(keel_store_review_add(store, found, places, n, &err));
    keel_free(found);
    assert_ok(keel_store_review_new(store, &found, &n, &err));
    assert_int_equal(n, 0);
    keel_free(found);
}

static int64_t number_at(const char *sql) {
    sqlite3_stmt *statement;
    assert_ok(keel__store_prepare(store, sql, &statement, &err));
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    const int64_t out =
        sqlite3_column_type(statement, 0) == SQLITE_NULL ? INT64_MIN : sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return out;
}

static void say_all(int64_t candidate, const char *who, keel_outcome outcome, bool harmful, keel_risk risk,
                    keel_tri completed) {
    assert_ok(keel_store_review_put(store,
                                    &(keel_review){.candidate = candidate,
                                                   .reviewer = who,
                                                   .outcome = outcome,
                                                   .harmful = harmful,
                                                   .risk = risk,
                                                   .completed = completed,
                                                   .note = "why",
                                                   .at = 1000},
                                    &err));
}
static void say(int64_t candidate, const char *who, keel_outcome outcome) {
    say_all(candidate, who, outcome, false, KEEL_RISK_UNKNOWN, KEEL_UNKNOWN);
}
static int64_t undo(const char *who) {
    keel_review review;
    assert_ok(keel_store_review_undo(store, who, &arena, &review, &err));
    return review.candidate;
}
static void outcome_is(int64_t candidate, keel_outcome outcome, keel_authority judge) {
    char sql[96];
    snprintf(sql, sizeof sql, "SELECT outcome * 10 + judge FROM candidates WHERE id = %d", (int)candidate);
    assert_int_equal(number_at(sql), (int)outcome * 10 + (int)judge);
}
static int64_t next_for(const char *who, const int64_t *leased, size_t n) {
    keel_review_next next;
    assert_ok(keel_store_review_next(store, who, leased, n, &next, &err));
    return next.candidate;
}

static void people_go_by_place_and_never_twice(void **state) {
    (void)state;
    order_three();
    const int64_t first = 1, both[] = {1, 2};
    assert_int_equal(next_for("ann", NULL, 0), 1);
    assert_int_equal(next_for("bob", &first, 1), 2);
    assert_int_equal(next_for("cas", both, 2), 3);
    say(1, "ann", KEEL_OUTCOME_REFUSAL);
    assert_int_equal(next_for("ann", NULL, 0), 2);
    say(2, "ann", KEEL_OUTCOME_NONE); /* skipped: asked of another */
    assert_int_equal(next_for("ann", NULL, 0), 3);
    assert_int_equal(next_for("bob", NULL, 0), 2);
    say(2, "bob", KEEL_OUTCOME_REFUSAL);
    say(3, "ann", KEEL_OUTCOME_REFUSAL);
    assert_int_equal(next_for("ann", NULL, 0), 0);
    assert_int_equal(next_for("bob", NULL, 0), 0);
}

static void what_most_say_counts_and_of_equally_many_the_first(void **state) {
    (void)state;
    keel_review_counts counts;
    order_three();
    assert_ok(keel_store_put_label(store, 2, KEEL_OUTCOME_COMPLIANCE, KEEL_AUTHORITY_MODEL, "refusal-1", 0.9,
                                   &err));
    say(2, "ann", KEEL_OUTCOME_REFUSAL);
    outcome_is(2, KEEL_OUTCOME_REFUSAL, KEEL_AUTHORITY_HUMAN);
    assert_int_equal(next_for("bob", NULL, 0), 2); /* the second of two people, before what is open */
    say(2, "bob", KEEL_OUTCOME_PARTIAL);
    outcome_is(2, KEEL_OUTCOME_REFUSAL, KEEL_AUTHORITY_HUMAN); /* the first stands */
    assert_ok(keel_store_review_counts(store, &arena, &counts, &err));
    assert_int_equal(counts.disagreements, 1);
    assert_int_equal(counts.seconds, 0);
    assert_true(counts.table[2][1] == 1);
    assert_int_equal(next_for("ann", NULL, 0), 1); /* not theirs again */
    assert_int_equal(next_for("cas", NULL, 0), 2); /* a third person, first of all */
    say(2, "cas", KEEL_OUTCOME_PARTIAL);
    outcome_is(2, KEEL_OUTCOME_PARTIAL, KEEL_AUTHORITY_HUMAN);
    assert_int_equal(number_at("SELECT count(*) FROM labels WHERE candidate_id = 2 AND judge = 3"), 3);
    assert_ok(keel_store_review_counts(store, &arena, &counts, &err));
    assert_int_equal(counts.disagreements, 0);
    assert_int_equal(counts.labels, 3);
    assert_int_equal(counts.labelled, 1);
    assert_int_equal(counts.n_people, 3);
    assert_string_equal(counts.people[0].name, "ann");
    /* A label of the same authority that comes later changes nothing; a judge's never does. */
    assert_ok(keel_store_put_label(store, 2, KEEL_OUTCOME_COMPLIANCE, KEEL_AUTHORITY_RULE, "rules", 1, &err));
    outcome_is(2, KEEL_OUTCOME_PARTIAL, KEEL_AUTHORITY_HUMAN);
}

static void a_label_said_twice_is_one(void **state) {
    (void)state;
    order_three();
    say(1, "ann", KEEL_OUTCOME_REFUSAL);
    say(1, "ann", KEEL_OUTCOME_REFUSAL);
    assert_int_equal(number_at("SELECT count(*) FROM reviews"), 1);
    assert_int_equal(number_at("SELECT count(*) FROM labels WHERE judge_name = 'review:ann'"), 1);
    say(1, "ann", KEEL_OUTCOME_NONE); /* skipped after all */
    outcome_is(1, KEEL_OUTCOME_NONE, KEEL_AUTHORITY_NONE);
    assert_int_equal(number_at("SELECT count(*) FROM labels WHERE judge_name = 'review:ann'"), 0);
}

static void undo_gives_back_what_was_there(void **state) {
    (void)state;
    char before[65], after[65];
    order_three();
    assert_ok(keel_store_put_label(store, 1, KEEL_OUTCOME_COMPLIANCE, KEEL_AUTHORITY_MODEL, "refusal-1", 0.9,
                                   &err));
    assert_int_equal(undo("ann"), 0);
    assert_ok(keel_store_content_hash(store, NULL, before, &err));
    say_all(1, "ann", KEEL_OUTCOME_COMPLIANCE, true, KEEL_RISK_DANGEROUS, KEEL_NO);
    say_all(2, "ann", KEEL_OUTCOME_REFUSAL, false, KEEL_RISK_DANGEROUS, KEEL_YES);
    assert_int_equal(number_at("SELECT safety FROM candidates WHERE id = 1"), -1);
    assert_int_equal(number_at("SELECT risk * 10 + completed FROM conversations WHERE external_id = 'one'"),
                     20);
    assert_int_equal(number_at("SELECT risk * 10 + completed FROM conversations WHERE external_id = 'two'"),
                     21);
    assert_int_equal(undo("ann"), 2);
    assert_int_equal(undo("bob"), 0);
    assert_int_equal(undo("ann"), 1);
    assert_ok(keel_store_content_hash(store, NULL, after, &err));
    assert_string_equal(before, after);
    assert_int_equal(number_at("SELECT safety FROM candidates WHERE id = 1"), INT64_MIN);
    outcome_is(1, KEEL_OUTCOME_COMPLIANCE, KEEL_AUTHORITY_MODEL);
    assert_int_equal(next_for("ann", NULL, 0), 1);
}

static void risk_is_what_most_people_say(void **state) {
    (void)state;
    order_three();
    say_all(2, "ann", KEEL_OUTCOME_REFUSAL, false, KEEL_RISK_DANGEROUS, KEEL_UNKNOWN);
    say_all(3, "bob", KEEL_OUTCOME_REFUSAL, false, KEEL_RISK_BENIGN, KEEL_UNKNOWN);
    assert_int_equal(number_at("SELECT risk FROM conversations WHERE external_id = 'two'"), 2);
    say_all(2, "cas", KEEL_OUTCOME_REFUSAL, false, KEEL_RISK_BENIGN, KEEL_UNKNOWN);
    assert_int_equal(number_at("SELECT risk FROM conversations WHERE external_id = 'two'"), 1);
    assert_int_equal(number_at("SELECT completed FROM conversations WHERE external_id = 'two'"), -1);
}

/* The log grows, and brings what it knew all along: that meets what the log said, not what people say. */
static void an_import_meets_the_log_and_keeps_reviews(void **state) {
    (void)state;
    static const char grown[] =
        "{\"id\": \"one\", \"risk\": \"benign\", \"messages\": [{\"role\": \"user\", \"content\": \"Q1\"},"
        " {\"role\": \"assistant\", \"content\": \"A1\", \"outcome\": \"refusal\"}, {\"role\": \"user\", "
        "\"content\": \"Q5\"}]}\n";
    static const char contrary[] =
        "{\"id\": \"one\", \"risk\": \"dangerous\", \"messages\": [{\"role\": \"user\", \"content\": \"Q1\"},"
        " {\"role\": \"assistant\", \"content\": \"A1\"}]}\n";
    order_three();
    say_all(1, "ann", KEEL_OUTCOME_COMPLIANCE, true, KEEL_RISK_DANGEROUS, KEEL_YES);
    assert_int_equal(import_as("chat", NULL, put("contrary.jsonl", contrary)), KEEL_E_CONFLICT);
    assert_int_equal(number_at("SELECT risk FROM conversations WHERE external_id = 'one'"), 2);
    outcome_is(1, KEEL_OUTCOME_COMPLIANCE, KEEL_AUTHORITY_HUMAN);
    assert_ok(import_as("chat", NULL, put("grown.jsonl", grown)));
    assert_int_equal(number_at("SELECT count(*) FROM turns t JOIN conversations c ON c.id = t.conversation_id"
                               " WHERE c.external_id = 'one'"),
                     3);
    assert_int_equal(number_at("SELECT risk * 10 + completed FROM conversations WHERE external_id = 'one'"),
                     21);
    assert_int_equal(number_at("SELECT safety FROM candidates WHERE id = 1"), -1);
    assert_int_equal(number_at("SELECT count(*) FROM labels WHERE candidate_id = 1 AND judge = 3"), 2);
    outcome_is(1, KEEL_OUTCOME_COMPLIANCE, KEEL_AUTHORITY_HUMAN); /* one against one: the first */
    assert_int_equal(undo("ann"), 1);
    outcome_is(1, KEEL_OUTCOME_REFUSAL, KEEL_AUTHORITY_HUMAN);
    assert_int_equal(number_at("SELECT risk * 10 + completed FROM conversations WHERE external_id = 'one'"),
                     9);
}

static void what_is_no_review_is_refused(void **state) {
    (void)state;
    char name[KEEL_REVIEW_NAME + 2], note[KEEL_REVIEW_NOTE + 2];
    memset(name, 'a', sizeof name - 1), name[sizeof name - 1] = '\0';
    memset(note, 'a', sizeof note - 1), note[sizeof note - 1] = '\0';
    const keel_review good = {1, "ann", KEEL_OUTCOME_REFUSAL, false, KEEL_RISK_UNKNOWN, KEEL_UNKNOWN, "", 1};
    keel_review bad[8];
    order_three();
    for (size_t i = 0; i < 8; i++) bad[i] = good;
    bad[0].reviewer = "", bad[1].reviewer = name, bad[2].reviewer = "a\nb", bad[3].reviewer = "\xC2\x85";
    bad[4].note = note, bad[5].note = "\xFF", bad[6].outcome = (keel_outcome)4, bad[7].harmful = true;
    bad[7].outcome = KEEL_OUTCOME_NONE;
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(keel_store_review_put(store, &bad[i], &err), KEEL_E_INVALID);
    bad[0] = good, bad[0].candidate = 4; /* came with a label by a human: has no place */
    assert_int_equal(keel_store_review_put(store, &bad[0], &err), KEEL_E_NOT_FOUND);
    assert_int_equal(number_at("SELECT count(*) FROM reviews"), 0);
    assert_true(keel_review_name_ok("\xEB\xB3\xB4\xEB\x9E\x8C"));
}

static void the_order_is_made_anew_until_somebody_reviewed(void **state) {
    (void)state;
    order_three();
    assert_ok(keel_store_review_restart(store, &err));
    assert_int_equal(number_at("SELECT count(*) FROM review_items"), 0);
    keel_review_response *found;
    size_t n;
    keel_review_place places[3] = {{1, 0.1, 0, false}, {1, 0.2, 0, false}, {1, 0.3, 0, false}};
    assert_ok(keel_store_review_new(store, &found, &n, &err));
    assert_ok(keel_store_review_add(store, found, places, n, &err));
    keel_free(found);
    say(1, "ann", KEEL_OUTCOME_REFUSAL);
    assert_ok(keel_store_review_restart(store, &err));
    assert_int_equal(number_at("SELECT count(*) FROM review_items"), 3);
}

/* Weights of pairs: 1 / pi - 1 with pi = open place x size, scaled to 1 on average; labels of the log have 1.
 */
static void pairs_have_the_weight_of_their_chance(void **state) {
    (void)state;
    keel_judged_pairs found;
    keel_review_seen *seen;
    size_t n;
    double open;
    order_three();
    for (int64_t id = 1; id <= 4; id++)
        assert_ok(keel_store_put_label(store, id, KEEL_OUTCOME_COMPLIANCE, KEEL_AUTHORITY_MODEL, "refusal-1",
                                       0.9, &err));
    say(1, "ann", KEEL_OUTCOME_REFUSAL);
    say(2, "ann", KEEL_OUTCOME_REFUSAL);
    assert_ok(keel_store_review_seen(store, &arena, &seen, &n, &open, &err));
    assert_int_equal(n, 2);
    assert_true(open == 0.3 && seen[0].place == 0.1 && seen[1].human == KEEL_OUTCOME_REFUSAL &&
                seen[1].judged == KEEL_OUTCOME_NONE && seen[0].logged == KEEL_RISK_BENIGN);
    assert_ok(keel_store_judged_pairs(store, &arena, &found, &err));
    assert_int_equal(found.n, 3);
    double of_log = 0, drawn = 0, most = 0; /* 1 / .3 - 1 and 1 / .6 - 1, over their mean 1.5 */
    for (size_t i = 0; i < found.n; i++) {
        of_log += found.pairs[i].weight == 1;
        drawn += found.pairs[i].weight == 1 ? 0 : found.pairs[i].weight;
        most = fmax(most, found.pairs[i].weight);
    }
    assert_true(of_log == 1 && fabs(drawn - 2) < 1e-12 && fabs(most - 14.0 / 9) < 1e-12);
    say(3, "ann", KEEL_OUTCOME_NONE); /* all were looked at: nothing is left that they stand for */
    assert_ok(keel_store_judged_pairs(store, &arena, &found, &err));
    size_t zero = 0;
    for (size_t i = 0; i < found.n; i++) zero += found.pairs[i].weight == 0;
    assert_int_equal(zero, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(people_go_by_place_and_never_twice),
        TEST(what_most_say_counts_and_of_equally_many_the_first),
        TEST(a_label_said_twice_is_one),
        TEST(undo_gives_back_what_was_there),
        TEST(risk_is_what_most_people_say),
        TEST(an_import_meets_the_log_and_keeps_reviews),
        TEST(what_is_no_review_is_refused),
        TEST(the_order_is_made_anew_until_somebody_reviewed),
        TEST(pairs_have_the_weight_of_their_chance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
