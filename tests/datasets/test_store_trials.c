/* Searches and trials at rest: what is put comes back, one search knows nothing of another. */
#define SCRATCH "store_trials"
#include "datasets/store_internal.h"
#include "datasets/store_trials.h"
#include "fixture.h"

static const keel_stored_search plan = {.plan = "{\"over\": []}", .folder = "/there"};

static void put_trial(const char *search, const keel_stored_trial *trial) {
    assert_ok(keel_store_begin(store, &err));
    assert_ok(keel_store_put_trial(store, search, trial, &err));
    assert_ok(keel_store_commit(store, &err));
}

static void put_search(const char *hash, const keel_stored_search *search) {
    assert_ok(keel_store_begin(store, &err));
    assert_ok(keel_store_put_search(store, hash, search, &err));
    assert_ok(keel_store_commit(store, &err));
}

static void a_trial_comes_back_as_it_was_put(void **state) {
    (void)state;
    keel_stored_search *found;
    keel_stored_trial *trials;
    size_t n;
    keel_stored_trial one = {.number = 0, .config = "{\"a\": \"1\"}", .seed = 7, .pid = 11};
    assert_ok(keel_store_find_search(store, "h", &arena, &found, &err));
    assert_null(found);
    put_search("h", &plan);
    put_search("other", &plan);
    put_trial("h", &one);
    one.state = 1;
    one.value = (keel_optional){true, 0.5};
    one.high = (keel_optional){true, 0.75};
    one.required = "[1, null]";
    one.seconds = 2.5;
    put_trial("h", &one);
    put_trial("h",
              &(keel_stored_trial){.number = 1, .config = "{}", .budget = {true, 300}, .note = "diverged"});
    close_store();
    open_store(KEEL_STORE_WRITE);
    assert_ok(keel_store_find_search(store, "h", &arena, &found, &err));
    assert_string_equal(found->plan, plan.plan);
    assert_string_equal(found->folder, "/there");
    assert_ok(keel_store_trials(store, "h", &arena, &trials, &n, &err));
    assert_int_equal(n, 2);
    assert_string_equal(trials[0].config, "{\"a\": \"1\"}");
    assert_string_equal(trials[0].required, "[1, null]");
    assert_true(trials[0].value.present && trials[0].value.value == 0.5 && !trials[0].low.present);
    assert_true(trials[0].high.value == 0.75 && trials[0].seconds == 2.5 && !trials[0].budget.present);
    assert_int_equal(trials[0].seed, 7);
    assert_int_equal(trials[0].pid, 11);
    assert_int_equal(trials[0].state, 1);
    assert_true(trials[1].budget.value == 300 && !trials[1].required);
    assert_string_equal(trials[1].note, "diverged");
    assert_ok(keel_store_trials(store, "other", &arena, &trials, &n, &err));
    assert_int_equal(n, 0);
}

static void a_search_moves_and_goes(void **state) {
    (void)state;
    keel_stored_search *found;
    keel_stored_trial *trials;
    size_t n;
    put_search("h", &plan);
    put_search("h", &(keel_stored_search){.plan = "{}", .folder = "/elsewhere"});
    put_trial("h", &(keel_stored_trial){.config = "{}"});
    assert_ok(keel_store_find_search(store, "h", &arena, &found, &err));
    assert_string_equal(found->plan, plan.plan); /* the plan is what the hash is of */
    assert_string_equal(found->folder, "/elsewhere");
    assert_ok(keel_store_begin(store, &err));
    assert_ok(keel_store_drop_search(store, "h", &err));
    assert_ok(keel_store_drop_search(store, "h", &err));
    assert_ok(keel_store_commit(store, &err));
    assert_ok(keel_store_find_search(store, "h", &arena, &found, &err));
    assert_null(found);
    assert_ok(keel_store_trials(store, "h", &arena, &trials, &n, &err));
    assert_int_equal(n, 0);
}

static void a_missing_trial_is_damage(void **state) {
    (void)state;
    keel_stored_trial *trials;
    size_t n;
    put_search("h", &plan);
    put_trial("h", &(keel_stored_trial){.number = 1, .config = "{}"});
    assert_int_equal(keel_store_trials(store, "h", &arena, &trials, &n, &err), KEEL_E_STORE);
    assert_non_null(strstr(err.message, "lacks one of its trials"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_trial_comes_back_as_it_was_put, begin_test, end_test),
        cmocka_unit_test_setup_teardown(a_search_moves_and_goes, begin_test, end_test),
        cmocka_unit_test_setup_teardown(a_missing_trial_is_damage, begin_test, end_test),
    };
    return cmocka_run_group_tests_name("store_trials", tests, NULL, NULL);
}
