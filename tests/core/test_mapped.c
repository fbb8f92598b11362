/* Files that are mapped: which one an address lies in, and what a program says of one that is cut short. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the headers above first */
#include <cmocka.h>

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/file.h"
#include "core/mapped.h"
#include "core/process.h"
#include "support/scratch.h"

enum { LENGTH = 3 * 65536 }; /* several pages of any machine */
static char folder[256], bytes[LENGTH];
static keel_err err;

static int set_up(void **state) {
    (void)state;
    return scratch_make(folder, "mapped") ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    return keel_folder_remove(folder, NULL);
}

static const char *made(const char *name, size_t length) {
    const char *path = scratch_path(folder, name);
    assert_int_equal(keel_file_write(path, bytes, length, &err), KEEL_OK);
    return path;
}

static void an_address_is_of_the_file_that_is_mapped_there(void **state) {
    (void)state;
    const char *path = made("weights", LENGTH);
    void *data;
    size_t length;
    assert_int_equal(keel_mapped_open(path, &data, &length, &err), KEEL_OK);
    assert_int_equal(length, LENGTH);
    assert_memory_equal(data, bytes, LENGTH);
    assert_string_equal(keel_mapped_path(data), path);
    assert_string_equal(keel_mapped_path((char *)data + LENGTH - 1), path);
    assert_null(keel_mapped_path((char *)data + LENGTH));
    assert_null(keel_mapped_path((char *)data - 1));
    assert_null(keel_mapped_path(NULL));
    keel_mapped_close(data, length);
    assert_null(keel_mapped_path(data));
    keel_mapped_close(NULL, 0);
}

static void what_is_empty_or_missing_is_no_mapping(void **state) {
    (void)state;
    void *data = bytes;
    size_t length = 1;
    assert_int_equal(keel_mapped_open(made("empty", 0), &data, &length, &err), KEEL_OK);
    assert_true(!data && length == 0);
    assert_int_equal(keel_mapped_open(scratch_path(folder, "missing"), &data, &length, &err), KEEL_E_IO);
    assert_non_null(strstr(err.where, "missing"));
}

static void names_are_known_of_so_many_at_once(void **state) {
    (void)state;
    static char places[KEEL_MAPPED_MOST + 1];
    for (size_t i = 0; i <= KEEL_MAPPED_MOST; i++) keel_mapped_add(places + i, 1, i ? "one\x1b[2J" : "first");
    assert_string_equal(keel_mapped_path(places), "first");
    assert_string_equal(keel_mapped_path(places + KEEL_MAPPED_MOST - 1), "one?[2J");
    assert_null(keel_mapped_path(places + KEEL_MAPPED_MOST));
    keel_mapped_remove(places);
    keel_mapped_add(places + KEEL_MAPPED_MOST, 1, "last");
    assert_string_equal(keel_mapped_path(places + KEEL_MAPPED_MOST), "last");
    for (size_t i = 1; i <= KEEL_MAPPED_MOST; i++) keel_mapped_remove(places + i);
    assert_null(keel_mapped_path(places + 1));
}

/* In a process of its own that owns itself: reads a file that is cut short, known or not. What it said, and
 * how it ended. */
static int read_what_is_cut(const char *path, bool known, char *said, size_t size) {
    int ends[2], status = 0;
    size_t got = 0;
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) {
        void *data;
        size_t length;
        dup2(ends[1], STDERR_FILENO);
        keel_process_own();
        if (keel_mapped_open(path, &data, &length, NULL) != KEEL_OK || truncate(path, 10) != 0) _exit(97);
        if (!known) keel_mapped_remove(data);
        volatile const char *last = (const char *)data + LENGTH - 1;
        _exit(*last ? 98 : 99); /* it is not there */
    }
    close(ends[1]);
    for (ssize_t n; (n = read(ends[0], said + got, size - 1 - got)) > 0;) got += (size_t)n;
    said[got] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void a_file_that_is_cut_short_is_named_at_the_end(void **state) {
    (void)state;
    static char said[65536];
    const char *path = made("cut", LENGTH);
    int status = read_what_is_cut(path, true, said, sizeof said);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    assert_non_null(strstr(said, path));
    assert_non_null(strstr(said, "cut short"));
    status = read_what_is_cut(made("cut", LENGTH), false, said, sizeof said); /* as usual for a defect */
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGBUS);
    assert_null(strstr(said, "cut short"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_is_of_the_file_that_is_mapped_there),
        cmocka_unit_test(what_is_empty_or_missing_is_no_mapping),
        cmocka_unit_test(names_are_known_of_so_many_at_once),
        cmocka_unit_test(a_file_that_is_cut_short_is_named_at_the_end),
    };
    for (size_t i = 0; i < LENGTH; i++) bytes[i] = (char)(1 + i % 100);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
