/* Writing a batch of the served log into the store. */
#ifndef KEEL_EXPERIMENTS_SERVE_SERVED_WRITE_H
#define KEEL_EXPERIMENTS_SERVE_SERVED_WRITE_H

#include "core/memory.h"
#include "datasets/store_served.h"

enum { KEEL_SERVED_BATCH = 256 }; /* most entries of a transaction */

/* A request, or feedback. */
typedef struct keel_served_entry {
    keel_arena arena; /* that all of it lies in */
    keel_served *served;
    keel_feedback feedback; /* if served is NULL */
    const char *name;       /* of the talk, before another answer made it another's */
    size_t bytes;
    double queued;
} keel_served_entry;

typedef struct keel_served_written {
    size_t entries;             /* of the first of the batch: written or given up */
    int64_t requests, feedback; /* written */
    int64_t lost;               /* given up and recorded as lost: the store is well, the entry is not */
    int64_t dropped;            /* of `dropped`, recorded */
    bool failed;                /* the rest could not be written: try again later */
    keel_err why;               /* that */
} keel_served_written;

/* Writes entries [n], and that `dropped` others were lost since the queue was full: all in one transaction,
 * or if that fails one by one. Rewards of the talks that changed are derived anew. */
void keel_served_write(keel_store *store, int64_t start, double at, keel_served_entry *entries, size_t n,
                       int64_t dropped, keel_served_written *out);

#endif
