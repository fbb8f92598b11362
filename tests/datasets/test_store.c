#define SCRATCH "store"
#include "core/context.h"
#include "datasets/store_internal.h"
#include "fixture.h"
#include "support/faults.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

/* ---- the file ---- */

static void run_sql(const char *path, const char *sql) {
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void expect_sql(const char *fact) {
    sqlite3_stmt *statement;
    assert_ok(keel__store_prepare(store, fact, &statement, &err));
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    if (sqlite3_column_int(statement, 0) != 1) fail_msg("not so: %s", fact);
    sqlite3_finalize(statement);
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

/* ---- conversations ---- */

/* A conversation that uses every field. */
static void make_rich(keel_conversation *out) {
    static keel_turn turns[] = {
        {.role = KEEL_ROLE_SYSTEM, .text = "Be kind."},
        {.role = KEEL_ROLE_USER, .text = "\xe4\xbd\xa0\xe5\xa5\xbd"},
        {.role = KEEL_ROLE_ASSISTANT,
         .text = "Hello",
         .model = "m1",
         .act = "GREET",
         .latency_ms = {true, 12.5}},
        {.role = KEEL_ROLE_USER, .text = ""},
    };
    static keel_candidate first[] = {
        {.text = "Hello",
         .act = "GREET",
         .model = "m1",
         .taken = true,
         .propensity = {true, 0.25},
         .latency_ms = {true, 12.5},
         .feedback = {true, -1},
         .logged_reward = {{0.1f, 0, -0.3f}, {true, false, true}},
         .outcome = KEEL_OUTCOME_PARTIAL,
         .judge = KEEL_AUTHORITY_HUMAN},
        {.text = "Go away", .model = "m2"},
    };
    static keel_candidate second[] = {{.text = "", .act = "REFUSE", .taken = false}};
    static keel_decision decisions[] = {{.turn = 2, .n_candidates = 2, .candidates = first},
                                        {.turn = 4, .n_candidates = 1, .candidates = second}};
    *out = (keel_conversation){.source = "test",
                               .external_id = "rich",
                               .split = "dev",
                               .group = "g",
                               .risk = KEEL_RISK_DANGEROUS,
                               .completed = KEEL_NO,
                               .truncated = true,
                               .n_turns = 4,
                               .turns = turns,
                               .n_decisions = 2,
                               .decisions = decisions,
                               .meta = "{\"a\":1}"};
}

static void what_goes_in_comes_out(void **state) {
    (void)state;
    keel_conversation in_, *out;
    make_rich(&in_);
    assert_int_equal(add(&in_), KEEL_ADDED_NEW);
    out = get("rich");
    assert_string_equal(out->source, "test");
    assert_string_equal(out->split, "dev");
    assert_string_equal(out->group, "g");
    assert_int_equal(out->risk, KEEL_RISK_DANGEROUS);
    assert_int_equal(out->completed, KEEL_NO);
    assert_true(out->truncated);
    assert_string_equal(out->meta, "{\"a\":1}");
    assert_int_equal(out->n_turns, 4);
    assert_string_equal(out->turns[1].text, in_.turns[1].text);
    assert_string_equal(out->turns[2].act, "GREET");
    assert_null(out->turns[1].act);
    assert_true(out->turns[2].latency_ms.present && out->turns[2].latency_ms.value == 12.5);
    assert_int_equal(out->n_decisions, 2);
    const keel_candidate *taken = &out->decisions[0].candidates[0];
    assert_string_equal(taken->text, "Hello");
    assert_true(taken->taken && taken->propensity.value == 0.25 && taken->feedback.value == -1);
    assert_true(taken->logged_reward.present[0] && !taken->logged_reward.present[1]);
    assert_true(taken->logged_reward.value[0] == 0.1f && taken->logged_reward.value[2] == -0.3f);
    assert_int_equal(taken->outcome, KEEL_OUTCOME_PARTIAL);
    assert_int_equal(taken->judge, KEEL_AUTHORITY_HUMAN);
    assert_string_equal(out->decisions[0].candidates[1].text, "Go away");
    assert_string_equal(out->decisions[1].candidates[0].text, "");
    assert_string_equal(out->decisions[1].candidates[0].act, "REFUSE");
    assert_int_equal(out->decisions[1].turn, 4);
}

static void the_same_again_changes_nothing_and_other_content_is_a_conflict(void **state) {
    (void)state;
    keel_conversation rich;
    make_rich(&rich);
    add(&rich);
    assert_int_equal(add(&rich), KEEL_ADDED_NOTHING);
    rich.split = NULL;
    assert_int_equal(add(&rich), KEEL_ADDED_NOTHING);
    keel_conversation other = rich;
    other.n_turns = 3;
    other.n_decisions = 1;
    assert_int_equal(add(&other), KEEL_ADDED_NOTHING); /* an older copy */
    keel_turn turns[3] = {rich.turns[0], rich.turns[1], rich.turns[2]};
    turns[1].text = "another";
    other.turns = turns;
    assert_int_equal(keel_store_add_conversation(store, &other, true, "f:9", NULL, &err), KEEL_E_CONFLICT);
    contains(err.message, "the text of turn 1");
    contains(err.where, "f:9");
    contains(err.message, "rich");
    other = rich;
    other.risk = KEEL_RISK_BENIGN;
    assert_int_equal(keel_store_add_conversation(store, &other, true, "f", NULL, &err), KEEL_E_CONFLICT);
    contains(err.message, "risk");
    other = rich;
    other.meta = "{\"a\":2}";
    assert_int_equal(keel_store_add_conversation(store, &other, false, "f", NULL, &err), KEEL_E_CONFLICT);
}

static void merging_adds_candidates_and_drops_features_that_no_longer_fit(void **state) {
    (void)state;
    keel_conversation rich;
    keel_added added;
    float numbers[4] = {1, 2, 3, 4};
    keel_features features = {.state_dim = 2, .n_actions = 2, .state = numbers, .log_prior = numbers + 2};
    bool found;
    make_rich(&rich);
    add(&rich);
    int64_t decision = get("rich")->decisions[0].id;
    assert_ok(keel_store_put_features(store, "base", decision, &features, &err));
    keel_candidate more[] = {rich.decisions[0].candidates[0],
                             {.text = "Good day", .model = "m3", .taken = true}};
    keel_decision decisions[] = {{.turn = 2, .n_candidates = 2, .candidates = more}, rich.decisions[1]};
    rich.decisions = decisions;
    rich.meta = "{\"b\":[2]}";
    assert_int_equal(keel_store_add_conversation(store, &rich, false, "f", NULL, &err), KEEL_E_CONFLICT);
    assert_ok(keel_store_get_features(store, "base", decision, &arena, &features, &found, &err));
    assert_true(found);
    assert_ok(keel_store_add_conversation(store, &rich, true, "f", &added, &err));
    assert_int_equal(added, KEEL_ADDED_MORE);
    assert_int_equal(get("rich")->decisions[0].n_candidates, 3);
    assert_string_equal(get("rich")->meta, "{\"a\":1,\"b\":[2]}");
    assert_ok(keel_store_get_features(store, "base", decision, &arena, &features, &found, &err));
    assert_false(found);
    more[1].feedback = (keel_optional){true, 1};
    assert_ok(keel_store_add_conversation(store, &rich, true, "f", &added, &err));
    assert_int_equal(added, KEEL_ADDED_MORE);
    more[1].feedback = (keel_optional){true, -1};
    assert_int_equal(keel_store_add_conversation(store, &rich, true, "f", NULL, &err), KEEL_E_CONFLICT);
}

static void a_name_that_two_sources_share_must_say_which(void **state) {
    (void)state;
    keel_conversation conversation;
    int64_t id;
    make(&conversation, "a:b", NULL, NULL, "x", "y");
    add(&conversation);
    conversation.source = "other";
    add(&conversation);
    assert_int_equal(keel_store_find_conversation(store, "a:b", &id, &err), KEEL_E_CONFLICT);
    assert_ok(keel_store_find_conversation(store, "other:a:b", &id, &err));
    assert_int_equal(id, 2);
    assert_int_equal(keel_store_find_conversation(store, "nobody", &id, &err), KEEL_E_NOT_FOUND);
    contains(err.message, "nobody");
    keel_conversation *out;
    assert_int_equal(keel_store_conversation(store, 77, &arena, &out, &err), KEEL_E_NOT_FOUND);
}

/* What reads it would call the store damaged. */
static void a_name_that_is_no_text_is_refused(void **state) {
    (void)state;
    keel_conversation conversation;
    int64_t id;
    make(&conversation, "caf\xe9", NULL, NULL, "x", "y");
    assert_int_equal(keel_store_add_conversation(store, &conversation, false, "f", NULL, &err),
                     KEEL_E_INVALID);
    contains(err.message, "not UTF-8");
    make(&conversation, "caf\xc3\xa9", NULL, NULL, "x", "y");
    add(&conversation);
    assert_ok(keel_store_find_conversation(store, "caf\xc3\xa9", &id, &err));
    assert_int_equal(keel_store_find_conversation(store, "caf\xe9", &id, &err), KEEL_E_INVALID);
    assert_ok(keel_store_find_conversation(store, "caf\xc3\xa9", &id, &err));
}

static void decisions_out_of_order_are_refused(void **state) {
    (void)state;
    keel_conversation rich;
    make_rich(&rich);
    keel_decision decisions[] = {rich.decisions[1], rich.decisions[0]};
    rich.decisions = decisions;
    assert_int_equal(keel_store_add_conversation(store, &rich, false, "f", NULL, &err), KEEL_E_INVALID);
    decisions[0].turn = 5;
    rich.n_decisions = 1;
    assert_int_equal(keel_store_add_conversation(store, &rich, false, "f", NULL, &err), KEEL_E_INVALID);
}

/* Decisions and candidates come by one query: none of them may take another's. */
static void decisions_keep_their_own_candidates_be_they_none_or_many(void **state) {
    (void)state;
    enum { DECISIONS = 4, MOST = 20 };
    static const size_t count[DECISIONS] = {2, 0, MOST, 1};
    keel_turn turns[DECISIONS + 1];
    keel_decision decisions[DECISIONS];
    keel_candidate candidates[DECISIONS][MOST] = {{{0}}};
    char text[DECISIONS][MOST][48];
    keel_conversation conversation = {.source = "chat",
                                      .external_id = "c",
                                      .n_turns = DECISIONS + 1,
                                      .turns = turns,
                                      .n_decisions = DECISIONS,
                                      .decisions = decisions};
    for (size_t i = 0; i <= DECISIONS; i++)
        turns[i] = (keel_turn){.role = i ? KEEL_ROLE_ASSISTANT : KEEL_ROLE_USER, .text = "said"};
    for (size_t i = 0; i < DECISIONS; i++) {
        decisions[i] = (keel_decision){.turn = i + 1, .n_candidates = count[i], .candidates = candidates[i]};
        for (size_t k = 0; k < count[i]; k++) {
            snprintf(text[i][k], sizeof text[i][k], "%zu of %zu", k, i);
            candidates[i][k] = (keel_candidate){.text = text[i][k], .taken = k == 0};
        }
    }
    add(&conversation);
    const keel_conversation *there = get("c");
    assert_int_equal(there->n_decisions, DECISIONS);
    for (size_t i = 0; i < DECISIONS; i++) {
        assert_int_equal(there->decisions[i].turn, i + 1);
        assert_int_equal(there->decisions[i].n_candidates, count[i]);
        for (size_t k = 0; k < count[i]; k++)
            assert_string_equal(there->decisions[i].candidates[k].text, text[i][k]);
    }
}

static void the_content_hash_ignores_order_and_split_but_no_content(void **state) {
    (void)state;
    char hashes[3][65];
    for (int round = 0; round < 3; round++) {
        keel_conversation conversation;
        close_store();
        keel_folder_remove(folder, NULL);
        scratch_make(folder, SCRATCH);
        open_store(KEEL_STORE_CREATE);
        for (int i = 0; i < 20; i++) {
            char id[16];
            snprintf(id, sizeof id, "c%d", round == 0 ? i : 19 - i);
            make(&conversation, id, NULL, round == 1 ? "train" : NULL, id, "y");
            if (round == 2 && i == 7) conversation.decisions[0].candidates[0].outcome = KEEL_OUTCOME_REFUSAL;
            add(&conversation);
        }
        assert_ok(keel_store_content_hash(store, NULL, hashes[round], &err));
    }
    assert_string_equal(hashes[0], hashes[1]);
    assert_string_not_equal(hashes[0], hashes[2]);
}

/* ---- labels ---- */

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

/* ---- transitions, features, counts ---- */

static void a_cursor_may_be_written_under(void **state) {
    (void)state;
    keel_cursor *cursor;
    keel_conversation conversation, *out;
    int walked = 0;
    for (int i = 0; i < 30; i++) {
        char id[16];
        snprintf(id, sizeof id, "c%d", i);
        make(&conversation, id, NULL, i % 2 ? "train" : "test", "a", "b");
        add(&conversation);
    }
    keel_split split;
    assert_ok(keel_split_parse("train", &split, &err));
    assert_ok(keel_cursor_open(&cursor, store, &split, KEEL_ORDER_STORED, &err));
    for (;; walked++) {
        assert_ok(keel_store_begin(store, &err));
        assert_ok(keel_cursor_next(cursor, &arena, &out, &err));
        if (!out) break;
        const keel_decision *decision = &out->decisions[0];
        keel_transition transition = {.decision_id = decision->id,
                                      .candidate_id = decision->candidates[0].id,
                                      .reward = {{1, 0, 0}, {true, false, false}},
                                      .terminal = true};
        assert_ok(keel_store_put_label(store, transition.candidate_id, KEEL_OUTCOME_REFUSAL,
                                       KEEL_AUTHORITY_RULE, "r", 1, &err));
        if (walked % 2) keel_store_gather(store);
        assert_ok(keel_store_put_transitions(store, out->id, &transition, 1, &err));
        assert_ok(keel_store_put_transitions(store, out->id, &transition, 1, &err));
        if (walked % 3)
            assert_ok(keel_store_commit(store, &err));
        else
            keel_store_rollback(store);
        keel_arena_reset(&arena);
    }
    keel_store_rollback(store);
    keel_cursor_close(cursor);
    assert_int_equal(walked, 15);
    keel_split_count *counts;
    size_t n;
    assert_ok(keel_store_counts(store, &arena, &counts, &n, &err));
    assert_int_equal(n, 2);
    assert_string_equal(counts[1].name, "train");
    assert_int_equal(counts[1].conversations, 15);
    assert_int_equal(counts[1].turns, 30);
    assert_int_equal(counts[1].taken, 15);
    assert_int_equal(counts[1].transitions, 10);
    assert_int_equal(counts[1].reward_present[KEEL_ACCURACY], 10);
    assert_int_equal(counts[1].reward_present[KEEL_SPEED], 0);
    assert_int_equal(counts[1].outcome[KEEL_OUTCOME_REFUSAL], 10);
    assert_int_equal(counts[1].judged_by[KEEL_AUTHORITY_RULE], 10);
    assert_int_equal(counts[1].risk_unknown, 15);
    assert_int_equal(counts[0].transitions, 0);
}

static void features_come_back_as_they_were_kept(void **state) {
    (void)state;
    keel_conversation conversation;
    float state_[3] = {1, 2, 3}, candidates[4] = {4, 5, 6, 7}, prior[2] = {-0.5f, -1};
    keel_features kept = {.state_dim = 3,
                          .candidate_dim = 2,
                          .n_candidates = 2,
                          .n_actions = 2,
                          .state = state_,
                          .candidates = candidates,
                          .log_prior = prior},
                  back;
    bool found;
    size_t missing;
    make(&conversation, "one", NULL, NULL, "a", "b");
    add(&conversation);
    assert_ok(keel_store_missing_features(store, "base", NULL, &missing, &err));
    assert_int_equal(missing, 1);
    assert_ok(keel_store_get_features(store, "base", 1, &arena, &back, &found, &err));
    assert_false(found);
    assert_ok(keel_store_put_features(store, "base", 1, &kept, &err));
    prior[1] = -2;
    assert_ok(keel_store_put_features(store, "base", 1, &kept, &err));
    assert_ok(keel_store_get_features(store, "base", 1, &arena, &back, &found, &err));
    assert_true(found);
    assert_memory_equal(back.state, state_, sizeof state_);
    assert_memory_equal(back.candidates, candidates, sizeof candidates);
    assert_memory_equal(back.log_prior, prior, sizeof prior);
    assert_ok(keel_store_missing_features(store, "base", NULL, &missing, &err));
    assert_int_equal(missing, 0);
    assert_ok(keel_store_missing_features(store, "other", NULL, &missing, &err));
    assert_int_equal(missing, 1);
}

static void acts_are_those_of_taken_candidates_sorted(void **state) {
    (void)state;
    keel_conversation rich, plain;
    const char **acts;
    size_t count;
    make_rich(&rich);
    add(&rich);
    make(&plain, "plain", NULL, "dev", "a", "b");
    plain.decisions[0].candidates[0].act = "BYE";
    add(&plain);
    assert_ok(keel_store_acts(store, NULL, &arena, &acts, &count, &err));
    assert_int_equal(count, 2);
    assert_string_equal(acts[0], "BYE");
    assert_string_equal(acts[1], "GREET");
}

static void runs_and_replays_are_kept(void **state) {
    (void)state;
    keel_conversation conversation;
    make(&conversation, "one", NULL, NULL, "a", "b");
    add(&conversation);
    assert_ok(keel_store_put_run(store, "label", "{}", "{\"n\": 1}", NULL, 0, &err));
    assert_ok(keel_store_put_run(store, "label", "{}", "{\"n\": 2}", NULL, 0, &err));
    assert_ok(keel_store_put_run(store, "eval", "{}", "{\"n\": 3}", NULL, 0, &err));
    expect_sql(
        "SELECT group_concat(verb || result) = 'label{\"n\": 1},label{\"n\": 2},eval{\"n\": 3}' FROM runs");
    assert_ok(keel_store_put_run(store, "label", "{}", NULL, NULL, 0, &err));
    assert_ok(keel_store_put_replay(store, "policy", 1, "b", "{}", &err));
    assert_ok(keel_store_put_replay(store, "policy", 1, "c", NULL, &err));
    assert_int_equal(keel_store_put_replay(store, "policy", 5, "c", NULL, &err), KEEL_E_STORE);
}

static void a_run_that_repeats_the_last_of_its_verb_is_recorded_once(void **state) {
    (void)state;
    assert_ok(keel_store_put_run(store, "label", "[1]", "{}", NULL, 0, &err));
    assert_ok(keel_store_put_run(store, "eval", "[]", NULL, NULL, 0, &err));
    assert_ok(keel_store_put_run(store, "label", "[1]", "{}", NULL, 0, &err));
    assert_ok(keel_store_put_run(store, "eval", "[]", NULL, NULL, 0, &err));
    expect_sql("SELECT count(*) = 2 FROM runs");
    assert_ok(keel_store_put_run(store, "label", "[2]", "{}", NULL, 0, &err));
    assert_ok(keel_store_put_run(store, "label", "[1]", "{}", NULL, 0, &err));
    expect_sql("SELECT count(*) = 4 FROM runs");
}

static void what_runs_measured_is_kept_by_name(void **state) {
    (void)state;
    const keel_store_metric first[] = {{"refusal_rate.low", {true, 0.25}}, {"speed.value", {false, 0}}};
    const keel_store_metric second[] = {{"refusal_rate.low", {true, 0.5}}};
    keel_arena local = {0};
    keel_measured *found = NULL;
    size_t count = 9;
    assert_ok(keel_store_measured(store, "refusal_rate.low", &local, &found, &count, &err));
    assert_int_equal(count, 0);
    assert_ok(keel_store_put_run(store, "eval", "[1]", "{}", first, 2, &err));
    assert_ok(keel_store_put_run(store, "eval", "[1]", "{}", first, 2, &err)); /* the same run */
    assert_ok(keel_store_put_run(store, "eval", "[2]", "{}", second, 1, &err));
    assert_ok(keel_store_measured(store, "refusal_rate.low", &local, &found, &count, &err));
    assert_int_equal(count, 2);
    assert_true(found[0].run < found[1].run && found[0].value.value == 0.25 && found[1].value.value == 0.5);
    assert_string_equal(found[1].config_json, "[2]");
    assert_ok(keel_store_measured(store, "speed.value", &local, &found, &count, &err));
    assert_true(count == 1 && !found[0].value.present);
    keel_arena_free(&local);
}

static void a_run_whose_metrics_cannot_be_kept_is_not_kept_either(void **state) {
    (void)state;
    const keel_store_metric twice[] = {{"speed.value", {true, 1}}, {"speed.value", {true, 1}}};
    assert_int_equal(keel_store_put_run(store, "eval", "[1]", "{}", twice, 2, &err), KEEL_E_STORE);
    expect_sql("SELECT count(*) = 0 FROM runs");
    assert_ok(keel_store_put_run(store, "eval", "[1]", "{}", twice, 1, &err));
}

/* ---- faults ---- */

static keel_status whole_life(const char *path) {
    keel_store *mine = NULL;
    keel_arena local = {0};
    keel_conversation rich, *out;
    char hex[65];
    make_rich(&rich);
    keel_status status = keel_store_open(&mine, path, KEEL_STORE_CREATE, &err);
    if (status == KEEL_OK) status = keel_store_begin(mine, &err);
    if (status == KEEL_OK) status = keel_store_add_conversation(mine, &rich, true, "f", NULL, &err);
    if (status == KEEL_OK) status = keel_store_commit(mine, &err);
    if (status == KEEL_OK) status = keel_store_conversation(mine, 1, &local, &out, &err);
    if (status == KEEL_OK) status = keel_store_content_hash(mine, NULL, hex, &err);
    keel_store_close(mine);
    keel_arena_free(&local);
    return status;
}

static void running_out_of_memory_anywhere_is_an_error_without_a_leak(void **state) {
    (void)state;
    faults failing;
    const char *path = in("faults.db");
    size_t failures = 0;
    close_store();
    for (size_t n = 1;; n += 1 + n / 40) {
        keel_folder_remove(folder, NULL);
        scratch_make(folder, SCRATCH);
        sqlite3_release_memory(INT32_MAX);
        faults_begin(&failing, n);
        keel_status status = whole_life(path);
        faults_end();
        if (status == KEEL_OK) break;
        if (status != KEEL_E_NOMEM) print_error("%zu: %s: %s\n", n, err.where, err.message);
        assert_int_equal(status, KEEL_E_NOMEM);
        failures++;
    }
    assert_true(failures > 50);
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
        TEST(what_goes_in_comes_out),
        TEST(the_same_again_changes_nothing_and_other_content_is_a_conflict),
        TEST(merging_adds_candidates_and_drops_features_that_no_longer_fit),
        TEST(a_name_that_two_sources_share_must_say_which),
        TEST(a_name_that_is_no_text_is_refused),
        TEST(decisions_out_of_order_are_refused),
        TEST(decisions_keep_their_own_candidates_be_they_none_or_many),
        TEST(the_content_hash_ignores_order_and_split_but_no_content),
        TEST(a_label_never_replaces_one_of_higher_authority),
        TEST(labels_of_other_judges_of_a_kind_are_dropped_and_no_others),
        TEST(pairs_of_labels_tell_how_a_judge_errs),
        TEST(what_is_no_judgement_is_refused),
        TEST(a_cursor_may_be_written_under),
        TEST(features_come_back_as_they_were_kept),
        TEST(acts_are_those_of_taken_candidates_sorted),
        TEST(runs_and_replays_are_kept),
        TEST(a_run_that_repeats_the_last_of_its_verb_is_recorded_once),
        TEST(what_runs_measured_is_kept_by_name),
        TEST(a_run_whose_metrics_cannot_be_kept_is_not_kept_either),
        TEST(running_out_of_memory_anywhere_is_an_error_without_a_leak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
