/* A store whose rows were changed behind our back: refused with a name for what is wrong, never read as it
 * is. */
#define SCRATCH "broken-rows"
#include "fixture.h"

#include <sqlite3.h>

#include "datasets/sampler.h"

static void fill(void) {
    static const float numbers[] = {1, 2};
    keel_conversation conversation;
    keel_features features = {1, 1, 1, 1, numbers, numbers, numbers};
    keel_transition transition = {.decision_id = 1, .candidate_id = 1, .terminal = true};
    make(&conversation, "a", NULL, "train", "Hi", "Hello");
    assert_ok(keel_store_begin(store, &err));
    add(&conversation);
    transition.reward.present[KEEL_SPEED] = true;
    assert_ok(keel_store_put_transitions(store, 1, &transition, 1, &err));
    assert_ok(keel_store_put_features(store, "base", 1, &features, &err));
    assert_ok(keel_store_commit(store, &err));
}

static void change(const char *sql) {
    sqlite3 *db;
    close_store();
    assert_int_equal(sqlite3_open(in("store.db"), &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL)) fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_close(db);
    open_store(KEEL_STORE_WRITE);
}

static void conversations_out_of_the_contract_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *sql, *back, *message;
    } bad[] = {
        {"UPDATE conversations SET risk = 3", "UPDATE conversations SET risk = 0", "impossible risk"},
        {"UPDATE conversations SET completed = -2", "UPDATE conversations SET completed = -1",
         "impossible completion"},
        {"UPDATE turns SET role = 9 WHERE position = 0", "UPDATE turns SET role = 1 WHERE position = 0",
         "role of a turn"},
        {"UPDATE turns SET latency_ms = -1", "UPDATE turns SET latency_ms = NULL", "latency of a turn"},
        {"UPDATE turns SET text = CAST(x'ff' AS TEXT)", "UPDATE turns SET text = 'Hello'",
         "text is not UTF-8"},
        {"UPDATE decisions SET turn = 7", "UPDATE decisions SET turn = 1", "place of a decision"},
        {"UPDATE decisions SET turn = -1", "UPDATE decisions SET turn = 1", "place of a decision"},
        {"UPDATE candidates SET outcome = 4", "UPDATE candidates SET outcome = 0", "outcome of a candidate"},
        {"UPDATE candidates SET judge = -1", "UPDATE candidates SET judge = 0", "judge of a candidate"},
        {"UPDATE candidates SET propensity = 0", "UPDATE candidates SET propensity = NULL", "propensity"},
        {"UPDATE candidates SET feedback = 9e999", "UPDATE candidates SET feedback = NULL", "feedback"},
        {"UPDATE candidates SET safety = -2", "UPDATE candidates SET safety = NULL", "reward of a candidate"},
    };
    keel_conversation *read = NULL;
    fill();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        change(bad[i].sql);
        assert_int_equal(keel_store_conversation(store, 1, &arena, &read, &err), KEEL_E_STORE);
        contains(err.message, "damaged");
        contains(err.message, bad[i].message);
        change(bad[i].back);
        assert_ok(keel_store_conversation(store, 1, &arena, &read, &err));
    }
}

static void nothing_follows_the_last_possible_row(void **state) {
    (void)state;
    keel_conversation next;
    fill();
    change("UPDATE candidates SET id = 9223372036854775807");
    make(&next, "b", NULL, "train", "Hi", "Hello");
    assert_int_equal(keel_store_add_conversation(store, &next, false, "test", NULL, &err), KEEL_E_STORE);
    contains(err.message, "damaged: impossible row ids");
}

static void transitions_that_lead_out_of_their_set_are_not_sampled(void **state) {
    (void)state;
    static const struct {
        const char *sql, *back, *message;
        keel_action_space space;
    } bad[] = {
        {"UPDATE transitions SET speed = 2", "UPDATE transitions SET speed = 0", "reward",
         KEEL_SPACE_CANDIDATES},
        {"INSERT INTO candidates SELECT 0, decision_id, text, act, model, 0, NULL, NULL, NULL, NULL, NULL,"
         " NULL, 0, 0 FROM candidates",
         "DELETE FROM candidates WHERE id = 0", "beyond its set", KEEL_SPACE_CANDIDATES},
        {"UPDATE candidates SET outcome = 90;"
         "UPDATE features SET n_actions = 3, n_candidates = 0, candidate_dim = 0,"
         " data = zeroblob(16)",
         "", "beyond its set", KEEL_SPACE_OUTCOMES},
    };
    fill();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        keel_sampler *sampler = NULL;
        keel_sampler_config config = {.base_hash = "base",
                                      .space = bad[i].space,
                                      .state_dim = 1,
                                      .candidate_dim = 1,
                                      .batch = 2,
                                      .cache_bytes = 1 << 20};
        change(bad[i].sql);
        assert_int_equal(keel_sampler_open(&sampler, store, NULL, &config, &err), KEEL_E_STORE);
        contains(err.message, bad[i].message);
        change(bad[i].back);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(conversations_out_of_the_contract_are_refused),
        TEST(nothing_follows_the_last_possible_row),
        TEST(transitions_that_lead_out_of_their_set_are_not_sampled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
