/* The context: what Keel takes from its surroundings and never from a global of its own. The caller fills one
 * in, keeps it alive and unchanged while it is in use, and binds it to a thread; every call of Keel in that
 * thread works under it, and so do the threads that Keel starts on behalf of such a call.
 *
 *     keel_context context;
 *     keel_context_init(&context);
 *     context.interrupted = my_flag_is_set;
 *     const keel_context *before = keel_context_use(&context);
 *     ... calls of Keel ...
 *     keel_context_use(before);
 *
 * One setting is of the whole process, because OpenBLAS has no other: it is pinned to one thread when a pool
 * or a tape is opened. Signal handlers, cJSON's hooks and SQLite's allocator are left alone; a program that
 * wants them calls core/process.h.
 *
 * Memory goes back to the allocator of the context in use at that time: use, close and free an object under
 * the context under which it was made. */
#ifndef KEEL_CORE_CONTEXT_H
#define KEEL_CORE_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/api.h"
#include "core/log.h"
#include "core/memory.h"
#include "core/progress.h"

KEEL_BEGIN_DECLS

/* All functions get `user`, and are called from several threads at once. */
typedef struct keel_context {
    keel_allocator allocator;
    keel_log_level log_level; /* what is said: log lines up to here; progress from KEEL_LOG_INFO on */
    keel_log_sink *log;       /* NULL: nothing is said */
    keel_progress_sink *progress;
    bool (*interrupted)(void *user); /* true: long calls stop soon, with KEEL_E_INTERRUPTED; NULL: never */
    void *user;
    size_t threads; /* of a pool opened with 0 threads; 0: one per online processor */
    uint64_t seed;  /* default of every option "seed"; at most 2^53 - 1, as JSON holds it */
} keel_context;

/* The C library's memory, silent, never interrupted, all processors, seed 1. */
void keel_context_init(keel_context *context);

/* Binds a context to the calling thread, until the next call; NULL: the one of keel_context_init, as at the
 * start of every thread. Returns what was bound before (NULL: nothing). */
const keel_context *keel_context_use(const keel_context *context);

/* The context of the calling thread; never NULL. */
const keel_context *keel_context_current(void);

KEEL_END_DECLS

#endif
