#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/memory.h"
#include "core/process.h"
#include "support/faults.h"

static void sizes_that_overflow_are_refused(void **state) {
    (void)state;
    size_t out = 7;
    assert_false(keel_size_mul(SIZE_MAX / 2, 3, &out));
    assert_false(keel_size_add(SIZE_MAX, 1, &out));
    assert_int_equal(out, 7);
    assert_true(keel_size_mul(0, SIZE_MAX, &out));
    assert_int_equal(out, 0);
    assert_null(keel_calloc(SIZE_MAX / 4, 8));
    keel_arena arena = {0};
    assert_null(keel_arena_alloc(&arena, SIZE_MAX - 10));
    assert_null(keel_arena_calloc(&arena, SIZE_MAX / 4, 8));
    keel_arena_free(&arena);
}

static void small_calls_hold_their_contract(void **state) {
    (void)state;
    faults count;
    faults_begin(&count, 0);
    char *copy = keel_strdup("keel");
    assert_string_equal(copy, "keel");
    assert_null(keel_strdup(NULL));
    void *nothing = keel_alloc(0);
    assert_non_null(nothing);
    int *zeroes = keel_calloc(5, sizeof *zeroes);
    for (size_t i = 0; i < 5; ++i) assert_int_equal(zeroes[i], 0);
    keel_free(copy), keel_free(nothing), keel_free(zeroes), keel_free(NULL);
    assert_int_equal(count.live, 0);
    faults_end();
}

static void arena_pointers_are_aligned_and_do_not_overlap(void **state) {
    (void)state;
    keel_arena arena = {0};
    unsigned char *parts[200];
    for (size_t i = 0; i < 200; ++i) {
        size_t bytes = i * i + 1;
        parts[i] = keel_arena_alloc(&arena, bytes);
        assert_int_equal((uintptr_t)parts[i] % 64, 0);
        memset(parts[i], (int)i, bytes);
    }
    for (size_t i = 0; i < 200; ++i)
        for (size_t j = 0; j <= i * i; ++j) assert_int_equal(parts[i][j], (unsigned char)i);
    assert_string_equal(keel_arena_strndup(&arena, "keelson", 4), "keel");
    assert_null(keel_arena_strdup(&arena, NULL));
    keel_arena_free(&arena);
    assert_int_equal(arena.peak, 0);
}

static void a_round_like_the_last_allocates_nothing(void **state) {
    (void)state;
    faults count;
    faults_begin(&count, 0);
    keel_arena arena = {0};
    for (size_t round = 0; round < 100; ++round) {
        size_t before = count.calls;
        for (size_t i = 0; i < 50; ++i) assert_non_null(keel_arena_alloc(&arena, i * 1000));
        if (round > 0) assert_int_equal(count.calls, before);
        assert_int_equal(arena.used, arena.peak);
        keel_arena_reset(&arena);
    }
    keel_arena_free(&arena);
    assert_int_equal(count.live, 0);
    faults_end();
}

static void a_reserved_arena_serves_from_its_block(void **state) {
    (void)state;
    faults count;
    faults_begin(&count, 0);
    keel_arena arena = {0};
    assert_int_equal(keel_arena_reserve(&arena, 1 << 20, NULL), KEEL_OK);
    for (size_t i = 0; i < 1024; ++i) assert_non_null(keel_arena_alloc(&arena, 1024));
    assert_int_equal(count.calls, 1);
    keel_arena_free(&arena);
    faults_end();
}

static void every_failed_allocation_is_told_and_leaks_nothing(void **state) {
    (void)state;
    for (size_t n = 1; n < 12; ++n) {
        faults count;
        faults_begin(&count, n);
        keel_arena arena = {0};
        keel_buf buf = {0};
        bool failed = false;
        for (size_t i = 1; i < 8; ++i) failed |= !keel_arena_alloc(&arena, 20000 * i);
        keel_arena_reset(&arena);
        for (size_t i = 0; i < 100; ++i) keel_buf_text(&buf, "0123456789");
        failed |= buf.failed;
        assert_true(failed || count.calls < n);
        if (n <= count.calls) assert_true(buf.failed);
        assert_int_equal(keel_arena_reserve(&arena, (size_t)1 << 30, NULL),
                         n <= count.calls ? KEEL_E_NOMEM : KEEL_OK);
        keel_arena_free(&arena);
        keel_buf_free(&buf);
        assert_int_equal(count.live, 0);
    }
    faults_end();
}

static void a_buffer_grows_formats_and_stays_terminated(void **state) {
    (void)state;
    keel_buf buf = {0};
    char expected[4000] = "";
    for (int i = 0; i < 300; ++i) {
        keel_buf_format(&buf, "%d,", i);
        snprintf(expected + strlen(expected), 16, "%d,", i);
        assert_int_equal(buf.data[buf.length], '\0');
    }
    assert_string_equal(buf.data, expected);
    keel_buf_clear(&buf);
    assert_int_equal(buf.length, 0);
    keel_buf_append(&buf, "a\0b", 3);
    keel_buf_text(&buf, "");
    assert_memory_equal(buf.data, "a\0b", 4);
    keel_buf_free(&buf);
    assert_null(buf.data);
}

/* AddressSanitizer's own answer; absent in other builds. */
extern int __asan_address_is_poisoned(const volatile void *address) __attribute__((weak));

static void what_an_arena_did_not_hand_out_is_poisoned(void **state) {
    (void)state;
    keel_arena arena = {0};
    if (!__asan_address_is_poisoned) {
        print_message("skipped: built without AddressSanitizer\n");
        skip();
    }
    char *first = keel_arena_alloc(&arena, 10), *second = keel_arena_alloc(&arena, 64);
    assert_false(__asan_address_is_poisoned(first + 9));
    assert_true(__asan_address_is_poisoned(first + 10));
    assert_false(__asan_address_is_poisoned(second + 63));
    assert_true(__asan_address_is_poisoned(second + 64));
    keel_arena_reset(&arena);
    assert_true(__asan_address_is_poisoned(first));
    assert_ptr_equal(keel_arena_alloc(&arena, 10), first);
    assert_false(__asan_address_is_poisoned(first));
    keel_arena_free(&arena);
}

/* Limited to what is in use and 100,000 bytes more. */
static void beyond_the_limit_there_is_no_memory(void **state) {
    (void)state;
    enum { MORE = 100000 };
    assert_true(keel_memory_left() == SIZE_MAX);
    keel_process_own();
    assert_true(keel_memory_left() == SIZE_MAX);
    char *held = keel_alloc(1000);
    keel_process_limit_memory(SIZE_MAX - 1);
    keel_process_limit_memory(SIZE_MAX - 1 - keel_memory_left() + MORE);
    assert_int_equal(keel_memory_left(), MORE);
    assert_null(keel_alloc(MORE + 1));
    assert_null(keel_realloc(held, MORE + 1));
    memset(held, 1, 1000); /* still there */
    void *half = keel_alloc(MORE / 2);
    assert_non_null(half);
    assert_true(keel_memory_left() <= MORE / 2);
    assert_null(keel_calloc(MORE, 1));
    keel_free(half);
    assert_int_equal(keel_memory_left(), MORE);
    keel_free(held);
    keel_context_use(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_that_overflow_are_refused),
        cmocka_unit_test(small_calls_hold_their_contract),
        cmocka_unit_test(arena_pointers_are_aligned_and_do_not_overlap),
        cmocka_unit_test(a_round_like_the_last_allocates_nothing),
        cmocka_unit_test(a_reserved_arena_serves_from_its_block),
        cmocka_unit_test(every_failed_allocation_is_told_and_leaks_nothing),
        cmocka_unit_test(what_an_arena_did_not_hand_out_is_poisoned),
        cmocka_unit_test(a_buffer_grows_formats_and_stays_terminated),
        cmocka_unit_test(beyond_the_limit_there_is_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
