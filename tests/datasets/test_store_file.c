/* The file of a store: made, refused, brought forward, shared by several processes, rolled back. */
#define SCRATCH "store-file"
#include "core/context.h"
#include "fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

static void run_sql(const char *path, const char *sql) {
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void a_new_store_is_marked_as_ours_and_strict(void **state) {
    (void)state;
    static const char *const facts[] = {
        "SELECT application_id = 0x4b45454c FROM pragma_application_id",
        "SELECT user_version = 10 FROM pragma_user_version",
        "SELECT journal_mode = 'wal' FROM pragma_journal_mode",
        "SELECT foreign_keys FROM pragma_foreign_keys",
        "SELECT count(*) = 31 AND min(strict) FROM pragma_table_list WHERE type = 'table' AND name NOT LIKE 'sqlite%'",
    };
    /* Its log is written ahead from the second transaction on; until then power cuts need more care. */
    expect_sql(
        "SELECT synchronous = 2 AND journal_mode = 'delete' FROM pragma_synchronous, pragma_journal_mode");
    assert_ok(keel_store_begin(store, &err));
    assert_ok(keel_store_commit(store, &err));
    expect_sql("SELECT synchronous = 1 FROM pragma_synchronous");
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) expect_sql(facts[i]);
}

static void a_missing_store_is_made_only_when_asked_for(void **state) {
    (void)state;
    keel_store *other = NULL;
    assert_int_equal(keel_store_open(&other, in("none.db"), KEEL_STORE_READ, &err), KEEL_E_NOT_FOUND);
    assert_int_equal(keel_store_open(&other, in("none.db"), KEEL_STORE_WRITE, &err), KEEL_E_NOT_FOUND);
    contains(err.where, "none.db");
    contains(err.hint, "keel import");
    assert_false(keel_file_exists(in("none.db")));
    assert_int_equal(keel_store_open(&other, folder, KEEL_STORE_CREATE, &err), KEEL_E_STORE);
    assert_null(other);
}

static void files_of_others_are_refused_and_left_alone(void **state) {
    (void)state;
    keel_store *other = NULL;
    char before[65], after[65];
    put("text.db", "this is no database, but it is long enough to look like a page header of one, or is it? "
                   "This is no database, but it is long enough.");
    run_sql(in("foreign.db"), "CREATE TABLE t(x); PRAGMA user_version = 3");
    static const char *const names[] = {"text.db", "foreign.db"};
    for (int i = 0; i < 2; i++) {
        assert_ok(keel_file_hash(in(names[i]), before, &err));
        for (int mode = KEEL_STORE_READ; mode <= KEEL_STORE_CREATE; mode++) {
            assert_int_equal(keel_store_open(&other, in(names[i]), (keel_store_mode)mode, &err),
                             KEEL_E_STORE);
            contains(err.where, names[i]);
            contains(err.message, "not a Keel store");
        }
        assert_ok(keel_file_hash(in(names[i]), after, &err));
        assert_string_equal(before, after);
    }
}

static void a_newer_schema_is_refused(void **state) {
    (void)state;
    close_store();
    run_sql(in("store.db"), "PRAGMA user_version = 99");
    assert_int_equal(keel_store_open(&store, in("store.db"), KEEL_STORE_WRITE, &err), KEEL_E_UNSUPPORTED);
    contains(err.message, "99");
    assert_null(store);
}

static void an_older_schema_is_brought_forward_by_a_writer(void **state) {
    (void)state;
    close_store();
    run_sql(in("old.db"), "PRAGMA application_id = 0x4b45454c");
    assert_int_equal(keel_store_open(&store, in("old.db"), KEEL_STORE_READ, &err), KEEL_E_STORE);
    contains(err.message, "older");
    assert_ok(keel_store_open(&store, in("old.db"), KEEL_STORE_WRITE, &err));
    keel_conversation conversation;
    make(&conversation, "one", NULL, NULL, "a", "b");
    add(&conversation);
}

static void a_store_of_the_first_schema_loses_its_features_alone(void **state) {
    (void)state;
    keel_conversation conversation;
    close_store();
    run_sql(in("first.db"), keel__store_migrations[0]);
    run_sql(in("first.db"),
            "PRAGMA application_id = 0x4b45454c; PRAGMA user_version = 1;"
            "INSERT INTO conversations VALUES(1, 's', 'one', 'train', 'one', 7, 0, -1, 0, NULL);"
            "INSERT INTO turns VALUES(1, 0, 0, 'a', NULL, NULL, NULL);"
            "INSERT INTO decisions VALUES(1, 1, 1);"
            "INSERT INTO candidates(id, decision_id, text, model, taken, outcome, judge)"
            " VALUES(1, 1, 'y', 'later', 1, 0, 0), (2, 1, 'x', 'early', 0, 0, 0), (3, 1, 'z', NULL, 0, 0, 0);"
            "INSERT INTO features VALUES(1, 1, 'base', 1, 1, 3, 3, x'00')");
    assert_ok(keel_store_open(&store, in("first.db"), KEEL_STORE_WRITE, &err));
    conversation = *get("one");
    assert_string_equal(conversation.decisions[0].candidates[0].text, "z");
    assert_string_equal(conversation.decisions[0].candidates[1].text, "x");
    assert_string_equal(conversation.decisions[0].candidates[2].text, "y");
    expect_sql("SELECT count(*) = 0 FROM features");
    expect_sql("SELECT count(*) = 3 FROM candidates");
}

/* What the setting "rewards" is in a store of the second schema whose runs had these results; NULL: none. */
static const char *migrated_rewards(const char *runs) {
    const char *value = NULL;
    close_store();
    unlink(in("second.db"));
    run_sql(in("second.db"), keel__store_migrations[0]);
    run_sql(in("second.db"), runs);
    run_sql(in("second.db"), "PRAGMA application_id = 0x4b45454c; PRAGMA user_version = 2");
    assert_ok(keel_store_open(&store, in("second.db"), KEEL_STORE_WRITE, &err));
    assert_ok(keel_store_get_setting(store, "rewards", &arena, &value, &err));
    return value;
}

static void a_store_of_the_second_schema_keeps_the_rewards_of_its_last_label(void **state) {
    (void)state;
    assert_null(migrated_rewards("SELECT 1"));
    assert_null(migrated_rewards("INSERT INTO runs(verb, result) VALUES('eval', '{\"rewards\": {}}')"));
    assert_null(migrated_rewards("INSERT INTO runs(verb, result) VALUES('label', NULL)"));
    assert_string_equal(
        migrated_rewards("INSERT INTO runs(verb, result) VALUES"
                         "('label', '{\"rewards\": {\"target_ms\": 1}}'),"
                         "('label', '{\"n\": 1, \"rewards\": {\"target_ms\": 300, \"turn_cost\": 0}}'),"
                         "('eval', '{}')"),
        "{\"target_ms\":300,\"turn_cost\":0}");
    assert_null(migrated_rewards("INSERT INTO runs(verb, result) VALUES"
                                 "('label', '{\"rewards\": {}}'), ('label', '{\"n\": 1}')"));
    /* What cannot be read is not lost on the way: reading it stays an error. */
    assert_string_equal(migrated_rewards("INSERT INTO runs(verb, result) VALUES('label', '{\"rewards')"),
                        "{\"rewards");
}

static void a_setting_is_one_text_for_its_key(void **state) {
    (void)state;
    const char *value = "before";
    assert_ok(keel_store_get_setting(store, "rewards", &arena, &value, &err));
    assert_null(value);
    assert_ok(keel_store_begin(store, &err));
    assert_ok(keel_store_put_setting(store, "rewards", "{}", &err));
    keel_store_rollback(store);
    assert_ok(keel_store_get_setting(store, "rewards", &arena, &value, &err));
    assert_null(value);
    assert_ok(keel_store_put_setting(store, "rewards", "1", &err));
    assert_ok(keel_store_put_setting(store, "other", "2", &err));
    assert_ok(keel_store_put_setting(store, "rewards", "3", &err));
    assert_ok(keel_store_get_setting(store, "rewards", &arena, &value, &err));
    assert_string_equal(value, "3");
    expect_sql("SELECT count(*) = 2 FROM settings");
}

/* What another program finds: the store itself reads no view. */
static void expect_of_others(const char *fact) {
    sqlite3 *db;
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_open_v2(in("store.db"), &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, fact, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    if (!sqlite3_column_int(statement, 0)) print_error("not so: %s\n", fact);
    assert_int_equal(sqlite3_column_int(statement, 0), 1);
    sqlite3_finalize(statement);
    sqlite3_close(db);
}

static void views_have_words_for_numbers(void **state) {
    (void)state;
    static const char log[] =
        "{\"id\":\"c\",\"risk\":\"dangerous\",\"completed\":true,\"messages\":[{\"role\":\"user\",\"content\":\"q\"},"
        "{\"role\":\"assistant\",\"content\":\"a\",\"outcome\":\"refusal\",\"judge\":\"model\",\"candidates\":[\"b\"]}]}\n";
    assert_ok(import_as(NULL, NULL, put("log.jsonl", log)));
    run_sql(in("store.db"),
            "INSERT INTO transitions SELECT id, decision_id, NULL, 0.5, NULL, 1, 1, 0 FROM candidates"
            " WHERE taken");
    expect_of_others(
        "SELECT risk = 'dangerous' AND completed = 'yes' FROM v_conversations WHERE external_id = 'c'");
    expect_of_others("SELECT group_concat(role, ' ') = 'user assistant' FROM v_turns");
    expect_of_others(
        "SELECT count(*) = 2 AND sum(outcome IS NULL) = 1 AND sum(text = 'a' AND outcome = 'refusal' AND judge"
        " = 'model' AND risk = 'dangerous' AND turn = 1) = 1 FROM v_candidates");
    expect_of_others("SELECT accuracy = 0.5 AND safety = 1 AND outcome = 'refusal' AND external_id = 'c' FROM"
                     " v_transitions");
    run_sql(
        in("store.db"),
        "INSERT INTO served(request, conversation_id, decision_id, candidate_id, arm, segment, at, explored,"
        " fallback, shadow) SELECT 'r', 1, decision_id, id, 'a', 's', 7, 0, 1, 0 FROM candidates WHERE taken");
    expect_of_others(
        "SELECT request = 'r' AND risk = 'dangerous' AND completed = 'yes' AND text = 'a' AND outcome ="
        " 'refusal' AND judge = 'model' AND turn = 1 AND fallback FROM v_served");
}

static void a_failing_migration_changes_nothing(void **state) {
    (void)state;
    sqlite3_stmt *statement;
    const char *scripts[16] = {NULL};
    size_t n = 0;
    for (; keel__store_migrations[n]; n++) scripts[n] = keel__store_migrations[n];
    scripts[n] = "CREATE TABLE more(x INTEGER) STRICT";
    scripts[n + 1] = "CREATE TABLE more(y)";
    assert_int_equal(keel__store_migrate(store, scripts, &err), KEEL_E_STORE);
    scripts[n + 1] = "CREATE TABLE most(x INTEGER) STRICT";
    assert_ok(keel__store_migrate(store, scripts, &err));
    assert_ok(keel__store_prepare(store, "SELECT user_version FROM pragma_user_version", &statement, &err));
    sqlite3_step(statement);
    assert_int_equal(sqlite3_column_int(statement, 0), n + 2);
    sqlite3_finalize(statement);
}

static void a_damaged_store_is_called_damaged(void **state) {
    (void)state;
    keel_buf bytes = {0};
    for (int i = 0; i < 50; i++) {
        char id[16];
        keel_conversation conversation;
        snprintf(id, sizeof id, "c%d", i);
        make(&conversation, id, NULL, NULL, "a long enough prompt to fill some pages of the file",
             "response");
        add(&conversation);
    }
    close_store();
    assert_ok(keel_file_read(in("store.db"), 0, &bytes, &err));
    memset(bytes.data + 4096, 0x5a, bytes.length - 4096);
    assert_ok(keel_file_write(in("store.db"), bytes.data, bytes.length, &err));
    keel_buf_free(&bytes);
    keel_status status = keel_store_open(&store, in("store.db"), KEEL_STORE_WRITE, &err);
    char hex[65];
    if (status == KEEL_OK) status = keel_store_content_hash(store, NULL, hex, &err);
    assert_int_equal(status, KEEL_E_STORE);
    contains(err.message, "damaged");
}

static void a_second_writer_is_told_that_the_store_is_in_use(void **state) {
    (void)state;
    keel_store *other;
    assert_ok(keel_store_open(&other, in("store.db"), KEEL_STORE_WRITE, &err));
    sqlite3_busy_timeout(other->db, 50);
    assert_ok(keel_store_begin(store, &err));
    assert_int_equal(keel_store_begin(other, &err), KEEL_E_STORE);
    contains(err.message, "in use by another process");
    assert_ok(keel_store_commit(store, &err));
    assert_ok(keel_store_begin(other, &err));
    keel_store_close(other);
}

static atomic_bool waits;

static void hear(void *user, keel_log_level level, const char *line) {
    (void)user;
    (void)level;
    if (strstr(line, "waiting for another process")) atomic_store(&waits, true);
}

static void *open_and_close(void *unused) {
    keel_store *other = NULL;
    keel_context context;
    (void)unused;
    keel_context_init(&context);
    context.log = hear;
    context.log_level = KEEL_LOG_INFO;
    keel_context_use(&context);
    keel_status status = keel_store_open(&other, in("store.db"), KEEL_STORE_WRITE, NULL);
    keel_store_close(other);
    keel_context_use(NULL);
    return status == KEEL_OK ? folder : NULL;
}

static void who_opens_a_store_that_is_first_filled_waits(void **state) {
    (void)state;
    keel_conversation conversation;
    pthread_t waiting;
    void *opened = NULL;
    make(&conversation, "one", NULL, NULL, "a", "b");
    assert_ok(keel_store_begin(store, &err));
    add(&conversation);
    assert_int_equal(pthread_create(&waiting, NULL, open_and_close, NULL), 0);
    for (int ms = 0; ms < 60000 && !atomic_load(&waits); ms++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    assert_true(atomic_load(&waits));
    assert_ok(keel_store_commit(store, &err));
    pthread_join(waiting, &opened);
    assert_non_null(opened);
}

/* The maker of a store takes it away when its first import fails. */
static void a_store_that_is_taken_away_is_not_written_to(void **state) {
    (void)state;
    keel_store *other;
    keel_conversation conversation;
    make(&conversation, "one", NULL, NULL, "a", "b");
    assert_ok(keel_store_open(&other, in("new.db"), KEEL_STORE_CREATE, &err));
    assert_int_equal(unlink(in("new.db")), 0);
    assert_ok(keel_store_begin(other, &err));
    keel_status status = keel_store_add_conversation(other, &conversation, false, "f", NULL, &err);
    if (status == KEEL_OK) status = keel_store_commit(other, &err);
    assert_int_equal(status, KEEL_E_IO);
    keel_store_close(other);
}

static void a_rollback_leaves_the_file_as_it_was(void **state) {
    (void)state;
    keel_conversation conversation;
    char before[65], after[65];
    make(&conversation, "one", NULL, NULL, "a", "b");
    add(&conversation);
    close_store();
    assert_ok(keel_file_hash(in("store.db"), before, &err));
    for (int closing = 0; closing < 2; closing++) {
        open_store(KEEL_STORE_WRITE);
        assert_ok(keel_store_begin(store, &err));
        make(&conversation, "two", NULL, NULL, "c", "d");
        assert_int_equal(add(&conversation), KEEL_ADDED_NEW);
        if (!closing) keel_store_rollback(store);
        close_store();
        assert_ok(keel_file_hash(in("store.db"), after, &err));
        assert_string_equal(before, after);
    }
    open_store(KEEL_STORE_READ);
    int64_t id;
    assert_int_equal(keel_store_find_conversation(store, "two", &id, &err), KEEL_E_NOT_FOUND);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_new_store_is_marked_as_ours_and_strict),
        TEST(a_missing_store_is_made_only_when_asked_for),
        TEST(files_of_others_are_refused_and_left_alone),
        TEST(a_newer_schema_is_refused),
        TEST(an_older_schema_is_brought_forward_by_a_writer),
        TEST(a_store_of_the_first_schema_loses_its_features_alone),
        TEST(a_store_of_the_second_schema_keeps_the_rewards_of_its_last_label),
        TEST(a_setting_is_one_text_for_its_key),
        TEST(views_have_words_for_numbers),
        TEST(a_failing_migration_changes_nothing),
        TEST(a_damaged_store_is_called_damaged),
        TEST(a_second_writer_is_told_that_the_store_is_in_use),
        TEST(who_opens_a_store_that_is_first_filled_waits),
        TEST(a_store_that_is_taken_away_is_not_written_to),
        TEST(a_rollback_leaves_the_file_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
