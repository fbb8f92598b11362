/* ThreadSanitizer sees what two threads do: a test that starts no second one has nothing to show it, costs
 * ten times as much there, and runs under AddressSanitizer anyway. */
#ifndef KEEL_TESTS_SUPPORT_THREADS_H
#define KEEL_TESTS_SUPPORT_THREADS_H

/* Under ThreadSanitizer only tests with "threads" in their names run from here on; else all. After
 * <cmocka.h>. */
static inline void only_threads_for_tsan(void) {
#ifdef __SANITIZE_THREAD__
    cmocka_set_test_filter("*threads*");
#endif
}

#endif
