/* Default splits: every risk has its share of test, and what was settled stays. */
#define SCRATCH "stratify"
#include "core/pcg.h"
#include "fixture.h"

#include "datasets/store_internal.h"
#include "datasets/stratify.h"

enum { MAX_TALKS = 400 };

/* A conversation to add: named by its number, in a group of that number or of another's. */
typedef struct talk {
    char id[16], group[16];
    keel_risk risk;
    const char *split; /* or NULL */
} talk;

static talk talks[MAX_TALKS];
static keel_rng rng;

static void put_talk(size_t i, size_t group, keel_risk risk, const char *split) {
    snprintf(talks[i].id, sizeof talks[i].id, "c%zu", i);
    snprintf(talks[i].group, sizeof talks[i].group, "g%zu", group);
    talks[i].risk = risk;
    talks[i].split = split;
}

static void add_talk(size_t i) {
    keel_conversation conversation;
    make(&conversation, talks[i].id, talks[i].group, talks[i].split, "a", "b");
    conversation.risk = talks[i].risk;
    add(&conversation);
}

/* What one command adds: in the order given, or in one that is drawn. */
static void add_talks(size_t first, size_t last, bool shuffled) {
    size_t order[MAX_TALKS];
    for (size_t i = first; i < last; i++) order[i] = i;
    for (size_t i = first; shuffled && i < last; i++) {
        const size_t other = i + keel_rng_below(&rng, last - i), kept = order[i];
        order[i] = order[other];
        order[other] = kept;
    }
    assert_ok(keel_store_begin(store, &err));
    for (size_t i = first; i < last; i++) add_talk(order[i]);
    assert_ok(keel_store_commit(store, &err));
}

static void begin_again(void) {
    close_store();
    unlink(in("store.db"));
    open_store(KEEL_STORE_CREATE);
    keel_arena_reset(&arena);
}

static int64_t number(const char *sql) {
    sqlite3_stmt *statement;
    assert_ok(keel__store_prepare(store, sql, &statement, &err));
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    const int64_t value = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return value;
}

static bool in_test(size_t i) {
    return strcmp(get(talks[i].id)->split, "test") == 0;
}

/* Groups without a split of their own, by risk, of the first n talks; how many are in test. */
static void count_groups(size_t n, int64_t groups[3], int64_t test[3]) {
    memset(groups, 0, 3 * sizeof *groups);
    memset(test, 0, 3 * sizeof *test);
    for (size_t i = 0; i < n; i++) {
        keel_risk risk = talks[i].risk;
        bool first = true, given = talks[i].split != NULL;
        for (size_t k = 0; k < n; k++) {
            if (strcmp(talks[i].group, talks[k].group) != 0) continue;
            first = first && k >= i;
            given = given || talks[k].split;
            if (talks[k].risk > risk) risk = talks[k].risk;
        }
        if (!first || given) continue;
        groups[risk]++;
        test[risk] += in_test(i);
    }
}

static void expect_shares(size_t n) {
    int64_t groups[3], test[3];
    count_groups(n, groups, test);
    for (int risk = 0; risk < 3; risk++) {
        const double off = (double)test[risk] - 0.2 * (double)groups[risk];
        if (off <= -1 || off >= 1 || (groups[risk] >= 3 && test[risk] == 0))
            fail_msg("risk %d: %lld of %lld groups are in test", risk, (long long)test[risk],
                     (long long)groups[risk]);
    }
}

/* Every share of 3 by chance: none in 51 of 100 logs. */
static void a_rare_risk_has_its_share_of_test(void **state) {
    (void)state;
    for (size_t trial = 0; trial < 20; trial++) {
        begin_again();
        for (size_t i = 0; i < 300; i++) {
            put_talk(i, 1000 * trial + i, i % 100 == 7 ? KEEL_RISK_DANGEROUS : KEEL_RISK_BENIGN, NULL);
        }
        add_talks(0, 300, false);
        assert_ok(keel_stratify(store, &err));
        int64_t groups[3], test[3];
        count_groups(300, groups, test);
        assert_true(groups[KEEL_RISK_DANGEROUS] == 3 && test[KEEL_RISK_DANGEROUS] == 1);
        assert_true(test[KEEL_RISK_BENIGN] == 59 || test[KEEL_RISK_BENIGN] == 60);
    }
}

static size_t draw_talks(size_t n) {
    for (size_t i = 0; i < n; i++) {
        const bool joins = i > 0 && keel_rng_below(&rng, 3) == 0;
        const size_t group = joins ? keel_rng_below(&rng, i) : i;
        const keel_risk risk = (keel_risk)(keel_rng_below(&rng, 8) == 0 ? 2 : keel_rng_below(&rng, 2));
        put_talk(i, group, risk, NULL);
    }
    return n;
}

/* Groups stay whole; what an earlier command added never moves; the order within a command moves nothing. */
static void properties_hold_over_random_logs(void **state) {
    (void)state;
    for (size_t trial = 0; trial < 25; trial++) {
        rng = keel_rng_named(1, "logs", trial);
        const size_t n = draw_talks(20 + keel_rng_below(&rng, 100)), cut = keel_rng_below(&rng, n + 1);
        bool first[MAX_TALKS];
        for (int pass = 0; pass < 2; pass++) {
            begin_again();
            add_talks(0, cut, pass == 1);
            assert_ok(keel_stratify(store, &err));
            for (size_t i = 0; i < cut; i++) assert_true(pass == 0 || in_test(i) == first[i]);
            for (size_t i = 0; i < cut; i++) first[i] = in_test(i);
            expect_shares(cut);
            add_talks(cut, n, pass == 1);
            assert_ok(keel_stratify(store, &err));
            for (size_t i = 0; i < n; i++) assert_true((pass == 0 && i >= cut) || in_test(i) == first[i]);
            for (size_t i = cut; i < n; i++) first[i] = in_test(i);
            assert_int_equal(number("SELECT count(*) FROM (SELECT 1 FROM conversations GROUP BY group_name"
                                    " HAVING min(split) <> max(split))"),
                             0);
            assert_int_equal(number("SELECT count(*) FROM pending_splits"), 0);
        }
    }
}

/* Commands that add one conversation each keep the share as well. */
static void many_small_commands_keep_the_share(void **state) {
    (void)state;
    for (size_t i = 0; i < 60; i++) {
        put_talk(i, i, i % 10 == 3 ? KEEL_RISK_DANGEROUS : KEEL_RISK_BENIGN, NULL);
        add_talk(i);
        assert_ok(keel_stratify(store, &err));
        expect_shares(i + 1);
    }
}

/* As few groups as possible leave the side that their hashes give, those nearest to the boundary. */
static void as_few_groups_as_possible_move(void **state) {
    (void)state;
    size_t by_hash = 0, moved = 0;
    for (size_t i = 0; i < 200; i++) put_talk(i, i, KEEL_RISK_BENIGN, NULL);
    add_talks(0, 200, false);
    bool before[200];
    for (size_t i = 0; i < 200; i++) by_hash += before[i] = in_test(i);
    assert_true(by_hash != 40);
    sqlite3_stmt *statement;
    assert_ok(keel__store_prepare(store, "CREATE TEMP TABLE was AS SELECT * FROM pending_splits", &statement,
                                  &err));
    assert_int_equal(sqlite3_step(statement), SQLITE_DONE);
    sqlite3_finalize(statement);
    assert_ok(keel_stratify(store, &err));
    for (size_t i = 0; i < 200; i++) moved += before[i] != in_test(i);
    assert_int_equal(moved, by_hash > 40 ? by_hash - 40 : 40 - by_hash);
    assert_int_equal(number("SELECT min(place) FROM was JOIN conversations c ON c.id = conversation_id"
                            " WHERE split = 'test'") >
                         number("SELECT max(place) FROM was JOIN conversations c ON c.id = conversation_id"
                                " WHERE split = 'train'"),
                     1);
}

/* Cut off between two files, gone on with: as if it had never been cut off. */
static void an_import_that_was_cut_off_goes_on(void **state) {
    (void)state;
    bool whole[120];
    rng = keel_rng_named(2, "logs", 0);
    draw_talks(120);
    add_talks(0, 60, false);
    add_talks(60, 120, false);
    assert_ok(keel_stratify(store, &err));
    for (size_t i = 0; i < 120; i++) whole[i] = in_test(i);
    begin_again();
    add_talks(0, 60, false);
    close_store();
    open_store(KEEL_STORE_WRITE);
    add_talks(60, 120, false);
    assert_ok(keel_stratify(store, &err));
    for (size_t i = 0; i < 120; i++) assert_int_equal(in_test(i), whole[i]);
    char before[65], after[65]; /* nothing is provisional: nothing is written */
    assert_ok(keel_file_hash(in("store.db"), before, &err));
    assert_ok(keel_stratify(store, &err));
    assert_ok(keel_file_hash(in("store.db"), after, &err));
    assert_string_equal(before, after);
}

static void splits_that_the_log_gives_stay_and_do_not_count(void **state) {
    (void)state;
    for (size_t i = 0; i < 50; i++) put_talk(i, i, KEEL_RISK_DANGEROUS, i % 2 ? "train" : "dev");
    for (size_t i = 50; i < 60; i++) put_talk(i, i, KEEL_RISK_DANGEROUS, NULL);
    add_talks(0, 60, false);
    /* A provisional group whose split the log then gives is settled by it. */
    for (size_t i = 60; i < 70; i++) {
        put_talk(i, i - 10, KEEL_RISK_DANGEROUS, get(talks[i - 10].id)->split);
        add_talk(i);
    }
    bool before[60];
    for (size_t i = 50; i < 60; i++) before[i] = in_test(i);
    assert_int_equal(number("SELECT count(*) FROM pending_splits"), 0);
    for (size_t i = 70; i < 80; i++) put_talk(i, i, KEEL_RISK_DANGEROUS, NULL);
    add_talks(70, 80, false);
    assert_ok(keel_stratify(store, &err));
    for (size_t i = 0; i < 50; i++) assert_string_equal(get(talks[i].id)->split, talks[i].split);
    for (size_t i = 50; i < 60; i++) assert_int_equal(in_test(i), before[i]);
    int64_t test = 0;
    for (size_t i = 70; i < 80; i++) test += in_test(i);
    assert_int_equal(test, 2);
}

/* A group counts as what is worst in it, whenever that comes. */
static void a_group_with_a_dangerous_conversation_is_dangerous(void **state) {
    (void)state;
    for (size_t i = 0; i < 30; i++) put_talk(i, i, i < 3 ? KEEL_RISK_BENIGN : KEEL_RISK_UNKNOWN, NULL);
    for (size_t i = 30; i < 33; i++) put_talk(i, i - 30, KEEL_RISK_DANGEROUS, NULL);
    put_talk(33, 0, KEEL_RISK_BENIGN, NULL);
    add_talks(0, 34, false);
    assert_ok(keel_stratify(store, &err));
    assert_int_equal(in_test(0) + in_test(1) + in_test(2), 1);
    assert_int_equal(number("SELECT groups * 100 + test FROM split_strata WHERE risk = 2"), 301);
    for (size_t i = 30; i < 33; i++) assert_int_equal(in_test(i), in_test(i - 30));
}

static void counts_that_cannot_be_are_damage(void **state) {
    (void)state;
    static const char *const counts[] = {"3, 4", "3, -1", "9223372036854775807, 0"};
    put_talk(0, 0, KEEL_RISK_BENIGN, NULL);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        char sql[100];
        sqlite3_stmt *statement;
        begin_again();
        snprintf(sql, sizeof sql, "INSERT INTO split_strata VALUES(1, %s)", counts[i]);
        assert_ok(keel__store_prepare(store, sql, &statement, &err));
        assert_int_equal(sqlite3_step(statement), SQLITE_DONE);
        sqlite3_finalize(statement);
        add_talk(0);
        assert_int_equal(keel_stratify(store, &err), KEEL_E_STORE);
        assert_int_equal(number("SELECT count(*) FROM pending_splits"), 1);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_rare_risk_has_its_share_of_test),
        TEST(properties_hold_over_random_logs),
        TEST(many_small_commands_keep_the_share),
        TEST(as_few_groups_as_possible_move),
        TEST(an_import_that_was_cut_off_goes_on),
        TEST(splits_that_the_log_gives_stay_and_do_not_count),
        TEST(a_group_with_a_dangerous_conversation_is_dangerous),
        TEST(counts_that_cannot_be_are_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
