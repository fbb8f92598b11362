/* Interrupts for tests: a flag that the context of the test's thread asks for. */
#ifndef KEEL_TESTS_INTERRUPT_H
#define KEEL_TESTS_INTERRUPT_H

#include <stdatomic.h>

#include "core/context.h"

static atomic_bool interrupt_flag;
static atomic_long interrupt_countdown; /* questions until the flag is set; 0: it is not */

static inline bool interrupt_asked(void *user) {
    (void)user;
    if (atomic_load(&interrupt_countdown) > 0 && atomic_fetch_sub(&interrupt_countdown, 1) == 1)
        atomic_store(&interrupt_flag, true);
    return atomic_load(&interrupt_flag);
}

/* From any thread. */
static inline void interrupt_set(bool value) {
    atomic_store(&interrupt_flag, value);
}

/* The n-th question from here on, and all after it, are answered with yes. */
static inline void interrupt_at(long n) {
    atomic_store(&interrupt_countdown, n);
}

/* Once, at the start of main. */
static inline void interrupt_listen(void) {
    static keel_context context;
    keel_context_init(&context);
    context.interrupted = interrupt_asked;
    keel_context_use(&context);
}

#endif
