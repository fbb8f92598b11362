/* What a test expects of a call that must work. */
#ifndef KEEL_TESTS_SUPPORT_CHECK_H
#define KEEL_TESTS_SUPPORT_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* The call is done; where not, the test fails with what the keel_err `err` of the test says of it. */
#define assert_ok(call)                                                                                      \
    do {                                                                                                     \
        if ((call) != KEEL_OK) fail_msg("%s: %s: %s (%s)", #call, err.where, err.message, err.hint);         \
    } while (0)

#endif
