/* A pass over many conversations: read on the caller's thread, worked on in parallel, merged on the caller's
 * thread in the order of the ids. Memory is bounded by a fixed number of slots; results do not depend on the
 * number of threads. */
#ifndef KEEL_POLICIES_SWEEP_H
#define KEEL_POLICIES_SWEEP_H

#include "core/parallel.h"
#include "datasets/store.h"

enum { KEEL_SWEEP_SLOTS = 64 };

typedef struct keel_sweep {
    keel_store *store;
    keel_pool *pool;
    const char *what;   /* for the progress bar */
    const int64_t *ids; /* [count] conversations; NULL: all of the split, in ascending id */
    size_t count;
    const keel_split *split; /* used where ids is NULL; NULL: all */
    /* On any thread; slot < KEEL_SWEEP_SLOTS, the arena is the slot's own and lives until merge has returned.
     */
    keel_status (*work)(void *context, size_t slot, const keel_conversation *conversation, keel_arena *arena,
                        keel_err *err);
    /* On the caller's thread, in order of ids. *stop (false before) true ends the pass early. */
    keel_status (*merge)(void *context, size_t slot, const keel_conversation *conversation, bool *stop,
                         keel_err *err);
    void *context;
} keel_sweep;

/* KEEL_E_INTERRUPTED between two rounds of slots when the interrupt flag is set. */
keel_status keel_sweep_run(const keel_sweep *sweep, keel_err *err);

#endif
