#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
/* cmocka wants the headers above first */
#include <cmocka.h>

#include "core/file.h"
#include "core/lock.h"
#include "support/scratch.h"

static char folder[256];
static keel_err err;

static int set_up(void **state) {
    (void)state;
    return scratch_make(folder, "lock") ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    return keel_folder_remove(folder, NULL);
}

static const char *in(const char *name) {
    return scratch_path(folder, name);
}

/* Takes the lock in a process of its own: its status. */
static keel_status try_elsewhere(const char *path, char message[256]) {
    int ends[2], status = 0;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        keel_lock lock = {0};
        keel_err why = {0};
        char text[256] = "";
        keel_status got = keel_lock_take(&lock, path, &why);
        snprintf(text, sizeof text, "%.250s", why.message);
        if (write(ends[1], text, sizeof text) != sizeof text) _exit(99);
        keel_lock_release(&lock);
        _exit(-(int)got);
    }
    assert_int_equal(read(ends[0], message, 256), 256);
    close(ends[0]);
    close(ends[1]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return (keel_status)-WEXITSTATUS(status);
}

static void who_holds_a_lock_is_named_to_the_second(void **state) {
    (void)state;
    keel_lock lock = {0};
    char message[256], pid[32];
    assert_int_equal(keel_lock_take(&lock, in("deep/er/thing"), &err), KEEL_OK);
    assert_int_equal(try_elsewhere(in("deep/er/thing"), message), KEEL_E_CONFLICT);
    snprintf(pid, sizeof pid, "(%ld)", (long)getpid());
    assert_non_null(strstr(message, pid));
    assert_int_equal(try_elsewhere(in("deep/er/other"), message), KEEL_OK);
    keel_lock_release(&lock);
    assert_int_equal(try_elsewhere(in("deep/er/thing"), message), KEEL_OK);
}

static void a_released_lock_leaves_no_file(void **state) {
    (void)state;
    keel_lock lock = {0};
    assert_int_equal(keel_lock_take(&lock, in("thing"), &err), KEEL_OK);
    assert_true(keel_file_exists(in("thing.lock")));
    keel_lock_release(&lock);
    keel_lock_release(&lock);
    assert_false(keel_file_exists(in("thing.lock")));
}

static void what_a_killed_process_left_is_taken_over(void **state) {
    (void)state;
    keel_lock lock = {0};
    pid_t child = fork();
    if (child == 0) _exit(keel_lock_take(&lock, in("thing"), NULL) == KEEL_OK ? 0 : 1); /* without release */
    int status = 1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_true(keel_file_exists(in("thing.lock")));
    assert_int_equal(keel_lock_take(&lock, in("thing"), &err), KEEL_OK);
    keel_lock_release(&lock);
    assert_false(keel_file_exists(in("thing.lock")));
}

/* Eight processes count to 25 each in one file, taking turns by the lock. */
static void nothing_is_lost_between_many(void **state) {
    (void)state;
    enum { PROCESSES = 8, TURNS = 100 };
    const char *place = strcpy((char[512]){0}, in("count")), *lock_at = strcpy((char[512]){0}, in("turn"));
    for (int i = 0; i < PROCESSES; i++) {
        if (fork() != 0) continue;
        for (int done = 0; done < TURNS;) {
            keel_lock lock = {0};
            if (keel_lock_take(&lock, lock_at, NULL) != KEEL_OK) continue;
            FILE *file = fopen(place, "a");
            if (file) fseek(file, 0, SEEK_END);
            long long before = file ? (long long)ftell(file) : -1;
            if (!file || before < 0 || fputc('x', file) == EOF || fclose(file) != 0) _exit(1);
            keel_buf all = {0};
            if (keel_file_read(place, 0, &all, NULL) != KEEL_OK || (long long)all.length != before + 1)
                _exit(2);
            keel_buf_free(&all);
            keel_lock_release(&lock);
            done++;
        }
        _exit(0);
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status = 1;
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    keel_buf all = {0};
    assert_int_equal(keel_file_read(place, 0, &all, &err), KEEL_OK);
    assert_int_equal(all.length, PROCESSES * TURNS);
    keel_buf_free(&all);
    assert_false(keel_file_exists(in("turn.lock")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_holds_a_lock_is_named_to_the_second, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_released_lock_leaves_no_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_a_killed_process_left_is_taken_over, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_is_lost_between_many, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
