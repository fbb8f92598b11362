#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/spool.h"
#include "support/faults.h"

typedef struct item {
    uint64_t number, square, cube;
} item;

static item made(uint64_t i) {
    return (item){i, i * i, i * i * i};
}

/* A window of 4 records for 1,000; and one that holds them all. */
static void records_come_back_from_any_place(void **state) {
    (void)state;
    static const size_t windows[] = {4 * sizeof(item), 2000 * sizeof(item), 1};
    for (size_t w = 0; w < 3; w++) {
        keel_spool *spool;
        keel_err err = {0};
        item got;
        assert_int_equal(keel_spool_open(&spool, sizeof(item), windows[w], &err), KEEL_OK);
        for (uint64_t i = 0; i < 1000; i++) {
            item one = made(i);
            assert_int_equal(keel_spool_add(spool, &one, &err), KEEL_OK);
            uint64_t back = i * 7919 % (i + 1); /* reading moves the window away from the end */
            assert_int_equal(keel_spool_get(spool, back, &got, &err), KEEL_OK);
            assert_true(got.number == back && got.square == back * back);
        }
        assert_int_equal(keel_spool_count(spool), 1000);
        for (uint64_t i = 0; i < 1000; i++) {
            item expected = made(999 - i);
            assert_int_equal(keel_spool_get(spool, 999 - i, &got, &err), KEEL_OK);
            assert_memory_equal(&got, &expected, sizeof got);
        }
        assert_int_equal(keel_spool_get(spool, 1000, &got, &err), KEEL_E_USAGE);
        keel_spool_close(spool);
    }
}

static void a_folder_that_is_not_there_is_named(void **state) {
    (void)state;
    keel_spool *spool;
    keel_err err = {0};
    item one = made(1);
    keel_status status = KEEL_OK;
    setenv("TMPDIR", "/nowhere/at/all", 1);
    assert_int_equal(keel_spool_open(&spool, sizeof(item), 2 * sizeof(item), &err), KEEL_OK);
    for (int i = 0; i < 3 && status == KEEL_OK; i++) status = keel_spool_add(spool, &one, &err);
    unsetenv("TMPDIR");
    assert_int_equal(status, KEEL_E_IO);
    assert_non_null(strstr(err.where, "/nowhere/at/all"));
    assert_non_null(strstr(err.hint, "TMPDIR"));
    keel_spool_close(spool);
}

static void without_memory_there_is_no_list(void **state) {
    (void)state;
    keel_spool *spool = NULL;
    keel_err err = {0};
    faults failing;
    for (size_t n = 1; n <= 2; n++) {
        faults_begin(&failing, n);
        assert_int_equal(keel_spool_open(&spool, 8, 64, &err), KEEL_E_NOMEM);
        assert_int_equal(failing.live, 0);
        faults_end();
    }
    assert_null(spool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_come_back_from_any_place),
        cmocka_unit_test(a_folder_that_is_not_there_is_named),
        cmocka_unit_test(without_memory_there_is_no_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
