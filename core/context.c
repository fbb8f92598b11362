#include "core/context.h"

#include <stdlib.h>

static void *libc_resize(void *user, void *old, size_t bytes) {
    (void)user;
    return realloc(old, bytes);
}

static void libc_release(void *user, void *old) {
    (void)user;
    free(old);
}

static const keel_context standard = {
    .allocator = {libc_resize, libc_release, NULL, NULL}, .log_level = KEEL_LOG_INFO, .seed = 1};

static _Thread_local const keel_context *bound;

void keel_context_init(keel_context *context) {
    *context = standard;
}

const keel_context *keel_context_use(const keel_context *context) {
    const keel_context *before = bound;
    bound = context;
    return before;
}

const keel_context *keel_context_current(void) {
    return bound ? bound : &standard;
}
