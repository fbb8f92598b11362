/* An allocator that counts and fails: for tests that break a call at each of its allocations in turn. */
#ifndef KEEL_TESTS_FAULTS_H
#define KEEL_TESTS_FAULTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "core/context.h"
#include "core/json.h"

typedef struct faults {
    atomic_size_t calls, live; /* of all threads */
    size_t fail_at;            /* this call and all after it fail; 0: none does */
    bool alone;                /* this call, and none after it */
    keel_context context;
    const keel_context *before;
} faults;

static inline void *faults_resize(void *user, void *old, size_t bytes) {
    faults *state = user;
    const size_t call = atomic_fetch_add(&state->calls, 1) + 1;
    if (state->fail_at && (state->alone ? call == state->fail_at : call >= state->fail_at)) return NULL;
    void *memory = realloc(old, bytes);
    if (memory && !old) state->live++;
    return memory;
}

static inline void faults_release(void *user, void *old) {
    faults *state = user;
    if (old) state->live--;
    free(old);
}

/* From here on the fail_at-th allocation of this thread, and of those that work for it, fails, and those
 * after it; faults_end gives the usual context back. */
static inline void faults_begin(faults *state, size_t fail_at) {
    const keel_context *before = keel_context_use(NULL);
    if (before == &state->context) before = state->before;
    keel_context context = before ? *before : *keel_context_current();
    context.allocator = (keel_allocator){faults_resize, faults_release, state, NULL};
    *state = (faults){.fail_at = fail_at, .context = context, .before = before};
    keel_json_use_allocator();
    keel_context_use(&state->context);
}

static inline void faults_end(void) {
    const faults *state = keel_context_current()->allocator.user;
    keel_context_use(state->before);
}

#endif
