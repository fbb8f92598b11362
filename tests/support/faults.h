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

static keel_context faults_context;
static const keel_context *faults_before; /* in use before faults_begin */

/* From here on the fail_at-th allocation of this thread, and of those that work for it, fails, and those
 * after it; faults_end gives the usual context back. */
static inline void faults_begin(faults *state, size_t fail_at) {
    const keel_context *before = keel_context_use(NULL);
    if (before != &faults_context) faults_before = before;
    faults_context = faults_before ? *faults_before : *keel_context_current();
    faults_context.allocator = (keel_allocator){faults_resize, faults_release, state, NULL};
    *state = (faults){.fail_at = fail_at};
    keel_json_use_allocator();
    keel_context_use(&faults_context);
}

static inline void faults_end(void) {
    keel_context_use(faults_before);
}

#endif
