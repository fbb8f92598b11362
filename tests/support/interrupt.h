/* Interrupts for tests: a flag that the context of the test's thread asks for. */
#ifndef KEEL_TESTS_INTERRUPT_H
#define KEEL_TESTS_INTERRUPT_H

#include <stdatomic.h>

#include "core/context.h"

static atomic_bool interrupt_flag;

static inline bool interrupt_asked(void *user) {
    (void)user;
    return atomic_load(&interrupt_flag);
}

/* From any thread. */
static inline void interrupt_set(bool value) {
    atomic_store(&interrupt_flag, value);
}

/* Once, at the start of main. */
static inline void interrupt_listen(void) {
    static keel_context context;
    keel_context_init(&context);
    context.interrupted = interrupt_asked;
    keel_context_use(&context);
}

#endif
