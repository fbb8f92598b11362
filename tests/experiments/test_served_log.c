/* The log of what is served: everything accepted is written or counted, whatever happens to the store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/context.h"
#include "core/file.h"
#include "datasets/store_internal.h"
#include "experiments/serve/served_count.h"
#include "experiments/serve/served_log.h"
#include "experiments/serve/served_write.h"
#include "served_fixture.h"
#include "support/check.h"
#include "support/faults.h"
#include "support/scratch.h"

static char folder[256];
static keel_served_log *serving;
static keel_err err;

static const char *store_path(void) {
    return scratch_path(folder, "served.db");
}

static int begin(void **state) {
    (void)state;
    return scratch_make(folder, "served-log") ? 0 : -1;
}

static int end(void **state) {
    (void)state;
    keel_served_log_close(serving);
    serving = NULL;
    keel_folder_remove(folder, NULL);
    return 0;
}

static void open_log(const keel_served_log_options *options) {
    assert_ok(keel_served_log_open(&serving, store_path(), options, &err));
}

static void close_log(void) {
    keel_served_log_close(serving);
    serving = NULL;
}

static bool serve(const char *request, const char *name, const char *says, size_t exchanges,
                  const char *user) {
    keel_arena arena = {0};
    keel_served *s = made_served(&arena, request, name, says, exchanges);
    assert_non_null(s);
    s->user = user;
    const bool queued = keel_served_log_put(serving, s, &arena);
    assert_null(arena.first);
    return queued;
}

/* The one number that a query gives. */
static int64_t number(const char *sql) {
    keel_store *store;
    sqlite3_stmt *statement;
    assert_ok(keel_store_open(&store, store_path(), KEEL_STORE_READ, &err));
    assert_ok(keel__store_prepare(store, sql, &statement, &err));
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    const int64_t out = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    keel_store_close(store);
    return out;
}

static void wait_until_written(int64_t entries) {
    keel_served_log_state s = {0};
    for (int i = 0; i < 60000 && s.requests + s.feedback + s.lost < entries; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        keel_served_log_state_of(serving, &s);
    }
    assert_int_equal(s.requests + s.feedback + s.lost, entries);
}

static void it_knows_what_is_queued_and_what_is_written(void **state) {
    (void)state;
    open_log(NULL);
    assert_true(serve("r", "talk", "please", 1, NULL));
    assert_true(keel_served_log_knows(serving, "r"));
    wait_until_written(1);
    assert_true(keel_served_log_knows(serving, "r"));
    assert_false(keel_served_log_knows(serving, "s"));
    close_log();
    open_log(NULL); /* a later start */
    assert_true(keel_served_log_knows(serving, "r"));
    close_log();
}

static void requests_and_feedback_reach_the_store(void **state) {
    (void)state;
    open_log(NULL);
    for (int i = 0; i < 100; i++) {
        char request[16], name[16];
        snprintf(request, sizeof request, "r%d", i);
        snprintf(name, sizeof name, "talk-%d", i / 4);
        assert_true(serve(request, name, "please", (size_t)(1 + i % 4), "ann"));
        /* before the request is written */
        assert_true(keel_served_log_feedback(
            serving, &(keel_feedback){.request = request,
                                      .at = 5,
                                      .feedback = {true, i % 2 ? 1 : -1},
                                      .outcome = i % 2 ? KEEL_OUTCOME_REFUSAL : KEEL_OUTCOME_NONE,
                                      .completed = i % 4 == 3 ? KEEL_YES : KEEL_UNKNOWN,
                                      .risk = KEEL_RISK_DANGEROUS,
                                      .source = "desk"}));
    }
    close_log();
    assert_int_equal(number("SELECT count(*) FROM served"), 100);
    assert_int_equal(number("SELECT count(*) FROM served_feedback"), 100);
    assert_int_equal(number("SELECT count(*) FROM conversations"), 25);
    assert_int_equal(number("SELECT count(*) FROM decisions"), 100);
    assert_int_equal(number("SELECT count(*) FROM candidates WHERE taken AND feedback = 1 AND outcome = 3 AND"
                            " propensity = 0.75"),
                     50);
    assert_int_equal(number("SELECT count(*) FROM conversations WHERE completed = 1 AND risk = 2"), 25);
    assert_int_equal(number("SELECT count(*) FROM transitions"), 100);
    assert_int_equal(
        number("SELECT count(*) FROM served s JOIN candidates k ON k.id = s.candidate_id WHERE k.taken"
               " AND k.decision_id = s.decision_id"),
        100);
    assert_int_equal(number("SELECT count(DISTINCT user) FROM served WHERE length(user) = 32"), 1);
    assert_int_equal(number("SELECT accepted FROM serve_starts"), 200);
    assert_false(keel_file_exists(scratch_path(folder, "served.db-serve")));
}

static void the_same_place_answered_twice_is_another_talk_of_the_group(void **state) {
    (void)state;
    open_log(NULL);
    serve("r1", "talk", "please tell me where it is", 1, NULL);
    serve("r2", "talk", "please tell me where it is", 2, NULL);
    serve("r3", "talk", "please tell me where it is", 2, NULL); /* the same again */
    serve("r4", "talk", "please tell me something else", 3, NULL);
    close_log();
    assert_int_equal(number("SELECT count(*) FROM served"), 4);
    assert_int_equal(
        number("SELECT count(*) FROM conversations WHERE external_id IN ('talk', 'talk~r3', 'talk~r4')"), 3);
    assert_int_equal(
        number("SELECT count(DISTINCT group_name) FROM conversations WHERE external_id <> 'talk~r4'"), 1);
    assert_int_equal(number("SELECT count(*) FROM served_lost"), 0);
}

static void feedback_about_nothing_and_a_request_twice_are_counted(void **state) {
    (void)state;
    open_log(NULL);
    serve("r1", "one", "please", 1, NULL);
    serve("r1", "two", "please", 1, NULL);
    serve("r3", "one", "please", 1, NULL); /* another talk, also when it is written alone */
    keel_served_log_feedback(serving, &(keel_feedback){.request = "r9", .feedback = {true, 1}});
    keel_served_log_feedback(serving, &(keel_feedback){.request = "r1", .feedback = {true, 7}});
    serve("r2", "three", "please", 1, NULL);
    wait_until_written(6);
    close_log();
    assert_int_equal(number("SELECT count(*) FROM conversations WHERE external_id = 'one~r3'"), 1);
    assert_int_equal(number("SELECT count(*) FROM served"), 3);
    assert_int_equal(number("SELECT sum(count) FROM served_lost"), 3);
    assert_int_equal(number("SELECT count(*) FROM conversations WHERE external_id = 'two'"), 0);
    assert_int_equal(number("SELECT count(*) FROM served_lost WHERE why LIKE '%no request of this id%'"), 1);
}

static int n_commits;

static int count_commit(void *user) {
    (void)user;
    n_commits++;
    return 0;
}

/* Of this handle, since the first call. */
static int64_t commits(keel_store *store) {
    sqlite3_commit_hook(store->db, count_commit, NULL);
    return n_commits;
}

/* Another process holds the store, and lets it go when a third write waits for it. */
static keel_store *holder;
static int times_asked;

static bool let_go_at_last(void *user) {
    (void)user;
    if (++times_asked == 5) keel_store_rollback(holder);
    return times_asked < 5;
}

/* Whoever waits asks whether it is interrupted, and so does what it says then: two times a write. */
static void what_another_writer_keeps_out_is_not_given_up(void **state) {
    (void)state;
    keel_store *store;
    keel_served_entry entry = {.name = "talk"};
    keel_served_written done;
    keel_context context = *keel_context_current();
    context.interrupted = let_go_at_last;
    assert_ok(keel_store_open(&store, store_path(), KEEL_STORE_CREATE, &err));
    assert_ok(keel_store_open(&holder, store_path(), KEEL_STORE_WRITE, &err));
    entry.served = made_served(&entry.arena, "r1", "talk", "please", 1);
    assert_non_null(entry.served);
    assert_ok(keel_store_begin(holder, &err));
    times_asked = 0;
    const keel_context *before = keel_context_use(&context);
    keel_served_write(store, 0, 1, &entry, 1, 0, &done);
    keel_context_use(before);
    assert_true(done.failed);
    assert_int_equal(done.entries, 0);
    assert_int_equal(done.lost, 0);
    keel_store_rollback(holder);
    keel_served_write(store, 0, 1, &entry, 1, 0, &done);
    assert_int_equal(done.requests, 1);
    keel_store_close(holder);
    keel_store_close(store);
    keel_arena_free(&entry.arena);
    assert_int_equal(number("SELECT count(*) FROM served"), 1);
    assert_int_equal(number("SELECT count(*) FROM served_lost"), 0);
}

/* Feedback about nothing does not split its batch: all of it is one transaction. */
static void feedback_about_nothing_costs_no_transaction(void **state) {
    (void)state;
    enum { MANY = 20 };
    keel_store *store;
    keel_served_entry entries[MANY] = {{.name = "talk"}};
    keel_served_written done;
    assert_ok(keel_store_open(&store, store_path(), KEEL_STORE_CREATE, &err));
    entries[0].served = made_served(&entries[0].arena, "r1", "talk", "please", 1);
    assert_non_null(entries[0].served);
    for (size_t i = 1; i < MANY; i++)
        entries[i].feedback =
            (keel_feedback){.request = i % 2 ? "nobody's" : "r1", .at = 1, .feedback = {true, 1}};
    keel_served_write(store, 0, 1, NULL, 0, 1, &done); /* the first of a new file switches its journal, too */
    const int64_t before = commits(store);
    keel_served_write(store, 0, 1, entries, MANY, 0, &done);
    assert_int_equal(commits(store) - before, 1);
    assert_false(done.failed);
    assert_int_equal(done.entries, MANY);
    assert_int_equal(done.requests, 1);
    assert_int_equal(done.feedback, 9);
    assert_int_equal(done.lost, 10);
    keel_store_close(store);
    keel_arena_free(&entries[0].arena);
    assert_int_equal(number("SELECT sum(count) FROM served_lost"), 10 + 1);
    assert_int_equal(number("SELECT count(*) FROM served_feedback"), 9);
}

/* Somebody else writes to the store: the log waits, the queue runs full, and all is accounted for. */
static void what_a_full_queue_drops_is_counted(void **state) {
    (void)state;
    keel_store *other;
    int64_t queued = 0;
    open_log(&(keel_served_log_options){.queue = 4});
    serve("first", "first", "please", 1, NULL);
    wait_until_written(1);
    assert_ok(keel_store_open(&other, store_path(), KEEL_STORE_WRITE, &err));
    assert_ok(keel_store_begin(other, &err));
    for (int i = 0; i < 20; i++) {
        char request[16];
        snprintf(request, sizeof request, "r%d", i);
        queued += serve(request, request, "please", 1, NULL);
    }
    assert_in_range(queued, 4, 20 - 1);
    keel_store_rollback(other);
    keel_store_close(other);
    wait_until_written(21);
    close_log();
    assert_int_equal(number("SELECT count(*) FROM served"), 1 + queued);
    assert_int_equal(number("SELECT sum(count) FROM served_lost WHERE why = 'the queue was full'"),
                     20 - queued);
    assert_int_equal(number("SELECT accepted FROM serve_starts"), 21);
}

static void a_large_entry_does_not_fit_a_small_queue(void **state) {
    (void)state;
    open_log(&(keel_served_log_options){.queue_bytes = 4000});
    assert_true(serve("small", "small", "please", 1, NULL));
    char *large = calloc(1, 10000);
    memset(large, 'x', 9999);
    assert_false(serve("large", "large", large, 1, NULL));
    free(large);
    close_log();
    assert_int_equal(number("SELECT sum(count) FROM served_lost"), 1);
}

static void a_second_server_is_refused(void **state) {
    (void)state;
    open_log(NULL);
    const pid_t child = fork();
    if (child == 0) {
        keel_served_log *second = NULL;
        keel_err own = {0};
        const keel_status status = keel_served_log_open(&second, store_path(), NULL, &own);
        _exit(status == KEEL_E_CONFLICT && strstr(own.hint, "one server") ? 0 : 1);
    }
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
}

/* A child that serves without pause, to be killed; it has accepted something when this returns. */
static pid_t start_child(void) {
    int began[2];
    char byte;
    assert_int_equal(pipe(began), 0);
    const pid_t parent = getpid(), child = fork();
    if (child != 0) {
        close(began[1]);
        assert_int_equal(read(began[0], &byte, 1), 1);
        close(began[0]);
        return child;
    }
    keel_served_log *log = NULL;
    if (keel_served_log_open(&log, store_path(), NULL, NULL) != KEEL_OK) _exit(1);
    serving = log;
    for (int i = 0; getppid() == parent; i++) { /* until it is killed, or nobody is there to do so */
        char request[48];
        keel_arena arena = {0};
        snprintf(request, sizeof request, "%d-%d", (int)getpid(), i);
        keel_served *s = made_served(&arena, request, request, "please", 1);
        keel_served_log_put(log, s, &arena);
        keel_served_log_feedback(log, &(keel_feedback){.request = request, .feedback = {true, 1}});
        if (i == 0 && write(began[1], "", 1) != 1) _exit(1);
    }
    _exit(1);
}

/* Waits until a child has accepted so many entries. */
static void wait_for_child(pid_t child, int64_t entries) {
    keel_served_page page = {.start = 0};
    for (int i = 0; i < 60000; i++) {
        FILE *file = fopen(scratch_path(folder, "served.db-serve"), "rb");
        const bool whole = file && fread(&page, sizeof page, 1, file) == 1;
        if (file) fclose(file);
        if (whole && page.accepted >= entries && waitpid(child, NULL, WNOHANG) == 0) return;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    kill(child, SIGKILL);
    fail_msg("the child accepts nothing");
}

/* Waits until something that a child served is in the store. */
static void wait_for_a_row(pid_t child) {
    for (int i = 0; i < 6000; i++) {
        if (number("SELECT count(*) FROM served") > 0) return;
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    kill(child, SIGKILL);
    fail_msg("the child writes nothing");
}

static void after_a_kill_at_most_the_queue_is_lost_and_known(void **state) {
    (void)state;
    int64_t accepted = 0;
    for (int round = 0; round < 5; round++) {
        const pid_t child = start_child();
        wait_for_child(child, 300 * (round + 1));
        if (round == 4) wait_for_a_row(child);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        open_log(NULL);
        close_log();
        const int64_t all = number("SELECT sum(accepted) FROM serve_starts");
        assert_true(all > accepted);
        accepted = all;
        assert_int_equal(
            number("SELECT (SELECT count(*) FROM served) + (SELECT count(*) FROM served_feedback) +"
                   " (SELECT ifnull(sum(count), 0) FROM served_lost)"),
            accepted);
        assert_int_equal(number("SELECT count(*) FROM serve_starts WHERE accepted IS NULL"), 0);
    }
    assert_true(number("SELECT count(*) FROM served") > 0);
    assert_int_equal(
        number("SELECT count(*) FROM served WHERE candidate_id NOT IN (SELECT id FROM candidates WHERE"
               " taken)"),
        0);
    assert_int_equal(
        number("SELECT ok = 'ok' FROM (SELECT integrity_check AS ok FROM pragma_integrity_check)"), 1);
}

/* A server that was killed as soon as its start was in the store, before its count was begun. */
static void a_start_without_a_count_is_settled(void **state) {
    (void)state;
    keel_store *store;
    int64_t start;
    open_log(NULL);
    serve("first", "first", "please", 1, NULL);
    close_log();
    assert_ok(keel_store_open(&store, store_path(), KEEL_STORE_WRITE, &err));
    assert_ok(keel_store_add_start(store, 7, "{\"default\": 1}", &start, &err));
    keel_store_close(store);
    open_log(NULL);
    close_log();
    assert_int_equal(number("SELECT count(*) FROM serve_starts WHERE accepted IS NULL"), 0);
    assert_int_equal(number("SELECT sum(accepted) FROM serve_starts"), 1);
}

/* Beside a store lies the count of another, which was moved away, or of a start that is settled. */
static void a_count_of_something_else_changes_nothing(void **state) {
    (void)state;
    for (int64_t start = 1; start <= 3; start += 2) {
        keel_served_count count;
        keel_served_page before;
        open_log(NULL);
        serve(start == 1 ? "one" : "two", "a talk", "please", 1, NULL);
        close_log();
        assert_ok(keel_served_count_open(&count, store_path(), &before, &err));
        keel_served_count_begin(&count, start == 1 ? 1 : 4711);
        count.page->accepted = 9;
        keel_served_count_close(&count, false);
        open_log(NULL);
        close_log();
        assert_int_equal(number("SELECT count(*) FROM served_lost"), 0);
        assert_int_equal(number("SELECT sum(accepted) FROM serve_starts"), start == 1 ? 1 : 2);
    }
}

static void what_there_is_no_memory_for_is_counted(void **state) {
    (void)state;
    keel_arena arena = {0};
    open_log(NULL);
    assert_false(keel_served_log_put(serving, NULL, &arena));
    close_log();
    assert_int_equal(number("SELECT sum(count) FROM served_lost"), 1);
    assert_int_equal(number("SELECT sum(accepted) FROM serve_starts"), 1);
}

/* No file may grow: as on a full disk. With room again all that still waits is written. */
static void a_full_disk_does_not_stop_serving(void **state) {
    (void)state;
    struct rlimit before, limited;
    signal(SIGXFSZ, SIG_IGN);
    open_log(&(keel_served_log_options){.queue = 64});
    serve("first", "first", "please", 1, NULL);
    wait_until_written(1);
    getrlimit(RLIMIT_FSIZE, &before);
    limited = before, limited.rlim_cur = 4096;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limited), 0);
    int64_t queued = 0;
    for (int i = 0; i < 200; i++) {
        char request[16];
        snprintf(request, sizeof request, "r%d", i);
        queued += serve(request, request, "please", 1, NULL);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    keel_served_log_state s = {.failing = false};
    for (int i = 0; i < 60000 && !s.failing; i++) {
        keel_served_log_state_of(serving, &s);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    assert_true(s.failing);
    assert_int_equal(queued, 64);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    wait_until_written(201);
    close_log();
    assert_int_equal(number("SELECT count(*) FROM served"), 65);
    assert_int_equal(number("SELECT sum(count) FROM served_lost"), 136);
}

/* It ends while the disk is full: the next start says what is missing. */
static void what_a_full_disk_keeps_out_to_the_end_is_known_at_the_next_start(void **state) {
    (void)state;
    struct rlimit before, limited;
    signal(SIGXFSZ, SIG_IGN);
    open_log(NULL);
    serve("first", "first", "please", 1, NULL);
    wait_until_written(1);
    getrlimit(RLIMIT_FSIZE, &before);
    limited = before, limited.rlim_cur = 4096;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limited), 0);
    serve("second", "second", "please", 1, NULL);
    serve("third", "third", "please", 1, NULL);
    close_log();
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    open_log(NULL);
    keel_served_log_state s;
    keel_served_log_state_of(serving, &s);
    assert_int_equal(s.lost_before, 2);
    assert_int_equal(keel_served_log_start(serving), 2);
    close_log();
    assert_int_equal(number("SELECT sum(count) FROM served_lost"), 2);
}

static bool file_holds(const char *name, const char *text) {
    keel_buf bytes = {0};
    bool found = false;
    if (keel_file_exists(scratch_path(folder, name))) {
        assert_ok(keel_file_read(scratch_path(folder, name), 0, &bytes, &err));
        for (size_t i = 0; i + strlen(text) <= bytes.length && !found; i++)
            found = memcmp(bytes.data + i, text, strlen(text)) == 0;
    }
    keel_buf_free(&bytes);
    return found;
}

static void nothing_that_a_rule_names_reaches_the_store(void **state) {
    (void)state;
    static const char *const files[] = {"served.db", "served.db-wal", "served.db-serve"};
    keel_redact *rules;
    assert_ok(keel_redact_parse(&rules, "secret\tSESAM-[0-9]+\n", "rules", &err));
    open_log(&(keel_served_log_options){.redact = rules});
    keel_arena arena = {0};
    keel_served *s = made_served(&arena, "r1", "talk SESAM-1", "it is SESAM-2, yes", 1);
    s->user = "SESAM-3", s->segment = "SESAM-4";
    s->conversation->decisions[0].candidates[0].text = "SESAM-5 again";
    s->conversation->turns[1].text = "SESAM-5 again";
    s->conversation->decisions[0].candidates[1].model = "SESAM-6";
    s->conversation->meta = "{\"SESAM-7\": [\"SESAM-8\", 3]}";
    keel_served_log_put(serving, s, &arena);
    keel_served_log_feedback(serving, &(keel_feedback){.request = "r1",
                                                       .feedback = {true, 1},
                                                       .source = "SESAM-9",
                                                       .outcome = KEEL_OUTCOME_REFUSAL});
    wait_until_written(2);
    for (size_t i = 0; i < 3; i++) assert_false(file_holds(files[i], "SESAM"));
    close_log();
    for (size_t i = 0; i < 3; i++) assert_false(file_holds(files[i], "SESAM"));
    assert_int_equal(
        number("SELECT count(*) FROM turns WHERE text IN ('it is [secret], yes', '[secret] again')"), 2);
    assert_int_equal(number("SELECT count(*) FROM conversations WHERE external_id LIKE 'talk-%' AND meta ="
                            " '{\"[secret]\":[\"[secret]\",3]}'"),
                     1);
    keel_redact_close(rules);
}

/* Whatever allocation fails, of the thread of the log too: nothing leaks, and all is accounted for. */
static void without_memory_entries_are_counted(void **state) {
    (void)state;
    faults fault;
    for (size_t at = 1; at < 4000; at += at < 60 ? 1 : 37) {
        faults_begin(&fault, at);
        fault.alone = true;
        if (keel_served_log_open(&serving, store_path(), NULL, NULL) == KEEL_OK) {
            char request[24];
            keel_arena arena = {0};
            snprintf(request, sizeof request, "at-%zu", at);
            keel_served *s = made_served(&arena, request, request, "please", 2);
            if (s)
                keel_served_log_put(serving, s, &arena);
            else
                keel_arena_free(&arena);
            close_log();
        }
        faults_end();
        assert_int_equal(fault.live, 0);
    }
    open_log(NULL);
    close_log();
    assert_int_equal(
        number("SELECT (SELECT count(*) FROM served) + (SELECT ifnull(sum(count), 0) FROM served_lost)"),
        number("SELECT sum(accepted) FROM serve_starts"));
    assert_true(number("SELECT count(*) FROM served") > 50);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(it_knows_what_is_queued_and_what_is_written),
        TEST(requests_and_feedback_reach_the_store),
        TEST(the_same_place_answered_twice_is_another_talk_of_the_group),
        TEST(feedback_about_nothing_and_a_request_twice_are_counted),
        TEST(what_another_writer_keeps_out_is_not_given_up),
        TEST(feedback_about_nothing_costs_no_transaction),
        TEST(what_a_full_queue_drops_is_counted),
        TEST(a_large_entry_does_not_fit_a_small_queue),
        TEST(a_second_server_is_refused),
        TEST(after_a_kill_at_most_the_queue_is_lost_and_known),
        TEST(a_start_without_a_count_is_settled),
        TEST(a_count_of_something_else_changes_nothing),
        TEST(what_there_is_no_memory_for_is_counted),
        TEST(a_full_disk_does_not_stop_serving),
        TEST(what_a_full_disk_keeps_out_to_the_end_is_known_at_the_next_start),
        TEST(nothing_that_a_rule_names_reaches_the_store),
        TEST(without_memory_entries_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
