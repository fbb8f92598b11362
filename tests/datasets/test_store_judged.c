/* Labels in a store: whose holds, which are dropped, how a judge errs beside people. */
#define SCRATCH "store-judged"
#include "fixture.h"

static void expect_label(const char *name, keel_outcome outcome, keel_authority judge) {
    const keel_candidate *candidate = &get(name)->decisions[0].candidates[0];
    assert_int_equal(candidate->outcome, outcome);
    assert_int_equal(candidate->judge, judge);
}

static void a_label_never_replaces_one_of_higher_authority(void **state) {
    (void)state;
    keel_conversation conversation;
    make(&conversation, "one", NULL, NULL, "a", "b");
    add(&conversation);
    int64_t id = get("one")->decisions[0].candidates[0].id;
    expect_label("one", KEEL_OUTCOME_NONE, KEEL_AUTHORITY_NONE);
    assert_ok(keel_store_put_label(store, id, KEEL_OUTCOME_REFUSAL, KEEL_AUTHORITY_RULE, "rules", 1, &err));
    expect_label("one", KEEL_OUTCOME_REFUSAL, KEEL_AUTHORITY_RULE);
    assert_ok(keel_store_put_label(store, id, KEEL_OUTCOME_PARTIAL, KEEL_AUTHORITY_MODEL, "net", 0.7, &err));
    expect_label("one", KEEL_OUTCOME_REFUSAL, KEEL_AUTHORITY_RULE);
    assert_ok(keel_store_put_label(store, id, KEEL_OUTCOME_COMPLIANCE, KEEL_AUTHORITY_HUMAN, "ann", 1, &err));
    assert_ok(keel_store_put_label(store, id, KEEL_OUTCOME_REFUSAL, KEEL_AUTHORITY_RULE, "rules", 1, &err));
    expect_label("one", KEEL_OUTCOME_COMPLIANCE, KEEL_AUTHORITY_HUMAN);
    assert_ok(keel_store_put_label(store, id, KEEL_OUTCOME_PARTIAL, KEEL_AUTHORITY_HUMAN, "bob", 1, &err));
    expect_label("one", KEEL_OUTCOME_COMPLIANCE, KEEL_AUTHORITY_HUMAN); /* of equally many the first */
    assert_ok(keel_store_put_label(store, id, KEEL_OUTCOME_PARTIAL, KEEL_AUTHORITY_HUMAN, "cas", 1, &err));
    expect_label("one", KEEL_OUTCOME_PARTIAL, KEEL_AUTHORITY_HUMAN); /* most of them */
}

static void labels_of_other_judges_of_a_kind_are_dropped_and_no_others(void **state) {
    (void)state;
    keel_conversation conversation;
    int64_t id[4], dropped = -1;
    static const char *const names[] = {"judged", "log", "human", "kept"};
    for (size_t i = 0; i < 4; i++) {
        make(&conversation, names[i], NULL, NULL, "a", "b");
        add(&conversation);
        id[i] = get(names[i])->decisions[0].candidates[0].id;
    }
    for (size_t i = 0; i < 3; i++)
        assert_ok(keel_store_put_label(store, id[i], KEEL_OUTCOME_REFUSAL, KEEL_AUTHORITY_RULE,
                                       "refusal-rules/2", 1, &err));
    assert_ok(keel_store_put_label(store, id[1], KEEL_OUTCOME_PARTIAL, KEEL_AUTHORITY_MODEL, "refusal-log", 1,
                                   &err));
    assert_ok(
        keel_store_put_label(store, id[2], KEEL_OUTCOME_COMPLIANCE, KEEL_AUTHORITY_HUMAN, "ann", 1, &err));
    assert_ok(keel_store_put_label(store, id[3], KEEL_OUTCOME_REFUSAL, KEEL_AUTHORITY_RULE, "refusal-rules/3",
                                   1, &err));
    assert_ok(keel_store_drop_judged(store, "harm", "", &dropped, &err));
    assert_int_equal(dropped, 0);
    assert_ok(keel_store_drop_judged(store, "refusal", "refusal-rules/3", &dropped, &err));
    assert_int_equal(dropped, 3);
    expect_label("judged", KEEL_OUTCOME_NONE, KEEL_AUTHORITY_NONE);
    expect_label("log", KEEL_OUTCOME_PARTIAL, KEEL_AUTHORITY_MODEL);
    expect_label("human", KEEL_OUTCOME_COMPLIANCE, KEEL_AUTHORITY_HUMAN);
    expect_label("kept", KEEL_OUTCOME_REFUSAL, KEEL_AUTHORITY_RULE);
}

/* "one" and "two" have labels by a human and by the judge, "three" by the judge alone, "four" by a rule of
 * the log. */
static void pairs_of_labels_tell_how_a_judge_errs(void **state) {
    (void)state;
    keel_conversation conversation;
    keel_judged_pairs found;
    keel_arena names_of = {0};
    static const char *const names[] = {"one", "two", "three", "four"};
    int64_t id[4];
    assert_ok(keel_store_judged_pairs(store, &names_of, &found, &err));
    assert_null(found.judge);
    for (size_t i = 0; i < 4; i++) {
        make(&conversation, names[i], NULL, NULL, "a", "b");
        conversation.risk = KEEL_RISK_DANGEROUS;
        add(&conversation);
        id[i] = get(names[i])->decisions[0].candidates[0].id;
        if (i < 3)
            assert_ok(keel_store_put_label(store, id[i], KEEL_OUTCOME_REFUSAL, KEEL_AUTHORITY_MODEL,
                                           "refusal-rules/3", 0.9, &err));
    }
    assert_ok(keel_store_put_label(store, id[3], KEEL_OUTCOME_REFUSAL, KEEL_AUTHORITY_RULE, "log", 1, &err));
    for (size_t i = 0; i < 2; i++)
        assert_ok(keel_store_put_label(store, id[i], i ? KEEL_OUTCOME_REFUSAL : KEEL_OUTCOME_COMPLIANCE,
                                       KEEL_AUTHORITY_HUMAN, "ann", 1, &err));
    assert_ok(keel_store_judged_pairs(store, &names_of, &found, &err));
    assert_string_equal(found.judge, "refusal-rules/3");
    assert_int_equal(found.authority, KEEL_AUTHORITY_MODEL);
    assert_int_equal(found.labels, 1);
    assert_int_equal(found.others, 0);
    assert_int_equal(found.n, 2);
    for (size_t i = 0; i < 2; i++) {
        const bool one = found.pairs[i].conversation == get("one")->id;
        assert_int_equal(found.pairs[i].human, one ? KEEL_OUTCOME_COMPLIANCE : KEEL_OUTCOME_REFUSAL);
        assert_int_equal(found.pairs[i].judge, KEEL_OUTCOME_REFUSAL);
        assert_int_equal(found.pairs[i].risk, KEEL_RISK_DANGEROUS);
    }
    /* A model of the log labels too: whose error is it? */
    assert_ok(keel_store_put_label(store, id[3], KEEL_OUTCOME_REFUSAL, KEEL_AUTHORITY_MODEL, "log", 1, &err));
    assert_ok(keel_store_judged_pairs(store, &names_of, &found, &err));
    assert_string_equal(found.judge, "refusal-rules/3");
    assert_int_equal(found.others, 1);
    keel_arena_free(&names_of);
}

static void what_is_no_judgement_is_refused(void **state) {
    (void)state;
    keel_conversation conversation;
    make(&conversation, "one", NULL, NULL, "a", "b");
    add(&conversation);
    assert_int_equal(keel_store_put_label(store, 1, KEEL_OUTCOME_NONE, KEEL_AUTHORITY_RULE, "r", 1, &err),
                     KEEL_E_INVALID);
    assert_int_equal(keel_store_put_label(store, 1, KEEL_OUTCOME_REFUSAL, KEEL_AUTHORITY_RULE, "r", 2, &err),
                     KEEL_E_INVALID);
    assert_int_equal(keel_store_put_label(store, 99, KEEL_OUTCOME_REFUSAL, KEEL_AUTHORITY_RULE, "r", 1, &err),
                     KEEL_E_STORE);
    expect_label("one", KEEL_OUTCOME_NONE, KEEL_AUTHORITY_NONE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_label_never_replaces_one_of_higher_authority),
        TEST(labels_of_other_judges_of_a_kind_are_dropped_and_no_others),
        TEST(pairs_of_labels_tell_how_a_judge_errs),
        TEST(what_is_no_judgement_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
