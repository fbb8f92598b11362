#define SCRATCH "split"
#include "fixture.h"

static keel_split parsed(const char *text) {
    keel_split split;
    assert_ok(keel_split_parse(text, &split, &err));
    assert_string_equal(split.text, text);
    return split;
}

static void every_form_of_the_grammar_parses(void **state) {
    (void)state;
    keel_split split = parsed("all");
    assert_string_equal(split.name, "");
    assert_int_equal(split.folds[0].kind, KEEL_FOLD_NONE);
    assert_string_equal(parsed("train").name, "train");
    split = parsed("fold:2/5");
    assert_int_equal(split.folds[0].kind, KEEL_FOLD_IN);
    assert_int_equal(split.folds[0].fold, 2);
    assert_int_equal(split.folds[0].folds, 5);
    split = parsed("dev,rest:0/10");
    assert_string_equal(split.name, "dev");
    assert_int_equal(split.folds[0].kind, KEEL_FOLD_REST);
    assert_int_equal(parsed("all,fold:1/2").folds[0].folds, 2);
    split = parsed("dev,rest:0/10,fold:3/4");
    assert_int_equal(split.folds[1].kind, KEEL_FOLD_IN);
    assert_true(split.folds[1].fold == 3 && split.folds[1].folds == 4);
}

static void what_is_not_in_the_grammar_is_refused_with_the_grammar(void **state) {
    (void)state;
    static const char *const bad[] = {"",
                                      "fold:5/5",
                                      "fold:-1/5",
                                      "fold:1",
                                      "fold:1/1",
                                      "fold:1/5x",
                                      "train,",
                                      "train,dev",
                                      "fold:0/2,train",
                                      "a b",
                                      "rest:/3",
                                      "train,fold:0/2,fold:1/3,fold:0/5",
                                      "fold:0/2,,fold:1/3",
                                      "train,fold:3",
                                      "fold:1/999999999999999999999",
                                      "a'b"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        keel_split split = {.name = "kept"};
        if (keel_split_parse(bad[i], &split, &err) != KEEL_E_INVALID) fail_msg("\"%s\" was taken", bad[i]);
        contains(err.hint, "fold:K/N");
        assert_string_equal(split.name, "kept");
    }
}

static void what_is_held_out_of_a_rest_is_its_fold(void **state) {
    (void)state;
    keel_split rest = parsed("dev,rest:3/5"), all = parsed("all"), held;
    assert_ok(keel_split_held_out(&rest, &held, &err));
    assert_string_equal(held.text, "dev,fold:3/5");
    assert_int_equal(held.folds[0].kind, KEEL_FOLD_IN);
    assert_int_equal(keel_split_held_out(&all, &held, &err), KEEL_E_INVALID);
    rest = parsed("rest:3/5,rest:1/2"); /* what is not in it is no fold */
    assert_int_equal(keel_split_held_out(&rest, &held, &err), KEEL_E_INVALID);
}

static void a_cut_is_a_fold_of_the_split_and_what_is_left(void **state) {
    (void)state;
    keel_split train = parsed("train,rest:3/5"), part, left;
    assert_ok(keel_split_cut(&train, "1/4", &part, &left, &err));
    assert_string_equal(part.text, "train,rest:3/5,fold:1/4");
    assert_string_equal(left.text, "train,rest:3/5,rest:1/4");
    assert_true(keel_split_disjoint(&part, &left));
    train = parsed("all");
    assert_ok(keel_split_cut(&train, "0/2", &part, &left, &err));
    assert_string_equal(part.text, "fold:0/2");
    static const char *const bad[][2] = {
        {"train", "4/4"},     {"train", "1"},      {"train", "fold:1/4"}, {"rest:3/5", "3/5"},
        {"rest:3/5", "8/10"}, {"fold:1/4", "1/2"}, {"fold:1/4", "0/2"},   {"rest:0/3,rest:1/5", "1/4"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        train = parsed(bad[i][0]);
        part = left = (keel_split){.name = "kept"};
        if (keel_split_cut(&train, bad[i][1], &part, &left, &err) != KEEL_E_INVALID)
            fail_msg("%s of %s", bad[i][1], bad[i][0]);
        assert_string_equal(part.name, "kept");
    }
}

static void splits_that_share_no_conversation_are_told_from_those_that_may(void **state) {
    (void)state;
    static const struct {
        const char *a, *b;
        bool disjoint;
    } cases[] = {{"all", "all", false},
                 {"train", "test", true},
                 {"train", "train", false},
                 {"train", "all", false},
                 {"train,fold:0/5", "test,fold:0/5", true},
                 {"fold:0/5", "fold:1/5", true},
                 {"train,fold:0/5", "fold:1/5", true},
                 {"fold:0/5", "fold:0/5", false},
                 {"fold:0/5", "fold:1/3", false},
                 {"fold:0/4", "fold:1/6", true},
                 {"fold:1/4", "fold:3/6", false},
                 {"rest:2/5", "fold:2/5", true},
                 {"rest:2/5", "fold:12/15", true},
                 {"rest:2/5", "fold:7/10", true},
                 {"rest:2/5", "fold:3/5", false},
                 {"train,rest:2/5,rest:1/3", "train,fold:1/3", true},
                 {"train,rest:2/5,fold:1/3", "train,rest:2/5,rest:1/3", true},
                 {"rest:2/5,fold:1/3", "fold:3/5", false},
                 {"rest:2/5", "rest:3/5", false},
                 {"rest:0/2", "rest:1/2", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        keel_split a = parsed(cases[i].a), b = parsed(cases[i].b);
        if (keel_split_disjoint(&a, &b) != cases[i].disjoint ||
            keel_split_disjoint(&b, &a) != cases[i].disjoint)
            fail_msg("%s and %s", cases[i].a, cases[i].b);
    }
}

static void fill(int groups, int each) {
    assert_ok(keel_store_begin(store, &err));
    for (int g = 0; g < groups; g++)
        for (int k = 0; k < each; k++) {
            char id[32], group[32];
            keel_conversation conversation;
            snprintf(id, sizeof id, "c%d-%d", g, k);
            snprintf(group, sizeof group, "g%d", g);
            make(&conversation, id, group, NULL, "hello", "hi");
            assert_int_equal(add(&conversation), KEEL_ADDED_NEW);
        }
    assert_ok(keel_store_commit(store, &err));
}

static size_t count(const char *text, char (*groups)[16], size_t room) {
    keel_split split = parsed(text);
    keel_cursor *cursor;
    keel_conversation *conversation;
    size_t n = 0;
    assert_ok(keel_cursor_open(&cursor, store, &split, KEEL_ORDER_STORED, &err));
    for (;; n++) {
        assert_ok(keel_cursor_next(cursor, &arena, &conversation, &err));
        if (!conversation) break;
        if (n < room) snprintf(groups[n], sizeof groups[n], "%s", conversation->group);
    }
    keel_cursor_close(cursor);
    return n;
}

static void groups_never_straddle_splits_or_folds(void **state) {
    (void)state;
    enum { GROUPS = 200, EACH = 3, FOLDS = 5 };
    static char groups[GROUPS * EACH][16];
    static const char *const parts[] = {"train",    "test",     "fold:0/5", "fold:1/5",
                                        "fold:2/5", "fold:3/5", "fold:4/5"};
    int seen[GROUPS][7] = {0};
    fill(GROUPS, EACH);
    for (int p = 0; p < 7; p++) {
        size_t n = count(parts[p], groups, GROUPS * EACH);
        for (size_t i = 0; i < n; i++) seen[atoi(groups[i] + 1)][p]++;
        if (p >= 2) assert_in_range(n, GROUPS * EACH / FOLDS / 2, GROUPS * EACH / FOLDS * 3 / 2);
    }
    for (int g = 0; g < GROUPS; g++) {
        int splits = 0, folds = 0;
        for (int p = 0; p < 7; p++) {
            assert_true(seen[g][p] == 0 || seen[g][p] == EACH);
            *(p < 2 ? &splits : &folds) += seen[g][p] / EACH;
        }
        assert_int_equal(splits, 1);
        assert_int_equal(folds, 1);
    }
    assert_int_equal(count("fold:1/5", NULL, 0) + count("rest:1/5", NULL, 0), GROUPS * EACH);
    assert_int_equal(count("rest:2/5,fold:1/4", NULL, 0) + count("rest:2/5,rest:1/4", NULL, 0),
                     count("rest:2/5", NULL, 0));
    assert_true(count("rest:2/5,fold:1/4", NULL, 0) > 0 && count("rest:2/5,rest:1/4", NULL, 0) > 0);
    size_t train = count("train", NULL, 0);
    assert_in_range(train, GROUPS * EACH * 7 / 10, GROUPS * EACH * 9 / 10);
    assert_int_equal(count("train,fold:1/5", NULL, 0) + count("train,rest:1/5", NULL, 0), train);
    assert_true(count("train,fold:1/5", NULL, 0) * 5 > train / 2); /* folds cut train and test alike */
    assert_true(count("test,fold:1/5", NULL, 0) > 0);
}

static void a_group_follows_its_first_split_and_refuses_another(void **state) {
    (void)state;
    keel_conversation conversation;
    make(&conversation, "one", "pair", "dev", "a", "b");
    assert_int_equal(add(&conversation), KEEL_ADDED_NEW);
    make(&conversation, "two", "pair", NULL, "c", "d");
    add(&conversation);
    assert_string_equal(get("two")->split, "dev");
    make(&conversation, "three", "pair", "train", "e", "f");
    assert_int_equal(keel_store_add_conversation(store, &conversation, false, "log:3", NULL, &err),
                     KEEL_E_CONFLICT);
    contains(err.where, "log:3");
    contains(err.message, "one");
    contains(err.message, "dev");
    make(&conversation, "pair", NULL, "train", "g", "h"); /* alone, but of the same name as the group */
    assert_int_equal(keel_store_add_conversation(store, &conversation, false, "log:4", NULL, &err),
                     KEEL_E_CONFLICT);
}

static void an_unknown_split_is_named_with_those_there_are(void **state) {
    (void)state;
    keel_split dev = parsed("dev"), all = parsed("all");
    keel_conversation conversation;
    assert_int_equal(keel_store_check_split(store, &all, &err), KEEL_E_NOT_FOUND);
    contains(err.hint, "empty");
    make(&conversation, "one", NULL, "train", "a", "b");
    add(&conversation);
    assert_ok(keel_store_check_split(store, &all, &err));
    assert_int_equal(keel_store_check_split(store, &dev, &err), KEEL_E_NOT_FOUND);
    contains(err.message, "dev");
    contains(err.hint, "train");
}

static void the_name_of_a_split_is_checked(void **state) {
    (void)state;
    keel_conversation conversation;
    static const char *const bad[] = {"all", "held-out", "", "a,b", "fold:0/5"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        make(&conversation, "one", NULL, bad[i], "a", "b");
        assert_int_equal(keel_store_add_conversation(store, &conversation, false, "x", NULL, &err),
                         KEEL_E_INVALID);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(every_form_of_the_grammar_parses),
        TEST(what_is_not_in_the_grammar_is_refused_with_the_grammar),
        TEST(what_is_held_out_of_a_rest_is_its_fold),
        TEST(a_cut_is_a_fold_of_the_split_and_what_is_left),
        TEST(splits_that_share_no_conversation_are_told_from_those_that_may),
        TEST(groups_never_straddle_splits_or_folds),
        TEST(a_group_follows_its_first_split_and_refuses_another),
        TEST(an_unknown_split_is_named_with_those_there_are),
        TEST(the_name_of_a_split_is_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
