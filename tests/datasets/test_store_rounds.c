/* Snapshots, features taken over from an older copy, rounds and offsets at rest. */
#define SCRATCH "store_rounds"
#include "datasets/store_internal.h"
#include "datasets/store_rounds.h"
#include "datasets/store_stream.h"
#include "fixture.h"

static const char *const base = "b";

static void import_text(keel_store *into, const char *text) {
    keel_source *source;
    keel_import_report found;
    assert_ok(keel_source_open_memory(&source, "log.jsonl", text, strlen(text), &err));
    assert_ok(keel_import_source(into, NULL, source, &found, &err));
}

static void import_talks(keel_store *into, int first, int last) {
    char text[4096] = "";
    size_t length = 0;
    for (int i = first; i < last; i++)
        length +=
            (size_t)snprintf(text + length, sizeof text - length,
                             "{\"id\": \"c%d\", \"messages\": [{\"role\": \"user\", \"content\": \"Ask %d\"},"
                             " {\"role\": \"assistant\", \"content\": \"Say %d\"}]}\n",
                             i, i, i);
    import_text(into, text);
}

static int64_t ask(keel_store *of, const char *sql) {
    sqlite3_stmt *statement;
    bool row;
    assert_ok(keel__store_prepare(of, sql, &statement, &err));
    assert_ok(keel__store_step(of, statement, &row, sql, &err));
    const int64_t value = row ? sqlite3_column_int64(statement, 0) : -1;
    sqlite3_finalize(statement);
    return value;
}

static void put_features(keel_store *into, int64_t decision, const char *hash) {
    const float state[2] = {(float)decision, 1}, prior[1] = {0};
    const keel_features features = {
        .state_dim = 2, .n_candidates = 1, .n_actions = 1, .state = state, .log_prior = prior};
    assert_ok(keel_store_begin(into, &err));
    assert_ok(keel_store_put_features(into, hash, decision, &features, &err));
    assert_ok(keel_store_commit(into, &err));
}

/* ---- snapshots ---- */

static void a_snapshot_is_the_store_of_that_moment(void **state) {
    (void)state;
    keel_store *copy;
    char now[65], then[65], later[65];
    import_talks(store, 0, 5);
    assert_ok(keel_store_content_hash(store, NULL, then, &err));
    assert_ok(keel_store_snapshot(store, in("copy.db"), &err));
    import_talks(store, 5, 7);
    assert_ok(keel_store_open(&copy, in("copy.db"), KEEL_STORE_READ, &err));
    assert_ok(keel_store_content_hash(copy, NULL, now, &err));
    assert_string_equal(now, then);
    keel_store_close(copy);
    assert_ok(keel_store_content_hash(store, NULL, later, &err));
    assert_string_not_equal(later, then);
    assert_ok(keel_store_snapshot(store, in("copy.db"), &err)); /* in place of the other */
    assert_ok(keel_store_open(&copy, in("copy.db"), KEEL_STORE_READ, &err));
    assert_ok(keel_store_content_hash(copy, NULL, now, &err));
    assert_string_equal(now, later);
    keel_store_close(copy);
    assert_false(keel_file_exists(in("copy.db.new")));
}

static void a_snapshot_that_cannot_be_written_leaves_nothing(void **state) {
    (void)state;
    assert_int_not_equal(keel_store_snapshot(store, in("no/such/copy.db"), &err), KEEL_OK);
    assert_false(keel_file_exists(in("no")));
}

/* A reader's snapshot is not in the way of a writer's transaction, nor the other way round. */
static void a_snapshot_needs_no_lock(void **state) {
    (void)state;
    keel_store *other;
    import_talks(store, 0, 3);
    assert_ok(keel_store_open(&other, in("store.db"), KEEL_STORE_WRITE, &err));
    assert_ok(keel_store_begin(other, &err));
    assert_ok(keel_store_put_setting(other, "a", "b", &err));
    assert_ok(keel_store_snapshot(store, in("copy.db"), &err));
    assert_ok(keel_store_commit(other, &err));
    keel_store_close(other);
}

/* ---- features ---- */

static void features_are_taken_over_where_nothing_changed(void **state) {
    (void)state;
    keel_store *newer;
    int64_t carried = -1;
    import_talks(store, 0, 4);
    assert_ok(keel_store_snapshot(store, in("older.db"), &err));
    keel_store *older;
    assert_ok(keel_store_open(&older, in("older.db"), KEEL_STORE_WRITE, &err));
    for (int64_t d = 1; d <= 4; d++) put_features(older, d, base);
    put_features(older, 1, "another");
    keel_store_close(older);
    /* c1 goes on, c2 gets a second candidate, c3's answer is known to be of a model; c4 is new. */
    import_text(
        store,
        "{\"id\": \"c1\", \"messages\": [{\"role\": \"user\", \"content\": \"Ask 1\"}, {\"role\": \"assistant\","
        " \"content\": \"Say 1\"}, {\"role\": \"user\", \"content\": \"More\"}, {\"role\": \"assistant\","
        " \"content\": \"Yes\"}]}\n"
        "{\"id\": \"c2\", \"messages\": [{\"role\": \"user\", \"content\": \"Ask 2\"}, {\"role\": \"assistant\","
        " \"content\": \"Say 2\", \"candidates\": [{\"content\": \"Or this\"}]}]}\n"
        "{\"id\": \"c3\", \"messages\": [{\"role\": \"user\", \"content\": \"Ask 3\"}, {\"role\": \"assistant\","
        " \"content\": \"Say 3\", \"model\": \"m\"}]}\n");
    import_talks(store, 4, 5);
    assert_ok(keel_store_snapshot(store, in("newer.db"), &err));
    assert_ok(keel_store_open(&newer, in("newer.db"), KEEL_STORE_WRITE, &err));
    put_features(newer, 1, base); /* its own stay */
    assert_ok(keel_store_carry_features(newer, in("older.db"), base, &carried, &err));
    assert_int_equal(carried, 1); /* of c1's first decision: c0 has its own, c2 and c3 changed */
    assert_int_equal(ask(newer, "SELECT count(*) FROM features"), 2);
    assert_int_equal(ask(newer,
                         "SELECT count(*) FROM features f JOIN decisions d ON d.id = f.decision_id JOIN"
                         " conversations c ON c.id = d.conversation_id WHERE c.external_id = 'c1' AND"
                         " d.turn = 1 AND f.base_hash = 'b'"),
                     1);
    keel_features found;
    bool there;
    assert_ok(keel_store_get_features(newer, base, 2, &arena, &found, &there, &err));
    assert_true(there && found.state_dim == 2 && found.state[0] == 2.0F);
    assert_ok(keel_store_carry_features(newer, in("older.db"), base, &carried, &err));
    assert_int_equal(carried, 0);
    keel_store_close(newer);
}

/* ---- what one policy answered ---- */

static void serve(int talk, const char *request, const char *policy) {
    char sql[400];
    snprintf(
        sql, sizeof sql,
        "INSERT INTO served(request, conversation_id, decision_id, candidate_id, policy, arm, segment, at,"
        " explored, fallback, shadow) VALUES('%s', %d, %d, %d, '%s', '', '', 0, 0, 0, 0)",
        request, talk, talk, talk, policy);
    assert_int_equal(ask(store, sql), -1);
}

static void what_one_policy_alone_answered_is_set_apart(void **state) {
    (void)state;
    int64_t count;
    import_talks(store, 0, 5);
    assert_int_equal(ask(store, "UPDATE conversations SET split = iif(id = 5, 'train', 'test')"), -1);
    serve(1, "r1", "p");
    serve(1, "r2", "p");
    serve(2, "r3", "p");
    serve(2, "r4", "q"); /* goes on with another */
    serve(3, "r5", "q");
    serve(4, "r6", "p"); /* in shadow: it was not its answer */
    assert_int_equal(ask(store, "UPDATE served SET shadow = 1 WHERE request = 'r6'"), -1);
    serve(5, "r7", "p"); /* another split */
    assert_ok(keel_store_count_answered(store, "test", "p", &count, &err));
    assert_int_equal(count, 1);
    assert_ok(keel_store_set_apart(store, "test", "p", "apart", &err));
    assert_int_equal(ask(store, "SELECT id FROM conversations WHERE split = 'apart'"), 1);
    assert_int_equal(ask(store, "SELECT count(*) FROM conversations WHERE split = 'test'"), 3);
    assert_ok(keel_store_count_answered(store, "apart", "p", &count, &err));
    assert_int_equal(count, 1);
}

/* ---- rounds ---- */

static void a_round_comes_back_as_it_was_put(void **state) {
    (void)state;
    keel_round *rounds;
    size_t n;
    const keel_round first = {.id = 1,
                              .at = 12.5,
                              .snapshot = "/s",
                              .content = "c",
                              .conversations = 3,
                              .offsets = "{}",
                              .served = 9,
                              .policy = "p",
                              .verdict = "v",
                              .published = true,
                              .config = "{}",
                              .seed = 4};
    keel_round second = first;
    second.id = 2;
    second.policy_before = "p";
    second.policy = NULL;
    second.published = false;
    assert_ok(keel_store_rounds(store, &arena, &rounds, &n, &err));
    assert_int_equal(n, 0);
    assert_ok(keel_store_begin(store, &err));
    assert_ok(keel_store_put_round(store, &first, &err));
    assert_ok(keel_store_put_round(store, &second, &err));
    assert_int_not_equal(keel_store_put_round(store, &second, &err), KEEL_OK); /* a round is written once */
    assert_ok(keel_store_commit(store, &err));
    assert_ok(keel_store_rounds(store, &arena, &rounds, &n, &err));
    assert_int_equal(n, 2);
    assert_true(rounds[0].at == 12.5 && rounds[0].published && rounds[0].served == 9 && rounds[0].seed == 4);
    assert_string_equal(rounds[0].policy, "p");
    assert_null(rounds[0].policy_before);
    assert_null(rounds[1].policy);
    assert_string_equal(rounds[1].policy_before, "p");
    assert_false(rounds[1].published);
}

/* ---- offsets ---- */

static void offsets_move_for_their_claimant_alone(void **state) {
    (void)state;
    int64_t first, second, next;
    const char *offsets;
    int64_t served;
    assert_ok(keel_stream_claim(store, "t", "cluster", &first, &err));
    assert_ok(keel_stream_claim(store, "t", "cluster", &second, &err));
    assert_true(second > first);
    assert_int_equal(keel_stream_check(store, "t", first, &err), KEEL_E_CONFLICT);
    assert_ok(keel_stream_check(store, "t", second, &err));
    assert_int_equal(keel_stream_claim(store, "t", "another", &first, &err), KEEL_E_CONFLICT);
    assert_ok(keel_stream_check(store, "t", second, &err)); /* which took nothing away */
    assert_ok(keel_stream_next(store, "t", 2, &next, &err));
    assert_int_equal(next, -1);
    assert_ok(keel_store_begin(store, &err));
    assert_ok(keel_stream_advance(store, "t", 2, -1, 5, &err));
    assert_int_equal(keel_stream_advance(store, "t", 2, -1, 6, &err), KEEL_E_CONFLICT);
    assert_ok(keel_stream_advance(store, "t", 2, 5, 9, &err));
    assert_int_equal(keel_stream_advance(store, "t", 2, 5, 10, &err), KEEL_E_CONFLICT);
    assert_ok(keel_stream_advance(store, "t", 0, -1, 1, &err));
    assert_ok(keel_store_commit(store, &err));
    assert_ok(keel_stream_next(store, "t", 2, &next, &err));
    assert_int_equal(next, 9);
    assert_ok(keel_store_reached(store, &arena, &offsets, &served, &err));
    assert_string_equal(offsets, "{\"t\": [1, null, 9]}");
    assert_int_equal(served, 0);
}

/* What was changed by another hand: a list of two thousand million partitions would take all memory. */
static void impossible_offsets_are_damage(void **state) {
    (void)state;
    const char *offsets;
    int64_t epoch, served;
    assert_ok(keel_stream_claim(store, "t\"\\", "c", &epoch, &err));
    assert_ok(keel_store_begin(store, &err));
    assert_ok(keel_stream_advance(store, "t\"\\", 0, -1, 1, &err));
    assert_ok(keel_store_commit(store, &err));
    assert_ok(keel_store_reached(store, &arena, &offsets, &served, &err));
    assert_string_equal(offsets, "{\"t\\\"\\\\\": [1]}");
    assert_ok(keel_store_begin(store, &err));
    assert_ok(keel_stream_advance(store, "t\"\\", INT32_MAX, -1, 1, &err));
    assert_ok(keel_store_commit(store, &err));
    assert_int_equal(keel_store_reached(store, &arena, &offsets, &served, &err), KEEL_E_STORE);
    contains(err.message, "damaged");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_snapshot_is_the_store_of_that_moment),
        TEST(a_snapshot_that_cannot_be_written_leaves_nothing),
        TEST(a_snapshot_needs_no_lock),
        TEST(features_are_taken_over_where_nothing_changed),
        TEST(what_one_policy_alone_answered_is_set_apart),
        TEST(a_round_comes_back_as_it_was_put),
        TEST(offsets_move_for_their_claimant_alone),
        TEST(impossible_offsets_are_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
